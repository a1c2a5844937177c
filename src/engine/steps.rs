//! What an app tells of a step that it had taken.

use std::sync::Arc;

use thiserror::Error;

use super::Engine;
use crate::domain::chain::{NO_ADDRESS, UNDELIVERABLE, Way};
use crate::domain::id::{MessageId, Tenant};
use crate::domain::message::{Message, Token};
use crate::domain::receipt::{Receipt, ReceiptState};
use crate::store::{Report, StoreError};

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is with the recipient.
    Delivered,
    /// There is no address to send it to.
    NoAddress,
    /// It cannot be delivered.
    Undeliverable,
}

/// Why a word about a step was not heard.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StepRefused {
    /// The message has no such step over an app.
    #[error("step {0} of this message is none over an app")]
    NotAnApp(usize),
    /// Nothing has been posted for it.
    #[error("step {0} of this message has not begun")]
    NotBegun(usize),
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Hears what became of a step over an app. What was known already, or comes too late, changes
    /// nothing.
    ///
    /// # Errors
    /// `NotAnApp`, `NotBegun`, or the store's: `NotFound`.
    pub async fn told(
        &self,
        tenant: &Tenant,
        id: MessageId,
        step: usize,
        told: Told,
    ) -> Result<Arc<Message>, StepRefused> {
        let message = self.store.message(tenant, id).await?;
        let chain = message.chain().ok_or(StepRefused::NotAnApp(step))?;
        let way = chain.steps.get(step).map(|step| &step.way);
        if !matches!(way, Some(Way::App { .. })) {
            return Err(StepRefused::NotAnApp(step));
        }
        let mut attempts = 0..message.attempts.len();
        let attempt = attempts.rfind(|attempt| chain.step_of(*attempt) == Some(step));
        let attempt = attempt.ok_or(StepRefused::NotBegun(step))?;
        let (state, word) = match told {
            Told::Delivered => (ReceiptState::Delivered, None),
            Told::NoAddress => (ReceiptState::Rejected, Some(NO_ADDRESS)),
            Told::Undeliverable => (ReceiptState::Undeliverable, Some(UNDELIVERABLE)),
        };
        let report = Report::Told {
            token: Token {
                message: id,
                attempt: u16::try_from(attempt).unwrap_or(u16::MAX),
                claim: message.claims,
            },
            receipt: Receipt {
                word: word.map(str::to_owned),
                ..Receipt::of(state)
            },
        };
        let mut changes = self.store.report(vec![report], self.clock.now()).await?;
        match changes.pop().flatten() {
            Some(change) => {
                self.publish(&change);
                self.bells.dispatcher.notify_one();
                Ok(change.message)
            }
            None => Ok(Arc::new(self.store.message(tenant, id).await?)),
        }
    }
}
