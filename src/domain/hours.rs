//! Sending hours: at which times of the day, by the clock on a wall of the recipients' zone, messages may
//! leave.
//!
//! A wall clock skips an hour in spring and shows one twice in autumn. Hours are open exactly when it
//! shows a time within them: so a skipped opening is the instant after the gap, and an hour that is
//! shown twice counts twice. Nothing here is added to a local time that a change of offset could
//! falsify.

use std::fmt;

use chrono::{Datelike, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Weekday};
use chrono_tz::Tz;

use super::time::Timestamp;

/// When messages may leave; no window at all means always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendingHours(Vec<Window>);

/// The same hours on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Monday first.
    days: [bool; 7],
    /// Minutes from midnight, up to 24:00; the end is outside.
    from: u32,
    to: u32,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY: u32 = 24 * 60;

/// Most changes of a zone's offset that are looked past: no zone has as many in two weeks.
const MOST_CHANGES: usize = 8;

impl Window {
    /// Reads `mon-fri 08:00-20:00`, `sat,sun 10:00-24:00`, or `08:00-20:00` for every day; `None` for
    /// anything else, hours over midnight included: they are two windows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (days, hours) = match text.split_once(char::is_whitespace) {
            Some((days, hours)) => (parse_days(days)?, hours),
            None => ([true; 7], text),
        };
        let (from, to) = hours.split_once('-')?;
        let (from, to) = (parse_time(from.trim())?, parse_time(to.trim())?);
        (from < to).then_some(Self { days, from, to })
    }
}

/// `mon`, `mon-fri`, `sat,sun`; a range may go over Sunday.
fn parse_days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|day| name.eq_ignore_ascii_case(day));
    let mut days = [false; 7];
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (day(first)?, day(last)?);
        for index in 0..=(last + 7 - first) % 7 {
            days[(first + index) % 7] = true;
        }
    }
    Some(days)
}

/// `08:00`, up to `24:00`, in minutes.
fn parse_time(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str| {
        let valid = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        valid.then(|| digits.parse::<u32>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let time = hours * 60 + minutes;
    (minutes < 60 && time <= DAY).then_some(time)
}

impl From<Vec<Window>> for SendingHours {
    fn from(windows: Vec<Window>) -> Self {
        Self(windows)
    }
}

impl SendingHours {
    /// True if messages may leave at any time.
    #[must_use]
    pub fn are_always(&self) -> bool {
        self.0.is_empty()
    }

    /// True if messages may leave at `at`, where the clocks are those of `zone`.
    #[must_use]
    pub fn are_open(&self, at: Timestamp, zone: Tz) -> bool {
        self.are_always() || self.show(local(at, zone))
    }

    /// When messages may leave, at `at` or after it. [`Timestamp::NEVER`] where that is nowhere near: no
    /// hours that can be written are so, but a wrong zone's data could be.
    #[must_use]
    pub fn opening(&self, at: Timestamp, zone: Tz) -> Timestamp {
        let mut at = at;
        for _ in 0..MOST_CHANGES {
            if self.are_open(at, zone) {
                return at;
            }
            let now = local(at, zone);
            let Some(next) = self.next_start(now) else {
                break;
            };
            let there = Timestamp(at.millis() + (next - now).num_milliseconds());
            match change_of_offset(at, there, zone) {
                // The wall clock jumps on the way: it may jump into the hours, or out of them.
                Some(change) => at = change,
                None => return there,
            }
        }
        Timestamp::NEVER
    }

    /// True if a wall clock that shows `local` shows a time within the hours.
    fn show(&self, local: NaiveDateTime) -> bool {
        let minute = local.hour() * 60 + local.minute();
        self.0.iter().any(|window| {
            window.days[index(local.weekday())] && (window.from..window.to).contains(&minute)
        })
    }

    /// The first time after `local` on the wall clock at which hours begin.
    fn next_start(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let midnight = local.date().and_time(chrono::NaiveTime::MIN);
        let starts = (0..=7).flat_map(|days| {
            let midnight = midnight + TimeDelta::days(days);
            let today = index(midnight.weekday());
            let windows = self.0.iter().filter(move |window| window.days[today]);
            windows.map(move |window| midnight + TimeDelta::minutes(i64::from(window.from)))
        });
        starts.filter(|start| *start > local).min()
    }
}

const fn index(day: Weekday) -> usize {
    day.num_days_from_monday() as usize
}

/// What the wall clock shows.
fn local(at: Timestamp, zone: Tz) -> NaiveDateTime {
    zone.from_utc_datetime(&at.to_utc().naive_utc())
        .naive_local()
}

/// The date that calendars show.
#[must_use]
pub fn date(at: Timestamp, zone: Tz) -> NaiveDate {
    local(at, zone).date()
}

/// The first instant after `at` at which calendars show a later date. Clocks that jump over midnight, or show
/// it twice, are no exception: the date is asked, not the time.
#[must_use]
pub fn end_of_day(at: Timestamp, zone: Tz) -> Timestamp {
    let today = date(at, zone);
    let mut same = at.millis().div_euclid(1000);
    // No day has more than 25 hours, but one was left out: Samoa's 30 December 2011.
    let mut later = same + 2 * 24 * 3600;
    while later - same > 1 {
        let middle = same + (later - same) / 2;
        if date(Timestamp(middle * 1000), zone) <= today {
            same = middle;
        } else {
            later = middle;
        }
    }
    Timestamp(later * 1000)
}

fn offset(at: Timestamp, zone: Tz) -> i32 {
    let utc = at.to_utc().naive_utc();
    zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()
}

/// The first instant after `from`, up to `to`, at which the zone has another offset than at `from`;
/// `None` if it has the same one at `to`. Offsets change at whole seconds.
fn change_of_offset(from: Timestamp, to: Timestamp, zone: Tz) -> Option<Timestamp> {
    let before = offset(from, zone);
    if offset(to, zone) == before {
        return None;
    }
    let (mut same, mut other) = (from.millis().div_euclid(1000), to.millis().div_euclid(1000));
    while other - same > 1 {
        let middle = same + (other - same) / 2;
        if offset(Timestamp(middle * 1000), zone) == before {
            same = middle;
        } else {
            other = middle;
        }
    }
    Some(Timestamp(other * 1000))
}

impl fmt::Display for Window {
    /// As it is read: `mon-fri 08:00-20:00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for day in (0..7).filter(|day| self.days[*day]) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == day => *last = day,
                _ => ranges.push((day, day)),
            }
        }
        let write = |(first, last): &(usize, usize)| {
            if first == last {
                DAYS[*first].to_owned()
            } else {
                format!("{}-{}", DAYS[*first], DAYS[*last])
            }
        };
        let days: Vec<_> = ranges.iter().map(write).collect();
        let [from, to] = [self.from, self.to].map(|t| format!("{:02}:{:02}", t / 60, t % 60));
        write!(f, "{} {from}-{to}", days.join(","))
    }
}

