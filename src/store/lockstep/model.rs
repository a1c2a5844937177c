//! The model: a map of messages, looked through from end to end and changed by the domain alone.

use super::super::codec::Learnt;
use super::super::writings::Writings;
use super::sims::Sent;
use super::*;
use crate::domain::sim;

/// Message, attempt and segment that a reference stands for.
pub(super) type Bound = (MessageId, u16, u16);

/// Whom a receipt is for.
pub(super) enum Meant {
    Segment(Bound, IdWriting),
    Unsure,
    Nobody,
}

/// True if an id found in this writing is no other one's.
fn is_sure(report: &ReceiptReport, writing: IdWriting, learnt: Option<IdWriting>) -> bool {
    let usual = match learnt {
        Some(IdWriting::Folded) | None => IdWriting::Same,
        Some(learnt) => learnt,
    };
    writing == usual || is_long(&report.reference)
}

fn is_unanswered(message: &Message, account: &Account) -> bool {
    let mine = message.attempts.iter();
    let mine = mine.filter(|tried| tried.account == *account);
    let mut segments = mine.flat_map(|tried| &tried.segments);
    let leased = matches!(message.state, State::Leased(_));
    !matches!(message.state, State::Final(_))
        && segments.any(|segment| match segment.progress {
            Progress::InDoubt => true,
            Progress::Unsent => leased,
            Progress::Accepted => false,
        })
}

/// What the model remembers: no index, no order, no second record of anything.
pub(super) struct Model {
    pub(super) rules: Policy,
    pub(super) messages: BTreeMap<MessageId, Message>,
    /// Accepted submissions by key: body and ids.
    pub(super) keys: BTreeMap<u8, (u8, Vec<MessageId>)>,
    /// The messages that names of plans, and of what is told once, belong to.
    pub(super) names: BTreeMap<super::plans::Name, MessageId>,
    /// The bindings of each reference of an account: newest first, one for each recipient.
    pub(super) bound: BTreeMap<(Account, String), Vec<Bound>>,
    /// What each reference of the SIM was the answer to, newest first.
    pub(super) sent: BTreeMap<String, Vec<Sent>>,
    /// With the time since when something is parked under its reference.
    pub(super) parked: Vec<(ReceiptReport, Timestamp)>,
    /// When to look again at what is parked under a reference.
    pub(super) reconsidered: BTreeSet<(Timestamp, Account, String)>,
    /// What receipts have taught of the writing of ids.
    pub(super) writings: Writings,
    /// Claims so far in the lane, for the fair tenth.
    pub(super) taken: u64,
    /// Past their validity when it was their turn: out of the lane until the reaper ends them.
    pub(super) over: Vec<MessageId>,
    /// What was due when a life ended with claims in force: any of it may have left.
    pub(super) suspects: BTreeSet<MessageId>,
    /// Those of it whose claim only memory held: they must say so when they leave again.
    pub(super) doubtful: BTreeSet<MessageId>,
    /// Told and not yet taken by the receiver: message and revision.
    pub(super) outbox: Vec<(MessageId, u32)>,
    /// Numbers that have opted out.
    pub(super) opted_out: BTreeSet<Msisdn>,
    /// Fingerprints of what the SIM has shown.
    pub(super) shown: BTreeSet<u8>,
    /// Number of messages from handsets.
    pub(super) heard: usize,
    /// What SIMs have sent, by SIM and message.
    pub(super) spendings: BTreeMap<(String, MessageId), Spending>,
}

impl Model {
    pub(super) fn apply(
        &mut self,
        id: MessageId,
        event: &Event,
        now: Timestamp,
    ) -> Option<Message> {
        let message = self.messages.get_mut(&id)?;
        if !matches!(event, Event::Claimed(_)) {
            // Whoever takes a record up puts it back where it belongs.
            self.over.retain(|other| *other != id);
        }
        let mut transition = message.apply(event, &self.rules, now).ok()?;
        if matches!(message.state, State::Waiting { .. }) && self.opted_out.contains(&message.to) {
            let end = message.apply(&Event::OptedOut, &self.rules, now).unwrap();
            transition.to = end.to;
        }
        if transition.status_changed()
            && message.webhook_url.is_some()
            && message.status().is_final()
        {
            self.outbox.push((id, message.revision));
        }
        Some(message.clone())
    }

