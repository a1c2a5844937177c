//! What the three TPDUs have in common, and the line of hexadecimal digits in which a
//! modem gives one: the service centre's address (3GPP TS 27.005 clause 3.1), then the TPDU.

use super::address::Address;
use super::deliver::{self, Deliver};
use super::reader::{DecodeError, Problem, Reader};
use super::status_report::{self, StatusReport};
use super::submit::{self, Submit};

/// The bits of the first octet that several message types share (3GPP TS 23.040 clauses
/// 9.2.3.2, .28, .4, .5, .26, .23 and .17), by number. TP-MMS, when it is set, says that no
/// more messages wait.
pub(super) const NO_MORE_MESSAGES: u8 = 2;
pub(super) const LOOP_PREVENTION: u8 = 3;
/// TP-SRI, TP-SRR or TP-SRQ.
pub(super) const STATUS_REPORT: u8 = 5;
pub(super) const HEADER_INDICATOR: u8 = 6;
pub(super) const REPLY_PATH: u8 = 7;

/// The octet with bit `bit` as `on` says.
pub(super) fn flag(bit: u8, on: bool) -> u8 {
    u8::from(on) << bit
}

/// True if bit `bit` of `octet` is set.
pub(super) fn has(octet: u8, bit: u8) -> bool {
    octet >> bit & 1 == 1
}

/// Reads the first octet, which must be of this message type.
pub(super) fn message_type(
    reader: &mut Reader<'_>,
    wanted: u8,
    name: &'static str,
) -> Result<u8, DecodeError> {
    let first = reader.octet("TP-MTI")?;
    let found = first & 0b11;
    if found != wanted {
        let wanted = name;
        return Err(reader.fault("TP-MTI", 1, Problem::MessageType { found, wanted }));
    }
    Ok(first)
}

/// A TPDU, by its message type. 10 is read as SMS-STATUS-REPORT: an SMS-COMMAND has the
/// same bits in the other direction, and no modem gives or takes one here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tpdu {
    /// A message that came in.
    Deliver(Deliver),
    /// A message to send, or one that was stored to be sent.
    Submit(Submit),
    /// What became of a message.
    StatusReport(StatusReport),
}

impl Tpdu {
    /// Reads a TPDU without service centre address.
    ///
    /// # Errors
    /// The reserved message type 11, or what the message's own reader refuses.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        match reader.octet("TP-MTI")? & 0b11 {
            deliver::MESSAGE_TYPE => Deliver::decode(octets).map(Self::Deliver),
            submit::MESSAGE_TYPE => Submit::decode(octets).map(Self::Submit),
            status_report::MESSAGE_TYPE => StatusReport::decode(octets).map(Self::StatusReport),
            found => {
                let wanted = "00, 01 or 10";
                Err(reader.fault("TP-MTI", 1, Problem::MessageType { found, wanted }))
            }
        }
    }

    /// The octets, without service centre address.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Deliver(deliver) => deliver.encode(),
            Self::Submit(submit) => submit.encode(),
            Self::StatusReport(report) => report.encode(),
        }
    }
}

/// What crosses a modem's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    /// The service centre; `None` is a length of 0, for the one that the SIM names.
    pub service_centre: Option<Address>,
    /// The message.
    pub tpdu: Tpdu,
}

impl Pdu {
    /// Reads the octets of a line.
    ///
    /// # Errors
    /// A service centre address beyond the end, or what [`Tpdu::decode`] refuses.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        let service_centre = Address::read_service_centre(&mut reader)?;
        let tpdu = Tpdu::decode(reader.rest()).map_err(|error| error.behind(reader.at()))?;
        Ok(Self {
            service_centre,
            tpdu,
        })
    }

    /// Reads a line. Blanks around it do not count.
    ///
    /// # Errors
    /// What is not hexadecimal, or what [`Self::decode`] refuses.
    pub fn from_hex(line: &str) -> Result<Self, DecodeError> {
        Self::decode(&octets_of_hex(line)?)
    }

    /// The octets of the line, and how many of them are the TPDU, as `AT+CMGS=` and the
    /// headers of `+CMT:`, `+CDS:` and `+CMGR:` count.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, usize) {
        let mut octets = Vec::new();
        match &self.service_centre {
            Some(address) => address.write_service_centre(&mut octets),
            None => octets.push(0),
        }
        let tpdu = self.tpdu.encode();
        octets.extend(&tpdu);
        (octets, tpdu.len())
    }

    /// The line, in upper case without an end, and how many octets of it are the TPDU.
    #[must_use]
    pub fn to_hex(&self) -> (String, usize) {
        let (octets, length) = self.encode();
        (hex_of_octets(&octets), length)
    }
}

