//! Counts what comes for people and tells them at the ticks of their digests: one message a recipient and
//! kind, by the same way as any other.
//!
//! **Every count becomes one message.** The message and the end of its count are one commit, and the
//! count must then be what the message says: one that changes meanwhile is read again. What the rules
//! refuse at its tick is carried over to the next one, where it joins what has come since, and shows why.
//! What is due is told as soon as the gateway runs; when it may leave is for the hours of its tenant.

use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use futures_util::future::join_all;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::accept::{By, Checked, Draft, FieldError, Refusal};
use crate::domain::digest::Digest;
use crate::domain::id::Tenant;
use crate::domain::msisdn::{self, Msisdn};
use crate::domain::tenant::Quotas;
use crate::domain::time::Timestamp;
use crate::store::{
    Accepted, ApiKey, Count, Counting, Document, DocumentKind, Held, Idempotency, Notice,
    StoreError,
};

/// Most counts told at once: they share a sync of the disk.
const GROUP: usize = 64;
/// How long to leave a store alone that did not take what was told.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Counts dropped in one commit.
const DROPPED: usize = 500;
/// When to look again at a count whose digest cannot be read.
const UNREADABLE_REST: Duration = Duration::from_hours(24);
/// Most of a kind that one notice may bring or take back.
pub const CHANGE_MAX: i64 = 10_000;

/// Runs until `claiming` is cancelled.
pub(super) async fn run(engine: Arc<Engine>, claiming: CancellationToken) {
    loop {
        let tick = engine.store.next_count_due().unwrap_or(Timestamp::NEVER);
        let sleep = engine.clock.sleep_until(tick);
        tokio::select! {
            biased;
            () = claiming.cancelled() => return,
            () = engine.bells.digests.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
        if !engine.tell_due(&claiming).await {
            tokio::select! {
                biased;
                () = claiming.cancelled() => return,
                () = tokio::time::sleep(STORE_PAUSE) => {}
            }
        }
    }
}

/// A digest as it is defined.
#[derive(Clone, Debug)]
pub struct Definition {
    /// What stands in the store.
    pub document: Arc<Document>,
    /// What it says.
    pub digest: Digest,
}

/// That something has come for somebody, as a client says it.
#[derive(Clone, Debug)]
pub struct Notified {
    /// For whom, in any usual writing.
    pub to: String,
    /// What.
    pub kind: String,
    /// How many; negative: taken back.
    pub count: i64,
    /// The caller's reference.
    pub reference: Option<String>,
}

/// What a notice has come to.
#[derive(Clone, Debug)]
pub struct Noted {
    /// For whom.
    pub to: Msisdn,
    /// What is pending now, by tick.
    pub stands: Vec<Count>,
    /// True if it had been counted before, under the same idempotency key.
    pub repeated: bool,
}

/// Why a notice was not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotNoted {
    /// Fields are wrong.
    Fields(Vec<FieldError>),
    /// More is to be taken back than there is.
    BelowZero {
        /// How many there are.
        stands: u64,
    },
    /// The store's reason; `NotFound`: there is no such digest.
    Store(StoreError),
}

impl From<StoreError> for NotNoted {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What became of the deletion of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone, and with it so many counts.
    Gone(usize),
    /// So many counts are pending; nothing was removed.
    Pending(usize),
}

/// Why a count could not be told at its tick.
struct Refused {
    code: String,
    detail: String,
}

impl Engine {
    /// A digest of a tenant.
    #[must_use]
    pub fn digest(&self, tenant: &Tenant, name: &str) -> Option<Definition> {
        let document = self.store.document(DocumentKind::Digest, tenant, name)?;
        read(document)
    }

    /// The digests of a tenant, by name.
    #[must_use]
    pub fn digests(&self, tenant: &Tenant) -> Vec<Definition> {
        let documents = self.store.documents(DocumentKind::Digest, Some(tenant));
        documents.into_iter().filter_map(read).collect()
    }

