//! What tenants pay with: by what a submission is paid, and what is told of a credit that runs low.

use serde::Serialize;
use utoipa::ToSchema;

use super::Engine;
use super::view::Rfc3339;
use crate::domain::credit::{CreditLow, Day, Due, Means, Unpaid};
use crate::domain::id::Tenant;
use crate::domain::money;
use crate::domain::policy::Policy;
use crate::domain::status::Language;
use crate::domain::tenant::{Quotas, Settings, Unit};
use crate::domain::terms::Charge;
use crate::domain::time::Timestamp;
use crate::store::{ApiKey, StoreError};

/// What a message costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Cost)]
pub struct CostView {
    /// In euros, exact; null where no price is known.
    #[schema(required, example = "0.2177")]
    amount: Option<String>,
    /// Of the amount.
    #[schema(required, example = "EUR")]
    currency: Option<&'static str>,
    /// Parts that are paid for.
    parts: u64,
    /// True once it was given back, because nothing has left.
    given_back: bool,
}

impl CostView {
    /// What a message took of its tenant's credit; `None` if it has none.
    #[must_use]
    pub fn of(charge: &Charge) -> Option<Self> {
        charge.unit?;
        Some(Self {
            given_back: charge.given_back,
            ..Self::of_all(Due::of([charge]), charge.micros > 0)
        })
    }

    /// What all of this costs together.
    #[must_use]
    pub fn of_all(due: Due, priced: bool) -> Self {
        Self {
            amount: priced.then(|| money::format(due.micros)),
            currency: priced.then_some("EUR"),
            parts: due.parts,
            given_back: false,
        }
    }
}

/// A credit that runs low, as the webhook `credit.low` tells it.
#[derive(Debug, Serialize)]
pub(super) struct CreditLowView<'a> {
    tenant: &'a str,
    unit: Unit,
    threshold: String,
    balance: String,
    at: Rfc3339,
}

impl<'a> From<&'a CreditLow> for CreditLowView<'a> {
    fn from(low: &'a CreditLow) -> Self {
        Self {
            tenant: low.tenant.as_str(),
            unit: low.unit,
            threshold: low.unit.format(low.threshold),
            balance: low.unit.format(low.balance),
            at: Rfc3339(low.at),
        }
    }
}

/// Subject and body of the e-mail that tells of a credit that runs low.
#[must_use]
pub fn low_mail(low: &CreditLow, language: Language) -> (String, String) {
    let CreditLow {
        tenant,
        unit,
        threshold,
        balance,
        ..
    } = low;
    let amount = |amount: i64| match (unit, language) {
        (Unit::Eur, Language::Fr) => format!("{} €", money::format(amount).replace('.', ",")),
        (Unit::Eur, Language::En) => format!("{} EUR", money::format(amount)),
        (Unit::Parts, _) => format!("{amount} SMS"),
    };
    let (balance, threshold) = (amount(*balance), amount(*threshold));
    match language {
        Language::Fr => (
            format!("Crédit SMS bas : {balance} ({tenant})"),
            format!(
                "Le crédit SMS de {tenant} est descendu à {balance} (seuil : {threshold}).\n\
                 À zéro, les nouveaux messages seront refusés (insufficient_credit). Ce rappel ne sera \
                 pas répété avant que du crédit soit ajouté.\n"
            ),
        ),
        Language::En => (
            format!("SMS credit is low: {balance} ({tenant})"),
            format!(
                "The SMS credit of {tenant} is down to {balance} (threshold: {threshold}).\n\
                 At zero, new messages are refused (insufficient_credit). This is not told again \
                 before credit is added.\n"
            ),
        ),
    }
}

impl Engine {
    /// By what messages of a tenant are paid that are sent with this key, and how much there may be.
    #[must_use]
    pub fn means(&self, tenant: &Tenant, key: Option<&ApiKey>, now: Timestamp) -> Means {
        let settings = self.settings(tenant);
        let credit = settings.credit.as_ref();
        let zone = self.rules().operators[0].timezone;
        let key = key.filter(|key| key.terms.quotas != Quotas::default());
        Means {
            unit: credit.map(|credit| credit.unit),
            thresholds: credit.map_or_else(Vec::new, |credit| {
                let all = credit.thresholds.iter();
                all.filter_map(|text| credit.amount(text)).collect()
            }),
            email: credit.map_or_else(Vec::new, |credit| credit.email.clone()),
            quotas: settings.quotas,
            daily_micros: daily_spend(&self.rules(), tenant, &settings),
            key: key.map(|key| (key.prefix.clone(), key.terms.quotas)),
            day: Day::at(now, zone),
        }
    }

    /// Says why this could not be paid if it were sent now, if so. What is sent meanwhile counts too: it
    /// is decided when it is stored.
    ///
    /// # Errors
    /// The store's.
    pub async fn would_pay(
        &self,
        tenant: &Tenant,
        key: Option<&ApiKey>,
        due: Due,
    ) -> Result<Option<Unpaid>, StoreError> {
        if due.messages == 0 {
            return Ok(None);
        }
        let means = self.means(tenant, key, self.clock.now());
        let used = match &means.key {
            Some((key, _)) => Some(self.store.used_by_key(tenant, key).await?),
            None => None,
        };
        let purse = self.store.purse(tenant);
        Ok(purse.affords(due, &means, used.as_ref()).err())
    }
}

/// Millionths of a euro that a tenant may spend in a day; `None`: any amount, or no price is known by
/// which it could be told.
pub(super) fn daily_spend(rules: &Policy, tenant: &Tenant, settings: &Settings) -> Option<i64> {
    let most = rules.guard.daily_spend_of(tenant, &settings.guard)?;
    let priced = settings.credit.as_ref()?;
    if priced.price.is_none() && priced.prices.is_empty() {
        return None;
    }
    // 0 is no limit, as with the others against abuse.
    money::parse(most).filter(|most| *most > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mail_says_what_is_left_in_the_language_of_the_tenant() {
        let low = CreditLow {
            tenant: "optique".into(),
            line: 3,
            unit: Unit::Eur,
            threshold: 5_000_000,
            balance: 4_790_000,
            at: Timestamp(0),
        };
        let (subject, body) = low_mail(&low, Language::Fr);
        assert_eq!(subject, "Crédit SMS bas : 4,79 € (optique)");
        assert!(body.contains("seuil : 5,00 €"), "{body}");
        let (subject, _) = low_mail(&low, Language::En);
        assert_eq!(subject, "SMS credit is low: 4.79 EUR (optique)");
        let parts = CreditLow {
            unit: Unit::Parts,
            balance: 12,
            ..low
        };
        assert!(low_mail(&parts, Language::Fr).0.contains("12 SMS"));
    }
}
