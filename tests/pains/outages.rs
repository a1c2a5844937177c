//! Links that are down, answers that are late, and messages that wait without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use relais::clock::Clock;
use relais::domain::privacy::Keeping;
use relais::engine::accept::Draft;
use relais::store::embedded::Embedded;
use relais::store::kv::{Kv, KvError, Pair, Write};
use relais::store::memory::MemoryKv;
use support::{Line, START, operator, policy};
use tokio::sync::watch;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;

/// A store in memory that counts its commits.
struct Counting(MemoryKv, Arc<AtomicU64>);

impl Kv for Counting {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(key)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), KvError> {
        self.1.fetch_add(1, Ordering::Relaxed);
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

/// Counts the lines of the log, at any level that the daemon writes by default.
struct Lines(Arc<AtomicU64>);

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= tracing::Level::INFO {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pain_07_a_bind_that_is_down_is_no_hot_loop() {
    // Elsewhere: one message was put back into the queue thousands of times while the bind was down.
    // Here: in 20 minutes of it 300 messages cost no commit and no try, and the log a line in ten minutes.
    let (commits, lines) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let subscriber = tracing_subscriber::registry().with(Lines(lines.clone()));
    let _logging = tracing::subscriber::set_default(subscriber);
    let clock = Clock::starting_at(START);
    let (policy, rules) = watch::channel(Arc::new(policy(operator())));
    let kv = Counting(MemoryKv::default(), commits.clone());
    let store = Embedded::start(kv, rules, Keeping::all(400 * 24 * HOUR), clock.now()).unwrap();
    let down = SmscScript {
        refuse_connections: true,
        ..SmscScript::default()
    };
    let line = Line::new("carrier", down);
    let world = World::around(Arc::new(store), vec![line], policy, clock).await;
    let mut sent = Vec::new();
    for n in 0..300 {
        sent.push(world.send(&format!("+3360000{n:04}"), "bonjour").await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = (
        commits.load(Ordering::Relaxed),
        lines.load(Ordering::Relaxed),
    );
    tokio::time::sleep(Duration::from_mins(20)).await;
    let done = commits.load(Ordering::Relaxed) - before.0;
    let logged = lines.load(Ordering::Relaxed) - before.1;
    assert!(before.0 >= 300, "the counter counts");
    assert_eq!(done, 0, "{done} commits while nothing could be done");
    assert!(logged <= 5, "{logged} lines of log in 20 minutes");
    for id in &sent {
        let message = world.message(*id).await;
        assert_eq!(
            (message.tries, message.claims, message.attempts.len()),
            (0, 0, 0)
        );
    }
    world
        .carrier
        .change_script(|script| script.refuse_connections = false);
    all_become(&world, &sent, Status::Delivered).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pain_08_a_long_outage_drops_nothing() {
    // Elsewhere: after 20 minutes without a bind messages were thrown away.
    // Here: after 40 hours every one is there, its age shows in the metrics, and each leaves once.
    let world = World::new(script("refuse_connections = true\n")).await;
    let mut sent = Vec::new();
    for n in 0..500 {
        sent.push(world.send(&format!("+3360000{n:04}"), "bonjour").await);
    }
    tokio::time::sleep(40 * HOUR).await;
    for id in &sent {
        assert_eq!(world.message(*id).await.status(), Status::Pending);
    }
    let gauges = world.engine.store.gauges(world.clock.now());
    let (_, oldest) = gauges.oldest[0];
    assert!(
        (oldest - 40.0 * 3600.0).abs() < 60.0,
        "the oldest waits {oldest} s"
    );
    assert_eq!(
        gauges
            .waiting
            .iter()
            .map(|(_, _, count)| count)
            .sum::<u64>(),
        500
    );
    world
        .carrier
        .change_script(|script| script.refuse_connections = false);
    all_become(&world, &sent, Status::Delivered).await;
    world.carrier.ledger(|ledger| {
        assert_eq!(ledger.submitted_total, 500);
        assert_eq!(ledger.texts().len(), 500);
    });
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pain_16_late_answers_are_not_sent_twice_blindly() {
    // Elsewhere: an answer slower than the time-out meant a second copy of every message.
    // Here: doubt waits, a late answer ends it, and one id may come late and still be receipted.
    let mut rules = policy(operator());
    rules.in_doubt_grace = Duration::from_mins(1);
    let slow = script("response_delay_ms = 45000\n[ids]\nreported = \"hex\"\nstart = 5000\n");
    let world = World::with(slow, rules, |account| {
        account.response_timeout = Duration::from_secs(30);
        account.enquire_link = Duration::from_mins(10);
    })
    .await;
    let mut sent = Vec::new();
    for n in 0..10 {
        sent.push(world.send(&format!("+336000000{n:02}"), "bonjour").await);
    }
    tokio::time::sleep(Duration::from_secs(40)).await;
    let doubtful = world.message(sent[0]).await;
    assert_eq!(world.engine.why(&doubtful).unwrap().0, "in_doubt");
    all_become(&world, &sent, Status::Delivered).await;
    tokio::time::sleep(48 * HOUR).await;
    world.carrier.ledger(|ledger| {
        assert_eq!(ledger.submitted_total, 10, "a copy went out");
        assert_eq!(ledger.binds, 1, "a late answer is no reason to leave");
    });
    for id in sent {
        assert!(!world.message(id).await.maybe_duplicate);
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pain_22_everything_that_waits_says_why() {
    // Elsewhere: messages were "pending" for hours and nobody could say what they waited for.
    // Here: each kind of waiting has its code, and its end where that is known.
    let world = World::new(script(
        "response_delay_ms = 1000\n\
         [[rules]]\nsuffix = \"1\"\nstatus = 0x08\n\
         [[rules]]\nsuffix = \"2\"\nunanswered = true\nreceipt = \"none\"\n",
    ))
    .await;
    let why = async |id| {
        let message = world.message(id).await;
        world
            .engine
            .why(&message)
            .map(|(why, until)| (why, until.is_some()))
    };
    let later = Draft {
        to: NUMBER.to_owned(),
        text: "demain".to_owned(),
        send_at: Some(START + 24 * HOUR),
        ..Draft::default()
    };
    let planned = world.submit(later).await;
    assert_eq!(why(planned).await, Some(("scheduled", true)));
    let refused = world.send("+33600000001", "bonjour").await;
    let doubtful = world.send("+33600000002", "bonjour").await;
    let leaving = world.send("+33600000003", "bonjour").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(why(leaving).await, Some(("submitting", false)));
    world.until(leaving, Status::Delivered).await;
    assert_eq!(why(leaving).await, None, "what does not wait says nothing");
    assert_eq!(why(refused).await, Some(("backoff", true)));
    tokio::time::sleep(Duration::from_secs(32)).await;
    assert_eq!(why(doubtful).await, Some(("in_doubt", true)));
    world
        .carrier
        .change_script(|script| script.refuse_connections = true);
    world.carrier.disconnect_all();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let stuck = world.send("+33600000004", "bonjour").await;
    assert_eq!(why(stuck).await, Some(("no_channel", false)));
    world.stop().await;

    let mut rules = policy(operator());
    rules.rates.insert("carrier".into(), 1.into());
    let world = World::with(SmscScript::default(), rules, |_| {}).await;
    for n in 0..10 {
        world.send(&format!("+336000000{n:02}"), "bonjour").await;
    }
    // Order is by the time of acceptance, which is kept in milliseconds.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let last = world.send(NUMBER, "bonjour").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let message = world.message(last).await;
    assert_eq!(world.engine.why(&message).unwrap().0, "rate");
    world.carrier.change_script(|script| {
        let rule = relais::sim::smsc::Rule {
            status: Some(0x58),
            ..Default::default()
        };
        script.rules = vec![rule];
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let message = world.message(last).await;
    assert_eq!(world.engine.why(&message).unwrap().0, "throttled");
    world.stop().await;
}
