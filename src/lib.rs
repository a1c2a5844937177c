//! Relais.

pub mod channel;
pub mod clock;
pub mod domain;
pub mod pdu;
pub mod sim;
