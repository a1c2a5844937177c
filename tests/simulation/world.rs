//! One world: carriers that stay, a disk that stays, and a daemon that lives several lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use relais::channel::smpp::start_on;
use relais::clock::{Clock, Random};
use relais::domain::id::{MessageId, Tenant};
use relais::domain::inbound::Inbound;
use relais::domain::message::Message;
use relais::domain::policy::Policy;
use relais::domain::privacy::Keeping;
use relais::domain::time::Timestamp;
use relais::engine::{self, Engine, Parts, Stop as Tokens};
use relais::metrics::Metrics;
use relais::sim::smsc::{self, SmscHandle};
use relais::store::codec::decode;
use relais::store::embedded::Embedded;
use relais::store::keys::KeySpace;
use relais::store::kv::Kv as _;
use relais::store::{OutboxEvent, Settled, Store, Webhook, fsck};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::START;
use crate::clients;
use crate::disk::Disk;
use crate::faults::{Fault, How, Kind, Stop, When};
use crate::oracle::{Carrier, Evidence};
use crate::plan::{Dice, Plan};

const MINUTE: Duration = Duration::from_secs(60);

/// Every event type, so that the receiver sees each change of status.
const TYPES: [&str; 7] = [
    "message.pending",
    "message.sent",
    "message.delivered",
    "message.expired",
    "message.failed",
    "message.cancelled",
    "inbound.received",
];

pub fn tenant() -> Tenant {
    Tenant::from("default")
}

/// A pause of an account that was made for sure.
pub struct Paused {
    pub account: String,
    pub from: Timestamp,
    /// When its end was asked for, and when that was done.
    pub until: Timestamp,
    pub resumed: Timestamp,
}

/// What is written down about a world while it runs.
#[derive(Default)]
pub struct Notes {
    /// Messages that were promised to a client, by number.
    pub promised: BTreeMap<u32, MessageId>,
    /// Messages whose withdrawal was promised.
    pub cancelled: Vec<MessageId>,
    /// What the receiver of webhooks was told: message, revision, in which life.
    pub told: Vec<(MessageId, u32, u64)>,
    /// Pauses of accounts.
    pub paused: Vec<Paused>,
    /// When the daemon was killed.
    pub kills: Vec<Timestamp>,
    /// What was seen to be wrong on the way.
    pub wrong: Vec<String>,
}

/// What clients, faults and the director share.
pub struct Shared {
    pub plan: Plan,
    pub clock: Clock,
    pub disk: Disk,
    pub carriers: Vec<SmscHandle>,
    /// The daemon, while it lives, and what is cancelled when it is killed.
    alive: Mutex<Option<(Arc<Engine>, CancellationToken)>>,
    notes: Mutex<Notes>,
}

impl Shared {
    pub fn daemon(&self) -> Option<(Arc<Engine>, CancellationToken)> {
        self.alive.lock().unwrap().clone()
    }

    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    pub fn wrong(&self, what: String) {
        let at = self.clock.now().rfc3339();
        self.notes().wrong.push(format!("{at} {what}"));
    }
}

/// One life of the daemon.
struct Daemon {
    engine: Arc<Engine>,
    tasks: JoinSet<()>,
    drivers: Vec<JoinHandle<()>>,
    poster: JoinHandle<()>,
    tokens: Tokens,
    channels: CancellationToken,
    dead: CancellationToken,
    _policy: watch::Sender<Arc<Policy>>,
}

/// Runs the world of a plan to its end and says what it left.
pub fn run(plan: &Plan) -> Evidence {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(live(plan.clone()))
}

