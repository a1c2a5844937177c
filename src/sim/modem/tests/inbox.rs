//! The gateway's inbox on the simulated modem, in each of its families.

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::channel::modem::at::{At, AtError, Command, News, Outgoing, Submission};
use crate::channel::modem::balance;
use crate::channel::modem::choice;
use crate::channel::modem::inbox::Inbox;
use crate::channel::modem::setup::{Ready, Wishes, set_up};
use crate::channel::{Ack, ChannelEvent};
use crate::domain::inbound::Part;
use crate::domain::receipt::ReceiptState;
use crate::pdu::tpdu::octets_of_hex;

const FAMILIES: [&str; 4] = ["huawei", "simcom", "quectel", "siemens"];

/// What came up, in short, and what is to be answered.
struct Up {
    text: String,
    part: Option<Part>,
    fingerprint: Option<[u8; 16]>,
    state: Option<ReceiptState>,
    ack: Option<Ack>,
}

struct Live {
    modem: ModemHandle,
    at: At<DuplexStream>,
    inbox: Inbox,
    events: mpsc::Receiver<ChannelEvent>,
    up: Vec<Up>,
    /// `None`: it says nothing yet.
    taken: Option<bool>,
    ready: Ready,
}

impl Live {
    async fn start(script: &str) -> Self {
        let script: ModemScript = toml::from_str(script).unwrap();
        let clock = Clock::starting_at(Timestamp(1_795_000_000_000));
        let modem = start(script, &clock, &Random::seeded(7));
        let (sender, events) = mpsc::channel(1_024);
        let mut at = At::new(modem.open().unwrap());
        at.set_rest(Duration::from_millis(50));
        let ready = set_up(&mut at, &Wishes::default()).await.unwrap();
        let mut inbox = Inbox::new("m".into(), "m".into(), sender, clock);
        inbox.begin(&ready);
        Self {
            modem,
            at,
            inbox,
            events,
            up: Vec::new(),
            taken: Some(true),
            ready,
        }
    }

    async fn reopen(&mut self) {
        self.at = At::new(self.modem.open().unwrap());
        self.at.set_rest(Duration::from_millis(50));
        self.ready = set_up(&mut self.at, &Wishes::default()).await.unwrap();
        self.inbox.begin(&self.ready);
    }

    /// Lives as a session does, for so long or until the port is lost.
    async fn run(&mut self, seconds: u64) -> Result<(), AtError> {
        let live = async {
            loop {
                let rest = self.inbox.next_work();
                let rest = rest.unwrap_or(Duration::from_secs(86_400));
                tokio::select! {
                    biased;
                    Some(event) = self.events.recv() => {
                        let mut up = shorten(event);
                        match self.taken {
                            Some(true) => up.ack.take().unwrap().taken(),
                            Some(false) => up.ack.take().unwrap().not_now(),
                            None => {}
                        }
                        self.up.push(up);
                    }
                    () = self.inbox.verdict() => {}
                    news = self.at.next_news() => drop(self.inbox.hear(&news?).await),
                    () = tokio::time::sleep(rest) => match self.inbox.work(&mut self.at).await {
                        Err(error) if error.is_lost() => return Err(error),
                        _ => {}
                    },
                }
            }
        };
        timeout(Duration::from_secs(seconds), live)
            .await
            .unwrap_or(Ok(()))
    }

    async fn seconds(&mut self, seconds: u64) {
        self.run(seconds).await.unwrap();
    }

    fn take_all(&mut self) {
        for up in &mut self.up {
            if let Some(ack) = up.ack.take() {
                ack.taken();
            }
        }
    }

    fn texts(&self) -> Vec<&str> {
        self.up.iter().map(|up| up.text.as_str()).collect()
    }

    fn deleted(&self) -> u64 {
        self.modem.ledger(|ledger| ledger.deleted_total)
    }

    async fn send(&mut self) -> u8 {
        let tpdu = octets_of_hex(&SUBMIT[2..]).unwrap();
        let pdu = Outgoing {
            service_centre: &[],
            tpdu: &tpdu,
        };
        match self.at.submit(pdu, Duration::from_secs(60)).await {
            Submission::Accepted { reference } => reference,
            other => panic!("{other:?}"),
        }
    }
}

fn shorten(event: ChannelEvent) -> Up {
    match event {
        ChannelEvent::Inbound {
            text,
            part,
            fingerprint,
            ack,
            ..
        } => Up {
            text,
            part,
            fingerprint,
            state: None,
            ack: Some(ack),
        },
        ChannelEvent::Receipt {
            reference,
            receipt,
            taken,
            handset,
            ack,
            ..
        } => {
            assert!(taken.is_some() && handset.is_some());
            Up {
                text: reference,
                part: None,
                fingerprint: None,
                state: Some(receipt.state),
                ack: Some(ack),
            }
        }
        other => panic!("{other:?}"),
    }
}

fn script(family: &str, more: &str) -> String {
    format!("personality = \"{family}\"\n{more}")
}

