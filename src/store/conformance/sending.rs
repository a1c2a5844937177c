//! Acceptance, claims, reports, withdrawal and deadlines.

use std::collections::HashSet;
use std::time::Duration;

use super::on_every_engine;
use super::world::{World, accepted, claimant, keyed, reach, shop, submission, token};
use crate::domain::event::Rejection;
use crate::domain::fixtures::{at, batch_id, in_parts, lane, message, message_id};
use crate::domain::message::{Cause, Doubt, Progress, State, WaitReason};
use crate::domain::status::Status;
use crate::store::{Accepted, Claimant, Pause, Reach, Report, Store, StoreError, Submission};

on_every_engine! {
    accept_stores_all_or_nothing,
    accept_with_same_key_and_same_body_answers_the_first_ids_again,
    accept_with_same_key_and_other_body_conflicts,
    fifty_at_once_with_one_key_store_one_message,
    more_live_messages_than_allowed_are_refused_and_final_ones_do_not_count,
    claim_takes_what_is_due_and_says_when_the_lane_has_work_again,
    claim_takes_urgent_ones_first_and_each_priority_in_due_order,
    every_tenth_claim_takes_the_one_that_is_due_longest,
    claim_never_returns_a_message_twice,
    claim_leaves_other_lanes_alone,
    lanes_that_hold_nothing_are_not_listed,
    the_second_part_refused_keeps_the_first_and_the_next_claim_resumes,
    a_report_after_the_lease_was_lost_changes_nothing,
    a_late_acceptance_after_the_lease_was_lost_cancels_the_resend,
    a_report_on_an_unknown_message_changes_nothing,
    given_back_keeps_its_place_in_the_lane,
    cancel_withdraws_a_waiting_message_and_only_its_tenant_may,
    time_out_ends_what_is_over_and_nothing_else,
    time_out_is_bounded_and_goes_on,
    a_claimed_message_past_its_validity_is_ended_by_the_reaper,
    a_large_submission_is_sealed_and_whole,
    what_an_account_may_have_a_part_of_is_claimed_for_that_account_alone,
    what_was_certainly_refused_is_free_for_any_account,
    one_at_a_time_to_each_recipient_nobody_overtakes_one_that_is_refused,
    those_in_line_go_on_when_the_one_before_them_is_withdrawn_or_over,
    a_pause_is_remembered_until_it_is_forgotten,
}

async fn accept_stores_all_or_nothing(world: World) {
    let store = world.open(at(0));
    let ids = store.takes((0..5).map(message).collect()).await;
    assert_eq!(ids, (0..5).map(message_id).collect::<Vec<_>>());
    let refused = Submission {
        max_live: 7,
        ..submission((5..8).map(message).collect())
    };
    assert_eq!(store.accept(refused).await, Err(StoreError::Full));
    for n in 0..8 {
        let found = store.message(&shop(), message_id(n)).await;
        assert_eq!(found.is_ok(), n < 5, "message {n}");
    }
    assert_eq!(store.gauges(at(1)).live, 5);
    world.finish(store).await;
}

async fn accept_with_same_key_and_same_body_answers_the_first_ids_again(world: World) {
    let store = world.open(at(0));
    let first = (0..3).map(|n| {
        let mut message = message(n);
        message.batch = Some(batch_id(1));
        message
    });
    let first = keyed(first.collect(), 1, 1);
    assert!(matches!(
        store.accept(first).await.unwrap(),
        Accepted::New(_)
    ));
    let repeated = Accepted::Repeated {
        batch: Some(batch_id(1)),
        messages: (0..3).map(message_id).collect(),
        duplicates: Vec::new(),
    };
    let again = || keyed((10..13).map(message).collect(), 1, 1);
    assert_eq!(store.accept(again()).await.unwrap(), repeated);
    let store = world.reopen(store, at(1)).await;
    assert_eq!(store.accept(again()).await.unwrap(), repeated);
    assert_eq!(store.gauges(at(1)).live, 3);
    world.finish(store).await;
}

