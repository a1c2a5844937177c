//! The words that users see. A mapping only: no logic decides anything here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::message::{Outcome, State};

/// The public status of a message; the French and English labels are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// With us: scheduled, queued, waiting, or being submitted.
    Pending,
    /// A carrier has accepted every part; no final receipt yet.
    Sent,
    /// Final receipt: on the handset.
    Delivered,
    /// Not delivered by the end of its validity; the number may be valid.
    Expired,
    /// Cannot be delivered.
    Failed,
    /// Withdrawn before it left us.
    Cancelled,
}

/// Language of a human-facing word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// French, the default.
    #[default]
    Fr,
    /// English.
    En,
}

impl Status {
    /// Every status, in the order in which a message meets them.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Sent,
        Self::Delivered,
        Self::Expired,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The status of a state: total over all states.
    #[must_use]
    pub const fn of(state: &State) -> Self {
        match state {
            State::Waiting { .. } | State::Leased(_) => Self::Pending,
            State::Submitted { .. } => Self::Sent,
            State::Final(Outcome::Delivered) => Self::Delivered,
            State::Final(Outcome::Expired(_)) => Self::Expired,
            State::Final(Outcome::Failed(_)) => Self::Failed,
            State::Final(Outcome::Cancelled) => Self::Cancelled,
        }
    }

    /// The JSON word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status that a JSON word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// The word for people.
    #[must_use]
    pub const fn label(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Pending, Language::Fr) => "En attente",
            (Self::Sent, Language::Fr) => "Envoyé",
            (Self::Delivered, Language::Fr) => "Livré",
            (Self::Expired, Language::Fr) => "Expiré",
            (Self::Failed, Language::Fr) => "Échec",
            (Self::Cancelled, Language::Fr) => "Annulé",
            (Self::Pending, Language::En) => "Pending",
            (Self::Sent, Language::En) => "Sent",
            (Self::Delivered, Language::En) => "Delivered",
            (Self::Expired, Language::En) => "Expired",
            (Self::Failed, Language::En) => "Failed",
            (Self::Cancelled, Language::En) => "Cancelled",
        }
    }

    /// The status as one letter, as some customer files show it: `I` nothing final is known, `E` it was
    /// not delivered, `V` it was.
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Pending | Self::Sent => "I",
            Self::Delivered => "V",
            Self::Expired | Self::Failed | Self::Cancelled => "E",
        }
    }

    /// True for the statuses that a message does not normally leave.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Sent)
    }
}
