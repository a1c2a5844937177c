//! A field-service firm's notifications: interventions are planned and planned again, and of all that only
//! the last plan is told, or only the first notice, or what fits into one SMS.

use std::time::Duration;

use relais::domain::id::Tenant;
use relais::domain::tenant::{Overflow, Settings};
use relais::sim::smsc::SmscScript;
use serde_json::{Value, json};

use super::api::Api;
use super::support::World;
use super::{at, expect, gateway, submitted, until};

const START: &str = "2026-10-05T10:00:00+02:00";

/// A reminder three hours before an intervention, which is of one plan however often it is planned.
fn reminder(planned: &[&str]) -> Value {
    json!({
        "to": "06 21 55 84 92",
        "text": format!("Notre technicien passe le {}.", planned[0]),
        "send_at": {"anchors": planned, "offset": "-3h"},
        "schedule_key": "intervention-4711-reminder",
        "reference": "intervention-4711"
    })
}

async fn left(world: &World, count: usize) {
    world
        .carrier_until(|ledger| ledger.submitted.len() >= count)
        .await;
}

fn texts(world: &World) -> Vec<String> {
    submitted(world)
        .into_iter()
        .map(|(.., text)| text)
        .collect()
}

async fn post(api: &Api, body: &Value) -> Value {
    expect(202, api.post("/v1/messages", body).await)
}

