//! Opening the embedded store: the generation in use, the engine with its guards, recovery.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use super::embedded::{Embedded, RecoverError};
use super::kv::{Kv as _, Write};
use super::memory::MemoryKv;
use super::sled::{Durability, OpenError, SledKv};
use super::{Store, codec, fsck, generation, keys};
use crate::domain::policy::Policy;
use crate::domain::privacy::Keeping;
use crate::domain::time::Timestamp;

/// How to open the embedded store.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a sync has to survive.
    pub durability: Durability,
    /// The engine's cache, in octets.
    pub cache_bytes: u64,
    /// How long what is kept of messages, and what stands for numbers then.
    pub keeping: Keeping,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Power,
            cache_bytes: 8 << 20,
            keeping: Keeping::default(),
        }
    }
}

/// Opens the embedded store under `root`, making it if there is none, and starts its writer. Needs
/// a tokio runtime.
///
/// # Errors
/// Why it cannot be used, and what to do about it. Nothing is changed then.
pub fn open(
    root: &Path,
    options: &Options,
    policy: watch::Receiver<Arc<Policy>>,
    now: Timestamp,
) -> Result<Arc<dyn Store>, OpenError> {
    let io = |source| OpenError::Io {
        folder: root.to_owned(),
        source,
    };
    let known = generation::current(root).map_err(io)?;
    let (kv, folder) = if known.is_some() {
        open_current(root, options.durability, options.cache_bytes)?
    } else {
        let folder = generation::first(root);
        let kv = SledKv::open(&folder, options.durability, options.cache_bytes)?;
        (kv, folder)
    };
    let started = Embedded::start(kv, policy, options.keeping.clone(), now);
    let store = started.map_err(|error| match error {
        RecoverError::OtherLayout(found) => OpenError::OtherLayout {
            folder,
            found,
            known: codec::LAYOUT.version,
        },
        RecoverError::Store(error) => OpenError::Damaged {
            folder,
            problem: error.to_string(),
        },
    })?;
    if known.is_none() {
        // Only now: a generation that is named holds at least the version of its layout.
        generation::complete(root).map_err(io)?;
    }
    Ok(Arc::new(store))
}

/// Opens the engine of the generation in use, and says which that is.
pub(super) fn open_current(
    root: &Path,
    durability: Durability,
    cache_bytes: u64,
) -> Result<(SledKv, PathBuf), OpenError> {
    let found = generation::current(root).and_then(|found| {
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no store here"))
    });
    let folder = found.map_err(|source| OpenError::Io {
        folder: root.to_owned(),
        source,
    })?;
    let kv = SledKv::open(&folder, durability, cache_bytes)?;
    let problem = match kv.get(&keys::version()) {
        Ok(Some(_)) => return Ok((kv, folder)),
        // The engine makes an empty database where it finds none, or nothing that it can read.
        Ok(None) => "it was a store, and now nothing can be read of it".to_owned(),
        Err(error) => error.0,
    };
    Err(OpenError::Damaged { folder, problem })
}

/// A store that keeps nothing beyond the process. Needs a tokio runtime.
///
/// # Errors
/// None that an empty memory can give; the signature is that of every start.
pub fn memory(
    policy: watch::Receiver<Arc<Policy>>,
    now: Timestamp,
) -> Result<Arc<dyn Store>, RecoverError> {
    let kv = MemoryKv::default();
    Ok(Arc::new(Embedded::start(
        kv,
        policy,
        Keeping::default(),
        now,
    )?))
}

/// Reads every record of a closed store, some at a time, for as long as `take` wants more.
///
/// # Errors
/// As opening it.
pub fn read_closed(
    root: &Path,
    cache_bytes: u64,
    take: &mut dyn FnMut(&[Write]) -> bool,
) -> Result<(), OpenError> {
    const PIECE: usize = 256;
    let (kv, folder) = open_current(root, Durability::Process, cache_bytes)?;
    let mut piece = Vec::with_capacity(PIECE);
    for pair in kv.scan((Vec::new(), vec![0xFF]), false) {
        let (key, value) = pair.map_err(|error| OpenError::Damaged {
            folder: folder.clone(),
            problem: error.0,
        })?;
        piece.push((key, Some(value)));
        if piece.len() == PIECE {
            if !take(&piece) {
                return Ok(());
            }
            piece.clear();
        }
    }
    take(&piece);
    Ok(())
}

/// Checks a closed store under `root`, and makes none.
///
/// # Errors
/// As opening it.
pub fn check(root: &Path, cache_bytes: u64) -> Result<fsck::Findings, OpenError> {
    let (kv, folder) = open_current(root, Durability::Process, cache_bytes)?;
    fsck::check(&kv).map_err(|error| OpenError::Damaged {
        folder,
        problem: error.0,
    })
}
