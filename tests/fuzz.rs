//! Fuzzing on stable Rust: seeded mutations of what real modems and networks wrote (`tests/data`), and
//! random octets, through the readers of PDUs and of AT lines.
//!
//! Nothing panics, nothing grows beyond its bound, and what is read, written and read again stays the
//! same. Each round has a seed of its own; the input of one that fails is printed in hex beside it.
//!
//! ```text
//! FUZZ_ROUNDS=1000000 cargo test --release --test fuzz    # longer
//! FUZZ_SEED=12345 FUZZ_ROUNDS=1 cargo test --test fuzz    # the round that was printed
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use relais::channel::modem::answer::{self, Entry};
use relais::channel::modem::at::{At, MAX_NEWS, Outgoing};
use relais::channel::modem::choice::{self, Memories, Routing, SimState};
use relais::channel::modem::errors::Failure;
use relais::channel::modem::line::{Lines, MAX_LINE, Token};
use relais::channel::modem::setup::{Wishes, ask_air, set_up};
use relais::channel::modem::sort::{Expect, Sorted, Sorter};
use relais::channel::modem::unsolicited::Unsolicited;
use relais::channel::modem::{balance, report};
use relais::domain::time::Timestamp;
use relais::pdu::dcs::Dcs;
use relais::pdu::tpdu::{Pdu, Tpdu, hex_of_octets, octets_of_hex};
use relais::pdu::udh;
use relais::pdu::user_data::UserData;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Rounds of a run in CI: seconds of a debug build.
const ROUNDS: u64 = 30_000;
/// A whole dialogue costs so many rounds of the others.
const DIALOGUE: u64 = 60;
const SEED: u64 = 20_261_122;
/// Longer inputs are cut: no read of a port gives more.
const LONGEST: usize = 8 * 1024;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn octets(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| self.octet()).collect()
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A place and one not before it.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(64) + 1)
    }

    /// One of the corpus with a few things changed, or, one time in sixteen, noise.
    fn input(&mut self, corpus: &[Vec<u8>], telling: &[&[u8]]) -> Vec<u8> {
        if self.below(16) == 0 {
            return self.octets(300);
        }
        let mut input = self.one_of(corpus).clone();
        for _ in 0..self.below(5) {
            self.mutate(&mut input, corpus, telling);
        }
        input.truncate(LONGEST);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>], telling: &[&[u8]]) {
        let at = self.below(input.len());
        match self.below(9) {
            0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            1 if !input.is_empty() => input[at] = self.octet(),
            // The bounds of lengths and types.
            2 if !input.is_empty() => input[at] = *self.one_of(&[0, 1, 0x7F, 0x80, 0xFE, 0xFF]),
            3 => input.insert(at, self.octet()),
            4 => drop(input.drain(self.range(input.len()))),
            5 => {
                let again = input[self.range(input.len())].to_vec();
                input.splice(at..at, again);
            }
            6 => {
                let other = self.one_of(corpus);
                let piece = other[self.range(other.len())].to_vec();
                input.splice(at..at, piece);
            }
            7 => input.truncate(at),
            _ => {
                let piece = self.one_of(telling).to_vec();
                input.splice(at..at, piece);
            }
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().unwrap())
}

/// Runs `check` on inputs of `make`, one a round. What fails is told with what it takes to see it again.
fn fuzz(rounds: u64, make: impl Fn(&mut Random) -> Vec<u8>, check: impl Fn(&[u8], &mut Random)) {
    let first = number("FUZZ_SEED", SEED);
    for round in 0..rounds.max(1) {
        let seed = first.wrapping_add(round);
        let mut random = Random(seed);
        let input = make(&mut random);
        let result = catch_unwind(AssertUnwindSafe(|| check(&input, &mut random)));
        if let Err(panic) = result {
            let input = hex_of_octets(&input);
            eprintln!("FUZZ_SEED={seed} FUZZ_ROUNDS=1 fails; its input is {input}");
            resume_unwind(panic);
        }
    }
}

fn rounds() -> u64 {
    number("FUZZ_ROUNDS", ROUNDS)
}

