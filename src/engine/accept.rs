//! From a client's draft to stored messages: checks, number, sender, text plan, lane, validity.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::domain::id::{Account, BatchId, Lane, MessageId, Tenant};
use crate::domain::message::{Class, Happening, Message, State, WaitReason, What};
use crate::domain::msisdn::{self, Msisdn};
use crate::domain::policy::{OnDoubt, Operator, Policy};
use crate::domain::privacy::Erased;
use crate::domain::sender::Sender;
use crate::domain::text::{Prepared, Replacement, TextRules};
use crate::domain::time::Timestamp;
use crate::domain::trace::TraceParent;
use crate::pdu::segment::{Alphabet, Plan};
use crate::store::{Accepted, Idempotency, StoreError, Submission};

pub use crate::domain::text::Encoding;

/// What a client asks to be sent to one recipient, not yet checked.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Recipient, in any usual writing.
    pub to: String,
    /// Sender; `None`: the account's own.
    pub from: Option<String>,
    /// The text.
    pub text: String,
    /// Not before this.
    pub send_at: Option<Timestamp>,
    /// How long it is worth delivering; `None`: the operator's rule.
    pub validity: Option<Duration>,
    /// Transactional or commercial.
    pub class: Class,
    /// Free label of the kind of message.
    pub kind: Option<String>,
    /// The caller's reference.
    pub reference: Option<String>,
    /// How to choose the alphabet.
    pub encoding: Encoding,
    /// Most parts that the caller wants to pay for.
    pub max_parts: Option<usize>,
    /// 0 to 3; 1 where nothing is said.
    pub priority: Option<u8>,
    /// Where to post its changes of status.
    pub webhook_url: Option<String>,
    /// A JSON object, kept and given back.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// What becomes of a doubtful submission; `None`: the operator's rule.
    pub on_doubt: Option<OnDoubt>,
    /// The caller's trace context.
    pub trace: Option<TraceParent>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer into the draft (RFC 6901).
    pub pointer: &'static str,
    /// Stable code.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub detail: String,
}

impl FieldError {
    /// An error of the field at `pointer`.
    #[must_use]
    pub fn new(pointer: &'static str, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer,
            code,
            detail: detail.into(),
        }
    }
}

/// A draft that passed every check: what sending it would do.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Recipient.
    pub to: Msisdn,
    /// Sender.
    pub from: Option<Sender>,
    /// The text as it will be sent.
    pub text: String,
    /// Alphabet, units and cuts.
    pub plan: Plan,
    /// What was replaced in the text that was given.
    pub replaced: Vec<Replacement>,
    /// How texts travel over the account that it is planned for.
    pub rules: TextRules,
    /// Whose policy rules.
    pub operator: Arc<Operator>,
    /// Why it would wait at first.
    pub why: WaitReason,
    /// When it may leave.
    pub due_at: Timestamp,
    /// End of validity.
    pub expires_at: Timestamp,
    draft: Draft,
}

impl Checked {
    /// When it may first leave by its operator's hours. At or past the end of its validity: it would
    /// expire without having left.
    #[must_use]
    pub fn first_send_at(&self) -> Timestamp {
        self.operator.opening(self.due_at)
    }
}

/// The result of a submission that was stored, or had been.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The batch, if one was asked for.
    pub batch: Option<BatchId>,
    /// The messages, in the order of the accepted drafts.
    pub messages: Vec<Arc<Message>>,
    /// True if this answers a repetition.
    pub repeated: bool,
}

