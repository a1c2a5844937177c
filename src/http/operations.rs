//! What operators and their tools ask: channels, health, readiness, metrics.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tracing::{Instrument as _, Span};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToAdminister, ToRead};
use super::body::Named;
use super::problem::Problem;
use super::{App, List, json};
use crate::domain::id::Lane;
use crate::domain::money;
use crate::domain::tenant::Unit;
use crate::engine::view::ChannelJson;
use crate::engine::{ChannelView, Engine};
use crate::metrics::Metrics;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(channels))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(reset))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(metrics_by_key))
}

/// The connections to carriers.
#[utoipa::path(
    get, path = "/v1/channels", tag = "operations", operation_id = "list_channels",
    responses((status = 200, description = "The connections", body = List<ChannelJson>)),
    security(("key" = []))
)]
async fn channels(State(app): State<Arc<App>>, _caller: Allowed<ToRead>) -> Response {
    json(StatusCode::OK, &List::whole(app.engine.channels_json()))
}

/// Stops an account, or one of its connections, from taking messages until it is resumed, after a
/// restart too. What has partly left goes on; what waits takes the next step of its route, if there
/// is one.
#[utoipa::path(
    post, path = "/v1/admin/channels/{name}/pause", tag = "admin", operation_id = "pause_channel",
    params(("name" = String, Path, description = "An account, or one connection, for example `orange%231`")),
    responses(
        (status = 200, description = "The connections of this name", body = List<ChannelJson>),
        (status = 404, description = "None has this name", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn pause(
    State(app): State<Arc<App>>,
    caller: Allowed<ToAdminister>,
    Named(name): Named,
) -> Result<Response, Problem> {
    app.engine.pause(&name).instrument(told_by(&caller)).await?;
    Ok(named(&app, &name))
}

/// Lets a paused account, or connection, take messages again.
#[utoipa::path(
    post, path = "/v1/admin/channels/{name}/resume", tag = "admin", operation_id = "resume_channel",
    params(("name" = String, Path, description = "An account, or one connection, for example `orange%231`")),
    responses(
        (status = 200, description = "The connections of this name", body = List<ChannelJson>),
        (status = 404, description = "None has this name", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn resume(
    State(app): State<Arc<App>>,
    caller: Allowed<ToAdminister>,
    Named(name): Named,
) -> Result<Response, Problem> {
    app.engine
        .resume(&name)
        .instrument(told_by(&caller))
        .await?;
    Ok(named(&app, &name))
}

/// Closes the circuit of an account, forgets that its carrier asked for less, and binds anew at once:
/// after what is under way, where a connection is bound. A pause stays.
#[utoipa::path(
    post, path = "/v1/admin/channels/{name}/reset", tag = "admin", operation_id = "reset_channel",
    params(("name" = String, Path, description = "An account, or one connection, for example `orange%231`")),
    responses(
        (status = 200, description = "The connections of this name", body = List<ChannelJson>),
        (status = 404, description = "None has this name", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn reset(
    State(app): State<Arc<App>>,
    caller: Allowed<ToAdminister>,
    Named(name): Named,
) -> Result<Response, Problem> {
    told_by(&caller).in_scope(|| app.engine.reset(&name))?;
    Ok(named(&app, &name))
}

/// What says in the log who wanted it: the name of the key.
fn told_by(caller: &Allowed<ToAdminister>) -> Span {
    match &caller.key {
        Some(key) => tracing::info_span!("told", by = %key.name, key = %key.prefix),
        None => tracing::info_span!("told", by = "the admin key"),
    }
}

fn named(app: &App, name: &str) -> Response {
    json(
        StatusCode::OK,
        &List::whole(app.engine.channels_json_of(name)),
    )
}

/// True if the process and its store work.
#[utoipa::path(
    get, path = "/healthz", tag = "operations", operation_id = "healthz",
    responses(
        (status = 200, description = "The process and its store work"),
        (status = 503, description = "They do not", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn healthz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    healthy(&app.engine)
}

/// True if messages are accepted.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", operation_id = "readyz",
    responses(
        (status = 200, description = "Messages are accepted"),
        (status = 503, description = "They are not", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn readyz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let engine = &app.engine;
    let most = engine.rules().limits.max_live_messages as u64;
    let full = engine.store.gauges(engine.clock.now()).live >= most;
    if full || app.stop.is_cancelled() {
        return Err(Problem::unavailable());
    }
    healthy(engine)
}

/// The reason goes to the log: these endpoints ask for no key.
fn healthy(engine: &Engine) -> Result<Response, Problem> {
    match engine.store.unhealthy() {
        None => Ok(json(
            StatusCode::OK,
            &std::collections::BTreeMap::from([("status", "ok")]),
        )),
        Some(why) => {
            tracing::warn!(why, "store unhealthy");
            Err(Problem::unavailable())
        }
    }
}

/// Figures for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses(
        (status = 200, description = "Prometheus text format 0.0.4", body = String, content_type = "text/plain"),
        (status = 404, description = "They have a listener of their own", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    if app.settings.metrics_apart {
        return Err(Problem::not_found());
    }
    Ok(figures(&app.engine))
}

/// `/metrics` and nothing else.
pub(super) fn metrics_alone(engine: Arc<Engine>) -> Router {
    let figures = move || async move { figures(&engine) };
    Router::new()
        .route("/metrics", get(figures))
        .fallback(|| async { Problem::not_found() })
}

fn figures(engine: &Engine) -> Response {
    refresh(engine);
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
        )],
        engine.metrics.render(),
    )
        .into_response()
}

/// The same figures by a key, wherever `/metrics` listens: for `relais top` and `relais doctor`.
#[utoipa::path(
    get, path = "/v1/metrics", tag = "operations", operation_id = "metrics_by_key",
    responses((status = 200, description = "Prometheus text format 0.0.4", body = String, content_type = "text/plain")),
    security(("key" = []))
)]
async fn metrics_by_key(State(app): State<Arc<App>>, _caller: Allowed<ToRead>) -> Response {
    figures(&app.engine)
}

/// Sets the gauges that are read when somebody looks.
#[allow(clippy::cast_precision_loss)]
fn refresh(engine: &Engine) {
    let gauges = engine.store.gauges(engine.clock.now());
    let metrics = &engine.metrics;
    let mut waiting: HashMap<(String, &'static str), u64> = HashMap::new();
    for (operator, why, count) in gauges.waiting {
        // What is due waits for whatever holds its lane up now, not for what its record says.
        let why = if why == "queued" {
            let lane = Lane {
                operator: operator.clone(),
            };
            engine.holdup(&lane).map_or(why, |(why, _)| why)
        } else {
            why
        };
        *waiting.entry((operator.to_string(), why)).or_default() += count;
    }
    let oldest = gauges.oldest.into_iter().map(|(operator, seconds)| {
        let due = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let lane = Lane {
            operator: operator.clone(),
        };
        // Nobody is called at night because what waits for the morning grows old.
        let waited = engine.could_have_left_for(&lane, due);
        (operator.to_string(), waited.as_secs_f64())
    });
    metrics.queues(waiting, oldest.collect());
    for channel in engine.channel_views() {
        metrics.channel(&channel.name);
        let labels = [("channel", channel.name.as_str())];
        let up = f64::from(u8::from(channel.status.is_up()));
        metrics.gauge("relais_channel_up", &labels).set(up);
        metrics
            .gauge("relais_channel_window_used", &labels)
            .set(channel.window_used as f64);
        let labels = [("account", channel.account.as_str())];
        let rate = channel.state.rate_now.unwrap_or(0.0);
        metrics.gauge("relais_account_rate", &labels).set(rate);
        let open = f64::from(u8::from(channel.state.circuit != "closed"));
        metrics.gauge("relais_circuit_open", &labels).set(open);
        show_modem(metrics, &channel);
    }
    for (name, value) in [
        ("relais_webhook_pending", gauges.outbox),
        ("relais_digest_pending", gauges.counts),
        ("relais_store_disk_bytes", gauges.disk_bytes),
        ("relais_store_live_bytes", gauges.live_bytes),
    ] {
        metrics.gauge(name, &[]).set(value as f64);
    }
    show_credits(engine);
    let up = f64::from(u8::from(engine.store.unhealthy().is_none()));
    metrics.gauge("relais_store_up", &[]).set(up);
    if let Some(free) = gauges.free_bytes {
        metrics
            .gauge("relais_store_free_bytes", &[])
            .set(free as f64);
    }
}

/// What is left of the credits of tenants that have one.
#[allow(clippy::cast_precision_loss)]
fn show_credits(engine: &Engine) {
    for purse in engine.store.purses() {
        let settings = engine.settings(&purse.tenant);
        let Some(credit) = &settings.credit else {
            continue;
        };
        let left = purse.balance.of(credit.unit) as f64;
        let (unit, left) = match credit.unit {
            Unit::Eur => ("eur", left / money::ONE as f64),
            Unit::Parts => ("parts", left),
        };
        let labels = [("tenant", purse.tenant.as_str()), ("unit", unit)];
        let gauge = engine.metrics.gauge("relais_credit_remaining", &labels);
        gauge.set(left);
    }
}

/// What the channel's modem, if it is one, says of itself, and what its SIM may still send. What is not
/// known is no number: 0 dBm would be the best of signals.
fn show_modem(metrics: &Metrics, channel: &ChannelView) {
    let Some(word) = channel.peer.modem() else {
        return;
    };
    let labels = [("channel", channel.name.as_str())];
    let signal = word.signal_dbm.map_or(f64::NAN, f64::from);
    metrics
        .gauge("relais_modem_signal_dbm", &labels)
        .set(signal);
    let registered = word
        .registration
        .is_some_and(|state| state.is_registered() != Some(false));
    metrics
        .gauge("relais_modem_registered", &labels)
        .set(f64::from(u8::from(registered)));
    let full = word.storage.filter(|storage| storage.total > 0);
    let ratio = full.map_or(f64::NAN, |storage| {
        f64::from(storage.used) / f64::from(storage.total)
    });
    metrics
        .gauge("relais_modem_storage_ratio", &labels)
        .set(ratio);
    let times = word.recoveries;
    for (step, times) in [
        ("resynchronised", times.resynchronised),
        ("set_up", times.set_up),
        ("restarted", times.restarted),
        ("reopened", times.reopened),
        ("power", times.power),
    ] {
        let labels = [("channel", channel.name.as_str()), ("step", step)];
        metrics.counted("relais_modem_recoveries_total", &labels, times.into());
    }
    let budget = channel.budget.unwrap_or_default();
    for (limit, used) in [
        ("day", budget.day),
        ("recipients_30d", budget.recipients_30d),
    ] {
        let Some(used) = used else { continue };
        let labels = [("channel", channel.name.as_str()), ("limit", limit)];
        metrics
            .gauge("relais_sim_budget_remaining", &labels)
            .set(f64::from(used.remaining()));
    }
}
