//! What the configuration promises: exact messages with exact lines, and a reference that holds.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::domain::policy::OnDoubt;
use crate::domain::refusal::RefusalClass;

mod guard;
mod hours;
mod http;
mod inbound;
mod include;
mod modem;
mod operators;

const REFERENCE: &str = include_str!("../../config/relais.toml");
const MINIMAL: &str = include_str!("../../config/examples/minimal.toml");
const TOWN_HALL: &str = include_str!("../../config/examples/town-hall.toml");

fn read_text(text: &str) -> Result<Config, ConfigErrors> {
    parse_in(text, "r.toml", &|name| {
        (name == "SET").then(|| "from-env".to_owned())
    })
}

fn errors(text: &str) -> Vec<String> {
    match read_text(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

const ACCOUNT: &str = "[smpp.a]\nhost = \"127.0.0.1\"\nsystem_id = \"me\"\npassword = \"secret\"\n";

#[test]
fn every_mistake_is_told_with_its_line_and_key() {
    let account = |more: &str| format!("{ACCOUNT}{more}");
    for (text, expected) in [
        (
            account("hots = 1\n"),
            "r.toml:5: smpp.a.hots: unknown key; did you mean host?",
        ),
        (
            account("[http]\nbananas = 1\n"),
            "r.toml:6: http.bananas: unknown key; known here: listen, metrics_listen, tls_cert_file, tls_key_file, max_connections, max_connections_per_address, head_timeout, body_timeout, answer_timeout",
        ),
        (
            account("[htp]\n"),
            "r.toml:5: htp: unknown key; did you mean http?",
        ),
        (
            account("window = 0\n"),
            "r.toml:5: smpp.a.window: 0 is outside 1 to 1000",
        ),
        (
            account("window = \"10\"\n"),
            "r.toml:5: smpp.a.window: a whole number is expected, not a text",
        ),
        (
            account("port = 70000\n"),
            "r.toml:5: smpp.a.port: 70000 is outside 1 to 65535",
        ),
        (
            account("binds = 99\n"),
            "r.toml:5: smpp.a.binds: 99 is outside 1 to 32",
        ),
        (
            account("rate = -1\n"),
            "r.toml:5: smpp.a.rate: -1 is outside 0 to 100000",
        ),
        (
            account("rate = \"6/day\"\n"),
            "r.toml:5: smpp.a.rate: \"6/day\" is no rate; write it like 100, \"100/s\", \"6/min\" or \"300/h\"",
        ),
        (
            account("bind = \"receiver\"\n"),
            "r.toml:5: smpp.a.bind: \"receiver\" is not one of \"transceiver\", \"transmitter+receiver\"",
        ),
        (
            account("response_timeout = 60\n"),
            "r.toml:5: smpp.a.response_timeout: 60 has no unit; write it like \"60s\"",
        ),
        (
            account("enquire_link = \"soon\"\n"),
            "r.toml:5: smpp.a.enquire_link: \"soon\" is no duration; write it like \"48h\", \"1m30s\" or \"250ms\"",
        ),
        (
            account("reconnect = \"30s..1s\"\n"),
            "r.toml:5: smpp.a.reconnect: \"30s..1s\" begins with the longer one",
        ),
        (
            account("response_timeout = \"2h\"\n"),
            "r.toml:5: smpp.a.response_timeout: 2h is outside 100ms to 1h",
        ),
        (
            account("[smpp.a.errors]\n\"0x400\" = \"fatal\"\n"),
            "r.toml:6: smpp.a.errors.0x400: \"fatal\" is not one of \"permanent\", \"number_invalid\", \"temporary\", \"throttled\", \"account\"",
        ),
        (
            account("[smpp.a.errors]\nESME_RTROTTLED = \"account\"\n"),
            "r.toml:6: smpp.a.errors.ESME_RTROTTLED: no command_status; write it like 0x00000400, 1024 or ESME_RSUBMITFAIL",
        ),
        (
            account("[smpp.a.errors]\n0 = \"account\"\n"),
            "r.toml:6: smpp.a.errors.0: ESME_ROK is no refusal",
        ),
        (
            account("[smpp.a.errors]\n88 = \"account\"\nESME_RTHROTTLED = \"account\"\n"),
            "r.toml:7: smpp.a.errors.ESME_RTHROTTLED: ESME_RTHROTTLED (0x00000058) is given twice",
        ),
        (
            account("errors = 3\n"),
            "r.toml:5: smpp.a.errors: a table [smpp.a.errors] is expected, not a whole number",
        ),
        (
            account("tls_server_name = \"smsc.example\"\n"),
            "r.toml:5: smpp.a.tls_server_name: without tls = true this means nothing",
        ),
        (
            account("tls = true\ntls_ca_file = \"/nonexistent/ca\"\n"),
            "r.toml:6: smpp.a.tls_ca_file: /nonexistent/ca cannot be read: No such file or directory (os error 2)",
        ),
        (
            account("tls = true\ntls_key_file = \"Cargo.toml\"\n"),
            "r.toml:6: smpp.a.tls_key_file: Cargo.toml holds no private key in PEM",
        ),
        (
            account("tls = true\ntls_server_name = \"a b\"\n"),
            "r.toml:6: smpp.a.tls_server_name: \"a b\" is neither a host name nor an address",
        ),
        (
            account("version = \"3.3\"\n"),
            "r.toml:5: smpp.a.version: SMPP 3.3 has no transceiver; set bind = \"transmitter+receiver\"",
        ),
        (
            account(
                "bind = \"transmitter+receiver\"\nversion = \"3.3\"\nconcatenation = \"sar\"\n",
            ),
            "r.toml:7: smpp.a.concatenation: SMPP 3.3 has no TLVs; use \"udh\" or \"udh16\"",
        ),
        (
            account(
                "bind = \"transmitter+receiver\"\nversion = \"3.3\"\n[smpp.a.tlvs]\n0x1400 = \"\"\n",
            ),
            "r.toml:7: smpp.a.tlvs: SMPP 3.3 has no TLVs",
        ),
        (
            account("priority_flag = [0, 1]\n"),
            "r.toml:5: smpp.a.priority_flag: four numbers are expected, for our priorities 0 to 3",
        ),
        (
            account("[smpp.a.numbering]\nshort = \"7/0\"\n"),
            "r.toml:6: smpp.a.numbering.short: \"7/0\" is no ton/npi; write it like \"5/0\", at most \"6/18\"",
        ),
        (
            account("[smpp.a.tlvs]\n0x0424 = \"u8:1\"\n"),
            "r.toml:6: smpp.a.tlvs.0x0424: message_payload is written by Relais; see concatenation",
        ),
        (
            account("[smpp.a.tlvs]\npe_id = \"u8:1\"\n"),
            "r.toml:6: smpp.a.tlvs.pe_id: no tag; write it like 0x1400",
        ),
        (
            account("[smpp.a.tlvs]\n0x1400 = 5\n"),
            "r.toml:6: smpp.a.tlvs.0x1400: 5 has no width; write \"u8:5\", \"u16:5\" or \"u32:5\"",
        ),
        (
            account("[smpp.a.tlvs]\n0x1400 = \"u8:256\"\n"),
            "r.toml:6: smpp.a.tlvs.0x1400: \"256\" is no whole number from 0 to 255",
        ),
        (
            account("[smpp.a.tlvs]\n0x1400 = \"hex:ABC\"\n"),
            "r.toml:6: smpp.a.tlvs.0x1400: \"ABC\" is not hexadecimal, two digits an octet",
        ),
        (
            account("[smpp.a.tlvs]\n0x1400 = \"é\"\n"),
            "r.toml:6: smpp.a.tlvs.0x1400: only plain ASCII characters are allowed; write others as \"hex:…\"",
        ),
        (
            account("[smpp.a.tlvs]\n0x1400 = \"\"\n5120 = \"\"\n"),
            "r.toml:7: smpp.a.tlvs.5120: 0x1400 is given twice",
        ),
        (
            account("stop = \"STOP\"\n"),
            "r.toml:5: smpp.a.stop: \"STOP\" is neither a short code, like \"36111\", nor an international number",
        ),
        (
            account("sender = \"TWELVECHARS!\"\n"),
            "r.toml:5: smpp.a.sender: the sender has 12 characters; an alphanumeric sender has at most 11",
        ),
        (
            account("password_file = \"x\"\n"),
            "r.toml:5: smpp.a.password_file: password is given as well; keep one of the two",
        ),
        (
            ACCOUNT.replace("\"secret\"", "\"${UNSET}\""),
            "r.toml:4: smpp.a.password: the environment variable UNSET is not set",
        ),
        (
            ACCOUNT.replace("\"secret\"", "\"ninechars\""),
            "r.toml:4: smpp.a.password: the password is longer than the 8 characters that SMPP 3.4 allows",
        ),
        (
            ACCOUNT.replace("127.0.0.1", "smsc.example.net"),
            "r.toml:4: smpp.a.password: this is the password of an example; put the carrier's own",
        ),
        (
            ACCOUNT.replace("password = \"secret\"\n", ""),
            "r.toml:1: smpp.a: password is missing: give password_file = \"…\" or password = \"${NAME}\"",
        ),
        (
            ACCOUNT.replace(
                "password = \"secret\"",
                "password_file = \"/nonexistent/p\"",
            ),
            "r.toml:4: smpp.a.password_file: /nonexistent/p cannot be read: No such file or directory (os error 2)",
        ),
        (
            ACCOUNT.replace("host = \"127.0.0.1\"\n", ""),
            "r.toml:1: smpp.a: host is missing: the carrier's host name or address",
        ),
        (
            ACCOUNT.replace("smpp.a", "smpp.\"a b\""),
            "r.toml:1: smpp.a b: a name is made of letters, digits, - and _, 32 at most",
        ),
        (
            "timezone = \"Europe/Paris\"\n".to_owned(),
            "r.toml: there is neither a carrier account nor a modem; add a table [smpp.NAME] with host, port, system_id and password, or a table [modem.NAME] with device",
        ),
        (
            format!("timezone = \"Europe/Pari\"\n{ACCOUNT}"),
            "r.toml:1: timezone: \"Europe/Pari\" is no time zone of the tz database, like \"Europe/Paris\"",
        ),
        (
            format!("default_country = \"Frankreich\"\n{ACCOUNT}"),
            "r.toml:1: default_country: \"Frankreich\" is no country code of two letters, like \"FR\"",
        ),
        (
            account("[http]\nlisten = \"8775\"\n"),
            "r.toml:6: http.listen: \"8775\" is no address and port, like \"127.0.0.1:8775\"",
        ),
        (
            account("[store]\nbackend = \"redb\"\n"),
            "r.toml:6: store.backend: \"redb\" is not in this version; use \"sled\"",
        ),
        (
            account("[store]\ndurability = \"none\"\n"),
            "r.toml:6: store.durability: \"none\" is not one of \"power\", \"process\"",
        ),
        (
            account("[store]\nretention = \"30d\"\n"),
            "r.toml:6: store.retention: it has become the table [retention], with texts, numbers and \
             messages apart; write messages = … there for what stood here",
        ),
        (
            account("[retention]\ntexts = \"1h\"\n"),
            "r.toml:6: retention.texts: 1h is outside 24h to 3660d",
        ),
        (
            account("[store]\ncache = \"64\"\n"),
            "r.toml:6: store.cache: \"64\" is no size from \"1 MiB\" to \"64 GiB\"",
        ),
        (
            account("[log]\nlevel = \"loud\"\n"),
            "r.toml:6: log.level: \"loud\" is no level (error, warn, info, debug, trace) nor a list of target=level",
        ),
        (
            account("[webhooks]\nallow = [\"127.0.0.1\"]\n"),
            "r.toml:6: webhooks.allow[0]: \"127.0.0.1\" is no network, like \"10.0.0.0/8\" or \"127.0.0.1/32\"",
        ),
        (
            account("[operators.default]\nroute = []\n"),
            "r.toml:6: operators.default.route: the route is empty; name at least one account",
        ),
        (
            account("[operators.default]\nroute = [\"a\", \"b\"]\n"),
            "r.toml:6: operators.default.route[1]: there is no account \"b\"; accounts: a",
        ),
        (
            account("[operators.default]\nroute = [\"a|a\"]\n"),
            "r.toml:6: operators.default.route[0]: a is named twice",
        ),
        (
            account("[operators.default]\nprefixes = [\"+33\"]\n"),
            "r.toml:6: operators.default.prefixes: the default operator rules the numbers that no prefix names; remove this key",
        ),
        (
            account("[operators.x]\nprefixes = [\"0607\"]\n"),
            "r.toml:6: operators.x.prefixes[0]: \"0607\" is no prefix; write + and the country code, like \"+33607\"",
        ),
        (
            account(
                "[operators.x]\nprefixes = [\"+33\"]\n[operators.y]\nprefixes = [\n  \"+44\",\n  \"+33\"\n]\n",
            ),
            "r.toml:10: operators.y.prefixes[1]: +33 is already a prefix of x",
        ),
        (
            account("[operators.sfr]\nretry = [\"1m\", \"5m\", \"1h\", \"20m\"]\n"),
            "r.toml:6: operators.sfr.retry[3]: 20m is shorter than the one before (1h)",
        ),
        (
            account("[operators.x]\nvalidity = \"99d\"\n"),
            "r.toml:6: operators.x.validity: 99d is outside 1s to 30d",
        ),
        (
            account("[operators.x]\non_doubt = \"maybe\"\n"),
            "r.toml:6: operators.x.on_doubt: \"maybe\" is not one of \"resend\", \"fail\"",
        ),
        (
            account("[operators.x]\nhours = [\"20:00-08:00\"]\n"),
            "r.toml:6: operators.x.hours[0]: \"20:00-08:00\" are no hours; write them like \"mon-fri 08:00-20:00\", and hours over midnight as two: \"20:00-24:00\", \"00:00-08:00\"",
        ),
        (
            account("[operators.x]\nterritory = \"Mars\"\n"),
            "r.toml:6: operators.x.territory: \"Mars\" is no country code of two letters, like \"FR\"",
        ),
        (
            account("[operators.x]\ntimezone = \"CEST\"\n"),
            "r.toml:6: operators.x.timezone: \"CEST\" is no time zone of the tz database, like \"Europe/Paris\"",
        ),
        (
            format!("operators = 3\n{ACCOUNT}"),
            "r.toml:1: operators: a table [operators] is expected, not a whole number",
        ),
        (
            format!("{ACCOUNT}{}", ACCOUNT.replace("smpp.a", "smpp.b")),
            "r.toml: operators.default: add the table [operators.default] with route = [\"a\"], for the numbers that no prefix names (accounts: a, b)",
        ),
        (
            format!(
                "{ACCOUNT}{}[operators.default]\nvalidity = \"1h\"\n",
                ACCOUNT.replace("smpp.a", "smpp.b")
            ),
            "r.toml:9: operators.default: add route = [\"a\"], for the numbers that no prefix names (accounts: a, b)",
        ),
    ] {
        assert_eq!(errors(&text), [expected], "{text}");
    }
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let found = errors("data_dir = \"/x\"\n[http\nlisten = 3\n");
    assert!(found[0].starts_with("r.toml:2: not TOML: "), "{found:?}");
    let found = errors(&format!("{ACCOUNT}port = 1\nport = 2\n"));
    assert_eq!(found, ["r.toml:6: not TOML: duplicate key"]);
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "timezone = 3\n[http]\nlisten = \"x\"\n[smpp.a]\nhost = \"h\"\nwindow = 0\n";
    let lines: Vec<_> = read_text(text)
        .unwrap_err()
        .0
        .iter()
        .map(|e| e.line)
        .collect();
    assert_eq!(lines, [1, 3, 4, 4, 6]);
}

#[test]
fn secrets_come_from_the_environment_or_a_file_and_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p"), "hush\nsecond line\n").unwrap();
    let source = folder.path().join("r.toml").display().to_string();
    let text = ACCOUNT.replace("password = \"secret\"", "password_file = \"p\"");
    let config = parse(&text, &source).unwrap();
    assert_eq!(exposed(&config), "hush");
    assert!(
        config.warnings[0].problem.contains("chmod 6"),
        "{:?}",
        config.warnings
    );

    let config = read_text(&ACCOUNT.replace("\"secret\"", "\"${SET}\"")).unwrap();
    assert_eq!(exposed(&config), "from-env");
    assert!(!config.effective().contains("from-env"));
    assert!(!format!("{config:?}").contains("from-env"));
}

fn exposed(config: &Config) -> &str {
    use secrecy::ExposeSecret;
    config.smpp[0].password.expose_secret()
}

#[test]
fn a_file_with_a_secret_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    std::fs::write(&path, ACCOUNT).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let warnings = load(&path).unwrap().warnings;
    assert_eq!((warnings.len(), warnings[0].line), (1, 4), "{warnings:?}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(load(&path).unwrap().warnings, []);
}

#[test]
fn a_file_of_roots_may_be_read_by_its_group_and_nobody_elses_may() {
    use super::raw::is_too_open;
    let service = 998;
    assert!(!is_too_open(0o640, 0) && !is_too_open(0o440, 0) && !is_too_open(0o600, service));
    assert!(is_too_open(0o640, service), "who else is in that group?");
    assert!(is_too_open(0o644, 0) && is_too_open(0o660, 0) && is_too_open(0o604, service));
}

#[test]
fn the_examples_are_valid_and_mean_what_they_say() {
    let config = read_text(MINIMAL).unwrap();
    assert_eq!(config.policy.operators[0].on_doubt, OnDoubt::Resend);
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8775");
    assert_eq!(config.store.durability, Durability::Power);
    let config = read_text(TOWN_HALL).unwrap();
    assert_eq!(config.policy.operators.len(), 3);
    assert_eq!(config.smpp[1].bind, Bind::TransmitterReceiver);
    assert_eq!(config.policy.rates.get(&"sfr".into()), Some(&20.into()));
    assert_eq!(config.warnings, []);
}

#[test]
fn the_reference_names_every_key() {
    let nowhere = |_: &str| None;
    let includes = Includes::default();
    let mut reader = Reader::new("r.toml", REFERENCE, &includes, &nowhere);
    assert!(everything(&mut reader).is_some());
    let mut table = String::new();
    let mut named = std::collections::BTreeSet::new();
    for line in REFERENCE.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(header) = line.strip_prefix('[').and_then(|l| l.split_once(']')) {
            let mut parts: Vec<_> = header.0.split('.').collect();
            if let [
                "smpp" | "modem" | "operators" | "hours" | "holidays",
                name,
                ..,
            ] = &mut parts[..]
            {
                *name = "*";
            }
            table = format!("{}.", parts.join("."));
        } else if let Some((key, _)) = line.split_once(" = ")
            && !key.contains(' ')
        {
            // Keys in quotes are the file's own.
            let key = if key.starts_with('"') { "*" } else { key };
            named.insert(format!("{table}{key}"));
        }
    }
    let missing: Vec<_> = reader
        .asked
        .iter()
        .filter(|key| {
            !named
                .iter()
                .any(|named| named == *key || named.starts_with(&format!("{key}.")))
        })
        .collect();
    assert!(missing.is_empty(), "not in config/relais.toml: {missing:?}");
    let unknown: Vec<_> = named.difference(&reader.asked).collect();
    assert!(
        unknown.is_empty(),
        "in config/relais.toml only: {unknown:?}"
    );
}