async fn accept_with_same_key_and_other_body_conflicts(world: World) {
    let store = world.open(at(0));
    let _ = store.accept(keyed(vec![message(1)], 1, 1)).await.unwrap();
    let other = keyed(vec![message(2)], 1, 2);
    assert_eq!(store.accept(other).await, Err(StoreError::Conflict));
    let other_key = keyed(vec![message(3)], 2, 2);
    assert!(store.accept(other_key).await.is_ok());
    assert_eq!(store.gauges(at(1)).live, 2);
    world.finish(store).await;
}

async fn fifty_at_once_with_one_key_store_one_message(world: World) {
    let store = world.open(at(0));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50 {
        let store = store.clone();
        calls.spawn(async move { store.accept(keyed(vec![message(n)], 9, 9)).await.unwrap() });
    }
    let mut new = Vec::new();
    let mut repeated = HashSet::new();
    while let Some(answer) = calls.join_next().await {
        match answer.unwrap() {
            Accepted::New(messages) => new.push(messages[0].id),
            Accepted::Repeated { messages, .. } => {
                repeated.insert(messages[0]);
            }
            other @ Accepted::Planned(_) => panic!("{other:?}"),
        }
    }
    assert_eq!(new.len(), 1);
    assert_eq!(repeated, new.into_iter().collect());
    assert_eq!(store.gauges(at(1)).live, 1);
    world.finish(store).await;
}

async fn more_live_messages_than_allowed_are_refused_and_final_ones_do_not_count(world: World) {
    let store = world.open(at(0));
    let limited = |n| Submission {
        max_live: 2,
        ..submission(vec![message(n)])
    };
    for n in 0..2 {
        assert!(store.accept(limited(n)).await.is_ok());
    }
    assert_eq!(store.accept(limited(2)).await, Err(StoreError::Full));
    let _ = store.cancel(&shop(), message_id(0), at(1)).await.unwrap();
    assert!(store.accept(limited(2)).await.is_ok());
    assert_eq!(store.accept(limited(3)).await, Err(StoreError::Full));
    world.finish(store).await;
}

async fn claim_takes_what_is_due_and_says_when_the_lane_has_work_again(world: World) {
    let store = world.open(at(0));
    let mut later = message(2);
    later.state = State::Waiting {
        due_at: at(100),
        why: WaitReason::ScheduledByClient,
    };
    store.takes(vec![message(1), later]).await;
    let claimed = store
        .claim(&lane("orange"), claimant("a", at(1)), 10, at(1))
        .await
        .unwrap();
    assert_eq!(claimed.messages.len(), 1);
    assert_eq!(claimed.messages[0].id, message_id(1));
    assert_eq!(claimed.next_due, Some(at(100)));
    assert_eq!(store.next_due(&lane("orange"), &reach()), Some(at(100)));
    let seen = store.message(&shop(), message_id(1)).await.unwrap();
    assert!(matches!(seen.state, State::Leased(_)));
    assert!(store.claims(10, at(99)).await.is_empty());
    assert_eq!(store.claims(10, at(100)).await.len(), 1);
    assert_eq!(store.next_due(&lane("orange"), &reach()), None);
    world.finish(store).await;
}

async fn claim_takes_urgent_ones_first_and_each_priority_in_due_order(world: World) {
    let store = world.open(at(0));
    let mut messages = Vec::new();
    for (n, priority) in [(1, 0), (2, 3), (3, 1), (4, 3), (5, 2), (6, 0)] {
        let mut message = message(n);
        message.priority = priority;
        messages.push(message);
    }
    store.takes(messages).await;
    let mut order = Vec::new();
    for _ in 0..6 {
        order.push(store.claims(1, at(1)).await.remove(0).id);
    }
    assert_eq!(order, [2, 4, 5, 3, 1, 6].map(message_id));
    world.finish(store).await;
}

async fn every_tenth_claim_takes_the_one_that_is_due_longest(world: World) {
    let store = world.open(at(0));
    let mut messages = vec![message(0)];
    messages[0].priority = 0;
    for n in 1..=30 {
        let mut message = message(n);
        message.priority = 3;
        messages.push(message);
    }
    store.takes(messages).await;
    let order: Vec<_> = store.claims(31, at(1)).await;
    let place = order.iter().position(|m| m.id == message_id(0));
    assert_eq!(place, Some(9), "an urgent flood holds nobody up for ever");
    world.finish(store).await;
}

