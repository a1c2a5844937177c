//! A segment to send, as a `submit_sm` (SMPP 3.4 §4.4.1).

use std::str::FromStr;
use std::time::Duration;

use rusmpp::pdus::SubmitSm;
use rusmpp::tlvs::{MessageSubmissionRequestTlvValue, TlvTag};
use rusmpp::types::{AnyOctetString, COctetString, EmptyOrFullCOctetString, OctetString};
use rusmpp::values::{
    DataCoding, EsmClass, MessagePayload, Npi, PriorityFlag, RegisteredDelivery, ServiceType, Ton,
};
use thiserror::Error;

use super::SmppConfig;
use super::deliver::UDHI;
use crate::channel::SubmitRequest;
use crate::domain::sender::Sender;
use crate::domain::wire::{Concatenation, Numbering, WireRules};
use crate::pdu::segment::Alphabet;
use crate::pdu::udh;

/// `data_coding` of ISO-8859-1 text (SMPP 3.4 §5.2.19).
pub const DATA_CODING_LATIN1: u8 = 3;

/// `data_coding` of UTF-16BE text (SMPP 3.4 §5.2.19).
pub const DATA_CODING_UCS2: u8 = 8;

/// Most octets of a `short_message` (SMPP 3.4 §5.2.22).
const MAX_SHORT_MESSAGE: usize = 254;

/// Longest relative validity that is written: its days are two digits of a month.
const MAX_VALIDITY: Duration = Duration::from_hours(30 * 24);

/// Shortest validity that is written: less would expire before it is tried.
const MIN_VALIDITY: Duration = Duration::from_mins(1);

/// A value cannot be written into a PDU. It is not shown: it may be a number, a text or a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{field} is too long for its field or not ASCII")]
pub struct EncodeError {
    /// The field that the value was meant for.
    pub field: &'static str,
}

/// The `submit_sm` of one segment, which has `validity` left.
///
/// # Errors
/// Which field cannot hold its value.
pub fn submit_sm(
    config: &SmppConfig,
    request: &SubmitRequest,
    validity: Duration,
) -> Result<SubmitSm, EncodeError> {
    let sender = request.from.as_ref().or(config.sender.as_ref());
    let Numbering { ton, npi } = config.wire.source.of(sender);
    let destination = request.to.to_string();
    let data_coding = match request.alphabet {
        Alphabet::Gsm7 => config.data_coding_gsm,
        Alphabet::Latin1 => DATA_CODING_LATIN1,
        Alphabet::Ucs2 => DATA_CODING_UCS2,
    };
    let wire = &config.wire;
    let body = Body::of(wire, request);
    if !body.tlvs.is_empty() && !wire.version.has_tlvs() {
        // The configuration allows no other TLV with such a version.
        return Err(EncodeError {
            field: "message_payload",
        });
    }
    let priority = usize::from(request.priority.min(3));
    Ok(SubmitSm::builder()
        .service_type(ServiceType::new(c_string(
            &config.service_type,
            "service_type",
        )?))
        .source_addr_ton(Ton::from(config.source_ton.unwrap_or(ton)))
        .source_addr_npi(Npi::from(config.source_npi.unwrap_or(npi)))
        .source_addr(c_string(sender.map_or("", Sender::address), "source_addr")?)
        .dest_addr_ton(Ton::from(config.dest_ton.unwrap_or(1)))
        .dest_addr_npi(Npi::from(config.dest_npi.unwrap_or(1)))
        .destination_addr(c_string(
            destination.trim_start_matches('+'),
            "destination_addr",
        )?)
        .esm_class(EsmClass::from(body.esm_class))
        .protocol_id(wire.protocol_id)
        .priority_flag(PriorityFlag::from(wire.priority_flags[priority]))
        .validity_period(
            EmptyOrFullCOctetString::from_str(&validity_period(validity)).map_err(|_| {
                EncodeError {
                    field: "validity_period",
                }
            })?,
        )
        .registered_delivery(RegisteredDelivery::from(wire.registered_delivery))
        .data_coding(DataCoding::from(data_coding))
        .short_message(
            OctetString::from_vec(body.short_message).map_err(|_| EncodeError {
                field: "short_message",
            })?,
        )
        .tlvs(body.tlvs)
        .build())
}

/// Where the text stands in a PDU, and what says which part of it this is.
struct Body {
    esm_class: u8,
    short_message: Vec<u8>,
    tlvs: Vec<MessageSubmissionRequestTlvValue>,
}

impl Body {
    fn of(wire: &WireRules, request: &SubmitRequest) -> Self {
        use MessageSubmissionRequestTlvValue as Tlv;
        let SubmitRequest { total, payload, .. } = request;
        // A part's number is its index plus one; a plan never has more than 255 parts.
        let number = u8::try_from(request.segment.saturating_add(1)).unwrap_or(u8::MAX);
        let [_, low] = request.reference.to_be_bytes();
        let mut tlvs = Vec::new();
        let mut esm_class = 0;
        let mut short_message = Vec::new();
        match wire.concatenation {
            // Handed over whole, by rule or because the plan was made under such a rule: what stands
            // in message_payload must not stand in short_message too (SMPP 3.4 §5.3.2.32).
            concatenation
                if *total == 1
                    && (concatenation == Concatenation::Payload
                        || payload.len() > MAX_SHORT_MESSAGE) =>
            {
                tlvs.push(Tlv::MessagePayload(MessagePayload::new(
                    AnyOctetString::from_vec(payload.to_vec()),
                )));
            }
            _ if *total == 1 => short_message.extend_from_slice(payload),
            Concatenation::Udh16 => {
                esm_class = UDHI;
                short_message.extend(udh::concat16(request.reference, *total, number));
                short_message.extend_from_slice(payload);
            }
            Concatenation::Sar => {
                // The low octet alone: an SMSC that writes the shortest header which holds the
                // reference must find room for it, and the parts leave room for 8 bits.
                tlvs.push(Tlv::SarMsgRefNum(u16::from(low)));
                tlvs.push(Tlv::SarTotalSegments(*total));
                tlvs.push(Tlv::SarSegmentSeqnum(number));
                short_message.extend_from_slice(payload);
            }
            // Parts on an account that wants wholes were cut before it said so.
            Concatenation::Udh | Concatenation::Payload => {
                esm_class = UDHI;
                short_message.extend(udh::concat8(low, *total, number));
                short_message.extend_from_slice(payload);
            }
        }
        tlvs.extend(wire.tlvs.iter().map(|custom| Tlv::Other {
            tag: TlvTag::from(custom.tag),
            value: AnyOctetString::from_vec(custom.value.clone()),
        }));
        Self {
            esm_class,
            short_message,
            tlvs,
        }
    }
}

/// A C-string field of at most `MAX` octets with its NUL.
pub(crate) fn c_string<const MAX: usize>(
    text: &str,
    field: &'static str,
) -> Result<COctetString<1, MAX>, EncodeError> {
    COctetString::from_str(text).map_err(|_| EncodeError { field })
}

/// A relative time, `YYMMDDhhmmss000R` (SMPP 3.4 §7.1.1), from one minute to thirty days.
///
/// Rounded down to the second: the carrier must not deliver later than we say.
#[must_use]
pub fn validity_period(validity: Duration) -> String {
    let seconds = validity.clamp(MIN_VALIDITY, MAX_VALIDITY).as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    format!(
        "0000{days:02}{hours:02}{:02}{:02}000R",
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests;
