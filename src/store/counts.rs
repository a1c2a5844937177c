//! Counts of digests: what has come for a recipient since the last tick, and is still to be told.
//!
//! One count is of one digest, recipient, kind and tick. It is consumed in the very commit that stores the
//! message telling it, and only if it is still what the message says: so that a crash at any instant, or a
//! notice that comes at the same moment, neither loses nor doubles anything. Which counts there are is in
//! memory, in the order of their ticks, rebuilt at every start; what they are is read from their records.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Accepted, Idempotency, Page, StoreError, Submission, keys};
use crate::domain::id::Tenant;
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;

/// How much later than a notice the ticks may be that are being told when it is counted.
const CLOCK_SLACK: Duration = Duration::from_mins(1);

/// The verbs of counts.
#[async_trait]
pub trait Counts {
    /// Adds a notice to its count, or takes some back: from the latest tick first. `NotFound` if the
    /// digest is not defined, `Conflict` if its idempotency key was used for another one, `Full` if too
    /// many counts are pending.
    async fn count(&self, notice: Notice) -> Result<Counting, StoreError>;
    /// Up to `limit` counts whose ticks are not after `now`, in their order. What is counted from now on
    /// is for a tick after `now`.
    async fn counts_due(&self, now: Timestamp, limit: usize) -> Result<Vec<Count>, StoreError>;
    /// When the next tick of any count is. Cheap: no I/O.
    fn next_count_due(&self) -> Option<Timestamp>;
    /// Stores the messages that tell a count, and consumes it; `None`, and nothing is stored, if it is not
    /// what it was any more.
    async fn tell_count(
        &self,
        count: Count,
        submission: Submission,
    ) -> Result<Option<Accepted>, StoreError>;
    /// Moves a count that could not be told to the tick `to`, where it joins what is counted for that
    /// one; false, and nothing is changed, if it is not what it was any more.
    async fn carry_over(&self, count: Count, to: Timestamp, held: Held)
    -> Result<bool, StoreError>;
    /// A page of what is pending of a digest, by number: those of one recipient, or of all after
    /// `after`. A recipient's counts stay together, so that a page may hold some more than `limit`.
    async fn pending_counts(
        &self,
        tenant: &Tenant,
        digest: &str,
        of: Pending,
        limit: usize,
    ) -> Result<Page<Count>, StoreError>;
    /// Drops at most `limit` pending counts of a digest, of one recipient or of all, and says how many.
    async fn drop_counts(
        &self,
        tenant: &Tenant,
        digest: &str,
        to: Option<Msisdn>,
        limit: usize,
    ) -> Result<usize, StoreError>;
    /// Removes the definition of a digest unless something is pending of it: how many counts then.
    /// `NotFound` if there is no such digest.
    async fn delete_digest(&self, tenant: &Tenant, digest: &str) -> Result<usize, StoreError>;
}

/// How many of a kind are to be told to a recipient at a tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Whose digest.
    pub tenant: Tenant,
    /// Its name.
    pub digest: String,
    /// Who is to be told.
    pub to: Msisdn,
    /// Of what.
    pub kind: String,
    /// When.
    pub tick: Timestamp,
    /// How many: at least 1.
    pub count: u32,
    /// The caller's reference: the last one that a notice had.
    pub reference: Option<String>,
    /// When the first of them came.
    pub since: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Set where some of it could not be told at an earlier tick.
    pub held: Option<Held>,
}

/// Why a count could not be told at its tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Stable code.
    pub code: String,
    /// In words.
    pub detail: String,
    /// The last tick at which it could not.
    pub tick: Timestamp,
}

impl Count {
    /// The code of what stands in a backup and was due before it was restored.
    pub const RESTORED: &'static str = "restored";

    /// True if the gateway that a backup is of may have told it.
    #[must_use]
    pub fn may_have_been_told(&self) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.code == Self::RESTORED)
    }
}

/// That something has come for a recipient, or has been taken back.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Whose digest.
    pub tenant: Tenant,
    /// Its name.
    pub digest: String,
    /// For whom.
    pub to: Msisdn,
    /// What.
    pub kind: String,
    /// How many; negative: taken back.
    pub change: i32,
    /// The caller's reference.
    pub reference: Option<String>,
    /// The tick that it is told at, and the one after it: for where the first is being told already.
    pub ticks: [Timestamp; 2],
    /// The caller's key against repetition.
    pub idempotency: Option<Idempotency>,
    /// Most counts that may be pending after this, over all tenants.
    pub most: usize,
    /// Now.
    pub now: Timestamp,
}

/// What a notice has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Counted.
    Counted {
        /// What is pending now of this digest, recipient and kind, by tick.
        stands: Vec<Count>,
        /// True if it had been counted before, under the same idempotency key.
        repeated: bool,
    },
    /// More is to be taken back than there is; nothing has changed.
    BelowZero {
        /// How many there are.
        stands: u64,
    },
}

/// Whose pending counts are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// One recipient's.
    Of(Msisdn),
    /// Everybody's whose number is greater.
    After(Option<Msisdn>),
}

/// Which counts there are.
///
/// The writer changes it together with the records. What it says may so be ahead of the disk by the
/// moment of a sync; if the sync fails the store is off.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By tick.
    due: BTreeSet<(Timestamp, Arc<[u8]>)>,
    /// By digest, recipient, kind and tick.
    keys: BTreeSet<Arc<[u8]>>,
    /// Ticks up to this one are being told, or have been.
    told: Timestamp,
}

impl Tally {
    pub(super) fn insert(&mut self, key: &[u8]) {
        let Some(tick) = keys::tick_of_count(key) else {
            return;
        };
        let key: Arc<[u8]> = key.into();
        self.due.insert((tick, key.clone()));
        self.keys.insert(key);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some(key) = self.keys.take(key)
            && let Some(tick) = keys::tick_of_count(&key)
        {
            self.due.remove(&(tick, key));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(tick, _)| *tick)
    }

    /// Keys of those that are due; from now on nothing is counted for their ticks.
    pub(super) fn due(&mut self, now: Timestamp, limit: usize) -> Vec<Arc<[u8]>> {
        self.told = self.told.max(now);
        let due = self.due.iter().take_while(|(tick, _)| *tick <= now);
        due.take(limit).map(|(_, key)| key.clone()).collect()
    }

    /// Takes one out of the order of ticks, not out of what is pending: a record that cannot be read.
    pub(super) fn pass_over(&mut self, key: &Arc<[u8]>) {
        if let Some(tick) = keys::tick_of_count(key) {
            self.due.remove(&(tick, key.clone()));
        }
    }

    /// The first of these ticks that is not being told.
    pub(super) fn open(&self, ticks: [Timestamp; 2], now: Timestamp) -> Timestamp {
        let [first, next] = ticks;
        // What a clock said that has been put back since is no tick that has come.
        let stepped_back = self.told.since(now) > CLOCK_SLACK;
        if first > self.told || stepped_back {
            first
        } else {
            next
        }
    }

    /// Keys that begin with `prefix`, in their order.
    pub(super) fn under<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = &'a Arc<[u8]>> {
        let bounds = (Bound::Included(prefix), Bound::Unbounded);
        let from = self.keys.range::<[u8], _>(bounds);
        from.take_while(move |key| key.starts_with(prefix))
    }
}
