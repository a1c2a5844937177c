//! Proves that a backup of a gateway under load holds everything that was acknowledged before its end,
//! and that it can be restored elsewhere, once; and what exports and erasures write for people. How: real
//! daemons in this process, the built binary as their client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use relais::config;
use relais::daemon::{Daemon, Parts, Running};
use relais::domain::time::Timestamp;
use relais::store::backup;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// A gateway's folder with its configuration: it has a modem that is not there, so that all waits.
struct Home(PathBuf);

impl Home {
    fn new(folder: &Path, name: &str) -> Self {
        let home = folder.join(name);
        std::fs::create_dir(&home).unwrap();
        let file = home.join("relais.toml");
        let text = "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[modem.sim1]\ndevice = \"nowhere\"\n";
        std::fs::write(file, text).unwrap();
        Self(home)
    }

    fn config(&self) -> PathBuf {
        self.0.join("relais.toml")
    }

    async fn start(&self) -> Gateway {
        let config = config::load(&self.config()).unwrap();
        let parts = Parts {
            admin_key: None,
            ..Parts::system()
        };
        let running = Daemon::start(config, parts).await.unwrap();
        relais::engine::outbox::install_crypto();
        Gateway {
            url: format!("http://{}", running.http_addr),
            key: running.admin_key.expose_secret().to_owned(),
            http: reqwest::Client::new(),
            running,
        }
    }
}

struct Gateway {
    url: String,
    key: String,
    http: reqwest::Client,
    running: Running,
}

impl Gateway {
    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = method.parse().unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        request = request.bearer_auth(&self.key);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn posts(&self, text: &str) -> String {
        let body = json!({"to": "+33612345678", "text": text});
        let (status, taken) = self.call("POST", "/v1/messages", body).await;
        assert_eq!(status, 202, "{taken}");
        taken["id"].as_str().unwrap().to_owned()
    }

    /// Runs a command as its client.
    async fn cli(&self, home: &Home, arguments: &[&str]) -> Output {
        let mut command = relais(home, arguments);
        command.args(["--url", &self.url]);
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }
}

fn relais(home: &Home, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
    for name in ["LC_ALL", "LC_MESSAGES", "LANG", "RELAIS_URL", "RELAIS_KEY"] {
        command.env_remove(name);
    }
    command.args(arguments).arg("--config").arg(home.config());
    command.stdin(Stdio::null());
    command
}

