//! The national language tables of the GSM 7 bit alphabet (3GPP TS 23.038 annex A), which
//! two elements of the user data header choose (3GPP TS 23.040 clauses 9.2.3.24.15 and
//! 9.2.3.24.16): a locking shift table in place of the default alphabet, a single shift
//! table in place of its extension. They are read and never written: handsets and carriers
//! support them too unevenly.

use super::gsm7;

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
    /// does not define is read in the locking one. A language that is reserved counts as
    /// the default table, as 3GPP TS 23.040 clauses 9.2.3.24.15 and .16 say; one that has
    /// tables which are not known here gives U+FFFD rather than another text.
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
        Some(Language(4..=13)) => return char::REPLACEMENT_CHARACTER,
        _ => &[],
    };
    look_up(differences, septet).unwrap_or_else(|| gsm7::plain(septet))
}

fn shifted(language: Option<Language>, septet: u8) -> Option<char> {
    let differences = match language {
        Some(TURKISH) => TURKISH_SINGLE,
        Some(SPANISH) => SPANISH_SINGLE,
        Some(PORTUGUESE) => PORTUGUESE_SINGLE,
        Some(Language(4..=13)) => return Some(char::REPLACEMENT_CHARACTER),
        _ => &[],
    };
    look_up(differences, septet).or_else(|| gsm7::extension(septet))
}

fn look_up(differences: Differences, septet: u8) -> Option<char> {
    let found = differences.iter().find(|(code, _)| *code == septet);
    found.map(|(_, c)| *c)
}
