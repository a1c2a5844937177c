//! What is configured of an operator, kept through the whole gateway: route, rate, retries, validity, doubt,
//! sending hours, and whose number it is.
//!
//! The rules come from a configuration as people write it; the engine, the SMPP session and simulated
//! carriers run over connections in memory with tokio's time paused, so that every instant of a
//! carrier's ledger is exact, and a change to summer time is a second away.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/api.rs"]
mod api;
#[path = "../support/mod.rs"]
mod support;

mod calendars;
mod hours;
mod portability;
mod rules;
mod shipped;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::Api;
use relais::clock::Clock;
use relais::config::{self, Config};
use relais::domain::id::MessageId;
use relais::domain::policy::Policy;
use relais::domain::time::Timestamp;
use relais::engine::accept::Draft;
use relais::sim::smsc::{Receipts, Rule, ScriptedState, SmscScript};
use support::{Line, World};
use tokio::sync::watch;

const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

/// An instant in RFC 3339.
fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A configuration with these accounts and whatever else, as if it stood in `folder`.
fn configured(accounts: &[&str], rest: &str, folder: &Path) -> Config {
    let source = folder.join("relais.toml").display().to_string();
    match config::parse(&text_of(accounts, rest), &source) {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

fn text_of(accounts: &[&str], rest: &str) -> String {
    // Keys of the file itself come before its tables.
    let tables_at = match rest.find("\n[") {
        _ if rest.starts_with('[') => 0,
        at => at.map_or(rest.len(), |at| at + 1),
    };
    let (top, tables) = rest.split_at(tables_at);
    let mut text = top.to_owned();
    for account in accounts {
        text.push_str(&format!(
            "[smpp.{account}]\nhost = \"127.0.0.1\"\nsystem_id = \"me\"\npassword = \"secret\"\n"
        ));
    }
    text + tables
}

/// The rules of such a configuration, in no folder.
fn rules(accounts: &[&str], rest: &str) -> Policy {
    configured(accounts, rest, Path::new("")).policy
}

/// A gateway with these rules and carriers, from `start` on.
async fn world(start: &str, policy: Policy, carriers: Vec<(&str, SmscScript)>) -> World {
    let clock = Clock::starting_at(at(start));
    let (policy, rules) = watch::channel(Arc::new(policy));
    let store = relais::store::memory(rules, clock.now()).unwrap();
    let lines = carriers
        .into_iter()
        .map(|(name, script)| Line::new(name, script))
        .collect();
    World::around(store, lines, policy, clock).await
}

fn taking() -> SmscScript {
    SmscScript::default()
}

fn down() -> SmscScript {
    SmscScript {
        refuse_connections: true,
        ..SmscScript::default()
    }
}

/// Answers everything with this status.
fn refusing(status: u32) -> SmscScript {
    SmscScript {
        rules: vec![Rule {
            status: Some(status),
            ..Rule::default()
        }],
        ..SmscScript::default()
    }
}

/// Takes everything and never says so.
fn unanswering() -> SmscScript {
    SmscScript {
        rules: vec![Rule {
            unanswered: true,
            receipt: Some(ScriptedState::None),
            ..Rule::default()
        }],
        receipts: Receipts {
            state: ScriptedState::None,
            ..Receipts::default()
        },
        ..SmscScript::default()
    }
}

/// When each `submit_sm` to a number that ends so came to a carrier.
fn seen(world: &World, carrier: usize, ending: &str) -> Vec<Timestamp> {
    world.carriers[carrier].ledger(|ledger| {
        let submitted = ledger.submitted.iter();
        let fits = submitted.filter(|it| it.destination.text.ends_with(ending));
        fits.map(|it| it.at).collect()
    })
}

async fn why(world: &World, id: MessageId) -> (&'static str, Option<Timestamp>) {
    world.engine.why(&world.message(id).await).unwrap()
}

fn to(number: &str) -> Draft {
    Draft {
        to: number.to_owned(),
        text: "bonjour".to_owned(),
        ..Draft::default()
    }
}
