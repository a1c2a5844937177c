//! Webhooks: who is told, in which order, and how often.

use std::sync::Arc;

use super::on_every_engine;
use super::world::{World, accepted, receipt, shop};
use crate::domain::fixtures::{at, batch_id, message, message_id};
use crate::domain::id::{InboundId, Tenant};
use crate::domain::inbound::Inbound;
use crate::domain::message::Message;
use crate::domain::privacy::Erased;
use crate::domain::receipt::ReceiptState;
use crate::store::{ApiKey, Delivery, OutboxEvent, Scope, Settled, Store, StoreError, Webhook};

on_every_engine! {
    a_subscription_without_a_word_gets_final_events_and_others_what_they_name,
    a_message_s_own_url_gets_only_finals,
    subscriptions_of_other_tenants_hear_nothing,
    one_message_s_events_come_in_order_one_at_a_time,
    a_delivery_handed_out_is_not_handed_out_again_until_it_is_settled,
    a_retry_waits_counts_and_holds_back_its_chain,
    one_given_up_lets_the_next_of_its_chain_go,
    busy_origins_are_left_alone,
    a_busy_crowd_at_one_origin_leaves_room_for_the_others,
    deliveries_survive_reopening_in_order,
    what_a_handset_sent_is_told_once,
    webhooks_and_keys_survive_reopening,
}

fn webhook(id: &str, types: &[&str]) -> Webhook {
    Webhook {
        id: id.to_owned(),
        tenant: shop(),
        url: format!("https://{id}.example/hook"),
        types: types.iter().map(|kind| (*kind).to_owned()).collect(),
        secret: "whsec_c2VjcmV0".to_owned(),
        created_at: at(0),
    }
}

fn own_url(n: u64, url: &str) -> Message {
    let mut message = message(n);
    message.webhook_url = Some(url.to_owned());
    message
}

impl dyn Store {
    async fn due(&self, seconds: u64) -> Vec<Delivery> {
        self.outbox_due(at(seconds), 100, &[])
            .await
            .unwrap()
            .deliveries
    }

    async fn settle(&self, delivery: &Delivery, settled: Settled) {
        self.outbox_settle(vec![(delivery.seq, settled)])
            .await
            .unwrap();
    }

    /// Sends message `n` and has it delivered.
    async fn delivers(&self, message: Message) {
        let reference = message.id.to_string();
        self.sends(message, &reference, at(1)).await;
        self.receives(receipt(&reference, ReceiptState::Delivered), at(2))
            .await;
    }
}

fn told(deliveries: &[Delivery]) -> Vec<(Option<&str>, &str)> {
    let mut told: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.webhook.as_deref(), delivery.event.kind()))
        .collect();
    told.sort_unstable();
    told
}

async fn a_subscription_without_a_word_gets_final_events_and_others_what_they_name(world: World) {
    let store = world.open(at(0));
    store.put_webhook(webhook("all", &[])).await.unwrap();
    let sent = webhook("sent", &["message.sent"]);
    store.put_webhook(sent).await.unwrap();
    store.delivers(message(1)).await;
    assert_eq!(
        told(&store.due(9).await),
        [
            (Some("all"), "message.delivered"),
            (Some("sent"), "message.sent")
        ]
    );
    let _ = store.takes(vec![message(2)]).await;
    let _ = store.cancel(&shop(), message_id(2), at(3)).await.unwrap();
    assert_eq!(
        told(&store.due(9).await),
        [(Some("all"), "message.cancelled")]
    );
    world.finish(store).await;
}

async fn a_message_s_own_url_gets_only_finals(world: World) {
    let store = world.open(at(0));
    store
        .delivers(own_url(1, "https://client.example/sms?id=1"))
        .await;
    let due = store.due(9).await;
    assert_eq!(told(&due), [(None, "message.delivered")]);
    assert_eq!(due[0].url, "https://client.example/sms?id=1");
    assert_eq!(&*due[0].origin, "https://client.example");
    match &due[0].event {
        OutboxEvent::Message(message) => assert_eq!(message.revision, 2),
        other => panic!("{other:?}"),
    }
    world.finish(store).await;
}

