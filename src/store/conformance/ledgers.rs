//! Credit: taken with the messages that it pays for, given back with their end, and at every instant the
//! sum of its ledger. Each story ends with `fsck`, which adds it up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::on_every_engine;
use super::world::{World, accepted, claimant, keyed, shop, submission, token};
use crate::domain::credit::{Day, Means, Unpaid, Why};
use crate::domain::event::{Changes, Rejection};
use crate::domain::fixtures::{at, batch_id, lane, message, message_id, number};
use crate::domain::message::Message;
use crate::domain::optout::{Opposed, OptOut, Source};
use crate::domain::status::Status;
use crate::domain::tenant::{Quotas, Unit};
use crate::domain::terms::{Charge, Terms};
use crate::domain::time::Timestamp;
use crate::store::{
    Accepted, Idempotency, OutboxEvent, Posting, Report, Store, StoreError, Submission, Webhook,
};

on_every_engine! {
    of_fifty_at_once_those_are_taken_that_are_paid_for,
    a_batch_is_paid_for_whole_or_not_stored,
    a_repetition_costs_nothing,
    what_ends_with_nothing_having_left_comes_back_once,
    what_has_left_does_not_come_back,
    who_has_opted_out_costs_nothing,
    a_start_gives_back_what_it_ends,
    an_engine_that_fails_anywhere_leaves_the_balance_the_sum_of_its_ledger,
    quotas_are_counted_and_come_back_over_a_restart,
    a_top_up_under_the_same_key_is_one,
    a_threshold_is_told_with_the_commit_that_crosses_it,
    a_ledger_is_read_in_pages_and_pruned_into_what_it_carries,
    a_message_without_a_price_touches_no_credit,
    a_ledger_that_was_tampered_with_is_found,
    a_plan_is_paid_with_what_the_one_before_it_gives_back,
    a_changed_text_is_paid_anew_and_a_change_that_is_refused_is_not,
}

const PRICE: i64 = 217_700;

fn euros() -> Means {
    Means {
        unit: Some(Unit::Eur),
        day: Day {
            number: 739_000,
            ..Day::default()
        },
        ..Means::default()
    }
}

/// Message number `n`, at a price.
fn priced(n: u64) -> Message {
    let charge = Charge {
        micros: PRICE,
        parts: 1,
        ..Charge::default()
    };
    Message {
        terms: Some(Box::new(Terms {
            charge: Some(charge),
            ..Terms::default()
        })),
        ..message(n)
    }
}

fn paid(messages: Vec<Message>) -> Submission {
    Submission {
        means: euros(),
        ..submission(messages)
    }
}

fn posting(amount: i64) -> Posting {
    Posting {
        tenant: shop(),
        unit: Unit::Eur,
        amount,
        note: Some("Facture 17".to_owned()),
        by: Some("desk".to_owned()),
        idempotency: None,
        now: at(0),
    }
}

/// A store whose shop has so much.
async fn with_credit(world: &World, micros: i64) -> Arc<dyn Store> {
    let store = world.open(at(0));
    store.post_credit(posting(micros)).await.unwrap();
    store
}

fn left(store: &dyn Store) -> i64 {
    store.purse(&shop()).balance.micros
}

async fn whys(store: &dyn Store) -> Vec<(Why, i64)> {
    let page = store.ledger(&shop(), None, 1000).await.unwrap();
    let lines = page.lines.iter().rev();
    lines.map(|line| (line.what, line.amount)).collect()
}

