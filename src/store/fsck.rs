//! Checks a closed store: every record can be read, and everything that follows from a record is
//! there, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::codec::{
    Bound, Holder, Idempotent, Layout, Learnt, Orphans, Outgoing, Reached, Record, Swept, decode,
    encode, hex,
};
use super::keys::{self, KeySpace};
use super::kv::{Kv, KvError};
use super::{
    ApiKey, Batch, Count, Document, DocumentKind, InvalidNumber, Pause, Spending, Webhook,
};
use crate::domain::consent::Consent;
use crate::domain::id::MessageId;
use crate::domain::inbound::{Inbound, Parts};
use crate::domain::message::Message;
use crate::domain::optout::OptOut;
use crate::domain::privacy::Stage;
use crate::domain::receipt::canonical_reference;

mod ledgers;

/// Most problems that are listed; the rest are counted.
const LISTED: usize = 100;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Records by key space.
    pub records: BTreeMap<KeySpace, u64>,
    /// The first problems, in words that name the key.
    pub problems: Vec<String>,
    /// All problems.
    pub problem_count: u64,
}

impl Findings {
    /// True if nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.problem_count == 0
    }

    fn problem(&mut self, text: String) {
        self.problem_count += 1;
        if self.problems.len() < LISTED {
            self.problems.push(text);
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (space, count) in &self.records {
            writeln!(f, "{space:?}: {count}")?;
        }
        for problem in &self.problems {
            writeln!(f, "! {problem}")?;
        }
        write!(f, "{} problems", self.problem_count)
    }
}

/// Reads everything once.
///
/// # Errors
/// The engine's own; what is wrong with records is in the findings.
pub fn check<K: Kv>(kv: &K) -> Result<Findings, KvError> {
    let mut findings = Findings::default();
    let sweeps = Sweeps::read(kv)?;
    for pair in kv.scan((Vec::new(), vec![0xFF]), false) {
        let (key, octets) = pair?;
        let Some(space) = KeySpace::of(&key) else {
            findings.problem(format!("{}: no key space has this octet", hex(&key)));
            continue;
        };
        *findings.records.entry(space).or_default() += 1;
        match space {
            KeySpace::Live | KeySpace::History => {
                message(kv, space, &key, &octets, &sweeps, &mut findings)?;
            }
            KeySpace::Recipient => recipient(kv, &key, &mut findings)?,
            KeySpace::Reference => reference(kv, &key, &octets, &mut findings)?,
            KeySpace::Shown => shown(&key, &octets, &mut findings),
            KeySpace::Late => late(&key, &octets, &mut findings),
            KeySpace::Swept => readable::<Swept>(&key, &octets, &mut findings),
            KeySpace::Batch => readable::<Batch>(&key, &octets, &mut findings),
            KeySpace::Orphan => readable::<Orphans>(&key, &octets, &mut findings),
            KeySpace::Inbound => inbound(&key, &octets, &sweeps, &mut findings),
            KeySpace::Parts => readable::<Parts>(&key, &octets, &mut findings),
            KeySpace::Idempotency => readable::<Idempotent>(&key, &octets, &mut findings),
            KeySpace::Outbox => readable::<Outgoing>(&key, &octets, &mut findings),
            KeySpace::Frontier => readable::<Reached>(&key, &octets, &mut findings),
            KeySpace::Version => readable::<Layout>(&key, &octets, &mut findings),
            KeySpace::Webhook => readable::<Webhook>(&key, &octets, &mut findings),
            KeySpace::Pause => readable::<Pause>(&key, &octets, &mut findings),
            KeySpace::Writing => writing(&key, &octets, &mut findings),
            KeySpace::Spending => spending(&key, &octets, &mut findings),
            KeySpace::Document => readable::<Document>(&key, &octets, &mut findings),
            KeySpace::Counted => count(kv, &key, &octets, &mut findings)?,
            KeySpace::Account => ledgers::account(kv, &key, &octets, &mut findings)?,
            KeySpace::Ledger => ledgers::line(kv, &key, &octets, &mut findings)?,
            // Their records come with what writes them.
            KeySpace::Plan | KeySpace::Once => name(kv, &key, &octets, &mut findings)?,
            KeySpace::ApiKey => readable::<ApiKey>(&key, &octets, &mut findings),
            KeySpace::OptOut => optout(&key, &octets, &mut findings),
            KeySpace::Consent => consent(&key, &octets, &mut findings),
            KeySpace::Invalid => invalid(&key, &octets, &mut findings),
        }
    }
    Ok(findings)
}

