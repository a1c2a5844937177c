//! What a start finds after the process, the engine or a record failed.

use super::on_every_engine;
use super::probe::Call;
use super::world::{World, accepted, all, claimant, keyed, receipt, shop, submission};
use crate::domain::event::Rejection;
use crate::domain::fixtures::{at, batch_id, in_parts, lane, message, message_id};
use crate::domain::message::{Cause, Message, Progress, State, WaitReason};
use crate::domain::policy::OnDoubt;
use crate::domain::receipt::ReceiptState;
use crate::domain::status::Status;
use crate::store::codec::{LAYOUT, Layout, encode};
use crate::store::embedded::{Embedded, RecoverError};
use crate::store::keys;
use crate::store::kv::Kv;
use crate::store::memory::MemoryKv;
use crate::store::{Accepted, Receiving, Report, StoreError, Submission};

on_every_engine! {
    a_submission_torn_by_the_engine_is_refused_and_leaves_nothing,
    a_large_submission_without_a_batch_is_one_piece,
    a_store_whose_engine_failed_turns_itself_off,
    a_claim_that_memory_held_is_forgotten_and_the_message_is_due_again,
    after_a_clean_close_nothing_is_said_to_be_a_duplicate,
    of_a_long_queue_only_what_was_next_may_be_a_duplicate,
    a_doubt_outlives_starts_that_send_nothing,
    what_must_not_be_sent_twice_is_never_said_to_be_a_duplicate,
    the_mark_is_durable_before_what_is_beyond_it_is_handed_out,
    a_half_sent_message_resumes_with_the_rest_after_a_start,
    a_claim_that_must_not_repeat_survives_as_a_doubt,
    a_message_that_recovery_fails_is_told_to_its_webhook,
    a_record_that_cannot_be_read_holds_up_nobody_else,
    every_state_survives_reopening,
}

fn batch_of(count: u64) -> Submission {
    let messages = (0..count).map(|n| {
        let mut message = message(n);
        message.batch = Some(batch_id(1));
        message
    });
    keyed(messages.collect(), 1, 1)
}

async fn a_submission_torn_by_the_engine_is_refused_and_leaves_nothing(world: World) {
    for pieces in [0, 1, 2, 7, 15] {
        let (store, probe) = world.open_probed(at(0));
        probe.fail_once_after(pieces);
        let answer = store.accept(batch_of(1000)).await;
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "after {pieces} pieces: {answer:?}"
        );
        let claim = store
            .claim(&lane("orange"), claimant("a", at(1)), 10, at(1))
            .await;
        assert!(claim.is_err(), "nothing of it may be sent");
        store.close().await;
        drop((store, probe));
        let store = world.open(at(2));
        assert_eq!(store.gauges(at(2)).live, 0, "after {pieces} pieces");
        assert!(store.find(all()).await.unwrap().items.is_empty());
        assert!(store.batch(&shop(), batch_id(1)).await.is_err());
        world.finish(store).await;
    }
    let store = world.open(at(3));
    let anew = store.accept(batch_of(1000)).await.unwrap();
    assert!(matches!(anew, Accepted::New(_)), "its key is still free");
    world.finish(store).await;
}

async fn a_large_submission_without_a_batch_is_one_piece(world: World) {
    let (store, probe) = world.open_probed(at(0));
    probe.fail_once_after(1);
    // No batch, no seal: in pieces, a crash would leave some of it.
    store.takes((0..150).map(message).collect()).await;
    store.close().await;
    drop((store, probe));
    let store = world.open(at(1));
    assert_eq!(store.gauges(at(1)).live, 150);
    world.finish(store).await;
}

async fn a_store_whose_engine_failed_turns_itself_off(world: World) {
    let (store, probe) = world.open_probed(at(0));
    store.takes(vec![message(1)]).await;
    assert!(store.unhealthy().is_none());
    probe.fail_once_after(0);
    let first = store.accept(submission(vec![message(2)])).await;
    assert!(matches!(first, Err(StoreError::Unavailable(_))));
    assert_eq!(
        store.unhealthy().as_deref(),
        Some("the store is not available: no space left on device")
    );
    let _ = probe.calls();
    let large = store.accept(batch_of(500)).await;
    assert!(matches!(large, Err(StoreError::Unavailable(_))));
    let cancel = store.cancel(&shop(), message_id(1), at(1)).await;
    assert!(matches!(cancel, Err(StoreError::Unavailable(_))));
    assert_eq!(probe.calls(), [], "the engine is left alone");
    store.close().await;
    drop((store, probe));
    let store = world.open(at(2));
    assert_eq!(store.gauges(at(2)).live, 1);
    world.finish(store).await;
}

