//! Doubts about what a modem has sent.

use super::*;
use crate::domain::policy::Operator;

#[test]
fn a_doubt_about_a_modem_rests_for_a_status_report_whatever_the_schedule() {
    let mut rules = policy();
    let grace = Duration::from_mins(2);
    let schedule = [10, 3600, 10].map(Duration::from_secs);
    let orange = Operator {
        retry: RetrySchedule(schedule.to_vec()),
        ..Operator::clone(rules.operator(&"orange".into()))
    };
    let modems = std::mem::take(&mut rules.modems);
    rules = Policy::new(orange, Vec::new(), "FR", rules.limits);
    rules.modems = modems;
    let mut message = message(1);
    let mut now = at(1);
    for rest in [grace, grace * 4, grace] {
        let claimed = Event::Claimed(lease("m", now, now));
        let _ = message.apply(&claimed, &rules, now).unwrap();
        now = now + Duration::from_mins(1);
        let doubted = Event::SegmentUnknown {
            by: message.sending(),
            segment: 0,
            doubt: Doubt::Timeout,
        };
        let _ = message.apply(&doubted, &rules, now).unwrap();
        assert_eq!(message.pinned_to(), Some(&"m".into()));
        assert_eq!(message.due_at(), now + rest);
        now = message.due_at();
    }
}

#[test]
fn a_late_acceptance_settles_the_doubt_about_its_own_submission_alone() {
    let mut message = message(1);
    message.is_claimed("m", at(1));
    let first = message.sending();
    message.is_doubtful(at(60));
    message.is_claimed("m", at(500));
    let _ = message.does(&accepted(message.sending(), 0, "second"), at(510));
    assert_eq!(message.attempts[0].segments[0].doubts, 1);
    let _ = message.does(&accepted(first, 0, "first"), at(520));
    assert_eq!(message.attempts[0].segments[0].doubts, 0);
    assert_eq!(message.attempts[0].segments[0].references.len(), 2);
}