async fn claim_never_returns_a_message_twice(world: World) {
    let store = world.open(at(0));
    for n in 0..10 {
        let messages = (0..50).map(|m| message(n * 50 + m)).collect();
        store.takes(messages).await;
    }
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        claims.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let some = store.claims(7, at(1)).await;
                if some.is_empty() {
                    return mine;
                }
                // Reports go in between, so that records move while others claim.
                for message in &some {
                    let reference = message.id.to_string();
                    let change = store
                        .reports(accepted(message, 0, &reference), at(1))
                        .await
                        .unwrap();
                    assert_eq!(change.message.status(), Status::Sent);
                }
                mine.extend(some.into_iter().map(|message| message.id));
            }
        });
    }
    let mut taken = Vec::new();
    while let Some(mine) = claims.join_next().await {
        taken.extend(mine.unwrap());
    }
    assert_eq!(taken.len(), 500);
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), 500);
    world.finish(store).await;
}

async fn claim_leaves_other_lanes_alone(world: World) {
    let store = world.open(at(0));
    let mut other = message(1);
    other.lane = lane("default");
    store.takes(vec![other, message(2)]).await;
    let taken = store.claims(10, at(1)).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].id, message_id(2));
    assert_eq!(store.lanes(), [lane("default")]);
    world.finish(store).await;
}

async fn lanes_that_hold_nothing_are_not_listed(world: World) {
    let store = world.open(at(0));
    assert!(store.lanes().is_empty());
    store.sends(message(1), "x", at(1)).await;
    assert!(store.lanes().is_empty());
    assert!(
        store
            .gauges(at(1))
            .waiting
            .iter()
            .all(|(.., count)| *count == 0)
    );
    world.finish(store).await;
}

async fn the_second_part_refused_keeps_the_first_and_the_next_claim_resumes(world: World) {
    let store = world.open(at(0));
    store.takes(vec![in_parts(1, 3)]).await;
    let first = store.claims(1, at(1)).await.remove(0);
    let refused = Report::Rejected {
        token: token(&first),
        rejection: Rejection::Temporary("ESME_RMSGQFUL".to_owned()),
    };
    let changes = store
        .report(vec![accepted(&first, 0, "one"), refused], at(2))
        .await
        .unwrap();
    assert!(changes.iter().all(Option::is_some));
    let store = world.reopen(store, at(3)).await;
    let due = store.next_due(&lane("orange"), &reach()).unwrap();
    assert!(due >= at(62), "the first wait of the schedule is a minute");
    let again = store.claims(1, due).await.remove(0);
    let progress: Vec<_> = again.attempts[0]
        .segments
        .iter()
        .map(|segment| segment.progress)
        .collect();
    assert_eq!(
        progress,
        [Progress::Accepted, Progress::Unsent, Progress::Unsent]
    );
    let rest = vec![accepted(&again, 1, "two"), accepted(&again, 2, "three")];
    let changes = store.report(rest, due).await.unwrap();
    let last = changes.last().unwrap().as_ref().unwrap();
    assert_eq!(last.message.status(), Status::Sent);
    assert_eq!(last.message.attempts.len(), 1);
    assert!(!last.message.maybe_duplicate);
    world.finish(store).await;
}

async fn a_report_after_the_lease_was_lost_changes_nothing(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let taken = store.claims(1, at(1)).await.remove(0);
    let lost = store.time_out(at(61), 10).await.unwrap();
    assert_eq!(lost.len(), 1);
    let before = store.message(&shop(), taken.id).await.unwrap();
    for report in [
        Report::Rejected {
            token: token(&taken),
            rejection: Rejection::Permanent("x".to_owned()),
        },
        Report::Unknown {
            token: token(&taken),
            segment: 0,
            doubt: Doubt::Timeout,
        },
        Report::GivenBack {
            token: token(&taken),
            why: WaitReason::NoChannelUp,
        },
    ] {
        assert!(store.reports(report, at(62)).await.is_none());
    }
    assert_eq!(store.message(&shop(), taken.id).await.unwrap(), before);
    world.finish(store).await;
}

