//! What channels report: committed first, then acknowledged, counted and told.
//!
//! Events are taken as many as there are and committed together; while one group is being synced
//! the next one gathers. Nothing is acknowledged to a carrier, and no permit goes home, before the
//! commit that justifies it.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Engine;
use crate::channel::{Ack, ChannelEvent, SegmentOutcome};
use crate::domain::event::Rejection;
use crate::domain::id::{ChannelId, InboundId};
use crate::domain::inbound::Inbound;
use crate::domain::message::{Token, WaitReason};
use crate::domain::msisdn;
use crate::store::{ReceiptReport, Receiving, Report, TakenIn};

/// Most events of one commit.
const GROUP: usize = 128;

/// One group of events, sorted by what the store does with them.
#[derive(Default)]
struct Group {
    reports: Vec<Report>,
    /// Messages that are no longer under way once the reports are committed.
    landed: Vec<Token>,
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
                group.landed.push(token);
                group.reports.push(Report::GivenBack {
                    token,
                    why: WaitReason::NoChannelUp,
                });
            }
            ChannelEvent::Receipt {
                account,
                channel,
                reference,
                handset,
                receipt,
                ack,
            } => {
                group.receipts.push(ReceiptReport {
                    account,
                    reference,
                    handset,
                    receipt,
                });
                group.receipt_acks.push((channel, ack));
            }
            ChannelEvent::Inbound {
                channel,
                account,
                from,
                to,
                text,
                part,
                ack,
            } => {
                self.metrics.inbound.increment(1);
                let (now, rules) = (self.clock.now(), self.rules());
                // Opt-outs go by number: written one way, whichever way the carrier has.
                let number = msisdn::of_sender(&from, &rules.default_country);
                let from = number.map_or(from, |number| number.to_string());
                group.inbound.push(Inbound {
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
                });
                group.inbound_acks.push(ack);
            }
        }
    }

    fn sort_segment(
        &self,
        token: Token,
        segment: u16,
        outcome: SegmentOutcome,
        took: std::time::Duration,
        group: &mut Group,
    ) {
        let landed = match &outcome {
            SegmentOutcome::Accepted(_) => self.flights.segment_accepted(token),
            SegmentOutcome::Rejected(_) | SegmentOutcome::Unknown(_) => true,
        };
        // Not known for a late answer, to a message that is no longer under way.
        let channel = self.flights.channel(token);
        if landed {
            group.landed.push(token);
        }
        match outcome {
            SegmentOutcome::Accepted(reference) => {
                if let Some((account, channel)) = channel {
                    self.metrics.submitted(channel.as_str(), took);
                    self.rests.took(&account, self.clock.now());
                }
                group.reports.push(Report::Accepted {
                    token,
                    segment,
                    reference,
                });
            }
            SegmentOutcome::Rejected(rejection) => {
                if let (Rejection::Throttled(_), Some((account, _))) = (&rejection, &channel) {
                    self.metrics.throttled.increment(1);
                    let pause =
                        self.rests
                            .throttle(account, self.clock.now(), self.random.fraction());
                    if let Some(pause) = pause {
                        tracing::warn!(%account, pause_ms = pause.as_millis(), "carrier_throttles");
                    }
                }
                group.reports.push(Report::Rejected { token, rejection });
            }
            SegmentOutcome::Unknown(doubt) => {
                self.metrics.in_doubt.increment(1);
                group.reports.push(Report::Unknown {
                    token,
                    segment,
                    doubt,
                });
            }
        }
    }

    async fn commit(&self, group: Group) {
        let now = self.clock.now();
        let Group {
            reports,
            landed,
            receipts,
            receipt_acks,
            inbound,
            inbound_acks,
        } = group;
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
        let (reported, received, taken_in) = tokio::join!(reported, received, taken_in);
        match reported {
            Ok(changes) => {
                for change in changes.into_iter().flatten() {
                    self.publish(&change);
                }
            }
            Err(error) => tracing::error!(%error, "reports_not_stored"),
        }
        for token in landed {
            self.flights.end(token);
        }
        self.bells.dispatcher.notify_one();
        match received {
            Ok(results) => {
                for (result, (channel, ack)) in results.into_iter().zip(receipt_acks) {
                    match result {
                        Receiving::Matched(change) => self.publish(&change),
                        Receiving::Duplicate => {}
                        Receiving::Parked => self.metrics.unmatched(channel.as_str()),
                    }
                    ack.taken();
                }
            }
            Err(error) => {
                tracing::error!(%error, "receipts_not_stored");
                receipt_acks.into_iter().for_each(|(_, ack)| ack.not_now());
            }
        }
        match taken_in {
            Ok(taken) => {
                self.publish_received(taken);
                inbound_acks.into_iter().for_each(Ack::taken);
            }
            Err(error) => {
                tracing::error!(%error, "inbound_not_stored");
                inbound_acks.into_iter().for_each(Ack::not_now);
            }
        }
    }
}
