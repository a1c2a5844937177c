//! Proves that a modem works as a new user meets it: the built binary with a simulated modem on a real
//! pseudo terminal, a configuration of five lines, one message. How: processes, and HTTP octet by octet.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/processes.rs"]
mod processes;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use processes::{Running, relais, serve};
use serde_json::{Value, json};

/// The body of a 2xx answer to GET.
fn get(address: &str, key: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 2"), "{path}: {answer}");
    body.to_owned()
}

#[test]
fn a_new_user_sends_over_a_modem_with_five_lines_of_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (link, file, data) = (path("modem-a"), path("relais.toml"), path("data"));
    let mut modem = relais();
    modem.args(["sim", "modem", "--link", &link]);
    let modem = Running::start(modem, &link);
    let five_lines = format!(
        "data_dir = \"{data}\"\n[http]\nlisten = \"127.0.0.1:0\"\n[modem.sim1]\ndevice = \"{link}\"\n"
    );
    std::fs::write(&file, five_lines).unwrap();

    let mut daemon = serve(Path::new(&file));
    let address = daemon.word_after("http_addr=");
    let key = std::fs::read_to_string(Path::new(&data).join("admin.key")).unwrap();
    let get = |path: &str| get(&address, key.trim(), path);

    let url = format!("http://{address}");
    let send = |to: &str, text: &str| {
        let client = ["--wait", "--lang", "fr", "--url", &url, "--key", key.trim()];
        let sent = relais().args(["send", to, text]).args(client).output();
        let shown = String::from_utf8(sent.unwrap().stdout).unwrap();
        assert!(shown.contains("  Livré  "), "{shown}");
        let id = shown.split_whitespace().next().unwrap();
        let message: Value = serde_json::from_str(&get(&format!("/v1/messages/{id}"))).unwrap();
        assert_eq!(message["channel"], "sim1", "{message}");
        assert_eq!(message["attempts"], 1, "{message}");
    };
    send("06 12 34 56 78", "Bonjour");
    send("06 12 34 56 79", "À bientôt 😊");

    let channels: Value = serde_json::from_str(&get("/v1/channels")).unwrap();
    let channel = &channels["data"][0];
    assert_eq!(
        (&channel["name"], &channel["kind"], &channel["up"]),
        (&json!("sim1"), &json!("modem"), &json!(true)),
        "{channels}"
    );
    let modem_json = &channel["modem"];
    assert_eq!(modem_json["device"], json!(link));
    assert_eq!(modem_json["registration"], "home");
    assert_eq!(modem_json["budget"]["day"]["used"], 2);
    assert_eq!(modem_json["budget"]["recipients_30d"]["used"], 2);
    assert!(modem_json["storage"]["name"].is_string(), "{channel}");
    assert!(modem_json["sim"].as_str().unwrap().starts_with('…'));
    let figures = get("/metrics");
    for line in [
        "relais_channel_up{channel=\"sim1\"} 1",
        "relais_modem_registered{channel=\"sim1\"} 1",
        "relais_modem_signal_dbm{channel=\"sim1\"} -",
        "relais_modem_storage_ratio{channel=\"sim1\"} 0",
        "relais_modem_recoveries_total{channel=\"sim1\",step=\"reopened\"} 0",
        "relais_sim_budget_remaining{channel=\"sim1\",limit=\"day\"} 198",
        "relais_sim_budget_remaining{channel=\"sim1\",limit=\"recipients_30d\"} 198",
        "relais_messages_total{status=\"delivered\",channel=\"sim1\",operator=\"default\"} 2",
    ] {
        assert!(figures.contains(line), "{line} in {figures}");
    }
    let said = daemon.stop();
    for secret in ["Bonjour", "612345678", "bientôt", key.trim()] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    modem.stop();
}
