//! Modems on the model: a SIM of three TP-MRs in two modems, its reports, and what they settle.

use super::model::{Bound, Meant};
use super::*;
use crate::domain::receipt::Taken;
use crate::domain::sim;

/// One submission that a SIM has answered.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    place: Bound,
    at: Timestamp,
    told: Option<Timestamp>,
}

/// Whose everything is that a SIM has made: no account's. Sorts behind those of the accounts.
pub(super) fn sim_s() -> Account {
    "sim:".into()
}

/// The id space of a reference.
pub(super) fn space(account: &Account, reference: &str) -> Account {
    if sim::is_reference(reference) {
        sim_s()
    } else {
        account.clone()
    }
}

/// How long until what is kept of a space is looked at again.
pub(super) fn looked_at_after(space: &Account) -> Duration {
    Duration::from_secs(if *space == sim_s() { 10 } else { 60 })
}

/// Milliseconds from one instant to another.
fn between(from: Timestamp, to: Timestamp) -> i64 {
    to.millis() - from.millis()
}

const MINUTE: i64 = 60_000;

impl Run {
    /// The reference that the modem answers a message with.
    pub(super) fn answer_of_sim(&self, to: Msisdn) -> String {
        sim::reference("1", to, u8::try_from(self.pick(3)).unwrap())
    }

    /// A status report: of what the modem has sent, a repetition of one, or somebody else's.
    pub(super) fn report_of_sim(&mut self) -> ReceiptReport {
        let known = u64::try_from(self.reports.len()).unwrap();
        let mut report = match self.pick(4) {
            0 if known > 0 => {
                let index = usize::try_from(self.pick(known)).unwrap();
                let mut again = self.reports[index].clone();
                let later = Duration::from_secs(self.pick(100));
                again.taken = again.taken.map(|taken| Taken {
                    before: (taken.before + later).min(self.instant().max(taken.before)),
                    ..taken
                });
                again
            }
            1 | 2 => self
                .report_of_sent()
                .unwrap_or_else(|| self.report_of_any()),
            _ => self.report_of_any(),
        };
        report.receipt = Receipt::of(self.state());
        self.reports.push(report.clone());
        report
    }

    /// Of something that the modem has, or may have, sent.
    fn report_of_sent(&self) -> Option<ReceiptReport> {
        let by_modem = |message: &&Message| {
            let mut attempts = message.attempts.iter();
            attempts.any(|tried| tried.account == "m".into())
        };
        let sent: Vec<_> = self.model.messages.values().filter(by_modem).collect();
        let count = u64::try_from(sent.len()).unwrap();
        let message = sent[usize::try_from(self.pick(count.max(1))).unwrap()..].first()?;
        let tried = message
            .attempts
            .iter()
            .find(|it| it.account == "m".into())?;
        let mut references = tried.segments.iter().flat_map(|it| &it.references);
        let answered = references.next().filter(|_| self.pick(4) > 0);
        let since = tried.started_at + Duration::from_secs(self.pick(20));
        let taken = Taken {
            at: Timestamp(since.millis() / 1000 * 1000),
            before: since + Duration::from_secs([0, 30][usize::from(self.pick(4) == 0)]),
        };
        Some(ReceiptReport {
            reference: answered.map_or_else(|| self.answer_of_sim(message.to), String::clone),
            handset: Some(message.to),
            taken: Some(taken),
            ..self.report_of_any()
        })
    }

    /// Of what was taken just now, a while ago, or by a wrong clock.
    fn report_of_any(&self) -> ReceiptReport {
        let now = self.instant();
        let to = number(self.pick(5));
        let took = Duration::from_secs([2, 2, 200, 2000][usize::try_from(self.pick(4)).unwrap()]);
        let before = now - took;
        let at = match self.pick(4) {
            0 => before - Duration::from_secs(self.pick(1500)),
            1 => before + Duration::from_hours(2),
            _ => before - Duration::from_secs(self.pick(4)),
        };
        // Time stamps count seconds, and so come again.
        let at = Timestamp(at.millis() / 1000 * 1000);
        ReceiptReport {
            handset: (self.pick(8) > 0).then_some(to),
            taken: (self.pick(8) > 0).then_some(Taken { at, before }),
            ..ReceiptReport::new(
                ["m", "n"][usize::from(self.pick(4) == 0)].into(),
                self.answer_of_sim(to),
                Receipt::of(self.state()),
            )
        }
    }
}

