//! What is past keeping goes: texts, then numbers, then records; in time, none forgotten, and with no
//! look at what is not due.

use std::time::Duration;

use super::on_every_engine;
use super::probe::Call;
use super::world::{World, accepted, all, receipt, shop};
use crate::domain::fixtures::{at, batch_id, message, message_id, number, random};
use crate::domain::id::{InboundId, MessageId};
use crate::domain::inbound::Inbound;
use crate::domain::message::{Message, State, WaitReason};
use crate::domain::msisdn::Msisdn;
use crate::domain::privacy::{Erased, Keeping, Retention};
use crate::domain::receipt::{ReceiptState, canonical_reference};
use crate::domain::status::Status;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;
use crate::store::keys::{self, KeySpace};
use crate::store::{Known, OutboxEvent, Query, Receiving, Spending, Store};

on_every_engine! {
    texts_go_then_numbers_then_records_each_a_set_time_after_the_final_state,
    what_takes_long_to_its_end_goes_as_long_after_it_as_the_rest,
    what_becomes_final_behind_the_sweep_is_not_forgotten_over_a_restart,
    another_retention_holds_for_what_was_passed_before,
    handsets_messages_go_likewise_each_tenants,
    a_late_receipt_corrects_an_erased_message_and_brings_nothing_back,
    a_sweep_does_not_look_again_at_what_it_has_done,
    a_life_costs_no_write_for_being_erased_later,
    erasing_leaves_nothing_of_the_number_but_what_must_stay,
    what_cannot_be_read_holds_up_no_sweep,
    texts_go_when_their_tenant_wants_it_and_numbers_with_the_rest,
    a_late_receipt_gives_a_tenants_text_its_time_anew,
    what_handsets_sent_goes_in_time_after_the_clock_was_put_back,
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Texts for 30 days, numbers for 395, records for 1095.
fn usual() -> Keeping {
    Keeping {
        retention: Retention::default(),
        ..Keeping::default()
    }
}

async fn sweep(store: &dyn Store, now: Timestamp) {
    for _ in 0..1000 {
        if !store.prune(now).await.unwrap() {
            return;
        }
    }
    panic!("the sweep has no end");
}

/// Message number `n`, with all that a caller may write.
fn told(n: u64) -> Message {
    Message {
        metadata: Some("{\"name\":\"Dupont\"}".to_owned()),
        reference: Some(format!("dossier-{n}")),
        webhook_url: Some("https://a.example/?who=Dupont".to_owned()),
        ..message(n)
    }
}

async fn delivers(store: &dyn Store, message: Message, now: Timestamp) -> MessageId {
    let reference = format!("{}", message.id);
    let sent = store.sends(message, &reference, now).await;
    let delivered = receipt(&reference, ReceiptState::Delivered);
    store.receives(delivered, now).await;
    sent.id
}

async fn erased(store: &dyn Store, id: MessageId) -> Erased {
    store.message(&shop(), id).await.unwrap().erased
}

async fn texts_go_then_numbers_then_records_each_a_set_time_after_the_final_state(
    mut world: World,
) {
    world.keeping = usual();
    let store = world.open(at(0));
    let id = delivers(&*store, told(1), at(5)).await;
    let before = store.message(&shop(), id).await.unwrap();
    sweep(&*store, at(30 * DAY + 4)).await;
    assert_eq!(store.message(&shop(), id).await.unwrap(), before);
    sweep(&*store, at(30 * DAY + 5)).await;
    let mut expected = before.clone();
    expected.erase_text(at(30 * DAY + 5));
    assert_eq!(store.message(&shop(), id).await.unwrap(), expected);
    let to = |to| Query {
        to: Some(to),
        ..all()
    };
    assert_eq!(store.find(to(number(1))).await.unwrap().items.len(), 1);
    let store = world.reopen(store, at(31 * DAY)).await;
    sweep(&*store, at(395 * DAY + 4)).await;
    assert_eq!(erased(&*store, id).await.number, None);
    sweep(&*store, at(395 * DAY + 5)).await;
    expected.erase_number(&world.keeping.pseudonyms, at(395 * DAY + 5));
    let found = store.message(&shop(), id).await.unwrap();
    assert_eq!(found, expected);
    assert_eq!(
        (found.to, found.status()),
        (Msisdn::NOBODY, Status::Delivered)
    );
    assert_eq!(found.updated_at, before.updated_at);
    for number in [number(1), Msisdn::NOBODY] {
        assert!(store.find(to(number)).await.unwrap().items.is_empty());
    }
    // What led to it leads nowhere.
    let again = receipt(&id.to_string(), ReceiptState::Undeliverable);
    let outcome = store.receives(again, at(396 * DAY)).await;
    assert!(matches!(outcome, Receiving::Parked), "{outcome:?}");
    sweep(&*store, at(1095 * DAY + 4)).await;
    assert_eq!(store.find(all()).await.unwrap().items.len(), 1);
    sweep(&*store, at(1095 * DAY + 5)).await;
    assert!(store.find(all()).await.unwrap().items.is_empty());
    world.finish(store).await;
}

async fn what_takes_long_to_its_end_goes_as_long_after_it_as_the_rest(mut world: World) {
    world.keeping = usual();
    let store = world.open(at(0));
    // One ends after a day, another at once a moment later: the sweep meets the first one first.
    store.takes(vec![told(1)]).await;
    let slow = store.claims(1, at(1)).await.remove(0);
    let quick = delivers(&*store, told(2), at(1)).await;
    store.reports(accepted(&slow, 0, "slow"), at(2)).await;
    let delivered = receipt("slow", ReceiptState::Delivered);
    store.receives(delivered, at(DAY)).await;
    let gone = async |id| erased(&*store, id).await.text_at;
    // The quick one goes as soon as the sweep has waited for the slow one, an hour at most.
    sweep(&*store, at(30 * DAY + HOUR + 60)).await;
    assert_eq!(gone(quick).await, Some(at(30 * DAY + HOUR + 60)));
    assert_eq!(gone(slow.id).await, None);
    sweep(&*store, at(31 * DAY - 1)).await;
    assert_eq!(gone(slow.id).await, None);
    sweep(&*store, at(31 * DAY)).await;
    assert_eq!(gone(slow.id).await, Some(at(31 * DAY)));
    world.finish(store).await;
}

async fn what_becomes_final_behind_the_sweep_is_not_forgotten_over_a_restart(mut world: World) {
    world.keeping = usual();
    let store = world.open(at(0));
    let due_at = at(50 * DAY);
    let scheduled = |n| Message {
        state: State::Waiting {
            due_at,
            why: WaitReason::ScheduledByClient,
        },
        expires_at: due_at + Duration::from_hours(48),
        ..told(n)
    };
    store.takes(vec![scheduled(1), scheduled(2)]).await;
    delivers(&*store, told(3), at(1)).await;
    sweep(&*store, at(40 * DAY)).await;
    store
        .cancel(&shop(), message_id(1), at(41 * DAY))
        .await
        .unwrap();
    let leased = store.claims(1, due_at).await.remove(0);
    // The claim of the other one is forgotten by the restart, and then its time runs out.
    drop(leased);
    let store = world.reopen(store, at(51 * DAY)).await;
    store.time_out(at(60 * DAY), 10).await.unwrap();
    sweep(&*store, at(71 * DAY - 1)).await;
    assert_eq!(erased(&*store, message_id(1)).await.text_at, None);
    sweep(&*store, at(71 * DAY)).await;
    assert_eq!(
        erased(&*store, message_id(1)).await.text_at,
        Some(at(71 * DAY))
    );
    let store = world.reopen(store, at(72 * DAY)).await;
    sweep(&*store, at(90 * DAY)).await;
    assert_eq!(
        erased(&*store, message_id(2)).await.text_at,
        Some(at(90 * DAY))
    );
    world.finish(store).await;
}

async fn another_retention_holds_for_what_was_passed_before(mut world: World) {
    world.keeping = usual();
    let store = world.open(at(0));
    store.takes(vec![told(1)]).await;
    let slow = store.claims(1, at(1)).await.remove(0);
    store.reports(accepted(&slow, 0, "slow"), at(2)).await;
    store
        .receives(receipt("slow", ReceiptState::Delivered), at(2 * DAY))
        .await;
    sweep(&*store, at(30 * DAY + 2 * HOUR)).await;
    // Noted as to be looked at in two days; now a week longer.
    world.keeping.retention.texts = Duration::from_hours(24 * 37);
    let store = world.reopen(store, at(31 * DAY)).await;
    sweep(&*store, at(39 * DAY - 1)).await;
    assert_eq!(erased(&*store, slow.id).await.text_at, None);
    // And now at once.
    world.keeping.retention.texts = Duration::from_hours(24 * 3);
    let store = world.reopen(store, at(39 * DAY - 1)).await;
    sweep(&*store, at(39 * DAY - 1)).await;
    assert_eq!(
        erased(&*store, slow.id).await.text_at,
        Some(at(39 * DAY - 1))
    );
    world.finish(store).await;
}

fn heard(n: u64, tenant: &str) -> Inbound {
    let received_at = at(n);
    Inbound {
        id: InboundId::new(received_at, random(n)),
        tenant: tenant.into(),
        account: "a".into(),
        channel: "a#1".into(),
        from: format!("+336{n:08}"),
        to: "36111".to_owned(),
        text: "Merci".to_owned(),
        part: None,
        received_at,
        keyword: None,
        incomplete: false,
        erased: Erased::default(),
        fingerprint: None,
    }
}

async fn handsets_messages_go_likewise_each_tenants(mut world: World) {
    world.keeping = usual();
    world.policy.send_modify(|policy| {
        let policy = std::sync::Arc::make_mut(policy);
        policy.inbound.tenants.insert("b".into(), "town".into());
    });
    let store = world.open(at(0));
    for n in 1..=100 {
        store
            .take_in(vec![heard(n, "shop"), heard(n + DAY, "town")])
            .await
            .unwrap();
    }
    let count = async |tenant: &str, is: fn(&Inbound) -> bool| {
        let page = store.inbound(&tenant.into(), None, 1000).await.unwrap();
        page.items.iter().filter(|inbound| is(inbound)).count()
    };
    let texts = |inbound: &Inbound| !inbound.text.is_empty();
    let numbers = |inbound: &Inbound| !inbound.from.is_empty();
    sweep(&*store, at(30 * DAY)).await;
    assert_eq!(
        (count("shop", texts).await, count("town", texts).await),
        (100, 100)
    );
    sweep(&*store, at(30 * DAY + 2 * HOUR)).await;
    assert_eq!(
        (count("shop", texts).await, count("town", texts).await),
        (0, 100)
    );
    assert_eq!(count("shop", numbers).await, 100);
    sweep(&*store, at(395 * DAY + 20 * HOUR)).await;
    assert_eq!(
        (count("shop", numbers).await, count("town", numbers).await),
        (0, 100)
    );
    sweep(&*store, at(1100 * DAY)).await;
    assert_eq!(
        (count("shop", |_| true).await, count("town", |_| true).await),
        (0, 0)
    );
    world.finish(store).await;
}

async fn a_late_receipt_corrects_an_erased_message_and_brings_nothing_back(mut world: World) {
    world.keeping = usual();
    let store = world.open(at(0));
    store.sends(told(1), "late", at(1)).await;
    let expired = receipt("late", ReceiptState::Expired);
    store.receives(expired, at(2)).await;
    sweep(&*store, at(31 * DAY)).await;
    let delivered = receipt("late", ReceiptState::Delivered);
    let outcome = store.receives(delivered, at(32 * DAY)).await;
    assert!(matches!(outcome, Receiving::Matched(..)), "{outcome:?}");
    let found = store.message(&shop(), message_id(1)).await.unwrap();
    assert_eq!(
        (found.status(), found.text.as_str()),
        (Status::Delivered, "")
    );
    assert_eq!(found.erased.text_at, Some(at(31 * DAY)));
    world.finish(store).await;
}

async fn a_sweep_does_not_look_again_at_what_it_has_done(mut world: World) {
    world.keeping = usual();
    let (store, probe) = world.open_probed(at(0));
    for n in 0..300 {
        delivers(&*store, told(n), at(1)).await;
    }
    for n in 300..400 {
        let late = Message {
            id: MessageId::new(at(29 * DAY) + Duration::from_millis(n), random(n)),
            created_at: at(29 * DAY),
            updated_at: at(29 * DAY),
            expires_at: at(31 * DAY),
            ..told(n)
        };
        delivers(&*store, late, at(29 * DAY)).await;
    }
    let pairs = async |now| {
        let before = probe.pairs();
        let more = store.prune(now).await.unwrap();
        (more, probe.pairs() - before)
    };
    // The first counts all octets.
    let _ = pairs(at(30 * DAY)).await;
    let now = at(30 * DAY) + Duration::from_secs(10);
    let mut turns = 0;
    while pairs(now).await.0 {
        turns += 1;
    }
    assert_eq!(turns, 4, "64 messages a turn");
    let (_, looked_at) = pairs(now).await;
    assert!(looked_at < 10, "{looked_at}");
    drop(probe);
    world.finish(store).await;
}

async fn a_life_costs_no_write_for_being_erased_later(mut world: World) {
    world.keeping = usual();
    let (store, probe) = world.open_probed(at(0));
    delivers(&*store, message(1), at(1)).await;
    probe.calls();
    let writes = |calls: Vec<Call>| {
        let count = |call: &Call| match call {
            Call::Apply(writes) => *writes,
            Call::Sync | Call::Answered => 0,
        };
        calls.iter().map(count).sum::<usize>()
    };
    delivers(&*store, message(2), at(2)).await;
    let life = writes(probe.calls());
    // Record, recipient, mark of claims; record and reference; record moved.
    assert!(life <= 8, "{life}");
    drop(probe);
    world.finish(store).await;
}

/// Everything that is known of a number, over all pages.
async fn known(store: &dyn Store, number: Msisdn) -> Vec<Known> {
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let page = store.known_of(number, from).await.unwrap();
        all.extend(page.known);
        from = page.next;
        if from.is_none() {
            return all;
        }
    }
}

