//! The driver against the simulated modem, in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::super::start_on;
use super::*;
use crate::channel::{Ack, ChannelHandle, Peer, SegmentOutcome};
use crate::domain::event::Rejection;
use crate::domain::id::MessageId;
use crate::domain::message::{Doubt, Token};
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;
use crate::pdu::segment::Alphabet;
use crate::sim::modem::{self, Fault, FaultKind, ModemHandle, ModemScript, Moment, Rule};

mod ladder;
mod moments;
mod refusals;
mod sim_card;

const START: Timestamp = Timestamp(1_800_000_000_000);

/// Longer than anything takes, in virtual time.
const PATIENCE: Duration = Duration::from_hours(2);

/// Opens the simulated modem in memory.
struct Socket(ModemHandle);

#[async_trait]
impl Opener for Socket {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.0.open()?))
    }
}

/// A driver with its modem, and what the engine would hold of it.
struct Rig {
    modem: ModemHandle,
    handle: ChannelHandle,
    events: mpsc::Receiver<ChannelEvent>,
    /// Events that a test looked past.
    passed: VecDeque<ChannelEvent>,
    stop: CancellationToken,
    clock: Clock,
    task: JoinHandle<()>,
}

impl Rig {
    fn new(script: ModemScript) -> Self {
        Self::with(script, |_| {})
    }

    fn with(script: ModemScript, configure: impl FnOnce(&mut ModemConfig)) -> Self {
        let clock = Clock::starting_at(START);
        let modem = modem::start(script, &clock, &Random::seeded(3));
        let opener = Arc::new(Socket(modem.clone()));
        Self::on(opener, modem, clock, configure)
    }

    fn on(
        opener: Arc<dyn Opener>,
        modem: ModemHandle,
        clock: Clock,
        configure: impl FnOnce(&mut ModemConfig),
    ) -> Self {
        let mut config = ModemConfig::new("stick", "/dev/serial/by-id/stick");
        configure(&mut config);
        let (sender, events) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let random = Random::seeded(7);
        let (handle, task) = start_on(opener, Arc::new(config), &clock, &random, &sender, &stop);
        Self {
            modem,
            handle,
            events,
            passed: VecDeque::new(),
            stop,
            clock,
            task,
        }
    }

    fn word(&self) -> ModemWord {
        match &self.handle.peer {
            Peer::Modem(word) => word.borrow().clone(),
            Peer::Smsc(_) | Peer::App | Peer::Email => panic!("a modem"),
        }
    }

    fn status(&self) -> ChannelStatus {
        self.handle.status.borrow().clone()
    }

    fn cause(&self) -> String {
        match self.status() {
            ChannelStatus::Down { cause } => cause,
            other => panic!("not down: {other:?}"),
        }
    }

    async fn until(&mut self, wanted: impl Fn(&ChannelStatus) -> bool) {
        let waiting = self.handle.status.wait_for(wanted);
        let seen = timeout(PATIENCE, waiting).await;
        let seen = seen.map(|seen| seen.is_ok());
        assert_eq!(seen, Ok(true), "{:?}", self.status());
    }

    async fn up(&mut self) {
        self.until(ChannelStatus::is_up).await;
    }

    async fn down(&mut self, cause: &str) {
        let fits = |status: &ChannelStatus| matches!(status, ChannelStatus::Down { cause: why } if why.contains(cause));
        self.until(fits).await;
    }

    /// The word, once it is as `wanted` says.
    async fn word_when(&mut self, wanted: impl Fn(&ModemWord) -> bool) -> ModemWord {
        let Peer::Modem(word) = &mut self.handle.peer else {
            panic!("a modem");
        };
        let seen = timeout(PATIENCE, word.wait_for(wanted)).await;
        seen.expect("the word in time").expect("a driver").clone()
    }

    /// Hands a request over once the channel is up.
    async fn ask(&mut self, request: SubmitRequest) {
        self.up().await;
        self.handle.requests.try_send(request).unwrap();
    }

