//! Records as octets: a version, then postcard. Old versions stay readable for ever; one record of
//! each version ever released is kept as test data.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{
    ApiKey, Batch, Count, Document, InvalidNumber, OutboxEvent, Pause, ReceiptReport, Spending,
    StoreError, Webhook,
};
use crate::domain::consent::Consent;
use crate::domain::credit::{KeyUse, Line, Purse};
use crate::domain::id::{Account, BatchId, InboundId, Lane, MessageId, Tenant};
use crate::domain::inbound::{Inbound, Parts};
use crate::domain::message::Message;
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::{Opposed, OptOut, Source};
use crate::domain::receipt::IdWriting;
use crate::domain::time::Timestamp;

/// A kind of record that the store keeps.
pub trait Record: Serialize + DeserializeOwned {
    /// The version that is written today.
    const VERSION: u8;

    /// Reads an older version; `None` if there never was such a one.
    fn read_old(_version: u8, _body: &[u8]) -> Option<Self> {
        None
    }
}

macro_rules! records {
    ($($kind:ty = $version:literal),* $(,)?) => {
        $(impl Record for $kind { const VERSION: u8 = $version; })*
    };
}

records! {
    Message = 4,
    Inbound = 3,
    Parts = 3,
    Bound = 3,
    Orphans = 3,
    Batch = 1,
    Idempotent = 2,
    Purse = 1,
    KeyUse = 1,
    Line = 1,
    Holder = 1,
    Outgoing = 4,
    Webhook = 1,
    Consent = 1,
    InvalidNumber = 1,
    ApiKey = 2,
    Document = 1,
    Count = 1,
    Pause = 1,
    Spending = 1,
    Learnt = 1,
    Layout = 1,
    Reached = 1,
    Swept = 1,
}

/// An opt-out as version 1 had it: of a number, and of everything.
#[derive(Deserialize)]
struct OptOut1 {
    tenant: Tenant,
    number: Msisdn,
    since: Timestamp,
    source: Source,
}

impl Record for OptOut {
    const VERSION: u8 = 2;

    fn read_old(version: u8, body: &[u8]) -> Option<Self> {
        let OptOut1 {
            tenant,
            number,
            since,
            source,
        } = postcard::from_bytes(body).ok().filter(|_| version == 1)?;
        Some(Self {
            tenant,
            number: Opposed::Number(number),
            sender: None,
            since,
            source,
        })
    }
}

/// What a carrier reference belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The message.
    pub id: MessageId,
    /// Index of the attempt.
    pub attempt: u16,
    /// Index of the segment.
    pub segment: u16,
    /// The recipient: the tie-breaker between forms of an id.
    pub to: Msisdn,
    /// When it was bound.
    pub at: Timestamp,
    /// TP-SCTS of the status report that was for it: the next one with it is for it too.
    pub told: Option<Timestamp>,
    /// What else it has belonged to, newest first: carriers begin their ids anew, ids in two number
    /// bases meet, and a SIM counts to 255. For other recipients, but where a SIM has made it.
    pub before: Vec<Earlier>,
}

/// What a carrier reference has belonged to before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The message.
    pub id: MessageId,
    /// Index of the attempt.
    pub attempt: u16,
    /// Index of the segment.
    pub segment: u16,
    /// The recipient.
    pub to: Msisdn,
    /// When it was bound.
    pub at: Timestamp,
    /// TP-SCTS of the status report that was for it.
    pub told: Option<Timestamp>,
}

impl Bound {
    /// Most that is remembered of what a reference has belonged to before.
    const BEFORE_MAX: usize = 3;

    /// The same reference, bound again: what it has belonged to for another recipient is remembered.
    #[must_use]
    pub fn after(self, known: Self) -> Self {
        let others = known.places().filter(|earlier| earlier.to != self.to);
        Self {
            before: others.take(Self::BEFORE_MAX).collect(),
            ..self
        }
    }

    /// What it belongs to for this recipient.
    #[must_use]
    pub fn of(&self, to: Msisdn) -> Option<Self> {
        if self.to == to {
            return Some(self.clone());
        }
        self.before
            .iter()
            .find(|earlier| earlier.to == to)
            .map(|earlier| Self::from(*earlier))
    }

    /// The same without a message that is forgotten; `None` if nothing is left.
    #[must_use]
    pub fn without(self, id: MessageId) -> Option<Self> {
        Self::of_places(self.places().filter(|place| place.id != id))
    }

    /// Everything that it belongs to and has belonged to, newest first.
    pub fn places(&self) -> impl Iterator<Item = Earlier> {
        let newest = Earlier {
            id: self.id,
            attempt: self.attempt,
            segment: self.segment,
            to: self.to,
            at: self.at,
            told: self.told,
        };
        std::iter::once(newest).chain(self.before.iter().copied())
    }

