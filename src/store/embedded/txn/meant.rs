//! Whom a receipt is for, and whether that is sure.
//!
//! Carriers report in another writing than they answered in, so every form of an id is looked up.
//! Where several are bound, the recipient decides, then what is known of the account, then time
//! (carriers begin their ids anew).
//!
//! Short ids read as well in the other number base: "32" is 0x20, and may be the receipt of a message
//! that was answered "20", or the early one of a message that will be answered "32". So a match is
//! believed at once only if the id is written as this carrier is known to write (as answered, until it
//! is known), or is too long to fit by chance. Any other is believed if there is nothing to the handset
//! that it could be for as well, because it is unanswered or its answer was lost, and if the message
//! awaits its receipt or was told the same. Else the receipt is kept, and all of this is asked again
//! when an id is bound that it may name, and after a time that doubles.

use std::sync::Arc;
use std::time::Duration;

use super::Txn;
use crate::domain::id::{Account, MessageId};
use crate::domain::message::{Message, Progress, State};
use crate::domain::msisdn::Msisdn;
use crate::domain::receipt::{IdWriting, Known, answered_forms, is_long};
use crate::domain::sim;
use crate::domain::time::Timestamp;
use crate::store::codec::{Bound, Earlier};
use crate::store::kv::Kv;
use crate::store::{ReceiptReport, StoreError, keys};

/// How long after the last that was heard of a final message another receipt for it is likely.
const STALE: Duration = Duration::from_hours(7 * 24);

/// Most messages to one handset that are looked at for a receipt that names none.
const LOOKED_AT: usize = 20;

/// A segment that a receipt may be for.
#[derive(Clone)]
struct Candidate {
    bound: Bound,
    /// What its id would have been written like.
    writing: IdWriting,
    /// False if the receipt names another handset.
    to_handset: bool,
}

/// Whom a receipt is for.
pub(super) enum Meant {
    /// For this segment; with what its id is written like, where that teaches anything.
    Segment(Bound, IdWriting),
    /// For this segment, of which nobody knew whether the carrier has it.
    Doubtful(Earlier),
    /// For some segment that is known, or for one whose id is not known yet.
    Unsure,
    /// For none that is known.
    Nobody,
}

