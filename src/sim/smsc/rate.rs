//! Counting `submit_sm` against a limit: in each second, or by a bucket of tokens.

use std::time::Duration;

/// How much of a rate is used up.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// The running second and how much it has seen.
    second: (u64, u32),
    /// Tokens left, and when that was so; `None`: the bucket is full.
    bucket: Option<(f64, Duration)>,
}

impl Meter {
    /// Whether one more is within `limit` a second; it is counted if so. With `burst`, by a bucket
    /// of so many tokens.
    pub(super) fn takes(&mut self, limit: u32, burst: Option<u32>, now: Duration) -> bool {
        let Some(burst) = burst else {
            if self.second.0 != now.as_secs() {
                self.second = (now.as_secs(), 0);
            }
            let free = self.second.1 < limit;
            self.second.1 += u32::from(free);
            return free;
        };
        let full = f64::from(burst);
        let tokens = self.bucket.map_or(full, |(tokens, at)| {
            let earned = now.saturating_sub(at).as_secs_f64() * f64::from(limit);
            full.min(tokens + earned)
        });
        let free = tokens >= 1.0;
        self.bucket = Some((if free { tokens - 1.0 } else { tokens }, now));
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(meter: &mut Meter, burst: Option<u32>, from_ms: u64) -> usize {
        (0..100)
            .filter(|n| meter.takes(20, burst, Duration::from_millis(from_ms + n * 10)))
            .count()
    }

    #[test]
    fn a_second_has_its_limit_and_starts_anew() {
        let mut meter = Meter::default();
        assert_eq!(taken(&mut meter, None, 0), 20);
        assert_eq!(taken(&mut meter, None, 1_000), 20);
        // From half of one second to half of the next: twenty in each.
        assert_eq!(taken(&mut meter, None, 3_500), 40);
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_the_rate() {
        let mut meter = Meter::default();
        assert_eq!(taken(&mut meter, Some(5), 0), 5 + 19);
        assert_eq!(taken(&mut meter, Some(5), 1_000), 20);
        assert_eq!(taken(&mut meter, Some(5), 60_000), 5 + 19);
    }
}
