//! What the SMSC sends: receipts and messages from handsets, as PDUs.

use std::str::FromStr;

use rusmpp::tlvs::{MessageDeliveryRequestTlvValue, MessageSubmissionRequestTlvValue, TlvTag};
use rusmpp::types::{AnyOctetString, COctetString, OctetString};
use rusmpp::values::{DataCoding, EsmClass, MessagePayload, MessageState, Npi, Ton};
use rusmpp::{Pdu, pdus};

use super::script::{ReceiptForm, Receipts};
use crate::channel::smpp::deliver::{Address, UDHI, tag};
use crate::domain::receipt::ReceiptState;
use crate::domain::time::Timestamp;
use crate::pdu::{segment, udh};

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
}

#[derive(Clone, Debug)]
pub(super) struct PartToSend {
    from: String,
    to: String,
    data_coding: u8,
    esm_class: u8,
    octets: Vec<u8>,
    text: String,
}

/// A message as one or several parts.
pub(super) fn message(message: &MoMessage, reference: u8) -> Vec<Outgoing> {
    let plan = segment::plan(&message.text);
    let total = u8::try_from(plan.count()).unwrap_or(u8::MAX);
    let data_coding = match plan.alphabet {
        segment::Alphabet::Gsm7 => 0,
        segment::Alphabet::Latin1 => 3,
        segment::Alphabet::Ucs2 => 8,
    };
    (1..=total)
        .zip(plan.slices(&message.text))
        .map(|(number, slice)| {
            let payload = segment::octets(slice, plan.alphabet);
            let (esm_class, octets) = if total > 1 {
                (
                    UDHI,
                    [&udh::concat8(reference, total, number)[..], &payload].concat(),
                )
            } else {
                (0, payload)
            };
            Outgoing::Part(Box::new(PartToSend {
                from: message.from.trim_start_matches('+').to_owned(),
                to: message.to.clone(),
                data_coding,
                esm_class,
                octets,
                text: slice.to_owned(),
            }))
        })
        .collect()
}

impl Outgoing {
    /// The id that it reports on.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Receipt(receipt) => Some(&receipt.id),
            Self::Part(_) => None,
        }
    }

    /// What it says, for the ledger.
    pub(super) fn says(&self) -> &str {
        match self {
            Self::Receipt(receipt) => receipt.state.stat(),
            Self::Part(part) => &part.text,
        }
    }

    /// The PDU, in the form that the script asks for.
    pub(super) fn pdu(&self, script: &Receipts, now: Timestamp) -> Pdu {
        match self {
            Self::Receipt(receipt) => receipt.pdu(script, now),
            Self::Part(part) => part.pdu(),
        }
    }
}

impl PartToSend {
    fn pdu(&self) -> Pdu {
        // A short code has no numbering plan (SMPP 3.4 §5.2.5, §5.2.6).
        let (ton, npi) = if self.to.len() <= 8 { (3, 0) } else { (1, 1) };
        let from = Address {
            ton: 1,
            npi: 1,
            text: self.from.clone(),
        };
        let to = Address {
            ton,
            npi,
            text: self.to.trim_start_matches('+').to_owned(),
        };
        deliver_sm(
            &from,
            &to,
            self.esm_class,
            self.data_coding,
            self.octets.clone(),
            Vec::new(),
        )
    }
}

impl ReceiptToSend {
    fn pdu(&self, script: &Receipts, now: Timestamp) -> Pdu {
        // SMPP 3.4 §5.2.12: intermediate notification 0x20, receipt 0x04.
        let esm_class = if self.state == ReceiptState::Enroute {
            0x20
        } else {
            0x04
        };
        let text = if script.form == ReceiptForm::Tlv {
            String::new()
        } else {
            self.text(script, now)
        };
        let with_tlvs = script.form != ReceiptForm::Text;
        let state = MessageState::from(self.state.message_state());
        if script.data_sm {
            return self.data_sm(esm_class, text, with_tlvs.then_some(state));
        }
        use MessageDeliveryRequestTlvValue as Tlv;
        let mut tlvs = Vec::new();
        if with_tlvs {
            tlvs.push(Tlv::ReceiptedMessageId(c_string(&self.id)));
            tlvs.push(Tlv::MessageState(state));
        }
        let mut octets = text.into_bytes();
        if script.payload && !octets.is_empty() {
            let payload = AnyOctetString::from_vec(std::mem::take(&mut octets));
            tlvs.push(Tlv::MessagePayload(MessagePayload::new(payload)));
        }
        deliver_sm(&self.handset, &self.sender, esm_class, 0, octets, tlvs)
    }