async fn a_claim_that_memory_held_is_forgotten_and_the_message_is_due_again(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let before = store.message(&shop(), message_id(1)).await.unwrap();
    assert_eq!(store.claims(1, at(1)).await.len(), 1);
    let store = world.reopen(store, at(2)).await;
    assert_eq!(store.message(&shop(), message_id(1)).await.unwrap(), before);
    let again = store.claims(1, at(2)).await.remove(0);
    assert!(again.maybe_duplicate, "it may have left");
    assert_eq!((again.tries, again.claims), (1, 1));
    // Given back, and known still.
    let report = Report::GivenBack {
        token: super::world::token(&again),
        why: WaitReason::NoChannelUp,
    };
    store.reports(report, at(3)).await;
    let store = world.reopen(store, at(4)).await;
    let found = store.message(&shop(), message_id(1)).await.unwrap();
    assert!(found.maybe_duplicate);
    world.finish(store).await;
}

async fn after_a_clean_close_nothing_is_said_to_be_a_duplicate(world: World) {
    let store = world.open(at(0));
    store.takes((0..20).map(message).collect()).await;
    for taken in store.claims(10, at(1)).await {
        let report = Report::GivenBack {
            token: super::world::token(&taken),
            why: WaitReason::NoChannelUp,
        };
        store.reports(report, at(1)).await;
    }
    let store = world.reopen(store, at(2)).await;
    assert!(world_is_unmarked(&store.claims(20, at(2)).await));
    world.finish(store).await;
}

fn world_is_unmarked(messages: &[Message]) -> bool {
    assert!(!messages.is_empty());
    messages.iter().all(|message| !message.maybe_duplicate)
}

async fn of_a_long_queue_only_what_was_next_may_be_a_duplicate(world: World) {
    let store = world.open(at(0));
    for piece in 0..20 {
        let messages = (0..100).map(|n| {
            let mut message = message(piece * 100 + n);
            message.priority = u8::try_from(n % 2).unwrap();
            message
        });
        store.takes(messages.collect()).await;
    }
    let mut under_way = Vec::new();
    for _ in 0..20 {
        under_way.extend(store.claims(16, at(1)).await.into_iter().map(|m| m.id));
    }
    assert_eq!(under_way.len(), 320);
    let store = world.reopen(store, at(2)).await;
    let again = store.claims(2000, at(2)).await;
    assert_eq!(again.len(), 2000);
    let marked: Vec<_> = again.iter().filter(|m| m.maybe_duplicate).collect();
    for id in under_way {
        assert!(marked.iter().any(|message| message.id == id));
    }
    assert!(marked.len() <= 320 + 2 * 128, "{} marked", marked.len());
    world.finish(store).await;
}

async fn a_doubt_outlives_starts_that_send_nothing(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    assert_eq!(store.claims(1, at(1)).await.len(), 1);
    let mut store = world.reopen(store, at(2)).await;
    for second in 3..6 {
        store = world.reopen(store, at(second)).await;
        // What comes later is not in doubt.
        let mut fresh = message(second);
        fresh.priority = 3;
        store.sends(fresh, &second.to_string(), at(second)).await;
    }
    assert!(store.claims(1, at(6)).await[0].maybe_duplicate);
    world.finish(store).await;
}

async fn what_must_not_be_sent_twice_is_never_said_to_be_a_duplicate(world: World) {
    let store = world.open(at(0));
    let mut once = message(2);
    once.on_doubt = Some(OnDoubt::Fail);
    store.takes(vec![message(1), once, message(3)]).await;
    assert_eq!(store.claims(1, at(1)).await.len(), 1);
    let store = world.reopen(store, at(2)).await;
    let again = store.claims(3, at(2)).await;
    let marked: Vec<_> = again.iter().map(|m| m.maybe_duplicate).collect();
    assert_eq!((marked[0], marked[1]), (true, false));
    world.finish(store).await;
}

