//! Messages from handsets (MO): addresses, text and place among parts.

use super::deliver::{Address, Deliver, tag};
use super::receipt::handset;
use super::text::Reading;
use crate::domain::inbound::{Numbering, Part};
use crate::pdu::udh::{self, Reference};

/// A message from a handset, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it; with `+` if it is an international number.
    pub from: String,
    /// What it was sent to; likewise.
    pub to: String,
    /// The text of this part.
    pub text: String,
    /// Its place, if it is a part of several.
    pub part: Option<Part>,
}

/// Reads a message from a handset; its text as `reading` says. Total: a damaged user data header is
/// shown as text rather than lost, and one that numbers impossibly makes no part of the message.
#[must_use]
pub fn read(deliver: &Deliver, reading: Reading) -> Received {
    let mut part = sar(deliver);
    let mut octets = &deliver.message[..];
    if deliver.has_udh()
        && let Ok((header, rest)) = udh::parse(octets)
    {
        octets = rest;
        if let Some(concat) = header.concat {
            let (numbering, reference) = match concat.reference {
                Reference::Eight(reference) => (Numbering::Header8, u16::from(reference)),
                Reference::Sixteen(reference) => (Numbering::Header16, reference),
            };
            part = Some(Part {
                numbering,
                reference,
                total: concat.total,
                index: concat.index,
            });
        }
    }
    let header = deliver.message.len() - octets.len();
    Received {
        from: written(&deliver.source),
        to: written(&deliver.destination),
        text: reading.decode(deliver.data_coding, octets, header),
        part: part.filter(|part| part.total > 1),
    }
}

/// The place that the SAR TLVs give (SMPP 3.4 §5.3.2.22 to 24).
fn sar(deliver: &Deliver) -> Option<Part> {
    let number = |tag| deliver.tlv_number(tag);
    let total = u8::try_from(number(tag::SAR_TOTAL_SEGMENTS)?).ok()?;
    let index = u8::try_from(number(tag::SAR_SEGMENT_SEQNUM)?).ok()?;
    let reference = number(tag::SAR_MSG_REF_NUM)?;
    (1..=total).contains(&index).then_some(Part {
        numbering: Numbering::Sar,
        reference,
        total,
        index,
    })
}

fn written(address: &Address) -> String {
    handset(address).map_or_else(|| address.text.clone(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;

    fn read(deliver: &Deliver) -> Received {
        super::read(deliver, Reading::default())
    }

    fn deliver(data_coding: u8, esm_class: u8, message: &'static [u8]) -> Deliver {
        Deliver {
            source: Address {
                ton: 1,
                npi: 1,
                text: "33612345678".into(),
            },
            destination: Address {
                ton: 3,
                npi: 0,
                text: "36111".into(),
            },
            esm_class,
            data_coding,
            message: Bytes::from_static(message),
            tlvs: Vec::new(),
        }
    }

    #[test]
    fn a_plain_message_has_its_numbers_and_text() {
        let received = read(&deliver(0, 0, b"STOP"));
        assert_eq!(
            (received.from.as_str(), received.to.as_str()),
            ("+33612345678", "36111")
        );
        assert_eq!((received.text.as_str(), received.part), ("STOP", None));
    }

    #[test]
    fn a_part_is_placed_by_its_header_or_by_its_sar_tlvs() {
        let received = read(&deliver(
            8,
            0x40,
            b"\x06\x08\x04\x12\x34\x02\x01\xD8\x3D\xDE\x00",
        ));
        assert_eq!(received.text, "😀");
        assert_eq!(
            received.part,
            Some(Part {
                numbering: Numbering::Header16,
                reference: 0x1234,
                total: 2,
                index: 1
            })
        );
        let mut message = deliver(3, 0, b"\xE9t\xE9");
        message.tlvs = vec![
            (tag::SAR_MSG_REF_NUM, Bytes::from_static(&[0, 9])),
            (tag::SAR_TOTAL_SEGMENTS, Bytes::from_static(&[3])),
            (tag::SAR_SEGMENT_SEQNUM, Bytes::from_static(&[2])),
        ];
        let received = read(&message);
        assert_eq!(received.text, "été");
        assert_eq!(
            received.part,
            Some(Part {
                numbering: Numbering::Sar,
                reference: 9,
                total: 3,
                index: 2
            })
        );
        message.tlvs[2].1 = Bytes::from_static(&[4]);
        assert_eq!(read(&message).part, None);
    }

    #[test]
    fn a_damaged_header_is_shown_and_not_lost() {
        assert_eq!(read(&deliver(3, 0x40, b"\x50abc")).text, "Pabc");
    }

    #[test]
    fn a_header_stands_in_the_payload_as_well_as_in_the_short_message() {
        let mut message = deliver(0, 0x40, b"");
        message.message = Bytes::from_static(b"\x05\x00\x03\x07\x02\x02STOP");
        message.tlvs = vec![(tag::MESSAGE_PAYLOAD, message.message.clone())];
        let received = read(&message);
        assert_eq!(received.text, "STOP");
        let part = received.part.unwrap();
        assert_eq!((part.numbering, part.index), (Numbering::Header8, 2));
    }

    #[test]
    fn references_of_8_bits_of_16_and_of_the_carrier_are_told_apart() {
        let eight = read(&deliver(0, 0x40, b"\x05\x00\x03\x07\x02\x01a"));
        let sixteen = read(&deliver(0, 0x40, b"\x06\x08\x04\x00\x07\x02\x01a"));
        let (eight, sixteen) = (eight.part.unwrap(), sixteen.part.unwrap());
        assert_eq!((eight.reference, sixteen.reference), (7, 7));
        assert_ne!(eight.numbering, sixteen.numbering);
    }

    #[test]
    fn impossible_numbers_make_a_text_of_its_own_without_its_header() {
        for header in [
            b"\x05\x00\x03\x07\x02\x00STOP",
            b"\x05\x00\x03\x07\x02\x03STOP",
            b"\x05\x00\x03\x07\x00\x01STOP",
            b"\x05\x00\x03\x07\x01\x01STOP",
        ] {
            let received = read(&deliver(0, 0x40, header));
            assert_eq!((received.text.as_str(), received.part), ("STOP", None));
        }
    }
}
