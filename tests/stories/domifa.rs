//! A social service that tells people of their mail: on Tuesdays and Thursdays at 19:00 by their own
//! clocks, one message a kind, with how much has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use relais::clock::Clock;
use relais::domain::digest::Digest;
use relais::domain::privacy::Keeping;
use relais::domain::tenant::Settings;
use relais::engine::accept::By;
use relais::engine::digests::Notified;
use relais::sim::smsc::{Receipts, Rule, ScriptedState, SmscScript};
use relais::store::embedded::Embedded;
use relais::store::kv::{Kv, KvError, Pair, Write};
use relais::store::{Pending, Query};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::api::Api;
use super::support::{Disk, Line, World, operator, policy, tenant};
use super::{at, expect, gateway, submitted, until};

const PARIS: &str = "06 21 55 84 92";
const CAYENNE: &str = "+594 694 21 55 84";
const NOUMEA: &str = "+687 75 12 34";

/// The centre's digest.
fn mail() -> Value {
    json!({
        "days": ["tue", "thu"],
        "at": "19:00",
        "kinds": {
            "courrier": {
                "text": "Bonjour, vous avez re\u{e7}u {{ count }} {{ count|plural(\"nouveau courrier\", \"nouveaux courriers\") }}",
                "type": "Courrier enregistr\u{e9}",
            },
            "colis": {
                "text": "Bonjour, vous avez re\u{e7}u {{ count }} {{ count|plural(\"nouveau colis\", \"nouveaux colis\") }}",
                "type": "Colis enregistr\u{e9}",
            },
            "avis": {
                "text": "Bonjour, vous avez re\u{e7}u {{ count }} {{ count|plural(\"nouvel avis de passage\", \"nouveaux avis de passage\") }}",
                "type": "Avis de passage enregistr\u{e9}",
            },
        },
    })
}

/// A centre whose digest is defined, from `start` on.
async fn centre(start: &str, script: SmscScript) -> (World, Api) {
    let (world, api) = gateway(start, "", script).await;
    expect(200, api.put("/v1/digests/passage", &mail()).await);
    (world, api)
}

/// Something comes for somebody, or is taken back: how many are pending then, and until when.
async fn comes(api: &Api, to: &str, kind: &str, count: i64) -> (u64, String) {
    let body = json!({"to": to, "kind": kind, "count": count});
    let noted = expect(202, api.post("/v1/digests/passage/events", &body).await);
    let tick = noted["tick"].as_str().unwrap_or_default().to_owned();
    (noted["count"].as_u64().unwrap(), tick)
}

/// What the carrier was given: when, to the second, to whom, and the text.
fn given(world: &World) -> Vec<(String, String, String)> {
    let all = submitted(world).into_iter();
    all.map(|(at, to, text)| (at.to_utc().format("%FT%TZ").to_string(), to, text))
        .collect()
}

