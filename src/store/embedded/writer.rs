//! Group commit: one task owns every mutation.
//!
//! **Why nothing acknowledged is lost.** A job answers its caller only from its completion, and
//! completions run only after `sync` of a group that holds all of the job's writes. So whoever has
//! an answer has it after the sync.
//!
//! **Why nothing is torn.** Everything that a group of jobs writes goes to the engine as one atomic
//! batch; where it is larger than [`PIECE_WRITES`], as several, each holding whole jobs and every
//! record as it stands after them. The one job that may itself be spread over several batches, a
//! submission of many messages, writes its seal in the last, and recovery removes messages whose
//! batch has no seal: nobody was told of them.
//!
//! **Why memory and disk agree.** The index is changed only after the sync. A record that a job has
//! taken up is out of the index until then, so that no claim can hand out an older state of it. If
//! the engine fails, nothing can be assumed of it: the store turns itself off, callers are told, and
//! the next start reads what is on the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Shared;
use super::txn::Txn;
use crate::store::StoreError;
use crate::store::kv::Kv;

/// Most jobs of one group.
const GROUP_JOBS: usize = 256;

/// Writes after which a batch is handed to the engine. Batches of some hundred messages make the
/// database file grow for ever (measured); about 64 messages do not.
const PIECE_WRITES: usize = 192;

/// Runs once the fate of the group is known.
pub(super) type Completion = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Does its part in a unit of work, and leaves what is to happen after the commit.
pub(super) type Work<K> = Box<dyn FnOnce(&mut Txn<'_, K>) -> Completion + Send>;

/// One atomic piece of work.
pub(super) struct Job<K> {
    /// Reads and writes; must not write before it can no longer fail.
    pub(super) run: Work<K>,
    /// False if losing it in a crash costs nothing but repetition: such a group is not synced.
    pub(super) durable: bool,
}

/// Takes jobs until every sender is gone, a group at a time.
pub(super) async fn run<K: Kv>(kv: Arc<K>, shared: Arc<Shared>, mut queue: mpsc::Receiver<Job<K>>) {
    loop {
        let mut jobs = Vec::with_capacity(GROUP_JOBS);
        if queue.recv_many(&mut jobs, GROUP_JOBS).await == 0 {
            return;
        }
        if !kv.blocks() {
            run_group(&*kv, &shared, jobs);
            continue;
        }
        let (kv, shared) = (kv.clone(), shared.clone());
        // A blocking task per group, not a thread of our own: tokio's paused clock waits for it.
        if tokio::task::spawn_blocking(move || run_group(&*kv, &shared, jobs))
            .await
            .is_err()
        {
            return;
        }
    }
}

fn run_group<K: Kv>(kv: &K, shared: &Shared, jobs: Vec<Job<K>>) {
    if let Some(problem) = shared.broken() {
        for job in jobs {
            refuse(job, kv, shared, &problem);
        }
        return;
    }
    let mut completions = Vec::with_capacity(jobs.len());
    let mut durable = false;
    // A panic of the engine is damage like any other error of it.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut txn = Txn::new(kv, shared);
        for job in jobs {
            durable |= job.durable;
            completions.push((job.run)(&mut txn));
            txn.failed()?;
            if txn.size() >= PIECE_WRITES {
                txn.flush_piece()?;
            }
        }
        txn.flush_piece()?;
        if durable {
            kv.sync()?;
        }
        txn.publish();
        Ok(())
    }))
    .unwrap_or_else(|_| {
        Err(StoreError::Unavailable(
            "the storage engine panicked".to_owned(),
        ))
    });
    if let Err(error) = &outcome {
        shared.break_down(error);
    }
    for completion in completions {
        completion(outcome.clone());
    }
}

/// Answers a job that came after the store had turned itself off.
fn refuse<K: Kv>(job: Job<K>, kv: &K, shared: &Shared, problem: &str) {
    // The job's own work is thrown away with its transaction; only its completion matters.
    let mut txn = Txn::refusing(kv, shared, problem);
    let completion = (job.run)(&mut txn);
    completion(Err(StoreError::Unavailable(problem.to_owned())));
}

#[cfg(test)]
mod tests;
