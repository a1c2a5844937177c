//! Keys of the embedded engines: the first octet is the key space, integers are big-endian, ids are
//! UUIDv7, so that key order is creation order. An octet once assigned is never reused.

use sha2::{Digest, Sha256};

use super::{Count, DocumentKind, Pending};
use crate::domain::id::{Account, BatchId, InboundId, MessageId, Tenant};
use crate::domain::inbound::{Inbound, Numbering, Part};
use crate::domain::message::Message;
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::Opposed;
use crate::domain::privacy::Stage;
use crate::domain::sim;
use crate::domain::time::Timestamp;

/// The key spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum KeySpace {
    /// What digests have counted and is still to be told, by tenant, digest, number, kind and tick.
    Counted = b'A',
    /// What tenants and keys have used: balances and quotas.
    Account = b'B',
    /// Lines of the ledgers of credit, by tenant and number.
    Ledger = b'C',
    /// Consents, by tenant, number and purpose.
    Consent = b'D',
    /// Numbers that are not in service, by tenant.
    Invalid = b'I',
    /// API keys, by public prefix.
    ApiKey = b'a',
    /// Batches: written last, so that a batch without its record was never acknowledged.
    Batch = b'b',
    /// Carrier references → message, attempt, segment.
    Reference = b'c',
    /// What SIMs have shown, by week and fingerprint: what they show again is not taken in twice.
    Shown = b'd',
    /// Messages that became final after the sweep of their age had passed, by stage and time.
    Late = b'e',
    /// How carriers write their ids in receipts, by account.
    Writing = b'f',
    /// Receipts whose reference is not bound yet.
    Orphan = b'g',
    /// Messages that are final.
    History = b'h',
    /// What handsets sent, by tenant.
    Inbound = b'i',
    /// How far the sweeps that erase have come.
    Swept = b'j',
    /// Idempotency keys.
    Idempotency = b'k',
    /// How far claims have come.
    Frontier = b'l',
    /// Messages that are live: a start reads these alone.
    Live = b'm',
    /// Plans, by tenant and key: the message that is theirs now.
    Plan = b'n',
    /// Webhook deliveries not yet made.
    Outbox = b'o',
    /// Accounts and binds that an operator has paused.
    Pause = b'p',
    /// What is told once, by tenant and key: the message that told it.
    Once = b'q',
    /// Messages by recipient.
    Recipient = b'r',
    /// What SIMs have sent, by SIM.
    Spending = b's',
    /// What administrators have written, by kind, tenant and name.
    Document = b't',
    /// Parts of what handsets sent, until all of them are there.
    Parts = b'u',
    /// Version of the layout.
    Version = b'v',
    /// Webhook subscriptions, by tenant.
    Webhook = b'w',
    /// Numbers that have opted out, by tenant.
    OptOut = b'x',
}

impl KeySpace {
    /// Every key space.
    pub const ALL: [Self; 29] = [
        Self::Counted,
        Self::Account,
        Self::Ledger,
        Self::Consent,
        Self::Invalid,
        Self::ApiKey,
        Self::Batch,
        Self::Reference,
        Self::Shown,
        Self::Late,
        Self::Writing,
        Self::Orphan,
        Self::History,
        Self::Inbound,
        Self::Swept,
        Self::Idempotency,
        Self::Frontier,
        Self::Live,
        Self::Plan,
        Self::Outbox,
        Self::Pause,
        Self::Once,
        Self::Recipient,
        Self::Spending,
        Self::Document,
        Self::Parts,
        Self::Version,
        Self::Webhook,
        Self::OptOut,
    ];

    /// The key space of a key.
    #[must_use]
    pub fn of(key: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|space| key.first() == Some(&space.octet()))
    }

    /// Its octet.
    #[must_use]
    pub const fn octet(self) -> u8 {
        self as u8
    }

    /// Half-open range of every key in it.
    #[must_use]
    pub fn range(self) -> (Vec<u8>, Vec<u8>) {
        (vec![self.octet()], vec![self.octet() + 1])
    }
}