    /// Stores a digest that has no [`flaws`](Digest::flaws). What is counted already keeps its tick.
    ///
    /// # Errors
    /// The store's.
    pub async fn put_digest(
        &self,
        tenant: &Tenant,
        name: &str,
        digest: Digest,
    ) -> Result<Definition, StoreError> {
        let now = self.clock.now();
        let known = self.store.document(DocumentKind::Digest, tenant, name);
        let json = serde_json::to_string(&digest)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let document = Document {
            kind: DocumentKind::Digest,
            tenant: tenant.clone(),
            name: name.to_owned(),
            json,
            created_at: known.map_or(now, |known| known.created_at),
            updated_at: now,
        };
        self.store.put_document(document.clone()).await?;
        Ok(Definition {
            document: Arc::new(document),
            digest,
        })
    }

    /// Removes a digest; with `drop` also what is pending of it.
    ///
    /// # Errors
    /// The store's; `NotFound`: there is no such digest.
    pub async fn delete_digest(
        &self,
        tenant: &Tenant,
        name: &str,
        drop: bool,
    ) -> Result<Deletion, StoreError> {
        let mut dropped = 0;
        loop {
            match self.store.delete_digest(tenant, name).await? {
                0 => return Ok(Deletion::Gone(dropped)),
                pending if !drop => return Ok(Deletion::Pending(pending)),
                _ => dropped += self.drop_pending(tenant, name, None).await?,
            }
        }
    }

    /// Drops what is pending of a digest, for one recipient or for all, and says how many counts.
    ///
    /// # Errors
    /// The store's.
    pub async fn drop_pending(
        &self,
        tenant: &Tenant,
        name: &str,
        to: Option<Msisdn>,
    ) -> Result<usize, StoreError> {
        let mut dropped = 0;
        loop {
            let some = self.store.drop_counts(tenant, name, to, DROPPED).await?;
            dropped += some;
            if some < DROPPED {
                return Ok(dropped);
            }
        }
    }

    /// Counts a notice; it is durable when this returns. What could not be told now is refused now.
    ///
    /// # Errors
    /// Why not.
    pub async fn note(
        &self,
        by: &By,
        name: &str,
        notified: Notified,
        idempotency: Option<Idempotency>,
    ) -> Result<Noted, NotNoted> {
        let Notified {
            to,
            kind,
            count,
            reference,
        } = notified;
        let definition = self.digest(&by.tenant, name).ok_or(StoreError::NotFound)?;
        let digest = &definition.digest;
        let rules = self.rules();
        let mut errors = Vec::new();
        // Of a kind that is told no more, what is pending can still be taken back.
        if count > 0 && !digest.kinds.contains_key(&kind) {
            let kinds: Vec<_> = digest.kinds.keys().map(String::as_str).collect();
            let detail = format!("the digest has no such kind; it has {}", kinds.join(", "));
            errors.push(FieldError::new("/kind", "digest_kind_unknown", detail));
        }
        let change = i32::try_from(count).unwrap_or_default();
        if count == 0 || !(-CHANGE_MAX..=CHANGE_MAX).contains(&count) {
            let detail = format!(
                "it must be a whole number from 1 to {CHANGE_MAX}, or as many taken back: -1 is one less"
            );
            errors.push(FieldError::new("/count", "out_of_range", detail));
        }
        // What it counts is told in the name of the tenant, and of no key.
        let bound =
            |key: &ApiKey| key.terms.quotas != Quotas::default() || key.terms.hours.is_some();
        if change > 0 && by.key.as_deref().is_some_and(bound) {
            let detail =
                "a key with quotas or hours of its own cannot count for digests; use another key";
            let error = FieldError::new("", "key_bound", detail);
            errors.push(error.as_refusal(Refusal::Forbidden));
        }
        let number = msisdn::parse(&to, &rules.default_country);
        let ticks = digest.ticks();
        // The hours are asked of when it will be told.
        let told_at = match (&number, &ticks) {
            (Ok(to), Ok(ticks)) => Some(ticks.next(self.clock.now(), self.zone_of(*to))),
            _ => None,
        };
        // What is taken back is told to nobody.
        if errors.is_empty() && change > 0 {
            let draft = self.draft(
                by,
                definition_of(&definition),
                &to,
                &kind,
                change.unsigned_abs(),
            );
            let checked = match draft {
                Ok(draft) => {
                    let draft = Draft {
                        reference: reference.clone(),
                        send_at: told_at,
                        ..draft
                    };
                    self.check_for(draft, by, None).await.map(drop)
                }
                Err(problem) => Err(vec![FieldError::new(
                    "/kind",
                    "digest_text_invalid",
                    problem,
                )]),
            };
            errors.extend(checked.err().unwrap_or_default().into_iter().map(of_notice));
        } else if let Err(error) = &number {
            errors.push(FieldError::new("/to", error.code(), error.to_string()));
        }
        let (Ok(to), Ok(ticks), true) = (number, ticks, errors.is_empty()) else {
            return Err(NotNoted::Fields(errors));
        };
        let now = self.clock.now();
        let zone = self.zone_of(to);
        let tick = ticks.next(now, zone);
        let notice = Notice {
            tenant: by.tenant.clone(),
            digest: name.to_owned(),
            to,
            kind,
            change,
            reference,
            ticks: [tick, ticks.next(tick, zone)],
            idempotency,
            most: rules.limits.max_live_messages,
            now,
        };
        match self.store.count(notice).await? {
            Counting::Counted { stands, repeated } => {
                self.bells.digests.notify_one();
                Ok(Noted {
                    to,
                    stands,
                    repeated,
                })
            }
            Counting::BelowZero { stands } => Err(NotNoted::BelowZero { stands }),
        }
    }

