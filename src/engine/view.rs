//! What the outside sees of records: the JSON of the contract, borrowed from the record.
//!
//! Webhooks, the HTTP interface and server-sent events render the same structures, so that a
//! message looks the same wherever it is met. Nothing is decided here.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::Engine;
use super::accept::Advice;
use super::credit::CostView;
use crate::domain::inbound::Inbound;
use crate::domain::message::{
    Cause, Class, Doubt, Happening, Message, Outcome, State, WaitReason, What,
};
use crate::domain::optout::Wish;
use crate::domain::privacy::{self, Erased};
use crate::domain::receipt::{NetworkError, ReceiptState};
use crate::domain::status::Language;
use crate::domain::text::Replacement;
use crate::domain::time::Timestamp;
use crate::pdu::segment::Alphabet;
use crate::store::why_code;

mod channels;
mod numbers;
mod steps;

pub use channels::ChannelJson;
pub use numbers::InvalidNumberView;
pub use steps::StepView;

/// A message as clients read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub struct MessageView<'a> {
    /// Its id (UUIDv7).
    #[schema(value_type = String, format = "uuid")]
    id: uuid::Uuid,
    /// Recipient, E.164; `~` and 16 hexadecimal digits once it is erased, the same for the same number.
    #[schema(example = "+33612345678")]
    to: String,
    /// Sender; null: the carrier account's own.
    #[schema(required)]
    from: Option<String>,
    /// The text as it is sent; null once it is erased.
    #[schema(required)]
    text: Option<&'a str>,
    /// When the text was erased, with metadata and whatever else was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    erased_at: Option<Rfc3339>,
    /// `pending`, `sent`, `delivered`, `expired`, `failed` or `cancelled`.
    status: &'static str,
    /// The status for people, in the language of `Accept-Language`.
    label: &'static str,
    /// `scheduled`, `queued`, `submitting`, `submitted`, `delivered`, `expired`, `failed` or
    /// `cancelled`.
    state: &'static str,
    /// Why it expired or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// True if nobody has the number (`number_invalid`): it may be deleted from lists of contacts.
    #[serde(skip_serializing_if = "is_false")]
    deletable: bool,
    /// What a pending message waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// Until when it waits, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    eta: Option<Rfc3339>,
    /// `gsm`, `latin1` or `ucs2`.
    encoding: &'static str,
    /// Number of parts on the air.
    parts: usize,
    /// What was replaced in the text that was given, to avoid Unicode.
    #[serde(skip_serializing_if = "<[Replaced<'_>]>::is_empty")]
    transliterated: Vec<Replaced<'a>>,
    /// `transactional` or `commercial`.
    class: &'static str,
    /// The caller's label of the kind of message.
    #[serde(rename = "type")]
    #[schema(required)]
    kind: Option<&'a str>,
    /// The caller's own reference.
    #[schema(required)]
    reference: Option<&'a str>,
    /// Whose it is.
    tenant: &'a str,
    /// The channel that it last went through.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    /// Whose policy rules.
    operator: &'a str,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    created_at: Rfc3339,
    /// When the caller wanted it sent, if later than its acceptance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    send_at: Option<Rfc3339>,
    /// When a carrier had accepted every part.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    sent_at: Option<Rfc3339>,
    /// When the receipt that it is on the handset was taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    delivered_at: Option<Rfc3339>,
    /// End of its validity.
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    expires_at: Rfc3339,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    updated_at: Rfc3339,
    /// Tries so far, the present one included.
    attempts: u32,
    /// True once it was, or may have been, sent a second time.
    #[serde(skip_serializing_if = "is_false")]
    maybe_duplicate: bool,
    /// The batch that it came in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    batch: Option<uuid::Uuid>,
    /// The caller's metadata, given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
    /// The number that it was for, its middle hidden, where the tenant's sandbox got it instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox_for: Option<&'a str>,
    /// The template that its text was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a str>,
    /// True if its text was cut to what its tenant allows.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    /// What its sender may want to know; in the answer that accepts it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
    /// Number of changes of status so far: order webhooks by it.
    revision: u32,
    /// What it took of the tenant's credit.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<CostView>,
    /// The channels that it is tried on, in order, of which exactly one delivers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepView>,
    /// The channel of the step that has succeeded: `sms`, `app` or `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_by: Option<&'static str>,
    /// The status as one letter: `I` nothing final is known, `E` it was not delivered, `V` delivered.
    letter: &'static str,
    /// The caller's name of the plan that it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_key: Option<&'a str>,
    /// The caller's name of what is told once.
    #[serde(skip_serializing_if = "Option::is_none")]
    once_key: Option<&'a str>,
    /// The message of the same plan in whose place it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    replaces: Option<uuid::Uuid>,
    /// The message of the same plan that stands in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    replaced_by: Option<uuid::Uuid>,
    /// True in the answer to a post under a `once_key` that was told already: this is the first message.
    #[serde(skip_serializing_if = "is_false")]
    duplicate: bool,
    /// What happened, oldest first.
    events: Vec<EventView<'a>>,
}