async fn a_late_acceptance_after_the_lease_was_lost_cancels_the_resend(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let taken = store.claims(1, at(1)).await.remove(0);
    let _ = store.time_out(at(61), 10).await.unwrap();
    assert!(store.next_due(&lane("orange"), &reach()).is_some());
    let change = store.reports(accepted(&taken, 0, "late"), at(62)).await;
    assert_eq!(change.unwrap().message.status(), Status::Sent);
    assert_eq!(store.next_due(&lane("orange"), &reach()), None);
    assert!(store.claims(1, at(1000)).await.is_empty());
    world.finish(store).await;
}

async fn a_report_on_an_unknown_message_changes_nothing(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let mut strange = store.claims(1, at(1)).await.remove(0);
    let real = strange.clone();
    strange.id = message_id(77);
    assert!(
        store
            .reports(accepted(&strange, 0, "x"), at(2))
            .await
            .is_none()
    );
    // Nor does one on a part that the message never had.
    assert!(
        store
            .reports(accepted(&real, 9, "x"), at(2))
            .await
            .is_none()
    );
    assert_eq!(store.message(&shop(), real.id).await.unwrap(), real);
    world.finish(store).await;
}

async fn given_back_keeps_its_place_in_the_lane(world: World) {
    let store = world.open(at(0));
    store.takes((0..3).map(message).collect()).await;
    let first = store.claims(1, at(1)).await.remove(0);
    let report = Report::GivenBack {
        token: token(&first),
        why: WaitReason::NoChannelUp,
    };
    assert!(store.reports(report, at(2)).await.is_some());
    let order: Vec<_> = store.claims(3, at(3)).await;
    assert_eq!(order[0].id, first.id);
    assert_eq!(order[0].tries, 1);
    world.finish(store).await;
}

async fn cancel_withdraws_a_waiting_message_and_only_its_tenant_may(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1), message(2)]).await;
    let id = message_id(1);
    let stranger = store.cancel(&"other".into(), id, at(1)).await;
    assert_eq!(stranger.unwrap_err(), StoreError::NotFound);
    let unknown = store.cancel(&shop(), message_id(9), at(1)).await;
    assert_eq!(unknown.unwrap_err(), StoreError::NotFound);
    let change = store.cancel(&shop(), id, at(1)).await.unwrap();
    assert_eq!(change.message.status(), Status::Cancelled);
    let again = store.cancel(&shop(), id, at(1)).await;
    assert_eq!(again.unwrap_err(), StoreError::TooLate);
    let taken = store.claims(10, at(1)).await;
    assert_eq!(taken.len(), 1, "a withdrawn message is not sent");
    let leaving = store.cancel(&shop(), taken[0].id, at(1)).await;
    assert_eq!(leaving.unwrap_err(), StoreError::TooLate);
    world.finish(store).await;
}

async fn time_out_ends_what_is_over_and_nothing_else(world: World) {
    let store = world.open(at(0));
    let mut short = message(1);
    short.expires_at = at(100);
    let long = message(2);
    store.takes(vec![short, long.clone()]).await;
    assert_eq!(store.next_deadline(), Some(at(100)));
    assert!(store.time_out(at(99), 10).await.unwrap().is_empty());
    let changes = store.time_out(at(100), 10).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].message.reason(), Some(Cause::ValidityPassed));
    assert_eq!(store.next_deadline(), Some(long.expires_at));
    assert!(store.time_out(at(100), 10).await.unwrap().is_empty());
    let sent = store.claims(1, at(101)).await.remove(0);
    store.reports(accepted(&sent, 0, "x"), at(101)).await;
    let receipt_by = store.next_deadline().unwrap();
    assert_eq!(receipt_by, long.expires_at + Duration::from_hours(1));
    let changes = store.time_out(receipt_by, 10).await.unwrap();
    assert_eq!(changes[0].message.reason(), Some(Cause::NoReceipt));
    assert_eq!(store.next_deadline(), None);
    assert_eq!(store.gauges(at(1)).live, 0);
    world.finish(store).await;
}