async fn of_fifty_at_once_those_are_taken_that_are_paid_for(world: World) {
    let store = with_credit(&world, 4_790_000).await;
    let posts = (0..50).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.accept(paid(vec![priced(n)])).await })
    });
    let mut taken = 0;
    for post in posts.collect::<Vec<_>>() {
        match post.await.unwrap() {
            Ok(Accepted::New(_)) => taken += 1,
            Err(StoreError::Unpaid(Unpaid::Credit { left, .. })) => assert!(left < PRICE),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((taken, left(&*store)), (22, 600));
    assert_eq!(store.gauges(at(1)).live, 22);
    let store = world.reopen(store, at(1)).await;
    assert_eq!(left(&*store), 600);
    world.finish(store).await;
}

fn batch(count: u64) -> Vec<Message> {
    let messages = (0..count).map(|n| Message {
        batch: Some(batch_id(1)),
        ..priced(n)
    });
    messages.collect()
}

async fn a_batch_is_paid_for_whole_or_not_stored(world: World) {
    let store = with_credit(&world, 99 * PRICE).await;
    let refused = store.accept(paid(batch(100))).await.unwrap_err();
    let (unit, needed, left_over) = (Unit::Eur, 100 * PRICE, 99 * PRICE);
    assert_eq!(
        refused,
        StoreError::Unpaid(Unpaid::Credit {
            unit,
            needed,
            left: left_over
        })
    );
    assert_eq!(store.gauges(at(1)).live, 0);
    store.accept(paid(batch(99))).await.unwrap();
    assert_eq!(left(&*store), 0);
    let page = store.ledger(&shop(), None, 10).await.unwrap();
    let line = &page.lines[0];
    assert_eq!(page.lines.len(), 2, "one line a submission");
    assert_eq!((line.messages, line.parts), (99, 99));
    assert_eq!(
        (line.batch, line.message),
        (Some(batch_id(1)), Some(message_id(0)))
    );
    world.finish(store).await;
}

async fn a_repetition_costs_nothing(world: World) {
    let store = with_credit(&world, PRICE).await;
    for _ in 0..3 {
        let submission = Submission {
            means: euros(),
            ..keyed(vec![priced(1)], 1, 1)
        };
        store.accept(submission).await.unwrap();
        assert_eq!(left(&*store), 0);
    }
    world.finish(store).await;
}

async fn what_ends_with_nothing_having_left_comes_back_once(world: World) {
    let store = with_credit(&world, 10 * PRICE).await;
    for n in 1..=3 {
        store.accept(paid(vec![priced(n)])).await.unwrap();
    }
    assert_eq!(left(&*store), 7 * PRICE);
    store.cancel(&shop(), message_id(1), at(1)).await.unwrap();
    let again = store.cancel(&shop(), message_id(1), at(1)).await;
    assert_eq!(again.unwrap_err(), StoreError::TooLate);
    assert_eq!(left(&*store), 8 * PRICE, "once");
    let leased = store.claims(1, at(1)).await.remove(0);
    assert_eq!(leased.id, message_id(2));
    let refused = Report::Rejected {
        token: token(&leased),
        rejection: Rejection::Permanent("11".to_owned()),
    };
    store.reports(refused.clone(), at(2)).await;
    store.reports(refused, at(2)).await;
    assert_eq!(left(&*store), 9 * PRICE);
    let late = at(0) + Duration::from_hours(49);
    store.time_out(late, 10).await.unwrap();
    assert_eq!(left(&*store), 10 * PRICE, "expired unsent");
    assert!(store.time_out(late, 10).await.unwrap().is_empty());
    for n in 1..=3 {
        let message = store.message(&shop(), message_id(n)).await.unwrap();
        let terms = message.terms.unwrap();
        assert!(terms.charge.unwrap().given_back, "{n}");
    }
    let whys = whys(&*store).await;
    let back = whys.iter().filter(|it| **it == (Why::GivenBack, PRICE));
    assert_eq!((whys.len(), back.count()), (7, 3));
    world.finish(store).await;
}

async fn what_has_left_does_not_come_back(world: World) {
    let store = with_credit(&world, 10 * PRICE).await;
    store
        .accept(paid(vec![priced(1), priced(2)]))
        .await
        .unwrap();
    let sent = store.claims(2, at(1)).await;
    store.reports(accepted(&sent[0], 0, "a1"), at(2)).await;
    // Nobody can tell: it may have been taken, and paid for, by the carrier.
    let doubt = Report::Unknown {
        token: token(&sent[1]),
        segment: 0,
        doubt: crate::domain::message::Doubt::Timeout,
    };
    store.reports(doubt, at(2)).await;
    let late = at(0) + Duration::from_hours(24 * 10);
    store.time_out(late, 10).await.unwrap();
    for message in &sent {
        let message = store.message(&shop(), message.id).await.unwrap();
        assert!(message.status().is_final(), "{:?}", message.state);
    }
    assert_eq!(left(&*store), 8 * PRICE);
    world.finish(store).await;
}

fn optout(n: u64) -> OptOut {
    OptOut {
        tenant: shop(),
        number: Opposed::Number(number(n)),
        sender: None,
        since: at(0),
        source: Source::Api,
    }
}

async fn who_has_opted_out_costs_nothing(world: World) {
    let store = with_credit(&world, PRICE).await;
    store.opt_out(optout(1)).await.unwrap();
    // The credit is for one, and one of them is over at once.
    store
        .accept(paid(vec![priced(1), priced(2)]))
        .await
        .unwrap();
    assert_eq!(left(&*store), 0);
    let over = store.message(&shop(), message_id(1)).await.unwrap();
    assert_eq!(
        (over.status(), over.terms.unwrap().charge),
        (Status::Failed, None)
    );
    // Opted out while it waits: it comes back.
    store.opt_out(optout(2)).await.unwrap();
    assert_eq!(left(&*store), PRICE);
    world.finish(store).await;
}

async fn a_start_gives_back_what_it_ends(world: World) {
    let store = with_credit(&world, PRICE).await;
    store.accept(paid(vec![priced(1)])).await.unwrap();
    // Leaving when its recipient opts out, by a claim that only memory holds.
    store
        .claim(&lane("orange"), claimant("a", at(1)), 1, at(1))
        .await
        .unwrap();
    store.opt_out(optout(1)).await.unwrap();
    assert_eq!(left(&*store), 0);
    let store = world.reopen(store, at(2)).await;
    assert_eq!(left(&*store), PRICE);
    let ended = store.message(&shop(), message_id(1)).await.unwrap();
    assert_eq!(ended.status(), Status::Failed);
    let store = world.reopen(store, at(3)).await;
    assert_eq!(left(&*store), PRICE, "once");
    world.finish(store).await;
}

/// What happens before the engine fails: a batch in four pieces, and what ends some of it.
async fn story(store: &dyn Store) -> Result<(), StoreError> {
    store.accept(paid(batch(200))).await?;
    store.accept(paid(vec![priced(500)])).await?;
    for n in [500, 3, 199] {
        store.cancel(&shop(), message_id(n), at(1)).await?;
    }
    store.opt_out(optout(7)).await?;
    store.post_credit(posting(PRICE)).await?;
    store.time_out(at(0) + Duration::from_hours(49), 64).await?;
    Ok(())
}

async fn an_engine_that_fails_anywhere_leaves_the_balance_the_sum_of_its_ledger(each: World) {
    let mut balances = BTreeSet::new();
    for applies in 0..14 {
        let world = each.anew();
        let store = with_credit(&world, 300 * PRICE).await;
        world.finish(store).await;
        let (store, probe) = world.open_probed(at(0));
        probe.fail_once_after(applies);
        let told = story(&*store).await;
        store.close().await;
        drop((store, probe));
        let store = world.open(at(2));
        let live = i64::try_from(store.gauges(at(2)).live).unwrap();
        let topped_up = left(&*store) / PRICE + live - 300;
        assert!((0..=1).contains(&topped_up), "after {applies}: {told:?}");
        balances.insert(left(&*store));
        world.finish(store).await;
        if told.is_ok() {
            assert!(balances.len() > 5, "{balances:?}");
            return;
        }
    }
    panic!("the story is longer");
}

async fn quotas_are_counted_and_come_back_over_a_restart(world: World) {
    let store = world.open(at(0));
    let means = Means {
        unit: None,
        quotas: Quotas {
            daily_parts: 3,
            monthly_parts: 0,
        },
        key: Some((
            "rk_1".to_owned(),
            Quotas {
                daily_parts: 2,
                monthly_parts: 0,
            },
        )),
        ..euros()
    };
    let of_key = |n| {
        let mut message = priced(n);
        let charge = message.terms.as_mut().unwrap().charge.as_mut().unwrap();
        charge.key = Some("rk_1".to_owned());
        message
    };
    let post = |store: Arc<dyn Store>, n| {
        let submission = Submission {
            means: means.clone(),
            ..paid(vec![of_key(n)])
        };
        async move { store.accept(submission).await.map(drop) }
    };
    post(store.clone(), 1).await.unwrap();
    let store = world.reopen(store, at(1)).await;
    post(store.clone(), 2).await.unwrap();
    let refused = post(store.clone(), 3).await.unwrap_err();
    assert!(matches!(
        refused,
        StoreError::Unpaid(Unpaid::Quota { used: 2, .. })
    ));
    store.cancel(&shop(), message_id(2), at(2)).await.unwrap();
    let used = store.used_by_key(&shop(), "rk_1").await.unwrap();
    assert_eq!((used.day_parts, used.month_parts), (1, 1));
    assert_eq!(store.purse(&shop()).used.day_parts, 1);
    post(store.clone(), 3).await.unwrap();
    assert_eq!(whys(&*store).await, [], "no credit, no ledger");
    world.finish(store).await;
}

async fn a_top_up_under_the_same_key_is_one(world: World) {
    let store = world.open(at(0));
    let keyed = |body: u8| Posting {
        idempotency: Some(Idempotency {
            key: [1; 16],
            body: [body; 16],
        }),
        ..posting(5_000_000)
    };
    let first = store.post_credit(keyed(1)).await.unwrap();
    assert!(!first.repeated);
    let again = store.post_credit(keyed(1)).await.unwrap();
    assert_eq!((again.line, again.repeated), (first.line, true));
    let other = store.post_credit(keyed(2)).await.unwrap_err();
    assert_eq!(other, StoreError::Conflict);
    assert_eq!(left(&*store), 5_000_000);
    let refused = store.post_credit(posting(-5_000_001)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unpaid(Unpaid::Credit { .. })));
    store.post_credit(posting(-5_000_000)).await.unwrap();
    assert_eq!(left(&*store), 0);
    world.finish(store).await;
}

