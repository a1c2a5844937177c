//! A club writes to its members: by its own app, else by e-mail, else by SMS, in whatever order it wants,
//! and always by one of them alone. Its app and its mail server are real ones, on sockets of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use relais::clock::Clock;
use relais::config;
use relais::domain::privacy::Keeping;
use relais::sim::smsc::{Ledger, Rule, ScriptedState, SmscHandle, SmscScript};
use relais::store::embedded::Embedded;
use relais::store::kv::{Kv, KvError, Pair, Write};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::api::Api;
use super::support::{Disk, Line, World, tenant};
use super::{at, expect, gateway};

const START: &str = "2026-10-05T10:00:00Z";

/// Counts the moments at which something has come in or gone out.
#[derive(Clone)]
struct Moments(watch::Sender<usize>);

impl Default for Moments {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Moments {
    fn pass(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    /// The same, and whoever waits for it goes first.
    async fn rest(&self) {
        self.pass();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }
}

/// One post to the club's app.
#[derive(Clone, Debug)]
struct Asked {
    headers: BTreeMap<String, String>,
    body: Value,
    raw: Bytes,
}

/// The club's app. What it answers stands in the message's metadata, one answer a try, the last for ever:
/// an outcome, a status, or `hang`.
#[derive(Clone, Default)]
struct App {
    asked: Arc<Mutex<Vec<Asked>>>,
    /// The ids of what it has shown to a member.
    shown: Arc<Mutex<BTreeSet<String>>>,
    moments: Moments,
}

impl App {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/push", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/push", axum::routing::post(push))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    fn asked(&self, id: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        let mine = asked.iter().filter(|it| it.body["id"] == id);
        mine.cloned().collect()
    }

    fn shown(&self, id: &str) -> usize {
        let shown = self.shown.lock().unwrap();
        shown.iter().filter(|it| it.starts_with(id)).count()
    }
}

async fn push(State(app): State<App>, headers: HeaderMap, raw: Bytes) -> (StatusCode, String) {
    let body: Value = serde_json::from_slice(&raw).unwrap();
    let headers: BTreeMap<_, _> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let id = body["id"].as_str().unwrap().to_owned();
    let answers = body["metadata"]["app"].as_array().cloned().unwrap();
    let tries = app.asked(&id).len();
    let answer = answers.get(tries).or(answers.last()).unwrap();
    let answer = answer.as_str().unwrap().to_owned();
    let known = headers["webhook-id"].clone();
    app.asked.lock().unwrap().push(Asked { headers, body, raw });
    if answer == "hang" {
        std::future::pending::<()>().await;
    }
    if let Ok(status) = answer.parse::<u16>() {
        return (StatusCode::from_u16(status).unwrap(), String::new());
    }
    if answer == "delivered" {
        app.shown.lock().unwrap().insert(known);
    }
    app.moments.rest().await;
    (StatusCode::OK, json!({"outcome": answer}).to_string())
}

/// The club's mail server. It refuses who begins with `refuse`, and loses its answer to the text for
/// who begins with `lost`.
#[derive(Clone, Default)]
struct Post {
    mails: Arc<Mutex<Vec<(String, String)>>>,
    moments: Moments,
}

impl Post {
    async fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let post = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let post = post.clone();
                // Virtual time stands while a blocking task lives: a client that does not push its last line
                // out at once waits for an acknowledgement, in the time of the machine.
                let (talks, over) = std::sync::mpsc::channel::<()>();
                tokio::task::spawn_blocking(move || over.recv());
                tokio::spawn(async move {
                    post.serve(stream).await;
                    drop(talks);
                });
            }
        });
        port
    }

    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let mut to = String::new();
        writer.write_all(b"220 club\r\n").await.ok()?;
        while let Some(line) = lines.next_line().await.ok()? {
            self.moments.rest().await;
            let answer: &[u8] = match line.get(..4)? {
                "EHLO" => b"250-club\r\n250 8BITMIME\r\n",
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1)?.to_owned();
                    if to.starts_with("refuse") {
                        b"550 5.1.1 no such member\r\n"
                    } else {
                        b"250 ok\r\n"
                    }
                }
                "DATA" => {
                    writer.write_all(b"354 go on\r\n").await.ok()?;
                    let mut text = String::new();
                    loop {
                        let line = lines.next_line().await.ok()??;
                        if line == "." {
                            break;
                        }
                        text.push_str(&line);
                        text.push('\n');
                    }
                    self.mails.lock().unwrap().push((to.clone(), text));
                    self.moments.rest().await;
                    if to.starts_with("lost") {
                        return None;
                    }
                    b"250 taken\r\n"
                }
                "QUIT" => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            };
            writer.write_all(answer).await.ok()?;
        }
        None
    }

    fn mails(&self, to: &str) -> Vec<String> {
        let mails = self.mails.lock().unwrap();
        let mine = mails.iter().filter(|(known, _)| known == to);
        mine.map(|(_, text)| text.clone()).collect()
    }
}

