//! Proves what the command line promises to people and scripts: help, exit codes, messages on the
//! right stream, and a demonstration that ends with Livré. How: the built binary, run as a process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The binary with an environment that says nothing.
fn relais() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
    for name in [
        "LC_ALL",
        "LC_MESSAGES",
        "LANG",
        "RUST_LOG",
        "RELAIS_URL",
        "RELAIS_KEY",
        "RELAIS_ADMIN_KEY",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    relais().args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Sends a signal with the system's own tool: `kill` is in every shell.
fn signal(child: &Child, name: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {}", child.id())])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Reads lines until one contains `wanted`; what was read so far if the stream ends first.
fn read_until(lines: &mut impl BufRead, wanted: &str) -> String {
    let mut all = String::new();
    while !all.contains(wanted) {
        if lines.read_line(&mut all).unwrap() == 0 {
            break;
        }
    }
    assert!(all.contains(wanted), "no {wanted:?} in {all:?}");
    all
}

#[test]
fn every_command_has_help_with_examples() {
    for command in [
        &["--help"][..],
        &["demo", "--help"],
        &["serve", "--help"],
        &["check", "--help"],
        &["doctor", "--help"],
        &["send", "--help"],
        &["status", "--help"],
        &["top", "--help"],
        &["health", "--help"],
        &["key", "create", "--help"],
        &["key", "list", "--help"],
        &["key", "revoke", "--help"],
        &["modem", "list", "--help"],
        &["sim", "smsc", "--help"],
        &["sim", "modem", "--help"],
        &["backup", "--help"],
        &["restore", "--help"],
        &["export", "--help"],
        &["erase", "--help"],
        &["fsck", "--help"],
        &["compact", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ] {
        let output = run(command);
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert!(out(&output).contains("Example"), "{command:?}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for command in [&["bogus"][..], &["send", "+33612345678"], &[]] {
        assert_eq!(run(command).status.code(), Some(2), "{command:?}");
    }
}

#[test]
fn check_prints_the_policy_of_every_shipped_configuration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files = vec![folder.join("relais.toml")];
    for entry in std::fs::read_dir(folder.join("examples")).unwrap() {
        files.push(entry.unwrap().path());
    }
    assert!(files.len() >= 3);
    for file in files {
        let output = run(&["check", "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert!(
            out(&output).contains("operator default"),
            "{}",
            out(&output)
        );
        assert!(!out(&output).contains("secret"));
    }
}

#[test]
fn check_and_serve_tell_every_mistake_on_standard_error_and_end_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "data_dr = 1\n[smpp.a]\nhost = \"127.0.0.1\"\n").unwrap();
    let file = file.to_str().unwrap();
    let expected = format!(
        "{file}:1: data_dr: unknown key; did you mean data_dir?\n\
         {file}:2: smpp.a: system_id is missing: the name the carrier gave you\n\
         {file}:2: smpp.a: password is missing: give password_file = \"…\" or password = \
         \"${{NAME}}\"\n"
    );
    for command in ["check", "serve"] {
        let output = run(&[command, "--config", file]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(err(&output), expected);
        assert_eq!(out(&output), "");
    }
}

#[test]
fn health_needs_no_key_and_is_bad_where_nobody_answers() {
    let output = run(&["health", "--url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(err(&output).starts_with("error: no relais answers at http://127.0.0.1:1 ("));
}

#[test]
fn a_daemon_that_is_not_there_is_said_in_the_language_of_the_locale() {
    // Port 1 needs privileges that no test has: nobody listens there.
    let arguments = [
        "send",
        "+33612345678",
        "x",
        "--url",
        "http://127.0.0.1:1",
        "--key",
        "k",
    ];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).starts_with("error: no relais answers at http://127.0.0.1:1 ("));
    let output = relais()
        .args(arguments)
        .env("LANG", "fr_FR.UTF-8")
        .output()
        .unwrap();
    assert!(err(&output).starts_with("erreur : aucun relais ne répond à http://127.0.0.1:1 ("));
}

#[test]
fn a_store_that_is_not_there_is_not_made_by_looking_at_it() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["fsck", "compact"] {
        let output = run(&[command, "--data-dir", folder.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn the_demonstration_ends_with_livre_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = relais()
        .args(["demo", "--once", "--lang", "fr"])
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let (said, complaints) = (out(&output), err(&output));
    assert_eq!(output.status.code(), Some(0), "{said}\n{complaints}");
    let labels: Vec<_> = said
        .lines()
        .filter_map(|line| {
            ["En attente", "Envoyé", "Livré"]
                .into_iter()
                .find(|label| line.trim_start().starts_with(label))
        })
        .collect();
    let each = ["En attente", "Envoyé", "Livré"];
    assert_eq!(labels, [each, each, each].concat(), "{said}");
    assert!(said.contains("UCS2, 3 parties"), "{said}");
    let by_modem = said.split("+33712345678").nth(1).unwrap();
    for line in [
        "AT+CMGS × 1 : le réseau a tout pris",
        "+CDS × 1 : sur le téléphone",
    ] {
        assert!(by_modem.contains(line), "no {line:?} in:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours without a terminal");
    assert_eq!(complaints, "");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_demonstration_goes_on_serving_until_told_to_stop() {
    let mut child = relais()
        .args(["demo", "--lang", "en"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let said = read_until(&mut lines, "Ctrl-C");
    let url = said
        .split_whitespace()
        .find_map(|word| word.strip_suffix("/docs"))
        .unwrap();
    let key = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("API key"))
        .unwrap()
        .trim();
    let client = |arguments: &[&str]| run(&[arguments, &["--url", url, "--key", key]].concat());

    let sent = client(&["send", "06 12 34 56 78", "Bonjour", "--wait"]);
    assert_eq!(sent.status.code(), Some(0), "{}", err(&sent));
    assert!(
        out(&sent).contains("  Delivered  +33612345678, 1 part"),
        "{}",
        out(&sent)
    );
    let id = out(&sent).split_whitespace().next().unwrap().to_owned();
    assert!(out(&client(&["status", &id])).contains("receipt"));
    let refused = client(&["send", "12", "Bonjour"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("/to"), "{}", err(&refused));

    let made = client(&["key", "create", "--tenant", "mairie", "--name", "portail"]);
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    let new_key = out(&made).trim().to_owned();
    let prefix = new_key.split('_').nth(1).unwrap().to_owned();
    assert!(out(&client(&["key", "list"])).contains(&prefix));
    assert!(!out(&client(&["key", "list"])).contains(&new_key));
    let other = run(&["status", &id, "--url", url, "--key", &new_key]);
    assert_eq!(other.status.code(), Some(1), "another tenant's message");
    assert_eq!(client(&["key", "revoke", &prefix]).status.code(), Some(0));
    assert!(out(&client(&["key", "list"])).contains("revoked"));

    signal(&child, "TERM");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
}

#[test]
fn a_daemon_makes_its_key_once_survives_sighup_and_refuses_a_second_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relais.toml");
    std::fs::write(
        &file,
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n\
         [smpp.a]\nhost = \"127.0.0.1\"\nport = 1\nsystem_id = \"a\"\npassword = \"a\"\n",
    )
    .unwrap();
    let serve = || {
        let mut command = relais();
        command.args(["serve", "--config", file.to_str().unwrap()]);
        command.stderr(Stdio::piped());
        command
    };
    let mut child = serve().spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    read_until(&mut lines, "\"started\"");
    let data_dir = folder.path().join("data");
    let key = std::fs::read_to_string(data_dir.join("admin.key")).unwrap();

    let second = serve().output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        err(&second).contains("in use by another relais"),
        "{}",
        err(&second)
    );
    let fsck = run(&["fsck", "--data-dir", data_dir.to_str().unwrap()]);
    assert_eq!(fsck.status.code(), Some(1), "a live store is not looked at");

    signal(&child, "HUP");
    read_until(&mut lines, "configuration_reloaded");
    signal(&child, "INT");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert!(!rest.contains(key.trim()), "the key is not logged");

    let config = file.to_str().unwrap();
    for command in ["fsck", "compact", "fsck"] {
        let output = run(&[command, "--config", config]);
        assert_eq!(output.status.code(), Some(0), "{command}: {}", err(&output));
    }
    // Whoever read the log is gone after the first line: the daemon works and stops all the same.
    let mut child = serve().spawn().unwrap();
    read_until(
        &mut BufReader::new(child.stderr.take().unwrap()),
        "\"started\"",
    );
    assert_eq!(
        std::fs::read_to_string(data_dir.join("admin.key")).unwrap(),
        key
    );
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_simulated_smsc_names_its_address_first_and_reads_a_script() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script.toml");
    std::fs::write(&script, "rate_limit = 20\n").unwrap();
    let mut child = relais()
        .args(["sim", "smsc", "--listen", "127.0.0.1:0", "--script"])
        .arg(&script)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    read_until(&mut lines, "listening on 127.0.0.1:");
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));

    std::fs::write(&script, "rate_limt = 20\n").unwrap();
    let output = run(&["sim", "smsc", "--script", script.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A configuration with one account at `smsc`, and everything else of a test's own.
fn with_account(folder: &Path, listen: &str, smsc: &str, password: &str) -> std::path::PathBuf {
    let file = folder.join("relais.toml");
    let (host, port) = smsc.rsplit_once(':').unwrap();
    let data = folder.join("data");
    let text = format!(
        "data_dir = \"{}\"\n[http]\nlisten = \"{listen}\"\n\
         [smpp.acme]\nhost = \"{host}\"\nport = {port}\nsystem_id = \"relais\"\n\
         password = \"{password}\"\n\
         [operators.default]\nroute = [\"acme\"]\n",
        data.display()
    );
    std::fs::write(&file, text).unwrap();
    file
}

fn doctor(file: &Path) -> Output {
    run(&["doctor", "--config", file.to_str().unwrap()])
}

#[test]
fn doctor_finds_what_is_wrong_with_a_carrier_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("smsc.toml");
    std::fs::write(&script, "system_id = \"relais\"\npassword = \"right\"\n").unwrap();
    let smsc = relais()
        .args(["sim", "smsc", "--listen", "127.0.0.1:0", "--script"])
        .arg(&script)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut smsc = Running(smsc);
    let mut lines = BufReader::new(smsc.0.stdout.take().unwrap());
    let first = read_until(&mut lines, "listening on 127.0.0.1:");
    let address = first.trim().rsplit(' ').next().unwrap().to_owned();
    // It goes on telling what it sees; somebody has to listen.
    let reader = std::thread::spawn(move || {
        let mut rest = String::new();
        let _ = lines.read_to_string(&mut rest);
    });

    let well = doctor(&with_account(
        folder.path(),
        "127.0.0.1:0",
        &address,
        "right",
    ));
    let said = out(&well);
    assert_eq!(well.status.code(), Some(0), "{said}{}", err(&well));
    for line in [
        "acme: bind taken, then unbound",
        "does not exist yet",
        "fsync",
        "is free",
    ] {
        assert!(said.contains(line), "no {line:?} in:\n{said}");
    }
    assert!(!folder.path().join("data").exists(), "it makes no folder");

    let wrong = doctor(&with_account(
        folder.path(),
        "127.0.0.1:0",
        &address,
        "wrong",
    ));
    let said = out(&wrong);
    assert_eq!(wrong.status.code(), Some(1), "{said}");
    assert!(
        said.contains("ESME_RINVPASWD (0x0000000e): wrong password"),
        "{said}"
    );
    assert!(err(&wrong).contains("errors: 1"), "{}", err(&wrong));

    // A daemon that runs is asked, and binds are counted by nobody twice.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let file = with_account(folder.path(), &listen, &address, "right");
    let daemon = relais()
        .args(["serve", "--config", file.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut daemon = Running(daemon);
    let mut log = BufReader::new(daemon.0.stderr.take().unwrap());
    read_until(&mut log, "bound");
    let reader_of_log = std::thread::spawn(move || {
        let mut rest = String::new();
        let _ = log.read_to_string(&mut rest);
    });

    // Clients find the daemon, and its key, by its configuration alone.
    let config = ["--config", file.to_str().unwrap()];
    let sent = run(&[&["send", "0612345678", "Bonjour", "--wait"], &config[..]].concat());
    assert_eq!(sent.status.code(), Some(0), "{}", err(&sent));
    let asked = doctor(&file);
    let said = out(&asked);
    assert_eq!(asked.status.code(), Some(0), "{said}{}", err(&asked));
    assert!(said.contains("nothing binds a second time"), "{said}");
    assert!(said.contains("acme#1: up"), "{said}");
    assert!(said.contains("a Relais answers on"), "{said}");
    assert!(!said.contains("then unbound"), "{said}");
    signal(&daemon.0, "TERM");
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
    reader_of_log.join().unwrap();

    signal(&smsc.0, "TERM");
    smsc.0.wait().unwrap();
    reader.join().unwrap();
    let gone = doctor(&with_account(folder.path(), &listen, &address, "right"));
    let said = out(&gone);
    assert_eq!(gone.status.code(), Some(1), "{said}");
    assert!(said.contains("acme: no connection to 127.0.0.1:"), "{said}");
    assert!(said.contains("check port, firewall"), "{said}");
}

#[test]
fn doctor_tells_mistakes_of_the_configuration_as_check_does_and_speaks_french() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "data_dr = 1\n").unwrap();
    let output = doctor(&file);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(out(&output), "");
    assert!(err(&output).contains("did you mean data_dir?"));

    let file = with_account(folder.path(), "127.0.0.1:0", "no-such-host.invalid:1", "x");
    let output = run(&["doctor", "--lang", "fr", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    assert!(out(&output).contains("no-such-host.invalid est introuvable"));
}
