//! For how much: what its parts cost its tenant.

use super::Asking;
use crate::domain::policy::Operator;
use crate::domain::terms::Terms;
use crate::pdu::segment::Plan;

/// Notes what it costs.
pub(super) fn check(_operator: &Operator, _plan: &Plan, _asking: &Asking<'_>, _terms: &mut Terms) {}
