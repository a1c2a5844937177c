//! Proves what the log of a full run holds and what it never holds: the built binary at level trace, in
//! JSON and in text, with carriers, a modem, webhooks, messages from handsets, wrong keys, a wrong
//! password and a broken reload. How: processes, HTTP octet by octet, and a search of every line.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// Never what a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

const PASSWORD: &str = "hunter2x";
const WRONG_PASSWORD: &str = "wr0ngpwd";
const PIN: &str = "8351";
const ADMIN: &str = "an-admin-key-that-nobody-reads";
const TEXT: &str = "Zanzibar";
const LONG: &str =
    "Zanzibar 😊 un texte qui tient en deux parties au moins, parce qu'il est en Unicode";
const INBOUND: &str = "Madagascar";
const QUERY: &str = "token=q9w8e7r6";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A program of the run, with everything that it has said so far.
struct Program {
    child: Child,
    said: Arc<(Mutex<String>, Condvar)>,
}

impl Program {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
        let clean = [
            "LC_ALL",
            "LC_MESSAGES",
            "LANG",
            "RUST_LOG",
            "RELAIS_URL",
            "RELAIS_KEY",
        ];
        for name in clean {
            command.env_remove(name);
        }
        let (receiver, sender) = std::io::pipe().unwrap();
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(sender.try_clone().unwrap())
            .stderr(sender);
        let child = command.spawn().unwrap();
        let said = Arc::<(Mutex<String>, Condvar)>::default();
        let told = said.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(receiver);
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap() > 0 {
                told.0.lock().unwrap().push_str(&line);
                told.1.notify_all();
                line.clear();
            }
        });
        Self { child, said }
    }

    /// Waits until it has said this; gives everything.
    fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let said = self.said.0.lock().unwrap();
        let (said, late) = self
            .said
            .1
            .wait_timeout_while(said, PATIENCE, |said| !wanted(said))
            .unwrap();
        assert!(!late.timed_out(), "{said}");
        said.clone()
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A receiver of webhooks that refuses the first post; gives the head of each.
fn receiver() -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?{QUERY}", listener.local_addr().unwrap());
    let (sender, posts) = std::sync::mpsc::sync_channel(1000);
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap();
            let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let status = if index == 0 { "500 Broken" } else { "200 OK" };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            let _ = sender.send(head);
        }
    });
    (url, posts)
}

struct Api {
    address: String,
    key: String,
}