    /// What would be sent if a count were told now; `None` if it could not be.
    pub async fn told_text(&self, count: &Count) -> Option<String> {
        let checked = self.prepare(count).await.ok()?;
        Some(checked.text)
    }

    /// Tells everything whose tick has come; false if the store did not take all of it.
    async fn tell_due(&self, claiming: &CancellationToken) -> bool {
        while !claiming.is_cancelled() {
            let now = self.clock.now();
            if self.store.next_count_due().is_none_or(|tick| tick > now) {
                return true;
            }
            let told = match self.store.counts_due(now, GROUP).await {
                Ok(due) if due.is_empty() => return false,
                Ok(due) => join_all(due.into_iter().map(|count| self.tell(count))).await,
                Err(error) => vec![Err(error)],
            };
            if let Some(error) = told.into_iter().find_map(Result::err) {
                tracing::error!(%error, "digest_not_told");
                return false;
            }
        }
        true
    }

    /// Tells one count, or carries it over to the next tick.
    async fn tell(&self, count: Count) -> Result<(), StoreError> {
        let refused = match self.prepare(&count).await {
            Ok(checked) => match self.store_told(&count, checked).await {
                Ok(()) => return Ok(()),
                // Nothing is wrong with it.
                Err(
                    error @ (StoreError::Full
                    | StoreError::Unavailable(_)
                    | StoreError::Corrupt { .. }),
                ) => return Err(error),
                Err(StoreError::Unpaid(why)) => {
                    self.metrics.credit_refused(why.code());
                    Refused {
                        code: why.code().to_owned(),
                        detail: why.to_string(),
                    }
                }
                Err(error) => Refused {
                    code: match &error {
                        StoreError::Unpaid(why) => why.code(),
                        _ => "refused",
                    }
                    .to_owned(),
                    detail: error.to_string(),
                },
            },
            Err(refused) => refused,
        };
        let now = self.clock.now();
        let ticks = self.digest(&count.tenant, &count.digest);
        let ticks = ticks.and_then(|definition| definition.digest.ticks().ok());
        let next = ticks.map_or(now + UNREADABLE_REST, |ticks| {
            ticks.next(now, self.zone_of(count.to))
        });
        let Refused { code, detail } = refused;
        let (number, digest) = (count.to.masked(), count.digest.clone());
        let held = Held {
            code,
            detail,
            tick: count.tick,
        };
        let why = held.code.clone();
        // If it has changed meanwhile, it is still due, and looked at again.
        if self.store.carry_over(count, next, held).await? {
            self.metrics.carried_over.increment(1);
            tracing::warn!(digest, number, why, next = %next.rfc3339(), "digest_carried_over");
        }
        Ok(())
    }

