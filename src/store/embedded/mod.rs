//! The store over an embedded engine: one writer, group commit, an index in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use super::codec::{Swept, decode};
use super::consents::Agreed;
use super::counts::Tally;
use super::documents::Shelf;
use super::frontier::Frontier;
use super::index::Index;
use super::invalid::Invalid;
use super::keys::KeySpace;
use super::kv::{Kv, KvError};
use super::opted_out::OptedOut;
use super::outbox::Outbox;
use super::part_sets::PartSets;
use super::writings::Writings;
use super::{
    Accepted, ApiKey, Batch, Change, Claimant, Claimed, Copying, Gauges, Inbound, Known, KnownPage,
    OutboxDue, Page, Pause, Query, Reach, ReceiptReport, Receiving, Report, Settled, Spending,
    Store, StoreError, Submission, TakenIn, Webhook, keys,
};
use crate::domain::id::{Account, BatchId, InboundId, Lane, MessageId, Tenant};
use crate::domain::message::Message;
use crate::domain::msisdn::Msisdn;
use crate::domain::policy::{OnDoubt, Policy};
use crate::domain::privacy::Keeping;
use crate::domain::receipt::IdWriting;
use crate::domain::time::Timestamp;

mod claims;
mod consents;
mod copying;
mod counts;
mod deliveries;
mod documents;
mod known;
mod ledgers;
mod maintain;
mod optouts;
mod planning;
mod read;
mod recover;
mod sweep;
mod txn;
mod writer;

pub use recover::RecoverError;
use txn::Txn;
use writer::Job;

/// Jobs that may wait for the writer; a full queue is backpressure.
const QUEUE: usize = 2048;

/// What the writer, the readers and the claims share.
pub(super) struct Shared {
    pub(super) policy: watch::Receiver<Arc<Policy>>,
    pub(super) index: Mutex<Index>,
    pub(super) frontier: Mutex<Frontier>,
    pub(super) outbox: Mutex<Outbox>,
    pub(super) outbox_seq: AtomicU64,
    pub(super) webhooks: RwLock<Vec<Webhook>>,
    pub(super) documents: RwLock<Shelf>,
    purses: Mutex<ledgers::Purses>,
    pub(super) tally: Mutex<Tally>,
    pub(super) keys: RwLock<Vec<Arc<ApiKey>>>,
    pub(super) pauses: Mutex<Vec<Pause>>,
    /// No change says that it was before this.
    pub(super) divide: AtomicI64,
    /// Number of references that only receipts know.
    pub(super) orphans: AtomicI64,
    /// How carriers write their ids in receipts.
    pub(super) writings: Mutex<Writings>,
    pub(super) opted_out: RwLock<OptedOut>,
    /// Who has agreed to marketing.
    pub(super) agreed: RwLock<Agreed>,
    /// Numbers that nobody has.
    pub(super) invalid: RwLock<Invalid>,
    pub(super) part_sets: Mutex<PartSets>,
    pub(super) keeping: Keeping,
    /// How far the sweeps have come.
    pub(super) swept: Mutex<Swept>,
    /// What has been written since a copy of everything began.
    copying: Mutex<Option<copying::Notes>>,
    /// Where pruning goes on in the key spaces that do not sort by age.
    pub(super) prune_cursors: Mutex<HashMap<KeySpace, Vec<u8>>>,
    /// Octets of all records when they were last counted, and when that was.
    pub(super) live_bytes: AtomicU64,
    pub(super) measured_at: AtomicI64,
    broken: AtomicBool,
    problem: Mutex<Option<String>>,
}

