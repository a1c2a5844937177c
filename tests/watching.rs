//! What is shipped for the people on call names what the gateway has: a rule or a panel over a metric that
//! does not exist is silent for ever.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Every `relais_…` in a text, without what a histogram appends.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    words
        .filter(|word| word.starts_with("relais_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned())
        .collect()
}

/// Every metric that the gateway describes.
fn described() -> BTreeSet<String> {
    metrics_in(&file("src/metrics.rs"))
}

#[test]
fn every_metric_that_rules_and_dashboard_name_exists() {
    for name in [
        "deploy/prometheus/relais.rules.yml",
        "deploy/prometheus/relais.tests.yml",
        "deploy/grafana/relais.json",
    ] {
        let named = metrics_in(&file(name));
        assert!(named.len() > 10, "{name}");
        let unknown: Vec<_> = named.difference(&described()).cloned().collect();
        assert!(unknown.is_empty(), "{name} names {unknown:?}");
    }
}

#[test]
fn every_metric_is_in_the_readme() {
    let readme = metrics_in(&file("README.md"));
    // The table writes the second of a pair as `_delivered_total`.
    let whole = |name: &String| {
        let short = name.strip_prefix("relais_webhook");
        readme.contains(name) || short.is_some_and(|short| file("README.md").contains(short))
    };
    let missing: Vec<_> = described()
        .into_iter()
        .filter(|name| !whole(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_alert_says_what_to_do() {
    let rules = file("deploy/prometheus/relais.rules.yml");
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 15);
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for part in ["severity: ", "summary: ", "description: ", "runbook: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        // An alert that no test fires may never fire.
        let tests = file("deploy/prometheus/relais.tests.yml");
        assert!(tests.contains(name), "no test fires {name}");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let board: serde_json::Value =
        serde_json::from_str(&file("deploy/grafana/relais.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{}",
            panel["title"]
        );
        if panel["type"] != "row" {
            assert!(
                !panel["targets"].as_array().unwrap().is_empty(),
                "{}",
                panel["title"]
            );
        }
    }
}
