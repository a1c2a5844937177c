//! Proves that `doctor` names, for a daemon that runs, why messages do not arrive, what to do and where.
//! How: the built binary against a simulated SMSC that is broken in one way after the other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

#[path = "support/processes.rs"]
mod processes;

use processes::{configuration, err, free_address, out, serve, signal, smsc, until, with};

const RIGHT: &str = "system_id = \"relais\"\npassword = \"right\"\n";

fn send(file: &Path, count: usize) {
    for n in 0..count {
        let to = format!("+3361234560{n}");
        let sent = with(file, &["send", &to, "Bonjour"]);
        assert_eq!(sent.status.code(), Some(0), "{}", err(&sent));
    }
}

/// Calls the HTTP interface with the admin key.
fn call(folder: &Path, listen: &str, head: &str) -> String {
    let key = std::fs::read_to_string(folder.join("data/admin.key")).unwrap();
    let mut stream = TcpStream::connect(listen).unwrap();
    let request = format!(
        "{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
         Content-Length: 0\r\n\r\n",
        key.trim()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_wrong_password_is_named_with_what_waits_what_to_do_and_the_line_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let (_smsc, address) = smsc(folder.path(), RIGHT);
    let listen = free_address();
    let file = configuration(folder.path(), &listen, &address, "wrong", "");
    let _daemon = serve(&file);
    send(&file, 2);
    let said = until(&file, &["doctor"], "ESME_RINVPASWD");
    let shown = file.display();
    for words in [
        "daemon: it runs on this data_dir, and is asked".to_owned(),
        "(bind refused by SMSC: ESME_RINVPASWD (0x0000000e)); wrong password; compare password"
            .to_owned(),
        format!("password is at {shown}:10; after correcting it, `relais reload`"),
        "default: 2 waiting".to_owned(),
        "no channel 2".to_owned(),
        "webhooks waiting: 0".to_owned(),
    ] {
        assert!(said.contains(&words), "no {words:?} in:\n{said}");
    }
    assert!(!said.contains("wrong\""), "no password is shown:\n{said}");
    assert!(!said.contains("acme#1: up"), "{said}");
    let asked = with(&file, &["doctor"]);
    assert_eq!(asked.status.code(), Some(1), "{}", out(&asked));
    let french = out(&with(&file, &["doctor", "--lang", "fr"]));
    for words in [
        "erreur    acme#1 : coupée depuis",
        "mauvais mot de passe ; comparez password",
        &format!("password est en {shown}:10 ; après correction, « relais reload »"),
        "default : 2 en attente",
        "aucune liaison 2",
    ] {
        assert!(french.contains(words), "no {words:?} in:\n{french}");
    }
}

#[test]
fn a_carrier_that_is_gone_is_named_with_its_host() {
    let folder = tempfile::tempdir().unwrap();
    let (carrier, address) = smsc(folder.path(), RIGHT);
    let file = configuration(folder.path(), &free_address(), &address, "right", "");
    let _daemon = serve(&file);
    let well = until(&file, &["doctor"], "acme#1: up");
    assert!(well.contains("queues: nothing waits"), "{well}");
    assert_eq!(with(&file, &["doctor"]).status.code(), Some(0));
    carrier.stop();
    let said = until(&file, &["doctor"], "connecting:");
    for words in [
        "error     acme#1: ",
        "Connection refused",
        "check host, port, firewall and VPN",
        "host is at ",
    ] {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }
}

#[test]
fn a_pause_is_a_warning_that_says_since_when_and_the_log_says_by_whom() {
    let folder = tempfile::tempdir().unwrap();
    let (_smsc, address) = smsc(folder.path(), RIGHT);
    let listen = free_address();
    let file = configuration(folder.path(), &listen, &address, "right", "");
    let mut daemon = serve(&file);
    until(&file, &["doctor"], "acme#1: up");
    let answer = call(folder.path(), &listen, "POST /v1/admin/channels/acme/pause");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let log = daemon.until("paused").to_owned();
    let line = log.lines().find(|line| line.contains("paused")).unwrap();
    assert!(line.contains("the admin key"), "{line}");
    send(&file, 1);
    let asked = with(&file, &["doctor"]);
    let said = out(&asked);
    assert_eq!(asked.status.code(), Some(0), "warnings alone:\n{said}");
    for words in [
        "warning   acme#1: paused by somebody ",
        "POST /v1/admin/channels/acme%231/resume",
        "default: 1 waiting",
        "paused 1",
    ] {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }
}

#[test]
fn a_carrier_that_throttles_and_one_that_takes_nothing_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (_smsc, address) = smsc(
        folder.path(),
        &format!("{RIGHT}fail_every = 1\nfail_status = 0x58\n"),
    );
    let file = configuration(
        folder.path(),
        &free_address(),
        &address,
        "right",
        "rate = 50",
    );
    let daemon = serve(&file);
    until(&file, &["doctor"], "acme#1: up");
    send(&file, 3);
    let said = until(&file, &["doctor"], "the carrier asks for less");
    for words in [
        "parts/s instead of 50",
        "ask the carrier what the contract allows",
        "rate is at ",
    ] {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }
    daemon.stop();

    let folder = tempfile::tempdir().unwrap();
    // The account is not bound for sending: nothing can go.
    let (_smsc, address) = smsc(
        folder.path(),
        &format!("{RIGHT}fail_every = 1\nfail_status = 0x04\n"),
    );
    let file = configuration(folder.path(), &free_address(), &address, "right", "");
    let _daemon = serve(&file);
    until(&file, &["doctor"], "acme#1: up");
    send(&file, 1);
    let said = until(&file, &["doctor"], "the carrier takes nothing");
    for words in [
        "left alone",
        "ESME_RINVBNDSTS",
        "POST /v1/admin/channels/acme/reset",
    ] {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }
    assert_eq!(with(&file, &["doctor"]).status.code(), Some(1));
}

