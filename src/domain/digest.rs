//! Digests: several notices of one kind to one recipient become one message at the next tick. Here stands
//! what an administrator writes of one, when its ticks are, and what its messages say.
//!
//! A tick is a time on the wall clock of certain days. Where the clock skips it in spring, the tick is the
//! instant after the gap; where the clock shows it twice in autumn, the tick is the first of the two: on
//! each day there is one tick, whatever the clock does.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use chrono::{Datelike as _, NaiveDate, NaiveTime, TimeDelta, TimeZone as _};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sender::Sender;
use super::status::Language;
use super::template::Template;
use super::time::Timestamp;

/// Kinds that one digest may have.
const KINDS_MAX: usize = 20;
/// The variable of its texts.
const COUNT: &str = "count";
/// The days, Monday first.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAYS_IN_FULL: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
/// The zone that is each recipient's own.
const RECIPIENT: &str = "recipient";

/// What an administrator writes of a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// The days on which it is told: `mon` to `sun`.
    #[schema(example = json!(["tue", "thu"]))]
    pub days: Vec<String>,
    /// The time of the day at which it is told, by the wall clock of its zone.
    #[schema(example = "19:00")]
    pub at: String,
    /// `recipient`: the zone of each recipient's number; or the name of one zone for all, such as
    /// `Europe/Paris`.
    #[serde(default = "recipient")]
    pub timezone: String,
    /// What is counted, each with the text that tells of it.
    pub kinds: BTreeMap<String, Kind>,
    /// The language of its plurals; absent: the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Who its messages are from; absent: as the tenant says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Whether its messages get the tenant's signature; absent: as the tenant says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<bool>,
}

fn recipient() -> String {
    RECIPIENT.to_owned()
}

/// Something that is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DigestKind)]
pub struct Kind {
    /// The text, with `{{ count }}` and `{{ count|plural("one", "many") }}`.
    #[schema(
        example = "Bonjour, vous avez reçu {{ count }} {{ count|plural(\"nouveau courrier\", \"nouveaux courriers\") }}"
    )]
    pub text: String,
    /// The `type` of its messages; absent: the name of the kind.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// What is wrong with one member of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// Stable code.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub detail: String,
}

impl Flaw {
    fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        }
    }
}

/// When a digest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// Monday first; one at least.
    days: [bool; 7],
    at: NaiveTime,
    /// `None`: the recipient's.
    zone: Option<Tz>,
}

/// What names of digests and kinds are made of.
pub const NAME_RULE: &str = "use 1 to 64 letters, digits, '.', '_' and '-'";

/// True if digests and kinds may be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let sign = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
    (1..=64).contains(&name.len()) && name.bytes().all(sign)
}

