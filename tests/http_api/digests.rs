//! Digests by the interface: what a definition and a notice may be, and what each mistake is answered.

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::gateway;

fn mail() -> Value {
    json!({
        "days": ["tue", "thu"],
        "at": "19:00",
        "kinds": {"letter": {"text": "{{ count }} {{ count|plural(\"letter\", \"letters\") }}"}},
        "language": "en",
    })
}

impl Client {
    async fn put_digest(&self, name: &str, body: &Value) -> Answer {
        let json = [("Content-Type", "application/json")];
        let path = format!("/v1/digests/{name}");
        self.send("PUT", &path, &json, body.to_string().as_bytes())
            .await
    }

    /// A notice for the usual recipient.
    async fn note(&self, count: i64) -> Answer {
        let body = json!({"to": "06 12 34 56 78", "kind": "letter", "count": count});
        self.post("/v1/digests/mail/events", &body).await
    }
}

#[tokio::test]
async fn a_digest_is_made_read_replaced_and_deleted() {
    let gateway = gateway().await;
    let admin = &gateway.admin;
    assert_eq!(
        admin.get("/v1/digests/mail").await.problem(404),
        "not_found"
    );
    let mut named = mail();
    named["name"] = "mail".into();
    let made = admin.post("/v1/digests", &named).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json["name"], "mail");
    assert_eq!(made.json["timezone"], "recipient");
    assert_eq!(made.json["kinds"], mail()["kinds"]);
    let again = admin.post("/v1/digests", &named).await;
    assert_eq!(again.problem(409), "digest_exists");
    let mut daily = mail();
    daily["days"] = json!(["mon", "tue", "wed", "thu", "fri"]);
    let put = admin.put_digest("mail", &daily).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(put.json["created_at"], made.json["created_at"]);
    let read = admin.get("/v1/digests/mail").await.json;
    assert_eq!(read, put.json);
    let list = admin.get("/v1/digests").await.json;
    assert_eq!(list, json!({"data": [read], "next_cursor": null}));
    assert_eq!(admin.delete("/v1/digests/mail").await.status, 200);
    assert_eq!(
        admin.delete("/v1/digests/mail").await.problem(404),
        "not_found"
    );
}

#[tokio::test]
async fn everything_wrong_with_a_definition_is_named() {
    let gateway = gateway().await;
    let body = json!({
        "days": ["tuesday", "mardi"],
        "at": "25:00",
        "timezone": "Europe/Lutece",
        "kinds": {"letter": {"text": "{{ kount }}"}},
        "sender": "beaucoup trop long",
    });
    let refused = gateway.admin.put_digest("mail", &body).await;
    assert_eq!(refused.problem(422), "invalid_input");
    let expected = [
        ("/days/1", "unknown_value"),
        ("/at", "time_of_day_invalid"),
        ("/timezone", "timezone_unknown"),
        ("/kinds/letter/text", "digest_text_invalid"),
        ("/sender", "sender_invalid"),
    ];
    assert_eq!(refused.errors(), expected);
    let mut stranger = mail();
    stranger["hour"] = "19:00".into();
    let refused = gateway.admin.put_digest("mail", &stranger).await;
    assert_eq!(refused.problem(422), "invalid_field");
    let refused = gateway.admin.put_digest("le%20courrier", &mail()).await;
    assert_eq!(refused.errors(), [("/name", "name_invalid")]);
    let mut typed = mail();
    typed["name"] = "mail".into();
    typed["days"] = "tue".into();
    let refused = gateway.admin.post("/v1/digests", &typed).await;
    assert_eq!(refused.errors(), [("/days", "invalid_field")]);
}

#[tokio::test]
async fn notices_are_counted_and_mistakes_are_told() {
    let gateway = gateway().await;
    let admin = &gateway.admin;
    assert_eq!(admin.note(1).await.problem(404), "not_found");
    admin.put_digest("mail", &mail()).await;
    let first = admin.note(3).await;
    assert_eq!(first.status, 202, "{}", first.text());
    assert_eq!(first.json["count"], 3);
    assert_eq!(first.json["to"], "+33612345678");
    assert!(first.json["tick"].is_string());
    assert_eq!(admin.note(-1).await.json["count"], 2);
    let below = admin.note(-3).await;
    assert_eq!(below.problem(409), "digest_below_zero");
    assert!(
        below.json["detail"]
            .as_str()
            .unwrap()
            .starts_with("2 are pending")
    );
    for count in [0, 10_001, -10_001, i64::MAX, i64::MIN] {
        assert_eq!(
            admin.note(count).await.errors(),
            [("/count", "out_of_range")]
        );
    }
    for (body, pointer, code) in [
        (
            json!({"to": "06 12 34 56 78", "kind": "parcel"}),
            "/kind",
            "digest_kind_unknown",
        ),
        (
            json!({"to": "01 42 68 53 00", "kind": "letter"}),
            "/to",
            "not_mobile",
        ),
        (
            json!({"to": "01 42 68 53 00", "kind": "letter", "count": -1}),
            "/to",
            "not_mobile",
        ),
        (
            json!({"to": "0612", "kind": "letter"}),
            "/to",
            "number_invalid",
        ),
        (
            json!({"to": "0612345678", "kind": "letter", "count": 1.5}),
            "/count",
            "invalid_field",
        ),
        (
            json!({"to": "0612345678", "kind": "letter", "reference": "x".repeat(201)}),
            "/reference",
            "label_invalid",
        ),
    ] {
        let refused = admin.post("/v1/digests/mail/events", &body).await;
        assert_eq!(refused.errors(), [(pointer, code)], "{body}");
    }
    assert_eq!(admin.note(-2).await.json["count"], 0);
    assert_eq!(
        admin.get("/v1/digests/mail/pending").await.json["data"],
        json!([])
    );
}

