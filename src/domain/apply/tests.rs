#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use super::*;
use crate::domain::fixtures::{at, in_parts, lease, message, policy, receipt};
use crate::domain::retry::RetrySchedule;

mod late_refusals;
mod modems;
mod properties;
mod ways;

impl Message {
    fn does(&mut self, event: &Event, now: Timestamp) -> Transition {
        self.apply(event, &policy(), now).unwrap()
    }

    fn refuses(&mut self, event: &Event, now: Timestamp) -> Refused {
        let before = self.clone();
        let refused = self.apply(event, &policy(), now).unwrap_err();
        assert_eq!(*self, before, "a refused event changes nothing");
        refused
    }

    fn due_at(&self) -> Timestamp {
        match &self.state {
            State::Waiting { due_at, .. } => *due_at,
            other => panic!("not waiting: {other:?}"),
        }
    }

    fn why(&self) -> &WaitReason {
        match &self.state {
            State::Waiting { why, .. } => why,
            other => panic!("not waiting: {other:?}"),
        }
    }

    fn is_claimed(&mut self, account: &str, now: Timestamp) {
        let event = Event::Claimed(lease(account, self.due_at(), now));
        let _ = self.does(&event, now);
    }

    fn is_accepted(&mut self, segment: u16, now: Timestamp) -> Transition {
        let event = accepted(self.sending(), segment, &format!("ref-{segment}"));
        self.does(&event, now)
    }

    fn is_submitted(&mut self, now: Timestamp) {
        self.is_claimed("a", now);
        for segment in 0..u16::try_from(self.parts()).unwrap() {
            let _ = self.is_accepted(segment, now);
        }
        assert!(matches!(self.state, State::Submitted { .. }));
    }

    fn is_refused(&mut self, rejection: Rejection, now: Timestamp) {
        let by = self.sending();
        let _ = self.does(&Event::SegmentRejected { by, rejection }, now);
    }

    fn is_doubtful(&mut self, now: Timestamp) {
        let event = Event::SegmentUnknown {
            by: self.sending(),
            segment: 0,
            doubt: Doubt::Timeout,
        };
        let _ = self.does(&event, now);
    }
}

fn accepted(by: Sending, segment: u16, reference: &str) -> Event {
    Event::SegmentAccepted {
        by,
        segment,
        reference: reference.to_owned(),
    }
}

fn told(attempt: u16, segment: u16, state: ReceiptState) -> Event {
    Event::Receipt {
        attempt,
        segment,
        reference: String::new(),
        receipt: receipt(state),
    }
}

fn submitted(parts: usize) -> Message {
    let mut message = if parts == 1 {
        message(1)
    } else {
        in_parts(1, parts)
    };
    message.is_submitted(at(1));
    message
}

const EVERY_RECEIPT: [ReceiptState; 10] = [
    ReceiptState::Scheduled,
    ReceiptState::Enroute,
    ReceiptState::Delivered,
    ReceiptState::Expired,
    ReceiptState::Deleted,
    ReceiptState::Undeliverable,
    ReceiptState::Accepted,
    ReceiptState::Unknown,
    ReceiptState::Rejected,
    ReceiptState::Skipped,
];

#[test]
fn a_message_is_pending_then_sent_then_delivered_with_one_revision_each() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    assert_eq!((message.status(), message.revision), (Status::Pending, 0));
    let sent = message.is_accepted(0, at(2));
    assert!(sent.status_changed());
    assert_eq!((message.status(), message.revision), (Status::Sent, 1));
    assert_eq!(message.sent_at, Some(at(2)));
    let _ = message.does(&told(0, 0, ReceiptState::Delivered), at(9));
    assert_eq!((message.status(), message.revision), (Status::Delivered, 2));
    assert_eq!(message.delivered_at, Some(at(9)));
    assert_eq!(message.updated_at, at(9));
    assert_eq!(message.deadline(), None);
}

#[test]
fn each_receipt_means_what_the_table_says() {
    for state in EVERY_RECEIPT {
        let mut message = submitted(1);
        let _ = message.does(&told(0, 0, state), at(5));
        let expected = match state {
            ReceiptState::Delivered => (Status::Delivered, None),
            ReceiptState::Expired => (Status::Expired, Some(Cause::CarrierExpired)),
            ReceiptState::Deleted => (Status::Failed, Some(Cause::Deleted)),
            ReceiptState::Rejected => (Status::Failed, Some(Cause::RejectedByNetwork)),
            ReceiptState::Undeliverable | ReceiptState::Skipped => {
                (Status::Failed, Some(Cause::Undeliverable))
            }
            ReceiptState::Scheduled
            | ReceiptState::Enroute
            | ReceiptState::Accepted
            | ReceiptState::Unknown => (Status::Sent, None),
        };
        assert_eq!((message.status(), message.reason()), expected, "{state:?}");
    }
}

