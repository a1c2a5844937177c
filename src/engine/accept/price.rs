//! For how much: what its parts cost its tenant. What there is of credit and quotas is asked when it is
//! stored, for only then it is certain.

use super::{Asking, FieldError, Refusal};
use crate::domain::chain::Way;
use crate::domain::policy::Operator;
use crate::domain::tenant::{Quotas, Unit};
use crate::domain::terms::{Charge, Terms};
use crate::engine::credit::daily_spend;
use crate::pdu::segment::Plan;

/// Notes what it costs, where its tenant has a credit or a quota, or its key has one.
pub(super) fn check(
    operator: &Operator,
    plan: &Plan,
    asking: &Asking<'_>,
    terms: &mut Terms,
    errors: &mut Vec<FieldError>,
) {
    let settings = asking.settings;
    let key = asking.by.key.as_ref();
    let key = key.filter(|key| key.terms.quotas != Quotas::default());
    let credit = settings.credit.as_ref();
    if credit.is_none() && key.is_none() && settings.quotas == Quotas::default() {
        return;
    }
    // The caller's own app and e-mail cost nothing.
    if let Some(chain) = &terms.chain
        && !chain.steps.iter().any(|step| matches!(step.way, Way::Sms))
    {
        return;
    }
    let price = credit.and_then(|credit| credit.price_of(operator.name.as_str()));
    let in_euros = credit.is_some_and(|credit| credit.unit == Unit::Eur);
    let spend = || daily_spend(asking.policy, &asking.by.tenant, settings);
    if price.is_none() && (in_euros || spend().is_some()) {
        let error = FieldError::new(
            "",
            "price_missing",
            format!(
                "the credit of this tenant has no price for operator {}; an administrator can set one",
                operator.name
            ),
        );
        errors.push(error.as_refusal(Refusal::Forbidden));
        return;
    }
    let parts = u32::try_from(plan.count()).unwrap_or(u32::MAX);
    terms.charge = Some(Charge {
        micros: price.unwrap_or(0).saturating_mul(i64::from(parts)),
        parts,
        key: key.map(|key| key.prefix.clone()),
        // When it is stored: what there is then decides.
        unit: credit.map(|credit| credit.unit),
        day: 0,
        given_back: false,
    });
}
