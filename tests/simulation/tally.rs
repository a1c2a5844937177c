//! What the worlds of a run have gone through: a simulation that never meets with a fault proves
//! nothing.

use std::collections::BTreeMap;

use relais::domain::message::{Outcome, State, What};

use crate::oracle::Evidence;

/// What every run of some size must have seen.
const EXPECTED: [&str; 18] = [
    "cancelled",
    "crash",
    "delivered",
    "doubt",
    "duplicate on the air",
    "expired",
    "failed",
    "inbound",
    "message",
    "messages in parts",
    "left by the second step",
    "receipt sent again",
    "opted out",
    "pause",
    "refused",
    "submission",
    "told again",
    "untaken",
];

/// Counts by name.
#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn add(&mut self, name: &'static str, count: usize) {
        *self.0.entry(name).or_default() += count;
    }

    pub fn count(&mut self, evidence: &Evidence) {
        self.add("pause", evidence.notes.paused.len());
        let opted_out = |message: &&relais::domain::message::Message| {
            message.reason() == Some(relais::domain::message::Cause::OptedOut)
        };
        self.add(
            "opted out",
            evidence.records.iter().filter(opted_out).count(),
        );
        self.add("crash", evidence.notes.kills.len());
        self.add("inbound", evidence.inbound.len());
        self.add("message", evidence.records.len());
        for message in &evidence.records {
            self.add("messages in parts", usize::from(message.plan.count() > 1));
            let route = &evidence.policy.operator(&message.lane.operator).route;
            let second = |account| route.get(1).is_some_and(|step| step.contains(account));
            let last = message.attempts.last();
            let second = last.is_some_and(|attempt| second(&attempt.account));
            self.add("left by the second step", usize::from(second));
            match message.state {
                State::Final(Outcome::Delivered) => self.add("delivered", 1),
                State::Final(Outcome::Expired(_)) => self.add("expired", 1),
                State::Final(Outcome::Failed(_)) => self.add("failed", 1),
                State::Final(Outcome::Cancelled) => self.add("cancelled", 1),
                _ => {}
            }
            let segments = message
                .attempts
                .iter()
                .flat_map(|attempt| &attempt.segments);
            let twice = segments
                .filter(|segment| segment.references.len() > 1)
                .count();
            self.add("duplicate on the air", twice);
            for happening in &message.events {
                match happening.what {
                    What::Doubt { .. } => self.add("doubt", 1),
                    What::Refused { .. } => self.add("refused", 1),
                    _ => {}
                }
            }
        }
        for carrier in &evidence.carriers {
            self.add("submission", carrier.submitted.len());
            let untaken = carrier.submitted.iter().filter(|entry| entry.id.is_none());
            self.add("untaken", untaken.count());
            let again = carrier
                .delivered
                .iter()
                .filter(|entry| entry.answer != Some(0));
            self.add("receipt sent again", again.count());
        }
        let mut told = std::collections::BTreeSet::new();
        let again = evidence.notes.told.iter();
        self.add(
            "told again",
            again
                .filter(|(id, revision, _)| !told.insert((*id, *revision)))
                .count(),
        );
    }

    /// What should have been seen and was not.
    pub fn missing(&self) -> Vec<&'static str> {
        let seen = |name: &&&str| self.0.get(**name).copied().unwrap_or(0) == 0;
        EXPECTED.iter().filter(seen).copied().collect()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, count) in &self.0 {
            writeln!(f, "{count:8} {name}")?;
        }
        Ok(())
    }
}
