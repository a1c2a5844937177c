//! When to try again: a finite, configured schedule, spread by a jitter that is a pure function.

use std::time::Duration;

use super::id::MessageId;

/// Waiting times between tries, the first one after the first try.
///
/// After the last one the attempts are used up. Waits are lengthened by up to a tenth, so that
/// messages which failed together do not come back together; never shortened, so that a schedule
/// is kept as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule(pub Vec<Duration>);

/// Largest lengthening of a wait, as a fraction of it: one tenth.
const JITTER_DIVISOR: u32 = 10;

impl RetrySchedule {
    /// The wait after try number `tries` (from 1) of `id`, or `None` when no try is left.
    #[must_use]
    pub fn wait_after(&self, tries: u32, id: MessageId) -> Option<Duration> {
        let index = usize::try_from(tries.checked_sub(1)?).ok()?;
        let wait = *self.0.get(index)?;
        Some(wait + jitter(wait, id, tries))
    }

    /// The same for what is tried until its time is over: the last wait repeats.
    #[must_use]
    pub fn wait_for_ever(&self, tries: u32, id: MessageId) -> Option<Duration> {
        let most = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.wait_after(tries.clamp(1, most.max(1)), id)
    }
}

/// Between zero and a tenth of `wait`, always the same for one message and try.
fn jitter(wait: Duration, id: MessageId, tries: u32) -> Duration {
    let bytes = id.bytes();
    let seed = u64::from(tries).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ bytes[8..]
            .iter()
            .fold(0, |acc, byte| (acc << 8) | u64::from(*byte));
    // The finaliser of SplitMix64 spreads neighbouring seeds over the whole range.
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let permille = u32::try_from((mixed ^ (mixed >> 27)) % 1000).unwrap_or(0);
    wait / JITTER_DIVISOR * permille / 1000
}

impl Default for RetrySchedule {
    /// Ten tries over about 45 hours: just inside the default validity of 48 h.
    fn default() -> Self {
        let minute = 60;
        let hour = 60 * minute;
        Self(
            [
                minute,
                5 * minute,
                15 * minute,
                hour,
                4 * hour,
                8 * hour,
                8 * hour,
                12 * hour,
                12 * hour,
            ]
            .map(Duration::from_secs)
            .to_vec(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn the_schedule_is_the_configured_one_lengthened_by_at_most_a_tenth() {
        let schedule = RetrySchedule([60, 300, 900].map(Duration::from_secs).to_vec());
        let id = MessageId::new(Timestamp(1), [7; 10]);
        for (tries, seconds) in [(1, 60), (2, 300), (3, 900)] {
            let wait = schedule.wait_after(tries, id).unwrap_or_default();
            let exact = Duration::from_secs(seconds);
            assert!(
                wait >= exact && wait <= exact + exact / 10,
                "try {tries}: {wait:?}"
            );
            assert_eq!(
                schedule.wait_after(tries, id),
                Some(wait),
                "jitter is a pure function"
            );
        }
        assert_eq!(schedule.wait_after(4, id), None);
        assert_eq!(schedule.wait_after(0, id), None);
    }

    #[test]
    fn two_messages_that_failed_together_do_not_come_back_together() {
        let schedule = RetrySchedule::default();
        let waits: std::collections::BTreeSet<_> = (0..100)
            .map(|n| schedule.wait_after(1, MessageId::new(Timestamp(1), [n; 10])))
            .collect();
        assert!(waits.len() > 50, "{} distinct waits of 100", waits.len());
    }
}
