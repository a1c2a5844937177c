//! Connecting and binding: from nothing to a bound session, or the reason why not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusmpp::{Pdu, pdus, values::InterfaceVersion};
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::encode::{EncodeError, c_string};
use super::errors::{ESME_RINVBNDSTS, ESME_RINVPASWD, ESME_RINVSYSID, ESME_ROK, status_text};
use super::link::{Closed, Link, LinkEvent, LinkTimers};
use super::{BindMode, SmppConfig};
use crate::channel::{BIND_REFUSED, PeerWord};
use crate::clock::Clock;
use crate::domain::message::Token;
use crate::domain::wire::FIRST_WITH_TLVS;

/// Longest wait for a connection: a host that answers at all does so sooner.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// What a session runs on.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Makes connections to one SMSC.
#[async_trait]
pub trait Connector: Send + Sync {
    /// A new connection.
    ///
    /// # Errors
    /// Why there is none.
    async fn connect(&self) -> io::Result<Box<dyn Stream>>;
}

/// Plain TCP.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl TcpConnector {
    /// A new connection.
    pub(super) async fn open(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        // Small PDUs are written together by the link; waiting for more would only delay them.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[async_trait]
impl Connector for TcpConnector {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.open().await?))
    }
}

/// What a request on our links is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Bind,
    Submit { token: Token, segment: u16 },
}

pub(super) type EsmeLink = Link<Box<dyn Stream>, Tag>;

/// The bound sessions of one channel.
pub(super) struct Bound {
    /// The one that submits: transceiver or transmitter.
    pub(super) submit: EsmeLink,
    /// A receiver of its own, where one was asked for.
    pub(super) receive: Option<EsmeLink>,
    /// What the SMSC said about itself.
    pub(super) peer: PeerWord,
}

/// Why there is no bound session.
#[derive(Debug, Error)]
pub(super) enum BindError {
    #[error("connecting: {0}")]
    Connect(#[from] io::Error),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("{BIND_REFUSED}: {}", status_text(*.0))]
    Refused(u32),
    #[error("bind: {0}")]
    Closed(#[from] Closed),
    #[error("bind: {0}")]
    Config(#[from] EncodeError),
    #[error("the SMSC speaks SMPP {}.{}, which has no TLVs; {needed_by} needs them", version >> 4, version & 0x0F)]
    NoTlvs {
        version: u8,
        needed_by: &'static str,
    },
}

impl BindError {
    /// True if only a person can make it right: trying again soon would at best be useless, and at
    /// worst lock the account.
    pub(super) const fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Self::Refused(ESME_RINVPASWD | ESME_RINVSYSID) | Self::Config(_) | Self::NoTlvs { .. }
        )
    }

    /// True if the SMSC was reached and said no.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

#[derive(Clone, Copy)]
pub(super) enum Role {
    Transceiver,
    Transmitter,
    Receiver,
}

/// Binds all sessions of one channel. If one of a pair fails, the other is closed again.
pub(super) async fn bind(
    connector: &Arc<dyn Connector>,
    config: &SmppConfig,
    clock: &Clock,
) -> Result<Bound, BindError> {
    match config.bind {
        BindMode::Transceiver => {
            let (submit, peer) = open(connector, config, clock, Role::Transceiver).await?;
            Ok(Bound {
                submit,
                receive: None,
                peer,
            })
        }
        BindMode::TransmitterReceiver => {
            // The receiver first: there is then no moment in which a receipt finds nobody.
            let (receive, _) = open(connector, config, clock, Role::Receiver).await?;
            let (submit, peer) = open(connector, config, clock, Role::Transmitter).await?;
            Ok(Bound {
                submit,
                receive: Some(receive),
                peer,
            })
        }
    }
}

async fn open(
    connector: &Arc<dyn Connector>,
    config: &SmppConfig,
    clock: &Clock,
    role: Role,
) -> Result<(EsmeLink, PeerWord), BindError> {
    let pdu = bind_pdu(config, role)?;
    let limit = config.response_timeout;
    let patience = limit.min(CONNECT);
    let stream = tokio::time::timeout(patience, connector.connect())
        .await
        .map_err(|_| BindError::Timeout(patience))??;
    let timers = LinkTimers {
        response: limit,
        enquire_link: Some(config.enquire_link),
    };
    let mut link = Link::new(stream, timers, clock.clone());
    link.request(pdu, Tag::Bind);
    loop {
        match link.next().await {
            LinkEvent::Answer {
                status: ESME_ROK,
                peer,
                ..
            } => {
                check_tlvs(config, role, peer)?;
                return Ok((link, peer));
            }
            LinkEvent::Answer { status, .. } => return Err(BindError::Refused(status)),
            LinkEvent::TimedOut { .. } => return Err(BindError::Timeout(limit)),
            LinkEvent::Closed(why) => return Err(why.into()),
            LinkEvent::Unbind { .. } | LinkEvent::Unbound => return Err(Closed::Peer.into()),
            LinkEvent::Deliver { header, .. } | LinkEvent::Request { header, .. } => {
                link.refuse(header, ESME_RINVBNDSTS);
            }
        }
    }
}

/// An SMSC that says that it is older than SMPP 3.4 must not be sent TLVs (SMPP 3.4 §3.4). Where the
/// account cannot do without, saying so is better than messages that lose what they need.
fn check_tlvs(config: &SmppConfig, role: Role, peer: PeerWord) -> Result<(), BindError> {
    match (peer.interface_version, config.wire.needs_tlvs()) {
        (Some(version), Some(needed_by))
            if version < FIRST_WITH_TLVS && !matches!(role, Role::Receiver) =>
        {
            Err(BindError::NoTlvs { version, needed_by })
        }
        _ => Ok(()),
    }
}

pub(super) fn bind_pdu(config: &SmppConfig, role: Role) -> Result<Pdu, EncodeError> {
    macro_rules! build {
        ($builder:expr) => {
            $builder
                .system_id(c_string(&config.system_id, "system_id")?)
                .password(c_string(config.password.expose_secret(), "password")?)
                .system_type(c_string(&config.system_type, "system_type")?)
                .interface_version(InterfaceVersion::from(config.wire.version.number()))
                .build()
                .into()
        };
    }
    Ok(match role {
        Role::Transceiver => build!(pdus::BindTransceiver::builder()),
        Role::Transmitter => build!(pdus::BindTransmitter::builder()),
        Role::Receiver => build!(pdus::BindReceiver::builder()),
    })
}
