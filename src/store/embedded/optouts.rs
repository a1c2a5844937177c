//! Who has opted out: written by the writer, read from the engine.

use std::sync::PoisonError;

use async_trait::async_trait;

use super::Embedded;
use crate::domain::id::Tenant;
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::{OptOut, sender_key};
use crate::domain::sender::Sender;
use crate::domain::time::Timestamp;
use crate::store::codec::{Record, decode};
use crate::store::kv::Kv;
use crate::store::{OptOuts, Opted, Part, StoreError, keys};

#[async_trait]
impl<K: Kv> OptOuts for Embedded<K> {
    async fn opt_out_all(
        &self,
        optouts: Vec<OptOut>,
        now: Timestamp,
    ) -> Result<Vec<Opted>, StoreError> {
        self.write(true, move |txn| {
            let all = optouts.into_iter();
            all.map(|one| txn.opt_out(one, now)).collect()
        })
        .await
    }

    async fn opt_in(
        &self,
        tenant: &Tenant,
        number: Msisdn,
        sender: Option<&Sender>,
    ) -> Result<(), StoreError> {
        let (tenant, sender) = (tenant.clone(), sender.map(sender_key));
        self.write(true, move |txn| {
            txn.opt_in(&tenant, number, sender.as_deref())
        })
        .await
    }

    async fn optouts_of(&self, tenant: &Tenant, number: Msisdn) -> Result<Vec<OptOut>, StoreError> {
        self.check_open()?;
        let known = {
            let opted_out = self.shared.opted_out.read();
            let opted_out = opted_out.unwrap_or_else(PoisonError::into_inner);
            opted_out.all_of(tenant, number)
        };
        let mut found = Vec::with_capacity(known.len());
        for (who, sender) in known {
            let key = keys::optout(tenant, who, sender.as_deref());
            // Memory may be ahead of the disk by the moment of a commit.
            if let Some(octets) = self.kv.get(&key)? {
                found.push(decode(&key, &octets)?);
            }
        }
        Ok(found)
    }

    async fn optouts(
        &self,
        tenant: &Tenant,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Part<OptOut>, StoreError> {
        self.part(keys::optout_range(tenant), after, limit, |_| true)
            .await
    }
}

/// Most records that a part of a list looks at; one that holds less than asked for says where to go on.
const LOOKED_AT: usize = 20_000;

impl<K: Kv> Embedded<K> {
    /// Those of the records of a range that are wanted, behind `after`: the rest of a key, behind what
    /// all keys of the range begin with, which is all but the last octet of where it starts.
    pub(super) async fn part<R: Record + Send + 'static>(
        &self,
        (start, end): (Vec<u8>, Vec<u8>),
        after: Option<Vec<u8>>,
        limit: usize,
        wanted: impl Fn(&R) -> bool + Send + 'static,
    ) -> Result<Part<R>, StoreError> {
        self.check_open()?;
        let kv = self.kv.clone();
        self.blocking(move || {
            let prefix = start
                .get(..start.len().saturating_sub(1))
                .unwrap_or_default();
            let from = after.map_or_else(
                || start.clone(),
                |rest| keys::after(&[prefix, &rest].concat()),
            );
            let mut part = Part {
                items: Vec::new(),
                next: None,
            };
            let mut last = None;
            if from < start || from >= end {
                return Ok(part);
            }
            for (looked_at, pair) in kv.scan((from, end), false).enumerate() {
                if part.items.len() >= limit || looked_at >= LOOKED_AT {
                    part.next = last;
                    break;
                }
                let (key, octets) = pair?;
                let record = decode(&key, &octets)?;
                last = key.get(prefix.len()..).map(<[u8]>::to_vec);
                if wanted(&record) {
                    part.items.push(record);
                }
            }
            Ok(part)
        })
        .await
    }
}
