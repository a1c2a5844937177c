//! Removing what is past keeping, a little at a time, in turns of the writer; see `sweep` for
//! messages.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::txn::{KEPT, is_over};
use super::{Embedded, Shared, ledgers, sweep};
use crate::domain::id::Tenant;
use crate::domain::time::Timestamp;
use crate::store::codec::{Holder, Idempotent, Orphans, decode};
use crate::store::keys::{self, KeySpace};
use crate::store::kv::Kv;
use crate::store::{Batch, InvalidNumber, Spending, StoreError};

/// Between two counts of the octets of all records: a count reads everything once.
const MEASURE_EVERY: Duration = Duration::from_hours(6);
/// Records of each other kind that a turn looks at.
const LOOKED_AT: usize = 500;
/// How long receipts wait for a message that they belong to.
const ORPHAN_KEPT: Duration = Duration::from_hours(7 * 24);
/// How long an idempotency key protects.
const IDEMPOTENCY_KEPT: Duration = Duration::from_hours(7 * 24);

impl<K: Kv> Embedded<K> {
    /// One turn; true if there may be more to remove.
    pub(super) async fn prune_some(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.measure(now).await?;
        let (kv, shared) = (self.kv.clone(), self.shared.clone());
        let look = move || {
            Ok((
                find_old(&*kv, &shared, now)?,
                sweep::find(&*kv, &shared, now)?,
            ))
        };
        let (old, found) = self.blocking(look).await?;
        let more = old.more || found.more;
        if old.is_empty() && found.is_empty() {
            return Ok(more);
        }
        let kept = self.shared.keeping.retention;
        let overdue = self.write(false, move |txn| {
            txn.sweep(found, now)?;
            for key in old.orphans {
                txn.forget_orphan(key)?;
            }
            for name in old.names {
                txn.forget_name(name, now)?;
            }
            for key in old.others {
                txn.write(key, None);
            }
            for key in old.consents {
                txn.prune_consent(&key, kept.messages, now)?;
            }
            for key in old.invalid {
                txn.prune_invalid(&key, kept.numbers, now)?;
            }
            let mut overdue = false;
            for tenant in old.ledgers {
                overdue |= txn.prune_ledger(&tenant, now)?;
            }
            Ok(overdue)
        });
        Ok(overdue.await? || more)
    }
}

impl<K: Kv> Embedded<K> {
    /// Counts the octets of all records, now and then: the engine does not know them, and counting
    /// them as they change would cost every write a read.
    async fn measure(&self, now: Timestamp) -> Result<(), StoreError> {
        let last = self.shared.measured_at.load(Ordering::Relaxed);
        if now.since(Timestamp(last)) < MEASURE_EVERY {
            return Ok(());
        }
        self.shared
            .measured_at
            .store(now.millis(), Ordering::Relaxed);
        let kv = self.kv.clone();
        let octets = self.blocking(move || {
            let mut octets = 0;
            for pair in kv.scan((Vec::new(), vec![0xFF]), false) {
                let (key, value) = pair?;
                octets += key.len() + value.len();
            }
            Ok(octets)
        });
        let octets = u64::try_from(octets.await?).unwrap_or(u64::MAX);
        self.shared.live_bytes.store(octets, Ordering::Relaxed);
        Ok(())
    }
}

#[derive(Default)]
struct Old {
    orphans: Vec<Vec<u8>>,
    /// Names of plans, and of what is told once.
    names: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
    /// Tenants whose ledgers have lines that are.
    ledgers: Vec<Tenant>,
    consents: Vec<Vec<u8>>,
    invalid: Vec<Vec<u8>>,
    /// True if it is likely that there is more.
    more: bool,
}

impl Old {
    fn is_empty(&self) -> bool {
        let keys = [
            &self.orphans,
            &self.names,
            &self.others,
            &self.consents,
            &self.invalid,
        ];
        self.ledgers.is_empty() && keys.iter().all(|old| old.is_empty())
    }
}

