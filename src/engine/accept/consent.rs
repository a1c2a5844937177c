//! Whether the recipient wants it: the consent that marketing needs.
//!
//! Opt-outs are not asked here: the store fails a message to who has opted out in the commit that accepts
//! it, so that the caller has a record of it.

use super::{Asking, Draft, FieldError, Refusal};
use crate::domain::consent::{self, MARKETING};
use crate::domain::message::Class;
use crate::domain::msisdn::Msisdn;
use crate::domain::tenant::Consent;
use crate::domain::terms::Terms;

/// Refuses marketing that its recipient has not agreed to. What passes keeps its purpose: the consent is
/// asked for again when it is stored and whenever it is its turn.
pub(super) fn check(
    draft: &Draft,
    to: Msisdn,
    asking: &Asking<'_>,
    terms: &mut Terms,
    errors: &mut Vec<FieldError>,
) {
    if draft.class() != Class::Commercial || asking.settings.consent == Consent::Caller {
        return;
    }
    // A sandbox takes everything.
    if asking.settings.sandbox.is_some() {
        return;
    }
    // What can never leave needs no consent.
    if errors
        .iter()
        .any(|error| error.code == "commercial_on_modem")
    {
        return;
    }
    let purpose = draft.purpose.as_deref().unwrap_or(MARKETING);
    let purpose = match consent::purpose(purpose) {
        Ok(purpose) => purpose,
        Err(error) => {
            let error = FieldError::new("/purpose", "purpose_invalid", error.to_string());
            errors.push(error);
            return;
        }
    };
    let store = &asking.engine.store;
    if store.has_consent(&asking.by.tenant, to, &purpose) {
        terms.purpose = Some(purpose);
        return;
    }
    let error = FieldError::new(
        "/to",
        "consent_missing",
        format!(
            "this number has not agreed to {purpose:?}, and marketing needs the consent of its recipient \
             (CPCE art. L34-5): write it down with PUT /v1/consents/{{number}}, or set consent = \"caller\" for \
             the tenant if its application keeps consents itself"
        ),
    );
    errors.push(error.as_refusal(Refusal::Forbidden));
}
