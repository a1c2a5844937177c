//! What two days do to a message: validity, retries, receipts in time, late and never.
//!
//! The engine, the SMPP session and a simulated SMSC run over connections in memory with tokio's
//! time paused, so that 48 hours take milliseconds and every instant is exact.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use relais::domain::message::{Cause, State};
use relais::domain::policy::OnDoubt;
use relais::domain::retry::RetrySchedule;
use relais::domain::status::Status;
use relais::engine::accept::Draft;
use relais::sim::smsc::{MoMessage, Receipts, Rule, ScriptedState, SmscScript};
use support::{START, World, operator, policy};

const NUMBER: &str = "06 12 34 56 78";
const HOUR: Duration = Duration::from_hours(1);

fn no_receipts() -> SmscScript {
    SmscScript {
        receipts: Receipts {
            state: ScriptedState::None,
            ..Receipts::default()
        },
        ..SmscScript::default()
    }
}

/// Answers every message with this status.
fn refusing(status: u32, times: Option<u64>) -> SmscScript {
    SmscScript {
        rules: vec![Rule {
            status: Some(status),
            times,
            ..Rule::default()
        }],
        ..SmscScript::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_and_delivered() {
    let world = World::new(SmscScript::default()).await;
    let id = world
        .send(NUMBER, "Vous avez reçu 3 courriers, l'œuvre de Zoë 😀")
        .await;
    world.until(id, Status::Delivered).await;
    let texts = world.carrier.ledger(|ledger| ledger.texts());
    assert_eq!(
        texts["33612345678"],
        ["Vous avez reçu 3 courriers, l'œuvre de Zoë 😀"]
    );
    let message = world.message(id).await;
    assert!(message.sent_at.is_some() && message.delivered_at.is_some());
    assert_eq!(message.revision, 2, "sent, delivered");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_receipt_it_expires_an_hour_after_48_hours() {
    let world = World::new(no_receipts()).await;
    let id = world.send(NUMBER, "bonjour").await;
    world.until(id, Status::Sent).await;
    world.until(id, Status::Expired).await;
    let message = world.message(id).await;
    assert_eq!(message.expires_at, START + 48 * HOUR);
    assert_eq!(message.updated_at.since(START).as_secs() / 60, 49 * 60);
    assert_eq!(message.reason(), Some(Cause::NoReceipt));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_receipt_after_expiry_corrects_it_to_delivered() {
    let late = Receipts {
        delay_ms: 60 * 3_600_000,
        ..Receipts::default()
    };
    let world = World::new(SmscScript {
        receipts: late,
        ..SmscScript::default()
    })
    .await;
    let id = world.send(NUMBER, "bonjour").await;
    world.until(id, Status::Expired).await;
    world.until(id, Status::Delivered).await;
    assert_eq!(world.clock.now().since(START).as_secs() / 3600, 60);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_no_carrier_it_waits_48_hours_says_why_and_expires() {
    let down = SmscScript {
        refuse_connections: true,
        ..SmscScript::default()
    };
    let world = World::new(down).await;
    let id = world.send(NUMBER, "bonjour").await;
    tokio::time::sleep(47 * HOUR).await;
    let message = world.message(id).await;
    assert_eq!(world.engine.why(&message), Some(("no_channel", None)));
    assert_eq!(
        (message.status(), message.tries),
        (Status::Pending, 0),
        "an outage costs no try"
    );
    world.until(id, Status::Expired).await;
    let message = world.message(id).await;
    assert_eq!(message.updated_at.since(START).as_secs(), 48 * 3600);
    assert_eq!(message.reason(), Some(Cause::ValidityPassed));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_comes_back_after_a_day_gets_what_waited() {
    let down = SmscScript {
        refuse_connections: true,
        ..SmscScript::default()
    };
    let world = World::new(down).await;
    let id = world.send(NUMBER, "bonjour").await;
    tokio::time::sleep(24 * HOUR).await;
    world
        .carrier
        .change_script(|script| script.refuse_connections = false);
    let waited = world.until(id, Status::Delivered).await;
    assert!(
        waited <= Duration::from_secs(16),
        "back in service after {waited:?}"
    );
    // The carrier is given what is left of the validity, so that it stops when we do.
    let validity = world
        .carrier
        .ledger(|ledger| ledger.submitted[0].validity.clone());
    assert!(
        validity.starts_with("00000023") || validity.starts_with("00000100"),
        "{validity}"
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn temporary_refusals_are_retried_exactly_on_the_configured_schedule() {
    let waits = [60_u64, 300, 900, 3600];
    let mut operator = operator();
    operator.retry = RetrySchedule(waits.map(Duration::from_secs).to_vec());
    let world = World::with(refusing(0x08, None), policy(operator), |_| {}).await;
    let id = world.send(NUMBER, "bonjour").await;
    world.until(id, Status::Failed).await;
    assert_eq!(
        world.message(id).await.reason(),
        Some(Cause::AttemptsExhausted)
    );
    let tries = world
        .carrier
        .ledger(|l| l.submitted.iter().map(|s| s.at).collect::<Vec<_>>());
    assert_eq!(tries.len(), waits.len() + 1);
    for (wait, pair) in waits.iter().zip(tries.windows(2)) {
        let waited = pair[1].since(pair[0]).as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        let wait = *wait as f64;
        assert!(
            waited >= wait && waited <= wait * 1.1 + 1.0,
            "{waited} s for {wait} s"
        );
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_is_tried_once() {
    let world = World::new(refusing(0x0B, None)).await;
    let id = world.send(NUMBER, "bonjour").await;
    world.until(id, Status::Failed).await;
    tokio::time::sleep(48 * HOUR).await;
    let reason = world.message(id).await.reason();
    assert_eq!(reason, Some(Cause::NumberInvalid));
    assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn throttling_costs_no_try_and_does_not_snowball() {
    let script = SmscScript {
        rate_limit: Some(20),
        ..SmscScript::default()
    };
    let world = World::new(script).await;
    let mut ids = Vec::new();
    for n in 0..100 {
        ids.push(world.send(&format!("+336000001{n:02}"), "bonjour").await);
    }
    world
        .carrier_until(|ledger| ledger.submitted.iter().any(|s| s.status == Some(0x58)))
        .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let last = world.message(ids[99]).await;
    assert_eq!(
        world.engine.why(&last).map(|(why, _)| why),
        Some("throttled")
    );
    for id in ids {
        world.until(id, Status::Delivered).await;
        assert_eq!(world.message(id).await.tries, 1);
    }
    let submits = world.carrier.ledger(|ledger| ledger.submitted_total);
    assert!(submits <= 300, "{submits} submits for 100 messages");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_submission_is_sent_again_and_says_so() {
    let script = SmscScript {
        rules: vec![Rule {
            suffix: "78".into(),
            unanswered: true,
            receipt: Some(ScriptedState::None),
            ..Rule::default()
        }],
        ..SmscScript::default()
    };
    let world = World::new(script).await;
    let id = world.send(NUMBER, "bonjour").await;
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(
        world.engine.why(&world.message(id).await).unwrap().0,
        "in_doubt"
    );
    world.carrier.change_script(|script| script.rules.clear());
    world.until(id, Status::Delivered).await;
    assert!(world.message(id).await.maybe_duplicate);
    assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 2);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_must_not_be_sent_twice_ends_as_doubtful() {
    let script = SmscScript {
        rules: vec![Rule {
            unanswered: true,
            receipt: Some(ScriptedState::None),
            ..Rule::default()
        }],
        ..SmscScript::default()
    };
    let world = World::new(script).await;
    let draft = Draft {
        to: NUMBER.to_owned(),
        text: "code 1234".to_owned(),
        on_doubt: Some(OnDoubt::Fail),
        ..Draft::default()
    };
    let id = world.submit(draft).await;
    world.until(id, Status::Failed).await;
    assert_eq!(world.message(id).await.reason(), Some(Cause::InDoubt));
    tokio::time::sleep(48 * HOUR).await;
    assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_planned_message_leaves_at_its_time_and_its_validity_starts_then() {
    let world = World::new(SmscScript::default()).await;
    let draft = Draft {
        to: NUMBER.to_owned(),
        text: "rendez-vous demain".to_owned(),
        send_at: Some(START + 72 * HOUR),
        ..Draft::default()
    };
    let id = world.submit(draft).await;
    let message = world.message(id).await;
    assert_eq!(message.expires_at, START + 120 * HOUR);
    assert_eq!(
        world.engine.why(&message),
        Some(("scheduled", Some(START + 72 * HOUR)))
    );
    world.until(id, Status::Delivered).await;
    assert_eq!(world.clock.now().since(START).as_secs(), 72 * 3600);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn parts_go_in_order_and_make_one_status() {
    let text = "Réunion à l'hôtel de ville, salle Zoë 😀. ".repeat(5);
    for reverse_parts in [false, true] {
        let receipts = Receipts {
            reverse_parts,
            duplicate: true,
            enroute_first: true,
            ..Receipts::default()
        };
        let world = World::new(SmscScript {
            receipts,
            ..SmscScript::default()
        })
        .await;
        let id = world.send(NUMBER, &text).await;
        world.until(id, Status::Delivered).await;
        let message = world.message(id).await;
        assert!(message.parts() > 2, "{} parts", message.parts());
        assert_eq!(message.revision, 2, "one change to sent, one to delivered");
        assert_eq!(
            world.carrier.ledger(|ledger| ledger.texts())["33612345678"],
            [text.as_str()]
        );
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_an_account_is_counted_in_parts() {
    let mut rules = policy(operator());
    rules.rates.insert("carrier".into(), 10.into());
    let world = World::with(SmscScript::default(), rules, |_| {}).await;
    let text = "x".repeat(300);
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(world.send(&format!("+336000001{n:02}"), &text).await);
    }
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let last = world.message(ids[49]).await;
    assert_eq!(world.engine.why(&last), Some(("rate", None)));
    for id in ids {
        world.until(id, Status::Delivered).await;
    }
    let took = world.clock.now().since(START).as_secs_f64();
    assert!(
        (9.0..=11.5).contains(&took),
        "100 parts at 10/s took {took} s"
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_what_is_under_way_land_and_sends_nothing_twice() {
    let script = SmscScript {
        response_delay_ms: 2_000,
        ..SmscScript::default()
    };
    let world = World::new(script).await;
    for n in 0..30 {
        world.send(&format!("+336000001{n:02}"), "bonjour").await;
    }
    world
        .carrier
        .wait_for(|ledger| ledger.submitted_total >= 10)
        .await;
    let (engine, carrier) = (world.engine.clone(), world.carrier.clone());
    world.stop().await;
    assert_eq!(engine.under_way(), 0);
    let (submits, unbinds) = carrier.ledger(|ledger| (ledger.submitted_total, ledger.unbinds));
    assert_eq!((submits, unbinds), (10, 1), "one window, then unbind");
}

#[tokio::test(start_paused = true)]
async fn an_urgent_message_overtakes_a_backlog() {
    let mut rules = policy(operator());
    rules.rates.insert("carrier".into(), 1.into());
    let world = World::with(SmscScript::default(), rules, |_| {}).await;
    for n in 0..100 {
        world.send(&format!("+336000001{n:02}"), "bonjour").await;
    }
    let urgent = Draft {
        to: NUMBER.to_owned(),
        text: "alerte".to_owned(),
        priority: Some(3),
        ..Draft::default()
    };
    let id = world.submit(urgent).await;
    let waited = world.until(id, Status::Delivered).await;
    assert!(waited <= Duration::from_secs(5), "{waited:?}");
    assert!(matches!(world.message(id).await.state, State::Final(_)));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_handset_sends_in_parts_becomes_one_message_acknowledged_once_stored() {
    let world = World::new(SmscScript::default()).await;
    let text = "Bonjour, je passerai chercher mon colis demain matin chez Zoë 😀. ".repeat(4);
    for text in ["STOP", text.as_str()] {
        let message = MoMessage {
            from: "33612345678".to_owned(),
            to: "36111".to_owned(),
            text: text.to_owned(),
        };
        world.carrier.inject(&message);
    }
    let parts = relais::pdu::segment::plan(&text).count() as u64;
    world
        .carrier_until(|ledger| ledger.acknowledged_total > parts)
        .await;
    let page = world
        .engine
        .store
        .inbound(&support::tenant(), None, 10)
        .await
        .unwrap();
    let texts: Vec<_> = page
        .items
        .iter()
        .map(|inbound| inbound.text.as_str())
        .collect();
    assert_eq!(texts, [text.as_str(), "STOP"]);
    assert_eq!(page.items[0].from, "+33612345678");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_never_answers_does_not_get_copies_for_ever() {
    let rule = Rule {
        unanswered: true,
        receipt: Some(ScriptedState::None),
        ..Rule::default()
    };
    let mut operator = operator();
    operator.retry = RetrySchedule([60, 300, 900].map(Duration::from_secs).to_vec());
    let script = SmscScript {
        rules: vec![rule],
        ..SmscScript::default()
    };
    let world = World::with(script, policy(operator), |_| {}).await;
    let id = world.send(NUMBER, "bonjour").await;
    world.until(id, Status::Failed).await;
    assert_eq!(world.message(id).await.reason(), Some(Cause::InDoubt));
    let tries: Vec<_> = world
        .carrier
        .ledger(|l| l.submitted.iter().map(|s| s.at).collect());
    let waits: Vec<_> = tries
        .windows(2)
        .map(|pair| pair[1].since(pair[0]).as_secs())
        .collect();
    // The response time-out of 30 s, then 10 s, 40 s, 160 s.
    assert_eq!(waits, [40, 70, 190]);
    world.stop().await;
}
