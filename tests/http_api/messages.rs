//! Messages and batches from acceptance to cancellation, lists, previews, events, idempotency.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::client::read_until;
use crate::{gateway, gateway_with, hello};

#[tokio::test]
async fn an_accepted_message_is_shown_as_the_contract_writes_it() {
    let gateway = gateway().await;
    let client = gateway.client("ccas", &["send", "read"]).await;
    let body = json!({
        "to": "06 12 34 56 78", "from": "CCAS", "text": "Bonjour €", "reference": "r-1",
        "type": "letter", "validity": "2h", "metadata": {"dossier": 7}
    });
    let taken = client.post("/v1/messages", &body).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    assert_eq!(taken.headers["content-type"], "application/json");
    assert_eq!(taken.headers["cache-control"], "no-store");
    assert_eq!(taken.headers["x-content-type-options"], "nosniff");
    assert!(!taken.headers.contains_key("access-control-allow-origin"));
    let message = &taken.json;
    for (member, expected) in [
        ("to", json!("+33612345678")),
        ("from", json!("CCAS")),
        ("text", json!("Bonjour €")),
        ("status", json!("pending")),
        ("label", json!("En attente")),
        ("state", json!("queued")),
        ("why", json!("no_channel")),
        ("encoding", json!("gsm")),
        ("parts", json!(1)),
        ("class", json!("transactional")),
        ("type", json!("letter")),
        ("reference", json!("r-1")),
        ("tenant", json!("ccas")),
        ("operator", json!("default")),
        ("attempts", json!(0)),
        ("revision", json!(0)),
        ("metadata", json!({"dossier": 7})),
    ] {
        assert_eq!(message[member], expected, "{member}");
    }
    assert_eq!(message["events"][0]["event"], "accepted");
    for absent in [
        "reason",
        "eta",
        "channel",
        "sent_at",
        "batch",
        "maybe_duplicate",
    ] {
        assert!(message.get(absent).is_none(), "{absent}");
    }
    let time = |member: &str| {
        let text = message[member].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(text).unwrap()
    };
    // The two are read from the clock one after the other.
    let validity = (time("expires_at") - time("created_at")).num_seconds();
    assert!((7199..=7200).contains(&validity), "{validity}");

    let path = format!("/v1/messages/{}", message["id"].as_str().unwrap());
    let read = client.get(&path).await;
    assert_eq!((read.status, &read.json), (200, message));

    let bare = client.post("/v1/messages", &hello()).await.json;
    for member in ["from", "type", "reference"] {
        assert_eq!(bare.get(member), Some(&Value::Null), "{member}");
    }
}

#[tokio::test]
async fn labels_follow_accept_language() {
    let gateway = gateway().await;
    let body = hello().to_string();
    for (language, label) in [
        ("en", "Pending"),
        ("fr", "En attente"),
        ("de", "En attente"),
    ] {
        let headers = [("Accept-Language", language)];
        let taken = gateway
            .admin
            .post_raw("/v1/messages", &headers, body.as_bytes())
            .await;
        assert_eq!(taken.json["label"], label);
    }
}

#[tokio::test]
async fn a_planned_message_is_scheduled_and_says_until_when() {
    let gateway = gateway().await;
    let at = "2027-01-01T19:00:00.000Z";
    let body = json!({"to": "+33612345678", "text": "x", "send_at": at});
    let message = gateway.admin.post("/v1/messages", &body).await.json;
    assert_eq!(message["state"], "scheduled");
    assert_eq!(message["why"], "scheduled");
    assert_eq!(message["eta"], at);
    assert_eq!(message["send_at"], at);
}

