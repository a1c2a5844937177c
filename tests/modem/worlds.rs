//! Worlds of modems, each drawn from a number, in virtual time over streams in memory: modems that
//! hang, restart and are pulled out at any moment, reports that come when they like, a daemon that is
//! killed. In the end the ledgers are the judges of what is stored.
//!
//! `MODEM_SEED=7` replays one world, `MODEM_SEEDS=1000` runs as many.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use relais::channel::Peer;
use relais::channel::modem::port::{Opener, Stream};
use relais::channel::modem::word::Recoveries;
use relais::channel::modem::{ModemConfig, start_on};
use relais::clock::{Clock, Random};
use relais::domain::id::MessageId;
use relais::domain::message::{Cause, Message, Outcome, State, What};
use relais::domain::policy::{Limits, ModemRules, OnDoubt, Operator, Policy};
use relais::domain::privacy::Keeping;
use relais::domain::retry::RetrySchedule;
use relais::domain::sim;
use relais::domain::time::Timestamp;
use relais::engine::accept::Draft;
use relais::engine::{self, Engine, Parts, Stop};
use relais::metrics::Metrics;
use relais::sim::modem::{
    self as simulated, Chatter, Fate, Fault, FaultKind, ModemHandle, ModemScript, Moment,
    Personality, Reports, Rule,
};
use relais::store::embedded::Embedded;
use relais::store::kv::{Kv, KvError, Pair, Write};
use relais::store::memory::MemoryKv;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::gateway::tenant;

/// 21 September 2026, 10:00 UTC.
const START: Timestamp = Timestamp(1_789_984_800_000);

const MINUTE: Duration = Duration::from_mins(1);

/// How long messages come and things go wrong.
const TRAFFIC: Duration = Duration::from_mins(20);

/// How long a message is worth delivering.
const VALIDITY: Duration = Duration::from_mins(50);

/// Worlds of a usual run.
const SEEDS: u64 = 16;

/// Chance, all of it from the seed.
struct Dice(Random);

impl Dice {
    fn below(&self, end: u64) -> u64 {
        u64::from_be_bytes(self.0.bytes()) % end.max(1)
    }

    fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }

    fn moment(&self) -> Duration {
        Duration::from_millis(self.below(u64::try_from(TRAFFIC.as_millis()).unwrap()))
    }
}

/// One modem, and what is done to it by hand.
#[derive(Clone)]
struct Plan {
    name: String,
    script: ModemScript,
    blows: Vec<(Duration, FaultKind, Duration)>,
}

#[derive(Clone)]
struct World {
    seed: u64,
    modems: Vec<Plan>,
    posts: Vec<(Duration, Draft)>,
    kills: Vec<(Duration, Duration)>,
}

