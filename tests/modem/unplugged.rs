//! A modem that is pulled out, or starts again, in any state: nothing is lost, and nothing leaves
//! twice but what is marked as possibly doubled.

use std::time::Duration;

use relais::domain::id::MessageId;
use relais::domain::message::Message;
use relais::domain::status::Status;
use relais::sim::modem::{Fault, FaultKind, Ledger, ModemScript, Moment, Reports};

use crate::gateway::{Gateway, NUMBER, Rack, commands, report, seen, soon};

/// What became of a few messages, one of which met the fault.
#[derive(Debug, PartialEq, Eq)]
struct Fates {
    /// Parts that left more than once.
    doubled: usize,
    /// Messages that are marked as possibly doubled.
    marked: usize,
}

fn quick() -> ModemScript {
    ModemScript {
        latency_ms: Some(2),
        reset_ms: 100,
        reports: Reports {
            sent: false,
            ..Reports::default()
        },
        ..ModemScript::default()
    }
}

fn fault(kind: FaultKind, moment: Moment, at_submit: u64, taken: bool) -> Fault {
    Fault {
        at_submit: Some(at_submit),
        moment,
        kind,
        for_ms: Some(100),
        taken,
        ..Fault::default()
    }
}

/// Six messages, two of them of two parts.
async fn some(gateway: &Gateway) -> Vec<MessageId> {
    let mut ids = Vec::new();
    for n in 0..6 {
        let long = n % 3 == 1;
        let text = format!("{n:03} ").repeat(if long { 50 } else { 2 });
        ids.push(gateway.send(&format!("+3361200000{n}"), &text).await);
    }
    ids
}

/// Waits until all are sent, and looks at what left how often.
async fn fates(rack: &Rack, gateway: &Gateway, ids: &[MessageId]) -> Fates {
    let mut fates = Fates {
        doubled: 0,
        marked: 0,
    };
    for id in ids {
        let gone = |message: &Message| message.status() != Status::Pending;
        let message = gateway.until(*id, "sent", gone).await;
        assert_eq!(message.status(), Status::Sent, "{message:#?}");
        fates.marked += usize::from(message.maybe_duplicate);
        for part in message.current_plan().slices(&message.text) {
            let copies = rack.copies(part);
            assert!(copies > 0, "lost: {message:#?}");
            assert!(
                copies == 1 || message.maybe_duplicate,
                "{copies} copies of what is not marked: {message:#?}"
            );
            assert!(copies <= 2, "{copies} copies: {message:#?}");
            fates.doubled += copies - 1;
        }
    }
    fates
}

/// Meets the fault at a first part, and at the second part of a longer text.
async fn meets(kind: FaultKind, moment: Moment, taken: bool) -> [Fates; 2] {
    let met = async |at_submit| {
        let script = ModemScript {
            faults: vec![fault(kind, moment, at_submit, taken)],
            ..quick()
        };
        let rack = Rack::one(script);
        let gateway = rack.gateway().await;
        let ids = some(&gateway).await;
        let fates = fates(&rack, &gateway, &ids).await;
        // Behind an answer it comes a moment later, when all may have left.
        let met = rack.first().wait_for(|ledger| ledger.boots == 2);
        soon("it meets the fault", met).await;
        gateway.stop().await;
        rack.unplug_all().await;
        fates
    };
    tokio::join!(met(1), met(3)).into()
}

const CLEAR: Fates = Fates {
    doubled: 0,
    marked: 0,
};

#[tokio::test]
async fn unplugged_before_the_prompt_nothing_is_in_doubt() {
    for met in meets(FaultKind::Unplug, Moment::Prompt, false).await {
        assert_eq!(met, CLEAR);
    }
}

#[tokio::test]
async fn unplugged_at_the_prompt_nothing_leaves_twice() {
    for met in meets(FaultKind::Unplug, Moment::Written, false).await {
        // Whether the last octet was written before the port went is not always to be known.
        assert_eq!(met.doubled, 0);
        assert!(met.marked <= 1, "{met:?}");
    }
}

#[tokio::test]
async fn unplugged_with_the_message_lost_it_leaves_after_its_rest_and_is_marked() {
    for met in meets(FaultKind::Unplug, Moment::Submitted, false).await {
        let expected = Fates {
            doubled: 0,
            marked: 1,
        };
        assert_eq!(met, expected);
    }
}

#[tokio::test]
async fn unplugged_with_the_message_sent_and_no_report_only_that_one_leaves_twice_and_is_marked() {
    for met in meets(FaultKind::Unplug, Moment::Submitted, true).await {
        let expected = Fates {
            doubled: 1,
            marked: 1,
        };
        assert_eq!(met, expected);
    }
}

#[tokio::test]
async fn unplugged_behind_the_answer_only_the_next_message_can_be_in_doubt() {
    for met in meets(FaultKind::Unplug, Moment::Answered, true).await {
        assert!(met.marked <= 1, "{met:?}");
    }
}

#[tokio::test]
async fn restarted_in_any_state_it_is_set_up_again_and_only_doubt_doubles() {
    let reset = |moment, taken| meets(FaultKind::Reset, moment, taken);
    let (before, lost, sent, behind) = tokio::join!(
        reset(Moment::Prompt, false),
        reset(Moment::Submitted, false),
        reset(Moment::Submitted, true),
        reset(Moment::Answered, true),
    );
    let fates = |doubled, marked| Fates { doubled, marked };
    assert_eq!(before, [CLEAR, CLEAR]);
    assert_eq!(lost, [fates(0, 1), fates(0, 1)]);
    assert_eq!(sent, [fates(1, 1), fates(1, 1)]);
    // The next one may be under way when it happens.
    assert!(behind.iter().all(|met| met.marked <= 1), "{behind:?}");
}

