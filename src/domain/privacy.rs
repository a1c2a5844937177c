//! What is taken out of records to protect the people in them, and when.
//!
//! A record goes in three [`Stage`]s, counted from its final state. First what the caller wrote
//! about a person: text, metadata, an address with a query. Then the number, for which a pseudonym
//! stands, and all that leads back to it: the caller's reference, the carrier's ids (those of a SIM
//! hold digits of the number), the trace. What is left is a line of statistics: when, which
//! operator, how many parts, what became of it. Last, the record itself.
//!
//! Nothing here changes what a message's state is, nor when it changed.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::time::Timestamp;

/// What of a record is gone for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// When its text went, and with it whatever else the caller wrote into it.
    pub text_at: Option<Timestamp>,
    /// What stands for the handset's number since that went: the same for the same number, and no way
    /// back from it without the installation's own key.
    pub number: Option<u64>,
}

/// What goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// What was written.
    Text,
    /// Whom it was written to or by.
    Number,
    /// That it was.
    Record,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 3] = [Self::Text, Self::Number, Self::Record];

    /// Its place among them.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How long records are kept whole and in part, from their final state, or from when a handset's
/// message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Texts and what else the caller wrote.
    pub texts: Duration,
    /// Numbers.
    pub numbers: Duration,
    /// What is left then.
    pub messages: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_hours(24 * days);
        Self {
            texts: days(30),
            numbers: days(395),
            messages: days(1095),
        }
    }
}

impl Retention {
    /// Everything for as long as this.
    #[must_use]
    pub const fn all(kept: Duration) -> Self {
        Self {
            texts: kept,
            numbers: kept,
            messages: kept,
        }
    }

    /// How long what goes at a stage is kept.
    #[must_use]
    pub const fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Text => self.texts,
            Stage::Number => self.numbers,
            Stage::Record => self.messages,
        }
    }
}

/// Makes pseudonyms: who holds the key can tell whether a pseudonym is a certain number's, and
/// nobody else can, however many numbers they try.
#[derive(Clone)]
pub struct Pseudonyms {
    key: [u8; 32],
}

impl Pseudonyms {
    /// With a key derived from the installation's own.
    #[must_use]
    pub fn of_installation(key: &[u8]) -> Self {
        Self {
            key: mac(key, b"pseudonyms of numbers"),
        }
    }

    /// What stands for a number, or for a sender that is none: 64 bits.
    #[must_use]
    pub fn of(&self, number: &str) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = mac(&self.key, number.as_bytes());
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl Default for Pseudonyms {
    fn default() -> Self {
        Self::of_installation(&[])
    }
}

/// How records are kept, and what takes the place of numbers.
#[derive(Clone, Default)]
pub struct Keeping {
    /// How long.
    pub retention: Retention,
    /// What stands for numbers.
    pub pseudonyms: Pseudonyms,
    /// True: what stands for a number is kept of those who have opted out, and not the number.
    pub hashed_optouts: bool,
}

impl Keeping {
    /// Everything for as long as this.
    #[must_use]
    pub fn all(kept: Duration) -> Self {
        Self {
            retention: Retention::all(kept),
            ..Self::default()
        }
    }
}

impl std::fmt::Debug for Keeping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.retention.fmt(f)
    }
}

fn mac(key: &[u8], what: &[u8]) -> [u8; 32] {
    // An HMAC takes a key of any length.
    Hmac::<Sha256>::new_from_slice(key).map_or([0; 32], |mut mac| {
        mac.update(what);
        mac.finalize().into_bytes().into()
    })
}

/// A pseudonym as people read it: no number begins like this.
#[must_use]
pub fn written(pseudonym: u64) -> String {
    format!("~{pseudonym:016x}")
}

impl Erased {
    /// True if nothing is left to be done at this stage but the last.
    #[must_use]
    pub const fn is_past(&self, stage: Stage) -> bool {
        match stage {
            Stage::Text => self.text_at.is_some(),
            Stage::Number => self.number.is_some(),
            Stage::Record => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{at, in_parts, number};
    use crate::domain::msisdn::Msisdn;

    #[test]
    fn a_pseudonym_is_the_same_for_the_same_number_and_key_alone() {
        let one = Pseudonyms::of_installation(b"one");
        let other = Pseudonyms::of_installation(b"other");
        assert_eq!(one.of("+33612345678"), one.of("+33612345678"));
        assert_ne!(one.of("+33612345678"), one.of("+33612345679"));
        assert_ne!(one.of("+33612345678"), other.of("+33612345678"));
        assert_eq!(written(0xAB), "~00000000000000ab");
    }

    #[test]
    fn nothing_of_the_person_is_left_and_the_parts_are_still_counted() {
        for whole in [false, true] {
            let mut message = in_parts(7, 3);
            message.plan = if whole {
                message.plan.in_one_piece()
            } else {
                message.plan
            };
            message.metadata = Some("{\"name\":\"Dupont\"}".to_owned());
            message.reference = Some("dossier-4711".to_owned());
            message.webhook_url = Some("https://a.example/?who=Dupont".to_owned());
            message.erase_text(at(9));
            let text_only = format!("{message:?}");
            assert!(!text_only.contains("Dupont") && message.text.is_empty());
            assert_eq!(message.reference.as_deref(), Some("dossier-4711"));
            assert_eq!((message.parts(), message.to), (3, number(7)));
            message.erase_number(&Pseudonyms::default(), at(10));
            assert_eq!((message.parts(), message.to), (3, Msisdn::NOBODY));
            assert!(!format!("{message:?}").contains("dossier"));
            assert_eq!(message.erased.text_at, Some(at(9)));
            let once = message.clone();
            message.erase_number(&Pseudonyms::default(), at(11));
            assert_eq!(message, once);
        }
    }
}
