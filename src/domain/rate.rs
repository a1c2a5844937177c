//! How fast parts may leave: so many in a second, a minute or an hour.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// The pace of an account, in parts per period; no parts at all means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    parts: u32,
    per: Period,
}

/// What the parts of a [`Rate`] are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Period {
    #[default]
    Second,
    Minute,
    Hour,
}

impl Period {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }
}

impl Rate {
    /// No limit.
    pub const NONE: Self = Self::per_second(0);

    /// Most parts of any period.
    pub const MOST: u32 = 100_000;

    /// So many parts in a second; 0 means no limit.
    #[must_use]
    pub const fn per_second(parts: u32) -> Self {
        Self {
            parts,
            per: Period::Second,
        }
    }

    /// So many parts in a minute; 0 means no limit.
    #[must_use]
    pub const fn per_minute(parts: u32) -> Self {
        Self {
            parts,
            per: Period::Minute,
        }
    }

    /// Reads `100/s`, `6/min` or `300/h`, up to 100 000 parts; `None` for anything else, a bare number
    /// included.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (parts, unit) = text.split_once('/')?;
        let (parts, unit) = (parts.trim(), unit.trim());
        if !parts.bytes().all(|octet| octet.is_ascii_digit()) {
            return None;
        }
        let parts = parts.parse().ok().filter(|parts| *parts <= Self::MOST)?;
        let per = Period::ALL.into_iter().find(|per| per.as_str() == unit)?;
        Some(Self { parts, per })
    }

    /// Parts per second; `None` where there is no limit.
    #[must_use]
    pub fn parts_per_second(self) -> Option<f64> {
        let parts = f64::from(self.parts);
        (self.parts > 0).then(|| parts / f64::from(self.per.seconds()))
    }

    /// The time between two parts, rounded up, so that no period ever sees a part too many; `None`
    /// where there is no limit.
    #[must_use]
    pub fn interval(self) -> Option<Duration> {
        let parts = NonZeroU32::new(self.parts)?;
        let period = Duration::from_secs(u64::from(self.per.seconds()));
        let nanos = period.as_nanos().div_ceil(u128::from(parts.get()));
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    }

    /// How many parts of one second's quota make a share of one in `divisor`, and at least one part:
    /// a slow pace sends one at a time.
    #[must_use]
    pub fn share_of_a_second(self, divisor: u32) -> NonZeroU32 {
        let parts = self.parts / self.per.seconds() / divisor.max(1);
        NonZeroU32::new(parts).unwrap_or(NonZeroU32::MIN)
    }
}

impl From<u32> for Rate {
    /// Parts per second; 0 means no limit.
    fn from(parts: u32) -> Self {
        Self::per_second(parts)
    }
}

impl fmt::Display for Rate {
    /// As it is read: `6/min`; `0/s` where there is no limit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.parts, self.per.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them_and_written_back() {
        for (text, written, interval) in [
            ("100/s", "100/s", 10_000_000),
            ("6/min", "6/min", 10_000_000_000),
            (" 300 / h ", "300/h", 12_000_000_000),
            ("7/min", "7/min", 8_571_428_572),
        ] {
            let rate = Rate::parse(text).unwrap();
            assert_eq!(rate.to_string(), written);
            assert_eq!(rate.interval(), Some(Duration::from_nanos(interval)));
        }
        for text in [
            "", "6", "/s", "6/", "6/day", "6/m", "-1/s", "+1/s", "1.5/s", "100001/s", "6/min/s",
        ] {
            assert_eq!(Rate::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn nothing_in_any_period_is_no_limit() {
        for none in [
            Rate::NONE,
            Rate::default(),
            0.into(),
            Rate::parse("0/h").unwrap(),
        ] {
            assert_eq!((none.interval(), none.parts_per_second()), (None, None));
        }
    }

    #[test]
    fn a_slow_pace_sends_one_at_a_time() {
        for (rate, parts) in [("100/s", 5), ("6000/min", 5), ("20/s", 1), ("6/min", 1)] {
            let share = Rate::parse(rate).unwrap().share_of_a_second(20);
            assert_eq!(share.get(), parts, "{rate}");
        }
    }
}
