//! Relais: a self-hosted SMS gateway.
//!
//! Applications post messages over HTTP; Relais stores them durably, sends them to a carrier over
//! SMPP, follows their delivery receipts, and tells whoever asked. One process, one folder.
//!
//! A message's way: `http` → [`engine`] checks and plans it → [`store`] makes it durable (the 202
//! only now) → the dispatcher claims it with a permit of a channel's window → [`channel`] submits its
//! segments → the carrier's reference is bound → a receipt comes → outcome → outbox → webhook. Every
//! durable step is one store operation; between two of them the process may die.
//!
//! # Code map
//!
//! A floor uses the ones below it, never one above or beside it; `tests/architecture.rs` keeps that.
//!
//! ```text
//! 5  main · cli · daemon          arguments, wiring, the order of starting and stopping
//! 4  http                         the interface for programs
//! 3  engine                       what the daemon does: accept, dispatch, commit, reap, post
//! 2  store · channel              durability · carriers (never each other)
//! 1  config · metrics · clock     files → policy · figures · time and chance
//! 0  domain → pdu                 what the words mean, pure · 3GPP alphabets, segments, TPDUs
//!    sim                          a scripted SMSC, over the session of channel::smpp alone; a modem
//! ```
//!
//! # Invariants
//!
//! 1. Only [`domain`] decides a transition; only the store's writer applies one.
//! 2. What the index holds is a function of the records.
//! 3. A 2xx and an acknowledgement come after the commit that justifies them; a permit goes home
//!    after the commit of its outcome.
//! 4. Known truth about a segment only climbs.
//! 5. `channel` never uses `store`; `http` never uses a driver; `domain` never uses tokio.
//! 6. Every queue is bounded.
//! 7. Time and chance enter through [`clock`] alone.
//! 8. No message text and no full number in logs, metrics or errors.
//! 9. No mutable state of the process: two daemons can run in one test.
//! 10. The words for people are in [`domain::status`] and the views alone.

pub mod channel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod engine;
pub mod http;
pub mod metrics;
pub mod pdu;
pub mod sim;
pub mod store;