#[test]
fn late_delivrd_after_any_other_end_becomes_delivered() {
    let no_receipt = {
        let mut message = submitted(1);
        let deadline = message.deadline().unwrap();
        let _ = message.does(&Event::DeadlinePassed, deadline);
        assert_eq!(message.reason(), Some(Cause::NoReceipt));
        message
    };
    let carrier_expired = {
        let mut message = submitted(1);
        let _ = message.does(&told(0, 0, ReceiptState::Expired), at(3));
        message
    };
    let undeliverable = {
        let mut message = submitted(1);
        let _ = message.does(&told(0, 0, ReceiptState::Undeliverable), at(3));
        message
    };
    for mut message in [no_receipt, carrier_expired, undeliverable] {
        let revision = message.revision;
        let late = message.updated_at + Duration::from_hours(5);
        let change = message.does(&told(0, 0, ReceiptState::Delivered), late);
        assert!(change.status_changed());
        assert_eq!(message.status(), Status::Delivered);
        assert_eq!(message.revision, revision + 1);
        assert_eq!(message.delivered_at, Some(late));
    }
}

#[test]
fn late_intermediate_receipts_never_change_a_final_state() {
    for last in EVERY_RECEIPT
        .into_iter()
        .filter(|state| state.known() != Known::Awaiting)
    {
        for late in EVERY_RECEIPT
            .into_iter()
            .filter(|state| state.known() == Known::Awaiting)
        {
            let mut message = submitted(1);
            let _ = message.does(&told(0, 0, last), at(3));
            let (state, revision) = (message.state.clone(), message.revision);
            let _ = message.does(&told(0, 0, late), at(4));
            assert_eq!((message.state, message.revision), (state, revision));
        }
    }
}

#[test]
fn expired_climbs_to_failed_and_never_back() {
    let mut message = submitted(1);
    let _ = message.does(&told(0, 0, ReceiptState::Expired), at(3));
    let _ = message.does(&told(0, 0, ReceiptState::Undeliverable), at(4));
    assert_eq!(message.status(), Status::Failed);
    assert_eq!(
        message.refuses(&told(0, 0, ReceiptState::Expired), at(5)),
        Refused::Stale
    );
}

#[test]
fn a_message_of_n_parts_is_delivered_only_with_n_delivered_receipts() {
    for parts in 2..=5_u16 {
        let mut message = submitted(usize::from(parts));
        for part in (0..parts).rev() {
            assert_eq!(message.status(), Status::Sent, "{part} of {parts} missing");
            let _ = message.does(&told(0, part, ReceiptState::Delivered), at(5));
        }
        assert_eq!(message.status(), Status::Delivered);
    }
}

#[test]
fn a_message_is_sent_only_with_every_part_accepted() {
    let mut message = in_parts(1, 3);
    message.is_claimed("a", at(1));
    for part in [0, 1] {
        let change = message.is_accepted(part, at(2));
        assert!(!change.status_changed());
    }
    assert_eq!(message.status(), Status::Pending);
    assert!(message.is_accepted(2, at(2)).status_changed());
}

#[test]
fn a_receipt_stands_for_the_response_that_never_came() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    message.is_doubtful(at(2));
    let _ = message.does(&told(0, 0, ReceiptState::Enroute), at(3));
    assert_eq!(message.status(), Status::Sent);
    assert!(!message.maybe_duplicate);
}

#[test]
fn the_retry_schedule_is_kept_as_one_vector_and_then_the_attempts_are_exhausted() {
    let mut message = message(1);
    let schedule = RetrySchedule::default();
    let (mut now, mut waits) = (at(0), Vec::new());
    let expected: Vec<_> = (1..=9)
        .map(|tries| schedule.wait_after(tries, message.id).unwrap())
        .collect();
    loop {
        message.is_claimed("a", now);
        message.is_refused(Rejection::Temporary("ESME_RSYSERR".to_owned()), now);
        if message.status().is_final() {
            break;
        }
        assert_eq!(
            *message.why(),
            WaitReason::Backoff("ESME_RSYSERR".to_owned())
        );
        waits.push(message.due_at().since(now));
        now = message.due_at();
    }
    assert_eq!(waits, expected);
    assert_eq!(message.reason(), Some(Cause::AttemptsExhausted));
    assert_eq!(message.tries, 10);
    assert_eq!(message.attempts.len(), 1, "one account, one attempt");
    // Lengthened by at most a tenth, the whole schedule still ends within the validity.
    let whole: Duration = waits.iter().sum();
    assert!(whole < Duration::from_hours(50), "{whole:?}");
}

