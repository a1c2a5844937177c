//! Lists and pages, pruning, figures, and a store that is closed.

use std::collections::HashSet;
use std::time::Duration;

use super::on_every_engine;
use super::world::{World, accepted, all, claimant, keyed, receipt, shop, submission};
use crate::domain::fixtures::{at, batch_id, lane, message, message_id, number, random};
use crate::domain::id::InboundId;
use crate::domain::inbound::Inbound;
use crate::domain::message::Message;
use crate::domain::privacy::{Erased, Keeping};
use crate::domain::receipt::ReceiptState;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::store::keys::{self, KeySpace};
use crate::store::kv::Kv;
use crate::store::{Accepted, Query, Receiving, Store, StoreError};

on_every_engine! {
    pages_walk_over_live_and_final_messages_newest_first_without_gap_or_repetition,
    every_filter_finds_exactly_what_it_names,
    a_tenant_sees_nothing_of_another,
    inbound_pages_walk_newest_first_and_stay_with_their_tenant,
    figures_count_what_is_there,
    a_closed_store_answers_unavailable,
    prune_removes_what_is_past_keeping_and_all_that_points_at_it,
    prune_keeps_the_seal_of_a_batch_with_live_messages,
    prune_leaves_a_reference_that_a_newer_message_has_taken_over,
    prune_forgets_orphans_and_idempotency_keys_after_a_week,
    prune_does_not_count_twice_an_orphan_that_was_bound_meanwhile,
}

impl dyn Store {
    async fn ids(&self, query: Query) -> Vec<u64> {
        let mut ids = Vec::new();
        for message in self.find(query).await.unwrap().items {
            ids.push((message.created_at.0 - at(0).0).unsigned_abs());
        }
        ids
    }
}

async fn pages_walk_over_live_and_final_messages_newest_first_without_gap_or_repetition(
    world: World,
) {
    let store = world.open(at(0));
    store.takes((0..100).map(message).collect()).await;
    for n in (0..100).filter(|n| n % 3 == 0) {
        let _ = store.cancel(&shop(), message_id(n), at(1)).await.unwrap();
    }
    for limit in [1, 7, 33, 100, 101] {
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let query = Query {
                behind: before,
                limit,
                ..all()
            };
            let page = store.find(query).await.unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items.iter().map(|message| message.id));
            match page.next {
                Some(next) => before = Some(crate::domain::id::MessageId(next)),
                None => break,
            }
        }
        let expected: Vec<_> = (0..100).rev().map(message_id).collect();
        assert_eq!(seen, expected, "in pages of {limit}");
    }
    world.finish(store).await;
}

async fn every_filter_finds_exactly_what_it_names(world: World) {
    let store = world.open(at(0));
    let mut messages: Vec<Message> = (0..10).map(message).collect();
    messages[3].reference = Some("order-3".to_owned());
    messages[4].kind = Some("parcel".to_owned());
    messages[5].to = number(77);
    messages[6].to = number(77);
    store.takes(messages).await;
    let _ = store.cancel(&shop(), message_id(6), at(5)).await.unwrap();
    let first = store.claims(1, at(6)).await.remove(0);
    store.reports(accepted(&first, 0, "x"), at(6)).await;

    let status = |status| Query {
        status: Some(status),
        ..all()
    };
    assert_eq!(store.ids(status(Status::Cancelled)).await, [6]);
    assert_eq!(store.ids(status(Status::Sent)).await, [0]);
    assert_eq!(store.ids(status(Status::Pending)).await.len(), 8);
    let to = || Query {
        to: Some(number(77)),
        ..all()
    };
    assert_eq!(store.ids(to()).await, [6, 5], "live and final");
    let waiting_to = Query {
        status: Some(Status::Pending),
        ..to()
    };
    assert_eq!(store.ids(waiting_to).await, [5]);
    let to_older = Query {
        behind: Some(message_id(6)),
        ..to()
    };
    assert_eq!(store.ids(to_older).await, [5]);
    let reference = Query {
        reference: Some("order-3".to_owned()),
        ..all()
    };
    assert_eq!(store.ids(reference).await, [3]);
    let kind = Query {
        kind: Some("parcel".to_owned()),
        ..all()
    };
    assert_eq!(store.ids(kind).await, [4]);
    let created = Query {
        since: Some(Timestamp(at(0).0 + 3)),
        until: Some(Timestamp(at(0).0 + 5)),
        ..all()
    };
    assert_eq!(store.ids(created).await, [4, 3]);
    let updated = Query {
        updated_since: Some(at(5)),
        ..all()
    };
    assert_eq!(store.ids(updated).await, [6, 0]);
    let both = Query {
        kind: Some("parcel".to_owned()),
        ..status(Status::Cancelled)
    };
    assert!(store.ids(both).await.is_empty());
    world.finish(store).await;
}

