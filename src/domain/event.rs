//! Everything that can happen to a message.

use super::message::{Doubt, Lease, WaitReason};
use super::receipt::Receipt;
use super::time::Timestamp;

/// One thing that happened, as told by a channel, a carrier, the clock or a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The dispatcher took it for sending.
    Claimed(Lease),
    /// A carrier accepted one segment.
    SegmentAccepted {
        /// Attempt and claim that sent it.
        by: Sending,
        /// Segment index, from 0.
        segment: u16,
        /// The carrier's id of it, as the carrier wrote it.
        reference: String,
    },
    /// An app has taken it, and says that it is with the recipient.
    SegmentDelivered {
        /// Attempt and claim that sent it.
        by: Sending,
        /// Segment index, from 0.
        segment: u16,
        /// The far end's id of it; empty if it has none.
        reference: String,
    },
    /// A carrier refused one segment; the rest of the claim was not sent.
    SegmentRejected {
        /// Attempt and claim that sent it.
        by: Sending,
        /// What kind of refusal.
        rejection: Rejection,
    },
    /// A carrier refused one segment after the answer had been given up: it has not taken it.
    SegmentRefusedLate {
        /// Attempt and claim that sent it.
        by: Sending,
        /// Segment index, from 0.
        segment: u16,
        /// What kind of refusal.
        rejection: Rejection,
    },
    /// Nobody can tell whether a carrier took the segment; the rest of the claim was not sent.
    SegmentUnknown {
        /// Attempt and claim that sent it.
        by: Sending,
        /// Segment index, from 0.
        segment: u16,
        /// Why.
        doubt: Doubt,
    },
    /// Returned unsent and unjudged.
    GivenBack {
        /// Attempt and claim that held it.
        by: Sending,
        /// Why it waits now.
        why: WaitReason,
    },
    /// A receipt for one segment.
    Receipt {
        /// Index of the attempt that the reference belongs to.
        attempt: u16,
        /// Segment index, from 0.
        segment: u16,
        /// The carrier's id, as the receipt wrote it; empty if it named none.
        reference: String,
        /// What the carrier says.
        receipt: Receipt,
    },
    /// Its deadline may have passed; what that means depends on where it stands.
    DeadlinePassed,
    /// Whoever held it is gone, with the process that died.
    LeaseLost,
    /// It was due when a process died that kept its claims in memory: it may have left.
    MayHaveLeft,
    /// Its turn has come in hours in which it may not leave.
    Deferred {
        /// When it may.
        until: Timestamp,
    },
    /// The client withdrew it.
    Cancelled,
    /// Its recipient wants nothing more from its tenant.
    OptedOut,
}

/// Which claim of a message an event speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Index into the message's attempts.
    pub attempt: u16,
    /// Number of the claim.
    pub claim: u32,
}

/// A carrier's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It will never take this message.
    Permanent(String),
    /// It may take it later; counts as a try.
    Temporary(String),
    /// It asks us to slow down; counts as nothing.
    Throttled(String),
    /// The account cannot send at present, whatever the message; counts as nothing.
    Account(String),
}

impl Rejection {
    /// The carrier's code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Permanent(code)
            | Self::Temporary(code)
            | Self::Throttled(code)
            | Self::Account(code) => code,
        }
    }
}
