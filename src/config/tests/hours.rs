//! What the configuration says of named hours and of holidays.

use super::{ACCOUNT, errors, read_text};
use crate::domain::hours::SendingHours;
use crate::domain::territory::Territory;
use crate::domain::windows::{Calendar, Outside, WallClock};

#[test]
fn hours_have_names_and_operators_may_use_them() {
    let text = format!(
        "{ACCOUNT}[hours.desk]\nopen = [\"mon-fri 09:00-17:00\"]\ntimezone = \"Pacific/Noumea\"\n\
         holidays = \"FR-57\"\noutside = \"reject\"\n[hours.plain]\nopen = [\"07:00-22:00\"]\n\
         [operators.default]\nhours = \"desk\"\n[operators.x]\nhours = [\"08:00-12:00\"]\n\
         [operators.y]\nprefixes = [\"+44\"]\n\
         [holidays.MF]\nadd = [\"05-28\", \"2027-05-14\"]\nremove = [\"05-27\"]\n"
    );
    let config = read_text(&text).unwrap();
    let policy = &config.policy;
    let desk = policy.hours.get("desk").unwrap();
    assert_eq!(desk.clock, WallClock::Zone(chrono_tz::Pacific::Noumea));
    assert_eq!(desk.calendar, Calendar::Of(Territory::AlsaceMoselle));
    assert_eq!(desk.outside, Outside::Reject);
    let plain = policy.hours.get("plain").unwrap();
    assert_eq!(
        (plain.clock, plain.calendar, plain.outside),
        (WallClock::Recipient, Calendar::None, Outside::Defer)
    );
    let [default, x, y] = &policy.operators[..] else {
        unreachable!("three operators")
    };
    for operator in [default, y] {
        assert_eq!(operator.named_hours.as_deref(), Some("desk"));
        assert_eq!(operator.hours, SendingHours::default());
    }
    assert_eq!((&x.named_hours, x.hours.are_always()), (&None, false));
    let day = |text: &str| text.parse().unwrap();
    let holidays = &policy.holidays;
    assert!(holidays.has(day("2027-05-28"), Territory::SaintMartin));
    assert!(!holidays.has(day("2027-05-27"), Territory::SaintMartin));
    let shown = config.effective();
    for line in [
        "hours         desk: mon-fri 09:00-17:00, not on the public holidays of FR-57 (Pacific/Noumea); \
         outside them refused\n",
        "hours         plain: mon-sun 07:00-22:00 (the recipient's time); outside them deferred\n",
        "holidays      MF +05-28 +2027-05-14 -05-27\n",
        "  hours       desk\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn what_is_wrong_with_hours_is_told_with_its_line() {
    let known = "always, fr-8-20, fr-af2m-2026, fr-callr, fr-ovh, fr-seed, office";
    for (text, expected) in [
        (
            "[hours.x]\n",
            "r.toml:5: hours.x: open is missing: when they are open, like [\"mon-fri 08:00-18:00\"]".to_owned(),
        ),
        (
            "[hours.x]\nopen = []\n",
            "r.toml:6: hours.x.open: these hours never open; say when they do, or use \"always\" where no hours bind"
                .to_owned(),
        ),
        (
            "[hours.x]\nopen = [\"22:00-06:00\"]\n",
            "r.toml:6: hours.x.open[0]: \"22:00-06:00\" are no hours; write them like \"mon-fri 08:00-20:00\", and \
             hours over midnight as two: \"20:00-24:00\", \"00:00-08:00\""
                .to_owned(),
        ),
        (
            "[hours.fr-seed]\nopen = [\"00:00-24:00\"]\n",
            "r.toml:5: hours.fr-seed: the gateway brings hours of this name; give yours another one".to_owned(),
        ),
        (
            "[hours.x]\nopen = [\"08:00-12:00\"]\ntimezone = \"CEST\"\n",
            "r.toml:7: hours.x.timezone: \"CEST\" is no time zone of the tz database, like \"Europe/Paris\", and not \
             \"recipient\""
                .to_owned(),
        ),
        (
            "[hours.x]\nopen = [\"08:00-12:00\"]\nholidays = \"shut\"\n",
            "r.toml:7: hours.x.holidays: \"shut\" is no part of France: an ISO code like \"FR\", \"FR-57\" or \"GP\", \
             and neither \"open\" nor \"recipient\""
                .to_owned(),
        ),
        (
            "[operators.x]\nhours = \"offices\"\n",
            format!(
                "r.toml:6: operators.x.hours: there are no hours \"offices\"; add a table [hours.offices], or use one \
                 of {known}"
            ),
        ),
        (
            "[holidays.DE]\nadd = [\"10-03\"]\n",
            "r.toml:5: holidays.DE: \"DE\" is no part of France: an ISO code like \"FR\", \"FR-57\" or \"GP\"".to_owned(),
        ),
        (
            "[holidays.FR]\nadd = [\"29-02\"]\n",
            "r.toml:6: holidays.FR.add[0]: \"29-02\" is no day; write it like \"05-28\", \"2027-05-14\" or \"easter-2\", \
             which is Good Friday"
                .to_owned(),
        ),
    ] {
        assert_eq!(errors(&format!("{ACCOUNT}{text}")), [expected]);
    }
}
