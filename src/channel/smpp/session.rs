//! A bound channel: requests under way, acknowledgements awaited, and how it ends.
//!
//! A request is one segment. It is written when it comes and ends with the one report about it, so
//! that nothing is kept here but the time since when each is unanswered. When told to stop, requests
//! are taken until every message under way has landed: by then nothing new is claimed, and what
//! still comes are the later parts of messages that have partly left.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::bind::{Bound, EsmeLink, Tag};
use super::deliver::Deliver;
use super::driver::Driver;
use super::encode;
use super::errors::{ESME_RINVBNDSTS, ESME_RINVCMDID, ESME_RMSGQFUL, ESME_ROK, ESME_RX_T_APPN};
use super::frame::Header;
use super::inbound;
use super::link::{Closed, LinkEvent, MAX_COMPLAINTS};
use super::receipt;
use super::{BindMode, MAX_UNACKNOWLEDGED};
use crate::channel::{
    Ack, AckVerdict, ChannelEvent, ChannelStatus, Reported, SegmentOutcome, SubmitRequest,
};
use crate::domain::event::Rejection;
use crate::domain::message::{Doubt, Token};

/// Longest wait for outstanding responses when the SMSC wants to end.
const DRAIN: Duration = Duration::from_secs(10);

/// The same when we stop or bind anew, where nobody is in a hurry: each answer that is not waited for is
/// a doubt, and perhaps a message twice.
const DRAIN_AT_LEISURE: Duration = Duration::from_secs(30);

/// Longest wait for the engine once nothing is unanswered: for its verdicts, and for the next part
/// of a message that has partly left.
const DRAIN_IDLE: Duration = Duration::from_secs(1);

/// Longest wait for `unbind_resp` and for the last octets to be written.
const GOODBYE: Duration = Duration::from_secs(2);

/// After this long without a verdict the engine has dropped the acknowledgement; its place is free
/// again, and the SMSC has given up waiting too.
const VERDICT_TIMEOUT: Duration = Duration::from_mins(1);

/// How a session ended.
pub(super) enum End {
    /// We were told to stop.
    Stopped,
    /// We were told to bind anew.
    Reset,
    /// For this reason.
    Lost(String),
}

/// Why a session takes nothing new any more.
#[derive(Clone, Copy)]
enum Leaving {
    /// We stop.
    Stop,
    /// We bind anew.
    Reset,
    /// The SMSC has sent an `unbind`, on the receiver of a pair if so said.
    Unbind { sequence: u32, receiver: bool },
    /// The receiver of a pair is lost; the transmitter still brings its answers.
    Half,
}

/// A request without an answer.
struct UnderWay {
    segment: u16,
    since: Duration,
}

pub(super) struct Session<'a> {
    driver: &'a mut Driver,
    submit: EsmeLink,
    receive: Option<EsmeLink>,
    /// True if the receiver of a pair was heard last: the other one goes first then.
    heard: bool,
    /// In order, so that what a lost session leaves is reported in the same order each time.
    under_way: BTreeMap<Token, UnderWay>,
    /// `deliver_sm` and `data_sm` without a verdict, by a number of our own: an SMSC may use one
    /// sequence number twice, and awaits two answers then.
    unacknowledged: HashMap<u32, Header>,
    /// The last of these numbers.
    last_delivery: u32,
    /// The same in order of arrival, to forget those that never get one.
    arrivals: VecDeque<(Duration, u32)>,
    /// Acknowledgements hold it weakly: they die with the session.
    verdict_sender: mpsc::Sender<AckVerdict>,
    leaving: Option<Leaving>,
    leave_by: Duration,
    /// Why the receiver of a pair is lost.
    half_lost: Option<Closed>,
    /// When leaving: until when to wait for the engine, if nothing is unanswered.
    idle_by: Duration,
    /// Whether requests are taken.
    open: bool,
    /// Receipts that named no message and were logged.
    nameless: u32,
}

impl<'a> Session<'a> {
    pub(super) fn new(bound: Bound, driver: &'a mut Driver) -> Self {
        // `run` replaces this sender; a session that never runs acknowledges nothing.
        let (verdict_sender, _) = mpsc::channel(1);
        Self {
            driver,
            submit: bound.submit,
            receive: bound.receive,
            heard: true,
            under_way: BTreeMap::new(),
            unacknowledged: HashMap::new(),
            last_delivery: 0,
            arrivals: VecDeque::new(),
            verdict_sender,
            leaving: None,
            leave_by: Duration::MAX,
            half_lost: None,
            idle_by: Duration::MAX,
            open: true,
            nameless: 0,
        }
    }

