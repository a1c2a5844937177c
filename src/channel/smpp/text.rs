//! Message octets as text, by `data_coding` (SMPP 3.4 §5.2.19, and the 3GPP TS 23.038 codings that
//! carriers put there unchanged).
//!
//! Nothing is guessed: what an account's octets mean is said by its settings, or by the octets
//! themselves. So `Ç` stays `Ç`, although some handsets mean `ç` by it (GSM 03.38 has the capital
//! alone), and UCS-2 is little-endian only behind a byte order mark that says so.

use std::fmt::Write as _;

use crate::pdu::default_alphabet::DefaultAlphabet;
use crate::pdu::{gsm7, latin1, ucs2};

/// How the texts of an account are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What octets of `data_coding` 0 mean.
    pub alphabet: DefaultAlphabet,
    /// The `data_coding` that the account's GSM texts go out with: the same comes in.
    pub data_coding_gsm: u8,
    /// Whether GSM texts come as the radio side packs them, 8 septets in 7 octets.
    pub packed_gsm: bool,
}

/// The alphabets that a `data_coding` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// The account's own.
    Default,
    Gsm7,
    Latin1,
    Ucs2,
    Binary,
}

/// The text of `octets` of an account with the usual settings.
#[must_use]
pub fn decode(data_coding: u8, octets: &[u8]) -> String {
    Reading::default().decode(data_coding, octets, 0)
}

impl Reading {
    /// The text of `octets`, which stand behind a user data header of `header` octets, its length
    /// included.
    ///
    /// Total: binary data becomes upper-case hexadecimal, so that nothing is lost and nothing
    /// pretends to be text.
    #[must_use]
    pub fn decode(self, data_coding: u8, octets: &[u8], header: usize) -> String {
        let coding = if data_coding == self.data_coding_gsm {
            Coding::Default
        } else {
            coding(data_coding)
        };
        match (coding, self.alphabet) {
            (Coding::Gsm7, _) | (Coding::Default, DefaultAlphabet::Gsm) => {
                if self.packed_gsm {
                    gsm7::decode(&gsm7::unpack(octets, fill(header)))
                } else {
                    gsm7::decode(octets)
                }
            }
            (Coding::Default, other) => other.decode(octets),
            (Coding::Latin1, _) => latin1::decode(octets),
            (Coding::Ucs2, _) => ucs2::decode_marked(octets),
            (Coding::Binary, _) => octets.iter().fold(String::new(), |mut text, octet| {
                let _ = write!(text, "{octet:02X}");
                text
            }),
        }
    }
}

/// Bits of filling behind a header of `header` octets (3GPP TS 23.040 §9.2.3.24).
fn fill(header: usize) -> u8 {
    // 8 bits an octet, one more than a septet.
    u8::try_from((7 - header % 7) % 7).unwrap_or(0)
}

