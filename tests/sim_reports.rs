//! That what a SIM has sent is known by its status reports: each finds its message although TP-MR
//! comes round, and settles what a lost answer has left in doubt, so that nothing is sent twice.
//!
//! The engine runs in virtual time over modems that the tests play by hand: they take what they are
//! given to send, answer or do not, and report.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use relais::channel::{
    Ack, AckVerdict, ChannelEvent, ChannelHandle, ChannelStatus, ModemWord, Peer, SegmentOutcome,
    SubmitRequest,
};
use relais::clock::{Clock, Random};
use relais::domain::id::MessageId;
use relais::domain::message::{Cause, Doubt, Message};
use relais::domain::policy::{ModemRules, OnDoubt, Operator, Policy};
use relais::domain::privacy::Keeping;
use relais::domain::receipt::{Receipt, ReceiptState, Taken};
use relais::domain::sim;
use relais::domain::status::Status;
use relais::domain::time::Timestamp;
use relais::engine::accept::Draft;
use relais::engine::{self, Engine, Parts, Stop};
use relais::metrics::Metrics;
use relais::store::embedded::Embedded;
use support::{Disk, START, policy, tenant};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

const NUMBER: &str = "06 12 34 56 78";
const SIM: &str = "208010123456789";

/// One modem, played by hand.
struct Modem {
    name: &'static str,
    given: mpsc::Receiver<SubmitRequest>,
    events: mpsc::Sender<ChannelEvent>,
    acks: mpsc::Sender<AckVerdict>,
    verdicts: mpsc::Receiver<AckVerdict>,
    clock: Clock,
    /// Kept, so that the engine sees a channel that lives.
    _status: (watch::Sender<ChannelStatus>, watch::Sender<ModemWord>),
}

impl Modem {
    fn plugged_in(
        name: &'static str,
        clock: &Clock,
        events: &mpsc::Sender<ChannelEvent>,
    ) -> (ChannelHandle, Self) {
        let (requests, given) = mpsc::channel(1);
        let (status_in, status) = watch::channel(ChannelStatus::Up);
        let word = ModemWord {
            sim: Some(SIM.to_owned()),
            ..ModemWord::default()
        };
        let (word_in, word) = watch::channel(word);
        let (acks, verdicts) = mpsc::channel(16);
        let handle = ChannelHandle {
            id: name.into(),
            account: name.into(),
            window: Arc::new(Semaphore::new(1)),
            window_size: 1,
            requests,
            status,
            peer: Peer::Modem(word),
            reset: watch::channel(()).0,
        };
        let modem = Self {
            name,
            given,
            events: events.clone(),
            acks,
            verdicts,
            clock: clock.clone(),
            _status: (status_in, word_in),
        };
        (handle, modem)
    }

    /// What it is given to send next.
    async fn sends(&mut self) -> SubmitRequest {
        let limit = Duration::from_hours(24 * 7);
        let next = tokio::time::timeout(limit, self.given.recv());
        next.await.unwrap().unwrap()
    }

