//! What handsets send: parts, keywords, and what an opt-out does to what waits.

use super::on_every_engine;
use super::world::{World, accepted, shop, submission, token};
use crate::domain::event::Rejection;
use crate::domain::fixtures::{at, batch_id, message, message_id, number, random};
use crate::domain::id::{InboundId, Tenant};
use crate::domain::inbound::{Inbound, Numbering, Part, Parts};
use crate::domain::message::{Cause, Message, State};
use crate::domain::optout::{Opposed, OptOut, Source};
use crate::domain::privacy::Erased;
use crate::domain::status::Status;
use crate::store::conformance::Call;
use crate::store::{Accepted, Report, Store, StoreError, TakenIn, Webhook};

on_every_engine! {
    a_stop_and_all_that_follows_from_it_are_one_commit,
    an_opt_out_survives_reopening_and_is_its_tenant_s_alone,
    an_opt_out_stays_what_it_was_when_it_is_asked_for_again,
    what_is_accepted_for_a_number_that_opted_out_fails_at_once_in_a_large_batch_too,
    a_message_leased_at_the_stop_fails_when_it_would_wait_again,
    a_message_leased_at_the_stop_and_forgotten_fails_at_the_next_start,
    a_stop_and_an_acceptance_in_one_group_leave_nothing_waiting,
    parts_survive_reopening_and_their_text_is_told_once,
    parts_that_stay_away_are_given_up_in_time_also_after_reopening,
    a_part_numbered_impossibly_is_a_text_of_its_own,
    opt_outs_are_listed_page_by_page,
    what_a_sim_shows_again_is_taken_in_once_and_obeyed_once,
    parts_that_a_sim_shows_again_begin_no_other_text,
    what_a_sim_has_shown_is_known_for_a_week_after_and_then_forgotten,
    what_has_no_fingerprint_costs_no_key_more,
}

fn wrote(n: u64, text: &str) -> Inbound {
    Inbound {
        id: InboundId::new(at(n), random(n)),
        tenant: shop(),
        account: "a".into(),
        channel: "a#1".into(),
        from: number(1).to_string(),
        to: "36111".to_owned(),
        text: text.to_owned(),
        part: None,
        received_at: at(n),
        keyword: None,
        incomplete: false,
        erased: Erased::default(),
        fingerprint: None,
    }
}

fn part(n: u64, index: u8, total: u8, text: &str) -> Inbound {
    Inbound {
        part: Some(Part {
            numbering: Numbering::Header16,
            reference: 7,
            total,
            index,
        }),
        ..wrote(n, text)
    }
}

fn asked(n: u64, tenant: &str) -> OptOut {
    OptOut {
        tenant: tenant.into(),
        number: Opposed::Number(number(n)),
        sender: None,
        since: at(n),
        source: Source::Api,
    }
}

/// Message `n`, to number 1.
fn to_one(n: u64) -> Message {
    let mut message = message(n);
    message.to = number(1);
    message
}

impl dyn Store {
    async fn hears(&self, inbound: Inbound) -> TakenIn {
        self.take_in(vec![inbound]).await.unwrap()
    }

    async fn reason(&self, n: u64) -> Option<Cause> {
        let message = self.message(&shop(), message_id(n)).await.unwrap();
        message.reason()
    }

    async fn texts(&self) -> Vec<String> {
        let page = self.inbound(&shop(), None, 1000).await.unwrap();
        page.items.into_iter().rev().map(|one| one.text).collect()
    }
}

async fn a_stop_and_all_that_follows_from_it_are_one_commit(world: World) {
    let (store, probe) = world.open_probed(at(0));
    let hook = Webhook {
        id: "w".to_owned(),
        tenant: shop(),
        url: "https://client.example/".to_owned(),
        types: vec!["message.failed".into(), "inbound.received".into()],
        secret: "whsec_c2VjcmV0".to_owned(),
        created_at: at(0),
    };
    store.put_webhook(hook).await.unwrap();
    store.takes(vec![to_one(1)]).await;
    store.takes(vec![to_one(2)]).await;
    store.takes(vec![message(3)]).await;
    let _ = probe.calls();
    let taken = store.hears(wrote(9, "Stop.")).await;
    let calls = probe.calls();
    assert!(
        matches!(calls[..], [Call::Apply(_), Call::Sync]),
        "{calls:?}"
    );
    assert_eq!(taken.failed.len(), 2);
    assert_eq!(taken.received[0].keyword.as_ref().unwrap().word, "STOP");
    for n in [1, 2] {
        assert_eq!(store.reason(n).await, Some(Cause::OptedOut));
    }
    assert_eq!(store.reason(3).await, None);
    let due = store.outbox_due(at(9), 100, &[]).await.unwrap().deliveries;
    let mut told: Vec<_> = due.iter().map(|delivery| delivery.event.kind()).collect();
    told.sort_unstable();
    let expected = ["inbound.received", "message.failed", "message.failed"];
    assert_eq!(told, expected);
    assert_eq!(store.gauges(at(9)).live, 1);
    assert_eq!(store.claims(9, at(9)).await.len(), 1);
    drop(probe);
    let store = world.reopen(store, at(10)).await;
    assert_eq!(store.reason(1).await, Some(Cause::OptedOut));
    world.finish(store).await;
}

