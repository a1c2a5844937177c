//! A command to a modem, and why it may have no answer.

use std::io;
use std::time::Duration;

use thiserror::Error;

use super::errors::Failure;
use super::sort::{Expect, Sign};

/// A command with what it waits for.
#[derive(Clone, Debug)]
pub struct Command {
    pub(super) text: String,
    shown: &'static str,
    pub(super) expect: Expect,
    pub(super) within: Duration,
    pub(super) settles: Option<Duration>,
}

impl Command {
    /// A command that only `OK` or a failure answers, within 5 s.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            shown: "",
            expect: Expect::Nothing,
            within: Duration::from_secs(5),
            settles: None,
        }
    }

    /// Which lines answer it.
    #[must_use]
    pub const fn expecting(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }

    /// How long to wait for its final result.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    /// Some modems answer `+CPIN?` without a final result: after an information line, so long a
    /// silence ends it too.
    #[must_use]
    pub const fn settling_after(mut self, silence: Duration) -> Self {
        self.settles = Some(silence);
        self
    }

    /// What errors call it, instead of its text, if that holds a secret or a number.
    #[must_use]
    pub const fn shown_as(mut self, name: &'static str) -> Self {
        self.shown = name;
        self
    }

    pub(super) fn name(&self) -> String {
        if self.shown.is_empty() {
            self.text.clone()
        } else {
            self.shown.to_owned()
        }
    }
}

/// Why a command has no answer.
#[derive(Debug, Error)]
pub enum AtError {
    /// It was refused; the modem is in step.
    #[error("{command}: {failure}")]
    Refused {
        /// Which.
        command: String,
        /// How.
        failure: Failure,
    },
    /// No final result in time.
    #[error("{command}: no answer within {} ms", .within.as_millis())]
    TimedOut {
        /// Which.
        command: String,
        /// In how long.
        within: Duration,
    },
    /// The modem restarted meanwhile; it needs its set-up again.
    #[error("the modem has restarted ({0:?})")]
    Restarted(Sign),
    /// The port is gone: unplugged, most likely.
    #[error("the port has closed")]
    Closed,
    /// The port failed: unplugged, most likely.
    #[error("port: {0}")]
    Port(#[from] io::Error),
}

impl AtError {
    /// True if there is no use in writing to this port any more.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Closed | Self::Port(_))
    }

    /// The failure, if the modem gave one.
    #[must_use]
    pub const fn failure(&self) -> Option<Failure> {
        match self {
            Self::Refused { failure, .. } => Some(*failure),
            _ => None,
        }
    }
}
