//! A modem with stores, an inbox on it, and an engine that judges as told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::super::answer;
use super::super::super::at::At;
use super::super::super::choice::{Memories, MemoryChoice};
use super::super::super::scripted::{Reply, Scripted, says};
use super::super::super::setup::Ready;
use super::super::*;
use crate::clock::Clock;
use crate::domain::receipt::{ReceiptState, Taken};

pub(super) const OK: &str = "\r\nOK\r\n";
pub(super) const REFUSED: &str = "\r\n+CMS ERROR: 321\r\n";

/// The stores of the modem, and what it does wrong.
#[derive(Default)]
pub(super) struct Stores {
    pub(super) records: BTreeMap<(String, u16), String>,
    /// What `AT+CMGR` and `AT+CMGL` read.
    pub(super) first: String,
    /// Answers that take the place of the real ones, each used once, by the beginning of the command.
    pub(super) instead: Vec<(&'static str, Vec<Reply>)>,
    /// What is refused always.
    pub(super) never: Vec<&'static str>,
    pub(super) total: u16,
    /// Before each answer.
    pub(super) latency: Duration,
}

impl Stores {
    fn usage(&self, name: &str) -> String {
        let used = self
            .records
            .keys()
            .filter(|(memory, _)| memory == name)
            .count();
        format!("{used},{}", self.total)
    }

    fn slowly(&mut self, line: &str) -> Vec<Reply> {
        let mut replies = self.answer(line);
        if !self.latency.is_zero() {
            replies.insert(0, Reply::Waits(self.latency));
        }
        replies
    }

    fn answer(&mut self, line: &str) -> Vec<Reply> {
        if line == "\u{1b}" {
            return Vec::new();
        }
        if let Some(at) = self
            .instead
            .iter()
            .position(|(head, _)| line.starts_with(head))
        {
            return self.instead.remove(at).1;
        }
        if self.never.iter().any(|head| line.starts_with(head)) {
            return says(REFUSED);
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let place = |text: &str| (self.first.clone(), text.parse().unwrap());
        match name {
            "AT" | "AT+CMGF" => says(OK),
            "AT+CPMS" => {
                let names = answer::fields(value);
                self.first = names[0].to_owned();
                let usages: Vec<_> = names.iter().map(|name| self.usage(name)).collect();
                says(&format!("\r\n+CPMS: {}\r\n{OK}", usages.join(",")))
            }
            // An empty place is `OK` without a line.
            "AT+CMGR" => match self.records.get(&place(value)) {
                None => says(OK),
                Some(pdu) => says(&format!("\r\n+CMGR: 0,,{}\r\n{pdu}\r\n{OK}", length(pdu))),
            },
            "AT+CMGL" => {
                let own = self
                    .records
                    .iter()
                    .filter(|((memory, _), _)| *memory == self.first);
                let lines = own.map(|((_, index), pdu)| {
                    format!("\r\n+CMGL: {index},1,,{}\r\n{pdu}\r\n", length(pdu))
                });
                says(&(lines.collect::<String>() + OK))
            }
            "AT+CMGD" => {
                let place = place(value);
                self.records.remove(&place);
                says(OK)
            }
            _ => says("\r\nERROR\r\n"),
        }
    }
}

/// Octets without the service centre's address.
pub(super) fn length(pdu: &str) -> usize {
    let centre = u8::from_str_radix(pdu.get(..2).unwrap_or("00"), 16).unwrap_or(0);
    (pdu.len() / 2).saturating_sub(usize::from(centre) + 1)
}

/// `text`, of ASCII letters, from +33612345678.
pub(super) fn message(text: &str) -> String {
    use crate::pdu::address::Address;
    use crate::pdu::dcs::Dcs;
    use crate::pdu::deliver::Deliver;
    use crate::pdu::timestamp::NetworkTime;
    use crate::pdu::tpdu::{Pdu, Tpdu};
    use crate::pdu::user_data::UserData;
    let data = UserData::of_text(Dcs::GSM7, &[], text).unwrap();
    let from = Address::number("+33612345678").unwrap();
    let sent = NetworkTime([0x62, 0x11, 0x22, 0x21, 0x03, 0, 0]);
    let tpdu = Tpdu::Deliver(Deliver::new(from, sent, data));
    let service_centre = Some(Address::number("+33609001390").unwrap());
    Pdu {
        service_centre,
        tpdu,
    }
    .to_hex()
    .0
}

/// A report on TP-MR `reference`, sent to +33612345678.
pub(super) fn report(reference: u8, status: u8) -> String {
    use crate::pdu::address::Address;
    use crate::pdu::status_report::StatusReport;
    use crate::pdu::timestamp::NetworkTime;
    use crate::pdu::tpdu::{Pdu, Tpdu};
    let time = |second| NetworkTime([0x62, 0x11, 0x22, 0x21, 0x03, second, 0]);
    let to = Address::number("+33612345678").unwrap();
    let report = StatusReport::new(reference, to, time(0), time(0x50), status);
    let tpdu = Tpdu::StatusReport(report);
    Pdu {
        service_centre: None,
        tpdu,
    }
    .to_hex()
    .0
}

/// What the engine is to say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Taken,
    NotNow,
    /// Nothing yet: the acknowledgement is kept.
    Nothing,
    /// Nothing ever.
    Drops,
}

/// What came up, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Up {
    Message {
        from: String,
        to: String,
        text: String,
        fingerprint: Fingerprint,
    },
    Report {
        reference: String,
        state: ReceiptState,
        taken: Option<Taken>,
    },
}

