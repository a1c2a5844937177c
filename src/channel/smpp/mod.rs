//! SMPP 3.4 carriers: the ESME driver.
//!
//! | file | what it holds |
//! |---|---|
//! | [`frame`], [`deliver`] | octets to PDUs and back, damage kept inside one frame |
//! | [`window`], [`link`] | one session of either role: sequence numbers, window, timers |
//! | [`bind`], [`tls`] | connecting, with or without TLS, and binding |
//! | [`encode`] | segments as `submit_sm` |
//! | [`receipt`], [`inbound`], [`text`] | what `deliver_sm` says |
//! | [`errors`] | the `command_status` values of the session itself |
//! | [`trial`] | one try of an account, for `relais doctor` |
//! | `driver`, `session` | the task behind a [`ChannelHandle`]: reconnecting, and what is under way |
//!
//! An account has `binds` channels. A channel is one transceiver session, or a pair: a receiver, then
//! a transmitter, up when both are bound. So N pairs are 2N sessions, and each pair has a receiver
//! of its own: a receipt may come by any of them, because the account, not the bind, is the id space.
//! The binds of an account start one after another within the shortest reconnect wait, and come
//! back at their own random moments. A pair that loses its receiver first takes the answers that its
//! transmitter still brings.
//!
//! Invariants:
//!
//! - A request is one segment: one `submit_sm` on the wire, and exactly one report: accepted,
//!   refused, unknown, or returned unsent. Only a late answer may follow, after an unknown.
//! - `deliver_sm_resp` is written only for a verdict that the engine gave. At most
//!   [`MAX_UNACKNOWLEDGED`] stand open; beyond, `ESME_RMSGQFUL` is answered at once instead of not
//!   reading any more, because responses to our own requests come the same way.
//! - The driver waits for the engine only when it hands up an event, and the engine never waits for
//!   the driver, so that the two cannot block each other.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{ChannelEvent, ChannelHandle, ChannelStatus, Peer, PeerWord};
use crate::clock::{Clock, Random};
use crate::domain::id::{Account, ChannelId};
use crate::domain::refusal::RefusalRules;
use crate::domain::sender::Sender;
use crate::domain::text::DefaultAlphabet;
use crate::domain::wire::WireRules;

pub mod bind;
pub mod deliver;
mod driver;
pub mod encode;
pub mod errors;
pub mod frame;
#[cfg(test)]
mod hostile;
pub mod inbound;
pub mod link;
pub mod receipt;
mod session;
pub mod text;
pub mod tls;
pub mod trial;
pub mod window;

use bind::{Connector, TcpConnector};
use tls::{TlsConnector, TlsSettings};

/// Most `deliver_sm` of one session that may await the engine's verdict.
pub const MAX_UNACKNOWLEDGED: usize = 512;

/// Which sessions make one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindMode {
    /// One transceiver session.
    #[default]
    Transceiver,
    /// A transmitter and a receiver session; the channel is up when both are bound.
    TransmitterReceiver,
}

/// One SMPP account: where, who, and how.
#[derive(Clone)]
pub struct SmppConfig {
    /// Name of the account, the id space of its references.
    pub account: Account,
    /// SMSC host name or address.
    pub host: String,
    /// SMSC port.
    pub port: u16,
    /// TLS below the session, if it is on.
    pub tls: Option<TlsSettings>,
    /// `system_id`, at most 15 characters.
    pub system_id: String,
    /// `password`, at most 8 characters.
    pub password: SecretString,
    /// `system_type`, at most 12 characters.
    pub system_type: String,
    /// Sessions of one channel.
    pub bind: BindMode,
    /// Number of channels.
    pub binds: usize,
    /// Unanswered `submit_sm` allowed to each channel.
    pub window: usize,
    /// How long a request may wait for its response.
    pub response_timeout: Duration,
    /// After how long without a response an `enquire_link` is sent.
    pub enquire_link: Duration,
    /// First wait before reconnecting.
    pub reconnect_min: Duration,
    /// Longest wait before reconnecting.
    pub reconnect_max: Duration,
    /// Sender of messages that name none.
    pub sender: Option<Sender>,
    /// Instead of the type of number that follows from the sender.
    pub source_ton: Option<u8>,
    /// Instead of the numbering plan that follows from the sender.
    pub source_npi: Option<u8>,
    /// Instead of 1, international.
    pub dest_ton: Option<u8>,
    /// Instead of 1, E.164.
    pub dest_npi: Option<u8>,
    /// `service_type`, at most 5 characters; empty: the carrier's default.
    pub service_type: String,
    /// `data_coding` of text in the GSM alphabet.
    pub data_coding_gsm: u8,
    /// What the SMSC takes octets of that `data_coding` for.
    pub alphabet: DefaultAlphabet,
    /// Whether GSM texts from handsets come packed, 8 septets in 7 octets.
    pub packed_gsm: bool,
    /// What the carrier's refusals mean.
    pub refusals: RefusalRules,
    /// How messages are put into PDUs.
    pub wire: WireRules,
}

