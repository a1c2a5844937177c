//! Opting out and in. From the commit of an opt-out on nothing waits for its number: what waited
//! has failed in that commit, what is accepted later is failed by its own, and what was leaving then
//! fails when it would wait again.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLockWriteGuard};

use super::{Held, Shared, Txn};
use crate::domain::apply::Transition;
use crate::domain::event::Event;
use crate::domain::id::{MessageId, Tenant};
use crate::domain::message::{Message, State};
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::OptOut;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::store::embedded::claims::NotNow;
use crate::store::kv::Kv;
use crate::store::opted_out::OptedOut;
use crate::store::{Change, Opted, StoreError, keys};

impl<K: Kv> Txn<'_, K> {
    /// Opts a number out and fails what waits for it. One that is out already stays as it is.
    pub(in crate::store::embedded) fn opt_out(
        &mut self,
        mut optout: OptOut,
        now: Timestamp,
    ) -> Result<Opted, StoreError> {
        let Some(number) = optout.number.number() else {
            // Nobody but the store makes these.
            return Ok(Opted::default());
        };
        let tenant = optout.tenant.clone();
        let sender = optout.sender_key();
        {
            let mut opted_out = self.opted_out();
            if opted_out.find(&tenant, number, sender.as_deref()).is_some() {
                return Ok(Opted::default());
            }
            optout.number = opted_out.kept(&tenant, number);
            // Before the look at what waits: that asks what is opposed now.
            opted_out.insert(&tenant, optout.number, sender.as_deref());
        }
        let key = keys::optout(&tenant, optout.number, sender.as_deref());
        self.put(key, &optout)?;
        let mut failed = Vec::new();
        for id in self.waiting_for(&tenant, number)? {
            failed.extend(self.apply(id, &Event::OptedOut, now)?.ok());
        }
        Ok(Opted { new: true, failed })
    }

    /// Ends an opt-out; `NotFound` if there is none of this extent.
    pub(in crate::store::embedded) fn opt_in(
        &mut self,
        tenant: &Tenant,
        number: Msisdn,
        sender: Option<&str>,
    ) -> Result<(), StoreError> {
        let known = self.opted_out().find(tenant, number, sender);
        let who = known.ok_or(StoreError::NotFound)?;
        self.remove_record(keys::optout(tenant, who, sender))?;
        self.opted_out().remove(tenant, who, sender);
        Ok(())
    }

    /// Ends every opt-out of a number, whatever its extent: its handset asks for it.
    pub(super) fn opt_in_wholly(
        &mut self,
        tenant: &Tenant,
        number: Msisdn,
    ) -> Result<(), StoreError> {
        let known = self.opted_out().all_of(tenant, number);
        for (who, sender) in known {
            self.remove_record(keys::optout(tenant, who, sender.as_deref()))?;
            self.opted_out().remove(tenant, who, sender.as_deref());
        }
        Ok(())
    }

    fn opted_out(&self) -> RwLockWriteGuard<'_, OptedOut> {
        let opted_out = self.shared.opted_out.write();
        opted_out.unwrap_or_else(PoisonError::into_inner)
    }

    /// The messages of a tenant that wait for a number and must not reach it, found by the index of
    /// recipients.
    pub(super) fn waiting_for(
        &mut self,
        tenant: &Tenant,
        number: Msisdn,
    ) -> Result<BTreeSet<MessageId>, StoreError> {
        let (shared, policy) = (self.shared, self.policy.clone());
        let waits = |message: &Message| {
            message.tenant == *tenant
                && message.to == number
                && matches!(message.state, State::Waiting { .. })
                && shared.is_unwanted(message, &policy)
        };
        // Those that this group has accepted are taken in hand: no claim can see them yet.
        let fresh = std::mem::take(&mut self.fresh);
        let (mine, others): (Vec<_>, _) = fresh.into_iter().partition(|message| waits(message));
        self.fresh = others;
        let mut found: BTreeSet<_> = mine.iter().map(|message| message.id).collect();
        mine.into_iter().for_each(|message| self.in_hand(message));
        let ids: Vec<_> = self
            .kv
            .scan(keys::recipient_range(number, None), false)
            .map(|pair| pair.map(|(key, _)| keys::trailing_id(&key)))
            .collect::<Result<_, _>>()
            .map_err(|error| self.fail(error.into()))?;
        for id in ids.into_iter().flatten() {
            let id = MessageId(uuid::Uuid::from_bytes(id));
            let mine = match self.held.get(&id) {
                Some(held) => waits(&held.message),
                // What is leaving is not recalled; it is looked at again if it comes back.
                None if self.index().leased(id).is_some() => false,
                None => match self.get::<Message>(&keys::live(id)) {
                    Ok(message) => message.is_some_and(|message| waits(&message)),
                    // It can never be sent either.
                    Err(StoreError::Corrupt { .. }) => false,
                    Err(error) => return Err(error),
                },
            };
            if mine {
                found.insert(id);
            }
        }
        Ok(found)
    }

    /// Takes a message in hand that this group has accepted.
    pub(super) fn in_hand(&mut self, message: Arc<Message>) {
        let held = Held {
            stored_final: false,
            dirty: false,
            message,
        };
        self.held.insert(held.message.id, held);
    }

    /// Fails messages whose turn came after their recipients had opted out, and puts off those whose turn
    /// came in shut hours.
    pub(in crate::store::embedded) fn turn_back(
        &mut self,
        not_now: NotNow,
        now: Timestamp,
    ) -> Result<Vec<Change>, StoreError> {
        let NotNow { opted_out, shut } = not_now;
        let mut failed = Vec::with_capacity(opted_out.len());
        for (id, until) in shut {
            match self.keep_doubt(id, now) {
                Ok(()) => {}
                Err(StoreError::NotFound) => continue,
                Err(error) => return Err(error),
            }
            match self.apply(id, &Event::Deferred { until }, now) {
                // Withdrawn or changed since the look, or opted out: then it has failed.
                Ok(applied) => {
                    failed.extend(applied.ok().filter(|it| it.transition.status_changed()))
                }
                Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        for id in opted_out {
            let message = self.hold(id)?.message.clone();
            // A start may have come between the look and this.
            if self.shared.is_unwanted(&message, &self.policy) {
                failed.extend(self.apply(id, &Event::OptedOut, now)?.ok());
            }
        }
        Ok(failed)
    }
}

impl Shared {
    /// True if a message must not reach its recipient: who has opted out, or has taken back the consent
    /// that it needed.
    pub(in crate::store::embedded) fn is_unwanted(
        &self,
        message: &Message,
        policy: &Policy,
    ) -> bool {
        let opted_out = self.opted_out.read();
        let opted_out = opted_out.unwrap_or_else(PoisonError::into_inner);
        if opted_out.opposes(message, policy) {
            return true;
        }
        // Few messages need a consent.
        message.terms.is_some() && {
            let agreed = self.agreed.read();
            let agreed = agreed.unwrap_or_else(PoisonError::into_inner);
            agreed.is_missing(message)
        }
    }

    /// Fails a message that an event has left waiting, if its recipient has opted out.
    pub(super) fn fail_if_opted_out(
        &self,
        message: &mut Message,
        transition: Transition,
        policy: &Policy,
        now: Timestamp,
    ) -> Transition {
        let waits = matches!(message.state, State::Waiting { .. });
        if !waits || !self.is_unwanted(message, policy) {
            return transition;
        }
        match message.apply(&Event::OptedOut, policy, now) {
            Ok(end) => Transition {
                from: transition.from,
                to: end.to,
            },
            Err(_) => transition,
        }
    }
}
