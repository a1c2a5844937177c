//! What becomes of a `submit_sm`: its answer, its receipts, and what goes wrong with it.

use std::time::Duration;

use bytes::Bytes;

use super::compose::{Outgoing, ReceiptToSend};
use super::ledger::SubmittedEntry;
use super::script::{Fault, FaultKind, Receipts, Rule, SmscScript};
use super::{Order, State};
use crate::channel::smpp::errors::{ESME_RMSGQFUL, ESME_ROK, ESME_RSYSERR, ESME_RTHROTTLED};
use crate::clock::Random;
use crate::domain::receipt::ReceiptState;

/// How much later than a receipt sent on another session an answer goes out, where the script
/// wants the receipt first.
const RECEIPT_LEAD: Duration = Duration::from_millis(20);

/// Characters of the message that its receipt repeats (SMPP 3.4 appendix B).
const REPEATED: usize = 20;

/// The session that a `submit_sm` came on.
pub(super) struct Origin<'a> {
    pub(super) session: u64,
    pub(super) system_id: &'a str,
    pub(super) receives: bool,
}

/// What becomes of one `submit_sm`.
pub(super) struct Verdict {
    /// Its answer; `None`: it never gets one.
    pub(super) answer: Option<Answer>,
    /// What the session does then.
    pub(super) then: Option<Order>,
    /// Other sessions have to look for something to send.
    pub(super) elsewhere: bool,
}

/// An answer, and when it is due.
pub(super) struct Answer {
    pub(super) due: Duration,
    pub(super) status: u32,
    pub(super) id: String,
    /// By `generic_nack`.
    pub(super) nack: bool,
    /// Its receipts go first, if they are due.
    pub(super) after_receipts: bool,
}

/// What a session does when a fault strikes.
pub(super) fn order(fault: &Fault, now: Duration) -> Order {
    match fault.kind {
        FaultKind::Close => Order::Close,
        FaultKind::Reset => Order::Reset,
        FaultKind::Unbind => Order::Unbind,
        FaultKind::Silence => Order::Silence(
            fault
                .for_ms
                .map(|length| now + Duration::from_millis(length)),
        ),
        // A header alone: 16 octets, generic_nack, ESME_RSYSERR, number 0 (SMPP 3.4 §4.3.1).
        FaultKind::Nack => Order::Raw(Bytes::from_static(
            b"\0\0\0\x10\x80\0\0\0\0\0\0\x08\0\0\0\0",
        )),
        FaultKind::Raw => Order::Raw(Bytes::copy_from_slice(&fault.octets.0)),
    }
}

/// Decides on a `submit_sm`, and puts it and its receipts where they belong.
pub(super) fn judge(
    state: &mut State,
    mut entry: SubmittedEntry,
    origin: &Origin<'_>,
    now: Duration,
    random: &Random,
) -> Verdict {
    let script = state.script.clone();
    let found = script.rule(&entry.destination.text, now.saturating_sub(state.since));
    let rule = found.map(|(_, rule)| rule);
    state.counts.submits += 1;
    let number = state.counts.submits;
    let nth = |every: Option<u64>| every.is_some_and(|every| number.is_multiple_of(every.max(1)));
    let fault = script.faults.iter().find(|fault| match fault.at_submit {
        Some(at) => at == number || (fault.every && nth(Some(at))),
        None => false,
    });
    let swallows = |kind| !matches!(kind, FaultKind::Unbind | FaultKind::Raw);
    let swallowed = fault.filter(|fault| swallows(fault.kind));
    if nth(script.close_every) || swallowed.is_some_and(|fault| !fault.taken) {
        let nack = swallowed.is_some_and(|fault| fault.kind == FaultKind::Nack);
        entry.status = nack.then_some(ESME_RSYSERR);
        state.ledger.submit(entry);
        let answer = Answer {
            due: now,
            status: ESME_RSYSERR,
            id: String::new(),
            nack,
            after_receipts: false,
        };
        return Verdict {
            answer: nack.then_some(answer),
            then: swallowed
                .map_or(Some(Order::Close), |fault| Some(order(fault, now)))
                .filter(|_| !nack),
            elsewhere: false,
        };
    }
    let status = refusal(state, &script, found, &entry, now);
    let receipts = rule.and_then(|rule| rule.receipts.as_ref());
    let receipts = receipts.unwrap_or(&script.receipts);
    let mut answer = Answer {
        due: now
            + Duration::from_millis(
                rule.and_then(|rule| rule.response_delay_ms)
                    .unwrap_or(script.response_delay_ms),
            ),
        status,
        id: String::new(),
        nack: status != ESME_ROK && rule.is_some_and(|rule| rule.nack),
        after_receipts: receipts.before_response,
    };
    let elsewhere = receipts.other_bind || !origin.receives;
    let mut lost = swallowed.is_some() || rule.is_some_and(|rule| rule.unanswered);
    if status == ESME_ROK {
        lost |= nth(script.lose_response_every);
        let number = state.next_id;
        state.next_id += 1;
        let ids = rule.and_then(|rule| rule.ids.as_ref());
        let ids = ids.unwrap_or(&script.ids);
        answer.id = ids.submitted(number);
        entry.id = Some(answer.id.clone());
        if entry.registered_delivery & 0x03 != 0 {
            let id = ids.reported(number);
            let due = now + jitter(receipts.jitter_ms, random);
            report(state, receipts, rule, &entry, &id, origin, due);
            // On another session it is this one's answer that has to wait.
            if receipts.before_response && elsewhere {
                answer.due = answer.due.max(now + RECEIPT_LEAD);
            }
        }
    }
    entry.status = (!lost).then_some(status);
    state.ledger.submit(entry);
    Verdict {
        answer: (!lost).then_some(answer),
        then: fault
            .filter(|fault| fault.kind != FaultKind::Nack)
            .map(|fault| order(fault, now)),
        elsewhere,
    }
}