/// Something worth knowing that does not prevent sending.
#[derive(Debug, Serialize, ToSchema)]
pub struct Warning {
    /// `unicode`, `latin1`, `transliterated`, `several_parts`, `window`, `expires_first`,
    /// `no_channel`, `truncated`, `text_empty`, `stop_unknown`, `insufficient_credit`, …
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

impl From<&Advice> for Warning {
    fn from(advice: &Advice) -> Self {
        Self {
            code: advice.code,
            detail: advice.detail.clone(),
        }
    }
}

/// A character, with its combining marks, and what stands in its place.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replacement)]
pub struct Replaced<'a> {
    /// What was given.
    from: &'a str,
    /// What is sent.
    to: &'a str,
}

/// One line of a message's history.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageEvent)]
pub struct EventView<'a> {
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    at: Rfc3339,
    /// `accepted`, `submitted`, `refused`, `given_back`, `in_doubt`, `receipt`, `timed_out`,
    /// `cancelled`, `opted_out`, `step_ended` or `changed`.
    event: &'static str,
    /// The channel, the state that a receipt reports, the reason, or how a step ended, by `event`.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// The carrier's own code: of a refusal its number and name, of a receipt its `err:` field, or
    /// else its `network_error_code` as type and code.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Cow<'a, str>>,
    /// Part number, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u16>,
    /// The carrier's id of the part: as the carrier answered it (`submitted`), or as it wrote it
    /// then (`receipt`).
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier_id: Option<&'a str>,
    /// The state as the carrier wrote it in a receipt's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    stat: Option<&'a str>,
    /// The `network_error_code` of a receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    network_error: Option<NetworkErrorView>,
}

/// Why a network did not deliver (SMPP 3.4 §5.3.2.31).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NetworkError)]
pub struct NetworkErrorView {
    /// What kind of network: 1 ANSI-136, 2 IS-95, 3 GSM.
    r#type: u8,
    /// The network's code.
    code: u16,
}

/// A message from a handset, as clients read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Inbound)]
pub struct InboundView<'a> {
    #[schema(value_type = String, format = "uuid")]
    id: uuid::Uuid,
    /// Who sent it; `~` and 16 hexadecimal digits once that is erased, the same for the same number.
    from: Cow<'a, str>,
    /// The number or short code that it was sent to.
    to: &'a str,
    /// Null once it is erased.
    #[schema(required)]
    text: Option<&'a str>,
    /// When the text was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    erased_at: Option<Rfc3339>,
    /// The bind or modem that brought it.
    channel: &'a str,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    received_at: Rfc3339,
    /// The keyword that it is, as the configuration writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    keyword: Option<&'a str>,
    /// What the keyword has changed: true, its sender gets nothing more; false, it does again.
    #[serde(skip_serializing_if = "Option::is_none")]
    opted_out: Option<bool>,
    /// True if parts of it never came; `[…]` stands in their place.
    #[serde(skip_serializing_if = "is_false")]
    incomplete: bool,
}

/// An instant that is written in RFC 3339, in UTC with milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}

impl Engine {
    /// The message as clients read it now.
    #[must_use]
    pub fn view<'a>(&self, message: &'a Message, language: Language) -> MessageView<'a> {
        message_view(message, language, self.why(message))
    }
}

impl MessageView<'_> {
    /// The same, as the answer to a post that stored nothing because this message came first.
    #[must_use]
    pub const fn as_duplicate(mut self, duplicate: bool) -> Self {
        self.duplicate = duplicate;
        self
    }
}

