//! Requests that await their response, by `sequence_number`.
//!
//! A request that is not answered in time is reported once, and then remembered for a while as
//! *late*, so that an answer which arrives after all can still be told from a stranger's.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rusmpp::CommandId;

/// Largest sequence number (SMPP 3.4 §5.1.4).
const MAX_SEQUENCE: u32 = 0x7FFF_FFFF;

/// How many unanswered requests are remembered after their time-out.
const MAX_LATE: usize = 1024;

/// The unanswered requests of one session, each with a tag `T` of its sender.
#[derive(Debug)]
pub struct Window<T> {
    entries: HashMap<u32, Entry<T>>,
    /// Deadlines in order; entries answered meanwhile are skipped when they come up.
    deadlines: VecDeque<(Duration, u32)>,
    /// Sequence numbers that have timed out, oldest first.
    late: VecDeque<u32>,
    late_count: usize,
    last: u32,
}

#[derive(Debug)]
struct Entry<T> {
    tag: T,
    command: CommandId,
    sent_at: Duration,
    late: bool,
}

/// What an answer belongs to.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// The request's tag.
    pub tag: T,
    /// From sending to this answer.
    pub took: Duration,
    /// True if the request had been reported as timed out.
    pub late: bool,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            deadlines: VecDeque::new(),
            late: VecDeque::new(),
            late_count: 0,
            last: 0,
        }
    }
}

impl<T: Clone> Window<T> {
    /// The next free sequence number: 1 to 0x7FFFFFFF, then 1 again, never one that is in use.
    pub fn next_sequence(&mut self) -> u32 {
        loop {
            self.last = if self.last >= MAX_SEQUENCE {
                1
            } else {
                self.last + 1
            };
            if !self.entries.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    /// Remembers a request sent at `now`, to be answered before `deadline`. Deadlines must not go
    /// down from one call to the next.
    pub fn insert(
        &mut self,
        sequence: u32,
        command: CommandId,
        tag: T,
        now: Duration,
        deadline: Duration,
    ) {
        self.entries.insert(
            sequence,
            Entry {
                tag,
                command,
                sent_at: now,
                late: false,
            },
        );
        self.deadlines.push_back((deadline, sequence));
    }

    /// Takes out the request that a response answers. `None` if there is none, or if it was of
    /// another kind; a `generic_nack` answers any.
    pub fn answer(
        &mut self,
        sequence: u32,
        response: CommandId,
        now: Duration,
    ) -> Option<Answered<T>> {
        let entry = self.entries.get(&sequence)?;
        if response != CommandId::GenericNack && response != entry.command.matching_response() {
            return None;
        }
        let entry = self.entries.remove(&sequence)?;
        if entry.late {
            self.late_count -= 1;
        }
        Some(Answered {
            tag: entry.tag,
            took: now.saturating_sub(entry.sent_at),
            late: entry.late,
        })
    }

    /// The tag of one request whose deadline has passed, with how long it has waited. From now on
    /// it is late.
    pub fn time_out(&mut self, now: Duration) -> Option<(T, Duration)> {
        while let Some((deadline, sequence)) = self.deadlines.front().copied() {
            if !self.entries.contains_key(&sequence) {
                self.deadlines.pop_front();
                continue;
            }
            if deadline > now {
                return None;
            }
            self.deadlines.pop_front();
            self.remember(sequence);
            if let Some(entry) = self.entries.get_mut(&sequence) {
                entry.late = true;
                return Some((entry.tag.clone(), now.saturating_sub(entry.sent_at)));
            }
        }
        None
    }

    fn remember(&mut self, sequence: u32) {
        self.late_count += 1;
        self.late.push_back(sequence);
        while self.late.len() > MAX_LATE {
            if let Some(oldest) = self.late.pop_front()
                && self.entries.get(&oldest).is_some_and(|entry| entry.late)
            {
                self.entries.remove(&oldest);
                self.late_count -= 1;
            }
        }
    }

    /// When the next request times out.
    pub fn next_deadline(&mut self) -> Option<Duration> {
        while let Some((deadline, sequence)) = self.deadlines.front() {
            if self.entries.get(sequence).is_some_and(|entry| !entry.late) {
                return Some(*deadline);
            }
            self.deadlines.pop_front();
        }
        None
    }

    /// Number of requests that await their response in time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.late_count
    }

    /// True if nothing awaits its response.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything and hands out what was still awaited in time.
    pub fn drain(&mut self) -> Vec<T> {
        self.deadlines.clear();
        self.late.clear();
        self.late_count = 0;
        self.entries
            .drain()
            .filter(|(_, entry)| !entry.late)
            .map(|(_, entry)| entry.tag)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SUBMIT: CommandId = CommandId::SubmitSm;
    const ANSWER: CommandId = CommandId::SubmitSmResp;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn sequence_numbers_wrap_to_one_and_skip_those_in_use() {
        let mut window = Window::default();
        assert_eq!(window.next_sequence(), 1);
        window.insert(1, SUBMIT, "a", seconds(0), seconds(5));
        window.last = MAX_SEQUENCE - 1;
        assert_eq!(window.next_sequence(), MAX_SEQUENCE);
        assert_eq!(window.next_sequence(), 2);
    }

    #[test]
    fn an_answer_of_the_wrong_kind_or_number_answers_nothing() {
        let mut window = Window::default();
        window.insert(7, SUBMIT, "a", seconds(1), seconds(5));
        assert_eq!(window.answer(8, ANSWER, seconds(2)), None);
        assert_eq!(
            window.answer(7, CommandId::EnquireLinkResp, seconds(2)),
            None
        );
        let answered = window.answer(7, ANSWER, seconds(3)).unwrap();
        assert_eq!((answered.took, answered.late), (seconds(2), false));
        assert!(window.is_empty());
        window.insert(9, SUBMIT, "b", seconds(1), seconds(5));
        assert!(
            window
                .answer(9, CommandId::GenericNack, seconds(2))
                .is_some()
        );
    }

    #[test]
    fn a_request_times_out_once_and_its_late_answer_is_known() {
        let mut window = Window::default();
        window.insert(1, SUBMIT, "a", seconds(0), seconds(5));
        window.insert(2, SUBMIT, "b", seconds(1), seconds(6));
        assert_eq!(window.next_deadline(), Some(seconds(5)));
        assert_eq!(window.time_out(seconds(4)), None);
        assert_eq!(window.time_out(seconds(5)), Some(("a", seconds(5))));
        assert_eq!(window.time_out(seconds(5)), None);
        assert_eq!(
            (window.len(), window.next_deadline()),
            (1, Some(seconds(6)))
        );
        assert!(window.answer(1, ANSWER, seconds(9)).unwrap().late);
        assert_eq!(window.drain(), ["b"]);
    }

    #[test]
    fn what_is_remembered_as_late_is_bounded() {
        let mut window = Window::default();
        for n in 0..5_000 {
            let sequence = window.next_sequence();
            window.insert(sequence, SUBMIT, n, seconds(0), seconds(1));
            assert!(window.time_out(seconds(1)).is_some());
        }
        assert_eq!((window.entries.len(), window.len()), (MAX_LATE, 0));
        assert!(window.answer(1, ANSWER, seconds(2)).is_none());
        assert!(window.answer(5_000, ANSWER, seconds(2)).unwrap().late);
    }
}
