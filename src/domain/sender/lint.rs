//! What French operators refuse as a sender since 2025-03-10 (AF2M, protection of OADCs), and what would
//! pass for somebody else.
//!
//! They take letters, or letters and digits, 11 at most, and the short codes in 36 and 38; no spaces, no
//! signs, no other numbers, and no word that says nothing of who sends.

use super::Sender;
use crate::domain::guard::GuardRules;
use crate::pdu::transliterate::nearest;

/// Longest alphanumeric sender (3GPP TS 23.040 §9.1.2.5).
const LENGTH_MAX: usize = 11;

/// Why operators would refuse a sender, or a tenant may not use it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It holds spaces or signs.
    #[error("French operators take letters and digits only, without spaces or signs")]
    Form,
    /// A number that is no short code in 36 or 38.
    #[error(
        "French operators take no numbers as senders but the short codes in 36 (commercial) and 38 \
         (transactional)"
    )]
    Digits,
    /// A word that says nothing of who sends.
    #[error(
        "French operators block senders that say nothing of who sends; use the name of the \
         organisation"
    )]
    Generic,
    /// The name of somebody else, or one that looks like it.
    #[error(
        "this is the name of somebody else, or looks like it; an administrator can add it to the \
         tenant's senders"
    )]
    Reserved,
}

impl Fault {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Form => "sender_form",
            Self::Digits => "sender_digits",
            Self::Generic => "sender_generic",
            Self::Reserved => "sender_reserved",
        }
    }
}

/// What is wrong with a sender; the gravest alone.
#[must_use]
pub fn fault(sender: &Sender, rules: &GuardRules) -> Option<Fault> {
    match sender {
        Sender::Short(code) => {
            let known = code.len() == 5 && (code.starts_with("36") || code.starts_with("38"));
            (!known).then_some(Fault::Digits)
        }
        Sender::International(_) => Some(Fault::Digits),
        Sender::Alphanumeric(name) => {
            if is_reserved(name, rules) {
                Some(Fault::Reserved)
            } else if is_generic(name, rules) {
                Some(Fault::Generic)
            } else if !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
                Some(Fault::Form)
            } else {
                None
            }
        }
    }
}

/// The sender that comes nearest to what was given: `CCASLYON` for `CCAS LYON`.
#[must_use]
pub fn suggestion(given: &str) -> Option<String> {
    let mut plain = String::with_capacity(given.len());
    for c in given.chars().take(4 * LENGTH_MAX) {
        if c.is_ascii_alphanumeric() {
            plain.push(c);
        } else if let Some(near) = nearest(c, |c| c.is_ascii_alphanumeric()) {
            plain.extend(near.chars().filter(char::is_ascii_alphanumeric));
        }
    }
    let named = plain.bytes().any(|b| b.is_ascii_alphabetic());
    (named && plain.len() <= LENGTH_MAX && plain != given).then_some(plain)
}

fn letters_and_digits(name: &str) -> impl Iterator<Item = char> {
    let plain = name.chars().filter(char::is_ascii_alphanumeric);
    plain.map(|c| c.to_ascii_lowercase())
}

fn is_generic(name: &str, rules: &GuardRules) -> bool {
    let plain: String = letters_and_digits(name).collect();
    let word = plain.trim_end_matches(|c: char| c.is_ascii_digit());
    rules.generic_senders.iter().any(|generic| generic == word)
}

/// What a reader takes for the same: in small letters, without signs, without digits that look like
/// letters, nor letters that look alike.
#[must_use]
pub fn skeleton(name: &str) -> String {
    letters_and_digits(name)
        .map(|c| match c {
            '0' => 'o',
            '1' | 'l' => 'i',
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            '7' => 't',
            '8' => 'b',
            other => other,
        })
        .collect::<String>()
        .replace("rn", "m")
        .replace("vv", "w")
}

fn is_reserved(name: &str, rules: &GuardRules) -> bool {
    let seen = skeleton(name);
    rules.reserved_senders.iter().any(|reserved| {
        // Alone, or with a word that says nothing beside it: AMELI-INFO.
        let rest = seen.strip_prefix(reserved.as_str());
        let rest = rest.or_else(|| seen.strip_suffix(reserved.as_str()));
        rest.is_some_and(|rest| {
            let mut generic = rules.generic_senders.iter();
            rest.is_empty() || generic.any(|word| skeleton(word) == rest)
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn judged(sender: &str) -> Option<Fault> {
        fault(&Sender::parse(sender).unwrap(), &GuardRules::default())
    }

    #[test]
    fn senders_are_judged_as_french_operators_judge_them() {
        for good in [
            "CCAS",
            "CCASLYON",
            "Optic2000",
            "36111",
            "38200",
            "Amelie",
            "SMSFactor",
            "InfoLyon",
            "Dupont",
        ] {
            assert_eq!(judged(good), None, "{good}");
        }
        for (sender, fault) in [
            ("CCAS LYON", Fault::Form),
            ("L'Opticien", Fault::Form),
            ("A-B", Fault::Form),
            ("+33612345678", Fault::Digits),
            ("12345", Fault::Digits),
            ("361", Fault::Digits),
            ("RDV", Fault::Generic),
            ("Info", Fault::Generic),
            ("INFO-SMS", Fault::Form),
            ("Alerte2", Fault::Generic),
            ("S.M.S", Fault::Generic),
            ("AMELI", Fault::Reserved),
            ("Ame1i", Fault::Reserved),
            ("AMELI INFO", Fault::Reserved),
            ("CHR0NOPOST", Fault::Reserved),
            ("La Poste", Fault::Reserved),
            ("InfoUPS", Fault::Reserved),
        ] {
            assert_eq!(judged(sender), Some(fault), "{sender}");
        }
    }

    #[test]
    fn a_suggestion_is_a_sender_that_operators_take() {
        for (given, suggested) in [
            ("CCAS LYON", Some("CCASLYON")),
            ("Zoë", Some("Zoe")),
            ("L'Opticien", Some("LOpticien")),
            ("CCAS DE LYON3", Some("CCASDELYON3")),
            ("Centre communal", None),
            ("CCAS", None),
            ("12 34", None),
            ("", None),
        ] {
            assert_eq!(suggestion(given).as_deref(), suggested, "{given}");
            if let Some(name) = suggested {
                let form = judged(name).filter(|fault| *fault == Fault::Form);
                assert_eq!(form, None);
            }
        }
    }

    #[test]
    fn lists_of_the_installation_take_the_place_of_the_usual_ones() {
        let rules = GuardRules {
            generic_senders: vec!["truc".to_owned()],
            reserved_senders: Vec::new(),
            ..GuardRules::default()
        };
        let judged = |name: &str| fault(&Sender::parse(name).unwrap(), &rules);
        assert_eq!(judged("Truc"), Some(Fault::Generic));
        assert_eq!((judged("RDV"), judged("AMELI")), (None, None));
    }
}
