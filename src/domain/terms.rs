//! What an application has asked for beyond a text and a number: plans, hours, price, a way of several
//! channels. Most messages have nothing of it.

use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::id::MessageId;
use super::tenant::Unit;

/// The terms of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The caller's name of the plan that it is of: the last message of a plan is the one that leaves.
    pub schedule_key: Option<String>,
    /// The caller's name of what is told once, however often it is posted.
    pub once_key: Option<String>,
    /// The message of the same plan in whose place it stands.
    pub replaces: Option<MessageId>,
    /// The message of the same plan that stands in its place.
    pub replaced_by: Option<MessageId>,
    /// The template that its text was made from.
    pub template: Option<String>,
    /// True if the text was cut to what its tenant allows.
    pub truncated: bool,
    /// What it was for, where consent was asked for it.
    pub purpose: Option<String>,
    /// The names of the sending hours that bind it, besides those of its operator.
    pub hours: Vec<String>,
    /// The part of France that its tenant says the recipient is in, where that changes which holidays count.
    pub region: Option<String>,
    /// How long its text is kept, in seconds, where its tenant wants that shorter than the installation.
    pub keep_text_s: Option<u64>,
    /// What it cost, where its tenant has a credit or a quota.
    pub charge: Option<Charge>,
    /// The number that it was for, masked, where its tenant's sandbox gets it instead.
    pub sandbox_for: Option<String>,
    /// The channels that it is tried on, in order; `None`: the SMS alone.
    pub chain: Option<Chain>,
}

/// What one message cost its tenant, and counts for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Of which credit it was taken; `None`: its tenant has none, and only its quotas count.
    pub unit: Option<Unit>,
    /// Millionths of a euro; 0 where no price is known.
    pub micros: i64,
    /// Parts.
    pub parts: u32,
    /// The day whose quotas it counts for, as [`Day::number`](super::credit::Day::number).
    pub day: i32,
    /// The public prefix of the key that it was sent with, where that has quotas of its own.
    pub key: Option<String>,
    /// True once it was given back, because nothing has left.
    pub given_back: bool,
}
