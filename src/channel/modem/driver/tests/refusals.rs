//! What a refusal does to the message and to the modem.

use super::*;

fn refusing(cms: u16, times: Option<u64>) -> ModemScript {
    ModemScript {
        rules: vec![Rule {
            cms: Some(cms),
            times,
            ..Rule::default()
        }],
        ..ModemScript::default()
    }
}

/// The kind of a refusal.
fn kind(outcome: &SegmentOutcome) -> &'static str {
    match outcome {
        SegmentOutcome::Rejected(Rejection::Permanent(_) | Rejection::NumberInvalid(_)) => "fail",
        SegmentOutcome::Rejected(Rejection::Temporary(_)) => "retry",
        SegmentOutcome::Rejected(Rejection::Throttled(_)) => "throttled",
        SegmentOutcome::Rejected(Rejection::Account(_)) => "account",
        SegmentOutcome::Accepted(reference) if reference.is_empty() => "sent",
        SegmentOutcome::Accepted(_) => "accepted",
        SegmentOutcome::Unknown(_) => "doubt",
        SegmentOutcome::RefusedLate(_) => "late",
        SegmentOutcome::Delivered => "delivered",
    }
}

#[tokio::test(start_paused = true)]
async fn every_class_of_error_has_its_outcome_and_the_modem_comes_back() {
    for (code, expected) in [
        (1, "fail"),
        (30, "fail"),
        (21, "retry"),
        (27, "retry"),
        (38, "retry"),
        (41, "retry"),
        (42, "retry"),
        (96, "retry"),
        (197, "sent"),
        (198, "retry"),
        (300, "retry"),
        (302, "retry"),
        (304, "retry"),
        (314, "account"),
        (322, "retry"),
        (330, "retry"),
        (331, "account"),
        (332, "doubt"),
        (500, "retry"),
        (512, "retry"),
        (777, "retry"),
    ] {
        let mut rig = Rig::new(refusing(code, Some(1)));
        assert_eq!(kind(&rig.send(request(1)).await), expected, "{code}");
        assert_eq!(rig.insist(request(2)).await, accepted(0), "{code}");
        assert_eq!((rig.submitted(), rig.sent()), (2, 1), "{code}");
        rig.stopped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_rest_is_shown_with_its_end_and_a_short_one_is_waited_out() {
    let mut rig = Rig::new(refusing(42, Some(1)));
    let _ = rig.send(request(1)).await;
    let cause = rig.cause();
    assert!(cause.starts_with("+CMS ERROR 42 (congestion); the modem rests until 20"));
    let since = rig.clock.elapsed();
    rig.handle.requests.try_send(request(2)).unwrap();
    assert!(matches!(rig.next().await, ChannelEvent::Returned { .. }));
    assert_eq!(rig.send(request(2)).await, accepted(0));
    assert!(rig.clock.elapsed() - since >= Duration::from_secs(10));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_sim_without_service_stops_the_modem_until_it_is_reset() {
    let mut rig = Rig::new(refusing(310, Some(1)));
    assert_eq!(kind(&rig.send(request(1)).await), "account");
    let cause = "stopped: +CMS ERROR 310 (no SIM); reset it when mended";
    assert_eq!(rig.cause(), cause);
    rig.handle.requests.try_send(request(2)).unwrap();
    assert!(matches!(rig.next().await, ChannelEvent::Returned { .. }));
    rig.silent_for(Duration::from_hours(1)).await;
    assert_eq!(rig.cause(), cause);
    rig.handle.reset.send_replace(());
    assert_eq!(rig.send(request(2)).await, accepted(0));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_sim_that_comes_back_mends_a_stopped_modem() {
    let mut rig = Rig::new(refusing(313, Some(2)));
    let _ = rig.send(request(1)).await;
    rig.modem.say("+CPIN: READY");
    let _ = rig.send(request(1)).await;
    rig.modem.unplug();
    rig.down("port").await;
    rig.modem.replug();
    assert_eq!(rig.insist(request(1)).await, accepted(0));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_transfer_refused_to_three_recipients_is_about_the_sim() {
    let mut rig = Rig::new(refusing(21, None));
    for n in 0..3 {
        let mut request = request(n);
        request.to = number(33_612_345_600 + u64::from(n));
        let expected = if n < 2 { "retry" } else { "account" };
        assert_eq!(kind(&rig.send(request).await), expected);
    }
    assert!(rig.cause().starts_with("stopped: +CMS ERROR 21"));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_unclear_is_tried_a_few_times_and_then_fails() {
    let mut rig = Rig::new(refusing(500, None));
    let mut kinds = Vec::new();
    for _ in 0..5 {
        kinds.push(kind(&rig.insist(request(1)).await));
    }
    assert_eq!(kinds, ["retry", "retry", "retry", "retry", "fail"]);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_lost_its_mode_is_set_up_again() {
    let mut rig = Rig::new(refusing(304, Some(1)));
    rig.up().await;
    let before = rig.told("AT+CMGF=0");
    let _ = rig.send(request(1)).await;
    assert_eq!(rig.insist(request(1)).await, accepted(0));
    assert_eq!(rig.told("AT+CMGF=0"), before + 1);
    assert_eq!(rig.word().recoveries.set_up, 1);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_centre_without_validity_gets_none() {
    let mut rig = Rig::new(refusing(199, Some(1)));
    let _ = rig.send(request(1)).await;
    assert_eq!(rig.insist(request(1)).await, accepted(0));
    rig.modem.ledger(|ledger| {
        // Behind the octet for the service centre: with TP-VP, and without.
        assert_eq!(ledger.submitted[0].octets[1], 0x31);
        assert_eq!(ledger.submitted[1].octets[1], 0x21);
    });
    let noted = |note: &String| note.contains("without TP-VP");
    assert!(rig.word().notes.iter().any(noted));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_forgot_its_service_centre_gets_it_in_every_pdu() {
    let mut rig = Rig::new(refusing(330, Some(1)));
    let _ = rig.send(request(1)).await;
    assert_eq!(rig.insist(request(1)).await, accepted(0));
    rig.modem.ledger(|ledger| {
        assert_eq!(ledger.submitted[0].octets[0], 0);
        assert_eq!(ledger.submitted[1].octets[..3], [7, 0x91, 0x33]);
    });
    let mut rig = Rig::new(refusing(330, None));
    let _ = rig.send(request(1)).await;
    let _ = rig.insist(request(1)).await;
    assert!(rig.cause().contains("set service_centre"));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_configured_service_centre_stands_over_that_of_the_sim() {
    let centre = "+33689004000".to_owned();
    let mut rig = Rig::with(ModemScript::default(), |config| {
        config.service_centre = Some(centre.clone());
    });
    assert_eq!(rig.send(request(1)).await, accepted(0));
    rig.modem.ledger(|ledger| {
        let octets = &ledger.submitted[0].octets;
        assert_eq!(octets[..8], [7, 0x91, 0x33, 0x86, 0x09, 0x40, 0x00, 0xF0]);
    });
    assert_eq!(rig.word().service_centre, Some(centre));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_store_is_swept_and_a_failing_modem_restarted() {
    let mut rig = Rig::new(refusing(322, Some(1)));
    rig.up().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let before = rig.told("AT+CMGL");
    let _ = rig.send(request(1)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(rig.told("AT+CMGL") > before);
    rig.stopped().await;

    let mut rig = Rig::new(refusing(300, Some(3)));
    for _ in 0..3 {
        assert_eq!(kind(&rig.insist(request(1)).await), "retry");
    }
    assert_eq!(rig.insist(request(1)).await, accepted(0));
    assert_eq!(rig.told("AT+CFUN=1,1"), 1);
    let recoveries = rig.word().recoveries;
    assert_eq!((recoveries.restarted, recoveries.reopened), (1, 1));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_no_pdu_holds_is_refused_without_the_modem() {
    let mut rig = Rig::new(ModemScript::default());
    let mut long = request(1);
    long.payload = Bytes::from(vec![0x61; 161]);
    assert_eq!(kind(&rig.send(long).await), "fail");
    assert_eq!(rig.submitted(), 0);
    assert_eq!(rig.told("AT+CMGS"), 0);
    rig.stopped().await;
}
