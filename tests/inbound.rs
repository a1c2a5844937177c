//! What handsets send: long texts are put together whatever way they come, and a STOP is in force
//! from the commit that acknowledges it.
//!
//! The engine, the SMPP session and simulated SMSCs run in virtual time. What a carrier was answered
//! and what it was given to send is its ledger; what was stored is asked of the store.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use relais::domain::id::Tenant;
use relais::domain::inbound::Inbound;
use relais::domain::message::Cause;
use relais::domain::msisdn::Msisdn;
use relais::domain::optout::Source;
use relais::domain::status::Status;
use relais::engine::accept::Draft;
use relais::sim::smsc::{
    Inbound as Mo, InboundAlphabet, Receipts, Rule, ScriptedState, SmscHandle, SmscScript, Split,
};
use relais::store::StoreError;
use support::{Line, START, World, operator, policy, tenant};

const NUMBER: &str = "+33612345678";
const OTHER: &str = "+33687654321";
const HOUR: Duration = Duration::from_hours(1);

/// Three parts in any of the ways to divide it, in UCS-2.
fn long_text() -> String {
    let line = "Réponse de Zoë à la mairie : l'eau est coupée 😀 depuis hier. ";
    line.repeat(3)
}

fn wrote(text: &str) -> Mo {
    Mo {
        text: text.to_owned(),
        ..Mo::default()
    }
}

/// Has a handset write, and waits until the carrier has its acknowledgements.
async fn hears(carrier: &SmscHandle, message: &Mo, deliveries: u64) {
    // Ids of one millisecond are in no order.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let before = carrier.ledger(|ledger| ledger.acknowledged_total);
    carrier.inject_as(message);
    let limit = HOUR * 24;
    let told = carrier.wait_for(|ledger| ledger.acknowledged_total == before + deliveries);
    let told = tokio::time::timeout(limit, told).await;
    assert!(told.is_ok(), "not acknowledged");
}

async fn hear(world: &World, message: &Mo, deliveries: u64) {
    hears(&world.carrier, message, deliveries).await;
}

/// What a tenant has received, oldest first.
async fn received_by(world: &World, tenant: &str) -> Vec<Inbound> {
    let store = &world.engine.store;
    let page = store.inbound(&Tenant::from(tenant), None, 1000).await;
    let mut items = page.unwrap().items;
    items.reverse();
    items
}

async fn texts(world: &World) -> Vec<String> {
    let received = received_by(world, "default").await;
    received.into_iter().map(|one| one.text).collect()
}

fn number(text: &str) -> Msisdn {
    Msisdn::from_e164_digits(text.trim_start_matches('+')).unwrap()
}

async fn is_opted_out(world: &World, tenant: &str, to: &str) -> bool {
    let store = &world.engine.store;
    match store.optout(&Tenant::from(tenant), number(to)).await {
        Ok(_) => true,
        Err(StoreError::NotFound) => false,
        Err(error) => panic!("{error}"),
    }
}