    /// Runs until the session is over. Whatever was under way has been reported then.
    pub(super) async fn run(mut self) -> End {
        let (verdict_sender, mut verdicts) = mpsc::channel(MAX_UNACKNOWLEDGED);
        self.verdict_sender = verdict_sender;
        let closed = loop {
            if self.leaving.is_some() && self.is_drained() {
                break None;
            }
            let leave_by = self.leave_by.min(self.idle_by);
            let waits = leave_by.saturating_sub(self.driver.clock.elapsed());
            // Verdicts and requests only append to what is to be written; it goes out in one
            // write when the link is polled, which comes last for that reason.
            tokio::select! {
                biased;
                () = self.driver.stop.cancelled(), if !matches!(self.leaving, Some(Leaving::Stop)) => {
                    self.leave(Leaving::Stop);
                }
                Ok(()) = self.driver.reset.changed(), if self.leaving.is_none() => {
                    self.leave(Leaving::Reset);
                }
                Some(verdict) = verdicts.recv() => self.acknowledge(verdict),
                Some(request) = self.driver.inbox.recv() => self.begin(request).await,
                () = all_home(&self.driver.window, self.driver.window_size),
                    if self.open && self.leaving.is_some() =>
                {
                    self.open = false;
                }
                (event, receiver) = next(&mut self.submit, self.receive.as_mut(), self.heard) => {
                    self.heard = receiver;
                    match event {
                        LinkEvent::Closed(why) if receiver => self.receiver_lost(why),
                        LinkEvent::Closed(why) => break Some(why),
                        event => self.take(event, receiver).await,
                    }
                }
                () = tokio::time::sleep(waits), if self.leaving.is_some() => {}
            }
        };
        self.doubt_what_is_under_way().await;
        match (closed, self.leaving) {
            (None, Some(Leaving::Unbind { sequence, receiver })) => {
                tracing::info!(channel = %self.driver.id, "unbound by SMSC");
                match (receiver, &mut self.receive) {
                    (true, Some(link)) => link.respond_unbind(sequence),
                    _ => self.submit.respond_unbind(sequence),
                }
                self.close(false).await;
                End::Lost("unbound by SMSC".to_owned())
            }
            (None, Some(Leaving::Half)) => {
                let why = self
                    .half_lost
                    .take()
                    .map_or_else(String::new, |why| why.to_string());
                self.close(true).await;
                End::Lost(format!("receiver: {why}"))
            }
            (None, Some(Leaving::Reset)) => {
                self.close(true).await;
                End::Reset
            }
            (None, _) => {
                self.close(true).await;
                End::Stopped
            }
            (Some(_), Some(Leaving::Stop)) => End::Stopped,
            (Some(why), _) => {
                if matches!(
                    why,
                    Closed::Malformed(_)
                        | Closed::Frame(_)
                        | Closed::Silent(_)
                        | Closed::Deaf(_)
                        | Closed::Stalled(_)
                ) {
                    self.close(false).await;
                }
                End::Lost(why.to_string())
            }
        }
    }

    /// Goes on with the transmitter of a pair alone until it has its answers: giving it up as well
    /// would make a doubt of every request under way. What the receiver brought comes again.
    fn receiver_lost(&mut self, why: Closed) {
        self.receive = None;
        self.unacknowledged.clear();
        self.arrivals.clear();
        self.half_lost = Some(why);
        if !matches!(self.leaving, Some(Leaving::Stop)) {
            self.leave(Leaving::Half);
        }
    }

    /// Writes the `submit_sm` of a request, or returns the request if none is taken.
    async fn begin(&mut self, request: SubmitRequest) {
        if !self.open {
            self.driver.give_back(&request).await;
            return;
        }
        let (token, segment) = (request.token, request.segment);
        let validity = request.expires_at.since(self.driver.clock.now());
        match encode::submit_sm(&self.driver.config, &request, validity) {
            Ok(pdu) => {
                let since = self.driver.clock.elapsed();
                self.under_way.insert(token, UnderWay { segment, since });
                self.submit.request(pdu, Tag::Submit { token, segment });
            }
            Err(error) => {
                let outcome = SegmentOutcome::Rejected(Rejection::Permanent(error.to_string()));
                self.report(token, segment, outcome, Duration::ZERO).await;
            }
        }
    }

