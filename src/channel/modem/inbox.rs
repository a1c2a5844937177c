//! What comes in through a modem: messages from handsets and status reports, directly or by way of
//! its stores.
//!
//! Invariants:
//!
//! - Nothing is deleted from a store before the engine has committed it, and nothing else than that
//!   ([`places`]).
//! - What came directly lies nowhere else: it is kept, and handed up again, until it is committed.
//! - While a verdict is awaited the same record is not handed up again. What is handed up twice all
//!   the same, after a restart or an unplug, has the same fingerprint.
//! - What cannot be read stays where it is, and is shown to the operator by its place, never by its
//!   octets.
//! - Everything is bounded: [`MAX_OPEN`] without a verdict, [`MAX_DIRECT`] that wait for their turn,
//!   1,024 places.
//!
//! One call of [`Inbox::work`] is a few commands, so that sending is not held up for long.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::answer::{self, PduHeader, Usage};
use super::at::{At, AtError, Command, News};
use super::choice::MemoryChoice;
use super::report;
use super::setup::Ready;
use super::sort::Expect;
use super::unsolicited::Unsolicited;
use crate::channel::{Ack, AckVerdict, ChannelEvent};
use crate::clock::Clock;
use crate::domain::id::{Account, ChannelId};
use crate::domain::time::Timestamp;

mod places;
mod record;

use places::{Place, Places, State, again_after};
use record::{Fingerprint, Message, Record, Sim};

/// Most events that may await the engine's verdict.
pub const MAX_OPEN: usize = 64;

/// Most messages and reports that came directly and wait for their turn.
pub const MAX_DIRECT: usize = 1_024;

/// Without a verdict for so long, an event is handed up again.
const VERDICT_WITHIN: Duration = Duration::from_mins(5);

/// How often every store is looked through, if nothing else is said.
const SWEEP: Duration = Duration::from_mins(5);

/// A full store takes a while to list.
const LIST_WITHIN: Duration = Duration::from_mins(1);
const STORE_WITHIN: Duration = Duration::from_secs(10);

/// Most records that the notes name one by one.
const MAX_NAMED: usize = 8;

/// What an event without a verdict was made of.
#[derive(Debug)]
enum Origin {
    Direct(Direct),
    Place(Place, Fingerprint, u32),
}

#[derive(Debug)]
struct Open {
    origin: Origin,
    since: Duration,
}

/// Something that came directly.
#[derive(Clone, Debug)]
struct Direct {
    header: PduHeader,
    came: Timestamp,
    due: Duration,
    refusals: u32,
}

/// What to do next with the modem.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    AskNumber,
    Delete(Place),
    Read(Place),
    List(String),
}

/// The messages and reports of one modem.
#[derive(Debug)]
pub struct Inbox {
    account: Account,
    channel: ChannelId,
    events: mpsc::Sender<ChannelEvent>,
    clock: Clock,
    sweep: Duration,
    verdict_sender: mpsc::Sender<AckVerdict>,
    verdicts: mpsc::Receiver<AckVerdict>,
    open: HashMap<u32, Open>,
    last: u32,
    direct: VecDeque<Direct>,
    places: Places,
    sim: Sim,
    /// The SIM's own number.
    number: Option<String>,
    asks_number: bool,
    /// Where messages arrive.
    receiving: Option<MemoryChoice>,
    /// The store that is read from; `None`: not known.
    current: Option<String>,
    stores: Vec<String>,
    to_list: VecDeque<String>,
    sweep_at: Option<Duration>,
    usages: BTreeMap<String, Usage>,
    full: BTreeSet<String>,
    /// What a store refuses, by its name.
    refused: BTreeMap<String, String>,
    undeleted: BTreeMap<String, String>,
    silent: BTreeMap<String, u32>,
    unreadable: u64,
    last_unreadable: String,
    lost: u64,
}