async fn a_threshold_is_told_with_the_commit_that_crosses_it(world: World) {
    let store = with_credit(&world, 3 * PRICE).await;
    store
        .put_webhook(Webhook {
            id: "w".to_owned(),
            tenant: shop(),
            url: "https://shop.example/".to_owned(),
            types: vec!["credit.low".to_owned()],
            secret: "whsec_c2VjcmV0".to_owned(),
            created_at: at(0),
        })
        .await
        .unwrap();
    for n in 1..=3 {
        let means = Means {
            thresholds: vec![PRICE],
            email: vec!["desk@shop.example".to_owned()],
            ..euros()
        };
        let submission = Submission {
            means,
            ..paid(vec![priced(n)])
        };
        store.accept(submission).await.unwrap();
    }
    // Durable with what caused it: a start has it still.
    let store = world.reopen(store, at(1)).await;
    let due = store.outbox_due(at(1), 10, &[]).await.unwrap().deliveries;
    let mut urls: Vec<_> = due.iter().map(|it| it.url.as_str()).collect();
    urls.sort_unstable();
    assert_eq!(urls, ["https://shop.example/", "mailto:desk@shop.example"]);
    for delivery in &due {
        let OutboxEvent::CreditLow(low) = &delivery.event else {
            panic!("{delivery:?}");
        };
        assert_eq!((low.threshold, low.balance), (PRICE, PRICE));
    }
    world.finish(store).await;
}

