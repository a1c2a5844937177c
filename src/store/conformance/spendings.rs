//! What SIMs have sent: remembered over a restart, once a message, until it counts no more.

use std::time::Duration;

use super::on_every_engine;
use super::world::World;
use crate::domain::fixtures::{at, message_id, number};
use crate::store::{Spending, Store};

on_every_engine! {
    what_a_sim_has_sent_is_remembered_over_a_restart,
    a_message_sent_again_is_one_spending_the_last,
    prune_forgets_what_counts_no_more_a_bounded_amount_a_turn,
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
