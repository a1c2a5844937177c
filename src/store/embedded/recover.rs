//! The only start path: reads the live records and repairs what a crash left.
//!
//! A message whose batch has no seal was never promised and goes. A message whose lease was
//! durable when the process died may or may not have left: it is doubtful, by the rule of its
//! operator. One whose recipient has opted out while it was leaving fails. Everything else is as it
//! was; leases that only memory held are forgotten, and their messages are due again, marked as
//! possible duplicates as far as claims may have come.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use thiserror::Error;
use tokio::sync::watch;

use super::ledgers::Restart;
use super::txn::{read_part_sets, reconsidered_after};
use super::{Shared, sweep};
use crate::domain::consent::Consent;
use crate::domain::event::Event;
use crate::domain::id::BatchId;
use crate::domain::message::{Message, State};
use crate::domain::optout::{Opposed, OptOut};
use crate::domain::policy::Policy;
use crate::domain::privacy::Keeping;
use crate::domain::time::Timestamp;
use crate::store::codec::{LAYOUT, Layout, Outgoing, Reached, Swept, decode, encode};
use crate::store::consents::Agreed;
use crate::store::counts::Tally;
use crate::store::documents::Shelf;
use crate::store::frontier::Frontier;
use crate::store::index::Index;
use crate::store::invalid::Invalid;
use crate::store::keys::{self, KeySpace};
use crate::store::kv::{Kv, Write};
use crate::store::opted_out::OptedOut;
use crate::store::outbox::{Outbox, deliveries};
use crate::store::writings::Writings;
use crate::store::{Document, InvalidNumber, OutboxEvent, StoreError, Webhook};

/// Why a store cannot be used.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// Another version of the program wrote it.
    #[error("layout {0} is not the one of this program")]
    OtherLayout(u32),
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<crate::store::kv::KvError> for RecoverError {
    fn from(error: crate::store::kv::KvError) -> Self {
        Self::Store(error.into())
    }
}

/// Repairs per engine batch.
const PIECE: usize = 128;

