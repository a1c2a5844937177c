//! Proves that the shipped rules of udev are rules: each line is conditions and actions that udev knows, each jump
//! has its label, each maker that the code knows is in them, and no line has the traps that udev takes without a word.
//! How: a reader of the syntax in udev(7); and `udevadm verify` as well where it is installed and has that command.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use relais::channel::modem::discovery::VENDORS;

/// One `key operator "value"`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    key: String,
    attribute: Option<String>,
    operator: String,
    value: String,
}

/// Keys that are compared only.
const MATCHES: [&str; 10] = [
    "ACTION",
    "DEVPATH",
    "KERNEL",
    "KERNELS",
    "SUBSYSTEM",
    "SUBSYSTEMS",
    "DRIVER",
    "DRIVERS",
    "ATTRS",
    "RESULT",
];
/// Keys that are assigned only.
const ACTIONS: [&str; 8] = [
    "OWNER", "GROUP", "MODE", "LABEL", "GOTO", "RUN", "OPTIONS", "IMPORT",
];
/// Keys that are both.
const BOTH: [&str; 6] = ["ENV", "ATTR", "SYMLINK", "NAME", "TAG", "PROGRAM"];
/// Keys that need an attribute in braces.
const NAMED: [&str; 4] = ["ENV", "ATTR", "ATTRS", "IMPORT"];
/// Keys that look at the devices above: a line's must all hold for one of them.
const ABOVE: [&str; 4] = ["KERNELS", "SUBSYSTEMS", "DRIVERS", "ATTRS"];

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("udev/99-gsm-modem.rules")
}

/// The rules of a text with the number of their first line; a backslash at its end continues a line.
fn rules(text: &str) -> Result<Vec<(usize, Vec<Term>)>, String> {
    let mut all = Vec::new();
    let mut pending: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        if line.trim_start().starts_with('#') || (line.trim().is_empty() && pending.is_none()) {
            continue;
        }
        let (first, mut whole) = pending.take().unwrap_or((number, String::new()));
        match line.strip_suffix('\\') {
            Some(part) => {
                whole.push_str(part);
                pending = Some((first, whole));
            }
            None => {
                whole.push_str(line);
                let terms = terms(&whole).map_err(|what| format!("line {first}: {what}"))?;
                all.push((first, terms));
            }
        }
    }
    match pending {
        Some((first, _)) => Err(format!("line {first}: continued beyond the end")),
        None => Ok(all),
    }
}

fn terms(line: &str) -> Result<Vec<Term>, String> {
    let mut rest = line.trim();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_uppercase())
            .ok_or_else(|| format!("{rest:?} has no operator"))?;
        let key = rest[..end].to_owned();
        rest = &rest[end..];
        let attribute = match rest.strip_prefix('{') {
            None => None,
            Some(inner) => {
                let (name, tail) = inner.split_once('}').ok_or("a brace is not closed")?;
                rest = tail;
                Some(name.to_owned())
            }
        };
        let operator = ["==", "!=", "+=", "-=", ":=", "="]
            .into_iter()
            .find(|operator| rest.trim_start().starts_with(operator))
            .ok_or_else(|| format!("{key}: no operator in {rest:?}"))?;
        rest = rest.trim_start()[operator.len()..].trim_start();
        let value = rest
            .strip_prefix('"')
            .ok_or_else(|| format!("{key}: no quotes"))?;
        let (value, tail) = value
            .split_once('"')
            .ok_or_else(|| format!("{key}: quotes not closed"))?;
        let term = Term {
            key,
            attribute,
            operator: operator.to_owned(),
            value: value.to_owned(),
        };
        is_known(&term)?;
        found.push(term);
        rest = tail.trim_start();
        if let Some(tail) = rest.strip_prefix(',') {
            rest = tail.trim_start();
        } else if !rest.is_empty() {
            return Err(format!("no comma before {rest:?}"));
        }
    }
    Ok(found)
}

fn is_known(term: &Term) -> Result<(), String> {
    let Term {
        key,
        attribute,
        operator,
        value,
    } = term;
    let known = |keys: &[&str]| keys.contains(&key.as_str());
    let compares = operator == "==" || operator == "!=";
    if !known(&MATCHES) && !known(&ACTIONS) && !known(&BOTH) {
        return Err(format!("{key} is no key of udev"));
    }
    if (known(&MATCHES) && !compares) || (known(&ACTIONS) && compares) {
        return Err(format!("{key} does not take {operator}"));
    }
    if known(&NAMED) != attribute.as_ref().is_some_and(|name| !name.is_empty()) {
        return Err(format!("{key} and its braces do not fit"));
    }
    if key == "MODE"
        && !(value.len() == 4 && value.bytes().all(|octet| matches!(octet, b'0'..=b'7')))
    {
        return Err(format!("{value} is no mode"));
    }
    for (at, _) in value.match_indices('$') {
        let name = &value[at + 1..];
        let substitution = [
            "env{", "attr{", "kernel", "number", "id", "devpath", "driver", "parent", "name", "$",
        ];
        if !substitution.iter().any(|known| name.starts_with(known)) {
            return Err(format!("${name} is no substitution"));
        }
    }
    Ok(())
}

