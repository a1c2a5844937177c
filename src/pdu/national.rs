//! The national language tables of the GSM 7 bit alphabet (3GPP TS 23.038 annex A), which
//! two elements of the user data header choose (3GPP TS 23.040 clauses 9.2.3.24.15 and
//! 9.2.3.24.16): a locking shift table in place of the default alphabet, a single shift
//! table in place of its extension. They are read and never written: handsets and carriers
//! support them too unevenly.

use super::{gsm7, indic};

/// A national language identifier (3GPP TS 23.038 clause 6.2.1.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Language(pub u8);

const TURKISH: Language = Language(1);
const SPANISH: Language = Language(2);
const PORTUGUESE: Language = Language(3);

/// Where a table has another character than the default one at the same code.
type Differences = &'static [(u8, char)];

/// Annex A.3.1.
const TURKISH_LOCKING: Differences = &[
    (0x04, '€'),
    (0x07, 'ı'),
    (0x0B, 'Ğ'),
    (0x0C, 'ğ'),
    (0x1C, 'Ş'),
    (0x1D, 'ş'),
    (0x40, 'İ'),
    (0x60, 'ç'),
];

/// Annex A.3.3.
#[rustfmt::skip]
const PORTUGUESE_LOCKING: Differences = &[
    (0x04, 'ê'), (0x06, 'ú'), (0x07, 'í'), (0x08, 'ó'), (0x09, 'ç'), (0x0B, 'Ô'), (0x0C, 'ô'),
    (0x0E, 'Á'), (0x0F, 'á'), (0x12, 'ª'), (0x13, 'Ç'), (0x14, 'À'), (0x15, '∞'), (0x16, '^'),
    (0x17, '\\'), (0x18, '€'), (0x19, 'Ó'), (0x1A, '|'), (0x1C, 'Â'), (0x1D, 'â'), (0x1E, 'Ê'),
    (0x24, 'º'), (0x40, 'Í'), (0x5B, 'Ã'), (0x5C, 'Õ'), (0x5D, 'Ú'), (0x60, '~'), (0x7B, 'ã'),
    (0x7C, 'õ'), (0x7D, '`'),
];

/// Annex A.2.1.
const TURKISH_SINGLE: Differences = &[
    (0x47, 'Ğ'),
    (0x49, 'İ'),
    (0x53, 'Ş'),
    (0x63, 'ç'),
    (0x67, 'ğ'),
    (0x69, 'ı'),
    (0x73, 'ş'),
];

/// Annex A.2.2.
#[rustfmt::skip]
const SPANISH_SINGLE: Differences = &[
    (0x09, 'ç'), (0x41, 'Á'), (0x49, 'Í'), (0x4F, 'Ó'), (0x55, 'Ú'), (0x61, 'á'), (0x69, 'í'),
    (0x6F, 'ó'), (0x75, 'ú'),
];

/// Annex A.2.3.
#[rustfmt::skip]
const PORTUGUESE_SINGLE: Differences = &[
    (0x05, 'ê'), (0x09, 'ç'), (0x0B, 'Ô'), (0x0C, 'ô'), (0x0E, 'Á'), (0x0F, 'á'), (0x12, 'Φ'),
    (0x13, 'Γ'), (0x15, 'Ω'), (0x16, 'Π'), (0x17, 'Ψ'), (0x18, 'Σ'), (0x19, 'Θ'), (0x1F, 'Ê'),
    (0x41, 'À'), (0x49, 'Í'), (0x4F, 'Ó'), (0x55, 'Ú'), (0x5B, 'Ã'), (0x5C, 'Õ'), (0x61, 'Â'),
    (0x69, 'í'), (0x6F, 'ó'), (0x75, 'ú'), (0x7B, 'ã'), (0x7C, 'õ'), (0x7F, 'â'),
];

/// The tables that a message was written with; `None` is the default one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tables {
    /// In place of the default alphabet.
    pub locking: Option<Language>,
    /// In place of the default extension table.
    pub single: Option<Language>,
}

impl Tables {
    /// The text of `septets`, one per octet.
    ///
    /// Total, as [`gsm7::decode`] is, and by its rules: a code that the single shift table
    /// does not define is read in the locking one, and one that this leaves empty becomes
    /// U+FFFD. A language that is reserved counts as the default table (3GPP TS 23.040
    /// clauses 9.2.3.24.15 and 9.2.3.24.16).
    #[must_use]
    pub fn decode(self, septets: &[u8]) -> String {
        let plain = |septet| locked(self.locking, septet);
        let extended = |septet| shifted(self.single, septet).unwrap_or_else(|| plain(septet));
        gsm7::decode_with(septets, plain, extended)
    }
}

