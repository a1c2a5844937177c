//! Status reports of SIMs: matched by SIM, recipient, TP-MR and time; and what they settle.

use std::time::Duration;

use super::on_every_engine;
use super::receipts::status_of;
use super::world::{World, accepted, claimant, shop, token};
use crate::domain::fixtures::{at, in_parts, lane, message, message_id, number};
use crate::domain::message::{Cause, Doubt, Message, Progress, State, WaitReason};
use crate::domain::msisdn::Msisdn;
use crate::domain::policy::{ModemRules, OnDoubt};
use crate::domain::receipt::{Receipt, ReceiptState, Taken};
use crate::domain::sim;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::store::{ReceiptReport, Receiving, Report, Store};

on_every_engine! {
    a_report_finds_its_message_also_when_its_sim_is_in_another_modem,
    a_report_that_comes_before_the_answer_is_merged_on_binding,
    a_stale_report_never_joins_a_new_submission,
    where_tp_mr_came_round_the_time_tells_whose_a_report_is,
    where_tp_mr_came_round_in_the_same_minute_the_nearer_one_is_meant,
    a_clock_that_is_hours_off_loses_no_report,
    a_repetition_settles_no_other_message,
    a_report_that_overtakes_its_answer_is_not_an_older_submission_s,
    what_another_program_sent_is_kept_and_counted,
    eight_submissions_under_one_reference_are_remembered,
    what_is_forgotten_leaves_no_reference,
    a_doubtful_message_rests_for_a_report_that_settles_it,
    a_part_in_doubt_is_settled_and_the_rest_goes_on,
    a_report_lifts_a_message_that_was_given_up_in_doubt,
    a_message_sent_again_is_settled_by_the_report_of_its_first_submission,
    a_message_claimed_again_is_settled_by_the_report_of_its_first_submission,
    a_report_waits_while_two_are_in_doubt,
    a_report_waits_while_its_message_is_unanswered,
    what_a_modem_was_sending_at_a_crash_is_settled_by_its_report,
    a_report_settles_no_doubt_of_another_time_or_modem,
}

const SIM: &str = "208010123456789";

/// A status report for what was taken at `sent`, that comes at `now` and took as long.
fn told(mr: u8, to: Msisdn, state: ReceiptState, sent: Timestamp, now: Timestamp) -> ReceiptReport {
    ReceiptReport {
        handset: Some(to),
        taken: Some(Taken {
            at: sent,
            before: sent.max(now - Duration::from_secs(2)),
        }),
        ..ReceiptReport::new("m".into(), sim::reference(SIM, to, mr), Receipt::of(state))
    }
}

/// One that comes two seconds after its message was taken.
fn delivered(mr: u8, to: Msisdn, now: Timestamp) -> ReceiptReport {
    let sent = now - Duration::from_secs(2);
    told(mr, to, ReceiptState::Delivered, sent, now)
}

/// Message `n`, to number 1.
fn to_one(n: u64) -> Message {
    let mut message = message(n);
    message.to = number(1);
    message
}

fn doubted(message: &Message, segment: u16) -> Report {
    Report::Unknown {
        token: token(message),
        segment,
        doubt: Doubt::Timeout,
    }
}

impl dyn Store {
    /// Takes the next message for the modem.
    async fn by_modem(&self, now: Timestamp) -> Option<Message> {
        let by = claimant("m", now);
        let claimed = self.claim(&lane("orange"), by, 1, now).await.unwrap();
        claimed.messages.into_iter().next()
    }

    /// Stores a message, and sends it by the modem, which answers with `mr`.
    async fn modem_sends(&self, message: Message, mr: u8, now: Timestamp) {
        self.takes(vec![message]).await;
        let taken = self.by_modem(now).await.unwrap();
        self.answers(&taken, mr, now).await;
    }

    async fn answers(&self, taken: &Message, mr: u8, now: Timestamp) {
        let reference = sim::reference(SIM, taken.to, mr);
        let change = self.reports(accepted(taken, 0, &reference), now).await;
        assert!(change.is_some());
    }

    async fn status(&self, n: u64) -> Status {
        let message = self.message(&shop(), message_id(n)).await.unwrap();
        message.status()
    }
}

fn is_parked(receiving: &Receiving) -> bool {
    matches!(receiving, Receiving::Parked)
}

fn meant(receiving: &Receiving) -> u64 {
    let Receiving::Matched(change, _) = receiving else {
        panic!("{receiving:?}")
    };
    let is = |n: &u64| message_id(*n) == change.message.id;
    (0..100).find(is).unwrap()
}

