//! Counts of digests: they add up, can be taken back, and become each exactly one message.

use std::collections::BTreeMap;

use super::on_every_engine;
use super::world::{World, all, shop, submission};
use crate::domain::fixtures::{at, message, number};
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::{Opposed, OptOut, Source};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::store::{
    Accepted, Count, Counting, Document, DocumentKind, Held, Idempotency, Known, Notice, Pending,
    Store, StoreError,
};

on_every_engine! {
    notices_of_one_recipient_and_kind_add_up_over_a_restart,
    what_is_taken_back_is_never_more_than_there_is,
    what_is_taken_back_goes_from_the_latest_tick_first,
    a_notice_under_a_known_idempotency_key_counts_once,
    what_comes_while_a_tick_is_told_is_for_the_next_one,
    a_count_is_consumed_with_the_message_that_tells_it,
    a_count_that_has_changed_is_not_told,
    a_count_told_to_who_has_opted_out_is_a_failed_message,
    what_is_not_stored_leaves_its_count,
    a_count_that_is_carried_over_joins_what_the_next_tick_has,
    counts_are_due_in_the_order_of_their_ticks_so_many_at_a_time,
    pending_counts_are_listed_by_number_and_kept_together,
    a_digest_is_deleted_only_when_nothing_is_pending,
    too_many_counts_are_refused,
    concurrent_notices_and_tellings_neither_lose_nor_double,
    an_erased_number_is_told_nothing_more,
}

/// The tick of most stories, and the one after it.
const TICKS: [u64; 2] = [1000, 2000];

async fn defined(world: &World) -> std::sync::Arc<dyn Store> {
    let store = world.open(at(0));
    define(&*store, "mail").await;
    store
}

pub(super) async fn define(store: &dyn Store, name: &str) {
    let document = Document {
        kind: DocumentKind::Digest,
        tenant: shop(),
        name: name.to_owned(),
        json: "{}".to_owned(),
        created_at: at(0),
        updated_at: at(0),
    };
    store.put_document(document).await.unwrap();
}

/// A notice for digest `mail` of the shop.
pub(super) fn notice(to: Msisdn, kind: &str, change: i32, second: u64) -> Notice {
    Notice {
        tenant: shop(),
        digest: "mail".to_owned(),
        to,
        kind: kind.to_owned(),
        change,
        reference: None,
        ticks: TICKS.map(at),
        idempotency: None,
        most: 1000,
        now: at(second),
    }
}

async fn counts(store: &dyn Store, notice: Notice) -> Vec<(Timestamp, u32)> {
    match store.count(notice).await.unwrap() {
        Counting::Counted { stands, .. } => by_tick(&stands),
        below => panic!("{below:?}"),
    }
}

fn by_tick(counts: &[Count]) -> Vec<(Timestamp, u32)> {
    counts
        .iter()
        .map(|count| (count.tick, count.count))
        .collect()
}

async fn pending(store: &dyn Store) -> Vec<(Msisdn, String, u32)> {
    let of = Pending::After(None);
    let page = store.pending_counts(&shop(), "mail", of, 1000).await;
    let items = page.unwrap().items.into_iter();
    items.map(|it| (it.to, it.kind, it.count)).collect()
}

async fn due(store: &dyn Store, second: u64) -> Vec<Count> {
    store.counts_due(at(second), 64).await.unwrap()
}

async fn tells(store: &dyn Store, count: &Count, n: u64) -> Option<Accepted> {
    let mut message = message(n);
    message.to = count.to;
    let told = store.tell_count(count.clone(), submission(vec![message]));
    told.await.unwrap()
}

async fn messages(store: &dyn Store) -> usize {
    store.find(all()).await.unwrap().items.len()
}

