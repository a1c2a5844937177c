//! TP-SCTS, TP-DT and the absolute TP-VP: a local time with its distance from GMT, in
//! seven octets of swapped decimal digits (3GPP TS 23.040 clause 9.2.3.11).
//!
//! The octets are kept as they came, because a report with an impossible time (all zeros
//! is common for one that was not delivered) still reports. The year has two digits and
//! is read as 20xx: every network that this gateway can meet writes that.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, Timelike, Utc};

/// The seconds of the unit in which the distance from GMT is written.
const QUARTER: i32 = 15 * 60;

/// A time as the network writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetworkTime(pub [u8; 7]);

impl NetworkTime {
    /// The moment and its zone; `None` if the digits are no date.
    ///
    /// The zone is read generously: of its two digits the first has a sign in its upper
    /// bit, and real networks put more than 9 into the second.
    #[must_use]
    pub fn moment(self) -> Option<DateTime<FixedOffset>> {
        let [year, month, day, hour, minute, second, zone] = self.0;
        let date = NaiveDate::from_ymd_opt(2000 + two::<i32>(year)?, two(month)?, two(day)?)?;
        let local = date.and_hms_opt(two(hour)?, two(minute)?, two(second)?)?;
        let quarters = i32::from(zone & 0x07) * 10 + i32::from(zone >> 4);
        let east = if zone & 0x08 == 0 { 1 } else { -1 };
        let offset = FixedOffset::east_opt(east * quarters * QUARTER)?;
        local.and_local_timezone(offset).single()
    }
}

/// The number of two swapped decimal digits.
fn two<N: From<u8>>(octet: u8) -> Option<N> {
    let (tens, units) = (octet & 0x0F, octet >> 4);
    (tens < 10 && units < 10).then(|| N::from(tens * 10 + units))
}

/// Two swapped decimal digits of a number below 100.
fn swapped(number: u32) -> u8 {
    let [number, ..] = (number % 100).to_le_bytes();
    ((number % 10) << 4) | (number / 10)
}

impl From<DateTime<FixedOffset>> for NetworkTime {
    /// Of the year the last two digits are kept, of the zone whole quarters of an hour,
    /// of the second what is before the point.
    fn from(moment: DateTime<FixedOffset>) -> Self {
        let quarters = moment.offset().local_minus_utc() / QUARTER;
        // In the zone that the quarters say, so that the moment stays the same one.
        let local = FixedOffset::east_opt(quarters * QUARTER)
            .map_or(moment, |offset| moment.with_timezone(&offset));
        let sign = if quarters < 0 { 0x08 } else { 0 };
        Self([
            swapped(local.year().rem_euclid(100).unsigned_abs()),
            swapped(local.month()),
            swapped(local.day()),
            swapped(local.hour()),
            swapped(local.minute()),
            swapped(local.second()),
            swapped(quarters.unsigned_abs()) | sign,
        ])
    }
}

impl From<DateTime<Utc>> for NetworkTime {
    fn from(moment: DateTime<Utc>) -> Self {
        Self::from(moment.fixed_offset())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(octets: [u8; 7]) -> Option<String> {
        NetworkTime(octets)
            .moment()
            .map(|moment| moment.to_rfc3339())
    }

    #[test]
    fn zones_are_quarters_with_a_sign() {
        for (zone, text) in [
            (0x00, "+00:00"),
            (0x80, "+02:00"),
            (0x40, "+01:00"),
            (0x22, "+05:30"),
            (0x0A, "-05:00"),
            (0x48, "-01:00"),
            (0x23, "+08:00"),
            // Digits above 9, as real networks send them.
            (0xC2, "+08:00"),
            (0xA0, "+02:30"),
        ] {
            let written = read([0x31, 0x30, 0x80, 0x51, 0x20, 0x61, zone]);
            assert_eq!(written.unwrap(), format!("2013-03-08T15:02:16{text}"));
        }
    }

    #[test]
    fn impossible_times_are_none_and_kept() {
        for octets in [
            [0; 7],
            [0xFF; 7],
            [0x31, 0x31, 0x80, 0x51, 0x20, 0x61, 0],
            [0x31, 0x20, 0x03, 0x51, 0x20, 0x61, 0],
            [0x31, 0x30, 0x80, 0x42, 0x20, 0x61, 0],
            [0x31, 0x30, 0x8A, 0x51, 0x20, 0x61, 0],
        ] {
            assert_eq!(read(octets), None, "{octets:02X?}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_none(octets: [u8; 7]) {
            if let Some(moment) = NetworkTime(octets).moment() {
                prop_assert_eq!(NetworkTime::from(moment).moment(), Some(moment));
            }
        }

        #[test]
        fn times_survive(seconds in 946_771_200_i64..4_102_358_400, quarters in -79..=79) {
            let offset = FixedOffset::east_opt(quarters * QUARTER).unwrap();
            let moment = DateTime::from_timestamp(seconds, 0).unwrap().with_timezone(&offset);
            let written = NetworkTime::from(moment);
            prop_assert_eq!(written.moment(), Some(moment));
            prop_assert_eq!(written.moment().map(|read| *read.offset()), Some(offset));
        }
    }
}
