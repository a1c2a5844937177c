#![allow(clippy::unwrap_used, clippy::panic)]
use chrono_tz::Europe::Paris;
use proptest::prelude::*;

use super::*;
use crate::domain::event::{Event, Rejection};
use crate::domain::fixtures::{at, in_parts, lease, message_id, policy};
use crate::domain::terms::Terms;

const PRICE: i64 = 217_700;

fn due(micros: i64, parts: u64) -> Due {
    Due {
        micros,
        parts,
        messages: 1,
    }
}

fn euros() -> Means {
    Means {
        unit: Some(Unit::Eur),
        thresholds: vec![1_000_000, 3_000_000],
        ..Means::default()
    }
}

fn purse(micros: i64) -> Purse {
    let mut purse = Purse::empty(&"shop".into());
    purse.post(Unit::Eur, micros, at(0)).unwrap();
    purse
}

fn charge(parts: u32, day: i32) -> Charge {
    Charge {
        unit: Some(Unit::Eur),
        micros: PRICE * i64::from(parts),
        parts,
        day,
        key: None,
        given_back: false,
    }
}

#[test]
fn four_euros_and_seventy_nine_cents_pay_for_twenty_two_messages() {
    let mut purse = purse(4_790_000);
    let mut paid = 0;
    while purse.affords(due(PRICE, 1), &euros(), None).is_ok() {
        purse.take(due(PRICE, 1), &euros(), at(1)).unwrap();
        paid += 1;
    }
    assert_eq!((paid, purse.balance.micros), (22, 600));
    let refused = purse.affords(due(PRICE, 1), &euros(), None).unwrap_err();
    let (unit, needed, left) = (Unit::Eur, PRICE, 600);
    assert_eq!(refused, Unpaid::Credit { unit, needed, left });
}

#[test]
fn a_threshold_is_told_once_until_credit_is_added() {
    let mut purse = purse(3_500_000);
    let mut told = |amount: i64| {
        if amount > 0 {
            purse.post(Unit::Eur, amount, at(2)).unwrap();
            return None;
        }
        let (_, low) = purse.take(due(-amount, 1), &euros(), at(1)).unwrap();
        low.map(|low| (low.threshold, low.balance))
    };
    assert_eq!(told(-500_000), Some((3_000_000, 3_000_000)), "just at it");
    assert_eq!(told(-500_000), None);
    assert_eq!(told(-1_600_000), Some((1_000_000, 900_000)));
    assert_eq!(told(600_000), None);
    assert_eq!(told(-600_000), Some((1_000_000, 900_000)), "armed again");
    assert_eq!(told(9_000_000), None);
    assert_eq!(
        told(-9_500_000),
        Some((1_000_000, 400_000)),
        "the lowest of two"
    );
}

#[test]
fn what_comes_back_does_not_arm_a_threshold() {
    let mut purse = purse(1_100_000);
    let taken = charge(1, 0);
    let (_, low) = purse.take(Due::of([&taken]), &euros(), at(1)).unwrap();
    assert!(low.is_some());
    purse.give_back(&taken, message_id(1), at(2)).unwrap();
    let (_, low) = purse.take(Due::of([&taken]), &euros(), at(3)).unwrap();
    assert!(low.is_none());
}

#[test]
fn a_correction_takes_no_more_than_there_is() {
    let mut purse = purse(500_000);
    assert!(purse.post(Unit::Eur, -500_001, at(1)).is_err());
    assert!(purse.post(Unit::Parts, -1, at(1)).is_err());
    assert_eq!(purse.next, 1, "no line of what was refused");
    let line = purse.post(Unit::Eur, -500_000, at(1)).unwrap();
    assert_eq!((line.what, line.balance), (Why::Correction, 0));
    let line = purse.post(Unit::Parts, i64::MAX, at(1)).unwrap();
    assert_eq!(line.what, Why::TopUp);
    let beyond = purse.post(Unit::Parts, 1, at(1)).unwrap_err();
    assert_eq!(beyond, Unpaid::TooLarge);
}

