//! What the embedded store keeps in memory, rebuilt from the live records at every start: the due
//! queue of each lane, deadlines, leases, and counts.
//!
//! Nothing here can drift from the records: a record's entries are a function of it, removed when
//! the writer takes the record up and added again, from the record as it then is, after the commit.
//! While the writer holds a record no claim can see it.
//!
//! A lane's free messages are for any account of its route, its pinned ones for one account alone.
//! While messages leave one at a time to each recipient, those that would overtake stand in line
//! behind the one that is leased; a line moves on when that one's outcome is committed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::places::Places;
use super::{Gauges, Reach, why_code};
use crate::domain::id::{Account, Lane, MessageId, OperatorName};
use crate::domain::message::{Message, State};
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;

/// A place in an order by time.
pub(super) type Place = (Timestamp, MessageId);

/// Number of priorities (SMPP 3.4 §5.2.14).
const PRIORITIES: usize = 4;

/// One claim in so many takes the message that is due longest, whatever its priority, so that
/// urgent traffic cannot starve the rest.
const FAIR_EVERY: u64 = 10;

/// Messages that wait, by priority, in due order.
type Waiting = [Places; PRIORITIES];

/// The messages of one lane.
#[derive(Default)]
struct Queue {
    /// Those that any account of the route may send.
    free: Waiting,
    /// Those that only one account may send.
    pinned: BTreeMap<Account, Waiting>,
    /// Recipients that one is leased for, or that several wait for in line.
    lines: HashMap<Msisdn, Line>,
    /// How many stand in line.
    in_line: usize,
    taken: u64,
}

/// The messages to one recipient, while they leave one at a time.
#[derive(Default)]
struct Line {
    /// How many are leased now.
    leased: usize,
    /// Those whose turn came too early. They are in no other queue.
    behind: Waiting,
}

impl Line {
    fn is_behind_empty(&self) -> bool {
        self.behind.iter().all(Places::is_empty)
    }
}

impl Queue {
    fn waiting(&mut self, pinned: Option<&Account>) -> &mut Waiting {
        match pinned {
            None => &mut self.free,
            Some(account) => self.pinned.entry(account.clone()).or_default(),
        }
    }

    fn remove(&mut self, message: &Message, place: Place) {
        let priority = priority(message);
        match message.pinned_to() {
            Some(account) => {
                if let Some(waiting) = self.pinned.get_mut(account) {
                    waiting[priority].remove(&place);
                    if waiting.iter().all(Places::is_empty) {
                        self.pinned.remove(account);
                    }
                }
            }
            None => {
                self.free[priority].remove(&place);
                if let Some(line) = self.lines.get_mut(&message.to) {
                    self.in_line -= usize::from(line.behind[priority].remove(&place));
                }
            }
        }
    }

    /// Lets the next in line go, if nothing to this recipient is leased: the first of each priority,
    /// since which of them it is depends on whose turn it is.
    fn advance(&mut self, to: Msisdn) {
        let Some(line) = self.lines.get_mut(&to) else {
            return;
        };
        if line.leased > 0 {
            return;
        }
        for (behind, free) in line.behind.iter_mut().zip(&mut self.free) {
            if let Some(place) = behind.pop_first() {
                free.insert(place);
                self.in_line -= 1;
            }
        }
        if line.is_behind_empty() {
            self.lines.remove(&to);
        }
    }

    /// Puts everybody who stands in line back where they were.
    fn dissolve_lines(&mut self) {
        if self.in_line == 0 {
            return;
        }
        self.in_line = 0;
        for line in self.lines.values_mut() {
            for (behind, free) in line.behind.iter_mut().zip(&mut self.free) {
                free.append(behind);
            }
        }
        self.lines.retain(|_, line| line.leased > 0);
    }

    /// What this claimant may take.
    fn within<'a>(
        &'a self,
        reach: &'a Reach,
    ) -> impl Iterator<Item = (Option<&'a Account>, &'a Waiting)> {
        let pinned = reach.pinned.iter();
        let pinned = pinned.filter_map(|account| Some((Some(account), self.pinned.get(account)?)));
        reach
            .free
            .then_some((None, &self.free))
            .into_iter()
            .chain(pinned)
    }
}

