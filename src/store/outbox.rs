//! Order of the webhook deliveries that are still to be made, kept in memory, rebuilt at start.
//!
//! Deliveries wait by origin, so that a slow receiver holds up nobody else, and in chains: of one
//! message to one target only the oldest is ever out, so that a receiver sees a message's changes
//! in order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::codec::Outgoing;
use super::{FINAL_EVENTS, OutboxEvent, Settled, Webhook};
use crate::domain::id::Tenant;
use crate::domain::time::Timestamp;

/// One message (or inbound) to one target.
type Chain = ([u8; 16], u64);

struct Entry {
    origin: Arc<str>,
    chain: Chain,
    due_at: Timestamp,
}

/// Every delivery that is still to be made.
#[derive(Default)]
pub(super) struct Outbox {
    origins: BTreeMap<Arc<str>, BTreeSet<(Timestamp, u64)>>,
    entries: HashMap<u64, Entry>,
    /// Only chains of more than one delivery: the rest are their own head.
    followers: HashMap<Chain, VecDeque<u64>>,
    heads: HashMap<Chain, u64>,
}

impl Outbox {
    /// Adds a delivery. Numbers must come in rising order within a chain.
    pub(super) fn add(&mut self, seq: u64, outgoing: &Outgoing) {
        let origin = self.origin(&outgoing.url);
        let chain = chain(outgoing);
        let due_at = outgoing.due_at;
        self.entries.insert(
            seq,
            Entry {
                origin: origin.clone(),
                chain,
                due_at,
            },
        );
        if let std::collections::hash_map::Entry::Vacant(head) = self.heads.entry(chain) {
            head.insert(seq);
            self.origins
                .entry(origin)
                .or_default()
                .insert((due_at, seq));
        } else {
            self.followers.entry(chain).or_default().push_back(seq);
        }
    }

    /// The deliveries that tell of these messages.
    pub(super) fn of(&self, ids: &HashSet<[u8; 16]>) -> Vec<u64> {
        let theirs = self.entries.iter();
        let theirs = theirs.filter(|(_, entry)| ids.contains(&entry.chain.0));
        theirs.map(|(seq, _)| *seq).collect()
    }

    /// Takes up to `limit` deliveries that are due, sharing it among origins that are not busy.
    /// Says also when the next one of those origins is due.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        limit: usize,
        busy: &[Arc<str>],
    ) -> (Vec<(u64, Arc<str>)>, Option<Timestamp>) {
        let mut taken = Vec::new();
        let mut next = None::<Timestamp>;
        let free = self
            .origins
            .iter_mut()
            .filter(|(origin, _)| !busy.contains(origin));
        let mut free: Vec<_> = free.collect();
        let share = (limit / free.len().max(1)).max(1);
        for (origin, waiting) in &mut free {
            let mut mine = 0;
            while let Some((due_at, seq)) = waiting.first().copied() {
                if due_at > now || mine >= share || taken.len() >= limit {
                    next = Some(next.map_or(due_at, |at| at.min(due_at)));
                    break;
                }
                waiting.remove(&(due_at, seq));
                taken.push((seq, (*origin).clone()));
                mine += 1;
            }
        }
        self.origins.retain(|_, waiting| !waiting.is_empty());
        (taken, next)
    }

    /// Puts back a delivery that was taken and could not be read or made.
    pub(super) fn put_back(&mut self, seq: u64) {
        if let Some(entry) = self.entries.get(&seq) {
            self.origins
                .entry(entry.origin.clone())
                .or_default()
                .insert((entry.due_at, seq));
        }
    }

    /// Says what became of a delivery that was taken.
    pub(super) fn settle(&mut self, seq: u64, settled: Settled) {
        if let Settled::Retry(due_at) = settled {
            if let Some(entry) = self.entries.get_mut(&seq) {
                entry.due_at = due_at;
            }
            self.put_back(seq);
            return;
        }
        let Some(entry) = self.entries.remove(&seq) else {
            return;
        };
        let next = self
            .followers
            .get_mut(&entry.chain)
            .and_then(VecDeque::pop_front);
        if let Some(next) = next {
            self.heads.insert(entry.chain, next);
            self.put_back(next);
        } else {
            self.heads.remove(&entry.chain);
            self.followers.remove(&entry.chain);
        }
    }

    /// Number of deliveries still to be made.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    /// One allocation an origin, however many deliveries it has.
    fn origin(&self, url: &str) -> Arc<str> {
        let origin = origin(url);
        match self.origins.get_key_value(origin) {
            Some((known, _)) => known.clone(),
            None => origin.into(),
        }
    }
}

/// The deliveries that an event asks for: to the message's own URL, which hears of its end alone, and
/// to each of the tenant's subscriptions that wants it.
pub(super) fn deliveries<'a>(
    event: &'a OutboxEvent,
    tenant: &'a Tenant,
    own_url: Option<&'a str>,
    webhooks: &'a [Webhook],
    now: Timestamp,
) -> impl Iterator<Item = Outgoing> + 'a {
    let kind = event.kind();
    let own = own_url
        .filter(|_| FINAL_EVENTS.contains(&kind))
        .map(|url| (url, None));
    let subscribed = webhooks
        .iter()
        .filter(move |webhook| webhook.tenant == *tenant && webhook.wants(kind))
        .map(|webhook| (webhook.url.as_str(), Some(webhook.id.clone())));
    own.into_iter()
        .chain(subscribed)
        .map(move |(url, webhook)| Outgoing {
            url: url.to_owned(),
            webhook,
            tenant: tenant.clone(),
            event: event.clone(),
            created_at: now,
            due_at: now,
            tries: 0,
        })
}

/// Scheme, host and port of a URL, as far as the path.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    &url[..end]
}

fn chain(outgoing: &Outgoing) -> Chain {
    let id = match &outgoing.event {
        OutboxEvent::Message(message) => *message.id.bytes(),
        OutboxEvent::Inbound(inbound) => *inbound.id.bytes(),
        OutboxEvent::CreditLow(low) => low.id(),
        OutboxEvent::NumberInvalid(it) => *it.message.bytes(),
    };
    let mut hasher = DefaultHasher::new();
    match &outgoing.webhook {
        Some(webhook) => webhook.hash(&mut hasher),
        None => outgoing.url.hash(&mut hasher),
    }
    (id, hasher.finish())
}
