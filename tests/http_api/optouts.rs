//! Opt-outs by the interface, and what handsets sent as lists and streams show it.

use std::time::Duration;

use relais::domain::id::InboundId;
use relais::domain::inbound::Inbound;
use serde_json::{Value, json};

use crate::client::read_until;
use crate::{Gateway, gateway, hello};

/// `hello` goes to this number.
const NUMBER: &str = "/v1/optouts/+33612345678";

/// A handset writes, as the first, second, third one.
pub(crate) async fn wrote(gateway: &Gateway, nth: u64, from: &str, text: &str) {
    let engine = &gateway.engine;
    // Ids of one millisecond are in no order.
    let now = engine.clock.now() + Duration::from_secs(nth);
    let inbound = Inbound {
        id: InboundId::new(now, engine.random.bytes()),
        tenant: "default".into(),
        account: "orange".into(),
        channel: "orange#1".into(),
        from: from.to_owned(),
        to: "36111".to_owned(),
        text: text.to_owned(),
        part: None,
        received_at: now,
        keyword: None,
        incomplete: false,
        erased: relais::domain::privacy::Erased::default(),
        fingerprint: None,
    };
    engine.store.take_in(vec![inbound]).await.unwrap();
}

#[tokio::test]
async fn a_number_is_opted_out_once_in_any_writing_and_in_again() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    assert_eq!(client.get(NUMBER).await.problem(404), "not_opted_out");
    assert_eq!(client.delete(NUMBER).await.problem(404), "not_opted_out");
    let put = client
        .send("PUT", "/v1/optouts/06%2012%2034%2056%2078", &[], b"")
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(put.json["number"], "+33612345678");
    assert_eq!(put.json["source"], "api");
    for path in [
        NUMBER,
        "/v1/optouts/0612345678",
        "/v1/optouts/0033612345678",
        "/v1/optouts/%2B33612345678",
    ] {
        let again = client.send("PUT", path, &[], b"").await;
        assert_eq!((again.status, &again.json), (200, &put.json), "{path}");
        assert_eq!(client.get(path).await.json, put.json, "{path}");
    }
    assert_eq!(client.delete(NUMBER).await.status, 204);
    assert_eq!(client.get(NUMBER).await.status, 404);
}

#[tokio::test]
async fn a_number_that_is_none_is_refused_with_words() {
    let gateway = gateway().await;
    for (path, code) in [
        ("/v1/optouts/36111", "number_invalid"),
        ("/v1/optouts/bonjour", "number_invalid"),
        ("/v1/optouts/0123456789", "not_mobile"),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = gateway.admin.send(method, path, &[], b"").await;
            assert_eq!(answer.problem(422), code, "{method} {path}");
            assert_eq!(answer.errors(), [("number", code)]);
        }
    }
}

#[tokio::test]
async fn opt_outs_stay_with_their_tenant_and_ask_for_the_right_scope() {
    let gateway = gateway().await;
    let shop = gateway.client("shop", &["send", "read"]).await;
    let other = gateway.client("other", &["send", "read"]).await;
    let reader = gateway.client("shop", &["read"]).await;
    let sender = gateway.client("shop", &["send"]).await;
    assert_eq!(shop.send("PUT", NUMBER, &[], b"").await.status, 200);
    assert_eq!(other.get(NUMBER).await.status, 404);
    assert_eq!(other.delete(NUMBER).await.status, 404);
    assert_eq!(other.get("/v1/optouts").await.json["data"], json!([]));
    let taken = other.post("/v1/messages", &hello()).await;
    assert_eq!(taken.json["status"], "pending");
    for method in ["PUT", "DELETE"] {
        let answer = reader.send(method, NUMBER, &[], b"").await;
        assert_eq!(answer.problem(403), "forbidden_scope");
    }
    for path in [NUMBER, "/v1/optouts"] {
        assert_eq!(reader.get(path).await.status, 200);
        assert_eq!(sender.get(path).await.problem(403), "forbidden_scope");
    }
}

#[tokio::test]
async fn the_list_goes_by_number_page_by_page() {
    let gateway = gateway().await;
    for n in [3, 1, 5, 2, 4] {
        let path = format!("/v1/optouts/+3361234567{n}");
        assert_eq!(gateway.admin.send("PUT", &path, &[], b"").await.status, 200);
    }
    let mut found = Vec::new();
    let mut path = "/v1/optouts?limit=2".to_owned();
    loop {
        let page = gateway.admin.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let data = page.json["data"].as_array().unwrap();
        found.extend(data.iter().map(|one| one["number"].to_string()));
        let Some(cursor) = page.json["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/optouts?limit=2&cursor={cursor}");
    }
    let expected: Vec<_> = (1..=5).map(|n| format!("\"+3361234567{n}\"")).collect();
    assert_eq!(found, expected);
    for query in ["limit=0", "cursor=x", "colour=red"] {
        let path = format!("/v1/optouts?{query}");
        assert_eq!(gateway.admin.get(&path).await.status, 422, "{query}");
    }
    let foreign = "/v1/optouts?cursor=01890000-0000-7000-8000-000000000000";
    assert_eq!(gateway.admin.get(foreign).await.status, 422);
}

