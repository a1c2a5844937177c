//! What SIMs have sent: remembered over a restart, once a message, until it counts no more.

use std::sync::Arc;
use std::time::Duration;

use super::on_every_engine;
use super::world::{World, claimant};
use crate::domain::fixtures::{at, lane, message, message_id, number};
use crate::domain::id::MessageId;
use crate::domain::message::Message;
use crate::domain::msisdn::Msisdn;
use crate::store::{Claimant, Spending, Store};

on_every_engine! {
    what_a_sim_has_sent_is_remembered_over_a_restart,
    a_message_sent_again_is_one_spending_the_last,
    prune_forgets_what_counts_no_more_a_bounded_amount_a_turn,
    a_claim_for_certain_recipients_leaves_the_others_where_they_were,
    a_claim_for_certain_recipients_does_not_look_through_the_backlog,
}

fn spending(sim: &str, n: u64, second: u64) -> Spending {
    Spending {
        sim: sim.to_owned(),
        message: message_id(n),
        to: number(n),
        at: at(second),
    }
}

fn sorted(store: &dyn Store) -> Vec<Spending> {
    let mut spendings = store.spendings();
    spendings.sort();
    spendings
}

async fn what_a_sim_has_sent_is_remembered_over_a_restart(world: World) {
    let store = world.open(at(0));
    assert_eq!(store.spendings(), []);
    let spent = vec![
        spending("208010000000001", 1, 1),
        spending("208010000000001", 2, 2),
        spending("208010000000002", 3, 3),
        spending("sim1", 1, 4),
    ];
    store.spend(spent.clone()).await.unwrap();
    assert_eq!(sorted(&*store), spent);
    let store = world.reopen(store, at(5)).await;
    assert_eq!(sorted(&*store), spent);
    world.finish(store).await;
}

async fn a_message_sent_again_is_one_spending_the_last(world: World) {
    let store = world.open(at(0));
    store.spend(vec![spending("1", 1, 1)]).await.unwrap();
    let again = vec![spending("1", 1, 60), spending("2", 1, 61)];
    store.spend(again.clone()).await.unwrap();
    assert_eq!(sorted(&*store), again);
    world.finish(store).await;
}

async fn prune_forgets_what_counts_no_more_a_bounded_amount_a_turn(world: World) {
    let store = world.open(at(0));
    let count = 1200;
    let spent = (0..count).map(|n| spending("1", n, n % 2 * 60)).collect();
    store.spend(spent).await.unwrap();
    let left = |store: &dyn Store| store.spendings().len();
    store
        .prune(at(59) + Spending::KEPT - Duration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(left(&*store), 1200);
    store.prune(at(59) + Spending::KEPT).await.unwrap();
    assert!((700..1200).contains(&left(&*store)), "{}", left(&*store));
    for _ in 0..5 {
        store.prune(at(59) + Spending::KEPT).await.unwrap();
    }
    assert_eq!(left(&*store), 600);
    for _ in 0..5 {
        store.prune(at(60) + Spending::KEPT).await.unwrap();
    }
    assert_eq!(left(&*store), 0);
    world.finish(store).await;
}

fn to(n: u64, to: Msisdn) -> Message {
    Message { to, ..message(n) }
}

async fn claims_to(store: &dyn Store, to: Msisdn, limit: usize) -> Vec<MessageId> {
    let by = Claimant {
        only_to: Some(Arc::new([to].into())),
        ..claimant("a", at(1))
    };
    let claimed = store.claim(&lane("orange"), by, limit, at(1)).await;
    let claimed = claimed.unwrap().messages;
    claimed.iter().map(|message| message.id).collect()
}

async fn a_claim_for_certain_recipients_leaves_the_others_where_they_were(world: World) {
    let store = world.open(at(0));
    let (one, other) = (number(1), number(2));
    let messages = [(1, other), (2, one), (3, other), (4, one), (5, one)];
    store
        .takes(messages.map(|(n, number)| to(n, number)).into())
        .await;
    assert_eq!(claims_to(&*store, one, 2).await, [2, 4].map(message_id));
    assert_eq!(claims_to(&*store, number(3), 2).await, []);
    let rest = store.claims(10, at(1)).await;
    let rest: Vec<_> = rest.iter().map(|message| message.id).collect();
    assert_eq!(rest, [1, 3, 5].map(message_id));
    world.finish(store).await;
}

async fn a_claim_for_certain_recipients_does_not_look_through_the_backlog(world: World) {
    let store = world.open(at(0));
    let backlog = (1..=100).map(|n| to(n, number(1)));
    store
        .takes(backlog.chain([to(101, number(2))]).collect())
        .await;
    assert_eq!(claims_to(&*store, number(2), 1).await, []);
    store.claims(50, at(1)).await;
    assert_eq!(claims_to(&*store, number(2), 1).await, [message_id(101)]);
    assert_eq!(store.claims(100, at(1)).await.len(), 50);
    world.finish(store).await;
}