async fn an_opt_out_survives_reopening_and_is_its_tenant_s_alone(world: World) {
    let store = world.open(at(0));
    let stop = wrote(1, "« ARRÊT »");
    store.hears(stop.clone()).await;
    let store = world.reopen(store, at(2)).await;
    let known = store.optout(&shop(), number(1)).await.unwrap();
    let expected = OptOut {
        tenant: shop(),
        number: Opposed::Number(number(1)),
        sender: None,
        since: at(1),
        source: Source::Keyword {
            inbound: stop.id,
            wording: stop.text,
        },
    };
    assert_eq!(known, expected);
    store.takes(vec![to_one(1)]).await;
    assert_eq!(store.reason(1).await, Some(Cause::OptedOut));
    let other = Tenant::from("other");
    let mut message = to_one(2);
    message.tenant = other.clone();
    store.takes(vec![message]).await;
    let theirs = store.message(&other, message_id(2)).await.unwrap();
    assert_eq!(theirs.status(), Status::Pending);
    let unknown = store.optout(&other, number(1)).await;
    assert_eq!(unknown, Err(StoreError::NotFound));
    store.hears(wrote(3, "start")).await;
    let store = world.reopen(store, at(4)).await;
    store.takes(vec![to_one(3)]).await;
    assert_eq!(store.reason(3).await, None);
    world.finish(store).await;
}

async fn an_opt_out_stays_what_it_was_when_it_is_asked_for_again(world: World) {
    let store = world.open(at(0));
    store.opt_out(asked(1, "shop")).await.unwrap();
    let taken = store.hears(wrote(5, "STOP")).await;
    assert!(taken.failed.is_empty() && taken.received.len() == 1);
    store
        .opt_out(OptOut {
            since: at(9),
            ..asked(1, "shop")
        })
        .await
        .unwrap();
    let known = store.optout(&shop(), number(1)).await;
    assert_eq!(known, Ok(asked(1, "shop")));
    store.opt_in(&shop(), number(1), None).await.unwrap();
    let again = store.opt_in(&shop(), number(1), None).await;
    assert_eq!(again, Err(StoreError::NotFound));
    world.finish(store).await;
}

async fn what_is_accepted_for_a_number_that_opted_out_fails_at_once_in_a_large_batch_too(
    world: World,
) {
    let store = world.open(at(0));
    store.opt_out(asked(1, "shop")).await.unwrap();
    let batch = |n: u64| {
        let mut message = if n.is_multiple_of(2) {
            to_one(n)
        } else {
            message(n)
        };
        message.batch = Some(batch_id(1));
        message
    };
    let messages: Vec<_> = (2..302).map(batch).collect();
    let stored = match store.accept(submission(messages)).await.unwrap() {
        Accepted::New(stored) => stored,
        other => panic!("{other:?}"),
    };
    for (n, message) in (2_u64..).zip(&stored) {
        let expected = n.is_multiple_of(2).then_some(Cause::OptedOut);
        assert_eq!((message.id, message.reason()), (message_id(n), expected));
        assert_eq!(store.reason(n).await, expected);
    }
    assert_eq!(store.gauges(at(1)).live, 150);
    let store = world.reopen(store, at(2)).await;
    assert_eq!(store.gauges(at(2)).live, 150);
    assert_eq!(store.claims(500, at(3)).await.len(), 150);
    world.finish(store).await;
}

async fn a_message_leased_at_the_stop_fails_when_it_would_wait_again(world: World) {
    let store = world.open(at(0));
    store.takes(vec![to_one(1), to_one(2)]).await;
    let leased = store.claims(2, at(1)).await;
    let taken = store.hears(wrote(2, "STOP")).await;
    assert!(taken.failed.is_empty(), "what is leaving is not recalled");
    store.reports(accepted(&leased[0], 0, "x"), at(3)).await;
    let refused = Report::Rejected {
        token: token(&leased[1]),
        rejection: Rejection::Temporary("0x08".to_owned()),
    };
    let change = store.reports(refused, at(3)).await.unwrap();
    assert_eq!(change.message.reason(), Some(Cause::OptedOut));
    assert!(change.transition.status_changed());
    let sent = store.message(&shop(), leased[0].id).await.unwrap();
    assert!(matches!(sent.state, State::Submitted { .. }));
    assert!(store.claims(9, at(900)).await.is_empty());
    world.finish(store).await;
}

