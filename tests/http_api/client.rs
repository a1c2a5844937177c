//! A client of one request a connection, which sends what it is told and reads what comes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Generous: a test that needs it has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// An address and a key.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    key: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The body, where it is JSON.
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts that it is a problem document of this status, and gives its code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.json["status"], status);
        for member in ["type", "title", "detail"] {
            assert!(self.json[member].is_string(), "{member}: {}", self.json);
        }
        self.json["code"].as_str().unwrap()
    }

    /// The pointers (or parameters) and codes of a problem's errors.
    pub(crate) fn errors(&self) -> Vec<(&str, &str)> {
        self.json["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| {
                let place = error.get("pointer").or(error.get("parameter")).unwrap();
                (place.as_str().unwrap(), error["code"].as_str().unwrap())
            })
            .collect()
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        Self {
            address,
            key: key.to_owned(),
        }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self::new(self.address, key)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_raw(path, &[], body.to_string().as_bytes()).await
    }

    pub(crate) async fn post_raw(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        self.send("POST", path, &all, body).await
    }

    /// Sends one request with the key, and reads the answer to the end of the connection.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let authorization = format!("Bearer {}", self.key);
        let mut all = vec![("Authorization", authorization.as_str())];
        all.extend_from_slice(headers);
        send(self.address, method, path, &all, body).await
    }

    /// Sends a request and leaves the connection to its caller.
    pub(crate) async fn open(&self, path: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{headers}\r\n",
            self.key
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}

/// Sends one request as it is told.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    parse(&tokio::time::timeout(DEADLINE, exchange).await.unwrap())
}

/// A body that came in chunks, as one (RFC 9112 §7.1); what is cut off ends where it was cut.
fn joined(mut octets: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = octets.windows(2).position(|w| w == b"\r\n") {
        let length = std::str::from_utf8(&octets[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        let chunk = &octets[end + 2..];
        body.extend_from_slice(&chunk[..length.min(chunk.len())]);
        octets = chunk.get(length + 2..).unwrap_or_default();
    }
    body
}

fn parse(octets: &[u8]) -> Answer {
    let end = octets.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&octets[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers: HashMap<_, _> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = octets[end + 4..].to_vec();
    if headers.contains_key("transfer-encoding") {
        body = joined(&body);
    }
    Answer {
        status: status.parse().unwrap(),
        headers,
        json: serde_json::from_slice(&body).unwrap_or_default(),
        body,
    }
}

/// Reads from a connection until what has come in contains `wanted`.
pub(crate) async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&seen).into_owned();
            if text.contains(wanted) {
                return text;
            }
            let read = stream.read_buf(&mut seen).await.unwrap();
            assert!(read > 0, "the connection ended after {text:?}");
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.unwrap()
}
