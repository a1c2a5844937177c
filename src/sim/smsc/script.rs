//! What the SMSC does: plain data, readable from TOML, every field with a default.

use serde::Deserialize;

use super::tls::Tls;
use crate::domain::receipt::ReceiptState;

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
    /// Take no new connection (in memory only; a listener always takes them).
    pub refuse_connections: bool,
    /// Milliseconds before a `submit_sm` is answered.
    pub response_delay_ms: u64,
    /// How message ids are made.
    pub ids: Ids,
    /// `submit_sm` a second beyond which `ESME_RTHROTTLED` is answered.
    pub rate_limit: Option<u32>,
    /// Unanswered `submit_sm` on a session beyond which `ESME_RMSGQFUL` is answered.
    pub window: Option<usize>,
    /// Refuse every n-th `submit_sm` with `fail_status`.
    pub fail_every: Option<u64>,
    /// Status of those; `ESME_RSYSERR` unless given.
    pub fail_status: u32,
    /// Close the connection at every n-th `submit_sm`, unanswered.
    pub close_every: Option<u64>,
    /// Read and answer nothing at all, not even `enquire_link`, with connections open.
    pub silent: bool,
    /// Milliseconds without an answer after which the SMSC sends `enquire_link`; 0: never.
    pub enquire_link_ms: u64,
    /// What happens to certain destinations; the first rule that fits counts.
    pub rules: Vec<Rule>,
    /// Delivery receipts.
    pub receipts: Receipts,
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
            refuse_connections: false,
            response_delay_ms: 0,
            ids: Ids::default(),
            rate_limit: None,
            window: None,
            fail_every: None,
            fail_status: 0x08,
            close_every: None,
            silent: false,
            enquire_link_ms: 0,
            rules: Vec::new(),
            receipts: Receipts::default(),
            deliver_window: 64,
            redeliver_after_ms: 1_000,
            response_timeout_ms: 60_000,
        }
    }
}

impl SmscScript {
    /// The first rule for a destination.
    #[must_use]
    pub fn rule(&self, destination: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            destination.starts_with(rule.prefix.trim_start_matches('+'))
                && destination.ends_with(&rule.suffix)
        })
    }
}

/// How message ids are made: a number that counts up, written one way in `submit_sm_resp` and
/// maybe another way in receipts.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ids {
    /// The first one.
    pub start: u64,
    /// Form in `submit_sm_resp`.
    pub submitted: IdForm,
    /// Form in receipts.
    pub reported: IdForm,
    /// Padded with zeros to this many characters in `submit_sm_resp`.
    pub submitted_width: usize,
    /// Padded with zeros to this many characters in receipts.
    pub reported_width: usize,
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            start: 1,
            submitted: IdForm::Decimal,
            reported: IdForm::Decimal,
            submitted_width: 0,
            reported_width: 0,
        }
    }
}

/// How a number is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdForm {
    /// Decimal.
    #[default]
    Decimal,
    /// Hexadecimal, lower case.
    Hex,
    /// Hexadecimal, upper case.
    HexUpper,
}

impl IdForm {
    /// Writes `number`, padded with zeros to `width`.
    #[must_use]
    pub fn write(self, number: u64, width: usize) -> String {
        match self {
            Self::Decimal => format!("{number:0width$}"),
            Self::Hex => format!("{number:0width$x}"),
            Self::HexUpper => format!("{number:0width$X}"),
        }
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
    /// Answer with this `command_status`.
    pub status: Option<u32>,
    /// Refuse only this many times (over all destinations of the rule), then take it.
    pub times: Option<u64>,
    /// Do not answer at all, though the message is taken.
    pub unanswered: bool,
    /// Answer after this many milliseconds instead of the script's delay.
    pub response_delay_ms: Option<u64>,
    /// What the receipt says instead of `receipts.state`.
    pub receipt: Option<ScriptedState>,
    /// The `err:` of the receipt instead of `receipts.error`.
    pub error: Option<String>,
}

/// Delivery receipts.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Receipts {
    /// What they say; `none`: there are none.
    pub state: ScriptedState,
    /// Milliseconds from the `submit_sm` to its receipt.
    pub delay_ms: u64,
    /// Where they say it.
    pub form: ReceiptForm,
    /// In a `data_sm` with `message_payload` instead of a `deliver_sm`.
    pub data_sm: bool,
    /// The text in `message_payload` instead of `short_message`.
    pub payload: bool,
    /// Send them before the `submit_sm_resp`.
    pub before_response: bool,
    /// Send each twice.
    pub duplicate: bool,
    /// Those of a message in parts in reverse order, when the last part has come.
    pub reverse_parts: bool,
    /// An `ENROUTE` notification first.
    pub enroute_first: bool,
    /// The `err:` of those that say that it was not delivered; `000` in the others.
    pub error: String,
    /// The text, with `{id}`, `{stat}`, `{err}`, `{dlvrd}`, `{submit}`, `{done}` and `{text}`.
    pub template: String,
    /// Seconds in its dates.
    pub seconds: bool,
}

