//! A way of several channels: what leaves a step, what ends the way, and what holds in any order.

use proptest::prelude::*;

use super::*;
use crate::domain::chain::{
    APP, Chain, EMAIL, NO_ADDRESS, RETRY, Step, StepEnd, SuccessOn, UNDELIVERABLE, Way,
};
use crate::domain::fixtures::lane;
use crate::domain::message::Lease;
use crate::domain::terms::Terms;

const HOUR: u64 = 3600;

fn app() -> Step {
    let url = Some("https://club.example/push".to_owned());
    Step::new(Way::App { url }, SuccessOn::Delivered, 1000 * HOUR)
}

fn email() -> Step {
    let to = Some("membre@example.org".to_owned());
    let way = Way::Email { to, subject: None };
    Step::new(way, SuccessOn::Accepted, 1000 * HOUR)
}

fn sms() -> Step {
    Step::new(Way::Sms, SuccessOn::Delivered, 1000 * HOUR)
}

fn over(parts: usize, steps: Vec<Step>) -> Message {
    let mut message = if parts == 1 {
        message(1)
    } else {
        in_parts(1, parts)
    };
    let mut chain = Chain::new(steps, lane("orange"));
    chain.begin(message.created_at);
    message.lane = chain.lane();
    message.expires_at = chain.steps[0].deadline(message.created_at);
    message.terms = Some(Box::new(Terms {
        chain: Some(chain),
        ..Terms::default()
    }));
    message
}

impl Message {
    fn ends(&self) -> Vec<Option<StepEnd>> {
        let steps = self.chain().unwrap().steps.iter();
        steps.map(|step| step.ended.map(|(_, end)| end)).collect()
    }

    fn account_now(&self) -> &'static str {
        match self.step().unwrap().way {
            Way::Sms => "a",
            Way::App { .. } => APP,
            Way::Email { .. } => EMAIL,
        }
    }

    /// Claimed by whom its step is for.
    fn leaves(&mut self, now: Timestamp) {
        let account = self.account_now();
        let event = Event::Claimed(Lease {
            due_at: now,
            ..lease(account, now, now)
        });
        let _ = self.does(&event, now);
    }

    fn is_refused_for_good(&mut self, code: &str, now: Timestamp) {
        self.leaves(now);
        self.is_refused(Rejection::Permanent(code.to_owned()), now);
    }
}

fn delivered(by: Sending) -> Event {
    Event::SegmentDelivered {
        by,
        segment: 0,
        reference: String::new(),
    }
}

#[test]
fn app_then_email_then_sms_falls_through_on_certain_refusals() {
    let mut message = over(1, vec![app(), email(), sms()]);
    assert_eq!(message.lane, lane(APP));
    message.is_refused_for_good(NO_ADDRESS, at(10));
    assert_eq!(
        (message.lane.clone(), message.why()),
        (lane(EMAIL), &WaitReason::FellBack)
    );
    assert_eq!(
        message.expires_at,
        at(10 + HOUR),
        "its deadline runs from its beginning"
    );
    assert_eq!(message.pinned_to(), None);
    message.is_refused_for_good("SMTP 550", at(20));
    assert_eq!(message.lane, lane("orange"));
    message.leaves(at(30));
    let _ = message.does(&accepted(message.sending(), 0, "r"), at(31));
    assert_eq!(
        message.state,
        State::Submitted {
            receipt_by: Some(at(20 + HOUR) + policy().receipt_grace)
        }
    );
    let attempt = message.sending().attempt;
    let _ = message.does(&told(attempt, 0, ReceiptState::Delivered), at(40));
    assert_eq!(message.status(), Status::Delivered);
    assert_eq!(
        message.ends(),
        [
            Some(StepEnd::NoAddress),
            Some(StepEnd::Undeliverable),
            Some(StepEnd::Succeeded)
        ]
    );
}

