//! The built binary and the signals of its service manager: SIGTERM under load, SIGHUP, and both; and
//! `relais reload`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use relais::sim::smsc::{Rule, SmscScript};
use serde_json::{Value, json};

use crate::stage::{Api, DEADLINE, KEY, Stage, number, soon, until};

/// The steps of a stop together may take no longer.
const STOPS_WITHIN: Duration = Duration::from_secs(90);

/// The binary as a process that does not outlive its test.
struct Process {
    child: Child,
    said: Option<JoinHandle<String>>,
    api: Api,
}

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
    ] {
        command.env_remove(name);
    }
    command.env("RELAIS_ADMIN_KEY", KEY).stdin(Stdio::null());
    command
}

impl Process {
    /// Starts the daemon on a file, and waits until it listens.
    fn start(file: &Path, manager: Option<&Path>) -> Self {
        let (receiver, sender) = std::io::pipe().unwrap();
        let mut command = relais();
        command.args(["serve", "--config"]).arg(file).stderr(sender);
        match manager {
            Some(socket) => command.env("NOTIFY_SOCKET", socket),
            None => command.env_remove("NOTIFY_SOCKET"),
        };
        let child = command.spawn().unwrap();
        drop(command);
        let mut lines = BufReader::new(receiver);
        let mut said = String::new();
        while !said.contains("http_addr=") {
            let read = lines.read_line(&mut said).unwrap();
            assert!(read > 0, "it did not start: {said}");
        }
        let (_, rest) = said.split_once("http_addr=").unwrap();
        let api = Api::new(rest.split_whitespace().next().unwrap());
        let said = std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = lines.read_to_string(&mut rest);
            rest
        });
        Self {
            child,
            said: Some(said),
            api,
        }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let told = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(told.success());
    }

    /// Waits for its end, which must be a clean one; gives what it said.
    async fn ended(mut self) -> String {
        let ends = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let status = tokio::time::timeout(STOPS_WITHIN, ends).await;
        let status = status.unwrap_or_else(|_| panic!("not stopped within the deadline"));
        let said = self.said.take().unwrap().join().unwrap();
        assert_eq!(status.code(), Some(0), "{said}");
        said
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often each text was taken by the carrier, by its number in the test.
fn taken(stage: &Stage) -> BTreeMap<usize, usize> {
    stage.ledger("a", |ledger| {
        let mut taken = BTreeMap::new();
        for entry in ledger.taken() {
            *taken.entry(entry.text.parse().unwrap()).or_default() += 1;
        }
        taken
    })
}

fn messages(from: usize, count: usize) -> Vec<Value> {
    let message = |n: usize| json!({ "to": number(n), "text": n.to_string() });
    (from..from + count).map(message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_at_500_a_second_loses_nothing_and_sends_nothing_twice() {
    const STOPS: usize = 3;
    const BATCH: usize = 50;
    let script = SmscScript {
        response_delay_ms: 50,
        ..SmscScript::default()
    };
    let stage = Stage::new().carrier("a", script).await;
    let file = stage
        .file()
        .with("smpp.a", &["rate = \"500/s\"", "binds = 2", "window = 50"]);
    stage.write(&file);
    let (mut next, mut accepted, mut unclear) = (0, Vec::new(), Vec::new());
    for _ in 0..STOPS {
        let process = Process::start(&stage.path(), None);
        // More at first than leaves before the stop, so that a queue is left as well.
        process.api.send_all(messages(next, 1_000)).await;
        accepted.extend(next..next + 1_000);
        next += 1_000;
        let before = stage.ledger("a", |it| it.submitted_total);
        let asked = |count: u64| count >= before + 700;
        let (api, posting) = (process.api.clone(), next);
        let poster = tokio::spawn(async move {
            let mut told = Vec::new();
            for n in 0.. {
                let from = posting + n * BATCH;
                let answer = api.try_to_send_all(&messages(from, BATCH)).await;
                told.push((from, answer));
                if answer != Some(true) {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            told
        });
        stage
            .until("a", "load", |it| asked(it.submitted_total))
            .await;
        process.signal("TERM");
        let said = process.ended().await;
        assert!(!said.contains("not stopped in time"), "{said}");
        for (from, answer) in soon("poster", poster).await.unwrap() {
            let range = from..from + BATCH;
            match answer {
                Some(true) => accepted.extend(range),
                Some(false) => {}
                None => unclear.extend(range),
            }
            next = from + BATCH;
        }
        stage.ledger("a", |it| assert_eq!(it.connections, 0));
    }
    let process = Process::start(&stage.path(), None);
    let whole = accepted.len();
    until("everything sent", async || {
        let taken = taken(&stage);
        accepted.iter().all(|n| taken.contains_key(n))
    })
    .await;
    process.signal("TERM");
    process.ended().await;
    let taken = taken(&stage);
    let twice: Vec<_> = taken.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?} of {whole}");
    let strange: Vec<_> = taken
        .keys()
        .filter(|n| !accepted.contains(n) && !unclear.contains(n))
        .collect();
    assert!(strange.is_empty(), "{strange:?} were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_never_answers_holds_no_stop_up_and_only_its_silence_is_doubt() {
    let script = SmscScript {
        rules: vec![Rule {
            suffix: "7".to_owned(),
            unanswered: true,
            ..Rule::default()
        }],
        ..SmscScript::default()
    };
    let stage = Stage::new().carrier("a", script).await;
    let file = stage
        .file()
        .with("smpp.a", &["window = 200", "rate = \"500/s\""])
        .with("operators.default", &["retry = [\"1s\"]"])
        .with("delivery", &["in_doubt_grace = \"1s\""]);
    stage.write(&file);
    let process = Process::start(&stage.path(), None);
    process.api.send_all(messages(0, 1_000)).await;
    stage
        .until("a", "load", |it| it.submitted_total > 300)
        .await;
    process.signal("TERM");
    process.ended().await;
    stage.carriers["a"].set_script(SmscScript::default());
    let process = Process::start(&stage.path(), None);
    let api = process.api.clone();
    let list = async || {
        let (status, gauges) = api.call(reqwest::Method::GET, "/metrics", None).await;
        assert_eq!(status, 200);
        gauges.as_str().unwrap_or("").to_owned()
    };
    until("everything sent again", async || {
        let taken = taken(&stage);
        (0..1_000).all(|n| taken.contains_key(&n)) && {
            let metrics = list().await;
            let queued = |line: &&str| line.starts_with("relais_queue_messages{");
            metrics
                .lines()
                .filter(queued)
                .all(|line| line.ends_with(" 0"))
        }
    })
    .await;
    let mut doubtful = BTreeMap::new();
    let mut path = "/v1/messages?limit=200".to_owned();
    loop {
        let (status, page) = api.call(reqwest::Method::GET, &path, None).await;
        assert_eq!(status, 200, "{page}");
        for message in page["data"].as_array().unwrap() {
            let n: usize = message["text"].as_str().unwrap().parse().unwrap();
            doubtful.insert(n, message["maybe_duplicate"] == true);
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/messages?limit=200&cursor={cursor}");
    }
    process.signal("TERM");
    process.ended().await;
    assert_eq!(doubtful.len(), 1_000);
    for (n, times) in taken(&stage) {
        assert!(times == 1 || n % 10 == 7, "{n} was sent {times} times");
        assert_eq!(doubtful[&n], times > 1, "{n} was sent {times} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_and_tells_the_service_manager() {
    let stage = Stage::new().carrier("a", SmscScript::default()).await;
    let file = stage.file();
    stage.write(&file);
    let socket = stage.folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let next = || {
        let mut octets = [0; 256];
        let count = manager.recv(&mut octets).unwrap();
        String::from_utf8_lossy(&octets[..count]).into_owned()
    };
    let process = Process::start(&stage.path(), Some(&socket));
    assert_eq!(next().trim(), "READY=1");
    stage.until("a", "bound", |it| it.binds == 1).await;

    stage.write(&file.clone().with("smpp.a", &["window = 3"]));
    process.signal("HUP");
    let reloading = next();
    assert!(reloading.contains("RELOADING=1"), "{reloading}");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert_eq!(next().trim(), "READY=1");
    stage.until("a", "bound anew", |it| it.binds == 2).await;

    // One that is wrong leaves everything as it is, and is over as well.
    stage.write(&file.clone().with("smpp.a", &["window = 0"]));
    process.signal("HUP");
    assert!(next().contains("RELOADING=1"));
    assert_eq!(next().trim(), "READY=1");

    // Its own words show that the level has changed.
    stage.write(&file.clone().with("log", &["level = \"warn\""]));
    process.signal("HUP");
    assert!(next().contains("RELOADING=1"));
    assert_eq!(next().trim(), "READY=1");

    // A stop comes first, whatever else is asked for.
    let quiet = file.with("log", &["level = \"warn\""]);
    stage.write(&quiet.with("smpp.a", &["window = 4"]));
    process.signal("HUP");
    process.signal("TERM");
    process.signal("HUP");
    let said = process.ended().await;
    assert!(said.contains("smpp.a.window"), "{said}");
    assert!(said.contains("relais.toml:"), "{said}");
    assert!(
        !said.contains("relais::daemon: stopped"),
        "the log was to be quiet: {said}"
    );
    assert!(!said.contains("secret\""), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_has_changed_in_both_languages() {
    let stage = Stage::new().carrier("a", SmscScript::default()).await;
    let file = stage.file();
    stage.write(&file);
    let run = |lang: &str, url: &str| {
        let path = stage.path();
        let mut command = relais();
        command.args(["--lang", lang, "reload", "--url", url, "--key", KEY]);
        let output = command.arg("--config").arg(path).output().unwrap();
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let process = Process::start(&stage.path(), None);
    let url = process.api.url().to_owned();
    let (code, said, _) = run("en", &url);
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("No key has changed: no connection was touched."),
        "{said}"
    );

    let changed = file
        .clone()
        .with(
            "smpp.a",
            &["window = 3", "password = \"other\"", "rate = \"9/s\""],
        )
        .with("store", &["cache = \"16 MiB\""]);
    stage.write(&changed);
    let (code, said, warned) = run("fr", &url);
    assert_eq!(code, Some(0));
    assert_eq!(
        said,
        "smpp.a.password: connexion relancée\n\
         smpp.a.rate: rien → \"9/s\", en vigueur\n\
         smpp.a.window: rien → 3, connexion relancée\n\
         store.cache: rien → \"16 MiB\", au prochain démarrage\n"
    );
    assert!(
        warned.contains("redémarrez pour l'appliquer : store.cache"),
        "{warned}"
    );

    stage.write(&file.with("smpp.a", &["window = 0"]));
    let (code, said, wrong) = run("en", &url);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    let path = stage.path().display().to_string();
    assert!(wrong.starts_with(&format!("{path}:")), "{wrong}");
    assert!(wrong.contains(": smpp.a.window: "), "{wrong}");
    process.signal("TERM");
    process.ended().await;
    let (code, ..) = run("en", &url);
    assert_eq!(code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_wrong_reaches_the_daemon_all_the_same() {
    let stage = Stage::new().carrier("a", SmscScript::default()).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen = {:?}", free.local_addr().unwrap().to_string());
    drop(free);
    let file = stage.file().with("http", &[&listen]);
    stage.write(&file);
    let run = || {
        let mut command = relais();
        command.args(["--lang", "en", "reload", "--config"]);
        let output = command.arg(stage.path()).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let process = Process::start(&stage.path(), None);
    std::fs::write(stage.folder.path().join("data/admin.key"), KEY).unwrap();
    let failed = async |value: &str| {
        let wanted = format!("relais_config_reload_failed {value}\n");
        process.api.metrics().await.contains(&wanted)
    };
    let (code, said) = run();
    assert_eq!(code, Some(0), "{said}");

    // A value that is wrong, and a text that is not even TOML.
    stage.write(&file.clone().with("smpp.a", &["window = 0"]));
    let (code, said) = run();
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(said.matches(": smpp.a.window: ").count(), 1, "{said}");
    assert!(failed("1").await, "the daemon was not asked: {said}");
    stage.write(&file);
    assert_eq!(run().0, Some(0));
    assert!(failed("0").await);
    let text = std::fs::read_to_string(stage.path()).unwrap();
    std::fs::write(stage.path(), format!("{text}\n[smpp.b\n")).unwrap();
    let (code, said) = run();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("not TOML"), "{said}");
    assert!(failed("1").await, "the daemon was not asked: {said}");

    process.signal("TERM");
    process.ended().await;
    let (code, said) = run();
    assert_eq!(code, Some(2), "{said}");
    let said_so = said.contains("not TOML") && said.contains("no daemon has read it");
    assert!(said_so, "{said}");
}
