//! The dialogue with the modem: choosing a store, listing it, reading and deleting in it.
//!
//! Every future here may be dropped: what was to be done stays to be done until it is done, and a
//! deletion whose answer was not seen is followed by a look.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::super::answer::{self, Entry, PduHeader, Usage};
use super::super::at::{At, AtError, Command};
use super::super::choice::MemoryChoice;
use super::super::sort::Expect;
use super::places::{Place, State, again_after};
use super::record::{self, Record};
use super::{Inbox, Origin, Trouble};

/// A full store takes a while to list.
const LIST_WITHIN: Duration = Duration::from_mins(1);
const STORE_WITHIN: Duration = Duration::from_secs(10);

/// After so many lists without an answer, a store is not listed for so long.
const MAX_SILENCES: u32 = 2;
const SILENT_FOR: Duration = Duration::from_hours(1);

/// When a modem that has left PDU mode is asked again.
const MODE_AGAIN: Duration = Duration::from_secs(10);

/// Highest place tried in a store that cannot be listed.
const LAST_PLACE: u16 = 255;

impl Inbox {
    /// Reads from this store from now on. False if the modem refuses.
    pub(super) async fn choose<S>(&mut self, at: &mut At<S>, name: &str) -> Result<bool, AtError>
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
                    self.works_again(Trouble::Choosing, name);
                    let usages = entries.first().map(|entry| answer::usage(&entry.line));
                    if let Some(usage) = usages.and_then(|usages| usages.first().copied()) {
                        self.note_usage(name, usage);
                    }
                    return Ok(true);
                }
                Err(error @ AtError::Refused { .. }) => {
                    let note = format!("the store {name} cannot be chosen: {error}");
                    self.trouble(Trouble::Choosing, name, note);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// `+CNUM: [<alpha>],<number>,<type>` (3GPP TS 27.007 §7.1). Many SIMs do not know their number.
    pub(super) async fn ask_number<S>(&mut self, at: &mut At<S>) -> Result<(), AtError>
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

    pub(super) async fn delete<S>(&mut self, at: &mut At<S>, place: Place) -> Result<(), AtError>
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
                self.works_again(Trouble::Deleting, &place.memory);
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
                self.trouble(Trouble::Deleting, &place.memory, note);
                match error {
                    AtError::Refused { .. } => Ok(()),
                    error => Err(error),
                }
            }
        }
    }

    pub(super) async fn read<S>(&mut self, at: &mut At<S>, place: Place) -> Result<(), AtError>
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
            Ok(entries) => {
                let header = entries.first().and_then(answer::cmgr);
                match header.filter(|header| !header.pdu.is_empty()) {
                    Some(header) => self.found(&place, &header).await,
                    None => self.places.nothing_at(&place, now),
                }
                if entries.iter().any(is_text_mode) {
                    return self.back_to_pdu_mode(at).await;
                }
            }
            Err(AtError::Refused { .. }) => self.places.nothing_at(&place, now),
            Err(error) => {
                self.places.silent_at(&place, now);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Every store is to be looked through.
    pub(super) fn begin_sweep(&mut self, now: Duration) {
        for name in self.stores.clone() {
            let silences = self.silences.get(&name);
            if silences.is_some_and(|(n, at)| *n >= MAX_SILENCES && *at + SILENT_FOR > now) {
                self.look_everywhere(&name);
            } else if !self.to_list.contains(&name) {
                self.to_list.push_back(name);
            }
        }
    }

    pub(super) async fn list<S>(&mut self, at: &mut At<S>, name: String) -> Result<(), AtError>
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
        match at.command(&list).await {
            Ok(entries) => self.listed(at, &name, &entries).await?,
            Err(error @ AtError::Refused { .. }) => {
                let note = format!("the store {name} cannot be listed: {error}");
                self.trouble(Trouble::Listing, &name, note);
                self.look_everywhere(&name);
            }
            Err(error) => {
                let now = self.clock.elapsed();
                let (times, last) = self.silences.entry(name.clone()).or_default();
                (*times, *last) = (times.saturating_add(1), now);
                if *times >= MAX_SILENCES {
                    self.to_list.retain(|known| *known != name);
                    let note = format!("the store {name} cannot be listed: {error}");
                    self.trouble(Trouble::Listing, &name, note);
                }
                return Err(error);
            }
        }
        self.to_list.retain(|known| *known != name);
        Ok(())
    }

    async fn listed<S>(
        &mut self,
        at: &mut At<S>,
        name: &str,
        entries: &[Entry],
    ) -> Result<(), AtError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.works_again(Trouble::Listing, name);
        self.silences.remove(name);
        if entries.iter().any(is_text_mode) {
            return self.back_to_pdu_mode(at).await;
        }
        // A place without a PDU is one too.
        let first = |entry: &Entry| answer::fields(entry.value()).first()?.parse().ok();
        let listed: Vec<u16> = entries.iter().filter_map(first).collect();
        self.places.only(name, &listed);
        for header in entries.iter().filter_map(answer::cmgl) {
            if let Some(index) = header.index {
                let memory = name.to_owned();
                self.found(&Place { memory, index }, &header).await;
            }
        }
        if !self.places.has_taken(name) {
            self.works_again(Trouble::Deleting, name);
        }
        Ok(())
    }

    /// What lies in a store that cannot be listed is looked for place by place, if there is something.
    fn look_everywhere(&mut self, name: &str) {
        let Some(Usage { used: 1.., total }) = self.usages.get(name).copied() else {
            return;
        };
        let now = self.clock.elapsed();
        for index in 0..=total.min(LAST_PLACE) {
            let memory = name.to_owned();
            self.places.look_at(&Place { memory, index }, now);
        }
    }

    /// A modem leaves PDU mode when it restarts unseen.
    async fn back_to_pdu_mode<S>(&mut self, at: &mut At<S>) -> Result<(), AtError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let again = self.clock.elapsed() + MODE_AGAIN;
        self.sweep_at = Some(self.sweep_at.map_or(again, |at| at.min(again)));
        match at.command(&Command::new("AT+CMGF=0")).await {
            Err(AtError::Refused { .. }) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn trouble(&mut self, what: Trouble, name: &str, note: String) {
        self.troubles.insert((what, name.to_owned()), note);
    }

    fn works_again(&mut self, what: Trouble, name: &str) {
        self.troubles.remove(&(what, name.to_owned()));
    }

    /// A record lies there: hands it up if that is due, and there is room.
    async fn found(&mut self, place: &Place, header: &PduHeader) {
        let hash = record::fingerprint(&[header.pdu.to_ascii_uppercase().as_bytes()]);
        let refusals = self.places.refusals(place);
        let Some(sim) = self
            .sim
            .as_ref()
            .filter(|_| self.places.is_news(place, hash))
        else {
            return self.places.found(place, hash);
        };
        let record = match record::read(header, sim, self.clock.now()) {
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

/// True for a record in text mode, whose state is a word.
fn is_text_mode(entry: &Entry) -> bool {
    entry.line.contains("\"REC ") || entry.line.contains("\"STO ")
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
