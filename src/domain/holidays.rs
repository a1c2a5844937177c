//! Public holidays of France and its territories.
//!
//! The law's: eleven everywhere (Code du travail L3133-1), two more in Alsace-Moselle (L3134-13), and the
//! day that commemorates the abolition of slavery overseas (L3422-2). Local practice is none of it:
//! who keeps Good Friday in Guadeloupe or Citizenship Day in New Caledonia adds it in the
//! configuration, and who does not keep a day takes it out.
//!
//! Easter is computed, so that no table can run out.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{Datelike, NaiveDate, TimeDelta};

use super::territory::Territory;

/// A day of every year, or of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// The same date every year: month and day.
    Yearly(u32, u32),
    /// So many days after Easter Sunday; negative: before it.
    FromEaster(i16),
    /// One date.
    Once(NaiveDate),
}

/// The holidays of the law in all of France.
const NATIONAL: [Day; 11] = [
    Day::Yearly(1, 1),
    Day::FromEaster(1),
    Day::Yearly(5, 1),
    Day::Yearly(5, 8),
    Day::FromEaster(39),
    Day::FromEaster(50),
    Day::Yearly(7, 14),
    Day::Yearly(8, 15),
    Day::Yearly(11, 1),
    Day::Yearly(11, 11),
    Day::Yearly(12, 25),
];

/// What the law adds in a territory.
const fn local(territory: Territory) -> &'static [Day] {
    match territory {
        Territory::AlsaceMoselle => &[Day::FromEaster(-2), Day::Yearly(12, 26)],
        Territory::Mayotte => &[Day::Yearly(4, 27)],
        Territory::Martinique => &[Day::Yearly(5, 22)],
        // Saint-Martin's council has chosen the 28th; the Code has not followed.
        Territory::Guadeloupe | Territory::SaintMartin => &[Day::Yearly(5, 27)],
        Territory::Guyane => &[Day::Yearly(6, 10)],
        Territory::SaintBarthelemy => &[Day::Yearly(10, 9)],
        Territory::Reunion => &[Day::Yearly(12, 20)],
        Territory::Metropole
        | Territory::SaintPierreEtMiquelon
        | Territory::NouvelleCaledonie
        | Territory::PolynesieFrancaise
        | Territory::WallisEtFutuna => &[],
    }
}

/// Easter Sunday of a year of the Gregorian calendar (the anonymous algorithm of 1876); `None` for years
/// that dates cannot express.
#[must_use]
pub fn easter(year: i32) -> Option<NaiveDate> {
    let golden = year.rem_euclid(19);
    let (century, rest) = (year.div_euclid(100), year.rem_euclid(100));
    let leap_centuries = century.div_euclid(4);
    let moon = (century - (century + 8).div_euclid(25) + 1).div_euclid(3);
    let epact = (19 * golden + century - leap_centuries - moon + 15).rem_euclid(30);
    let weekday =
        (32 + 2 * century.rem_euclid(4) + 2 * rest.div_euclid(4) - epact - rest.rem_euclid(4))
            .rem_euclid(7);
    let late = (golden + 11 * epact + 22 * weekday).div_euclid(451);
    let from_march = epact + weekday - 7 * late + 114;
    let month = u32::try_from(from_march.div_euclid(31)).ok()?;
    let day = u32::try_from(from_march.rem_euclid(31) + 1).ok()?;
    NaiveDate::from_ymd_opt(year, month, day)
}

impl Day {
    /// Reads `05-28`, `2027-05-14`, `easter`, `easter-2` or `easter+50`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(days) = text.strip_prefix("easter") {
            let signed = days.is_empty() || days.starts_with(['+', '-']);
            let days = if days.is_empty() { "0" } else { days };
            return signed.then(|| days.parse().ok().map(Self::FromEaster))?;
        }
        let dated = |text: &str| {
            let date: NaiveDate = text.parse().ok()?;
            // One writing for one day: what is read is what is written.
            (date.to_string() == text).then_some(date)
        };
        if let Some(date) = dated(text) {
            return Some(Self::Once(date));
        }
        // A year that has a 29 February.
        let date = dated(&format!("2024-{text}"))?;
        Some(Self::Yearly(date.month(), date.day()))
    }

    /// True if it is this date.
    #[must_use]
    pub fn is(self, date: NaiveDate) -> bool {
        match self {
            Self::Yearly(month, day) => (date.month(), date.day()) == (month, day),
            Self::FromEaster(days) => {
                let day = |easter| easter + TimeDelta::days(days.into());
                easter(date.year()).map(day) == Some(date)
            }
            Self::Once(day) => day == date,
        }
    }
}

impl fmt::Display for Day {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yearly(month, day) => write!(f, "{month:02}-{day:02}"),
            Self::FromEaster(0) => f.write_str("easter"),
            Self::FromEaster(days) => write!(f, "easter{days:+}"),
            Self::Once(date) => write!(f, "{date}"),
        }
    }
}

/// What a configuration changes of one territory's holidays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Holidays as well.
    pub added: Vec<Day>,
    /// No holidays, unless they are added.
    pub removed: Vec<Day>,
}