/// How far the sweeps that erase have come, and what they have noted for later.
#[derive(Default)]
struct Sweeps {
    swept: Swept,
    noted: BTreeSet<(Stage, MessageId)>,
}

impl Sweeps {
    fn read<K: Kv>(kv: &K) -> Result<Self, KvError> {
        let key = keys::swept();
        let swept = kv.get(&key)?.and_then(|octets| decode(&key, &octets).ok());
        let mut noted = BTreeSet::new();
        for pair in kv.scan(KeySpace::Late.range(), false) {
            let key = pair?.0;
            let own = || keys::of_own_time(&key).map(|id| (Stage::Text, id));
            noted.extend(keys::of_late(&key).or_else(own));
        }
        Ok(Self {
            swept: swept.unwrap_or_default(),
            noted,
        })
    }

    /// The first stage that a final message has been passed over at for good.
    fn forgot(&self, message: &Message) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| {
            let passed = self.swept.messages[stage.index()].is_some_and(|mark| message.id <= mark);
            // A time of its own is noted whatever the walk has come by.
            let terms = message.terms.as_ref();
            let own = *stage == Stage::Text && terms.is_some_and(|it| it.keep_text_s.is_some());
            (passed || own)
                && !message.is_past(*stage)
                && !self.noted.contains(&(*stage, message.id))
        })
    }
}

fn late(key: &[u8], octets: &[u8], findings: &mut Findings) {
    let known = keys::of_late(key).is_some() || keys::of_own_time(key).is_some();
    if !known || !octets.is_empty() {
        findings.problem(format!("{}: it is no note of a sweep", hex(key)));
    }
}

fn inbound(key: &[u8], octets: &[u8], sweeps: &Sweeps, findings: &mut Findings) {
    readable::<Inbound>(key, octets, findings);
    let Ok(inbound) = decode::<Inbound>(key, octets) else {
        return;
    };
    let marks = sweeps.swept.inbound.get(&inbound.tenant);
    for stage in Stage::ALL {
        let passed = marks.and_then(|marks| marks[stage.index()]);
        if passed.is_some_and(|mark| inbound.id <= mark) && !inbound.erased.is_past(stage) {
            let id = inbound.id;
            findings.problem(format!(
                "inbound message {id} was passed over by the sweep of {stage:?}"
            ));
        }
    }
}

/// A record that can be read, and is written down as it stands.
fn readable<R: Record>(key: &[u8], octets: &[u8], findings: &mut Findings) {
    match decode::<R>(key, octets) {
        Ok(record) => {
            if octets.first() == Some(&R::VERSION)
                && encode(&record).ok().as_deref() != Some(octets)
            {
                findings.problem(format!("{}: octets follow the record", hex(key)));
            }
        }
        Err(error) => findings.problem(error.to_string()),
    }
}

fn optout(key: &[u8], octets: &[u8], findings: &mut Findings) {
    readable::<OptOut>(key, octets, findings);
    let stands = |it: &OptOut| {
        let sender = it.sender_key();
        keys::optout(&it.tenant, it.number, sender.as_deref()) == key
    };
    if decode::<OptOut>(key, octets).is_ok_and(|it| !stands(&it)) {
        findings.problem(format!(
            "{}: an opt-out stands under another's key",
            hex(key)
        ));
    }
}