fn data(name: &str) -> Value {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The published PDUs, in octets as far as they are some.
fn pdus() -> Vec<Vec<u8>> {
    let all = data("pdu.json");
    let lines = all["vectors"].as_array().unwrap().iter();
    lines
        .filter_map(|vector| octets_of_hex(vector["pdu_hex"].as_str().unwrap()).ok())
        .collect()
}

/// What modems said in the published dialogues, a piece each.
fn sayings() -> Vec<Vec<u8>> {
    let all = data("at.json");
    let dialogues = all["transcripts"].as_array().unwrap().iter();
    let steps = dialogues.flat_map(|dialogue| dialogue["dialog"].as_array().unwrap());
    steps
        .filter_map(|step| step["ta"].as_str())
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

/// Headers and schemes that decide how what follows is read.
const OF_PDUS: [&[u8]; 6] = [
    &[5, 0, 3, 7, 2, 1],
    &[6, 8, 4, 0, 7, 2, 1],
    &[3, 0x24, 1, 1],
    &[3, 0x25, 1, 13],
    &[0xF9],
    &[0x0B, 0x91, 0x33],
];

const OF_LINES: [&[u8]; 14] = [
    b"\r\n",
    b"\r",
    b"\r\nOK\r\n",
    b"\r\nERROR\r\n",
    b"\r\n> ",
    b"+CMTI: \"SM\",-1\r\n",
    b"+CMT: ,24\r\n",
    b"+CDS: 25\r\n",
    b"+CMS ERROR: 65536\r\n",
    b"+CUSD: 0,\"",
    b"RDY\r\n",
    b"\0\x1a\x1b",
    b"\xC3\x28\xFF",
    b"9999999999999999999999,,,((((",
];

/// What can be asked of a PDU that was read.
fn look_at(pdu: &Pdu) {
    let shown = |data: &UserData| {
        let text = data.text();
        // No alphabet writes more than two characters a septet, of at most four octets each.
        assert!(text.is_none_or(|text| text.len() <= 160 * 8));
        let _ = (data.udh(), data.length(), data.alphabet());
    };
    match &pdu.tpdu {
        Tpdu::Deliver(deliver) => {
            let _ = (deliver.sent.moment(), deliver.originator.to_string());
            shown(&deliver.user_data);
        }
        Tpdu::Submit(submit) => {
            let _ = submit.validity.map(|validity| validity.period());
            shown(&submit.user_data);
        }
        Tpdu::StatusReport(found) => {
            let now = Timestamp(1_795_000_000_000);
            let _ = report::read(found, "208010123456789", Some("33"), now);
            let _ = report::receipt(found.status);
            found.optional.user_data.as_ref().map(shown);
        }
    }
}

#[test]
fn any_pdu_is_refused_or_survives_writing_and_reading() {
    let corpus = pdus();
    fuzz(
        rounds(),
        |random| random.input(&corpus, &OF_PDUS),
        |input, random| {
            let line = hex_of_octets(input);
            let read = Pdu::from_hex(&line);
            assert_eq!(read, Pdu::decode(input), "digits and octets say the same");
            match read {
                Ok(pdu) => {
                    look_at(&pdu);
                    let (written, length) = pdu.encode();
                    assert!(length <= written.len() && written.len() <= input.len() + 16);
                    let again = Pdu::decode(&written).expect("what was written is read");
                    // Fill bits and octets behind the end are gone now; the rest stays.
                    assert_eq!(again.encode().0, written);
                    assert_eq!(Pdu::decode(&again.encode().0), Ok(again));
                }
                Err(error) => assert!(error.offset <= input.len(), "{error}"),
            }
            let _ = Tpdu::decode(input);
            // Lines are text: whatever stands between the digits.
            let mut text = line.into_bytes();
            random.mutate(&mut text, &corpus, &OF_LINES);
            let _ = Pdu::from_hex(&String::from_utf8_lossy(&text));
        },
    );
}

#[test]
fn any_header_and_any_user_data_are_refused_or_survive() {
    let corpus = pdus();
    fuzz(
        rounds(),
        |random| random.input(&corpus, &OF_PDUS),
        |input, random| {
            if let Ok((header, rest)) = udh::parse(input) {
                assert!(rest.len() <= input.len());
                let _ = header.concat;
            }
            let dcs = Dcs(random.octet());
            let _ = (dcs.alphabet(), dcs.class(), dcs.waiting(), dcs.compressed());
            let (header, content) = input.split_at(random.below(input.len() + 1));
            if let Ok(data) = UserData::new(dcs, header, content.to_vec()) {
                assert!(data.content() == content && data.header() == header);
                assert!(data.length() <= 160);
                if let Some(text) = data.text()
                    && let Ok(again) = UserData::of_text(Dcs::UCS2, &[], &text)
                {
                    assert_eq!(again.text(), Some(text));
                }
            }
        },
    );
}

/// Whatever a line may be taken for.
fn read_as_everything(entry: &Entry) {
    let line = entry.line.as_str();
    let _ = (answer::name(line), answer::registration(line));
    let _ = (answer::cmgr(entry), answer::cmgl(entry));
    let _ = (answer::direct(entry), answer::stored(line));
    let _ = (answer::service_centre(line), answer::operator(line));
    let _ = (answer::signal(line), answer::message_reference(line));
    let _ = (answer::pin_tries(line), answer::ranges(line));
    let _ = (Routing::read(line), choice::routings(Some(line)));
    let _ = (Failure::parse(line), SimState::read(line));
    assert!(answer::fields(answer::value(line)).len() <= line.len() + 1);
    assert!(answer::groups(line).len() <= line.len() + 1);
    assert!(answer::usage(line).len() <= line.len() + 1);
    assert!(Memories::read(line).choices().len() <= 16);
    let _ = Unsolicited::read(entry);
    let text = answer::ussd(line).and_then(|ussd| balance::text(&ussd));
    assert!(text.is_none_or(|text| text.len() <= 8 * line.len()));
}

const EXPECTED: [Expect; 8] = [
    Expect::Nothing,
    Expect::Named("+CMGL"),
    Expect::Named("+CMGR"),
    Expect::Named("+CMGS"),
    Expect::Registration("+CREG"),
    Expect::Digits("+CGSN"),
    Expect::Words("+CGMI"),
    Expect::Named("+CUSD"),
];

#[test]
fn any_octets_of_a_line_are_sorted_however_they_are_cut() {
    let corpus = sayings();
    fuzz(
        rounds(),
        |random| random.input(&corpus, &OF_LINES),
        |input, random| {
            let (mut whole, mut tokens) = (Lines::default(), VecDeque::new());
            whole.push(input, &mut tokens);
            let (mut cut, mut others, mut rest) = (Lines::default(), VecDeque::new(), input);
            while !rest.is_empty() {
                let (read, left) = rest.split_at(1 + random.below(rest.len().min(40)));
                cut.push(read, &mut others);
                rest = left;
            }
            assert_eq!(tokens, others, "cuts do not count");
            assert!(tokens.len() <= 2 * input.len());
            let mut sorter = Sorter::default();
            sorter.set_echo_off(random.below(2) == 0);
            sorter.set_in_doubt(random.below(4) == 0);
            let mut sorted = 0;
            let given = tokens.len();
            for token in tokens {
                if let Token::Line(line) = &token {
                    // Latin-1 may take two octets a character.
                    assert!(!line.is_empty() && line.len() <= 2 * MAX_LINE);
                }
                match random.below(6) {
                    0 => sorter.begin("AT+CMGS=23", *random.one_of(&EXPECTED)),
                    1 => sorter.end(),
                    _ => {}
                }
                for one in sorter.sort(token) {
                    sorted += 1;
                    if let Sorted::Info(entry) | Sorted::Unsolicited(entry) = one {
                        read_as_everything(&entry);
                        let _ = entry.body.as_deref().map(Pdu::from_hex);
                    }
                }
            }
            assert!(sorted <= 2 * given, "{sorted} things in {given} tokens");
        },
    );
}

/// Answers each line that is written with something of the corpus, mutated, until it is closed.
async fn babble(mut stream: DuplexStream, corpus: &[Vec<u8>], mut random: Random) {
    let mut octets = [0; 512];
    while let Ok(count @ 1..) = stream.read(&mut octets).await {
        for _ in octets[..count].iter().filter(|octet| **octet == b'\r') {
            for _ in 0..random.below(3) {
                let said = random.input(corpus, &OF_LINES);
                if stream.write_all(&said).await.is_err() {
                    return;
                }
            }
            // Most commands end at last; the others cost their time-outs, which a paused clock gives.
            if random.below(8) != 0 && stream.write_all(b"\r\nOK\r\n").await.is_err() {
                return;
            }
        }
    }
}

#[test]
fn any_dialogue_ends() {
    let corpus = sayings();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    fuzz(
        rounds() / DIALOGUE,
        |random| random.octets(160),
        |input, random| {
            let babbler = Random(random.next());
            runtime.block_on(async {
                let (near, far) = tokio::io::duplex(64 * 1024);
                let dialogue = async {
                    let mut at = At::new(near);
                    let ready = set_up(&mut at, &Wishes::default()).await;
                    let _ = ask_air(&mut at).await;
                    let service_centre = &[0];
                    let outgoing = Outgoing {
                        service_centre,
                        tpdu: input,
                    };
                    let _ = at.submit(outgoing, Duration::from_mins(1)).await;
                    let _ = at.resynchronise().await;
                    let _ = balance::ask(&mut at, "*123#", Duration::from_mins(1)).await;
                    let news = std::iter::from_fn(|| at.take_news()).count();
                    assert!(news <= MAX_NEWS, "{news} things wait to be taken");
                    ready.is_ok()
                };
                let ended = async {
                    let within = Duration::from_hours(2);
                    let dialogue = tokio::time::timeout(within, dialogue).await;
                    dialogue.expect("a dialogue that does not end")
                };
                tokio::select! {
                    _ready = ended => {}
                    () = async { babble(far, &corpus, babbler).await; std::future::pending().await } => {}
                }
            });
        },
    );
}
