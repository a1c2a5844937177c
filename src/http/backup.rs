//! `/v1/admin/backup`: a copy of everything while the gateway works, as a stream.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::auth::{Allowed, ToAdminister};
use super::problem::Problem;
use crate::store::Copying;
use crate::store::backup::Encoder;

/// Pieces that may wait for a client, of a quarter of a mebibyte at most but for single records.
const WAITING: usize = 4;
/// How long a client may take no piece before the copy is given up.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(backup))
}

/// Everything that the store holds, of every tenant, and the installation's own key: what
/// `relais restore` reads. It is as of the instant at which the last of it is sent, and contains whatever
/// was answered before. It is a secret. A stream that breaks has no end and is no backup.
#[utoipa::path(
    get, path = "/v1/admin/backup", tag = "admin", operation_id = "backup",
    responses(
        (status = 200, description = "A backup", body = Vec<u8>, content_type = "application/vnd.relais.backup"),
        (status = 503, description = "Another one is being taken, or the store is not available", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn backup(
    State(app): State<Arc<App>>,
    _caller: Allowed<ToAdminister>,
) -> Result<Response, Problem> {
    let copy = app.engine.store.copy().await?;
    let (sender, pieces) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let stop = app.stop.clone();
        let outcome = stop.run_until_cancelled(send(&app, copy, &sender)).await;
        let problem = match outcome {
            Some(Ok(entries)) => {
                tracing::info!(entries, "backup_taken");
                return;
            }
            Some(Err(problem)) => problem,
            None => "the gateway stops".to_owned(),
        };
        tracing::warn!(problem, "backup_broken_off");
        // The client must not take what it has for the whole: its connection breaks, once it has read
        // what was sent before.
        let broken = sender.send(Err(io::Error::other(problem)));
        let _ = tokio::time::timeout(PATIENCE, broken).await;
    });
    let body = Body::from_stream(ReceiverStream::new(pieces));
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.relais.backup"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"relais.backup\"",
        ),
    ];
    Ok((headers, body).into_response())
}

async fn send(
    app: &App,
    mut copy: Box<dyn Copying>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<u64, String> {
    let clock = &app.engine.clock;
    let key = app.settings.webhook_key.as_ref();
    let files: Vec<_> = key
        .map(|key| ("webhook.key", key.expose_secret()))
        .into_iter()
        .collect();
    let (mut encoder, first) = Encoder::new(&files, clock.now());
    let mut entries = 0;
    hand_over(sender, first).await?;
    // What was answered before the last records were asked for is in them.
    let mut asked_at = clock.now();
    loop {
        let before = std::mem::replace(&mut asked_at, clock.now());
        let records = copy.next().await.map_err(|error| error.to_string())?;
        let Some(records) = records else {
            drop(copy);
            hand_over(sender, encoder.end(before)).await?;
            return Ok(entries);
        };
        entries += u64::try_from(records.len()).unwrap_or(0);
        hand_over(sender, encoder.records(&records)).await?;
    }
}

async fn hand_over(
    sender: &mpsc::Sender<io::Result<Bytes>>,
    octets: Vec<u8>,
) -> Result<(), String> {
    let sent = tokio::time::timeout(PATIENCE, sender.send(Ok(octets.into()))).await;
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("the client has gone".to_owned()),
        Err(_) => Err("the client takes nothing any more".to_owned()),
    }
}
