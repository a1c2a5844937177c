//! What becomes of a message of which nobody can tell whether the carrier took it, and that a part
//! which the carrier has answered is never sent again.
//!
//! The engine, the SMPP session and a simulated SMSC run in virtual time; the carrier's ledger is
//! what is judged.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use relais::clock::Clock;
use relais::domain::message::{Cause, Message};
use relais::domain::policy::{OnDoubt, Operator};
use relais::domain::privacy::Keeping;
use relais::domain::status::Status;
use relais::sim::smsc::{Ledger, Receipts, Rule, ScriptedState, SmscScript, SubmittedEntry};
use relais::store::embedded::Embedded;
use support::{Disk, Line, START, World, operator, policy};
use tokio::sync::watch;

const NUMBER: &str = "06 12 34 56 78";

/// Three parts.
fn long_text() -> String {
    "Le service d'eau sera coupé de 8 h à 12 h {[€]} ".repeat(8)
}

/// Takes everything, answers after `answer`, and reports nothing.
fn slow(answer: Duration) -> SmscScript {
    SmscScript {
        response_delay_ms: u64::try_from(answer.as_millis()).unwrap(),
        receipts: Receipts {
            state: ScriptedState::None,
            ..Receipts::default()
        },
        ..SmscScript::default()
    }
}

/// The numbers of the parts that the carrier took, in order of arrival.
fn parts(ledger: &Ledger) -> Vec<u8> {
    let part = |entry: &SubmittedEntry| entry.part.map_or(1, |part| part.index);
    ledger.taken().map(part).collect()
}