fn shipped() -> Vec<(usize, Vec<Term>)> {
    let text = std::fs::read_to_string(file()).unwrap();
    let rules = rules(&text).unwrap();
    assert!(rules.len() > 10, "the rules were found");
    rules
}

#[test]
fn every_line_is_made_of_keys_operators_and_values_that_udev_knows() {
    shipped();
}

#[test]
fn every_jump_goes_forward_to_one_label_and_every_label_is_used() {
    let rules = shipped();
    let of = |key: &str| -> Vec<(usize, String)> {
        let terms = rules
            .iter()
            .flat_map(|(line, terms)| terms.iter().map(move |term| (*line, term)));
        terms
            .filter(|(_, term)| term.key == key)
            .map(|(line, term)| (line, term.value.clone()))
            .collect()
    };
    let (jumps, labels) = (of("GOTO"), of("LABEL"));
    for (line, name) in &jumps {
        let targets: Vec<_> = labels.iter().filter(|(_, label)| label == name).collect();
        assert_eq!(targets.len(), 1, "line {line}: {name}");
        assert!(targets[0].0 > *line, "line {line}: {name} lies behind it");
    }
    for (line, label) in &labels {
        assert!(
            jumps.iter().any(|(_, name)| name == label),
            "line {line}: {label} is not used"
        );
    }
}

#[test]
fn no_line_compares_what_lies_above_with_unequal() {
    // udev takes the first device, of this one and those above, for which a line holds: "not" is
    // true of nearly any.
    for (line, terms) in shipped() {
        for term in terms {
            let above = ABOVE.contains(&term.key.as_str());
            assert!(!above || term.operator == "==", "line {line}: {}", term.key);
        }
    }
}

#[test]
fn every_known_maker_is_kept_from_modem_manager_and_given_to_the_group() {
    let rules = shipped();
    for (vendor, name) in VENDORS {
        let vendor = format!("{vendor:04x}");
        let names_it = |terms: &[Term]| {
            terms.iter().any(|term| {
                term.attribute.as_deref() == Some("idVendor")
                    && term.value.split('|').any(|value| value == vendor)
            })
        };
        let does = |key: &str, attribute: Option<&str>, value: &str| {
            rules.iter().any(|(_, terms)| {
                names_it(terms)
                    && terms.iter().any(|term| {
                        (
                            term.key.as_str(),
                            term.attribute.as_deref(),
                            term.value.as_str(),
                        ) == (key, attribute, value)
                    })
            })
        };
        let ignored = |subsystem: &str| {
            rules.iter().any(|(_, terms)| {
                names_it(terms)
                    && terms
                        .iter()
                        .any(|term| term.attribute.as_deref() == Some("ID_MM_DEVICE_IGNORE"))
                    && terms
                        .iter()
                        .any(|term| term.key == "SUBSYSTEM" && term.value == subsystem)
            })
        };
        assert!(ignored("usb"), "{name}");
        assert!(does("ENV", Some("ID_MM_DEVICE_IGNORE"), "1"), "{name}");
        assert!(does("GROUP", None, "dialout"), "{name}");
        assert!(does("MODE", None, "0660"), "{name}");
    }
    let links: Vec<_> = rules
        .iter()
        .flat_map(|(_, terms)| terms)
        .filter(|term| term.key == "SYMLINK")
        .collect();
    assert_eq!(links.len(), 1);
    assert!(links[0].operator == "+=", "the system's own links stay");
    assert!(
        links[0].value.contains("$env{ID_PATH}") && links[0].value.contains("ID_USB_INTERFACE_NUM")
    );
}

#[test]
fn the_examples_in_comments_are_rules_too() {
    let text = std::fs::read_to_string(file()).unwrap();
    let examples: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()) && line.contains("==\""))
        .collect();
    assert!(examples.len() >= 3, "{examples:?}");
    for example in examples {
        let terms = terms(example).unwrap_or_else(|what| panic!("{example}: {what}"));
        assert!(terms.len() >= 2);
    }
}

#[test]
fn the_reader_refuses_what_udev_refuses() {
    for (line, expected) in [
        ("KERNL==\"x\", MODE=\"0660\"", "KERNL is no key"),
        ("KERNEL=\"x\"", "does not take ="),
        ("MODE==\"0660\"", "does not take =="),
        ("ENV==\"1\"", "braces"),
        ("KERNEL{x}==\"1\"", "braces"),
        ("ATTR{idVendor==\"1\"", "not closed"),
        ("KERNEL==x", "no quotes"),
        ("KERNEL==\"x", "quotes not closed"),
        ("KERNEL==\"x\" MODE=\"0660\"", "no comma"),
        ("MODE=\"660\"", "is no mode"),
        ("SYMLINK+=\"$evn{ID_PATH}\"", "no substitution"),
        ("KERNEL==\"x\", \\", "continued beyond the end"),
    ] {
        let error = rules(line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn udevs_own_verifier_agrees_where_there_is_one() {
    // `verify` came with systemd 254; an older udevadm does not know it, and the reader above judges.
    let knows = Command::new("udevadm")
        .args(["verify", "--help"])
        .output()
        .is_ok_and(|output| output.status.success());
    if knows {
        let output = Command::new("udevadm")
            .args(["verify", "--resolve-names=never"])
            .arg(file())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
    }
}
