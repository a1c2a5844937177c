//! ISO-8859-1, which SMPP 3.4 section 5.2.19 calls `data_coding` 3.
//!
//! Each octet is the Unicode code point of the same value. The gateway only
//! receives this coding; it never chooses it for sending.

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
        assert_eq!(decode(&[]), "");
        assert!(
            decode(&(0..=255).collect::<Vec<u8>>())
                .chars()
                .map(u32::from)
                .eq(0..=255)
        );
    }
}
