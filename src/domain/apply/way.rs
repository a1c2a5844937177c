//! What an event means for a way of several channels.
//!
//! Two things hold in any order of events: at most one step ends as succeeded, and no step begins
//! after one that ended in doubt. So a step is left only when every part of it that ever went out is
//! known not to be with the recipient; where a carrier has said so and takes it back later, the truth
//! is shown and the message is marked as a possible duplicate.

use super::Message;
use crate::domain::chain::{self, Chain, Step, StepEnd, SuccessOn, Way};
use crate::domain::event::{Rejection, Sending};
use crate::domain::message::{Attempt, Cause, Outcome, Progress, Segment, State, WaitReason, What};
use crate::domain::policy::Policy;
use crate::domain::receipt::Known;
use crate::domain::time::Timestamp;

impl Message {
    /// The channels that it is tried on; `None`: the SMS alone.
    #[must_use]
    pub fn chain(&self) -> Option<&Chain> {
        self.terms.as_ref()?.chain.as_ref()
    }

    fn chain_mut(&mut self) -> Option<&mut Chain> {
        self.terms.as_mut()?.chain.as_mut()
    }

    /// The step that it is at; `None` of a message that is an SMS alone.
    #[must_use]
    pub fn step(&self) -> Option<&Step> {
        self.chain()?.current()
    }

