#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn what_a_script_does_not_know_is_an_error_at_every_depth() {
    for wrong in [
        "unheard_of = 1",
        "personality = \"nokia\"",
        "[chatter]\nloud = true",
        "[reports]\nlate = true",
        "[[rules]]\nsufix = \"1\"",
        "[[rules]]\n[rules.reports]\nshape = \"cds\"",
        "[[faults]]\nkind = \"explode\"",
        "[[faults]]\nmoment = \"never\"",
        "[[inbound]]\nsplit = true",
        "[[memories]]\nsize = 3",
    ] {
        assert!(toml::from_str::<ModemScript>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_first_rule_that_fits_and_is_in_force_counts() {
    let script: ModemScript = toml::from_str(
        "[[rules]]\nprefix = \"+336\"\nafter_ms = 1000\nfor_ms = 500\n[[rules]]\nsuffix = \"78\"\n",
    )
    .unwrap();
    for (millis, number) in [(0, 1), (999, 1), (1_000, 0), (1_499, 0), (1_500, 1)] {
        let since = Duration::from_millis(millis);
        let found = script.rule("+33612345678", since).map(|(number, _)| number);
        assert_eq!(found, Some(number), "at {millis} ms");
    }
    assert!(script.rule("0612345679", Duration::ZERO).is_none());
}

/// Every key that the file form has, in the file that documents them; a key is new there or gone
/// here as soon as this fails.
#[test]
fn the_documented_script_shows_every_key_with_its_default() {
    const DOCUMENTED: &str = include_str!("../../../../config/sim/modem.toml");
    const TABLES: [&str; 7] = [
        "ussd", "chatter", "reports", "memories", "rules", "faults", "inbound",
    ];
    let fresh = format!("{:?}", ModemScript::default());
    // What has no default is shown as a comment; with the comments it must be readable too.
    let plain: ModemScript = toml::from_str(DOCUMENTED).unwrap();
    assert_eq!(
        format!("{plain:?}"),
        fresh,
        "a default is not the one shown"
    );
    let full: String = DOCUMENTED
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
        .collect();
    let full: ModemScript = toml::from_str(&full).unwrap();
    assert_eq!((full.rules.len(), full.faults.len()), (1, 1));
    assert_eq!((full.inbound.len(), full.memories.len()), (1, 1));
    assert_eq!(full.ussd.len(), 1);
    // serde names every key that it knows when it meets one that it does not.
    for table in [
        "",
        "[chatter]\n",
        "[reports]\n",
        "[[memories]]\n",
        "[[rules]]\n",
        "[[faults]]\n",
        "[[inbound]]\n",
    ] {
        let error = toml::from_str::<ModemScript>(&format!("{table}unheard_of = 1"));
        let error = error.unwrap_err().to_string();
        let from = DOCUMENTED.find(table.trim_end()).unwrap();
        let section = DOCUMENTED[from..].split("\n# -- ");
        // The keys without a table have sections by subject.
        let section: String = match table {
            "" => DOCUMENTED.split("\n[").next().unwrap().to_owned(),
            _ => section.take(1).collect(),
        };
        let known: Vec<_> = error.split('`').skip(3).step_by(2).collect();
        assert!(known.len() > 2, "{error}");
        for key in known {
            assert!(
                TABLES.contains(&key) && table.is_empty()
                    || section.lines().any(|line| {
                        let line = line.trim_start_matches("#: ");
                        line.starts_with(&format!("{key} ="))
                    }),
                "{table}{key} is not documented"
            );
        }
    }
}