#[tokio::test]
async fn a_notice_repeated_under_its_key_counts_once() {
    let gateway = gateway().await;
    let admin = &gateway.admin;
    admin.put_digest("mail", &mail()).await;
    let body = json!({"to": "06 12 34 56 78", "kind": "letter", "count": 2}).to_string();
    let key = [("Idempotency-Key", "notice-17")];
    let post = async |body: &str| {
        let path = "/v1/digests/mail/events";
        admin.post_raw(path, &key, body.as_bytes()).await
    };
    let first = post(&body).await;
    assert_eq!(first.json["count"], 2);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let again = post(&body).await;
    assert_eq!((again.status, &again.json), (202, &first.json));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = body.replace('2', "5");
    assert_eq!(post(&other).await.problem(409), "idempotency_conflict");
    assert_eq!(admin.note(1).await.json["count"], 3);
}

#[tokio::test]
async fn what_is_pending_is_listed_dropped_and_keeps_its_digest() {
    let gateway = gateway().await;
    let admin = &gateway.admin;
    admin.put_digest("mail", &mail()).await;
    for to in ["0612345670", "0612345671", "0612345672"] {
        let body = json!({"to": to, "kind": "letter", "reference": "desk-4"});
        admin.post("/v1/digests/mail/events", &body).await;
    }
    let page = admin.get("/v1/digests/mail/pending?limit=2").await.json;
    assert_eq!(page["data"].as_array().unwrap().len(), 2);
    assert_eq!(page["data"][0]["reference"], "desk-4");
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("/v1/digests/mail/pending?limit=2&cursor={cursor}");
    let rest = admin.get(&path).await.json;
    assert_eq!(rest["data"][0]["to"], "+33612345672");
    assert_eq!(rest["next_cursor"], Value::Null);
    let one = admin
        .get("/v1/digests/mail/pending?to=+33612345671")
        .await
        .json;
    assert_eq!(one["data"][0]["text"], "1 letter");
    assert_eq!(
        admin.delete("/v1/digests/mail").await.problem(409),
        "digest_pending"
    );
    let nobody = admin.delete("/v1/digests/mail/pending").await;
    assert_eq!(nobody.problem(422), "invalid_parameter");
    let dropped = admin.delete("/v1/digests/mail/pending?to=0612345671").await;
    assert_eq!(dropped.json, json!({"dropped": 1}));
    let gone = admin.delete("/v1/digests/mail?drop=true").await;
    assert_eq!((gone.status, &gone.json), (200, &json!({"dropped": 2})));
    assert_eq!(admin.get("/v1/digests").await.json["data"], json!([]));
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_sees_its_own_tenant() {
    let gateway = gateway().await;
    gateway.admin.put_digest("mail", &mail()).await;
    let sends = gateway.client("shop", &["send"]).await;
    let reads = gateway.client("shop", &["read"]).await;
    let manages = gateway.client("shop", &["manage"]).await;
    assert_eq!(
        sends.get("/v1/digests/mail").await.problem(404),
        "not_found"
    );
    for client in [&sends, &reads] {
        let refused = client.put_digest("mail", &mail()).await;
        assert_eq!(refused.problem(403), "forbidden_scope");
    }
    assert_eq!(manages.put_digest("mail", &mail()).await.status, 200);
    assert_eq!(manages.note(1).await.problem(403), "forbidden_scope");
    assert_eq!(reads.note(1).await.problem(403), "forbidden_scope");
    assert_eq!(sends.note(1).await.status, 202);
    let pending = reads.get("/v1/digests/mail/pending").await.json;
    assert_eq!(pending["data"].as_array().unwrap().len(), 1);
    let admins = gateway.admin.get("/v1/digests/mail/pending").await.json;
    assert_eq!(admins["data"], json!([]));
}

#[tokio::test]
async fn an_erasure_drops_what_is_counted_for_the_number() {
    let gateway = gateway().await;
    let admin = &gateway.admin;
    admin.put_digest("mail", &mail()).await;
    admin.note(3).await;
    let number = "/v1/admin/numbers/+33612345678";
    let told = admin.get(number).await.text();
    let first: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["kind"], &first["record"]["count"]),
        (&json!("count"), &json!(3))
    );
    assert_eq!(
        admin.delete(number).await.problem(409),
        "messages_under_way"
    );
    let erased = admin.delete(&format!("{number}?cancel=true")).await;
    assert_eq!((erased.status, &erased.json["erased"]), (200, &json!(1)));
    let pending = admin.get("/v1/digests/mail/pending").await.json;
    assert_eq!(pending["data"], json!([]));
}
