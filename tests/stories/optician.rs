//! An optician's desk: one-off messages from a customer's record, typed or picked from predefined texts,
//! with the shop's telephone number at their head.

use relais::sim::smsc::SmscScript;
use serde_json::{Value, json};

use super::api::Api;
use super::support::World;
use super::{expect, gateway, submitted, until};

/// The customer's number, as the record shows it.
const MOBILE: &str = "06.21.55.84.92";

/// The shop's settings: its number at the head of every message, and at most 155 characters.
fn shop() -> Value {
    json!({
        "signature": {"text": "0325828500", "position": "head"},
        "max_length": 155,
    })
}

async fn desk(settings: &Value) -> (World, Api) {
    let (world, api) = gateway("2026-10-05T10:00:00Z", "", SmscScript::default()).await;
    expect(200, api.patch("/v1/tenant", settings).await);
    (world, api)
}

/// Sends to the customer, and gives what the carrier has been given for it.
async fn sent(world: &World, api: &Api, mut body: Value) -> (Value, String) {
    let before = submitted(world).len();
    body["to"] = json!(MOBILE);
    let answer = expect(202, api.post("/v1/messages", &body).await);
    world
        .carrier_until(|ledger| ledger.submitted.len() > before)
        .await;
    let (_, to, text) = submitted(world)[before].clone();
    assert_eq!(to, "33621558492");
    (answer, text)
}

