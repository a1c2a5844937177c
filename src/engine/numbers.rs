//! What people may ask about their own number: what is known of it, and that it be erased.

use serde::Serialize;
use utoipa::ToSchema;

use super::Engine;
use crate::domain::message::Message;
use crate::domain::msisdn::Msisdn;
use crate::store::{Known, StoreError};

/// What became of an erasure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Erasure {
    /// Messages that waited, and have been cancelled for it. What digests had counted for it is dropped,
    /// and stands among what was erased.
    pub cancelled: usize,
    /// Records that nothing of the person is left in: messages from and to it, receipts.
    pub erased: usize,
    /// Messages that a carrier has, and parts of longer texts that the rest is awaited of: nothing is
    /// erased of them before they have come to their end. Ask again then.
    pub under_way: usize,
}

/// Why nothing was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotErased {
    /// So many messages wait or are under way; say whether to cancel them.
    Live(usize),
    /// The store's reason.
    Store(StoreError),
}

impl From<StoreError> for NotErased {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Engine {
    /// Erases what is known of a number, of every tenant: texts and the number itself. What waits is
    /// cancelled if `cancel` says so; without that nothing is erased while something is under way.
    ///
    /// # Errors
    /// Why nothing, or not everything, was erased; asking again goes on.
    pub async fn erase(&self, number: Msisdn, cancel: bool) -> Result<Erasure, NotErased> {
        let mut erasure = Erasure::default();
        let (live, counts) = self.live_of(number).await?;
        if live.len() + counts > 0 && !cancel {
            return Err(NotErased::Live(live.len() + counts));
        }
        for message in live {
            match self.cancel(&message.tenant, message.id).await {
                Ok(_) => erasure.cancelled += 1,
                // It is leaving, has left, or has just come to its end.
                Err(StoreError::TooLate | StoreError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut from = None;
        loop {
            let page = self.store.known_of(number, from).await?;
            if !page.known.is_empty() {
                let is_unfinished = |known: &&Known| match known {
                    Known::Message(message) => !message.status().is_final(),
                    Known::Part(_) => true,
                    _ => false,
                };
                erasure.under_way += page.known.iter().filter(is_unfinished).count();
                erasure.erased += self.store.erase(page.known, self.clock.now()).await?;
            }
            from = page.next;
            if from.is_none() {
                return Ok(erasure);
            }
        }
    }

    /// Messages to a number that have not come to their end, and how many counts of digests are still to
    /// be told to it.
    async fn live_of(&self, number: Msisdn) -> Result<(Vec<Message>, usize), StoreError> {
        let (mut live, mut counts) = (Vec::new(), 0);
        let mut from = None;
        loop {
            let page = self.store.known_of(number, from).await?;
            let mut others = false;
            for known in page.known {
                match known {
                    Known::Message(message) if !message.status().is_final() => live.push(*message),
                    Known::Message(_) => {}
                    Known::Count(_) => counts += 1,
                    _ => others = true,
                }
            }
            from = page.next;
            // Messages come first, and then counts.
            if others || from.is_none() {
                return Ok((live, counts));
            }
        }
    }
}
