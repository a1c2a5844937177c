//! What is found without a key: the description of the interface, health, metrics, and errors.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::send;
use crate::{gateway, hello};

/// Every endpoint; a new one is added here and found in the document.
const ENDPOINTS: &[(&str, &str)] = &[
    ("post", "/v1/messages"),
    ("get", "/v1/messages"),
    ("get", "/v1/messages/{id}"),
    ("delete", "/v1/messages/{id}"),
    ("patch", "/v1/messages/{id}"),
    ("post", "/v1/messages/{id}/outcome"),
    ("post", "/v1/messages/{id}/send-now"),
    ("post", "/v1/preview"),
    ("post", "/v1/batches"),
    ("get", "/v1/batches/{id}"),
    ("post", "/v1/batches/preview"),
    ("get", "/v1/credit"),
    ("get", "/v1/credit/ledger"),
    ("get", "/v1/admin/tenants/{name}/credit"),
    ("post", "/v1/admin/tenants/{name}/credit"),
    ("get", "/v1/admin/tenants/{name}/credit/ledger"),
    ("get", "/v1/inbound"),
    ("get", "/v1/optouts"),
    ("get", "/v1/optouts/{number}"),
    ("put", "/v1/optouts/{number}"),
    ("delete", "/v1/optouts/{number}"),
    ("get", "/v1/digests"),
    ("post", "/v1/digests"),
    ("get", "/v1/digests/{name}"),
    ("put", "/v1/digests/{name}"),
    ("delete", "/v1/digests/{name}"),
    ("post", "/v1/digests/{name}/events"),
    ("get", "/v1/digests/{name}/pending"),
    ("delete", "/v1/digests/{name}/pending"),
    ("post", "/v1/templates"),
    ("get", "/v1/templates"),
    ("get", "/v1/templates/{name}"),
    ("put", "/v1/templates/{name}"),
    ("delete", "/v1/templates/{name}"),
    ("post", "/v1/optouts/import"),
    ("get", "/v1/consents"),
    ("post", "/v1/consents/import"),
    ("get", "/v1/consents/{number}"),
    ("put", "/v1/consents/{number}"),
    ("delete", "/v1/consents/{number}"),
    ("get", "/v1/numbers/invalid"),
    ("delete", "/v1/numbers/invalid/{number}"),
    ("post", "/v1/webhooks"),
    ("get", "/v1/webhooks"),
    ("get", "/v1/webhooks/secret"),
    ("delete", "/v1/webhooks/{id}"),
    ("get", "/v1/events"),
    ("post", "/v1/admin/keys"),
    ("post", "/v1/admin/reload"),
    ("get", "/v1/admin/keys"),
    ("delete", "/v1/admin/keys/{prefix}"),
    ("patch", "/v1/admin/keys/{prefix}"),
    ("get", "/v1/tenant"),
    ("patch", "/v1/tenant"),
    ("get", "/v1/admin/tenants"),
    ("get", "/v1/admin/tenants/{name}"),
    ("put", "/v1/admin/tenants/{name}"),
    ("patch", "/v1/admin/tenants/{name}"),
    ("delete", "/v1/admin/tenants/{name}"),
    ("get", "/v1/admin/numbers/{number}"),
    ("delete", "/v1/admin/numbers/{number}"),
    ("get", "/v1/admin/backup"),
    ("post", "/v1/admin/channels/{name}/pause"),
    ("post", "/v1/admin/channels/{name}/resume"),
    ("post", "/v1/admin/channels/{name}/reset"),
    ("get", "/v1/channels"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/v1/metrics"),
    ("get", "/v1/openapi.json"),
];

#[tokio::test]
async fn the_openapi_document_names_every_endpoint_and_resolves() {
    let gateway = gateway().await;
    let answer = send(gateway.admin.address, "GET", "/v1/openapi.json", &[], b"").await;
    assert_eq!(answer.status, 200);
    let document = answer.json;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((method.as_str(), path.as_str()));
            assert!(operation["operationId"].is_string(), "{method} {path}");
            assert!(!operation["responses"].as_object().unwrap().is_empty());
            let open = !path.starts_with("/v1/") || path == "/v1/openapi.json";
            assert_eq!(operation.get("security").is_none(), open, "{method} {path}");
        }
    }
    assert_eq!(
        described,
        ENDPOINTS.iter().copied().collect::<BTreeSet<_>>()
    );
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.contains("#/components/schemas/Message"));
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
    let message = &document["components"]["schemas"]["Message"];
    let required = message["required"].as_array().unwrap();
    for member in ["id", "from", "type", "reference", "events", "expires_at"] {
        assert!(required.contains(&member.into()), "{member}");
    }
    assert!(!required.contains(&"eta".into()));
}

