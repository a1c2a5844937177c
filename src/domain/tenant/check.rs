//! What is wrong with settings, before they are stored: each mistake with its place.

use super::{Credit, Settings, Signature, Unit};
use crate::domain::guard::GuardRules;
use crate::domain::money;
use crate::domain::msisdn;
use crate::domain::msisdn::destination::is_country;
use crate::domain::policy::Policy;
use crate::domain::sender::Sender;
use crate::domain::sender::lint::{Fault, fault, suggestion};

/// Longest text of a signature, and of what stands between it and the text, in characters.
const SIGNATURE_MAX: usize = 160;
const SEPARATOR_MAX: usize = 10;
/// Entries of a list at most.
const LIST_MAX: usize = 300;
/// Largest length that a text can be limited to, in characters.
const LENGTH_MAX: u32 = 4000;
/// Largest number of parts that a text can be limited to (3GPP TS 23.040 §9.2.3.24.1).
const PARTS_MAX: u32 = 255;
/// Longest that texts can be kept, in seconds: ten years.
const KEEP_MAX: u64 = 3660 * 86_400;
/// Longest subject of an e-mail, in characters (RFC 5322 §2.1.1, less its name).
const SUBJECT_MAX: usize = 200;
/// Largest limit of the guard.
const GUARD_MAX: u32 = 1_000_000;

/// What is wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// JSON pointer into the settings (RFC 6901).
    pub pointer: String,
    /// Stable code.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub detail: String,
}

/// Reads `7d`, `12h`, `30m`, `90s` or `0` as seconds.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "0" {
        return Some(0);
    }
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit);
    let of_unit = match unit {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(of_unit)
}

impl Settings {
    /// Everything that is wrong with these settings under a policy.
    #[must_use]
    pub fn mistakes(&self, policy: &Policy) -> Vec<Mistake> {
        let mut found = Mistakes::default();
        found.senders(self, &policy.guard);
        if let Some(signature) = &self.signature {
            found.signature(signature);
        }
        found.destinations(self, policy);
        found.lengths(self);
        if let Some(kept) = &self.keep_texts
            && seconds(kept).is_none_or(|kept| kept > KEEP_MAX)
        {
            let detail = "write how long texts are kept, such as \"7d\", \"12h\" or \"0\"";
            found.add("/keep_texts", "duration_invalid", detail);
        }
        let hours = &self.hours;
        for (pointer, name) in [
            ("/hours/transactional", &hours.transactional),
            ("/hours/commercial", &hours.commercial),
        ] {
            found.hours(pointer, name, policy);
        }
        if let Some(region) = &self.region
            && !is_region(region)
        {
            let detail = "write an ISO 3166-2 code, such as \"FR-57\"";
            found.add("/region", "region_invalid", detail);
        }
        if let Some(credit) = &self.credit {
            found.credit(credit);
        }
        found.guard(self);
        if let Some(subject) = &self.email_subject
            && (!is_label(subject) || subject.chars().count() > SUBJECT_MAX)
        {
            let detail = format!("use 1 to {SUBJECT_MAX} characters and no control characters");
            found.add("/email_subject", "label_invalid", detail);
        }
        found.0
    }
}

/// What is wrong with the name of sending hours, if anything is.
#[must_use]
pub fn hours_mistake(name: &str, policy: &Policy) -> Option<String> {
    if policy.hours.get(name).is_some() {
        return None;
    }
    let known: Vec<_> = policy.hours.names().collect();
    Some(format!(
        "there are no sending hours of this name; there are {}",
        known.join(", ")
    ))
}

