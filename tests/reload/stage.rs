//! A daemon with a file that can be written anew, and its carriers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use relais::clock::{Clock, Random};
use relais::config;
use relais::daemon::{Daemon, Parts, Running};
use relais::http::Reloaded;
use relais::sim::modem::{self, ModemHandle, ModemScript};
use relais::sim::smsc::{self, Ledger, SmscHandle, SmscScript};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Nothing here takes a tenth of it, unless something is wrong or the machine is.
pub const DEADLINE: Duration = Duration::from_secs(90);

pub const KEY: &str = "an-admin-key-for-tests";

/// Waits for something that must come.
pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(it) => it,
        Err(_) => panic!("never: {what}"),
    }
}

/// Looks again and again until it is so.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A configuration in the making: what is asked for by name is written, in the order of the names.
#[derive(Clone, Default)]
pub struct File {
    /// Tables by their header, with their lines.
    pub tables: BTreeMap<String, Vec<String>>,
}

impl File {
    /// With these lines in a table, made if there is none.
    pub fn with(mut self, table: &str, lines: &[&str]) -> Self {
        let into = self.tables.entry(table.to_owned()).or_default();
        for line in lines {
            let key = line.split('=').next().unwrap().trim().to_owned();
            into.retain(|known| known.split('=').next().unwrap().trim() != key);
            into.push((*line).to_owned());
        }
        self
    }

    pub fn without(mut self, table: &str) -> Self {
        assert!(self.tables.remove(table).is_some(), "{table}");
        self
    }
}

/// Carriers, modems, and a folder; a daemon can be started over them.
pub struct Stage {
    pub folder: TempDir,
    pub carriers: BTreeMap<&'static str, SmscHandle>,
    pub modems: BTreeMap<&'static str, ModemHandle>,
}

/// A daemon that runs in this process.
pub struct Served {
    pub running: Running,
    api: Api,
}

/// The interface of a daemon, wherever it runs.
#[derive(Clone)]
pub struct Api {
    url: String,
    client: reqwest::Client,
}

impl std::ops::Deref for Served {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Stage {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            carriers: BTreeMap::new(),
            modems: BTreeMap::new(),
        }
    }

    pub async fn carrier(mut self, name: &'static str, script: SmscScript) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let carrier = smsc::serve(listener, script, &Clock::system(), &Random::system());
        self.carriers.insert(name, carrier.unwrap());
        self
    }

    pub fn modem(mut self, name: &'static str, script: ModemScript) -> Self {
        let script = ModemScript {
            link: self.folder.path().join(name),
            ..script
        };
        let modem = modem::serve(script, &Clock::system(), &Random::system());
        self.modems.insert(name, modem.unwrap());
        self
    }

    pub fn ledger<R>(&self, name: &str, look: impl FnOnce(&Ledger) -> R) -> R {
        self.carriers[name].ledger(look)
    }

    /// Binds that a carrier has accepted.
    pub fn binds(&self, name: &str) -> u64 {
        self.ledger(name, |ledger| ledger.binds)
    }

    pub async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Ledger) -> bool) {
        soon(what, self.carriers[name].wait_for(wanted)).await;
    }

    /// The table of an account with this carrier.
    pub fn account(&self, carrier: &str) -> Vec<String> {
        let port = self.carriers[carrier].local_addr().unwrap().port();
        vec![
            "host = \"127.0.0.1\"".to_owned(),
            format!("port = {port}"),
            "system_id = \"relais\"".to_owned(),
            "password = \"secret\"".to_owned(),
            "reconnect = \"20ms..200ms\"".to_owned(),
        ]
    }

    /// A file with an account `a`, `b`, … of each carrier, and the default route over the first.
    pub fn file(&self) -> File {
        let mut file = File::default()
            .with(
                "",
                &[&format!("data_dir = {:?}", self.folder.path().join("data"))],
            )
            .with("http", &["listen = \"127.0.0.1:0\""])
            .with("store", &["durability = \"process\""]);
        for name in self.carriers.keys() {
            let lines = self.account(name);
            file.tables.insert(format!("smpp.{name}"), lines);
        }
        for (name, modem) in &self.modems {
            let device = format!("device = {:?}", modem.link());
            let unlimited = ["daily_limit = 0", "recipients_30d = 0"];
            file = file.with(&format!("modem.{name}"), &[&device]);
            file = file.with(&format!("modem.{name}"), &unlimited);
        }
        let mut names = self.carriers.keys().chain(self.modems.keys());
        let first = names.next().unwrap();
        file.with("operators.default", &[&format!("route = [{first:?}]")])
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("relais.toml")
    }

    pub fn write(&self, file: &File) {
        let mut text = String::new();
        for (header, lines) in &file.tables {
            if !header.is_empty() {
                writeln!(text, "[{header}]").unwrap();
            }
            for line in lines {
                writeln!(text, "{line}").unwrap();
            }
        }
        std::fs::write(self.path(), text).unwrap();
    }

    /// Starts the daemon and waits until every account is up.
    pub async fn serve(&self, file: &File) -> Served {
        let served = self.start(file).await;
        served.all_up().await;
        served
    }

    pub async fn start(&self, file: &File) -> Served {
        self.write(file);
        let parts = Parts {
            admin_key: Some(KEY.into()),
            config_file: Some(self.path()),
            ..Parts::system()
        };
        let config = config::load(&self.path()).unwrap();
        let running = Daemon::start(config, parts).await.unwrap();
        let api = Api::new(&running.http_addr.to_string());
        Served { running, api }
    }

    /// Writes the file anew and has it read.
    pub async fn reload(&self, served: &Served, file: &File) -> Reloaded {
        self.write(file);
        soon("reload", served.running.reload()).await.unwrap()
    }

    pub async fn end(self, served: Served) {
        soon("stop", served.running.stop()).await;
        for carrier in self.carriers.values() {
            carrier.shutdown().await;
        }
        for modem in self.modems.values() {
            modem.shutdown().await;
        }
    }
}