#[test]
fn an_sms_step_is_left_on_a_receipt_that_it_failed_or_expired_and_its_account_keeps_nothing() {
    for (state, end) in [
        (ReceiptState::Undeliverable, StepEnd::Undeliverable),
        (ReceiptState::Expired, StepEnd::TimedOut),
        (ReceiptState::Rejected, StepEnd::Undeliverable),
        (ReceiptState::Deleted, StepEnd::Undeliverable),
    ] {
        let mut message = over(1, vec![sms(), app()]);
        message.is_submitted(at(1));
        let transition = message.does(&told(0, 0, state), at(5));
        assert_eq!(
            (transition.from, transition.to),
            (Status::Sent, Status::Pending)
        );
        assert_eq!(message.ends(), [Some(end), None]);
        assert_eq!(
            (message.pinned_to(), message.lane.clone()),
            (None, lane(APP))
        );
        message.leaves(at(6));
        assert_eq!(message.attempts.len(), 2);
        let _ = message.does(&delivered(message.sending()), at(7));
        assert_eq!(
            (message.status(), message.maybe_duplicate),
            (Status::Delivered, false)
        );
        // The carrier takes its word back.
        let _ = message.does(&told(0, 0, ReceiptState::Delivered), at(9));
        assert_eq!(message.ends(), [Some(end), Some(StepEnd::Succeeded)]);
        assert!(message.maybe_duplicate);
    }
}

#[test]
fn a_carrier_that_takes_its_word_back_ends_a_way_that_has_gone_on() {
    let mut message = over(1, vec![sms(), app()]);
    message.is_submitted(at(1));
    let _ = message.does(&told(0, 0, ReceiptState::Expired), at(5));
    let _ = message.does(&told(0, 0, ReceiptState::Delivered), at(6));
    assert_eq!(message.status(), Status::Delivered);
    assert_eq!(
        message.ends(),
        [Some(StepEnd::Succeeded), Some(StepEnd::Needless)]
    );
    assert!(!message.maybe_duplicate, "the app was not asked");
    let mut message = over(1, vec![sms(), app()]);
    message.is_submitted(at(1));
    let _ = message.does(&told(0, 0, ReceiptState::Expired), at(5));
    message.leaves(at(6));
    let by = message.sending();
    let _ = message.does(&told(0, 0, ReceiptState::Delivered), at(7));
    assert!(message.maybe_duplicate);
    let _ = message.does(&delivered(by), at(8));
    assert_eq!(
        message.ends(),
        [Some(StepEnd::Succeeded), Some(StepEnd::Needless)]
    );
}

#[test]
fn no_receipt_and_every_doubt_end_the_way_as_it_is() {
    let mut message = over(1, vec![sms(), app()]);
    message.is_submitted(at(1));
    let late = message.deadline().unwrap();
    let _ = message.does(&Event::DeadlinePassed, late);
    assert_eq!(message.reason(), Some(Cause::NoReceipt));
    assert_eq!(message.ends(), [Some(StepEnd::InDoubt), None]);
    // A receipt that comes after all corrects it, and nothing goes on.
    let _ = message.does(&told(0, 0, ReceiptState::Undeliverable), late);
    assert_eq!(message.reason(), Some(Cause::Undeliverable));
    assert_eq!(message.ends(), [Some(StepEnd::InDoubt), None]);
    let _ = message.does(&told(0, 0, ReceiptState::Delivered), late);
    assert_eq!(message.ends(), [Some(StepEnd::Succeeded), None]);

    // A mail whose answer was lost.
    let mut message = over(1, vec![email(), sms()]);
    message.leaves(at(1));
    message.is_doubtful(at(2));
    assert_eq!(message.reason(), Some(Cause::InDoubt));
    assert_eq!(message.ends(), [Some(StepEnd::InDoubt), None]);

    // An SMS that may have left, though its time is over.
    let mut message = over(1, vec![sms(), email()]);
    message.leaves(at(1));
    message.is_doubtful(at(2));
    let _ = message.does(&Event::DeadlinePassed, at(HOUR + 1));
    assert_eq!(message.reason(), Some(Cause::ValidityPassed));
    assert_eq!(message.ends(), [Some(StepEnd::InDoubt), None]);
}