pub(super) fn recover<K: Kv>(
    kv: &K,
    policy: watch::Receiver<Arc<Policy>>,
    keeping: Keeping,
    now: Timestamp,
) -> Result<Shared, RecoverError> {
    check_layout(kv)?;
    let rules = policy.borrow().clone();
    let swept = read_swept(kv)?;
    let webhooks: Vec<Webhook> = read_all(kv, KeySpace::Webhook)?;
    let (mut outbox, mut next_seq) = read_outbox(kv)?;
    let opted_out = read_opted_out(kv, &keeping)?;
    let mut agreed = Agreed::default();
    for consent in read_all::<K, Consent>(kv, KeySpace::Consent)? {
        agreed.put(&consent);
    }
    let mut invalid = Invalid::default();
    for InvalidNumber { tenant, number, .. } in read_all(kv, KeySpace::Invalid)? {
        invalid.insert(&tenant, number);
    }
    let mut documents = Shelf::default();
    for document in read_all::<K, Document>(kv, KeySpace::Document)? {
        documents.put(document);
    }
    let mut restart = Restart::read(kv)?;
    let mut tally = Tally::default();
    for pair in kv.scan(KeySpace::Counted.range(), false) {
        tally.insert(&pair?.0);
    }
    let mut index = Index::default();
    let mut repairs: Vec<Write> = Vec::new();
    let mut sealed: HashSet<BatchId> = HashSet::new();
    let mut unreadable = 0_u64;
    for pair in kv.scan(KeySpace::Live.range(), false) {
        let (key, octets) = pair?;
        let mut message: Message = match decode(&key, &octets) {
            Ok(message) => message,
            Err(error) => {
                // Left where it is for fsck; the rest of the queue must go on.
                tracing::error!(%error, "live_record_unreadable");
                unreadable += 1;
                continue;
            }
        };
        if let Some(batch) = message.batch
            && !sealed.contains(&batch)
        {
            if kv.get(&keys::batch(batch))?.is_none() {
                repairs.push((key, None));
                repairs.push((keys::recipient(message.to, message.id), None));
                apply_pieces(kv, &mut repairs, PIECE)?;
                continue;
            }
            sealed.insert(batch);
        }
        let mut changed = false;
        if matches!(message.state, State::Leased(_)) {
            changed = message.apply(&Event::LeaseLost, &rules, now).is_ok();
        }
        // It was leaving when its recipient opted out, and has not left.
        if matches!(message.state, State::Waiting { .. })
            && (opted_out.opposes(&message, &rules) || agreed.is_missing(&message))
        {
            changed |= message.apply(&Event::OptedOut, &rules, now).is_ok();
        }
        if changed {
            repairs.extend(restart.give_back(&mut message, now)?);
            let record = encode(&message)?;
            if message.status().is_final() {
                repairs.push((key, None));
                repairs.push((keys::history(message.id), Some(record)));
                let notes = sweep::notes(&message, &keeping.retention, &swept);
                repairs.extend(notes.into_iter().map(|key| (key, Some(Vec::new()))));
                // Decided in the same commit as what caused it, here as anywhere.
                let event = OutboxEvent::Message(Arc::new(message.clone()));
                let own_url = message.webhook_url.as_deref();
                for outgoing in deliveries(&event, &message.tenant, own_url, &webhooks, now) {
                    repairs.push((keys::outbox(next_seq), Some(encode(&outgoing)?)));
                    outbox.add(next_seq, &outgoing);
                    next_seq += 1;
                }
            } else {
                repairs.push((key, Some(record)));
            }
            apply_pieces(kv, &mut repairs, PIECE)?;
        }
        index.add(&message);
    }
    apply_pieces(kv, &mut repairs, 1)?;
    kv.sync()?;
    let mut orphans = 0_i64;
    for pair in kv.scan(KeySpace::Orphan.range(), false) {
        let (key, _) = pair?;
        index.reconsider(now + reconsidered_after(&key), key);
        orphans += 1;
    }
    let part_sets = read_part_sets(kv, rules.inbound.parts_timeout)?;
    let frontier = read_frontier(kv)?;
    let live = index.live();
    tracing::info!(live, webhooks = outbox.len(), unreadable, "store_ready");
    Ok(Shared {
        policy,
        index: Mutex::new(index),
        frontier: Mutex::new(frontier),
        outbox: Mutex::new(outbox),
        outbox_seq: AtomicU64::new(next_seq),
        webhooks: RwLock::new(webhooks),
        documents: RwLock::new(documents),
        purses: Mutex::new(restart.into_purses()),
        tally: Mutex::new(tally),
        keys: RwLock::new(
            read_all(kv, KeySpace::ApiKey)?
                .into_iter()
                .map(Arc::new)
                .collect(),
        ),
        pauses: Mutex::new(read_all(kv, KeySpace::Pause)?),
        divide: AtomicI64::new(0),
        orphans: AtomicI64::new(orphans),
        writings: Mutex::new(Writings::of(read_all(kv, KeySpace::Writing)?)),
        opted_out: RwLock::new(opted_out),
        agreed: RwLock::new(agreed),
        invalid: RwLock::new(invalid),
        part_sets: Mutex::new(part_sets),
        keeping,
        swept: Mutex::new(swept),
        copying: Mutex::default(),
        prune_cursors: Mutex::default(),
        live_bytes: AtomicU64::new(0),
        measured_at: AtomicI64::new(0),
        broken: AtomicBool::new(false),
        problem: Mutex::new(None),
    })
}

fn check_layout<K: Kv>(kv: &K) -> Result<(), RecoverError> {
    let key = keys::version();
    match kv.get(&key)? {
        Some(octets) => {
            let layout: Layout = decode(&key, &octets)?;
            if layout != LAYOUT {
                return Err(RecoverError::OtherLayout(layout.version));
            }
        }
        None => kv.apply(&[(key, Some(encode(&LAYOUT)?))])?,
    }
    Ok(())
}

