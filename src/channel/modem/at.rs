//! The AT engine: one command in flight, over any stream.
//!
//! Invariants:
//!
//! - A command ends by a final result, by its own time-out, by a restart of the modem or by the end of
//!   the stream; never by a blank line or a line that it does not wait for.
//! - After a command without a final result the answer may still come, so the next one begins only
//!   when ESC and `AT` have brought the modem back into step. That holds as well if the future of a
//!   command is dropped.
//! - No octet of a PDU is written before the prompt, and what becomes of a message is exact: without
//!   ^Z it has not left; with it, only the modem's word settles it ([`Submission`]).
//! - What the modem says unasked is kept in order, in a bounded queue from which chatter goes first.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::answer::{self, Entry};
pub use super::command::{AtError, Command};
use super::errors::Failure;
use super::line::{Lines, Token};
use super::sort::{Expect, PROBE, Sign, Sorted, Sorter};
use super::unsolicited::Unsolicited;

/// Most things said unasked that wait to be taken.
pub const MAX_NEWS: usize = 1_024;

/// Of these, most that may be chatter.
const MAX_CHATTER: usize = 256;

/// Most lines of one answer; a full store of 255 messages has 255.
const MAX_INFO: usize = 2_048;

const READ: usize = 1_024;

/// Longest wait for the prompt; 5 s is not enough for a TC35 that is busy.
pub const PROMPT_WITHIN: Duration = Duration::from_secs(10);

/// Longest wait for the `OK` behind `+CMGS:`, which says it all already.
const CLOSING: Duration = Duration::from_secs(5);

/// What ends an answer to ESC: so long a silence.
const QUIET: Duration = Duration::from_millis(300);

/// Longest wait for that silence.
const QUIET_WITHIN: Duration = Duration::from_secs(3);

const PROBE_WITHIN: Duration = Duration::from_secs(1);
const PROBES: usize = 5;

const CTRL_Z: &[u8] = b"\x1a";
const ESC: &[u8] = b"\x1b";

/// A PDU to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The SMSC address field with its length octet; `[0]` or nothing: the one in the SIM.
    pub service_centre: &'a [u8],
    /// The TPDU, whose length `AT+CMGS` announces (3GPP TS 27.005 §3.5.1).
    pub tpdu: &'a [u8],
}

/// How a submission ended.
#[derive(Debug)]
pub enum Submission {
    /// The network took it.
    Accepted {
        /// TP-MR, as the modem chose it.
        reference: u8,
    },
    /// It was refused, before or after the PDU was written.
    Refused(Failure),
    /// It has not left: the PDU was not written, or not to its end.
    Unsent(AtError),
    /// ^Z was written and nothing settles what became of it. A late answer may still come as
    /// [`News::LateAccepted`] or [`News::LateRefused`] while the modem is brought back into step.
    Unknown(AtError),
}

/// What the modem said unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An unsolicited result, as it came, and what it means.
    Said(Entry, Unsolicited),
    /// It has restarted, or is about to: it needs its set-up again.
    Restarted(Sign),
    /// The last submission whose outcome was unknown has been sent.
    LateAccepted {
        /// TP-MR.
        reference: u8,
    },
    /// The last submission whose outcome was unknown has been refused.
    LateRefused(Failure),
    /// A line was too long and is lost.
    TooLong,
}

impl News {
    const fn is_chatter(&self) -> bool {
        matches!(self, Self::Said(_, said) if said.is_chatter())
    }
}

/// A modem on a stream.
#[derive(Debug)]
pub struct At<S> {
    stream: S,
    lines: Lines,
    tokens: VecDeque<Token>,
    sorter: Sorter,
    sorted: VecDeque<Sorted>,
    news: VecDeque<News>,
    chatter: usize,
    dropped: u64,
    rest: Duration,
    in_step: bool,
}

impl<S> At<S> {
    /// Gives back, oldest first, what was taken and is not the taker's business: it comes before
    /// everything else that waits.
    pub fn put_back(&mut self, news: Vec<News>) {
        for news in news.into_iter().rev() {
            if self.news.len() == MAX_NEWS {
                self.dropped += 1;
                continue;
            }
            self.chatter += usize::from(news.is_chatter());
            self.news.push_front(news);
        }
    }
}

/// What concerns the command in flight.
enum Own {
    Info(Entry),
    Final(Result<(), Failure>),
    Prompt,
}

