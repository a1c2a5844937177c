//! What the SMSC has received and sent: the other side's truth, for tests and rehearsals.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::channel::smpp::deliver::Address;
use crate::domain::time::Timestamp;

/// Entries kept of each kind; the oldest go first. Totals go on counting.
const KEPT: usize = 100_000;

/// One bind asked for.
#[derive(Clone, Debug)]
pub struct BindEntry {
    /// When.
    pub at: Timestamp,
    /// On which connection, counted from 1.
    pub session: u64,
    /// By whom.
    pub system_id: String,
    /// Whether it wants to submit.
    pub transmits: bool,
    /// Whether it wants to receive.
    pub receives: bool,
    /// Its `interface_version`.
    pub interface_version: u8,
    /// The status that it was answered with.
    pub status: u32,
}

/// One `submit_sm` received.
#[derive(Clone, Debug)]
pub struct SubmittedEntry {
    /// When.
    pub at: Timestamp,
    /// On which connection, counted from 1.
    pub session: u64,
    /// Sender.
    pub source: Address,
    /// Destination.
    pub destination: Address,
    /// `data_coding`.
    pub data_coding: u8,
    /// `esm_class`.
    pub esm_class: u8,
    /// `registered_delivery`.
    pub registered_delivery: u8,
    /// `priority_flag`.
    pub priority: u8,
    /// `service_type`.
    pub service_type: String,
    /// `validity_period` as written.
    pub validity: String,
    /// `protocol_id`.
    pub protocol_id: u8,
    /// Every TLV, by tag, in order.
    pub tlvs: Vec<(u16, Bytes)>,
    /// `short_message` or `message_payload`, header included.
    pub octets: Bytes,
    /// Its text.
    pub text: String,
    /// Its place among the parts of a longer text.
    pub part: Option<PartOf>,
    /// The id given to it; `None` if it was not taken.
    pub id: Option<String>,
    /// The status answered or to be answered; `None` if it is never answered.
    pub status: Option<u32>,
    /// Unanswered `submit_sm` on the connection when it came, itself included.
    pub outstanding: usize,
}

/// Place of a part, by a user data header or by the `sar_` TLVs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartOf {
    /// Reference that its parts share.
    pub reference: u16,
    /// Number of parts.
    pub total: u8,
    /// Number of this one, from 1.
    pub index: u8,
}

/// One `deliver_sm` or `data_sm` sent. One that is sent again has an entry each time.
#[derive(Clone, Debug)]
pub struct DeliveredEntry {
    /// When.
    pub at: Timestamp,
    /// On which connection, counted from 1.
    pub session: u64,
    /// The id that it reports on, as written; `None`: a message from a handset.
    pub id: Option<String>,
    /// The handset: where it comes from.
    pub handset: String,
    /// The `stat` word of a receipt, or the text of a message.
    pub says: String,
    /// The status that it was answered with, if it was.
    pub answer: Option<u32>,
    /// How long the answer took.
    pub took: Option<Duration>,
}

/// What the SMSC has received and sent.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The latest binds, in order of arrival, those refused too.
    pub bind_log: VecDeque<BindEntry>,
    /// The latest `submit_sm`, in order of arrival.
    pub submitted: VecDeque<SubmittedEntry>,
    /// The latest `deliver_sm` and `data_sm`, in order of sending.
    pub delivered: VecDeque<DeliveredEntry>,
    /// Number of all `submit_sm` ever.
    pub submitted_total: u64,
    /// Number of all `deliver_sm` and `data_sm` ever.
    pub delivered_total: u64,
    /// Number of those answered with `ESME_ROK`.
    pub acknowledged_total: u64,
    /// Binds accepted ever.
    pub binds: u64,
    /// Binds refused ever, with the last status.
    pub refused_binds: u64,
    /// Sessions ended by the ESME's `unbind`.
    pub unbinds: u64,
    /// Connections open now.
    pub connections: usize,
    /// Sessions bound now.
    pub bound: usize,
}

impl SubmittedEntry {
    /// The first TLV with this tag.
    #[must_use]
    pub fn tlv(&self, tag: u16) -> Option<&Bytes> {
        let found = self.tlvs.iter().find(|(found, _)| *found == tag)?;
        Some(&found.1)
    }
}

impl Ledger {
    pub(super) fn bind(&mut self, entry: BindEntry) {
        if entry.status == 0 {
            self.binds += 1;
            self.bound += 1;
        } else {
            self.refused_binds += 1;
        }
        self.bind_log.push_back(entry);
        if self.bind_log.len() > KEPT {
            self.bind_log.pop_front();
        }
    }

    pub(super) fn submit(&mut self, entry: SubmittedEntry) {
        self.submitted_total += 1;
        self.submitted.push_back(entry);
        if self.submitted.len() > KEPT {
            self.submitted.pop_front();
        }
    }

    /// Records a sending and says by which number its answer is recorded.
    pub(super) fn deliver(&mut self, entry: DeliveredEntry) -> u64 {
        self.delivered_total += 1;
        self.delivered.push_back(entry);
        if self.delivered.len() > KEPT {
            self.delivered.pop_front();
        }
        self.delivered_total
    }

    pub(super) fn answer(&mut self, number: u64, status: u32, took: Duration) {
        if status == 0 {
            self.acknowledged_total += 1;
        }
        let back = usize::try_from(self.delivered_total - number).unwrap_or(usize::MAX);
        let index = self.delivered.len().checked_sub(back.saturating_add(1));
        if let Some(entry) = index.and_then(|index| self.delivered.get_mut(index)) {
            entry.answer = Some(status);
            entry.took = Some(took);
        }
    }

    /// The `submit_sm` that were taken, in order of arrival.
    pub fn taken(&self) -> impl Iterator<Item = &SubmittedEntry> {
        self.submitted.iter().filter(|entry| entry.id.is_some())
    }

    /// The texts that a handset would show, by destination, in order of completion: parts are put
    /// together by sender and reference, a repeated part counts once, and a message of which parts
    /// are missing is not shown.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<String, Vec<String>> {
        let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut waiting: BTreeMap<_, BTreeMap<u8, &str>> = BTreeMap::new();
        for entry in self.taken() {
            let destination = entry.destination.text.clone();
            let Some(part) = entry.part else {
                texts
                    .entry(destination)
                    .or_default()
                    .push(entry.text.clone());
                continue;
            };
            let key = (
                destination.clone(),
                entry.source.text.clone(),
                part.reference,
                part.total,
            );
            let parts = waiting.entry(key.clone()).or_default();
            parts.insert(part.index, &entry.text);
            if parts.len() == usize::from(part.total) {
                texts
                    .entry(destination)
                    .or_default()
                    .push(parts.values().copied().collect());
                waiting.remove(&key);
            }
        }
        texts
    }

    /// Most `submit_sm` that were ever unanswered at once on one connection.
    #[must_use]
    pub fn widest(&self) -> usize {
        self.submitted
            .iter()
            .map(|entry| entry.outstanding)
            .max()
            .unwrap_or(0)
    }
}
