//! `/v1/digests`: what comes for people is counted, and told at the ticks of a digest, one message a
//! recipient and kind.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToManage, ToSend, ToSendOrRead};
use super::body::{Incoming, Named, Parameters, Reading, rest};
use super::messages::{PAGE, REPLAYED, cursor, limit, parameters};
use super::problem::{InputError, Problem};
use super::{App, List, json};
use crate::domain::digest::{Digest, NAME_RULE, is_name};
use crate::domain::id::Tenant;
use crate::domain::msisdn::{self, Msisdn};
use crate::domain::status::{Language, Status};
use crate::engine::digests::{Definition, Deletion, NotNoted, Noted, Notified};
use crate::engine::view::Rfc3339;
use crate::store::{Count, Pending};

/// Digests that a tenant may have.
const DIGESTS_MAX: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, put, remove))
        .routes(routes!(note))
        .routes(routes!(pending, drop_pending))
}

/// A digest to make, as it is read.
#[derive(Deserialize)]
struct NewDigest {
    name: String,
    #[serde(flatten)]
    digest: serde_json::Map<String, serde_json::Value>,
}

/// The body of `POST /v1/digests`, as the OpenAPI document describes it; [`NewDigest`] reads it.
#[derive(Serialize, ToSchema)]
#[schema(as = NewDigest)]
#[allow(dead_code)]
struct NewDigestBody {
    /// 1 to 64 letters, digits, '.', '_' and '-'.
    #[schema(example = "courriers")]
    name: String,
    #[serde(flatten)]
    digest: Digest,
}

/// A digest.
#[derive(Serialize, ToSchema)]
#[schema(as = DefinedDigest)]
struct DigestView<'a> {
    name: &'a str,
    #[serde(flatten)]
    digest: &'a Digest,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    created_at: Rfc3339,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    updated_at: Rfc3339,
}

impl<'a> From<&'a Definition> for DigestView<'a> {
    fn from(definition: &'a Definition) -> Self {
        Self {
            name: &definition.document.name,
            digest: &definition.digest,
            created_at: Rfc3339(definition.document.created_at),
            updated_at: Rfc3339(definition.document.updated_at),
        }
    }
}

/// That something has come for somebody, or has been taken back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewNotice {
    /// For whom, in any usual writing.
    #[schema(example = "06 12 34 56 78")]
    to: String,
    /// A kind of the digest.
    #[schema(example = "courrier")]
    kind: String,
    /// How many, 1 where nothing is said; negative: taken back.
    #[serde(default = "one")]
    count: i64,
    /// The caller's own reference; the message that tells of it has the last one given.
    #[serde(default)]
    reference: Option<String>,
}

const fn one() -> i64 {
    1
}

/// What is pending for a recipient after a notice.
#[derive(Serialize, ToSchema)]
struct NoticeView<'a> {
    digest: &'a str,
    /// E.164.
    #[schema(example = "+33612345678")]
    to: String,
    kind: &'a str,
    /// How many are pending now.
    count: u64,
    /// When they are told; null where none are left.
    #[schema(required, value_type = Option<chrono::DateTime<chrono::Utc>>)]
    tick: Option<Rfc3339>,
}

/// What is still to be told to a recipient.
#[derive(Serialize, ToSchema)]
#[schema(as = PendingCount)]
pub(super) struct CountView<'a> {
    digest: &'a str,
    /// E.164.
    #[schema(example = "+33612345678")]
    to: String,
    kind: &'a str,
    count: u32,
    /// When it is told.
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    tick: Rfc3339,
    /// `pending`: it becomes a message at its tick.
    status: &'static str,
    /// The status for people, in the language of `Accept-Language`.
    label: &'static str,
    #[schema(required)]
    reference: Option<&'a str>,
    /// When the first of them came.
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    since: Rfc3339,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    updated_at: Rfc3339,
    /// What it would say now, where one recipient was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Why some of it could not be told at an earlier tick, as a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl<'a> From<&'a Count> for CountView<'a> {
    fn from(count: &'a Count) -> Self {
        let held = count.held.as_ref();
        Self {
            digest: &count.digest,
            to: count.to.to_string(),
            kind: &count.kind,
            count: count.count,
            tick: Rfc3339(count.tick),
            status: Status::Pending.word(),
            label: Status::Pending.label(Language::Fr),
            reference: count.reference.as_deref(),
            since: Rfc3339(count.since),
            updated_at: Rfc3339(count.updated_at),
            text: None,
            why: held.map(|held| held.code.as_str()),
            detail: held.map(|held| held.detail.as_str()),
        }
    }
}

