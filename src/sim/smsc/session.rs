//! One connection of the simulated SMSC.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusmpp::tlvs::TlvValue;
use rusmpp::values::InterfaceVersion;
use rusmpp::{Pdu, pdus};

use super::compose::{Outgoing, ReceiptToSend, c_string};
use super::ledger::{DeliveredEntry, PartOf, SubmittedEntry};
use super::script::{Rule, ScriptedState, SmscScript};
use super::{Order, Shared, State};
use crate::channel::smpp::bind::Stream;
use crate::channel::smpp::deliver::{Address, UDHI};
use crate::channel::smpp::errors::{
    ESME_RALYBND, ESME_RINVBNDSTS, ESME_RINVCMDID, ESME_RINVPASWD, ESME_RINVSYSID, ESME_RMSGQFUL,
    ESME_ROK, ESME_RSYSERR, ESME_RTHROTTLED, ESME_RX_T_APPN,
};
use crate::channel::smpp::frame::Header;
use crate::channel::smpp::link::{Link, LinkEvent, LinkTimers};
use crate::channel::smpp::text;
use crate::domain::receipt::ReceiptState;
use crate::pdu::udh::{self, Reference};

/// How much later than a receipt sent on another session an answer goes out, where the script
/// wants the receipt first.
const RECEIPT_LEAD: Duration = Duration::from_millis(20);

/// Longest wait for the last octets to be written.
const GOODBYE: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct BoundAs {
    system_id: String,
    transmits: bool,
    receives: bool,
}

pub(super) struct Session<S> {
    number: u64,
    link: Link<S, u64>,
    shared: Arc<Shared>,
    bound: Option<BoundAs>,
    /// Answers that wait for their time, by due time and order.
    answers: BTreeMap<(Duration, u64), (u32, u32, String)>,
    answer_count: u64,
    /// `submit_sm` without an answer yet, those that never get one included.
    unanswered: usize,
    /// What awaits its answer, by number in the ledger.
    sent: HashMap<u64, Outgoing>,
    dirty: bool,
}

impl<S: Stream> Session<S> {
    pub(super) fn new(number: u64, stream: S, shared: Arc<Shared>) -> Self {
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
            answers: BTreeMap::new(),
            answer_count: 0,
            unanswered: 0,
            sent: HashMap::new(),
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
            let due = self.send_due();
            self.publish();
            let silent = self.shared.lock().script.silent;
            let now = self.shared.clock.elapsed();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = wake.notified() => {}
                event = self.link.next(), if !silent => {
                    if !self.take(event) {
                        break;
                    }
                }
                () = tokio::time::sleep(due.unwrap_or_default().saturating_sub(now)),
                    if due.is_some() && !silent => {}
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
        let _ = tokio::time::timeout(GOODBYE, self.link.close()).await;
    }

    /// Does what the handle wants; false: close now.
    fn obey(&mut self) -> bool {
        let orders = match self.shared.lock().sessions.get_mut(&self.number) {
            Some(inbox) if !inbox.orders.is_empty() => std::mem::take(&mut inbox.orders),
            _ => return true,
        };
        for order in orders {
            match order {
                Order::Close => return false,
                Order::Unbind => self.link.unbind(),
                Order::Raw(octets) => self.link.put_raw(&octets),
            }
        }
        true
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
                let Some(outgoing) = state.take_due(&bound.system_id, now) else {
                    next = state.next_due(&bound.system_id);
                    break;
                };
                let number = state.ledger.deliver(DeliveredEntry {
                    at: wall,
                    session: self.number,
                    id: outgoing.id().map(str::to_owned),
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
                next = next.min(Some(entry.key().0)).or(Some(entry.key().0));
                break;
            }
            let (status, sequence, id) = entry.remove();
            self.answer_submit(status, sequence, &id);
        }
        next
    }

    fn answer_submit(&mut self, status: u32, sequence: u32, id: &str) {
        self.unanswered = self.unanswered.saturating_sub(1);
        let body = pdus::SubmitSmResp::builder()
            .message_id(c_string(id))
            .build();
        self.link.respond(status, sequence, body);
    }

