//! Who a message is from, as the handset shows it.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub mod lint;

/// A sender. Its form decides type of number and numbering plan (SMPP 3.4 §5.2.5, §5.2.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sender {
    /// Up to eleven characters (3GPP TS 23.040 §9.1.2.5): TON 5, NPI 0.
    Alphanumeric(String),
    /// An international number, digits without `+`: TON 1, NPI 1.
    International(String),
    /// A short code of 3 to 8 digits: TON 3, NPI 0.
    Short(String),
}

/// Why a sender is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SenderError {
    /// Too long for an alphanumeric sender.
    #[error("the sender has {0} characters; an alphanumeric sender has at most 11")]
    TooLong(usize),
    /// Nothing to show.
    #[error("the sender is empty; leave it out to use the account's own")]
    Empty,
    /// A character that carriers refuse.
    #[error(
        "the sender holds {0:?}; use unaccented letters, digits, spaces and . - _ & ' + / ! only"
    )]
    Character(char),
    /// A numeric sender that is neither a short code nor an international number.
    #[error(
        "a numeric sender is a short code of 3 to 8 digits or an international number such as +33612345678"
    )]
    Numeric,
}

impl SenderError {
    /// Stable code for the HTTP interface.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "sender_too_long",
            Self::Empty => "sender_empty",
            Self::Character(_) => "sender_character",
            Self::Numeric => "sender_numeric",
        }
    }
}

impl Sender {
    /// Reads a sender as a client writes it.
    ///
    /// # Errors
    /// Which rule of the sender's form is broken.
    pub fn parse(text: &str) -> Result<Self, SenderError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SenderError::Empty);
        }
        if let Some(digits) = text.strip_prefix('+') {
            let digits: String = digits
                .chars()
                .filter(|c| !matches!(c, ' ' | '.' | '-'))
                .collect();
            let valid =
                (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            return if valid {
                Ok(Self::International(digits))
            } else {
                Err(SenderError::Numeric)
            };
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return match text.len() {
                3..=8 => Ok(Self::Short(text.to_owned())),
                10..=15 if !text.starts_with('0') => Ok(Self::International(text.to_owned())),
                _ => Err(SenderError::Numeric),
            };
        }
        let count = text.chars().count();
        if count > 11 {
            return Err(SenderError::TooLong(count));
        }
        match text
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || " .-_&'+/!".contains(*c)))
        {
            Some(character) => Err(SenderError::Character(character)),
            None => Ok(Self::Alphanumeric(text.to_owned())),
        }
    }

    /// The address without a leading `+`, as it goes on the wire.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Alphanumeric(text) | Self::International(text) | Self::Short(text) => text,
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::International(digits) => write!(f, "+{digits}"),
            Self::Alphanumeric(text) | Self::Short(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_sender_decides_its_kind() {
        let cases = [
            ("CCAS LYON", Ok(Sender::Alphanumeric("CCAS LYON".into()))),
            (
                "+33612345678",
                Ok(Sender::International("33612345678".into())),
            ),
            (
                "33612345678",
                Ok(Sender::International("33612345678".into())),
            ),
            ("36111", Ok(Sender::Short("36111".into()))),
            ("TWELVECHARS!", Err(SenderError::TooLong(12))),
            ("", Err(SenderError::Empty)),
            ("Zoë", Err(SenderError::Character('ë'))),
            ("CCAS\r\nX", Err(SenderError::Character('\r'))),
            ("0325828500", Err(SenderError::Numeric)),
            ("12", Err(SenderError::Numeric)),
            ("+12", Err(SenderError::Numeric)),
        ];
        for (text, expected) in cases {
            assert_eq!(Sender::parse(text), expected, "{text:?}");
        }
    }
}
