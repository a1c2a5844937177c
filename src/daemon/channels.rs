//! The drivers of all accounts: who runs, who ends, and who waits for whom.
//!
//! An account that goes or is told something else takes nothing new from the instant that this is
//! said; its driver finishes what it has in hand and ends. One that comes starts as soon as nobody is in its
//! way: not while a driver of its own name is there, nor one that uses the same port, or binds under the
//! same name at the same place, where a second bind may be refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Stops, ended};
use crate::channel::modem::{self, ModemConfig};
use crate::channel::smpp::tls::TlsSettings;
use crate::channel::smpp::{self, BindMode, SmppConfig};
use crate::channel::{ChannelEvent, ChannelHandle, SegmentOutcome};
use crate::clock::{Clock, Random};
use crate::config::diff::{Diff, Line};
use crate::config::{Bind, ModemAccount, SmppAccount};
use crate::domain::id::Account;
use crate::domain::message::Doubt;
use crate::engine::Engine;

/// How long the drivers of an account may take to end. A bind needs at most half a minute for what is
/// unanswered.
///
/// A network may take its minute to answer a modem; nearly always it is seconds. When the process
/// stops, the rare submission that is cut off here is found leased at the next start, doubtful and kept
/// to its account, where a status report settles it. A reload has more time: see [`Running::within`].
pub(super) const CHANNEL_DEADLINE: Duration = Duration::from_secs(40);

/// What a modem's driver needs beside the answer of the network.
const MODEM_LEAVES: Duration = Duration::from_secs(15);

/// Every driver of the daemon.
pub(super) struct Carriers {
    clock: Clock,
    random: Random,
    data_dir: PathBuf,
    /// For drivers that start later. When this and the drivers are gone, the engine knows.
    events: mpsc::Sender<ChannelEvent>,
    /// Stops all drivers.
    stop: CancellationToken,
    /// Nothing more is started.
    stopping: CancellationToken,
    running: Vec<Running>,
}

/// The drivers of one account.
struct Running {
    line: Line,
    /// Stops these, as the stop of all does.
    stop: CancellationToken,
    /// The driver has ended; the account waits for what comes after it.
    over: bool,
    /// Without its task where that has been seen to end.
    channels: Vec<(ChannelHandle, Option<JoinHandle<()>>)>,
}

/// The process stops.
#[derive(Debug)]
pub(super) struct Stopping;

impl Running {
    fn handles(&self) -> impl Iterator<Item = &ChannelHandle> {
        self.channels.iter().map(|(handle, _)| handle)
    }

    /// True if `line` cannot start while these drivers are there.
    fn is_in_the_way_of(&self, line: &Line) -> bool {
        let same = self.line.name() == line.name() || self.line.place() == line.place();
        same && self.stop.is_cancelled() && !self.over
    }

    /// How long a reload waits for the end of these drivers.
    fn within(&self) -> Duration {
        match &self.line {
            Line::Smpp(_) => CHANNEL_DEADLINE,
            Line::Modem(modem) => CHANNEL_DEADLINE.max(modem.submit_timeout + MODEM_LEAVES),
        }
    }
}

impl Carriers {
    /// No driver yet; those that start tell `events` and end with `stops`.
    pub(super) fn new(
        clock: &Clock,
        random: &Random,
        data_dir: &Path,
        events: mpsc::Sender<ChannelEvent>,
        stops: &Stops,
    ) -> Self {
        Self {
            clock: clock.clone(),
            random: random.clone(),
            data_dir: data_dir.to_owned(),
            events,
            stop: stops.channels.clone(),
            stopping: stops.reloading.clone(),
            running: Vec::new(),
        }
    }

    /// Starts the drivers of an account, in the place of those it had.
    pub(super) fn start(&mut self, line: Line) {
        let stop = self.stop.child_token();
        let (clock, random, events) = (&self.clock, &self.random, &self.events);
        let channels = match &line {
            Line::Smpp(account) => {
                let config = Arc::new(smpp_config(account));
                smpp::start(config, clock, random, events, &stop)
            }
            Line::Modem(modem) => {
                let config = Arc::new(modem_config(modem, &self.data_dir));
                vec![modem::start(config, clock, random, events, &stop)]
            }
        };
        let channels = channels.into_iter();
        let channels = channels
            .map(|(handle, task)| (handle, Some(task)))
            .collect();
        let started = Running {
            line,
            stop,
            over: false,
            channels,
        };
        let known = self.running.iter_mut();
        match known
            .into_iter()
            .find(|it| it.line.name() == started.line.name())
        {
            Some(known) => *known = started,
            None => self.running.push(started),
        }
    }

    /// The channels of all accounts.
    pub(super) fn handles(&self) -> Vec<ChannelHandle> {
        let handles = self.running.iter().flat_map(Running::handles);
        handles.cloned().collect()
    }