/// Old messages. The simulated Siemens keeps `MT` apart, which is `SM` and `ME` together in truth.
fn occupied(family: &str, count: usize) -> String {
    let memories = match family {
        "siemens" => "\n[[memories]]\nname = \"SM\"",
        _ => "",
    };
    script(family, &format!("occupied = {count}{memories}\n"))
}

#[tokio::test(start_paused = true)]
async fn old_messages_and_new_ones_are_read_and_deleted_in_every_family() {
    for family in FAMILIES {
        let mut live = Live::start(&occupied(family, 3)).await;
        live.seconds(5).await;
        assert_eq!(live.up.len(), 3, "{family}");
        live.modem.inject("+33612345678", "Bonjour, ça va ? ŵ");
        live.modem.inject("38600", "STOP");
        live.seconds(5).await;
        assert_eq!(
            live.texts()[3..],
            ["Bonjour, ça va ? ŵ", "STOP"],
            "{family}"
        );
        assert_eq!(live.deleted(), 5, "{family}");
        assert_eq!(
            live.inbox.usage().map(|usage| usage.used),
            Some(0),
            "{family}"
        );
        assert_eq!(live.inbox.notes(), Vec::<String>::new(), "{family}");
        live.modem.ledger(|ledger| {
            let faults = (ledger.overlapping, ledger.restless, ledger.held);
            assert_eq!(faults, (0, 0, 0), "{family}");
        });
        live.modem.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn parts_come_up_in_their_own_order_with_their_numbers() {
    for family in FAMILIES {
        let mut live = Live::start(&script(family, "")).await;
        live.seconds(5).await;
        let text: String = ["a", "b", "c"].map(|letter| letter.repeat(150)).concat();
        live.modem.inject_as(&Inbound {
            text,
            order: vec![3, 1, 2],
            part_gap_ms: 700,
            reference: Some(9),
            ..Inbound::default()
        });
        live.seconds(10).await;
        let parts: Vec<_> = live.up.iter().map(|up| up.part.unwrap()).collect();
        let numbers: Vec<_> = parts
            .iter()
            .map(|p| (p.index, p.total, p.reference))
            .collect();
        assert_eq!(numbers, [(3, 3, 9), (1, 3, 9), (2, 3, 9)], "{family}");
        let mut prints: Vec<_> = live.up.iter().map(|up| up.fingerprint.unwrap()).collect();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!((prints.len(), live.deleted()), (3, 3), "{family}");
    }
}

#[tokio::test(start_paused = true)]
async fn reports_come_directly_or_from_a_store_in_every_family_that_can() {
    for family in FAMILIES {
        for stored in [false, true] {
            let cnmi = match (family, stored) {
                (_, false) => String::new(),
                ("simcom", true) => continue,
                ("siemens", true) => "cnmi = \"(0-3),(0-3),(0,2,3),(0,2),(1)\"".to_owned(),
                (_, true) => "cnmi = \"(0,1,2),(0,1),(0),(0,2),(0,1)\"".to_owned(),
            };
            let more = format!("{cnmi}\nreference_start = 254\n[reports]\nstatus = 0x46");
            let mut live = Live::start(&script(family, &more)).await;
            let kind = match stored {
                true => choice::Reports::Stored,
                false => choice::Reports::Direct,
            };
            assert_eq!(live.ready.reports(), kind, "{family}");
            live.seconds(5).await;
            for reference in [254, 255, 0] {
                assert_eq!(live.send().await, reference);
                live.seconds(5).await;
            }
            let names: Vec<_> = [254, 255, 0]
                .map(|mr| format!("sim:e9288588a056:612345678:{mr}"))
                .to_vec();
            assert_eq!(live.texts(), names, "{family} {stored}");
            assert!(
                live.up
                    .iter()
                    .all(|up| up.state == Some(ReceiptState::Expired))
            );
            assert_eq!(live.deleted(), if stored { 3 } else { 0 }, "{family}");
            assert_eq!(live.inbox.notes(), Vec::<String>::new(), "{family}");
            // And it receives where it did before.
            live.modem.inject("+33612345678", "after");
            live.seconds(5).await;
            assert_eq!(live.texts().last(), Some(&"after"), "{family}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_not_stored_are_handed_up_until_they_are_taken() {
    for family in FAMILIES {
        let mut live = Live::start(&script(family, "")).await;
        let bfr = u8::from(family == "siemens");
        let direct = format!("AT+CNMI=2,2,0,1,{bfr}");
        live.at.command(&Command::new(direct)).await.unwrap();
        live.seconds(1).await;
        live.taken = Some(false);
        live.modem.inject("+33612345678", "direct");
        live.seconds(5).await;
        assert!(live.up.len() > 1, "{family}");
        live.taken = Some(true);
        live.seconds(600).await;
        let (times, first) = (live.up.len(), live.up[0].fingerprint);
        assert!(live.up.iter().all(|up| up.fingerprint == first), "{family}");
        live.seconds(600).await;
        assert_eq!((live.up.len(), live.deleted()), (times, 0), "{family}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_before_its_verdict() {
    for family in FAMILIES {
        let mut live = Live::start(&occupied(family, 2)).await;
        live.taken = None;
        live.modem.inject("+33612345678", "three");
        live.seconds(100).await;
        live.inbox.ask_for_sweep();
        live.seconds(100).await;
        assert_eq!((live.up.len(), live.deleted()), (3, 0), "{family}");
        live.take_all();
        live.seconds(5).await;
        assert_eq!((live.up.len(), live.deleted()), (3, 3), "{family}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_store_is_emptied_and_what_the_network_holds_back_follows() {
    for family in FAMILIES {
        let small = "[[memories]]\nname = \"SM\"\ncapacity = 5\nfirst = 0";
        let mut live = Live::start(&script(family, small)).await;
        live.taken = None;
        for n in 0..12 {
            live.modem.inject("+33612345678", &format!("message {n}"));
        }
        live.seconds(5).await;
        assert_eq!((live.up.len(), live.deleted()), (5, 0), "{family}");
        assert_eq!(live.inbox.notes().len(), 1, "{family}");
        assert!(live.inbox.usage().unwrap().is_nearly_full(), "{family}");
        live.taken = Some(true);
        live.take_all();
        live.seconds(30).await;
        let mut texts = live.texts();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!((texts.len(), live.up.len()), (12, 12), "{family}");
        assert_eq!(live.deleted(), 12, "{family}");
        assert_eq!(live.inbox.notes(), Vec::<String>::new(), "{family}");
        live.modem
            .ledger(|ledger| assert_eq!(ledger.held, 0, "{family}"));
    }
}

#[tokio::test(start_paused = true)]
async fn unplugged_between_reading_and_deleting_nothing_is_lost_or_doubled() {
    for family in FAMILIES {
        let mut live = Live::start(&script(family, "")).await;
        live.taken = None;
        live.modem.inject("+33612345678", "once");
        live.seconds(5).await;
        live.modem.unplug();
        live.run(60).await.unwrap_err();
        live.take_all();
        live.inbox.verdict().await;
        live.modem.replug();
        live.reopen().await;
        live.seconds(5).await;
        assert_eq!(
            (live.texts(), live.deleted()),
            (vec!["once"], 1),
            "{family}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_stays_and_the_others_go() {
    for family in FAMILIES {
        let mut live = Live::start(&script(family, "")).await;
        live.seconds(2).await;
        // A message that says 20 septets and has none.
        let broken = octets_of_hex("040B913316325476F800006211222103000014").unwrap();
        live.modem.inject_tpdu(&broken, false);
        live.modem.inject("+33612345678", "whole");
        live.seconds(1_000).await;
        assert_eq!(
            (live.texts(), live.deleted()),
            (vec!["whole"], 1),
            "{family}"
        );
        assert_eq!(live.inbox.notes().len(), 1, "{family}");
        let reads = live.modem.ledger(|ledger| {
            let all = ledger.commands.iter();
            all.filter(|command| command.starts_with("AT+CMGR")).count()
        });
        assert_eq!(reads, 2, "{family}: each place once");
    }
}

#[tokio::test(start_paused = true)]
async fn chatter_in_every_answer_changes_nothing() {
    for family in FAMILIES {
        let chatter = "[chatter]\nevery_ms = 40\nin_answers_every = 1";
        let script = occupied(family, 2) + chatter;
        let mut live = Live::start(&script).await;
        for n in 0..6 {
            live.modem.inject("+33612345678", &format!("n {n}"));
            live.seconds(1).await;
        }
        live.seconds(20).await;
        assert_eq!((live.up.len(), live.deleted()), (8, 8), "{family}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_balance_is_asked_for_in_every_family_and_other_news_are_kept() {
    for family in FAMILIES {
        let more = "ussd_ms = 3000\n[ussd]\n\"#123#\" = \"Solde : 4,20 EUR\"";
        let mut live = Live::start(&script(family, more)).await;
        live.seconds(5).await;
        live.modem.inject("+33612345678", "meanwhile");
        let within = Duration::from_secs(60);
        let text = balance::ask(&mut live.at, "#123#", within).await.unwrap();
        assert_eq!(text, "Solde : 4,20 EUR", "{family}");
        live.seconds(5).await;
        assert_eq!(live.texts(), ["meanwhile"], "{family}");
        let none = balance::ask(&mut live.at, "#999#", within).await;
        assert!(
            none.unwrap_err().to_string().contains("not supported"),
            "{family}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_for_the_session_and_loses_nothing() {
    let mut live = Live::start(&script("quectel", "")).await;
    live.taken = None;
    live.modem.inject("+33612345678", "before");
    live.seconds(5).await;
    live.modem.reset();
    loop {
        match live.at.next_news().await.unwrap() {
            News::Restarted(_) => break,
            news => assert!(!live.inbox.hear(&news).await),
        }
    }
    let at = &mut live.at;
    live.ready = set_up(at, &Wishes::default()).await.unwrap();
    live.inbox.begin(&live.ready);
    live.modem.inject("+33612345678", "after");
    live.seconds(5).await;
    assert_eq!(live.texts(), ["before", "after"]);
    live.take_all();
    live.seconds(5).await;
    assert_eq!(live.deleted(), 2);
}
