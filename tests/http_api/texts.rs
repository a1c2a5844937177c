//! What becomes of a text: templates, signatures, limits, and the mention of STOP.

use std::sync::Arc;

use relais::domain::policy::Face;
use relais::domain::sender::Sender;
use relais::domain::status::Language;
use relais::domain::tenant::{Overflow, Position, Settings, Signature};
use relais::domain::text::Encoding;
use serde_json::{Value, json};

use crate::client::Answer;
use crate::{Gateway, gateway};

const TO: &str = "0612345678";

async fn gateway_of(settings: Settings) -> Gateway {
    let gateway = gateway().await;
    gateway
        .engine
        .put_settings(&"default".into(), &settings)
        .await
        .unwrap();
    gateway
}

fn signature(position: Position) -> Signature {
    Signature {
        text: "CCAS de Lyon".to_owned(),
        position,
        separator: " - ".to_owned(),
        by_default: true,
    }
}

async fn template(gateway: &Gateway, name: &str, body: Value) {
    let mut body = body;
    body["name"] = json!(name);
    let made = gateway.admin.post("/v1/templates", &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
}

async fn post(gateway: &Gateway, mut body: Value) -> Answer {
    body["to"] = json!(TO);
    gateway.admin.post("/v1/messages", &body).await
}

/// The text of a message that is accepted, which its preview shows too.
async fn text(gateway: &Gateway, mut body: Value) -> String {
    let sent = post(gateway, body.clone()).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    body["to"] = json!(TO);
    let preview = gateway.admin.post("/v1/preview", &body).await;
    assert_eq!(preview.json["text"], sent.json["text"]);
    assert_eq!(preview.json["parts"], sent.json["parts"]);
    let cut = sent.json.get("truncated").cloned().unwrap_or(json!(false));
    assert_eq!(preview.json["truncated"], cut);
    sent.json["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn values_are_held_to_the_variables_of_the_template() {
    let gateway = gateway().await;
    template(&gateway, "t", json!({"text": "Bonjour {{ name }} {{ n }}"})).await;
    for (body, errors) in [
        (
            json!({"template": "t"}),
            vec![
                ("/params", "template_variable_missing"),
                ("/params", "template_variable_missing"),
            ],
        ),
        (
            json!({"template": "t", "params": {"name": "Zoë", "n": 1, "nme": 2}}),
            vec![("/params", "template_variable_unknown")],
        ),
        (
            json!({"template": "t", "params": {"name": "Zoë", "n": null}}),
            vec![("/params", "template_variable_invalid")],
        ),
        (
            json!({"template": "t", "params": []}),
            vec![("/params", "wrong_type")],
        ),
        (
            json!({"template": "u"}),
            vec![("/template", "template_not_found")],
        ),
        (
            json!({"template": "t", "text": "x", "params": {}}),
            vec![("/text", "text_or_template")],
        ),
        (
            json!({"text": "x", "params": {"n": 1}}),
            vec![("/params", "params_without_template")],
        ),
        (
            json!({"template": "t", "params": {"name": "\u{7}", "n": 1}}),
            vec![("/template", "text_control_character")],
        ),
    ] {
        let answer = post(&gateway, body.clone()).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert_eq!(answer.errors(), errors, "{body}");
    }
    let missing = post(&gateway, json!({"template": "t", "params": {"name": "x"}})).await;
    assert!(
        missing.json["detail"]
            .as_str()
            .unwrap()
            .contains("variable n ")
    );
    let params = json!({"name": "<Zoé> & {{ n }}", "n": 3});
    let made = text(&gateway, json!({"template": "t", "params": params})).await;
    assert_eq!(made, "Bonjour <Zoé> & {{ n }} 3");
}

#[tokio::test]
async fn who_is_bound_to_templates_sends_no_text_of_its_own() {
    let gateway = gateway_of(Settings {
        templates_only: true,
        ..Settings::default()
    })
    .await;
    template(&gateway, "t", json!({"text": "Bonjour"})).await;
    let answer = post(&gateway, json!({"text": "Salut"})).await;
    assert_eq!(answer.problem(403), "template_required");
    // What is forbidden comes before what is wrong.
    let answer = post(&gateway, json!({"text": "", "validity": 1})).await;
    assert_eq!(answer.problem(403), "template_required");
    assert_eq!(text(&gateway, json!({"template": "t"})).await, "Bonjour");
    let batch = json!({"to": [TO], "text": "Salut"});
    let answer = gateway.admin.post("/v1/batches", &batch).await;
    assert_eq!(answer.problem(403), "template_required");
}

#[tokio::test]
async fn a_key_may_be_bound_to_templates_alone() {
    let gateway = gateway().await;
    let client = gateway.client("default", &["send"]).await;
    let keys = gateway.engine.store.keys();
    let mut key = (**keys.first().unwrap()).clone();
    key.terms.templates_only = true;
    gateway.engine.store.put_key(key).await.unwrap();
    template(&gateway, "t", json!({"text": "Bonjour"})).await;
    let body = json!({"to": TO, "text": "Salut"});
    let answer = client.post("/v1/messages", &body).await;
    assert_eq!(answer.problem(403), "template_required");
    assert_eq!(gateway.admin.post("/v1/messages", &body).await.status, 202);
    let body = json!({"to": TO, "template": "t"});
    assert_eq!(client.post("/v1/messages", &body).await.status, 202);
}

#[tokio::test]
async fn the_signature_is_added_as_template_message_and_tenant_say() {
    let gateway = gateway_of(Settings {
        signature: Some(signature(Position::Foot)),
        ..Settings::default()
    })
    .await;
    for policy in ["default", "always", "never"] {
        let body = json!({"text": "Bonjour", "signature": policy});
        template(&gateway, policy, body).await;
    }
    let (with, without) = ("Bonjour - CCAS de Lyon", "Bonjour");
    for (body, made) in [
        (json!({"text": "Bonjour"}), with),
        (json!({"text": "Bonjour", "signature": null}), with),
        (json!({"text": "Bonjour", "signature": false}), without),
        (json!({"template": "default"}), with),
        (json!({"template": "default", "signature": false}), without),
        (json!({"template": "always"}), with),
        (json!({"template": "always", "signature": true}), with),
        (json!({"template": "never"}), without),
    ] {
        assert_eq!(text(&gateway, body.clone()).await, made, "{body}");
    }
    for body in [
        json!({"template": "always", "signature": false}),
        json!({"template": "never", "signature": true}),
    ] {
        let answer = post(&gateway, body).await;
        assert_eq!(answer.problem(422), "signature_fixed");
    }
    let body = json!({"text": "Bonjour", "signature": "yes"});
    assert_eq!(post(&gateway, body).await.problem(422), "wrong_type");

    let gateway = gateway_of(Settings {
        signature: Some(Signature {
            by_default: false,
            ..signature(Position::Head)
        }),
        ..Settings::default()
    })
    .await;
    assert_eq!(text(&gateway, json!({"text": "Bonjour"})).await, without);
    let signed = json!({"text": "Bonjour", "signature": true});
    assert_eq!(
        text(&gateway, signed.clone()).await,
        "CCAS de Lyon - Bonjour"
    );
    let gateway = gateway_of(Settings::default()).await;
    let answer = post(&gateway, signed).await;
    assert_eq!(answer.problem(422), "signature_missing");
    assert_eq!(answer.errors(), [("/signature", "signature_missing")]);
}

#[tokio::test]
async fn a_text_that_is_longer_than_its_tenant_allows_is_refused_cut_or_split() {
    let long = json!({"text": "a".repeat(200)});
    let limits = |overflow| Settings {
        max_parts: Some(1),
        max_length: Some(155),
        overflow,
        ..Settings::default()
    };
    let gateway = gateway_of(limits(Overflow::Reject)).await;
    let answer = post(&gateway, long.clone()).await;
    assert_eq!(answer.problem(422), "text_too_many_parts");
    let answer = post(&gateway, json!({"text": "a".repeat(156)})).await;
    assert_eq!(answer.problem(422), "text_too_long");
    assert!(answer.json["detail"].as_str().unwrap().contains("155"));

    let gateway = gateway_of(limits(Overflow::Truncate)).await;
    assert_eq!(text(&gateway, long.clone()).await, "a".repeat(155));
    let sent = post(&gateway, long.clone()).await.json;
    assert_eq!(sent["warnings"][0]["code"], "truncated");
    let mut body = long.clone();
    body["to"] = json!(TO);
    let preview = gateway.admin.post("/v1/preview", &body).await.json;
    assert_eq!(preview["warnings"][0]["code"], "truncated");
    assert_eq!(
        preview["length"],
        json!({"with_signature": 155, "without_signature": 155, "max": 155})
    );
    let batch = json!({"messages": [{"to": TO, "text": "b".repeat(200)}, {"to": TO, "text": "c"}]});
    let batch = gateway.admin.post("/v1/batches", &batch).await.json;
    assert_eq!(batch["results"][0]["truncated"], true);
    assert_eq!(batch["results"][1].get("truncated"), None);
    // Four thousand characters are read at most, whatever is done with them.
    let answer = post(&gateway, json!({"text": "a".repeat(4001)})).await;
    assert_eq!(answer.problem(422), "text_too_long");

    let gateway = gateway_of(limits(Overflow::Split)).await;
    assert_eq!(text(&gateway, long).await, "a".repeat(200));
    let answer = post(&gateway, json!({"text": "a".repeat(200), "max_parts": 1})).await;
    assert_eq!(answer.problem(422), "text_too_many_parts");
    let answer = post(&gateway, json!({"text": "a".repeat(3999)})).await;
    assert_eq!(answer.problem(422), "text_too_many_parts");
}

#[tokio::test]
async fn a_message_may_ask_for_fewer_parts_than_its_tenant_allows() {
    let gateway = gateway_of(Settings {
        max_parts: Some(3),
        overflow: Overflow::Truncate,
        signature: Some(signature(Position::Foot)),
        ..Settings::default()
    })
    .await;
    let made = text(&gateway, json!({"text": "a".repeat(1000)})).await;
    assert_eq!(made.len(), 3 * 153);
    let made = text(&gateway, json!({"text": "a".repeat(1000), "max_parts": 1})).await;
    assert_eq!(made, format!("{} - CCAS de Lyon", "a".repeat(160 - 15)));
    let answer = post(&gateway, json!({"text": "a", "max_parts": 0})).await;
    assert_eq!(answer.problem(422), "max_parts_out_of_range");

    let gateway = gateway_of(Settings {
        max_length: Some(15),
        overflow: Overflow::Truncate,
        signature: Some(signature(Position::Foot)),
        ..Settings::default()
    })
    .await;
    let answer = post(&gateway, json!({"text": "Bonjour"})).await;
    assert_eq!(answer.problem(422), "text_no_room");
}

#[tokio::test]
async fn the_alphabet_is_the_tenants_where_the_message_does_not_choose() {
    let gateway = gateway_of(Settings {
        encoding: Some(Encoding::Transliterate),
        ..Settings::default()
    })
    .await;
    assert_eq!(text(&gateway, json!({"text": "reçu"})).await, "recu");
    let auto = json!({"text": "reçu", "encoding": "auto"});
    assert_eq!(text(&gateway, auto).await, "reçu");
    let answer = post(&gateway, json!({"text": "reçu", "encoding": "gsm"})).await;
    assert_eq!(answer.problem(422), "text_not_gsm");
}

/// What the recipients of account `orange` see.
fn face(gateway: &Gateway, sender: &str, stop: Option<&str>) {
    let face = Face {
        sender: Sender::parse(sender).ok(),
        stop: stop.map(str::to_owned),
    };
    gateway.policy.send_modify(|policy| {
        Arc::make_mut(policy).faces.insert("orange".into(), face);
    });
}

#[tokio::test]
async fn marketing_says_how_to_answer_stop_and_counts_it() {
    let gateway = gateway_of(Settings {
        consent: relais::domain::tenant::Consent::Caller,
        ..Settings::default()
    })
    .await;
    let promo = json!({"text": "Soldes", "class": "commercial", "from": "MAGASIN"});
    // Nothing is known of the account: not even who the sender would be.
    let answer = post(&gateway, promo.clone()).await;
    assert_eq!(answer.problem(422), "stop_number_missing");
    assert_eq!(answer.errors(), [("/from", "stop_number_missing")]);
    let unknown = json!({"to": TO, "text": "Soldes", "class": "commercial"});
    let preview = gateway.admin.post("/v1/preview", &unknown).await.json;
    assert_eq!(preview["warnings"][0]["code"], "stop_unknown");

    face(&gateway, "", Some("36111"));
    let made = text(&gateway, promo.clone()).await;
    assert_eq!(made, "Soldes STOP au 36111");
    let mut body = promo.clone();
    body["to"] = json!(TO);
    let preview = gateway.admin.post("/v1/preview", &body).await.json;
    assert_eq!(preview["stop"], "STOP au 36111");
    assert_eq!(preview["units"], 20);
    assert_eq!(preview["length"]["without_signature"], 6);
    let own =
        json!({"text": "Soldes. STOP SMS au 36 111", "class": "commercial", "from": "MAGASIN"});
    assert_eq!(text(&gateway, own).await, "Soldes. STOP SMS au 36 111");
    let short = json!({"text": "Soldes", "class": "commercial", "from": "36184"});
    assert_eq!(text(&gateway, short).await, "Soldes STOP au 36184");
    // What is no marketing says nothing of it.
    let plain = json!({"text": "Bonjour", "from": "MAGASIN"});
    assert_eq!(text(&gateway, plain).await, "Bonjour");

    face(&gateway, "MAGASIN", None);
    let answer = post(&gateway, json!({"text": "Soldes", "class": "commercial"})).await;
    assert_eq!(answer.problem(422), "stop_number_missing");
}

#[tokio::test]
async fn the_mention_of_stop_is_never_cut_off() {
    let settings = Settings {
        consent: relais::domain::tenant::Consent::Caller,
        max_parts: Some(1),
        overflow: Overflow::Truncate,
        signature: Some(signature(Position::Foot)),
        language: Language::En,
        ..Settings::default()
    };
    let gateway = gateway_of(settings).await;
    face(&gateway, "MAGASIN", Some("36111"));
    // The text's own mention is in what is cut off.
    for tail in ["", " STOP to 36111"] {
        let body = json!({"text": "a".repeat(300) + tail, "class": "commercial"});
        let made = text(&gateway, body).await;
        assert_eq!(made.len(), 160);
        assert!(made.ends_with("aaa - CCAS de Lyon STOP to 36111"), "{made}");
    }
}

#[tokio::test]
async fn each_recipient_of_a_batch_may_have_values_of_its_own() {
    let gateway = gateway().await;
    let text = "Bonjour {{ name }}, {{ place }}";
    template(&gateway, "t", json!({"text": text})).await;
    let body = json!({
        "template": "t", "params": {"place": "salle 2"},
        "to": [
            {"to": "0612345678", "params": {"name": "Anne"}},
            {"to": "0612345679", "params": {"name": "Zoé", "place": "salle 3"}},
            "0612345670",
            {"to": "0612345671", "params": {"nom": "x"}},
        ],
    });
    let answer = gateway.admin.post("/v1/batches", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let results = answer.json["results"].as_array().unwrap();
    let mut texts = Vec::new();
    for result in &results[..2] {
        let id = result["id"].as_str().unwrap();
        let message = gateway.admin.get(&format!("/v1/messages/{id}")).await;
        texts.push(message.json["text"].as_str().unwrap().to_owned());
    }
    assert_eq!(texts, ["Bonjour Anne, salle 2", "Bonjour Zoé, salle 3"]);
    for (index, code) in [
        (2, "template_variable_missing"),
        (3, "template_variable_missing"),
    ] {
        assert_eq!(results[index]["accepted"], false);
        assert_eq!(results[index]["errors"][0]["code"], code);
    }
    assert_eq!(results[3]["errors"][0]["pointer"], "/to/3/params");
    assert_eq!(results[3]["errors"][1]["code"], "template_variable_unknown");
}