impl Engine {
    /// Checks a draft without sending it: the same code as sending. Where numbers are looked up, it waits
    /// for the look-up, up to its time-out.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn check(&self, draft: Draft) -> Result<Checked, Vec<FieldError>> {
        self.check_by(draft, None).await
    }

    /// Like [`check`](Self::check), for one of many that are checked together: past `until`, by the
    /// clock's [`elapsed`](crate::clock::Clock::elapsed), no look-up is waited for.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn check_by(
        &self,
        draft: Draft,
        until: Option<Duration>,
    ) -> Result<Checked, Vec<FieldError>> {
        let rules = self.rules();
        let looked_up = if rules.portability.is_on()
            && let Ok(to) = msisdn::parse(&draft.to, &rules.default_country)
        {
            self.lookups.find(to, &rules, until).await
        } else {
            None
        };
        check(draft, &rules, looked_up.as_ref(), self.clock.now())
    }

    /// Stores checked drafts; they are durable when this returns.
    ///
    /// # Errors
    /// The store's: `Conflict`, `Full`, `Unavailable`.
    pub async fn submit(
        &self,
        tenant: &Tenant,
        checked: Vec<Checked>,
        as_batch: bool,
        idempotency: Option<Idempotency>,
    ) -> Result<Submitted, StoreError> {
        let max_live = self.rules().limits.max_live_messages;
        self.submit_within(max_live, tenant, checked, as_batch, idempotency)
            .await
    }

    /// Answers the repetition of an earlier submission, and stores nothing; `None` if it is none.
    ///
    /// # Errors
    /// The store's: `Conflict`, `Unavailable`.
    pub async fn repeat(
        &self,
        tenant: &Tenant,
        checked: Vec<Checked>,
        as_batch: bool,
        idempotency: Option<Idempotency>,
    ) -> Result<Option<Submitted>, StoreError> {
        if idempotency.is_none() || checked.is_empty() {
            return Ok(None);
        }
        // The store looks for the key first, and has no room for anything new.
        let answer = self.submit_within(0, tenant, checked, as_batch, idempotency);
        match answer.await {
            Ok(submitted) => Ok(Some(submitted)),
            Err(StoreError::Full) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn submit_within(
        &self,
        max_live: usize,
        tenant: &Tenant,
        checked: Vec<Checked>,
        as_batch: bool,
        idempotency: Option<Idempotency>,
    ) -> Result<Submitted, StoreError> {
        let now = self.clock.now();
        let batch = as_batch.then(|| BatchId::new(now, self.random.bytes()));
        let messages: Vec<Message> = checked
            .into_iter()
            .map(|checked| self.message(tenant, checked, batch, now))
            .collect();
        let submission = Submission {
            tenant: tenant.clone(),
            idempotency,
            batch,
            messages,
            max_live,
            now,
        };
        match self.store.accept(submission).await? {
            Accepted::New(messages) => {
                for message in &messages {
                    self.accepted(message);
                }
                self.bells.dispatcher.notify_one();
                Ok(Submitted {
                    batch,
                    messages,
                    repeated: false,
                })
            }
            Accepted::Repeated { batch, messages } => {
                let mut first = Vec::with_capacity(messages.len());
                for id in messages {
                    first.push(Arc::new(self.store.message(tenant, id).await?));
                }
                Ok(Submitted {
                    batch,
                    messages: first,
                    repeated: true,
                })
            }
        }
    }

    fn message(
        &self,
        tenant: &Tenant,
        checked: Checked,
        batch: Option<BatchId>,
        now: Timestamp,
    ) -> Message {
        let Checked {
            to,
            from,
            text,
            replaced,
            plan,
            operator,
            why,
            due_at,
            expires_at,
            draft,
            rules: _,
        } = checked;
        // Validity runs from the promise, not from the check a moment before it.
        let (due_at, expires_at) = match why {
            WaitReason::Accepted => (now, expires_at + now.since(due_at)),
            _ => (due_at, expires_at),
        };
        let concat_reference = u16::from_be_bytes(self.random.bytes());
        Message {
            id: MessageId::new(now, self.random.bytes()),
            tenant: tenant.clone(),
            batch,
            to,
            from,
            text,
            replaced,
            plan,
            concat_reference,
            class: draft.class,
            kind: draft.kind,
            reference: draft.reference,
            metadata: draft
                .metadata
                .map(|map| serde_json::Value::Object(map).to_string()),
            webhook_url: draft.webhook_url,
            priority: draft.priority.unwrap_or(1),
            on_doubt: draft.on_doubt,
            lane: Lane {
                operator: operator.name.clone(),
            },
            created_at: now,
            send_at: draft.send_at,
            expires_at,
            updated_at: now,
            sent_at: None,
            delivered_at: None,
            revision: 0,
            state: State::Waiting { due_at, why },
            tries: 0,
            claims: 0,
            maybe_duplicate: false,
            attempts: Vec::new(),
            events: vec![Happening {
                at: now,
                what: What::Accepted,
            }],
            trace: draft.trace,
            erased: Erased::default(),
        }
    }
}

/// Longest text that is looked at, in characters: more than ten parts of GSM text can hold.
const TEXT_MAX_CHARS: usize = 4000;
/// Longest caller-given label, in characters.
const LABEL_MAX_CHARS: usize = 200;
/// Largest metadata, in octets of JSON.
const METADATA_MAX: usize = 4096;
/// Furthest that a message can be planned ahead.
const SEND_AT_MAX: Duration = Duration::from_hours(24 * 366);
/// Shortest and longest validity that a caller may ask for.
const VALIDITY_RANGE: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_hours(24 * 14));

