//! The transition function: the only place where a message changes.

use std::time::Duration;

use thiserror::Error;

use super::chain;
use super::event::{Event, Rejection, Sending};
use super::message::{
    Attempt, Cause, Doubt, Happening, Lease, Message, Outcome, Progress, Segment, State,
    WaitReason, What,
};
use super::policy::{OnDoubt, Policy};
use super::receipt::{Known, Receipt, ReceiptState};
use super::status::Status;
use super::time::Timestamp;

mod plans;

/// How much longer a doubtful message rests each time.
const DOUBT_GROWTH: u32 = 4;

/// What an event did to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Transition {
    /// The public status before.
    pub from: Status,
    /// The public status now.
    pub to: Status,
}

impl Transition {
    /// True if the public status moved.
    #[must_use]
    pub fn status_changed(self) -> bool {
        self.from != self.to
    }
}

/// Why an event changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It speaks for a claim or a deadline that is no longer in force, or repeats what is known.
    #[error("the event is stale or tells nothing new")]
    Stale,
    /// The message is leaving or has left, so that it can no longer be withdrawn.
    #[error("the message is already leaving")]
    TooLate,
}

impl Message {
    /// Applies `event` at `now` under `policy`.
    ///
    /// Total over all states and events, and free of I/O: time and rules are arguments. On
    /// `Refused` the message is unchanged.
    ///
    /// # Errors
    /// `Stale` when the event no longer concerns the message; `TooLate` for a withdrawal of a
    /// message that is leaving.
    pub fn apply(
        &mut self,
        event: &Event,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Transition, Refused> {
        let from = self.status();
        match event {
            Event::Claimed(lease) => self.claimed(lease, policy, now)?,
            Event::SegmentAccepted {
                by,
                segment,
                reference,
            } => {
                let told = self.known_when_taken(*by);
                self.accepted(*by, (*segment, told), reference, policy, now)?;
            }
            Event::SegmentDelivered {
                by,
                segment,
                reference,
            } => {
                let taken = (*segment, Known::Delivered);
                self.accepted(*by, taken, reference, policy, now)?;
            }
            Event::SegmentRejected { by, rejection } => {
                self.rejected(*by, rejection, policy, now)?
            }
            Event::SegmentRefusedLate {
                by,
                segment,
                rejection,
            } => self.refused_late(*by, *segment, rejection, policy, now)?,
            Event::SegmentUnknown { by, segment, doubt } => {
                self.holder(*by)?;
                self.mark_in_doubt(*by, Some(*segment));
                self.note(now, What::Doubt(*doubt));
                self.doubtful(policy, now);
            }
            Event::GivenBack { by, why } => {
                let due_at = self.holder(*by)?;
                self.tries = self.tries.saturating_sub(1);
                self.state = State::Waiting {
                    due_at,
                    why: why.clone(),
                };
            }
            Event::Receipt {
                attempt,
                segment,
                reference,
                receipt,
            } => {
                self.receipt((*attempt, *segment), reference, receipt, policy, now)?;
            }
            Event::DeadlinePassed => self.deadline_passed(policy, now)?,
            Event::LeaseLost => {
                let State::Leased(_) = self.state else {
                    return Err(Refused::Stale);
                };
                self.lose_lease(policy, now);
            }
            Event::MayHaveLeft => match self.state {
                State::Waiting { .. } if !self.maybe_duplicate => {
                    self.maybe_duplicate = true;
                    self.note(now, What::Doubt(Doubt::LeaseLost));
                }
                _ => return Err(Refused::Stale),
            },
            Event::Deferred { until } => match &mut self.state {
                State::Waiting { due_at, why } if *until > *due_at => {
                    (*due_at, *why) = (*until, WaitReason::SendingHours);
                    self.note(now, What::GivenBack(WaitReason::SendingHours));
                }
                _ => return Err(Refused::Stale),
            },
            Event::Cancelled => match self.state {
                State::Waiting { .. } if !self.has_left_now() => {
                    self.note(now, What::Cancelled);
                    self.state = State::Final(Outcome::Cancelled);
                }
                _ => return Err(Refused::TooLate),
            },
            Event::Replaced(by) => self.replaced_by(*by, now)?,
            Event::Changed(changes) => self.changed(changes, now)?,
            // A part of it may have left; what has not must not. What is leaving is not recalled.
            Event::OptedOut => match self.state {
                State::Waiting { .. } => {
                    self.note(now, What::OptedOut);
                    self.state = State::Final(Outcome::Failed(Cause::OptedOut));
                }
                _ => return Err(Refused::TooLate),
            },
        }
        self.go_on(policy, now);
        self.updated_at = now;
        let to = self.status();
        if from != to {
            self.revision += 1;
        }
        Ok(Transition { from, to })
    }

    /// Which claim is in force, for a channel that is about to send.
    #[must_use]
    pub fn sending(&self) -> Sending {
        Sending {
            attempt: u16::try_from(self.attempts.len().saturating_sub(1)).unwrap_or(u16::MAX),
            claim: self.claims,
        }
    }

    /// What becomes of it when nobody can tell whether a carrier took it.
    #[must_use]
    pub fn doubt_rule(&self, policy: &Policy) -> OnDoubt {
        let rule = || policy.operator(&self.lane.operator).on_doubt;
        // What the caller wants is of its SMS: an app knows a repetition, a mailbox does not.
        self.on_doubt
            .filter(|_| !self.is_relayed())
            .unwrap_or_else(rule)
    }

    fn claimed(&mut self, lease: &Lease, policy: &Policy, now: Timestamp) -> Result<(), Refused> {
        let State::Waiting { .. } = self.state else {
            return Err(Refused::Stale);
        };
        if now >= self.expires_at {
            return Err(Refused::Stale);
        }
        // A try of a relay bears the same id as the one before it.
        self.maybe_duplicate |= !self.is_relayed()
            && self
                .attempts_now()
                .iter()
                .flat_map(|attempt| &attempt.segments)
                .any(|segment| segment.progress == Progress::InDoubt);
        let first = self.first_attempt();
        // An attempt that nothing left over is no attempt: accounts that take turns while the
        // carrier slows us down would else lengthen the record without end.
        while self
            .attempts_now()
            .last()
            .is_some_and(|last| last.account != lease.account && last.left_nothing())
        {
            self.attempts.pop();
        }
        let begun = self.attempts.len() > first;
        match self.attempts.last_mut() {
            // The carrier keeps what it has accepted, so the same account goes on with the rest.
            Some(last) if begun && last.account == lease.account => {
                last.channel = lease.channel.clone();
            }
            _ => self.attempts.push(Attempt {
                account: lease.account.clone(),
                channel: lease.channel.clone(),
                started_at: now,
                plan: None,
                segments: Vec::new(),
            }),
        }
        if let Some(last) = self.attempts.last_mut()
            && last.left_nothing()
        {
            // By the rules now in force: they may have changed since a try that left nothing.
            let rules = policy.text_rules_of(&lease.account);
            last.plan = rules.plan_instead(&self.text, &self.plan);
            let count = last.plan.as_ref().unwrap_or(&self.plan).count();
            last.segments = vec![Segment::default(); count];
        }
        self.tries += 1;
        self.claims += 1;
        self.state = State::Leased(lease.clone());
        Ok(())
    }

    /// The due time of the lease, if `by` still holds it.
    fn holder(&self, by: Sending) -> Result<Timestamp, Refused> {
        match &self.state {
            State::Leased(lease) if by == self.sending() => Ok(lease.due_at),
            _ => Err(Refused::Stale),
        }
    }

    /// A late acceptance counts too, whoever holds the message now: the carrier has the segment.
    fn accepted(
        &mut self,
        by: Sending,
        (index, told): (u16, Known),
        reference: &str,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let late = self.holder(by).is_err();
        let of_this_step = usize::from(by.attempt) >= self.first_attempt();
        let attempt = self
            .attempts
            .get_mut(usize::from(by.attempt))
            .ok_or(Refused::Stale)?;
        let segment = attempt
            .segments
            .get_mut(usize::from(index))
            .ok_or(Refused::Stale)?;
        // Some carriers take a message and give it no id.
        let named = !reference.trim().is_empty();
        let known = if named {
            segment.references.iter().any(|known| known == reference)
        } else {
            segment.progress == Progress::Accepted
        };
        if known && segment.known >= told {
            return Err(Refused::Stale);
        }
        if named && !known {
            segment.references.push(reference.to_owned());
        }
        segment.progress = Progress::Accepted;
        segment.known = segment.known.max(told);
        if late {
            // It settles the doubt about its own submission, and about no other one.
            segment.doubts = segment.doubts.saturating_sub(1);
        }
        let complete = attempt
            .segments
            .iter()
            .all(|s| s.progress == Progress::Accepted);
        // Given up while in doubt, and the carrier answers after all: the truth is better.
        let unsettled = matches!(
            self.state,
            State::Waiting { .. }
                | State::Leased(_)
                | State::Final(Outcome::Failed(Cause::InDoubt | Cause::OptedOut))
        );
        let channel = attempt.channel.clone();
        self.note(
            now,
            What::Submitted {
                channel,
                part: index.saturating_add(1),
                reference: reference.trim().to_owned(),
            },
        );
        if complete && unsettled && of_this_step {
            self.submitted(policy, now);
            self.settle(None, now);
        } else if told == Known::Delivered {
            self.settle(None, now);
        }
        Ok(())
    }

    /// From here on the message is the carrier's, until a receipt or the end of waiting for one.
    fn submitted(&mut self, policy: &Policy, now: Timestamp) {
        self.sent_at = Some(now);
        self.state = State::Submitted {
            receipt_by: Some(self.receipt_by(policy)),
        };
    }

    fn rejected(
        &mut self,
        by: Sending,
        rejection: &Rejection,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let due_at = self.holder(by)?;
        self.settle_doubts(rejection);
        self.judged(due_at, rejection, policy, now);
        Ok(())
    }

    /// A certain refusal settles the doubt about its submission. If that was the only one and the
    /// message rests because of it, it is as if the refusal had come in time; a message that was given
    /// up as doubtful is known to be refused now, and nobody sends it again.
    fn refused_late(
        &mut self,
        by: Sending,
        index: u16,
        rejection: &Rejection,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let segment = self
            .attempts
            .get_mut(usize::from(by.attempt))
            .and_then(|attempt| attempt.segments.get_mut(usize::from(index)))
            .filter(|segment| segment.progress == Progress::InDoubt)
            .ok_or(Refused::Stale)?;
        segment.doubts = segment.doubts.saturating_sub(1);
        let settled = segment.doubts == 0;
        if settled {
            segment.progress = Progress::Unsent;
        }
        match &self.state {
            State::Waiting {
                due_at,
                why: WaitReason::InDoubt,
            } if settled && by == self.sending() => {
                let place = (*due_at).min(now);
                self.judged(place, rejection, policy, now);
            }
            State::Final(Outcome::Failed(Cause::InDoubt)) if settled => {
                self.note(now, What::Refused(rejection.code().to_owned()));
                let cause = match rejection {
                    Rejection::NumberInvalid(_) => Cause::NumberInvalid,
                    _ => Cause::Rejected,
                };
                self.state = State::Final(Outcome::Failed(cause));
            }
            _ => self.note(now, What::Refused(rejection.code().to_owned())),
        }
        Ok(())
    }

    /// What a refusal makes of a message whose place in the queue was `due_at`.
    fn judged(
        &mut self,
        due_at: Timestamp,
        rejection: &Rejection,
        policy: &Policy,
        now: Timestamp,
    ) {
        match rejection {
            Rejection::Permanent(code) => {
                self.note(now, What::Refused(code.clone()));
                self.state = State::Final(Outcome::Failed(Cause::Rejected));
            }
            Rejection::NumberInvalid(code) => {
                self.note(now, What::Refused(code.clone()));
                self.state = State::Final(Outcome::Failed(Cause::NumberInvalid));
            }
            Rejection::Temporary(code) => {
                self.note(now, What::Refused(code.clone()));
                let retry = &policy.operator(&self.lane.operator).retry;
                let wait = if self.is_relayed() {
                    retry.wait_for_ever(self.tries, self.id)
                } else {
                    retry.wait_after(self.tries, self.id)
                };
                self.state = match wait {
                    Some(wait) => State::Waiting {
                        due_at: now + wait,
                        why: WaitReason::Backoff(code.clone()),
                    },
                    None => State::Final(Outcome::Failed(Cause::AttemptsExhausted)),
                };
            }
            // The account is slowed or at rest, not the message: it keeps its place and its tries.
            Rejection::Throttled(code) => {
                self.pushed_back(due_at, code, WaitReason::Throttled, now);
            }
            Rejection::Account(code) => {
                let why = WaitReason::AccountRefused(code.clone());
                self.pushed_back(due_at, code, why, now);
            }
        }
    }

    /// Back to its place, uncounted. A long rest would fill the history with one and the same line.
    fn pushed_back(&mut self, due_at: Timestamp, code: &str, why: WaitReason, now: Timestamp) {
        let last = self.events.last().map(|happening| &happening.what);
        if !matches!(last, Some(What::Refused(known)) if known == code) {
            self.note(now, What::Refused(code.to_owned()));
        }
        self.tries = self.tries.saturating_sub(1);
        self.state = State::Waiting { due_at, why };
    }

    /// Marks the segment that was under way; without a number, the first that was not accepted.
    fn mark_in_doubt(&mut self, by: Sending, segment: Option<u16>) {
        if let Some(attempt) = self.attempts.get_mut(usize::from(by.attempt)) {
            let found = match segment {
                Some(index) => attempt.segments.get_mut(usize::from(index)),
                None => attempt
                    .segments
                    .iter_mut()
                    .find(|s| s.progress != Progress::Accepted),
            };
            if let Some(segment) = found
                && segment.progress != Progress::Accepted
            {
                segment.progress = Progress::InDoubt;
                segment.doubts = segment.doubts.saturating_add(1);
            }
        }
    }

    fn doubtful(&mut self, policy: &Policy, now: Timestamp) {
        // At first it rests a little, for a late answer or a receipt to settle it, or for a dead link
        // to be noticed; then longer each time, and no more often than after refusals: a carrier that
        // takes everything and answers nothing does not get copies for ever.
        let wait = match self.doubt_rule(policy) {
            OnDoubt::Fail => None,
            OnDoubt::Resend => {
                let retry = &policy.operator(&self.lane.operator).retry;
                let longer = DOUBT_GROWTH.saturating_pow(self.tries.saturating_sub(1));
                let account = self.attempts.last().map(|last| &last.account);
                let modem = account.and_then(|account| policy.modems.get(account));
                let grace = modem.map_or(policy.in_doubt_grace, |rules| rules.in_doubt_grace);
                let rest = grace.saturating_mul(longer);
                // What a SIM has sent a status report may settle, if it is given the time.
                let least = modem.map_or(Duration::ZERO, |rules| rules.in_doubt_grace);
                let tries = self.tries.max(1);
                let wait = if self.is_relayed() {
                    retry.wait_for_ever(tries, self.id)
                } else {
                    retry.wait_after(tries, self.id)
                };
                wait.map(|wait| wait.min(rest).max(least))
            }
        };
        self.state = match wait {
            Some(wait) => State::Waiting {
                due_at: now + wait,
                why: WaitReason::InDoubt,
            },
            None => State::Final(Outcome::Failed(Cause::InDoubt)),
        };
    }

    fn receipt(
        &mut self,
        (attempt, index): (u16, u16),
        reference: &str,
        receipt: &Receipt,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let by_app = self
            .attempts
            .get(usize::from(attempt))
            .is_some_and(|attempt| attempt.account.as_str() == chain::APP);
        let segment = self
            .attempts
            .get_mut(usize::from(attempt))
            .and_then(|attempt| attempt.segments.get_mut(usize::from(index)))
            .ok_or(Refused::Stale)?;
        let what = What::Receipt {
            part: index.saturating_add(1),
            reference: reference.to_owned(),
            receipt: receipt.clone(),
        };
        // The history alone cannot tell a repetition: it does not say which account reported.
        let tells_nothing =
            segment.progress == Progress::Accepted && segment.known >= receipt.state.known();
        if tells_nothing && self.events.iter().any(|happening| happening.what == what) {
            return Err(Refused::Stale);
        }
        // A receipt proves that the carrier has the segment, whatever became of the response.
        segment.progress = Progress::Accepted;
        if by_app {
            // It speaks for every try under its one id.
            segment.doubts = 0;
        }
        segment.known = segment.known.max(receipt.state.known());
        self.note(now, what);
        let of_this_step = usize::from(attempt) >= self.first_attempt();
        let complete = self
            .attempts
            .get(usize::from(attempt))
            .is_some_and(|a| a.segments.iter().all(|s| s.progress == Progress::Accepted));
        if complete
            && of_this_step
            && matches!(self.state, State::Waiting { .. } | State::Leased(_))
        {
            self.submitted(policy, now);
        }
        let account = self
            .attempts
            .get(usize::from(attempt))
            .map(|it| &it.account);
        let gone = account.is_some_and(|account| policy.names_no_number(account, receipt));
        self.settle(Some((receipt.state, gone)), now);
        Ok(())
    }

    fn deadline_passed(&mut self, policy: &Policy, now: Timestamp) -> Result<(), Refused> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Err(Refused::Stale);
        }
        match self.state {
            State::Waiting { .. } => self.time_out(Cause::ValidityPassed, now),
            State::Leased(_) => self.lose_lease(policy, now),
            State::Submitted { .. } => self.time_out(Cause::NoReceipt, now),
            State::Final(_) => return Err(Refused::Stale),
        }
        Ok(())
    }

    fn lose_lease(&mut self, policy: &Policy, now: Timestamp) {
        self.mark_in_doubt(self.sending(), None);
        self.note(now, What::Doubt(Doubt::LeaseLost));
        self.doubtful(policy, now);
    }

    fn time_out(&mut self, cause: Cause, now: Timestamp) {
        self.note(now, What::TimedOut(cause));
        self.state = State::Final(Outcome::Expired(cause));
    }

    /// Derives the state from what is known of the segments. An attempt means what its weakest
    /// segment means, a message what its best attempt means; a final state only climbs.
    /// `last` is what the last receipt says, and whether it says that nobody has the number.
    fn settle(&mut self, last: Option<(ReceiptState, bool)>, now: Timestamp) {
        let first = self.first_attempt();
        let best = self
            .attempts
            .iter()
            .enumerate()
            // What an earlier step came to counts no longer, unless it has delivered after all.
            .filter(|(index, a)| {
                *index >= first || a.segments.iter().all(|s| s.known == Known::Delivered)
            })
            .map(|(_, attempt)| attempt)
            .filter(|a| a.segments.iter().all(|s| s.progress == Progress::Accepted))
            .filter_map(|a| {
                a.segments
                    .iter()
                    .map(|s| s.known)
                    .min_by_key(|known| known.meaning())
            })
            .max_by_key(|known| known.meaning());
        let outcome = match best {
            None | Some(Known::Awaiting) => return,
            Some(Known::Delivered) => Outcome::Delivered,
            Some(Known::Expired) => Outcome::Expired(Cause::CarrierExpired),
            Some(Known::Failed) => Outcome::Failed(match last {
                Some((_, true)) => Cause::NumberInvalid,
                Some((ReceiptState::Rejected, _)) => Cause::RejectedByNetwork,
                Some((ReceiptState::Deleted, _)) => Cause::Deleted,
                _ => Cause::Undeliverable,
            }),
        };
        let climbs = match self.state {
            State::Submitted { .. } => true,
            State::Final(current) => rank(outcome) > rank(current),
            // Still being tried over another account: only success ends it.
            State::Waiting { .. } | State::Leased(_) => outcome == Outcome::Delivered,
        };
        if climbs {
            if outcome == Outcome::Delivered {
                self.delivered_at = Some(now);
            }
            self.state = State::Final(outcome);
        }
    }

    /// Adds a line to the history.
    fn note(&mut self, at: Timestamp, what: What) {
        if self.events.len() >= self.events_max() {
            // The first line, the promise, and the newest ones are worth the most.
            self.events.remove(1);
        }
        self.events.push(Happening { at, what });
    }
}

/// The order in which a final outcome may be corrected: upwards only.
const fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Cancelled => 0,
        Outcome::Expired(_) => 1,
        Outcome::Failed(_) => 2,
        Outcome::Delivered => 3,
    }
}

mod way;

#[cfg(test)]
mod tests;
