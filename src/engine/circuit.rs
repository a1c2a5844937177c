//! The circuit breaker of an account: a carrier that takes nothing is left alone, and asked with one
//! message now and then.
//!
//! It opens when the carrier says that the account cannot send, or after several messages in a row
//! that were refused for now or left in doubt. When its rest is over it is *half open*: one message
//! goes through. If that is taken, or refused for its own sake, the circuit closes; if not, the
//! account rests twice as long.
//!
//! An account that only failed several times is left alone for the sake of messages that have another
//! way. Those that have none go on by their own waits: a carrier that refuses each message once would
//! else see one of them every few minutes.

use std::time::Duration;

use crate::domain::id::MessageId;
use crate::domain::time::Timestamp;

/// So many different messages in a row without a success open the circuit.
const FAILURES: u32 = 10;

/// The first rest, and the longest.
const REST: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));

/// A message that was let through and never heard of does not keep the circuit open for ever.
const PROBE: Duration = Duration::from_mins(3);

/// One account's breaker.
#[derive(Clone, Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    /// The message that failed last: its own trouble counts once.
    last: Option<MessageId>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    since: Timestamp,
    until: Timestamp,
    rest: Duration,
    /// A message is through, and awaited until then.
    probing_until: Timestamp,
    /// The carrier has said that the account cannot send.
    refused: bool,
}

/// Whether messages may go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// All of them.
    Closed,
    /// None before then.
    Open(Timestamp),
    /// One, to see what becomes of it.
    HalfOpen,
}

impl Circuit {
    /// Whether messages may go through now.
    pub(super) fn flow(&self, now: Timestamp) -> Flow {
        match &self.open {
            None => Flow::Closed,
            Some(open) if now < open.until => Flow::Open(open.until),
            Some(open) if now < open.probing_until => Flow::Open(open.probing_until),
            Some(_) => Flow::HalfOpen,
        }
    }

    /// What was sent at `sent_at` was refused for now, or nobody can tell. Answers how long the
    /// account rests, if that is new.
    pub(super) fn failed(
        &mut self,
        message: MessageId,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Option<Duration> {
        if self.open.is_none() {
            if self.last.replace(message) != Some(message) {
                self.failures += 1;
            }
            if self.failures < FAILURES {
                return None;
            }
        }
        self.rest(sent_at, now)
    }

    /// The carrier says that the account cannot send. Answers how long it rests, if that is new.
    pub(super) fn refused(&mut self, sent_at: Timestamp, now: Timestamp) -> Option<Duration> {
        let rest = self.rest(sent_at, now);
        if let Some(open) = &mut self.open {
            open.refused = true;
        }
        rest
    }

    /// True if nothing may go through but the one message: where the carrier takes none of several
    /// messages, each still has its own waits, and may go on by them if there is no other way.
    pub(super) fn is_firm(&self) -> bool {
        self.open.is_some_and(|open| open.refused)
    }

    fn rest(&mut self, sent_at: Timestamp, now: Timestamp) -> Option<Duration> {
        let rest = match &self.open {
            None => REST.0,
            // Sent before the rest, and known to be in trouble since.
            Some(open) if sent_at < open.until => return None,
            Some(open) => (open.rest * 2).min(REST.1),
        };
        let since = self.open.map_or(now, |open| open.since);
        self.open = Some(Open {
            since,
            until: now + rest,
            rest,
            probing_until: Timestamp::default(),
            refused: self.open.is_some_and(|open| open.refused),
        });
        Some(rest)
    }

    /// What was sent at `sent_at` was answered for its own sake. True if that closes the circuit.
    pub(super) fn succeeded(&mut self, sent_at: Timestamp) -> bool {
        // An answer that was on its way when the circuit opened does not speak for what came after.
        if self.open.is_some_and(|open| sent_at < open.until) {
            return false;
        }
        let was_open = self.open.is_some();
        *self = Self::default();
        was_open
    }

    /// A message goes through a half-open circuit.
    pub(super) fn probe(&mut self, now: Timestamp) {
        if let Some(open) = &mut self.open {
            open.probing_until = now + PROBE;
        }
    }

    /// It came back unjudged: the next one may go.
    pub(super) const fn unjudged(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing_until = Timestamp(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(0) + Duration::from_secs(seconds)
    }

    fn id(n: u8) -> MessageId {
        MessageId::new(at(0), [n; 10])
    }

    #[test]
    fn it_opens_after_ten_messages_in_a_row_and_a_success_starts_the_count_anew() {
        let mut circuit = Circuit::default();
        for n in 0..9 {
            assert_eq!(circuit.failed(id(n), at(1), at(1)), None);
        }
        assert!(!circuit.succeeded(at(1)));
        for n in 0..9 {
            assert_eq!(circuit.failed(id(n), at(1), at(1)), None);
        }
        assert_eq!(circuit.flow(at(1)), Flow::Closed);
        assert_eq!(circuit.failed(id(9), at(1), at(1)), Some(REST.0));
        assert_eq!(circuit.flow(at(1)), Flow::Open(at(6)));
    }

    #[test]
    fn one_message_that_fails_again_and_again_does_not_open_it() {
        let mut circuit = Circuit::default();
        for n in 0..100 {
            assert_eq!(circuit.failed(id(1), at(n), at(n)), None);
        }
    }

    #[test]
    fn half_open_lets_one_through_and_the_rest_doubles_up_to_five_minutes() {
        let mut circuit = Circuit::default();
        let mut now = 0;
        for wanted in [5, 10, 20, 40, 80, 160, 300, 300] {
            let rest = circuit.refused(at(now), at(now));
            assert_eq!(rest, Some(Duration::from_secs(wanted)));
            assert_eq!(circuit.refused(at(now), at(now + 1)), None, "sent before");
            now += wanted;
            assert_eq!(circuit.flow(at(now - 1)), Flow::Open(at(now)));
            assert_eq!(circuit.flow(at(now)), Flow::HalfOpen);
            circuit.probe(at(now));
            assert!(matches!(circuit.flow(at(now)), Flow::Open(_)));
        }
        assert!(!circuit.succeeded(at(now - 1)), "sent before");
        assert!(circuit.succeeded(at(now)));
        assert_eq!(circuit.flow(at(now)), Flow::Closed);
        assert_eq!(circuit.refused(at(now), at(now)), Some(REST.0));
    }

    #[test]
    fn a_probe_that_comes_back_unjudged_makes_room_for_the_next() {
        let mut circuit = Circuit::default();
        let _ = circuit.refused(at(0), at(0));
        circuit.probe(at(5));
        circuit.unjudged();
        assert_eq!(circuit.flow(at(5)), Flow::HalfOpen);
    }
}
