//! What holds over any events in any order.

use proptest::prelude::*;

use super::*;
use crate::domain::event::Changes;
use crate::domain::fixtures::message_id;
use crate::domain::message::Lease;

/// Turns four small numbers into an event that may or may not concern the message.
fn event_of(message: &Message, (kind, a, b, c): (u8, u8, u8, u8)) -> Event {
    let now = message.updated_at;
    let mut by = message.sending();
    match c % 8 {
        0 => by.claim = by.claim.saturating_sub(1),
        1 => by.attempt = by.attempt.saturating_sub(1),
        2 => by.attempt = by.attempt.wrapping_add(1),
        _ => {}
    }
    let segment = u16::from(b % 4);
    let code = format!("code-{}", c % 3);
    match kind % 10 {
        0 | 1 => Event::Claimed(Lease {
            due_at: now,
            ..lease(["a", "b"][usize::from(a % 2)], now, now)
        }),
        2 | 3 => accepted(by, segment, &format!("ref-{}", c % 5)),
        4 => Event::SegmentRejected {
            by,
            rejection: match a % 4 {
                0 => Rejection::Permanent(code),
                1 => Rejection::Temporary(code),
                2 => Rejection::Account(code),
                _ => Rejection::Throttled(code),
            },
        },
        5 => Event::SegmentUnknown {
            by,
            segment,
            doubt: Doubt::Disconnected,
        },
        6 => Event::GivenBack {
            by,
            why: WaitReason::NoChannelUp,
        },
        7 | 8 => told(
            u16::from(c % 3),
            segment,
            EVERY_RECEIPT[usize::from(a % 10)],
        ),
        _ => match a % 4 {
            0 => Event::LeaseLost,
            1 => Event::Cancelled,
            2 if b % 2 == 0 => Event::OptedOut,
            3 if b % 4 == 0 => Event::Replaced(message_id(9)),
            3 if b % 4 == 1 => match Changes::none(message) {
                Some(changes) => Event::Changed(Box::new(Changes {
                    text: "x".repeat(usize::from(c)),
                    plan: crate::pdu::segment::plan(&"x".repeat(usize::from(c))),
                    ..changes
                })),
                None => Event::DeadlinePassed,
            },
            2 => Event::Deferred {
                until: now + Duration::from_mins(u64::from(c)),
            },
            _ => Event::DeadlinePassed,
        },
    }
}

/// What must hold across any one step.
fn check_step(before: &Message, after: &Message, event: &Event, step: Result<Transition, Refused>) {
    let Ok(transition) = step else {
        assert_eq!(before, after, "refused, and yet changed by {event:?}");
        return;
    };
    assert_eq!(transition.from, before.status());
    assert_eq!(transition.to, after.status());
    assert_eq!(
        after.revision,
        before.revision + u32::from(transition.status_changed())
    );
    let planned = matches!(event, Event::Replaced(_) | Event::Changed(_));
    assert!(!planned || !before.may_have_left());
    assert!(after.events.len() <= Message::EVENTS_MAX);
    assert!(after.claims >= before.claims && after.tries <= after.claims);
    assert_eq!(
        after.status() == Status::Delivered,
        after.delivered_at.is_some()
    );
    let delivered = after.attempts.iter().any(|attempt| {
        attempt
            .segments
            .iter()
            .all(|segment| segment.known == Known::Delivered)
    });
    assert_eq!(after.status() == Status::Delivered, delivered);
    for (old, new) in before.attempts.iter().zip(&after.attempts) {
        if old.account == new.account {
            for (old, new) in old.segments.iter().zip(&new.segments) {
                assert!(new.known >= old.known, "known truth only climbs");
            }
        }
    }
    if let State::Final(old) = before.state {
        match after.state {
            State::Final(new) => {
                let resolved = matches!(old, Outcome::Failed(Cause::InDoubt | Cause::OptedOut));
                assert!(rank(new) >= rank(old) || resolved, "{old:?} → {new:?}");
                if old == Outcome::Cancelled && new != Outcome::Cancelled {
                    assert!(after.has_left());
                }
            }
            State::Submitted { .. } => {
                assert!(
                    matches!(old, Outcome::Failed(Cause::InDoubt | Cause::OptedOut)),
                    "{event:?}"
                );
                assert!(matches!(event, Event::SegmentAccepted { .. }));
            }
            _ => panic!("{old:?} was left for {:?} by {event:?}", after.state),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn apply_never_panics_and_a_final_state_only_climbs(
        parts in 1_usize..4,
        careful in any::<bool>(),
        steps in prop::collection::vec((any::<(u8, u8, u8, u8)>(), 0_u64..4 * 3600), 1..80),
    ) {
        let rules = policy();
        let mut message = if parts == 1 { message(1) } else { in_parts(1, parts) };
        message.on_doubt = careful.then_some(OnDoubt::Fail);
        let mut now = message.created_at;
        for (numbers, pause) in steps {
            now = now + Duration::from_secs(pause);
            let event = event_of(&message, numbers);
            let before = message.clone();
            let step = message.apply(&event, &rules, now);
            check_step(&before, &message, &event, step);
        }
    }

    #[test]
    fn receipts_of_one_segment_commute_and_repeat_without_effect(
        (one, other) in prop::collection::vec(0_usize..10, 1..8)
            .prop_flat_map(|states| (Just(states.clone()).prop_shuffle(), Just(states)))
            .prop_map(|(shuffled, mut repeated)| {
                repeated.extend(shuffled.iter().rev());
                (shuffled, repeated)
            }),
    ) {
        let outcome = |states: &[usize]| {
            let mut message = submitted(1);
            for state in states {
                let _ = message.apply(&told(0, 0, EVERY_RECEIPT[*state]), &policy(), at(5));
            }
            (message.status(), message.attempts[0].segments[0].known)
        };
        prop_assert_eq!(outcome(&one), outcome(&other));
    }

    #[test]
    fn receipts_of_several_segments_commute_and_repeat_without_effect(
        (one, other, finals) in prop::collection::vec((0_usize..6, 0_usize..4), 2..6)
            .prop_flat_map(|parts| {
                const FINAL: [usize; 6] = [2, 3, 4, 5, 8, 9];
                const UNDER_WAY: [usize; 4] = [0, 1, 6, 7];
                let all: Vec<_> = parts.iter().enumerate().flat_map(|(part, (last, first))| {
                    [(part, UNDER_WAY[*first]), (part, FINAL[*last]), (part, FINAL[*last])]
                }).collect();
                let finals: Vec<_> = parts.iter().map(|(last, _)| FINAL[*last]).collect();
                (Just(all.clone()).prop_shuffle(), Just(all).prop_shuffle(), Just(finals))
            }),
    ) {
        let outcome = |receipts: &[(usize, usize)]| {
            let mut message = submitted(finals.len());
            for (part, state) in receipts {
                let event = told(0, u16::try_from(*part).unwrap(), EVERY_RECEIPT[*state]);
                let _ = message.apply(&event, &policy(), at(5));
            }
            message.status()
        };
        let known: Vec<_> = finals.iter().map(|state| EVERY_RECEIPT[*state].known()).collect();
        let expected = if known.contains(&Known::Failed) {
            Status::Failed
        } else if known.contains(&Known::Expired) {
            Status::Expired
        } else {
            Status::Delivered
        };
        prop_assert_eq!(outcome(&one), expected);
        prop_assert_eq!(outcome(&other), expected);
    }
}
