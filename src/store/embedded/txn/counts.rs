//! Counting, telling and carrying over.
//!
//! **Why nothing is lost or doubled.** A notice and its idempotency key are one commit; a message and the
//! end of the count that it tells are one commit; moving a count from one tick to another is one commit.
//! Each is decided in the writer's turn from what stands then: who tells a count that has changed since
//! it was read tells nothing, and reads again.

use std::sync::Arc;

use super::Txn;
use crate::domain::id::Tenant;
use crate::domain::time::Timestamp;
use crate::store::codec::Idempotent;
use crate::store::kv::Kv;
use crate::store::{
    Accepted, Count, Counting, DocumentKind, Held, Idempotency, Notice, StoreError, Submission,
    keys,
};

impl<K: Kv> Txn<'_, K> {
    /// Adds to a count, or takes back from it.
    pub(in crate::store::embedded) fn count(
        &mut self,
        notice: Notice,
    ) -> Result<Counting, StoreError> {
        if let Some(Idempotency { key, body }) = notice.idempotency
            && let Some(known) = self.get::<Idempotent>(&keys::idempotency(&key))?
        {
            if known.body != body {
                return Err(StoreError::Conflict);
            }
            let stands = self.counts_of_kind(&notice)?;
            return Ok(Counting::Counted {
                stands,
                repeated: true,
            });
        }
        let definition = keys::document(DocumentKind::Digest, &notice.tenant, &notice.digest);
        if !self.is_there(&definition)? {
            return Err(StoreError::NotFound);
        }
        let mut stands = self.counts_of_kind(&notice)?;
        let changed = if notice.change < 0 {
            match take_back(&mut stands, notice.change.unsigned_abs()) {
                Ok(changed) => changed,
                Err(stands) => return Ok(Counting::BelowZero { stands }),
            }
        } else {
            vec![self.add(&mut stands, &notice)?]
        };
        // From here on nothing can fail.
        for index in changed {
            let count = &mut stands[index];
            count.updated_at = notice.now;
            if notice.reference.is_some() {
                count.reference.clone_from(&notice.reference);
            }
            let count = stands[index].clone();
            self.put_count(&count)?;
        }
        if let Some(Idempotency { key, body }) = notice.idempotency {
            let record = Idempotent {
                body,
                batch: None,
                messages: Vec::new(),
                duplicates: Vec::new(),
                at: notice.now,
            };
            self.put(keys::idempotency(&key), &record)?;
        }
        stands.retain(|count| count.count > 0);
        Ok(Counting::Counted {
            stands,
            repeated: false,
        })
    }

    /// Adds a notice to the count of its tick, which may be new, and says which of `stands` that is.
    fn add(&self, stands: &mut Vec<Count>, notice: &Notice) -> Result<usize, StoreError> {
        let tally = self.shared.tally();
        let tick = tally.open(notice.ticks, notice.now);
        let change = notice.change.unsigned_abs();
        if let Some(index) = stands.iter().position(|count| count.tick == tick) {
            stands[index].count = stands[index].count.saturating_add(change);
            return Ok(index);
        }
        if tally.len() >= notice.most {
            return Err(StoreError::Full);
        }
        stands.push(Count {
            tenant: notice.tenant.clone(),
            digest: notice.digest.clone(),
            to: notice.to,
            kind: notice.kind.clone(),
            tick,
            count: change,
            reference: None,
            since: notice.now,
            updated_at: notice.now,
            held: None,
        });
        Ok(stands.len() - 1)
    }

    /// What is pending of the notice's digest, recipient and kind, by tick.
    fn counts_of_kind(&self, notice: &Notice) -> Result<Vec<Count>, StoreError> {
        let prefix = keys::counts_of_kind(&notice.tenant, &notice.digest, notice.to, &notice.kind);
        let keys: Vec<Arc<[u8]>> = self.shared.tally().under(&prefix).cloned().collect();
        let mut counts = Vec::with_capacity(keys.len() + 1);
        for key in keys {
            counts.extend(self.get::<Count>(&key)?);
        }
        Ok(counts)
    }

    /// Stores a count, or removes one of nothing.
    fn put_count(&mut self, count: &Count) -> Result<(), StoreError> {
        let key = keys::count(count);
        if count.count == 0 {
            self.remove_count(key);
            return Ok(());
        }
        self.shared.tally().insert(&key);
        self.put(key, count)
    }

    fn remove_count(&mut self, key: Vec<u8>) {
        self.shared.tally().remove(&key);
        self.write(key, None);
    }

    /// True if a count is what it was when it was read.
    fn still_stands(&self, count: &Count) -> Result<bool, StoreError> {
        Ok(self.get::<Count>(&keys::count(count))?.as_ref() == Some(count))
    }

    /// Stores what tells a count, and consumes it.
    pub(in crate::store::embedded) fn tell_count(
        &mut self,
        count: &Count,
        submission: Submission,
    ) -> Result<Option<Accepted>, StoreError> {
        if !self.still_stands(count)? {
            return Ok(None);
        }
        let accepted = self.accept(submission)?;
        self.remove_count(keys::count(count));
        Ok(Some(accepted))
    }

    /// Moves a count to another tick, where it joins what is there.
    pub(in crate::store::embedded) fn carry_over(
        &mut self,
        count: &Count,
        to: Timestamp,
        held: Held,
    ) -> Result<bool, StoreError> {
        if !self.still_stands(count)? {
            return Ok(false);
        }
        let mut held = held;
        if count.may_have_been_told() {
            // Not forgotten before it is told.
            held.code = Count::RESTORED.to_owned();
        }
        let mut moved = Count {
            tick: to,
            held: Some(held),
            ..count.clone()
        };
        if let Some(there) = self.get::<Count>(&keys::count(&moved))? {
            moved.count = moved.count.saturating_add(there.count);
            moved.updated_at = moved.updated_at.max(there.updated_at);
            moved.since = moved.since.min(there.since);
            moved.reference = there.reference.or(moved.reference);
        }
        self.remove_count(keys::count(count));
        self.put_count(&moved)?;
        Ok(true)
    }

    /// Drops what is pending under a prefix, at most so much.
    pub(in crate::store::embedded) fn drop_counts(&mut self, prefix: &[u8], limit: usize) -> usize {
        let tally = self.shared.tally();
        let keys: Vec<Arc<[u8]>> = tally.under(prefix).take(limit).cloned().collect();
        drop(tally);
        for key in &keys {
            self.remove_count(key.to_vec());
        }
        keys.len()
    }

    /// Removes a definition that nothing is pending of; else how much is.
    pub(in crate::store::embedded) fn delete_digest(
        &mut self,
        tenant: &Tenant,
        digest: &str,
    ) -> Result<usize, StoreError> {
        let key = keys::document(DocumentKind::Digest, tenant, digest);
        if !self.is_there(&key)? {
            return Err(StoreError::NotFound);
        }
        let prefix = keys::counts_of(tenant, digest);
        let pending = self.shared.tally().under(&prefix).count();
        if pending == 0 {
            self.write(key, None);
        }
        Ok(pending)
    }

    /// Forgets what was counted for somebody, who has asked for it.
    pub(in crate::store::embedded) fn erase_count(
        &mut self,
        count: &Count,
    ) -> Result<bool, StoreError> {
        let key = keys::count(count);
        let there = self.is_there(&key)?;
        self.remove_count(key);
        Ok(there)
    }
}

/// Takes so many back, from the latest tick first, and says which counts that changes; how many there
/// are if they are too few.
fn take_back(stands: &mut [Count], mut change: u32) -> Result<Vec<usize>, u64> {
    let all: u64 = stands.iter().map(|count| u64::from(count.count)).sum();
    if all < u64::from(change) {
        return Err(all);
    }
    let mut changed = Vec::new();
    for (index, count) in stands.iter_mut().enumerate().rev() {
        let taken = change.min(count.count);
        if taken > 0 {
            count.count -= taken;
            change -= taken;
            changed.push(index);
        }
    }
    Ok(changed)
}
