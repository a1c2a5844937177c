//! Delivery receipts after parsing, and the order of what is known about one segment.

use serde::{Deserialize, Serialize};

use super::sim;
use super::time::Timestamp;

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
    /// to the seven characters that the appendix allows; and from the words of their own that
    /// carriers are known to use.
    #[must_use]
    pub fn from_stat(word: &str) -> Option<Self> {
        /// Beginnings of words.
        const WORDS: [(&str, ReceiptState); 24] = [
            ("SCHED", ReceiptState::Scheduled),
            ("ENROUTE", ReceiptState::Enroute),
            ("BUFF", ReceiptState::Enroute),
            ("PENDING", ReceiptState::Enroute),
            ("QUEUED", ReceiptState::Enroute),
            ("SUBMIT", ReceiptState::Enroute),
            ("DELIVRD", ReceiptState::Delivered),
            ("DELIVERE", ReceiptState::Delivered),
            ("EXPIR", ReceiptState::Expired),
            ("DELETED", ReceiptState::Deleted),
            ("CANCEL", ReceiptState::Deleted),
            ("UNDELIV", ReceiptState::Undeliverable),
            ("FAILED", ReceiptState::Undeliverable),
            ("SYSERR", ReceiptState::Undeliverable),
            ("BARRED", ReceiptState::Undeliverable),
            ("ZEROBAL", ReceiptState::Undeliverable),
            ("ACCEPTD", ReceiptState::Accepted),
            ("ACCEPTE", ReceiptState::Accepted),
            ("UNKNOWN", ReceiptState::Unknown),
            ("REJECTD", ReceiptState::Rejected),
            ("REJECTE", ReceiptState::Rejected),
            ("NOCRED", ReceiptState::Rejected),
            ("BLOCKED", ReceiptState::Rejected),
            ("SKIPPED", ReceiptState::Skipped),
        ];
        let upper = word.trim().to_ascii_uppercase();
        // DELIVERED cut to seven; but what merely begins so may go on as DELIVERY FAILED.
        if upper == "DELIVER" {
            return Some(Self::Delivered);
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

/// A delivery receipt, whatever form it came in: what it means, and what the carrier wrote. Never
/// the text that it quotes, which is the message's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What the carrier reports.
    pub state: ReceiptState,
    /// The `stat:` word, as the carrier wrote it.
    pub word: Option<String>,
    /// The `err:` code, as the carrier wrote it.
    pub error: Option<String>,
    /// The `network_error_code`.
    pub network_error: Option<NetworkError>,
}

impl Receipt {
    /// A receipt that says nothing but a state.
    #[must_use]
    pub const fn of(state: ReceiptState) -> Self {
        Self {
            state,
            word: None,
            error: None,
            network_error: None,
        }
    }
}

/// When a service centre took the message of a report: by its own clock, and by ours.
///
/// The clock of a service centre may be wrong, or in another zone than it says. The time from
/// TP-SCTS to TP-DT is right whatever the zone, so that what it leaves of the time until now bounds
/// when the message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// TP-SCTS (3GPP TS 23.040 §9.2.3.11), as a moment.
    pub at: Timestamp,
    /// Not after this, by our own clock.
    pub before: Timestamp,
}

/// Why a network did not deliver (SMPP 3.4 §5.3.2.31).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetworkError {
    /// What kind of network the code is of: 1 ANSI-136, 2 IS-95, 3 GSM.
    pub network: u8,
    /// The network's code.
    pub code: u16,
}

/// How a carrier writes, in its receipts, the ids that it has answered submissions with. Learnt for
/// each account from the receipts that found their message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IdWriting {
    /// As answered.
    Same,
    /// In another case, or with other leading zeros.
    Folded,
    /// Answered in hexadecimal, reported in decimal.
    Decimal,
    /// Answered in decimal, reported in hexadecimal.
    Hexadecimal,
    /// Not at all: the handset's number tells.
    Handset,
}

impl IdWriting {
    /// Every writing.
    pub const ALL: [Self; 5] = [
        Self::Same,
        Self::Folded,
        Self::Decimal,
        Self::Hexadecimal,
        Self::Handset,
    ];

    /// The word that operators see.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Same => "as_answered",
            Self::Folded => "other_case_or_zeros",
            Self::Decimal => "hexadecimal_reported_as_decimal",
            Self::Hexadecimal => "decimal_reported_as_hexadecimal",
            Self::Handset => "by_handset",
        }
    }
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

/// Every canonical form under which the id of a receipt may have been answered, with the writing that
/// it would show, the likeliest first: as it is, the decimal of its hexadecimal value, the hexadecimal
/// of its decimal value. What a SIM has made is written in one way.
///
/// `Same` stands for `Folded` too, because canonical forms do not tell these two apart.
#[must_use]
pub fn answered_forms(id: &str) -> Vec<(IdWriting, String)> {
    let canonical = canonical_reference(id);
    if sim::is_reference(&canonical) {
        return vec![(IdWriting::Same, canonical)];
    }
    let mut forms = Vec::with_capacity(3);
    if let Ok(value) = u128::from_str_radix(&canonical, 16)
        && canonical.len() <= 32
    {
        forms.push((IdWriting::Hexadecimal, value.to_string()));
    }
    if let Ok(value) = canonical.parse::<u128>() {
        forms.push((IdWriting::Decimal, format!("{value:x}")));
    }
    forms.retain(|(_, form)| *form != canonical);
    forms.insert(0, (IdWriting::Same, canonical));
    forms
}

/// True if an id is the same in every number base, so that it shows nothing about its writing.
#[must_use]
pub fn reads_alike(id: &str) -> bool {
    matches!(canonical_reference(id).as_bytes(), [b'0'..=b'9'])
}

/// True if an id is so long that another one of the same carrier does not read as it does in another
/// number base by chance: whoever counts has to count tens of millions from one to the other.
#[must_use]
pub fn is_long(id: &str) -> bool {
    canonical_reference(id).len() >= 8
}

/// Every canonical form under which `id` may be known to the other side, the likeliest first.
#[must_use]
pub fn reference_forms(id: &str) -> Vec<String> {
    let forms = answered_forms(id).into_iter();
    forms.map(|(_, form)| form).collect()
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
    fn what_a_sim_has_made_is_written_in_one_way() {
        let made = "sim:e9288588a056:612345678:17";
        assert_eq!(
            answered_forms(made),
            [(IdWriting::Same, made.to_owned())],
            "no number base is tried on it"
        );
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
        for nothing in ["wibble", "DELIVERYFAILED", "NULL", ""] {
            assert_eq!(ReceiptState::from_stat(nothing), None, "{nothing}");
        }
        assert_eq!(ReceiptState::from_message_state(10), None);
    }
}
