//! Whose a number is: a table, then a service on loopback, then the prefix; and what a service that is
//! slow, down or wrong costs, which is a message's delay of one time-out at most.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relais::config;
use relais::config::diff::Diff;
use relais::domain::policy::Policy;
use relais::domain::status::Status;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{Api, SECOND, configured, rules, taking, text_of, to, world};
use crate::support::World;

const OPERATORS: &str = "\
[operators.orange]
prefixes = [\"+33607\"]
[operators.sfr]
prefixes = [\"+33610\"]
route = [\"b\"]
[operators.default]
route = [\"a\"]
";
const START: &str = "2027-01-12T10:00:00Z";

/// What the service does with a request.
#[derive(Clone, Debug)]
enum Reply {
    /// This status and body, after so many milliseconds.
    Says(u16, String, u64),
    /// Nothing, for ever.
    Hangs,
    /// Closes the connection.
    Closes,
}

/// A look-up service.
struct Service {
    address: SocketAddr,
    state: Arc<Mutex<Doing>>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

#[derive(Debug)]
struct Doing {
    /// What is done next, and from the last on for ever.
    replies: VecDeque<Reply>,
    /// The paths that were asked for.
    asked: Vec<String>,
    now: usize,
    most_at_once: usize,
}

impl Service {
    async fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Doing {
            replies: replies.into_iter().collect(),
            asked: Vec::new(),
            now: 0,
            most_at_once: 0,
        }));
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, shared.clone()));
            }
        });
        // Time that is paused jumps to the next timer as soon as nothing runs, even while octets are on
        // their way through the kernel. With a timer at every millisecond the jumps are short.
        let ticking = tokio::spawn(async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let tasks = [serving, ticking].map(AbortOnDropHandle::new);
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    async fn saying(body: &str) -> Self {
        Self::new([Reply::Says(200, body.to_owned(), 0)]).await
    }

    fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    fn now_replies(&self, reply: Reply) {
        self.state.lock().unwrap().replies = [reply].into();
    }

    /// The rules with this service, and these keys besides.
    fn rules(&self, more: &str) -> Policy {
        let url = format!("http://{}/mnp/{{number}}?key=k", self.address);
        rules(
            &["a", "b"],
            &format!("{OPERATORS}[portability]\nurl = \"{url}\"\n{more}"),
        )
    }

    async fn world(&self, more: &str) -> World {
        let carriers = vec![("a", taking()), ("b", taking())];
        world(START, self.rules(more), carriers).await
    }
}

async fn answer(mut stream: tokio::net::TcpStream, state: Arc<Mutex<Doing>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        if stream.read(&mut octet).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(octet[0]);
    }
    let reply = {
        let mut doing = state.lock().unwrap();
        let path = String::from_utf8_lossy(&head)
            .split(' ')
            .nth(1)
            .unwrap()
            .to_owned();
        doing.asked.push(path);
        doing.now += 1;
        doing.most_at_once = doing.most_at_once.max(doing.now);
        if doing.replies.len() > 1 {
            doing.replies.pop_front().unwrap()
        } else {
            doing.replies[0].clone()
        }
    };
    match reply {
        Reply::Says(status, body, after) => {
            tokio::time::sleep(Duration::from_millis(after)).await;
            let elsewhere = if status == 302 {
                "location: http://127.0.0.1:1/\r\n"
            } else {
                ""
            };
            let text = format!(
                "HTTP/1.1 {status} X\r\n{elsewhere}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Reply::Hangs => {
            let mut rest = [0];
            let _ = stream.read(&mut rest).await;
        }
        Reply::Closes => {}
    }
    state.lock().unwrap().now -= 1;
}

/// The operator that a number's message would fall under, and how long it took to know.
async fn operator(world: &World, number: &str) -> (String, Duration) {
    let began = world.clock.now();
    let checked = world.engine.check(to(number)).await.unwrap();
    (
        checked.operator.name.to_string(),
        world.clock.now().since(began),
    )
}

