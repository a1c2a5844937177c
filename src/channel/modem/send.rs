//! A segment as an SMS-SUBMIT, and what refusals of a modem add up to.

use std::collections::VecDeque;

use super::errors::{Failure, History};
use crate::channel::SubmitRequest;
use crate::domain::id::MessageId;
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;
use crate::pdu::address::{Address, AddressError};
use crate::pdu::dcs::Dcs;
use crate::pdu::segment::Alphabet;
use crate::pdu::submit::Submit;
use crate::pdu::tpdu::{Pdu, Tpdu};
use crate::pdu::udh;
use crate::pdu::user_data::{UserData, UserDataError};
use crate::pdu::validity::Validity;

/// TP-DCS of the GSM 7 bit default alphabet (3GPP TS 23.038 clause 4).
const GSM7: Dcs = Dcs(0x00);

/// TP-DCS of UCS2.
const UCS2: Dcs = Dcs(0x08);

/// A segment that no SMS-SUBMIT can carry. Neither number nor text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EncodeError {
    /// The recipient has no form.
    #[error("the recipient cannot be written as TP-DA: {0}")]
    Recipient(#[from] AddressError),
    /// The text has none, or does not fit.
    #[error("{0}")]
    Text(#[from] UserDataError),
}

/// The octets of one segment for `AT+CMGS`, those of the SMSC's address first, and how many of them
/// are the TPDU. The sender is the SIM's own, whatever was asked for; a status report is always wanted.
///
/// What is left of the validity goes with it, rounded up to the next step that TP-VP has; without
/// `validity`, the service centre decides. Parts carry a reference of 8 bits: the accounts of modems
/// have the default rules for texts, by which 153 septets or 67 units are a part, and a header with
/// 16 bits would have no room beside them.
pub(super) fn pdu(
    request: &SubmitRequest,
    now: Timestamp,
    validity: bool,
    service_centre: Option<&Address>,
) -> Result<(Vec<u8>, usize), EncodeError> {
    let (dcs, content) = match request.alphabet {
        Alphabet::Gsm7 => (GSM7, request.payload.to_vec()),
        Alphabet::Ucs2 => (UCS2, request.payload.to_vec()),
        // No modem account is planned for it; the first 256 characters of Unicode are Latin-1.
        Alphabet::Latin1 => (UCS2, request.payload.iter().flat_map(|&c| [0, c]).collect()),
    };
    let [_, low] = request.reference.to_be_bytes();
    // A part's number is its index plus one; a plan never has more than 255 parts.
    let number = u8::try_from(request.segment.saturating_add(1)).unwrap_or(u8::MAX);
    let header = udh::concat8(low, request.total, number);
    let header: &[u8] = if request.total > 1 { &header } else { &[] };
    let destination = Address::number(&request.to.to_string())?;
    let mut submit = Submit::new(destination, UserData::new(dcs, header, content)?);
    submit.status_report = true;
    submit.validity = validity.then(|| Validity::at_least(request.expires_at.since(now)));
    let pdu = Pdu {
        service_centre: service_centre.cloned(),
        tpdu: Tpdu::Submit(submit),
    };
    Ok(pdu.encode())
}

/// Messages whose refusals are remembered; the oldest are forgotten first.
const MESSAGES: usize = 1_024;

/// Recipients that are told apart in a row: as many as the rulings ask for.
const RECIPIENTS: usize = 8;

/// The refusals of one modem, as far as the next ruling depends on them.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    messages: VecDeque<(MessageId, Failure, u32)>,
    row: Option<Row>,
}

/// Submissions refused one after another with the same error.
#[derive(Debug)]
struct Row {
    failure: Failure,
    length: u32,
    recipients: Vec<Msisdn>,
}

impl Refusals {
    /// Takes note of a refusal, and says what came before it.
    pub(super) fn refused(&mut self, message: MessageId, to: Msisdn, failure: Failure) -> History {
        let row = match &mut self.row {
            Some(row) if row.failure == failure => row,
            row => row.insert(Row {
                failure,
                length: 0,
                recipients: Vec::new(),
            }),
        };
        let in_a_row = row.length;
        row.length = row.length.saturating_add(1);
        if !row.recipients.contains(&to) && row.recipients.len() < RECIPIENTS {
            row.recipients.push(to);
        }
        let recipients = u32::try_from(row.recipients.len()).unwrap_or(u32::MAX);
        let known = self
            .messages
            .iter_mut()
            .find(|(id, error, _)| *id == message && *error == failure);
        let of_message = match known {
            Some((.., times)) => {
                let before = *times;
                *times = times.saturating_add(1);
                before
            }
            None => {
                if self.messages.len() == MESSAGES {
                    self.messages.pop_front();
                }
                self.messages.push_back((message, failure, 1));
                0
            }
        };
        History {
            of_message,
            in_a_row,
            recipients,
        }
    }

