//! The steps of a message's way, as a caller writes them.

use serde_json::Value;

use super::{Wrong, wrong_type};
use crate::domain::chain::Step;

/// Reads the list of steps.
pub(super) fn steps(value: Value) -> Result<Vec<Step>, Wrong> {
    match value {
        Value::Array(_) => Err((
            "not_supported_yet",
            "fallback is not supported by this version; leave it out".into(),
        )),
        other => Err(wrong_type("a list", &other)),
    }
}
