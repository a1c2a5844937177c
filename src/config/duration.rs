//! Durations as people write them: `48h`, `250ms`, `1h30m`, and ranges such as `1s..30s`.

use std::time::Duration;

/// Milliseconds of each unit, longest first.
const UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `48h`, `250ms`, `1h30m` or `2d`; units are `w d h m s ms`. `None` for anything else, a bare
/// number included: a number without its unit is a mistake waiting to happen.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest.get(..digits)?.parse().ok()?;
        let after = rest.get(digits..)?;
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let unit = match after.get(..letters)? {
            "min" => "m",
            unit => unit,
        };
        let (_, of_unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(count.checked_mul(*of_unit)?)?;
        rest = after.get(letters..)?.trim_start();
    }
    Some(Duration::from_millis(millis))
}

/// Reads `1s..30s`, or one duration for both ends.
#[must_use]
pub(super) fn parse_range(text: &str) -> Option<(Duration, Duration)> {
    match text.split_once("..") {
        Some((least, most)) => Some((parse(least)?, parse(most)?)),
        None => parse(text).map(|both| (both, both)),
    }
}

/// Writes a duration the shortest way that [`parse`] reads back, up to hours: `48h`, `1h30m`, `250ms`.
/// Whole days are written as days from three on.
#[must_use]
pub fn write(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let day = 86_400_000;
    if millis >= 3 * day && millis % day == 0 {
        return format!("{}d", millis / day);
    }
    let mut text = String::new();
    for (unit, of_unit) in UNITS.iter().skip(2) {
        if millis >= *of_unit {
            text.push_str(&format!("{}{unit}", millis / of_unit));
            millis %= of_unit;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them_and_written_back() {
        for (text, millis, written) in [
            ("48h", 172_800_000, "48h"),
            ("250ms", 250, "250ms"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1h 30min", 5_400_000, "1h30m"),
            ("90s", 90_000, "1m30s"),
            ("30d", 2_592_000_000, "30d"),
            ("2w", 1_209_600_000, "14d"),
            ("0s", 0, "0s"),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(write(Duration::from_millis(millis)), written, "{text}");
        }
        for text in [
            "",
            "48",
            "h",
            "48x",
            "-1s",
            "1.5h",
            "99999999999999999999h",
            "1h-",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(30));
        assert_eq!(parse_range("1s..30s"), Some((least, most)));
        assert_eq!(parse_range("1s"), Some((least, least)));
        assert_eq!(parse_range("1s.."), None);
    }
}
