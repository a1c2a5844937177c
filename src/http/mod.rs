//! The HTTP interface, `/v1`: decode, authenticate, limit, hand to the engine, render.
//!
//! Nothing is decided here that the engine decides: a body becomes a draft, an answer is a view of
//! a record, an error is a problem document (RFC 9457). Every endpoint that shows or changes
//! records takes an `auth::Allowed`, which is what protects it. The OpenAPI document is made from
//! the handlers, so that no route can be missing from it.
//!
//! - `server` accepts connections, as `places` and `live` allow, and `stream` ends those whose callers
//!   do not read; `auth` knows callers and `quotas` what they may ask for; `body` and `draft` read requests;
//!   `lists` is what is imported and exported, `sheet` how it is written; `problem` renders errors;
//! - `messages`, `history`, `steps`, `preview`, `batches`, `inbound`, `optouts`, `consents`, `invalid`, `templates`,
//!   `digests`, `webhooks`, `tenants`, `keys`, `numbers`, `backup`, `credit`, `events`, `operations`, `reload` are
//!   the endpoints.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use secrecy::SecretString;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::engine::Engine;
use problem::Problem;

pub mod auth;
mod backup;
mod batches;
mod body;
mod consents;
mod credit;
mod digests;
mod draft;
mod events;
mod history;
mod inbound;
mod invalid;
mod keys;
mod lists;
mod live;
mod messages;
mod numbers;
mod operations;
mod optouts;
mod places;
mod preview;
mod problem;
mod quotas;
mod reload;
mod server;
pub(crate) mod sheet;
mod steps;
mod stream;
mod templates;
mod tenants;
mod webhooks;

pub use live::{Live, tls};
pub use reload::{ChangedKey, NotReloaded, Reload, Reloaded, StillWaiting};
pub use server::{serve, serve_metrics};

/// What the interface is told by the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The key with every scope on tenant `default`.
    pub admin_key: SecretString,
    /// The installation's own key, for backups; `None` where it has none.
    pub webhook_key: Option<SecretString>,
    /// Largest body, in octets.
    pub body_limit: usize,
    /// Largest body of a batch, in octets.
    pub batch_body_limit: usize,
    /// Listeners of `/v1/events` at once; further ones are refused.
    pub max_listeners: usize,
    /// True if `/metrics` has a listener of its own, and is not served here.
    pub metrics_apart: bool,
    /// What may change at a reload.
    pub live: watch::Receiver<Arc<Live>>,
    /// Who reads the configuration again; `None`: nobody can.
    pub reload: Option<Arc<dyn Reload>>,
}

impl Settings {
    /// The defaults with this admin key.
    #[must_use]
    pub fn new(admin_key: SecretString) -> Self {
        // Without its sender the value stays what it is.
        let (_, live) = watch::channel(Arc::new(Live::default()));
        Self {
            admin_key,
            webhook_key: None,
            body_limit: 256 * 1024,
            batch_body_limit: 1024 * 1024,
            max_listeners: 100,
            metrics_apart: false,
            live,
            reload: None,
        }
    }
}

/// What every handler shares.
struct App {
    engine: Arc<Engine>,
    settings: Settings,
    gate: auth::Gate,
    /// What keys have used of their limits.
    quotas: quotas::Quotas,
    /// Held while the record of a key is changed: of two changes neither is lost.
    keys: tokio::sync::Mutex<()>,
    /// One permit a listener of events.
    listeners: Arc<Semaphore>,
    /// Ends what would never end by itself.
    stop: CancellationToken,
    /// The OpenAPI document as JSON.
    openapi: OnceLock<Bytes>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
struct List<T> {
    /// What it holds.
    data: Vec<T>,
    /// Where to go on; null at the end.
    #[schema(required, value_type = Option<String>)]
    next_cursor: Option<uuid::Uuid>,
}

impl<T> List<T> {
    /// A list that is whole.
    const fn whole(data: Vec<T>) -> Self {
        Self {
            data,
            next_cursor: None,
        }
    }
}

/// The interface's routes over this engine.
pub fn router(engine: Arc<Engine>, settings: Settings) -> Router {
    router_until(engine, settings, CancellationToken::new())
}

/// The same; event streams end at `stop`.
fn router_until(engine: Arc<Engine>, settings: Settings, stop: CancellationToken) -> Router {
    let app = Arc::new(App {
        engine,
        gate: auth::Gate::new(&settings.admin_key),
        quotas: quotas::Quotas::default(),
        keys: tokio::sync::Mutex::default(),
        listeners: Arc::new(Semaphore::new(settings.max_listeners)),
        stop,
        openapi: OnceLock::new(),
        settings,
    });
    let (router, document) = described().split_for_parts();
    let json = document.to_json().unwrap_or_default();
    // The lock is new: nobody else has set it.
    let _ = app.openapi.set(json.into());
    router
        .merge(docs())
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "The method is not allowed here",
                "the header Allow names the methods of this address",
            )
        })
        .layer((
            SetResponseHeaderLayer::if_not_present(
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
            SetResponseHeaderLayer::if_not_present(
                header::CACHE_CONTROL,
                HeaderValue::from_static("no-store"),
            ),
        ))
        .with_state(app)
}

/// Every route, with what the OpenAPI document says of it.
fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(messages::routes())
        .merge(steps::routes())
        .merge(history::routes())
        .merge(preview::routes())
        .merge(batches::routes())
        .merge(inbound::routes())
        .merge(optouts::routes())
        .merge(templates::routes())
        .merge(digests::routes())
        .merge(consents::routes())
        .merge(invalid::routes())
        .merge(webhooks::routes())
        .merge(events::routes())
        .merge(keys::routes())
        .merge(tenants::routes())
        .merge(numbers::routes())
        .merge(credit::routes())
        .merge(backup::routes())
        .merge(operations::routes())
        .merge(reload::routes())
        .routes(routes!(openapi))
}

/// What the OpenAPI document says besides the routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "Relais", description = "A self-hosted SMS gateway."),
    modifiers(&Key),
    tags(
        (name = "messages"), (name = "batches"), (name = "inbound"), (name = "optouts"), (name = "consents"),
        (name = "numbers"), (name = "templates"), (name = "digests"), (name = "webhooks"), (name = "tenants"),
        (name = "events"), (name = "credit"), (name = "operations"), (name = "admin")
    )
)]
struct Document;

/// Says that keys are bearer tokens.
struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "key",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
    }
}

/// This document.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "operations", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
async fn openapi(State(app): State<Arc<App>>) -> Response {
    let document = app.openapi.get().cloned().unwrap_or_default();
    ([(header::CONTENT_TYPE, JSON)], document).into_response()
}

/// The document for people, served from this binary alone.
fn docs<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let config = Config::from("/v1/openapi.json").validator_url("none");
    let pages: Router<S> = SwaggerUi::new("/docs").config(config).into();
    pages.layer(SetResponseHeaderLayer::overriding(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
             img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ),
    ))
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer in JSON.
fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Views hold strings, numbers and lists: writing them cannot fail.
    let mut octets = Vec::with_capacity(1024);
    if serde_json::to_writer(&mut octets, body).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    (status, [(header::CONTENT_TYPE, JSON)], octets).into_response()
}
