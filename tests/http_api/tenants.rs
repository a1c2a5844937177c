//! Settings of tenants and terms of keys: who may change what, what is refused, and what holds then.

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::{Gateway, gateway, hello};

async fn call(client: &Client, method: &str, path: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/merge-patch+json")];
    let body = body.to_string();
    client.send(method, path, &headers, body.as_bytes()).await
}

async fn patch(client: &Client, path: &str, body: &Value) -> Answer {
    call(client, "PATCH", path, body).await
}

async fn put(client: &Client, path: &str, body: &Value) -> Answer {
    call(client, "PUT", path, body).await
}

/// A gateway whose tenant `shop` has these settings, and a key of it.
async fn shop(settings: Value) -> (Gateway, Client) {
    let gateway = gateway().await;
    let made = put(&gateway.admin, "/v1/admin/tenants/shop", &settings).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let client = gateway.client("shop", &["send", "read"]).await;
    (gateway, client)
}

/// What becomes of a message with these members: the status, and the code of what is wrong.
async fn sent(client: &Client, more: Value) -> (u16, Option<String>) {
    let mut body = hello();
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = client.post("/v1/messages", &body).await;
    (
        answer.status,
        answer.json["code"].as_str().map(str::to_owned),
    )
}

fn refused(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

#[tokio::test]
async fn settings_are_made_read_changed_and_removed() {
    let gateway = gateway().await;
    let admin = &gateway.admin;
    let path = "/v1/admin/tenants/ccas";
    assert_eq!(admin.get(path).await.problem(404), "not_found");
    assert_eq!(
        patch(admin, path, &json!({})).await.problem(404),
        "not_found"
    );
    let settings = json!({
        "sender": "CCASLYON", "signature": {"text": "0325828500", "position": "head"},
        "max_length": 155, "guard": {"recipient_hourly": 7},
    });
    let made = put(admin, path, &settings).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json["name"], "ccas");
    assert_eq!(made.json["signature_length"], 11);
    assert_eq!(made.json["signature"]["separator"], "\n");
    assert_eq!(made.json["overflow"], "reject");
    assert_eq!(made.json["countries"], Value::Null);
    let effective = &made.json["effective"];
    assert_eq!(effective["countries"], json!(["FR"]));
    assert_eq!(effective["max_parts"], 10);
    assert_eq!(
        effective["guard"],
        json!({"recipient_hourly": 7, "recipient_daily": 20, "prefix_burst": 50, "consecutive": 10,
               "daily_spend": null})
    );
    // A member that is there is changed, inside objects too; null takes it away.
    let change = json!({"signature": {"position": "foot"}, "max_length": null, "language": "en"});
    let changed = patch(admin, path, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json["signature"]["text"], "0325828500");
    assert_eq!(changed.json["signature"]["position"], "foot");
    assert_eq!(changed.json["max_length"], Value::Null);
    assert_eq!(changed.json["sender"], "CCASLYON");
    assert_eq!(admin.get(path).await.json, changed.json);
    // Put anew, only what is said holds.
    let again = put(admin, path, &json!({"language": "fr"})).await;
    assert_eq!((again.status, &again.json["sender"]), (200, &Value::Null));
    let list = admin.get("/v1/admin/tenants").await;
    let names: Vec<_> = list.json["data"].as_array().unwrap().iter().collect();
    let names: Vec<_> = names
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ccas", "default"]);
    let key = json!({"tenant": "ccas", "name": "x"});
    let key = admin.post("/v1/admin/keys", &key).await.json;
    assert_eq!(admin.delete(path).await.problem(409), "tenant_has_keys");
    let prefix = key["prefix"].as_str().unwrap();
    assert_eq!(
        admin
            .delete(&format!("/v1/admin/keys/{prefix}"))
            .await
            .status,
        204
    );
    assert_eq!(admin.delete(path).await.status, 204);
    assert_eq!(admin.delete(path).await.problem(404), "not_found");
    assert_eq!(
        put(admin, "/v1/admin/tenants/A%20B", &json!({}))
            .await
            .problem(422),
        "tenant_invalid"
    );
}

