//! The task of one modem: open, set up, send and receive, and again, until stopped.
//!
//! What a modem that fell silent is brought back by, one step after another: ESC and `AT`, the whole
//! set-up, `AT+CFUN=1,1`, the port opened anew for ever, the operator's power command. The session
//! climbs the first three; the last two are here.

use std::future::Future;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::pin::PinMemory;
use super::port::{Opener, Stream};
use super::send::Refusals;
use super::session::{End, Session};
use super::word::ModemWord;
use super::{ModemConfig, answer::Registration};
use crate::channel::{ChannelEvent, ChannelStatus, SubmitRequest};
use crate::clock::{Clock, Random};
use crate::domain::id::ChannelId;
use crate::pdu::address::Address;

/// Longest wait for a port to open.
const OPEN_WITHIN: Duration = Duration::from_secs(20);

/// How often the same cause is logged: an outage of days must not fill a disk.
const SAID_AGAIN: Duration = Duration::from_mins(10);

/// Causes remembered as said; the oldest are forgotten first.
const SAID: usize = 16;

/// A session that took messages for so long was a good one: the ladder begins at its foot again.
pub(super) const LASTED: Duration = Duration::from_secs(10);

/// Ports opened in vain before the power is cut.
const POWER_AFTER: u32 = 5;

/// Shortest time between two power cuts, and the longest run of the command.
const POWER_EVERY: Duration = Duration::from_mins(5);
const POWER_WITHIN: Duration = Duration::from_mins(1);

/// Between two looks at what waits to be handed up again.
pub(super) const HAND_UP_EVERY: Duration = Duration::from_secs(1);

/// What a modem that restarts is given before its port is opened again: one on USB needs a moment to
/// drop off.
const RESTARTS: Duration = Duration::from_secs(3);

pub(super) struct Driver {
    pub(super) id: ChannelId,
    pub(super) config: Arc<ModemConfig>,
    pub(super) opener: Arc<dyn Opener>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) events: mpsc::Sender<ChannelEvent>,
    /// One permit: home once every message has landed.
    pub(super) window: Arc<Semaphore>,
    pub(super) requests: mpsc::Receiver<SubmitRequest>,
    pub(super) status: watch::Sender<ChannelStatus>,
    pub(super) word: watch::Sender<ModemWord>,
    /// Changes when an operator wants it opened anew.
    pub(super) reset: watch::Receiver<()>,
    pub(super) stop: CancellationToken,
}

/// What outlives a port.
pub(super) struct Kept {
    pub(super) inbox: Inbox,
    pub(super) refusals: Refusals,
    pub(super) pin: PinMemory,
    /// Whether TP-VP is written; a service centre may refuse it.
    pub(super) validity: bool,
    /// What stands in every PDU as the service centre, once the SIM's own was not enough.
    pub(super) service_centre: Option<Address>,
    /// When the balance is asked for next, by the clock's elapsed time.
    pub(super) balance_at: Option<Duration>,
    /// True once `AT+CFUN=1,1` was tried since the last good session.
    pub(super) restarted: bool,
    /// Notes for the operator: of the last set-up, and our own.
    pub(super) of_set_up: Vec<String>,
    pub(super) notes: Vec<String>,
    /// What was logged, and when.
    said: Vec<(String, Duration)>,
}

