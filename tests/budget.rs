//! What the contract of a SIM bears: so many messages a day, so many recipients a month, a pace in
//! parts a minute, and no marketing. Through the whole engine, in virtual time; the modems are the
//! tests' own, and what they were handed is judged.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use relais::channel::{
    ChannelEvent, ChannelHandle, ChannelStatus, ModemWord, Peer, PeerWord, SegmentOutcome,
    SubmitRequest,
};
use relais::clock::{Clock, Random};
use relais::domain::id::{Lane, MessageId, Tenant};
use relais::domain::message::{Class, Doubt, Message};
use relais::domain::policy::{Limits, ModemRules, Operator, Policy};
use relais::domain::rate::Rate;
use relais::domain::status::Status;
use relais::domain::time::Timestamp;
use relais::engine::accept::Draft;
use relais::engine::{self, BudgetView, Engine, Parts, Stop, Used};
use relais::metrics::Metrics;
use relais::store::{self, Store};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

const START: Timestamp = Timestamp(1_789_984_800_000);
const DAY: Duration = Duration::from_hours(24);
/// How long the network takes to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// What becomes of what a channel is handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Takes,
    /// Comes back, unsent.
    Returns,
    /// Nobody can tell.
    Loses,
}

/// One part that a channel was handed.
#[derive(Clone, Debug)]
struct Sent {
    to: String,
    /// When it was handed over, and when it was answered.
    at: Timestamp,
    answered: Timestamp,
}

/// A modem, or the connection to an SMSC, of the test's own.
struct Line {
    word: watch::Sender<ModemWord>,
    _status: watch::Sender<ChannelStatus>,
    way: watch::Sender<Way>,
    sent: watch::Receiver<Vec<Sent>>,
}

impl Line {
    fn count(&self) -> usize {
        self.sent.borrow().len()
    }

    fn sent(&self) -> Vec<Sent> {
        self.sent.borrow().clone()
    }

    fn put_in(&self, sim: &str) {
        self.word
            .send_modify(|word| word.sim = Some(sim.to_owned()));
    }
}

struct World {
    engine: Arc<Engine>,
    clock: Clock,
    policy: watch::Sender<Arc<Policy>>,
    lines: Vec<Line>,
    tasks: JoinSet<()>,
}

/// An operator over these steps, patient enough for a month.
fn operator(name: &str, steps: &[&str]) -> Operator {
    let steps = steps.iter().map(|account| vec![(*account).into()]);
    Operator {
        validity: DAY * 60,
        ..Operator::named(name, steps.collect())
    }
}

/// Rules for the modems `sim1` and `sim2` with these limits, 0 being none.
fn rules(default: Operator, others: Vec<Operator>, daily: u32, recipients: u32) -> Policy {
    let mut policy = Policy::new(default, others, "FR", Limits::default());
    let rules = ModemRules {
        daily_limit: (daily > 0).then_some(daily),
        recipients_30d: (recipients > 0).then_some(recipients),
        ..ModemRules::default()
    };
    for modem in ["sim1", "sim2"] {
        policy.modems.insert(modem.into(), rules);
    }
    policy
}

/// The modem `sim1` alone.
fn one(daily: u32, recipients: u32) -> Policy {
    rules(
        operator("default", &["sim1"]),
        Vec::new(),
        daily,
        recipients,
    )
}

impl World {
    async fn new(policy: Policy, lines: &[(&str, Option<&str>)]) -> Self {
        let (policy, clock) = (
            watch::Sender::new(Arc::new(policy)),
            Clock::starting_at(START),
        );
        let store = store::memory(policy.subscribe(), clock.now()).unwrap();
        Self::over(store, policy, clock, lines)
    }

    /// A gateway over a store that there was before it; lines without a SIM lead to an SMSC.
    fn over(
        store: Arc<dyn Store>,
        policy: watch::Sender<Arc<Policy>>,
        clock: Clock,
        lines: &[(&str, Option<&str>)],
    ) -> Self {
        let (events, taken) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        let started = lines
            .iter()
            .map(|(name, sim)| start(name, *sim, &clock, &events, &mut tasks));
        let (channels, lines): (Vec<_>, Vec<_>) = started.unzip();
        let engine = Arc::new(Engine::new(Parts {
            store,
            policy: policy.subscribe(),
            clock: clock.clone(),
            random: Random::seeded(7),
            metrics: Arc::new(Metrics::new()),
            channels,
            signing_key: [7; 32],
        }));
        let mut running = engine::run_without_webhooks(&engine, taken, &Stop::default());
        tasks.spawn(async move { while running.join_next().await.is_some() {} });
        Self {
            engine,
            clock,
            policy,
            lines,
            tasks,
        }
    }

