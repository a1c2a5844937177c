//! A rack of simulated modems on pseudo terminals, and a gateway over it that can be stopped, killed
//! and started again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use relais::channel::modem::{self, ModemConfig};
use relais::channel::{ChannelHandle, ChannelStatus, ModemWord, Peer};
use relais::clock::{Clock, Random};
use relais::domain::id::{MessageId, Tenant};
use relais::domain::inbound::Inbound;
use relais::domain::message::{Attempt, Message};
use relais::domain::msisdn::Msisdn;
use relais::domain::policy::{Limits, ModemRules, Operator, Policy};
use relais::domain::privacy::Keeping;
use relais::domain::retry::RetrySchedule;
use relais::domain::status::Status;
use relais::engine::accept::Draft;
use relais::engine::{self, Engine, Parts, Stop};
use relais::metrics::Metrics;
use relais::sim::modem::{self as sim, Fate, Ledger, ModemHandle, ModemScript, SubmittedEntry};
use relais::store::embedded::Embedded;
use relais::store::kv::{Kv, KvError, Pair, Write};
use relais::store::memory::MemoryKv;
use relais::store::{self, Options, Store, StoreError};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Nothing here takes a tenth of it, unless something is wrong or the machine is.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Where messages go in tests that need one number.
pub const NUMBER: &str = "+33612345678";

pub fn tenant() -> Tenant {
    Tenant::from("default")
}

pub fn msisdn(text: &str) -> Msisdn {
    Msisdn::from_e164_digits(text.trim_start_matches('+')).unwrap()
}

/// Waits for something that must come.
pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(it) => it,
        Err(_) => panic!("never: {what}"),
    }
}

/// Looks again and again until it is so.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let look = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, look).await;
}

/// The modems, each under the name of its account; they outlive a gateway.
pub struct Rack {
    pub clock: Clock,
    pub random: Random,
    pub folder: TempDir,
    pub modems: BTreeMap<&'static str, ModemHandle>,
}

