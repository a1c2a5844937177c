//! From a client's draft to stored messages.
//!
//! `check` holds a draft to every rule, one file a question: `recipient` and `sender` whom, `text` what,
//! `plan` when, `hours` and `consent` whether it may, `price` for how much, `way` over which channels.
//! What passes is [`Checked`], and submitting it stores it.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::domain::chain::Step;
use crate::domain::id::{BatchId, Lane, MessageId, Tenant};
use crate::domain::message::{Class, Happening, Message, State, WaitReason, What};
use crate::domain::msisdn::{self, Msisdn};
use crate::domain::policy::{OnDoubt, Operator, Policy};
use crate::domain::privacy::Erased;
use crate::domain::sender::Sender;
use crate::domain::tenant::Settings;
use crate::domain::terms::Terms;
use crate::domain::text::{Prepared, Replacement, TextRules};
use crate::domain::time::Timestamp;
use crate::domain::trace::TraceParent;
use crate::pdu::segment::Plan;
use crate::store::{Accepted, ApiKey, Idempotency, Planned, StoreError, Submission};

mod amend;
mod check;
mod consent;
mod hours;
mod plan;
mod price;
mod recipient;
mod sender;
mod text;
mod way;

pub use self::amend::{Amendment, NotAmended};
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
    /// Transactional or commercial; `None`: as the tenant says.
    pub class: Option<Class>,
    /// Free label of the kind of message.
    pub kind: Option<String>,
    /// The caller's reference.
    pub reference: Option<String>,
    /// How to choose the alphabet; `None`: as the tenant says, or else [`Encoding::Auto`].
    pub encoding: Option<Encoding>,
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
    /// The name of the template that gives the text.
    pub template: Option<String>,
    /// What the template's variables stand for.
    pub params: Option<serde_json::Map<String, serde_json::Value>>,
    /// Instants of which the first rules when it is sent.
    pub anchors: Vec<Timestamp>,
    /// How long after the first anchor it is sent, in milliseconds; negative: before it.
    pub offset_ms: Option<i64>,
    /// The caller's name of the plan that it is of.
    pub schedule_key: Option<String>,
    /// The caller's name of what is told once.
    pub once_key: Option<String>,
    /// Whether the tenant's signature is added; `None`: as the tenant says.
    pub signature: Option<bool>,
    /// What a commercial message is for.
    pub purpose: Option<String>,
    /// The channels to try, in order; empty: the SMS alone.
    pub fallback: Vec<Step>,
    /// True where its text was made from what an administrator has written, though it names no
    /// template: a digest's.
    pub vetted: bool,
    /// True where it is only looked at: an empty text is measured then.
    pub preview: bool,
    /// What has been judged when the message was accepted, and stays.
    pub kept: Kept,
}

/// What stays of a message that is changed in something else.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Its recipient.
    pub to: Option<Msisdn>,
    /// Its sender: `Some(None)` is the account's own.
    pub from: Option<Option<Sender>>,
    /// Its text, which may bear a signature and more than its caller wrote.
    pub text: Option<Prepared>,
    /// True: the time that it waits for.
    pub time: bool,
}

impl Draft {
    /// Its class; once it is checked, that of its tenant where the caller has named none.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class.unwrap_or_default()
    }
}

/// For whom a draft is checked and stored.
#[derive(Clone, Debug)]
pub struct By {
    /// Whose messages they are.
    pub tenant: Tenant,
    /// The key that they are sent with; `None`: that of the installation.
    pub key: Option<Arc<ApiKey>>,
}

impl Default for By {
    /// The installation itself.
    fn default() -> Self {
        Self {
            tenant: Tenant::DEFAULT.into(),
            key: None,
        }
    }
}

/// What a rule may look at besides the draft.
struct Asking<'a> {
    engine: &'a Engine,
    by: &'a By,
    settings: &'a Settings,
    policy: &'a Policy,
    now: Timestamp,
}

