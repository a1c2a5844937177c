//! What must be true of a world as a whole.

use std::collections::{BTreeMap, BTreeSet};

use relais::domain::message::{Message, What};
use relais::domain::time::Timestamp;
use relais::sim::smsc::DeliveredEntry;

use super::{Court, part};
use crate::plan::marked;

impl Court<'_> {
    /// Nothing begins to leave by an account that is paused.
    pub(super) fn paused(&mut self) {
        let notes = &self.evidence.notes;
        // Where pauses of one account overlap, the end of one is the end of both; and a resumption that
        // the daemon was not there to hear comes when it is.
        let sure = notes.paused.iter().filter(|it| {
            let mut others = notes.paused.iter().filter(|o| o.account == it.account);
            !others.any(|other| it.from <= other.resumed && other.until < it.until)
        });
        let sure: Vec<_> = sure.collect();
        let mut found = Vec::new();
        for carrier in self
            .evidence
            .carriers
            .iter()
            .filter(|carrier| !carrier.silent)
        {
            let mut begun = BTreeSet::new();
            for entry in &carrier.submitted {
                let number = marked(&entry.text);
                let paused = sure.iter().any(|it| {
                    it.account == carrier.account && it.from < entry.at && entry.at < it.until
                });
                if begun.insert(number) && paused {
                    found.push(number);
                }
            }
        }
        for number in found {
            self.find(
                "paused",
                number,
                "it left by an account that was paused".to_owned(),
            );
        }
    }

    /// A part that is durably known to be with a carrier is never sent again.
    pub(super) fn known_parts(&mut self) {
        for carrier in self
            .evidence
            .carriers
            .iter()
            .filter(|carrier| !carrier.silent)
        {
            for entry in &carrier.submitted {
                let Some(number) = marked(&entry.text) else {
                    continue;
                };
                let known = self.evidence.known.get(&(number, part(entry)));
                if known.is_some_and(|known| *known < entry.at) {
                    let what = format!(
                        "part {} was known to be taken and sent again",
                        part(entry) + 1
                    );
                    self.find("known parts", Some(number), what);
                }
            }
        }
    }

    /// A crash makes forget at most what was under way: the sum of the windows.
    pub(super) fn crashes(&mut self) {
        let windows: usize = self
            .evidence
            .carriers
            .iter()
            .map(|c| c.window * c.binds)
            .sum();
        let kills = self.evidence.notes.kills.len();
        if self.forgotten > kills * windows {
            let what = format!(
                "{} answers forgotten by {kills} kills, windows {windows}",
                self.forgotten
            );
            self.find("crashes", None, what);
        }
    }

    /// Messages to one recipient leave in the order in which they were accepted, where nothing
    /// came between: one bind, one claim each, nothing refused, doubted or forgotten.
    pub(super) fn order(&mut self, records: &BTreeMap<u32, Vec<&Message>>) {
        if !self.evidence.notes.kills.is_empty() {
            return;
        }
        let mut last: BTreeMap<_, (Timestamp, u32)> = BTreeMap::new();
        for carrier in self
            .evidence
            .carriers
            .iter()
            .filter(|carrier| carrier.binds == 1)
        {
            let mut seen = BTreeSet::new();
            for entry in &carrier.submitted {
                let Some(number) = marked(&entry.text) else {
                    continue;
                };
                let Some([message]) = records.get(&number).map(Vec::as_slice) else {
                    continue;
                };
                let troubled = message.claims > 1 || message.send_at.is_some();
                if troubled || message.attempts.len() > 1 || !seen.insert(number) {
                    continue;
                }
                let key = (
                    &carrier.account,
                    message.to,
                    message.priority,
                    &message.lane,
                );
                let (at, before) = last
                    .insert(key, (message.created_at, number))
                    .unwrap_or_default();
                if at > message.created_at {
                    let what = format!("it left after {before}, which came later");
                    self.find("order", Some(number), what);
                }
            }
        }
    }

    /// The receiver of webhooks sees every change of status of a message, in order.
    pub(super) fn told(&mut self) {
        let mut told: BTreeMap<_, Vec<(u32, u64)>> = BTreeMap::new();
        for (id, revision, life) in &self.evidence.notes.told {
            told.entry(*id).or_default().push((*revision, *life));
        }
        for message in &self.evidence.records {
            let number = marked(&message.text);
            let (mut highest, mut last) = (0, (0, 0));
            for (revision, life) in told.remove(&message.id).unwrap_or_default() {
                // What was told and not yet settled in one life is told again in the next.
                let again = life > last.1;
                if revision > highest + 1 || (revision <= last.0 && !again) {
                    let what = format!("revision {revision} was told after {}", last.0);
                    self.find("told in order", number, what);
                }
                highest = highest.max(revision);
                last = (revision, life);
            }
            if highest != message.revision {
                let what = format!("revision {highest} was told last of {}", message.revision);
                self.find("told", number, what);
            }
        }
        for id in told.keys() {
            self.find("told", None, format!("{id} was told of and does not exist"));
        }
    }

    /// What handsets sent and we acknowledged is there.
    pub(super) fn inbound(&mut self) {
        let mut texts: BTreeMap<&str, usize> = BTreeMap::new();
        for inbound in &self.evidence.inbound {
            *texts.entry(&inbound.text).or_default() += 1;
        }
        let acknowledged: Vec<&str> = self
            .evidence
            .carriers
            .iter()
            .flat_map(|carrier| &carrier.delivered)
            .filter(|entry| entry.id.is_none() && entry.answer == Some(0))
            .map(|entry| entry.says.trim_end())
            .collect();
        for says in acknowledged {
            if !texts.keys().any(|text| text.contains(says)) {
                let what = format!("{says:?} was acknowledged and is not there");
                self.find("inbound kept", None, what);
            }
        }
        // A carrier that sends again what it has no answer to may be told twice; else once is once.
        for (text, times) in texts.iter().filter(|(text, _)| text.starts_with("mo")) {
            let sent = |entry: &&DeliveredEntry| {
                entry.id.is_none() && text.contains(entry.says.trim_end())
            };
            let entries = self
                .evidence
                .carriers
                .iter()
                .flat_map(|carrier| &carrier.delivered);
            let again = entries
                .filter(sent)
                .filter(|entry| entry.answer != Some(0))
                .count();
            if *times > 1 + again {
                let what = format!("{text:?} is there {times} times, sent again {again} times");
                self.find("inbound once", None, what);
            }
        }
    }

    /// A number gets nothing more once its STOP was acknowledged, unless a START followed.
    pub(super) fn opted_out(&mut self) {
        let entries = self
            .evidence
            .carriers
            .iter()
            .flat_map(|carrier| &carrier.delivered);
        let said = |entry: &DeliveredEntry| entry.says.trim().trim_end_matches('.').to_uppercase();
        let mut stops: BTreeMap<&str, Timestamp> = BTreeMap::new();
        let mut starts: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for entry in entries.filter(|entry| entry.id.is_none()) {
            match said(entry).as_str() {
                "START" => {
                    let last = starts.entry(&entry.handset).or_default();
                    *last = entry.at.max(*last);
                }
                "STOP" | "ARRÊT" if entry.answer == Some(0) => {
                    let at = entry.at + entry.took.unwrap_or_default();
                    let first = stops.entry(&entry.handset).or_insert(at);
                    *first = at.min(*first);
                }
                _ => {}
            }
        }
        stops.retain(|handset, stop| !starts.contains_key(handset) && *stop < self.evidence.ended);
        let mut begun = BTreeSet::new();
        for carrier in self
            .evidence
            .carriers
            .iter()
            .filter(|carrier| !carrier.silent)
        {
            for entry in &carrier.submitted {
                let number = marked(&entry.text);
                let stop = stops.get(entry.destination.text.as_str());
                // The rest of a text of which a part has left already is not held back.
                if stop.is_none_or(|stop| entry.at <= *stop) {
                    begun.insert(number);
                } else if !begun.contains(&number) {
                    let what =
                        "it was sent after the STOP of its number was acknowledged".to_owned();
                    self.find("opted out", number, what);
                }
            }
        }
    }

    /// No session ever carries more than its window; as a carrier sees it, that can only be said
    /// where nothing was given up as unanswered.
    pub(super) fn windows(&mut self) {
        let doubtful = |message: &Message| {
            let doubt = |happening: &relais::domain::message::Happening| {
                matches!(happening.what, What::Doubt { .. })
            };
            message.events.iter().any(doubt)
        };
        if self.evidence.records.iter().any(doubtful) {
            return;
        }
        for carrier in &self.evidence.carriers {
            let widest = carrier
                .submitted
                .iter()
                .map(|entry| entry.outstanding)
                .max();
            if widest.unwrap_or(0) > carrier.window {
                let what = format!(
                    "{widest:?} unanswered at {} with a window of {}",
                    carrier.account, carrier.window
                );
                self.find("window", None, what);
            }
        }
    }
}
