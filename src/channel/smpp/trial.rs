//! One try of an account from end to end, for whoever asks why nothing works: the name, the
//! connection, the bind, and a polite `unbind`. Nothing is sent, and no message is taken.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpStream, lookup_host};

use super::bind::{self, BindError, CONNECT};
use super::link::LinkEvent;
use super::{SmppConfig, connector};
use crate::clock::Clock;

/// Longest wait for `unbind_resp`.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why a bind was not taken.
#[derive(Debug, Error)]
pub enum TrialError {
    /// The connection, or TLS over it, could not be made.
    #[error(transparent)]
    Connect(io::Error),
    /// Connected, and no answer for so long.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// Refused with this `command_status`.
    #[error("bind refused by SMSC: {}", super::errors::status_text(*.0))]
    Refused(u32),
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

impl From<BindError> for TrialError {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Connect(error) => Self::Connect(error),
            BindError::Timeout(limit) => Self::Silent(limit),
            BindError::Refused(status) => Self::Refused(status),
            other => Self::Other(other.to_string()),
        }
    }
}

/// The addresses of an account's host.
///
/// # Errors
/// The resolver's own.
pub async fn resolve(config: &SmppConfig) -> io::Result<Vec<SocketAddr>> {
    let found = lookup_host((config.host.as_str(), config.port));
    Ok(within(found).await?.collect())
}

/// Connects to one of `addresses` and closes the connection again; which one answered.
///
/// # Errors
/// What the last one said.
pub async fn connect(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match within(TcpStream::connect(address)).await {
            Ok(_) => return Ok(*address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Binds as the daemon would, and unbinds at once.
///
/// # Errors
/// Why the bind was not taken.
pub async fn bind(config: &Arc<SmppConfig>, clock: &Clock) -> Result<(), TrialError> {
    let bound = bind::bind(&connector(config, clock), config, clock).await?;
    let links = [Some(bound.submit), bound.receive];
    // The bind is proven; an SMSC that is slow to say goodbye changes nothing about that.
    let _ = tokio::time::timeout(GOODBYE, async {
        for mut link in links.into_iter().flatten() {
            link.unbind();
            while !matches!(link.next().await, LinkEvent::Unbound | LinkEvent::Closed(_)) {}
            link.close().await;
        }
    })
    .await;
    Ok(())
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    tokio::time::timeout(CONNECT, work).await.map_err(late)?
}