async fn a_report_finds_its_message_also_when_its_sim_is_in_another_modem(world: World) {
    let store = world.open(at(0));
    store.modem_sends(message(1), 17, at(10)).await;
    let store = world.reopen(store, at(20)).await;
    let moved = ReceiptReport {
        account: "n".into(),
        ..delivered(17, number(1), at(30))
    };
    // Of the same number, but not of this SIM.
    let other = ReceiptReport {
        reference: sim::reference("another", number(1), 17),
        ..moved.clone()
    };
    assert!(is_parked(&store.receives(other, at(30)).await));
    let receiving = store.receives(moved, at(30)).await;
    assert_eq!(status_of(&receiving), Some(Status::Delivered));
    assert_eq!(store.writing(&"n".into()), None, "nothing is learnt of it");
    world.finish(store).await;
}

async fn a_report_that_comes_before_the_answer_is_merged_on_binding(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let taken = store.by_modem(at(10)).await.unwrap();
    let early = delivered(17, number(1), at(14));
    assert!(is_parked(&store.receives(early, at(14)).await));
    store.answers(&taken, 17, at(16)).await;
    assert_eq!(store.status(1).await, Status::Delivered);
    assert_eq!(store.gauges(at(16)).orphans, 0);
    world.finish(store).await;
}

async fn a_stale_report_never_joins_a_new_submission(world: World) {
    let store = world.open(at(0));
    let hour = at(3600);
    let another_s = delivered(17, number(1), at(14));
    assert!(is_parked(&store.receives(another_s, at(14)).await));
    let store = world.reopen(store, at(20)).await;
    store.modem_sends(message(1), 17, hour).await;
    assert_eq!(store.status(1).await, Status::Sent);
    assert_eq!(store.gauges(hour).orphans, 1);
    // Nor does one that says no time, as long as it may be as old.
    let timeless = ReceiptReport {
        taken: None,
        ..delivered(18, number(2), at(14))
    };
    assert!(is_parked(&store.receives(timeless, at(14)).await));
    store.modem_sends(message(2), 18, hour).await;
    assert_eq!(store.status(2).await, Status::Sent);
    world.finish(store).await;
}

async fn where_tp_mr_came_round_the_time_tells_whose_a_report_is(world: World) {
    let store = world.open(at(0));
    for n in 1..=4 {
        store.modem_sends(to_one(n), 17, at(n * 900)).await;
    }
    let store = world.reopen(store, at(4000)).await;
    for n in [2, 4, 1, 3] {
        let sent = at(n * 900 - 3);
        let report = told(17, number(1), ReceiptState::Delivered, sent, at(9000));
        let receiving = store.receives(report.clone(), at(9000)).await;
        assert_eq!(meant(&receiving), n);
        let again = store.receives(report, at(9500)).await;
        assert!(matches!(again, Receiving::Duplicate), "{again:?}");
    }
    world.finish(store).await;
}

async fn where_tp_mr_came_round_in_the_same_minute_the_nearer_one_is_meant(world: World) {
    let store = world.open(at(0));
    for n in 1..=2 {
        store.modem_sends(to_one(n), 17, at(n * 30)).await;
    }
    for (n, state) in [
        (2, ReceiptState::Enroute),
        (1, ReceiptState::Enroute),
        (1, ReceiptState::Undeliverable),
        (2, ReceiptState::Delivered),
    ] {
        // A service centre that is some seconds ahead.
        let report = told(17, number(1), state, at(n * 30 + 7), at(500));
        assert_eq!(meant(&store.receives(report, at(500)).await), n);
    }
    assert_eq!(store.status(1).await, Status::Failed);
    assert_eq!(store.status(2).await, Status::Delivered);
    world.finish(store).await;
}

async fn a_clock_that_is_hours_off_loses_no_report(world: World) {
    let store = world.open(at(0));
    let start = 200_000;
    for (n, off) in (0..).zip([-43_200_i64, -3_600, 3_600, 43_200]) {
        let sent = start + n * 1000;
        let mut message = message(n);
        message.expires_at = at(start) + Duration::from_hours(48);
        store.modem_sends(message, 17, at(sent)).await;
        let mut report = delivered(17, number(n), at(sent + 5));
        let shown = at(sent.checked_add_signed(off).unwrap());
        report.taken.as_mut().unwrap().at = shown;
        let receiving = store.receives(report, at(sent + 5)).await;
        assert_eq!(meant(&receiving), n, "{off} s off");
    }
    world.finish(store).await;
}

