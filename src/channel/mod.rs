//! The carriers: a channel is a task behind a handle, and the engine never sees a protocol type.
//!
//! A driver runs until told to stop and reconnects by itself. What it takes from a carrier it hands
//! up as a [`ChannelEvent`]; what asks for an acknowledgement carries an [`Ack`], consumed only
//! after the engine has committed, so that nothing is acknowledged and lost. When acknowledgements
//! stop, the carrier's own window stops it: backpressure for free.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::domain::event::Rejection;
use crate::domain::id::{Account, ChannelId};
use crate::domain::inbound::Part;
use crate::domain::message::{Doubt, Message, Token};
use crate::domain::msisdn::Msisdn;
use crate::domain::receipt::{Receipt, Taken};
use crate::domain::sender::Sender;
use crate::domain::time::Timestamp;
use crate::pdu::segment::Alphabet;

pub mod limiter;
pub mod modem;
pub mod smpp;

pub use modem::ModemWord;

/// What the engine holds of one connection that can submit.
#[derive(Clone, Debug)]
pub struct ChannelHandle {
    /// This connection.
    pub id: ChannelId,
    /// The id space of its carrier references.
    pub account: Account,
    /// One permit a message under way; their number is the window.
    pub window: Arc<Semaphore>,
    /// Number of permits in all.
    pub window_size: usize,
    /// Capacity equals the window: with a permit in hand, sending never waits.
    pub requests: mpsc::Sender<SubmitRequest>,
    /// What state it is in.
    pub status: watch::Receiver<ChannelStatus>,
    /// What the far end has said about itself.
    pub peer: Peer,
    /// Told to connect anew: at once if it waits to reconnect, else after what is under way.
    pub reset: watch::Sender<()>,
}

impl ChannelHandle {
    /// True if both are of one connection, not only of one name.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.window, &other.window)
    }

    /// What state it is in now: one whose driver has ended without a word is stopped.
    #[must_use]
    pub fn status_now(&self) -> ChannelStatus {
        let said = self.status.borrow().clone();
        if said.is_up() && self.requests.is_closed() {
            return ChannelStatus::Stopped;
        }
        said
    }

    /// Waits until its driver has ended, in whatever way.
    pub async fn ended(&self) {
        let mut status = self.status.clone();
        while status.changed().await.is_ok() {}
    }
}

/// The far end of a channel, and what it says about itself.
#[derive(Clone, Debug)]
pub enum Peer {
    /// An SMSC.
    Smsc(watch::Receiver<PeerWord>),
    /// A GSM modem.
    Modem(watch::Receiver<ModemWord>),
    /// The apps that messages name.
    App,
    /// A mail server.
    Email,
}

impl Peer {
    /// The kind of channel, as operators see it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Smsc(_) => "smpp",
            Self::Modem(_) => "modem",
            Self::App => "app",
            Self::Email => "email",
        }
    }

    /// What a modem says about itself now; `None` of what is no modem.
    #[must_use]
    pub fn modem(&self) -> Option<ModemWord> {
        match self {
            Self::Smsc(_) | Self::App | Self::Email => None,
            Self::Modem(word) => Some(word.borrow().clone()),
        }
    }
}

/// What a carrier says about itself beside its answers. Nothing depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerWord {
    /// `sc_interface_version` of the bind response, for example 0x34 (SMPP 3.4 §5.3.2.25).
    pub interface_version: Option<u8>,
    /// The last `congestion_state`: 0 idle, 100 congested (SMPP 5.0 §4.8.4.18).
    pub congestion: Option<u8>,
}

/// The state of a connection, as shown to operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelStatus {
    /// Not connected; trying.
    Connecting,
    /// Bound: it takes messages.
    Up,
    /// Down, with the last error in words that name the peer's answer; it tries again by itself.
    Down {
        /// For example `bind refused by SMSC: ESME_RBINDFAIL (0x0000000d)`.
        cause: String,
    },
    /// Stopping: what is under way is finished, nothing new is taken.
    Draining,
    /// Stopped for good.
    Stopped,
}

/// How the cause of a channel begins that is down because the peer refused the bind.
pub const BIND_REFUSED: &str = "bind refused by SMSC";

impl ChannelStatus {
    /// True if the peer was reached and refused us.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Down { cause } if cause.starts_with(BIND_REFUSED))
    }

    /// True if it takes messages.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }
}

