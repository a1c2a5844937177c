//! Receipts: matched in either order, in any writing, once.

use std::time::Duration;

use super::on_every_engine;
use super::world::{World, accepted, receipt, shop};
use crate::domain::fixtures::{at, in_parts, message, message_id, number};
use crate::domain::message::Cause;
use crate::domain::receipt::ReceiptState;
use crate::domain::status::Status;
use crate::store::{ReceiptReport, Receiving};

on_every_engine! {
    a_receipt_is_matched_once_and_its_repetition_changes_nothing,
    receipt_before_binding_is_merged_on_binding,
    receipts_and_bindings_of_one_group_meet,
    a_parked_receipt_survives_reopening,
    a_receipt_in_any_writing_of_the_reference_finds_its_message,
    a_parked_receipt_in_any_writing_of_the_reference_finds_its_message,
    the_handset_decides_between_forms_of_a_reference,
    a_rewritten_handset_does_not_hide_the_exact_reference,
    accounts_do_not_share_references,
    every_part_has_its_own_receipt,
    a_late_receipt_lifts_a_message_out_of_the_history,
    receipts_under_one_unknown_reference_are_bounded,
    a_reference_used_again_belongs_to_the_newer_message,
}

fn status_of(receiving: &Receiving) -> Option<Status> {
    match receiving {
        Receiving::Matched(change) => Some(change.message.status()),
        Receiving::Duplicate | Receiving::Parked => None,
    }
}

async fn a_receipt_is_matched_once_and_its_repetition_changes_nothing(world: World) {
    let store = world.open(at(0));
    store.sends(message(1), "abc", at(1)).await;
    let delivered = receipt("abc", ReceiptState::Delivered);
    let first = store.receives(delivered.clone(), at(2)).await;
    assert_eq!(status_of(&first), Some(Status::Delivered));
    let after = store.message(&shop(), message_id(1)).await.unwrap();
    for _ in 0..3 {
        let again = store.receives(delivered.clone(), at(3)).await;
        assert!(matches!(again, Receiving::Duplicate));
    }
    assert_eq!(store.message(&shop(), message_id(1)).await.unwrap(), after);
    world.finish(store).await;
}

async fn receipt_before_binding_is_merged_on_binding(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let taken = store.claims(1, at(1)).await.remove(0);
    let early = receipt("abc", ReceiptState::Delivered);
    let parked = store.receives(early.clone(), at(2)).await;
    assert!(matches!(parked, Receiving::Parked));
    let repeated = store.receives(early, at(2)).await;
    assert!(matches!(repeated, Receiving::Duplicate));
    assert_eq!(store.gauges(at(2)).orphans, 1);
    let change = store.reports(accepted(&taken, 0, "abc"), at(3)).await;
    let change = change.unwrap();
    assert_eq!(change.transition.from, Status::Pending);
    assert_eq!(change.transition.to, Status::Delivered);
    assert_eq!(change.message.revision, 2, "sent, then delivered");
    assert_eq!(store.gauges(at(3)).orphans, 0);
    world.finish(store).await;
}

async fn receipts_and_bindings_of_one_group_meet(world: World) {
    let (store, probe) = world.open_probed(at(0));
    store.takes((0..20).map(message).collect()).await;
    let taken = store.claims(20, at(1)).await;
    // Shut, so that all of it waits for the writer and is taken as one group.
    probe.shut();
    let mut calls = tokio::task::JoinSet::new();
    for (n, message) in taken.into_iter().enumerate() {
        let reference = format!("ref{n}");
        let (one, other) = (store.clone(), store.clone());
        let delivered = receipt(&reference, ReceiptState::Delivered);
        let bind = async move {
            one.reports(accepted(&message, 0, &reference), at(2)).await;
        };
        let tell = async move {
            other.receives(delivered, at(2)).await;
        };
        if n % 2 == 0 {
            calls.spawn(bind);
            calls.spawn(tell);
        } else {
            calls.spawn(tell);
            calls.spawn(bind);
        }
    }
    tokio::task::yield_now().await;
    probe.open();
    calls.join_all().await;
    for n in 0..20 {
        let message = store.message(&shop(), message_id(n)).await.unwrap();
        assert_eq!(message.status(), Status::Delivered, "message {n}");
    }
    assert_eq!(store.gauges(at(3)).orphans, 0);
    drop(probe);
    world.finish(store).await;
}

async fn a_parked_receipt_survives_reopening(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    store
        .receives(receipt("abc", ReceiptState::Delivered), at(1))
        .await;
    let store = world.reopen(store, at(2)).await;
    assert_eq!(store.gauges(at(2)).orphans, 1);
    let taken = store.claims(1, at(3)).await.remove(0);
    let change = store.reports(accepted(&taken, 0, "abc"), at(3)).await;
    assert_eq!(change.unwrap().message.status(), Status::Delivered);
    world.finish(store).await;
}

/// What a carrier answered, and how it wrote the same id in the receipt.
const WRITINGS: [(&str, &str); 7] = [
    ("5fa8", "5fa8"),
    ("5FA8", "5fa8"),
    ("0000012345", "12345"),
    ("12345", "0000012345"),
    ("1E240", "123456"),
    ("123456", "1E240"),
    ("0000001e240", "0123456"),
];