impl Digest {
    /// Everything that is wrong with it.
    #[must_use]
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = self.ticks().err().unwrap_or_default();
        if self.kinds.is_empty() || self.kinds.len() > KINDS_MAX {
            flaws.push(Flaw::new(
                "/kinds",
                "out_of_range",
                format!("give 1 to {KINDS_MAX} kinds, each with its text"),
            ));
            return flaws;
        }
        for name in self.kinds.keys() {
            let shown = name.replace('~', "~0").replace('/', "~1");
            if !is_name(name) {
                let shown: String = shown.chars().take(64).collect();
                flaws.push(Flaw::new(
                    format!("/kinds/{shown}"),
                    "name_invalid",
                    NAME_RULE,
                ));
                continue;
            }
            // One and many: each branch of a plural is made once.
            for count in [1, 2] {
                let problem = match self.text(name, count, Language::Fr) {
                    Ok(text) if text.trim().is_empty() => {
                        "the text is empty; say what was counted".to_owned()
                    }
                    Ok(_) => continue,
                    Err(problem) => problem,
                };
                let pointer = format!("/kinds/{shown}/text");
                flaws.push(Flaw::new(pointer, "digest_text_invalid", problem));
                break;
            }
        }
        if let Some(sender) = &self.sender
            && let Err(error) = Sender::parse(sender)
        {
            flaws.push(Flaw::new("/sender", "sender_invalid", error.to_string()));
        }
        flaws
    }

    /// When it is told.
    ///
    /// # Errors
    /// What is wrong with its days, its time and its zone.
    pub fn ticks(&self) -> Result<Ticks, Vec<Flaw>> {
        let mut flaws = Vec::new();
        let mut days = [false; 7];
        for (index, name) in self.days.iter().enumerate().take(2 * DAYS.len()) {
            let is = |word: &&str| word.eq_ignore_ascii_case(name);
            let day = DAYS.iter().position(&is);
            match day.or_else(|| DAYS_IN_FULL.iter().position(&is)) {
                Some(day) if !days[day] => days[day] = true,
                Some(_) => flaws.push(Flaw::new(
                    format!("/days/{index}"),
                    "duplicate_value",
                    "name each day once",
                )),
                None => flaws.push(Flaw::new(
                    format!("/days/{index}"),
                    "unknown_value",
                    format!("it must be one of {}", DAYS.join(", ")),
                )),
            }
        }
        if self.days.is_empty() {
            let detail = "name one day at least, such as [\"tue\", \"thu\"]";
            flaws.push(Flaw::new("/days", "required", detail));
        }
        let at = time_of_day(&self.at);
        if at.is_none() {
            flaws.push(Flaw::new(
                "/at",
                "time_of_day_invalid",
                "it must be hours and minutes from 00:00 to 23:59, such as \"19:00\"",
            ));
        }
        let zone = if self.timezone.eq_ignore_ascii_case(RECIPIENT) {
            None
        } else {
            let zone = Tz::from_str(&self.timezone).ok();
            if zone.is_none() {
                flaws.push(Flaw::new(
                    "/timezone",
                    "timezone_unknown",
                    "it must be \"recipient\" or a name of the time zone database, such as \
                     \"Europe/Paris\"",
                ));
            }
            zone
        };
        match at {
            Some(at) if flaws.is_empty() => Ok(Ticks { days, at, zone }),
            _ => Err(flaws),
        }
    }

    /// What it says of so many of a kind; `fallback` is the language where it names none.
    ///
    /// # Errors
    /// What is wrong with the text, or that there is no such kind, in words.
    pub fn text(&self, kind: &str, count: u32, fallback: Language) -> Result<String, String> {
        let Some(kind) = self.kinds.get(kind) else {
            return Err(format!("the digest has no kind {kind}"));
        };
        let template = Template::compile(&kind.text, self.language.unwrap_or(fallback));
        let template = template.map_err(|error| error.to_string())?;
        if let Some(other) = template.variables().find(|name| *name != COUNT) {
            return Err(format!(
                "the text of a digest has one variable, {COUNT}, and not {other}"
            ));
        }
        // One that does not say how many is a text too.
        let named = template
            .variables()
            .map(|name| (name.to_owned(), count.into()));
        template.render(&named.collect()).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        })
    }
}

/// `19:00`.
fn time_of_day(text: &str) -> Option<NaiveTime> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str| {
        let valid = digits.len() == 2 && digits.bytes().all(|octet| octet.is_ascii_digit());
        valid.then(|| digits.parse().ok()).flatten()
    };
    NaiveTime::from_hms_opt(two(hours)?, two(minutes)?, 0)
}

impl Ticks {
    /// The first tick after `after`, for a recipient whose clocks are those of `recipient`.
    /// [`Timestamp::NEVER`] if there is none, which no zone's data makes so.
    #[must_use]
    pub fn next(&self, after: Timestamp, recipient: Tz) -> Timestamp {
        let zone = self.zone.unwrap_or(recipient);
        let today = zone.from_utc_datetime(&after.to_utc().naive_utc());
        let today = today.date_naive();
        // From yesterday: a tick that the clock has skipped at midnight is on the next day.
        let days = (-1..=8).filter_map(|days| today.checked_add_signed(TimeDelta::days(days)));
        let days = days.filter(|day| self.days[day.weekday().num_days_from_monday() as usize]);
        let ticks = days.filter_map(|day| instant(day, self.at, zone));
        let next = ticks.filter(|tick| *tick > after).min();
        next.unwrap_or(Timestamp::NEVER)
    }
}

