//! `[guard]`: limits against abuse, for every tenant whose settings say nothing else.

use super::raw::{Reader, Section};
use crate::domain::guard::GuardRules;
use crate::domain::msisdn::destination::is_country;
use crate::domain::sender::lint::skeleton;

/// Largest limit.
const MOST: u32 = 1_000_000;

pub(super) fn read<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> GuardRules {
    let mut section = reader.table(root, "guard");
    let mut rules = GuardRules::default();
    let countries = reader.list(&mut section, "countries", |v| {
        let code = v.text()?;
        let known = is_country(&code).then(|| code.clone());
        known.ok_or_else(|| {
            format!("{code:?} is no country code of two capitals, like \"FR\", and not \"*\"")
        })
    });
    if let Some(countries) = countries {
        if countries.value.is_empty() {
            let problem = "name at least one country, or leave the key out for the default country";
            reader.error(countries.line, &countries.path, problem);
        }
        let codes = countries.value.into_iter().map(|code| code.value);
        rules.countries = Some(codes.collect());
    }
    let limits = &mut rules.limits;
    for (key, limit) in [
        ("recipient_hourly", &mut limits.recipient_hourly),
        ("recipient_daily", &mut limits.recipient_daily),
        ("prefix_burst", &mut limits.prefix_burst),
        ("consecutive", &mut limits.consecutive),
    ] {
        let least = |most| match (key, most) {
            ("consecutive", 1) => {
                Err("one number alone is no run; write 0 for no limit".to_owned())
            }
            _ => Ok(most),
        };
        let given = reader.take(&mut section, key, |v| least(v.integer(0..=MOST)?));
        if let Some(given) = given {
            *limit = given.value;
        }
    }
    let spend = reader.take(&mut section, "daily_spend", |v| {
        let text = v.text()?;
        let euros = crate::domain::tenant::is_amount(&text).then(|| text.clone());
        euros.ok_or_else(|| format!("{text:?} is no amount of euros; write it like \"50\""))
    });
    rules.daily_spend = spend.map(|spend| spend.value);
    let word = |text: String| {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric());
        let good = plain && (1..=11).contains(&text.len());
        let word = good.then(|| text.to_ascii_lowercase());
        word.ok_or_else(|| format!("{text:?} is no word of 1 to 11 letters and digits"))
    };
    let words = reader.list(&mut section, "generic_senders", |v| word(v.text()?));
    if let Some(words) = words {
        rules.generic_senders = words.value.into_iter().map(|word| word.value).collect();
    }
    let names = reader.list(&mut section, "reserved_senders", |v| word(v.text()?));
    if let Some(names) = names {
        let names = names.value.into_iter();
        rules.reserved_senders = names.map(|name| skeleton(&name.value)).collect();
    }
    reader.close(section);
    rules
}
