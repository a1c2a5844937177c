//! Whose each line is: the command's in flight, or nobody's.
//!
//! An information line belongs to the command only if it is of the kind that the command waits for.
//! Everything else is an unsolicited result, wherever it stands: between echo and answer, between two
//! lines of an answer, between `+CMGS:` and `OK`. Pure; the engine in [`super::at`] feeds it.

use super::answer::{self, Entry};
use super::errors::Failure;
use super::line::Token;
use super::unsolicited::is_named;

/// Results that take the next line with them, in PDU mode.
const WITH_PDU: [&str; 5] = ["+CMT", "+CDS", "+CBM", "+CMGR", "+CMGL"];

/// After so many other lines, a header without its PDU is given up.
const PATIENCE: u8 = 8;

/// Which lines answer a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// None: only a final result does.
    Nothing,
    /// Lines with this name, for example `+CSQ`.
    Named(&'static str),
    /// The answer to `+CREG?` and its like: `<n>,<stat>`, which an unsolicited one is not.
    Registration(&'static str),
    /// At least 10 digits, hex ones among them, alone, in quotes or behind any name with a sign that
    /// the command has: IMEI, IMSI, ICCID. The name is that of the command.
    Digits(&'static str),
    /// Any words that no unsolicited result begins with, or a line with this name.
    Words(&'static str),
}

impl Expect {
    fn takes(self, line: &str) -> bool {
        let name = answer::name(line);
        match self {
            Self::Nothing => false,
            Self::Named(expected) => name == expected,
            Self::Registration(expected) => {
                name == expected && matches!(answer::registration(line), Some((Some(_), _)))
            }
            Self::Digits(expected) => {
                name == expected || (name.is_empty() && digits(line).is_some())
            }
            Self::Words(expected) => name == expected || !is_named(line),
        }
    }
}

/// The digits of an identity: `"8933…"`, `+ICCID: 8933…F`, `208…`. A filler F at the end is left off.
#[must_use]
pub fn digits(line: &str) -> Option<String> {
    let text = answer::value(line).trim_matches('"');
    let text = text.trim_end_matches(['F', 'f']);
    let all = text.len() >= 10 && text.bytes().all(|octet| octet.is_ascii_digit());
    all.then(|| text.to_owned())
}

/// Signs that the modem has restarted: all its settings are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    /// `RDY`, `^SYSSTART`: it has started.
    Started,
    /// `POWERED DOWN`, `^SHUTDOWN` and the like: it goes.
    Stopping,
    /// It echoes again, though it was told not to.
    Echo,
}

fn sign(line: &str) -> Option<Sign> {
    match line {
        "RDY" => Some(Sign::Started),
        _ if line.starts_with("^SYSSTART") => Some(Sign::Started),
        "POWERED DOWN" | "NORMAL POWER DOWN" => Some(Sign::Stopping),
        _ if line.starts_with("^SHUTDOWN") => Some(Sign::Stopping),
        _ => None,
    }
}

/// One thing that the modem said, with whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sorted {
    /// An information line of the command in flight.
    Info(Entry),
    /// The end of the command in flight.
    Final(Result<(), Failure>),
    /// It asks for the PDU.
    Prompt,
    /// Nobody's.
    Unsolicited(Entry),
    /// It has restarted.
    Restarted(Sign),
    /// The message that was given up in doubt has been sent, under this reference.
    LateAccepted(u8),
    /// The message that was given up in doubt has been refused.
    LateRefused(Failure),
    /// A line was too long and is lost.
    TooLong,
}

#[derive(Debug)]
struct InFlight {
    echo: String,
    expect: Expect,
    /// It can end by `+CMS ERROR`.
    sms: bool,
    header: Option<String>,
}

/// What decides whose a line is.
#[derive(Debug, Default)]
pub struct Sorter {
    in_flight: Option<InFlight>,
    header: Option<(String, u8)>,
    /// A call comes in: the next `NO CARRIER` is its end and not the command's.
    ringing: bool,
    echo_is_off: bool,
    in_doubt: bool,
}

impl Sorter {
    /// A command is about to be written. `echo` is its text.
    pub fn begin(&mut self, echo: &str, expect: Expect) {
        self.in_flight = Some(InFlight {
            echo: echo.to_owned(),
            expect,
            sms: echo != PROBE,
            header: None,
        });
    }

    /// The command has ended or was given up.
    pub fn end(&mut self) {
        self.in_flight = None;
    }

    /// From now on an echo is a sign of a restart, or no more.
    pub const fn set_echo_off(&mut self, off: bool) {
        self.echo_is_off = off;
    }

    /// A message has been written whose outcome is not known, or no more.
    pub const fn set_in_doubt(&mut self, in_doubt: bool) {
        self.in_doubt = in_doubt;
    }

    /// Sorts one token. Usually that gives one thing; an echo or half a result gives none.
    pub fn sort(&mut self, token: Token) -> Vec<Sorted> {
        match token {
            Token::Prompt => vec![Sorted::Prompt],
            Token::TooLong => vec![Sorted::TooLong],
            Token::Line(line) => {
                let mut out = Vec::new();
                self.sort_line(line, &mut out);
                out
            }
        }
    }

    fn sort_line(&mut self, line: String, out: &mut Vec<Sorted>) {
        if let Some(line) = self.body(line, out) {
            self.age_header(out);
            self.sort_head(line, out);
        }
    }

    /// Joins a PDU to its header; gives back any other line.
    fn body(&mut self, line: String, out: &mut Vec<Sorted>) -> Option<String> {
        // An unsolicited header and its PDU are written in one go, also in the middle of a listing.
        if let Some((header, _)) = self.header.take_if(|(header, _)| takes_body(header, &line)) {
            out.push(Sorted::Unsolicited(Entry {
                line: header,
                body: Some(line),
            }));
            return None;
        }
        let header = self
            .in_flight
            .as_mut()
            .and_then(|command| command.header.take_if(|header| takes_body(header, &line)));
        match header {
            Some(header) => {
                out.push(Sorted::Info(Entry {
                    line: header,
                    body: Some(line),
                }));
                None
            }
            None => Some(line),
        }
    }

    fn age_header(&mut self, out: &mut Vec<Sorted>) {
        if let Some((_, age)) = &mut self.header {
            *age += 1;
            if *age > PATIENCE {
                self.drop_header(out);
            }
        }
    }

    fn drop_header(&mut self, out: &mut Vec<Sorted>) {
        if let Some((header, _)) = self.header.take() {
            out.push(Sorted::Unsolicited(Entry::single(header)));
        }
    }

    fn sort_head(&mut self, line: String, out: &mut Vec<Sorted>) {
        if self.in_flight.as_ref().is_some_and(|c| c.echo == line) {
            if self.echo_is_off {
                self.echo_is_off = false;
                out.push(Sorted::Restarted(Sign::Echo));
            }
            return;
        }
        if let Some(sign) = sign(&line) {
            self.ringing = false;
            out.push(Sorted::Restarted(sign));
            return;
        }
        let failure = Failure::parse(&line);
        if line == "OK" || failure.is_some() {
            return self.sort_final(line, failure, out);
        }
        if line == "RING" || line.starts_with("+CRING") {
            self.ringing = true;
        }
        let name = answer::name(&line);
        let paired = WITH_PDU.contains(&name);
        match &mut self.in_flight {
            Some(command) if command.expect.takes(&line) => {
                if paired {
                    let earlier = command.header.replace(line);
                    out.extend(earlier.map(Entry::single).map(Sorted::Info));
                } else {
                    out.push(Sorted::Info(Entry::single(line)));
                }
            }
            _ if paired => {
                self.drop_header(out);
                self.header = Some((line, 0));
            }
            _ => match answer::message_reference(&line).filter(|_| name == "+CMGS") {
                Some(reference) if self.in_doubt => {
                    self.in_doubt = false;
                    out.push(Sorted::LateAccepted(reference));
                }
                _ => out.push(Sorted::Unsolicited(Entry::single(line))),
            },
        }
    }

    fn sort_final(&mut self, line: String, failure: Option<Failure>, out: &mut Vec<Sorted>) {
        if failure == Some(Failure::NoCarrier) && self.ringing {
            self.ringing = false;
            out.push(Sorted::Unsolicited(Entry::single(line)));
            return;
        }
        match (&mut self.in_flight, failure) {
            // A probe cannot fail so: it is the answer to what was given up before. But 512 may only
            // say that our ESC came through.
            (Some(InFlight { sms: false, .. }) | None, Some(failure @ Failure::Cms(code)))
                if self.in_doubt =>
            {
                if code == Some(USER_ABORT) {
                    out.push(Sorted::Unsolicited(Entry::single(line)));
                } else {
                    self.in_doubt = false;
                    out.push(Sorted::LateRefused(failure));
                }
            }
            (None, _) => out.push(Sorted::Unsolicited(Entry::single(line))),
            (Some(command), failure) => {
                let header = command.header.take();
                out.extend(header.map(Entry::single).map(Sorted::Info));
                self.in_flight = None;
                out.push(Sorted::Final(failure.map_or(Ok(()), Err)));
            }
        }
    }
}

/// The command that asks for nothing but `OK`.
pub const PROBE: &str = "AT";

const USER_ABORT: u16 = 512;

/// True if a line can be what follows a header. In text mode, into which a modem falls back when it
/// restarts, a header ends in a quoted date and anything may follow, also `OK`: a stranger's text must
/// not be taken for a result.
fn takes_body(header: &str, line: &str) -> bool {
    let text_mode = header.ends_with('"');
    text_mode || is_pdu(line)
}

/// True if a line begins like a PDU; damage further on is for the reader of PDUs to see.
fn is_pdu(line: &str) -> bool {
    line.len() >= 4
        && line.bytes().take(4).all(|octet| octet.is_ascii_hexdigit())
        && !line.contains([' ', ':'])
}