impl Driver {
    pub(super) async fn run(mut self) {
        let mut kept = Kept {
            inbox: Inbox::new(
                self.config.account.clone(),
                self.id.clone(),
                self.events.clone(),
                self.clock.clone(),
            )
            .sweeping_every(self.config.sweep),
            refusals: Refusals::default(),
            pin: PinMemory::new(self.config.pin_memory.as_deref(), &self.random),
            validity: true,
            service_centre: None,
            balance_at: None,
            restarted: false,
            of_set_up: Vec::new(),
            notes: Vec::new(),
            said: Vec::new(),
        };
        let mut failures = 0_u32;
        let mut opened = false;
        let mut power_at: Option<Duration> = None;
        while !self.stop.is_cancelled() {
            self.show(ChannelStatus::Connecting);
            let end = match self.open(&mut kept.inbox).await {
                None => break,
                Some(Err(cause)) => End::Lost {
                    cause,
                    lasted: false,
                    restarts: false,
                },
                Some(Ok(stream)) => {
                    if std::mem::replace(&mut opened, true) {
                        self.tell_of(|word| word.recoveries.reopened += 1);
                    }
                    Session::new(stream, &mut self, &mut kept).run().await
                }
            };
            let (cause, lasted, restarts) = match end {
                End::Stopped => break,
                End::Reset => {
                    tracing::info!(channel = %self.id, "reset");
                    (failures, kept.restarted) = (0, false);
                    continue;
                }
                End::Lost {
                    cause,
                    lasted,
                    restarts,
                } => (cause, lasted, restarts),
            };
            kept.log(&self, &cause);
            self.show(ChannelStatus::Down { cause });
            // What was known last is not what is.
            self.tell_of(|word| (word.signal_dbm, word.registration) = (None, None));
            if lasted {
                failures = 0;
                kept.restarted &= restarts;
            }
            let mut wait = self.spread(self.backoff(failures));
            failures = failures.saturating_add(1);
            if restarts {
                wait = wait.max(RESTARTS);
            }
            let now = self.clock.elapsed();
            let may = power_at.is_none_or(|last| now.saturating_sub(last) >= POWER_EVERY);
            if failures >= POWER_AFTER && may && !self.config.power_command.is_empty() {
                power_at = Some(now);
                let aloud = kept.may_say("power", now);
                let run = power(self.id.clone(), self.config.clone(), aloud);
                if self.unplugged(&mut kept.inbox, run).await.is_none() {
                    break;
                }
                self.tell_of(|word| word.recoveries.power += 1);
                // It starts from nothing, and so does the ladder.
                (failures, kept.restarted) = (0, false);
                wait = wait.min(self.config.reopen.0.max(RESTARTS));
            }
            let mut reset = self.reset.clone();
            let waiting = async move {
                tokio::select! {
                    () = sleep(wait) => false,
                    Ok(()) = reset.changed() => true,
                }
            };
            match self.unplugged(&mut kept.inbox, waiting).await {
                None => break,
                Some(false) => {}
                Some(true) => {
                    tracing::info!(channel = %self.id, "reset");
                    self.reset.mark_unchanged();
                    (failures, kept.restarted) = (0, false);
                }
            }
        }
        self.requests.close();
        while let Some(request) = self.requests.recv().await {
            self.give_back(&request).await;
        }
        self.show(ChannelStatus::Stopped);
        tracing::info!(channel = %self.id, "stopped");
    }

    /// Opens the port, or says in words why that cannot be. `None`: stopped.
    async fn open(&mut self, inbox: &mut Inbox) -> Option<Result<Box<dyn Stream>, String>> {
        let opener = self.opener.clone();
        let opening = timeout(OPEN_WITHIN, async move { opener.open().await });
        let device = self.config.device.clone();
        let opened = self.unplugged(inbox, opening).await?;
        Some(match opened {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(why_not_open(&device, &error)),
            Err(_) => Err(format!(
                "{}: it does not open within {} s",
                device.display(),
                OPEN_WITHIN.as_secs()
            )),
        })
    }

    /// Waits for `work` while no message can be sent: requests are returned meanwhile. `None`: stopped.
    pub(super) async fn away<F: Future>(&mut self, work: F) -> Option<F::Output> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                Some(request) = self.requests.recv() => self.give_back(&request).await,
                output = &mut work => return Some(output),
            }
        }
    }

    /// Like [`Self::away`], while there is no modem: what came directly and is not committed yet lies
    /// nowhere else, and is handed up again.
    async fn unplugged<F: Future>(&mut self, inbox: &mut Inbox, work: F) -> Option<F::Output> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                Some(request) = self.requests.recv() => self.give_back(&request).await,
                () = inbox.verdict() => {}
                output = &mut work => return Some(output),
                () = sleep(HAND_UP_EVERY) => inbox.hand_up_direct().await,
            }
        }
    }

    pub(super) async fn give_back(&self, request: &SubmitRequest) {
        let token = request.token;
        self.tell(ChannelEvent::Returned { token }).await;
    }

    /// Hands an event to the engine. If the engine is gone there is nobody left to tell.
    pub(super) async fn tell(&self, event: ChannelEvent) {
        let _ = self.events.send(event).await;
    }

    /// Shows a status, if it is another one.
    pub(super) fn show(&self, status: ChannelStatus) {
        self.status.send_if_modified(|shown| {
            let other = *shown != status;
            *shown = status;
            other
        });
    }

    /// Changes what is known of the modem, and wakes those who watch it if that changes anything.
    pub(super) fn tell_of(&self, change: impl FnOnce(&mut ModemWord)) {
        self.word.send_if_modified(|word| {
            let before = word.clone();
            change(word);
            *word != before
        });
    }

    /// What the SIM is known by, for references: its own number, or else the channel's name.
    pub(super) fn sim(&self) -> String {
        let sim = self.word.borrow().sim.clone();
        sim.unwrap_or_else(|| self.id.to_string())
    }

    fn backoff(&self, failures: u32) -> Duration {
        let (least, most) = self.config.reopen;
        least
            .saturating_mul(2_u32.saturating_pow(failures))
            .min(most)
    }

    /// Shortens a wait by up to a half: modems that were lost together must not all come back in the
    /// same instant.
    fn spread(&self, wait: Duration) -> Duration {
        wait.mul_f64(0.5 + 0.5 * self.random.fraction())
    }
}

