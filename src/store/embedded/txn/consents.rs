//! Consents, and numbers that nobody has, as the writer changes them: the record and memory at once.

use std::sync::{PoisonError, RwLockWriteGuard};
use std::time::Duration;

use super::Txn;
use crate::domain::consent::{Consent, NOTES_MAX, Said};
use crate::domain::event::Event;
use crate::domain::id::Tenant;
use crate::domain::message::{Message, Outcome, State};
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;
use crate::store::consents::Agreed;
use crate::store::invalid::Invalid;
use crate::store::kv::Kv;
use crate::store::{InvalidNumber, Noted, OutboxEvent, StoreError, keys};

impl<K: Kv> Txn<'_, K> {
    /// Adds a line to the history that `consent` names. A withdrawal fails what waited under it.
    pub(in crate::store::embedded) fn note_consent(
        &mut self,
        consent: Consent,
        said: Said,
        now: Timestamp,
    ) -> Result<Noted, StoreError> {
        let key = keys::consent(&consent.tenant, consent.number, &consent.purpose);
        let known = self.get::<Consent>(&key)?;
        if known.is_none() && !said.granted {
            return Err(StoreError::NotFound);
        }
        let mut consent = known.unwrap_or(consent);
        // What is in force can always be taken back.
        if said.granted && consent.notes.len() >= NOTES_MAX {
            return Ok(Noted::Full);
        }
        if !consent.add(said, now) {
            return Ok(Noted::Done(Box::new(consent), false, Vec::new()));
        }
        self.put(key, &consent)?;
        self.agreed().put(&consent);
        let mut failed = Vec::new();
        if !consent.is_in_force() {
            for id in self.waiting_for(&consent.tenant, consent.number)? {
                failed.extend(self.apply(id, &Event::OptedOut, now)?.ok());
            }
        }
        Ok(Noted::Done(Box::new(consent), true, failed))
    }

    /// Removes a history: its person wants it so, or it is past keeping.
    pub(in crate::store::embedded) fn forget_consent(&mut self, consent: &Consent) {
        let key = keys::consent(&consent.tenant, consent.number, &consent.purpose);
        self.write(key, None);
        self.agreed().remove(consent);
    }

    /// Removes the history under a key, if nothing has been in force by it for as long as `kept`.
    pub(in crate::store::embedded) fn prune_consent(
        &mut self,
        key: &[u8],
        kept: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let consent = self.get::<Consent>(key)?;
        if let Some(consent) = consent.filter(|it| is_over(it, kept, now)) {
            self.forget_consent(&consent);
        }
        Ok(())
    }

    /// What has happened to a message says of its number: that nobody has it, or that somebody does. What
    /// an app or a mail server took says nothing of it.
    pub(super) fn judge_number(
        &mut self,
        message: &Message,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let reached = matches!(message.state, State::Final(Outcome::Delivered));
        let reached = reached && !message.is_relayed();
        let nobody = message.tells_of_no_number();
        if !reached && !nobody {
            return Ok(());
        }
        let (tenant, number) = (&message.tenant, message.to);
        let known = {
            let invalid = self.shared.invalid.read();
            let invalid = invalid.unwrap_or_else(PoisonError::into_inner);
            invalid.has(tenant, number)
        };
        if known && reached {
            self.write(keys::invalid(tenant, number), None);
            self.invalid().remove(tenant, number);
        }
        if nobody && !known {
            let found = InvalidNumber {
                tenant: tenant.clone(),
                number,
                since: now,
                message: message.id,
                code: message.last_code().unwrap_or_default(),
                erased: None,
            };
            self.put(keys::invalid(tenant, number), &found)?;
            self.invalid().insert(tenant, number);
            self.tell(&OutboxEvent::NumberInvalid(found), tenant, None, now);
        }
        Ok(())
    }

    /// Forgets that nobody has a number; `NotFound` if that is not known.
    pub(in crate::store::embedded) fn forget_invalid(
        &mut self,
        tenant: &Tenant,
        number: Msisdn,
    ) -> Result<(), StoreError> {
        self.remove_record(keys::invalid(tenant, number))?;
        self.invalid().remove(tenant, number);
        Ok(())
    }

    /// The same, if that is known for as long as `kept`.
    pub(in crate::store::embedded) fn prune_invalid(
        &mut self,
        key: &[u8],
        kept: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let known = self.get::<InvalidNumber>(key)?;
        match known.filter(|it| now.since(it.since) >= kept) {
            Some(it) => self.forget_invalid(&it.tenant, it.number),
            None => Ok(()),
        }
    }

    fn agreed(&self) -> RwLockWriteGuard<'_, Agreed> {
        let agreed = self.shared.agreed.write();
        agreed.unwrap_or_else(PoisonError::into_inner)
    }

    fn invalid(&self) -> RwLockWriteGuard<'_, Invalid> {
        let invalid = self.shared.invalid.write();
        invalid.unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if a history has ended, and is past keeping since.
pub(in crate::store::embedded) fn is_over(
    consent: &Consent,
    kept: Duration,
    now: Timestamp,
) -> bool {
    let last = consent.notes.last();
    !consent.is_in_force() && last.is_none_or(|note| now.since(note.at) >= kept)
}
