//! Webhook deliveries that are due, read for whoever makes them.

use std::sync::Arc;

use super::Embedded;
use crate::domain::time::Timestamp;
use crate::store::codec::{Outgoing, decode};
use crate::store::kv::Kv;
use crate::store::{Delivery, OutboxDue, Settled, StoreError, keys};

impl<K: Kv> Embedded<K> {
    /// Hands out deliveries: they are due no longer until they are settled.
    pub(super) fn deliveries_due(
        &self,
        now: Timestamp,
        limit: usize,
        busy: &[Arc<str>],
    ) -> Result<OutboxDue, StoreError> {
        let (taken, next_due) = self.shared.outbox().take(now, limit, busy);
        let mut deliveries = Vec::with_capacity(taken.len());
        let mut taken = taken.into_iter();
        while let Some((seq, origin)) = taken.next() {
            let key = keys::outbox(seq);
            let outgoing = self
                .kv
                .get(&key)
                .map_err(StoreError::from)
                .and_then(|octets| decode::<Outgoing>(&key, &octets.ok_or(StoreError::NotFound)?));
            match outgoing {
                Ok(outgoing) => deliveries.push(Delivery {
                    seq,
                    url: outgoing.url,
                    origin,
                    webhook: outgoing.webhook,
                    tenant: outgoing.tenant,
                    event: outgoing.event,
                    created_at: outgoing.created_at,
                    tries: outgoing.tries,
                }),
                Err(StoreError::Unavailable(problem)) => {
                    // Nobody is handed any of them, so that none may count as handed out.
                    let mut outbox = self.shared.outbox();
                    let handed = deliveries.iter().map(|delivery| delivery.seq);
                    let rest = taken.map(|(seq, _)| seq);
                    for seq in handed.chain([seq]).chain(rest) {
                        outbox.put_back(seq);
                    }
                    return Err(StoreError::Unavailable(problem));
                }
                Err(error) => {
                    // It can never be made; keeping it would hold up its chain for ever.
                    tracing::error!(seq, %error, "webhook_record_unreadable");
                    self.shared.outbox().settle(seq, Settled::GivenUp);
                }
            }
        }
        Ok(OutboxDue {
            deliveries,
            next_due,
        })
    }
}