fn planned(to: &str) -> Draft {
    Draft {
        to: to.to_owned(),
        text: "Rappel".to_owned(),
        send_at: Some(START + HOUR * 24),
        ..Draft::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_fails_what_waits_in_the_commit_that_acknowledges_it() {
    let world = World::new(SmscScript::default()).await;
    let waiting = world.submit(planned(NUMBER)).await;
    let others = world.submit(planned(OTHER)).await;
    hear(&world, &wrote("STOP"), 1).await;
    let message = world.message(waiting).await;
    assert_eq!(message.reason(), Some(Cause::OptedOut));
    assert_eq!(message.status(), Status::Failed);
    let later = world.send(NUMBER, "Bonjour").await;
    let later = world.message(later).await;
    assert_eq!(later.reason(), Some(Cause::OptedOut), "failed at once");
    world.until(others, Status::Delivered).await;
    tokio::time::sleep(HOUR * 48).await;
    assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stop_in_gsm_7_in_ucs_2_and_in_part_2_of_a_long_message_opts_out() {
    let in_part_2 = format!("{}STOP    ", "a".repeat(153));
    for (message, deliveries, wording) in [
        (wrote(" Stop. "), 1, " Stop. "),
        (
            Mo {
                alphabet: InboundAlphabet::Ucs2,
                ..wrote("« Arrêt »")
            },
            1,
            "« Arrêt »",
        ),
        (wrote(&in_part_2), 2, "STOP    "),
        (
            Mo {
                split: Split::Payload,
                ..wrote("stop!!!")
            },
            1,
            "stop!!!",
        ),
        (
            Mo {
                data_sm: true,
                split: Split::Payload,
                ..wrote("ARRET")
            },
            1,
            "ARRET",
        ),
    ] {
        let world = World::new(SmscScript::default()).await;
        let waiting = world.submit(planned(NUMBER)).await;
        hear(&world, &message, deliveries).await;
        assert!(is_opted_out(&world, "default", NUMBER).await, "{message:?}");
        let optout = world.engine.store.optout(&tenant(), number(NUMBER)).await;
        match optout.unwrap().source {
            Source::Keyword { wording: told, .. } => assert_eq!(told, wording),
            Source::Api | Source::Import { .. } => panic!("nobody asked"),
        }
        let waiting = world.message(waiting).await;
        assert_eq!(waiting.reason(), Some(Cause::OptedOut));
        let received = received_by(&world, "default").await;
        assert_eq!(received.len(), 1);
        assert!(received[0].keyword.is_some());
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_a_part_counts_although_the_others_never_come() {
    let world = World::new(SmscScript::default()).await;
    let mo = Mo {
        order: vec![2],
        ..wrote(&format!("{}STOP    ", "a".repeat(153)))
    };
    hear(&world, &mo, 1).await;
    assert!(is_opted_out(&world, "default", NUMBER).await);
    assert!(texts(&world).await.is_empty(), "the first part may come");
    tokio::time::sleep(HOUR * 2).await;
    assert_eq!(texts(&world).await, ["[…]STOP    "]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sentence_with_stop_in_it_opts_nobody_out() {
    let world = World::new(SmscScript::default()).await;
    for text in ["Stop à quelle heure ?", "Je suis à l'arrêt de bus", "OUI"] {
        hear(&world, &wrote(text), 1).await;
    }
    // "STOP" is where one part ends and the next begins, and no text of its own.
    let split = format!("{}STOP{}", "a".repeat(151), "b".repeat(9));
    hear(&world, &wrote(&split), 2).await;
    assert!(!is_opted_out(&world, "default", NUMBER).await);
    let id = world.send(NUMBER, "Bonjour").await;
    world.until(id, Status::Delivered).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_leaving_is_not_recalled() {
    let script = SmscScript {
        response_delay_ms: 20_000,
        ..SmscScript::default()
    };
    let world = World::new(script).await;
    let id = world.send(NUMBER, "Bonjour").await;
    world
        .carrier_until(|ledger| ledger.submitted_total == 1)
        .await;
    hear(&world, &wrote("STOP"), 1).await;
    assert_eq!(world.message(id).await.status(), Status::Pending);
    world.until(id, Status::Delivered).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_back_after_the_stop_fails_at_once() {
    for unanswered in [false, true] {
        let rule = Rule {
            status: (!unanswered).then_some(0x08),
            unanswered,
            response_delay_ms: Some(20_000),
            receipt: Some(ScriptedState::None),
            ..Rule::default()
        };
        let script = SmscScript {
            rules: vec![rule],
            ..SmscScript::default()
        };
        let world = World::new(script).await;
        let id = world.send(NUMBER, "Bonjour").await;
        world
            .carrier_until(|ledger| ledger.submitted_total == 1)
            .await;
        hear(&world, &wrote("STOP"), 1).await;
        let waited = world.until(id, Status::Failed).await;
        assert!(waited < Duration::from_secs(120), "{waited:?}");
        let message = world.message(id).await;
        assert_eq!(message.reason(), Some(Cause::OptedOut));
        tokio::time::sleep(HOUR * 48).await;
        assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 1);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn start_restores_and_says_so() {
    let world = World::new(SmscScript::default()).await;
    hear(&world, &wrote("STOP"), 1).await;
    let stopped = world.send(NUMBER, "un").await;
    hear(&world, &wrote("Start !"), 1).await;
    assert!(!is_opted_out(&world, "default", NUMBER).await);
    let id = world.send(NUMBER, "deux").await;
    world.until(id, Status::Delivered).await;
    let stopped = world.message(stopped).await;
    assert_eq!(stopped.reason(), Some(Cause::OptedOut), "it is over");
    let words: Vec<_> = received_by(&world, "default")
        .await
        .into_iter()
        .map(|inbound| inbound.keyword.unwrap().word)
        .collect();
    assert_eq!(words, ["STOP", "START"]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_account_s_messages_and_stops_are_its_tenant_s_alone() {
    let lines = vec![
        Line::new("carrier", SmscScript::default()),
        Line::new("second", SmscScript::default()),
    ];
    let mut rules = policy(operator());
    rules.inbound.tenants.insert("second".into(), "shop".into());
    let world = World::over(lines, rules).await;
    let waiting = world.submit(planned(NUMBER)).await;
    hears(&world.carriers[1], &wrote("STOP"), 1).await;
    assert!(is_opted_out(&world, "shop", NUMBER).await);
    assert!(!is_opted_out(&world, "default", NUMBER).await);
    assert_eq!(received_by(&world, "shop").await.len(), 1);
    assert!(received_by(&world, "default").await.is_empty());
    world.until(waiting, Status::Delivered).await;
    hears(&world.carriers[0], &wrote("Bonjour"), 1).await;
    assert_eq!(texts(&world).await, ["Bonjour"]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_text_is_put_together_whatever_way_it_is_divided() {
    for split in [Split::Udh, Split::Udh16, Split::Sar, Split::Payload] {
        for order in [vec![], vec![3, 1, 2], vec![2, 2, 3, 1], vec![1, 3, 1, 3, 2]] {
            if split == Split::Payload && !order.is_empty() {
                continue;
            }
            let world = World::new(SmscScript::default()).await;
            let parts = match split {
                Split::Payload => 1,
                _ => order.len().max(3),
            };
            let mo = Mo {
                split,
                order: order.clone(),
                ..wrote(&long_text())
            };
            hear(&world, &mo, u64::try_from(parts).unwrap()).await;
            let received = received_by(&world, "default").await;
            assert_eq!(received.len(), 1, "{split:?} {order:?}");
            assert_eq!(received[0].text, long_text(), "{split:?} {order:?}");
            assert!(!received[0].incomplete && received[0].part.is_none());
            assert_eq!(received[0].from, NUMBER);
            world.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn parts_of_several_senders_under_one_reference_are_not_mixed() {
    let world = World::new(SmscScript::default()).await;
    let numbers = ["33612345678", "33687654321", "33611111111"];
    for (delay, from) in (0..).zip(numbers) {
        for split in [Split::Udh, Split::Udh16, Split::Sar] {
            world.carrier.inject_as(&Mo {
                from: from.to_owned(),
                split,
                reference: Some(7),
                part_gap_ms: 1000,
                after_ms: delay * 300,
                ..wrote(&format!("{from} {split:?} {}", long_text()))
            });
        }
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    let mut found = texts(&world).await;
    found.sort();
    let mut expected: Vec<_> = numbers
        .iter()
        .flat_map(|from| {
            ["Udh", "Udh16", "Sar"].map(|split| format!("{from} {split} {}", long_text()))
        })
        .collect();
    expected.sort();
    assert_eq!(found, expected);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reference_used_again_is_another_text_whether_the_first_was_whole_or_not() {
    let world = World::new(SmscScript::default()).await;
    let under_7 = |text: &str, order: &[u8]| Mo {
        reference: Some(7),
        order: order.to_vec(),
        part_gap_ms: 5,
        ..wrote(text)
    };
    let (first, second) = ("a".repeat(300), "b".repeat(300));
    hear(&world, &under_7(&first, &[]), 2).await;
    hear(&world, &under_7(&second, &[]), 2).await;
    assert_eq!(texts(&world).await, [first.clone(), second.clone()]);
    // Only the first part of a third one, and then all of a fourth.
    hear(&world, &under_7(&"c".repeat(300), &[1]), 1).await;
    hear(&world, &under_7(&"d".repeat(300), &[]), 2).await;
    let texts = texts(&world).await;
    assert_eq!(texts[2], format!("{}[…]", "c".repeat(153)));
    assert_eq!(texts[3], "d".repeat(300));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_text_whose_parts_stay_away_is_told_with_its_gap_after_the_time_out() {
    let world = World::new(SmscScript::default()).await;
    let mut heard = world.engine.listen_to_handsets();
    let text = format!("{}{}", "a".repeat(153), "b".repeat(100));
    let part = |index: u8| Mo {
        reference: Some(9),
        order: vec![index],
        ..wrote(&text)
    };
    hear(&world, &part(2), 1).await;
    let asked = world.clock.now();
    let told = heard.recv().await.unwrap();
    let waited = world.clock.now().since(asked);
    assert!(waited >= HOUR - Duration::from_secs(1), "{waited:?}");
    assert!(waited < HOUR + Duration::from_secs(61), "{waited:?}");
    assert_eq!(told.text, format!("[…]{}", "b".repeat(100)));
    assert!(told.incomplete);
    // The one that comes later still is not lost either.
    hear(&world, &part(1), 1).await;
    let late = heard.recv().await.unwrap();
    assert_eq!(late.text, format!("{}[…]", "a".repeat(153)));
    let received = received_by(&world, "default").await;
    assert_eq!(received.len(), 2);
    assert_eq!(received[1], *late, "what is told last is the newest");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_part_repeated_after_the_text_was_whole_is_no_text_of_its_own() {
    let world = World::new(SmscScript::default()).await;
    let mo = Mo {
        order: vec![1, 2, 2, 1],
        part_gap_ms: 20_000,
        reference: Some(9),
        ..wrote(&"a".repeat(300))
    };
    hear(&world, &mo, 4).await;
    tokio::time::sleep(HOUR * 30).await;
    assert_eq!(texts(&world).await, ["a".repeat(300)]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_who_begins_texts_without_end_fills_nothing_and_loses_nothing() {
    let world = World::new(SmscScript::default()).await;
    for reference in 0..100_u16 {
        let mo = Mo {
            reference: Some(reference),
            split: Split::Udh16,
            order: vec![1],
            ..wrote(&format!("{reference:03}{}", "a".repeat(200)))
        };
        hear(&world, &mo, 1).await;
    }
    assert_eq!(texts(&world).await.len(), 100 - 32, "32 are waited for");
    tokio::time::sleep(HOUR * 2).await;
    let mut found = texts(&world).await;
    found.sort();
    assert_eq!(found.len(), 100);
    for (reference, text) in found.iter().enumerate() {
        assert!(text.starts_with(&format!("{reference:03}a")), "{text}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_stops_at_once_are_obeyed_while_a_carrier_throttles() {
    // A hundred handsets write at once while messages to them wait for a carrier that throttles.
    let script = SmscScript {
        rate_limit: Some(5),
        receipts: Receipts {
            state: ScriptedState::None,
            ..Receipts::default()
        },
        ..SmscScript::default()
    };
    let world = World::new(script).await;
    let mut ids = Vec::new();
    for n in 0..100 {
        ids.push(world.send(&format!("+336000001{n:02}"), "Bonjour").await);
    }
    let before = world.carrier.ledger(|ledger| ledger.acknowledged_total);
    for n in 0..100 {
        world.carrier.inject_as(&Mo {
            from: format!("336000001{n:02}"),
            ..wrote("STOP")
        });
    }
    world
        .carrier_until(|ledger| ledger.acknowledged_total == before + 100)
        .await;
    tokio::time::sleep(HOUR).await;
    let taken = world.carrier.ledger(|ledger| ledger.taken().count());
    let mut failed = 0;
    for id in ids {
        let message = world.message(id).await;
        match message.status() {
            Status::Sent => {}
            _ => {
                assert_eq!(message.reason(), Some(Cause::OptedOut));
                failed += 1;
            }
        }
    }
    assert_eq!(
        taken + failed,
        100,
        "each was sent or failed, and none waits"
    );
    assert!(failed > 50, "{failed}");
    world.stop().await;
}
