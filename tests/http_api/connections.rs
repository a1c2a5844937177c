//! Connections: slow ones end, too many wait, and a stop finishes what is under way.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client::read_until;
use crate::{ADMIN, gateway, gateway_with, hello};

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_the_connection_within_thirty_seconds() {
    let gateway = gateway().await;
    let mut stream = TcpStream::connect(gateway.admin.address).await.unwrap();
    stream.write_all(b"GET /healthz HT").await.unwrap();
    let started = Instant::now();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        started.elapsed() <= Duration::from_secs(31),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_answered_within_sixty_seconds() {
    let gateway = gateway().await;
    let mut stream = TcpStream::connect(gateway.admin.address).await.unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let started = Instant::now();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"),
        "{answer}"
    );
    assert!(
        started.elapsed() <= Duration::from_secs(61),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_connection_beyond_the_cap_is_served_when_another_ends() {
    let gateway = gateway_with(|settings| settings.max_connections = 1).await;
    let mut first = gateway.admin.open("/healthz", "").await;
    read_until(&mut first, "ok").await;
    let mut second = gateway.admin.open("/healthz", "").await;
    let mut octet = [0];
    tokio::select! {
        biased;
        _ = second.read(&mut octet) => panic!("served beyond the cap"),
        // The first connection is kept alive: this answer comes after the second was asked.
        () = async {
            first.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            read_until(&mut first, "ok").await;
        } => {}
    }
    drop(first);
    read_until(&mut second, "ok").await;
}

#[tokio::test]
async fn a_stop_finishes_the_request_under_way_and_accepts_no_more() {
    let gateway = gateway().await;
    let body = hello().to_string();
    let mut stream = TcpStream::connect(gateway.admin.address).await.unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The request is known to be under way once it is given leave to go on.
    read_until(&mut stream, "100 Continue").await;
    gateway.stop.cancel();
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\"id\"").await;
    assert!(answer.contains("HTTP/1.1 202"), "{answer}");
    gateway.served.await.unwrap().unwrap();
    assert!(TcpStream::connect(gateway.admin.address).await.is_err());
}
