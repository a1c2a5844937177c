//! Reloads under load: what is under way lands, the rest waits, and no message is sent twice or lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use relais::sim::modem::{ModemScript, SubmittedEntry};
use relais::sim::smsc::{Ledger, SmscScript};
use serde_json::{Value, json};

use crate::stage::{Served, Stage, number, soon};

const MESSAGES: usize = 3_000;
const BATCH: usize = 100;

/// Between two reloads.
const OFTEN: Duration = Duration::from_millis(100);
/// The same over a modem, which takes a second to be set up again.
const NOW_AND_THEN: Duration = Duration::from_secs(2);

/// Sends messages, every tenth in three parts, as fast as they are taken.
async fn load(served: &Served, count: usize) {
    let mut n = 0;
    while n < count {
        let message = |n: usize| -> Value {
            let text = match n % 10 {
                0 => format!("{n} {}", "long ".repeat(70)),
                _ => format!("{n}"),
            };
            json!({ "to": number(n), "text": text })
        };
        let batch = (n..count.min(n + BATCH)).map(message).collect();
        served.send_all(batch).await;
        n += BATCH;
    }
}

/// Every message is on its handset once, and no part of it was taken twice.
fn judge<'a>(ledgers: impl IntoIterator<Item = &'a Ledger>, count: usize) {
    let mut seen = vec![0; count];
    let mut parts = 0;
    for ledger in ledgers {
        parts += ledger.taken().count();
        for (to, texts) in ledger.texts() {
            for text in texts {
                let n: usize = text.split_whitespace().next().unwrap().parse().unwrap();
                assert_eq!(number(n).trim_start_matches('+'), to);
                seen[n] += 1;
            }
        }
    }
    let lost: Vec<_> = (0..count).filter(|n| seen[*n] == 0).collect();
    let twice: Vec<_> = (0..count).filter(|n| seen[*n] > 1).collect();
    assert!(
        lost.is_empty() && twice.is_empty(),
        "lost {lost:?}, twice {twice:?}"
    );
    assert_eq!(parts, count + count.div_ceil(10) * 2);
}

fn quick() -> SmscScript {
    SmscScript {
        response_delay_ms: 10,
        ..SmscScript::default()
    }
}

