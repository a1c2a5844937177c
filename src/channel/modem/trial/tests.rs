#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_trait::async_trait;

use super::super::discovery::tests::Machine;
use super::super::port::{SerialOpener, Stream};
use super::super::scripted::{Scripted, says};
use super::*;
use crate::clock::{Clock, Random};
use crate::sim::modem::{self, ModemHandle, ModemScript, Personality};

/// Opens the simulated modem in memory.
struct InMemory(ModemHandle);

#[async_trait]
impl Opener for InMemory {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.0.open()?))
    }
}

struct Refusing(io::ErrorKind);

#[async_trait]
impl Opener for Refusing {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        Err(self.0.into())
    }
}

async fn heard(script: ModemScript) -> (Result<Heard, TrialError>, ModemHandle) {
    let modem = modem::start(script, &Clock::system(), &Random::seeded(1));
    let machine = Machine::new();
    let opener = InMemory(modem.clone());
    let answer = ask(&machine.roots(), Path::new("/nowhere"), &opener, WITHIN).await;
    (answer, modem)
}

#[tokio::test(start_paused = true)]
async fn a_modem_of_each_family_says_what_it_is() {
    use Personality::{Huawei, Quectel, Siemens, Simcom};
    for (personality, maker) in [
        (Huawei, "huawei"),
        (Simcom, "SIMCOM_Ltd"),
        (Quectel, "Quectel"),
        (Siemens, "SIEMENS"),
    ] {
        let script = ModemScript {
            personality,
            ..ModemScript::default()
        };
        let (answer, _modem) = heard(script).await;
        let heard = answer.unwrap();
        assert_eq!(heard.maker.as_deref(), Some(maker), "{personality:?}");
        assert_eq!(heard.imei.as_deref(), Some("490154203237518"));
        assert_eq!(heard.sim, Sim::Ready, "{personality:?}");
        assert_eq!(heard.registration, Some(Registration::Home));
        assert_eq!(heard.operator.as_deref(), Some("Simulated"));
        assert_eq!(heard.signal_dbm, Some(-77));
        assert_eq!(heard.service_centre.as_deref(), Some("+33600000001"));
        assert!(heard.storage.is_some() && heard.reports.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pin_is_asked_about_and_never_entered() {
    let script = ModemScript {
        pin: Some("1234".to_owned()),
        pin_tries: 2,
        ..ModemScript::default()
    };
    let (answer, modem) = heard(script).await;
    let heard = answer.unwrap();
    assert!(
        matches!(
            heard.sim,
            Sim::WantsPin {
                tries: Some(2) | None
            }
        ),
        "{heard:?}"
    );
    assert_eq!(heard.maker.as_deref(), Some("Quectel"), "all the same");
    let entered = modem.ledger(|ledger| {
        let commands = format!("{:?}", ledger.commands);
        commands.contains("CPIN=")
    });
    assert!(!entered);
}

#[tokio::test(start_paused = true)]
async fn a_silent_port_is_given_up_in_time() {
    let (answer, modem) = {
        let modem = modem::start(ModemScript::default(), &Clock::system(), &Random::seeded(1));
        modem.hang(None);
        let machine = Machine::new();
        let opener = InMemory(modem.clone());
        let from = tokio::time::Instant::now();
        let answer = ask(&machine.roots(), Path::new("/nowhere"), &opener, WITHIN).await;
        assert!(from.elapsed() <= WITHIN + Duration::from_millis(1));
        (answer, modem)
    };
    assert!(matches!(answer, Err(TrialError::Silent(_))), "{answer:?}");
    modem.shutdown().await;
}

#[tokio::test]
async fn why_a_port_does_not_open_is_told_apart() {
    use io::ErrorKind::{NotFound, PermissionDenied, ResourceBusy};
    let machine = Machine::new();
    let roots = machine.roots();
    let there = roots.dev.join("ttyUSB0");
    std::fs::write(&there, "").unwrap();
    let absent = roots.dev.join("ttyUSB1");
    let mut said = Vec::new();
    for (device, kind) in [
        (&absent, NotFound),
        (&there, NotFound),
        (&there, ResourceBusy),
        (&there, PermissionDenied),
    ] {
        let answer = ask(&roots, device, &Refusing(kind), WITHIN).await;
        said.push(answer.unwrap_err().to_string());
    }
    assert_eq!(
        said,
        [
            "no such device",
            "held by another program",
            "held by another program",
            "permission denied"
        ]
    );
    // Whoever has it open is named, and it is not opened a second time.
    machine.process(412, "ModemManager", &there);
    let answer = ask(&roots, &there, &Refusing(NotFound), WITHIN).await;
    assert_eq!(
        answer.unwrap_err().to_string(),
        "held by ModemManager (412)"
    );
}

#[tokio::test]
async fn a_terminal_that_is_taken_is_called_held_and_one_that_is_free_answers() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("modem");
    let script = ModemScript {
        link: link.clone(),
        ..ModemScript::default()
    };
    let modem = modem::serve(script, &Clock::system(), &Random::seeded(1)).unwrap();
    let opener = SerialOpener::new(&link, 115_200);
    let roots = Machine::new().roots();
    let first = opener.open().await.unwrap();
    let answer = ask(&roots, &link, &opener, WITHIN).await;
    assert!(matches!(answer, Err(TrialError::Held(_))), "{answer:?}");
    drop(first);
    let heard = ask(&roots, &link, &opener, Duration::from_secs(60)).await;
    assert_eq!(heard.unwrap().model.as_deref(), Some("EC25"));
    modem.shutdown().await;
}

struct Answering(&'static [(&'static str, &'static str)]);

#[async_trait]
impl Opener for Answering {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let table = self.0;
        Ok(Box::new(Scripted::new(move |line| {
            let known = table.iter().find(|(command, _)| *command == line);
            match (known, line) {
                (Some((_, answer)), _) => says(answer),
                (None, "\u{1b}") => Vec::new(),
                (None, "AT") => says("\r\nOK\r\n"),
                (None, _) => says("\r\nERROR\r\n"),
            }
        })))
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_sim_refuses_with_is_what_is_the_matter_with_it() {
    let roots = Machine::new().roots();
    for (answer, expected) in [
        ("\r\n+CME ERROR: 10\r\n", Sim::Missing),
        ("\r\n+CME ERROR: 11\r\n", Sim::WantsPin { tries: None }),
        ("\r\n+CME ERROR: 12\r\n", Sim::Locked("SIM PUK".to_owned())),
        (
            "\r\n+CME ERROR: 13\r\n",
            Sim::Faulty(Failure::Cme(Some(13))),
        ),
        ("\r\n+CME ERROR: 14\r\n", Sim::Busy),
        (
            "\r\n+CPIN: SIM PUK\r\n\r\nOK\r\n",
            Sim::Locked("SIM PUK".to_owned()),
        ),
        ("\r\nOK\r\n", Sim::Ready),
    ] {
        let table = Box::leak(Box::new([("AT+CPIN?", answer)]));
        let heard = ask(&roots, Path::new("/x"), &Answering(table), WITHIN).await;
        let heard = heard.unwrap();
        assert_eq!(heard.sim, expected);
        assert_eq!((heard.maker, heard.registration), (None, None));
    }
}
