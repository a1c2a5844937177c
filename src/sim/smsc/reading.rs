//! A `submit_sm` as the ledger has it: its text in this SMSC's alphabet, its place among parts.

use bytes::{Bytes, BytesMut};
use rusmpp::encode::owned::Encode;
use rusmpp::pdus;

use super::ledger::{PartOf, SubmittedEntry};
use super::script::DefaultAlphabet;
use crate::channel::smpp::deliver::{Address, UDHI, tag};
use crate::channel::smpp::text;
use crate::domain::time::Timestamp;
use crate::pdu::{
    latin1,
    udh::{self, Reference},
};

/// Where and when it came.
pub(super) struct Arrival {
    pub(super) at: Timestamp,
    pub(super) session: u64,
    pub(super) outstanding: usize,
}

pub(super) fn entry(
    pdu: &pdus::SubmitSm,
    alphabet: DefaultAlphabet,
    arrival: Arrival,
) -> SubmittedEntry {
    let tlvs: Vec<(u16, Bytes)> = pdu
        .tlvs()
        .iter()
        .map(|tlv| {
            let mut value = BytesMut::new();
            if let Some(known) = tlv.value() {
                known.encode(&mut value);
            }
            (u16::from(tlv.tag()), value.freeze())
        })
        .collect();
    let tlv = |tag| tlvs.iter().find(|(found, _)| *found == tag).map(|t| &t.1);
    let mut octets = Bytes::copy_from_slice(pdu.short_message().as_ref());
    if octets.is_empty()
        && let Some(payload) = tlv(tag::MESSAGE_PAYLOAD)
    {
        octets = payload.clone();
    }
    let (esm_class, data_coding) = (u8::from(pdu.esm_class), u8::from(pdu.data_coding));
    let mut part = sar(tlv);
    let mut body = &octets[..];
    if esm_class & UDHI != 0
        && let Ok((header, rest)) = udh::parse(&octets)
    {
        body = rest;
        if let Some(concat) = header.concat {
            part = Some(PartOf {
                reference: match concat.reference {
                    Reference::Eight(reference) => u16::from(reference),
                    Reference::Sixteen(reference) => reference,
                },
                total: concat.total,
                index: concat.index,
            });
        }
    }
    SubmittedEntry {
        at: arrival.at,
        session: arrival.session,
        source: Address {
            ton: u8::from(pdu.source_addr_ton),
            npi: u8::from(pdu.source_addr_npi),
            text: pdu.source_addr.as_str().to_owned(),
        },
        destination: Address {
            ton: u8::from(pdu.dest_addr_ton),
            npi: u8::from(pdu.dest_addr_npi),
            text: pdu.destination_addr.as_str().to_owned(),
        },
        data_coding,
        esm_class,
        registered_delivery: u8::from(pdu.registered_delivery),
        priority: u8::from(pdu.priority_flag),
        service_type: pdu.service_type.value().as_str().to_owned(),
        validity: pdu.validity_period.as_str().to_owned(),
        protocol_id: pdu.protocol_id,
        text: shown(data_coding, alphabet, body),
        tlvs,
        octets,
        part,
        id: None,
        status: None,
        outstanding: arrival.outstanding,
    }
}

/// The place that the SAR TLVs give (SMPP 3.4 §5.3.2.22 to 24); all three, or none.
fn sar<'a>(tlv: impl Fn(u16) -> Option<&'a Bytes>) -> Option<PartOf> {
    let reference = tlv(tag::SAR_MSG_REF_NUM)?;
    let total = tlv(tag::SAR_TOTAL_SEGMENTS)?;
    let index = tlv(tag::SAR_SEGMENT_SEQNUM)?;
    match (&reference[..], &total[..], &index[..]) {
        (&[high, low], &[total], &[index]) if (1..=total).contains(&index) => Some(PartOf {
            reference: u16::from_be_bytes([high, low]),
            total,
            index,
        }),
        _ => None,
    }
}

fn shown(data_coding: u8, alphabet: DefaultAlphabet, octets: &[u8]) -> String {
    match (data_coding, alphabet) {
        (0, DefaultAlphabet::Latin1) => latin1::decode(octets),
        (0, DefaultAlphabet::Ascii) => octets
            .iter()
            .map(|octet| match octet {
                0..=0x7F => char::from(*octet),
                _ => char::REPLACEMENT_CHARACTER,
            })
            .collect(),
        _ => text::decode(data_coding, octets),
    }
}
