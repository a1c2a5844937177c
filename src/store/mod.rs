//! Durability: the verbs of the gateway, each atomic, each answering only after it is durable.
//!
//! The interface is made of domain operations, not of keys, so that an embedded engine and a shared
//! database can both keep its promises. There is no generic update. Every transition is decided by
//! [`crate::domain`]; the store finds the record, applies the event and writes what follows from it
//! (carrier references, outbox entries) in one commit.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::claiming::{Claimant, Claimed, Reach};
pub use self::consents::{Consents, Noted};
pub use self::counts::{Count, Counting, Counts, Held, Notice, Pending};
pub use self::documents::{Document, DocumentKind, Documents};
pub use self::embedded::RecoverError;
pub use self::invalid::{InvalidNumber, InvalidNumbers};
pub use self::ledgers::{LedgerPage, Ledgers, Posted, Posting};
pub use self::listing::Query;
pub use self::opening::{Options, check, memory, open, read_closed};
pub use self::optouts::{OptOuts, Opted, Part};
pub use self::planning::{Planned, Planning};
pub use self::records::{
    ApiKey, Batch, FINAL_EVENTS, Known, KnownPage, Pause, Scope, Spending, Webhook,
};
pub use self::reports::Report;
pub use self::sled::{Durability, OpenError};

use crate::domain::apply::{Refused, Transition};
use crate::domain::credit::{CreditLow, Means, Unpaid};
use crate::domain::id::{Account, BatchId, InboundId, Lane, MessageId, OperatorName, Tenant};
use crate::domain::inbound::Inbound;
use crate::domain::message::{Message, WaitReason};
use crate::domain::msisdn::Msisdn;
use crate::domain::receipt::{IdWriting, Receipt, Taken};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;

pub mod backup;
mod claiming;
pub mod codec;
#[cfg(test)]
mod conformance;
mod consents;
mod counts;
mod documents;
pub mod embedded;
mod frontier;
pub mod fsck;
pub mod generation;
mod index;
mod invalid;
pub mod keys;
pub mod kv;
mod ledgers;
mod listing;
#[cfg(test)]
mod lockstep;
pub mod memory;
mod opening;
mod opted_out;
mod optouts;
mod outbox;
mod part_sets;
mod places;
mod planning;
mod records;
mod reports;
pub mod restoring;
pub mod sled;
mod writings;

