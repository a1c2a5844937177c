#![allow(clippy::unwrap_used, clippy::panic)]
use std::sync::{Arc, Mutex};

use super::super::scripted::{Scripted, says};
use super::*;

const OK: &str = "\r\nOK\r\n";

/// A modem that answers by a list, the first entry with the same command first; an entry may be used
/// once (`true`). What is not listed is an `ERROR`.
fn modem(answers: &[(&str, &str, bool)]) -> (At<Scripted>, Arc<Mutex<Vec<String>>>) {
    let mut answers: Vec<(String, String, bool)> = answers
        .iter()
        .map(|(command, answer, once)| ((*command).to_owned(), (*answer).to_owned(), *once))
        .collect();
    let modem = Scripted::new(move |line| {
        if line == "\u{1b}" {
            return Vec::new();
        }
        let Some(at) = answers.iter().position(|(command, ..)| command == line) else {
            return says(if line == "AT" { OK } else { "\r\nERROR\r\n" });
        };
        let answer = answers[at].1.clone();
        if answers[at].2 {
            answers.remove(at);
        }
        match answer.as_str() {
            "" => says(OK),
            error if error.contains("ERROR") => says(&format!("\r\n{error}\r\n")),
            line => says(&format!("\r\n{line}\r\n{OK}")),
        }
    });
    let written = modem.written.clone();
    (At::new(modem), written)
}

fn with_pin(pin: &str) -> Wishes {
    Wishes {
        pin: Some(pin.into()),
        ..Wishes::default()
    }
}

fn entered(written: &Mutex<Vec<String>>) -> usize {
    let written = written.lock().unwrap();
    written.iter().filter(|l| l.starts_with("AT+CPIN=")).count()
}

