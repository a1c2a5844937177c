//! What an account can carry, and what becomes of a text that is more than that.
//!
//! The text of a message is final when it is accepted: characters are replaced then, by the rules
//! of the account that it is planned for, or never. Another account only cuts the same text anew.

use serde::{Deserialize, Serialize};

use crate::pdu::segment::{Alphabet, Header, Plan, octets, plan_for};
use crate::pdu::transliterate::{nearest, transliterate};
use crate::pdu::{gsm7, latin1};

pub use crate::pdu::default_alphabet::DefaultAlphabet;
pub use crate::pdu::transliterate::Replacement;

/// How texts travel over an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextRules {
    /// What its SMSC takes octets of `data_coding` 0 for (SMPP 3.4 §5.2.19).
    pub alphabet: DefaultAlphabet,
    /// Whether Latin-1 text that has no place there goes as `data_coding` 3 instead of Unicode.
    pub latin1: bool,
    /// Whether its parts carry a reference of 16 bits, which takes one octet more of each.
    pub wide_header: bool,
    /// Whether a long text is handed over whole, for the SMSC to cut.
    pub single_piece: bool,
    /// Whether what would need Unicode is replaced by its nearest, where that avoids Unicode.
    pub transliterate: bool,
}

/// How a client wants the alphabet of a text to be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// The smallest alphabet that holds the text, by the account's rules.
    #[default]
    Auto,
    /// GSM 03.38 as it is, or refused.
    Gsm,
    /// Like `Auto`, after replacing what GSM 03.38 lacks, if that makes it GSM 03.38.
    Transliterate,
}

/// A text as it will be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The text.
    pub text: String,
    /// Its parts on the air.
    pub plan: Plan,
    /// What was replaced in it.
    pub replaced: Vec<Replacement>,
}

impl TextRules {
    /// The parts of `text` on the air, in the smallest alphabet; UCS-2 holds everything.
    #[must_use]
    pub fn plan(&self, text: &str) -> Plan {
        plan_for(text, self.alphabet, self.latin1, self.header())
    }

    /// `text` as this account should carry it.
    ///
    /// Nothing is replaced for nothing: a text that would need Unicode all the same, for an emoji
    /// for example, keeps its accents too.
    #[must_use]
    pub fn prepare(&self, text: String, encoding: Encoding) -> Prepared {
        let plan = self.plan(&text);
        let wanted: &[Alphabet] = match (encoding, plan.alphabet) {
            // A client that asks for it wants GSM.
            (Encoding::Transliterate, Alphabet::Latin1 | Alphabet::Ucs2) => &[Alphabet::Gsm7],
            // The policy avoids Unicode, with as few replacements as the account allows.
            (Encoding::Auto, Alphabet::Ucs2) if self.transliterate => {
                if self.latin1 {
                    &[Alphabet::Latin1, Alphabet::Gsm7]
                } else {
                    &[Alphabet::Gsm7]
                }
            }
            _ => &[],
        };
        for alphabet in wanted {
            let (near, replaced) = transliterate(&text, |c| self.has(c, *alphabet));
            let holds = near.chars().all(|c| self.has(c, *alphabet));
            if holds && !near.is_empty() {
                return Prepared {
                    plan: self.plan(&near),
                    text: near,
                    replaced,
                };
            }
        }
        Prepared {
            text,
            plan,
            replaced: Vec::new(),
        }
    }

    /// What an attempt over this account needs instead of `plan`, the message's own: another
    /// alphabet, other cuts, or none. `None` if it serves.
    #[must_use]
    pub fn plan_instead(&self, text: &str, plan: &Plan) -> Option<Plan> {
        let own = self.plan(text);
        let own = if self.single_piece {
            own.in_one_piece()
        } else {
            own
        };
        (own != *plan).then_some(own)
    }

    /// The octets of a part in `alphabet`, as this account's SMSC reads them.
    #[must_use]
    pub fn octets(&self, part: &str, alphabet: Alphabet) -> Vec<u8> {
        match alphabet {
            Alphabet::Gsm7 => self.alphabet.encode(part),
            Alphabet::Latin1 | Alphabet::Ucs2 => octets(part, alphabet),
        }
    }