fn find_old<K: Kv>(kv: &K, shared: &Shared, now: Timestamp) -> Result<Old, StoreError> {
    let mut old = Old::default();
    let retention = shared.keeping.retention.messages;
    // Ids sort by creation: the first that is young enough ends the look.
    for pair in kv.scan(KeySpace::Batch.range(), false).take(LOOKED_AT) {
        let (key, octets) = pair?;
        let made_at = keys::trailing_id(&key).map(|id| keys::made_at(&id));
        if made_at.is_none_or(|at| now.since(at) < retention) {
            break;
        }
        // It is the seal of its messages: without it a start would take them as never promised.
        let batch: Batch = match decode(&key, &octets) {
            Ok(batch) => batch,
            Err(error) => {
                // Left for fsck; the others must go all the same.
                tracing::error!(%error, "prune_of_unreadable_record");
                continue;
            }
        };
        let mut live = false;
        for id in batch.messages {
            live = live || kv.get(&keys::live(id))?.is_some();
        }
        if !live {
            old.others.push(key);
        }
    }
    // Sorted by week: this one and the one before are kept.
    let week = keys::week(now).saturating_sub(1);
    let shown = kv.scan(keys::shown_before(week), false);
    for pair in shown.take(LOOKED_AT) {
        old.others.push(pair?.0);
    }
    // These sort by something else, so each turn goes on where the last one stopped.
    let orphans = go_on(kv, shared, KeySpace::Orphan, |key, octets| {
        Ok(now.since(decode::<Orphans>(key, octets)?.since) >= ORPHAN_KEPT)
    })?;
    let idempotent = go_on(kv, shared, KeySpace::Idempotency, |key, octets| {
        Ok(now.since(decode::<Idempotent>(key, octets)?.at) >= IDEMPOTENCY_KEPT)
    })?;
    let spent = go_on(kv, shared, KeySpace::Spending, |key, octets| {
        Ok(now.since(decode::<Spending>(key, octets)?.at) >= Spending::KEPT)
    })?;
    let unused = |key: &[u8], octets: &[u8]| {
        let holder: Holder = decode(key, octets)?;
        // A message may be planned for a year ahead.
        let old = now.since(holder.at) >= KEPT;
        Ok(old && kv.get(&keys::live(holder.message))?.is_none())
    };
    let plans = go_on(kv, shared, KeySpace::Plan, unused)?;
    let once = go_on(kv, shared, KeySpace::Once, unused)?;
    let consents = go_on(kv, shared, KeySpace::Consent, |key, octets| {
        Ok(is_over(&decode(key, octets)?, retention, now))
    })?;
    let numbers = shared.keeping.retention.numbers;
    let invalid = go_on(kv, shared, KeySpace::Invalid, |key, octets| {
        Ok(now.since(decode::<InvalidNumber>(key, octets)?.since) >= numbers)
    })?;
    let all = [
        &orphans,
        &idempotent,
        &spent,
        &plans,
        &once,
        &consents,
        &invalid,
    ];
    old.more = all.iter().any(|(_, more)| *more);
    old.ledgers = ledgers::overdue(kv, shared, now)?;
    old.consents = consents.0;
    old.invalid = invalid.0;
    old.orphans = orphans.0;
    old.names = plans.0;
    old.names.extend(once.0);
    old.others.extend(idempotent.0);
    old.others.extend(spent.0);
    Ok(old)
}

/// Those of the next records of a key space that are too old, from where the last turn stopped, round
/// and round; and whether to go on at once. That is worth it where some were found: else the round
/// goes on at the next occasion, and where much is old it is found soon.
fn go_on<K: Kv>(
    kv: &K,
    shared: &Shared,
    space: KeySpace,
    is_old: impl Fn(&[u8], &[u8]) -> Result<bool, StoreError>,
) -> Result<(Vec<Vec<u8>>, bool), StoreError> {
    let (start, end) = space.range();
    let mut cursors = shared
        .prune_cursors
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let from = cursors.remove(&space).unwrap_or(start);
    let mut old = Vec::new();
    let mut last = None;
    for (looked_at, pair) in kv.scan((from, end), false).take(LOOKED_AT).enumerate() {
        let (key, octets) = pair?;
        last = (looked_at + 1 == LOOKED_AT).then(|| key.clone());
        match is_old(&key, &octets) {
            Ok(true) => old.push(key),
            Ok(false) => {}
            // Left for fsck; the others must go all the same.
            Err(error) => tracing::error!(%error, "prune_of_unreadable_record"),
        }
    }
    let more = last.is_some() && !old.is_empty();
    if let Some(last) = last {
        cursors.insert(space, last);
    }
    Ok((old, more))
}
