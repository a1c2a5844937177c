//! Messages under way: which permit each holds, and how many of its segments are still to be
//! answered. A permit comes home only after the outcome is committed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use crate::channel::ChannelHandle;
use crate::domain::id::{Account, ChannelId};
use crate::domain::message::Token;

/// A message that a channel has in hand.
struct Flight {
    /// Dropped with the flight, and so given back to its channel's window.
    _permit: OwnedSemaphorePermit,
    account: Account,
    channel: ChannelId,
    segments_left: usize,
}

/// Every message under way; their number is bounded by the windows.
#[derive(Default)]
pub(crate) struct Flights {
    flights: Mutex<HashMap<Token, Flight>>,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message leaves over `channel` with a permit of it.
    pub(super) fn start(
        &self,
        token: Token,
        permit: OwnedSemaphorePermit,
        channel: &ChannelHandle,
        segments: usize,
    ) {
        let flight = Flight {
            _permit: permit,
            account: channel.account.clone(),
            channel: channel.id.clone(),
            segments_left: segments,
        };
        self.lock().insert(token, flight);
    }

    /// One segment of it was accepted; true if that was the last one to send.
    pub(super) fn segment_accepted(&self, token: Token) -> bool {
        match self.lock().get_mut(&token) {
            Some(flight) => {
                flight.segments_left = flight.segments_left.saturating_sub(1);
                flight.segments_left == 0
            }
            None => false,
        }
    }

    /// Where a message went, while it is under way.
    pub(super) fn channel(&self, token: Token) -> Option<(Account, ChannelId)> {
        self.lock()
            .get(&token)
            .map(|flight| (flight.account.clone(), flight.channel.clone()))
    }

    /// Its outcome is committed: the permit goes home.
    pub(super) fn end(&self, token: Token) {
        self.lock().remove(&token);
    }

    /// Number of messages under way.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}
