//! Limits of keys: requests by a rate, messages by the day; each key has its own.

use axum::body::Body;
use axum::http::Request;
use futures_util::FutureExt as _;
use relais::domain::policy::{Limits, Policy};
use relais::domain::rate::Rate;
use relais::http::Settings;
use serde_json::json;
use tower::Service as _;

use crate::{Gateway, gateway, hello};

/// A gateway whose keys may do so much.
async fn limited(change: impl Fn(&mut Limits)) -> Gateway {
    let gateway = gateway().await;
    gateway.policy.send_modify(|policy| {
        let mut changed: Policy = (**policy).clone();
        change(&mut changed.limits);
        *policy = changed.into();
    });
    gateway
}

#[tokio::test(start_paused = true)]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let gateway = limited(|limits| limits.key_rate = Rate::per_minute(60)).await;
    let client = gateway.client("t", &["send", "read"]).await;
    let other = gateway.client("t", &["read"]).await;
    assert_eq!(client.get("/v1/messages").await.status, 200);
    let refused = client.post("/v1/messages", &hello()).await;
    assert_eq!(refused.problem(429), "key_rate");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(other.get("/v1/messages").await.status, 200, "another key");
    for _ in 0..10 {
        assert_eq!(gateway.admin.get("/v1/messages").await.status, 200, "admin");
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(client.post("/v1/messages", &hello()).await.status, 202);
    let figures = gateway.engine.metrics.render();
    assert!(
        figures.contains("relais_http_refused_total{why=\"key_rate\"} 1"),
        "{figures}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_counts_as_the_messages_that_it_has() {
    let gateway = limited(|limits| limits.key_daily_messages = 5).await;
    let client = gateway.client("t", &["send", "read"]).await;
    let batch = |n: usize| {
        let to: Vec<_> = (0..n).map(|i| format!("+3361234567{i}")).collect();
        json!({"to": to, "text": "Bonjour"})
    };
    let taken = client.post("/v1/batches", &batch(3)).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    // Nothing of a batch that is too much is stored, and nothing of it counts.
    let refused = client.post("/v1/batches", &batch(3)).await;
    assert_eq!(refused.problem(429), "key_quota");
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{wait}");
    // What is refused for its contents counts for nothing.
    let wrong = json!({"to": "06 12 34 56 78", "text": ""});
    assert_eq!(client.post("/v1/messages", &wrong).await.status, 422);
    let key = [("Idempotency-Key", "once")];
    let body = hello().to_string();
    for _ in 0..3 {
        // A repetition is one message.
        let answer = client.post_raw("/v1/messages", &key, body.as_bytes()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    assert_eq!(client.post("/v1/messages", &hello()).await.status, 202);
    assert_eq!(
        client.post("/v1/messages", &hello()).await.problem(429),
        "key_quota"
    );
    // The first answer is given again although the day is used up.
    let again = client.post_raw("/v1/messages", &key, body.as_bytes()).await;
    assert_eq!(
        (again.status, &*again.headers["idempotent-replayed"]),
        (202, "true")
    );
    let list = client.get("/v1/messages").await;
    assert_eq!(list.json["data"].as_array().unwrap().len(), 5);
    assert_eq!(
        gateway.admin.post("/v1/messages", &hello()).await.status,
        202
    );
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    assert_eq!(
        client.post("/v1/batches", &batch(3)).await.status,
        202,
        "a new day"
    );
}

#[tokio::test]
async fn who_does_not_wait_for_the_answer_pays_for_the_message_all_the_same() {
    let gateway = limited(|limits| limits.key_daily_messages = 1).await;
    let client = gateway.client("t", &["send", "read"]).await;
    let mut router = relais::http::router(gateway.engine.clone(), Settings::new("admin".into()));
    let mut post = || {
        let request = Request::post("/v1/messages")
            .header("authorization", format!("Bearer {}", client.key()))
            .header("content-type", "application/json")
            .body(Body::from(hello().to_string()));
        router.call(request.unwrap())
    };
    // As far as it comes at once, and then its connection is gone: the store has the message by then.
    assert!(post().now_or_never().is_none());
    let mut stored = 0;
    while stored == 0 {
        let list = client.get("/v1/messages").await;
        stored = list.json["data"].as_array().unwrap().len();
    }
    assert_eq!(post().await.unwrap().status(), 429);
}
