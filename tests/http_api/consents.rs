//! Consents, opt-outs by sender and in lists, and numbers that nobody has, as clients meet them.

use std::time::Duration;

use relais::domain::event::Rejection;
use relais::domain::id::{Lane, MessageId};
use relais::domain::message::Token;
use relais::store::{Claimant, Reach, Report};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::{Gateway, gateway, hello};

const NUMBER: &str = "+33612345678";
const CONSENT: &str = "/v1/consents/+33612345678";
const OPTOUT: &str = "/v1/optouts/+33612345678";

const JSON: (&str, &str) = ("Content-Type", "application/json");
const CSV: (&str, &str) = ("Content-Type", "text/csv");
const JSONL: (&str, &str) = ("Content-Type", "application/jsonl");

fn sales() -> Value {
    json!({"to": NUMBER, "text": "Soldes", "class": "commercial"})
}

async fn put(client: &Client, path: &str, body: &Value) -> Answer {
    client
        .send("PUT", path, &[JSON], body.to_string().as_bytes())
        .await
}

async fn import(client: &Client, path: &str, kind: (&str, &str), body: &str) -> Answer {
    client.send("POST", path, &[kind], body.as_bytes()).await
}

async fn status_of(gateway: &Gateway, message: &Value) -> (Value, Value) {
    let path = format!("/v1/messages/{}", message["id"].as_str().unwrap());
    let message = gateway.admin.get(&path).await.json;
    (message["status"].clone(), message["reason"].clone())
}

#[tokio::test]
async fn marketing_without_consent_is_refused_everywhere_and_with_it_taken() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    for path in ["/v1/messages", "/v1/preview"] {
        let refused = client.post(path, &sales()).await;
        assert_eq!(refused.problem(403), "consent_missing", "{path}");
    }
    let batch = json!({"messages": [hello(), sales()]});
    let taken = client.post("/v1/batches", &batch).await;
    assert_eq!(taken.json["accepted"], 1, "{}", taken.text());
    let error = &taken.json["results"][1]["errors"][0];
    assert_eq!(error["code"], "consent_missing");
    let said =
        json!({"wording": "J'accepte de recevoir vos offres par SMS", "source": "formulaire"});
    let noted = put(client, CONSENT, &said).await;
    assert_eq!(noted.status, 200, "{}", noted.text());
    assert_eq!(noted.json["in_force"], true);
    assert_eq!(client.post("/v1/messages", &sales()).await.status, 202);
    assert_eq!(client.post("/v1/preview", &sales()).await.status, 200);
    // For one purpose, of one tenant.
    let mut club = sales();
    club["purpose"] = "club".into();
    let refused = client.post("/v1/messages", &club).await;
    assert_eq!(refused.problem(403), "consent_missing");
    club["purpose"] = "à tout".into();
    let refused = client.post("/v1/messages", &club).await;
    assert_eq!(refused.problem(422), "purpose_invalid");
    let other = gateway.client("other", &["send", "read"]).await;
    let refused = other.post("/v1/messages", &sales()).await;
    assert_eq!(refused.problem(403), "consent_missing");
    assert_eq!(other.get(CONSENT).await.problem(404), "no_consent");
    // Service messages ask nobody.
    assert_eq!(other.post("/v1/messages", &hello()).await.status, 202);
}

#[tokio::test]
async fn a_tenant_whose_application_keeps_consents_is_not_asked_for_them() {
    let gateway = gateway().await;
    let settings = relais::domain::tenant::Settings {
        consent: relais::domain::tenant::Consent::Caller,
        ..Default::default()
    };
    let tenant = "default".into();
    gateway
        .engine
        .put_settings(&tenant, &settings)
        .await
        .unwrap();
    let taken = gateway.admin.post("/v1/messages", &sales()).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
}