async fn subscriptions_of_other_tenants_hear_nothing(world: World) {
    let store = world.open(at(0));
    let stranger = Webhook {
        tenant: "other".into(),
        ..webhook("x", &[])
    };
    store.put_webhook(stranger).await.unwrap();
    store.delivers(message(1)).await;
    assert!(store.due(9).await.is_empty());
    assert!(store.webhooks(&shop()).is_empty());
    assert_eq!(
        store.delete_webhook(&shop(), "x").await,
        Err(StoreError::NotFound)
    );
    world.finish(store).await;
}

async fn one_message_s_events_come_in_order_one_at_a_time(world: World) {
    let store = world.open(at(0));
    let types = ["message.sent", "message.delivered"];
    store.put_webhook(webhook("w", &types)).await.unwrap();
    for n in 0..5 {
        store.delivers(message(n)).await;
    }
    for kind in types {
        let due = store.due(9).await;
        assert_eq!(due.len(), 5, "one of each message");
        for delivery in &due {
            assert_eq!(delivery.event.kind(), kind);
            store.settle(delivery, Settled::Done).await;
        }
    }
    assert!(store.due(9).await.is_empty());
    assert_eq!(store.gauges(at(9)).outbox, 0);
    world.finish(store).await;
}

async fn a_delivery_handed_out_is_not_handed_out_again_until_it_is_settled(world: World) {
    let store = world.open(at(0));
    store.delivers(own_url(1, "https://a.example/")).await;
    let due = store.due(9).await;
    assert_eq!(due.len(), 1);
    assert!(store.due(1_000_000).await.is_empty());
    assert_eq!(store.gauges(at(9)).outbox, 1);
    // The process ends with it outstanding: it is made again.
    let store = world.reopen(store, at(10)).await;
    let again = store.due(10).await;
    assert_eq!(again[0].seq, due[0].seq);
    store.settle(&again[0], Settled::Done).await;
    let store = world.reopen(store, at(11)).await;
    assert!(store.due(11).await.is_empty());
    world.finish(store).await;
}

async fn a_retry_waits_counts_and_holds_back_its_chain(world: World) {
    let store = world.open(at(0));
    let types = ["message.sent", "message.delivered"];
    store.put_webhook(webhook("w", &types)).await.unwrap();
    store.delivers(message(1)).await;
    let first = store.due(9).await.remove(0);
    store.settle(&first, Settled::Retry(at(60))).await;
    let waiting = store.outbox_due(at(59), 100, &[]).await.unwrap();
    assert!(waiting.deliveries.is_empty());
    assert_eq!(waiting.next_due, Some(at(60)));
    let store = world.reopen(store, at(59)).await;
    assert!(store.due(59).await.is_empty());
    let again = store.due(60).await;
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].seq, again[0].tries), (first.seq, 1));
    store.settle(&again[0], Settled::Done).await;
    assert_eq!(store.due(60).await[0].event.kind(), "message.delivered");
    world.finish(store).await;
}

async fn one_given_up_lets_the_next_of_its_chain_go(world: World) {
    let store = world.open(at(0));
    let types = ["message.sent", "message.delivered"];
    store.put_webhook(webhook("w", &types)).await.unwrap();
    store.delivers(message(1)).await;
    let first = store.due(9).await.remove(0);
    store.settle(&first, Settled::GivenUp).await;
    assert_eq!(store.due(9).await[0].event.kind(), "message.delivered");
    world.finish(store).await;
}

async fn busy_origins_are_left_alone(world: World) {
    let store = world.open(at(0));
    store.delivers(own_url(1, "https://slow.example/1")).await;
    store.delivers(own_url(2, "https://fast.example/2")).await;
    let busy: [Arc<str>; 1] = ["https://slow.example".into()];
    let due = store.outbox_due(at(9), 100, &busy).await.unwrap();
    assert_eq!(due.deliveries.len(), 1);
    assert_eq!(due.deliveries[0].url, "https://fast.example/2");
    assert_eq!(due.next_due, None, "nothing that is not busy is waiting");
    assert_eq!(store.due(9).await[0].url, "https://slow.example/1");
    world.finish(store).await;
}

