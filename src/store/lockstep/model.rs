//! The model: a map of messages, looked through from end to end and changed by the domain alone.

use super::*;

/// Message, attempt and segment that a reference stands for.
pub(super) type Bound = (MessageId, u16, u16);

/// What the model remembers: no index, no order, no second record of anything.
pub(super) struct Model {
    pub(super) rules: Policy,
    pub(super) messages: BTreeMap<MessageId, Message>,
    /// Accepted submissions by key: body and ids.
    pub(super) keys: BTreeMap<u8, (u8, Vec<MessageId>)>,
    /// The bindings of each reference of an account: newest first, one for each recipient.
    pub(super) bound: BTreeMap<(Account, String), Vec<Bound>>,
    /// With the time since when something is parked under its reference.
    pub(super) parked: Vec<(ReceiptReport, Timestamp)>,
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
                Ok(Accepted::Repeated { batch, messages })
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
                by.reach.free && !(by.in_line && self.messages.values().any(leased))
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
        let messages = &self.messages;
        let key = (account.clone(), canonical.clone());
        let places = self.bound.entry(key).or_default();
        places.retain(|known| messages[&known.0].to != to);
        places.insert(0, place);
        places.truncate(4);
        for form in reference_forms(reference) {
            let mine = |(parked, since): &(ReceiptReport, Timestamp)| {
                let overtook = form == canonical && now.since(*since).as_secs() < 60;
                parked.account == account
                    && canonical_reference(&parked.reference) == form
                    && (overtook || parked.handset.is_none_or(|handset| handset == to))
            };
            let (merge, keep) = std::mem::take(&mut self.parked).into_iter().partition(mine);
            self.parked = keep;
            let merge: Vec<(ReceiptReport, Timestamp)> = merge;
            for (parked, _) in merge {
                changed = self.tell(place, parked, now).or(changed);
            }
        }
        changed
    }

    pub(super) fn tell(
        &mut self,
        (id, attempt, segment): Bound,
        report: ReceiptReport,
        now: Timestamp,
    ) -> Option<Message> {
        let event = Event::Receipt {
            attempt,
            segment,
            reference: report.reference,
            receipt: report.receipt,
        };
        self.apply(id, &event, now)
    }

    /// The message that changed; or whether the receipt was parked.
    pub(super) fn receive(
        &mut self,
        report: &ReceiptReport,
        now: Timestamp,
    ) -> Result<Message, bool> {
        let forms = reference_forms(&report.reference);
        let exact = self
            .bound
            .get(&(report.account.clone(), forms[0].clone()))
            .map(|places| places[0]);
        let fits = |place: &&Bound| {
            report
                .handset
                .is_none_or(|handset| handset == self.messages[&place.0].to)
        };
        let found = forms
            .iter()
            .filter_map(|form| self.bound.get(&(report.account.clone(), form.clone())))
            .flatten()
            .find(fits)
            .copied()
            .or(exact);
        // In another number base it may be the early receipt of what is unanswered.
        let exactly = self.bound.get(&(report.account.clone(), forms[0].clone()));
        let doubtful = |place: &Bound| {
            let attempt = &self.messages[&place.0].attempts[usize::from(place.1)];
            exactly.is_none_or(|places| !places.contains(place))
                && attempt.segments[usize::from(place.2)].known != Known::Awaiting
                && report
                    .handset
                    .is_some_and(|to| self.is_unanswered(to, &report.account))
        };
        match found.filter(|place| !doubtful(place)) {
            Some(place) => self.tell(place, report.clone(), now).ok_or(false),
            None => {
                let same: Vec<_> = self
                    .parked
                    .iter()
                    .filter(|(parked, _)| {
                        parked.account == report.account
                            && canonical_reference(&parked.reference) == forms[0]
                    })
                    .collect();
                let known = same.iter().any(|(parked, _)| parked == report) || same.len() >= 16;
                let since = same.first().map_or(now, |(_, since)| *since);
                if !known {
                    self.parked.push((report.clone(), since));
                }
                Err(!known)
            }
        }
    }

    pub(super) fn is_unanswered(&self, handset: Msisdn, account: &Account) -> bool {
        let latest = self
            .messages
            .values()
            .rev()
            .filter(|message| message.to == handset);
        let unanswered = |message: &Message| {
            let tried = message
                .attempts
                .iter()
                .filter(|tried| tried.account == *account);
            let mut segments = tried.flat_map(|tried| &tried.segments);
            let leased = matches!(message.state, State::Leased(_));
            !matches!(message.state, State::Final(_))
                && segments.any(|segment| match segment.progress {
                    Progress::InDoubt => true,
                    Progress::Unsent => leased,
                    Progress::Accepted => false,
                })
        };
        let leased = |message: &Message| matches!(message.state, State::Leased(_));
        let mut lately = (0..).zip(latest).filter(|(n, it)| *n < 20 || leased(it));
        lately.any(|(_, message)| unanswered(message))
    }

    pub(super) fn time_out(&mut self, now: Timestamp, limit: usize) -> Vec<Message> {
        let mut overdue: Vec<_> = self
            .messages
            .values()
            .filter_map(|message| Some((message.deadline()?, message.id)))
            .filter(|(deadline, _)| *deadline <= now)
            .collect();
        overdue.sort_unstable();
        overdue
            .into_iter()
            .take(limit)
            .filter_map(|(_, id)| self.apply(id, &Event::DeadlinePassed, now))
            .collect()
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