impl Rack {
    /// Plugs in a modem of each script; those without an IMSI of their own are given one.
    pub fn new(scripts: Vec<(&'static str, ModemScript)>) -> Self {
        let (clock, random) = (Clock::system(), Random::seeded(11));
        let folder = tempfile::tempdir().unwrap();
        let plug_in = |(number, (name, mut script)): (usize, (&'static str, ModemScript))| {
            script.link = folder.path().join(name);
            if script.imsi == ModemScript::default().imsi {
                script.imsi = format!("20801000000000{number}");
            }
            (name, sim::serve(script, &clock, &random).unwrap())
        };
        let modems = scripts.into_iter().enumerate().map(plug_in).collect();
        Self {
            clock,
            random,
            folder,
            modems,
        }
    }

    /// The only modem, or the first.
    pub fn one(script: ModemScript) -> Self {
        Self::new(vec![("a", script)])
    }

    pub fn modem(&self, name: &str) -> &ModemHandle {
        &self.modems[name]
    }

    /// The first modem.
    pub fn first(&self) -> &ModemHandle {
        self.modems.values().next().unwrap()
    }

    /// The settings of an account of this rack: everything soon.
    pub fn config(&self, name: &str) -> ModemConfig {
        let mut config = ModemConfig::new(name, self.modems[name].link());
        config.sweep = Duration::from_millis(500);
        config.check = Duration::from_millis(500);
        config.submit_timeout = Duration::from_secs(3);
        config.reopen = (Duration::from_millis(20), Duration::from_millis(100));
        config
    }

    /// All modems in one step of the default route.
    pub fn policy(&self) -> Policy {
        let step = self.modems.keys().map(|name| (*name).into()).collect();
        self.routed(vec![step])
    }

    pub fn routed(&self, route: Vec<Vec<relais::domain::id::Account>>) -> Policy {
        let mut operator = Operator::named("default", route);
        operator.retry = RetrySchedule(vec![Duration::from_millis(100); 30]);
        let mut policy = Policy::new(operator, Vec::new(), "FR", Limits::default());
        for name in self.modems.keys() {
            let rules = ModemRules {
                daily_limit: None,
                recipients_30d: None,
                in_doubt_grace: Duration::from_secs(2),
            };
            policy.modems.insert((*name).into(), rules);
        }
        policy
    }

    /// A gateway over all of it, with a store in memory.
    pub async fn gateway(&self) -> Gateway {
        self.gateway_with(self.policy(), |_| {}).await
    }

    pub async fn gateway_with(&self, policy: Policy, change: impl Fn(&mut ModemConfig)) -> Gateway {
        let (policy, rules) = watch::channel(Arc::new(policy));
        let store = store::memory(rules, self.clock.now()).unwrap();
        Gateway::start(self, store, policy, change).await
    }

    /// A gateway over what a disk holds.
    pub async fn gateway_on(&self, disk: &Disk, change: impl Fn(&mut ModemConfig)) -> Gateway {
        let (policy, rules) = watch::channel(Arc::new(self.policy()));
        let keep = Keeping::all(Duration::from_hours(24));
        let store = Embedded::start(disk.clone(), rules, keep, self.clock.now()).unwrap();
        Gateway::start(self, Arc::new(store), policy, change).await
    }

    /// A gateway over the real store in a folder. What held it before may take a moment to let go.
    pub async fn gateway_in(&self, folder: &Path) -> Gateway {
        let (policy, rules) = watch::channel(Arc::new(self.policy()));
        let mut opened = None;
        until("the folder of the store is free", async || {
            let now = self.clock.now();
            opened = store::open(folder, &Options::default(), rules.clone(), now).ok();
            opened.is_some()
        })
        .await;
        Gateway::start(self, opened.unwrap(), policy, |_| {}).await
    }

    /// What all modems have sent: each text of each part, with the SIM and TP-MR that it left under.
    pub fn sent(&self) -> BTreeMap<(String, String), Vec<(String, u8)>> {
        let mut sent: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, modem) in &self.modems {
            modem.ledger(|ledger| {
                for entry in ledger.sent() {
                    let Fate::Sent { reference, .. } = entry.fate else {
                        continue;
                    };
                    let key = (entry.recipient.clone(), entry.text.clone());
                    sent.entry(key)
                        .or_default()
                        .push(((*name).to_owned(), reference));
                }
            });
        }
        sent
    }

    /// How often each part with this text in it was sent, over all modems.
    pub fn copies(&self, text: &str) -> usize {
        let of = |modem: &ModemHandle| {
            modem.ledger(|ledger| ledger.sent().filter(|entry| entry.text == text).count())
        };
        self.modems.values().map(of).sum()
    }

    pub async fn unplug_all(self) {
        for modem in self.modems.values() {
            modem.shutdown().await;
        }
    }
}

/// A line of a modem's ledger, as far as the order of parts goes.
pub fn parts(ledger: &Ledger) -> Vec<u8> {
    let part = |entry: &SubmittedEntry| entry.part.map_or(1, |part| part.index);
    ledger.sent().map(part).collect()
}

/// Waits until the ledger is so.
pub async fn seen(modem: &ModemHandle, what: &str, wanted: impl Fn(&Ledger) -> bool) {
    let wait = tokio::time::timeout(DEADLINE, modem.wait_for(wanted)).await;
    if wait.is_err() {
        let commands = modem.ledger(|ledger| ledger.commands.clone());
        let last: Vec<_> = commands.iter().rev().take(20).rev().collect();
        panic!("never seen by the modem: {what}; its last commands: {last:#?}");
    }
}

/// How many commands with this beginning a modem has been given.
pub fn commands(ledger: &Ledger, beginning: &str) -> usize {
    let begins = |command: &&String| command.starts_with(beginning);
    ledger.commands.iter().filter(begins).count()
}

/// An engine with a channel to each modem of a rack.
pub struct Gateway {
    pub engine: Arc<Engine>,
    /// The rules are in force as long as somebody could change them.
    _policy: watch::Sender<Arc<Policy>>,
    stop: Stop,
    channels: CancellationToken,
    drivers: Vec<JoinHandle<()>>,
    tasks: JoinSet<()>,
}

impl Gateway {
    pub async fn start(
        rack: &Rack,
        store: Arc<dyn Store>,
        policy: watch::Sender<Arc<Policy>>,
        change: impl Fn(&mut ModemConfig),
    ) -> Self {
        let (events_in, events) = mpsc::channel(256);
        let channels = CancellationToken::new();
        let (mut handles, mut drivers) = (Vec::new(), Vec::new());
        for name in rack.modems.keys() {
            let mut config = rack.config(name);
            change(&mut config);
            let (handle, driver) = modem::start(
                Arc::new(config),
                &rack.clock,
                &rack.random,
                &events_in,
                &channels,
            );
            handles.push(handle);
            drivers.push(driver);
        }
        drop(events_in);
        let engine = Arc::new(Engine::new(Parts {
            store,
            policy: policy.subscribe(),
            clock: rack.clock.clone(),
            random: rack.random.clone(),
            metrics: Arc::new(Metrics::new()),
            channels: handles,
            signing_key: [7; 32],
        }));
        let stop = Stop::default();
        let tasks = engine::run(&engine, events, &stop);
        Self {
            engine,
            _policy: policy,
            stop,
            channels,
            drivers,
            tasks,
        }
    }