async fn erasing_leaves_nothing_of_the_number_but_what_must_stay(world: World) {
    let store = world.open(at(0));
    let theirs = |n| Message {
        to: number(9),
        webhook_url: Some("https://a.example/hook".to_owned()),
        ..told(n)
    };
    let id = delivers(&*store, theirs(1), at(1)).await;
    delivers(&*store, message(2), at(1)).await;
    store.takes(vec![theirs(3)]).await;
    let mine = |n, from: &str| Inbound {
        from: from.to_owned(),
        ..heard(n, "shop")
    };
    store
        .take_in(vec![mine(4, "+33600000009"), mine(5, "+33600000008")])
        .await
        .unwrap();
    let mut orphan = receipt("nobody-knows", ReceiptState::Delivered);
    orphan.handset = Some(number(9));
    store.receives(orphan, at(5)).await;
    let spending = Spending {
        sim: "1".to_owned(),
        message: id,
        to: number(9),
        at: at(6),
    };
    store.spend(vec![spending]).await.unwrap();
    let what = known(&*store, number(9)).await;
    assert_eq!(what.len(), 5);
    assert_eq!(store.erase(what, at(7)).await.unwrap(), 3);
    // What waits is left alone, and what its SIM has to account for.
    let left = known(&*store, number(9)).await;
    assert!(
        matches!(&left[..], [Known::Message(_), Known::Spending(_)]),
        "{left:?}"
    );
    assert_eq!(known(&*store, number(8)).await.len(), 1);
    assert_eq!(store.gauges(at(8)).orphans, 0);
    // What was still to be told of it is told without its number.
    let due = store.outbox_due(at(8), 100, &[]).await.unwrap().deliveries;
    let told: Vec<_> = due
        .iter()
        .filter_map(|delivery| match &delivery.event {
            OutboxEvent::Message(message) => Some((message.id, message.to, message.text.len())),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(id, Msisdn::NOBODY, 0)]);
    world.finish(store).await;
}

