//! The TPDUs that a network sends: SMS-DELIVER and SMS-STATUS-REPORT (3GPP TS 23.040 clauses 9.2.2.1
//! and 9.2.2.3), and the numbers and times in them.

use crate::domain::time::Timestamp;
use crate::pdu::segment::{self, Alphabet};
use crate::pdu::{gsm7, udh};

/// Type of address: international, and unknown (clause 9.1.2.5), both of the telephone plan.
const INTERNATIONAL: u8 = 0x91;
const UNKNOWN: u8 = 0x81;
/// Type of address: a name in the default alphabet.
const NAME: u8 = 0xD0;

/// Digits, two an octet, the first one low; an odd number is filled up with F.
fn semi_octets(digits: &str) -> Vec<u8> {
    let values: Vec<u8> = digits
        .chars()
        .map(|c| c.to_digit(10).and_then(|digit| u8::try_from(digit).ok()))
        .map(|digit| digit.unwrap_or(0))
        .collect();
    values
        .chunks(2)
        .map(|pair| pair[0] | (pair.get(1).copied().unwrap_or(0x0F) << 4))
        .collect()
}

/// An address field: its length in semi-octets, type and value.
pub(super) fn address(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.chars().all(|c| c.is_ascii_digit()) {
        // Short codes are never international, whatever their writer forgot.
        let kind = if text.starts_with('+') || digits.len() > 8 && !digits.starts_with('0') {
            INTERNATIONAL
        } else {
            UNKNOWN
        };
        let length = u8::try_from(digits.len()).unwrap_or(20);
        return [&[length, kind][..], &semi_octets(digits)].concat();
    }
    let septets = gsm7::encode(text).unwrap_or_default();
    let semi = (septets.len() * 7).div_ceil(4);
    let length = u8::try_from(semi).unwrap_or(20);
    [&[length, NAME][..], &pack(&septets, 0)].concat()
}

/// The service centre before a TPDU: a length in octets instead of digits.
pub(super) fn service_centre(number: &str) -> Vec<u8> {
    let field = address(number);
    let octets = u8::try_from(field.len() - 1).unwrap_or(0);
    [&[octets][..], &field[1..]].concat()
}

/// TP-SCTS (clause 9.2.3.11), in UTC.
fn time_stamp(at: Timestamp) -> Vec<u8> {
    semi_octets(&at.to_utc().format("%y%m%d%H%M%S00").to_string())
}

/// Septets in octets, low bits first, after `fill` bits.
pub(super) fn pack(septets: &[u8], fill: u8) -> Vec<u8> {
    let bits = septets.len() * 7 + usize::from(fill);
    let mut octets = vec![0; bits.div_ceil(8)];
    for (index, septet) in septets.iter().enumerate() {
        let at = index * 7 + usize::from(fill);
        let [low, high] = (u16::from(septet & 0x7F) << (at % 8)).to_le_bytes();
        octets[at / 8] |= low;
        if high != 0 {
            octets[at / 8 + 1] |= high;
        }
    }
    octets
}

/// The SMS-DELIVERs of a text, one a part.
pub(super) fn deliver(
    from: &str,
    text: &str,
    ucs2: bool,
    reference: u8,
    at: Timestamp,
) -> Vec<Vec<u8>> {
    let plan = if ucs2 {
        segment::plan_as(text, Alphabet::Ucs2).unwrap_or_else(|_| segment::plan(text))
    } else {
        segment::plan(text)
    };
    let total = u8::try_from(plan.count()).unwrap_or(u8::MAX);
    (1..=total)
        .zip(plan.slices(text))
        .map(|(index, slice)| {
            let header = if total > 1 {
                udh::concat8(reference, total, index).to_vec()
            } else {
                Vec::new()
            };
            let octets = segment::octets(slice, plan.alphabet);
            let (dcs, length, data) = if plan.alphabet == Alphabet::Ucs2 {
                (
                    8,
                    header.len() + octets.len(),
                    [header.clone(), octets].concat(),
                )
            } else {
                let head = (header.len() * 8).div_ceil(7);
                let fill = u8::try_from(head * 7 - header.len() * 8).unwrap_or(0);
                let data = [header.clone(), pack(&octets, fill)].concat();
                (0, head + octets.len(), data)
            };
            // TP-MTI 0, TP-MMS set: no more messages wait; TP-UDHI by its header.
            let first = if header.is_empty() { 0x04 } else { 0x44 };
            let mut tpdu = vec![first];
            tpdu.extend(address(from));
            tpdu.extend([0, dcs]);
            tpdu.extend(time_stamp(at));
            tpdu.push(u8::try_from(length).unwrap_or(u8::MAX));
            tpdu.extend(data);
            tpdu
        })
        .collect()
}

/// An SMS-STATUS-REPORT.
pub(super) fn report(
    reference: u8,
    recipient: &str,
    submitted: Timestamp,
    done: Timestamp,
    status: u8,
) -> Vec<u8> {
    // TP-MTI 2, TP-MMS set.
    let mut tpdu = vec![0x06, reference];
    tpdu.extend(address(recipient));
    tpdu.extend(time_stamp(submitted));
    tpdu.extend(time_stamp(done));
    tpdu.push(status);
    tpdu
}

/// Hexadecimal digits, upper case.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// The octets of hexadecimal digits.
pub(super) fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    digits
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u8::try_from(value(high)? * 16 + value(low)?).ok(),
            _ => None,
        })
        .collect()
}
