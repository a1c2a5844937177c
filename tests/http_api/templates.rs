//! Templates: written by whoever manages a tenant, read by whoever sends for it.

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::gateway;

async fn put(client: &Client, name: &str, body: &Value) -> Answer {
    let path = format!("/v1/templates/{name}");
    let json = [("Content-Type", "application/json")];
    client
        .send("PUT", &path, &json, body.to_string().as_bytes())
        .await
}

fn names(list: &Answer) -> Vec<&str> {
    assert_eq!(list.status, 200, "{}", list.text());
    assert!(list.json["next_cursor"].is_null());
    let data = list.json["data"].as_array().unwrap().iter();
    data.map(|one| one["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_template_is_made_read_replaced_and_removed() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let new = json!({"name": "courrier", "text": "{{ n }} {{ n|plural('lettre', 'lettres') }}"});
    let made = client.post("/v1/templates", &new).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(
        made.json,
        json!({
            "name": "courrier", "text": new["text"], "category": null, "quick": false,
            "signature": "default", "max_lines": 4, "language": "fr", "variables": ["n"],
            "length": {"with_signature": 7, "without_signature": 7},
            "created_at": made.json["created_at"], "updated_at": made.json["updated_at"],
        })
    );
    let again = client.post("/v1/templates", &new).await;
    assert_eq!(again.problem(409), "template_exists");
    let read = client.get("/v1/templates/courrier").await;
    assert_eq!((read.status, &read.json), (200, &made.json));

    let other = json!({"text": "Mail", "language": "en", "quick": true, "max_lines": 0,
        "signature": "never", "category": "Post"});
    let put_ = put(client, "courrier", &other).await;
    assert_eq!(put_.status, 200, "{}", put_.text());
    assert_eq!(put_.json["language"], "en");
    assert_eq!(put_.json["created_at"], made.json["created_at"]);
    assert_eq!(client.get("/v1/templates/courrier").await.json, put_.json);
    assert_eq!(put(client, "zweite", &other).await.status, 200);
    assert_eq!(
        names(&client.get("/v1/templates").await),
        ["courrier", "zweite"]
    );
    let named = json!({"name": "other", "text": "x"});
    let wrong = put(client, "courrier", &named).await;
    assert_eq!(wrong.problem(422), "template_name_invalid");

    assert_eq!(client.delete("/v1/templates/courrier").await.status, 204);
    assert_eq!(
        client.delete("/v1/templates/courrier").await.problem(404),
        "not_found"
    );
    assert_eq!(
        client.get("/v1/templates/courrier").await.problem(404),
        "not_found"
    );
    assert_eq!(names(&client.get("/v1/templates").await), ["zweite"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_template_is_told_when_it_is_written() {
    let gateway = gateway().await;
    for (body, place, code) in [
        (json!({"name": "a"}), "/text", "required"),
        (json!({"name": "a", "text": 1}), "/text", "invalid_field"),
        (
            json!({"name": "a", "text": "", "x": 1}),
            "/x",
            "invalid_field",
        ),
        (
            json!({"name": "a", "text": "", "signature": "top"}),
            "/signature",
            "invalid_field",
        ),
        (json!({"text": "x"}), "/name", "template_name_invalid"),
        (
            json!({"name": "Été", "text": "x"}),
            "/name",
            "template_name_invalid",
        ),
        (
            json!({"name": "a", "text": "x", "category": "a\u{0}"}),
            "/category",
            "label_invalid",
        ),
        (
            json!({"name": "a", "text": "{{ n"}),
            "/text",
            "template_syntax",
        ),
        (
            json!({"name": "a", "text": "{{ n|shout }}"}),
            "/text",
            "template_unknown_filter",
        ),
        (
            json!({"name": "a", "text": "{{ 'x' * 1000000 }}"}),
            "/text",
            "template_too_costly",
        ),
        (
            json!({"name": "a", "text": "x".repeat(4001)}),
            "/text",
            "template_too_long",
        ),
        (
            json!({"name": "a", "text": "1\n2\n3", "max_lines": 2}),
            "/text",
            "text_too_many_lines",
        ),
    ] {
        let answer = gateway.admin.post("/v1/templates", &body).await;
        assert_eq!(answer.problem(422), code, "{body}");
        assert_eq!(answer.errors(), [(place, code)], "{body}");
    }
    for query in ["quick=yes", "colour=red"] {
        let answer = gateway.admin.get(&format!("/v1/templates?{query}")).await;
        assert_eq!(answer.status, 422, "{query}");
    }
}

#[tokio::test]
async fn templates_are_of_one_tenant_and_written_by_its_managers() {
    let gateway = gateway().await;
    let manager = gateway.client("shop", &["manage"]).await;
    let desk = gateway.client("shop", &["send"]).await;
    let reader = gateway.client("shop", &["read"]).await;
    let stranger = gateway.client("other", &["manage", "send", "read"]).await;
    let new = json!({"name": "t", "text": "bonjour {{ x }}"});
    for client in [&desk, &reader] {
        let answer = client.post("/v1/templates", &new).await;
        assert_eq!(answer.problem(403), "forbidden_scope");
        assert_eq!(put(client, "t", &new).await.problem(403), "forbidden_scope");
        let answer = client.delete("/v1/templates/t").await;
        assert_eq!(answer.problem(403), "forbidden_scope");
    }
    assert_eq!(manager.post("/v1/templates", &new).await.status, 201);
    assert_eq!(
        manager.get("/v1/templates").await.problem(403),
        "forbidden_scope"
    );
    for client in [&desk, &reader] {
        assert_eq!(names(&client.get("/v1/templates").await), ["t"]);
        assert_eq!(client.get("/v1/templates/t").await.status, 200);
    }
    assert_eq!(
        names(&stranger.get("/v1/templates").await),
        Vec::<&str>::new()
    );
    assert_eq!(
        stranger.get("/v1/templates/t").await.problem(404),
        "not_found"
    );
    assert_eq!(
        stranger.delete("/v1/templates/t").await.problem(404),
        "not_found"
    );
    let foreign = json!({"to": "0612345678", "template": "t", "params": {"x": 1}});
    let answer = stranger.post("/v1/messages", &foreign).await;
    assert_eq!(answer.problem(422), "template_not_found");
    assert_eq!(answer.errors(), [("/template", "template_not_found")]);
    assert_eq!(desk.post("/v1/messages", &foreign).await.status, 202);
}

#[tokio::test]
async fn two_who_make_the_same_template_at_once_make_one() {
    let gateway = gateway().await;
    let posts = (0..8).map(|n| {
        let client = gateway.admin.clone();
        async move {
            let new = json!({"name": "t", "text": format!("{n}")});
            client.post("/v1/templates", &new).await.status
        }
    });
    let statuses = futures_util::future::join_all(posts).await;
    let made = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(made, 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)));
}
