//! The simulators: what stands on the other side of a channel, for rehearsals and tests.
//!
//! A simulator follows a script (answers, delays, drops, duplicates, orders) and keeps a ledger of
//! what it received. It uses the codecs and the session machinery of the daemon, never its store or
//! engine, and nothing of the daemon uses it.

pub mod modem;
pub mod smsc;
