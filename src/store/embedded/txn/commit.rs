//! The end of a unit of work: its writes handed to the engine, and then shown to everybody.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::super::sweep;
use super::Txn;
use crate::store::StoreError;
use crate::store::codec::encode;
use crate::store::keys;
use crate::store::kv::Kv;

impl<K: Kv> Txn<'_, K> {
    /// Hands what is in hand to the engine as one atomic batch, not yet durable.
    ///
    /// # Errors
    /// The engine's own, now or earlier in this group: the first failure is the last write.
    pub(in crate::store::embedded) fn flush_piece(&mut self) -> Result<(), StoreError> {
        self.failed()?;
        let flushed = self.apply_writes();
        flushed.map_err(|error| self.fail(error))
    }

    fn apply_writes(&mut self) -> Result<(), StoreError> {
        for (seq, outgoing) in &self.outgoing[self.outgoing_written..] {
            self.writes
                .push((keys::outbox(*seq), Some(encode(outgoing)?)));
        }
        self.outgoing_written = self.outgoing.len();
        let mut moved = Vec::new();
        let retention = &self.shared.keeping.retention;
        let swept = self.shared.swept();
        for (id, held) in self.held.iter_mut().filter(|(_, held)| held.dirty) {
            held.dirty = false;
            let is_final = held.message.status().is_final();
            let octets = encode(&*held.message)?;
            if is_final {
                // Mostly none: only what became final when the sweep of its age had passed.
                let notes = sweep::notes(&held.message, retention, &swept);
                moved.extend(notes.into_iter().map(|key| (key, Some(Vec::new()))));
                moved.push((keys::history(*id), Some(octets)));
                if !held.stored_final {
                    moved.push((keys::live(*id), None));
                }
            } else {
                moved.push((keys::live(*id), Some(octets)));
                if held.stored_final {
                    moved.push((keys::history(*id), None));
                }
            }
            held.stored_final = is_final;
        }
        drop(swept);
        for (key, value) in moved {
            self.write(key, value);
        }
        if !self.writes.is_empty() {
            self.kv.apply(&self.writes)?;
            self.shared.note_applied(&self.writes);
            self.writes.clear();
            self.positions.clear();
        }
        Ok(())
    }

    /// Lets the rest of the program see what is now durable.
    pub(in crate::store::embedded) fn publish(self) {
        let mut index = self
            .shared
            .index
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for message in &self.fresh {
            index.add(message);
        }
        for held in self.held.values() {
            index.add(&held.message);
        }
        drop(index);
        self.shared.frontier().raise(&self.reached);
        if !self.purses.is_empty() {
            let changed = self.purses.into_iter();
            let changed = changed.map(|(tenant, purse)| (tenant, Arc::new(purse)));
            self.shared.purses().extend(changed);
        }
        if !self.outgoing.is_empty() || !self.settled.is_empty() {
            let mut outbox = self
                .shared
                .outbox
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for (seq, outgoing) in &self.outgoing {
                outbox.add(*seq, outgoing);
            }
            for (seq, settled) in &self.settled {
                outbox.settle(*seq, *settled);
            }
        }
        self.shared
            .orphans
            .fetch_add(self.orphans, Ordering::Relaxed);
    }
}
