//! What recipients want, and what they do not: opt-outs and consents.

use super::Engine;
use super::accept::Checked;
use crate::domain::consent::{Consent, Said};
use crate::domain::id::Tenant;
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::{Opposed, OptOut, Source, sender_key};
use crate::domain::sender::Sender;
use crate::domain::time::Timestamp;
use crate::store::{Noted, StoreError};

/// Lines of a list that are written in one commit: opting out looks for what waits for each number, and
/// claims wait for that meanwhile.
const PIECE: usize = 64;

/// An opt-out that somebody brings along from elsewhere.
#[derive(Clone, Debug)]
pub struct Brought {
    /// Who has opted out.
    pub number: Msisdn,
    /// Of which sender's messages; `None`: of all.
    pub sender: Option<Sender>,
    /// Since when; `None`: now.
    pub since: Option<Timestamp>,
    /// Where it was written down before.
    pub note: Option<String>,
}

impl Engine {
    /// True if what was checked would fail at once, because its recipient has opted out.
    ///
    /// # Errors
    /// The store's.
    pub async fn has_opted_out(
        &self,
        tenant: &Tenant,
        checked: &Checked,
    ) -> Result<bool, StoreError> {
        let known = self.store.optouts_of(tenant, checked.to).await?;
        let rules = self.rules();
        let shows = |sender: &Sender| match &checked.from {
            Some(from) => sender_key(from) == sender_key(sender),
            None => rules
                .senders_of(&checked.operator)
                .any(|own| sender_key(own) == sender_key(sender)),
        };
        Ok(known
            .iter()
            .any(|optout| optout.sender.as_ref().is_none_or(shows)))
    }

    /// Opts a number out of a tenant's messages, all or those that show one sender, and fails those that
    /// wait for it.
    ///
    /// # Errors
    /// The store's.
    pub async fn opt_out(
        &self,
        tenant: &Tenant,
        number: Msisdn,
        sender: Option<Sender>,
    ) -> Result<OptOut, StoreError> {
        let optout = OptOut {
            tenant: tenant.clone(),
            number: Opposed::Number(number),
            sender,
            since: self.clock.now(),
            source: Source::Api,
        };
        let failed = self.store.opt_out(optout.clone()).await?;
        failed.iter().for_each(|change| self.publish(change));
        let known = self.store.optouts_of(tenant, number).await?;
        let same = |known: &OptOut| known.sender_key() == optout.sender_key();
        known.into_iter().find(same).ok_or(StoreError::NotFound)
    }

    /// Opts many numbers out; answers how many were not out already.
    ///
    /// # Errors
    /// The store's; those before are opted out then.
    pub async fn bring_optouts(
        &self,
        tenant: &Tenant,
        brought: Vec<Brought>,
    ) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let mut new = 0;
        for piece in brought.chunks(PIECE) {
            let optout = |it: &Brought| OptOut {
                tenant: tenant.clone(),
                number: Opposed::Number(it.number),
                sender: it.sender.clone(),
                since: it.since.unwrap_or(now).min(now),
                source: Source::Import {
                    note: it.note.clone(),
                },
            };
            let optouts = piece.iter().map(optout).collect();
            for opted in self.store.opt_out_all(optouts, now).await? {
                new += usize::from(opted.new);
                opted.failed.iter().for_each(|change| self.publish(change));
            }
        }
        Ok(new)
    }

    /// Writes down that a number agrees, or no longer does, and fails what waits for it without its
    /// consent. `None` where the history is full.
    ///
    /// # Errors
    /// The store's; `NotFound` for a withdrawal of what was never given.
    pub async fn note_consent(
        &self,
        tenant: &Tenant,
        (number, purpose): (Msisdn, String),
        said: Said,
    ) -> Result<Option<Consent>, StoreError> {
        let all = vec![(number, purpose, said)];
        let noted = self.note_consents(tenant, all).await?;
        Ok(noted
            .into_iter()
            .next()
            .flatten()
            .map(|(consent, _)| consent))
    }

    /// The same for many; says also whether each said something new.
    ///
    /// # Errors
    /// The store's; those before are written down then.
    pub async fn note_consents(
        &self,
        tenant: &Tenant,
        said: Vec<(Msisdn, String, Said)>,
    ) -> Result<Vec<Option<(Consent, bool)>>, StoreError> {
        let mut all = Vec::with_capacity(said.len());
        for piece in said.chunks(PIECE) {
            let now = self.clock.now();
            let noted = self.store.note_consents(tenant, piece.to_vec(), now);
            for noted in noted.await? {
                all.push(match noted {
                    Noted::Full => None,
                    Noted::Done(consent, new, failed) => {
                        failed.iter().for_each(|change| self.publish(change));
                        Some((*consent, new))
                    }
                });
            }
        }
        Ok(all)
    }
}
