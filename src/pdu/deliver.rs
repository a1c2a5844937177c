//! SMS-DELIVER, from the service centre to the mobile (3GPP TS 23.040 clause 9.2.2.1): a
//! message that came in, as `+CMT:` and `+CMGR:` give it.

use super::address::Address;
use super::dcs::Dcs;
use super::reader::{DecodeError, Reader};
use super::timestamp::NetworkTime;
use super::tpdu::{
    HEADER_INDICATOR, LOOP_PREVENTION, NO_MORE_MESSAGES, REPLY_PATH, STATUS_REPORT, flag, has,
    message_type,
};
use super::user_data::UserData;

/// TP-MTI of this message (clause 9.2.3.1).
pub(super) const MESSAGE_TYPE: u8 = 0b00;

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// TP-OA.
    pub originator: Address,
    /// TP-PID (clause 9.2.3.9).
    pub protocol: u8,
    /// TP-SCTS: when the service centre received it.
    pub sent: NetworkTime,
    /// More messages wait at the service centre: TP-MMS (clause 9.2.3.2), which says so by
    /// a 0.
    pub more_to_come: bool,
    /// TP-LP: it was forwarded or made by a machine, and shall not be forwarded again
    /// (clause 9.2.3.28).
    pub loop_prevention: bool,
    /// TP-SRI: its sender gets a status report (clause 9.2.3.4).
    pub status_report: bool,
    /// TP-RP: an answer may go back by the same service centre (clause 9.2.3.17).
    pub reply_path: bool,
    /// TP-DCS, TP-UDL and TP-UD.
    pub user_data: UserData,
}

impl Deliver {
    /// A plain message, the last that waited.
    #[must_use]
    pub fn new(originator: Address, sent: NetworkTime, user_data: UserData) -> Self {
        Self {
            originator,
            protocol: 0,
            sent,
            more_to_come: false,
            loop_prevention: false,
            status_report: false,
            reply_path: false,
            user_data,
        }
    }

    /// The octets of the TPDU, without service centre address.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let first = MESSAGE_TYPE
            | flag(NO_MORE_MESSAGES, !self.more_to_come)
            | flag(LOOP_PREVENTION, self.loop_prevention)
            | flag(STATUS_REPORT, self.status_report)
            | flag(HEADER_INDICATOR, !self.user_data.header().is_empty())
            | flag(REPLY_PATH, self.reply_path);
        let mut octets = vec![first];
        self.originator.write(&mut octets);
        octets.extend([self.protocol, self.user_data.dcs().0]);
        octets.extend(self.sent.0);
        self.user_data.write(&mut octets);
        octets
    }

    /// Reads a TPDU without service centre address. Octets behind the user data are
    /// ignored: real service centres append some.
    ///
    /// # Errors
    /// Another message type, a field that is cut off, or a length that cannot be.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        let first = message_type(&mut reader, MESSAGE_TYPE, "00 (SMS-DELIVER)")?;
        let originator = Address::read("TP-OA", &mut reader)?;
        let protocol = reader.octet("TP-PID")?;
        let dcs = Dcs(reader.octet("TP-DCS")?);
        let sent = NetworkTime(reader.array("TP-SCTS")?);
        let headed = has(first, HEADER_INDICATOR);
        Ok(Self {
            originator,
            protocol,
            sent,
            more_to_come: !has(first, NO_MORE_MESSAGES),
            loop_prevention: has(first, LOOP_PREVENTION),
            status_report: has(first, STATUS_REPORT),
            reply_path: has(first, REPLY_PATH),
            user_data: UserData::read(dcs, headed, &mut reader)?,
        })
    }
}
