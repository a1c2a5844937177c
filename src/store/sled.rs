//! sled 0.34.7, with the guards without which it is not safe.
//!
//! What this file keeps true, each found by measurement:
//!
//! 1. `flush` on Linux is `sync_file_range`: it waits for the data but neither commits the file's
//!    size nor crosses the device's cache. So after every flush we `fdatasync` the database file
//!    through a descriptor of our own, and the folder once after it was made.
//! 2. A kill during an open leaves `snap.*.generating`, after which sled answers `Corruption` for
//!    ever. So those files go before every open; if the snapshot itself is corrupt, it is moved
//!    aside and the log alone rebuilds the index.
//! 3. sled panics on some damage. So the open runs in `catch_unwind`, a store that cannot be opened
//!    is never replaced by an empty one, and the error says what to do.
//! 4. Space is reclaimed by the background flusher only, so it stays on; it decides no durability.
//! 5. The cache is bounded, compression is off.
//! 6. A live folder is never copied; `compact` and exports read through an open store.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::kv::{Kv, KvError, Pair, Write};

/// What a sync has to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power cut: `fdatasync` before anything is promised.
    #[default]
    Power,
    /// The death of the process only: cheaper, and what the machine holds in its caches may go.
    Process,
}

/// Why a store cannot be opened, and what to do about it.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Somebody else has it open.
    #[error("the store in {0} is in use by another process; stop that one first")]
    InUse(PathBuf),
    /// The engine cannot read it.
    #[error(
        "the store in {folder} cannot be opened: {problem}. Nothing was changed. Keep a copy of the \
         folder, then try `relais fsck`; to start empty, move the folder away by hand"
    )]
    Damaged {
        /// Where it is.
        folder: PathBuf,
        /// The engine's words.
        problem: String,
    },
    /// The file system refused.
    #[error("{folder}: {source}")]
    Io {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was written by another version of the program.
    #[error(
        "the store in {folder} has layout {found}; this program reads layout {known}: use the program that wrote it, or another data_dir"
    )]
    OtherLayout {
        /// Where.
        folder: PathBuf,
        /// Layout found.
        found: u32,
        /// The layout of this program.
        known: u32,
    },
}

/// A sled database in one folder.
pub struct SledKv {
    db: sled::Db,
    /// Our own descriptor of the database file, for `fdatasync`.
    file: File,
    durability: Durability,
}

impl SledKv {
    /// Opens the database in `folder`, making it if it is not there.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn open(
        folder: &Path,
        durability: Durability,
        cache_bytes: u64,
    ) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io {
            folder: folder.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(io)?;
        // Before anything is touched: what looks left behind may be another process's work.
        if in_use(folder).map_err(io)? {
            return Err(OpenError::InUse(folder.to_owned()));
        }
        move_snapshots(folder, Snapshots::HalfMade).map_err(io)?;
        let damaged = |failure: Failure| match failure {
            Failure::InUse => OpenError::InUse(folder.to_owned()),
            Failure::Snapshot(problem) | Failure::Other(problem) => OpenError::Damaged {
                folder: folder.to_owned(),
                problem,
            },
        };
        let db = match open_guarded(folder, cache_bytes) {
            Ok(db) => db,
            Err(Failure::Snapshot(problem)) => {
                // The log alone can rebuild what a snapshot only shortens. Only then: where the
                // log itself is damaged, sled would make an empty database of what is left.
                tracing::warn!(folder = %folder.display(), %problem, "store_open_without_snapshots");
                move_snapshots(folder, Snapshots::All).map_err(io)?;
                open_guarded(folder, cache_bytes).map_err(damaged)?
            }
            Err(failure) => return Err(damaged(failure)),
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.join("db"))
            .map_err(io)?;
        if durability == Durability::Power {
            // The file's own name has to survive a power cut too.
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(io)?;
            if let Some(parent) = folder.parent() {
                File::open(parent)
                    .and_then(|folder| folder.sync_all())
                    .map_err(io)?;
            }
        }
        Ok(Self {
            db,
            file,
            durability,
        })
    }
}

/// Whether another handle holds the engine's lock on the database file.
fn in_use(folder: &Path) -> io::Result<bool> {
    match File::open(folder.join("db")) {
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Why the engine did not open.
enum Failure {
    /// Another process was faster.
    InUse,
    /// The newest snapshot is not what was written (its length or checksum).
    Snapshot(String),
    /// Anything else, in the engine's words.
    Other(String),
}

/// Opens, turning a panic of the engine into words.
fn open_guarded(folder: &Path, cache_bytes: u64) -> Result<sled::Db, Failure> {
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(cache_bytes)
        .mode(sled::Mode::LowSpace)
        .use_compression(false)
        .flush_every_ms(Some(500));
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(error @ sled::Error::Corruption { at: None, .. })) => {
            Err(Failure::Snapshot(error.to_string()))
        }
        Ok(Err(error)) if error.to_string().contains("could not acquire lock") => {
            Err(Failure::InUse)
        }
        Ok(Err(error)) => Err(Failure::Other(error.to_string())),
        Err(panic) => Err(Failure::Other(
            panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "the engine panicked".to_owned()),
        )),
    }
}

/// Which snapshot files to get out of the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Snapshots {
    /// Left behind by a kill while one was being written: deleted, they hold nothing of use.
    HalfMade,
    /// All of them: moved aside, not deleted.
    All,
}

fn move_snapshots(folder: &Path, which: Snapshots) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if !name.starts_with("snap.") || name.ends_with(".aside") {
            continue;
        }
        if name.ends_with(".generating") {
            fs::remove_file(&path)?;
        } else if which == Snapshots::All {
            fs::rename(&path, path.with_file_name(format!("aside.{name}")))?;
        }
    }
    Ok(())
}

fn engine(error: sled::Error) -> KvError {
    KvError(error.to_string())
}

impl Kv for SledKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.db
            .get(key)
            .map(|found| found.map(|value| value.to_vec()))
            .map_err(engine)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), KvError> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        self.db.apply_batch(batch).map_err(engine)
    }

    fn sync(&self) -> Result<(), KvError> {
        self.db.flush().map_err(engine)?;
        match self.durability {
            Durability::Power => self
                .file
                .sync_data()
                .map_err(|error| KvError(error.to_string())),
            Durability::Process => Ok(()),
        }
    }

    fn scan<'a>(
        &'a self,
        (from, to): (Vec<u8>, Vec<u8>),
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<Pair, KvError>> + 'a> {
        let mut pairs = self.db.range(from..to);
        let mut failed = false;
        // sled's iterator meets the same damage again at every step: the first error is the end.
        Box::new(std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let pair = if reverse {
                pairs.next_back()
            } else {
                pairs.next()
            }?;
            failed = pair.is_err();
            Some(
                pair.map(|(key, value)| (key.to_vec(), value.to_vec()))
                    .map_err(engine),
            )
        }))
    }

    fn disk_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }

    fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(&self.file).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

#[cfg(test)]
mod tests;