    /// True if it is given nothing for so long.
    async fn rests(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.given.recv()).await.is_err()
    }

    async fn says(&self, request: &SubmitRequest, outcome: SegmentOutcome) {
        let event = ChannelEvent::Segment {
            token: request.token,
            segment: request.segment,
            outcome,
            took: Duration::from_secs(3),
        };
        self.events.send(event).await.unwrap();
    }

    async fn answers(&self, request: &SubmitRequest, mr: u8) {
        let reference = sim::reference(SIM, request.to, mr);
        self.says(request, SegmentOutcome::Accepted(reference))
            .await;
    }

    /// Sixty seconds pass without an answer.
    async fn is_silent_about(&self, request: &SubmitRequest) {
        tokio::time::sleep(Duration::from_mins(1)).await;
        let outcome = SegmentOutcome::Unknown(Doubt::Timeout);
        self.says(request, outcome).await;
    }

    /// Reports on what was taken at `at`, and was on the handset, or not, after `after`.
    async fn reports(
        &mut self,
        request: &SubmitRequest,
        mr: u8,
        state: ReceiptState,
        at: Timestamp,
        after: Duration,
    ) {
        // Time stamps count whole seconds.
        let at = Timestamp(at.millis() / 1000 * 1000);
        let event = ChannelEvent::Receipt {
            account: self.name.into(),
            channel: self.name.into(),
            reference: sim::reference(SIM, request.to, mr),
            other: None,
            handset: Some(request.to),
            receipt: Receipt::of(state),
            taken: Some(Taken {
                at,
                before: self.clock.now() - after,
            }),
            ack: Ack::new(0, self.acks.downgrade()),
        };
        self.events.send(event).await.unwrap();
        assert!(self.verdicts.recv().await.unwrap().taken);
    }

    /// Shows a message, or a part of one, that its SIM keeps.
    async fn shows(&mut self, text: &str, fingerprint: u8) {
        let event = ChannelEvent::Inbound {
            channel: self.name.into(),
            account: self.name.into(),
            from: "+33612345678".to_owned(),
            to: String::new(),
            text: text.to_owned(),
            part: None,
            receipt: None,
            fingerprint: Some([fingerprint; 16]),
            ack: Ack::new(1, self.acks.downgrade()),
        };
        self.events.send(event).await.unwrap();
        assert!(self.verdicts.recv().await.unwrap().taken);
    }
}

/// A gateway with two modems, of which the first one sends.
struct Gateway {
    engine: Arc<Engine>,
    first: Modem,
    second: Modem,
    stop: Stop,
    tasks: JoinSet<()>,
    _policy: watch::Sender<Arc<Policy>>,
}

fn rules(on_doubt: OnDoubt) -> Policy {
    let operator = Operator {
        on_doubt,
        ..Operator::named("default", vec![vec!["first".into()]])
    };
    let mut policy = policy(operator);
    let unlimited = ModemRules {
        daily_limit: None,
        recipients_30d: None,
        ..ModemRules::default()
    };
    let modems = ["first", "second"].map(|name| (name.into(), unlimited));
    policy.modems.extend(modems);
    policy
}

impl Gateway {
    async fn over(disk: &Disk, on_doubt: OnDoubt, clock: &Clock) -> Self {
        let (policy, rules) = watch::channel(Arc::new(rules(on_doubt)));
        let year = Keeping::all(Duration::from_hours(24 * 365));
        let store = Embedded::start(disk.clone(), rules.clone(), year, clock.now()).unwrap();
        let (events_in, events) = mpsc::channel(64);
        let (one, first) = Modem::plugged_in("first", clock, &events_in);
        let (other, second) = Modem::plugged_in("second", clock, &events_in);
        let engine = Arc::new(Engine::new(Parts {
            store: Arc::new(store),
            policy: rules,
            clock: clock.clone(),
            random: Random::seeded(7),
            metrics: Arc::new(Metrics::new()),
            channels: vec![one, other],
            signing_key: [7; 32],
        }));
        let stop = Stop::default();
        let tasks = engine::run(&engine, events, &stop);
        Self {
            engine,
            first,
            second,
            stop,
            tasks,
            _policy: policy,
        }
    }

    async fn new() -> Self {
        let clock = Clock::starting_at(START);
        Self::over(&Disk::default(), OnDoubt::Resend, &clock).await
    }

    async fn send(&self, text: &str) -> MessageId {
        let draft = Draft {
            to: NUMBER.to_owned(),
            text: text.to_owned(),
            ..Draft::default()
        };
        let checked = self.engine.check(draft).await.unwrap();
        let submitted = self
            .engine
            .submit(&tenant(), vec![checked], false, None)
            .await;
        submitted.unwrap().messages[0].id
    }

    async fn message(&self, id: MessageId) -> Message {
        self.engine.store.message(&tenant(), id).await.unwrap()
    }

    /// Waits until the message has this status.
    async fn until(&self, id: MessageId, status: Status) {
        let mut changes = self.engine.listen();
        let wanted = async {
            while self.message(id).await.status() != status {
                let _ = changes.recv().await;
            }
        };
        let limit = Duration::from_hours(24);
        tokio::time::timeout(limit, wanted).await.unwrap();
    }

    async fn stop(mut self) {
        self.stop.claiming.cancel();
        drop((self.first, self.second));
        self.stop.working.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.engine.store.close().await;
    }

