//! A scripted GSM modem on any stream, or on a pseudo terminal with a stable link.
//!
//! It sends what comes by `+CMGS`, counts TP-MR as a modem does, and lets status reports and messages
//! come back in the ways that `+CNMI` asks for. It can be slow, talkative, full, locked, deaf, or
//! pulled out. Everything received is in the [`Ledger`].

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Random};

mod commands;
mod ledger;
mod memory;
mod network;
mod personality;
mod pty;
mod script;
mod sending;
mod state;

pub use ledger::{DeliveredEntry, Fate, Ledger, SubmittedEntry, Way};
pub use personality::Personality;
pub use script::{
    Chatter, Fault, FaultKind, Inbound, Memory, ModemScript, Moment, Registration, Reports, Rule,
};
use state::{Event, Now, State};

/// Octets that a connection in memory holds in each direction.
const DUPLEX: usize = 64 * 1024;
/// Octets read at once.
const READ: usize = 4 * 1024;
/// Octets that wait for a reader who does not read; more are lost.
const WAITING: usize = 64 * 1024;

/// A running modem. Clones are the same modem.
#[derive(Clone)]
pub struct ModemHandle {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Moves when the ledger may have changed.
    recorded: watch::Sender<u64>,
    /// Wakes the task that holds the stream, or waits for the modem to be plugged in.
    wake: Notify,
    clock: Clock,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        Now::of(&self.clock)
    }

    /// Lets happen what is due, and says for how long nothing will be.
    fn tick(&self, out: &mut Vec<u8>) -> Option<Duration> {
        let now = self.now();
        let next = self.lock().tick(now, out);
        self.recorded.send_modify(|count| *count += 1);
        next.map(|next| next.saturating_sub(now.elapsed))
    }

    /// The number of the time that it is plugged in now.
    fn plug(&self) -> Option<u64> {
        let state = self.lock();
        state.plugged.then_some(state.plugs)
    }
}