async fn notices_of_one_recipient_and_kind_add_up_over_a_restart(world: World) {
    let store = defined(&world).await;
    let (one, other) = (number(1), number(2));
    assert_eq!(store.next_count_due(), None);
    assert_eq!(
        counts(&*store, notice(one, "letter", 1, 1)).await,
        [(at(1000), 1)]
    );
    assert_eq!(
        counts(&*store, notice(one, "letter", 2, 2)).await,
        [(at(1000), 3)]
    );
    assert_eq!(
        counts(&*store, notice(one, "parcel", 2, 3)).await,
        [(at(1000), 2)]
    );
    assert_eq!(
        counts(&*store, notice(other, "letter", 5, 4)).await,
        [(at(1000), 5)]
    );
    assert_eq!(store.gauges(at(5)).counts, 3);
    let store = world.reopen(store, at(6)).await;
    assert_eq!(store.next_count_due(), Some(at(1000)));
    assert_eq!(store.gauges(at(6)).counts, 3);
    assert_eq!(
        counts(&*store, notice(one, "letter", 4, 7)).await,
        [(at(1000), 7)]
    );
    let stands = [(one, "letter", 7), (one, "parcel", 2), (other, "letter", 5)];
    let stands = stands.map(|(to, kind, count)| (to, kind.to_owned(), count));
    assert_eq!(pending(&*store).await, stands);
    assert_eq!(due(&*store, 999).await, []);
    assert_eq!(due(&*store, 1000).await.len(), 3);
    world.finish(store).await;
}

async fn what_is_taken_back_is_never_more_than_there_is(world: World) {
    let store = defined(&world).await;
    let to = number(1);
    let below = |stands| Counting::BelowZero { stands };
    assert_eq!(
        store.count(notice(to, "letter", -1, 1)).await.unwrap(),
        below(0)
    );
    counts(&*store, notice(to, "letter", 3, 2)).await;
    assert_eq!(
        store.count(notice(to, "letter", -4, 3)).await.unwrap(),
        below(3)
    );
    assert_eq!(
        counts(&*store, notice(to, "letter", -2, 4)).await,
        [(at(1000), 1)]
    );
    assert_eq!(
        store.count(notice(to, "parcel", -1, 5)).await.unwrap(),
        below(0)
    );
    assert_eq!(counts(&*store, notice(to, "letter", -1, 6)).await, []);
    // Nothing is left to be told.
    assert_eq!(store.next_count_due(), None);
    assert_eq!(pending(&*store).await, []);
    assert_eq!(store.gauges(at(7)).counts, 0);
    world.finish(store).await;
}

async fn what_is_taken_back_goes_from_the_latest_tick_first(world: World) {
    let store = defined(&world).await;
    let to = number(1);
    counts(&*store, notice(to, "letter", 3, 1)).await;
    let later = Notice {
        ticks: [at(2000), at(3000)],
        ..notice(to, "letter", 2, 1500)
    };
    let both = counts(&*store, later).await;
    assert_eq!(both, [(at(1000), 3), (at(2000), 2)]);
    let left = counts(&*store, notice(to, "letter", -4, 1501)).await;
    assert_eq!(left, [(at(1000), 1)]);
    world.finish(store).await;
}

async fn a_notice_under_a_known_idempotency_key_counts_once(world: World) {
    let store = defined(&world).await;
    let keyed = |change, body| Notice {
        idempotency: Some(Idempotency {
            key: [1; 16],
            body: [body; 16],
        }),
        ..notice(number(1), "letter", change, 1)
    };
    let counted = |count, repeated| (vec![(at(1000), count)], repeated);
    let counts = |notice| async {
        match store.count(notice).await.unwrap() {
            Counting::Counted { stands, repeated } => (by_tick(&stands), repeated),
            below => panic!("{below:?}"),
        }
    };
    assert_eq!(counts(keyed(3, 7)).await, counted(3, false));
    assert_eq!(counts(keyed(3, 7)).await, counted(3, true));
    let other = store.count(keyed(4, 8)).await.unwrap_err();
    assert_eq!(other, StoreError::Conflict);
    assert_eq!(
        counts(notice(number(1), "letter", 1, 2)).await,
        counted(4, false)
    );
    assert_eq!(counts(keyed(3, 7)).await, counted(4, true));
    world.finish(store).await;
}