impl World {
    fn draw(seed: u64) -> Self {
        let dice = Dice(Random::seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let modems = (0..dice.pick(&[1, 1, 2, 3]))
            .map(|number| plan(&dice, number))
            .collect();
        let people = dice.pick(&[1, 3, 10]);
        let posts = (0..dice.pick(&[5, 20, 60]))
            .map(|number| (dice.moment(), draft(&dice, number, people)))
            .collect();
        let kills = (0..dice.pick(&[0, 0, 1, 2]))
            .map(|_| (dice.moment(), Duration::from_secs(dice.below(120))))
            .collect();
        Self {
            seed,
            modems,
            posts,
            kills,
        }
    }
}

fn plan(dice: &Dice, number: usize) -> Plan {
    let kinds = [FaultKind::Hang, FaultKind::Unplug, FaultKind::Reset];
    let moments = [
        Moment::Prompt,
        Moment::Written,
        Moment::Submitted,
        Moment::Submitted,
        Moment::Answered,
    ];
    let length = || dice.pick(&[200, 5_000, 40_000, 200_000]);
    let faults = (0..dice.pick(&[0, 1, 3, 6])).map(|_| Fault {
        at_submit: Some(1 + dice.below(20)),
        moment: dice.pick(&moments),
        kind: dice.pick(&kinds),
        for_ms: Some(length()),
        taken: dice.percent(50),
        ..Fault::default()
    });
    let personality = dice.pick(&[
        Personality::Huawei,
        Personality::Simcom,
        Personality::Quectel,
        Personality::Siemens,
    ]);
    let reports = Reports {
        delay_ms: dice.pick(&[0, 0, 500, 30_000, 300_000]),
        jitter_ms: dice.pick(&[0, 200, 60_000]),
        before_answer: dice.percent(20),
        duplicate: dice.percent(20),
        first: dice.pick(&[None, None, Some(0x20)]),
        national: dice.pick(&[None, Some("33".to_owned())]),
        lose_every: dice.pick(&[None, None, None, Some(7)]),
        ..Reports::default()
    };
    let fate = |suffix: &str, status| Rule {
        suffix: suffix.to_owned(),
        status: Some(status),
        ..Rule::default()
    };
    let stored = match personality {
        Personality::Siemens => "(0-3),(0-3),(0,2,3),(0,2),(1)",
        _ => "(0-2),(0-3),(0,2),(0,2),(0,1)",
    };
    let script = ModemScript {
        personality,
        cnmi: dice.percent(30).then(|| stored.to_owned()),
        imsi: format!("20801000000000{number}"),
        reference_start: dice.pick(&[0, 250]),
        send_ms: Some(dice.pick(&[0, 300, 4_000])),
        rest_ms: Some(0),
        boot_ms: dice.pick(&[0, 0, 8_000]),
        register_after_ms: dice.pick(&[0, 0, 20_000]),
        fail_every: dice.pick(&[None, None, Some(7)]),
        fail_cms: dice.pick(&[38, 41, 42, 500]),
        chatter: Chatter {
            every_ms: dice.pick(&[0, 3_000]),
            in_answers_every: dice.pick(&[0, 2, 5]),
            ..Chatter::default()
        },
        reports,
        rules: vec![fate("7", 0x46), fate("8", 0x41)],
        faults: faults.collect(),
        ..ModemScript::default()
    };
    let blows = (0..dice.pick(&[0, 0, 1, 3]))
        .map(|_| {
            let length = Duration::from_millis(length());
            (dice.moment(), dice.pick(&kinds), length)
        })
        .collect();
    Plan {
        name: format!("m{number}"),
        script,
        blows,
    }
}

/// What every part of message `number` has all through its text.
fn mark(number: u32) -> String {
    format!("m{number:04} ")
}

fn draft(dice: &Dice, number: u32, people: u64) -> Draft {
    Draft {
        to: format!("+3361234567{}", dice.below(people)),
        text: mark(number).repeat(dice.pick(&[1, 1, 1, 40, 75])),
        on_doubt: dice.pick(&[None, None, Some(OnDoubt::Fail)]),
        ..Draft::default()
    }
}

/// The way to a modem in memory.
struct InMemory(ModemHandle);

#[async_trait]
impl Opener for InMemory {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.0.open()?))
    }
}

/// Keys in memory that outlive the daemon. It works in place, so that a world is the same each time.
#[derive(Clone, Default)]
struct Memory(Arc<MemoryKv>);

impl Kv for Memory {
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
        self.0.disk_bytes()
    }

    fn blocks(&self) -> bool {
        self.0.blocks()
    }
}

/// One life of the daemon.
struct Daemon {
    engine: Arc<Engine>,
    tasks: JoinSet<()>,
    drivers: Vec<JoinHandle<()>>,
    _policy: watch::Sender<Arc<Policy>>,
}

