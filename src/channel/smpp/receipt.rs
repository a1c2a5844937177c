//! Delivery receipts: what a `deliver_sm` or `data_sm` of that kind says (SMPP 3.4 appendix B).
//!
//! The specification leaves the text to the vendor, so it is read tolerantly: fields in any order
//! and case, any of them missing, dates of any form, a body in UCS-2, or no body at all where TLVs
//! say everything. A TLV is believed before the text.

use super::deliver::{Address, Deliver, tag};
use crate::domain::msisdn::Msisdn;
use crate::domain::receipt::{Receipt, ReceiptState};
use crate::pdu::{latin1, ucs2, udh};

/// A receipt with what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The carrier's id of the message, as it wrote it; `None` if it names none.
    pub reference: Option<String>,
    /// The handset, if its number can be read.
    pub handset: Option<Msisdn>,
    /// What is reported.
    pub receipt: Receipt,
}

/// Reads a receipt. A state that is missing or not understood is `Unknown`, which is no evidence.
#[must_use]
pub fn read(deliver: &Deliver) -> Reported {
    let text = body(deliver);
    let fields = Fields::of(&text);
    let reference = deliver
        .tlv(tag::RECEIPTED_MESSAGE_ID)
        .map(|id| latin1::decode(id.split(|octet| *octet == 0).next().unwrap_or_default()))
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty())
        .or_else(|| fields.get("id").map(str::to_owned));
    let state = deliver
        .tlv_number(tag::MESSAGE_STATE)
        .and_then(|value| ReceiptState::from_message_state(u8::try_from(value).ok()?))
        .or_else(|| fields.get("stat").and_then(state_word))
        .unwrap_or(ReceiptState::Unknown);
    let error = fields
        .get("err")
        .map(str::to_owned)
        .or_else(|| network_error(deliver));
    Reported {
        reference,
        handset: handset(&deliver.source),
        receipt: Receipt { state, error },
    }
}

/// The number of an address, if it is an international one: by its type of number, or because it
/// is written with `+` or `00`.
#[must_use]
pub fn handset(address: &Address) -> Option<Msisdn> {
    let text = address.text.trim();
    let digits = match text.strip_prefix('+').or_else(|| text.strip_prefix("00")) {
        Some(digits) => digits,
        None if address.ton == 1 => text,
        None => return None,
    };
    Msisdn::from_e164_digits(digits)
}

fn body(deliver: &Deliver) -> String {
    let octets = match udh::parse(&deliver.message) {
        Ok((_, text)) if deliver.has_udh() => text,
        _ => &deliver.message[..],
    };
    // Receipts are ASCII whatever `data_coding` says, except where it says UCS-2. In the GSM
    // alphabet an underscore, frequent in ids, would be read as §.
    if deliver.data_coding == 8 {
        ucs2::decode(octets)
    } else {
        latin1::decode(octets)
    }
}

fn state_word(word: &str) -> Option<ReceiptState> {
    match word.parse() {
        Ok(value) => ReceiptState::from_message_state(value),
        Err(_) => ReceiptState::from_stat(word),
    }
}

/// `network_error_code` (SMPP 3.4 §5.3.2.31): network type and code, as `3:27`.
fn network_error(deliver: &Deliver) -> Option<String> {
    match deliver.tlv(tag::NETWORK_ERROR_CODE)?.as_ref() {
        [network, high, low] => Some(format!("{network}:{}", u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

/// The `key:value` pairs of a receipt's text. The quoted start of the message is looked at last,
/// because its author may have written anything there.
struct Fields<'a> {
    head: &'a str,
    quoted: &'a str,
}

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Self {
        let (head, quoted) = find(text, "text").map_or((text, ""), |at| text.split_at(at));
        Self { head, quoted }
    }

    /// The value of the first field `key`: up to the next blank, comma or semicolon.
    fn get(&self, key: &str) -> Option<&'a str> {
        [self.head, self.quoted].into_iter().find_map(|text| {
            let value = text
                .get(find(text, key)?..)?
                .trim_start_matches([' ', '\t']);
            let ends = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | ';');
            let value = value.split(ends).next()?.trim_matches(['"', '\'']);
            // `id: sub:001` has no id: what follows is the next field.
            (!value.is_empty() && !value.contains(':')).then_some(value)
        })
    }
}

/// Where the value of the field `key` begins: after `key:` or `key=`, blanks allowed between, in
/// any case, and not as the end of a longer word.
fn find(text: &str, key: &str) -> Option<usize> {
    let octets = text.as_bytes();
    (0..octets.len()).find_map(|at| {
        let end = at + key.len();
        let found = octets.get(at..end)?.eq_ignore_ascii_case(key.as_bytes());
        let alone = at == 0 || !(octets[at - 1].is_ascii_alphanumeric() || octets[at - 1] == b'_');
        if !found || !alone {
            return None;
        }
        let rest = &octets[end..];
        let blanks = rest.iter().take_while(|octet| **octet == b' ').count();
        matches!(rest.get(blanks), Some(b':' | b'=')).then_some(end + blanks + 1)
    })
}

#[cfg(test)]
mod tests;