    /// Deals with one event; false: the session is over.
    fn take(&mut self, event: LinkEvent<u64>) -> bool {
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
                let wanted = BoundAs {
                    system_id: $pdu.system_id.as_str().to_owned(),
                    transmits: $transmits,
                    receives: $receives,
                };
                let status = self.admit(wanted, $pdu.password.as_str());
                let version = Some(InterfaceVersion::Smpp3_4);
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

    fn admit(&mut self, wanted: BoundAs, password: &str) -> u32 {
        self.dirty = true;
        let mut state = self.shared.lock();
        let script = state.script.clone();
        let status = if self.bound.is_some() {
            ESME_RALYBND
        } else if script.bind_status != ESME_ROK {
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
        if status == ESME_ROK {
            state.ledger.binds += 1;
            state.ledger.bound += 1;
            self.bound = Some(wanted);
        } else {
            state.ledger.refused_binds += 1;
        }
        status
    }

    fn submit(&mut self, header: Header, pdu: &pdus::SubmitSm, bound: &BoundAs) -> bool {
        self.dirty = true;
        self.unanswered += 1;
        let now = self.shared.clock.elapsed();
        let mut entry = self.entry(pdu);
        let mut state = self.shared.lock();
        let script = state.script.clone();
        let rule = script.rule(&entry.destination.text);
        state.submits += 1;
        if script
            .close_every
            .is_some_and(|every| state.submits.is_multiple_of(every.max(1)))
        {
            state.ledger.submit(entry);
            return false;
        }
        let status = judge(&mut state, &script, rule, entry.outstanding, now);
        let mut id = String::new();
        let answered = !rule.is_some_and(|rule| rule.unanswered);
        entry.status = answered.then_some(status);
        let mut delay = Duration::from_millis(
            rule.and_then(|rule| rule.response_delay_ms)
                .unwrap_or(script.response_delay_ms),
        );
        let mut receipt_first = false;
        if status == ESME_ROK {
            let number = state.next_id;
            state.next_id += 1;
            id = script
                .ids
                .submitted
                .write(number, script.ids.submitted_width);
            entry.id = Some(id.clone());
            if entry.registered_delivery & 0x03 != 0 {
                let reported = script.ids.reported.write(number, script.ids.reported_width);
                queue_receipts(
                    &mut state,
                    &script,
                    rule,
                    &entry,
                    reported,
                    &bound.system_id,
                    now,
                );
                receipt_first = script.receipts.before_response;
            }
        }
        state.ledger.submit(entry);
        drop(state);
        if !bound.receives {
            self.shared.wake();
            if receipt_first {
                delay = delay.max(RECEIPT_LEAD);
            }
        }
        if !answered {
            return true;
        }
        if delay.is_zero() && !receipt_first {
            self.answer_submit(status, header.sequence, &id);
        } else {
            self.answer_count += 1;
            let key = (now + delay, self.answer_count);
            self.answers.insert(key, (status, header.sequence, id));
        }
        true
    }

    fn entry(&self, pdu: &pdus::SubmitSm) -> SubmittedEntry {
        let mut octets = Bytes::copy_from_slice(pdu.short_message().as_ref());
        if octets.is_empty() {
            octets = pdu
                .tlvs()
                .iter()
                .find_map(|tlv| match tlv.value() {
                    Some(TlvValue::MessagePayload(payload)) => {
                        Some(payload.value.clone().into_bytes())
                    }
                    _ => None,
                })
                .unwrap_or_default();
        }
        let (esm_class, data_coding) = (u8::from(pdu.esm_class), u8::from(pdu.data_coding));
        let mut part = None;
        let mut body = &octets[..];
        if esm_class & UDHI != 0
            && let Ok((header, rest)) = udh::parse(&octets)
        {
            body = rest;
            part = header.concat.map(|concat| PartOf {
                reference: match concat.reference {
                    Reference::Eight(reference) => u16::from(reference),
                    Reference::Sixteen(reference) => reference,
                },
                total: concat.total,
                index: concat.index,
            });
        }
        SubmittedEntry {
            at: self.shared.clock.now(),
            session: self.number,
            source: Address {
                ton: u8::from(pdu.source_addr_ton),
                npi: u8::from(pdu.source_addr_npi),
                text: pdu.source_addr.as_str().to_owned(),
            },
            destination: Address {
                ton: u8::from(pdu.dest_addr_ton),
                npi: u8::from(pdu.dest_addr_npi),
                text: pdu.destination_addr.as_str().to_owned(),
            },
            data_coding,
            esm_class,
            registered_delivery: u8::from(pdu.registered_delivery),
            priority: u8::from(pdu.priority_flag),
            service_type: pdu.service_type.value().as_str().to_owned(),
            validity: pdu.validity_period.as_str().to_owned(),
            text: text::decode(data_coding, body),
            octets,
            part,
            id: None,
            status: None,
            outstanding: self.unanswered,
        }
    }

    /// Tells those who watch the ledger, once for all that happened in this turn.
    fn publish(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.shared.recorded.send_modify(|n| *n = n.wrapping_add(1));
        }
    }
}

/// The status that a `submit_sm` is answered with.
fn judge(
    state: &mut State,
    script: &SmscScript,
    rule: Option<&Rule>,
    outstanding: usize,
    now: Duration,
) -> u32 {
    if script.window.is_some_and(|window| outstanding > window) {
        return ESME_RMSGQFUL;
    }
    if let Some(limit) = script.rate_limit {
        if state.second.0 != now.as_secs() {
            state.second = (now.as_secs(), 0);
        }
        if state.second.1 >= limit {
            return ESME_RTHROTTLED;
        }
        state.second.1 += 1;
    }
    if let Some(rule) = rule
        && let Some(status) = rule.status
    {
        let times = state
            .refusals
            .entry((rule.prefix.clone(), rule.suffix.clone()))
            .or_default();
        *times += 1;
        if rule.times.is_none_or(|limit| *times <= limit) {
            return status;
        }
    }
    match script.fail_every {
        Some(every) if state.submits.is_multiple_of(every.max(1)) => script.fail_status,
        _ => ESME_ROK,
    }
}

fn queue_receipts(
    state: &mut State,
    script: &SmscScript,
    rule: Option<&Rule>,
    entry: &SubmittedEntry,
    id: String,
    system_id: &str,
    now: Duration,
) {
    let wanted: ScriptedState = rule
        .and_then(|rule| rule.receipt)
        .unwrap_or(script.receipts.state);
    let Some(final_state) = wanted.state() else {
        return;
    };
    let error = rule
        .and_then(|rule| rule.error.as_ref())
        .unwrap_or(&script.receipts.error);
    let receipt = |state| {
        Outgoing::Receipt(Box::new(ReceiptToSend {
            id: id.clone(),
            handset: entry.destination.clone(),
            sender: entry.source.clone(),
            state,
            error: error.clone(),
            submitted: entry.at,
            // Appendix B: the first twenty characters; ASCII, since receipts name no alphabet.
            text: entry
                .text
                .chars()
                .take(20)
                .map(|c| if c.is_ascii() { c } else { '?' })
                .collect(),
        }))
    };
    let due = now + Duration::from_millis(script.receipts.delay_ms);
    if script.receipts.enroute_first && final_state != ReceiptState::Enroute {
        state.queue(system_id, now, receipt(ReceiptState::Enroute));
    }
    let copies = if script.receipts.duplicate { 2 } else { 1 };
    match entry.part {
        Some(part) if script.receipts.reverse_parts => {
            let key = (
                entry.destination.text.clone(),
                entry.source.text.clone(),
                part.reference,
            );
            let held = state.held.entry(key.clone()).or_default();
            held.extend((0..copies).map(|_| receipt(final_state)));
            if held.len() >= usize::from(part.total) * copies {
                for outgoing in state
                    .held
                    .remove(&key)
                    .unwrap_or_default()
                    .into_iter()
                    .rev()
                {
                    state.queue(system_id, due, outgoing);
                }
            }
        }
        _ => {
            for _ in 0..copies {
                state.queue(system_id, due, receipt(final_state));
            }
        }
    }
}