/// A carrier that cannot deliver to numbers that end in 0, says nothing of those in 9, and that those
/// in 8 were not reached in time.
fn carrier() -> SmscScript {
    let rule = |suffix: &str, receipt| Rule {
        suffix: suffix.to_owned(),
        receipt: Some(receipt),
        ..Rule::default()
    };
    SmscScript {
        rules: vec![
            rule("0", ScriptedState::Undeliverable),
            rule("9", ScriptedState::None),
            rule("8", ScriptedState::Expired),
        ],
        ..SmscScript::default()
    }
}

fn rules(port: u16) -> String {
    format!(
        "[webhooks]\nallow = [\"127.0.0.1/32\"]\n[email]\nhost = \"127.0.0.1\"\nport = {port}\n\
         tls = \"none\"\nfrom = \"Club <club@example.org>\"\n"
    )
}

struct Club {
    world: World,
    api: Api,
    app: App,
    url: String,
    post: Post,
}

impl Club {
    async fn open() -> Self {
        let (app, post) = (App::default(), Post::default());
        let (url, port) = (app.start().await, post.start().await);
        let (world, api) = gateway(START, &rules(port), carrier()).await;
        Self {
            world,
            api,
            app,
            url,
            post,
        }
    }

    /// Posts a message; its app answers `app`.
    async fn send(&self, to: &str, app: &[&str], fallback: Value) -> String {
        let body = json!({
            "to": to, "text": "Le cours de 18 h est annulé.", "metadata": {"app": app},
            "fallback": fallback,
        });
        let message = expect(202, self.api.post("/v1/messages", &body).await);
        message["id"].as_str().unwrap().to_owned()
    }

    async fn message(&self, id: &str) -> Value {
        expect(200, self.api.get(&format!("/v1/messages/{id}")).await)
    }

    /// The message once it is over.
    async fn end(&self, id: &str) -> Value {
        let mut changes = self.world.engine.listen();
        let over = async {
            loop {
                let message = self.message(id).await;
                if !["pending", "sent"].contains(&message["status"].as_str().unwrap()) {
                    return message;
                }
                let _ = changes.recv().await;
            }
        };
        tokio::time::timeout(Duration::from_hours(24 * 30), over)
            .await
            .unwrap()
    }

    fn app_step(&self) -> Value {
        json!({"channel": "app", "url": self.url, "deadline": "10m"})
    }

    /// How many SMS the carrier has put on the handset of this number.
    fn received(&self, to: &str) -> usize {
        received(&self.world.carrier, to)
    }
}

fn received(carrier: &SmscHandle, to: &str) -> usize {
    let reached = !to.ends_with(['0', '8', '9']);
    let taken = |ledger: &Ledger| {
        let mine = ledger
            .taken()
            .filter(|it| to.ends_with(&it.destination.text));
        mine.count()
    };
    if reached { carrier.ledger(taken) } else { 0 }
}

