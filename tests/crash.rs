//! Proves that nothing acknowledged is lost when the process is killed at any moment: a child runs
//! the embedded store under load and is killed with SIGKILL, again and again on one folder.
//! After each kill: every id that the child printed as acknowledged is there, submissions are whole
//! or absent, idempotency keys answer the first ids, receipts that were taken in have had their
//! effect, what left a second time is marked as a possible duplicate, messages from handsets are
//! there, an acknowledged STOP is in force and nothing waits for its number, every message that is
//! there was paid for and no other, and `fsck` finds nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use relais::clock::{Clock, Random};
use relais::domain::credit::Means;
use relais::domain::id::{BatchId, InboundId, Lane, MessageId, Tenant};
use relais::domain::inbound::{Inbound, Numbering, Part};
use relais::domain::message::{Cause, Class, Message, State, Token, WaitReason};
use relais::domain::msisdn::Msisdn;
use relais::domain::policy::{Limits, Operator, Policy};
use relais::domain::privacy::Erased;
use relais::domain::receipt::{Receipt, ReceiptState};
use relais::domain::status::Status;
use relais::domain::tenant::Unit;
use relais::domain::terms::{Charge, Terms};
use relais::pdu::segment::plan;
use relais::store::{
    self, Accepted, Claimant, Idempotency, Options, Posting, Query, Reach, ReceiptReport, Report,
    Store, StoreError, Submission,
};
use tokio::sync::watch;

/// Where the child works; also what tells a child from the test.
const FOLDER: &str = "RELAIS_CRASH_FOLDER";
/// Which round it is.
const ROUND: &str = "RELAIS_CRASH_ROUND";
const ROUNDS: u8 = 20;

/// Most of them, if the numbers that were stopped are still too few.
const MOST_ROUNDS: u8 = 60;

/// So many stopped numbers show that something was tried.
const STOPPED: usize = 20;

fn policy() -> watch::Receiver<Arc<Policy>> {
    let operator = Operator::named("default", vec![vec!["a".into()]]);
    let policy = Policy::new(operator, Vec::new(), "FR", Limits::default());
    watch::Sender::new(Arc::new(policy)).subscribe()
}

fn open(folder: &Path) -> Arc<dyn Store> {
    store::open(folder, &Options::default(), policy(), Clock::system().now()).unwrap()
}

fn lane() -> Lane {
    Lane {
        operator: "default".into(),
    }
}

fn message(clock: &Clock, random: &Random, batch: Option<BatchId>) -> Message {
    let now = clock.now();
    let text = "Votre commande est prete";
    Message {
        id: MessageId::new(now, random.bytes()),
        tenant: "shop".into(),
        batch,
        to: Msisdn::from_e164_digits("33612345678").unwrap(),
        from: None,
        text: text.to_owned(),
        plan: plan(text),
        replaced: Vec::new(),
        concat_reference: 0,
        class: Class::Transactional,
        kind: None,
        reference: None,
        metadata: None,
        webhook_url: None,
        priority: 1,
        on_doubt: None,
        lane: lane(),
        created_at: now,
        send_at: None,
        expires_at: now + Duration::from_hours(48),
        updated_at: now,
        sent_at: None,
        delivered_at: None,
        revision: 0,
        state: State::Waiting {
            due_at: now,
            why: WaitReason::Accepted,
        },
        tries: 0,
        claims: 0,
        maybe_duplicate: false,
        attempts: Vec::new(),
        events: Vec::new(),
        trace: None,
        erased: Erased::default(),
        terms: Some(Box::new(Terms {
            charge: Some(Charge {
                micros: PRICE,
                parts: 1,
                ..Charge::default()
            }),
            ..Terms::default()
        })),
    }
}

/// What a message costs, and what each tenant has at first.
const PRICE: i64 = 217_700;
const CREDIT: i64 = 1_000_000_000_000;

fn means() -> Means {
    Means {
        unit: Some(Unit::Eur),
        ..Means::default()
    }
}

/// Gives a tenant its credit, once however often it is asked.
async fn top_up(store: &Arc<dyn Store>, tenant: &str, key: u8) {
    let posting = Posting {
        tenant: tenant.into(),
        unit: Unit::Eur,
        amount: CREDIT,
        note: None,
        by: None,
        idempotency: Some(Idempotency {
            key: [key; 16],
            body: [0; 16],
        }),
        now: Clock::system().now(),
    };
    let line = store.post_credit(posting).await.unwrap().line;
    assert_eq!((line.number, line.balance), (0, CREDIT));
}

/// One line a fact that the store has acknowledged, whole or not at all.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn idempotency(round: u8, client: u8, number: u32) -> Idempotency {
    let mut key = [0; 16];
    key[0] = round;
    key[1] = client;
    key[2..6].copy_from_slice(&number.to_be_bytes());
    Idempotency { key, body: key }
}

