//! What handsets send: stored before it is acknowledged, parts joined whatever their order.

use super::Txn;
use crate::domain::inbound::{Inbound, Parts};
use crate::store::kv::Kv;
use crate::store::{OutboxEvent, StoreError, keys};

impl<K: Kv> Txn<'_, K> {
    /// Takes in a message, or a part of one; the last part makes it a message.
    pub(in crate::store::embedded) fn take_in(
        &mut self,
        inbound: &Inbound,
    ) -> Result<(), StoreError> {
        let Some(part) = inbound.part else {
            return self.keep(inbound);
        };
        let key = keys::parts(inbound, part);
        let mut parts: Parts = self.get(&key)?.unwrap_or_default();
        parts.add(inbound.clone());
        match parts.assemble().filter(|_| parts.is_complete()) {
            Some(whole) => {
                self.write(key, None);
                self.keep(&whole)
            }
            None => self.put(key, &parts),
        }
    }

    /// Makes a message of the parts that have come: the rest is not awaited any longer.
    pub(in crate::store::embedded) fn give_up_parts(
        &mut self,
        key: Vec<u8>,
    ) -> Result<(), StoreError> {
        let parts: Option<Parts> = self.get(&key)?;
        self.write(key, None);
        match parts.and_then(|parts| parts.assemble()) {
            Some(whole) => self.keep(&whole),
            None => Ok(()),
        }
    }

    fn keep(&mut self, inbound: &Inbound) -> Result<(), StoreError> {
        let key = keys::inbound(&inbound.tenant, inbound.id);
        if self.get::<Inbound>(&key)?.is_none() {
            self.put(key, inbound)?;
            let event = OutboxEvent::Inbound(inbound.clone());
            self.tell(&event, &inbound.tenant, None, inbound.received_at);
        }
        Ok(())
    }
}
