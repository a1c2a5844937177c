//! The caller's trace context (W3C Trace Context, the header `traceparent`): carried with a message so
//! that its log lines can be found from the caller's side. Nothing depends on it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A `traceparent` of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceParent {
    /// The trace; never zero.
    pub trace: u128,
    /// The caller's span; never zero.
    pub parent: u64,
    /// Bit 0: the caller records the trace.
    pub flags: u8,
}

/// The header is not one that can be read; Trace Context asks to go on without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("traceparent is not 00-TRACE-SPAN-FLAGS in lower-case hexadecimal")]
pub struct NotATraceParent;

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    /// Reads `00-<32 digits>-<16 digits>-<2 digits>` (W3C Trace Context §3.2). A later version is read by
    /// what version 00 knows of it.
    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        let hex = |range, length: usize| {
            let digits: &str = text.get(range)?;
            let valid = digits.len() == length
                && digits
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            valid.then(|| u128::from_str_radix(digits, 16).ok())?
        };
        let read = || {
            let version = hex(0..2, 2).filter(|version| *version != 0xff)?;
            let dashes = [2, 35, 52].map(|at| text.as_bytes().get(at) == Some(&b'-'));
            let ended = match text.as_bytes().get(55) {
                None => true,
                Some(next) => version > 0 && *next == b'-',
            };
            if dashes != [true; 3] || !ended {
                return None;
            }
            Some(Self {
                trace: hex(3..35, 32).filter(|trace| *trace != 0)?,
                parent: u64::try_from(hex(36..52, 16)?).ok().filter(|id| *id != 0)?,
                flags: u8::try_from(hex(53..55, 2)?).ok()?,
            })
        };
        read().ok_or(NotATraceParent)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace,
            parent,
            flags,
        } = self;
        write!(f, "00-{trace:032x}-{parent:016x}-{flags:02x}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SPECIFIED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_specification_shows_is_read_and_written_again() {
        let read: TraceParent = SPECIFIED.parse().unwrap();
        assert_eq!(read.flags, 1);
        assert_eq!(read.to_string(), SPECIFIED);
        let later = format!("{}-what-comes-later", SPECIFIED.replacen("00", "01", 1));
        assert_eq!(later.parse::<TraceParent>(), Ok(read));
    }

    #[test]
    fn what_is_not_one_is_told() {
        for wrong in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-000f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0é4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(
                wrong.parse::<TraceParent>(),
                Err(NotATraceParent),
                "{wrong:?}"
            );
        }
    }
}
