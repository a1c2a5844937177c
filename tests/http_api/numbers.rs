//! What people may ask about their own number.

use relais::domain::guard::GuardLimits;
use relais::domain::policy::Policy;
use serde_json::{Value, json};

use crate::optouts::wrote;
use crate::{Gateway, gateway, hello};

const NUMBER: &str = "/v1/admin/numbers/+33612345678";

/// What is known of the number, line by line.
async fn known(gateway: &Gateway) -> Vec<Value> {
    let answer = gateway.admin.get(NUMBER).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/jsonl");
    let text = answer.text();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let end = lines.pop().unwrap();
    assert_eq!(end, json!({"kind": "end", "records": lines.len()}));
    lines
}

#[tokio::test]
async fn a_number_is_disclosed_and_erased_whatever_the_tenant_and_stays_opted_out() {
    let gateway = gateway().await;
    gateway.policy.send_modify(|policy| {
        // So many messages to one number look like abuse otherwise.
        let mut changed: Policy = (**policy).clone();
        changed.guard.limits = GuardLimits::default();
        *policy = changed.into();
    });
    let shop = gateway.client("shop", &["send", "read"]).await;
    let mut ids = Vec::new();
    for n in 0..100 {
        let body = json!({"to": "06 12 34 56 78", "text": format!("Bonjour {n}"), "reference": format!("dossier-{n}")});
        let taken = shop.post("/v1/messages", &body).await;
        ids.push(taken.json["id"].as_str().unwrap().to_owned());
    }
    gateway.admin.post("/v1/messages", &hello()).await;
    let other = json!({"to": "+33612345679", "text": "Autre"});
    let other = shop.post("/v1/messages", &other).await.json;
    wrote(&gateway, 1, "+33612345678", "Merci").await;
    wrote(&gateway, 2, "+33612345679", "Autre").await;
    for id in &ids[..40] {
        assert_eq!(shop.delete(&format!("/v1/messages/{id}")).await.status, 200);
    }
    let lines = known(&gateway).await;
    let kinds = |kind| lines.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!(
        (kinds("message"), kinds("inbound"), lines.len()),
        (101, 1, 102)
    );
    assert!(
        lines
            .iter()
            .any(|line| line["record"]["text"] == "Bonjour 7")
    );

    let refused = gateway.admin.delete(NUMBER).await;
    assert_eq!(refused.problem(409), "messages_under_way");
    assert_eq!(known(&gateway).await.len(), 102, "nothing was erased");
    wrote(&gateway, 3, "+33612345678", "STOP").await;
    let erased = gateway.admin.delete(&format!("{NUMBER}?cancel=true")).await;
    assert_eq!(erased.status, 200, "{}", erased.text());
    // STOP has ended what waited for its tenant alone.
    assert_eq!(erased.json["cancelled"], 60);
    assert_eq!(
        (&erased.json["erased"], &erased.json["under_way"]),
        (&json!(103), &json!(0))
    );
    let left = known(&gateway).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["kind"], "optout");
    let mut pseudonyms = std::collections::BTreeSet::new();
    for id in &ids {
        let found = shop.get(&format!("/v1/messages/{id}")).await;
        assert_eq!(found.json["text"], Value::Null);
        assert!(found.json["erased_at"].is_string() && found.json["reference"].is_null());
        assert!(!found.text().contains("12345678"));
        pseudonyms.insert(found.json["to"].as_str().unwrap().to_owned());
    }
    let inbound = gateway.admin.get("/v1/inbound").await;
    let from = |n: usize| inbound.json["data"][n]["from"].as_str().unwrap();
    assert_eq!(from(1), "+33612345679");
    pseudonyms.insert(from(2).to_owned());
    assert_eq!(pseudonyms.len(), 1, "one number, one pseudonym");
    assert!(pseudonyms.first().unwrap().starts_with('~'));
    let path = format!("/v1/messages/{}", other["id"].as_str().unwrap());
    assert_eq!(shop.get(&path).await.json["text"], "Autre");
    assert_eq!(gateway.admin.delete(NUMBER).await.json["erased"], 0);
}

#[tokio::test]
async fn numbers_are_for_administrators_and_must_be_numbers() {
    let gateway = gateway().await;
    let shop = gateway.client("shop", &["send", "read"]).await;
    for method in ["GET", "DELETE"] {
        let answer = shop.send(method, NUMBER, &[], b"").await;
        assert_eq!(answer.problem(403), "forbidden_scope");
        let answer = gateway
            .admin
            .send(method, "/v1/admin/numbers/36111", &[], b"")
            .await;
        assert_eq!(answer.problem(422), "number_invalid");
    }
    let answer = gateway.admin.delete(&format!("{NUMBER}?cancel=yes")).await;
    assert_eq!(answer.errors(), [("cancel", "invalid_parameter")]);
}