impl Inbox {
    /// The inbox of a modem that hands up to `events`. It outlives sessions: what is under way stays
    /// so while the modem is unplugged.
    #[must_use]
    pub fn new(
        account: Account,
        channel: ChannelId,
        events: mpsc::Sender<ChannelEvent>,
        clock: Clock,
    ) -> Self {
        let (verdict_sender, verdicts) = mpsc::channel(MAX_OPEN);
        let name = channel.as_str().to_owned();
        Self {
            account,
            channel,
            events,
            clock,
            sweep: SWEEP,
            verdict_sender,
            verdicts,
            open: HashMap::new(),
            last: 0,
            direct: VecDeque::new(),
            places: Places::default(),
            sim: Sim {
                name,
                country: None,
            },
            number: None,
            asks_number: false,
            receiving: None,
            current: None,
            stores: Vec::new(),
            to_list: VecDeque::new(),
            sweep_at: None,
            usages: BTreeMap::new(),
            full: BTreeSet::new(),
            refused: BTreeMap::new(),
            undeleted: BTreeMap::new(),
            silent: BTreeMap::new(),
            unreadable: 0,
            last_unreadable: String::new(),
            lost: 0,
        }
    }

    /// How often every store is looked through for what was not announced.
    #[must_use]
    pub const fn sweeping_every(mut self, interval: Duration) -> Self {
        self.sweep = interval;
        self
    }

    /// A modem has been set up: all its stores are to be looked through. What is known of them stays
    /// known if the SIM is the same one, but is looked at again before anything is deleted.
    pub fn begin(&mut self, ready: &Ready) {
        let name = ready.imsi.as_ref().or(ready.iccid.as_ref());
        let sim = Sim {
            name: name.map_or_else(|| self.channel.as_str().to_owned(), Clone::clone),
            country: ready.imsi.as_deref().and_then(report::country),
        };
        if sim != self.sim {
            self.places.clear();
            self.number = None;
            self.sim = sim;
        }
        self.places.doubt_all();
        self.asks_number = self.number.is_none();
        self.receiving.clone_from(&ready.memory);
        self.current = self.receiving.as_ref().map(|choice| choice.name.clone());
        self.stores = self.current.clone().into_iter().collect();
        for name in ready.memories.to_sweep() {
            if self.receiving.is_some() && !self.stores.iter().any(|known| known == name) {
                self.stores.push(name.to_owned());
            }
        }
        self.to_list.clear();
        self.refused.clear();
        self.undeleted.clear();
        self.silent.clear();
        if let (Some(choice), Some(usage)) = (&self.receiving, ready.usage) {
            let name = choice.name.clone();
            self.note_usage(&name, usage);
        }
        self.ask_for_sweep();
    }

    /// Looks all stores through as soon as there is time.
    pub fn ask_for_sweep(&mut self) {
        self.sweep_at = Some(self.clock.elapsed());
    }

    /// Takes what concerns it: what came directly, and where something lies. Dropping the future
    /// loses nothing. False: it is none of its business; [`Unsolicited::Damaged`] is the caller's as
    /// well, because the modem may have left PDU mode.
    pub async fn hear(&mut self, news: &News) -> bool {
        let News::Said(_, said) = news else {
            return false;
        };
        match said {
            Unsolicited::MessageStored { memory, index }
            | Unsolicited::ReportStored { memory, index } => self.announced(memory.clone(), *index),
            Unsolicited::Message(header) | Unsolicited::Report(header) => {
                self.keep(Direct {
                    header: header.clone(),
                    came: self.clock.now(),
                    due: self.clock.elapsed(),
                    refusals: 0,
                });
                self.hand_up_direct().await;
            }
            Unsolicited::StoreFull => self.ask_for_sweep(),
            Unsolicited::Damaged => {
                self.unreadable += 1;
                "it was cut or is not hexadecimal".clone_into(&mut self.last_unreadable);
                return false;
            }
            _ => return false,
        }
        true
    }

    fn announced(&mut self, memory: Option<String>, index: Option<u16>) {
        let receiving = || self.receiving.as_ref().map(|choice| choice.name.clone());
        let Some(memory) = memory.or_else(receiving) else {
            return;
        };
        if let Some(usage) = self.usages.get(&memory).copied() {
            let used = usage.used.saturating_add(1).min(usage.total);
            self.note_usage(&memory, Usage { used, ..usage });
        }
        match index {
            Some(index) => {
                let now = self.clock.elapsed();
                self.places.read_at(&Place { memory, index }, now);
            }
            None if self.to_list.contains(&memory) => {}
            None => self.to_list.push_back(memory),
        }
    }