    /// True if the step that it is at is none over SMS.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.step().is_some_and(|step| step.way.is_relay())
    }

    /// True if its claims have to be durable, though it may be sent again: what may have left decides
    /// whether another channel is tried.
    #[must_use]
    pub fn must_be_seen_leaving(&self) -> bool {
        self.chain().is_some()
    }

    /// Index of the first attempt of the step that it is at; 0 of a message that is an SMS alone.
    #[must_use]
    pub fn first_attempt(&self) -> usize {
        self.step()
            .map_or(0, |step| usize::from(step.first_attempt))
    }

    /// The attempts of the step that it is at; all of them of a message that is an SMS alone.
    #[must_use]
    pub fn attempts_now(&self) -> &[Attempt] {
        self.attempts.get(self.first_attempt()..).unwrap_or(&[])
    }

    /// True if something of the step that it is at has, or may have, left us.
    pub(super) fn has_left_now(&self) -> bool {
        has_left(self.attempts_now())
    }

    /// Settles what the far end's own word settles: an app answers for every try under one id.
    pub(super) fn settle_doubts(&mut self, rejection: &Rejection) {
        let typed = [chain::NO_ADDRESS, chain::UNDELIVERABLE, chain::RETRY];
        let by_app = matches!(self.step().map(|step| &step.way), Some(Way::App { .. }));
        if !by_app || !typed.contains(&rejection.code()) {
            return;
        }
        let first = self.first_attempt();
        let attempts = self.attempts.iter_mut().skip(first);
        for segment in attempts.flat_map(|attempt| &mut attempt.segments) {
            segment.doubts = 0;
            if segment.progress == Progress::InDoubt {
                segment.progress = Progress::Unsent;
            }
        }
    }

    /// What is known of a part that the far end has taken: where a relay's taking it is the step's
    /// success, nothing more is told of it.
    pub(super) fn known_when_taken(&self, by: Sending) -> Known {
        let of_this_step = usize::from(by.attempt) >= self.first_attempt();
        match self.step() {
            Some(step)
                if of_this_step
                    && step.way.is_relay()
                    && step.success_on == SuccessOn::Accepted =>
            {
                Known::Delivered
            }
            _ => Known::Awaiting,
        }
    }

    /// True if what has just happened to it says, beyond doubt, that nobody has its number: it failed for
    /// that, or its SMS did and it is at another step now.
    #[must_use]
    pub fn tells_of_no_number(&self) -> bool {
        match self.state {
            State::Final(Outcome::Failed(cause)) => cause == Cause::NumberInvalid,
            State::Waiting { .. } => self.chain().is_some_and(|chain| {
                let last = self.events.last().map(|it| &it.what);
                let before = usize::from(chain.at).checked_sub(1);
                let left = before.and_then(|before| chain.steps.get(before));
                matches!(last, Some(What::StepEnded(StepEnd::NoAddress)))
                    && left.is_some_and(|step| step.way == Way::Sms)
            }),
            _ => false,
        }
    }

    /// Until when a receipt is awaited: an app is told the deadline, a carrier needs a while more.
    pub(super) fn receipt_by(&self, policy: &Policy) -> Timestamp {
        if self.is_relayed() {
            self.expires_at
        } else {
            self.expires_at + policy.receipt_grace
        }
    }

    /// Ends the step that the message is at, if the state says so, and begins the next one.
    pub(super) fn go_on(&mut self, policy: &Policy, now: Timestamp) {
        let Some(step) = self.step() else { return };
        let (sms, success_on) = (step.way == Way::Sms, step.success_on);
        let over = step.ended.is_some();
        match self.state {
            State::Submitted { .. } if sms && success_on == SuccessOn::Accepted && !over => {
                self.end_step(StepEnd::Succeeded, now);
            }
            State::Final(Outcome::Delivered) => self.was_delivered(now),
            State::Final(outcome @ (Outcome::Failed(_) | Outcome::Expired(_))) if !over => {
                self.came_to_nothing(outcome, policy, now);
            }
            // A withdrawn message is over as a whole, at whatever step it was.
            State::Waiting { .. }
            | State::Leased(_)
            | State::Submitted { .. }
            | State::Final(_) => {}
        }
    }

    fn came_to_nothing(&mut self, outcome: Outcome, policy: &Policy, now: Timestamp) {
        if outcome == Outcome::Failed(Cause::OptedOut) {
            return;
        }
        let parts = || self.attempts_now().iter().flat_map(|it| &it.segments);
        // A number that nobody has is told of by a refusal as well as by a receipt.
        let last = self.events.last().map(|it| &it.what);
        let refused = matches!(last, Some(What::Refused(_)));
        let by_receipts = !refused
            && !matches!(
                outcome,
                Outcome::Expired(Cause::NoReceipt | Cause::ValidityPassed)
                    | Outcome::Failed(Cause::Rejected | Cause::AttemptsExhausted | Cause::InDoubt)
            );
        if by_receipts && parts().any(|part| part.known == Known::Awaiting && part.doubts == 0) {
            // One part is known to be lost: what becomes of the others decides whether it is certain.
            let receipt_by = Some(self.receipt_by(policy));
            self.state = State::Submitted { receipt_by };
            return;
        }
        let certain = parts().all(is_certainly_lost);
        let end = match outcome {
            _ if !certain => StepEnd::InDoubt,
            Outcome::Expired(Cause::NoReceipt) | Outcome::Failed(Cause::InDoubt) => {
                StepEnd::InDoubt
            }
            Outcome::Expired(_) => StepEnd::TimedOut,
            Outcome::Failed(Cause::NumberInvalid) => StepEnd::NoAddress,
            _ if self.was_told_of_no_address() => StepEnd::NoAddress,
            _ => StepEnd::Undeliverable,
        };
        self.end_step(end, now);
        if end.is_certain() {
            self.begin_next(policy, now);
        }
    }

    /// True if the last that was said of it is that there is no address.
    fn was_told_of_no_address(&self) -> bool {
        let said = self.events.iter().rev().find_map(|it| match &it.what {
            What::Refused(code) => Some(code.as_str()),
            What::Receipt { receipt, .. } => Some(receipt.word.as_deref().unwrap_or_default()),
            _ => None,
        });
        said == Some(chain::NO_ADDRESS)
    }

    fn end_step(&mut self, end: StepEnd, now: Timestamp) {
        if let Some(step) = self.chain_mut().and_then(Chain::current_mut) {
            step.ended = Some((now, end));
        }
        self.note(now, What::StepEnded(end));
    }

    /// Its time counts from when it may first leave: hours that are shut are none of it.
    fn begin_next(&mut self, policy: &Policy, now: Timestamp) {
        let first_attempt = u16::try_from(self.attempts.len()).unwrap_or(u16::MAX);
        let Some(chain) = self.chain_mut() else {
            return;
        };
        let next = chain.at.saturating_add(1);
        let Some(step) = chain.steps.get_mut(usize::from(next)) else {
            return;
        };
        step.first_attempt = first_attempt;
        chain.at = next;
        self.lane = chain.lane();
        let opening = policy.opening_of(self, now);
        let (due_at, why) = if opening > now && opening < Timestamp::NEVER {
            (opening, WaitReason::SendingHours)
        } else {
            (now, WaitReason::FellBack)
        };
        if let Some(step) = self.chain_mut().and_then(Chain::current_mut) {
            step.began_at = Some(due_at);
            self.expires_at = step.deadline(due_at);
        }
        self.sent_at = None;
        self.tries = 0;
        self.state = State::Waiting { due_at, why };
    }

    /// Notes which step has delivered, the first time that one has.
    fn was_delivered(&mut self, now: Timestamp) {
        let Some(chain) = self.chain() else { return };
        let at = usize::from(chain.at);
        let delivered = |attempt: &Attempt| {
            let mut parts = attempt.segments.iter();
            parts.all(|part| part.known == Known::Delivered)
        };
        let by: Vec<usize> = self
            .attempts
            .iter()
            .enumerate()
            .filter(|(_, attempt)| delivered(attempt))
            .filter_map(|(index, _)| chain.step_of(index))
            .collect();
        let known = chain
            .steps
            .iter()
            .position(|step| matches!(step.ended, Some((_, StepEnd::Succeeded))));
        if let Some(known) = known {
            self.maybe_duplicate |= by.iter().any(|step| *step != known);
            return;
        }
        let Some(by) = by.first().copied() else {
            return;
        };
        if by == at {
            self.end_step(StepEnd::Succeeded, now);
            return;
        }
        // A carrier takes back what it has said: what has begun since may be a second one.
        self.maybe_duplicate |= !self.attempts_now().is_empty();
        if let Some(chain) = self.chain_mut() {
            if let Some(step) = chain.steps.get_mut(by) {
                step.ended = Some((now, StepEnd::Succeeded));
            }
            if let Some(step) = chain.current_mut() {
                step.ended.get_or_insert((now, StepEnd::Needless));
            }
        }
        self.note(now, What::StepEnded(StepEnd::Succeeded));
    }
}

fn has_left(attempts: &[Attempt]) -> bool {
    let mut parts = attempts.iter().flat_map(|attempt| &attempt.segments);
    parts.any(|part| part.progress != Progress::Unsent)
}

/// True if a part never went out, or is known not to be with the recipient, and no copy of it may be.
fn is_certainly_lost(part: &Segment) -> bool {
    let lost = matches!(part.known, Known::Expired | Known::Failed);
    part.doubts == 0
        && match part.progress {
            Progress::Unsent => part.known == Known::Awaiting || lost,
            Progress::InDoubt => false,
            Progress::Accepted => lost,
        }
}
