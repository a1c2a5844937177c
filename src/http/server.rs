//! Connections: accepted up to a cap, with time limits, drained at the end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::Settings;
use crate::engine::Engine;

/// How long the head of a request may take; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests under way may take to end after the stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request, and most that is read ahead of a body, in octets.
const BUFFER_MAX: usize = 64 * 1024;
/// Rest after a failure to accept, such as too many open files.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Serves the interface on `listener` until `stop`; then ends event streams, finishes the requests
/// under way (at most ten seconds) and returns.
///
/// # Errors
/// None at present: failures to accept are logged and tried again.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    settings: Settings,
    stop: CancellationToken,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let router = super::router_until(engine, settings, stop.clone());
    let tracker = TaskTracker::new();
    loop {
        // A place before a connection: what has none waits in the listener's backlog.
        let (place, stream, peer) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            next = accept(&listener, &places) => match next {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection");
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                }
            },
        };
        tracker.spawn(connection(
            stream,
            peer,
            router.clone(),
            stop.clone(),
            place,
        ));
    }
    drop(listener);
    tracker.close();
    tracker.wait().await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // An answer is one write: waiting for more to send only delays it.
    stream.set_nodelay(true)?;
    Ok((place, stream, peer))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = router.clone().call(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // A connection that breaks concerns its client alone, who sees it.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, connection).await;
        }
    }
}