/// Every rule that a draft must keep. Pure but for the arguments; `looked_up` is the operator that a
/// look-up has named.
fn check(
    mut draft: Draft,
    policy: &Policy,
    looked_up: Option<&Arc<Operator>>,
    now: Timestamp,
) -> Result<Checked, Vec<FieldError>> {
    let mut errors = Vec::new();
    let to = msisdn::parse(&draft.to, &policy.default_country)
        .map_err(|error| errors.push(FieldError::new("/to", error.code(), error.to_string())))
        .ok();
    let from = draft.from.as_deref().and_then(|text| {
        Sender::parse(text)
            .map_err(|error| errors.push(FieldError::new("/from", error.code(), error.to_string())))
            .ok()
    });
    // A number that cannot be read hides no error of the text.
    let by_prefix = || to.map_or(&policy.operators[0], |to| policy.operator_for(to));
    let operator = looked_up.unwrap_or_else(by_prefix);
    let rules = policy.first_text_rules(operator);
    let prepared = check_text(&mut draft, policy, &rules, &mut errors);
    check_labels(&draft, &mut errors);
    // Whose route it would go is known only with the number.
    if draft.class == Class::Commercial
        && to.is_some()
        && let Some(modem) = policy.first_modem(operator)
    {
        errors.push(commercial_on_modem(operator, modem));
    }
    if draft.send_at.is_some_and(|at| at > now + SEND_AT_MAX) {
        errors.push(FieldError::new(
            "/send_at",
            "send_at_too_far",
            "plan at most 366 days ahead",
        ));
    }
    if draft
        .validity
        .is_some_and(|v| v < VALIDITY_RANGE.0 || v > VALIDITY_RANGE.1)
    {
        errors.push(FieldError::new(
            "/validity",
            "validity_out_of_range",
            "the validity is between one minute and 14 days, for example \"48h\"",
        ));
    }
    if draft.priority.is_some_and(|priority| priority > 3) {
        errors.push(FieldError::new(
            "/priority",
            "priority_out_of_range",
            "the priority is 0, 1, 2 or 3",
        ));
    }
    if let Some(url) = &draft.webhook_url
        && let Err(problem) = super::outbox::check_url(url, &policy.webhook_allow)
    {
        errors.push(FieldError::new(
            "/webhook_url",
            "webhook_url_refused",
            problem.to_string(),
        ));
    }
    let (Some(to), Some(prepared), true) = (to, prepared, errors.is_empty()) else {
        return Err(errors);
    };
    let (due_at, why) = match draft.send_at {
        Some(at) if at > now => (at, WaitReason::ScheduledByClient),
        _ => (now, WaitReason::Accepted),
    };
    // Validity starts when the message may first leave, not when it was accepted.
    let expires_at = due_at + draft.validity.unwrap_or(operator.validity);
    Ok(Checked {
        to,
        from,
        text: prepared.text,
        plan: prepared.plan,
        replaced: prepared.replaced,
        rules,
        operator: operator.clone(),
        why,
        due_at,
        expires_at,
        draft,
    })
}

