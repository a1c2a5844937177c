//! Named hours at the moment of a claim: what comes due while they are shut is put off.

use super::on_every_engine;
use super::world::{World, claimant, shop};
use crate::domain::fixtures::{at, lane, message, message_id};
use crate::domain::message::{Cause, Message, State, WaitReason, What};
use crate::domain::status::Status;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;

on_every_engine! {
    what_comes_due_in_shut_hours_waits_for_them_to_open_and_hides_nothing_behind_it,
    a_long_queue_is_put_off_in_pieces,
    what_was_put_off_can_be_withdrawn_and_expires,
    hours_that_never_open_leave_a_message_to_the_end_of_its_validity,
}

/// Message number `n`, bound to these hours; the stories of tests begin at 23:13 in Paris.
fn bound(n: u64, hours: &str) -> Message {
    let terms = Terms {
        hours: vec![hours.to_owned()],
        ..Terms::default()
    };
    Message {
        terms: Some(Box::new(terms)),
        ..message(n)
    }
}

/// Eight in the morning in Paris.
fn morning() -> Timestamp {
    Timestamp::parse_rfc3339("2023-11-15T08:00:00+01:00").unwrap()
}

async fn what_comes_due_in_shut_hours_waits_for_them_to_open_and_hides_nothing_behind_it(
    world: World,
) {
    let store = world.open(at(0));
    store.takes(vec![bound(1, "fr-seed")]).await;
    store.takes(vec![message(2)]).await;
    let claimed = store
        .claim(&lane("orange"), claimant("a", at(9)), 1, at(9))
        .await
        .unwrap();
    let ids: Vec<_> = claimed.messages.iter().map(|it| it.id).collect();
    assert_eq!((ids, claimed.deferred), (vec![message_id(2)], 1));
    let store = world.reopen(store, at(10)).await;
    let waiting = store.message(&shop(), message_id(1)).await.unwrap();
    let why = WaitReason::SendingHours;
    let due_at = morning();
    assert_eq!(
        waiting.state,
        State::Waiting {
            due_at,
            why: why.clone()
        }
    );
    assert_eq!(waiting.events[1].what, What::GivenBack(why));
    assert_eq!(waiting.status(), Status::Pending);
    let claimed = |messages: Vec<Message>| messages.iter().map(|it| it.id).collect::<Vec<_>>();
    // The other one's lease went with the process.
    let before = Timestamp(due_at.millis() - 1);
    assert_eq!(claimed(store.claims(9, before).await), [message_id(2)]);
    assert_eq!(claimed(store.claims(9, due_at).await), [message_id(1)]);
    world.finish(store).await;
}

async fn a_long_queue_is_put_off_in_pieces(world: World) {
    let store = world.open(at(0));
    store
        .takes((0..300).map(|n| bound(n, "fr-seed")).collect())
        .await;
    for expected in [256, 44, 0] {
        let claimed = store
            .claim(&lane("orange"), claimant("a", at(9)), 16, at(9))
            .await;
        let claimed = claimed.unwrap();
        assert_eq!((claimed.messages.len(), claimed.deferred), (0, expected));
    }
    // In the order in which they were accepted.
    let first = store.claims(300, morning()).await;
    let ids: Vec<_> = first.iter().map(|it| it.id).collect();
    assert_eq!(ids, (0..300).map(message_id).collect::<Vec<_>>());
    world.finish(store).await;
}

async fn what_was_put_off_can_be_withdrawn_and_expires(world: World) {
    let store = world.open(at(0));
    store
        .takes((1..=2).map(|n| bound(n, "fr-seed")).collect())
        .await;
    assert_eq!(store.claims(9, at(9)).await, []);
    let withdrawn = store.cancel(&shop(), message_id(1), at(10)).await.unwrap();
    assert_eq!(withdrawn.message.status(), Status::Cancelled);
    let end = message(2).expires_at;
    let over = store.time_out(end, 9).await.unwrap();
    assert_eq!(over[0].message.reason(), Some(Cause::ValidityPassed));
    assert_eq!(store.gauges(end).live, 0);
    world.finish(store).await;
}

async fn hours_that_never_open_leave_a_message_to_the_end_of_its_validity(world: World) {
    let store = world.open(at(0));
    let mut both = bound(1, "office");
    both.terms
        .as_mut()
        .unwrap()
        .hours
        .push("weekend".to_owned());
    let mut rules = crate::domain::fixtures::policy();
    let window = crate::domain::hours::Window::parse("sat,sun 00:00-24:00").unwrap();
    let mut weekend = rules.hours.get("office").unwrap().as_ref().clone();
    weekend.name = "weekend".to_owned();
    weekend.open = vec![window].into();
    rules.hours.insert(weekend);
    world.policy.send(rules.into()).unwrap();
    store.takes(vec![both]).await;
    assert_eq!(store.claims(9, at(9)).await, []);
    let end = message(1).expires_at;
    let waiting = store.message(&shop(), message_id(1)).await.unwrap();
    assert!(matches!(waiting.state, State::Waiting { due_at, .. } if due_at == end));
    assert_eq!(store.claims(9, end).await, []);
    assert_eq!(store.time_out(end, 9).await.unwrap().len(), 1);
    world.finish(store).await;
}