async fn a_busy_crowd_at_one_origin_leaves_room_for_the_others(world: World) {
    let store = world.open(at(0));
    for n in 0..50 {
        store.delivers(own_url(n, "https://crowd.example/")).await;
    }
    store.delivers(own_url(99, "https://alone.example/")).await;
    let due = store.outbox_due(at(9), 10, &[]).await.unwrap();
    assert!(due.deliveries.len() <= 10);
    assert!(
        due.deliveries
            .iter()
            .any(|delivery| delivery.url == "https://alone.example/")
    );
    assert!(due.next_due.is_some_and(|next| next <= at(9)));
    world.finish(store).await;
}

async fn deliveries_survive_reopening_in_order(world: World) {
    let store = world.open(at(0));
    let types = ["message.sent", "message.delivered"];
    store.put_webhook(webhook("w", &types)).await.unwrap();
    store.sends(message(1), "x", at(1)).await;
    let store = world.reopen(store, at(2)).await;
    // Decided after the start, and still after what was decided before it.
    let delivered = receipt("x", ReceiptState::Delivered);
    store.receives(delivered, at(3)).await;
    let store = world.reopen(store, at(4)).await;
    for kind in types {
        let due = store.due(5).await;
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].event.kind(), kind);
        store.settle(&due[0], Settled::Done).await;
    }
    assert!(store.due(5).await.is_empty());
    world.finish(store).await;
}

async fn what_a_handset_sent_is_told_once(world: World) {
    let store = world.open(at(0));
    let hook = webhook("w", &["inbound.received"]);
    store.put_webhook(hook).await.unwrap();
    store.put_webhook(webhook("finals", &[])).await.unwrap();
    let inbound = Inbound {
        id: InboundId(batch_id(1).0),
        tenant: shop(),
        account: "a".into(),
        channel: "a#1".into(),
        from: "+33612345678".to_owned(),
        to: "36100".to_owned(),
        text: "Bonjour".to_owned(),
        part: None,
        received_at: at(1),
        keyword: None,
        incomplete: false,
        erased: Erased::default(),
        fingerprint: None,
    };
    for _ in 0..2 {
        store.take_in(vec![inbound.clone()]).await.unwrap();
    }
    let due = store.due(9).await;
    assert_eq!(told(&due), [(Some("w"), "inbound.received")]);
    assert_eq!(due[0].event, OutboxEvent::Inbound(inbound));
    world.finish(store).await;
}

async fn webhooks_and_keys_survive_reopening(world: World) {
    let store = world.open(at(0));
    store.put_webhook(webhook("one", &[])).await.unwrap();
    store.put_webhook(webhook("two", &[])).await.unwrap();
    let replaced = Webhook {
        url: "https://new.example/".to_owned(),
        ..webhook("one", &["message.sent"])
    };
    store.put_webhook(replaced.clone()).await.unwrap();
    store.delete_webhook(&shop(), "two").await.unwrap();
    let again = store.delete_webhook(&shop(), "two").await;
    assert_eq!(again, Err(StoreError::NotFound));
    let key = |prefix: &str, revoked_at| ApiKey {
        prefix: prefix.to_owned(),
        hash: [9; 32],
        name: "till".to_owned(),
        tenant: Tenant::from("shop"),
        scopes: vec![Scope::Send, Scope::Read],
        created_at: at(0),
        revoked_at,
        terms: crate::domain::tenant::KeyTerms::default(),
    };
    store.put_key(key("k1", None)).await.unwrap();
    store.put_key(key("k2", None)).await.unwrap();
    store.put_key(key("k1", Some(at(5)))).await.unwrap();
    let check = |store: &dyn Store| {
        assert_eq!(store.webhooks(&shop()), std::slice::from_ref(&replaced));
        assert_eq!(*store.key("k1").unwrap(), key("k1", Some(at(5))));
        assert_eq!(*store.key("k2").unwrap(), key("k2", None));
        assert!(store.key("k3").is_none());
        assert_eq!(store.keys().len(), 2);
    };
    check(&*store);
    let store = world.reopen(store, at(6)).await;
    check(&*store);
    // The webhook that was stored is the one that is told.
    let taken = {
        store.takes(vec![message(1)]).await;
        store.claims(1, at(7)).await.remove(0)
    };
    store.reports(accepted(&taken, 0, "x"), at(7)).await;
    assert_eq!(store.due(9).await[0].url, "https://new.example/");
    world.finish(store).await;
}
