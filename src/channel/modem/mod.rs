//! USB GSM modems over AT commands (3GPP TS 27.005, TS 27.007): what a driver is made of.
//!
//! | file | what it holds |
//! |---|---|
//! | [`mod@line`] | octets to lines and prompts |
//! | [`sort`] | whose each line is: the command's in flight, or nobody's |
//! | [`at`], [`command`] | the engine: one command at a time, the dialogue of `AT+CMGS`, back into step |
//! | [`answer`] | what stands in the lines |
//! | [`unsolicited`] | what the modem says unasked |
//! | [`setup`], [`choice`] | asking the modem what it can do, and setting it up |
//! | [`errors`] | what a refusal means for the message and for the modem |
//!
//! The layers know neither the engine nor the port: they run on any stream, so that a pty, a serial
//! line and a test are the same to them.

pub mod answer;
pub mod at;
pub mod choice;
pub mod command;
pub mod errors;
pub mod line;
#[cfg(test)]
mod scripted;
pub mod setup;
pub mod sort;
#[cfg(test)]
mod transcripts;
pub mod unsolicited;