impl Daemon {
    fn start(
        world: &World,
        life: u64,
        disk: &Memory,
        modems: &[ModemHandle],
        clock: &Clock,
    ) -> Self {
        let (policy, rules) = watch::channel(Arc::new(policy(world)));
        let keep = Keeping::all(Duration::from_hours(24 * 30));
        let store = Embedded::start(disk.clone(), rules.clone(), keep, clock.now()).unwrap();
        let random = Random::seeded(world.seed ^ (life << 48));
        let (events_in, events) = mpsc::channel(256);
        let stop = CancellationToken::new();
        let (mut handles, mut drivers) = (Vec::new(), Vec::new());
        for (plan, modem) in world.modems.iter().zip(modems) {
            let opener = Arc::new(InMemory(modem.clone()));
            let config = Arc::new(ModemConfig::new(&plan.name, "in memory"));
            let (handle, driver) = start_on(opener, config, clock, &random, &events_in, &stop);
            handles.push(handle);
            drivers.push(driver);
        }
        drop(events_in);
        let engine = Arc::new(Engine::new(Parts {
            store: Arc::new(store),
            policy: rules,
            clock: clock.clone(),
            random,
            metrics: Arc::new(Metrics::new()),
            channels: handles,
            signing_key: [7; 32],
        }));
        let tasks = engine::run_without_webhooks(&engine, events, &Stop::default());
        Self {
            engine,
            tasks,
            drivers,
            _policy: policy,
        }
    }

    /// Ends every task where it stands.
    async fn kill(mut self) {
        self.drivers.iter().for_each(JoinHandle::abort);
        self.tasks.shutdown().await;
        for driver in self.drivers {
            let _ = driver.await;
        }
    }
}

fn policy(world: &World) -> Policy {
    let step = world.modems.iter().map(|plan| plan.name.as_str().into());
    let mut operator = Operator::named("default", vec![step.collect()]);
    operator.validity = VALIDITY;
    operator.retry = RetrySchedule(
        [1, 5, 30, 60, 120, 300, 600]
            .map(Duration::from_secs)
            .to_vec(),
    );
    let mut policy = Policy::new(operator, Vec::new(), "FR", Limits::default());
    policy.receipt_grace = MINUTE * 10;
    for plan in &world.modems {
        let rules = ModemRules {
            daily_limit: None,
            recipients_30d: None,
            ..ModemRules::default()
        };
        policy.modems.insert(plan.name.as_str().into(), rules);
    }
    policy
}

/// What a world leaves.
struct Evidence {
    messages: Vec<Message>,
    modems: Vec<ModemHandle>,
    /// How each modem was brought back.
    recoveries: Vec<Recoveries>,
}

async fn live(world: &World) -> Evidence {
    let clock = Clock::starting_at(START);
    let modems: Vec<_> = world
        .modems
        .iter()
        .zip(1..)
        .map(|(plan, stream)| {
            let random = Random::seeded(world.seed ^ (stream << 56));
            simulated::start(plan.script.clone(), &clock, &random)
        })
        .collect();
    let mut hands = JoinSet::new();
    for (plan, modem) in world.modems.iter().zip(&modems) {
        for (at, kind, length) in plan.blows.clone() {
            let modem = modem.clone();
            hands.spawn(async move {
                tokio::time::sleep(at).await;
                match kind {
                    FaultKind::Hang => modem.hang(Some(length)),
                    FaultKind::Reset => modem.reset(),
                    FaultKind::Unplug => {
                        modem.unplug();
                        tokio::time::sleep(length).await;
                        modem.replug();
                    }
                }
            });
        }
    }
    let mut deeds: Vec<(Duration, Option<&Draft>, Duration)> = Vec::new();
    for (at, draft) in &world.posts {
        deeds.push((*at, Some(draft), Duration::ZERO));
    }
    for (at, down) in &world.kills {
        deeds.push((*at, None, *down));
    }
    deeds.sort_by_key(|(at, ..)| *at);
    let (disk, mut life) = (Memory::default(), 0);
    let mut daemon = Daemon::start(world, life, &disk, &modems, &clock);
    let mut ids: Vec<MessageId> = Vec::new();
    for (at, draft, down) in deeds {
        tokio::time::sleep(at.saturating_sub(clock.elapsed())).await;
        let Some(draft) = draft else {
            daemon.kill().await;
            tokio::time::sleep(down).await;
            life += 1;
            daemon = Daemon::start(world, life, &disk, &modems, &clock);
            continue;
        };
        let checked = daemon.engine.check(draft.clone()).await.unwrap();
        let (whose, all) = (tenant(), vec![checked]);
        let submitted = daemon.engine.submit(&whose, all, false, None).await;
        ids.push(submitted.unwrap().messages[0].id);
    }
    tokio::time::sleep(TRAFFIC.saturating_sub(clock.elapsed())).await;
    hands.join_all().await;
    // From now on nothing goes wrong, but what some numbers meet with anyway.
    for (plan, modem) in world.modems.iter().zip(&modems) {
        let rules = plan.script.rules.clone();
        modem.set_script(ModemScript {
            faults: Vec::new(),
            fail_every: None,
            rules,
            ..plan.script.clone()
        });
        modem.replug();
    }
    let mut messages = Vec::new();
    tokio::time::sleep(VALIDITY + MINUTE * 20).await;
    for id in ids {
        messages.push(daemon.engine.store.message(&tenant(), id).await.unwrap());
    }
    let mut recoveries = Vec::new();
    for channel in daemon.engine.channels().iter() {
        if let Peer::Modem(word) = &channel.peer {
            recoveries.push(word.borrow().recoveries);
        }
    }
    daemon.kill().await;
    Evidence {
        messages,
        modems,
        recoveries,
    }
}