    fn keep(&mut self, direct: Direct) {
        if self.direct.len() < MAX_DIRECT {
            self.direct.push_back(direct);
        } else {
            self.lost += 1;
        }
    }

    fn has_room(&self) -> bool {
        self.open.len() < MAX_OPEN
    }

    /// Hands up what came directly and is due. Dropping the future loses nothing. [`Self::work`]
    /// does so too; this is for the time without a modem.
    pub async fn hand_up_direct(&mut self) {
        loop {
            let now = self.clock.elapsed();
            let Some(at) = self.direct.iter().position(|direct| direct.due <= now) else {
                return;
            };
            if !self.has_room() {
                return;
            }
            let Ok(permit) = self.events.clone().reserve_owned().await else {
                return;
            };
            let Some(direct) = self.direct.remove(at) else {
                return;
            };
            match record::read(&direct.header, &self.sim, direct.came) {
                Ok(record) => {
                    let ack = self.await_verdict(Origin::Direct(direct));
                    if let Some(event) = self.event(record, ack) {
                        permit.send(event);
                    }
                }
                Err(error) => {
                    self.unreadable += 1;
                    self.last_unreadable = error.to_string();
                }
            }
        }
    }

    fn await_verdict(&mut self, origin: Origin) -> Ack {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.open.contains_key(&self.last) {
                break;
            }
        }
        let since = self.clock.elapsed();
        self.open.insert(self.last, Open { origin, since });
        Ack::new(self.last, self.verdict_sender.downgrade())
    }

    fn event(&self, record: Record, ack: Ack) -> Option<ChannelEvent> {
        let (account, channel) = (self.account.clone(), self.channel.clone());
        match record {
            Record::Draft => None,
            Record::Message(message) => {
                let Message {
                    from,
                    text,
                    part,
                    fingerprint,
                } = *message;
                let to = self.number.clone();
                Some(ChannelEvent::Inbound {
                    to: to.unwrap_or_else(|| channel.as_str().to_owned()),
                    channel,
                    account,
                    from,
                    text,
                    part,
                    receipt: None,
                    fingerprint: Some(fingerprint),
                    ack,
                })
            }
            Record::Report(report) => Some(ChannelEvent::Receipt {
                account,
                channel,
                reference: report.reference,
                other: None,
                handset: report.handset,
                receipt: report.receipt,
                taken: report.taken,
                ack,
            }),
        }
    }

    /// Waits for a verdict and takes it. Dropping the future loses nothing.
    pub async fn verdict(&mut self) {
        match self.verdicts.recv().await {
            Some(verdict) => self.take(verdict),
            // It holds a sender itself.
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, verdict: AckVerdict) {
        let Some(Open { origin, .. }) = self.open.remove(&verdict.sequence) else {
            return;
        };
        let now = self.clock.elapsed();
        match origin {
            Origin::Direct(_) if verdict.taken => {}
            Origin::Direct(mut direct) => {
                direct.due = now + again_after(direct.refusals);
                direct.refusals += 1;
                self.keep(direct);
            }
            Origin::Place(place, hash, refusals) => {
                let taken = verdict.taken;
                self.places.verdict(&place, hash, taken, refusals, now);
            }
        }
    }

    /// How full the store is that messages arrive in, as far as it is known.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let name = &self.receiving.as_ref()?.name;
        self.usages.get(name).copied()
    }

    /// What an operator should look at.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        for name in &self.full {
            if let Some(Usage { used, total }) = self.usages.get(name) {
                notes.push(format!(
                    "the store {name} is nearly full ({used} of {total}): a full one takes neither \
                     messages nor reports"
                ));
            }
        }
        notes.extend(self.refused.values().cloned());
        notes.extend(self.undeleted.values().cloned());
        let unreadable = self.places.unreadable();
        notes.extend(unreadable.take(MAX_NAMED).map(|(place, why)| {
            let Place { memory, index } = place;
            format!("place {index} of {memory} cannot be read and is left there: {why}")
        }));
        match self.places.unreadable().count().saturating_sub(MAX_NAMED) {
            0 => {}
            more => notes.push(format!("{more} more places cannot be read")),
        }
        if self.unreadable > 0 {
            notes.push(format!(
                "{} came directly and could not be read, the last because: {}",
                self.unreadable, self.last_unreadable
            ));
        }
        if self.lost > 0 {
            notes.push(format!(
                "{} that came directly were lost: {MAX_DIRECT} waited already",
                self.lost
            ));
        }
        notes
    }

    fn note_usage(&mut self, memory: &str, usage: Usage) {
        self.usages.insert(memory.to_owned(), usage);
        // Reports may have a store of their own; what fills the others is not ours.
        let matters = memory == "SR"
            || self
                .receiving
                .as_ref()
                .is_some_and(|choice| choice.name == memory);
        let (channel, Usage { used, total }) = (&self.channel, usage);
        if matters && usage.is_nearly_full() {
            if self.full.insert(memory.to_owned()) {
                tracing::warn!(
                    %channel, memory, used, total,
                    "a message store is nearly full: a full one takes neither messages nor reports"
                );
            }
        } else if self.full.remove(memory) {
            tracing::info!(%channel, memory, used, total, "the message store has room again");
        }
    }
}