/// The message as clients read it; `why` is what [`Engine::why`] says of a pending one.
#[must_use]
pub fn message_view<'a>(
    message: &'a Message,
    language: Language,
    why: Option<(&'static str, Option<Timestamp>)>,
) -> MessageView<'a> {
    let status = message.status();
    let (why, eta) = why.map_or((None, None), |(why, eta)| (Some(why), eta));
    let terms = message.terms.as_deref();
    MessageView {
        id: message.id.0,
        to: number(&message.erased, || message.to.to_string()),
        from: message.from.as_ref().map(ToString::to_string),
        text: left(&message.erased, &message.text),
        erased_at: message.erased.text_at.map(Rfc3339),
        status: status.word(),
        label: status.label(language),
        state: state_word(&message.state, eta),
        reason: message.reason().map(|cause| cause.code()),
        deletable: message.reason() == Some(Cause::NumberInvalid) || steps::has_no_number(message),
        why,
        eta: eta.map(Rfc3339),
        encoding: alphabet_word(message.current_plan().alphabet),
        parts: message.parts(),
        transliterated: message.replaced.iter().map(Replaced::from).collect(),
        class: class_word(message.class),
        kind: message.kind.as_deref(),
        reference: message.reference.as_deref(),
        tenant: message.tenant.as_str(),
        channel: message.channel().map(|channel| channel.as_str()),
        operator: message.lane.operator.as_str(),
        created_at: Rfc3339(message.created_at),
        send_at: message.send_at.map(Rfc3339),
        sent_at: message.sent_at.map(Rfc3339),
        delivered_at: message.delivered_at.map(Rfc3339),
        expires_at: Rfc3339(message.expires_at),
        updated_at: Rfc3339(message.updated_at),
        attempts: message.tries,
        maybe_duplicate: message.maybe_duplicate,
        batch: message.batch.map(|batch| batch.0),
        // It was stored from a JSON object, so that reading it back cannot fail.
        metadata: message
            .metadata
            .as_deref()
            .and_then(|json| serde_json::from_str(json).ok()),
        sandbox_for: message
            .terms
            .as_ref()
            .and_then(|terms| terms.sandbox_for.as_deref()),
        template: terms.and_then(|terms| terms.template.as_deref()),
        truncated: terms.is_some_and(|terms| terms.truncated),
        warnings: Vec::new(),
        revision: message.revision,
        cost: message
            .terms
            .as_ref()
            .and_then(|terms| CostView::of(terms.charge.as_ref()?)),
        steps: steps::steps(message),
        delivered_by: steps::delivered_by(message),
        letter: status.letter(),
        schedule_key: terms.and_then(|terms| terms.schedule_key.as_deref()),
        once_key: terms.and_then(|terms| terms.once_key.as_deref()),
        replaces: terms.and_then(|terms| terms.replaces).map(|id| id.0),
        replaced_by: terms.and_then(|terms| terms.replaced_by).map(|id| id.0),
        duplicate: false,
        events: message.events.iter().map(EventView::from).collect(),
    }
}

impl MessageView<'_> {
    /// The same with what came of its check.
    #[must_use]
    pub fn with_warnings(mut self, warnings: Vec<Warning>) -> Self {
        self.warnings = warnings;
        self
    }
}

impl<'a> From<&'a Replacement> for Replaced<'a> {
    fn from(replacement: &'a Replacement) -> Self {
        Self {
            from: &replacement.from,
            to: &replacement.to,
        }
    }
}

