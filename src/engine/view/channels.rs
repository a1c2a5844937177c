//! The JSON of the connections to carriers: what operators see of accounts, binds and modems.

use serde::Serialize;
use utoipa::ToSchema;

use super::Rfc3339;
use crate::channel::modem::answer::{Registration, Usage};
use crate::channel::modem::word::Recoveries;
use crate::channel::{ChannelStatus, ModemWord, Peer, PeerWord};
use crate::domain::receipt::IdWriting;
use crate::engine::{AccountView, BudgetView, ChannelView, Engine, Used};

/// A connection to a carrier, as operators read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Channel)]
pub struct ChannelJson {
    /// For example `orange#1`.
    name: String,
    /// For example `orange`.
    account: String,
    /// `smpp`, `modem` or `email`.
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
    /// What a modem and its SIM say about themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    modem: Option<ModemJson>,
    account_state: AccountJson,
}

/// What is known of an account now; the same for all of its connections.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountState)]
struct AccountJson {
    /// Parts a second as configured, 0.1 being `"6/min"`; absent: no limit.
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

/// A GSM modem and its SIM. What is absent is not known: the modem was not reached, or does not say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Modem)]
struct ModemJson {
    /// Its port, as configured.
    #[schema(example = "/dev/serial/by-id/usb-HUAWEI_HUAWEI_Mobile-if00-port0")]
    device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    maker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Serial number of the modem.
    #[serde(skip_serializing_if = "Option::is_none")]
    imei: Option<String>,
    /// The last four digits of the SIM's own number (IMSI, or else ICCID).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "…6789")]
    sim: Option<String>,
    /// SMSC address in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_centre: Option<String>,
    /// The network's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    /// `home`, `roaming`, `searching`, `denied`, `idle` (neither registered nor searching) or `unknown`
    /// (the modem does not say).
    #[serde(skip_serializing_if = "Option::is_none")]
    registration: Option<&'static str>,
    /// Signal in dBm: -113 is next to nothing, -51 and more is excellent.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal_dbm: Option<i16>,
    /// How status reports come: `direct`, `stored` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reports: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<StorageJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<BalanceJson>,
    /// What does not work and can be done without; what somebody should look at.
    notes: Vec<String>,
    recoveries: RecoveriesJson,
    /// How far the SIM is used.
    budget: BudgetJson,
}

/// The store for messages from handsets. A full one takes in nothing more.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModemStorage)]
struct StorageJson {
    /// Its name, for example `SM` for the SIM's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Messages in it.
    used: u16,
    /// Places in it.
    total: u16,
}

/// The network's answer to `ussd_balance`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModemBalance)]
struct BalanceJson {
    text: String,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    at: Rfc3339,
}

/// How often the modem had to be brought back since the daemon started, from the mildest means to the
/// strongest.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModemRecoveries)]
struct RecoveriesJson {
    /// Brought back into step.
    resynchronised: u32,
    /// Set up again.
    set_up: u32,
    /// Told to restart.
    restarted: u32,
    /// Its port closed and opened again.
    reopened: u32,
    /// Its power cut and given back.
    power: u32,
}

/// How far a SIM is used. A limit that is absent is none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimBudget)]
struct BudgetJson {
    /// Messages in the last 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<UsedJson>,
    /// Distinct recipients in the last 30 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    recipients_30d: Option<UsedJson>,
}

/// A limit, and how much of it is used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimLimit)]
struct UsedJson {
    limit: u32,
    used: u32,
    /// When there is room again, if all of it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    until: Option<Rfc3339>,
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
        let (peer, modem) = match &view.peer {
            Peer::Smsc(word) => (*word.borrow(), None),
            Peer::App | Peer::Email => (PeerWord::default(), None),
            Peer::Modem(word) => {
                let modem = ModemJson::new(word.borrow().clone(), view.budget.unwrap_or_default());
                (PeerWord::default(), Some(modem))
            }
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
            modem,
            account_state: AccountJson::from(view.state),
        }
    }
}

/// Parts a second as people read them: slow ones need more places.
fn shown(rate: f64) -> f64 {
    let places = if rate < 1.0 { 10_000.0 } else { 10.0 };
    (rate * places).round() / places
}

impl From<AccountView> for AccountJson {
    fn from(view: AccountView) -> Self {
        Self {
            rate: view.rate_configured.map(shown),
            rate_now: view.rate_now.map(shown),
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

impl ModemJson {
    fn new(word: ModemWord, budget: BudgetView) -> Self {
        Self {
            device: word.device,
            maker: word.maker,
            model: word.model,
            imei: word.imei,
            sim: word.sim.as_deref().map(masked),
            service_centre: word.service_centre,
            operator: word.operator,
            registration: word.registration.map(Registration::word),
            signal_dbm: word.signal_dbm,
            reports: word.reports,
            storage: word.storage.map(|Usage { used, total }| StorageJson {
                name: word.storage_name,
                used,
                total,
            }),
            balance: word.balance.map(|(text, at)| BalanceJson {
                text,
                at: Rfc3339(at),
            }),
            notes: word.notes,
            recoveries: RecoveriesJson::from(word.recoveries),
            budget: BudgetJson {
                day: budget.day.map(UsedJson::from),
                recipients_30d: budget.recipients_30d.map(UsedJson::from),
            },
        }
    }
}

impl From<Recoveries> for RecoveriesJson {
    fn from(recoveries: Recoveries) -> Self {
        let Recoveries {
            resynchronised,
            set_up,
            restarted,
            reopened,
            power,
        } = recoveries;
        Self {
            resynchronised,
            set_up,
            restarted,
            reopened,
            power,
        }
    }
}

impl From<Used> for UsedJson {
    fn from(used: Used) -> Self {
        Self {
            limit: used.limit,
            used: used.used,
            until: used.until.map(Rfc3339),
        }
    }
}

/// Who has the whole number of a SIM can ask its operator about its owner.
fn masked(sim: &str) -> String {
    let last = sim.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
    format!("…{}", &sim[last..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_sim_the_last_four_digits_are_shown() {
        assert_eq!(masked("208010123456789"), "…6789");
        assert_eq!(masked("123"), "…123");
        assert_eq!(masked("été-1"), "…té-1");
    }
}
