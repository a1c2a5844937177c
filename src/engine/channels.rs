//! The connections to carriers, which come and go with the configuration.
//!
//! What is drained takes nothing new from the instant that this is said, whatever its driver knows
//! of it yet: the mark is set under the lock by which the dispatcher asks. A connection that follows
//! another one of the same name is another connection: what is still said about the old one does not
//! touch it.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::channel::{ChannelHandle, ChannelStatus};
use crate::domain::id::Account;
use crate::domain::message::Token;

impl Engine {
    /// The connections to carriers as they are now.
    #[must_use]
    pub fn channels(&self) -> Arc<[ChannelHandle]> {
        self.channels.borrow().clone()
    }

    /// These accounts take nothing new any more. What they have in hand lands; what comes back, or has
    /// no other way, waits as `no_channel`.
    pub fn drain(&self, accounts: &[Account]) {
        self.accounts.drain(accounts);
        // Another step of a route may take over.
        self.bells.dispatcher.notify_one();
    }

    /// These are the connections from now on. An account that has none of them is forgotten, one that
    /// is new starts afresh, but for a pause that was ordered of its name.
    pub fn set_channels(&self, channels: Vec<ChannelHandle>) {
        let relays = self.relays.handles();
        let all: Vec<_> = channels.iter().chain(&relays).cloned().collect();
        self.accounts.set(&all, || self.store.pauses());
        let names = all.iter();
        let names = names.flat_map(|it| [it.id.to_string(), it.account.to_string()]);
        self.metrics.show_only(names.collect());
        self.channels.send_replace(channels.into());
        self.bells.dispatcher.notify_one();
    }

    /// What a channel has in hand, as far as is known: which part of which message.
    #[must_use]
    pub fn in_hand(&self, channel: &ChannelHandle) -> Vec<(Token, u16)> {
        self.flights.of(channel)
    }
}

/// Watches every connection, as long as there is one or `claiming` lasts.
pub(super) async fn run(engine: Arc<Engine>, claiming: CancellationToken) {
    let mut list = engine.channels.subscribe();
    let mut watched: Arc<[ChannelHandle]> = Arc::default();
    let mut tasks = JoinSet::new();
    loop {
        let channels = list.borrow_and_update().clone();
        let is_new = |handle: &&ChannelHandle| !watched.iter().any(|known| known.is(handle));
        for handle in channels.iter().filter(is_new) {
            let watching = wake_on_change(engine.clone(), handle.clone(), claiming.clone());
            tasks.spawn(watching);
        }
        watched = channels;
        tokio::select! {
            biased;
            () = claiming.cancelled() => break,
            Ok(()) = list.changed() => {}
            Some(_) = tasks.join_next() => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// A channel that comes up has work to take. Ends with the channel's driver.
pub(super) async fn wake_on_change(
    engine: Arc<Engine>,
    handle: ChannelHandle,
    claiming: CancellationToken,
) {
    let mut status = handle.status.clone();
    let mut logged = None;
    loop {
        tokio::select! {
            biased;
            () = claiming.cancelled() => return,
            changed = status.changed() => if changed.is_err() { break },
        }
        let now = status.borrow_and_update().clone();
        // Each try of a bind that is down passes through `Connecting`: no news.
        if now != ChannelStatus::Connecting && logged.as_ref() != Some(&now) {
            tracing::info!(channel = %handle.id, status = ?now, "channel_status");
            logged = Some(now.clone());
        }
        if now.is_refused() {
            engine.metrics.bind_refused(handle.id.as_str());
        }
        engine.accounts.status(&handle, &now);
        engine.bells.dispatcher.notify_one();
    }
    if status.borrow().is_up() {
        // It has said nothing of its end, so that somebody must.
        tracing::error!(channel = %handle.id, "driver ended badly");
        engine.accounts.status(&handle, &ChannelStatus::Stopped);
        engine.bells.dispatcher.notify_one();
    }
}
