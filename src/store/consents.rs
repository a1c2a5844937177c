//! The ledger of consents: the verbs, and what of it is kept in memory.
//!
//! Whether a number has agreed is asked for each commercial message, when it is accepted and when it is
//! claimed, so that the answer must not cost a look at the disk. As with opt-outs the writer changes
//! memory together with the record, and a start reads it again.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use super::{Change, Part, StoreError};
use crate::domain::consent::{Consent, Said};
use crate::domain::id::Tenant;
use crate::domain::message::{Class, Message};
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;

/// The verbs of consents.
#[async_trait]
pub trait Consents {
    /// Adds lines to histories, in one commit. A withdrawal fails the messages that wait for its number
    /// and needed its consent, in the same commit.
    async fn note_consents(
        &self,
        tenant: &Tenant,
        said: Vec<(Msisdn, String, Said)>,
        now: Timestamp,
    ) -> Result<Vec<Noted>, StoreError>;

    /// True if a number has agreed to a purpose. Cheap: no I/O.
    fn has_consent(&self, tenant: &Tenant, number: Msisdn, purpose: &str) -> bool;

    /// The history of a number and purpose; `NotFound` if there is none.
    async fn consent(
        &self,
        tenant: &Tenant,
        number: Msisdn,
        purpose: &str,
    ) -> Result<Consent, StoreError>;

    /// Some of a tenant's histories, by number, those behind `after`; of one purpose, or in force or not,
    /// where that is said.
    async fn consents(
        &self,
        tenant: &Tenant,
        purpose: Option<String>,
        in_force: Option<bool>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Part<Consent>, StoreError>;
}

/// What became of a line.
#[derive(Clone, Debug)]
pub enum Noted {
    /// The history with it; true if it said something new. And what failed for it.
    Done(Box<Consent>, bool, Vec<Change>),
    /// The history is full: no grant more.
    Full,
}

/// Who has agreed to what: eight octets a number.
#[derive(Debug, Default)]
pub(super) struct Agreed(HashMap<Tenant, HashMap<String, HashSet<Msisdn>>>);

impl Agreed {
    pub(super) fn has(&self, tenant: &Tenant, number: Msisdn, purpose: &str) -> bool {
        let numbers = self.0.get(tenant).and_then(|of| of.get(purpose));
        numbers.is_some_and(|numbers| numbers.contains(&number))
    }

    /// True if a message needed a consent when it was accepted that its recipient has taken back.
    pub(super) fn is_missing(&self, message: &Message) -> bool {
        let terms = message.terms.as_ref();
        let purpose = terms.and_then(|terms| terms.purpose.as_deref());
        message.class == Class::Commercial
            && purpose.is_some_and(|purpose| !self.has(&message.tenant, message.to, purpose))
    }

    /// Remembers what a history says now.
    pub(super) fn put(&mut self, consent: &Consent) {
        let of = self.0.entry(consent.tenant.clone()).or_default();
        if consent.is_in_force() {
            let numbers = of.entry(consent.purpose.clone()).or_default();
            numbers.insert(consent.number);
        } else if let Some(numbers) = of.get_mut(&consent.purpose) {
            numbers.remove(&consent.number);
        }
    }

    /// Forgets a history.
    pub(super) fn remove(&mut self, consent: &Consent) {
        let of = self.0.get_mut(&consent.tenant);
        if let Some(numbers) = of.and_then(|of| of.get_mut(&consent.purpose)) {
            numbers.remove(&consent.number);
        }
    }
}
