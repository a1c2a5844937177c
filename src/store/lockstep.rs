//! The model test: random operations on a memory store, a sled store and a model that is nothing but
//! a map of messages, looked through from end to end and changed by the domain alone. All three must
//! answer alike at every step and hold the same records; then the stores are closed, checked, opened
//! again, and must still hold the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::conformance::{World, accepted, all, claimant, keyed, shop, token};
use super::{
    Accepted, Change, Claimant, Reach, ReceiptReport, Receiving, Report, Settled, Store, StoreError,
};
use crate::clock::Random;
use crate::domain::event::{Event, Rejection};
use crate::domain::fixtures::{at, batch_id, in_parts, lane, lease, message, number, policy};
use crate::domain::id::{Account, MessageId};
use crate::domain::message::{
    Attempt, Doubt, Happening, Message, Progress, State, Token, WaitReason, What,
};
use crate::domain::msisdn::Msisdn;
use crate::domain::policy::{OnDoubt, Policy};
use crate::domain::receipt::{Known, Receipt, ReceiptState, canonical_reference, reference_forms};
use crate::domain::time::Timestamp;

mod optouts;

/// Message, attempt and segment that a reference stands for.
type Bound = (MessageId, u16, u16);

/// What the model remembers: no index, no order, no second record of anything.
struct Model {
    rules: Policy,
    messages: BTreeMap<MessageId, Message>,
    /// Accepted submissions by key: body and ids.
    keys: BTreeMap<u8, (u8, Vec<MessageId>)>,
    /// The bindings of each reference of an account: newest first, one for each recipient.
    bound: BTreeMap<(Account, String), Vec<Bound>>,
    /// With the time since when something is parked under its reference.
    parked: Vec<(ReceiptReport, Timestamp)>,
    /// Claims so far in the lane, for the fair tenth.
    taken: u64,
    /// Past their validity when it was their turn: out of the lane until the reaper ends them.
    over: Vec<MessageId>,
    /// What was due when a life ended with claims in force: any of it may have left.
    suspects: BTreeSet<MessageId>,
    /// Those of it whose claim only memory held: they must say so when they leave again.
    doubtful: BTreeSet<MessageId>,
    /// Told and not yet taken by the receiver: message and revision.
    outbox: Vec<(MessageId, u32)>,
    /// Numbers that have opted out.
    opted_out: BTreeSet<Msisdn>,
}

