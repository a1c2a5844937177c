#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use tokio::sync::watch;

use super::*;
use crate::domain::fixtures::{at, message, policy};
use crate::store::conformance::{all, shop, submission};
use crate::store::kv::Pair;
use crate::store::{self, Options, Store};

const CACHE: u64 = 16 << 20;

fn open(root: &Path) -> Result<Arc<dyn Store>, OpenError> {
    let rules = watch::Sender::new(Arc::new(policy())).subscribe();
    for _ in 0..1_000_000 {
        // sled's own threads hold its lock for a moment longer than its handle lives.
        match store::open(root, &Options::default(), rules.clone(), at(0)) {
            Err(OpenError::InUse(_)) => std::thread::yield_now(),
            other => return other,
        }
    }
    panic!("it stays in use");
}

/// A closed store of `count` messages, one in three of them withdrawn.
async fn filled(count: u64) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).unwrap();
    store
        .accept(submission((0..count).map(message).collect()))
        .await
        .unwrap();
    for n in (0..count).step_by(3) {
        let id = message(n).id;
        let _ = store.cancel(&shop(), id, at(1)).await.unwrap();
    }
    store.close().await;
    root
}

/// Everything in the generation in use.
fn contents(root: &Path) -> Vec<Pair> {
    let folder = current(root).unwrap().unwrap();
    let kv = store::conformance::opened(&folder);
    kv.scan((Vec::new(), vec![0xFF]), false)
        .map(|pair| pair.unwrap())
        .collect()
}

fn compacted(root: &Path) -> Result<Compacted, OpenError> {
    for _ in 0..1_000_000 {
        match compact(root, CACHE, &mut |_| ()) {
            Err(OpenError::InUse(_)) => std::thread::yield_now(),
            other => return other,
        }
    }
    panic!("it stays in use");
}

async fn messages(root: &Path) -> usize {
    let store = open(root).unwrap();
    let found = store.find(all()).await.unwrap().items.len();
    store.close().await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_keeps_every_record_and_switches_generation() {
    let root = filled(300).await;
    let before = contents(root.path());
    let old = current(root.path()).unwrap().unwrap();
    let done = compacted(root.path()).unwrap();
    assert_eq!(done.records, u64::try_from(before.len()).unwrap());
    let new = current(root.path()).unwrap().unwrap();
    assert_ne!(new, old);
    assert!(!old.exists() && new.exists());
    assert_eq!(contents(root.path()), before);
    assert!(store::check(root.path(), CACHE).unwrap().is_clean());
    // And again, so that it does not work only once.
    let _ = compacted(root.path()).unwrap();
    assert_eq!(contents(root.path()), before);
    assert_eq!(messages(root.path()).await, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_steps_of_a_compaction_leaves_one_whole_generation() {
    // While copying: a half-made generation 2 that nothing names.
    let root = filled(50).await;
    let half = root.path().join("generation-2");
    drop(SledKv::open(&half, Durability::Process, CACHE).unwrap());
    assert_eq!(messages(root.path()).await, 50);
    let _ = compacted(root.path()).unwrap();
    assert_eq!(messages(root.path()).await, 50);

    // After the copy, before the rename: the new name stands aside.
    fs::write(root.path().join("CURRENT.new"), "generation-3\n").unwrap();
    assert_eq!(messages(root.path()).await, 50);
    let _ = compacted(root.path()).unwrap();
    assert_eq!(messages(root.path()).await, 50);

    // After the rename, before the old one went: it is not looked at any more.
    fs::create_dir(root.path().join("generation-1")).unwrap();
    assert_eq!(messages(root.path()).await, 50);
    let _ = compacted(root.path()).unwrap();
    assert_eq!(messages(root.path()).await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_of_a_store_in_use_touches_nothing() {
    let root = filled(5).await;
    let store = open(root.path()).unwrap();
    // What another compaction may be copying into.
    let other = root.path().join("generation-2");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("db"), "half").unwrap();
    let refused = compact(root.path(), CACHE, &mut |_| ());
    assert!(matches!(refused, Err(OpenError::InUse(_))));
    assert_eq!(fs::read(other.join("db")).unwrap(), b"half");
    assert_eq!(store.find(all()).await.unwrap().items.len(), 5);
    let second = store::check(root.path(), CACHE);
    assert!(matches!(second, Err(OpenError::InUse(_))));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_never_takes_the_place_of_one_that_is_gone() {
    type Damage = fn(&Path, &Path);
    let damages: [(&str, Damage); 5] = [
        ("database emptied", |_, folder| {
            File::create(folder.join("db")).unwrap();
        }),
        ("database removed", |_, folder| {
            fs::remove_file(folder.join("db")).unwrap();
        }),
        ("everything in the generation removed", |_, folder| {
            fs::remove_dir_all(folder).unwrap();
            fs::create_dir(folder).unwrap();
        }),
        ("generation removed", |_, folder| {
            fs::remove_dir_all(folder).unwrap();
        }),
        ("name removed beside a later generation", |root, _| {
            fs::remove_file(root.join("CURRENT")).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let root = filled(5).await;
        let _ = compacted(root.path()).unwrap();
        damage(root.path(), &current(root.path()).unwrap().unwrap());
        assert!(
            matches!(
                open(root.path()),
                Err(OpenError::Damaged { .. } | OpenError::Io { .. })
            ),
            "{what}: opened"
        );
        assert!(
            open(root.path()).is_err(),
            "{what}: opened at the second try"
        );
        assert!(compacted(root.path()).is_err(), "{what}: compacted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_did_not_finish_is_started_again() {
    let root = tempfile::tempdir().unwrap();
    drop(SledKv::open(&first(root.path()), Durability::Process, CACHE).unwrap());
    assert_eq!(messages(root.path()).await, 0);
    assert_eq!(messages(root.path()).await, 0);
}

#[test]
fn looking_at_a_folder_without_a_store_makes_none() {
    let root = tempfile::tempdir().unwrap();
    assert!(store::check(root.path(), CACHE).is_err());
    assert!(compact(root.path(), CACHE, &mut |_| ()).is_err());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}
