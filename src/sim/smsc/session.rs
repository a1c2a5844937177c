//! One connection of the simulated SMSC.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rusmpp::tlvs::{MessageSubmissionResponseTlvValue, TlvTag};
use rusmpp::types::AnyOctetString;
use rusmpp::values::InterfaceVersion;
use rusmpp::{Pdu, pdus};

use super::compose::{Outgoing, c_string};
use super::ledger::{BindEntry, DeliveredEntry};
use super::reading::{self, Arrival};
use super::verdict::{self, Answer, Origin};
use super::{Order, Shared};
use crate::channel::smpp::bind::Stream;
use crate::channel::smpp::errors::{
    ESME_RALYBND, ESME_RINVBNDSTS, ESME_RINVCMDID, ESME_RINVPASWD, ESME_RINVSYSID, ESME_RMSGQFUL,
    ESME_ROK, ESME_RSYSERR, ESME_RTHROTTLED, ESME_RX_T_APPN,
};
use crate::channel::smpp::frame::Header;
use crate::channel::smpp::link::{Link, LinkEvent, LinkTimers};

/// The `interface_version` from which on both sides speak SMPP 5.0.
const VERSION_5: u8 = 0x50;

/// Longest wait for the last octets to be written.
const GOODBYE: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct BoundAs {
    system_id: String,
    transmits: bool,
    receives: bool,
    /// Both sides speak SMPP 5.0.
    five: bool,
}

pub(super) struct Session<S> {
    number: u64,
    link: Link<S, u64>,
    shared: Arc<Shared>,
    bound: Option<BoundAs>,
    /// Makes the closing of the stream a reset.
    reset: fn(&S),
    resets: bool,
    /// Answers that wait for their time, by due time and order, with their sequence number.
    answers: BTreeMap<(Duration, u64), (u32, Answer)>,
    answer_count: u64,
    /// `submit_sm` without an answer yet, those that never get one included.
    unanswered: usize,
    /// What awaits its answer, by number in the ledger.
    sent: HashMap<u64, Outgoing>,
    /// Nothing is read until then.
    quiet_until: Duration,
    /// Nothing is answered any more.
    mute: bool,
    dirty: bool,
}

impl<S: Stream> Session<S> {
    pub(super) fn new(number: u64, stream: S, reset: fn(&S), shared: Arc<Shared>) -> Self {
        let script = shared.lock().script.clone();
        let enquire = Duration::from_millis(script.enquire_link_ms);
        let timers = LinkTimers {
            response: Duration::from_millis(script.response_timeout_ms),
            enquire_link: (!enquire.is_zero()).then_some(enquire),
        };
        let link = Link::new(stream, timers, shared.clock.clone());
        Self {
            number,
            link,
            shared,
            bound: None,
            reset,
            resets: false,
            answers: BTreeMap::new(),
            answer_count: 0,
            unanswered: 0,
            sent: HashMap::new(),
            quiet_until: Duration::ZERO,
            mute: false,
            dirty: false,
        }
    }