impl Model {
    fn apply(&mut self, id: MessageId, event: &Event, now: Timestamp) -> Option<Message> {
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

    fn accept(
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
    fn within(&self, message: &Message, by: &Claimant) -> bool {
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
    fn claim(
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

    fn report(&mut self, report: &Report, now: Timestamp) -> Option<Message> {
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

    fn tell(
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
    fn receive(&mut self, report: &ReceiptReport, now: Timestamp) -> Result<Message, bool> {
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

    fn is_unanswered(&self, handset: Msisdn, account: &Account) -> bool {
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
        latest.take(20).any(unanswered)
    }

    fn time_out(&mut self, now: Timestamp, limit: usize) -> Vec<Message> {
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
    fn restart(&mut self, before_claim: &BTreeMap<MessageId, Message>, now: Timestamp) {
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
    fn due(&self) -> Vec<(MessageId, u32)> {
        let mut heads = BTreeMap::new();
        for (id, revision) in &self.outbox {
            heads.entry(*id).or_insert(*revision);
        }
        heads.into_iter().collect()
    }
}

/// One seed, one story.
struct Run {
    random: Random,
    now: u64,
    next: u64,
    model: Model,
    /// As they were before a claim that only memory holds.
    before_claim: BTreeMap<MessageId, Message>,
    tokens: Vec<(Message, u16)>,
    references: Vec<String>,
}

impl Run {
    fn pick(&self, below: u64) -> u64 {
        u64::from_be_bytes(self.random.bytes()) % below
    }

    fn instant(&self) -> Timestamp {
        at(0) + Duration::from_millis(self.now)
    }

    fn fresh(&mut self) -> Message {
        self.next += 1;
        let parts = usize::try_from(self.pick(6).saturating_sub(3)).unwrap();
        let n = self.now * 64 + self.next;
        let mut message = if parts < 2 {
            message(n)
        } else {
            in_parts(n, parts)
        };
        let now = self.instant();
        message.id = MessageId::new(now, crate::domain::fixtures::random(self.next));
        message.to = number(self.pick(5));
        message.created_at = now;
        message.updated_at = now;
        message.expires_at = now + Duration::from_secs(60 + self.pick(2000));
        message.priority = u8::try_from(self.pick(4)).unwrap();
        message.on_doubt = [None, Some(OnDoubt::Fail)][usize::from(self.pick(4) == 0)];
        message.webhook_url = (self.pick(2) == 0).then(|| "https://a.example/".to_owned());
        message.state = State::Waiting {
            due_at: now + Duration::from_secs(self.pick(3) * 20),
            why: WaitReason::Accepted,
        };
        message
    }

    /// One of two accounts, with all that it may take or less, or with what another one left.
    fn claimant(&self, now: Timestamp) -> Claimant {
        let accounts = ["a", "b"];
        let one = accounts[usize::from(self.pick(3) == 0)];
        let reach = match self.pick(6) {
            0 => Reach::pinned(&one.into()),
            1 => Reach {
                free: true,
                pinned: accounts.map(Account::from).to_vec(),
            },
            _ => Reach::of(&one.into()),
        };
        Claimant {
            reach,
            in_line: self.now % 200_000 < 100_000,
            ..claimant(one, now)
        }
    }

    fn report(&mut self) -> Option<Report> {
        let index = self.pick(u64::try_from(self.tokens.len()).unwrap().max(1));
        let (message, segment) = self.tokens.get_mut(usize::try_from(index).unwrap())?;
        let message = message.clone();
        let token: Token = token(&message);
        let next = *segment;
        let parts = u16::try_from(message.parts()).unwrap();
        Some(match self.pick(10) {
            0 => Report::Rejected {
                token,
                rejection: match self.pick(3) {
                    0 => Rejection::Permanent("p".to_owned()),
                    1 => Rejection::Temporary("t".to_owned()),
                    _ => Rejection::Throttled("s".to_owned()),
                },
            },
            1 if self.pick(4) == 0 => Report::RefusedLate {
                token,
                segment: next.min(parts - 1),
                rejection: match self.pick(4) {
                    0 => Rejection::Permanent("p".to_owned()),
                    1 => Rejection::Temporary("t".to_owned()),
                    2 => Rejection::Account("a".to_owned()),
                    _ => Rejection::Throttled("s".to_owned()),
                },
            },
            1 => Report::Unknown {
                token,
                segment: next.min(parts - 1),
                doubt: Doubt::Timeout,
            },
            2 => Report::GivenBack {
                token,
                why: WaitReason::NoChannelUp,
            },
            _ => {
                let segment = next.min(parts - 1);
                self.tokens[usize::try_from(index).unwrap()].1 = next + 1;
                // Ids that differ in their writing, and now and then one that a receipt came for.
                let reference = if self.pick(4) == 0 {
                    self.reference()
                } else {
                    format!("{:08X}", 0x1000 + self.next * 16 + self.pick(16))
                };
                self.references.push(reference.clone());
                accepted(&message, segment, &reference)
            }
        })
    }

    fn reference(&self) -> String {
        let known = u64::try_from(self.references.len()).unwrap();
        if known == 0 || self.pick(8) == 0 {
            return format!("{}", 4096 + self.pick(64));
        }
        let one = &self.references[usize::try_from(self.pick(known)).unwrap()];
        match self.pick(3) {
            0 => one.to_ascii_lowercase(),
            1 => canonical_reference(one),
            _ => one.clone(),
        }
    }

    fn receipt(&self) -> ReceiptReport {
        const STATES: [ReceiptState; 5] = [
            ReceiptState::Enroute,
            ReceiptState::Delivered,
            ReceiptState::Delivered,
            ReceiptState::Expired,
            ReceiptState::Undeliverable,
        ];
        let account = ["a", "b"][usize::from(self.pick(4) == 0)].into();
        let reference = self.reference();
        ReceiptReport {
            handset: (self.pick(2) == 0).then(|| number(self.pick(5))),
            ..ReceiptReport::new(
                account,
                reference,
                Receipt::of(STATES[usize::try_from(self.pick(5)).unwrap()]),
            )
        }
    }

    /// A claim that must not repeat is on the disk at once; another from the next report on.
    fn note_claims(&mut self, claimed: &[Message], before: &BTreeMap<MessageId, Message>) {
        for message in claimed {
            if message.on_doubt != Some(OnDoubt::Fail) {
                self.before_claim
                    .insert(message.id, before[&message.id].clone());
            }
            self.tokens.push((message.clone(), 0));
        }
    }

    fn written(&mut self, id: MessageId) {
        self.before_claim.remove(&id);
    }

    /// One random operation on the model and on every store; their answers must be alike.
    async fn step(&mut self, stores: &[Arc<dyn Store>]) {
        self.now += self.pick(30_000);
        let now = self.instant();
        match self.pick(14) {
            0..=2 => {
                let count = 1 + self.pick(4);
                let mut messages: Vec<_> = (0..count).map(|_| self.fresh()).collect();
                if count > 1 {
                    let batch = Some(batch_id(self.next));
                    messages.iter_mut().for_each(|m| m.batch = batch);
                }
                let key = u8::try_from(self.pick(256)).unwrap();
                let body = u8::try_from(self.pick(2)).unwrap();
                let expected = self.model.accept(&messages, key, body, now);
                for store in stores {
                    let answer = store.accept(keyed(messages.clone(), key, body)).await;
                    assert_eq!(answer, expected);
                }
            }
            3 | 4 => {
                let before = self.model.messages.clone();
                let limit = usize::try_from(1 + self.pick(5)).unwrap();
                let by = self.claimant(now);
                let mut answers = Vec::new();
                for store in stores {
                    let by = by.clone();
                    answers.push(store.claim(&lane("orange"), by, limit, now).await.unwrap());
                }
                let doubt = Happening {
                    at: now,
                    what: What::Doubt(Doubt::LeaseLost),
                };
                let marked = answers[0].messages.iter();
                let marked = marked.filter(|message| message.events.contains(&doubt));
                let marked = marked.map(|message| message.id).collect();
                let expected = self.model.claim(&by, limit, &marked, now);
                for answer in answers {
                    let ids = |some: &[Message]| some.iter().map(|m| m.id).collect::<Vec<_>>();
                    assert_eq!(ids(&answer.messages), ids(&expected));
                    assert_eq!(answer.messages, expected);
                }
                self.note_claims(&expected, &before);
            }
            5..=7 => {
                let Some(report) = self.report() else {
                    return;
                };
                let expected = self.model.report(&report, now);
                if expected.is_some() {
                    self.written(report.token().message);
                }
                for store in stores {
                    let answer = store.report(vec![report.clone()], now).await.unwrap();
                    assert_eq!(changed(answer[0].as_ref()), expected, "{report:?}");
                }
            }
            8 => {
                let receipt = self.receipt();
                let expected = self.model.receive(&receipt, now);
                if let Ok(message) = &expected {
                    self.written(message.id);
                }
                for store in stores {
                    let mut answer = store.receive(vec![receipt.clone()], now).await.unwrap();
                    let answer = match answer.remove(0) {
                        Receiving::Matched(change, _) => Ok((*change.message).clone()),
                        Receiving::Duplicate => Err(false),
                        Receiving::Parked => Err(true),
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(answer, expected, "{receipt:?}");
                }
            }
            9 => {
                let limit = usize::try_from(1 + self.pick(4)).unwrap();
                let expected = self.model.time_out(now, limit);
                for message in &expected {
                    self.written(message.id);
                }
                for store in stores {
                    let answer = store.time_out(now, limit).await.unwrap();
                    let answer: Vec<_> = answer.iter().map(|c| (*c.message).clone()).collect();
                    assert_eq!(answer, expected);
                }
            }
            10 => {
                let known: Vec<_> = self.model.messages.keys().copied().collect();
                if known.is_empty() {
                    return;
                }
                let index = self.pick(u64::try_from(known.len()).unwrap());
                let id = known[usize::try_from(index).unwrap()];
                let expected = self.model.apply(id, &Event::Cancelled, now);
                for store in stores {
                    let answer = store.cancel(&shop(), id, now).await;
                    assert_eq!(changed(answer.as_ref().ok()), expected);
                }
            }
            11 => self.opt_out(stores, now).await,
            12 => self.opt_in(stores).await,
            _ => {
                let expected = self.model.due();
                for store in stores {
                    let due = store.outbox_due(now, 1000, &[]).await.unwrap().deliveries;
                    let mut told = Vec::new();
                    let mut settled = Vec::new();
                    for delivery in &due {
                        match &delivery.event {
                            super::OutboxEvent::Message(m) => told.push((m.id, m.revision)),
                            super::OutboxEvent::Inbound(_) => panic!("nobody wrote"),
                        }
                        settled.push((delivery.seq, Settled::Done));
                    }
                    told.sort_unstable();
                    assert_eq!(told, expected);
                    store.outbox_settle(settled).await.unwrap();
                }
                self.model.outbox.retain(|entry| !expected.contains(entry));
            }
        }
    }

    /// Every record and figure of every store is the model's.
    async fn compare(&self, stores: &[Arc<dyn Store>]) {
        let messages = &self.model.messages;
        let live = messages.values().filter(|m| !m.status().is_final());
        let live = u64::try_from(live.count()).unwrap();
        let deadline = messages.values().filter_map(Message::deadline).min();
        for store in stores {
            let mut found = store.find(all()).await.unwrap().items;
            found.reverse();
            assert!(found.iter().eq(messages.values()), "the records differ");
            let gauges = store.gauges(self.instant());
            assert_eq!(gauges.live, live);
            assert_eq!(
                gauges.outbox,
                u64::try_from(self.model.outbox.len()).unwrap()
            );
            assert_eq!(store.next_deadline(), deadline);
        }
    }
}

fn changed(change: Option<&Change>) -> Option<Message> {
    change.map(|change| (*change.message).clone())
}

/// Plays one seed on some worlds: steps, compares, and starts again in the middle and at the end.
async fn play(seed: u64, worlds: &[World]) {
    let mut run = Run {
        random: Random::seeded(seed),
        now: 0,
        next: 0,
        model: Model {
            rules: policy(),
            messages: BTreeMap::new(),
            keys: BTreeMap::new(),
            bound: BTreeMap::new(),
            parked: Vec::new(),
            taken: 0,
            over: Vec::new(),
            suspects: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            outbox: Vec::new(),
            opted_out: BTreeSet::new(),
        },
        before_claim: BTreeMap::new(),
        tokens: Vec::new(),
        references: Vec::new(),
    };
    let mut stores: Vec<_> = worlds.iter().map(|world| world.open(at(0))).collect();
    for step in 1..=100 {
        run.step(&stores).await;
        if step % 10 == 0 {
            run.compare(&stores).await;
        }
        if step % 50 == 0 {
            let now = run.instant();
            let before = std::mem::take(&mut run.before_claim);
            run.model.restart(&before, now);
            let mut again = Vec::new();
            for (world, store) in worlds.iter().zip(stores) {
                again.push(world.reopen(store, now).await);
            }
            stores = again;
            run.compare(&stores).await;
        }
    }
    for (world, store) in worlds.iter().zip(stores) {
        world.finish(store).await;
    }
}

/// Says which seed it was if the story of one ends badly.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.0);
        }
    }
}

#[tokio::test]
async fn memory_and_the_model_agree_over_random_operations() {
    for seed in 0..300 {
        let _seed = Seed(seed);
        play(seed, &[World::memory()]).await;
    }
}

#[tokio::test]
async fn sled_memory_and_the_model_agree_over_random_operations() {
    for seed in 1000..1020 {
        let _seed = Seed(seed);
        play(seed, &[World::memory(), World::sled()]).await;
    }
}
