//! The writing of ids in receipts: learnt, remembered, and not taken for another one.

use super::on_every_engine;
use super::receipts::{status_of, writing_of};
use super::world::{World, accepted, receipt, shop, token};
use crate::domain::fixtures::{at, message, message_id};
use crate::domain::message::{Doubt, Message};
use crate::domain::receipt::{IdWriting, ReceiptState};
use crate::domain::status::Status;
use crate::store::{ReceiptReport, Receiving, Report, Store};

on_every_engine! {
    a_match_says_how_the_carrier_writes_its_ids,
    what_was_learnt_decides_where_the_handset_cannot,
    ids_of_one_digit_teach_nothing,
    in_a_long_queue_to_one_handset_what_leaves_is_asked_for,
    an_unsure_receipt_is_believed_once_all_to_the_handset_is_answered,
    where_an_answer_was_lost_a_short_id_in_another_base_is_not_believed,
    a_carrier_may_write_some_ids_in_one_way_and_some_in_another,
    a_receipt_that_overtook_its_answer_is_not_taken_for_another_number_base,
}

async fn a_match_says_how_the_carrier_writes_its_ids(world: World) {
    let cases = [
        ("5FA8z", "5FA8z", IdWriting::Same),
        ("5FA8y", "5fa8Y", IdWriting::Folded),
        ("000778x", "778x", IdWriting::Folded),
        ("1E240", "123456", IdWriting::Decimal),
        ("7654321", "74CBB1", IdWriting::Hexadecimal),
        ("0000ab1", "2737", IdWriting::Decimal),
    ];
    let store = world.open(at(0));
    for (n, (answered, reported, writing)) in (1..).zip(cases) {
        store.sends(message(n), answered, at(1)).await;
        let told = receipt(reported, ReceiptState::Delivered);
        let outcome = store.receives(told, at(2)).await;
        assert_eq!(
            writing_of(&outcome),
            Some(writing),
            "{answered}, {reported}"
        );
    }
    world.finish(store).await;
}

/// Messages whose receipts teach the store that the carrier of account `a` answers in hexadecimal and
/// reports in decimal.
async fn teach_decimal(store: &dyn Store, from: u64) {
    for n in from..from + 3 {
        store
            .sends(message(n), &format!("{:x}", 0xAB_0000 + n), at(1))
            .await;
        let told = receipt(&(0xAB_0000 + n).to_string(), ReceiptState::Delivered);
        let outcome = store.receives(told, at(1)).await;
        assert_eq!(writing_of(&outcome), Some(IdWriting::Decimal));
    }
    assert_eq!(store.writing(&"a".into()), Some(IdWriting::Decimal));
}

async fn what_was_learnt_decides_where_the_handset_cannot(world: World) {
    let store = world.open(at(0));
    teach_decimal(&*store, 10).await;
    // It is remembered.
    let store = world.reopen(store, at(1)).await;
    assert_eq!(store.writing(&"a".into()), Some(IdWriting::Decimal));
    assert_eq!(store.writing(&"b".into()), None);
    // 0x10 is 16, and 0x16 is 22: "16" may be the one or the other's.
    store.sends(message(1), "16", at(1)).await;
    store.sends(message(2), "10", at(1)).await;
    let told = receipt("16", ReceiptState::Delivered);
    match store.receives(told, at(2)).await {
        Receiving::Matched(change, IdWriting::Decimal) => {
            assert_eq!(change.message.id, message_id(2));
        }
        other => panic!("{other:?}"),
    }
    world.finish(store).await;
}

async fn ids_of_one_digit_teach_nothing(world: World) {
    let store = world.open(at(0));
    for n in 1..=9 {
        store.sends(message(n), &n.to_string(), at(1)).await;
        let told = receipt(&n.to_string(), ReceiptState::Delivered);
        store.receives(told, at(1)).await;
    }
    assert_eq!(store.writing(&"a".into()), None);
    world.finish(store).await;
}

/// To the handset of the first message.
fn to_the_first(n: u64) -> Message {
    Message {
        to: message(1).to,
        ..message(n)
    }
}

fn told(id: &str, state: ReceiptState) -> ReceiptReport {
    ReceiptReport {
        handset: Some(message(1).to),
        ..receipt(id, state)
    }
}