/// Accepts submissions of 1 to 100 messages as fast as they are answered.
async fn client(store: Arc<dyn Store>, round: u8, client: u8) {
    let (clock, random) = (Clock::system(), Random::system());
    for number in 0.. {
        let count = [1, 3, 1, 100][(usize::from(client) + number as usize) % 4];
        let batch = (count > 1).then(|| BatchId::new(clock.now(), random.bytes()));
        let messages: Vec<_> = (0..count)
            .map(|_| message(&clock, &random, batch))
            .collect();
        let ids: Vec<_> = messages.iter().map(|m| m.id.to_string()).collect();
        let submission = Submission {
            tenant: "shop".into(),
            idempotency: Some(idempotency(round, client, number)),
            batch,
            messages,
            max_live: 10_000_000,
            means: means(),
            now: clock.now(),
        };
        let key = format!("{round} {client} {number}");
        // Said before it is asked for: what may be there, besides what must be.
        say(&format!("asked {key} {}", ids.join(",")));
        match store.accept(submission).await {
            Ok(Accepted::New(_)) => say(&format!("accepted {key} {}", ids.join(","))),
            Err(StoreError::Full) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
}

/// Sends what is due, and has a receipt for each.
async fn carrier(store: Arc<dyn Store>) {
    let clock = Clock::system();
    loop {
        let now = clock.now();
        let by = Claimant {
            account: "a".into(),
            channel: "a#1".into(),
            until: now + Duration::from_mins(1),
            reach: Reach::of(&"a".into()),
            in_line: false,
            only_to: None,
        };
        let claimed = store.claim(&lane(), by, 20, now).await.unwrap().messages;
        if claimed.is_empty() {
            tokio::task::yield_now().await;
            continue;
        }
        // On the air, whatever becomes of the report.
        for message in &claimed {
            say(&format!("left {} {}", message.id, message.maybe_duplicate));
        }
        let reports = claimed.iter().map(|message| Report::Accepted {
            token: Token {
                message: message.id,
                attempt: message.sending().attempt,
                claim: message.sending().claim,
            },
            segment: 0,
            reference: message.id.to_string(),
        });
        store.report(reports.collect(), now).await.unwrap();
        for message in &claimed {
            say(&format!("sent {}", message.id));
        }
        let receipts = claimed.iter().map(|message| {
            ReceiptReport::new(
                "a".into(),
                message.id.to_string(),
                Receipt::of(ReceiptState::Delivered),
            )
        });
        store.receive(receipts.collect(), now).await.unwrap();
        for message in &claimed {
            say(&format!("delivered {}", message.id));
        }
    }
}

/// Whose handsets write.
const READERS: &str = "readers";

fn inbound(clock: &Clock, random: &Random, from: &str, text: &str, part: Option<Part>) -> Inbound {
    let now = clock.now();
    Inbound {
        id: InboundId::new(now, random.bytes()),
        tenant: READERS.into(),
        account: "a".into(),
        channel: "a#1".into(),
        from: from.to_owned(),
        to: "36111".to_owned(),
        text: text.to_owned(),
        part,
        received_at: now,
        keyword: None,
        incomplete: false,
        erased: Erased::default(),
        fingerprint: None,
    }
}

/// Each number has a message planned, writes a text in two parts and then STOP, and every third one
/// START.
async fn handsets(store: Arc<dyn Store>, round: u8) {
    let (clock, random) = (Clock::system(), Random::system());
    for number in 0_u32.. {
        let from = format!("+336{round:02}{number:06}");
        let to = Msisdn::from_e164_digits(&from[1..]).unwrap();
        let mut planned = message(&clock, &random, None);
        planned.tenant = READERS.into();
        planned.to = to;
        planned.state = State::Waiting {
            due_at: planned.created_at + Duration::from_hours(1),
            why: WaitReason::ScheduledByClient,
        };
        let submission = Submission {
            tenant: READERS.into(),
            idempotency: None,
            batch: None,
            messages: vec![planned],
            max_live: 10_000_000,
            means: means(),
            now: clock.now(),
        };
        store.accept(submission).await.unwrap();
        for index in [2, 1] {
            let part = Part {
                numbering: Numbering::Header8,
                reference: 7,
                total: 2,
                index,
            };
            let text = format!("{from} {index} ");
            let part = inbound(&clock, &random, &from, &text, Some(part));
            store.take_in(vec![part]).await.unwrap();
        }
        say(&format!("wrote {from}"));
        let stop = inbound(&clock, &random, &from, "Stop.", None);
        let id = stop.id;
        let taken = store.take_in(vec![stop]).await.unwrap();
        assert_eq!(taken.failed.len(), 1);
        say(&format!("stopped {from} {id}"));
        if number % 3 == 0 {
            // Said before it is asked for: from here on it may or may not be in force.
            say(&format!("starting {from}"));
            let start = inbound(&clock, &random, &from, "START", None);
            store.take_in(vec![start]).await.unwrap();
            say(&format!("started {from}"));
        }
    }
}

/// The child: never returns, it is killed.
fn child(folder: &Path, round: u8) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = open(folder);
        top_up(&store, "shop", 0xFE).await;
        top_up(&store, READERS, 0xFF).await;
        say("ready");
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..4 {
            tasks.spawn(client(store.clone(), round, number));
        }
        tasks.spawn(carrier(store.clone()));
        tasks.spawn(handsets(store.clone(), round));
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
}

/// What children have said.
#[derive(Default)]
struct Said {
    /// By key: the ids, and whether they were acknowledged.
    submissions: BTreeMap<(u8, u8, u32), (Vec<MessageId>, bool)>,
    /// The least that each message must have come to.
    reached: HashMap<MessageId, Status>,
    /// Each time that a message left: whether it said that it may be a duplicate.
    left: HashMap<MessageId, Vec<bool>>,
    /// Numbers whose two parts were acknowledged.
    wrote: HashSet<String>,
    /// By number: the id of its STOP, and how far its START has come.
    stopped: HashMap<String, (InboundId, Option<bool>)>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let id = |text: &str| MessageId::parse(text).unwrap();
        match words.as_slice() {
            [verb @ ("asked" | "accepted"), round, client, number, ids] => {
                let key = (
                    round.parse().unwrap(),
                    client.parse().unwrap(),
                    number.parse().unwrap(),
                );
                let ids: Vec<_> = ids.split(',').map(id).collect();
                self.submissions.insert(key, (ids, *verb == "accepted"));
            }
            ["left", one, marked] => {
                let marked = marked.parse().unwrap();
                self.left.entry(id(one)).or_default().push(marked);
            }
            ["sent", one] => {
                self.reached.insert(id(one), Status::Sent);
            }
            ["delivered", one] => {
                self.reached.insert(id(one), Status::Delivered);
            }
            ["wrote", from] => {
                self.wrote.insert((*from).to_owned());
            }
            ["stopped", from, id] => {
                let id = InboundId::parse(id).unwrap();
                self.stopped.insert((*from).to_owned(), (id, None));
            }
            [verb @ ("starting" | "started"), from] => {
                self.stopped.get_mut(*from).unwrap().1 = Some(*verb == "started");
            }
            // The test harness of the child speaks too.
            _ => {}
        }
    }
}