async fn what_comes_while_a_tick_is_told_is_for_the_next_one(world: World) {
    let store = defined(&world).await;
    let to = number(1);
    counts(&*store, notice(to, "letter", 3, 1)).await;
    let told = due(&*store, 1000).await.remove(0);
    // It was on its way when the tick came.
    let late = counts(&*store, notice(to, "letter", 1, 999)).await;
    assert_eq!(late, [(at(1000), 3), (at(2000), 1)]);
    assert!(tells(&*store, &told, 1).await.is_some());
    assert_eq!(pending(&*store).await, [(to, "letter".to_owned(), 1)]);
    assert_eq!(store.next_count_due(), Some(at(2000)));
    world.finish(store).await;
}

async fn a_count_is_consumed_with_the_message_that_tells_it(world: World) {
    let store = defined(&world).await;
    counts(&*store, notice(number(1), "letter", 3, 1)).await;
    let count = due(&*store, 1000).await.remove(0);
    assert!(matches!(
        tells(&*store, &count, 1).await,
        Some(Accepted::New(_))
    ));
    assert_eq!(messages(&*store).await, 1);
    // Whoever has read it before tells nothing.
    assert_eq!(tells(&*store, &count, 2).await, None);
    assert_eq!(due(&*store, 1000).await, []);
    let store = world.reopen(store, at(1001)).await;
    assert_eq!(due(&*store, 1001).await, []);
    assert_eq!(tells(&*store, &count, 3).await, None);
    assert_eq!(messages(&*store).await, 1);
    assert_eq!(store.claims(10, at(1001)).await.len(), 1);
    world.finish(store).await;
}

async fn a_count_that_has_changed_is_not_told(world: World) {
    let store = defined(&world).await;
    counts(&*store, notice(number(1), "letter", 3, 1)).await;
    let read = due(&*store, 1000).await.remove(0);
    counts(&*store, notice(number(1), "letter", -1, 1000)).await;
    assert_eq!(tells(&*store, &read, 1).await, None);
    assert_eq!(messages(&*store).await, 0);
    let held = Held {
        code: "x".to_owned(),
        detail: String::new(),
        tick: at(1000),
    };
    assert!(!store.carry_over(read, at(2000), held).await.unwrap());
    let now = due(&*store, 1001).await.remove(0);
    assert_eq!(now.count, 2);
    assert!(tells(&*store, &now, 2).await.is_some());
    world.finish(store).await;
}

async fn a_count_told_to_who_has_opted_out_is_a_failed_message(world: World) {
    let store = defined(&world).await;
    counts(&*store, notice(number(1), "letter", 3, 1)).await;
    let optout = OptOut {
        tenant: shop(),
        number: Opposed::Number(number(1)),
        sender: None,
        since: at(5),
        source: Source::Api,
    };
    store.opt_out(optout).await.unwrap();
    let count = due(&*store, 1000).await.remove(0);
    assert!(tells(&*store, &count, 1).await.is_some());
    let told = store.find(all()).await.unwrap().items.remove(0);
    assert_eq!(told.status(), Status::Failed);
    assert_eq!(pending(&*store).await, []);
    world.finish(store).await;
}

async fn what_is_not_stored_leaves_its_count(world: World) {
    let store = defined(&world).await;
    counts(&*store, notice(number(1), "letter", 3, 1)).await;
    let count = due(&*store, 1000).await.remove(0);
    let full = crate::store::Submission {
        max_live: 0,
        ..submission(vec![message(1)])
    };
    let refused = store.tell_count(count.clone(), full).await.unwrap_err();
    assert_eq!(refused, StoreError::Full);
    assert_eq!(due(&*store, 1001).await, [count]);
    let store = world.reopen(store, at(1002)).await;
    assert_eq!(due(&*store, 1002).await.len(), 1);
    assert_eq!(messages(&*store).await, 0);
    world.finish(store).await;
}