impl<S: AsyncRead + AsyncWrite + Unpin> At<S> {
    /// A modem of which nothing is known: the first command brings it into step.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            lines: Lines::default(),
            tokens: VecDeque::new(),
            sorter: Sorter::default(),
            sorted: VecDeque::new(),
            news: VecDeque::new(),
            chatter: 0,
            dropped: 0,
            rest: Duration::ZERO,
            in_step: false,
        }
    }

    /// The pause before each command: slow modems need 100 ms after a final result.
    pub const fn set_rest(&mut self, rest: Duration) {
        self.rest = rest;
    }

    /// Says that echo has been turned off: if one comes all the same, the modem has restarted.
    pub const fn set_echo_off(&mut self, off: bool) {
        self.sorter.set_echo_off(off);
    }

    /// The oldest thing said unasked that was not taken yet.
    pub fn take_news(&mut self) -> Option<News> {
        let news = self.news.pop_front()?;
        self.chatter -= usize::from(news.is_chatter());
        Some(news)
    }

    /// How many of them were dropped because nobody took them.
    #[must_use]
    pub const fn dropped_news(&self) -> u64 {
        self.dropped
    }

    /// Waits for something said unasked. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the port is gone.
    pub async fn next_news(&mut self) -> Result<News, AtError> {
        loop {
            if let Some(news) = self.take_news() {
                return Ok(news);
            }
            // With nothing in flight, a prompt is a leftover.
            if let Some(sorted) = self.next_sorted().await? {
                self.keep(sorted);
            }
        }
    }

    /// Runs a command and gives the lines that answer it.
    ///
    /// # Errors
    /// [`AtError`]. After anything but a refusal the next command brings the modem into step first.
    pub async fn command(&mut self, command: &Command) -> Result<Vec<Entry>, AtError> {
        self.be_in_step().await?;
        self.in_step = false;
        self.sorter.begin(&command.text, command.expect);
        let answer = self.exchange(command).await;
        self.sorter.end();
        if let Ok((_, ended)) = &answer {
            self.in_step = *ended;
        }
        self.in_step |= matches!(answer, Err(AtError::Refused { .. }));
        answer.map(|(info, _)| info)
    }

    /// The answer, and whether a final result ended it.
    async fn exchange(&mut self, command: &Command) -> Result<(Vec<Entry>, bool), AtError> {
        let mut info = Vec::new();
        let deadline = sleep(command.within);
        tokio::pin!(deadline);
        let text = format!("{}\r", command.text);
        let late = || AtError::TimedOut {
            command: command.name(),
            within: command.within,
        };
        tokio::select! {
            biased;
            written = write(&mut self.stream, text.as_bytes()) => written?,
            () = &mut deadline => return Err(late()),
        }
        loop {
            // The answer first: one that has come is not too late because we were slow to look.
            let own = tokio::select! {
                biased;
                own = self.own() => own?,
                () = &mut deadline => {
                    return match command.settles {
                        Some(_) if !info.is_empty() => Ok((info, false)),
                        _ => Err(late()),
                    };
                }
            };
            match own {
                Own::Info(entry) => {
                    if info.len() < MAX_INFO {
                        info.push(entry);
                    }
                    if let Some(silence) = command.settles {
                        deadline.set(sleep(silence));
                    }
                }
                Own::Final(Ok(())) => return Ok((info, true)),
                Own::Final(Err(failure)) => {
                    return Err(AtError::Refused {
                        command: command.name(),
                        failure,
                    });
                }
                Own::Prompt => {}
            }
        }
    }

    /// Sends a PDU, waiting up to `within` for the network's answer (3GPP TS 27.005 §3.5.1; it sets
    /// no limit, and makers print up to 180 s).
    pub async fn submit(&mut self, pdu: Outgoing<'_>, within: Duration) -> Submission {
        if let Err(error) = self.be_in_step().await {
            return Submission::Unsent(error);
        }
        self.in_step = false;
        let result = self.dialogue(pdu, within).await;
        self.sorter.end();
        result
    }

    async fn dialogue(&mut self, pdu: Outgoing<'_>, within: Duration) -> Submission {
        match self.ask_for_prompt(pdu.tpdu.len()).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                self.in_step = true;
                return Submission::Refused(failure);
            }
            Err(error) => return Submission::Unsent(error),
        }
        let text = hex(pdu);
        self.sorter.begin(&text, Expect::Named("+CMGS"));
        // In two writes, so that a port that fails in the first has surely not sent it.
        if let Err(error) = self.write_within(text.as_bytes()).await {
            return Submission::Unsent(error);
        }
        self.sorter.set_in_doubt(true);
        let result = match self.write_within(CTRL_Z).await {
            Err(error) => Submission::Unknown(error),
            Ok(()) => self.await_reference(within).await,
        };
        self.sorter
            .set_in_doubt(matches!(result, Submission::Unknown(_)));
        result
    }

    async fn ask_for_prompt(&mut self, length: usize) -> Result<Result<(), Failure>, AtError> {
        let text = format!("AT+CMGS={length}");
        self.sorter.begin(&text, Expect::Nothing);
        self.write_within(format!("{text}\r").as_bytes()).await?;
        let asked = async {
            loop {
                match self.own().await? {
                    Own::Prompt => return Ok(Ok(())),
                    Own::Final(Err(failure)) => return Ok(Err(failure)),
                    // `OK` in place of a prompt: there is none to come.
                    Own::Final(Ok(())) => break,
                    Own::Info(_) => {}
                }
            }
            Err(no_answer("AT+CMGS", PROMPT_WITHIN))
        };
        timeout(PROMPT_WITHIN, asked)
            .await
            .unwrap_or_else(|_| Err(no_answer("AT+CMGS", PROMPT_WITHIN)))
    }

    async fn await_reference(&mut self, within: Duration) -> Submission {
        let mut reference = None;
        let deadline = sleep(within);
        tokio::pin!(deadline);
        loop {
            let own = tokio::select! {
                biased;
                own = self.own() => own,
                () = &mut deadline => Err(no_answer("the PDU", within)),
            };
            match (own, reference) {
                (Ok(Own::Info(entry)), _) => {
                    if let Some(number) = answer::message_reference(&entry.line) {
                        reference = Some(number);
                        deadline.set(sleep(CLOSING));
                    }
                }
                (Ok(Own::Prompt), _) => {}
                // With a reference the network has it, whatever comes after.
                (Ok(Own::Final(_)), Some(reference)) => {
                    self.in_step = true;
                    return Submission::Accepted { reference };
                }
                (Err(_), Some(reference)) => return Submission::Accepted { reference },
                (Ok(Own::Final(Err(Failure::NoCarrier))), None) => {
                    return Submission::Unknown(AtError::Refused {
                        command: "the PDU".to_owned(),
                        failure: Failure::NoCarrier,
                    });
                }
                (Ok(Own::Final(Err(failure))), None) => {
                    self.in_step = true;
                    return Submission::Refused(failure);
                }
                // `OK` alone is not the answer to a PDU: it may be that of something earlier.
                (Ok(Own::Final(Ok(()))), None) => {
                    return Submission::Unknown(no_answer("the PDU", within));
                }
                (Err(error), None) => return Submission::Unknown(error),
            }
        }
    }

    /// Waits out the pause, and brings the modem into step if it is not.
    async fn be_in_step(&mut self) -> Result<(), AtError> {
        if !self.in_step {
            self.resynchronise().await?;
        }
        if !self.rest.is_zero() {
            sleep(self.rest).await;
        }
        Ok(())
    }

    /// Brings the modem back into step: ESC leaves a prompt, what still comes is taken as what it is
    /// (a late `+CMGS:` above all), and `AT` must be answered.
    ///
    /// # Errors
    /// If it answers nothing, has restarted, or the port is gone.
    pub async fn resynchronise(&mut self) -> Result<(), AtError> {
        self.in_step = false;
        self.sorter.end();
        self.write_within(ESC).await?;
        self.write_within(b"\r").await?;
        self.until_quiet().await?;
        for _ in 0..PROBES {
            self.sorter.begin(PROBE, Expect::Nothing);
            let answered = self.probe().await;
            self.sorter.end();
            match answered {
                Ok(()) => {
                    // A second `OK`, of what was given up, must not answer the next command.
                    self.until_quiet().await?;
                    self.in_step = true;
                    return Ok(());
                }
                Err(error @ (AtError::Closed | AtError::Port(_))) => return Err(error),
                // One that has just restarted answers a later probe.
                Err(_) => {}
            }
        }
        Err(no_answer(PROBE, PROBE_WITHIN))
    }

    /// Asks it to restart (`AT+CFUN=1,1`, 3GPP TS 27.007 §8.2), in step or not: the last word to one
    /// that answers nothing. What it answers, if anything, does not matter.
    ///
    /// # Errors
    /// If the port is gone, or takes nothing any more.
    pub async fn restart(&mut self) -> Result<(), AtError> {
        const RESTART: &str = "AT+CFUN=1,1";
        self.in_step = false;
        self.sorter.end();
        self.write_within(b"\r").await?;
        self.sorter.begin(RESTART, Expect::Nothing);
        let written = self.write_within(format!("{RESTART}\r").as_bytes()).await;
        if written.is_ok() {
            let _ = timeout(CLOSING, self.own()).await;
        }
        self.sorter.end();
        written
    }

    async fn probe(&mut self) -> Result<(), AtError> {
        self.write_within(b"AT\r").await?;
        let answered = async {
            loop {
                if let Own::Final(result) = self.own().await? {
                    return result.map_err(|failure| AtError::Refused {
                        command: PROBE.to_owned(),
                        failure,
                    });
                }
            }
        };
        timeout(PROBE_WITHIN, answered)
            .await
            .unwrap_or_else(|_| Err(no_answer(PROBE, PROBE_WITHIN)))
    }

    /// Takes what comes until nothing comes any more.
    async fn until_quiet(&mut self) -> Result<(), AtError> {
        let limit = sleep(QUIET_WITHIN);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                sorted = timeout(QUIET, self.next_sorted()) => match sorted {
                    Ok(Ok(Some(sorted))) => self.keep(sorted),
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Ok(()),
                },
                () = &mut limit => return Ok(()),
            }
        }
    }

    /// What concerns the command in flight; the rest is kept as news.
    async fn own(&mut self) -> Result<Own, AtError> {
        loop {
            match self.next_sorted().await? {
                None => return Ok(Own::Prompt),
                Some(Sorted::Info(entry)) => return Ok(Own::Info(entry)),
                Some(Sorted::Final(result)) => return Ok(Own::Final(result)),
                Some(Sorted::Restarted(sign)) => {
                    self.keep(Sorted::Restarted(sign));
                    // An echo says that it restarted earlier; it answers all the same.
                    if sign != Sign::Echo {
                        return Err(AtError::Restarted(sign));
                    }
                }
                Some(other) => self.keep(other),
            }
        }
    }

    /// The next thing that the modem said; `None` is a prompt. Dropping the future loses nothing.
    async fn next_sorted(&mut self) -> Result<Option<Sorted>, AtError> {
        loop {
            if let Some(sorted) = self.sorted.pop_front() {
                return Ok((sorted != Sorted::Prompt).then_some(sorted));
            }
            // One token at a time: what a line means depends on what is in flight when it is looked
            // at, and a final result may have another command's answer behind it.
            if let Some(token) = self.tokens.pop_front() {
                self.sorted.extend(self.sorter.sort(token));
                continue;
            }
            let mut octets = [0; READ];
            match self.stream.read(&mut octets).await? {
                0 => return Err(AtError::Closed),
                n => self.lines.push(&octets[..n], &mut self.tokens),
            }
        }
    }

    fn keep(&mut self, sorted: Sorted) {
        let news = match sorted {
            Sorted::Unsolicited(entry) => {
                let meaning = Unsolicited::read(&entry);
                News::Said(entry, meaning)
            }
            Sorted::Restarted(sign) => News::Restarted(sign),
            Sorted::LateAccepted(reference) => News::LateAccepted { reference },
            Sorted::LateRefused(failure) => News::LateRefused(failure),
            Sorted::TooLong => News::TooLong,
            // Of a command that is given up.
            Sorted::Info(_) | Sorted::Final(_) | Sorted::Prompt => return,
        };
        if news.is_chatter() {
            if self.chatter == MAX_CHATTER {
                self.dropped += 1;
                return;
            }
            self.chatter += 1;
        }
        if self.news.len() == MAX_NEWS {
            let place = self.news.iter().position(News::is_chatter);
            if self.news.remove(place.unwrap_or(0)).is_some() {
                self.chatter -= usize::from(place.is_some());
                self.dropped += 1;
            }
        }
        self.news.push_back(news);
    }

    async fn write_within(&mut self, octets: &[u8]) -> Result<(), AtError> {
        timeout(PROMPT_WITHIN, write(&mut self.stream, octets))
            .await
            .map_err(|_| no_answer("writing", PROMPT_WITHIN))?
            .map_err(AtError::Port)
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, octets: &[u8]) -> io::Result<()> {
    stream.write_all(octets).await?;
    stream.flush().await
}

fn no_answer(command: &str, within: Duration) -> AtError {
    AtError::TimedOut {
        command: command.to_owned(),
        within,
    }
}

/// The PDU line: SMSC address and TPDU in capitals.
fn hex(pdu: Outgoing<'_>) -> String {
    let service_centre = if pdu.service_centre.is_empty() {
        &[0]
    } else {
        pdu.service_centre
    };
    let mut text = String::with_capacity(2 * (service_centre.len() + pdu.tpdu.len()));
    for octet in service_centre.iter().chain(pdu.tpdu) {
        let _ = write!(text, "{octet:02X}");
    }
    text
}

#[cfg(test)]
mod tests;
