//! What is printed of a world that went wrong: enough to see why, and how to see it again.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use relais::domain::time::Timestamp;

use crate::oracle::{Evidence, Violation, read};
use crate::plan::marked;

/// What to print about a world that went wrong.
pub fn report(evidence: &Evidence, violations: &[Violation]) -> String {
    let mut out = format!("\nseed {} went wrong:\n", evidence.seed);
    let mut shown = BTreeSet::new();
    for violation in violations.iter().take(8) {
        let _ = writeln!(
            out,
            "! {}: {:?} {}",
            violation.rule, violation.number, violation.what
        );
    }
    let kills: Vec<_> = evidence.notes.kills.iter().map(|at| at.rfc3339()).collect();
    let _ = writeln!(out, "killed: {kills:?}");
    for number in violations
        .iter()
        .filter_map(|violation| violation.number)
        .take(3)
    {
        if shown.insert(number) {
            history(evidence, number, &mut out);
        }
    }
    let _ = writeln!(
        out,
        "replay: SIM_SEED={} cargo test --test simulation -- --nocapture",
        evidence.seed
    );
    out
}

fn history(evidence: &Evidence, number: u32, out: &mut String) {
    for message in evidence
        .records
        .iter()
        .filter(|m| marked(&m.text) == Some(number))
    {
        let _ = writeln!(
            out,
            "message {number} {} to {} parts {} on_doubt {:?} created {} send_at {:?} expires {} revision {} claims {} tries {}",
            message.id,
            message.to.digits(),
            message.plan.count(),
            message.on_doubt,
            message.created_at.rfc3339(),
            message.send_at.map(Timestamp::rfc3339),
            message.expires_at.rfc3339(),
            message.revision,
            message.claims,
            message.tries,
        );
        let _ = writeln!(out, "  {:?}", message.state);
        for attempt in &message.attempts {
            let _ = writeln!(out, "  {} {:?}", attempt.channel, attempt.segments);
        }
        for happening in &message.events {
            let _ = writeln!(out, "  {} {:?}", happening.at.rfc3339(), happening.what);
        }
    }
    for carrier in &evidence.carriers {
        let ids = &carrier.script.ids;
        let mut mine = BTreeSet::new();
        for entry in carrier
            .submitted
            .iter()
            .filter(|e| marked(&e.text) == Some(number))
        {
            mine.extend(entry.id.as_deref().and_then(|id| read(ids.submitted, id)));
            let _ = writeln!(
                out,
                "  {} at {} session {} part {:?} id {:?} status {:?}",
                carrier.account,
                entry.at.rfc3339(),
                entry.session,
                entry.part.map(|part| part.index),
                entry.id,
                entry.status
            );
        }
        for entry in &carrier.delivered {
            let id = entry.id.as_deref().and_then(|id| read(ids.reported, id));
            if id.is_some_and(|id| mine.contains(&id)) {
                let _ = writeln!(
                    out,
                    "  {} reports at {} session {} id {:?} {} answer {:?}",
                    carrier.account,
                    entry.at.rfc3339(),
                    entry.session,
                    entry.id,
                    entry.says,
                    entry.answer
                );
            }
        }
    }
}