impl SmppConfig {
    /// An account with the defaults: one transceiver, window 10, 30 s time-outs, reconnecting after
    /// 1 s to 15 s, so that a lost link is back within 15 s of the carrier.
    #[must_use]
    pub fn new(account: &str, host: &str, port: u16, system_id: &str, password: &str) -> Self {
        Self {
            account: Account::from(account),
            host: host.to_owned(),
            port,
            tls: None,
            system_id: system_id.to_owned(),
            password: password.into(),
            system_type: String::new(),
            bind: BindMode::default(),
            binds: 1,
            window: 10,
            response_timeout: Duration::from_secs(30),
            enquire_link: Duration::from_secs(30),
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(15),
            sender: None,
            source_ton: None,
            source_npi: None,
            dest_ton: None,
            dest_npi: None,
            service_type: String::new(),
            data_coding_gsm: 0,
            alphabet: DefaultAlphabet::Gsm,
            packed_gsm: false,
            refusals: RefusalRules::default(),
            wire: WireRules::default(),
        }
    }
}

impl SmppConfig {
    /// How texts from handsets are to be read.
    const fn reading(&self) -> text::Reading {
        text::Reading {
            alphabet: self.alphabet,
            data_coding_gsm: self.data_coding_gsm,
            packed_gsm: self.packed_gsm,
        }
    }
}

impl fmt::Debug for SmppConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmppConfig")
            .field("account", &self.account)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("system_id", &self.system_id)
            .field("bind", &self.bind)
            .field("binds", &self.binds)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// Starts the channels of an account over TCP, with TLS if it says so: one task each, named
/// `account#1` and so on. They run until `stop`, then drain, unbind and end.
pub fn start(
    config: Arc<SmppConfig>,
    clock: &Clock,
    random: &Random,
    events: &mpsc::Sender<ChannelEvent>,
    stop: &CancellationToken,
) -> Vec<(ChannelHandle, JoinHandle<()>)> {
    let connector = connector(&config, clock);
    start_on(connector, config, clock, random, events, stop)
}

/// Connections to an account's SMSC.
fn connector(config: &SmppConfig, clock: &Clock) -> Arc<dyn Connector> {
    let tcp = TcpConnector {
        host: config.host.clone(),
        port: config.port,
    };
    match &config.tls {
        None => Arc::new(tcp),
        Some(settings) => Arc::new(TlsConnector {
            tcp,
            settings: settings.clone(),
            clock: clock.clone(),
        }),
    }
}

/// Like [`start`], over connections of another kind.
pub fn start_on(
    connector: Arc<dyn Connector>,
    config: Arc<SmppConfig>,
    clock: &Clock,
    random: &Random,
    events: &mpsc::Sender<ChannelEvent>,
    stop: &CancellationToken,
) -> Vec<(ChannelHandle, JoinHandle<()>)> {
    let binds = u32::try_from(config.binds).unwrap_or(u32::MAX);
    (1..=binds)
        .map(|number| {
            let window_size = config.window.max(1);
            let (requests, inbox) = mpsc::channel(window_size);
            let (status, status_receiver) = watch::channel(ChannelStatus::Connecting);
            let (peer, peer_receiver) = watch::channel(PeerWord::default());
            let (reset, reset_receiver) = watch::channel(());
            let window = Arc::new(Semaphore::new(window_size));
            let handle = ChannelHandle {
                id: ChannelId::from(format!("{}#{number}", config.account).as_str()),
                account: config.account.clone(),
                window: window.clone(),
                window_size,
                requests,
                status: status_receiver,
                peer: Peer::Smsc(peer_receiver),
                reset,
            };
            let driver = driver::Driver {
                id: handle.id.clone(),
                config: config.clone(),
                start_after: config.reconnect_min * (number - 1) / binds,
                connector: connector.clone(),
                clock: clock.clone(),
                random: random.clone(),
                events: events.clone(),
                window,
                window_size,
                inbox,
                status,
                peer,
                reset: reset_receiver,
                stop: stop.clone(),
            };
            (handle, tokio::spawn(driver.run()))
        })
        .collect()
}
