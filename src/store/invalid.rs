//! Numbers that nobody has: the verbs, and what of them is kept in memory.
//!
//! A carrier has said so of a message, beyond doubt ([`Cause::NumberInvalid`]). That alone means that a
//! contact may be deleted; whatever else fails says nothing about the number. The record comes with the
//! commit that fails the message, and goes with the one that makes a later message to it delivered.
//!
//! [`Cause::NumberInvalid`]: crate::domain::message::Cause::NumberInvalid

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Part, StoreError};
use crate::domain::id::{MessageId, Tenant};
use crate::domain::msisdn::Msisdn;
use crate::domain::privacy::Pseudonyms;
use crate::domain::time::Timestamp;

/// The verbs of numbers that nobody has.
#[async_trait]
pub trait InvalidNumbers {
    /// Some of a tenant's, by number, those behind `after`: all, or those found out at `since` or later.
    async fn invalid_numbers(
        &self,
        tenant: &Tenant,
        since: Option<Timestamp>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Part<InvalidNumber>, StoreError>;

    /// Forgets one, because it has been deleted where it came from; `NotFound` if it is none.
    async fn forget_invalid(&self, tenant: &Tenant, number: Msisdn) -> Result<(), StoreError>;
}

/// A number that nobody has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidNumber {
    /// Whose message told.
    pub tenant: Tenant,
    /// The number.
    pub number: Msisdn,
    /// When it was found out.
    pub since: Timestamp,
    /// The message that told.
    pub message: MessageId,
    /// The carrier's own code.
    pub code: String,
    /// What stands for the number in what is still to be told of it, once it is erased.
    pub erased: Option<u64>,
}

impl InvalidNumber {
    /// Takes out the number.
    pub fn erase_number(&mut self, pseudonyms: &Pseudonyms) {
        if self.erased.is_none() {
            self.erased = Some(pseudonyms.of(&self.number.to_string()));
            self.number = Msisdn::NOBODY;
        }
    }
}

/// Which numbers these are: eight octets each. Mostly none.
#[derive(Debug, Default)]
pub(super) struct Invalid(HashMap<Tenant, HashSet<Msisdn>>);

impl Invalid {
    pub(super) fn has(&self, tenant: &Tenant, number: Msisdn) -> bool {
        let numbers = self.0.get(tenant);
        numbers.is_some_and(|numbers| numbers.contains(&number))
    }

    pub(super) fn insert(&mut self, tenant: &Tenant, number: Msisdn) {
        self.0.entry(tenant.clone()).or_default().insert(number);
    }

    pub(super) fn remove(&mut self, tenant: &Tenant, number: Msisdn) {
        if let Some(numbers) = self.0.get_mut(tenant) {
            numbers.remove(&number);
        }
    }
}
