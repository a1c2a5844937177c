//! Much at once, over modems of all kinds, each with its habits.

use std::collections::{BTreeMap, HashMap};

use relais::domain::message::{Cause, Message, What};
use relais::domain::sim;
use relais::domain::status::Status;
use relais::sim::modem::{Chatter, ModemScript, Personality, Reports, Rule};

use crate::gateway::{Rack, attempt};

/// Routings without `<ds>` 1, so that reports are stored and announced.
const STORED: &str = "(0-2),(0-3),(0,2),(0,2),(0,1)";
const STORED_SIEMENS: &str = "(0-3),(0-3),(0,2,3),(0,2),(1)";

/// One modem of each kind. Each refuses every 20th message for now, with a code of its own, talks in
/// the middle of its answers, and has its TP-MR come round after 16 messages.
fn four() -> Vec<(&'static str, ModemScript)> {
    let fate = |suffix: &str, status| Rule {
        suffix: suffix.to_owned(),
        status: Some(status),
        ..Rule::default()
    };
    let common = |personality, fail_cms| ModemScript {
        personality,
        latency_ms: Some(1),
        prompt_ms: Some(1),
        send_ms: Some(10),
        rest_ms: Some(0),
        reference_start: 240,
        fail_every: Some(20),
        fail_cms,
        chatter: Chatter {
            every_ms: 40,
            in_answers_every: 2,
            ..Chatter::default()
        },
        rules: vec![fate("7", 0x46), fate("8", 0x41)],
        ..ModemScript::default()
    };
    let national = || Some("33".to_owned());
    vec![
        (
            "huawei",
            ModemScript {
                reports: Reports {
                    delay_ms: 20,
                    jitter_ms: 300,
                    duplicate: true,
                    national: national(),
                    ..Reports::default()
                },
                ..common(Personality::Huawei, 500)
            },
        ),
        (
            "quectel",
            ModemScript {
                cnmi: Some(STORED.to_owned()),
                reports: Reports {
                    jitter_ms: 300,
                    first: Some(0x20),
                    ..Reports::default()
                },
                ..common(Personality::Quectel, 42)
            },
        ),
        (
            "siemens",
            ModemScript {
                cnmi: Some(STORED_SIEMENS.to_owned()),
                rest_ms: Some(5),
                reports: Reports {
                    jitter_ms: 300,
                    duplicate: true,
                    national: national(),
                    ..Reports::default()
                },
                ..common(Personality::Siemens, 38)
            },
        ),
        (
            "simcom",
            ModemScript {
                reports: Reports {
                    before_answer: true,
                    ..Reports::default()
                },
                ..common(Personality::Simcom, 41)
            },
        ),
    ]
}

/// A text that is in no other message, nor is any part of it.
fn text(n: usize) -> String {
    let own = format!("{n:03} ");
    own.repeat(if n.is_multiple_of(10) { 50 } else { 5 })
}

/// Five messages to each of a hundred numbers.
fn recipient(n: usize) -> String {
    format!("+336120000{:02}", n % 100)
}

#[tokio::test]
async fn each_of_500_messages_is_sent_once_and_has_its_own_report_over_four_kinds_of_modems() {
    let rack = Rack::new(four());
    let gateway = rack
        .gateway_with(rack.policy(), |config| {
            if config.account.as_str() == "siemens" {
                config.rest = std::time::Duration::from_millis(10);
            }
        })
        .await;
    gateway.all_up().await;
    let mut ids = Vec::new();
    for n in 0..500 {
        ids.push(gateway.send(&recipient(n), &text(n)).await);
    }
    let mut messages = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        let over = |message: &Message| message.status().is_final();
        let message = gateway.until(*id, "over", over).await;
        let (status, reason) = match n % 10 {
            7 => (Status::Expired, Some(Cause::CarrierExpired)),
            8 => (Status::Failed, Some(Cause::Undeliverable)),
            _ => (Status::Delivered, None),
        };
        assert_eq!(message.status(), status, "{n}: {message:#?}");
        assert_eq!(message.reason(), reason, "{n}");
        assert!(!message.maybe_duplicate, "{n}: nothing was in doubt");
        messages.push(message);
    }
    let sent = rack.sent();
    let sim_of = |name| (name, gateway.word(name).sim.unwrap());
    let sims: HashMap<&str, String> = rack.modems.keys().copied().map(sim_of).collect();
    let mut parts = 0;
    for message in &messages {
        let to = message.to.to_string();
        for (index, slice) in message.current_plan().slices(&message.text).enumerate() {
            parts += 1;
            let copies = &sent[&(to.clone(), slice.to_owned())];
            let [(modem, mr)] = &copies[..] else {
                panic!("{slice:?} left {} times: {copies:?}", copies.len());
            };
            // What the message knows itself by is what the modem sent it under.
            let reference = sim::reference(&sims[modem.as_str()], message.to, *mr);
            assert_eq!(attempt(message).segments[index].references, [&*reference]);
            let reports = receipts(message);
            let of_part = &reports[&index];
            assert!(!of_part.is_empty(), "{message:#?}");
            assert!(
                of_part.iter().all(|named| *named == reference),
                "{reference} has another's report: {of_part:?}"
            );
        }
    }
    assert_eq!(sent.values().map(Vec::len).sum::<usize>(), parts);
    for (name, modem) in &rack.modems {
        modem.ledger(|ledger| {
            assert!(ledger.sent_total > 16, "{name}: TP-MR came round");
            assert_eq!(ledger.boots, 1, "{name}");
            assert_eq!(ledger.too_early, 0, "{name}");
        });
    }
    gateway.stop().await;
    rack.unplug_all().await;
}

/// The references that the receipts of each part named.
fn receipts(message: &Message) -> BTreeMap<usize, Vec<&str>> {
    let mut receipts: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for happening in &message.events {
        if let What::Receipt {
            part, reference, ..
        } = &happening.what
        {
            let index = usize::from(*part) - 1;
            receipts.entry(index).or_default().push(reference);
        }
    }
    receipts
}
