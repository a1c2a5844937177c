//! Clients: they submit, repeat what was not answered, and withdraw.

use std::sync::Arc;
use std::time::Duration;

use relais::domain::id::MessageId;
use relais::engine::accept::Submitted;
use relais::store::{Idempotency, StoreError};
use tokio::task::JoinSet;

use crate::plan::{Pause, Post};
use crate::world::{Paused, Shared, tenant};

/// How long a client waits before it asks again.
const AGAIN: Duration = Duration::from_secs(3);

/// Starts the client of one call.
pub fn start(tasks: &mut JoinSet<()>, shared: &Arc<Shared>, post: Post) {
    let shared = shared.clone();
    tasks.spawn(async move {
        tokio::time::sleep(post.at).await;
        let Some(submitted) = submit(&shared, &post).await else {
            return;
        };
        let ids: Vec<MessageId> = submitted
            .messages
            .iter()
            .map(|message| message.id)
            .collect();
        for (number, id) in (post.first..).zip(&ids) {
            shared.notes().promised.insert(number, *id);
        }
        let answered = shared.clock.elapsed();
        let mut cancels = post.cancels.clone();
        cancels.sort_by_key(|(_, later)| *later);
        for (number, later) in cancels {
            tokio::time::sleep((answered + later).saturating_sub(shared.clock.elapsed())).await;
            cancel(&shared, ids[(number - post.first) as usize]).await;
        }
        let (Some(again), Some(_)) = (post.again, post.key) else {
            return;
        };
        tokio::time::sleep(again).await;
        if let Some(repeated) = submit(&shared, &post).await {
            let same = repeated.messages.iter().map(|message| message.id).eq(ids);
            if !same || !repeated.repeated {
                shared.wrong(format!(
                    "call {} made twice gave other messages",
                    post.first
                ));
            }
        }
    });
}

/// Calls until there is an answer; once, if the call has no key to repeat it with.
async fn submit(shared: &Shared, post: &Post) -> Option<Submitted> {
    loop {
        let Some((engine, dead)) = shared.daemon() else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let mut checked = Vec::new();
        for draft in &post.drafts {
            match engine.check(draft.clone()).await {
                Ok(draft) => checked.push(draft),
                Err(errors) => {
                    shared.wrong(format!("call {} was refused: {errors:?}", post.first));
                    return None;
                }
            }
        }
        let idempotency = post.key.map(|key| Idempotency { key, body: key });
        let batch = checked.len() > 1;
        let tenant = tenant();
        let answer = engine.submit(&tenant, checked, batch, idempotency);
        let answer = dead.run_until_cancelled(answer).await;
        match answer {
            Some(Ok(submitted)) => return Some(submitted),
            Some(Err(error @ (StoreError::Conflict | StoreError::Corrupt { .. }))) => {
                shared.wrong(format!("call {}: {error}", post.first));
                return None;
            }
            Some(Err(_)) | None => {}
        }
        drop(engine);
        post.key?;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn cancel(shared: &Shared, id: MessageId) {
    let Some((engine, dead)) = shared.daemon() else {
        return;
    };
    let tenant = tenant();
    let answer = dead.run_until_cancelled(engine.cancel(&tenant, id)).await;
    match answer {
        Some(Ok(_)) => shared.notes().cancelled.push(id),
        Some(Err(StoreError::TooLate | StoreError::Unavailable(_))) | None => {}
        Some(Err(error)) => shared.wrong(format!("withdrawing {id}: {error}")),
    }
}

/// Starts the operator of one pause, who insists until it is done, and until it is undone.
pub fn pause(tasks: &mut JoinSet<()>, shared: &Arc<Shared>, pause: Pause) {
    let shared = shared.clone();
    tasks.spawn(async move {
        tokio::time::sleep(pause.at).await;
        set_paused(&shared, &pause.account, true).await;
        let from = shared.clock.now();
        tokio::time::sleep(pause.lasts).await;
        let until = shared.clock.now();
        set_paused(&shared, &pause.account, false).await;
        let paused = Paused {
            account: pause.account.clone(),
            from,
            until,
            resumed: shared.clock.now(),
        };
        shared.notes().paused.push(paused);
        if pause.reset
            && let Some((engine, _)) = shared.daemon()
            && let Err(error) = engine.reset(&pause.account)
        {
            shared.wrong(format!("resetting {}: {error}", pause.account));
        }
    });
}

async fn set_paused(shared: &Shared, account: &str, paused: bool) {
    loop {
        if let Some((engine, dead)) = shared.daemon() {
            let call = async {
                if paused {
                    engine.pause(account).await
                } else {
                    engine.resume(account).await
                }
            };
            match dead.run_until_cancelled(call).await {
                // Two pauses of one account may overlap: the first resumption ends both.
                Some(Ok(()) | Err(StoreError::NotFound)) => return,
                Some(Err(StoreError::Unavailable(_))) | None => {}
                Some(Err(error)) => shared.wrong(format!("pausing or resuming: {error}")),
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