    /// The next event about a request.
    async fn next(&mut self) -> ChannelEvent {
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await;
            match event.expect("an event").expect("a driver") {
                event @ (ChannelEvent::Segment { .. } | ChannelEvent::Returned { .. }) => {
                    return event;
                }
                other => self.passed.push_back(other),
            }
        }
    }

    /// The next status report.
    async fn receipt(&mut self) -> (String, Ack) {
        loop {
            let event = match self.passed.pop_front() {
                Some(event) => event,
                None => {
                    let event = timeout(PATIENCE, self.events.recv()).await;
                    event.expect("a report").expect("a driver")
                }
            };
            if let ChannelEvent::Receipt { reference, ack, .. } = event {
                return (reference, ack);
            }
        }
    }

    async fn outcome(&mut self) -> SegmentOutcome {
        match self.next().await {
            ChannelEvent::Segment { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Hands a request over and waits for its outcome.
    async fn send(&mut self, request: SubmitRequest) -> SegmentOutcome {
        self.ask(request).await;
        self.outcome().await
    }

    /// Hands it over, again each time that it is returned, until it has an outcome.
    async fn insist(&mut self, request: SubmitRequest) -> SegmentOutcome {
        loop {
            self.ask(request.clone()).await;
            if let ChannelEvent::Segment { outcome, .. } = self.next().await {
                return outcome;
            }
        }
    }

    /// Nothing more is told about requests for so long.
    async fn silent_for(&mut self, length: Duration) {
        let more = timeout(length, self.next()).await;
        assert!(more.is_err(), "{more:?}");
    }

    fn sent(&self) -> usize {
        self.modem.ledger(|ledger| ledger.sent().count())
    }

    fn submitted(&self) -> usize {
        self.modem.ledger(|ledger| ledger.submitted.len())
    }

    /// How often the modem was told something that begins so.
    fn told(&self, command: &str) -> usize {
        let begins = |told: &&String| told.starts_with(command);
        self.modem
            .ledger(|ledger| ledger.commands.iter().filter(begins).count())
    }

    async fn stopped(mut self) {
        self.stop.cancel();
        self.until(|status| *status == ChannelStatus::Stopped).await;
        self.task.await.unwrap();
    }
}

fn to() -> Msisdn {
    number(33_612_345_678)
}

fn number(number: u64) -> Msisdn {
    Msisdn::from_e164_digits(&number.to_string()).unwrap()
}

fn request(n: u8) -> SubmitRequest {
    SubmitRequest {
        token: Token {
            message: MessageId::new(START, [n; 10]),
            attempt: 0,
            claim: 1,
        },
        to: to(),
        from: None,
        alphabet: Alphabet::Gsm7,
        segment: 0,
        payload: Bytes::from_static(b"Bonjour"),
        total: 1,
        reference: 0xA7,
        expires_at: START + Duration::from_hours(48),
        priority: 1,
        relayed: None,
    }
}

fn accepted(reference: u8) -> SegmentOutcome {
    SegmentOutcome::Accepted(format!("sim:e9288588a056:612345678:{reference}"))
}

/// A fault at the first message.
fn fault(moment: Moment, kind: FaultKind, for_ms: Option<u64>, taken: bool) -> ModemScript {
    ModemScript {
        faults: vec![Fault {
            at_submit: Some(1),
            moment,
            kind,
            for_ms,
            taken,
            ..Fault::default()
        }],
        ..ModemScript::default()
    }
}

#[tokio::test(start_paused = true)]
async fn every_personality_comes_up_and_sends_what_it_was_given() {
    use crate::sim::modem::Personality as P;
    for (personality, maker) in [
        (P::Huawei, "huawei"),
        (P::Simcom, "SIMCOM_Ltd"),
        (P::Quectel, "Quectel"),
        (P::Siemens, "SIEMENS"),
    ] {
        let script = ModemScript {
            personality,
            reference_start: 255,
            ..ModemScript::default()
        };
        let rest = Duration::from_millis(100);
        let mut rig = Rig::with(script, |config| config.rest = rest);
        assert_eq!(rig.send(request(1)).await, accepted(255), "{maker}");
        assert_eq!(rig.send(request(2)).await, accepted(0), "{maker}");
        let word = rig.word();
        assert_eq!(word.maker.as_deref(), Some(maker));
        assert_eq!(word.sim.as_deref(), Some("208010123456789"));
        assert_eq!(word.signal_dbm, Some(-77));
        assert_eq!(word.registration, Some(Registration::Home));
        assert_eq!(word.reports, Some("direct"));
        assert_eq!(word.recoveries.reopened, 0);
        rig.modem.ledger(|ledger| {
            assert_eq!(ledger.sent_total, 2, "{maker}");
            let entry = &ledger.submitted[0];
            assert_eq!(entry.text, "Bonjour");
            assert_eq!(entry.recipient, "+33612345678");
            assert!(entry.report);
        });
        rig.stopped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn three_parts_arrive_as_one_text() {
    let mut rig = Rig::new(ModemScript::default());
    for (segment, part) in (0..).zip(["Un, ", "deux, ", "trois."]) {
        let mut request = request(1);
        request.segment = segment;
        request.total = 3;
        request.payload = Bytes::from_static(part.as_bytes());
        let reference = u8::try_from(segment).unwrap();
        assert_eq!(rig.send(request).await, accepted(reference));
    }
    let texts = rig.modem.ledger(crate::sim::modem::Ledger::texts);
    assert_eq!(texts["+33612345678"], ["Un, deux, trois."]);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_message_under_way_with_the_parts_that_belong_to_it() {
    let script = ModemScript {
        send_ms: Some(4_000),
        ..ModemScript::default()
    };
    let mut rig = Rig::new(script);
    let permit = rig.handle.window.clone().acquire_owned().await.unwrap();
    let mut part = request(1);
    part.total = 2;
    rig.ask(part.clone()).await;
    rig.modem
        .wait_for(|ledger| ledger.submitted.len() == 1)
        .await;
    rig.stop.cancel();
    assert_eq!(rig.outcome().await, accepted(0));
    part.segment = 1;
    rig.handle.requests.try_send(part).unwrap();
    assert_eq!(rig.outcome().await, accepted(1));
    drop(permit);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_no_longer_than_the_daemon_for_a_network_that_does_not_answer() {
    let script = ModemScript {
        send_ms: Some(170_000),
        ..ModemScript::default()
    };
    let within = Duration::from_mins(3);
    let mut rig = Rig::with(script, |config| config.submit_timeout = within);
    rig.ask(request(1)).await;
    rig.modem
        .wait_for(|ledger| ledger.submitted.len() == 1)
        .await;
    let since = rig.clock.elapsed();
    rig.stop.cancel();
    assert_eq!(rig.outcome().await, SegmentOutcome::Unknown(Doubt::Timeout));
    let clock = rig.clock.clone();
    rig.stopped().await;
    assert!(clock.elapsed() - since < Duration::from_secs(38));
}

#[tokio::test(start_paused = true)]
async fn what_waits_when_it_stops_is_returned() {
    let mut rig = Rig::new(ModemScript::default());
    rig.up().await;
    rig.modem.hang(None);
    rig.modem.unplug();
    rig.down("").await;
    rig.handle.requests.try_send(request(9)).unwrap();
    assert!(matches!(rig.next().await, ChannelEvent::Returned { .. }));
    rig.stopped().await;
}