/// What is wrong with a world.
fn judge(world: &World, evidence: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    let sims: BTreeMap<_, _> = world
        .modems
        .iter()
        .map(|plan| (plan.name.as_str(), plan.script.imsi.as_str()))
        .collect();
    // By text: where a part left, and under which reference.
    let mut sent: BTreeMap<(String, String), Vec<(&str, u8)>> = BTreeMap::new();
    for (plan, modem) in world.modems.iter().zip(&evidence.modems) {
        modem.ledger(|ledger| {
            for entry in ledger.sent() {
                if let Fate::Sent { reference, .. } = entry.fate {
                    let key = (entry.recipient.clone(), entry.text.clone());
                    let of = sent.entry(key).or_default();
                    of.push((plan.name.as_str(), reference));
                }
            }
        });
    }
    let mut known = BTreeSet::new();
    for message in &evidence.messages {
        let mut find = |what: String| wrong.push(format!("{what}: {message:#?}"));
        let delivered = message.state == State::Final(Outcome::Delivered);
        let to = message.to.to_string();
        if !message.status().is_final() {
            find("it never ended".to_owned());
        }
        if delivered && to.ends_with(['7', '8']) {
            find("delivered, and its handset was never reached".to_owned());
        }
        if message.reason() == Some(Cause::CarrierExpired) && !to.ends_with('7')
            || message.reason() == Some(Cause::Undeliverable) && !to.ends_with('8')
        {
            find("another one's report ended it".to_owned());
        }
        let doubts = message.events.iter();
        let doubts = doubts.filter(|e| matches!(e.what, What::Doubt(_))).count();
        for slice in message.current_plan().slices(&message.text) {
            let key = (to.clone(), slice.to_owned());
            let copies = sent.get(&key).map_or(&[][..], Vec::as_slice);
            // Two parts of one message may read the same.
            let alike = message
                .current_plan()
                .slices(&message.text)
                .filter(|other| *other == slice)
                .count();
            if delivered && copies.len() < alike {
                find(format!("delivered, and {slice:?} never left"));
            }
            if copies.len() > alike && !message.maybe_duplicate {
                find(format!("{slice:?} left {copies:?} and is not marked"));
            }
            if copies.len() > alike * (1 + doubts + world.kills.len()) {
                find(format!("{slice:?} left {copies:?} for {doubts} doubts"));
            }
            if message.on_doubt == Some(OnDoubt::Fail) && copies.len() > alike {
                find(format!("{slice:?} left {copies:?}, at most once was asked"));
            }
            known.insert(key);
        }
        let references: BTreeSet<_> = message
            .current_plan()
            .slices(&message.text)
            .filter_map(|slice| sent.get(&(to.clone(), slice.to_owned())))
            .flatten()
            .map(|(modem, mr)| sim::reference(sims[modem], message.to, *mr))
            .collect();
        let segments = message.attempts.iter().flat_map(|a| &a.segments);
        for reference in segments.flat_map(|segment| &segment.references) {
            if !references.contains(reference) {
                find(format!("{reference} is not its own"));
            }
        }
    }
    for (key, copies) in &sent {
        if !known.contains(key) {
            wrong.push(format!("nobody sent {key:?}, which left {copies:?}"));
        }
    }
    wrong
}

