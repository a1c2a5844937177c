//! Counts what is sent to whom, and stops what looks like abuse: too many messages to one recipient, to
//! numbers that begin alike, to numbers that follow each other.
//!
//! It is counted in memory, when a submission is about to be stored, and given back where nothing was: a
//! preview costs nothing, a batch counts as a whole. An hour, a day or ten minutes begin with the first
//! message in them. A restart begins anew, and so does a number of which nothing was heard while a hundred
//! thousand others were written to: what is kept is bounded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Engine;
use super::accept::{Checked, FieldError, Refusal, Submitted};
use crate::domain::guard::GuardLimits;
use crate::domain::id::Tenant;
use crate::domain::msisdn::Msisdn;

/// Seconds that the limits are for.
const HOUR: u32 = 3600;
const DAY: u32 = 24 * HOUR;
const BURST: u32 = 600;
/// Entries that a generation has at most.
const KEPT: usize = 100_000;
/// Digits of a prefix.
const PREFIX_DIGITS: u32 = 8;

/// What was sent to whom.
#[derive(Default)]
pub(super) struct Guard(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// A number for each tenant: there are as many as an administrator has made.
    tenants: HashMap<Tenant, u32>,
    recipients: Generations<Recipient>,
    prefixes: Generations<Window>,
}

/// A tenant's number, and a recipient or a prefix.
type Key = (u32, u64);

/// Messages since the first of them, by the seconds of the clock.
#[derive(Clone, Copy, Default)]
struct Window {
    since: u32,
    count: u32,
}

impl Window {
    /// The messages that count at `now`.
    const fn at(self, now: u32, length: u32) -> u32 {
        if now.saturating_sub(self.since) < length {
            self.count
        } else {
            0
        }
    }

    fn add(&mut self, now: u32, length: u32) {
        if self.at(now, length) == 0 {
            *self = Self {
                since: now,
                count: 0,
            };
        }
        self.count = self.count.saturating_add(1);
    }

    /// Why one more is too many, if it is.
    fn too_many(self, now: u32, length: u32, most: u32) -> Option<u32> {
        let full = most > 0 && self.at(now, length) >= most;
        full.then(|| (self.since + length).saturating_sub(now))
    }
}

#[derive(Clone, Copy, Default)]
struct Recipient {
    hour: Window,
    day: Window,
    /// When it was last sent to, or was refused as one of a run.
    last: u32,
    touched: bool,
}

impl Recipient {
    const fn touch(&mut self, now: u32) {
        self.last = now;
        self.touched = true;
    }
}

/// A map that forgets what was touched longest ago, half of it at a time.
struct Generations<V> {
    young: HashMap<Key, V>,
    old: HashMap<Key, V>,
}

impl<V> Default for Generations<V> {
    fn default() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }
}

impl<V: Copy + Default> Generations<V> {
    fn get(&self, key: Key) -> Option<V> {
        let found = self.young.get(&key).or_else(|| self.old.get(&key));
        found.copied()
    }

    /// Changes an entry, new if there is none.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut V)) {
        if self.young.len() >= KEPT && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        let entry = self.young.entry(key);
        change(entry.or_insert_with(|| old.remove(&key).unwrap_or_default()));
    }

    /// Puts back what was there.
    fn restore(&mut self, key: Key, before: Option<V>) {
        match before {
            Some(before) => self.change(key, |entry| *entry = before),
            None => {
                self.young.remove(&key);
            }
        }
    }
}

/// What a submission was counted as.
#[derive(Debug)]
pub struct Watched {
    tenant: u32,
    numbers: Vec<Msisdn>,
}

/// Why a submission is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicious {
    /// What to answer.
    pub error: FieldError,
    /// After how long it may be tried again.
    pub wait: Duration,
}

fn prefix(number: Msisdn) -> u64 {
    let digits = number.as_u64();
    let length = digits.checked_ilog10().map_or(1, |log| log + 1);
    digits / 10_u64.pow(length.saturating_sub(PREFIX_DIGITS))
}

impl Seen {
    /// The tenant's number.
    fn tenant(&mut self, tenant: &Tenant) -> u32 {
        if let Some(known) = self.tenants.get(tenant) {
            return *known;
        }
        let next = u32::try_from(self.tenants.len()).unwrap_or(u32::MAX);
        self.tenants.insert(tenant.clone(), next);
        next
    }