async fn a_tenant_sees_nothing_of_another(world: World) {
    let store = world.open(at(0));
    let mut foreign = message(2);
    foreign.tenant = "other".into();
    foreign.to = number(1);
    foreign.batch = Some(batch_id(2));
    store.takes(vec![message(1)]).await;
    store.takes(vec![foreign]).await;
    assert_eq!(store.ids(all()).await, [1]);
    let to = Query {
        to: Some(number(1)),
        ..all()
    };
    assert_eq!(store.ids(to).await, [1]);
    let theirs = Query {
        tenant: "other".into(),
        ..all()
    };
    assert_eq!(store.ids(theirs).await, [2]);
    for outcome in [
        store.message(&shop(), message_id(2)).await.err(),
        store.batch(&shop(), batch_id(2)).await.err(),
        store.cancel(&shop(), message_id(2), at(1)).await.err(),
    ] {
        assert_eq!(outcome, Some(StoreError::NotFound));
    }
    world.finish(store).await;
}

fn inbound(n: u64, tenant: &str) -> Inbound {
    let received_at = at(0) + Duration::from_millis(n);
    Inbound {
        id: InboundId::new(received_at, random(n)),
        tenant: tenant.into(),
        account: "a".into(),
        channel: "a#1".into(),
        from: "+33612345678".to_owned(),
        to: "36100".to_owned(),
        text: format!("text {n}"),
        part: None,
        received_at,
        keyword: None,
        incomplete: false,
        erased: Erased::default(),
        fingerprint: None,
    }
}

async fn inbound_pages_walk_newest_first_and_stay_with_their_tenant(world: World) {
    let store = world.open(at(0));
    let mine: Vec<_> = (0..25).map(|n| inbound(n, "shop")).collect();
    store.take_in(mine.clone()).await.unwrap();
    // Names that begin alike must not run into each other.
    for name in ["sho", "shop2", "other"] {
        store.take_in(vec![inbound(90, name)]).await.unwrap();
    }
    let store = world.reopen(store, at(1)).await;
    for limit in [1, 10, 25, 26] {
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = store.inbound(&shop(), before, limit).await.unwrap();
            seen.extend(page.items);
            match page.next {
                Some(next) => before = Some(InboundId(next)),
                None => break,
            }
        }
        seen.reverse();
        assert_eq!(seen, mine, "in pages of {limit}");
    }
    world.finish(store).await;
}

async fn figures_count_what_is_there(world: World) {
    let store = world.open(at(0));
    store.takes((0..10).map(message).collect()).await;
    let mut own = message(20);
    own.webhook_url = Some("https://a.example/".to_owned());
    own.priority = 3;
    store.takes(vec![own]).await;
    let first = store.claims(1, at(10)).await.remove(0);
    store.reports(accepted(&first, 0, "x"), at(10)).await;
    let delivered = receipt("x", ReceiptState::Delivered);
    store.receives(delivered, at(10)).await;
    let unknown = receipt("nobody", ReceiptState::Delivered);
    store.receives(unknown, at(10)).await;
    let check = |store: &dyn Store| {
        let gauges = store.gauges(at(60));
        assert_eq!(gauges.live, 10);
        assert_eq!(gauges.outbox, 1);
        assert_eq!(gauges.orphans, 1);
        assert_eq!(gauges.waiting, [("orange".into(), "queued", 10)]);
        assert_eq!(gauges.oldest, [("orange".into(), 60.0)]);
        assert!(store.unhealthy().is_none());
    };
    check(&*store);
    let store = world.reopen(store, at(11)).await;
    check(&*store);
    world.finish(store).await;
}