/// Everything that is looked up without going to the disk.
#[derive(Default)]
pub(super) struct Index {
    lanes: HashMap<Lane, Queue>,
    deadlines: Places,
    /// Keys of kept receipts of which it was not sure whom they are for, by when to look again. One
    /// that has found its message meanwhile is found gone.
    reconsidered: BTreeSet<(Timestamp, Vec<u8>)>,
    leased: HashMap<MessageId, Message>,
    /// Messages whose lease the writer has taken up: their recipients are not free before the commit
    /// has put them back, or the next in line could overtake one that was refused.
    landing: HashMap<MessageId, Lane>,
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
                let waiting = self.queue(message).waiting(message.pinned_to());
                waiting[priority(message)].insert((*due_at, message.id));
                let key = (message.lane.operator.clone(), why_code(why));
                *self.waiting.entry(key).or_default() += 1;
            }
            State::Leased(_) => {
                self.leased.insert(message.id, message.clone());
                let line = self.queue(message).lines.entry(message.to).or_default();
                line.leased += 1;
            }
            State::Submitted { .. } | State::Final(_) => {}
        }
        if !message.status().is_final() {
            self.live += 1;
        }
        if let Some(lane) = self.landing.remove(&message.id)
            && let Some(queue) = self.lanes.get_mut(&lane)
        {
            if let Some(line) = queue.lines.get_mut(&message.to) {
                line.leased = line.leased.saturating_sub(1);
            }
            queue.advance(message.to);
        }
    }

    /// Removes what follows from a record.
    pub(super) fn remove(&mut self, message: &Message) {
        if let Some(deadline) = message.deadline() {
            self.deadlines.remove(&(deadline, message.id));
        }
        match &message.state {
            State::Waiting { due_at, why } => {
                let queue = self.queue(message);
                queue.remove(message, (*due_at, message.id));
                // It may have been the one that others stood in line behind.
                queue.advance(message.to);
                let key = (message.lane.operator.clone(), why_code(why));
                if let Some(count) = self.waiting.get_mut(&key) {
                    *count = count.saturating_sub(1);
                }
            }
            State::Leased(_) => {
                self.leased.remove(&message.id);
                self.landing.insert(message.id, message.lane.clone());
            }
            State::Submitted { .. } | State::Final(_) => {}
        }
        if !message.status().is_final() {
            self.live = self.live.saturating_sub(1);
        }
    }

    /// A message that was taken out of the order is leased now.
    pub(super) fn lease(&mut self, waiting: &Message, leased: &Message) {
        // Nobody behind it may go because it goes.
        let queue = self.queue(waiting);
        queue.lines.entry(waiting.to).or_default().leased += 1;
        self.remove(waiting);
        self.add(leased);
        let queue = self.queue(waiting);
        if let Some(line) = queue.lines.get_mut(&waiting.to) {
            line.leased -= 1;
        }
    }

    /// Puts a message that was taken out of the order in line behind the one to the same recipient
    /// that is leased. False if there is none: then it is its turn.
    pub(super) fn stand_in_line(&mut self, message: &Message, due_at: Timestamp) -> bool {
        let queue = self.queue(message);
        let Some(line) = queue
            .lines
            .get_mut(&message.to)
            .filter(|line| line.leased > 0)
        else {
            return false;
        };
        line.behind[priority(message)].insert((due_at, message.id));
        queue.in_line += 1;
        // It has not had its turn.
        queue.taken = queue.taken.wrapping_sub(1);
        true
    }

    /// A message that was taken out of the order is not for this claimant: it has not had its turn, and
    /// is put back before anybody else looks.
    pub(super) fn set_aside(&mut self, lane: &Lane) {
        if let Some(queue) = self.lanes.get_mut(lane) {
            queue.taken = queue.taken.wrapping_sub(1);
        }
    }

    /// Puts a free message that was set aside back where it was.
    pub(super) fn put_back(&mut self, message: &Message, due_at: Timestamp) {
        self.queue(message).free[priority(message)].insert((due_at, message.id));
    }

    /// A message that was taken out of the order stays out of it: those behind it may go.
    pub(super) fn pass_over(&mut self, message: &Message) {
        self.queue(message).advance(message.to);
    }

    fn queue(&mut self, message: &Message) -> &mut Queue {
        self.lanes.entry(message.lane.clone()).or_default()
    }

    /// Takes the message whose turn it is, of those within reach, if one is due, out of the lane's
    /// order. Its deadline still stands; what else follows from it goes when the caller removes the
    /// record.
    pub(super) fn pop(&mut self, lane: &Lane, reach: &Reach, now: Timestamp) -> Option<MessageId> {
        let queue = self.lanes.get_mut(lane)?;
        let fair = queue.taken % FAIR_EVERY == FAIR_EVERY - 1;
        let due = |set: &Places| set.first().copied().filter(|(at, _)| *at <= now);
        let firsts = queue.within(reach).flat_map(|(pin, waiting)| {
            let sets = waiting.iter().enumerate();
            sets.filter_map(move |(priority, set)| Some((due(set)?, priority, pin)))
        });
        let (place, priority, pin) = if fair {
            firsts.min_by_key(|(place, ..)| *place)?
        } else {
            firsts.min_by_key(|(place, priority, _)| (Reverse(*priority), *place))?
        };
        let pin = pin.cloned();
        queue.waiting(pin.as_ref())[priority].remove(&place);
        queue.taken = queue.taken.wrapping_add(1);
        Some(place.1)
    }

    /// Number of free messages of a lane that wait at a priority.
    pub(super) fn waiting(&self, lane: &Lane, priority: u8) -> usize {
        let queue = self.lanes.get(lane);
        queue.map_or(0, |queue| queue.free[rank(priority)].len())
    }

    /// Where the first message of a lane and priority waits, wherever that is.
    pub(super) fn first(&self, lane: &Lane, priority: u8) -> Option<Place> {
        let queue = self.lanes.get(lane)?;
        let lines = queue.lines.values().map(|line| &line.behind);
        let all = std::iter::once(&queue.free)
            .chain(queue.pinned.values())
            .chain(lines);
        let firsts = all.filter_map(|waiting| waiting[rank(priority)].first());
        firsts.min().copied()
    }

    /// The last of the first `count` free messages of a lane and priority that are due.
    pub(super) fn ahead(
        &self,
        lane: &Lane,
        priority: u8,
        now: Timestamp,
        count: usize,
    ) -> Option<Place> {
        let due = self.lanes.get(lane)?.free[rank(priority)].iter();
        due.take(count)
            .take_while(|(at, _)| *at <= now)
            .last()
            .copied()
    }

    /// Puts everybody who stands in line back where they were: they may leave all at once.
    pub(super) fn dissolve_lines(&mut self, lane: &Lane) {
        if let Some(queue) = self.lanes.get_mut(lane) {
            queue.dissolve_lines();
        }
    }

    /// When the lane has work next for somebody with this reach.
    pub(super) fn next_due(&self, lane: &Lane, reach: &Reach) -> Option<Timestamp> {
        let waiting = self.lanes.get(lane)?.within(reach);
        first_of(waiting.map(|(_, waiting)| waiting))
    }

    /// The lanes that hold messages.
    pub(super) fn lanes(&self) -> Vec<Lane> {
        let holds = |queue: &Queue| {
            let mut waiting = std::iter::once(&queue.free).chain(queue.pinned.values());
            waiting.any(|waiting| waiting.iter().any(|set| !set.is_empty()))
        };
        self.lanes
            .iter()
            .filter(|(_, queue)| holds(queue))
            .map(|(lane, _)| lane.clone())
            .collect()
    }

    /// The accounts that messages of a lane are pinned to.
    pub(super) fn pins(&self, lane: &Lane) -> Vec<Account> {
        let queue = self.lanes.get(lane);
        queue.map_or_else(Vec::new, |queue| queue.pinned.keys().cloned().collect())
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

    /// Kept receipts are looked at again at this time.
    pub(super) fn reconsider(&mut self, at: Timestamp, key: Vec<u8>) {
        self.reconsidered.insert((at, key));
    }

    /// Takes out the keys of up to `limit` kept receipts to look at again now.
    pub(super) fn take_reconsidered(&mut self, now: Timestamp, limit: usize) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        while keys.len() < limit
            && self.reconsidered.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = self.reconsidered.pop_first()
        {
            keys.push(key);
        }
        keys
    }

    /// Forgets a deadline whose record cannot be read.
    pub(super) fn drop_deadline(&mut self, place: Place) {
        self.deadlines.remove(&place);
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let reconsidered = self.reconsidered.first().map(|(at, _)| *at);
        deadline.into_iter().chain(reconsidered).min()
    }

    /// The record of a message that is leased.
    pub(super) fn leased(&self, id: MessageId) -> Option<&Message> {
        self.leased.get(&id)
    }

    /// The messages to a recipient that are leased.
    pub(super) fn leased_to(&self, to: Msisdn) -> impl Iterator<Item = MessageId> {
        let leased = self.leased.values();
        leased
            .filter(move |message| message.to == to)
            .map(|message| message.id)
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
        for (lane, queue) in &self.lanes {
            let waiting = std::iter::once(&queue.free).chain(queue.pinned.values());
            let waited = first_of(waiting).map_or(0.0, |due| now.since(due).as_secs_f64());
            let entry = oldest.entry(lane.operator.clone()).or_default();
            *entry = entry.max(waited);
        }
        gauges.oldest = oldest.into_iter().collect();
    }
}

fn priority(message: &Message) -> usize {
    rank(message.priority)
}

fn rank(priority: u8) -> usize {
    usize::from(priority).min(PRIORITIES - 1)
}

/// The earliest due time of some queues.
fn first_of<'a>(waiting: impl Iterator<Item = &'a Waiting>) -> Option<Timestamp> {
    let firsts = waiting.flatten().filter_map(|set| set.first());
    firsts.map(|(at, _)| *at).min()
}