impl Api {
    pub fn new(address: &str) -> Self {
        relais::engine::outbox::install_crypto();
        Self {
            url: format!("http://{address}"),
            client: reqwest::Client::new(),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method, url).bearer_auth(KEY);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = soon("answer", request.send()).await.unwrap();
        let status = answer.status().as_u16();
        let text = soon("body", answer.text()).await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, json)
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Sends one message; gives its id.
    pub async fn send(&self, to: &str, text: &str) -> String {
        let body = json!({ "to": to, "text": text });
        let (status, body) = self.call(Method::POST, "/v1/messages", Some(&body)).await;
        assert_eq!(status, 202, "{body}");
        body["id"].as_str().unwrap().to_owned()
    }

    /// Sends many messages at once.
    pub async fn send_all(&self, messages: Vec<Value>) {
        let body = json!({ "messages": messages });
        let (status, body) = self.call(Method::POST, "/v1/batches", Some(&body)).await;
        assert_eq!(status, 202, "{body}");
    }

    pub async fn becomes(&self, id: &str, status: &str) {
        until(status, async || self.message(id).await["status"] == status).await;
    }

    pub async fn message(&self, id: &str) -> Value {
        self.get(&format!("/v1/messages/{id}")).await
    }

    /// Why a message waits.
    pub async fn why(&self, id: &str) -> String {
        let message = self.message(id).await;
        message["why"].as_str().unwrap_or("").to_owned()
    }

    /// The channels' names, with what they are.
    pub async fn channels(&self) -> Vec<(String, String)> {
        let channels = self.get("/v1/channels").await;
        let word = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
        let channels = channels["data"].as_array().unwrap().iter();
        channels
            .map(|it| (word(it, "name"), word(it, "status")))
            .collect()
    }

    pub async fn all_up(&self) {
        until("all channels up", async || {
            self.channels()
                .await
                .iter()
                .all(|(_, status)| status == "up")
        })
        .await;
    }

    pub async fn metrics(&self) -> String {
        match self.get("/metrics").await {
            Value::String(text) => text,
            other => panic!("{other}"),
        }
    }

    /// Sends many messages at once, to a daemon that may stop meanwhile: true if it has said that it has
    /// them, `None` if nobody can tell.
    pub async fn try_to_send_all(&self, messages: &[Value]) -> Option<bool> {
        let url = format!("{}/v1/batches", self.url);
        let body = json!({ "messages": messages });
        let request = self.client.post(url).bearer_auth(KEY).json(&body);
        match soon("answer", request.send()).await {
            Ok(answer) => Some(answer.status().is_success()),
            Err(error) if error.is_connect() => Some(false),
            Err(_) => None,
        }
    }
}

impl Served {
    /// Waits until every message is final.
    pub async fn all_final(&self) {
        let engine = self.running.engine.clone();
        until("all messages final", async || {
            engine.store.gauges(engine.clock.now()).live == 0
        })
        .await;
    }

    /// Waits until carriers have all of every message.
    pub async fn all_sent(&self) {
        let engine = self.running.engine.clone();
        until("all messages sent", async || {
            let waiting = engine.store.gauges(engine.clock.now()).waiting;
            engine.under_way() == 0 && waiting.iter().all(|(.., count)| *count == 0)
        })
        .await;
    }
}

/// The number of a message in a test.
pub fn number(n: usize) -> String {
    format!("+336{n:08}")
}

/// `key: effect` of everything that a reload has done.
pub fn done(reloaded: &Reloaded) -> Vec<String> {
    let changes = reloaded.changes.iter();
    changes
        .map(|it| format!("{}: {}", it.key, it.effect))
        .collect()
}