    pub fn channel(&self, name: &str) -> ChannelHandle {
        let channels = self.engine.channels();
        let mut channels = channels.iter();
        let found = channels.find(|handle| handle.id.as_str() == name);
        found.unwrap().clone()
    }

    pub fn status(&self, name: &str) -> ChannelStatus {
        self.channel(name).status.borrow().clone()
    }

    /// What a modem says about itself.
    pub fn word(&self, name: &str) -> ModemWord {
        match &self.channel(name).peer {
            Peer::Modem(word) => word.borrow().clone(),
            Peer::Smsc(_) | Peer::App | Peer::Email => panic!("{name} is no modem"),
        }
    }

    /// Waits until a modem is ready.
    pub async fn up(&self, name: &str) {
        let mut status = self.channel(name).status.clone();
        let up = tokio::time::timeout(DEADLINE, status.wait_for(ChannelStatus::is_up)).await;
        if up.is_err() {
            panic!("{name} is {:?}: {:#?}", self.status(name), self.word(name));
        }
    }

    pub async fn all_up(&self) {
        for handle in self.engine.channels().iter() {
            self.up(handle.id.as_str()).await;
        }
    }

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

    /// Waits until the message is so.
    pub async fn until(&self, id: MessageId, what: &str, so: impl Fn(&Message) -> bool) -> Message {
        let mut changes = self.engine.listen();
        let wanted = async {
            loop {
                let message = self.message(id).await;
                if so(&message) {
                    return message;
                }
                // Not all that a message goes through is published.
                let _ = tokio::time::timeout(Duration::from_millis(20), changes.recv()).await;
            }
        };
        match tokio::time::timeout(DEADLINE, wanted).await {
            Ok(message) => message,
            Err(_) => {
                let channels = self.engine.channels();
                let states = channels
                    .iter()
                    .map(|c| (c.id.clone(), c.status.borrow().clone()));
                panic!(
                    "never {what}: {:#?}, waiting for {:?}; channels: {:?}",
                    self.message(id).await,
                    self.engine.why(&self.message(id).await),
                    states.collect::<Vec<_>>()
                )
            }
        }
    }

    pub async fn becomes(&self, id: MessageId, status: Status) -> Message {
        let what = status.word();
        self.until(id, what, |message| message.status() == status)
            .await
    }

    pub async fn all_become(&self, ids: &[MessageId], status: Status) {
        for id in ids {
            self.becomes(*id, status).await;
        }
    }

