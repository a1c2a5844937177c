//! Carriers that say "too fast".

use std::collections::BTreeMap;

use super::*;

#[tokio::test(start_paused = true)]
async fn pain_05_throttling_keeps_the_order_and_counts_in_parts() {
    // Elsewhere: a throttled message was overtaken by the next ones to its recipient, and long texts
    // broke the agreed rate because a message counted as one. Here: neither.
    let world = World::new(script("rate_limit = 10\nburst = 10\n")).await;
    let mut sent = Vec::new();
    for n in 0..15 {
        for recipient in 0..8 {
            let to = format!("+3360000000{recipient}");
            sent.push(world.send(&to, &format!("message {n:02}")).await);
            // Order is by the time of acceptance, which is kept in milliseconds.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    all_become(&world, &sent, Status::Delivered).await;
    let throttled = world.carrier.ledger(|ledger| {
        let mut arrived: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for entry in ledger.taken() {
            let texts = arrived.entry(&entry.destination.text).or_default();
            texts.push(&entry.text);
        }
        for (to, texts) in arrived {
            assert!(texts.is_sorted(), "{to}: {texts:?}");
            assert_eq!(texts.len(), 15);
        }
        ledger.submitted_total - 120
    });
    assert!(throttled > 0, "the carrier never had to say so");
    assert!(throttled <= 120, "{throttled} submissions were refused");
    for id in sent {
        assert_eq!(world.message(id).await.tries, 1, "it cost a try");
    }
    world.stop().await;

    let mut rules = support::policy(support::operator());
    rules.rates.insert("carrier".into(), 6.into());
    let world = World::with(SmscScript::default(), rules, |_| {}).await;
    let mut sent = Vec::new();
    for n in 0..20 {
        sent.push(
            world
                .send(&format!("+336000000{n:02}"), &three_parts())
                .await,
        );
    }
    all_become(&world, &sent, Status::Delivered).await;
    world.carrier.ledger(|ledger| {
        let times: Vec<_> = ledger.taken().map(|entry| entry.at).collect();
        assert_eq!(times.len(), 60);
        // Six a second, and what a bucket of one second may give at once.
        for pair in times.windows(13) {
            let took = pair[12].since(pair[0]);
            assert!(took >= Duration::from_millis(950), "13 parts in {took:?}");
        }
    });
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pain_06_a_message_that_was_throttled_still_gets_its_receipt() {
    // Elsewhere: the retry of a throttled message destroyed what its receipt was to be matched by.
    // Here: refused three times each, then taken, and every receipt finds its message.
    let world = World::new(script(
        "[ids]\nreported = \"hex\"\nstart = 1000\n[receipts]\ndelay_ms = 90000\n\
         [[rules]]\nstatus = 0x58\ntimes = 3\neach = true\n",
    ))
    .await;
    let mut sent = Vec::new();
    for n in 0..10 {
        sent.push(world.send(&format!("+336000000{n:02}"), "bonjour").await);
    }
    all_become(&world, &sent, Status::Delivered).await;
    assert_eq!(counted(&world, "relais_receipts_unmatched_total"), 0);
    assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 40);
    for id in sent {
        let message = world.message(id).await;
        assert_eq!((message.tries, message.maybe_duplicate), (1, false));
    }
    world.stop().await;
}
