//! What lies in a store, or came directly: a message from a handset, a status report, or neither.

use sha2::{Digest, Sha256};

use super::super::answer::PduHeader;
use super::super::report::{self, Report};
use crate::domain::inbound::{Numbering, Part};
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;
use crate::pdu::DecodeError;
use crate::pdu::address::{Address, TypeOfNumber};
use crate::pdu::deliver::Deliver;
use crate::pdu::tpdu::{self, Pdu, Tpdu};
use crate::pdu::udh::Reference;
use crate::pdu::user_data::UserData;

/// What a message or a record is known by.
pub(super) type Fingerprint = [u8; 16];

/// A record, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// From a handset.
    Message(Box<Message>),
    /// About something sent.
    Report(Box<Report>),
    /// Written to be sent, by a person or another program.
    Draft,
}

/// A message from a handset, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// With `+` if it is an international number.
    pub(super) from: String,
    pub(super) text: String,
    pub(super) part: Option<Part>,
    pub(super) fingerprint: Fingerprint,
}

/// The SIM that a record is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sim {
    /// Its IMSI, or whatever names it.
    pub(super) name: String,
    /// See [`report::country`].
    pub(super) country: Option<&'static str>,
}

/// Reads a record.
///
/// # Errors
/// What is wrong with its PDU, without any of its octets.
pub(super) fn read(header: &PduHeader, sim: &Sim, now: Timestamp) -> Result<Record, DecodeError> {
    Ok(match decode(header)? {
        Tpdu::Deliver(deliver) => Record::Message(Box::new(message(&deliver, &sim.name))),
        Tpdu::StatusReport(of) => {
            let report = report::read(&of, &sim.name, sim.country, now);
            Record::Report(Box::new(report))
        }
        Tpdu::Submit(_) => Record::Draft,
    })
}

/// The announced length counts the TPDU alone: where it is that of all octets, the modem has left
/// the service centre's address out, if the TPDU then makes sense. It is not believed otherwise.
fn decode(header: &PduHeader) -> Result<Tpdu, DecodeError> {
    let octets = tpdu::octets_of_hex(&header.pdu)?;
    let bare = || Tpdu::decode(&octets).ok();
    if usize::from(header.length) == octets.len()
        && let Some(tpdu) = bare()
    {
        return Ok(tpdu);
    }
    Pdu::decode(&octets).map(|pdu| pdu.tpdu)
}

fn message(deliver: &Deliver, sim: &str) -> Message {
    let data = &deliver.user_data;
    Message {
        from: sender(&deliver.originator),
        text: text(data),
        part: part(data),
        fingerprint: fingerprint(&[sim.as_bytes(), &[0], &deliver.encode()]),
    }
}

/// A name or a short code stays as it is, also one that is wrongly called international.
fn sender(address: &Address) -> String {
    let number = match address.ton() {
        TypeOfNumber::International => Msisdn::from_e164_digits(address.value()),
        _ => None,
    };
    number.map_or_else(|| address.value().to_owned(), |number| number.to_string())
}

/// 8-bit data and compressed text become hexadecimal, with a header that cannot be read: nothing is
/// lost, and nothing is taken for characters that are none.
fn text(data: &UserData) -> String {
    data.text().unwrap_or_else(|| {
        let header = match data.udh() {
            Ok(_) => &[],
            Err(_) => data.header(),
        };
        tpdu::hex_of_octets(&[header, data.content()].concat())
    })
}

fn part(data: &UserData) -> Option<Part> {
    let concat = data.udh().ok()?.concat?;
    let (numbering, reference) = match concat.reference {
        Reference::Eight(reference) => (Numbering::Header8, u16::from(reference)),
        Reference::Sixteen(reference) => (Numbering::Header16, reference),
    };
    (concat.total > 1).then_some(Part {
        numbering,
        reference,
        total: concat.total,
        index: concat.index,
    })
}

/// What these octets, one after the other, are known by.
pub(super) fn fingerprint(pieces: &[&[u8]]) -> Fingerprint {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
    }
    let mut short = Fingerprint::default();
    let octets = hash.finalize();
    short.copy_from_slice(&octets[..16]);
    short
}