#[test]
fn a_step_of_which_nothing_left_by_its_deadline_is_left() {
    let mut message = over(1, vec![email(), app(), sms()]);
    let _ = message.does(&Event::DeadlinePassed, at(HOUR + 1));
    assert_eq!(message.ends()[0], Some(StepEnd::TimedOut));
    for n in 0..20 {
        let now = at(HOUR + 60 + 900 * n);
        if message.lane != lane(APP) {
            break;
        }
        if message.deadline().unwrap() <= now {
            let _ = message.does(&Event::DeadlinePassed, now);
            break;
        }
        message.leaves(now);
        message.is_refused(Rejection::Temporary("unreachable".to_owned()), now);
    }
    assert_eq!(message.ends()[1], Some(StepEnd::TimedOut));
    assert_eq!((message.lane.clone(), message.tries), (lane("orange"), 0));
}

#[test]
fn a_typed_answer_of_an_app_speaks_for_the_tries_before_it() {
    let mut message = over(1, vec![app(), sms()]);
    message.leaves(at(1));
    message.is_doubtful(at(2));
    assert_eq!(message.why(), &WaitReason::InDoubt);
    message.leaves(at(60));
    assert!(!message.maybe_duplicate, "it bears the same id");
    message.is_refused(Rejection::Temporary("answered 503".to_owned()), at(61));
    let mut never = message.clone();
    let _ = never.does(&Event::DeadlinePassed, at(HOUR + 1));
    assert_eq!(never.ends(), [Some(StepEnd::InDoubt), None]);
    message.leaves(at(90));
    message.is_refused(Rejection::Temporary(RETRY.to_owned()), at(91));
    let mut never = message.clone();
    let _ = never.does(&Event::DeadlinePassed, at(HOUR + 1));
    assert_eq!(never.ends(), [Some(StepEnd::TimedOut), None]);
    message.leaves(at(120));
    message.is_doubtful(at(121));
    message.is_refused_for_good(UNDELIVERABLE, at(300));
    assert_eq!(message.ends(), [Some(StepEnd::Undeliverable), None]);
}

#[test]
fn an_app_that_has_accepted_is_awaited_until_its_deadline() {
    let taken = || {
        let mut message = over(1, vec![app(), sms()]);
        message.leaves(at(1));
        let _ = message.does(&accepted(message.sending(), 0, ""), at(2));
        assert_eq!(
            message.deadline(),
            Some(at(HOUR) + Duration::from_millis(1))
        );
        message
    };
    let mut message = taken();
    let _ = message.does(&told(0, 0, ReceiptState::Undeliverable), at(9));
    assert_eq!(message.ends(), [Some(StepEnd::Undeliverable), None]);
    let mut message = taken();
    let _ = message.does(&told(0, 0, ReceiptState::Delivered), at(9));
    assert_eq!(message.status(), Status::Delivered);
    let mut message = taken();
    let _ = message.does(&Event::DeadlinePassed, at(HOUR + 1));
    assert_eq!(message.ends(), [Some(StepEnd::InDoubt), None]);
    // Where being accepted is enough, it is the end.
    let enough = Step {
        success_on: SuccessOn::Accepted,
        ..app()
    };
    let mut message = over(1, vec![enough, sms()]);
    message.leaves(at(1));
    let _ = message.does(&accepted(message.sending(), 0, ""), at(2));
    assert_eq!(message.status(), Status::Delivered);
}

#[test]
fn an_sms_whose_acceptance_is_enough_stays_an_sms() {
    let enough = Step {
        success_on: SuccessOn::Accepted,
        ..sms()
    };
    let mut message = over(1, vec![enough, app()]);
    message.is_submitted(at(1));
    assert_eq!(
        (message.status(), message.ends()),
        (Status::Sent, vec![Some(StepEnd::Succeeded), None])
    );
    let _ = message.does(&told(0, 0, ReceiptState::Undeliverable), at(5));
    assert_eq!(
        (message.status(), message.ends()),
        (Status::Failed, vec![Some(StepEnd::Succeeded), None])
    );
}

