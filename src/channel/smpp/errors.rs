//! The `command_status` values that the session itself gives or looks at (SMPP 3.4 §5.1.3). What
//! each status means for a message is a rule of its own: [`crate::domain::refusal`].

pub use crate::domain::refusal::status_text;

/// No error.
pub const ESME_ROK: u32 = 0x00;
/// The length of the PDU is wrong.
pub const ESME_RINVCMDLEN: u32 = 0x02;
/// The command is unknown.
pub const ESME_RINVCMDID: u32 = 0x03;
/// The command does not fit the state of the session.
pub const ESME_RINVBNDSTS: u32 = 0x04;
/// Already bound.
pub const ESME_RALYBND: u32 = 0x05;
/// System error.
pub const ESME_RSYSERR: u32 = 0x08;
/// The bind failed.
pub const ESME_RBINDFAIL: u32 = 0x0D;
/// Wrong password.
pub const ESME_RINVPASWD: u32 = 0x0E;
/// Unknown `system_id`.
pub const ESME_RINVSYSID: u32 = 0x0F;
/// The message queue is full.
pub const ESME_RMSGQFUL: u32 = 0x14;
/// Too fast.
pub const ESME_RTHROTTLED: u32 = 0x58;
/// The receiver cannot take it now and wants it again.
pub const ESME_RX_T_APPN: u32 = 0x64;
/// Unknown error.
pub const ESME_RUNKNOWNERR: u32 = 0xFF;
