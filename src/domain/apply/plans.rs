//! What a client may still do with a message that has not begun to leave: replace it, or change it.

use super::Refused;
use crate::domain::event::Changes;
use crate::domain::id::MessageId;
use crate::domain::message::{Attempt, Message, Outcome, State, What};
use crate::domain::time::Timestamp;

impl Message {
    /// Ends in favour of another message of its plan.
    pub(super) fn replaced_by(&mut self, by: MessageId, now: Timestamp) -> Result<(), Refused> {
        if !self.is_still_here() {
            return Err(Refused::TooLate);
        }
        self.terms.get_or_insert_default().replaced_by = Some(by);
        self.note(now, What::Cancelled);
        self.state = State::Final(Outcome::Cancelled);
        Ok(())
    }

    /// True if it can be changed so: a carrier that has told anything of the old text may not be asked
    /// about a new one.
    #[must_use]
    pub fn can_take(&self, changes: &Changes) -> bool {
        let same = (&self.text, &self.plan) == (&changes.text, &changes.plan);
        self.is_still_here() && (same || self.attempts.iter().all(Attempt::left_nothing))
    }

    pub(super) fn changed(&mut self, changes: &Changes, now: Timestamp) -> Result<(), Refused> {
        if !self.can_take(changes) {
            return Err(Refused::TooLate);
        }
        if (&self.text, &self.plan) != (&changes.text, &changes.plan) {
            self.attempts.clear();
        }
        let Changes {
            from,
            text,
            replaced,
            plan,
            priority,
            webhook_url,
            metadata,
            send_at,
            due_at,
            why,
            expires_at,
            terms,
        } = changes.clone();
        self.from = from;
        self.text = text;
        self.replaced = replaced;
        self.plan = plan;
        self.priority = priority;
        self.webhook_url = webhook_url;
        self.metadata = metadata;
        self.send_at = send_at;
        self.expires_at = expires_at;
        self.terms = terms;
        self.state = State::Waiting { due_at, why };
        self.note(now, What::Changed);
        Ok(())
    }
}
