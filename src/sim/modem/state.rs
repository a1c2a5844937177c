//! The modem itself, without a stream: octets in, octets out, each at its time.
//!
//! What is to be said lies in one queue by time; what is to happen lies in another. The stream's
//! task asks [`State::tick`] what is due, and when to ask again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::ledger::Ledger;
use super::memory::Store;
use super::network::Arrival;
use super::script::{Fault, FaultKind, Inbound, ModemScript, Moment};
use crate::clock::{Clock, Random};
use crate::domain::time::Timestamp;

/// Longer lines are no commands.
const LINE: usize = 1_024;
/// Between an answer and what goes wrong behind it: time for the answer to be read.
pub(super) const BEHIND: Duration = Duration::from_millis(50);

/// A point of time, as both clocks have it.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) elapsed: Duration,
    pub(super) at: Timestamp,
}

impl Now {
    pub(super) fn of(clock: &Clock) -> Self {
        Self {
            elapsed: clock.elapsed(),
            at: clock.now(),
        }
    }
}

/// Something that happens at its time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Arrives(Arrival),
    Composes(Box<(Inbound, u8)>),
    Says(String),
    Chatters,
    Registers,
    /// No `+CNMA` came for this acknowledgement.
    AckDue(u64),
    Faults(FaultKind, Option<Duration>),
    PlugsIn,
    /// Nothing, but time to look again.
    Wakes,
}

/// What is read next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Command,
    /// The octets of a message, from when the prompt is out.
    Message {
        length: usize,
        from: Duration,
    },
}

/// What a reset forgets.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) echo: bool,
    pub(super) verbose_errors: u8,
    pub(super) text_mode: bool,
    pub(super) service: u8,
    pub(super) cnmi: [u8; 5],
    /// Which memories are named first, second, third.
    pub(super) named: [String; 3],
    pub(super) creg: [u8; 3],
    pub(super) radio: u8,
    pub(super) packed_ussd: bool,
    pub(super) charset: String,
}

impl Settings {
    pub(super) fn fresh(script: &ModemScript, stores: &[Store]) -> Self {
        let named = script.profile().preferred.map(|wanted| {
            let has = stores.iter().find(|store| store.name == wanted);
            let store = has.or_else(|| stores.first());
            store.map(|store| store.name.clone()).unwrap_or_default()
        });
        let bfr = u8::from(script.cnmi().ends_with(",(1)"));
        Self {
            echo: script.echo,
            verbose_errors: 0,
            text_mode: script.message_format == 1,
            service: 0,
            cnmi: [0, 0, 0, 0, bfr],
            named,
            creg: [0; 3],
            radio: 1,
            packed_ussd: script.profile().packed_ussd,
            charset: "GSM".to_owned(),
        }
    }
}

/// What a script's "every n-th" and "so many times" are counted by.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) submits: u64,
    pub(super) reports: u64,
    pub(super) commands: u64,
    pub(super) chatter: usize,
    pub(super) refusals: HashMap<(usize, String), u64>,
}

pub(super) struct State {
    pub(super) script: Arc<ModemScript>,
    /// When the script was set.
    pub(super) since: Duration,
    pub(super) random: Random,
    pub(super) ledger: Ledger,
    pub(super) settings: Settings,
    pub(super) counts: Counts,
    pub(super) stores: Vec<Store>,
    /// The next TP-MR.
    pub(super) reference: u8,
    pub(super) smsc: String,
    pub(super) unlocked: bool,
    pub(super) pin_left: u8,
    pub(super) sim_busy_until: Duration,
    registers_at: Option<Duration>,
    pub(super) mode: Mode,
    line: Vec<u8>,
    /// What is to be said, by time and then by order.
    says: BTreeMap<(Duration, u64), Vec<u8>>,
    happens: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
    /// When the last answer is out.
    pub(super) answered_at: Duration,
    /// What the network could not hand over.
    pub(super) held: VecDeque<Arrival>,
    /// Acknowledgements (`+CNMA`) asked for, and whether the last one is still due.
    pub(super) acks: (u64, bool),
    pub(super) plugged: bool,
    /// Counts how often it was plugged in.
    pub(super) plugs: u64,
    /// Deaf until then.
    deaf_until: Option<Duration>,
    pub(super) inbound_reference: u8,
}

