//! What is known of a number, and its erasure before its time.
//!
//! Messages are listed by their recipients; for everything else the records are looked through, a
//! bounded number at a time: a person asks seldom. What stays when all is erased: that the number has
//! opted out, which is a wish of the person's own; and for 30 days that a SIM has sent to it, because
//! its contract counts recipients.

use std::collections::HashSet;
use std::sync::Arc;

use super::Shared;
use super::read::read_stored;
use super::txn::Txn;
use crate::domain::consent::Consent;
use crate::domain::id::MessageId;
use crate::domain::inbound::{Inbound, Parts};
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::OptOut;
use crate::domain::privacy::Stage;
use crate::domain::receipt::canonical_reference;
use crate::domain::time::Timestamp;
use crate::store::codec::{Orphans, Outgoing, decode};
use crate::store::keys::{self, KeySpace};
use crate::store::kv::Kv;
use crate::store::{
    Count, InvalidNumber, Known, KnownPage, OutboxEvent, ReceiptReport, Spending, StoreError,
};

/// Records that a page looks at, and that it holds before it ends.
const LOOKED_AT: usize = 2000;
const HELD: usize = 64;

/// Where something may be known of a number, in this order.
const PLACES: [KeySpace; 9] = [
    KeySpace::Recipient,
    KeySpace::Counted,
    KeySpace::Inbound,
    KeySpace::Parts,
    KeySpace::OptOut,
    KeySpace::Orphan,
    KeySpace::Spending,
    KeySpace::Consent,
    KeySpace::Invalid,
];

/// A page of what is known of a number.
pub(super) fn page<K: Kv>(
    kv: &K,
    shared: &Shared,
    number: Msisdn,
    from: Option<Vec<u8>>,
) -> Result<KnownPage, StoreError> {
    let mut page = KnownPage::default();
    let mut looked_at = 0;
    let first = from.as_deref().and_then(KeySpace::of);
    let places = PLACES
        .into_iter()
        .skip_while(|place| first.is_some_and(|first| *place != first));
    for place in places {
        let (start, end) = match place {
            KeySpace::Recipient => keys::recipient_range(number, None),
            place => place.range(),
        };
        let here = from.as_ref().filter(|_| first == Some(place));
        let start = here.map_or(start, |from| keys::after(from));
        for pair in kv.scan((start, end), false) {
            let (key, octets) = pair?;
            looked_at += 1;
            match known(kv, shared, place, number, (&key, &octets)) {
                Ok(known) => page.known.extend(known),
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                // Gone since the key was read, or left for fsck.
                Err(error) => tracing::warn!(%error, "known_record_unreadable"),
            }
            if looked_at >= LOOKED_AT || page.known.len() >= HELD {
                page.next = Some(key);
                return Ok(page);
            }
        }
    }
    Ok(page)
}

fn known<K: Kv>(
    kv: &K,
    shared: &Shared,
    place: KeySpace,
    number: Msisdn,
    (key, octets): (&[u8], &[u8]),
) -> Result<Vec<Known>, StoreError> {
    let theirs = |inbound: &Inbound| inbound.number() == Some(number);
    Ok(match place {
        KeySpace::Recipient => {
            let id = keys::trailing_id(key).ok_or(StoreError::NotFound)?;
            let id = MessageId(uuid::Uuid::from_bytes(id));
            let leased = shared.index().leased(id).cloned();
            let message = leased.map_or_else(|| read_stored(kv, id), Ok)?;
            vec![Known::Message(Box::new(message))]
        }
        KeySpace::Inbound => {
            let inbound: Inbound = decode(key, octets)?;
            Some(inbound)
                .filter(theirs)
                .map(Known::Inbound)
                .into_iter()
                .collect()
        }
        KeySpace::Parts => {
            let parts: Parts = decode(key, octets)?;
            // Told already, it stands among the messages.
            let untold = parts.told_at.is_none();
            let parts = parts.came.into_iter().filter(|part| untold && theirs(part));
            parts.map(Known::Part).collect()
        }
        KeySpace::OptOut => {
            let optout: OptOut = decode(key, octets)?;
            let pseudonyms = &shared.keeping.pseudonyms;
            let is_theirs = |it: &OptOut| it.number.is_of(pseudonyms, &it.tenant, number);
            let theirs = Some(optout).filter(is_theirs);
            theirs.map(Known::OptOut).into_iter().collect()
        }
        KeySpace::Orphan => {
            let orphans: Orphans = decode(key, octets)?;
            let theirs = orphans.receipts.into_iter();
            let theirs = theirs.filter(|receipt| receipt.handset == Some(number));
            theirs.map(Known::Receipt).collect()
        }
        KeySpace::Spending => {
            let spending: Spending = decode(key, octets)?;
            let theirs = Some(spending).filter(|spending| spending.to == number);
            theirs.map(Known::Spending).into_iter().collect()
        }
        KeySpace::Counted => {
            let count: Count = decode(key, octets)?;
            let theirs = Some(count).filter(|count| count.to == number);
            theirs.map(Known::Count).into_iter().collect()
        }
        KeySpace::Consent => {
            let consent: Consent = decode(key, octets)?;
            let theirs = Some(consent).filter(|consent| consent.number == number);
            theirs.map(Known::Consent).into_iter().collect()
        }
        KeySpace::Invalid => {
            let invalid: InvalidNumber = decode(key, octets)?;
            let theirs = Some(invalid).filter(|invalid| invalid.number == number);
            theirs.map(Known::Invalid).into_iter().collect()
        }
        _ => Vec::new(),
    })
}

