#![allow(clippy::unwrap_used)]
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::clock::{Clock, Random};
use crate::sim::modem::{self, ModemScript};

#[tokio::test]
async fn a_port_is_ours_alone_and_ends_when_it_is_unplugged() {
    let folder = tempfile::tempdir().unwrap();
    let script = ModemScript {
        link: folder.path().join("modem"),
        ..ModemScript::default()
    };
    let modem = modem::serve(script, &Clock::system(), &Random::seeded(1)).unwrap();
    let opener = SerialOpener::new(&modem.link(), 115_200);
    let mut port = opener.open().await.unwrap();
    assert!(opener.open().await.is_err());
    port.write_all(b"AT\r").await.unwrap();
    port.flush().await.unwrap();
    let mut heard = String::new();
    let mut octets = [0; 256];
    while !heard.contains("OK") {
        let count = port.read(&mut octets).await.unwrap();
        heard.push_str(&String::from_utf8_lossy(&octets[..count]));
    }
    modem.unplug();
    let end = async { while !matches!(port.read(&mut octets).await, Ok(0) | Err(_)) {} };
    tokio::time::timeout(Duration::from_mins(1), end)
        .await
        .unwrap();
    drop(port);
    let error = opener.open().await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    modem.shutdown().await;
}