async fn refused(api: &Api, status: u16, mut body: Value) -> String {
    body["to"] = json!(MOBILE);
    let problem = expect(status, api.post("/v1/messages", &body).await);
    problem["code"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_signature_alone_is_11_characters_and_the_text_0() {
    let (world, api) = desk(&shop()).await;
    // The screen of a predefined text that is being made.
    let made = json!({"name": "vide", "text": "", "category": "000 Toutes"});
    let made = expect(201, api.post("/v1/templates", &made).await);
    assert_eq!(
        made["length"],
        json!({"with_signature": 11, "without_signature": 0})
    );
    assert_eq!(made["max_lines"], 4);
    // The screen of a message that is being prepared: « Longueur message (max : 155) 11 ».
    for text in [json!({"text": ""}), json!({"template": "vide"})] {
        let mut body = text.clone();
        body["to"] = json!(MOBILE);
        let preview = expect(200, api.post("/v1/preview", &body).await);
        assert_eq!(
            preview["length"],
            json!({"with_signature": 11, "without_signature": 0, "max": 155})
        );
        assert_eq!(preview["signature"], "0325828500");
        assert_eq!(preview["to"], "+33621558492");
        assert_eq!(preview["warnings"][0]["code"], "text_empty");
        body["signature"] = json!(false);
        let preview = expect(200, api.post("/v1/preview", &body).await);
        assert_eq!(preview["length"]["with_signature"], 0);
        // What can be measured cannot be sent.
        assert_eq!(refused(&api, 422, text).await, "text_empty");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_number_of_the_shop_is_at_the_head_unless_it_is_left_out() {
    let (world, api) = desk(&shop()).await;
    let text = "Bonjour, vos lunettes sont arrivées";
    let (answer, on_air) = sent(&world, &api, json!({"text": text})).await;
    assert_eq!(on_air, format!("0325828500\n{text}"));
    assert_eq!(answer["text"], on_air);
    assert_eq!(
        (&answer["encoding"], &answer["parts"]),
        (&json!("gsm"), &json!(1))
    );
    let (_, on_air) = sent(&world, &api, json!({"text": text, "signature": false})).await;
    assert_eq!(on_air, text);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn more_than_155_characters_with_the_signature_are_refused_or_cut() {
    let (world, api) = desk(&shop()).await;
    let fits = "a".repeat(144);
    let (answer, on_air) = sent(&world, &api, json!({"text": fits})).await;
    assert_eq!(on_air.chars().count(), 155);
    assert_eq!(answer.get("truncated"), None);
    let long = json!({"text": "a".repeat(145)});
    assert_eq!(refused(&api, 422, long.clone()).await, "text_too_long");
    // Without the signature there is room for it.
    let unsigned = json!({"text": "a".repeat(155), "signature": false});
    sent(&world, &api, unsigned).await;

    let cut = json!({"overflow": "truncate"});
    expect(200, api.patch("/v1/tenant", &cut).await);
    let (answer, on_air) = sent(&world, &api, json!({"text": "a".repeat(300)})).await;
    assert_eq!(answer["truncated"], true);
    assert_eq!(on_air, format!("0325828500\n{fits}"));
    let read = format!("/v1/messages/{}", answer["id"].as_str().unwrap());
    assert_eq!(expect(200, api.get(&read).await)["truncated"], true);
    world.stop().await;
}

/// « Max 160 caractères par SMS (ou 70 caractères Unicode) ».
#[tokio::test(start_paused = true)]
async fn one_part_is_cut_at_160_characters_or_at_70_of_unicode() {
    let (world, api) = desk(&json!({"max_parts": 1, "overflow": "truncate"})).await;
    for (letter, most) in [("a", 160), ("é", 160), ("€", 80), ("ç", 70), ("😀", 35)] {
        let whole = json!({"text": letter.repeat(most)});
        let (answer, on_air) = sent(&world, &api, whole).await;
        assert_eq!(answer.get("truncated"), None, "{letter}");
        assert_eq!(on_air, letter.repeat(most));
        let (answer, on_air) = sent(&world, &api, json!({"text": letter.repeat(most + 1)})).await;
        assert_eq!(answer["truncated"], true, "{letter}");
        assert_eq!((&answer["parts"], on_air), (&json!(1), letter.repeat(most)));
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn four_lines_can_be_used() {
    let (world, api) = desk(&shop()).await;
    let text = |lines: usize| vec!["ligne"; lines].join("\n");
    let five = json!({"name": "cinq", "text": text(5)});
    let problem = expect(422, api.post("/v1/templates", &five).await);
    assert_eq!(problem["code"], "text_too_many_lines");
    let four = json!({"name": "quatre", "text": text(4)});
    expect(201, api.post("/v1/templates", &four).await);
    let (_, on_air) = sent(&world, &api, json!({"template": "quatre"})).await;
    // The line of the signature is none of them.
    assert_eq!(on_air, format!("0325828500\n{}", text(4)));
    // Neither do values make more of them.
    let open = json!({"name": "ouvert", "text": "Bonjour\n{{ corps }}"});
    expect(201, api.post("/v1/templates", &open).await);
    let body = |lines| json!({"template": "ouvert", "params": {"corps": text(lines)}});
    sent(&world, &api, body(3)).await;
    assert_eq!(refused(&api, 422, body(4)).await, "text_too_many_lines");
    world.stop().await;
}

/// « Limitation des SMS aux textes paramétrés ».
#[tokio::test(start_paused = true)]
async fn only_predefined_texts_are_sent_where_the_shop_says_so() {
    let (world, api) = desk(&shop()).await;
    let restricted = json!({"templates_only": true});
    expect(200, api.patch("/v1/tenant", &restricted).await);
    for (name, category, quick) in [
        ("lunettes-pretes", "Atelier", true),
        ("rendez-vous", "Agenda", false),
    ] {
        let template = json!({
            "name": name, "category": category, "quick": quick,
            "text": "Bonjour {{ civilite }} {{ nom }}, {{ n }} {{ n|plural('paire prête', 'paires prêtes') }}"
        });
        expect(201, api.post("/v1/templates", &template).await);
    }
    let quick = expect(200, api.get("/v1/templates?quick=true").await);
    assert_eq!(quick["data"][0]["name"], "lunettes-pretes");
    assert_eq!(quick["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        quick["data"][0]["variables"],
        json!(["civilite", "n", "nom"])
    );
    let agenda = expect(200, api.get("/v1/templates?category=Agenda").await);
    assert_eq!(agenda["data"][0]["name"], "rendez-vous");

    let free = json!({"text": "Bonjour"});
    assert_eq!(refused(&api, 403, free).await, "template_required");
    let params = json!({"civilite": "Mr", "nom": "AURIL", "n": 2});
    let body = json!({"template": "lunettes-pretes", "params": params});
    let (answer, on_air) = sent(&world, &api, body).await;
    // « ê » is no character of GSM 03.38.
    assert_eq!(on_air, "0325828500\nBonjour Mr AURIL, 2 paires prêtes");
    assert_eq!(answer["template"], "lunettes-pretes");
    assert_eq!(answer["encoding"], "ucs2");
    let missing = json!({"template": "lunettes-pretes", "params": {"nom": "AURIL", "n": 1}});
    assert_eq!(
        refused(&api, 422, missing).await,
        "template_variable_missing"
    );
    world.stop().await;
}

/// « Crédit 4,79 Euros, soit 22 SMS ».
#[tokio::test(start_paused = true)]
async fn four_euros_and_seventy_nine_cents_are_22_sms_and_no_more() {
    let (world, api) = desk(&json!({"credit": {"price": "0.2177"}})).await;
    let paid = json!({"amount": "4.79"});
    expect(
        201,
        api.post("/v1/admin/tenants/default/credit", &paid).await,
    );
    let credit = expect(200, api.get("/v1/credit").await);
    assert_eq!(
        (&credit["amount"], &credit["sms_left"]),
        (&json!("4.79"), &json!(22))
    );
    for left in (0..22).rev() {
        // No customer gets two of them.
        let body = json!({"to": format!("06215584{left:02}"), "text": "Bonjour"});
        expect(202, api.post("/v1/messages", &body).await);
        let credit = expect(200, api.get("/v1/credit").await);
        assert_eq!(credit["sms_left"], left);
    }
    assert_eq!(
        refused(&api, 402, json!({"text": "Bonjour"})).await,
        "insufficient_credit"
    );
    world.stop().await;
}

/// The history of a range of dates, with its letters.
#[tokio::test(start_paused = true)]
async fn the_history_says_v_of_what_was_received() {
    let (world, api) = desk(&shop()).await;
    let (answer, _) = sent(&world, &api, json!({"text": "Bonjour"})).await;
    assert_eq!(answer["letter"], "I");
    until(&world, "2026-10-06T10:00:00Z").await;
    let range = "since=2026-10-05T00:00:00%2B02:00&until=2026-10-06T00:00:00%2B02:00";
    let history = expect(200, api.get(&format!("/v1/messages?{range}")).await);
    let [message] = history["data"].as_array().unwrap().as_slice() else {
        panic!("{history}")
    };
    assert_eq!(
        (&message["letter"], &message["label"]),
        (&json!("V"), &json!("Livré"))
    );
    world.stop().await;
}
