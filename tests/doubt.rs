//! What becomes of a message of which nobody can tell whether the carrier took it, and that a part
//! which the carrier has answered is never sent again.
//!
//! The engine, the SMPP session and a simulated SMSC run in virtual time; the carrier's ledger is
//! what is judged.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use relais::domain::status::Status;
use relais::sim::smsc::{Ledger, Receipts, ScriptedState, SmscScript};
use support::World;

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
    let part = |entry: &relais::sim::smsc::SubmittedEntry| entry.part.map_or(1, |part| part.index);
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
