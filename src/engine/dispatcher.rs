//! Keeps every window full without polling.
//!
//! A permit is taken before the claim and travels with the message until its outcome is committed,
//! so that memory holds at most the sum of the windows, whatever the backlog, and so does the
//! number of messages that a crash may send twice. The due order is the store's; this task only
//! knows who may send what, and when to look again.
//!
//! Which step of its route a message takes is decided when it is claimed: the first one over which
//! messages may go out, and a later one only once those before it have been shut for as long as the
//! operator's rule says. So the way back to the first step needs no write. What an account has, or
//! may have, a part of is claimed for that account alone, whichever step it is in.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::accounts::Gate;
use super::{Engine, flights};
use crate::channel::ChannelHandle;
use crate::domain::id::{Account, Lane};
use crate::domain::message::WaitReason;
use crate::domain::msisdn::Msisdn;
use crate::domain::policy::Policy;
use crate::domain::text::TextRules;
use crate::domain::time::Timestamp;
use crate::store::{Claimant, Claimed, Reach, Report, StoreError};

/// Most messages claimed at once for one channel, so that lanes take turns.
const BURST: usize = 16;

/// When a claim that nobody reports on is taken as lost. Drivers report on everything, so this is
/// for the driver that does not.
const LEASE: Duration = Duration::from_secs(15 * 60);

/// How long to leave a store alone that did not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Runs until `claiming` is cancelled.
pub(super) async fn run(engine: Arc<Engine>, claiming: CancellationToken) {
    let mut dispatcher = Dispatcher { engine, turn: 0 };
    let mut policy = dispatcher.engine.policy.clone();
    loop {
        let wake_at = dispatcher.fill(&claiming).await;
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
    /// Which lane, and which channel of those that are equally free, goes first: another one each
    /// time.
    turn: usize,
}

/// Which way the free messages of a lane may go.
#[derive(Debug)]
pub(super) struct Way<'a> {
    /// The steps that have been looked at: the last of them is the one in use, or waited for.
    pub(super) steps: &'a [Vec<Account>],
    /// The accounts that may take some: those of the step in use; and with them, and told by `true`,
    /// those that are to be tried with one message.
    pub(super) open: Vec<(Account, bool)>,
    /// When that may change by time alone.
    wake_at: Timestamp,
}

/// One account's part in a lane.
#[derive(Debug)]
struct Share {
    account: Account,
    reach: Reach,
    /// How texts travel over it.
    texts: TextRules,
    /// The account is tried with one message.
    probe: bool,
    /// The SIM whose budget it uses.
    sim: Option<String>,
    /// Most new messages that this budget has room for.
    room: usize,
    /// Set where it has room for messages to recipients that it has counted before.
    only_to: Option<Arc<HashSet<Msisdn>>>,
}

