//! Changes to what waits, how long names are kept, and the lists that show it.

use super::*;

on_every_engine! {
    a_change_is_made_to_what_was_seen_and_to_nothing_else,
    a_change_moves_its_message_in_the_queue,
    a_change_of_what_is_leaving_or_may_have_left_is_too_late,
    names_go_with_their_messages,
    names_that_nobody_uses_are_forgotten_after_a_year_but_not_of_live_messages,
    lists_go_both_ways_and_find_plans,
    an_instant_divides_all_changes,
}

async fn a_change_is_made_to_what_was_seen_and_to_nothing_else(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let seen = Arc::new(store.of(1).await);
    let text = |text: &str| Changes {
        text: text.to_owned(),
        plan: crate::domain::text::TextRules::default().plan(text),
        ..Changes::none(&seen).unwrap()
    };
    let changed = store
        .change(seen.clone(), text("un"), Means::default(), at(1))
        .await;
    let changed = changed.unwrap().unwrap();
    assert!(!changed.transition.status_changed());
    assert_eq!(changed.message.text, "un");
    assert_eq!(changed.message.updated_at, at(1));
    // Whoever saw the old one has to look again.
    let stale = store
        .change(seen.clone(), text("deux"), Means::default(), at(2))
        .await;
    assert_eq!(stale.unwrap(), None);
    let store = world.reopen(store, at(3)).await;
    let seen = Arc::new(store.of(1).await);
    assert_eq!(*seen, *changed.message);
    let claimed = store.claims(1, at(3)).await.remove(0);
    assert_eq!(claimed.text, "un");
    world.finish(store).await;
}

async fn a_change_moves_its_message_in_the_queue(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1), message(2)]).await;
    let seen = Arc::new(store.of(1).await);
    let later = Changes {
        due_at: at(600),
        why: WaitReason::ScheduledByClient,
        send_at: Some(at(600)),
        expires_at: at(700),
        ..Changes::none(&seen).unwrap()
    };
    store
        .change(seen, later, Means::default(), at(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.claims(10, at(1)).await[0].id, message_id(2));
    assert!(store.claims(10, at(599)).await.is_empty());
    let reach = super::super::world::reach();
    assert_eq!(store.next_due(&lane("orange"), &reach), Some(at(600)));
    let seen = Arc::new(store.of(1).await);
    let now = Changes {
        due_at: at(599),
        priority: 3,
        ..Changes::none(&seen).unwrap()
    };
    store
        .change(seen, now, Means::default(), at(599))
        .await
        .unwrap()
        .unwrap();
    let claimed = store.claims(10, at(599)).await.remove(0);
    assert_eq!((claimed.id, claimed.priority), (message_id(1), 3));
    world.finish(store).await;
}

async fn a_change_of_what_is_leaving_or_may_have_left_is_too_late(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1)]).await;
    let seen = Arc::new(store.of(1).await);
    let same = Changes::none(&seen).unwrap();
    let leased = store.claims(1, at(1)).await.remove(0);
    let late = |store: Arc<dyn Store>| {
        let (seen, same) = (seen.clone(), same.clone());
        async move {
            store
                .change(seen, same, Means::default(), at(2))
                .await
                .unwrap_err()
        }
    };
    assert_eq!(late(store.clone()).await, StoreError::TooLate);
    let change = store.reports(accepted(&leased, 0, "5fa8"), at(2)).await;
    assert!(change.is_some(), "the claim is still in force");
    assert_eq!(late(store.clone()).await, StoreError::TooLate);
    let gone = Arc::new(Message {
        id: message_id(9),
        ..(*seen).clone()
    });
    let gone = store
        .change(gone, same.clone(), Means::default(), at(2))
        .await;
    assert_eq!(gone.unwrap_err(), StoreError::NotFound);
    let done = receipt("5fa8", ReceiptState::Delivered);
    store.receives(done, at(3)).await;
    assert_eq!(late(store.clone()).await, StoreError::TooLate);
    world.finish(store).await;
}

/// The message that a name leads to, in a closed store.
fn holder(world: &World, key: &[u8]) -> Option<MessageId> {
    let octets = world.with_kv(|kv| kv.get(key).unwrap())?;
    Some(decode::<Holder>(key, &octets).unwrap().message)
}

async fn prune(store: &dyn Store, now: Timestamp) {
    while store.prune(now).await.unwrap() {}
}

