//! Proves what the command line says of GSM modems: which port answers, what to configure, and what `doctor` finds, with a
//! daemon and without. How: the built binary against a simulated modem on a pseudo terminal.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use relais::clock::{Clock, Random};
use relais::sim::modem::{self, ModemHandle, ModemScript, Personality, Registration};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A simulated modem with a folder of its own.
struct Modem {
    runtime: Runtime,
    handle: ModemHandle,
    folder: tempfile::TempDir,
}

impl Modem {
    fn new(script: ModemScript) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let script = ModemScript {
            link: folder.path().join("modem"),
            ..script
        };
        let handle = runtime.block_on(async {
            modem::serve(script, &Clock::system(), &Random::seeded(1)).unwrap()
        });
        Self {
            runtime,
            handle,
            folder,
        }
    }

    fn link(&self) -> String {
        self.handle.link().display().to_string()
    }

    /// A configuration with this modem alone; `more` are lines of its table.
    fn config(&self, listen: &str, more: &str) -> PathBuf {
        let file = self.folder.path().join("relais.toml");
        let text = format!(
            "data_dir = \"{}\"\n[http]\nlisten = \"{listen}\"\n[modem.sim1]\ndevice = \"{}\"\n{more}\n",
            self.folder.path().join("data").display(),
            self.link(),
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    fn commands(&self) -> String {
        self.handle
            .ledger(|ledger| format!("{:?}", ledger.commands))
    }
}

impl Drop for Modem {
    fn drop(&mut self) {
        self.runtime.block_on(self.handle.shutdown());
    }
}

fn relais(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
    for name in [
        "LC_ALL",
        "LC_MESSAGES",
        "LANG",
        "RUST_LOG",
        "RELAIS_ADMIN_KEY",
    ] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    relais(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn doctor(file: &Path, more: &[&str]) -> Output {
    run(&[&["doctor", "--config", file.to_str().unwrap()], more].concat())
}

fn assert_says(output: &Output, lines: &[&str]) {
    let said = format!("{}{}", out(output), err(output));
    for line in lines {
        assert!(said.contains(line), "no {line:?} in:\n{said}");
    }
}

#[test]
fn the_list_says_what_answers_and_what_to_configure() {
    let modem = Modem::new(ModemScript {
        personality: Personality::Huawei,
        ..ModemScript::default()
    });
    let link = modem.link();
    let output = run(&["modem", "list", "--device", &link]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_says(
        &output,
        &[
            "huawei E1752",
            "ready",
            "home network, Simulated",
            "-77 dBm",
            "# huawei E1752, IMEI 490154203237518\n[modem.sim1]\n",
            &format!("device = \"{link}\""),
        ],
    );
    assert!(
        !out(&output).contains('\u{1b}'),
        "no colours without a terminal"
    );

    let french = run(&["modem", "list", "--device", &link, "--lang", "fr"]);
    assert_says(
        &french,
        &[
            "RÉPOND",
            "prête",
            "réseau de la SIM",
            "À mettre dans la configuration",
        ],
    );

    let json = run(&["modem", "list", "--device", &link, "--json"]);
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    let modem = &value["data"][0]["modem"];
    assert_eq!(modem["imei"], "490154203237518");
    assert_eq!(
        (&modem["sim"], &modem["registration"]),
        (&"ready".into(), &"home".into())
    );
}

#[test]
fn a_list_without_an_answer_ends_with_1_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("nothing");
    let output = run(&["modem", "list", "--device", absent.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_says(
        &output,
        &["no such device", "error: no modem answers; ports asked: 1"],
    );
    assert_eq!(run(&["modem"]).status.code(), Some(2));
}

#[test]
fn doctor_says_what_a_modem_its_sim_and_its_network_need() {
    let modem = Modem::new(ModemScript::default());
    let file = modem.config("127.0.0.1:0", "");
    let well = doctor(&file, &[]);
    assert_eq!(well.status.code(), Some(0), "{}{}", out(&well), err(&well));
    let answers = format!("sim1: Quectel EC25 answers on {}, IMEI 4901", modem.link());
    assert_says(
        &well,
        &[
            &answers,
            "sim1: SIM: ready",
            "sim1: network: home network, Simulated, -77 dBm",
            "sim1: message store: 0 of 255",
        ],
    );
    assert!(
        !modem.folder.path().join("data").exists(),
        "it makes no folder"
    );

    modem.handle.change_script(|script| {
        script.registration = Registration::Denied;
        script.signal = 2;
    });
    let worse = doctor(&file, &[]);
    assert_eq!(worse.status.code(), Some(1), "{}", out(&worse));
    assert_says(
        &worse,
        &[
            "network: denied",
            "ask the operator",
            "weak signal (-109 dBm)",
        ],
    );

    modem.handle.unplug();
    let french = doctor(&file, &["--lang", "fr"]);
    assert_eq!(french.status.code(), Some(1));
    assert_says(&french, &["ce port n'existe pas", "relais modem list"]);

    let homeless = Modem::new(ModemScript {
        smsc: String::new(),
        ..ModemScript::default()
    });
    let output = doctor(&homeless.config("127.0.0.1:0", ""), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_says(&output, &["no SMSC address: give service_centre"]);
    let given = homeless.config("127.0.0.1:0", "service_centre = \"+33600000001\"");
    assert_eq!(doctor(&given, &[]).status.code(), Some(0));
}

#[test]
fn doctor_enters_no_pin_and_says_whether_the_daemon_will() {
    let modem = Modem::new(ModemScript {
        pin: Some("1234".to_owned()),
        ..ModemScript::default()
    });
    let none = doctor(&modem.config("127.0.0.1:0", ""), &[]);
    assert_eq!(none.status.code(), Some(1));
    assert_says(
        &none,
        &["wants its PIN and none is configured: give pin_file"],
    );
    let some = doctor(&modem.config("127.0.0.1:0", "pin = \"1234\""), &[]);
    assert_eq!(some.status.code(), Some(0), "{}", out(&some));
    assert_says(&some, &["the daemon will enter the configured one"]);
    assert!(!modem.commands().contains("CPIN="), "{}", modem.commands());
}

/// A daemon that does not outlive its test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn while_a_daemon_runs_it_is_asked_and_its_modem_is_left_alone() {
    let modem = Modem::new(ModemScript::default());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let file = modem.config(&listen, "");
    let child = relais(&["serve", "--config", file.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut daemon = Daemon(child);
    let mut log = BufReader::new(daemon.0.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("started") {
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let reader = std::thread::spawn(move || {
        let mut rest = String::new();
        let _ = log.read_to_string(&mut rest);
    });
    // Until the modem is up: the deadline is generous, and nothing is judged by it.
    let clock = Clock::system();
    let found = loop {
        let found = doctor(&file, &[]);
        if out(&found).contains("sim1: up") || clock.elapsed() > Duration::from_secs(60) {
            break found;
        }
    };
    assert_eq!(
        found.status.code(),
        Some(0),
        "{}{}",
        out(&found),
        err(&found)
    );
    assert_says(
        &found,
        &[
            "no modem is opened",
            "sim1: up",
            "sim1: network: home network, Simulated, -77 dBm",
            "of 200 messages in 24 h",
            "of 200 recipients in 30 days",
        ],
    );
    // Another look at the port is refused, and says by whom it is held.
    let list = run(&["modem", "list", "--device", &modem.link()]);
    assert_eq!(list.status.code(), Some(1));
    assert_says(&list, &["held by relais ("]);
    drop(daemon);
    reader.join().unwrap();
}
