//! One SMPP session on one stream: the machine that both roles, ESME and SMSC, are built on.
//!
//! A [`Link`] is driven by a single task that calls [`Link::next`] in its `select!`. It answers
//! `enquire_link`, sends its own when the peer has answered nothing for a while, keeps the window of
//! unanswered requests, answers what it cannot read, and reports the rest as [`LinkEvent`]s.
//!
//! A link that looks alive may be dead in three ways, and each ends it:
//!
//! - *Silent*: our `enquire_link` is unanswered, and nothing else has come since. Any whole PDU is a
//!   sign of life, because some peers do not answer `enquire_link` while they are busy.
//! - *Deaf*: the peer lives, but for [`DEAF_AFTER`] response times none of our requests was answered.
//! - *Stalled*: the peer has taken none of our octets for a response time.
//!
//! - Writing is a buffer: [`Link::request`] and [`Link::respond`] only append to it, and `next`
//!   writes it before it waits, so that many PDUs go out in one write. Reading and writing progress
//!   together: two peers that both write much cannot block each other for ever.
//! - A peer that does not read what we write is not read from either once [`MAX_UNWRITTEN`] octets
//!   stand: memory stays bounded.
//! - `next` may be dropped at any await without losing anything.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use rusmpp::{CommandId, Pdu, pdus};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Sleep;
use tokio_util::codec::{Decoder, Encoder};

use super::deliver::Deliver;
use super::errors::{ESME_RINVCMDID, ESME_RINVCMDLEN, ESME_ROK, ESME_RUNKNOWNERR};
use super::frame::{Frame, FrameCodec, FrameError, Header, command};
use super::window::Window;
use crate::channel::PeerWord;
use crate::clock::Clock;

/// Octets that may wait to be written before reading stops.
pub const MAX_UNWRITTEN: usize = 256 * 1024;

/// Response times without an answer to any request after which the peer is given up. Several, so that
/// late answers, which bind ids, still come by the link that they belong to.
pub const DEAF_AFTER: u32 = 3;

/// Malformed PDUs in a row after which the peer is given up.
pub const MAX_MALFORMED: u32 = 5;

/// Complaints about the peer's PDUs that one session logs: a hostile peer must not fill the disk.
pub(super) const MAX_COMPLAINTS: u32 = 10;

const READ_CHUNK: usize = 32 * 1024;

/// The timers of a session.
#[derive(Clone, Copy, Debug)]
pub struct LinkTimers {
    /// How long a request may wait for its response.
    pub response: Duration,
    /// After how long without any response we send an `enquire_link`; `None`: never.
    pub enquire_link: Option<Duration>,
}

/// What happens on a link.
#[derive(Debug)]
pub enum LinkEvent<T> {
    /// A `deliver_sm` or `data_sm`, to be answered by the role.
    Deliver {
        /// Its header.
        header: Header,
        /// Its body.
        deliver: Deliver,
    },
    /// Another request, to be answered by the role.
    Request {
        /// Its header.
        header: Header,
        /// Its body.
        pdu: Pdu,
    },
    /// The response to one of our requests.
    Answer {
        /// The request's tag.
        tag: T,
        /// `command_status`; never `ESME_ROK` for a `generic_nack`.
        status: u32,
        /// The identifier that the response begins with; may be empty.
        id: String,
        /// From sending to answer.
        took: Duration,
        /// True if it had been reported as timed out.
        late: bool,
        /// What else the peer says in it.
        peer: PeerWord,
    },
    /// A request was not answered in time. Its answer may still come, as a late one.
    TimedOut {
        /// The request's tag.
        tag: T,
        /// How long it has waited.
        took: Duration,
    },
    /// The peer wants to end the session; the role answers with [`Link::respond_unbind`].
    Unbind {
        /// Its sequence number.
        sequence: u32,
    },
    /// The peer has answered our `unbind`.
    Unbound,
    /// The session is over.
    Closed(Closed),
}