#[derive(Default)]
struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.0.push(Mistake {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        });
    }

    fn senders(&mut self, settings: &Settings, rules: &GuardRules) {
        self.list("/senders", settings.senders.len());
        let listed = settings.senders.iter().enumerate();
        for (index, name) in listed {
            if let Err(error) = Sender::parse(name) {
                self.add(format!("/senders/{index}"), error.code(), error.to_string());
            }
        }
        let Some(name) = &settings.sender else {
            return;
        };
        match Sender::parse(name) {
            Err(error) => self.add("/sender", error.code(), error.to_string()),
            Ok(sender) => {
                let same = |listed: &String| listed.eq_ignore_ascii_case(name);
                match fault(&sender, rules) {
                    Some(Fault::Reserved) if settings.senders.iter().any(same) => {}
                    Some(Fault::Reserved) => {
                        let fault = Fault::Reserved;
                        self.add("/sender", fault.code(), fault.to_string());
                    }
                    Some(fault) if settings.sender_rules == super::Severity::Error => {
                        let would_do = suggestion(name);
                        let would_do = would_do.map(|other| format!("; {other} would do"));
                        let detail = format!("{fault}{}", would_do.unwrap_or_default());
                        self.add("/sender", fault.code(), detail);
                    }
                    Some(_) | None => {}
                }
            }
        }
    }

    fn signature(&mut self, signature: &Signature) {
        let good = |text: &str, most: usize| {
            let control = |c: char| c.is_control() && c != '\n';
            text.chars().count() <= most && !text.chars().any(control)
        };
        if signature.text.trim().is_empty() || !good(&signature.text, SIGNATURE_MAX) {
            let detail = format!("use 1 to {SIGNATURE_MAX} characters; null for no signature");
            self.add("/signature/text", "signature_invalid", detail);
        }
        if !good(&signature.separator, SEPARATOR_MAX) {
            let detail = format!("use at most {SEPARATOR_MAX} characters, such as a line break");
            self.add("/signature/separator", "signature_invalid", detail);
        }
    }

    fn destinations(&mut self, settings: &Settings, policy: &Policy) {
        self.list("/numbers", settings.numbers.len());
        for (index, kind) in settings.numbers.iter().enumerate() {
            let (country, kind) = kind.split_once(' ').unwrap_or((kind, "mobile"));
            if !is_country(country) || kind != "mobile" {
                let detail =
                    "write a country, such as \"FR\", or its mobile numbers, \"FR mobile\"";
                self.add(format!("/numbers/{index}"), "number_kind_unknown", detail);
            }
        }
        if let Some(countries) = &settings.countries {
            self.list("/countries", countries.len());
            if countries.is_empty() {
                let detail = "name at least one country; null for the installation's own";
                self.add("/countries", "out_of_range", detail);
            }
            for (index, country) in countries.iter().enumerate() {
                if !is_country(country) {
                    let detail = "write an ISO 3166 code of two capitals, such as \"FR\", or \"*\"";
                    self.add(format!("/countries/{index}"), "country_unknown", detail);
                }
            }
        }
        if let Some(sandbox) = &settings.sandbox
            && let Err(error) = msisdn::parse(sandbox, &policy.default_country)
        {
            self.add("/sandbox", error.code(), error.to_string());
        }
    }

    fn lengths(&mut self, settings: &Settings) {
        if let Some(length) = settings.max_length {
            if !(1..=LENGTH_MAX).contains(&length) {
                let detail = format!("it is between 1 and {LENGTH_MAX} characters");
                self.add("/max_length", "out_of_range", detail);
            } else if settings.signature_length() >= usize::try_from(length).unwrap_or(usize::MAX) {
                let detail = "the signature leaves no room for a text; allow more characters";
                self.add("/max_length", "signature_too_long", detail);
            }
        }
        let parts = settings.max_parts;
        if parts.is_some_and(|parts| !(1..=PARTS_MAX).contains(&parts)) {
            let detail = format!("it is between 1 and {PARTS_MAX} parts");
            self.add("/max_parts", "out_of_range", detail);
        }
    }

    fn hours(&mut self, pointer: &str, name: &str, policy: &Policy) {
        if let Some(mistake) = hours_mistake(name, policy) {
            self.add(pointer, "hours_unknown", mistake);
        }
    }

    fn credit(&mut self, credit: &Credit) {
        let amount = "write an amount with at most six decimal places, such as \"0.2177\"";
        if credit.unit == Unit::Eur && credit.price.is_none() {
            let detail = "a credit in euros needs the price of a part";
            self.add("/credit/price", "price_missing", detail);
        }
        if credit
            .price
            .as_deref()
            .is_some_and(|price| !is_amount(price))
        {
            self.add("/credit/price", "amount_invalid", amount);
        }
        for (operator, price) in &credit.prices {
            if !is_amount(price) {
                let operator = operator.replace('~', "~0").replace('/', "~1");
                let shown: String = operator.chars().take(64).collect();
                self.add(format!("/credit/prices/{shown}"), "amount_invalid", amount);
            }
        }
        self.list("/credit/thresholds", credit.thresholds.len());
        for (index, threshold) in credit.thresholds.iter().enumerate() {
            if !is_amount(threshold) {
                self.add(
                    format!("/credit/thresholds/{index}"),
                    "amount_invalid",
                    amount,
                );
            }
        }
        self.list("/credit/email", credit.email.len());
        for (index, address) in credit.email.iter().enumerate() {
            if !is_address(address) {
                let detail = "write an e-mail address, such as \"compta@example.org\"";
                self.add(format!("/credit/email/{index}"), "email_invalid", detail);
            }
        }
    }

    fn guard(&mut self, settings: &Settings) {
        let guard = &settings.guard;
        for (pointer, limit) in [
            ("/guard/recipient_hourly", guard.recipient_hourly),
            ("/guard/recipient_daily", guard.recipient_daily),
            ("/guard/prefix_burst", guard.prefix_burst),
            ("/guard/consecutive", guard.consecutive),
        ] {
            if limit.is_some_and(|limit| limit > GUARD_MAX) {
                let detail = format!("it is at most {GUARD_MAX}; 0 is no limit");
                self.add(pointer, "out_of_range", detail);
            }
        }
        if guard.consecutive == Some(1) {
            let detail = "one number alone is no run; write at least 2, or 0 for no limit";
            self.add("/guard/consecutive", "out_of_range", detail);
        }
        if guard
            .daily_spend
            .as_deref()
            .is_some_and(|spend| !is_amount(spend))
        {
            let detail = "write euros, such as \"50\"";
            self.add("/guard/daily_spend", "amount_invalid", detail);
        }
    }

    fn list(&mut self, pointer: &str, length: usize) {
        if length > LIST_MAX {
            self.add(pointer, "out_of_range", format!("name at most {LIST_MAX}"));
        }
    }
}

