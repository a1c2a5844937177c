//! The ports of the daemon: the interface's, and the metrics' where they have one of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::config::Config;
use crate::engine::Engine;
use crate::http;

/// Ports that are bound and not yet answered on.
pub(super) struct Listeners {
    http: TcpListener,
    metrics: Option<TcpListener>,
    pub(super) http_addr: SocketAddr,
    pub(super) metrics_addr: Option<SocketAddr>,
}

impl Listeners {
    pub(super) async fn bind(config: &Config) -> Result<Self, StartError> {
        let (http, http_addr) = bind("listen", config.http.listen).await?;
        let (metrics, metrics_addr) = match config.http.metrics_listen {
            Some(at) => {
                let (listener, address) = bind("metrics_listen", at).await?;
                (Some(listener), Some(address))
            }
            None => (None, None),
        };
        Ok(Self {
            http,
            metrics,
            http_addr,
            metrics_addr,
        })
    }

    /// Answers from now on, until `stop`.
    pub(super) fn serve(
        self,
        engine: &Arc<Engine>,
        settings: http::Settings,
        stop: &CancellationToken,
    ) -> JoinHandle<()> {
        let live = settings.live.clone();
        let serving = http::serve(self.http, engine.clone(), settings, stop.clone());
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move {
            let metrics = async {
                if let Some(listener) = self.metrics {
                    http::serve_metrics(listener, engine, live, stop).await;
                }
            };
            let (served, ()) = tokio::join!(serving, metrics);
            if let Err(error) = served {
                tracing::error!(%error, "http ended badly");
            }
        })
    }
}

async fn bind(key: &'static str, at: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let wrong = |source| StartError::Listen { key, at, source };
    let listener = TcpListener::bind(at).await.map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    Ok((listener, address))
}
