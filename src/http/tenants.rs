//! `/v1/tenant` and `/v1/admin/tenants`: what a tenant is allowed and wants.
//!
//! Changes are JSON merge patches (RFC 7396). A key with the scope `manage` may change how its own
//! tenant's messages look; what it may send, to whom, and for how much, is for administrators.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToAdminister, ToKnowItself, ToManage};
use super::body::{Incoming, Named, invalid_field};
use super::problem::{InputError, Problem};
use super::{App, List, json};
use crate::domain::id::Tenant;
use crate::domain::msisdn::destination::own_country;
use crate::domain::tenant::Settings;
use crate::engine::Engine;
use crate::engine::accept::Refusal;
use crate::engine::view::Rfc3339;
use crate::store::{DocumentKind, Scope};

/// What a key with the scope `manage` may change of its own tenant.
const MANAGED: [&str; 12] = [
    "sender",
    "signature",
    "max_length",
    "max_parts",
    "overflow",
    "encoding",
    "class",
    "language",
    "email_subject",
    "hours",
    "region",
    // Only to be set: whoever could lift it would not be bound by it.
    "templates_only",
];

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(own, change_own))
        .routes(routes!(list))
        .routes(routes!(read, replace, change, remove))
}

/// A tenant: its settings as they are stored, and what holds where they say nothing.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant)]
struct TenantView {
    /// Its name.
    name: String,
    #[serde(flatten)]
    #[schema(inline)]
    settings: Settings,
    /// Characters that the signature adds to a text, its separator included.
    signature_length: usize,
    /// What holds, defaults filled in.
    effective: Effective,
    /// When settings were first stored; null: never.
    #[schema(required, value_type = Option<chrono::DateTime<chrono::Utc>>)]
    created_at: Option<Rfc3339>,
    /// When they were last changed.
    #[schema(required, value_type = Option<chrono::DateTime<chrono::Utc>>)]
    updated_at: Option<Rfc3339>,
}

/// What holds for a tenant, defaults filled in.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantEffective)]
struct Effective {
    /// Countries that may be written to; `FR` with all its territories.
    countries: Vec<String>,
    /// Most parts of a text.
    max_parts: usize,
    /// Limits against abuse; 0 is none.
    guard: EffectiveGuard,
}

/// Limits against abuse; 0 is none.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantEffectiveGuard)]
struct EffectiveGuard {
    recipient_hourly: u32,
    recipient_daily: u32,
    prefix_burst: u32,
    consecutive: u32,
    /// Euros in a day; null: any.
    #[schema(required)]
    daily_spend: Option<String>,
}

fn view(engine: &Engine, tenant: &Tenant) -> TenantView {
    let (rules, settings) = (engine.rules(), engine.settings(tenant));
    let stored = engine.store.document(DocumentKind::Settings, tenant, "");
    let limits = rules.guard.limits_of(tenant, &settings.guard);
    let countries = match rules.guard.countries_of(&settings) {
        [] => vec![own_country(&rules.default_country).to_owned()],
        countries => countries.to_vec(),
    };
    let own_parts = settings
        .max_parts
        .and_then(|parts| usize::try_from(parts).ok());
    TenantView {
        name: tenant.as_str().to_owned(),
        signature_length: settings.signature_length(),
        effective: Effective {
            countries,
            max_parts: own_parts.map_or(rules.limits.max_parts, |own| {
                own.min(rules.limits.max_parts)
            }),
            guard: EffectiveGuard {
                recipient_hourly: limits.recipient_hourly,
                recipient_daily: limits.recipient_daily,
                prefix_burst: limits.prefix_burst,
                consecutive: limits.consecutive,
                daily_spend: rules
                    .guard
                    .daily_spend_of(tenant, &settings.guard)
                    .map(str::to_owned),
            },
        },
        created_at: stored.as_ref().map(|stored| Rfc3339(stored.created_at)),
        updated_at: stored.as_ref().map(|stored| Rfc3339(stored.updated_at)),
        settings: (*settings).clone(),
    }
}