fn counted(world: &World, result: &str) -> u64 {
    let wanted = format!("relais_portability_lookups_total{{result=\"{result}\"}} ");
    let metrics = world.engine.metrics.render();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(wanted.as_str()));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_table_answers_before_the_prefix_and_its_longest_entry_counts() {
    let folder = tempfile::tempdir().unwrap();
    let table = "# From our carrier.\nnumber,operator\n# Ported.\n+33607000001,SFR\n33607000002 , 20810\n\"33610\",orange\n\n33610000009,sfr\n";
    std::fs::write(folder.path().join("ported.csv"), table).unwrap();
    let rest = format!(
        "{OPERATORS}[portability]\ncsv = \"ported.csv\"\n[portability.codes]\n\"20810\" = \"sfr\"\n"
    );
    let config = configured(&["a", "b"], &rest, folder.path());
    let shown = config.effective();
    assert!(
        shown.contains("portability   a table of 4 numbers and prefixes, then the prefix\n"),
        "{shown}"
    );
    let carriers = vec![("a", taking()), ("b", taking())];
    let world = world(START, config.policy, carriers).await;
    for (number, name) in [
        ("+33607000001", "sfr"),
        ("+33607000002", "sfr"),
        ("+33607000003", "orange"),
        ("+33610000001", "orange"),
        ("+33610000009", "sfr"),
        ("+33651000000", "default"),
    ] {
        assert_eq!(
            operator(&world, number).await,
            (name.to_owned(), Duration::ZERO),
            "{number}"
        );
    }
    assert_eq!(counted(&world, "table"), 4);
    // What is looked up is the lane that it takes.
    let id = world.send("+33607000001", "bonjour").await;
    world.until(id, Status::Delivered).await;
    assert_eq!(world.message(id).await.lane.operator.as_str(), "sfr");
    assert_eq!(world.carriers[1].ledger(|ledger| ledger.submitted_total), 1);
    world.stop().await;
}

#[test]
fn what_is_wrong_with_a_table_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let told = |table: &str| {
        std::fs::write(folder.path().join("t.csv"), table).unwrap();
        let rest = format!("{OPERATORS}[portability]\ncsv = \"t.csv\"\n");
        let source = folder.path().join("r.toml").display().to_string();
        let errors = config::parse(&text_of(&["a", "b"], &rest), &source).unwrap_err();
        let folder = format!("{}/", folder.path().display());
        let told = errors
            .0
            .iter()
            .map(|error| error.to_string().replace(&folder, ""));
        told.collect::<Vec<_>>()
    };
    assert_eq!(
        told("33607000001,orange\n# x\n33607000002,nobody\n0607,sfr\n33607000003\n"),
        [
            "r.toml:17: portability.csv: t.csv:3: there is no operator \"nobody\", nor a code in [portability.codes]",
            "r.toml:17: portability.csv: t.csv:4: number_or_prefix,operator is expected, the number in digits with its country code",
            "r.toml:17: portability.csv: t.csv:5: there is no operator \"\", nor a code in [portability.codes]",
        ]
    );
    assert_eq!(
        told("33607,orange\n33610,sfr\n+33607,sfr\n"),
        ["r.toml:17: portability.csv: t.csv:3: line 1 says something else of this number"]
    );
    let many = told(&"x1,orange\n".repeat(1000));
    assert_eq!(many.len(), 21);
    assert_eq!(
        many[20],
        "r.toml:17: portability.csv: t.csv: there is more like this"
    );
    std::fs::remove_file(folder.path().join("t.csv")).unwrap();
}

#[test]
fn another_table_in_the_same_file_is_a_change_and_the_address_of_a_service_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let with = |table: &str, key: &str| {
        std::fs::write(folder.path().join("t.csv"), table).unwrap();
        let url = format!("https://mnp.example/{{number}}?key={key}");
        let rest = format!("{OPERATORS}[portability]\ncsv = \"t.csv\"\nurl = \"{url}\"\n");
        configured(&["a", "b"], &rest, folder.path())
    };
    let diff = Diff::between(
        &with("33607,sfr\n", "hush"),
        &with("33607,orange\n", "hushed"),
    );
    let changed: Vec<_> = diff
        .changes
        .iter()
        .map(|change| change.key.as_str())
        .collect();
    assert_eq!(changed, ["portability.csv", "portability.url"]);
    let told = format!("{:?}", diff.changes);
    assert!(
        told.contains("(1 entries, ") && !told.contains("hush"),
        "{told}"
    );
}

#[test]
fn a_table_takes_eight_octets_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::with_capacity(4 << 20);
    for n in 0..200_000_u32 {
        let operator = if n % 3 == 0 { "sfr" } else { "orange" };
        table.push_str(&format!("33651{n:06},{operator}\n"));
    }
    std::fs::write(folder.path().join("t.csv"), table).unwrap();
    let rest = format!("{OPERATORS}[portability]\ncsv = \"t.csv\"\n");
    let config = configured(&["a", "b"], &rest, folder.path());
    let table = config.policy.portability.table.unwrap();
    assert_eq!((table.len(), table.octets()), (200_000, 1_600_000));
}