#[tokio::test]
async fn every_wrong_setting_is_named_and_nothing_is_changed() {
    let gateway = gateway().await;
    let admin = &gateway.admin;
    for (body, pointer, code) in [
        (json!({"colour": "red"}), "/colour", "unknown_field"),
        (json!({"name": "other"}), "/name", "unknown_field"),
        (json!({"effective": {}}), "/effective", "unknown_field"),
        (json!({"overflow": "cut"}), "/overflow", "invalid_field"),
        (json!({"max_parts": "1"}), "/max_parts", "invalid_field"),
        (json!({"max_parts": -1}), "/max_parts", "invalid_field"),
        (
            json!({"signature": {"text": ""}}),
            "/signature/text",
            "signature_invalid",
        ),
        (
            json!({"countries": ["France"]}),
            "/countries/0",
            "country_unknown",
        ),
        (
            json!({"numbers": ["FR fixed"]}),
            "/numbers/0",
            "number_kind_unknown",
        ),
        (json!({"sandbox": "0123456789"}), "/sandbox", "not_mobile"),
        (
            json!({"hours": {"commercial": "nights"}}),
            "/hours/commercial",
            "hours_unknown",
        ),
        (
            json!({"keep_texts": "7"}),
            "/keep_texts",
            "duration_invalid",
        ),
        (json!([]), "", "wrong_type"),
    ] {
        let refused = patch(admin, "/v1/tenant", &body).await;
        refused.problem(422);
        assert_eq!(refused.errors(), [(pointer, code)], "{body}");
    }
    let headers = [("Content-Type", "application/json")];
    let broken = admin.send("PATCH", "/v1/tenant", &headers, b"{").await;
    assert_eq!(broken.problem(400), "malformed_json");
    let own = admin.get("/v1/tenant").await;
    assert_eq!((own.status, &own.json["updated_at"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_manager_changes_how_messages_look_and_not_what_may_be_sent() {
    let (gateway, sender) =
        shop(json!({"senders": ["CCAS", "MAIRIE"], "templates_only": false})).await;
    let manager = gateway.client("shop", &["manage"]).await;
    assert_eq!(sender.get("/v1/tenant").await.status, 200);
    assert_eq!(manager.get("/v1/tenant").await.json["name"], "shop");
    assert_eq!(
        patch(&sender, "/v1/tenant", &json!({})).await.problem(403),
        "forbidden_scope"
    );
    let look = json!({"sender": "CCAS", "signature": {"text": "CCAS de Lyon"}, "max_length": 155,
                      "templates_only": true, "language": "en"});
    let changed = patch(&manager, "/v1/tenant", &look).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    for (change, pointer, code) in [
        (json!({"enabled": false}), "/enabled", "admin_only"),
        (json!({"senders": []}), "/senders", "admin_only"),
        (json!({"senders": null}), "/senders", "admin_only"),
        (json!({"sender": "AUTRE"}), "/sender", "sender_not_allowed"),
        (json!({"countries": ["*"]}), "/countries", "admin_only"),
        (json!({"sandbox": "0612345678"}), "/sandbox", "admin_only"),
        (
            json!({"quotas": {"daily_parts": 1}}),
            "/quotas",
            "admin_only",
        ),
        (json!({"guard": {"consecutive": 0}}), "/guard", "admin_only"),
        (json!({"credit": {"price": "0"}}), "/credit", "admin_only"),
        (json!({"consent": "caller"}), "/consent", "admin_only"),
        (
            json!({"templates_only": false}),
            "/templates_only",
            "admin_only",
        ),
        (
            json!({"templates_only": null}),
            "/templates_only",
            "admin_only",
        ),
    ] {
        let refused = patch(&manager, "/v1/tenant", &change).await;
        refused.problem(403);
        assert_eq!(refused.errors(), [(pointer, code)], "{change}");
    }
    // What stays as it is may be said again; an administrator may all of it.
    let same = json!({"enabled": true, "senders": ["CCAS", "MAIRIE"], "sender": "MAIRIE"});
    assert_eq!(patch(&manager, "/v1/tenant", &same).await.status, 200);
    assert_eq!(
        manager.get("/v1/admin/tenants").await.problem(403),
        "forbidden_scope"
    );
    let other = patch(&manager, "/v1/admin/tenants/default", &json!({})).await;
    assert_eq!(other.problem(403), "forbidden_scope");
    let boss = gateway.client("shop", &["admin"]).await;
    let free = json!({"templates_only": false, "countries": ["*"]});
    assert_eq!(patch(&boss, "/v1/tenant", &free).await.status, 200);
}

#[tokio::test]
async fn of_fifty_changes_at_once_none_is_lost() {
    let (gateway, _) = shop(json!({})).await;
    let prices = (0..50).map(|n| {
        let admin = gateway.admin.clone();
        let change = json!({"credit": {"unit": "parts", "prices": {format!("op{n}"): "0.05"}}});
        async move {
            patch(&admin, "/v1/admin/tenants/shop", &change)
                .await
                .status
        }
    });
    let answers = futures_util::future::join_all(prices).await;
    assert_eq!(answers, [200; 50]);
    let shop = gateway.admin.get("/v1/admin/tenants/shop").await;
    assert_eq!(shop.json["credit"]["prices"].as_object().unwrap().len(), 50);
}

#[tokio::test]
async fn a_tenant_that_is_switched_off_sends_nothing_and_loses_nothing() {
    let (gateway, client) = shop(json!({})).await;
    let waits = client.post("/v1/messages", &hello()).await;
    assert_eq!(waits.status, 202);
    let off = patch(
        &gateway.admin,
        "/v1/admin/tenants/shop",
        &json!({"enabled": false}),
    )
    .await;
    assert_eq!(off.status, 200);
    assert_eq!(
        sent(&client, json!({})).await,
        refused(403, "tenant_disabled")
    );
    let preview = client.post("/v1/preview", &hello()).await;
    assert_eq!(preview.problem(403), "tenant_disabled");
    let path = format!("/v1/messages/{}", waits.json["id"].as_str().unwrap());
    assert_eq!(client.get(&path).await.json["status"], "pending");
    assert_eq!(
        gateway.admin.post("/v1/messages", &hello()).await.status,
        202
    );
    patch(
        &gateway.admin,
        "/v1/admin/tenants/shop",
        &json!({"enabled": true}),
    )
    .await;
    assert_eq!(sent(&client, json!({})).await.0, 202);
}

#[tokio::test]
async fn only_numbers_of_the_tenants_countries_and_kinds_are_written_to() {
    let (gateway, client) = shop(json!({"numbers": ["FR mobile"]})).await;
    let to = |number: &str| sent(&client, json!({"to": number}));
    for good in [
        "06 12 34 56 78",
        "0690123456",
        "+262 639 12 34 56",
        "+687751234",
    ] {
        assert_eq!(to(good).await.0, 202, "{good}");
    }
    assert_eq!(to("01 23 45 67 89").await, refused(422, "not_mobile"));
    assert_eq!(to("06 12").await, refused(422, "number_invalid"));
    assert_eq!(
        to("+32 470 12 34 56").await,
        refused(403, "country_not_allowed")
    );
    for premium in [
        "0892 123 456",
        "36111",
        "3949",
        "+881 6 1234 5678",
        "+979123456789",
    ] {
        assert_eq!(
            to(premium).await,
            refused(403, "number_premium"),
            "{premium}"
        );
    }
    let set = async |settings: Value| {
        put(&gateway.admin, "/v1/admin/tenants/shop", &settings)
            .await
            .status
    };
    assert_eq!(set(json!({"countries": ["BE", "RE"]})).await, 200);
    assert_eq!(to("+32 470 12 34 57").await.0, 202);
    assert_eq!(to("0692 12 34 57").await.0, 202);
    assert_eq!(
        to("06 12 34 56 78").await,
        refused(403, "country_not_allowed")
    );
    assert_eq!(set(json!({"countries": ["*"]})).await, 200);
    assert_eq!(to("+1 202 555 0123").await.0, 202);
    assert_eq!(to("+1 900 234 5678").await, refused(403, "number_premium"));
    // What may not be done comes before what is wrong with it.
    assert_eq!(
        sent(&client, json!({"to": "0892 123 456", "text": ""})).await,
        refused(403, "number_premium")
    );
    // In a batch the others go.
    let batch = json!({"to": ["06 12 34 56 70", "0899 70 12 34"], "text": "Bonjour"});
    let batch = client.post("/v1/batches", &batch).await.json;
    assert_eq!(
        (&batch["accepted"], &batch["rejected"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(batch["results"][1]["errors"][0]["code"], "number_premium");
    // The installation's own tenant is bound too.
    let own = gateway
        .admin
        .post(
            "/v1/messages",
            &json!({"to": "+32 470 12 34 56", "text": "x"}),
        )
        .await;
    assert_eq!(own.problem(403), "country_not_allowed");
}

#[tokio::test]
async fn a_sender_is_the_tenants_own_or_one_of_its_list() {
    let (gateway, client) =
        shop(json!({"sender": "CCASLYON", "senders": ["MAIRIE", "AMELI"]})).await;
    let answer = client.post("/v1/messages", &hello()).await;
    assert_eq!(answer.json["from"], "CCASLYON");
    let from = |name: &str| sent(&client, json!({"from": name}));
    for good in ["MAIRIE", "mairie", "CCASLYON", "AMELI"] {
        assert_eq!(from(good).await.0, 202, "{good}");
    }
    patch(
        &gateway.admin,
        "/v1/admin/tenants/shop",
        &json!({"guard": {"recipient_hourly": 0}}),
    )
    .await;
    assert_eq!(from("AUTRE").await, refused(403, "sender_not_allowed"));
    assert_eq!(from("AMEL1").await, refused(403, "sender_not_allowed"));
    let list = json!({"senders": null});
    patch(&gateway.admin, "/v1/admin/tenants/shop", &list).await;
    assert_eq!(from("AUTRE").await.0, 202);
    assert_eq!(from("AMEL1").await, refused(403, "sender_reserved"));
}

#[tokio::test]
async fn senders_that_operators_refuse_are_told_or_refused_with_what_would_do() {
    let (gateway, client) =
        shop(json!({"guard": {"recipient_hourly": 0, "recipient_daily": 0}})).await;
    let with = |from: &str| {
        let mut body = hello();
        body["from"] = from.into();
        body
    };
    let named = [
        ("CCAS LYON", "sender_form", Some("CCASLYON")),
        ("RDV", "sender_generic", None),
        ("+33612345678", "sender_digits", None),
    ];
    for (from, code, suggestion) in named {
        assert_eq!(client.post("/v1/messages", &with(from)).await.status, 202);
        let draft = relais::engine::accept::Draft {
            to: "0612345678".to_owned(),
            text: "Bonjour".to_owned(),
            from: Some(from.to_owned()),
            ..Default::default()
        };
        let advice = gateway.engine.check(draft).await.unwrap().advice;
        assert_eq!(advice.iter().map(|it| it.code).collect::<Vec<_>>(), [code]);
        if let Some(suggestion) = suggestion {
            assert!(
                advice[0].detail.contains(suggestion),
                "{}",
                advice[0].detail
            );
        }
    }
    let set = |rules: &'static str| {
        let change = json!({"sender_rules": rules});
        let admin = gateway.admin.clone();
        async move {
            patch(&admin, "/v1/admin/tenants/shop", &change)
                .await
                .status
        }
    };
    assert_eq!(set("error").await, 200);
    for (from, code, suggestion) in named {
        let refused = client.post("/v1/messages", &with(from)).await;
        assert_eq!(refused.problem(422), code);
        let detail = refused.json["detail"].as_str().unwrap();
        assert!(suggestion.is_none_or(|it| detail.contains(it)), "{detail}");
    }
    for good in ["CCASLYON", "38200"] {
        assert_eq!(client.post("/v1/messages", &with(good)).await.status, 202);
    }
    let long = client.post("/v1/messages", &with("CCAS DE LYON")).await;
    assert_eq!(long.problem(422), "sender_too_long");
    assert!(
        long.text().contains("CCASDELYON would do"),
        "{}",
        long.text()
    );
    assert_eq!(set("off").await, 200);
    assert_eq!(
        client.post("/v1/messages", &with("CCAS LYON")).await.status,
        202
    );
    let rejected = patch(
        &gateway.admin,
        "/v1/admin/tenants/shop",
        &json!({"sender": "CCAS LYON", "sender_rules": "error"}),
    )
    .await;
    assert_eq!(rejected.errors(), [("/sender", "sender_form")]);
}

#[tokio::test]
async fn a_sandbox_gets_everything_and_says_for_whom() {
    let (gateway, client) = shop(json!({"sandbox": "07 00 00 00 01", "keep_texts": "7d"})).await;
    for n in 0..6 {
        let to = format!("06 12 34 56 7{n}");
        let answer = client
            .post("/v1/messages", &json!({"to": to, "text": "Essai"}))
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(answer.json["to"], "+33700000001");
        assert_eq!(answer.json["sandbox_for"], format!("+336••••567{n}"));
    }
    // Whom it is for is judged all the same.
    assert_eq!(
        sent(&client, json!({"to": "06 12"})).await,
        refused(422, "number_invalid")
    );
    assert_eq!(
        sent(&client, json!({"to": "+32 470 12 34 56"})).await,
        refused(403, "country_not_allowed")
    );
    let preview = client.post("/v1/preview", &hello()).await;
    assert_eq!(preview.json["to"], "+33700000001", "{}", preview.text());
    patch(
        &gateway.admin,
        "/v1/admin/tenants/shop",
        &json!({"sandbox": null}),
    )
    .await;
    let answer = client.post("/v1/messages", &hello()).await.json;
    assert_eq!(answer["to"], "+33612345678");
    assert_eq!(answer.get("sandbox_for"), None);
}

#[tokio::test]
async fn the_class_of_a_tenant_holds_where_a_message_says_none() {
    let (gateway, client) = shop(json!({"class": "commercial", "consent": "caller"})).await;
    let classes = async |client: &Client, class: Value| {
        let mut body = hello();
        body["class"] = class;
        client.post("/v1/messages", &body).await.json["class"].clone()
    };
    assert_eq!(classes(&client, Value::Null).await, "commercial");
    assert_eq!(
        classes(&client, "transactional".into()).await,
        "transactional"
    );
    assert_eq!(classes(&gateway.admin, Value::Null).await, "transactional");
}

#[tokio::test]
async fn a_key_has_terms_of_its_own_that_can_be_changed() {
    let gateway = gateway().await;
    let admin = &gateway.admin;
    let body = json!({
        "tenant": "shop", "name": "Caisse", "scopes": ["send", "read", "manage"],
        "terms": {"quotas": {"daily_parts": 100}, "hours": "office"},
    });
    let made = admin.post("/v1/admin/keys", &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(
        made.json["terms"],
        json!({"quotas": {"daily_parts": 100, "monthly_parts": 0}, "templates_only": false,
               "hours": "office"})
    );
    let path = format!("/v1/admin/keys/{}", made.json["prefix"].as_str().unwrap());
    let change =
        json!({"name": "Comptoir", "terms": {"quotas": {"monthly_parts": 900}, "hours": null}});
    let changed = patch(admin, &path, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json["name"], "Comptoir");
    assert_eq!(changed.json["scopes"], json!(["send", "read", "manage"]));
    assert_eq!(
        changed.json["terms"],
        json!({"quotas": {"daily_parts": 100, "monthly_parts": 900}, "templates_only": false,
               "hours": null})
    );
    assert_eq!(changed.json.get("key"), None);
    let client = admin.with_key(made.json["key"].as_str().unwrap());
    assert_eq!(client.get("/v1/messages").await.status, 200);
    assert_eq!(
        patch(admin, &path, &json!({"scopes": ["send"]}))
            .await
            .status,
        200
    );
    assert_eq!(
        client.get("/v1/messages").await.problem(403),
        "forbidden_scope"
    );
    for (change, pointer) in [
        (json!({"terms": {"hours": "nights"}}), "/terms/hours"),
        (
            json!({"terms": {"quotas": {"daily_parts": -1}}}),
            "/terms/quotas/daily_parts",
        ),
        (json!({"scopes": []}), "/scopes"),
        (json!({"name": ""}), "/name"),
        (json!({"tenant": "other"}), "/tenant"),
    ] {
        let refused = patch(admin, &path, &change).await;
        refused.problem(422);
        assert_eq!(refused.errors()[0].0, pointer, "{change}");
    }
    let none = patch(admin, "/v1/admin/keys/none", &json!({})).await;
    assert_eq!(none.problem(404), "not_found");
    let own = patch(&client, &path, &json!({"terms": {}})).await;
    assert_eq!(own.problem(403), "forbidden_scope");
}
