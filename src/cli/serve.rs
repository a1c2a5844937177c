//! `relais serve`: the daemon, until a signal says stop.

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, log, runtime, supervisor};
use crate::config;
use crate::daemon::{Daemon, Parts, Running};
use crate::http::NotReloaded;

/// Serves until SIGTERM or SIGINT; SIGHUP reads the configuration again.
pub(super) fn run(file: &Path) -> Result<(), Failure> {
    let config = config::load(file)?;
    let runtime = runtime()?;
    // Dropped before the runtime, which it needs to the last.
    let logging = {
        let _context = runtime.enter();
        log::init(&config.log)
    };
    for warning in &config.warnings {
        tracing::warn!(%warning, "configuration");
    }
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let parts = Parts {
            config_file: Some(file.to_owned()),
            ..Parts::system()
        };
        let running = Daemon::start(config, parts)
            .await
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let watch = supervisor::ready(&running.engine);
        let mut level = running.log_level.clone();
        loop {
            let told = tokio::select! {
                told = signals.next() => told,
                Ok(()) = level.changed() => {
                    logging.set_level(&level.borrow_and_update());
                    continue;
                }
            };
            if told == Told::ToStop || reload(&running, &mut signals).await == Told::ToStop {
                break;
            }
        }
        supervisor::stopping();
        stop(running, signals).await;
        drop(watch);
        Ok(())
    })
}

/// Reads the configuration again, unless a signal says stop before it is done.
async fn reload(running: &Running, signals: &mut Signals) -> Told {
    supervisor::reloading();
    let told = tokio::select! {
        result = running.reload() => {
            // What is wrong in the file has been logged, a line a mistake.
            if let Err(NotReloaded::Invalid(errors)) = result {
                tracing::error!(mistakes = errors.len(), "not reloaded");
            }
            Told::ToReload
        }
        () = signals.until_stop() => Told::ToStop,
    };
    supervisor::reloaded();
    told
}

/// Stops the daemon; another signal meanwhile exits at once, which the store survives.
pub(super) async fn stop(running: Running, mut signals: Signals) {
    tokio::select! {
        () = running.stop() => {}
        () = signals.until_stop() => tracing::warn!("second signal: exiting at once"),
    }
}

/// What the process is told from outside.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    ToStop,
    ToReload,
}

impl Signals {
    /// Listens from now on, so that a signal during the start is not lost.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM, SIGINT or SIGHUP.
    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::ToStop,
            _ = self.interrupt.recv() => Told::ToStop,
            _ = self.hangup.recv() => Told::ToReload,
        }
    }

    /// Waits for SIGTERM or SIGINT. A SIGHUP that comes meanwhile stays for [`next`](Self::next).
    pub(super) async fn until_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
