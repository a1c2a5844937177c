//! Traces of the build with the feature `otel`, as a collector receives them: the built binary, a
//! simulated carrier, and a receiver of OTLP on loopback. Without the feature there is nothing to test.
#![cfg(feature = "otel")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/processes.rs"]
mod processes;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};

use processes::{PATIENCE, Running, relais, smsc};

const ADMIN: &str = "an-admin-key-for-tests";
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const PARENT: u64 = 0x00f0_67aa_0ba9_02b7;

/// A collector that takes everything; gives head and body of each request.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = sync_channel(1000);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            let _ = sender.send((head, body));
        }
    });
    (url, requests)
}

fn holds(body: &[u8], wanted: &[u8]) -> bool {
    body.windows(wanted.len()).any(|octets| octets == wanted)
}

#[test]
fn the_spans_of_a_message_are_of_its_callers_trace_and_tell_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (smsc, carrier) = smsc(folder.path(), "");
    let (_, port) = carrier.rsplit_once(':').unwrap();
    let file = folder.path().join("relais.toml");
    let config = format!(
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"info\"\n\
         [smpp.a]\nhost = \"127.0.0.1\"\nport = {port}\nsystem_id = \"me\"\npassword = \"secret\"\n"
    );
    std::fs::write(&file, config).unwrap();
    let (url, requests) = collector();
    let mut daemon = relais();
    daemon
        .args(["serve", "--config"])
        .arg(&file)
        .env("RELAIS_ADMIN_KEY", ADMIN)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
        .env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let mut daemon = Running::start(daemon, "http_addr=");
    let address = daemon.word_after("http_addr=");

    let body = r#"{"to": "06 12 34 56 78", "text": "Zanzibar"}"#;
    let post = |headers: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        let id = answer.split("\"id\":\"").nth(1).unwrap();
        id.split('"').next().unwrap().to_owned()
    };
    post(&format!(
        "traceparent: 00-{TRACE:032x}-{PARENT:016x}-01\r\n"
    ));
    let own = u128::from_str_radix(&post("").replace('-', ""), 16).unwrap();

    let mut all = Vec::new();
    let count =
        |all: &[u8], wanted: &[u8]| all.windows(wanted.len()).filter(|o| *o == wanted).count();
    // Each of the two messages ends with a receipt; a span's name is a string of its own in protobuf.
    while count(&all, b"\x07receipt") < 2 {
        let (head, body) = requests.recv_timeout(PATIENCE).unwrap();
        assert!(head.starts_with("post /v1/traces "), "{head}");
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        all.extend(body);
    }
    for trace in [TRACE, own] {
        assert_eq!(
            count(&all, &trace.to_be_bytes()),
            3,
            "accept, submit, receipt"
        );
    }
    assert_eq!(count(&all, &PARENT.to_be_bytes()), 3);
    for wanted in [
        "\x06accept",
        "\x06submit",
        "\x06relais",
        "message_id",
        "service.version",
    ] {
        assert!(holds(&all, wanted.as_bytes()), "{wanted:?}");
    }
    for secret in ["Zanzibar", "612345678", "5678", "+336", ADMIN, "secret"] {
        assert!(!holds(&all, secret.as_bytes()), "{secret:?}");
    }
    daemon.stop();
    smsc.stop();
}

#[test]
fn a_collector_that_is_not_there_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relais.toml");
    let config = "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[modem.sim1]\ndevice = \"nowhere\"\n";
    std::fs::write(&file, config).unwrap();
    let mut daemon = relais();
    daemon
        .args(["serve", "--config"])
        .arg(&file)
        // Nobody listens on port 1.
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    Running::start(daemon, "http_addr=").stop();
}
