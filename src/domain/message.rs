//! The message record: what is known of one text for one MSISDN, and where it stands.

use serde::{Deserialize, Serialize};

use super::chain::StepEnd;
use super::id::{Account, BatchId, ChannelId, Lane, MessageId, Tenant};
use super::msisdn::Msisdn;
use super::policy::OnDoubt;
use super::privacy::{Erased, Pseudonyms, Stage};
use super::receipt::{Known, Receipt};
use super::sender::Sender;
use super::status::Status;
use super::terms::Terms;
use super::text::Replacement;
use super::time::Timestamp;
use super::trace::TraceParent;
use crate::pdu::segment::Plan;

/// One text for one recipient, with its whole history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id, which also says when it was created.
    pub id: MessageId,
    /// Whose it is; no other tenant can see it.
    pub tenant: Tenant,
    /// The submission that it came in with, if it had several recipients.
    pub batch: Option<BatchId>,
    /// Where it goes.
    pub to: Msisdn,
    /// Who it is from; `None` leaves it to the account's default.
    pub from: Option<Sender>,
    /// The text, final: nothing is added after acceptance.
    pub text: String,
    /// What was replaced in the text that was given, to avoid Unicode.
    pub replaced: Vec<Replacement>,
    /// Alphabet and parts on the air, planned at acceptance for the first account of its route.
    pub plan: Plan,
    /// Concatenation reference of its parts (3GPP TS 23.040 §9.2.3.24.1), the same in every retry.
    pub concat_reference: u16,
    /// Transactional or commercial.
    pub class: Class,
    /// The caller's free label of the kind of message.
    pub kind: Option<String>,
    /// The caller's own reference.
    pub reference: Option<String>,
    /// The caller's metadata: a JSON object as text.
    pub metadata: Option<String>,
    /// Where its webhooks go, besides the tenant's subscriptions.
    pub webhook_url: Option<String>,
    /// 0 to 3; higher leaves first.
    pub priority: u8,
    /// What becomes of it when nobody can tell whether a carrier took it; `None`: the operator's rule.
    pub on_doubt: Option<OnDoubt>,
    /// Which operator's policy rules, and so which route it goes.
    pub lane: Lane,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the client wanted it sent, if later than acceptance.
    pub send_at: Option<Timestamp>,
    /// End of its validity.
    pub expires_at: Timestamp,
    /// Last change of this record.
    pub updated_at: Timestamp,
    /// When the last part was accepted by a carrier.
    pub sent_at: Option<Timestamp>,
    /// When the receipt that made it delivered was taken in.
    pub delivered_at: Option<Timestamp>,
    /// Number of changes of status so far; consumers of webhooks order by it.
    pub revision: u32,
    /// Where it stands.
    pub state: State,
    /// Tries so far that count against the retry schedule.
    pub tries: u32,
    /// Number of times it was taken for sending: the fence against late answers.
    pub claims: u32,
    /// True once a doubtful submission was, or may have been, sent a second time.
    pub maybe_duplicate: bool,
    /// One entry an account that it was tried on.
    pub attempts: Vec<Attempt>,
    /// What happened, oldest first; at most [`Message::EVENTS_MAX`].
    pub events: Vec<Happening>,
    /// The caller's trace context, where it gave one: log lines about the message carry it.
    pub trace: Option<TraceParent>,
    /// What has been taken out of it since.
    pub erased: Erased,
    /// What was asked for beyond a text and a number.
    pub terms: Option<Box<Terms>>,
}

/// Transactional messages are awaited by their recipient; commercial ones fall under the rules of
/// direct marketing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Service messages.
    #[default]
    Transactional,
    /// Direct marketing.
    Commercial,
}

