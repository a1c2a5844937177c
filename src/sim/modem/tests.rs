//! The simulated modem under a simple client: in memory under paused time, and on a real pty.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::OpenOptionsExt;

use tokio::io::AsyncWrite;

use super::*;
use crate::domain::time::Timestamp;
use crate::pdu::tpdu::hex_of_octets;

mod inbox;
mod network;
mod terminal;

const DEADLINE: Duration = Duration::from_secs(600);
/// `Relais` to +33612345678, with TP-SRR.
const SUBMIT: &str = "0031000B913316325476F80000A806D2323B9C9E03";
const LENGTH: usize = 20;

/// A client that writes commands and reads until something comes.
struct Client<S> {
    stream: S,
    seen: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `end` has come, and says everything up to there.
    async fn until(&mut self, end: &str) -> String {
        let reading = async {
            loop {
                if let Some(at) = self.seen.find(end) {
                    let rest = self.seen.split_off(at + end.len());
                    return std::mem::replace(&mut self.seen, rest);
                }
                let mut octets = [0; 512];
                let count = self.stream.read(&mut octets).await.unwrap();
                assert!(count > 0, "it ended after {:?}", self.seen);
                self.seen
                    .push_str(&String::from_utf8_lossy(&octets[..count]));
            }
        };
        let read = tokio::time::timeout(DEADLINE, reading).await;
        read.unwrap_or_else(|_| panic!("no {end:?}"))
    }

    async fn ask(&mut self, command: &str, end: &str) -> String {
        self.write(&format!("{command}\r")).await;
        self.until(end).await
    }

    async fn ok(&mut self, command: &str) -> String {
        self.ask(command, "\r\nOK\r\n").await
    }

    /// The way to a prompt, with reports by `+CDS` and messages by `+CMTI`.
    async fn set_up(&mut self) {
        for command in ["ATE0", "AT+CMEE=1", "AT+CMGF=0", "AT+CNMI=2,1,0,1,0"] {
            self.ok(command).await;
        }
    }

    async fn send(&mut self, end: &str) -> String {
        self.ask(&format!("AT+CMGS={LENGTH}"), "> ").await;
        self.write(&format!("{SUBMIT}\u{1a}")).await;
        self.until(end).await
    }
}

fn modem(script: &str) -> ModemHandle {
    let script = toml::from_str(script).unwrap();
    let clock = Clock::starting_at(Timestamp(1_795_000_000_000));
    start(script, &clock, &Random::seeded(7))
}

