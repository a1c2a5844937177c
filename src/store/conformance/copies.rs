//! A copy of a store at work is the store as it was at its end, whatever was written meanwhile; and
//! what is restored of it sends nothing a second time as if nothing had happened.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::on_every_engine;
use super::world::{World, claimant, opened, shop, submission, token};
use crate::domain::fixtures::{at, batch_id, lane, message, message_id, number, policy};
use crate::domain::message::{Doubt, Message, State, WaitReason};
use crate::domain::status::Status;
use crate::store::backup::{BackupError, Encoder};
use crate::store::kv::Write;
use crate::store::restoring::{RestoreError, Restored, restore};
use crate::store::{
    Durability, Notice, Options, Report, Store, StoreError, fsck, generation, open,
};

on_every_engine! {
    a_copy_is_the_store_as_it_was_at_its_end,
    one_copy_is_taken_at_a_time_and_none_holds_up_the_end,
    what_waited_is_restored_as_what_may_have_left,
    what_waited_is_cancelled_where_that_is_wanted,
    what_was_leaving_is_not_sent_where_all_that_waited_is_cancelled,
    what_digests_had_counted_may_have_been_told_since,
}

fn apply(copied: &mut BTreeMap<Vec<u8>, Vec<u8>>, writes: Vec<Write>) {
    for (key, value) in writes {
        match value {
            Some(value) => copied.insert(key, value),
            None => copied.remove(&key),
        };
    }
}

async fn a_copy_is_the_store_as_it_was_at_its_end(world: World) {
    let store = world.open(at(0));
    for n in 0..20 {
        let batch = (n * 100..n * 100 + 64).map(|n| {
            let mut message = message(n);
            message.batch = Some(batch_id(n / 100));
            message
        });
        store.accept(submission(batch.collect())).await.unwrap();
    }
    let mut copied = BTreeMap::new();
    let mut copy = store.copy().await.unwrap();
    let mut pieces = 0_u64;
    while let Some(writes) = copy.next().await.unwrap() {
        apply(&mut copied, writes);
        pieces += 1;
        if pieces > 10 {
            continue;
        }
        // Behind the reader, before it, and both at once; new records and records that go.
        for n in 0..20 {
            let id = message_id((pieces + n) % 20 * 100 + pieces * n % 64);
            let _ = store.cancel(&shop(), id, at(1)).await;
        }
        let early = (0..30).map(|n| message(n * 100 + 64 + pieces));
        let late = (0..70).map(|n| message(10_000 + pieces * 100 + n));
        store.takes(early.chain(late).collect()).await;
    }
    assert!(pieces > 14, "it went over what was written again: {pieces}");
    drop(copy);
    store.close().await;
    drop(store);
    world.with_kv(|kv| {
        let pairs = kv.scan((Vec::new(), vec![0xFF]), false);
        let mut stored: BTreeMap<_, _> = pairs.map(Result::unwrap).collect();
        // A close says what is under way, a copy cannot.
        let frontier = crate::store::keys::frontier();
        stored.remove(&frontier);
        copied.remove(&frontier);
        assert!(copied == stored, "{} and {}", copied.len(), stored.len());
    });
    world.check();
}

async fn one_copy_is_taken_at_a_time_and_none_holds_up_the_end(world: World) {
    let store = world.open(at(0));
    store.takes((0..600).map(message).collect()).await;
    let mut copy = store.copy().await.unwrap();
    copy.next().await.unwrap();
    let refused = store.copy().await.map(drop);
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    drop(copy);
    let mut copy = store.copy().await.unwrap();
    copy.next().await.unwrap();
    store.close().await;
    assert!(copy.next().await.is_err(), "a closed store is read no more");
    drop(copy);
    world.finish(store).await;
}

/// Takes a backup into a file.
async fn back_up(store: &dyn Store, file: &Path) {
    let (mut encoder, mut octets) = Encoder::new(&[("webhook.key", "secret")], at(0));
    let mut copy = store.copy().await.unwrap();
    while let Some(writes) = copy.next().await.unwrap() {
        octets.extend(encoder.records(&writes));
    }
    octets.extend(encoder.end(at(9)));
    std::fs::write(file, octets).unwrap();
}