/// Where a message stands. *Scheduled* and *queued* are one variant read at two times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// With us. The dispatcher takes it at `due_at`.
    Waiting {
        /// Not before this.
        due_at: Timestamp,
        /// Shown to the operator as it is.
        why: WaitReason,
    },
    /// Taken for sending: only the holder of the lease may report on it.
    Leased(Lease),
    /// Every part accepted by a carrier.
    Submitted {
        /// When to stop waiting for a receipt; `None` where the channel gives none.
        receipt_by: Option<Timestamp>,
    },
    /// Over; only a late receipt can still correct it, upwards.
    Final(Outcome),
}

/// The time-limited right to send a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Where its carrier references live.
    pub account: Account,
    /// The bind or modem that sends it.
    pub channel: ChannelId,
    /// When the lease is taken as lost.
    pub until: Timestamp,
    /// The place in the queue that it gets back if it is returned unjudged.
    pub due_at: Timestamp,
}

/// Why a message waits. Add a variant rather than reuse one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitReason {
    /// Newly accepted.
    Accepted,
    /// The client asked for a later time.
    ScheduledByClient,
    /// A carrier refused it for now with this code.
    Backoff(String),
    /// The carrier asked us to slow down.
    Throttled,
    /// Its channel went away before it left.
    NoChannelUp,
    /// Nobody can tell whether a carrier took it; it will be sent again.
    InDoubt,
    /// The carrier let the whole account send nothing, with this code.
    AccountRefused(String),
    /// The hours that bind it are shut.
    SendingHours,
    /// The step of its way before this one failed.
    FellBack,
}

/// The ends of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// On the handset.
    Delivered,
    /// Not delivered in time.
    Expired(Cause),
    /// Cannot be delivered.
    Failed(Cause),
    /// Withdrawn before it left us.
    Cancelled,
}

/// Why a message expired or failed: the contract's `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Its validity ended while it was with us.
    ValidityPassed,
    /// No receipt came by the end of the validity.
    NoReceipt,
    /// The carrier gave up at the end of the validity.
    CarrierExpired,
    /// A carrier refused it for good at submission.
    Rejected,
    /// The carrier reported that it cannot be delivered.
    Undeliverable,
    /// The carrier reported a refusal after acceptance.
    RejectedByNetwork,
    /// The carrier deleted it.
    Deleted,
    /// Every try of the schedule was refused.
    AttemptsExhausted,
    /// Nobody can tell whether a carrier took it, and it was not to be sent twice.
    InDoubt,
    /// The recipient has opted out.
    OptedOut,
    /// The number is not in service: it may be deleted from lists of contacts.
    NumberInvalid,
}

impl Cause {
    /// The stable `reason` code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ValidityPassed => "validity_passed",
            Self::NoReceipt => "no_receipt",
            Self::CarrierExpired => "carrier_expired",
            Self::Rejected => "rejected",
            Self::Undeliverable => "undeliverable",
            Self::RejectedByNetwork => "rejected_by_network",
            Self::Deleted => "deleted",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::InDoubt => "in_doubt",
            Self::OptedOut => "opted_out",
            Self::NumberInvalid => "number_invalid",
        }
    }
}

/// The tries of a message over one account. A resumed attempt keeps the segments that the carrier
/// has already accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Whose references its segments carry.
    pub account: Account,
    /// The channel that it last went through.
    pub channel: ChannelId,
    /// When it was first taken for sending over this account.
    pub started_at: Timestamp,
    /// Its own plan, where the account cannot carry the message's; kept for every retry over it.
    pub plan: Option<Plan>,
    /// One entry a segment of the plan that rules it, in order.
    pub segments: Vec<Segment>,
}

/// One part on the air.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Segment {
    /// How far its submission got.
    pub progress: Progress,
    /// Submissions of it of which nobody can tell whether the carrier took them.
    pub doubts: u8,
    /// What receipts have told.
    pub known: Known,
    /// The carrier's ids of it, as the carrier wrote them: one, or more after a doubt.
    pub references: Vec<String>,
}

/// How far the submission of one segment got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Progress {
    /// Not sent, or certainly not taken.
    #[default]
    Unsent,
    /// Sent, and nobody can tell whether it was taken.
    InDoubt,
    /// The carrier took it and gave it a reference.
    Accepted,
}

