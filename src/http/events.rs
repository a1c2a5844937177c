//! `/v1/events`: changes of status and messages from handsets as they happen, as server-sent events.
//!
//! A convenience for screens: nothing is repeated for who was not listening. What must not be
//! missed goes by webhook.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use futures_util::stream::select;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::auth::{Allowed, ToRead};
use super::body::Reading;
use super::problem::Problem;
use crate::domain::inbound::Inbound;
use crate::domain::status::Language;
use crate::engine::Engine;
use crate::engine::view::InboundView;
use crate::store::Change;

/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(listen))
}

/// Changes of status of the tenant's messages, and messages from handsets, from now on.
///
/// `event` is `message.` and the status, `id` the message's id and revision, `data` the message; or
/// `inbound.received`, the inbound message's id and the inbound message. A listener that cannot keep up gets `lagged` with the number of changes that it missed.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "listen",
    responses(
        (status = 200, description = "A stream of events", body = String, content_type = "text/event-stream"),
        (status = 503, description = "Too many listeners", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn listen(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    Reading(language): Reading,
) -> Result<Response, Problem> {
    let place = app.listeners.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_listeners",
            "Too many listeners",
            "close a stream that is not needed, or use webhooks",
        )
        .retry_after(30)
    })?;
    let engine = app.engine.clone();
    let (tenant, own) = (caller.tenant.clone(), caller.tenant);
    let handsets = engine.listen_to_handsets();
    let changes = BroadcastStream::new(engine.listen()).filter_map(move |change| {
        let event = match change {
            Ok(change) if change.message.tenant == tenant => {
                Some(changed(&engine, &change, language))
            }
            Ok(_) => None,
            Err(BroadcastStreamRecvError::Lagged(missed)) => Some(lagged(missed)),
        };
        // The place is given back when the stream ends.
        let _ = &place;
        ready(event)
    });
    let received = BroadcastStream::new(handsets).filter_map(move |inbound| {
        ready(match inbound {
            Ok(inbound) if inbound.tenant == own => Some(received(&inbound)),
            Ok(_) => None,
            Err(BroadcastStreamRecvError::Lagged(missed)) => Some(lagged(missed)),
        })
    });
    let events = select(changes, received)
        .map(Ok::<_, Infallible>)
        .take_until(app.stop.clone().cancelled_owned());
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

fn changed(engine: &Engine, change: &Change, language: Language) -> Event {
    let message = &change.message;
    let json = serde_json::to_string(&engine.view(message, language)).unwrap_or_default();
    Event::default()
        .event(format!("message.{}", change.transition.to.word()))
        .id(format!("{}:{}", message.id, message.revision))
        .data(json)
}

fn received(inbound: &Inbound) -> Event {
    let json = serde_json::to_string(&InboundView::from(inbound)).unwrap_or_default();
    Event::default()
        .event("inbound.received")
        .id(inbound.id.to_string())
        .data(json)
}

fn lagged(missed: u64) -> Event {
    Event::default()
        .event("lagged")
        .data(format!("{{\"missed\":{missed}}}"))
}
