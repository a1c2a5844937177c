//! The SMSC default alphabet: what an SMSC takes octets of `data_coding` 0 for
//! (SMPP 3.4 section 5.2.19 leaves it to the carrier).
//!
//! On the air such a text is GSM 7 bit whatever the SMSC calls its default: it
//! re-codes what it is given. So a character needs a place in both alphabets, and
//! parts are counted in septets.

use serde::Deserialize;

use super::{gsm7, latin1};

/// What octets of `data_coding` 0 mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultAlphabet {
    /// GSM 03.38, one septet an octet.
    #[default]
    Gsm,
    /// ISO-8859-1.
    Latin1,
    /// US-ASCII.
    Ascii,
}

impl DefaultAlphabet {
    /// True if `c` can be written, and survives on the air.
    #[must_use]
    pub fn has(self, c: char) -> bool {
        let written = match self {
            Self::Gsm => true,
            Self::Latin1 => latin1::has(c),
            Self::Ascii => c.is_ascii() && latin1::has(c),
        };
        written && gsm7::septets(c).is_some()
    }

    /// The octets of `text`; a character without a place becomes `?`.
    #[must_use]
    pub fn encode(self, text: &str) -> Vec<u8> {
        let known = |c| if self.has(c) { c } else { '?' };
        let text = text.chars().map(known);
        match self {
            // What has a place is in the alphabet, so that encoding cannot fail.
            Self::Gsm => gsm7::encode(&text.collect::<String>()).unwrap_or_default(),
            Self::Latin1 | Self::Ascii => text.map(|c| u8::try_from(c).unwrap_or(b'?')).collect(),
        }
    }

    /// The text of `octets`. Total: an octet above 0x7F, which ASCII does not have, is read as
    /// Latin-1 rather than lost.
    #[must_use]
    pub fn decode(self, octets: &[u8]) -> String {
        match self {
            Self::Gsm => gsm7::decode(octets),
            Self::Latin1 | Self::Ascii => latin1::decode(octets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repertoire_is_what_both_alphabets_have() {
        use DefaultAlphabet::{Ascii, Gsm, Latin1};
        for (c, gsm, latin1, ascii) in [
            ('e', true, true, true),
            ('\n', true, true, true),
            ('[', true, true, true),
            ('é', true, true, false),
            ('Ç', true, true, false),
            ('€', true, false, false),
            ('Δ', true, false, false),
            ('\u{C}', true, false, false),
            ('ç', false, false, false),
            ('`', false, false, false),
            ('\t', false, false, false),
            ('œ', false, false, false),
        ] {
            let has = [Gsm, Latin1, Ascii].map(|alphabet| alphabet.has(c));
            assert_eq!(has, [gsm, latin1, ascii], "{c:?}");
        }
    }

    #[test]
    fn each_alphabet_keeps_its_whole_repertoire() {
        use DefaultAlphabet::{Ascii, Gsm, Latin1};
        for (alphabet, size) in [(Gsm, 137), (Latin1, 125), (Ascii, 96)] {
            let all: String = ('\0'..='\u{FFFF}').filter(|c| alphabet.has(*c)).collect();
            assert_eq!(all.chars().count(), size, "{alphabet:?}");
            assert_eq!(alphabet.decode(&alphabet.encode(&all)), all);
        }
        assert_eq!(Latin1.encode("é@ç"), b"\xE9@?");
        assert_eq!(Gsm.encode("é@ç"), b"\x05\x00?");
        assert_eq!(Ascii.encode("e@é"), b"e@?");
    }
}
