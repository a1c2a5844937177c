//! The GSM 7 bit default alphabet (3GPP TS 23.038 clause 6.2.1) with its
//! extension table (clause 6.2.1.1).
//!
//! Septets are kept one per octet, as SMPP carries `data_coding` 0. The packing of
//! 8 septets into 7 octets belongs to the radio side; [`unpack`] is for carriers
//! that hand it through.
//! A character of the extension table costs two septets: the escape 0x1B and a
//! code. National language shift tables (clause 6.2.1.2) are not used: handsets
//! and carriers support them too unevenly. [`super::national`] reads them.
//!
//! A character that has no form here silently turns a message of 160 characters
//! into one of 70, so this file also says which characters do that
//! ([`forcing_unicode`]); [`super::transliterate`] replaces them by their nearest.

/// Escape to the extension table.
const ESCAPE: u8 = 0x1B;

/// The default alphabet, by code. 0x1B is the escape, which has no character of
/// its own; a receiver that cannot use it shows a space, so a space stands there.
#[rustfmt::skip]
const DEFAULT: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å',
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', ' ', 'Æ', 'æ', 'ß', 'É',
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§',
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// The extension table: code after the escape, character.
const EXTENSION: [(u8, char); 10] = [
    (0x0A, '\u{C}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// Where a character stands.
enum Code {
    Default(u8),
    Extension(u8),
}

fn code(c: char) -> Option<Code> {
    // Most of a text is ASCII letters and digits, whose code is their own.
    if c.is_ascii_alphanumeric() || c == ' ' {
        return u8::try_from(c).ok().map(Code::Default);
    }
    if let Some(at) = DEFAULT.iter().position(|&d| d == c) {
        return u8::try_from(at).ok().map(Code::Default);
    }
    let found = EXTENSION.iter().find(|&&(_, e)| e == c);
    found.map(|&(code, _)| Code::Extension(code))
}

/// How many septets `c` takes: 1, 2 (extension table), or `None` when it has no
/// form in this alphabet.
#[must_use]
pub fn septets(c: char) -> Option<u8> {
    code(c).map(|code| match code {
        Code::Default(_) => 1,
        Code::Extension(_) => 2,
    })
}

/// The septets of `text`, one per octet.
///
/// # Errors
/// The first character that has no form in this alphabet.
pub fn encode(text: &str) -> Result<Vec<u8>, char> {
    let mut septets = Vec::with_capacity(text.len());
    for c in text.chars() {
        match code(c).ok_or(c)? {
            Code::Default(code) => septets.push(code),
            Code::Extension(code) => septets.extend([ESCAPE, code]),
        }
    }
    Ok(septets)
}

/// The text of `septets`, one per octet.
///
/// Total. After an escape, a code that the extension table does not define is
/// read in the default table (clause 6.2.1.1), and a second escape is a space
/// (its note 1). An escape at the very end is a space too (clause 6.2.1, note
/// 1). An octet above 0x7F is no septet and becomes U+FFFD.
#[must_use]
pub fn decode(septets: &[u8]) -> String {
    decode_with(septets, plain, |septet| {
        extension(septet).unwrap_or_else(|| plain(septet))
    })
}

/// The same with other tables: `plain` reads a septet, `extended` one behind an escape.
pub(super) fn decode_with(
    septets: &[u8],
    plain: impl Fn(u8) -> char,
    extended: impl Fn(u8) -> char,
) -> String {
    let mut text = String::with_capacity(septets.len());
    let mut rest = septets.iter().copied();
    while let Some(septet) = rest.next() {
        text.push(match septet {
            ESCAPE => rest.next().map_or(' ', |septet| match septet {
                ESCAPE => ' ',
                _ => extended(septet),
            }),
            _ => plain(septet),
        });
    }
    text
}

/// The septets of `octets` that hold them packed, 8 in 7 octets, from the lowest bit
/// on (clause 6.1.2.1), after `fill` bits that bring the text behind a user data
/// header to a septet's beginning (3GPP TS 23.040 clause 9.2.3.24).
///
/// Octets do not tell whether their last 7 bits are a septet: where they are all 0,
/// they are read as filling, not as an `@`.
#[must_use]
pub fn unpack(octets: &[u8], fill: u8) -> Vec<u8> {
    let mut septets = Vec::with_capacity(octets.len() * 8 / 7);
    let (mut bits, mut held) = (0_u16, 0_u8);
    let mut skip = fill;
    for &octet in octets {
        bits |= u16::from(octet) << held;
        held += 8;
        let skipped = skip.min(held);
        (bits, held, skip) = (bits >> skipped, held - skipped, skip - skipped);
        while held >= 7 {
            septets.push(bits.to_le_bytes()[0] & 0x7F);
            (bits, held) = (bits >> 7, held - 7);
        }
    }
    if held == 0 && septets.last() == Some(&0) {
        septets.pop();
    }
    septets
}

/// The character of a septet in the default table.
pub(super) fn plain(septet: u8) -> char {
    let found = DEFAULT.get(usize::from(septet)).copied();
    found.unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The character of a septet in the extension table, if it defines one.
pub(super) fn extension(septet: u8) -> Option<char> {
    let found = EXTENSION.iter().find(|&&(code, _)| code == septet);
    found.map(|&(_, c)| c)
}

/// The distinct characters of `text` that have no form in this alphabet, in
/// order of appearance: the ones that make the message Unicode.
#[must_use]
pub fn forcing_unicode(text: &str) -> Vec<char> {
    let mut found = Vec::new();
    for c in text.chars() {
        if septets(c).is_none() && !found.contains(&c) {
            found.push(c);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    /// Any text of this alphabet.
    pub(in crate::pdu) fn gsm_text() -> impl Strategy<Value = String> {
        let all: Vec<char> = DEFAULT
            .iter()
            .copied()
            .chain(EXTENSION.iter().map(|e| e.1))
            .collect();
        proptest::collection::vec(proptest::sample::select(all), 0..500)
            .prop_map(|chars| chars.into_iter().collect())
    }

    #[test]
    fn known_texts_have_known_septets() {
        for (text, septets) in [
            ("", &[][..]),
            ("hello", b"hello"),
            ("@£$¥", &[0, 1, 2, 3]),
            ("àéèùìò", &[0x7F, 0x05, 0x04, 0x06, 0x07, 0x08]),
            (
                "ÇÉÑñüß§¿¡¤",
                &[0x09, 0x1F, 0x5D, 0x7D, 0x7E, 0x1E, 0x5F, 0x60, 0x40, 0x24],
            ),
            (
                "ΔΦΓΛΩΠΨΣΘΞ",
                &[0x10, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A],
            ),
            ("_\n\r", &[0x11, 0x0A, 0x0D]),
            ("10€", &[0x31, 0x30, 0x1B, 0x65]),
            ("[~]", &[0x1B, 0x3C, 0x1B, 0x3D, 0x1B, 0x3E]),
            ("{^}", &[0x1B, 0x28, 0x1B, 0x14, 0x1B, 0x29]),
            ("\\|\u{C}", &[0x1B, 0x2F, 0x1B, 0x40, 0x1B, 0x0A]),
        ] {
            assert_eq!(encode(text).as_deref(), Ok(septets), "{text}");
            assert_eq!(decode(septets), text);
        }
    }

    #[test]
    fn characters_cost_one_two_or_have_no_form() {
        for c in "àéèùìòÇÉ&@£$ \n\rAz09äöüÄÖÜ_".chars() {
            assert_eq!(septets(c), Some(1), "{c:?}");
        }
        for c in "€[]{}\\^~|\u{C}".chars() {
            assert_eq!(septets(c), Some(2), "{c:?}");
        }
        for c in "çêâîôûëïœŒ’«»…–—\u{A0}\u{202F}\t`ÀÈ°😀я\0\u{1B}\u{7F}".chars()
        {
            assert_eq!(septets(c), None, "{c:?}");
        }
    }

    #[test]
    fn a_text_outside_the_alphabet_names_its_first_stranger() {
        assert_eq!(encode("reçu à l’aube"), Err('ç'));
        assert_eq!(
            forcing_unicode("reçu ça à l’aube, l’œuvre"),
            ['ç', '’', 'œ']
        );
        assert!(forcing_unicode("déjà vu à 10 €").is_empty());
    }

    /// As the radio side packs: `fill` bits, then 7 bits each.
    fn pack(septets: &[u8], fill: u8) -> Vec<u8> {
        let mut bits = vec![false; usize::from(fill)];
        for septet in septets {
            bits.extend((0..7).map(|bit| septet >> bit & 1 == 1));
        }
        let octet = |bits: &[bool]| (0..).zip(bits).map(|(n, bit)| u8::from(*bit) << n).sum();
        bits.chunks(8).map(octet).collect()
    }

    #[test]
    fn packed_septets_are_unpacked() {
        let packed = [0xE8, 0x32, 0x9B, 0xFD, 0x46, 0x97, 0xD9, 0xEC, 0x37];
        assert_eq!(unpack(&packed, 0), b"hellohello");
        assert_eq!(pack(b"hellohello", 0), packed);
        // 7 characters leave 7 bits over, which are no @.
        assert_eq!(unpack(&pack(b"bonjour", 0), 0), b"bonjour");
        assert_eq!(unpack(&pack(b"bonjour!", 0), 0), b"bonjour!");
        // Behind a header of 6 octets: 48 bits, one of filling.
        assert_eq!(unpack(&pack(b"abc", 1), 1), b"abc");
        assert_eq!(unpack(&[], 0), b"");
        assert_eq!(unpack(&[0xFF], 6), b"");
    }

    #[test]
    fn odd_septets_are_read_as_the_specification_says() {
        for (septets, text) in [
            (&[0x41, 0x1B][..], "A "),
            (&[0x1B, 0x1B, 0x41], " A"),
            (&[0x1B, 0x41], "A"),
            (&[0x1B, 0x0D], "\r"),
            (&[0x80, 0x41, 0xFF], "\u{FFFD}A\u{FFFD}"),
            (&[0x1B, 0xE5], "\u{FFFD}"),
        ] {
            assert_eq!(decode(septets), text, "{septets:02X?}");
        }
    }

    proptest! {
        #[test]
        fn gsm_text_survives(text in gsm_text()) {
            let septets = encode(&text).unwrap();
            prop_assert!(septets.iter().all(|&s| s < 0x80));
            let cost: usize = text.chars().map(|c| usize::from(super::septets(c).unwrap())).sum();
            prop_assert_eq!(septets.len(), cost);
            prop_assert_eq!(decode(&septets), text);
        }

        #[test]
        fn what_is_packed_is_unpacked(text in "[A-Za-zéèàÇ€\\[\\]]{0,170}", fill in 0_u8..7) {
            let septets = encode(&text).unwrap();
            prop_assert_eq!(unpack(&pack(&septets, fill), fill), septets);
        }

        #[test]
        fn any_octets_unpack(octets in any::<Vec<u8>>(), fill in any::<u8>()) {
            prop_assert!(unpack(&octets, fill).len() <= octets.len() * 8 / 7);
        }

        #[test]
        fn any_octets_decode(octets in any::<Vec<u8>>()) {
            prop_assert!(decode(&octets).chars().count() <= octets.len());
        }
    }
}
