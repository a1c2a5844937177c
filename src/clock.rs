//! The only file that reads time, and the only source of randomness.
//!
//! `Clock::now` answers wall-clock time; sleeping is `tokio::time`. The virtual clock is an epoch
//! plus the tokio time elapsed, so that a test that pauses tokio's time moves everything at once:
//! timers, leases, validity, rate limits, webhook backoff.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::time::Timestamp;

/// Where time comes from. Clones share one source.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    started: tokio::time::Instant,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Virtual { epoch: Timestamp },
}

impl Clock {
    /// The machine's wall clock. Needs no runtime.
    #[must_use]
    pub fn system() -> Self {
        Self {
            source: Source::System,
            started: tokio::time::Instant::now(),
        }
    }

    /// A clock that starts at `epoch` and advances with tokio's time.
    #[must_use]
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self {
            source: Source::Virtual { epoch },
            started: tokio::time::Instant::now(),
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self.source {
            #[allow(clippy::disallowed_methods)]
            Source::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let millis = since.map_or(0, |duration| duration.as_millis());
                Timestamp(i64::try_from(millis).unwrap_or(i64::MAX))
            }
            Source::Virtual { epoch } => epoch + self.elapsed(),
        }
    }

    /// Time since this clock was made, never going back: for rates and measurements.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// How long until `when`, but at most a minute, so that a wall clock that is stepped or a
    /// machine that was suspended is noticed.
    #[must_use]
    pub fn sleep_until(&self, when: Timestamp) -> Duration {
        when.since(self.now()).min(Duration::from_secs(60))
    }
}

/// Rates are kept by the same time as everything else.
impl governor::clock::Clock for Clock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.elapsed()
    }
}

/// Where random octets come from: the operating system, or a seed that replays a run.
#[derive(Clone)]
pub struct Random(Option<Arc<Mutex<u64>>>);

impl Random {
    /// From the operating system: fit for ids and keys.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// The same octets for the same seed, for simulations.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(seed))))
    }

    /// Random octets.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        match &self.0 {
            None => {
                // Without its random source the process cannot make a key or an id that is safe,
                // and there is nobody who could act on an error here.
                #[allow(clippy::expect_used)]
                getrandom::fill(&mut out).expect("the operating system's random source works");
            }
            Some(state) => {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                for chunk in out.chunks_mut(8) {
                    // SplitMix64: small, and good enough to spread simulated faults.
                    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                    let mut z = *state;
                    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                    let octets = (z ^ (z >> 31)).to_be_bytes();
                    chunk.copy_from_slice(&octets[..chunk.len()]);
                }
            }
        }
        out
    }

    /// A number in `0.0..1.0`, for jitter.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        f64::from(u32::from_be_bytes(self.bytes())) / (f64::from(u32::MAX) + 1.0)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Random(seeded)"
        } else {
            "Random(system)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_virtual_clock_moves_with_tokio_time() {
        let clock = Clock::starting_at(Timestamp(1_000));
        tokio::time::sleep(Duration::from_hours(48)).await;
        assert_eq!(clock.now(), Timestamp(1_000) + Duration::from_hours(48));
        assert_eq!(
            clock.sleep_until(clock.now() + Duration::from_secs(5)),
            Duration::from_secs(5)
        );
        assert_eq!(clock.sleep_until(Timestamp::NEVER), Duration::from_secs(60));
    }

    #[test]
    fn a_seed_replays() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(a.bytes::<20>(), b.bytes::<20>());
        assert_ne!(a.bytes::<20>(), Random::seeded(8).bytes::<20>());
        assert!((0.0..1.0).contains(&a.fraction()));
    }
}
