//! What the SMSC sends: receipts and messages from handsets, as PDUs.

use std::str::FromStr;

use rusmpp::tlvs::{MessageDeliveryRequestTlvValue, MessageSubmissionRequestTlvValue, TlvTag};
use rusmpp::types::{AnyOctetString, COctetString, OctetString};
use rusmpp::values::{DataCoding, EsmClass, Npi, Ton};
use rusmpp::{Pdu, pdus};

use super::script::{Inbound, ReceiptForm, Receipts};
use crate::channel::smpp::deliver::{Address, tag};
use crate::domain::receipt::{Known, ReceiptState};
use crate::domain::time::Timestamp;

mod handset;

pub(super) use handset::message;

/// A message from a handset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoMessage {
    /// The handset's number, digits without `+`.
    pub from: String,
    /// What it is sent to.
    pub to: String,
    /// Its text.
    pub text: String,
}

impl From<&MoMessage> for Inbound {
    fn from(message: &MoMessage) -> Self {
        Self {
            from: message.from.clone(),
            to: message.to.clone(),
            text: message.text.clone(),
            ..Self::default()
        }
    }
}

/// Something to send, composed when its turn comes.
#[derive(Clone, Debug)]
pub(super) enum Outgoing {
    Receipt(Box<ReceiptToSend>),
    Part(Box<PartToSend>),
}

#[derive(Clone, Debug)]
pub(super) struct ReceiptToSend {
    /// The id as receipts write it.
    pub(super) id: String,
    /// The handset: destination of the message, source of the receipt.
    pub(super) handset: Address,
    pub(super) sender: Address,
    pub(super) state: ReceiptState,
    pub(super) error: String,
    pub(super) submitted: Timestamp,
    pub(super) text: String,
    /// The session that it must not go out on, if another one can take it.
    pub(super) not_on: Option<u64>,
    /// How the rule of its destination wants it; `None`: as the script does.
    pub(super) form: Option<Receipts>,
}

#[derive(Clone, Debug)]
pub(super) struct PartToSend {
    body: Body,
    text: String,
}

/// What a `deliver_sm` and a `data_sm` have in common.
#[derive(Clone, Debug)]
struct Body {
    from: Address,
    to: Address,
    esm_class: u8,
    data_coding: u8,
    octets: Vec<u8>,
    tlvs: Vec<(u16, Vec<u8>)>,
    data_sm: bool,
}

impl Outgoing {
    /// The id that it reports on.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Receipt(receipt) => Some(&receipt.id),
            Self::Part(_) => None,
        }
    }

    /// The number of the handset that it comes from.
    pub(super) fn handset(&self) -> &str {
        match self {
            Self::Receipt(receipt) => &receipt.handset.text,
            Self::Part(part) => &part.body.from.text,
        }
    }

    /// What it says, for the ledger.
    pub(super) fn says(&self) -> &str {
        match self {
            Self::Receipt(receipt) => receipt.state.stat(),
            Self::Part(part) => &part.text,
        }
    }

    /// The session that it must not go out on, if another one can take it.
    pub(super) fn not_on(&self) -> Option<u64> {
        match self {
            Self::Receipt(receipt) => receipt.not_on,
            Self::Part(_) => None,
        }
    }

    /// The PDU, in the form that the script asks for.
    pub(super) fn pdu(&self, script: &Receipts, now: Timestamp) -> Pdu {
        match self {
            Self::Receipt(receipt) => {
                let form = receipt.form.as_ref().unwrap_or(script);
                receipt.body(form, now).pdu()
            }
            Self::Part(part) => part.body.clone().pdu(),
        }
    }
}

