//! `/v1/batches`: several messages in one call, stored all together.
//!
//! Items that fail a check are reported one by one and the rest is accepted; if none passes, the
//! call is refused as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToRead, ToSend};
use super::body::{Incoming, Named};
use super::draft::batch::{self, Batch, BatchError};
use super::draft::{ERRORS_MAX, NewMessage};
use super::messages::{REPLAYED, check};
use super::problem::{InputError, Problem};
use super::{App, json, quotas};
use crate::domain::id::BatchId;
use crate::domain::message::Message;
use crate::domain::status::Status;
use crate::domain::terms::Terms;
use crate::engine::accept::{By, Checked};
use crate::engine::view::Rfc3339;
use crate::store::StoreError;

mod cost;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(cost::preview))
        .routes(routes!(read))
}

/// The body of `POST /v1/batches`: either shape.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum NewBatch {
    /// Each message with its own text.
    Messages {
        /// The messages.
        messages: Vec<NewMessage>,
    },
    /// One text for several recipients; beside `to`, the members of a message.
    Recipients {
        /// The recipients: a number, or `{to, params}` with what differs in its text.
        #[schema(value_type = Vec<RecipientForm>)]
        to: Vec<String>,
        /// The text; needed unless a template gives it.
        text: Option<String>,
    },
}

/// A recipient of a batch.
#[derive(ToSchema)]
#[schema(as = Recipient)]
#[serde(untagged)]
#[allow(dead_code)]
enum RecipientForm {
    /// Its number, in any usual writing.
    Number(String),
    /// Its number, and what the template's variables stand for in its text.
    WithParams {
        /// Its number.
        to: String,
        /// Values, besides those that are common.
        #[schema(value_type = Option<Object>)]
        params: Option<serde_json::Value>,
    },
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
struct BatchResult {
    /// The batch's id; null only where the first answer's batch is past keeping.
    #[schema(required, value_type = Option<String>, format = "uuid")]
    id: Option<uuid::Uuid>,
    /// Number of items accepted.
    accepted: usize,
    /// Number of items refused.
    rejected: usize,
    /// One entry an item, in the order of the request.
    results: Vec<ItemResult>,
}

/// What became of one item.
#[derive(Debug, Serialize, ToSchema)]
struct ItemResult {
    /// Place in the request, from 0.
    index: usize,
    /// True if it is stored.
    accepted: bool,
    /// The message's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    id: Option<uuid::Uuid>,
    /// Recipient, E.164.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// The message's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    /// Number of parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
    /// True if its text was cut to what its tenant allows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    /// True if it was told before under its once_key: `id` is the first message, and nothing is stored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
    /// The message of the same plan in whose place it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    replaces: Option<uuid::Uuid>,
    /// What is wrong with it; pointers are into the whole body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<InputError>,
}

impl ItemResult {
    fn refused(index: usize, errors: Vec<InputError>) -> Self {
        Self {
            index,
            accepted: false,
            id: None,
            to: None,
            status: None,
            parts: None,
            truncated: false,
            duplicate: false,
            replaces: None,
            errors,
        }
    }

