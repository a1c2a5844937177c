//! What must be true of a world in the end, judged against the carriers' ledgers: they alone know
//! what was taken and what was delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use relais::domain::inbound::Inbound;
use relais::domain::message::{Message, Outcome, Progress, State, What};
use relais::domain::policy::{OnDoubt, Policy};
use relais::domain::receipt::Known;
use relais::domain::time::Timestamp;
use relais::sim::smsc::{DeliveredEntry, IdForm, SmscScript, SubmittedEntry};
use relais::store::fsck::Findings;

use crate::disk::Known as KnownParts;
use crate::plan::marked;
use crate::world::Notes;

mod whole;

/// Everything that a world leaves.
pub struct Evidence {
    pub seed: u64,
    pub records: Vec<Message>,
    pub inbound: Vec<Inbound>,
    pub carriers: Vec<Carrier>,
    pub notes: Notes,
    pub findings: Findings,
    pub policy: Policy,
    pub ended: Timestamp,
    pub operations: u64,
    pub known: KnownParts,
}

/// One carrier's truth.
pub struct Carrier {
    pub account: String,
    pub script: SmscScript,
    pub submitted: Vec<SubmittedEntry>,
    pub delivered: Vec<DeliveredEntry>,
    pub window: usize,
    pub binds: usize,
    /// True if it has at some time left unread what had been written to it.
    pub silent: bool,
    pub response_timeout: Duration,
}

/// One thing that must not be.
#[derive(Debug)]
pub struct Violation {
    /// Which rule.
    pub rule: &'static str,
    /// Which message, if one.
    pub number: Option<u32>,
    pub what: String,
}

/// How long after a kill a `submit_sm` written before it may still be read by a carrier: as long as
/// a carrier is ever silent.
const UNREAD: Duration = Duration::from_secs(1_300);

/// Statuses that are refusals for good.
const PERMANENT: [u32; 2] = [0x0B, 0x65];

/// Statuses that are refusals for now, each of which costs a try.
const TEMPORARY: [u32; 3] = [0x08, 0x45, 0x64];

/// Leeway of every time-out.
const SLACK: Duration = Duration::from_secs(60);

/// One submission that a carrier took, with what it said of it later.
struct Taken<'a> {
    entry: &'a SubmittedEntry,
    account: &'a str,
    part: usize,
    /// What it reported, and whether that was acknowledged.
    reports: Vec<(&'a str, bool)>,
    response_timeout: Duration,
}

impl Taken<'_> {
    fn acknowledged(&self, says: &str) -> bool {
        self.reports
            .iter()
            .any(|(said, acknowledged)| *said == says && *acknowledged)
    }

    fn said(&self, says: &str) -> bool {
        self.reports.iter().any(|(said, _)| *said == says)
    }
}

/// Everything that is known of one message.
struct Case<'a> {
    number: u32,
    message: &'a Message,
    taken: Vec<Taken<'a>>,
    rule: OnDoubt,
    /// Doubts that its history tells of, and whether some may have dropped out of it.
    doubts: usize,
    cut_short: bool,
}

/// Judges a world.
pub fn judge(evidence: &Evidence) -> Vec<Violation> {
    let mut court = Court {
        evidence,
        violations: Vec::new(),
        forgotten: 0,
    };
    for wrong in &evidence.notes.wrong {
        court.find("on the way", None, wrong.clone());
    }
    for problem in &evidence.findings.problems {
        court.find("fsck", None, problem.clone());
    }
    let mut records: BTreeMap<u32, Vec<&Message>> = BTreeMap::new();
    for message in &evidence.records {
        match marked(&message.text) {
            Some(number) => records.entry(number).or_default().push(message),
            None => court.find("known", None, format!("nobody sent {}", message.id)),
        }
    }
    for (number, id) in &evidence.notes.promised {
        if !records
            .get(number)
            .is_some_and(|all| all.iter().any(|m| m.id == *id))
        {
            court.find(
                "kept",
                Some(*number),
                "it was promised and is gone".to_owned(),
            );
        }
    }
    let mut taken = court.taken();
    for (number, all) in &records {
        if all.len() > 1 {
            court.find(
                "once",
                Some(*number),
                format!("it is stored {} times", all.len()),
            );
        }
        let case = Case::new(
            *number,
            all[0],
            taken.remove(number).unwrap_or_default(),
            evidence,
        );
        court.judge(&case);
    }
    for number in taken.keys() {
        court.find(
            "known",
            Some(*number),
            "a carrier took it and nobody stored it".to_owned(),
        );
    }
    court.order(&records);
    court.known_parts();
    court.crashes();
    court.told();
    court.inbound();
    court.opted_out();
    court.paused();
    court.windows();
    court.violations
}