async fn a_repetition_settles_no_other_message(world: World) {
    let store = world.open(at(0));
    // The first one's report never came.
    for n in 1..=3 {
        store.modem_sends(to_one(n), 17, at(n * 1000)).await;
    }
    for (after, hours) in [(10, 0), (700, 0), (700, 20)] {
        let now = at(2000 + after) + Duration::from_hours(hours);
        let report = told(17, number(1), ReceiptState::Delivered, at(1999), now);
        let receiving = store.receives(report, now).await;
        if after == 10 {
            assert_eq!(meant(&receiving), 2);
        } else {
            assert!(matches!(receiving, Receiving::Duplicate), "{receiving:?}");
        }
    }
    for n in [1, 3] {
        assert_eq!(store.status(n).await, Status::Sent);
    }
    world.finish(store).await;
}

async fn a_report_that_overtakes_its_answer_is_not_an_older_submission_s(world: World) {
    let store = world.open(at(0));
    store.modem_sends(to_one(1), 17, at(10)).await;
    store.takes(vec![to_one(2)]).await;
    let taken = store.by_modem(at(2000)).await.unwrap();
    let early = delivered(17, number(1), at(2004));
    assert!(is_parked(&store.receives(early, at(2004)).await));
    store.answers(&taken, 17, at(2005)).await;
    assert_eq!(store.status(1).await, Status::Sent);
    assert_eq!(store.status(2).await, Status::Delivered);
    world.finish(store).await;
}

async fn what_another_program_sent_is_kept_and_counted(world: World) {
    let store = world.open(at(0));
    store.modem_sends(message(1), 17, at(10)).await;
    for (mr, to) in [(17, number(2)), (18, number(1))] {
        let report = delivered(mr, to, at(20));
        assert!(is_parked(&store.receives(report.clone(), at(20)).await));
        let mut again = report;
        again.taken.as_mut().unwrap().before = at(25);
        let receiving = store.receives(again, at(27)).await;
        assert!(matches!(receiving, Receiving::Duplicate), "{receiving:?}");
    }
    assert_eq!(store.gauges(at(20)).orphans, 2);
    assert_eq!(store.status(1).await, Status::Sent);
    // However many come, the one that is ours is there when its answer comes.
    for n in 0..40 {
        let now = at(1000 + n * 1000);
        store.receives(delivered(99, number(3), now), now).await;
    }
    store.takes(vec![message(3)]).await;
    let now = at(50_000);
    let taken = store.by_modem(now).await.unwrap();
    store.receives(delivered(99, number(3), now), now).await;
    store.answers(&taken, 99, now).await;
    assert_eq!(store.status(3).await, Status::Delivered);
    world.finish(store).await;
}

async fn eight_submissions_under_one_reference_are_remembered(world: World) {
    let store = world.open(at(0));
    for n in 1..=10 {
        store.modem_sends(to_one(n), 17, at(n * 1000)).await;
    }
    for n in 3..=10 {
        let sent = at(n * 1000 - 1);
        let report = told(17, number(1), ReceiptState::Delivered, sent, at(20_000));
        assert_eq!(meant(&store.receives(report, at(20_000)).await), n);
    }
    let store = world.reopen(store, at(20_001)).await;
    let report = told(17, number(1), ReceiptState::Expired, at(999), at(20_001));
    assert!(is_parked(&store.receives(report, at(20_001)).await));
    world.finish(store).await;
}

async fn what_is_forgotten_leaves_no_reference(world: World) {
    let store = world.open(at(0));
    for n in 1..=3 {
        store.modem_sends(to_one(n), 17, at(n * 1000)).await;
        let now = at(n * 1000 + 5);
        store.receives(delivered(17, number(1), now), now).await;
        assert_eq!(store.status(n).await, Status::Delivered);
    }
    let later = at(0) + world.keeping.retention.messages * 2;
    while store.prune(later).await.unwrap() {}
    assert!(store.message(&shop(), message_id(1)).await.is_err());
    store.close().await;
    drop(store);
    world.check();
    let left = world.with_kv(|kv| {
        let references = crate::store::keys::KeySpace::Reference.range();
        kv.scan(references, false).count()
    });
    assert_eq!(left, 0);
}

