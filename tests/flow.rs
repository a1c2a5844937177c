//! Who sends what, when, and how fast: routes and their steps, binds, carriers that slow us down,
//! circuit breakers, pauses. Through the whole engine, in virtual time.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use relais::domain::id::MessageId;
use relais::domain::policy::{Limits, Operator, Policy};
use relais::domain::status::Status;
use relais::sim::smsc::{Ledger, Rule, SmscHandle, SmscScript};
use support::{Line, START, World};

/// An operator with this route; a step is `"a"` or `"a|b"`.
fn routed(name: &str, steps: &[&str]) -> Operator {
    let accounts = |step: &&str| step.split('|').map(Into::into).collect();
    Operator::named(name, steps.iter().map(accounts).collect())
}

fn rules(default: Operator) -> Policy {
    Policy::new(default, Vec::new(), "FR", Limits::default())
}

/// A gateway over the accounts `one` and `two`, each with a carrier of its own.
async fn two(first: SmscScript, second: SmscScript, policy: Policy) -> World {
    let lines = vec![Line::new("one", first), Line::new("two", second)];
    World::over(lines, policy).await
}

fn refusing() -> SmscScript {
    SmscScript {
        refuse_connections: true,
        ..SmscScript::default()
    }
}

fn number(n: usize) -> String {
    format!("+336000{n:05}")
}

async fn send(world: &World, numbers: std::ops::Range<usize>) -> Vec<MessageId> {
    let mut ids = Vec::new();
    for n in numbers {
        ids.push(world.send(&number(n), &format!("message {n}")).await);
    }
    ids
}

async fn all_delivered(world: &World, ids: &[MessageId]) {
    for id in ids {
        world.until(*id, Status::Delivered).await;
    }
}

fn taken(carrier: &SmscHandle) -> usize {
    carrier.ledger(|ledger| ledger.submitted.iter().filter(|s| s.id.is_some()).count())
}

fn submits(carrier: &SmscHandle) -> u64 {
    carrier.ledger(|ledger| ledger.submitted_total)
}

fn why(world: &World, message: &relais::domain::message::Message) -> &'static str {
    world.engine.why(message).unwrap().0
}

// Routes.