    async fn take(&mut self, event: LinkEvent<Tag>, receiver: bool) {
        match event {
            LinkEvent::Answer {
                tag: Tag::Submit { token, segment },
                status,
                id,
                took,
                late,
                peer,
            } => {
                if peer.congestion.is_some() {
                    self.driver.peer.send_if_modified(|known| {
                        std::mem::replace(&mut known.congestion, peer.congestion) != peer.congestion
                    });
                }
                self.answered(token, segment, status, id, took, late).await;
            }
            LinkEvent::TimedOut {
                tag: Tag::Submit { token, segment },
                took,
            } => {
                self.under_way.remove(&token);
                tracing::warn!(channel = %self.driver.id, message_id = %token.message, "submit_sm unanswered");
                self.report(
                    token,
                    segment,
                    SegmentOutcome::Unknown(Doubt::Timeout),
                    took,
                )
                .await;
            }
            LinkEvent::Deliver { header, deliver } => {
                self.deliver(header, &deliver, receiver).await
            }
            LinkEvent::Request { header, .. } => {
                self.link(receiver).refuse(header, ESME_RINVCMDID);
            }
            LinkEvent::Unbind { sequence } => {
                if self.leaving.is_none() {
                    self.leave(Leaving::Unbind { sequence, receiver });
                } else {
                    self.link(receiver).respond_unbind(sequence);
                }
            }
            LinkEvent::Answer { tag: Tag::Bind, .. }
            | LinkEvent::TimedOut { tag: Tag::Bind, .. }
            | LinkEvent::Unbound
            | LinkEvent::Closed(_) => {}
        }
    }

    async fn answered(
        &mut self,
        token: Token,
        segment: u16,
        status: u32,
        id: String,
        took: Duration,
        late: bool,
    ) {
        let outcome = if status == ESME_ROK {
            SegmentOutcome::Accepted(id)
        } else {
            let rejection = self.driver.config.refusals.rejection(status);
            // The request ended when it timed out; either answer settles the doubt about it.
            if late {
                SegmentOutcome::RefusedLate(rejection)
            } else {
                SegmentOutcome::Rejected(rejection)
            }
        };
        if !late {
            self.under_way.remove(&token);
        }
        self.report(token, segment, outcome, took).await;
    }

    async fn report(
        &mut self,
        token: Token,
        segment: u16,
        outcome: SegmentOutcome,
        took: Duration,
    ) {
        self.driver
            .tell(ChannelEvent::Segment {
                token,
                segment,
                outcome,
                took,
            })
            .await;
    }

    async fn deliver(&mut self, header: Header, deliver: &Deliver, receiver: bool) {
        if self.driver.config.bind == BindMode::TransmitterReceiver && !receiver {
            // A transmitter session receives nothing (SMPP 3.4 §2.2).
            self.submit.refuse(header, ESME_RINVBNDSTS);
            return;
        }
        self.forget_dropped();
        if self.arrivals.len() >= MAX_UNACKNOWLEDGED {
            self.link(receiver).refuse(header, ESME_RMSGQFUL);
            return;
        }
        self.last_delivery = self.last_delivery.wrapping_add(1);
        let number = self.last_delivery;
        let ack = Ack::new(number, self.verdict_sender.downgrade());
        let (channel, account) = (self.driver.id.clone(), self.driver.config.account.clone());
        let event = if deliver.is_receipt() {
            let Reported {
                reference,
                other,
                handset,
                receipt,
            } = receipt::read(deliver);
            if reference.is_empty() && self.nameless < MAX_COMPLAINTS {
                self.nameless += 1;
                tracing::warn!(channel = %self.driver.id, "a receipt names no message");
            }
            ChannelEvent::Receipt {
                account,
                channel,
                reference,
                other,
                handset,
                receipt,
                taken: None,
                ack,
            }
        } else {
            let inbound::Received {
                from,
                to,
                text,
                part,
            } = inbound::read(deliver, self.driver.config.reading());
            ChannelEvent::Inbound {
                channel,
                account,
                from,
                to,
                text,
                part,
                receipt: receipt::read_unmarked(deliver).map(Box::new),
                fingerprint: None,
                ack,
            }
        };
        self.unacknowledged.insert(number, header);
        self.arrivals
            .push_back((self.driver.clock.elapsed(), number));
        self.driver.tell(event).await;
    }