impl ReceiptToSend {
    fn body(&self, script: &Receipts, now: Timestamp) -> Body {
        // SMPP 3.4 §5.2.12: intermediate notification 0x20, receipt 0x04.
        let esm_class = match self.state {
            ReceiptState::Enroute => 0x20,
            _ => 0x04,
        };
        let mut octets = match script.form {
            ReceiptForm::Tlv => Vec::new(),
            ReceiptForm::Text | ReceiptForm::Both => self.text(script, now).into_bytes(),
        };
        let mut tlvs = Vec::new();
        if script.form != ReceiptForm::Text {
            let mut id = self.id.clone().into_bytes();
            id.push(0);
            tlvs.push((tag::RECEIPTED_MESSAGE_ID, id));
            tlvs.push((tag::MESSAGE_STATE, vec![self.state.message_state()]));
            if let Some((network, code)) = script.network_error.filter(|_| self.failed()) {
                let [high, low] = code.to_be_bytes();
                tlvs.push((tag::NETWORK_ERROR_CODE, vec![network, high, low]));
            }
        }
        if script.payload && !octets.is_empty() {
            tlvs.push((tag::MESSAGE_PAYLOAD, std::mem::take(&mut octets)));
        }
        Body {
            from: self.handset.clone(),
            to: self.sender.clone(),
            esm_class: script.esm_class.unwrap_or(esm_class),
            data_coding: script.data_coding,
            octets,
            tlvs,
            data_sm: script.data_sm,
        }
    }

    fn failed(&self) -> bool {
        self.state != ReceiptState::Delivered && self.state.known() > Known::Awaiting
    }

    fn text(&self, script: &Receipts, now: Timestamp) -> String {
        let form = if script.seconds {
            "%y%m%d%H%M%S"
        } else {
            "%y%m%d%H%M"
        };
        let date = |at: Timestamp| at.to_utc().format(form).to_string();
        let delivered = self.state == ReceiptState::Delivered;
        let error = if self.failed() { &self.error } else { "000" };
        script
            .template
            .replace("{id}", &self.id)
            .replace("{dlvrd}", if delivered { "001" } else { "000" })
            .replace("{submit}", &date(self.submitted))
            .replace("{done}", &date(now))
            .replace("{stat}", self.state.stat())
            .replace("{stat_lower}", &self.state.stat().to_ascii_lowercase())
            .replace("{err}", error)
            .replace("{text}", &self.text)
    }
}

impl Body {
    fn pdu(mut self) -> Pdu {
        if self.data_sm {
            // A data_sm has no short_message (SMPP 3.4 §4.7.1).
            if !self.octets.is_empty() {
                self.tlvs.push((tag::MESSAGE_PAYLOAD, self.octets));
            }
            let tlvs = self.tlvs.into_iter().map(|(tag, value)| {
                let (tag, value) = (TlvTag::from(tag), AnyOctetString::from_vec(value));
                MessageSubmissionRequestTlvValue::Other { tag, value }
            });
            return pdus::DataSm::builder()
                .source_addr_ton(Ton::from(self.from.ton))
                .source_addr_npi(Npi::from(self.from.npi))
                .source_addr(c_string(&self.from.text))
                .dest_addr_ton(Ton::from(self.to.ton))
                .dest_addr_npi(Npi::from(self.to.npi))
                .destination_addr(c_string(&self.to.text))
                .esm_class(EsmClass::from(self.esm_class))
                .data_coding(DataCoding::from(self.data_coding))
                .tlvs(tlvs.collect())
                .build()
                .into();
        }
        let tlvs = self.tlvs.into_iter().map(|(tag, value)| {
            let (tag, value) = (TlvTag::from(tag), AnyOctetString::from_vec(value));
            MessageDeliveryRequestTlvValue::Other { tag, value }
        });
        pdus::DeliverSm::builder()
            .source_addr_ton(Ton::from(self.from.ton))
            .source_addr_npi(Npi::from(self.from.npi))
            .source_addr(c_string(&self.from.text))
            .dest_addr_ton(Ton::from(self.to.ton))
            .dest_addr_npi(Npi::from(self.to.npi))
            .destination_addr(c_string(&self.to.text))
            .esm_class(EsmClass::from(self.esm_class))
            .data_coding(DataCoding::from(self.data_coding))
            .short_message(OctetString::from_vec(self.octets).unwrap_or_default())
            .tlvs(tlvs.collect())
            .build()
            .into()
    }
}

/// A C-string; empty if it does not fit, which a simulator need not make a fuss about.
pub(super) fn c_string<const MAX: usize>(text: &str) -> COctetString<1, MAX> {
    COctetString::from_str(text).unwrap_or_default()
}
