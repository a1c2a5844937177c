//! The JSON of the connections to carriers: what operators see of accounts, binds and modems.

use serde::Serialize;
use utoipa::ToSchema;

use super::Rfc3339;
use crate::channel::{ChannelStatus, Peer, PeerWord};
use crate::domain::receipt::IdWriting;
use crate::engine::{AccountView, ChannelView, Engine};

/// A connection to a carrier, as operators read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Channel)]
pub struct ChannelJson {
    /// For example `orange#1`.
    name: String,
    /// For example `orange`.
    account: String,
    /// `smpp`.
    kind: &'static str,
    /// True if it takes messages.
    up: bool,
    /// `connecting`, `up`, `down`, `draining` or `stopped`.
    status: &'static str,
    /// Why it is down, in the peer's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Since when it is up, or not up.
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    since: Rfc3339,
    /// True if an operator has paused it, or its account.
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    paused_since: Option<Rfc3339>,
    /// Messages that may be under way at once.
    window: usize,
    /// Messages under way.
    window_used: usize,
    /// How the carrier writes, in receipts, the ids that it answered with, once that is learnt:
    /// `as_answered`, `other_case_or_zeros`, `hexadecimal_reported_as_decimal` or
    /// `decimal_reported_as_hexadecimal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt_ids: Option<&'static str>,
    /// The SMPP version that the carrier names, for example `3.4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    interface_version: Option<String>,
    /// How congested the carrier says that it is, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    congestion: Option<u8>,
    account_state: AccountJson,
}

/// What is known of an account now; the same for all of its connections.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountState)]
struct AccountJson {
    /// Parts a second as configured; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// Parts a second now, below `rate` while the carrier asks for less; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_now: Option<f64>,
    /// The carrier asked for less, and is left alone until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    throttled_until: Option<Rfc3339>,
    /// `closed`: messages go through. `open`: none does. `half_open`: one does, to see what becomes
    /// of it.
    circuit: &'static str,
    /// When an open circuit lets a message through.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    circuit_until: Option<Rfc3339>,
    /// The last refusal, doubt or loss of a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<LastErrorJson>,
}

/// What went wrong last.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LastError)]
struct LastErrorJson {
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    at: Rfc3339,
    /// For example `ESME_RTHROTTLED (0x00000058)`.
    error: String,
}

impl Engine {
    /// The connections as operators read them.
    #[must_use]
    pub fn channels_json(&self) -> Vec<ChannelJson> {
        self.channel_views()
            .into_iter()
            .map(ChannelJson::from)
            .collect()
    }

    /// Those of an account, or one of them.
    #[must_use]
    pub fn channels_json_of(&self, name: &str) -> Vec<ChannelJson> {
        self.channel_views_of(name)
            .into_iter()
            .map(ChannelJson::from)
            .collect()
    }
}

impl From<ChannelView> for ChannelJson {
    fn from(view: ChannelView) -> Self {
        let up = view.status.is_up();
        let peer = match &view.peer {
            Peer::Smsc(word) => *word.borrow(),
            Peer::Modem(_) => PeerWord::default(),
        };
        let (status, cause) = match view.status {
            ChannelStatus::Connecting => ("connecting", None),
            ChannelStatus::Up => ("up", None),
            ChannelStatus::Down { cause } => ("down", Some(cause)),
            ChannelStatus::Draining => ("draining", None),
            ChannelStatus::Stopped => ("stopped", None),
        };
        Self {
            name: view.name,
            account: view.account,
            kind: view.kind,
            up,
            status,
            cause,
            window: view.window,
            window_used: view.window_used,
            receipt_ids: view.receipt_ids.map(IdWriting::word),
            since: Rfc3339(view.since),
            paused: view.paused_at.is_some(),
            paused_since: view.paused_at.map(Rfc3339),
            interface_version: peer.interface_version.map(|version| {
                let (major, minor) = (version >> 4, version & 0x0F);
                format!("{major}.{minor}")
            }),
            congestion: peer.congestion,
            account_state: AccountJson::from(view.state),
        }
    }
}

impl From<AccountView> for AccountJson {
    fn from(view: AccountView) -> Self {
        Self {
            rate: view.rate_configured,
            rate_now: view.rate_now.map(|rate| (rate * 10.0).round() / 10.0),
            throttled_until: view.throttled_until.map(Rfc3339),
            circuit: view.circuit,
            circuit_until: view.circuit_until.map(Rfc3339),
            last_error: view.last_error.map(|(at, error)| LastErrorJson {
                at: Rfc3339(at),
                error,
            }),
        }
    }
}
