//! The ESME driver against the simulated SMSC: in memory under paused time, and over TCP.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashSet, VecDeque};

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use super::*;
use crate::channel::smpp::{BindMode, SmppConfig, start as start_tcp, start_on};
use crate::channel::{ChannelEvent, ChannelHandle, ChannelStatus, SegmentOutcome, SubmitRequest};
use crate::domain::event::Rejection;
use crate::domain::id::MessageId;
use crate::domain::message::{Doubt, Token};
use crate::domain::msisdn::Msisdn;
use crate::domain::receipt::ReceiptState;
use crate::domain::sender::Sender;
use crate::domain::time::Timestamp;
use crate::pdu::segment;

mod links;
mod scripts;

const DEADLINE: Duration = Duration::from_secs(600);

struct World {
    smsc: SmscHandle,
    channel: ChannelHandle,
    task: JoinHandle<()>,
    events: mpsc::Receiver<ChannelEvent>,
    stop: CancellationToken,
    clock: Clock,
    messages: u16,
    /// Later parts of what was submitted.
    rest: HashMap<Token, VecDeque<SubmitRequest>>,
}

fn config() -> SmppConfig {
    SmppConfig::new("acme", "smsc.invalid", 2775, "relais", "secret")
}

fn world(script: SmscScript, change: impl FnOnce(&mut SmppConfig)) -> World {
    let clock = Clock::starting_at(Timestamp(1_795_000_000_000));
    let random = Random::seeded(7);
    let smsc = start(script, &clock, &random);
    let mut config = config();
    change(&mut config);
    let (sender, events) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let connector = smsc.connector();
    let mut channels = start_on(connector, Arc::new(config), &clock, &random, &sender, &stop);
    let (channel, task) = channels.remove(0);
    World {
        smsc,
        channel,
        task,
        events,
        stop,
        clock,
        messages: 0,
        rest: HashMap::new(),
    }
}

fn receiptless() -> SmscScript {
    let mut script = SmscScript::default();
    script.receipts.state = ScriptedState::None;
    script
}

impl World {
    async fn is(&mut self, wanted: impl Fn(&ChannelStatus) -> bool) -> ChannelStatus {
        let waiting = self.channel.status.wait_for(|status| wanted(status));
        tokio::time::timeout(DEADLINE, waiting)
            .await
            .expect("in time")
            .expect("running")
            .clone()
    }

    async fn up(&mut self) {
        self.is(ChannelStatus::is_up).await;
    }

    /// One request a part.
    fn requests(&mut self, to: &str, text: &str) -> VecDeque<SubmitRequest> {
        self.messages += 1;
        let plan = segment::plan(text);
        let random = [&self.messages.to_be_bytes()[..], &[0; 8]].concat();
        let token = Token {
            message: MessageId::new(Timestamp(1), random.try_into().unwrap()),
            attempt: 0,
            claim: 1,
        };
        (0..)
            .zip(plan.slices(text))
            .map(|(segment, slice)| SubmitRequest {
                token,
                to: Msisdn::from_e164_digits(to).unwrap(),
                from: Some(Sender::Alphanumeric("CCAS".into())),
                alphabet: plan.alphabet,
                segment,
                payload: segment::octets(slice, plan.alphabet).into(),
                total: u8::try_from(plan.count()).unwrap(),
                reference: self.messages % 256,
                expires_at: self.clock.now() + Duration::from_hours(48),
                priority: 1,
                relayed: None,
            })
            .collect()
    }

    /// Sends as the engine does: a permit first, then the first part.
    async fn submit(&mut self, to: &str, text: &str) -> (Token, OwnedSemaphorePermit) {
        let permit = self.channel.window.clone().acquire_owned().await.unwrap();
        let mut parts = self.requests(to, text);
        let first = parts.pop_front().unwrap();
        let token = first.token;
        self.rest.insert(token, parts);
        self.hand_over(first);
        (token, permit)
    }

    fn hand_over(&self, request: SubmitRequest) {
        self.channel
            .requests
            .try_send(request)
            .expect("a permit is a place in the queue");
    }

    /// The next event. As the engine does, an accepted part is followed by the next one.
    async fn event(&mut self) -> ChannelEvent {
        let event = tokio::time::timeout(DEADLINE, self.events.recv())
            .await
            .expect("in time")
            .expect("running");
        if let ChannelEvent::Segment { token, outcome, .. } = &event {
            match outcome {
                SegmentOutcome::Accepted(_) => {
                    let parts = self.rest.get_mut(token);
                    if let Some(next) = parts.and_then(VecDeque::pop_front) {
                        self.hand_over(next);
                    }
                }
                _ => drop(self.rest.remove(token)),
            }
        }
        event
    }

