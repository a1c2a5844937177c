//! What a carrier's wish to be sent less does to the pace of its account.
//!
//! A wish (`ESME_RTHROTTLED`, `ESME_RMSGQFUL`) ends sending for a moment and takes the pace down to
//! a little below what the carrier has just taken; while it takes parts the pace climbs again,
//! slowly near where it was refused, faster the longer no wish comes, and never above the configured
//! rate. So the account hovers just below the carrier's limit, and few submissions are refused. It is
//! always the account that is slowed, never a message: what waits keeps its place and its tries.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::time::Timestamp;

/// How long the carrier is left alone, doubling from the first to the last while it takes nothing.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What is left of the pace after a wish: of what the carrier took, while it took something; of what
/// was tried, when it takes nothing.
const EASE: f64 = 0.9;
const BACK_OFF: f64 = 0.5;

/// The slowest pace, in parts per second.
const SLOWEST: f64 = 0.2;

/// How much the pace climbs each second, as a share of where it was refused: at first, and while it
/// is below [`KNOWN_GOOD`] of that.
const CLIMB: f64 = 0.003;
const CATCH_UP: f64 = 0.05;
const KNOWN_GOOD: f64 = 0.7;

/// After so long without a wish the climb is twice as steep, after twice as long five times.
const STEEPER: Duration = Duration::from_secs(10);

/// How long after the last wish an account counts as slowed, and a pace of our own finding is kept.
const REMEMBERED: Duration = Duration::from_mins(5);

/// A pace of our own finding is dropped when it is so many times what is used.
const WELL_ABOVE: f64 = 4.0;

/// What is taken is measured over a second, and over no less than a quarter of one.
const MEASURED: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(250);

/// How far one account is slowed.
#[derive(Clone, Debug, Default)]
pub(super) struct Throttle {
    /// Parts per second, below the configured rate; `None`: not slowed.
    limit: Option<f64>,
    /// When the last wish came.
    wished_at: Option<Timestamp>,
    /// The carrier is left alone until then.
    until: Timestamp,
    pause: Duration,
    /// Since when the carrier has taken nothing, and wishes only.
    barren_since: Option<Timestamp>,
    /// The pace at which it was refused while it took something: about its limit.
    refused_at: f64,
    /// The pace was measured over a burst at no known pace: it may be much too low, and doubles each
    /// second until the next wish.
    is_guess: bool,
    climbed_at: Timestamp,
    /// Parts taken lately, by the millisecond.
    taken: VecDeque<(Timestamp, u32)>,
}

impl Throttle {
    /// The carrier asked for less, in answer to what was sent at `sent_at`. `chance` (0 to 1) spreads
    /// accounts that were refused together. Answers how long it is left alone, if that is new: the
    /// refusals of what was already under way are one wish, not many.
    pub(super) fn wish(
        &mut self,
        configured: Option<f64>,
        sent_at: Timestamp,
        now: Timestamp,
        chance: f64,
    ) -> Option<Duration> {
        let known = self.wished_at.is_some_and(|wished| sent_at <= wished);
        if known || now < self.until {
            return None;
        }
        let tried = self.limit.or(configured);
        let rate = if self.barren_since.is_none() {
            let used = self.used(now);
            self.is_guess = tried.is_none();
            self.refused_at = tried.map_or(used, |tried| tried.min(used));
            self.pause = PAUSE.0;
            self.refused_at * EASE
        } else {
            // The first pause may have been too short for a carrier that counts by the second.
            let again = self.pause > PAUSE.0;
            self.pause = (self.pause * 2).min(PAUSE.1);
            tried.unwrap_or(1.0) * if again { BACK_OFF } else { 1.0 }
        };
        self.limit = Some(rate.max(SLOWEST));
        self.refused_at = self.refused_at.max(SLOWEST);
        self.barren_since.get_or_insert(now);
        self.wished_at = Some(now);
        self.until = now + self.pause.mul_f64(1.0 + chance / 4.0);
        self.climbed_at = self.until;
        Some(self.pause)
    }

    /// The carrier took a part that was sent at `sent_at`.
    pub(super) fn took(&mut self, configured: Option<f64>, sent_at: Timestamp, now: Timestamp) {
        let since_the_wish = self.wished_at.is_none_or(|wished| sent_at > wished);
        if since_the_wish && self.barren_since.take().is_some() {
            // What is taken is measured anew from here.
            self.taken.clear();
        }
        match self.taken.back_mut() {
            Some((at, count)) if *at == now => *count += 1,
            _ => self.taken.push_back((now, 1)),
        }
        while self
            .taken
            .front()
            .is_some_and(|(at, _)| now.since(*at) > MEASURED)
        {
            self.taken.pop_front();
        }
        let (Some(limit), Some(wished_at)) = (self.limit, self.wished_at) else {
            return;
        };
        let used = self.used(now);
        let quiet = now.since(wished_at);
        let climbing = now.since(self.climbed_at).min(MEASURED).as_secs_f64();
        self.climbed_at = self.climbed_at.max(now);
        if used * 2.0 >= limit {
            let share = if limit < self.refused_at * KNOWN_GOOD {
                CATCH_UP
            } else {
                CLIMB * (1.0 + (quiet.as_secs_f64() / STEEPER.as_secs_f64()).powi(2))
            };
            let climb = if self.is_guess {
                limit
            } else {
                self.refused_at * share
            };
            self.limit = Some(limit + climb * climbing);
        }
        let lifted = match configured {
            Some(configured) => self.limit >= Some(configured),
            None => quiet >= REMEMBERED && limit > used * WELL_ABOVE,
        };
        if lifted {
            self.limit = None;
        }
    }

