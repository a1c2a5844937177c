//! `[modem.NAME]`: what it may say, what it must not, and what of it is shown.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{ACCOUNT, Config, ConfigError, errors, read_text};
use crate::domain::policy::ModemRules;

const MODEM: &str = "[modem.sim1]\ndevice = \"/dev/modem-a\"\n";
const ALONE: &str = include_str!("../../../config/examples/modem.toml");
const BESIDE: &str = include_str!("../../../config/examples/carrier-and-modem.toml");

/// The warnings of a file, but for the one that every route over a SIM deserves.
fn words(config: &Config) -> Vec<ConfigError> {
    let (of_sims, others): (Vec<_>, Vec<_>) = config
        .warnings
        .iter()
        .cloned()
        .partition(|warning| warning.key == "operators");
    assert_eq!(of_sims.len(), 1, "{:?}", config.warnings);
    others
}

#[test]
fn a_device_is_all_that_a_modem_needs() {
    let config = read_text(MODEM).unwrap();
    assert_eq!(words(&config), []);
    let modem = &config.modems[0];
    assert_eq!(modem.device, Path::new("/dev/modem-a"));
    assert_eq!(modem.rules, ModemRules::default());
    assert!(modem.pin.is_none() && modem.power_command.is_empty());
    let policy = &config.policy;
    assert_eq!(policy.operators[0].route, [vec!["sim1".into()]]);
    let rules = policy.modems.get(&"sim1".into()).unwrap();
    assert_eq!(rules.daily_limit, Some(200));
    assert_eq!(policy.inbound.tenant(&"sim1".into()).as_str(), "default");
    let expected = "\
modem sim1
  device      /dev/modem-a, 115200 bit/s
  SIM         no PIN, its own SMSC address
  rate        no limit
  budget      200 messages in 24h, 200 recipients in 30d
  timing      answer 1m, rest 0s, sweep 5m, check 1m, reopen 1s..30s
  in doubt    rests 2m, for a status report to settle it
  inbound     to tenant default

operator default
";
    let shown = config.effective();
    assert!(shown.contains(expected), "{shown}");
}

#[test]
fn every_key_of_a_modem_counts_and_its_pin_is_never_shown() {
    let config = read_text(&format!(
        "{MODEM}rate = \"6/min\"\nbaud = 9600\npin = \"98761\"\nservice_centre = \"+33695000695\"\n\
         daily_limit = 0\nrecipients_30d = 500\nin_doubt_grace = \"5m\"\nsubmit_timeout = \"90s\"\n\
         rest = \"100ms\"\nsweep = \"1m\"\ncheck = \"30s\"\nussd_balance = \"#123#\"\n\
         ussd_every = \"24h\"\nreopen = \"2s..1m\"\npower_command = [\"/bin/sh\", \"-c\", \"true\"]\n\
         tenant = \"mairie\"\n"
    ))
    .unwrap();
    assert_eq!(words(&config), []);
    let modem = &config.modems[0];
    assert_eq!(modem.pin.as_ref().unwrap().expose_secret(), "98761");
    let rules = ModemRules {
        daily_limit: None,
        recipients_30d: Some(500),
        in_doubt_grace: Duration::from_mins(5),
    };
    assert_eq!(config.policy.modems.get(&"sim1".into()), Some(&rules));
    assert_eq!(modem.power_command, ["/bin/sh", "-c", "true"]);
    let tenant = config.policy.inbound.tenant(&"sim1".into());
    assert_eq!(tenant.as_str(), "mairie");
    let expected = "\
  device      /dev/modem-a, 9600 bit/s
  SIM         PIN ****, SMSC +33695000695
  rate        6 parts/min
  budget      any number of messages in 24h, 500 recipients in 30d
  timing      answer 1m30s, rest 100ms, sweep 1m, check 30s, reopen 2s..1m
  in doubt    rests 5m, for a status report to settle it
  balance     #123# every 24h
  power       /bin/sh -c true /dev/modem-a
  inbound     to tenant mairie
";
    let shown = config.effective();
    assert!(shown.contains(expected), "{shown}");
    assert!(!shown.contains("98761"));
    assert!(!format!("{config:?}").contains("98761"));
}

