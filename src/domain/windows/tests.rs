#![allow(clippy::unwrap_used)]
use std::time::Duration;

use chrono::TimeZone;

use super::*;
use crate::domain::fixtures;
use crate::domain::id::OperatorName;
use crate::domain::message::Message;
use crate::domain::msisdn::{self, Msisdn};
use crate::domain::policy::{Operator, Policy};
use crate::domain::terms::Terms;

fn utc(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn preset(name: &str) -> NamedHours {
    NamedHoursBook::default()
        .get(name)
        .unwrap()
        .as_ref()
        .clone()
}

fn hours(windows: &[&str]) -> NamedHours {
    let windows: Vec<_> = windows.iter().map(|w| Window::parse(w).unwrap()).collect();
    NamedHours {
        name: "own".to_owned(),
        open: windows.into(),
        ..preset("office")
    }
}

fn opening(hours: &NamedHours, at: &str, territory: Territory) -> Timestamp {
    hours.opening(utc(at), Place::of(territory), &Holidays::default())
}

#[test]
fn marketing_waits_for_the_next_lawful_morning_of_its_recipient() {
    for (territory, at, opens) in [
        // Open, and at its last instant.
        (
            Territory::Metropole,
            "2026-10-10T20:29:59.999+02:00",
            "2026-10-10T20:29:59.999+02:00",
        ),
        (
            Territory::Metropole,
            "2026-10-09T20:30:00+02:00",
            "2026-10-10T08:00:00+02:00",
        ),
        // Saturday 20:31: Monday.
        (
            Territory::Metropole,
            "2026-10-10T20:31:00+02:00",
            "2026-10-12T08:00:00+02:00",
        ),
        // The 13 July: the 15.
        (
            Territory::Metropole,
            "2027-07-13T20:31:00+02:00",
            "2027-07-15T08:00:00+02:00",
        ),
        // Easter: Saturday evening to Tuesday, and in Alsace Thursday evening to Saturday.
        (
            Territory::Metropole,
            "2027-03-27T20:31:00+01:00",
            "2027-03-30T08:00:00+02:00",
        ),
        (
            Territory::AlsaceMoselle,
            "2027-03-25T20:31:00+01:00",
            "2027-03-27T08:00:00+01:00",
        ),
        (
            Territory::Metropole,
            "2027-03-25T20:31:00+01:00",
            "2027-03-26T08:00:00+01:00",
        ),
        // Christmas on a Saturday; in Alsace the Sunday is Saint Stephen's.
        (
            Territory::Metropole,
            "2027-12-24T21:00:00+01:00",
            "2027-12-27T08:00:00+01:00",
        ),
        (
            Territory::AlsaceMoselle,
            "2026-12-25T12:00:00+01:00",
            "2026-12-28T08:00:00+01:00",
        ),
        (
            Territory::Metropole,
            "2026-12-25T12:00:00+01:00",
            "2026-12-26T08:00:00+01:00",
        ),
        // The 8 May and the Ascension side by side: the 8, Wednesday, to the 10.
        (
            Territory::Metropole,
            "2024-05-08T10:00:00+02:00",
            "2024-05-10T08:00:00+02:00",
        ),
        // Each by its own clock and calendar.
        (
            Territory::Guyane,
            "2027-06-10T10:00:00-03:00",
            "2027-06-11T08:00:00-03:00",
        ),
        (
            Territory::Metropole,
            "2027-06-10T15:00:00+02:00",
            "2027-06-10T15:00:00+02:00",
        ),
        (
            Territory::NouvelleCaledonie,
            "2027-07-14T20:00:00+11:00",
            "2027-07-15T08:00:00+11:00",
        ),
        (
            Territory::PolynesieFrancaise,
            "2027-07-13T23:59:59-10:00",
            "2027-07-15T08:00:00-10:00",
        ),
        (
            Territory::Reunion,
            "2027-12-20T00:00:00+04:00",
            "2027-12-21T08:00:00+04:00",
        ),
        (
            Territory::Mayotte,
            "2027-12-20T08:00:00+03:00",
            "2027-12-20T08:00:00+03:00",
        ),
    ] {
        let opens = utc(opens);
        assert_eq!(
            opening(&preset("fr-seed"), at, territory),
            opens,
            "{territory:?} {at}"
        );
    }
}

#[test]
fn the_presets_are_the_rules_that_they_are_named_after() {
    let friday_evening = "2026-10-09T19:00:00+02:00";
    let saturday_evening = "2026-10-10T21:00:00+02:00";
    let holiday = "2027-07-14T12:00:00+02:00";
    for (name, at, opens) in [
        ("always", saturday_evening, saturday_evening),
        ("office", friday_evening, "2026-10-12T08:00:00+02:00"),
        ("office", holiday, holiday),
        ("fr-af2m-2026", saturday_evening, saturday_evening),
        (
            "fr-af2m-2026",
            "2026-10-10T21:30:00+02:00",
            "2026-10-11T08:00:00+02:00",
        ),
        (
            "fr-ovh",
            "2026-10-09T21:59:00+02:00",
            "2026-10-09T21:59:00+02:00",
        ),
        (
            "fr-ovh",
            "2026-10-09T22:00:00+02:00",
            "2026-10-12T08:00:00+02:00",
        ),
        ("fr-callr", saturday_evening, saturday_evening),
        (
            "fr-callr",
            "2026-10-10T22:00:00+02:00",
            "2026-10-12T08:00:00+02:00",
        ),
        ("fr-callr", holiday, "2027-07-15T08:00:00+02:00"),
        ("fr-8-20", saturday_evening, "2026-10-12T08:00:00+02:00"),
    ] {
        assert_eq!(
            opening(&preset(name), at, Territory::Metropole),
            utc(opens),
            "{name} {at}"
        );
    }
    let advised = |at: &str| {
        let place = Place::of(Territory::Metropole);
        preset("fr-af2m-2026").advise_against(utc(at), place, &Holidays::default())
    };
    assert!(advised("2026-10-11T12:00:00+02:00") && advised(holiday));
    assert!(!advised(saturday_evening));
}

#[test]
fn a_message_leaves_when_all_its_hours_are_open_at_once_or_never() {
    let (holidays, always) = (Holidays::default(), SendingHours::default());
    let binding = |named: &[&NamedHours], place| {
        let lane = (&always, chrono_tz::Europe::Paris);
        let binding = Binding {
            named: named.to_vec(),
            lane,
            place,
            holidays: &holidays,
        };
        binding.opening(utc("2027-01-08T20:31:00+01:00"))
    };
    let paris = Place::of(Territory::Metropole);
    let late = hours(&["tue 17:00-23:00"]);
    let (office, seed) = (preset("office"), preset("fr-seed"));
    assert_eq!(
        binding(&[&office, &seed, &late], paris),
        utc("2027-01-12T17:00:00+01:00")
    );
    // The weekend and the office never meet.
    let weekend = hours(&["sat,sun 00:00-24:00"]);
    assert_eq!(binding(&[&office, &weekend], paris), Timestamp::NEVER);
    // Ten at night in Paris is seven in the morning in Nouméa, in summer only.
    let evening = NamedHours {
        clock: WallClock::Zone(chrono_tz::Europe::Paris),
        ..hours(&["22:00-22:30"])
    };
    let morning = hours(&["07:00-07:30"]);
    let noumea = Place::of(Territory::NouvelleCaledonie);
    assert_eq!(
        binding(&[&evening, &morning], noumea),
        utc("2027-03-28T22:00:00+02:00")
    );
    // The lane's hours count with them.
    let lane: SendingHours = vec![Window::parse("12:00-13:00").unwrap()].into();
    let both = Binding {
        named: vec![&office],
        lane: (&lane, chrono_tz::Europe::Paris),
        place: paris,
        holidays: &holidays,
    };
    assert_eq!(
        both.opening(utc("2027-01-08T14:00:00+01:00")),
        utc("2027-01-11T12:00:00+01:00")
    );
    // Days that are all shut.
    let mut shut = Holidays::default();
    let every: Vec<_> = (1..=12)
        .flat_map(|month| (1..=31).map(move |day| crate::domain::holidays::Day::Yearly(month, day)))
        .collect();
    shut.0.insert(
        Territory::Metropole,
        crate::domain::holidays::Changes {
            added: every,
            removed: Vec::new(),
        },
    );
    assert_eq!(
        seed.opening(utc("2027-01-08T14:00:00+01:00"), paris, &shut),
        Timestamp::NEVER
    );
}

/// Whether the hours are open at an instant, told from chrono's own reading of the wall clock alone.
fn shown_open(at: Timestamp, zone: Tz, territory: Territory) -> bool {
    let shown = zone
        .timestamp_millis_opt(at.millis())
        .unwrap()
        .naive_local();
    let minute = chrono::Timelike::hour(&shown) * 60 + chrono::Timelike::minute(&shown);
    let sunday = chrono::Datelike::weekday(&shown) == chrono::Weekday::Sun;
    !sunday && !Holidays::default().has(shown.date(), territory) && (480..1230).contains(&minute)
}

#[test]
fn both_changes_of_the_hour_of_every_zone_of_france_are_kept_from_2024_to_2040() {
    let seed = preset("fr-seed");
    let nights = hours(&["01:30-02:30", "sun 02:45-03:15", "23:45-24:00"]);
    let mut changes = 0;
    let mut zones: Vec<_> = Territory::ALL.to_vec();
    zones.dedup_by_key(|territory| territory.zone());
    assert_eq!(zones.len(), 12);
    for territory in zones {
        let (zone, place) = (territory.zone(), Place::of(territory));
        let mut day = utc("2024-01-01T00:00:00Z");
        let end = utc("2041-01-01T00:00:00Z");
        while day < end {
            let next = day + Duration::from_hours(24);
            let offset = |at: Timestamp| {
                let local = zone.timestamp_millis_opt(at.millis()).unwrap();
                chrono::Offset::fix(local.offset()).local_minus_utc()
            };
            if offset(day) != offset(next) {
                changes += 1;
                // Every quarter of an hour of the two days around it, backwards.
                let mut open = None;
                let mut at = next + Duration::from_hours(24 * 4);
                while at >= day - Duration::from_hours(24) {
                    if shown_open(at, zone, territory) {
                        open = Some(at);
                    }
                    if let Some(open) = open {
                        let opens = seed.opening(at, place, &Holidays::default());
                        assert_eq!(opens, open, "{zone} {at:?}");
                    }
                    at = at - Duration::from_mins(15);
                }
                // By night an opening may be skipped, or shown twice.
                let mut at = day - Duration::from_hours(3);
                while at < next + Duration::from_hours(3) {
                    let opens = nights.opening(at, place, &Holidays::default());
                    assert!(
                        opens >= at && nights.open.are_open(opens, zone),
                        "{zone} {at:?}"
                    );
                    let mut before = at;
                    while before < opens {
                        assert!(
                            !nights.open.are_open(before, zone),
                            "{zone} {at:?}: {before:?}"
                        );
                        before = before + Duration::from_mins(15);
                    }
                    at = at + Duration::from_mins(15);
                }
            }
            day = next;
        }
    }
    // Two a year in Paris and in Saint-Pierre; the others keep one time all year.
    assert_eq!(changes, 2 * 17 * 2);
}

#[test]
fn a_day_ends_at_midnight_also_where_clocks_jump_over_it() {
    for (zone, at, end) in [
        (
            chrono_tz::Europe::Paris,
            "2027-03-28T00:00:00+01:00",
            "2027-03-29T00:00:00+02:00",
        ),
        (
            chrono_tz::Europe::Paris,
            "2027-10-31T23:59:59.999+01:00",
            "2027-11-01T00:00:00+01:00",
        ),
        // Midnight does not exist on the first day of summer time.
        (
            chrono_tz::America::Santiago,
            "2026-09-05T12:00:00-04:00",
            "2026-09-06T01:00:00-03:00",
        ),
        // A day that Samoa left out.
        (
            chrono_tz::Pacific::Apia,
            "2011-12-29T12:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
        ),
    ] {
        assert_eq!(end_of_day(utc(at), zone), utc(end), "{zone}");
    }
}

fn rules(named: Option<&str>, territory: Option<&str>) -> Policy {
    let mut policy = fixtures::policy();
    let operator = Operator {
        named_hours: named.map(str::to_owned),
        territory: territory.map(str::to_owned),
        ..Operator::named("orange", vec![vec!["a".into()]])
    };
    policy.operators[1] = operator.into();
    policy
}

fn bound(to: &str, names: &[&str], region: Option<&str>) -> Message {
    let terms = Terms {
        hours: names.iter().map(ToString::to_string).collect(),
        region: region.map(str::to_owned),
        ..Terms::default()
    };
    Message {
        to: msisdn::parse(to, "FR").unwrap(),
        terms: Some(Box::new(terms)),
        ..fixtures::message(1)
    }
}

#[test]
fn the_number_says_where_its_recipient_is_and_the_operator_and_the_tenant_what_it_leaves_open() {
    let operator = |policy: &Policy| policy.operator(&OperatorName::from("orange")).clone();
    for (to, territory, region, place) in [
        ("0612345678", None, None, Some(Territory::Metropole)),
        (
            "0612345678",
            None,
            Some("FR-67"),
            Some(Territory::AlsaceMoselle),
        ),
        // Nobody in Paris becomes a Réunionnais by a setting.
        (
            "0612345678",
            Some("RE"),
            Some("FR-974"),
            Some(Territory::Metropole),
        ),
        ("+590690123456", None, None, Some(Territory::Guadeloupe)),
        (
            "+590690123456",
            Some("MF"),
            None,
            Some(Territory::SaintMartin),
        ),
        (
            "+590690123456",
            Some("MF"),
            Some("FR-BL"),
            Some(Territory::SaintBarthelemy),
        ),
        ("+262639123456", Some("RE"), None, Some(Territory::Mayotte)),
        ("+447700900123", None, None, None),
        ("+447700900123", Some("RE"), None, Some(Territory::Reunion)),
    ] {
        let policy = rules(None, territory);
        let region = region.and_then(Territory::from_code);
        let to: Msisdn = msisdn::parse(to, "FR").unwrap();
        let found = policy.place(to, &operator(&policy), region);
        assert_eq!(found.territory, place, "{territory:?} {region:?}");
        let zone = place.map_or(chrono_tz::Europe::Paris, Territory::zone);
        let by_operator = territory == Some("RE") && place == Some(Territory::Reunion);
        if !by_operator {
            assert_eq!(found.zone, zone);
        }
    }
}

#[test]
fn what_binds_a_message_is_its_own_hours_and_its_operator_s_and_forgotten_names_bind_most() {
    let sunday = utc("2027-01-10T12:00:00+01:00");
    let monday = utc("2027-01-11T08:00:00+01:00");
    let plain = Message {
        terms: None,
        ..bound("0612345678", &[], None)
    };
    assert!(rules(None, None).binding_of(&plain).is_none());
    assert_eq!(rules(None, None).opening_of(&plain, sunday), sunday);
    assert!(rules(Some("always"), None).binding_of(&plain).is_none());
    assert_eq!(
        rules(Some("office"), None).opening_of(&plain, sunday),
        monday
    );
    for names in [["fr-seed"], ["of-old"]] {
        let message = bound("0612345678", &names, None);
        assert_eq!(rules(None, None).opening_of(&message, sunday), monday);
    }
    let alsatian = bound("0612345678", &["fr-seed"], Some("FR-57"));
    let friday = utc("2027-03-26T12:00:00+01:00");
    let saturday = utc("2027-03-27T08:00:00+01:00");
    assert_eq!(rules(None, None).opening_of(&alsatian, friday), saturday);
}