impl Up {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Message { text, .. } => text,
            Self::Report { reference, .. } => reference,
        }
    }
}

pub(super) struct Rig {
    pub(super) at: At<Scripted>,
    pub(super) inbox: Inbox,
    pub(super) stores: Arc<Mutex<Stores>>,
    pub(super) written: Arc<Mutex<Vec<String>>>,
    events: mpsc::Receiver<ChannelEvent>,
    /// The engine's own queue: it never stops to listen.
    queue: (mpsc::Sender<ChannelEvent>, mpsc::Receiver<ChannelEvent>),
    pub(super) says: Says,
    pub(super) kept: Vec<Ack>,
    pub(super) up: Vec<Up>,
    pub(super) ready: Ready,
}

pub(super) const IMSI: &str = "208010123456789";

pub(super) fn ready(memories: &str) -> Ready {
    Ready {
        maker: None,
        model: None,
        imei: None,
        imsi: Some(IMSI.to_owned()),
        iccid: None,
        service_centre: None,
        routing: None,
        memory: Some(MemoryChoice {
            name: "SM".to_owned(),
            arguments: 3,
        }),
        usage: None,
        memories: Memories::read(memories),
        operator: None,
        signal: None,
        registration: answer::Registration::Home,
        notes: Vec::new(),
    }
}

impl Rig {
    /// A modem with these records in `SM`.
    pub(super) fn new(records: &[(u16, &str)]) -> Self {
        let mut stores = Stores {
            total: 20,
            ..Stores::default()
        };
        for (index, pdu) in records {
            let place = ("SM".to_owned(), *index);
            stores.records.insert(place, (*pdu).to_owned());
        }
        "SM".clone_into(&mut stores.first);
        let stores = Arc::new(Mutex::new(stores));
        let (sender, events) = mpsc::channel(8);
        let clock = Clock::starting_at(Timestamp(1_795_000_000_000));
        let mut inbox = Inbox::new("m".into(), "m".into(), sender, clock);
        let ready = ready("+CPMS: (\"SM\"),(\"SM\"),(\"SM\")");
        inbox.begin(&ready);
        let (at, written) = Self::open(&stores);
        Self {
            at,
            inbox,
            stores,
            written,
            events,
            queue: mpsc::channel(4_096),
            says: Says::Taken,
            kept: Vec::new(),
            up: Vec::new(),
            ready,
        }
    }