impl Model {
    /// Binds, and tells what has come for it before.
    pub(super) fn bind_by_sim(
        &mut self,
        place: Bound,
        reference: &str,
        now: Timestamp,
    ) -> Option<Message> {
        self.remember(place, reference, now);
        let scts = |report: &ReceiptReport| report.taken.map(|taken| taken.at);
        let fits = |(report, since): &(ReceiptReport, Timestamp)| match report.taken {
            Some(taken) => between(taken.before, now) <= 10 * MINUTE,
            None => between(*since, now) < 10 * MINUTE,
        };
        let parked = self.unpark(&sim_s(), reference);
        let fitting = parked.iter().filter(|one| fits(one));
        let latest = fitting.map(|(report, _)| scts(report)).max();
        let mut changed = None;
        for one in parked {
            if fits(&one) && latest == Some(scts(&one.0)) {
                changed = self.tell_by_sim(place, one.0, now).or(changed);
            } else {
                self.parked.push(one);
            }
        }
        changed
    }

    fn remember(&mut self, place: Bound, reference: &str, at: Timestamp) {
        let sent = self.sent.entry(reference.to_owned()).or_default();
        if sent.iter().all(|known| known.place != place) {
            let told = None;
            sent.insert(0, Sent { place, at, told });
            sent.sort_by_key(|known| std::cmp::Reverse(known.at));
            sent.truncate(8);
        }
    }

    fn tell_by_sim(
        &mut self,
        place: Bound,
        report: ReceiptReport,
        now: Timestamp,
    ) -> Option<Message> {
        let sent = self.sent.get_mut(&report.reference);
        let sent = sent.and_then(|sent| sent.iter_mut().find(|known| known.place == place));
        if let (Some(sent), Some(taken)) = (sent, report.taken) {
            sent.told.get_or_insert(taken.at);
        }
        let event = Event::Receipt {
            attempt: place.1,
            segment: place.2,
            reference: report.reference,
            receipt: report.receipt,
        };
        self.apply(place.0, &event, now)
    }

    fn adopt(
        &mut self,
        place: Bound,
        at: Timestamp,
        report: ReceiptReport,
        now: Timestamp,
    ) -> Option<Message> {
        let event = Event::SegmentAccepted {
            by: crate::domain::event::Sending {
                attempt: place.1,
                claim: 0,
            },
            segment: place.2,
            reference: report.reference.clone(),
        };
        let accepted = self.apply(place.0, &event, now);
        self.remember(place, &report.reference, at);
        self.tell_by_sim(place, report, now).or(accepted)
    }

    /// Whom a report is for, and since when it would have been sent if that settles a doubt.
    fn meant_by_sim(&self, report: &ReceiptReport, now: Timestamp) -> (Meant, Option<Timestamp>) {
        let segment = |place| (Meant::Segment(place, IdWriting::Same), None);
        let sent = self.sent.get(&report.reference);
        let sent: Vec<_> = sent.into_iter().flatten().copied().collect();
        let told = |sent: &&Sent| report.taken.is_some_and(|it| sent.told == Some(it.at));
        if let Some(known) = sent.iter().find(told) {
            return segment(known.place);
        }
        let is_near = |sent: &Sent| {
            report.taken.is_some_and(|taken| {
                [taken.at, taken.before]
                    .iter()
                    .any(|at| between(*at, sent.at).abs() <= 5 * MINUTE)
            })
        };
        let mut possible = sent;
        if let Some(taken) = report.taken {
            let fits = |sent: &Sent| between(taken.before, sent.at) <= 10 * MINUTE;
            possible.retain(|sent| sent.told.is_none() && fits(sent));
        }
        let moment = report.taken.map_or(now, |it| it.at.min(it.before));
        let best = possible.into_iter().min_by_key(|sent| {
            let (id, attempt, segment) = sent.place;
            let message = &self.messages[&id];
            let known = message.attempts[usize::from(attempt)].segments[usize::from(segment)].known;
            let elsewhere = report.handset.is_some_and(|handset| handset != message.to);
            let over = message.status().is_final() || known != Known::Awaiting;
            let apart = between(moment, sent.at).abs();
            (elsewhere, !is_near(sent), over, apart)
        });
        if let Some(best) = best.filter(is_near) {
            return segment(best.place);
        }
        let otherwise = best.map_or((Meant::Nobody, None), |best| segment(best.place));
        let Some(handset) = report.handset else {
            return otherwise;
        };
        let lately: Vec<_> = self.lately_to(handset).collect();
        let has_used = |tried: &Attempt| {
            let mut references = tried.segments.iter().flat_map(|it| &it.references);
            references.any(|reference| sim::is_reference(reference))
        };
        // There is but one SIM.
        let mine = |account: &Account| {
            let mut attempts = lately.iter().flat_map(|message| &message.attempts);
            *account == report.account || attempts.any(|it| it.account == *account && has_used(it))
        };
        let leaves = lately.iter().any(|message| {
            let in_time = report
                .taken
                .is_none_or(|taken| between(taken.before, message.updated_at) <= 5000);
            matches!(&message.state, State::Leased(lease) if mine(&lease.account)) && in_time
        });
        if leaves {
            return (Meant::Unsure, None);
        }
        let Some(taken) = report.taken else {
            return otherwise;
        };
        let mut doubted = Vec::new();
        for message in &lately {
            for (attempt, tried) in (0..).zip(&message.attempts) {
                let sent = mine(&tried.account) && doubted_about(message, tried, taken);
                for (segment, part) in (0..).zip(&tried.segments) {
                    if sent && part.doubts > 0 {
                        doubted.push((message.id, attempt, segment));
                    }
                }
            }
        }
        match doubted[..] {
            [] => otherwise,
            [one] => (
                Meant::Segment(one, IdWriting::Handset),
                Some(taken.before.min(now)),
            ),
            _ => (Meant::Unsure, None),
        }
    }

