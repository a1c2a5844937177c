//! What handsets send: stored before it is acknowledged, parts joined whatever their order, keywords
//! obeyed in the same commit.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::Txn;
use crate::domain::id::InboundId;
use crate::domain::inbound::{Inbound, Part, Parts};
use crate::domain::optout::{Opposed, OptOut, Source, WORDING_MAX, Wish};
use crate::domain::time::Timestamp;
use crate::store::codec::decode;
use crate::store::kv::Kv;
use crate::store::part_sets::PartSets;
use crate::store::{OutboxEvent, StoreError, TakenIn, keys};

impl<K: Kv> Txn<'_, K> {
    /// Takes in a message, or a part of one; the last part makes it a message. What a SIM shows
    /// again, because it could not be deleted there, is not taken in twice.
    pub(in crate::store::embedded) fn take_in(
        &mut self,
        inbound: Inbound,
        taken: &mut TakenIn,
    ) -> Result<(), StoreError> {
        let Some(fingerprint) = inbound.fingerprint else {
            return self.take_in_new(inbound, taken);
        };
        let week = keys::week(inbound.received_at);
        let key = keys::shown(week, &fingerprint);
        if self.is_there(&key)? {
            return Ok(());
        }
        if !self.is_there(&keys::shown(week.saturating_sub(1), &fingerprint))? {
            self.take_in_new(inbound, taken)?;
        }
        // Known for as long as it is shown, and a week longer.
        self.write(key, Some(Vec::new()));
        Ok(())
    }

    fn take_in_new(&mut self, mut inbound: Inbound, taken: &mut TakenIn) -> Result<(), StoreError> {
        let Some(part) = numbered(&inbound) else {
            inbound.part = None;
            return self.keep(inbound, taken);
        };
        let now = inbound.received_at;
        let (key, sender) = (
            keys::parts(&inbound, part),
            keys::parts_of(&inbound.account, &inbound.from),
        );
        // What cannot be read is left for fsck to find, and must not refuse what still comes.
        let mut parts: Parts = match self.get(&key) {
            Err(StoreError::Corrupt { .. }) => Parts::default(),
            known => known?.unwrap_or_default(),
        };
        let before = parts.clone();
        // A part that is nothing but a stop is obeyed at once: the others may never come.
        inbound.keyword = self.keyword(&inbound.text, &[Wish::Stop]);
        let displaced = parts.add(inbound.clone());
        if parts == before {
            return Ok(());
        }
        self.obey(&inbound, taken)?;
        if let Some(displaced) = displaced {
            self.tell_parts(&displaced, now, taken)?;
        }
        if parts.is_complete() {
            parts.told_at = Some(now);
            self.tell_parts(&parts, now, taken)?;
        }
        self.put(key.clone(), &parts)?;
        let timeout = self.policy.inbound.parts_timeout;
        let until = parts.until(timeout).unwrap_or(now);
        let crowded_out = self.part_sets().put(&key, &sender, until);
        crowded_out.map_or(Ok(()), |key| self.end_parts(key, now, taken))
    }

    /// Makes messages of texts whose parts are no longer awaited.
    pub(in crate::store::embedded) fn give_up_parts(
        &mut self,
        now: Timestamp,
        limit: usize,
    ) -> Result<TakenIn, StoreError> {
        let mut taken = TakenIn::default();
        let over = self.part_sets().over(now, limit);
        for key in over {
            self.end_parts(key, now, &mut taken)?;
        }
        Ok(taken)
    }

    /// The end of a set: told as far as it came, if it was not told before.
    fn end_parts(
        &mut self,
        key: Vec<u8>,
        now: Timestamp,
        taken: &mut TakenIn,
    ) -> Result<(), StoreError> {
        self.part_sets().remove(&key);
        match self.get::<Parts>(&key) {
            Ok(Some(parts)) => {
                self.write(key, None);
                if parts.told_at.is_none() {
                    self.tell_parts(&parts, now, taken)?;
                }
            }
            Ok(None) => {}
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "parts_unreadable");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn tell_parts(
        &mut self,
        parts: &Parts,
        now: Timestamp,
        taken: &mut TakenIn,
    ) -> Result<(), StoreError> {
        let Some(mut text) = parts.assemble() else {
            return Ok(());
        };
        // Lists go by id, newest first: what is told now must not appear among older ones.
        if let Some(chance) = text.id.bytes().last_chunk() {
            text.id = InboundId::new(now, *chance);
        }
        self.keep(text, taken)
    }

    /// Stores a message for good, obeys it and tells of it.
    fn keep(&mut self, mut inbound: Inbound, taken: &mut TakenIn) -> Result<(), StoreError> {
        let key = keys::inbound(&inbound.tenant, inbound.id);
        if self.is_there(&key)? {
            return Ok(());
        }
        // A keyword that one of its parts was has been obeyed when that part came; a text with a
        // gap may have been another one.
        if inbound.keyword.is_none() && !inbound.incomplete {
            inbound.keyword = self.keyword(&inbound.text, &[Wish::Stop, Wish::Start]);
            self.obey(&inbound, taken)?;
        }
        self.put(key, &inbound)?;
        self.unpass(&inbound)?;
        let event = OutboxEvent::Inbound(inbound.clone());
        self.tell(&event, &inbound.tenant, None, inbound.received_at);
        taken.received.push(Arc::new(inbound));
        Ok(())
    }

    fn keyword(&self, text: &str, wishes: &[Wish]) -> Option<crate::domain::optout::Keyword> {
        let keyword = self.policy.inbound.keywords.find(text)?;
        wishes.contains(&keyword.wish).then(|| keyword.clone())
    }

    /// Does what the message's keyword asks for, if it is one and its sender a number.
    fn obey(&mut self, inbound: &Inbound, taken: &mut TakenIn) -> Result<(), StoreError> {
        let (Some(wish), Some(number)) = (inbound.effect(), inbound.number()) else {
            return Ok(());
        };
        match wish {
            Wish::Stop => {
                let optout = OptOut {
                    tenant: inbound.tenant.clone(),
                    number: Opposed::Number(number),
                    sender: None,
                    since: inbound.received_at,
                    source: Source::Keyword {
                        inbound: inbound.id,
                        wording: inbound.text.chars().take(WORDING_MAX).collect(),
                    },
                };
                let opted = self.opt_out(optout, inbound.received_at)?;
                taken.failed.extend(opted.failed);
            }
            Wish::Start => self.opt_in_wholly(&inbound.tenant, number)?,
        }
        Ok(())
    }

    fn part_sets(&self) -> MutexGuard<'_, PartSets> {
        self.shared
            .part_sets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message's place among several parts; `None` if it stands alone, or is numbered impossibly:
/// then it is a text of its own rather than lost.
fn numbered(inbound: &Inbound) -> Option<Part> {
    let possible = |part: &Part| part.total > 1 && (1..=part.total).contains(&part.index);
    inbound.part.filter(possible)
}

/// Reads the sets that lack parts.
///
/// # Errors
/// The engine's own.
pub(in crate::store::embedded) fn read_part_sets<K: Kv>(
    kv: &K,
    timeout: std::time::Duration,
) -> Result<PartSets, StoreError> {
    let mut sets = PartSets::default();
    for pair in kv.scan(keys::KeySpace::Parts.range(), false) {
        let (key, octets) = pair?;
        match decode::<Parts>(&key, &octets) {
            Ok(parts) => {
                if let (Some(until), Some(first)) = (parts.until(timeout), parts.came.first()) {
                    let sender = keys::parts_of(&first.account, &first.from);
                    // None goes here: they were within the limits when they were written.
                    let _ = sets.put(&key, &sender, until);
                }
            }
            Err(error) => tracing::error!(%error, "parts_unreadable"),
        }
    }
    Ok(sets)
}