#[tokio::test]
async fn a_history_says_who_wrote_down_what_and_a_withdrawal_fails_what_waits() {
    let gateway = gateway().await;
    let desk = gateway.client("default", &["send", "read"]).await;
    let said = json!({
        "wording": "Oui, des offres", "source": "guichet", "given_at": "2026-09-01T10:00:00Z",
        "proof_sha256": "ab".repeat(32),
    });
    let first = put(&desk, CONSENT, &said).await.json;
    let again = put(
        &desk,
        "/v1/consents/06%2012%2034%2056%2078?purpose=Marketing",
        &said,
    )
    .await;
    assert_eq!(again.json, first, "it says nothing new");
    let note = &first["history"][0];
    assert_eq!(
        (&note["event"], &note["by"], &note["given_at"]),
        (
            &json!("granted"),
            &json!("test"),
            &json!("2026-09-01T10:00:00.000Z")
        )
    );
    assert_eq!(note["proof_sha256"], "ab".repeat(32));
    assert_eq!(note["hash"].as_str().unwrap().len(), 64);
    let mut later = sales();
    later["send_at"] = json!((gateway.engine.clock.now() + Duration::from_hours(48)).rfc3339());
    let waiting = desk.post("/v1/messages", &later).await;
    assert_eq!(waiting.status, 202, "{}", waiting.text());
    let service = desk.post("/v1/messages", &hello()).await.json;
    let withdrawn = desk.delete(&format!("{CONSENT}?source=appel")).await;
    assert_eq!(withdrawn.status, 200, "{}", withdrawn.text());
    assert_eq!(withdrawn.json["in_force"], false);
    let note = &withdrawn.json["history"][1];
    assert_eq!(
        (&note["event"], &note["source"]),
        (&json!("withdrawn"), &json!("appel"))
    );
    let ended = status_of(&gateway, &waiting.json).await;
    assert_eq!(ended, (json!("failed"), json!("opted_out")));
    assert_eq!(status_of(&gateway, &service).await.0, "pending");
    let refused = desk.post("/v1/messages", &sales()).await;
    assert_eq!(refused.problem(403), "consent_missing");
    assert_eq!(desk.get(CONSENT).await.json, withdrawn.json);
    let never = desk.delete("/v1/consents/+33612345679").await;
    assert_eq!(never.problem(404), "no_consent");
}

#[tokio::test]
async fn what_is_wrong_with_a_consent_is_named() {
    let gateway = gateway().await;
    for (path, body, place, code) in [
        (CONSENT, json!({}), "/wording", "required"),
        (
            CONSENT,
            json!({"wording": " "}),
            "/wording",
            "wording_missing",
        ),
        (
            CONSENT,
            json!({"wording": "x".repeat(2001)}),
            "/wording",
            "too_long",
        ),
        (
            CONSENT,
            json!({"wording": "x", "source": "x".repeat(201)}),
            "/source",
            "too_long",
        ),
        (
            CONSENT,
            json!({"wording": "x", "given_at": "hier"}),
            "/given_at",
            "time_invalid",
        ),
        (
            CONSENT,
            json!({"wording": "x", "given_at": "2199-01-01T00:00:00Z"}),
            "/given_at",
            "time_in_future",
        ),
        (
            CONSENT,
            json!({"wording": "x", "proof_sha256": "zz"}),
            "/proof_sha256",
            "proof_invalid",
        ),
        (
            "/v1/consents/36111",
            json!({"wording": "x"}),
            "number",
            "number_invalid",
        ),
        (
            "/v1/consents/0612345678?purpose=a%20b",
            json!({"wording": "x"}),
            "purpose",
            "purpose_invalid",
        ),
    ] {
        let answer = put(&gateway.admin, path, &body).await;
        assert_eq!(answer.problem(422), code, "{body}");
        assert_eq!(answer.errors()[0].0, place, "{body}");
    }
    let reader = gateway.client("default", &["read"]).await;
    let refused = put(&reader, CONSENT, &json!({"wording": "x"})).await;
    assert_eq!(refused.problem(403), "forbidden_scope");
}

