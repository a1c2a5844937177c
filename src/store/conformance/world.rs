//! A place for a store that can be opened again, and the words that tests are told in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;

use super::Probe;
use crate::domain::credit::Means;
use crate::domain::fixtures::{lane, lease, policy};
use crate::domain::id::{MessageId, Tenant};
use crate::domain::message::{Message, Token};
use crate::domain::policy::Policy;
use crate::domain::privacy::Keeping;
use crate::domain::receipt::{Receipt, ReceiptState};
use crate::domain::time::Timestamp;
use crate::store::embedded::Embedded;
use crate::store::kv::Kv;
use crate::store::memory::MemoryKv;
use crate::store::sled::{Durability, OpenError, SledKv};
use crate::store::{
    Accepted, Change, Claimant, Idempotency, Query, Reach, ReceiptReport, Receiving, Report, Store,
    Submission, fsck,
};

/// Octets of cache of a test's engine.
pub(in crate::store) const CACHE: u64 = 16 << 20;

enum Place {
    Memory(Arc<MemoryKv>),
    Sled(TempDir),
}

/// Where a test's records are kept, and under which rules.
pub(in crate::store) struct World {
    place: Place,
    pub(in crate::store) keeping: Keeping,
    pub(in crate::store) policy: watch::Sender<Arc<Policy>>,
}

impl World {
    pub(in crate::store) fn memory() -> Self {
        Self::at(Place::Memory(Arc::default()))
    }

    pub(in crate::store) fn sled() -> Self {
        Self::at(Place::Sled(tempfile::tempdir().unwrap()))
    }

    /// Another one on the same engine, with nothing in it.
    pub(in crate::store) fn anew(&self) -> Self {
        match self.place {
            Place::Memory(_) => Self::memory(),
            Place::Sled(_) => Self::sled(),
        }
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            keeping: Keeping::all(Duration::from_hours(24 * 395)),
            policy: watch::Sender::new(Arc::new(policy())),
        }
    }

    fn sled_kv(folder: &TempDir) -> SledKv {
        opened(folder.path())
    }

    fn start<K: Kv>(&self, kv: K, now: Timestamp) -> Arc<dyn Store> {
        let rules = self.policy.subscribe();
        Arc::new(Embedded::start(kv, rules, self.keeping.clone(), now).unwrap())
    }

    /// Opens the store, as it was left.
    pub(in crate::store) fn open(&self, now: Timestamp) -> Arc<dyn Store> {
        match &self.place {
            Place::Memory(kv) => self.start(kv.clone(), now),
            Place::Sled(folder) => self.start(Self::sled_kv(folder), now),
        }
    }

    /// Opens the store with a probe between it and its engine.
    pub(in crate::store) fn open_probed(&self, now: Timestamp) -> (Arc<dyn Store>, Arc<Probe>) {
        let kv: Box<dyn Kv> = match &self.place {
            Place::Memory(kv) => Box::new(kv.clone()),
            Place::Sled(folder) => Box::new(Self::sled_kv(folder)),
        };
        let probe = Arc::new(Probe::over(kv));
        (self.start(probe.clone(), now), probe)
    }

    /// Closes the store, checks what it left, and opens it again.
    pub(in crate::store) async fn reopen(
        &self,
        store: Arc<dyn Store>,
        now: Timestamp,
    ) -> Arc<dyn Store> {
        self.finish(store).await;
        self.open(now)
    }

    /// Closes the store; nothing that it left may be wrong.
    pub(in crate::store) async fn finish(&self, store: Arc<dyn Store>) {
        store.close().await;
        drop(store);
        self.check();
    }

    /// Runs `fsck` on the closed store.
    pub(in crate::store) fn check(&self) {
        let findings = self.with_kv(|kv| fsck::check(kv).unwrap());
        assert!(findings.is_clean(), "{findings}");
    }

    /// Looks at the closed store's engine.
    pub(in crate::store) fn with_kv<T>(&self, look: impl FnOnce(&Box<dyn Kv>) -> T) -> T {
        match &self.place {
            Place::Memory(kv) => look(&(Box::new(kv.clone()) as Box<dyn Kv>)),
            Place::Sled(folder) => look(&(Box::new(Self::sled_kv(folder)) as Box<dyn Kv>)),
        }
    }
}