    /// The same gateway after the end of its process.
    async fn restarted(mut self, lines: &[(&str, Option<&str>)]) -> Self {
        self.tasks.shutdown().await;
        let store = self.engine.store.clone();
        Self::over(store, self.policy, self.clock, lines)
    }

    async fn send(&self, n: usize) -> MessageId {
        self.write(&number(n), "bonjour").await
    }

    async fn write(&self, to: &str, text: &str) -> MessageId {
        let draft = Draft {
            to: to.to_owned(),
            text: text.to_owned(),
            ..Draft::default()
        };
        let checked = vec![self.engine.check(draft).await.unwrap()];
        let tenant = Tenant::from("default");
        let submitted = self.engine.submit(&tenant, checked, false, None).await;
        submitted.unwrap().messages[0].id
    }

    async fn message(&self, id: MessageId) -> Message {
        let tenant = Tenant::from("default");
        self.engine.store.message(&tenant, id).await.unwrap()
    }

    async fn until_sent(&self, id: MessageId) {
        let mut changes = self.engine.listen();
        let sent = async {
            while self.message(id).await.status() != Status::Sent {
                let _ = changes.recv().await;
            }
        };
        let limit = DAY * 50;
        if tokio::time::timeout(limit, sent).await.is_err() {
            panic!("{:#?}", self.message(id).await);
        }
    }

    /// What a message waits for, once everything that can leave has left.
    async fn why(&self, id: MessageId) -> (&'static str, Option<Timestamp>) {
        tokio::time::sleep(Duration::from_secs(30)).await;
        self.engine.why(&self.message(id).await).unwrap()
    }

    fn budget(&self, line: usize) -> BudgetView {
        self.engine.channel_views()[line].budget.unwrap()
    }

    fn day(&self, line: usize) -> Used {
        self.budget(line).day.unwrap()
    }
}

fn number(n: usize) -> String {
    format!("+336000{n:05}")
}

fn start(
    name: &str,
    sim: Option<&str>,
    clock: &Clock,
    events: &mpsc::Sender<ChannelEvent>,
    tasks: &mut JoinSet<()>,
) -> (ChannelHandle, Line) {
    let window = if sim.is_some() { 1 } else { 10 };
    let (requests, inbox) = mpsc::channel(window);
    let status = watch::Sender::new(ChannelStatus::Up);
    let word = watch::Sender::new(ModemWord {
        sim: sim.map(str::to_owned),
        ..ModemWord::default()
    });
    let (way, sent) = (watch::Sender::new(Way::Takes), watch::Sender::default());
    let handle = ChannelHandle {
        id: name.into(),
        account: name.into(),
        window: Arc::new(Semaphore::new(window)),
        window_size: window,
        requests,
        status: status.subscribe(),
        peer: match sim {
            Some(_) => Peer::Modem(word.subscribe()),
            None => Peer::Smsc(watch::channel(PeerWord::default()).1),
        },
        reset: watch::Sender::new(()),
    };
    let line = Line {
        word,
        _status: status,
        way: way.clone(),
        sent: sent.subscribe(),
    };
    let answering = answer(inbox, events.clone(), clock.clone(), way.subscribe(), sent);
    tasks.spawn(answering);
    (handle, line)
}

