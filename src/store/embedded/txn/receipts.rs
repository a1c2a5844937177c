//! Receipts and the references that they name: one place in the key space, two visitors.
//!
//! Whichever of answer and receipt comes first leaves word for the other: the answer binds its
//! reference, the receipt is parked under its own. Whom a receipt is for is asked in `meant`; for what
//! a SIM has sent, in `by_sim`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Txn;
use super::meant::{Meant, is_sure};
use crate::domain::event::{Event, Sending};
use crate::domain::id::MessageId;
use crate::domain::receipt::{IdWriting, canonical_reference, reads_alike, reference_forms};
use crate::domain::sim;
use crate::domain::time::Timestamp;
use crate::store::codec::{Bound, Earlier, Orphans};
use crate::store::kv::Kv;
use crate::store::{Change, ReceiptReport, Receiving, StoreError, TakenIn, keys};

/// How much earlier than the answer to its submission a receipt may come.
const OVERTAKING: Duration = Duration::from_secs(60);

/// When a receipt of which it was not sure whom it is for is looked at again: most submissions are
/// answered by then, or never. The next time is after as long again as it has waited.
const RECONSIDERED_AFTER: Duration = Duration::from_secs(60);

/// The same for a status report of a SIM, which may keep a message from being sent again.
const RECONSIDERED_BY_SIM_AFTER: Duration = Duration::from_secs(10);

/// When what is kept under a key is looked at again.
pub(in crate::store::embedded) fn reconsidered_after(key: &[u8]) -> Duration {
    if keys::is_of_sim(key) {
        RECONSIDERED_BY_SIM_AFTER
    } else {
        RECONSIDERED_AFTER
    }
}

/// Most receipts kept under one unknown reference.
const ORPHANS_PER_REFERENCE: usize = 16;

