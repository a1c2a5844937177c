//! PDUs in and out of octets.
//!
//! Every frame is cut by its `command_length` *before* anything is decoded, so that a damaged PDU
//! can never borrow octets from the one behind it: it is reported as [`Frame::Malformed`] with its
//! sequence number, and the next frame is read as if nothing had happened. Only a length that no
//! PDU can have is fatal, because then nobody knows where the next frame starts.
//!
//! What carriers write is often not what the specification says: identifiers that are not ASCII,
//! responses without a body, TLVs without their final NUL. The three PDUs that carry our truth
//! (`submit_sm_resp`, `deliver_sm`, `data_sm`) are therefore read by hand and leniently; the other
//! requests are read by rusmpp, and everything that we send is written by rusmpp.

use bytes::{Buf, Bytes, BytesMut};
use rusmpp::decode::DecodeWithLength;
use rusmpp::encode::Length;
use rusmpp::{Command, CommandId, CommandStatus, Pdu};
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

use super::deliver::{Deliver, tag};
use crate::channel::PeerWord;

/// Octets of a header (SMPP 3.4 §3.2), the smallest PDU.
pub const MIN_FRAME: usize = 16;

/// Largest PDU taken: a header, the mandatory fields and a `message_payload` of 64 KiB.
pub const MAX_FRAME: usize = 66_600;

/// Longest id taken from a response or a receipt; `message_id` has 64 characters (SMPP 3.4 §5.2.23).
pub const ID_MAX: usize = 100;

/// The header of a PDU without its length (SMPP 3.4 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What kind of PDU.
    pub command: CommandId,
    /// `command_status`; 0 in requests.
    pub status: u32,
    /// `sequence_number`, which joins a response to its request.
    pub sequence: u32,
}

impl Header {
    /// True if the PDU is a response (SMPP 3.4 §5.1.2.1: bit 31).
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.command.is_response()
    }
}

/// One PDU as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Any response. Of its body the leading C-string is read (the `message_id` of a
    /// `submit_sm_resp`, else a name); it is empty where the body is absent, as it may be in a
    /// response with an error status (SMPP 3.4 §4.4.2). Of what follows two TLVs are read; the rest
    /// is passed over, damaged or not.
    Response {
        /// Its header.
        header: Header,
        /// The leading C-string of the body, octets above 0x7F read as ISO-8859-1.
        id: String,
        /// What the TLVs say.
        peer: PeerWord,
    },
    /// A `deliver_sm` or a `data_sm`.
    Deliver {
        /// Its header.
        header: Header,
        /// Its body.
        deliver: Deliver,
    },
    /// Any other request.
    Request {
        /// Its header.
        header: Header,
        /// Its body.
        pdu: Pdu,
    },
    /// A known command whose body cannot be read; the frames behind it are unharmed.
    Malformed {
        /// Its header.
        header: Header,
        /// What is wrong, without any of its content.
        reason: String,
    },
    /// A request that is not in the specification.
    UnknownCommand {
        /// Its header.
        header: Header,
    },
}

/// Why a stream of frames cannot be read any further.
#[derive(Debug, Error)]
pub enum FrameError {
    /// No PDU has this length, so that the next frame cannot be found.
    #[error("frame of {0} octets; a PDU has 16 to 66600")]
    Length(u32),
    /// The stream failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Cuts and reads frames, and writes them. Stateless.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCodec;

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(&length) = src.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(length);
        // The length is judged as soon as it is known: a hostile one must not make us wait, let
        // alone reserve memory.
        let octets = usize::try_from(length).unwrap_or(usize::MAX);
        if !(MIN_FRAME..=MAX_FRAME).contains(&octets) {
            return Err(FrameError::Length(length));
        }
        if src.len() < octets {
            src.reserve(octets - src.len());
            return Ok(None);
        }
        let mut frame = src.split_to(octets);
        frame.advance(4);
        Ok(Some(read(frame)))
    }
}

impl Encoder<Command> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, command: Command, dst: &mut BytesMut) -> Result<(), FrameError> {
        let octets = 4 + command.length();
        let length = u32::try_from(octets).unwrap_or(u32::MAX);
        if octets > MAX_FRAME {
            return Err(FrameError::Length(length));
        }
        dst.reserve(octets);
        dst.extend_from_slice(&length.to_be_bytes());
        rusmpp::encode::owned::Encode::encode(&command, dst);
        Ok(())
    }
}

/// A PDU with a status given as a number.
#[must_use]
pub fn command(status: u32, sequence: u32, pdu: impl Into<Pdu>) -> Command {
    Command::new(CommandStatus::from(status), sequence, pdu)
}

/// Reads one whole frame without its length.
fn read(frame: BytesMut) -> Frame {
    let word = |at: usize| {
        frame
            .get(at..)
            .and_then(|rest| rest.first_chunk::<4>())
            .map_or(0, |w| u32::from_be_bytes(*w))
    };
    let header = Header {
        command: CommandId::from(word(0)),
        status: word(4),
        sequence: word(8),
    };
    if header.is_response() {
        let body = frame.get(12..).unwrap_or_default();
        let end = body
            .iter()
            .position(|octet| *octet == 0)
            .unwrap_or(body.len());
        let id = &body[..end.min(ID_MAX)];
        return Frame::Response {
            header,
            id: id.iter().copied().map(char::from).collect(),
            peer: peer_word(body.get(end + 1..).unwrap_or_default()),
        };
    }
    match header.command {
        CommandId::Other(_) => Frame::UnknownCommand { header },
        CommandId::DeliverSm | CommandId::DataSm => {
            let mut body: Bytes = frame.freeze();
            body.advance(12);
            match Deliver::read(body, header.command == CommandId::DataSm) {
                Ok(deliver) => Frame::Deliver { header, deliver },
                Err(reason) => Frame::Malformed {
                    header,
                    reason: reason.to_string(),
                },
            }
        }
        _ => {
            let mut frame = frame;
            let length = frame.len();
            match Command::decode(&mut frame, length) {
                Ok((command, _)) => match command.pdu() {
                    Some(pdu) => Frame::Request {
                        header,
                        pdu: pdu.clone(),
                    },
                    None => Frame::Malformed {
                        header,
                        reason: "the body is missing".to_owned(),
                    },
                },
                Err(error) => Frame::Malformed {
                    header,
                    reason: error.to_string(),
                },
            }
        }
    }
}

/// What the TLVs of a response say, up to the first that is damaged.
fn peer_word(mut tlvs: &[u8]) -> PeerWord {
    let mut peer = PeerWord::default();
    while tlvs.len() >= 4 {
        let (tag, length) = (tlvs.get_u16(), usize::from(tlvs.get_u16()));
        let Some((value, rest)) = tlvs.split_at_checked(length) else {
            break;
        };
        match (tag, value) {
            (tag::SC_INTERFACE_VERSION, [version]) => peer.interface_version = Some(*version),
            (tag::CONGESTION_STATE, [state]) => peer.congestion = Some(*state),
            _ => {}
        }
        tlvs = rest;
    }
    peer
}

#[cfg(test)]
mod tests;
