//! What channels report: committed first, then acknowledged, counted and told.
//!
//! Events are taken as many as there are and committed together; while one group is being synced
//! the next one gathers. Nothing is acknowledged to a carrier, no permit goes home, and no further
//! part of a message is sent, before the commit that justifies it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Engine;
use super::accounts::Answer;
use super::flights::Onward;
use crate::channel::{Ack, ChannelEvent, SegmentOutcome};
use crate::domain::chain;
use crate::domain::event::Rejection;
use crate::domain::id::{Account, ChannelId, InboundId};
use crate::domain::inbound::Inbound;
use crate::domain::message::{Doubt, Token, WaitReason};
use crate::domain::msisdn;
use crate::domain::privacy::Erased;
use crate::domain::time::Timestamp;
use crate::store::{Change, ReceiptReport, Receiving, Report, Spending, StoreError, TakenIn};

/// Most events of one commit.
const GROUP: usize = 128;

/// One group of events, sorted by what the store does with them.
#[derive(Default)]
struct Group {
    reports: Vec<Report>,
    spendings: Vec<Spending>,
    receipts: Vec<ReceiptReport>,
    receipt_acks: Vec<(ChannelId, Ack)>,
    inbound: Vec<Inbound>,
    inbound_acks: Vec<Ack>,
}

/// Runs until every channel is gone.
pub(super) async fn run(engine: Arc<Engine>, mut events: mpsc::Receiver<ChannelEvent>) {
    let mut taken = Vec::with_capacity(GROUP);
    while events.recv_many(&mut taken, GROUP).await > 0 {
        let mut group = Group::default();
        for event in taken.drain(..) {
            engine.sort(event, &mut group);
        }
        engine.commit(group).await;
    }
}

impl Engine {
    fn sort(&self, event: ChannelEvent, group: &mut Group) {
        match event {
            ChannelEvent::Segment {
                token,
                segment,
                outcome,
                took,
            } => {
                self.sort_segment(token, segment, outcome, took, group);
            }
            ChannelEvent::Returned { token } => {
                if let Some((account, _)) = self.flights.channel(token) {
                    self.accounts.returned(&account);
                }
                self.budgets.give_back(token);
                group.reports.push(Report::GivenBack {
                    token,
                    why: WaitReason::NoChannelUp,
                });
            }
            ChannelEvent::Receipt {
                account,
                channel,
                reference,
                other,
                handset,
                receipt,
                taken,
                ack,
            } => {
                group.receipt_acks.push((channel, ack));
                group.receipts.push(ReceiptReport {
                    account,
                    reference,
                    other,
                    handset,
                    receipt,
                    taken,
                    otherwise: None,
                });
            }
            ChannelEvent::Inbound {
                channel,
                account,
                from,
                to,
                text,
                part,
                receipt,
                fingerprint,
                ack,
            } => {
                let (now, rules) = (self.clock.now(), self.rules());
                // Opt-outs go by number: written one way, whichever way the carrier has.
                let number = msisdn::of_sender(&from, &rules.default_country);
                let from = number.map_or(from, |number| number.to_string());
                let inbound = Inbound {
                    id: InboundId::new(now, self.random.bytes()),
                    tenant: rules.inbound.tenant(&account),
                    account,
                    channel,
                    from,
                    to,
                    text,
                    part,
                    received_at: now,
                    keyword: None,
                    incomplete: false,
                    erased: Erased::default(),
                    fingerprint,
                };
                let Some(reported) = receipt else {
                    self.metrics.inbound.increment(1);
                    group.inbound.push(inbound);
                    group.inbound_acks.push(ack);
                    return;
                };
                // The store knows whether the id is one of ours.
                group.receipt_acks.push((inbound.channel.clone(), ack));
                group.receipts.push(ReceiptReport {
                    account: inbound.account.clone(),
                    reference: reported.reference,
                    other: reported.other,
                    handset: reported.handset,
                    receipt: reported.receipt,
                    taken: None,
                    otherwise: Some(Box::new(inbound)),
                });
            }
        }
    }

    fn sort_segment(
        &self,
        token: Token,
        segment: u16,
        outcome: SegmentOutcome,
        took: Duration,
        group: &mut Group,
    ) {
        // Not known for a late answer, to a message that is no longer under way.
        let channel = self.flights.channel(token);
        group
            .spendings
            .extend(self.budgets.spend(token, self.clock.now()));
        match outcome {
            SegmentOutcome::Accepted(reference) => {
                if let Some((account, channel)) = channel {
                    self.metrics.submitted(channel.as_str(), took);
                    self.learn(&account, token, &Answer::Taken, took);
                }
                group.reports.push(Report::Accepted {
                    token,
                    segment,
                    reference,
                });
            }
            SegmentOutcome::Delivered => {
                if let Some((_, channel)) = channel {
                    self.metrics.submitted(channel.as_str(), took);
                }
                group.reports.push(Report::Delivered {
                    token,
                    segment,
                    reference: String::new(),
                });
            }
            SegmentOutcome::Rejected(rejection) => {
                // What one app or mailbox answers says nothing about the way to the others.
                if let Some((account, _)) = &channel
                    && !chain::is_relay(account)
                {
                    let answer = match &rejection {
                        Rejection::Permanent(code) | Rejection::NumberInvalid(code) => {
                            Answer::Judged(code.clone())
                        }
                        Rejection::Temporary(code) => Answer::Failed(code.clone()),
                        Rejection::Account(code) => Answer::Refused(code.clone()),
                        Rejection::Throttled(code) => {
                            self.metrics.throttled.increment(1);
                            Answer::TooMuch(code.clone())
                        }
                    };
                    self.learn(account, token, &answer, took);
                }
                group.reports.push(Report::Rejected { token, rejection });
            }
            SegmentOutcome::RefusedLate(rejection) => {
                group.reports.push(Report::RefusedLate {
                    token,
                    segment,
                    rejection,
                });
            }
            SegmentOutcome::Unknown(doubt) => {
                if let Some((account, channel)) = &channel {
                    self.metrics.in_doubt(channel.as_str());
                    match doubt {
                        _ if chain::is_relay(account) => {}
                        Doubt::Disconnected => self.accounts.lost(account, token.message, took),
                        Doubt::Timeout | Doubt::LeaseLost => {
                            let answer = Answer::Failed("no answer".to_owned());
                            self.learn(account, token, &answer, took);
                        }
                    }
                }
                group.reports.push(Report::Unknown {
                    token,
                    segment,
                    doubt,
                });
            }
        }
    }