async fn the_mark_is_durable_before_what_is_beyond_it_is_handed_out(world: World) {
    let (store, probe) = world.open_probed(at(0));
    let mut later = message(1);
    later.state = State::Waiting {
        due_at: at(60),
        why: WaitReason::ScheduledByClient,
    };
    store.takes(vec![later]).await;
    let _ = probe.calls();
    assert_eq!(store.claims(1, at(60)).await.len(), 1);
    assert_eq!(probe.calls(), [Call::Apply(1), Call::Sync]);
    let mut at_once = message(2);
    at_once.created_at = at(61);
    store.takes(vec![at_once]).await;
    let _ = probe.calls();
    assert_eq!(store.claims(1, at(62)).await.len(), 1);
    assert_eq!(probe.calls(), [], "its own commit has moved the mark");
    store.close().await;
    drop((store, probe));
}

async fn a_half_sent_message_resumes_with_the_rest_after_a_start(world: World) {
    let store = world.open(at(0));
    store.takes(vec![in_parts(1, 3)]).await;
    let taken = store.claims(1, at(1)).await.remove(0);
    store.reports(accepted(&taken, 0, "one"), at(1)).await;
    let store = world.reopen(store, at(2)).await;
    let found = store.message(&shop(), taken.id).await.unwrap();
    let State::Waiting { due_at, ref why } = found.state else {
        panic!("{:?}", found.state);
    };
    assert_eq!(*why, WaitReason::InDoubt);
    let progress = |message: &Message| {
        let parts = &message.attempts[0].segments;
        parts.iter().map(|part| part.progress).collect::<Vec<_>>()
    };
    use Progress::{Accepted, InDoubt, Unsent};
    assert_eq!(progress(&found), [Accepted, InDoubt, Unsent]);
    let again = store.claims(1, due_at).await.remove(0);
    assert_eq!(progress(&again), [Accepted, InDoubt, Unsent]);
    assert!(again.maybe_duplicate);
    world.finish(store).await;
}

async fn a_claim_that_must_not_repeat_survives_as_a_doubt(world: World) {
    let store = world.open(at(0));
    let mut own_rule = message(1);
    own_rule.on_doubt = Some(OnDoubt::Fail);
    let mut operator_rule = message(2);
    operator_rule.lane = lane("careful");
    let mut overruled = message(3);
    overruled.lane = lane("careful");
    overruled.on_doubt = Some(OnDoubt::Resend);
    store.takes(vec![own_rule, operator_rule, overruled]).await;
    assert_eq!(store.claims(10, at(1)).await.len(), 1);
    let careful = claimant("a", at(1));
    let claimed = store.claim(&lane("careful"), careful, 10, at(1)).await;
    assert_eq!(claimed.unwrap().messages.len(), 2);
    let store = world.reopen(store, at(2)).await;
    for (n, status, reason) in [
        (1, Status::Failed, Some(Cause::InDoubt)),
        (2, Status::Failed, Some(Cause::InDoubt)),
        (3, Status::Pending, None),
    ] {
        let found = store.message(&shop(), message_id(n)).await.unwrap();
        assert_eq!((found.status(), found.reason()), (status, reason));
    }
    assert_eq!(store.gauges(at(2)).live, 1);
    world.finish(store).await;
}

async fn a_message_that_recovery_fails_is_told_to_its_webhook(world: World) {
    let store = world.open(at(0));
    let mut own = message(1);
    own.on_doubt = Some(OnDoubt::Fail);
    own.webhook_url = Some("https://a.example/".to_owned());
    store.takes(vec![own]).await;
    assert_eq!(store.claims(1, at(1)).await.len(), 1);
    let store = world.reopen(store, at(2)).await;
    let due = store.outbox_due(at(2), 10, &[]).await.unwrap().deliveries;
    let kinds: Vec<_> = due.iter().map(|delivery| delivery.event.kind()).collect();
    assert_eq!(kinds, ["message.failed"]);
    // Once, not at every start.
    let store = world.reopen(store, at(3)).await;
    assert_eq!(store.gauges(at(3)).outbox, 1);
    world.finish(store).await;
}