#[tokio::test]
async fn a_message_to_a_number_that_has_opted_out_is_taken_and_failed() {
    let gateway = gateway().await;
    let waiting = gateway.admin.post("/v1/messages", &hello()).await.json;
    gateway.admin.send("PUT", NUMBER, &[], b"").await;
    let path = format!("/v1/messages/{}", waiting["id"].as_str().unwrap());
    let cancelled = gateway.admin.get(&path).await.json;
    let taken = gateway.admin.post("/v1/messages", &hello()).await;
    assert_eq!(taken.status, 202);
    for message in [&cancelled, &taken.json] {
        for (member, expected) in [
            ("status", json!("failed")),
            ("label", json!("Échec")),
            ("state", json!("failed")),
            ("reason", json!("opted_out")),
            ("attempts", json!(0)),
        ] {
            assert_eq!(message[member], expected, "{member}");
        }
        assert_eq!(message["events"][1]["event"], "opted_out");
        assert!(message.get("why").is_none());
    }
    let batch = json!({"to": ["+33612345678", "+33612345679"], "text": "Bonjour"});
    let batch = gateway.admin.post("/v1/batches", &batch).await;
    assert_eq!(batch.status, 202, "{}", batch.text());
    let path = format!("/v1/batches/{}", batch.json["id"].as_str().unwrap());
    let counts = gateway.admin.get(&path).await.json;
    assert_eq!(counts["counts"]["failed"], 1, "{counts}");
    assert_eq!(counts["counts"]["pending"], 1, "{counts}");
    let figures = gateway.admin.get("/metrics").await.text();
    let failed = "relais_messages_total{status=\"failed\",channel=\"\",operator=\"default\"} 3";
    assert!(figures.contains(failed), "{figures}");
    gateway.admin.delete(NUMBER).await;
    let again = gateway.admin.post("/v1/messages", &hello()).await.json;
    assert_eq!(again["status"], "pending");
}

#[tokio::test]
async fn what_handsets_sent_shows_its_keyword_and_what_that_changed() {
    let gateway = gateway().await;
    let number = "+33612345678";
    for (nth, (from, text)) in (1..).zip([
        (number, "Bonjour"),
        (number, " « Arrêt. » "),
        (number, "START"),
        ("36222", "STOP"),
        (number, "stop à 12h ?"),
    ]) {
        wrote(&gateway, nth, from, text).await;
    }
    let list = gateway.admin.get("/v1/inbound").await.json;
    let mut list: Vec<_> = list["data"].as_array().unwrap().clone();
    list.reverse();
    let shown: Vec<_> = list
        .iter()
        .map(|one| (one.get("keyword"), one.get("opted_out")))
        .collect();
    let word = |text: &str| Value::from(text);
    assert_eq!(
        shown,
        [
            (None, None),
            (Some(&word("ARRET")), Some(&json!(true))),
            (Some(&word("START")), Some(&json!(false))),
            // Nobody can be written to at a short code.
            (Some(&word("STOP")), None),
            (None, None),
        ]
    );
    assert!(list.iter().all(|one| one.get("incomplete").is_none()));
    wrote(&gateway, 9, number, "STOP.").await;
    let optout = gateway.admin.get(NUMBER).await.json;
    assert_eq!(
        (&optout["source"], &optout["text"]),
        (&json!("keyword"), &json!("STOP."))
    );
    let newest = gateway.admin.get("/v1/inbound?limit=1").await.json;
    assert_eq!(optout["inbound"], newest["data"][0]["id"]);
}

#[tokio::test]
async fn listeners_hear_of_the_messages_that_an_opt_out_fails() {
    let gateway = gateway().await;
    gateway.admin.post("/v1/messages", &hello()).await;
    let mut stream = gateway.admin.open("/v1/events", "").await;
    read_until(&mut stream, "\r\n\r\n").await;
    gateway.admin.send("PUT", NUMBER, &[], b"").await;
    let heard = read_until(&mut stream, "\"reason\":\"opted_out\"").await;
    assert!(heard.contains("event: message.failed"), "{heard}");
}
