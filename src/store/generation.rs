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

/// The folder of the generation in use; the first one if there is none yet.
///
/// # Errors
/// The file system's.
pub fn current(root: &Path) -> io::Result<PathBuf> {
    match fs::read_to_string(root.join(CURRENT)) {
        Ok(name) => Ok(root.join(name.trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(root)?;
            name_current(root, &folder_name(1))?;
            Ok(root.join(folder_name(1)))
        }
        Err(error) => Err(error),
    }
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
    let old = current(root).map_err(io)?;
    let number = old
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix("generation-"))
        .and_then(|number| number.parse::<u32>().ok())
        .unwrap_or(0);
    let name = folder_name(number + 1);
    let new = root.join(&name);
    // A half-made copy of an earlier try.
    if new.exists() {
        fs::remove_dir_all(&new).map_err(io)?;
    }
    let source = SledKv::open(&old, Durability::Process, cache_bytes)?;
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