#[tokio::test]
async fn consents_come_and_go_as_lists() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let list = "number;wording;source;given_at\r\n\
                06 12 34 56 78;\"Oui; merci\";=cmd|calc;2025-05-01\r\n\
                0123456789;Oui;;\r\n\
                +33612345679;;;\r\n\
                '+33612345670;Oui;form;\r\n";
    let taken = import(client, "/v1/consents/import", CSV, list).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let codes: Vec<_> = taken.json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            (
                error["line"].as_u64().unwrap(),
                error["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(codes, [(3, "not_mobile"), (4, "wording_missing")]);
    assert_eq!(
        (&taken.json["imported"], &taken.json["refused"]),
        (&json!(2), &json!(2))
    );
    let lines = format!(
        "{}\n\n{}\n",
        json!({"number": "0612345670", "event": "withdrawn"}),
        json!({"number": "0612345678", "wording": "Oui; merci", "source": "=cmd|calc",
               "given_at": "2025-05-01T00:00:00Z"}),
    );
    let taken = import(client, "/v1/consents/import", JSONL, &lines).await;
    let counts = (&taken.json["imported"], &taken.json["unchanged"]);
    assert_eq!(counts, (&json!(1), &json!(1)), "{}", taken.text());
    let sheet = client.get("/v1/consents?format=csv&in_force=true").await;
    assert!(sheet.headers["content-type"].starts_with("text/csv"));
    assert_eq!(
        sheet.text(),
        "number,purpose,event,given_at,wording,source,proof_sha256\r\n\
         '+33612345678,marketing,granted,2025-05-01T00:00:00.000Z,Oui; merci,'=cmd|calc,\r\n"
    );
    // What was exported is known when it comes back.
    let again = import(client, "/v1/consents/import", CSV, &sheet.text()).await;
    assert_eq!(again.json["unchanged"], 1, "{}", again.text());
    let page = client.get("/v1/consents?limit=1").await.json;
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = client
        .get(&format!("/v1/consents?limit=1&cursor={cursor}"))
        .await;
    assert_ne!(page["data"][0]["number"], next.json["data"][0]["number"]);
    let wrong = import(client, "/v1/consents/import", CSV, "numero\n06").await;
    assert_eq!(wrong.problem(422), "columns_invalid");
    let wrong = import(client, "/v1/consents/import", JSON, "{}").await;
    assert_eq!(wrong.problem(415), "unsupported_media_type");
}

#[tokio::test]
async fn an_opt_out_from_one_sender_is_one_of_its_own() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let club = format!("{OPTOUT}?sender=Club");
    let made = client.send("PUT", &club, &[], b"").await;
    assert_eq!((made.status, &made.json["sender"]), (200, &json!("Club")));
    assert_eq!(client.get(OPTOUT).await.problem(404), "not_opted_out");
    let same = client.get(&format!("{OPTOUT}?sender=CLUB")).await;
    assert_eq!(same.json, made.json);
    let send = async |from: &str| {
        let mut message = hello();
        message["from"] = from.into();
        client.post("/v1/messages", &message).await.json["status"].clone()
    };
    assert_eq!(send("CLUB").await, "failed");
    assert_eq!(send("Boutique").await, "pending");
    client.send("PUT", OPTOUT, &[], b"").await;
    assert_eq!(send("Boutique").await, "failed");
    let both = client
        .get(&format!("/v1/optouts?number={NUMBER}"))
        .await
        .json;
    assert_eq!(both["data"].as_array().unwrap().len(), 2, "{both}");
    assert_eq!(client.delete(&club).await.status, 204);
    assert_eq!(client.delete(&club).await.problem(404), "not_opted_out");
    assert_eq!(send("CLUB").await, "failed", "from everything still");
    let wrong = client
        .get(&format!("{OPTOUT}?sender=beaucoup-trop-long"))
        .await;
    assert_eq!(wrong.problem(422), "sender_too_long");
}

#[tokio::test]
async fn opt_outs_come_and_go_as_lists_and_fail_what_waits() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let waiting = client.post("/v1/messages", &hello()).await.json;
    let list = "number,sender,since,note\n0612345678,,2024-02-03T04:05:06Z,ancien outil\n\
                0612345679,Club,,\nbonjour,,,\n~0123456789abcdef,,,\n0612345678,,,\n";
    let taken = import(client, "/v1/optouts/import", CSV, list).await;
    let counts = ["imported", "unchanged", "refused"].map(|name| taken.json[name].clone());
    assert_eq!(counts, [json!(2), json!(1), json!(2)], "{}", taken.text());
    let ended = status_of(&gateway, &waiting).await;
    assert_eq!(ended, (json!("failed"), json!("opted_out")));
    let known = client.get(OPTOUT).await.json;
    assert_eq!(
        (&known["since"], &known["source"], &known["note"]),
        (
            &json!("2024-02-03T04:05:06.000Z"),
            &json!("import"),
            &json!("ancien outil")
        )
    );
    let sheet = client.get("/v1/optouts?format=csv").await.text();
    let mut lines = sheet.split("\r\n");
    assert_eq!(lines.next(), Some("number,sender,since,source,note"));
    assert_eq!(
        lines.next(),
        Some("'+33612345678,,2024-02-03T04:05:06.000Z,import,ancien outil")
    );
    assert_eq!(sheet.split("\r\n").count(), 4, "{sheet}");
    // Another tenant takes the list over as it is.
    let other = gateway.client("other", &["send", "read"]).await;
    let taken = import(&other, "/v1/optouts/import", CSV, &sheet).await;
    assert_eq!(taken.json["imported"], 2, "{}", taken.text());
    let line = json!({"number": "0612345677", "colour": "red"}).to_string();
    let taken = import(client, "/v1/optouts/import", JSONL, &line).await;
    assert_eq!(taken.json["errors"][0]["code"], "member_unknown");
}