#[test]
fn what_was_sent_and_has_no_receipt_is_counted_until_one_comes() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{RIGHT}[receipts]\nstate = \"none\"\n");
    let (_smsc, address) = smsc(folder.path(), &script);
    let listen = free_address();
    let file = configuration(folder.path(), &listen, &address, "right", "");
    let _daemon = serve(&file);
    send(&file, 3);
    until(&file, &["top", "--once", "--json"], "\"sent\": 3");
    let figures = call(folder.path(), &listen, "GET /v1/metrics");
    assert!(
        figures.contains("relais_receipts_awaited{channel=\"acme#1\"} 3"),
        "{figures}"
    );
    let since = figures
        .lines()
        .find_map(|line| {
            line.strip_prefix(
                "relais_receipts_awaited_since_timestamp_seconds{channel=\"acme#1\"} ",
            )
        })
        .unwrap();
    assert!(since.parse::<f64>().unwrap() > 1e9, "{since}");
    // So few, and for so short a time, are no finding.
    assert!(!out(&with(&file, &["doctor"])).contains("receipts have stopped"));
    let refused = call(folder.path(), &listen, "GET /v1/metrics/");
    assert!(refused.starts_with("HTTP/1.1 404"), "{refused}");

    let folder = tempfile::tempdir().unwrap();
    let (_smsc, address) = smsc(folder.path(), RIGHT);
    let listen = free_address();
    let file = configuration(folder.path(), &listen, &address, "right", "");
    let _daemon = serve(&file);
    send(&file, 2);
    until(&file, &["top", "--once", "--json"], "\"delivered\": 2");
    let figures = call(folder.path(), &listen, "GET /v1/metrics");
    assert!(
        figures.contains("relais_receipts_awaited{channel=\"acme#1\"} 0"),
        "{figures}"
    );
}

#[test]
fn a_reload_that_was_refused_is_named_until_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (_smsc, address) = smsc(folder.path(), RIGHT);
    let file = configuration(folder.path(), &free_address(), &address, "wrong", "");
    let mut daemon = serve(&file);
    until(&file, &["doctor"], "ESME_RINVPASWD");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("data_dr = 1\n{good}")).unwrap();
    signal(daemon.child.id(), "HUP");
    daemon.until("not reloaded");
    assert_eq!(
        with(&file, &["doctor"]).status.code(),
        Some(2),
        "it is wrong"
    );
    std::fs::write(&file, good.replace("\"wrong\"", "\"right\"")).unwrap();
    let said = out(&with(&file, &["doctor"]));
    assert!(
        said.contains("the last reload was refused; the old one rules"),
        "{said}"
    );
    let taken = with(&file, &["reload"]);
    assert_eq!(taken.status.code(), Some(0), "{}", err(&taken));
    let said = until(&file, &["doctor"], "acme#1: up");
    assert!(!said.contains("reload was refused"), "{said}");
}
