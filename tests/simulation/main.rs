//! One seed is one world: carriers that misbehave, clients that insist, a daemon that is killed at
//! any await point and rebuilt from what its disk has kept, hours in milliseconds. In the end an
//! oracle judges what is stored against what the carriers have seen.
//!
//! `SIM_SEED=123` replays one world, `SIM_SEEDS=10000` runs as many, `SIM_FROM=5000` starts there,
//! `SIM_CROWDED=1` makes every world one where ids are easily taken for one another.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod clients;
mod disk;
mod faults;
mod oracle;
mod plan;
mod report;
mod tally;
mod trial;
mod world;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use oracle::Evidence;
use plan::Plan;
use relais::domain::time::Timestamp;
use tally::Tally;

/// 21 September 2026, 10:00 UTC.
pub const START: Timestamp = Timestamp(1_789_984_800_000);

/// Worlds of a usual run.
const SEEDS: u64 = 200;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// A world as one number: what carriers saw, what is stored, and when.
fn fingerprint(evidence: &Evidence) -> u64 {
    let mut hasher = DefaultHasher::new();
    for carrier in &evidence.carriers {
        format!("{:?}{:?}", carrier.submitted, carrier.delivered).hash(&mut hasher);
    }
    format!("{:?}{:?}", evidence.records, evidence.inbound).hash(&mut hasher);
    format!("{:?}{:?}", evidence.notes.told, evidence.notes.kills).hash(&mut hasher);
    (evidence.ended.millis(), evidence.operations).hash(&mut hasher);
    hasher.finish()
}

#[test]
fn every_world_keeps_its_promises() {
    let (from, count) = match setting("SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (
            setting("SIM_FROM").unwrap_or(1),
            setting("SIM_SEEDS").unwrap_or(SEEDS),
        ),
    };
    let next = AtomicU64::new(from);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let crowded = setting("SIM_CROWDED").is_some_and(|value| value != 0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    let mut plan = Plan::draw(seed);
                    if crowded {
                        plan = plan.crowded();
                    }
                    let evidence = world::run(&plan);
                    if seed.is_multiple_of(20) {
                        same(seed, &evidence, &world::run(&plan));
                    }
                    tally.lock().unwrap().count(&evidence);
                    let violations = oracle::judge(&evidence);
                    if !violations.is_empty() {
                        let rules = violations
                            .iter()
                            .map(|found| found.rule)
                            .collect::<Vec<_>>();
                        println!("{}", report::report(&evidence, &violations));
                        failed.lock().unwrap().push((seed, rules));
                    }
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("{count} worlds from {from}\n{tally}");
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    assert!(
        failed.is_empty(),
        "{} of {count} worlds went wrong: {failed:#?}",
        failed.len()
    );
    if count >= SEEDS {
        assert_eq!(tally.missing(), Vec::<&str>::new(), "not met with");
    }
}

#[track_caller]
fn same(seed: u64, one: &Evidence, two: &Evidence) {
    let (one, two) = (fingerprint(one), fingerprint(two));
    assert_eq!(one, two, "seed {seed} gave two worlds");
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 1..=12 {
        let plan = Plan::draw(seed);
        same(seed, &world::run(&plan), &world::run(&plan));
    }
}
