//! One look at a port for whoever asks what is there: it is opened for ourselves alone, asked who it is,
//! what its SIM says and what it hears of the network, and closed again.
//!
//! Nothing is changed that outlives the look: no PIN is entered (a wrong one costs a try, and the
//! third locks the SIM), no message is read, sent or deleted, no store is chosen. A port that another
//! program has open is left alone: two programs on one port take each other's answers.

use std::io;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::answer::{self, Registration, Usage};
use super::at::{At, AtError, Command};
use super::choice::{self, Reports, SimState};
use super::discovery::{self, Roots};
use super::errors::Failure;
use super::port::Opener;
use super::sort::{self, Expect};

/// How long a port is listened to, at most.
pub const WITHIN: Duration = Duration::from_secs(5);

/// How long one question may take: nothing that is asked here needs the network.
const ANSWER: Duration = Duration::from_secs(2);

/// Before each question: slow modems lose one that comes at once.
const REST: Duration = Duration::from_millis(100);

/// Between two questions to a SIM that is busy.
const SIM_RETRY: Duration = Duration::from_millis(500);

/// Silence that ends the answer of a modem that says no `OK` after it.
const SETTLES: Duration = Duration::from_millis(500);

/// What answered, as far as it came in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Maker, as it says.
    pub maker: Option<String>,
    /// Model, as it says.
    pub model: Option<String>,
    /// Serial number of the modem.
    pub imei: Option<String>,
    /// The SIM.
    pub sim: Sim,
    /// Registration.
    pub registration: Option<Registration>,
    /// Operator's name.
    pub operator: Option<String>,
    /// Signal in dBm.
    pub signal_dbm: Option<i16>,
    /// The message store that is chosen, and how full it is.
    pub storage: Option<(String, Usage)>,
    /// The SMSC address; empty if the modem says that it has none.
    pub service_centre: Option<String>,
    /// How it could pass status reports on, by what it offers.
    pub reports: Option<Reports>,
}

/// What a SIM says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sim {
    /// Nothing in time.
    #[default]
    Silent,
    /// It can be used.
    Ready,
    /// It wants its PIN.
    WantsPin {
        /// Tries left, if the modem tells.
        tries: Option<u8>,
    },
    /// It wants something that only a person should give: a PUK, a network's lock.
    Locked(String),
    /// There is none.
    Missing,
    /// It is starting.
    Busy,
    /// The modem cannot use it.
    Faulty(Failure),
}

/// Why nothing answers.
#[derive(Debug, Error)]
pub enum TrialError {
    /// There is no such port.
    #[error("no such device")]
    Absent,
    /// Another program has it open; these do, as far as can be seen.
    #[error("held by {}", if .0.is_empty() { "another program".to_owned() } else { .0.join(", ") })]
    Held(Vec<String>),
    /// This user may not open it.
    #[error("permission denied")]
    Forbidden,
    /// Open, and silent.
    #[error("no answer to AT within {} s", .0.as_secs())]
    Silent(Duration),
    /// Unplugged meanwhile.
    #[error("it was unplugged meanwhile")]
    Lost,
    /// Something else; the system's words.
    #[error("{0}")]
    Other(io::Error),
}

/// Opens a port and asks, for no longer than `within`.
///
/// # Errors
/// Why nothing answers.
pub async fn ask(
    roots: &Roots,
    device: &Path,
    opener: &dyn Opener,
    within: Duration,
) -> Result<Heard, TrialError> {
    let holders = discovery::holders(roots, device);
    if !holders.is_empty() {
        // The superuser could open it all the same (TIOCEXCL does not hold against it).
        return Err(TrialError::Held(holders));
    }
    let port = opener
        .open()
        .await
        .map_err(|error| refused(device, error))?;
    let mut heard = Heard::default();
    let mut at = At::new(port);
    at.set_rest(REST);
    let mut answered = false;
    let conversation = converse(&mut at, &mut heard, &mut answered);
    match timeout(within, conversation).await {
        _ if answered => Ok(heard),
        Ok(Err(error)) if error.is_lost() => Err(TrialError::Lost),
        _ => Err(TrialError::Silent(within)),
    }
}

/// Why a port does not open. The library tells a port that is taken like one that is not there.
fn refused(device: &Path, error: io::Error) -> TrialError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => TrialError::Forbidden,
        io::ErrorKind::NotFound if !device.exists() => TrialError::Absent,
        io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => {
            TrialError::Held(Vec::new())
        }
        _ => TrialError::Other(error),
    }
}