/// How much was dropped.
#[derive(Serialize, ToSchema)]
struct Dropped {
    /// Counts: one a recipient, kind and tick.
    dropped: usize,
}

/// Everything that is wrong with a definition.
fn check(digest: &Digest) -> Result<(), Problem> {
    let flaws = digest.flaws();
    if flaws.is_empty() {
        return Ok(());
    }
    let errors = flaws.into_iter();
    let errors = errors.map(|flaw| InputError::at(flaw.pointer, flaw.code, flaw.detail));
    Err(Problem::invalid_fields(errors.collect()))
}

/// Refuses a name that nothing may have, and one too many.
fn check_name(app: &App, tenant: &Tenant, name: &str) -> Result<(), Problem> {
    let error = if !is_name(name) {
        InputError::at("/name", "name_invalid", NAME_RULE)
    } else if app.engine.digest(tenant, name).is_none()
        && app.engine.digests(tenant).len() >= DIGESTS_MAX
    {
        let detail = format!("at most {DIGESTS_MAX} digests are kept; delete one");
        InputError::at("", "too_many_digests", detail)
    } else {
        return Ok(());
    };
    Err(Problem::invalid_fields(vec![error]))
}

/// Makes a digest.
#[utoipa::path(
    post, path = "/v1/digests", tag = "digests", operation_id = "create_digest",
    request_body = NewDigestBody,
    responses(
        (status = 201, description = "The digest", body = DigestView),
        (status = 409, description = "There is one of that name", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn create(
    State(app): State<Arc<App>>,
    caller: Allowed<ToManage>,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let NewDigest { name, digest } = incoming.read()?;
    let digest: Digest = rest(digest)?;
    check_name(&app, &caller.tenant, &name)?;
    check(&digest)?;
    if app.engine.digest(&caller.tenant, &name).is_some() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "digest_exists",
            "There is a digest of that name",
            "put the digest to /v1/digests/{name} to replace it, or give it another name",
        ));
    }
    let put = app.engine.put_digest(&caller.tenant, &name, digest).await?;
    Ok(json(StatusCode::CREATED, &DigestView::from(&put)))
}

/// The tenant's digests, by name.
#[utoipa::path(
    get, path = "/v1/digests", tag = "digests", operation_id = "list_digests",
    responses((status = 200, description = "The digests", body = List<DigestView>)),
    security(("key" = []))
)]
async fn list(State(app): State<Arc<App>>, caller: Allowed<ToSendOrRead>) -> Response {
    let digests = app.engine.digests(&caller.tenant);
    let data = digests.iter().map(DigestView::from).collect();
    json(StatusCode::OK, &List::whole(data))
}

