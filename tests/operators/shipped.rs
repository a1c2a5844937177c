//! The operators of the French number space that are shipped, and the example that includes them.

use std::collections::BTreeMap;
use std::path::Path;

use relais::config::{self, Config};
use relais::domain::msisdn::Msisdn;

fn shipped() -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/france.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    match config::parse(&text, &path.display().to_string()) {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

fn operator_of(config: &Config, number: &str) -> String {
    let number = Msisdn::from_e164_digits(number).unwrap();
    config.policy.operator_for(number).name.to_string()
}

#[test]
fn every_territory_is_there_with_its_time_zone() {
    let config = shipped();
    let mut zones: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for operator in &config.policy.operators {
        if let Some(territory) = &operator.territory {
            let zones = zones.entry(territory).or_default();
            zones.push(operator.timezone.name());
            zones.dedup();
        }
    }
    let expected = [
        ("GF", "America/Cayenne"),
        ("GP", "America/Guadeloupe"),
        ("MQ", "America/Martinique"),
        ("NC", "Pacific/Noumea"),
        ("PF", "Pacific/Tahiti"),
        ("PM", "America/Miquelon"),
        ("RE", "Indian/Reunion"),
        ("WF", "Pacific/Wallis"),
        ("YT", "Indian/Mayotte"),
    ];
    let expected = expected.map(|(territory, zone)| (territory, vec![zone]));
    assert_eq!(zones.into_iter().collect::<Vec<_>>(), expected);
    for name in [
        "orange",
        "sfr",
        "bouygues",
        "free",
        "la-poste",
        "lycamobile",
        "lebara",
    ] {
        let operator = config.policy.operator(&name.into());
        assert_eq!(operator.name.as_str(), name);
        assert_eq!(operator.timezone, chrono_tz::Europe::Paris);
        assert!(operator.prefixes.len() >= 5, "{name}");
    }
}

#[test]
fn numbers_fall_under_the_operator_that_they_were_given_to() {
    let config = shipped();
    for (number, operator) in [
        ("33607123456", "orange"),
        ("33630000000", "orange"),
        ("33689000000", "orange"),
        ("33603123456", "sfr"),
        ("33612345678", "sfr"),
        ("33620123456", "sfr"),
        // Within a prefix of Orange's, and another's all the same.
        ("33635000000", "sfr"),
        ("33660000000", "bouygues"),
        ("33699123456", "bouygues"),
        ("33651000000", "free"),
        ("33652123456", "free"),
        ("33766123456", "free"),
        ("33781123456", "free"),
        ("33780123456", "afone"),
        ("33751123456", "lycamobile"),
        ("33641000000", "la-poste"),
        ("590690350000", "orange-gp"),
        ("596696200000", "orange-mq"),
        ("596696010000", "sfr-mq"),
        ("594694200000", "orange-gf"),
        ("262692012345", "orange-re"),
        ("262693301234", "free-re"),
        ("262639021234", "orange-yt"),
        ("262639690000", "sfr-yt"),
        // +262 is Réunion and Mayotte, and these are Mayotte's.
        ("262709351234", "sfr-yt"),
        ("508551234", "spm-telecom-pm"),
        ("687751234", "opt-nc"),
        ("68987123456", "vini-pf"),
        ("68989123456", "vodafone-pf"),
        ("681821234", "spt-wf"),
        // What the table does not know still has its territory.
        ("590699000000", "others-gp"),
        ("508411234", "others-pm"),
        ("262269123456", "others-yt"),
        ("33123456789", "default"),
        ("447700900123", "default"),
    ] {
        assert_eq!(operator_of(&config, number), operator, "+{number}");
    }
}

#[test]
fn the_example_joins_its_routes_to_what_it_includes() {
    let config = shipped();
    let operator = |name: &str| config.policy.operator(&name.into()).clone();
    let route = |name: &str| {
        let operator = operator(name);
        let steps = operator.route.iter().map(|step| {
            let names: Vec<_> = step.iter().map(|account| account.as_str()).collect();
            names.join("|")
        });
        steps.collect::<Vec<_>>()
    };
    assert_eq!(route("orange"), ["orange", "sfr"]);
    assert_eq!(route("digicel-mq"), ["orange|sfr"], "the default's");
    assert_eq!(
        operator("digicel-mq").hours.to_string(),
        "mon-sat 08:00-20:00"
    );
    assert_eq!(operator("free").rate, 10.into());
    assert_eq!(operator("orange-re").retry.0.len(), 5);
    assert_eq!(config.warnings, []);
    let shown = config.effective();
    assert!(
        shown.contains("  hours       mon-sat 08:00-20:00, Indian/Reunion\n"),
        "{shown}"
    );
    assert!(
        shown.contains("  territory   YT, Indian/Mayotte\n"),
        "{shown}"
    );
}