#[test]
fn throttled_and_given_back_cost_no_try_and_keep_the_due_time() {
    let mut message = message(1);
    let due_at = message.due_at();
    for round in 0..50 {
        let now = at(round);
        message.is_claimed("a", now);
        if round % 2 == 0 {
            message.is_refused(Rejection::Throttled("ESME_RTHROTTLED".to_owned()), now);
            assert_eq!(*message.why(), WaitReason::Throttled);
        } else {
            let event = Event::GivenBack {
                by: message.sending(),
                why: WaitReason::NoChannelUp,
            };
            let _ = message.does(&event, now);
            assert_eq!(*message.why(), WaitReason::NoChannelUp);
        }
        assert_eq!((message.due_at(), message.tries), (due_at, 0));
    }
    assert_eq!(message.revision, 0);
}

#[test]
fn a_refused_account_costs_no_try_keeps_the_due_time_and_one_line_of_history() {
    let mut message = message(1);
    let due_at = message.due_at();
    let code = "status 0x00000401 (credit used up)".to_owned();
    for round in 0..50 {
        message.is_claimed("a", at(round));
        message.is_refused(Rejection::Account(code.clone()), at(round));
        assert_eq!(*message.why(), WaitReason::AccountRefused(code.clone()));
        assert_eq!((message.due_at(), message.tries), (due_at, 0));
    }
    let refused = |what: &What| *what == What::Refused(code.clone());
    let lines = message.events.iter().filter(|line| refused(&line.what));
    assert_eq!((lines.count(), message.revision), (1, 0));
}

#[test]
fn a_permanent_refusal_fails_at_once() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    message.is_refused(Rejection::Permanent("ESME_RINVDSTADR".to_owned()), at(2));
    assert_eq!(message.reason(), Some(Cause::Rejected));
    assert_eq!(message.revision, 1);
}

#[test]
fn only_a_carriers_certain_word_makes_a_number_one_that_nobody_has() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    message.is_refused(
        Rejection::NumberInvalid("ESME_RINVDSTADR".to_owned()),
        at(2),
    );
    assert_eq!(message.reason(), Some(Cause::NumberInvalid));
    let mut rules = policy();
    rules
        .invalid_errors
        .insert("a".into(), vec!["0x1a".to_owned()]);
    let network = |network, code| Some(crate::domain::receipt::NetworkError { network, code });
    use ReceiptState as S;
    for (state, error, network_error, expected) in [
        (S::Undeliverable, None, network(3, 1), Cause::NumberInvalid),
        (S::Rejected, None, network(3, 1), Cause::NumberInvalid),
        // Absent, of another kind of network, or nothing said.
        (S::Undeliverable, None, network(3, 27), Cause::Undeliverable),
        (S::Undeliverable, None, network(1, 1), Cause::Undeliverable),
        (S::Undeliverable, Some("001"), None, Cause::Undeliverable),
        (S::Undeliverable, Some("0X1A"), None, Cause::NumberInvalid),
        (S::Rejected, Some("002"), None, Cause::RejectedByNetwork),
        (S::Deleted, None, network(3, 1), Cause::Deleted),
        (
            S::Expired,
            Some("0x1A"),
            network(3, 1),
            Cause::CarrierExpired,
        ),
    ] {
        let mut message = in_parts(1, 1);
        message.is_claimed("a", at(1));
        let _ = message.is_accepted(0, at(2));
        let told = Event::Receipt {
            attempt: 0,
            segment: 0,
            reference: "r".to_owned(),
            receipt: crate::domain::receipt::Receipt {
                error: error.map(str::to_owned),
                network_error,
                ..crate::domain::receipt::Receipt::of(state)
            },
        };
        let _ = message.apply(&told, &rules, at(3)).unwrap();
        assert_eq!(
            message.reason(),
            Some(expected),
            "{error:?} {network_error:?}"
        );
    }
}