const fn coding(data_coding: u8) -> Coding {
    match data_coding {
        // SMPP's own list: 0 the SMSC's default, 1 IA5, 3 ISO-8859-1, 2 and 4 binary, 8 UCS-2.
        // Cyrillic, Hebrew and the Japanese and Korean sets are shown as octets rather than as
        // wrong letters. IA5 has 7 bits; an eighth is read as Latin-1 rather than lost.
        0 => Coding::Default,
        1 | 3 => Coding::Latin1,
        8 => Coding::Ucs2,
        2 | 4..=7 | 9..=15 => Coding::Binary,
        // TS 23.038 clause 4: general group, compressed if bit 5 says so, the alphabet in bits 3
        // and 2; then message waiting, where only 0xE0 is UCS-2; then message class, with bit 2 for
        // 8-bit data.
        0x10..=0x7F if data_coding & 0x20 != 0 => Coding::Binary,
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
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::channel::smpp::encode::{DATA_CODING_LATIN1, DATA_CODING_UCS2};
    use crate::domain::text::TextRules;
    use crate::pdu::segment::Alphabet;

    const ALPHABETS: [DefaultAlphabet; 3] = [
        DefaultAlphabet::Gsm,
        DefaultAlphabet::Latin1,
        DefaultAlphabet::Ascii,
    ];

    fn reading(alphabet: DefaultAlphabet) -> Reading {
        Reading {
            alphabet,
            ..Reading::default()
        }
    }

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
            (0x31, b"\x00A", "0041"),
            (0x51, b"\x00", "@"),
            (0xF1, b"\x00", "@"),
            (0xF5, b"\x00", "00"),
            (0xE0, b"\x00A", "A"),
        ] {
            assert_eq!(decode(data_coding, octets), text, "{data_coding:#04x}");
        }
    }

    /// Pain 21 of the field: accents wrong in both directions.
    #[test]
    fn french_accents_come_in_right() {
        let gsm = b"\x05t\x05 \x7F \x09 \x1F \x00 10 \x1B\x65";
        assert_eq!(decode(0, gsm), "été à Ç É @ 10 €");
        let latin1 = b"\xE9t\xE9 \xE0 \xE7 \xC9 @";
        assert_eq!(
            reading(DefaultAlphabet::Latin1).decode(0, latin1, 0),
            "été à ç É @"
        );
        assert_eq!(decode(3, latin1), "été à ç É @");
        assert_eq!(
            reading(DefaultAlphabet::Ascii).decode(0, b"STOP @", 0),
            "STOP @"
        );
        // What TS 23.038 itself calls GSM is GSM, whatever 0 means to the account.
        assert_eq!(
            reading(DefaultAlphabet::Latin1).decode(0xF1, b"\x05", 0),
            "é"
        );
        let own = Reading {
            data_coding_gsm: 1,
            ..Reading::default()
        };
        assert_eq!(own.decode(1, b"\x05t\x05", 0), "été");
    }

    #[test]
    fn damaged_unicode_is_shown_and_not_lost() {
        for (octets, text) in [
            (&b"\x00A\x00"[..], "A\u{FFFD}"),
            (b"\x00A\xD8\x3D", "A\u{FFFD}"),
            (b"\xDE\x00\x00A", "\u{FFFD}A"),
            (b"\xFE\xFF\x00\xE9", "é"),
            (b"\xFF\xFE\xE9\x00", "é"),
            // Without a mark these are two Chinese characters, and stay so.
            (b"O\x00K\x00", "伀䬀"),
        ] {
            assert_eq!(decode(8, octets), text, "{octets:02X?}");
        }
    }

    #[test]
    fn packed_texts_are_read_where_the_account_says_so() {
        let packed = Reading {
            packed_gsm: true,
            ..Reading::default()
        };
        let hello = b"\xE8\x32\x9B\xFD\x46\x97\xD9\xEC\x37";
        assert_eq!(packed.decode(0, hello, 0), "hellohello");
        // A header of 6 octets is 48 bits; one bit of filling brings the text to the next septet.
        assert_eq!(packed.decode(0, b"\xC2\xE2\x31", 6), "abc");
        assert_eq!(packed.decode(8, b"\x00A", 0), "A");
        assert_eq!(packed.decode(3, b"\xE9", 0), "é");
    }

    #[test]
    fn every_character_of_every_alphabet_survives_both_ways_by_every_rule() {
        for alphabet in ALPHABETS {
            for latin1 in [false, true] {
                for data_coding_gsm in [0, 1, 0xF1] {
                    let rules = TextRules {
                        alphabet,
                        latin1,
                        ..TextRules::default()
                    };
                    // € at U+20AC is the last of every alphabet but UCS-2.
                    for c in ('\0'..'\u{2100}').chain('😀'..='😎') {
                        survives(rules, data_coding_gsm, &c.to_string());
                    }
                }
            }
        }
    }

    /// Writes as `encode` does, and reads what an SMSC with the same settings would hand back.
    fn survives(rules: TextRules, data_coding_gsm: u8, text: &str) {
        let plan = rules.plan(text);
        let data_coding = match plan.alphabet {
            Alphabet::Gsm7 => data_coding_gsm,
            Alphabet::Latin1 => DATA_CODING_LATIN1,
            Alphabet::Ucs2 => DATA_CODING_UCS2,
        };
        let reading = Reading {
            alphabet: rules.alphabet,
            data_coding_gsm,
            packed_gsm: false,
        };
        let mut back = String::new();
        for part in plan.slices(text) {
            let octets = rules.octets(part, plan.alphabet);
            assert!(octets.len() <= 160);
            back.push_str(&reading.decode(data_coding, &octets, 0));
        }
        // A byte order mark is no character of a text.
        assert_eq!(
            back,
            text.trim_start_matches(['\u{FEFF}', '\u{FFFE}']),
            "{rules:?} {text:?}"
        );
    }

    proptest! {
        #[test]
        fn any_text_survives_both_ways_by_every_rule(
            text in "[ -~éèàùçÇêœŒ€£«»’\\n\\[\\]{}|ΔΩß😀]{0,400}",
            alphabet in proptest::sample::select(ALPHABETS.to_vec()),
            latin1 in any::<bool>(),
        ) {
            let rules = TextRules { alphabet, latin1, ..TextRules::default() };
            survives(rules, 0, &text);
        }

        #[test]
        fn any_octets_are_read(
            data_coding in any::<u8>(),
            octets in any::<Vec<u8>>(),
            header in 0_usize..140,
            packed_gsm in any::<bool>(),
            alphabet in proptest::sample::select(ALPHABETS.to_vec()),
        ) {
            let reading = Reading { alphabet, data_coding_gsm: 0, packed_gsm };
            let text = reading.decode(data_coding, &octets, header);
            prop_assert!(text.chars().count() <= octets.len() * 2);
        }
    }
}
