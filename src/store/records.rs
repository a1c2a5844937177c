//! What the store keeps beside messages: batches, subscriptions, keys, pauses, spendings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Count, InvalidNumber, ReceiptReport};
use crate::domain::consent::Consent;
use crate::domain::id::{BatchId, MessageId, Tenant};
use crate::domain::inbound::Inbound;
use crate::domain::message::Message;
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::OptOut;
use crate::domain::tenant::KeyTerms;
use crate::domain::time::Timestamp;

/// One submission of several messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// Whose.
    pub tenant: Tenant,
    /// Its messages, in the order of submission.
    pub messages: Vec<MessageId>,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// A tenant's subscription to events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Whose.
    pub tenant: Tenant,
    /// Where to post.
    pub url: String,
    /// Event types wanted; empty means the final ones of messages.
    pub types: Vec<String>,
    /// Signing secret, `whsec_…` as Standard Webhooks writes it.
    pub secret: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Webhook {
    /// True if it wants events of this type.
    #[must_use]
    pub fn wants(&self, kind: &str) -> bool {
        if self.types.is_empty() {
            FINAL_EVENTS.contains(&kind)
        } else {
            self.types.iter().any(|wanted| wanted == kind)
        }
    }
}

/// The event types that a subscription without a word gets.
pub const FINAL_EVENTS: [&str; 4] = [
    "message.delivered",
    "message.expired",
    "message.failed",
    "message.cancelled",
];

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Public part, by which it is found and shown.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// What it is for, in the administrator's words.
    pub name: String,
    /// Whose.
    pub tenant: Tenant,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// What it may do less than its tenant.
    pub terms: KeyTerms,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Send and cancel messages.
    Send,
    /// Read messages, events, channels.
    Read,
    /// Change what its tenant has written: settings, templates, digests.
    Manage,
    /// Everything, keys included.
    Admin,
}

/// An account, or one of its binds, that an operator has paused: it takes no messages until it is
/// resumed, whatever happens to the process meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// For example `orange`, or `orange#1`.
    pub name: String,
    /// Since when.
    pub at: Timestamp,
}

/// A message that a SIM has sent, or may have: what counts towards the limits of its contract.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spending {
    /// Which SIM.
    pub sim: String,
    /// Which message; sent again, it is one spending, the last.
    pub message: MessageId,
    /// Its recipient.
    pub to: Msisdn,
    /// When the network answered, or was no longer waited for.
    pub at: Timestamp,
}

impl Spending {
    /// How long it counts towards any limit.
    pub const KEPT: Duration = Duration::from_hours(24 * 30);
}

/// Something that is known of a number.
#[derive(Clone, Debug)]
pub enum Known {
    /// A message to it.
    Message(Box<Message>),
    /// A message from it.
    Inbound(Inbound),
    /// A part of one, whose other parts are awaited.
    Part(Inbound),
    /// That it has opted out.
    OptOut(OptOut),
    /// A receipt that names it and that no message is known for.
    Receipt(ReceiptReport),
    /// That a SIM has sent to it.
    Spending(Spending),
    /// What a digest has counted for it and has not told yet.
    Count(Count),
    /// What its owner has agreed to.
    Consent(Consent),
    /// That nobody has it.
    Invalid(InvalidNumber),
}

/// A part of what is known of a number.
#[derive(Clone, Debug, Default)]
pub struct KnownPage {
    /// What it holds.
    pub known: Vec<Known>,
    /// Where to go on; `None` at the end.
    pub next: Option<Vec<u8>>,
}