#[test]
fn a_resumed_attempt_keeps_the_parts_already_accepted() {
    let mut message = in_parts(1, 3);
    message.is_claimed("a", at(1));
    let _ = message.is_accepted(0, at(2));
    message.is_refused(Rejection::Temporary("x".to_owned()), at(3));
    message.is_claimed("a", message.due_at());
    let progress: Vec<_> = message.attempts[0]
        .segments
        .iter()
        .map(|segment| segment.progress)
        .collect();
    assert_eq!(
        progress,
        [Progress::Accepted, Progress::Unsent, Progress::Unsent]
    );
    let _ = message.is_accepted(1, at(90));
    assert!(message.is_accepted(2, at(91)).status_changed());
}

#[test]
fn another_account_starts_with_every_part() {
    let mut message = in_parts(1, 2);
    message.is_claimed("a", at(1));
    let _ = message.is_accepted(0, at(2));
    message.is_refused(Rejection::Throttled("x".to_owned()), at(3));
    message.is_claimed("b", at(4));
    assert_eq!(message.attempts.len(), 2);
    assert!(
        message.attempts[1]
            .segments
            .iter()
            .all(|segment| segment.progress == Progress::Unsent)
    );
}

#[test]
fn accounts_taking_turns_leave_no_trail_of_untouched_attempts() {
    let mut message = in_parts(1, 2);
    message.is_claimed("a", at(1));
    let _ = message.is_accepted(0, at(2));
    message.is_refused(Rejection::Throttled("x".to_owned()), at(3));
    for round in 0..1000 {
        message.is_claimed(["b", "a"][round % 2], at(4));
        message.is_refused(Rejection::Throttled("x".to_owned()), at(4));
    }
    assert!(message.attempts.len() <= 2, "{}", message.attempts.len());
    assert_eq!(message.attempts[0].account.as_str(), "a");
    assert_eq!(
        message.attempts[0].segments[0].progress,
        Progress::Accepted,
        "what the first account has accepted is still known"
    );
}

#[test]
fn receipts_of_a_second_account_count_although_they_read_like_those_of_the_first() {
    let mut message = in_parts(1, 2);
    message.is_claimed("a", at(1));
    let _ = message.is_accepted(0, at(2));
    message.is_refused(Rejection::Temporary("x".to_owned()), at(3));
    let _ = message.does(&told(0, 0, ReceiptState::Delivered), at(4));
    message.is_claimed("b", message.due_at());
    let _ = message.is_accepted(0, at(90));
    let _ = message.is_accepted(1, at(90));
    let _ = message.does(&told(1, 0, ReceiptState::Delivered), at(91));
    let _ = message.does(&told(1, 1, ReceiptState::Delivered), at(92));
    assert_eq!(message.status(), Status::Delivered);
}

#[test]
fn a_doubtful_message_rests_and_is_sent_again_as_a_possible_duplicate() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    message.is_doubtful(at(60));
    assert_eq!(*message.why(), WaitReason::InDoubt);
    assert_eq!(message.due_at(), at(60) + policy().in_doubt_grace);
    assert!(!message.maybe_duplicate, "not sent a second time yet");
    message.is_claimed("a", at(70));
    assert!(message.maybe_duplicate);
}

#[test]
fn a_doubtful_message_sent_over_another_account_is_a_possible_duplicate_too() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    message.is_doubtful(at(60));
    message.is_claimed("b", at(70));
    assert!(message.maybe_duplicate);
}

#[test]
fn a_late_acceptance_cancels_the_resend() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    let by = message.sending();
    message.is_doubtful(at(60));
    let _ = message.does(&accepted(by, 0, "late"), at(65));
    assert_eq!(message.status(), Status::Sent);
    assert!(!message.maybe_duplicate);
    let stale = Event::Claimed(lease("a", at(70), at(70)));
    assert_eq!(message.refuses(&stale, at(70)), Refused::Stale);
}

#[test]
fn a_report_of_an_earlier_claim_changes_nothing_except_an_acceptance() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    let first = message.sending();
    message.is_doubtful(at(60));
    message.is_claimed("a", at(70));
    for event in [
        Event::SegmentRejected {
            by: first,
            rejection: Rejection::Permanent("x".to_owned()),
        },
        Event::SegmentUnknown {
            by: first,
            segment: 0,
            doubt: Doubt::Disconnected,
        },
        Event::GivenBack {
            by: first,
            why: WaitReason::NoChannelUp,
        },
    ] {
        assert_eq!(message.refuses(&event, at(71)), Refused::Stale);
    }
    let _ = message.does(&accepted(first, 0, "late"), at(72));
    assert_eq!(message.status(), Status::Sent);
}

