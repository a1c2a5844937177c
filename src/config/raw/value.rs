//! One value of the file, and what it can be understood as: each kind says what it is not.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono_tz::Tz;
use toml::de::DeValue;

use super::Environment;
use crate::config::duration;
use crate::domain::id::Tenant;
use crate::domain::rate::Rate;

/// One value about to be understood.
pub(in crate::config) struct Value<'v, 'i> {
    pub(super) value: &'v DeValue<'i>,
    pub(super) environment: Environment<'v>,
}

impl Value<'_, '_> {
    /// A text; `"${NAME}"` is replaced by the environment variable.
    pub(in crate::config) fn text(&self) -> Result<String, String> {
        let DeValue::String(text) = self.value else {
            return Err(format!("a text is expected, not {}", a_type(self.value)));
        };
        let name = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'));
        match name {
            Some(name) => (self.environment)(name)
                .ok_or_else(|| format!("the environment variable {name} is not set")),
            None => Ok(text.clone().into_owned()),
        }
    }

    /// A whole number within a range.
    pub(in crate::config) fn integer<N: TryFrom<i64> + Copy + Into<i64>>(
        &self,
        range: RangeInclusive<N>,
    ) -> Result<N, String> {
        let DeValue::Integer(integer) = self.value else {
            return Err(format!(
                "a whole number is expected, not {}",
                a_type(self.value)
            ));
        };
        let (least, most) = ((*range.start()).into(), (*range.end()).into());
        i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| (least..=most).contains(number))
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| format!("{} is outside {least} to {most}", integer.as_str()))
    }

    /// A pace: parts per second as a whole number, or a text such as `6/min`.
    pub(in crate::config) fn rate(&self) -> Result<Rate, String> {
        if matches!(self.value, DeValue::Integer(_)) {
            return self.integer(0..=Rate::MOST).map(Rate::per_second);
        }
        let text = self.text()?;
        Rate::parse(&text).ok_or_else(|| {
            format!("{text:?} is no rate; write it like 100, \"100/s\", \"6/min\" or \"300/h\"")
        })
    }

    /// True or false.
    pub(in crate::config) fn boolean(&self) -> Result<bool, String> {
        self.value
            .as_bool()
            .ok_or_else(|| format!("true or false is expected, not {}", a_type(self.value)))
    }

    /// A duration within a range.
    pub(in crate::config) fn duration(
        &self,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, String> {
        let text = self.duration_text()?;
        let duration = duration::parse(&text).ok_or_else(|| {
            format!("{text:?} is no duration; write it like \"48h\", \"1m30s\" or \"250ms\"")
        })?;
        in_range(duration, &range)
    }

    /// A duration, or two with `..` between them, the first not longer than the second.
    pub(in crate::config) fn duration_range(
        &self,
        range: RangeInclusive<Duration>,
    ) -> Result<(Duration, Duration), String> {
        let text = self.duration_text()?;
        let (least, most) = duration::parse_range(&text).ok_or_else(|| {
            format!("{text:?} is no range of durations; write it like \"1s..30s\"")
        })?;
        if least > most {
            return Err(format!("{text:?} begins with the longer one"));
        }
        Ok((in_range(least, &range)?, in_range(most, &range)?))
    }

    fn duration_text(&self) -> Result<String, String> {
        if let DeValue::Integer(number) = self.value {
            return Err(format!(
                "{} has no unit; write it like \"{}s\"",
                number.as_str(),
                number.as_str()
            ));
        }
        self.text()
    }

    /// A time zone by its name.
    pub(in crate::config) fn timezone(&self) -> Result<Tz, String> {
        let name = self.text()?;
        name.parse().map_err(|_| {
            format!("{name:?} is no time zone of the tz database, like \"Europe/Paris\"")
        })
    }

    /// The name of a tenant.
    pub(in crate::config) fn tenant(&self) -> Result<Tenant, String> {
        let name = self.text()?;
        Tenant::named(&name).ok_or_else(|| format!("{name:?} is no tenant: {}", Tenant::RULE))
    }

    /// One of a few words.
    pub(in crate::config) fn word<T: Clone>(&self, words: &[(&str, T)]) -> Result<T, String> {
        let text = self.text()?;
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Ok(meaning.clone()),
            None => {
                let known: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                Err(format!("{text:?} is not one of {}", known.join(", ")))
            }
        }
    }
}

fn in_range(duration: Duration, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    if range.contains(&duration) {
        return Ok(duration);
    }
    Err(format!(
        "{} is outside {} to {}",
        duration::write(duration),
        duration::write(*range.start()),
        duration::write(*range.end())
    ))
}

pub(super) fn a_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