impl Dispatcher {
    /// Hands out everything that can leave now, unless `claiming` is cancelled; answers when to look again.
    async fn fill(&mut self, claiming: &CancellationToken) -> Timestamp {
        let mut wake_at = Timestamp::NEVER;
        loop {
            if claiming.is_cancelled() {
                return Timestamp::NEVER;
            }
            // Anew for each turn: under load there may be more to send at the end of every one, for hours.
            let policy = self.engine.rules();
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

    /// One turn of a lane on each account that may send some of it: how many messages left, and when
    /// to come back.
    async fn fill_lane(
        &mut self,
        lane: &Lane,
        policy: &Policy,
    ) -> Result<(usize, Timestamp), StoreError> {
        let engine = self.engine.clone();
        let now = engine.clock.now();
        let pins = engine.store.pins(lane);
        let all = Reach {
            free: true,
            pinned: pins.clone(),
        };
        let Some(due) = engine.store.next_due(lane, &all) else {
            return Ok((0, Timestamp::NEVER));
        };
        if due > now {
            return Ok((0, due));
        }
        let opening = policy.operator(&lane.operator).opening(now);
        if opening > now {
            engine.lanes.shut(lane, opening);
            return Ok((0, opening));
        }
        let (shares, mut wake_at) = engine.shares(lane, policy, &pins, now);
        let in_line = shares
            .iter()
            .any(|share| engine.accounts.is_slowed(&share.account, now));
        let mut sent = 0;
        for share in &shares {
            match engine.store.next_due(lane, &share.reach) {
                Some(due) if due <= now => {}
                next => {
                    wake_at = wake_at.min(next.unwrap_or(Timestamp::NEVER));
                    continue;
                }
            }
            for handle in self.channels(&share.account) {
                let most = if share.probe {
                    1
                } else {
                    BURST.min(share.room)
                };
                let (permits, next) = self.permits(lane, &handle, policy, most, now);
                wake_at = wake_at.min(next);
                if permits.is_empty() {
                    continue;
                }
                let (claimed, deferred) = self
                    .claim(lane, &handle, share, in_line, permits, (policy, now))
                    .await?;
                sent += claimed;
                if deferred > 0 {
                    // There is no telling what stands behind what was put off, but a look.
                    wake_at = wake_at.min(now);
                }
                if share.probe && claimed > 0 {
                    engine.accounts.probe(&share.account, now);
                    break;
                }
            }
            if sent > 0
                && let Some(next) = engine.store.next_due(lane, &share.reach)
            {
                wake_at = wake_at.min(next);
            }
        }
        Ok((sent, wake_at))
    }

    /// The channels of an account that take messages, the emptiest window first, which spreads a lane
    /// over them. One that is down, or full, wakes us when that changes.
    fn channels(&self, account: &Account) -> Vec<ChannelHandle> {
        let engine = &self.engine;
        let takes =
            |handle: &&ChannelHandle| handle.account == *account && engine.accounts.takes(handle);
        let relays = engine.relays.handles();
        let all = engine.channels();
        let all = all.iter().chain(&relays);
        let mut channels: Vec<_> = all.filter(takes).cloned().collect();
        let start = self.turn % channels.len().max(1);
        channels.rotate_left(start);
        channels.sort_by_key(|handle| std::cmp::Reverse(handle.window.available_permits()));
        channels
    }

    /// Free places of a channel's window that the paces of lane and account allow, and when there are
    /// more.
    fn permits(
        &self,
        lane: &Lane,
        handle: &ChannelHandle,
        policy: &Policy,
        most: usize,
        now: Timestamp,
    ) -> (Vec<OwnedSemaphorePermit>, Timestamp) {
        let configured = policy.rate_of(&handle.account);
        let of_lane = policy.operator(&lane.operator).rate;
        let mut permits = Vec::new();
        while permits.len() < most {
            let Ok(permit) = handle.window.clone().try_acquire_owned() else {
                break;
            };
            let lanes = &self.engine.lanes;
            let paid = lanes.pay(lane, of_lane).and_then(|()| {
                let paid = self.engine.accounts.pay(&handle.account, configured);
                paid.inspect_err(|_| lanes.settle(lane, of_lane, 1, 0))
            });
            if let Err(wait) = paid {
                return (permits, now + wait.max(Duration::from_millis(1)));
            }
            permits.push(permit);
        }
        (permits, Timestamp::NEVER)
    }

    /// Hands messages of a lane to a channel: how many left, and how many were put off.
    async fn claim(
        &self,
        lane: &Lane,
        handle: &ChannelHandle,
        share: &Share,
        in_line: bool,
        mut permits: Vec<OwnedSemaphorePermit>,
        (policy, now): (&Policy, Timestamp),
    ) -> Result<(usize, usize), StoreError> {
        let engine = self.engine.clone();
        let by = Claimant {
            account: handle.account.clone(),
            channel: handle.id.clone(),
            until: now + LEASE,
            reach: share.reach.clone(),
            in_line,
            only_to: share.only_to.clone(),
        };
        let claimed = engine.store.claim(lane, by, permits.len(), now).await;
        let claimed = claimed.unwrap_or_else(|error| {
            tracing::warn!(?lane, %error, "claim_failed");
            Claimed::default()
        });
        claimed.failed.iter().for_each(|c| engine.publish(c));
        let (messages, deferred) = (claimed.messages, claimed.deferred);
        let count = messages.len();
        let mut parts = 0;
        let mut returned = Vec::new();
        for message in messages {
            let Some(permit) = permits.pop() else { break };
            parts += flights::parts_left(&message);
            let token = flights::token(&message);
            // Known before the channel can report on it.
            if let Some(sim) = &share.sim {
                engine.budgets.take(token, sim.clone(), message.to);
            }
            if !engine.flights.start(&message, share.texts, permit, handle) {
                // The channel stopped between the look and the claim.
                engine.budgets.give_back(token);
                returned.push(Report::GivenBack {
                    token,
                    why: WaitReason::NoChannelUp,
                });
            }
        }
        // Every part is charged with the claim, though the later ones leave one answer after
        // another: no part ever has to wait for the pace in the middle of a message, and one that is
        // not sent after all only makes the account slower than it may be, never faster.
        let more = parts.saturating_sub(count);
        engine.accounts.settle(&handle.account, permits.len(), more);
        let of_lane = policy.operator(&lane.operator).rate;
        engine.lanes.settle(lane, of_lane, permits.len(), more);
        if !returned.is_empty() {
            engine.store.report(returned, now).await?;
        }
        Ok((count, deferred))
    }
}

impl Engine {
    /// Who may send what of a lane now, and when that may change by time alone. `pins` are the
    /// accounts that some of its messages are pinned to.
    fn shares(
        &self,
        lane: &Lane,
        policy: &Policy,
        pins: &[Account],
        now: Timestamp,
    ) -> (Vec<Share>, Timestamp) {
        let Way {
            steps,
            open: free,
            mut wake_at,
        } = self.way(lane, policy, now);
        let mut shares: Vec<Share> = Vec::new();
        // Nobody can finish what an account has begun that the configuration no longer has.
        let orphans = pins.iter().filter(|account| !self.accounts.has(account));
        // Where there is no other way, those whom a SIM writes to anyway need not wait.
        let known = steps.iter().flatten().filter(|_| free.is_empty());
        let known = known.filter_map(|account| {
            let (only_to, room) = self.room_for_known(account, policy, now)?;
            Some((account.clone(), false, room, Some(only_to)))
        });
        let known: Vec<_> = known.collect();
        let free = free.into_iter().map(|(account, probe)| {
            let room = self.room(&account, policy, now);
            (account, probe, room, None)
        });
        for (account, probe, room, only_to) in free.chain(known) {
            let mut reach = Reach::of(&account);
            reach.pinned.extend(orphans.clone().cloned());
            shares.push(Share {
                texts: policy.text_rules_of(&account),
                sim: self.counted_for(&account, policy),
                account,
                reach,
                probe,
                room,
                only_to,
            });
        }
        for account in pins {
            if shares.iter().any(|share| share.account == *account) {
                continue;
            }
            let probe = match self.accounts.gate(account, now) {
                Gate::Open => false,
                _ if self.accounts.may_go_on(account, now) => false,
                Gate::HalfOpen => true,
                Gate::Shut(shut) => {
                    wake_at = wake_at.min(shut.until.unwrap_or(Timestamp::NEVER));
                    continue;
                }
            };
            shares.push(Share {
                account: account.clone(),
                reach: Reach::pinned(account),
                texts: policy.text_rules_of(account),
                sim: self.counted_for(account, policy),
                probe,
                // What is begun is finished.
                room: usize::MAX,
                only_to: None,
            });
        }
        (shares, wake_at)
    }

    /// Which way free messages of a lane may go now.
    pub(super) fn way<'a>(&self, lane: &Lane, policy: &'a Policy, now: Timestamp) -> Way<'a> {
        let operator = policy.operator(&lane.operator);
        let mut way = Way {
            steps: &operator.route,
            open: Vec::new(),
            wake_at: Timestamp::NEVER,
        };
        for (index, step) in operator.route.iter().enumerate() {
            let mut usable = false;
            let mut given_up_at = Timestamp::default();
            for account in step {
                match self.gate(account, policy, now) {
                    Gate::Open => {
                        usable = true;
                        way.open.push((account.clone(), false));
                    }
                    Gate::HalfOpen => way.open.push((account.clone(), true)),
                    Gate::Shut(shut) => {
                        way.wake_at = way.wake_at.min(shut.until.unwrap_or(Timestamp::NEVER));
                        given_up_at = given_up_at.max(shut.given_up_at(operator.failover_after));
                    }
                }
            }
            if !usable && given_up_at > now {
                way.wake_at = way.wake_at.min(given_up_at);
            }
            if usable || given_up_at > now {
                way.steps = &operator.route[..=index];
                break;
            }
        }
        // No other way: accounts that only failed go on, each message by its own waits.
        if way.open.iter().all(|(_, probe)| *probe) {
            for account in way.steps.iter().flatten() {
                if self.accounts.may_go_on(account, now) && self.has_room(account, policy, now) {
                    way.open.retain(|(known, _)| known != account);
                    way.open.push((account.clone(), false));
                }
            }
        }
        way
    }
}
