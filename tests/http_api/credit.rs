//! Credit and quotas, as applications and administrators meet them.

use relais::domain::id::Tenant;
use relais::store::{Document, DocumentKind, Webhook};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::{Gateway, gateway, hello};

/// Writes the settings of a tenant, who may write to one number as often as its credit lets it.
async fn settle(gateway: &Gateway, tenant: &str, settings: &Value) {
    let now = gateway.engine.clock.now();
    let mut settings = settings.clone();
    for limit in [
        "recipient_hourly",
        "recipient_daily",
        "prefix_burst",
        "consecutive",
    ] {
        settings["guard"][limit] = json!(0);
    }
    let document = Document {
        kind: DocumentKind::Settings,
        tenant: Tenant::from(tenant),
        name: String::new(),
        json: settings.to_string(),
        created_at: now,
        updated_at: now,
    };
    gateway.engine.store.put_document(document).await.unwrap();
}

/// The optician of seed 001: 0.2177 € an SMS.
async fn optician(gateway: &Gateway, rest: Value) -> Client {
    let mut credit = json!({"unit": "eur", "price": "0.2177"});
    credit
        .as_object_mut()
        .unwrap()
        .extend(rest.as_object().unwrap().clone());
    // It writes to one number as often as its credit lets it.
    let guard = json!({"recipient_hourly": 0, "recipient_daily": 0});
    settle(gateway, "irris", &json!({"credit": credit, "guard": guard})).await;
    gateway.client("irris", &["send", "read"]).await
}

async fn top_up(gateway: &Gateway, body: &Value) -> Answer {
    let path = "/v1/admin/tenants/irris/credit";
    gateway.admin.post(path, body).await
}

async fn credit(client: &Client) -> Value {
    let answer = client.get("/v1/credit").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json
}

