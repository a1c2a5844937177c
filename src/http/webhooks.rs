//! `/v1/webhooks`: a tenant's subscriptions to events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToRead, ToSend};
use super::body::{Incoming, Named};
use super::problem::{InputError, Problem};
use super::{App, List, json};
use crate::engine::outbox::check_url;
use crate::engine::view::Rfc3339;
use crate::store::{FINAL_EVENTS, Webhook};

/// Subscriptions that a tenant may have.
const WEBHOOKS_MAX: usize = 50;

/// Event types that a subscription may name.
const EVENTS: [&str; 8] = [
    "message.sent",
    "message.delivered",
    "message.expired",
    "message.failed",
    "message.cancelled",
    "inbound.received",
    "number.invalid",
    "credit.low",
];

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(secret))
        .routes(routes!(remove))
}

/// The secret of posts that no subscription asked for.
#[derive(Serialize, ToSchema)]
struct OwnSecret {
    /// As Standard Webhooks writes it.
    secret: String,
}

/// A subscription to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewWebhook {
    /// Where to post: https, and no private address unless the configuration allows it.
    url: String,
    /// Event types wanted; without a word, the final ones of messages.
    #[serde(default)]
    types: Vec<String>,
}

/// A subscription.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
struct WebhookView<'a> {
    id: &'a str,
    url: &'a str,
    /// Event types that it gets.
    types: Vec<&'a str>,
    /// Signing secret as Standard Webhooks writes it; shown when the subscription is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    created_at: Rfc3339,
}

fn view(webhook: &Webhook, with_secret: bool) -> WebhookView<'_> {
    let types = if webhook.types.is_empty() {
        FINAL_EVENTS.to_vec()
    } else {
        webhook.types.iter().map(String::as_str).collect()
    };
    WebhookView {
        id: &webhook.id,
        url: &webhook.url,
        types,
        secret: with_secret.then_some(webhook.secret.as_str()),
        created_at: Rfc3339(webhook.created_at),
    }
}

/// Makes a subscription. Its signing secret is in this answer only.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "webhooks", operation_id = "create_webhook",
    request_body = NewWebhook,
    responses(
        (status = 201, description = "The subscription with its secret", body = WebhookView),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn create(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let NewWebhook { url, types } = incoming.read()?;
    let mut errors = Vec::new();
    if let Err(error) = check_url(&url, &engine.rules().webhook_allow) {
        errors.push(InputError::at(
            "/url",
            "webhook_url_refused",
            error.to_string(),
        ));
    }
    for (index, kind) in types.iter().enumerate().take(2 * EVENTS.len()) {
        if !EVENTS.contains(&kind.as_str()) {
            let detail = format!("there is no such event; there are {}", EVENTS.join(", "));
            errors.push(InputError::at(
                format!("/types/{index}"),
                "unknown_value",
                detail,
            ));
        }
    }
    if types.len() > EVENTS.len() {
        errors.push(InputError::at(
            "/types",
            "out_of_range",
            "name each event once",
        ));
    }
    if engine.store.webhooks(&caller.tenant).len() >= WEBHOOKS_MAX {
        let detail = format!("at most {WEBHOOKS_MAX} subscriptions are kept; delete one");
        errors.push(InputError::at("", "too_many_webhooks", detail));
    }
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    let webhook = Webhook {
        id: uuid::Builder::from_random_bytes(engine.random.bytes())
            .into_uuid()
            .to_string(),
        tenant: caller.tenant,
        url,
        types,
        secret: format!("whsec_{}", STANDARD.encode(engine.random.bytes::<24>())),
        created_at: engine.clock.now(),
    };
    engine.store.put_webhook(webhook.clone()).await?;
    Ok(json(StatusCode::CREATED, &view(&webhook, true)))
}

/// The tenant's subscriptions, without their secrets.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks", operation_id = "list_webhooks",
    responses((status = 200, description = "The subscriptions", body = List<WebhookView>)),
    security(("key" = []))
)]
async fn list(State(app): State<Arc<App>>, caller: Allowed<ToRead>) -> Response {
    let webhooks = app.engine.store.webhooks(&caller.tenant);
    let data = webhooks
        .iter()
        .map(|webhook| view(webhook, false))
        .collect();
    json(StatusCode::OK, &List::whole(data))
}

/// The secret that signs posts to the `webhook_url` of a message; it is the same for all messages
/// of a tenant.
#[utoipa::path(
    get, path = "/v1/webhooks/secret", tag = "webhooks", operation_id = "webhook_url_secret",
    responses((status = 200, description = "The secret", body = OwnSecret)),
    security(("key" = []))
)]
async fn secret(State(app): State<Arc<App>>, caller: Allowed<ToSend>) -> Response {
    let secret = app.engine.tenant_secret(&caller.tenant);
    json(StatusCode::OK, &OwnSecret { secret })
}

/// Ends a subscription.
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "delete_webhook",
    params(("id" = String, Path, description = "The subscription's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such subscription", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn remove(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(id): Named,
) -> Result<Response, Problem> {
    app.engine.store.delete_webhook(&caller.tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