/// Sends the message that waits, and refuses it as to a number that nobody has.
async fn refuse(gateway: &Gateway, message: &Value) {
    let (store, now) = (&gateway.engine.store, gateway.engine.clock.now());
    let id = MessageId(message["id"].as_str().unwrap().parse().unwrap());
    let by = Claimant {
        account: "orange".into(),
        channel: "orange#1".into(),
        until: now + Duration::from_mins(1),
        reach: Reach::of(&"orange".into()),
        in_line: false,
        only_to: None,
    };
    let lane = Lane {
        operator: "default".into(),
    };
    let claimed = store.claim(&lane, by, 100, now).await.unwrap().messages;
    let claimed = claimed.iter().find(|message| message.id == id).unwrap();
    let by = claimed.sending();
    let token = Token {
        message: id,
        attempt: by.attempt,
        claim: by.claim,
    };
    let rejection = Rejection::NumberInvalid("ESME_RINVDSTADR (0x0000000b)".to_owned());
    let report = Report::Rejected { token, rejection };
    store.report(vec![report], now).await.unwrap();
}

#[tokio::test]
async fn a_number_that_nobody_has_is_listed_and_its_message_says_that_it_may_be_deleted() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let hook = json!({"url": "https://client.example/", "types": ["number.invalid"]});
    assert_eq!(client.post("/v1/webhooks", &hook).await.status, 201);
    let empty = client.get("/v1/numbers/invalid").await.json;
    assert_eq!(empty, json!({"data": [], "next_cursor": null}));
    let before = gateway.engine.clock.now().rfc3339();
    let sent = client.post("/v1/messages", &hello()).await.json;
    assert!(sent.get("deletable").is_none());
    refuse(&gateway, &sent).await;
    let ended = client
        .get(&format!("/v1/messages/{}", sent["id"].as_str().unwrap()))
        .await
        .json;
    assert_eq!(
        (&ended["status"], &ended["reason"], &ended["deletable"]),
        (&json!("failed"), &json!("number_invalid"), &json!(true))
    );
    let list = client
        .get(&format!("/v1/numbers/invalid?since={before}"))
        .await
        .json;
    let found = &list["data"][0];
    assert_eq!(
        (
            &found["number"],
            &found["message"],
            &found["deletable"],
            &found["code"]
        ),
        (
            &json!(NUMBER),
            &sent["id"],
            &json!(true),
            &json!("ESME_RINVDSTADR (0x0000000b)")
        )
    );
    let later = client
        .get("/v1/numbers/invalid?since=2199-01-01T00:00:00Z")
        .await;
    assert_eq!(later.json["data"], json!([]));
    let wrong = client.get("/v1/numbers/invalid?since=hier").await;
    assert_eq!(wrong.problem(422), "invalid_parameter");
    let other = gateway.client("other", &["read", "send"]).await;
    assert_eq!(
        other.get("/v1/numbers/invalid").await.json["data"],
        json!([])
    );
    let sheet = client.get("/v1/numbers/invalid?format=csv").await.text();
    assert!(
        sheet.starts_with("number,since,message,code\r\n'+33612345678,"),
        "{sheet}"
    );
    let due = gateway
        .engine
        .store
        .outbox_due(gateway.engine.clock.now(), 9, &[])
        .await;
    let kinds: Vec<_> = due
        .unwrap()
        .deliveries
        .iter()
        .map(|it| it.event.kind())
        .collect();
    assert_eq!(kinds, ["number.invalid"]);
    // Its owner may ask what is known of it.
    let known = client.get("/v1/admin/numbers/0612345678").await.text();
    assert!(known.contains("\"kind\":\"invalid\""), "{known}");
    let path = "/v1/numbers/invalid/0612345678";
    assert_eq!(client.delete(path).await.status, 204);
    assert_eq!(client.delete(path).await.problem(404), "not_invalid");
    assert_eq!(
        client.get("/v1/numbers/invalid").await.json["data"],
        json!([])
    );
}

#[tokio::test]
async fn an_erased_number_has_agreed_to_nothing_and_stays_opted_out() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    put(client, CONSENT, &json!({"wording": "Oui"})).await;
    client.send("PUT", OPTOUT, &[], b"").await;
    let known = client.get("/v1/admin/numbers/0612345678").await.text();
    assert!(known.contains("\"kind\":\"consent\""), "{known}");
    let erased = client.delete("/v1/admin/numbers/0612345678").await;
    assert_eq!(erased.json["erased"], 1, "{}", erased.text());
    assert_eq!(client.get(CONSENT).await.problem(404), "no_consent");
    assert_eq!(client.get(OPTOUT).await.status, 200);
}
