//! One bad modem in a step never slows the others: they share the work as if it were not there.

use std::time::Duration;

use relais::domain::id::MessageId;
use relais::domain::status::Status;
use relais::sim::modem::{Chatter, Fault, FaultKind, ModemScript, Moment};

use crate::gateway::{Gateway, Rack};

const MESSAGES: usize = 240;

fn well() -> ModemScript {
    ModemScript {
        latency_ms: Some(1),
        send_ms: Some(20),
        ..ModemScript::default()
    }
}

/// Three modems that are well, and one that is not.
fn beside(bad: ModemScript) -> Rack {
    Rack::new(vec![
        ("a", well()),
        ("b", well()),
        ("c", well()),
        ("d", bad),
    ])
}

async fn send(gateway: &Gateway) -> Vec<MessageId> {
    gateway.all_up().await;
    let mut ids = Vec::new();
    for n in 0..MESSAGES {
        let to = format!("+33612000{n:03}");
        ids.push(gateway.send(&to, &format!("message {n}")).await);
    }
    ids
}

fn sent(rack: &Rack, name: &str) -> usize {
    let count = rack.modem(name).ledger(|ledger| ledger.sent_total);
    usize::try_from(count).unwrap()
}

/// The three shares, none of which is much smaller than another.
fn even(rack: &Rack) {
    let shares = ["a", "b", "c"].map(|name| sent(rack, name));
    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    assert!(least * 3 > most * 2, "{shares:?}");
}

#[tokio::test]
async fn a_modem_that_hangs_for_ever_leaves_the_others_at_full_pace() {
    let hang = Fault {
        at_submit: Some(5),
        moment: Moment::Submitted,
        kind: FaultKind::Hang,
        ..Fault::default()
    };
    let rack = beside(ModemScript {
        faults: vec![hang],
        ..well()
    });
    // Longer than all the rest takes.
    let gateway = rack
        .gateway_with(rack.policy(), |config| {
            config.submit_timeout = Duration::from_mins(30);
        })
        .await;
    let ids = send(&gateway).await;
    let rest = MESSAGES - 5;
    let all = || {
        ["a", "b", "c"]
            .map(|name| sent(&rack, name))
            .iter()
            .sum::<usize>()
    };
    crate::gateway::until("the others have done the rest", async || all() == rest).await;
    assert_eq!(sent(&rack, "d"), 4);
    even(&rack);
    let mut waiting = 0;
    for id in ids {
        let message = gateway.message(id).await;
        if message.channel().unwrap().as_str() == "d" && message.status() == Status::Pending {
            waiting += 1;
        } else {
            gateway.becomes(id, Status::Delivered).await;
        }
    }
    assert_eq!(waiting, 1, "the one that it has");
    gateway.kill().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_modem_that_answers_everything_late_leaves_the_others_at_full_pace() {
    let rack = beside(ModemScript {
        latency_ms: Some(150),
        ..well()
    });
    let gateway = rack.gateway().await;
    let ids = send(&gateway).await;
    gateway.all_become(&ids, Status::Delivered).await;
    even(&rack);
    let (slow, quick) = (sent(&rack, "d"), sent(&rack, "a"));
    assert!(slow < quick / 2, "{slow} beside {quick}");
    assert!(slow > 0, "it does its part");
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_modem_that_floods_chatter_still_sends_and_leaves_the_others_at_full_pace() {
    let rack = beside(ModemScript {
        chatter: Chatter {
            every_ms: 1,
            in_answers_every: 1,
            ..Chatter::default()
        },
        ..well()
    });
    let gateway = rack.gateway().await;
    let ids = send(&gateway).await;
    gateway.all_become(&ids, Status::Delivered).await;
    even(&rack);
    assert!(sent(&rack, "d") > MESSAGES / 16, "{}", sent(&rack, "d"));
    for (_, copies) in rack.sent() {
        assert_eq!(copies.len(), 1);
    }
    gateway.stop().await;
    rack.unplug_all().await;
}
