//! The ways in which accounts differ, through the whole engine: how parts belong together, what
//! each PDU carries, versions, and pairs of sessions. The simulated SMSC's ledger is what a carrier
//! would have seen.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use relais::channel::smpp::bind::{Connector, Stream};
use relais::channel::smpp::{BindMode, SmppConfig, start_on};
use relais::channel::{ChannelEvent, ChannelStatus, Peer, SegmentOutcome, SubmitRequest};
use relais::clock::{Clock, Random};
use relais::domain::id::MessageId;
use relais::domain::message::Token;
use relais::domain::msisdn::Msisdn;
use relais::domain::status::Status;
use relais::domain::text::TextRules;
use relais::domain::time::Timestamp;
use relais::domain::wire::{Concatenation, CustomTlv, Version};
use relais::pdu::segment::Alphabet;
use relais::sim::smsc::{self, Rule, SmscScript};
use support::{World, operator, policy};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

const NUMBER: &str = "06 12 34 56 78";

/// 450 characters of which no two parts are the same.
fn long_text() -> String {
    (0..90).map(|n| format!("{n:04} ")).collect()
}

async fn world(account: impl FnOnce(&mut SmppConfig)) -> World {
    World::with(SmscScript::default(), policy(operator()), account).await
}

/// A gateway whose account joins parts in this way, at `rate` parts a second.
async fn joining(concatenation: Concatenation, rate: u32) -> World {
    let mut policy = policy(operator());
    let rules = TextRules {
        wide_header: concatenation == Concatenation::Udh16,
        single_piece: concatenation == Concatenation::Payload,
        ..TextRules::default()
    };
    policy.text_rules.insert("carrier".into(), rules);
    policy.rates.insert("carrier".into(), rate.into());
    World::with(SmscScript::default(), policy, |account| {
        account.wire.concatenation = concatenation;
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_long_text_arrives_whole_whichever_way_its_parts_are_joined() {
    use Concatenation::{Payload, Sar, Udh, Udh16};
    // 459 septets: three parts with a header of 6 octets, four with one of 7.
    let full = "x".repeat(9) + &long_text();
    for (way, text, octets) in [
        (Udh, full.clone(), vec![159, 159, 159]),
        (Udh16, full.clone(), vec![159, 159, 159, 10]),
        (Sar, full.clone(), vec![153, 153, 153]),
        (Payload, full, vec![459]),
        (Udh16, "ж".repeat(67), vec![134]),
        (Udh16, "ж".repeat(133), vec![139, 139, 9]),
        (Payload, "ж".repeat(133), vec![266]),
        (Payload, "short".to_owned(), vec![5]),
    ] {
        let world = joining(way, 0).await;
        let id = world.send(NUMBER, &text).await;
        world.until(id, Status::Delivered).await;
        let (texts, seen) = world.carrier.ledger(|ledger| {
            let seen: Vec<_> = ledger
                .submitted
                .iter()
                .map(|entry| entry.octets.len())
                .collect();
            (ledger.texts(), seen)
        });
        assert_eq!(texts["33612345678"], [text], "{way:?}");
        assert_eq!(seen, octets, "{way:?}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_handed_over_whole_is_paced_by_its_parts_on_the_air() {
    for way in [Concatenation::Udh, Concatenation::Payload] {
        let world = joining(way, 1).await;
        let from = world.clock.now();
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(world.send(NUMBER, &long_text()).await);
        }
        for id in ids {
            world.until(id, Status::Delivered).await;
        }
        let took = world.clock.now().since(from);
        // Three messages of three parts before the last one.
        let expected = Duration::from_millis(8_500)..Duration::from_secs(12);
        assert!(expected.contains(&took), "{way:?}: {took:?}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_3_3_account_binds_a_pair_and_sends_without_tlvs() {
    let world = world(|account| {
        account.wire.version = Version::V33;
        account.bind = BindMode::TransmitterReceiver;
    })
    .await;
    let id = world.send(NUMBER, &long_text()).await;
    world.until(id, Status::Delivered).await;
    let log = world.carrier.ledger(|ledger| ledger.bind_log.clone());
    assert_eq!(log.len(), 2);
    assert!(log.iter().all(|bind| bind.interface_version == 0x33));
    world.stop().await;
}

/// A channel of one account alone, to look at its status and hints.
struct Alone {
    clock: Clock,
    carrier: smsc::SmscHandle,
    channels: Vec<(relais::channel::ChannelHandle, tokio::task::JoinHandle<()>)>,
    events: mpsc::Receiver<ChannelEvent>,
    stop: CancellationToken,
    cuts: Arc<Cuts>,
}

/// Connections that can be cut one by one.
struct Cuts {
    inner: Arc<dyn Connector>,
    clock: Clock,
    made: Mutex<Vec<(Duration, AbortHandle)>>,
}

#[async_trait]
impl Connector for Cuts {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let mut far = self.inner.connect().await?;
        let (near, mut middle) = tokio::io::duplex(64 * 1024);
        let bridge = tokio::spawn(async move {
            let _ = tokio::io::copy_bidirectional(&mut middle, &mut far).await;
        });
        let made = (self.clock.elapsed(), bridge.abort_handle());
        self.made.lock().unwrap().push(made);
        Ok(Box::new(near))
    }
}

impl Alone {
    fn new(script: SmscScript, change: impl FnOnce(&mut SmppConfig)) -> Self {
        let clock = Clock::starting_at(Timestamp(1_795_000_000_000));
        let random = Random::seeded(7);
        let carrier = smsc::start(script, &clock, &random);
        let mut config = SmppConfig::new("alone", "in memory", 1, "relais", "secret");
        change(&mut config);
        let (sender, events) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let cuts = Arc::new(Cuts {
            inner: carrier.connector(),
            clock: clock.clone(),
            made: Mutex::default(),
        });
        let channels = start_on(
            cuts.clone(),
            Arc::new(config),
            &clock,
            &random,
            &sender,
            &stop,
        );
        Self {
            clock,
            carrier,
            channels,
            events,
            stop,
            cuts,
        }
    }

    async fn is(&mut self, wanted: impl Fn(&ChannelStatus) -> bool) -> ChannelStatus {
        let mut status = self.channels[0].0.status.clone();
        let waiting = status.wait_for(|status| wanted(status));
        let found = tokio::time::timeout(Duration::from_mins(10), waiting).await;
        found.unwrap().unwrap().clone()
    }

    async fn submit(&self, number: u8) -> Token {
        let token = Token {
            message: MessageId::new(Timestamp(1), [number; 10]),
            attempt: 0,
            claim: 1,
        };
        let request = SubmitRequest {
            token,
            to: Msisdn::from_e164_digits("33612345678").unwrap(),
            from: None,
            alphabet: Alphabet::Gsm7,
            segment: 0,
            payload: "abc".into(),
            total: 1,
            reference: 1,
            expires_at: self.clock.now() + Duration::from_hours(1),
            priority: 0,
            relayed: None,
        };
        self.channels[0].0.requests.send(request).await.unwrap();
        token
    }

    async fn end(mut self) {
        self.stop.cancel();
        for (_, task) in self.channels {
            task.await.unwrap();
        }
        self.events.close();
        self.carrier.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_smsc_of_3_3_is_never_sent_tlvs() {
    for needs in [
        |account: &mut SmppConfig| account.wire.concatenation = Concatenation::Sar,
        |account: &mut SmppConfig| {
            account.wire.tlvs = vec![CustomTlv {
                tag: 0x1400,
                value: vec![1],
            }];
        },
    ] {
        let script = SmscScript {
            interface_version: 0x33,
            ..SmscScript::default()
        };
        let mut alone = Alone::new(script, needs);
        let status = alone
            .is(|status| matches!(status, ChannelStatus::Down { .. }))
            .await;
        let ChannelStatus::Down { cause } = status else {
            panic!("{status:?}")
        };
        assert!(
            cause.starts_with("the SMSC speaks SMPP 3.3, which has no TLVs; "),
            "{cause}"
        );
        alone.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_smsc_of_5_0_says_about_itself_is_handed_up() {
    let script = SmscScript {
        interface_version: 0x50,
        congestion_state: Some(85),
        ..SmscScript::default()
    };
    let mut alone = Alone::new(script, |account| account.wire.version = Version::V50);
    alone.is(ChannelStatus::is_up).await;
    let Peer::Smsc(peer) = alone.channels[0].0.peer.clone() else {
        panic!()
    };
    assert_eq!(peer.borrow().interface_version, Some(0x50));
    assert_eq!(peer.borrow().congestion, None);
    alone.submit(1).await;
    let Some(ChannelEvent::Segment { .. }) = alone.events.recv().await else {
        panic!()
    };
    assert_eq!(peer.borrow().congestion, Some(85));
    alone.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_loses_its_receiver_still_takes_the_answers_of_its_transmitter() {
    let script = SmscScript {
        rules: vec![Rule {
            response_delay_ms: Some(3_000),
            ..Rule::default()
        }],
        ..SmscScript::default()
    };
    let mut alone = Alone::new(script, |account| {
        account.bind = BindMode::TransmitterReceiver;
    });
    alone.is(ChannelStatus::is_up).await;
    let token = alone.submit(1).await;
    alone
        .carrier
        .wait_for(|ledger| ledger.submitted_total == 1)
        .await;
    alone.cuts.made.lock().unwrap()[0].1.abort();
    alone.is(|status| *status == ChannelStatus::Draining).await;
    let late = alone.submit(2).await;
    let mut outcomes = Vec::new();
    while outcomes.len() < 2 {
        match alone.events.recv().await.unwrap() {
            ChannelEvent::Segment { token, outcome, .. } => outcomes.push((token, Some(outcome))),
            ChannelEvent::Returned { token } => outcomes.push((token, None)),
            _ => {}
        }
    }
    assert_eq!(outcomes[0], (late, None), "nothing new is taken");
    assert!(matches!(&outcomes[1], (t, Some(SegmentOutcome::Accepted(_))) if *t == token));
    let status = alone
        .is(|status| matches!(status, ChannelStatus::Down { .. }))
        .await;
    assert_eq!(
        status,
        ChannelStatus::Down {
            cause: "receiver: connection closed by peer".to_owned()
        }
    );
    alone.is(ChannelStatus::is_up).await;
    assert_eq!(alone.carrier.ledger(|ledger| ledger.binds), 4);
    alone.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_binds_of_an_account_start_and_come_back_at_moments_of_their_own() {
    let alone = Alone::new(SmscScript::default(), |account| {
        account.binds = 4;
        account.bind = BindMode::TransmitterReceiver;
    });
    alone.carrier.wait_for(|ledger| ledger.bound == 8).await;
    let times = |from: usize| -> Vec<u128> {
        let made = alone.cuts.made.lock().unwrap();
        made[from..]
            .iter()
            .map(|(at, _)| at.as_millis() / 10)
            .collect()
    };
    assert_eq!(times(0), [0, 0, 25, 25, 50, 50, 75, 75]);
    alone.carrier.disconnect_all();
    alone.carrier.wait_for(|ledger| ledger.binds == 16).await;
    let mut back = times(8);
    back.dedup();
    assert!(back.len() >= 4, "{back:?}");
    alone.end().await;
}