async fn a_message_leased_at_the_stop_and_forgotten_fails_at_the_next_start(world: World) {
    let store = world.open(at(0));
    store.takes(vec![to_one(1)]).await;
    assert_eq!(store.claims(1, at(1)).await.len(), 1);
    store.hears(wrote(2, "STOP")).await;
    let store = world.reopen(store, at(3)).await;
    assert_eq!(store.reason(1).await, Some(Cause::OptedOut));
    assert_eq!(store.gauges(at(3)).live, 0);
    world.finish(store).await;
}

async fn a_stop_and_an_acceptance_in_one_group_leave_nothing_waiting(world: World) {
    let (store, probe) = world.open_probed(at(0));
    for (n, stop_first) in [(1, true), (2, false)] {
        probe.shut();
        let first = {
            let store = store.clone();
            tokio::spawn(async move { store.takes(vec![message(100 + n)]).await })
        };
        probe.holds_up().await;
        // Both wait for the writer now, in this order or the other.
        let mut waiting = message(n);
        waiting.to = number(n);
        let stop = Inbound {
            from: number(n).to_string(),
            ..wrote(n, "STOP")
        };
        let accept = |store: std::sync::Arc<dyn Store>| async move {
            store.takes(vec![waiting]).await;
        };
        let hear = |store: std::sync::Arc<dyn Store>| async move {
            store.hears(stop).await;
        };
        let both = if stop_first {
            let hear = tokio::spawn(hear(store.clone()));
            tokio::task::yield_now().await;
            [hear, tokio::spawn(accept(store.clone()))]
        } else {
            let accept = tokio::spawn(accept(store.clone()));
            tokio::task::yield_now().await;
            [accept, tokio::spawn(hear(store.clone()))]
        };
        tokio::task::yield_now().await;
        probe.open();
        first.await.unwrap();
        for task in both {
            task.await.unwrap();
        }
        assert_eq!(store.reason(n).await, Some(Cause::OptedOut));
        assert_eq!(store.claims(9, at(9)).await.len(), 1, "the first one");
    }
    drop(probe);
    world.finish(store).await;
}

async fn parts_survive_reopening_and_their_text_is_told_once(world: World) {
    let store = world.open(at(0));
    store.hears(part(1, 3, 3, "c")).await;
    let store = world.reopen(store, at(2)).await;
    store.hears(part(2, 1, 3, "a")).await;
    let store = world.reopen(store, at(3)).await;
    assert!(store.texts().await.is_empty());
    let taken = store.hears(part(3, 2, 3, "b")).await;
    assert_eq!(taken.received[0].text, "abc");
    // The answer was lost, and the carrier repeats after the restart.
    let store = world.reopen(store, at(4)).await;
    assert!(store.hears(part(4, 2, 3, "b")).await.received.is_empty());
    assert_eq!(store.texts().await, ["abc"]);
    let over = at(3) + Parts::REPEATED;
    assert_eq!(store.next_parts_deadline(), Some(over));
    let taken = store.give_up_parts(over, 10).await.unwrap();
    assert!(taken.received.is_empty(), "it was told already");
    assert_eq!(store.next_parts_deadline(), None);
    world.finish(store).await;
}

async fn parts_that_stay_away_are_given_up_in_time_also_after_reopening(world: World) {
    let store = world.open(at(0));
    store.hears(part(1, 1, 3, "a")).await;
    store.hears(part(50, 3, 3, "c")).await;
    let store = world.reopen(store, at(60)).await;
    assert_eq!(store.next_parts_deadline(), Some(at(3601)));
    let early = store.give_up_parts(at(3600), 10).await.unwrap();
    assert!(early.received.is_empty());
    let taken = store.give_up_parts(at(3601), 10).await.unwrap();
    let told = &taken.received[0];
    assert_eq!((told.text.as_str(), told.incomplete), ("a[…]c", true));
    assert_eq!(store.texts().await, ["a[…]c"]);
    let store = world.reopen(store, at(3700)).await;
    assert_eq!(store.next_parts_deadline(), None);
    assert_eq!(store.texts().await, ["a[…]c"]);
    world.finish(store).await;
}

async fn a_part_numbered_impossibly_is_a_text_of_its_own(world: World) {
    let store = world.open(at(0));
    for (n, index, total) in [(1, 0, 2), (2, 3, 2), (3, 1, 1), (4, 1, 0)] {
        let taken = store.hears(part(n, index, total, "text")).await;
        assert_eq!(taken.received.len(), 1, "{index} of {total}");
        assert!(!taken.received[0].incomplete);
    }
    assert_eq!(store.texts().await.len(), 4);
    world.finish(store).await;
}

