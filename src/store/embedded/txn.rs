//! The writer's unit of work: the verbs, over the engine as it is plus what this group has written.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Shared;
use crate::domain::apply::Refused;
use crate::domain::credit::Purse;
use crate::domain::event::{Event, Sending};
use crate::domain::id::{MessageId, Tenant};
use crate::domain::message::{Message, State};
use crate::domain::policy::{OnDoubt, Policy};
use crate::domain::receipt::canonical_reference;
use crate::domain::time::Timestamp;
use crate::store::codec::{Bound, Idempotent, Outgoing, Record, decode, encode};
use crate::store::frontier::{self, AHEAD, Rank};
use crate::store::index::{Index, Place};
use crate::store::kv::{Kv, Write};
use crate::store::outbox::deliveries;
use crate::store::{
    Accepted, Batch, Change, Idempotency, OutboxEvent, Report, Settled, StoreError, Submission,
    keys,
};

mod by_sim;
mod commit;
mod consents;
mod counts;
mod inbound;
mod ledgers;
mod meant;
mod optouts;
mod plans;
mod receipts;

pub(super) use consents::is_over;
pub(super) use inbound::read_part_sets;
pub(super) use plans::KEPT;
use plans::Sorted;
pub(super) use receipts::reconsidered_after;

/// Most messages of one submission that go into one engine batch: beyond about 200 the engine stops
/// reclaiming space (measured), so a large submission is written in pieces and sealed by the last.
const PIECE: usize = 64;

/// A record that the writer has in hand.
struct Held {
    message: Arc<Message>,
    /// Where its record stands on the disk now, if anywhere.
    stored_final: bool,
    dirty: bool,
}

/// The unit of work of one group of jobs.
pub(super) struct Txn<'a, K> {
    pub(super) kv: &'a K,
    pub(super) shared: &'a Shared,
    policy: Arc<Policy>,
    writes: Vec<Write>,
    positions: HashMap<Vec<u8>, usize>,
    held: HashMap<MessageId, Held>,
    /// Messages of this group that no record existed for.
    fresh: Vec<Arc<Message>>,
    /// How far claims may come once this is committed.
    reached: BTreeMap<Rank, Place>,
    outgoing: Vec<(u64, Outgoing)>,
    settled: Vec<(u64, Settled)>,
    /// What tenants have, where this group has changed it.
    purses: BTreeMap<Tenant, Purse>,
    /// How many of `outgoing` the engine has.
    outgoing_written: usize,
    orphans: i64,
    /// What the engine failed with: nothing more may be written then.
    failure: OnceCell<StoreError>,
}

impl<'a, K: Kv> Txn<'a, K> {
    pub(super) fn new(kv: &'a K, shared: &'a Shared) -> Self {
        Self {
            kv,
            shared,
            policy: shared.policy.borrow().clone(),
            writes: Vec::new(),
            positions: HashMap::new(),
            held: HashMap::new(),
            fresh: Vec::new(),
            reached: BTreeMap::new(),
            outgoing: Vec::new(),
            settled: Vec::new(),
            purses: BTreeMap::new(),
            outgoing_written: 0,
            orphans: 0,
            failure: OnceCell::new(),
        }
    }

    /// A unit of work that may not write, because the engine has failed before.
    pub(super) fn refusing(kv: &'a K, shared: &'a Shared, problem: &str) -> Self {
        let txn = Self::new(kv, shared);
        let _ = txn.failure.set(StoreError::Unavailable(problem.to_owned()));
        txn
    }

    /// Whether the engine has failed under this group; whoever asked for the read or the piece that
    /// failed has been told, but the rest of the group must not be committed after it.
    pub(super) fn failed(&self) -> Result<(), StoreError> {
        self.failure.get().cloned().map_or(Ok(()), Err)
    }

    /// Number of writes in hand.
    pub(super) fn size(&self) -> usize {
        self.writes.len() + self.held.values().filter(|held| held.dirty).count()
    }

