//! `/v1/admin/keys`: API keys of every tenant, for callers with the scope `admin`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToAdminister, new_key, word};
use super::body::{Incoming, Named};
use super::problem::{InputError, Problem};
use super::tenants::merged;
use super::{App, List, json};
use crate::domain::id::Tenant;
use crate::domain::tenant::{KeyTerms, hours_mistake};
use crate::engine::Engine;
use crate::engine::view::Rfc3339;
use crate::store::{ApiKey, Scope};

/// Longest name of a key, in characters.
const NAME_MAX: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(change, revoke))
}

/// A key to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// Whose: lower-case letters, digits, `.`, `_` and `-`.
    tenant: String,
    /// What it is for.
    name: String,
    /// `send`, `read`, `manage`, `admin`; `send` and `read` where nothing is said.
    #[serde(default = "usual_scopes")]
    #[schema(value_type = Vec<String>, required = false)]
    scopes: Vec<Scope>,
    /// What it may do less than its tenant.
    #[serde(default)]
    #[schema(required = false)]
    terms: KeyTerms,
}

/// What to change of a key: what is not there stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyPatch {
    /// What it is for.
    name: Option<String>,
    /// `send`, `read`, `manage`, `admin`.
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<Vec<Scope>>,
    /// What it may do less than its tenant; a JSON merge patch.
    #[schema(value_type = Option<KeyTerms>)]
    terms: Option<Map<String, Value>>,
}

fn usual_scopes() -> Vec<Scope> {
    vec![Scope::Send, Scope::Read]
}

/// A key.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct KeyView<'a> {
    /// Public part, by which it is named.
    prefix: &'a str,
    tenant: &'a str,
    name: &'a str,
    scopes: Vec<&'static str>,
    /// What it may do less than its tenant.
    terms: &'a KeyTerms,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    created_at: Rfc3339,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    revoked_at: Option<Rfc3339>,
    /// The key itself; in the answer that makes it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

fn view<'a>(record: &'a ApiKey, key: Option<&'a str>) -> KeyView<'a> {
    KeyView {
        prefix: &record.prefix,
        tenant: record.tenant.as_str(),
        name: &record.name,
        scopes: record.scopes.iter().map(|scope| word(*scope)).collect(),
        terms: &record.terms,
        created_at: Rfc3339(record.created_at),
        revoked_at: record.revoked_at.map(Rfc3339),
        key,
    }
}

/// Makes a key. It is shown in this answer only.
#[utoipa::path(
    post, path = "/v1/admin/keys", tag = "admin", operation_id = "create_key",
    request_body = NewKey,
    responses(
        (status = 201, description = "The key", body = KeyView),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn create(
    State(app): State<Arc<App>>,
    _caller: Allowed<ToAdminister>,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let NewKey {
        tenant,
        name,
        mut scopes,
        terms,
    } = incoming.read()?;
    let mut errors = Vec::new();
    let tenant = Tenant::named(&tenant);
    if tenant.is_none() {
        errors.push(InputError::at("/tenant", "tenant_invalid", Tenant::RULE));
    }
    scopes.dedup();
    judge(&name, &scopes, &terms, engine, &mut errors);
    let (Some(tenant), true) = (tenant, errors.is_empty()) else {
        return Err(Problem::invalid_fields(errors));
    };
    let (mut record, key) = new_key(&engine.random, tenant, name, scopes, engine.clock.now());
    record.terms = terms;
    if engine.store.key(&record.prefix).is_some() {
        // Forty random bits met twice: nothing was changed, and the next try draws again.
        return Err(Problem::unavailable());
    }
    engine.store.put_key(record.clone()).await?;
    tracing::info!(prefix = record.prefix, tenant = %record.tenant, "key made");
    Ok(json(
        StatusCode::CREATED,
        &view(&record, Some(key.expose_secret())),
    ))
}

/// What is wrong with a key.
fn judge(
    name: &str,
    scopes: &[Scope],
    terms: &KeyTerms,
    engine: &Engine,
    errors: &mut Vec<InputError>,
) {
    if name.trim().is_empty()
        || name.chars().count() > NAME_MAX
        || name.chars().any(char::is_control)
    {
        errors.push(InputError::at(
            "/name",
            "label_invalid",
            format!("use 1 to {NAME_MAX} characters and no control characters"),
        ));
    }
    if scopes.is_empty() || scopes.len() > 4 {
        errors.push(InputError::at(
            "/scopes",
            "out_of_range",
            "name one to four of send, read, manage and admin",
        ));
    }
    let hours = terms.hours.as_deref();
    if let Some(mistake) = hours.and_then(|hours| hours_mistake(hours, &engine.rules())) {
        errors.push(InputError::at("/terms/hours", "hours_unknown", mistake));
    }
}

/// Changes what a key is for and what it may do; the key itself stays.
#[utoipa::path(
    patch, path = "/v1/admin/keys/{prefix}", tag = "admin", operation_id = "change_key",
    params(("prefix" = String, Path, description = "The key's public part")),
    request_body = KeyPatch,
    responses(
        (status = 200, description = "The key", body = KeyView),
        (status = 404, description = "No such key", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn change(
    State(app): State<Arc<App>>,
    _caller: Allowed<ToAdminister>,
    Named(prefix): Named,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let KeyPatch {
        name,
        scopes,
        terms,
    } = incoming.read()?;
    let _alone = app.keys.lock().await;
    let key = engine.store.key(&prefix).ok_or_else(Problem::not_found)?;
    let mut changed = (*key).clone();
    if let Some(name) = name {
        changed.name = name;
    }
    if let Some(mut scopes) = scopes {
        scopes.dedup();
        changed.scopes = scopes;
    }
    if let Some(patch) = terms {
        let known = serde_json::to_value(&changed.terms).unwrap_or_default();
        let merged = merged(known, patch);
        changed.terms = merged.map_err(|problem| problem.under("/terms"))?;
    }
    let mut errors = Vec::new();
    judge(
        &changed.name,
        &changed.scopes,
        &changed.terms,
        engine,
        &mut errors,
    );
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    engine.store.put_key(changed.clone()).await?;
    tracing::info!(prefix, tenant = %changed.tenant, "key changed");
    Ok(json(StatusCode::OK, &view(&changed, None)))
}

/// Every key, revoked ones too; never a key itself.
#[utoipa::path(
    get, path = "/v1/admin/keys", tag = "admin", operation_id = "list_keys",
    responses((status = 200, description = "The keys", body = List<KeyView>)),
    security(("key" = []))
)]
async fn list(State(app): State<Arc<App>>, _caller: Allowed<ToAdminister>) -> Response {
    let keys = app.engine.store.keys();
    let data = keys.iter().map(|key| view(key, None)).collect();
    json(StatusCode::OK, &List::whole(data))
}

/// Revokes a key; from now on it is refused.
#[utoipa::path(
    delete, path = "/v1/admin/keys/{prefix}", tag = "admin", operation_id = "revoke_key",
    params(("prefix" = String, Path, description = "The key's public part")),
    responses(
        (status = 204, description = "It is revoked"),
        (status = 404, description = "No such key", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn revoke(
    State(app): State<Arc<App>>,
    _caller: Allowed<ToAdminister>,
    Named(prefix): Named,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let _alone = app.keys.lock().await;
    let key = engine.store.key(&prefix).ok_or_else(Problem::not_found)?;
    if key.revoked_at.is_none() {
        let mut revoked = (*key).clone();
        revoked.revoked_at = Some(engine.clock.now());
        engine.store.put_key(revoked).await?;
        tracing::info!(prefix, tenant = %key.tenant, "key revoked");
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