/// The settings of the caller's tenant.
#[utoipa::path(
    get, path = "/v1/tenant", tag = "tenants", operation_id = "get_tenant",
    responses((status = 200, description = "The tenant", body = TenantView)),
    security(("key" = []))
)]
async fn own(State(app): State<Arc<App>>, caller: Allowed<ToKnowItself>) -> Response {
    json(StatusCode::OK, &view(&app.engine, &caller.tenant))
}

/// Changes settings of the caller's tenant, by a JSON merge patch. Without the scope `admin` only how its
/// messages look: `sender` (one of `senders`, where there are some), `signature`,
/// `max_length`, `max_parts`, `overflow`, `encoding`, `class`, `language`, `email_subject`, `sandbox`,
/// `hours`, `region`, and `templates_only` to true.
#[utoipa::path(
    patch, path = "/v1/tenant", tag = "tenants", operation_id = "change_tenant",
    request_body = Settings,
    responses(
        (status = 200, description = "The tenant", body = TenantView),
        (status = 403, description = "The key lacks the scope manage, or the setting is for administrators", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn change_own(
    State(app): State<Arc<App>>,
    caller: Allowed<ToManage>,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let patch = object(&incoming)?;
    let key = caller.key.as_deref();
    let administers = key.is_none_or(|key| key.scopes.contains(&Scope::Admin));
    let changed = |known: &Settings| {
        let wanted = patched(known, patch)?;
        if !administers {
            let refused = not_managed(known, &wanted);
            if !refused.is_empty() {
                return Err(Problem::invalid_fields(refused));
            }
        }
        Ok(wanted)
    };
    let by = key.map_or("the admin key", |key| &key.prefix);
    store(&app, &caller.tenant, by, changed).await?;
    Ok(json(StatusCode::OK, &view(&app.engine, &caller.tenant)))
}

/// Every tenant that has settings or keys.
#[utoipa::path(
    get, path = "/v1/admin/tenants", tag = "admin", operation_id = "list_tenants",
    responses((status = 200, description = "The tenants", body = List<TenantView>)),
    security(("key" = []))
)]
async fn list(State(app): State<Arc<App>>, _caller: Allowed<ToAdminister>) -> Response {
    let store = &app.engine.store;
    let mut names = BTreeSet::from([Tenant::from(Tenant::DEFAULT)]);
    names.extend(store.keys().iter().map(|key| key.tenant.clone()));
    let stored = store.documents(DocumentKind::Settings, None);
    names.extend(stored.iter().map(|document| document.tenant.clone()));
    let data = names.iter().map(|name| view(&app.engine, name)).collect();
    json(StatusCode::OK, &List::whole(data))
}

