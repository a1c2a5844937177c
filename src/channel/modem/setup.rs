//! Setting a modem up by asking it: from an open port to a modem that can send.
//!
//! What can be done without is asked for and, if refused, becomes a note for the operator: an optional
//! command that a modem does not know is no failure. What cannot is an error that says what to do.
//! Runs again from the start after every restart of the modem.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::answer::{self, Entry, Registration, Usage};
use super::at::{At, AtError, Command};
use super::choice::{self, Memories, MemoryChoice, PinStep, Reports, Routing, SimState};
use super::errors::Failure;
use super::pin::PinMemory;
use super::sort::{self, Expect};

/// How long a SIM may be busy after its PIN, or the SMS part after power-on.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// Between two tries of what is not ready.
const RETRY: Duration = Duration::from_secs(2);

/// What the operator has configured for a modem.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The SIM's PIN.
    pub pin: Option<SecretString>,
    /// True once this PIN was refused for this SIM: it is not tried again.
    pub pin_refused_before: bool,
    /// Where it is written down that the PIN is tried, before it is entered; `None`: the caller does
    /// not come back.
    pub pin_memory: Option<PinMemory>,
    /// The SMSC address, `+` and digits, for a SIM that has none.
    pub service_centre: Option<String>,
}

/// A modem that can send, and what it said about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Maker, as it says.
    pub maker: Option<String>,
    /// Model, as it says.
    pub model: Option<String>,
    /// Serial number of the modem.
    pub imei: Option<String>,
    /// Number of the subscription: what budgets and references go by.
    pub imsi: Option<String>,
    /// Serial number of the SIM.
    pub iccid: Option<String>,
    /// SMSC address in use; `None`: it must stand in every PDU, or `AT+CMGS` fails with 330.
    pub service_centre: Option<String>,
    /// How messages and reports come; `None`: the modem only sends.
    pub routing: Option<Routing>,
    /// The store in use.
    pub memory: Option<MemoryChoice>,
    /// How full it is.
    pub usage: Option<Usage>,
    /// Every store it listed.
    pub memories: Memories,
    /// Operator's name.
    pub operator: Option<String>,
    /// Signal in dBm.
    pub signal: Option<i16>,
    /// Registration; `Unknown` is no reason not to send.
    pub registration: Registration,
    /// What did not work and can be done without, for the operator.
    pub notes: Vec<String>,
}

impl Ready {
    /// How reports come.
    #[must_use]
    pub fn reports(&self) -> Reports {
        self.routing.map_or(Reports::None, Routing::reports)
    }
}

/// Why a modem cannot be used.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The dialogue failed; setting up again may help.
    #[error(transparent)]
    At(#[from] AtError),
    /// The SIM wants a PIN and none is configured.
    #[error("the SIM wants its PIN and none is configured")]
    PinMissing,
    /// The configured PIN was refused; it must not be tried again.
    #[error("the SIM has refused the PIN; it is not tried again")]
    PinRefused,
    /// The port was lost while the PIN was looked at. It may have cost a try, so the caller must
    /// remember it like a refusal.
    #[error("the port was lost while the PIN was entered: {0}")]
    PinUnanswered(AtError),
    /// It cannot be written down that the PIN is tried, so it was not entered.
    #[error("the PIN is not entered, as it cannot be remembered that it was tried: {0}")]
    PinMemory(std::io::Error),
    /// The PIN has one try left, which belongs to a person.
    #[error("the PIN has one try left: enter it by hand, or in a phone")]
    LastPinTry,
    /// The SIM wants something else.
    #[error("the SIM is locked: it wants {0}")]
    Locked(String),
    /// There is no SIM that works.
    #[error("no usable SIM: {0}")]
    NoSim(Failure),
    /// The SIM, or the SMS part, did not become ready.
    #[error("not ready for SMS after {} s: {last}", .after.as_secs())]
    NotReady {
        /// How long it was given.
        after: Duration,
        /// The last answer.
        last: AtError,
    },
}