#[tokio::test(start_paused = true)]
async fn the_second_step_takes_over_when_the_first_has_been_down_for_as_long_as_configured() {
    let policy = rules(routed("default", &["one", "two"]));
    let world = two(refusing(), SmscScript::default(), policy).await;
    let id = world.send("+33600000001", "bonjour").await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    let message = world.message(id).await;
    assert_eq!(
        (message.status(), why(&world, &message)),
        (Status::Pending, "no_channel")
    );
    world.until(id, Status::Delivered).await;
    let took = world.clock.now().since(START).as_secs();
    assert!((30..=31).contains(&took), "{took} s");
    assert_eq!(world.message(id).await.channel().unwrap().as_str(), "two#1");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_no_time_to_wait_the_second_step_takes_over_at_once() {
    let mut operator = routed("default", &["one", "two"]);
    operator.failover_after = Duration::ZERO;
    let world = two(refusing(), SmscScript::default(), rules(operator)).await;
    let id = world.send("+33600000001", "bonjour").await;
    assert!(world.until(id, Status::Delivered).await < Duration::from_secs(1));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_goes_to_the_first_step_again_once_it_is_well() {
    let policy = rules(routed("default", &["one", "two"]));
    let world = two(refusing(), SmscScript::default(), policy).await;
    let before = send(&world, 0..10).await;
    all_delivered(&world, &before).await;
    assert_eq!(
        (taken(&world.carriers[0]), taken(&world.carriers[1])),
        (0, 10)
    );
    let one = &world.carriers[0];
    one.change_script(|script| script.refuse_connections = false);
    one.wait_for(|ledger| ledger.bound == 1).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let after = send(&world, 10..20).await;
    all_delivered(&world, &after).await;
    assert_eq!(
        (taken(&world.carriers[0]), taken(&world.carriers[1])),
        (10, 10)
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_back_in_time_hands_nothing_to_the_next_step() {
    let policy = rules(routed("default", &["one", "two"]));
    let world = two(SmscScript::default(), SmscScript::default(), policy).await;
    for round in 0..5 {
        let ids = send(&world, round * 20..round * 20 + 20).await;
        world.carriers[0].disconnect_all();
        all_delivered(&world, &ids).await;
    }
    assert_eq!(submits(&world.carriers[1]), 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_that_the_first_may_have_taken_is_sent_over_the_second() {
    let silent = SmscScript {
        rules: vec![Rule {
            unanswered: true,
            ..Rule::default()
        }],
        ..SmscScript::default()
    };
    let mut operator = routed("default", &["one", "two"]);
    operator.failover_after = Duration::ZERO;
    let world = two(silent, SmscScript::default(), rules(operator)).await;
    let one = &world.carriers[0];
    one.wait_for(|ledger| ledger.bound == 1).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let ids = send(&world, 0..30).await;
    // A window of ten is with the first carrier when its link is lost.
    one.wait_for(|ledger| ledger.submitted_total == 10).await;
    one.change_script(|script| {
        script.refuse_connections = true;
        script.receipts.state = relais::sim::smsc::ScriptedState::None;
    });
    one.disconnect_all();
    let mut there = 0;
    tokio::time::sleep(Duration::from_hours(1)).await;
    for id in &ids {
        let message = world.message(*id).await;
        if message.status() == Status::Delivered {
            assert_eq!(message.channel().unwrap().as_str(), "two#1");
        } else {
            assert_eq!(message.status(), Status::Pending);
            assert_eq!(why(&world, &message), "no_channel");
            there += 1;
        }
    }
    assert_eq!(there, 10);
    assert_eq!(submits(&world.carriers[1]), 20);
    // It is back, and answers: it gets again what it may not have had, and nobody else does.
    one.change_script(|script| {
        script.refuse_connections = false;
        script.rules.clear();
        script.receipts.state = relais::sim::smsc::ScriptedState::Delivered;
    });
    all_delivered(&world, &ids).await;
    assert_eq!((submits(one), submits(&world.carriers[1])), (20, 20));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn parts_stay_with_the_account_that_has_the_first_one() {
    // The second part of each message is refused for now, once.
    let script = SmscScript {
        fail_every: Some(2),
        ..SmscScript::default()
    };
    let mut operator = routed("default", &["one", "two"]);
    operator.failover_after = Duration::ZERO;
    let world = two(script, SmscScript::default(), rules(operator)).await;
    world.carriers[0].wait_for(|l| l.bound == 1).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let id = world.send("+33600000001", &"x".repeat(300)).await;
    world.carriers[0].wait_for(|l| l.submitted_total == 2).await;
    world.carriers[0].change_script(|script| script.refuse_connections = true);
    world.carriers[0].disconnect_all();
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(world.message(id).await.status(), Status::Pending);
    assert_eq!(submits(&world.carriers[1]), 0);
    world.carriers[0].change_script(|script| {
        script.refuse_connections = false;
        script.fail_every = None;
    });
    world.until(id, Status::Delivered).await;
    assert_eq!(submits(&world.carriers[0]), 3);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_is_spread_over_its_accounts_and_their_binds() {
    let slow = || SmscScript {
        response_delay_ms: 50,
        ..SmscScript::default()
    };
    let lines = vec![
        Line::new("one", slow()).with(|config| config.binds = 2),
        Line::new("two", slow()),
    ];
    let world = World::over(lines, rules(routed("default", &["one|two"]))).await;
    world.carriers[0].wait_for(|ledger| ledger.bound == 2).await;
    world.carriers[1].wait_for(|ledger| ledger.bound == 1).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let ids = send(&world, 0..300).await;
    all_delivered(&world, &ids).await;
    let mut by_session: HashMap<(usize, u64), usize> = HashMap::new();
    for (n, carrier) in world.carriers.iter().enumerate() {
        carrier.ledger(|ledger| {
            for entry in &ledger.submitted {
                *by_session.entry((n, entry.session)).or_default() += 1;
            }
        });
    }
    assert_eq!(by_session.len(), 3, "{by_session:?}");
    assert!(
        by_session.values().all(|count| *count >= 60),
        "{by_session:?}"
    );
    // One by one, too: nobody is always first.
    for n in 300..330 {
        let id = world.send(&number(n), "seul").await;
        world.until(id, Status::Delivered).await;
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_account_of_a_step_going_down_leaves_the_other_one_its_work() {
    let policy = rules(routed("default", &["one|two"]));
    let world = two(refusing(), SmscScript::default(), policy).await;
    world.carriers[1].wait_for(|ledger| ledger.bound == 1).await;
    let ids = send(&world, 0..20).await;
    all_delivered(&world, &ids).await;
    assert!(world.clock.now().since(START) < Duration::from_secs(1));
    world.stop().await;
}

// Carriers that slow us down.

/// What a flood of `count` messages does at a carrier that takes `limit` parts a second.
struct Flood {
    submits: u64,
    seconds: f64,
}

async fn flood(script: SmscScript, policy: Policy, count: usize, text: &str) -> Flood {
    let world = two(script, SmscScript::default(), policy).await;
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(world.send(&number(n), text).await);
    }
    all_delivered(&world, &ids).await;
    for id in &ids {
        assert_eq!(world.message(*id).await.tries, 1);
    }
    let flood = Flood {
        submits: submits(&world.carriers[0]),
        seconds: world.clock.now().since(START).as_secs_f64(),
    };
    assert_eq!(
        submits(&world.carriers[1]),
        0,
        "a short pause is no failover"
    );
    world.stop().await;
    flood
}

#[tokio::test(start_paused = true)]
async fn a_carrier_of_20_a_second_gets_few_too_many_and_nearly_all_that_it_takes() {
    for (burst, configured) in [
        (None, 0),
        (Some(20), 0),
        (Some(4), 0),
        (None, 50),
        (Some(20), 21),
    ] {
        let script = SmscScript {
            rate_limit: Some(20),
            burst,
            response_delay_ms: 20,
            ..SmscScript::default()
        };
        let mut policy = rules(routed("default", &["one", "two"]));
        policy.rates.insert("one".into(), configured.into());
        let count = 1000;
        let flood = flood(script, policy, count, "bonjour").await;
        let over = flood.submits as f64 / count as f64;
        let share = count as f64 / flood.seconds / 20.0;
        let case = format!(
            "bucket {burst:?}, rate {configured}: {over} submits a message, {share} of the limit"
        );
        assert!(over <= 1.3, "{case}");
        assert!(share >= 0.85, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_in_parts_are_slowed_by_the_part() {
    let script = SmscScript {
        rate_limit: Some(20),
        response_delay_ms: 20,
        ..SmscScript::default()
    };
    let policy = rules(routed("default", &["one", "two"]));
    let count = 600;
    let flood = flood(script, policy, count, &"x".repeat(400)).await;
    let parts = 3.0 * count as f64;
    let over = flood.submits as f64 / parts;
    let share = parts / flood.seconds / 20.0;
    assert!(over <= 1.3, "{over} submits a part");
    assert!(share >= 0.85, "{share} of the limit");
}

#[tokio::test(start_paused = true)]
async fn each_recipients_messages_keep_their_order_while_the_account_is_slowed() {
    let mut script = SmscScript {
        rate_limit: Some(20),
        response_delay_ms: 30,
        ..SmscScript::default()
    };
    script.receipts.delay_ms = 1_000;
    let policy = rules(routed("default", &["one", "two"]));
    let world = two(script, SmscScript::default(), policy).await;
    // Until the carrier has complained for the first time nobody knows that it will.
    let first = send(&world, 1000..1100).await;
    all_delivered(&world, &first).await;
    assert!(submits(&world.carriers[0]) > 100, "it has complained");
    let mut ids = Vec::new();
    for n in 0..600 {
        let text = format!("{n:04}");
        // What is accepted in one and the same millisecond has no order.
        tokio::time::sleep(Duration::from_millis(1)).await;
        ids.push(world.send(&number(n % 7), &text).await);
    }
    all_delivered(&world, &ids).await;
    world.carriers[0].ledger(|ledger| {
        let mut last: HashMap<String, String> = HashMap::new();
        let new = ledger
            .submitted
            .iter()
            .filter(|s| s.id.is_some() && s.text.len() == 4);
        for entry in new {
            let before = last.insert(entry.destination.text.clone(), entry.text.clone());
            assert!(
                before.as_ref() < Some(&entry.text),
                "{before:?} then {}",
                entry.text
            );
        }
        assert_eq!(last.len(), 7);
    });
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_because_its_carrier_is_slow_says_so() {
    let script = SmscScript {
        rate_limit: Some(1),
        ..SmscScript::default()
    };
    let policy = rules(routed("default", &["one"]));
    let world = two(script, SmscScript::default(), policy).await;
    let ids = send(&world, 0..50).await;
    world.carriers[0].wait_for(refused).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let last = world.message(ids[49]).await;
    let (why, until) = world.engine.why(&last).unwrap();
    assert_eq!(why, "throttled");
    assert!(until.unwrap() > world.clock.now());
    all_delivered(&world, &ids).await;
    world.stop().await;
}

fn refused(ledger: &Ledger) -> bool {
    ledger.submitted.iter().any(|s| s.status == Some(0x58))
}

#[tokio::test(start_paused = true)]
async fn a_throttled_operator_does_not_delay_another() {
    let slow = SmscScript {
        rate_limit: Some(2),
        ..SmscScript::default()
    };
    let other = Operator {
        prefixes: vec!["337".to_owned()],
        ..routed("other", &["two"])
    };
    let policy = Policy::new(
        routed("default", &["one"]),
        vec![other],
        "FR",
        Limits::default(),
    );
    let world = two(slow, SmscScript::default(), policy).await;
    let slowed = send(&world, 0..200).await;
    world.carriers[0].wait_for(refused).await;
    for n in 0..100 {
        let id = world.send(&format!("+337000{n:05}"), "vite").await;
        let took = world.until(id, Status::Delivered).await;
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
    assert_eq!(world.message(slowed[199]).await.status(), Status::Pending);
    all_delivered(&world, &slowed).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_is_slowed_for_a_while_is_used_in_full_again() {
    let script = SmscScript {
        rate_limit: Some(5),
        response_delay_ms: 10,
        ..SmscScript::default()
    };
    let policy = rules(routed("default", &["one"]));
    let world = two(script, SmscScript::default(), policy).await;
    let ids = send(&world, 0..300).await;
    all_delivered(&world, &ids).await;
    world.carriers[0].change_script(|script| script.rate_limit = None);
    let from = world.clock.now();
    let ids = send(&world, 300..6_300).await;
    all_delivered(&world, &ids).await;
    // At five a second it would take twenty minutes.
    let took = world.clock.now().since(from);
    assert!(took < Duration::from_mins(3), "{took:?}");
    world.stop().await;
}

// Circuit breakers.

/// A carrier that refuses everything with this status.
fn refusing_with(status: u32) -> SmscScript {
    SmscScript {
        rules: vec![Rule {
            status: Some(status),
            ..Rule::default()
        }],
        ..SmscScript::default()
    }
}

fn circuit(world: &World) -> &'static str {
    world.engine.channel_views()[0].state.circuit
}

#[tokio::test(start_paused = true)]
async fn an_account_that_cannot_send_is_asked_with_one_message_now_and_then() {
    // The carrier says that the account is suspended (a vendor's status for it).
    let world = two(
        refusing_with(0x403),
        SmscScript::default(),
        rules(routed("default", &["one"])),
    )
    .await;
    let one = &world.carriers[0];
    let ids = send(&world, 0..50).await;
    one.wait_for(|ledger| ledger.submitted_total >= 1).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let at_first = submits(one);
    assert!(
        at_first <= 10,
        "{at_first}: what was under way when it said so"
    );
    let message = world.message(ids[49]).await;
    let (why, until) = world.engine.why(&message).unwrap();
    assert_eq!((why, circuit(&world)), ("circuit_open", "open"));
    assert!(until.unwrap() > world.clock.now());
    // 5, 10, 20, 40, 80, 160, 300, 300 s … in an hour: not one more than these.
    tokio::time::sleep(Duration::from_hours(1)).await;
    let asked = submits(one) - at_first;
    assert!((14..=18).contains(&asked), "{asked} in an hour");
    one.change_script(|script| script.rules.clear());
    all_delivered(&world, &ids).await;
    assert_eq!(circuit(&world), "closed");
    for id in ids {
        assert_eq!(world.message(id).await.tries, 1);
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_account_that_cannot_send_hands_its_work_to_the_next_step_at_once_and_gets_it_back() {
    let policy = rules(routed("default", &["one", "two"]));
    let world = two(refusing_with(0x403), SmscScript::default(), policy).await;
    for carrier in &world.carriers {
        carrier.wait_for(|ledger| ledger.bound == 1).await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let from = world.clock.now();
    let ids = send(&world, 0..50).await;
    all_delivered(&world, &ids).await;
    let took = world.clock.now().since(from);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(taken(&world.carriers[1]), 50);
    world.carriers[0].change_script(|script| script.rules.clear());
    tokio::time::sleep(Duration::from_mins(6)).await;
    let ids = send(&world, 50..100).await;
    all_delivered(&world, &ids).await;
    // The first one is the one that tries it; nobody waits for what becomes of it.
    assert!(taken(&world.carriers[0]) >= 1);
    let ids = send(&world, 100..150).await;
    all_delivered(&world, &ids).await;
    assert!(
        taken(&world.carriers[0]) >= 51,
        "{}",
        taken(&world.carriers[0])
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ten_failures_in_a_row_open_the_circuit_for_what_has_another_way_and_a_success_closes_it() {
    // ESME_RSYSERR for everything.
    let world = two(
        refusing_with(0x08),
        SmscScript::default(),
        rules(routed("default", &["one", "two"])),
    )
    .await;
    let [one, two] = [&world.carriers[0], &world.carriers[1]];
    let ids = send(&world, 0..100).await;
    two.wait_for(|ledger| ledger.submitted_total >= 80).await;
    let refused = submits(one);
    assert!((10..=20).contains(&refused), "{refused}");
    assert_eq!(circuit(&world), "open");
    one.change_script(|script| script.rules.clear());
    all_delivered(&world, &ids).await;
    // What was refused has come back after its own wait, and the first of it closed the circuit.
    assert_eq!(circuit(&world), "closed");
    assert_eq!(submits(one) + submits(two), 100 + refused);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_other_way_each_message_goes_on_by_its_own_waits() {
    // Each message is refused once, and only the second time taken.
    let mut script = refusing_with(0x08);
    script.rules[0].times = Some(100);
    let world = two(
        script,
        SmscScript::default(),
        rules(routed("default", &["one"])),
    )
    .await;
    let ids = send(&world, 0..100).await;
    for id in ids {
        let took = world.until(id, Status::Delivered).await;
        assert!(took < Duration::from_secs(70), "{took:?}");
    }
    assert_eq!(submits(&world.carriers[0]), 200);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn refusals_of_some_messages_do_not_open_the_circuit_while_others_are_taken() {
    let script = SmscScript {
        rules: vec![Rule {
            suffix: "1".to_owned(),
            status: Some(0x08),
            ..Rule::default()
        }],
        ..SmscScript::default()
    };
    let world = two(
        script,
        SmscScript::default(),
        rules(routed("default", &["one"])),
    )
    .await;
    let ids = send(&world, 0..500).await;
    for (n, id) in ids.iter().enumerate().filter(|(n, _)| n % 10 != 1) {
        let took = world.until(*id, Status::Delivered).await;
        assert!(took < Duration::from_secs(1), "message {n} took {took:?}");
    }
    assert_eq!(circuit(&world), "closed");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn losing_the_link_with_a_full_window_opens_no_circuit() {
    let silent = SmscScript {
        rules: vec![Rule {
            unanswered: true,
            ..Rule::default()
        }],
        ..SmscScript::default()
    };
    let world = two(
        silent,
        SmscScript::default(),
        rules(routed("default", &["one"])),
    )
    .await;
    let ids = send(&world, 0..30).await;
    let one = &world.carriers[0];
    one.wait_for(|ledger| ledger.submitted_total == 10).await;
    one.change_script(|script| script.rules.clear());
    one.disconnect_all();
    one.wait_for(|ledger| ledger.binds == 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(circuit(&world), "closed");
    all_delivered(&world, &ids).await;
    world.stop().await;
}

// What operators do.

#[tokio::test(start_paused = true)]
async fn a_paused_account_takes_nothing_until_it_is_resumed_even_by_another_process() {
    let clock = relais::clock::Clock::starting_at(START);
    let (policy, rules) =
        tokio::sync::watch::channel(std::sync::Arc::new(rules(routed("default", &["one"]))));
    let store = relais::store::memory(rules, clock.now()).unwrap();
    let line = || vec![Line::new("one", SmscScript::default())];
    let world = World::around(store.clone(), line(), policy.clone(), clock.clone()).await;
    world.engine.pause("one").await.unwrap();
    let id = world.send("+33600000001", "bonjour").await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    let message = world.message(id).await;
    assert_eq!(why(&world, &message), "paused");
    assert!(world.engine.channel_views()[0].paused_at.is_some());
    // Another process over the same store: the first one is only left alone here.
    let again = World::around(store, line(), policy, clock).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(submits(&again.carrier) + submits(&world.carrier), 0);
    again.engine.resume("one").await.unwrap();
    again.until(id, Status::Delivered).await;
    assert_eq!(submits(&again.carrier), 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_bind_leaves_the_others_their_work_and_a_paused_account_the_next_step() {
    let lines = vec![
        Line::new("one", SmscScript::default()).with(|config| config.binds = 2),
        Line::new("two", SmscScript::default()),
    ];
    let world = World::over(lines, rules(routed("default", &["one", "two"]))).await;
    world.carriers[0].wait_for(|ledger| ledger.bound == 2).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.engine.pause("one#1").await.unwrap();
    let ids = send(&world, 0..40).await;
    all_delivered(&world, &ids).await;
    for id in ids {
        assert_eq!(world.message(id).await.channel().unwrap().as_str(), "one#2");
    }
    world.engine.pause("one").await.unwrap();
    let id = world.send("+33600000001", "bonjour").await;
    assert!(world.until(id, Status::Delivered).await < Duration::from_secs(1));
    assert_eq!(submits(&world.carriers[1]), 1);
    world.engine.resume("one").await.unwrap();
    world.engine.resume("one#1").await.unwrap();
    let paused = world
        .engine
        .channel_views()
        .iter()
        .any(|view| view.paused_at.is_some());
    assert!(!paused);
    let unknown = world.engine.pause("three").await;
    assert_eq!(unknown, Err(relais::store::StoreError::NotFound));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_the_wait_to_reconnect_and_closes_the_circuit() {
    let mut script = refusing();
    script.rules = refusing_with(0x403).rules;
    let lines = vec![Line::new("one", script).with(|config| {
        config.reconnect_min = Duration::from_hours(1);
        config.reconnect_max = Duration::from_hours(1);
    })];
    let world = World::over(lines, rules(routed("default", &["one"]))).await;
    let id = world.send("+33600000001", "bonjour").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    world
        .carrier
        .change_script(|script| script.refuse_connections = false);
    world.engine.reset("one").unwrap();
    world
        .carrier
        .wait_for(|ledger| ledger.submitted_total == 1)
        .await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(world.clock.now().since(START) < Duration::from_secs(11));
    assert_eq!(circuit(&world), "open");
    world.carrier.change_script(|script| script.rules.clear());
    world.engine.reset("one#1").unwrap();
    let took = world.until(id, Status::Delivered).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(circuit(&world), "closed");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_a_bound_connection_waits_for_what_is_under_way_and_binds_anew() {
    let script = SmscScript {
        response_delay_ms: 500,
        ..SmscScript::default()
    };
    let world = two(
        script,
        SmscScript::default(),
        rules(routed("default", &["one"])),
    )
    .await;
    let ids = send(&world, 0..30).await;
    let one = &world.carriers[0];
    one.wait_for(|ledger| ledger.submitted_total == 10).await;
    world.engine.reset("one").unwrap();
    all_delivered(&world, &ids).await;
    assert_eq!(
        one.ledger(|l| (l.submitted_total, l.binds, l.unbinds)),
        (30, 2, 1)
    );
    assert!(world.clock.now().since(START) < Duration::from_secs(5));
    for id in ids {
        assert!(!world.message(id).await.maybe_duplicate);
    }
    world.stop().await;
}
