//! A consistent copy of a store at work.
//!
//! The records are read in the order of their keys, a chunk at a time, while the writer goes on. What
//! it writes behind the reader is noted by key and read again, in passes, each shorter than the one
//! before; the few that are left at the end are read in a turn of the writer, in which nothing else
//! changes. Together that is the store as it was in that turn.
//!
//! **Nothing is missed.** The writer notes after it has applied: whoever reads before that reads again,
//! and whoever reads after it has read what was applied.
//!
//! **Nobody waits for the reader.** Between two chunks nothing is held but the notes; where they become
//! too many, because the reader is slower than the store changes, the copy ends with an error, and the
//! store goes on.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::txn::Txn;
use super::writer::Job;
use super::{Embedded, Shared, gone, job};
use crate::store::kv::{Kv, KvError, Write};
use crate::store::{Copying, StoreError};

/// Records of a chunk, and its octets.
const CHUNK: usize = 256;
const CHUNK_OCTETS: usize = 256 * 1024;
/// Most keys that are noted.
const NOTED: usize = 300_000;
/// So few keys may be left for the writer's turn.
const LAST: usize = 1024;
/// Passes after which a copy is given up.
const PASSES: u32 = 100;

/// What has been written since a copy began.
#[derive(Default)]
pub(super) struct Notes {
    /// What comes behind this key has not been read yet; `None` while a chunk is being read.
    read_to: Option<Vec<u8>>,
    keys: HashSet<Vec<u8>>,
    too_many: bool,
}

impl Shared {
    fn notes(&self) -> MutexGuard<'_, Option<Notes>> {
        self.copying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what has been applied, for a copy that is under way.
    pub(super) fn note_applied(&self, writes: &[Write]) {
        let mut notes = self.notes();
        let Some(notes) = notes.as_mut().filter(|notes| !notes.too_many) else {
            return;
        };
        let read_to = notes.read_to.as_ref();
        let read = |key: &&Vec<u8>| read_to.is_none_or(|read_to| *key <= read_to);
        let keys = writes.iter().map(|(key, _)| key).filter(read).cloned();
        notes.keys.extend(keys);
        if notes.keys.len() > NOTED {
            notes.too_many = true;
            notes.keys = HashSet::new();
        }
    }
}

/// See the module.
pub(super) struct Copy<K: Kv> {
    kv: Arc<K>,
    shared: Arc<Shared>,
    /// Weak: a copy must not keep a store open that is to be closed.
    queue: mpsc::WeakSender<Job<K>>,
    phase: Phase,
}

enum Phase {
    /// Reading everything once, from this key on.
    All(Vec<u8>),
    /// Reading again what was written meanwhile; so many times so far.
    Again(Vec<Vec<u8>>, u32),
    Over,
}

impl<K: Kv> Embedded<K> {
    pub(super) fn begin_copy(&self) -> Result<Copy<K>, StoreError> {
        let queue = self.queue()?.downgrade();
        let mut notes = self.shared.notes();
        if notes.is_some() {
            return Err(StoreError::Unavailable(
                "another copy of it is being taken".to_owned(),
            ));
        }
        *notes = Some(Notes::default());
        Ok(Copy {
            kv: self.kv.clone(),
            shared: self.shared.clone(),
            queue,
            phase: Phase::All(Vec::new()),
        })
    }
}

impl<K: Kv> Drop for Copy<K> {
    fn drop(&mut self) {
        *self.shared.notes() = None;
    }
}

#[async_trait]
impl<K: Kv> Copying for Copy<K> {
    async fn next(&mut self) -> Result<Option<Vec<Write>>, StoreError> {
        loop {
            let phase = std::mem::replace(&mut self.phase, Phase::Over);
            let chunk = match phase {
                Phase::All(from) => self.read_on(from).await?,
                Phase::Again(keys, passes) if !keys.is_empty() => {
                    self.read_again(keys, passes).await?
                }
                Phase::Again(_, passes) => self.go_again(passes).await?,
                Phase::Over => return Ok(None),
            };
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }
}

impl<K: Kv> Copy<K> {
    /// A chunk of the first reading.
    async fn read_on(&mut self, from: Vec<u8>) -> Result<Vec<Write>, StoreError> {
        self.with_notes(|notes| notes.read_to = None)?;
        let (chunk, whole) = self.read(move |kv| chunk_from(kv, from)).await?;
        self.phase = match chunk.last() {
            Some((last, _)) if !whole => {
                let last = last.clone();
                self.with_notes(|notes| notes.read_to = Some(last.clone()))?;
                Phase::All(crate::store::keys::after(&last))
            }
            _ => Phase::Again(Vec::new(), 0),
        };
        Ok(chunk)
    }

