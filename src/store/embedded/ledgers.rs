//! Credit and quotas: the records first, then what memory shows of them.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Embedded, Shared};
use crate::domain::credit::{KeyUse, Line, Purse, Used};
use crate::domain::id::Tenant;
use crate::domain::message::Message;
use crate::domain::time::Timestamp;
use crate::store::codec::{decode, encode};
use crate::store::keys::{self, KeySpace};
use crate::store::kv::{Kv, Write};
use crate::store::{LedgerPage, Ledgers, Posted, Posting, StoreError};

/// The purses of tenants, as the last commit left them.
pub(super) type Purses = BTreeMap<Tenant, Arc<Purse>>;

impl Shared {
    pub(super) fn purses(&self) -> MutexGuard<'_, Purses> {
        self.purses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<K: Kv> Ledgers for Embedded<K> {
    fn purse(&self, tenant: &Tenant) -> Arc<Purse> {
        let known = self.shared.purses().get(tenant).cloned();
        known.unwrap_or_else(|| Arc::new(Purse::empty(tenant)))
    }

    fn purses(&self) -> Vec<Arc<Purse>> {
        self.shared.purses().values().cloned().collect()
    }

    async fn used_by_key(&self, tenant: &Tenant, key: &str) -> Result<Used, StoreError> {
        self.check_open()?;
        let key = keys::key_use(tenant, key);
        let Some(octets) = self.kv.get(&key)? else {
            return Ok(Used::default());
        };
        decode::<KeyUse>(&key, &octets).map(|it| it.used)
    }

    async fn post_credit(&self, posting: Posting) -> Result<Posted, StoreError> {
        self.write(true, move |txn| txn.post_credit(posting)).await
    }

    async fn ledger(
        &self,
        tenant: &Tenant,
        before: Option<u64>,
        limit: usize,
    ) -> Result<LedgerPage, StoreError> {
        self.check_open()?;
        let (kv, range) = (self.kv.clone(), keys::ledger_range(tenant, before));
        self.blocking(move || {
            let mut lines: Vec<Line> = Vec::new();
            for pair in kv.scan(range, true).take(limit) {
                let (key, octets) = pair?;
                lines.push(decode(&key, &octets)?);
            }
            let next = lines.last().filter(|_| lines.len() == limit);
            let next = next.map(|line| line.number);
            Ok(LedgerPage { lines, next })
        })
        .await
    }
}

/// What a start has of credit and quotas: what it ends without its having left is given back there too.
pub(super) struct Restart {
    purses: BTreeMap<Tenant, Purse>,
    keys: BTreeMap<Vec<u8>, KeyUse>,
}

impl Restart {
    pub(super) fn read<K: Kv>(kv: &K) -> Result<Self, StoreError> {
        let (mut purses, mut by_key) = (BTreeMap::new(), BTreeMap::new());
        for pair in kv.scan(KeySpace::Account.range(), false) {
            let (key, octets) = pair?;
            if keys::is_purse(&key) {
                let purse: Purse = decode(&key, &octets)?;
                purses.insert(purse.tenant.clone(), purse);
            } else {
                let used = decode(&key, &octets)?;
                by_key.insert(key, used);
            }
        }
        Ok(Self {
            purses,
            keys: by_key,
        })
    }

    /// Gives back what a message took that has ended with nothing having left: the writes of it, for
    /// the commit that ends it.
    pub(super) fn give_back(
        &mut self,
        message: &mut Message,
        now: Timestamp,
    ) -> Result<Vec<Write>, StoreError> {
        let mut writes = Vec::new();
        let Some(charge) = message.reclaim() else {
            return Ok(writes);
        };
        let tenant = &message.tenant;
        let purse = self.purses.entry(tenant.clone());
        let purse = purse.or_insert_with(|| Purse::empty(tenant));
        if let Some(line) = purse.give_back(&charge, message.id, now) {
            writes.push((keys::line(tenant, line.number), Some(encode(&line)?)));
        }
        writes.push((keys::purse(tenant), Some(encode(purse)?)));
        let key = charge.key.as_ref().map(|key| keys::key_use(tenant, key));
        if let Some(key) = key
            && let Some(used) = self.keys.get_mut(&key)
        {
            used.used.give_back(&charge);
            writes.push((key, Some(encode(used)?)));
        }
        Ok(writes)
    }

    pub(super) fn into_purses(self) -> Purses {
        let purses = self.purses.into_iter();
        purses
            .map(|(tenant, purse)| (tenant, Arc::new(purse)))
            .collect()
    }
}

/// The tenants whose ledgers have lines that are past keeping.
pub(super) fn overdue<K: Kv>(
    kv: &K,
    shared: &Shared,
    now: Timestamp,
) -> Result<Vec<Tenant>, StoreError> {
    let kept = shared.keeping.retention.messages;
    let known: Vec<_> = shared.purses().values().cloned().collect();
    let mut overdue = Vec::new();
    for purse in known {
        let key = keys::line(&purse.tenant, purse.first);
        let Some(octets) = kv.get(&key)? else {
            continue;
        };
        match decode::<Line>(&key, &octets) {
            Ok(line) if now.since(line.at) >= kept => overdue.push(purse.tenant.clone()),
            Ok(_) => {}
            // Left for fsck; the others must go all the same.
            Err(error) => tracing::error!(%error, "prune_of_unreadable_record"),
        }
    }
    Ok(overdue)
}