fn run(home: &Home, arguments: &[&str]) -> Output {
    relais(home, arguments).output().unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Posts until told to stop; each id with the time after its answer.
async fn post_on(gateway: Arc<Gateway>, stop: Arc<AtomicBool>) -> Vec<(String, Timestamp)> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let id = gateway.posts("Sous charge").await;
        acknowledged.push((id, gateway.running.engine.clock.now()));
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_restored_elsewhere_with_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path(), "a");
    let gateway = Arc::new(home.start().await);
    for n in 0..3 {
        let to: Vec<_> = (0..900).map(|r| format!("+3361{n}{r:06}")).collect();
        let body = json!({"messages": to.iter().map(|to| json!({"to": to, "text": "Bonjour"})).collect::<Vec<_>>()});
        let (status, answer) = gateway.call("POST", "/v1/batches", body).await;
        assert_eq!(status, 202, "{answer}");
    }
    let first = gateway.posts("Avant").await;
    let stop = Arc::new(AtomicBool::new(false));
    let posting: Vec<_> = (0..4)
        .map(|_| tokio::spawn(post_on(gateway.clone(), stop.clone())))
        .collect();
    let file = folder.path().join("relais.backup");
    let to = file.to_str().unwrap();
    let said = done(&gateway.cli(&home, &["backup", "--to", to]).await);
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    for posts in posting {
        acknowledged.extend(posts.await.unwrap());
    }
    let summary = backup::verify(&file).unwrap();
    assert!(said.contains(&summary.entries.to_string()), "{said}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(!folder.path().join("relais.backup.part").exists());
    let mut expected: BTreeSet<String> = acknowledged
        .into_iter()
        .filter(|(_, at)| *at < summary.taken_at)
        .map(|(id, _)| id)
        .collect();
    expected.insert(first);
    let (_, secret) = gateway
        .call("GET", "/v1/webhooks/secret", Value::Null)
        .await;

    // The other gateway runs on: a restore beside it is refused, and so is one into its place.
    let refused = run(&home, &["restore", to]);
    assert_eq!(refused.status.code(), Some(1));
    let gateway = Arc::into_inner(gateway).unwrap();
    gateway.running.stop().await;
    let refused = run(&home, &["restore", to]);
    assert!(
        text(&refused.stderr).contains("there is a store in"),
        "{refused:?}"
    );

    let other = Home::new(folder.path(), "b");
    let cut = folder.path().join("cut.backup");
    let octets = std::fs::read(&file).unwrap();
    std::fs::write(&cut, &octets[..octets.len() / 2]).unwrap();
    let refused = run(&other, &["restore", cut.to_str().unwrap()]);
    assert!(text(&refused.stderr).contains("cut off"), "{refused:?}");
    let said = done(&run(&other, &["restore", to]));
    assert!(said.contains("may have left since"), "{said}");
    assert_eq!(
        run(&other, &["restore", to]).status.code(),
        Some(1),
        "restored twice"
    );
    done(&run(&other, &["fsck"]));

    let gateway = other.start().await;
    assert!(expected.len() > 1);
    for id in &expected {
        let (status, message) = gateway
            .call("GET", &format!("/v1/messages/{id}"), Value::Null)
            .await;
        assert_eq!(status, 200, "{id} was acknowledged");
        assert_eq!(message["status"], "pending");
    }
    let (_, restored) = gateway
        .call("GET", "/v1/webhooks/secret", Value::Null)
        .await;
    assert_eq!(restored, secret, "webhooks are signed as before");
    gateway.running.stop().await;
    // Of a gateway that does not run, the same command reads the folder.
    let closed = folder.path().join("closed.backup");
    done(&run(&other, &["backup", "--to", closed.to_str().unwrap()]));
    assert!(backup::verify(&closed).unwrap().entries > summary.entries / 2);
    let nowhere = folder.path().join("no/such/folder.backup");
    let refused = run(&other, &["backup", "--to", nowhere.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_leaves_neither_a_backup_nor_half_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path(), "a");
    let gateway = home.start().await;
    gateway.posts(&"Bonjour ".repeat(100)).await;
    let file = folder.path().join("relais.backup");
    let aside = folder.path().join("relais.backup.part");
    std::fs::write(&aside, "left by an earlier try").unwrap();
    // No file may be longer than 512 octets: what is beyond that fails as on a full disk.
    let arguments = [
        "backup",
        "--to",
        file.to_str().unwrap(),
        "--url",
        &gateway.url,
    ];
    let wanted = relais(&home, &arguments);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]);
    command.arg(wanted.get_program()).args(wanted.get_args());
    let refused = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        text(&refused.stderr).contains("no backup in"),
        "{refused:?}"
    );
    assert!(!file.exists() && !aside.exists());
    gateway.posts("Encore").await;
    gateway.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_are_safe_for_spreadsheets_and_erasures_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path(), "a");
    let gateway = home.start().await;
    gateway.posts("=HYPERLINK(\"http://evil.example\")").await;
    gateway.posts("Votre colis; \"arrivé\"").await;
    let exported = gateway.cli(&home, &["export", "--lang", "fr"]).await;
    let sheet = done(&exported);
    assert!(text(&exported.stderr).contains("2 lignes"), "{exported:?}");
    let mut reader = csv::Reader::from_reader(sheet.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|cell| cell == name).unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(&rows[0][column("texte")], "Votre colis; \"arrivé\"");
    assert_eq!(
        &rows[1][column("texte")],
        "'=HYPERLINK(\"http://evil.example\")"
    );
    assert_eq!(&rows[0][column("destinataire")], "'+33612345678");
    assert_eq!(&rows[0][column("statut")], "En attente");
    assert_eq!(&rows[0][column("code du statut")], "pending");
    let created = &rows[0][column("créé le")];
    assert!(
        created.ends_with("+01:00") || created.ends_with("+02:00"),
        "{created}"
    );
    let file = folder.path().join("a.csv");
    let excel = [
        "export",
        "--lang",
        "fr",
        "--excel",
        "--to",
        file.to_str().unwrap(),
    ];
    done(&gateway.cli(&home, &excel).await);
    let sheet = std::fs::read_to_string(&file).unwrap();
    assert!(sheet.starts_with("\u{feff}id;créé le;"), "{sheet}");
    let lines = done(&gateway.cli(&home, &["export", "--format", "jsonl"]).await);
    assert_eq!(lines.lines().count(), 2);
    let none = done(
        &gateway
            .cli(
                &home,
                &["export", "--format", "jsonl", "--status", "failed"],
            )
            .await,
    );
    assert_eq!(none, "");

    let known = ["export", "--number", "06 12 34 56 78"];
    assert_eq!(done(&gateway.cli(&home, &known).await).lines().count(), 2);
    let refused = gateway.cli(&home, &["erase", "06 12 34 56 78"]).await;
    assert_eq!(refused.status.code(), Some(1));
    let erased = done(
        &gateway
            .cli(&home, &["erase", "06 12 34 56 78", "--cancel"])
            .await,
    );
    assert_eq!(erased, "2 records erased, 2 messages cancelled\n");
    assert_eq!(done(&gateway.cli(&home, &known).await), "");
    let sheet = done(&gateway.cli(&home, &["export"]).await);
    assert!(
        !sheet.contains("colis") && !sheet.contains("12345678"),
        "{sheet}"
    );
    gateway.running.stop().await;
}
