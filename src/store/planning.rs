//! Plans, what is told once, and changes to what waits; and how a client keeps up with all changes.
//!
//! A plan is a name that a tenant gives: of its messages only the last one leaves. A message that is
//! accepted under the name takes the place of the one that waits, in the same commit; while that one is
//! leaving, or once it has left, the submission is refused (`PlanTooLate`). One that has ended without
//! leaving is in nobody's way.
//!
//! What is told once has a name too: while its first message waits, and once it has left, another one
//! is not stored, and the first is the answer. A first one that has ended without leaving does not count.
//! Under both names a message that waits for the same plan is replaced: what is told once may be
//! planned anew until it is told.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Change, StoreError};
use crate::domain::credit::Means;
use crate::domain::event::Changes;
use crate::domain::message::Message;
use crate::domain::time::Timestamp;

/// The verbs of plans.
#[async_trait]
pub trait Planning {
    /// Changes a message that waits, if it still is as it was `seen`; `None`: it is not, look again.
    /// `TooLate` once it is leaving, or may have left. Where it costs something else than before, that
    /// is paid by `means` in the same commit, or `Unpaid`.
    async fn change(
        &self,
        seen: Arc<Message>,
        changes: Changes,
        means: Means,
        now: Timestamp,
    ) -> Result<Option<Change>, StoreError>;

    /// An instant that divides all changes: those before it can be read now, and what changes from now
    /// on says in `updated_at` that it did so at that instant or later.
    async fn divide(&self, now: Timestamp) -> Result<Timestamp, StoreError>;
}

/// What became of a submission with plans, or with what is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// One message an item, in the order of submission: stored now, or told before.
    pub messages: Vec<Arc<Message>>,
    /// The places of those that were told before: they are not stored again.
    pub duplicates: Vec<usize>,
    /// What was replaced.
    pub replaced: Vec<Change>,
}