    /// Parts taken a second, lately.
    fn used(&self, now: Timestamp) -> f64 {
        let lately = self
            .taken
            .iter()
            .filter(|(at, _)| now.since(*at) <= MEASURED);
        let (first, parts) = lately.fold((now, 0), |(first, parts), (at, count)| {
            (first.min(*at), parts + count)
        });
        f64::from(parts) / now.since(first).max(SHORTEST).as_secs_f64()
    }

    /// The pace that the carrier's wishes leave, in parts per second, if any.
    pub(super) const fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Until when the carrier is left alone, if it is, and since when it has taken nothing.
    pub(super) fn paused(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let since = self.barren_since.unwrap_or(now);
        (self.until > now).then_some((self.until, since))
    }

    /// True while the account is slowed, and for some minutes afterwards.
    pub(super) fn is_slowed(&self, now: Timestamp) -> bool {
        let lately = |wished: Timestamp| now.since(wished) < REMEMBERED;
        self.limit.is_some() || self.wished_at.is_some_and(lately)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp(0) + Duration::from_millis(millis)
    }

    /// So many parts a second are taken for so long, from `from` on; answers when that is over.
    fn takes(throttle: &mut Throttle, from: u64, rate: u64, seconds: u64) -> u64 {
        let end = from + seconds * 1000;
        for millis in (from..end).step_by(usize::try_from(1000 / rate).unwrap_or(1)) {
            throttle.took(None, at(millis), at(millis));
        }
        end
    }

    #[test]
    fn one_burst_of_refusals_is_one_wish() {
        let mut throttle = Throttle::default();
        let now = takes(&mut throttle, 0, 20, 2);
        let paused = throttle.wish(None, at(now - 10), at(now), 0.0);
        assert_eq!(paused, Some(PAUSE.0));
        for sent in 1..10 {
            let late = throttle.wish(None, at(now - sent), at(now + 900), 0.0);
            assert_eq!(late, None, "sent before the carrier said so");
        }
        let limit = throttle.limit().unwrap_or_default();
        assert!((17.0..20.0).contains(&limit), "{limit} of 20 a second");
        assert_eq!(
            throttle.paused(at(now + 499)),
            Some((at(now + 500), at(now)))
        );
        assert_eq!(throttle.paused(at(now + 500)), None);
    }

    #[test]
    fn while_the_carrier_takes_nothing_it_is_left_alone_longer_and_tried_more_slowly() {
        let mut throttle = Throttle::default();
        let mut now = takes(&mut throttle, 0, 100, 2);
        let mut pauses = Vec::new();
        let mut limits = Vec::new();
        for _ in 0..9 {
            let pause = throttle
                .wish(None, at(now), at(now), 0.0)
                .unwrap_or_default();
            pauses.push(pause.as_millis());
            limits.push(throttle.limit().unwrap_or_default());
            now += 30_001;
        }
        assert_eq!(
            pauses,
            [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
        );
        assert!(limits[8] < 1.0 && limits[8] >= SLOWEST, "{limits:?}");
        // It takes again: most of the old pace is back in less than a minute.
        for _ in 0..50 {
            let rate = throttle.limit().map_or(100, |limit| limit.max(1.0) as u64);
            now = takes(&mut throttle, now, rate.min(100), 1);
        }
        let limit = throttle.limit().unwrap_or(100.0);
        assert!(limit > 60.0, "{limit}");
    }

    #[test]
    fn the_pace_never_climbs_above_the_configured_one_and_the_account_counts_as_slowed_for_a_while()
    {
        let mut throttle = Throttle::default();
        let configured = Some(20.0);
        let mut now = takes(&mut throttle, 0, 20, 2);
        let _ = throttle.wish(configured, at(now), at(now), 0.0);
        let wished = now;
        while let Some(limit) = throttle.limit() {
            assert!(limit < 20.0);
            now += 50;
            throttle.took(configured, at(now), at(now));
        }
        let took = now - wished;
        assert!((5_000..60_000).contains(&took), "{took} ms");
        assert!(throttle.is_slowed(at(now)));
        assert!(!throttle.is_slowed(at(wished + 300_000)));
    }

    #[test]
    fn a_pace_of_our_own_finding_is_dropped_when_it_is_well_above_what_is_used() {
        let mut throttle = Throttle::default();
        let now = takes(&mut throttle, 0, 20, 2);
        let _ = throttle.wish(None, at(now), at(now), 0.0);
        let now = takes(&mut throttle, now + 1000, 1, 240);
        assert!(throttle.limit().is_some());
        takes(&mut throttle, now, 1, 120);
        assert_eq!(throttle.limit(), None);
    }
}
