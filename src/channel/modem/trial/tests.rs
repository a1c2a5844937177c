#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::super::discovery::tests::Machine;
use super::super::port::Stream;
use super::super::scripted::{Scripted, says};
use super::*;
use crate::clock::Clock;

/// Opens a modem that answers by a table, and anything else with `ERROR`.
#[derive(Default)]
struct Answering {
    table: Vec<(&'static str, &'static str)>,
    /// It says nothing at all.
    silent: bool,
    written: Arc<Mutex<Vec<String>>>,
}

impl Answering {
    fn new(table: &[(&'static str, &'static str)]) -> Self {
        Self {
            table: table.to_vec(),
            ..Self::default()
        }
    }

    async fn asked(&self) -> Result<Heard, TrialError> {
        ask(&Machine::new().roots(), Path::new("/x"), self, WITHIN).await
    }
}

#[async_trait]
impl Opener for Answering {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let (table, silent) = (self.table.clone(), self.silent);
        let written = self.written.clone();
        Ok(Box::new(Scripted::new(move |line| {
            written.lock().unwrap().push(line.to_owned());
            let known = table.iter().find(|(command, _)| *command == line);
            match (known, line) {
                _ if silent => Vec::new(),
                (Some((_, answer)), _) => says(answer),
                (None, "\u{1b}") => Vec::new(),
                (None, "AT") => says("\r\nOK\r\n"),
                (None, _) => says("\r\nERROR\r\n"),
            }
        })))
    }
}

struct Refusing(io::ErrorKind);

#[async_trait]
impl Opener for Refusing {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        Err(self.0.into())
    }
}

const QUECTEL: [(&str, &str); 10] = [
    ("AT+CGMI", "\r\nQuectel\r\n\r\nOK\r\n"),
    (
        "AT+CGMM",
        "\r\nEC25\r\n\r\n+QIND: \"csq\",18,99\r\n\r\nOK\r\n",
    ),
    ("AT+CGSN", "\r\n490154203237518\r\n\r\nOK\r\n"),
    ("AT+CPIN?", "\r\n+CPIN: READY\r\n\r\nOK\r\n"),
    ("AT+CSQ", "\r\n+CSQ: 18,99\r\n\r\nOK\r\n"),
    ("AT+CEREG?", "\r\n+CEREG: 0,1\r\n\r\nOK\r\n"),
    ("AT+COPS?", "\r\n+COPS: 0,0,\"Orange F\",7\r\n\r\nOK\r\n"),
    (
        "AT+CPMS?",
        "\r\n+CPMS: \"ME\",5,255,\"ME\",5,255,\"ME\",5,255\r\n\r\nOK\r\n",
    ),
    ("AT+CSCA?", "\r\n+CSCA: \"+33689004000\",145\r\n\r\nOK\r\n"),
    (
        "AT+CNMI=?",
        "\r\n+CNMI: (0-2),(0-3),(0,2),(0-2),(0,1)\r\n\r\nOK\r\n",
    ),
];

#[tokio::test(start_paused = true)]
async fn a_modem_says_what_it_is_and_what_it_hears() {
    let heard = Answering::new(&QUECTEL).asked().await.unwrap();
    let usage = Usage {
        used: 5,
        total: 255,
    };
    let expected = Heard {
        maker: Some("Quectel".to_owned()),
        model: Some("EC25".to_owned()),
        imei: Some("490154203237518".to_owned()),
        sim: Sim::Ready,
        registration: Some(Registration::Home),
        operator: Some("Orange F".to_owned()),
        signal_dbm: Some(-77),
        storage: Some(("ME".to_owned(), usage)),
        service_centre: Some("+33689004000".to_owned()),
        reports: Some(Reports::Direct),
    };
    assert_eq!(heard, expected);
}

#[tokio::test(start_paused = true)]
async fn a_pin_is_asked_about_and_never_entered() {
    let mut table = vec![
        ("AT+CPIN?", "\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n"),
        ("AT+CPINR", "\r\n+CPINR: SIM PIN,2,3\r\n\r\nOK\r\n"),
    ];
    table.extend(QUECTEL);
    let modem = Answering::new(&table);
    let heard = modem.asked().await.unwrap();
    assert_eq!(heard.sim, Sim::WantsPin { tries: Some(2) });
    assert_eq!(heard.maker.as_deref(), Some("Quectel"), "all the same");
    let written = modem.written.lock().unwrap();
    assert!(
        !written.iter().any(|line| line.contains("CPIN=")),
        "{written:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_that_outlives_the_look() {
    let modem = Answering::new(&QUECTEL);
    modem.asked().await.unwrap();
    for line in modem.written.lock().unwrap().iter() {
        // Numbers for errors, and the long form of the operator's name.
        let harmless = ["AT+CMEE=1", "AT+COPS=3,0", "AT+CNMI=?"].contains(&line.as_str());
        assert!(harmless || !line.contains('='), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_port_is_given_up_in_time() {
    let modem = Answering {
        silent: true,
        ..Answering::default()
    };
    let clock = Clock::system();
    let answer = modem.asked().await;
    assert!(matches!(answer, Err(TrialError::Silent(_))), "{answer:?}");
    assert!(clock.elapsed() <= WITHIN + Duration::from_millis(1));
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

#[tokio::test(start_paused = true)]
async fn what_a_sim_refuses_with_is_what_is_the_matter_with_it() {
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
        let heard = Answering::new(&[("AT+CPIN?", answer)]).asked().await;
        let heard = heard.unwrap();
        assert_eq!(heard.sim, expected);
        assert_eq!((heard.maker, heard.registration), (None, None));
    }
}