#[test]
fn every_mistake_of_a_modem_is_told_with_its_line_and_key() {
    let modem = |more: &str| format!("{MODEM}{more}");
    for (text, expected) in [
        (
            "[modem.sim1]\n".to_owned(),
            "r.toml:1: modem.sim1: device is missing: the modem's port, for example a link in /dev/serial/by-id",
        ),
        (
            "[modem.sim1]\ndevice = \"\"\n".to_owned(),
            "r.toml:2: modem.sim1.device: it is empty: name the modem's port, for example a link in /dev/serial/by-id",
        ),
        (
            modem("devise = \"x\"\n"),
            "r.toml:3: modem.sim1.devise: unknown key; did you mean device?",
        ),
        (
            modem("pin = \"12a4\"\n"),
            "r.toml:3: modem.sim1.pin: a PIN is 4 to 8 digits; remove the key if the SIM asks for none",
        ),
        (
            modem("pin = \"123\"\n"),
            "r.toml:3: modem.sim1.pin: a PIN is 4 to 8 digits; remove the key if the SIM asks for none",
        ),
        (
            modem("pin = 1234\n"),
            "r.toml:3: modem.sim1.pin: a text is expected, not a whole number",
        ),
        (
            modem("pin = \"${UNSET}\"\n"),
            "r.toml:3: modem.sim1.pin: the environment variable UNSET is not set",
        ),
        (
            modem("pin = \"1234\"\npin_file = \"x\"\n"),
            "r.toml:4: modem.sim1.pin_file: pin is given as well; keep one of the two",
        ),
        (
            modem("service_centre = \"0695000695\"\n"),
            "r.toml:3: modem.sim1.service_centre: \"0695000695\" is no SMSC address; write + and digits, like \"+33695000695\"",
        ),
        (
            modem("rate = \"6/day\"\n"),
            "r.toml:3: modem.sim1.rate: \"6/day\" is no rate; write it like 100, \"100/s\", \"6/min\" or \"300/h\"",
        ),
        (
            modem("daily_limit = -1\n"),
            "r.toml:3: modem.sim1.daily_limit: -1 is outside 0 to 100000",
        ),
        (
            modem("sweep = \"5\"\n"),
            "r.toml:3: modem.sim1.sweep: \"5\" is no duration; write it like \"48h\", \"1m30s\" or \"250ms\"",
        ),
        (
            modem("rest = \"1m\"\n"),
            "r.toml:3: modem.sim1.rest: 1m is outside 0s to 5s",
        ),
        (
            modem("ussd_balance = \"*123#;+CFUN=0\"\n"),
            "r.toml:3: modem.sim1.ussd_balance: \"*123#;+CFUN=0\" cannot be dialled; only digits, * and # can, like \"*123#\"",
        ),
        (
            modem("power_command = [\"usb-power\", \"off\"]\n"),
            "r.toml:3: modem.sim1.power_command[0]: \"usb-power\" is no absolute path; a service has no PATH worth trusting",
        ),
        (
            modem("power_command = \"/bin/true\"\n"),
            "r.toml:3: modem.sim1.power_command: a list [\"…\", \"…\"] is expected",
        ),
        (
            modem("tenant = \"La Mairie\"\n"),
            "r.toml:3: modem.sim1.tenant: \"La Mairie\" is no tenant: ",
        ),
        (
            format!(
                "{MODEM}{}[operators.default]\nroute = [\"sim1|sim2\"]\n",
                MODEM.replace("sim1", "sim2")
            ),
            "r.toml:4: modem.sim2.device: /dev/modem-a is the device of modem sim1 already; one port serves one modem",
        ),
        (
            format!("{ACCOUNT}{}", MODEM.replace("sim1", "a")),
            "r.toml:5: modem.a: there is [smpp.a] already; routes and metrics need one name for each",
        ),
        (
            format!("{MODEM}[operators.default]\nroute = [\"sim2\"]\n"),
            "r.toml:4: operators.default.route[0]: there is no account \"sim2\"; accounts: sim1",
        ),
        (
            format!("{MODEM}{ACCOUNT}"),
            "r.toml: operators.default: add the table [operators.default] with route = [\"a\"], for the numbers that no prefix names (accounts: a, sim1)",
        ),
    ] {
        let found = errors(&text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}: {found:?}");
        assert!(!found.concat().contains("12a4"));
    }
}

#[test]
fn a_name_that_moves_and_a_program_that_is_not_there_deserve_a_word() {
    let warnings = |text: &str| words(&read_text(text).unwrap());
    for (device, warned) in [
        ("/dev/ttyUSB0", true),
        ("/dev/ttyACM12", true),
        ("/dev/ttyS0", false),
        ("/dev/serial/by-id/usb-ttyUSB0", false),
        ("/dev/ttyUSB-sim1", false),
    ] {
        let found = warnings(&MODEM.replace("/dev/modem-a", device));
        assert_eq!(found.len(), usize::from(warned), "{found:?}");
        assert!(!warned || found[0].problem.contains("/dev/serial/by-path"));
    }
    let found = warnings(&format!(
        "{MODEM}power_command = [\"/nonexistent/power\"]\n"
    ));
    assert_eq!(
        found[0].to_string(),
        "r.toml:3: modem.sim1.power_command[0]: /nonexistent/power is no program that can be run; \
         without it a modem that hangs stays down"
    );
}

#[test]
fn a_pin_in_place_makes_the_file_a_secret() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    std::fs::write(&path, format!("{MODEM}pin = \"1234\"\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let warnings = words(&super::load(&path).unwrap());
    assert_eq!((warnings.len(), warnings[0].line), (1, 3), "{warnings:?}");
    assert!(warnings[0].problem.contains("chmod 6"));
}

#[test]
fn modems_stand_in_routes_beside_carriers_and_alone() {
    let config = read_text(ALONE).unwrap();
    assert_eq!((config.smpp.len(), config.modems.len()), (0, 1));
    assert_eq!(config.policy.operators[0].route, [vec!["sim1".into()]]);
    let config = read_text(BESIDE).unwrap();
    assert_eq!((config.smpp.len(), config.modems.len()), (1, 2));
    let route = &config.policy.operators[0].route;
    assert_eq!(route[0], ["orange".into()]);
    assert_eq!(route[1], ["sim1".into(), "sim2".into()]);
    assert_eq!(config.policy.modems.len(), 2);
    assert_eq!(words(&config), []);
}