async fn live(plan: Plan) -> Evidence {
    let clock = Clock::starting_at(START);
    let carriers: Vec<_> = plan
        .accounts
        .iter()
        .zip(10..)
        .map(|(account, stream)| {
            let random = Random::seeded(plan.seed ^ (stream << 56));
            smsc::start(account.script.clone(), &clock, &random)
        })
        .collect();
    let shared = Arc::new(Shared {
        plan,
        disk: Disk::new(&clock),
        clock,
        carriers,
        alive: Mutex::default(),
        notes: Mutex::default(),
    });
    if let Some(sabotage) = shared.plan.sabotage {
        shared.disk.sabotage(sabotage);
    }
    let mut background = JoinSet::new();
    for post in shared.plan.posts.clone() {
        clients::start(&mut background, &shared, post);
    }
    for pause in shared.plan.pauses.clone() {
        clients::pause(&mut background, &shared, pause);
    }
    for fault in shared.plan.faults.clone() {
        let usual = shared.plan.accounts[fault.account].script.clone();
        background.spawn(
            fault
                .clone()
                .run(shared.carriers[fault.account].clone(), usual),
        );
    }
    for (at, account, message) in shared.plan.inbound.clone() {
        let carrier = shared.carriers[account].clone();
        background.spawn(async move {
            tokio::time::sleep(at).await;
            carrier.inject(&message);
        });
    }
    background.spawn(look_in(shared.clone()));
    let mut director = Director {
        lives: 0,
        shared: shared.clone(),
    };
    let daemon = director.direct().await;
    background.shutdown().await;
    director.end(daemon).await
}

/// Looks at what must hold at any instant, once a minute.
async fn look_in(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(MINUTE).await;
        let Some((engine, _)) = shared.daemon() else {
            continue;
        };
        let mut window = 0;
        for channel in engine.channels().iter() {
            window += channel.window_size;
            if channel.window.available_permits() > channel.window_size {
                shared.wrong(format!("{} has more places than its window", channel.id));
            }
        }
        if engine.under_way() > window {
            shared.wrong(format!(
                "{} under way in windows of {window}",
                engine.under_way()
            ));
        }
        if let Some(problem) = engine.store.unhealthy()
            && !problem.contains("power")
        {
            shared.wrong(format!("the store is not well: {problem}"));
        }
    }
}

struct Director {
    lives: u64,
    shared: Arc<Shared>,
}

impl Director {
    /// Starts, kills and starts the daemon again as planned, then waits until all is over.
    async fn direct(&mut self) -> Daemon {
        let traffic = tokio::time::Instant::now() + self.shared.plan.traffic;
        let mut daemon = self.start().await;
        for stop in self.shared.plan.stops.clone() {
            let happened = tokio::time::timeout_at(traffic, self.moment(&stop)).await;
            if happened.is_err() {
                break;
            }
            for _ in 0..stop.turns {
                tokio::task::yield_now().await;
            }
            match stop.how {
                How::Killed { keeps } => self.kill(daemon, keeps).await,
                How::Clean => self.stop(daemon).await,
            }
            tokio::time::sleep(stop.down).await;
            if let Some(fuse) = stop.opening {
                self.shared.disk.arm(fuse);
            }
            daemon = self.start().await;
        }
        // What was armed and not reached must not go off while everything is being looked at.
        self.shared.disk.disarm();
        tokio::time::sleep_until(traffic).await;
        self.heal();
        self.settle().await;
        daemon
    }

    async fn moment(&self, stop: &Stop) {
        let shared = &self.shared;
        match stop.when {
            When::At(at) => tokio::time::sleep(at.saturating_sub(shared.clock.elapsed())).await,
            When::Submitted { account, more } => {
                let carrier = &shared.carriers[account];
                let until = carrier.ledger(|ledger| ledger.submitted_total) + more;
                carrier
                    .wait_for(|ledger| ledger.submitted_total >= until)
                    .await;
            }
            When::Delivered { account, more } => {
                let carrier = &shared.carriers[account];
                let until = carrier.ledger(|ledger| ledger.delivered_total) + more;
                carrier
                    .wait_for(|ledger| ledger.delivered_total >= until)
                    .await;
            }
            When::Writing(fuse) => {
                shared.disk.arm(fuse);
                shared.disk.blown().await;
            }
        }
    }

    /// From now on nothing goes wrong any more, but what some numbers meet with anyway.
    fn heal(&self) {
        for (carrier, account) in self.shared.carriers.iter().zip(&self.shared.plan.accounts) {
            carrier.set_script(account.script.clone());
        }
    }

    /// Waits until every message is final, or should have been for long.
    async fn settle(&self) {
        let latest = |message: &Message| message.expires_at;
        let grace = self.shared.plan.policy.receipt_grace + MINUTE * 20;
        loop {
            tokio::time::sleep(MINUTE).await;
            let live = records(&self.shared.disk, KeySpace::Live);
            let Some(last) = live.iter().map(latest).max() else {
                break;
            };
            if self.shared.clock.now() > last + grace {
                break;
            }
        }
        // What is still on its way back has time to arrive, and every time-out to pass.
        tokio::time::sleep(MINUTE * 25).await;
    }