    fn data_sm(&self, esm_class: u8, text: String, state: Option<MessageState>) -> Pdu {
        use MessageSubmissionRequestTlvValue as Tlv;
        let mut tlvs = Vec::new();
        if let Some(state) = state {
            // rusmpp knows these two in a deliver_sm only.
            let mut id = self.id.clone().into_bytes();
            id.push(0);
            for (tag, value) in [
                (tag::RECEIPTED_MESSAGE_ID, id),
                (tag::MESSAGE_STATE, vec![u8::from(state)]),
            ] {
                let tag = TlvTag::from(tag);
                tlvs.push(Tlv::Other {
                    tag,
                    value: AnyOctetString::from_vec(value),
                });
            }
        }
        if !text.is_empty() {
            let payload = AnyOctetString::from_vec(text.into_bytes());
            tlvs.push(Tlv::MessagePayload(MessagePayload::new(payload)));
        }
        pdus::DataSm::builder()
            .source_addr_ton(Ton::from(self.handset.ton))
            .source_addr_npi(Npi::from(self.handset.npi))
            .source_addr(c_string(&self.handset.text))
            .dest_addr_ton(Ton::from(self.sender.ton))
            .dest_addr_npi(Npi::from(self.sender.npi))
            .destination_addr(c_string(&self.sender.text))
            .esm_class(EsmClass::from(esm_class))
            .tlvs(tlvs)
            .build()
            .into()
    }

    fn text(&self, script: &Receipts, now: Timestamp) -> String {
        let form = if script.seconds {
            "%y%m%d%H%M%S"
        } else {
            "%y%m%d%H%M"
        };
        let date = |at: Timestamp| at.to_utc().format(form).to_string();
        let delivered = self.state == ReceiptState::Delivered;
        script
            .template
            .replace("{id}", &self.id)
            .replace("{dlvrd}", if delivered { "001" } else { "000" })
            .replace("{submit}", &date(self.submitted))
            .replace("{done}", &date(now))
            .replace("{stat}", self.state.stat())
            .replace(
                "{err}",
                if self.state.known() <= crate::domain::receipt::Known::Awaiting || delivered {
                    "000"
                } else {
                    &self.error
                },
            )
            .replace("{text}", &self.text)
    }
}

fn deliver_sm(
    from: &Address,
    to: &Address,
    esm_class: u8,
    data_coding: u8,
    octets: Vec<u8>,
    tlvs: Vec<MessageDeliveryRequestTlvValue>,
) -> Pdu {
    pdus::DeliverSm::builder()
        .source_addr_ton(Ton::from(from.ton))
        .source_addr_npi(Npi::from(from.npi))
        .source_addr(c_string(&from.text))
        .dest_addr_ton(Ton::from(to.ton))
        .dest_addr_npi(Npi::from(to.npi))
        .destination_addr(c_string(&to.text))
        .esm_class(EsmClass::from(esm_class))
        .data_coding(DataCoding::from(data_coding))
        .short_message(OctetString::from_vec(octets).unwrap_or_default())
        .tlvs(tlvs)
        .build()
        .into()
}

/// A C-string; empty if it does not fit, which a simulator need not make a fuss about.
pub(super) fn c_string<const MAX: usize>(text: &str) -> COctetString<1, MAX> {
    COctetString::from_str(text).unwrap_or_default()
}