async fn a_ledger_is_read_in_pages_and_pruned_into_what_it_carries(mut world: World) {
    world.keeping.retention.messages = Duration::from_hours(24);
    let store = world.open(at(0));
    for n in 0..150_u64 {
        let now = at(0) + Duration::from_mins(n * 10);
        let posting = Posting { now, ..posting(1) };
        store.post_credit(posting).await.unwrap();
    }
    let first = store.ledger(&shop(), None, 100).await.unwrap();
    assert_eq!((first.lines[0].number, first.next), (149, Some(50)));
    let second = store.ledger(&shop(), first.next, 100).await.unwrap();
    assert_eq!((second.lines.len(), second.next), (50, None));
    // The first 102 lines are a day old then.
    let now: Timestamp = at(0) + Duration::from_mins(24 * 60 + 1010);
    while store.prune(now).await.unwrap() {}
    let purse = store.purse(&shop());
    assert_eq!((purse.first, purse.carried.micros), (102, 102));
    assert_eq!(purse.balance.micros, 150);
    let rest = store.ledger(&shop(), None, 1000).await.unwrap();
    assert_eq!(rest.lines.len(), 48);
    let store = world.reopen(store, now).await;
    assert_eq!(left(&*store), 150);
    world.finish(store).await;
}

async fn a_message_without_a_price_touches_no_credit(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    store.cancel(&shop(), message_id(1), at(1)).await.unwrap();
    assert!(store.purses().is_empty());
    world.finish(store).await;
}