    pub(super) fn accept(
        &mut self,
        messages: &[Message],
        key: u8,
        body: u8,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        if let Some((known, ids)) = self.keys.get(&key) {
            return if *known == body {
                let batch = self.messages[&ids[0]].batch;
                let messages = ids.clone();
                let duplicates = Vec::new();
                Ok(Accepted::Repeated {
                    batch,
                    messages,
                    duplicates,
                })
            } else {
                Err(StoreError::Conflict)
            };
        }
        let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
        self.keys.insert(key, (body, ids.clone()));
        self.messages
            .extend(messages.iter().map(|message| (message.id, message.clone())));
        for id in &ids {
            if self.opted_out.contains(&self.messages[id].to) {
                self.apply(*id, &Event::OptedOut, now).unwrap();
            }
        }
        let stored = ids.iter().map(|id| Arc::new(self.messages[id].clone()));
        Ok(Accepted::New(stored.collect()))
    }

    /// Whether somebody may take a message, as far as accounts and recipients go.
    pub(super) fn within(&self, message: &Message, by: &Claimant) -> bool {
        let has_some = |attempt: &&Attempt| {
            attempt
                .segments
                .iter()
                .any(|s| s.progress != Progress::Unsent)
        };
        match message.attempts.iter().rfind(has_some) {
            Some(attempt) => by.reach.pinned.contains(&attempt.account),
            None => {
                let leased =
                    |m: &Message| matches!(m.state, State::Leased(_)) && m.to == message.to;
                let wanted = by.only_to.as_ref();
                let wanted = wanted.is_none_or(|only| only.contains(&message.to));
                by.reach.free && wanted && !(by.in_line && self.messages.values().any(leased))
            }
        }
    }

    /// Claims as a store did. The model knows what must be marked as a possible duplicate, and what
    /// may be; in between, `marked` says how the store has drawn the line.
    pub(super) fn claim(
        &mut self,
        by: &Claimant,
        limit: usize,
        marked: &BTreeSet<MessageId>,
        now: Timestamp,
    ) -> Vec<Message> {
        let mut claimed = Vec::new();
        while claimed.len() < limit {
            let due = self.messages.values().filter_map(|m| match &m.state {
                State::Waiting { due_at, .. }
                    if *due_at <= now && !self.over.contains(&m.id) && self.within(m, by) =>
                {
                    Some((*due_at, m.id, m.priority))
                }
                _ => None,
            });
            let next = if self.taken % 10 == 9 {
                due.min()
            } else {
                due.min_by_key(|(due_at, id, priority)| (3 - *priority, *due_at, *id))
            };
            let Some((due_at, id, _)) = next else {
                break;
            };
            self.taken += 1;
            if marked.contains(&id) && self.suspects.contains(&id) {
                self.apply(id, &Event::MayHaveLeft, now);
            }
            let lease = lease(by.account.as_str(), due_at, now);
            match self.apply(id, &Event::Claimed(lease), now) {
                Some(message) => {
                    let must = self.doubtful.contains(&id);
                    assert!(message.maybe_duplicate || !must, "{id} is not marked");
                    claimed.push(message);
                }
                None => self.over.push(id),
            }
        }
        claimed
    }

    pub(super) fn report(&mut self, report: &Report, now: Timestamp) -> Option<Message> {
        let token = report.token();
        let mut changed = self.apply(token.message, &report.event(), now);
        let Report::Accepted {
            segment, reference, ..
        } = report
        else {
            return changed;
        };
        let message = &self.messages[&token.message];
        let attempt = message.attempts.get(usize::from(token.attempt));
        let carrying = attempt.filter(|attempt| {
            let segment = attempt.segments.get(usize::from(*segment));
            segment.is_some_and(|segment| segment.references.contains(reference))
        });
        let Some(Attempt { account, .. }) = carrying.cloned() else {
            return changed;
        };
        let to = message.to;
        let canonical = canonical_reference(reference);
        let place = (token.message, token.attempt, *segment);
        if sim::is_reference(reference) {
            return self.bind_by_sim(place, reference, now).or(changed);
        }
        let messages = &self.messages;
        let key = (account.clone(), canonical.clone());
        let places = self.bound.entry(key).or_default();
        places.retain(|known| messages[&known.0].to != to);
        places.insert(0, place);
        places.truncate(4);
        for form in reference_forms(reference) {
            let parked = self.unpark(&account, &form);
            let mut kept = false;
            for (parked, since) in parked {
                let fits = parked.handset.is_none_or(|handset| handset == to);
                let overtook = form == canonical && now.since(since).as_secs() < 60;
                let learnt = self.writings.learnt(&account);
                let writing = if !fits {
                    overtook.then_some(IdWriting::Handset)
                } else if form == canonical && is_sure(&parked, IdWriting::Same, learnt) {
                    Some(IdWriting::Same)
                } else {
                    match self.meant(&parked) {
                        Meant::Segment(meant, writing) if meant == place => Some(writing),
                        _ => None,
                    }
                };
                match writing {
                    Some(writing) => changed = self.tell(place, parked, writing, now).or(changed),
                    None => {
                        self.parked.push((parked, since));
                        kept = true;
                    }
                }
            }
            if kept {
                let again = now + Duration::from_secs(60);
                self.reconsidered.insert((again, account.clone(), form));
            }
        }
        changed
    }

