//! The configured pace of an account, in parts per second: it says when, and never sleeps.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

type Limiter = RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Duration>>;

/// Parts of a second's quota that may leave at once: a twentieth, so that no second sees more than
/// its rate and a twentieth.
const BURST_DIVISOR: u32 = 20;

/// The configured pace of one account. How many parts a message has is known only once it is claimed, so one
/// part is paid before the claim and the rest is owed: the next claim waits until it is paid.
#[derive(Debug)]
pub struct Pacer {
    clock: Clock,
    limiter: Option<Limiter>,
    /// Parts sent and not paid (positive), or paid and not sent (negative).
    owed: i64,
    burst: i64,
}

impl Pacer {
    /// A pace of `rate` parts per second; 0 means no limit.
    #[must_use]
    pub fn new(rate: u32, clock: &Clock) -> Self {
        let burst = NonZeroU32::new(rate / BURST_DIVISOR).unwrap_or(NonZeroU32::MIN);
        let limiter = NonZeroU32::new(rate).map(|rate| {
            let quota = Quota::per_second(rate).allow_burst(burst);
            RateLimiter::direct_with_clock(quota, clock.clone())
        });
        Self {
            clock: clock.clone(),
            limiter,
            owed: 0,
            burst: i64::from(burst.get()),
        }
    }

    /// Pays for one part, after what is owed.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn pay(&mut self) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        while self.owed >= 0 {
            limiter
                .check()
                .map_err(|not_until| not_until.wait_time_from(self.clock.elapsed()))?;
            self.owed -= 1;
        }
        self.owed += 1;
        Ok(())
    }

    /// Charges parts that were sent without having been paid.
    pub fn charge(&mut self, parts: usize) {
        if self.limiter.is_some() {
            self.owed = self
                .owed
                .saturating_add(i64::try_from(parts).unwrap_or(i64::MAX));
        }
    }

    /// Gives back parts that were paid and not sent; at most a burst is kept.
    pub fn refund(&mut self, parts: usize) {
        if self.limiter.is_some() {
            let parts = i64::try_from(parts).unwrap_or(i64::MAX);
            self.owed = self.owed.saturating_sub(parts).max(-self.burst);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::time::Timestamp;

    fn pacer(rate: u32) -> Pacer {
        Pacer::new(rate, &Clock::starting_at(Timestamp(0)))
    }

    /// Parts that leave within `length`, when messages of `parts` parts are always waiting.
    async fn sent_within(pacer: &mut Pacer, length: Duration, parts: usize) -> usize {
        let end = pacer.clock.elapsed() + length;
        let mut sent = 0;
        while pacer.clock.elapsed() < end {
            match pacer.pay() {
                Ok(()) => {
                    sent += parts;
                    pacer.charge(parts - 1);
                }
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_counted_in_parts() {
        for parts in [1, 3] {
            let sent = sent_within(&mut pacer(100), Duration::from_secs(10), parts).await;
            assert!(
                (990..=1010).contains(&sent),
                "{sent} parts in 10 s at 100/s, {parts} a message"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_sees_more_than_its_rate_and_a_burst() {
        let mut pacer = pacer(20);
        tokio::time::sleep(Duration::from_hours(1)).await;
        let sent = sent_within(&mut pacer, Duration::from_secs(1), 1).await;
        assert!(sent <= 22, "{sent} in the first second after an idle hour");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_paid_and_not_sent_is_given_back() {
        let mut pacer = pacer(20);
        pacer.pay().unwrap();
        assert!(pacer.pay().is_err());
        pacer.refund(1);
        pacer.pay().unwrap();
    }

    #[tokio::test]
    async fn no_rate_is_no_limit() {
        let mut pacer = pacer(0);
        for _ in 0..10_000 {
            pacer.pay().unwrap();
            pacer.charge(5);
        }
    }
}
