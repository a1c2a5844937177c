//! What the configuration says of operators: what they take from the default one, and their routes.

use super::{ACCOUNT, Duration, OnDoubt, read_text};

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
    assert_eq!(x.rate, crate::domain::rate::Rate::NONE, "of its own parts");
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
    assert_eq!(y.rate, crate::domain::rate::Rate::per_minute(6));
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
fn one_account_needs_no_operators_and_an_operator_without_a_route_follows_the_default() {
    let config = read_text(&format!("{ACCOUNT}[operators.x]\nprefixes = [\"+336\"]\n")).unwrap();
    let routes: Vec<_> = config
        .policy
        .operators
        .iter()
        .map(|operator| (operator.name.as_str(), operator.route[0][0].as_str()))
        .collect();
    assert_eq!(routes, [("default", "a"), ("x", "a")]);
}

#[test]
fn a_route_has_steps_and_says_when_the_next_one_takes_over() {
    let second = ACCOUNT.replace("smpp.a", "smpp.b");
    let with = |rest: &str| {
        read_text(&format!(
            "{ACCOUNT}{second}[operators.default]\nroute = [\"a\", \"b\"]\n{rest}"
        ))
    };
    let config = with("").unwrap();
    assert_eq!(config.warnings, []);
    let operator = &config.policy.operators[0];
    assert_eq!(operator.route, [vec!["a".into()], vec!["b".into()]]);
    assert_eq!(operator.failover_after, Duration::from_secs(30));
    let shown = config.effective();
    assert!(
        shown.contains("  route       a → b\n  next step   once one is unusable for 30s\n"),
        "{shown}"
    );
    for (text, after) in [("0s", 0), ("5m", 300)] {
        let config = with(&format!("failover_after = \"{text}\"\n")).unwrap();
        let wanted = Duration::from_secs(after);
        assert_eq!(config.policy.operators[0].failover_after, wanted);
    }
    let twice = with("[operators.x]\nroute = [\"a\", \"b|a\"]\n").unwrap_err();
    assert_eq!(
        twice.to_string(),
        "r.toml:12: operators.x.route[1]: a is in a step before this one already"
    );
}