impl<'a> Case<'a> {
    fn new(number: u32, message: &'a Message, taken: Vec<Taken<'a>>, evidence: &Evidence) -> Self {
        let operator = evidence.policy.operator(&message.lane.operator);
        Self {
            number,
            message,
            taken,
            rule: message.on_doubt.unwrap_or(operator.on_doubt),
            doubts: message
                .events
                .iter()
                .filter(|happening| matches!(happening.what, What::Doubt { .. }))
                .count(),
            cut_short: message.events.len() >= Message::EVENTS_MAX,
        }
    }

    /// Kills that may have made the daemon forget a submission of it.
    fn kills(&self, evidence: &Evidence) -> usize {
        let forgotten = |kill: &&Timestamp| {
            self.taken.iter().any(|taken| {
                let (at, kill) = (taken.entry.at, **kill);
                at <= kill + UNREAD && kill <= at + taken.response_timeout + SLACK
            })
        };
        evidence.notes.kills.iter().filter(forgotten).count()
    }

    /// Kills that may have made the daemon forget a refusal.
    fn refusals_killed(&self, evidence: &Evidence) -> usize {
        let mine = |entry: &&SubmittedEntry| marked(&entry.text) == Some(self.number);
        let entries = evidence
            .carriers
            .iter()
            .flat_map(|c| c.submitted.iter().filter(mine));
        let refused: Vec<_> = entries.map(|entry| entry.at).collect();
        let near = |kill: &&Timestamp| {
            let near = |at: &Timestamp| *at <= **kill + UNREAD && **kill <= *at + UNREAD;
            refused.iter().any(near)
        };
        evidence.notes.kills.iter().filter(near).count()
    }

    fn parts(&self) -> usize {
        self.message.plan.count()
    }

    /// The carriers that have taken every part and, by `holds`, say so of each.
    fn complete(&self, holds: impl Fn(&Taken) -> bool) -> bool {
        let accounts: BTreeSet<_> = self.taken.iter().map(|taken| taken.account).collect();
        accounts.iter().any(|account| {
            (0..self.parts()).all(|part| {
                self.taken
                    .iter()
                    .any(|taken| taken.account == *account && taken.part == part && holds(taken))
            })
        })
    }

    /// True if the record knows the id of this submission.
    fn binds(&self, taken: &Taken) -> bool {
        self.segment(taken).is_some_and(|segment| {
            let id = taken.entry.id.as_deref().unwrap_or_default();
            segment.references.iter().any(|known| known == id)
        })
    }

    fn segment(&self, taken: &Taken) -> Option<&relais::domain::message::Segment> {
        let of_account =
            |attempt: &&relais::domain::message::Attempt| attempt.account.as_str() == taken.account;
        let id = taken.entry.id.as_deref().unwrap_or_default();
        let attempts = self.message.attempts.iter().filter(of_account);
        attempts
            .filter_map(|attempt| attempt.segments.get(taken.part))
            .max_by_key(|segment| segment.references.iter().any(|known| known == id))
    }
}

struct Court<'a> {
    evidence: &'a Evidence,
    violations: Vec<Violation>,
    /// Submissions that were taken and are not known, doubts apart.
    forgotten: usize,
}

impl<'a> Court<'a> {
    fn find(&mut self, rule: &'static str, number: Option<u32>, what: String) {
        self.violations.push(Violation { rule, number, what });
    }