    /// Answers a `deliver_sm` as the engine decided.
    fn acknowledge(&mut self, verdict: AckVerdict) {
        let Some(header) = self.unacknowledged.remove(&verdict.sequence) else {
            return;
        };
        if self.unacknowledged.is_empty() {
            self.arrivals.clear();
        }
        // A refusal that says "again later": what we could not store must come again.
        let status = if verdict.taken {
            ESME_ROK
        } else {
            ESME_RX_T_APPN
        };
        let receiver = self.receive.is_some();
        self.link(receiver).refuse(header, status);
    }

    /// Frees the places of those that were answered, and of those that never will be.
    fn forget_dropped(&mut self) {
        let now = self.driver.clock.elapsed();
        while let Some((arrived, sequence)) = self.arrivals.front().copied() {
            if self.unacknowledged.contains_key(&sequence) {
                if now.saturating_sub(arrived) < VERDICT_TIMEOUT {
                    break;
                }
                self.unacknowledged.remove(&sequence);
            }
            self.arrivals.pop_front();
        }
        if self.arrivals.len() >= MAX_UNACKNOWLEDGED {
            let open = &self.unacknowledged;
            self.arrivals
                .retain(|(_, sequence)| open.contains_key(sequence));
        }
    }

    fn link(&mut self, receiver: bool) -> &mut EsmeLink {
        match &mut self.receive {
            Some(link) if receiver => link,
            _ => &mut self.submit,
        }
    }

    fn leave(&mut self, leaving: Leaving) {
        // Said at once, so that nothing more is handed over only to be returned.
        self.driver.status.send_replace(ChannelStatus::Draining);
        // An SMSC that wants to end gets nothing more, not even the rest of a message.
        let at_leisure = matches!(leaving, Leaving::Stop | Leaving::Reset);
        self.open &= at_leisure;
        self.leaving = Some(leaving);
        let longest = if at_leisure { DRAIN_AT_LEISURE } else { DRAIN };
        self.leave_by =
            self.driver.clock.elapsed() + longest.min(self.driver.config.response_timeout);
    }

    /// True if nothing is left to wait for, or it has been waited for long enough.
    fn is_drained(&mut self) -> bool {
        let now = self.driver.clock.elapsed();
        if !self.under_way.is_empty() {
            self.idle_by = Duration::MAX;
            return now >= self.leave_by;
        }
        self.idle_by = self.idle_by.min(now + DRAIN_IDLE);
        let nothing_to_come = !self.open && self.unacknowledged.is_empty();
        nothing_to_come || now >= self.leave_by.min(self.idle_by)
    }

    async fn doubt_what_is_under_way(&mut self) {
        let now = self.driver.clock.elapsed();
        self.submit.abandon();
        for (token, under_way) in std::mem::take(&mut self.under_way) {
            let took = now.saturating_sub(under_way.since);
            let outcome = SegmentOutcome::Unknown(Doubt::Disconnected);
            self.report(token, under_way.segment, outcome, took).await;
        }
    }

    /// Ends the session politely within [`GOODBYE`]; with an `unbind` of ours if so said.
    async fn close(self, unbind: bool) {
        let links = [Some(self.submit), self.receive];
        let _ = tokio::time::timeout(GOODBYE, async {
            for mut link in links.into_iter().flatten() {
                if unbind {
                    link.unbind();
                    while !matches!(link.next().await, LinkEvent::Unbound | LinkEvent::Closed(_)) {}
                }
                link.close().await;
            }
        })
        .await;
    }
}

/// Waits until every message under way has landed.
async fn all_home(window: &Semaphore, size: usize) {
    let permits = u32::try_from(size).unwrap_or(u32::MAX);
    // Nobody closes the window; if it were closed, nothing could be under way either.
    let _ = window.acquire_many(permits).await;
}

/// The next event of either link, and whether it is the receiver's. The one that was not heard last
/// goes first, so that neither can starve the other.
async fn next(
    submit: &mut EsmeLink,
    receive: Option<&mut EsmeLink>,
    receiver_heard: bool,
) -> (LinkEvent<Tag>, bool) {
    match receive {
        None => (submit.next().await, false),
        Some(receive) if receiver_heard => tokio::select! {
            biased;
            event = submit.next() => (event, false),
            event = receive.next() => (event, true),
        },
        Some(receive) => tokio::select! {
            biased;
            event = receive.next() => (event, true),
            event = submit.next() => (event, false),
        },
    }
}
