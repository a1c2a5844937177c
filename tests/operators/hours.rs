//! Sending hours: open at the right instant on both sides of both changes of the clocks, in each
//! operator's own zone, for every message; and what is said of what waits.

use std::path::Path;

use relais::domain::status::Status;
use relais::domain::time::Timestamp;
use relais::engine::accept::Draft;
use relais::sim::smsc::SmscScript;
use serde_json::json;

use super::{Api, HOUR, SECOND, at, configured, rules, seen, taking, to, why, world};

const DAYTIME: &str = "[operators.orange]\nprefixes = [\"+33607\"]\nhours = [\"08:00-20:00\"]\n";

#[tokio::test(start_paused = true)]
async fn hours_open_at_the_same_time_of_the_clock_on_both_sides_of_both_changes() {
    for (evening, mornings) in [
        (
            "2027-03-26T20:30:00+01:00",
            [
                "2027-03-27T08:00:00+01:00",
                "2027-03-28T08:00:00+02:00",
                "2027-03-29T08:00:00+02:00",
            ],
        ),
        (
            "2027-10-29T20:30:00+02:00",
            [
                "2027-10-30T08:00:00+02:00",
                "2027-10-31T08:00:00+01:00",
                "2027-11-01T08:00:00+01:00",
            ],
        ),
    ] {
        let world = world(evening, rules(&["a"], DAYTIME), vec![("a", taking())]).await;
        for (day, morning) in mornings.iter().enumerate() {
            let number = format!("3360700000{day}");
            let id = world.send(&format!("+{number}"), "bonjour").await;
            let morning = at(morning);
            assert_eq!(why(&world, id).await, ("window", Some(morning)));
            world.until(id, Status::Delivered).await;
            assert_eq!(seen(&world, 0, &number), [morning]);
            // Until the evening, when they are shut again.
            tokio::time::sleep(12 * HOUR + HOUR / 2).await;
        }
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn overseas_has_mornings_of_its_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let config = configured(
        &["a"],
        "include = [\"operators/fr.toml\"]\n[operators.default]\nhours = [\"mon-sat 08:00-20:00\"]\n",
        &folder,
    );
    // Midnight of Monday to Tuesday in Paris; in Noumea it is morning already.
    let world = world(
        "2027-01-12T00:00:00+01:00",
        config.policy,
        vec![("a", taking())],
    )
    .await;
    let mut sent = Vec::new();
    for (number, opens) in [
        ("687751234", "2027-01-12T10:00:00+11:00"),
        ("681821234", "2027-01-12T11:00:00+12:00"),
        ("68987123456", "2027-01-11T13:00:00-10:00"),
        ("596696200000", "2027-01-11T19:00:00-04:00"),
        ("33607123456", "2027-01-12T08:00:00+01:00"),
        ("262692012345", "2027-01-12T08:00:00+04:00"),
        ("262639021234", "2027-01-12T08:00:00+03:00"),
        ("508551234", "2027-01-12T08:00:00-03:00"),
        ("594694200000", "2027-01-12T08:00:00-03:00"),
    ] {
        sent.push((
            number,
            world.send(&format!("+{number}"), "bonjour").await,
            at(opens),
        ));
    }
    let late = world.clock.now() + 1 * HOUR;
    for (number, id, opens) in &sent {
        world.until(*id, Status::Delivered).await;
        let left = seen(&world, 0, number)[0];
        assert!(
            left.since(*opens) < SECOND && left >= *opens,
            "{number} left at {left:?}"
        );
    }
    // Guadeloupe's evening ended while Paris slept.
    assert!(late < world.clock.now());
    let shut = world.send("+590690350000", "bonjour").await;
    world.until(shut, Status::Delivered).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_jumps_the_hours_and_what_is_begun_is_finished() {
    let slow = SmscScript {
        response_delay_ms: 2_000,
        ..SmscScript::default()
    };
    let world = world(
        "2027-01-12T19:59:59+01:00",
        rules(&["a"], DAYTIME),
        vec![("a", slow)],
    )
    .await;
    let long = world.send("+33607000001", &"x".repeat(400)).await;
    tokio::time::sleep(SECOND).await;
    let urgent = Draft {
        priority: Some(3),
        ..to("+33607000002")
    };
    let urgent = world.submit(urgent).await;
    let morning = at("2027-01-13T08:00:00+01:00");
    assert_eq!(why(&world, urgent).await, ("window", Some(morning)));
    world.until(long, Status::Delivered).await;
    let parts = seen(&world, 0, "33607000001");
    assert_eq!(parts.len(), 3);
    assert!(parts[2] > at("2027-01-12T20:00:00+01:00"), "{parts:?}");
    world.until(urgent, Status::Delivered).await;
    assert_eq!(seen(&world, 0, "33607000002"), [morning]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_again_or_in_doubt_waits_for_the_hours_too() {
    let mut script = super::refusing(0x08);
    script.rules[0].suffix = "1".into();
    script.rules[0].times = Some(1);
    let mut unanswered = super::unanswering().rules.remove(0);
    unanswered.suffix = "2".into();
    script.rules.push(unanswered);
    let rest = format!("{DAYTIME}retry = [\"1h\"]\n");
    let world = world(
        "2027-01-12T19:59:45+01:00",
        rules(&["a"], &rest),
        vec![("a", script)],
    )
    .await;
    let refused = world.send("+33607000001", "bonjour").await;
    let doubtful = world.send("+33607000002", "bonjour").await;
    tokio::time::sleep(10 * SECOND).await;
    let morning = at("2027-01-13T08:00:00+01:00");
    let (reason, eta) = why(&world, refused).await;
    assert_eq!(
        (reason, eta),
        ("backoff", Some(morning)),
        "its turn comes in shut hours"
    );
    tokio::time::sleep(3 * HOUR).await;
    assert_eq!(why(&world, doubtful).await, ("window", Some(morning)));
    world.carriers[0].change_script(|script| script.rules.clear());
    for (id, number) in [(refused, "33607000001"), (doubtful, "33607000002")] {
        world.until(id, Status::Delivered).await;
        let tries: Vec<Timestamp> = seen(&world, 0, number);
        assert_eq!((tries.len(), tries[1]), (2, morning), "{number}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn validity_goes_on_counting_in_shut_hours_and_a_preview_warns_of_it() {
    let world = world(
        "2027-01-12T21:00:00+01:00",
        rules(&["a"], DAYTIME),
        vec![("a", taking())],
    )
    .await;
    let api = Api::of(&world.engine).await;
    let draft = json!({"to": "+33607000001", "text": "bonjour", "validity": "2h"});
    let (status, preview) = api.post("/v1/preview", &draft).await;
    assert_eq!(status, 200, "{preview}");
    assert_eq!(preview["first_send_at"], "2027-01-13T07:00:00.000Z");
    assert_eq!(preview["expires_at"], "2027-01-12T22:00:00.000Z");
    let codes: Vec<_> = preview["warnings"].as_array().unwrap().iter().collect();
    let codes: Vec<_> = codes.iter().map(|w| w["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["window", "expires_first"]);
    let said = preview["warnings"][0]["detail"].as_str().unwrap();
    assert!(
        said.contains("mon-sun 08:00-20:00 (Europe/Paris)"),
        "{said}"
    );

    let (status, message) = api.post("/v1/messages", &draft).await;
    assert_eq!(status, 202, "{message}");
    assert_eq!(
        (&message["why"], &message["eta"]),
        (&json!("window"), &json!("2027-01-13T07:00:00.000Z"))
    );
    tokio::time::sleep(HOUR / 2).await;
    let (_, metrics) = api.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    for line in [
        "relais_queue_messages{operator=\"orange\",why=\"window\"} 1",
        // It could not have left: nobody is to be woken for it.
        "relais_queue_oldest_seconds{operator=\"orange\"} 0",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{metrics}");
    }
    let path = format!("/v1/messages/{}", message["id"].as_str().unwrap());
    tokio::time::sleep(3 * HOUR).await;
    let (_, message) = api.get(&path).await;
    assert_eq!(message["status"], "expired", "{message}");
    assert_eq!(message["updated_at"], "2027-01-12T22:00:00.000Z");
    assert_eq!(seen(&world, 0, ""), []);

    // Valid until after the opening: one warning, and it leaves.
    let draft = json!({"to": "+33607000001", "text": "bonjour", "validity": "12h"});
    let (_, preview) = api.post("/v1/preview", &draft).await;
    assert_eq!(
        preview["warnings"].as_array().unwrap().len(),
        1,
        "{preview}"
    );
    api.stop();
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn hours_that_are_changed_count_at_once_for_what_waits() {
    let world = world(
        "2027-01-12T21:00:00+01:00",
        rules(&["a"], DAYTIME),
        vec![("a", taking())],
    )
    .await;
    let id = world.send("+33607000001", "bonjour").await;
    tokio::time::sleep(HOUR).await;
    let open = rules(&["a"], "[operators.orange]\nprefixes = [\"+33607\"]\n");
    world.policy.send(open.into()).unwrap();
    let took = world.until(id, Status::Delivered).await;
    assert!(took < SECOND, "{took:?}");
    world.stop().await;
}