/// A gateway whose doubtful message rests for as long as the test could last.
async fn patient(rack: &Rack) -> Gateway {
    let mut policy = rack.policy();
    for rules in policy.modems.values_mut() {
        rules.in_doubt_grace = Duration::from_mins(30);
    }
    rack.gateway_with(policy, |_| {}).await
}

#[tokio::test]
async fn a_status_report_settles_a_doubtful_message_without_a_second_copy() {
    let script = ModemScript {
        faults: vec![fault(FaultKind::Unplug, Moment::Submitted, 1, true)],
        ..quick()
    };
    let rack = Rack::one(script);
    let gateway = patient(&rack).await;
    let id = gateway.send(NUMBER, "Bonjour").await;
    let modem = rack.first();
    seen(modem, "the message", |ledger| ledger.sent_total == 1).await;
    let doubtful = |message: &Message| gateway.engine.why(message).unwrap().0 == "in_doubt";
    gateway.until(id, "in doubt", doubtful).await;
    seen(modem, "the next start", |ledger| ledger.boots == 2).await;
    // Set up again, and listening.
    let listens = |ledger: &Ledger| commands(ledger, "AT+CSQ") >= 3;
    seen(modem, "the modem being asked how it is", listens).await;
    let about = modem.ledger(|ledger| report(ledger.sent().next().unwrap(), 0x00));
    modem.inject_tpdu(&about, true);
    let message = gateway.becomes(id, Status::Delivered).await;
    assert!(!message.maybe_duplicate);
    assert_eq!(rack.copies("Bonjour"), 1);
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_report_that_fails_a_doubtful_message_ends_it_without_a_second_copy() {
    let script = ModemScript {
        faults: vec![fault(FaultKind::Unplug, Moment::Submitted, 1, true)],
        ..quick()
    };
    let rack = Rack::one(script);
    let gateway = patient(&rack).await;
    let id = gateway.send(NUMBER, "Bonjour").await;
    let modem = rack.first();
    let listens = |ledger: &Ledger| ledger.boots == 2 && commands(ledger, "AT+CSQ") >= 3;
    seen(modem, "the modem being asked how it is", listens).await;
    let about = modem.ledger(|ledger| report(ledger.sent().next().unwrap(), 0x41));
    modem.inject_tpdu(&about, true);
    gateway.becomes(id, Status::Failed).await;
    assert_eq!(rack.copies("Bonjour"), 1);
    gateway.stop().await;
    rack.unplug_all().await;
}

/// Pulls the modem out as soon as it has been given `command`, in the middle of what it waits for,
/// and plugs it in again.
async fn unplugged_at(command: &str) {
    let script = ModemScript {
        latency_ms: Some(30),
        ..quick()
    };
    let rack = Rack::one(script);
    let modem = rack.first();
    let gateway = rack.gateway().await;
    let given = |ledger: &Ledger| commands(ledger, command) > 0;
    seen(modem, command, given).await;
    modem.unplug();
    let ids = some(&gateway).await;
    modem.replug();
    assert_eq!(fates(&rack, &gateway, &ids).await, CLEAR, "{command}");
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn unplugged_during_set_up_it_is_set_up_when_it_is_back() {
    tokio::join!(
        unplugged_at("ATE0"),
        unplugged_at("AT+CPIN?"),
        unplugged_at("AT+CPMS="),
        unplugged_at("AT+CNMI=2"),
        unplugged_at("AT+COPS?"),
    );
}

#[tokio::test]
async fn unplugged_during_a_sweep_it_is_swept_when_it_is_back() {
    let script = ModemScript {
        latency_ms: Some(30),
        ..quick()
    };
    let rack = Rack::one(script);
    let modem = rack.first();
    let gateway = rack.gateway().await;
    gateway.up("a").await;
    let sweeps = |ledger: &Ledger| commands(ledger, "AT+CMGL");
    let before = modem.ledger(sweeps);
    seen(modem, "a sweep", |ledger| sweeps(ledger) > before).await;
    modem.unplug();
    // It comes while nobody is there to be told.
    modem.inject("+33687654321", "Oui");
    modem.replug();
    let received = async {
        while gateway.received().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("what came meanwhile", received).await;
    let ids = some(&gateway).await;
    assert_eq!(fates(&rack, &gateway, &ids).await, CLEAR);
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn unplugged_while_idle_and_back_on_the_same_link_it_goes_on() {
    let rack = Rack::one(quick());
    let modem = rack.first();
    let gateway = rack.gateway().await;
    for _ in 0..3 {
        gateway.up("a").await;
        modem.unplug();
        let mut status = gateway.channel("a").status.clone();
        let down = status.wait_for(|status| !status.is_up());
        soon("the loss is noticed", down).await.unwrap();
        modem.replug();
    }
    gateway.up("a").await;
    let ids = some(&gateway).await;
    assert_eq!(fates(&rack, &gateway, &ids).await, CLEAR);
    assert!(gateway.word("a").recoveries.reopened >= 3);
    gateway.stop().await;
    rack.unplug_all().await;
}
