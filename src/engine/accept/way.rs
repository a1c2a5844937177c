//! Over which channels: the steps of its way.

use super::{Asking, Draft, FieldError};
use crate::domain::terms::Terms;

/// Makes a way of the steps that the caller has given.
pub(super) fn check(
    _draft: &mut Draft,
    _asking: &Asking<'_>,
    _terms: &mut Terms,
    _errors: &mut Vec<FieldError>,
) {
}