impl State {
    pub(super) fn new(script: ModemScript, random: &Random, now: Now) -> Self {
        let stores = Store::all(&script);
        let settings = Settings::fresh(&script, &stores);
        let mut state = Self {
            since: now.elapsed,
            random: random.clone(),
            ledger: Ledger::default(),
            settings,
            counts: Counts::default(),
            stores,
            reference: script.reference_start,
            smsc: script.smsc.clone(),
            unlocked: false,
            pin_left: script.pin_tries,
            sim_busy_until: Duration::ZERO,
            registers_at: None,
            mode: Mode::Command,
            line: Vec::new(),
            says: BTreeMap::new(),
            happens: BTreeMap::new(),
            sequence: 0,
            answered_at: Duration::ZERO,
            held: VecDeque::new(),
            acks: (0, false),
            plugged: false,
            plugs: 0,
            deaf_until: None,
            inbound_reference: 0,
            script: Arc::new(script),
        };
        state.fill(now);
        state.follow(now);
        state.plug_in(now);
        for message in &state.script.clone().inbound {
            state.queue(message, now);
        }
        state
    }

    /// Takes up what a new script has at certain times.
    pub(super) fn follow(&mut self, now: Now) {
        self.since = now.elapsed;
        self.counts = Counts::default();
        self.happens
            .retain(|_, event| !matches!(event, Event::Faults(..) | Event::Chatters));
        let script = self.script.clone();
        for fault in &script.faults {
            if let Some(after) = fault.after_ms.map(Duration::from_millis) {
                self.at(now.elapsed + after, fault.event());
            }
        }
        if script.chatter.every_ms > 0 {
            self.at(now.elapsed, Event::Chatters);
        }
    }

    pub(super) fn at(&mut self, due: Duration, event: Event) {
        self.sequence += 1;
        self.happens.insert((due, self.sequence), event);
    }

    fn say_at(&mut self, due: Duration, octets: Vec<u8>) {
        self.sequence += 1;
        self.says.insert((due, self.sequence), octets);
    }

    /// Says something that belongs to an answer: behind all that was answered before.
    pub(super) fn answer_at(&mut self, due: Duration, octets: impl Into<Vec<u8>>) {
        self.answered_at = self.answered_at.max(due);
        self.say_at(self.answered_at, octets.into());
    }

    /// An unsolicited line.
    pub(super) fn announce(&mut self, now: Now, line: &str) {
        let trailer = self.script.profile().trailer;
        self.say_at(now.elapsed, format!("\r\n{line}\r\n{trailer}").into_bytes());
    }

    /// The next line of chatter.
    pub(super) fn chatter(&mut self) -> Option<String> {
        self.counts.chatter += 1;
        let own = self.script.profile().chatter;
        let given = &self.script.chatter.lines;
        if given.is_empty() {
            let line = own.get(self.counts.chatter % own.len().max(1))?;
            return Some((*line).to_owned());
        }
        given.get(self.counts.chatter % given.len()).cloned()
    }

    /// Does what is due.
    pub(super) fn occur(&mut self, now: Now) {
        if self.deaf_until.is_some_and(|until| until <= now.elapsed) {
            self.deaf_until = None;
        }
        while let Some(entry) = self.happens.first_entry() {
            if entry.key().0 > now.elapsed {
                break;
            }
            let event = entry.remove();
            self.happen(event, now);
        }
    }

