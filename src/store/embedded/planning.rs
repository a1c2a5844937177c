//! Changes to what waits, and the instants that divide all changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::{Embedded, Shared};
use crate::domain::credit::Means;
use crate::domain::event::Changes;
use crate::domain::message::Message;
use crate::domain::time::Timestamp;
use crate::store::kv::Kv;
use crate::store::{Change, Planning, StoreError};

#[async_trait]
impl<K: Kv> Planning for Embedded<K> {
    async fn change(
        &self,
        seen: Arc<Message>,
        changes: Changes,
        means: Means,
        now: Timestamp,
    ) -> Result<Option<Change>, StoreError> {
        self.write(true, move |txn| txn.change(&seen, changes, &means, now))
            .await
    }

    async fn divide(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        // In the writer's turn: what was decided before has been shown when this is answered.
        self.write(false, move |txn| {
            // Claims read it under this lock too.
            let index = txn.shared.index();
            let before = txn.shared.divide.fetch_max(now.millis(), Ordering::Relaxed);
            drop(index);
            Ok(Timestamp(before.max(now.millis())))
        })
        .await
    }
}

impl Shared {
    /// Marks a message as changed no earlier than the last instant that divides all changes.
    pub(super) fn stamp(&self, message: &mut Message) {
        let divide = Timestamp(self.divide.load(Ordering::Relaxed));
        message.updated_at = message.updated_at.max(divide);
    }
}
