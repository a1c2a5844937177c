//! The oracle on trial: each of these breaks something on purpose, and the oracle has to say so.

use relais::domain::message::{Outcome, State};
use relais::domain::policy::OnDoubt;
use relais::store::keys::KeySpace;

use crate::disk::Sabotage;
use crate::faults::{How, Stop, When};
use crate::oracle::{Evidence, judge};
use crate::plan::{Plan, marked};
use crate::world;

/// A quiet world in which messages of one part are delivered.
fn quiet() -> Plan {
    let mut plan = Plan::draw(1);
    plan.faults.clear();
    plan.stops.clear();
    for account in &mut plan.accounts {
        account.script.rules.clear();
    }
    plan
}

fn rules(evidence: &Evidence) -> Vec<&'static str> {
    judge(evidence)
        .iter()
        .map(|violation| violation.rule)
        .collect()
}

/// The evidence of a quiet world, spoilt, must be found to break this rule.
#[track_caller]
fn found(rule: &str, spoil: impl FnOnce(&mut Evidence)) {
    let mut evidence = world::run(&quiet());
    assert_eq!(rules(&evidence), Vec::<&str>::new(), "the world was sound");
    spoil(&mut evidence);
    let rules = rules(&evidence);
    assert!(rules.contains(&rule), "{rule} was not found, but {rules:?}");
}

/// The number of a message that was delivered in one part.
fn delivered(evidence: &Evidence) -> u32 {
    let message = evidence.records.iter().find(|message| {
        message.state == State::Final(Outcome::Delivered) && message.plan.count() == 1
    });
    marked(&message.unwrap().text).unwrap()
}

#[test]
fn a_promised_message_that_is_gone_is_found() {
    found("kept", |evidence| {
        let number = delivered(evidence);
        evidence
            .records
            .retain(|message| marked(&message.text) != Some(number));
    });
}

#[test]
fn a_message_that_never_ends_is_found() {
    found("final", |evidence| {
        evidence.records[0].expires_at = crate::START;
        evidence.records[0].state = State::Submitted { receipt_by: None };
    });
}

#[test]
fn a_delivery_that_no_carrier_made_is_found() {
    found("delivered", |evidence| {
        let number = delivered(evidence);
        for carrier in &mut evidence.carriers {
            carrier
                .submitted
                .retain(|entry| marked(&entry.text) != Some(number));
        }
    });
}

#[test]
fn a_delivery_without_a_receipt_is_found() {
    found("delivered", |evidence| {
        for carrier in &mut evidence.carriers {
            carrier.delivered.clear();
        }
    });
}

#[test]
fn a_receipt_that_was_acknowledged_and_forgotten_is_found() {
    found("reported", |evidence| {
        for message in &mut evidence.records {
            message.state =
                State::Final(Outcome::Expired(relais::domain::message::Cause::NoReceipt));
        }
    });
}

#[test]
fn a_message_that_was_taken_twice_is_found() {
    found("taken once", |evidence| {
        let number = delivered(evidence);
        for message in &mut evidence.records {
            message.on_doubt = Some(OnDoubt::Fail);
        }
        for carrier in &mut evidence.carriers {
            let mut mine = carrier.submitted.clone();
            mine.retain(|entry| marked(&entry.text) == Some(number));
            carrier.submitted.extend(mine);
        }
    });
}

#[test]
fn a_change_that_was_not_told_is_found() {
    found("told", |evidence| {
        let last = evidence
            .notes
            .told
            .iter()
            .map(|(_, revision, _)| *revision)
            .max();
        evidence
            .notes
            .told
            .retain(|(_, revision, _)| Some(*revision) != last);
    });
}

#[test]
fn changes_told_out_of_order_are_found() {
    found("told in order", |evidence| evidence.notes.told.reverse());
}

#[test]
fn a_disk_that_only_says_that_it_has_synced_is_found() {
    let mut plan = quiet();
    let last = plan.traffic - std::time::Duration::from_millis(1);
    plan.sabotage = Some(Sabotage::Lies);
    plan.stops = vec![Stop {
        when: When::At(last),
        turns: 50,
        how: How::Killed { keeps: 0 },
        down: std::time::Duration::ZERO,
        opening: None,
    }];
    let rules = rules(&world::run(&plan));
    assert!(
        rules.contains(&"kept") && rules.contains(&"known"),
        "{rules:?}"
    );
}

#[test]
fn carrier_references_that_are_not_kept_are_found() {
    let mut plan = quiet();
    plan.sabotage = Some(Sabotage::Loses(KeySpace::Reference));
    let rules = rules(&world::run(&plan));
    assert!(
        rules.contains(&"fsck") && rules.contains(&"receipt kept"),
        "{rules:?}"
    );
}

#[test]
fn webhooks_that_are_not_kept_are_found() {
    let mut plan = quiet();
    plan.sabotage = Some(Sabotage::Loses(KeySpace::Outbox));
    let rules = rules(&world::run(&plan));
    assert!(rules.contains(&"told"), "{rules:?}");
}
