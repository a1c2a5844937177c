//! The JSON of a message's way over several channels.

use serde::Serialize;
use utoipa::ToSchema;

use super::Rfc3339;
use crate::domain::chain::{Chain, Step, StepEnd, Way};
use crate::domain::message::Message;

/// One channel that a message is tried on, as clients read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageStep)]
pub struct StepView {
    /// `sms`, `app` or `email`.
    channel: &'static str,
    /// `accepted` or `delivered`: what counts as its success.
    success_on: &'static str,
    /// Whole seconds that it may take from its beginning.
    deadline_s: u64,
    /// `waiting` (those before it come first), `under_way`, `succeeded`, `failed`, `in_doubt` (nobody can
    /// tell, and no other is tried) or `needless`.
    status: &'static str,
    /// How a failed one failed: `no_address`, `undeliverable` or `timed_out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// When it began, or is to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    began_at: Option<Rfc3339>,
    /// When it has to be over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    deadline: Option<Rfc3339>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    ended_at: Option<Rfc3339>,
}

/// True if its step over SMS ended because nobody has the number.
pub(super) fn has_no_number(message: &Message) -> bool {
    let steps = message.chain().map_or(&[][..], |chain| &chain.steps);
    steps.iter().any(|step| {
        let ended = step.ended.map(|(_, end)| end);
        step.way == Way::Sms && ended == Some(StepEnd::NoAddress)
    })
}

/// The steps of a message; none of one that is an SMS alone.
pub(super) fn steps(message: &Message) -> Vec<StepView> {
    let Some(chain) = message.chain() else {
        return Vec::new();
    };
    let over = message.status().is_final();
    let steps = chain.steps.iter().enumerate();
    steps
        .map(|(index, step)| view(step, index == usize::from(chain.at), over))
        .collect()
}

/// The channel of the step that has succeeded.
pub(super) fn delivered_by(message: &Message) -> Option<&'static str> {
    let succeeded = message.chain().and_then(Chain::succeeded)?;
    Some(succeeded.way.word())
}

fn view(step: &Step, current: bool, over: bool) -> StepView {
    let end = step.ended.map(|(_, end)| end);
    let (status, outcome) = match end {
        Some(StepEnd::Succeeded) => ("succeeded", None),
        Some(StepEnd::InDoubt) => ("in_doubt", None),
        Some(StepEnd::Needless) => ("needless", None),
        Some(end) => ("failed", Some(end.word())),
        None if over => ("needless", None),
        None if current => ("under_way", None),
        None => ("waiting", None),
    };
    StepView {
        channel: step.way.word(),
        success_on: step.success_on.word(),
        deadline_s: step.deadline_ms / 1000,
        status,
        outcome,
        began_at: step.began_at.map(Rfc3339),
        deadline: step.began_at.map(|began| Rfc3339(step.deadline(began))),
        ended_at: step.ended.map(|(at, _)| Rfc3339(at)),
    }
}
