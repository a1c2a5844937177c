//! `/v1/batches/preview`: what a batch would cost, before it is sent. Nothing is stored.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Judged, NewBatch, judge, read_batch};
use crate::domain::credit::Due;
use crate::domain::terms::Charge;
use crate::engine::accept::Checked;
use crate::engine::credit::CostView;
use crate::engine::view::Warning;
use crate::http::auth::{Allowed, ToSendOrRead};
use crate::http::body::Incoming;
use crate::http::preview::unpaid;
use crate::http::problem::{InputError, Problem};
use crate::http::{App, json};

/// What sending a batch would cost.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchPreview {
    /// Number of items that would be accepted.
    accepted: usize,
    /// Number of items that would be refused.
    rejected: usize,
    /// Parts of all that would be accepted.
    parts: usize,
    /// What they would cost together; null where the tenant has no credit.
    #[schema(required)]
    cost: Option<CostView>,
    /// What is left of the credit now, in euros or parts; null where there is none.
    #[schema(required)]
    credit_left: Option<String>,
    /// `insufficient_credit`, `quota_exceeded` or `daily_spend`: nothing of it would be stored now.
    warnings: Vec<Warning>,
    /// One entry an item, in the order of the request.
    results: Vec<ItemPreview>,
}

/// What would become of one item.
#[derive(Serialize, ToSchema)]
struct ItemPreview {
    /// Place in the request, from 0.
    index: usize,
    /// True if it would be accepted.
    accepted: bool,
    /// Recipient, E.164.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// Number of parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
    /// What it would cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<CostView>,
    /// What is wrong with it; pointers are into the whole body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<InputError>,
}

impl ItemPreview {
    fn of(index: usize, item: &Judged) -> Self {
        let checked = item.as_ref().ok();
        Self {
            index,
            accepted: checked.is_some(),
            to: checked.map(|checked| checked.to.to_string()),
            parts: checked.map(|checked| checked.plan.count()),
            cost: checked.and_then(charge).and_then(CostView::of),
            errors: item.as_ref().err().cloned().unwrap_or_default(),
        }
    }
}

fn charge(checked: &Checked) -> Option<&Charge> {
    checked.terms.charge.as_ref()
}

/// What a batch would cost, by the code that sends it. Nothing is stored.
#[utoipa::path(
    post, path = "/v1/batches/preview", tag = "batches", operation_id = "preview_batch",
    request_body = NewBatch,
    responses(
        (status = 200, description = "What sending would cost, item by item and together", body = BatchPreview),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is no batch, or there are too many", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(super) async fn preview(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSendOrRead>,
    incoming: Incoming<true>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let batch = read_batch(&app, &incoming.body)?;
    let items = judge(&app, &caller.by(), batch).await;
    let accepted: Vec<_> = items.iter().filter_map(|item| item.as_ref().ok()).collect();
    let mut charges = Vec::with_capacity(accepted.len());
    for checked in &accepted {
        // What fails at once costs nothing.
        if let Some(charge) = charge(checked)
            && !engine.has_opted_out(&caller.tenant, checked).await?
        {
            charges.push(charge);
        }
    }
    let due = Due::of(charges.iter().copied());
    let key = caller.key.as_deref();
    let why = engine.would_pay(&caller.tenant, key, due).await?;
    let credit = engine
        .settings(&caller.tenant)
        .credit
        .as_ref()
        .map(|it| it.unit);
    let purse = engine.store.purse(&caller.tenant);
    let preview = BatchPreview {
        accepted: accepted.len(),
        rejected: items.len() - accepted.len(),
        parts: accepted.iter().map(|checked| checked.plan.count()).sum(),
        cost: credit.map(|_| CostView::of_all(due, charges.iter().any(|it| it.micros > 0))),
        credit_left: credit.map(|unit| unit.format(purse.balance.of(unit))),
        warnings: why.iter().map(unpaid).collect(),
        results: items
            .iter()
            .enumerate()
            .map(|(index, item)| ItemPreview::of(index, item))
            .collect(),
    };
    Ok(json(StatusCode::OK, &preview))
}