    /// Takes out what is parked under a reference.
    pub(super) fn unpark(
        &mut self,
        account: &Account,
        form: &str,
    ) -> Vec<(ReceiptReport, Timestamp)> {
        let under = |(parked, _): &(ReceiptReport, Timestamp)| {
            space(&parked.account, &parked.reference) == *account
                && canonical_reference(&parked.reference) == form
        };
        let (out, keep) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(under);
        self.parked = keep;
        out
    }

    fn tell(
        &mut self,
        (id, attempt, segment): Bound,
        report: ReceiptReport,
        writing: IdWriting,
        now: Timestamp,
    ) -> Option<Message> {
        let answered = &self.messages[&id].attempts[usize::from(attempt)].segments;
        let answered = &answered[usize::from(segment)].references;
        let writing = match writing {
            IdWriting::Same if !answered.contains(&report.reference) => IdWriting::Folded,
            writing => writing,
        };
        let teaches = !reads_alike(&report.reference);
        let event = Event::Receipt {
            attempt,
            segment,
            reference: report.reference,
            receipt: report.receipt,
        };
        let changed = self.apply(id, &event, now)?;
        if teaches {
            self.writings.saw(&report.account, writing);
        }
        Some(changed)
    }

    fn meant(&self, report: &ReceiptReport) -> Meant {
        let account = &report.account;
        let learnt = self.writings.learnt(account);
        let is = |writing: IdWriting| match learnt {
            Some(IdWriting::Folded) => writing == IdWriting::Same,
            learnt => learnt == Some(writing),
        };
        let mut forms = answered_forms(&report.reference);
        forms.sort_by_key(|(writing, _)| !is(*writing));
        let places = forms.into_iter().filter_map(|(writing, form)| {
            let places = self.bound.get(&(account.clone(), form))?;
            Some((writing, places))
        });
        let places: Vec<_> = places.collect();
        let fits = |place: &&Bound| {
            let to = self.messages[&place.0].to;
            report.handset.is_none_or(|handset| handset == to)
        };
        let fitting = places
            .iter()
            .find_map(|(writing, places)| Some((places.iter().find(fits)?, *writing)));
        let second = places
            .iter()
            .find(|(writing, _)| *writing == IdWriting::Same || is(*writing));
        let second = second.map(|(writing, places)| (&places[0], *writing));
        let Some((place, writing)) = fitting.or(second) else {
            return Meant::Nobody;
        };
        let sure = is_sure(report, writing, learnt);
        if fitting.is_some() && sure {
            return Meant::Segment(*place, writing);
        }
        let lately = |holds: &dyn Fn(&Message) -> bool| {
            let handset = report.handset;
            handset.is_some_and(|to| self.lately_to(to).any(holds))
        };
        if lately(&|message| is_unanswered(message, account)) {
            return Meant::Unsure;
        }
        let doubtful = |message: &Message| {
            let mut segments = message.attempts.iter().flat_map(|tried| &tried.segments);
            message.maybe_duplicate || segments.any(|it| it.progress == Progress::InDoubt)
        };
        let attempt = &self.messages[&place.0].attempts[usize::from(place.1)];
        let known = attempt.segments[usize::from(place.2)].known;
        let nothing_else = known == Known::Awaiting || known == report.receipt.state.known();
        if sure || writing == IdWriting::Same || nothing_else && !lately(&doubtful) {
            return Meant::Segment(*place, writing);
        }
        Meant::Unsure
    }

    /// The message that changed; or whether the receipt was parked.
    pub(super) fn receive(
        &mut self,
        report: &ReceiptReport,
        now: Timestamp,
    ) -> Result<Message, bool> {
        if sim::is_reference(&report.reference) {
            return self.receive_by_sim(report, now);
        }
        let meant = self.meant(report);
        if let Meant::Segment(place, writing) = meant {
            return self.tell(place, report.clone(), writing, now).ok_or(false);
        }
        let form = canonical_reference(&report.reference);
        let same = self.unpark(&report.account, &form);
        let known = same.iter().any(|(parked, _)| parked == report) || same.len() >= 16;
        let since = same.first().map_or(now, |(_, since)| *since);
        self.parked.extend(same);
        if known {
            return Err(false);
        }
        self.parked.push((report.clone(), since));
        if matches!(meant, Meant::Unsure) {
            let again = now + Duration::from_secs(60);
            self.reconsidered
                .insert((again, report.account.clone(), form));
        }
        Err(true)
    }

