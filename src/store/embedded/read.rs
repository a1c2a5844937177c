//! Reads: one message, pages of messages and of what handsets sent.

use super::{Embedded, Shared};
use crate::domain::id::{InboundId, MessageId, Tenant};
use crate::domain::inbound::Inbound;
use crate::domain::message::Message;
use crate::store::codec::decode;
use crate::store::keys::{self, KeySpace};
use crate::store::kv::{Kv, KvError, Pair};
use crate::store::{Page, Query, Spending, StoreError};

/// Most records that one page looks at; a page that finds less than asked for says where to go on.
const LOOKED_AT: usize = 20_000;

impl<K: Kv> Embedded<K> {
    /// A message as it is now: a leased one from memory, else from the disk.
    pub(super) fn read_message(
        &self,
        tenant: &Tenant,
        id: MessageId,
    ) -> Result<Message, StoreError> {
        let leased = self.shared.index().leased(id).cloned();
        let message = match leased {
            Some(message) => message,
            None => read_stored(&*self.kv, id)?,
        };
        // Another tenant's message answers as an unknown one.
        if message.tenant == *tenant {
            Ok(message)
        } else {
            Err(StoreError::NotFound)
        }
    }

    /// A live message's record.
    pub(super) fn read_live(&self, id: MessageId) -> Result<Message, StoreError> {
        let key = keys::live(id);
        decode(&key, &self.kv.get(&key)?.ok_or(StoreError::NotFound)?)
    }
}

/// A message's record. It moves from the live ones to the history in one batch, so that looking
/// there second, and once more among the live ones, always finds it.
pub(super) fn read_stored<K: Kv>(kv: &K, id: MessageId) -> Result<Message, StoreError> {
    for key in [keys::live(id), keys::history(id), keys::live(id)] {
        if let Some(octets) = kv.get(&key)? {
            return decode(&key, &octets);
        }
    }
    Err(StoreError::NotFound)
}

/// A page of messages, by creation.
pub(super) fn find<K: Kv>(
    kv: &K,
    shared: &Shared,
    query: &Query,
) -> Result<Page<Message>, StoreError> {
    let mut items = Vec::new();
    let mut last = None;
    let (from, to) = span(query);
    if from.is_some_and(|from| to.is_some_and(|to| from >= to)) {
        return Ok(Page { items, next: None });
    }
    let ids: Box<dyn Iterator<Item = Result<MessageId, KvError>>> = match query.to {
        Some(number) => {
            let key = |id: MessageId| keys::recipient(number, id);
            let (first, end) = keys::recipient_range(number, None);
            let range = (from.map_or(first, key), to.map_or(end, key));
            Box::new(kv.scan(range, !query.ascending).map(id_of))
        }
        None => Box::new(merged(kv, (from, to), query.ascending)),
    };
    for (looked_at, id) in ids.enumerate() {
        if items.len() >= query.limit || looked_at >= LOOKED_AT {
            return Ok(Page { items, next: last });
        }
        let id = id?;
        last = Some(id.0);
        let leased = shared.index().leased(id).cloned();
        let message = match leased.map_or_else(|| read_stored(kv, id), Ok) {
            Ok(message) => message,
            // Pruned since the key was read.
            Err(StoreError::NotFound) => continue,
            Err(error) => return Err(error),
        };
        if query.wants(&message) {
            items.push(message);
        }
    }
    Ok(Page { items, next: None })
}

/// The half-open range of ids that a query is about. Ids say when they were made, so that what was
/// created before or after the times that are asked for need not be looked at.
fn span(query: &Query) -> (Option<MessageId>, Option<MessageId>) {
    let from = query.since.map(keys::first_made_at);
    let to = query.until.map(keys::first_made_at);
    let next = |id: MessageId| MessageId(uuid::Uuid::from_u128(id.0.as_u128().saturating_add(1)));
    match query.behind {
        Some(id) if query.ascending => (Some(next(id)).max(from), to),
        Some(id) => (from, Some(to.map_or(id, |to| to.min(id)))),
        None => (from, to),
    }
}

fn id_of(pair: Result<Pair, KvError>) -> Result<MessageId, KvError> {
    let (key, _) = pair?;
    keys::trailing_id(&key)
        .map(|octets| MessageId(uuid::Uuid::from_bytes(octets)))
        .ok_or_else(|| KvError("a key without an id".to_owned()))
}

/// The ids of live and final messages in a range, newest first, or oldest first.
fn merged<K: Kv>(
    kv: &K,
    (from, to): (Option<MessageId>, Option<MessageId>),
    ascending: bool,
) -> impl Iterator<Item = Result<MessageId, KvError>> + '_ {
    let range = |space: KeySpace| {
        let (first, end) = space.range();
        let key = |id: MessageId| [&[space.octet()], id.bytes().as_slice()].concat();
        let range = (from.map_or(first, key), to.map_or(end, key));
        kv.scan(range, !ascending).map(id_of)
    };
    let mut live = range(KeySpace::Live).peekable();
    let mut history = range(KeySpace::History).peekable();
    std::iter::from_fn(move || {
        let (Some(Ok(a)), Some(Ok(b))) = (live.peek(), history.peek()) else {
            // An error of either is told when its turn comes.
            return match live.peek() {
                Some(_) => live.next(),
                None => history.next(),
            };
        };
        let order = if ascending { a.cmp(b) } else { b.cmp(a) };
        match order {
            std::cmp::Ordering::Less => live.next(),
            std::cmp::Ordering::Greater => history.next(),
            // It moved between the two looks.
            std::cmp::Ordering::Equal => {
                history.next();
                live.next()
            }
        }
    })
}

/// A page of what handsets sent to a tenant, newest first.
pub(super) fn inbound<K: Kv>(
    kv: &K,
    tenant: &Tenant,
    before: Option<InboundId>,
    limit: usize,
) -> Result<Page<Inbound>, StoreError> {
    let mut items: Vec<Inbound> = Vec::new();
    for pair in kv.scan(keys::inbound_range(tenant, before), true) {
        if items.len() >= limit {
            let next = items.last().map(|inbound| inbound.id.0);
            return Ok(Page { items, next });
        }
        let (key, octets) = pair?;
        items.push(decode(&key, &octets)?);
    }
    Ok(Page { items, next: None })
}

/// What SIMs have sent. What cannot be read counts for nothing: it is left to `fsck`.
pub(super) fn spendings<K: Kv>(kv: &K) -> Vec<Spending> {
    let mut spendings = Vec::new();
    for pair in kv.scan(KeySpace::Spending.range(), false) {
        let read = pair.map_err(StoreError::from);
        match read.and_then(|(key, octets)| decode(&key, &octets)) {
            Ok(spending) => spendings.push(spending),
            Err(error) => tracing::error!(%error, "spending_unreadable"),
        }
    }
    spendings
}
