//! Webhooks over real HTTP: signed, in order, repeated until taken, and one bad receiver holds up
//! nobody else.
//!
//! The engine runs over a store in memory and a simulated carrier; receivers are small servers on
//! loopback that record what they are sent.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use relais::domain::id::MessageId;
use relais::engine::accept::Draft;
use relais::sim::smsc::{Rule, ScriptedState, SmscScript};
use relais::store::Webhook;
use support::{World, operator, policy, tenant};
use tokio::sync::watch;

/// One post as it came.
#[derive(Clone, Debug)]
struct Got {
    headers: HashMap<String, String>,
    body: serde_json::Value,
    raw: Bytes,
}

/// A receiver that answers with the statuses it is given, then with 200.
#[derive(Clone)]
struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Mutex<Vec<u16>>>,
    count: watch::Sender<usize>,
    url: String,
}

impl Receiver {
    async fn start(answers: &[u16]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            got: Arc::default(),
            answers: Arc::new(Mutex::new(answers.iter().rev().copied().collect())),
            count: watch::Sender::new(0),
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
        };
        let router = axum::Router::new()
            .route("/hook", axum::routing::post(take))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver
    }

    /// Waits for this many posts, and hands out all there are.
    async fn posts(&self, wanted: usize) -> Vec<Got> {
        let mut count = self.count.subscribe();
        let enough = count.wait_for(|count| *count >= wanted);
        tokio::time::timeout(Duration::from_secs(60), enough)
            .await
            .unwrap()
            .unwrap();
        self.got.lock().unwrap().clone()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, raw: Bytes) -> StatusCode {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let body = serde_json::from_slice(&raw).unwrap();
    receiver
        .got
        .lock()
        .unwrap()
        .push(Got { headers, body, raw });
    receiver.count.send_modify(|count| *count += 1);
    let status = receiver.answers.lock().unwrap().pop().unwrap_or(200);
    StatusCode::from_u16(status).unwrap()
}

async fn world(script: SmscScript) -> World {
    let mut rules = policy(operator());
    rules.webhook_allow = vec!["127.0.0.1/32".parse().unwrap()];
    World::with(script, rules, |_| {}).await
}

async fn subscribe(world: &World, id: &str, url: &str, types: &[&str]) -> String {
    let secret = format!(
        "whsec_{}",
        base64::engine::general_purpose::STANDARD.encode([9; 24])
    );
    let webhook = Webhook {
        id: id.to_owned(),
        tenant: tenant(),
        url: url.to_owned(),
        types: types.iter().map(|kind| (*kind).to_owned()).collect(),
        secret: secret.clone(),
        created_at: world.clock.now(),
    };
    world.engine.store.put_webhook(webhook).await.unwrap();
    secret
}

async fn send_with_url(world: &World, to: &str, url: &str) -> MessageId {
    let draft = Draft {
        to: to.to_owned(),
        text: "bonjour".to_owned(),
        webhook_url: Some(url.to_owned()),
        ..Draft::default()
    };
    world.submit(draft).await
}

/// Checks the signature with the recipe of Standard Webhooks, written here anew.
fn assert_signed(got: &Got, secret: &str) {
    let key = base64::engine::general_purpose::STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(
        format!(
            "{}.{}.",
            got.headers["webhook-id"], got.headers["webhook-timestamp"]
        )
        .as_bytes(),
    );
    mac.update(&got.raw);
    let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(got.headers["webhook-signature"], format!("v1,{expected}"));
}

#[tokio::test]
async fn a_subscription_gets_the_types_it_wants_in_order_and_signed() {
    let world = world(SmscScript::default()).await;
    let receiver = Receiver::start(&[]).await;
    let types = ["message.sent", "message.delivered"];
    let secret = subscribe(&world, "wh1", &receiver.url, &types).await;
    let id = world.send("0612345678", "bonjour").await;
    let posts = receiver.posts(2).await;
    let told: Vec<_> = posts
        .iter()
        .map(|got| got.body["type"].as_str().unwrap())
        .collect();
    assert_eq!(told, types);
    assert_eq!(posts[0].body["revision"], 1);
    assert_eq!(posts[1].body["revision"], 2);
    assert_eq!(
        posts[0].body["data"]["status"], "sent",
        "the record as it was then"
    );
    assert_eq!(posts[1].body["data"]["id"], id.to_string());
    assert_eq!(posts[1].body["data"]["label"], "Livré");
    posts.iter().for_each(|got| assert_signed(got, &secret));
    world.stop().await;
}