async fn a_count_that_is_carried_over_joins_what_the_next_tick_has(world: World) {
    let store = defined(&world).await;
    let to = number(1);
    counts(&*store, notice(to, "letter", 3, 1)).await;
    counts(&*store, notice(to, "parcel", 1, 1)).await;
    let due = due(&*store, 1000).await;
    counts(&*store, notice(to, "letter", 2, 1001)).await;
    let held = Held {
        code: "tenant_disabled".to_owned(),
        detail: "sending is switched off".to_owned(),
        tick: at(1000),
    };
    for count in due {
        assert!(
            store
                .carry_over(count, at(2000), held.clone())
                .await
                .unwrap()
        );
    }
    let store = world.reopen(store, at(1002)).await;
    assert_eq!(store.next_count_due(), Some(at(2000)));
    let due = store.counts_due(at(2000), 64).await.unwrap();
    let stands: Vec<_> = due.iter().map(|it| (it.kind.as_str(), it.count)).collect();
    assert_eq!(stands, [("letter", 5), ("parcel", 1)]);
    assert!(due.iter().all(|count| count.held.as_ref() == Some(&held)));
    world.finish(store).await;
}

async fn counts_are_due_in_the_order_of_their_ticks_so_many_at_a_time(world: World) {
    let store = defined(&world).await;
    for n in 0..10 {
        let ticks = [at(1000 + n % 5), at(9000)];
        let notice = Notice {
            ticks,
            ..notice(number(n), "letter", 1, 1)
        };
        counts(&*store, notice).await;
    }
    let some = store.counts_due(at(1002), 4).await.unwrap();
    let ticks: Vec<_> = some.iter().map(|count| count.tick).collect();
    assert_eq!(ticks, [1000, 1000, 1001, 1001].map(at));
    assert_eq!(store.counts_due(at(1002), 64).await.unwrap().len(), 6);
    world.finish(store).await;
}

async fn pending_counts_are_listed_by_number_and_kept_together(world: World) {
    let store = defined(&world).await;
    define(&*store, "mailing").await;
    for n in [3, 1, 2] {
        for kind in ["letter", "parcel", "notice"] {
            counts(&*store, notice(number(n), kind, 1, 1)).await;
        }
    }
    let elsewhere = Notice {
        digest: "mailing".to_owned(),
        ..notice(number(1), "letter", 9, 1)
    };
    counts(&*store, elsewhere).await;
    let mut after = None;
    let mut pages = Vec::new();
    loop {
        let of = Pending::After(after);
        let page = store.pending_counts(&shop(), "mail", of, 2).await.unwrap();
        pages.push(page.items.iter().map(|it| it.to).collect::<Vec<_>>());
        let Some(next) = page.next else { break };
        let next = u64::try_from(next.as_u128()).unwrap();
        after = Some(Msisdn::try_from(next).unwrap());
    }
    let expected = [1, 2, 3].map(|n| vec![number(n); 3]);
    assert_eq!(pages, expected);
    let of = Pending::Of(number(2));
    let page = store.pending_counts(&shop(), "mail", of, 100).await;
    let page = page.unwrap();
    assert_eq!((page.items.len(), page.next), (3, None));
    let other = "other".into();
    let page = store.pending_counts(&other, "mail", Pending::After(None), 9);
    assert_eq!(page.await.unwrap().items, []);
    world.finish(store).await;
}

