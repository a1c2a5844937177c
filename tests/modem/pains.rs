//! What people have suffered from gateways over modems, one test each: shown here not to happen.

use std::time::Duration;

use relais::domain::message::{Cause, Message};
use relais::domain::policy::ModemRules;
use relais::domain::status::Status;
use relais::sim::modem::{Fault, FaultKind, Ledger, ModemScript, Moment, Rule};

use crate::gateway::{NUMBER, Rack, parts, seen, until};

fn quick() -> ModemScript {
    ModemScript {
        latency_ms: Some(2),
        ..ModemScript::default()
    }
}

#[tokio::test]
async fn pain_17_a_modem_that_does_not_answer_loses_no_message() {
    // Elsewhere: no answer after the last octet was an error, and the message was dropped though it
    // had left, or sent again though it had arrived.
    // Here: nobody decides until there is a report; without one it leaves again, and says so.
    let silent = Rule {
        suffix: "78".to_owned(),
        unanswered: true,
        ..Rule::default()
    };
    let lost = Fault {
        at_submit: Some(2),
        moment: Moment::Submitted,
        kind: FaultKind::Hang,
        for_ms: Some(200),
        ..Fault::default()
    };
    let rack = Rack::one(ModemScript {
        rules: vec![silent],
        faults: vec![lost],
        ..quick()
    });
    let gateway = rack
        .gateway_with(rack.policy(), |config| {
            config.submit_timeout = Duration::from_millis(500);
        })
        .await;
    let arrived = gateway.send(NUMBER, "Bonjour").await;
    let message = gateway.becomes(arrived, Status::Delivered).await;
    assert!(!message.maybe_duplicate, "its report says that it arrived");
    assert_eq!(rack.copies("Bonjour"), 1);
    let vanished = gateway.send("+33687654321", "Bonsoir").await;
    let message = gateway.becomes(vanished, Status::Delivered).await;
    assert!(
        message.maybe_duplicate,
        "nothing said that it did not leave"
    );
    assert_eq!(rack.copies("Bonsoir"), 1);
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn pain_18_a_long_message_that_fails_half_way_goes_on_where_it_stopped() {
    // Elsewhere: the parts were written again as new ones, or all of them were sent once more.
    // Here: each refused part is tried again, and no other; all carry one reference.
    let rack = Rack::one(ModemScript {
        fail_every: Some(2),
        fail_cms: 41,
        ..quick()
    });
    let gateway = rack.gateway().await;
    let text = (0..150).map(|n| format!("{n:03} ")).collect::<String>();
    let id = gateway.send(NUMBER, &text).await;
    gateway.becomes(id, Status::Delivered).await;
    rack.first().ledger(|ledger| {
        assert_eq!(parts(ledger), [1, 2, 3, 4]);
        assert_eq!(ledger.submitted.len(), 7, "three were refused");
        assert_eq!(ledger.texts()[NUMBER], [text.as_str()]);
    });
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn pain_19_a_modem_that_has_vanished_is_brought_back_by_its_power_switch() {
    // Elsewhere: a stick fell off the bus, and somebody had to pull it out and plug it in again.
    // Here: the port is opened again for ever, and in between the operator's switch is used.
    let rack = Rack::one(quick());
    let switch = rack.folder.path().join("switched");
    let command = format!("echo \"$1\" > {}", switch.display());
    let gateway = rack
        .gateway_with(rack.policy(), |config| {
            config.power_command = vec![
                "/bin/sh".to_owned(),
                "-c".to_owned(),
                command.clone(),
                "switch".to_owned(),
            ];
        })
        .await;
    let first = gateway.send(NUMBER, "Un").await;
    gateway.becomes(first, Status::Delivered).await;
    rack.first().unplug();
    let second = gateway.send(NUMBER, "Deux").await;
    until("the power is switched", async || switch.exists()).await;
    rack.first().replug();
    let message = gateway.becomes(second, Status::Delivered).await;
    assert!(!message.maybe_duplicate, "it had not left");
    assert_eq!(rack.copies("Deux"), 1);
    let device = std::fs::read_to_string(&switch).unwrap();
    assert_eq!(device.trim(), rack.first().link().display().to_string());
    let recoveries = gateway.word("a").recoveries;
    assert!(recoveries.power >= 1, "{recoveries:?}");
    assert!(recoveries.reopened >= 1, "{recoveries:?}");
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn pain_25_a_sim_at_its_limit_hands_over_to_the_next_and_fails_nothing() {
    // Elsewhere: the operator's limit was met, and what came after it failed, or the SIM was blocked.
    // Here: the SIM stops before its limit, another one takes over, and what has none waits.
    let rack = Rack::new(vec![("a", quick()), ("b", quick())]);
    let mut policy = rack.routed(vec![vec!["a".into()], vec!["b".into()]]);
    let limited = ModemRules {
        daily_limit: Some(3),
        recipients_30d: None,
        ..policy.modems[&"a".into()]
    };
    policy.modems.insert("a".into(), limited);
    policy.modems.insert("b".into(), limited);
    let gateway = rack.gateway_with(policy, |_| {}).await;
    gateway.all_up().await;
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.push(gateway.send(NUMBER, &format!("message {n}")).await);
    }
    let delivered = async || {
        let mut count = 0;
        for id in &ids {
            count += usize::from(gateway.message(*id).await.status() == Status::Delivered);
        }
        count
    };
    until("six of them are delivered", async || delivered().await == 6).await;
    for name in ["a", "b"] {
        let three = |ledger: &Ledger| ledger.sent_total == 3;
        seen(rack.modem(name), "three messages", three).await;
    }
    let mut waiting = 0;
    for id in &ids {
        let message: Message = gateway.message(*id).await;
        assert_ne!(message.reason(), Some(Cause::Rejected));
        if message.status() == Status::Pending {
            let (why, until) = gateway.engine.why(&message).unwrap();
            assert_eq!(why, "sim_budget");
            assert!(until.is_some(), "it says until when");
            assert_eq!(message.tries, 0, "nothing was tried");
            waiting += 1;
        }
    }
    assert_eq!(waiting, 2);
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn pain_25_no_sim_writes_to_more_people_than_its_contract_bears() {
    // Elsewhere: SIMs were cut off for writing to too many people.
    // Here: so many distinct recipients in 30 days, and the others take another SIM.
    let rack = Rack::new(vec![("a", quick()), ("b", quick())]);
    let mut policy = rack.routed(vec![vec!["a".into()], vec!["b".into()]]);
    let limited = ModemRules {
        daily_limit: None,
        recipients_30d: Some(2),
        ..policy.modems[&"a".into()]
    };
    policy.modems.insert("a".into(), limited);
    let gateway = rack.gateway_with(policy, |_| {}).await;
    gateway.all_up().await;
    let mut ids = Vec::new();
    for n in 0..10 {
        let to = format!("+3361200000{}", n % 5);
        ids.push(gateway.send(&to, &format!("message {n}")).await);
    }
    gateway.all_become(&ids, Status::Delivered).await;
    let people = |name: &str| {
        rack.modem(name).ledger(|ledger| {
            let mut people: Vec<_> = ledger.sent().map(|entry| entry.recipient.clone()).collect();
            people.sort();
            people.dedup();
            people.len()
        })
    };
    assert_eq!(people("a"), 2);
    assert!(people("b") >= 3);
    gateway.stop().await;
    rack.unplug_all().await;
}
