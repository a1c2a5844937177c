//! What the modem answers to commands (3GPP TS 27.007 and TS 27.005).

use std::time::Duration;

use super::memory::READ;
use super::script::{FaultKind, Moment};
use super::state::{Event, Mode, Now, Settings, State};
use crate::pdu::tpdu::{hex_of_octets, octets_of_hex};
use crate::pdu::{gsm7, packing};

/// How an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Ok,
    Error,
    Cme(u16),
    Cms(u16),
    /// The personality's word for what it does not know.
    Unknown,
    /// The octets of a message are asked for.
    Prompt(usize),
    Nothing,
}

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask<'a> {
    Run,
    Read,
    Test,
    Set(&'a str),
}

/// The lines before the end of an answer.
type Lines = Vec<String>;

/// Splits `+X?;+Y=1` where a semicolon is not quoted.
fn pieces(body: &str) -> Vec<&str> {
    let mut quoted = false;
    body.split(|c| {
        quoted ^= c == '"';
        c == ';' && !quoted
    })
    .collect()
}

/// The values of a setting, without their quotes.
fn values(text: &str) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .map(|value| value.trim().trim_matches('"'))
    .collect()
}

/// Whether `value` is in a range of a test answer such as `0,1` or `0-2`.
fn offers(range: &str, value: u8) -> bool {
    range.split(',').any(|item| {
        let (low, high) = item.split_once('-').unwrap_or((item, item));
        let number = |text: &str| text.trim().parse::<u8>().ok();
        matches!((number(low), number(high)), (Some(low), Some(high))
            if (low..=high).contains(&value))
    })
}

/// The words of `+CMEE=2` for the errors that this modem has (3GPP TS 27.007 clause 9.2).
fn words(code: u16) -> &'static str {
    match code {
        3 => "operation not allowed",
        10 => "SIM not inserted",
        11 => "SIM PIN required",
        12 => "SIM PUK required",
        14 => "SIM busy",
        16 => "incorrect password",
        30 => "no network service",
        _ => "unknown error",
    }
}

impl State {
    /// Answers a whole command line.
    pub(super) fn execute(&mut self, command: &str, now: Now) {
        let mut lines = Lines::new();
        let mut end = End::Ok;
        for piece in pieces(&command[2..]) {
            end = self.piece(piece.trim(), &mut lines, now);
            if end != End::Ok {
                break;
            }
        }
        let due = now.elapsed.max(self.answered_at) + self.script.latency();
        self.answer(&lines, &end, due);
    }

    /// Says an answer, with chatter in its midst if the script wants it.
    fn answer(&mut self, lines: &[String], end: &End, due: Duration) {
        let trailer = self.script.profile().trailer;
        let every = self.script.chatter.in_answers_every;
        let commands = self.counts.commands;
        let chatty = every > 0 && commands.is_multiple_of(every) && !matches!(end, End::Nothing);
        let mut octets = String::new();
        let place = (commands / every.max(1)) % 3;
        let chatter = if chatty { self.chatter() } else { None };
        let chatter = chatter.map(|line| format!("\r\n{line}\r\n{trailer}"));
        let say = |octets: &mut String, at: u64| {
            if place == at {
                octets.push_str(chatter.as_deref().unwrap_or_default());
            }
        };
        say(&mut octets, 0);
        for line in lines {
            octets.push_str(&format!("\r\n{line}\r\n"));
        }
        say(&mut octets, 1);
        octets.push_str(&self.ending(end, due));
        say(&mut octets, 2);
        let due = match end {
            End::Prompt(_) => due + self.script.prompt_delay(),
            _ => due,
        };
        self.answer_at(due, octets);
    }

    fn ending(&mut self, end: &End, due: Duration) -> String {
        let trailer = self.script.profile().trailer;
        let bare = self.settings.verbose_errors == 0;
        match end {
            End::Ok => format!("\r\nOK\r\n{trailer}"),
            End::Error => "\r\nERROR\r\n".to_owned(),
            End::Cme(_) | End::Cms(_) if bare => "\r\nERROR\r\n".to_owned(),
            End::Cme(code) if self.settings.verbose_errors == 2 => {
                format!("\r\n+CME ERROR: {}\r\n", words(*code))
            }
            End::Cme(code) => format!("\r\n+CME ERROR: {code}\r\n"),
            End::Cms(code) => format!("\r\n+CMS ERROR: {code}\r\n"),
            End::Unknown => {
                let own = self.script.profile().unknown;
                let word = self.script.unknown.as_deref().unwrap_or(own);
                format!("\r\n{word}\r\n")
            }
            End::Prompt(length) => {
                let own = self.script.profile().prompt;
                self.mode = Mode::Message {
                    length: *length,
                    from: due + self.script.prompt_delay(),
                };
                self.script.prompt.as_deref().unwrap_or(own).to_owned()
            }
            End::Nothing => String::new(),
        }
    }