/// A day after the backup.
const LATER: u64 = 24 * 3600;

async fn restored(file: &Path, root: &Path, cancel: bool) -> Result<Restored, RestoreError> {
    let policy = Arc::new(policy());
    restore(file, root, policy, cancel, at(LATER), &mut |_| ()).await
}

/// A store with a message that may be sent again, one that must not, and one for the day after
/// tomorrow; a fourth is over. Restored a day later.
async fn another_day(world: World, cancel: bool) -> (tempfile::TempDir, Restored, Arc<dyn Store>) {
    let store = world.open(at(0));
    let careful = Message {
        lane: lane("careful"),
        ..message(2)
    };
    let scheduled = Message {
        state: State::Waiting {
            due_at: at(2 * LATER),
            why: WaitReason::ScheduledByClient,
        },
        expires_at: at(4 * LATER),
        ..message(3)
    };
    store.takes(vec![message(1)]).await;
    store.takes(vec![careful]).await;
    store.takes(vec![scheduled, message(4)]).await;
    store.cancel(&shop(), message_id(4), at(1)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, root) = (folder.path().join("backup"), folder.path().join("store"));
    back_up(&*store, &file).await;
    world.finish(store).await;
    let octets = std::fs::read(&file).unwrap();
    std::fs::write(&file, &octets[..octets.len() - 1]).unwrap();
    let refused = restored(&file, &root, cancel).await.unwrap_err();
    let cut_off = matches!(
        &refused,
        RestoreError::Backup {
            source: BackupError::CutOff,
            ..
        }
    );
    assert!(cut_off && !root.exists(), "{refused}");
    std::fs::write(&file, octets).unwrap();
    // The first try is interrupted before its last step.
    drop(restored(&file, &root, cancel).await.unwrap());
    assert!(!root.exists());
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "nothing of it is left but the backup");
    // Nor is it in the way where a kill has left it.
    std::fs::create_dir_all(root.with_extension("restoring").join("generation-1/blobs")).unwrap();
    let again = restored(&file, &root, cancel).await.unwrap();
    assert_eq!(
        again.files,
        [("webhook.key".to_owned(), "secret".to_owned())]
    );
    assert_eq!(again.summary.taken_at, at(9));
    again.settle().unwrap();
    let twice = restored(&file, &root, cancel).await.unwrap_err();
    assert!(matches!(twice, RestoreError::NotEmpty(_)), "{twice}");
    let kv = opened(&generation::current(&root).unwrap().unwrap());
    let findings = fsck::check(&kv).unwrap();
    assert!(findings.is_clean(), "{findings}");
    drop(kv);
    let store = started(&world, &root);
    (folder, again, store)
}