    /// Looks again at what was parked because it was not sure whom it is for.
    fn reconsider(&mut self, now: Timestamp, limit: usize) -> Vec<Message> {
        let mut changes = Vec::new();
        for _ in 0..limit {
            if self.reconsidered.first().is_none_or(|(at, ..)| *at > now) {
                break;
            }
            let (_, account, form) = self.reconsidered.pop_first().unwrap();
            let mut again = None;
            for (parked, since) in self.unpark(&account, &form) {
                let after = now.since(since).max(looked_at_after(&account));
                if account == sim_s() {
                    match self.look_again_by_sim(&parked, now) {
                        Ok(changed) => changes.extend(changed),
                        Err(unsure) => {
                            again = again.or(unsure.then_some(after));
                            self.parked.push((parked, since));
                        }
                    }
                    continue;
                }
                match self.meant(&parked) {
                    Meant::Segment(place, writing) => {
                        changes.extend(self.tell(place, parked, writing, now));
                        continue;
                    }
                    Meant::Unsure => again = Some(after),
                    Meant::Nobody => {}
                }
                self.parked.push((parked, since));
            }
            if let Some(wait) = again {
                self.reconsidered.insert((now + wait, account, form));
            }
        }
        changes
    }

    /// The latest messages to a handset, and those that are leased.
    pub(super) fn lately_to(&self, handset: Msisdn) -> impl Iterator<Item = &Message> {
        let mine = self.messages.values().rev();
        let mine = mine.filter(move |message| message.to == handset);
        let leased = |message: &Message| matches!(message.state, State::Leased(_));
        let lately = (0..).zip(mine);
        let lately = lately.filter(move |(n, message)| *n < 20 || leased(message));
        lately.map(|(_, message)| message)
    }

    pub(super) fn time_out(&mut self, now: Timestamp, limit: usize) -> Vec<Message> {
        let mut overdue: Vec<_> = self
            .messages
            .values()
            .filter_map(|message| Some((message.deadline()?, message.id)))
            .filter(|(deadline, _)| *deadline <= now)
            .collect();
        overdue.sort_unstable();
        let ended = overdue.into_iter().take(limit);
        let mut changes: Vec<_> = ended
            .filter_map(|(_, id)| self.apply(id, &Event::DeadlinePassed, now))
            .collect();
        changes.extend(self.reconsider(now, limit));
        changes
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let deadlines = self.messages.values().filter_map(Message::deadline);
        deadlines
            .chain(self.reconsidered.iter().map(|(at, ..)| *at))
            .min()
    }

    /// What a start does to leases: those that were on the disk are doubts, the others forgotten.
    pub(super) fn restart(&mut self, before_claim: &BTreeMap<MessageId, Message>, now: Timestamp) {
        let leased: Vec<_> = self
            .messages
            .values()
            .filter(|message| matches!(message.state, State::Leased(_)))
            .map(|message| message.id)
            .collect();
        if !leased.is_empty() {
            let due = self
                .messages
                .values()
                .filter(|message| match message.state {
                    State::Waiting { due_at, .. } => due_at <= now,
                    _ => false,
                });
            let due: Vec<_> = due.map(|message| message.id).collect();
            self.suspects.extend(due);
        }
        for id in leased {
            match before_claim.get(&id) {
                Some(stored) => {
                    self.messages.insert(id, stored.clone());
                    self.suspects.insert(id);
                    self.doubtful.insert(id);
                    if self.opted_out.contains(&stored.to) {
                        self.apply(id, &Event::OptedOut, now).unwrap();
                    }
                }
                None => {
                    self.apply(id, &Event::LeaseLost, now);
                }
            }
        }
        self.taken = 0;
        self.over.clear();
        self.reconsidered = self
            .parked_under()
            .into_iter()
            .map(|(space, form)| (now + looked_at_after(&space), space, form))
            .collect();
        let accounts = ["a", "b"].map(Account::from).into_iter();
        let learnt = accounts.filter_map(|account| {
            let writing = self.writings.learnt(&account)?;
            Some(Learnt { account, writing })
        });
        self.writings = Writings::of(learnt.collect());
    }

    /// The references that receipts are kept under.
    fn parked_under(&self) -> BTreeSet<(Account, String)> {
        let under = |it: &ReceiptReport| {
            let form = canonical_reference(&it.reference);
            (space(&it.account, &it.reference), form)
        };
        self.parked
            .iter()
            .map(|(parked, _)| under(parked))
            .collect()
    }

    pub(super) fn unknown_references(&self) -> u64 {
        u64::try_from(self.parked_under().len()).unwrap()
    }

    /// Told, oldest of each message only.
    pub(super) fn due(&self) -> Vec<(MessageId, u32)> {
        let mut heads = BTreeMap::new();
        for (id, revision) in &self.outbox {
            heads.entry(*id).or_insert(*revision);
        }
        heads.into_iter().collect()
    }
}
