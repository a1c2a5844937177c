//! The UCS2 alphabet (3GPP TS 23.038 clause 6.2.3), which SMPP calls
//! `data_coding` 8.
//!
//! The specification says UCS-2; every handset of the last fifteen years reads
//! UTF-16, big endian, and shows characters outside the basic plane (emoji) from
//! their surrogate pairs. So that is what is written and read here.

/// The UTF-16BE octets of `text`.
#[must_use]
pub fn encode(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// The text of UTF-16BE `octets`.
///
/// Total: an unpaired surrogate and an odd last octet each become U+FFFD, so that
/// damage stays visible instead of disappearing.
#[must_use]
pub fn decode(octets: &[u8]) -> String {
    decode_as(octets, u16::from_be_bytes)
}

/// The same for octets from strangers, which may begin with a byte order mark: it is
/// no part of the text, and one that is written the other way round proves that all
/// of it is little-endian. Nothing else is proof.
#[must_use]
pub fn decode_marked(octets: &[u8]) -> String {
    match octets {
        [0xFE, 0xFF, rest @ ..] => decode_as(rest, u16::from_be_bytes),
        [0xFF, 0xFE, rest @ ..] => decode_as(rest, u16::from_le_bytes),
        _ => decode(octets),
    }
}

fn decode_as(octets: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, odd) = octets.as_chunks::<2>();
    let mut text: String = char::decode_utf16(pairs.iter().copied().map(unit))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    if !odd.is_empty() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    text
}

/// How many UTF-16 code units `c` takes: 1, or 2 for a surrogate pair.
#[must_use]
pub fn units(c: char) -> u8 {
    if u32::from(c) < 0x1_0000 { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts_have_known_octets() {
        for (text, octets) in [
            ("", &[][..]),
            ("A", &[0x00, 0x41]),
            ("œ", &[0x01, 0x53]),
            ("€", &[0x20, 0xAC]),
            ("😀", &[0xD8, 0x3D, 0xDE, 0x00]),
        ] {
            assert_eq!(encode(text), octets, "{text}");
            assert_eq!(decode(octets), text);
        }
    }

    #[test]
    fn damage_becomes_the_replacement_character() {
        for (octets, text) in [
            (&[0x00, 0x41, 0x00][..], "A\u{FFFD}"),
            (&[0xD8, 0x3D][..], "\u{FFFD}"),
            (&[0xD8, 0x3D, 0x00, 0x41][..], "\u{FFFD}A"),
            (&[0xDE, 0x00, 0xD8, 0x3D][..], "\u{FFFD}\u{FFFD}"),
        ] {
            assert_eq!(decode(octets), text, "{octets:02X?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_believed_and_not_shown() {
        assert_eq!(decode_marked(b"\xFE\xFF\x01\x53"), "œ");
        assert_eq!(decode_marked(b"\xFF\xFE\x53\x01\x00"), "œ\u{FFFD}");
        assert_eq!(decode_marked(b"\x53\x01"), "匁");
        assert_eq!(decode(b"\xFE\xFF\x01\x53"), "\u{FEFF}œ");
    }

    proptest! {
        #[test]
        fn any_text_survives(text in any::<String>()) {
            prop_assert_eq!(decode(&encode(&text)), text);
        }

        #[test]
        fn any_octets_decode(octets in any::<Vec<u8>>()) {
            prop_assert!(decode(&octets).chars().count() <= octets.len());
        }

        #[test]
        fn units_are_what_utf16_takes(c in any::<char>()) {
            prop_assert_eq!(usize::from(units(c)), c.len_utf16());
        }
    }
}