impl<'a> From<&'a Happening> for EventView<'a> {
    fn from(happening: &'a Happening) -> Self {
        let line = Self {
            at: Rfc3339(happening.at),
            event: "",
            detail: None,
            code: None,
            part: None,
            carrier_id: None,
            stat: None,
            network_error: None,
        };
        let named = |reference: &'a str| (!reference.is_empty()).then_some(reference);
        match &happening.what {
            What::Accepted => Self {
                event: "accepted",
                ..line
            },
            What::Submitted {
                channel,
                part,
                reference,
            } => Self {
                event: "submitted",
                detail: Some(channel.as_str()),
                part: Some(*part),
                carrier_id: named(reference),
                ..line
            },
            What::Refused(code) => Self {
                event: "refused",
                code: Some(code.into()),
                ..line
            },
            What::GivenBack(why) => Self {
                event: "given_back",
                detail: Some(why_code(why)),
                code: match why {
                    WaitReason::Backoff(code) | WaitReason::AccountRefused(code) => {
                        Some(code.into())
                    }
                    _ => None,
                },
                ..line
            },
            What::Doubt(doubt) => Self {
                event: "in_doubt",
                detail: Some(doubt_word(*doubt)),
                ..line
            },
            What::Receipt {
                part,
                reference,
                receipt,
            } => {
                let network = receipt.network_error;
                let as_code = |error: NetworkError| format!("{}:{}", error.network, error.code);
                let written = receipt.error.as_deref().map(Cow::from);
                Self {
                    event: "receipt",
                    detail: Some(receipt_word(receipt.state)),
                    code: written.or_else(|| network.map(as_code).map(Cow::from)),
                    part: Some(*part),
                    carrier_id: named(reference),
                    stat: receipt.word.as_deref(),
                    network_error: network.map(|error| NetworkErrorView {
                        r#type: error.network,
                        code: error.code,
                    }),
                    ..line
                }
            }
            What::TimedOut(cause) => Self {
                event: "timed_out",
                detail: Some(cause.code()),
                ..line
            },
            What::Cancelled => Self {
                event: "cancelled",
                ..line
            },
            What::OptedOut => Self {
                event: "opted_out",
                ..line
            },
            What::StepEnded(end) => Self {
                event: "step_ended",
                detail: Some(end.word()),
                ..line
            },
            What::Changed => Self {
                event: "changed",
                ..line
            },
        }
    }
}

impl<'a> From<&'a Inbound> for InboundView<'a> {
    fn from(inbound: &'a Inbound) -> Self {
        Self {
            id: inbound.id.0,
            from: inbound
                .erased
                .number
                .map_or(Cow::Borrowed(inbound.from.as_str()), |it| {
                    privacy::written(it).into()
                }),
            to: &inbound.to,
            text: left(&inbound.erased, &inbound.text),
            erased_at: inbound.erased.text_at.map(Rfc3339),
            channel: inbound.channel.as_str(),
            received_at: Rfc3339(inbound.received_at),
            keyword: inbound
                .keyword
                .as_ref()
                .map(|keyword| keyword.word.as_str()),
            opted_out: inbound.effect().map(|wish| wish == Wish::Stop),
            incomplete: inbound.incomplete,
        }
    }
}

/// A number, or what stands for it.
fn number(erased: &Erased, number: impl FnOnce() -> String) -> String {
    erased.number.map_or_else(number, privacy::written)
}

/// A text, unless it is erased.
const fn left<'a>(erased: &Erased, text: &'a str) -> Option<&'a str> {
    match erased.text_at {
        None => Some(text),
        Some(_) => None,
    }
}

/// The word of an alphabet.
#[must_use]
pub const fn alphabet_word(alphabet: Alphabet) -> &'static str {
    match alphabet {
        Alphabet::Gsm7 => "gsm",
        Alphabet::Latin1 => "latin1",
        Alphabet::Ucs2 => "ucs2",
    }
}

const fn state_word(state: &State, eta: Option<Timestamp>) -> &'static str {
    match state {
        // Scheduled and queued are one state read at two times.
        State::Waiting { .. } if eta.is_some() => "scheduled",
        State::Waiting { .. } => "queued",
        State::Leased(_) => "submitting",
        State::Submitted { .. } => "submitted",
        State::Final(Outcome::Delivered) => "delivered",
        State::Final(Outcome::Expired(_)) => "expired",
        State::Final(Outcome::Failed(_)) => "failed",
        State::Final(Outcome::Cancelled) => "cancelled",
    }
}

const fn class_word(class: Class) -> &'static str {
    match class {
        Class::Transactional => "transactional",
        Class::Commercial => "commercial",
    }
}

const fn doubt_word(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Timeout => "timeout",
        Doubt::Disconnected => "disconnected",
        Doubt::LeaseLost => "lease_lost",
    }
}

const fn receipt_word(state: ReceiptState) -> &'static str {
    match state {
        ReceiptState::Scheduled => "scheduled",
        ReceiptState::Enroute => "enroute",
        ReceiptState::Delivered => "delivered",
        ReceiptState::Expired => "expired",
        ReceiptState::Deleted => "deleted",
        ReceiptState::Undeliverable => "undeliverable",
        ReceiptState::Accepted => "accepted",
        ReceiptState::Unknown => "unknown",
        ReceiptState::Rejected => "rejected",
        ReceiptState::Skipped => "skipped",
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_false(value: &bool) -> bool {
    !*value
}
