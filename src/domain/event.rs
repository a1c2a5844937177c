//! Everything that can happen to a message.

use super::id::MessageId;
use super::message::{Doubt, Lease, Message, State, WaitReason};
use super::receipt::Receipt;
use super::sender::Sender;
use super::terms::Terms;
use super::text::Replacement;
use super::time::Timestamp;
use crate::pdu::segment::Plan;

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
    /// The client planned anew: this message stands in its place.
    Replaced(MessageId),
    /// The client changed it.
    Changed(Box<Changes>),
    /// Its recipient wants nothing more from its tenant.
    OptedOut,
}

/// Everything of a message that its client may change while it waits, as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Who it is from.
    pub from: Option<Sender>,
    /// The text.
    pub text: String,
    /// What was replaced in the text that was given.
    pub replaced: Vec<Replacement>,
    /// Alphabet and parts of the text.
    pub plan: Plan,
    /// 0 to 3.
    pub priority: u8,
    /// Where its webhooks go.
    pub webhook_url: Option<String>,
    /// A JSON object as text.
    pub metadata: Option<String>,
    /// When the client wants it sent.
    pub send_at: Option<Timestamp>,
    /// Not before this.
    pub due_at: Timestamp,
    /// Why it waits.
    pub why: WaitReason,
    /// End of its validity.
    pub expires_at: Timestamp,
    /// What was asked for beyond a text and a number.
    pub terms: Option<Box<Terms>>,
}

impl Changes {
    /// What a message is now, which changes nothing; `None` if it does not wait.
    #[must_use]
    pub fn none(message: &Message) -> Option<Self> {
        let State::Waiting { due_at, why } = &message.state else {
            return None;
        };
        Some(Self {
            from: message.from.clone(),
            text: message.text.clone(),
            replaced: message.replaced.clone(),
            plan: message.plan.clone(),
            priority: message.priority,
            webhook_url: message.webhook_url.clone(),
            metadata: message.metadata.clone(),
            send_at: message.send_at,
            due_at: *due_at,
            why: why.clone(),
            expires_at: message.expires_at,
            terms: message.terms.clone(),
        })
    }
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
    /// Nor any other to this number, which nobody has.
    NumberInvalid(String),
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
            | Self::NumberInvalid(code)
            | Self::Temporary(code)
            | Self::Throttled(code)
            | Self::Account(code) => code,
        }
    }
}
