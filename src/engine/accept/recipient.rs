//! To whom: the number, and whether this tenant may write to it.
//!
//! `number_invalid` and `not_mobile` say what the number is; `number_premium`, `country_not_allowed` are
//! refusals of numbers that are good.

use super::{Asking, Draft, FieldError, Refusal};
use crate::domain::msisdn::destination::{
    is_in, is_mobile, is_nowhere, is_paid_service, own_country,
};
use crate::domain::msisdn::{self, Msisdn, NumberError};

/// The recipient.
pub(super) fn check(
    draft: &Draft,
    asking: &Asking<'_>,
    errors: &mut Vec<FieldError>,
) -> Option<Msisdn> {
    let country = &asking.policy.default_country;
    let judged = match msisdn::parse(&draft.to, country) {
        Ok(to) => refusal(to, asking).map_or(Ok(to), Err),
        Err(_) if is_paid_service(&draft.to, country) => Err(premium()),
        Err(error) => Err(FieldError::new("/to", error.code(), error.to_string())),
    };
    judged.map_err(|error| errors.push(error)).ok()
}

/// The number that gets everything instead of the recipients, where a tenant has one.
pub(super) fn sandbox(asking: &Asking<'_>, errors: &mut Vec<FieldError>) -> Option<Msisdn> {
    let number = asking.settings.sandbox.as_deref()?;
    let parsed = msisdn::parse(number, &asking.policy.default_country);
    // It was good when it was written: only another default country reads it otherwise.
    let to = parsed
        .map_err(|error| {
            let detail = format!("the tenant's sandbox number cannot be used: {error}");
            errors.push(FieldError::new("", "sandbox_invalid", detail));
        })
        .ok()?;
    // Satellites and premium numbers are nobody's trial.
    if is_nowhere(to) {
        let detail = "the tenant's sandbox number is a satellite or premium number; change it";
        let error = FieldError::new("", "sandbox_invalid", detail);
        errors.push(error.as_refusal(Refusal::Forbidden));
        return None;
    }
    Some(to)
}

/// Why a tenant may not write to a good number.
fn refusal(to: Msisdn, asking: &Asking<'_>) -> Option<FieldError> {
    let (policy, settings) = (asking.policy, asking.settings);
    if is_nowhere(to) {
        return Some(premium());
    }
    let allowed = match policy.guard.countries_of(settings) {
        [] => is_in(to, own_country(&policy.default_country)),
        countries => countries.iter().any(|country| is_in(to, country)),
    };
    let kinds = settings.numbers.iter().map(|kind| parts_of(kind));
    let mut of_its_country = kinds.filter(|(country, _)| is_in(to, country)).peekable();
    let known_kind = settings.numbers.is_empty() || of_its_country.peek().is_some();
    if !allowed || !known_kind {
        return Some(
            FieldError::new(
                "/to",
                "country_not_allowed",
                "this tenant may not write to numbers of this country; an administrator can add it to \
                 the tenant's countries and numbers",
            )
            .as_refusal(Refusal::Forbidden),
        );
    }
    let good = settings.numbers.is_empty()
        || of_its_country.any(|(_, kind)| kind.is_none() || is_mobile(to));
    (!good).then(|| {
        let error = NumberError::NotMobile;
        FieldError::new("/to", error.code(), error.to_string())
    })
}

/// `FR` and `mobile` of `FR mobile`; of `FR`, any kind.
fn parts_of(kind: &str) -> (&str, Option<&str>) {
    kind.split_once(' ')
        .map_or((kind, None), |(country, kind)| (country, Some(kind)))
}

fn premium() -> FieldError {
    FieldError::new(
        "/to",
        "number_premium",
        "this is a premium, shared-cost, satellite or service number; nothing is ever sent to one",
    )
    .as_refusal(Refusal::Forbidden)
}