    /// The message that tells a count, held to every rule.
    async fn prepare(&self, count: &Count) -> Result<Checked, Refused> {
        let by = By {
            tenant: count.tenant.clone(),
            key: None,
        };
        let refused = |code: &str, detail: String| Refused {
            code: code.to_owned(),
            detail,
        };
        let definition = self.digest(&count.tenant, &count.digest);
        let definition = definition
            .ok_or_else(|| refused("digest_unreadable", "the digest cannot be read".to_owned()))?;
        let to = count.to.to_string();
        let draft = self
            .draft(
                &by,
                definition_of(&definition),
                &to,
                &count.kind,
                count.count,
            )
            .map_err(|problem| refused("digest_text_invalid", problem))?;
        let draft = Draft {
            reference: count.reference.clone(),
            ..draft
        };
        let checked = self.check_for(draft, &by, None).await;
        checked.map_err(|errors| {
            let code = errors.first().map_or("refused", |error| error.code);
            let details: Vec<_> = errors.iter().map(|error| error.detail.as_str()).collect();
            refused(code, details.join("; "))
        })
    }

    /// What tells so many of a kind.
    fn draft(
        &self,
        by: &By,
        (name, digest): (&str, &Digest),
        to: &str,
        kind: &str,
        count: u32,
    ) -> Result<Draft, String> {
        let language = self.settings(&by.tenant).language;
        let label = digest.kinds.get(kind).and_then(|kind| kind.label.clone());
        let metadata = json!({"digest": name, "kind": kind, "count": count});
        Ok(Draft {
            to: to.to_owned(),
            from: digest.sender.clone(),
            text: digest.text(kind, count, language)?,
            kind: Some(label.unwrap_or_else(|| kind.to_owned())),
            signature: digest.signature,
            vetted: true,
            metadata: metadata.as_object().cloned(),
            ..Draft::default()
        })
    }

    /// Stores what tells a count, in the commit that consumes it. What has changed meanwhile stays due.
    async fn store_told(&self, count: &Count, checked: Checked) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut submission = self.submission(&count.tenant, vec![checked], None, now);
        for message in &mut submission.messages {
            message.maybe_duplicate = count.may_have_been_told();
        }
        let told = self.store.tell_count(count.clone(), submission).await;
        if let Err(StoreError::Unpaid(why)) = &told {
            self.metrics.credit_refused(why.code());
        }
        if let Some(Accepted::New(messages)) = told? {
            for message in &messages {
                self.accepted(message);
            }
            self.bells.dispatcher.notify_one();
        }
        Ok(())
    }

    /// The time zone that a number is at home in.
    fn zone_of(&self, number: Msisdn) -> Tz {
        let rules = self.rules();
        rules.place(number, rules.operator_for(number), None).zone
    }
}

fn definition_of(definition: &Definition) -> (&str, &Digest) {
    (&definition.document.name, &definition.digest)
}

/// What a document says, unless another version of the program wrote it.
fn read(document: Arc<Document>) -> Option<Definition> {
    match serde_json::from_str(&document.json) {
        Ok(digest) => Some(Definition { document, digest }),
        Err(error) => {
            tracing::error!(digest = document.name, %error, "digest_unreadable");
            None
        }
    }
}

/// An error of the message that would tell a notice, as one of the notice.
fn of_notice(error: FieldError) -> FieldError {
    let pointer = match error.pointer {
        kept @ ("" | "/to" | "/reference") => kept,
        // Its text and its sender are the digest's.
        _ => "/kind",
    };
    FieldError { pointer, ..error }
}
