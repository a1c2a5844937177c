//! When: the time that the caller wants, and what it replaces.

use std::time::Duration;

use super::{Asking, Draft, FieldError};
use crate::domain::terms::Terms;

/// Furthest that a message can be planned ahead.
const SEND_AT_MAX: Duration = Duration::from_hours(24 * 366);

/// Makes one `send_at` of what the caller has given.
pub(super) fn check(
    draft: &mut Draft,
    asking: &Asking<'_>,
    _terms: &mut Terms,
    errors: &mut Vec<FieldError>,
) {
    if draft
        .send_at
        .is_some_and(|at| at > asking.now + SEND_AT_MAX)
    {
        errors.push(FieldError::new(
            "/send_at",
            "send_at_too_far",
            "plan at most 366 days ahead",
        ));
    }
}