    /// What carriers took, by message.
    fn taken(&self) -> BTreeMap<u32, Vec<Taken<'a>>> {
        let mut all: BTreeMap<u32, Vec<Taken>> = BTreeMap::new();
        for carrier in &self.evidence.carriers {
            let ids = &carrier.script.ids;
            let mut reports: BTreeMap<u64, Vec<(&str, bool)>> = BTreeMap::new();
            for entry in &carrier.delivered {
                let id = entry.id.as_deref().and_then(|id| read(ids.reported, id));
                if let Some(id) = id {
                    let report = (entry.says.as_str(), entry.answer == Some(0));
                    reports.entry(id).or_default().push(report);
                }
            }
            for entry in &carrier.submitted {
                let id = entry.id.as_deref().and_then(|id| read(ids.submitted, id));
                let (Some(id), Some(number)) = (id, marked(&entry.text)) else {
                    continue;
                };
                all.entry(number).or_default().push(Taken {
                    entry,
                    account: &carrier.account,
                    part: part(entry),
                    reports: reports.remove(&id).unwrap_or_default(),
                    response_timeout: carrier.response_timeout,
                });
            }
        }
        all
    }

    fn judge(&mut self, case: &Case) {
        let Case {
            number, message, ..
        } = case;
        let number = Some(*number);
        let grace = self.evidence.policy.receipt_grace + SLACK;
        let delivered = matches!(message.state, State::Final(Outcome::Delivered));
        if !message.status().is_final() && message.expires_at + grace < self.evidence.ended {
            let what = format!("it is still {:?} after its validity", message.state);
            self.find("final", number, what);
        }
        if delivered && !case.complete(|taken| taken.said("DELIVRD")) {
            let what = "it is Delivered and no carrier delivered all of it".to_owned();
            self.find("delivered", number, what);
        }
        if !delivered && case.complete(|t| t.acknowledged("DELIVRD") && case.binds(t)) {
            let what = format!(
                "it is {:?} and its receipts were acknowledged",
                message.state
            );
            self.find("reported", number, what);
        }
        self.judge_parts(case);
        self.refusals(case);
        let cancelled = self.evidence.notes.cancelled.contains(&message.id);
        let is_cancelled = matches!(message.state, State::Final(Outcome::Cancelled));
        if is_cancelled && !case.taken.is_empty() && case.kills(self.evidence) == 0 {
            self.find(
                "cancelled",
                number,
                "it is Cancelled and a carrier took it".to_owned(),
            );
        }
        if cancelled && !is_cancelled && case.taken.is_empty() {
            let what = format!("its withdrawal was promised and it is {:?}", message.state);
            self.find("cancelled", number, what);
        }
    }

    /// What holds of each part: nothing is bound that nobody took, nothing acknowledged is
    /// forgotten, and nothing is sent twice without a reason.
    fn judge_parts(&mut self, case: &Case) {
        let number = Some(case.number);
        let kills = case.kills(self.evidence);
        let mut unbound = 0_usize;
        for taken in &case.taken {
            if !case.binds(taken) {
                unbound += 1;
                continue;
            }
            let Some(segment) = case.segment(taken) else {
                continue;
            };
            if taken.acknowledged("DELIVRD") && segment.known != Known::Delivered {
                let what = format!(
                    "part {} was reported delivered and is {:?}",
                    taken.part + 1,
                    segment.known
                );
                self.find("receipt kept", number, what);
            }
        }
        self.forgotten += unbound.saturating_sub(case.doubts);
        if unbound > case.doubts + kills && !case.cut_short {
            let what = format!(
                "{unbound} submissions that were taken are not known, with {} doubts and {kills} kills",
                case.doubts
            );
            self.find("answer kept", number, what);
        }
        for part in 0..case.parts() {
            let times = case.taken.iter().filter(|taken| taken.part == part).count();
            let most = match case.rule {
                OnDoubt::Fail => 1,
                OnDoubt::Resend => 1 + case.doubts + kills,
            };
            if times > most && (!case.cut_short || case.rule == OnDoubt::Fail) {
                let what = format!(
                    "part {} was taken {times} times, rule {:?}, with {} doubts and {kills} kills",
                    part + 1,
                    case.rule,
                    case.doubts
                );
                self.find("taken once", number, what);
            }
        }
        let ids: BTreeSet<_> = case
            .taken
            .iter()
            .filter_map(|t| t.entry.id.as_deref())
            .collect();
        for segment in case
            .message
            .attempts
            .iter()
            .flat_map(|attempt| &attempt.segments)
        {
            for reference in &segment.references {
                if !ids.contains(reference.as_str()) {
                    let what = format!("it knows the id {reference}, which no carrier gave it");
                    self.find("bound", number, what);
                }
            }
            if segment.known == Known::Delivered && segment.progress != Progress::Accepted {
                self.find(
                    "bound",
                    number,
                    "a part is delivered and not accepted".to_owned(),
                );
            }
        }
    }

    /// What was refused for good is not tried again, and what was refused for now no more often than
    /// its schedule says.
    fn refusals(&mut self, case: &Case) {
        let operator = self.evidence.policy.operator(&case.message.lane.operator);
        let (mut temporary, mut again) = (0, 0);
        for carrier in &self.evidence.carriers {
            let mut refused = false;
            let mine = |entry: &&SubmittedEntry| marked(&entry.text) == Some(case.number);
            for entry in carrier.submitted.iter().filter(mine) {
                again += usize::from(refused);
                refused |= entry
                    .status
                    .is_some_and(|status| PERMANENT.contains(&status));
                temporary += usize::from(entry.status.is_some_and(|s| TEMPORARY.contains(&s)));
            }
        }
        // A refusal whose answer was lost is a doubt like any other.
        if again > case.doubts + case.refusals_killed(self.evidence) && !case.cut_short {
            let what = format!("it was refused for good and sent again {again} times");
            self.find("refused once", Some(case.number), what);
        }
        let forgotten = case.doubts + self.evidence.notes.kills.len();
        let most = operator.retry.0.len() + 1 + forgotten;
        if temporary > most {
            let what = format!("it was refused for now {temporary} times, of at most {most}");
            self.find("tried", Some(case.number), what);
        }
    }
}

/// Which part of its message a submission is, from 0.
fn part(entry: &SubmittedEntry) -> usize {
    entry
        .part
        .map_or(0, |part| usize::from(part.index).saturating_sub(1))
}

/// The number behind an id as it was written.
pub fn read(form: IdForm, id: &str) -> Option<u64> {
    match form {
        IdForm::Decimal => id.parse().ok(),
        IdForm::Hex | IdForm::HexUpper => u64::from_str_radix(id, 16).ok(),
    }
}