async fn a_receipt_that_overtook_its_answer_is_not_taken_for_another_number_base(world: World) {
    let store = world.open(at(0));
    // 0x20 is 32 and 0x32 is 50: before the answer, "32" is a way to write the first message's id.
    store.sends(message(1), "20", at(1)).await;
    for (n, id) in [(2, "32"), (3, "50")] {
        store.takes(vec![to_the_first(n)]).await;
        let taken = store.claims(1, at(3)).await.remove(0);
        let early = store
            .receives(told(id, ReceiptState::Delivered), at(3))
            .await;
        assert!(matches!(early, Receiving::Parked), "{early:?}");
        store.reports(accepted(&taken, 0, id), at(4)).await;
        let message = store.message(&shop(), message_id(n)).await.unwrap();
        assert_eq!(message.status(), Status::Delivered, "{id}");
        let first = store.message(&shop(), message_id(1)).await.unwrap();
        assert_eq!(first.status(), Status::Sent);
    }
    world.finish(store).await;
}

async fn in_a_long_queue_to_one_handset_what_leaves_is_asked_for(world: World) {
    let store = world.open(at(0));
    store.sends(message(1), "20", at(1)).await;
    store.takes(vec![to_the_first(2)]).await;
    let taken = store.claims(1, at(3)).await.remove(0);
    store.takes((3..40).map(to_the_first).collect()).await;
    let early = store
        .receives(told("32", ReceiptState::Delivered), at(3))
        .await;
    assert!(matches!(early, Receiving::Parked), "{early:?}");
    let change = store.reports(accepted(&taken, 0, "32"), at(4)).await;
    assert_eq!(change.unwrap().message.status(), Status::Delivered);
    world.finish(store).await;
}

async fn an_unsure_receipt_is_believed_once_all_to_the_handset_is_answered(world: World) {
    for reopened in [false, true] {
        let world = if reopened { &world } else { &World::memory() };
        let store = world.open(at(0));
        // 0x20 is 32: it is the receipt of the first message, and the second one's is not lost.
        store.sends(message(1), "20", at(1)).await;
        store.takes(vec![to_the_first(2)]).await;
        let taken = store.claims(1, at(3)).await.remove(0);
        let unsure = store
            .receives(told("32", ReceiptState::Delivered), at(3))
            .await;
        assert!(matches!(unsure, Receiving::Parked), "{unsure:?}");
        store.reports(accepted(&taken, 0, "21"), at(4)).await;
        let store = if reopened {
            world.reopen(store, at(5)).await
        } else {
            store
        };
        let due = store.next_deadline().unwrap();
        assert!(due <= at(65), "{due:?}");
        let changes = store.time_out(due, 10).await.unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].message.id, message_id(1));
        assert_eq!(changes[0].message.status(), Status::Delivered);
        assert_eq!(store.gauges(due).orphans, 0);
        world.finish(store).await;
    }
}

async fn where_an_answer_was_lost_a_short_id_in_another_base_is_not_believed(world: World) {
    let store = world.open(at(0));
    store.sends(message(1), "20", at(1)).await;
    store.takes(vec![to_the_first(2)]).await;
    let taken = store.claims(1, at(1)).await.remove(0);
    let lost = Report::Unknown {
        token: token(&taken),
        segment: 0,
        doubt: Doubt::Timeout,
    };
    store.reports(lost, at(2)).await;
    let taken = store.claims(1, at(1000)).await.remove(0);
    store.reports(accepted(&taken, 0, "21"), at(1000)).await;
    // The submission whose answer was lost may have been "32", and 0x20 is 32.
    let unsure = store
        .receives(told("32", ReceiptState::Delivered), at(1001))
        .await;
    assert!(matches!(unsure, Receiving::Parked), "{unsure:?}");
    for _ in 0..5 {
        let due = store.next_deadline().unwrap();
        store.time_out(due, 10).await.unwrap();
        let first = store.message(&shop(), message_id(1)).await.unwrap();
        assert_eq!(first.status(), Status::Sent);
    }
    // Long ids do not meet by chance.
    store.sends(message(3), "ab54a98ceb1f0ad2", at(3)).await;
    let long = receipt("12345678901234567890", ReceiptState::Delivered);
    let outcome = store.receives(long, at(3)).await;
    assert_eq!(status_of(&outcome), Some(Status::Delivered));
    world.finish(store).await;
}

async fn a_carrier_may_write_some_ids_in_one_way_and_some_in_another(world: World) {
    let store = world.open(at(0));
    for n in 11..=13 {
        store.sends(message(n), &n.to_string(), at(1)).await;
        let same = receipt(&n.to_string(), ReceiptState::Delivered);
        store.receives(same, at(1)).await;
    }
    assert_eq!(store.writing(&"a".into()), Some(IdWriting::Same));
    store.sends(message(1), "20", at(1)).await;
    let outcome = store
        .receives(told("32", ReceiptState::Delivered), at(2))
        .await;
    assert_eq!(writing_of(&outcome), Some(IdWriting::Decimal));
    world.finish(store).await;
}