    /// Why one message more is not to be sent, if it is not: the code, and for how long.
    fn suspicion(
        &self,
        tenant: u32,
        number: Msisdn,
        limits: &GuardLimits,
        now: u32,
    ) -> Option<(&'static str, u32)> {
        let digits = number.as_u64();
        if let Some(recipient) = self.recipients.get((tenant, digits)) {
            let hourly = recipient.hour.too_many(now, HOUR, limits.recipient_hourly);
            let daily = recipient.day.too_many(now, DAY, limits.recipient_daily);
            if let Some(wait) = daily.or(hourly) {
                return Some(("recipient_limit", wait));
            }
        }
        if limits.prefix_burst > 0 {
            let prefix = self.prefixes.get((tenant, prefix(number)));
            let prefix = prefix.unwrap_or_default();
            if let Some(wait) = prefix.too_many(now, BURST, limits.prefix_burst) {
                return Some(("prefix_limit", wait));
            }
        }
        if limits.consecutive > 0 && self.run(tenant, digits, now, limits.consecutive) {
            return Some(("consecutive_numbers", BURST));
        }
        None
    }

    /// True if a number ends, or joins, a run of so many.
    fn run(&self, tenant: u32, digits: u64, now: u32, most: u32) -> bool {
        let seen = |digits: u64| {
            let seen = self.recipients.get((tenant, digits));
            seen.is_some_and(|it| it.touched && now.saturating_sub(it.last) < BURST)
        };
        let below = (1..u64::from(most)).take_while(|step| seen(digits.wrapping_sub(*step)));
        let below = below.count();
        let above = (1..u64::from(most)).take_while(|step| seen(digits.wrapping_add(*step)));
        below + above.count() + 1 >= usize::try_from(most).unwrap_or(usize::MAX)
    }

    fn add(&mut self, tenant: u32, number: Msisdn, now: u32) {
        self.recipients.change((tenant, number.as_u64()), |it| {
            it.hour.add(now, HOUR);
            it.day.add(now, DAY);
            it.touch(now);
        });
        let burst = |it: &mut Window| it.add(now, BURST);
        self.prefixes.change((tenant, prefix(number)), burst);
    }

    fn give_back(&mut self, tenant: u32, number: Msisdn) {
        let key = (tenant, number.as_u64());
        if self.recipients.get(key).is_some() {
            self.recipients.change(key, |it| {
                it.hour.count = it.hour.count.saturating_sub(1);
                it.day.count = it.day.count.saturating_sub(1);
            });
        }
        let key = (tenant, prefix(number));
        if self.prefixes.get(key).is_some() {
            let less = |it: &mut Window| it.count = it.count.saturating_sub(1);
            self.prefixes.change(key, less);
        }
    }

    /// Counts these, or none of them.
    fn add_all(
        &mut self,
        tenant: u32,
        numbers: &[Msisdn],
        limits: &GuardLimits,
        now: u32,
    ) -> Result<(), (&'static str, u32)> {
        // What a single message finds is not changed where it is refused.
        let mut before = Vec::new();
        for (index, number) in numbers.iter().enumerate() {
            if let Some(suspicion) = self.suspicion(tenant, *number, limits, now) {
                let done = numbers[..index].iter().zip(before).rev();
                for (number, (recipient, burst)) in done {
                    let key = (tenant, number.as_u64());
                    self.recipients.restore(key, recipient);
                    self.prefixes.restore((tenant, prefix(*number)), burst);
                }
                if suspicion.0 == "consecutive_numbers" {
                    // A gap where one was refused would let the next nine pass.
                    for number in numbers {
                        let key = (tenant, number.as_u64());
                        self.recipients.change(key, |it| it.touch(now));
                    }
                }
                return Err(suspicion);
            }
            if numbers.len() > 1 {
                before.push((
                    self.recipients.get((tenant, number.as_u64())),
                    self.prefixes.get((tenant, prefix(*number))),
                ));
            }
            self.add(tenant, *number, now);
        }
        Ok(())
    }
}