#[test]
fn the_defaults_that_the_reference_shows_are_the_defaults() {
    let shown: String = REFERENCE
        .lines()
        .map(|line| {
            let is_key = line.strip_prefix("# ").filter(|key| {
                key.split_once(" = ")
                    .is_some_and(|(name, _)| !name.contains(' '))
                    && !key.contains("# default:")
                    && !key.starts_with("password_file")
                    && !key.starts_with("pin_file")
            });
            format!("{}\n", is_key.unwrap_or(line))
        })
        .collect();
    let (plain, shown) = (read_text(REFERENCE).unwrap(), read_text(&shown).unwrap());
    assert_eq!(plain.effective(), shown.effective());
}

#[test]
fn an_account_says_what_its_carrier_means_by_a_status() {
    let text = format!(
        "{ACCOUNT}[smpp.a.errors]\n\"0x00000400\" = \"permanent\"\n1025 = \"throttled\"\n\
         esme_rsubmitfail = \"account\"\n"
    );
    let config = read_text(&text).unwrap();
    let given: Vec<_> = config.smpp[0].refusals.overrides().collect();
    assert_eq!(
        given,
        [
            (0x45, RefusalClass::Account),
            (0x400, RefusalClass::Permanent),
            (0x401, RefusalClass::Throttled)
        ]
    );
    let shown = config.effective();
    assert!(
        shown.contains("  refusals    ESME_RSUBMITFAIL (0x00000045) is account\n"),
        "{shown}"
    );
}