    fn piece(&mut self, piece: &str, lines: &mut Lines, now: Now) -> End {
        if !piece.starts_with(['+', '^', '*', '#', '$', '%']) {
            return self.basic(piece, lines);
        }
        let (name, ask) = match piece.split_once('=') {
            Some((name, "?")) => (name, Ask::Test),
            Some((name, value)) => (name, Ask::Set(value)),
            None => match piece.strip_suffix('?') {
                Some(name) => (name, Ask::Read),
                None => (piece, Ask::Run),
            },
        };
        let name = name.to_ascii_uppercase();
        self.extended(&name, ask, lines, now)
    }

    /// `E0`, `Z`, `I` and their like, several in a row too.
    fn basic(&mut self, piece: &str, lines: &mut Lines) -> End {
        let profile = self.script.profile();
        let upper = piece.to_ascii_uppercase();
        let mut rest = upper.trim_start_matches('&');
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            rest = after.trim_start_matches(['&', ' ']);
            match letter {
                'E' => self.settings.echo = number == "1",
                'Z' | 'F' => {
                    let radio = self.settings.radio;
                    self.settings = Settings::fresh(&self.script, &self.stores);
                    self.settings.radio = radio;
                }
                'I' => {
                    lines.push(profile.manufacturer.to_owned());
                    lines.push(profile.model.to_owned());
                    lines.push(profile.revision.to_owned());
                }
                'H' | 'V' | 'Q' | 'X' | 'W' | 'S' | 'D' | 'C' | 'K' => {}
                _ => return End::Unknown,
            }
        }
        End::Ok
    }

    fn extended(&mut self, name: &str, ask: Ask<'_>, lines: &mut Lines, now: Now) -> End {
        let profile = self.script.profile();
        let script = self.script.clone();
        let say = |lines: &mut Lines, line: &str| {
            lines.push(line.to_owned());
            End::Ok
        };
        match (name, ask) {
            ("+CGMI" | "+GMI", Ask::Run) => return say(lines, profile.manufacturer),
            ("+CGMM" | "+GMM", Ask::Run) => return say(lines, profile.model),
            ("+CGMR" | "+GMR", Ask::Run) => return say(lines, profile.revision),
            ("+CGSN" | "+GSN", Ask::Run) => return say(lines, &script.imei),
            ("+CPIN", Ask::Read) => return self.pin_state(lines),
            ("+CPIN", Ask::Set(pin)) => return self.enter_pin(values(pin).first(), now),
            ("+CMEE", Ask::Set(n)) => {
                return self.set(n, 2, |settings, n| settings.verbose_errors = n);
            }
            ("+CMEE", Ask::Read) => {
                return say(lines, &format!("+CMEE: {}", self.settings.verbose_errors));
            }
            ("+CMEE", Ask::Test) => return say(lines, "+CMEE: (0-2)"),
            ("+CFUN", _) => return self.function(ask, lines, now),
            ("+CSQ", Ask::Run) => return say(lines, &format!("+CSQ: {},99", script.signal)),
            ("+CREG" | "+CEREG" | "+CGREG", _) => return self.registered(name, ask, lines, now),
            ("+CSCS", Ask::Read) => {
                return say(lines, &format!("+CSCS: \"{}\"", self.settings.charset));
            }
            ("+CSCS", Ask::Test) => return say(lines, "+CSCS: (\"GSM\",\"IRA\",\"UCS2\")"),
            ("+CSCS", Ask::Set(set)) => {
                let set = set.trim_matches('"');
                if !["GSM", "IRA", "UCS2"].contains(&set) {
                    return End::Cme(3);
                }
                set.clone_into(&mut self.settings.charset);
                return End::Ok;
            }
            ("^USSDMODE", Ask::Set(mode)) if profile.packed_ussd => {
                self.settings.packed_ussd = mode != "0";
                return End::Ok;
            }
            ("^CURC" | "^PORTSEL", Ask::Set(_)) if profile.packed_ussd => return End::Ok,
            ("+COPS", Ask::Set(_)) | ("+CLIP" | "+CRC" | "+CMMS", Ask::Set(_)) => return End::Ok,
            ("+COPS", Ask::Read) => {
                return if self.is_registered(now) {
                    say(lines, &format!("+COPS: 0,0,\"{}\",2", script.operator))
                } else {
                    say(lines, "+COPS: 0")
                };
            }
            _ => {}
        }
        const OF_THE_SIM: [&str; 16] = [
            "+CIMI", "+CCID", "^ICCID", "+QCCID", "+CMGF", "+CSMS", "+CNMI", "+CPMS", "+CSCA",
            "+CMGS", "+CMGR", "+CMGL", "+CMGD", "+CUSD", "+CNMA", "+CNUM",
        ];
        if !OF_THE_SIM.contains(&name) {
            return End::Unknown;
        }
        if !self.unlocked {
            return End::Cme(if self.pin_left == 0 { 12 } else { 11 });
        }
        if self.sim_busy_until > now.elapsed {
            return End::Cme(14);
        }
        match (name, ask) {
            ("+CIMI", Ask::Run) => say(lines, &script.imsi),
            ("+CCID" | "^ICCID" | "+QCCID", Ask::Run | Ask::Read) => {
                say(lines, &format!("{name}: {}", script.iccid))
            }
            ("+CNUM", Ask::Run) => End::Ok,
            ("+CMGF", Ask::Set(n)) => self.set(n, 1, |settings, n| settings.text_mode = n == 1),
            ("+CMGF", Ask::Read) => say(
                lines,
                &format!("+CMGF: {}", u8::from(self.settings.text_mode)),
            ),
            ("+CMGF", Ask::Test) => say(lines, "+CMGF: (0,1)"),
            ("+CSMS", Ask::Set(n)) => {
                let end = self.set(n, 1, |settings, n| settings.service = n);
                if end == End::Ok {
                    lines.push("+CSMS: 1,1,1".to_owned());
                }
                end
            }
            ("+CSMS", Ask::Read) => say(lines, &format!("+CSMS: {},1,1,1", self.settings.service)),
            ("+CSMS", Ask::Test) => say(lines, "+CSMS: (0,1)"),
            ("+CNMI", Ask::Test) => say(lines, &format!("+CNMI: {}", script.cnmi())),
            ("+CNMI", Ask::Read) => {
                let now = self.settings.cnmi.map(|n| n.to_string()).join(",");
                say(lines, &format!("+CNMI: {now}"))
            }
            ("+CNMI", Ask::Set(given)) => self.indicate(given),
            ("+CPMS", _) => self.memories(ask, lines, now),
            ("+CSCA", Ask::Read) => {
                let kind = if self.smsc.starts_with('+') { 145 } else { 129 };
                say(lines, &format!("+CSCA: \"{}\",{kind}", self.smsc))
            }
            ("+CSCA", Ask::Set(given)) => {
                self.smsc = values(given)
                    .first()
                    .map(|s| (*s).to_owned())
                    .unwrap_or_default();
                End::Ok
            }
            ("+CMGS", Ask::Set(length)) => self.begin(length, now),
            ("+CMGR", Ask::Set(place)) => self.read(place, lines),
            ("+CMGL", Ask::Set(_) | Ask::Run) => self.list(ask, lines),
            ("+CMGL", Ask::Test) => say(lines, "+CMGL: (0-4)"),
            ("+CMGD", Ask::Set(given)) => self.delete(given, now),
            ("+CMGD", Ask::Test) => {
                let name = self.settings.named[0].clone();
                let records = self.store(&name).map(|store| store.records.keys().copied());
                let places: Vec<_> = records
                    .into_iter()
                    .flatten()
                    .map(|n| n.to_string())
                    .collect();
                say(lines, &format!("+CMGD: ({}),(0-4)", places.join(",")))
            }
            ("+CUSD", Ask::Set(given)) => self.ussd(given, now),
            ("+CUSD", Ask::Test) => say(lines, "+CUSD: (0-2)"),
            ("+CNMA", Ask::Run | Ask::Set(_)) => {
                if self.settings.service == 1 && std::mem::take(&mut self.acks.1) {
                    End::Ok
                } else {
                    End::Cms(340)
                }
            }
            _ => End::Error,
        }
    }

    fn set(&mut self, text: &str, most: u8, apply: impl FnOnce(&mut Settings, u8)) -> End {
        match text.trim().parse() {
            Ok(value) if value <= most => {
                apply(&mut self.settings, value);
                End::Ok
            }
            _ => End::Cme(3),
        }
    }

    fn pin_state(&self, lines: &mut Lines) -> End {
        let state = match (self.unlocked, self.pin_left) {
            (true, _) => "READY",
            (false, 0) => "SIM PUK",
            (false, _) => "SIM PIN",
        };
        lines.push(format!("+CPIN: {state}"));
        End::Ok
    }

    fn enter_pin(&mut self, given: Option<&&str>, now: Now) -> End {
        let Some(pin) = self.script.pin.clone().filter(|_| !self.unlocked) else {
            return End::Cme(3);
        };
        if self.pin_left == 0 {
            return End::Cme(12);
        }
        if given != Some(&pin.as_str()) {
            self.pin_left -= 1;
            return End::Cme(16);
        }
        self.pin_left = self.script.pin_tries;
        let busy = Duration::from_millis(self.script.sim_busy_ms);
        self.unlock(now.elapsed, busy);
        End::Ok
    }

    fn function(&mut self, ask: Ask<'_>, lines: &mut Lines, now: Now) -> End {
        match ask {
            Ask::Read => lines.push(format!("+CFUN: {}", self.settings.radio)),
            Ask::Test => lines.push("+CFUN: (0,1,4),(0,1)".to_owned()),
            Ask::Set(given) => {
                let given = values(given);
                if given.get(1) == Some(&"1") {
                    let away = Some(Duration::from_millis(self.script.reset_ms));
                    let kind = match self.script.profile().usb {
                        true => FaultKind::Unplug,
                        false => FaultKind::Reset,
                    };
                    let due = now.elapsed + self.script.latency() + super::state::BEHIND;
                    self.at(due, Event::Faults(kind, away));
                    return End::Ok;
                }
                let Some(Ok(radio @ (0 | 1 | 4))) = given.first().map(|n| n.parse::<u8>()) else {
                    return End::Cme(3);
                };
                let was = std::mem::replace(&mut self.settings.radio, radio);
                if was != 1 && radio == 1 && self.unlocked {
                    self.search(now.elapsed);
                }
            }
            Ask::Run => return End::Error,
        }
        End::Ok
    }

    fn registered(&mut self, name: &str, ask: Ask<'_>, lines: &mut Lines, now: Now) -> End {
        let which = ["+CREG", "+CEREG", "+CGREG"]
            .iter()
            .position(|own| *own == name);
        let which = which.unwrap_or(0);
        match ask {
            Ask::Read => {
                let (n, stat) = (self.settings.creg[which], self.registration(now));
                lines.push(format!("{name}: {n},{stat}"));
                End::Ok
            }
            Ask::Test => {
                lines.push(format!("{name}: (0-2)"));
                End::Ok
            }
            Ask::Set(n) => self.set(n, 2, |settings, n| settings.creg[which] = n),
            Ask::Run => End::Error,
        }
    }

    /// `+CNMI=`: every value must be in its range; values that are left out stay.
    fn indicate(&mut self, given: &str) -> End {
        let script = self.script.clone();
        let ranges = script.cnmi().trim_matches(['(', ')']).split("),(");
        let mut wanted = self.settings.cnmi;
        let given = values(given);
        if given.len() > wanted.len() {
            return End::Cms(302);
        }
        for ((slot, text), range) in wanted.iter_mut().zip(given).zip(ranges) {
            if text.is_empty() {
                continue;
            }
            match text.parse() {
                Ok(value) if offers(range, value) => *slot = value,
                _ => return End::Cms(303),
            }
        }
        if script.cnmi_refused_modes.contains(&wanted[0]) {
            return End::Cms(303);
        }
        self.settings.cnmi = wanted;
        End::Ok
    }

    fn memories(&mut self, ask: Ask<'_>, lines: &mut Lines, now: Now) -> End {
        let names: Vec<_> = self
            .stores
            .iter()
            .map(|s| format!("\"{}\"", s.name))
            .collect();
        let fill = |state: &State, name: &String| {
            let store = state.stores.iter().find(|store| store.name == *name);
            store.map(super::memory::Store::fill).unwrap_or_default()
        };
        match ask {
            Ask::Test => {
                let all = format!("({})", names.join(","));
                lines.push(format!("+CPMS: {all},{all},{all}"));
            }
            Ask::Read => {
                let each = self.settings.named.each_ref();
                let each = each.map(|name| format!("\"{name}\",{}", fill(self, name)));
                lines.push(format!("+CPMS: {}", each.join(",")));
            }
            Ask::Set(given) => {
                let given = values(given);
                if given.len() > 3 || given.iter().any(|name| self.store(name).is_none()) {
                    return End::Cms(302);
                }
                for (slot, name) in self.settings.named.iter_mut().zip(given) {
                    name.clone_into(slot);
                }
                let each = self.settings.named.each_ref().map(|name| fill(self, name));
                lines.push(format!("+CPMS: {}", each.join(",")));
                self.hand_over_held(now);
            }
            Ask::Run => return End::Error,
        }
        End::Ok
    }

    /// `+CMGS=`: the prompt, or why there is none.
    fn begin(&mut self, length: &str, now: Now) -> End {
        if self.settings.text_mode {
            return End::Cms(304);
        }
        let Ok(length) = length.trim().parse() else {
            return End::Cms(304);
        };
        if !self.is_registered(now) {
            return End::Cms(331);
        }
        self.counts.submits += 1;
        if let Some(fault) = self.fault(Moment::Prompt) {
            self.at(now.elapsed, fault.event());
            return End::Nothing;
        }
        End::Prompt(length)
    }

    fn read(&mut self, place: &str, lines: &mut Lines) -> End {
        let empty_is_ok = self.script.profile().empty_is_ok;
        let name = self.settings.named[0].clone();
        let (Ok(place), Some(store)) = (place.trim().parse(), self.store(&name)) else {
            return End::Cms(321);
        };
        let has = store.has(place);
        match store.records.get_mut(&place) {
            Some(record) => {
                let stat = std::mem::replace(&mut record.stat, READ);
                let (length, octets) = (record.length, hex_of_octets(&record.octets));
                lines.push(format!("+CMGR: {stat},,{length}\r\n{octets}"));
                End::Ok
            }
            None if empty_is_ok && has => End::Ok,
            None => End::Cms(321),
        }
    }

    fn list(&mut self, ask: Ask<'_>, lines: &mut Lines) -> End {
        let wanted = match ask {
            Ask::Set(stat) => stat.trim().parse().unwrap_or(u8::MAX),
            _ => 0,
        };
        if wanted > 4 {
            return End::Cms(302);
        }
        let name = self.settings.named[0].clone();
        let Some(store) = self.store(&name) else {
            return End::Cms(320);
        };
        let all = store.records.iter_mut();
        for (place, record) in all.filter(|(_, record)| wanted == 4 || record.stat == wanted) {
            let stat = std::mem::replace(&mut record.stat, READ);
            let (length, octets) = (record.length, hex_of_octets(&record.octets));
            lines.push(format!("+CMGL: {place},{stat},,{length}\r\n{octets}"));
        }
        End::Ok
    }

    fn delete(&mut self, given: &str, now: Now) -> End {
        let given = values(given);
        let name = self.settings.named[0].clone();
        let place = given.first().and_then(|place| place.parse().ok());
        let (Some(place), Some(store)) = (place, self.store(&name)) else {
            return End::Cms(321);
        };
        let before = store.records.len();
        match given.get(1).copied().unwrap_or("0") {
            "0" if !store.has(place) => return End::Cms(321),
            "0" => drop(store.records.remove(&place)),
            "1" | "2" | "3" => store.records.retain(|_, record| record.stat != READ),
            "4" => store.records.clear(),
            _ => return End::Cms(302),
        }
        let gone = before - store.records.len();
        self.ledger.deleted_total += u64::try_from(gone).unwrap_or(0);
        if gone > 0 {
            self.hand_over_held(now);
        }
        End::Ok
    }

    /// `+CUSD=1,"<code>"`: `OK`, and the network's answer later.
    fn ussd(&mut self, given: &str, now: Now) -> End {
        let given = values(given);
        let code = match given.as_slice() {
            ["0" | "2", ..] | ["1"] => return End::Ok,
            ["1", code, ..] => *code,
            _ => return End::Cme(3),
        };
        let packed = self.settings.packed_ussd;
        let code = if packed {
            let octets = octets_of_hex(code).ok();
            let text = octets.map(|octets| gsm7::decode(&gsm7::unpack(&octets, 0)));
            // A code that ends an octet early is filled up with a carriage return.
            text.map(|text| text.trim_end_matches('\r').to_owned())
        } else {
            Some(code.to_owned())
        };
        let found = code.and_then(|code| self.script.ussd.get(&code).cloned());
        let line = match found {
            None => "+CUSD: 4".to_owned(),
            Some(text) if packed => {
                let septets = gsm7::encode(&text).unwrap_or_default();
                format!(
                    "+CUSD: 0,\"{}\",15",
                    hex_of_octets(&packing::pack(&septets, 0))
                )
            }
            Some(text) => format!("+CUSD: 0,\"{text}\",15"),
        };
        let wait = Duration::from_millis(self.script.ussd_ms);
        self.at(now.elapsed + wait, Event::Says(line));
        End::Ok
    }

    /// Says the answer to a message, some time after its last octet.
    pub(super) fn answer_message(&mut self, line: Option<String>, end: &End, due: Duration) {
        self.answer(line.as_slice(), end, due);
    }
}
