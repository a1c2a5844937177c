//! Delivery receipts: what a `deliver_sm` or `data_sm` of that kind says (SMPP 3.4 appendix B).
//!
//! The specification leaves the text to the vendor, so it is read tolerantly: fields in any order
//! and case, any of them missing, dates of any form, a body in UCS-2, or no body at all where TLVs
//! say everything. A TLV is believed before the text.

use super::deliver::{Address, Deliver, tag};
use super::frame::ID_MAX;
use crate::channel::Reported;
use crate::domain::msisdn::Msisdn;
use crate::domain::receipt::{NetworkError, Receipt, ReceiptState};
use crate::pdu::{latin1, ucs2, udh};

/// Longest code or word taken from a receipt, in characters: `err` has 3 and `stat` 7.
const WORD_MAX: usize = 40;

/// The names of the field of appendix B, and of those that stand for it elsewhere.
const ID: &[&str] = &["id", "msgid", "message_id", "messageid"];
const STAT: &[&str] = &["stat", "status"];
const ERR: &[&str] = &["err", "error"];

/// Reads a receipt. A state that is missing or not understood is `Unknown`, which is no evidence.
#[must_use]
pub fn read(deliver: &Deliver) -> Reported {
    read_text(deliver, &body(deliver))
}

/// Reads what no `esm_class` and no TLV calls a receipt, if its text reads like one: with an id, a
/// state that is understood, and one of the fields that only receipts have.
///
/// Any handset could write such a text. Whoever gets it must ask whether the id is one of theirs.
#[must_use]
pub fn read_unmarked(deliver: &Deliver) -> Option<Reported> {
    let text = body(deliver);
    let only_receipts_have = ["dlvrd", "done date", "submit date"];
    let fields = Fields::of(&text);
    let is_like_one = fields.get(ID).is_some()
        && fields.get(STAT).and_then(state_word).is_some()
        && only_receipts_have
            .iter()
            .any(|key| find(fields.head, key).is_some());
    is_like_one.then(|| read_text(deliver, &text))
}

fn read_text(deliver: &Deliver, text: &str) -> Reported {
    let fields = Fields::of(text);
    let written = fields.get(ID).map(|id| cut(id, ID_MAX));
    let tlv = deliver
        .tlv(tag::RECEIPTED_MESSAGE_ID)
        .map(|id| latin1::decode(id.split(|octet| *octet == 0).next().unwrap_or_default()))
        .map(|id| cut(id.trim(), ID_MAX))
        .filter(|id| !id.is_empty());
    let (reference, other) = match (tlv, written) {
        (Some(tlv), Some(written)) if tlv != written => (tlv, Some(written)),
        (Some(id), _) | (None, Some(id)) => (id, None),
        (None, None) => (String::new(), None),
    };
    let word = fields.get(STAT);
    let state = deliver
        .tlv_number(tag::MESSAGE_STATE)
        .and_then(|value| ReceiptState::from_message_state(u8::try_from(value).ok()?))
        // A TLV that says that nothing is known must not hide what the text knows.
        .filter(|state| *state != ReceiptState::Unknown)
        .or_else(|| word.and_then(state_word))
        .unwrap_or(ReceiptState::Unknown);
    Reported {
        reference,
        other,
        handset: handset(&deliver.source),
        receipt: Receipt {
            state,
            word: word.map(|word| cut(word, WORD_MAX)),
            error: fields.get(ERR).map(|code| cut(code, WORD_MAX)),
            network_error: network_error(deliver),
        },
    }
}

/// The first `most` characters: a hostile peer must not fill our records.
fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// The number of an address, if it is an international one: by its type of number, or because it
/// is written with `+` or `00`.
#[must_use]
pub fn handset(address: &Address) -> Option<Msisdn> {
    let text = address.text.trim();
    let digits = match text.strip_prefix('+').or_else(|| text.strip_prefix("00")) {
        Some(digits) => digits,
        None if address.ton == 1 => text,
        None => return None,
    };
    Msisdn::from_e164_digits(digits)
}

fn body(deliver: &Deliver) -> String {
    let octets = match udh::parse(&deliver.message) {
        Ok((_, text)) if deliver.has_udh() => text,
        _ => &deliver.message[..],
    };
    // Receipts are ASCII whatever `data_coding` says, except where it says UCS-2, and some of those
    // are ASCII all the same. In the GSM alphabet an underscore, frequent in ids, is octet 0x11.
    if deliver.data_coding == 8 && !is_ascii_text(octets) {
        ucs2::decode(octets)
    } else {
        latin1::decode(octets).replace('\u{11}', "_")
    }
}

/// True for a text of printable ASCII: in UCS-2 every other octet of such a text is a NUL.
fn is_ascii_text(octets: &[u8]) -> bool {
    let printable = |octet: &u8| matches!(octet, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    octets.iter().take(8).all(printable)
}

fn state_word(word: &str) -> Option<ReceiptState> {
    match word.parse() {
        Ok(value) => ReceiptState::from_message_state(value),
        Err(_) => ReceiptState::from_stat(word),
    }
}

/// `network_error_code` (SMPP 3.4 §5.3.2.31): network type and code.
fn network_error(deliver: &Deliver) -> Option<NetworkError> {
    match deliver.tlv(tag::NETWORK_ERROR_CODE)?.as_ref() {
        [network, high, low] => Some(NetworkError {
            network: *network,
            code: u16::from_be_bytes([*high, *low]),
        }),
        _ => None,
    }
}

/// The `key:value` pairs of a receipt's text. The quoted start of the message is looked at last,
/// because its author may have written anything there.
struct Fields<'a> {
    head: &'a str,
    quoted: &'a str,
}

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Self {
        let (head, quoted) = find(text, "text").map_or((text, ""), |at| text.split_at(at));
        Self { head, quoted }
    }

    /// The value of the first field that has one of these names.
    fn get(&self, keys: &[&str]) -> Option<&'a str> {
        [self.head, self.quoted]
            .into_iter()
            .find_map(|text| keys.iter().find_map(|key| value(text, key)))
    }
}

/// The value of the first field `key`: up to the next blank, comma, semicolon or bar.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = text
        .get(find(text, key)?..)?
        .trim_start_matches([' ', '\t']);
    let ends = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '|');
    let value = value.split(ends).next()?.trim_matches(['"', '\'']);
    // `id: sub:001` has no id: what follows is the next field.
    (!value.is_empty() && !value.contains(':')).then_some(value)
}

/// Where the value of the field `key` begins: after `key:` or `key=`, blanks allowed between, in
/// any case, and not as the end of a longer word.
fn find(text: &str, key: &str) -> Option<usize> {
    let octets = text.as_bytes();
    (0..octets.len()).find_map(|at| {
        let end = at + key.len();
        let found = octets.get(at..end)?.eq_ignore_ascii_case(key.as_bytes());
        let alone = at == 0 || !(octets[at - 1].is_ascii_alphanumeric() || octets[at - 1] == b'_');
        if !found || !alone {
            return None;
        }
        let rest = &octets[end..];
        let blanks = rest.iter().take_while(|octet| **octet == b' ').count();
        matches!(rest.get(blanks), Some(b':' | b'=')).then_some(end + blanks + 1)
    })
}

#[cfg(test)]
mod tests;