#[test]
fn an_account_says_how_its_messages_are_put_into_pdus() {
    use crate::domain::wire::{Concatenation, Version};
    let text = format!(
        "{ACCOUNT}version = \"5.0\"\nconcatenation = \"sar\"\npriority_flag = [0, 0, 1, 1]\n\
         protocol_id = 64\nregistered_delivery = 17\n[smpp.a.tlvs]\n\"0x1400\" = \"hex:0a0B\"\n\
         0x1401 = \"text\"\n5122 = \"u8:7\"\n0x1403 = \"u16:500\"\n0x1404 = \"u32:70000\"\n\
         0x1405 = \"text:u8:1\"\n0x1406 = \"c\\u0000\"\n0x1407 = \"${{SET}}\"\n0x1408 = \"\"\n"
    );
    let config = read_text(&text).unwrap();
    assert_eq!(config.warnings, []);
    let wire = &config.smpp[0].wire;
    assert_eq!(
        (wire.version, wire.concatenation),
        (Version::V50, Concatenation::Sar)
    );
    assert_eq!(wire.priority_flags, [0, 0, 1, 1]);
    assert_eq!((wire.protocol_id, wire.registered_delivery), (64, 17));
    let tlvs: Vec<_> = wire.tlvs.iter().map(|t| (t.tag, &t.value[..])).collect();
    assert_eq!(
        tlvs,
        [
            (0x1400, &b"\x0A\x0B"[..]),
            (0x1401, b"text"),
            (0x1402, b"\x07"),
            (0x1403, b"\x01\xF4"),
            (0x1404, b"\x00\x01\x11\x70"),
            (0x1405, b"u8:1"),
            (0x1406, b"c\0"),
            (0x1407, b"from-env"),
            (0x1408, b""),
        ]
    );
    assert!(config.effective().contains("  tlv         0x1400 = 0A0B\n"));
    let with = |more: &str| format!("{ACCOUNT}{more}");
    let old = read_text(&with(
        "version = \"3.3\"\nbind = \"transmitter+receiver\"\n",
    ));
    assert_eq!(old.unwrap().smpp[0].wire.priority_flags, [0, 1, 1, 1]);
    let numbered = read_text(&with("[smpp.a.numbering]\nshort = \"0/1\"\n")).unwrap();
    assert!(
        numbered
            .effective()
            .contains("  numbering   alphanumeric 5/0, short 0/1, international 1/1\n")
    );
    let silent = read_text(&with("registered_delivery = 0\n")).unwrap();
    assert!(silent.warnings[0].problem.contains("no_receipt"));
}

