//! Removing what is past keeping, a little at a time, in turns of the writer.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Embedded, Shared};
use crate::domain::message::Message;
use crate::domain::time::Timestamp;
use crate::store::codec::{Idempotent, Orphans, decode};
use crate::store::keys::{self, KeySpace};
use crate::store::kv::{Kv, Pair};
use crate::store::{Batch, Spending, StoreError};

/// Between two counts of the octets of all records: a count reads everything once.
const MEASURE_EVERY: Duration = Duration::from_hours(6);
/// Messages removed a turn.
const TURN: usize = 64;
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
        let found = self.blocking(move || find_old(&*kv, &shared, now)).await?;
        let more = found.messages.len() >= TURN;
        if found.is_empty() {
            return Ok(false);
        }
        self.write(false, move |txn| {
            for message in &found.messages {
                txn.forget(message)?;
            }
            for key in found.orphans {
                txn.forget_orphan(key)?;
            }
            for key in found.others {
                txn.write(key, None);
            }
            Ok(())
        })
        .await?;
        Ok(more)
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
    messages: Vec<Message>,
    orphans: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
}

impl Old {
    fn is_empty(&self) -> bool {
        let lists = [&self.orphans, &self.others];
        self.messages.is_empty() && lists.iter().all(|list| list.is_empty())
    }
}

fn find_old<K: Kv>(kv: &K, shared: &Shared, now: Timestamp) -> Result<Old, StoreError> {
    let mut old = Old::default();
    let retention = shared.retention;
    // Ids sort by creation: the first that is young enough ends the look.
    for pair in kv.scan(KeySpace::History.range(), false).take(LOOKED_AT) {
        let (key, octets) = pair?;
        let message: Message = decode(&key, &octets)?;
        if now.since(message.created_at) < retention || old.messages.len() >= TURN {
            break;
        }
        if now.since(message.updated_at) >= retention {
            old.messages.push(message);
        }
    }
    for pair in kv.scan(KeySpace::Batch.range(), false).take(LOOKED_AT) {
        let (key, octets) = pair?;
        if now.since(created_at(&key)) < retention {
            break;
        }
        // It is the seal of its messages: without it a start would take them as never promised.
        let batch: Batch = decode(&key, &octets)?;
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
    for (key, octets) in go_on(kv, shared, KeySpace::Orphan)? {
        if now.since(decode::<Orphans>(&key, &octets)?.since) >= ORPHAN_KEPT {
            old.orphans.push(key);
        }
    }
    for (key, octets) in go_on(kv, shared, KeySpace::Idempotency)? {
        if now.since(decode::<Idempotent>(&key, &octets)?.at) >= IDEMPOTENCY_KEPT {
            old.others.push(key);
        }
    }
    for (key, octets) in go_on(kv, shared, KeySpace::Spending)? {
        if now.since(decode::<Spending>(&key, &octets)?.at) >= Spending::KEPT {
            old.others.push(key);
        }
    }
    for (key, _) in go_on(kv, shared, KeySpace::Inbound)? {
        if now.since(created_at(&key)) >= retention {
            old.others.push(key);
        }
    }
    Ok(old)
}

/// The next records of a key space, from where the last turn stopped, round and round.
fn go_on<K: Kv>(kv: &K, shared: &Shared, space: KeySpace) -> Result<Vec<Pair>, StoreError> {
    let (start, end) = space.range();
    let mut cursors = shared
        .prune_cursors
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let from = cursors.remove(&space).unwrap_or(start);
    let pairs: Vec<_> = kv
        .scan((from, end), false)
        .take(LOOKED_AT)
        .collect::<Result<_, _>>()?;
    if pairs.len() == LOOKED_AT
        && let Some((last, _)) = pairs.last()
    {
        cursors.insert(space, last.clone());
    }
    Ok(pairs)
}

/// The instant in the UUIDv7 at the end of a key.
fn created_at(key: &[u8]) -> Timestamp {
    let id = keys::trailing_id(key).unwrap_or([0xFF; 16]);
    Timestamp(
        id[..6]
            .iter()
            .fold(0, |millis, octet| (millis << 8) | i64::from(*octet)),
    )
}
