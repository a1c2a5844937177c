//! From whom: the sender that is shown, and whether this tenant may show it.

use super::{Advice, Asking, Draft, FieldError};
use crate::domain::sender::Sender;

/// The sender; `None`: the account's own.
pub(super) fn check(
    draft: &Draft,
    asking: &Asking<'_>,
    errors: &mut Vec<FieldError>,
    _advice: &mut Vec<Advice>,
) -> Option<Sender> {
    let given = draft
        .from
        .as_deref()
        .or(asking.settings.sender.as_deref())?;
    Sender::parse(given)
        .map_err(|error| errors.push(FieldError::new("/from", error.code(), error.to_string())))
        .ok()
}