impl Default for Receipts {
    fn default() -> Self {
        Self {
            state: ScriptedState::Delivered,
            delay_ms: 0,
            form: ReceiptForm::Both,
            data_sm: false,
            payload: false,
            before_response: false,
            duplicate: false,
            reverse_parts: false,
            enroute_first: false,
            error: "001".to_owned(),
            // SMPP 3.4 appendix B.
            template: "id:{id} sub:001 dlvrd:{dlvrd} submit date:{submit} done date:{done} \
                       stat:{stat} err:{err} text:{text}"
                .to_owned(),
            seconds: false,
        }
    }
}

/// Where a receipt says what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptForm {
    /// In its text.
    Text,
    /// In TLVs, with an empty text.
    Tlv,
    /// In both.
    #[default]
    Both,
}

/// What a receipt says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptedState {
    /// No receipt.
    None,
    /// DELIVRD.
    #[default]
    Delivered,
    /// EXPIRED.
    Expired,
    /// DELETED.
    Deleted,
    /// UNDELIV.
    Undeliverable,
    /// ACCEPTD.
    Accepted,
    /// UNKNOWN.
    Unknown,
    /// REJECTD.
    Rejected,
    /// ENROUTE, and nothing after it.
    Enroute,
}

impl ScriptedState {
    /// The state, unless there is no receipt.
    #[must_use]
    pub const fn state(self) -> Option<ReceiptState> {
        Some(match self {
            Self::None => return None,
            Self::Delivered => ReceiptState::Delivered,
            Self::Expired => ReceiptState::Expired,
            Self::Deleted => ReceiptState::Deleted,
            Self::Undeliverable => ReceiptState::Undeliverable,
            Self::Accepted => ReceiptState::Accepted,
            Self::Unknown => ReceiptState::Unknown,
            Self::Rejected => ReceiptState::Rejected,
            Self::Enroute => ReceiptState::Enroute,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_script_is_read_from_toml_and_what_is_absent_has_a_default() {
        let script: SmscScript = toml::from_str(
            r#"
            listen = "127.0.0.1:0"
            rate_limit = 20
            [ids]
            start = 1000000
            reported = "hex_upper"
            reported_width = 8
            [receipts]
            delay_ms = 50
            form = "text"
            [[rules]]
            suffix = "01"
            status = 0x58
            times = 2
            [[rules]]
            prefix = "+337"
            receipt = "expired"
            "#,
        )
        .unwrap();
        assert_eq!(script.rule("33600000001").unwrap().status, Some(0x58));
        assert_eq!(
            script.rule("33700000002").unwrap().receipt,
            Some(ScriptedState::Expired)
        );
        assert!(script.rule("33600000002").is_none());
        let ids = &script.ids;
        assert_eq!(
            ids.reported.write(ids.start, ids.reported_width),
            "000F4240"
        );
        assert_eq!(
            (script.deliver_window, script.receipts.form),
            (64, ReceiptForm::Text)
        );
        assert!(toml::from_str::<SmscScript>("unheard_of = 1").is_err());
    }
}