async fn a_doubtful_message_rests_for_a_report_that_settles_it(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let taken = store.by_modem(at(10)).await.unwrap();
    let change = store.reports(doubted(&taken, 0), at(70)).await.unwrap();
    let rest = ModemRules::default().in_doubt_grace;
    assert!(
        matches!(&change.message.state, State::Waiting { due_at, why: WaitReason::InDoubt }
            if *due_at == at(70) + rest),
        "{:?}",
        change.message.state
    );
    assert!(store.claims(9, at(180)).await.is_empty(), "it is the SIM's");
    let store = world.reopen(store, at(100)).await;
    let temporary = told(17, number(1), ReceiptState::Enroute, at(14), at(120));
    let receiving = store.receives(temporary, at(120)).await;
    assert_eq!(status_of(&receiving), Some(Status::Sent));
    assert_eq!(store.by_modem(at(9000)).await, None);
    // The final one may be long in coming, and the answer come after all.
    store
        .reports(
            accepted(&taken, 0, &sim::reference(SIM, number(1), 17)),
            at(130),
        )
        .await;
    let mut last = told(17, number(1), ReceiptState::Delivered, at(14), at(9000));
    last.taken.as_mut().unwrap().before = at(15);
    let receiving = store.receives(last, at(9000)).await;
    assert_eq!(status_of(&receiving), Some(Status::Delivered));
    let message = store.message(&shop(), message_id(1)).await.unwrap();
    assert!(!message.maybe_duplicate);
    assert_eq!(message.attempts[0].segments[0].references.len(), 1);
    assert_eq!(message.attempts[0].segments[0].doubts, 0);
    world.finish(store).await;
}

async fn a_part_in_doubt_is_settled_and_the_rest_goes_on(world: World) {
    let store = world.open(at(0));
    store.takes(vec![in_parts(1, 3)]).await;
    let taken = store.by_modem(at(10)).await.unwrap();
    let reference = |mr| sim::reference(SIM, number(1), mr);
    store
        .reports(accepted(&taken, 0, &reference(7)), at(15))
        .await;
    store
        .receives(delivered(7, number(1), at(19)), at(19))
        .await;
    store.reports(doubted(&taken, 1), at(75)).await;
    let receiving = store
        .receives(delivered(8, number(1), at(90)), at(90))
        .await;
    assert_eq!(status_of(&receiving), Some(Status::Pending));
    let again = store.by_modem(at(300)).await.unwrap();
    let progress: Vec<_> = again.attempts[0]
        .segments
        .iter()
        .map(|part| part.progress)
        .collect();
    use Progress::{Accepted, Unsent};
    assert_eq!(progress, [Accepted, Accepted, Unsent]);
    store
        .reports(accepted(&again, 2, &reference(9)), at(301))
        .await;
    let receiving = store
        .receives(delivered(9, number(1), at(304)), at(304))
        .await;
    assert_eq!(status_of(&receiving), Some(Status::Delivered));
    world.finish(store).await;
}

async fn a_report_lifts_a_message_that_was_given_up_in_doubt(world: World) {
    let store = world.open(at(0));
    let mut careful = message(1);
    careful.on_doubt = Some(OnDoubt::Fail);
    store.takes(vec![careful]).await;
    let taken = store.by_modem(at(10)).await.unwrap();
    let change = store.reports(doubted(&taken, 0), at(70)).await.unwrap();
    assert_eq!(change.message.reason(), Some(Cause::InDoubt));
    let store = world.reopen(store, at(80)).await;
    // An hour later, when the handset was switched on.
    let late = Taken {
        at: at(12),
        before: at(13),
    };
    let report = ReceiptReport {
        taken: Some(late),
        ..delivered(17, number(1), at(3600))
    };
    let receiving = store.receives(report, at(3600)).await;
    assert_eq!(status_of(&receiving), Some(Status::Delivered));
    world.finish(store).await;
}

async fn a_message_sent_again_is_settled_by_the_report_of_its_first_submission(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let taken = store.by_modem(at(10)).await.unwrap();
    store.reports(doubted(&taken, 0), at(70)).await;
    let again = store.by_modem(at(400)).await.unwrap();
    assert!(again.maybe_duplicate);
    store.answers(&again, 18, at(404)).await;
    let first = told(17, number(1), ReceiptState::Delivered, at(14), at(500));
    let receiving = store.receives(first, at(500)).await;
    assert_eq!(status_of(&receiving), Some(Status::Delivered));
    let second = told(18, number(1), ReceiptState::Undeliverable, at(403), at(600));
    store.receives(second, at(600)).await;
    assert_eq!(store.status(1).await, Status::Delivered);
    assert_eq!(store.gauges(at(600)).orphans, 0);
    world.finish(store).await;
}

