//! Credit and quotas in the writer's turn: looked at before a submission writes anything, taken with its
//! last write, given back with the end of a message.

use super::Txn;
use crate::domain::credit::{CreditLow, Due, KeyUse, Line, Means, Purse};
use crate::domain::event::Changes;
use crate::domain::id::{MessageId, Tenant};
use crate::domain::message::Message;
use crate::domain::terms::Charge;
use crate::domain::time::Timestamp;
use crate::store::codec::{Idempotent, Outgoing};
use crate::store::kv::Kv;
use crate::store::{OutboxEvent, Posted, Posting, StoreError, keys};

/// Lines of one ledger that a turn of pruning removes.
const TURN: usize = 64;

impl<K: Kv> Txn<'_, K> {
    /// The purse of a tenant, as this group leaves it.
    fn purse(&self, tenant: &Tenant) -> Result<Purse, StoreError> {
        if let Some(purse) = self.purses.get(tenant) {
            return Ok(purse.clone());
        }
        let found = self.get(&keys::purse(tenant))?;
        Ok(found.unwrap_or_else(|| Purse::empty(tenant)))
    }

    fn put_purse(&mut self, purse: Purse) -> Result<(), StoreError> {
        self.put(keys::purse(&purse.tenant), &purse)?;
        self.purses.insert(purse.tenant.clone(), purse);
        Ok(())
    }

    fn used_by_key(&self, tenant: &Tenant, key: &str) -> Result<KeyUse, StoreError> {
        let found = self.get(&keys::key_use(tenant, key))?;
        Ok(found.unwrap_or_else(|| KeyUse {
            tenant: tenant.clone(),
            key: key.to_owned(),
            used: Default::default(),
        }))
    }

    /// What the messages of a submission cost, if its tenant can pay that; `None` if nothing of it is
    /// counted. Notes with each message what it takes, and writes nothing. A message that ends as it is
    /// accepted takes nothing; what `returned` took is there again when this is paid.
    ///
    /// # Errors
    /// `Unpaid`: all of it, or nothing.
    pub(super) fn price(
        &self,
        tenant: &Tenant,
        messages: &mut [Message],
        means: &Means,
        returned: &[Charge],
        now: Timestamp,
    ) -> Result<Option<Due>, StoreError> {
        for message in messages.iter_mut() {
            let unwanted = || self.shared.is_unwanted(message, &self.policy);
            let free = charge_of(message).is_some() && unwanted();
            let Some(terms) = &mut message.terms else {
                continue;
            };
            if free {
                terms.charge = None;
            }
            if let Some(charge) = &mut terms.charge {
                charge.unit = means.unit;
                charge.day = means.day.number;
            }
        }
        let charges = messages.iter().filter_map(charge_of);
        let due = Due::of(charges);
        if due.messages == 0 {
            return Ok(None);
        }
        let mut purse = self.purse(tenant)?;
        let key = means.key.as_ref();
        let key = key.map(|(key, _)| self.used_by_key(tenant, key));
        let mut key = key.transpose()?;
        for charge in returned {
            let _ = purse.give_back(charge, MessageId(uuid::Uuid::nil()), now);
            if let Some(by_key) = &mut key
                && charge.key.as_ref() == Some(&by_key.key)
            {
                by_key.used.give_back(charge);
            }
        }
        purse
            .affords(due, means, key.as_ref().map(|by_key| &by_key.used))
            .map_err(StoreError::Unpaid)?;
        Ok(Some(due))
    }

    /// Takes what [`price`](Self::price) has found that there is, and tells of a threshold.
    pub(super) fn pay(
        &mut self,
        due: Due,
        tenant: &Tenant,
        means: &Means,
        first: Option<&Message>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut purse = self.purse(tenant)?;
        let taken = purse.take(due, means, now);
        self.put_purse(purse)?;
        if let Some((key, _)) = &means.key {
            let mut used = self.used_by_key(tenant, key)?;
            used.used.take(due, means.day.number);
            self.put(keys::key_use(tenant, key), &used)?;
        }
        let Some((line, low)) = taken else {
            return Ok(());
        };
        let line = Line {
            message: first.map(|message| message.id),
            batch: first.and_then(|message| message.batch),
            ..line
        };
        self.put(keys::line(tenant, line.number), &line)?;
        if let Some(low) = low {
            self.tell_low(low, &means.email, now);
        }
        Ok(())
    }

    /// Gives back what a message took, and takes what it costs after a change, if that is something else.
    ///
    /// # Errors
    /// `Unpaid`, or the engine's own.
    pub(super) fn pay_anew(
        &mut self,
        seen: &Message,
        changes: &mut Changes,
        means: &Means,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let due = changes
            .terms
            .as_ref()
            .and_then(|terms| terms.charge.as_ref());
        let Some(paid) = charge_of(seen).filter(|paid| due.is_some_and(|due| due != *paid)) else {
            return Ok(());
        };
        let mut after = [seen.clone()];
        after[0].terms.clone_from(&changes.terms);
        let due = self.price(
            &seen.tenant,
            &mut after,
            means,
            std::slice::from_ref(paid),
            now,
        )?;
        self.give_back(&seen.tenant, paid, seen.id, now)?;
        if let Some(due) = due {
            self.pay(due, &seen.tenant, means, Some(&after[0]), now)?;
        }
        let [after] = after;
        changes.terms = after.terms;
        Ok(())
    }

    fn tell_low(&mut self, low: CreditLow, email: &[String], now: Timestamp) {
        let event = OutboxEvent::CreditLow(low.clone());
        self.tell(&event, &low.tenant, None, now);
        for address in email {
            self.send_out(Outgoing {
                url: format!("mailto:{address}"),
                webhook: None,
                tenant: low.tenant.clone(),
                event: event.clone(),
                created_at: now,
                due_at: now,
                tries: 0,
            });
        }
    }

    /// Gives back what a message of this tenant took.
    pub(super) fn give_back(
        &mut self,
        tenant: &Tenant,
        charge: &Charge,
        id: MessageId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut purse = self.purse(tenant)?;
        let line = purse.give_back(charge, id, now);
        self.put_purse(purse)?;
        if let Some(line) = line {
            self.put(keys::line(tenant, line.number), &line)?;
        }
        if let Some(key) = &charge.key {
            let mut used = self.used_by_key(tenant, key)?;
            used.used.give_back(charge);
            self.put(keys::key_use(tenant, key), &used)?;
        }
        Ok(())
    }

    pub(in crate::store::embedded) fn post_credit(
        &mut self,
        posting: Posting,
    ) -> Result<Posted, StoreError> {
        let Posting {
            tenant,
            unit,
            amount,
            note,
            by,
            idempotency,
            now,
        } = posting;
        let repeated = idempotency.map(|it| (it, keys::idempotency(&it.key)));
        if let Some((asked, key)) = &repeated
            && let Some(known) = self.get::<Idempotent>(key)?
        {
            if known.body != asked.body {
                return Err(StoreError::Conflict);
            }
            let number = known.line().ok_or(StoreError::Conflict)?;
            let line = self.get(&keys::line(&tenant, number))?;
            let line = line.ok_or(StoreError::NotFound)?;
            return Ok(Posted {
                line,
                repeated: true,
            });
        }
        let mut purse = self.purse(&tenant)?;
        let line = purse.post(unit, amount, now).map_err(StoreError::Unpaid)?;
        let line = Line { note, by, ..line };
        self.put_purse(purse)?;
        self.put(keys::line(&tenant, line.number), &line)?;
        if let Some((asked, key)) = repeated {
            self.put(key, &Idempotent::of_line(asked.body, line.number, now))?;
        }
        Ok(Posted {
            line,
            repeated: false,
        })
    }

    /// Removes the first lines of a ledger that are past keeping; true if there may be more.
    pub(in crate::store::embedded) fn prune_ledger(
        &mut self,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let kept = self.shared.keeping.retention.messages;
        let mut purse = self.purse(tenant)?;
        for _ in 0..TURN {
            let key = keys::line(tenant, purse.first);
            let line = match self.get::<Line>(&key) {
                Ok(Some(line)) if now.since(line.at) >= kept => line,
                Ok(_) | Err(StoreError::Corrupt { .. }) => return Ok(false),
                Err(error) => return Err(error),
            };
            purse.carry(&line);
            self.write(key, None);
            self.put_purse(purse.clone())?;
        }
        Ok(true)
    }
}

/// What a message takes.
fn charge_of(message: &Message) -> Option<&Charge> {
    message.terms.as_ref()?.charge.as_ref()
}
