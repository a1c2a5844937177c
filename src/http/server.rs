//! Connections: accepted up to caps, in TLS or in the clear, with time limits, drained at the end.

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::places::{Place, Places};
use super::stream::Impatient;
use super::{Live, Settings};
use crate::engine::Engine;

/// How long the TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take to end after the stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Most that is read ahead of a body, in octets.
const BUFFER_MAX: usize = 64 * 1024;
/// Largest head of a request, in octets, and most headers in it; beyond either the answer is 431.
const HEAD_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 64;
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
    let live = settings.live.clone();
    let router = super::router_until(engine.clone(), settings, stop.clone());
    listen(listener, engine, router, live, stop).await;
    Ok(())
}

/// Serves `/metrics` alone on `listener` until `stop`: in the clear, and to whoever can reach it.
pub async fn serve_metrics(
    listener: TcpListener,
    engine: Arc<Engine>,
    live: watch::Receiver<Arc<Live>>,
    stop: CancellationToken,
) {
    let router = super::operations::metrics_alone(engine.clone());
    let (clear, shown) = watch::channel(in_the_clear(&live.borrow()));
    let follow = async {
        let mut live = live;
        while live.changed().await.is_ok() {
            clear.send_replace(in_the_clear(&live.borrow_and_update()));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = listen(listener, engine, router, shown, stop) => {}
        () = follow => {}
    }
}

fn in_the_clear(live: &Live) -> Arc<Live> {
    Arc::new(Live {
        tls: None,
        ..live.clone()
    })
}

async fn listen(
    listener: TcpListener,
    engine: Arc<Engine>,
    router: Router,
    mut live: watch::Receiver<Arc<Live>>,
    stop: CancellationToken,
) {
    let places = Arc::new(Places::default());
    let tracker = TaskTracker::new();
    loop {
        let now = live.borrow_and_update().clone();
        // A place before a connection: what has none waits in the listener's backlog.
        let next = async {
            places.below(now.max_connections).await;
            listener.accept().await
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(()) = live.changed() => continue,
            accepted = next => accepted,
        };
        // An answer is one write: waiting for more to send only delays it.
        let prepared = accepted.and_then(|(stream, peer)| {
            stream.set_nodelay(true)?;
            Ok((stream, peer))
        });
        let (stream, peer) = match prepared {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let Some(place) = places.take(peer.ip(), &now) else {
            engine.metrics.http_refused("connections");
            tracing::debug!(peer = %peer.ip(), "too many connections from one address");
            continue;
        };
        let serving = Connection {
            peer,
            router: router.clone(),
            live: now,
            engine: engine.clone(),
            stop: stop.clone(),
            _place: place,
        };
        tracker.spawn(serving.run(stream));
    }
    drop(listener);
    tracker.close();
    tracker.wait().await;
}

/// What a connection is served by.
struct Connection {
    peer: SocketAddr,
    router: Router,
    live: Arc<Live>,
    engine: Arc<Engine>,
    stop: CancellationToken,
    _place: Place,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let Some(tls) = self.live.tls.clone() else {
            return self.speak(stream).await;
        };
        let handshake = tokio_rustls::TlsAcceptor::from(tls).accept(stream);
        let shaken = tokio::select! {
            () = self.stop.cancelled() => return,
            shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.speak(stream).await,
            // Scanners and clients without the authority: it concerns them, and there are many.
            Ok(Err(error)) => {
                self.engine.metrics.http_refused("handshake");
                tracing::debug!(peer = %self.peer.ip(), %error, "TLS handshake failed");
            }
            Err(_) => {
                self.engine.metrics.http_refused("handshake");
                tracing::debug!(peer = %self.peer.ip(), "TLS handshake unanswered");
            }
        }
    }

    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let (peer, router) = (self.peer, &self.router);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = router.clone().call(request);
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        });
        let stream = Impatient::new(stream, self.live.answer_timeout);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.live.head_timeout)
            .max_buf_size(BUFFER_MAX)
            .max_header_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        // A connection that breaks concerns its client alone, who sees it.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(DRAIN_TIMEOUT, connection).await;
            }
        }
    }
}
