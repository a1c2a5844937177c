//! What is said of operators beyond their routes: hours, rates, zones and territories.

use super::{ACCOUNT, Duration, OnDoubt, errors, read_text};
use crate::domain::rate::Rate;

#[test]
fn what_an_operator_does_not_say_is_as_the_default_one_says() {
    let text = format!(
        "timezone = \"America/Cayenne\"\n{ACCOUNT}[operators.default]\nvalidity = \"3h\"\n\
         retry = [\"1m\"]\non_doubt = \"fail\"\nhours = [\"mon-fri 08:00-20:00\"]\nrate = 5\n\
         timezone = \"Indian/Reunion\"\nterritory = \"re\"\n\
         [operators.x]\nprefixes = [\"+336\"]\n[operators.y]\nvalidity = \"1h\"\nhours = []\nrate = \"6/min\"\n"
    );
    let policy = read_text(&text).unwrap().policy;
    let [default, x, y] = &policy.operators[..] else {
        unreachable!("three operators")
    };
    assert_eq!(default.rate, 5.into());
    assert_eq!(default.timezone, chrono_tz::Indian::Reunion);
    assert_eq!(default.territory.as_deref(), Some("RE"));
    assert_eq!(
        (x.validity, &x.retry, x.on_doubt, &x.hours, &x.route),
        (
            default.validity,
            &default.retry,
            OnDoubt::Fail,
            &default.hours,
            &default.route
        )
    );
    assert_eq!(x.rate, Rate::NONE, "of its own parts");
    assert_eq!(
        x.timezone,
        chrono_tz::America::Cayenne,
        "of its own numbers"
    );
    assert_eq!((&x.territory, x.prefixes.len()), (&None, 1));
    assert_eq!(
        (y.validity, y.hours.are_always()),
        (Duration::from_hours(1), true)
    );
    assert_eq!(y.rate, Rate::per_minute(6));
    let shown = read_text(&text).unwrap().effective();
    assert!(
        shown.contains("  hours       mon-fri 08:00-20:00, America/Cayenne\n"),
        "{shown}"
    );
    assert!(
        shown.contains("  territory   RE, Indian/Reunion\n"),
        "{shown}"
    );
}

#[test]
fn what_is_wrong_with_hours_and_places_is_told() {
    for (table, expected) in [
        (
            "[operators.x]\nhours = [\"20:00-08:00\"]\n",
            "r.toml:6: operators.x.hours[0]: \"20:00-08:00\" are no hours; write them like \"mon-fri 08:00-20:00\", and hours over midnight as two: \"20:00-24:00\", \"00:00-08:00\"",
        ),
        (
            "[operators.x]\nterritory = \"Mars\"\n",
            "r.toml:6: operators.x.territory: \"Mars\" is no country code of two letters, like \"FR\"",
        ),
        (
            "[operators.x]\ntimezone = \"CEST\"\n",
            "r.toml:6: operators.x.timezone: \"CEST\" is no time zone of the tz database, like \"Europe/Paris\"",
        ),
    ] {
        assert_eq!(errors(&format!("{ACCOUNT}{table}")), [expected], "{table}");
    }
}