async fn rest(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

/// Starts a modem that has no stream yet: see [`ModemHandle::attach`] and [`ModemHandle::open`].
#[must_use]
pub fn start(script: ModemScript, clock: &Clock, random: &Random) -> ModemHandle {
    let state = State::new(script, random, Now::of(clock));
    ModemHandle {
        shared: Arc::new(Shared {
            state: Mutex::new(state),
            recorded: watch::Sender::new(0),
            wake: Notify::new(),
            clock: clock.clone(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }),
    }
}

/// Starts a modem on a pseudo terminal that the script's `link` names as long as it is plugged in.
///
/// # Errors
/// If there is no terminal to be had, or the link cannot be made.
pub fn serve(script: ModemScript, clock: &Clock, random: &Random) -> io::Result<ModemHandle> {
    let link = script.link.clone();
    let first = pty::Pty::open(&link)?;
    let handle = start(script, clock, random);
    let shared = handle.shared.clone();
    handle.shared.tasks.spawn(async move {
        let mut port = Some(first);
        loop {
            if let Some(plug) = shared.plug() {
                match port.take().map_or_else(|| pty::Pty::open(&link), Ok) {
                    Ok(port) => converse(port, plug, &shared).await,
                    Err(error) => {
                        tracing::warn!(%error, "cannot make a terminal");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            } else {
                // Unplugged: time goes on.
                port = None;
                let next = shared.tick(&mut Vec::new());
                if shared.plug().is_none() {
                    tokio::select! {
                        () = shared.stop.cancelled() => {}
                        () = shared.wake.notified() => {}
                        () = rest(next) => {}
                    }
                }
            }
            if shared.stop.is_cancelled() {
                return;
            }
        }
    });
    Ok(handle)
}

/// Runs the modem on a stream until it is pulled out, the stream ends, or all stops.
async fn converse<S: AsyncRead + AsyncWrite>(port: S, plug: u64, shared: &Shared) {
    let (mut reader, mut writer) = tokio::io::split(port);
    let mut out = Vec::new();
    let mut octets = vec![0; READ];
    loop {
        let next = shared.tick(&mut out);
        if shared.plug() != Some(plug) || shared.stop.is_cancelled() {
            return;
        }
        if out.len() > WAITING {
            out.truncate(WAITING);
        }
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            written = writer.write(&out), if !out.is_empty() => match written {
                Ok(count) => drop(out.drain(..count)),
                Err(_) => return,
            },
            read = reader.read(&mut octets) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    let now = shared.now();
                    shared.lock().input(&octets[..count], now);
                }
            },
            () = shared.wake.notified() => {}
            () = rest(next) => {}
        }
    }
}

impl ModemHandle {
    /// Lets the modem talk on this stream, until it is pulled out or the stream ends. A modem has
    /// one line: attach one stream at a time.
    pub fn attach<S: AsyncRead + AsyncWrite + Send + 'static>(&self, stream: S) {
        let shared = self.shared.clone();
        self.shared.tasks.spawn(async move {
            if let Some(plug) = shared.plug() {
                converse(stream, plug, &shared).await;
            }
        });
    }

    /// Opens the modem in memory.
    ///
    /// # Errors
    /// If it is unplugged.
    pub fn open(&self) -> io::Result<DuplexStream> {
        let now = self.shared.now();
        self.shared.lock().occur(now);
        if self.shared.plug().is_none() || self.shared.stop.is_cancelled() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (near, far) = tokio::io::duplex(DUPLEX);
        self.attach(far);
        Ok(near)
    }

    /// The link that names its terminal.
    #[must_use]
    pub fn link(&self) -> PathBuf {
        self.shared.lock().script.link.clone()
    }

    /// Looks at the ledger.
    pub fn ledger<R>(&self, look: impl FnOnce(&Ledger) -> R) -> R {
        look(&self.shared.lock().ledger)
    }

    /// Waits until the ledger is as `wanted` says.
    pub async fn wait_for(&self, wanted: impl Fn(&Ledger) -> bool) {
        let mut recorded = self.shared.recorded.subscribe();
        while !self.ledger(&wanted) {
            if recorded.changed().await.is_err() {
                return;
            }
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut State, Now) -> R) -> R {
        let now = self.shared.now();
        let result = change(&mut self.shared.lock(), now);
        self.shared.wake.notify_one();
        self.shared.recorded.send_modify(|count| *count += 1);
        result
    }

    /// Replaces the script while running. What is stored, queued and set by commands stays; the
    /// memories, the link and the `inbound` messages of the new script have no effect.
    pub fn set_script(&self, script: ModemScript) {
        self.change(|state, now| {
            state.script = Arc::new(script);
            state.follow(now);
        });
    }

    /// Changes the script while running.
    pub fn change_script(&self, change: impl FnOnce(&mut ModemScript)) {
        let mut script = ModemScript::clone(&self.shared.lock().script);
        change(&mut script);
        self.set_script(script);
    }

    /// Lets a message come in.
    pub fn inject(&self, from: &str, text: &str) {
        self.inject_as(&Inbound {
            from: from.to_owned(),
            text: text.to_owned(),
            ..Inbound::default()
        });
    }

    /// Lets a message come in as a script can describe it; its times count from now.
    pub fn inject_as(&self, message: &Inbound) {
        self.change(|state, now| state.queue(message, now));
    }

    /// Lets a TPDU come in, without its service centre: a message, or a status report.
    pub fn inject_tpdu(&self, octets: &[u8], report: bool) {
        let octets = octets.to_vec();
        let event = Event::Arrives(network::Arrival { octets, report });
        self.change(|state, now| state.at(now.elapsed, event));
    }

    /// Says a line that nobody asked for.
    pub fn say(&self, line: &str) {
        self.change(|state, now| state.at(now.elapsed, Event::Says(line.to_owned())));
    }

    /// Pulls it out: the stream ends, and the link goes.
    pub fn unplug(&self) {
        self.fault(FaultKind::Unplug, None);
    }

    /// Plugs it in again.
    pub fn replug(&self) {
        self.change(|state, now| state.plug_in(now));
    }

    /// Lets it start again: all settings are forgotten.
    pub fn reset(&self) {
        self.fault(FaultKind::Reset, None);
    }

    /// Makes it deaf and dumb, for ever if no length is given.
    pub fn hang(&self, length: Option<Duration>) {
        self.fault(FaultKind::Hang, length);
    }

    /// The next message gets this TP-MR.
    pub fn set_reference(&self, reference: u8) {
        self.change(|state, _| state.reference = reference);
    }

    fn fault(&self, kind: FaultKind, length: Option<Duration>) {
        let event = Event::Faults(kind, length);
        self.change(|state, now| {
            state.at(now.elapsed, event);
            // Without a stream nobody else asks what is due.
            state.occur(now);
        });
    }

    /// Ends its streams, removes the link, and waits until that is done.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

/// Runs the modem that `script` describes until `stop`. `started` is told once its link is there.
///
/// # Errors
/// If there is no terminal to be had, or the link cannot be made.
pub async fn run(
    script: ModemScript,
    clock: &Clock,
    random: &Random,
    stop: CancellationToken,
    started: impl FnOnce(&ModemHandle),
) -> io::Result<()> {
    let handle = serve(script, clock, random)?;
    started(&handle);
    stop.cancelled().await;
    handle.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests;
