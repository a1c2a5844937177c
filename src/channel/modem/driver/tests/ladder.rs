//! How a modem that fell silent, restarted or went away is brought back.

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::super::scripted::{Scripted, says};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_short_silence_costs_no_more_than_a_new_step() {
    let mut rig = Rig::new(ModemScript::default());
    rig.up().await;
    tokio::time::sleep(Duration::from_secs(58)).await;
    rig.modem.hang(Some(Duration::from_secs(8)));
    rig.word_when(|word| word.recoveries.resynchronised > 0)
        .await;
    assert_eq!(rig.send(request(1)).await, accepted(0));
    let recoveries = rig.word().recoveries;
    assert_eq!(
        recoveries,
        crate::channel::modem::word::Recoveries {
            resynchronised: 1,
            ..Default::default()
        }
    );
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_deaf_modem_climbs_the_ladder_up_to_its_power() {
    let mut rig = Rig::with(ModemScript::default(), |config| {
        config.power_command = vec!["true".to_owned()];
    });
    rig.up().await;
    rig.modem.hang(None);
    let word = rig.word_when(|word| word.recoveries.power == 1).await;
    assert_eq!(word.recoveries.resynchronised, 1);
    assert_eq!(word.recoveries.set_up, 1);
    assert_eq!(word.recoveries.restarted, 1);
    assert!(word.recoveries.reopened >= 3, "{word:?}");
    let since = rig.clock.elapsed();
    rig.word_when(|word| word.recoveries.power == 2).await;
    assert!(rig.clock.elapsed() - since >= Duration::from_mins(4));
    // As a power cut would.
    rig.modem.unplug();
    rig.modem.replug();
    assert_eq!(rig.insist(request(1)).await, accepted(0));
    assert_eq!((rig.submitted(), rig.sent()), (1, 1));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_modem_is_dropped_at_once_and_found_again() {
    let mut rig = Rig::new(ModemScript::default());
    for n in 0..3 {
        assert_eq!(rig.send(request(n)).await, accepted(n));
        let since = rig.clock.elapsed();
        rig.modem.unplug();
        rig.down("port").await;
        assert!(rig.clock.elapsed() - since < Duration::from_secs(1));
        rig.down("no such device: /dev/serial/by-id/stick; is the modem plugged in?")
            .await;
        tokio::time::sleep(Duration::from_mins(10)).await;
        rig.modem.replug();
        let since = rig.clock.elapsed();
        rig.up().await;
        assert!(rig.clock.elapsed() - since < Duration::from_secs(40));
    }
    assert_eq!(rig.word().recoveries.reopened, 3);
    assert_eq!(rig.sent(), 3);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_restarts_ends_in_a_modem_that_is_set_up() {
    let script = ModemScript {
        personality: crate::sim::modem::Personality::Simcom,
        ..ModemScript::default()
    };
    let mut rig = Rig::new(script);
    rig.up().await;
    for n in 0..12_u64 {
        rig.modem.reset();
        tokio::time::sleep(Duration::from_millis(37 * n)).await;
    }
    let before = rig.told("AT+CNMI=2");
    rig.modem.reset();
    assert_eq!(rig.insist(request(1)).await, accepted(0));
    assert!(rig.told("AT+CNMI=2") > before);
    assert_eq!((rig.submitted(), rig.sent()), (1, 1));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_only_the_echo_betrays_is_seen() {
    let mut script = ModemScript::default();
    script.chatter.boot = Some(Vec::new());
    let mut rig = Rig::new(script);
    rig.up().await;
    let before = rig.told("AT+CNMI=2");
    rig.modem.reset();
    rig.word_when(|word| word.recoveries.set_up == 1).await;
    assert_eq!(rig.insist(request(1)).await, accepted(0));
    assert_eq!(rig.told("AT+CNMI=2"), before + 1);
    rig.stopped().await;
}

/// A port that never opens.
#[derive(Default)]
struct Nothing(AtomicU32);

#[async_trait]
impl Opener for Nothing {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_never_opens_is_tried_for_ever_with_patience() {
    let clock = Clock::starting_at(START);
    let modem = modem::start(ModemScript::default(), &clock, &Random::seeded(3));
    let opener = Arc::new(Nothing::default());
    let mut rig = Rig::on(opener.clone(), modem, clock, |config| {
        config.power_command = vec!["/nowhere/power".to_owned()];
    });
    rig.down("is the user in the group dialout?").await;
    rig.handle.requests.try_send(request(1)).unwrap();
    assert!(matches!(rig.next().await, ChannelEvent::Returned { .. }));
    tokio::time::sleep(Duration::from_hours(1)).await;
    let tries = opener.0.load(Ordering::Relaxed);
    assert!((120..400).contains(&tries), "{tries}");
    let power = rig.word().recoveries.power;
    assert!((2..=12).contains(&power), "{power}");
    assert_eq!(rig.word().recoveries.reopened, 0);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_does_not_wait_for_the_next_try() {
    let mut rig = Rig::new(ModemScript::default());
    rig.up().await;
    rig.modem.unplug();
    rig.down("no such device").await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    rig.modem.replug();
    rig.handle.reset.send_replace(());
    let since = rig.clock.elapsed();
    rig.up().await;
    assert!(rig.clock.elapsed() - since < Duration::from_secs(5));
    // And of one that is up: what is under way is finished first.
    rig.modem
        .change_script(|script| script.send_ms = Some(5_000));
    rig.ask(request(1)).await;
    rig.modem
        .wait_for(|ledger| ledger.submitted.len() == 1)
        .await;
    rig.handle.reset.send_replace(());
    assert_eq!(rig.outcome().await, accepted(0));
    rig.word_when(|word| word.recoveries.reopened == 2).await;
    rig.up().await;
    rig.stopped().await;
}

#[tokio::test]
async fn the_power_command_gets_the_device_and_no_shell() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("$(odd) name");
    let mut config = ModemConfig::new("stick", &device);
    config.power_command = vec!["touch".to_owned(), "--".to_owned()];
    power(ChannelId::from("stick"), Arc::new(config), true).await;
    assert!(device.exists());
}

/// A modem that knows every command and never asks for a PDU.
struct Promptless;

#[async_trait]
impl Opener for Promptless {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(Scripted::new(|line| match line {
            "\x1b" => Vec::new(),
            "AT+CREG?" => says("\r\n+CREG: 1,1\r\n\r\nOK\r\n"),
            _ => says("\r\nOK\r\n"),
        })))
    }
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_never_asks_for_the_message_does_not_spin() {
    let clock = Clock::starting_at(START);
    let modem = modem::start(ModemScript::default(), &clock, &Random::seeded(3));
    let mut rig = Rig::on(Arc::new(Promptless), modem, clock, |_| {});
    let mut returned = 0;
    while rig.clock.elapsed() < Duration::from_mins(10) {
        rig.ask(request(1)).await;
        assert!(matches!(rig.next().await, ChannelEvent::Returned { .. }));
        returned += 1;
    }
    assert!(returned < 200, "{returned}");
    let recoveries = rig.word().recoveries;
    assert!(recoveries.resynchronised > 0 && recoveries.set_up > 0);
    assert!(recoveries.restarted > 0 && recoveries.reopened > 0);
    rig.stopped().await;
}
