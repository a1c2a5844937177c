//! Receipts and the references that they name: one place in the key space, two visitors.
//!
//! Whichever of answer and receipt comes first leaves word for the other: the answer binds its
//! reference, the receipt is parked under its own. Carriers report in another writing than they
//! answered in, so every form of an id is looked up. Where several are bound, the recipient decides,
//! then time (carriers begin their ids anew), then what is known of the account.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Txn;
use crate::domain::event::{Event, Sending};
use crate::domain::id::{Account, MessageId};
use crate::domain::message::{Message, Progress, State};
use crate::domain::msisdn::Msisdn;
use crate::domain::receipt::{
    IdWriting, Known, answered_forms, canonical_reference, reference_forms,
};
use crate::domain::time::Timestamp;
use crate::store::codec::{Bound, Orphans};
use crate::store::kv::Kv;
use crate::store::{Change, ReceiptReport, Receiving, StoreError, TakenIn, keys};

/// How much earlier than the answer to its submission a receipt may come.
const OVERTAKING: Duration = Duration::from_secs(60);

/// Most receipts kept under one unknown reference.
const ORPHANS_PER_REFERENCE: usize = 16;

/// How long after the last that was heard of a final message another receipt for it is likely.
const STALE: Duration = Duration::from_hours(7 * 24);

/// Most messages to one handset that are looked at for a receipt that names none.
const LOOKED_AT: usize = 20;

/// A segment that a receipt may be for, and what its id would have been written like.
type Candidate = (Bound, IdWriting);

