//! A new configuration while the daemon runs: what changes does, and nothing else. The whole daemon over
//! HTTP and real sockets, with simulated SMSCs and modems whose ledgers say what was bound and what came.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod accounts;
mod interface;
mod signals;
mod stage;
mod stopping;
mod traffic;
