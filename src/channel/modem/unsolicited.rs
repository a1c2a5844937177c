//! What a modem says unasked, by its meaning.

use super::answer::{self, Entry, PduHeader, Registration, Ussd};

/// An unsolicited result. What is not understood is chatter: it is nobody's answer and nobody's loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsolicited {
    /// `+CMTI`: a message lies in a store. Without an index there is nothing to read: list the store.
    MessageStored {
        /// `SM`, `ME`, …
        memory: Option<String>,
        /// 0 is a valid one.
        index: Option<u16>,
    },
    /// `+CDSI`: a status report lies in a store.
    ReportStored {
        /// `SM`, `ME`, `SR`, …
        memory: Option<String>,
        /// 0 is a valid one.
        index: Option<u16>,
    },
    /// `+CMT`: a message, which is not kept in any store.
    Message(PduHeader),
    /// `+CDS`: a status report, which is not kept in any store.
    Report(PduHeader),
    /// `+CMT` or `+CDS` whose length or PDU is missing or not hex: lost, and a sign that the modem
    /// may have left PDU mode.
    Damaged,
    /// `+CREG`, `+CGREG` or `+CEREG`.
    Registration {
        /// True for `+CREG`, on which SMS depends in GSM and UMTS.
        circuit: bool,
        /// State.
        state: Registration,
    },
    /// `+CUSD`.
    Ussd(Ussd),
    /// `+CPIN`, for example `READY` or `SIM PIN`.
    Sim(String),
    /// `SMS Ready`, `SMS DONE`, `PB DONE`, `Call Ready`: the modem has come further with its start.
    Ready,
    /// `^SMMEMFULL` and the like: a store is full, and neither messages nor reports come in.
    StoreFull,
    /// Anything else.
    Chatter,
}

impl Unsolicited {
    /// Reads a line that belongs to no command.
    #[must_use]
    pub fn read(entry: &Entry) -> Self {
        match entry.name() {
            "+CMTI" => {
                let (memory, index) = answer::stored(&entry.line);
                Self::MessageStored { memory, index }
            }
            "+CDSI" => {
                let (memory, index) = answer::stored(&entry.line);
                Self::ReportStored { memory, index }
            }
            "+CMT" => direct(entry).map_or(Self::Damaged, Self::Message),
            "+CDS" => direct(entry).map_or(Self::Damaged, Self::Report),
            name @ ("+CREG" | "+CGREG" | "+CEREG") => match answer::registration(&entry.line) {
                Some((_, stat)) => Self::Registration {
                    circuit: name == "+CREG",
                    state: Registration::from_stat(stat),
                },
                None => Self::Chatter,
            },
            "+CUSD" => answer::ussd(&entry.line).map_or(Self::Chatter, Self::Ussd),
            "+CPIN" => Self::Sim(entry.value().to_owned()),
            "^SMMEMFULL" => Self::StoreFull,
            _ => match entry.line.as_str() {
                "SMS Ready" | "Call Ready" | "SMS DONE" | "PB DONE" => Self::Ready,
                "+QIND: SMS DONE" | "+QIND: PB DONE" => Self::Ready,
                _ => Self::Chatter,
            },
        }
    }

    /// True if losing it loses nothing.
    #[must_use]
    pub const fn is_chatter(&self) -> bool {
        matches!(self, Self::Chatter)
    }
}

fn direct(entry: &Entry) -> Option<PduHeader> {
    answer::direct(entry).filter(|header| {
        header.pdu.len().is_multiple_of(2)
            && header.pdu.bytes().all(|octet| octet.is_ascii_hexdigit())
    })
}

/// Lines without a sign in front that are never an answer.
const WORDS: [&str; 13] = [
    "RING",
    "RDY",
    "Call Ready",
    "SMS Ready",
    "SMS DONE",
    "PB DONE",
    "BUSY",
    "NO ANSWER",
    "NO DIALTONE",
    "POWERED DOWN",
    "NORMAL POWER DOWN",
    "UNDER-VOLTAGE WARNNING",
    "OVER-VOLTAGE WARNNING",
];

/// True if a line looks like a result by itself: it cannot be the answer to a question whose answer
/// has no name, such as `AT+CGMM`.
#[must_use]
pub fn is_named(line: &str) -> bool {
    line.starts_with(['+', '^', '*', '$', '#', '_'])
        || WORDS.contains(&line)
        || ["DST:", "HANGUP:", "BEARTYPE"]
            .iter()
            .any(|word| line.starts_with(word))
}