/// Opens an engine that this process has just closed: sled's own threads hold its lock for a moment
/// longer than its handle lives.
pub(in crate::store) fn opened(folder: &Path) -> SledKv {
    for _ in 0..1_000_000 {
        match SledKv::open(folder, Durability::Process, CACHE) {
            Err(OpenError::InUse(_)) => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
    panic!("{} stays in use", folder.display());
}

/// The tenant of every message that does not say otherwise.
pub(in crate::store) fn shop() -> Tenant {
    "shop".into()
}

/// Messages to be stored together, of the tenant of the first one.
pub(in crate::store) fn submission(messages: Vec<Message>) -> Submission {
    Submission {
        tenant: messages.first().map_or_else(shop, |m| m.tenant.clone()),
        idempotency: None,
        batch: messages.first().and_then(|message| message.batch),
        now: messages
            .first()
            .map_or(Timestamp(0), |message| message.created_at),
        messages,
        max_live: 1_000_000,
        means: Means::default(),
    }
}

/// The same, under an idempotency key and for a body, each told by one octet.
pub(in crate::store) fn keyed(messages: Vec<Message>, key: u8, body: u8) -> Submission {
    Submission {
        idempotency: Some(Idempotency {
            key: [key; 16],
            body: [body; 16],
        }),
        ..submission(messages)
    }
}

/// The first bind of an account, with leases of a minute.
pub(in crate::store) fn claimant(account: &str, now: Timestamp) -> Claimant {
    let lease = lease(account, now, now);
    Claimant {
        account: lease.account,
        channel: lease.channel,
        until: lease.until,
        reach: Reach::of(&account.into()),
        in_line: false,
        only_to: None,
    }
}

/// Whatever account `a` may send.
pub(in crate::store) fn reach() -> Reach {
    Reach::of(&"a".into())
}

/// The claim that a message was handed out under.
pub(in crate::store) fn token(message: &Message) -> Token {
    let sending = message.sending();
    Token {
        message: message.id,
        attempt: sending.attempt,
        claim: sending.claim,
    }
}

/// A carrier's acceptance of one part of a claimed message.
pub(in crate::store) fn accepted(message: &Message, segment: u16, reference: &str) -> Report {
    Report::Accepted {
        token: token(message),
        segment,
        reference: reference.to_owned(),
    }
}

/// A receipt on account `a` that names no handset.
pub(in crate::store) fn receipt(reference: &str, state: ReceiptState) -> ReceiptReport {
    ReceiptReport::new("a".into(), reference.to_owned(), Receipt::of(state))
}

/// Every message of the shop.
pub(in crate::store) fn all() -> Query {
    Query::of(shop(), 1000)
}

/// One step of a story, with everything that the story does not care about filled in.
impl dyn Store {
    pub(in crate::store) async fn takes(&self, messages: Vec<Message>) -> Vec<MessageId> {
        match self.accept(submission(messages)).await.unwrap() {
            Accepted::New(messages) => messages.iter().map(|message| message.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::store) async fn claims(&self, limit: usize, now: Timestamp) -> Vec<Message> {
        self.claim(&lane("orange"), claimant("a", now), limit, now)
            .await
            .unwrap()
            .messages
    }

    pub(in crate::store) async fn reports(&self, report: Report, now: Timestamp) -> Option<Change> {
        let mut changes = self.report(vec![report], now).await.unwrap();
        assert_eq!(changes.len(), 1);
        changes.remove(0)
    }

    pub(in crate::store) async fn receives(
        &self,
        receipt: ReceiptReport,
        now: Timestamp,
    ) -> Receiving {
        let mut outcomes = self.receive(vec![receipt], now).await.unwrap();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    /// Stores one message of one part and sends it as `reference`.
    pub(in crate::store) async fn sends(
        &self,
        message: Message,
        reference: &str,
        now: Timestamp,
    ) -> Message {
        self.takes(vec![message]).await;
        let taken = self.claims(1, now).await.remove(0);
        self.reports(accepted(&taken, 0, reference), now).await;
        self.message(&taken.tenant, taken.id).await.unwrap()
    }
}
