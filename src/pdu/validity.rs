//! TP-VP, how long the service centre may try (3GPP TS 23.040 clause 9.2.3.12), in the
//! three formats that TP-VPF (clause 9.2.3.3) can announce.
//!
//! Relative validity is what the gateway writes; the other two are read.

use std::time::Duration;

use super::reader::{DecodeError, Reader};
use super::timestamp::NetworkTime;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A validity period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Validity {
    /// One octet of coarse steps (clause 9.2.3.12.1), from the moment when the service
    /// centre receives the message.
    Relative(u8),
    /// Until this moment (clause 9.2.3.12.2).
    Absolute(NetworkTime),
    /// Seven octets whose first says what the others are (clause 9.2.3.12.3).
    Enhanced([u8; 7]),
}

impl Validity {
    /// The shortest relative validity that is not below `period`; 63 weeks if it is
    /// longer than that.
    #[must_use]
    pub fn at_least(period: Duration) -> Self {
        let long_enough = |&octet: &u8| relative(octet) >= period;
        Self::Relative((0..=u8::MAX).find(long_enough).unwrap_or(u8::MAX))
    }

    /// How long it lasts, if it says so: absolute validity needs a clock to tell, and an
    /// enhanced one may give none.
    #[must_use]
    pub fn period(self) -> Option<Duration> {
        match self {
            Self::Relative(octet) => Some(relative(octet)),
            Self::Absolute(_) => None,
            Self::Enhanced(octets) => enhanced(octets),
        }
    }

    /// The value of TP-VPF, bits 4 and 3 of the first octet, for a validity or none.
    pub(super) fn format(validity: Option<Self>) -> u8 {
        match validity {
            None => 0b00 << 3,
            Some(Self::Enhanced(_)) => 0b01 << 3,
            Some(Self::Relative(_)) => 0b10 << 3,
            Some(Self::Absolute(_)) => 0b11 << 3,
        }
    }

    /// Reads what TP-VPF of the first octet announces.
    pub(super) fn read(first: u8, reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        Ok(match first >> 3 & 0b11 {
            0b00 => None,
            0b01 => Some(Self::Enhanced(reader.array("TP-VP")?)),
            0b10 => Some(Self::Relative(reader.octet("TP-VP")?)),
            _ => Some(Self::Absolute(NetworkTime(reader.array("TP-VP")?))),
        })
    }

    pub(super) fn write(self, octets: &mut Vec<u8>) {
        match self {
            Self::Relative(octet) => octets.push(octet),
            Self::Absolute(NetworkTime(all)) | Self::Enhanced(all) => octets.extend(all),
        }
    }
}

/// Clause 9.2.3.12.1: steps of 5 minutes up to 12 hours, of 30 minutes up to a day, of a
/// day up to 30, then of a week up to 63.
fn relative(octet: u8) -> Duration {
    let step = u64::from(octet);
    Duration::from_secs(match octet {
        0..=143 => (step + 1) * 5 * MINUTE,
        144..=167 => 12 * HOUR + (step - 143) * 30 * MINUTE,
        168..=196 => (step - 166) * DAY,
        197..=255 => (step - 192) * 7 * DAY,
    })
}

/// Clause 9.2.3.12.3: the low three bits of the first octet choose between one relative
/// octet, one octet of seconds, and hours, minutes and seconds in swapped digits. Bit 7
/// puts a further functionality octet before them; none is defined, so that it is not
/// known what follows.
fn enhanced([indicator, a, b, c, ..]: [u8; 7]) -> Option<Duration> {
    if indicator & 0x80 != 0 {
        return None;
    }
    let two = |octet: u8| {
        let (tens, units) = (octet & 0x0F, octet >> 4);
        (tens < 10 && units < 10).then(|| u64::from(tens * 10 + units))
    };
    match indicator & 0b111 {
        0b001 => Some(relative(a)),
        // No seconds at all is reserved.
        0b010 if a > 0 => Some(Duration::from_secs(u64::from(a))),
        0b011 => Some(Duration::from_secs(
            two(a)? * HOUR + two(b)? * MINUTE + two(c)?,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_periods_have_known_octets() {
        for (hours, octet) in [
            (1, 0x0B),
            (12, 0x8F),
            (24, 0xA7),
            (48, 0xA8),
            (72, 0xA9),
            (96, 0xAA),
            (30 * 24, 0xC4),
            (5 * 7 * 24, 0xC5),
            (63 * 7 * 24, 0xFF),
        ] {
            let period = Duration::from_secs(hours * HOUR);
            assert_eq!(Validity::at_least(period), Validity::Relative(octet));
            assert_eq!(Validity::Relative(octet).period(), Some(period));
        }
    }

    #[test]
    fn periods_are_rounded_up_and_capped() {
        let octet = |seconds| Validity::at_least(Duration::from_secs(seconds));
        assert_eq!(octet(0), Validity::Relative(0));
        assert_eq!(octet(301), Validity::Relative(1));
        assert_eq!(octet(24 * HOUR + 1), Validity::Relative(0xA8));
        assert_eq!(octet(u64::MAX), Validity::Relative(0xFF));
    }

    #[test]
    fn enhanced_periods_are_read() {
        let period = |octets| Validity::Enhanced(octets).period().map(|p| p.as_secs());
        assert_eq!(period([0x00, 1, 2, 3, 0, 0, 0]), None);
        assert_eq!(period([0x01, 0xA8, 0, 0, 0, 0, 0]), Some(48 * HOUR));
        assert_eq!(period([0x42, 90, 0, 0, 0, 0, 0]), Some(90));
        assert_eq!(period([0x02, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(
            period([0x03, 0x21, 0x43, 0x95, 0, 0, 0]),
            Some(12 * HOUR + 34 * MINUTE + 59)
        );
        assert_eq!(period([0x03, 0xFA, 0, 0, 0, 0, 0]), None);
        assert_eq!(period([0x81, 0, 0xA8, 0, 0, 0, 0]), None);
        assert_eq!(period([0x07, 1, 1, 1, 1, 1, 1]), None);
    }

    proptest! {
        #[test]
        fn relative_octets_survive(octet: u8) {
            let validity = Validity::Relative(octet);
            let period = validity.period().unwrap_or_default();
            prop_assert_eq!(Validity::at_least(period), validity);
            if let Some(before) = octet.checked_sub(1) {
                prop_assert!(relative(before) < period);
            }
        }

        #[test]
        fn any_octets_have_a_period_or_none(octets: [u8; 7]) {
            let longest = relative(u8::MAX);
            prop_assert!(Validity::Enhanced(octets).period().is_none_or(|p| p <= longest));
        }
    }
}
