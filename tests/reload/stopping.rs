//! A stop while a reload is going on, and a reload while a stop is.

use relais::http::NotReloaded;
use relais::sim::smsc::SmscScript;

use crate::stage::{Stage, number, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_leaves_what_a_reload_has_not_begun() {
    let slow = SmscScript {
        response_delay_ms: 1_000,
        ..SmscScript::default()
    };
    let stage = Stage::new().carrier("a", slow).await;
    let stage = stage.carrier("b", SmscScript::default()).await;
    let file = stage.file();
    let served = stage.serve(&file).await;
    served.send(&number(1), "bonjour").await;
    stage
        .until("a", "submitted", |it| it.submitted_total == 1)
        .await;
    stage.write(&file.with("smpp.a", &["window = 3"]));
    // It waits for the window of `a` to land.
    let reloading = served.running.reload();
    let again = served.running.reload();
    let reloading = tokio::spawn(reloading);
    until("draining", async || {
        served.channels().await[0].1 == "draining"
    })
    .await;
    soon("stop", served.running.stop()).await;
    let refused = reloading.await.unwrap().unwrap_err();
    assert_eq!(refused, NotReloaded::Stopping);
    assert_eq!(again.await.unwrap_err(), NotReloaded::Stopping);
    assert_eq!(stage.binds("a"), 1, "nothing was started any more");
    // What was under way has landed: nothing is in doubt at the next start.
    stage.ledger("a", |it| {
        assert_eq!((it.submitted_total, it.unbinds), (1, 1))
    });
    let served = stage.serve(&stage.file()).await;
    served.all_final().await;
    stage.ledger("a", |it| assert_eq!(it.submitted_total, 1));
    stage.end(served).await;
}