impl Api {
    fn call(&self, method: &str, path: &str, headers: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            self.key,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    fn send(&self, to: &str, text: &str, headers: &str) -> String {
        let body = json!({"to": to, "text": text, "reference": "r1", "metadata": {"k": "v"}});
        let (status, message) = self.call("POST", "/v1/messages", headers, &body);
        assert_eq!(status, 202, "{message}");
        message["id"].as_str().unwrap().to_owned()
    }
}

/// What the search looks for: each must be nowhere in the log.
fn secrets(run: &[&str], numbers: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = run.iter().map(|secret| (*secret).to_owned()).collect();
    for text in [TEXT, INBOUND] {
        all.push(text.to_owned());
        all.push(text.bytes().map(|o| format!("{o:02x}")).collect());
        all.push(text.bytes().map(|o| format!("00{o:02x}")).collect());
    }
    all.push(
        TEXT.bytes()
            .map(|o| o.to_string())
            .collect::<Vec<_>>()
            .join(", "),
    );
    for number in numbers {
        // The nine digits that every writing ends in; and as semi-octets, which is how PDUs write it.
        all.push((*number).to_owned());
        let digits: Vec<char> = format!("33{number}F").chars().collect();
        all.push(
            digits
                .chunks(2)
                .flat_map(|pair| [pair[1], pair[0]])
                .collect(),
        );
    }
    all
}

/// Everything that a run has said, and what of it must be findable and what must not be there.
struct Run {
    log: String,
    secrets: Vec<String>,
    /// The message that was sent with [`TRACE`].
    traced: String,
    /// The one that was refused for good.
    failed: String,
}

fn full_run(format: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(
        path("smsc.toml"),
        format!(
            "password = {PASSWORD:?}\n\
             [[rules]]\nsuffix = \"02\"\nstatus = 0x0B\n\
             [[rules]]\nsuffix = \"03\"\nstatus = 0x08\ntimes = 1\n\
             [[inbound]]\nfrom = \"33698765401\"\nto = \"36111\"\ntext = \"{INBOUND}\"\nafter_ms = 100\n\
             [[inbound]]\nfrom = \"33698765402\"\nto = \"36111\"\ntext = \"STOP\"\nafter_ms = 200\n"
        ),
    )
    .unwrap();
    std::fs::write(
        path("modem.toml"),
        format!("pin = {PIN:?}\nlatency_ms = 0\nsend_ms = 10\nrest_ms = 0\n"),
    )
    .unwrap();
    let smsc = Program::start(
        &[
            "sim",
            "smsc",
            "--listen",
            "127.0.0.1:0",
            "--script",
            &path("smsc.toml"),
        ],
        &[],
    );
    let said = smsc.until(|said| said.contains("127.0.0.1:"));
    let port = said.split("127.0.0.1:").nth(1).unwrap();
    let port = port.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let link = path("modem-a");
    let modem = [
        "sim",
        "modem",
        "--link",
        &link,
        "--script",
        &path("modem.toml"),
    ]
    .map(str::to_owned);
    let modem = Program::start(&modem.each_ref().map(String::as_str), &[]);
    modem.until(|said| said.contains(&link));

    // A proxy that the environment names: a webhook that went there would be seen.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let proxy_url = format!("http://{}", proxy.local_addr().unwrap());
    let account = |name: &str, password: &str| {
        format!(
            "[smpp.{name}]\nhost = \"127.0.0.1\"\nport = {port}\nsystem_id = \"me\"\n\
             password = {password:?}\n"
        )
    };
    let config = format!(
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [log]\nformat = {format:?}\nlevel = \"info,relais=trace\"\n\
         [webhooks]\nallow = [\"127.0.0.1/32\"]\n{}{}\
         [modem.sim1]\ndevice = {link:?}\npin = {PIN:?}\nrate = 0\n\
         [operators.mobile]\nprefixes = [\"+337\"]\nroute = [\"sim1\"]\n\
         [operators.default]\nroute = [\"good\"]\nretry = [\"100ms\"]\n",
        account("good", PASSWORD),
        account("refused", WRONG_PASSWORD)
    );
    let file = path("relais.toml");
    std::fs::write(&file, &config).unwrap();
    let daemon = Program::start(
        &["serve", "--config", &file],
        &[
            ("RELAIS_ADMIN_KEY", ADMIN),
            ("HTTP_PROXY", &proxy_url),
            ("http_proxy", &proxy_url),
            ("ALL_PROXY", &proxy_url),
        ],
    );
    let said = daemon.until(|said| said.contains("http_addr"));
    let after = said.split("http_addr").nth(1).unwrap();
    let address = after.trim_start_matches(['"', ':', '=']);
    let address = address.split(['"', ' ']).next().unwrap().to_owned();
    let admin = Api {
        address: address.clone(),
        key: ADMIN.to_owned(),
    };

    let new = json!({"tenant": "default", "name": "logs", "scopes": ["send", "read"]});
    let (status, made) = admin.call("POST", "/v1/admin/keys", "", &new);
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().unwrap().to_owned();
    let api = Api {
        address: address.clone(),
        key: key.clone(),
    };
    let (url, posts) = receiver();
    let hook = json!({"url": url, "types": ["message.delivered", "message.failed"]});
    let (status, hook) = api.call("POST", "/v1/webhooks", "", &hook);
    assert_eq!(status, 201, "{hook}");
    let wrong = Api {
        address,
        key: "rk_0123456789_thisisnotakeyofanybody".to_owned(),
    };
    assert_eq!(wrong.call("GET", "/v1/messages", "", &Value::Null).0, 401);

    let trace = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
    let traced = api.send("06 12 34 56 01", TEXT, &trace);
    let failed = api.send("+33612345602", TEXT, "");
    let mut ids = vec![
        traced.clone(),
        failed.clone(),
        api.send("0033612345603", LONG, ""),
        api.send("+33712345604", TEXT, ""),
        api.send("+33712345605", LONG, ""),
    ];
    let batch =
        json!({"to": ["0612345606", "0612345607", "not a number 0612345699"], "text": TEXT});
    let (status, batch) = api.call("POST", "/v1/batches", "", &batch);
    assert_eq!(status, 202, "{batch}");
    let results = batch["results"].as_array().unwrap().iter();
    ids.extend(
        results
            .filter_map(|item| item["id"].as_str())
            .map(str::to_owned),
    );
    assert_eq!(ids.len(), 7);
    let bad = json!({"to": "0612345608", "text": TEXT, "from": TEXT.repeat(3), "nope": TEXT});
    assert_eq!(api.call("POST", "/v1/messages", "", &bad).0, 422);
    let garbage = json!(format!("{TEXT} 0612345609"));
    assert_eq!(api.call("POST", "/v1/messages", "", &garbage).0, 422);
    api.call("PUT", "/v1/optouts/0612345610", "", &json!({}));
    api.send("0612345610", TEXT, "");
    api.call("GET", "/v1/messages?to=0612345601", "", &Value::Null);
    for id in &ids {
        let path = format!("/v1/messages/{id}");
        let ended = || {
            let (_, message) = api.call("GET", &path, "", &Value::Null);
            matches!(message["status"].as_str().unwrap(), "delivered" | "failed")
        };
        let looks = PATIENCE.as_millis() / 20;
        let ended = (0..looks).any(|_| {
            let ended = ended();
            if !ended {
                std::thread::sleep(Duration::from_millis(20));
            }
            ended
        });
        assert!(ended, "{id}");
    }
    daemon.until(|said| said.matches("inbound_received").count() == 2);
    // Eight messages, one of them opted out, and the first post twice.
    let mut heads = Vec::new();
    for _ in 0..9 {
        heads.push(posts.recv_timeout(PATIENCE).unwrap());
    }
    let carries = |head: &&String| head.contains(&format!("traceparent: 00-{TRACE}-"));
    assert!(heads.iter().any(|head| carries(&head)), "{heads:?}");
    assert_eq!(
        proxy.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );

    // A configuration that breaks where a secret stands: quotes forgotten, and a wrong type.
    for broken in [
        config.replace(&format!("{WRONG_PASSWORD:?}"), WRONG_PASSWORD),
        config.replace(
            &format!("pin = {PIN:?}"),
            &format!("pin = {PIN}\npinn = {PIN:?}"),
        ),
    ] {
        assert_ne!(broken, config);
        std::fs::write(&file, broken).unwrap();
        let lines = daemon.until(|_| true).lines().count();
        daemon.signal("HUP");
        daemon.until(|said| {
            said.lines()
                .skip(lines)
                .any(|line| line.contains("relais.toml"))
        });
    }
    daemon.signal("TERM");
    let log = daemon.until(|said| {
        said.lines()
            .last()
            .is_some_and(|line| line.contains("relais::daemon") && line.contains("stopped"))
    });
    let numbers: Vec<String> = (601..=610)
        .flat_map(|n| [format!("612345{n}"), format!("712345{n}")])
        .chain(["698765401", "698765402", "612345699"].map(str::to_owned))
        .collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    let secret_key = key.splitn(3, '_').nth(2).unwrap();
    let run = [
        PASSWORD,
        WRONG_PASSWORD,
        ADMIN,
        secret_key,
        "thisisnotakeyofanybody",
        hook["secret"].as_str().unwrap(),
        QUERY,
        "q9w8e7r6",
        "tient en deux parties",
    ];
    Run {
        log,
        secrets: secrets(&run, &numbers),
        traced,
        failed,
    }
}

impl Run {
    fn assert_discreet(&self) {
        assert!(self.log.lines().count() > 30, "{}", self.log);
        for line in self.log.lines() {
            let lower = line.to_lowercase();
            // A number in groups is a number: digits are compared without what stands between them.
            let joined = line.replace([' ', '.', '-', '(', ')'], "");
            for secret in &self.secrets {
                let found =
                    lower.contains(&secret.to_lowercase()) || joined.contains(secret.as_str());
                assert!(!found, "{secret:?} in {line}");
            }
            // The PIN is short enough to stand in a date or an id by chance: only by itself it is one.
            let words = line.split(|c: char| !c.is_ascii_alphanumeric());
            assert!(
                words.into_iter().all(|word| word != PIN),
                "the PIN in {line}"
            );
        }
    }
}

#[test]
fn the_log_in_json_tells_each_change_once_and_no_secret() {
    let run = full_run("json");
    run.assert_discreet();
    let lines: Vec<Value> = run
        .log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{field} of {line}");
        }
    }
    let of = |field: &str, value: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line[field] == value).collect()
    };
    let told = |lines: &[&Value]| -> Vec<String> {
        let changes = lines
            .iter()
            .filter(|line| line["message"] == "message_status");
        changes
            .map(|line| line["status"].as_str().unwrap().to_owned())
            .collect()
    };
    let traced = of("message_id", &run.traced);
    assert_eq!(told(&traced), ["pending", "sent", "delivered"]);
    assert_eq!(told(&of("trace", TRACE)), ["pending", "sent", "delivered"]);
    for line in of("trace", TRACE) {
        assert_eq!(line["message_id"], run.traced, "{line}");
        if line["message"] == "webhook_failed" {
            continue;
        }
        assert_eq!(line["parent"], "00f067aa0ba902b7-01", "{line}");
        assert_eq!(line["to"], "+336••••5601", "{line}");
    }
    let traced: Vec<_> = traced
        .into_iter()
        .filter(|line| line["message"] == "message_status")
        .collect();
    let levels: Vec<_> = traced
        .iter()
        .map(|line| line["level"].as_str().unwrap())
        .collect();
    assert_eq!(
        levels,
        ["DEBUG", "DEBUG", "INFO"],
        "one line a message where it is info"
    );
    assert!(
        traced[2]["after_ms"].is_u64() && traced[2]["channel"] == "good#1",
        "{}",
        traced[2]
    );

    let failed = of("message_id", &run.failed);
    let end = failed
        .iter()
        .find(|line| line["status"] == "failed")
        .unwrap();
    assert_eq!(
        (&end["reason"], &end["operator"]),
        (&json!("number_invalid"), &json!("default"))
    );
    let received = of("message", "inbound_received");
    assert_eq!(received.len(), 2);
    assert!(
        received.iter().any(|line| line["wish"] == "Stop"),
        "{received:?}"
    );
    assert!(!of("message", "webhook_failed").is_empty());
    assert!(lines.iter().any(|line| line["level"] == "ERROR"
        && line["message"].as_str().unwrap().contains("cannot bind")));
}

#[test]
fn the_log_in_text_holds_no_secret_either() {
    let run = full_run("text");
    run.assert_discreet();
    let changes = run
        .log
        .lines()
        .filter(|line| line.contains("message_status"));
    let by_trace = changes.filter(|line| line.contains(TRACE)).count();
    assert_eq!(by_trace, 3, "{}", run.log);
    assert!(run.log.contains("+336••••5601"), "{}", run.log);
}