/// The messages to somebody, newest first: type, label and text.
async fn history(api: &Api, to: &str) -> Vec<[String; 3]> {
    let path = format!(
        "/v1/messages?to={}",
        to.replace(' ', "").replace('+', "%2B")
    );
    let page = expect(200, api.get(&path).await);
    let word = |message: &Value, name: &str| message[name].as_str().unwrap().to_owned();
    let messages = page["data"].as_array().unwrap().iter();
    messages
        .map(|it| ["type", "label", "text"].map(|name| word(it, name)))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn three_letters_and_two_parcels_of_monday_are_two_messages_on_tuesday_at_19_everywhere() {
    // Monday 5 October 2026: noon in Paris, in Cayenne morning, in Nouméa night.
    let (world, api) = centre("2026-10-05T10:00:00Z", SmscScript::default()).await;
    for (to, tick) in [
        (PARIS, "2026-10-06T17:00:00.000Z"),
        (CAYENNE, "2026-10-06T22:00:00.000Z"),
        (NOUMEA, "2026-10-06T08:00:00.000Z"),
    ] {
        for sum in 1..=3 {
            assert_eq!(comes(&api, to, "courrier", 1).await, (sum, tick.into()));
        }
        assert_eq!(comes(&api, to, "colis", 2).await, (2, tick.into()));
    }
    let letters = "Bonjour, vous avez re\u{e7}u 3 nouveaux courriers";
    let parcels = "Bonjour, vous avez re\u{e7}u 2 nouveaux colis";
    until(&world, "2026-10-06T23:00:00Z").await;
    let mut expected = Vec::new();
    for (at, to) in [
        ("2026-10-06T08:00:00Z", "687751234"),
        ("2026-10-06T17:00:00Z", "33621558492"),
        ("2026-10-06T22:00:00Z", "594694215584"),
    ] {
        for text in [letters, parcels] {
            expected.push((at.to_owned(), to.to_owned(), text.to_owned()));
        }
    }
    let mut all = given(&world);
    all.sort_by_key(|(at, _, text)| (at.clone(), !text.contains("courriers")));
    assert_eq!(all, expected);
    // Nothing more on Thursday.
    until(&world, "2026-10-09T12:00:00Z").await;
    assert_eq!(submitted(&world).len(), 6);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nineteen_hours_stay_nineteen_hours_over_both_changes_of_the_hour() {
    // Thursday evening before summer time ends, Friday before it begins.
    for (start, tick) in [
        ("2026-10-22T18:00:00Z", "2026-10-27T18:00:00.000Z"),
        ("2027-03-26T08:00:00Z", "2027-03-30T17:00:00.000Z"),
    ] {
        let (world, api) = centre(start, SmscScript::default()).await;
        assert_eq!(comes(&api, PARIS, "courrier", 1).await, (1, tick.into()));
        until(&world, tick).await;
        world
            .carrier_until(|ledger| ledger.submitted.len() == 1)
            .await;
        assert_eq!(given(&world)[0].0, tick.replace(".000", ""));
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_running_total_is_told_whatever_came_last_and_was_taken_back() {
    let (world, api) = centre("2026-10-05T08:00:00Z", SmscScript::default()).await;
    // DOMIFA would tell the 1 of the last notice, and what was given out at the desk.
    for (change, sum) in [(3, 3), (4, 7), (-2, 5), (1, 6), (-5, 1)] {
        assert_eq!(comes(&api, PARIS, "courrier", change).await.0, sum);
    }
    assert_eq!(comes(&api, PARIS, "avis", 2).await.0, 2);
    assert_eq!(comes(&api, PARIS, "avis", -2).await, (0, String::new()));
    let below = json!({"to": PARIS, "kind": "avis", "count": -1});
    let below = expect(409, api.post("/v1/digests/passage/events", &below).await);
    assert_eq!(below["code"], "digest_below_zero");
    assert!(
        below["detail"]
            .as_str()
            .unwrap()
            .starts_with("0 are pending")
    );
    // What stands, as the desk sees it.
    let path = "/v1/digests/passage/pending?to=0621558492";
    let pending = expect(200, api.get(path).await);
    let [only] = &pending["data"].as_array().unwrap()[..] else {
        panic!("{pending}");
    };
    assert_eq!(only["count"], 1);
    assert_eq!(only["label"], "En attente");
    assert_eq!(
        only["text"],
        "Bonjour, vous avez re\u{e7}u 1 nouveau courrier"
    );
    until(&world, "2026-10-06T17:00:01Z").await;
    let texts: Vec<_> = given(&world).into_iter().map(|(_, _, text)| text).collect();
    assert_eq!(texts, ["Bonjour, vous avez re\u{e7}u 1 nouveau courrier"]);
    // What has been told cannot be taken back; what comes now is for Thursday.
    let late = json!({"to": PARIS, "kind": "courrier", "count": -1});
    expect(409, api.post("/v1/digests/passage/events", &late).await);
    let thursday = "2026-10-08T17:00:00.000Z".to_owned();
    assert_eq!(comes(&api, PARIS, "courrier", 2).await, (2, thursday));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_at_the_instant_of_the_tick_is_for_the_next_one() {
    let (world, api) = centre("2026-10-06T16:59:00Z", SmscScript::default()).await;
    until(&world, "2026-10-06T16:59:59.900Z").await;
    assert_eq!(
        comes(&api, PARIS, "courrier", 1).await.1,
        "2026-10-06T17:00:00.000Z"
    );
    until(&world, "2026-10-06T17:00:00Z").await;
    assert_eq!(
        comes(&api, PARIS, "courrier", 2).await.1,
        "2026-10-08T17:00:00.000Z"
    );
    until(&world, "2026-10-08T17:00:10Z").await;
    let counts: Vec<_> = given(&world)
        .into_iter()
        .map(|(at, _, text)| (at, text.contains("2 nouveaux")))
        .collect();
    let (tuesday, thursday) = ("2026-10-06T17:00:00Z", "2026-10-08T17:00:00Z");
    assert_eq!(
        counts,
        [(tuesday.to_owned(), false), (thursday.to_owned(), true)]
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_history_shows_the_words_of_the_seed() {
    let ends = [
        ("1", ScriptedState::Delivered),
        ("2", ScriptedState::Expired),
        ("3", ScriptedState::Undeliverable),
        // Switched off: it stays sent, and after 48 hours it is expired.
        ("4", ScriptedState::Enroute),
    ];
    let rule = |(suffix, receipt): (&str, ScriptedState)| Rule {
        suffix: suffix.to_owned(),
        receipt: Some(receipt),
        ..Rule::default()
    };
    let script = SmscScript {
        rules: ends.map(rule).into(),
        receipts: Receipts {
            delay_ms: 5_000,
            ..Receipts::default()
        },
        ..SmscScript::default()
    };
    let (world, api) = centre("2026-10-05T08:00:00Z", script).await;
    let people = [1, 2, 3, 4].map(|n| format!("06 21 55 84 0{n}"));
    for to in &people {
        comes(&api, to, "avis", 2).await;
    }
    let words = async || {
        let mut words = Vec::new();
        for to in &people {
            let lines = history(&api, to).await;
            let [[kind, label, text]] = &lines[..] else {
                panic!("{lines:?}");
            };
            assert_eq!(kind, "Avis de passage enregistr\u{e9}");
            assert_eq!(
                text,
                "Bonjour, vous avez re\u{e7}u 2 nouveaux avis de passage"
            );
            words.push(label.clone());
        }
        words
    };
    let pending = expect(200, api.get("/v1/digests/passage/pending").await);
    for count in pending["data"].as_array().unwrap() {
        assert_eq!(count["label"], "En attente");
    }
    until(&world, "2026-10-06T17:00:02Z").await;
    assert_eq!(words().await, ["Envoy\u{e9}"; 4]);
    until(&world, "2026-10-06T17:00:10Z").await;
    assert_eq!(
        words().await,
        ["Livr\u{e9}", "Expir\u{e9}", "\u{c9}chec", "Envoy\u{e9}"]
    );
    until(&world, "2026-10-08T18:00:00Z").await;
    assert_eq!(words().await[3], "Expir\u{e9}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_centre_switched_off_may_not_tell_is_told_at_the_next_tick_once_it_is_on() {
    let (world, api) = centre("2026-10-05T08:00:00Z", SmscScript::default()).await;
    comes(&api, PARIS, "courrier", 3).await;
    let switch = async |enabled| {
        let settings = Settings {
            enabled,
            ..Settings::default()
        };
        world
            .engine
            .put_settings(&tenant(), &settings)
            .await
            .unwrap();
    };
    switch(false).await;
    let refused = json!({"to": PARIS, "kind": "courrier"});
    let refused = expect(403, api.post("/v1/digests/passage/events", &refused).await);
    assert_eq!(refused["code"], "tenant_disabled");
    until(&world, "2026-10-06T18:00:00Z").await;
    assert_eq!(submitted(&world), []);
    let pending = expect(200, api.get("/v1/digests/passage/pending").await);
    let count = &pending["data"][0];
    assert_eq!(
        (&count["count"], &count["why"]),
        (&json!(3), &json!("tenant_disabled"))
    );
    assert_eq!(count["tick"], "2026-10-08T17:00:00.000Z");
    switch(true).await;
    assert_eq!(comes(&api, PARIS, "courrier", 1).await.0, 4);
    until(&world, "2026-10-08T17:00:01Z").await;
    let all = given(&world);
    let [(when, _, text)] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(when, "2026-10-08T17:00:00Z");
    assert!(text.contains("4 nouveaux courriers"), "{text}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_message_is_that_of_the_seed_with_the_signature_of_the_centre() {
    let (world, api) = centre("2026-10-05T08:00:00Z", SmscScript::default()).await;
    let settings: Settings = serde_json::from_value(json!({
        "signature": {"text": "CCAS", "separator": " "},
        // A centre may be held to texts that its administrator has written: a digest's are.
        "templates_only": true,
    }))
    .unwrap();
    world
        .engine
        .put_settings(&tenant(), &settings)
        .await
        .unwrap();
    comes(&api, PARIS, "courrier", 1).await;
    let preview = "/v1/digests/passage/pending?to=0621558492";
    let preview = expect(200, api.get(preview).await);
    let text = "Bonjour, vous avez re\u{e7}u 1 nouveau courrier CCAS";
    assert_eq!(preview["data"][0]["text"], text);
    until(&world, "2026-10-06T17:00:01Z").await;
    assert_eq!(given(&world)[0].2, text);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_cannot_be_paid_is_carried_over_until_it_can() {
    let (world, api) = centre("2026-10-05T08:00:00Z", SmscScript::default()).await;
    comes(&api, PARIS, "courrier", 3).await;
    let settings: Settings =
        serde_json::from_value(json!({"credit": {"price": "0.2177"}})).unwrap();
    world
        .engine
        .put_settings(&tenant(), &settings)
        .await
        .unwrap();
    until(&world, "2026-10-06T18:00:00Z").await;
    assert_eq!(submitted(&world), []);
    let pending = expect(200, api.get("/v1/digests/passage/pending").await);
    assert_eq!(pending["data"][0]["why"], "insufficient_credit");
    let top_up = json!({"amount": "4.79"});
    let topped_up = api.post("/v1/admin/tenants/default/credit", &top_up).await;
    assert!(topped_up.0 < 300, "{topped_up:?}");
    until(&world, "2026-10-08T17:00:01Z").await;
    assert_eq!(given(&world).len(), 1);
    let credit = expect(200, api.get("/v1/credit").await);
    assert_eq!(credit["sms_left"], 21);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_06_and_07_are_taken_and_the_refusals_are_told_apart() {
    let (world, api) = centre("2026-10-05T08:00:00Z", SmscScript::default()).await;
    let settings = Settings {
        numbers: vec!["FR mobile".to_owned()],
        ..Settings::default()
    };
    world
        .engine
        .put_settings(&tenant(), &settings)
        .await
        .unwrap();
    for (to, code) in [
        ("01 42 68 53 00", "not_mobile"),
        ("09 72 10 10 10", "not_mobile"),
        ("06 21 55 84", "number_invalid"),
        ("bonjour", "number_invalid"),
    ] {
        let body = json!({"to": to, "kind": "courrier"});
        let refused = expect(422, api.post("/v1/digests/passage/events", &body).await);
        assert_eq!(
            (&refused["code"], &refused["errors"][0]["pointer"]),
            (&json!(code), &json!("/to"))
        );
    }
    for to in ["06 21 55 84 92", "07 56 12 34 56"] {
        comes(&api, to, "courrier", 1).await;
    }
    world.stop().await;
}

/// A disk that is cut off after so many writes: the last one may still have reached it.
#[derive(Clone)]
struct Cut {
    disk: Disk,
    left: Arc<AtomicUsize>,
    reaches: Arc<AtomicBool>,
}

impl Cut {
    fn new(disk: &Disk) -> Self {
        Self {
            disk: disk.clone(),
            left: Arc::new(AtomicUsize::new(usize::MAX)),
            reaches: Arc::default(),
        }
    }

    fn after(&self, writes: usize, reaches: bool) {
        self.reaches.store(reaches, Ordering::SeqCst);
        self.left.store(writes, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

impl Kv for Cut {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.disk.get(key)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), KvError> {
        let gone = || Err(KvError("the process is killed".to_owned()));
        match self.left.load(Ordering::SeqCst) {
            0 => gone(),
            1 => {
                self.left.store(0, Ordering::SeqCst);
                if self.reaches.load(Ordering::SeqCst) {
                    self.disk.apply(writes)?;
                }
                gone()
            }
            left => {
                self.left.store(left - 1, Ordering::SeqCst);
                self.disk.apply(writes)
            }
        }
    }

    fn sync(&self) -> Result<(), KvError> {
        self.disk.sync()
    }

    fn scan<'a>(
        &'a self,
        range: (Vec<u8>, Vec<u8>),
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<Pair, KvError>> + 'a> {
        self.disk.scan(range, reverse)
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn blocks(&self) -> bool {
        self.disk.blocks()
    }
}

/// A gateway over what a disk holds.
async fn over(cut: Cut, clock: &Clock) -> World {
    let policy = watch::Sender::new(Arc::new(policy(operator())));
    let keeping = Keeping::all(Duration::from_hours(24 * 365));
    let store = Embedded::start(cut, policy.subscribe(), keeping, clock.now()).unwrap();
    let line = Line::new("carrier", SmscScript::default());
    World::around(Arc::new(store), vec![line], policy, clock.clone()).await
}

/// Notices of some people, of two kinds.
async fn notices(world: &World, people: usize) {
    let digest: Digest = serde_json::from_value(mail()).unwrap();
    let (engine, by) = (&world.engine, By::default());
    engine
        .put_digest(&tenant(), "passage", digest)
        .await
        .unwrap();
    for person in 0..people {
        for (kind, count) in [("courrier", 3), ("colis", 2)] {
            let notified = Notified {
                to: format!("+3362155{person:04}"),
                kind: kind.to_owned(),
                count,
                reference: None,
            };
            let noted = engine.note(&by, "passage", notified, None);
            noted.await.unwrap();
        }
    }
}

/// What everybody was told, and what is pending: two messages each, whatever has happened.
async fn told_once(world: &World, people: usize, case: &str) {
    let query = Query::of(tenant(), 1000);
    let store = &world.engine.store;
    let mut told: Vec<_> = store
        .find(query)
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|message| (message.to.to_string(), message.text))
        .collect();
    told.sort();
    let mut expected: Vec<_> = (0..people)
        .flat_map(|person| {
            ["3 nouveaux courriers", "2 nouveaux colis"].map(|said| {
                let text = format!("Bonjour, vous avez re\u{e7}u {said}");
                (format!("+3362155{person:04}"), text)
            })
        })
        .collect();
    expected.sort();
    assert_eq!(told, expected, "{case}");
    let of = Pending::After(None);
    let pending = store.pending_counts(&tenant(), "passage", of, 100).await;
    assert_eq!(pending.unwrap().items, [], "{case}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_cut_off_at_any_write_around_a_tick_tells_each_count_once() {
    // More than are told in one turn.
    const PEOPLE: usize = 80;
    let mut cuts = 0;
    for reaches in [false, true] {
        for writes in 1.. {
            let case = format!("cut off at write {writes}, which reaches the disk: {reaches}");
            let (disk, clock) = (
                Disk::default(),
                Clock::starting_at(at("2026-10-06T16:59:00Z")),
            );
            let cut = Cut::new(&disk);
            let world = over(cut.clone(), &clock).await;
            notices(&world, PEOPLE).await;
            cut.after(writes, reaches);
            until(&world, "2026-10-06T17:00:30Z").await;
            let was_cut = cut.is_cut();
            world.kill().await;
            let world = over(Cut::new(&disk), &clock).await;
            until(&world, "2026-10-06T17:02:00Z").await;
            told_once(&world, PEOPLE, &case).await;
            world.stop().await;
            if !was_cut {
                break;
            }
            cuts += 1;
        }
    }
    assert!(cuts >= 8, "{cuts}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_killed_at_any_instant_around_a_tick_tells_each_count_once() {
    for millis in (0..12).chain([100, 1_000, 10_000]) {
        let (disk, clock) = (
            Disk::default(),
            Clock::starting_at(at("2026-10-06T16:59:00Z")),
        );
        let world = over(Cut::new(&disk), &clock).await;
        notices(&world, 5).await;
        until(&world, "2026-10-06T16:59:59.990Z").await;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        world.kill().await;
        // It comes back after the tick: what was not told is told at once.
        tokio::time::sleep(Duration::from_hours(2)).await;
        let world = over(Cut::new(&disk), &clock).await;
        until(&world, "2026-10-06T19:05:00Z").await;
        told_once(&world, 5, &format!("killed after {millis} ms")).await;
        world.stop().await;
    }
}