/// Who has opted out. Numbers that are not to be kept become what stands for them, once and for all.
fn read_opted_out<K: Kv>(kv: &K, keeping: &Keeping) -> Result<OptedOut, RecoverError> {
    let mut opted_out = OptedOut::new(keeping);
    let mut repairs: Vec<Write> = Vec::new();
    for pair in kv.scan(KeySpace::OptOut.range(), false) {
        let (key, octets) = pair?;
        let mut optout: OptOut = decode(&key, &octets)?;
        let sender = optout.sender_key();
        if let Opposed::Number(number) = optout.number {
            optout.number = opted_out.kept(&optout.tenant, number);
        }
        opted_out.insert(&optout.tenant, optout.number, sender.as_deref());
        let kept = keys::optout(&optout.tenant, optout.number, sender.as_deref());
        if kept != key {
            repairs.push((kept, Some(encode(&optout)?)));
            repairs.push((key, None));
            apply_pieces(kv, &mut repairs, PIECE)?;
        }
    }
    apply_pieces(kv, &mut repairs, 1)?;
    Ok(opted_out)
}

fn read_swept<K: Kv>(kv: &K) -> Result<Swept, RecoverError> {
    let key = keys::swept();
    match kv.get(&key)?.map(|octets| decode(&key, &octets)) {
        None => Ok(Swept::default()),
        Some(Ok(swept)) => Ok(swept),
        Some(Err(error)) => {
            // From the beginning again: what is erased already is passed by.
            tracing::error!(%error, "swept_unreadable");
            Ok(Swept::default())
        }
    }
}

/// How far the last life came, if it did not end with nothing under way.
fn read_frontier<K: Kv>(kv: &K) -> Result<Frontier, RecoverError> {
    let key = keys::frontier();
    let Some(octets) = kv.get(&key)? else {
        return Ok(Frontier::default());
    };
    match decode::<Reached>(&key, &octets) {
        Ok(left) => {
            if !left.claimed.is_empty() {
                tracing::warn!(
                    "the last run did not end cleanly: what it was sending is marked as possible duplicates"
                );
            }
            Ok(Frontier::after(left))
        }
        Err(error) => {
            // Messages are worth more than their marks.
            tracing::error!(%error, "frontier_unreadable");
            Ok(Frontier::default())
        }
    }
}

/// Applies repairs once there are `at_least` of them.
fn apply_pieces<K: Kv>(
    kv: &K,
    repairs: &mut Vec<Write>,
    at_least: usize,
) -> Result<(), RecoverError> {
    if repairs.len() >= at_least {
        kv.apply(repairs)?;
        repairs.clear();
    }
    Ok(())
}

fn read_outbox<K: Kv>(kv: &K) -> Result<(Outbox, u64), RecoverError> {
    let mut outbox = Outbox::default();
    let mut next_seq = 0;
    for pair in kv.scan(KeySpace::Outbox.range(), false) {
        let (key, octets) = pair?;
        let Some(seq) = key
            .last_chunk::<8>()
            .map(|octets| u64::from_be_bytes(*octets))
        else {
            continue;
        };
        next_seq = seq + 1;
        match decode::<Outgoing>(&key, &octets) {
            Ok(outgoing) => outbox.add(seq, &outgoing),
            Err(error) => tracing::error!(%error, "webhook_record_unreadable"),
        }
    }
    Ok((outbox, next_seq))
}

fn read_all<K: Kv, R: crate::store::codec::Record>(
    kv: &K,
    space: KeySpace,
) -> Result<Vec<R>, RecoverError> {
    let mut records = Vec::new();
    for pair in kv.scan(space.range(), false) {
        let (key, octets) = pair?;
        records.push(decode(&key, &octets)?);
    }
    Ok(records)
}
