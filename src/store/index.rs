//! What the embedded store keeps in memory, rebuilt from the live records at every start: the due
//! queue of each lane, deadlines, leases, and counts.
//!
//! Nothing here can drift from the records: a record's entries are a function of it, removed when
//! the writer takes the record up and added again, from the record as it then is, after the commit.
//! While the writer holds a record no claim can see it.

use std::collections::{BTreeSet, HashMap};

use super::{Gauges, why_code};
use crate::domain::id::{Lane, MessageId, OperatorName};
use crate::domain::message::{Message, State};
use crate::domain::time::Timestamp;

/// A place in an order by time.
pub(super) type Place = (Timestamp, MessageId);

/// Number of priorities (SMPP 3.4 §5.2.14).
const PRIORITIES: usize = 4;

/// One claim in so many takes the message that is due longest, whatever its priority, so that
/// urgent traffic cannot starve the rest.
const FAIR_EVERY: u64 = 10;

/// The messages of a lane that wait, by priority, in due order.
#[derive(Default)]
struct Queue {
    waiting: [BTreeSet<Place>; PRIORITIES],
    taken: u64,
}

/// Everything that is looked up without going to the disk.
#[derive(Default)]
pub(super) struct Index {
    lanes: HashMap<Lane, Queue>,
    deadlines: BTreeSet<Place>,
    leased: HashMap<MessageId, Message>,
    waiting: HashMap<(OperatorName, &'static str), u64>,
    live: u64,
}

impl Index {
    /// Adds what follows from a record.
    pub(super) fn add(&mut self, message: &Message) {
        if let Some(deadline) = message.deadline() {
            self.deadlines.insert((deadline, message.id));
        }
        match &message.state {
            State::Waiting { due_at, why } => {
                self.queue(message).insert((*due_at, message.id));
                let key = (message.lane.operator.clone(), why_code(why));
                *self.waiting.entry(key).or_default() += 1;
            }
            State::Leased(_) => {
                self.leased.insert(message.id, message.clone());
            }
            State::Submitted { .. } | State::Final(_) => {}
        }
        if !message.status().is_final() {
            self.live += 1;
        }
    }

    /// Removes what follows from a record.
    pub(super) fn remove(&mut self, message: &Message) {
        if let Some(deadline) = message.deadline() {
            self.deadlines.remove(&(deadline, message.id));
        }
        match &message.state {
            State::Waiting { due_at, why } => {
                self.queue(message).remove(&(*due_at, message.id));
                let key = (message.lane.operator.clone(), why_code(why));
                if let Some(count) = self.waiting.get_mut(&key) {
                    *count = count.saturating_sub(1);
                }
            }
            State::Leased(_) => {
                self.leased.remove(&message.id);
            }
            State::Submitted { .. } | State::Final(_) => {}
        }
        if !message.status().is_final() {
            self.live = self.live.saturating_sub(1);
        }
    }

    fn queue(&mut self, message: &Message) -> &mut BTreeSet<Place> {
        let queue = self.lanes.entry(message.lane.clone()).or_default();
        &mut queue.waiting[usize::from(message.priority).min(PRIORITIES - 1)]
    }

    /// Takes the message whose turn it is, if one is due, out of the lane's order. Its deadline
    /// still stands; what else follows from it goes when the caller removes the record.
    pub(super) fn pop(&mut self, lane: &Lane, now: Timestamp) -> Option<MessageId> {
        let queue = self.lanes.get_mut(lane)?;
        let fair = queue.taken % FAIR_EVERY == FAIR_EVERY - 1;
        let due = |set: &BTreeSet<Place>| set.first().copied().filter(|(at, _)| *at <= now);
        let (place, priority) = if fair {
            queue
                .waiting
                .iter()
                .enumerate()
                .filter_map(|(p, set)| Some((due(set)?, p)))
                .min()?
        } else {
            queue
                .waiting
                .iter()
                .enumerate()
                .rev()
                .find_map(|(p, set)| Some((due(set)?, p)))?
        };
        queue.waiting[priority].remove(&place);
        queue.taken += 1;
        Some(place.1)
    }

    /// Number of messages of a lane that wait at a priority.
    pub(super) fn waiting(&self, lane: &Lane, priority: u8) -> usize {
        self.rank(lane, priority).map_or(0, BTreeSet::len)
    }

    /// Where the first message of a lane and priority waits.
    pub(super) fn first(&self, lane: &Lane, priority: u8) -> Option<Place> {
        self.rank(lane, priority)?.first().copied()
    }

    /// The last of the first `count` messages of a lane and priority that are due.
    pub(super) fn ahead(
        &self,
        lane: &Lane,
        priority: u8,
        now: Timestamp,
        count: usize,
    ) -> Option<Place> {
        let due = self.rank(lane, priority)?.iter();
        due.take(count)
            .take_while(|(at, _)| *at <= now)
            .last()
            .copied()
    }

    fn rank(&self, lane: &Lane, priority: u8) -> Option<&BTreeSet<Place>> {
        let queue = self.lanes.get(lane)?;
        queue.waiting.get(usize::from(priority).min(PRIORITIES - 1))
    }

    /// When the lane has work next.
    pub(super) fn next_due(&self, lane: &Lane) -> Option<Timestamp> {
        let queue = self.lanes.get(lane)?;
        queue
            .waiting
            .iter()
            .filter_map(|set| set.first())
            .map(|(at, _)| *at)
            .min()
    }

    /// The lanes that hold messages.
    pub(super) fn lanes(&self) -> Vec<Lane> {
        let holds = |queue: &Queue| queue.waiting.iter().any(|set| !set.is_empty());
        self.lanes
            .iter()
            .filter(|(_, queue)| holds(queue))
            .map(|(lane, _)| lane.clone())
            .collect()
    }

    /// Up to `limit` messages whose deadline is not after `now`.
    pub(super) fn overdue(&self, now: Timestamp, limit: usize) -> Vec<Place> {
        self.deadlines
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(limit)
            .copied()
            .collect()
    }

    /// Forgets a deadline whose record cannot be read.
    pub(super) fn drop_deadline(&mut self, place: Place) {
        self.deadlines.remove(&place);
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The record of a message that is leased.
    pub(super) fn leased(&self, id: MessageId) -> Option<&Message> {
        self.leased.get(&id)
    }

    /// Takes out a leased message and everything that follows from it.
    pub(super) fn take_leased(&mut self, id: MessageId) -> Option<Message> {
        let message = self.leased.remove(&id)?;
        self.remove(&message);
        Some(message)
    }

    /// True if a claim is in force.
    pub(super) fn has_leases(&self) -> bool {
        !self.leased.is_empty()
    }

    /// Messages that are not final.
    pub(super) const fn live(&self) -> u64 {
        self.live
    }

    /// Fills in the figures of messages.
    pub(super) fn gauges(&self, gauges: &mut Gauges, now: Timestamp) {
        gauges.live = self.live;
        gauges.waiting = self
            .waiting
            .iter()
            .map(|((operator, why), count)| (operator.clone(), *why, *count))
            .collect();
        let mut oldest: HashMap<OperatorName, f64> = HashMap::new();
        for lane in self.lanes.keys() {
            let waited = self
                .next_due(lane)
                .map_or(0.0, |due| now.since(due).as_secs_f64());
            let entry = oldest.entry(lane.operator.clone()).or_default();
            *entry = entry.max(waited);
        }
        gauges.oldest = oldest.into_iter().collect();
    }
}
