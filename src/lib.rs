//! Relais.

pub mod channel;
pub mod clock;
pub mod domain;
pub mod engine;
pub mod http;
pub mod metrics;
pub mod pdu;
pub mod store;