/// The octets of a line of hexadecimal digits of either case; blanks around do not count.
///
/// # Errors
/// The first octet that is not two digits.
pub fn octets_of_hex(line: &str) -> Result<Vec<u8>, DecodeError> {
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let pairs = line.trim().as_bytes().chunks(2);
    pairs
        .enumerate()
        .map(|(offset, pair)| {
            let octet = match pair {
                &[high, low] => digit(high)
                    .zip(digit(low))
                    .map(|(high, low)| high << 4 | low),
                _ => None,
            };
            octet.ok_or(DecodeError {
                field: "PDU",
                offset,
                problem: Problem::NotHexadecimal,
            })
        })
        .collect()
}

/// The line of these octets, in upper case.
#[must_use]
pub fn hex_of_octets(octets: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    octets
        .iter()
        .flat_map(|octet| [octet >> 4, octet & 0x0F])
        .map(|half| digit(half).to_ascii_uppercase())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::pdu::dcs::Dcs;
    use crate::pdu::status_report::Optional;
    use crate::pdu::timestamp::NetworkTime;
    use crate::pdu::udh::concat8;
    use crate::pdu::user_data::UserData;
    use crate::pdu::validity::Validity;
    use proptest::prelude::*;
    use std::time::Duration;

    fn user_data() -> impl Strategy<Value = UserData> {
        let text = "[A-Za-z0-9 @éàÇ€]{0,66}";
        (text, any::<bool>(), any::<bool>()).prop_map(|(text, ucs2, part)| {
            let header = concat8(7, 3, 2);
            let header = if part { &header[..] } else { &[] };
            let dcs = if ucs2 { Dcs::UCS2 } else { Dcs::GSM7 };
            UserData::of_text(dcs, header, &text).unwrap()
        })
    }

    fn address() -> impl Strategy<Value = Address> {
        "\\+?[0-9]{1,20}".prop_map(|number| Address::number(&number).unwrap())
    }

    fn validity() -> impl Strategy<Value = Option<Validity>> {
        prop_oneof![
            Just(None),
            any::<u8>().prop_map(|octet| Some(Validity::Relative(octet))),
            any::<[u8; 7]>().prop_map(|all| Some(Validity::Enhanced(all))),
            any::<[u8; 7]>().prop_map(|all| Some(Validity::Absolute(NetworkTime(all)))),
        ]
    }

    fn submit() -> impl Strategy<Value = Submit> {
        let flags = any::<(bool, bool, bool)>();
        (address(), user_data(), validity(), any::<(u8, u8)>(), flags).prop_map(
            |(destination, user_data, validity, (reference, protocol), (a, b, c))| Submit {
                reference,
                destination,
                protocol,
                validity,
                status_report: a,
                reject_duplicates: b,
                reply_path: c,
                user_data,
            },
        )
    }

    fn deliver() -> impl Strategy<Value = Deliver> {
        let flags = any::<(bool, bool, bool, bool)>();
        (address(), user_data(), any::<[u8; 7]>(), any::<u8>(), flags).prop_map(
            |(originator, user_data, sent, protocol, (a, b, c, d))| Deliver {
                originator,
                protocol,
                sent: NetworkTime(sent),
                more_to_come: a,
                loop_prevention: b,
                status_report: c,
                reply_path: d,
                user_data,
            },
        )
    }

    fn report() -> impl Strategy<Value = StatusReport> {
        let times = any::<([u8; 7], [u8; 7])>();
        let data = (any::<Option<u8>>(), proptest::option::of(user_data()));
        (address(), times, any::<(u8, u8)>(), any::<bool>(), data).prop_map(
            |(recipient, (sent, discharged), (reference, status), flag, (protocol, data))| {
                let mut report = StatusReport::new(
                    reference,
                    recipient,
                    NetworkTime(sent),
                    NetworkTime(discharged),
                    status,
                );
                report.more_to_come = flag;
                report.of_command = !flag;
                let dcs = data.as_ref().map(UserData::dcs);
                let bits = [protocol.is_some(), dcs.is_some(), data.is_some()];
                let indicator = (0..).zip(bits).map(|(bit, on)| super::flag(bit, on)).sum();
                report.optional = Optional {
                    indicator: (indicator != 0).then_some(indicator),
                    protocol,
                    dcs,
                    user_data: data,
                    fault: None,
                };
                report
            },
        )
    }

    #[test]
    fn a_submit_of_48_hours_with_a_report_has_known_octets() {
        let destination = Address::number("+46708251358").unwrap();
        let text = UserData::of_text(Dcs::GSM7, &[], "hellohello").unwrap();
        let mut submit = Submit::new(destination, text);
        submit.validity = Some(Validity::at_least(Duration::from_secs(48 * 3600)));
        submit.status_report = true;
        let pdu = Pdu {
            service_centre: None,
            tpdu: Tpdu::Submit(submit),
        };
        let line = "0031000B916407281553F80000A80AE8329BFD4697D9EC37";
        assert_eq!(pdu.to_hex(), (line.to_owned(), 23));
        assert_eq!(Pdu::from_hex(&line.to_lowercase()), Ok(pdu.clone()));
        assert_eq!(Pdu::from_hex(&format!(" {line}\r\n")), Ok(pdu));
    }

    #[test]
    fn a_message_is_not_read_as_another() {
        let wrong = |found, wanted, result: Result<(), DecodeError>| {
            let error = result.unwrap_err();
            assert_eq!((error.field, error.offset), ("TP-MTI", 0));
            assert_eq!(error.problem, Problem::MessageType { found, wanted });
        };
        wrong(1, "00 (SMS-DELIVER)", Deliver::decode(&[0x11]).map(drop));
        wrong(2, "01 (SMS-SUBMIT)", Submit::decode(&[0x06]).map(drop));
        wrong(
            0,
            "10 (SMS-STATUS-REPORT)",
            StatusReport::decode(&[0x04]).map(drop),
        );
        wrong(3, "00, 01 or 10", Tpdu::decode(&[0x03]).map(drop));
    }

    #[test]
    fn offsets_count_from_the_first_octet_of_the_line() {
        let error = Pdu::from_hex("07914400000000F0010004").unwrap_err();
        assert_eq!((error.field, error.offset), ("TP-DA", 11));
        let error = Pdu::from_hex("0001Z").unwrap_err();
        assert_eq!(
            error.to_string(),
            "PDU, octet 2: these are not two hexadecimal digits"
        );
        assert_eq!(Pdu::from_hex("").unwrap_err().offset, 0);
    }

    #[test]
    fn a_broken_end_does_not_cost_the_report() {
        let mut octets = StatusReport::new(
            7,
            Address::number("+33612345678").unwrap(),
            NetworkTime([0; 7]),
            NetworkTime([0; 7]),
            0x30,
        )
        .encode();
        let whole = StatusReport::decode(&octets).unwrap();
        assert_eq!(whole.optional, Optional::default());
        let behind = octets.len();
        octets.extend([0xFF; 9]);
        let report = StatusReport::decode(&octets).unwrap();
        assert_eq!((report.reference, report.status), (7, 0x30));
        let fault = report.optional.fault.unwrap();
        assert_eq!((fault.field, fault.offset), ("TP-UDL", behind + 3));
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>) {
            match Pdu::decode(&octets) {
                Ok(pdu) => {
                    // What was read can be written, and says the same again.
                    let (written, length) = pdu.encode();
                    let again = Pdu::decode(&written).unwrap();
                    prop_assert_eq!(Pdu::decode(&again.encode().0), Ok(again.clone()));
                    prop_assert!(length <= written.len());
                    if !matches!(pdu.tpdu, Tpdu::StatusReport(_)) {
                        prop_assert_eq!(again, pdu);
                    }
                }
                Err(error) => prop_assert!(error.offset <= octets.len()),
            }
        }

        #[test]
        fn a_damaged_pdu_is_read_or_refused(
            submit in submit(), at in any::<prop::sample::Index>(), octet: u8, cut: usize,
        ) {
            let mut octets = submit.encode();
            let at = at.index(octets.len());
            octets[at] = octet;
            octets.truncate(octets.len().saturating_sub(cut % 4));
            if let Err(error) = Tpdu::decode(&octets) {
                prop_assert!(error.offset <= octets.len());
            }
        }

        #[test]
        fn any_line_is_read_or_refused(line: String) {
            if let Err(error) = Pdu::from_hex(&line) {
                prop_assert!(error.offset <= line.len());
            }
        }

        #[test]
        fn submits_survive(submit in submit()) {
            prop_assert_eq!(Submit::decode(&submit.encode()), Ok(submit));
        }

        #[test]
        fn delivers_survive(deliver in deliver()) {
            prop_assert_eq!(Deliver::decode(&deliver.encode()), Ok(deliver));
        }

        #[test]
        fn reports_survive(report in report()) {
            prop_assert_eq!(StatusReport::decode(&report.encode()), Ok(report));
        }

        #[test]
        fn lines_survive(submit in submit(), centre in proptest::option::of(address())) {
            let pdu = Pdu { service_centre: centre, tpdu: Tpdu::Submit(submit) };
            prop_assert_eq!(Pdu::from_hex(&pdu.to_hex().0), Ok(pdu));
        }

        #[test]
        fn octets_survive_as_digits(octets: Vec<u8>) {
            prop_assert_eq!(octets_of_hex(&hex_of_octets(&octets)), Ok(octets));
        }
    }
}
