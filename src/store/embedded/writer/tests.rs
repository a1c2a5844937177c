#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use crate::domain::fixtures::{at, message};
use crate::store::Store;
use crate::store::conformance::{Call, Probe, World, submission};

/// Starts `count` acceptances, each of which notes its answer; returns once all are on their way.
fn accepts(
    store: &Arc<dyn Store>,
    probe: &Arc<Probe>,
    from: u64,
    count: u64,
) -> tokio::task::JoinSet<()> {
    let mut calls = tokio::task::JoinSet::new();
    for n in from..from + count {
        let (store, probe) = (store.clone(), probe.clone());
        calls.spawn(async move {
            store.accept(submission(vec![message(n)])).await.unwrap();
            probe.note(Call::Answered);
        });
    }
    calls
}

#[tokio::test]
async fn each_answer_comes_after_a_sync_that_came_after_its_write() {
    for world in [World::memory(), World::sled()] {
        let (store, probe) = world.open_probed(at(0));
        let _ = probe.calls();
        for n in 0..20 {
            accepts(&store, &probe, n, 1).join_all().await;
            // The message, its place under its recipient, and how far claims may come.
            assert_eq!(probe.calls(), [Call::Apply(3), Call::Sync, Call::Answered]);
        }
        drop(probe);
        world.finish(store).await;
    }
}

// One thread, so that the order of what is spawned and yielded is known.
#[tokio::test]
async fn many_at_once_share_one_sync() {
    for world in [World::memory(), World::sled()] {
        let (store, probe) = world.open_probed(at(0));
        // The first holds the writer up, so that the others are waiting when it comes back.
        probe.shut();
        let first = accepts(&store, &probe, 0, 1);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let others = accepts(&store, &probe, 1, 200);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let _ = probe.calls();
        probe.open();
        first.join_all().await;
        others.join_all().await;
        let calls = probe.calls();
        let syncs = calls.iter().filter(|call| **call == Call::Sync).count();
        assert_eq!(syncs, 2, "one for the first, one for 200: {calls:?}");
        let last_sync = calls.iter().rposition(|call| *call == Call::Sync).unwrap();
        let early = calls[..last_sync]
            .iter()
            .filter(|call| **call == Call::Answered)
            .count();
        assert_eq!(early, 1, "only the first was answered before: {calls:?}");
        let largest = calls.iter().map(|call| match call {
            Call::Apply(writes) => *writes,
            Call::Sync | Call::Answered => 0,
        });
        assert!(largest.max().unwrap() <= 2 * super::PIECE_WRITES);
        drop(probe);
        world.finish(store).await;
    }
}

#[tokio::test]
async fn work_that_a_crash_may_forget_is_not_synced() {
    let world = World::memory();
    let (store, probe) = world.open_probed(at(0));
    let _ = probe.calls();
    store
        .outbox_settle(vec![(7, crate::store::Settled::Done)])
        .await
        .unwrap();
    assert_eq!(probe.calls(), [Call::Apply(1)]);
    drop(probe);
    world.finish(store).await;
}
