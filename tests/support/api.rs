//! The HTTP interface over an engine of the same process: real requests on a real listener.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, missing_docs)]

use std::net::SocketAddr;
use std::sync::Arc;

use relais::engine::Engine;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The key of the installation.
pub const ADMIN: &str = "an-admin-key-for-tests";

/// The HTTP interface of an engine, and the key that it is asked with.
pub struct Api {
    address: SocketAddr,
    key: String,
    stop: CancellationToken,
}

impl Api {
    pub async fn of(engine: &Arc<Engine>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let settings = relais::http::Settings::new(ADMIN.into());
        let served = relais::http::serve(listener, engine.clone(), settings, stop.clone());
        tokio::spawn(served);
        Self {
            address,
            key: ADMIN.to_owned(),
            stop,
        }
    }

    /// The same interface, asked with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            address: self.address,
            key: key.to_owned(),
            stop: self.stop.clone(),
        }
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("POST", path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("PUT", path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("PATCH", path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        self.call("DELETE", path, None).await
    }

    /// The status of the answer, and its body: as text where it is not JSON.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: relais\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
        (status, body)
    }

    pub fn stop(self) {
        self.stop.cancel();
    }
}