impl SetupError {
    /// True if only a person can make it right.
    #[must_use]
    pub const fn needs_a_person(&self) -> bool {
        !matches!(self, Self::At(_) | Self::NotReady { .. })
    }
}

/// Sets a modem up.
///
/// # Errors
/// [`SetupError`]. After [`SetupError::PinRefused`] or [`SetupError::PinUnanswered`] the caller must remember the refusal
/// ([`Wishes::pin_refused_before`]) for as long as the PIN is the same.
pub async fn set_up<S>(at: &mut At<S>, wishes: &Wishes) -> Result<Ready, SetupError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut dialogue = Dialogue {
        at,
        notes: Vec::new(),
    };
    dialogue.greet().await?;
    dialogue.unlock(wishes).await?;
    dialogue.radio_on().await?;
    dialogue.pdu_mode().await?;
    // Phase 2+ would make the modem wait for an acknowledgement of every report, and turn the
    // reports off without a word if one is late (3GPP TS 27.005 §3.4.4).
    dialogue
        .optional(Command::new("AT+CSMS=0").expecting(Expect::Named("+CSMS")))
        .await?;
    let (maker, model) = dialogue.make().await?;
    if maker.as_deref().is_some_and(is_huawei) {
        dialogue.optional(Command::new("AT^CURC=0")).await?;
    }
    let (imei, imsi, iccid) = dialogue.identities().await?;
    let (memories, memory, usage) = dialogue.memories().await?;
    let routing = dialogue.routing().await?;
    let service_centre = dialogue.service_centre(wishes).await?;
    let air = dialogue.air().await?;
    Ok(Ready {
        maker,
        model,
        imei,
        imsi,
        iccid,
        service_centre,
        routing,
        memory,
        usage,
        memories,
        operator: air.operator,
        signal: air.signal,
        registration: air.registration,
        notes: dialogue.notes,
    })
}

fn is_huawei(maker: &str) -> bool {
    maker.to_ascii_lowercase().contains("huawei")
}

/// What changes while a modem runs; asked for at set-up and from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Air {
    /// Operator's name.
    pub operator: Option<String>,
    /// Signal in dBm.
    pub signal: Option<i16>,
    /// Registration.
    pub registration: Registration,
}

/// Asks for registration, signal and operator.
///
/// # Errors
/// If the dialogue fails; a question that is refused has no answer, which is not an error.
pub async fn ask_air<S>(at: &mut At<S>) -> Result<Air, AtError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let notes = Vec::new();
    Dialogue { at, notes }.air().await
}

