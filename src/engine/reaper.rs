//! Acts on what time alone decides: validity, leases, waits for receipts, retention.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::domain::time::Timestamp;

/// Most deadlines acted on in one commit.
const GROUP: usize = 64;

/// How often to look for what is past keeping.
const PRUNE_EVERY: Duration = Duration::from_mins(10);
/// Rest after a turn that left more to do: deadlines are looked at between any two, and messages are
/// taken and sent.
const PRUNE_REST: Duration = Duration::from_millis(20);

/// Runs until `working` is cancelled.
///
/// It needs no wake-up for new deadlines: none is less than a minute ahead when it is made, and no
/// sleep is longer than a minute.
pub(super) async fn run(engine: Arc<Engine>, working: CancellationToken) {
    // By the time that no clock that is put back can move: else nothing went until it is that late again.
    let mut prune_at = engine.clock.elapsed();
    loop {
        let store = &engine.store;
        let wake_at = store.next_deadline().unwrap_or(Timestamp::NEVER);
        let parts_at = store.next_parts_deadline().unwrap_or(Timestamp::NEVER);
        let sleep = engine.clock.sleep_until(wake_at.min(parts_at));
        let sleep = sleep.min(prune_at.saturating_sub(engine.clock.elapsed()));
        tokio::select! {
            biased;
            () = working.cancelled() => return,
            () = tokio::time::sleep(sleep) => {}
        }
        engine.act_on_deadlines().await;
        engine.give_up_parts().await;
        if engine.clock.elapsed() >= prune_at {
            let more = engine.prune().await;
            prune_at = engine.clock.elapsed() + if more { PRUNE_REST } else { PRUNE_EVERY };
        }
    }
}

impl Engine {
    async fn act_on_deadlines(&self) {
        loop {
            let now = self.clock.now();
            if self
                .store
                .next_deadline()
                .is_none_or(|deadline| deadline > now)
            {
                return;
            }
            match self.store.time_out(now, GROUP).await {
                Ok(changes) => {
                    changes.iter().for_each(|change| self.publish(change));
                    self.bells.dispatcher.notify_one();
                }
                Err(error) => {
                    tracing::error!(%error, "deadlines_not_stored");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    return;
                }
            }
        }
    }

    /// Tells texts from handsets as far as they came, once the rest of them is not awaited longer.
    async fn give_up_parts(&self) {
        let is_over = |at: Timestamp| at <= self.clock.now();
        while self.store.next_parts_deadline().is_some_and(is_over) {
            match self.store.give_up_parts(self.clock.now(), GROUP).await {
                Ok(taken) => self.publish_received(taken),
                Err(error) => {
                    tracing::error!(%error, "parts_not_given_up");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    return;
                }
            }
        }
    }

    /// One turn; true if there is more to do.
    async fn prune(&self) -> bool {
        let pruned = self.store.prune(self.clock.now()).await;
        pruned.unwrap_or_else(|error| {
            tracing::error!(%error, "prune_failed");
            false
        })
    }
}
