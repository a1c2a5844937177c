//! What administrators do with the connections to carriers.

use std::sync::Arc;

use relais::channel::modem::answer::{Registration, Usage};
use relais::channel::modem::word::Recoveries;
use relais::channel::{ChannelHandle, ChannelStatus, ModemWord, Peer, PeerWord, SubmitRequest};
use relais::domain::policy::ModemRules;
use relais::domain::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::client::Answer;
use crate::gateway_over;

/// The queue of a driver that is there, and takes nothing.
fn requests() -> mpsc::Sender<SubmitRequest> {
    let (requests, taken) = mpsc::channel(10);
    tokio::spawn(async move {
        let _open = taken;
        std::future::pending::<()>().await;
    });
    requests
}

/// A connection that is up, and whoever is told to bind it anew.
fn channel(account: &str, number: u8) -> (ChannelHandle, watch::Receiver<()>) {
    let (reset, told) = watch::channel(());
    let handle = ChannelHandle {
        id: format!("{account}#{number}").as_str().into(),
        account: account.into(),
        window: Arc::new(Semaphore::new(10)),
        window_size: 10,
        requests: requests(),
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

/// A modem that is up, and what it says about itself.
fn modem(name: &str, word: ModemWord) -> (ChannelHandle, watch::Sender<ModemWord>) {
    let (said, heard) = watch::channel(word);
    let handle = ChannelHandle {
        id: name.into(),
        account: name.into(),
        window: Arc::new(Semaphore::new(1)),
        window_size: 1,
        requests: requests(),
        status: watch::channel(ChannelStatus::Up).1,
        peer: Peer::Modem(heard),
        reset: watch::channel(()).0,
    };
    (handle, said)
}

#[tokio::test]
async fn a_modem_shows_itself_its_sim_masked_and_what_the_sim_may_still_send() {
    let word = ModemWord {
        device: "/dev/modem-a".to_owned(),
        maker: Some("huawei".to_owned()),
        model: Some("E173".to_owned()),
        imei: Some("356938035643809".to_owned()),
        sim: Some("208010123456789".to_owned()),
        service_centre: Some("+33695000695".to_owned()),
        operator: Some("Orange F".to_owned()),
        registration: Some(Registration::Home),
        signal_dbm: Some(-71),
        reports: Some("direct"),
        storage: Some(Usage { used: 5, total: 20 }),
        storage_name: Some("SM".to_owned()),
        balance: Some(("Solde : 12,50 EUR".to_owned(), Timestamp(1_790_000_000_000))),
        notes: vec!["AT+CSCS is not known".to_owned()],
        recoveries: Recoveries {
            set_up: 3,
            ..Recoveries::default()
        },
    };
    let (new, _said) = modem("sim2", ModemWord::default());
    let (handle, said) = modem("sim1", word);
    let gateway = gateway_over(vec![channel("orange", 1).0, handle, new], |_| {}).await;
    gateway.policy.send_modify(|policy| {
        let mut rules = (**policy).clone();
        let limited = ModemRules {
            recipients_30d: None,
            ..ModemRules::default()
        };
        rules.modems.insert("sim1".into(), limited);
        *policy = Arc::new(rules);
    });
    let shown = gateway.admin.get("/v1/channels").await.json;
    assert!(shown["data"][0].get("modem").is_none());
    let mut channel = shown["data"][1].clone();
    channel["since"].take();
    let expected = json!({
        "name": "sim1", "account": "sim1", "kind": "modem", "up": true, "status": "up",
        "since": null, "paused": false, "window": 1, "window_used": 0,
        "modem": {
            "device": "/dev/modem-a", "maker": "huawei", "model": "E173",
            "imei": "356938035643809", "sim": "…6789", "service_centre": "+33695000695",
            "operator": "Orange F", "registration": "home", "signal_dbm": -71,
            "reports": "direct", "storage": {"name": "SM", "used": 5, "total": 20},
            "balance": {"text": "Solde : 12,50 EUR", "at": "2026-09-21T14:13:20.000Z"},
            "notes": ["AT+CSCS is not known"],
            "recoveries": {"resynchronised": 0, "set_up": 3, "restarted": 0, "reopened": 0, "power": 0},
            "budget": {"day": {"limit": 200, "used": 0}}
        },
        "account_state": {"circuit": "closed"}
    });
    assert_eq!(channel, expected);
    let silent = json!({
        "device": "", "notes": [],
        "recoveries": {"resynchronised": 0, "set_up": 0, "restarted": 0, "reopened": 0, "power": 0},
        "budget": {}
    });
    assert_eq!(shown["data"][2]["modem"], silent);

    let figures = async || gateway.admin.get("/metrics").await.text();
    let text = figures().await;
    for line in [
        "relais_channel_up{channel=\"sim1\"} 1",
        "relais_modem_signal_dbm{channel=\"sim1\"} -71",
        "relais_modem_signal_dbm{channel=\"sim2\"} NaN",
        "relais_modem_registered{channel=\"sim1\"} 1",
        "relais_modem_registered{channel=\"sim2\"} 0",
        "relais_modem_storage_ratio{channel=\"sim1\"} 0.25",
        "relais_modem_recoveries_total{channel=\"sim1\",step=\"set_up\"} 3",
        "relais_modem_recoveries_total{channel=\"sim1\",step=\"power\"} 0",
        "relais_sim_budget_remaining{channel=\"sim1\",limit=\"day\"} 200",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    for absent in ["208010123456789", "356938035643809", "recipients_30d\"}"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    // Unplugged: what was known last is not what is.
    said.send_modify(|word| {
        (word.signal_dbm, word.registration) = (None, None);
        word.recoveries.set_up += 1;
    });
    let text = figures().await;
    for line in [
        "relais_modem_signal_dbm{channel=\"sim1\"} NaN",
        "relais_modem_registered{channel=\"sim1\"} 0",
        "relais_modem_recoveries_total{channel=\"sim1\",step=\"set_up\"} 4",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