async fn a_receipt_in_any_writing_of_the_reference_finds_its_message(world: World) {
    for (n, (answered, reported)) in (0..).zip(WRITINGS) {
        // A store of its own, because some of these are writings of one number.
        let world = if n == 0 { &world } else { &World::memory() };
        let store = world.open(at(0));
        store.sends(message(n), answered, at(1)).await;
        let outcome = store
            .receives(receipt(reported, ReceiptState::Delivered), at(2))
            .await;
        assert_eq!(
            status_of(&outcome),
            Some(Status::Delivered),
            "{answered} reported as {reported}"
        );
        world.finish(store).await;
    }
}

async fn a_parked_receipt_in_any_writing_of_the_reference_finds_its_message(world: World) {
    for (n, (answered, reported)) in (0..).zip(WRITINGS) {
        let world = if n == 0 { &world } else { &World::memory() };
        let store = world.open(at(0));
        store
            .receives(receipt(reported, ReceiptState::Delivered), at(1))
            .await;
        let message = store.sends(message(n), answered, at(2)).await;
        assert_eq!(
            message.status(),
            Status::Delivered,
            "{answered} reported as {reported}"
        );
        assert_eq!(store.gauges(at(2)).orphans, 0);
        world.finish(store).await;
    }
}

async fn the_handset_decides_between_forms_of_a_reference(world: World) {
    let store = world.open(at(0));
    // 0x10 is 16: either message may be meant by "16".
    store.sends(message(1), "16", at(1)).await;
    store.sends(message(2), "10", at(1)).await;
    for (n, handset) in [(2, number(2)), (1, number(1))] {
        let report = ReceiptReport {
            handset: Some(handset),
            ..receipt("16", ReceiptState::Delivered)
        };
        match store.receives(report, at(2)).await {
            Receiving::Matched(change) => assert_eq!(change.message.id, message_id(n)),
            other => panic!("{other:?}"),
        }
    }
    world.finish(store).await;
}

async fn a_rewritten_handset_does_not_hide_the_exact_reference(world: World) {
    let store = world.open(at(0));
    store.sends(message(1), "900", at(1)).await;
    let rewritten = ReceiptReport {
        handset: Some(number(555)),
        ..receipt("900", ReceiptState::Delivered)
    };
    let outcome = store.receives(rewritten, at(2)).await;
    assert_eq!(status_of(&outcome), Some(Status::Delivered));
    world.finish(store).await;
}

async fn accounts_do_not_share_references(world: World) {
    let store = world.open(at(0));
    store.sends(message(1), "abc", at(1)).await;
    let elsewhere = ReceiptReport {
        account: "b".into(),
        ..receipt("abc", ReceiptState::Delivered)
    };
    let outcome = store.receives(elsewhere, at(2)).await;
    assert!(matches!(outcome, Receiving::Parked));
    world.finish(store).await;
}

async fn every_part_has_its_own_receipt(world: World) {
    let store = world.open(at(0));
    store.takes(vec![in_parts(1, 3)]).await;
    let taken = store.claims(1, at(1)).await.remove(0);
    let reports = (0..3)
        .map(|part| accepted(&taken, part, &format!("part{part}")))
        .collect();
    store.report(reports, at(1)).await.unwrap();
    let mut statuses = Vec::new();
    for part in [2, 0, 0, 1] {
        let report = receipt(&format!("part{part}"), ReceiptState::Delivered);
        store.receives(report, at(2)).await;
        let message = store.message(&shop(), taken.id).await.unwrap();
        statuses.push(message.status());
    }
    use Status::{Delivered, Sent};
    assert_eq!(statuses, [Sent, Sent, Sent, Delivered]);
    world.finish(store).await;
}

async fn a_late_receipt_lifts_a_message_out_of_the_history(world: World) {
    let store = world.open(at(0));
    let sent = store.sends(message(1), "abc", at(1)).await;
    let end = sent.deadline().unwrap();
    let ended = store.time_out(end, 10).await.unwrap();
    assert_eq!(ended[0].message.reason(), Some(Cause::NoReceipt));
    let store = world.reopen(store, end).await;
    assert_eq!(store.gauges(end).live, 0);
    let late = end + Duration::from_hours(3);
    let outcome = store
        .receives(receipt("abc", ReceiptState::Delivered), late)
        .await;
    assert_eq!(status_of(&outcome), Some(Status::Delivered));
    assert_eq!(store.gauges(late).live, 0);
    world.finish(store).await;
}

async fn receipts_under_one_unknown_reference_are_bounded(world: World) {
    let store = world.open(at(0));
    let mut parked = 0;
    for n in 0..100 {
        let mut report = receipt("abc", ReceiptState::Enroute);
        report.receipt.error = Some(format!("{n}"));
        if matches!(store.receives(report, at(1)).await, Receiving::Parked) {
            parked += 1;
        }
    }
    assert_eq!(parked, 16);
    assert_eq!(store.gauges(at(1)).orphans, 1);
    world.finish(store).await;
}

async fn a_reference_used_again_belongs_to_the_newer_message(world: World) {
    let store = world.open(at(0));
    store.sends(message(1), "7", at(1)).await;
    store
        .receives(receipt("7", ReceiptState::Delivered), at(2))
        .await;
    store.sends(message(2), "7", at(3)).await;
    let outcome = store
        .receives(receipt("7", ReceiptState::Undeliverable), at(4))
        .await;
    assert_eq!(status_of(&outcome), Some(Status::Failed));
    let first = store.message(&shop(), message_id(1)).await.unwrap();
    assert_eq!(first.status(), Status::Delivered);
    world.finish(store).await;
}