/// Message, attempt and segment.
pub(super) type Place = (MessageId, u16, u16);

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
        let place = Earlier {
            id,
            attempt: by.attempt,
            segment,
            to,
            at: now,
            told: None,
        };
        if sim::is_reference(&canonical) {
            return self.bind_by_sim(place, account, &canonical);
        }
        let bound = Bound::from(place);
        let key = keys::reference(account, &canonical);
        let bound = match self.get::<Bound>(&key)? {
            Some(known) => bound.after(known),
            None => bound,
        };
        self.put(key, &bound)?;
        if !self.has_orphans() {
            return Ok(None);
        }
        let mut merged = None::<Change>;
        for form in reference_forms(reference) {
            let key = keys::orphan(account, &form);
            let Some(orphans) = self.get::<Orphans>(&key)? else {
                continue;
            };
            // Where a carrier rewrites numbers on the way back, only a receipt that overtook its answer
            // can be this one's.
            let overtook = form == canonical && now.since(orphans.since) < OVERTAKING;
            let place = (id, by.attempt, segment);
            let mut kept = Vec::new();
            let before = orphans.receipts.len();
            for report in orphans.receipts {
                // The recipient decides, because carriers begin their ids anew.
                let fits = report.handset.is_none_or(|handset| handset == to);
                let writing = if !fits && overtook {
                    Some(IdWriting::Handset)
                } else if fits {
                    self.is_for(place, form == canonical, &report, now)?
                } else {
                    None
                };
                let Some(writing) = writing else {
                    kept.push(report);
                    continue;
                };
                if let Some((change, _)) = self.tell_segment(place, report, writing, now)? {
                    merged = Some(change);
                }
            }
            if kept.len() < before {
                self.leave(key.clone(), kept.clone(), orphans.since)?;
            }
            if !kept.is_empty() {
                self.index().reconsider(now + RECONSIDERED_AFTER, key);
            }
        }
        Ok(merged)
    }

    /// True if any receipt is kept that has not found its message.
    pub(super) fn has_orphans(&self) -> bool {
        self.shared.orphans.load(Ordering::Relaxed) + self.orphans > 0
    }

    /// The writing in which a kept receipt names a segment that has just been bound, if it is for it.
    fn is_for(
        &mut self,
        place: Place,
        as_answered: bool,
        report: &ReceiptReport,
        now: Timestamp,
    ) -> Result<Option<IdWriting>, StoreError> {
        let learnt = self.shared.writings().learnt(&report.account);
        if as_answered && is_sure(report, IdWriting::Same, learnt) {
            return Ok(Some(IdWriting::Same));
        }
        Ok(match self.meant(report, now)? {
            Meant::Segment(bound, writing) => {
                ((bound.id, bound.attempt, bound.segment) == place).then_some(writing)
            }
            Meant::Doubtful(_) | Meant::Unsure | Meant::Nobody => None,
        })
    }

    /// Looks again at kept receipts of which it was not sure whom they are for.
    pub(super) fn reconsider(
        &mut self,
        now: Timestamp,
        limit: usize,
        changes: &mut Vec<Change>,
    ) -> Result<(), StoreError> {
        let due = self.index().take_reconsidered(now, limit);
        for key in due {
            let Some(orphans) = self.get::<Orphans>(&key)? else {
                continue;
            };
            let before = orphans.receipts.len();
            let (mut kept, mut unsure) = (Vec::new(), false);
            for report in orphans.receipts {
                match self.meant(&report, now)? {
                    Meant::Segment(bound, writing) => {
                        let place = (bound.id, bound.attempt, bound.segment);
                        let told = self.tell_segment(place, report, writing, now)?;
                        changes.extend(told.map(|(change, _)| change));
                    }
                    Meant::Doubtful(place) => changes.extend(self.adopt(place, report, now)?),
                    Meant::Unsure => {
                        unsure = true;
                        kept.push(report);
                    }
                    Meant::Nobody => kept.push(report),
                }
            }
            if unsure {
                let wait = now.since(orphans.since).max(reconsidered_after(&key));
                self.index().reconsider(now + wait, key.clone());
            }
            if kept.len() < before {
                self.leave(key, kept, orphans.since)?;
            }
        }
        Ok(())
    }

    /// Leaves those receipts under a key that have not found their message.
    pub(super) fn leave(
        &mut self,
        key: Vec<u8>,
        receipts: Vec<ReceiptReport>,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        if receipts.is_empty() {
            self.write(key, None);
            self.orphans -= 1;
            return Ok(());
        }
        self.put(key, &Orphans { receipts, since })
    }

    /// Tells a segment what a receipt says, and learns from how that names it. `None` if it was known.
    pub(super) fn tell_segment(
        &mut self,
        (id, attempt, segment): Place,
        report: ReceiptReport,
        writing: IdWriting,
        now: Timestamp,
    ) -> Result<Option<(Change, IdWriting)>, StoreError> {
        let by_sim = sim::is_reference(&report.reference);
        let writing = if by_sim {
            self.note_told((id, attempt, segment), &report)?;
            writing
        } else {
            self.writing((id, attempt, segment), &report, writing)?
        };
        let teaches = !by_sim && !reads_alike(&report.reference);
        let account = report.account;
        let event = Event::Receipt {
            attempt,
            segment,
            reference: report.reference,
            receipt: report.receipt,
        };
        let change = match self.apply(id, &event, now) {
            Ok(Ok(change)) => change,
            Ok(Err(_)) | Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        if teaches {
            let taught = self.shared.writings().saw(&account, writing);
            if let Some(learnt) = taught {
                self.put(keys::writing(&account), &learnt)?;
            }
        }
        Ok(Some((change, writing)))
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
        match self.meant(&report, now)? {
            Meant::Segment(bound, writing) => {
                let place = (bound.id, bound.attempt, bound.segment);
                let told = self.tell_segment(place, report, writing, now)?;
                Ok(told.map_or(Receiving::Duplicate, |(change, writing)| {
                    Receiving::Matched(change, writing)
                }))
            }
            Meant::Doubtful(place) => {
                let told = self.adopt(place, report, now)?;
                Ok(told.map_or(Receiving::Duplicate, |change| {
                    Receiving::Matched(change, IdWriting::Handset)
                }))
            }
            Meant::Unsure => self.park(report, true, now),
            Meant::Nobody => {
                if let Some(inbound) = report.otherwise {
                    let mut taken = TakenIn::default();
                    self.take_in(*inbound, &mut taken)?;
                    return Ok(Receiving::TakenIn(taken));
                }
                if report.reference.is_empty() {
                    return Ok(Receiving::Nameless);
                }
                self.park(report, false, now)
            }
        }
    }

    /// Keeps a receipt until a reference that it names is bound.
    fn park(
        &mut self,
        report: ReceiptReport,
        unsure: bool,
        now: Timestamp,
    ) -> Result<Receiving, StoreError> {
        if sim::is_reference(&report.reference) {
            return self.park_by_sim(report, unsure, now);
        }
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
            self.put(key.clone(), &orphans)?;
            if unsure {
                self.index().reconsider(now + RECONSIDERED_AFTER, key);
            }
            receiving = Receiving::Parked;
        }
        Ok(receiving)
    }

    /// Tells apart what canonical forms do not: whether the id was written exactly as answered.
    fn writing(
        &mut self,
        (id, attempt, segment): Place,
        report: &ReceiptReport,
        writing: IdWriting,
    ) -> Result<IdWriting, StoreError> {
        if writing != IdWriting::Same {
            return Ok(writing);
        }
        let held = match self.hold(id) {
            Ok(held) => held,
            Err(StoreError::NotFound) => return Ok(writing),
            Err(error) => return Err(error),
        };
        let answered = held
            .message
            .attempts
            .get(usize::from(attempt))
            .and_then(|attempt| attempt.segments.get(usize::from(segment)))
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
}
