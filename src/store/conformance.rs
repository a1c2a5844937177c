//! The suite that every store must pass, whatever keeps its records.
//!
//! Each test runs on memory and on sled. Its name is the promise that it proves, and each ends with
//! [`World::finish`]: the store is closed and `fsck` finds nothing wrong with what it left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod by_sim;
mod copies;
mod counts;
mod handsets;
mod hours;
mod ledgers;
mod outbox;
mod plans;
mod probe;
mod reads;
mod receipts;
mod recovery;
mod sending;
mod spendings;
mod sweeps;
mod wishes;
mod world;
mod writings;

pub(super) use probe::{Call, Probe};
pub(super) use world::{World, accepted, all, claimant, keyed, opened, shop, submission, token};

/// Runs each test of a module on every engine.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        mod on_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::store::conformance::World::memory()).await;
            })*
        }
        mod on_sled {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::store::conformance::World::sled()).await;
            })*
        }
    };
}
pub(super) use on_every_engine;