/// The dialogue with the modem.
impl Inbox {
    /// How long until [`Self::work`] has something to do; `None`: not before something is heard or a
    /// verdict comes.
    #[must_use]
    pub fn next_work(&self) -> Option<Duration> {
        let now = self.clock.elapsed();
        if self.step().is_some() {
            return Some(Duration::ZERO);
        }
        let room = self.has_room();
        let direct = self.direct.iter().map(|direct| direct.due).min();
        let direct = direct.filter(|_| room);
        let read = self.places.next_read().filter(|_| room);
        let expires = self.open.values().map(|open| open.since + VERDICT_WITHIN);
        let sweep = self.sweep_at.filter(|_| !self.stores.is_empty());
        let all = [direct, read, expires.min(), sweep];
        let next = all.into_iter().flatten().min()?;
        Some(next.saturating_sub(now))
    }

    fn step(&self) -> Option<Step> {
        let now = self.clock.elapsed();
        if self.asks_number {
            return Some(Step::AskNumber);
        }
        let current = self.current.as_deref();
        if let Some(place) = self.places.to_delete(current) {
            return Some(Step::Delete(place.clone()));
        }
        if !self.has_room() {
            return None;
        }
        let read = self.places.to_read(current, now).cloned().map(Step::Read);
        read.or_else(|| self.to_list.front().cloned().map(Step::List))
    }