async fn opt_outs_are_listed_page_by_page(world: World) {
    let store = world.open(at(0));
    for n in [4, 2, 9, 7, 1] {
        store.opt_out(asked(n, "shop")).await.unwrap();
    }
    for tenant in ["sho", "shoq", "other"] {
        store.opt_out(asked(3, tenant)).await.unwrap();
    }
    for limit in [1, 2, 5, 9] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = store.optouts(&shop(), after, limit).await.unwrap();
            assert!(page.items.len() <= limit);
            found.extend(page.items.iter().map(|optout| optout.number));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, [1, 2, 4, 7, 9].map(|n| Opposed::Number(number(n))));
    }
    world.finish(store).await;
}

/// The same, as a SIM shows it.
fn shown(fingerprint: u8, inbound: Inbound) -> Inbound {
    Inbound {
        fingerprint: Some([fingerprint; 16]),
        ..inbound
    }
}

async fn what_a_sim_shows_again_is_taken_in_once_and_obeyed_once(world: World) {
    let store = world.open(at(0));
    let both = vec![shown(1, wrote(1, "STOP")), shown(1, wrote(2, "STOP"))];
    assert_eq!(store.take_in(both).await.unwrap().received.len(), 1);
    store.opt_in(&shop(), number(1), None).await.unwrap();
    let store = world.reopen(store, at(3)).await;
    let again = store.hears(shown(1, wrote(4, "STOP"))).await;
    assert!(again.received.is_empty());
    let out = store.optout(&shop(), number(1)).await;
    assert_eq!(out, Err(StoreError::NotFound));
    // The same words, sent again.
    assert_eq!(
        store.hears(shown(2, wrote(5, "STOP"))).await.received.len(),
        1
    );
    assert_eq!(store.texts().await.len(), 2);
    world.finish(store).await;
}

async fn parts_that_a_sim_shows_again_begin_no_other_text(world: World) {
    let store = world.open(at(0));
    store.hears(shown(1, part(1, 1, 2, "a"))).await;
    let taken = store.hears(shown(2, part(2, 2, 2, "b"))).await;
    assert_eq!(taken.received[0].text, "ab");
    let over = at(3) + Parts::REPEATED;
    store.give_up_parts(over, 10).await.unwrap();
    let store = world.reopen(store, over).await;
    for (fingerprint, index, text) in [(1, 1, "a"), (2, 2, "b")] {
        store
            .hears(shown(fingerprint, part(9, index, 2, text)))
            .await;
    }
    assert_eq!(store.next_parts_deadline(), None);
    assert_eq!(store.texts().await, ["ab"]);
    world.finish(store).await;
}

async fn what_a_sim_has_shown_is_known_for_a_week_after_and_then_forgotten(world: World) {
    let day = 24 * 3600;
    let mut store = world.open(at(0));
    let first = store.hears(shown(1, wrote(1, "bonjour"))).await;
    assert_eq!(first.received.len(), 1);
    // For as long as it is shown, once in 7 days or oftener.
    for n in 1..=5 {
        let now = n * 7 * day;
        while store.prune(at(now)).await.unwrap() {}
        store = world.reopen(store, at(now)).await;
        let again = store.hears(shown(1, wrote(now, "bonjour"))).await;
        assert!(again.received.is_empty(), "after {n} weeks");
    }
    for n in 0..255 {
        store
            .hears(shown(n, wrote(36 * day + u64::from(n), "x")))
            .await;
    }
    let later = at(51 * day);
    while store.prune(later).await.unwrap() {}
    store.close().await;
    drop(store);
    world.check();
    let left = world.with_kv(|kv| {
        let shown = crate::store::keys::KeySpace::Shown.range();
        kv.scan(shown, false).count()
    });
    assert_eq!(left, 0);
}

async fn what_has_no_fingerprint_costs_no_key_more(world: World) {
    let (store, probe) = world.open_probed(at(0));
    let _ = probe.calls();
    store.hears(wrote(1, "bonjour")).await;
    let without = probe.calls();
    assert!(matches!(without[..], [Call::Apply(1), Call::Sync]));
    store.hears(shown(1, wrote(2, "bonjour"))).await;
    let with = probe.calls();
    assert!(matches!(with[..], [Call::Apply(2), Call::Sync]), "{with:?}");
    store.hears(shown(1, wrote(3, "bonjour"))).await;
    assert!(!probe.calls().contains(&Call::Apply(2)));
    drop(probe);
    world.finish(store).await;
}
