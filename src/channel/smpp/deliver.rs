//! `deliver_sm` and `data_sm` as carriers really send them.
//!
//! Read by hand because a receipt must not be lost over a detail: addresses may hold any octet, any
//! TLV may have any length, times may be anything, and up to three stray octets at the end are
//! ignored. Reading is bounded by the frame.

use bytes::{Buf, Bytes};
use thiserror::Error;

/// TLV tags (SMPP 3.4 §5.3.2).
pub mod tag {
    /// `receipted_message_id`, §5.3.2.12.
    pub const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
    /// `sar_msg_ref_num`, §5.3.2.22.
    pub const SAR_MSG_REF_NUM: u16 = 0x020C;
    /// `sar_total_segments`, §5.3.2.23.
    pub const SAR_TOTAL_SEGMENTS: u16 = 0x020E;
    /// `sar_segment_seqnum`, §5.3.2.24.
    pub const SAR_SEGMENT_SEQNUM: u16 = 0x020F;
    /// `sc_interface_version`, §5.3.2.25.
    pub const SC_INTERFACE_VERSION: u16 = 0x0210;
    /// `network_error_code`, §5.3.2.31.
    pub const NETWORK_ERROR_CODE: u16 = 0x0423;
    /// `message_payload`, §5.3.2.32.
    pub const MESSAGE_PAYLOAD: u16 = 0x0424;
    /// `message_state`, §5.3.2.35.
    pub const MESSAGE_STATE: u16 = 0x0427;
    /// `congestion_state`, SMPP 5.0 §4.8.4.18.
    pub const CONGESTION_STATE: u16 = 0x0428;
}

/// Bit of `esm_class` that says that a user data header comes first (SMPP 3.4 §5.2.12).
pub const UDHI: u8 = 0x40;

/// Longest C-string taken as an address or a time; `data_sm` allows 65 octets.
const MAX_C_STRING: usize = 66;

/// An address with its type of number and numbering plan (SMPP 3.4 §5.2.5, §5.2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// Type of number.
    pub ton: u8,
    /// Numbering plan indicator.
    pub npi: u8,
    /// The address; octets above 0x7F are read as ISO-8859-1.
    pub text: String,
}

/// The parts of a `deliver_sm` or `data_sm` that mean something to us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliver {
    /// Who it is from.
    pub source: Address,
    /// Who it is to.
    pub destination: Address,
    /// `esm_class`, §5.2.12.
    pub esm_class: u8,
    /// `data_coding`, §5.2.19.
    pub data_coding: u8,
    /// `short_message`, or the `message_payload` where that is used instead.
    pub message: Bytes,
    /// Every TLV, by tag, in order.
    pub tlvs: Vec<(u16, Bytes)>,
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DeliverError {
    /// It ends inside this field.
    #[error("the body ends inside {0}")]
    Ends(&'static str),
    /// This C-string has no end.
    #[error("{0} has no terminating NUL")]
    NoNul(&'static str),
    /// A TLV claims more octets than there are. Neither its tag nor its length is told: in a body
    /// that is out of step they are octets of a text.
    #[error("a TLV declares more octets than the {0} that are left")]
    Tlv(usize),
}

impl Deliver {
    /// Reads the body of a `deliver_sm` (SMPP 3.4 §4.6.1), or of a `data_sm` (§4.7.1) if `data`.
    ///
    /// # Errors
    /// Which field is damaged.
    pub fn read(mut body: Bytes, data: bool) -> Result<Self, DeliverError> {
        let from = &mut body;
        c_string(from, "service_type")?;
        let source = address(from, "source_addr")?;
        let destination = address(from, "destination_addr")?;
        let esm_class = octet(from, "esm_class")?;
        let mut message = Bytes::new();
        let data_coding;
        if data {
            octet(from, "registered_delivery")?;
            data_coding = octet(from, "data_coding")?;
        } else {
            octet(from, "protocol_id")?;
            octet(from, "priority_flag")?;
            c_string(from, "schedule_delivery_time")?;
            c_string(from, "validity_period")?;
            octet(from, "registered_delivery")?;
            octet(from, "replace_if_present_flag")?;
            data_coding = octet(from, "data_coding")?;
            octet(from, "sm_default_msg_id")?;
            let length = usize::from(octet(from, "sm_length")?);
            if from.len() < length {
                return Err(DeliverError::Ends("short_message"));
            }
            message = from.split_to(length);
        }
        let mut tlvs = Vec::new();
        while from.len() >= 4 {
            let (tag, declared) = (from.get_u16(), from.get_u16());
            if from.len() < usize::from(declared) {
                return Err(DeliverError::Tlv(from.len()));
            }
            tlvs.push((tag, from.split_to(usize::from(declared))));
        }
        let mut deliver = Self {
            source,
            destination,
            esm_class,
            data_coding,
            message,
            tlvs,
        };
        if deliver.message.is_empty()
            && let Some(payload) = deliver.tlv(tag::MESSAGE_PAYLOAD)
        {
            deliver.message = payload.clone();
        }
        Ok(deliver)
    }

    /// The first TLV with this tag.
    #[must_use]
    pub fn tlv(&self, tag: u16) -> Option<&Bytes> {
        self.tlvs
            .iter()
            .find(|(found, _)| *found == tag)
            .map(|(_, value)| value)
    }

    /// The number in the first TLV with this tag, if it has one or two octets.
    #[must_use]
    pub fn tlv_number(&self, tag: u16) -> Option<u16> {
        match self.tlv(tag)?.as_ref() {
            [value] => Some(u16::from(*value)),
            [high, low] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        }
    }

    /// True if it says that a user data header comes first.
    #[must_use]
    pub const fn has_udh(&self) -> bool {
        self.esm_class & UDHI != 0
    }

    /// True if it reports on a message that we sent: by its message type (§5.2.12: receipt 0x04,
    /// intermediate notification 0x20), or by a TLV that nothing else carries.
    ///
    /// A text that merely looks like a receipt does not count: any handset could write one.
    #[must_use]
    pub fn is_receipt(&self) -> bool {
        matches!(self.esm_class & 0x3C, 0x04 | 0x20)
            || self.tlv(tag::RECEIPTED_MESSAGE_ID).is_some()
            || self.tlv(tag::MESSAGE_STATE).is_some()
    }
}

fn octet(from: &mut Bytes, field: &'static str) -> Result<u8, DeliverError> {
    if from.is_empty() {
        return Err(DeliverError::Ends(field));
    }
    Ok(from.get_u8())
}

fn address(from: &mut Bytes, field: &'static str) -> Result<Address, DeliverError> {
    Ok(Address {
        ton: octet(from, field)?,
        npi: octet(from, field)?,
        text: c_string(from, field)?,
    })
}

fn c_string(from: &mut Bytes, field: &'static str) -> Result<String, DeliverError> {
    let end = from
        .iter()
        .take(MAX_C_STRING)
        .position(|octet| *octet == 0)
        .ok_or(DeliverError::NoNul(field))?;
    let text = from.split_to(end).iter().copied().map(char::from).collect();
    from.advance(1);
    Ok(text)
}