    /// A submission was taken: no row goes on.
    pub(super) fn accepted(&mut self, message: MessageId) {
        self.row = None;
        self.messages.retain(|(id, ..)| *id != message);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::domain::message::Token;
    use crate::domain::sender::Sender;
    use crate::pdu::udh::{Concat, Reference};

    fn request(alphabet: Alphabet, payload: &[u8]) -> SubmitRequest {
        SubmitRequest {
            token: Token {
                message: id(1),
                attempt: 0,
                claim: 1,
            },
            to: to(33612345678),
            from: Some(Sender::Alphanumeric("SHOP".into())),
            alphabet,
            segment: 1,
            payload: Bytes::copy_from_slice(payload),
            total: 3,
            reference: 0x01A7,
            expires_at: Timestamp(0) + Duration::from_hours(48),
            priority: 0,
            relayed: None,
        }
    }

    fn tpdu(
        request: &SubmitRequest,
        now: Timestamp,
        validity: bool,
    ) -> Result<Vec<u8>, EncodeError> {
        let (octets, length) = pdu(request, now, validity, None)?;
        assert_eq!((octets[0], octets.len()), (0, length + 1));
        Ok(octets[1..].to_vec())
    }

    fn id(n: u8) -> MessageId {
        MessageId::new(Timestamp(1), [n; 10])
    }

    fn to(number: u64) -> Msisdn {
        Msisdn::from_e164_digits(&number.to_string()).unwrap()
    }

    #[test]
    fn a_part_asks_for_a_report_and_carries_what_is_left_of_its_validity() {
        let octets = tpdu(&request(Alphabet::Gsm7, &[0x61; 153]), Timestamp(0), true).unwrap();
        // TP-UDHI, TP-SRR, relative TP-VP, SMS-SUBMIT; 48 h are A8.
        assert_eq!(octets[0], 0x71);
        let read = Submit::decode(&octets).unwrap();
        assert_eq!(read.validity, Some(Validity::Relative(0xA8)));
        assert_eq!(read.destination.value(), "33612345678");
        let concat = Concat {
            reference: Reference::Eight(0xA7),
            total: 3,
            index: 2,
        };
        assert_eq!(read.user_data.udh().unwrap().concat, Some(concat));
        assert_eq!(read.user_data.content(), [0x61; 153]);
        let later = Timestamp(0) + Duration::from_millis(172_800_000 - 61_000);
        let octets = tpdu(&request(Alphabet::Ucs2, &[0, 0x61]), later, true).unwrap();
        let read = Submit::decode(&octets).unwrap();
        assert_eq!(read.validity, Some(Validity::Relative(0)));
        assert_eq!(read.user_data.text().as_deref(), Some("a"));
    }

    #[test]
    fn without_validity_and_whole_it_has_neither_field() {
        let mut request = request(Alphabet::Latin1, &[0xE9]);
        request.total = 1;
        let octets = tpdu(&request, Timestamp(0), false).unwrap();
        assert_eq!(octets[0], 0x21);
        let read = Submit::decode(&octets).unwrap();
        assert_eq!(read.validity, None);
        assert_eq!(read.user_data.text().as_deref(), Some("é"));
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused_without_being_shown() {
        let error = tpdu(&request(Alphabet::Gsm7, &[0x61; 160]), Timestamp(0), true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the user data takes 147 octets, and a short message carries at most 140"
        );
    }

    #[test]
    fn the_service_centre_stands_before_the_tpdu_and_does_not_count() {
        let centre = Address::number("+33600000001").unwrap();
        let request = request(Alphabet::Gsm7, &[0x61]);
        let (octets, length) = pdu(&request, Timestamp(0), true, Some(&centre)).unwrap();
        assert_eq!(octets[..8], [7, 0x91, 0x33, 0x06, 0x00, 0x00, 0x00, 0xF1]);
        assert_eq!(octets.len(), 8 + length);
    }

    #[test]
    fn refusals_are_counted_by_message_and_in_a_row() {
        let mut refusals = Refusals::default();
        let failure = Failure::Cms(Some(21));
        let counts = |history: History| (history.of_message, history.in_a_row, history.recipients);
        assert_eq!(
            counts(refusals.refused(id(1), to(33_600_000_006), failure)),
            (0, 0, 1)
        );
        assert_eq!(
            counts(refusals.refused(id(1), to(33_600_000_006), failure)),
            (1, 1, 1)
        );
        assert_eq!(
            counts(refusals.refused(id(2), to(33_600_000_007), failure)),
            (0, 2, 2)
        );
        refusals.accepted(id(2));
        assert_eq!(
            counts(refusals.refused(id(1), to(33_600_000_006), failure)),
            (2, 0, 1)
        );
        let other = Failure::Cms(Some(500));
        assert_eq!(
            counts(refusals.refused(id(1), to(33_600_000_006), other)),
            (0, 0, 1)
        );
        for n in 0..=u8::MAX {
            for _ in 0..9 {
                refusals.refused(id(n), to(33_600_000_006), other);
            }
        }
        assert!(refusals.messages.len() <= MESSAGES);
    }
}