    async fn start(&mut self) -> Daemon {
        loop {
            self.lives += 1;
            match self.try_start().await {
                Some(daemon) => {
                    self.shared.disk.disarm();
                    return daemon;
                }
                // The power went out while the store was being opened.
                None => {
                    self.shared.disk.rung().await;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn try_start(&self) -> Option<Daemon> {
        let shared = &self.shared;
        let plan = &shared.plan;
        let (policy, rules) = watch::channel(Arc::new(plan.policy.clone()));
        let keeping = Keeping::all(Duration::from_hours(24 * 395));
        let kv = shared.disk.open();
        let store = Embedded::start(kv, rules.clone(), keeping, shared.clock.now());
        let store: Arc<dyn Store> = Arc::new(store.ok()?);
        let random = Random::seeded(plan.seed.wrapping_mul(31) ^ (self.lives << 48));
        let (events_in, events) = mpsc::channel(256);
        let channels = CancellationToken::new();
        let (mut handles, mut drivers) = (Vec::new(), Vec::new());
        for (account, carrier) in plan.accounts.iter().zip(&shared.carriers) {
            let config = Arc::new(account.config.clone());
            let connector = carrier.connector();
            for (handle, driver) in start_on(
                connector,
                config,
                &shared.clock,
                &random,
                &events_in,
                &channels,
            ) {
                handles.push(handle);
                drivers.push(driver);
            }
        }
        drop(events_in);
        let engine = Arc::new(Engine::new(Parts {
            store,
            policy: rules,
            clock: shared.clock.clone(),
            random,
            metrics: Arc::new(Metrics::new()),
            channels: handles,
            signing_key: [7; 32],
        }));
        let tokens = Tokens::default();
        let tasks = engine::run_without_webhooks(&engine, events, &tokens);
        let dead = CancellationToken::new();
        let dice = Dice::new(plan.seed, 100 + self.lives);
        let poster = tokio::spawn(post(shared.clone(), engine.clone(), dice, self.lives));
        if engine.store.webhooks(&tenant()).is_empty() {
            let webhook = Webhook {
                id: "all".to_owned(),
                tenant: tenant(),
                url: "https://receiver.example/hook".to_owned(),
                types: TYPES.map(str::to_owned).to_vec(),
                secret: "whsec_AAAA".to_owned(),
                created_at: shared.clock.now(),
            };
            let _ = engine.store.put_webhook(webhook).await;
        }
        *shared.alive.lock().unwrap() = Some((engine.clone(), dead.clone()));
        Some(Daemon {
            engine,
            tasks,
            drivers,
            poster,
            tokens,
            channels,
            dead,
            _policy: policy,
        })
    }

    /// Ends every task where it stands. Of what was not synced, so much is kept.
    async fn kill(&self, mut daemon: Daemon, keeps: usize) {
        self.shared.alive.lock().unwrap().take();
        self.shared.disk.cut(keeps);
        daemon.dead.cancel();
        daemon.poster.abort();
        daemon.drivers.iter().for_each(JoinHandle::abort);
        daemon.tasks.shutdown().await;
        for driver in daemon.drivers {
            let _ = driver.await;
        }
        let _ = daemon.poster.await;
        let now = self.shared.clock.now();
        self.shared.notes().kills.push(now);
    }

    /// Stops it as the daemon stops.
    async fn stop(&self, daemon: Daemon) {
        let Daemon {
            engine,
            mut tasks,
            drivers,
            poster,
            tokens,
            channels,
            dead,
            ..
        } = daemon;
        self.shared.alive.lock().unwrap().take();
        if engine.store.unhealthy().is_some() {
            // Its disk has failed: what it does from now on is forgotten, as if it were killed.
            let now = self.shared.clock.now();
            self.shared.notes().kills.push(now);
        }
        tokens.claiming.cancel();
        channels.cancel();
        for driver in drivers {
            let ended = tokio::time::timeout(Duration::from_secs(30), driver).await;
            if ended.is_err() {
                self.shared.wrong("a driver did not stop".to_owned());
            }
        }
        tokens.working.cancel();
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                self.shared.wrong(format!("a task ended badly: {error}"));
            }
        }
        poster.abort();
        let _ = poster.await;
        engine.store.close().await;
        dead.cancel();
    }

    async fn end(self, daemon: Daemon) -> Evidence {
        let shared = self.shared.clone();
        let ended = shared.clock.now();
        for channel in daemon.engine.channels().iter() {
            let free = channel.window.available_permits();
            if free != channel.window_size {
                let (id, size) = (&channel.id, channel.window_size);
                shared.wrong(format!(
                    "{free} of {size} places of {id} are free at the end"
                ));
            }
        }
        if daemon.engine.under_way() != 0 {
            let left = daemon.engine.under_way();
            shared.wrong(format!("{left} messages are under way at the end"));
        }
        self.stop(daemon).await;
        for carrier in &shared.carriers {
            carrier.shutdown().await;
        }
        let live = records(&shared.disk, KeySpace::Live);
        let history = records(&shared.disk, KeySpace::History);
        let kv = shared.disk.open();
        let inbound = kv
            .scan(KeySpace::Inbound.range(), false)
            .map(|pair| {
                let (key, octets) = pair.unwrap();
                decode::<Inbound>(&key, &octets).unwrap()
            })
            .collect();
        let carriers = shared
            .carriers
            .iter()
            .zip(&shared.plan.accounts)
            .enumerate()
            .map(|(index, (handle, account))| {
                let silent =
                    |fault: &Fault| fault.account == index && matches!(fault.kind, Kind::Silent);
                handle.ledger(|ledger| Carrier {
                    account: account.name.clone(),
                    script: account.script.clone(),
                    submitted: ledger.submitted.iter().cloned().collect(),
                    delivered: ledger.delivered.iter().cloned().collect(),
                    window: account.config.window,
                    binds: account.config.binds,
                    silent: shared.plan.faults.iter().any(silent),
                    response_timeout: account.config.response_timeout,
                })
            })
            .collect();
        let notes = std::mem::take(&mut *shared.notes());
        Evidence {
            seed: shared.plan.seed,
            records: live.into_iter().chain(history).collect(),
            inbound,
            carriers,
            notes,
            findings: fsck::check(&kv).unwrap(),
            policy: shared.plan.policy.clone(),
            ended,
            operations: shared.disk.operations(),
            known: shared.disk.known(),
        }
    }
}

/// The messages on the disk: the live ones, or the final ones.
fn records(disk: &Disk, space: KeySpace) -> Vec<Message> {
    let kv = disk.open();
    kv.scan(space.range(), false)
        .map(|pair| {
            let (key, octets) = pair.unwrap();
            decode::<Message>(&key, &octets).unwrap()
        })
        .collect()
}

/// Makes the deliveries of the outbox, to a receiver that fails now and then.
async fn post(shared: Arc<Shared>, engine: Arc<Engine>, dice: Dice, life: u64) {
    let mut changes = engine.listen();
    loop {
        let now = shared.clock.now();
        let Ok(due) = engine.store.outbox_due(now, 16, &[]).await else {
            return;
        };
        if due.deliveries.is_empty() {
            let sleep = due.next_due.map_or(MINUTE, |at| at.since(now).min(MINUTE));
            tokio::select! {
                biased;
                _ = changes.recv() => {}
                () = tokio::time::sleep(sleep.max(Duration::from_millis(1))) => {}
            }
            continue;
        }
        let mut settled = Vec::new();
        for delivery in due.deliveries {
            if dice.percent(10) {
                tokio::time::sleep(Duration::from_millis(dice.below(2_000))).await;
            }
            if dice.percent(5) {
                let again = shared.clock.now() + Duration::from_secs(dice.between(1, 60));
                settled.push((delivery.seq, Settled::Retry(again)));
                continue;
            }
            if let OutboxEvent::Message(message) = &delivery.event {
                shared
                    .notes()
                    .told
                    .push((message.id, message.revision, life));
            }
            settled.push((delivery.seq, Settled::Done));
        }
        if engine.store.outbox_settle(settled).await.is_err() {
            return;
        }
    }
}
