//! GSM modems through the whole engine: modem channels over real pseudo terminals, a simulated modem
//! with a ledger at the other end of each.
//!
//! Time is real, because a terminal knows no other: latencies are of milliseconds, intervals short, and
//! each wait has a deadline that only a fault reaches. What is judged is what the modems were given
//! and what the store holds, never how long it took. Only `worlds` runs in virtual time, over streams
//! in memory, so that chance has hours in which to do its worst.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, missing_docs)]

mod gateway;
mod handsets;
mod neighbours;
mod pains;
mod survival;
mod traffic;
mod unplugged;
mod worlds;
