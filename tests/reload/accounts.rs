//! Accounts and operators that come, go and change.

use std::time::Duration;

use relais::sim::modem::ModemScript;
use relais::sim::smsc::{Rule, SmscScript};
use reqwest::Method;

use crate::stage::{Stage, done, number, until};

async fn two() -> Stage {
    let stage = Stage::new().carrier("a", SmscScript::default()).await;
    stage.carrier("b", SmscScript::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_not_changed_restarts_nothing() {
    let stage = two().await.modem("sim1", ModemScript::default());
    let file = stage.file();
    let served = stage.serve(&file).await;
    for _ in 0..3 {
        let reloaded = stage.reload(&served, &file).await;
        assert_eq!(done(&reloaded), [""; 0]);
    }
    let id = served.send(&number(1), "bonjour").await;
    served.becomes(&id, "delivered").await;
    assert_eq!((stage.binds("a"), stage.binds("b")), (1, 1));
    assert_eq!(stage.ledger("a", |ledger| ledger.unbinds), 0);
    assert_eq!(served.channels().await.len(), 3);
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_added_sends_and_one_that_is_removed_is_gone() {
    let stage = two().await;
    let whole = stage.file();
    let route = |name: &str| format!("route = [{name:?}]");
    let only_a = whole.clone().without("smpp.b");
    let served = stage.serve(&only_a).await;
    assert!(!served.metrics().await.contains("channel=\"b#1\""));

    let over_b = whole.with("operators.default", &[&route("b")]);
    let reloaded = stage.reload(&served, &over_b).await;
    assert_eq!(
        done(&reloaded),
        ["operators.default.route: in_force", "smpp.b: started"]
    );
    let id = served.send(&number(1), "bonjour").await;
    served.becomes(&id, "delivered").await;
    assert_eq!(stage.ledger("b", |ledger| ledger.submitted_total), 1);
    assert!(
        served
            .metrics()
            .await
            .contains("relais_channel_up{channel=\"b#1\"} 1")
    );
    assert_eq!(stage.binds("a"), 1);

    let only_b = over_b.without("smpp.a");
    let reloaded = stage.reload(&served, &only_b).await;
    assert_eq!(done(&reloaded), ["smpp.a: drained"]);
    stage
        .until("a", "unbound", |it| it.unbinds == 1 && it.connections == 0)
        .await;
    let up = [("b#1".to_owned(), "up".to_owned())];
    assert_eq!(served.channels().await, up);
    let metrics = served.metrics().await;
    let gone = |line: &&str| line.starts_with("relais_channel_up") && line.contains("a#1");
    assert_eq!(metrics.lines().find(gone), None);
    assert!(!metrics.contains("relais_account_rate{account=\"a\"}"));
    assert_eq!(stage.binds("b"), 1);
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_password_binds_at_once() {
    let stage = Stage::new();
    let script = SmscScript {
        password: Some("correct".to_owned()),
        ..SmscScript::default()
    };
    let stage = stage.carrier("a", script).await;
    let wrong = stage.file();
    let served = stage.start(&wrong).await;
    // After a refusal of the password the next try is a minute away, and more than one would be seen.
    stage
        .until("a", "refused", |it| it.refused_binds == 1)
        .await;
    let id = served.send(&number(1), "bonjour").await;
    until("down", async || served.channels().await[0].1 == "down").await;
    assert_eq!(served.why(&id).await, "no_channel");

    let right = wrong.with("smpp.a", &["password = \"correct\""]);
    let reloaded = stage.reload(&served, &right).await;
    assert_eq!(done(&reloaded), ["smpp.a.password: restarted"]);
    let told = format!("{:?}", reloaded.changes);
    assert!(
        !told.contains("correct") && !told.contains("secret"),
        "{told}"
    );
    let at_once = tokio::time::timeout(Duration::from_secs(45), served.becomes(&id, "delivered"));
    at_once.await.unwrap();
    assert_eq!(stage.ledger("a", |it| (it.binds, it.refused_binds)), (1, 1));
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_routes_limits_and_owners_change_without_a_bind_noticing() {
    let stage = two().await;
    let file = stage.file();
    let served = stage.serve(&file).await;
    let id = served.send(&number(1), "bonjour").await;
    served.becomes(&id, "delivered").await;

    let changed = file
        .with("smpp.a", &["rate = \"7/s\"", "tenant = \"mairie\""])
        .with("smpp.a", &["transliterate = true", "latin1 = true"])
        .with(
            "operators.default",
            &["route = [\"b\", \"a\"]", "validity = \"12h\""],
        )
        .with("limits", &["max_parts = 2"])
        .with("webhooks", &["allow = [\"127.0.0.1/32\"]"])
        .with("inbound", &["stop = [\"HALTE\"]"]);
    let reloaded = stage.reload(&served, &changed).await;
    assert!(reloaded.changes.iter().all(|it| it.effect == "in_force"));
    assert_eq!(reloaded.changes.len(), 9, "{reloaded:#?}");
    let channels = served.get("/v1/channels").await;
    assert_eq!(channels["data"][0]["account_state"]["rate"], 7.0);
    let id = served.send(&number(2), "bonjour").await;
    served.becomes(&id, "delivered").await;
    assert_eq!(stage.ledger("b", |ledger| ledger.submitted_total), 1);
    let long = "x".repeat(400);
    let body = serde_json::json!({ "to": number(3), "text": long });
    let (status, _) = served.call(Method::POST, "/v1/messages", Some(&body)).await;
    assert_eq!(status, 422);
    assert_eq!((stage.binds("a"), stage.binds("b")), (1, 1));
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_an_operator_that_is_no_more_fall_under_the_default_one() {
    let stage = two().await;
    let file = stage.file();
    let both = file.with(
        "operators.free",
        &["prefixes = [\"+3369\"]", "route = [\"b\"]"],
    );
    let served = stage.serve(&both).await;
    let (status, _) = served
        .call(Method::POST, "/v1/admin/channels/b/pause", None)
        .await;
    assert_eq!(status, 200);
    let id = served.send("+33695000001", "bonjour").await;
    assert_eq!(served.why(&id).await, "paused");

    let without = both.without("operators.free").without("smpp.b");
    let (status, _) = served
        .call(Method::POST, "/v1/admin/channels/a/pause", None)
        .await;
    assert_eq!(status, 200);
    let reloaded = stage.reload(&served, &without).await;
    let waiting = &reloaded.waiting[0];
    assert_eq!(
        (waiting.operator.as_str(), waiting.under.as_str()),
        ("free", "default")
    );
    assert_eq!((waiting.messages, waiting.why), (1, Some("paused")));
    served
        .call(Method::POST, "/v1/admin/channels/a/resume", None)
        .await;
    served.becomes(&id, "delivered").await;
    assert_eq!(stage.ledger("a", |ledger| ledger.submitted_total), 1);
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_carrier_that_is_not_there_says_so_and_is_counted() {
    let stage = two().await;
    let file = stage.file();
    let served = stage.serve(&file).await;
    // Nothing listens on port 1.
    let gone = file.with("smpp.a", &["port = 1"]);
    stage.reload(&served, &gone).await;
    let id = served.send(&number(1), "bonjour").await;
    assert_eq!(served.why(&id).await, "no_channel");
    let reloaded = stage.reload(&served, &gone).await;
    let waiting = &reloaded.waiting[0];
    assert_eq!(
        (waiting.operator.as_str(), waiting.messages),
        ("default", 1)
    );
    assert_eq!(waiting.why, Some("no_channel"));
    let over_b = gone.with("operators.default", &["route = [\"b\"]"]);
    let reloaded = stage.reload(&served, &over_b).await;
    assert!(reloaded.waiting.is_empty(), "{reloaded:?}");
    served.becomes(&id, "delivered").await;
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_outlives_the_restart_of_its_account() {
    let stage = two().await;
    let file = stage.file();
    let served = stage.serve(&file).await;
    for name in ["a", "b%231"] {
        let path = format!("/v1/admin/channels/{name}/pause");
        let (status, body) = served.call(Method::POST, &path, None).await;
        assert_eq!(status, 200, "{body}");
    }
    let changed = file
        .with("smpp.a", &["window = 3"])
        .with("smpp.b", &["window = 3"]);
    stage.reload(&served, &changed).await;
    let channels = served.get("/v1/channels").await;
    for channel in channels["data"].as_array().unwrap() {
        assert_eq!(channel["paused"], true, "{channel}");
        assert_eq!(channel["window"], 3);
    }
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_restarts_forgets_what_its_carrier_had_against_it() {
    let refusing = SmscScript {
        rules: vec![Rule {
            // ESME_RINVSRCADR is the message's own; ESME_RSYSERR is the carrier's.
            status: Some(0x08),
            ..Rule::default()
        }],
        ..SmscScript::default()
    };
    let stage = Stage::new().carrier("a", refusing).await;
    let file = stage.file();
    let served = stage.serve(&file).await;
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(served.send(&number(n), "bonjour").await);
    }
    let circuit = async || {
        let channels = served.get("/v1/channels").await;
        channels["data"][0]["account_state"]["circuit"].clone()
    };
    until("the circuit opens", async || circuit().await != "closed").await;
    stage.carriers["a"].set_script(SmscScript::default());
    stage
        .reload(&served, &file.with("smpp.a", &["window = 5"]))
        .await;
    assert_eq!(circuit().await, "closed");
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modem_that_moves_to_another_port_is_opened_there() {
    let stage = Stage::new()
        .modem("sim1", ModemScript::default())
        .modem("sim2", ModemScript::default());
    let file = stage.file();
    let served = stage.serve(&file).await;
    // The two change places: neither can be opened before the other is closed.
    let device = |name: &str| format!("device = {:?}", stage.modems[name].link());
    let swapped = file
        .with("modem.sim1", &[&device("sim2")])
        .with("modem.sim2", &[&device("sim1")]);
    let reloaded = stage.reload(&served, &swapped).await;
    assert_eq!(
        done(&reloaded),
        [
            "modem.sim1.device: restarted",
            "modem.sim2.device: restarted"
        ]
    );
    served.all_up().await;
    let id = served.send(&number(1), "bonjour").await;
    served.becomes(&id, "delivered").await;
    assert_eq!(stage.modems["sim2"].ledger(|it| it.submitted.len()), 1);
    let channels = served.get("/v1/channels").await;
    for channel in channels["data"].as_array().unwrap() {
        assert_eq!(channel["modem"]["recoveries"]["reopened"], 0, "{channel}");
    }
    stage.end(served).await;
}