async fn time_out_is_bounded_and_goes_on(world: World) {
    let store = world.open(at(0));
    store.takes((0..25).map(message).collect()).await;
    let late = at(49 * 3600);
    let mut counts = Vec::new();
    for _ in 0..4 {
        counts.push(store.time_out(late, 10).await.unwrap().len());
    }
    assert_eq!(counts, [10, 10, 5, 0]);
    world.finish(store).await;
}

async fn a_claimed_message_past_its_validity_is_ended_by_the_reaper(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let late = at(49 * 3600);
    assert!(store.claims(10, late).await.is_empty());
    let changes = store.time_out(late, 10).await.unwrap();
    assert_eq!(changes[0].message.reason(), Some(Cause::ValidityPassed));
    let waiting = store.gauges(late).waiting;
    assert!(waiting.iter().all(|(.., count)| *count == 0), "{waiting:?}");
    world.finish(store).await;
}

async fn a_large_submission_is_sealed_and_whole(world: World) {
    let store = world.open(at(0));
    let batch = batch_id(1);
    let messages: Vec<_> = (0..1000)
        .map(|n| {
            let mut message = message(n);
            message.batch = Some(batch);
            message
        })
        .collect();
    let ids = store.takes(messages).await;
    assert_eq!(ids.len(), 1000);
    let store = world.reopen(store, at(1)).await;
    let sealed = store.batch(&shop(), batch).await.unwrap();
    assert_eq!(sealed.messages, ids);
    assert_eq!(
        store.batch(&"other".into(), batch).await.unwrap_err(),
        StoreError::NotFound
    );
    assert_eq!(store.claims(2000, at(1)).await.len(), 1000);
    world.finish(store).await;
}

/// What an account may claim now, by number of message.
async fn ids(store: &dyn Store, by: Claimant, seconds: u64) -> Vec<crate::domain::id::MessageId> {
    let claimed = store.claim(&lane("orange"), by, 10, at(seconds)).await;
    let messages = claimed.unwrap().messages;
    messages.into_iter().map(|message| message.id).collect()
}

async fn what_an_account_may_have_a_part_of_is_claimed_for_that_account_alone(world: World) {
    let store = world.open(at(0));
    store
        .takes(vec![message(1), in_parts(2, 2), message(3)])
        .await;
    let taken = store.claims(2, at(1)).await;
    let doubt = Report::Unknown {
        token: token(&taken[0]),
        segment: 0,
        doubt: Doubt::Disconnected,
    };
    let later = Report::GivenBack {
        token: token(&taken[1]),
        why: WaitReason::NoChannelUp,
    };
    let reports = vec![doubt, accepted(&taken[1], 0, "one"), later];
    store.report(reports, at(2)).await.unwrap();
    // It is the same after a start, since it follows from the records.
    let store = world.reopen(store, at(3)).await;
    assert_eq!(store.pins(&lane("orange")), ["a".into()]);
    let b = || claimant("b", at(100));
    assert_eq!(ids(&*store, b(), 100).await, [message_id(3)]);
    assert_eq!(
        store.next_due(&lane("orange"), &Reach::of(&"b".into())),
        None
    );
    let pinned = Claimant {
        reach: Reach::pinned(&"a".into()),
        ..claimant("a", at(100))
    };
    let due = store.next_due(&lane("orange"), &pinned.reach).unwrap();
    assert!(due <= at(13), "{due:?}");
    let mut again = ids(&*store, pinned, 100).await;
    again.sort_unstable();
    assert_eq!(again, [1, 2].map(message_id));
    assert!(store.pins(&lane("orange")).is_empty());
    world.finish(store).await;
}

