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
use super::draft::amendment::MessageChange;
use super::draft::{self, Decoded, NewMessage};
use super::problem::{InputError, Problem};
use super::{App, json, quotas};
use crate::domain::id::MessageId;
use crate::engine::Engine;
use crate::engine::accept::{By, Checked};
use crate::engine::view::{MessageView, Warning};

/// Says that an answer is the first one, given again.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Messages a page where nothing is said, and at most.
pub(super) const PAGE: (usize, usize) = (100, 1000);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(read, cancel, change))
        .routes(routes!(send_now))
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
        (status = 200, description = "Told before under this once_key: the first message, with duplicate; nothing is stored", body = MessageView),
        (status = 202, description = "Accepted and durable", body = MessageView),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid key", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "The credit is not enough, and nothing was stored", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the scope send", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The idempotency key was used with another body, or the message of the schedule_key is leaving or has left", body = Problem, content_type = "application/problem+json"),
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
    let warnings = checked.advice.iter().map(Warning::from).collect();
    let idempotency = incoming.idempotency(&caller.tenant, "/v1/messages");
    let submitted = quotas::submit(&app, &caller, vec![checked], false, idempotency).await?;
    let Some(message) = submitted.messages.first() else {
        // A repetition of a submission whose message is past keeping.
        return Err(Problem::not_found());
    };
    // What was told before is no news.
    let duplicate = !submitted.duplicates.is_empty();
    let status = if duplicate {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let view = engine.view(message, incoming.language);
    let view = if duplicate {
        view.as_duplicate(true)
    } else {
        view.with_warnings(warnings)
    };
    let mut response = json(status, &view);
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

/// Changes a message that has not begun to leave, by the rules that it was accepted by. What is left out
/// stays as it is; null takes away a sender, a webhook or metadata.
#[utoipa::path(
    patch, path = "/v1/messages/{id}", tag = "messages", operation_id = "change_message",
    params(("id" = String, Path, description = "The message's id")),
    request_body = MessageChange,
    responses(
        (status = 200, description = "The message, changed", body = MessageView),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "It may not be so", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such message", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is leaving, has left or is finished", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn change(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(id): Named,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let id = MessageId::parse(&id).ok_or_else(Problem::not_found)?;
    let amendment = draft::amendment::read(&incoming.body)
        .map_err(|error| Problem::malformed_json(&error))?
        .map_err(Problem::invalid_fields)?;
    let engine = &app.engine;
    let message = engine.amend(&caller.by(), id, &amendment).await?;
    let view = engine.view(&message, incoming.language);
    Ok(json(StatusCode::OK, &view))
}

/// Sends a message that waits for its time as soon as sending hours, rates and its recipient's wishes
/// let it.
#[utoipa::path(
    post, path = "/v1/messages/{id}/send-now", tag = "messages", operation_id = "send_message_now",
    params(("id" = String, Path, description = "The message's id")),
    responses(
        (status = 200, description = "The message, due now", body = MessageView),
        (status = 404, description = "No such message", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is leaving, has left or is finished", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It may not leave now", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn send_now(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(id): Named,
    Reading(language): Reading,
) -> Result<Response, Problem> {
    let id = MessageId::parse(&id).ok_or_else(Problem::not_found)?;
    let message = app.engine.send_now(&caller.by(), id).await?;
    Ok(json(StatusCode::OK, &app.engine.view(&message, language)))
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