/// One line of a message's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// What can stand in a message's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Stored, and promised.
    Accepted,
    /// A part was accepted by the carrier.
    Submitted {
        /// The channel that it went over.
        channel: ChannelId,
        /// Part number, from 1.
        part: u16,
        /// The carrier's id of it, as the carrier wrote it; empty if it gave none.
        reference: String,
    },
    /// A part was refused with this carrier code.
    Refused(String),
    /// Returned to the queue without being judged.
    GivenBack(WaitReason),
    /// A submission with no answer.
    Doubt(Doubt),
    /// A receipt for the part with this number (from 1).
    Receipt {
        /// Part number, from 1.
        part: u16,
        /// The carrier's id, as the receipt wrote it; empty if it named none.
        reference: String,
        /// What it said.
        receipt: Receipt,
    },
    /// Its time ran out.
    TimedOut(Cause),
    /// Withdrawn by the client.
    Cancelled,
    /// Ended because its recipient has opted out.
    OptedOut,
    /// A step of its way ended.
    StepEnded(StepEnd),
    /// Changed by the client.
    Changed,
}

/// Why nobody can tell whether a carrier took a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doubt {
    /// No `submit_sm_resp` within the response time-out.
    Timeout,
    /// The session ended with the answer outstanding.
    Disconnected,
    /// The holder of the lease never reported.
    LeaseLost,
}

impl Message {
    /// Longest history kept of a message of ten parts or less; when it is full, the second oldest
    /// line goes.
    pub const EVENTS_MAX: usize = 40;

    /// Longest history kept of this message: submission, an intermediate and a final receipt of each
    /// part, and as much again for what goes wrong.
    #[must_use]
    pub fn events_max(&self) -> usize {
        Self::EVENTS_MAX.max(4 * self.parts())
    }

    /// The public status.
    #[must_use]
    pub const fn status(&self) -> Status {
        Status::of(&self.state)
    }

    /// Number of parts on the air.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.current_plan().on_air(&self.text)
    }

    /// The plan of an attempt: its own, where its account needed one, else the message's.
    #[must_use]
    pub fn plan_of<'a>(&'a self, attempt: &'a Attempt) -> &'a Plan {
        attempt.plan.as_ref().unwrap_or(&self.plan)
    }

    /// The plan that it is, or was last, sent by.
    #[must_use]
    pub fn current_plan(&self) -> &Plan {
        self.attempts
            .last()
            .map_or(&self.plan, |attempt| self.plan_of(attempt))
    }

    /// The one next instant at which something must happen to it if nothing else does: end of
    /// validity, of the lease, or of the wait for a receipt.
    #[must_use]
    pub const fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Waiting { .. } => Some(self.expires_at),
            State::Leased(lease) => Some(lease.until),
            State::Submitted { receipt_by } => *receipt_by,
            State::Final(_) => None,
        }
    }

    /// The stable code of why it ended as it did, for expired and failed messages.
    #[must_use]
    pub const fn reason(&self) -> Option<Cause> {
        match &self.state {
            State::Final(Outcome::Expired(cause) | Outcome::Failed(cause)) => Some(*cause),
            _ => None,
        }
    }

    /// True if some part of it has, or may have, left us.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.attempts
            .iter()
            .flat_map(|attempt| &attempt.segments)
            .any(|segment| segment.progress != Progress::Unsent)
    }

    /// True if it is certain that nothing of it has left us, and nobody is sending it: it can be
    /// replaced or changed.
    #[must_use]
    pub fn is_still_here(&self) -> bool {
        matches!(self.state, State::Waiting { .. }) && !self.may_have_left()
    }

    /// True if some part of it has left us, or may have, in this life of the gateway or an earlier one.
    #[must_use]
    pub fn may_have_left(&self) -> bool {
        self.maybe_duplicate || self.has_left()
    }

    /// The account that has, or may have, a part of it: while it waits, nobody else may send it, or
    /// the recipient could get it twice. Only a certain refusal leaves it free for another one.
    #[must_use]
    pub fn pinned_to(&self) -> Option<&Account> {
        let has_some = |attempt: &&Attempt| {
            let mut segments = attempt.segments.iter();
            segments.any(|segment| segment.progress != Progress::Unsent)
        };
        let attempt = self.attempts_now().iter().rev().find(has_some)?;
        Some(&attempt.account)
    }

    /// The carrier's own code of the last refusal or receipt that had one.
    #[must_use]
    pub fn last_code(&self) -> Option<String> {
        let code = |happening: &Happening| match &happening.what {
            What::Refused(code) => Some(code.clone()),
            What::Receipt { receipt, .. } => receipt.error.clone().or_else(|| {
                let network = receipt.network_error?;
                Some(format!("{}:{}", network.network, network.code))
            }),
            _ => None,
        };
        self.events.iter().rev().find_map(code)
    }

    /// The channel that it last went through.
    #[must_use]
    pub fn channel(&self) -> Option<&ChannelId> {
        self.attempts.last().map(|attempt| &attempt.channel)
    }
}

