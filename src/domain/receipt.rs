//! Delivery receipts after parsing, and the order of what is known about one segment.

use serde::{Deserialize, Serialize};

/// What is known of one segment. It only climbs: receipts are merged by taking the maximum, so
/// duplicates, reordering and a late `DELIVRD` after `EXPIRED` are all harmless.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum Known {
    /// No final receipt yet.
    #[default]
    Awaiting,
    /// The carrier gave up at the end of the validity.
    Expired,
    /// The carrier says that it cannot be delivered.
    Failed,
    /// On the handset.
    Delivered,
}

impl Known {
    /// Rank of what it *means* for an attempt of several segments:
    /// `Failed < Expired < Awaiting < Delivered`. An attempt is its weakest segment.
    #[must_use]
    pub const fn meaning(self) -> u8 {
        match self {
            Self::Failed => 0,
            Self::Expired => 1,
            Self::Awaiting => 2,
            Self::Delivered => 3,
        }
    }
}

/// A receipt's state, in the words of SMPP 3.4 §5.2.28 (`message_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReceiptState {
    /// 0, SMPP 5.0 §4.7.15: the carrier has scheduled it.
    Scheduled,
    /// 1: under way.
    Enroute,
    /// 2: on the handset.
    Delivered,
    /// 3: validity over.
    Expired,
    /// 4: deleted by the carrier.
    Deleted,
    /// 5: undeliverable.
    Undeliverable,
    /// 6: accepted by the carrier (on the subscriber's behalf).
    Accepted,
    /// 7: no evidence either way.
    Unknown,
    /// 8: refused.
    Rejected,
    /// 9, SMPP 5.0: skipped.
    Skipped,
}

impl ReceiptState {
    /// From the value of the `message_state` TLV (SMPP 3.4 §5.3.2.35).
    #[must_use]
    pub const fn from_message_state(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Scheduled,
            1 => Self::Enroute,
            2 => Self::Delivered,
            3 => Self::Expired,
            4 => Self::Deleted,
            5 => Self::Undeliverable,
            6 => Self::Accepted,
            7 => Self::Unknown,
            8 => Self::Rejected,
            9 => Self::Skipped,
            _ => return None,
        })
    }

    /// The value of the `message_state` TLV.
    #[must_use]
    pub const fn message_state(self) -> u8 {
        match self {
            Self::Scheduled => 0,
            Self::Enroute => 1,
            Self::Delivered => 2,
            Self::Expired => 3,
            Self::Deleted => 4,
            Self::Undeliverable => 5,
            Self::Accepted => 6,
            Self::Unknown => 7,
            Self::Rejected => 8,
            Self::Skipped => 9,
        }
    }

    /// From the `stat:` word of a receipt's text (SMPP 3.4 appendix B), in any case, whole or cut
    /// to the seven characters that the appendix allows.
    #[must_use]
    pub fn from_stat(word: &str) -> Option<Self> {
        const WORDS: [(&str, ReceiptState); 12] = [
            ("SCHEDUL", ReceiptState::Scheduled),
            ("ENROUTE", ReceiptState::Enroute),
            ("DELIVRD", ReceiptState::Delivered),
            ("DELIVER", ReceiptState::Delivered),
            ("EXPIRED", ReceiptState::Expired),
            ("DELETED", ReceiptState::Deleted),
            ("UNDELIV", ReceiptState::Undeliverable),
            ("ACCEPTD", ReceiptState::Accepted),
            ("ACCEPTE", ReceiptState::Accepted),
            ("UNKNOWN", ReceiptState::Unknown),
            ("REJECTD", ReceiptState::Rejected),
            ("REJECTE", ReceiptState::Rejected),
        ];
        let upper = word.trim().to_ascii_uppercase();
        if upper.starts_with("SKIPPED") {
            return Some(Self::Skipped);
        }
        WORDS
            .iter()
            .find(|(name, _)| upper.starts_with(name))
            .map(|(_, state)| *state)
    }

    /// The `stat:` word of SMPP 3.4 appendix B.
    #[must_use]
    pub const fn stat(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDUL",
            Self::Enroute => "ENROUTE",
            Self::Delivered => "DELIVRD",
            Self::Expired => "EXPIRED",
            Self::Deleted => "DELETED",
            Self::Undeliverable => "UNDELIV",
            Self::Accepted => "ACCEPTD",
            Self::Unknown => "UNKNOWN",
            Self::Rejected => "REJECTD",
            Self::Skipped => "SKIPPED",
        }
    }

    /// What it tells about the segment. Intermediate states and UNKNOWN are no evidence.
    #[must_use]
    pub const fn known(self) -> Known {
        match self {
            Self::Delivered => Known::Delivered,
            Self::Expired => Known::Expired,
            Self::Deleted | Self::Undeliverable | Self::Rejected | Self::Skipped => Known::Failed,
            Self::Scheduled | Self::Enroute | Self::Accepted | Self::Unknown => Known::Awaiting,
        }
    }
}