impl Kept {
    /// Logs why the modem is down, once for so long.
    pub(super) fn log(&mut self, driver: &Driver, cause: &str) {
        if self.may_say(cause, driver.clock.elapsed()) {
            tracing::warn!(channel = %driver.id, cause, "modem down");
        } else {
            tracing::debug!(channel = %driver.id, cause, "modem still down");
        }
    }

    /// Logs what only a person can put right, once for so long.
    pub(super) fn alarm(&mut self, driver: &Driver, cause: &str) {
        if self.may_say(cause, driver.clock.elapsed()) {
            tracing::error!(channel = %driver.id, cause, "modem needs a person");
        }
    }

    /// Keeps a note for the operator.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) && self.notes.len() < SAID {
            self.notes.push(note);
        }
    }

    /// True if this was not said within so long; it counts as said then.
    pub(super) fn may_say(&mut self, cause: &str, now: Duration) -> bool {
        self.said
            .retain(|(_, at)| now.saturating_sub(*at) < SAID_AGAIN);
        if self.said.iter().any(|(said, _)| said == cause) {
            return false;
        }
        if self.said.len() == SAID {
            self.said.remove(0);
        }
        self.said.push((cause.to_owned(), now));
        true
    }
}

/// Runs the operator's power command, with the device behind its own arguments. No shell reads it.
async fn power(channel: ChannelId, config: Arc<ModemConfig>, aloud: bool) {
    let Some((program, arguments)) = config.power_command.split_first() else {
        return;
    };
    if aloud {
        tracing::warn!(%channel, program, "cutting the modem's power");
    }
    let run = tokio::process::Command::new(program)
        .args(arguments)
        .arg(&config.device)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let failed = match timeout(POWER_WITHIN, run).await {
        Ok(Ok(status)) if status.success() => return,
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it did not end within {} s", POWER_WITHIN.as_secs()),
    };
    if aloud {
        tracing::error!(%channel, program, failed, "the power command failed");
    }
}

/// Why a port does not open, and what to do about it.
fn why_not_open(device: &Path, error: &io::Error) -> String {
    /// "Device or resource busy", "Unable to acquire exclusive lock" (what the superuser gets): the
    /// serial library tells them in words only, and by the kind of a device that is not there.
    const BUSY: [&str; 2] = ["busy", "exclusive lock"];
    let device = device.display();
    let said = error.to_string().to_ascii_lowercase();
    if BUSY.iter().any(|busy| said.contains(busy)) {
        return format!("{device} is in use by another program, ModemManager perhaps");
    }
    match error.kind() {
        io::ErrorKind::NotFound => format!("no such device: {device}; is the modem plugged in?"),
        io::ErrorKind::PermissionDenied => {
            format!("{device}: permission denied; is the user in the group dialout?")
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy => {
            format!("{device} is in use by another program")
        }
        _ => format!("{device}: {error}"),
    }
}

/// Why a modem with this registration takes no messages, if so.
pub(super) fn why_unregistered(registration: Registration) -> Option<&'static str> {
    match registration {
        Registration::Home | Registration::Roaming | Registration::Unknown => None,
        Registration::Denied => Some("not registered: denied by the network; is the SIM active?"),
        Registration::Searching => Some("not registered: searching for a network"),
        Registration::Idle => Some("not registered: not searching; check SIM and antenna"),
    }
}

#[cfg(test)]
mod tests;