async fn what_cannot_be_read_holds_up_no_sweep(mut world: World) {
    world.keeping = usual();
    let store = world.open(at(0));
    let mut batch = told(1);
    batch.batch = Some(batch_id(1));
    let first = delivers(&*store, batch, at(1)).await;
    let second = delivers(&*store, told(2), at(1)).await;
    store.close().await;
    drop(store);
    // The seal of a batch, and what a carrier's id leads to.
    let reference = keys::reference(&"a".into(), &canonical_reference(&first.to_string()));
    world.with_kv(|kv| {
        for damaged in [keys::batch(batch_id(1)), reference] {
            assert!(kv.get(&damaged).unwrap().is_some());
            kv.apply(&[(damaged, Some(vec![1, 0xFF, 0xFF]))]).unwrap();
        }
        kv.sync().unwrap();
    });
    let store = world.open(at(2));
    sweep(&*store, at(396 * DAY)).await;
    for id in [first, second] {
        assert!(erased(&*store, id).await.number.is_some());
    }
    sweep(&*store, at(1097 * DAY)).await;
    store.close().await;
    drop(store);
    let left = world.with_kv(|kv| kv.scan(KeySpace::History.range(), false).count());
    assert_eq!(left, 0);
}

async fn what_handsets_sent_goes_in_time_after_the_clock_was_put_back(mut world: World) {
    world.keeping = usual();
    let store = world.open(at(0));
    let from_ahead = heard(100 * DAY, "shop");
    store.take_in(vec![from_ahead]).await.unwrap();
    sweep(&*store, at(140 * DAY)).await;
    // It is the 50th day in truth.
    for tenant in ["shop", "town"] {
        store.take_in(vec![heard(50 * DAY, tenant)]).await.unwrap();
    }
    let store = world.reopen(store, at(50 * DAY)).await;
    let texts = async |store: &dyn Store, tenant: &str| {
        let page = store.inbound(&tenant.into(), None, 10).await.unwrap();
        let texts = page.items.iter().filter(|it| !it.text.is_empty());
        texts.count()
    };
    sweep(&*store, at(79 * DAY)).await;
    assert_eq!(texts(&*store, "shop").await, 1);
    sweep(&*store, at(82 * DAY)).await;
    assert_eq!(texts(&*store, "shop").await, 0);
    assert_eq!(texts(&*store, "town").await, 0);
    world.finish(store).await;
}