/// One digest.
#[utoipa::path(
    get, path = "/v1/digests/{name}", tag = "digests", operation_id = "get_digest",
    params(("name" = String, Path, description = "The digest's name")),
    responses(
        (status = 200, description = "The digest", body = DigestView),
        (status = 404, description = "No such digest", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn read(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSendOrRead>,
    Named(name): Named,
) -> Result<Response, Problem> {
    let digest = app.engine.digest(&caller.tenant, &name);
    let digest = digest.ok_or_else(Problem::not_found)?;
    Ok(json(StatusCode::OK, &DigestView::from(&digest)))
}

/// Makes or replaces a digest. What is counted already keeps its tick, and is told as the digest then
/// says.
#[utoipa::path(
    put, path = "/v1/digests/{name}", tag = "digests", operation_id = "put_digest",
    params(("name" = String, Path, description = "The digest's name")),
    request_body = Digest,
    responses(
        (status = 200, description = "The digest", body = DigestView),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn put(
    State(app): State<Arc<App>>,
    caller: Allowed<ToManage>,
    Named(name): Named,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let digest: Digest = incoming.read()?;
    check_name(&app, &caller.tenant, &name)?;
    check(&digest)?;
    let put = app.engine.put_digest(&caller.tenant, &name, digest).await?;
    Ok(json(StatusCode::OK, &DigestView::from(&put)))
}

/// Removes a digest of which nothing is pending.
#[utoipa::path(
    delete, path = "/v1/digests/{name}", tag = "digests", operation_id = "delete_digest",
    params(
        ("name" = String, Path, description = "The digest's name"),
        ("drop" = Option<bool>, Query, description = "true: drop what is pending too, instead of refusing"),
    ),
    responses(
        (status = 200, description = "It is gone", body = Dropped),
        (status = 404, description = "No such digest", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Something is pending; nothing was removed", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn remove(
    State(app): State<Arc<App>>,
    caller: Allowed<ToManage>,
    Named(name): Named,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let mut query = parameters(query, &["drop"])?;
    let drop = match query.take("drop").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            let detail = "it must be true or false";
            let error = InputError::of_parameter("drop", "invalid_parameter", detail);
            return Err(Problem::invalid_fields(vec![error]));
        }
    };
    match app
        .engine
        .delete_digest(&caller.tenant, &name, drop)
        .await?
    {
        Deletion::Gone(dropped) => Ok(json(StatusCode::OK, &Dropped { dropped })),
        Deletion::Pending(count) => Err(Problem::new(
            StatusCode::CONFLICT,
            "digest_pending",
            "The digest has not told everything",
            format!(
                "{count} counts are still to be told; wait for their tick, or say drop=true to drop them"
            ),
        )),
    }
}

/// Counts something that has come for somebody, or takes it back; it is durable when the answer is 202.
/// What comes before a tick is told at it, what comes at the tick itself or later at the next one.
#[utoipa::path(
    post, path = "/v1/digests/{name}/events", tag = "digests", operation_id = "count_event",
    params(
        ("name" = String, Path, description = "The digest's name"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; the same key and body count once"),
    ),
    request_body = NewNotice,
    responses(
        (status = 202, description = "Counted and durable: what is pending now", body = NoticeView),
        (status = 403, description = "The tenant may not send this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such digest", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "More is taken back than there is, or the idempotency key was used with another body", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many counts are pending", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn note(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(name): Named,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let NewNotice {
        to,
        kind,
        count,
        reference,
    } = incoming.read()?;
    let path = format!("/v1/digests/{name}/events");
    let idempotency = incoming.idempotency(&caller.tenant, &path);
    let notified = Notified {
        to,
        kind: kind.clone(),
        count,
        reference,
    };
    let noted = app
        .engine
        .note(&caller.by(), &name, notified, idempotency)
        .await;
    let Noted {
        to,
        stands,
        repeated,
    } = noted.map_err(not_noted)?;
    let view = NoticeView {
        digest: &name,
        to: to.to_string(),
        kind: &kind,
        count: stands.iter().map(|count| u64::from(count.count)).sum(),
        tick: stands.first().map(|count| Rfc3339(count.tick)),
    };
    let mut response = json(StatusCode::ACCEPTED, &view);
    if repeated {
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert(REPLAYED, replayed);
    }
    Ok(response)
}

fn not_noted(error: NotNoted) -> Problem {
    match error {
        NotNoted::Fields(errors) => {
            Problem::invalid_fields(errors.into_iter().map(InputError::from).collect())
        }
        NotNoted::BelowZero { stands } => Problem::new(
            StatusCode::CONFLICT,
            "digest_below_zero",
            "More would be taken back than there is",
            format!(
                "{stands} are pending for this recipient and kind; nothing was changed, and what has \
                 been told cannot be taken back"
            ),
        ),
        NotNoted::Store(error) => error.into(),
    }
}

/// What a digest has counted and not told yet, by number.
#[utoipa::path(
    get, path = "/v1/digests/{name}/pending", tag = "digests", operation_id = "list_pending_counts",
    params(
        ("name" = String, Path, description = "The digest's name"),
        ("to" = Option<String>, Query, description = "Only for this recipient, with the text that it would get"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 where nothing is said. A recipient's counts stay together"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = List<CountView>),
        (status = 404, description = "No such digest", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Parameters are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn pending(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSendOrRead>,
    Named(name): Named,
    Reading(language): Reading,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let mut query = parameters(query, &["to", "limit", "cursor"])?;
    let mut errors = Vec::new();
    let mut wrong = |name: &'static str, detail: String| {
        errors.push(InputError::of_parameter(name, "invalid_parameter", detail));
    };
    let to = recipient(&app, &mut query, &mut wrong);
    let limit = limit(&mut query, PAGE, &mut wrong);
    let after = cursor(&mut query, &mut wrong).map(|cursor| {
        let number = u64::try_from(cursor.as_u128()).ok();
        number.and_then(|digits| Msisdn::try_from(digits).ok())
    });
    if after == Some(None) {
        wrong("cursor", "give back next_cursor as it was".into());
    }
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    let tenant = &caller.tenant;
    engine
        .digest(tenant, &name)
        .ok_or_else(Problem::not_found)?;
    let of = to.map_or(Pending::After(after.flatten()), Pending::Of);
    let page = engine
        .store
        .pending_counts(tenant, &name, of, limit)
        .await?;
    let mut data = Vec::with_capacity(page.items.len());
    for count in &page.items {
        let mut view = CountView {
            label: Status::Pending.label(language),
            ..CountView::from(count)
        };
        if to.is_some() {
            view.text = engine.told_text(count).await;
        }
        data.push(view);
    }
    let next_cursor = page.next;
    Ok(json(StatusCode::OK, &List { data, next_cursor }))
}

/// Drops what is pending of a digest for one recipient: it is told to nobody.
#[utoipa::path(
    delete, path = "/v1/digests/{name}/pending", tag = "digests", operation_id = "drop_pending_counts",
    params(
        ("name" = String, Path, description = "The digest's name"),
        ("to" = String, Query, description = "The recipient, in any usual writing"),
    ),
    responses(
        (status = 200, description = "Nothing is pending for the recipient", body = Dropped),
        (status = 404, description = "No such digest", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Parameters are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn drop_pending(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(name): Named,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let mut query = parameters(query, &["to"])?;
    let mut errors = Vec::new();
    let mut wrong = |name: &'static str, detail: String| {
        errors.push(InputError::of_parameter(name, "invalid_parameter", detail));
    };
    let to = recipient(&app, &mut query, &mut wrong);
    if to.is_none() {
        // Everybody's goes with the digest only.
        wrong("to", "name the recipient".into());
    }
    errors.truncate(1);
    let (Some(to), true) = (to, errors.is_empty()) else {
        return Err(Problem::invalid_fields(errors));
    };
    let tenant = &caller.tenant;
    engine
        .digest(tenant, &name)
        .ok_or_else(Problem::not_found)?;
    let dropped = engine.drop_pending(tenant, &name, Some(to)).await?;
    Ok(json(StatusCode::OK, &Dropped { dropped }))
}

/// The number that a query names.
fn recipient(
    app: &App,
    query: &mut Parameters,
    wrong: &mut impl FnMut(&'static str, String),
) -> Option<Msisdn> {
    let text = query.take("to")?;
    // In a query string an unescaped plus is a space.
    let text = text
        .strip_prefix(' ')
        .map_or_else(|| text.clone(), |rest| format!("+{rest}"));
    msisdn::parse(&text, &app.engine.rules().default_country)
        .map_err(|error| wrong("to", error.to_string()))
        .ok()
}
