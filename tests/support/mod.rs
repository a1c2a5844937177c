//! A gateway in one process, in virtual time: the engine over a store in memory and simulated SMSCs
//! at the other end of connections in memory. Two days pass in milliseconds.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use relais::channel::smpp::{SmppConfig, start_on};
use relais::clock::{Clock, Random};
use relais::domain::id::{MessageId, Tenant};
use relais::domain::message::Message;
use relais::domain::policy::{Limits, Operator, Policy};
use relais::domain::status::Status;
use relais::domain::time::Timestamp;
use relais::engine::accept::Draft;
use relais::engine::{self, Engine, Parts, Stop};
use relais::metrics::Metrics;
use relais::sim::smsc::{self, Ledger, SmscHandle, SmscScript};
use relais::store::kv::{Kv, KvError, Pair, Write};
use relais::store::memory::MemoryKv;
use relais::store::{self, Store};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// 21 September 2026, 10:00 UTC.
pub const START: Timestamp = Timestamp(1_789_984_800_000);

/// One gateway and its carriers.
pub struct World {
    pub engine: Arc<Engine>,
    /// The first carrier, in most tests the only one.
    pub carrier: SmscHandle,
    /// Every carrier, in the order of the accounts.
    pub carriers: Vec<SmscHandle>,
    pub clock: Clock,
    pub policy: watch::Sender<Arc<Policy>>,
    stop: Stop,
    channels: CancellationToken,
    drivers: Vec<JoinHandle<()>>,
    tasks: JoinSet<()>,
}

/// One account of the gateway, and the carrier at its other end.
pub struct Line {
    config: SmppConfig,
    script: SmscScript,
}

impl Line {
    /// The account of this name, with a carrier that does what `script` says.
    pub fn new(account: &str, script: SmscScript) -> Self {
        let config = SmppConfig::new(account, "in memory", 1, "relais", "secret");
        Self { config, script }
    }

    /// The same with other settings.
    pub fn with(mut self, change: impl FnOnce(&mut SmppConfig)) -> Self {
        change(&mut self.config);
        self
    }
}

/// The default operator over the account `carrier`.
pub fn operator() -> Operator {
    Operator::named("default", vec![vec!["carrier".into()]])
}

pub fn policy(operator: Operator) -> Policy {
    Policy::new(operator, Vec::new(), "FR", Limits::default())
}

impl World {
    pub async fn new(script: SmscScript) -> Self {
        Self::with(script, policy(operator()), |_| {}).await
    }

    pub async fn with(
        script: SmscScript,
        policy: Policy,
        account: impl FnOnce(&mut SmppConfig),
    ) -> Self {
        Self::over(vec![Line::new("carrier", script).with(account)], policy).await
    }

    /// A gateway with several accounts, each with a carrier of its own.
    pub async fn over(lines: Vec<Line>, policy: Policy) -> Self {
        let clock = Clock::starting_at(START);
        let (policy, rules) = watch::channel(Arc::new(policy));
        let store = store::memory(rules, clock.now()).unwrap();
        Self::around(store, lines, policy, clock).await
    }

    /// A gateway over a store that there was before it.
    pub async fn around(
        store: Arc<dyn Store>,
        lines: Vec<Line>,
        policy: watch::Sender<Arc<Policy>>,
        clock: Clock,
    ) -> Self {
        let random = Random::seeded(7);
        let (events_in, events) = mpsc::channel(256);
        let channels = CancellationToken::new();
        let mut carriers = Vec::new();
        let mut started = Vec::new();
        for line in lines {
            let carrier = smsc::start(line.script, &clock, &random);
            started.extend(start_on(
                carrier.connector(),
                Arc::new(line.config),
                &clock,
                &random,
                &events_in,
                &channels,
            ));
            carriers.push(carrier);
        }
        drop(events_in);
        let (handles, drivers): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        let engine = Arc::new(Engine::new(Parts {
            store,
            policy: policy.subscribe(),
            clock: clock.clone(),
            random,
            metrics: Arc::new(Metrics::new()),
            channels: handles,
            signing_key: [7; 32],
        }));
        let stop = Stop::default();
        let tasks = engine::run(&engine, events, &stop);
        Self {
            engine,
            carrier: carriers[0].clone(),
            carriers,
            clock,
            policy,
            stop,
            channels,
            drivers,
            tasks,
        }
    }

    /// Stores one message.
    pub async fn send(&self, to: &str, text: &str) -> MessageId {
        self.submit(Draft {
            to: to.to_owned(),
            text: text.to_owned(),
            ..Draft::default()
        })
        .await
    }

    pub async fn submit(&self, draft: Draft) -> MessageId {
        let checked = self.engine.check(draft).await.unwrap();
        let submitted = self
            .engine
            .submit(&tenant(), vec![checked], false, None)
            .await
            .unwrap();
        submitted.messages[0].id
    }

    pub async fn message(&self, id: MessageId) -> Message {
        self.engine.store.message(&tenant(), id).await.unwrap()
    }

    /// Waits, in virtual time, until the message has this status; says how long that took.
    pub async fn until(&self, id: MessageId, status: Status) -> Duration {
        let mut changes = self.engine.listen();
        let from = self.clock.now();
        let wanted = async {
            while self.message(id).await.status() != status {
                let _ = changes.recv().await;
            }
        };
        let limit = Duration::from_hours(24 * 30);
        if tokio::time::timeout(limit, wanted).await.is_err() {
            panic!(
                "still {:?}: {:#?}",
                self.message(id).await.status(),
                self.message(id).await
            );
        }
        self.clock.now().since(from)
    }

    /// Waits, in virtual time, until the carrier's ledger is as `wanted` says.
    pub async fn carrier_until(&self, wanted: impl Fn(&Ledger) -> bool) {
        let limit = Duration::from_hours(24 * 30);
        if tokio::time::timeout(limit, self.carrier.wait_for(wanted))
            .await
            .is_err()
        {
            panic!("the carrier never saw it");
        }
    }

    /// Ends as a killed process does: nothing is finished, told or closed. What the carriers have
    /// seen can still be asked of them.
    pub async fn kill(mut self) -> Vec<SmscHandle> {
        for driver in &self.drivers {
            driver.abort();
        }
        self.tasks.shutdown().await;
        for driver in self.drivers {
            let _ = driver.await;
        }
        self.carriers
    }

    /// The driver of this channel ends as if it had panicked.
    pub async fn lose_driver(&mut self, index: usize) {
        let driver = self.drivers.remove(index);
        driver.abort();
        let _ = driver.await;
    }

    /// Stops as the daemon does: no new claims, what is under way lands, then everything ends.
    pub async fn stop(mut self) {
        self.stop.claiming.cancel();
        self.channels.cancel();
        for driver in self.drivers {
            driver.await.unwrap();
        }
        self.stop.working.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.engine.store.close().await;
        for carrier in self.carriers {
            carrier.shutdown().await;
        }
    }
}

pub fn tenant() -> Tenant {
    Tenant::from("default")
}

/// What outlives a gateway that is killed.
#[derive(Clone, Default)]
pub struct Disk(Arc<MemoryKv>);

impl Kv for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(key)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), KvError> {
        self.0.apply(writes)
    }

    fn sync(&self) -> Result<(), KvError> {
        self.0.sync()
    }

    fn scan<'a>(
        &'a self,
        range: (Vec<u8>, Vec<u8>),
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<Pair, KvError>> + 'a> {
        self.0.scan(range, reverse)
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn blocks(&self) -> bool {
        self.0.blocks()
    }
}