/// Runs a child for a while and kills it; what it said is added to `said`.
fn run_and_kill(folder: &Path, round: u8, after: Duration, said: &mut Said) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "nothing_acknowledged_is_lost_by_kill_9",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            // A line that the kill has cut off says nothing, and it is the last.
            let Some(whole) = line.strip_suffix('\n') else {
                return lines;
            };
            if whole == "ready" {
                let _ = ready.send(());
            }
            lines.push(whole.to_owned());
        }
    });
    if round % 5 == 4 {
        // Now and then while it is still opening, which is when sled writes its snapshot.
        std::thread::sleep(after / 8);
    } else {
        started.recv_timeout(Duration::from_secs(60)).unwrap();
        std::thread::sleep(after);
    }
    assert!(
        child.try_wait().unwrap().is_none(),
        "the child ended by itself"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    for line in reader.join().unwrap() {
        said.hear(&line);
    }
}

/// Looks at everything that must be there and at what may be.
async fn check(folder: &Path, said: &Said) -> (usize, usize) {
    let store = open(folder);
    let mut there: HashMap<MessageId, Status> = HashMap::new();
    let mut marked = HashSet::new();
    let mut before = None;
    loop {
        let page = store
            .find(Query {
                behind: before,
                ..Query::of("shop".into(), 10_000)
            })
            .await
            .unwrap();
        there.extend(page.items.iter().map(|m| (m.id, m.status())));
        let duplicates = page.items.iter().filter(|m| m.maybe_duplicate);
        marked.extend(duplicates.map(|m| m.id));
        match page.next {
            Some(next) => before = Some(MessageId(next)),
            None => break,
        }
    }
    let mut known = 0;
    for (&(round, client, number), (ids, acknowledged)) in &said.submissions {
        let found = ids.iter().filter(|id| there.contains_key(id)).count();
        assert!(
            found == ids.len() || (found == 0 && !acknowledged),
            "round {round}, submission {client}/{number}: {found} of {} messages, acknowledged: {acknowledged}",
            ids.len(),
        );
        known += found;
        if *acknowledged && number % 16 == 0 {
            let clock = Clock::system();
            let again = Submission {
                tenant: "shop".into(),
                idempotency: Some(idempotency(round, client, number)),
                batch: None,
                messages: vec![message(&clock, &Random::system(), None)],
                max_live: 10_000_000,
                means: means(),
                now: clock.now(),
            };
            match store.accept(again).await.unwrap() {
                Accepted::Repeated { messages, .. } => assert_eq!(messages, *ids),
                other => panic!("{other:?}: the key of {round} {client} {number} was forgotten"),
            }
        }
    }
    assert_eq!(known, there.len(), "nothing is there that nobody asked for");
    // Everything that is there was paid for, and nothing else.
    let paid = PRICE * i64::try_from(known).unwrap();
    let left = store.purse(&"shop".into()).balance.micros;
    assert!(left == CREDIT - paid || left == 0 && known == 0, "{left}");
    for (id, least) in &said.reached {
        let status = there[id];
        assert!(
            status == Status::Delivered || status == *least,
            "{id} had come to {least:?} and is {status:?}"
        );
        assert!(said.left[id].len() == 1 || marked.contains(id));
    }
    check_handsets(&store, said).await;
    store.close().await;
    (known, said.reached.len())
}

