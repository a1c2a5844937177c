//! The configured pace of an account, in parts: it says when, and never sleeps.

use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::domain::rate::Rate;

type Limiter = RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Duration>>;

/// Parts of a second's quota that may leave at once: a twentieth, so that no second sees more than
/// its rate and a twentieth.
const BURST_DIVISOR: u32 = 20;

/// The configured pace of one account. How many parts a message has is known only once it is claimed, so one
/// part is paid before the claim and the rest is owed: the next claim waits until it is paid.
#[derive(Debug)]
pub struct Pacer {
    clock: Clock,
    quota: Option<Quota>,
    limiter: Option<Limiter>,
    /// Parts sent and not paid (positive), or paid and not sent (negative).
    owed: i64,
}

impl Pacer {
    /// A pace of `rate` parts.
    #[must_use]
    pub fn new(rate: Rate, clock: &Clock) -> Self {
        let burst = rate.share_of_a_second(BURST_DIVISOR);
        let quota = rate.interval().and_then(Quota::with_period);
        let quota = quota.map(|quota| quota.allow_burst(burst));
        Self {
            clock: clock.clone(),
            limiter: quota.map(|quota| RateLimiter::direct_with_clock(quota, clock.clone())),
            quota,
            owed: 0,
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

    /// Gives back parts that were just paid and not sent; at most a burst is kept.
    pub fn refund(&mut self, parts: usize) {
        let Some(quota) = self.quota.filter(|_| parts > 0) else {
            return;
        };
        let burst = i64::from(quota.burst_size().get());
        if burst == 1 && self.owed == 0 {
            // Kept beside a pace that goes on meanwhile, the part would leave together with the next
            // one, where one at a time is allowed. As if it had not been paid is as good, and exact.
            self.limiter = Some(RateLimiter::direct_with_clock(quota, self.clock.clone()));
            return;
        }
        let parts = i64::try_from(parts).unwrap_or(i64::MAX);
        self.owed = self.owed.saturating_sub(parts).max(-burst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::time::Timestamp;

    fn pacer(rate: impl Into<Rate>) -> Pacer {
        Pacer::new(rate.into(), &Clock::starting_at(Timestamp(0)))
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

    #[tokio::test(start_paused = true)]
    async fn six_a_minute_is_six_in_any_minute() {
        let mut pacer = pacer(Rate::per_minute(6));
        tokio::time::sleep(Duration::from_hours(1)).await;
        let mut left = Vec::new();
        for n in 0.. {
            match pacer.pay() {
                Err(wait) => tokio::time::sleep(wait).await,
                // Now and then one is not sent after all.
                Ok(()) if n % 5 == 3 => {
                    pacer.refund(1);
                    tokio::time::sleep(Duration::from_millis(4_321)).await;
                }
                Ok(()) if left.len() == 100 => break,
                Ok(()) => left.push(pacer.clock.elapsed()),
            }
        }
        let minute = Duration::from_mins(1);
        for (n, start) in left.iter().enumerate() {
            let within = left[n..].iter().filter(|at| **at < *start + minute);
            assert!(within.count() <= 6, "from {start:?}: {left:?}");
        }
        assert!(left[99] - left[0] < minute * 22, "{left:?}");
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
