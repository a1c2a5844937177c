//! `relais fsck`, `relais compact`: the store of a daemon that does not run.

use std::path::PathBuf;

use super::args::StoreOf;
use super::texts::Lang;
use super::{Failure, out};
use crate::{config, daemon, store};

/// Verifies the store; problems go to standard output, one a line.
pub(super) fn fsck(of: &StoreOf, lang: Lang) -> Result<(), Failure> {
    let data_dir = data_dir(of)?;
    let _lock = locked(&data_dir)?;
    let report = store::fsck(&daemon::store_path(&data_dir)).map_err(failed)?;
    if report.problems.is_empty() {
        out::line(&lang.store_sound(report.records))?;
        return Ok(());
    }
    for problem in &report.problems {
        out::line(problem)?;
    }
    Err(Failure::Failed(report.problems.len().to_string()))
}

/// Rewrites the store.
pub(super) fn compact(of: &StoreOf, lang: Lang) -> Result<(), Failure> {
    let data_dir = data_dir(of)?;
    let _lock = locked(&data_dir)?;
    let (before, after) = store::compact(&daemon::store_path(&data_dir)).map_err(failed)?;
    out::line(&lang.store_compacted(before, after))?;
    Ok(())
}

fn data_dir(of: &StoreOf) -> Result<PathBuf, Failure> {
    match &of.data_dir {
        Some(path) => Ok(path.clone()),
        None => Ok(config::load(&of.config)?.data_dir),
    }
}

fn locked(data_dir: &std::path::Path) -> Result<daemon::Lock, Failure> {
    daemon::Lock::take(data_dir).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}
