//! SMS-SUBMIT, from the mobile to the service centre (3GPP TS 23.040 clause 9.2.2.2): what
//! `AT+CMGS` takes.

use super::address::Address;
use super::dcs::Dcs;
use super::reader::{DecodeError, Reader};
use super::tpdu::{HEADER_INDICATOR, REPLY_PATH, STATUS_REPORT, flag, has, message_type};
use super::user_data::UserData;
use super::validity::Validity;

/// TP-MTI of this message (clause 9.2.3.1).
pub(super) const MESSAGE_TYPE: u8 = 0b01;
/// TP-RD (clause 9.2.3.25).
const REJECT_DUPLICATES: u8 = 2;

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    /// TP-MR (clause 9.2.3.6). Modems put their own in its place and tell it in `+CMGS:`.
    pub reference: u8,
    /// TP-DA.
    pub destination: Address,
    /// TP-PID (clause 9.2.3.9): 0 is a plain short message.
    pub protocol: u8,
    /// TP-VP; without it the service centre decides.
    pub validity: Option<Validity>,
    /// TP-SRR: a status report is wanted (clause 9.2.3.5).
    pub status_report: bool,
    /// TP-RD: the service centre shall refuse what it already holds with this reference.
    pub reject_duplicates: bool,
    /// TP-RP: the answer may go back by the same service centre (clause 9.2.3.17).
    pub reply_path: bool,
    /// TP-DCS, TP-UDL and TP-UD.
    pub user_data: UserData,
}

impl Submit {
    /// A plain message: no report wanted, no validity, every flag off.
    #[must_use]
    pub fn new(destination: Address, user_data: UserData) -> Self {
        Self {
            reference: 0,
            destination,
            protocol: 0,
            validity: None,
            status_report: false,
            reject_duplicates: false,
            reply_path: false,
            user_data,
        }
    }

    /// The octets of the TPDU, without service centre address: their number is what
    /// `AT+CMGS=` wants.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let first = MESSAGE_TYPE
            | flag(REJECT_DUPLICATES, self.reject_duplicates)
            | Validity::format(self.validity)
            | flag(STATUS_REPORT, self.status_report)
            | flag(HEADER_INDICATOR, !self.user_data.header().is_empty())
            | flag(REPLY_PATH, self.reply_path);
        let mut octets = vec![first, self.reference];
        self.destination.write(&mut octets);
        octets.extend([self.protocol, self.user_data.dcs().0]);
        if let Some(validity) = self.validity {
            validity.write(&mut octets);
        }
        self.user_data.write(&mut octets);
        octets
    }

    /// Reads a TPDU without service centre address. Octets behind the user data are
    /// ignored, as clause 9.2.2 leaves room for later additions.
    ///
    /// # Errors
    /// Another message type, a field that is cut off, or a length that cannot be.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        let first = message_type(&mut reader, MESSAGE_TYPE, "01 (SMS-SUBMIT)")?;
        let reference = reader.octet("TP-MR")?;
        let destination = Address::read("TP-DA", &mut reader)?;
        let protocol = reader.octet("TP-PID")?;
        let dcs = Dcs(reader.octet("TP-DCS")?);
        let validity = Validity::read(first, &mut reader)?;
        let headed = has(first, HEADER_INDICATOR);
        Ok(Self {
            reference,
            destination,
            protocol,
            validity,
            status_report: has(first, STATUS_REPORT),
            reject_duplicates: has(first, REJECT_DUPLICATES),
            reply_path: has(first, REPLY_PATH),
            user_data: UserData::read(dcs, headed, &mut reader)?,
        })
    }
}