/// Why a session is over.
#[derive(Debug, Error)]
pub enum Closed {
    /// The peer closed the connection.
    #[error("connection closed by peer")]
    Peer,
    /// The stream failed.
    #[error("connection lost: {0}")]
    Io(#[from] std::io::Error),
    /// The peer sends what is no SMPP.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// Too many malformed PDUs in a row.
    #[error("{0} malformed PDUs in a row")]
    Malformed(u32),
    /// Our `enquire_link` was not answered, and nothing else came.
    #[error("enquire_link unanswered for {} ms", .0.as_millis())]
    Silent(Duration),
    /// None of our requests was answered.
    #[error("no request answered for {} ms", .0.as_millis())]
    Deaf(Duration),
    /// The peer takes none of our octets.
    #[error("nothing taken by the peer for {} ms", .0.as_millis())]
    Stalled(Duration),
}

/// One session. `T` is what its owner knows a request by.
#[derive(Debug)]
pub struct Link<S, T> {
    stream: S,
    input: BytesMut,
    output: BytesMut,
    /// True from a write until the stream has been flushed.
    unflushed: bool,
    window: Window<T>,
    timers: LinkTimers,
    clock: Clock,
    /// When the peer last answered anything: the proof that it reads what we write.
    answered_at: Duration,
    /// When the last whole PDU came.
    heard_at: Duration,
    /// Since when requests have gone unanswered, if some have and none was answered since.
    deaf_since: Option<Duration>,
    /// Since when octets wait and the stream takes none.
    stalled_since: Option<Duration>,
    enquiry: Option<Enquiry>,
    unbind: Option<u32>,
    malformed: u32,
    complaints: u32,
    ignores_enquiries: bool,
    mute: bool,
    sleep: Option<Pin<Box<Sleep>>>,
    /// What the clock will show when `sleep` ends.
    wakes_at: Duration,
}

/// Our unanswered `enquire_link`.
#[derive(Clone, Copy, Debug)]
struct Enquiry {
    sequence: u32,
    sent_at: Duration,
    deadline: Duration,
}

enum Progress {
    Read(std::io::Result<usize>),
    Written(std::io::Error),
    Timer,
}

impl<S: AsyncRead + AsyncWrite + Unpin, T: Clone> Link<S, T> {
    /// A session on a connected stream.
    pub fn new(stream: S, timers: LinkTimers, clock: Clock) -> Self {
        let answered_at = clock.elapsed();
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            unflushed: false,
            window: Window::default(),
            timers,
            clock,
            answered_at,
            heard_at: answered_at,
            deaf_since: None,
            stalled_since: None,
            enquiry: None,
            unbind: None,
            malformed: 0,
            complaints: 0,
            ignores_enquiries: false,
            mute: false,
            sleep: None,
            wakes_at: Duration::MAX,
        }
    }

    /// Sends a request with the next call of [`Link::next`]; its answer or time-out will carry `tag`.
    pub fn request(&mut self, pdu: impl Into<Pdu>, tag: T) {
        let pdu = pdu.into();
        let (id, now) = (pdu.command_id(), self.clock.elapsed());
        let sequence = self.window.next_sequence();
        self.window
            .insert(sequence, id, tag, now, now + self.timers.response);
        self.put(0, sequence, pdu);
    }

    /// Answers a request of the peer.
    pub fn respond(&mut self, status: u32, sequence: u32, pdu: impl Into<Pdu>) {
        self.put(status, sequence, pdu.into());
    }

    /// Refuses a request with the response that belongs to it (SMPP 3.4 §4.3: `generic_nack` only
    /// where there is none).
    pub fn refuse(&mut self, header: Header, status: u32) {
        match header.command {
            CommandId::DeliverSm => {
                self.respond(status, header.sequence, pdus::DeliverSmResp::default())
            }
            CommandId::DataSm => self.respond(status, header.sequence, pdus::DataSmResp::default()),
            CommandId::SubmitSm => {
                self.respond(status, header.sequence, pdus::SubmitSmResp::default())
            }
            // These have no response at all.
            CommandId::AlertNotification | CommandId::Outbind => {}
            _ => self.respond(status, header.sequence, Pdu::GenericNack),
        }
    }

    /// Answers the peer's `unbind`.
    pub fn respond_unbind(&mut self, sequence: u32) {
        self.respond(ESME_ROK, sequence, Pdu::UnbindResp);
    }

    /// Asks the peer to end the session; [`LinkEvent::Unbound`] is its answer.
    pub fn unbind(&mut self) {
        let sequence = self.window.next_sequence();
        self.unbind = Some(sequence);
        self.put(0, sequence, Pdu::Unbind);
    }

    /// Sends octets as they are: for simulators that misbehave.
    pub fn put_raw(&mut self, octets: &[u8]) {
        self.output.extend_from_slice(octets);
    }

