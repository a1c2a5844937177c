//! `relais serve`: the daemon, until a signal says stop.

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, log, runtime, supervisor};
use crate::config;
use crate::daemon::{Daemon, Parts, Running};

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(file: &Path) -> Result<(), Failure> {
    let config = config::load(file)?;
    let runtime = runtime()?;
    // Dropped before the runtime, which it needs to the last.
    let _logging = {
        let _context = runtime.enter();
        log::init(&config.log)
    };
    for warning in &config.warnings {
        tracing::warn!(%warning, "configuration");
    }
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let running = Daemon::start(config, Parts::system())
            .await
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let watch = supervisor::ready(&running.engine);
        signals.until_stop(Some(file)).await;
        supervisor::stopping();
        stop(running, signals).await;
        drop(watch);
        Ok(())
    })
}

/// Stops the daemon; another signal meanwhile exits at once, which the store survives.
pub(super) async fn stop(running: Running, mut signals: Signals) {
    tokio::select! {
        () = running.stop() => {}
        () = signals.until_stop(None) => tracing::warn!("second signal: exiting at once"),
    }
}

/// What the process is told from outside.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
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

    /// Waits for SIGTERM or SIGINT. SIGHUP validates the configuration again, if there is one: this
    /// version takes a change at the next start, and says so.
    pub(super) async fn until_stop(&mut self, file: Option<&Path>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    let Some(file) = file else { continue };
                    match config::load(file) {
                        Ok(_) => tracing::warn!(
                            file = %file.display(),
                            "configuration is valid; this version takes changes at the next start"
                        ),
                        Err(errors) => for error in errors.0 {
                            tracing::error!(%error, "configuration is wrong; the old one stays in force");
                        }
                    }
                }
            }
        }
    }
}