    /// Nothing is finished, told or closed.
    async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn every_report_of_600_messages_to_one_number_finds_its_own() {
    const STATES: [ReceiptState; 3] = [
        ReceiptState::Delivered,
        ReceiptState::Undeliverable,
        ReceiptState::Expired,
    ];
    let mut gateway = Gateway::new().await;
    let random = Random::seeded(3);
    let mut ids = Vec::new();
    for n in 0..600 {
        ids.push(gateway.send(&format!("number {n}")).await);
    }
    let clock = gateway.first.clock.clone();
    let mut due: Vec<(Timestamp, SubmitRequest, u8, ReceiptState, Timestamp)> = Vec::new();
    let mut expected = Vec::new();
    let mut sent = 0_u16;
    while sent < 600 || !due.is_empty() {
        if sent < 600 {
            let request = gateway.first.sends().await;
            let mr = sent.to_le_bytes()[0];
            let at = clock.now() + SECOND;
            let state = STATES[usize::from(random.bytes::<1>()[0]) % 3];
            let [early, late, twice, _] = random.bytes::<4>();
            tokio::time::sleep(SECOND * 2).await;
            if early < 50 {
                // Before the answer.
                let modem = &mut gateway.first;
                modem.reports(&request, mr, state, at, SECOND).await;
            }
            tokio::time::sleep(SECOND).await;
            gateway.first.answers(&request, mr).await;
            expected.push((request.token.message, state));
            if early >= 50 {
                let later = SECOND * 20 * u32::from(late);
                due.push((clock.now() + later, request.clone(), mr, state, at));
            }
            if twice < 30 {
                let later = SECOND * 60 * u32::from(late);
                due.push((clock.now() + later, request, mr, state, at));
            }
            sent += 1;
        } else {
            tokio::time::sleep(SECOND * 60).await;
        }
        let now = clock.now();
        let (told, left): (Vec<_>, Vec<_>) = due.into_iter().partition(|it| it.0 <= now);
        due = left;
        for (_, request, mr, state, at) in told {
            let after = now.since(at) - SECOND;
            gateway.first.reports(&request, mr, state, at, after).await;
        }
    }
    for (id, state) in expected {
        let status = gateway.message(id).await.status();
        let meant = match state {
            ReceiptState::Delivered => Status::Delivered,
            ReceiptState::Expired => Status::Expired,
            _ => Status::Failed,
        };
        assert_eq!(status, meant, "{id}");
    }
    assert_eq!(gateway.engine.store.gauges(clock.now()).orphans, 0);
    assert_eq!(ids.len(), 600);
    gateway.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_settles_what_was_never_answered_and_it_never_leaves_again() {
    let mut gateway = Gateway::new().await;
    let id = gateway.send("bonjour").await;
    let request = gateway.first.sends().await;
    let at = gateway.first.clock.now() + SECOND;
    gateway.first.is_silent_about(&request).await;
    assert!(gateway.first.rests(SECOND * 100).await, "it rests 2 min");
    let modem = &mut gateway.first;
    modem
        .reports(&request, 5, ReceiptState::Delivered, at, SECOND * 160)
        .await;
    gateway.until(id, Status::Delivered).await;
    assert!(gateway.first.rests(Duration::from_hours(48)).await);
    assert!(!gateway.message(id).await.maybe_duplicate);
    gateway.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_that_came_before_the_doubt_settles_it() {
    let mut gateway = Gateway::new().await;
    let id = gateway.send("bonjour").await;
    let request = gateway.first.sends().await;
    let at = gateway.first.clock.now();
    tokio::time::sleep(SECOND * 5).await;
    let modem = &mut gateway.first;
    modem
        .reports(&request, 5, ReceiptState::Delivered, at, SECOND * 5)
        .await;
    gateway.first.is_silent_about(&request).await;
    gateway.until(id, Status::Delivered).await;
    assert!(gateway.first.rests(Duration::from_hours(48)).await);
    gateway.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_again_for_want_of_a_report_is_settled_by_the_first_ones() {
    let mut gateway = Gateway::new().await;
    let id = gateway.send("bonjour").await;
    let request = gateway.first.sends().await;
    let at = gateway.first.clock.now();
    gateway.first.is_silent_about(&request).await;
    let again = gateway.first.sends().await;
    assert!(gateway.first.clock.now().since(at) >= Duration::from_mins(3));
    gateway.first.answers(&again, 6).await;
    gateway.until(id, Status::Sent).await;
    tokio::time::sleep(SECOND * 60).await;
    let after = gateway.first.clock.now().since(at);
    let modem = &mut gateway.first;
    modem
        .reports(&request, 5, ReceiptState::Delivered, at, after)
        .await;
    gateway.until(id, Status::Delivered).await;
    assert!(gateway.message(id).await.maybe_duplicate);
    gateway.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_sent_twice_fails_in_doubt_until_its_report_comes() {
    let clock = Clock::starting_at(START);
    let mut gateway = Gateway::over(&Disk::default(), OnDoubt::Fail, &clock).await;
    let id = gateway.send("code 1234").await;
    let request = gateway.first.sends().await;
    let at = clock.now();
    gateway.first.is_silent_about(&request).await;
    gateway.until(id, Status::Failed).await;
    assert_eq!(gateway.message(id).await.reason(), Some(Cause::InDoubt));
    assert!(gateway.first.rests(Duration::from_hours(6)).await);
    let after = clock.now().since(at);
    let modem = &mut gateway.first;
    modem
        .reports(&request, 5, ReceiptState::Delivered, at, after)
        .await;
    gateway.until(id, Status::Delivered).await;
    gateway.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_leaving_when_the_gateway_was_killed_is_settled_by_its_report() {
    let (disk, clock) = (Disk::default(), Clock::starting_at(START));
    let mut gateway = Gateway::over(&disk, OnDoubt::Resend, &clock).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(gateway.send(&format!("number {n}")).await);
    }
    let request = gateway.first.sends().await;
    let at = clock.now();
    gateway.kill().await;
    tokio::time::sleep(SECOND * 30).await;
    let mut gateway = Gateway::over(&disk, OnDoubt::Resend, &clock).await;
    let after = clock.now().since(at);
    // What is sent meanwhile is not what was under way.
    let next = gateway.first.sends().await;
    assert_ne!(next.token.message, request.token.message);
    let modem = &mut gateway.first;
    modem
        .reports(&request, 5, ReceiptState::Delivered, at, after)
        .await;
    gateway.first.answers(&next, 6).await;
    let last = gateway.first.sends().await;
    gateway.first.answers(&last, 7).await;
    gateway
        .until(request.token.message, Status::Delivered)
        .await;
    assert!(gateway.first.rests(Duration::from_hours(48)).await);
    for id in ids {
        assert!(!gateway.message(id).await.maybe_duplicate);
    }
    gateway.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sim_that_moves_to_another_modem_takes_its_reports_with_it() {
    let (disk, clock) = (Disk::default(), Clock::starting_at(START));
    let mut gateway = Gateway::over(&disk, OnDoubt::Resend, &clock).await;
    let id = gateway.send("bonjour").await;
    let request = gateway.first.sends().await;
    let at = clock.now();
    gateway.first.answers(&request, 5).await;
    gateway.until(id, Status::Sent).await;
    gateway.kill().await;
    tokio::time::sleep(SECOND * 3600).await;
    let mut gateway = Gateway::over(&disk, OnDoubt::Resend, &clock).await;
    let modem = &mut gateway.second;
    modem
        .reports(&request, 5, ReceiptState::Delivered, at, SECOND * 3600)
        .await;
    gateway.until(id, Status::Delivered).await;
    gateway.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_sim_shows_again_after_a_kill_is_one_message() {
    let (disk, clock) = (Disk::default(), Clock::starting_at(START));
    for _ in 0..3 {
        let mut gateway = Gateway::over(&disk, OnDoubt::Resend, &clock).await;
        for (text, fingerprint) in [("oui", 1), ("non", 2), ("oui", 3)] {
            gateway.first.shows(text, fingerprint).await;
        }
        let heard = gateway.engine.store.inbound(&tenant(), None, 10).await;
        assert_eq!(heard.unwrap().items.len(), 3);
        gateway.kill().await;
    }
}