    /// The next event, which is about a segment.
    async fn outcome(&mut self) -> (Token, u16, SegmentOutcome) {
        match self.event().await {
            ChannelEvent::Segment {
                token,
                segment,
                outcome,
                ..
            } => (token, segment, outcome),
            other => panic!("{other:?}"),
        }
    }

    async fn ledger(&self, wanted: impl Fn(&Ledger) -> bool) {
        tokio::time::timeout(DEADLINE, self.smsc.wait_for(wanted))
            .await
            .expect("in time");
    }

    async fn end(self) {
        self.stop.cancel();
        let World {
            mut events,
            task,
            smsc,
            ..
        } = self;
        let drain = async { while events.recv().await.is_some() {} };
        tokio::time::timeout(DEADLINE, async { tokio::join!(drain, task).1 })
            .await
            .expect("in time")
            .expect("the driver does not panic");
        smsc.shutdown().await;
    }
}

fn accepted(outcome: &SegmentOutcome) -> &str {
    match outcome {
        SegmentOutcome::Accepted(id) => id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_one_part_is_taken_and_written_as_it_should_be() {
    let mut world = world(receiptless(), |_| {});
    world.up().await;
    let (token, _permit) = world.submit("33612345678", "Bonjour [€]").await;
    let (reported, segment, outcome) = world.outcome().await;
    assert_eq!((reported, segment, accepted(&outcome)), (token, 0, "1"));
    world.smsc.ledger(|ledger| {
        let entry = &ledger.submitted[0];
        assert_eq!(
            entry.source,
            crate::channel::smpp::deliver::Address {
                ton: 5,
                npi: 0,
                text: "CCAS".into()
            }
        );
        assert_eq!((entry.destination.ton, entry.destination.npi), (1, 1));
        assert_eq!(
            (entry.text.as_str(), entry.data_coding, entry.esm_class),
            ("Bonjour [€]", 0, 0)
        );
        assert_eq!(
            (entry.validity.as_str(), entry.registered_delivery),
            ("000002000000000R", 1)
        );
        assert_eq!((entry.priority, entry.outstanding), (1, 1));
        assert_eq!(ledger.texts()["33612345678"], ["Bonjour [€]"]);
    });
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn messages_of_three_parts_arrive_exactly_and_in_order() {
    let mut world = world(receiptless(), |_| {});
    world.up().await;
    let gsm = "Le service d'eau sera coupé de 8 h à 12 h {[€]} ".repeat(8);
    let emoji = "🎂 Joyeux anniversaire 👩‍👩‍👧 ! ".repeat(5);
    for (text, coding) in [(&gsm, 0), (&emoji, 8)] {
        let (token, permit) = world.submit("33612345678", text).await;
        let parts = u16::try_from(segment::plan(text).count()).unwrap();
        assert_eq!(parts, 3);
        for part in 0..parts {
            let (reported, segment, outcome) = world.outcome().await;
            accepted(&outcome);
            assert_eq!((reported, segment), (token, part));
        }
        drop(permit);
        world.smsc.ledger(|ledger| {
            let last = ledger.submitted.back().unwrap();
            assert_eq!((last.data_coding, last.esm_class), (coding, 0x40));
            assert_eq!(ledger.texts()["33612345678"].last(), Some(text));
            assert_eq!(ledger.widest(), 1, "a permit is one unanswered submit_sm");
        });
    }
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_window_is_filled_and_never_exceeded() {
    let mut script = receiptless();
    script.response_delay_ms = 50;
    let mut world = world(script, |config| config.window = 7);
    world.up().await;
    let mut permits = HashMap::new();
    let (mut sent, mut done) = (0, 0);
    while done < 100 {
        while sent < 100 && world.channel.window.available_permits() > 0 {
            let (token, permit) = world.submit("33612345678", &"x".repeat(200)).await;
            permits.insert(token, permit);
            sent += 1;
        }
        let (token, segment, outcome) = world.outcome().await;
        accepted(&outcome);
        if segment == 1 {
            permits.remove(&token);
            done += 1;
        }
    }
    world.smsc.ledger(|ledger| {
        assert_eq!((ledger.widest(), ledger.submitted_total), (7, 200));
        assert_eq!(ledger.texts()["33612345678"].len(), 100);
    });
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_receipt_may_come_before_the_response_and_is_answered_only_after_the_ack() {
    let mut script = SmscScript::default();
    script.receipts.before_response = true;
    script.ids.reported = IdForm::Hex;
    script.ids.start = 255;
    let mut world = world(script, |_| {});
    world.up().await;
    let (token, _permit) = world.submit("33612345678", "Bonjour").await;
    let ChannelEvent::Receipt {
        account,
        channel,
        reference,
        other: None,
        handset,
        receipt,
        taken: None,
        ack,
    } = world.event().await
    else {
        panic!()
    };
    assert_eq!((account.as_str(), channel.as_str()), ("acme", "acme#1"));
    assert_eq!(
        (reference.as_str(), handset),
        ("ff", Msisdn::from_e164_digits("33612345678"))
    );
    assert_eq!(
        (receipt.state, receipt.error.as_deref()),
        (ReceiptState::Delivered, Some("000"))
    );
    let (reported, _, outcome) = world.outcome().await;
    assert_eq!((reported, accepted(&outcome)), (token, "255"));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.smsc.ledger(|ledger| ledger.delivered[0].answer), None);
    ack.taken();
    world
        .ledger(|ledger| ledger.delivered[0].answer == Some(0))
        .await;
    world.smsc.ledger(|ledger| {
        assert!(ledger.delivered[0].took.unwrap() >= Duration::from_secs(10));
    });
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_stored_comes_again() {
    let mut world = world(SmscScript::default(), |_| {});
    world.up().await;
    world.smsc.inject(&MoMessage {
        from: "33612345678".into(),
        to: "36111".into(),
        text: "STOP à tous 🙂".into(),
    });
    let ChannelEvent::Inbound {
        from,
        to,
        text,
        part,
        ack,
        ..
    } = world.event().await
    else {
        panic!()
    };
    assert_eq!(
        (from.as_str(), to.as_str(), text.as_str()),
        ("+33612345678", "36111", "STOP à tous 🙂")
    );
    assert!(part.is_none());
    ack.not_now();
    let ChannelEvent::Inbound { ack, .. } = world.event().await else {
        panic!()
    };
    world
        .smsc
        .ledger(|ledger| assert_eq!(ledger.delivered[0].answer, Some(0x64)));
    ack.taken();
    world.ledger(|ledger| ledger.acknowledged_total == 1).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn receipts_of_every_form_are_read() {
    let forms: [fn(&mut Receipts); 8] = [
        |_| {},
        |receipts| receipts.form = ReceiptForm::Text,
        |receipts| receipts.form = ReceiptForm::Tlv,
        |receipts| receipts.data_sm = true,
        |receipts| (receipts.data_sm, receipts.form) = (true, ReceiptForm::Tlv),
        |receipts| (receipts.payload, receipts.form) = (true, ReceiptForm::Text),
        |receipts| (receipts.seconds, receipts.form) = (true, ReceiptForm::Text),
        |receipts| {
            receipts.form = ReceiptForm::Text;
            receipts.template = "STAT:{stat} ERR:{err} ID:{id}".into();
        },
    ];
    for form in forms {
        let mut script = SmscScript::default();
        script.receipts.state = ScriptedState::Undeliverable;
        form(&mut script.receipts);
        let shown = format!("{:?}", script.receipts);
        let mut world = world(script, |_| {});
        world.up().await;
        let (_, _permit) = world.submit("33612345678", "Bonjour").await;
        accepted(&world.outcome().await.2);
        let ChannelEvent::Receipt {
            reference,
            handset,
            receipt,
            ack,
            ..
        } = world.event().await
        else {
            panic!("{shown}")
        };
        assert_eq!(
            (reference.as_str(), receipt.state),
            ("1", ReceiptState::Undeliverable),
            "{shown}"
        );
        assert!(handset.is_some(), "{shown}");
        ack.taken();
        world.ledger(|ledger| ledger.acknowledged_total == 1).await;
        world.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn receipts_of_parts_may_come_reversed_and_twice() {
    let mut script = SmscScript::default();
    script.receipts.reverse_parts = true;
    script.receipts.duplicate = true;
    script.receipts.form = ReceiptForm::Text;
    let mut world = world(script, |_| {});
    world.up().await;
    let (_, _permit) = world.submit("33612345678", &"x".repeat(400)).await;
    let mut references = Vec::new();
    let mut outcomes = 0;
    while references.len() < 6 || outcomes < 3 {
        match world.event().await {
            ChannelEvent::Receipt { reference, ack, .. } => {
                references.push(reference);
                ack.taken();
            }
            ChannelEvent::Segment { outcome, .. } => {
                accepted(&outcome);
                outcomes += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(references, ["3", "3", "2", "2", "1", "1"]);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_response_is_reported_after_the_doubt_and_the_rest_is_not_sent() {
    let mut script = receiptless();
    script.response_delay_ms = 40_000;
    let mut world = world(script, |config| {
        config.enquire_link = Duration::from_mins(10)
    });
    world.up().await;
    let (token, _permit) = world.submit("33612345678", &"x".repeat(200)).await;
    let (reported, segment, outcome) = world.outcome().await;
    assert_eq!((reported, segment), (token, 0));
    assert_eq!(outcome, SegmentOutcome::Unknown(Doubt::Timeout));
    let (reported, segment, outcome) = world.outcome().await;
    assert_eq!((reported, segment, accepted(&outcome)), (token, 0, "1"));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn refusals_keep_their_kind_and_end_the_request() {
    for (status, expected) in [
        (
            0x58,
            Rejection::Throttled("ESME_RTHROTTLED (0x00000058)".into()),
        ),
        (
            0x14,
            Rejection::Throttled("ESME_RMSGQFUL (0x00000014)".into()),
        ),
        (
            0x0B,
            Rejection::NumberInvalid("ESME_RINVDSTADR (0x0000000b)".into()),
        ),
        (
            0x08,
            Rejection::Temporary("ESME_RSYSERR (0x00000008)".into()),
        ),
        (
            0x4FF,
            Rejection::Temporary("status 0x000004ff (fault of the carrier's system)".into()),
        ),
    ] {
        let mut script = receiptless();
        script.rules = vec![Rule {
            suffix: "78".into(),
            status: Some(status),
            ..Rule::default()
        }];
        let mut world = world(script, |_| {});
        world.up().await;
        let (_, permit) = world.submit("33612345678", &"x".repeat(400)).await;
        let (_, segment, outcome) = world.outcome().await;
        assert_eq!((segment, outcome), (0, SegmentOutcome::Rejected(expected)));
        drop(permit);
        let (_, _permit) = world.submit("33612345600", "Bonjour").await;
        accepted(&world.outcome().await.2);
        assert_eq!(world.smsc.ledger(|ledger| ledger.submitted_total), 2);
        world.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_commands_and_one_malformed_pdu_keep_the_session() {
    let mut world = world(receiptless(), |_| {});
    world.up().await;
    let frame = |id: u32, body: &[u8]| {
        let length = u32::try_from(16 + body.len()).unwrap();
        let header = [length, id, 0, 4711];
        header
            .iter()
            .flat_map(|w| w.to_be_bytes())
            .chain(body.iter().copied())
            .collect::<Vec<u8>>()
    };
    world.smsc.inject_raw(
        &[
            frame(0x0777, b""),
            frame(5, b"\0\x01\x01ab"),
            frame(3, b"x"),
        ]
        .concat(),
    );
    let (_, _permit) = world.submit("33612345678", "Bonjour").await;
    accepted(&world.outcome().await.2);
    assert_eq!(world.smsc.ledger(|ledger| ledger.binds), 1);
    world.smsc.inject_raw(&[0xFF; 64]);
    world.is(|status| !status.is_up()).await;
    world.up().await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn beyond_the_bound_of_unacknowledged_the_queue_is_said_to_be_full() {
    let mut script = receiptless();
    script.deliver_window = 2_000;
    let mut world = world(script, |_| {});
    world.up().await;
    for number in 0..520 {
        world.smsc.inject(&MoMessage {
            from: "33612345678".into(),
            to: "36111".into(),
            text: format!("{number}"),
        });
    }
    let mut acks = Vec::new();
    for _ in 0..512 {
        let ChannelEvent::Inbound { ack, .. } = world.event().await else {
            panic!()
        };
        acks.push(ack);
    }
    world
        .ledger(|ledger| {
            ledger
                .delivered
                .iter()
                .filter(|d| d.answer == Some(0x14))
                .count()
                == 8
        })
        .await;
    for ack in acks {
        ack.taken();
    }
    for _ in 0..8 {
        let ChannelEvent::Inbound { ack, .. } = world.event().await else {
            panic!()
        };
        ack.taken();
    }
    world
        .ledger(|ledger| ledger.acknowledged_total == 520)
        .await;
    world.end().await;
}
