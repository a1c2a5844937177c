//! Refusals that come after the answer was given up, and what a crash may have sent.

use super::*;

fn refused_late(by: Sending, segment: u16, rejection: Rejection) -> Event {
    Event::SegmentRefusedLate {
        by,
        segment,
        rejection,
    }
}

#[test]
fn a_late_refusal_settles_the_doubt_as_if_it_had_come_in_time() {
    type Judge = fn(String) -> Rejection;
    let kinds: [(Judge, Option<WaitReason>); 4] = [
        (Rejection::Permanent, None),
        (
            Rejection::Temporary,
            Some(WaitReason::Backoff("x".to_owned())),
        ),
        (Rejection::Throttled, Some(WaitReason::Throttled)),
        (
            Rejection::Account,
            Some(WaitReason::AccountRefused("x".to_owned())),
        ),
    ];
    for (kind, why) in kinds {
        let mut message = message(1);
        message.is_claimed("a", at(1));
        let by = message.sending();
        message.is_doubtful(at(60));
        let _ = message.does(&refused_late(by, 0, kind("x".to_owned())), at(65));
        assert!(!message.has_left(), "it certainly has not");
        let Some(why) = why else {
            assert_eq!(message.reason(), Some(Cause::Rejected));
            continue;
        };
        assert_eq!(*message.why(), why);
        let counted = matches!(why, WaitReason::Backoff(_));
        assert_eq!(message.tries, u32::from(counted));
        assert_eq!(message.due_at() > at(65), counted);
        message.is_claimed("a", message.due_at().max(at(65)));
        assert!(!message.maybe_duplicate);
        let again = refused_late(by, 0, kind("x".to_owned()));
        assert_eq!(message.refuses(&again, at(400)), Refused::Stale);
    }
}

#[test]
fn a_late_refusal_leaves_a_doubt_about_another_submission_of_the_part() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    let first = message.sending();
    message.is_doubtful(at(60));
    message.is_claimed("a", at(70));
    message.is_doubtful(at(130));
    let code = || Rejection::Permanent("x".to_owned());
    let _ = message.does(&refused_late(first, 0, code()), at(131));
    assert_eq!(*message.why(), WaitReason::InDoubt);
    assert!(message.has_left());
    let second = message.sending();
    let _ = message.does(&refused_late(second, 0, code()), at(132));
    assert_eq!(message.reason(), Some(Cause::Rejected));
}

#[test]
fn a_late_refusal_does_not_disturb_the_claim_that_sends_it_again() {
    let mut message = message(1);
    message.is_claimed("a", at(1));
    let first = message.sending();
    message.is_doubtful(at(60));
    message.is_claimed("a", at(70));
    let code = Rejection::Permanent("x".to_owned());
    let _ = message.does(&refused_late(first, 0, code), at(71));
    assert!(matches!(message.state, State::Leased(_)));
    let by = message.sending();
    let _ = message.does(&accepted(by, 0, "one"), at(72));
    assert_eq!(message.status(), Status::Sent);
}

#[test]
fn what_was_given_up_as_doubtful_is_known_to_be_refused_once_a_late_refusal_says_so() {
    let mut message = message(1);
    message.on_doubt = Some(OnDoubt::Fail);
    message.is_claimed("a", at(1));
    let by = message.sending();
    message.is_doubtful(at(60));
    assert_eq!(message.reason(), Some(Cause::InDoubt));
    let code = Rejection::Temporary("x".to_owned());
    let _ = message.does(&refused_late(by, 0, code), at(65));
    assert_eq!(message.reason(), Some(Cause::Rejected));
    assert_eq!((message.status(), message.revision), (Status::Failed, 1));
}

#[test]
fn a_message_that_may_have_left_says_so_once_and_keeps_its_place() {
    let mut message = message(1);
    let due_at = message.due_at();
    let _ = message.does(&Event::MayHaveLeft, at(5));
    assert!(message.maybe_duplicate);
    assert_eq!((message.due_at(), message.tries), (due_at, 0));
    assert_eq!(message.refuses(&Event::MayHaveLeft, at(6)), Refused::Stale);
    message.is_claimed("a", at(7));
    message.maybe_duplicate = false;
    assert_eq!(message.refuses(&Event::MayHaveLeft, at(8)), Refused::Stale);
}
