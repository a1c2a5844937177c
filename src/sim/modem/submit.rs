//! Reading an SMS-SUBMIT (3GPP TS 23.040 clause 9.2.2.2): only what the ledger and the rules need.

use crate::pdu::{gsm7, ucs2, udh};

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submit {
    /// Digits, with `+` where the number is international.
    pub(super) recipient: String,
    pub(super) report: bool,
    pub(super) text: String,
    pub(super) part: Option<udh::Concat>,
}

/// Reads the octets after the service centre. `None`: not a whole SMS-SUBMIT.
pub(super) fn read(tpdu: &[u8]) -> Option<Submit> {
    let (&first, rest) = tpdu.split_first()?;
    let (&_reference, rest) = rest.split_first()?;
    let (&[digits, kind], rest) = rest.split_first_chunk()?;
    if first & 0x03 != 0x01 || digits > 20 {
        return None;
    }
    let (number, rest) = rest.split_at_checked(usize::from(digits).div_ceil(2))?;
    let mut recipient = String::new();
    if kind & 0x70 == 0x10 {
        recipient.push('+');
    }
    let nibbles = number.iter().flat_map(|octet| [octet & 0x0F, octet >> 4]);
    for nibble in nibbles.take(usize::from(digits)) {
        recipient.push(char::from_digit(nibble.into(), 10)?);
    }
    let (&[_protocol, coding], rest) = rest.split_first_chunk()?;
    let validity = match first & 0x18 {
        0 => 0,
        0x10 => 1,
        _ => 7,
    };
    let (_, rest) = rest.split_at_checked(validity)?;
    let (&length, data) = rest.split_first()?;
    let length = usize::from(length);
    // 3GPP TS 23.038 clause 4: general groups, and the data coding group F.
    let alphabet = match coding {
        0x00..=0x7F => coding & 0x0C,
        0xE0..=0xEF => 0x08,
        0xF0..=0xFF => coding & 0x04,
        _ => 0,
    };
    let wanted = if alphabet == 0 {
        (length * 7).div_ceil(8)
    } else {
        length
    };
    if data.len() != wanted || data.len() > 140 {
        return None;
    }
    let (part, header) = if first & 0x40 == 0 {
        (None, 0)
    } else {
        let size = usize::from(*data.first()?) + 1;
        let read = udh::parse(data).ok()?.0;
        (read.concat, size)
    };
    let body = data.get(header..)?;
    let text = match alphabet {
        0 => {
            let head = (header * 8).div_ceil(7);
            let fill = u8::try_from(head * 7 - header * 8).ok()?;
            let mut septets = gsm7::unpack(body, fill);
            // A last septet of zeros may be an @: only the length can tell.
            septets.resize(length.checked_sub(head)?, 0);
            gsm7::decode(&septets)
        }
        8 => ucs2::decode(body),
        _ => super::tpdu::hex(body),
    };
    Some(Submit {
        recipient,
        report: first & 0x20 != 0,
        text,
        part,
    })
}
