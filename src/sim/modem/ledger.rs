//! What the modem has received and handed over: the other side's truth, for tests and rehearsals.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::domain::time::Timestamp;
use crate::pdu::tpdu::hex_of_octets;
use crate::pdu::udh::{Concat, Reference};

/// Entries kept of each kind; the oldest go first. Totals go on counting.
const KEPT: usize = 100_000;

/// One message handed over by `+CMGS`, up to its last octet.
#[derive(Clone, Debug)]
pub struct SubmittedEntry {
    /// When.
    pub at: Timestamp,
    /// The length that `+CMGS` named.
    pub length: usize,
    /// What came, service centre first.
    pub octets: Vec<u8>,
    /// The recipient; empty if the octets are no SMS-SUBMIT.
    pub recipient: String,
    /// The text of this part.
    pub text: String,
    /// Its place among the parts of a longer text.
    pub part: Option<Concat>,
    /// Whether it asks for a status report.
    pub report: bool,
    /// What became of it.
    pub fate: Fate,
}

impl SubmittedEntry {
    /// The entry for other programs, with its number whole: nobody has it. `fate` is `sent`,
    /// `refused` or `lost`; `error` is how it was refused, as the answer says it.
    #[must_use]
    pub fn json(&self) -> Value {
        let part = self.part.map(|part| {
            let reference = match part.reference {
                Reference::Eight(reference) => u16::from(reference),
                Reference::Sixteen(reference) => reference,
            };
            json!({ "reference": reference, "total": part.total, "index": part.index })
        });
        let (fate, reference, answered, error) = match self.fate {
            Fate::Sent {
                reference,
                answered,
            } => ("sent", Some(reference), answered, None),
            Fate::Cms(code) => ("refused", None, true, Some(format!("+CMS ERROR: {code}"))),
            Fate::Cme(code) => ("refused", None, true, Some(format!("+CME ERROR: {code}"))),
            Fate::Error => ("refused", None, true, Some("ERROR".to_owned())),
            Fate::Lost => ("lost", None, false, None),
        };
        json!({
            "at": self.at.rfc3339(),
            "to": self.recipient,
            "text": self.text,
            "part": part,
            "report": self.report,
            "fate": fate,
            "reference": reference,
            "answered": answered,
            "error": error,
            "pdu": hex_of_octets(&self.octets),
        })
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was sent, with this TP-MR, and the answer said so unless `answered` is false.
    Sent {
        /// TP-MR.
        reference: u8,
        /// Whether an answer was due.
        answered: bool,
    },
    /// It was refused with this `+CMS ERROR`.
    Cms(u16),
    /// It was refused with this `+CME ERROR`.
    Cme(u16),
    /// It was refused with `ERROR`.
    Error,
    /// It was neither sent nor answered.
    Lost,
}

/// How something from the network reached the modem's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A line and the octets (`+CMT`, `+CDS`).
    Direct,
    /// In a memory, with a line that names the place (`+CMTI`, `+CDSI`).
    Announced,
    /// In a memory, without a word.
    Silent,
    /// Not at all: nobody wants reports.
    Dropped,
}

/// A message or a report from the network.
#[derive(Clone, Debug)]
pub struct DeliveredEntry {
    /// When.
    pub at: Timestamp,
    /// Its octets, without the service centre.
    pub octets: Vec<u8>,
    /// Whether it is a status report.
    pub report: bool,
    /// How it reached the user.
    pub way: Way,
}

/// What the modem has received and handed over.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The latest commands, in order of arrival; not the octets of messages, and no PIN.
    pub commands: VecDeque<String>,
    /// The latest messages, in order of arrival.
    pub submitted: VecDeque<SubmittedEntry>,
    /// The latest from the network, in order of arrival.
    pub delivered: VecDeque<DeliveredEntry>,
    /// Number of all commands ever.
    pub commands_total: u64,
    /// Number of all messages ever, whatever became of them.
    pub submitted_total: u64,
    /// Number of all messages sent ever.
    pub sent_total: u64,
    /// Number of all messages and reports from the network that reached the user.
    pub delivered_total: u64,
    /// Records deleted by `+CMGD`.
    pub deleted_total: u64,
    /// Octets of a message that came before the prompt, and were lost.
    pub too_early: u64,
    /// Commands that came while the modem rested, and were lost.
    pub restless: u64,
    /// Commands that came before the last one was answered.
    pub overlapping: u64,
    /// Starts, the first one included.
    pub boots: u64,
    /// What the network holds back for want of room or of a network.
    pub held: usize,
    /// Whether it is plugged in.
    pub plugged: bool,
}

impl Ledger {
    pub(super) fn command(&mut self, command: &str) {
        self.commands_total += 1;
        let secret = command
            .get(..8)
            .is_some_and(|head| head.eq_ignore_ascii_case("AT+CPIN="));
        let shown = if secret { "AT+CPIN=…" } else { command };
        keep(&mut self.commands, shown.to_owned());
    }

    pub(super) fn submit(&mut self, entry: SubmittedEntry) {
        self.submitted_total += 1;
        self.sent_total += u64::from(matches!(entry.fate, Fate::Sent { .. }));
        keep(&mut self.submitted, entry);
    }

    pub(super) fn deliver(&mut self, entry: DeliveredEntry) {
        self.delivered_total += u64::from(entry.way != Way::Dropped);
        keep(&mut self.delivered, entry);
    }

    /// The messages behind the first `seen` ever, in order of arrival, as far as they are kept.
    pub fn submitted_after(&self, seen: u64) -> impl Iterator<Item = &SubmittedEntry> {
        let new = usize::try_from(self.submitted_total.saturating_sub(seen)).unwrap_or(usize::MAX);
        let old = self.submitted.len().saturating_sub(new);
        self.submitted.iter().skip(old)
    }

    /// The messages that were sent, in order of arrival.
    pub fn sent(&self) -> impl Iterator<Item = &SubmittedEntry> {
        self.submitted
            .iter()
            .filter(|entry| matches!(entry.fate, Fate::Sent { .. }))
    }

    /// The texts that a handset would show, by recipient, in order of completion: a repeated part
    /// counts once, and a message of which parts are missing is not shown.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<String, Vec<String>> {
        let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut waiting: BTreeMap<_, BTreeMap<u8, &str>> = BTreeMap::new();
        for entry in self.sent() {
            let of = entry.recipient.clone();
            let Some(part) = entry.part else {
                texts.entry(of).or_default().push(entry.text.clone());
                continue;
            };
            let key = (of.clone(), format!("{:?}", part.reference), part.total);
            let parts = waiting.entry(key.clone()).or_default();
            parts.insert(part.index, &entry.text);
            if parts.len() == usize::from(part.total) {
                let whole = parts.values().copied().collect();
                texts.entry(of).or_default().push(whole);
                waiting.remove(&key);
            }
        }
        texts
    }
}

fn keep<T>(list: &mut VecDeque<T>, entry: T) {
    list.push_back(entry);
    if list.len() > KEPT {
        list.pop_front();
    }
}
