//! Throttling, retries, validity, doubt and rate, each of one operator and not of another.

use std::time::Duration;

use relais::domain::message::Cause;
use relais::domain::status::Status;
use relais::domain::time::Timestamp;
use relais::engine::accept::Draft;

use super::{HOUR, SECOND, at, down, refusing, rules, seen, taking, to, unanswering, why, world};

const TWO: &str = "\
[operators.orange]
prefixes = [\"+33607\"]
route = [\"a\"]
[operators.sfr]
prefixes = [\"+33610\"]
route = [\"b\"]
[operators.default]
route = [\"b\"]
";

fn numbers(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("+{prefix}{n:06}")).collect()
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_is_throttled_does_not_delay_another() {
    let policy = rules(&["a", "b"], TWO);
    let throttling = refusing(0x58);
    let world = world(
        "2027-01-12T10:00:00Z",
        policy,
        vec![("a", throttling), ("b", taking())],
    )
    .await;
    let mut slow = Vec::new();
    for number in numbers("33607", 100) {
        slow.push(world.submit(to(&number)).await);
    }
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(why(&world, slow[99]).await.0, "throttled");
    let began = world.clock.now();
    let mut quick = Vec::new();
    for number in numbers("33610", 100) {
        quick.push(world.submit(to(&number)).await);
    }
    for id in quick {
        world.until(id, Status::Delivered).await;
    }
    let took = world.clock.now().since(began);
    assert!(took < SECOND, "the other operator's took {took:?}");
    for id in slow {
        let message = world.message(id).await;
        assert_eq!((message.status(), message.tries), (Status::Pending, 0));
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_operator_is_tried_again_exactly_as_its_own_schedule_says() {
    let policy = rules(
        &["a"],
        "[operators.orange]\nprefixes = [\"+33607\"]\nretry = [\"30s\", \"2m\", \"2m\", \"1h30m\"]\n\
         [operators.sfr]\nprefixes = [\"+33610\"]\nretry = [\"10m\", \"6h\", \"12h\"]\n\
         [operators.free]\nprefixes = [\"+33651\"]\nretry = []\n",
    );
    let world = world("2027-01-12T10:00:00Z", policy, vec![("a", refusing(0x08))]).await;
    for (number, waits) in [
        ("33607000001", &[30_u64, 120, 120, 5400][..]),
        ("33610000002", &[600, 6 * 3600, 12 * 3600]),
        ("33651000003", &[]),
    ] {
        let id = world.send(&format!("+{number}"), "bonjour").await;
        world.until(id, Status::Failed).await;
        let reason = world.message(id).await.reason();
        assert_eq!(reason, Some(Cause::AttemptsExhausted), "{number}");
        let tries = seen(&world, 0, number);
        assert_eq!(tries.len(), waits.len() + 1, "{number}: {tries:?}");
        for (wait, pair) in waits.iter().zip(tries.windows(2)) {
            // A wait is lengthened by up to a tenth and never shortened; an instant is a millisecond.
            let (waited, wait) = (pair[1].since(pair[0]), Duration::from_secs(*wait));
            let most = wait + wait / 10 + Duration::from_millis(10);
            assert!((wait..=most).contains(&waited), "{waited:?} for {wait:?}");
        }
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn forty_eight_hours_are_forty_eight_hours_over_a_change_of_summer_time() {
    // The clocks of Paris go forward on 28 March 2027 and back on 31 October 2027.
    for (start, end) in [
        ("2027-03-27T12:00:00+01:00", "2027-03-29T13:00:00+02:00"),
        ("2027-10-30T12:00:00+02:00", "2027-11-01T11:00:00+01:00"),
    ] {
        let policy = rules(&["a", "b"], TWO);
        let world = world(start, policy, vec![("a", down()), ("b", taking())]).await;
        let waits = world.send("+33607000001", "bonjour").await;
        assert_eq!(world.message(waits).await.expires_at, at(end));
        // The carrier is told the same: 2 days, as a length of time.
        let leaves = world.send("+33610000002", "bonjour").await;
        world.until(leaves, Status::Delivered).await;
        let told = world.carriers[1].ledger(|ledger| ledger.submitted[0].validity.clone());
        assert!(
            ["000002000000000R", "000001235959000R"].contains(&told.as_str()),
            "{told}"
        );
        world.until(waits, Status::Expired).await;
        let message = world.message(waits).await;
        assert_eq!(message.reason(), Some(Cause::ValidityPassed));
        assert_eq!(message.updated_at.since(at(start)), 48 * HOUR);
        assert_eq!(message.updated_at.since(at(end)), Duration::ZERO);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_validity_is_that_of_the_operator_and_the_carrier_is_told_what_is_left() {
    let policy = rules(
        &["a"],
        "[operators.orange]\nprefixes = [\"+33607\"]\nvalidity = \"6h\"\n[operators.default]\nvalidity = \"30m\"\n",
    );
    let world = world("2027-01-12T10:00:00Z", policy, vec![("a", down())]).await;
    let long = world.send("+33607000001", "bonjour").await;
    let short = world.send("+33610000002", "bonjour").await;
    let took = world.until(short, Status::Expired).await;
    assert_eq!(took, 30 * 60 * SECOND);
    tokio::time::sleep(2 * HOUR).await;
    world.carriers[0].change_script(|script| script.refuse_connections = false);
    world.until(long, Status::Delivered).await;
    let told = world.carriers[0].ledger(|ledger| ledger.submitted[0].validity.clone());
    // 3 h 29 min and some seconds: it had waited for two and a half hours.
    assert!(told.starts_with("000000032"), "{told}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_a_doubt_is_the_operators_choice() {
    let policy = rules(
        &["a"],
        "[operators.codes]\nprefixes = [\"+33607\"]\non_doubt = \"fail\"\n\
         [operators.notices]\nprefixes = [\"+33610\"]\non_doubt = \"resend\"\n",
    );
    let world = world("2027-01-12T10:00:00Z", policy, vec![("a", unanswering())]).await;
    let once = world.send("+33607000001", "code 1234").await;
    let again = world.send("+33610000002", "bonjour").await;
    world.until(once, Status::Failed).await;
    assert_eq!(world.message(once).await.reason(), Some(Cause::InDoubt));
    tokio::time::sleep(HOUR / 2).await;
    world.carriers[0].change_script(|script| *script = taking());
    world.until(again, Status::Delivered).await;
    assert!(world.message(again).await.maybe_duplicate);
    tokio::time::sleep(48 * HOUR).await;
    assert_eq!(seen(&world, 0, "33607000001").len(), 1, "at most once");
    assert!(seen(&world, 0, "33610000002").len() >= 2, "at least once");
    world.stop().await;
}

/// Asserts that these parts left at least `gap` apart.
fn paced(left: &[Timestamp], gap: Duration) {
    for pair in left.windows(2) {
        let waited = pair[1].since(pair[0]) + Duration::from_millis(5);
        assert!(waited >= gap, "{waited:?} between two parts: {left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_an_operator_is_kept_over_all_of_its_route_and_slows_no_other() {
    let policy = rules(
        &["a", "b"],
        "[operators.orange]\nprefixes = [\"+33607\"]\nroute = [\"a|b\"]\nrate = \"2/s\"\n\
         [operators.default]\nroute = [\"a|b\"]\n",
    );
    let world = world(
        "2027-01-12T10:00:00Z",
        policy,
        vec![("a", taking()), ("b", taking())],
    )
    .await;
    let began = world.clock.now();
    let mut slow = Vec::new();
    for number in numbers("33607", 41) {
        slow.push(world.submit(to(&number)).await);
    }
    for number in numbers("33610", 200) {
        let id = world.submit(to(&number)).await;
        world.until(id, Status::Delivered).await;
    }
    let took = world.clock.now().since(began);
    assert!(took < 5 * SECOND, "the other operator's took {took:?}");
    assert_eq!(why(&world, slow[40]).await, ("rate", None));
    // An urgent message goes first, but not faster.
    let urgent = Draft {
        priority: Some(3),
        ..to("+33607999999")
    };
    let urgent = world.submit(urgent).await;
    let waited = world.until(urgent, Status::Delivered).await;
    assert!(waited <= 2 * SECOND, "{waited:?}");
    for id in slow {
        world.until(id, Status::Delivered).await;
    }
    let took = world.clock.now().since(began);
    // 42 parts at 2/s, the first at once.
    assert!((20 * SECOND..=22 * SECOND).contains(&took), "{took:?}");
    let mut left = seen(&world, 0, "");
    left.extend(seen(&world, 1, ""));
    left.clear();
    for carrier in [0, 1] {
        for number in numbers("33607", 41) {
            left.extend(seen(&world, carrier, &number[1..]));
        }
        left.extend(seen(&world, carrier, "33607999999"));
    }
    left.sort();
    assert_eq!(left.len(), 42);
    paced(&left, SECOND / 2);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_an_operator_is_counted_in_parts_and_may_change() {
    let one = "[operators.orange]\nprefixes = [\"+33607\"]\nrate = \"60/min\"\n";
    let world = world(
        "2027-01-12T10:00:00Z",
        rules(&["a"], one),
        vec![("a", taking())],
    )
    .await;
    let text = "x".repeat(300);
    let mut ids = Vec::new();
    for number in numbers("33607", 20) {
        ids.push(world.send(&number, &text).await);
    }
    tokio::time::sleep(20 * SECOND + SECOND / 2).await;
    let parts = seen(&world, 0, "").len();
    // The parts of a message leave together, and the next message waits until both are paid.
    assert_eq!(parts, 22, "in twenty seconds and a half");
    // Without a rate the rest leaves at once.
    let policy = rules(&["a"], &one.replace("60/min", "0/s"));
    world.policy.send(policy.into()).unwrap();
    let changed = world.clock.now();
    for id in ids {
        world.until(id, Status::Delivered).await;
    }
    let took = world.clock.now().since(changed);
    assert!(took < SECOND, "{took:?}");
    world.stop().await;
}
