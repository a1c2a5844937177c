//! A pace that changes all the time, in parts per second: what a carrier's wishes leave of an account's
//! configured one. It says when, and never sleeps.
//!
//! The configured pace is [`crate::channel::limiter`]'s; both must agree before a part leaves. This
//! one is apart because it moves with every answer, and what is owed must be carried from one rate
//! to the next.

use std::time::Duration;

/// What may leave at once after a silence, as a stretch of the pace: a twentieth of a second's parts,
/// or one part.
const BURST: Duration = Duration::from_millis(50);

/// How late a timer may wake without the pace falling behind for it.
const LATENESS: Duration = Duration::from_millis(3);

/// The pace that one account is slowed to. How many parts a message has is known only once it is
/// claimed, so one part is paid before the claim and the rest afterwards: the next claim waits until
/// it is paid.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// Parts per second; `None` means no limit.
    rate: Option<f64>,
    /// Up to when what has left is paid for, by a clock that never goes back.
    paid_until: Duration,
}

impl Pace {
    /// Changes the pace; what is owed is owed in parts, not in time.
    pub(super) fn set_rate(&mut self, rate: Option<f64>, now: Duration) {
        if rate == self.rate {
            return;
        }
        let owed = self.paid_until.saturating_sub(now);
        self.paid_until = match (self.rate, rate) {
            (Some(old), Some(new)) => now + owed.mul_f64((old / new).min(1.0)),
            _ => now,
        };
        self.rate = rate;
    }

    /// Pays for one part, after what is owed.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub(super) fn pay(&mut self, now: Duration) -> Result<(), Duration> {
        let Some(part) = self.time_of(1) else {
            return Ok(());
        };
        let paid_until = self.paid_until.max(now) + part;
        let latest = now + part.max(BURST) + LATENESS;
        if paid_until > latest {
            return Err(paid_until - latest + LATENESS);
        }
        self.paid_until = paid_until;
        Ok(())
    }

    /// Charges parts that were sent without having been paid.
    pub(super) fn charge(&mut self, parts: usize) {
        self.paid_until += self.time_of(parts).unwrap_or_default();
    }

    /// Gives back parts that were paid and not sent.
    pub(super) fn refund(&mut self, parts: usize) {
        let time = self.time_of(parts).unwrap_or_default();
        self.paid_until = self.paid_until.saturating_sub(time);
    }

    /// How long so many parts take at this pace.
    fn time_of(&self, parts: usize) -> Option<Duration> {
        #[allow(clippy::cast_precision_loss)]
        let seconds = parts as f64 / self.rate?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::Clock;
    use crate::domain::time::Timestamp;

    fn pace(rate: f64) -> (Pace, Clock) {
        let clock = Clock::starting_at(Timestamp(0));
        let mut pace = Pace::default();
        pace.set_rate(Some(rate), clock.elapsed());
        (pace, clock)
    }

    /// Parts that leave within `length`, when messages of `parts` parts are always waiting.
    async fn sent_within(
        (pace, clock): &mut (Pace, Clock),
        length: Duration,
        parts: usize,
    ) -> usize {
        let end = clock.elapsed() + length;
        let mut sent = 0;
        while clock.elapsed() < end {
            match pace.pay(clock.elapsed()) {
                Ok(()) => {
                    sent += parts;
                    pace.charge(parts - 1);
                }
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_counted_in_parts() {
        for (rate, parts) in [(100.0, 1), (100.0, 3), (20.0, 1), (7.5, 2)] {
            let sent = sent_within(&mut pace(rate), Duration::from_secs(100), parts).await;
            let wanted = rate * 100.0;
            assert!(
                (wanted * 0.99..=wanted * 1.01).contains(&(sent as f64)),
                "{sent} parts in 100 s at {rate}/s, {parts} a message"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_sees_more_than_its_rate_and_a_burst() {
        let mut paced = pace(20.0);
        tokio::time::sleep(Duration::from_hours(1)).await;
        let sent = sent_within(&mut paced, Duration::from_secs(1), 1).await;
        assert!(sent <= 21, "{sent} in the first second after an idle hour");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_paid_and_not_sent_is_given_back() {
        let (mut pace, clock) = pace(20.0);
        pace.pay(clock.elapsed()).unwrap();
        assert!(pace.pay(clock.elapsed()).is_err());
        pace.refund(1);
        pace.pay(clock.elapsed()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_rate_keeps_what_is_owed_in_parts() {
        let (mut pace, clock) = pace(1.0);
        pace.pay(clock.elapsed()).unwrap();
        pace.charge(9);
        pace.set_rate(Some(10.0), clock.elapsed());
        let wait = pace.pay(clock.elapsed()).unwrap_err();
        assert!((900..=1000).contains(&wait.as_millis()), "{wait:?}");
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut pace = Pace::default();
        for _ in 0..10_000 {
            pace.pay(Duration::ZERO).unwrap();
            pace.charge(5);
        }
    }
}
