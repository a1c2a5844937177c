//! Relais.

pub mod channel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod engine;
pub mod metrics;
pub mod pdu;
pub mod store;