#[test]
fn a_part_that_is_lost_decides_nothing_before_the_others_are_known() {
    let mut message = over(2, vec![sms(), app()]);
    message.is_submitted(at(1));
    let _ = message.does(&told(0, 0, ReceiptState::Undeliverable), at(5));
    assert_eq!(
        (message.status(), message.ends()),
        (Status::Sent, vec![None, None])
    );
    let mut half = message.clone();
    let _ = message.does(&told(0, 1, ReceiptState::Expired), at(6));
    assert_eq!(message.ends(), [Some(StepEnd::Undeliverable), None]);
    // Half of it has arrived: another channel would tell it twice.
    let _ = half.does(&told(0, 1, ReceiptState::Delivered), at(6));
    assert_eq!(
        (half.status(), half.ends()),
        (Status::Failed, vec![Some(StepEnd::InDoubt), None])
    );
}

#[test]
fn a_message_between_two_steps_can_be_withdrawn() {
    let mut message = over(1, vec![sms(), app()]);
    message.is_submitted(at(1));
    assert_eq!(message.refuses(&Event::Cancelled, at(2)), Refused::TooLate);
    let _ = message.does(&told(0, 0, ReceiptState::Undeliverable), at(5));
    let _ = message.does(&Event::Cancelled, at(6));
    assert_eq!(message.status(), Status::Cancelled);
    assert!(message.has_cost());
}

#[test]
fn the_recipients_refusal_of_all_messages_ends_the_way() {
    let mut message = over(1, vec![app(), sms()]);
    let _ = message.does(&Event::OptedOut, at(1));
    assert_eq!(
        (message.reason(), message.ends()),
        (Some(Cause::OptedOut), vec![None, None])
    );
}

#[test]
fn erasing_takes_the_addresses_out_of_the_steps() {
    let secret = Some("https://club.example/push?key=1".to_owned());
    let way = Way::App { url: secret };
    let mut message = over(1, vec![Step { way, ..app() }, email(), sms()]);
    message.erase_text(at(1));
    let shown = format!("{:?}", message.terms);
    assert!(
        !shown.contains("key=1") && shown.contains("membre@"),
        "{shown}"
    );
    let pseudonyms = crate::domain::privacy::Pseudonyms::of_installation(&[7; 32]);
    message.erase_number(&pseudonyms, at(2));
    let shown = format!("{:?}", message.terms);
    assert!(!shown.contains("example"), "{shown}");
}

/// Turns four small numbers into an event that may or may not concern the message.
fn event_of(message: &Message, (kind, a, b, c): (u8, u8, u8, u8)) -> Event {
    let now = message.updated_at;
    let mut by = message.sending();
    match c % 8 {
        0 => by.claim = by.claim.saturating_sub(1),
        1 => by.attempt = by.attempt.saturating_sub(1),
        _ => {}
    }
    let segment = u16::from(b % 3);
    match kind % 12 {
        0..=2 => Event::Claimed(Lease {
            due_at: now,
            ..lease(
                if a % 4 == 0 {
                    "b"
                } else {
                    message.account_now()
                },
                now,
                now,
            )
        }),
        3 => accepted(by, segment, &format!("ref-{}", c % 5)),
        4 => delivered(by),
        5 | 6 => Event::SegmentRejected {
            by,
            rejection: match a % 6 {
                0 => Rejection::Permanent(NO_ADDRESS.to_owned()),
                1 | 2 => Rejection::Permanent(UNDELIVERABLE.to_owned()),
                3 => Rejection::Temporary(RETRY.to_owned()),
                _ => Rejection::Temporary("503".to_owned()),
            },
        },
        7 => Event::SegmentUnknown {
            by,
            segment,
            doubt: Doubt::Disconnected,
        },
        8 | 9 => told(
            u16::from(c % 4),
            segment,
            EVERY_RECEIPT[usize::from(a % 10)],
        ),
        10 => Event::DeadlinePassed,
        _ => match a % 4 {
            0 => Event::LeaseLost,
            1 if b % 4 == 0 => Event::Cancelled,
            2 => Event::SegmentRefusedLate {
                by,
                segment,
                rejection: Rejection::Permanent("late".to_owned()),
            },
            _ => Event::GivenBack {
                by,
                why: WaitReason::NoChannelUp,
            },
        },
    }
}

