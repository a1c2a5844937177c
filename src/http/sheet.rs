//! Messages as cells of a spreadsheet, for `?format=csv` and for `relais export`.
//!
//! A CSV is opened by spreadsheets, which run what looks like a formula: a recipient who calls
//! themselves `=HYPERLINK(…)` must not be believed. So a cell that begins as a formula does gets an
//! apostrophe before it, numbers with their plus included.

use std::borrow::Cow;

use serde_json::Value;

use crate::domain::time::Timestamp;

/// Fields of messages, in the order of the columns.
pub(crate) const COLUMNS: [&str; 23] = [
    "id",
    "created_at",
    "send_at",
    "sent_at",
    "delivered_at",
    "updated_at",
    "to",
    "from",
    "label",
    "status",
    "letter",
    "reason",
    "type",
    "reference",
    "operator",
    "channel",
    "class",
    "encoding",
    "parts",
    "attempts",
    "maybe_duplicate",
    "batch",
    "text",
];

/// A value as a cell: times in a zone, in ISO 8601 with their offset; never a formula.
pub(crate) fn cell(value: &Value, field: &str, zone: chrono_tz::Tz) -> String {
    safe(&written(value, field, zone)).into_owned()
}

fn written<'a>(value: &'a Value, field: &str, zone: chrono_tz::Tz) -> Cow<'a, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) if field.ends_with("_at") => match Timestamp::parse_rfc3339(text) {
            Some(at) => {
                let local = at.to_utc().with_timezone(&zone);
                Cow::Owned(local.to_rfc3339_opts(chrono::SecondsFormat::Secs, false))
            }
            None => Cow::Borrowed(text),
        },
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// A cell that no spreadsheet takes for a formula. Some of them pass by what cannot be seen before it,
/// and read the wide forms of East Asia as the narrow ones.
pub(super) fn safe(text: &str) -> Cow<'_, str> {
    let unseen = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
    };
    let shown = text.trim_start_matches(unseen);
    let begins = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    if shown.starts_with(begins) || text.starts_with(['\t', '\r', '\n']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_be_a_formula_begins_a_cell() {
        for bad in [
            "=1+1",
            "+33612345678",
            "-2",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            // Some spreadsheets take the wide forms for the narrow ones, and pass by what is blank.
            "＝1+1",
            "＋1",
            "－1",
            "＠SUM(A1)",
            " =1",
            "\u{a0}=1",
            "\u{feff}=1",
            "\u{200b}+1",
            "\0=1",
        ] {
            assert_eq!(safe(bad), format!("'{bad}"), "{bad:?}");
        }
        for good in [
            "Bonjour = salut",
            "",
            " ",
            " a",
            "36111",
            "~00000000000000ab",
        ] {
            assert_eq!(safe(good), good);
        }
    }

    #[test]
    fn times_are_of_the_zone_through_the_change_to_winter_time() {
        let paris = chrono_tz::Europe::Paris;
        let at = |text: &str| cell(&Value::from(text), "sent_at", paris);
        assert_eq!(at("2026-10-25T00:30:00.000Z"), "2026-10-25T02:30:00+02:00");
        assert_eq!(at("2026-10-25T01:30:00.000Z"), "2026-10-25T02:30:00+01:00");
        assert_eq!(cell(&Value::Null, "sent_at", paris), "");
        assert_eq!(cell(&Value::from(3), "parts", paris), "3");
        assert_eq!(cell(&Value::from("12"), "text", paris), "12");
    }
}
