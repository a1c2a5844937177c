//! USB GSM modems over AT commands (3GPP TS 27.005, TS 27.007): what a driver is made of.
//!
//! | file | what it holds |
//! |---|---|
//! | [`mod@line`] | octets to lines and prompts |
//! | [`sort`] | whose each line is: the command's in flight, or nobody's |
//! | [`at`], [`command`] | the engine: one command at a time, the dialogue of `AT+CMGS`, back into step |
//! | [`answer`] | what stands in the lines |
//! | [`unsolicited`] | what the modem says unasked |
//! | [`setup`], [`choice`] | asking the modem what it can do, and setting it up |
//! | [`errors`] | what a refusal means for the message and for the modem |
//! | [`inbox`], [`report`] | messages from handsets and status reports, up to their commit |
//! | [`balance`] | what is left on the SIM |
//! | [`word`] | what the modem says about itself |
//! | [`port`] | opening a serial port, or anything else |
//! | [`discovery`], [`trial`] | which ports there are, and what answers on each: for people, not for the driver |
//! | [`pin`] | that a PIN was tried, over restarts |
//! | `driver`, `session`, `send` | the task behind a [`ChannelHandle`]: opening, setting up, and what is under way |
//!
//! The layers below the driver know neither the engine nor the port: they run on any stream, so that a pty, a serial
//! line and a test are the same to them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{ChannelEvent, ChannelHandle, ChannelStatus, Peer};
use crate::clock::{Clock, Random};
use crate::domain::id::{Account, ChannelId};

pub mod answer;
pub mod at;
pub mod balance;
pub mod choice;
pub mod command;
pub mod discovery;
mod driver;
pub mod errors;
pub mod inbox;
pub mod line;
pub mod pin;
pub mod port;
pub mod report;
#[cfg(test)]
mod scripted;
mod send;
mod session;
pub mod setup;
pub mod sort;
#[cfg(test)]
mod transcripts;
pub mod trial;
pub mod unsolicited;
pub mod word;

pub use word::ModemWord;

use port::{Opener, SerialOpener};

/// One modem: where it is, and how it is used.
#[derive(Clone)]
pub struct ModemConfig {
    /// Name of the modem: it is an account with one channel of the same name.
    pub account: Account,
    /// The port: a name that stays when the modem is unplugged and plugged in again.
    pub device: PathBuf,
    /// Speed of the line in bit/s; USB modems do not care.
    pub baud: u32,
    /// The SIM's PIN.
    pub pin: Option<SecretString>,
    /// Where it is remembered, over restarts, that the SIM has refused the PIN; `None`: in memory.
    pub pin_memory: Option<PathBuf>,
    /// The SMSC address, `+` and digits, where the SIM has none or the wrong one.
    pub service_centre: Option<String>,
    /// How long the network's answer to a message is awaited.
    pub submit_timeout: Duration,
    /// The pause before each command; slow modems need 100 ms.
    pub rest: Duration,
    /// How often every store is looked through for what was not announced.
    pub sweep: Duration,
    /// How often signal and registration are asked for, which also shows that it is alive.
    pub check: Duration,
    /// What to dial for the balance, for example `*123#`, and how often.
    pub ussd_balance: Option<String>,
    /// How often the balance is asked for.
    pub ussd_every: Duration,
    /// First and longest wait before the port is opened again.
    pub reopen: (Duration, Duration),
    /// A command of the operator's that cuts the modem's power and gives it back, with its
    /// arguments; the device is appended as the last one. Run when nothing else has helped.
    pub power_command: Vec<String>,
}

impl ModemConfig {
    /// A modem with the defaults: 60 s for the network's answer, no pause, a sweep every 5 min, a
    /// check every 60 s, the balance twice a day, opened again after 1 s to 30 s.
    #[must_use]
    pub fn new(account: &str, device: impl Into<PathBuf>) -> Self {
        Self {
            account: Account::from(account),
            device: device.into(),
            baud: 115_200,
            pin: None,
            pin_memory: None,
            service_centre: None,
            submit_timeout: Duration::from_mins(1),
            rest: Duration::ZERO,
            sweep: Duration::from_mins(5),
            check: Duration::from_mins(1),
            ussd_balance: None,
            ussd_every: Duration::from_hours(12),
            reopen: (Duration::from_secs(1), Duration::from_secs(30)),
            power_command: Vec::new(),
        }
    }
}

impl fmt::Debug for ModemConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModemConfig")
            .field("account", &self.account)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Starts the channel of a modem on its serial port. It runs until `stop`, then finishes what is under
/// way and ends.
pub fn start(
    config: Arc<ModemConfig>,
    clock: &Clock,
    random: &Random,
    events: &mpsc::Sender<ChannelEvent>,
    stop: &CancellationToken,
) -> (ChannelHandle, JoinHandle<()>) {
    let opener = Arc::new(SerialOpener::new(&config.device, config.baud));
    start_on(opener, config, clock, random, events, stop)
}

/// Like [`start`], over streams of another kind.
pub fn start_on(
    opener: Arc<dyn Opener>,
    config: Arc<ModemConfig>,
    clock: &Clock,
    random: &Random,
    events: &mpsc::Sender<ChannelEvent>,
    stop: &CancellationToken,
) -> (ChannelHandle, JoinHandle<()>) {
    // A modem does one thing at a time.
    let window = Arc::new(Semaphore::new(1));
    let (requests, taken) = mpsc::channel(1);
    let (status, status_receiver) = watch::channel(ChannelStatus::Connecting);
    let word = ModemWord {
        device: config.device.display().to_string(),
        ..ModemWord::default()
    };
    let (word, word_receiver) = watch::channel(word);
    let (reset, reset_receiver) = watch::channel(());
    let handle = ChannelHandle {
        id: ChannelId::from(config.account.as_str()),
        account: config.account.clone(),
        window: window.clone(),
        window_size: 1,
        requests,
        status: status_receiver,
        peer: Peer::Modem(word_receiver),
        reset,
    };
    let driver = driver::Driver {
        id: handle.id.clone(),
        config,
        opener,
        clock: clock.clone(),
        random: random.clone(),
        events: events.clone(),
        window,
        requests: taken,
        status,
        word,
        reset: reset_receiver,
        stop: stop.clone(),
    };
    (handle, tokio::spawn(driver.run()))
}
