//! What administrators do with the connections to carriers.

use std::sync::Arc;

use relais::channel::{ChannelHandle, ChannelStatus, Peer, PeerWord};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::client::Answer;
use crate::gateway_over;

/// A connection that is up, and whoever is told to bind it anew.
fn channel(account: &str, number: u8) -> (ChannelHandle, watch::Receiver<()>) {
    let (reset, told) = watch::channel(());
    let handle = ChannelHandle {
        id: format!("{account}#{number}").as_str().into(),
        account: account.into(),
        window: Arc::new(Semaphore::new(10)),
        window_size: 10,
        requests: mpsc::channel(10).0,
        status: watch::channel(ChannelStatus::Up).1,
        peer: Peer::Smsc(
            watch::channel(PeerWord {
                interface_version: Some(0x34),
                congestion: None,
            })
            .1,
        ),
        reset,
    };
    (handle, told)
}

/// Names of the connections in an answer, with a member of each.
fn each(answer: &Answer, member: &str) -> Value {
    let data = answer.json["data"].as_array().unwrap();
    data.iter()
        .map(|channel| json!([channel["name"], channel[member]]))
        .collect()
}

#[tokio::test]
async fn an_account_or_one_of_its_binds_is_paused_resumed_and_reset() {
    let ((one, first), (two, second), (other, third)) = (
        channel("orange", 1),
        channel("orange", 2),
        channel("sfr", 1),
    );
    let gateway = gateway_over(vec![one, two, other], |_| {}).await;
    let admin = &gateway.admin;
    let nothing = json!({});

    let paused = admin
        .post("/v1/admin/channels/orange/pause", &nothing)
        .await;
    assert_eq!(paused.status, 200, "{}", paused.text());
    let both = json!([["orange#1", true], ["orange#2", true]]);
    assert_eq!(each(&paused, "paused"), both);
    let bind = admin
        .post("/v1/admin/channels/sfr%231/pause", &nothing)
        .await;
    assert_eq!(each(&bind, "paused"), json!([["sfr#1", true]]));
    assert_eq!(gateway.engine.store.pauses().len(), 2);
    for name in ["orange", "sfr%231"] {
        let path = format!("/v1/admin/channels/{name}/resume");
        assert_eq!(admin.post(&path, &nothing).await.status, 200);
    }
    let shown = admin.get("/v1/channels").await;
    let all = json!([["orange#1", false], ["orange#2", false], ["sfr#1", false]]);
    assert_eq!(each(&shown, "paused"), all);
    assert!(gateway.engine.store.pauses().is_empty());

    let reset = admin
        .post("/v1/admin/channels/orange%232/reset", &nothing)
        .await;
    assert_eq!(each(&reset, "account"), json!([["orange#2", "orange"]]));
    let told = [first, second, third].map(|told| told.has_changed().unwrap());
    assert_eq!(told, [false, true, false]);

    for verb in ["pause", "resume", "reset"] {
        for name in ["bouygues", "orange%233", "orange%23", "%FF", ""] {
            let path = format!("/v1/admin/channels/{name}/{verb}");
            let answer = admin.post(&path, &nothing).await;
            assert_eq!(answer.problem(404), "not_found", "{path}");
        }
    }
}

#[tokio::test]
async fn channels_show_what_their_account_can_do() {
    let gateway = gateway_over(vec![channel("orange", 1).0], |_| {}).await;
    let shown = gateway.admin.get("/v1/channels").await.json;
    let mut channel = shown["data"][0].clone();
    let since = channel["since"].take();
    assert!(since.as_str().unwrap().starts_with("2026-09-21T"));
    let expected = json!({
        "name": "orange#1", "account": "orange", "kind": "smpp", "up": true, "status": "up",
        "since": null, "paused": false, "window": 10, "window_used": 0,
        "interface_version": "3.4", "account_state": {"circuit": "closed"}
    });
    assert_eq!(channel, expected);
    let metrics = gateway.admin.get("/metrics").await;
    for line in [
        "relais_account_rate{account=\"orange\"} 0",
        "relais_circuit_open{account=\"orange\"} 0",
    ] {
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }
}