async fn a_closed_store_answers_unavailable(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    store.close().await;
    let answers = [
        store.accept(submission(vec![message(2)])).await.err(),
        store
            .claim(&lane("orange"), claimant("a", at(1)), 1, at(1))
            .await
            .err(),
        store.report(Vec::new(), at(1)).await.err(),
        store.receive(Vec::new(), at(1)).await.err(),
        store.time_out(at(1), 1).await.err(),
        store.cancel(&shop(), message_id(1), at(1)).await.err(),
        store.take_in(vec![inbound(1, "shop")]).await.err(),
        store.outbox_due(at(1), 1, &[]).await.err(),
        store.outbox_settle(Vec::new()).await.err(),
        store.message(&shop(), message_id(1)).await.err(),
        store.find(all()).await.err(),
        store.inbound(&shop(), None, 1).await.err(),
        store.prune(at(1)).await.err(),
    ];
    for (verb, answer) in answers.into_iter().enumerate() {
        assert!(
            matches!(answer, Some(StoreError::Unavailable(_))),
            "verb {verb}: {answer:?}"
        );
    }
    store.close().await;
    drop(store);
    let store = world.open(at(2));
    assert_eq!(store.claims(10, at(2)).await.len(), 1);
    world.finish(store).await;
}

/// Records by key space, without the version.
fn records(world: &World) -> HashSet<KeySpace> {
    world.with_kv(|kv| {
        kv.scan((Vec::new(), vec![0xFF]), false)
            .map(|pair| KeySpace::of(&pair.unwrap().0).unwrap())
            .filter(|space| *space != KeySpace::Version)
            .collect()
    })
}

async fn prune_all(store: &dyn Store, now: Timestamp) {
    for _ in 0..100 {
        if !store.prune(now).await.unwrap() {
            return;
        }
    }
    panic!("pruning has no end");
}

async fn prune_removes_what_is_past_keeping_and_all_that_points_at_it(mut world: World) {
    world.keeping = Keeping::all(Duration::from_hours(24 * 30));
    let store = world.open(at(0));
    let old = |n| {
        let mut message = message(n);
        message.batch = Some(batch_id(1));
        message
    };
    let batch = keyed((0..200).map(old).collect(), 1, 1);
    let _ = store.accept(batch).await.unwrap();
    store.take_in(vec![inbound(1, "shop")]).await.unwrap();
    for message in store.claims(200, at(1)).await {
        let reference = message.id.to_string();
        store
            .reports(accepted(&message, 0, &reference), at(1))
            .await;
        let delivered = receipt(&reference, ReceiptState::Delivered);
        store.receives(delivered, at(1)).await;
    }
    let day = 24 * 3600;
    prune_all(&*store, at(29 * day)).await;
    assert_eq!(store.find(all()).await.unwrap().items.len(), 200);
    prune_all(&*store, at(31 * day)).await;
    let store = world.reopen(store, at(31 * day)).await;
    assert!(store.find(all()).await.unwrap().items.is_empty());
    world.finish(store).await;
    // How the carrier writes its ids is learnt for good.
    assert_eq!(
        records(&world),
        HashSet::from([KeySpace::Writing, KeySpace::Swept])
    );
}

