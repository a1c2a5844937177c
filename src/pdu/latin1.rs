//! ISO-8859-1, which SMPP 3.4 section 5.2.19 calls `data_coding` 3.
//!
//! Each octet is the Unicode code point of the same value.

/// True if `c` may be sent: a character of the set that is no control, or a line break.
#[must_use]
pub fn has(c: char) -> bool {
    u32::from(c) < 0x100 && (!c.is_control() || matches!(c, '\n' | '\r'))
}

/// The octets of `text`; a character without a place becomes `?`.
#[must_use]
pub fn encode(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(c).unwrap_or(b'?'))
        .collect()
}

/// The text of `octets`; every octet has a character, so nothing can fail.
#[must_use]
pub fn decode(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_code_points() {
        assert_eq!(decode(b"d\xE9j\xE0 vu \xA3"), "déjà vu £");
        assert_eq!(encode("déjà vu £"), b"d\xE9j\xE0 vu \xA3");
        assert_eq!(decode(&[]), "");
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(encode(&decode(&all)), all);
        assert_eq!(encode("œ€"), b"??");
    }

    #[test]
    fn everything_but_controls_may_be_sent() {
        let all: Vec<u8> = (0..=255).collect();
        let sent = decode(&all).chars().filter(|c| has(*c)).count();
        assert_eq!(sent, 256 - 65 + 2, "C0 and C1 and DEL but for CR and LF");
        for c in "\0\t\u{1B}\u{7F}\u{85}œ€".chars() {
            assert!(!has(c), "{c:?}");
        }
    }
}
