//! Claims: leases that memory holds, and how far they have come.

use std::collections::BTreeMap;

use super::{Embedded, Shared};
use crate::domain::event::Event;
use crate::domain::id::{Lane, MessageId};
use crate::domain::message::{Lease, Message, State};
use crate::domain::policy::{OnDoubt, Policy};
use crate::domain::time::Timestamp;
use crate::store::codec::encode;
use crate::store::frontier::{self, AHEAD, Rank};
use crate::store::index::Place;
use crate::store::kv::{Kv, Write};
use crate::store::{Claimant, Claimed, StoreError, keys};

/// Most messages that a claim looks at in vain for those to certain recipients.
const LOOKED_AT: usize = 64;
/// Most messages that a claim puts off: when hours shut over a long queue, it is done in pieces.
const PUT_OFF: usize = 256;

/// Messages whose turn had come, and that may not leave.
#[derive(Debug, Default)]
pub(super) struct NotNow {
    /// Their recipients have opted out.
    pub(super) opted_out: Vec<MessageId>,
    /// Their hours are shut until then.
    pub(super) shut: Vec<(MessageId, Timestamp)>,
}

impl NotNow {
    pub(super) fn is_empty(&self) -> bool {
        self.opted_out.is_empty() && self.shut.is_empty()
    }
}

impl Shared {
    /// What a close writes of claims: nothing that a start would have to doubt, if nothing is under
    /// way.
    pub(super) fn farewell(&self) -> Result<Write, StoreError> {
        let (index, frontier) = (self.index(), self.frontier());
        let left = frontier.left(index.has_leases(), |(lane, priority)| {
            index.first(lane, *priority)
        });
        let octets = left.as_ref().map(encode).transpose()?;
        Ok((keys::frontier(), octets))
    }
}

impl<K: Kv> Embedded<K> {
    /// Leases what is due, in memory: a crash forgets it, and the messages are due again. Names also
    /// those that are out of the lane's order now because they may not leave, and to where the marks
    /// have to be moved before the messages may be handed out.
    pub(super) fn claim_now(
        &self,
        lane: &Lane,
        by: &Claimant,
        limit: usize,
        now: Timestamp,
        policy: &Policy,
    ) -> (Claimed, NotNow, BTreeMap<Rank, Place>) {
        let mut index = self.shared.index();
        if !by.in_line {
            index.dissolve_lines(lane);
        }
        let frontier = self.shared.frontier();
        let mut messages = Vec::new();
        let mut not_now = NotNow::default();
        let mut beyond: BTreeMap<Rank, Place> = BTreeMap::new();
        let mut others = Vec::new();
        while messages.len() < limit && others.len() < LOOKED_AT && not_now.shut.len() < PUT_OFF {
            let Some(id) = index.pop(lane, &by.reach, now) else {
                break;
            };
            // Read under the lock, so that nobody can withdraw it between the look and the lease.
            let mut message = match self.read_live(id) {
                Ok(message) => message,
                Err(error) => {
                    tracing::error!(message_id = %id, %error, "claim_of_unreadable_record");
                    continue;
                }
            };
            let State::Waiting { due_at, .. } = message.state else {
                continue;
            };
            let wanted = |to| by.only_to.as_ref().is_none_or(|only| only.contains(to));
            if message.pinned_to().is_none() && !wanted(&message.to) {
                index.set_aside(lane);
                others.push((message, due_at));
                continue;
            }
            if self.shared.is_unwanted(&message, policy) {
                not_now.opted_out.push(id);
                index.pass_over(&message);
                continue;
            }
            if let Some(until) = shut_until(&message, policy, now) {
                not_now.shut.push((id, until));
                index.pass_over(&message);
                continue;
            }
            // One that has left in part goes on: it was before whatever is leased.
            let first = message.pinned_to().is_some();
            if by.in_line && !first && index.stand_in_line(&message, due_at) {
                continue;
            }
            let lease = Lease {
                account: by.account.clone(),
                channel: by.channel.clone(),
                until: by.until,
                due_at,
            };
            let waiting = message.clone();
            let (rank, place) = (frontier::rank(&message), (due_at, id));
            // A claim of what must not be sent twice is on the disk: this one was not claimed.
            let seen = message.must_be_seen_leaving();
            let claimed_unseen = message.on_doubt != Some(OnDoubt::Fail) && !seen;
            if claimed_unseen && frontier.is_doubtful(&rank, place) {
                // Refused if that is known of it already.
                let _ = message.apply(&Event::MayHaveLeft, policy, now);
            }
            // One that is past its validity stays out of the order; the reaper ends it.
            if message.apply(&Event::Claimed(lease), policy, now).is_ok() {
                self.shared.stamp(&mut message);
                index.lease(&waiting, &message);
                let resend = message.doubt_rule(policy) == OnDoubt::Resend;
                let unseen = resend && !seen && !policy.is_modem(&by.account);
                if unseen && !frontier.covers(&rank, place) {
                    let mark = beyond.entry(rank).or_insert(place);
                    *mark = (*mark).max(place);
                }
                messages.push(message);
            } else {
                index.pass_over(&waiting);
            }
        }
        for (message, due_at) in others {
            index.put_back(&message, due_at);
        }
        // Further than needed, so that not every claim needs a commit.
        for ((lane, priority), mark) in &mut beyond {
            let ahead = index.ahead(lane, *priority, now, AHEAD);
            *mark = ahead.map_or(*mark, |ahead| ahead.max(*mark));
        }
        let claimed = Claimed {
            messages,
            next_due: index.next_due(lane, &by.reach),
            failed: Vec::new(),
            deferred: 0,
        };
        (claimed, not_now, beyond)
    }
}

/// Until when the named hours of a message are shut, if they are: no further than the end of its validity,
/// where they never open again. What is past that is the reaper's.
fn shut_until(message: &Message, policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    let opening = policy.binding_of(message)?.opening(now);
    let until = opening.min(message.expires_at);
    (until > now).then_some(until)
}
