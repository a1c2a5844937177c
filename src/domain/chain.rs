//! A way of several channels: app, e-mail and SMS in any order, of which exactly one delivers.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// The steps of a message, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// What is tried, first to last.
    pub steps: Vec<Step>,
    /// Index of the step that it is at.
    pub at: u16,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Over what.
    pub way: Way,
    /// What counts as its success.
    pub success_on: SuccessOn,
    /// How long it may take, in milliseconds from its beginning.
    pub deadline_ms: u64,
    /// When it began.
    pub began_at: Option<Timestamp>,
    /// How it ended, and when.
    pub ended: Option<(Timestamp, StepEnd)>,
}

/// Over what a step goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// The message itself.
    Sms,
    /// The caller's own app: a post that it answers with a typed outcome.
    App {
        /// Where to.
        url: String,
    },
    /// An e-mail.
    Email {
        /// The address; `None`: there is none, and the step ends with that.
        to: Option<String>,
        /// The subject; `None`: the tenant's.
        subject: Option<String>,
    },
}

/// What counts as the success of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuccessOn {
    /// The far end has taken it.
    Accepted,
    /// It is with the recipient.
    #[default]
    Delivered,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEnd {
    /// As it was to.
    Succeeded,
    /// There is no address to send it to.
    NoAddress,
    /// The far end says for certain that it cannot be delivered.
    Undeliverable,
    /// Its deadline passed, and it is certain that it will not be delivered later.
    TimedOut,
    /// Nobody can tell: no other step is tried.
    InDoubt,
}
