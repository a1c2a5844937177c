//! Relais.

pub mod channel;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod metrics;
pub mod pdu;
pub mod store;