/// Durable state of the gateway.
#[async_trait]
pub trait Store:
    Consents
    + Counts
    + Documents
    + InvalidNumbers
    + Ledgers
    + OptOuts
    + Planning
    + Send
    + Sync
    + 'static
{
    /// Stores a submission: all of its messages, or nothing.
    ///
    /// With an idempotency key that is known, nothing is stored: the same body answers the first
    /// ids again, another body is `Conflict`. A message to a number that has opted out is stored as
    /// failed. Plans and what is told once: see [`Planning`].
    async fn accept(&self, submission: Submission) -> Result<Accepted, StoreError>;

    /// Takes up to `limit` messages of `lane` that are due at `now` and within reach, for sending. One
    /// whose recipient has opted out in the meantime is not among them: it fails.
    ///
    /// Where the message is to be sent at most once, or by a modem, its claim is durable before this
    /// returns: a status report that comes after a crash may then still settle what became of it.
    /// Elsewhere a crash forgets it, and the message is sent again, marked as one that may be a
    /// duplicate: the same as if the claim were known.
    async fn claim(
        &self,
        lane: &Lane,
        by: Claimant,
        limit: usize,
        now: Timestamp,
    ) -> Result<Claimed, StoreError>;

    /// Records what channels report, in order. A report on a claim that is no longer in force
    /// changes nothing, except that a late acceptance still binds its reference.
    async fn report(
        &self,
        reports: Vec<Report>,
        now: Timestamp,
    ) -> Result<Vec<Option<Change>>, StoreError>;

    /// Matches receipts with their messages, or parks them until the reference is bound. A status
    /// report of a SIM also settles the doubt about what it is for.
    async fn receive(
        &self,
        receipts: Vec<ReceiptReport>,
        now: Timestamp,
    ) -> Result<Vec<Receiving>, StoreError>;

    /// Applies `DeadlinePassed` to at most `limit` messages whose deadline is not after `now`.
    async fn time_out(&self, now: Timestamp, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// Withdraws a waiting message of this tenant.
    async fn cancel(
        &self,
        tenant: &Tenant,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Change, StoreError>;

    /// Stores what handsets sent; a repetition of the same id changes nothing, nor does one of a
    /// fingerprint that was shown in the last 7 days. Parts become a
    /// message when the last one comes. A keyword opts its sender out, or in again, in the same
    /// commit, and opting out fails what waits for it.
    async fn take_in(&self, inbound: Vec<Inbound>) -> Result<TakenIn, StoreError>;
    /// Makes messages of at most `limit` texts whose missing parts are no longer awaited.
    async fn give_up_parts(&self, now: Timestamp, limit: usize) -> Result<TakenIn, StoreError>;
    /// When missing parts are next given up.
    fn next_parts_deadline(&self) -> Option<Timestamp>;

    /// Up to `limit` webhook deliveries that are due, no two of one message to one target, none for
    /// an origin of `busy`. A delivery handed out is not handed out again until it is settled.
    async fn outbox_due(
        &self,
        now: Timestamp,
        limit: usize,
        busy: &[Arc<str>],
    ) -> Result<OutboxDue, StoreError>;

    /// Says what became of deliveries that were handed out.
    async fn outbox_settle(&self, settled: Vec<(u64, Settled)>) -> Result<(), StoreError>;

    /// Stores or replaces a webhook subscription.
    async fn put_webhook(&self, webhook: Webhook) -> Result<(), StoreError>;
    /// Removes one; `NotFound` if this tenant has none of that id.
    async fn delete_webhook(&self, tenant: &Tenant, id: &str) -> Result<(), StoreError>;
    /// A tenant's subscriptions.
    fn webhooks(&self, tenant: &Tenant) -> Vec<Webhook>;

    /// Stores or replaces an API key.
    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError>;
    /// The key with this public prefix.
    fn key(&self, prefix: &str) -> Option<Arc<ApiKey>>;
    /// Every key.
    fn keys(&self) -> Vec<Arc<ApiKey>>;

    /// Remembers that an operator has paused an account or a bind.
    async fn put_pause(&self, pause: Pause) -> Result<(), StoreError>;
    /// Forgets it; it is no error if there is none of that name.
    async fn delete_pause(&self, name: &str) -> Result<(), StoreError>;
    /// How the carrier of an account writes, in receipts, the ids that it has answered with, once
    /// that is learnt.
    fn writing(&self, account: &Account) -> Option<IdWriting>;
    /// Everything that is paused.
    fn pauses(&self) -> Vec<Pause>;

    /// Remembers what SIMs have sent, for as long as it counts towards a limit.
    async fn spend(&self, spendings: Vec<Spending>) -> Result<(), StoreError>;
    /// Everything that SIMs have sent and that may still count. Reads it all: for a start.
    fn spendings(&self) -> Vec<Spending>;

    /// Something of what is known of a number, whatever the tenant, and where to go on: a bounded look
    /// each time. What has been pseudonymised is not known of it any more.
    async fn known_of(
        &self,
        number: Msisdn,
        from: Option<Vec<u8>>,
    ) -> Result<KnownPage, StoreError>;
    /// Takes texts and number out of those of these records that are final, out of what is still to be
    /// told of them, and out of receipts; the others stay as they are. Answers how many it changed.
    async fn erase(&self, known: Vec<Known>, now: Timestamp) -> Result<usize, StoreError>;

    /// Begins a copy of everything, as it is when the copy ends; one at a time.
    async fn copy(&self) -> Result<Box<dyn Copying>, StoreError>;

    /// One message of this tenant.
    async fn message(&self, tenant: &Tenant, id: MessageId) -> Result<Message, StoreError>;
    /// A page of messages, newest first.
    async fn find(&self, query: Query) -> Result<Page<Message>, StoreError>;
    /// A batch's message ids, in the order of submission.
    async fn batch(&self, tenant: &Tenant, id: BatchId) -> Result<Batch, StoreError>;
    /// A page of inbound messages, newest first.
    async fn inbound(
        &self,
        tenant: &Tenant,
        before: Option<InboundId>,
        limit: usize,
    ) -> Result<Page<Inbound>, StoreError>;

    /// When the lane has work next for a claimant with this reach: `None` if never before it is
    /// notified.
    fn next_due(&self, lane: &Lane, reach: &Reach) -> Option<Timestamp>;
    /// The accounts that messages of the lane are pinned to.
    fn pins(&self, lane: &Lane) -> Vec<Account>;
    /// When the next deadline of any message passes.
    fn next_deadline(&self) -> Option<Timestamp>;
    /// Lanes that hold messages.
    fn lanes(&self) -> Vec<Lane>;
    /// Figures for metrics, cheap.
    fn gauges(&self, now: Timestamp) -> Gauges;
    /// Why it cannot take messages now, if so. Cheap: no I/O.
    fn unhealthy(&self) -> Option<String>;
    /// Removes what is past keeping, a bounded amount; true if there may be more.
    async fn prune(&self, now: Timestamp) -> Result<bool, StoreError>;
    /// Finishes what is queued, makes it durable and closes; later calls answer `Unavailable`.
    async fn close(&self);
}

/// A copy of everything that is being taken. Whoever takes it may be slow: nobody waits.
#[async_trait]
pub trait Copying: Send {
    /// The next records. What is said later of a key holds; `None` is the end, and then everything is
    /// as it was when the last records were read, after whatever was answered before this was asked.
    async fn next(&mut self) -> Result<Option<Vec<kv::Write>>, StoreError>;
}

/// Why the store did not do what was asked. A variant exists only where a caller acts on it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// No such record, or not this tenant's.
    #[error("there is no such record")]
    NotFound,
    /// The idempotency key was used with another body.
    #[error("this idempotency key was already used with another body")]
    Conflict,
    /// The message is leaving or has left.
    #[error("the message is already leaving")]
    TooLate,
    /// It is not paid for, or there has been too much of it.
    #[error(transparent)]
    Unpaid(Unpaid),
    /// The message that one of these plans has is leaving or has left.
    #[error("the message of a plan is already leaving")]
    PlanTooLate {
        /// Their places in the submission.
        items: Vec<usize>,
    },
    /// Too much is waiting; try again later.
    #[error("too many messages are waiting")]
    Full,
    /// A record cannot be read.
    #[error("the record {key} cannot be read: {problem}")]
    Corrupt {
        /// Its key in hexadecimal.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// The disk or the engine failed, or the store is closed.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLate => Self::TooLate,
            Refused::Stale => Self::NotFound,
        }
    }
}

