//! E.164 numbers.
use serde::{Deserialize, Serialize};
/// An E.164 number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Msisdn(u64);
impl Msisdn {
    /// The digits as a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 { self.0 }
    /// From digits without plus.
    #[must_use]
    pub fn from_e164_digits(digits: &str) -> Option<Self> {
        ((8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok().map(Self)).flatten()
    }
}
impl std::fmt::Display for Msisdn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "+{}", self.0) }
}
