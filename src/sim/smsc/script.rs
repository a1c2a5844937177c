//! What the SMSC does: plain data, readable from TOML, every field with a default.
//!
//! `config/sim/smsc.toml` shows every key of the file form with its default; a test holds the two
//! together. Times named `after_ms` count from when the script was set: for `relais sim smsc`, from
//! its start.

use std::time::Duration;

use serde::Deserialize;

use super::tls::Tls;

mod faults;
mod ids;
mod inbound;
mod receipts;

pub use crate::pdu::default_alphabet::DefaultAlphabet;
pub use faults::{Fault, FaultKind, Octets};
pub use ids::{IdForm, Ids};
pub use inbound::{Inbound, InboundAlphabet, Split};
pub use receipts::{ReceiptForm, Receipts, ScriptedState};

/// The behaviour of a simulated SMSC. The default takes everything and reports it delivered.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmscScript {
    /// Address and port to listen on.
    pub listen: String,
    /// Speak TLS on the listener.
    pub tls: Option<Tls>,
    /// The only `system_id` that may bind; any if absent.
    pub system_id: Option<String>,
    /// Its password; any if absent.
    pub password: Option<String>,
    /// Answer binds with this `command_status` instead.
    pub bind_status: u32,
    /// Answer only this many binds with it, then accept them; all if absent.
    pub bind_refusals: Option<u64>,
    /// `sc_interface_version` in the answer to a bind: `0x34`, `0x50`; 0: the TLV is left out.
    pub interface_version: u8,
    /// `congestion_state` in answers to `submit_sm`, on sessions where both sides speak SMPP 5.0.
    pub congestion_state: Option<u8>,
    /// What `data_coding` 0, the "SMSC default alphabet" (SMPP 3.4 §5.2.19), means here.
    pub alphabet: DefaultAlphabet,
    /// Take no new connection (in memory only; a listener always takes them).
    pub refuse_connections: bool,
    /// Milliseconds before a `submit_sm` is answered.
    pub response_delay_ms: u64,
    /// How message ids are made.
    pub ids: Ids,
    /// `submit_sm` a second beyond which `ESME_RTHROTTLED` is answered.
    pub rate_limit: Option<u32>,
    /// The rate is kept by a bucket of this many tokens; if absent, by counting in each second.
    pub burst: Option<u32>,
    /// Unanswered `submit_sm` on a session beyond which `ESME_RMSGQFUL` is answered.
    pub window: Option<usize>,
    /// Refuse every n-th `submit_sm` with `fail_status`.
    pub fail_every: Option<u64>,
    /// Status of those; `ESME_RSYSERR` unless given.
    pub fail_status: u32,
    /// Take every n-th `submit_sm` and lose its answer.
    pub lose_response_every: Option<u64>,
    /// Close the connection at every n-th `submit_sm`, unanswered.
    pub close_every: Option<u64>,
    /// What else goes wrong, and when.
    pub faults: Vec<Fault>,
    /// Read and answer nothing at all, not even `enquire_link`, with connections open.
    pub silent: bool,
    /// Answer everything but `enquire_link`.
    pub ignore_enquire_link: bool,
    /// Milliseconds of rest before each reading: a slow reader.
    pub read_pause_ms: u64,
    /// Milliseconds without an answer after which the SMSC sends `enquire_link`; 0: never.
    pub enquire_link_ms: u64,
    /// What happens to certain destinations; the first rule that fits counts.
    pub rules: Vec<Rule>,
    /// Delivery receipts.
    pub receipts: Receipts,
    /// Messages from handsets.
    pub inbound: Vec<Inbound>,
    /// Unanswered `deliver_sm` on a session.
    pub deliver_window: usize,
    /// Milliseconds before what was refused for now is sent again.
    pub redeliver_after_ms: u64,
    /// Milliseconds to wait for the answer to a `deliver_sm`.
    pub response_timeout_ms: u64,
}

impl Default for SmscScript {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:2775".to_owned(),
            tls: None,
            system_id: None,
            password: None,
            bind_status: 0,
            bind_refusals: None,
            interface_version: 0x34,
            congestion_state: None,
            alphabet: DefaultAlphabet::Gsm,
            refuse_connections: false,
            response_delay_ms: 0,
            ids: Ids::default(),
            rate_limit: None,
            burst: None,
            window: None,
            fail_every: None,
            fail_status: 0x08,
            lose_response_every: None,
            close_every: None,
            faults: Vec::new(),
            silent: false,
            ignore_enquire_link: false,
            read_pause_ms: 0,
            enquire_link_ms: 0,
            rules: Vec::new(),
            receipts: Receipts::default(),
            inbound: Vec::new(),
            deliver_window: 64,
            redeliver_after_ms: 1_000,
            response_timeout_ms: 60_000,
        }
    }
}

impl SmscScript {
    /// The first rule for a destination, and its number, when the script has run for `since`.
    #[must_use]
    pub fn rule(&self, destination: &str, since: Duration) -> Option<(usize, &Rule)> {
        let fits = |rule: &Rule| {
            destination.starts_with(rule.prefix.trim_start_matches('+'))
                && destination.ends_with(&rule.suffix)
                && rule.holds(since)
        };
        self.rules.iter().enumerate().find(|(_, rule)| fits(rule))
    }
}

/// What happens to destinations with this prefix and suffix.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Leading digits; empty: any.
    pub prefix: String,
    /// Final digits; empty: any.
    pub suffix: String,
    /// In force only from this many milliseconds on.
    pub after_ms: u64,
    /// In force only for this many milliseconds; without an end if absent.
    pub for_ms: Option<u64>,
    /// Answer with this `command_status`.
    pub status: Option<u32>,
    /// Refuse only this many times (over all destinations of the rule), then take it.
    pub times: Option<u64>,
    /// Count `times` for each destination by itself.
    pub each: bool,
    /// Refuse by `generic_nack` instead of `submit_sm_resp`.
    pub nack: bool,
    /// `submit_sm` a second to these destinations beyond which `ESME_RTHROTTLED` is answered.
    pub rate_limit: Option<u32>,
    /// Do not answer at all, though the message is taken.
    pub unanswered: bool,
    /// Answer after this many milliseconds instead of the script's delay.
    pub response_delay_ms: Option<u64>,
    /// What the receipt says instead of `receipts.state`.
    pub receipt: Option<ScriptedState>,
    /// The `err:` of the receipt instead of `receipts.error`.
    pub error: Option<String>,
    /// All of how these receipts are, instead of the script's; what is absent has its default.
    pub receipts: Option<Receipts>,
    /// How these ids are written, instead of the script's; `start` has no effect here.
    pub ids: Option<Ids>,
}

impl Rule {
    fn holds(&self, since: Duration) -> bool {
        let from = Duration::from_millis(self.after_ms);
        let until = self
            .for_ms
            .map(|length| from + Duration::from_millis(length));
        since >= from && until.is_none_or(|until| since < until)
    }
}

#[cfg(test)]
mod tests;
