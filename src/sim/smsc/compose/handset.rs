//! Messages from handsets, whole or in parts.

use super::{Body, Outgoing, PartToSend};
use crate::channel::smpp::deliver::{Address, UDHI, tag};
use crate::pdu::{gsm7, ucs2, udh};
use crate::sim::smsc::script::{DefaultAlphabet, Inbound, InboundAlphabet, Octets, Split};

/// Octets that one short message carries where a character takes whole octets, and where the GSM
/// alphabet is packed seven bits each (3GPP TS 23.040 clause 9.2.3.24).
const OCTETS: usize = 140;
const SEPTETS: usize = 160;

/// Most octets of a `short_message` (SMPP 3.4 §5.2.22).
const LONGEST: usize = 255;

/// A text as octets: the alphabet's `data_coding`, and each character as it is shown and written.
struct Written {
    data_coding: u8,
    packed: bool,
    characters: Vec<(String, Vec<u8>)>,
}

/// A message as one or several parts, in the order that it asks for. `reference` is its parts' if
/// it names none.
pub(in crate::sim::smsc) fn message(
    message: &Inbound,
    alphabet: DefaultAlphabet,
    reference: u16,
) -> Vec<Outgoing> {
    let written = write(&message.text, message.alphabet, alphabet);
    let reference = message.reference.unwrap_or(reference);
    let [_, low] = reference.to_be_bytes();
    let whole = if written.packed { SEPTETS } else { OCTETS };
    // What a header of 6 or 7 octets leaves (clauses 9.2.3.24.1 and 9.2.3.24.8).
    let part = match (message.split, written.packed) {
        (Split::Udh, true) => 153,
        (Split::Udh16, true) => 152,
        (Split::Udh, false) => 134,
        (Split::Udh16, false) => 133,
        (Split::Sar, _) => whole,
        (Split::Payload | Split::None, _) => usize::MAX,
    };
    let parts = cut(&written.characters, whole, part);
    let total = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    let mut outgoing: Vec<_> = (1..=total)
        .zip(parts)
        .map(|(index, (mut octets, text))| {
            let (mut esm_class, mut tlvs) = (0, Vec::new());
            match message.split {
                Split::Udh | Split::Udh16 if total > 1 => {
                    esm_class = UDHI;
                    let header = if message.split == Split::Udh {
                        udh::concat8(low, total, index).to_vec()
                    } else {
                        udh::concat16(reference, total, index).to_vec()
                    };
                    octets = [header, octets].concat();
                }
                Split::Sar if total > 1 => {
                    tlvs.push((tag::SAR_MSG_REF_NUM, reference.to_be_bytes().to_vec()));
                    tlvs.push((tag::SAR_TOTAL_SEGMENTS, vec![total]));
                    tlvs.push((tag::SAR_SEGMENT_SEQNUM, vec![index]));
                }
                Split::Payload => {
                    tlvs.push((tag::MESSAGE_PAYLOAD, std::mem::take(&mut octets)));
                }
                _ => octets.truncate(LONGEST),
            }
            Outgoing::Part(Box::new(PartToSend {
                body: Body {
                    from: international(&message.from),
                    to: to(&message.to),
                    esm_class,
                    data_coding: message.data_coding.unwrap_or(written.data_coding),
                    octets,
                    tlvs,
                    data_sm: message.data_sm,
                },
                text,
            }))
        })
        .collect();
    if !message.order.is_empty() {
        outgoing = message
            .order
            .iter()
            .filter_map(|index| outgoing.get(usize::from(*index).checked_sub(1)?).cloned())
            .collect();
    }
    outgoing
}

fn write(text: &str, alphabet: InboundAlphabet, default: DefaultAlphabet) -> Written {
    let latin1 = |c| vec![u8::try_from(u32::from(c)).unwrap_or(b'?')];
    let ascii = |c: char| vec![u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?')];
    let gsm = |c: char| gsm7::encode(c.encode_utf8(&mut [0; 4])).unwrap_or_else(|_| vec![b'?']);
    let ucs2 = |c: char| ucs2::encode(c.encode_utf8(&mut [0; 4]));
    let each = |data_coding, packed, write: &dyn Fn(char) -> Vec<u8>| Written {
        data_coding,
        packed,
        characters: text.chars().map(|c| (c.to_string(), write(c))).collect(),
    };
    match alphabet {
        InboundAlphabet::Auto => match default {
            DefaultAlphabet::Gsm if gsm7::encode(text).is_ok() => each(0, true, &gsm),
            DefaultAlphabet::Latin1 if text.chars().all(|c| u32::from(c) < 256) => {
                each(0, false, &latin1)
            }
            DefaultAlphabet::Ascii if text.is_ascii() => each(0, false, &ascii),
            _ => each(8, false, &ucs2),
        },
        InboundAlphabet::Gsm => each(0, true, &gsm),
        InboundAlphabet::Latin1 => each(3, false, &latin1),
        InboundAlphabet::Ascii => each(1, false, &ascii),
        InboundAlphabet::Ucs2 => each(8, false, &ucs2),
        InboundAlphabet::Binary => {
            let octets = Octets::try_from(text.to_owned()).unwrap_or_default().0;
            let shown = |octet: u8| (format!("{octet:02X}"), vec![octet]);
            Written {
                data_coding: 4,
                packed: false,
                characters: octets.into_iter().map(shown).collect(),
            }
        }
    }
}

/// Fills each part as far as it goes; a text that fits `whole` is one part. Each part's octets and
/// text.
fn cut(characters: &[(String, Vec<u8>)], whole: usize, part: usize) -> Vec<(Vec<u8>, String)> {
    let octets: usize = characters.iter().map(|(_, octets)| octets.len()).sum();
    let limit = if octets <= whole { whole } else { part };
    let mut parts = Vec::new();
    let mut last = (Vec::new(), String::new());
    for (shown, octets) in characters {
        if last.0.len() + octets.len() > limit {
            parts.push(std::mem::take(&mut last));
        }
        last.0.extend_from_slice(octets);
        last.1.push_str(shown);
    }
    parts.push(last);
    parts
}

fn international(number: &str) -> Address {
    Address {
        ton: 1,
        npi: 1,
        text: number.trim_start_matches('+').to_owned(),
    }
}

fn to(number: &str) -> Address {
    // A short code has no numbering plan (SMPP 3.4 §5.2.5, §5.2.6).
    if number.len() <= 8 {
        Address {
            ton: 3,
            npi: 0,
            text: number.to_owned(),
        }
    } else {
        international(number)
    }
}
