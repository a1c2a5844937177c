//! Counts of digests: the record first, then the tally in memory, both in the writer's turn.

use std::sync::{MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Embedded, Shared};
use crate::domain::id::Tenant;
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;
use crate::store::codec::decode;
use crate::store::counts::Tally;
use crate::store::kv::Kv;
use crate::store::{
    Accepted, Count, Counting, Counts, DocumentKind, Held, Notice, Page, Pending, StoreError,
    Submission, keys,
};

impl Shared {
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pending_counts(&self) -> u64 {
        u64::try_from(self.tally().len()).unwrap_or(u64::MAX)
    }
}

#[async_trait]
impl<K: Kv> Counts for Embedded<K> {
    async fn count(&self, notice: Notice) -> Result<Counting, StoreError> {
        self.write(true, move |txn| txn.count(notice)).await
    }

    async fn counts_due(&self, now: Timestamp, limit: usize) -> Result<Vec<Count>, StoreError> {
        self.check_open()?;
        let due = self.shared.tally().due(now, limit);
        let mut counts = Vec::with_capacity(due.len());
        for key in due {
            // What is not there is being written, or has just been consumed.
            let Some(octets) = self.kv.get(&key)? else {
                continue;
            };
            match decode(&key, &octets) {
                Ok(count) => counts.push(count),
                Err(error) => {
                    // Left for fsck; the others must be told all the same.
                    tracing::error!(%error, "count_unreadable");
                    self.shared.tally().pass_over(&key);
                }
            }
        }
        Ok(counts)
    }

    fn next_count_due(&self) -> Option<Timestamp> {
        self.shared.tally().next()
    }

    async fn tell_count(
        &self,
        count: Count,
        submission: Submission,
    ) -> Result<Option<Accepted>, StoreError> {
        self.write(true, move |txn| txn.tell_count(&count, submission))
            .await
    }

    async fn carry_over(
        &self,
        count: Count,
        to: Timestamp,
        held: Held,
    ) -> Result<bool, StoreError> {
        self.write(true, move |txn| txn.carry_over(&count, to, held))
            .await
    }

    async fn pending_counts(
        &self,
        tenant: &Tenant,
        digest: &str,
        of: Pending,
        limit: usize,
    ) -> Result<Page<Count>, StoreError> {
        self.check_open()?;
        let range = keys::counts_range(tenant, digest, of);
        let kv = self.kv.clone();
        self.blocking(move || page(&*kv, range, limit)).await
    }

    async fn drop_counts(
        &self,
        tenant: &Tenant,
        digest: &str,
        to: Option<Msisdn>,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let prefix = match to {
            Some(to) => keys::counts_to(tenant, digest, to),
            None => keys::counts_of(tenant, digest),
        };
        self.write(true, move |txn| Ok(txn.drop_counts(&prefix, limit)))
            .await
    }

    async fn delete_digest(&self, tenant: &Tenant, digest: &str) -> Result<usize, StoreError> {
        let (owner, name) = (tenant.clone(), digest.to_owned());
        let pending = self
            .write(true, move |txn| txn.delete_digest(&owner, &name))
            .await?;
        if pending == 0 {
            let mut shelf = self.shared.documents.write();
            let shelf = shelf.as_mut().unwrap_or_else(|error| error.get_mut());
            shelf.remove(DocumentKind::Digest, tenant, digest);
        }
        Ok(pending)
    }
}

/// The counts of a range, whole recipients until there are enough.
fn page<K: Kv>(kv: &K, range: (Vec<u8>, Vec<u8>), limit: usize) -> Result<Page<Count>, StoreError> {
    let mut items: Vec<Count> = Vec::new();
    for pair in kv.scan(range, false) {
        let (key, octets) = pair?;
        let count: Count = match decode(&key, &octets) {
            Ok(count) => count,
            Err(error) => {
                // Left for fsck.
                tracing::error!(%error, "count_unreadable");
                continue;
            }
        };
        let last = items.last().map(|last| last.to);
        if items.len() >= limit && last != Some(count.to) {
            let next = last.map(|last| uuid::Uuid::from_u128(last.as_u64().into()));
            return Ok(Page { items, next });
        }
        items.push(count);
    }
    Ok(Page { items, next: None })
}