fn key(space: KeySpace, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(space.octet());
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// A live message.
#[must_use]
pub fn live(id: MessageId) -> Vec<u8> {
    key(KeySpace::Live, &[id.bytes()])
}

/// A final message.
#[must_use]
pub fn history(id: MessageId) -> Vec<u8> {
    key(KeySpace::History, &[id.bytes()])
}

/// One of a recipient's messages.
#[must_use]
pub fn recipient(to: Msisdn, id: MessageId) -> Vec<u8> {
    key(
        KeySpace::Recipient,
        &[&to.as_u64().to_be_bytes(), id.bytes()],
    )
}

/// Range of all messages of a recipient, up to but without `before`.
#[must_use]
pub fn recipient_range(to: Msisdn, before: Option<MessageId>) -> (Vec<u8>, Vec<u8>) {
    let number = to.as_u64().to_be_bytes();
    let end = match before {
        Some(id) => key(KeySpace::Recipient, &[&number, id.bytes()]),
        None => key(KeySpace::Recipient, &[&(to.as_u64() + 1).to_be_bytes()]),
    };
    (key(KeySpace::Recipient, &[&number]), end)
}

/// A bound carrier reference. Account names hold no NUL (the configuration sees to it).
#[must_use]
pub fn reference(account: &Account, canonical: &str) -> Vec<u8> {
    named(KeySpace::Reference, account, canonical)
}

/// Receipts under a reference that is not bound.
#[must_use]
pub fn orphan(account: &Account, canonical: &str) -> Vec<u8> {
    named(KeySpace::Orphan, account, canonical)
}

/// A reference in the id space that it belongs to: its account's, or its SIM's, which it names
/// itself, so that the SIM may move to another modem. No account's key is one of these: it has a NUL.
fn named(space: KeySpace, account: &Account, canonical: &str) -> Vec<u8> {
    if sim::is_reference(canonical) {
        return key(space, &[canonical.as_bytes()]);
    }
    key(
        space,
        &[account.as_str().as_bytes(), &[0], canonical.as_bytes()],
    )
}

/// True if a key of references or orphans is a SIM's own.
#[must_use]
pub fn is_of_sim(key: &[u8]) -> bool {
    let named = key.get(1..).and_then(|name| str::from_utf8(name).ok());
    named.is_some_and(|name| sim::is_reference(name) && !name.contains('\0'))
}

/// What a SIM has shown, by the week in which it was taken in, so that what is past keeping comes
/// first.
#[must_use]
pub fn shown(week: u32, fingerprint: &[u8; 16]) -> Vec<u8> {
    key(KeySpace::Shown, &[&week.to_be_bytes(), fingerprint])
}

/// Range of what SIMs have shown before a week.
#[must_use]
pub fn shown_before(week: u32) -> (Vec<u8>, Vec<u8>) {
    let (start, _) = KeySpace::Shown.range();
    (start, key(KeySpace::Shown, &[&week.to_be_bytes()]))
}

/// The week of an instant, for [`shown`].
#[must_use]
pub fn week(at: Timestamp) -> u32 {
    const MILLIS: i64 = 7 * 24 * 3600 * 1000;
    u32::try_from(at.millis().div_euclid(MILLIS)).unwrap_or(0)
}

/// How the carrier of an account writes its ids in receipts.
#[must_use]
pub fn writing(account: &Account) -> Vec<u8> {
    key(KeySpace::Writing, &[account.as_str().as_bytes()])
}

/// A batch.
#[must_use]
pub fn batch(id: BatchId) -> Vec<u8> {
    key(KeySpace::Batch, &[id.bytes()])
}

/// An idempotency key.
#[must_use]
pub fn idempotency(hash: &[u8; 16]) -> Vec<u8> {
    key(KeySpace::Idempotency, &[hash])
}

/// What administrators have written. Neither tenants nor names hold a NUL.
#[must_use]
pub fn document(kind: DocumentKind, tenant: &Tenant, name: &str) -> Vec<u8> {
    let kind = match kind {
        DocumentKind::Settings => 1,
        DocumentKind::Template => 2,
        DocumentKind::Digest => 3,
    };
    key(
        KeySpace::Document,
        &[&[kind], tenant.as_str().as_bytes(), &[0], name.as_bytes()],
    )
}

/// What a tenant has and has used. Neither tenants nor the prefixes of keys hold a NUL.
#[must_use]
pub fn purse(tenant: &Tenant) -> Vec<u8> {
    key(KeySpace::Account, &[tenant.as_str().as_bytes(), &[0]])
}

/// What a key has used.
#[must_use]
pub fn key_use(tenant: &Tenant, prefix: &str) -> Vec<u8> {
    let name = tenant.as_str().as_bytes();
    key(KeySpace::Account, &[name, &[0], prefix.as_bytes()])
}

/// True if a key of accounts is that of a purse.
#[must_use]
pub fn is_purse(key: &[u8]) -> bool {
    key.last() == Some(&0)
}

/// A line of a tenant's ledger.
#[must_use]
pub fn line(tenant: &Tenant, number: u64) -> Vec<u8> {
    let name = tenant.as_str().as_bytes();
    key(KeySpace::Ledger, &[name, &[0], &number.to_be_bytes()])
}

/// Range of a tenant's ledger, up to but without line `before`.
#[must_use]
pub fn ledger_range(tenant: &Tenant, before: Option<u64>) -> (Vec<u8>, Vec<u8>) {
    let name = tenant.as_str().as_bytes();
    let end = match before {
        Some(number) => line(tenant, number),
        None => key(KeySpace::Ledger, &[name, &[1]]),
    };
    (key(KeySpace::Ledger, &[name, &[0]]), end)
}

/// What a digest has counted. Neither names of digests nor of kinds hold a NUL.
#[must_use]
pub fn count(count: &Count) -> Vec<u8> {
    let mut key = counts_of_kind(&count.tenant, &count.digest, count.to, &count.kind);
    key.extend_from_slice(&count.tick.millis().max(0).to_be_bytes());
    key
}

/// How the keys of a digest's counts begin.
#[must_use]
pub fn counts_of(tenant: &Tenant, digest: &str) -> Vec<u8> {
    let tenant = tenant.as_str().as_bytes();
    key(KeySpace::Counted, &[tenant, &[0], digest.as_bytes(), &[0]])
}

/// How the keys of a digest's counts for a recipient begin.
#[must_use]
pub fn counts_to(tenant: &Tenant, digest: &str, to: Msisdn) -> Vec<u8> {
    let mut key = counts_of(tenant, digest);
    key.extend_from_slice(&to.as_u64().to_be_bytes());
    key
}

/// How the keys of a digest's counts of a kind for a recipient begin.
#[must_use]
pub fn counts_of_kind(tenant: &Tenant, digest: &str, to: Msisdn, kind: &str) -> Vec<u8> {
    let mut key = counts_to(tenant, digest, to);
    key.extend_from_slice(kind.as_bytes());
    key.push(0);
    key
}

/// Range of what is pending of a digest.
#[must_use]
pub fn counts_range(tenant: &Tenant, digest: &str, of: Pending) -> (Vec<u8>, Vec<u8>) {
    // A number has 15 digits at most: there is always a greater one.
    let from = |number: u64| {
        let mut key = counts_of(tenant, digest);
        key.extend_from_slice(&number.to_be_bytes());
        key
    };
    match of {
        Pending::Of(to) => (from(to.as_u64()), from(to.as_u64() + 1)),
        Pending::After(after) => {
            let first = after.map_or(0, |number| number.as_u64() + 1);
            (from(first), from(u64::MAX))
        }
    }
}

/// The tick of a count's key.
#[must_use]
pub fn tick_of_count(key: &[u8]) -> Option<Timestamp> {
    let tick = key.last_chunk::<8>().filter(|_| key.len() > 17)?;
    Some(Timestamp(i64::from_be_bytes(*tick)))
}

/// A plan of a tenant. Tenants hold no NUL.
#[must_use]
pub fn plan(tenant: &Tenant, name: &str) -> Vec<u8> {
    of_name(KeySpace::Plan, tenant, name)
}

/// What a tenant tells once.
#[must_use]
pub fn once(tenant: &Tenant, name: &str) -> Vec<u8> {
    of_name(KeySpace::Once, tenant, name)
}

/// The keys of the names that a message bears: of its plan, and of what is told once.
#[must_use]
pub fn names(message: &Message) -> Vec<Vec<u8>> {
    let Some(terms) = message.terms.as_deref() else {
        return Vec::new();
    };
    let named = terms.schedule_key.as_deref();
    let named = named.map(|name| plan(&message.tenant, name));
    let told = terms.once_key.as_deref();
    let told = told.map(|name| once(&message.tenant, name));
    named.into_iter().chain(told).collect()
}

/// A name that a tenant has given, as the first half of its SHA-256: names may say whose affair it is.
fn of_name(space: KeySpace, tenant: &Tenant, name: &str) -> Vec<u8> {
    let whole: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    key(space, &[tenant.as_str().as_bytes(), &[0], &whole[..16]])
}

/// A webhook delivery.
#[must_use]
pub fn outbox(seq: u64) -> Vec<u8> {
    key(KeySpace::Outbox, &[&seq.to_be_bytes()])
}

/// A tenant's inbound message.
#[must_use]
pub fn inbound(tenant: &Tenant, id: InboundId) -> Vec<u8> {
    key(
        KeySpace::Inbound,
        &[tenant.as_str().as_bytes(), &[0], id.bytes()],
    )
}

/// The parts of one longer text: account, sender, recipient, way of numbering, reference and number
/// of parts name it.
#[must_use]
pub fn parts(inbound: &Inbound, part: Part) -> Vec<u8> {
    let numbering = match part.numbering {
        Numbering::Header8 => 1,
        Numbering::Header16 => 2,
        Numbering::Sar => 3,
    };
    let [high, low] = part.reference.to_be_bytes();
    let mut key = parts_of(&inbound.account, &inbound.from);
    key.extend_from_slice(inbound.to.as_bytes());
    key.extend_from_slice(&[0, numbering, high, low, part.total]);
    key
}

/// How the keys of the parts that a sender sent over an account begin.
#[must_use]
pub fn parts_of(account: &Account, from: &str) -> Vec<u8> {
    key(
        KeySpace::Parts,
        &[account.as_str().as_bytes(), &[0], from.as_bytes(), &[0]],
    )
}

/// A tenant's opt-out of a number, from everything or from one sender, by its
/// [`sender_key`](crate::domain::optout::sender_key).
#[must_use]
pub fn optout(tenant: &Tenant, who: Opposed, sender: Option<&str>) -> Vec<u8> {
    let (form, mark) = match who {
        Opposed::Number(number) => (0, number.as_u64()),
        Opposed::Hashed(mark) => (1, mark),
    };
    let sender = sender.unwrap_or_default();
    key(
        KeySpace::OptOut,
        &[
            tenant.as_str().as_bytes(),
            &[form],
            &mark.to_be_bytes(),
            sender.as_bytes(),
        ],
    )
}

/// Range of a tenant's opt-outs.
#[must_use]
pub fn optout_range(tenant: &Tenant) -> (Vec<u8>, Vec<u8>) {
    let name = tenant.as_str().as_bytes();
    (
        key(KeySpace::OptOut, &[name, &[0]]),
        key(KeySpace::OptOut, &[name, &[2]]),
    )
}

/// What a tenant's number has agreed to for one purpose. Purposes hold no NUL.
#[must_use]
pub fn consent(tenant: &Tenant, number: Msisdn, purpose: &str) -> Vec<u8> {
    of_number(KeySpace::Consent, tenant, number, purpose)
}

/// Range of what the numbers of a tenant have agreed to.
#[must_use]
pub fn consent_range(tenant: &Tenant) -> (Vec<u8>, Vec<u8>) {
    of_tenant(KeySpace::Consent, tenant)
}

/// A number that is not in service, by its tenant.
#[must_use]
pub fn invalid(tenant: &Tenant, number: Msisdn) -> Vec<u8> {
    of_number(KeySpace::Invalid, tenant, number, "")
}

/// Range of a tenant's numbers that are not in service.
#[must_use]
pub fn invalid_range(tenant: &Tenant) -> (Vec<u8>, Vec<u8>) {
    of_tenant(KeySpace::Invalid, tenant)
}

fn of_number(space: KeySpace, tenant: &Tenant, number: Msisdn, rest: &str) -> Vec<u8> {
    let (name, number) = (tenant.as_str().as_bytes(), number.as_u64().to_be_bytes());
    key(space, &[name, &[0], &number, rest.as_bytes()])
}

fn of_tenant(space: KeySpace, tenant: &Tenant) -> (Vec<u8>, Vec<u8>) {
    let name = tenant.as_str().as_bytes();
    (key(space, &[name, &[0]]), key(space, &[name, &[1]]))
}

/// Range of a tenant's inbound messages, up to but without `before`.
#[must_use]
pub fn inbound_range(tenant: &Tenant, before: Option<InboundId>) -> (Vec<u8>, Vec<u8>) {
    let name = tenant.as_str().as_bytes();
    let end = match before {
        Some(id) => key(KeySpace::Inbound, &[name, &[0], id.bytes()]),
        None => key(KeySpace::Inbound, &[name, &[1]]),
    };
    (key(KeySpace::Inbound, &[name, &[0]]), end)
}

/// A tenant's webhook.
#[must_use]
pub fn webhook(tenant: &Tenant, id: &str) -> Vec<u8> {
    key(
        KeySpace::Webhook,
        &[tenant.as_str().as_bytes(), &[0], id.as_bytes()],
    )
}

/// An API key.
#[must_use]
pub fn api_key(prefix: &str) -> Vec<u8> {
    key(KeySpace::ApiKey, &[prefix.as_bytes()])
}

/// The pause of an account or a bind.
#[must_use]
pub fn pause(name: &str) -> Vec<u8> {
    key(KeySpace::Pause, &[name.as_bytes()])
}

/// A message that a SIM has sent. The names of SIMs hold no NUL: they are digits, or the name of a
/// modem.
#[must_use]
pub fn spending(sim: &str, message: MessageId) -> Vec<u8> {
    key(KeySpace::Spending, &[sim.as_bytes(), &[0], message.bytes()])
}

/// A message to be looked at again once it is `since` its final state for as long as the stage keeps it.
#[must_use]
pub fn late(stage: Stage, since: Timestamp, id: MessageId) -> Vec<u8> {
    let since = since.millis().max(0).to_be_bytes();
    key(KeySpace::Late, &[&[stage as u8], &since, id.bytes()])
}

/// Range of the messages to be looked at again at a stage, final at `until` or before.
#[must_use]
pub fn late_range(stage: Stage, until: Timestamp) -> (Vec<u8>, Vec<u8>) {
    let after = until.millis().max(0).saturating_add(1).to_be_bytes();
    (
        key(KeySpace::Late, &[&[stage as u8]]),
        key(KeySpace::Late, &[&[stage as u8], &after]),
    )
}

/// What stands in place of a stage before messages whose tenants want their texts kept for a time of their
/// own.
const OWN_TIME: u8 = 3;

/// A message whose text goes at `due`, whatever the installation keeps.
#[must_use]
pub fn own_time(due: Timestamp, id: MessageId) -> Vec<u8> {
    let due = due.millis().max(0).to_be_bytes();
    key(KeySpace::Late, &[&[OWN_TIME], &due, id.bytes()])
}

/// Range of the messages whose texts go at `until` or before.
#[must_use]
pub fn own_time_range(until: Timestamp) -> (Vec<u8>, Vec<u8>) {
    let after = until.millis().max(0).saturating_add(1).to_be_bytes();
    (
        key(KeySpace::Late, &[&[OWN_TIME]]),
        key(KeySpace::Late, &[&[OWN_TIME], &after]),
    )
}

/// The message of a key of [`own_time`].
#[must_use]
pub fn of_own_time(key: &[u8]) -> Option<MessageId> {
    let id = trailing_id(key).filter(|_| key.len() == 26 && key.get(1) == Some(&OWN_TIME))?;
    Some(MessageId(uuid::Uuid::from_bytes(id)))
}

/// The stage and the message of a key of [`late`].
#[must_use]
pub fn of_late(key: &[u8]) -> Option<(Stage, MessageId)> {
    let stage = Stage::ALL
        .into_iter()
        .find(|stage| key.get(1) == Some(&(*stage as u8)))?;
    let id = trailing_id(key).filter(|_| key.len() == 26)?;
    Some((stage, MessageId(uuid::Uuid::from_bytes(id))))
}

/// The first id that is made at an instant, or the last one before it.
#[must_use]
pub fn first_made_at(at: Timestamp) -> MessageId {
    let millis = u128::from(at.millis().max(0).unsigned_abs());
    MessageId(uuid::Uuid::from_u128(millis << 80))
}

/// Range of the final messages after `id`.
#[must_use]
pub fn history_after(id: Option<MessageId>) -> (Vec<u8>, Vec<u8>) {
    let (start, end) = KeySpace::History.range();
    (id.map_or(start, |id| after(&history(id))), end)
}

/// Range of a tenant's inbound messages after `id`.
#[must_use]
pub fn inbound_after(tenant: &Tenant, id: Option<InboundId>) -> (Vec<u8>, Vec<u8>) {
    let (start, end) = inbound_range(tenant, None);
    (id.map_or(start, |id| after(&inbound(tenant, id))), end)
}

/// The tenant of an inbound message's key.
#[must_use]
pub fn tenant_of_inbound(key: &[u8]) -> Option<Tenant> {
    let name = key.get(1..)?.split(|octet| *octet == 0).next()?;
    str::from_utf8(name).ok().map(Tenant::from)
}

/// The first key behind another.
#[must_use]
pub fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// How far the sweeps that erase have come.
#[must_use]
pub fn swept() -> Vec<u8> {
    key(KeySpace::Swept, &[])
}

/// When an id was made, by its own word (RFC 9562 §5.7).
#[must_use]
pub fn made_at(id: &[u8; 16]) -> Timestamp {
    let [a, b, c, d, e, f, ..] = *id;
    Timestamp(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

/// How far claims have come.
#[must_use]
pub fn frontier() -> Vec<u8> {
    key(KeySpace::Frontier, &[])
}

/// The version of the layout.
#[must_use]
pub fn version() -> Vec<u8> {
    key(KeySpace::Version, &[])
}

/// The id at the end of a key.
#[must_use]
pub fn trailing_id(key: &[u8]) -> Option<[u8; 16]> {
    key.last_chunk::<16>().copied().filter(|_| key.len() > 16)
}
