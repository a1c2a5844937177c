//! Accounts that rest: a carrier asked us to slow down, or an account's pace is used up for now.
//!
//! It is always the account that rests, never a message: what waits keeps its place and its tries.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::id::Account;
use crate::domain::time::Timestamp;

/// How long a carrier is left alone, doubling from the first to the last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Why and until when one account rests.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    throttled_until: Timestamp,
    /// The pause of the last time, if the carrier has not taken a message since.
    pause: Duration,
    paced_until: Timestamp,
}

/// Every account that rests, or has rested.
#[derive(Debug, Default)]
pub(super) struct Rests {
    rests: Mutex<BTreeMap<Account, Rest>>,
}

impl Rests {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Account, Rest>> {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The carrier answered that it is too much: the account rests, longer each time. `chance`
    /// (0 to 1) spreads accounts that were refused together. Answers what is new, if anything: the
    /// refusals of what was already under way are one wish, not many.
    pub(super) fn throttle(
        &self,
        account: &Account,
        now: Timestamp,
        chance: f64,
    ) -> Option<Duration> {
        let mut rests = self.lock();
        let rest = rests.entry(account.clone()).or_default();
        if rest.throttled_until > now {
            return None;
        }
        rest.pause = (rest.pause * 2).clamp(PAUSE.0, PAUSE.1);
        rest.throttled_until = now + rest.pause.mul_f64(1.0 + chance / 4.0);
        Some(rest.pause)
    }

    /// The carrier takes messages again.
    pub(super) fn took(&self, account: &Account, now: Timestamp) {
        if let Some(rest) = self.lock().get_mut(account)
            && rest.throttled_until <= now
        {
            rest.pause = Duration::ZERO;
        }
    }

    /// Until when the carrier is left alone, if it is.
    pub(super) fn throttled_until(&self, account: &Account, now: Timestamp) -> Option<Timestamp> {
        let rests = self.lock();
        rests
            .get(account)
            .map(|rest| rest.throttled_until)
            .filter(|until| *until > now)
    }

    /// The account's pace is used up until then.
    pub(super) fn pace(&self, account: &Account, until: Timestamp) {
        self.lock().entry(account.clone()).or_default().paced_until = until;
    }

    /// True if the account's pace is used up.
    pub(super) fn is_paced(&self, account: &Account, now: Timestamp) -> bool {
        self.lock()
            .get(account)
            .is_some_and(|rest| rest.paced_until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_burst_of_refusals_is_one_wish_and_the_next_one_rests_longer() {
        let (rests, account) = (Rests::default(), Account::from("a"));
        let at = |millis| Timestamp(millis);
        assert_eq!(rests.throttle(&account, at(0), 0.0), Some(PAUSE.0));
        assert_eq!(rests.throttle(&account, at(100), 0.0), None);
        assert_eq!(rests.throttled_until(&account, at(100)), Some(at(500)));
        assert_eq!(rests.throttled_until(&account, at(500)), None);
        assert_eq!(rests.throttle(&account, at(600), 0.0), Some(PAUSE.0 * 2));
        rests.took(&account, at(1600));
        assert_eq!(rests.throttle(&account, at(2000), 0.0), Some(PAUSE.0));
    }
}
