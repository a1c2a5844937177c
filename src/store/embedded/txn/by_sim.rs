//! Whom a status report of a SIM is for.
//!
//! TP-MR counts to 255 and comes round within minutes; a report may take days. So one reference, of
//! SIM, recipient and TP-MR, has belonged to several submissions, and time tells them apart. A report
//! says when its service centre took the message ([`Taken`]). By our own clock the submission was not
//! after that; by the clock of the service centre, which may be wrong, it was then. What was told by
//! a report with the same TP-SCTS is certainly meant. Else those whose time agrees are likelier, then
//! those that still await a report, then the nearest.
//!
//! A submission whose answer was lost has no reference, and its report may be all that is ever heard
//! of it. So a report that fits no submission, or only one of another time, **settles the doubt**
//! about the one segment to that handset that was sent about then: it is accepted under the report's
//! reference. Not while something to that handset is leased that the report could be for as well, and
//! not where two could be meant: then the report is kept, and all of this is asked again.

use std::sync::Arc;
use std::time::Duration;

use super::Txn;
use super::meant::Meant;
use crate::domain::apply::Transition;
use crate::domain::event::{Event, Sending};
use crate::domain::id::Account;
use crate::domain::message::{Attempt, Message, State, What};
use crate::domain::msisdn::Msisdn;
use crate::domain::receipt::{IdWriting, Known, Taken, canonical_reference};
use crate::domain::sim;
use crate::domain::time::Timestamp;
use crate::store::codec::{Bound, Earlier, Orphans};
use crate::store::embedded::txn::receipts::reconsidered_after;
use crate::store::kv::Kv;
use crate::store::{Change, ReceiptReport, Receiving, StoreError, keys};

/// Most submissions that one reference is remembered for.
const PLACES_MAX: usize = 8;

/// How much later than a message was taken its submission may be bound: modems answer late.
const ANSWERED_WITHIN: Duration = Duration::from_mins(10);

/// How far a submission and the time that a report names may be apart, and still agree.
const NEAR: Duration = Duration::from_mins(5);

/// How much earlier than the time that a report names a doubtful submission may have been.
const DOUBTED_WITHIN: Duration = Duration::from_mins(15);

/// How exact the difference of two time stamps is: each counts whole seconds.
const EXACT: Duration = Duration::from_secs(5);

/// Most reports kept under one unknown reference; beyond, the oldest goes.
const PARKED_MAX: usize = 16;