    /// Leaves the peer's `enquire_link` unanswered, or answers it again: for simulators.
    pub fn ignore_enquiries(&mut self, ignore: bool) {
        self.ignores_enquiries = ignore;
    }

    /// Writes nothing any more, not even what is waiting to be written: for simulators.
    pub fn mute(&mut self) {
        self.mute = true;
        self.output.clear();
    }

    /// The stream, to set what the transport can do.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Number of requests that await their response.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.window.len()
    }

    /// The tags of all requests that await their response; they will not be reported any more.
    pub fn abandon(&mut self) -> Vec<T> {
        self.window.drain()
    }

    /// Waits for what happens next. After [`LinkEvent::Closed`] there is nothing more.
    pub async fn next(&mut self) -> LinkEvent<T> {
        // A timer counts only once everything that has arrived is read: when the owner was kept
        // busy for longer than a time-out, the answer may be waiting in the socket.
        let mut caught_up = false;
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            if caught_up && let Some(event) = self.run_timers() {
                return event;
            }
            match poll_fn(|cx| self.poll_io(cx)).await {
                Progress::Read(Ok(0)) => return LinkEvent::Closed(Closed::Peer),
                Progress::Read(Ok(octets)) => caught_up = octets < READ_CHUNK,
                Progress::Read(Err(error)) | Progress::Written(error) => {
                    return LinkEvent::Closed(error.into());
                }
                Progress::Timer => {
                    self.sleep = None;
                    caught_up = true;
                }
            }
        }
    }

    /// What the octets already received hold, without waiting for any.
    pub fn try_next(&mut self) -> Option<LinkEvent<T>> {
        loop {
            let frame = match FrameCodec.decode(&mut self.input) {
                Ok(frame) => frame?,
                Err(error) => return Some(LinkEvent::Closed(error.into())),
            };
            if let Some(event) = self.take(frame) {
                return Some(event);
            }
        }
    }

    /// Writes what is still unwritten and closes the stream. The caller bounds how long.
    pub async fn close(mut self) {
        while !self.output.is_empty() {
            if self.stream.write_buf(&mut self.output).await.is_err() {
                return;
            }
        }
        let _ = self.stream.shutdown().await;
    }

    fn put(&mut self, status: u32, sequence: u32, pdu: Pdu) {
        if self.mute {
            return;
        }
        // Only a PDU of more than 64 KiB cannot be written, and none of ours can be that long.
        if let Err(error) = FrameCodec.encode(command(status, sequence, pdu), &mut self.output) {
            tracing::error!(%error, "a PDU is too long to be sent");
        }
    }

    fn take(&mut self, frame: Frame) -> Option<LinkEvent<T>> {
        self.heard_at = self.clock.elapsed();
        if !matches!(frame, Frame::Malformed { .. }) {
            self.malformed = 0;
        }
        match frame {
            Frame::Response { header, id, peer } => self.take_response(header, id, peer),
            Frame::Deliver { header, deliver } => Some(LinkEvent::Deliver { header, deliver }),
            Frame::Request {
                header,
                pdu: Pdu::EnquireLink,
            } => {
                if self.ignores_enquiries {
                    return None;
                }
                self.respond(ESME_ROK, header.sequence, Pdu::EnquireLinkResp);
                None
            }
            Frame::Request {
                header,
                pdu: Pdu::Unbind,
            } => Some(LinkEvent::Unbind {
                sequence: header.sequence,
            }),
            Frame::Request { header, pdu } => Some(LinkEvent::Request { header, pdu }),
            Frame::UnknownCommand { header } => {
                tracing::debug!(command = u32::from(header.command), "unknown command");
                self.respond(ESME_RINVCMDID, header.sequence, Pdu::GenericNack);
                None
            }
            Frame::Malformed { header, reason } => {
                if self.complaints < MAX_COMPLAINTS {
                    self.complaints += 1;
                    tracing::warn!(command = u32::from(header.command), reason, "malformed PDU");
                }
                // A permanent status: the same octets would be no better the next time.
                self.refuse(header, ESME_RINVCMDLEN);
                self.malformed += 1;
                (self.malformed >= MAX_MALFORMED)
                    .then(|| LinkEvent::Closed(Closed::Malformed(self.malformed)))
            }
        }
    }

    fn take_response(
        &mut self,
        header: Header,
        id: String,
        peer: PeerWord,
    ) -> Option<LinkEvent<T>> {
        let now = self.clock.elapsed();
        self.answered_at = now;
        if self
            .enquiry
            .is_some_and(|enquiry| enquiry.sequence == header.sequence)
        {
            self.enquiry = None;
            return None;
        }
        if self.unbind == Some(header.sequence) {
            self.unbind = None;
            return Some(LinkEvent::Unbound);
        }
        let nack = header.command == CommandId::GenericNack;
        let Some(answered) = self.window.answer(header.sequence, header.command, now) else {
            tracing::debug!(
                command = u32::from(header.command),
                "a response to no request"
            );
            return None;
        };
        self.deaf_since = None;
        let status = if nack && header.status == ESME_ROK {
            ESME_RUNKNOWNERR
        } else {
            header.status
        };
        let id = if nack { String::new() } else { id };
        Some(LinkEvent::Answer {
            tag: answered.tag,
            status,
            id,
            took: answered.took,
            late: answered.late,
            peer,
        })
    }

    fn run_timers(&mut self) -> Option<LinkEvent<T>> {
        let now = self.clock.elapsed();
        let limit = self.timers.response;
        if let Some((tag, took)) = self.window.time_out(now) {
            self.deaf_since.get_or_insert(now.saturating_sub(took));
            return Some(LinkEvent::TimedOut { tag, took });
        }
        // Only once every request that has timed out is reported.
        if let Some(since) = self.deaf_since
            && since + limit * DEAF_AFTER <= now
        {
            return Some(LinkEvent::Closed(Closed::Deaf(now.saturating_sub(since))));
        }
        if self.stalled_since.is_some_and(|since| since + limit <= now) {
            return Some(LinkEvent::Closed(Closed::Stalled(limit)));
        }
        match (self.enquiry, self.timers.enquire_link) {
            (Some(enquiry), interval) if enquiry.deadline <= now => {
                if self.heard_at <= enquiry.sent_at {
                    return Some(LinkEvent::Closed(Closed::Silent(limit)));
                }
                // It lives, and is asked again. From what was heard last it has as long as any peer.
                let deadline = self.heard_at + interval.unwrap_or_default() + limit;
                self.enquire(now, deadline);
            }
            (None, Some(interval)) if self.answered_at + interval <= now => {
                self.enquire(now, now + limit);
            }
            _ => {}
        }
        None
    }

    fn enquire(&mut self, now: Duration, deadline: Duration) {
        let sequence = self.window.next_sequence();
        self.enquiry = Some(Enquiry {
            sequence,
            sent_at: now,
            deadline,
        });
        self.put(0, sequence, Pdu::EnquireLink);
    }

    /// Makes sure that `sleep` ends no later than the next deadline. It may end sooner: deadlines
    /// move with every answer, and moving the timer as often would cost more than a false alarm.
    fn arm(&mut self) {
        let enquiry = match self.enquiry {
            Some(enquiry) => Some(enquiry.deadline),
            None => self
                .timers
                .enquire_link
                .map(|interval| self.answered_at + interval),
        };
        let stalled = self.stalled_since.map(|since| since + self.timers.response);
        let Some(next) = [self.window.next_deadline(), enquiry, stalled]
            .into_iter()
            .flatten()
            .min()
        else {
            self.sleep = None;
            return;
        };
        if self.sleep.is_none() || next < self.wakes_at {
            let wait = next.saturating_sub(self.clock.elapsed());
            self.sleep = Some(Box::pin(tokio::time::sleep(wait)));
            self.wakes_at = next;
        }
    }

    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        while !self.output.is_empty() {
            match pin!(self.stream.write_buf(&mut self.output)).poll(cx) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Progress::Written(std::io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(_)) => {
                    self.unflushed = true;
                    self.stalled_since = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Progress::Written(error)),
                Poll::Pending => {
                    self.stalled_since.get_or_insert(self.clock.elapsed());
                    break;
                }
            }
        }
        if self.unflushed && self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Progress::Written(error)),
                Poll::Pending => {}
            }
        }
        if self.output.len() < MAX_UNWRITTEN {
            self.input.reserve(READ_CHUNK);
            if let Poll::Ready(read) = pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
                return Poll::Ready(Progress::Read(read));
            }
        }
        self.arm();
        if let Some(sleep) = &mut self.sleep
            && sleep.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Progress::Timer);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
