//! Makes a store of a backup.
//!
//! It is made aside and comes to its place by one rename, so that an interrupted restore leaves no
//! store at all, never half of one.
//!
//! **What waited may have left since**: the gateway that the backup is of went on. So nothing that was
//! due by now is sent as if nothing had happened: it is marked as a possible duplicate when it leaves,
//! exactly as after a start that follows a crash; where it must not be sent twice, it fails as
//! doubtful at the first start; or all that waits is cancelled, if the administrator says so, and what
//! cannot be, because it may have left in part, fails as doubtful. What digests have counted is held to
//! the same.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use thiserror::Error;
use tokio::sync::watch;

use super::backup::{self, BackupError, Decoder, Entry};
use super::codec::{Mark, Reached, decode, encode};
use super::keys::{self, KeySpace};
use super::kv::{Kv, KvError, Write};
use super::sled::{Durability, OpenError, SledKv};
use super::{Count, Held, Options, StoreError, frontier, generation};
use crate::domain::event::Event;
use crate::domain::id::{MessageId, Tenant};
use crate::domain::message::{Lease, Message, State};
use crate::domain::policy::{OnDoubt, Policy};
use crate::domain::time::Timestamp;

/// Records per engine batch.
const PIECE: usize = 128;
/// How often the store that was just written is opened anew, and the rest between.
const OPENS: u32 = 500;
const OPEN_REST: Duration = Duration::from_millis(20);
/// Messages that are cancelled at once.
const CANCELS: usize = 256;

/// Why a backup was not restored. Nothing has changed then.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The file is none that can be restored.
    #[error("{}: {source}", file.display())]
    Backup {
        /// Which.
        file: PathBuf,
        /// Why.
        source: BackupError,
    },
    /// There is a store already.
    #[error("there is a store in {}; a backup is restored only where there is none: move it away first", .0.display())]
    NotEmpty(PathBuf),
    /// The new store cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<KvError> for RestoreError {
    fn from(error: KvError) -> Self {
        Self::Store(error.into())
    }
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub summary: backup::Summary,
    /// Files of the data folder, by name: the caller puts them in their places, and then [`Restored::settle`]s.
    pub files: Vec<(String, String)>,
    /// Messages that may have left since, and are kept.
    pub doubtful: u64,
    /// Messages that were cancelled.
    pub cancelled: u64,
    aside: Aside,
    root: PathBuf,
}

/// Where the store is made. It holds what people wrote: unless it has come to its place, it goes.
#[derive(Debug)]
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // Gone already where it is in its place.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Restored {
    /// Puts the store in its place: the last step.
    ///
    /// # Errors
    /// The file system's; there is no store then.
    pub fn settle(&self) -> Result<(), RestoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| RestoreError::Io { path, source }
        };
        fs::rename(&self.aside.0, &self.root).map_err(at(&self.root))?;
        let folder = self.root.parent().unwrap_or(&self.root);
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(at(folder))
    }
}

/// Reads a backup and makes a store of it beside `root`, under the rules of `policy`. Blocks, and
/// needs a tokio runtime around it if `cancel` is set.
///
/// # Errors
/// Why not; there is no store then.
pub async fn restore(
    file: &Path,
    root: &Path,
    policy: Arc<Policy>,
    cancel: bool,
    now: Timestamp,
    progress: &mut dyn FnMut(u64),
) -> Result<Restored, RestoreError> {
    let of_backup = |source| RestoreError::Backup {
        file: file.to_owned(),
        source,
    };
    let io = |source| RestoreError::Io {
        path: root.to_owned(),
        source,
    };
    if root.exists() {
        return Err(RestoreError::NotEmpty(root.to_owned()));
    }
    // All of it is read before anything is made of it.
    let summary = backup::verify(file).map_err(of_backup)?;
    let aside = Aside(root.with_extension("restoring"));
    match fs::remove_dir_all(&aside.0) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let options = Options::default();
    let kv = SledKv::open(
        &generation::first(&aside.0),
        Durability::Power,
        options.cache_bytes,
    )?;
    let mut files = Vec::new();
    let mut writes: Vec<Write> = Vec::with_capacity(PIECE);
    let mut entries = 0;
    let mut backup = Decoder::open(file).map_err(of_backup)?;
    while let Some(entry) = backup.entry().map_err(of_backup)? {
        match entry {
            Entry::File(name, contents) => files.push((name, contents)),
            Entry::Record(write) => writes.push(write),
        }
        entries += 1;
        if writes.len() >= PIECE {
            kv.apply(&writes)?;
            writes.clear();
            progress(entries);
        }
    }
    kv.apply(&writes)?;
    let waiting = doubt(&kv, &policy, cancel, now)?;
    doubt_counts(&kv, cancel, now)?;
    kv.sync()?;
    drop(kv);
    generation::complete(&aside.0).map_err(io)?;
    let mut cancelled = 0;
    let doubtful = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
    if cancel {
        cancelled = withdraw(&aside.0, &options, policy, waiting, now).await?;
    }
    Ok(Restored {
        summary,
        files,
        doubtful: doubtful.saturating_sub(cancelled),
        cancelled,
        aside,
        root: root.to_owned(),
    })
}

/// True if a claim of it is always on the disk.
fn is_seen_leaving(message: &Message, policy: &Policy) -> bool {
    message.doubt_rule(policy) == OnDoubt::Fail || message.must_be_seen_leaving()
}

