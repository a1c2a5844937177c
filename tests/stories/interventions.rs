//! Alerts of interventions in an ERP: marketing by the letter of the seed, alerts in office hours.

use relais::domain::id::Tenant;
use relais::domain::tenant::{ClassHours, Consent, KeyTerms, Settings};
use relais::domain::time::Timestamp;
use relais::engine::accept::{By, Draft};
use relais::sim::smsc::{Rule, SmscScript};
use relais::store::ApiKey;
use serde_json::{Value, json};

use super::api::Api;
use super::support::World;
use super::{at, expect, gateway, submitted, until};

/// A gateway whose tenant answers for the consent of its recipients itself.
async fn advertiser(start: &str, rest: &str, settings: Settings) -> (World, Api) {
    let (world, api) = gateway(start, rest, SmscScript::default()).await;
    answering_for_consent(&world, settings).await;
    (world, api)
}

/// Stores these settings of the tenant, which has its recipients' consent elsewhere.
async fn answering_for_consent(world: &World, settings: Settings) {
    let settings = Settings {
        consent: Consent::Caller,
        ..settings
    };
    let tenant: Tenant = Tenant::DEFAULT.into();
    world.engine.put_settings(&tenant, &settings).await.unwrap();
}

fn advert(to: &str) -> Value {
    json!({"to": to, "text": "Vos lunettes a -20 % STOP", "class": "commercial"})
}

/// When the message to a number that ends so came to the carrier.
fn left_at(world: &World, ending: &str) -> Vec<Timestamp> {
    let all = submitted(world).into_iter();
    let mine = all.filter(|(_, to, _)| to.ends_with(ending));
    mine.map(|(at, ..)| at).collect()
}

