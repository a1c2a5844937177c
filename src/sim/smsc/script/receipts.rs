//! Delivery receipts: when they come, what they say, and in which of the many forms.

use serde::Deserialize;

use crate::domain::receipt::ReceiptState;

/// Delivery receipts.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Receipts {
    /// What they say; `none`: there are none.
    pub state: ScriptedState,
    /// Milliseconds from the `submit_sm` to its receipt.
    pub delay_ms: u64,
    /// At most this many milliseconds more, by chance: receipts overtake each other.
    pub jitter_ms: u64,
    /// Where they say it.
    pub form: ReceiptForm,
    /// In a `data_sm` with `message_payload` instead of a `deliver_sm`.
    pub data_sm: bool,
    /// The text in `message_payload` instead of `short_message`.
    pub payload: bool,
    /// Send them before the `submit_sm_resp`.
    pub before_response: bool,
    /// Send them on another bind of the account than the message came on, while there is one.
    pub other_bind: bool,
    /// Send each twice.
    pub duplicate: bool,
    /// Lose every n-th.
    pub lose_every: Option<u64>,
    /// Of a message in parts, send only the receipt of this part, counted from 1.
    pub only_part: Option<u8>,
    /// Of a message in parts, this part is reported as undeliverable, counted from 1.
    pub failed_part: Option<u8>,
    /// Those of a message in parts in reverse order, when the last part has come.
    pub reverse_parts: bool,
    /// An `ENROUTE` notification first.
    pub enroute_first: bool,
    /// An `ACCEPTD` notification first.
    pub accepted_first: bool,
    /// The `err:` of those that say that it was not delivered; `000` in the others.
    pub error: String,
    /// `network_error_code` of those: the network type and the code (SMPP 3.4 §5.3.2.31).
    pub network_error: Option<(u8, u16)>,
    /// The text, with `{id}`, `{stat}`, `{stat_lower}`, `{err}`, `{dlvrd}`, `{submit}`, `{done}` and
    /// `{text}`.
    pub template: String,
    /// Seconds in its dates.
    pub seconds: bool,
    /// `esm_class` instead of `0x04`, or `0x20` in an `ENROUTE` notification.
    pub esm_class: Option<u8>,
    /// `data_coding`.
    pub data_coding: u8,
}

impl Default for Receipts {
    fn default() -> Self {
        Self {
            state: ScriptedState::Delivered,
            delay_ms: 0,
            jitter_ms: 0,
            form: ReceiptForm::Both,
            data_sm: false,
            payload: false,
            before_response: false,
            other_bind: false,
            duplicate: false,
            lose_every: None,
            only_part: None,
            failed_part: None,
            reverse_parts: false,
            enroute_first: false,
            accepted_first: false,
            error: "001".to_owned(),
            network_error: None,
            // SMPP 3.4 appendix B.
            template: "id:{id} sub:001 dlvrd:{dlvrd} submit date:{submit} done date:{done} \
                       stat:{stat} err:{err} text:{text}"
                .to_owned(),
            seconds: false,
            esm_class: None,
            data_coding: 0,
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