/// Lives a world through in virtual time.
fn run(world: &World) -> Evidence {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(live(world))
}

#[test]
fn every_world_of_modems_keeps_its_promises() {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let (from, last) = match setting("MODEM_SEED") {
        Some(seed) => (seed, seed),
        None => (1, setting("MODEM_SEEDS").unwrap_or(SEEDS)),
    };
    let next = AtomicU64::new(from);
    let failed = Mutex::new(Vec::new());
    let ends: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last {
                return;
            }
            let world = World::draw(seed);
            let evidence = run(&world);
            for message in &evidence.messages {
                let reason = message.reason().map_or("", Cause::code);
                let end = format!("{} {reason}", message.status().word());
                *ends.lock().unwrap().entry(end).or_default() += 1;
            }
            let wrong = judge(&world, &evidence);
            if !wrong.is_empty() {
                let wrong = format!("seed {seed}: {}", wrong.join("\n"));
                failed.lock().unwrap().push(wrong);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let (failed, ends) = (failed.into_inner().unwrap(), ends.into_inner().unwrap());
    assert!(failed.is_empty(), "{}\n{ends:#?}", failed.join("\n\n"));
    assert!(ends.contains_key("delivered "), "{ends:#?}");
}

#[test]
fn pain_19_a_modem_that_hangs_for_long_is_brought_back_without_anybody() {
    // Elsewhere: a stick hung after some hours, all waited behind it, and somebody had to come.
    // Here: each step of the ladder is climbed, and the modem works again as soon as it can.
    let mut world = World::draw(1);
    let quick = ModemScript {
        latency_ms: Some(2),
        ..ModemScript::default()
    };
    let plan = |number: usize, faults| Plan {
        name: format!("m{number}"),
        script: ModemScript {
            imsi: format!("20801000000000{number}"),
            faults,
            ..quick.clone()
        },
        blows: Vec::new(),
    };
    let hang = Fault {
        at_submit: Some(3),
        moment: Moment::Prompt,
        kind: FaultKind::Hang,
        for_ms: Some(400_000),
        ..Fault::default()
    };
    world.modems = vec![plan(0, vec![hang]), plan(1, Vec::new())];
    world.kills.clear();
    world.posts = (0..100_u32)
        .map(|number| {
            let draft = Draft {
                to: "+33612345670".to_owned(),
                text: mark(number),
                ..Draft::default()
            };
            (Duration::from_secs(u64::from(number) * 10), draft)
        })
        .collect();
    let evidence = run(&world);
    assert_eq!(judge(&world, &evidence), Vec::<String>::new());
    for message in &evidence.messages {
        assert_eq!(message.state, State::Final(Outcome::Delivered));
        assert!(!message.maybe_duplicate, "nothing was in doubt");
        let late = message.delivered_at.unwrap() > message.created_at + MINUTE;
        assert!(!late, "it waited behind the one that hung: {message:#?}");
    }
    let sent: Vec<_> = evidence
        .modems
        .iter()
        .map(|modem| modem.ledger(|l| l.sent_total))
        .collect();
    assert!(sent[0] > 20, "it works again: {sent:?}");
    let [hung, well] = evidence.recoveries[..] else {
        panic!("{:?}", evidence.recoveries);
    };
    assert_eq!(well, Recoveries::default());
    assert!(hung.resynchronised > 0 && hung.reopened > 0, "{hung:?}");
}