/// What a digest has counted is something, and the digest is there to tell it.
fn count<K: Kv>(kv: &K, key: &[u8], octets: &[u8], findings: &mut Findings) -> Result<(), KvError> {
    readable::<Count>(key, octets, findings);
    let Ok(count) = decode::<Count>(key, octets) else {
        return Ok(());
    };
    if keys::count(&count) != key || count.count == 0 {
        findings.problem(format!(
            "{}: a count stands under another's key, or counts nothing",
            hex(key)
        ));
    }
    let definition = keys::document(DocumentKind::Digest, &count.tenant, &count.digest);
    if kv.get(&definition)?.is_none() {
        findings.problem(format!(
            "{}: a count of a digest that is not defined",
            hex(key)
        ));
    }
    Ok(())
}

fn consent(key: &[u8], octets: &[u8], findings: &mut Findings) {
    readable::<Consent>(key, octets, findings);
    let Ok(it) = decode::<Consent>(key, octets) else {
        return;
    };
    if keys::consent(&it.tenant, it.number, &it.purpose) != key || it.notes.is_empty() {
        let key = hex(key);
        findings.problem(format!(
            "{key}: a consent stands under another's key, or is empty"
        ));
    }
    if !it.is_unchanged() {
        let key = hex(key);
        findings.problem(format!(
            "{key}: the history of a consent was changed afterwards"
        ));
    }
}

fn invalid(key: &[u8], octets: &[u8], findings: &mut Findings) {
    readable::<InvalidNumber>(key, octets, findings);
    let elsewhere = |it: InvalidNumber| keys::invalid(&it.tenant, it.number) != key;
    if decode::<InvalidNumber>(key, octets).is_ok_and(elsewhere) {
        let key = hex(key);
        findings.problem(format!(
            "{key}: an invalid number stands under another's key"
        ));
    }
}

fn shown(key: &[u8], octets: &[u8], findings: &mut Findings) {
    let whole = keys::trailing_id(key).is_some() && key.len() == keys::shown(0, &[0; 16]).len();
    if !whole || !octets.is_empty() {
        findings.problem(format!("{}: it is no fingerprint", hex(key)));
    }
}

fn writing(key: &[u8], octets: &[u8], findings: &mut Findings) {
    readable::<Learnt>(key, octets, findings);
    if decode::<Learnt>(key, octets).is_ok_and(|it| keys::writing(&it.account) != key) {
        findings.problem(format!(
            "{}: what is learnt of an account stands under another's key",
            hex(key)
        ));
    }
}

fn spending(key: &[u8], octets: &[u8], findings: &mut Findings) {
    readable::<Spending>(key, octets, findings);
    if decode::<Spending>(key, octets).is_ok_and(|it| keys::spending(&it.sim, it.message) != key) {
        findings.problem(format!(
            "{}: what a SIM has sent stands under another's key",
            hex(key)
        ));
    }
}