async fn names_go_with_their_messages(mut world: World) {
    world.keeping = Keeping::all(Duration::from_hours(24 * 30));
    let store = world.open(at(0));
    store.plan(named(1, Some("a"), Some("a"))).await;
    store.plan(named(2, Some("a"), Some("a"))).await;
    store.plan(named(3, Some("b"), None)).await;
    store.cancel(&shop(), message_id(2), at(1)).await.unwrap();
    store.cancel(&shop(), message_id(3), at(1)).await.unwrap();
    store.plan(named(4, Some("b"), None)).await;
    let day = 24 * 3600;
    let keys = [
        keys::plan(&shop(), "a"),
        keys::once(&shop(), "a"),
        keys::plan(&shop(), "b"),
    ];
    let store = world.reopen(store, at(2)).await;
    prune(&*store, at(31 * day)).await;
    world.finish(store).await;
    let left = keys.map(|key| holder(&world, &key));
    assert_eq!(left, [None, None, Some(message_id(4))]);
}

async fn names_that_nobody_uses_are_forgotten_after_a_year_but_not_of_live_messages(world: World) {
    let store = world.open(at(0));
    let day = 24 * 3600;
    store.plan(named(1, Some("old"), Some("old"))).await;
    let leased = store.claims(1, at(1)).await.remove(0);
    store.reports(accepted(&leased, 0, "5fa8"), at(1)).await;
    store
        .receives(receipt("5fa8", ReceiptState::Delivered), at(1))
        .await;
    let mut far = named(2, Some("far"), None);
    far.state = State::Waiting {
        due_at: at(366 * day),
        why: WaitReason::ScheduledByClient,
    };
    far.expires_at = at(368 * day);
    store.plan(far).await;
    prune(&*store, at(365 * day)).await;
    store.refuses(named(3, Some("old"), None)).await;
    prune(&*store, at(367 * day)).await;
    assert_eq!(store.tells(named(4, Some("old"), Some("old"))).await, None);
    let next = named(5, Some("far"), None);
    assert_eq!(store.plan(next).await, Some(message_id(2)));
    world.finish(store).await;
}

async fn lists_go_both_ways_and_find_plans(world: World) {
    let store = world.open(at(0));
    for n in 1..=9 {
        store
            .plan(named(
                n,
                Some(["a", "b", "c"][usize::try_from(n % 3).unwrap()]),
                None,
            ))
            .await;
    }
    let ids = |store: Arc<dyn Store>, query: Query| async move {
        let (mut found, mut query) = (Vec::new(), query);
        loop {
            let page = store.find(query.clone()).await.unwrap();
            found.extend(page.items.iter().map(|message| message.id));
            let Some(next) = page.next else {
                return found;
            };
            query.behind = Some(MessageId(next));
        }
    };
    let plan = |ascending| Query {
        schedule_key: Some("b".to_owned()),
        ascending,
        limit: 2,
        ..all()
    };
    let found = ids(store.clone(), plan(false)).await;
    assert_eq!(found, [7, 4, 1].map(message_id));
    let found = ids(store.clone(), plan(true)).await;
    assert_eq!(found, [1, 4, 7].map(message_id));
    let since = |ascending| Query {
        since: Some(message(3).created_at),
        until: Some(message(6).created_at),
        ascending,
        limit: 1,
        ..all()
    };
    let found = ids(store.clone(), since(true)).await;
    assert_eq!(found, [3, 4, 5].map(message_id));
    let found = ids(store.clone(), since(false)).await;
    assert_eq!(found, [5, 4, 3].map(message_id));
    for ascending in [true, false] {
        let turned = Query {
            since: Some(at(9)),
            until: Some(at(1)),
            ascending,
            ..all()
        };
        assert_eq!(ids(store.clone(), turned).await, []);
        let one = Query {
            to: Some(number(4)),
            ascending,
            limit: 1,
            ..all()
        };
        assert_eq!(ids(store.clone(), one).await, [message_id(4)]);
    }
    world.finish(store).await;
}

async fn an_instant_divides_all_changes(world: World) {
    let store = world.open(at(0));
    store.takes(vec![message(1), message(2)]).await;
    assert_eq!(store.divide(at(50)).await.unwrap(), at(50));
    assert_eq!(
        store.divide(at(40)).await.unwrap(),
        at(50),
        "it never goes back"
    );
    // Decided before by their own clocks, and stored afterwards.
    let cancelled = store.cancel(&shop(), message_id(1), at(30)).await.unwrap();
    assert_eq!(cancelled.message.updated_at, at(50));
    let claimed = store.claims(1, at(31)).await.remove(0);
    assert_eq!(claimed.updated_at, at(50));
    store.takes(vec![message(3)]).await;
    let changed = Query {
        updated_since: Some(at(50)),
        ..all()
    };
    let found = store.find(changed).await.unwrap().items;
    let found: Vec<_> = found.iter().map(|message| message.id).collect();
    assert_eq!(found, [3, 2, 1].map(message_id));
    assert_eq!(store.of(3).await.created_at, message(3).created_at);
    world.finish(store).await;
}
