//! Message octets as text, by `data_coding` (SMPP 3.4 §5.2.19, and the 3GPP TS 23.038 codings that
//! carriers put there unchanged).

use std::fmt::Write as _;

use crate::pdu::{gsm7, latin1, ucs2};

/// The alphabets that a `data_coding` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gsm7,
    Latin1,
    Ucs2,
    Binary,
}

/// The text of `octets`. Total: binary data becomes upper-case hexadecimal, so that nothing is lost
/// and nothing pretends to be text.
#[must_use]
pub fn decode(data_coding: u8, octets: &[u8]) -> String {
    match coding(data_coding) {
        Coding::Gsm7 => gsm7::decode(octets),
        Coding::Latin1 => latin1::decode(octets),
        Coding::Ucs2 => ucs2::decode(octets),
        Coding::Binary => octets.iter().fold(String::new(), |mut text, octet| {
            let _ = write!(text, "{octet:02X}");
            text
        }),
    }
}

const fn coding(data_coding: u8) -> Coding {
    match data_coding {
        // SMPP's own list: 1 IA5, 3 ISO-8859-1, 2 and 4 binary, 8 UCS-2. Cyrillic, Hebrew and the
        // Japanese and Korean sets are shown as octets rather than as wrong letters.
        0 => Coding::Gsm7,
        1 | 3 => Coding::Latin1,
        8 => Coding::Ucs2,
        2 | 4..=7 | 9..=15 => Coding::Binary,
        // TS 23.038 clause 4: general group, the alphabet in bits 3 and 2; then message waiting,
        // where only 0xE0 is UCS-2; then message class, with bit 2 for 8-bit data.
        0x10..=0x7F => match data_coding & 0x0C {
            0x00 => Coding::Gsm7,
            0x08 => Coding::Ucs2,
            _ => Coding::Binary,
        },
        0x80..=0xBF => Coding::Binary,
        0xC0..=0xDF => Coding::Gsm7,
        0xE0..=0xEF => Coding::Ucs2,
        0xF0..=0xFF => {
            if data_coding & 0x04 == 0 {
                Coding::Gsm7
            } else {
                Coding::Binary
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_data_coding_is_read_in_its_alphabet() {
        for (data_coding, octets, text) in [
            (0x00, &b"\x02A\x1B\x65"[..], "$A€"),
            (0x01, b"a@b", "a@b"),
            (0x03, b"d\xE9j\xE0", "déjà"),
            (0x08, b"\xD8\x3D\xDE\x00", "😀"),
            (0x04, b"\x00\xAF", "00AF"),
            (0x02, b"\xFF", "FF"),
            (0x06, b"\xB0", "B0"),
            (0x11, b"\x00", "@"),
            (0x18, b"\x00A", "A"),
            (0xF1, b"\x00", "@"),
            (0xF5, b"\x00", "00"),
            (0xE0, b"\x00A", "A"),
        ] {
            assert_eq!(decode(data_coding, octets), text, "{data_coding:#04x}");
        }
    }
}