/// Messages to be stored together.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Whose they are.
    pub tenant: Tenant,
    /// The caller's key against repetition.
    pub idempotency: Option<Idempotency>,
    /// Set if the caller asked for a batch.
    pub batch: Option<BatchId>,
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// Most live messages allowed after this.
    pub max_live: usize,
    /// By what what they cost is paid.
    pub means: Means,
    /// Now.
    pub now: Timestamp,
}

/// An idempotency key, hashed with its tenant, and the fingerprint of the body that it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Hash of tenant and key.
    pub key: [u8; 16],
    /// Hash of the body.
    pub body: [u8; 16],
}

/// The answer to a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Stored now: the records, in the order of submission.
    New(Vec<Arc<Message>>),
    /// The same of a submission with plans, or with what is told once.
    Planned(Planned),
    /// Stored before, under the same idempotency key and body.
    Repeated {
        /// The first answer's batch.
        batch: Option<BatchId>,
        /// The first answer's messages.
        messages: Vec<MessageId>,
        /// The places of those among them that had been told before, and were not stored again.
        duplicates: Vec<usize>,
    },
}

/// What became of messages from handsets.
#[derive(Clone, Debug, Default)]
pub struct TakenIn {
    /// Messages that are now there to be read; a part of several is not, until it is one of them.
    pub received: Vec<Arc<Inbound>>,
    /// Messages that failed because their recipients opted out.
    pub failed: Vec<Change>,
}

/// What a commit changed about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The record as it is now.
    pub message: Arc<Message>,
    /// How its status moved.
    pub transition: Transition,
}

/// One receipt, as a channel read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptReport {
    /// Whose reference.
    pub account: Account,
    /// The carrier's id, as the receipt wrote it; empty if it names none.
    pub reference: String,
    /// A second id, where the receipt's text and its TLV differ.
    pub other: Option<String>,
    /// The handset's number, if the receipt names one: the tie-breaker between forms of the id.
    pub handset: Option<Msisdn>,
    /// What it says.
    pub receipt: Receipt,
    /// When its service centre took the message, where it says so: a status report of a SIM.
    pub taken: Option<Taken>,
    /// Set where only the text looks like a receipt: what to take in instead if no message is known
    /// under the id.
    #[serde(skip)]
    pub otherwise: Option<Box<Inbound>>,
}