fn locked(language: Option<Language>, septet: u8) -> char {
    let differences = match language {
        Some(TURKISH) => TURKISH_LOCKING,
        Some(PORTUGUESE) => PORTUGUESE_LOCKING,
        Some(Language(number @ 4..=13)) => {
            return indic::locking(number, septet).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        _ => &[],
    };
    look_up(differences, septet).unwrap_or_else(|| gsm7::plain(septet))
}

fn shifted(language: Option<Language>, septet: u8) -> Option<char> {
    let differences = match language {
        Some(TURKISH) => TURKISH_SINGLE,
        Some(SPANISH) => SPANISH_SINGLE,
        Some(PORTUGUESE) => PORTUGUESE_SINGLE,
        Some(Language(number @ 4..=13)) => return indic::single(number, septet),
        _ => &[],
    };
    look_up(differences, septet).or_else(|| gsm7::extension(septet))
}

fn look_up(differences: Differences, septet: u8) -> Option<char> {
    let found = differences.iter().find(|(code, _)| *code == septet);
    found.map(|(_, c)| *c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(locking: u8, single: u8, septets: &[u8]) -> String {
        let language = |number| (number > 0).then_some(Language(number));
        let (locking, single) = (language(locking), language(single));
        Tables { locking, single }.decode(septets)
    }

    /// Escape and code, for each code.
    fn shifted(codes: &[u8]) -> Vec<u8> {
        codes.iter().flat_map(|&code| [0x1B, code]).collect()
    }

    #[test]
    fn texts_of_the_languages_are_read() {
        for (locking, single, septets, expected) in [
            (1, 0, &b"g\x0Cl\x60"[..], "gğlç"),
            (1, 1, &[0x40, 0x1B, 0x53, 0x04], "İŞ€"),
            (0, 1, &[b'e', 0x1B, 0x73, 0x1B, 0x67], "eşğ"),
            (0, 2, &[b'd', 0x1B, 0x69, b'a', b's', 0x1B, 0x09], "díasç"),
            (3, 3, &[0x7B, 0x09, 0x1B, 0x15, 0x18], "ãçΩ€"),
            (0, 3, &[0x1B, 0x7B, 0x1B, 0x7C, 0x1B, 0x7F], "ãõâ"),
            // "नमस्ते" and a digit, then a capital.
            (
                6,
                6,
                &[0x2F, 0x42, 0x4C, 0x5F, 0x27, 0x59, 0x1B, 0x1E, 0x1B, 0x41],
                "नमस्ते२A",
            ),
            (11, 11, &[0x29, 0x28, b'a', 0x1B, 0x7D], "()a\u{BF1}"),
            (13, 13, &[0x07, 0x2C, 0x20, 0x1B, 0x3F], "ت, \u{6D4}"),
        ] {
            assert_eq!(
                text(locking, single, septets),
                expected,
                "{locking} {single}"
            );
        }
    }

    #[test]
    fn codes_without_a_character_are_read_as_the_annex_says() {
        // Not in the single shift table: the locking one, then the default one.
        assert_eq!(text(1, 2, &[0x1B, 0x0C]), "ğ");
        assert_eq!(text(0, 2, &[0x1B, 0x0C]), "ø");
        // Empty in the locking table.
        assert_eq!(text(4, 0, &[0x0C]), "\u{FFFD}");
        assert_eq!(text(12, 12, &[0x1B, 0x19]), "\u{C19}");
        // Spanish has no locking table, 14 and above are reserved.
        let any = [0x04, 0x1B, 0x65, 0x41];
        for language in [0, 2, 14, 200] {
            assert_eq!(text(language, 0, &any), "è€A");
        }
        assert_eq!(text(0, 14, &any), "è€A");
        // Escapes as in the default alphabet.
        assert_eq!(text(6, 6, &[0x1B, 0x1B, 0x41, 0x1B]), " \u{92D} ");
    }

    #[test]
    fn every_table_keeps_line_ends_blanks_digits_and_the_extension() {
        for language in 1..=13 {
            assert_eq!(text(language, 0, b"\n\r 0123456789"), "\n\r 0123456789");
            let extension = shifted(&[0x14, 0x28, 0x29, 0x2F, 0x3C, 0x3D, 0x3E, 0x40, 0x65]);
            assert_eq!(text(0, language, &extension), "^{}\\[~]|€", "{language}");
        }
        for language in 4..=13 {
            let capitals: Vec<u8> = (b'A'..=b'Z').collect();
            assert_eq!(
                text(language, language, &shifted(&capitals)).as_bytes(),
                capitals
            );
        }
    }

    proptest! {
        #[test]
        fn any_octets_decode(septets: Vec<u8>, locking: u8, single: u8) {
            let read = text(locking % 16, single % 16, &septets);
            prop_assert!(read.chars().count() <= septets.len());
        }

        #[test]
        fn without_languages_it_is_the_default_alphabet(septets: Vec<u8>) {
            prop_assert_eq!(Tables::default().decode(&septets), gsm7::decode(&septets));
        }
    }
}
