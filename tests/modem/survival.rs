//! What a modem, a SIM and a daemon go through in a year: restarts, PINs, late networks, full stores,
//! and a SIM that moves.

use relais::channel::ChannelStatus;
use relais::domain::message::{Message, Progress};
use relais::domain::status::Status;
use relais::sim::modem::{Fault, FaultKind, Ledger, ModemScript, Moment, Reports};
use secrecy::SecretString;

use crate::gateway::{Disk, NUMBER, Rack, attempt, commands, parts, report, seen, soon, until};

fn quick() -> ModemScript {
    ModemScript {
        latency_ms: Some(2),
        ..ModemScript::default()
    }
}

fn four_parts() -> String {
    (0..150).map(|n| format!("{n:03} ")).collect()
}

#[tokio::test]
async fn a_killed_gateway_resumes_at_the_first_unsent_part_with_the_same_reference_and_plan() {
    // Deaf when part 3 is to leave: it has not left, and nobody is told.
    let deaf = Fault {
        at_submit: Some(3),
        moment: Moment::Prompt,
        kind: FaultKind::Hang,
        ..Fault::default()
    };
    let script = ModemScript {
        faults: vec![deaf],
        ..quick()
    };
    let rack = Rack::one(script);
    let folder = tempfile::tempdir().unwrap();
    let gateway = rack.gateway_in(folder.path()).await;
    let id = gateway.send(NUMBER, &four_parts()).await;
    let two = |message: &Message| {
        let segments = message
            .attempts
            .iter()
            .flat_map(|attempt| &attempt.segments);
        segments
            .filter(|s| s.progress == Progress::Accepted)
            .count()
            == 2
    };
    let before = gateway.until(id, "half sent", two).await;
    let asked = |ledger: &Ledger| commands(ledger, "AT+CMGS=") == 3;
    seen(rack.first(), "part 3 being announced", asked).await;
    assert_eq!(before.parts(), 4);
    gateway.kill().await;
    rack.first().reset();
    let gateway = rack.gateway_in(folder.path()).await;
    let after = gateway.becomes(id, Status::Delivered).await;
    assert_eq!(after.concat_reference, before.concat_reference);
    assert_eq!(after.current_plan(), before.current_plan());
    rack.first().ledger(|ledger| {
        assert_eq!(parts(ledger), [1, 2, 3, 4]);
        let mut references: Vec<_> = ledger
            .sent()
            .map(|entry| entry.part.unwrap().reference)
            .collect();
        references.dedup();
        assert_eq!(references.len(), 1, "{references:?}");
        assert_eq!(ledger.texts()[NUMBER], [four_parts()]);
    });
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_report_that_comes_after_a_restart_finds_its_message() {
    let script = ModemScript {
        reports: Reports {
            sent: false,
            ..Reports::default()
        },
        ..quick()
    };
    let rack = Rack::one(script);
    let folder = tempfile::tempdir().unwrap();
    let gateway = rack.gateway_in(folder.path()).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(gateway.send(NUMBER, &format!("message {n}")).await);
    }
    gateway.all_become(&ids, Status::Sent).await;
    gateway.kill().await;
    let gateway = rack.gateway_in(folder.path()).await;
    gateway.up("a").await;
    let modem = rack.first();
    // The second one is the only one that failed, and its report is the first to come.
    let reports = modem.ledger(|ledger| {
        let report = |entry: &relais::sim::modem::SubmittedEntry| {
            let status = if entry.text == "message 1" {
                0x46
            } else {
                0x00
            };
            report(entry, status)
        };
        ledger.sent().map(report).collect::<Vec<_>>()
    });
    for octets in reports.iter().rev() {
        modem.inject_tpdu(octets, true);
    }
    for (n, id) in ids.into_iter().enumerate() {
        let expected = if n == 1 {
            Status::Expired
        } else {
            Status::Delivered
        };
        gateway.becomes(id, expected).await;
    }
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_report_finds_its_message_when_the_sim_has_moved_to_another_modem() {
    let silent = ModemScript {
        reports: Reports {
            sent: false,
            ..Reports::default()
        },
        ..quick()
    };
    let rack = Rack::new(vec![("a", silent.clone()), ("b", silent)]);
    let gateway = rack
        .gateway_with(
            rack.routed(vec![vec!["a".into()], vec!["b".into()]]),
            |_| {},
        )
        .await;
    gateway.all_up().await;
    let id = gateway.send(NUMBER, "Bonjour").await;
    let message = gateway.becomes(id, Status::Sent).await;
    assert_eq!(message.channel().unwrap().as_str(), "a");
    let sim = gateway.word("a").sim.unwrap();
    let other = gateway.word("b").sim.unwrap();
    assert_ne!(sim, other);
    let (a, b) = (rack.modem("a"), rack.modem("b"));
    a.unplug();
    b.unplug();
    a.change_script(|script| script.imsi.clone_from(&other));
    b.change_script(|script| script.imsi.clone_from(&sim));
    b.replug();
    until("the SIM is seen in its new modem", async || {
        gateway.word("b").sim.as_ref() == Some(&sim) && gateway.status("b").is_up()
    })
    .await;
    let octets = a.ledger(|ledger| report(ledger.sent().next().unwrap(), 0x00));
    b.inject_tpdu(&octets, true);
    gateway.becomes(id, Status::Delivered).await;
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn the_pin_is_entered_once_a_start() {
    let script = ModemScript {
        pin: Some("1234".to_owned()),
        sim_busy_ms: 300,
        ..quick()
    };
    let rack = Rack::one(script);
    let gateway = rack
        .gateway_with(rack.policy(), |config| {
            config.pin = Some(SecretString::from("1234"));
        })
        .await;
    let id = gateway.send(NUMBER, "Bonjour").await;
    gateway.becomes(id, Status::Delivered).await;
    let entered = |ledger: &Ledger| commands(ledger, "AT+CPIN=");
    assert_eq!(rack.first().ledger(entered), 1);
    rack.first().reset();
    let id = gateway.send(NUMBER, "Rebonjour").await;
    gateway.becomes(id, Status::Delivered).await;
    assert_eq!(rack.first().ledger(entered), 2);
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_wrong_pin_costs_one_try_however_often_everything_starts_again() {
    let script = ModemScript {
        pin: Some("1234".to_owned()),
        ..quick()
    };
    let rack = Rack::one(script);
    let memory = rack.folder.path().join("pin");
    let entered = |ledger: &Ledger| commands(ledger, "AT+CPIN=");
    for _ in 0..3 {
        let gateway = rack
            .gateway_with(rack.policy(), |config| {
                config.pin = Some(SecretString::from("0000"));
                config.pin_memory = Some(memory.clone());
            })
            .await;
        let mut status = gateway.channel("a").status.clone();
        let named = |status: &ChannelStatus| matches!(status, ChannelStatus::Down { cause } if cause.contains("PIN"));
        soon("the refusal of the PIN", status.wait_for(named))
            .await
            .unwrap();
        rack.first().reset();
        let before = rack.first().ledger(|ledger| commands(ledger, "AT+CPIN?"));
        let asked = |ledger: &Ledger| commands(ledger, "AT+CPIN?") > before;
        seen(rack.first(), "the state of the SIM being asked for", asked).await;
        gateway.stop().await;
    }
    assert_eq!(rack.first().ledger(entered), 1);
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_network_that_comes_late_is_waited_for() {
    let script = ModemScript {
        register_after_ms: 2_000,
        ..quick()
    };
    let rack = Rack::one(script);
    let gateway = rack.gateway().await;
    let id = gateway.send(NUMBER, "Bonjour").await;
    let mut status = gateway.channel("a").status.clone();
    let named = |status: &ChannelStatus| matches!(status, ChannelStatus::Down { cause } if cause.contains("registered"));
    soon("the want of a network", status.wait_for(named))
        .await
        .unwrap();
    let message = gateway.message(id).await;
    assert_eq!(gateway.engine.why(&message).unwrap().0, "no_channel");
    assert_eq!(message.tries, 0);
    gateway.becomes(id, Status::Delivered).await;
    let asked = |ledger: &Ledger| commands(ledger, "AT+CMGS=");
    assert_eq!(rack.first().ledger(asked), 1, "nothing was tried before");
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_full_store_is_an_alarm_until_it_is_emptied() {
    let script = ModemScript {
        occupied: 18,
        personality: relais::sim::modem::Personality::Huawei,
        ..quick()
    };
    let rack = Rack::one(script);
    let disk = Disk::default();
    let gateway = rack.gateway_on(&disk, |_| {}).await;
    disk.stick(true);
    until("the alarm", async || {
        let word = gateway.word("a");
        word.storage
            .is_some_and(|usage| usage.used * 10 >= usage.total * 8)
            && word.notes.iter().any(|note| note.contains("full"))
    })
    .await;
    disk.stick(false);
    until("the end of the alarm", async || {
        let word = gateway.word("a");
        word.storage.is_some_and(|usage| usage.used == 0)
            && !word.notes.iter().any(|note| note.contains("full"))
    })
    .await;
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn an_echo_that_comes_back_without_a_word_is_a_restart() {
    let script = ModemScript {
        chatter: relais::sim::modem::Chatter {
            boot: Some(Vec::new()),
            ..Default::default()
        },
        ..quick()
    };
    let rack = Rack::one(script);
    let gateway = rack.gateway().await;
    gateway.up("a").await;
    rack.first().reset();
    let id = gateway.send(NUMBER, "Bonjour").await;
    gateway.becomes(id, Status::Delivered).await;
    assert_eq!(rack.copies("Bonjour"), 1);
    let anew = |ledger: &Ledger| commands(ledger, "AT+CNMI=?") >= 2;
    seen(rack.first(), "a second set-up", anew).await;
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_message_in_flight_when_the_gateway_is_killed_is_marked_if_it_leaves_again() {
    let script = ModemScript {
        send_ms: Some(300),
        reports: Reports {
            sent: false,
            ..Reports::default()
        },
        ..quick()
    };
    let rack = Rack::one(script);
    let disk = Disk::default();
    let gateway = rack.gateway_on(&disk, |_| {}).await;
    let id = gateway.send(NUMBER, "Bonjour").await;
    seen(rack.first(), "the message", |ledger| ledger.sent_total == 1).await;
    gateway.kill().await;
    let gateway = rack.gateway_on(&disk, |_| {}).await;
    let message = gateway.becomes(id, Status::Sent).await;
    assert_eq!(attempt(&message).segments.len(), 1);
    assert!(message.maybe_duplicate || rack.copies("Bonjour") == 1);
    gateway.stop().await;
    rack.unplug_all().await;
}