/// Checks the text, which it takes, and plans its parts.
fn check_text(
    draft: &mut Draft,
    policy: &Policy,
    rules: &TextRules,
    errors: &mut Vec<FieldError>,
) -> Option<Prepared> {
    let before = errors.len();
    if draft.text.trim().is_empty() {
        errors.push(FieldError::new(
            "/text",
            "text_empty",
            "the text is empty; give at least one character",
        ));
    } else if draft.text.chars().count() > TEXT_MAX_CHARS {
        errors.push(FieldError::new(
            "/text",
            "text_too_long",
            format!("the text has more than {TEXT_MAX_CHARS} characters; shorten it"),
        ));
    } else if let Some(bad) = draft
        .text
        .chars()
        .find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        errors.push(FieldError::new(
            "/text",
            "text_control_character",
            format!(
                "the text holds the control character U+{:04X}; remove it",
                u32::from(bad)
            ),
        ));
    }
    if errors.len() > before {
        return None;
    }
    let prepared = rules.prepare(std::mem::take(&mut draft.text), draft.encoding);
    let plan = &prepared.plan;
    if draft.encoding == Encoding::Gsm && plan.alphabet != Alphabet::Gsm7 {
        let strangers = rules.strangers(&prepared.text);
        let characters: String = strangers.iter().map(|(c, _)| c).take(20).collect();
        errors.push(FieldError::new(
            "/text",
            "text_not_gsm",
            format!("{characters:?} have no place in the GSM alphabet; use encoding \"transliterate\" or \"auto\""),
        ));
    }
    let parts_max = draft
        .max_parts
        .unwrap_or(usize::MAX)
        .min(policy.limits.max_parts);
    if draft.max_parts == Some(0) {
        errors.push(FieldError::new(
            "/max_parts",
            "max_parts_out_of_range",
            "max_parts is at least 1",
        ));
    } else if plan.count() > parts_max {
        errors.push(FieldError::new(
            "/text",
            "text_too_many_parts",
            format!(
                "the text needs {} parts and at most {parts_max} are allowed; shorten it",
                plan.count()
            ),
        ));
    }
    (errors.len() == before).then_some(prepared)
}

/// Marketing never leaves over the SIM of a modem, not even as a later step of its route.
fn commercial_on_modem(operator: &Operator, modem: &Account) -> FieldError {
    FieldError::new(
        "/class",
        "commercial_on_modem",
        format!(
            "the route of operator {} has the modem {modem}, and marketing may not leave over a SIM: \
             in France numbers in 06 and 07 are for people (Arcep decision 2018-0881), marketing \
             over them is prohibited since 2019-08-01, and CPCE art. L34-5 asks for consent besides; \
             use a route without modems",
            operator.name
        ),
    )
}

fn check_labels(draft: &Draft, errors: &mut Vec<FieldError>) {
    for (pointer, value) in [("/type", &draft.kind), ("/reference", &draft.reference)] {
        if let Some(text) = value
            && (text.chars().count() > LABEL_MAX_CHARS || text.chars().any(char::is_control))
        {
            errors.push(FieldError::new(
                pointer,
                "label_invalid",
                format!("use at most {LABEL_MAX_CHARS} characters and no control characters"),
            ));
        }
    }
    if let Some(map) = &draft.metadata
        && serde_json::to_string(map).map_or(usize::MAX, |json| json.len()) > METADATA_MAX
    {
        errors.push(FieldError::new(
            "/metadata",
            "metadata_too_large",
            format!("the metadata is larger than {METADATA_MAX} octets of JSON"),
        ));
    }
}
