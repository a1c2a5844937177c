//! What of the interface may change while it runs: the certificate and the limits of connections.
//!
//! It is published on a `watch`; each connection takes the value once, when it is accepted, so that
//! a new certificate holds for new connections and breaks none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// What of the interface may change at a reload.
#[derive(Clone)]
pub struct Live {
    /// How TLS is spoken; `None`: it is not.
    pub tls: Option<Arc<ServerConfig>>,
    /// Connections at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// Connections at once from one address, or one /64 of IPv6; further ones are closed. 0: as many
    /// as there are.
    pub max_connections_per_address: usize,
    /// True if callers on this machine count as well: in production they do not, because behind
    /// loopback is a proxy that brings everybody.
    pub count_loopback: bool,
    /// How long the head of a request may take, and an idle connection is kept.
    pub head_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How long a caller may leave an answer, or the next piece of one, unread.
    pub answer_timeout: Duration,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            tls: None,
            max_connections: 1024,
            max_connections_per_address: 128,
            count_loopback: false,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_mins(1),
            answer_timeout: Duration::from_mins(1),
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("tls", &self.tls.is_some())
            .field("max_connections", &self.max_connections)
            .field(
                "max_connections_per_address",
                &self.max_connections_per_address,
            )
            .finish_non_exhaustive()
    }
}

/// TLS 1.2 and 1.3 with this certificate, for HTTP/1.1 alone: it is what the interface speaks.
///
/// # Errors
/// rustls's, if this build has no protocol version in common with its cryptography.
pub fn tls(identity: Arc<CertifiedKey>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(identity));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