    /// The message that changed; or whether the report was kept.
    pub(super) fn receive_by_sim(
        &mut self,
        report: &ReceiptReport,
        now: Timestamp,
    ) -> Result<Message, bool> {
        let unsure = match self.meant_by_sim(report, now) {
            (Meant::Segment(place, _), Some(at)) => {
                return self.adopt(place, at, report.clone(), now).ok_or(false);
            }
            (Meant::Segment(place, _), None) => {
                return self.tell_by_sim(place, report.clone(), now).ok_or(false);
            }
            (Meant::Unsure, _) => true,
            (Meant::Nobody, _) => false,
        };
        let mut same = self.unpark(&sim_s(), &report.reference);
        if unsure {
            let again = now + looked_at_after(&sim_s());
            self.reconsidered
                .insert((again, sim_s(), report.reference.clone()));
        }
        let says = |it: &ReceiptReport| {
            let scts = it.taken.map(|taken| taken.at);
            (it.account.clone(), it.handset, scts, it.receipt.clone())
        };
        let known = same.iter().any(|(parked, _)| says(parked) == says(report));
        let since = same.first().map_or(now, |(_, since)| *since);
        if !known {
            if same.len() == 16 {
                same.remove(0);
            }
            same.push((report.clone(), since));
        }
        self.parked.extend(same);
        Err(!known)
    }

    /// Looks again at one kept report: what changed, or whether it is still unsure.
    pub(super) fn look_again_by_sim(
        &mut self,
        report: &ReceiptReport,
        now: Timestamp,
    ) -> Result<Option<Message>, bool> {
        match self.meant_by_sim(report, now) {
            (Meant::Segment(place, _), Some(at)) => Ok(self.adopt(place, at, report.clone(), now)),
            (Meant::Segment(place, _), None) => Ok(self.tell_by_sim(place, report.clone(), now)),
            (Meant::Unsure, _) => Err(true),
            (Meant::Nobody, _) => Err(false),
        }
    }
}

/// True if an attempt was in doubt about when a message was taken.
fn doubted_about(message: &Message, tried: &Attempt, taken: Taken) -> bool {
    let mine = |line: &&Happening| line.at >= tried.started_at;
    let lines: Vec<_> = message.events.iter().filter(mine).collect();
    lines.iter().enumerate().any(|(index, line)| {
        let mut earlier = lines[..index].iter().rev();
        let last = earlier.find(|line| !matches!(line.what, What::Receipt { .. }));
        let from = last.map_or(tried.started_at, |line| line.at);
        matches!(line.what, What::Doubt(_))
            && between(line.at, taken.at.min(taken.before)) <= 15 * MINUTE
            && between(taken.before, from) <= 5_000
    })
}
