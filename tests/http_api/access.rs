//! Keys, scopes and tenants: who may do what, and what others see of it.

use serde_json::json;

use crate::client::send;
use crate::{ADMIN, gateway, hello};

#[tokio::test]
async fn a_call_without_a_good_key_is_401_and_says_how() {
    let gateway = gateway().await;
    let address = gateway.admin.address;
    for headers in [
        &[][..],
        &[("Authorization", "Basic YTpi")],
        &[("Authorization", "Bearer ")],
        &[("Authorization", "Bearer wrong")],
        &[("Authorization", "Bearer rk_0123456789_wrong")],
    ] {
        let refused = send(address, "GET", "/v1/messages", headers, b"").await;
        assert_eq!(refused.problem(401), "unauthorized");
        assert!(refused.headers["www-authenticate"].starts_with("Bearer"));
    }
    let headers = [("Authorization", format!("bearer {ADMIN}"))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    assert_eq!(
        send(address, "GET", "/v1/messages", &headers, b"")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn many_wrong_keys_are_slowed_and_a_good_one_from_there_still_works() {
    let gateway = gateway().await;
    let guesser = gateway.admin.with_key("rk_0123456789_guess");
    let mut statuses = Vec::new();
    for _ in 0..25 {
        statuses.push(guesser.get("/v1/messages").await.status);
    }
    assert_eq!(statuses[..20], [401; 20]);
    assert_eq!(statuses[20..], [429; 5]);
    let slowed = guesser.get("/v1/messages").await;
    assert_eq!(slowed.problem(429), "too_many_wrong_keys");
    assert!(slowed.headers.contains_key("retry-after"));
    assert_eq!(gateway.admin.get("/v1/messages").await.status, 200);
}

#[tokio::test]
async fn each_endpoint_asks_for_its_scope() {
    let gateway = gateway().await;
    let nothing = json!({});
    for (method, path, scope) in [
        ("POST", "/v1/messages", "send"),
        ("DELETE", "/v1/messages/x", "send"),
        ("POST", "/v1/batches", "send"),
        ("POST", "/v1/preview", "send read"),
        ("POST", "/v1/webhooks", "send"),
        ("DELETE", "/v1/webhooks/x", "send"),
        ("GET", "/v1/messages", "read"),
        ("GET", "/v1/messages/x", "read"),
        ("GET", "/v1/batches/x", "read"),
        ("GET", "/v1/inbound", "read"),
        ("GET", "/v1/channels", "read"),
        ("GET", "/v1/webhooks", "read"),
        ("GET", "/v1/webhooks/secret", "send"),
        ("POST", "/v1/admin/keys", "admin"),
        ("GET", "/v1/admin/keys", "admin"),
        ("DELETE", "/v1/admin/keys/x", "admin"),
        ("POST", "/v1/admin/channels/x/pause", "admin"),
        ("POST", "/v1/admin/channels/x/resume", "admin"),
        ("POST", "/v1/admin/channels/x/reset", "admin"),
    ] {
        for given in ["send", "read", "admin"] {
            let client = gateway.client("t", &[given]).await;
            let headers = [("Content-Type", "application/json")];
            let body = if method == "POST" {
                nothing.to_string()
            } else {
                String::new()
            };
            let answer = client.send(method, path, &headers, body.as_bytes()).await;
            if scope.split(' ').any(|enough| enough == given) || given == "admin" {
                assert!(
                    ![401, 403].contains(&answer.status),
                    "{method} {path} as {given}"
                );
            } else {
                assert_eq!(
                    answer.problem(403),
                    "forbidden_scope",
                    "{method} {path} as {given}"
                );
            }
        }
    }
}

#[tokio::test]
async fn another_tenants_records_are_as_unknown_as_none() {
    let gateway = gateway().await;
    let owner = gateway.client("a", &["send", "read"]).await;
    let stranger = gateway.client("b", &["send", "read"]).await;
    let message = owner.post("/v1/messages", &hello()).await.json;
    let path = format!("/v1/messages/{}", message["id"].as_str().unwrap());
    let unknown = "/v1/messages/01900000-0000-7000-8000-000000000000";
    let (theirs, none) = (stranger.get(&path).await, stranger.get(unknown).await);
    assert_eq!((theirs.status, &theirs.json), (404, &none.json));
    assert_eq!(stranger.delete(&path).await.json, none.json);
    assert_eq!(stranger.get("/v1/messages").await.json["data"], json!([]));
    assert_eq!(owner.get(&path).await.json["status"], "pending");

    let hook = owner
        .post("/v1/webhooks", &json!({"url": "https://example.org/h"}))
        .await;
    assert_eq!(hook.status, 201, "{}", hook.text());
    let path = format!("/v1/webhooks/{}", hook.json["id"].as_str().unwrap());
    assert_eq!(stranger.delete(&path).await.problem(404), "not_found");
    assert_eq!(stranger.get("/v1/webhooks").await.json["data"], json!([]));
    assert_eq!(owner.delete(&path).await.status, 204);
    assert_eq!(owner.delete(&path).await.problem(404), "not_found");
}

#[tokio::test]
async fn a_key_is_shown_once_and_refused_after_it_is_revoked() {
    let gateway = gateway().await;
    let body = json!({"tenant": "ccas", "name": "Accueil", "scopes": ["read"]});
    let made = gateway.admin.post("/v1/admin/keys", &body).await;
    assert_eq!(made.status, 201);
    let key = made.json["key"].as_str().unwrap().to_owned();
    let prefix = made.json["prefix"].as_str().unwrap();
    let list = gateway.admin.get("/v1/admin/keys").await;
    assert_eq!(list.json["data"][0]["prefix"], prefix);
    assert_eq!(list.json["data"][0]["scopes"], json!(["read"]));
    assert!(!list.text().contains(&key));

    let client = gateway.admin.with_key(&key);
    assert_eq!(client.get("/v1/messages").await.status, 200);
    let path = format!("/v1/admin/keys/{prefix}");
    for _ in 0..2 {
        assert_eq!(gateway.admin.delete(&path).await.status, 204);
    }
    assert_eq!(
        client.get("/v1/messages").await.problem(401),
        "unauthorized"
    );
    let list = gateway.admin.get("/v1/admin/keys").await;
    assert!(list.json["data"][0]["revoked_at"].is_string());
    assert_eq!(
        gateway
            .admin
            .delete("/v1/admin/keys/none")
            .await
            .problem(404),
        "not_found"
    );

    for (body, pointer) in [
        (json!({"tenant": "A B", "name": "x"}), "/tenant"),
        (json!({"tenant": "a", "name": ""}), "/name"),
        (json!({"tenant": "a", "name": "x", "scopes": []}), "/scopes"),
        (
            json!({"tenant": "a", "name": "x", "scopes": ["root"]}),
            "/scopes/0",
        ),
        (json!({"tenant": "a", "name": 7}), "/name"),
    ] {
        let refused = gateway.admin.post("/v1/admin/keys", &body).await;
        refused.problem(422);
        assert_eq!(refused.errors()[0].0, pointer, "{body}");
    }
}

#[tokio::test]
async fn a_webhooks_secret_is_shown_once() {
    let gateway = gateway().await;
    let body = json!({"url": "https://example.org/h", "types": ["message.sent"]});
    let made = gateway.admin.post("/v1/webhooks", &body).await;
    assert_eq!(made.status, 201);
    let secret = made.json["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() >= 6 + 32);
    let list = gateway.admin.get("/v1/webhooks").await;
    assert_eq!(list.json["data"][0]["types"], json!(["message.sent"]));
    assert!(!list.text().contains(secret));
    let plain = gateway
        .admin
        .post("/v1/webhooks", &json!({"url": "https://example.org/"}))
        .await;
    assert_eq!(
        plain.json["types"].as_array().unwrap().len(),
        4,
        "the final ones alone"
    );
    let bad = json!({"url": "https://example.org/h", "types": ["message.read"]});
    let refused = gateway.admin.post("/v1/webhooks", &bad).await;
    refused.problem(422);
    assert_eq!(refused.errors(), [("/types/0", "unknown_value")]);
}