    fn index(&self) -> MutexGuard<'a, Index> {
        self.shared
            .index
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.kv.get(key).map_err(|error| self.fail(error.into()))
    }

    fn fail(&self, error: StoreError) -> StoreError {
        let _ = self.failure.set(error.clone());
        error
    }

    pub(super) fn get<R: Record>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        let octets = match self.positions.get(key) {
            Some(position) => self.writes[*position].1.clone(),
            None => self.read(key)?,
        };
        octets.map(|octets| decode(key, &octets)).transpose()
    }

    /// Stores a record as it is.
    pub(super) fn put<R: Record>(&mut self, key: Vec<u8>, record: &R) -> Result<(), StoreError> {
        let octets = encode(record)?;
        self.write(key, Some(octets));
        Ok(())
    }

    /// Writes a value, or removes it without asking whether it is there.
    pub(super) fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        if let Some(position) = self.positions.get(&key) {
            self.writes[*position].1 = value;
        } else {
            self.positions.insert(key.clone(), self.writes.len());
            self.writes.push((key, value));
        }
    }

    /// True if there is a record under this key.
    fn is_there(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(match self.positions.get(key) {
            Some(position) => self.writes[*position].1.is_some(),
            None => self.read(key)?.is_some(),
        })
    }

    /// Removes a record; `NotFound` if there is none.
    pub(super) fn remove_record(&mut self, key: Vec<u8>) -> Result<(), StoreError> {
        if !self.is_there(&key)? {
            return Err(StoreError::NotFound);
        }
        self.write(key, None);
        Ok(())
    }

    /// A record from the engine, and whether it stands in the history.
    fn read_stored(&self, id: MessageId) -> Result<(Message, bool), StoreError> {
        let key = keys::live(id);
        if let Some(octets) = self.read(&key)? {
            return Ok((decode(&key, &octets)?, false));
        }
        let key = keys::history(id);
        let octets = self.read(&key)?.ok_or(StoreError::NotFound)?;
        Ok((decode(&key, &octets)?, true))
    }

    /// A record as it is now, without taking it in hand: it keeps its place in every order.
    pub(super) fn look_at(&self, id: MessageId) -> Result<Arc<Message>, StoreError> {
        if let Some(held) = self.held.get(&id) {
            return Ok(held.message.clone());
        }
        let leased = self.index().leased(id).cloned();
        let message = match leased {
            Some(leased) => leased,
            None => self.read_stored(id)?.0,
        };
        Ok(Arc::new(message))
    }

    /// Takes a record in hand: from now until the commit no claim can see it.
    fn hold(&mut self, id: MessageId) -> Result<&mut Held, StoreError> {
        if !self.held.contains_key(&id) {
            let mut index = self.index();
            let (message, stored_final) = match index.take_leased(id) {
                Some(leased) => (leased, false),
                None => {
                    let found = self.read_stored(id)?;
                    index.remove(&found.0);
                    found
                }
            };
            let held = Held {
                message: Arc::new(message),
                stored_final,
                dirty: false,
            };
            drop(index);
            self.held.insert(id, held);
        }
        self.held.get_mut(&id).ok_or(StoreError::NotFound)
    }

    /// Applies an event to a message. A refusal is a `None`, not an error of the store.
    fn apply(
        &mut self,
        id: MessageId,
        event: &Event,
        now: Timestamp,
    ) -> Result<Result<Change, Refused>, StoreError> {
        let (policy, shared) = (self.policy.clone(), self.shared);
        let held = self.hold(id)?;
        let message = Arc::make_mut(&mut held.message);
        let transition = match message.apply(event, &policy, now) {
            Ok(transition) => shared.fail_if_opted_out(message, transition, &policy, now),
            Err(refused) => return Ok(Err(refused)),
        };
        let returned = message.reclaim();
        shared.stamp(message);
        held.dirty = true;
        let message = held.message.clone();
        if let Some(charge) = returned {
            self.give_back(&message.tenant, &charge, id, now)?;
        }
        if transition.status_changed() {
            self.tell(
                &OutboxEvent::Message(message.clone()),
                &message.tenant,
                message.webhook_url.as_deref(),
                now,
            );
        }
        // A step of a way may end without a new status.
        if transition.status_changed() || message.terms.is_some() {
            self.judge_number(&message, now)?;
        }
        Ok(Ok(Change {
            message,
            transition,
        }))
    }

    /// Decides the webhook deliveries of an event, in the same commit as what caused it.
    fn tell(
        &mut self,
        event: &OutboxEvent,
        tenant: &Tenant,
        own_url: Option<&str>,
        now: Timestamp,
    ) {
        let webhooks = self
            .shared
            .webhooks
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for outgoing in deliveries(event, tenant, own_url, &webhooks, now) {
            self.send_out(outgoing);
        }
    }

    fn send_out(&mut self, outgoing: Outgoing) {
        let seq = self.shared.outbox_seq.fetch_add(1, Ordering::Relaxed);
        self.outgoing.push((seq, outgoing));
    }

    pub(super) fn accept(&mut self, submission: Submission) -> Result<Accepted, StoreError> {
        let Submission {
            tenant,
            idempotency,
            batch,
            messages,
            max_live,
            means,
            now,
        } = submission;
        if let Some(Idempotency { key, body }) = idempotency
            && let Some(known) = self.get::<Idempotent>(&keys::idempotency(&key))?
        {
            return if known.body == body {
                let places = known.duplicates.into_iter();
                Ok(Accepted::Repeated {
                    batch: known.batch,
                    messages: known.messages,
                    duplicates: places.filter_map(|it| usize::try_from(it).ok()).collect(),
                })
            } else {
                Err(StoreError::Conflict)
            };
        }
        let live = usize::try_from(self.index().live()).unwrap_or(usize::MAX);
        let live = live.saturating_add(self.fresh.len());
        let Sorted {
            mut messages,
            plans,
        } = self.sort(messages)?;
        // What is replaced makes room; what was told before needs none.
        let (new, gone) = (messages.len(), plans.replaced());
        if new > max_live || new > 0 && live.saturating_add(new) > max_live.saturating_add(gone) {
            return Err(StoreError::Full);
        }
        let returned = self.charges(&plans);
        let due = self.price(&tenant, &mut messages, &means, &returned, now)?;
        let ids = plans.in_order(messages.iter().map(|message| message.id), |told| told.id);
        let mut accepted: Vec<_> = messages
            .into_iter()
            .map(|mut message| {
                self.shared.stamp(&mut message);
                Arc::new(message)
            })
            .collect();
        // In pieces only where there is a seal to tell a whole submission from a torn one.
        let large = batch.is_some() && accepted.len() > PIECE;
        let next = self.next_to_leave(&accepted, now);
        for (count, message) in accepted.iter().enumerate() {
            if large && count % PIECE == 0 {
                self.flush_piece()?;
            }
            self.put(keys::live(message.id), &**message)?;
            self.write(keys::recipient(message.to, message.id), Some(Vec::new()));
        }
        // Ended together with the seal: of a torn submission only live records are there to go.
        for message in &mut accepted {
            if self.shared.is_unwanted(message, &self.policy) {
                self.in_hand(message.clone());
                if let Ok(change) = self.apply(message.id, &Event::OptedOut, now)? {
                    *message = change.message;
                }
            } else {
                self.fresh.push(message.clone());
            }
        }
        // What is replaced gives back first: it may be what the new one is paid with.
        let replaced = self.take_over(&plans, &accepted, now)?;
        if let Some(due) = due {
            let first = accepted.first().map(|message| &**message);
            self.pay(due, &tenant, &means, first, now)?;
        }
        // The seal: written last, so that recovery can tell a whole batch from a torn one.
        if let Some(id) = batch {
            self.put(
                keys::batch(id),
                &Batch {
                    id,
                    tenant,
                    messages: ids.clone(),
                    created_at: now,
                },
            )?;
        }
        if let Some(Idempotency { key, body }) = idempotency {
            let record = Idempotent {
                body,
                batch,
                messages: ids,
                duplicates: plans.duplicates(),
                at: now,
            };
            self.put(keys::idempotency(&key), &record)?;
        }
        self.reach(next)?;
        Ok(plans.answer(accepted, replaced))
    }

    /// Where those of `messages` stand that are due at once with no backlog before them: they are
    /// claimed next, and their claim shall not need a commit of its own.
    fn next_to_leave(&self, messages: &[Arc<Message>], now: Timestamp) -> BTreeMap<Rank, Place> {
        let mut next: BTreeMap<Rank, Place> = BTreeMap::new();
        if self.fresh.len() + messages.len() > AHEAD {
            return next;
        }
        let index = self.index();
        for message in messages {
            let State::Waiting { due_at, .. } = message.state else {
                continue;
            };
            let rank = frontier::rank(message);
            let operator = self.policy.operator(&message.lane.operator);
            let marked = message.doubt_rule(&self.policy) == OnDoubt::Resend
                && !message.must_be_seen_leaving()
                && !self.policy.is_by_modem(operator);
            if marked && due_at <= now && index.waiting(&rank.0, rank.1) < AHEAD {
                let place = next.entry(rank).or_insert((due_at, message.id));
                *place = (*place).max((due_at, message.id));
            }
        }
        next
    }

    /// Moves the marks up to which messages may be claimed.
    pub(super) fn reach(&mut self, places: BTreeMap<Rank, Place>) -> Result<(), StoreError> {
        if places.is_empty() {
            return Ok(());
        }
        for (rank, place) in places {
            let mark = self.reached.entry(rank).or_insert(place);
            *mark = (*mark).max(place);
        }
        let record = self.shared.frontier().with(&self.reached);
        self.put(keys::frontier(), &record)
    }

    pub(super) fn persist(&mut self, message: &Message) -> Result<(), StoreError> {
        self.put(keys::live(message.id), message)
    }

    /// Answers each of `all`. What a record that cannot be read makes impossible changes nothing: it
    /// must not hold up the others, which a channel would bring again and again.
    pub(super) fn each<T, R>(
        &mut self,
        all: Vec<T>,
        mut one: impl FnMut(&mut Self, T) -> Result<R, StoreError>,
        unreadable: impl Fn() -> R,
    ) -> Result<Vec<R>, StoreError> {
        let answer = |item| match one(self, item) {
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "report_on_unreadable_record");
                Ok(unreadable())
            }
            other => other,
        };
        all.into_iter().map(answer).collect()
    }

    pub(super) fn report(
        &mut self,
        report: &Report,
        now: Timestamp,
    ) -> Result<Option<Change>, StoreError> {
        let token = report.token();
        if let Report::Accepted { segment, .. } = report {
            // A reference is bound only where the record will carry it.
            let carries = match self.hold(token.message) {
                Ok(held) => held
                    .message
                    .attempts
                    .get(usize::from(token.attempt))
                    .is_some_and(|attempt| usize::from(*segment) < attempt.segments.len()),
                Err(StoreError::NotFound) => false,
                Err(error) => return Err(error),
            };
            if !carries {
                return Ok(None);
            }
        }
        let mut change = match self.apply(token.message, &report.event(), now) {
            Ok(applied) => applied.ok(),
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Report::Accepted {
            segment, reference, ..
        } = report
        {
            let by = Sending {
                attempt: token.attempt,
                claim: token.claim,
            };
            // Bind before merging: the receipt may already be parked under this reference.
            let merged = self.bind(reference, token.message, by, *segment, now)?;
            change = by_sim::joined(change, merged);
        }
        Ok(change)
    }

    pub(super) fn time_out(
        &mut self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError> {
        let overdue = self.index().overdue(now, limit);
        let mut changes = Vec::with_capacity(overdue.len());
        for place in overdue {
            match self.apply(place.1, &Event::DeadlinePassed, now) {
                Ok(Ok(change)) => changes.push(change),
                Ok(Err(_)) => {}
                Err(error) => {
                    // One record that cannot be read must not hold up the others.
                    tracing::error!(message_id = %place.1, %error, "deadline_of_unreadable_record");
                    self.index().drop_deadline(place);
                }
            }
        }
        self.reconsider(now, limit, &mut changes)?;
        Ok(changes)
    }

    pub(super) fn cancel(
        &mut self,
        tenant: &Tenant,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Change, StoreError> {
        let message = self.hold(id)?.message.clone();
        if message.tenant != *tenant {
            return Err(StoreError::NotFound);
        }
        // What it has paid, and its names, are free again only if it is certain that it has not left.
        if message.terms.is_some() {
            self.keep_doubt(id, now)?;
        }
        drop(message);
        self.apply(id, &Event::Cancelled, now)?
            .map_err(StoreError::from)
    }

    pub(super) fn outbox_settle(&mut self, seq: u64, settled: Settled) -> Result<(), StoreError> {
        let key = keys::outbox(seq);
        match settled {
            Settled::Done | Settled::GivenUp => self.write(key, None),
            Settled::Retry(due_at) => {
                let Some(mut outgoing) = self.get::<Outgoing>(&key)? else {
                    return Ok(());
                };
                outgoing.due_at = due_at;
                outgoing.tries += 1;
                self.put(key, &outgoing)?;
            }
        }
        self.settled.push((seq, settled));
        Ok(())
    }

    /// True if this group has the record in hand.
    pub(super) fn is_in_hand(&self, id: MessageId) -> bool {
        self.held.contains_key(&id)
    }

    /// Changes a record in what is no transition of its state.
    pub(super) fn change_record(
        &mut self,
        id: MessageId,
        change: impl FnOnce(&mut Message),
    ) -> Result<(), StoreError> {
        let held = self.hold(id)?;
        change(Arc::make_mut(&mut held.message));
        held.dirty = true;
        Ok(())
    }

    /// Removes a final message and everything that points at it.
    ///
    /// # Errors
    /// The engine's own.
    pub(super) fn forget(&mut self, message: &Message) -> Result<(), StoreError> {
        self.write(keys::history(message.id), None);
        self.write(keys::recipient(message.to, message.id), None);
        self.let_go(message)?;
        self.unbind(message)
    }

    /// Removes what the carriers' references of a message say of it.
    pub(super) fn unbind(&mut self, message: &Message) -> Result<(), StoreError> {
        for attempt in &message.attempts {
            for reference in attempt
                .segments
                .iter()
                .flat_map(|segment| &segment.references)
            {
                let key = keys::reference(&attempt.account, &canonical_reference(reference));
                // Carriers use their ids again (a modem counts to 255): it may be another's too.
                let bound = match self.get::<Bound>(&key) {
                    Ok(Some(bound)) => bound,
                    Ok(None) => continue,
                    // Left for fsck: it must not keep what is due to go.
                    Err(error @ StoreError::Corrupt { .. }) => {
                        tracing::error!(%error, "reference_unreadable");
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                match bound.without(message.id) {
                    Some(others) => self.put(key, &others)?,
                    None => self.write(key, None),
                }
            }
        }
        Ok(())
    }

    /// Removes receipts that nobody claimed, if nobody has since the look that found them.
    ///
    /// # Errors
    /// The engine's own.
    pub(super) fn forget_orphan(&mut self, key: Vec<u8>) -> Result<(), StoreError> {
        match self.remove_record(key) {
            Ok(()) => self.orphans -= 1,
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
