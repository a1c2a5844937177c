//! SMS-STATUS-REPORT (3GPP TS 23.040 §9.2.2.3): of which submission it tells, and what.

use crate::domain::msisdn::{self, Msisdn};
use crate::domain::receipt::{Receipt, ReceiptState, Taken};
use crate::domain::sim;
use crate::domain::time::Timestamp;
use crate::pdu::address::{Address, TypeOfNumber};
use crate::pdu::status_report::StatusReport;

/// A status report, as the store asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Names the submission; see [`sim::reference_of_digits`].
    pub reference: String,
    /// The recipient, where its number reads as one.
    pub handset: Option<Msisdn>,
    /// What became of it.
    pub receipt: Receipt,
    /// When the service centre took it; `None` if the report gives no possible time.
    pub taken: Option<Taken>,
}

/// Reads a report that the SIM `sim` has received by `now`. `country` (ISO 3166) is the
/// SIM's own, in whose national form the recipient may be written.
///
/// TP-SRQ, the mark of a report on an SMS-COMMAND, is not looked at: nothing here sends commands, so
/// that a network that sets it means a message all the same.
#[must_use]
pub fn read(report: &StatusReport, sim: &str, country: Option<&str>, now: Timestamp) -> Report {
    Report {
        reference: sim::reference_of_digits(sim, report.recipient.value(), report.reference),
        handset: handset(&report.recipient, country),
        receipt: receipt(report.status),
        taken: taken(report, now),
    }
}

/// What TP-ST says (3GPP TS 23.040 §9.2.3.15); the octet itself stays readable in
/// [`Receipt::error`].
///
/// Reserved values are read as 0x63, as that clause wants, so they are failures; those up to 0x1F
/// and from 0x20 to 0x3F are of classes whose meaning is given. 0x60 to 0x7F is a temporary error
/// too, but one after which the service centre has stopped trying.
#[must_use]
pub fn receipt(status: u8) -> Receipt {
    let state = match status {
        0x00 | 0x03..=0x1F => ReceiptState::Delivered,
        // Passed on, and replaced: the service centre cannot tell what became of it.
        0x01 | 0x02 => ReceiptState::Accepted,
        0x20..=0x3F => ReceiptState::Enroute,
        0x46 => ReceiptState::Expired,
        0x47 | 0x48 => ReceiptState::Deleted,
        0x40..=0xFF => ReceiptState::Undeliverable,
    };
    Receipt {
        error: Some(format!("TP-ST 0x{status:02X}")),
        ..Receipt::of(state)
    }
}

/// The number of an address: an international one, or a national one of `country`.
fn handset(address: &Address, country: Option<&str>) -> Option<Msisdn> {
    match (address.ton(), country) {
        (TypeOfNumber::International, _) => Msisdn::from_e164_digits(address.value()),
        (TypeOfNumber::Unknown | TypeOfNumber::National, Some(country)) => {
            msisdn::of_sender(address.value(), country)
        }
        _ => None,
    }
}

/// The country of a SIM by its IMSI (ITU-T E.212: 208 is France), as far as the national numbers of
/// that country are understood. Reports come from a service centre of the SIM's own network, also
/// abroad.
#[must_use]
pub fn country(imsi: &str) -> Option<&'static str> {
    imsi.starts_with("208").then_some("FR")
}

