#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use super::*;
use crate::store::conformance::opened;

const CACHE: u64 = 16 << 20;

fn open(folder: &Path) -> Result<SledKv, OpenError> {
    SledKv::open(folder, Durability::Process, CACHE)
}

/// A closed store of `count` pairs.
fn filled(count: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let kv = open(folder.path()).unwrap();
    for n in 0..count {
        kv.apply(&[(n.to_be_bytes().to_vec(), Some(vec![0xA5; 300]))])
            .unwrap();
    }
    kv.sync().unwrap();
    drop(kv);
    // The second open writes a snapshot, as a daemon that has been started twice has one.
    drop(opened(folder.path()));
    drop(opened(folder.path()));
    folder
}

fn count(kv: &SledKv) -> usize {
    kv.scan((Vec::new(), vec![0xFF]), false)
        .inspect(|pair| assert!(pair.is_ok()))
        .count()
}

/// Names of the files in a folder and their sizes.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.metadata().unwrap().is_file())
        .map(|entry| {
            let size = entry.metadata().unwrap().len();
            (entry.file_name().into_string().unwrap(), size)
        })
        .collect()
}

#[test]
fn what_a_kill_left_of_a_snapshot_is_removed_and_the_store_opens() {
    let folder = filled(100);
    let left = folder.path().join("snap.00000000000FFFFF.generating");
    fs::write(&left, [0xEE; 40]).unwrap();
    assert_eq!(count(&opened(folder.path())), 100);
    assert!(!left.exists());
}

#[test]
fn a_corrupt_snapshot_is_moved_aside_and_the_log_rebuilds_everything() {
    let folder = filled(1000);
    let mut snapshots = Vec::new();
    for name in files(folder.path()).into_keys() {
        if name.starts_with("snap.") {
            fs::write(folder.path().join(&name), [0xEE; 100]).unwrap();
            snapshots.push(name);
        }
    }
    assert!(!snapshots.is_empty(), "there was a snapshot to damage");
    assert_eq!(count(&opened(folder.path())), 1000);
    let after = files(folder.path());
    for name in snapshots {
        assert!(after.contains_key(&format!("aside.{name}")), "{after:?}");
    }
}

#[test]
fn a_damaged_file_is_an_error_that_changes_nothing() {
    use std::os::unix::fs::FileExt;
    for (name, from, octets) in [("db", 0, 4096), ("db", 0, 1 << 20), ("conf", 0, 62)] {
        let folder = filled(1000);
        let path = folder.path().join(name);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&vec![0xEE; octets], from).unwrap();
        let before = (files(folder.path()), fs::read(&path).unwrap());
        for _ in 0..2 {
            match open(folder.path()) {
                Err(OpenError::Damaged { .. }) => {}
                Err(OpenError::InUse(_)) => panic!("the failed open keeps the lock"),
                Err(other) => panic!("{other}"),
                Ok(kv) => panic!("{octets} octets of {name}: opened with {}", count(&kv)),
            }
        }
        let after = (files(folder.path()), fs::read(&path).unwrap());
        assert!(before == after, "{octets} octets of {name}");
    }
}

#[test]
fn damage_within_the_file_is_an_error_of_the_read_that_meets_it() {
    use std::os::unix::fs::FileExt;
    let folder = filled(1000);
    let path = folder.path().join("db");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let third = file.metadata().unwrap().len() / 3;
    file.write_all_at(&[0xEE; 65536], third).unwrap();
    let Ok(kv) = open(folder.path()) else {
        return;
    };
    let read: Vec<_> = kv.scan((Vec::new(), vec![0xFF]), false).collect();
    assert!(read.iter().any(Result::is_err), "{} pairs", read.len());
}

#[test]
fn a_second_open_is_refused_and_touches_nothing() {
    let folder = filled(10);
    let first = opened(folder.path());
    // As if the first one were writing a snapshot at this moment.
    let working = folder.path().join("snap.00000000000FFFFF.generating");
    fs::write(&working, [0xEE; 40]).unwrap();
    let before = files(folder.path());
    assert!(matches!(open(folder.path()), Err(OpenError::InUse(_))));
    assert_eq!(files(folder.path()), before);
    assert_eq!(count(&first), 10);
}

#[test]
fn churn_leaves_a_file_of_bounded_size() {
    // 1 000 messages of 500 octets live at any time, 40 000 in all, 64 an engine batch.
    let folder = tempfile::tempdir().unwrap();
    let kv = open(folder.path()).unwrap();
    let key = |n: u32| n.to_be_bytes().to_vec();
    let mut sizes = Vec::new();
    for round in 0..4_u32 {
        for batch in 0..10_000 / 32 {
            let first = (round * (10_000 / 32) + batch) * 32;
            let mut writes = Vec::new();
            for n in first..first + 32 {
                writes.push((key(n), Some(vec![0xA5; 500])));
                if let Some(old) = n.checked_sub(1000) {
                    writes.push((key(old), None));
                }
            }
            kv.apply(&writes).unwrap();
            if batch % 8 == 0 {
                kv.sync().unwrap();
            }
        }
        sizes.push(kv.disk_bytes() >> 20);
    }
    assert_eq!(count(&kv), 1000);
    let last = *sizes.last().unwrap();
    assert!(
        last <= sizes[0] * 2 + 8,
        "MiB after each 10 000 messages: {sizes:?}"
    );
}