async fn converse<S>(at: &mut At<S>, heard: &mut Heard, answered: &mut bool) -> Result<(), AtError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    at.resynchronise().await?;
    *answered = true;
    // Numbers instead of a bare ERROR; it is forgotten with the next restart.
    ask_for(at, "AT+CMEE=1", Expect::Nothing).await?;
    heard.maker = words(ask_for(at, "AT+CGMI", Expect::Words("+CGMI")).await?);
    heard.model = words(ask_for(at, "AT+CGMM", Expect::Words("+CGMM")).await?);
    let imei = ask_for(at, "AT+CGSN", Expect::Digits("+CGSN")).await?;
    heard.imei = imei.and_then(|line| sort::digits(&line));
    ask_sim(at, heard).await?;
    let signal = ask_for(at, "AT+CSQ", Expect::Named("+CSQ")).await?;
    heard.signal_dbm = signal.and_then(|line| answer::signal(&line));
    ask_registration(at, heard).await?;
    // The long name; who does not know the form says what it likes.
    ask_for(at, "AT+COPS=3,0", Expect::Nothing).await?;
    let operator = ask_for(at, "AT+COPS?", Expect::Named("+COPS")).await?;
    heard.operator = operator.and_then(|line| answer::operator(&line));
    if heard.sim == Sim::Ready {
        ask_messages(at, heard).await?;
    }
    Ok(())
}

async fn ask_sim<S>(at: &mut At<S>, heard: &mut Heard) -> Result<(), AtError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let question = Command::new("AT+CPIN?")
        .expecting(Expect::Named("+CPIN"))
        .settling_after(SETTLES);
    loop {
        heard.sim = match at.command(&question).await {
            Ok(lines) => match lines.first().map(|entry| SimState::read(&entry.line)) {
                None | Some(SimState::Ready) => Sim::Ready,
                Some(SimState::Pin) => Sim::WantsPin { tries: None },
                Some(SimState::Locked(what)) => Sim::Locked(what),
            },
            Err(AtError::Refused { failure, .. }) => refused_sim(failure),
            Err(AtError::TimedOut { .. }) => Sim::Silent,
            Err(error) => return Err(error),
        };
        if heard.sim != Sim::Busy {
            break;
        }
        // The whole look ends in time.
        sleep(SIM_RETRY).await;
    }
    if heard.sim == (Sim::WantsPin { tries: None }) {
        for (text, name) in [("AT+CPINR", "+CPINR"), ("AT^CPIN?", "^CPIN")] {
            let line = ask_for(at, text, Expect::Named(name)).await?;
            let tries = line.and_then(|line| answer::pin_tries(&line));
            if tries.is_some() {
                heard.sim = Sim::WantsPin { tries };
                break;
            }
        }
    }
    Ok(())
}

/// What a refusal of `+CPIN?` says of the SIM (3GPP TS 27.007 §9.2.1).
fn refused_sim(failure: Failure) -> Sim {
    match failure {
        failure if failure.is_busy() => Sim::Busy,
        Failure::Cme(Some(10)) | Failure::Cms(Some(310)) => Sim::Missing,
        Failure::Cme(Some(11)) => Sim::WantsPin { tries: None },
        Failure::Cme(Some(12)) => Sim::Locked("SIM PUK".to_owned()),
        failure => Sim::Faulty(failure),
    }
}

/// Asks in the three ways there are; the first that says "registered" counts.
async fn ask_registration<S>(at: &mut At<S>, heard: &mut Heard) -> Result<(), AtError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for (text, name) in [
        ("AT+CREG?", "+CREG"),
        ("AT+CEREG?", "+CEREG"),
        ("AT+CGREG?", "+CGREG"),
    ] {
        let line = ask_for(at, text, Expect::Registration(name)).await?;
        let stat = line.and_then(|line| answer::registration(&line));
        let state = stat.map(|(_, stat)| Registration::from_stat(stat));
        if state.and_then(Registration::is_registered) == Some(true) {
            heard.registration = state;
            return Ok(());
        }
        heard.registration = heard.registration.or(state);
    }
    Ok(())
}

async fn ask_messages<S>(at: &mut At<S>, heard: &mut Heard) -> Result<(), AtError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = ask_for(at, "AT+CPMS?", Expect::Named("+CPMS")).await?;
    heard.storage = line.and_then(|line| {
        let name = (*answer::fields(answer::value(&line)).first()?).to_owned();
        // Each name is followed by its two numbers, which is what usage counts.
        Some((name, *answer::usage(&line).first()?))
    });
    let line = ask_for(at, "AT+CSCA?", Expect::Named("+CSCA")).await?;
    heard.service_centre = line.map(|line| answer::service_centre(&line).unwrap_or_default());
    let line = ask_for(at, "AT+CNMI=?", Expect::Named("+CNMI")).await?;
    heard.reports = line.and_then(|line| {
        let best = choice::routings(Some(&line)).into_iter().next()?;
        Some(best.reports())
    });
    Ok(())
}

/// The first line that answers a question; one that is refused, or not answered, has none.
async fn ask_for<S>(at: &mut At<S>, text: &str, expect: Expect) -> Result<Option<String>, AtError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let command = Command::new(text).expecting(expect).within(ANSWER);
    match at.command(&command).await {
        Ok(entries) => Ok(entries.into_iter().next().map(|entry| entry.line)),
        Err(AtError::Refused { .. } | AtError::TimedOut { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a modem calls itself, without what would disturb a terminal.
fn words(line: Option<String>) -> Option<String> {
    let line = line?;
    let words = answer::value(&line).trim_matches('"');
    let words: String = words.chars().filter(|c| !c.is_control()).collect();
    (!words.trim().is_empty()).then(|| words.trim().to_owned())
}

#[cfg(test)]
mod tests;
