//! What comes in through a modem: messages from handsets and status reports, directly or by way of
//! its stores.
//!
//! Invariants:
//!
//! - Nothing is deleted from a store before the engine has committed it, and nothing else than that.
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

use super::answer::{PduHeader, Usage};
use super::at::{At, AtError, News};
use super::choice::MemoryChoice;
use super::report;
use super::setup::Ready;
use super::unsolicited::Unsolicited;
use crate::channel::{Ack, AckVerdict, ChannelEvent};
use crate::clock::Clock;
use crate::domain::id::{Account, ChannelId};
use crate::domain::time::Timestamp;

mod dialogue;
mod places;
mod record;

use places::{Place, Places, again_after};
use record::{Fingerprint, Message, Record, Sim};

/// Most events that may await the engine's verdict.
pub const MAX_OPEN: usize = 64;

/// Most messages and reports that came directly and wait for their turn.
pub const MAX_DIRECT: usize = 1_024;

/// Without a verdict for so long, an event is handed up again.
const VERDICT_WITHIN: Duration = Duration::from_mins(5);

/// How often every store is looked through, if nothing else is said.
const SWEEP: Duration = Duration::from_mins(5);

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
    /// `None`: it came before the SIM was known, and waits for that.
    sim: Option<Sim>,
    came: Timestamp,
    due: Duration,
    refusals: u32,
}

/// What does not work with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Choosing,
    Listing,
    Deleting,
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
    /// Known from the first set-up on.
    sim: Option<Sim>,
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
    /// What does not work with a store, by what it is and the store's name.
    troubles: BTreeMap<(Trouble, String), String>,
    /// How often in a row a list of a store was not answered, and when the last time.
    silences: BTreeMap<String, (u32, Duration)>,
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
            sim: None,
            number: None,
            asks_number: false,
            receiving: None,
            current: None,
            stores: Vec::new(),
            to_list: VecDeque::new(),
            sweep_at: None,
            usages: BTreeMap::new(),
            full: BTreeSet::new(),
            troubles: BTreeMap::new(),
            silences: BTreeMap::new(),
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
        for direct in &mut self.direct {
            direct.sim.get_or_insert_with(|| sim.clone());
        }
        if self.sim.as_ref() != Some(&sim) {
            self.places.clear();
            // A verdict about the other SIM's record says nothing about what lies there now.
            self.open
                .retain(|_, open| matches!(open.origin, Origin::Direct(_)));
            self.number = None;
            self.usages.clear();
            self.full.clear();
            self.troubles.clear();
            self.silences.clear();
            self.sim = Some(sim);
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
                    sim: self.sim.clone(),
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
        match index {
            Some(index) => {
                let now = self.clock.elapsed();
                let place = Place { memory, index };
                if !self.places.knows(&place)
                    && let Some(usage) = self.usages.get(&place.memory).copied()
                {
                    let used = usage.used.saturating_add(1).min(usage.total);
                    self.note_usage(&place.memory, Usage { used, ..usage });
                }
                self.places.read_at(&place, now);
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
            let due = |direct: &Direct| direct.sim.is_some() && direct.due <= now;
            let Some(at) = self.direct.iter().position(due) else {
                return;
            };
            if !self.has_room() {
                return;
            }
            let permit = self.events.clone().reserve_owned().await;
            let Some(mut direct) = self.direct.remove(at) else {
                return;
            };
            let (Ok(permit), Some(sim)) = (permit, &direct.sim) else {
                // The gateway ends.
                direct.due = now + again_after(u32::MAX);
                self.direct.push_back(direct);
                return;
            };
            match record::read(&direct.header, sim, direct.came) {
                // Nobody sends us what we would send.
                Ok(Record::Draft) => {}
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
        notes.extend(self.troubles.values().cloned());
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

/// What there is to do with the modem.
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
        let known = self.direct.iter().filter(|direct| direct.sim.is_some());
        let direct = known.map(|direct| direct.due).min().filter(|_| room);
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
    /// If the dialogue fails. Nothing is lost by that, nor by dropping the future: what was to be
    /// done stays to be done.
    pub async fn work<S>(&mut self, at: &mut At<S>) -> Result<(), AtError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.expire();
        self.hand_up_direct().await;
        let now = self.clock.elapsed();
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_at = Some(now + self.sweep);
            self.begin_sweep(now);
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
}

#[cfg(test)]
mod tests;
