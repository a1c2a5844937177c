//! TLS on the simulated SMSC's listener.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::SmscHandle;
use crate::channel::smpp::tls::{certificates, private_key};

/// Longest wait for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// `[tls]` of a script. Relative paths start at the working folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and its chain.
    pub cert_file: PathBuf,
    /// PEM file with its key.
    pub key_file: PathBuf,
    /// PEM file with the authorities of whom a client must bring a certificate; absent: no client
    /// needs one.
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
}

impl Tls {
    pub(super) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .map_err(io::Error::other)?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder
            .with_single_cert(certificates(&self.cert_file)?, private_key(&self.key_file)?)
            .map_err(io::Error::other)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Shakes hands in a task of its own, so that one client cannot keep the others waiting, and then
/// serves the connection.
pub(super) fn accept(tls: TlsAcceptor, stream: TcpStream, smsc: &SmscHandle) {
    let smsc = smsc.clone();
    let stop = smsc.shared.stop.clone();
    smsc.shared.tasks.clone().spawn(async move {
        let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream));
        match stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => smsc.serve_on(stream, |stream| {
                let _ = stream.get_ref().0.set_zero_linger();
            }),
            Some(Ok(Err(error))) => tracing::warn!(%error, "TLS handshake failed"),
            Some(Err(_)) => tracing::warn!("TLS handshake unanswered"),
            None => {}
        }
    });
}