#[test]
fn where_nothing_may_be_sent_twice_a_doubt_fails_and_the_truth_still_corrects_it() {
    for own_rule in [true, false] {
        let mut message = message(1);
        if own_rule {
            message.on_doubt = Some(OnDoubt::Fail);
        } else {
            message.lane.operator = "careful".into();
        }
        message.is_claimed("a", at(1));
        let by = message.sending();
        message.is_doubtful(at(60));
        assert_eq!(message.reason(), Some(Cause::InDoubt));
        let mut by_receipt = message.clone();
        let _ = by_receipt.does(&told(0, 0, ReceiptState::Delivered), at(80));
        assert_eq!(by_receipt.status(), Status::Delivered);
        let _ = message.does(&accepted(by, 0, "late"), at(80));
        assert_eq!((message.status(), message.revision), (Status::Sent, 2));
    }
}

#[test]
fn a_lost_lease_is_a_doubt() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    let until = message.deadline().unwrap();
    assert_eq!(
        message.refuses(&Event::DeadlinePassed, at(2)),
        Refused::Stale
    );
    let _ = message.does(&Event::DeadlinePassed, until);
    assert_eq!(*message.why(), WaitReason::InDoubt);
    assert_eq!(message.attempts[0].segments[0].progress, Progress::InDoubt);
    assert_eq!(message.refuses(&Event::LeaseLost, until), Refused::Stale);
}

#[test]
fn a_message_that_never_left_expires_after_48_hours() {
    let mut message = message(0);
    let end = at(48 * 3600);
    assert_eq!(message.deadline(), Some(end));
    let before = Timestamp(end.0 - 1);
    assert_eq!(
        message.refuses(&Event::DeadlinePassed, before),
        Refused::Stale
    );
    let late = Event::Claimed(lease("a", at(0), end));
    assert_eq!(message.refuses(&late, end), Refused::Stale);
    let _ = message.does(&Event::DeadlinePassed, end);
    assert_eq!(message.reason(), Some(Cause::ValidityPassed));
}

#[test]
fn a_sent_message_waits_for_its_receipt_until_the_grace_is_over() {
    let mut message = submitted(1);
    let end = message.expires_at + policy().receipt_grace;
    assert_eq!(message.deadline(), Some(end));
    assert_eq!(
        message.refuses(&Event::DeadlinePassed, message.expires_at),
        Refused::Stale
    );
    let _ = message.does(&Event::DeadlinePassed, end);
    assert_eq!(message.reason(), Some(Cause::NoReceipt));
    assert_eq!(message.refuses(&Event::DeadlinePassed, end), Refused::Stale);
}

#[test]
fn a_message_can_be_withdrawn_only_before_it_leaves() {
    let mut waiting = message(1);
    let _ = waiting.does(&Event::Cancelled, at(1));
    assert_eq!(waiting.status(), Status::Cancelled);
    assert_eq!(waiting.refuses(&Event::Cancelled, at(2)), Refused::TooLate);

    let mut leased = message(1);
    leased.is_claimed("a", at(1));
    assert_eq!(leased.refuses(&Event::Cancelled, at(2)), Refused::TooLate);

    let mut refused = leased.clone();
    refused.is_refused(Rejection::Temporary("x".to_owned()), at(2));
    let _ = refused.does(&Event::Cancelled, at(3));
    assert_eq!(refused.status(), Status::Cancelled, "nothing has left");

    let mut doubtful = leased;
    doubtful.is_doubtful(at(2));
    assert_eq!(doubtful.refuses(&Event::Cancelled, at(3)), Refused::TooLate);

    let mut half = in_parts(1, 2);
    half.is_claimed("a", at(1));
    let _ = half.is_accepted(0, at(2));
    half.is_refused(Rejection::Throttled("x".to_owned()), at(3));
    assert_eq!(half.refuses(&Event::Cancelled, at(4)), Refused::TooLate);
}

#[test]
fn the_history_is_bounded_and_keeps_the_promise_and_the_newest() {
    let mut message = message(1);
    for round in 0..200 {
        message.is_claimed("a", at(round));
        message.is_refused(Rejection::Throttled(format!("{round}")), at(round));
    }
    assert_eq!(message.events.len(), Message::EVENTS_MAX);
    assert_eq!(message.events[0].what, What::Accepted);
    assert_eq!(
        message.events.last().unwrap().what,
        What::Refused("199".to_owned())
    );
}