#[tokio::test(start_paused = true)]
async fn a_service_answers_before_the_prefix_and_is_asked_once_while_its_answer_is_believed() {
    let service = Service::saying(r#"{"result": {"mccmnc": 20810}}"#).await;
    let world = service
        .world("answer = \"/result/mccmnc\"\nkeep = \"20s\"\nprefixes = [\"+33\"]\ntimeout = \"2s\"\n[portability.codes]\n20810 = \"sfr\"\n[guard]\ncountries = [\"*\"]\n")
        .await;
    for _ in 0..3 {
        assert_eq!(operator(&world, "+33607000001").await.0, "sfr");
    }
    assert_eq!(service.asked(), ["/mnp/33607000001?key=k"]);
    assert_eq!(
        (counted(&world, "found"), counted(&world, "cached")),
        (1, 2)
    );
    assert_eq!(
        operator(&world, "+447700900123").await.0,
        "default",
        "not its number"
    );
    assert_eq!(service.asked().len(), 1);
    // Rules that say the same of the service keep its answers; another address does not.
    let same = Policy::clone(&world.engine.rules());
    world.policy.send(same.clone().into()).unwrap();
    assert_eq!(operator(&world, "+33607000001").await.0, "sfr");
    assert_eq!(service.asked().len(), 1);
    tokio::time::sleep(20 * SECOND).await;
    service.now_replies(Reply::Says(404, String::new(), 0));
    assert_eq!(
        operator(&world, "+33607000001").await.0,
        "orange",
        "not ported any more"
    );
    assert_eq!(operator(&world, "+33607000001").await.0, "orange");
    assert_eq!(
        service.asked().len(),
        2,
        "that nothing is known is kept as well"
    );
    let other = service.rules("timeout = \"2s\"\n");
    world.policy.send(other.into()).unwrap();
    assert_eq!(operator(&world, "+33607000001").await.0, "orange");
    assert_eq!(service.asked().len(), 3);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_delays_an_answer_by_its_time_out_and_no_more() {
    let service = Service::new([Reply::Hangs]).await;
    let world = service.world("").await;
    let api = Api::of(&world.engine).await;
    let began = world.clock.now();
    let body = json!({"to": "+33607000001", "text": "bonjour"});
    let (status, message) = api.post("/v1/messages", &body).await;
    let took = world.clock.now().since(began);
    assert_eq!(
        (status, &message["operator"]),
        (202, &json!("orange")),
        "{message}"
    );
    let wait = Duration::from_millis(300);
    assert!((wait..wait * 2).contains(&took), "{took:?}");
    assert_eq!(counted(&world, "timeout"), 1);

    // A batch waits for sixteen at once, and then the service is left alone.
    let began = world.clock.now();
    let to: Vec<_> = (0..400).map(|n| format!("+33607{n:06}")).collect();
    let body = json!({"to": to, "text": "bonjour"});
    let (status, batch) = api.post("/v1/batches", &body).await;
    let took = world.clock.now().since(began);
    assert_eq!((status, &batch["accepted"]), (202, &json!(400)));
    assert!((wait..wait * 2).contains(&took), "{took:?}");
    assert_eq!(service.asked().len(), 17);
    assert_eq!(counted(&world, "resting"), 400 - 16);
    api.stop();
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_a_few_seconds_for_a_slow_service_and_asks_sixteen_at_once() {
    let service = Service::new([Reply::Says(200, "sfr".to_owned(), 1_000)]).await;
    let world = service.world("timeout = \"2s\"\n").await;
    let api = Api::of(&world.engine).await;
    let began = world.clock.now();
    let to: Vec<_> = (0..400).map(|n| format!("+33607{n:06}")).collect();
    let body = json!({"to": to, "text": "bonjour"});
    let (status, batch) = api.post("/v1/batches", &body).await;
    let took = world.clock.now().since(began);
    assert_eq!((status, &batch["accepted"]), (202, &json!(400)));
    assert!((5 * SECOND..7 * SECOND).contains(&took), "{took:?}");
    assert_eq!(service.state.lock().unwrap().most_at_once, 16);
    let (found, late) = (counted(&world, "found"), counted(&world, "timeout"));
    assert!(found >= 48 && found + late == 400, "{found} {late}");
    api.stop();
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_is_left_alone_for_a_while_and_then_asked_again() {
    let service = Service::new([Reply::Closes]).await;
    let world = service.world("timeout = \"2s\"\n").await;
    for n in 0..20 {
        let number = format!("+336070000{n:02}");
        assert_eq!(operator(&world, &number).await.0, "orange");
    }
    assert_eq!(
        (counted(&world, "failed"), counted(&world, "resting")),
        (5, 15)
    );
    let asked = service.asked().len();
    tokio::time::sleep(29 * SECOND).await;
    assert_eq!(operator(&world, "+33607000001").await.0, "orange");
    assert_eq!(service.asked().len(), asked, "not yet");
    service.now_replies(Reply::Says(200, "sfr".to_owned(), 0));
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(operator(&world, "+33607000001").await.0, "sfr");
    // One failure more is no reason to rest.
    service.now_replies(Reply::Closes);
    assert_eq!(operator(&world, "+33607000002").await.0, "orange");
    service.now_replies(Reply::Says(200, "sfr".to_owned(), 0));
    assert_eq!(operator(&world, "+33607000003").await.0, "sfr");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_a_service_answers_a_message_is_accepted_by_its_prefix() {
    let long = "x".repeat(65 << 10);
    for (status, body, result) in [
        (200, r#"{"name": "nobody"}"#, "unmapped"),
        (200, r#"{"name": ""}"#, "unknown"),
        (200, r#"{"elsewhere": "sfr"}"#, "unknown"),
        (200, r#"{"name": ["sfr"]}"#, "failed"),
        (200, "<html>sfr</html>", "failed"),
        (200, long.as_str(), "failed"),
        (204, "", "unknown"),
        (404, r#"{"name": "sfr"}"#, "unknown"),
        (302, r#"{"name": "sfr"}"#, "failed"),
        (500, r#"{"name": "sfr"}"#, "failed"),
        (429, "", "failed"),
        (200, r#"{"name": "SFR"}"#, "found"),
    ] {
        let service = Service::new([Reply::Says(status, body.to_owned(), 0)]).await;
        let world = service
            .world("answer = \"/name\"\ntimeout = \"2s\"\n")
            .await;
        let name = if result == "found" { "sfr" } else { "orange" };
        assert_eq!(
            operator(&world, "+33607000001").await.0,
            name,
            "{status} {result}"
        );
        assert_eq!(counted(&world, result), 1, "{status} {result}");
        world.stop().await;
    }
}

#[test]
fn what_is_wrong_with_a_look_up_is_told_without_its_address() {
    let told = |rest: &str| {
        let text = text_of(&["a"], &format!("[portability]\n{rest}"));
        config::parse(&text, "r.toml").map_or_else(|errors| errors.to_string(), |_| String::new())
    };
    for (rest, expected) in [
        (
            "url = \"https://secret.example/\"\n",
            "r.toml:6: portability.url: the number has no place in it; write {number} (digits) or {+number} (with +)",
        ),
        (
            "url = \"ftp://secret.example/{number}\"\n",
            "r.toml:6: portability.url: it is no URL that begins with https:// or http://",
        ),
        (
            "answer = \"result\"\n",
            "r.toml:6: portability.answer: \"result\" is no JSON pointer, like \"/result/mccmnc\"",
        ),
        (
            "timeout = \"1m\"\n",
            "r.toml:6: portability.timeout: 1m is outside 10ms to 5s",
        ),
        (
            "csv = \"nowhere.csv\"\n",
            "r.toml:6: portability.csv: nowhere.csv cannot be read: No such file or directory (os error 2)",
        ),
        (
            "[portability.codes]\n20801 = \"orange\"\n",
            "r.toml:7: portability.codes.20801: there is no operator \"orange\"",
        ),
    ] {
        assert_eq!(told(rest), expected, "{rest}");
    }
    let text = text_of(
        &["a"],
        "[portability]\nurl = \"http://mnp.example/{number}?key=hush\"\n",
    );
    let config = config::parse(&text, "r.toml").unwrap();
    assert!(
        config.warnings[0].problem.contains("in the clear"),
        "{:?}",
        config.warnings
    );
    let shown = config.effective();
    assert!(
        shown
            .contains("portability   mnp.example (awaited 300ms, believed 24h), then the prefix\n"),
        "{shown}"
    );
    assert!(
        !format!("{config:?}").contains("hush"),
        "the address is not shown"
    );
}