/// The first instant of this day at which the wall clock shows this time or has just skipped it.
fn instant(day: NaiveDate, at: NaiveTime, zone: Tz) -> Option<Timestamp> {
    let local = day.and_time(at);
    // No clock skips more than a day.
    let shown = (0..=24 * 60).find_map(|minutes| {
        let local = local + TimeDelta::minutes(minutes);
        zone.from_local_datetime(&local).earliest()
    });
    shown.map(|shown| Timestamp(shown.timestamp_millis()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono::Timelike as _;
    use chrono_tz::{America, Australia, Europe, Indian, Pacific};

    use super::*;

    fn digest(days: &[&str], at: &str) -> Digest {
        let kind = |text: &str| Kind {
            text: text.to_owned(),
            label: None,
        };
        Digest {
            days: days.iter().map(ToString::to_string).collect(),
            at: at.to_owned(),
            timezone: recipient(),
            kinds: [(
                "courrier".to_owned(),
                kind("{{ count }} {{ count|plural(\"courrier\", \"courriers\") }}"),
            )]
            .into(),
            language: None,
            sender: None,
            signature: None,
        }
    }

    fn utc(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[track_caller]
    fn next(days: &[&str], at: &str, zone: Tz, after: &str, expected: &str) {
        let ticks = digest(days, at).ticks().unwrap();
        assert_eq!(
            ticks.next(utc(after), zone),
            utc(expected),
            "{zone} {after}"
        );
    }

    #[test]
    fn nineteen_hours_are_those_of_the_recipient_on_both_sides_of_both_changes_of_the_hour() {
        let tue_thu = ["tue", "thu"];
        for (zone, after, expected) in [
            // Monday to Tuesday, in summer.
            (
                Europe::Paris,
                "2026-10-05T12:00:00+02:00",
                "2026-10-06T19:00:00+02:00",
            ),
            (
                America::Cayenne,
                "2026-10-05T12:00:00-03:00",
                "2026-10-06T19:00:00-03:00",
            ),
            (
                Pacific::Noumea,
                "2026-10-05T12:00:00+11:00",
                "2026-10-06T19:00:00+11:00",
            ),
            // In France it is still Monday, in Nouméa Tuesday.
            (
                Pacific::Noumea,
                "2026-10-05T23:00:00+02:00",
                "2026-10-06T19:00:00+11:00",
            ),
            (
                Pacific::Tahiti,
                "2026-10-06T19:00:00-10:00",
                "2026-10-08T19:00:00-10:00",
            ),
            (
                Indian::Reunion,
                "2026-10-08T19:00:00+04:00",
                "2026-10-13T19:00:00+04:00",
            ),
            // Over the end of summer time (25 October 2026), and over its beginning (28 March 2027).
            (
                Europe::Paris,
                "2026-10-22T19:00:00+02:00",
                "2026-10-27T19:00:00+01:00",
            ),
            (
                Europe::Paris,
                "2027-03-25T19:00:00+01:00",
                "2027-03-30T19:00:00+02:00",
            ),
            (
                America::Miquelon,
                "2026-10-29T19:00:00-02:00",
                "2026-11-03T19:00:00-03:00",
            ),
            (
                America::Miquelon,
                "2027-03-11T19:00:00-03:00",
                "2027-03-16T19:00:00-02:00",
            ),
        ] {
            next(&tue_thu, "19:00", zone, after, expected);
        }
    }

    #[test]
    fn what_comes_at_the_tick_itself_is_for_the_next_one() {
        let days = ["tue", "thu"];
        let zone = Europe::Paris;
        next(
            &days,
            "19:00",
            zone,
            "2026-10-06T16:59:59.999Z",
            "2026-10-06T17:00:00Z",
        );
        next(
            &days,
            "19:00",
            zone,
            "2026-10-06T17:00:00Z",
            "2026-10-08T17:00:00Z",
        );
        next(
            &["tue"],
            "19:00",
            zone,
            "2026-10-06T17:00:00Z",
            "2026-10-13T17:00:00Z",
        );
    }

    #[test]
    fn a_skipped_time_is_the_instant_after_the_gap_and_a_doubled_one_is_the_first() {
        let sunday = ["sun"];
        next(
            &sunday,
            "02:30",
            Europe::Paris,
            "2027-03-27T12:00:00Z",
            "2027-03-28T01:00:00Z",
        );
        next(
            &sunday,
            "02:30",
            Europe::Paris,
            "2027-03-28T01:00:00Z",
            "2027-04-04T00:30:00Z",
        );
        next(
            &sunday,
            "02:30",
            Europe::Paris,
            "2026-10-24T12:00:00Z",
            "2026-10-25T00:30:00Z",
        );
        // The clock shows it once more an hour later: that is no second tick.
        next(
            &sunday,
            "02:30",
            Europe::Paris,
            "2026-10-25T00:30:00Z",
            "2026-11-01T01:30:00Z",
        );
    }

    #[test]
    fn every_day_has_one_tick_at_its_time_in_every_zone_from_2024_to_2040() {
        let zones = [
            Europe::Paris,
            America::Miquelon,
            America::Guadeloupe,
            Indian::Mayotte,
            Pacific::Noumea,
            Pacific::Wallis,
            Australia::Lord_Howe,
        ];
        for zone in zones {
            for at in ["19:00", "02:30", "00:00"] {
                let ticks = digest(&DAYS, at).ticks().unwrap();
                let (mut tick, end) = (utc("2024-01-01T00:00:00Z"), utc("2041-01-01T00:00:00Z"));
                let mut day: Option<NaiveDate> = None;
                while tick < end {
                    tick = ticks.next(tick, zone);
                    let local = zone.from_utc_datetime(&tick.to_utc().naive_utc());
                    let date = local.date_naive();
                    assert!(
                        day.is_none_or(|day| day.succ_opt() == Some(date)),
                        "{zone} {local}"
                    );
                    day = Some(date);
                    let time = local.time();
                    let exact = Some(time) == time_of_day(at);
                    // An hour late at most, and only where the clock skips the time.
                    let skipped = zone
                        .from_local_datetime(&date.and_time(time_of_day(at).unwrap()))
                        .earliest()
                        .is_none();
                    assert!(exact || skipped && time.hour() <= 3, "{zone} {local}");
                }
            }
        }
    }

    #[test]
    fn a_fixed_zone_is_the_same_for_everybody() {
        let fixed = Digest {
            timezone: "Europe/Paris".to_owned(),
            ..digest(&["Tuesday"], "19:00")
        };
        let next = fixed
            .ticks()
            .unwrap()
            .next(utc("2026-10-05T00:00:00Z"), Pacific::Noumea);
        assert_eq!(next, utc("2026-10-06T17:00:00Z"));
    }

    #[test]
    fn texts_say_one_and_many_in_their_language() {
        let mut digest = digest(&["tue"], "19:00");
        for (count, said) in [(1, "1 courrier"), (2, "2 courriers"), (31, "31 courriers")] {
            assert_eq!(digest.text("courrier", count, Language::Fr).unwrap(), said);
        }
        digest.language = Some(Language::En);
        assert_eq!(
            digest.text("courrier", 1, Language::Fr).unwrap(),
            "1 courrier"
        );
        assert!(digest.text("colis", 1, Language::Fr).is_err());
    }

    #[test]
    fn everything_that_is_wrong_with_a_definition_is_named() {
        assert_eq!(digest(&["tue", "thu"], "19:00").flaws(), []);
        let codes = |digest: &Digest| -> Vec<(String, &'static str)> {
            let flaws = digest.flaws().into_iter();
            flaws.map(|flaw| (flaw.pointer, flaw.code)).collect()
        };
        let flaw = |pointer: &str, code| vec![(pointer.to_owned(), code)];
        assert_eq!(codes(&digest(&[], "19:00")), flaw("/days", "required"));
        assert_eq!(
            codes(&digest(&["mardi"], "19:00")),
            flaw("/days/0", "unknown_value")
        );
        assert_eq!(
            codes(&digest(&["tue", "TUE"], "19:00")),
            flaw("/days/1", "duplicate_value")
        );
        for at in ["24:00", "7pm", "19:60", "9:00", ""] {
            assert_eq!(
                codes(&digest(&["tue"], at)),
                flaw("/at", "time_of_day_invalid"),
                "{at}"
            );
        }
        let good = digest(&["tue"], "19:00");
        let zone = Digest {
            timezone: "Europe/Lutece".to_owned(),
            ..good.clone()
        };
        assert_eq!(codes(&zone), flaw("/timezone", "timezone_unknown"));
        let kinds = |name: &str, text: &str| Digest {
            kinds: [(
                name.to_owned(),
                Kind {
                    text: text.to_owned(),
                    label: None,
                },
            )]
            .into(),
            ..good.clone()
        };
        assert_eq!(
            codes(&kinds("a/b", "x")),
            flaw("/kinds/a~1b", "name_invalid")
        );
        for text in [
            "",
            "{{ kount }}",
            "{{ count",
            "{{ count|plurl }}",
            "{% if count > 1 %}x{% endif %}",
        ] {
            let expected = flaw("/kinds/a/text", "digest_text_invalid");
            assert_eq!(codes(&kinds("a", text)), expected, "{text}");
        }
        let none = Digest {
            kinds: BTreeMap::new(),
            ..good.clone()
        };
        assert_eq!(codes(&none), flaw("/kinds", "out_of_range"));
        let sender = Digest {
            sender: Some("un nom bien trop long".to_owned()),
            ..good
        };
        assert_eq!(codes(&sender), flaw("/sender", "sender_invalid"));
    }
}
