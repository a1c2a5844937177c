//! Receipts: matched in either order, in any writing, once.

use std::time::Duration;

use super::on_every_engine;
use super::world::{World, accepted, receipt, shop};
use crate::domain::fixtures::{at, in_parts, message, message_id, number};
use crate::domain::inbound::Inbound;
use crate::domain::message::Cause;
use crate::domain::message::What;
use crate::domain::privacy::Erased;
use crate::domain::receipt::{IdWriting, NetworkError, Receipt, ReceiptState};
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
    a_reference_used_again_for_another_handset_still_finds_both,
    a_long_final_message_gives_way_to_one_that_awaits_its_receipt,
    a_receipt_with_two_ids_is_matched_by_either,
    a_parked_receipt_with_two_ids_waits_under_both,
    a_receipt_without_an_id_is_matched_by_its_handset_where_only_one_can_be_meant,
    a_text_that_looks_like_a_receipt_is_one_only_under_an_id_of_ours,
    an_unknown_reference_is_kept_for_seven_days,
    every_code_of_the_carrier_is_in_the_history,
    any_order_and_any_repetition_of_the_receipts_of_parts_ends_alike,
}

pub(super) fn status_of(receiving: &Receiving) -> Option<Status> {
    match receiving {
        Receiving::Matched(change, _) => Some(change.message.status()),
        _ => None,
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
            Receiving::Matched(change, _) => assert_eq!(change.message.id, message_id(n)),
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

pub(super) fn writing_of(receiving: &Receiving) -> Option<IdWriting> {
    match receiving {
        Receiving::Matched(_, writing) => Some(*writing),
        _ => None,
    }
}

async fn a_long_final_message_gives_way_to_one_that_awaits_its_receipt(world: World) {
    let store = world.open(at(0));
    store.sends(message(1), "16", at(1)).await;
    let told = || receipt("16", ReceiptState::Delivered);
    store.receives(told(), at(2)).await;
    let later = at(2) + Duration::from_hours(24 * 10);
    let mut fresh = message(2);
    fresh.expires_at = later + Duration::from_hours(48);
    store.sends(fresh, "10", later).await;
    match store.receives(told(), later).await {
        Receiving::Matched(change, _) => assert_eq!(change.message.id, message_id(2)),
        other => panic!("{other:?}"),
    }
    world.finish(store).await;
}

async fn a_receipt_with_two_ids_is_matched_by_either(world: World) {
    let store = world.open(at(0));
    for (n, answered) in [(1, "tlv-1"), (2, "text-2")] {
        store.sends(message(n), answered, at(1)).await;
        let told = ReceiptReport {
            other: Some(format!("text-{n}")),
            ..receipt(&format!("tlv-{n}"), ReceiptState::Delivered)
        };
        let outcome = store.receives(told, at(2)).await;
        assert_eq!(status_of(&outcome), Some(Status::Delivered), "{answered}");
        assert_eq!(writing_of(&outcome), Some(IdWriting::Same), "{answered}");
    }
    world.finish(store).await;
}

async fn a_parked_receipt_with_two_ids_waits_under_both(world: World) {
    let store = world.open(at(0));
    let told = ReceiptReport {
        other: Some("text-1".to_owned()),
        ..receipt("tlv-1", ReceiptState::Delivered)
    };
    let outcome = store.receives(told.clone(), at(1)).await;
    assert!(matches!(outcome, Receiving::Parked));
    let again = store.receives(told, at(1)).await;
    assert!(matches!(again, Receiving::Duplicate));
    let message = store.sends(message(1), "text-1", at(2)).await;
    assert_eq!(message.status(), Status::Delivered);
    world.finish(store).await;
}

async fn a_receipt_without_an_id_is_matched_by_its_handset_where_only_one_can_be_meant(
    world: World,
) {
    let store = world.open(at(0));
    let told = |to| ReceiptReport {
        handset: Some(number(to)),
        ..receipt("", ReceiptState::Delivered)
    };
    assert!(matches!(
        store
            .receives(receipt("", ReceiptState::Delivered), at(1))
            .await,
        Receiving::Nameless
    ));
    assert!(matches!(
        store.receives(told(1), at(1)).await,
        Receiving::Nameless
    ));
    store.sends(message(1), "abc", at(1)).await;
    let outcome = store.receives(told(1), at(2)).await;
    assert_eq!(writing_of(&outcome), Some(IdWriting::Handset));
    assert_eq!(status_of(&outcome), Some(Status::Delivered));
    // It may be a repetition of the one before; nothing says that it is about another.
    assert!(matches!(
        store.receives(told(1), at(3)).await,
        Receiving::Nameless
    ));
    // Two that it may be about.
    for n in [2, 3] {
        let mut both = message(n);
        both.to = number(7);
        store.sends(both, &format!("ref{n}"), at(4)).await;
    }
    assert!(matches!(
        store.receives(told(7), at(5)).await,
        Receiving::Nameless
    ));
    assert_eq!(store.gauges(at(5)).orphans, 0);
    world.finish(store).await;
}

async fn a_text_that_looks_like_a_receipt_is_one_only_under_an_id_of_ours(world: World) {
    let store = world.open(at(0));
    store.sends(message(1), "abc", at(1)).await;
    let looks_like = |reference: &str, from| {
        let inbound = Inbound {
            id: crate::domain::id::InboundId::new(at(2), [9; 10]),
            tenant: shop(),
            account: "a".into(),
            channel: "a#1".into(),
            from: number(from).to_string(),
            to: "36111".to_owned(),
            text: format!("id:{reference} stat:DELIVRD dlvrd:001"),
            part: None,
            received_at: at(2),
            keyword: None,
            incomplete: false,
            erased: Erased::default(),
            fingerprint: None,
        };
        ReceiptReport {
            handset: Some(number(from)),
            otherwise: Some(Box::new(inbound)),
            ..receipt(reference, ReceiptState::Delivered)
        }
    };
    // Under no id of ours, and under one of ours from somebody else's handset.
    for unknown in [looks_like("other", 1), looks_like("abc", 555)] {
        let outcome = store.receives(unknown, at(2)).await;
        assert!(matches!(outcome, Receiving::TakenIn(_)), "{outcome:?}");
    }
    let taken = store.inbound(&shop(), None, 10).await.unwrap().items;
    assert_eq!((taken.len(), store.gauges(at(2)).orphans), (1, 0));
    let outcome = store.receives(looks_like("ABC", 1), at(3)).await;
    assert_eq!(status_of(&outcome), Some(Status::Delivered));
    let taken = store.inbound(&shop(), None, 10).await.unwrap().items;
    assert_eq!(taken.len(), 1);
    world.finish(store).await;
}

async fn an_unknown_reference_is_kept_for_seven_days(world: World) {
    let store = world.open(at(0));
    let day = Duration::from_hours(24);
    for (n, kept) in [(1, day * 7 - Duration::from_mins(1)), (2, day * 8)] {
        let came = at(1) + day * 30 * n;
        let reference = format!("abc{n}");
        let told = receipt(&reference, ReceiptState::Delivered);
        store.receives(told, came).await;
        let bound = came + kept;
        while store.prune(bound).await.unwrap() {}
        let mut message = message(u64::from(n));
        message.expires_at = bound + day;
        let message = store.sends(message, &reference, bound).await;
        let expected = if n == 1 {
            Status::Delivered
        } else {
            Status::Sent
        };
        assert_eq!(message.status(), expected, "{kept:?}");
    }
    world.finish(store).await;
}

async fn every_code_of_the_carrier_is_in_the_history(world: World) {
    let store = world.open(at(0));
    store.sends(message(1), "0005FA8", at(1)).await;
    let written = Receipt {
        word: Some("Undeliv".to_owned()),
        error: Some("E2".to_owned()),
        network_error: Some(NetworkError {
            network: 3,
            code: 27,
        }),
        ..Receipt::of(ReceiptState::Undeliverable)
    };
    let told = ReceiptReport::new("a".into(), "24488".to_owned(), written.clone());
    store.receives(told, at(2)).await;
    let message = store.message(&shop(), message_id(1)).await.unwrap();
    let whats: Vec<_> = message.events.into_iter().map(|line| line.what).collect();
    assert_eq!(
        whats,
        [
            What::Accepted,
            What::Submitted {
                channel: "a#1".into(),
                part: 1,
                reference: "0005FA8".to_owned()
            },
            What::Receipt {
                part: 1,
                reference: "24488".to_owned(),
                receipt: written
            }
        ]
    );
    world.finish(store).await;
}

async fn any_order_and_any_repetition_of_the_receipts_of_parts_ends_alike(world: World) {
    let store = world.open(at(0));
    let random = crate::clock::Random::seeded(42);
    let states = [
        ReceiptState::Enroute,
        ReceiptState::Accepted,
        ReceiptState::Expired,
        ReceiptState::Delivered,
    ];
    for n in 0..60 {
        store.takes(vec![in_parts(n, 3)]).await;
        let taken = store.claims(1, at(1)).await.remove(0);
        // Answers and receipts, each receipt twice, in any order.
        let mut steps: Vec<(u16, Option<ReceiptState>)> = (0..3)
            .flat_map(|part| {
                let told = states
                    .iter()
                    .flat_map(move |state| [(part, Some(*state)); 2]);
                told.chain([(part, None)])
            })
            .collect();
        for at in (1..steps.len()).rev() {
            let other = usize::from(random.bytes::<1>()[0]) % (at + 1);
            steps.swap(at, other);
        }
        for (part, told) in steps {
            let reference = format!("ref{n}-{part}");
            match told {
                Some(state) => {
                    store.receives(receipt(&reference, state), at(2)).await;
                }
                None => {
                    store
                        .reports(accepted(&taken, part, &reference), at(2))
                        .await;
                }
            }
        }
        let message = store.message(&shop(), taken.id).await.unwrap();
        assert_eq!(message.status(), Status::Delivered, "message {n}");
        assert_eq!(store.gauges(at(3)).orphans, 0);
    }
    world.finish(store).await;
}

async fn a_reference_used_again_for_another_handset_still_finds_both(world: World) {
    let store = world.open(at(0));
    for n in 1..=4 {
        store.sends(message(n), "7", at(n)).await;
    }
    for n in [1, 3, 2, 4] {
        let told = ReceiptReport {
            handset: Some(number(n)),
            ..receipt("07", ReceiptState::Delivered)
        };
        match store.receives(told, at(9)).await {
            Receiving::Matched(change, _) => assert_eq!(change.message.id, message_id(n)),
            other => panic!("{other:?}"),
        }
    }
    world.finish(store).await;
}
