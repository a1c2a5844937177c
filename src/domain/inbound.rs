//! What handsets send to us (MO).

use serde::{Deserialize, Serialize};

use super::id::{Account, ChannelId, InboundId, Tenant};
use super::time::Timestamp;

/// One message, or one part of one, received from a handset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbound {
    /// Its id.
    pub id: InboundId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The account that it came in on.
    pub account: Account,
    /// The bind or modem that brought it.
    pub channel: ChannelId,
    /// Who sent it: E.164 with `+` where it is a number, else as the carrier wrote it.
    pub from: String,
    /// The number or short code that it was sent to.
    pub to: String,
    /// The text; for a part of several, that part's text.
    pub text: String,
    /// Its place among the parts of a longer text.
    pub part: Option<Part>,
    /// When we took it in.
    pub received_at: Timestamp,
}

/// Which part of a concatenated message (3GPP TS 23.040 §9.2.3.24.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The sender's reference, common to all parts.
    pub reference: u16,
    /// Number of parts.
    pub total: u8,
    /// This part's number, from 1.
    pub index: u8,
}
