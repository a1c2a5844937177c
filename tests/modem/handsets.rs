//! What handsets send over a SIM: a STOP opts out however it is written, and no record leaves the SIM
//! before it is stored.

use relais::sim::modem::{Inbound, Ledger, ModemScript, Personality, Way};

use crate::gateway::{Disk, Gateway, NUMBER, Rack, commands, seen, until};

fn quick() -> ModemScript {
    ModemScript {
        latency_ms: Some(2),
        ..ModemScript::default()
    }
}

fn wrote(text: &str) -> Inbound {
    Inbound {
        from: NUMBER.to_owned(),
        text: text.to_owned(),
        ..Inbound::default()
    }
}

async fn received(gateway: &Gateway, count: usize) {
    until("what a handset sent is there", async || {
        gateway.received().await.len() >= count
    })
    .await;
}

/// Waits until the modem has been looked through twice more: whatever lay in it was seen.
async fn swept(rack: &Rack) {
    let modem = rack.first();
    let sweeps = |ledger: &Ledger| commands(ledger, "AT+CMGL");
    let before = modem.ledger(sweeps);
    seen(modem, "two sweeps", |ledger| sweeps(ledger) >= before + 2).await;
}

#[tokio::test]
async fn stop_in_gsm_7_in_ucs_2_and_in_part_2_of_a_long_message_opts_out() {
    let in_part_2 = format!("{}STOP    ", "a".repeat(153));
    let in_ucs_2 = Inbound {
        ucs2: true,
        ..wrote("« Arrêt »")
    };
    let turned = Inbound {
        order: vec![2, 1],
        ..wrote(&in_part_2)
    };
    tokio::join!(
        opts_out(wrote(" Stop. "), 1),
        opts_out(in_ucs_2, 1),
        opts_out(wrote(&in_part_2), 2),
        opts_out(turned, 2),
    );
}

/// A message of so many records opts its sender out, over modems that store in different ways, and is
/// one message whose records are deleted.
async fn opts_out(message: Inbound, records: u64) {
    for personality in [Personality::Huawei, Personality::Quectel] {
        let script = ModemScript {
            personality,
            ..quick()
        };
        let rack = Rack::one(script);
        let gateway = rack.gateway().await;
        gateway.up("a").await;
        rack.first().inject_as(&message);
        received(&gateway, 1).await;
        assert!(gateway.is_opted_out(NUMBER).await, "{message:?}");
        let gone = |ledger: &Ledger| ledger.deleted_total == records;
        seen(rack.first(), "the records deleted", gone).await;
        let received = gateway.received().await;
        assert_eq!(received.len(), 1, "{received:?}");
        assert_eq!(received[0].text, message.text);
        assert!(received[0].keyword.is_some());
        gateway.stop().await;
        rack.unplug_all().await;
    }
}

#[tokio::test]
async fn a_stop_in_a_part_counts_although_the_other_never_comes() {
    let rack = Rack::one(quick());
    let gateway = rack.gateway().await;
    let alone = Inbound {
        order: vec![2],
        ..wrote(&format!("{}STOP    ", "a".repeat(153)))
    };
    rack.first().inject_as(&alone);
    until("the STOP counts", async || {
        gateway.is_opted_out(NUMBER).await
    })
    .await;
    assert!(
        gateway.received().await.is_empty(),
        "the first part may come"
    );
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_record_is_deleted_from_the_sim_only_after_it_is_stored() {
    let rack = Rack::one(quick());
    let disk = Disk::default();
    let gateway = rack.gateway_on(&disk, |_| {}).await;
    gateway.up("a").await;
    disk.stick(true);
    rack.first().inject_as(&wrote("STOP"));
    swept(&rack).await;
    rack.first().ledger(|ledger| {
        assert_eq!(ledger.delivered_total, 1);
        assert_eq!(ledger.deleted_total, 0, "nothing is stored yet");
    });
    disk.stick(false);
    let gone = |ledger: &Ledger| ledger.deleted_total == 1;
    seen(rack.first(), "the record deleted", gone).await;
    assert!(gateway.is_opted_out(NUMBER).await, "stored before deleted");
    swept(&rack).await;
    assert_eq!(gateway.received().await.len(), 1);
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn what_a_store_refuses_stays_on_the_sim_until_one_takes_it() {
    let rack = Rack::one(quick());
    let disk = Disk::default();
    let gateway = rack.gateway_on(&disk, |_| {}).await;
    gateway.up("a").await;
    disk.break_down(true);
    rack.first().inject_as(&wrote("STOP"));
    swept(&rack).await;
    rack.first().ledger(|ledger| {
        assert_eq!((ledger.delivered_total, ledger.deleted_total), (1, 0));
    });
    gateway.kill().await;
    disk.break_down(false);
    let gateway = rack.gateway_on(&disk, |_| {}).await;
    let gone = |ledger: &Ledger| ledger.deleted_total == 1;
    seen(rack.first(), "the record deleted", gone).await;
    assert!(gateway.is_opted_out(NUMBER).await);
    assert_eq!(gateway.received().await.len(), 1);
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn a_record_that_is_shown_again_after_a_restart_is_not_listed_twice() {
    let rack = Rack::one(quick());
    let disk = Disk::default();
    // Long pauses between commands: the gateway is gone before it could delete.
    let slow = |config: &mut relais::channel::modem::ModemConfig| {
        config.rest = std::time::Duration::from_millis(200);
    };
    let gateway = rack.gateway_on(&disk, slow).await;
    gateway.up("a").await;
    let mut handsets = gateway.engine.listen_to_handsets();
    rack.first().inject_as(&wrote("Oui"));
    crate::gateway::soon("the message", handsets.recv())
        .await
        .unwrap();
    gateway.kill().await;
    let deleted = rack.first().ledger(|ledger| ledger.deleted_total);
    assert_eq!(deleted, 0, "killed before the record was deleted");
    let gateway = rack.gateway_on(&disk, |_| {}).await;
    let gone = |ledger: &Ledger| ledger.deleted_total == 1;
    seen(rack.first(), "the record deleted", gone).await;
    assert_eq!(gateway.received().await.len(), 1);
    // Once more, as a SIM does that has lost the deletion.
    let octets = rack.first().ledger(|ledger| {
        let entry = ledger.delivered.iter().find(|entry| !entry.report);
        entry.unwrap().octets.clone()
    });
    rack.first().inject_tpdu(&octets, false);
    let gone = |ledger: &Ledger| ledger.deleted_total == 2;
    seen(rack.first(), "the second record deleted", gone).await;
    assert_eq!(gateway.received().await.len(), 1);
    gateway.stop().await;
    rack.unplug_all().await;
}

#[tokio::test]
async fn what_came_while_nobody_listened_is_found_by_the_first_sweep_in_every_store() {
    let script = ModemScript {
        inbound: vec![wrote("Un"), wrote("Deux")],
        ..quick()
    };
    let rack = Rack::one(script);
    let silent = |ledger: &Ledger| {
        let mut ways = ledger.delivered.iter().map(|entry| entry.way);
        ledger.delivered_total == 2 && ways.all(|way| way == Way::Silent)
    };
    seen(rack.first(), "two messages", silent).await;
    let gateway = rack.gateway().await;
    received(&gateway, 2).await;
    let gone = |ledger: &Ledger| ledger.deleted_total == 2;
    seen(rack.first(), "the records deleted", gone).await;
    gateway.stop().await;
    rack.unplug_all().await;
}