#[tokio::test]
async fn a_messages_own_url_gets_its_end_alone_signed_with_the_tenants_secret() {
    let world = world(SmscScript::default()).await;
    let receiver = Receiver::start(&[]).await;
    let url = format!("{}?i=1", receiver.url);
    send_with_url(&world, "0612345678", &url).await;
    let posts = receiver.posts(1).await;
    assert_eq!(posts[0].body["type"], "message.delivered");
    assert_signed(&posts[0], &world.engine.tenant_secret(&tenant()));
    world.stop().await;
}

#[tokio::test]
async fn a_post_that_fails_is_made_again_with_the_same_id_and_before_the_next() {
    let world = world(SmscScript::default()).await;
    let receiver = Receiver::start(&[500]).await;
    subscribe(
        &world,
        "wh1",
        &receiver.url,
        &["message.sent", "message.delivered"],
    )
    .await;
    world.send("0612345678", "bonjour").await;
    let posts = receiver.posts(3).await;
    let told: Vec<_> = posts
        .iter()
        .map(|got| got.body["type"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["message.sent", "message.sent", "message.delivered"]);
    assert_eq!(
        posts[0].headers["webhook-id"],
        posts[1].headers["webhook-id"]
    );
    assert_ne!(
        posts[1].headers["webhook-id"],
        posts[2].headers["webhook-id"]
    );
    world.stop().await;
}

#[tokio::test]
async fn a_receiver_that_is_down_holds_up_nobody_else_and_is_not_hammered() {
    let world = world(SmscScript::default()).await;
    let receiver = Receiver::start(&[]).await;
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/hook", listener.local_addr().unwrap())
    };
    for n in 0..200 {
        let number = format!("+336000001{:02}", n % 100);
        send_with_url(
            &world,
            &number,
            if n % 2 == 0 { &gone } else { &receiver.url },
        )
        .await;
    }
    receiver.posts(100).await;
    let text = world.engine.metrics.render();
    let retried: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("relais_webhook_retried_total "))
        .map_or(0, |count| count.parse().unwrap());
    assert!(retried <= 40, "{retried} tries at a receiver that is down");
    assert!(world.engine.store.gauges(world.clock.now()).outbox >= 100 - 40);
    world.stop().await;
}

#[tokio::test]
async fn a_failed_message_is_told_with_its_reason() {
    let rule = Rule {
        receipt: Some(ScriptedState::Undeliverable),
        error: Some("027".into()),
        ..Rule::default()
    };
    let world = world(SmscScript {
        rules: vec![rule],
        ..SmscScript::default()
    })
    .await;
    let receiver = Receiver::start(&[]).await;
    subscribe(&world, "wh1", &receiver.url, &[]).await;
    world.send("0612345678", "bonjour").await;
    let posts = receiver.posts(1).await;
    assert_eq!(posts[0].body["type"], "message.failed");
    assert_eq!(posts[0].body["data"]["reason"], "undeliverable");
    assert_eq!(posts[0].body["data"]["label"], "Échec");
    world.stop().await;
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_posted_to() {
    // `localhost` passes as a name and is judged by its addresses when the post is made.
    let mut rules = policy(operator());
    rules.webhook_allow = vec!["192.0.2.1/32".parse().unwrap()];
    let world = World::with(SmscScript::default(), rules, |_| {}).await;
    let receiver = Receiver::start(&[]).await;
    let url = receiver.url.replace("127.0.0.1", "localhost");
    subscribe(&world, "wh1", &url, &[]).await;
    world.send("0612345678", "bonjour").await;
    let tried = async {
        while !world
            .engine
            .metrics
            .render()
            .contains("relais_webhook_retried_total 1")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), tried)
        .await
        .unwrap();
    assert_eq!(receiver.got.lock().unwrap().len(), 0);
    world.stop().await;
}
