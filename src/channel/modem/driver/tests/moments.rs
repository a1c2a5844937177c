//! What becomes of a message when the modem goes at a moment of its sending.

use super::*;

/// Sends a message into the fault, then what was returned again, and one more.
async fn through(script: ModemScript) -> (Rig, Option<SegmentOutcome>) {
    let mut rig = Rig::new(script);
    rig.ask(request(1)).await;
    let outcome = match rig.next().await {
        ChannelEvent::Returned { .. } => None,
        ChannelEvent::Segment { outcome, .. } => Some(outcome),
        other => panic!("{other:?}"),
    };
    (rig, outcome)
}

#[tokio::test(start_paused = true)]
async fn before_the_prompt_nothing_has_left_and_the_message_is_returned() {
    for (kind, for_ms) in [
        (FaultKind::Unplug, Some(3_000)),
        (FaultKind::Reset, None),
        (FaultKind::Hang, Some(45_000)),
    ] {
        let (mut rig, outcome) = through(fault(Moment::Prompt, kind, for_ms, false)).await;
        assert_eq!(outcome, None, "{kind:?}");
        assert_eq!(rig.insist(request(1)).await, accepted(0), "{kind:?}");
        assert_eq!((rig.submitted(), rig.sent()), (1, 1), "{kind:?}");
        rig.stopped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_last_octet_nobody_knows_and_the_driver_does_not_send_again() {
    use Doubt::{Disconnected, Timeout};
    for (kind, for_ms, doubt) in [
        (FaultKind::Unplug, Some(3_000), Disconnected),
        (FaultKind::Reset, None, Timeout),
        (FaultKind::Hang, Some(200_000), Timeout),
    ] {
        for taken in [true, false] {
            let script = fault(Moment::Submitted, kind, for_ms, taken);
            let (mut rig, outcome) = through(script).await;
            assert_eq!(outcome, Some(SegmentOutcome::Unknown(doubt)), "{kind:?}");
            let sent = usize::from(taken);
            assert_eq!((rig.submitted(), rig.sent()), (1, sent), "{kind:?}");
            rig.up().await;
            rig.silent_for(Duration::from_mins(10)).await;
            assert_eq!(rig.submitted(), 1, "{kind:?}");
            let next = u8::try_from(sent).unwrap();
            assert_eq!(rig.insist(request(2)).await, accepted(next), "{kind:?}");
            assert_eq!(rig.submitted(), 2, "{kind:?}");
            rig.stopped().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_answer_it_is_accepted_whatever_happens_then() {
    for (kind, for_ms) in [
        (FaultKind::Unplug, Some(3_000)),
        (FaultKind::Reset, None),
        (FaultKind::Hang, Some(45_000)),
    ] {
        let (mut rig, outcome) = through(fault(Moment::Answered, kind, for_ms, true)).await;
        assert_eq!(outcome, Some(accepted(0)), "{kind:?}");
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(rig.insist(request(2)).await, accepted(1), "{kind:?}");
        assert_eq!((rig.submitted(), rig.sent()), (2, 2), "{kind:?}");
        rig.stopped().await;
    }
}

/// A network that answers the first message after so long, with or without a refusal.
fn slow(send_ms: u64, cms: Option<u16>) -> ModemScript {
    ModemScript {
        rules: vec![Rule {
            prefix: "33612".to_owned(),
            send_ms: Some(send_ms),
            cms,
            ..Rule::default()
        }],
        ..ModemScript::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_settles_the_doubt() {
    // While it is brought back into step, and while it is set up again.
    for send_ms in [60_500, 64_000, 75_000] {
        let mut rig = Rig::new(slow(send_ms, None));
        rig.ask(request(1)).await;
        let unknown = SegmentOutcome::Unknown(Doubt::Timeout);
        assert_eq!(rig.outcome().await, unknown, "{send_ms}");
        match rig.next().await {
            ChannelEvent::Segment {
                token,
                segment,
                outcome,
                took,
            } => {
                assert_eq!((token, segment), (request(1).token, 0));
                assert_eq!(outcome, accepted(0), "{send_ms}");
                assert!(took > Duration::from_mins(1));
            }
            other => panic!("{other:?}"),
        }
        let mut other = request(2);
        other.to = number(33_711_111_111);
        let outcome = rig.insist(other).await;
        let reference = "sim:e9288588a056:711111111:1".to_owned();
        assert_eq!(outcome, SegmentOutcome::Accepted(reference));
        assert_eq!((rig.submitted(), rig.sent()), (2, 2));
        rig.stopped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_refusal_settles_it_too() {
    let mut rig = Rig::new(slow(62_000, Some(41)));
    rig.ask(request(1)).await;
    let unknown = SegmentOutcome::Unknown(Doubt::Timeout);
    assert_eq!(rig.outcome().await, unknown);
    let code = "+CMS ERROR 41 (temporary failure)".to_owned();
    let refused = SegmentOutcome::RefusedLate(Rejection::Temporary(code));
    assert_eq!(rig.outcome().await, refused);
    assert_eq!((rig.submitted(), rig.sent()), (1, 0));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn its_report_names_the_message_and_comes_however_talkative_the_modem_is() {
    let mut script = ModemScript::default();
    script.chatter.in_answers_every = 1;
    script.chatter.every_ms = 40;
    script.reports.before_answer = true;
    script.reports.national = Some("33".to_owned());
    let mut rig = Rig::new(script);
    assert_eq!(rig.send(request(1)).await, accepted(0));
    let (reference, ack) = rig.receipt().await;
    ack.taken();
    assert_eq!(SegmentOutcome::Accepted(reference), accepted(0));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_that_was_not_committed_survives_the_modem() {
    let mut rig = Rig::new(ModemScript::default());
    assert_eq!(rig.send(request(1)).await, accepted(0));
    let (reference, ack) = rig.receipt().await;
    rig.modem.unplug();
    rig.down("no such device").await;
    ack.not_now();
    let (again, ack) = rig.receipt().await;
    assert_eq!(again, reference);
    rig.down("no such device").await;
    ack.taken();
    rig.modem.replug();
    rig.up().await;
    rig.stopped().await;
}