/// One tenant.
#[utoipa::path(
    get, path = "/v1/admin/tenants/{name}", tag = "admin", operation_id = "read_tenant",
    params(("name" = String, Path, description = "The tenant's name")),
    responses(
        (status = 200, description = "The tenant", body = TenantView),
        (status = 404, description = "It has neither settings nor keys", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn read(
    State(app): State<Arc<App>>,
    _caller: Allowed<ToAdminister>,
    Named(name): Named,
) -> Result<Response, Problem> {
    let tenant = known(&app, &name)?;
    Ok(json(StatusCode::OK, &view(&app.engine, &tenant)))
}

/// Makes a tenant, or replaces all its settings; what is not said has its default.
#[utoipa::path(
    put, path = "/v1/admin/tenants/{name}", tag = "admin", operation_id = "put_tenant",
    params(("name" = String, Path, description = "The tenant's name: lower-case letters, digits, '.', '_' and '-'")),
    request_body = Settings,
    responses(
        (status = 200, description = "Its settings are replaced", body = TenantView),
        (status = 201, description = "It is made", body = TenantView),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn replace(
    State(app): State<Arc<App>>,
    caller: Allowed<ToAdminister>,
    Named(name): Named,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let is_new = known(&app, &name).is_err();
    let Some(tenant) = Tenant::named(&name) else {
        let error = InputError::at("", "tenant_invalid", Tenant::RULE);
        return Err(Problem::invalid_fields(vec![error]));
    };
    let whole = object(&incoming)?;
    let replaced = |_: &Settings| patched(&Settings::default(), whole);
    store(&app, &tenant, by(&caller), replaced).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(json(status, &view(&app.engine, &tenant)))
}

/// Changes settings of a tenant, by a JSON merge patch.
#[utoipa::path(
    patch, path = "/v1/admin/tenants/{name}", tag = "admin", operation_id = "patch_tenant",
    params(("name" = String, Path, description = "The tenant's name")),
    request_body = Settings,
    responses(
        (status = 200, description = "The tenant", body = TenantView),
        (status = 404, description = "It has neither settings nor keys", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn change(
    State(app): State<Arc<App>>,
    caller: Allowed<ToAdminister>,
    Named(name): Named,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let tenant = known(&app, &name)?;
    let patch = object(&incoming)?;
    let changed = |known: &Settings| patched(known, patch);
    store(&app, &tenant, by(&caller), changed).await?;
    Ok(json(StatusCode::OK, &view(&app.engine, &tenant)))
}

/// Removes the settings of a tenant: the defaults hold for what waits. Its messages stay, and so do its
/// templates, opt-outs and webhooks. While a key could still send for it, it is refused.
#[utoipa::path(
    delete, path = "/v1/admin/tenants/{name}", tag = "admin", operation_id = "delete_tenant",
    params(("name" = String, Path, description = "The tenant's name")),
    responses(
        (status = 204, description = "Its settings are gone"),
        (status = 404, description = "It has no settings", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has keys that are not revoked", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn remove(
    State(app): State<Arc<App>>,
    caller: Allowed<ToAdminister>,
    Named(name): Named,
) -> Result<Response, Problem> {
    let tenant = known(&app, &name)?;
    let keys = app.engine.store.keys();
    let mut usable = keys.iter().filter(|key| key.revoked_at.is_none());
    if usable.any(|key| key.tenant == tenant) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "tenant_has_keys",
            "The tenant has keys",
            "without its settings its keys could send what they may not send now; revoke them first",
        ));
    }
    app.engine.remove_settings(&tenant).await?;
    tracing::info!(%tenant, by = by(&caller), "tenant_removed");
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn by<N>(caller: &Allowed<N>) -> &str {
    caller
        .key
        .as_ref()
        .map_or("the admin key", |key| &key.prefix)
}

/// A tenant that has settings or keys.
fn known(app: &App, name: &str) -> Result<Tenant, Problem> {
    let tenant = Tenant::named(name).ok_or_else(Problem::not_found)?;
    let store = &app.engine.store;
    let is_known = tenant.as_str() == Tenant::DEFAULT
        || store
            .document(DocumentKind::Settings, &tenant, "")
            .is_some()
        || store.keys().iter().any(|key| key.tenant == tenant);
    is_known.then_some(tenant).ok_or_else(Problem::not_found)
}

/// Stores what `change` makes of the settings, once nothing is wrong with it.
async fn store(
    app: &App,
    tenant: &Tenant,
    by: &str,
    change: impl FnOnce(&Settings) -> Result<Settings, Problem> + Send,
) -> Result<(), Problem> {
    let engine = &app.engine;
    let rules = engine.rules();
    let mut names = Vec::new();
    let judged = |known: &Settings| {
        let wanted = change(known)?;
        let mistakes = wanted.mistakes(&rules);
        if !mistakes.is_empty() {
            let errors = mistakes.into_iter();
            let errors = errors.map(|it| InputError::at(it.pointer, it.code, it.detail));
            return Err(Problem::invalid_fields(errors.collect()));
        }
        names = changed(known, &wanted);
        Ok(wanted)
    };
    engine.change_settings(tenant, judged).await?;
    // Names alone: a signature or a sandbox number is nobody else's business.
    tracing::info!(%tenant, by, settings = names.join(" "), "tenant_changed");
    Ok(())
}

/// The names of settings that are not the same.
fn changed(one: &Settings, other: &Settings) -> Vec<String> {
    let (one, other) = (written(one), written(other));
    let differ = other
        .iter()
        .filter(|(name, value)| one.get(*name) != Some(*value));
    differ.map(|(name, _)| name.clone()).collect()
}

/// What only an administrator may change, of what is not the same.
fn not_managed(known: &Settings, wanted: &Settings) -> Vec<InputError> {
    let forbidden = |name: &str, code, detail: &str| InputError {
        refusal: Refusal::Forbidden,
        ..InputError::at(format!("/{name}"), code, detail)
    };
    let for_administrators = "only an administrator may change this";
    let names = changed(known, wanted);
    let names = names.iter().filter_map(|name| match name.as_str() {
        "templates_only" if wanted.templates_only => None,
        "templates_only" => Some(forbidden(name, "admin_only", for_administrators)),
        "sender" if !wanted.senders.is_empty() => {
            let listed = wanted.sender.as_ref();
            let listed = listed.is_none_or(|sender| wanted.senders.contains(sender));
            let detail = "it is none of the tenant's senders, which an administrator writes";
            (!listed).then(|| forbidden(name, "sender_not_allowed", detail))
        }
        name if MANAGED.contains(&name) => None,
        name => Some(forbidden(name, "admin_only", for_administrators)),
    });
    names.collect()
}

/// Settings as a JSON object.
fn written(settings: &Settings) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(members)) => members,
        // They are an object of plain members: writing them cannot fail.
        _ => Map::new(),
    }
}

/// The body, which is to be an object.
fn object(incoming: &Incoming<false>) -> Result<Map<String, Value>, Problem> {
    let body = serde_json::from_slice(&incoming.body);
    match body.map_err(|error| Problem::malformed_json(&error))? {
        Value::Object(members) => Ok(members),
        _ => {
            let error = InputError::at("", "wrong_type", "it must be a JSON object");
            Err(Problem::invalid_fields(vec![error]))
        }
    }
}

/// Settings with a merge patch applied.
fn patched(settings: &Settings, patch: Map<String, Value>) -> Result<Settings, Problem> {
    let known = written(settings);
    let strangers = patch.keys().filter(|name| !known.contains_key(*name));
    let strangers: Vec<_> = strangers.take(10).map(|name| unknown(name)).collect();
    if !strangers.is_empty() {
        return Err(Problem::invalid_fields(strangers));
    }
    merged(Value::Object(known), patch)
}

fn unknown(name: &str) -> InputError {
    let shown: String = name.chars().take(64).collect();
    let shown = shown.replace('~', "~0").replace('/', "~1");
    InputError::at(
        format!("/{shown}"),
        "unknown_field",
        "there is no such setting; check its spelling",
    )
}

/// A JSON merge patch (RFC 7396) applied to what was written from a `T`, and read as one again.
pub(super) fn merged<T: DeserializeOwned>(
    mut known: Value,
    patch: Map<String, Value>,
) -> Result<T, Problem> {
    merge(&mut known, Value::Object(patch));
    // What is not said has its default; null says nothing.
    without_nulls(&mut known);
    serde_path_to_error::deserialize(known).map_err(|error| invalid_field(&error))
}

fn merge(known: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *known = patch;
        return;
    };
    if !known.is_object() {
        *known = Value::Object(Map::new());
    }
    if let Value::Object(members) = known {
        for (name, value) in patch {
            if value.is_null() {
                members.remove(&name);
            } else {
                merge(members.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

fn without_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, value| !value.is_null());
        members.values_mut().for_each(without_nulls);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn patches_are_merged_as_rfc_7396_has_it() {
        // The examples of its appendix A that are about objects.
        for (known, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (
                json!({"a": "foo"}),
                json!({"b": {"c": {"d": null}}}),
                json!({"a": "foo", "b": {"c": {}}}),
            ),
        ] {
            let mut merged = known.clone();
            merge(&mut merged, patch.clone());
            assert_eq!(merged, result, "{known} and {patch}");
        }
    }

    #[test]
    fn every_managed_setting_is_one() {
        let known = written(&Settings::default());
        for name in MANAGED {
            assert!(known.contains_key(name), "{name}");
        }
        for money in [
            "enabled",
            "senders",
            "countries",
            "numbers",
            "quotas",
            "credit",
            "guard",
        ] {
            assert!(
                known.contains_key(money) && !MANAGED.contains(&money),
                "{money}"
            );
        }
    }
}