/// Everything that a handset was acknowledged is there and in force.
async fn check_handsets(store: &Arc<dyn Store>, said: &Said) {
    let tenant = Tenant::from(READERS);
    let (mut ids, mut texts) = (HashSet::new(), HashSet::new());
    let mut before = None;
    loop {
        let page = store.inbound(&tenant, before, 10_000).await.unwrap();
        for one in page.items {
            assert!(!one.incomplete && one.part.is_none());
            ids.insert(one.id);
            assert!(
                texts.insert(format!("{} {}", one.from, one.text)),
                "told twice"
            );
        }
        match page.next {
            Some(next) => before = Some(InboundId(next)),
            None => break,
        }
    }
    for from in &said.wrote {
        let whole = format!("{from} {from} 1 {from} 2 ");
        assert!(texts.contains(&whole), "the parts of {from} are gone");
    }
    for (from, (id, start)) in &said.stopped {
        assert!(ids.contains(id), "the STOP of {from} is gone");
        let number = Msisdn::from_e164_digits(&from[1..]).unwrap();
        let in_force = match store.optout(&tenant, number).await {
            Ok(_) => true,
            Err(StoreError::NotFound) => false,
            Err(error) => panic!("{error}"),
        };
        let expected = match start {
            None => true,
            Some(false) => in_force,
            Some(true) => false,
        };
        assert_eq!(in_force, expected, "{from}");
        let found = store
            .find(Query {
                to: Some(number),
                ..Query::of(tenant.clone(), 10)
            })
            .await
            .unwrap();
        assert_eq!(found.items.len(), 1);
        assert_eq!(found.items[0].reason(), Some(Cause::OptedOut));
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let round = std::env::var(ROUND).unwrap().parse().unwrap();
        child(Path::new(&folder), round);
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("store");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let random = Random::system();
    let mut said = Said::default();
    let mut proven = (0, 0);
    let mut rounds = 0;
    for round in 0..MOST_ROUNDS {
        rounds += 1;
        let after = Duration::from_millis(300 + u64::from(random.bytes::<1>()[0]));
        run_and_kill(&folder, round, after, &mut said);
        if !folder.join("CURRENT").exists() {
            continue;
        }
        // Not between all rounds: some kills follow a kill with nothing in between.
        // A machine that does little between two kills is killed more often.
        let last = rounds == MOST_ROUNDS || rounds >= ROUNDS && said.stopped.len() > STOPPED;
        if round % 6 == 5 || last {
            proven = runtime.block_on(check(&folder, &said));
            let findings = loop {
                match store::check(&folder, 64 << 20) {
                    // sled's own threads hold its lock for a moment longer than its handle lives.
                    Err(store::OpenError::InUse(_)) => std::thread::yield_now(),
                    other => break other.unwrap(),
                }
            };
            assert!(findings.is_clean(), "after round {round}:\n{findings}");
        }
        if last {
            break;
        }
    }
    println!(
        "{rounds} kills: {} messages there, {} of them sent or delivered, {} numbers stopped, nothing lost",
        proven.0,
        proven.1,
        said.stopped.len()
    );
    assert!(proven.0 > 1000 && proven.1 > 100, "{proven:?}");
    let twice: Vec<_> = said.left.values().filter(|left| left.len() > 1).collect();
    for left in &twice {
        assert!(left[1..].iter().all(|marked| *marked), "{left:?}");
    }
    let in_vain = said.left.values().filter(|left| left[0]).count();
    println!(
        "{} left more than once, all of them marked; {in_vain} of {} were marked and left once",
        twice.len(),
        said.left.len()
    );
    // Each kill casts doubt on what was next in line, and not on the whole queue.
    assert!(in_vain <= usize::from(rounds) * 600);
    assert!(said.stopped.len() > STOPPED, "{}", said.stopped.len());
}
