//! Limits against abuse of the gateway: whom may be written to how often, and under which name.
//!
//! A stolen key, or a program that runs wild, pumps messages to numbers that somebody earns from: abroad,
//! to consecutive numbers, many times to one. The configuration's `[guard]` holds for every tenant; each
//! may have its own limits in its settings.

use super::id::Tenant;
use super::sender::lint::skeleton;
use super::tenant::{Guard, Settings};

/// The rules of `[guard]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardRules {
    /// ISO 3166 codes of the countries that may be written to where a tenant's settings name none, `*` for
    /// all; `None`: the default country.
    pub countries: Option<Vec<String>>,
    /// How much may be sent to whom.
    pub limits: GuardLimits,
    /// Most that may be spent in a day, in euros, as a decimal number; `None`: any.
    pub daily_spend: Option<String>,
    /// Words that say nothing of who sends, lower case: operators refuse them as senders.
    pub generic_senders: Vec<String>,
    /// Names that others are known by, as [`skeleton`]s: nobody may use one, or what looks like it, whose
    /// tenant's `senders` do not have it.
    pub reserved_senders: Vec<String>,
}

/// How much may be sent to whom; 0 is any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardLimits {
    /// Messages to one recipient in an hour.
    pub recipient_hourly: u32,
    /// Messages to one recipient in a day.
    pub recipient_daily: u32,
    /// Messages to the numbers that share their first eight digits, in ten minutes.
    pub prefix_burst: u32,
    /// Consecutive numbers in ten minutes: with so many the last one is refused.
    pub consecutive: u32,
}

impl GuardLimits {
    /// True if nothing is counted.
    #[must_use]
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for GuardRules {
    fn default() -> Self {
        let words = |words: &str| words.split_whitespace().map(str::to_owned).collect();
        let reserved = |names: &str| names.split_whitespace().map(skeleton).collect();
        Self {
            countries: None,
            limits: GuardLimits {
                recipient_hourly: 5,
                recipient_daily: 20,
                prefix_burst: 50,
                consecutive: 10,
            },
            daily_spend: None,
            generic_senders: words(
                "alert alerte alertes alerts bank banque client code colis contact delivery info \
                 information infos livraison message msg notice notif notification offre otp paiement \
                 parcel payment promo promos rappel rdv rendezvous security securite service services sms \
                 support urgent verif verify",
            ),
            reserved_senders: reserved(
                "ameli amendes antai assurmaladie banquepostal bnp bnpparibas boursobank boursorama \
                 chronopost colissimo cpam creditagric creditmutuel dgfip dhl doctolib dpd fedex \
                 gendarmerie gouv impots labanquepost laposte lcl mondialrel netflix paypal police \
                 revolut sncf socgen ups urssaf vinted whatsapp",
            ),
        }
    }
}

impl GuardRules {
    /// The limits of a tenant: its own, or those of the configuration. The installation's own tenant has
    /// those that its settings name, and no other: it is whoever has set all this up.
    #[must_use]
    pub fn limits_of(&self, tenant: &Tenant, said: &Guard) -> GuardLimits {
        let usual = if tenant.as_str() == Tenant::DEFAULT {
            GuardLimits::default()
        } else {
            self.limits
        };
        GuardLimits {
            recipient_hourly: said.recipient_hourly.unwrap_or(usual.recipient_hourly),
            recipient_daily: said.recipient_daily.unwrap_or(usual.recipient_daily),
            prefix_burst: said.prefix_burst.unwrap_or(usual.prefix_burst),
            consecutive: said.consecutive.unwrap_or(usual.consecutive),
        }
    }

    /// Most that a tenant may spend in a day, in euros, as a decimal number; `None`: any.
    #[must_use]
    pub fn daily_spend_of<'a>(&'a self, tenant: &Tenant, said: &'a Guard) -> Option<&'a str> {
        let usual = || {
            let usual = self.daily_spend.as_deref();
            usual.filter(|_| tenant.as_str() != Tenant::DEFAULT)
        };
        said.daily_spend.as_deref().or_else(usual)
    }

    /// The countries that a tenant may write to; empty: the default country.
    #[must_use]
    pub fn countries_of<'a>(&'a self, settings: &'a Settings) -> &'a [String] {
        let own = settings.countries.as_deref();
        own.or(self.countries.as_deref()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installations_own_tenant_has_the_limits_of_its_settings_alone() {
        let rules = GuardRules {
            daily_spend: Some("50".to_owned()),
            ..GuardRules::default()
        };
        let own = Guard {
            recipient_hourly: Some(2),
            consecutive: Some(0),
            daily_spend: Some("7".to_owned()),
            ..Guard::default()
        };
        let (default, shop) = (Tenant::from(Tenant::DEFAULT), Tenant::from("shop"));
        assert!(rules.limits_of(&default, &Guard::default()).are_none());
        assert_eq!(rules.limits_of(&shop, &Guard::default()), rules.limits);
        assert_eq!(rules.limits_of(&default, &own).recipient_hourly, 2);
        let limits = rules.limits_of(&shop, &own);
        assert_eq!((limits.recipient_hourly, limits.recipient_daily), (2, 20));
        assert_eq!((limits.consecutive, limits.prefix_burst), (0, 50));
        assert_eq!(rules.daily_spend_of(&default, &Guard::default()), None);
        assert_eq!(rules.daily_spend_of(&shop, &Guard::default()), Some("50"));
        assert_eq!(rules.daily_spend_of(&shop, &own), Some("7"));
    }

    #[test]
    fn every_name_of_the_lists_is_one_that_a_sender_can_have() {
        let rules = GuardRules::default();
        for name in rules.generic_senders.iter().chain(&rules.reserved_senders) {
            let plain = name.bytes().all(|b| b.is_ascii_lowercase());
            assert!(plain && (2..=12).contains(&name.len()), "{name}");
        }
        for name in &rules.reserved_senders {
            assert_eq!(*name, skeleton(name));
        }
    }
}