    pub(super) async fn run(mut self) {
        self.shared.lock().ledger.connections += 1;
        let inbox = self
            .shared
            .lock()
            .sessions
            .get(&self.number)
            .map(|inbox| inbox.wake.clone());
        let wake = inbox.unwrap_or_default();
        let stop = self.shared.stop.clone();
        loop {
            let mut open = self.obey();
            while open && let Some(event) = self.link.try_next() {
                open = self.take(event);
            }
            if !open {
                break;
            }
            let (due, quiet) = self.turn();
            self.publish();
            let wait = due
                .unwrap_or_default()
                .saturating_sub(self.shared.clock.elapsed());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = wake.notified() => {}
                event = self.link.next(), if !quiet => {
                    self.rest();
                    if !self.take(event) {
                        break;
                    }
                }
                () = tokio::time::sleep(wait), if due.is_some() => {}
            }
        }
        self.end().await;
    }

    /// Hands back what was not acknowledged, as a carrier sends it again, and closes.
    async fn end(mut self) {
        {
            let now = self.shared.clock.elapsed();
            let mut state = self.shared.lock();
            state.sessions.remove(&self.number);
            state.receivers.remove(&self.number);
            state.ledger.connections -= 1;
            if let Some(bound) = &self.bound {
                state.ledger.bound -= 1;
                let mut sent: Vec<_> = self.sent.drain().collect();
                sent.sort_by_key(|(number, _)| *number);
                for (_, outgoing) in sent {
                    state.queue(&bound.system_id, now, outgoing);
                }
            }
        }
        self.shared.wake();
        self.dirty = true;
        self.publish();
        if self.resets {
            (self.reset)(self.link.stream());
            return;
        }
        let _ = tokio::time::timeout(GOODBYE, self.link.close()).await;
    }

    /// Does what the handle wants; false: close now.
    fn obey(&mut self) -> bool {
        let orders = match self.shared.lock().sessions.get_mut(&self.number) {
            Some(inbox) if !inbox.orders.is_empty() => std::mem::take(&mut inbox.orders),
            _ => return true,
        };
        orders.into_iter().all(|order| self.follow(order))
    }

    /// Does one thing; false: close now.
    fn follow(&mut self, order: Order) -> bool {
        match order {
            Order::Close => return false,
            Order::Reset => {
                self.resets = true;
                return false;
            }
            Order::Unbind => self.link.unbind(),
            Order::Silence(Some(until)) => self.quiet_until = until,
            Order::Silence(None) => {
                self.mute = true;
                self.link.mute();
            }
            Order::Raw(octets) => self.link.put_raw(&octets),
        }
        true
    }

    /// Does what it is time for. When there is something to do next, and whether nothing is read
    /// or written until then.
    fn turn(&mut self) -> (Option<Duration>, bool) {
        let now = self.shared.clock.elapsed();
        let (silent, ignores, fault) = {
            let mut state = self.shared.lock();
            let fault = state.strike(now);
            let script = &state.script;
            (script.silent, script.ignore_enquire_link, fault)
        };
        self.link.ignore_enquiries(ignores);
        if silent {
            return (fault, true);
        }
        if now < self.quiet_until {
            return (earlier(fault, Some(self.quiet_until)), true);
        }
        let due = if self.mute { None } else { self.send_due() };
        (earlier(fault, due), false)
    }

    /// Rests after a reading, if the script wants a slow reader.
    fn rest(&mut self) {
        let pause = self.shared.lock().script.read_pause_ms;
        if pause > 0 {
            let until = self.shared.clock.elapsed() + Duration::from_millis(pause);
            self.quiet_until = self.quiet_until.max(until);
        }
    }

    /// Sends what is due, receipts before answers; says when something is due next.
    fn send_due(&mut self) -> Option<Duration> {
        let now = self.shared.clock.elapsed();
        let mut next = None;
        if let Some(bound) = self.bound.as_ref().filter(|bound| bound.receives) {
            let wall = self.shared.clock.now();
            let mut state = self.shared.lock();
            let script = state.script.clone();
            while self.sent.len() < script.deliver_window.max(1) {
                let Some(outgoing) = state.take_due(&bound.system_id, self.number, now) else {
                    next = state.next_due(&bound.system_id, self.number);
                    break;
                };
                let number = state.ledger.deliver(DeliveredEntry {
                    at: wall,
                    session: self.number,
                    id: outgoing.id().map(str::to_owned),
                    handset: outgoing.handset().to_owned(),
                    says: outgoing.says().to_owned(),
                    answer: None,
                    took: None,
                });
                self.link
                    .request(outgoing.pdu(&script.receipts, wall), number);
                self.sent.insert(number, outgoing);
                self.dirty = true;
            }
        }
        while let Some(entry) = self.answers.first_entry() {
            if entry.key().0 > now {
                next = earlier(next, Some(entry.key().0));
                break;
            }
            let (sequence, answer) = entry.remove();
            self.answer_submit(sequence, &answer);
        }
        next
    }

    fn answer_submit(&mut self, sequence: u32, answer: &Answer) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if answer.nack {
            return self.link.respond(answer.status, sequence, Pdu::GenericNack);
        }
        let congestion = self.shared.lock().script.congestion_state;
        let tlvs = congestion
            .filter(|_| self.bound.as_ref().is_some_and(|bound| bound.five))
            .map(|state| MessageSubmissionResponseTlvValue::Other {
                tag: TlvTag::CongestionState,
                value: AnyOctetString::from_vec(vec![state]),
            });
        let body = pdus::SubmitSmResp::new(c_string(&answer.id), tlvs.into_iter().collect());
        self.link.respond(answer.status, sequence, body);
    }

    /// Deals with one event; false: the session is over.
    fn take(&mut self, event: LinkEvent<u64>) -> bool {
        if self.mute {
            return !matches!(event, LinkEvent::Closed(_));
        }
        match event {
            LinkEvent::Request { header, pdu } => self.request(header, pdu),
            LinkEvent::Deliver { header, .. } => {
                self.link.refuse(header, ESME_RINVCMDID);
                true
            }
            LinkEvent::Answer {
                tag, status, took, ..
            } => {
                self.acknowledged(tag, Some(status), took);
                true
            }
            LinkEvent::TimedOut { tag, took } => {
                self.acknowledged(tag, None, took);
                true
            }
            LinkEvent::Unbind { sequence } => {
                self.link.respond_unbind(sequence);
                self.shared.lock().ledger.unbinds += 1;
                false
            }
            LinkEvent::Unbound | LinkEvent::Closed(_) => false,
        }
    }

    fn acknowledged(&mut self, number: u64, status: Option<u32>, took: Duration) {
        let Some(outgoing) = self.sent.remove(&number) else {
            return;
        };
        self.dirty = true;
        let now = self.shared.clock.elapsed();
        let mut state = self.shared.lock();
        if let Some(status) = status {
            state.ledger.answer(number, status, took);
        }
        let again = [ESME_RX_T_APPN, ESME_RMSGQFUL, ESME_RTHROTTLED, ESME_RSYSERR];
        if status.is_none_or(|status| again.contains(&status))
            && let Some(bound) = &self.bound
        {
            let wait = Duration::from_millis(state.script.redeliver_after_ms);
            state.queue(&bound.system_id, now + wait, outgoing);
        }
    }

    fn request(&mut self, header: Header, pdu: Pdu) -> bool {
        macro_rules! bind {
            ($pdu:expr, $response:ident, $transmits:expr, $receives:expr) => {{
                let ours = self.shared.lock().script.interface_version;
                let theirs = u8::from($pdu.interface_version);
                let wanted = BoundAs {
                    system_id: $pdu.system_id.as_str().to_owned(),
                    transmits: $transmits,
                    receives: $receives,
                    five: ours >= VERSION_5 && theirs >= VERSION_5,
                };
                let status = self.admit(wanted, $pdu.password.as_str(), theirs);
                let version = (ours != 0).then(|| InterfaceVersion::from(ours));
                let body = pdus::$response::new(c_string("relais-sim"), version);
                self.link.respond(status, header.sequence, body);
                true
            }};
        }
        match pdu {
            Pdu::BindTransceiver(pdu) => bind!(pdu, BindTransceiverResp, true, true),
            Pdu::BindTransmitter(pdu) => bind!(pdu, BindTransmitterResp, true, false),
            Pdu::BindReceiver(pdu) => bind!(pdu, BindReceiverResp, false, true),
            Pdu::SubmitSm(pdu) => match self.bound.clone() {
                Some(bound) if bound.transmits => self.submit(header, &pdu, &bound),
                _ => {
                    self.link.refuse(header, ESME_RINVBNDSTS);
                    true
                }
            },
            _ => {
                self.link.refuse(header, ESME_RINVCMDID);
                true
            }
        }
    }

    fn admit(&mut self, wanted: BoundAs, password: &str, interface_version: u8) -> u32 {
        self.dirty = true;
        let mut state = self.shared.lock();
        let script = state.script.clone();
        let refused = script.bind_status != ESME_ROK
            && script
                .bind_refusals
                .is_none_or(|most| state.counts.binds < most);
        let status = if self.bound.is_some() {
            ESME_RALYBND
        } else if refused {
            state.counts.binds += 1;
            script.bind_status
        } else if script
            .system_id
            .as_ref()
            .is_some_and(|id| *id != wanted.system_id)
        {
            ESME_RINVSYSID
        } else if script
            .password
            .as_ref()
            .is_some_and(|expected| expected != password)
        {
            ESME_RINVPASWD
        } else {
            ESME_ROK
        };
        state.ledger.bind(BindEntry {
            at: self.shared.clock.now(),
            session: self.number,
            system_id: wanted.system_id.clone(),
            transmits: wanted.transmits,
            receives: wanted.receives,
            interface_version,
            status,
        });
        if status == ESME_ROK {
            if wanted.receives {
                state
                    .receivers
                    .insert(self.number, wanted.system_id.clone());
            }
            self.bound = Some(wanted);
        }
        status
    }

    fn submit(&mut self, header: Header, pdu: &pdus::SubmitSm, bound: &BoundAs) -> bool {
        self.dirty = true;
        self.unanswered += 1;
        let now = self.shared.clock.elapsed();
        let arrival = Arrival {
            at: self.shared.clock.now(),
            session: self.number,
            outstanding: self.unanswered,
        };
        let origin = Origin {
            session: self.number,
            system_id: &bound.system_id,
            receives: bound.receives,
        };
        let verdict = {
            let mut state = self.shared.lock();
            let entry = reading::entry(pdu, state.script.alphabet, arrival);
            verdict::judge(&mut state, entry, &origin, now, &self.shared.random)
        };
        // Another session may have to send the receipt.
        if verdict.elsewhere {
            self.shared.wake();
        }
        if let Some(answer) = verdict.answer {
            if answer.due <= now && !answer.after_receipts {
                self.answer_submit(header.sequence, &answer);
                return verdict.then.is_none_or(|order| self.follow(order));
            }
            self.answer_count += 1;
            let key = (answer.due, self.answer_count);
            self.answers.insert(key, (header.sequence, answer));
        }
        let Some(order) = verdict.then else {
            return true;
        };
        // An unbind and raw octets come after the answer.
        if matches!(order, Order::Unbind | Order::Raw(_)) {
            self.send_due();
        }
        self.follow(order)
    }

    /// Tells those who watch the ledger, once for all that happened in this turn.
    fn publish(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.shared.recorded.send_modify(|n| *n = n.wrapping_add(1));
        }
    }
}

/// The earlier of two times, where there are any.
fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}
