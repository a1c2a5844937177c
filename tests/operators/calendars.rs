//! The tables that tests/third_party/calendars.py compares with other implementations are this code's: where the
//! environment has RELAIS_WRITE_TABLES, they are written.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use chrono::{Datelike, NaiveDate, Offset};
use chrono_tz::Tz;
use relais::domain::holidays::Holidays;
use relais::domain::territory::Territory;
use relais::domain::time::Timestamp;

use super::at;

fn hold(name: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    if std::env::var_os("RELAIS_WRITE_TABLES").is_some() {
        std::fs::write(&path, table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), table);
}

#[test]
fn the_table_of_holidays_from_2024_to_2040_is_this_code_s() {
    let holidays = Holidays::default();
    let mut table = String::new();
    for territory in Territory::ALL {
        for year in 2024..=2040 {
            let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
            let days = first.iter_days().take_while(|day| day.year() == year);
            table.push_str(territory.code());
            for day in days.filter(|day| holidays.has(*day, territory)) {
                write!(table, " {day}").unwrap();
            }
            table.push('\n');
        }
    }
    hold("holidays.txt", &table);
}

#[test]
fn the_table_of_changes_of_the_hour_from_2024_to_2040_is_this_code_s() {
    let (start, end) = (at("2024-01-01T00:00:00Z"), at("2041-01-01T00:00:00Z"));
    let zones = Territory::ALL.map(Territory::zone);
    let zones: BTreeSet<&str> = zones.iter().map(|zone| zone.name()).collect();
    let mut table = String::new();
    for name in zones {
        let zone: Tz = name.parse().unwrap();
        let mut known = None;
        for hour in (start.millis()..end.millis()).step_by(3_600_000) {
            let utc = Timestamp(hour).to_utc();
            let offset = utc.with_timezone(&zone).offset().fix().local_minus_utc();
            if known != Some(offset) {
                known = Some(offset);
                let written = utc.format("%Y-%m-%dT%H:%M:%SZ");
                writeln!(table, "{name} {written} {offset}").unwrap();
            }
        }
    }
    hold("clocks.txt", &table);
}