impl Shared {
    fn broken(&self) -> Option<String> {
        if !self.broken.load(Ordering::Acquire) {
            return None;
        }
        self.problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn break_down(&self, error: &StoreError) {
        tracing::error!(%error, "store_failed");
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.get_or_insert_with(|| error.to_string());
        self.broken.store(true, Ordering::Release);
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pauses(&self) -> MutexGuard<'_, Vec<Pause>> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writings(&self) -> MutexGuard<'_, Writings> {
        self.writings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frontier(&self) -> MutexGuard<'_, Frontier> {
        self.frontier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<KvError> for StoreError {
    fn from(error: KvError) -> Self {
        Self::Unavailable(error.0)
    }
}

/// The store over an engine.
pub struct Embedded<K> {
    kv: Arc<K>,
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Job<K>>>>,
    writer: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl<K: Kv> Embedded<K> {
    /// Reads the live records, repairs what a crash left, and starts the writer. Needs a runtime.
    ///
    /// # Errors
    /// A layout that this program cannot read, or the engine's own.
    pub fn start(
        kv: K,
        policy: watch::Receiver<Arc<Policy>>,
        keeping: Keeping,
        now: Timestamp,
    ) -> Result<Self, RecoverError> {
        let kv = Arc::new(kv);
        let shared = Arc::new(recover::recover(&*kv, policy, keeping, now)?);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = tokio::spawn(writer::run(kv.clone(), shared.clone(), receiver));
        Ok(Self {
            kv,
            shared,
            queue: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
        })
    }

    fn queue(&self) -> Result<mpsc::Sender<Job<K>>, StoreError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue
            .clone()
            .ok_or_else(|| StoreError::Unavailable("it is closed".to_owned()))
    }

    /// `Unavailable` once the store is closed.
    fn check_open(&self) -> Result<(), StoreError> {
        self.queue().map(drop)
    }

    /// Runs `work` in the writer and answers after the commit.
    async fn write<T, F>(&self, durable: bool, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_, K>) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            run: job(work, answer),
            durable,
        };
        self.queue()?.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// A job that answers with the result of `work` once its group is committed.
fn job<K, T, F>(work: F, answer: oneshot::Sender<Result<T, StoreError>>) -> writer::Work<K>
where
    T: Send + 'static,
    F: FnOnce(&mut Txn<'_, K>) -> Result<T, StoreError> + Send + 'static,
{
    Box::new(move |txn| {
        let result = work(txn);
        Box::new(move |committed| {
            // A caller that has gone away loses its answer, not the work.
            let _ = answer.send(committed.and(result));
        })
    })
}

fn gone() -> StoreError {
    StoreError::Unavailable("its writer has stopped".to_owned())
}

#[async_trait]
impl<K: Kv> Store for Embedded<K> {
    async fn accept(&self, submission: Submission) -> Result<Accepted, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            run: job(move |txn: &mut Txn<'_, K>| txn.accept(submission), answer),
            durable: true,
        };
        // Clients are told to come back rather than left waiting behind a full queue.
        self.queue()?.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Full,
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        answered.await.map_err(|_| gone())?
    }

    async fn claim(
        &self,
        lane: &Lane,
        by: Claimant,
        limit: usize,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        self.check_open()?;
        if let Some(problem) = self.shared.broken() {
            return Err(StoreError::Unavailable(problem));
        }
        let policy = self.shared.policy.borrow().clone();
        let (mut claimed, not_now, beyond) = self.claim_now(lane, &by, limit, now, &policy);
        if !not_now.is_empty() {
            claimed.deferred = not_now.shut.len();
            // What was put off and forgotten in a crash is put off again.
            let durable = !not_now.opted_out.is_empty();
            claimed.failed = self
                .write(durable, move |txn| txn.turn_back(not_now, now))
                .await?;
        }
        let careful: Vec<Message> = claimed
            .messages
            .iter()
            .filter(|message| {
                message.doubt_rule(&policy) == OnDoubt::Fail
                    || policy.is_modem(&by.account)
                    || message.must_be_seen_leaving()
            })
            .cloned()
            .collect();
        // Nothing is handed out before what says that it may have left is durable.
        if !careful.is_empty() || !beyond.is_empty() {
            self.write(true, move |txn| {
                txn.reach(beyond)?;
                careful.iter().try_for_each(|message| txn.persist(message))
            })
            .await?;
        }
        Ok(claimed)
    }

    async fn report(
        &self,
        reports: Vec<Report>,
        now: Timestamp,
    ) -> Result<Vec<Option<Change>>, StoreError> {
        self.write(true, move |txn| {
            txn.each(reports, |txn, report| txn.report(&report, now), || None)
        })
        .await
    }

    async fn receive(
        &self,
        receipts: Vec<ReceiptReport>,
        now: Timestamp,
    ) -> Result<Vec<Receiving>, StoreError> {
        self.write(true, move |txn| {
            let receive = |txn: &mut Txn<'_, K>, report| txn.receive(report, now);
            txn.each(receipts, receive, || Receiving::Duplicate)
        })
        .await
    }

    async fn time_out(&self, now: Timestamp, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.write(true, move |txn| txn.time_out(now, limit)).await
    }

    async fn cancel(
        &self,
        tenant: &Tenant,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Change, StoreError> {
        let tenant = tenant.clone();
        self.write(true, move |txn| txn.cancel(&tenant, id, now))
            .await
    }

    async fn take_in(&self, inbound: Vec<Inbound>) -> Result<TakenIn, StoreError> {
        self.write(true, move |txn| {
            let mut taken = TakenIn::default();
            for one in inbound {
                txn.take_in(one, &mut taken)?;
            }
            Ok(taken)
        })
        .await
    }

    async fn give_up_parts(&self, now: Timestamp, limit: usize) -> Result<TakenIn, StoreError> {
        self.write(true, move |txn| txn.give_up_parts(now, limit))
            .await
    }

    fn next_parts_deadline(&self) -> Option<Timestamp> {
        let sets = self.shared.part_sets.lock();
        sets.unwrap_or_else(PoisonError::into_inner).next()
    }

    async fn outbox_due(
        &self,
        now: Timestamp,
        limit: usize,
        busy: &[Arc<str>],
    ) -> Result<OutboxDue, StoreError> {
        self.check_open()?;
        self.deliveries_due(now, limit, busy)
    }

    async fn outbox_settle(&self, settled: Vec<(u64, Settled)>) -> Result<(), StoreError> {
        // Losing this in a crash means that a receiver is told twice, which it expects.
        self.write(false, move |txn| {
            settled
                .iter()
                .try_for_each(|(seq, settled)| txn.outbox_settle(*seq, *settled))
        })
        .await
    }

    async fn put_webhook(&self, webhook: Webhook) -> Result<(), StoreError> {
        let record = webhook.clone();
        self.write(true, move |txn| {
            txn.put(keys::webhook(&record.tenant, &record.id), &record)
        })
        .await?;
        let mut known = self
            .shared
            .webhooks
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other.id != webhook.id || other.tenant != webhook.tenant);
        known.push(webhook);
        Ok(())
    }

    async fn delete_webhook(&self, tenant: &Tenant, id: &str) -> Result<(), StoreError> {
        let key = keys::webhook(tenant, id);
        self.write(true, move |txn| txn.remove_record(key)).await?;
        let mut known = self
            .shared
            .webhooks
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other.id != id || other.tenant != *tenant);
        Ok(())
    }

    fn webhooks(&self, tenant: &Tenant) -> Vec<Webhook> {
        let known = self
            .shared
            .webhooks
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .filter(|webhook| webhook.tenant == *tenant)
            .cloned()
            .collect()
    }

    async fn put_key(&self, key: ApiKey) -> Result<(), StoreError> {
        let record = key.clone();
        self.write(true, move |txn| {
            txn.put(keys::api_key(&record.prefix), &record)
        })
        .await?;
        let mut known = self
            .shared
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other.prefix != key.prefix);
        known.push(Arc::new(key));
        Ok(())
    }

    fn key(&self, prefix: &str) -> Option<Arc<ApiKey>> {
        let known = self
            .shared
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|key| key.prefix == prefix).cloned()
    }

    fn keys(&self) -> Vec<Arc<ApiKey>> {
        self.shared
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn put_pause(&self, pause: Pause) -> Result<(), StoreError> {
        let record = pause.clone();
        self.write(true, move |txn| txn.put(keys::pause(&record.name), &record))
            .await?;
        let mut known = self.shared.pauses();
        known.retain(|other| other.name != pause.name);
        known.push(pause);
        Ok(())
    }

    async fn delete_pause(&self, name: &str) -> Result<(), StoreError> {
        let key = keys::pause(name);
        self.write(true, move |txn| {
            txn.write(key, None);
            Ok(())
        })
        .await?;
        self.shared.pauses().retain(|other| other.name != name);
        Ok(())
    }

    fn writing(&self, account: &Account) -> Option<IdWriting> {
        self.shared.writings().learnt(account)
    }

    fn pauses(&self) -> Vec<Pause> {
        self.shared.pauses().clone()
    }

    async fn spend(&self, spendings: Vec<Spending>) -> Result<(), StoreError> {
        self.write(true, move |txn| {
            spendings.iter().try_for_each(|spending| {
                txn.put(keys::spending(&spending.sim, spending.message), spending)
            })
        })
        .await
    }

    fn spendings(&self) -> Vec<Spending> {
        read::spendings(&*self.kv)
    }

    async fn known_of(
        &self,
        number: Msisdn,
        from: Option<Vec<u8>>,
    ) -> Result<KnownPage, StoreError> {
        self.check_open()?;
        let (kv, shared) = (self.kv.clone(), self.shared.clone());
        self.blocking(move || known::page(&*kv, &shared, number, from))
            .await
    }

    async fn erase(&self, known: Vec<Known>, now: Timestamp) -> Result<usize, StoreError> {
        self.write(true, move |txn| txn.erase(&known, now)).await
    }

    async fn copy(&self) -> Result<Box<dyn Copying>, StoreError> {
        Ok(Box::new(self.begin_copy()?))
    }

    async fn message(&self, tenant: &Tenant, id: MessageId) -> Result<Message, StoreError> {
        self.check_open()?;
        self.read_message(tenant, id)
    }

    async fn find(&self, query: Query) -> Result<Page<Message>, StoreError> {
        self.check_open()?;
        let (kv, shared) = (self.kv.clone(), self.shared.clone());
        self.blocking(move || read::find(&*kv, &shared, &query))
            .await
    }

    async fn batch(&self, tenant: &Tenant, id: BatchId) -> Result<Batch, StoreError> {
        self.check_open()?;
        let key = keys::batch(id);
        let octets = self.kv.get(&key)?.ok_or(StoreError::NotFound)?;
        let batch: Batch = decode(&key, &octets)?;
        if batch.tenant == *tenant {
            Ok(batch)
        } else {
            Err(StoreError::NotFound)
        }
    }

    async fn inbound(
        &self,
        tenant: &Tenant,
        before: Option<InboundId>,
        limit: usize,
    ) -> Result<Page<Inbound>, StoreError> {
        self.check_open()?;
        let (kv, tenant) = (self.kv.clone(), tenant.clone());
        self.blocking(move || read::inbound(&*kv, &tenant, before, limit))
            .await
    }

    fn next_due(&self, lane: &Lane, reach: &Reach) -> Option<Timestamp> {
        self.shared.index().next_due(lane, reach)
    }

    fn pins(&self, lane: &Lane) -> Vec<Account> {
        self.shared.index().pins(lane)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.shared.index().next_deadline()
    }

    fn lanes(&self) -> Vec<Lane> {
        self.shared.index().lanes()
    }

    fn gauges(&self, now: Timestamp) -> Gauges {
        let mut gauges = Gauges::default();
        self.shared.index().gauges(&mut gauges, now);
        gauges.outbox = self.shared.outbox().len();
        gauges.counts = self.shared.pending_counts();
        gauges.orphans = self
            .shared
            .orphans
            .load(Ordering::Relaxed)
            .max(0)
            .unsigned_abs();
        gauges.disk_bytes = self.kv.disk_bytes();
        gauges.free_bytes = self.kv.free_bytes();
        gauges.live_bytes = self.shared.live_bytes.load(Ordering::Relaxed);
        gauges
    }

    fn unhealthy(&self) -> Option<String> {
        self.shared.broken()
    }

    async fn prune(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.check_open()?;
        self.prune_some(now).await
    }

    async fn close(&self) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            let _ = writer.await;
        }
        let (kv, shared) = (self.kv.clone(), self.shared.clone());
        let synced = self.blocking(move || {
            if shared.broken().is_none() {
                kv.apply(&[shared.farewell()?])?;
            }
            Ok(kv.sync()?)
        });
        if let Err(error) = synced.await {
            tracing::error!(%error, "store_last_sync_failed");
        }
    }
}

impl<K: Kv> Embedded<K> {
    /// Runs what may touch many records, or wait for the disk, off the runtime's own threads; in
    /// place if the engine does not block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !self.kv.blocks() {
            return work();
        }
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(
                "the storage engine panicked".to_owned(),
            ))
        })
    }
}