async fn a_message_claimed_again_is_settled_by_the_report_of_its_first_submission(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let taken = store.by_modem(at(10)).await.unwrap();
    store.reports(doubted(&taken, 0), at(70)).await;
    let again = store.by_modem(at(400)).await.unwrap();
    let mut first = delivered(17, number(1), at(405));
    first.taken = Some(Taken {
        at: at(14),
        before: at(15),
    });
    let receiving = store.receives(first, at(405)).await;
    assert_eq!(status_of(&receiving), Some(Status::Delivered));
    // Its second submission was under way, and is answered and reported too.
    store
        .reports(
            accepted(&again, 0, &sim::reference(SIM, number(1), 18)),
            at(406),
        )
        .await;
    store
        .receives(delivered(18, number(1), at(409)), at(409))
        .await;
    assert_eq!(store.status(1).await, Status::Delivered);
    assert_eq!(store.by_modem(at(9000)).await, None);
    world.finish(store).await;
}

async fn a_report_waits_while_two_are_in_doubt(world: World) {
    let store = world.open(at(0));
    for n in 1..=2 {
        store.takes(vec![to_one(n)]).await;
        let taken = store.by_modem(at(n * 80)).await.unwrap();
        store.reports(doubted(&taken, 0), at(n * 80 + 60)).await;
    }
    let first = told(17, number(1), ReceiptState::Delivered, at(84), at(230));
    assert!(is_parked(&store.receives(first, at(230)).await));
    assert_eq!(store.next_deadline(), Some(at(240)));
    assert!(store.time_out(at(240), 9).await.unwrap().is_empty());
    // Late, but certain: then the other one is meant.
    let second = store.message(&shop(), message_id(2)).await.unwrap();
    store.answers(&second, 18, at(245)).await;
    let again = store.next_deadline().unwrap();
    assert!(again <= at(260), "{again:?}");
    let changes = store.time_out(again, 9).await.unwrap();
    assert_eq!(changes[0].message.id, message_id(1));
    assert_eq!(store.status(1).await, Status::Delivered);
    assert_eq!(store.status(2).await, Status::Sent);
    assert_eq!(store.gauges(again).orphans, 0);
    world.finish(store).await;
}

async fn a_report_waits_while_its_message_is_unanswered(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let taken = store.by_modem(at(10)).await.unwrap();
    let early = delivered(17, number(1), at(14));
    assert!(is_parked(&store.receives(early, at(14)).await));
    for second in [24, 34, 54] {
        assert!(store.time_out(at(second), 9).await.unwrap().is_empty());
    }
    store.reports(doubted(&taken, 0), at(65)).await;
    let store = world.reopen(store, at(66)).await;
    let changes = store.time_out(at(76), 9).await.unwrap();
    assert_eq!(changes[0].transition.to, Status::Delivered);
    assert_eq!(store.by_modem(at(9000)).await, None);
    world.finish(store).await;
}

async fn what_a_modem_was_sending_at_a_crash_is_settled_by_its_report(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1), message(2)]).await;
    store.by_modem(at(10)).await.unwrap();
    // Nothing more is heard of it in this life.
    let store = world.reopen(store, at(7200)).await;
    let left = store.message(&shop(), message_id(1)).await.unwrap();
    assert!(matches!(
        left.state,
        State::Waiting {
            why: WaitReason::InDoubt,
            ..
        }
    ));
    let next = store.by_modem(at(7200)).await.unwrap();
    assert_eq!((next.id, next.maybe_duplicate), (message_id(2), false));
    // The SIM kept its report meanwhile; the handset had it a minute later.
    let mut report = delivered(17, number(1), at(7205));
    report.taken = Some(Taken {
        at: at(12),
        before: at(7205 - 60),
    });
    let receiving = store.receives(report, at(7205)).await;
    assert_eq!(status_of(&receiving), Some(Status::Delivered));
    let message = store.message(&shop(), message_id(1)).await.unwrap();
    assert!(!message.maybe_duplicate);
    world.finish(store).await;
}

async fn a_report_settles_no_doubt_of_another_time_or_modem(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let taken = store.by_modem(at(3600)).await.unwrap();
    store.reports(doubted(&taken, 0), at(3660)).await;
    for (n, taken) in [(1, (100, 101)), (2, (3660 + 901, 9000))] {
        let report = ReceiptReport {
            taken: Some(Taken {
                at: at(taken.0),
                before: at(taken.1),
            }),
            ..delivered(n, number(1), at(9000))
        };
        assert!(is_parked(&store.receives(report, at(9000)).await));
    }
    let elsewhere = ReceiptReport {
        account: "n".into(),
        reference: sim::reference("another", number(1), 3),
        ..told(3, number(1), ReceiptState::Delivered, at(3605), at(3670))
    };
    assert!(is_parked(&store.receives(elsewhere, at(3670)).await));
    assert_eq!(store.status(1).await, Status::Pending);
    world.finish(store).await;
}
