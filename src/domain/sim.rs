//! How the submissions of a SIM are named.
//!
//! A modem answers with TP-MR (3GPP TS 23.040 §9.2.3.6), eight bits that come round within minutes.
//! The reference of a submission is therefore made of the SIM, the last digits of the recipient and
//! TP-MR; a status report names all three. What is still the same for two submissions is told apart
//! by time. The id space is the SIM, not the modem, so that a SIM may move to another modem.

use sha2::{Digest, Sha256};

use super::msisdn::Msisdn;

/// How a reference begins that a SIM has made.
const PREFIX: &str = "sim:";

/// Digits at the end of a number that are the same however the network writes it.
const DIGITS: usize = 9;

/// Octets of the digest that stands for a SIM: clients see references, and an IMSI is not theirs.
const DIGEST: usize = 6;

/// The reference of what this SIM (by its IMSI, or whatever names it) has sent to `to` under TP-MR
/// `reference`: for example `sim:e9288588a056:612345678:17`.
#[must_use]
pub fn reference(sim: &str, to: Msisdn, reference: u8) -> String {
    reference_of_digits(sim, &to.to_string(), reference)
}

/// The same for a recipient as a status report writes it: international, national, or cut.
#[must_use]
pub fn reference_of_digits(sim: &str, recipient: &str, reference: u8) -> String {
    let digits: Vec<u8> = recipient.bytes().filter(u8::is_ascii_digit).collect();
    let tail = &digits[digits.len().saturating_sub(DIGITS)..];
    let tail = String::from_utf8_lossy(tail);
    let digest = Sha256::digest(sim);
    let sim: String = digest
        .iter()
        .take(DIGEST)
        .map(|octet| format!("{octet:02x}"))
        .collect();
    format!("{PREFIX}{sim}:{tail}:{reference}")
}

/// True if a SIM has made this reference.
#[must_use]
pub fn is_reference(reference: &str) -> bool {
    reference.starts_with(PREFIX)
}

/// True if one SIM has made both references.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    let sim = |reference| {
        let rest = str::strip_prefix(reference, PREFIX)?;
        rest.rsplitn(3, ':').nth(2)
    };
    sim(one).is_some_and(|one| sim(other) == Some(one))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_recipient_has_one_reference_however_a_report_writes_it() {
        let to = Msisdn::from_e164_digits("33612345678").unwrap();
        let made = reference("208010123456789", to, 17);
        assert!(made.starts_with("sim:") && made.ends_with(":612345678:17"));
        assert!(!made.contains("208010123456789"), "{made}");
        for written in ["+33612345678", "33612345678", "0612345678"] {
            assert_eq!(reference_of_digits("208010123456789", written, 17), made);
        }
        assert!(is_reference(&made));
        assert!(!is_reference("17"));
        assert!(reference_of_digits("1", "38600", 255).ends_with(":38600:255"));
    }

    #[test]
    fn references_tell_which_sim_has_made_them() {
        let made = |sim, digits| reference_of_digits(sim, digits, 17);
        assert!(is_same(&made("a:b", "0612345678"), &made("a:b", "38600")));
        assert!(!is_same(
            &made("1", "0612345678"),
            &made("12", "0612345678")
        ));
        assert!(!is_same("17", "17"));
    }
}