    /// What the tenant has received, oldest first.
    pub async fn received(&self) -> Vec<Inbound> {
        let page = self.engine.store.inbound(&tenant(), None, 1000).await;
        let mut items = page.unwrap().items;
        items.reverse();
        items
    }

    pub async fn is_opted_out(&self, number: &str) -> bool {
        match self.engine.store.optout(&tenant(), msisdn(number)).await {
            Ok(_) => true,
            Err(StoreError::NotFound) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Ends as a killed process does: nothing is finished, told or closed.
    pub async fn kill(mut self) {
        for driver in &self.drivers {
            driver.abort();
        }
        self.tasks.shutdown().await;
        for driver in self.drivers {
            let _ = driver.await;
        }
    }

    /// Stops as the daemon does.
    pub async fn stop(mut self) {
        self.stop.claiming.cancel();
        self.channels.cancel();
        for driver in self.drivers {
            soon("a driver ends", driver).await.unwrap();
        }
        self.stop.working.cancel();
        while let Some(ended) = soon("the tasks end", self.tasks.join_next()).await {
            ended.unwrap();
        }
        self.engine.store.close().await;
    }
}

/// The attempt that a message left by.
pub fn attempt(message: &Message) -> &Attempt {
    message.attempts.last().unwrap()
}

/// What outlives a gateway, and can be told to wait, or to fail.
#[derive(Clone, Default)]
pub struct Disk {
    kept: Arc<MemoryKv>,
    stuck: Arc<(Mutex<bool>, Condvar)>,
    broken: Arc<AtomicBool>,
}

impl Disk {
    /// From now on nothing that is written is finished, until told otherwise.
    pub fn stick(&self, stuck: bool) {
        *self.stuck.0.lock().unwrap() = stuck;
        self.stuck.1.notify_all();
    }

    /// From now on every write fails, until told otherwise and opened anew.
    pub fn break_down(&self, broken: bool) {
        self.broken.store(broken, Ordering::Release);
    }
}

impl Kv for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.kept.get(key)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), KvError> {
        let stuck = self.stuck.0.lock().unwrap();
        drop(self.stuck.1.wait_while(stuck, |stuck| *stuck).unwrap());
        if self.broken.load(Ordering::Acquire) {
            return Err(KvError("no space left on the device".to_owned()));
        }
        self.kept.apply(writes)
    }

    fn sync(&self) -> Result<(), KvError> {
        self.kept.sync()
    }

    fn scan<'a>(
        &'a self,
        range: (Vec<u8>, Vec<u8>),
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<Pair, KvError>> + 'a> {
        self.kept.scan(range, reverse)
    }

    fn disk_bytes(&self) -> u64 {
        self.kept.disk_bytes()
    }

    /// On a thread of its own, which may be made to wait.
    fn blocks(&self) -> bool {
        true
    }
}

/// An SMS-STATUS-REPORT about a message that a modem has sent (3GPP TS 23.040 §9.2.2.3), with this
/// TP-ST.
pub fn report(entry: &SubmittedEntry, status: u8) -> Vec<u8> {
    let Fate::Sent { reference, .. } = entry.fate else {
        panic!("{entry:?} was not sent");
    };
    let semi_octets = |digits: &str| {
        let digits: Vec<u8> = digits.bytes().map(|digit| digit - b'0').collect();
        let pair = |pair: &[u8]| pair[0] | (pair.get(1).unwrap_or(&0x0F) << 4);
        digits.chunks(2).map(pair).collect::<Vec<_>>()
    };
    let number = entry.recipient.trim_start_matches('+');
    let taken = entry.at.to_utc().format("%y%m%d%H%M%S00").to_string();
    let mut octets = vec![0x06, reference, u8::try_from(number.len()).unwrap(), 0x91];
    octets.extend(semi_octets(number));
    octets.extend(semi_octets(&taken));
    octets.extend(semi_octets(&taken));
    octets.push(status);
    octets
}
