//! `/v1/inbound`: what handsets sent to us.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToRead};
use super::messages::{PAGE, cursor, limit, parameters};
use super::problem::{InputError, Problem};
use super::{App, List, json};
use crate::domain::id::InboundId;
use crate::engine::view::InboundView;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Messages from handsets, newest first.
#[utoipa::path(
    get, path = "/v1/inbound", tag = "inbound", operation_id = "list_inbound",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 where nothing is said"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = List<InboundView>),
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
    let before = cursor(&mut query, &mut wrong).map(InboundId);
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    let store = &app.engine.store;
    let page = store.inbound(&caller.tenant, before, limit).await?;
    Ok(json(
        StatusCode::OK,
        &List {
            data: page.items.iter().map(InboundView::from).collect(),
            next_cursor: page.next,
        },
    ))
}
