//! A way of several channels: app, e-mail and SMS in any order, of which exactly one delivers.
//!
//! A step is left only when it is certain that it has not delivered and will not: refused, reported
//! undeliverable, or over with nothing of it out. Where nobody can tell, the way ends there. What an
//! event means for the way is decided in [`apply`](super::apply), in the same turn as what it means for
//! the message.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{Account, Lane, OperatorName};
use super::time::Timestamp;

/// The account, lane and operator of steps over an app: a name that no carrier may have.
pub const APP: &str = "app";
/// The same of e-mails.
pub const EMAIL: &str = "email";

/// The code of a refusal that says that there is no address.
pub const NO_ADDRESS: &str = "no_address";
/// The code of a refusal that says that it cannot be delivered.
pub const UNDELIVERABLE: &str = "undeliverable";
/// The code of a refusal that says that it was not delivered, and may be later.
pub const RETRY: &str = "retry";

/// True if an account is none of a carrier's.
#[must_use]
pub fn is_relay(account: &Account) -> bool {
    matches!(account.as_str(), APP | EMAIL)
}

/// True if an operator's name stands for a channel of another kind than SMS.
#[must_use]
pub fn is_relay_operator(name: &OperatorName) -> bool {
    matches!(name.as_str(), APP | EMAIL)
}

/// The steps of a message, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// What is tried, first to last.
    pub steps: Vec<Step>,
    /// Index of the step that it is at.
    pub at: u16,
    /// The lane of its SMS.
    pub sms: Lane,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Over what.
    pub way: Way,
    /// What counts as its success.
    pub success_on: SuccessOn,
    /// How long it may take, in milliseconds from its beginning; 0 until the message is checked where
    /// the caller has not said.
    pub deadline_ms: u64,
    /// When it began, or is to.
    pub began_at: Option<Timestamp>,
    /// Index of its first attempt, once it has begun.
    pub first_attempt: u16,
    /// When it ended, and how.
    pub ended: Option<(Timestamp, StepEnd)>,
}

/// Over what a step goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// The message itself.
    Sms,
    /// The caller's own app: a post that it answers with a typed outcome.
    App {
        /// Where to; `None`: there is none, and the step ends with that.
        url: Option<String>,
    },
    /// An e-mail.
    Email {
        /// The address; `None`: there is none, and the step ends with that.
        to: Option<String>,
        /// The subject; `None`: the tenant's.
        subject: Option<String>,
    },
}

impl Way {
    /// The word of its channel.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::App { .. } => APP,
            Self::Email { .. } => EMAIL,
        }
    }

    /// True if it is not the SMS.
    #[must_use]
    pub const fn is_relay(&self) -> bool {
        !matches!(self, Self::Sms)
    }
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

impl SuccessOn {
    /// The JSON word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
        }
    }
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
    /// One before it turned out to have delivered after all.
    Needless,
}

impl StepEnd {
    /// The JSON word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::NoAddress => NO_ADDRESS,
            Self::Undeliverable => UNDELIVERABLE,
            Self::TimedOut => "timed_out",
            Self::InDoubt => "in_doubt",
            Self::Needless => "needless",
        }
    }

    /// True if it is certain that the step has not delivered: the next one may begin.
    #[must_use]
    pub const fn is_certain(self) -> bool {
        matches!(self, Self::NoAddress | Self::Undeliverable | Self::TimedOut)
    }
}

impl Step {
    /// A step that has not begun.
    #[must_use]
    pub const fn new(way: Way, success_on: SuccessOn, deadline_ms: u64) -> Self {
        Self {
            way,
            success_on,
            deadline_ms,
            began_at: None,
            first_attempt: 0,
            ended: None,
        }
    }

    /// When it has to be over, if it begins then.
    #[must_use]
    pub fn deadline(&self, began_at: Timestamp) -> Timestamp {
        began_at + Duration::from_millis(self.deadline_ms)
    }
}

impl Chain {
    /// A way of these steps, of which there is at least one; its SMS goes by `sms`.
    #[must_use]
    pub const fn new(steps: Vec<Step>, sms: Lane) -> Self {
        Self { steps, at: 0, sms }
    }

    /// The step that it is at.
    #[must_use]
    pub fn current(&self) -> Option<&Step> {
        self.steps.get(usize::from(self.at))
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut Step> {
        self.steps.get_mut(usize::from(self.at))
    }

    /// The first step begins at `due_at`.
    pub fn begin(&mut self, due_at: Timestamp) {
        if let Some(step) = self.current_mut() {
            step.began_at = Some(due_at);
        }
    }

    /// The lane of the step that it is at.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self.current().map(|step| &step.way) {
            Some(Way::App { .. }) => relay_lane(APP),
            Some(Way::Email { .. }) => relay_lane(EMAIL),
            Some(Way::Sms) | None => self.sms.clone(),
        }
    }

    /// Index of the step that an attempt was made for.
    #[must_use]
    pub fn step_of(&self, attempt: usize) -> Option<usize> {
        self.steps
            .iter()
            .take(usize::from(self.at) + 1)
            .rposition(|step| usize::from(step.first_attempt) <= attempt)
    }

    /// The step that has succeeded.
    #[must_use]
    pub fn succeeded(&self) -> Option<&Step> {
        let succeeded = |step: &&Step| matches!(step.ended, Some((_, StepEnd::Succeeded)));
        self.steps.iter().find(succeeded)
    }

    /// Takes out what the caller wrote; half an address would be called in vain, so it goes whole.
    pub(super) fn erase_text(&mut self) {
        for step in &mut self.steps {
            match &mut step.way {
                Way::Sms => {}
                Way::App { url } => *url = url.take().filter(|url| !url.contains('?')),
                Way::Email { subject, .. } => *subject = None,
            }
        }
    }

    /// Takes out the addresses as well.
    pub(super) fn erase_addresses(&mut self) {
        self.erase_text();
        for step in &mut self.steps {
            match &mut step.way {
                Way::Sms => {}
                Way::App { url } => *url = None,
                Way::Email { to, .. } => *to = None,
            }
        }
    }
}

fn relay_lane(name: &str) -> Lane {
    Lane {
        operator: name.into(),
    }
}