/// Message number `n`, of a tenant that wants its texts kept for so many seconds.
fn kept_for(n: u64, seconds: u64) -> Message {
    let terms = Terms {
        keep_text_s: Some(seconds),
        ..Terms::default()
    };
    Message {
        terms: Some(Box::new(terms)),
        ..told(n)
    }
}

async fn texts_go_when_their_tenant_wants_it_and_numbers_with_the_rest(mut world: World) {
    world.keeping = usual();
    let store = world.open(at(0));
    let at_once = delivers(&*store, kept_for(1, 0), at(5)).await;
    let a_week = delivers(&*store, kept_for(2, 7 * DAY), at(5)).await;
    let too_long = delivers(&*store, kept_for(3, 90 * DAY), at(5)).await;
    let as_usual = delivers(&*store, told(4), at(5)).await;
    let gone = async |store: &dyn Store, id| erased(store, id).await.text_at;
    sweep(&*store, at(5)).await;
    assert_eq!(gone(&*store, at_once).await, Some(at(5)));
    assert_eq!(gone(&*store, a_week).await, None);
    let store = world.reopen(store, at(DAY)).await;
    sweep(&*store, at(7 * DAY + 4)).await;
    assert_eq!(gone(&*store, a_week).await, None);
    sweep(&*store, at(7 * DAY + 5)).await;
    assert_eq!(gone(&*store, a_week).await, Some(at(7 * DAY + 5)));
    for id in [too_long, as_usual] {
        assert_eq!(gone(&*store, id).await, None);
    }
    // Never longer than the installation keeps anything.
    sweep(&*store, at(30 * DAY + HOUR + 60)).await;
    for id in [too_long, as_usual] {
        assert!(gone(&*store, id).await.is_some());
    }
    sweep(&*store, at(395 * DAY + DAY)).await;
    for id in [at_once, a_week, too_long, as_usual] {
        assert!(erased(&*store, id).await.number.is_some());
    }
    world.finish(store).await;
}

async fn a_late_receipt_gives_a_tenants_text_its_time_anew(mut world: World) {
    world.keeping = usual();
    let (store, probe) = world.open_probed(at(0));
    let sent = store.sends(kept_for(1, DAY), "late", at(1)).await;
    let failed = receipt("late", ReceiptState::Undeliverable);
    store.receives(failed, at(2)).await;
    let delivered = receipt("late", ReceiptState::Delivered);
    store.receives(delivered, at(HOUR)).await;
    sweep(&*store, at(DAY + 2)).await;
    assert_eq!(erased(&*store, sent.id).await.text_at, None);
    sweep(&*store, at(DAY + HOUR)).await;
    assert_eq!(erased(&*store, sent.id).await.text_at, Some(at(DAY + HOUR)));
    // What was erased is not looked at again.
    probe.calls();
    sweep(&*store, at(DAY + HOUR + 60)).await;
    let wrote = |call: &Call| matches!(call, Call::Apply(_));
    assert!(!probe.calls().iter().any(wrote));
    drop(probe);
    world.finish(store).await;
}
