//! What clients see of the HTTP interface: a real listener on a free port, the memory store and no
//! carrier, spoken to octet by octet, so that nothing a client library would mend is missed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod client;
mod connections;
mod consents;
mod credit;
mod digests;
mod document;
mod guard;
mod input;
mod messages;
mod numbers;
mod operations;
mod optouts;
mod plans;
mod preview;
mod quotas;
mod templates;
mod tenants;
mod texts;

use std::sync::Arc;

use client::Client;
use relais::channel::ChannelHandle;
use relais::clock::{Clock, Random};
use relais::domain::policy::{Limits, Operator, Policy};
use relais::domain::time::Timestamp;
use relais::engine::{Engine, Parts};
use relais::http::{Settings, serve};
use relais::metrics::Metrics;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The admin key of every gateway here.
const ADMIN: &str = "an-admin-key-for-tests";

/// A gateway that listens.
struct Gateway {
    engine: Arc<Engine>,
    stop: CancellationToken,
    served: AbortOnDropHandle<std::io::Result<()>>,
    /// A client with the admin key.
    admin: Client,
    policy: watch::Sender<Arc<Policy>>,
}

async fn gateway() -> Gateway {
    gateway_with(|_| {}).await
}

async fn gateway_with(settle: impl FnOnce(&mut Settings)) -> Gateway {
    gateway_over(Vec::new(), settle).await
}

async fn gateway_over(channels: Vec<ChannelHandle>, settle: impl FnOnce(&mut Settings)) -> Gateway {
    let clock = Clock::starting_at(Timestamp(1_790_000_000_000));
    let operator = |name: &str| Operator::named(name, vec![vec!["orange".into()]]);
    let rules = Policy::new(operator("default"), Vec::new(), "FR", Limits::default());
    let (policy, rules) = watch::channel(Arc::new(rules));
    let engine = Arc::new(Engine::new(Parts {
        store: relais::store::memory(rules.clone(), clock.now()).unwrap(),
        policy: rules,
        clock,
        random: Random::system(),
        metrics: Arc::new(Metrics::new()),
        channels,
        signing_key: [7; 32],
    }));
    let mut settings = Settings::new(ADMIN.into());
    settle(&mut settings);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, engine.clone(), settings, stop.clone()));
    Gateway {
        engine,
        stop,
        served: AbortOnDropHandle::new(served),
        admin: Client::new(address, ADMIN),
        policy,
    }
}

impl Gateway {
    /// A client with a new key.
    async fn client(&self, tenant: &str, scopes: &[&str]) -> Client {
        let body = json!({"tenant": tenant, "name": "test", "scopes": scopes});
        let made = self.admin.post("/v1/admin/keys", &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        self.admin.with_key(made.json["key"].as_str().unwrap())
    }
}

/// A message that every check passes.
fn hello() -> Value {
    json!({"to": "06 12 34 56 78", "text": "Bonjour"})
}
