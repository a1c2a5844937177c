//! PIN, registration and balance.

use super::super::super::scripted::{Reply, Scripted, says};
use super::*;
use crate::sim::modem::Registration as Network;

fn locked() -> ModemScript {
    ModemScript {
        pin: Some("4711".to_owned()),
        sim_busy_ms: 5_000,
        ..ModemScript::default()
    }
}

#[tokio::test(start_paused = true)]
async fn the_right_pin_is_entered_and_leaves_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stick.pin");
    let mut rig = Rig::with(locked(), |config| {
        config.pin = Some("4711".into());
        config.pin_memory = Some(file.clone());
    });
    assert_eq!(rig.send(request(1)).await, accepted(0));
    assert!(!file.exists());
    assert_eq!(rig.told("AT+CPIN="), 1);
    rig.modem.reset();
    rig.word_when(|word| word.recoveries.set_up == 1).await;
    assert_eq!(rig.insist(request(2)).await, accepted(1));
    assert_eq!(rig.told("AT+CPIN="), 2);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_pin_is_tried_once_in_its_life_and_another_one_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stick.pin");
    let with = |pin: &'static str| {
        let file = file.clone();
        move |config: &mut ModemConfig| {
            config.pin = Some(pin.into());
            config.pin_memory = Some(file);
        }
    };
    let mut rig = Rig::with(locked(), with("0000"));
    rig.down("the SIM has refused the PIN; it is not tried again")
        .await;
    tokio::time::sleep(Duration::from_hours(3)).await;
    rig.handle.reset.send_replace(());
    tokio::time::sleep(Duration::from_hours(3)).await;
    rig.modem.reset();
    tokio::time::sleep(Duration::from_hours(3)).await;
    assert_eq!(rig.told("AT+CPIN="), 1);
    assert!(!format!("{:?} {:?}", rig.status(), rig.word()).contains("0000"));
    let (modem, clock) = (rig.modem.clone(), rig.clock.clone());
    rig.stopped().await;

    // A new process with the same modem, and then with another PIN.
    let opener = || Arc::new(Socket(modem.clone()));
    let mut rig = Rig::on(opener(), modem.clone(), clock.clone(), with("0000"));
    rig.down("refused the PIN").await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(rig.told("AT+CPIN="), 1);
    rig.stopped().await;
    let mut rig = Rig::on(opener(), modem.clone(), clock, with("4711"));
    assert_eq!(rig.send(request(1)).await, accepted(0));
    assert_eq!(rig.told("AT+CPIN="), 2);
    assert!(!file.exists());
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_pin_is_said_and_one_entered_by_hand_is_noticed() {
    let mut rig = Rig::new(locked());
    rig.down("the SIM wants its PIN and none is configured")
        .await;
    rig.handle.requests.try_send(request(1)).unwrap();
    assert!(matches!(rig.next().await, ChannelEvent::Returned { .. }));
    rig.modem.change_script(|script| script.pin = None);
    rig.modem.reset();
    assert_eq!(rig.insist(request(1)).await, accepted(0));
    rig.stopped().await;
}

/// A modem that says so of its SIM, and `OK` to everything else.
struct Stubborn(&'static str, Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Opener for Stubborn {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let (sim, told) = (self.0, self.1.clone());
        Ok(Box::new(Scripted::new(move |line| -> Vec<Reply> {
            told.lock().unwrap().push(line.to_owned());
            match line {
                "\x1b" => Vec::new(),
                "AT+CPIN?" => says(sim),
                "AT+CPINR" => says("\r\n+CPINR: SIM PIN,1,3\r\n\r\nOK\r\n"),
                _ => says("\r\nOK\r\n"),
            }
        })))
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_try_of_the_pin_belongs_to_a_person() {
    for (sim, cause) in [
        ("\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n", "one try left"),
        ("\r\n+CPIN: SIM PUK\r\n\r\nOK\r\n", "it wants SIM PUK"),
        ("\r\n+CME ERROR: 10\r\n", "no usable SIM"),
    ] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let clock = Clock::starting_at(START);
        let modem = modem::start(ModemScript::default(), &clock, &Random::seeded(3));
        let opener = Arc::new(Stubborn(sim, told.clone()));
        let mut rig = Rig::on(opener, modem, clock, |config| {
            config.pin = Some("4711".into());
        });
        rig.down(cause).await;
        tokio::time::sleep(Duration::from_hours(1)).await;
        rig.down(cause).await;
        let told = told.lock().unwrap().clone();
        assert!(!told.iter().any(|line| line.starts_with("AT+CPIN=")));
        assert!(told.iter().filter(|line| *line == "AT+CPIN?").count() > 20);
        rig.stopped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn news_about_the_registration_count_at_once() {
    let mut rig = Rig::new(ModemScript::default());
    rig.up().await;
    rig.modem
        .change_script(|script| script.registration = Network::Denied);
    let since = rig.clock.elapsed();
    rig.modem.say("+CREG: 3");
    rig.down("not registered: denied").await;
    assert!(rig.clock.elapsed() - since < Duration::from_millis(100));
    tokio::time::sleep(Duration::from_mins(7)).await;
    rig.down("not registered: denied").await;
    assert_eq!(rig.word().registration, Some(Registration::Denied));
    rig.modem
        .change_script(|script| script.registration = Network::Roaming);
    let since = rig.clock.elapsed();
    rig.modem.say("+CREG: 5");
    rig.up().await;
    assert!(rig.clock.elapsed() - since < Duration::from_secs(1));
    rig.word_when(|word| word.registration == Some(Registration::Roaming))
        .await;
    // Without news the check finds out.
    rig.modem
        .change_script(|script| script.registration = Network::Searching);
    rig.down("searching").await;
    rig.modem
        .change_script(|script| script.registration = Network::Home);
    let since = rig.clock.elapsed();
    rig.up().await;
    assert!(rig.clock.elapsed() - since < Duration::from_secs(10));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_still_searches_is_down_until_it_has_found() {
    let script = ModemScript {
        register_after_ms: 40_000,
        ..ModemScript::default()
    };
    let mut rig = Rig::new(script);
    rig.down("not registered: searching").await;
    rig.up().await;
    assert!(rig.clock.elapsed() < Duration::from_secs(42));
    assert_eq!(rig.send(request(1)).await, accepted(0));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn the_balance_is_asked_for_now_and_then_and_its_failure_is_no_alarm() {
    let mut script = ModemScript::default();
    script
        .ussd
        .insert("*123#".to_owned(), "Solde: 4,20 EUR".to_owned());
    let mut rig = Rig::with(script, |config| {
        config.ussd_balance = Some("*123#".to_owned());
    });
    let word = rig.word_when(|word| word.balance.is_some()).await;
    assert_eq!(word.balance.unwrap().0, "Solde: 4,20 EUR");
    tokio::time::sleep(Duration::from_hours(13)).await;
    assert_eq!(rig.told("AT+CUSD=1"), 2);
    rig.modem.change_script(|script| script.ussd.clear());
    tokio::time::sleep(Duration::from_hours(25)).await;
    assert!(rig.status().is_up());
    assert_eq!(rig.send(request(1)).await, accepted(0));
    assert!(rig.told("AT+CUSD=1") > 4);
    rig.stopped().await;
}
