//! That every receipt finds its message whatever its form, that what the carrier wrote is kept, and
//! that a refusal is taken for what it is.
//!
//! The engine, the SMPP session and a simulated SMSC run in virtual time; the messages and what the
//! interface shows of them are what is judged.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use relais::domain::message::{Cause, State, WaitReason};
use relais::domain::receipt::IdWriting;
use relais::domain::refusal::{RefusalClass, RefusalRules};
use relais::domain::status::{Language, Status};
use relais::sim::smsc::{
    IdForm, Ids, MoMessage, ReceiptForm, Receipts, Rule, ScriptedState, SmscScript,
};
use serde_json::{Value, json};
use support::{World, operator, policy};

const NUMBER: &str = "06 12 34 56 78";

/// What the interface shows of a message's history, without its instants.
async fn events(world: &World, id: relais::domain::id::MessageId) -> Vec<Value> {
    let message = world.message(id).await;
    let shown = serde_json::to_value(world.engine.view(&message, Language::En)).unwrap();
    let mut events = shown["events"].as_array().unwrap().clone();
    for event in &mut events {
        event.as_object_mut().unwrap().remove("at");
    }
    events
}

#[tokio::test(start_paused = true)]
async fn every_form_of_the_rehearsal_resolves_on_one_account_without_a_setting() {
    let script = include_str!("../config/sim/rehearsal-receipts.toml");
    let script: SmscScript = toml::from_str(script).unwrap();
    let world = World::with(script, policy(operator()), |account| account.binds = 2).await;
    let mut sent = Vec::new();
    // Several of each, so that ids of many lengths meet in both number bases.
    for round in 0..8 {
        for form in 1..=13 {
            let to = format!("06 12 3{round} 56 {form:02}");
            let text = "é".repeat(if form == 12 { 200 } else { 5 });
            sent.push((form, world.send(&to, &text).await));
        }
    }
    for (form, id) in sent {
        let expected = if form == 13 {
            Status::Failed
        } else {
            Status::Delivered
        };
        world.until(id, expected).await;
    }
    assert_eq!(world.engine.store.gauges(world.clock.now()).orphans, 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn how_a_carrier_writes_its_ids_is_learnt_and_shown() {
    for (submitted, reported, width, learnt) in [
        (IdForm::Decimal, IdForm::Decimal, 0, IdWriting::Same),
        (IdForm::Decimal, IdForm::Decimal, 10, IdWriting::Folded),
        (IdForm::Hex, IdForm::HexUpper, 0, IdWriting::Folded),
        (IdForm::Hex, IdForm::Decimal, 0, IdWriting::Decimal),
        (IdForm::Decimal, IdForm::HexUpper, 0, IdWriting::Hexadecimal),
    ] {
        let script = SmscScript {
            ids: Ids {
                start: 0xABCDE,
                submitted,
                reported,
                reported_width: width,
                ..Ids::default()
            },
            ..SmscScript::default()
        };
        let world = World::new(script).await;
        for _ in 0..5 {
            let id = world.send(NUMBER, "Bonjour").await;
            world.until(id, Status::Delivered).await;
        }
        let view = world.engine.channel_views().remove(0);
        assert_eq!(view.receipt_ids, Some(learnt));
        let shown = serde_json::to_value(world.engine.channels_json()).unwrap();
        assert_eq!(shown[0]["receipt_ids"], learnt.word());
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_nothing_marks_as_one_is_told_from_a_message_by_its_id() {
    let script = SmscScript {
        receipts: Receipts {
            esm_class: Some(0),
            form: ReceiptForm::Text,
            delay_ms: 1000,
            ..Receipts::default()
        },
        ..SmscScript::default()
    };
    let world = World::new(script).await;
    let id = world.send(NUMBER, "Bonjour").await;
    world.until(id, Status::Delivered).await;
    let tenant = support::tenant();
    let inbound = || world.engine.store.inbound(&tenant, None, 10);
    assert_eq!(inbound().await.unwrap().items.len(), 0);
    // The same words about an id that is not ours are what somebody wrote.
    let text = "id:987654 sub:001 dlvrd:001 done date:2611221200 stat:DELIVRD err:000";
    world.carrier.inject(&MoMessage {
        from: "33612345678".to_owned(),
        to: "36111".to_owned(),
        text: text.to_owned(),
    });
    world
        .carrier_until(|ledger| ledger.acknowledged_total == 2)
        .await;
    let items = inbound().await.unwrap().items;
    assert_eq!((items.len(), items[0].text.as_str()), (1, text));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_code_and_word_of_the_carrier_is_shown_and_never_the_quoted_text() {
    let script = SmscScript {
        ids: Ids {
            start: 0x5FA8,
            submitted: IdForm::HexUpper,
            reported: IdForm::Decimal,
            ..Ids::default()
        },
        receipts: Receipts {
            state: ScriptedState::Undeliverable,
            error: "0x1A".to_owned(),
            network_error: Some((3, 27)),
            enroute_first: true,
            delay_ms: 1000,
            template: "id:{id} stat:{stat_lower} err:{err} text:{text}".to_owned(),
            ..Receipts::default()
        },
        ..SmscScript::default()
    };
    let world = World::new(script).await;
    let id = world.send(NUMBER, "secret words").await;
    world.until(id, Status::Failed).await;
    let shown = events(&world, id).await;
    assert!(!format!("{shown:?}").contains("secret"), "{shown:?}");
    assert_eq!(
        shown,
        [
            json!({ "event": "accepted" }),
            json!({ "event": "submitted", "detail": "carrier#1", "part": 1, "carrier_id": "5FA8" }),
            json!({ "event": "receipt", "detail": "enroute", "code": "000", "part": 1,
                "carrier_id": "24488", "stat": "enroute" }),
            json!({ "event": "receipt", "detail": "undeliverable", "code": "0x1A", "part": 1,
                "carrier_id": "24488", "stat": "undeliv",
                "network_error": { "type": 3, "code": 27 } }),
        ]
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_number_that_a_network_does_not_know_is_told_from_one_that_is_away() {
    for (form, error, network, expected) in [
        (ReceiptForm::Tlv, "000", Some((3, 1)), Cause::NumberInvalid),
        (
            ReceiptForm::Both,
            "001",
            Some((3, 27)),
            Cause::Undeliverable,
        ),
        (ReceiptForm::Text, "001", None, Cause::Undeliverable),
        (ReceiptForm::Text, "0A1", None, Cause::NumberInvalid),
    ] {
        let script = SmscScript {
            receipts: Receipts {
                state: ScriptedState::Undeliverable,
                form,
                error: error.to_owned(),
                network_error: network,
                ..Receipts::default()
            },
            ..SmscScript::default()
        };
        let mut rules = policy(operator());
        let codes = vec!["0a1".to_owned()];
        rules.invalid_errors.insert("carrier".into(), codes);
        let world = World::with(script, rules, |_| {}).await;
        let id = world.send(NUMBER, "Bonjour").await;
        world.until(id, Status::Failed).await;
        assert_eq!(world.message(id).await.reason(), Some(expected), "{error}");
        let tenant = "default".into();
        let known = world.engine.store.invalid_numbers(&tenant, None, None, 9);
        let is_known = known.await.unwrap().items.len() == 1;
        assert_eq!(is_known, expected == Cause::NumberInvalid);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_part_shows_the_carriers_id_of_it() {
    let world = World::new(SmscScript::default()).await;
    let id = world.send(NUMBER, &"x".repeat(400)).await;
    world.until(id, Status::Delivered).await;
    let shown = events(&world, id).await;
    let of = |event: &str| -> Vec<(Value, Value)> {
        let lines = shown.iter().filter(|line| line["event"] == event);
        lines
            .map(|line| (line["part"].clone(), line["carrier_id"].clone()))
            .collect()
    };
    let expected = [1, 2, 3].map(|part| (json!(part), json!(part.to_string())));
    assert_eq!(of("submitted"), expected);
    let mut receipts = of("receipt");
    receipts.sort_by_key(|(part, _)| part.as_u64());
    assert_eq!(receipts, expected);
    world.stop().await;
}

/// Refuses with `status`, so many times.
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
async fn an_account_without_credit_keeps_its_messages_their_tries_and_says_so() {
    let world = World::new(refusing(0x401, Some(4))).await;
    let id = world.send(NUMBER, "Bonjour").await;
    world
        .carrier_until(|ledger| ledger.submitted_total == 1)
        .await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let message = world.message(id).await;
    let State::Waiting { why, .. } = &message.state else {
        panic!("{:?}", message.state)
    };
    let code = "status 0x00000401 (credit used up)".to_owned();
    assert_eq!(*why, WaitReason::AccountRefused(code.clone()));
    assert_eq!(message.tries, 0);
    world.until(id, Status::Delivered).await;
    assert_eq!(world.message(id).await.tries, 1);
    let shown = events(&world, id).await;
    let refused = json!({ "event": "refused", "code": code });
    let lines = shown.iter().filter(|line| **line == refused);
    assert_eq!(lines.count(), 1, "{shown:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_account_may_say_what_its_carrier_means_by_a_status() {
    let fatal = [
        (0x45, RefusalClass::Permanent),
        (0x4AA, RefusalClass::Permanent),
    ];
    for status in [0x45, 0x4AA] {
        let world = World::with(refusing(status, None), policy(operator()), |account| {
            account.refusals = RefusalRules::with(fatal.into());
        })
        .await;
        let id = world.send(NUMBER, "Bonjour").await;
        world.until(id, Status::Failed).await;
        assert_eq!(world.message(id).await.reason(), Some(Cause::Rejected));
        tokio::time::sleep(Duration::from_hours(72)).await;
        assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 1);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_nobody_knows_is_tried_again_with_growing_waits_and_said_to_be_unknown() {
    let world = World::new(refusing(0x4AA, Some(3))).await;
    let id = world.send(NUMBER, "Bonjour").await;
    world.until(id, Status::Delivered).await;
    let times: Vec<_> = world
        .carrier
        .ledger(|ledger| ledger.submitted.iter().map(|entry| entry.at).collect());
    let waits: Vec<_> = times
        .windows(2)
        .map(|pair| pair[1].since(pair[0]))
        .collect();
    assert_eq!(waits.len(), 3);
    assert!(waits[0] >= Duration::from_millis(300), "{waits:?}");
    assert!(waits.is_sorted(), "{waits:?}");
    let shown = events(&world, id).await;
    assert_eq!(shown[1]["code"], "unknown status 0x000004aa");
    world.stop().await;
}