    fn stored(index: usize, message: &Message, duplicate: bool) -> Self {
        let terms = message.terms.as_ref().filter(|_| !duplicate);
        Self {
            index,
            accepted: true,
            id: Some(message.id.0),
            to: Some(message.to.to_string()),
            status: Some(message.status().word()),
            parts: Some(message.parts()),
            truncated: (message.terms.as_ref()).is_some_and(|terms| terms.truncated),
            duplicate,
            replaces: terms.and_then(|terms| terms.replaces).map(|id| id.0),
            errors: Vec::new(),
        }
    }
}

/// Takes several messages; those that are accepted are durable when the answer is 202.
#[utoipa::path(
    post, path = "/v1/batches", tag = "batches", operation_id = "send_batch",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; the same key and body give the first answer again"),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context; kept with the message, in its log lines and on its webhooks"),
    ),
    request_body = NewBatch,
    responses(
        (status = 202, description = "At least one is accepted and durable", body = BatchResult),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "The credit does not reach for all of it, and nothing was stored", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The idempotency key was used with another body, or the message of a schedule_key is leaving or has left", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "None is accepted, or there are too many", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many messages are waiting, or the key has used up its rate or its quota; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Nothing can be stored now", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn create(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    incoming: Incoming<true>,
) -> Result<Response, Problem> {
    let mut batch = read_batch(&app, &incoming.body)?;
    batch.trace(incoming.trace);
    let prefix = batch.prefix();
    let mut items = judge(&app, &caller.by(), batch).await;
    refuse_repeated_names(&mut items, prefix);
    if items.iter().all(Result::is_err) {
        return Err(all_refused(items));
    }
    let mut accepted = Vec::with_capacity(items.len());
    let mut results = Vec::with_capacity(items.len());
    let mut places = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        match item {
            Ok(checked) => {
                accepted.push(checked);
                places.push(index);
            }
            Err(errors) => results.push(ItemResult::refused(index, errors)),
        }
    }
    let idempotency = incoming.idempotency(&caller.tenant, "/v1/batches");
    let submitted = quotas::submit(&app, &caller, accepted, true, idempotency).await;
    let submitted = submitted.map_err(|refused| refused.of_items(&places, prefix))?;
    let rejected = results.len();
    let stored = places.into_iter().zip(&submitted.messages);
    for (place, (index, message)) in stored.enumerate() {
        let duplicate = submitted.duplicates.contains(&place);
        results.push(ItemResult::stored(index, message, duplicate));
    }
    results.sort_by_key(|result| result.index);
    let mut response = json(
        StatusCode::ACCEPTED,
        &BatchResult {
            id: submitted.batch.map(|batch| batch.0),
            accepted: submitted.messages.len(),
            rejected,
            results,
        },
    );
    if submitted.repeated {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The batch in a body.
fn read_batch(app: &App, body: &[u8]) -> Result<Batch, Problem> {
    let limit = app.engine.rules().limits.max_recipients;
    batch::read(body, limit).map_err(|error| match error {
        BatchError::Json(error) => Problem::malformed_json(&error),
        BatchError::Input(errors) => Problem::invalid_fields(errors),
        BatchError::TooMany(count) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "too_many_recipients",
            "There are too many recipients",
            format!("the batch has {count} recipients and at most {limit} are allowed; split it"),
        ),
    })
}

type Judged = Result<Checked, Vec<InputError>>;

/// Items that are checked at once: each may wait for a look-up.
const AT_ONCE: usize = 16;
/// How long a batch waits for its look-ups together; past it the prefixes decide.
const LOOKUPS_MAX: Duration = Duration::from_secs(5);

/// Checks every item, with pointers into the whole body.
async fn judge(app: &App, by: &By, batch: Batch) -> Vec<Judged> {
    let engine = &app.engine;
    let until = Some(engine.clock.elapsed() + LOOKUPS_MAX);
    match batch {
        Batch::Messages(messages) => {
            let judged = messages
                .into_iter()
                .enumerate()
                .map(async |(index, decoded)| {
                    let prefix = format!("/messages/{index}");
                    let checked = check(engine, by, decoded, until).await;
                    checked.map_err(|errors| errors.into_iter().map(|e| e.under(&prefix)).collect())
                });
            stream::iter(judged).buffered(AT_ONCE).collect().await
        }
        Batch::Fanout { common, to } => {
            let judged = to.into_iter().enumerate().map(async |(index, to)| {
                let mut draft = common.draft.clone();
                let recipient = to.map_err(|error| vec![error])?;
                draft.to = recipient.to;
                let has_params = recipient.params.is_some();
                if let Some(own) = recipient.params {
                    draft.params.get_or_insert_default().extend(own);
                }
                check(engine, by, draft.into(), until)
                    .await
                    .map_err(|errors| {
                        let place = |error: InputError| match error.pointer.as_deref() {
                            Some("/to") => InputError {
                                pointer: Some(format!("/to/{index}").into()),
                                ..error
                            },
                            Some("/params") if has_params => InputError {
                                pointer: Some(format!("/to/{index}/params").into()),
                                ..error
                            },
                            _ => error,
                        };
                        errors.into_iter().map(place).collect()
                    })
            });
            stream::iter(judged).buffered(AT_ONCE).collect().await
        }
    }
}

/// Refuses every item whose schedule_key or once_key another one has too: a name has one message, and
/// which of them it would be is not for us to say.
fn refuse_repeated_names(items: &mut [Judged], prefix: Option<&str>) {
    type Name = fn(&Terms) -> Option<&String>;
    let of: [(&str, Name); 2] = [
        ("schedule_key", |terms| terms.schedule_key.as_ref()),
        ("once_key", |terms| terms.once_key.as_ref()),
    ];
    for (field, name) in of {
        let mut uses: HashMap<String, usize> = HashMap::new();
        for item in items.iter().flatten() {
            if let Some(name) = name(&item.terms) {
                *uses.entry(name.clone()).or_default() += 1;
            }
        }
        for (index, item) in items.iter_mut().enumerate() {
            let name = item.as_ref().ok().and_then(|item| name(&item.terms));
            if name
                .and_then(|name| uses.get(name))
                .is_some_and(|uses| *uses > 1)
            {
                let pointer = prefix.map_or_else(
                    || format!("/{field}"),
                    |prefix| format!("{prefix}/{index}/{field}"),
                );
                let detail = "several messages of the batch have it; give each a name of its own";
                *item = Err(vec![InputError::at(pointer, "key_repeated", detail)]);
            }
        }
    }
}

/// The refusal of a batch of which no item passed; what is wrong for all is named once.
fn all_refused(items: Vec<Judged>) -> Problem {
    let mut all: Vec<InputError> = Vec::new();
    for error in items.into_iter().filter_map(Result::err).flatten() {
        if all.len() >= ERRORS_MAX {
            break;
        }
        if !all.contains(&error) {
            all.push(error);
        }
    }
    Problem::invalid_fields(all)
}

/// How far a batch has got.
#[derive(Debug, Serialize, ToSchema)]
struct BatchProgress {
    #[schema(value_type = String, format = "uuid")]
    id: uuid::Uuid,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    created_at: Rfc3339,
    /// Number of messages accepted.
    total: usize,
    /// Number of messages by status.
    counts: Counts,
}

/// Numbers of messages by status.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Counts {
    pending: usize,
    sent: usize,
    delivered: usize,
    expired: usize,
    failed: usize,
    cancelled: usize,
}