async fn prune_keeps_the_seal_of_a_batch_with_live_messages(mut world: World) {
    // Kept for less than a message may live.
    world.keeping = Keeping::all(Duration::from_hours(1));
    let store = world.open(at(0));
    let messages = (0..3).map(|n| {
        let mut message = message(n);
        message.batch = Some(batch_id(1));
        message
    });
    store.takes(messages.collect()).await;
    prune_all(&*store, at(2 * 3600)).await;
    let store = world.reopen(store, at(2 * 3600)).await;
    assert_eq!(
        store.claims(10, at(2 * 3600)).await.len(),
        3,
        "a promise outlives the retention"
    );
    world.finish(store).await;
}

async fn prune_leaves_a_reference_that_a_newer_message_has_taken_over(mut world: World) {
    world.keeping = Keeping::all(Duration::from_hours(24));
    let store = world.open(at(0));
    store.sends(message(1), "7", at(1)).await;
    let delivered = || receipt("7", ReceiptState::Delivered);
    store.receives(delivered(), at(2)).await;
    // A modem counts to 255 and starts again.
    let later = 25 * 3600;
    store.sends(message(2000), "7", at(later)).await;
    prune_all(&*store, at(later)).await;
    let gone = store.message(&shop(), message_id(1)).await;
    assert_eq!(gone.unwrap_err(), StoreError::NotFound);
    let outcome = store.receives(delivered(), at(later + 1)).await;
    assert!(matches!(outcome, Receiving::Matched(..)), "{outcome:?}");
    world.finish(store).await;
}

async fn prune_forgets_orphans_and_idempotency_keys_after_a_week(world: World) {
    let store = world.open(at(0));
    let _ = store.accept(keyed(vec![message(1)], 1, 1)).await.unwrap();
    let unknown = receipt("nobody", ReceiptState::Delivered);
    store.receives(unknown, at(0)).await;
    let day = 24 * 3600;
    prune_all(&*store, at(6 * day)).await;
    assert_eq!(store.gauges(at(6 * day)).orphans, 1);
    let again = keyed(vec![message(2)], 1, 1);
    assert!(matches!(
        store.accept(again).await.unwrap(),
        Accepted::Repeated { .. }
    ));
    prune_all(&*store, at(8 * day)).await;
    assert_eq!(store.gauges(at(8 * day)).orphans, 0);
    let anew = keyed(vec![message(3)], 1, 1);
    assert!(matches!(
        store.accept(anew).await.unwrap(),
        Accepted::New(_)
    ));
    world.finish(store).await;
    let key = keys::version();
    assert!(world.with_kv(|kv| kv.get(&key).unwrap()).is_some());
}

async fn prune_does_not_count_twice_an_orphan_that_was_bound_meanwhile(world: World) {
    let (store, probe) = world.open_probed(at(0));
    let late = at(8 * 24 * 3600);
    let mut messages: Vec<_> = (0..2).map(message).collect();
    for message in &mut messages {
        message.expires_at = late + Duration::from_hours(1);
    }
    store.takes(messages).await;
    let taken = store.claims(2, at(1)).await;
    let early = |reference| receipt(reference, ReceiptState::Delivered);
    store.receives(early("one"), at(1)).await;
    // Shut, so that pruning still finds the receipt that is being bound.
    probe.shut();
    let (one, other) = (store.clone(), store.clone());
    let bind = accepted(&taken[0], 0, "one");
    let binding = tokio::spawn(async move { one.reports(bind, late).await });
    probe.holds_up().await;
    let before = probe.scans();
    let pruning = tokio::spawn(async move { other.prune(late).await.unwrap() });
    // It looks at five key spaces, the orphans third.
    while probe.scans() < before + 5 {
        tokio::task::yield_now().await;
    }
    probe.open();
    binding.await.unwrap();
    pruning.await.unwrap();
    // If it was counted twice, the next parked receipt is taken for none at all.
    store.receives(early("two"), late).await;
    let change = store.reports(accepted(&taken[1], 0, "two"), late).await;
    assert_eq!(change.unwrap().message.status(), Status::Delivered);
    drop(probe);
    world.finish(store).await;
}
