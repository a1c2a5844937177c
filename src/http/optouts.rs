//! `/v1/optouts`: numbers that receive nothing more from a tenant.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToRead, ToSend};
use super::body::Named;
use super::messages::{PAGE, cursor, limit, parameters};
use super::problem::{InputError, Problem};
use super::{App, List, json};
use crate::domain::msisdn::{self, Msisdn};
use crate::domain::optout::{OptOut, Source};
use crate::engine::view::Rfc3339;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, opt_out, opt_in))
}

/// A number that receives nothing more from the tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = OptOut)]
pub(super) struct OptOutView<'a> {
    /// E.164.
    #[schema(example = "+33612345678")]
    number: String,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    since: Rfc3339,
    /// `keyword`: the handset wrote one; `api`: a client said so.
    source: &'static str,
    /// What the handset wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// The id of what the handset wrote, or of the part of it that was the keyword.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    inbound: Option<uuid::Uuid>,
}

impl<'a> From<&'a OptOut> for OptOutView<'a> {
    fn from(optout: &'a OptOut) -> Self {
        let (source, text, inbound) = match &optout.source {
            Source::Keyword { inbound, wording } => {
                ("keyword", Some(wording.as_str()), Some(inbound.0))
            }
            Source::Api => ("api", None, None),
        };
        Self {
            number: optout.number.to_string(),
            since: Rfc3339(optout.since),
            source,
            text,
            inbound,
        }
    }
}

/// The number in an address, in any usual writing.
pub(super) fn number(app: &App, text: &str) -> Result<Msisdn, Problem> {
    msisdn::parse(text, &app.engine.rules().default_country).map_err(|error| {
        let error = InputError::of_parameter("number", error.code(), error.to_string());
        Problem::invalid_fields(vec![error])
    })
}

/// 404: the number gets messages.
fn not_opted_out() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_opted_out",
        "The number has not opted out",
        "this number receives the tenant's messages",
    )
}

/// Numbers that have opted out, in their order.
#[utoipa::path(
    get, path = "/v1/optouts", tag = "optouts", operation_id = "list_optouts",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 where nothing is said"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = List<OptOutView>),
        (status = 422, description = "Parameters are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let mut query = parameters(query, &["limit", "cursor"])?;
    let mut errors = Vec::new();
    let mut wrong = |name: &'static str, detail: String| {
        errors.push(InputError::of_parameter(name, "invalid_parameter", detail));
    };
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
    let store = &app.engine.store;
    let page = store.optouts(&caller.tenant, after.flatten(), limit);
    let page = page.await?;
    Ok(json(
        StatusCode::OK,
        &List {
            data: page.items.iter().map(OptOutView::from).collect(),
            next_cursor: page.next,
        },
    ))
}

/// Whether a number has opted out, since when and how.
#[utoipa::path(
    get, path = "/v1/optouts/{number}", tag = "optouts", operation_id = "read_optout",
    params(("number" = String, Path, description = "The number, in any usual writing")),
    responses(
        (status = 200, description = "It has opted out", body = OptOutView),
        (status = 404, description = "It has not opted out", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is no mobile number", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn read(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    Named(text): Named,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    match app.engine.store.optout(&caller.tenant, number).await {
        Ok(optout) => Ok(json(StatusCode::OK, &OptOutView::from(&optout))),
        Err(crate::store::StoreError::NotFound) => Err(not_opted_out()),
        Err(error) => Err(error.into()),
    }
}

/// Opts a number out: what waits for it fails at once, and so does what is sent to it later. One
/// that has opted out already stays as it is.
#[utoipa::path(
    put, path = "/v1/optouts/{number}", tag = "optouts", operation_id = "opt_out",
    params(("number" = String, Path, description = "The number, in any usual writing")),
    responses(
        (status = 200, description = "It has opted out", body = OptOutView),
        (status = 422, description = "It is no mobile number", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn opt_out(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(text): Named,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    let optout = app.engine.opt_out(&caller.tenant, number).await?;
    Ok(json(StatusCode::OK, &OptOutView::from(&optout)))
}

/// Ends an opt-out, where the recipient has asked for that by another way than `START`.
#[utoipa::path(
    delete, path = "/v1/optouts/{number}", tag = "optouts", operation_id = "opt_in",
    params(("number" = String, Path, description = "The number, in any usual writing")),
    responses(
        (status = 204, description = "It receives messages again"),
        (status = 404, description = "It had not opted out", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is no mobile number", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn opt_in(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(text): Named,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    match app.engine.store.opt_in(&caller.tenant, number).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(crate::store::StoreError::NotFound) => Err(not_opted_out()),
        Err(error) => Err(error.into()),
    }
}
