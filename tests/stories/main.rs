//! The five applications that Relais was made for, each played over HTTP through the whole gateway with its
//! own numbers: the engine, the SMPP session and a simulated carrier run in virtual time, so that a
//! week passes in milliseconds and every instant of the carrier's ledger is exact.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/api.rs"]
mod api;
#[path = "../support/mod.rs"]
mod support;

mod club;
mod domifa;
mod field_service;
mod interventions;
mod optician;

use std::sync::Arc;

use api::Api;
use relais::clock::Clock;
use relais::config;
use relais::domain::time::Timestamp;
use relais::sim::smsc::SmscScript;
use serde_json::Value;
use support::{Line, World};
use tokio::sync::watch;

/// An instant in RFC 3339.
fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A gateway whose configuration has `rest` besides one carrier, from `start` on, and its interface.
async fn gateway(start: &str, rest: &str, script: SmscScript) -> (World, Api) {
    let text = format!(
        "{rest}\n[smpp.carrier]\nhost = \"127.0.0.1\"\nsystem_id = \"me\"\npassword = \"secret\"\n\
         [operators.default]\nroute = [\"carrier\"]\n"
    );
    let policy = match config::parse(&text, "relais.toml") {
        Ok(config) => config.policy,
        Err(errors) => panic!("{errors}"),
    };
    let clock = Clock::starting_at(at(start));
    let (policy, rules) = watch::channel(Arc::new(policy));
    let store = relais::store::memory(rules, clock.now()).unwrap();
    let lines = vec![Line::new("carrier", script)];
    let world = World::around(store, lines, policy, clock).await;
    let api = Api::of(&world.engine).await;
    (world, api)
}

/// The body of an answer that was to have this status.
#[track_caller]
fn expect(status: u16, (got, body): (u16, Value)) -> Value {
    assert_eq!(got, status, "{body}");
    body
}

/// Lets the clock run until this instant.
async fn until(world: &World, instant: &str) {
    tokio::time::sleep(at(instant).since(world.clock.now())).await;
}

/// What the first carrier has been given, in order: when, to whom, and the text of each part.
fn submitted(world: &World) -> Vec<(Timestamp, String, String)> {
    world.carrier.ledger(|ledger| {
        let all = ledger.submitted.iter();
        all.map(|it| (it.at, it.destination.text.clone(), it.text.clone()))
            .collect()
    })
}