    fn open(stores: &Arc<Mutex<Stores>>) -> (At<Scripted>, Arc<Mutex<Vec<String>>>) {
        let of_it = stores.clone();
        let modem = Scripted::new(move |line| of_it.lock().unwrap().slowly(line));
        let written = modem.written.clone();
        (At::new(modem), written)
    }

    /// Unplugs it and plugs it in again.
    pub(super) fn reopen(&mut self) {
        (self.at, self.written) = Self::open(&self.stores);
        self.inbox.begin(&self.ready.clone());
    }

    pub(super) fn put(&self, memory: &str, index: u16, pdu: &str) {
        let mut stores = self.stores.lock().unwrap();
        stores
            .records
            .insert((memory.to_owned(), index), pdu.to_owned());
    }

    pub(super) fn instead(&self, head: &'static str, replies: Vec<Reply>) {
        self.stores.lock().unwrap().instead.push((head, replies));
    }

    /// What is left in the stores.
    pub(super) fn left(&self) -> Vec<(String, u16)> {
        self.stores
            .lock()
            .unwrap()
            .records
            .keys()
            .cloned()
            .collect()
    }

    /// How often a command was written that begins so.
    pub(super) fn count(&self, head: &str) -> usize {
        let written = self.written.lock().unwrap();
        written.iter().filter(|line| line.starts_with(head)).count()
    }

    /// The modem says a line.
    pub(super) async fn hears(&mut self, line: &str, body: Option<&str>) -> bool {
        let entry = answer::Entry {
            line: line.to_owned(),
            body: body.map(str::to_owned),
        };
        let said = Unsolicited::read(&entry);
        self.inbox.hear(&News::Said(entry, said)).await
    }

    /// Lives for so long, as a session does. The first error ends it.
    pub(super) async fn run(&mut self, time: Duration) -> Result<(), AtError> {
        let Self {
            at,
            inbox,
            events,
            queue: (listening, queue),
            says,
            kept,
            up,
            ..
        } = self;
        let listen = async {
            while let Some(event) = events.recv().await {
                listening.try_send(event).unwrap();
            }
        };
        let live = async {
            loop {
                let rest = inbox.next_work();
                let rest = rest.unwrap_or(Duration::from_secs(86_400));
                tokio::select! {
                    biased;
                    Some(event) = queue.recv() => {
                        let (new, ack) = shorten(event);
                        up.push(new);
                        match says {
                            Says::Taken => ack.taken(),
                            Says::NotNow => ack.not_now(),
                            Says::Nothing => kept.push(ack),
                            Says::Drops => drop(ack),
                        }
                    }
                    () = inbox.verdict() => {}
                    () = tokio::time::sleep(rest) => inbox.work(at).await?,
                }
            }
        };
        let both = async {
            tokio::select! {
                result = live => result,
                () = listen => Ok(()),
            }
        };
        timeout(time, both).await.unwrap_or(Ok(()))
    }

    pub(super) async fn seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds)).await.unwrap();
    }

    pub(super) fn texts(&self) -> Vec<&str> {
        self.up.iter().map(Up::text).collect()
    }
}

fn shorten(event: ChannelEvent) -> (Up, Ack) {
    match event {
        ChannelEvent::Inbound {
            from,
            to,
            text,
            fingerprint,
            receipt: None,
            ack,
            ..
        } => {
            let fingerprint = fingerprint.unwrap();
            let up = Up::Message {
                from,
                to,
                text,
                fingerprint,
            };
            (up, ack)
        }
        ChannelEvent::Receipt {
            reference,
            receipt,
            taken,
            ack,
            ..
        } => {
            let state = receipt.state;
            let up = Up::Report {
                reference,
                state,
                taken,
            };
            (up, ack)
        }
        other => panic!("{other:?}"),
    }
}
