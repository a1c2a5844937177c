//! Dead and hostile peers: the driver against an SMSC that is nothing but octets on a stream.
//!
//! Everything runs in virtual time over streams in memory. The peer's octets are written here by
//! hand, so that no code of ours stands between a test and what comes over the wire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::bind::{Connector, Stream};
use super::{SmppConfig, start_on};
use crate::channel::{ChannelEvent, ChannelHandle, ChannelStatus, SegmentOutcome, SubmitRequest};
use crate::clock::{Clock, Random};
use crate::domain::id::MessageId;
use crate::domain::message::Token;
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;
use crate::pdu::segment::Alphabet;

mod dead;
mod octets;

const NACK: u32 = 0x8000_0000;
const BIND_RESP: u32 = 0x8000_0009;
const SUBMIT: u32 = 0x04;
const SUBMIT_RESP: u32 = 0x8000_0004;
const DELIVER: u32 = 0x05;
const DELIVER_RESP: u32 = 0x8000_0005;
const UNBIND: u32 = 0x06;
const UNBIND_RESP: u32 = 0x8000_0006;
const ENQUIRE: u32 = 0x15;
const ENQUIRE_RESP: u32 = 0x8000_0015;

/// Far longer than anything here may take, in virtual time.
const DEADLINE: Duration = Duration::from_hours(2);

/// Octets that a stream holds before its writer waits.
const PIPE: usize = 4096;

/// Hands the far end of each connection to the test.
struct Wire(mpsc::Sender<DuplexStream>);

#[async_trait]
impl Connector for Wire {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let (near, far) = duplex(PIPE);
        let gone = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
        self.0.send(far).await.map_err(gone)?;
        Ok(Box::new(near))
    }
}

/// The far end of one connection.
struct Peer(DuplexStream);

/// A PDU: command, status, sequence number and body.
type Pdu = (u32, u32, u32, Vec<u8>);

fn pdu(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let head = [length, command, status, sequence].map(u32::to_be_bytes);
    [head.as_flattened(), body].concat()
}

impl Peer {
    async fn write(&mut self, octets: &[u8]) {
        self.0.write_all(octets).await.unwrap();
    }

    async fn send(&mut self, command: u32, status: u32, sequence: u32, body: &[u8]) {
        self.write(&pdu(command, status, sequence, body)).await;
    }

    /// The next PDU; `None` once the connection is closed.
    async fn read(&mut self) -> Option<Pdu> {
        let length = tokio::time::timeout(DEADLINE, self.0.read_u32());
        let length = length.await.expect("in time").ok()?;
        let mut rest = vec![0; usize::try_from(length).unwrap() - 4];
        self.0.read_exact(&mut rest).await.ok()?;
        let word = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap());
        Some((word(0), word(4), word(8), rest[12..].to_vec()))
    }

    /// The next PDU of this kind; others are passed over, unanswered.
    async fn read_a(&mut self, command: u32) -> Pdu {
        loop {
            let pdu = self.read().await.expect("still connected");
            if pdu.0 == command {
                return pdu;
            }
        }
    }

    /// Reads until the connection is closed.
    async fn closes(&mut self) {
        while self.read().await.is_some() {}
    }
}

struct World {
    connections: mpsc::Receiver<DuplexStream>,
    channel: ChannelHandle,
    task: JoinHandle<()>,
    events: mpsc::Receiver<ChannelEvent>,
    stop: CancellationToken,
    clock: Clock,
    messages: u8,
}

fn world() -> World {
    let clock = Clock::starting_at(Timestamp(1_795_000_000_000));
    let config = SmppConfig::new("acme", "smsc.invalid", 2775, "relais", "secret");
    let (connect, connections) = mpsc::channel(1);
    let (sender, events) = mpsc::channel(1024);
    let stop = CancellationToken::new();
    let random = Random::seeded(7);
    let wire = Arc::new(Wire(connect));
    let (channel, task) =
        start_on(wire, Arc::new(config), &clock, &random, &sender, &stop).remove(0);
    World {
        connections,
        channel,
        task,
        events,
        stop,
        clock,
        messages: 0,
    }
}

impl World {
    /// The next connection, not bound yet.
    async fn connection(&mut self) -> Peer {
        let next = tokio::time::timeout(DEADLINE, self.connections.recv());
        Peer(next.await.expect("in time").expect("running"))
    }

    /// The next connection, bound.
    async fn bound(&mut self) -> Peer {
        let mut peer = self.connection().await;
        let (.., sequence, _) = peer.read().await.unwrap();
        peer.send(BIND_RESP, 0, sequence, b"smsc\0").await;
        self.is(ChannelStatus::is_up).await;
        peer
    }

    async fn is(&mut self, wanted: impl Fn(&ChannelStatus) -> bool) -> ChannelStatus {
        let waiting = self.channel.status.wait_for(|status| wanted(status));
        let status = tokio::time::timeout(DEADLINE, waiting);
        status.await.expect("in time").expect("running").clone()
    }

    /// How long until the link is given up, and the cause.
    async fn given_up(&mut self) -> (Duration, String) {
        let since = self.clock.elapsed();
        match self
            .is(|status| matches!(status, ChannelStatus::Down { .. }))
            .await
        {
            ChannelStatus::Down { cause } => (self.clock.elapsed() - since, cause),
            other => panic!("{other:?}"),
        }
    }

    fn submit(&mut self) -> Token {
        self.messages += 1;
        let token = Token {
            message: MessageId::new(Timestamp(1), [self.messages; 10]),
            attempt: 0,
            claim: 1,
        };
        let request = request(token, self.clock.now());
        self.channel.requests.try_send(request).unwrap();
        token
    }

    async fn event(&mut self) -> ChannelEvent {
        let next = tokio::time::timeout(DEADLINE, self.events.recv());
        next.await.expect("in time").expect("running")
    }

    async fn outcome(&mut self) -> (Token, SegmentOutcome) {
        match self.event().await {
            ChannelEvent::Segment { token, outcome, .. } => (token, outcome),
            other => panic!("{other:?}"),
        }
    }

    /// The channel works: a message goes out over `peer` and its answer comes in.
    async fn works(&mut self, peer: &mut Peer) {
        let token = self.submit();
        let (.., sequence, _) = peer.read_a(SUBMIT).await;
        peer.send(SUBMIT_RESP, 0, sequence, b"id\0").await;
        assert_eq!(
            self.outcome().await,
            (token, SegmentOutcome::Accepted("id".to_owned()))
        );
    }

    async fn end(self) {
        self.stop.cancel();
        // Nobody answers any more: the peers are gone.
        drop(self.connections);
        let ended = tokio::time::timeout(DEADLINE, self.task);
        ended.await.expect("in time").expect("no panic");
    }
}

/// A message of one part.
fn request(token: Token, now: Timestamp) -> SubmitRequest {
    SubmitRequest {
        token,
        to: Msisdn::from_e164_digits("33612345678").unwrap(),
        from: None,
        alphabet: Alphabet::Gsm7,
        segment: 0,
        payload: b"Bonjour".to_vec().into(),
        total: 1,
        reference: 1,
        expires_at: now + Duration::from_hours(48),
        priority: 0,
        relayed: None,
    }
}

/// The body of a `deliver_sm` from a handset.
fn deliver(text: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x01\x0133612345678\0\x03\x0036111\0\0\0\0\0\0\0\0\0\0".to_vec();
    body.push(u8::try_from(text.len()).unwrap());
    body.extend(text);
    body
}
