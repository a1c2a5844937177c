//! What people have suffered from other gateways, one test each, named after the pain: shown here not
//! to happen.
//!
//! The engine, the SMPP session and a simulated carrier run over connections in memory with tokio's
//! time paused; webhooks go to small servers on loopback. Each test begins with what users suffered
//! elsewhere, and what is shown.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod outages;
mod receipts;
mod texts;
mod throttling;
mod webhooks;

use std::time::Duration;

use relais::domain::id::MessageId;
use relais::domain::status::Status;
use relais::sim::smsc::SmscScript;
use support::World;

const NUMBER: &str = "06 12 34 56 78";
const HOUR: Duration = Duration::from_hours(1);

fn script(toml: &str) -> SmscScript {
    toml::from_str(toml).unwrap()
}

/// Three parts in the GSM alphabet.
fn three_parts() -> String {
    "Le service d'eau sera coupé de 8 h à 12 h, rue Zola. ".repeat(7)
}

/// What a counter of the metrics shows, over all of its labels.
fn counted(world: &World, metric: &str) -> u64 {
    let text = world.engine.metrics.render();
    text.lines()
        .filter(|line| line.starts_with(metric) && line[metric.len()..].starts_with(['{', ' ']))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .fold(0, |sum, count| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let count = count as u64;
            sum + count
        })
}

/// Waits until all of them have this status.
async fn all_become(world: &World, ids: &[MessageId], status: Status) {
    for id in ids {
        world.until(*id, status).await;
    }
}
