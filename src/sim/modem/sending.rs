//! What becomes of a message whose octets are complete, and its status reports.

use std::time::Duration;

use super::commands::End;
use super::ledger::{Fate, SubmittedEntry};
use super::network::Arrival;
use super::script::{Fault, Moment, Rule};
use super::state::{BEHIND, Event, Now, State};
use crate::pdu::address::{Address, TypeOfNumber};
use crate::pdu::status_report::StatusReport;
use crate::pdu::submit::Submit;
use crate::pdu::timestamp::NetworkTime;
use crate::pdu::tpdu::{hex_of_octets, octets_of_hex};

/// Reads the octets after the service centre as a network does: all of them are the message, and it
/// goes to a number. `None`: not a whole SMS-SUBMIT.
fn read(tpdu: &[u8]) -> Option<Submit> {
    let submit = Submit::decode(tpdu).ok()?;
    let destination = &submit.destination;
    let to_number = destination.ton() != TypeOfNumber::Alphanumeric
        && destination.value().chars().all(|c| c.is_ascii_digit());
    (to_number && submit.encode().len() == tpdu.len()).then_some(submit)
}

impl State {
    /// The fault of the `+CMGS` under way at this moment of it.
    pub(super) fn fault(&self, moment: Moment) -> Option<Fault> {
        let submits = self.counts.submits;
        let strikes = |fault: &&Fault| {
            fault.moment == moment
                && fault.at_submit.is_some_and(|at| match fault.every {
                    true => submits.is_multiple_of(at.max(1)),
                    false => submits == at,
                })
        };
        self.script.faults.iter().find(strikes).cloned()
    }

    /// The octets of a message are complete.
    pub(super) fn submit(&mut self, digits: &str, length: usize, now: Now) {
        let octets = octets_of_hex(digits).unwrap_or_default();
        let centre = octets.first().map_or(0, |length| usize::from(*length) + 1);
        let body = octets.get(centre..).unwrap_or_default();
        let read = read(body).filter(|_| body.len() == length);
        let mut entry = SubmittedEntry {
            at: now.at,
            length,
            recipient: String::new(),
            text: String::new(),
            part: None,
            report: false,
            fate: Fate::Cms(304),
            octets: octets.clone(),
        };
        let script = self.script.clone();
        let own = script.send_ms.unwrap_or(script.profile().send_ms);
        let due = |millis| now.elapsed + script.latency() + Duration::from_millis(millis);
        let Some(message) = read else {
            self.ledger.submit(entry);
            self.answer_message(None, &End::Cms(304), due(0));
            return;
        };
        entry.recipient = message.destination.to_string();
        let data = message.user_data;
        entry.part = data.udh().ok().and_then(|udh| udh.concat);
        entry.text = data.text().unwrap_or_else(|| hex_of_octets(data.content()));
        entry.report = message.status_report;
        let since = now.elapsed.saturating_sub(self.since);
        let rule = script.rule(&entry.recipient, since);
        let fault = self.fault(Moment::Submitted);
        let refusal = self.refusal(rule, &entry.recipient);
        let sends = refusal.is_none() && fault.as_ref().is_none_or(|fault| fault.taken);
        let rule = rule.map(|(_, rule)| rule);
        let answered = fault.is_none() && !rule.is_some_and(|rule| rule.unanswered);
        let due = due(rule.and_then(|rule| rule.send_ms).unwrap_or(own));
        let reference = self.reference;
        entry.fate = match &refusal {
            Some(fate) => *fate,
            None if sends => Fate::Sent {
                reference,
                answered,
            },
            None => Fate::Lost,
        };
        if sends {
            self.report(&entry, rule, due, now);
            self.reference = self.reference.wrapping_add(1);
        }
        if let Some(fault) = fault {
            self.at(now.elapsed, fault.event());
        } else if let Some(fate) = refusal {
            let end = match fate {
                Fate::Cms(code) => End::Cms(code),
                Fate::Cme(code) => End::Cme(code),
                _ => End::Error,
            };
            self.answer_message(None, &end, due);
        } else if answered {
            let line = format!("+CMGS: {reference}");
            self.answer_message(Some(line), &End::Ok, due);
            if let Some(fault) = self.fault(Moment::Answered) {
                self.at(due + BEHIND, fault.event());
            }
        }
        self.ledger.submit(entry);
    }

    /// Why a message is refused, if it is.
    fn refusal(&mut self, rule: Option<(usize, &Rule)>, recipient: &str) -> Option<Fate> {
        if let Some((number, rule)) = rule {
            let fate = match (rule.cms, rule.cme) {
                (Some(code), _) => Some(Fate::Cms(code)),
                (_, Some(code)) => Some(Fate::Cme(code)),
                _ => rule.error.then_some(Fate::Error),
            };
            if let Some(fate) = fate {
                let whose = if rule.each { recipient } else { "" };
                let key = (number, whose.to_owned());
                let times = self.counts.refusals.entry(key).or_default();
                *times += 1;
                if rule.times.is_none_or(|limit| *times <= limit) {
                    return Some(fate);
                }
            }
        }
        let every = self.script.fail_every?.max(1);
        let submits = self.counts.submits;
        (submits.is_multiple_of(every)).then_some(Fate::Cms(self.script.fail_cms))
    }

    /// Lets the status reports of a message come when their time is.
    fn report(&mut self, entry: &SubmittedEntry, rule: Option<&Rule>, due: Duration, now: Now) {
        let script = self.script.clone();
        let reports = rule
            .and_then(|rule| rule.reports.as_ref())
            .unwrap_or(&script.reports);
        if !reports.sent || (reports.on_request && !entry.report) {
            return;
        }
        self.counts.reports += 1;
        let nth = self.counts.reports;
        if reports
            .lose_every
            .is_some_and(|every| nth.is_multiple_of(every.max(1)))
        {
            return;
        }
        let recipient = match &reports.national {
            Some(code) => {
                let home = entry
                    .recipient
                    .strip_prefix(&format!("+{}", code.trim_start_matches('+')));
                home.map_or_else(|| entry.recipient.clone(), |rest| format!("0{rest}"))
            }
            None => entry.recipient.clone(),
        };
        let jitter = match reports.jitter_ms {
            0 => Duration::ZERO,
            most => Duration::from_millis(most).mul_f64(self.random.fraction()),
        };
        let delay = Duration::from_millis(reports.delay_ms) + jitter;
        let due = if reports.before_answer {
            now.elapsed
        } else {
            due + delay
        };
        let done = now.at + due.saturating_sub(now.elapsed);
        let last = rule.and_then(|rule| rule.status).unwrap_or(reports.status);
        let copies = if reports.duplicate { 2 } else { 1 };
        let Ok(recipient) = Address::number(&recipient) else {
            return;
        };
        let all = reports
            .first
            .into_iter()
            .chain(std::iter::repeat_n(last, copies));
        for status in all {
            let [sent, discharged] = [now.at, done].map(|at| NetworkTime::from(at.to_utc()));
            let recipient = recipient.clone();
            let report = StatusReport::new(self.reference, recipient, sent, discharged, status);
            let arrival = Arrival {
                octets: report.encode(),
                report: true,
            };
            self.at(due, Event::Arrives(arrival));
        }
        if reports.before_answer {
            self.occur(now);
        }
    }
}