#[test]
fn quotas_begin_anew_with_the_day_and_the_month() {
    let begin = |text| Timestamp::parse_rfc3339(text).unwrap();
    let day = |text| Day::at(begin(text), Paris);
    let means = |text| Means {
        quotas: Quotas {
            daily_parts: 10,
            monthly_parts: 25,
        },
        day: day(text),
        ..Means::default()
    };
    let mut purse = Purse::empty(&"shop".into());
    let mut post = |text, parts| {
        let means = means(text);
        purse.affords(due(0, parts), &means, None)?;
        assert!(purse.take(due(0, parts), &means, at(0)).is_none());
        Ok(())
    };
    post("2026-11-29T10:00:00Z", 10).unwrap();
    let refused: Unpaid = post("2026-11-29T22:30:00Z", 1).unwrap_err();
    let Unpaid::Quota { which, wait, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!((which, wait), (Quota::Day, Duration::from_mins(30)));
    // Midnight in Paris is 23:00 UTC.
    post("2026-11-29T23:00:00Z", 10).unwrap();
    let refused = post("2026-11-30T10:00:00Z", 6).unwrap_err();
    assert!(matches!(
        refused,
        Unpaid::Quota {
            which: Quota::Day,
            ..
        }
    ));
    post("2026-11-30T23:30:00Z", 10).unwrap();
    post("2026-12-02T10:00:00Z", 10).unwrap();
    let refused = post("2026-12-03T10:00:00Z", 6).unwrap_err();
    let Unpaid::Quota {
        which, used, wait, ..
    } = refused
    else {
        panic!("{refused}");
    };
    let new_year = begin("2026-12-31T23:00:00Z");
    assert_eq!((which, used), (Quota::Month, 20));
    assert_eq!(wait, new_year.since(begin("2026-12-03T10:00:00Z")));
    post("2026-12-03T10:00:00Z", 5).unwrap();
}

#[test]
fn a_days_spending_stops_and_so_does_a_keys_quota() {
    let means = Means {
        daily_micros: Some(500_000),
        key: Some((
            "k".to_owned(),
            Quotas {
                daily_parts: 3,
                monthly_parts: 0,
            },
        )),
        day: Day {
            number: 5,
            ..Day::default()
        },
        ..Means::default()
    };
    let mut purse = Purse::empty(&"shop".into());
    purse
        .affords(due(500_000, 3), &means, Some(&Used::default()))
        .unwrap();
    purse.take(due(400_000, 2), &means, at(0));
    let refused = purse.affords(due(100_001, 1), &means, None).unwrap_err();
    assert_eq!(refused.code(), "daily_spend");
    let used = purse.used;
    let refused = purse.affords(due(1, 2), &means, Some(&used)).unwrap_err();
    assert!(matches!(
        refused,
        Unpaid::Quota {
            which: Quota::KeyDay,
            used: 2,
            ..
        }
    ));
}

#[test]
fn a_midnight_that_the_clock_skips_is_the_end_of_the_gap() {
    // In Cairo the clocks of 26 April 2024 go from 00:00 to 01:00.
    let now = Timestamp::parse_rfc3339("2024-04-25T20:00:00Z").unwrap();
    let day = Day::at(now, chrono_tz::Africa::Cairo);
    assert_eq!(day.left, Duration::from_hours(2));
}

/// A message that took something, after these events.
fn paid(events: impl FnOnce(&mut Message)) -> Message {
    let mut message = in_parts(1, 2);
    message.terms = Some(Box::new(Terms {
        charge: Some(charge(2, 0)),
        ..Terms::default()
    }));
    events(&mut message);
    message
}

fn claim(message: &mut Message, account: &str) {
    let claimed = Event::Claimed(lease(account, at(1), at(1)));
    let _ = message.apply(&claimed, &policy(), at(1)).unwrap();
}

fn refuse(message: &mut Message) {
    let event = Event::SegmentRejected {
        by: message.sending(),
        rejection: Rejection::Permanent("11".to_owned()),
    };
    let _ = message.apply(&event, &policy(), at(2)).unwrap();
}

fn accept(message: &mut Message) {
    let event = Event::SegmentAccepted {
        by: message.sending(),
        segment: 0,
        reference: "1".to_owned(),
    };
    let _ = message.apply(&event, &policy(), at(2)).unwrap();
}

#[test]
fn a_message_gives_back_what_it_took_once_when_nothing_has_left() {
    assert_eq!(paid(|_| {}).reclaim(), None, "it waits");
    let mut cancelled = paid(|it| {
        let _ = it.apply(&Event::Cancelled, &policy(), at(1)).unwrap();
    });
    assert_eq!(cancelled.reclaim().unwrap().parts, 2);
    assert_eq!(cancelled.reclaim(), None, "once");
    let mut refused = paid(|it| {
        claim(it, "a");
        refuse(it);
    });
    assert!(refused.reclaim().is_some());
    let mut in_part = paid(|it| {
        claim(it, "a");
        accept(it);
        refuse(it);
    });
    assert_eq!(in_part.reclaim(), None, "a part has left");
    let mut by_mail = paid(|it| {
        claim(it, "email");
        accept(it);
        let over = it.deadline().unwrap();
        let _ = it.apply(&Event::DeadlinePassed, &policy(), over).unwrap();
    });
    assert!(by_mail.reclaim().is_some(), "an e-mail costs nothing");
}

proptest! {
    #[test]
    fn a_balance_is_the_sum_of_its_lines_and_never_negative(
        steps in prop::collection::vec((0..4_u8, 1..2_000_000_i64), 1..60)
    ) {
        let mut purse = Purse::empty(&"shop".into());
        let mut lines: Vec<Line> = Vec::new();
        let mut taken: Vec<Charge> = Vec::new();
        for (what, amount) in steps {
            let charge = Charge { micros: amount, ..charge(1, 0) };
            match what {
                0 => lines.extend(purse.post(Unit::Eur, amount, at(0)).ok()),
                1 => lines.extend(purse.post(Unit::Eur, -amount, at(0)).ok()),
                2 if purse.affords(Due::of([&charge]), &euros(), None).is_ok() => {
                    lines.extend(purse.take(Due::of([&charge]), &euros(), at(0)).map(|it| it.0));
                    taken.push(charge);
                }
                _ => lines.extend(
                    taken.pop().and_then(|it| purse.give_back(&it, message_id(1), at(0)))
                ),
            }
            prop_assert!(purse.balance.micros >= 0);
            prop_assert_eq!(purse.balance.micros, lines.iter().map(|it| it.amount).sum::<i64>());
            prop_assert_eq!(purse.next, u64::try_from(lines.len()).unwrap());
        }
    }
}