fn column(message: &Value, name: &str) -> Vec<String> {
    let steps = message["steps"].as_array().unwrap();
    let words = steps
        .iter()
        .map(|step| step[name].as_str().unwrap_or("-").to_owned());
    words.collect()
}

fn email_to(to: &str) -> Value {
    json!({"channel": "email", "to": to, "subject": "Cours annulé"})
}

#[tokio::test(start_paused = true)]
async fn in_each_of_the_six_orders_exactly_one_channel_delivers_whichever_of_them_fail() {
    let club = Club::open().await;
    let orders = [
        ["app", "email", "sms"],
        ["app", "sms", "email"],
        ["email", "app", "sms"],
        ["email", "sms", "app"],
        ["sms", "app", "email"],
        ["sms", "email", "app"],
    ];
    let mut sent = Vec::new();
    for (row, order) in orders.iter().enumerate() {
        for failing in 0..=3 {
            let fails = |channel: &str| order[..failing].contains(&channel);
            let last = if fails("sms") { 0 } else { 1 };
            let to = format!("+336215{row}{failing}11{last}");
            let mailbox = if fails("email") { "refuse" } else { "member" };
            let mailbox = format!("{mailbox}.{row}.{failing}@example.org");
            let steps: Vec<_> = order
                .iter()
                .map(|channel| match *channel {
                    "app" => club.app_step(),
                    "email" => email_to(&mailbox),
                    _ => json!({"channel": "sms", "deadline": "4h"}),
                })
                .collect();
            let app = if fails("app") {
                "undeliverable"
            } else {
                "delivered"
            };
            let id = club.send(&to, &[app], Value::from(steps)).await;
            sent.push((id, order, failing, to, mailbox));
        }
    }
    for (id, order, failing, to, mailbox) in sent {
        let message = club.end(&id).await;
        let delivered = order.get(failing);
        let told = [
            ("app", club.app.shown(&id)),
            ("email", club.post.mails(&mailbox).len()),
            ("sms", club.received(&to)),
        ];
        for (channel, count) in told {
            let wanted = usize::from(delivered == Some(&channel));
            assert_eq!(
                count, wanted,
                "{channel} of {order:?} after {failing}: {message:#}"
            );
        }
        let status = if delivered.is_some() {
            "delivered"
        } else {
            "failed"
        };
        assert_eq!(message["status"], status, "{message:#}");
        assert_eq!(message["delivered_by"].as_str(), delivered.copied());
        assert_eq!(message["maybe_duplicate"], Value::Null);
        assert_eq!(column(&message, "channel"), order);
        let words: Vec<_> = (0..3)
            .map(|step| match step {
                step if step < failing => "failed",
                step if step == failing => "succeeded",
                _ => "needless",
            })
            .collect();
        assert_eq!(column(&message, "status"), words);
    }
    club.world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_without_app_gets_an_email_and_one_without_address_an_sms() {
    let club = Club::open().await;
    let no_app = json!({"channel": "webhook", "url": null});
    let steps = json!([no_app, email_to("zoe@example.org"), {"channel": "sms"}]);
    let id = club.send("06 21 55 84 92", &[], steps).await;
    let message = club.end(&id).await;
    assert_eq!(message["delivered_by"], "email");
    assert_eq!(column(&message, "outcome"), ["no_address", "-", "-"]);
    let mails = club.post.mails("zoe@example.org");
    let [mail] = &mails[..] else {
        panic!("{mails:?}")
    };
    for line in [
        "From: Club <club@example.org>",
        "To: zoe@example.org",
        "Subject: Cours =?utf-8?b?YW5udWzDqQ==?=",
        "Auto-Submitted: auto-generated",
        "Content-Type: text/plain; charset=utf-8",
        &format!("Message-ID: <{id}.1@example.org>"),
        "Date: Mon, 05 Oct 2026 10:00:0",
        "Le cours de 18 h est annul=C3=A9.",
    ] {
        assert!(mail.contains(line), "{line} is not in\n{mail}");
    }
    let steps = json!([no_app, {"channel": "email", "to": null}, {"channel": "sms"}]);
    let id = club.send("06 21 55 84 93", &[], steps).await;
    let message = club.end(&id).await;
    assert_eq!(message["delivered_by"], "sms");
    assert_eq!(
        column(&message, "outcome"),
        ["no_address", "no_address", "-"]
    );
    assert_eq!(club.received("+33621558493"), 1);
    // Where the SMS is not named it goes first.
    let id = club
        .send("06 21 55 84 90", &["delivered"], json!([club.app_step()]))
        .await;
    let message = club.end(&id).await;
    assert_eq!(column(&message, "channel"), ["sms", "app"]);
    assert_eq!(message["delivered_by"], "app");
    club.world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_app_is_asked_under_one_id_and_can_trust_what_it_reads() {
    let club = Club::open().await;
    let steps = json!([club.app_step(), {"channel": "sms"}]);
    let answers = ["500", "503", "retry", "delivered"];
    let id = club.send("06 21 55 84 92", &answers, steps).await;
    let message = club.end(&id).await;
    assert_eq!(
        (&message["status"], &message["delivered_by"]),
        (&json!("delivered"), &json!("app"))
    );
    let asked = club.app.asked(&id);
    assert_eq!(asked.len(), 4);
    let secret = club.world.engine.tenant_secret(&tenant());
    let key = base64::engine::general_purpose::STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    for it in &asked {
        assert_eq!(it.headers["webhook-id"], format!("{id}-step-0"));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        let said = format!("{id}-step-0.{}.", it.headers["webhook-timestamp"]);
        mac.update(said.as_bytes());
        mac.update(&it.raw);
        let signed = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(it.headers["webhook-signature"], format!("v1,{signed}"));
        assert_eq!(it.body["to"], "+33621558492");
        assert_eq!(it.body["text"], "Le cours de 18 h est annulé.");
        assert_eq!(it.body["step"], 0);
        assert_eq!(it.body["deadline"], "2026-10-05T10:10:00.000Z");
    }
    assert_eq!(club.received("+33621558492"), 0);
    club.world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_not_reached_is_left_at_its_deadline_and_the_sms_ends_with_its_own() {
    let post = Post::default();
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let (world, api) = gateway(START, &rules(port), carrier()).await;
    let gone = format!("http://127.0.0.1:{port}/push");
    let club = Club {
        world,
        api,
        app: App::default(),
        url: gone,
        post,
    };
    let steps = json!([
        {"channel": "app", "url": club.url, "deadline": "5m"},
        {"channel": "email", "to": "zoe@example.org", "deadline": "30m"},
        {"channel": "sms", "deadline": "2h"},
    ]);
    let id = club.send("06 21 55 84 92", &[], steps).await;
    let message = club.end(&id).await;
    assert_eq!(message["delivered_by"], "sms");
    assert_eq!(column(&message, "outcome"), ["timed_out", "timed_out", "-"]);
    let began = column(&message, "began_at");
    assert_eq!(began[0], "2026-10-05T10:00:00.000Z");
    // Deadlines are kept to the minute.
    assert!(began[1].starts_with("2026-10-05T10:0"), "{began:?}");
    assert!(began[2].starts_with("2026-10-05T10:3"), "{began:?}");
    let validity = club
        .world
        .carrier
        .ledger(|ledger| ledger.submitted[0].validity.clone());
    assert_eq!(validity, "000000020000000R");
    // The mail server's state is there to be seen, and then everybody uses it again.
    let (_, channels) = club.api.get("/v1/channels").await;
    assert!(channels.to_string().contains("\"email\""), "{channels}");
    club.world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_tell_no_other_channel_is_tried() {
    let club = Club::open().await;
    // An SMS without a receipt.
    let steps = json!([{"channel": "sms", "deadline": "1h"}, club.app_step()]);
    let silent = club.send("06 21 55 84 99", &["delivered"], steps).await;
    // An e-mail whose answer was lost.
    let steps = json!([email_to("lost@example.org"), {"channel": "sms"}]);
    let lost = club.send("06 21 55 84 92", &[], steps).await;
    // An app that fails, or hangs, until its deadline.
    let steps = json!([club.app_step(), {"channel": "sms"}]);
    let fails = club.send("06 21 55 84 93", &["500"], steps.clone()).await;
    let hangs = club.send("06 21 55 84 94", &["hang"], steps).await;
    for (id, status, reason) in [
        (&silent, "expired", "no_receipt"),
        (&lost, "failed", "in_doubt"),
        (&fails, "expired", "validity_passed"),
        (&hangs, "expired", "validity_passed"),
    ] {
        let message = club.end(id).await;
        assert_eq!(
            (&message["status"], &message["reason"]),
            (&json!(status), &json!(reason))
        );
        assert_eq!(
            column(&message, "status"),
            ["in_doubt", "needless"],
            "{message:#}"
        );
        assert_eq!(message["delivered_by"], Value::Null);
    }
    assert_eq!(club.app.asked(&silent).len(), 0);
    assert_eq!(club.post.mails("lost@example.org").len(), 1);
    for to in ["+33621558492", "+33621558493", "+33621558494"] {
        assert_eq!(club.received(to), 0);
    }
    // The receipt that the carrier says: not in time. That is certain.
    let steps = json!([{"channel": "sms", "deadline": "1h"}, club.app_step()]);
    let late = club.send("06 21 55 84 98", &["delivered"], steps).await;
    let message = club.end(&late).await;
    assert_eq!(message["delivered_by"], "app");
    assert_eq!(column(&message, "outcome"), ["timed_out", "-"]);
    club.world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_app_that_has_accepted_tells_the_outcome_later() {
    let club = Club::open().await;
    let steps = json!([club.app_step(), email_to("zoe@example.org"), {"channel": "sms"}]);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(
            club.send("06 21 55 84 92", &["accepted"], steps.clone())
                .await,
        );
    }
    for id in &ids {
        while club.message(id).await["status"] != "sent" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let path = |id: &str| format!("/v1/messages/{id}/outcome");
    let tell = |step: u32, outcome: &str| json!({"step": step, "outcome": outcome});
    let message = expect(
        200,
        club.api.post(&path(&ids[0]), &tell(0, "delivered")).await,
    );
    assert_eq!(
        (&message["status"], &message["delivered_by"]),
        (&json!("delivered"), &json!("app"))
    );
    // Said twice, it is heard once.
    let again = expect(
        200,
        club.api.post(&path(&ids[0]), &tell(0, "delivered")).await,
    );
    assert_eq!(again["revision"], message["revision"]);
    let message = expect(
        200,
        club.api.post(&path(&ids[1]), &tell(0, "no_address")).await,
    );
    assert_eq!(message["status"], "pending");
    let message = club.end(&ids[1]).await;
    assert_eq!(message["delivered_by"], "email");
    assert_eq!(column(&message, "outcome"), ["no_address", "-", "-"]);
    // Nobody says anything: nobody can tell.
    let message = club.end(&ids[2]).await;
    assert_eq!(
        (&message["status"], &message["reason"]),
        (&json!("expired"), &json!("no_receipt"))
    );
    assert_eq!(club.post.mails("zoe@example.org").len(), 1);

    let problem = expect(
        422,
        club.api.post(&path(&ids[2]), &tell(1, "delivered")).await,
    );
    assert_eq!(problem["errors"][0]["code"], "step_not_an_app");
    let problem = expect(
        422,
        club.api
            .post(&path(&ids[2]), &json!({"step": -1, "x": 1}))
            .await,
    );
    assert_eq!(problem["errors"].as_array().unwrap().len(), 3, "{problem}");
    let unknown = "0199b2b5-0000-7000-8000-000000000000";
    expect(
        404,
        club.api.post(&path(unknown), &tell(0, "delivered")).await,
    );
    let later = json!({
        "to": "06 21 55 84 92", "text": "demain", "send_at": "2026-12-01T10:00:00Z",
        "fallback": [club.app_step()],
    });
    let message = expect(202, club.api.post("/v1/messages", &later).await);
    let id = message["id"].as_str().unwrap();
    let problem = expect(409, club.api.post(&path(id), &tell(1, "delivered")).await);
    assert_eq!(problem["code"], "step_not_begun");
    club.world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_way_is_told() {
    let club = Club::open().await;
    let email = |more: Value| {
        let mut step = email_to("zoe@example.org");
        step.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!([step])
    };
    for (fallback, code) in [
        (json!("sms"), "wrong_type"),
        (json!([{"channel": "letter"}]), "unknown_value"),
        (
            json!([{"channel": "sms"}, {"channel": "sms"}]),
            "fallback_sms_twice",
        ),
        (
            json!(vec![json!({"channel": "app", "url": null}); 8]),
            "fallback_too_long",
        ),
        (
            json!([{"channel": "app", "url": "http://10.0.0.1/"}]),
            "fallback_url_refused",
        ),
        (
            json!([{"channel": "app", "url": "mailto:a@b"}]),
            "fallback_url_refused",
        ),
        (
            json!([{"channel": "sms", "deadline": "10s"}]),
            "fallback_deadline_out_of_range",
        ),
        (
            json!([{"channel": "sms", "deadline": "0s"}]),
            "fallback_deadline_out_of_range",
        ),
        (
            email(json!({"success_on": "delivered"})),
            "fallback_email_not_reported",
        ),
        (email(json!({"to": "zoe"})), "fallback_email_invalid"),
        (
            email(json!({"to": "zoe@example.org\r\nBcc: a@example.org"})),
            "fallback_email_invalid",
        ),
        (
            email(json!({"subject": "x\r\nBcc: a@example.org"})),
            "fallback_subject_invalid",
        ),
        (
            email(json!({"subject": "x".repeat(201)})),
            "fallback_subject_invalid",
        ),
    ] {
        let body = json!({"to": "06 21 55 84 92", "text": "x", "fallback": fallback});
        let problem = expect(422, club.api.post("/v1/messages", &body).await);
        assert_eq!(problem["errors"][0]["code"], code, "{problem:#}");
        assert_eq!(problem["errors"][0]["pointer"], "/fallback");
    }
    club.world.stop().await;
    let (world, api) = gateway(START, "", SmscScript::default()).await;
    let body = json!({"to": "06 21 55 84 92", "text": "x", "fallback": email(json!({}))});
    let problem = expect(422, api.post("/v1/messages", &body).await);
    assert_eq!(
        problem["errors"][0]["code"],
        "fallback_email_not_configured"
    );
    world.stop().await;
}

/// A disk that tells of each writing.
#[derive(Clone)]
struct Counted(Disk, Moments);

impl Kv for Counted {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(key)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), KvError> {
        self.1.pass();
        self.0.apply(writes)
    }

    fn sync(&self) -> Result<(), KvError> {
        self.0.sync()
    }

    fn scan<'a>(
        &'a self,
        range: (Vec<u8>, Vec<u8>),
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<Pair, KvError>> + 'a> {
        self.0.scan(range, reverse)
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn blocks(&self) -> bool {
        self.0.blocks()
    }
}

async fn life(disk: &Counted, rules: &str, clock: &Clock) -> (World, Api) {
    let text = format!(
        "{rules}\n[smpp.carrier]\nhost = \"127.0.0.1\"\nsystem_id = \"me\"\npassword = \"secret\"\n"
    );
    let policy = config::parse(&text, "relais.toml").unwrap().policy;
    let (policy, known) = watch::channel(Arc::new(policy));
    let store = Embedded::start(disk.clone(), known, Keeping::default(), clock.now()).unwrap();
    let slow = SmscScript {
        response_delay_ms: 500,
        ..carrier()
    };
    let lines = vec![Line::new("carrier", slow)];
    let world = World::around(Arc::new(store), lines, policy, clock.clone()).await;
    let api = Api::of(&world.engine).await;
    (world, api)
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_killed_at_any_point_never_delivers_twice() {
    // The app cannot, the mailbox does not exist, the carrier reports the SMS; and the other way about.
    let ways = [
        (
            ["app", "email", "sms"],
            "undeliverable",
            "refuse@example.org",
            "+33621558491",
        ),
        (
            ["sms", "email", "app"],
            "delivered",
            "refuse@example.org",
            "+33621558490",
        ),
        (
            ["sms", "app", "email"],
            "no_address",
            "zoe@example.org",
            "+33621558490",
        ),
    ];
    for (order, answer, mailbox, to) in ways {
        let (mut whole, mut doubtful) = (0, 0);
        for killed_at in 0.. {
            let (mut app, mut post, moments) =
                (App::default(), Post::default(), Moments::default());
            (app.moments, post.moments) = (moments.clone(), moments.clone());
            let (url, port) = (app.start().await, post.start().await);
            let disk = Counted(Disk::default(), moments.clone());
            let clock = Clock::starting_at(at(START));
            let (world, api) = life(&disk, &rules(port), &clock).await;
            let begun = *moments.0.borrow();
            let steps: Vec<_> = order
                .iter()
                .map(|channel| match *channel {
                    "app" => json!({"channel": "app", "url": url}),
                    "email" => email_to(mailbox),
                    _ => json!({"channel": "sms", "deadline": "4h"}),
                })
                .collect();
            let body = json!({
                "to": to, "text": "Le cours est annulé.", "metadata": {"app": [answer]},
                "fallback": steps,
            });
            let message = expect(202, api.post("/v1/messages", &body).await);
            let id = message["id"].as_str().unwrap().to_owned();
            let mut count = moments.0.subscribe();
            let killed = async {
                // First of all when the carrier has the SMS, and its answer is on the way.
                if killed_at == 0 {
                    world
                        .carrier
                        .wait_for(|ledger| ledger.submitted_total > 0)
                        .await;
                    return;
                }
                count
                    .wait_for(|count| *count >= begun + killed_at)
                    .await
                    .unwrap();
            };
            let over = tokio::time::timeout(Duration::from_hours(24), killed)
                .await
                .is_err();
            let first = world.kill().await;
            let (world, api) = life(&disk, &rules(port), &clock).await;
            let path = format!("/v1/messages/{id}");
            let ended = async {
                loop {
                    let message = expect(200, api.get(&path).await);
                    if !["pending", "sent"].contains(&message["status"].as_str().unwrap()) {
                        return message;
                    }
                    tokio::time::sleep(Duration::from_secs(20)).await;
                }
            };
            let message = tokio::time::timeout(Duration::from_hours(48), ended)
                .await
                .unwrap();
            let carriers = [first[0].clone(), world.carrier.clone()];
            let received: usize = carriers.iter().map(|it| received(it, to)).sum();
            let reached = [
                app.shown(&id) > 0,
                !post.mails(mailbox).is_empty() && mailbox.starts_with("zoe"),
                received > 0,
            ];
            let count = reached.iter().filter(|it| **it).count();
            assert!(
                count <= 1,
                "{order:?} killed at {killed_at}: {reached:?} {message:#}"
            );
            if message["status"] == "delivered" {
                assert_eq!(count, 1, "{order:?} killed at {killed_at}: {message:#}");
                whole += 1;
            } else {
                // Ended where nobody could tell, and nowhere else.
                let words = column(&message, "status");
                assert!(
                    words.contains(&"in_doubt".to_owned()),
                    "killed at {killed_at}: {message:#}"
                );
                doubtful += 1;
            }
            world.stop().await;
            if over && killed_at > 0 {
                break;
            }
        }
        assert!(whole >= 4, "{order:?}: {whole} whole, {doubtful} in doubt");
    }
}
