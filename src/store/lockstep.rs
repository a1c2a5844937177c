//! The model test: random operations on a memory store, a sled store and a model that is nothing but
//! a map of messages, looked through from end to end and changed by the domain alone. All three must
//! answer alike at every step and hold the same records; then the stores are closed, checked, opened
//! again, and must still hold the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::conformance::{World, accepted, all, claimant, keyed, shop, token};
use super::writings::Writings;
use super::{
    Accepted, Change, Claimant, Reach, ReceiptReport, Receiving, Report, Settled, Spending, Store,
    StoreError,
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
use crate::domain::receipt::{
    IdWriting, Known, Receipt, ReceiptState, answered_forms, canonical_reference, is_long,
    reads_alike, reference_forms,
};
use crate::domain::time::Timestamp;

mod model;
mod optouts;
mod plans;
mod sims;

use model::Model;
use sims::{looked_at_after, sim_s, space};

/// How long texts are kept in a story.
const TEXTS_KEPT: Duration = Duration::from_mins(5);

/// A world that keeps texts for so long.
fn forgetful(mut world: World) -> World {
    world.keeping.retention.texts = TEXTS_KEPT;
    world
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
    /// Status reports so far, for repetitions.
    reports: Vec<ReceiptReport>,
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

    /// One of two accounts or a modem, with all that it may take or less, or with what another one
    /// left.
    fn claimant(&self, now: Timestamp) -> Claimant {
        let accounts = ["a", "b", "m"];
        let one = accounts[[0, 0, 1, 2, 2][usize::try_from(self.pick(5)).unwrap()]];
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
            only_to: (self.pick(4) == 0).then(|| Arc::new([number(self.pick(5))].into())),
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
        let by_modem = matches!(&message.state, State::Leased(it) if it.account == "m".into());
        // Modems fall silent oftener than carriers do.
        let what = match self.pick(10) {
            6 if by_modem => 1,
            what => what,
        };
        Some(match what {
            0 => Report::Rejected {
                token,
                rejection: match self.pick(3) {
                    0 => Rejection::Permanent("p".to_owned()),
                    1 => Rejection::Temporary("t".to_owned()),
                    _ => Rejection::Throttled("s".to_owned()),
                },
            },
            1 if self.pick(4) == 0 && !by_modem => Report::RefusedLate {
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
                if by_modem {
                    let reference = self.answer_of_sim(message.to);
                    return Some(accepted(&message, segment, &reference));
                }
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

    fn state(&self) -> ReceiptState {
        const STATES: [ReceiptState; 5] = [
            ReceiptState::Enroute,
            ReceiptState::Delivered,
            ReceiptState::Delivered,
            ReceiptState::Expired,
            ReceiptState::Undeliverable,
        ];
        STATES[usize::try_from(self.pick(5)).unwrap()]
    }

    fn receipt(&mut self) -> ReceiptReport {
        if self.pick(2) == 0 {
            return self.report_of_sim();
        }
        let account = ["a", "b"][usize::from(self.pick(4) == 0)].into();
        let reference = self.reference();
        ReceiptReport {
            handset: (self.pick(2) == 0).then(|| number(self.pick(5))),
            ..ReceiptReport::new(account, reference, Receipt::of(self.state()))
        }
    }

    /// A claim that must not repeat is on the disk at once, as is a modem's; another from the next
    /// report on.
    fn note_claims(&mut self, claimed: &[Message], before: &BTreeMap<MessageId, Message>) {
        for message in claimed {
            let by_modem = matches!(&message.state, State::Leased(it) if it.account == "m".into());
            if message.on_doubt == Some(OnDoubt::Fail) || by_modem {
                self.before_claim.remove(&message.id);
            } else {
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
        match self.pick(21) {
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
            8 | 9 => {
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
            10 => {
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
            11 => {
                let known: Vec<_> = self.model.messages.keys().copied().collect();
                if known.is_empty() {
                    return;
                }
                let index = self.pick(u64::try_from(known.len()).unwrap());
                let id = known[usize::try_from(index).unwrap()];
                let mut answers = Vec::new();
                for store in stores {
                    answers.push(changed(store.cancel(&shop(), id, now).await.as_ref().ok()));
                }
                // What may have left says so when it is withdrawn, if that matters to anybody.
                let marked = |it: &Message| it.maybe_duplicate;
                if answers[0].as_ref().is_some_and(marked) && self.model.suspects.contains(&id) {
                    self.model.apply(id, &Event::MayHaveLeft, now);
                }
                let expected = self.model.apply(id, &Event::Cancelled, now);
                assert!(answers.iter().all(|answer| *answer == expected));
            }
            12 => self.opt_out(stores, now).await,
            13 => self.opt_in(stores).await,
            14 => self.hear(stores).await,
            15 => self.spend(stores, now).await,
            16 => self.sweep(stores, now).await,
            17 | 18 => self.plan(stores, now).await,
            19 => self.change(stores, now).await,
            _ => {
                let expected = self.model.due();
                for store in stores {
                    let due = store.outbox_due(now, 1000, &[]).await.unwrap().deliveries;
                    let mut told = Vec::new();
                    let mut settled = Vec::new();
                    for delivery in &due {
                        match &delivery.event {
                            super::OutboxEvent::Message(m) => told.push((m.id, m.revision)),
                            _ => panic!("nobody listens"),
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

    /// Texts that are past keeping go: all that are due, but those that ended in the last moments
    /// before, which a sweep may leave for the next one.
    async fn sweep(&mut self, stores: &[Arc<dyn Store>], now: Timestamp) {
        for store in stores {
            while store.prune(now).await.unwrap() {}
        }
        let found = stores[0].find(all()).await.unwrap().items;
        for found in found.into_iter().filter(|it| it.status().is_final()) {
            let message = self.model.messages.get_mut(&found.id).unwrap();
            let age = now.since(message.updated_at);
            let was_erased = message.erased.text_at.is_some();
            if found.erased.text_at.is_some() {
                assert!(was_erased || age >= TEXTS_KEPT, "{} is too young", found.id);
                message.erase_text(now);
            } else {
                let id = found.id;
                assert!(age < TEXTS_KEPT + Duration::from_secs(1), "{id} is left");
            }
        }
    }

    /// A SIM sends what some account has in hand, or has had.
    async fn spend(&mut self, stores: &[Arc<dyn Store>], now: Timestamp) {
        let count = u64::try_from(self.tokens.len()).unwrap();
        let some = self
            .tokens
            .get(usize::try_from(self.pick(count.max(1))).unwrap());
        let Some((message, _)) = some else {
            return;
        };
        let spending = Spending {
            sim: ["208010123456789", "sim1"][usize::from(self.pick(2) == 0)].to_owned(),
            message: message.id,
            to: message.to,
            at: now,
        };
        for store in stores {
            store.spend(vec![spending.clone()]).await.unwrap();
        }
        let key = (spending.sim.clone(), spending.message);
        self.model.spendings.insert(key, spending);
    }

    /// Every record and figure of every store is the model's.
    async fn compare(&self, stores: &[Arc<dyn Store>]) {
        let messages = &self.model.messages;
        let live = messages.values().filter(|m| !m.status().is_final());
        let live = u64::try_from(live.count()).unwrap();
        let deadline = self.model.next_deadline();
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
            assert_eq!(gauges.orphans, self.model.unknown_references());
            assert_eq!(store.next_deadline(), deadline);
            let heard = store.inbound(&shop(), None, 1000).await.unwrap().items;
            assert_eq!(heard.len(), self.model.heard);
            for account in ["a", "b", "m", "n"].map(Account::from) {
                let learnt = self.model.writings.learnt(&account);
                assert_eq!(store.writing(&account), learnt);
            }
            let mut spendings = store.spendings();
            spendings.sort();
            assert!(spendings.iter().eq(self.model.spendings.values()));
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
            names: BTreeMap::new(),
            bound: BTreeMap::new(),
            sent: BTreeMap::new(),
            parked: Vec::new(),
            reconsidered: BTreeSet::new(),
            writings: Writings::default(),
            taken: 0,
            over: Vec::new(),
            suspects: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            outbox: Vec::new(),
            opted_out: BTreeSet::new(),
            shown: BTreeSet::new(),
            heard: 0,
            spendings: BTreeMap::new(),
        },
        before_claim: BTreeMap::new(),
        tokens: Vec::new(),
        references: Vec::new(),
        reports: Vec::new(),
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
        play(seed, &[forgetful(World::memory())]).await;
    }
}

#[tokio::test]
async fn sled_memory_and_the_model_agree_over_random_operations() {
    for seed in 1000..1020 {
        let _seed = Seed(seed);
        play(seed, &[World::memory(), World::sled()].map(forgetful)).await;
    }
}