    /// Does what is due, and says what is due to be written and when there is more.
    pub(super) fn tick(&mut self, now: Now, out: &mut Vec<u8>) -> Option<Duration> {
        self.occur(now);
        while let Some(entry) = self.says.first_entry() {
            if entry.key().0 > now.elapsed {
                break;
            }
            let octets = entry.remove();
            if self.plugged && self.deaf_until.is_none() {
                out.extend(octets);
            }
        }
        self.ledger.held = self.held.len();
        let says = self.says.first_key_value().map(|(key, _)| key.0);
        let happens = self.happens.first_key_value().map(|(key, _)| key.0);
        says.into_iter().chain(happens).min()
    }

    fn happen(&mut self, event: Event, now: Now) {
        match event {
            Event::Arrives(arrival) => self.arrive(arrival, now),
            Event::Composes(message) => self.compose(&message.0, message.1, now),
            Event::Says(line) => self.announce(now, &line),
            Event::Chatters => {
                if let Some(line) = self.chatter()
                    && self.plugged
                {
                    self.announce(now, &line);
                }
                let every = Duration::from_millis(self.script.chatter.every_ms.max(1));
                self.at(now.elapsed + every, Event::Chatters);
            }
            Event::Registers => {
                if self.settings.creg.iter().any(|n| *n > 0) {
                    let stat = self.registration(now);
                    self.announce(now, &format!("+CREG: {stat}"));
                }
                self.hand_over_held(now);
            }
            Event::AckDue(number) => {
                // 3GPP TS 27.005 clause 3.4.4: without an acknowledgement routing stops.
                if self.acks == (number, true) {
                    self.acks.1 = false;
                    self.settings.cnmi[1] = 0;
                    self.settings.cnmi[3] = 0;
                }
            }
            Event::Faults(FaultKind::Hang, length) => {
                self.deaf_until = Some(length.map_or(Duration::MAX, |length| now.elapsed + length));
                self.mode = Mode::Command;
                self.line.clear();
                self.says.clear();
                if let Some(length) = length {
                    self.at(now.elapsed + length, Event::Wakes);
                }
            }
            Event::Faults(FaultKind::Unplug, length) => {
                self.pull_out();
                if let Some(length) = length {
                    self.at(now.elapsed + length, Event::PlugsIn);
                }
            }
            Event::Faults(FaultKind::Reset, _) => self.start(now),
            Event::PlugsIn => self.plug_in(now),
            Event::Wakes => {}
        }
    }

    pub(super) fn pull_out(&mut self) {
        self.plugged = false;
        self.ledger.plugged = false;
        self.lose_power();
    }

    pub(super) fn plug_in(&mut self, now: Now) {
        if !self.plugged {
            self.plugged = true;
            self.plugs += 1;
            self.ledger.plugged = true;
            self.start(now);
        }
    }

    fn lose_power(&mut self) {
        self.says.clear();
        self.happens.retain(|_, event| {
            !matches!(event, Event::Says(_) | Event::Registers | Event::AckDue(_))
        });
        self.mode = Mode::Command;
        self.line.clear();
        self.deaf_until = None;
        self.registers_at = None;
        self.acks.1 = false;
    }

    /// Starts, with everything forgotten that is not in the SIM.
    fn start(&mut self, now: Now) {
        self.lose_power();
        self.ledger.boots += 1;
        self.settings = Settings::fresh(&self.script, &self.stores);
        self.smsc.clone_from(&self.script.smsc);
        let awake = now.elapsed + Duration::from_millis(self.script.boot_ms);
        if awake > now.elapsed {
            self.deaf_until = Some(awake);
        }
        self.answered_at = awake;
        let script = self.script.clone();
        let own = || script.profile().boot.iter().map(|line| (*line).to_owned());
        let lines = script
            .chatter
            .boot
            .clone()
            .unwrap_or_else(|| own().collect());
        for line in lines {
            self.at(awake, Event::Says(line));
        }
        self.unlocked = false;
        if script.pin.is_none() {
            self.unlock(awake, Duration::ZERO);
        }
    }

