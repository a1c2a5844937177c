//! What looks like abuse is refused, each with a code of its own, and nothing of it is stored.

use std::time::Duration;

use relais::domain::policy::Policy;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::{Gateway, gateway, hello};

async fn shop() -> (Gateway, Client) {
    let gateway = gateway().await;
    let client = gateway.client("shop", &["send", "read"]).await;
    (gateway, client)
}

async fn set(gateway: &Gateway, guard: Value) {
    let headers = [("Content-Type", "application/json")];
    let body = json!({"guard": guard}).to_string();
    let path = "/v1/admin/tenants/shop";
    let answer = gateway
        .admin
        .send("PATCH", path, &headers, body.as_bytes())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn post(client: &Client, to: &str) -> Answer {
    client
        .post("/v1/messages", &json!({"to": to, "text": "Bonjour"}))
        .await
}

async fn stored(client: &Client) -> usize {
    let list = client.get("/v1/messages?limit=1000").await;
    list.json["data"].as_array().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_recipient_gets_five_messages_an_hour_however_they_come() {
    let (gateway, client) = shop().await;
    for _ in 0..8 {
        assert_eq!(client.post("/v1/preview", &hello()).await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(post(&client, "06 12 34 56 78").await.status, 202);
    }
    // A batch counts as a whole: three more are too many, and not one of them is taken.
    let batch =
        json!({"messages": [hello(), hello(), {"to": "06 99 00 00 01", "text": "x"}, hello()]});
    let refused = client.post("/v1/batches", &batch).await;
    assert_eq!(refused.problem(429), "recipient_limit");
    assert_eq!(refused.errors(), [("", "recipient_limit")]);
    assert_eq!(stored(&client).await, 3);
    let key = [("Idempotency-Key", "once")];
    let body = hello().to_string();
    for _ in 0..3 {
        let answer = client.post_raw("/v1/messages", &key, body.as_bytes()).await;
        assert_eq!(answer.status, 202, "a repetition is one message");
    }
    assert_eq!(post(&client, "+33612345678").await.status, 202);
    let refused = post(&client, "0612345678").await;
    assert_eq!(refused.problem(429), "recipient_limit");
    assert_eq!(refused.errors(), [("/to", "recipient_limit")]);
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    // The first answer is given again although no more may be sent.
    let again = client.post_raw("/v1/messages", &key, body.as_bytes()).await;
    assert_eq!(
        (again.status, &*again.headers["idempotent-replayed"]),
        (202, "true")
    );
    assert_eq!(
        post(&client, "06 12 34 56 79").await.status,
        202,
        "another one"
    );
    let other = gateway.client("other", &["send"]).await;
    assert_eq!(
        post(&other, "06 12 34 56 78").await.status,
        202,
        "another tenant"
    );
    for _ in 0..30 {
        // The installation's own tenant has only the limits that its settings name.
        assert_eq!(post(&gateway.admin, "06 12 34 56 78").await.status, 202);
    }
    let figures = gateway.engine.metrics.render();
    assert!(
        figures.contains("relais_http_refused_total{why=\"recipient_limit\"} 3"),
        "{figures}"
    );
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(post(&client, "06 12 34 56 78").await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn consecutive_numbers_are_refused_one_by_one_and_together() {
    let (gateway, client) = shop().await;
    for n in 0..9 {
        assert_eq!(
            post(&client, &format!("06 12 34 50 0{n}")).await.status,
            202
        );
    }
    let refused = post(&client, "06 12 34 50 09").await;
    assert_eq!(refused.problem(403), "consecutive_numbers");
    let to: Vec<_> = (10..30).map(|n| format!("06 12 34 60 {n}")).collect();
    let refused = client
        .post("/v1/batches", &json!({"to": to, "text": "x"}))
        .await;
    assert_eq!(refused.problem(403), "consecutive_numbers");
    assert_eq!(stored(&client).await, 9);
    set(&gateway, json!({"consecutive": 0})).await;
    let taken = client
        .post("/v1/batches", &json!({"to": to, "text": "x"}))
        .await;
    assert_eq!(taken.json["accepted"], 20, "{}", taken.text());
}

#[tokio::test(start_paused = true)]
async fn numbers_that_begin_alike_share_a_burst_and_each_limit_has_its_setting() {
    let (gateway, client) = shop().await;
    gateway.policy.send_modify(|policy| {
        let mut changed: Policy = (**policy).clone();
        changed.guard.limits.prefix_burst = 3;
        *policy = changed.into();
    });
    for last in ["00", "20", "40"] {
        assert_eq!(
            post(&client, &format!("06 12 34 51 {last}")).await.status,
            202
        );
    }
    let refused = post(&client, "06 12 34 51 60").await;
    assert_eq!(refused.problem(429), "prefix_limit");
    assert_eq!(
        post(&client, "06 12 35 51 60").await.status,
        202,
        "another prefix"
    );
    set(&gateway, json!({"prefix_burst": 4})).await;
    assert_eq!(post(&client, "06 12 34 51 60").await.status, 202);
    assert_eq!(
        post(&client, "06 12 34 51 80").await.problem(429),
        "prefix_limit"
    );
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(post(&client, "06 12 34 51 80").await.status, 202);
    set(
        &gateway,
        json!({"recipient_daily": 2, "recipient_hourly": 0}),
    )
    .await;
    for _ in 0..2 {
        assert_eq!(post(&client, "07 00 00 00 01").await.status, 202);
    }
    let refused = post(&client, "07 00 00 00 01").await;
    assert_eq!(refused.problem(429), "recipient_limit");
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!(wait > 3600, "{wait}");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_stored_does_not_count() {
    let (gateway, client) = shop().await;
    gateway.policy.send_modify(|policy| {
        let mut changed: Policy = (**policy).clone();
        changed.limits.max_live_messages = 0;
        *policy = changed.into();
    });
    for _ in 0..10 {
        assert_eq!(
            post(&client, "06 12 34 56 78").await.problem(429),
            "too_many_waiting"
        );
    }
    gateway.policy.send_modify(|policy| {
        let mut changed: Policy = (**policy).clone();
        changed.limits.max_live_messages = 100;
        *policy = changed.into();
    });
    for _ in 0..5 {
        assert_eq!(post(&client, "06 12 34 56 78").await.status, 202);
    }
    assert_eq!(
        post(&client, "06 12 34 56 78").await.problem(429),
        "recipient_limit"
    );
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_replaced_and_what_is_told_once_count_as_one_message_each() {
    let (_gateway, client) = shop().await;
    for n in 0..8 {
        let plan = json!({"to": "06 12 34 56 78", "text": format!("Plan {n}"), "schedule_key": "rdv",
                          "send_at": "2026-09-22T12:00:00Z"});
        let answer = client.post("/v1/messages", &plan).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let once = json!({"to": "06 12 34 56 78", "text": "Une fois", "once_key": "told"});
    assert_eq!(client.post("/v1/messages", &once).await.status, 202);
    for _ in 0..8 {
        assert_eq!(client.post("/v1/messages", &once).await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(post(&client, "06 12 34 56 78").await.status, 202);
    }
    assert_eq!(
        post(&client, "06 12 34 56 78").await.problem(429),
        "recipient_limit"
    );
    let again = client.post("/v1/messages", &once).await;
    assert_eq!(again.status, 200, "it is told, not sent: {}", again.text());
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_changes_its_recipient_is_one_more_message_to_the_new_one() {
    let (_gateway, client) = shop().await;
    let plan = |n: u32, to: &str, when: &str| json!({"to": to, "text": "Plan", "schedule_key": format!("rdv-{n}"), "send_at": when});
    for n in 0..6 {
        let decoy = plan(n, &format!("06 98 {n}7 {n}6 {n}1"), "2026-09-22T12:00:00Z");
        assert_eq!(client.post("/v1/messages", &decoy).await.status, 202);
        let victim = plan(n, "06 12 34 56 78", "2026-09-22T13:00:00Z");
        let answer = client.post("/v1/messages", &victim).await;
        if n < 5 {
            assert_eq!(answer.status, 202, "{}", answer.text());
        } else {
            assert_eq!(answer.problem(429), "recipient_limit");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_numbers_does_not_go_on_behind_the_one_that_was_refused() {
    let (_gateway, client) = shop().await;
    for n in 0..30 {
        let answer = post(&client, &format!("06 21 55 00 {n:02}")).await;
        if n < 9 {
            assert_eq!(answer.status, 202, "{n}: {}", answer.text());
        } else {
            assert_eq!(answer.problem(403), "consecutive_numbers", "{n}");
        }
    }
}
