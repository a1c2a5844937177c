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
use super::lists::{Asked, Chain, Imported, Lines, SHEET_PAGE, sheet};
use super::messages::parameters;
use super::problem::{InputError, Problem};
use super::{App, json};
use crate::domain::msisdn::{self, Msisdn};
use crate::domain::optout::{Opposed, OptOut, Source, WORDING_MAX, sender_key};
use crate::domain::privacy;
use crate::domain::sender::Sender;
use crate::engine::view::Rfc3339;
use crate::engine::wishes::Brought;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(import))
        .routes(routes!(read, opt_out, opt_in))
}

/// A number that receives nothing more from the tenant, or from one of its senders.
#[derive(Serialize, ToSchema)]
#[schema(as = OptOut)]
pub(super) struct OptOutView<'a> {
    /// E.164; `~` and 16 hexadecimal digits where the installation keeps no such numbers.
    #[schema(example = "+33612345678")]
    number: String,
    /// Only messages that show this sender; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    since: Rfc3339,
    /// `keyword`: the handset wrote one; `api`: a client said so; `import`: it stood in a list.
    source: &'static str,
    /// Where the list had it from.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
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
            Source::Import { .. } => ("import", None, None),
        };
        Self {
            number: match optout.number {
                Opposed::Number(number) => number.to_string(),
                Opposed::Hashed(mark) => privacy::written(mark),
            },
            sender: optout.sender.as_ref().map(ToString::to_string),
            note: match &optout.source {
                Source::Import { note } => note.as_deref(),
                Source::Keyword { .. } | Source::Api => None,
            },
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

/// The sender that a query names, and nothing else in it.
fn sender(
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Option<Sender>, Problem> {
    let text = parameters(query, &["sender"])?.take("sender");
    let read = text.as_deref().map(Sender::parse).transpose();
    read.map_err(|error| {
        let error = InputError::of_parameter("sender", error.code(), error.to_string());
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

/// Numbers that have opted out, in their order; as CSV the whole list.
#[utoipa::path(
    get, path = "/v1/optouts", tag = "optouts", operation_id = "list_optouts",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 where nothing is said"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
        ("number" = Option<String>, Query, description = "Only this number: that from everything, and those from single senders"),
        ("format" = Option<String>, Query, description = "`json`, or `csv` for the whole list"),
    ),
    responses(
        (status = 200, description = "A page", content(
            (Chain<OptOutView> = "application/json"),
            (String = "text/csv"),
        )),
        (status = 422, description = "Parameters are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let mut query = parameters(query, &["limit", "cursor", "number", "format"])?;
    let asked = Asked::of(&mut query)?;
    if let Some(text) = query.take("number") {
        let number = number(&app, &text)?;
        let known = app.engine.store.optouts_of(&caller.tenant, number).await?;
        let data = known.iter().map(OptOutView::from).collect();
        return Ok(json(StatusCode::OK, &Chain::whole(data)));
    }
    if asked.csv {
        let read = move |app: Arc<App>, after| {
            let tenant = caller.tenant.clone();
            async move { app.engine.store.optouts(&tenant, after, SHEET_PAGE).await }
        };
        return sheet(app, COLUMNS, read, row).await;
    }
    let store = &app.engine.store;
    let part = store.optouts(&caller.tenant, asked.after, asked.limit);
    Ok(json(
        StatusCode::OK,
        &Chain::of(&part.await?, OptOutView::from),
    ))
}

/// The columns of a list, which is imported as it is exported.
const COLUMNS: &[&str] = &["number", "sender", "since", "source", "note"];

fn row(optout: &OptOut) -> Vec<String> {
    let view = OptOutView::from(optout);
    vec![
        view.number,
        view.sender.unwrap_or_default(),
        optout.since.rfc3339(),
        view.source.to_owned(),
        view.note.or(view.text).unwrap_or_default().to_owned(),
    ]
}

/// Whether a number has opted out, since when and how.
#[utoipa::path(
    get, path = "/v1/optouts/{number}", tag = "optouts", operation_id = "read_optout",
    params(
        ("number" = String, Path, description = "The number, in any usual writing"),
        ("sender" = Option<String>, Query, description = "From this sender alone; without a word: from everything"),
    ),
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
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    let wanted = sender(query)?.as_ref().map(sender_key);
    let known = app.engine.store.optouts_of(&caller.tenant, number).await?;
    let optout = known.iter().find(|it| it.sender_key() == wanted);
    let optout = optout.ok_or_else(not_opted_out)?;
    Ok(json(StatusCode::OK, &OptOutView::from(optout)))
}

/// Opts a number out: what waits for it fails at once, and so does what is sent to it later. One
/// that has opted out already stays as it is.
#[utoipa::path(
    put, path = "/v1/optouts/{number}", tag = "optouts", operation_id = "opt_out",
    params(
        ("number" = String, Path, description = "The number, in any usual writing"),
        ("sender" = Option<String>, Query, description = "From this sender alone; without a word: from everything"),
    ),
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
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    let sender = sender(query)?;
    let optout = app.engine.opt_out(&caller.tenant, number, sender).await?;
    Ok(json(StatusCode::OK, &OptOutView::from(&optout)))
}

/// Ends an opt-out, where the recipient has asked for that by another way than `START`.
#[utoipa::path(
    delete, path = "/v1/optouts/{number}", tag = "optouts", operation_id = "opt_in",
    params(
        ("number" = String, Path, description = "The number, in any usual writing"),
        ("sender" = Option<String>, Query, description = "From this sender alone; without a word: from everything"),
    ),
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
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    let sender = sender(query)?;
    let store = &app.engine.store;
    match store.opt_in(&caller.tenant, number, sender.as_ref()).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(crate::store::StoreError::NotFound) => Err(not_opted_out()),
        Err(error) => Err(error.into()),
    }
}

/// Opts out every number of a list, as CSV with a line of names (`number`, and where known `sender`,
/// `since`, `note`) or as JSON Lines with the same members. Lines that cannot be read are named and
/// left out; the others count.
#[utoipa::path(
    post, path = "/v1/optouts/import", tag = "optouts", operation_id = "import_optouts",
    request_body(content((String = "text/csv"), (String = "application/jsonl"))),
    responses(
        (status = 200, description = "What became of the lines", body = Imported),
        (status = 413, description = "It is too large; split it", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "It is neither CSV nor JSON Lines", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Its columns are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn import(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    lines: Lines,
) -> Result<Response, Problem> {
    let country = app.engine.rules().default_country.clone();
    let (brought, mut imported) = lines.each(COLUMNS, |line| {
        Ok(Brought {
            number: line.number(&country)?,
            sender: line
                .text("sender", 40)?
                .map(|text| Sender::parse(&text))
                .transpose()
                .map_err(|error| (error.code(), error.to_string()))?,
            since: line.time("since")?,
            note: line.text("note", WORDING_MAX)?,
        })
    })?;
    let count = brought.len();
    imported.imported = app.engine.bring_optouts(&caller.tenant, brought).await?;
    imported.unchanged = count - imported.imported;
    Ok(json(StatusCode::OK, &imported))
}
