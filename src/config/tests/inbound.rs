//! `[inbound]`, and whose the messages of an account are.

use std::time::Duration;

use super::{ACCOUNT, read_text};

#[test]
fn keywords_are_configured_checked_and_told_apart() {
    let read = |inbound: &str| {
        read_text(&format!(
            "{ACCOUNT}tenant = \"mairie\"\n[inbound]\n{inbound}"
        ))
    };
    let config = read("stop = [\"STOP\", \"Désabo\"]\nparts_timeout = \"10m\"\n").unwrap();
    let rules = &config.policy.inbound;
    assert_eq!(rules.tenant(&"a".into()).as_str(), "mairie");
    assert_eq!(rules.tenant(&"other".into()).as_str(), "default");
    assert_eq!(rules.parts_timeout, Duration::from_mins(10));
    assert!(rules.keywords.find("DESABO").is_some());
    assert!(rules.keywords.find("ARRET").is_none());
    assert!(rules.keywords.find("START").is_some(), "a default remains");
    let silent = read("stop = []\nstart = []\n").unwrap().policy.inbound;
    assert!(silent.keywords.find("STOP").is_none());
    for (wrong, key, problem) in [
        ("stop = [\"!\"]", "inbound.stop[0]", "\"!\" is no keyword"),
        (
            "stop = [\"STOP\", \"stop.\"]",
            "inbound.stop[1]",
            "\"stop.\" is the same keyword as \"STOP\"",
        ),
        (
            "stop = [\"Start\"]",
            "inbound.start",
            "by default, \"START\" is the same keyword as \"Start\"",
        ),
        (
            "parts_timeout = \"5s\"",
            "inbound.parts_timeout",
            "5s is outside",
        ),
    ] {
        let errors = read(&format!("{wrong}\n")).unwrap_err().0;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].key, key);
        assert!(errors[0].problem.starts_with(problem), "{}", errors[0]);
    }
    let bad = read_text(&format!("{ACCOUNT}tenant = \"La Mairie\"\n"))
        .unwrap_err()
        .0;
    assert_eq!(bad[0].key, "smpp.a.tenant");
}