/// Every `$ref` below.
fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                found.insert(reference.clone());
            }
            map.values().for_each(|value| collect(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_readable_document_needs_nothing_from_elsewhere() {
    let gateway = gateway().await;
    let get =
        |path: String| async move { send(gateway.admin.address, "GET", &path, &[], b"").await };
    let moved = get("/docs".into()).await;
    assert_eq!(moved.headers["location"], "/docs/");
    let page = get("/docs/".into()).await;
    assert_eq!(page.status, 200);
    let policy = &page.headers["content-security-policy"];
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"));
    let html = page.text();
    let mut assets = 0;
    for attribute in ["src=\"", "href=\""] {
        for rest in html.split(attribute).skip(1) {
            let target = rest.split('"').next().unwrap();
            assert!(!target.contains("//"), "{target}");
            let name = target.trim_start_matches("./");
            let asset = get(format!("/docs/{name}")).await;
            assert_eq!(asset.status, 200, "{name}");
            assert_eq!(asset.headers["x-content-type-options"], "nosniff");
            assets += 1;
        }
    }
    assert!(assets >= 3, "{html}");
    assert!(
        !html.contains("<script>"),
        "the policy forbids inline scripts"
    );
    let start = get("/docs/swagger-initializer.js".into()).await.text();
    assert!(start.contains("/v1/openapi.json"), "{start}");
    assert!(
        !start.contains("http://") && !start.contains("https://"),
        "{start}"
    );
}

#[tokio::test]
async fn wrong_addresses_and_methods_are_problems() {
    let gateway = gateway().await;
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v2/messages",
        "/v1/messages/a/b",
        "/v1/messages/%ff",
    ] {
        let answer = gateway.admin.get(path).await;
        assert_eq!(answer.problem(404), "not_found", "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    for (method, path, allow) in [
        ("PUT", "/v1/messages", &["GET", "POST"][..]),
        ("DELETE", "/v1/batches", &["POST"]),
        ("POST", "/healthz", &["GET"]),
    ] {
        let answer = gateway.admin.send(method, path, &[], b"").await;
        assert_eq!(answer.problem(405), "method_not_allowed");
        for name in allow {
            assert!(
                answer.headers["allow"].contains(name),
                "{path}: {}",
                answer.headers["allow"]
            );
        }
    }
}

#[tokio::test]
async fn health_readiness_and_figures_ask_for_no_key() {
    let gateway = gateway().await;
    let address = gateway.admin.address;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(send(address, "GET", path, &[], b"").await.status, 200);
    }
    let taken = gateway.admin.post("/v1/messages", &hello()).await;
    let id = taken.json["id"].as_str().unwrap();
    let figures = || send(address, "GET", "/metrics", &[], b"");
    let text = figures().await.text();
    assert!(
        text.contains(
            "relais_messages_total{status=\"pending\",channel=\"\",operator=\"default\"} 1"
        ),
        "{text}"
    );
    let waiting = |text: &str| -> f64 {
        text.lines()
            .filter(|line| line.starts_with("relais_queue_messages{operator=\"default\""))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    };
    assert!((waiting(&text) - 1.0).abs() < f64::EPSILON, "{text}");
    for name in [
        "relais_webhook_pending",
        "relais_store_disk_bytes",
        "relais_store_live_bytes",
        "relais_build_info",
        "relais_queue_oldest_seconds{operator=\"default\"}",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert!(!text.contains(id) && !text.contains("33612345678"));
    gateway.admin.delete(&format!("/v1/messages/{id}")).await;
    let answer = figures().await;
    assert!(answer.headers["content-type"].starts_with("text/plain; version=0.0.4"));
    assert!(
        waiting(&answer.text()).abs() < f64::EPSILON,
        "{}",
        answer.text()
    );

    gateway.engine.store.close().await;
    let refused = gateway.admin.post("/v1/messages", &hello()).await;
    assert_eq!(refused.problem(503), "unavailable");
    assert!(refused.headers.contains_key("retry-after"));
}