fn taken(report: &StatusReport, now: Timestamp) -> Option<Taken> {
    let sent = report.sent.moment()?;
    // Where the two times name different zones, one of them is wrong more often than the country
    // has changed its clocks between: the shorter time is then the surer bound.
    let lasted = report.discharged.moment().map(|discharged| {
        let by_zone = discharged.timestamp_millis() - sent.timestamp_millis();
        let by_digits = (discharged.naive_local() - sent.naive_local()).num_milliseconds();
        by_zone.min(by_digits).max(0)
    });
    Some(Taken {
        at: Timestamp(sent.timestamp_millis()),
        before: Timestamp(now.millis().saturating_sub(lasted.unwrap_or(0))),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::pdu::timestamp::NetworkTime;

    const SIM: &str = "208010123456789";
    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    /// 2026-11-22 12:30:`second` in the zone of the octet.
    const fn at(second: u8, zone: u8) -> NetworkTime {
        NetworkTime([0x62, 0x11, 0x22, 0x21, 0x03, second, zone])
    }

    fn report(recipient: Address, sent: NetworkTime, discharged: NetworkTime) -> StatusReport {
        StatusReport::new(17, recipient, sent, discharged, 0)
    }

    fn of(ton: TypeOfNumber, digits: &str, country: Option<&str>) -> Report {
        let recipient = Address::new(ton, digits).unwrap();
        read(&report(recipient, at(0, 0), at(0, 0)), SIM, country, NOW)
    }

    #[test]
    fn every_status_has_its_state_and_keeps_its_octet() {
        use ReceiptState as S;
        for status in 0..=255_u8 {
            let read = receipt(status);
            let state = match status {
                0x01 | 0x02 => S::Accepted,
                0x46 => S::Expired,
                0x47 | 0x48 => S::Deleted,
                _ if status < 0x20 => S::Delivered,
                _ if status < 0x40 => S::Enroute,
                _ => S::Undeliverable,
            };
            assert_eq!(read.state, state, "0x{status:02X}");
            assert_eq!(read.error, Some(format!("TP-ST 0x{status:02X}")));
            assert_eq!((read.word, read.network_error), (None, None));
        }
    }

    #[test]
    fn a_recipient_has_one_reference_and_one_number_in_every_form() {
        use TypeOfNumber as T;
        let french = country(SIM);
        for (ton, digits) in [
            (T::International, "33612345678"),
            (T::National, "612345678"),
            (T::National, "0612345678"),
            (T::Unknown, "0612345678"),
            (T::Unknown, "33612345678"),
            (T::Unknown, "0033612345678"),
        ] {
            let read = of(ton, digits, french);
            assert_eq!(read.reference, "sim:e9288588a056:612345678:17");
            let number = read.handset.map(|number| number.to_string());
            assert_eq!(number.as_deref(), Some("+33612345678"), "{ton:?} {digits}");
        }
    }

    #[test]
    fn a_number_that_does_not_read_as_one_is_left_to_the_reference() {
        let elsewhere = country("655010123456789");
        assert_eq!(elsewhere, None);
        let read = of(TypeOfNumber::Unknown, "0826541234", elsewhere);
        assert_eq!(read.handset, None);
        assert!(read.reference.ends_with(":826541234:17"));
        // What a modem has damaged in front.
        let read = of(TypeOfNumber::International, "#08427829207025", None);
        assert_eq!(read.handset, None);
        assert!(read.reference.ends_with(":829207025:17"));
        let code = of(TypeOfNumber::Unknown, "38600", Some("FR"));
        assert_eq!(code.handset, None);
    }

    #[test]
    fn the_time_is_bounded_by_what_has_passed_since() {
        let recipient = || Address::number("+33612345678").unwrap();
        let taken = |sent, discharged| {
            let read = read(&report(recipient(), sent, discharged), SIM, None, NOW);
            read.taken
                .map(|t| (t.at.rfc3339(), NOW.since(t.before).as_secs()))
        };
        let noon = |seconds| Some(("2026-11-22T12:30:00.000Z".to_owned(), seconds));
        // Swapped digits: 0x01 is 10 seconds.
        assert_eq!(taken(at(0, 0), at(0x01, 0)), noon(10));
        let paris = taken(at(0, 0x40), at(0x01, 0x40)).unwrap();
        assert_eq!(paris, ("2026-11-22T11:30:00.000Z".to_owned(), 10));
        // A report of a moment before, and one without a possible time of its own.
        assert_eq!(taken(at(0x01, 0), at(0, 0)).unwrap().1, 0);
        assert_eq!(taken(at(0, 0), NetworkTime([0; 7])), noon(0));
        assert_eq!(taken(NetworkTime([0xFF; 7]), at(0, 0)), None);
        // Two zones for one moment: the same digits are no hour.
        assert_eq!(taken(at(0, 0x40), at(0, 0)).unwrap().1, 0);
        assert_eq!(taken(at(0, 0), at(0, 0x40)).unwrap().1, 0);
    }

    proptest! {
        #[test]
        fn any_report_is_read(octets: Vec<u8>, now: i64, french: bool) {
            let country = french.then_some("FR");
            if let Ok(report) = StatusReport::decode(&octets) {
                let read = read(&report, SIM, country, Timestamp(now));
                prop_assert!(sim::is_reference(&read.reference));
                if let Some(taken) = read.taken {
                    prop_assert!(taken.before <= Timestamp(now));
                }
            }
        }
    }
}
