//! The preview: what a send would do, character by character.

use std::sync::Arc;

use relais::domain::text::{DefaultAlphabet, TextRules};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::{Gateway, gateway};

const TO: &str = "0612345678";

/// A gateway whose account `orange` carries texts like this.
async fn gateway_of(rules: TextRules) -> Gateway {
    let gateway = gateway().await;
    gateway.policy.send_modify(|policy| {
        Arc::make_mut(policy)
            .text_rules
            .insert("orange".into(), rules);
    });
    gateway
}

async fn preview(gateway: &Gateway, text: &str) -> Value {
    shown(gateway, &json!({"to": TO, "text": text})).await.json
}

async fn shown(gateway: &Gateway, body: &Value) -> Answer {
    let answer = gateway.admin.post("/v1/preview", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn codes(preview: &Value) -> Vec<&str> {
    let warnings = preview["warnings"].as_array().unwrap().iter();
    warnings.map(|w| w["code"].as_str().unwrap()).collect()
}

fn warning<'a>(preview: &'a Value, code: &str) -> &'a str {
    let mut warnings = preview["warnings"].as_array().unwrap().iter();
    let found = warnings.find(|w| w["code"] == code);
    found.unwrap()["detail"].as_str().unwrap()
}

#[tokio::test]
async fn the_characters_that_force_unicode_are_told_one_by_one() {
    let gateway = gateway().await;
    let preview = preview(&gateway, "L’œuvre ’ 😀").await;
    assert_eq!(preview["encoding"], "ucs2");
    assert_eq!(
        preview["forcing_unicode"],
        json!([
            {"character": "’", "code_point": "U+2019", "count": 2, "positions": [1, 8],
             "replacement": "'"},
            {"character": "œ", "code_point": "U+0153", "count": 1, "positions": [2],
             "replacement": "oe"},
            {"character": "😀", "code_point": "U+1F600", "count": 1, "positions": [10],
             "replacement": null},
        ])
    );
    assert_eq!(
        (&preview["units"], &preview["units_left"]),
        (&json!(12), &json!(58))
    );
    assert_eq!(preview["two_septets"], json!([]));
    assert_eq!(preview["transliterated"], json!([]));
    let told = warning(&preview, "unicode");
    assert!(told.contains("’œ😀"), "{told}");
    // It costs no part more, and replacing would not help.
    assert!(
        !told.contains("parts") && !told.contains("transliterate"),
        "{told}"
    );
}

#[tokio::test]
async fn what_unicode_costs_in_parts_is_told() {
    let gateway = gateway().await;
    let preview = preview(&gateway, &format!("reçu {}", "a".repeat(150))).await;
    assert_eq!(preview["parts"], 3);
    assert_eq!(preview["units_left"], 67 - (155 - 2 * 67));
    let told = warning(&preview, "unicode");
    assert!(told.contains("3 parts instead of 1"), "{told}");
    assert!(told.contains("transliterate"), "{told}");
    assert_eq!(codes(&preview), ["unicode", "several_parts", "no_channel"]);
}

#[tokio::test]
async fn the_characters_that_count_twice_are_told() {
    let gateway = gateway().await;
    let preview = preview(&gateway, "[10 €] ou 20 €").await;
    assert_eq!(preview["encoding"], "gsm");
    assert_eq!(
        (&preview["units"], &preview["units_left"]),
        (&json!(18), &json!(142))
    );
    assert_eq!(
        preview["two_septets"],
        json!([
            {"character": "[", "count": 1},
            {"character": "€", "count": 2},
            {"character": "]", "count": 1},
        ])
    );
    assert_eq!(preview["forcing_unicode"], json!([]));
    assert_eq!(codes(&preview), ["no_channel"]);
}

#[tokio::test]
async fn what_would_be_replaced_is_told_by_policy_and_by_request() {
    let expected = json!([{"from": "ç", "to": "c"}, {"from": "…", "to": "..."}]);
    let plain = gateway().await;
    let body = json!({"to": TO, "text": "reçu…", "encoding": "transliterate"});
    let by_policy = gateway_of(TextRules {
        transliterate: true,
        ..TextRules::default()
    })
    .await;
    for preview in [
        shown(&plain, &body).await.json,
        preview(&by_policy, "reçu…").await,
    ] {
        assert_eq!(preview["text"], "recu...");
        assert_eq!(preview["transliterated"], expected);
        assert_eq!(codes(&preview), ["transliterated", "no_channel"]);
        let told = warning(&preview, "transliterated");
        assert!(told.contains("\"ç\" by \"c\""), "{told}");
    }
    // The message that the same body makes says the same.
    let sent = plain.admin.post("/v1/messages", &body).await;
    assert_eq!(sent.status, 202);
    assert_eq!(sent.json["transliterated"], expected);
    assert_eq!(sent.json["text"], "recu...");
}

#[tokio::test]
async fn the_account_decides_what_needs_unicode() {
    let latin1 = TextRules {
        latin1: true,
        ..TextRules::default()
    };
    let ascii = TextRules {
        alphabet: DefaultAlphabet::Ascii,
        ..TextRules::default()
    };
    for (rules, text, encoding, left) in [
        (latin1, "reçu", "latin1", 136),
        (latin1, "été", "gsm", 157),
        (latin1, "l’œuvre", "ucs2", 63),
        (ascii, "été", "ucs2", 67),
        (ascii, "ete", "gsm", 157),
    ] {
        let gateway = gateway_of(rules).await;
        let preview = preview(&gateway, text).await;
        assert_eq!(
            (&preview["encoding"], &preview["units_left"]),
            (&json!(encoding), &json!(left)),
            "{text}"
        );
        let sent = gateway
            .admin
            .post("/v1/messages", &json!({"to": TO, "text": text}))
            .await;
        assert_eq!(sent.json["encoding"], encoding, "{text}");
        assert_eq!(sent.json["parts"], preview["parts"]);
    }
}

#[tokio::test]
async fn a_key_that_reads_may_look_and_nothing_is_stored() {
    let gateway = gateway().await;
    let reader = gateway.client("t", &["read"]).await;
    let body = json!({"to": TO, "text": "bonjour", "send_at": "2030-01-01T10:00:00Z"});
    let far = reader.post("/v1/preview", &body).await;
    assert_eq!(far.problem(422), "send_at_too_far");
    let body = json!({"to": TO, "text": "bonjour", "send_at": "2026-12-24T18:00:00+01:00",
                      "validity": "2h"});
    for _ in 0..2 {
        let headers = [("Idempotency-Key", "one")];
        let answer = reader
            .post_raw("/v1/preview", &headers, body.to_string().as_bytes())
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json["first_send_at"], "2026-12-24T17:00:00.000Z");
        assert_eq!(answer.json["expires_at"], "2026-12-24T19:00:00.000Z");
        assert_eq!(answer.json["operator"], "default");
        assert_eq!(answer.json["route"], json!([["orange"]]));
        assert_eq!(answer.json["cost"], Value::Null);
    }
    assert_eq!(reader.get("/v1/messages").await.json["data"], json!([]));
}