/// The first start of a restored store.
fn started(world: &World, root: &Path) -> Arc<dyn Store> {
    let options = Options {
        durability: Durability::Process,
        ..Options::default()
    };
    let rules = world.policy.subscribe();
    loop {
        match open(root, &options, rules.clone(), at(LATER)) {
            Err(crate::store::OpenError::InUse(_)) => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    }
}

async fn status(store: &dyn Store, n: u64) -> Message {
    store.message(&shop(), message_id(n)).await.unwrap()
}

async fn what_waited_is_restored_as_what_may_have_left(world: World) {
    let (_folder, restored, store) = another_day(world, false).await;
    assert_eq!((restored.doubtful, restored.cancelled), (3, 0));
    let careful = status(&*store, 2).await;
    assert_eq!(careful.status(), Status::Failed, "{:?}", careful.state);
    assert_eq!(careful.reason().map(|cause| cause.code()), Some("in_doubt"));
    assert_eq!(status(&*store, 4).await.status(), Status::Cancelled);
    // New ones are beyond any doubt.
    let fresh = Message {
        expires_at: at(4 * LATER),
        state: State::Waiting {
            due_at: at(LATER),
            why: WaitReason::Accepted,
        },
        ..message(LATER * 1000)
    };
    store.takes(vec![fresh]).await;
    let claimed = store.claims(10, at(LATER + 1)).await;
    let marked: Vec<_> = claimed
        .iter()
        .map(|it| (it.id, it.maybe_duplicate))
        .collect();
    assert_eq!(
        marked,
        [(message_id(1), true), (message_id(LATER * 1000), false)]
    );
    let claimed = store.claims(10, at(2 * LATER)).await;
    let marked: Vec<_> = claimed
        .iter()
        .map(|it| (it.id, it.maybe_duplicate))
        .collect();
    assert_eq!(marked, [(message_id(3), false)]);
    store.close().await;
}

async fn what_waited_is_cancelled_where_that_is_wanted(world: World) {
    let (_folder, restored, store) = another_day(world, true).await;
    assert_eq!((restored.doubtful, restored.cancelled), (1, 2));
    for (n, expected) in [
        (1, Status::Cancelled),
        (2, Status::Failed),
        (3, Status::Cancelled),
    ] {
        assert_eq!(status(&*store, n).await.status(), expected);
    }
    let lane = lane("orange");
    let claimed = store.claim(&lane, claimant("a", at(2 * LATER)), 10, at(2 * LATER));
    assert!(claimed.await.unwrap().messages.is_empty());
    store.close().await;
}

async fn what_digests_had_counted_may_have_been_told_since(world: World) {
    let store = world.open(at(0));
    super::counts::define(&*store, "mail").await;
    for (n, tick) in [(1, 60), (2, 2 * LATER)] {
        let notice = Notice {
            ticks: [at(tick), at(3 * LATER)],
            ..super::counts::notice(number(n), "letter", 3, 1)
        };
        store.count(notice).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    back_up(&*store, &file).await;
    world.finish(store).await;
    for (cancel, expected) in [
        (false, vec![(number(1), true), (number(2), false)]),
        (true, Vec::new()),
    ] {
        let root = folder.path().join(format!("store-{cancel}"));
        restored(&file, &root, cancel)
            .await
            .unwrap()
            .settle()
            .unwrap();
        let store = started(&world, &root);
        let due = store.counts_due(at(2 * LATER), 64).await.unwrap();
        let marked: Vec<_> = due
            .iter()
            .map(|count| (count.to, count.may_have_been_told()))
            .collect();
        assert_eq!(marked, expected);
        store.close().await;
    }
}

async fn what_was_leaving_is_not_sent_where_all_that_waited_is_cancelled(world: World) {
    let store = world.open(at(0));
    // Its carrier has not answered, so it waits to be sent again.
    store.takes(vec![message(1)]).await;
    let taken = store.claims(1, at(1)).await.remove(0);
    let doubted = Report::Unknown {
        token: token(&taken),
        segment: 0,
        doubt: Doubt::Timeout,
    };
    store.reports(doubted, at(1)).await;
    // A modem's claim is on the disk, and the modem has not answered yet.
    store.takes(vec![message(2)]).await;
    let by_modem = claimant("m", at(2));
    let claimed = store.claim(&lane("orange"), by_modem, 1, at(2)).await;
    assert_eq!(claimed.unwrap().messages[0].id, message_id(2));
    store.takes(vec![message(3)]).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, root) = (folder.path().join("backup"), folder.path().join("store"));
    back_up(&*store, &file).await;
    store.close().await;
    let restored = restored(&file, &root, true).await.unwrap();
    assert_eq!((restored.doubtful, restored.cancelled), (2, 1));
    restored.settle().unwrap();
    let store = started(&world, &root);
    for n in [1, 2] {
        let message = status(&*store, n).await;
        assert_eq!(message.reason().map(|cause| cause.code()), Some("in_doubt"));
    }
    assert_eq!(status(&*store, 3).await.status(), Status::Cancelled);
    store.close().await;
}