/// `FR-57`: a country and up to three letters or digits (ISO 3166-2).
fn is_region(code: &str) -> bool {
    code.split_once('-').is_some_and(|(country, part)| {
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        country != "*"
            && is_country(country)
            && (1..=3).contains(&part.len())
            && part.bytes().all(plain)
    })
}

/// True for an amount that is not negative.
#[must_use]
pub fn is_amount(text: &str) -> bool {
    money::parse(text).is_some_and(|micros| micros >= 0)
}

fn is_label(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// Enough to catch a slip; the mail server has the last word.
fn is_address(text: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>,;\"".contains(c);
    text.len() <= 254
        && text.chars().all(plain)
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && domain.contains('.') && !domain.contains('@')
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::policy::{Limits, Operator};
    use serde_json::{Value, json};

    fn mistakes(settings: Value) -> Vec<(String, &'static str)> {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let default = Operator::named("default", Vec::new());
        let policy = Policy::new(default, Vec::new(), "FR", Limits::default());
        let found = settings.mistakes(&policy).into_iter();
        found.map(|it| (it.pointer, it.code)).collect()
    }

    #[test]
    fn the_settings_of_a_shop_and_those_of_nobody_are_good() {
        assert_eq!(mistakes(json!({})), []);
        let shop = json!({
            "sender": "CCASLYON", "senders": ["CCASLYON", "36111", "AMELI"], "sender_rules": "error",
            "signature": {"text": "0325828500", "position": "head"}, "numbers": ["FR mobile", "BE"],
            "countries": ["FR", "BE"], "max_length": 155, "max_parts": 1, "overflow": "truncate",
            "encoding": "gsm", "class": "commercial", "sandbox": "06 12 34 56 78", "keep_texts": "7d",
            "hours": {"transactional": "office"}, "region": "FR-57", "consent": "caller",
            "quotas": {"daily_parts": 100}, "language": "en", "email_subject": "Rappel",
            "credit": {"price": "0.2177", "prices": {"orange": "0.05"}, "thresholds": ["5", "1.5"],
                       "email": ["compta@example.org"]},
            "guard": {"recipient_hourly": 0, "consecutive": 25, "daily_spend": "50"},
        });
        assert_eq!(mistakes(shop), []);
    }

    #[test]
    fn every_mistake_has_its_place_and_code() {
        for (settings, pointer, code) in [
            (
                json!({"sender": "TWELVECHARS!"}),
                "/sender",
                "sender_too_long",
            ),
            (json!({"sender": "AMELI"}), "/sender", "sender_reserved"),
            (
                json!({"sender": "CCAS LYON", "sender_rules": "error"}),
                "/sender",
                "sender_form",
            ),
            (json!({"senders": ["A", ""]}), "/senders/1", "sender_empty"),
            (
                json!({"signature": {"text": " "}}),
                "/signature/text",
                "signature_invalid",
            ),
            (
                json!({"signature": {"text": "x", "separator": "12345678901"}}),
                "/signature/separator",
                "signature_invalid",
            ),
            (
                json!({"numbers": ["FR", "FR fixed"]}),
                "/numbers/1",
                "number_kind_unknown",
            ),
            (json!({"countries": []}), "/countries", "out_of_range"),
            (
                json!({"countries": ["FR", "fr"]}),
                "/countries/1",
                "country_unknown",
            ),
            (json!({"sandbox": "0123456789"}), "/sandbox", "not_mobile"),
            (json!({"sandbox": "12"}), "/sandbox", "number_invalid"),
            (json!({"max_length": 0}), "/max_length", "out_of_range"),
            (
                json!({"max_length": 11, "signature": {"text": "0325828500"}}),
                "/max_length",
                "signature_too_long",
            ),
            (json!({"max_parts": 256}), "/max_parts", "out_of_range"),
            (
                json!({"keep_texts": "soon"}),
                "/keep_texts",
                "duration_invalid",
            ),
            (
                json!({"keep_texts": "99999d"}),
                "/keep_texts",
                "duration_invalid",
            ),
            (
                json!({"hours": {"commercial": "nights"}}),
                "/hours/commercial",
                "hours_unknown",
            ),
            (json!({"region": "57"}), "/region", "region_invalid"),
            (json!({"credit": {}}), "/credit/price", "price_missing"),
            (
                json!({"credit": {"price": "-1"}}),
                "/credit/price",
                "amount_invalid",
            ),
            (
                json!({"credit": {"unit": "parts", "prices": {"a/b": "1,5"}}}),
                "/credit/prices/a~1b",
                "amount_invalid",
            ),
            (
                json!({"credit": {"unit": "parts", "thresholds": ["1", "x"]}}),
                "/credit/thresholds/1",
                "amount_invalid",
            ),
            (
                json!({"credit": {"unit": "parts", "email": ["a@b"]}}),
                "/credit/email/0",
                "email_invalid",
            ),
            (
                json!({"guard": {"consecutive": 1}}),
                "/guard/consecutive",
                "out_of_range",
            ),
            (
                json!({"guard": {"daily_spend": "much"}}),
                "/guard/daily_spend",
                "amount_invalid",
            ),
            (
                json!({"email_subject": "a\r\nBcc: b"}),
                "/email_subject",
                "label_invalid",
            ),
        ] {
            let found = mistakes(settings.clone());
            assert_eq!(found, [(pointer.to_owned(), code)], "{settings}");
        }
    }

    #[test]
    fn texts_can_be_kept_for_no_time_at_all() {
        for (text, kept) in [
            ("0", Some(0)),
            ("0d", Some(0)),
            ("7d", Some(604_800)),
            ("12h", Some(43_200)),
            ("90s", Some(90)),
            ("", None),
            ("7", None),
            ("d", None),
            ("-1d", None),
            ("1w", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(seconds(text), kept, "{text}");
        }
    }
}