    /// The distinct characters of `text` without a place in the account's default alphabet, in
    /// order of appearance, each with its nearest, if there is one.
    #[must_use]
    pub fn strangers(&self, text: &str) -> Vec<(char, Option<&'static str>)> {
        let mut found: Vec<(char, Option<&'static str>)> = Vec::new();
        for c in text.chars() {
            if !self.alphabet.has(c) && !found.iter().any(|(known, _)| *known == c) {
                found.push((c, nearest(c, |c| self.alphabet.has(c))));
            }
        }
        found
    }

    /// Number of parts that `text` would have if every stranger were replaced, by its nearest or
    /// else by one character.
    #[must_use]
    pub fn parts_without_strangers(&self, text: &str) -> usize {
        let (near, _) = transliterate(text, |c| self.alphabet.has(c));
        let plain: String = near
            .chars()
            .map(|c| if self.alphabet.has(c) { c } else { '?' })
            .collect();
        self.plan(&plain).count()
    }

    /// Units that the last part of `plan`, made by these rules, has room for.
    #[must_use]
    pub fn units_left(&self, text: &str, plan: &Plan) -> u32 {
        plan.units_left(text, self.header())
    }

    const fn header(&self) -> Header {
        if self.wide_header {
            Header::Wide
        } else {
            Header::Narrow
        }
    }

    fn has(&self, c: char, alphabet: Alphabet) -> bool {
        match alphabet {
            Alphabet::Gsm7 => self.alphabet.has(c),
            Alphabet::Latin1 => latin1::has(c),
            Alphabet::Ucs2 => true,
        }
    }
}

/// The distinct characters of a GSM text that cost two septets, and how often each stands there.
#[must_use]
pub fn two_septets(text: &str) -> Vec<(char, usize)> {
    let mut found: Vec<(char, usize)> = Vec::new();
    for c in text.chars().filter(|c| gsm7::septets(*c) == Some(2)) {
        match found.iter_mut().find(|(known, _)| *known == c) {
            Some((_, count)) => *count += 1,
            None => found.push((c, 1)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Event;
    use crate::domain::fixtures::{START, at, lease, message, policy};
    use crate::domain::message::{Message, Progress};
    use crate::domain::text::DefaultAlphabet::{Ascii, Gsm, Latin1};

    fn rules(alphabet: DefaultAlphabet) -> TextRules {
        TextRules {
            alphabet,
            ..TextRules::default()
        }
    }

    fn prepared(rules: TextRules, text: &str, encoding: Encoding) -> (String, Alphabet, usize) {
        let prepared = rules.prepare(text.to_owned(), encoding);
        let (text, plan) = (prepared.text, prepared.plan);
        (text, plan.alphabet, prepared.replaced.len())
    }

    #[test]
    fn nothing_is_replaced_unless_it_avoids_unicode() {
        use Encoding::{Auto, Gsm as OnlyGsm, Transliterate};
        let plain = rules(Gsm);
        let policy = TextRules {
            transliterate: true,
            ..plain
        };
        let eight_bit = TextRules {
            latin1: true,
            ..policy
        };
        for (rules, text, encoding, to, alphabet, replaced) in [
            (plain, "déjà reçu", Auto, "déjà reçu", Alphabet::Ucs2, 0),
            (
                plain,
                "déjà reçu",
                Transliterate,
                "déjà recu",
                Alphabet::Gsm7,
                1,
            ),
            (policy, "déjà reçu", Auto, "déjà recu", Alphabet::Gsm7, 1),
            (policy, "déjà reçu", OnlyGsm, "déjà reçu", Alphabet::Ucs2, 0),
            (
                policy,
                "déjà reçu 😀",
                Auto,
                "déjà reçu 😀",
                Alphabet::Ucs2,
                0,
            ),
            (policy, "déjà 10 €", Auto, "déjà 10 €", Alphabet::Gsm7, 0),
            // Latin-1 has room for ç, so that only the apostrophe goes.
            (eight_bit, "reçu", Auto, "reçu", Alphabet::Latin1, 0),
            (
                eight_bit,
                "l’œil reçu",
                Auto,
                "l'oeil reçu",
                Alphabet::Latin1,
                2,
            ),
            (eight_bit, "reçu", Transliterate, "recu", Alphabet::Gsm7, 1),
            (policy, "\u{200B}", Auto, "\u{200B}", Alphabet::Ucs2, 0),
            (
                eight_bit,
                "reçu ¬",
                Transliterate,
                "reçu ¬",
                Alphabet::Latin1,
                0,
            ),
            (
                TextRules {
                    transliterate: true,
                    ..super::tests::rules(Ascii)
                },
                "Été à 10 €",
                Auto,
                "Ete a 10 EUR",
                Alphabet::Gsm7,
                4,
            ),
        ] {
            assert_eq!(
                prepared(rules, text, encoding),
                (to.to_owned(), alphabet, replaced),
                "{text} {encoding:?}"
            );
        }
    }

    #[test]
    fn strangers_are_told_with_their_nearest_and_what_they_cost() {
        let text = "L’œuvre reçue ’ 😀";
        assert_eq!(
            rules(Gsm).strangers(text),
            [
                ('’', Some("'")),
                ('œ', Some("oe")),
                ('ç', Some("c")),
                ('😀', None)
            ]
        );
        assert_eq!(rules(Latin1).strangers("10 €"), [('€', Some("EUR"))]);
        assert_eq!(
            two_septets("[a] 10 € {€}"),
            [('[', 1), (']', 1), ('€', 2), ('{', 1), ('}', 1)]
        );
        let long = format!("{}ç", "a".repeat(100));
        assert_eq!(rules(Gsm).plan(&long).count(), 2);
        assert_eq!(rules(Gsm).parts_without_strangers(&long), 1);
    }

    #[test]
    fn another_account_plans_anew_only_what_it_cannot_carry() {
        let mut policy = policy();
        policy.text_rules.insert("b".into(), rules(Ascii));
        let mut message = message(1);
        let step = |message: &mut Message, policy: &_, event: Event, second| {
            let _ = message.apply(&event, policy, at(second)).map(|_| ());
        };
        let claim = |account| Event::Claimed(lease(account, START, START));
        step(&mut message, &policy, claim("a"), 1);
        assert_eq!(message.attempts[0].plan, None);
        let by = message.sending();
        let refused = Event::SegmentRejected {
            by,
            rejection: crate::domain::event::Rejection::Temporary("x".into()),
        };
        step(&mut message, &policy, refused, 2);
        step(&mut message, &policy, claim("b"), 120);
        let own = message.attempts.last().and_then(|a| a.plan.clone());
        assert_eq!(
            own.map(|plan| plan.alphabet),
            Some(Alphabet::Ucs2),
            "é is not ASCII"
        );
        assert_eq!(message.current_plan().alphabet, Alphabet::Ucs2);
        assert_eq!(message.plan.alphabet, Alphabet::Gsm7);
    }

    #[test]
    fn an_account_that_cuts_by_itself_gets_one_piece_and_counts_as_many_parts() {
        let mut policy = policy();
        let whole = TextRules {
            single_piece: true,
            ..TextRules::default()
        };
        policy.text_rules.insert("a".into(), whole);
        let mut message = crate::domain::fixtures::in_parts(1, 3);
        assert!(
            message
                .apply(&Event::Claimed(lease("a", START, START)), &policy, at(1))
                .is_ok()
        );
        assert_eq!(message.attempts[0].segments.len(), 1);
        assert_eq!(message.current_plan().slices(&message.text).count(), 1);
        assert_eq!(message.parts(), 3);
        // A short text is one piece anyhow.
        assert_eq!(whole.plan_instead("bonjour", &whole.plan("bonjour")), None);
    }

    #[test]
    fn an_attempt_keeps_its_plan_once_something_of_it_has_left() {
        let mut policy = policy();
        let mut message = crate::domain::fixtures::in_parts(1, 2);
        let claim = Event::Claimed(lease("a", START, START));
        assert!(message.apply(&claim, &policy, at(1)).is_ok());
        let by = message.sending();
        let accepted = Event::SegmentAccepted {
            by,
            segment: 0,
            reference: "r".into(),
        };
        assert!(message.apply(&accepted, &policy, at(1)).is_ok());
        let back = Event::GivenBack {
            by,
            why: crate::domain::message::WaitReason::NoChannelUp,
        };
        assert!(message.apply(&back, &policy, at(1)).is_ok());
        let whole = TextRules {
            single_piece: true,
            ..TextRules::default()
        };
        policy.text_rules.insert("a".into(), whole);
        assert!(message.apply(&claim, &policy, at(2)).is_ok());
        assert_eq!(
            (message.attempts.len(), &message.attempts[0].plan),
            (1, &None)
        );
        assert_eq!(message.attempts[0].segments[0].progress, Progress::Accepted);
    }
}