impl fmt::Display for SendingHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.are_always() {
            return f.write_str("always");
        }
        let windows: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&windows.join(", "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hours(windows: &[&str]) -> SendingHours {
        let windows: Vec<_> = windows.iter().map(|w| Window::parse(w).unwrap()).collect();
        windows.into()
    }

    fn utc(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn hours_are_read_as_people_write_them_and_written_back() {
        for (text, written) in [
            ("mon-fri 08:00-20:00", "mon-fri 08:00-20:00"),
            (" SAT  09:00 - 12:30 ", "sat 09:00-12:30"),
            ("sat-mon 10:00-24:00", "mon,sat-sun 10:00-24:00"),
            ("mon,wed,thu 00:00-00:01", "mon,wed-thu 00:00-00:01"),
            ("08:00-20:00", "mon-sun 08:00-20:00"),
        ] {
            let window = Window::parse(text).unwrap();
            assert_eq!(window.to_string(), written);
            assert_eq!(Window::parse(written), Some(window));
        }
        for text in [
            "",
            "mon",
            "mon-fri",
            "20:00-08:00",
            "08:00-08:00",
            "8:00-20:00",
            "08:00-24:01",
            "08:60-20:00",
            "lun 08:00-20:00",
            "mon- 08:00-20:00",
            "08:00",
            "mon-fri 08:00-20:00 CET",
        ] {
            assert_eq!(Window::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn they_open_at_the_first_instant_at_which_the_wall_clock_shows_them() {
        let office = hours(&["mon-fri 08:00-20:00", "sat 09:00-12:00"]);
        let night = hours(&["02:15-02:45"]);
        let paris = chrono_tz::Europe::Paris;
        for (hours, at, opens) in [
            // Open.
            (
                &office,
                "2027-03-26T18:59:59.999Z",
                "2027-03-26T18:59:59.999Z",
            ),
            // Friday evening, winter time: the next morning.
            (&office, "2027-03-26T19:00:00Z", "2027-03-27T08:00:00Z"),
            // Saturday noon: Monday, in summer time.
            (&office, "2027-03-27T11:00:00Z", "2027-03-29T06:00:00Z"),
            // In autumn the other way round.
            (&office, "2027-10-30T10:00:00Z", "2027-11-01T07:00:00Z"),
            // What is skipped on the 28th is not made up for.
            (&night, "2027-03-28T00:00:00Z", "2027-03-29T00:15:00Z"),
            (&night, "2027-03-27T00:00:00Z", "2027-03-27T01:15:00Z"),
            // What is shown twice on the 31st counts twice.
            (&night, "2027-10-31T00:00:00Z", "2027-10-31T00:15:00Z"),
            (&night, "2027-10-31T00:45:00Z", "2027-10-31T01:15:00Z"),
            (&night, "2027-10-31T01:45:00Z", "2027-11-01T01:15:00Z"),
        ] {
            assert_eq!(hours.opening(utc(at), paris), utc(opens), "{hours} at {at}");
        }
        // A gap that ends within the hours opens them.
        let early = hours(&["02:30-04:00"]);
        let opens = early.opening(utc("2027-03-28T00:00:00Z"), paris);
        assert_eq!(opens, utc("2027-03-28T01:00:00Z"));
        assert_eq!(
            SendingHours::default().opening(Timestamp(7), paris),
            Timestamp(7)
        );
    }

    #[test]
    fn at_every_minute_of_a_year_the_opening_is_the_first_open_minute() {
        // Every quarter of an hour, in zones with and without summer time, and one of half an hour.
        let office = hours(&["mon,thu 23:30-24:00", "tue 00:00-00:45", "sun 01:30-02:30"]);
        for zone in [
            chrono_tz::Europe::Paris,
            chrono_tz::America::Miquelon,
            chrono_tz::America::Martinique,
            chrono_tz::Australia::Lord_Howe,
        ] {
            let step = 15 * 60_000;
            let end = utc("2028-01-10T00:00:00Z").millis();
            let mut next = Timestamp::NEVER;
            let mut at = end;
            while at >= utc("2027-01-01T00:00:00Z").millis() {
                let now = Timestamp(at);
                if office.are_open(now, zone) {
                    next = now;
                }
                if next < Timestamp::NEVER {
                    assert_eq!(office.opening(now, zone), next, "{zone} at {now:?}");
                }
                at -= step;
            }
        }
    }
}
