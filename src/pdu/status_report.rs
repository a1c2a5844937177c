//! SMS-STATUS-REPORT, from the service centre to the mobile (3GPP TS 23.040 clause
//! 9.2.2.3): what became of a message that asked for it, as `+CDS:` and `+CMGR:` give it.
//!
//! Everything up to TP-ST must be there. What stands behind it is optional and often
//! garbage (a record of the SIM is padded with FF), so that its faults are told beside the
//! report and never cost it.

use super::address::Address;
use super::dcs::Dcs;
use super::reader::{DecodeError, Reader};
use super::timestamp::NetworkTime;
use super::tpdu::{
    HEADER_INDICATOR, LOOP_PREVENTION, NO_MORE_MESSAGES, STATUS_REPORT, flag, has, message_type,
};
use super::user_data::UserData;

/// TP-MTI of this message (clause 9.2.3.1).
pub(super) const MESSAGE_TYPE: u8 = 0b10;

/// TP-PI, bits 0 to 2 (clause 9.2.3.27): these fields follow. The others are reserved and
/// ignored. So is bit 7, which announces more octets of TP-PI: none is defined, and
/// padding sets it.
const HAS_PID: u8 = 0;
const HAS_DCS: u8 = 1;
const HAS_USER_DATA: u8 = 2;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReport {
    /// TP-MR of the message: 8 bits that come round soon, so never a key alone.
    pub reference: u8,
    /// TP-RA: its recipient, in whatever form the network likes.
    pub recipient: Address,
    /// TP-SCTS: when the service centre received it.
    pub sent: NetworkTime,
    /// TP-DT: when this became of it (clause 9.2.3.13).
    pub discharged: NetworkTime,
    /// TP-ST (clause 9.2.3.15), as it stands.
    pub status: u8,
    /// More messages wait at the service centre: TP-MMS, which says so by a 0.
    pub more_to_come: bool,
    /// TP-LP (clause 9.2.3.28).
    pub loop_prevention: bool,
    /// TP-SRQ: it answers an SMS-COMMAND, not an SMS-SUBMIT (clause 9.2.3.26).
    pub of_command: bool,
    /// What stands behind TP-ST.
    pub optional: Optional,
}

/// The optional end of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Optional {
    /// TP-PI as it stands, if it is there.
    pub indicator: Option<u8>,
    /// TP-PID.
    pub protocol: Option<u8>,
    /// TP-DCS.
    pub dcs: Option<Dcs>,
    /// TP-UDL and TP-UD.
    pub user_data: Option<UserData>,
    /// Why the rest could not be read.
    pub fault: Option<DecodeError>,
}

impl StatusReport {
    /// A report without an optional end, the last message that waited.
    #[must_use]
    pub fn new(
        reference: u8,
        recipient: Address,
        sent: NetworkTime,
        discharged: NetworkTime,
        status: u8,
    ) -> Self {
        Self {
            reference,
            recipient,
            sent,
            discharged,
            status,
            more_to_come: false,
            loop_prevention: false,
            of_command: false,
            optional: Optional::default(),
        }
    }

    /// The octets of the TPDU, without service centre address.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let user_data = self.optional.user_data.as_ref();
        let headed = user_data.is_some_and(|data| !data.header().is_empty());
        let first = MESSAGE_TYPE
            | flag(NO_MORE_MESSAGES, !self.more_to_come)
            | flag(LOOP_PREVENTION, self.loop_prevention)
            | flag(STATUS_REPORT, self.of_command)
            | flag(HEADER_INDICATOR, headed);
        let mut octets = vec![first, self.reference];
        self.recipient.write(&mut octets);
        octets.extend(self.sent.0);
        octets.extend(self.discharged.0);
        octets.push(self.status);
        self.optional.write(&mut octets);
        octets
    }

    /// Reads a TPDU without service centre address.
    ///
    /// # Errors
    /// Another message type, or a field up to TP-ST that is cut off or cannot be.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        let first = message_type(&mut reader, MESSAGE_TYPE, "10 (SMS-STATUS-REPORT)")?;
        Ok(Self {
            reference: reader.octet("TP-MR")?,
            recipient: Address::read("TP-RA", &mut reader)?,
            sent: NetworkTime(reader.array("TP-SCTS")?),
            discharged: NetworkTime(reader.array("TP-DT")?),
            status: reader.octet("TP-ST")?,
            more_to_come: !has(first, NO_MORE_MESSAGES),
            loop_prevention: has(first, LOOP_PREVENTION),
            of_command: has(first, STATUS_REPORT),
            optional: Optional::read(has(first, HEADER_INDICATOR), &mut reader),
        })
    }
}

impl Optional {
    fn read(headed: bool, reader: &mut Reader<'_>) -> Self {
        let mut found = Self::default();
        if !reader.rest().is_empty() {
            found.fault = found.fill(headed, reader).err();
        }
        found
    }

    fn fill(&mut self, headed: bool, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let indicator = *self.indicator.insert(reader.octet("TP-PI")?);
        if has(indicator, HAS_PID) {
            self.protocol = Some(reader.octet("TP-PID")?);
        }
        if has(indicator, HAS_DCS) {
            self.dcs = Some(Dcs(reader.octet("TP-DCS")?));
        }
        if has(indicator, HAS_USER_DATA) {
            let dcs = self.dcs.unwrap_or_default();
            self.user_data = Some(UserData::read(dcs, headed, reader)?);
        }
        Ok(())
    }

    /// Writes what is there; TP-PI says what that is, and is left out where nothing is and
    /// none was read.
    fn write(&self, octets: &mut Vec<u8>) {
        let dcs = self.user_data.as_ref().map(UserData::dcs).or(self.dcs);
        let indicator = flag(HAS_PID, self.protocol.is_some())
            | flag(
                HAS_DCS,
                self.dcs.is_some() || dcs.is_some_and(|dcs| dcs != Dcs::GSM7),
            )
            | flag(HAS_USER_DATA, self.user_data.is_some());
        if indicator == 0 && self.indicator.is_none() {
            return;
        }
        octets.push(indicator);
        octets.extend(self.protocol);
        if has(indicator, HAS_DCS) {
            octets.extend(dcs.map(|Dcs(octet)| octet));
        }
        if let Some(data) = &self.user_data {
            data.write(octets);
        }
    }
}