    /// A chunk of what was written meanwhile.
    async fn read_again(
        &mut self,
        mut keys: Vec<Vec<u8>>,
        passes: u32,
    ) -> Result<Vec<Write>, StoreError> {
        let some = keys.split_off(keys.len().saturating_sub(CHUNK));
        let chunk = self.read(move |kv| values(kv, some)).await?;
        self.phase = Phase::Again(keys, passes);
        Ok(chunk)
    }

    /// Another pass over what has been written since the last one, or the end.
    async fn go_again(&mut self, passes: u32) -> Result<Vec<Write>, StoreError> {
        if passes >= PASSES {
            return Err(too_slow());
        }
        let left = self.with_notes(|notes| notes.keys.len())?;
        if left <= LAST
            && let Some(chunk) = self.last_turn().await?
        {
            // Over: the phase is that already.
            return Ok(chunk);
        }
        let keys = self.with_notes(|notes| std::mem::take(&mut notes.keys))?;
        self.phase = Phase::Again(keys.into_iter().collect(), passes + 1);
        Ok(Vec::new())
    }

    /// What is left, read in a turn of the writer; `None` if that is too much for one turn.
    async fn last_turn(&self) -> Result<Option<Vec<Write>>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.upgrade().ok_or_else(gone)?;
        let job = Job {
            run: job(move |txn: &mut Txn<'_, K>| txn.end_copy(), answer),
            durable: false,
        };
        queue.send(job).await.map_err(|_| gone())?;
        drop(queue);
        answered.await.map_err(|_| gone())?
    }

    fn with_notes<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> Result<T, StoreError> {
        match self.shared.notes().as_mut() {
            Some(notes) if !notes.too_many => Ok(change(notes)),
            _ => Err(too_slow()),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&K) -> Result<T, KvError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // A store that is being closed is read no more, so that its folder is free.
        self.queue.upgrade().ok_or_else(gone)?;
        if let Some(problem) = self.shared.broken() {
            return Err(StoreError::Unavailable(problem));
        }
        let kv = self.kv.clone();
        if !kv.blocks() {
            return read(&kv).map_err(StoreError::from);
        }
        let read = tokio::task::spawn_blocking(move || read(&kv)).await;
        let read =
            read.map_err(|_| StoreError::Unavailable("the storage engine panicked".into()))?;
        read.map_err(StoreError::from)
    }
}

impl<K: Kv> Txn<'_, K> {
    /// Reads what a copy has not read yet, unless that is too much, and ends its notes.
    fn end_copy(&mut self) -> Result<Option<Vec<Write>>, StoreError> {
        // With what the jobs before have written: they are answered before the copy ends.
        self.flush_piece()?;
        let mut notes = self.shared.notes();
        let keys = match notes.as_mut() {
            Some(notes) if notes.too_many => return Err(too_slow()),
            Some(notes) if notes.keys.len() > 2 * LAST => return Ok(None),
            Some(notes) => std::mem::take(&mut notes.keys),
            None => return Err(too_slow()),
        };
        drop(notes);
        Ok(Some(values(self.kv, keys.into_iter().collect())?))
    }
}

/// The next records, and whether they are the last ones.
fn chunk_from<K: Kv>(kv: &K, from: Vec<u8>) -> Result<(Vec<Write>, bool), KvError> {
    let (mut chunk, mut octets) = (Vec::new(), 0);
    for pair in kv.scan((from, vec![0xFF]), false) {
        let (key, value) = pair?;
        octets += key.len() + value.len();
        chunk.push((key, Some(value)));
        if chunk.len() >= CHUNK || octets >= CHUNK_OCTETS {
            return Ok((chunk, false));
        }
    }
    Ok((chunk, true))
}

/// What stands under these keys now.
fn values<K: Kv>(kv: &K, keys: Vec<Vec<u8>>) -> Result<Vec<Write>, KvError> {
    let value = |key: Vec<u8>| kv.get(&key).map(|value| (key, value));
    keys.into_iter().map(value).collect()
}

fn too_slow() -> StoreError {
    StoreError::Unavailable("it changes faster than the copy of it is read".to_owned())
}