async fn a_record_that_cannot_be_read_holds_up_nobody_else(world: World) {
    let store = world.open(at(0));
    store.sends(message(1), "one", at(1)).await;
    store.sends(message(2), "two", at(1)).await;
    store.takes(vec![message(3)]).await;
    store.close().await;
    drop(store);
    let damaged = keys::live(message_id(1));
    world.with_kv(|kv| {
        let garbage = vec![1, 0xFF, 0xFF];
        kv.apply(&[(damaged.clone(), Some(garbage))]).unwrap();
        kv.sync().unwrap();
    });
    let store = world.open(at(2));
    let receipts = ["one", "two"].map(|id| receipt(id, ReceiptState::Delivered));
    let outcomes = store.receive(receipts.to_vec(), at(2)).await.unwrap();
    assert!(matches!(outcomes[1], Receiving::Matched(..)));
    let taken = store.claims(10, at(2)).await;
    assert_eq!(taken.len(), 1);
    let mut unreadable = taken[0].clone();
    unreadable.id = message_id(1);
    let reports = vec![
        accepted(&unreadable, 0, "x"),
        Report::Rejected {
            token: super::world::token(&unreadable),
            rejection: Rejection::Permanent("x".to_owned()),
        },
        accepted(&taken[0], 0, "three"),
    ];
    let changes = store.report(reports, at(2)).await.unwrap();
    assert!(changes[0].is_none() && changes[1].is_none() && changes[2].is_some());
    assert_eq!(store.time_out(at(60 * 3600), 10).await.unwrap().len(), 1);
    assert!(matches!(
        store.message(&shop(), message_id(1)).await,
        Err(StoreError::Corrupt { .. })
    ));
    store.close().await;
    drop(store);
    let findings = world.with_kv(|kv| crate::store::fsck::check(kv).unwrap());
    assert!(!findings.is_clean(), "the damage is shown, not swept away");
    assert!(world.with_kv(|kv| kv.get(&damaged).unwrap()).is_some());
}

async fn every_state_survives_reopening(world: World) {
    let store = world.open(at(0));
    store.takes((0..40).map(message).collect()).await;
    for (n, taken) in store.claims(30, at(1)).await.into_iter().enumerate() {
        let reference = taken.id.to_string();
        if n % 3 == 0 {
            store.reports(accepted(&taken, 0, &reference), at(2)).await;
        } else if n % 3 == 1 {
            store.reports(accepted(&taken, 0, &reference), at(2)).await;
            let state = [ReceiptState::Delivered, ReceiptState::Expired][n % 2];
            store.receives(receipt(&reference, state), at(3)).await;
        } else {
            let report = Report::GivenBack {
                token: super::world::token(&taken),
                why: WaitReason::NoChannelUp,
            };
            store.reports(report, at(2)).await;
        }
    }
    let _ = store.cancel(&shop(), message_id(39), at(3)).await.unwrap();
    let before = store.find(all()).await.unwrap().items;
    let figures = store.gauges(at(9));
    let deadline = store.next_deadline();
    let store = world.reopen(store, at(9)).await;
    assert_eq!(store.find(all()).await.unwrap().items, before);
    let after = store.gauges(at(9));
    assert_eq!(after.live, figures.live);
    let waiting = |mut counts: Vec<(_, _, u64)>| {
        counts.retain(|(.., count)| *count > 0);
        counts.sort();
        counts
    };
    assert_eq!(waiting(after.waiting), waiting(figures.waiting));
    assert_eq!(store.next_deadline(), deadline);
    world.finish(store).await;
}

#[tokio::test]
async fn a_layout_of_another_program_is_refused_untouched() {
    for version in [1, LAYOUT.version - 1, LAYOUT.version + 1] {
        let kv = std::sync::Arc::new(MemoryKv::default());
        let other = encode(&Layout { version }).unwrap();
        kv.apply(&[(keys::version(), Some(other.clone()))]).unwrap();
        let world = World::memory();
        let started = Embedded::start(
            kv.clone(),
            world.policy.subscribe(),
            world.keeping.clone(),
            at(0),
        );
        assert!(matches!(started, Err(RecoverError::OtherLayout(found)) if found == version));
        assert_eq!(kv.get(&keys::version()).unwrap(), Some(other));
    }
}