async fn a_ledger_that_was_tampered_with_is_found(world: World) {
    use crate::store::codec::encode;
    use crate::store::{fsck, keys};
    let store = with_credit(&world, 300).await;
    store.post_credit(posting(200)).await.unwrap();
    store.close().await;
    let mut purse = (*store.purse(&shop())).clone();
    drop(store);
    purse.balance.micros += 1;
    let forged = encode(&purse).unwrap();
    let problems = world.with_kv(|kv| {
        kv.apply(&[(keys::purse(&shop()), Some(forged))]).unwrap();
        let more = fsck::check(kv).unwrap().problem_count;
        kv.apply(&[(keys::line(&shop(), 1), None)]).unwrap();
        let gap = fsck::check(kv).unwrap();
        (more, gap)
    });
    assert_eq!(problems.0, 1);
    let told = problems.1.to_string();
    assert!(told.contains("its ledger says 0.0003 EUR"), "{told}");
}

async fn a_plan_is_paid_with_what_the_one_before_it_gives_back(world: World) {
    let store = with_credit(&world, PRICE).await;
    let planned = |n| {
        let mut message = priced(n);
        let terms = message.terms.as_mut().unwrap();
        terms.schedule_key = Some("intervention-4711".to_owned());
        message
    };
    for n in 1..=5 {
        store.accept(paid(vec![planned(n)])).await.unwrap();
        assert_eq!(left(&*store), 0, "{n}");
    }
    let other = store.accept(paid(vec![priced(6)])).await.unwrap_err();
    assert!(matches!(other, StoreError::Unpaid(Unpaid::Credit { .. })));
    // One in the place of the last, and another one besides: together they are too much.
    let both = store.accept(paid(vec![planned(7), priced(8)])).await;
    assert!(matches!(
        both,
        Err(StoreError::Unpaid(Unpaid::Credit { .. }))
    ));
    let last = store.message(&shop(), message_id(5)).await.unwrap();
    assert_eq!(last.status(), Status::Pending, "nothing was replaced");
    let lines = whys(&*store).await;
    assert_eq!(lines.len(), 10, "{lines:?}");
    world.finish(store).await;
}

async fn a_changed_text_is_paid_anew_and_a_change_that_is_refused_is_not(world: World) {
    let store = with_credit(&world, 2 * PRICE).await;
    store.accept(paid(vec![priced(1)])).await.unwrap();
    let change = async |parts: u32| {
        let seen = Arc::new(store.message(&shop(), message_id(1)).await.unwrap());
        let mut changes = Changes::none(&seen).unwrap();
        let long = crate::domain::fixtures::in_parts(1, parts.try_into().unwrap());
        (changes.text, changes.plan) = (long.text, long.plan);
        let charge = Charge {
            micros: PRICE * i64::from(parts),
            parts,
            ..Charge::default()
        };
        changes.terms.as_mut().unwrap().charge = Some(charge);
        store.change(seen, changes, euros(), at(1)).await
    };
    change(2).await.unwrap().unwrap();
    assert_eq!(left(&*store), 0);
    let refused = change(3).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unpaid(Unpaid::Credit { .. })));
    change(1).await.unwrap().unwrap();
    assert_eq!(left(&*store), PRICE);
    // What it took last is what comes back.
    let leaving = store.claims(1, at(1)).await.remove(0);
    let back = Report::GivenBack {
        token: token(&leaving),
        why: crate::domain::message::WaitReason::NoChannelUp,
    };
    store.reports(back, at(2)).await;
    store.cancel(&shop(), message_id(1), at(3)).await.unwrap();
    assert_eq!(left(&*store), 2 * PRICE);
    world.finish(store).await;
}