impl ReceiptReport {
    /// A receipt with one id and nothing else.
    #[must_use]
    pub const fn new(account: Account, reference: String, receipt: Receipt) -> Self {
        Self {
            account,
            reference,
            other: None,
            handset: None,
            receipt,
            taken: None,
            otherwise: None,
        }
    }
}

/// What became of a receipt.
#[derive(Clone, Debug)]
pub enum Receiving {
    /// It told something new, and showed how the carrier writes its ids.
    Matched(Change, IdWriting),
    /// Known already.
    Duplicate,
    /// No message is known under that reference yet; kept until one is.
    Parked,
    /// It names no message, and its handset does not tell which one is meant either.
    Nameless,
    /// It only looked like a receipt, and was taken in as a message from the handset.
    TakenIn(TakenIn),
}

/// A webhook delivery that is due.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its number, for settling.
    pub seq: u64,
    /// Where it goes.
    pub url: String,
    /// Scheme, host and port of the URL: what a slow receiver is known by.
    pub origin: Arc<str>,
    /// The signing secret's webhook; `None` for a message's own `webhook_url`.
    pub webhook: Option<String>,
    /// Whose it is.
    pub tenant: Tenant,
    /// What happened.
    pub event: OutboxEvent,
    /// When it was decided.
    pub created_at: Timestamp,
    /// Tries so far.
    pub tries: u32,
}

/// What a webhook tells: the record as it was when the event was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
// Handsets write seldom, beside what is told of messages.
#[allow(clippy::large_enum_variant)]
pub enum OutboxEvent {
    /// A message's status changed.
    Message(Arc<Message>),
    /// A handset wrote.
    Inbound(Inbound),
    /// A credit has come down to a threshold.
    CreditLow(CreditLow),
    /// A carrier has said that nobody has a number.
    NumberInvalid(InvalidNumber),
}

impl OutboxEvent {
    /// The event type of the contract.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Message(message) => match message.status() {
                Status::Pending => "message.pending",
                Status::Sent => "message.sent",
                Status::Delivered => "message.delivered",
                Status::Expired => "message.expired",
                Status::Failed => "message.failed",
                Status::Cancelled => "message.cancelled",
            },
            Self::Inbound(_) => "inbound.received",
            Self::CreditLow(_) => "credit.low",
            Self::NumberInvalid(_) => "number.invalid",
        }
    }
}

/// Deliveries to make now.
#[derive(Clone, Debug, Default)]
pub struct OutboxDue {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
    /// When the next one is due, of those that are not busy.
    pub next_due: Option<Timestamp>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Taken by the receiver.
    Done,
    /// To be tried again then; counts as a try.
    Retry(Timestamp),
    /// Past its time: dropped, and counted.
    GivenUp,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What it holds.
    pub items: Vec<T>,
    /// Where to go on, if there may be more: the id of the last record looked at.
    pub next: Option<uuid::Uuid>,
}

/// Figures that the store knows without looking.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Messages waiting, by operator and the code of why.
    pub waiting: Vec<(OperatorName, &'static str, u64)>,
    /// How long the message that has been due longest has waited, in seconds, by operator.
    pub oldest: Vec<(OperatorName, f64)>,
    /// Messages that are not final.
    pub live: u64,
    /// Webhook deliveries not yet made.
    pub outbox: u64,
    /// Receipts whose message is not known.
    pub orphans: u64,
    /// Counts of digests that are still to be told.
    pub counts: u64,
    /// Octets on the disk.
    pub disk_bytes: u64,
    /// Octets that are free there; `None` if it uses no disk, or nobody can tell.
    pub free_bytes: Option<u64>,
    /// Octets of all records, as last counted.
    pub live_bytes: u64,
}

/// The stable code of why a message waits.
#[must_use]
pub const fn why_code(why: &WaitReason) -> &'static str {
    match why {
        WaitReason::Accepted => "queued",
        WaitReason::ScheduledByClient => "scheduled",
        WaitReason::Backoff(_) => "backoff",
        WaitReason::Throttled => "throttled",
        WaitReason::AccountRefused(_) => "account_refused",
        WaitReason::SendingHours => "window",
        WaitReason::FellBack => "fell_back",
        WaitReason::NoChannelUp => "no_channel",
        WaitReason::InDoubt => "in_doubt",
    }
}
