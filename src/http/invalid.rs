//! `/v1/numbers/invalid`: numbers that nobody has, which may be deleted from lists of contacts.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToRead, ToSend};
use super::body::Named;
use super::lists::{Asked, Chain, SHEET_PAGE, sheet};
use super::messages::parameters;
use super::optouts::number;
use super::problem::{InputError, Problem};
use super::{App, json};
use crate::domain::time::Timestamp;
use crate::engine::view::InvalidNumberView;
use crate::store::{InvalidNumber, StoreError};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(forget))
}

/// Numbers that nobody has, by number: a carrier has said so, beyond doubt, of a message to them. These,
/// and no others that messages failed to, may be deleted from lists of contacts. Whoever asks again and
/// again gives as `since` when they asked last.
#[utoipa::path(
    get, path = "/v1/numbers/invalid", tag = "numbers", operation_id = "list_invalid_numbers",
    params(
        ("since" = Option<String>, Query, description = "Found out then or later; RFC 3339"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 where nothing is said"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
        ("format" = Option<String>, Query, description = "`json`, or `csv` for the whole list"),
    ),
    responses(
        (status = 200, description = "A page", content(
            (Chain<InvalidNumberView> = "application/json"),
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
    let mut query = parameters(query, &["since", "limit", "cursor", "format"])?;
    let asked = Asked::of(&mut query)?;
    let since = query.take("since");
    let since = since.as_deref().map(Timestamp::parse_rfc3339);
    if since == Some(None) {
        let detail = "it must be a time of RFC 3339, such as 2026-11-22T08:00:00Z";
        let error = InputError::of_parameter("since", "invalid_parameter", detail);
        return Err(Problem::invalid_fields(vec![error]));
    }
    let since = since.flatten();
    let tenant = caller.tenant.clone();
    let read = move |app: Arc<App>, after, limit| {
        let tenant = tenant.clone();
        async move {
            let store = &app.engine.store;
            store.invalid_numbers(&tenant, since, after, limit).await
        }
    };
    if asked.csv {
        let read = move |app, after| read(app, after, SHEET_PAGE);
        return sheet(app, &["number", "since", "message", "code"], read, row).await;
    }
    let part = read(app, asked.after, asked.limit).await?;
    Ok(json(
        StatusCode::OK,
        &Chain::of(&part, InvalidNumberView::from),
    ))
}

fn row(it: &InvalidNumber) -> Vec<String> {
    vec![
        it.number.to_string(),
        it.since.rfc3339(),
        it.message.to_string(),
        it.code.clone(),
    ]
}

/// Takes a number from the list: the contact is deleted, or the number has a new owner. If another message
/// to it fails like the first, it is found out anew.
#[utoipa::path(
    delete, path = "/v1/numbers/invalid/{number}", tag = "numbers", operation_id = "forget_invalid_number",
    params(("number" = String, Path, description = "The number, in any usual writing")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "It is not on the list", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is no mobile number", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn forget(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(text): Named,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    match app
        .engine
        .store
        .forget_invalid(&caller.tenant, number)
        .await
    {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(StoreError::NotFound) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not_invalid",
            "The number is not on the list",
            "no carrier has said of this number that nobody has it",
        )),
        Err(error) => Err(error.into()),
    }
}