impl<K: Kv> Txn<'_, K> {
    /// Joins a reference to its segment, and merges the receipts that were there before it.
    pub(super) fn bind(
        &mut self,
        reference: &str,
        id: MessageId,
        by: Sending,
        segment: u16,
        now: Timestamp,
    ) -> Result<Option<Change>, StoreError> {
        let message = &self.hold(id)?.message;
        let Some(attempt) = message.attempts.get(usize::from(by.attempt)) else {
            return Ok(None);
        };
        // Some carriers take a message and give it no id; nothing can ever be joined to that.
        if reference.trim().is_empty() {
            return Ok(None);
        }
        let (to, account) = (message.to, &attempt.account.clone());
        let canonical = canonical_reference(reference);
        let bound = Bound {
            id,
            attempt: by.attempt,
            segment,
            to,
            before: Vec::new(),
        };
        let key = keys::reference(account, &canonical);
        let bound = match self.get::<Bound>(&key)? {
            Some(known) => bound.after(known),
            None => bound,
        };
        self.put(key, &bound)?;
        if self.shared.orphans.load(Ordering::Relaxed) + self.orphans <= 0 {
            return Ok(None);
        }
        let mut merged = None::<Change>;
        for form in reference_forms(reference) {
            let key = keys::orphan(account, &form);
            let Some(orphans) = self.get::<Orphans>(&key)? else {
                continue;
            };
            // The recipient decides, because carriers begin their ids anew; where a carrier rewrites
            // numbers on the way back, only a receipt that overtook its answer can be this one's.
            let overtook = form == canonical && now.since(orphans.since) < OVERTAKING;
            let (mine, others): (Vec<_>, Vec<_>) = orphans
                .receipts
                .into_iter()
                .partition(|report| report.handset.is_none_or(|handset| handset == to) || overtook);
            if mine.is_empty() {
                continue;
            }
            if others.is_empty() {
                self.write(key, None);
                self.orphans -= 1;
            } else {
                self.put(
                    key,
                    &Orphans {
                        receipts: others,
                        since: orphans.since,
                    },
                )?;
            }
            for report in mine {
                let event = Event::Receipt {
                    attempt: by.attempt,
                    segment,
                    reference: report.reference,
                    receipt: report.receipt,
                };
                if let Ok(change) = self.apply(id, &event, now)? {
                    merged = Some(change);
                }
            }
        }
        Ok(merged)
    }

    /// Takes in a receipt: for the message that it names, or kept until there is one.
    ///
    /// # Errors
    /// The engine's own.
    pub(in crate::store::embedded) fn receive(
        &mut self,
        report: ReceiptReport,
        now: Timestamp,
    ) -> Result<Receiving, StoreError> {
        let found = if report.reference.is_empty() {
            self.by_handset(&report)?
        } else {
            self.lookup(&report, now)?
        };
        let Some((bound, writing)) = found else {
            if let Some(inbound) = report.otherwise {
                let mut taken = TakenIn::default();
                self.take_in(*inbound, &mut taken)?;
                return Ok(Receiving::TakenIn(taken));
            }
            if report.reference.is_empty() {
                return Ok(Receiving::Nameless);
            }
            return self.park(report, now);
        };
        // Ids in two number bases read alike: while something else to the handset is unanswered, this
        // may be its receipt, come before the answer, and is kept for it. Where it is not yet known
        // how this carrier writes, only if the segment has had its receipt.
        if !is_sure(writing, report.learnt)
            && (report.learnt.is_some() || self.is_reported(&bound)?)
            && self.is_unanswered(&report)?
        {
            return self.park(report, now);
        }
        let writing = self.writing(&bound, &report, writing)?;
        let event = Event::Receipt {
            attempt: bound.attempt,
            segment: bound.segment,
            reference: report.reference,
            receipt: report.receipt,
        };
        match self.apply(bound.id, &event, now) {
            Ok(Ok(change)) => Ok(Receiving::Matched(change, writing)),
            Ok(Err(_)) | Err(StoreError::NotFound) => Ok(Receiving::Duplicate),
            Err(error) => Err(error),
        }
    }

    /// Keeps a receipt until a reference that it names is bound.
    fn park(&mut self, report: ReceiptReport, now: Timestamp) -> Result<Receiving, StoreError> {
        let report = ReceiptReport {
            learnt: None,
            ..report
        };
        let mut forms = vec![canonical_reference(&report.reference)];
        if let Some(other) = &report.other
            && !reference_forms(other).contains(&forms[0])
        {
            forms.push(canonical_reference(other));
        }
        let mut receiving = Receiving::Duplicate;
        for form in forms {
            let key = keys::orphan(&report.account, &form);
            let known = self.get::<Orphans>(&key)?;
            if known.is_none() {
                self.orphans += 1;
            }
            let mut orphans = known.unwrap_or(Orphans {
                receipts: Vec::new(),
                since: now,
            });
            let full = orphans.receipts.len() >= ORPHANS_PER_REFERENCE;
            if full || orphans.receipts.contains(&report) {
                continue;
            }
            orphans.receipts.push(report.clone());
            self.put(key, &orphans)?;
            receiving = Receiving::Parked;
        }
        Ok(receiving)
    }

    /// The segment that a receipt is for.
    fn lookup(
        &mut self,
        report: &ReceiptReport,
        now: Timestamp,
    ) -> Result<Option<Candidate>, StoreError> {
        let mut forms = answered_forms(&report.reference);
        forms.extend(report.other.iter().flat_map(|id| answered_forms(id)));
        // A stable sort: what is learnt first, else the likeliest.
        forms.sort_by_key(|(writing, _)| !is(*writing, report.learnt));
        let mut fitting: Vec<Candidate> = Vec::new();
        let mut second_choice = None;
        for (writing, form) in forms {
            let Some(bound) = self.get::<Bound>(&keys::reference(&report.account, &form))? else {
                continue;
            };
            let fits = match report.handset {
                Some(handset) => bound.of(handset),
                None => Some(bound.clone()),
            };
            if let Some(bound) = fits {
                fitting.push((bound, writing));
            } else if second_choice.is_none()
                && report.otherwise.is_none()
                && (writing == IdWriting::Same || is(writing, report.learnt))
            {
                // The right writing with another number: some carriers rewrite numbers on the way
                // back. Not where only a text says so: any handset could write one.
                second_choice = Some((bound, writing));
            }
        }
        if fitting.len() > 1 {
            for candidate in &fitting {
                if self.is_fresh(candidate.0.id, now)? {
                    return Ok(Some(candidate.clone()));
                }
            }
        }
        Ok(fitting.into_iter().next().or(second_choice))
    }

    /// False if the message has been final for so long that a receipt is hardly for it.
    fn is_fresh(&mut self, id: MessageId, now: Timestamp) -> Result<bool, StoreError> {
        match self.hold(id) {
            Ok(held) => {
                let message = &held.message;
                Ok(!message.status().is_final() || now.since(message.updated_at) < STALE)
            }
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tells apart what canonical forms do not: whether the id was written exactly as answered.
    fn writing(
        &mut self,
        bound: &Bound,
        report: &ReceiptReport,
        writing: IdWriting,
    ) -> Result<IdWriting, StoreError> {
        if writing != IdWriting::Same {
            return Ok(writing);
        }
        let held = match self.hold(bound.id) {
            Ok(held) => held,
            Err(StoreError::NotFound) => return Ok(writing),
            Err(error) => return Err(error),
        };
        let answered = held
            .message
            .attempts
            .get(usize::from(bound.attempt))
            .and_then(|attempt| attempt.segments.get(usize::from(bound.segment)))
            .is_some_and(|segment| {
                let ids = [Some(&report.reference), report.other.as_ref()];
                let known = |id: &String| segment.references.iter().any(|answered| answered == id);
                ids.into_iter().flatten().any(known)
            });
        Ok(if answered {
            IdWriting::Same
        } else {
            IdWriting::Folded
        })
    }

    /// The one segment on the account that awaits a receipt from this handset, if there is one only,
    /// and if nothing to that handset is unanswered, which the receipt could be for as well.
    fn by_handset(&mut self, report: &ReceiptReport) -> Result<Option<Candidate>, StoreError> {
        let Some(handset) = report.handset else {
            return Ok(None);
        };
        let mut found = None;
        for message in self.lately_to(handset)? {
            for bound in awaiting(&message, &report.account, handset) {
                let Some(bound) = bound else {
                    return Ok(None);
                };
                if found.replace((bound, IdWriting::Handset)).is_some() {
                    return Ok(None);
                }
            }
        }
        Ok(found)
    }

    /// True if a segment awaits no receipt any more.
    fn is_reported(&mut self, bound: &Bound) -> Result<bool, StoreError> {
        match self.hold(bound.id) {
            Ok(held) => {
                let attempt = held.message.attempts.get(usize::from(bound.attempt));
                let segment = attempt.and_then(|a| a.segments.get(usize::from(bound.segment)));
                Ok(segment.is_none_or(|segment| segment.known != Known::Awaiting))
            }
            Err(StoreError::NotFound) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// True if something to the handset that a receipt names is unanswered on its account.
    fn is_unanswered(&mut self, report: &ReceiptReport) -> Result<bool, StoreError> {
        let Some(handset) = report.handset else {
            return Ok(false);
        };
        let unanswered = |message: &Arc<Message>| {
            let awaited = awaiting(message, &report.account, handset);
            awaited.iter().any(Option::is_none)
        };
        Ok(self.lately_to(handset)?.iter().any(unanswered))
    }

    /// The latest messages to a handset, and any that is on its way there: in a long queue it is not
    /// the latest that leaves.
    fn lately_to(&mut self, handset: Msisdn) -> Result<Vec<Arc<Message>>, StoreError> {
        let mut ids = Vec::new();
        let range = keys::recipient_range(handset, None);
        for pair in self.kv.scan(range, true).take(LOOKED_AT) {
            let (key, _) = pair.map_err(|error| self.fail(error.into()))?;
            let id = keys::trailing_id(&key).map(uuid::Uuid::from_bytes);
            ids.extend(id.map(MessageId));
        }
        ids.extend(self.index().leased_to(handset));
        let in_hand = self.held.values().map(|held| &held.message);
        let leaves = |it: &&Arc<Message>| it.to == handset && matches!(it.state, State::Leased(_));
        ids.extend(in_hand.filter(leaves).map(|it| it.id));
        ids.sort_unstable();
        ids.dedup();
        let mut messages = Vec::with_capacity(ids.len());
        for id in ids {
            match self.hold(id) {
                Ok(held) => messages.push(held.message.clone()),
                Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(messages)
    }
}

/// True unless the writing is in another number base than the answer, and not known to be this
/// carrier's.
fn is_sure(writing: IdWriting, learnt: Option<IdWriting>) -> bool {
    let converted = matches!(writing, IdWriting::Decimal | IdWriting::Hexadecimal);
    !converted || is(writing, learnt)
}

/// True if this writing is the one that was learnt.
fn is(writing: IdWriting, learnt: Option<IdWriting>) -> bool {
    match learnt {
        Some(IdWriting::Folded) => writing == IdWriting::Same,
        learnt => learnt == Some(writing),
    }
}

/// The segments of a message that await a receipt on this account; `None` for one of which nobody
/// knows whether it was taken.
fn awaiting(message: &Message, account: &Account, to: Msisdn) -> Vec<Option<Bound>> {
    let mut awaiting = Vec::new();
    for (attempt, tried) in (0..).zip(&message.attempts) {
        if tried.account != *account || matches!(message.state, State::Final(_)) {
            continue;
        }
        for (segment, part) in (0..).zip(&tried.segments) {
            match part.progress {
                Progress::Accepted if part.known == Known::Awaiting => awaiting.push(Some(Bound {
                    id: message.id,
                    attempt,
                    segment,
                    to,
                    before: Vec::new(),
                })),
                Progress::InDoubt => awaiting.push(None),
                Progress::Unsent if matches!(message.state, State::Leased(_)) => {
                    awaiting.push(None);
                }
                Progress::Accepted | Progress::Unsent => {}
            }
        }
    }
    awaiting
}