#[tokio::test]
async fn fifty_at_once_with_one_idempotency_key_are_one_message() {
    let gateway = gateway().await;
    let body = hello().to_string();
    let headers = [("Idempotency-Key", "order-42")];
    let calls = (0..50).map(|_| {
        let (client, body) = (gateway.admin.clone(), body.clone());
        async move {
            client
                .post_raw("/v1/messages", &headers, body.as_bytes())
                .await
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    let ids: HashSet<_> = answers.iter().map(|a| a.json["id"].to_string()).collect();
    assert!(answers.iter().all(|answer| answer.status == 202));
    assert_eq!(ids.len(), 1);
    let replayed =
        |answer: &&crate::client::Answer| answer.headers.contains_key("idempotent-replayed");
    assert_eq!(answers.iter().filter(replayed).count(), 49);
    let list = gateway.admin.get("/v1/messages").await;
    assert_eq!(list.json["data"].as_array().unwrap().len(), 1);

    let other = json!({"to": "+33612345678", "text": "other"}).to_string();
    let conflict = gateway
        .admin
        .post_raw("/v1/messages", &headers, other.as_bytes())
        .await;
    assert_eq!(conflict.problem(409), "idempotency_conflict");
    let stranger = gateway.client("other", &["send"]).await;
    let taken = stranger
        .post_raw("/v1/messages", &headers, other.as_bytes())
        .await;
    assert_eq!(taken.status, 202, "another tenant's keys are its own");

    for bad in ["a b", "é", &"k".repeat(256)] {
        let headers = [("Idempotency-Key", bad)];
        let refused = gateway
            .admin
            .post_raw("/v1/messages", &headers, body.as_bytes())
            .await;
        assert_eq!(refused.problem(400), "idempotency_key_invalid");
    }
}

#[tokio::test]
async fn a_message_is_cancelled_once() {
    let gateway = gateway().await;
    let id = gateway.admin.post("/v1/messages", &hello()).await.json["id"].clone();
    let path = format!("/v1/messages/{}", id.as_str().unwrap());
    let cancelled = gateway.admin.delete(&path).await;
    assert_eq!(cancelled.status, 200);
    assert_eq!(cancelled.json["status"], "cancelled");
    assert_eq!(cancelled.json["label"], "Annulé");
    assert_eq!(gateway.admin.delete(&path).await.problem(409), "too_late");
    for unknown in [
        "/v1/messages/0",
        "/v1/messages/00000000-0000-7000-8000-000000000000",
    ] {
        assert_eq!(
            gateway.admin.delete(unknown).await.problem(404),
            "not_found"
        );
    }
}

#[tokio::test]
async fn lists_filter_and_are_walked_by_cursor() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    for n in 0..25 {
        let body = json!({
            "to": format!("+3361234{:04}", n % 5), "text": "x", "reference": format!("r{n}"),
            "type": if n % 2 == 0 { "even" } else { "odd" }
        });
        assert_eq!(client.post("/v1/messages", &body).await.status, 202);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/messages?limit=10".to_owned());
    loop {
        let page = client.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let data = page.json["data"].as_array().unwrap();
        assert!(data.len() <= 10);
        seen.extend(
            data.iter()
                .map(|m| m["reference"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.json["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/messages?limit=10&cursor={next}");
    }
    let mut expected: Vec<_> = (0..25).map(|n| format!("r{n}")).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected, "each message once");

    for (query, count) in [
        ("type=odd", 12),
        ("reference=r7", 1),
        ("to=%2B33612340003", 5),
        ("to=+33612340003", 5),
        ("to=0612340003&type=even", 2),
        ("status=pending", 25),
        ("status=delivered", 0),
        (
            "since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00+02:00",
            25,
        ),
        ("until=2000-01-01T00:00:00Z", 0),
        ("updated_since=2100-01-01T00:00:00Z", 0),
        ("status=&limit=", 25),
    ] {
        let list = client.get(&format!("/v1/messages?{query}")).await;
        assert_eq!(list.status, 200, "{query}: {}", list.text());
        assert_eq!(
            list.json["data"].as_array().unwrap().len(),
            count,
            "{query}"
        );
    }
    for (query, parameter) in [
        ("status=sending", "status"),
        ("to=abc", "to"),
        ("since=yesterday", "since"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=zzz", "cursor"),
        ("page=2", "page"),
        ("type=a&type=b", "type"),
    ] {
        let refused = client.get(&format!("/v1/messages?{query}")).await;
        refused.problem(422);
        assert_eq!(refused.errors()[0].0, parameter);
    }
}

#[tokio::test]
async fn a_batch_takes_what_passes_and_names_what_does_not() {
    let gateway = gateway().await;
    let body = json!({"messages": [
        {"to": "+33612345678", "text": "a"},
        {"to": "0123456789", "text": "b"},
        {"to": "+33612345679", "text": ""},
        {"to": "+33612345670", "text": "d", "template": "t"},
        {"to": "+33612345671", "text": "e"}
    ]});
    let taken = gateway.admin.post("/v1/batches", &body).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    assert_eq!(
        (&taken.json["accepted"], &taken.json["rejected"]),
        (&json!(2), &json!(3))
    );
    let results = taken.json["results"].as_array().unwrap();
    let accepted: Vec<_> = results.iter().map(|r| r["accepted"] == true).collect();
    assert_eq!(accepted, [true, false, false, false, true]);
    assert_eq!(results[1]["errors"][0]["pointer"], "/messages/1/to");
    assert_eq!(results[2]["errors"][0]["code"], "text_empty");
    assert_eq!(results[3]["errors"][0]["code"], "text_or_template");
    let batch = taken.json["id"].as_str().unwrap();
    let message = results[4]["id"].as_str().unwrap();
    let read = gateway.admin.get(&format!("/v1/messages/{message}")).await;
    assert_eq!(
        (&read.json["text"], &read.json["batch"]),
        (&json!("e"), &json!(batch))
    );

    gateway
        .admin
        .delete(&format!("/v1/messages/{message}"))
        .await;
    let progress = gateway.admin.get(&format!("/v1/batches/{batch}")).await;
    assert_eq!(progress.json["total"], 2);
    assert_eq!(
        progress.json["counts"],
        json!({"pending": 1, "sent": 0, "delivered": 0, "expired": 0, "failed": 0, "cancelled": 1})
    );
    let stranger = gateway.client("other", &["read"]).await;
    let hidden = stranger.get(&format!("/v1/batches/{batch}")).await;
    assert_eq!(hidden.problem(404), "not_found");
}

#[tokio::test]
async fn one_text_for_several_recipients_is_a_batch_too() {
    let gateway = gateway().await;
    let body = json!({"to": ["0612345678", "nobody", 7, "0612345679"], "text": "x", "type": "t"});
    let headers = [("Idempotency-Key", "b1")];
    let octets = body.to_string();
    let first = gateway
        .admin
        .post_raw("/v1/batches", &headers, octets.as_bytes())
        .await;
    assert_eq!(first.status, 202, "{}", first.text());
    let results = first.json["results"].as_array().unwrap();
    assert_eq!(results[1]["errors"][0]["pointer"], "/to/1");
    assert_eq!(results[2]["errors"][0]["pointer"], "/to/2");
    assert_eq!(results[3]["to"], "+33612345679");
    let again = gateway
        .admin
        .post_raw("/v1/batches", &headers, octets.as_bytes())
        .await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.json, first.json);

    let refused = gateway
        .admin
        .post("/v1/batches", &json!({"to": ["1", "2"], "text": ""}))
        .await;
    refused.problem(422);
    let pointers: Vec<_> = refused.errors().iter().map(|e| e.0.to_owned()).collect();
    assert_eq!(
        pointers,
        ["/to/0", "/text", "/to/1"],
        "what is wrong for all is named once"
    );
}

#[tokio::test]
async fn a_preview_stores_nothing_and_says_what_a_send_would_do() {
    let gateway = gateway().await;
    let body = json!({"to": "0612345678", "text": format!("Ça va ? {}", "x".repeat(70))});
    let shown = gateway.admin.post("/v1/preview", &body).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    let preview = shown.json;
    assert_eq!(preview["to"], "+33612345678");
    assert_eq!(preview["route"], json!([["orange"]]));
    let parts = preview["parts"].as_u64().unwrap();
    assert_eq!(
        preview["part_texts"].as_array().unwrap().len() as u64,
        parts
    );
    let codes: Vec<_> = preview["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| &w["code"])
        .collect();
    assert!(codes.contains(&&json!("no_channel")));
    let list = gateway.admin.get("/v1/messages").await;
    assert_eq!(list.json["data"], json!([]));
    let refused = gateway
        .admin
        .post("/v1/preview", &json!({"to": "x", "text": "\u{7}"}))
        .await;
    refused.problem(422);
    assert_eq!(refused.errors().len(), 2);
}

#[tokio::test]
async fn listeners_hear_of_their_own_tenant_and_the_stop_ends_them() {
    let gateway = gateway_with(|settings| settings.max_listeners = 1).await;
    let mut stream = gateway
        .admin
        .open("/v1/events", "Accept-Language: en\r\n")
        .await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let second = gateway.admin.get("/v1/events").await;
    assert_eq!(second.problem(503), "too_many_listeners");

    let stranger = gateway.client("other", &["send"]).await;
    for client in [&stranger, &gateway.admin] {
        let id = client.post("/v1/messages", &hello()).await.json["id"].clone();
        let path = format!("/v1/messages/{}", id.as_str().unwrap());
        assert_eq!(client.delete(&path).await.status, 200);
    }
    let heard = read_until(&mut stream, "\n\n").await;
    assert!(heard.contains("event: message.cancelled"), "{heard}");
    assert!(heard.contains("\"tenant\":\"default\""), "{heard}");
    assert!(heard.contains("\"label\":\"Cancelled\""), "{heard}");
    let id = heard
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    assert!(id.ends_with(":1"), "{id}");

    gateway.stop.cancel();
    gateway.served.await.unwrap().unwrap();
}