async fn a_digest_is_deleted_only_when_nothing_is_pending(world: World) {
    let store = defined(&world).await;
    let missing = store.delete_digest(&shop(), "other").await.unwrap_err();
    assert_eq!(missing, StoreError::NotFound);
    for n in 0..5 {
        counts(&*store, notice(number(n), "letter", 1, 1)).await;
    }
    assert_eq!(store.delete_digest(&shop(), "mail").await.unwrap(), 5);
    let tenant = shop();
    let drop = |to, limit| store.drop_counts(&tenant, "mail", to, limit);
    assert_eq!(drop(Some(number(4)), 10).await.unwrap(), 1);
    assert_eq!(drop(None, 3).await.unwrap(), 3);
    assert_eq!(store.delete_digest(&shop(), "mail").await.unwrap(), 1);
    assert_eq!(drop(None, 3).await.unwrap(), 1);
    assert_eq!(store.delete_digest(&shop(), "mail").await.unwrap(), 0);
    assert_eq!(store.document(DocumentKind::Digest, &shop(), "mail"), None);
    // Nothing is counted for what is not there.
    let gone = store.count(notice(number(1), "letter", 1, 2)).await;
    assert_eq!(gone.unwrap_err(), StoreError::NotFound);
    let store = world.reopen(store, at(3)).await;
    assert_eq!(store.document(DocumentKind::Digest, &shop(), "mail"), None);
    assert_eq!(store.gauges(at(3)).counts, 0);
    world.finish(store).await;
}

async fn too_many_counts_are_refused(world: World) {
    let store = defined(&world).await;
    let narrow = |n, change| Notice {
        most: 2,
        ..notice(number(n), "letter", change, 1)
    };
    counts(&*store, narrow(1, 1)).await;
    counts(&*store, narrow(2, 1)).await;
    assert_eq!(
        store.count(narrow(3, 1)).await.unwrap_err(),
        StoreError::Full
    );
    // One that is there takes no more room.
    assert_eq!(counts(&*store, narrow(2, 5)).await, [(at(1000), 6)]);
    counts(&*store, narrow(1, -1)).await;
    assert_eq!(counts(&*store, narrow(3, 1)).await, [(at(1000), 1)]);
    world.finish(store).await;
}

async fn concurrent_notices_and_tellings_neither_lose_nor_double(world: World) {
    let store = defined(&world).await;
    let noticing = (0..8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..25 {
                let notice = Notice {
                    // Each is due at once: they race with whoever tells them.
                    ticks: [at(1), at(2 + n)],
                    ..notice(number(n % 3), "letter", 1, 1)
                };
                store.count(notice).await.unwrap();
            }
        })
    });
    let noticing: Vec<_> = noticing.collect();
    let mut told: BTreeMap<Msisdn, u32> = BTreeMap::new();
    let mut n = 0;
    loop {
        let over = noticing.iter().all(|task| task.is_finished());
        let due = due(&*store, 100).await;
        if over && due.is_empty() {
            break;
        }
        for count in due {
            n += 1;
            if tells(&*store, &count, n).await.is_some() {
                *told.entry(count.to).or_default() += count.count;
            }
        }
        tokio::task::yield_now().await;
    }
    let expected = [(0, 75), (1, 75), (2, 50)].map(|(n, sum)| (number(n), sum));
    assert_eq!(told, BTreeMap::from(expected));
    assert_eq!(pending(&*store).await, []);
    world.finish(store).await;
}

async fn an_erased_number_is_told_nothing_more(world: World) {
    let store = defined(&world).await;
    counts(&*store, notice(number(1), "letter", 3, 1)).await;
    counts(&*store, notice(number(2), "letter", 2, 1)).await;
    let page = store.known_of(number(1), None).await.unwrap();
    assert!(matches!(&page.known[..], [Known::Count(count)] if count.count == 3));
    assert_eq!(store.erase(page.known, at(2)).await.unwrap(), 1);
    assert_eq!(
        pending(&*store).await,
        [(number(2), "letter".to_owned(), 2)]
    );
    let page = store.known_of(number(1), None).await.unwrap();
    assert!(page.known.is_empty());
    world.finish(store).await;
}
