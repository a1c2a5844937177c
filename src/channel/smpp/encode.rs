//! A segment to send, as a `submit_sm` (SMPP 3.4 §4.4.1).

use std::str::FromStr;
use std::time::Duration;

use rusmpp::pdus::SubmitSm;
use rusmpp::types::{COctetString, EmptyOrFullCOctetString, OctetString};
use rusmpp::values::{
    DataCoding, EsmClass, Npi, PriorityFlag, RegisteredDelivery, ServiceType, Ton,
};
use thiserror::Error;

use super::SmppConfig;
use super::deliver::UDHI;
use crate::channel::SubmitRequest;
use crate::domain::sender::Sender;
use crate::pdu::segment::Alphabet;
use crate::pdu::udh;

/// `data_coding` of UTF-16BE text (SMPP 3.4 §5.2.19).
pub const DATA_CODING_UCS2: u8 = 8;

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
    let (ton, npi) = numbering(sender);
    let destination = request.to.to_string();
    let data_coding = match request.alphabet {
        Alphabet::Gsm7 => config.data_coding_gsm,
        Alphabet::Ucs2 => DATA_CODING_UCS2,
    };
    let (esm_class, message) = if request.total > 1 {
        // A part's number is its index plus one; a plan never has more than 255 parts.
        let number = u8::try_from(request.segment.saturating_add(1)).unwrap_or(u8::MAX);
        let header = udh::concat8(request.reference, request.total, number);
        (UDHI, [&header[..], &request.payload].concat())
    } else {
        (0, request.payload.to_vec())
    };
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
        .esm_class(EsmClass::from(esm_class))
        .priority_flag(PriorityFlag::from(request.priority.min(3)))
        .validity_period(
            EmptyOrFullCOctetString::from_str(&validity_period(validity)).map_err(|_| {
                EncodeError {
                    field: "validity_period",
                }
            })?,
        )
        .registered_delivery(RegisteredDelivery::from(1))
        .data_coding(DataCoding::from(data_coding))
        .short_message(OctetString::from_vec(message).map_err(|_| EncodeError {
            field: "short_message",
        })?)
        .build())
}

/// Type of number and numbering plan of a sender (SMPP 3.4 §5.2.5, §5.2.6).
const fn numbering(sender: Option<&Sender>) -> (u8, u8) {
    match sender {
        None => (0, 0),
        Some(Sender::International(_)) => (1, 1),
        Some(Sender::Short(_)) => (3, 0),
        Some(Sender::Alphanumeric(_)) => (5, 0),
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;
    use crate::domain::id::MessageId;
    use crate::domain::message::Token;
    use crate::domain::msisdn::Msisdn;
    use crate::domain::time::Timestamp;

    const VALIDITY: Duration = Duration::from_hours(48);

    fn request(from: Option<Sender>, alphabet: Alphabet, total: u8) -> SubmitRequest {
        SubmitRequest {
            token: Token {
                message: MessageId::new(Timestamp(1), [0; 10]),
                attempt: 0,
                claim: 1,
            },
            to: Msisdn::from_e164_digits("33612345678").unwrap(),
            from,
            alphabet,
            segment: 1,
            payload: Bytes::from_static(b"abc"),
            total,
            reference: 0xA7,
            expires_at: Timestamp(172_800_000),
            priority: 2,
        }
    }

    #[test]
    fn the_validity_is_relative_floored_and_within_bounds() {
        for (seconds, text) in [
            (172_800, "000002000000000R"),
            (172_799, "000001235959000R"),
            (90, "000000000130000R"),
            (0, "000000000100000R"),
            (u64::MAX, "000030000000000R"),
        ] {
            assert_eq!(
                validity_period(Duration::from_secs(seconds)),
                text,
                "{seconds} s"
            );
        }
        assert_eq!(
            validity_period(Duration::from_millis(61_999)),
            "000000000101000R"
        );
    }

    #[test]
    fn the_form_of_the_sender_decides_ton_and_npi() {
        let config = SmppConfig::new("a", "localhost", 2775, "id", "pw");
        for (sender, ton, npi, text) in [
            (Some(Sender::Alphanumeric("CCAS".into())), 5, 0, "CCAS"),
            (
                Some(Sender::International("33700000000".into())),
                1,
                1,
                "33700000000",
            ),
            (Some(Sender::Short("36111".into())), 3, 0, "36111"),
            (None, 0, 0, ""),
        ] {
            let request = request(sender, Alphabet::Gsm7, 1);
            let pdu = submit_sm(&config, &request, VALIDITY).unwrap();
            assert_eq!(
                (u8::from(pdu.source_addr_ton), u8::from(pdu.source_addr_npi)),
                (ton, npi)
            );
            assert_eq!(pdu.source_addr.as_str(), text);
            assert_eq!(
                (u8::from(pdu.dest_addr_ton), u8::from(pdu.dest_addr_npi)),
                (1, 1)
            );
            assert_eq!(pdu.destination_addr.as_str(), "33612345678");
            assert_eq!((u8::from(pdu.esm_class), u8::from(pdu.data_coding)), (0, 0));
            assert_eq!(u8::from(pdu.registered_delivery), 1);
            assert_eq!(pdu.short_message().as_ref(), b"abc");
        }
    }

    #[test]
    fn the_account_gives_sender_and_numbering_where_it_says_so() {
        let mut config = SmppConfig::new("a", "localhost", 2775, "id", "pw");
        config.sender = Some(Sender::Short("38000".into()));
        config.source_ton = Some(6);
        config.dest_npi = Some(0);
        let request = request(None, Alphabet::Ucs2, 3);
        let pdu = submit_sm(&config, &request, VALIDITY).unwrap();
        assert_eq!(
            (u8::from(pdu.source_addr_ton), u8::from(pdu.source_addr_npi)),
            (6, 0)
        );
        assert_eq!(pdu.source_addr.as_str(), "38000");
        assert_eq!(u8::from(pdu.dest_addr_npi), 0);
        assert_eq!(
            (u8::from(pdu.esm_class), u8::from(pdu.data_coding)),
            (0x40, 8)
        );
        assert_eq!(pdu.short_message().as_ref(), b"\x05\x00\x03\xA7\x03\x02abc");
    }

    #[test]
    fn what_does_not_fit_names_the_field_and_not_the_value() {
        let mut config = SmppConfig::new("a", "localhost", 2775, "id", "pw");
        config.service_type = "TOOLONG".to_owned();
        let request = request(None, Alphabet::Gsm7, 1);
        let error = submit_sm(&config, &request, VALIDITY).unwrap_err();
        assert_eq!(
            error.to_string(),
            "service_type is too long for its field or not ASCII"
        );
    }
}