    /// What belongs to all of these, newest first; `None` if there is none.
    pub fn of_places(mut places: impl Iterator<Item = Earlier>) -> Option<Self> {
        let newest = Self::from(places.next()?);
        Some(Self {
            before: places.collect(),
            ..newest
        })
    }
}

impl From<Earlier> for Bound {
    fn from(place: Earlier) -> Self {
        Self {
            id: place.id,
            attempt: place.attempt,
            segment: place.segment,
            to: place.to,
            at: place.at,
            told: place.told,
            before: Vec::new(),
        }
    }
}

/// Receipts under a reference that nothing is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphans {
    /// The receipts, oldest first.
    pub receipts: Vec<ReceiptReport>,
    /// When the first came.
    pub since: Timestamp,
}

/// How an account's carrier writes its ids in receipts, as they have taught.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    /// Whose receipts.
    pub account: Account,
    /// How they write them.
    pub writing: IdWriting,
}

/// What an idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotent {
    /// Fingerprint of the body.
    pub body: [u8; 16],
    /// The batch of the first answer.
    pub batch: Option<BatchId>,
    /// The messages of the first answer.
    pub messages: Vec<MessageId>,
    /// The places of those among them that had been told before, and were not stored again.
    pub duplicates: Vec<u32>,
    /// When it was first used.
    pub at: Timestamp,
}

impl Idempotent {
    /// What answers the repetition of an entry in a ledger: the number of its line stands as an id.
    #[must_use]
    pub fn of_line(body: [u8; 16], number: u64, at: Timestamp) -> Self {
        Self {
            body,
            batch: None,
            messages: vec![MessageId(uuid::Uuid::from_u128(number.into()))],
            duplicates: Vec::new(),
            at,
        }
    }

    /// The number of the line that it stands for; no message has an id of so few digits.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        let [id] = self.messages.as_slice() else {
            return None;
        };
        u64::try_from(id.0.as_u128()).ok()
    }
}

/// The message that a plan, or what is told once, has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The message: its terms bear the name.
    pub message: MessageId,
    /// Since when.
    pub at: Timestamp,
}

/// A webhook delivery that is still to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Where it goes.
    pub url: String,
    /// Whose secret signs it; `None` for a message's own `webhook_url`.
    pub webhook: Option<String>,
    /// Whose.
    pub tenant: Tenant,
    /// What it tells.
    pub event: OutboxEvent,
    /// When it was decided.
    pub created_at: Timestamp,
    /// Not before this.
    pub due_at: Timestamp,
    /// Tries so far.
    pub tries: u32,
}

/// How far claims have come in each lane and priority: what waits up to there may have left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// By this life.
    pub claimed: Vec<Mark>,
    /// By past lives that ended in a crash.
    pub doubtful: Vec<Mark>,
}

/// A place in the due order of one lane and priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The lane.
    pub lane: Lane,
    /// The priority.
    pub priority: u8,
    /// When the message there is due.
    pub due_at: Timestamp,
    /// Which message it is.
    pub id: MessageId,
}

/// How far the sweeps that erase have come, by stage: what is older has been erased, or is noted to be
/// looked at again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Of the messages that are final.
    pub messages: [Option<MessageId>; 3],
    /// Of what handsets sent, by tenant.
    pub inbound: BTreeMap<Tenant, [Option<InboundId>; 3]>,
}

/// The layout of the whole store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Raised when key spaces change their meaning.
    pub version: u32,
}

/// The layout that this program writes.
pub const LAYOUT: Layout = Layout { version: 4 };

/// A record as octets.
///
/// # Errors
/// `Corrupt` if the record cannot be written down, which no record of ours should meet.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, StoreError> {
    let mut octets = Vec::with_capacity(256);
    octets.push(R::VERSION);
    postcard::to_extend(record, octets).map_err(|error| StoreError::Corrupt {
        key: String::new(),
        problem: error.to_string(),
    })
}

/// The record in `octets`, which stand under `key`.
///
/// # Errors
/// `Corrupt`, naming the key, if the version is unknown or the octets do not fit it.
pub fn decode<R: Record>(key: &[u8], octets: &[u8]) -> Result<R, StoreError> {
    let corrupt = |problem: String| StoreError::Corrupt {
        key: hex(key),
        problem,
    };
    let (version, body) = octets
        .split_first()
        .ok_or_else(|| corrupt("it is empty".to_owned()))?;
    if *version == R::VERSION {
        return postcard::from_bytes(body).map_err(|error| corrupt(error.to_string()));
    }
    R::read_old(*version, body).ok_or_else(|| {
        corrupt(format!(
            "version {version} is not one that this program can read"
        ))
    })
}

/// Octets in hexadecimal, for naming a key.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests;