    /// What an answer says about the account that it came over.
    fn learn(&self, account: &Account, token: Token, answer: &Answer, took: Duration) {
        let chance = self.random.fraction();
        self.accounts
            .answered(account, token.message, answer, took, chance);
    }

    async fn commit(&self, group: Group) {
        let now = self.clock.now();
        let Group {
            reports,
            spendings,
            receipts,
            receipt_acks,
            inbound,
            inbound_acks,
        } = group;
        let fates: Vec<Fate> = reports.iter().map(Fate::of).collect();
        let spent = async {
            if spendings.is_empty() {
                Ok(())
            } else {
                self.store.spend(spendings).await
            }
        };
        let reported = async {
            if reports.is_empty() {
                Ok(Vec::new())
            } else {
                self.store.report(reports, now).await
            }
        };
        let received = async {
            if receipts.is_empty() {
                Ok(Vec::new())
            } else {
                self.store.receive(receipts, now).await
            }
        };
        let taken_in = async {
            if inbound.is_empty() {
                Ok(TakenIn::default())
            } else {
                self.store.take_in(inbound).await
            }
        };
        // In this order: what is answered and durable is never without what it has cost.
        let (spent, reported, received, taken_in) =
            tokio::join!(biased; spent, reported, received, taken_in);
        if let Err(error) = spent {
            self.not_stored(&error, "spendings");
        }
        match reported {
            Ok(changes) => self.move_on(fates, changes, now).await,
            Err(error) => {
                self.not_stored(&error, "reports");
                fates.iter().for_each(|fate| self.flights.end(fate.token()));
            }
        }
        self.bells.dispatcher.notify_one();
        match received {
            Ok(results) => {
                for (result, (channel, ack)) in results.into_iter().zip(receipt_acks) {
                    match result {
                        Receiving::Matched(change, _) => self.publish(&change),
                        Receiving::Duplicate => {}
                        Receiving::Parked | Receiving::Nameless => {
                            self.metrics.unmatched(channel.as_str());
                        }
                        Receiving::TakenIn(taken) => {
                            self.metrics.inbound.increment(1);
                            self.publish_received(taken);
                        }
                    }
                    ack.taken();
                }
            }
            Err(error) => {
                self.not_stored(&error, "receipts");
                receipt_acks.into_iter().for_each(|(.., ack)| ack.not_now());
            }
        }
        match taken_in {
            Ok(taken) => {
                self.publish_received(taken);
                inbound_acks.into_iter().for_each(Ack::taken);
            }
            Err(error) => {
                self.not_stored(&error, "inbound");
                inbound_acks.into_iter().for_each(Ack::not_now);
            }
        }
    }

    /// Tells what reports have changed, and sends each message under way on, or home.
    async fn move_on(&self, fates: Vec<Fate>, changes: Vec<Option<Change>>, now: Timestamp) {
        let mut stranded = Vec::new();
        for (fate, change) in fates.into_iter().zip(changes) {
            if let Some(change) = &change {
                self.publish(change);
            }
            match fate {
                Fate::Ended(token) => self.flights.end(token),
                Fate::PartAccepted(token) => {
                    let message = change.as_ref().map(|change| &*change.message);
                    if self.flights.go_on(token, message, now) == Onward::Stranded {
                        stranded.push(token);
                    }
                }
            }
        }
        if stranded.is_empty() {
            return;
        }
        let given_back = |token: &Token| Report::GivenBack {
            token: *token,
            why: WaitReason::NoChannelUp,
        };
        let reports = stranded.iter().map(given_back).collect();
        match self.store.report(reports, now).await {
            Ok(changes) => changes
                .iter()
                .flatten()
                .for_each(|change| self.publish(change)),
            Err(error) => self.not_stored(&error, "reports"),
        }
        for token in stranded {
            self.flights.end(token);
        }
    }

    /// A store that has turned itself off has said so once: carriers repeat their receipts for as long as it lasts.
    fn not_stored(&self, error: &StoreError, what: &str) {
        if self.store.unhealthy().is_some() {
            tracing::debug!(%error, what, "not_stored");
        } else {
            tracing::error!(%error, what, "not_stored");
        }
    }
}

/// What a report means for the flight that it speaks of.
enum Fate {
    /// There may be more of it to send.
    PartAccepted(Token),
    /// It is over.
    Ended(Token),
}

impl Fate {
    fn of(report: &Report) -> Self {
        match report {
            Report::Accepted { token, .. } => Self::PartAccepted(*token),
            Report::Delivered { token, .. }
            | Report::Told { token, .. }
            | Report::Rejected { token, .. }
            | Report::RefusedLate { token, .. }
            | Report::Unknown { token, .. }
            | Report::GivenBack { token, .. } => Self::Ended(*token),
        }
    }

    const fn token(&self) -> Token {
        match self {
            Self::PartAccepted(token) | Self::Ended(token) => *token,
        }
    }
}
