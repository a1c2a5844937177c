//! `/v1/messages`: one text for one recipient.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToRead, ToSend};
use super::body::{Incoming, Named, Parameters, Reading};
use super::draft::{self, Decoded, NewMessage};
use super::problem::{InputError, Problem};
use super::{App, List, json, quotas};
use crate::domain::id::MessageId;
use crate::domain::msisdn;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::engine::Engine;
use crate::engine::accept::{By, Checked};
use crate::engine::view::MessageView;
use crate::store::Query;

/// Says that an answer is the first one, given again.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Messages a page where nothing is said, and at most.
pub(super) const PAGE: (usize, usize) = (100, 1000);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, cancel))
}

/// Every check of a decoded draft: the body's errors and the engine's, each field named once. Past
/// `until` no look-up is waited for.
pub(super) async fn check(
    engine: &Engine,
    by: &By,
    decoded: Decoded,
    until: Option<Duration>,
) -> Result<Checked, Vec<InputError>> {
    if decoded.errors.is_empty() {
        let checked = engine.check_for(decoded.draft, by, until).await;
        return checked.map_err(|errors| errors.into_iter().map(InputError::from).collect());
    }
    let mut decoded = decoded;
    let draft = std::mem::take(&mut decoded.draft);
    if let Err(errors) = engine.check_for(draft, by, until).await {
        for error in errors {
            // A field that could not be read was checked as if it were empty.
            if !decoded.has_error(error.pointer) && !decoded.has_error("/template") {
                decoded.errors.push(error.into());
            }
        }
    }
    Err(decoded.errors)
}

