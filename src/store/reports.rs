//! What channels report about claims, and the events that follow from it.

use crate::domain::event::{Event, Rejection, Sending};
use crate::domain::message::{Doubt, Token, WaitReason};
use crate::domain::receipt::Receipt;

/// What a channel reports about one claim.
#[derive(Clone, Debug)]
pub enum Report {
    /// A segment was accepted under this reference.
    Accepted {
        /// Which claim.
        token: Token,
        /// Segment index, from 0.
        segment: u16,
        /// The carrier's id, as it wrote it.
        reference: String,
    },
    /// A segment was taken, and is with the recipient.
    Delivered {
        /// Which claim.
        token: Token,
        /// Segment index, from 0.
        segment: u16,
        /// The far end's id; empty if it has none.
        reference: String,
    },
    /// The far end has told what became of what it had taken.
    Told {
        /// Of which attempt.
        token: Token,
        /// What it says.
        receipt: Receipt,
    },
    /// A segment was refused.
    Rejected {
        /// Which claim.
        token: Token,
        /// How.
        rejection: Rejection,
    },
    /// A segment was refused after its answer had been given up.
    RefusedLate {
        /// Which claim.
        token: Token,
        /// Segment index, from 0.
        segment: u16,
        /// How.
        rejection: Rejection,
    },
    /// Nobody can tell.
    Unknown {
        /// Which claim.
        token: Token,
        /// Segment index, from 0.
        segment: u16,
        /// Why.
        doubt: Doubt,
    },
    /// Returned unsent.
    GivenBack {
        /// Which claim.
        token: Token,
        /// Why it waits now.
        why: WaitReason,
    },
}

/// The event that a report is, for the message that it names.
impl Report {
    /// The claim that it speaks for.
    #[must_use]
    pub const fn token(&self) -> Token {
        match self {
            Self::Accepted { token, .. }
            | Self::Delivered { token, .. }
            | Self::Told { token, .. }
            | Self::Rejected { token, .. }
            | Self::RefusedLate { token, .. }
            | Self::Unknown { token, .. }
            | Self::GivenBack { token, .. } => *token,
        }
    }

    /// The domain event that it brings.
    #[must_use]
    pub fn event(&self) -> Event {
        let token = self.token();
        let by = Sending {
            attempt: token.attempt,
            claim: token.claim,
        };
        match self {
            Self::Accepted {
                segment, reference, ..
            } => Event::SegmentAccepted {
                by,
                segment: *segment,
                reference: reference.clone(),
            },
            Self::Delivered {
                segment, reference, ..
            } => Event::SegmentDelivered {
                by,
                segment: *segment,
                reference: reference.clone(),
            },
            Self::Told { receipt, .. } => Event::Receipt {
                attempt: token.attempt,
                segment: 0,
                reference: String::new(),
                receipt: receipt.clone(),
            },
            Self::Rejected { rejection, .. } => Event::SegmentRejected {
                by,
                rejection: rejection.clone(),
            },
            Self::RefusedLate {
                segment, rejection, ..
            } => Event::SegmentRefusedLate {
                by,
                segment: *segment,
                rejection: rejection.clone(),
            },
            Self::Unknown { segment, doubt, .. } => Event::SegmentUnknown {
                by,
                segment: *segment,
                doubt: *doubt,
            },
            Self::GivenBack { why, .. } => Event::GivenBack {
                by,
                why: why.clone(),
            },
        }
    }
}