/// The holidays in force: the law's, and what the configuration changes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holidays(pub BTreeMap<Territory, Changes>);

impl Holidays {
    /// True if `date` is a holiday in `territory`.
    #[must_use]
    pub fn has(&self, date: NaiveDate, territory: Territory) -> bool {
        let has = |days: &[Day]| days.iter().any(|day| day.is(date));
        // What is changed in European France is changed in its east as well.
        let wider = (territory == Territory::AlsaceMoselle).then_some(Territory::Metropole);
        let changes = || [Some(territory), wider].into_iter().flatten();
        let changes = || changes().filter_map(|place| self.0.get(&place));
        if changes().any(|it| has(&it.added)) {
            return true;
        }
        let lawful = has(&NATIONAL) || has(local(territory));
        lawful && !changes().any(|it| has(&it.removed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn of_year(year: i32, territory: Territory) -> Vec<String> {
        let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let days = first.iter_days().take_while(|day| day.year() == year);
        let holidays = days.filter(|day| Holidays::default().has(*day, territory));
        holidays.map(|day| day.to_string()).collect()
    }

    #[test]
    fn easter_is_where_almanacs_have_it() {
        for text in [
            // The earliest and the latest that there can be, and both exceptions of Gauss's rule.
            "1818-03-22",
            "2038-04-25",
            "1954-04-18",
            "1981-04-19",
            "2024-03-31",
            "2025-04-20",
            "2026-04-05",
            "2027-03-28",
            "2028-04-16",
            "2029-04-01",
            "2030-04-21",
            "2031-04-13",
            "2032-03-28",
            "2033-04-17",
            "2034-04-09",
            "2035-03-25",
            "2036-04-13",
            "2037-04-05",
            "2039-04-10",
            "2040-04-01",
        ] {
            let day = date(text);
            assert_eq!(easter(day.year()), Some(day));
        }
    }

    #[test]
    fn the_law_has_eleven_days_and_more_in_some_territories() {
        let national = [
            "2027-01-01",
            "2027-03-29",
            "2027-05-01",
            "2027-05-06",
            "2027-05-08",
            "2027-05-17",
            "2027-07-14",
            "2027-08-15",
            "2027-11-01",
            "2027-11-11",
            "2027-12-25",
        ];
        for (territory, more) in [
            (Territory::Metropole, &[][..]),
            (Territory::AlsaceMoselle, &["2027-03-26", "2027-12-26"]),
            (Territory::Guadeloupe, &["2027-05-27"]),
            (Territory::SaintMartin, &["2027-05-27"]),
            (Territory::SaintBarthelemy, &["2027-10-09"]),
            (Territory::Martinique, &["2027-05-22"]),
            (Territory::Guyane, &["2027-06-10"]),
            (Territory::Reunion, &["2027-12-20"]),
            (Territory::Mayotte, &["2027-04-27"]),
            (Territory::SaintPierreEtMiquelon, &[]),
            (Territory::NouvelleCaledonie, &[]),
            (Territory::PolynesieFrancaise, &[]),
            (Territory::WallisEtFutuna, &[]),
        ] {
            let mut expected: Vec<_> = national.iter().chain(more).copied().collect();
            expected.sort_unstable();
            assert_eq!(of_year(2027, territory), expected, "{territory:?}");
        }
        // The Ascension may be the 8 May, or the day after it.
        assert_eq!(
            of_year(2024, Territory::Metropole)[3..5],
            ["2024-05-08", "2024-05-09"]
        );
    }

    #[test]
    fn days_are_read_as_they_are_written() {
        for text in [
            "05-28",
            "02-29",
            "2027-05-14",
            "easter",
            "easter-2",
            "easter+50",
        ] {
            assert_eq!(Day::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "5-28",
            "02-30",
            "28-05",
            "2027-02-29",
            "easter2",
            "easter-",
            "noël",
            "easter+99999",
        ] {
            assert_eq!(Day::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_configuration_adds_and_removes_days() {
        let day = |text| Day::parse(text).unwrap();
        let saint_martin = Changes {
            added: vec![day("05-28")],
            removed: vec![day("05-27")],
        };
        let metropole = Changes {
            added: vec![day("2027-05-07")],
            removed: vec![day("easter+50")],
        };
        let holidays = Holidays(BTreeMap::from([
            (Territory::SaintMartin, saint_martin),
            (Territory::Metropole, metropole),
        ]));
        for (text, territory, is) in [
            ("2027-05-28", Territory::SaintMartin, true),
            ("2027-05-27", Territory::SaintMartin, false),
            ("2027-05-27", Territory::Guadeloupe, true),
            ("2027-05-07", Territory::Metropole, true),
            ("2028-05-07", Territory::Metropole, false),
            ("2027-05-17", Territory::Metropole, false),
            ("2027-05-17", Territory::AlsaceMoselle, false),
            ("2027-05-07", Territory::AlsaceMoselle, true),
            ("2027-05-17", Territory::Reunion, true),
        ] {
            assert_eq!(
                holidays.has(date(text), territory),
                is,
                "{text} {territory:?}"
            );
        }
    }
}