#[test]
fn the_effective_policy_shows_defaults_and_hides_secrets() {
    let text = format!(
        "data_dir = \"/srv/relais\"\n{ACCOUNT}rate = 20\n\
         [operators.x]\nprefixes = [\"+336\", \"+337\"]\nretry = []\non_doubt = \"fail\"\n"
    );
    let expected = "\
data          /srv/relais
time zone     Europe/Paris
country       FR (national numbers are read as its own)
http          127.0.0.1:8775, in the clear, 1024 connections, 128 of one address
              head 30s, body 1m, answer 1m
store         sled, a 202 survives a power cut, cache 8 MiB
retention     texts 30d, numbers 395d, messages 1095d after their final state
log           info, text
limits        10 parts a message, 1000 recipients a call, 5000000 live messages
api keys      1000/s requests, any number of messages a day
delivery      receipts awaited 1h past validity, doubtful submissions rest 10s
webhooks      public addresses over https
guard         to FR; 36 names reserved, 39 too general
              a recipient 5 an hour, 20 a day; a prefix 50 in 10m; 10 consecutive numbers
inbound       out by STOP ARRET, in again by START, missing parts awaited 1h

account a
  smsc        127.0.0.1:2775 as me, password ****
  sessions    1 × transceiver, window 10
  rate        20 parts/s
  timing      answer 1m, enquire_link 30s, reconnect 1s..15s
  sender      the carrier's own, ton by form, npi by form
  recipients  ton 1, npi 1
  types       system_type \"\", service_type \"\", data_coding 0
  inbound     to tenant default
  wire        SMPP 3.4, concatenation udh, registered_delivery 1, protocol_id 0, priority_flag 0 1 2 3
  texts       GSM 03.38, then Unicode

operator default
  prefixes    every number that no prefix names
  route       a
  validity    48h
  retry       1m 5m 15m 1h 4h 8h 8h 12h 12h
  on doubt    resend (at least once)

operator x
  prefixes    +336 +337
  route       a
  validity    48h
  retry       never
  on doubt    fail (at most once)
";
    assert_eq!(read_text(&text).unwrap().effective(), expected);
}

