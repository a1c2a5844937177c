//! Where the engine's files are: one folder a generation, and a file that names the one in use.
//!
//! The database file never shrinks. Compaction copies what is live into the next generation, makes
//! it durable, and switches by one rename: a crash at any point leaves one whole generation named.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::kv::Kv;
use super::sled::{Durability, OpenError, SledKv};

/// Name of the file that names the generation in use.
const CURRENT: &str = "CURRENT";

/// Number of the first generation.
const FIRST: u32 = 1;

/// Pairs copied per engine batch.
const PIECE: usize = 128;

/// What a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Records copied.
    pub records: u64,
    /// Octets on the disk before.
    pub before: u64,
    /// Octets on the disk after.
    pub after: u64,
}

/// The folder of the generation in use; `None` if no store was ever completed here.
///
/// # Errors
/// The file system's, or that what is named is not there: an empty store never takes its place.
pub fn current(root: &Path) -> io::Result<Option<PathBuf>> {
    let missing = |what: String| Err(io::Error::new(io::ErrorKind::NotFound, what));
    match fs::read_to_string(root.join(CURRENT)) {
        Ok(name) => {
            let folder = root.join(name.trim());
            if number(&folder).is_none() || !folder.is_dir() {
                return missing(format!(
                    "{CURRENT} names {:?}, which is no generation",
                    name.trim()
                ));
            }
            Ok(Some(folder))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A first start that did not finish leaves the first generation alone, never a later one.
            let later = fs::read_dir(root)
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| number(&entry.path()).is_some_and(|number| number != FIRST));
            if later {
                return missing(format!(
                    "{CURRENT} is missing beside generations of a store"
                ));
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The folder of the first generation, to be named by [`complete`] once it holds a store.
#[must_use]
pub fn first(root: &Path) -> PathBuf {
    root.join(folder_name(FIRST))
}

/// Names the first generation as the one in use.
///
/// # Errors
/// The file system's.
pub fn complete(root: &Path) -> io::Result<()> {
    name_current(root, &folder_name(FIRST))
}

/// Copies a closed store into a new generation and switches to it.
///
/// # Errors
/// As opening it; the generation in use is untouched unless everything went well.
pub fn compact(
    root: &Path,
    cache_bytes: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Compacted, OpenError> {
    let io = |source| OpenError::Io {
        folder: root.to_owned(),
        source,
    };
    let (source, old) = super::opening::open_current(root, Durability::Process, cache_bytes)?;
    let name = folder_name(number(&old).unwrap_or(FIRST) + 1);
    let new = root.join(&name);
    // A half-made copy of an earlier try: looked for only with the source in hand, because it may
    // be the copy that another process is making.
    if new.exists() {
        fs::remove_dir_all(&new).map_err(io)?;
    }
    let target = SledKv::open(&new, Durability::Power, cache_bytes)?;
    let damaged = |error: super::kv::KvError| OpenError::Damaged {
        folder: old.clone(),
        problem: error.0,
    };
    let mut records = 0;
    let mut piece = Vec::with_capacity(PIECE);
    for pair in source.scan((Vec::new(), vec![0xFF]), false) {
        let (key, value) = pair.map_err(damaged)?;
        piece.push((key, Some(value)));
        records += 1;
        if piece.len() == PIECE {
            target.apply(&piece).map_err(damaged)?;
            piece.clear();
            progress(records);
        }
    }
    target.apply(&piece).map_err(damaged)?;
    target.sync().map_err(damaged)?;
    let before = source.disk_bytes();
    drop(source);
    name_current(root, &name).map_err(io)?;
    let after = target.disk_bytes();
    drop(target);
    fs::remove_dir_all(&old).map_err(io)?;
    Ok(Compacted {
        records,
        before,
        after,
    })
}

/// The number of a generation's folder.
fn number(folder: &Path) -> Option<u32> {
    let name = folder.file_name()?.to_str()?;
    name.strip_prefix("generation-")?.parse().ok()
}

fn folder_name(number: u32) -> String {
    format!("generation-{number}")
}

/// Names the generation in use: written aside, synced, renamed, and the folder synced.
fn name_current(root: &Path, name: &str) -> io::Result<()> {
    let aside = root.join("CURRENT.new");
    let mut file = File::create(&aside)?;
    writeln!(file, "{name}")?;
    file.sync_all()?;
    fs::rename(&aside, root.join(CURRENT))?;
    File::open(root)?.sync_all()
}

#[cfg(test)]
mod tests;
