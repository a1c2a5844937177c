//! `/v1/messages/{id}/outcome`: what an app tells of a step that it had taken.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToSend};
use super::body::{Incoming, Named};
use super::problem::{InputError, Problem};
use super::{App, json};
use crate::domain::id::MessageId;
use crate::engine::view::MessageView;
use crate::engine::{StepRefused, Told};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(outcome))
}

/// What became of a step.
#[derive(ToSchema)]
#[schema(as = StepOutcome)]
#[allow(dead_code)]
struct Outcome {
    /// Index of the step, from 0, as the post to the app named it.
    step: u32,
    /// `delivered`, `no_address` or `undeliverable`.
    outcome: String,
}

/// Says what became of a step over an app that was answered with `accepted`, or whose answer was lost.
#[utoipa::path(
    post, path = "/v1/messages/{id}/outcome", tag = "messages", operation_id = "tell_outcome",
    params(("id" = String, Path, description = "The message's id")),
    request_body = Outcome,
    responses(
        (status = 200, description = "The message as it is now; what was known already changes nothing", body = MessageView),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such message", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Nothing was posted for this step", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong, or the step is none over an app", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn outcome(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(id): Named,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let (step, told) = read(&incoming.body)?;
    let id = MessageId::parse(&id).ok_or_else(Problem::not_found)?;
    let told = app.engine.told(&caller.tenant, id, step, told).await;
    let message = told.map_err(|refused| match refused {
        StepRefused::NotAnApp(_) => Problem::invalid_fields(vec![InputError::at(
            "/step",
            "step_not_an_app",
            refused.to_string(),
        )]),
        StepRefused::NotBegun(_) => Problem::new(
            StatusCode::CONFLICT,
            "step_not_begun",
            "The step has not begun",
            refused.to_string(),
        ),
        StepRefused::Store(error) => error.into(),
    })?;
    Ok(json(
        StatusCode::OK,
        &app.engine.view(&message, incoming.language),
    ))
}

fn read(body: &[u8]) -> Result<(usize, Told), Problem> {
    let body: Value =
        serde_json::from_slice(body).map_err(|error| Problem::malformed_json(&error))?;
    let Value::Object(mut members) = body else {
        let error = InputError::at("", "wrong_type", "it must be a JSON object");
        return Err(Problem::invalid_fields(vec![error]));
    };
    let mut errors = Vec::new();
    let step = members.remove("step").and_then(|step| step.as_u64());
    if step.is_none() {
        let detail = "give the index of the step, from 0, as the post to the app named it";
        errors.push(InputError::at("/step", "wrong_type", detail));
    }
    let told = match members.remove("outcome").as_ref().and_then(Value::as_str) {
        Some("delivered") => Some(Told::Delivered),
        Some("no_address") => Some(Told::NoAddress),
        Some("undeliverable") => Some(Told::Undeliverable),
        _ => {
            let detail = "it must be \"delivered\", \"no_address\" or \"undeliverable\"";
            errors.push(InputError::at("/outcome", "unknown_value", detail));
            None
        }
    };
    for name in members.keys().take(10) {
        let shown: String = name.chars().take(64).collect();
        let pointer = format!("/{}", shown.replace('~', "~0").replace('/', "~1"));
        let detail = "there is no such field; check its spelling";
        errors.push(InputError::at(pointer, "unknown_field", detail));
    }
    match (step, told) {
        (Some(step), Some(told)) if errors.is_empty() => {
            Ok((usize::try_from(step).unwrap_or(usize::MAX), told))
        }
        _ => Err(Problem::invalid_fields(errors)),
    }
}
