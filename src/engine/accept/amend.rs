//! Changes to a message that waits, by the rules that it was accepted by.
//!
//! What is not changed is not judged again: a text keeps the signature that it was given, and a time that
//! was lawful stays so. The message is read, judged as changed, and stored if it still is as it was read;
//! else all of that once more, so that two changes at once are both made, one after the other.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::check::{VALIDITY_RANGE, check};
use super::{Asking, By, Checked, Draft, FieldError, Kept};
use crate::domain::event::Changes;
use crate::domain::id::MessageId;
use crate::domain::message::{Message, State, WaitReason};
use crate::domain::text::Prepared;
use crate::engine::Engine;
use crate::store::StoreError;

/// Times that a change is judged anew because the message has changed meanwhile.
const TRIES: usize = 16;

/// What a client wants changed.
#[derive(Clone, Debug, Default)]
pub struct Amendment {
    /// What it says; what it leaves out stays.
    pub draft: Draft,
    /// True if it says a text, or a template.
    pub text: bool,
    /// True if it says a time, or how long it is worth delivering.
    pub time: bool,
    /// True to leave the sender to the account.
    pub no_sender: bool,
    /// True to post its changes of status nowhere.
    pub no_webhook: bool,
    /// True to keep no metadata.
    pub no_metadata: bool,
}

/// Why a message was not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAmended {
    /// What was asked for breaks rules.
    #[error("{} fields are wrong", .0.len())]
    Refused(Vec<FieldError>),
    /// There is no such message, it is leaving, or the store has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Changes a message that waits.
    ///
    /// # Errors
    /// What is wrong with the change; `NotFound`, `TooLate`, or the store's own.
    pub async fn amend(
        &self,
        by: &By,
        id: MessageId,
        amendment: &Amendment,
    ) -> Result<Arc<Message>, NotAmended> {
        for _ in 0..TRIES {
            let seen = Arc::new(self.store.message(&by.tenant, id).await?);
            let changes = self.changes(by, &seen, amendment)?;
            let now = self.clock.now();
            let means = self.means(&by.tenant, by.key.as_deref(), now);
            if let Some(change) = self.store.change(seen, changes, means, now).await? {
                self.publish(&change);
                self.bells.dispatcher.notify_one();
                return Ok(change.message);
            }
        }
        // Whoever changes it all the time is sending it.
        Err(StoreError::TooLate.into())
    }

    /// Sends a message that waits for its time as soon as everything else lets it.
    ///
    /// # Errors
    /// As of [`amend`](Self::amend).
    pub async fn send_now(&self, by: &By, id: MessageId) -> Result<Arc<Message>, NotAmended> {
        let draft = Draft {
            send_at: Some(self.clock.now()),
            ..Draft::default()
        };
        let amendment = Amendment {
            draft,
            time: true,
            ..Amendment::default()
        };
        self.amend(by, id, &amendment).await
    }

    /// What a message would be after a change that the rules allow.
    fn changes(
        &self,
        by: &By,
        message: &Message,
        amendment: &Amendment,
    ) -> Result<Changes, NotAmended> {
        let begun = message.chain().is_some_and(|chain| chain.at > 0);
        let changes = Changes::none(message).filter(|_| message.is_still_here() && !begun);
        let mut changes = changes.ok_or(StoreError::TooLate)?;
        let rules = self.rules();
        let settings = self.settings(&by.tenant);
        let asking = Asking {
            engine: self,
            by,
            settings: &settings,
            policy: &rules,
            now: self.clock.now(),
        };
        // It stays with the operator that it was accepted for.
        let lane = message.chain().map_or(&message.lane, |chain| &chain.sms);
        let operator = rules.operators.iter().find(|it| it.name == lane.operator);
        let Checked {
            from,
            text,
            plan,
            replaced,
            why,
            due_at,
            expires_at,
            terms,
            draft,
            ..
        } = check(merged(message, amendment), &asking, operator).map_err(NotAmended::Refused)?;
        changes.from = from;
        changes.priority = draft.priority.unwrap_or(message.priority);
        changes.webhook_url = draft.webhook_url;
        if amendment.draft.metadata.is_some() || amendment.no_metadata {
            let written = |map| serde_json::Value::Object(map).to_string();
            changes.metadata = draft.metadata.map(written);
        }
        let mut all = changes.terms.take().map_or_else(Default::default, |it| *it);
        if amendment.text {
            changes.text = text;
            changes.plan = plan;
            changes.replaced = replaced;
            all.template = terms.template;
            all.truncated = terms.truncated;
            // Other parts are paid anew.
            if let (Some(paid), Some(due)) = (&all.charge, terms.charge)
                && paid.parts != due.parts
            {
                all.charge = Some(due);
            }
        }
        if amendment.time {
            changes.send_at = draft.send_at;
            changes.due_at = due_at;
            changes.why = why;
            changes.expires_at = expires_at;
            all.hours = terms.hours;
            all.region = terms.region;
            if let Some(chain) = &mut all.chain {
                chain.begin(due_at);
            }
        }
        changes.terms = (all != Default::default()).then(|| Box::new(all));
        Ok(changes)
    }
}

/// The draft that a message would have been, with its changes.
fn merged(message: &Message, amendment: &Amendment) -> Draft {
    let said = &amendment.draft;
    let says_when = said.send_at.is_some() || !said.anchors.is_empty() || said.offset_ms.is_some();
    let terms = message.terms.as_deref();
    let kept = Prepared {
        text: message.text.clone(),
        plan: message.plan.clone(),
        replaced: message.replaced.clone(),
    };
    let says_from = said.from.is_some() || amendment.no_sender;
    let webhook = || message.webhook_url.clone();
    Draft {
        to: message.to.to_string(),
        send_at: if says_when {
            said.send_at
        } else {
            message.send_at
        },
        validity: said.validity.or_else(|| validity(message)),
        class: Some(message.class),
        kind: message.kind.clone(),
        reference: message.reference.clone(),
        webhook_url: said
            .webhook_url
            .clone()
            .or_else(webhook)
            .filter(|_| !amendment.no_webhook),
        on_doubt: message.on_doubt,
        trace: message.trace,
        purpose: terms.and_then(|terms| terms.purpose.clone()),
        fallback: terms
            .and_then(|terms| terms.chain.as_ref())
            .map_or_else(Vec::new, |it| it.steps.clone()),
        kept: Kept {
            to: Some(message.to),
            from: Some(message.from.clone()).filter(|_| !says_from),
            text: Some(kept).filter(|_| !amendment.text),
            time: !amendment.time,
        },
        ..said.clone()
    }
}

/// How long it was to be worth delivering; `None`: by the operator's rule.
fn validity(message: &Message) -> Option<Duration> {
    let first = match &message.state {
        State::Waiting {
            due_at,
            why: WaitReason::Accepted | WaitReason::ScheduledByClient | WaitReason::SendingHours,
        } => *due_at,
        _ => message.send_at.unwrap_or_default().max(message.created_at),
    };
    let validity = message.expires_at.since(first);
    Some(validity).filter(|it| (VALIDITY_RANGE.0..=VALIDITY_RANGE.1).contains(it))
}