/// A delivery receipt, whatever form it came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What the carrier reports.
    pub state: ReceiptState,
    /// The carrier's own error code (`err:` or `network_error_code`), as it wrote it.
    pub error: Option<String>,
}

/// Canonical form of a carrier's message id: no leading zeros, lower case.
///
/// Carriers answer `submit_sm` with one writing of an id and report on another (padded,
/// re-cased, or in the other number base), so ids are compared in this form.
#[must_use]
pub fn canonical_reference(id: &str) -> String {
    let trimmed = id.trim().trim_start_matches('0');
    if trimmed.is_empty() {
        "0".to_owned()
    } else {
        trimmed.to_ascii_lowercase()
    }
}

/// Every canonical form under which `id` may be known to the other side, the likeliest first:
/// as it is, decimal read as hexadecimal's value, hexadecimal written from the decimal value.
#[must_use]
pub fn reference_forms(id: &str) -> Vec<String> {
    let canonical = canonical_reference(id);
    let mut forms = Vec::with_capacity(3);
    if let Ok(value) = u128::from_str_radix(&canonical, 16)
        && canonical.len() <= 32
    {
        forms.push(value.to_string());
    }
    if let Ok(value) = canonical.parse::<u128>() {
        forms.push(format!("{value:x}"));
    }
    forms.retain(|form| *form != canonical);
    forms.dedup();
    forms.insert(0, canonical);
    forms
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_in_the_other_base_padded_or_recased_has_a_form_in_common() {
        for (submitted, reported) in [
            ("123456", "123456"),
            ("0000123456", "123456"),
            ("1E240", "123456"),
            ("123456", "1E240"),
            ("1e240", "0001E240"),
            ("AbC-9", "abc-9"),
        ] {
            let bound = canonical_reference(submitted);
            assert!(
                reference_forms(reported).contains(&bound),
                "{submitted} against {reported}"
            );
        }
        assert_eq!(canonical_reference("000"), "0");
    }

    #[test]
    fn every_stat_word_is_read_in_any_case_and_round_trips() {
        for value in 0..=9 {
            let state = ReceiptState::from_message_state(value).unwrap();
            assert_eq!(state.message_state(), value);
            if state != ReceiptState::Scheduled {
                assert_eq!(ReceiptState::from_stat(state.stat()), Some(state));
                assert_eq!(
                    ReceiptState::from_stat(&state.stat().to_lowercase()),
                    Some(state)
                );
            }
        }
        assert_eq!(
            ReceiptState::from_stat("DELIVERED"),
            Some(ReceiptState::Delivered)
        );
        assert_eq!(
            ReceiptState::from_stat("UNDELIVERABLE"),
            Some(ReceiptState::Undeliverable)
        );
        assert_eq!(
            ReceiptState::from_stat("ACCEPTED"),
            Some(ReceiptState::Accepted)
        );
        assert_eq!(ReceiptState::from_stat("wibble"), None);
        assert_eq!(ReceiptState::from_message_state(10), None);
    }
}