#[test]
fn the_stop_number_of_an_account_is_known_to_the_rules() {
    let text = format!("{ACCOUNT}sender = \"MAGASIN\"\nstop = \"36111\"\n");
    let config = read_text(&text).unwrap();
    let face = config.policy.first_face(&config.policy.operators[0]);
    assert_eq!(face, Some(&config.smpp[0].face()));
    assert_eq!(face.unwrap().stop.as_deref(), Some("36111"));
    let shown = "  stop        by a message to 36111\n";
    assert!(config.effective().contains(shown), "{}", config.effective());
}

#[test]
fn the_way_of_texts_is_a_setting_of_each_account() {
    let text = format!(
        "{ACCOUNT}alphabet = \"latin1\"\nlatin1 = true\ntransliterate = true\npacked_gsm = true\n"
    );
    let config = read_text(&text).unwrap();
    let rules = config.policy.text_rules_of(&"a".into());
    assert_eq!(rules, config.smpp[0].text);
    assert!(rules.latin1 && rules.transliterate && !rules.single_piece);
    assert_eq!(rules.alphabet, crate::domain::text::DefaultAlphabet::Latin1);
    let shown = "  texts       Latin-1, then Latin-1 (3), then Unicode, characters replaced to avoid it, \
                 GSM comes in packed\n";
    assert!(config.effective().contains(shown), "{}", config.effective());
    assert_eq!(
        errors(&format!("{ACCOUNT}alphabet = \"utf8\"\n")),
        ["r.toml:5: smpp.a.alphabet: \"utf8\" is not one of \"gsm\", \"latin1\", \"ascii\""]
    );
}

#[test]
fn who_opted_out_may_be_kept_without_numbers_and_an_account_names_its_codes_of_no_number() {
    let text =
        format!("{ACCOUNT}invalid_errors = [\"001\", \"0x1a\"]\n[privacy]\noptouts = \"hashed\"\n");
    let config = read_text(&text).unwrap();
    assert!(config.hashed_optouts);
    let codes = &config.policy.invalid_errors[&Account::from("a")];
    assert_eq!(*codes, ["001", "0x1a"]);
    let shown = config.effective();
    assert!(
        shown.contains("opt-outs      kept as keyed hashes"),
        "{shown}"
    );
    assert!(
        shown.contains("  no number   err: 001 0x1a in receipts"),
        "{shown}"
    );
    let plain = read_text(ACCOUNT).unwrap();
    assert!(!plain.hashed_optouts && plain.policy.invalid_errors.is_empty());
    let wrong = format!("{ACCOUNT}[privacy]\noptouts = \"secret\"\n");
    assert!(errors(&wrong)[0].contains("privacy.optouts"));
}