/// Changes the file again and again while `work` is going on; says how often.
async fn reloading(
    stage: &Stage,
    served: &Served,
    every: Duration,
    mut change: impl FnMut(usize) -> crate::stage::File,
    work: impl Future<Output = ()>,
) -> usize {
    let over = AtomicBool::new(false);
    let reloads = async {
        let mut times = 0;
        while !over.load(Ordering::Relaxed) {
            tokio::time::sleep(every).await;
            stage.reload(served, &change(times)).await;
            times += 1;
        }
        times
    };
    let work = async {
        work.await;
        over.store(true, Ordering::Relaxed);
    };
    soon("load and reloads", async { tokio::join!(reloads, work).0 }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_restarts_under_load_loses_nothing_and_sends_nothing_twice() {
    let stage = Stage::new().carrier("a", quick()).await;
    let file = stage.file().with("smpp.a", &["binds = 2", "window = 20"]);
    let served = stage.serve(&file).await;
    let work = async {
        load(&served, MESSAGES).await;
        served.all_final().await;
    };
    let change = |times: usize| {
        let window = format!("window = {}", 21 + times % 2);
        file.clone().with("smpp.a", &[&window])
    };
    let times = reloading(&stage, &served, OFTEN, change, work).await;
    stage.ledger("a", |ledger| {
        judge([ledger], MESSAGES);
        assert!(ledger.binds >= 2 * times as u64, "{} binds", ledger.binds);
        assert!(times >= 3, "{times} reloads");
    });
    let metrics = served.metrics().await;
    let doubts = metrics
        .lines()
        .filter(|line| line.starts_with("relais_submissions_in_doubt_total{"));
    for line in doubts {
        assert!(line.ends_with(" 0"), "{line}");
    }
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_come_and_go_under_load_lose_nothing_and_send_nothing_twice() {
    let stage = Stage::new().carrier("a", quick()).await;
    let stage = stage.carrier("b", quick()).await;
    let whole = stage.file();
    let served = stage.serve(&whole).await;
    let work = async {
        load(&served, MESSAGES).await;
        served.all_final().await;
    };
    let change = |times: usize| {
        let route = |name: &str| format!("route = [{name:?}]");
        let file = whole.clone();
        match times % 3 {
            0 => file
                .with("operators.default", &[&route("b")])
                .without("smpp.a"),
            1 => file.with("operators.default", &["route = [\"a|b\"]"]),
            _ => file
                .with("operators.default", &[&route("a")])
                .without("smpp.b"),
        }
    };
    let times = reloading(&stage, &served, OFTEN, change, work).await;
    assert!(times >= 3, "{times} reloads");
    stage.carriers["a"].ledger(|a| {
        stage.carriers["b"].ledger(|b| judge([a, b], MESSAGES));
    });
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_route_counts_in_the_middle_of_a_backlog() {
    let stage = Stage::new().carrier("a", SmscScript::default()).await;
    let stage = stage.carrier("b", SmscScript::default()).await;
    let mut file = stage.file().without("smpp.a");
    let names: Vec<_> = (0..16).map(|n| format!("a{n}")).collect();
    for name in &names {
        let table = format!("smpp.{name}");
        file.tables.insert(table.clone(), stage.account("a"));
        // Of so many there is always one that may send, whenever the dispatcher looks.
        file = file.with(&table, &["window = 100", "rate = \"200/s\""]);
    }
    let old = format!("route = [{:?}]", names.join("|"));
    let file = file.with("operators.default", &[&old]);
    let served = stage.serve(&file).await;
    let engine = &served.running.engine;
    for name in &names {
        engine.pause(name).await.unwrap();
    }
    load(&served, MESSAGES).await;
    for name in &names {
        engine.resume(name).await.unwrap();
    }
    stage
        .until("a", "some of it left", |it| it.submitted_total > 100)
        .await;
    let other = file.with("operators.default", &["route = [\"b\"]"]);
    stage.reload(&served, &other).await;
    let then = stage.ledger("a", |it| it.submitted_total);
    // Receipts come by any of the binds that one system_id has: they are not looked at.
    served.all_sent().await;
    let more = stage.ledger("a", |it| it.submitted_total) - then;
    let left = stage.ledger("b", |it| it.submitted_total);
    assert!(
        left > 0,
        "the backlog was gone too soon: {then} and {more} left by a"
    );
    // What was claimed at the change, and the parts of it.
    assert!(
        more <= 300,
        "{more} more by the old route, {left} by the new"
    );
    stage.carriers["a"].ledger(|a| {
        stage.carriers["b"].ledger(|b| judge([a, b], MESSAGES));
    });
    stage.end(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modem_that_restarts_under_load_loses_nothing_and_sends_nothing_twice() {
    let script = ModemScript {
        send_ms: Some(20),
        ..ModemScript::default()
    };
    let stage = Stage::new().modem("sim1", script);
    let file = stage.file();
    let served = stage.serve(&file).await;
    let count = 120;
    let work = async {
        load(&served, count).await;
        // A report that comes while the port is closed is lost where the modem does not store it.
        served.all_sent().await;
    };
    let change = |times: usize| {
        let check = format!("check = \"{}s\"", 30 + times % 2);
        file.clone().with("modem.sim1", &[&check])
    };
    let times = reloading(&stage, &served, NOW_AND_THEN, change, work).await;
    assert!(times >= 1, "{times} reloads");
    stage.modems["sim1"].ledger(|ledger| {
        let part = |it: &SubmittedEntry| (it.recipient.clone(), it.part.map(|part| part.index));
        let parts: std::collections::BTreeSet<_> = ledger.sent().map(part).collect();
        assert_eq!(parts.len(), count + count / 10 * 2, "one lost");
        assert_eq!(ledger.sent().count(), parts.len(), "one twice");
    });
    stage.end(served).await;
}