    /// The SIM is open: it looks for the network.
    pub(super) fn unlock(&mut self, at: Duration, busy: Duration) {
        self.unlocked = true;
        self.sim_busy_until = at + busy;
        self.search(at + busy);
    }

    pub(super) fn search(&mut self, from: Duration) {
        let registers = from + Duration::from_millis(self.script.register_after_ms);
        self.registers_at = Some(registers);
        self.at(registers, Event::Registers);
    }

    /// `<stat>` of `+CREG`.
    pub(super) fn registration(&self, now: Now) -> u8 {
        match self.registers_at {
            _ if self.settings.radio != 1 => 0,
            Some(at) if at <= now.elapsed => self.script.registration.stat(),
            Some(_) => 2,
            None => 0,
        }
    }

    pub(super) fn is_registered(&self, now: Now) -> bool {
        matches!(self.registration(now), 1 | 5)
    }

    pub(super) fn store(&mut self, name: &str) -> Option<&mut Store> {
        self.stores.iter_mut().find(|store| store.name == name)
    }

    /// Octets from the computer.
    pub(super) fn input(&mut self, octets: &[u8], now: Now) {
        for octet in octets {
            if self.deaf_until.is_some_and(|until| until > now.elapsed) {
                continue;
            }
            match self.mode {
                Mode::Message { from, .. } if now.elapsed < from => self.ledger.too_early += 1,
                Mode::Message { length, .. } => self.message_octet(*octet, length, now),
                Mode::Command => self.command_octet(*octet, now),
            }
        }
    }

    fn echo(&mut self, octet: u8, now: Now) {
        if self.settings.echo {
            self.say_at(now.elapsed, vec![octet]);
        }
    }

    fn command_octet(&mut self, octet: u8, now: Now) {
        const ESCAPE: u8 = 0x1B;
        match octet {
            ESCAPE => self.line.clear(),
            b'\n' => {}
            b'\r' => {
                self.echo(octet, now);
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line).into_owned();
                self.command_line(line.trim(), now);
            }
            _ if self.line.len() >= LINE => {}
            _ => {
                self.echo(octet, now);
                self.line.push(octet);
            }
        }
    }

    fn command_line(&mut self, line: &str, now: Now) {
        // Noise before the first command is usual; what is no command is not answered.
        let upper = line.to_ascii_uppercase();
        let Some(command) = upper.find("AT").and_then(|at| line.get(at..)) else {
            return;
        };
        let rested = self.answered_at + self.script.rest();
        if self.answered_at > now.elapsed {
            self.ledger.overlapping += 1;
        } else if rested > now.elapsed && self.ledger.commands_total > 0 {
            self.ledger.restless += 1;
            return;
        }
        self.ledger.command(command);
        self.counts.commands += 1;
        self.execute(command, now);
    }

    fn message_octet(&mut self, octet: u8, length: usize, now: Now) {
        const END: u8 = 0x1A;
        const ESCAPE: u8 = 0x1B;
        match octet {
            END | ESCAPE => {
                let digits = std::mem::take(&mut self.line);
                self.mode = Mode::Command;
                if octet == ESCAPE {
                    self.answer_at(now.elapsed, "\r\nOK\r\n");
                } else {
                    let digits = String::from_utf8_lossy(&digits);
                    self.submit(&digits, length, now);
                }
            }
            b'\r' | b'\n' => {}
            _ if self.line.len() >= LINE => {}
            _ => {
                self.echo(octet, now);
                if self.line.is_empty()
                    && let Some(fault) = self.fault(Moment::Written)
                {
                    self.mode = Mode::Command;
                    self.at(now.elapsed, fault.event());
                    self.occur(now);
                    return;
                }
                self.line.push(octet);
            }
        }
    }
}

impl Fault {
    pub(super) fn event(&self) -> Event {
        Event::Faults(self.kind, self.length())
    }
}