impl<K: Kv> Txn<'_, K> {
    /// Joins what a SIM has answered to its segment, and merges the reports that came before it.
    pub(super) fn bind_by_sim(
        &mut self,
        place: Earlier,
        account: &Account,
        canonical: &str,
    ) -> Result<Option<Change>, StoreError> {
        self.remember(place, account, canonical)?;
        if !self.has_orphans() {
            return Ok(None);
        }
        let key = keys::orphan(account, canonical);
        let Some(Orphans { receipts, since }) = self.get(&key)? else {
            return Ok(None);
        };
        let now = place.at;
        // One that has no time of its own is as old as the first that came.
        let fits = |report: &ReceiptReport| match report.taken {
            Some(taken) => is_possible(now, taken),
            None => now.since(since) < ANSWERED_WITHIN,
        };
        let scts = |report: &ReceiptReport| report.taken.map(|taken| taken.at);
        // Of two messages that other programs may have sent too, the later one is this one.
        let latest = receipts.iter().filter(|it| fits(it)).map(scts).max();
        let mut merged = None;
        let (mut kept, before) = (Vec::new(), receipts.len());
        for report in receipts {
            if fits(&report) && Some(scts(&report)) == latest {
                let told = self.tell_segment(place.of(), report, IdWriting::Same, now)?;
                merged = joined(merged, told.map(|(change, _)| change));
            } else {
                kept.push(report);
            }
        }
        if kept.len() < before {
            self.leave(key, kept, since)?;
        }
        Ok(merged)
    }

    /// Remembers that a reference of a SIM belongs to a segment.
    fn remember(
        &mut self,
        place: Earlier,
        account: &Account,
        canonical: &str,
    ) -> Result<(), StoreError> {
        let key = keys::reference(account, canonical);
        let known = self.get::<Bound>(&key)?;
        let mut places: Vec<_> = known.iter().flat_map(Bound::places).collect();
        if places.iter().any(|known| known.of() == place.of()) {
            return Ok(());
        }
        let newer = places.iter().filter(|known| known.at > place.at).count();
        places.insert(newer, place);
        places.truncate(PLACES_MAX);
        match Bound::of_places(places.into_iter()) {
            Some(bound) => self.put(key, &bound),
            None => Ok(()),
        }
    }

    /// Remembers which message a report was for, by its TP-SCTS.
    pub(super) fn note_told(
        &mut self,
        place: super::receipts::Place,
        report: &ReceiptReport,
    ) -> Result<(), StoreError> {
        let key = keys::reference(&report.account, &canonical_reference(&report.reference));
        let (Some(taken), Some(bound)) = (report.taken, self.get::<Bound>(&key)?) else {
            return Ok(());
        };
        let mut places: Vec<_> = bound.places().collect();
        let Some(told) = places.iter_mut().find(|known| known.of() == place) else {
            return Ok(());
        };
        if told.told.is_some() {
            return Ok(());
        }
        told.told = Some(taken.at);
        match Bound::of_places(places.into_iter()) {
            Some(bound) => self.put(key, &bound),
            None => Ok(()),
        }
    }

    /// Whom a status report is for, as far as can be told now.
    pub(super) fn meant_by_sim(
        &self,
        report: &ReceiptReport,
        now: Timestamp,
    ) -> Result<Meant, StoreError> {
        let segment = |place: Earlier| Meant::Segment(Bound::from(place), IdWriting::Same);
        let best = match self.bound_by_sim(report, now)? {
            Some((place, true)) => return Ok(segment(place)),
            Some((place, false)) => Some(place),
            None => None,
        };
        let otherwise = || best.map_or(Meant::Nobody, segment);
        let Some(handset) = report.handset else {
            return Ok(otherwise());
        };
        let lately = self.lately_to(handset)?;
        let mine = |account: &Account| {
            let used = |tried: &Attempt| {
                let mut references = tried.segments.iter().flat_map(|it| &it.references);
                tried.account == *account
                    && references.any(|known| sim::is_same(known, &report.reference))
            };
            // The SIM may have been in another modem when it sent.
            *account == report.account || lately.iter().any(|it| it.attempts.iter().any(used))
        };
        let leaving = |message: &Arc<Message>| {
            let in_time = |taken: Taken| message.updated_at <= taken.before + EXACT;
            matches!(&message.state, State::Leased(lease) if mine(&lease.account))
                && report.taken.is_none_or(in_time)
        };
        if lately.iter().any(leaving) {
            return Ok(Meant::Unsure);
        }
        let Some(taken) = report.taken else {
            return Ok(otherwise());
        };
        let mut doubtful = lately
            .iter()
            .flat_map(|message| doubtful(message, mine, handset, taken));
        Ok(match (doubtful.next(), doubtful.next()) {
            (None, _) => otherwise(),
            (Some(place), None) => Meant::Doubtful(Earlier {
                at: taken.before.min(now),
                ..place
            }),
            (Some(_), Some(_)) => Meant::Unsure,
        })
    }

    /// The likeliest of the submissions that a report's reference belongs to, and whether it is
    /// likely enough.
    fn bound_by_sim(
        &self,
        report: &ReceiptReport,
        now: Timestamp,
    ) -> Result<Option<(Earlier, bool)>, StoreError> {
        let key = keys::reference(&report.account, &canonical_reference(&report.reference));
        let Some(bound) = self.get::<Bound>(&key)? else {
            return Ok(None);
        };
        let mut best = None;
        for place in bound.places() {
            let (near, apart) = match report.taken {
                // Nothing else has the same reference and the same time stamp.
                Some(taken) if place.told == Some(taken.at) => return Ok(Some((place, true))),
                Some(taken) if place.told.is_some() || !is_possible(place.at, taken) => continue,
                Some(taken) => (is_near(place.at, taken), apart(place.at, moment(taken))),
                None => (false, apart(place.at, now)),
            };
            let elsewhere = report.handset.is_some_and(|handset| handset != place.to);
            let rank = (elsewhere, !near, !self.awaits(&place)?, apart);
            if best.as_ref().is_none_or(|(known, _)| rank < *known) {
                best = Some((rank, place));
            }
        }
        Ok(best.map(|((_, far, ..), place)| (place, !far)))
    }

    /// True if a segment of a message that is not over awaits its report.
    fn awaits(&self, place: &Earlier) -> Result<bool, StoreError> {
        match self.look_at(place.id) {
            Ok(message) => {
                let attempt = message.attempts.get(usize::from(place.attempt));
                let segment = attempt.and_then(|it| it.segments.get(usize::from(place.segment)));
                let open = !message.status().is_final();
                Ok(open && segment.is_some_and(|segment| segment.known == Known::Awaiting))
            }
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Settles the doubt about a segment by the report that is for it: it was accepted, under the
    /// report's reference.
    pub(super) fn adopt(
        &mut self,
        place: Earlier,
        report: ReceiptReport,
        now: Timestamp,
    ) -> Result<Option<Change>, StoreError> {
        let event = Event::SegmentAccepted {
            // Of whichever claim: none is the claim of number 0.
            by: Sending {
                attempt: place.attempt,
                claim: 0,
            },
            segment: place.segment,
            reference: report.reference.clone(),
        };
        let accepted = match self.apply(place.id, &event, now) {
            Ok(accepted) => accepted.ok(),
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let canonical = canonical_reference(&report.reference);
        self.remember(place, &report.account, &canonical)?;
        let told = self.tell_segment(place.of(), report, IdWriting::Same, now)?;
        Ok(joined(accepted, told.map(|(change, _)| change)))
    }

    /// Keeps a status report until its reference is bound, or until it is sure whom it is for.
    pub(super) fn park_by_sim(
        &mut self,
        report: ReceiptReport,
        unsure: bool,
        now: Timestamp,
    ) -> Result<Receiving, StoreError> {
        let key = keys::orphan(&report.account, &canonical_reference(&report.reference));
        let known = self.get::<Orphans>(&key)?;
        self.orphans += i64::from(known.is_none());
        let mut orphans = known.unwrap_or(Orphans {
            receipts: Vec::new(),
            since: now,
        });
        if unsure {
            let again = now + reconsidered_after(&key);
            self.index().reconsider(again, key.clone());
        }
        if orphans.receipts.iter().any(|known| is_same(known, &report)) {
            return Ok(Receiving::Duplicate);
        }
        if orphans.receipts.len() >= PARKED_MAX {
            orphans.receipts.remove(0);
        }
        orphans.receipts.push(report);
        self.put(key, &orphans)?;
        Ok(Receiving::Parked)
    }
}

impl Earlier {
    /// Which segment it is.
    pub(super) const fn of(&self) -> super::receipts::Place {
        (self.id, self.attempt, self.segment)
    }
}

/// When a message was taken, as well as it is known: a clock that is ahead of ours is wrong.
fn moment(taken: Taken) -> Timestamp {
    taken.at.min(taken.before)
}

fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

/// True if a submission that was bound then may be the one that was taken.
fn is_possible(bound: Timestamp, taken: Taken) -> bool {
    bound <= taken.before + ANSWERED_WITHIN
}

/// True if a submission was bound about when a message was taken, by either clock.
fn is_near(bound: Timestamp, taken: Taken) -> bool {
    apart(bound, taken.at) <= NEAR || apart(bound, taken.before) <= NEAR
}

/// True if one report says what another one has said: only when it came is another.
fn is_same(one: &ReceiptReport, other: &ReceiptReport) -> bool {
    let came = |report: &ReceiptReport| report.taken.map(|taken| taken.before);
    let later = ReceiptReport {
        taken: one.taken.map(|taken| Taken {
            before: came(other).unwrap_or(taken.before),
            ..taken
        }),
        ..one.clone()
    };
    later == *other
}

/// The segments of a message that were sent over these accounts when a message was taken, and of
/// whose submission nobody knows what became.
fn doubtful(
    message: &Message,
    mine: impl Fn(&Account) -> bool,
    to: Msisdn,
    taken: Taken,
) -> Vec<Earlier> {
    let mut found = Vec::new();
    for (attempt, tried) in (0..).zip(&message.attempts) {
        if !mine(&tried.account) || !was_in_doubt(message, tried, taken) {
            continue;
        }
        for (segment, part) in (0..).zip(&tried.segments) {
            if part.doubts > 0 {
                found.push(Earlier {
                    id: message.id,
                    attempt,
                    segment,
                    to,
                    at: taken.before,
                    told: None,
                });
            }
        }
    }
    found
}

/// True if a submission of this attempt whose answer was lost may be the one that was taken. It was
/// made after whatever happened before, and before it was doubted.
fn was_in_doubt(message: &Message, tried: &Attempt, taken: Taken) -> bool {
    let mut after = tried.started_at;
    for line in &message.events {
        match line.what {
            _ if line.at < tried.started_at => {}
            What::Doubt(_) => {
                let in_time = line.at + DOUBTED_WITHIN >= moment(taken);
                // What left later was not taken then, whatever the clocks say: the report counts
                // back from when it came.
                if in_time && after <= taken.before + EXACT {
                    return true;
                }
                after = line.at;
            }
            // They come whenever they come.
            What::Receipt { .. } => {}
            _ => after = line.at,
        }
    }
    false
}

/// Two steps in one commit are one change to whoever watches.
pub(super) fn joined(first: Option<Change>, then: Option<Change>) -> Option<Change> {
    match (first, then) {
        (Some(first), Some(then)) => Some(Change {
            transition: Transition {
                from: first.transition.from,
                to: then.transition.to,
            },
            message: then.message,
        }),
        (first, then) => then.or(first),
    }
}
