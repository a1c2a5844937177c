//! What operators see of the carriers' connections, and what they can do to them.
//!
//! A name is that of an account, for all of its binds, or of one bind. A pause is durable: an account
//! that was stopped for a reason is not started again by a process that restarts at night. What a
//! message has already begun goes on: a pause holds up what is not yet claimed.

use super::Engine;
use super::accounts::AccountView;
use super::budget::BudgetView;
use crate::channel::{ChannelHandle, ChannelStatus, Peer};
use crate::domain::receipt::IdWriting;
use crate::domain::time::Timestamp;
use crate::store::{Pause, StoreError};

/// One connection as operators see it.
#[derive(Clone, Debug)]
pub struct ChannelView {
    /// Its name, for example `orange#1`.
    pub name: String,
    /// Its account, for example `orange`.
    pub account: String,
    /// `smpp`, `modem`, `email` or `app`.
    pub kind: &'static str,
    /// What state it is in.
    pub status: ChannelStatus,
    /// Since when it is up, or not up.
    pub since: Timestamp,
    /// Since when it is paused, by its own name or by its account's.
    pub paused_at: Option<Timestamp>,
    /// Messages under way.
    pub window_used: usize,
    /// Messages that may be under way at once.
    pub window: usize,
    /// What the far end has said about itself.
    pub peer: Peer,
    /// How the carrier writes its ids in receipts, once that is learnt.
    pub receipt_ids: Option<IdWriting>,
    /// What is known of its account now.
    pub state: AccountView,
    /// How far the SIM is used, where it is a modem.
    pub budget: Option<BudgetView>,
}

impl Engine {
    /// The connections, in the order of the configuration.
    #[must_use]
    pub fn channel_views(&self) -> Vec<ChannelView> {
        let channels = self.shown();
        channels.iter().map(|handle| self.look(handle)).collect()
    }

    /// The connections of an account, or one connection; none if there is none of this name.
    #[must_use]
    pub fn channel_views_of(&self, name: &str) -> Vec<ChannelView> {
        let named = self.named(name);
        named.iter().map(|handle| self.look(handle)).collect()
    }

    /// Stops an account or one of its binds from taking messages, until it is resumed.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name; the store's own.
    pub async fn pause(&self, name: &str) -> Result<(), StoreError> {
        self.check_named(name)?;
        let at = self.clock.now();
        let pause = Pause {
            name: name.to_owned(),
            at,
        };
        self.store.put_pause(pause).await?;
        self.accounts.set_paused(name, Some(at));
        // Another step of a route may take over at once.
        self.bells.dispatcher.notify_one();
        tracing::info!(name, "paused");
        Ok(())
    }

    /// Lets an account or one of its binds take messages again.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name; the store's own.
    pub async fn resume(&self, name: &str) -> Result<(), StoreError> {
        self.check_named(name)?;
        self.store.delete_pause(name).await?;
        self.accounts.set_paused(name, None);
        self.bells.dispatcher.notify_one();
        tracing::info!(name, "resumed");
        Ok(())
    }

    /// Forgets what the carrier's refusals have taught about the account, and binds anew at once:
    /// after what is under way, where a connection is bound. A pause stays.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name.
    pub fn reset(&self, name: &str) -> Result<(), StoreError> {
        self.check_named(name)?;
        for handle in self.named(name) {
            self.accounts.forget(&handle.account);
            handle.reset.send_replace(());
        }
        self.bells.dispatcher.notify_one();
        tracing::info!(name, "reset");
        Ok(())
    }

    fn named(&self, name: &str) -> Vec<ChannelHandle> {
        let is_named =
            |handle: &&ChannelHandle| handle.account.as_str() == name || handle.id.as_str() == name;
        let carriers = self.channels();
        let relays = self.relays.handles();
        let all = carriers.iter().chain(&relays);
        all.filter(is_named).cloned().collect()
    }

    /// Those of the configuration: the apps that messages name are none of it.
    fn shown(&self) -> Vec<ChannelHandle> {
        let email = self.rules().email.is_some();
        let relays = self.relays.handles().into_iter();
        let relays = relays.filter(|handle| email && matches!(handle.peer, Peer::Email));
        self.channels().iter().cloned().chain(relays).collect()
    }

    fn check_named(&self, name: &str) -> Result<(), StoreError> {
        if self.named(name).is_empty() {
            return Err(StoreError::NotFound);
        }
        Ok(())
    }

    fn look(&self, handle: &ChannelHandle) -> ChannelView {
        let (rules, now) = (self.rules(), self.clock.now());
        let configured = rules.rate_of(&handle.account);
        let state = self.accounts.view(&handle.account, configured);
        let (since, paused_at) = self.accounts.bind(handle);
        ChannelView {
            name: handle.id.to_string(),
            account: handle.account.to_string(),
            kind: handle.peer.kind(),
            status: handle.status_now(),
            since,
            paused_at: state.paused_at.or(paused_at),
            window_used: handle
                .window_size
                .saturating_sub(handle.window.available_permits()),
            window: handle.window_size,
            peer: handle.peer.clone(),
            receipt_ids: self.store.writing(&handle.account),
            state,
            budget: self.budget(&handle.account, &rules, now),
        }
    }
}
