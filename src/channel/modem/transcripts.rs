//! Replays dialogues with real modems, as they stand in public tests, issues and manuals, and checks
//! that each is understood as listed, however the octets are cut into reads.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;
use std::time::Duration;

use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::answer::{self, Entry, PduHeader, Registration, Ussd};
use super::at::{At, AtError, Command, News, Outgoing, Submission};
use super::choice::{self, Memories, Reports, SimState};
use super::errors::Failure;
use super::scripted::{Reply, Scripted, says};
use super::sort::Expect;
use super::unsolicited::Unsolicited;

const DIALOGUES: &str = include_str!("../../../tests/data/at.json");

/// A command that stands for one that a publication left out.
const LEFT_OUT: &str = "AT+LEFTOUT";

/// One line to the modem, with all that comes before the next one.
#[derive(Clone, Debug)]
struct Turn {
    to: String,
    from: String,
}

/// What a client heard in a dialogue.
#[derive(Debug, Default)]
struct Heard {
    /// Command, its lines, and its failure.
    answers: Vec<(String, Vec<Entry>, Option<Failure>)>,
    reference: Option<u8>,
    news: Vec<(Entry, Unsolicited)>,
}

/// What the modem says before anything is asked, and the turns.
fn turns(dialogue: &Value) -> (String, Vec<Turn>) {
    let (mut first, mut turns) = (String::new(), Vec::<Turn>::new());
    for step in dialogue["dialog"].as_array().unwrap() {
        if let Some(to) = step["te"].as_str() {
            turns.push(Turn {
                to: to.trim_end_matches(['\r', '\u{1a}']).to_owned(),
                from: String::new(),
            });
            continue;
        }
        let from = step["ta"].as_str().unwrap();
        let prompted = turns
            .last()
            .is_some_and(|turn| turn.from.contains("\n>") && turn.to.starts_with("AT+CMGS"));
        if prompted {
            // The PDU was left out of the publication.
            turns.push(Turn {
                to: String::new(),
                from: from.to_owned(),
            });
        } else if let Some(turn) = turns.last_mut() {
            turn.from.push_str(from);
        } else if from.contains("OK\r") || Failure::parse(from.trim()).is_some() {
            turns.push(Turn {
                to: LEFT_OUT.to_owned(),
                from: from.to_owned(),
            });
        } else {
            first.push_str(from);
        }
    }
    (first, turns)
}

fn command(text: &str) -> Command {
    let named = Expect::Named;
    let expect = match text.trim_end_matches(|c| c != '=' && c != '?') {
        "AT+CPIN=" | "AT+CNMI=" | "AT+CSMP=" | "AT+CMGF=" => Expect::Nothing,
        _ if text.starts_with("AT+CREG") => Expect::Registration("+CREG"),
        _ if text.starts_with("AT+CGMI") => Expect::Words("+CGMI"),
        _ if text.starts_with("AT+CGMR") => Expect::Words("+CGMR"),
        _ => [
            "+CSQ", "+CPIN", "+CFUN", "+CSCA", "+CPMS", "+CNMI", "+CMGR", "+CMGL",
        ]
        .into_iter()
        .find(|name| text.starts_with(&format!("AT{name}")))
        .map_or(Expect::Nothing, named),
    };
    Command::new(text)
        .expecting(expect)
        .settling_after(Duration::from_secs(1))
}