#[tokio::test(start_paused = true)]
async fn of_five_plans_of_an_intervention_the_last_one_takes_effect() {
    let (world, api) = gateway(START, "", SmscScript::default()).await;
    let plans = [
        "2026-10-07T09:00:00+02:00",
        "2026-10-06T16:00:00+02:00",
        "2026-10-09T09:00:00+02:00",
        "2026-10-06T09:00:00+02:00",
        "2026-10-08T14:00:00+02:00",
    ];
    let mut posted: Vec<Value> = Vec::new();
    for plan in plans {
        let message = post(&api, &reminder(&[plan])).await;
        // It names the one in whose place it stands.
        let before = posted.last().map_or(Value::Null, |it| it["id"].clone());
        assert_eq!(message["replaces"], before);
        posted.push(message);
    }
    let list = api.get("/v1/messages?reference=intervention-4711").await;
    let list = expect(200, list);
    let statuses: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["status"])
        .collect();
    assert_eq!(
        statuses,
        [
            "pending",
            "cancelled",
            "cancelled",
            "cancelled",
            "cancelled"
        ]
    );
    for (old, new) in posted.iter().zip(&posted[1..]) {
        let path = format!("/v1/messages/{}", old["id"].as_str().unwrap());
        let old = expect(200, api.get(&path).await);
        assert_eq!(
            (&old["replaced_by"], &old["letter"]),
            (&new["id"], &json!("E"))
        );
    }
    left(&world, 1).await;
    until(&world, "2026-10-10T00:00:00+02:00").await;
    let told = submitted(&world);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, at("2026-10-08T11:00:00+02:00"));
    assert_eq!(
        told[0].2,
        "Notre technicien passe le 2026-10-08T14:00:00+02:00."
    );
    // It has left: a new plan comes too late for it, and is not taken at all.
    let late = reminder(&["2026-10-12T09:00:00+02:00"]);
    let late = api.post("/v1/messages", &late).await;
    assert_eq!(expect(409, late)["code"], "too_late");
    let list = api
        .get("/v1/messages?schedule_key=intervention-4711-reminder")
        .await;
    assert_eq!(expect(200, list)["data"].as_array().unwrap().len(), 5);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_several_dates_the_first_is_the_reference_before_or_after_it() {
    let (world, api) = gateway(START, "", SmscScript::default()).await;
    let dates = [
        "2026-10-09T09:00:00+02:00",
        "2026-10-07T09:00:00+02:00",
        "2026-10-08T09:00:00Z",
    ];
    let message = post(&api, &reminder(&dates)).await;
    assert_eq!(
        message["send_at"],
        at("2026-10-07T06:00:00+02:00").rfc3339()
    );
    // Thirty minutes after it was finished.
    let after = json!({
        "to": "06 21 55 84 93", "text": "Merci", "anchors": ["2026-10-05T09:45:00+02:00"], "offset": "30m"
    });
    let message = post(&api, &after).await;
    assert_eq!(
        message["send_at"],
        at("2026-10-05T10:15:00+02:00").rfc3339()
    );
    for (change, pointer, code) in [
        (json!({"offset": "10m"}), "/offset", "offset_before_now"),
        (json!({"anchors": null}), "/anchors", "anchor_missing"),
        (
            json!({"anchors": ["2026-10-05T09:45:00"]}),
            "/anchors",
            "time_invalid",
        ),
        (
            json!({"send_at": "2026-10-05T12:00:00Z"}),
            "/send_at",
            "send_at_and_anchors",
        ),
        (json!({"offset": "400d"}), "/send_at", "send_at_too_far"),
    ] {
        let mut body = after.clone();
        let body_map = body.as_object_mut().unwrap();
        body_map.extend(change.as_object().unwrap().clone());
        let refused = expect(422, api.post("/v1/messages", &body).await);
        assert_eq!(
            (&refused["errors"][0]["pointer"], &refused["code"]),
            (&json!(pointer), &json!(code))
        );
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn sent_once_is_sent_once_over_three_replans() {
    let (world, api) = gateway(START, "", SmscScript::default()).await;
    let notice = |planned: &str| {
        json!({
            "to": "06 21 55 84 92", "text": format!("Intervention le {planned}."),
            "once_key": "intervention-4711-planned"
        })
    };
    let first = post(&api, &notice("6 octobre")).await;
    assert!(first.get("duplicate").is_none());
    left(&world, 1).await;
    for planned in ["7 octobre", "8 octobre", "9 octobre"] {
        let again = expect(200, api.post("/v1/messages", &notice(planned)).await);
        assert_eq!(
            (&again["id"], &again["duplicate"]),
            (&first["id"], &json!(true))
        );
        assert_eq!(again["text"], "Intervention le 6 octobre.");
    }
    until(&world, "2026-10-10T00:00:00+02:00").await;
    assert_eq!(texts(&world), ["Intervention le 6 octobre."]);
    // Nothing else was stored.
    let list = expect(200, api.get("/v1/messages").await);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_a_delay_the_last_plan_is_told_and_only_once() {
    let (world, api) = gateway(START, "", SmscScript::default()).await;
    let reminder = |planned: &str| {
        let mut body = reminder(&[planned]);
        body["once_key"] = "intervention-4711-reminder".into();
        body
    };
    // Planned anew before the delay is over: the last plan counts.
    for plan in [
        "2026-10-06T09:00:00+02:00",
        "2026-10-05T16:00:00+02:00",
        "2026-10-05T18:00:00+02:00",
    ] {
        post(&api, &reminder(plan)).await;
    }
    left(&world, 1).await;
    assert_eq!(submitted(&world)[0].0, at("2026-10-05T15:00:00+02:00"));
    // And afterwards: it has been told.
    for plan in [
        "2026-10-07T09:00:00+02:00",
        "2026-10-08T09:00:00+02:00",
        "2026-10-09T09:00:00+02:00",
    ] {
        let again = expect(200, api.post("/v1/messages", &reminder(plan)).await);
        assert_eq!(again["duplicate"], true);
    }
    until(&world, "2026-10-10T00:00:00+02:00").await;
    assert_eq!(submitted(&world).len(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_list_shows_the_last_hundred() {
    let (world, api) = gateway(START, "", SmscScript::default()).await;
    for n in 0..105 {
        let body = json!({"to": "06 21 55 84 92", "text": "x", "reference": format!("{n}")});
        post(&api, &body).await;
        // Ids tell the order of creation to the millisecond.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let list = expect(200, api.get("/v1/messages").await);
    let shown: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["reference"].as_str().unwrap().to_owned())
        .collect();
    let last: Vec<_> = (5..105).rev().map(|n: u32| n.to_string()).collect();
    assert_eq!(shown, last);
    assert!(list["next_cursor"].is_string());
    let first = expect(200, api.get("/v1/messages?order=asc&limit=3").await);
    let shown: Vec<_> = first["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["reference"])
        .collect();
    assert_eq!(shown, ["0", "1", "2"]);
    let (status, sheet) = api.get("/v1/messages?format=csv").await;
    assert_eq!(status, 200);
    assert_eq!(sheet.as_str().unwrap().lines().count(), 101);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_text_is_cut_at_160_characters_or_at_70_of_unicode() {
    let (world, api) = gateway(START, "", SmscScript::default()).await;
    let settings = Settings {
        max_parts: Some(1),
        overflow: Overflow::Truncate,
        ..Settings::default()
    };
    let tenant: Tenant = Tenant::DEFAULT.into();
    world.engine.put_settings(&tenant, &settings).await.unwrap();
    // The seed says that é, ù and & force Unicode: they are in the GSM alphabet, and ê is not.
    for (text, kept, cut) in [
        ("é".repeat(160), 160, false),
        ("ù&é".repeat(60), 160, true),
        ("ê".repeat(70), 70, false),
        ("ê".repeat(71), 70, true),
        // A character of two septets, and one of two code units, are not halved.
        ("a".repeat(159) + "€", 159, true),
        ("ê".repeat(69) + "🔧", 69, true),
    ] {
        let body = json!({"to": "06 21 55 84 92", "text": text});
        let message = post(&api, &body).await;
        let expected: String = text.chars().take(kept).collect();
        assert_eq!(message["text"], expected);
        assert_eq!(message["parts"], 1);
        assert_eq!(
            message.get("truncated") == Some(&json!(true)),
            cut,
            "{message}"
        );
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_changed_sent_now_and_withdrawn_and_what_is_gone_is_not() {
    let (world, api) = gateway(START, "", SmscScript::default()).await;
    let mut ids = Vec::new();
    for (n, plan) in ["a", "b", "c"].iter().zip(["2026-10-06T09:00:00+02:00"; 3]) {
        let mut body = reminder(&[plan]);
        body["schedule_key"] = (*n).into();
        ids.push(post(&api, &body).await["id"].as_str().unwrap().to_owned());
    }
    let path = |n: usize| format!("/v1/messages/{}", ids[n]);
    // Another time and another text; the validity begins with the time.
    let change =
        json!({"text": "Demain, 10 h.", "anchors": ["2026-10-06T10:00:00+02:00"], "offset": "-2h"});
    let changed = expect(200, api.patch(&path(0), &change).await);
    assert_eq!(
        changed["send_at"],
        at("2026-10-06T08:00:00+02:00").rfc3339()
    );
    assert_eq!(
        changed["expires_at"],
        at("2026-10-08T08:00:00+02:00").rfc3339()
    );
    assert_eq!(changed["text"], "Demain, 10 h.");
    assert_eq!(changed["schedule_key"], "a");
    assert_eq!(changed["events"][1]["event"], "changed");
    let now = expect(
        200,
        api.post(&format!("{}/send-now", path(1)), &json!({})).await,
    );
    assert_eq!(now["expires_at"], at("2026-10-07T10:00:00+02:00").rfc3339());
    left(&world, 1).await;
    assert_eq!(submitted(&world)[0].0, at(START));
    expect(200, api.delete(&path(2)).await);
    for n in [1, 2] {
        let change = api.patch(&path(n), &change).await;
        assert_eq!(expect(409, change)["code"], "too_late");
        let now = api.post(&format!("{}/send-now", path(n)), &json!({})).await;
        assert_eq!(expect(409, now)["code"], "too_late");
    }
    left(&world, 2).await;
    let last = &submitted(&world)[1];
    assert_eq!(
        (last.0, last.2.as_str()),
        (at("2026-10-06T08:00:00+02:00"), "Demain, 10 h.")
    );
    until(&world, "2026-10-10T00:00:00+02:00").await;
    assert_eq!(submitted(&world).len(), 2);
    world.stop().await;
}