    /// Does the next thing with the modem: reads what was announced, deletes what was committed,
    /// looks a store through.
    ///
    /// # Errors
    /// If the dialogue fails. Nothing is lost by that: what was to be done stays to be done.
    pub async fn work<S>(&mut self, at: &mut At<S>) -> Result<(), AtError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.expire();
        self.hand_up_direct().await;
        let now = self.clock.elapsed();
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_at = Some(now + self.sweep);
            for name in &self.stores {
                if !self.to_list.contains(name) {
                    self.to_list.push_back(name.clone());
                }
            }
        }
        let done = match self.step() {
            None => Ok(()),
            Some(Step::AskNumber) => self.ask_number(at).await,
            Some(Step::Delete(place)) => self.delete(at, place).await,
            Some(Step::Read(place)) => self.read(at, place).await,
            Some(Step::List(name)) => self.list(at, name).await,
        };
        done?;
        let stays = match self.step() {
            Some(Step::Delete(Place { memory, .. }) | Step::Read(Place { memory, .. })) => {
                self.current.as_ref() == Some(&memory)
            }
            _ => false,
        };
        match self.receiving.as_ref().map(|choice| choice.name.clone()) {
            Some(name) if !stays => self.choose(at, &name).await.map(|_| ()),
            _ => Ok(()),
        }
    }

    /// An acknowledgement that was dropped has no verdict: what it was about is handed up again.
    fn expire(&mut self) {
        let now = self.clock.elapsed();
        let expired: Vec<u32> = self
            .open
            .iter()
            .filter(|(_, open)| open.since + VERDICT_WITHIN <= now)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in expired {
            let taken = false;
            self.take(AckVerdict { sequence, taken });
        }
    }

    /// Reads from this store from now on. False if the modem refuses.
    async fn choose<S>(&mut self, at: &mut At<S>, name: &str) -> Result<bool, AtError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.current.as_deref() == Some(name) {
            return Ok(true);
        }
        self.current = None;
        // The first argument is the store to read and delete in. Where messages arrive is named by
        // the third, which stays unless it was chosen so.
        let receiving = self.receiving.clone().filter(|choice| choice.name == name);
        let most = self.receiving.as_ref().map_or(1, |choice| choice.arguments);
        let alone = MemoryChoice {
            name: name.to_owned(),
            arguments: 1,
        };
        let all = MemoryChoice {
            arguments: most,
            ..alone.clone()
        };
        let tried = match receiving {
            Some(choice) => vec![choice],
            None if most > 1 => vec![alone, all],
            None => vec![alone],
        };
        for choice in tried {
            let set = Command::new(choice.command())
                .expecting(Expect::Named("+CPMS"))
                .within(STORE_WITHIN);
            match at.command(&set).await {
                Ok(entries) => {
                    self.current = Some(name.to_owned());
                    let usages = entries.first().map(|entry| answer::usage(&entry.line));
                    if let Some(usage) = usages.and_then(|usages| usages.first().copied()) {
                        self.note_usage(name, usage);
                    }
                    return Ok(true);
                }
                Err(error @ AtError::Refused { .. }) => {
                    let note = format!("the store {name} cannot be chosen: {error}");
                    self.refused.insert(name.to_owned(), note);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// `+CNUM: [<alpha>],<number>,<type>` (3GPP TS 27.007 §7.1). Many SIMs do not know their number.
    async fn ask_number<S>(&mut self, at: &mut At<S>) -> Result<(), AtError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.asks_number = false;
        let question = Command::new("AT+CNUM").expecting(Expect::Named("+CNUM"));
        match at.command(&question).await {
            Ok(entries) => {
                self.number = entries.iter().find_map(|entry| own_number(entry.value()));
                Ok(())
            }
            Err(AtError::Refused { .. } | AtError::TimedOut { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn delete<S>(&mut self, at: &mut At<S>, place: Place) -> Result<(), AtError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.choose(at, &place.memory).await? {
            self.places.not_deleted(&place);
            return Ok(());
        }
        // Whatever the answer is, something else may lie there soon.
        self.places.not_deleted(&place);
        let delete = Command::new(format!("AT+CMGD={}", place.index)).within(STORE_WITHIN);
        match at.command(&delete).await {
            Ok(_) => {
                self.places.deleted(&place);
                self.undeleted.remove(&place.memory);
                if let Some(usage) = self.usages.get(&place.memory).copied() {
                    let used = usage.used.saturating_sub(1);
                    self.note_usage(&place.memory, Usage { used, ..usage });
                }
                Ok(())
            }
            Err(error) => {
                let note = format!(
                    "a message in {} could not be deleted, which is tried again: {error}",
                    place.memory
                );
                self.undeleted.insert(place.memory, note);
                match error {
                    AtError::Refused { .. } => Ok(()),
                    error => Err(error),
                }
            }
        }
    }

    async fn read<S>(&mut self, at: &mut At<S>, place: Place) -> Result<(), AtError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let chosen = self.choose(at, &place.memory).await?;
        let read = Command::new(format!("AT+CMGR={}", place.index))
            .expecting(Expect::Named("+CMGR"))
            .within(STORE_WITHIN);
        let answered = if chosen {
            at.command(&read).await
        } else {
            Ok(Vec::new())
        };
        let now = self.clock.elapsed();
        match answered {
            Ok(entries) => match entries.first().map(answer::cmgr) {
                Some(Some(header)) if !header.pdu.is_empty() => {
                    self.found(&place, &header).await;
                }
                Some(None) => {
                    self.places.nothing_at(&place, now);
                    return pdu_mode(at).await;
                }
                _ => self.places.nothing_at(&place, now),
            },
            Err(AtError::Refused { .. }) => self.places.nothing_at(&place, now),
            Err(error) => {
                self.places.silent_at(&place, now);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn list<S>(&mut self, at: &mut At<S>, name: String) -> Result<(), AtError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // Chosen anew, which says how full it is.
        self.current = None;
        if !self.choose(at, &name).await? {
            self.to_list.retain(|known| *known != name);
            return Ok(());
        }
        let list = Command::new("AT+CMGL=4")
            .expecting(Expect::Named("+CMGL"))
            .within(LIST_WITHIN);
        let answered = at.command(&list).await;
        if answered
            .as_ref()
            .err()
            .is_none_or(|error| error.failure().is_some())
        {
            self.to_list.retain(|known| *known != name);
        }
        match answered {
            Ok(entries) => {
                self.refused.remove(&name);
                self.silent.remove(&name);
                let headers: Vec<PduHeader> = entries.iter().filter_map(answer::cmgl).collect();
                let listed: Vec<u16> = headers.iter().filter_map(|header| header.index).collect();
                if headers.len() < entries.len() {
                    pdu_mode(at).await?;
                } else {
                    self.places.only(&name, &listed);
                }
                for header in headers {
                    let Some(index) = header.index else {
                        continue;
                    };
                    let memory = name.clone();
                    self.found(&Place { memory, index }, &header).await;
                }
                Ok(())
            }
            Err(error @ AtError::Refused { .. }) => {
                let note = format!("the store {name} cannot be listed: {error}");
                self.refused.insert(name, note);
                Ok(())
            }
            Err(error) => {
                let times = self.silent.entry(name.clone()).or_default();
                *times += 1;
                if *times >= 2 {
                    self.to_list.retain(|known| *known != name);
                    self.stores.retain(|known| *known != name);
                    let note = format!("the store {name} cannot be listed: {error}");
                    self.refused.insert(name, note);
                }
                Err(error)
            }
        }
    }

    /// A record lies there: hands it up if that is due, and there is room.
    async fn found(&mut self, place: &Place, header: &PduHeader) {
        let hash = record::fingerprint(&[header.pdu.to_ascii_uppercase().as_bytes()]);
        let refusals = self.places.refusals(place);
        if !self.places.found(place, hash) {
            return;
        }
        let record = match record::read(header, &self.sim, self.clock.now()) {
            Ok(Record::Draft) => return self.places.hold(place, hash, State::Left(None)),
            Ok(record) => record,
            Err(error) => {
                // Drafts of other programs are none of ours, readable or not.
                let draft = matches!(header.stat, Some(2 | 3));
                let why = (!draft).then(|| error.to_string());
                return self.places.hold(place, hash, State::Left(why));
            }
        };
        let now = self.clock.elapsed();
        if !self.has_room() {
            return self.places.read_at(place, now);
        }
        match self.events.clone().reserve_owned().await {
            Ok(permit) => {
                let ack = self.await_verdict(Origin::Place(place.clone(), hash, refusals));
                self.places.hold(place, hash, State::Open);
                if let Some(event) = self.event(record, ack) {
                    permit.send(event);
                }
            }
            // The gateway ends.
            Err(_) => self.places.read_at(place, now + again_after(u32::MAX)),
        }
    }
}

/// Back into PDU mode, which a modem leaves when it restarts unseen.
async fn pdu_mode<S>(at: &mut At<S>) -> Result<(), AtError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match at.command(&Command::new("AT+CMGF=0")).await {
        Err(AtError::Refused { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

fn own_number(value: &str) -> Option<String> {
    let fields = answer::fields(value);
    let written = *fields.get(1)?;
    let digits = written.trim_start_matches('+');
    if digits.len() < 3 || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let international = written.starts_with('+') || fields.get(2) == Some(&"145");
    let sign = if international { "+" } else { "" };
    Some(format!("{sign}{digits}"))
}

#[cfg(test)]
mod tests;