impl<K: Kv> Txn<'_, K> {
    /// Whom a receipt is for, as far as can be told now.
    pub(super) fn meant(
        &self,
        report: &ReceiptReport,
        now: Timestamp,
    ) -> Result<Meant, StoreError> {
        if sim::is_reference(&report.reference) {
            return self.meant_by_sim(report, now);
        }
        if report.reference.is_empty() {
            let found = self.by_handset(report)?;
            let segment = |bound| Meant::Segment(bound, IdWriting::Handset);
            return Ok(found.map_or(Meant::Nobody, segment));
        }
        let learnt = self.shared.writings().learnt(&report.account);
        let Some(candidate) = self.lookup(report, learnt, now)? else {
            return Ok(Meant::Nobody);
        };
        let Candidate {
            bound,
            writing,
            to_handset,
        } = candidate;
        if to_handset && is_sure(report, writing, learnt) {
            return Ok(Meant::Segment(bound, writing));
        }
        if self.is_unanswered(report)? {
            return Ok(Meant::Unsure);
        }
        // As it was answered: only what is on its way could have made it another's.
        if writing == IdWriting::Same || is_sure(report, writing, learnt) {
            return Ok(Meant::Segment(bound, writing));
        }
        let known = self.known(&bound)?;
        let tells_nothing_else =
            known.is_some_and(|it| it == Known::Awaiting || it == report.receipt.state.known());
        Ok(if tells_nothing_else && !self.has_doubts(report)? {
            Meant::Segment(bound, writing)
        } else {
            Meant::Unsure
        })
    }

    /// The likeliest segment.
    fn lookup(
        &self,
        report: &ReceiptReport,
        learnt: Option<IdWriting>,
        now: Timestamp,
    ) -> Result<Option<Candidate>, StoreError> {
        let mut forms = answered_forms(&report.reference);
        forms.extend(report.other.iter().flat_map(|id| answered_forms(id)));
        // A stable sort: what is learnt first, else the likeliest.
        forms.sort_by_key(|(writing, _)| !is(*writing, learnt));
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
                fitting.push(Candidate {
                    bound,
                    writing,
                    to_handset: true,
                });
            } else if second_choice.is_none()
                && report.otherwise.is_none()
                && (writing == IdWriting::Same || is(writing, learnt))
            {
                // The right writing with another number: some carriers rewrite numbers on the way
                // back. Not where only a text says so: any handset could write one.
                second_choice = Some(Candidate {
                    bound,
                    writing,
                    to_handset: false,
                });
            }
        }
        if fitting.len() > 1 {
            for candidate in &fitting {
                if self.is_fresh(candidate.bound.id, now)? {
                    return Ok(Some(candidate.clone()));
                }
            }
        }
        Ok(fitting.into_iter().next().or(second_choice))
    }

    /// False if the message has been final for so long that a receipt is hardly for it.
    fn is_fresh(&self, id: MessageId, now: Timestamp) -> Result<bool, StoreError> {
        match self.look_at(id) {
            Ok(message) => {
                Ok(!message.status().is_final() || now.since(message.updated_at) < STALE)
            }
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The one segment on the account that awaits a receipt from this handset, if there is one only,
    /// and if nothing to that handset is unanswered, which the receipt could be for as well.
    fn by_handset(&self, report: &ReceiptReport) -> Result<Option<Bound>, StoreError> {
        let Some(handset) = report.handset else {
            return Ok(None);
        };
        let mut found = None;
        for message in self.lately_to(handset)? {
            for bound in awaiting(&message, &report.account, handset) {
                let Some(bound) = bound else {
                    return Ok(None);
                };
                if found.replace(bound).is_some() {
                    return Ok(None);
                }
            }
        }
        Ok(found)
    }

    /// What is known of a segment, unless its message is forgotten.
    fn known(&self, bound: &Bound) -> Result<Option<Known>, StoreError> {
        match self.look_at(bound.id) {
            Ok(message) => {
                let attempt = message.attempts.get(usize::from(bound.attempt));
                let segment = attempt.and_then(|a| a.segments.get(usize::from(bound.segment)));
                Ok(segment.map(|segment| segment.known))
            }
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// True if something to the handset that a receipt names is unanswered on its account.
    fn is_unanswered(&self, report: &ReceiptReport) -> Result<bool, StoreError> {
        let Some(handset) = report.handset else {
            return Ok(false);
        };
        let unanswered = |message: &Arc<Message>| {
            let awaited = awaiting(message, &report.account, handset);
            awaited.iter().any(Option::is_none)
        };
        Ok(self.lately_to(handset)?.iter().any(unanswered))
    }

    /// True if a carrier may have taken something to the handset that a receipt names, and its answer
    /// is not known: the receipt may be under an id that never will be.
    fn has_doubts(&self, report: &ReceiptReport) -> Result<bool, StoreError> {
        let Some(handset) = report.handset else {
            return Ok(false);
        };
        let doubtful = |message: &Arc<Message>| {
            let mut segments = message.attempts.iter().flat_map(|tried| &tried.segments);
            message.maybe_duplicate || segments.any(|it| it.progress == Progress::InDoubt)
        };
        Ok(self.lately_to(handset)?.iter().any(doubtful))
    }

    /// The latest messages to a handset, and any that is on its way there: in a long queue it is not
    /// the latest that leaves.
    pub(super) fn lately_to(&self, handset: Msisdn) -> Result<Vec<Arc<Message>>, StoreError> {
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
            match self.look_at(id) {
                Ok(message) => messages.push(message),
                Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(messages)
    }
}

/// True if an id that was found in this writing cannot be another one's.
pub(super) fn is_sure(
    report: &ReceiptReport,
    writing: IdWriting,
    learnt: Option<IdWriting>,
) -> bool {
    let mut ids = [Some(&report.reference), report.other.as_ref()]
        .into_iter()
        .flatten();
    is(writing, learnt.or(Some(IdWriting::Same))) || ids.all(|id| is_long(id))
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
                    at: message.updated_at,
                    told: None,
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