/// Takes a message; it is durable when the answer is 202.
#[utoipa::path(
    post, path = "/v1/messages", tag = "messages", operation_id = "send_message",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; the same key and body give the first answer again"),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context; kept with the message, in its log lines and on its webhooks"),
    ),
    request_body = NewMessage,
    responses(
        (status = 202, description = "Accepted and durable", body = MessageView),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid key", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "The credit is not enough, and nothing was stored", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the scope send", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The idempotency key was used with another body", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not application/json", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many messages are waiting, or the key has used up its rate or its quota; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Nothing can be stored now", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn create(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let mut decoded =
        draft::message(&incoming.body).map_err(|error| Problem::malformed_json(&error))?;
    decoded.draft.trace = incoming.trace;
    let checked = check(engine, &caller.by(), decoded, None)
        .await
        .map_err(Problem::invalid_fields)?;
    let idempotency = incoming.idempotency(&caller.tenant, "/v1/messages");
    let submitted = quotas::submit(&app, &caller, vec![checked], false, idempotency).await?;
    let Some(message) = submitted.messages.first() else {
        // A repetition of a submission whose message is past keeping.
        return Err(Problem::not_found());
    };
    let mut response = json(
        StatusCode::ACCEPTED,
        &engine.view(message, incoming.language),
    );
    if submitted.repeated {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// One message.
#[utoipa::path(
    get, path = "/v1/messages/{id}", tag = "messages", operation_id = "get_message",
    params(("id" = String, Path, description = "The message's id")),
    responses(
        (status = 200, description = "The message", body = MessageView),
        (status = 404, description = "No such message", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn read(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    Named(id): Named,
    Reading(language): Reading,
) -> Result<Response, Problem> {
    let id = MessageId::parse(&id).ok_or_else(Problem::not_found)?;
    let message = app.engine.store.message(&caller.tenant, id).await?;
    Ok(json(StatusCode::OK, &app.engine.view(&message, language)))
}

/// Withdraws a message that has not begun to leave.
#[utoipa::path(
    delete, path = "/v1/messages/{id}", tag = "messages", operation_id = "cancel_message",
    params(("id" = String, Path, description = "The message's id")),
    responses(
        (status = 200, description = "The message, cancelled", body = MessageView),
        (status = 404, description = "No such message", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is leaving, has left or is finished", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn cancel(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(id): Named,
    Reading(language): Reading,
) -> Result<Response, Problem> {
    let id = MessageId::parse(&id).ok_or_else(Problem::not_found)?;
    let message = app.engine.cancel(&caller.tenant, id).await?;
    Ok(json(StatusCode::OK, &app.engine.view(&message, language)))
}

/// The messages that a query names, newest first.
#[utoipa::path(
    get, path = "/v1/messages", tag = "messages", operation_id = "list_messages",
    params(
        ("status" = Option<String>, Query, description = "pending, sent, delivered, expired, failed or cancelled"),
        ("to" = Option<String>, Query, description = "Recipient, in any usual writing"),
        ("reference" = Option<String>, Query, description = "The caller's reference"),
        ("type" = Option<String>, Query, description = "The caller's label of the kind of message"),
        ("since" = Option<String>, Query, description = "Created at or after (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Created before (RFC 3339)"),
        ("updated_since" = Option<String>, Query, description = "Changed at or after (RFC 3339)"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 where nothing is said"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
    ),
    responses(
        (status = 200, description = "A page; follow next_cursor until it is null, even over empty pages", body = List<MessageView>),
        (status = 422, description = "Parameters are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    Reading(language): Reading,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let mut query = parameters(
        query,
        &[
            "status",
            "to",
            "reference",
            "type",
            "since",
            "until",
            "updated_since",
            "limit",
            "cursor",
        ],
    )?;
    let mut errors = Vec::new();
    let mut wrong = |name: &'static str, detail: String| {
        errors.push(InputError::of_parameter(name, "invalid_parameter", detail));
    };
    let status = query.take("status").and_then(|word| {
        let status = Status::from_word(&word);
        if status.is_none() {
            let words = Status::ALL.map(Status::word).join(", ");
            wrong("status", format!("it must be one of {words}"));
        }
        status
    });
    let country = &engine.rules().default_country;
    let to = query.take("to").and_then(|text| {
        // In a query string an unescaped plus is a space.
        let text = text
            .strip_prefix(' ')
            .map_or_else(|| text.clone(), |rest| format!("+{rest}"));
        msisdn::parse(&text, country)
            .map_err(|error| wrong("to", error.to_string()))
            .ok()
    });
    let mut times = [None; 3];
    for (time, name) in times.iter_mut().zip(["since", "until", "updated_since"]) {
        if let Some(text) = query.take(name) {
            *time = Timestamp::parse_rfc3339(&text.replace(' ', "+"));
            if time.is_none() {
                wrong(
                    name,
                    "it must be RFC 3339 with an offset, such as 2026-10-05T19:00:00Z".into(),
                );
            }
        }
    }
    let limit = limit(&mut query, PAGE, &mut wrong);
    let before = cursor(&mut query, &mut wrong).map(MessageId);
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    let [since, until, updated_since] = times;
    let page = engine
        .store
        .find(Query {
            tenant: caller.tenant,
            status,
            to,
            reference: query.take("reference"),
            kind: query.take("type"),
            since,
            until,
            updated_since,
            before,
            limit,
        })
        .await?;
    let data = page
        .items
        .iter()
        .map(|message| engine.view(message, language))
        .collect();
    Ok(json(
        StatusCode::OK,
        &List {
            data,
            next_cursor: page.next,
        },
    ))
}

/// The parameters of a request, or why they cannot be read.
pub(super) fn parameters(
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
    known: &[&'static str],
) -> Result<Parameters, Problem> {
    let QueryString(query) = query.map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed_query",
            "The query string cannot be read",
            "the query string must be name=value pairs in UTF-8, percent-encoded",
        )
    })?;
    Parameters::of(query, known).map_err(Problem::invalid_fields)
}

/// The page size.
pub(super) fn limit(
    query: &mut Parameters,
    (usual, most): (usize, usize),
    wrong: &mut impl FnMut(&'static str, String),
) -> usize {
    let Some(text) = query.take("limit") else {
        return usual;
    };
    match text.parse() {
        Ok(limit) if (1..=most).contains(&limit) => limit,
        _ => {
            wrong(
                "limit",
                format!("it must be a whole number from 1 to {most}"),
            );
            usual
        }
    }
}

/// Where the page before ended.
pub(super) fn cursor(
    query: &mut Parameters,
    wrong: &mut impl FnMut(&'static str, String),
) -> Option<uuid::Uuid> {
    let text = query.take("cursor")?;
    let cursor = uuid::Uuid::try_parse(&text).ok();
    if cursor.is_none() {
        wrong("cursor", "give back next_cursor as it was".into());
    }
    cursor
}