    /// Does what a new configuration asks for: `publish` makes its rules known once nothing more is
    /// claimed by the old ones for what ends. `order` are its accounts as they are shown.
    ///
    /// # Errors
    /// If the process stops meanwhile: what has not started does not start.
    pub(super) async fn change(
        &mut self,
        engine: &Engine,
        diff: &Diff,
        order: &[Account],
        publish: impl FnOnce(),
    ) -> Result<(), Stopping> {
        let mut waiting: Vec<Line> = diff
            .started
            .iter()
            .chain(&diff.restarted)
            .cloned()
            .collect();
        let restarted = diff.restarted.iter().map(Line::name);
        let leaving: Vec<Account> = diff.drained.iter().chain(restarted).cloned().collect();
        engine.drain(&leaving);
        let mut draining = FuturesUnordered::new();
        for it in &self.running {
            if leaving.contains(it.line.name()) {
                it.stop.cancel();
                let (name, within) = (it.line.name().clone(), it.within());
                let handles: Vec<_> = it.handles().cloned().collect();
                draining.push(async move {
                    let all = join_all(handles.iter().map(ChannelHandle::ended));
                    let in_time = tokio::time::timeout(within, all).await.is_ok();
                    (name, in_time)
                });
            }
        }
        publish();
        loop {
            let is_free =
                |line: &mut Line| !self.running.iter().any(|it| it.is_in_the_way_of(line));
            let free: Vec<Line> = waiting.extract_if(.., is_free).collect();
            for line in free {
                self.start(line);
            }
            let rank = |it: &Running| order.iter().position(|name| name == it.line.name());
            self.running
                .sort_by_key(|it| rank(it).unwrap_or(usize::MAX));
            engine.set_channels(self.handles());
            let next = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Err(Stopping),
                next = draining.next() => next,
            };
            let Some((name, in_time)) = next else {
                return Ok(());
            };
            self.finish(engine, &name, in_time).await;
            if diff.drained.contains(&name) {
                self.running.retain(|it| *it.line.name() != name);
            }
        }
    }

    /// Ends the drivers of an account by force, if they have not ended by themselves.
    async fn finish(&mut self, engine: &Engine, name: &Account, in_time: bool) {
        let mut running = self.running.iter_mut();
        let Some(running) = running.find(|it| it.line.name() == name) else {
            return;
        };
        running.over = true;
        for (handle, task) in &mut running.channels {
            let Some(task) = task.take() else { continue };
            if !in_time {
                tracing::warn!(channel = %handle.id, "not drained in time");
                task.abort();
            }
            match task.await {
                Ok(()) => continue,
                Err(error) if error.is_cancelled() => {}
                Err(error) => tracing::error!(channel = %handle.id, %error, "driver ended badly"),
            }
            // Behind everything that the driver itself has said: what it has told of is no doubt.
            for (token, segment) in engine.in_hand(handle) {
                let event = ChannelEvent::Segment {
                    token,
                    segment,
                    outcome: SegmentOutcome::Unknown(Doubt::Disconnected),
                    took: Duration::ZERO,
                };
                // If the engine is gone there is nobody left to tell.
                let _ = self.events.send(event).await;
            }
        }
    }

    /// Ends all drivers, each within the deadline, and with them what tells the engine of carriers.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let channels = self.running.into_iter().flat_map(|it| it.channels);
        let left = channels.filter_map(|(handle, task)| Some((handle, task?)));
        let all = left.map(async |(handle, task)| {
            ended(handle.id.as_str(), task, CHANNEL_DEADLINE).await;
        });
        join_all(all).await;
    }
}

/// What the driver of an account is told of it.
pub(crate) fn smpp_config(account: &SmppAccount) -> SmppConfig {
    SmppConfig {
        account: account.name.clone(),
        host: account.host.clone(),
        port: account.port,
        tls: account.tls.as_ref().map(|tls| TlsSettings {
            ca_file: tls.ca_file.clone(),
            server_name: tls.server_name.clone(),
            identity: tls.identity.clone(),
        }),
        system_id: account.system_id.clone(),
        password: account.password.clone(),
        system_type: account.system_type.clone(),
        bind: match account.bind {
            Bind::Transceiver => BindMode::Transceiver,
            Bind::TransmitterReceiver => BindMode::TransmitterReceiver,
        },
        binds: usize::from(account.binds),
        window: account.window,
        response_timeout: account.response_timeout,
        enquire_link: account.enquire_link,
        reconnect_min: account.reconnect.0,
        reconnect_max: account.reconnect.1,
        sender: account.sender.clone(),
        source_ton: account.source_ton,
        source_npi: account.source_npi,
        dest_ton: Some(account.dest_ton),
        dest_npi: Some(account.dest_npi),
        service_type: account.service_type.clone(),
        data_coding_gsm: account.data_coding_gsm,
        alphabet: account.text.alphabet,
        packed_gsm: account.packed_gsm,
        refusals: account.refusals.clone(),
        wire: account.wire.clone(),
    }
}

/// What the driver of a modem is told of it. That its SIM has refused the PIN is remembered in the
/// data folder: a PIN that is tried three times blocks the SIM, restarts or not.
pub(crate) fn modem_config(account: &ModemAccount, data_dir: &Path) -> ModemConfig {
    ModemConfig {
        account: account.name.clone(),
        device: account.device.clone(),
        baud: account.baud,
        pin: account.pin.clone(),
        pin_memory: Some(data_dir.join(format!("modem-{}.pin", account.name))),
        service_centre: account.service_centre.clone(),
        submit_timeout: account.submit_timeout,
        rest: account.rest,
        sweep: account.sweep,
        check: account.check,
        ussd_balance: account.ussd_balance.clone(),
        ussd_every: account.ussd_every,
        reopen: account.reopen,
        power_command: account.power_command.clone(),
    }
}