/// Something worth knowing that does not prevent sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Stable code.
    pub code: &'static str,
    /// In words.
    pub detail: String,
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
    /// What kind of refusal it is.
    pub refusal: Refusal,
}

/// Kinds of refusals: the HTTP interface answers each with a status of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The field cannot be accepted as it is.
    Input,
    /// There have been too many of these.
    TooMany,
    /// The caller may not do this.
    Forbidden,
}

impl FieldError {
    /// An error of the field at `pointer`.
    #[must_use]
    pub fn new(pointer: &'static str, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer,
            code,
            detail: detail.into(),
            refusal: Refusal::Input,
        }
    }

    /// The same as a refusal of this kind.
    #[must_use]
    pub const fn as_refusal(mut self, refusal: Refusal) -> Self {
        self.refusal = refusal;
        self
    }
}

/// A draft that passed every check: what sending it would do.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Recipient; that of the sandbox where its tenant has one.
    pub to: Msisdn,
    /// The recipient that the draft names.
    pub asked: Msisdn,
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
    /// What was asked for beyond a text and a number.
    pub terms: Terms,
    /// What the sender may want to know.
    pub advice: Vec<Advice>,
    /// What stands around what was given.
    pub wording: Wording,
    draft: Draft,
}

/// How a text was put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wording {
    /// The signature that was added.
    pub signature: Option<String>,
    /// The mention that was added of how to answer STOP.
    pub stop: Option<String>,
    /// Characters of what was given, as far as it is sent.
    pub own_chars: usize,
    /// Most characters that its tenant allows.
    pub max_chars: Option<u32>,
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
    /// The places of those that were told before, and were not stored again.
    pub duplicates: Vec<usize>,
    /// The places of those that took the place of one to the same recipient.
    pub same: Vec<usize>,
    /// True if this answers a repetition.
    pub repeated: bool,
}

impl Submitted {
    /// Number of messages that it has stored.
    #[must_use]
    pub fn stored(&self) -> usize {
        if self.repeated {
            return 0;
        }
        self.messages.len().saturating_sub(self.duplicates.len())
    }
}

