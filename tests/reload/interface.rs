//! Who asks for a reload, and what is answered.

use std::time::Duration;

use relais::config;
use relais::daemon::{Daemon, Parts};
use relais::http::NotReloaded;
use relais::sim::smsc::SmscScript;
use reqwest::Method;
use serde_json::Value;

use crate::stage::{KEY, Stage, done, number, soon};

async fn one() -> Stage {
    Stage::new().carrier("a", SmscScript::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_wrong_changes_nothing_and_says_where() {
    let stage = one().await;
    let file = stage.file();
    let served = stage.serve(&file).await;
    assert!(
        served
            .metrics()
            .await
            .contains("relais_config_reload_failed 0")
    );

    let wrong = file
        .clone()
        .with("smpp.a", &["window = 0", "rate = \"9/s\""])
        .with("operators.default", &["route = [\"nobody\"]"]);
    stage.write(&wrong);
    let (status, problem) = served.call(Method::POST, "/v1/admin/reload", None).await;
    assert_eq!((status, &problem["code"]), (422, &"config_invalid".into()));
    let errors: Vec<_> = problem["errors"].as_array().unwrap().iter().collect();
    let path = stage.path().display().to_string();
    for (error, key) in errors
        .iter()
        .zip(["operators.default.route", "smpp.a.window"])
    {
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("{path}:")), "{detail}");
        assert!(detail.contains(&format!(": {key}")), "{detail}");
    }
    assert_eq!(errors.len(), 2, "{problem}");
    assert!(
        served
            .metrics()
            .await
            .contains("relais_config_reload_failed 1")
    );
    let channels = served.get("/v1/channels").await;
    assert_eq!(channels["data"][0]["account_state"]["rate"], Value::Null);
    let id = served.send(&number(1), "bonjour").await;
    served.becomes(&id, "delivered").await;
    assert_eq!(stage.binds("a"), 1);

    stage.write(&file.with("smpp.a", &["rate = \"9/s\""]));
    let (status, body) = served.call(Method::POST, "/v1/admin/reload", None).await;
    assert_eq!(status, 200, "{body}");
    let change = &body["changes"][0];
    assert_eq!(change["key"], "smpp.a.rate");
    assert_eq!(
        (&change["is"], &change["effect"]),
        (&"\"9/s\"".into(), &"in_force".into())
    );
    assert!(
        served
            .metrics()
            .await
            .contains("relais_config_reload_failed 0")
    );
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_at_the_start_is_said_at_every_reload() {
    let stage = one().await;
    let file = stage.file();
    let served = stage.serve(&file).await;
    let other = file
        .with("", &["data_dir = \"/nonexistent/elsewhere\""])
        .with("store", &["cache = \"16 MiB\""]);
    for _ in 0..2 {
        let reloaded = stage.reload(&served, &other).await;
        assert_eq!(reloaded.needs_restart, ["data_dir", "store.cache"]);
        assert_eq!(
            done(&reloaded),
            ["data_dir: needs_restart", "store.cache: needs_restart"]
        );
    }
    // What starts later goes on in the old folder.
    let stage_file = other.with("smpp.a", &["window = 3"]);
    stage.reload(&served, &stage_file).await;
    served.all_up().await;
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_reloads_at_once_the_second_finds_nothing_left_to_do() {
    let stage = one().await;
    let file = stage.file();
    let served = stage.serve(&file).await;
    stage.write(&file.with("smpp.a", &["window = 3"]));
    let (first, second) = soon("both", async {
        tokio::join!(served.running.reload(), served.running.reload())
    })
    .await;
    let done: Vec<_> = [first, second]
        .iter()
        .map(|it| done(it.as_ref().unwrap()))
        .collect();
    assert!(
        done.contains(&vec!["smpp.a.window: restarted".to_owned()]),
        "{done:?}"
    );
    assert!(done.contains(&Vec::new()), "{done:?}");
    served.all_up().await;
    assert_eq!(stage.binds("a"), 2);
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_leaves_no_half_of_a_configuration() {
    let slow = SmscScript {
        response_delay_ms: 1_000,
        ..SmscScript::default()
    };
    let stage = Stage::new().carrier("a", slow).await;
    let file = stage.file();
    let served = stage.serve(&file).await;
    let id = served.send(&number(1), "bonjour").await;
    stage
        .until("a", "submitted", |it| it.submitted_total == 1)
        .await;
    stage.write(&file.with("smpp.a", &["window = 3"]));
    let call = served.call(Method::POST, "/v1/admin/reload", None);
    let gave_up = tokio::time::timeout(Duration::from_millis(100), call).await;
    assert!(gave_up.is_err(), "the window had to land first");
    served.becomes(&id, "delivered").await;
    stage.until("a", "bound anew", |it| it.binds == 2).await;
    let channels = served.get("/v1/channels").await;
    assert_eq!(channels["data"][0]["window"], 3);
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_administer_may_not_reload_and_without_a_file_nobody_can() {
    let stage = one().await;
    stage.write(&stage.file());
    let config = config::load(&stage.folder.path().join("relais.toml")).unwrap();
    let parts = Parts {
        admin_key: Some(KEY.into()),
        ..Parts::system()
    };
    let running = Daemon::start(config, parts).await.unwrap();
    assert_eq!(running.reload().await.unwrap_err(), NotReloaded::NoFile);
    relais::engine::outbox::install_crypto();
    let url = format!("http://{}/v1/admin/reload", running.http_addr);
    let client = reqwest::Client::new();
    let answer = client.post(&url).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(answer.status(), 409);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "no_config_file");
    let answer = client.post(&url).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    soon("stop", running.stop()).await;
}