/// One segment to submit: one `submit_sm`, and one report about it.
///
/// The parts of a longer message are requests of their own. The engine makes the next one only after
/// the commit of the answer to the one before, so that a permit never stands for two parts whose
/// answers are not durable, and so that parts keep their order.
#[derive(Clone, Debug)]
pub struct SubmitRequest {
    /// What the report about it is addressed to.
    pub token: Token,
    /// Destination.
    pub to: Msisdn,
    /// Sender; `None`: the account's default.
    pub from: Option<Sender>,
    /// How the payload octets are to be read.
    pub alphabet: Alphabet,
    /// Which segment of the message it is, from 0.
    pub segment: u16,
    /// Unpacked GSM septets, one an octet, or UTF-16BE; without a header.
    pub payload: Bytes,
    /// Number of parts of the whole message; 1 means that no concatenation header is needed.
    pub total: u8,
    /// Concatenation reference; where only 8 bits of it fit, the low ones.
    pub reference: u16,
    /// End of the message's validity: what is left of it when the segment is written goes with it,
    /// so that the carrier does not deliver later.
    pub expires_at: Timestamp,
    /// Higher is more urgent, 0 to 3 (SMPP 3.4 §5.2.14).
    pub priority: u8,
    /// The whole message, where it does not go as an SMS.
    pub relayed: Option<Arc<Message>>,
}

/// What a driver tells the engine.
#[derive(Debug)]
pub enum ChannelEvent {
    /// How a request ended. A late `Accepted`, or `RefusedLate`, may follow an `Unknown` of the same
    /// segment.
    Segment {
        /// Of which request.
        token: Token,
        /// Segment index, from 0.
        segment: u16,
        /// How it ended.
        outcome: SegmentOutcome,
        /// From writing the PDU to its answer.
        took: Duration,
    },
    /// The driver returns a request that it has not sent: the connection is not bound.
    Returned {
        /// Of which request.
        token: Token,
    },
    /// A delivery receipt.
    Receipt {
        /// The account whose references it uses.
        account: Account,
        /// The bind that brought it.
        channel: ChannelId,
        /// The carrier's id of the message, as the receipt wrote it; empty if it names none.
        reference: String,
        /// A second id, where the receipt's text and its TLV differ.
        other: Option<String>,
        /// The handset's number, where the receipt names one that can be read.
        handset: Option<Msisdn>,
        /// What it says.
        receipt: Receipt,
        /// When its service centre took the message, where it says so: a status report of a SIM.
        taken: Option<Taken>,
        /// To be consumed after the commit.
        ack: Ack,
    },
    /// A message, or a part of one, from a handset.
    Inbound {
        /// Where it came in.
        channel: ChannelId,
        /// The account.
        account: Account,
        /// Who sent it, as the carrier wrote it (digits are given a `+` if international).
        from: String,
        /// What it was sent to.
        to: String,
        /// Decoded text of this part.
        text: String,
        /// Its place, if it is a part of several.
        part: Option<Part>,
        /// Set if the text reads like a receipt, though nothing else says that it is one: it is a
        /// receipt then if its id is one of ours.
        receipt: Option<Box<Reported>>,
        /// What this message is known by when a SIM shows it again, which it does until it is
        /// deleted there; `None` where the carrier shows nothing twice.
        fingerprint: Option<[u8; 16]>,
        /// To be consumed after the commit.
        ack: Ack,
    },
}

/// A receipt with what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The carrier's id of the message, as it wrote it; empty if it names none.
    pub reference: String,
    /// A second id, where the text and a TLV name one each and differ.
    pub other: Option<String>,
    /// The handset, if its number can be read.
    pub handset: Option<Msisdn>,
    /// What is reported.
    pub receipt: Receipt,
}

/// How the submission of one segment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentOutcome {
    /// The carrier took it under this id (as it wrote it).
    Accepted(String),
    /// An app took it, and says that it is with the recipient.
    Delivered,
    /// The carrier refused it.
    Rejected(Rejection),
    /// The carrier refused it, after its answer had been given up as `Unknown`.
    RefusedLate(Rejection),
    /// Nobody can tell.
    Unknown(Doubt),
}

/// The right to acknowledge one thing that a carrier sent. Dropping it unused is legal: the carrier
/// repeats.
#[derive(Debug)]
#[must_use]
pub struct Ack {
    sequence: u32,
    to: mpsc::WeakSender<AckVerdict>,
}

/// What an [`Ack`] turned into, on its way to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckVerdict {
    /// What the driver counts by.
    pub sequence: u32,
    /// True: taken and durable. False: not now, send it again.
    pub taken: bool,
}

impl Ack {
    /// An acknowledgement that goes to a driver's queue. The queue's capacity is the most that the
    /// driver lets stand unacknowledged, so that giving a verdict never waits.
    pub const fn new(sequence: u32, to: mpsc::WeakSender<AckVerdict>) -> Self {
        Self { sequence, to }
    }

    /// Says that it is durable. If the connection is gone, the carrier repeats it elsewhere.
    pub fn taken(self) {
        self.verdict(true);
    }

    /// Says that it could not be stored now: the carrier should send it again later.
    pub fn not_now(self) {
        self.verdict(false);
    }

    fn verdict(self, taken: bool) {
        if let Some(to) = self.to.upgrade() {
            let _ = to.try_send(AckVerdict {
                sequence: self.sequence,
                taken,
            });
        }
    }
}