fn check(before: &Message, after: &Message) {
    let (was, is) = (before.chain().unwrap(), after.chain().unwrap());
    let ends = after.ends();
    let succeeded = ends
        .iter()
        .filter(|end| **end == Some(StepEnd::Succeeded))
        .count();
    assert!(succeeded <= 1, "{ends:?}");
    assert!(is.at == was.at || is.at == was.at + 1);
    if is.at > was.at {
        // What the next step began after is certain, now and to the last copy.
        assert!(ends[usize::from(was.at)].unwrap().is_certain(), "{ends:?}");
        assert!(
            !ends
                .iter()
                .take(usize::from(is.at))
                .any(|end| { matches!(end, Some(StepEnd::InDoubt | StepEnd::Succeeded) | None) }),
            "{ends:?}"
        );
        let first = before.first_attempt();
        for part in after.attempts[first..].iter().flat_map(|it| &it.segments) {
            assert_ne!(part.progress, Progress::InDoubt);
            assert_eq!(part.doubts, 0);
            assert_ne!(part.known, Known::Delivered);
        }
    }
    for (index, step) in is.steps.iter().enumerate() {
        assert_eq!(step.began_at.is_some(), index <= usize::from(is.at));
        assert!(step.ended.is_none() || index <= usize::from(is.at));
    }
    if after.status() == Status::Delivered {
        assert_eq!(succeeded, 1, "{ends:?}");
    }
    if matches!(after.state, State::Waiting { .. } | State::Leased(_)) {
        assert_eq!(ends[usize::from(is.at)], None);
        assert_eq!(after.lane, is.lane());
    }
    assert_eq!(
        after.status() == Status::Delivered,
        after.delivered_at.is_some()
    );
    assert!(usize::from(is.current().unwrap().first_attempt) <= after.attempts.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_of_events_at_most_one_step_succeeds_and_none_begins_after_a_doubtful_one(
        parts in 1_usize..4,
        ways in prop::collection::vec((0_u8..3, any::<bool>()), 1..4),
        events in prop::collection::vec((any::<(u8, u8, u8, u8)>(), 0_u64..1800), 1..80),
    ) {
        let steps = ways.iter().map(|(way, taken)| {
            let success_on = if *taken { SuccessOn::Accepted } else { SuccessOn::Delivered };
            match way {
                0 => Step { success_on, ..app() },
                1 => email(),
                _ => Step { success_on, ..sms() },
            }
        });
        let mut message = over(parts, steps.collect());
        let rules = policy();
        let mut now = message.created_at;
        for (numbers, pause) in events {
            now = now + Duration::from_secs(pause);
            let event = event_of(&message, numbers);
            let before = message.clone();
            if message.apply(&event, &rules, now).is_ok() {
                check(&before, &message);
            } else {
                prop_assert_eq!(&before, &message);
            }
        }
    }
}

#[test]
fn a_number_that_nobody_has_leaves_its_sms_at_once_and_is_told_of_then() {
    for parts in [1, 3] {
        let mut message = over(parts, vec![sms(), email()]);
        message.leaves(at(1));
        let refused = Rejection::NumberInvalid("ESME_RINVDSTADR".to_owned());
        message.is_refused(refused, at(2));
        assert!(message.tells_of_no_number());
        assert_eq!(message.ends(), [Some(StepEnd::NoAddress), None]);
        assert_eq!(message.lane, lane(EMAIL), "{parts} parts");
    }
    // By a receipt, too; and once there is no other channel the message says it itself.
    for steps in [vec![sms(), email()], vec![sms()]] {
        let alone = steps.len() == 1;
        let mut message = over(1, steps);
        message.is_submitted(at(1));
        let mut event = told(0, 0, ReceiptState::Undeliverable);
        if let Event::Receipt { receipt, .. } = &mut event {
            receipt.network_error = Some(crate::domain::receipt::NetworkError {
                network: 3,
                code: 1,
            });
        }
        let _ = message.does(&event, at(5));
        assert!(message.tells_of_no_number());
        assert_eq!(message.ends()[0], Some(StepEnd::NoAddress));
        assert_eq!(message.reason(), alone.then_some(Cause::NumberInvalid));
    }
    // An app that has no address says nothing of the number.
    let mut message = over(1, vec![app(), sms()]);
    message.is_refused_for_good(NO_ADDRESS, at(10));
    assert!(!message.tells_of_no_number());
}