impl Counts {
    const fn of(&mut self, status: Status) -> &mut usize {
        match status {
            Status::Pending => &mut self.pending,
            Status::Sent => &mut self.sent,
            Status::Delivered => &mut self.delivered,
            Status::Expired => &mut self.expired,
            Status::Failed => &mut self.failed,
            Status::Cancelled => &mut self.cancelled,
        }
    }
}

/// How far a batch has got: counts by status.
#[utoipa::path(
    get, path = "/v1/batches/{id}", tag = "batches", operation_id = "get_batch",
    params(("id" = String, Path, description = "The batch's id")),
    responses(
        (status = 200, description = "Counts by status", body = BatchProgress),
        (status = 404, description = "No such batch", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn read(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    Named(id): Named,
) -> Result<Response, Problem> {
    let id = BatchId::parse(&id).ok_or_else(Problem::not_found)?;
    let store = &app.engine.store;
    let batch = store.batch(&caller.tenant, id).await?;
    let mut counts = Counts::default();
    for message in &batch.messages {
        match store.message(&caller.tenant, *message).await {
            Ok(message) => *counts.of(message.status()) += 1,
            // Past keeping: it is in the total alone.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(json(
        StatusCode::OK,
        &BatchProgress {
            id: batch.id.0,
            created_at: Rfc3339(batch.created_at),
            total: batch.messages.len(),
            counts,
        },
    ))
}
