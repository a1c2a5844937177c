//! What a modem and its SIM say about themselves: for operators, metrics and the budgets of the SIM.

use super::answer::{Registration, Usage};
use crate::domain::time::Timestamp;

/// What is known of a modem. All of it may be missing: a modem that was never reached has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModemWord {
    /// The port as configured.
    pub device: String,
    /// Maker, as it says.
    pub maker: Option<String>,
    /// Model, as it says.
    pub model: Option<String>,
    /// Serial number of the modem.
    pub imei: Option<String>,
    /// What references and budgets go by: the IMSI, else the ICCID, else nothing but the channel's
    /// name. Known from the first set-up on; it changes with the SIM.
    pub sim: Option<String>,
    /// SMSC address in use.
    pub service_centre: Option<String>,
    /// Operator's name.
    pub operator: Option<String>,
    /// Registration.
    pub registration: Option<Registration>,
    /// Signal in dBm.
    pub signal_dbm: Option<i16>,
    /// How status reports come: `direct`, `stored` or `none`.
    pub reports: Option<&'static str>,
    /// How full the store for messages from handsets is.
    pub storage: Option<Usage>,
    /// That store's name, for example `SM` for the SIM.
    pub storage_name: Option<String>,
    /// The last answer to the balance question, and when it came.
    pub balance: Option<(String, Timestamp)>,
    /// What did not work and can be done without; what an operator should look at.
    pub notes: Vec<String>,
    /// How often the modem had to be brought back, by each step of the ladder.
    pub recoveries: Recoveries,
}

/// How often a modem had to be brought back, since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recoveries {
    /// ESC and `AT`.
    pub resynchronised: u32,
    /// The whole set-up again.
    pub set_up: u32,
    /// `AT+CFUN=1,1`.
    pub restarted: u32,
    /// The port closed and opened again.
    pub reopened: u32,
    /// The operator's power command.
    pub power: u32,
}
