//! `[guard]`: whom may be written to how often, and under which name.

use super::{ACCOUNT, errors, read_text};

#[test]
fn limits_against_abuse_are_read() {
    let text = format!(
        "{ACCOUNT}[guard]\ncountries = [\"FR\", \"BE\"]\nrecipient_hourly = 3\nrecipient_daily = 0\n\
         prefix_burst = 7\nconsecutive = 20\ndaily_spend = \"12.5\"\ngeneric_senders = [\"Truc\"]\n\
         reserved_senders = [\"MAIRIE1\"]\n"
    );
    let config = read_text(&text).unwrap();
    let guard = &config.policy.guard;
    assert_eq!(guard.countries.as_ref().unwrap(), &["FR", "BE"]);
    let limits = &guard.limits;
    assert_eq!((limits.recipient_hourly, limits.recipient_daily), (3, 0));
    assert_eq!((limits.prefix_burst, limits.consecutive), (7, 20));
    assert_eq!(guard.daily_spend.as_deref(), Some("12.5"));
    assert_eq!(guard.generic_senders, ["truc"]);
    assert_eq!(guard.reserved_senders, ["mairiei"]);
    let effective = config.effective();
    for line in [
        "guard         to FR BE; 1 names reserved, 1 too general",
        "a recipient 3 an hour, any number a day; a prefix 7 in 10m; 20 consecutive numbers, 12.5 euros a day",
    ] {
        assert!(effective.contains(line), "{effective}");
    }
}

#[test]
fn wrong_limits_are_told_with_their_line() {
    for (line, expected) in [
        (
            "countries = [\"France\"]",
            "r.toml:6: guard.countries[0]: \"France\" is no country code of two capitals, like \"FR\", and not \"*\"",
        ),
        (
            "countries = []",
            "r.toml:6: guard.countries: name at least one country, or leave the key out for the default country",
        ),
        (
            "consecutive = 1",
            "r.toml:6: guard.consecutive: one number alone is no run; write 0 for no limit",
        ),
        (
            "recipient_hourly = -1",
            "r.toml:6: guard.recipient_hourly: -1 is outside 0 to 1000000",
        ),
        (
            "daily_spend = \"50 €\"",
            "r.toml:6: guard.daily_spend: \"50 €\" is no amount of euros; write it like \"50\"",
        ),
        (
            "reserved_senders = [\"la poste\"]",
            "r.toml:6: guard.reserved_senders[0]: \"la poste\" is no word of 1 to 11 letters and digits",
        ),
    ] {
        assert_eq!(errors(&format!("{ACCOUNT}[guard]\n{line}\n")), [expected]);
    }
}