impl Engine {
    /// Counts a submission that is about to be stored, whole; `None` where nothing is limited. Once it is
    /// stored, or is not, [`watched`](Self::watched) has to be told.
    ///
    /// # Errors
    /// What looks like abuse; nothing of the submission was counted then.
    pub fn watch(
        &self,
        tenant: &Tenant,
        checked: &[Checked],
    ) -> Result<Option<Watched>, Suspicious> {
        let rules = self.rules();
        let settings = self.settings(tenant);
        let limits = rules.guard.limits_of(tenant, &settings.guard);
        if limits.are_none() {
            return Ok(None);
        }
        let numbers: Vec<Msisdn> = checked.iter().map(|checked| checked.asked).collect();
        let now = u32::try_from(self.clock.elapsed().as_secs()).unwrap_or(u32::MAX);
        let mut seen = self.guard.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = seen.tenant(tenant);
        let counted = seen.add_all(number, &numbers, &limits, now);
        drop(seen);
        match counted {
            Ok(()) => Ok(Some(Watched {
                tenant: number,
                numbers,
            })),
            Err((code, wait)) => {
                self.metrics.http_refused(code);
                tracing::warn!(%tenant, code, "suspicious_submission");
                Err(suspicious(code, wait, &limits))
            }
        }
    }

    /// Gives back what was counted and not stored: everything where the submission failed or was a
    /// repetition, and what was told before, or took the place of what had been counted already for the same recipient.
    pub fn watched(&self, watched: Option<Watched>, submitted: Option<&Submitted>) {
        let Some(Watched { tenant, numbers }) = watched else {
            return;
        };
        let stored = submitted.filter(|submitted| !submitted.repeated);
        let is_new = |index: usize| {
            stored.is_some_and(|stored| {
                let before = stored.duplicates.contains(&index) || stored.same.contains(&index);
                index < stored.messages.len() && !before
            })
        };
        let unused = numbers.iter().enumerate().filter(|(it, _)| !is_new(*it));
        let mut unused = unused.map(|(_, number)| *number).peekable();
        if unused.peek().is_none() {
            return;
        }
        let mut seen = self.guard.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused.for_each(|number| seen.give_back(tenant, number));
    }
}