/// Answers what a channel is handed, one after another.
async fn answer(
    mut requests: mpsc::Receiver<SubmitRequest>,
    events: mpsc::Sender<ChannelEvent>,
    clock: Clock,
    way: watch::Receiver<Way>,
    sent: watch::Sender<Vec<Sent>>,
) {
    while let Some(SubmitRequest {
        token, to, segment, ..
    }) = requests.recv().await
    {
        let (at, way) = (clock.now(), *way.borrow());
        tokio::time::sleep(ANSWER).await;
        let outcome = match way {
            Way::Returns => {
                events.send(ChannelEvent::Returned { token }).await.unwrap();
                continue;
            }
            Way::Loses => SegmentOutcome::Unknown(Doubt::Timeout),
            Way::Takes => SegmentOutcome::Accepted(String::new()),
        };
        let (to, answered) = (to.to_string(), clock.now());
        sent.send_modify(|sent| sent.push(Sent { to, at, answered }));
        let event = ChannelEvent::Segment {
            token,
            segment,
            outcome,
            took: ANSWER,
        };
        events.send(event).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_daily_limit_the_next_step_takes_over_at_once_and_nothing_fails() {
    let policy = rules(operator("default", &["sim1", "carrier"]), Vec::new(), 3, 0);
    let world = World::new(policy, &[("sim1", Some("A")), ("carrier", None)]).await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(world.send(n).await);
    }
    for id in &ids {
        world.until_sent(*id).await;
    }
    assert_eq!((world.lines[0].count(), world.lines[1].count()), (3, 3));
    let took = world.clock.now().since(START);
    assert!(took < Duration::from_secs(20), "{took:?}");
    let day = world.day(0);
    let until = world.lines[0].sent()[0].answered + DAY;
    let full = Used {
        limit: 3,
        used: 3,
        until: Some(until),
    };
    assert_eq!((day, day.remaining()), (full, 0));
    assert_eq!(world.budget(0).recipients_30d, None);
    assert!(world.engine.channel_views()[1].budget.is_none());
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_other_way_messages_wait_until_the_window_has_rolled_on() {
    let world = World::new(one(2, 0), &[("sim1", Some("A"))]).await;
    let mut ids = Vec::new();
    for n in 0..2 {
        ids.push(world.send(n).await);
        tokio::time::sleep(Duration::from_hours(5)).await;
    }
    for n in 2..7 {
        ids.push(world.send(n).await);
    }
    let rolls = world.lines[0].sent()[0].answered + DAY;
    assert_eq!(world.why(ids[3]).await, ("sim_budget", Some(rolls)));
    let lane = Lane {
        operator: "default".into(),
    };
    assert_eq!(
        world.engine.holdup(&lane),
        Some(("sim_budget", Some(rolls)))
    );
    for id in &ids {
        world.until_sent(*id).await;
    }
    let sent = world.lines[0].sent();
    for (first, third) in sent.iter().zip(&sent[2..]) {
        let between = third.at.since(first.answered);
        assert!(between >= DAY, "{between:?}");
        assert!(between < DAY + Duration::from_mins(1), "{between:?}");
    }
    assert_eq!(sent.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_a_sim_has_spent_outlives_the_process() {
    let lines = [("sim1", Some("A"))];
    let world = World::new(one(2, 3), &lines).await;
    for n in 0..2 {
        let id = world.send(n).await;
        world.until_sent(id).await;
    }
    let before = (world.budget(0), world.lines[0].sent()[0].answered + DAY);
    let world = world.restarted(&lines).await;
    assert_eq!(world.budget(0), before.0);
    let id = world.send(2).await;
    assert_eq!(world.why(id).await, ("sim_budget", Some(before.1)));
    world.until_sent(id).await;
    let recipients = world.budget(0).recipients_30d.unwrap();
    assert_eq!((recipients.used, recipients.remaining()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sim_takes_what_it_has_spent_to_another_modem_and_leaves_nothing_behind() {
    let others = vec![Operator {
        prefixes: vec!["337".to_owned()],
        ..operator("other", &["sim2"])
    }];
    let policy = rules(operator("default", &["sim1"]), others, 1, 0);
    let world = World::new(policy, &[("sim1", Some("A")), ("sim2", Some("B"))]).await;
    let first = world.send(0).await;
    world.until_sent(first).await;
    assert_eq!([0, 1].map(|line| world.day(line).used), [1, 0]);
    // They are swapped.
    world.lines[0].put_in("B");
    world.lines[1].put_in("A");
    assert_eq!([0, 1].map(|line| world.day(line).used), [0, 1]);
    let waits = world.write("+33700000000", "bonjour").await;
    assert_eq!(world.why(waits).await.0, "sim_budget");
    let goes = world.send(1).await;
    world.until_sent(goes).await;
    assert_eq!((world.lines[0].count(), world.lines[1].count()), (2, 0));
    world.until_sent(waits).await;
    let between = world.lines[1].sent()[0].at.since(START);
    assert!(between > DAY, "{between:?}");
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_of_recipients_those_written_to_before_are_written_to_still() {
    let world = World::new(one(0, 2), &[("sim1", Some("A"))]).await;
    for n in [0, 1, 0] {
        let id = world.send(n).await;
        world.until_sent(id).await;
        tokio::time::sleep(DAY).await;
    }
    let strangers = [world.send(2).await, world.send(3).await];
    let second = world.lines[0].sent()[1].answered;
    let until = second + DAY * 30;
    assert_eq!(world.why(strangers[0]).await, ("sim_budget", Some(until)));
    for n in [1, 0, 0] {
        let id = world.send(n).await;
        world.until_sent(id).await;
        let since = world.clock.now().since(START);
        assert!(since < DAY * 4, "{since:?}");
    }
    for id in strangers {
        world.until_sent(id).await;
    }
    let sent = world.lines[0].sent();
    for (index, first) in sent.iter().enumerate() {
        let within = sent[index..].iter();
        let within = within.take_while(|sent| sent.at.since(first.answered) < DAY * 30);
        let recipients: HashSet<_> = within.map(|sent| sent.to.clone()).collect();
        assert!(recipients.len() <= 2, "from {first:?}: {sent:#?}");
    }
    assert_eq!(sent.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn what_a_modem_returns_costs_nothing_and_what_is_lost_costs_one() {
    let world = World::new(one(1, 0), &[("sim1", Some("A"))]).await;
    world.lines[0].way.send_replace(Way::Returns);
    let first = world.send(0).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(world.message(first).await.claims > 2);
    assert_eq!(world.engine.store.spendings(), []);
    world.lines[0].way.send_replace(Way::Loses);
    while world.lines[0].count() == 0 {
        tokio::time::sleep(ANSWER).await;
    }
    world.lines[0].way.send_replace(Way::Takes);
    // What may have left is finished, whatever is used; nothing else leaves.
    let waits = world.send(1).await;
    world.until_sent(first).await;
    assert_eq!(world.why(waits).await.0, "sim_budget");
    assert_eq!((world.day(0).used, world.lines[0].count()), (1, 2));
    assert_eq!(world.engine.store.spendings().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_part_of_a_message_leaves_for_one_place() {
    let world = World::new(one(1, 0), &[("sim1", Some("A"))]).await;
    let long = world.write(&number(0), &"x".repeat(400)).await;
    let waits = world.send(1).await;
    world.until_sent(long).await;
    assert_eq!((world.day(0).used, world.lines[0].count()), (1, 3));
    assert_eq!(world.why(waits).await.0, "sim_budget");
}

#[tokio::test(start_paused = true)]
async fn limits_that_a_reload_changes_rule_at_once_and_none_writes_nothing() {
    let world = World::new(one(0, 0), &[("sim1", Some("A"))]).await;
    let id = world.send(0).await;
    world.until_sent(id).await;
    assert_eq!(world.engine.store.spendings(), []);
    assert_eq!(world.budget(0), BudgetView::default());
    world.policy.send_replace(Arc::new(one(1, 0)));
    for n in 1..3 {
        let _ = world.send(n).await;
    }
    let waits = world.send(3).await;
    assert_eq!(world.why(waits).await.0, "sim_budget");
    assert_eq!(world.lines[0].count(), 2);
    world.policy.send_replace(Arc::new(one(5, 0)));
    world.until_sent(waits).await;
    let took = world.clock.now().since(START);
    assert!(took < Duration::from_mins(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn six_a_minute_are_six_parts_in_any_minute() {
    let mut policy = one(0, 0);
    let rate = Rate::parse("6/min").unwrap();
    policy.rates.insert("sim1".into(), rate);
    let world = World::new(policy, &[("sim1", Some("A"))]).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    let from = world.clock.now();
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(world.send(n).await);
    }
    for id in ids {
        world.until_sent(id).await;
    }
    let sent = world.lines[0].sent();
    let minute = Duration::from_mins(1);
    for (index, first) in sent.iter().enumerate() {
        let within = sent[index..]
            .iter()
            .filter(|it| it.at.since(first.at) < minute);
        assert_eq!(within.count(), (sent.len() - index).min(6));
    }
    let took = sent[29].at.since(from);
    assert!(took < Duration::from_secs(291), "{took:?}");
    let view = &world.engine.channel_views()[0];
    assert_eq!(view.state.rate_configured, Some(0.1));
}

#[tokio::test(start_paused = true)]
async fn marketing_is_refused_where_a_sim_may_be_its_way_and_service_messages_are_not() {
    let others = vec![Operator {
        prefixes: vec!["337".to_owned()],
        ..operator("other", &["carrier"])
    }];
    let default = operator("default", &["carrier", "sim1"]);
    let policy = rules(default, others, 0, 0);
    let world = World::new(policy, &[("sim1", Some("A")), ("carrier", None)]).await;
    let draft = |to: &str, class| Draft {
        to: to.to_owned(),
        text: "Soldes".to_owned(),
        class: Some(class),
        ..Draft::default()
    };
    let check = |to, class| world.engine.check(draft(to, class));
    let errors = check("06 12 34 56 78", Class::Commercial)
        .await
        .unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (errors[0].pointer, errors[0].code),
        ("/class", "commercial_on_modem")
    );
    for word in ["sim1", "default", "2018-0881", "L34-5"] {
        assert!(errors[0].detail.contains(word), "{}", errors[0].detail);
    }
    assert!(check("06 12 34 56 78", Class::Transactional).await.is_ok());
    // Where no SIM is in the way, what remains is to have been asked for it.
    let errors = check("07 12 34 56 78", Class::Commercial)
        .await
        .unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (errors[0].pointer, errors[0].code),
        ("/to", "consent_missing")
    );
}