#[tokio::test(start_paused = true)]
async fn an_advert_of_saturday_evening_leaves_on_monday_morning_and_one_of_the_13_july_on_the_15() {
    for (start, opens) in [
        // A Saturday.
        ("2026-10-10T20:31:00+02:00", "2026-10-12T08:00:00+02:00"),
        // A Tuesday, before the public holiday.
        ("2027-07-13T20:31:00+02:00", "2027-07-15T08:00:00+02:00"),
    ] {
        let (world, api) = advertiser(start, "", Settings::default()).await;
        let preview = expect(
            200,
            api.post("/v1/preview", &advert("06 21 55 84 92")).await,
        );
        assert_eq!(preview["first_send_at"], at(opens).rfc3339());
        let message = expect(
            202,
            api.post("/v1/messages", &advert("06 21 55 84 92")).await,
        );
        assert_eq!(message["why"], "window", "{message}");
        assert_eq!(message["eta"], at(opens).rfc3339());
        // Its 48 hours begin when it may leave.
        let expires_at = at(opens) + std::time::Duration::from_hours(48);
        assert_eq!(message["expires_at"], expires_at.rfc3339());
        // The same text as a service message does not wait.
        let mut service = advert("06 21 55 84 93");
        service["class"] = "transactional".into();
        expect(202, api.post("/v1/messages", &service).await);
        until(&world, opens).await;
        world
            .carrier_until(|ledger| ledger.submitted.len() == 2)
            .await;
        assert_eq!(left_at(&world, "93"), [at(start)]);
        assert_eq!(left_at(&world, "92"), [at(opens)]);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn adverts_keep_the_clock_and_the_calendar_of_each_recipient() {
    // Thursday 10 June, half past three in Paris: the abolition of slavery in Guyane.
    let start = "2027-06-10T15:30:00+02:00";
    let (world, api) = advertiser(start, "", Settings::default()).await;
    let mut expected = Vec::new();
    for (number, opens) in [
        ("+33621558492", start),
        ("0690123456", start),
        ("0694200000", "2027-06-11T08:00:00-03:00"),
        ("0692012345", start),
        // Half past midnight of the next day.
        ("+687751234", "2027-06-11T08:00:00+11:00"),
        // Half past three in the morning.
        ("+68987123456", "2027-06-10T08:00:00-10:00"),
    ] {
        let message = expect(202, api.post("/v1/messages", &advert(number)).await);
        let to = message["to"].as_str().unwrap()[1..].to_owned();
        expected.push((to, at(opens)));
    }
    until(&world, "2027-06-12T00:00:00Z").await;
    for (to, opens) in &expected {
        assert_eq!(left_at(&world, to), [*opens], "{to}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn alsace_keeps_good_friday_where_the_tenant_is_there() {
    for (region, opens) in [
        (Some("FR-67"), "2027-03-27T08:00:00+01:00"),
        (None, "2027-03-26T08:00:00+01:00"),
    ] {
        let settings = Settings {
            region: region.map(str::to_owned),
            ..Settings::default()
        };
        let (world, api) = advertiser("2027-03-25T21:00:00+01:00", "", settings).await;
        let message = expect(202, api.post("/v1/messages", &advert("0621558492")).await);
        assert_eq!(message["eta"], at(opens).rfc3339(), "{region:?}");
        until(&world, "2027-03-29T00:00:00Z").await;
        assert_eq!(left_at(&world, ""), [at(opens)]);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn alerts_leave_from_monday_to_friday_between_eight_and_six() {
    let settings = Settings {
        hours: ClassHours {
            transactional: "office".to_owned(),
            ..ClassHours::default()
        },
        ..Settings::default()
    };
    let (world, api) = advertiser("2026-10-05T07:00:00+02:00", "", settings).await;
    for (ending, send_at, leaves) in [
        // Early on Monday, on Wednesday at noon, on Friday evening, on Sunday.
        (
            "01",
            "2026-10-05T07:30:00+02:00",
            "2026-10-05T08:00:00+02:00",
        ),
        (
            "02",
            "2026-10-07T12:00:00+02:00",
            "2026-10-07T12:00:00+02:00",
        ),
        (
            "03",
            "2026-10-09T18:00:00+02:00",
            "2026-10-12T08:00:00+02:00",
        ),
        (
            "04",
            "2026-10-11T10:00:00+02:00",
            "2026-10-12T08:00:00+02:00",
        ),
        (
            "05",
            "2026-10-12T17:59:59+02:00",
            "2026-10-12T17:59:59+02:00",
        ),
    ] {
        let alert =
            json!({"to": format!("06215584{ending}"), "text": "Intervention", "send_at": send_at});
        let message = expect(202, api.post("/v1/messages", &alert).await);
        assert_eq!(message["send_at"], at(send_at).rfc3339());
        assert_eq!(message["eta"], at(leaves).rfc3339(), "{message}");
        let why = if send_at == leaves {
            "scheduled"
        } else {
            "window"
        };
        assert_eq!(message["why"], why, "{message}");
    }
    until(&world, "2026-10-13T00:00:00+02:00").await;
    let expected = [
        ("01", "2026-10-05T08:00:00+02:00"),
        ("02", "2026-10-07T12:00:00+02:00"),
        ("03", "2026-10-12T08:00:00+02:00"),
        ("04", "2026-10-12T08:00:00+02:00"),
        ("05", "2026-10-12T17:59:59+02:00"),
    ];
    for (ending, leaves) in expected {
        assert_eq!(left_at(&world, ending), [at(leaves)], "{ending}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_may_be_bound_to_fewer_hours_than_its_tenant() {
    let rest = "[hours.mornings]\nopen = [\"08:00-12:00\"]\n";
    let settings = Settings {
        hours: ClassHours {
            transactional: "office".to_owned(),
            ..ClassHours::default()
        },
        ..Settings::default()
    };
    let (world, _api) = advertiser("2026-10-09T14:00:00+02:00", rest, settings).await;
    let draft = Draft {
        to: "0621558492".to_owned(),
        text: "Intervention".to_owned(),
        ..Draft::default()
    };
    for (hours, opens) in [
        (None, "2026-10-09T14:00:00+02:00"),
        (Some("always"), "2026-10-09T14:00:00+02:00"),
        (Some("mornings"), "2026-10-12T08:00:00+02:00"),
    ] {
        let key = ApiKey {
            prefix: "rk_1".to_owned(),
            hash: [0; 32],
            name: "planning".to_owned(),
            tenant: Tenant::DEFAULT.into(),
            scopes: Vec::new(),
            created_at: world.clock.now(),
            revoked_at: None,
            terms: KeyTerms {
                hours: hours.map(str::to_owned),
                ..KeyTerms::default()
            },
        };
        let by = By {
            key: Some(key.into()),
            ..By::default()
        };
        let checked = world
            .engine
            .check_for(draft.clone(), &by, None)
            .await
            .unwrap();
        assert_eq!(checked.due_at, at(opens), "{hours:?}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_carrier_has_left_when_the_evening_comes_waits_for_the_morning() {
    let rest = "[operators.orange]\nprefixes = [\"+336\"]\nrate = \"6/min\"\n";
    let (world, api) = advertiser("2026-10-09T20:29:00+02:00", rest, Settings::default()).await;
    for n in 0..9 {
        expect(
            202,
            api.post("/v1/messages", &advert(&format!("062155840{n}")))
                .await,
        );
    }
    until(&world, "2026-10-10T08:10:00+02:00").await;
    let left = left_at(&world, "");
    assert_eq!(left.len(), 9, "{left:?}");
    let (evening, morning) = (
        at("2026-10-09T20:30:00+02:00"),
        at("2026-10-10T08:00:00+02:00"),
    );
    assert!(
        left.iter().all(|it| *it < evening || *it >= morning),
        "{left:?}"
    );
    let before = left.iter().filter(|it| **it < evening).count();
    assert!((6..=7).contains(&before), "{left:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_temporary_refusal_in_the_evening_is_tried_again_in_the_morning() {
    let mut script = SmscScript::default();
    script.rules.push(Rule {
        status: Some(0x08),
        times: Some(2),
        ..Rule::default()
    });
    let (world, api) = gateway("2026-10-09T20:28:00+02:00", "", script).await;
    answering_for_consent(&world, Settings::default()).await;
    let message = expect(202, api.post("/v1/messages", &advert("0621558492")).await);
    let path = format!("/v1/messages/{}", message["id"].as_str().unwrap());
    // After a minute, and after five more, which are shut ones.
    until(&world, "2026-10-09T20:45:00+02:00").await;
    let waiting = expect(200, api.get(&path).await);
    assert_eq!(waiting["why"], "window", "{waiting}");
    let morning = at("2026-10-10T08:00:00+02:00");
    assert_eq!(waiting["eta"], morning.rfc3339());
    until(&world, "2026-10-10T09:00:00+02:00").await;
    let left = left_at(&world, "92");
    assert_eq!((left.len(), left[2]), (3, morning), "{left:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn hours_that_refuse_say_when_they_open_and_hours_that_never_open_say_so() {
    let rest = "[hours.desk]\nopen = [\"mon-fri 09:00-17:00\"]\noutside = \"reject\"\n\
                [hours.weekend]\nopen = [\"sat,sun 00:00-24:00\"]\n\
                [operators.guyane]\nprefixes = [\"+594\"]\nhours = \"weekend\"\n";
    let named = |transactional: &str| Settings {
        hours: ClassHours {
            transactional: transactional.to_owned(),
            ..ClassHours::default()
        },
        ..Settings::default()
    };
    let (world, api) = advertiser("2026-10-09T17:00:00+02:00", rest, named("desk")).await;
    let alert = |to: &str| json!({"to": to, "text": "Intervention"});
    let refused = expect(422, api.post("/v1/messages", &alert("0621558492")).await);
    let error = &refused["errors"][0];
    assert_eq!(error["code"], "outside_hours", "{refused}");
    let said = error["detail"].as_str().unwrap();
    assert!(
        said.contains("2026-10-12T09:00:00+02:00 (Europe/Paris)"),
        "{said}"
    );
    let planned =
        json!({"to": "0621558492", "text": "Intervention", "send_at": "2026-10-12T09:00:00+02:00"});
    expect(202, api.post("/v1/messages", &planned).await);
    // The same instant is in the middle of the day in Guyane; but there nothing leaves before Saturday.
    let refused = expect(422, api.post("/v1/messages", &alert("+594694200000")).await);
    assert_eq!(
        refused["errors"][0]["code"], "hours_never_open",
        "{refused}"
    );

    answering_for_consent(&world, named("of-old")).await;
    let refused = expect(422, api.post("/v1/messages", &alert("0621558492")).await);
    assert_eq!(refused["errors"][0]["code"], "hours_unknown", "{refused}");
    // An operator's hours bind by themselves.
    answering_for_consent(&world, named("always")).await;
    let message = expect(202, api.post("/v1/messages", &alert("+594694200000")).await);
    assert_eq!(message["eta"], at("2026-10-10T00:00:00-03:00").rfc3339());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn alerts_go_by_the_first_intervention_and_are_moved_changed_sent_at_once_and_deleted() {
    let settings = Settings {
        hours: ClassHours {
            transactional: "office".to_owned(),
            ..ClassHours::default()
        },
        ..Settings::default()
    };
    // Monday, nine in the morning.
    let (world, api) = advertiser("2026-10-05T09:00:00+02:00", "", settings).await;
    let alert = |to: &str, anchors: &[&str]| {
        json!({
            "to": to, "text": "Intervention dans quelques heures", "reference": "FI-2026-07",
            "anchors": anchors, "offset": "-3h",
        })
    };
    let (thursday, wednesday) = ("2026-10-08T14:00:00+02:00", "2026-10-07T10:00:00+02:00");
    let mut paths = Vec::new();
    for (to, anchors, send_at, leaves) in [
        // Seven in the morning of the first date: the alert leaves when the office opens.
        (
            "0621558401",
            &[thursday, wednesday][..],
            "2026-10-07T07:00:00+02:00",
            "2026-10-07T08:00:00+02:00",
        ),
        (
            "0621558402",
            &[thursday],
            "2026-10-08T11:00:00+02:00",
            "2026-10-08T11:00:00+02:00",
        ),
        (
            "0621558403",
            &[thursday],
            "2026-10-08T11:00:00+02:00",
            "2026-10-08T11:00:00+02:00",
        ),
        (
            "0621558404",
            &[thursday],
            "2026-10-08T11:00:00+02:00",
            "2026-10-08T11:00:00+02:00",
        ),
    ] {
        let message = expect(202, api.post("/v1/messages", &alert(to, anchors)).await);
        assert_eq!(message["send_at"], at(send_at).rfc3339(), "{message}");
        assert_eq!(message["eta"], at(leaves).rfc3339(), "{message}");
        paths.push(format!("/v1/messages/{}", message["id"].as_str().unwrap()));
    }
    // The table of the intervention's alerts.
    let table = expect(200, api.get("/v1/messages?reference=FI-2026-07").await);
    let states: Vec<_> = table["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["state"])
        .collect();
    assert_eq!(states, vec!["scheduled"; 4]);

    // Moved to a Friday evening: Monday morning.
    let moved = json!({"send_at": "2026-10-09T18:30:00+02:00"});
    let moved = expect(200, api.patch(&paths[1], &moved).await);
    let monday = "2026-10-12T08:00:00+02:00";
    assert_eq!(
        (&moved["why"], &moved["eta"]),
        (&json!("window"), &json!(at(monday).rfc3339()))
    );
    // Worded anew, sent at once, deleted.
    let worded = json!({"text": "Intervention avancee"});
    expect(200, api.patch(&paths[0], &worded).await);
    expect(
        200,
        api.post(&format!("{}/send-now", paths[2]), &json!({}))
            .await,
    );
    world
        .carrier_until(|ledger| ledger.submitted.len() == 1)
        .await;
    assert_eq!(left_at(&world, "03"), [at("2026-10-05T09:00:00+02:00")]);
    let deleted = expect(200, api.delete(&paths[3]).await);
    assert_eq!(deleted["status"], "cancelled");
    // What has left cannot be changed any more, nor sent again.
    let late = expect(409, api.patch(&paths[2], &worded).await);
    assert_eq!(late["code"], "too_late", "{late}");
    expect(
        409,
        api.post(&format!("{}/send-now", paths[2]), &json!({}))
            .await,
    );

    // At once, by night: when the office opens.
    until(&world, "2026-10-09T20:00:00+02:00").await;
    let asked = expect(
        200,
        api.post(&format!("{}/send-now", paths[1]), &json!({}))
            .await,
    );
    assert_eq!(
        (&asked["why"], &asked["eta"]),
        (&json!("window"), &json!(at(monday).rfc3339()))
    );
    until(&world, "2026-10-13T00:00:00+02:00").await;
    assert_eq!(left_at(&world, "01"), [at("2026-10-07T08:00:00+02:00")]);
    let first = submitted(&world)
        .into_iter()
        .find(|(_, to, _)| to.ends_with("01"));
    assert_eq!(first.unwrap().2, "Intervention avancee");
    assert_eq!(left_at(&world, "02"), [at(monday)]);
    assert_eq!(left_at(&world, "04"), []);
    assert_eq!(submitted(&world).len(), 3);
    world.stop().await;
}