#[tokio::test]
async fn four_euros_and_seventy_nine_cents_are_twenty_two_sms() {
    let gateway = gateway().await;
    let client = optician(&gateway, json!({})).await;
    assert_eq!(
        client.post("/v1/messages", &hello()).await.problem(402),
        "insufficient_credit"
    );
    let added = top_up(&gateway, &json!({"amount": "4.79", "note": "Facture 17"})).await;
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(added.json["balance"], "4.79");
    let told = credit(&client).await;
    for (member, value) in [
        ("unit", json!("eur")),
        ("amount", json!("4.79")),
        ("currency", json!("EUR")),
        ("parts", json!(null)),
        ("price", json!("0.2177")),
        ("sms_left", json!(22)),
    ] {
        assert_eq!(told[member], value, "{member}");
    }
    for sent in 1..=22 {
        let answer = client.post("/v1/messages", &hello()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(answer.json["cost"]["amount"], "0.2177");
        assert_eq!(credit(&client).await["sms_left"], json!(22 - sent));
    }
    let refused = client.post("/v1/messages", &hello()).await;
    assert_eq!(refused.problem(402), "insufficient_credit");
    let detail = refused.json["detail"].as_str().unwrap();
    assert!(
        detail.contains("0.2177 EUR") && detail.contains("0.0006 EUR"),
        "{detail}"
    );
    let told = credit(&client).await;
    assert_eq!(
        told["used"]["today"],
        json!({"parts": 22, "amount": "4.7894"})
    );
    let figures = gateway.admin.get("/v1/metrics").await.text();
    for line in [
        "relais_credit_remaining{tenant=\"irris\",unit=\"eur\"} 0.0006",
        "relais_credit_refused_total{why=\"insufficient_credit\"} 2",
    ] {
        assert!(figures.contains(line), "{figures}");
    }
}

#[tokio::test]
async fn fifty_posts_at_once_never_spend_more_than_there_is() {
    let gateway = gateway().await;
    let client = optician(&gateway, json!({})).await;
    top_up(&gateway, &json!({"amount": "4.79"})).await;
    let posts = (0..50).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.post("/v1/messages", &hello()).await.status })
    });
    let (mut taken, mut refused) = (0, 0);
    for post in posts.collect::<Vec<_>>() {
        match post.await.unwrap() {
            202 => taken += 1,
            402 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((taken, refused), (22, 28));
    assert_eq!(credit(&client).await["amount"], "0.0006");
}

#[tokio::test]
async fn what_is_cancelled_comes_back_and_the_ledger_tells_it() {
    let gateway = gateway().await;
    let client = optician(&gateway, json!({})).await;
    top_up(&gateway, &json!({"amount": "1", "note": "Facture 17"})).await;
    let sent = client.post("/v1/messages", &hello()).await;
    let path = format!("/v1/messages/{}", sent.json["id"].as_str().unwrap());
    let cancelled = client.delete(&path).await;
    assert_eq!(
        cancelled.json["cost"]["given_back"],
        true,
        "{}",
        cancelled.text()
    );
    assert_eq!(client.delete(&path).await.problem(409), "too_late");
    assert_eq!(credit(&client).await["amount"], "1.00");
    let ledger = client.get("/v1/credit/ledger").await.json;
    let lines: Vec<_> = ledger["data"].as_array().unwrap().iter().collect();
    let short: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["what"].as_str().unwrap(),
                line["amount"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            ("given_back", "0.2177"),
            ("taken", "-0.2177"),
            ("top_up", "1.00")
        ]
    );
    assert_eq!(lines[0]["message"], sent.json["id"]);
    assert_eq!(
        (&lines[2]["note"], &lines[2]["by"]),
        (&json!("Facture 17"), &json!("admin key"))
    );
    let first = client.get("/v1/credit/ledger?limit=2").await.json;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = client
        .get(&format!("/v1/credit/ledger?limit=2&cursor={cursor}"))
        .await
        .json;
    assert_eq!(rest["data"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next_cursor"], json!(null));
    let wrong = client
        .get("/v1/credit/ledger?cursor=ffffffff-ffff-7fff-bfff-ffffffffffff")
        .await;
    assert_eq!(wrong.errors(), [("cursor", "invalid_parameter")]);
    let other = gateway.client("other", &["read"]).await;
    let theirs = other.get("/v1/credit/ledger").await.json;
    assert_eq!(theirs["data"], json!([]), "another tenant's");
}

#[tokio::test]
async fn a_batch_says_its_cost_before_and_is_paid_for_whole() {
    let gateway = gateway().await;
    let client = optician(&gateway, json!({"prices": {"default": "0.2"}})).await;
    top_up(&gateway, &json!({"amount": "0.75"})).await;
    let text = "a".repeat(161);
    let batch = json!({"messages": [
        {"to": "06 12 34 56 78", "text": "Bonjour"},
        {"to": "06 12 34 56 79", "text": text},
        {"to": "12", "text": "Bonjour"},
        {"to": "06 12 34 56 80", "text": "Bonjour"},
    ]});
    let told = client.post("/v1/batches/preview", &batch).await;
    assert_eq!(told.status, 200, "{}", told.text());
    let told = told.json;
    assert_eq!(
        (&told["accepted"], &told["rejected"], &told["parts"]),
        (&json!(3), &json!(1), &json!(4))
    );
    assert_eq!(told["cost"]["amount"], "0.80");
    assert_eq!(told["credit_left"], "0.75");
    assert_eq!(told["warnings"][0]["code"], "insufficient_credit");
    assert_eq!(told["results"][1]["cost"]["amount"], "0.40");
    assert_eq!(told["results"][2]["errors"][0]["pointer"], "/messages/2/to");
    let refused = client.post("/v1/batches", &batch).await;
    assert_eq!(refused.problem(402), "insufficient_credit");
    let list = client.get("/v1/messages").await.json;
    assert_eq!(list["data"], json!([]), "nothing of it");
    top_up(&gateway, &json!({"amount": "0.05"})).await;
    let told = client.post("/v1/batches/preview", &batch).await.json;
    assert_eq!(told["warnings"], json!([]));
    assert_eq!(client.post("/v1/batches", &batch).await.status, 202);
    assert_eq!(credit(&client).await["amount"], "0.00");
}

#[tokio::test]
async fn a_preview_says_the_cost_and_that_it_is_too_much() {
    let gateway = gateway().await;
    let client = optician(&gateway, json!({})).await;
    let preview = client.post("/v1/preview", &hello()).await.json;
    let cost = json!({"amount": "0.2177", "currency": "EUR", "parts": 1, "given_back": false});
    assert_eq!(preview["cost"], cost);
    let warnings = preview["warnings"].as_array().unwrap();
    assert!(
        warnings
            .iter()
            .any(|it| it["code"] == "insufficient_credit"),
        "{preview}"
    );
    let other = gateway.client("other", &["send"]).await;
    let preview = other.post("/v1/preview", &hello()).await.json;
    assert_eq!(preview["cost"], json!(null), "no credit");
    let told = credit(&other).await;
    assert_eq!(
        (&told["unit"], &told["sms_left"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(other.post("/v1/messages", &hello()).await.status, 202);
}

#[tokio::test]
async fn an_operator_without_a_price_is_refused_and_said() {
    let gateway = gateway().await;
    settle(
        &gateway,
        "irris",
        &json!({"credit": {"prices": {"orange": "0.1"}}}),
    )
    .await;
    let client = gateway.client("irris", &["send"]).await;
    let refused = client.post("/v1/messages", &hello()).await;
    assert_eq!(refused.problem(403), "price_missing");
}

#[tokio::test]
async fn credits_of_parts_are_counted_in_parts() {
    let gateway = gateway().await;
    settle(
        &gateway,
        "irris",
        &json!({"credit": {"unit": "parts", "thresholds": ["2"]}}),
    )
    .await;
    let client = gateway.client("irris", &["send", "read"]).await;
    let wrong = top_up(&gateway, &json!({"amount": "5"})).await;
    assert_eq!(wrong.errors(), [("/amount", "unit_mismatch")]);
    assert_eq!(
        top_up(&gateway, &json!({"parts": 3})).await.json["balance"],
        "3"
    );
    let long = json!({"to": "06 12 34 56 78", "text": "a".repeat(161)});
    let sent = client.post("/v1/messages", &long).await;
    let cost = json!({"amount": null, "currency": null, "parts": 2, "given_back": false});
    assert_eq!(sent.json["cost"], cost);
    let told = credit(&client).await;
    assert_eq!((&told["parts"], &told["sms_left"]), (&json!(1), &json!(1)));
    assert_eq!(told["amount"], json!(null));
    assert_eq!(
        client.post("/v1/messages", &long).await.problem(402),
        "insufficient_credit"
    );
}

#[tokio::test]
async fn a_top_up_is_entered_once_and_refused_with_reasons() {
    let gateway = gateway().await;
    let client = optician(&gateway, json!({})).await;
    let path = "/v1/admin/tenants/irris/credit";
    let key = [("Idempotency-Key", "facture-17")];
    let body = json!({"amount": "20.00"}).to_string();
    for again in [false, true, true] {
        let answer = gateway.admin.post_raw(path, &key, body.as_bytes()).await;
        assert_eq!(
            (answer.status, &answer.json["balance"]),
            (201, &json!("20.00"))
        );
        assert_eq!(answer.headers.contains_key("idempotent-replayed"), again);
    }
    let other = json!({"amount": "21.00"}).to_string();
    let conflict = gateway.admin.post_raw(path, &key, other.as_bytes()).await;
    assert_eq!(conflict.problem(409), "idempotency_conflict");
    assert_eq!(
        top_up(&gateway, &json!({"amount": "-20.01"}))
            .await
            .problem(402),
        "insufficient_credit"
    );
    let down = top_up(&gateway, &json!({"amount": "-20"})).await;
    assert_eq!(
        (&down.json["what"], &down.json["balance"]),
        (&json!("correction"), &json!("0.00"))
    );
    for (body, error) in [
        (json!({}), ("", "amount_missing")),
        (json!({"amount": "1", "parts": 1}), ("", "amount_missing")),
        (json!({"amount": "1,5"}), ("/amount", "amount_invalid")),
        (json!({"amount": "0.00"}), ("/amount", "out_of_range")),
        (json!({"amount": 5}), ("/amount", "invalid_field")),
        (
            json!({"amount": "5", "note": "a\nb"}),
            ("/note", "label_invalid"),
        ),
        (
            json!({"amount": "5", "balance": "9"}),
            ("/balance", "invalid_field"),
        ),
    ] {
        let answer = top_up(&gateway, &body).await;
        assert_eq!(answer.status, 422);
        assert_eq!(answer.errors(), [error], "{body}");
    }
    let (slip, five) = ("/v1/admin/tenants/iris/credit", json!({"amount": "5"}));
    let unknown = gateway.admin.post(slip, &five).await;
    assert_eq!(unknown.problem(404), "not_found", "a slip in the name");
    let not_admin = client.post(path, &json!({"amount": "5"})).await;
    assert_eq!(not_admin.problem(403), "forbidden_scope");
    let seen = gateway.admin.get(path).await.json;
    assert_eq!(
        (&seen["tenant"], &seen["amount"]),
        (&json!("irris"), &json!("0.00"))
    );
    let lines = gateway.admin.get(&format!("{path}/ledger")).await.json;
    assert_eq!(lines["data"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn quotas_of_tenant_and_key_hold_by_the_day_and_say_when_it_ends() {
    let gateway = gateway().await;
    settle(&gateway, "irris", &json!({"quotas": {"daily_parts": 3}})).await;
    let client = gateway.client("irris", &["send", "read"]).await;
    let long = json!({"to": "06 12 34 56 78", "text": "a".repeat(161)});
    assert_eq!(client.post("/v1/messages", &long).await.status, 202);
    let refused = client.post("/v1/messages", &long).await;
    assert_eq!(refused.problem(429), "quota_exceeded");
    let detail = refused.json["detail"].as_str().unwrap();
    assert!(detail.contains("3 parts a day"), "{detail}");
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((1..=25 * 3600).contains(&wait), "{wait}");
    let preview = client.post("/v1/preview", &long).await.json;
    let codes = preview["warnings"].as_array().unwrap().iter();
    assert!(
        codes
            .map(|it| &it["code"])
            .any(|code| code == "quota_exceeded")
    );
    // The key may do less than its tenant.
    let mut narrow = (**gateway.engine.store.keys().first().unwrap()).clone();
    narrow.terms.quotas.daily_parts = 1;
    gateway.engine.store.put_key(narrow).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    assert_eq!(
        client.post("/v1/messages", &hello()).await.status,
        202,
        "a new day"
    );
    let refused = client.post("/v1/messages", &hello()).await;
    assert_eq!(refused.problem(429), "quota_exceeded");
    assert!(
        refused.json["detail"]
            .as_str()
            .unwrap()
            .starts_with("this key")
    );
    let told = credit(&client).await;
    assert_eq!(told["key"]["used"]["today"]["parts"], 1);
    assert_eq!(told["used"]["today"]["parts"], 1);
    assert_eq!(told["used"]["month"]["parts"], 3);
}

#[tokio::test]
async fn a_days_spending_stops_and_does_not_only_warn() {
    let gateway = gateway().await;
    let settings = json!({
        "credit": {"price": "0.2177"},
        "guard": {"daily_spend": "0.45"},
    });
    settle(&gateway, "irris", &settings).await;
    let client = gateway.client("irris", &["send", "read"]).await;
    top_up(&gateway, &json!({"amount": "100"})).await;
    for _ in 0..2 {
        assert_eq!(client.post("/v1/messages", &hello()).await.status, 202);
    }
    let refused = client.post("/v1/messages", &hello()).await;
    assert_eq!(refused.problem(429), "daily_spend");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(credit(&client).await["daily_spend"], "0.45");
}

#[tokio::test]
async fn a_threshold_is_told_once_by_webhook_and_mail() {
    let gateway = gateway().await;
    let client = optician(
        &gateway,
        json!({"thresholds": ["0.50"], "email": ["caisse@irris.example"]}),
    )
    .await;
    let store = gateway.engine.store.clone();
    store
        .put_webhook(Webhook {
            id: "w".to_owned(),
            tenant: "irris".into(),
            url: "https://irris.example/hook".to_owned(),
            types: vec!["credit.low".to_owned()],
            secret: "whsec_c2VjcmV0".to_owned(),
            created_at: gateway.engine.clock.now(),
        })
        .await
        .unwrap();
    top_up(&gateway, &json!({"amount": "1"})).await;
    for _ in 0..4 {
        assert_eq!(client.post("/v1/messages", &hello()).await.status, 202);
    }
    let now = gateway.engine.clock.now();
    let due = store.outbox_due(now, 10, &[]).await.unwrap().deliveries;
    let mut told: Vec<_> = due.iter().map(|it| (&*it.url, it.event.kind())).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("https://irris.example/hook", "credit.low"),
            ("mailto:caisse@irris.example", "credit.low"),
        ]
    );
    let subscribed = json!({"url": "https://irris.example/", "types": ["credit.low"]});
    assert_eq!(client.post("/v1/webhooks", &subscribed).await.status, 201);
}