async fn what_was_certainly_refused_is_free_for_any_account(world: World) {
    let store = world.open(at(0));
    store.takes((1..=4).map(message).collect()).await;
    let taken = store.claims(4, at(1)).await;
    let refused = |n: usize, rejection| Report::Rejected {
        token: token(&taken[n]),
        rejection,
    };
    let code = || "x".to_owned();
    let reports = vec![
        refused(0, Rejection::Temporary(code())),
        refused(1, Rejection::Throttled(code())),
        refused(2, Rejection::Account(code())),
        Report::GivenBack {
            token: token(&taken[3]),
            why: WaitReason::NoChannelUp,
        },
    ];
    store.report(reports, at(2)).await.unwrap();
    assert!(store.pins(&lane("orange")).is_empty());
    assert_eq!(ids(&*store, claimant("b", at(100)), 100).await.len(), 4);
    world.finish(store).await;
}

async fn one_at_a_time_to_each_recipient_nobody_overtakes_one_that_is_refused(world: World) {
    let store = world.open(at(0));
    let to = |n, number| {
        let mut message = message(n);
        message.to = crate::domain::fixtures::number(number);
        message
    };
    let messages = vec![to(1, 7), to(2, 7), to(3, 8), to(4, 7), to(5, 8)];
    store.takes(messages).await;
    let by = || Claimant {
        in_line: true,
        ..claimant("a", at(1))
    };
    let first = store.claim(&lane("orange"), by(), 10, at(1)).await.unwrap();
    let taken: Vec<_> = first.messages.iter().map(|message| message.id).collect();
    assert_eq!(taken, [1, 3].map(message_id));
    assert_eq!(
        store.next_due(&lane("orange"), &reach()),
        None,
        "all the rest is behind"
    );
    let refused = Report::Rejected {
        token: token(&first.messages[0]),
        rejection: Rejection::Throttled("x".to_owned()),
    };
    store.report(vec![refused], at(2)).await.unwrap();
    assert_eq!(
        ids(&*store, by(), 2).await,
        [message_id(1)],
        "2 stays behind 1"
    );
    let done = accepted(&first.messages[1], 0, "three");
    store.report(vec![done], at(3)).await.unwrap();
    assert_eq!(ids(&*store, by(), 3).await, [message_id(5)]);
    // A claimant that need not wait takes everything, in the old order.
    assert_eq!(
        ids(&*store, claimant("a", at(4)), 4).await,
        [2, 4].map(message_id)
    );
    world.finish(store).await;
}

async fn those_in_line_go_on_when_the_one_before_them_is_withdrawn_or_over(world: World) {
    let store = world.open(at(0));
    let mut messages: Vec<_> = (1..=4).map(message).collect();
    for message in &mut messages {
        message.to = crate::domain::fixtures::number(7);
    }
    messages[2].expires_at = at(60);
    store.takes(messages).await;
    let by = || Claimant {
        in_line: true,
        ..claimant("a", at(1))
    };
    let first = store.claim(&lane("orange"), by(), 10, at(1)).await.unwrap();
    let back = Report::GivenBack {
        token: token(&first.messages[0]),
        why: WaitReason::NoChannelUp,
    };
    store.report(vec![back], at(2)).await.unwrap();
    for n in [1, 2] {
        let _ = store.cancel(&shop(), message_id(n), at(2)).await.unwrap();
    }
    assert_eq!(ids(&*store, by(), 100).await, [message_id(4)], "3 is over");
    assert_eq!(store.time_out(at(100), 10).await.unwrap().len(), 2);
    world.finish(store).await;
}

async fn a_pause_is_remembered_until_it_is_forgotten(world: World) {
    let store = world.open(at(0));
    let pause = |name: &str, seconds| Pause {
        name: name.to_owned(),
        at: at(seconds),
    };
    for one in [pause("a", 1), pause("a#1", 2), pause("b", 3), pause("a", 4)] {
        store.put_pause(one).await.unwrap();
    }
    store.delete_pause("b").await.unwrap();
    store.delete_pause("never").await.unwrap();
    let store = world.reopen(store, at(5)).await;
    let mut known = store.pauses();
    known.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(known, [pause("a", 4), pause("a#1", 2)]);
    world.finish(store).await;
}