/// The status that a `submit_sm` is answered with.
fn refusal(
    state: &mut State,
    script: &SmscScript,
    rule: Option<(usize, &Rule)>,
    entry: &SubmittedEntry,
    now: Duration,
) -> u32 {
    let counts = &mut state.counts;
    if script
        .window
        .is_some_and(|window| entry.outstanding > window)
    {
        return ESME_RMSGQFUL;
    }
    if let Some((number, rule)) = rule
        && let Some(limit) = rule.rate_limit
        && !counts
            .rule_rates
            .entry(number)
            .or_default()
            .takes(limit, None, now)
    {
        return ESME_RTHROTTLED;
    }
    if let Some(limit) = script.rate_limit
        && !counts.rate.takes(limit, script.burst, now)
    {
        return ESME_RTHROTTLED;
    }
    if let Some((number, rule)) = rule
        && let Some(status) = rule.status
    {
        let whose = if rule.each {
            entry.destination.text.clone()
        } else {
            String::new()
        };
        let times = counts.refusals.entry((number, whose)).or_default();
        *times += 1;
        if rule.times.is_none_or(|limit| *times <= limit) {
            return status;
        }
    }
    match script.fail_every {
        Some(every) if counts.submits.is_multiple_of(every.max(1)) => script.fail_status,
        _ => ESME_ROK,
    }
}

fn jitter(most_ms: u64, random: &Random) -> Duration {
    if most_ms == 0 {
        return Duration::ZERO;
    }
    Duration::from_millis(most_ms).mul_f64(random.fraction())
}

/// Queues the receipts of a message that was taken.
fn report(
    state: &mut State,
    receipts: &Receipts,
    rule: Option<&Rule>,
    entry: &SubmittedEntry,
    id: &str,
    origin: &Origin<'_>,
    now: Duration,
) {
    let wanted = rule.and_then(|rule| rule.receipt).unwrap_or(receipts.state);
    let Some(mut final_state) = wanted.state() else {
        return;
    };
    if receipts.failed_part.is_some() && receipts.failed_part == entry.part.map(|part| part.index) {
        final_state = ReceiptState::Undeliverable;
    }
    if let (Some(only), Some(part)) = (receipts.only_part, entry.part)
        && part.index != only
    {
        return;
    }
    let error = rule.and_then(|rule| rule.error.as_ref());
    let receipt = |state| {
        Outgoing::Receipt(Box::new(ReceiptToSend {
            id: id.to_owned(),
            handset: entry.destination.clone(),
            sender: entry.source.clone(),
            state,
            error: error.unwrap_or(&receipts.error).clone(),
            submitted: entry.at,
            // ASCII, since receipts name no alphabet.
            text: entry
                .text
                .chars()
                .take(REPEATED)
                .map(|c| if c.is_ascii() { c } else { '?' })
                .collect(),
            not_on: receipts.other_bind.then_some(origin.session),
            form: rule.and_then(|rule| rule.receipts.clone()),
        }))
    };
    for (first, wanted) in [
        (ReceiptState::Enroute, receipts.enroute_first),
        (ReceiptState::Accepted, receipts.accepted_first),
    ] {
        if wanted && final_state != first {
            state.queue(origin.system_id, now, receipt(first));
        }
    }
    state.counts.receipts += 1;
    let nth = state.counts.receipts;
    if receipts
        .lose_every
        .is_some_and(|every| nth.is_multiple_of(every.max(1)))
    {
        return;
    }
    let due = now + Duration::from_millis(receipts.delay_ms);
    let copies = if receipts.duplicate { 2 } else { 1 };
    let Some(part) = entry.part.filter(|_| receipts.reverse_parts) else {
        for _ in 0..copies {
            state.queue(origin.system_id, due, receipt(final_state));
        }
        return;
    };
    let key = (
        entry.destination.text.clone(),
        entry.source.text.clone(),
        part.reference,
    );
    let held = state.held.entry(key.clone()).or_default();
    held.extend((0..copies).map(|_| receipt(final_state)));
    if held.len() >= usize::from(part.total) * copies {
        let held = state.held.remove(&key).unwrap_or_default();
        for outgoing in held.into_iter().rev() {
            state.queue(origin.system_id, due, outgoing);
        }
    }
}