impl Attempt {
    /// True if nothing of it has, or may have, left us, and no receipt has told of it.
    #[must_use]
    pub fn left_nothing(&self) -> bool {
        self.segments.iter().all(|s| *s == Segment::default())
    }
}

/// What a channel reports about: one claim of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// Which message.
    pub message: MessageId,
    /// Index into its attempts.
    pub attempt: u16,
    /// Which claim: a later claim makes this one stale.
    pub claim: u32,
}

impl Message {
    /// Takes out what the caller wrote.
    pub fn erase_text(&mut self, now: Timestamp) {
        if self.erased.text_at.is_some() {
            return;
        }
        // How many parts it had must not be asked of the text any longer.
        let text = std::mem::take(&mut self.text);
        self.plan = self.plan.cut_out(&text);
        for plan in self.attempts.iter_mut().filter_map(|it| it.plan.as_mut()) {
            *plan = plan.cut_out(&text);
        }
        self.replaced.clear();
        self.metadata = None;
        // Half an address would be called in vain, so it goes whole.
        self.webhook_url = self.webhook_url.take().filter(|url| !url.contains('?'));
        if let Some(chain) = self.terms.as_mut().and_then(|terms| terms.chain.as_mut()) {
            chain.erase_text();
        }
        self.erased.text_at = Some(now);
    }

    /// Takes out the number as well, and all that leads back to it.
    pub fn erase_number(&mut self, pseudonyms: &Pseudonyms, now: Timestamp) {
        self.erase_text(now);
        if self.erased.number.is_some() {
            return;
        }
        self.erased.number = Some(pseudonyms.of(&self.to.to_string()));
        self.to = Msisdn::NOBODY;
        self.reference = None;
        self.webhook_url = None;
        if let Some(chain) = self.terms.as_mut().and_then(|terms| terms.chain.as_mut()) {
            chain.erase_addresses();
        }
        self.trace = None;
        if let Some(terms) = &mut self.terms {
            terms.sandbox_for = None;
        }
        for segment in self.attempts.iter_mut().flat_map(|it| &mut it.segments) {
            segment.references.clear();
        }
        for happening in &mut self.events {
            match &mut happening.what {
                What::Submitted { reference, .. } | What::Receipt { reference, .. } => {
                    reference.clear();
                }
                What::Accepted
                | What::Refused(_)
                | What::GivenBack(_)
                | What::Doubt(_)
                | What::TimedOut(_)
                | What::Cancelled
                | What::OptedOut
                | What::StepEnded(_)
                | What::Changed => {}
            }
        }
        // They are the caller's names of somebody's affairs.
        if let Some(terms) = &mut self.terms {
            terms.schedule_key = None;
            terms.once_key = None;
        }
    }

    /// True if nothing is left to be done at this stage but the last.
    #[must_use]
    pub const fn is_past(&self, stage: Stage) -> bool {
        self.erased.is_past(stage)
    }
}