fn message<K: Kv>(
    kv: &K,
    space: KeySpace,
    key: &[u8],
    octets: &[u8],
    sweeps: &Sweeps,
    findings: &mut Findings,
) -> Result<(), KvError> {
    let message: Message = match decode(key, octets) {
        Ok(message) => message,
        Err(error) => {
            findings.problem(error.to_string());
            return Ok(());
        }
    };
    let id = message.id;
    if keys::trailing_id(key) != Some(*id.bytes()) {
        findings.problem(format!("message {id} stands under another id"));
    }
    if message.status().is_final() != (space == KeySpace::History) {
        findings.problem(format!(
            "message {id} is {} but stands in {space:?}",
            message.status().word()
        ));
    }
    if space == KeySpace::Live && kv.get(&keys::history(id))?.is_some() {
        findings.problem(format!(
            "message {id} stands among the live and in the history"
        ));
    }
    if message.owes_charge() {
        findings.problem(format!(
            "message {id} has ended with nothing having left, and what it cost was not given back"
        ));
    }
    if space == KeySpace::History
        && let Some(stage) = sweeps.forgot(&message)
    {
        findings.problem(format!(
            "message {id} was passed over by the sweep of {stage:?}"
        ));
    }
    if space == KeySpace::Live {
        bears(kv, &message, findings)?;
    }
    // Whom it was to is not known any more where the number is erased: nothing may lead there.
    let listed = kv.get(&keys::recipient(message.to, id))?.is_some();
    if listed == message.is_past(Stage::Number) {
        findings.problem(format!(
            "message {id} is not listed under its recipient, or still is"
        ));
    }
    for attempt in &message.attempts {
        for wire in attempt
            .segments
            .iter()
            .flat_map(|segment| &segment.references)
        {
            let key = keys::reference(&attempt.account, &canonical_reference(wire));
            if kv.get(&key)?.is_none() {
                findings.problem(format!("a carrier reference of message {id} is not bound"));
            }
        }
    }
    Ok(())
}

/// A name leads to a message that bears it.
fn name<K: Kv>(kv: &K, key: &[u8], octets: &[u8], findings: &mut Findings) -> Result<(), KvError> {
    readable::<Holder>(key, octets, findings);
    let Ok(holder) = decode::<Holder>(key, octets) else {
        return Ok(());
    };
    let message = stored(kv, holder.message)?;
    if !message.is_some_and(|message| keys::names(&message).iter().any(|name| name == key)) {
        findings.problem(format!(
            "{}: a name of message {}, which does not bear it",
            hex(key),
            holder.message
        ));
    }
    Ok(())
}

/// What a live message bears is its own: else two of a plan could leave.
fn bears<K: Kv>(kv: &K, message: &Message, findings: &mut Findings) -> Result<(), KvError> {
    for name in keys::names(message) {
        let holder = kv.get(&name)?;
        let holder = holder.and_then(|octets| decode::<Holder>(&name, &octets).ok());
        if holder.is_none_or(|holder| holder.message != message.id) {
            findings.problem(format!("message {} has lost its name", message.id));
        }
    }
    Ok(())
}

fn stored<K: Kv>(kv: &K, id: MessageId) -> Result<Option<Message>, KvError> {
    for key in [keys::live(id), keys::history(id)] {
        if let Some(octets) = kv.get(&key)? {
            return Ok(decode(&key, &octets).ok());
        }
    }
    Ok(None)
}

fn recipient<K: Kv>(kv: &K, key: &[u8], findings: &mut Findings) -> Result<(), KvError> {
    let id = keys::trailing_id(key).map(|octets| MessageId(uuid::Uuid::from_bytes(octets)));
    let message = match id {
        Some(id) => stored(kv, id)?,
        None => None,
    };
    if message.is_none_or(|message| keys::recipient(message.to, message.id) != key) {
        findings.problem(format!(
            "{}: a recipient's entry without its message",
            hex(key)
        ));
    }
    Ok(())
}

fn reference<K: Kv>(
    kv: &K,
    key: &[u8],
    octets: &[u8],
    findings: &mut Findings,
) -> Result<(), KvError> {
    let bound: Bound = match decode(key, octets) {
        Ok(bound) => bound,
        Err(error) => {
            findings.problem(error.to_string());
            return Ok(());
        }
    };
    let known = stored(kv, bound.id)?.is_some_and(|message| {
        message
            .attempts
            .get(usize::from(bound.attempt))
            .and_then(|attempt| Some((attempt, attempt.segments.get(usize::from(bound.segment))?)))
            .is_some_and(|(attempt, segment)| {
                segment.references.iter().any(|wire| {
                    keys::reference(&attempt.account, &canonical_reference(wire)) == key
                })
            })
    });
    if !known {
        findings.problem(format!(
            "{}: bound to a segment that does not carry it",
            hex(key)
        ));
    }
    Ok(())
}