fn suspicious(code: &'static str, wait: u32, limits: &GuardLimits) -> Suspicious {
    let GuardLimits {
        recipient_hourly,
        recipient_daily,
        prefix_burst,
        consecutive,
    } = limits;
    let (refusal, detail) = match code {
        "recipient_limit" => (
            Refusal::TooMany,
            format!(
                "a recipient may get {recipient_hourly} messages of this tenant in an hour and \
                 {recipient_daily} in a day (0: any number); nothing was stored"
            ),
        ),
        "prefix_limit" => (
            Refusal::TooMany,
            format!(
                "numbers that begin with the same {PREFIX_DIGITS} digits may get {prefix_burst} messages \
                 of this tenant in ten minutes; nothing was stored"
            ),
        ),
        _ => (
            Refusal::Forbidden,
            format!(
                "{consecutive} consecutive numbers in ten minutes look like abuse; nothing was stored. \
                 An administrator can change the tenant's guard"
            ),
        ),
    };
    Suspicious {
        error: FieldError::new("/to", code, detail).as_refusal(refusal),
        wait: Duration::from_secs(u64::from(wait.max(1))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIMITS: GuardLimits = GuardLimits {
        recipient_hourly: 5,
        recipient_daily: 20,
        prefix_burst: 50,
        consecutive: 10,
    };
    const NONE: GuardLimits = GuardLimits {
        recipient_hourly: 0,
        recipient_daily: 0,
        prefix_burst: 0,
        consecutive: 0,
    };

    fn number(last: u64) -> Msisdn {
        Msisdn::try_from(33_612_000_000 + last).unwrap()
    }

    /// What becomes of messages to these, one by one.
    fn sends(
        seen: &mut Seen,
        numbers: &[u64],
        limits: &GuardLimits,
        now: u32,
    ) -> Vec<&'static str> {
        let one = |last: &u64| {
            let sent = seen.add_all(0, &[number(*last)], limits, now);
            sent.map_or_else(|(code, _)| code, |()| "")
        };
        numbers.iter().map(one).collect()
    }

    #[test]
    fn the_sixth_message_of_an_hour_and_the_twenty_first_of_a_day_are_refused() {
        let mut seen = Seen::default();
        for hour in 0..4 {
            let now = 10 + hour * HOUR;
            assert_eq!(sends(&mut seen, &[7; 5], &LIMITS, now), [""; 5], "{hour}");
            let refused = seen.add_all(0, &[number(7)], &LIMITS, now + 60);
            assert_eq!(refused.unwrap_err().0, "recipient_limit");
        }
        let refused = seen.add_all(0, &[number(7)], &LIMITS, 10 + 5 * HOUR);
        assert_eq!(refused, Err(("recipient_limit", DAY - 5 * HOUR)));
        assert_eq!(sends(&mut seen, &[8, 9], &LIMITS, 11), ["", ""], "others");
        let other = seen.add_all(1, &[number(7)], &LIMITS, 11);
        assert_eq!(other, Ok(()), "another tenant");
        assert_eq!(sends(&mut seen, &[7], &LIMITS, 10 + DAY), [""], "tomorrow");
    }

    #[test]
    fn the_tenth_consecutive_number_is_refused_in_whatever_order_they_come() {
        let up: Vec<u64> = (100..110).collect();
        let mixed = [100, 109, 101, 108, 102, 107, 103, 106, 104, 105];
        for order in [&up[..], &mixed] {
            let mut seen = Seen::default();
            let told = sends(&mut seen, order, &LIMITS, 1);
            assert_eq!(told[..9], [""; 9]);
            assert_eq!(told[9], "consecutive_numbers");
            // What was refused was not sent, and yet no gap that lets the next ones pass.
            let last = order[9];
            let refused = seen.recipients.get((0, number(last).as_u64())).unwrap();
            assert_eq!(refused.day.count, 0);
            assert_eq!(
                sends(&mut seen, &[110], &LIMITS, 2),
                ["consecutive_numbers"]
            );
            assert_eq!(sends(&mut seen, &[last], &LIMITS, BURST + 1), [""]);
        }
        let mut seen = Seen::default();
        let even: Vec<u64> = (0..40).map(|n| n * 2).collect();
        assert_eq!(sends(&mut seen, &even, &LIMITS, 1), [""; 40]);
    }

    #[test]
    fn numbers_that_begin_alike_share_a_burst() {
        let mut seen = Seen::default();
        let limits = GuardLimits {
            prefix_burst: 3,
            ..NONE
        };
        let told = sends(&mut seen, &[0, 500, 999, 3, 1000], &limits, 5);
        assert_eq!(told, ["", "", "", "prefix_limit", ""]);
        assert_eq!(prefix(number(3)), 33_612_000);
        assert_eq!(sends(&mut seen, &[3], &limits, 5 + BURST), [""]);
    }

    #[test]
    fn a_batch_counts_whole_or_not_at_all() {
        let mut seen = Seen::default();
        assert_eq!(sends(&mut seen, &[50], &LIMITS, 1), [""]);
        let run: Vec<_> = (100..120).map(number).collect();
        let refused = seen.add_all(0, &run, &LIMITS, 2);
        assert_eq!(refused, Err(("consecutive_numbers", BURST)));
        // Not one of them was counted.
        let counted = |number: &Msisdn| {
            let known = seen.recipients.get((0, number.as_u64()));
            known.is_some_and(|it| it.day.count > 0)
        };
        assert!(!run.iter().any(counted));
        let six = vec![number(50); 6];
        assert_eq!(
            seen.add_all(0, &six, &LIMITS, 2).unwrap_err().0,
            "recipient_limit"
        );
        assert_eq!(
            seen.recipients
                .get((0, number(50).as_u64()))
                .unwrap()
                .hour
                .count,
            1
        );
        assert_eq!(seen.add_all(0, &six[..4], &LIMITS, 2), Ok(()));
    }

    #[test]
    fn what_was_given_back_can_be_sent() {
        let mut seen = Seen::default();
        assert_eq!(sends(&mut seen, &[7; 5], &LIMITS, 1), [""; 5]);
        seen.give_back(0, number(7));
        seen.give_back(0, number(8));
        let told = sends(&mut seen, &[7, 7], &LIMITS, 1);
        assert_eq!(told, ["", "recipient_limit"]);
    }

    #[test]
    fn memory_is_bounded_and_what_is_written_to_is_remembered() {
        let mut seen = Seen::default();
        for n in 0..3 * KEPT as u64 {
            seen.add(0, number(n), 1);
            if n % 1000 == 0 {
                seen.add(0, number(7), 1);
            }
        }
        assert!(seen.recipients.young.len() + seen.recipients.old.len() <= 2 * KEPT);
        assert!(
            seen.recipients
                .get((0, number(7).as_u64()))
                .unwrap()
                .day
                .count
                > 299
        );
        assert!(seen.recipients.get((0, number(1).as_u64())).is_none());
    }

    #[test]
    fn prefixes_are_eight_digits_of_any_length_of_number() {
        for (digits, first) in [(33_612_345_678, 33_612_345), (12_345_678, 12_345_678)] {
            assert_eq!(prefix(Msisdn::try_from(digits).unwrap()), first);
        }
    }
}