fn open(modem: &ModemHandle) -> Client<DuplexStream> {
    Client {
        stream: modem.open().unwrap(),
        seen: String::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_taken_and_its_report_comes_back() {
    let modem = modem("");
    let mut client = open(&modem);
    client.set_up().await;
    assert_eq!(client.send("OK\r\n").await, "\r\n+CMGS: 0\r\n\r\nOK\r\n");
    let report = client.until("00\r\n").await;
    assert!(report.starts_with("\r\n+CDS: 25\r\n"), "{report}");
    modem.ledger(|ledger| {
        let entry = &ledger.submitted[0];
        assert_eq!(
            (entry.recipient.as_str(), entry.text.as_str()),
            ("+33612345678", "Relais")
        );
        assert!(entry.report);
        let json = entry.json();
        assert_eq!(
            (&json["to"], &json["text"], &json["pdu"]),
            (&"+33612345678".into(), &"Relais".into(), &SUBMIT.into())
        );
        assert_eq!(
            (&json["fate"], &json["reference"]),
            (&"sent".into(), &0.into())
        );
        assert_eq!(ledger.submitted_after(1).count(), 0);
        assert_eq!(hex_of_octets(&entry.octets), SUBMIT);
        assert_eq!(
            (ledger.too_early, ledger.restless, ledger.overlapping),
            (0, 0, 0)
        );
    });
    modem.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn commands_are_repeated_until_that_is_switched_off_and_again_after_a_reset() {
    let modem = modem("");
    let mut client = open(&modem);
    assert_eq!(
        client.ok("AT").await.lines().next(),
        Some(""),
        "what it says at its start"
    );
    assert!(
        client
            .ok("AT+CSQ")
            .await
            .starts_with("AT+CSQ\r\r\n+CSQ: 18,99\r\n")
    );
    client.ok("ATE0").await;
    assert_eq!(client.ok("AT").await, "\r\nOK\r\n");
    modem.reset();
    client.until("PB DONE\r\n").await;
    assert_eq!(client.ok("AT").await, "AT\r\r\nOK\r\n");
}

#[tokio::test(start_paused = true)]
async fn each_family_has_its_word_for_what_it_does_not_know() {
    for (family, word) in [
        ("huawei", "COMMAND NOT SUPPORT"),
        ("simcom", "ERROR"),
        ("quectel", "ERROR"),
    ] {
        let modem = modem(&format!("personality = \"{family}\""));
        let mut client = open(&modem);
        client.ok("ATE0").await;
        let answer = client.ask("AT+MODE=2", &format!("{word}\r\n")).await;
        assert!(!answer.contains("OK"), "{family}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn chatter_stands_before_in_and_behind_answers() {
    let modem = modem("[chatter]\nboot = []\nin_answers_every = 1\nlines = [\"^X:1\"]");
    let mut client = open(&modem);
    client.ok("ATE0").await;
    // The first answer has it in its middle, before the OK.
    let behind = client.ask("AT+CSQ", "^X:1\r\n").await;
    assert_eq!(behind, "\r\n+CSQ: 18,99\r\n\r\nOK\r\n\r\n^X:1\r\n");
    assert_eq!(
        client.ok("AT+CSQ").await,
        "\r\n^X:1\r\n\r\n+CSQ: 18,99\r\n\r\nOK\r\n"
    );
    assert_eq!(
        client.ok("AT+CSQ").await,
        "\r\n+CSQ: 18,99\r\n\r\n^X:1\r\n\r\nOK\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn only_offered_cnmi_values_are_taken_and_a_refused_mode_is_not() {
    let modem = modem("personality = \"siemens\"\nrest_ms = 0\ncnmi_refused_modes = [2]");
    let mut client = open(&modem);
    client.ok("ATE0").await;
    client.ok("AT+CMEE=1").await;
    let offered = client.ok("AT+CNMI=?").await;
    assert!(
        offered.contains("+CNMI: (0-3),(0-3),(0,2,3),(0-2),(1)"),
        "{offered}"
    );
    client.ask("AT+CNMI=1,1,0,1,0", "+CMS ERROR: 303").await;
    client.ask("AT+CNMI=2,1,0,1,1", "+CMS ERROR: 303").await;
    client.ok("AT+CNMI=1,1,0,1,1").await;
    assert!(client.ok("AT+CNMI?").await.contains("+CNMI: 1,1,0,1,1"));
}

#[tokio::test(start_paused = true)]
async fn a_locked_sim_counts_wrong_pins_and_is_busy_after_the_right_one() {
    let modem = modem("pin = \"1234\"\nsim_busy_ms = 5000\nregister_after_ms = 10000");
    let mut client = open(&modem);
    client.ok("ATE0").await;
    client.ok("AT+CMEE=1").await;
    assert!(client.ok("AT+CPIN?").await.contains("+CPIN: SIM PIN"));
    client.ask("AT+CMGF=0", "+CME ERROR: 11").await;
    client.ask("AT+CPIN=\"0000\"", "+CME ERROR: 16").await;
    client.ok("AT+CPIN=\"1234\"").await;
    client.ask("AT+CMGF=0", "+CME ERROR: 14").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    client.ok("AT+CMGF=0").await;
    assert!(client.ok("AT+CREG?").await.contains("+CREG: 0,2"));
    client.ask("AT+CMGS=20", "+CMS ERROR: 331").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(client.ok("AT+CREG?").await.contains("+CREG: 0,1"));
    assert!(modem.ledger(|ledger| !format!("{:?}", ledger.commands).contains("1234")));
}

#[tokio::test(start_paused = true)]
async fn three_wrong_pins_end_in_the_puk() {
    let modem = modem("pin = \"1234\"");
    let mut client = open(&modem);
    client.ok("AT+CMEE=1").await;
    for _ in 0..3 {
        client.ask("AT+CPIN=9999", "+CME ERROR: 16").await;
    }
    client.ask("AT+CPIN=1234", "+CME ERROR: 12").await;
    assert!(client.ok("AT+CPIN?").await.contains("+CPIN: SIM PUK"));
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_the_prompt_or_in_the_rest_is_lost_and_counted() {
    let modem = modem("prompt_ms = 500\nlatency_ms = 10\nrest_ms = 100");
    let mut client = open(&modem);
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.ok("ATE0").await;
    // At once: the modem rests still.
    client.write("AT+CMEE=1\r").await;
    modem.wait_for(|ledger| ledger.restless == 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.write("AT+CMGS=20\r0031").await;
    client.until("> ").await;
    client.write(&format!("{SUBMIT}\u{1a}")).await;
    client.until("+CMGS: 0\r\n").await;
    assert_eq!(modem.ledger(|ledger| ledger.too_early), 4);
}

#[tokio::test(start_paused = true)]
async fn a_length_that_does_not_fit_is_an_invalid_pdu_and_escape_gives_up() {
    let modem = modem("");
    let mut client = open(&modem);
    client.set_up().await;
    client.ask("AT+CMGS=21", "> ").await;
    client.write(&format!("{SUBMIT}\u{1a}")).await;
    client.until("+CMS ERROR: 304\r\n").await;
    client.ask("AT+CMGS=20", "> ").await;
    client.write("0031\u{1b}").await;
    client.until("OK\r\n").await;
    client.send("+CMGS: 0\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_ussd_code_is_answered_after_its_ok_and_packed_on_a_huawei() {
    let modem = modem("personality = \"huawei\"\n[ussd]\n\"#123#\" = \"Solde\"");
    let mut client = open(&modem);
    client.ok("AT+CUSD=1,\"A3986C3602\",15").await;
    client.until("+CUSD: 0,\"D3379B5C06\",15\r\n").await;
    client.ok("AT^USSDMODE=0").await;
    client.ok("AT+CUSD=1,\"#123#\",15").await;
    client.until("+CUSD: 0,\"Solde\",15\r\n").await;
    client.ok("AT+CUSD=1,\"*9#\",15").await;
    client.until("+CUSD: 4\r\n").await;
}