#[tokio::test(start_paused = true)]
async fn a_modem_is_set_up_by_asking_it() {
    let (mut at, _) = modem(&[
        ("ATE0", "", false),
        ("AT+CMEE=1", "", false),
        ("AT+CPIN?", "+CPIN: READY", false),
        // Not ready for SMS at first.
        ("AT+CMGF=0", "ERROR", true),
        ("AT+CMGF=0", "", false),
        ("AT+CGMI", "huawei", false),
        ("AT+CGMM", "E1752", false),
        ("AT+CGSN", "490154203237518", false),
        ("AT+CIMI", "208011234567890", false),
        ("AT^ICCID?", "^ICCID: 8933012345678901234F", false),
        (
            "AT+CPMS=?",
            "+CPMS: (\"ME\",\"SM\"),(\"ME\",\"SM\"),(\"ME\",\"SM\")",
            false,
        ),
        (
            "AT+CPMS=\"SM\",\"SM\",\"SM\"",
            "+CPMS: 18,20,18,20,18,20",
            false,
        ),
        ("AT+CNMI=?", "+CNMI: (0-2),(0-3),(0-2),(0-2),(0,1)", false),
        // It offers mode 2 and refuses it.
        ("AT+CNMI=1,1,0,1,0", "", false),
        ("AT+CNMI?", "+CNMI: 1,1,0,0,0", true),
        ("AT+CNMI=1,1,0,2,0", "", false),
        ("AT+CNMI?", "+CNMI: 1,1,0,2,0", false),
        ("AT+CSCA?", "+CSCA: \"\",129", false),
        ("AT+CSCA=\"+33609001390\",145", "", false),
        ("AT+CREG?", "+CREG: 0,5", false),
        ("AT+CSQ", "+CSQ: 17,99", false),
        ("AT+COPS?", "+COPS: 0,0,\"Orange F\"", false),
    ]);
    let wishes = Wishes {
        service_centre: Some("+33609001390".to_owned()),
        ..Wishes::default()
    };
    let ready = set_up(&mut at, &wishes).await.unwrap();
    assert_eq!(ready.maker.as_deref(), Some("huawei"));
    assert_eq!(ready.model.as_deref(), Some("E1752"));
    assert_eq!(ready.imei.as_deref(), Some("490154203237518"));
    assert_eq!(ready.imsi.as_deref(), Some("208011234567890"));
    assert_eq!(ready.iccid.as_deref(), Some("8933012345678901234"));
    assert_eq!(ready.service_centre.as_deref(), Some("+33609001390"));
    assert_eq!(ready.reports(), Reports::Stored);
    assert_eq!(ready.routing.unwrap().command(), "AT+CNMI=1,1,0,2,0");
    assert!(ready.usage.unwrap().is_nearly_full());
    assert_eq!(ready.operator.as_deref(), Some("Orange F"));
    assert_eq!(ready.signal, Some(-79));
    assert_eq!(ready.registration, Registration::Roaming);
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_only_sends_is_ready_all_the_same() {
    let (mut at, _) = modem(&[
        ("AT+CPIN?", "+CPIN: READY", false),
        ("AT+CMGF=0", "", false),
    ]);
    let ready = set_up(&mut at, &Wishes::default()).await.unwrap();
    assert_eq!((ready.routing, ready.reports()), (None, Reports::None));
    assert_eq!(ready.registration, Registration::Unknown);
    assert!(ready.notes.iter().any(|note| note.contains("only sends")));
}

#[tokio::test(start_paused = true)]
async fn the_pin_is_entered_once_and_then_waited_for() {
    let (mut at, written) = modem(&[
        ("AT+CPIN?", "+CPIN: SIM PIN", true),
        ("AT+CPINR", "+CPINR: SIM PIN,3,3", false),
        ("AT+CPIN=\"1111\"", "", false),
        ("AT+CPIN?", "+CME ERROR: 14", true),
        ("AT+CPIN?", "+CPIN: READY", false),
        ("AT+CFUN?", "+CFUN: 0", false),
        ("AT+CFUN=1", "", false),
        ("AT+CMGF=0", "", false),
    ]);
    set_up(&mut at, &with_pin("1111")).await.unwrap();
    assert_eq!(entered(&written), 1);
    assert!(written.lock().unwrap().iter().any(|l| l == "AT+CFUN=1"));
}

#[tokio::test(start_paused = true)]
async fn a_pin_that_could_lock_the_sim_is_not_entered() {
    let one_left = [
        ("AT+CPIN?", "+CPIN: SIM PIN", false),
        ("AT^CPIN?", "^CPIN: SIM PIN,1,10,1,10,3", false),
    ];
    let (mut at, written) = modem(&one_left);
    let error = set_up(&mut at, &with_pin("1111")).await.unwrap_err();
    assert!(matches!(error, SetupError::LastPinTry) && error.needs_a_person());
    assert_eq!(entered(&written), 0);

    let (mut at, written) = modem(&[("AT+CPIN?", "+CPIN: SIM PIN", false)]);
    let wishes = Wishes {
        pin_refused_before: true,
        ..with_pin("1111")
    };
    let error = set_up(&mut at, &wishes).await.unwrap_err();
    assert!(matches!(error, SetupError::PinRefused));
    assert_eq!(entered(&written), 0);

    let (mut at, _) = modem(&[("AT+CPIN?", "+CPIN: SIM PUK", false)]);
    let error = set_up(&mut at, &with_pin("1111")).await.unwrap_err();
    assert_eq!(error.to_string(), "the SIM is locked: it wants SIM PUK");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_pin_is_tried_once_and_never_shown() {
    let (mut at, written) = modem(&[
        ("AT+CPIN?", "+CPIN: SIM PIN", false),
        ("AT+CPIN=\"1234\"", "+CME ERROR: 16", false),
    ]);
    let error = set_up(&mut at, &with_pin("1234")).await.unwrap_err();
    assert!(matches!(error, SetupError::PinRefused));
    assert!(!error.to_string().contains("1234"));
    assert_eq!(entered(&written), 1);
}

#[tokio::test(start_paused = true)]
async fn no_sim_is_told_as_such() {
    let (mut at, _) = modem(&[("AT+CPIN?", "+CME ERROR: 10", false)]);
    let error = set_up(&mut at, &Wishes::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "no usable SIM: +CME ERROR 10 (no SIM)");
}

#[tokio::test(start_paused = true)]
async fn what_is_on_the_air_can_be_asked_again() {
    let (mut at, _) = modem(&[
        ("AT+CREG?", "+CREG: 0,2", false),
        ("AT+CEREG?", "+CEREG: 0,1", false),
        ("AT+CSQ", "+CSQ: 99,99", false),
    ]);
    let air = ask_air(&mut at).await.unwrap();
    assert_eq!(air.registration, Registration::Home);
    assert_eq!((air.signal, air.operator), (None, None));
}
