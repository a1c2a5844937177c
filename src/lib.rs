//! Relais.

pub mod channel;
pub mod clock;
pub mod domain;
pub mod engine;
pub mod metrics;
pub mod pdu;
pub mod sim;
pub mod store;
