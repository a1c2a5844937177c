//! `relais fsck`, `relais compact`: the store of a daemon that does not run.

use std::path::{Path, PathBuf};

use super::args::StoreOf;
use super::texts::Lang;
use super::{Failure, out};
use crate::{config, daemon, store};

/// Cache for a single pass over everything.
const CACHE_BYTES: u64 = 64 << 20;

/// Verifies the store; what it holds and every problem go to standard output.
pub(super) fn fsck(of: &StoreOf, lang: Lang) -> Result<(), Failure> {
    let (_lock, root) = closed_store(of, lang)?;
    let findings = store::check(&root, CACHE_BYTES).map_err(failed)?;
    for (space, count) in &findings.records {
        out::line(&format!("{:<12} {count}", format!("{space:?}")))?;
    }
    for problem in &findings.problems {
        out::line(&format!("! {problem}"))?;
    }
    if findings.is_clean() {
        out::line(&lang.store_sound())?;
        return Ok(());
    }
    Err(Failure::Failed(lang.store_problems(findings.problem_count)))
}

/// Rewrites the store without its gaps.
pub(super) fn compact(of: &StoreOf, lang: Lang) -> Result<(), Failure> {
    let (_lock, root) = closed_store(of, lang)?;
    let done = store::generation::compact(&root, CACHE_BYTES, &mut |_| ()).map_err(failed)?;
    out::line(&lang.store_compacted(done.records, done.before, done.after))?;
    Ok(())
}

/// The folder of a store that exists, with the lock that keeps a daemon away from it.
fn closed_store(of: &StoreOf, lang: Lang) -> Result<(daemon::Lock, PathBuf), Failure> {
    let data_dir = match &of.data_dir {
        Some(path) => path.clone(),
        None => config::load(&of.config)?.data_dir,
    };
    let root = daemon::store_path(&data_dir);
    if !root.is_dir() {
        // Opening would make an empty one, and call it sound.
        return Err(Failure::Failed(lang.no_store(&root.display().to_string())));
    }
    Ok((locked(&data_dir)?, root))
}

fn locked(data_dir: &Path) -> Result<daemon::Lock, Failure> {
    daemon::Lock::take(data_dir).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}
