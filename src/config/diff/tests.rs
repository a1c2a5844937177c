#![allow(clippy::unwrap_used)]
use super::*;
use crate::config::parse;

const FILE: &str = r#"
data_dir = "/tmp/relais"
[http]
listen = "127.0.0.1:8775"
[smpp.orange]
host = "127.0.0.1"
port = 2775
system_id = "relais"
password = "hunter2"
[smpp.sfr]
host = "127.0.0.2"
port = 2775
system_id = "relais"
password = "hunter3"
[modem.sim1]
device = "/dev/serial/by-id/a"
pin = "1234"
[operators.default]
route = ["orange", "sfr"]
[operators.free]
prefixes = ["+33695"]
route = ["sfr"]
"#;

fn config(text: &str) -> Config {
    parse(text, "relais.toml").unwrap()
}

fn diff(change: impl Fn(String) -> String) -> Diff {
    let new = change(FILE.to_owned());
    Diff::between(&config(FILE), &config(&new))
}

fn said(diff: &Diff) -> Vec<String> {
    diff.changes.iter().map(ToString::to_string).collect()
}

fn names(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.name().as_str()).collect()
}

#[test]
fn a_file_that_says_the_same_changes_nothing() {
    let spaced = diff(|text| text.replace(" = ", "   =  ") + "# a comment\n");
    assert!(spaced.is_empty(), "{spaced:?}");
    assert!(spaced.restarted.is_empty());
}

#[test]
fn a_default_that_is_written_out_restarts_nothing() {
    let diff = diff(|text| text.replace("[smpp.sfr]", "window = 10\n[smpp.sfr]"));
    assert_eq!(said(&diff), ["smpp.orange.window: in_force"]);
    assert_eq!(names(&diff.restarted), [""; 0]);
}

#[test]
fn a_secret_restarts_its_account_and_is_never_shown() {
    let diff = diff(|text| text.replace("hunter2", "correct").replace("1234", "4321"));
    assert_eq!(
        said(&diff),
        [
            "modem.sim1.pin: restarted",
            "smpp.orange.password: restarted"
        ]
    );
    assert_eq!(names(&diff.restarted), ["orange", "sim1"]);
    for secret in ["hunter2", "correct", "1234", "4321"] {
        assert!(!format!("{diff:?}").contains(secret), "{secret}");
    }
}

#[test]
fn what_only_the_rules_read_is_in_force_without_a_restart() {
    let diff = diff(|text| {
        text.replace("[smpp.sfr]", "rate = \"50/s\"\n[smpp.sfr]")
            .replace(
                "[operators.default]",
                "daily_limit = 5\n[operators.default]",
            )
            .replace("[\"orange\", \"sfr\"]", "[\"sfr\", \"orange\"]")
    });
    assert_eq!(
        said(&diff),
        [
            "modem.sim1.daily_limit: in_force",
            "operators.default.route: in_force",
            "smpp.orange.rate: in_force"
        ]
    );
    assert_eq!(names(&diff.restarted), [""; 0]);
    let route = &diff.changes[1];
    assert_eq!(route.was.as_deref(), Some("[\"orange\", \"sfr\"]"));
    assert_eq!(route.is.as_deref(), Some("[\"sfr\", \"orange\"]"));
}

#[test]
fn accounts_and_operators_that_come_and_go_are_said_once() {
    let diff = diff(|text| {
        text.replace("smpp.sfr", "smpp.bouygues")
            .replace("\"sfr\"", "\"bouygues\"")
            .replace("operators.free", "operators.mvno")
    });
    assert_eq!(
        said(&diff),
        [
            "operators.default.route: in_force",
            "operators.free: in_force",
            "operators.mvno: in_force",
            "smpp.bouygues: started",
            "smpp.sfr: drained"
        ]
    );
    assert_eq!(names(&diff.started), ["bouygues"]);
    assert_eq!(diff.drained, [Account::from("sfr")]);
}

#[test]
fn what_needs_a_restart_is_never_left_out() {
    let diff = diff(|text| {
        text.replace("8775", "8776")
            .replace("/tmp/relais", "/tmp/other")
            + "[store]\ncache = \"16 MiB\"\n[log]\nformat = \"json\"\n"
    });
    let keys: Vec<_> = diff.needs_restart().map(|it| it.key.as_str()).collect();
    assert_eq!(
        keys,
        ["data_dir", "http.listen", "log.format", "store.cache"]
    );
    assert_eq!(diff.changes.len(), 4);
}

#[test]
fn a_secret_whose_file_holds_another_one_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let path = file.display().to_string();
    let text = FILE.replace(
        "password = \"hunter2\"",
        &format!("password_file = {path:?}"),
    );
    std::fs::write(&file, "hunter2\n").unwrap();
    let old = config(&text);
    let moved = Diff::between(&config(FILE), &old);
    assert_eq!(
        names(&moved.restarted),
        [""; 0],
        "the same in another place"
    );
    std::fs::write(&file, "correct\n").unwrap();
    let diff = Diff::between(&old, &config(&text));
    assert_eq!(said(&diff), ["smpp.orange.password: restarted"]);
}

#[test]
fn a_carrier_that_becomes_a_modem_is_another_line() {
    let diff = diff(|text| {
        let (head, tail) = text.split_once("[smpp.sfr]").unwrap();
        let (_, tail) = tail.split_once("[modem.sim1]").unwrap();
        format!("{head}[modem.sfr]\ndevice = \"/dev/serial/by-id/b\"\n[modem.sim1]{tail}")
    });
    assert_eq!(names(&diff.restarted), ["sfr"]);
    assert_eq!(said(&diff), ["modem.sfr: restarted", "smpp.sfr: restarted"]);
}
