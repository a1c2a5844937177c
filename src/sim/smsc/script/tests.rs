#![allow(clippy::unwrap_used)]

use super::*;

const START: Duration = Duration::ZERO;

#[test]
fn a_script_is_read_from_toml_and_what_is_absent_has_a_default() {
    let script: SmscScript = toml::from_str(
        r#"
        listen = "127.0.0.1:0"
        rate_limit = 20
        [ids]
        start = 1000000
        reported = "hex_upper"
        reported_width = 8
        reported_prefix = "fr-"
        [receipts]
        delay_ms = 50
        form = "text"
        [[rules]]
        suffix = "01"
        status = 0x58
        times = 2
        [[rules]]
        prefix = "+337"
        receipt = "expired"
        "#,
    )
    .unwrap();
    let rule = |to, since| script.rule(to, since).map(|(_, rule)| rule);
    assert_eq!(rule("33600000001", START).unwrap().status, Some(0x58));
    assert_eq!(
        rule("33700000002", START).unwrap().receipt,
        Some(ScriptedState::Expired)
    );
    assert!(rule("33600000002", START).is_none());
    let ids = &script.ids;
    assert_eq!(
        (ids.submitted(ids.start), ids.reported(ids.start)),
        ("1000000".to_owned(), "fr-000F4240".to_owned())
    );
    assert_eq!(
        (script.deliver_window, script.receipts.form),
        (64, ReceiptForm::Text)
    );
}

#[test]
fn what_a_script_does_not_know_is_an_error_at_every_depth() {
    for wrong in [
        "unheard_of = 1",
        "[ids]\nwidth = 1",
        "[receipts]\nlate = true",
        "[[rules]]\nsufix = \"1\"",
        "[[rules]]\n[rules.receipts]\nshape = \"tlv\"",
        "[[faults]]\nkind = \"explode\"",
        "[[faults]]\noctets = \"0g\"",
        "[[faults]]\noctets = \"012\"",
        "[[inbound]]\nsplit = \"halves\"",
        "alphabet = \"utf8\"",
    ] {
        assert!(toml::from_str::<SmscScript>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_rule_holds_from_its_time_on_and_for_as_long() {
    let script: SmscScript = toml::from_str(
        "[[rules]]\nafter_ms = 1000\nfor_ms = 500\nstatus = 0x14\n[[rules]]\nstatus = 0x58\n",
    )
    .unwrap();
    for (millis, number) in [(0, 1), (999, 1), (1_000, 0), (1_499, 0), (1_500, 1)] {
        let (found, _) = script
            .rule("33612345678", Duration::from_millis(millis))
            .unwrap();
        assert_eq!(found, number, "at {millis} ms");
    }
}

#[test]
fn octets_are_pairs_of_digits_with_or_without_spaces() {
    let read = |text: &str| Octets::try_from(text.to_owned()).map(|octets| octets.0);
    assert_eq!(read("00 0000 10 fF").unwrap(), [0, 0, 0, 16, 255]);
    assert!(read("").unwrap().is_empty());
    for wrong in ["0", "0x10", "+1", "é1", "1é"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

/// Every key that the file form has, in the file that documents them; a key is new there or gone
/// here as soon as this fails.
#[test]
fn the_documented_script_shows_every_key_with_its_default() {
    const DOCUMENTED: &str = include_str!("../../../../config/sim/smsc.toml");
    let fresh = format!("{:?}", SmscScript::default());
    // What has no default is shown as a comment; with the comments it must be readable too.
    let plain: SmscScript = toml::from_str(DOCUMENTED).unwrap();
    assert_eq!(
        format!("{plain:?}"),
        fresh,
        "a default is not the one shown"
    );
    let full: String = DOCUMENTED
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
        .collect();
    let full: SmscScript = toml::from_str(&full).unwrap();
    assert_eq!((full.rules.len(), full.faults.len()), (1, 1));
    assert_eq!(full.inbound.len(), 1);
    // serde names every key that it knows when it meets one that it does not.
    for table in [
        "",
        "[ids]\n",
        "[receipts]\n",
        "[[rules]]\n",
        "[[faults]]\n",
        "[[inbound]]\n",
    ] {
        let error = toml::from_str::<SmscScript>(&format!("{table}unheard_of = 1"))
            .unwrap_err()
            .to_string();
        let section = if table.is_empty() {
            DOCUMENTED.split("\n[").next().unwrap()
        } else {
            let from = DOCUMENTED.find(table.trim_end()).unwrap();
            let rest = &DOCUMENTED[from..];
            let header = if table.starts_with("[[") {
                "\n#: ["
            } else {
                "\n["
            };
            &rest[..rest.find(header).map_or(rest.len(), |at| at)]
        };
        let known = error.split('`').skip(3).step_by(2);
        for key in known {
            let tables = ["ids", "receipts", "rules", "faults", "inbound", "tls"];
            assert!(
                tables.contains(&key)
                    || section.lines().any(|line| {
                        let line = line.trim_start_matches("#: ");
                        line.starts_with(&format!("{key} ="))
                    }),
                "{table}{key} is not documented"
            );
        }
    }
}

#[test]
fn the_shipped_rehearsals_are_scripts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sim");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("modem.toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let script = toml::from_str::<SmscScript>(&text);
        assert!(script.is_ok(), "{}: {script:?}", path.display());
        found += 1;
    }
    assert!(found >= 4, "{found} files in config/sim");
}
