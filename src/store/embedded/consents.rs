//! Consents and numbers that nobody has: written by the writer, read from the engine.

use std::sync::PoisonError;

use async_trait::async_trait;

use super::Embedded;
use crate::domain::consent::{Consent, Said};
use crate::domain::id::Tenant;
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;
use crate::store::codec::decode;
use crate::store::kv::Kv;
use crate::store::{Consents, InvalidNumber, InvalidNumbers, Noted, Part, StoreError, keys};

#[async_trait]
impl<K: Kv> Consents for Embedded<K> {
    async fn note_consents(
        &self,
        tenant: &Tenant,
        said: Vec<(Msisdn, String, Said)>,
        now: Timestamp,
    ) -> Result<Vec<Noted>, StoreError> {
        let tenant = tenant.clone();
        self.write(true, move |txn| {
            let note = |(number, purpose, said)| {
                txn.note_consent(Consent::new(tenant.clone(), number, purpose), said, now)
            };
            said.into_iter().map(note).collect()
        })
        .await
    }

    fn has_consent(&self, tenant: &Tenant, number: Msisdn, purpose: &str) -> bool {
        let agreed = self.shared.agreed.read();
        let agreed = agreed.unwrap_or_else(PoisonError::into_inner);
        agreed.has(tenant, number, purpose)
    }

    async fn consent(
        &self,
        tenant: &Tenant,
        number: Msisdn,
        purpose: &str,
    ) -> Result<Consent, StoreError> {
        self.check_open()?;
        let key = keys::consent(tenant, number, purpose);
        decode(&key, &self.kv.get(&key)?.ok_or(StoreError::NotFound)?)
    }

    async fn consents(
        &self,
        tenant: &Tenant,
        purpose: Option<String>,
        in_force: Option<bool>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Part<Consent>, StoreError> {
        let wanted = move |consent: &Consent| {
            purpose.as_ref().is_none_or(|it| *it == consent.purpose)
                && in_force.is_none_or(|it| it == consent.is_in_force())
        };
        self.part(keys::consent_range(tenant), after, limit, wanted)
            .await
    }
}

#[async_trait]
impl<K: Kv> InvalidNumbers for Embedded<K> {
    async fn invalid_numbers(
        &self,
        tenant: &Tenant,
        since: Option<Timestamp>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Part<InvalidNumber>, StoreError> {
        let wanted = move |it: &InvalidNumber| since.is_none_or(|since| it.since >= since);
        self.part(keys::invalid_range(tenant), after, limit, wanted)
            .await
    }

    async fn forget_invalid(&self, tenant: &Tenant, number: Msisdn) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        self.write(true, move |txn| txn.forget_invalid(&tenant, number))
            .await
    }
}
