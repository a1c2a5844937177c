//! What the service manager is told (sd_notify(3)): that messages are accepted, that the
//! configuration is read again, that we are stopping, and,
//! where it watches, that the gateway still works. Without a service manager nothing is told.
//!
//! What is watched is the runtime, because a task of it does the telling, and the store: one that has
//! turned itself off, after a full disk above all, comes back by a restart, which the silence brings.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::task::AbortHandle;

use crate::engine::Engine;

/// Ends with the daemon.
pub(super) struct Watch(Option<AbortHandle>);

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Says that messages are accepted, and goes on saying that the gateway works, if that is asked for.
pub(super) fn ready(engine: &Arc<Engine>) -> Watch {
    tell(&[NotifyState::Ready]);
    let engine = engine.clone();
    Watch(sd_notify::watchdog_enabled().map(|within| {
        let telling = async move {
            // Twice within the time, as sd_watchdog_enabled(3) advises.
            let mut turns = tokio::time::interval(within / 2);
            loop {
                turns.tick().await;
                if engine.store.unhealthy().is_none() {
                    tell(&[NotifyState::Watchdog]);
                }
            }
        };
        tokio::spawn(telling).abort_handle()
    }))
}

/// Says that the configuration is being read again, and when that began: what `Type=notify-reload` asks
/// for (sd_notify(3), RELOADING=1).
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "service manager not told"),
    }
}

/// Says that this is done, well or not: what was in force is, or something better.
pub(super) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// Says that we are stopping.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// A service manager that does not listen is none of our concern.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "service manager not told");
    }
}