#[tokio::test(start_paused = true)]
async fn each_part_is_given_what_is_left_of_the_validity_when_it_leaves() {
    let world = World::new(slow(Duration::from_secs(20))).await;
    let id = world.send(NUMBER, &long_text()).await;
    world.until(id, Status::Sent).await;
    let validities: Vec<_> = world
        .carrier
        .ledger(|ledger| ledger.taken().map(|entry| entry.validity.clone()).collect());
    assert_eq!(
        validities,
        ["000002000000000R", "000001235940000R", "000001235920000R"]
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_of_three_parts_leaves_whole_when_the_gateway_stops() {
    let world = World::new(slow(Duration::from_secs(2))).await;
    let id = world.send(NUMBER, &long_text()).await;
    world
        .carrier_until(|ledger| ledger.submitted_total == 1)
        .await;
    let (carrier, engine) = (world.carrier.clone(), world.engine.clone());
    let mut changes = engine.listen();
    world.stop().await;
    assert_eq!(carrier.ledger(parts), [1, 2, 3]);
    let sent = changes.try_recv().unwrap();
    assert_eq!((sent.message.id, sent.message.status()), (id, Status::Sent));
    assert_eq!(engine.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_channel_goes_between_two_parts_keeps_the_part_that_was_answered() {
    let world = World::new(slow(Duration::from_secs(2))).await;
    let id = world.send(NUMBER, &long_text()).await;
    world
        .carrier_until(|ledger| ledger.submitted_total == 1)
        .await;
    world
        .carrier
        .change_script(|script| script.refuse_connections = true);
    world.carrier.unbind_all();
    tokio::time::sleep(Duration::from_mins(5)).await;
    let message = world.message(id).await;
    assert_eq!(world.engine.why(&message), Some(("no_channel", None)));
    assert_eq!((message.status(), message.tries), (Status::Pending, 0));
    assert_eq!(world.engine.under_way(), 0);
    world
        .carrier
        .change_script(|script| script.refuse_connections = false);
    world.until(id, Status::Sent).await;
    assert_eq!(world.carrier.ledger(parts), [1, 2, 3]);
    assert!(!world.message(id).await.maybe_duplicate);
    world.stop().await;
}

/// How the answer to a submission is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// It does not come in time.
    TimeOut,
    /// The connection goes first.
    Disconnect,
    /// The gateway is killed first.
    Kill,
}

const LOSSES: [Loss; 3] = [Loss::TimeOut, Loss::Disconnect, Loss::Kill];

/// A gateway over `disk`, with a carrier that does what `script` says.
async fn gateway(disk: &Disk, script: SmscScript, rule: OnDoubt, clock: &Clock) -> World {
    let operator = Operator {
        on_doubt: rule,
        ..operator()
    };
    let policy = watch::Sender::new(Arc::new(policy(operator)));
    let keeping = Keeping::all(Duration::from_hours(24 * 365));
    let store = Embedded::start(disk.clone(), policy.subscribe(), keeping, clock.now()).unwrap();
    let line = Line::new("carrier", script);
    World::around(Arc::new(store), vec![line], policy, clock.clone()).await
}

/// Takes the first `answered` submissions and answers them; what comes after is taken too, but its
/// answer is lost. From then on the carrier answers again. Says what the carriers saw, in order, and
/// what the message has come to.
async fn lose_one(
    text: &str,
    answered: u64,
    loss: Loss,
    rule: OnDoubt,
) -> (Vec<SubmittedEntry>, Message) {
    let (disk, clock) = (Disk::default(), Clock::starting_at(START));
    let (soon, late) = (1_000, 360_000_000);
    let world = gateway(&disk, slow(Duration::from_secs(1)), rule, &clock).await;
    let delays = |millis| {
        world
            .carrier
            .change_script(|script| script.response_delay_ms = millis);
    };
    if answered == 0 {
        delays(late);
    }
    let id = world.send(NUMBER, text).await;
    if answered > 0 {
        world
            .carrier_until(|ledger| ledger.submitted_total == answered)
            .await;
        delays(late);
    }
    world
        .carrier_until(|ledger| ledger.submitted_total == answered + 1)
        .await;
    delays(soon);
    let (world, before) = match loss {
        Loss::TimeOut => (world, Vec::new()),
        Loss::Disconnect => {
            world.carrier.disconnect_all();
            (world, Vec::new())
        }
        Loss::Kill => {
            let carriers = world.kill().await;
            let before = carriers[0].ledger(|ledger| ledger.taken().cloned().collect());
            let script = slow(Duration::from_secs(1));
            (gateway(&disk, script, rule, &clock).await, before)
        }
    };
    let end = match rule {
        OnDoubt::Fail => Status::Failed,
        OnDoubt::Resend => Status::Sent,
    };
    world.until(id, end).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    let after = world
        .carrier
        .ledger(|ledger| ledger.taken().cloned().collect());
    let message = world.message(id).await;
    world.stop().await;
    ([before, after].concat(), message)
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_sent_twice_is_sent_once_and_ends_as_doubtful() {
    for loss in LOSSES {
        let (sent, message) = lose_one("code 1234", 0, loss, OnDoubt::Fail).await;
        assert_eq!(sent.len(), 1, "{loss:?}");
        assert_eq!(message.reason(), Some(Cause::InDoubt), "{loss:?}");
        assert!(!message.maybe_duplicate, "{loss:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_after_a_doubt_says_that_it_may_be_a_duplicate() {
    for loss in LOSSES {
        let (sent, message) = lose_one("bonjour", 0, loss, OnDoubt::Resend).await;
        assert_eq!(sent.len(), 2, "{loss:?}");
        assert!(message.maybe_duplicate, "{loss:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_was_answered_is_never_sent_again() {
    for loss in LOSSES {
        let (sent, message) = lose_one(&long_text(), 1, loss, OnDoubt::Resend).await;
        let parts: Vec<_> = sent.iter().map(|entry| entry.part.unwrap().index).collect();
        assert_eq!(parts, [1, 2, 2, 3], "{loss:?}");
        let references = sent.iter().map(|entry| entry.part.unwrap().reference);
        assert!(references.collect::<HashSet<_>>().len() == 1, "{loss:?}");
        assert!(message.maybe_duplicate, "{loss:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_which_a_part_is_doubtful_sends_no_further_part_if_it_must_not_be_sent_twice()
{
    for loss in LOSSES {
        let (sent, message) = lose_one(&long_text(), 1, loss, OnDoubt::Fail).await;
        let parts: Vec<_> = sent.iter().map(|entry| entry.part.unwrap().index).collect();
        assert_eq!(parts, [1, 2], "{loss:?}");
        assert_eq!(message.reason(), Some(Cause::InDoubt), "{loss:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waited_behind_what_a_kill_cut_off_is_sent_once() {
    let (disk, clock) = (Disk::default(), Clock::starting_at(START));
    let never = slow(Duration::from_hours(1));
    let world = gateway(&disk, never, OnDoubt::Resend, &clock).await;
    let mut ids = Vec::new();
    for n in 0..400 {
        ids.push(world.send(&format!("+33600000{n:03}"), "bonjour").await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world
        .carrier_until(|ledger| ledger.submitted_total >= 10)
        .await;
    let carriers = world.kill().await;
    let before = carriers[0].ledger(|ledger| ledger.submitted_total);
    let world = gateway(&disk, slow(Duration::ZERO), OnDoubt::Resend, &clock).await;
    let mut marked = 0;
    for id in &ids {
        world.until(*id, Status::Sent).await;
        marked += u64::from(world.message(*id).await.maybe_duplicate);
    }
    let after = world.carrier.ledger(|ledger| ledger.submitted_total);
    assert_eq!((before, after), (10, 400));
    assert!((10..200).contains(&marked), "{marked} are marked");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_settles_a_doubtful_message_without_a_second_sending() {
    let mut script = slow(Duration::from_secs(35));
    script.receipts.state = ScriptedState::Delivered;
    let world = World::new(script).await;
    let id = world.send(NUMBER, "bonjour").await;
    tokio::time::sleep(Duration::from_secs(32)).await;
    let why = world.engine.why(&world.message(id).await);
    assert_eq!(why.unwrap().0, "in_doubt");
    world.until(id, Status::Delivered).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 1);
    assert!(!world.message(id).await.maybe_duplicate);
    let metrics = world.engine.metrics.render();
    let count = "relais_submissions_in_doubt_total{channel=\"carrier#1\"} 1";
    assert!(metrics.contains(count), "{metrics}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_came_before_the_late_answer_counts_once_the_answer_names_its_message() {
    let mut script = slow(Duration::from_secs(35));
    script.receipts.state = ScriptedState::Delivered;
    script.receipts.before_response = true;
    let world = World::new(script).await;
    let id = world.send(NUMBER, "bonjour").await;
    let took = world.until(id, Status::Delivered).await;
    assert!(took < Duration::from_secs(40), "{took:?}");
    assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 1);
    world.stop().await;
}

/// Refuses the first submission with `status`, too late.
fn refuses_late(status: u32) -> SmscScript {
    let rule = Rule {
        status: Some(status),
        times: Some(1),
        response_delay_ms: Some(35_000),
        ..Rule::default()
    };
    SmscScript {
        rules: vec![rule],
        ..slow(Duration::ZERO)
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_refusal_for_good_ends_the_message_without_a_second_sending() {
    for rule in [OnDoubt::Resend, OnDoubt::Fail] {
        let (disk, clock) = (Disk::default(), Clock::starting_at(START));
        let world = gateway(&disk, refuses_late(0x0B), rule, &clock).await;
        let id = world.send(NUMBER, "bonjour").await;
        tokio::time::sleep(Duration::from_hours(1)).await;
        let message = world.message(id).await;
        assert_eq!(message.reason(), Some(Cause::NumberInvalid), "{rule:?}");
        assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 1);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_refusal_for_now_is_tried_again_and_is_no_duplicate() {
    let world = World::new(refuses_late(0x08)).await;
    let id = world.send(NUMBER, "bonjour").await;
    world.until(id, Status::Sent).await;
    assert!(!world.message(id).await.maybe_duplicate);
    assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 2);
    world.stop().await;
}

/// In real time: what never rests would hold up any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_dies_is_no_way_and_what_would_take_it_takes_another() {
    let lines = ["a", "b"].map(|name| Line::new(name, SmscScript::default()));
    let route = vec![vec!["a".into()], vec!["b".into()]];
    let operator = Operator {
        failover_after: Duration::from_millis(100),
        ..Operator::named("default", route)
    };
    let mut world = World::over(lines.into(), policy(operator)).await;
    let first = world.send(NUMBER, "bonjour").await;
    world.until(first, Status::Delivered).await;
    assert_eq!(world.carriers[0].ledger(|it| it.submitted_total), 1);
    world.lose_driver(0).await;
    let second = world.send(NUMBER, "bonsoir").await;
    let arrives = world.until(second, Status::Delivered);
    let arrived = tokio::time::timeout(Duration::from_secs(20), arrives).await;
    assert!(arrived.is_ok(), "{:?}", world.message(second).await.state);
    assert_eq!(world.carriers[1].ledger(|it| it.submitted_total), 1);
    world.kill().await;
}