fn octets(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

async fn replay(dialogue: &Value, cuts: &[usize]) -> Heard {
    let (first, turns) = turns(dialogue);
    let mut script: VecDeque<Turn> = turns.clone().into();
    let modem = Scripted::new(move |line| {
        let expected = script.front().map(|turn| turn.to.to_ascii_uppercase());
        let pdu = line.ends_with('\u{1a}');
        let line = line.trim_end_matches('\u{1a}').to_ascii_uppercase();
        match expected {
            Some(to) if to == line || (pdu && to.is_empty()) => {
                says(&script.pop_front().unwrap().from)
            }
            _ if line == "AT" => says("\r\nOK\r\n"),
            _ if line == "\u{1b}" => Vec::<Reply>::new(),
            other => panic!("{line} was written where {other:?} was due"),
        }
    });
    let mut at = At::new(modem.cut(cuts).saying_first(&first));
    at.resynchronise().await.unwrap();
    let mut heard = Heard::default();
    let mut turns = turns.into_iter();
    while let Some(turn) = turns.next() {
        if let Some(length) = turn.to.strip_prefix("AT+CMGS=") {
            let pdu = turns.next().unwrap().to;
            let tpdu = if pdu.is_empty() {
                vec![0; length.parse().unwrap()]
            } else {
                octets(&pdu[2..])
            };
            let pdu = Outgoing {
                service_centre: &[],
                tpdu: &tpdu,
            };
            match at.submit(pdu, Duration::from_secs(60)).await {
                Submission::Accepted { reference } => heard.reference = Some(reference),
                other => panic!("{other:?}"),
            }
            continue;
        }
        let (lines, failure) = match at.command(&command(&turn.to)).await {
            Ok(lines) => (lines, None),
            Err(AtError::Refused { failure, .. }) => (Vec::new(), Some(failure)),
            Err(error) => panic!("{}: {error}", turn.to),
        };
        heard.answers.push((turn.to, lines, failure));
    }
    // Whatever is still on its way.
    at.resynchronise().await.unwrap();
    while let Some(news) = at.take_news() {
        match news {
            News::Said(entry, meaning) => heard.news.push((entry, meaning)),
            other => panic!("{other:?}"),
        }
    }
    heard
}

impl Heard {
    /// The lines that answered the last command with this beginning.
    fn lines(&self, command: &str) -> Vec<&Entry> {
        let answers = self.answers.iter().rev();
        let mut of_it = answers.filter(|(text, ..)| text.starts_with(command));
        of_it
            .next()
            .map_or_else(Vec::new, |(_, lines, _)| lines.iter().collect())
    }

    fn line(&self, command: &str) -> Option<&Entry> {
        self.lines(command).first().copied()
    }

    fn finals(&self) -> Vec<String> {
        let all = self.answers.iter();
        all.map(|(_, _, failure)| match failure {
            None => "OK".to_owned(),
            Some(Failure::Cms(Some(n))) => format!("+CMS ERROR: {n}"),
            Some(Failure::Cme(Some(n))) => format!("+CME ERROR: {n}"),
            Some(other) => other.to_string(),
        })
        .collect()
    }

    fn pdus(&self) -> Vec<PduHeader> {
        let read = self.answers.iter().flat_map(|(_, lines, _)| lines);
        let read = read.filter(|entry| entry.name() == "+CMGR");
        let direct = self.news.iter().filter_map(|(_, said)| match said {
            Unsolicited::Report(header) | Unsolicited::Message(header) => Some(header.clone()),
            _ => None,
        });
        read.filter_map(answer::cmgr).chain(direct).collect()
    }

    fn ussd(&self) -> &Ussd {
        let answers = self.news.iter().rev();
        let mut answers = answers.filter_map(|(_, said)| match said {
            Unsolicited::Ussd(ussd) => Some(ussd),
            _ => None,
        });
        answers.next().unwrap()
    }

    fn registered(&self) -> Option<bool> {
        let asked = self.line("AT+CREG?").map(|entry| entry.line.as_str());
        let told = self
            .news
            .iter()
            .filter(|(entry, _)| entry.name() == "+CREG");
        let told = told.map(|(entry, _)| entry.line.as_str()).next_back();
        let (_, stat) = answer::registration(asked.or(told)?)?;
        Registration::from_stat(stat).is_registered()
    }
}

/// Enough of a status report (3GPP TS 23.040 §9.2.2.3) to know it again.
fn report(pdu: &str) -> (u8, u8, String) {
    let pdu = octets(pdu);
    let tpdu = &pdu[1 + usize::from(pdu[0])..];
    let digits = usize::from(tpdu[2]);
    let address = &tpdu[4..4 + digits.div_ceil(2)];
    let mut to = semi_octets(address);
    to.truncate(digits);
    if tpdu[3] & 0x70 == 0x10 {
        to.insert(0, '+');
    }
    (tpdu[1], tpdu[4 + address.len() + 14], to)
}

fn semi_octets(octets: &[u8]) -> String {
    let swapped = octets.iter().map(|o| format!("{:X}{:X}", o & 0x0F, o >> 4));
    swapped.collect()
}

fn check(dialogue: &Value, heard: &Heard) {
    let id = dialogue["id"].as_str().unwrap();
    for (key, expected) in dialogue["expect"].as_object().unwrap() {
        let got = match key.as_str() {
            "final" => match expected {
                Value::Array(_) => json!(heard.finals()),
                _ => json!(heard.finals().last()),
            },
            "final_is_error" => json!(heard.answers[0].2.is_some()),
            "code" => match heard.answers[0].2 {
                Some(Failure::Cms(code)) => json!(code),
                _ => panic!("{id}: {heard:?}"),
            },
            "info" => {
                let lines = heard.answers[0].1.iter();
                json!(lines.map(|entry| &entry.line).collect::<Vec<_>>())
            }
            "urcs" => json!(heard.news.iter().map(|(e, _)| &e.line).collect::<Vec<_>>()),
            "urc" => match &heard.news[0].1 {
                Unsolicited::MessageStored { memory, index } => {
                    json!(["CMTI", memory, index.map_or(-1, i32::from)])
                }
                Unsolicited::ReportStored { memory, index } => json!(["CDSI", memory, index]),
                other => panic!("{id}: {other:?}"),
            },
            "urc_stat" => json!(answer::registration(&heard.news[0].0.line).unwrap().1),
            "cnmi" => {
                let line = &heard.line("AT+CNMI=?").unwrap().line;
                json!(answer::ranges(answer::value(line)))
            }
            "cpms" => {
                let line = &heard.line("AT+CPMS=?").unwrap().line;
                json!(Memories::read(line).groups)
            }
            "creg" => {
                let line = heard.line("AT+CREG?");
                let read = line.map(|entry| answer::registration(&entry.line).unwrap());
                json!(read.map(|(n, stat)| [n.unwrap(), stat]))
            }
            "registered" => json!(heard.registered()),
            "mr" => json!(heard.reference),
            "report" => {
                let (mr, st, to) = report(&heard.pdus().last().unwrap().pdu);
                let mut got = json!({ "mr": mr, "st": st });
                if expected.get("to").is_some() {
                    got["to"] = json!(to);
                }
                got
            }
            "stat" => json!(heard.pdus()[0].stat),
            "length" => json!(heard.pdus()[0].length),
            "binary" => json!(octets(&heard.pdus()[0].pdu).len() > 100),
            "from_" => {
                let pdu = octets(&heard.pdus()[0].pdu);
                let tpdu = &pdu[1 + usize::from(pdu[0])..];
                let digits = usize::from(tpdu[1]);
                json!(semi_octets(&tpdu[3..])[..digits])
            }
            "messages" if expected.is_array() => {
                let lines = heard.lines("AT+CMGL").into_iter();
                let read = lines.map(|entry| answer::cmgl(entry).unwrap());
                json!(
                    read.map(|m| json!([m.index, m.stat, m.length]))
                        .collect::<Vec<_>>()
                )
            }
            "messages" => json!(heard.pdus().len()),
            "errors" => {
                let damaged = heard
                    .news
                    .iter()
                    .filter(|(_, n)| *n == Unsolicited::Damaged);
                json!(damaged.count())
            }
            // The text is for the reader of PDUs; here its octets must be whole.
            "text" => {
                assert!(heard.pdus()[0].pdu.ends_with("05C8329BFD06"), "{id}");
                continue;
            }
            "ussd" => json!(heard.ussd().text),
            "ended" => json!(heard.ussd().state == 0),
            "smsc" => {
                let line = heard.line("AT+CSCA?");
                json!(line.and_then(|entry| answer::service_centre(&entry.line)))
            }
            "cgmi" => json!(heard.line("AT+CGMI").unwrap().line),
            "pin" => {
                let state = SimState::read(&heard.line("AT+CPIN?").unwrap().line);
                json!((state == SimState::Ready).then_some("READY"))
            }
            "then" => {
                check_consequence(id, heard);
                continue;
            }
            other => panic!("{id}: what is {other}?"),
        };
        // The list has a digit too many here: the hex is 12 characters of UTF-16, `+97254120032`.
        let expected = match (id, key.as_str()) {
            ("t43", "smsc") => &json!("+97254120032"),
            _ => expected,
        };
        assert_eq!(&got, expected, "{id}: {key}");
    }
}

/// What a dialogue means beyond its words.
fn check_consequence(id: &str, heard: &Heard) {
    let reports = || {
        let line = heard.line("AT+CNMI=?").map(|entry| entry.line.as_str());
        choice::routings(line)[0]
    };
    match id {
        // The SIM is busy, which passes.
        "t03" => assert!(heard.answers.last().unwrap().2.unwrap().is_busy()),
        "t05" => assert_eq!(heard.finals().last().unwrap(), "OK"),
        "t09" => assert_eq!(reports().reports(), Reports::Stored),
        "t13" => assert_eq!((reports().reports(), reports().bfr), (Reports::None, 1)),
        "t42" => {
            let line = &heard.line("AT+CPMS=?").unwrap().line;
            assert_eq!(Memories::read(line).choices(), []);
        }
        // It says by itself when it has become ready.
        "t48" => {
            assert!(heard.news.iter().any(|(_, n)| *n == Unsolicited::Ready));
            assert_eq!(heard.finals(), ["ERROR", "OK"]);
        }
        // Shown by the other expectations of the same dialogue.
        "t02" | "t45" | "t49" => {}
        other => panic!("{other}: the consequence is not checked"),
    }
}

fn dialogues() -> Vec<Value> {
    let all: Value = serde_json::from_str(DIALOGUES).unwrap();
    all["transcripts"].as_array().unwrap().clone()
}

fn replay_all(cuts: &[usize]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    for dialogue in dialogues() {
        check(&dialogue, &runtime.block_on(replay(&dialogue, cuts)));
    }
}

#[test]
fn every_dialogue_is_understood() {
    assert_eq!(dialogues().len(), 55);
    replay_all(&[]);
}

#[test]
fn every_dialogue_is_understood_octet_by_octet() {
    replay_all(&[1]);
}

#[test]
fn every_dialogue_is_understood_however_it_is_cut() {
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let cuts = proptest::collection::vec(1_usize..40, 1..12);
    TestRunner::new(config)
        .run(&cuts, |cuts| {
            replay_all(&cuts);
            Ok(())
        })
        .unwrap();
}
