//! To whom: the number, and whether this tenant may write to it.

use super::{Asking, Draft, FieldError};
use crate::domain::msisdn::{self, Msisdn};

/// The recipient.
pub(super) fn check(
    draft: &Draft,
    asking: &Asking<'_>,
    errors: &mut Vec<FieldError>,
) -> Option<Msisdn> {
    msisdn::parse(&draft.to, &asking.policy.default_country)
        .map_err(|error| errors.push(FieldError::new("/to", error.code(), error.to_string())))
        .ok()
}