impl<K: Kv> Txn<'_, K> {
    /// Erases what may be erased of `known`, and says how many records that was.
    pub(super) fn erase(&mut self, known: &[Known], now: Timestamp) -> Result<usize, StoreError> {
        let mut erased = 0;
        let mut told: HashSet<[u8; 16]> = HashSet::new();
        for known in known {
            let (done, id) = match known {
                Known::Message(it) => (self.erase_message(it.id, now)?, Some(*it.id.bytes())),
                Known::Inbound(it) => (self.erase_inbound(it, now)?, Some(*it.id.bytes())),
                Known::Receipt(receipt) => (self.erase_receipt(receipt)?, None),
                Known::Count(count) => (self.erase_count(count)?, None),
                Known::Consent(it) => {
                    self.forget_consent(it);
                    (true, None)
                }
                Known::Invalid(it) => match self.forget_invalid(&it.tenant, it.number) {
                    Ok(()) => (true, Some(*it.message.bytes())),
                    Err(StoreError::NotFound) => (false, None),
                    Err(error) => return Err(error),
                },
                Known::Part(_) | Known::OptOut(_) | Known::Spending(_) => (false, None),
            };
            erased += usize::from(done);
            told.extend(id.filter(|_| done));
        }
        // What is still to be told of them: in memory only its order is kept.
        let deliveries = self.shared.outbox().of(&told);
        for seq in deliveries {
            self.erase_delivery(seq, now)?;
        }
        Ok(erased)
    }

    fn erase_message(&mut self, id: MessageId, now: Timestamp) -> Result<bool, StoreError> {
        let message = match self.look_at(id) {
            Ok(message) => message,
            Err(StoreError::NotFound) => return Ok(false),
            Err(error) => return Err(error),
        };
        if !message.status().is_final() || message.is_past(Stage::Number) {
            return Ok(false);
        }
        self.erase_number(id, now)?;
        Ok(true)
    }

    fn erase_inbound(&mut self, inbound: &Inbound, now: Timestamp) -> Result<bool, StoreError> {
        let key = keys::inbound(&inbound.tenant, inbound.id);
        let Some(mut inbound) = self.get::<Inbound>(&key)? else {
            return Ok(false);
        };
        inbound.erase_number(&self.shared.keeping.pseudonyms, now);
        self.put(key, &inbound)?;
        Ok(true)
    }

    fn erase_receipt(&mut self, receipt: &ReceiptReport) -> Result<bool, StoreError> {
        let mut found = false;
        // Parked under each id that it names.
        for id in [Some(&receipt.reference), receipt.other.as_ref()]
            .into_iter()
            .flatten()
        {
            let key = keys::orphan(&receipt.account, &canonical_reference(id));
            let Some(mut orphans) = self.get::<Orphans>(&key)? else {
                continue;
            };
            let before = orphans.receipts.len();
            orphans
                .receipts
                .retain(|known| known.handset != receipt.handset);
            found |= orphans.receipts.len() < before;
            if orphans.receipts.is_empty() {
                self.forget_orphan(key)?;
            } else {
                self.put(key, &orphans)?;
            }
        }
        Ok(found)
    }

    fn erase_delivery(&mut self, seq: u64, now: Timestamp) -> Result<(), StoreError> {
        let key = keys::outbox(seq);
        let Some(mut outgoing) = self.get::<Outgoing>(&key)? else {
            return Ok(());
        };
        let pseudonyms = &self.shared.keeping.pseudonyms;
        match &mut outgoing.event {
            OutboxEvent::Message(message) => {
                Arc::make_mut(message).erase_number(pseudonyms, now);
            }
            OutboxEvent::Inbound(inbound) => inbound.erase_number(pseudonyms, now),
            OutboxEvent::CreditLow(_) => {}
            OutboxEvent::NumberInvalid(it) => it.erase_number(pseudonyms),
        }
        self.put(key, &outgoing)
    }
}