impl Engine {
    /// Checks a draft of the installation's own without sending it: the same code as sending.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn check(&self, draft: Draft) -> Result<Checked, Vec<FieldError>> {
        self.check_for(draft, &By::default(), None).await
    }

    /// Checks a draft without sending it. Where numbers are looked up, it waits for the look-up, up to its
    /// time-out, and not past `until`, by the clock's [`elapsed`](crate::clock::Clock::elapsed).
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn check_for(
        &self,
        draft: Draft,
        by: &By,
        until: Option<Duration>,
    ) -> Result<Checked, Vec<FieldError>> {
        let rules = self.rules();
        let settings = self.settings(&by.tenant);
        let to = settings.sandbox.as_ref().unwrap_or(&draft.to);
        let looked_up = if rules.portability.is_on()
            && let Ok(to) = msisdn::parse(to, &rules.default_country)
        {
            self.lookups.find(to, &rules, until).await
        } else {
            None
        };
        let asking = Asking {
            engine: self,
            by,
            settings: &settings,
            policy: &rules,
            now: self.clock.now(),
        };
        check::check(draft, &asking, looked_up.as_ref())
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
        let told_once = |it: &Checked| it.terms.once_key.is_some();
        let may_be_known = idempotency.is_some() || checked.iter().all(told_once);
        if !may_be_known || checked.is_empty() {
            return Ok(None);
        }
        // The store looks for the keys first, and has no room for anything new.
        let answer = self.submit_within(0, tenant, checked, as_batch, idempotency);
        match answer.await {
            Ok(submitted) => Ok(Some(submitted)),
            Err(StoreError::Full | StoreError::PlanTooLate { .. }) => Ok(None),
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
        let submission = Submission {
            idempotency,
            max_live,
            ..self.submission(tenant, checked, batch, now)
        };
        let accepted = self.store.accept(submission).await;
        if let Err(StoreError::Unpaid(why)) = &accepted {
            self.metrics.credit_refused(why.code());
        }
        match accepted? {
            Accepted::New(messages) => {
                for message in &messages {
                    self.accepted(message);
                }
                self.bells.dispatcher.notify_one();
                Ok(Submitted {
                    batch,
                    messages,
                    duplicates: Vec::new(),
                    same: Vec::new(),
                    repeated: false,
                })
            }
            Accepted::Planned(Planned {
                messages,
                duplicates,
                replaced,
            }) => {
                replaced.iter().for_each(|change| self.publish(change));
                let new = messages.iter().enumerate();
                for (_, message) in new.filter(|(place, _)| !duplicates.contains(place)) {
                    self.accepted(message);
                }
                self.bells.dispatcher.notify_one();
                let is_same = |new: &Message| {
                    let id = new.terms.as_ref().and_then(|terms| terms.replaces);
                    let mut old = replaced.iter().map(|change| &change.message);
                    old.any(|old| Some(old.id) == id && old.to == new.to)
                };
                let same = messages.iter().enumerate();
                let same = same.filter(|(_, new)| is_same(new)).map(|(at, _)| at);
                let same = same.collect();
                Ok(Submitted {
                    batch,
                    messages,
                    duplicates,
                    same,
                    repeated: false,
                })
            }
            Accepted::Repeated {
                batch,
                messages,
                duplicates,
            } => {
                let mut first = Vec::with_capacity(messages.len());
                for id in messages {
                    first.push(Arc::new(self.store.message(tenant, id).await?));
                }
                Ok(Submitted {
                    batch,
                    messages: first,
                    duplicates,
                    same: Vec::new(),
                    repeated: true,
                })
            }
        }
    }

    /// What stores checked drafts.
    pub(super) fn submission(
        &self,
        tenant: &Tenant,
        checked: Vec<Checked>,
        batch: Option<BatchId>,
        now: Timestamp,
    ) -> Submission {
        let messages: Vec<Message> = checked
            .into_iter()
            .map(|checked| self.message(tenant, checked, batch, now))
            .collect();
        let mut terms = messages.iter().filter_map(|message| message.terms.as_ref());
        let charge = terms.find_map(|terms| terms.charge.as_ref());
        let means = charge.map(|charge| {
            let key = charge.key.as_ref().and_then(|key| self.store.key(key));
            self.means(tenant, key.as_deref(), now)
        });
        Submission {
            tenant: tenant.clone(),
            idempotency: None,
            batch,
            messages,
            max_live: self.rules().limits.max_live_messages,
            means: means.unwrap_or_default(),
            now,
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
            asked: _,
            from,
            text,
            replaced,
            plan,
            operator,
            why,
            due_at,
            expires_at,
            draft,
            mut terms,
            advice: _,
            wording: _,
            rules: _,
        } = checked;
        // Validity runs from the promise, not from the check a moment before it.
        let (due_at, expires_at) = match why {
            WaitReason::Accepted => (now, expires_at + now.since(due_at)),
            _ => (due_at, expires_at),
        };
        let concat_reference = u16::from_be_bytes(self.random.bytes());
        let mut lane = Lane {
            operator: operator.name.clone(),
        };
        if let Some(chain) = &mut terms.chain {
            chain.begin(due_at);
            lane = chain.lane();
        }
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
            class: draft.class(),
            kind: draft.kind,
            reference: draft.reference,
            metadata: draft
                .metadata
                .map(|map| serde_json::Value::Object(map).to_string()),
            webhook_url: draft.webhook_url,
            priority: draft.priority.unwrap_or(1),
            on_doubt: draft.on_doubt,
            lane,
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
            terms: (terms != Terms::default()).then(|| Box::new(terms)),
        }
    }
}
