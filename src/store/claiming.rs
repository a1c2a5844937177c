//! Who takes messages for sending, which of them, and what a claim takes.

use std::collections::HashSet;
use std::sync::Arc;

use super::Change;
use crate::domain::id::{Account, ChannelId};
use crate::domain::message::Message;
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;

/// Who takes messages for sending.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// The id space of its references.
    pub account: Account,
    /// The bind or modem.
    pub channel: ChannelId,
    /// When the claim is taken as lost.
    pub until: Timestamp,
    /// Which messages it may take.
    pub reach: Reach,
    /// True: no message is taken while another one to the same recipient is leased, so that none can
    /// overtake one that is refused.
    pub in_line: bool,
    /// Set: of the free messages it takes those to these recipients alone. Only the first ones in the
    /// lane's order are looked at, so that a backlog of others costs nothing: what is behind them
    /// waits.
    pub only_to: Option<Arc<HashSet<Msisdn>>>,
}

/// Which messages of a lane a claimant may take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those that no account has, or may have, a part of.
    pub free: bool,
    /// Those that one of these accounts has, or may have, a part of.
    pub pinned: Vec<Account>,
}

impl Reach {
    /// Whatever this account may send.
    #[must_use]
    pub fn of(account: &Account) -> Self {
        Self {
            free: true,
            pinned: vec![account.clone()],
        }
    }

    /// Only what this account has to finish.
    #[must_use]
    pub fn pinned(account: &Account) -> Self {
        Self {
            free: false,
            pinned: vec![account.clone()],
        }
    }
}

/// What a claim took.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The messages, leased.
    pub messages: Vec<Message>,
    /// When the lane has work again within the same reach.
    pub next_due: Option<Timestamp>,
    /// Messages that failed instead, because their recipients have opted out.
    pub failed: Vec<Change>,
    /// How many were put off instead, because the hours that bind them are shut. There may be more of them
    /// behind these.
    pub deferred: usize,
}