/// Marks all that waits and was due by now as what may have left, and names all that waits or was
/// leaving. If that is to be cancelled, what cannot be is made to fail as doubtful.
fn doubt<K: Kv>(
    kv: &K,
    policy: &Policy,
    cancel: bool,
    now: Timestamp,
) -> Result<Vec<(Tenant, MessageId)>, RestoreError> {
    let mut waiting = Vec::new();
    let mut marks = BTreeMap::new();
    let mut writes: Vec<Write> = Vec::new();
    for pair in kv.scan(KeySpace::Live.range(), false) {
        let (key, octets) = pair?;
        // What cannot be read is left for fsck, as by any start.
        let Ok(mut message) = decode::<Message>(&key, &octets) else {
            continue;
        };
        // When it was due; `None`: it was leaving, and the start finds its lease lost.
        let due_at = match message.state {
            State::Waiting { due_at, .. } => Some(due_at),
            State::Leased(_) => None,
            _ => continue,
        };
        waiting.push((message.tenant.clone(), message.id));
        // What may have left in part cannot be cancelled; nor may it be sent where nothing is to be.
        let ends = cancel && (due_at.is_none() || message.has_left());
        if ends {
            message.on_doubt = Some(OnDoubt::Fail);
        }
        let is_due = due_at.is_some_and(|due_at| due_at <= now);
        if let Some(due_at) = due_at.filter(|_| is_due) {
            let mark = marks
                .entry(frontier::rank(&message))
                .or_insert((due_at, message.id));
            *mark = (*mark).max((due_at, message.id));
        }
        // A claim of these is always on the disk, and a start finds none: so here is one, and the
        // start finds it lost.
        let mut changed = ends;
        if let Some(due_at) = due_at
            && (ends || is_due && is_seen_leaving(&message, policy))
        {
            let lease = lease(&message, policy, due_at, now);
            changed |= message.apply(&Event::Claimed(lease), policy, now).is_ok();
        }
        if changed {
            writes.push((key, Some(encode(&message)?)));
        }
        if writes.len() >= PIECE {
            kv.apply(&writes)?;
            writes.clear();
        }
    }
    let key = keys::frontier();
    let before = kv.get(&key)?.map(|octets| decode::<Reached>(&key, &octets));
    let mut reached = before.and_then(Result::ok).unwrap_or_default();
    reached.claimed.extend(
        marks
            .into_iter()
            .map(|((lane, priority), (due_at, id))| Mark {
                lane,
                priority,
                due_at,
                id,
            }),
    );
    // One mark a rank: the farthest.
    let mut farthest: BTreeMap<_, Mark> = BTreeMap::new();
    for mark in reached.claimed.drain(..) {
        let rank = (mark.lane.clone(), mark.priority);
        let known = farthest.entry(rank).or_insert_with(|| mark.clone());
        if (mark.due_at, mark.id) > (known.due_at, known.id) {
            *known = mark;
        }
    }
    reached.claimed = farthest.into_values().collect();
    if reached != Reached::default() {
        writes.push((key, Some(encode(&reached)?)));
    }
    kv.apply(&writes)?;
    Ok(waiting)
}

/// Marks what digests have counted and was due by now as what may have been told, or drops all of it.
fn doubt_counts<K: Kv>(kv: &K, cancel: bool, now: Timestamp) -> Result<(), RestoreError> {
    let mut writes: Vec<Write> = Vec::new();
    for pair in kv.scan(KeySpace::Counted.range(), false) {
        let (key, octets) = pair?;
        if cancel {
            writes.push((key, None));
        } else if let Ok(mut count) = decode::<Count>(&key, &octets)
            && count.tick <= now
        {
            count.held = Some(Held {
                code: Count::RESTORED.to_owned(),
                detail: "it stands in a backup and was due before that was restored: it may have \
                         been told already"
                    .to_owned(),
                tick: count.tick,
            });
            writes.push((key, Some(encode(&count)?)));
        }
        if writes.len() >= PIECE {
            kv.apply(&writes)?;
            writes.clear();
        }
    }
    kv.apply(&writes)?;
    Ok(())
}

/// The lease of whoever may have sent a message since: the account that has a part of it, or the first
/// of its route.
fn lease(message: &Message, policy: &Policy, due_at: Timestamp, now: Timestamp) -> Lease {
    let route = &policy.operator(&message.lane.operator).route;
    let mut accounts = message
        .pinned_to()
        .into_iter()
        .chain(route.iter().flatten());
    let account = accounts.next().cloned();
    let account = account.unwrap_or_else(|| "unknown".into());
    Lease {
        channel: account.as_str().into(),
        account,
        until: now,
        due_at,
    }
}

/// Cancels what waits and has not left in part, by the store's own way, so that whoever wants to be
/// told is told.
async fn withdraw(
    root: &Path,
    options: &Options,
    policy: Arc<Policy>,
    waiting: Vec<(Tenant, MessageId)>,
    now: Timestamp,
) -> Result<u64, RestoreError> {
    let rules = watch::Sender::new(policy);
    let mut tries = 0;
    let store = loop {
        match super::open(root, options, rules.subscribe(), now) {
            // The engine's threads hold its lock for a moment after it has been closed.
            Err(OpenError::InUse(_)) if tries < OPENS => tries += 1,
            other => break other?,
        }
        tokio::time::sleep(OPEN_REST).await;
    };
    let mut cancelled = 0;
    // Many at once share a sync of the disk.
    let mut cancels = stream::iter(waiting)
        .map(|(tenant, id)| {
            let store = &store;
            async move { store.cancel(&tenant, id, now).await }
        })
        .buffer_unordered(CANCELS);
    while let Some(outcome) = cancels.next().await {
        match outcome {
            Ok(_) => cancelled += 1,
            // It had left in part, or failed as doubtful in this very start.
            Err(StoreError::TooLate | StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    drop(cancels);
    store.close().await;
    Ok(cancelled)
}