struct Dialogue<'a, S> {
    at: &'a mut At<S>,
    notes: Vec<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<'_, S> {
    /// Runs a command; a refusal, and a silence, become a note and `None`.
    async fn optional(&mut self, command: Command) -> Result<Option<Vec<Entry>>, AtError> {
        match self.at.command(&command).await {
            Ok(entries) => Ok(Some(entries)),
            Err(error @ (AtError::Refused { .. } | AtError::TimedOut { .. })) => {
                self.notes.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The first line that answers a question, if it is answered.
    async fn ask(
        &mut self,
        text: &str,
        expect: Expect,
        seconds: u64,
    ) -> Result<Option<String>, AtError> {
        let command = Command::new(text)
            .expecting(expect)
            .within(Duration::from_secs(seconds));
        let entries = self.optional(command).await?;
        Ok(entries.and_then(|entries| entries.into_iter().next().map(|entry| entry.line)))
    }

    async fn greet(&mut self) -> Result<(), AtError> {
        self.at.set_echo_off(false);
        if let Err(error) = self.at.resynchronise().await {
            if error.is_lost() {
                return Err(error);
            }
            // It may still be starting, or finding the speed of the line.
            self.at.resynchronise().await?;
        }
        // One that goes on echoing can be lived with: echoes are known by their text.
        let silent = self.optional(Command::new("ATE0")).await?.is_some();
        self.at.set_echo_off(silent);
        self.optional(Command::new("AT+CMEE=1")).await?;
        Ok(())
    }

    async fn unlock(&mut self, wishes: &Wishes) -> Result<(), SetupError> {
        match self.sim_state().await? {
            SimState::Ready => return Ok(()),
            SimState::Locked(what) => return Err(SetupError::Locked(what)),
            SimState::Pin => {}
        }
        let tries = self.pin_tries().await?;
        let pin = wishes.pin.as_ref();
        match choice::pin_step(pin.is_some(), wishes.pin_refused_before, tries) {
            PinStep::Missing => return Err(SetupError::PinMissing),
            PinStep::RefusedBefore => return Err(SetupError::PinRefused),
            PinStep::LastTry => return Err(SetupError::LastPinTry),
            PinStep::Enter => {}
        }
        if let (Some(memory), Some(pin)) = (&wishes.pin_memory, pin) {
            memory.remember(pin).await.map_err(SetupError::PinMemory)?;
        }
        let pin = pin.map_or("", ExposeSecret::expose_secret);
        let enter = Command::new(format!("AT+CPIN=\"{pin}\""))
            .shown_as("AT+CPIN=")
            .within(Duration::from_secs(20));
        match self.at.command(&enter).await {
            Ok(_) => {}
            // It has not looked at it.
            Err(error) if error.failure().is_some_and(Failure::is_busy) => {
                self.forget_pin(wishes).await;
                return Err(error.into());
            }
            Err(AtError::Refused { .. }) => return Err(SetupError::PinRefused),
            Err(error) if error.is_lost() => return Err(SetupError::PinUnanswered(error)),
            // Without an answer, the state of the SIM says whether it was right.
            Err(_) => {}
        }
        match self.sim_state().await? {
            SimState::Ready => {
                self.forget_pin(wishes).await;
                Ok(())
            }
            SimState::Pin => Err(SetupError::PinRefused),
            SimState::Locked(what) => Err(SetupError::Locked(what)),
        }
    }

    /// The PIN was taken, or not looked at.
    async fn forget_pin(&mut self, wishes: &Wishes) {
        if let Some(memory) = &wishes.pin_memory
            && let Err(error) = memory.forget().await
        {
            let note = format!("the next start will not try the PIN, which was right: {error}");
            self.notes.push(note);
        }
    }

    /// Asks for the state of the SIM until it is not busy any more.
    async fn sim_state(&mut self) -> Result<SimState, SetupError> {
        let question = Command::new("AT+CPIN?")
            .expecting(Expect::Named("+CPIN"))
            .settling_after(Duration::from_secs(1));
        let entries = self
            .patiently(&question, |failure| failure.is_busy())
            .await
            .map_err(|error| match error {
                SetupError::At(AtError::Refused { failure, .. }) => match failure {
                    Failure::Cme(Some(12)) => SetupError::Locked("SIM PUK".to_owned()),
                    failure => SetupError::NoSim(failure),
                },
                error => error,
            });
        match entries {
            // `OK` alone: nothing is asked for.
            Ok(entries) => Ok(entries
                .first()
                .map_or(SimState::Ready, |entry| SimState::read(&entry.line))),
            // 11 is the state as an error (3GPP TS 27.007 §9.2.1).
            Err(SetupError::NoSim(Failure::Cme(Some(11)))) => Ok(SimState::Pin),
            Err(error) => Err(error),
        }
    }

    async fn pin_tries(&mut self) -> Result<Option<u8>, AtError> {
        for (text, name) in [("AT+CPINR", "+CPINR"), ("AT^CPIN?", "^CPIN")] {
            let command = Command::new(text).expecting(Expect::Named(name));
            let lines = match self.at.command(&command).await {
                Ok(lines) => lines,
                Err(AtError::Refused { .. } | AtError::TimedOut { .. }) => continue,
                Err(error) => return Err(error),
            };
            let tries = lines
                .iter()
                .find_map(|entry| answer::pin_tries(&entry.line));
            if tries.is_some() {
                return Ok(tries);
            }
        }
        Ok(None)
    }

    /// Repeats a command while it is refused for a reason that passes.
    async fn patiently(
        &mut self,
        command: &Command,
        passes: impl Fn(Failure) -> bool,
    ) -> Result<Vec<Entry>, SetupError> {
        let mut waited = Duration::ZERO;
        loop {
            match self.at.command(command).await {
                Err(error) if error.failure().is_some_and(&passes) => {
                    if waited >= READY_WITHIN {
                        return Err(SetupError::NotReady {
                            after: READY_WITHIN,
                            last: error,
                        });
                    }
                }
                other => return Ok(other?),
            }
            sleep(RETRY).await;
            waited += RETRY;
        }
    }

    /// Some have the radio off after the PIN.
    async fn radio_on(&mut self) -> Result<(), AtError> {
        let state = self.ask("AT+CFUN?", Expect::Named("+CFUN"), 5).await?;
        let off = state.is_some_and(|line| {
            let fields = answer::fields(answer::value(&line));
            matches!(fields.first(), Some(&("0" | "4")))
        });
        if off {
            let on = Command::new("AT+CFUN=1").within(Duration::from_secs(15));
            self.optional(on).await?;
        }
        Ok(())
    }

    /// PDU mode. SIMCom's refuse it until their SMS part is ready, others while the SIM is busy, by
    /// whatever error; so any refusal is waited out.
    async fn pdu_mode(&mut self) -> Result<(), SetupError> {
        self.patiently(&Command::new("AT+CMGF=0"), |_| true).await?;
        Ok(())
    }

    async fn make(&mut self) -> Result<(Option<String>, Option<String>), AtError> {
        let words = |line: Option<String>| {
            line.map(|line| answer::value(&line).trim_matches('"').to_owned())
                .filter(|line| !line.is_empty())
        };
        let maker = self.ask("AT+CGMI", Expect::Words("+CGMI"), 5).await?;
        let model = self.ask("AT+CGMM", Expect::Words("+CGMM"), 5).await?;
        Ok((words(maker), words(model)))
    }

    /// What references and budgets go by. A modem that has none says so; one that is silent is asked
    /// again by a new set-up, or else the same SIM would be taken for another one.
    async fn imsi(&mut self) -> Result<Option<String>, SetupError> {
        let question = Command::new("AT+CIMI").expecting(Expect::Digits("+CIMI"));
        match self.patiently(&question, Failure::is_busy).await {
            Ok(entries) => Ok(entries.into_iter().next().map(|entry| entry.line)),
            Err(SetupError::At(error @ AtError::Refused { .. })) => {
                self.notes.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn identities(&mut self) -> Result<Identities, SetupError> {
        let imei = self.ask("AT+CGSN", Expect::Digits("+CGSN"), 5).await?;
        let imsi = self.imsi().await?;
        let mut iccid = None;
        // None of these is standard; whoever knows none of them has no ICCID to show.
        let before = self.notes.len();
        for (text, expect) in [
            ("AT+CCID", Expect::Digits("+CCID")),
            ("AT+QCCID", Expect::Named("+QCCID")),
            ("AT+CICCID", Expect::Named("+ICCID")),
            ("AT^ICCID?", Expect::Named("^ICCID")),
        ] {
            let line = self.ask(text, expect, 5).await?;
            iccid = line.and_then(|line| sort::digits(&line));
            if iccid.is_some() {
                break;
            }
        }
        self.notes.truncate(before);
        let digits = |line: Option<String>| line.and_then(|line| sort::digits(&line));
        Ok((digits(imei), digits(imsi), iccid))
    }

    async fn memories(
        &mut self,
    ) -> Result<(Memories, Option<MemoryChoice>, Option<Usage>), AtError> {
        let line = self.ask("AT+CPMS=?", Expect::Named("+CPMS"), 10).await?;
        let memories = line.map_or_else(Memories::default, |line| Memories::read(&line));
        for choice in memories.choices() {
            let set = Command::new(choice.command())
                .expecting(Expect::Named("+CPMS"))
                .within(Duration::from_secs(10));
            if let Some(entries) = self.optional(set).await? {
                let usage = entries
                    .first()
                    .and_then(|entry| answer::usage(&entry.line).first().copied());
                return Ok((memories, Some(choice), usage));
            }
        }
        self.notes
            .push("no message store can be chosen: the modem only sends".to_owned());
        Ok((memories, None, None))
    }

    /// Chooses the routing, and believes it only when it is read back.
    async fn routing(&mut self) -> Result<Option<Routing>, AtError> {
        let offered = self.ask("AT+CNMI=?", Expect::Named("+CNMI"), 10).await?;
        for wanted in choice::routings(offered.as_deref()) {
            let set = Command::new(wanted.command());
            if self.optional(set).await?.is_none() {
                continue;
            }
            let line = self.ask("AT+CNMI?", Expect::Named("+CNMI"), 5).await?;
            match line.and_then(|line| Routing::read(&line)) {
                Some(real) if !real.does(wanted) => self.notes.push(format!(
                    "{} was accepted, but the modem says {}",
                    wanted.command(),
                    real.command()
                )),
                // Without an answer the acceptance stands.
                _ => {
                    if wanted.reports() == Reports::None {
                        self.notes
                            .push("the modem passes no status reports on".to_owned());
                    }
                    return Ok(Some(wanted));
                }
            }
        }
        self.notes
            .push("no +CNMI setting is accepted: the modem only sends".to_owned());
        Ok(None)
    }

    async fn service_centre(&mut self, wishes: &Wishes) -> Result<Option<String>, AtError> {
        let own = self.ask("AT+CSCA?", Expect::Named("+CSCA"), 10).await?;
        let own = own.and_then(|line| answer::service_centre(&line));
        let Some(wanted) = wishes.service_centre.as_ref().filter(|_| own.is_none()) else {
            if own.is_none() {
                self.notes
                    .push("the SIM has no SMSC address and none is configured".to_owned());
            }
            return Ok(own);
        };
        let kind = if wanted.starts_with('+') { 145 } else { 129 };
        let set = Command::new(format!("AT+CSCA=\"{wanted}\",{kind}")).shown_as("AT+CSCA=");
        Ok(self.optional(set).await?.map(|_| wanted.clone()))
    }

    async fn air(&mut self) -> Result<Air, AtError> {
        let mut registration = Registration::Unknown;
        // Which of the three a modem knows depends on its age.
        let before = self.notes.len();
        for (text, name) in [
            ("AT+CREG?", "+CREG"),
            ("AT+CEREG?", "+CEREG"),
            ("AT+CGREG?", "+CGREG"),
        ] {
            let line = self.ask(text, Expect::Registration(name), 5).await?;
            let stat = line.and_then(|line| answer::registration(&line));
            let state = stat.map(|(_, stat)| Registration::from_stat(stat));
            match state {
                Some(state) if state.is_registered() == Some(true) => {
                    registration = state;
                    break;
                }
                Some(state) if registration == Registration::Unknown => registration = state,
                _ => {}
            }
        }
        self.notes.truncate(before);
        let signal = self.ask("AT+CSQ", Expect::Named("+CSQ"), 5).await?;
        // The long name, where it can be had.
        self.optional(Command::new("AT+COPS=3,0")).await?;
        let operator = self.ask("AT+COPS?", Expect::Named("+COPS"), 30).await?;
        Ok(Air {
            operator: operator.and_then(|line| answer::operator(&line)),
            signal: signal.and_then(|line| answer::signal(&line)),
            registration,
        })
    }
}

/// IMEI, IMSI, ICCID.
type Identities = (Option<String>, Option<String>, Option<String>);

#[cfg(test)]
mod tests;
