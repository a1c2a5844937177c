//! Keeps every window full without polling.
//!
//! A permit is taken before the claim and travels with the message until its outcome is committed,
//! so that memory holds at most the sum of the windows, whatever the backlog, and so does the
//! number of messages that a crash may send twice. The due order is the store's; this task only
//! knows when to look again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{Engine, flights};
use crate::channel::ChannelHandle;
use crate::channel::limiter::Pacer;
use crate::domain::id::{Account, Lane};
use crate::domain::message::WaitReason;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::store::{Claimant, Claimed, Report, StoreError};

/// Most messages claimed at once for one channel, so that lanes take turns.
const BURST: usize = 16;

/// When a claim that nobody reports on is taken as lost. Drivers report on everything, so this is
/// for the driver that does not.
const LEASE: Duration = Duration::from_secs(15 * 60);

/// How long to leave a store alone that did not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Runs until `claiming` is cancelled.
pub(super) async fn run(engine: Arc<Engine>, claiming: CancellationToken) {
    let mut dispatcher = Dispatcher {
        engine,
        pacers: HashMap::new(),
        turn: 0,
    };
    let mut policy = dispatcher.engine.policy.clone();
    loop {
        let wake_at = dispatcher.fill().await;
        let sleep = dispatcher.engine.clock.sleep_until(wake_at);
        tokio::select! {
            biased;
            () = claiming.cancelled() => return,
            () = dispatcher.engine.bells.dispatcher.notified() => {}
            () = tokio::time::sleep(sleep) => {}
            Ok(()) = policy.changed() => {}
        }
    }
}

struct Dispatcher {
    engine: Arc<Engine>,
    pacers: HashMap<Account, (u32, Pacer)>,
    /// Which lane goes first: another one each time.
    turn: usize,
}

impl Dispatcher {
    /// Hands out everything that can leave now; answers when to look again.
    async fn fill(&mut self) -> Timestamp {
        let policy = self.engine.rules();
        let mut wake_at = Timestamp::NEVER;
        loop {
            let mut lanes = self.engine.store.lanes();
            lanes.sort();
            self.turn = self.turn.wrapping_add(1);
            let start = self.turn % lanes.len().max(1);
            lanes.rotate_left(start);
            let mut sent = 0;
            for lane in &lanes {
                match self.fill_lane(lane, &policy).await {
                    Ok((count, next)) => {
                        sent += count;
                        wake_at = wake_at.min(next);
                    }
                    Err(error) => {
                        tracing::warn!(?lane, %error, "claim_failed");
                        wake_at = wake_at.min(self.engine.clock.now() + STORE_PAUSE);
                    }
                }
            }
            if sent == 0 {
                return wake_at;
            }
            wake_at = Timestamp::NEVER;
        }
    }

    /// One turn of a lane on each of its channels: how many messages left, and when to come back.
    async fn fill_lane(
        &mut self,
        lane: &Lane,
        policy: &Policy,
    ) -> Result<(usize, Timestamp), StoreError> {
        let now = self.engine.clock.now();
        let Some(due) = self.engine.store.next_due(lane) else {
            return Ok((0, Timestamp::NEVER));
        };
        if due > now {
            return Ok((0, due));
        }
        let mut sent = 0;
        let mut wake_at = Timestamp::NEVER;
        let accounts = policy.accounts(lane);
        let engine = self.engine.clone();
        let mut channels: Vec<_> = engine
            .channels
            .iter()
            .filter(|handle| accounts.contains(&handle.account))
            .collect();
        // The emptiest window first spreads a lane over the binds of its account.
        channels.sort_by_key(|handle| std::cmp::Reverse(handle.window.available_permits()));
        for handle in channels {
            // A channel that is down, or full, wakes us when that changes.
            if !handle.status.borrow().is_up() {
                continue;
            }
            if let Some(until) = engine.rests.throttled_until(&handle.account, now) {
                wake_at = wake_at.min(until);
                continue;
            }
            let (permits, next) = self.permits(handle, policy, now);
            wake_at = wake_at.min(next);
            if permits.is_empty() {
                continue;
            }
            sent += self.claim(lane, handle, policy, permits, now).await?;
        }
        if sent > 0
            && let Some(next) = engine.store.next_due(lane)
        {
            wake_at = wake_at.min(next);
        }
        Ok((sent, wake_at))
    }

    /// Free places of a channel's window that its account's pace allows, and when there are more.
    fn permits(
        &mut self,
        handle: &ChannelHandle,
        policy: &Policy,
        now: Timestamp,
    ) -> (Vec<OwnedSemaphorePermit>, Timestamp) {
        let pacer = self.pacer(&handle.account, policy);
        let mut permits = Vec::new();
        while permits.len() < BURST {
            let Ok(permit) = handle.window.clone().try_acquire_owned() else {
                break;
            };
            if let Err(wait) = pacer.pay() {
                let until = now + wait.max(Duration::from_millis(1));
                self.engine.rests.pace(&handle.account, until);
                return (permits, until);
            }
            permits.push(permit);
        }
        (permits, Timestamp::NEVER)
    }

    fn pacer(&mut self, account: &Account, policy: &Policy) -> &mut Pacer {
        let rate = policy.rates.get(account).copied().unwrap_or(0);
        let clock = self.engine.clock.clone();
        let (known, pacer) = self
            .pacers
            .entry(account.clone())
            .or_insert_with(|| (rate, Pacer::new(rate, &clock)));
        if *known != rate {
            *known = rate;
            *pacer = Pacer::new(rate, &clock);
        }
        pacer
    }

    async fn claim(
        &mut self,
        lane: &Lane,
        handle: &ChannelHandle,
        policy: &Policy,
        mut permits: Vec<OwnedSemaphorePermit>,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let engine = self.engine.clone();
        let by = Claimant {
            account: handle.account.clone(),
            channel: handle.id.clone(),
            until: now + LEASE,
        };
        let claimed = engine.store.claim(lane, by, permits.len(), now).await;
        let claimed = claimed.unwrap_or_else(|error| {
            tracing::warn!(?lane, %error, "claim_failed");
            Claimed::default()
        });
        claimed.failed.iter().for_each(|c| engine.publish(c));
        let messages = claimed.messages;
        let count = messages.len();
        let mut parts = 0;
        let mut returned = Vec::new();
        for message in messages {
            let Some(permit) = permits.pop() else { break };
            parts += flights::parts_left(&message);
            if !engine.flights.start(&message, permit, handle) {
                // The channel stopped between the look and the claim.
                returned.push(Report::GivenBack {
                    token: flights::token(&message),
                    why: WaitReason::NoChannelUp,
                });
            }
        }
        let unused = permits.len();
        let pacer = self.pacer(&handle.account, policy);
        // Every part is charged with the claim, though the later ones leave one answer after
        // another: no part ever has to wait for the pace in the middle of a message, and one that is
        // not sent after all only makes the account slower than it may be, never faster.
        pacer.refund(unused);
        pacer.charge(parts.saturating_sub(count));
        if !returned.is_empty() {
            engine.store.report(returned, now).await?;
        }
        Ok(count)
    }
}
