//! What of the HTTP interface is taken from a configuration while it runs.

use std::sync::Arc;

use crate::config::Config;
use crate::http;

/// What the interface is told at the start, and again at each reload. Files were read with the
/// configuration: this reads none.
///
/// # Errors
/// rustls's, if this build cannot speak TLS.
pub fn live(config: &Config) -> Result<http::Live, rustls::Error> {
    let http = &config.http;
    let identity = http.tls.as_ref().map(|tls| Arc::clone(&tls.identity));
    Ok(http::Live {
        tls: identity.map(http::tls).transpose()?,
        max_connections: http.max_connections,
        max_connections_per_address: http.max_connections_per_address,
        count_loopback: false,
        head_timeout: http.head_timeout,
        body_timeout: http.body_timeout,
        answer_timeout: http.answer_timeout,
    })
}
