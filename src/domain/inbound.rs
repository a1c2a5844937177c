//! What handsets send to us (MO).
//!
//! A long text comes in parts, in any order, some of them twice, some never. **Nothing is lost and
//! nothing is mixed**: what is told apart by sender, recipient, account, reference, way of numbering
//! and number of parts is one text; a part that contradicts the one of the same number begins
//! another text, and the first is told as far as it came; so is one whose parts stay away for
//! [`InboundRules::parts_timeout`].

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{Account, ChannelId, InboundId, Tenant};
use super::msisdn::Msisdn;
use super::optout::{Keyword, Keywords, Wish};
use super::privacy::{Erased, Pseudonyms};
use super::time::Timestamp;

/// One message, or one part of one, received from a handset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbound {
    /// Its id.
    pub id: InboundId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The account that it came in on.
    pub account: Account,
    /// The bind or modem that brought it.
    pub channel: ChannelId,
    /// Who sent it: E.164 with `+` where it is a number, else as the carrier wrote it.
    pub from: String,
    /// The number or short code that it was sent to.
    pub to: String,
    /// The text; for a part of several, that part's text.
    pub text: String,
    /// Its place among the parts of a longer text.
    pub part: Option<Part>,
    /// When we took it in.
    pub received_at: Timestamp,
    /// The keyword that it is.
    pub keyword: Option<Keyword>,
    /// True if parts of it never came: gaps are marked in the text.
    pub incomplete: bool,
    /// What has been taken out of it since.
    pub erased: Erased,
    /// What it is known by if a SIM shows it again: it is taken in once.
    #[serde(skip)]
    pub fingerprint: Option<[u8; 16]>,
}

/// Which part of a concatenated message (3GPP TS 23.040 §9.2.3.24.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Where the numbers stand: each way has references of its own.
    pub numbering: Numbering,
    /// The sender's reference, common to all parts.
    pub reference: u16,
    /// Number of parts.
    pub total: u8,
    /// This part's number, from 1.
    pub index: u8,
}

/// How parts are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Numbering {
    /// In a user data header with a reference of 8 bits (3GPP TS 23.040 §9.2.3.24.1).
    Header8,
    /// In a user data header with a reference of 16 bits (3GPP TS 23.040 §9.2.3.24.8).
    Header16,
    /// By the carrier, in TLVs (SMPP 3.4 §5.3.2.22 to 24).
    Sar,
}

/// What is done with messages from handsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundRules {
    /// Whose the messages of an account are, where that is not [`Tenant::DEFAULT`].
    pub tenants: HashMap<Account, Tenant>,
    /// What opts out and in.
    pub keywords: Keywords,
    /// How long the missing parts of a text are awaited, from the first that came.
    pub parts_timeout: Duration,
}

impl Default for InboundRules {
    fn default() -> Self {
        Self {
            tenants: HashMap::new(),
            keywords: Keywords::default(),
            // Carriers repeat a part that was refused within minutes. An answer that is shown an hour
            // late can still be acted on, and a part that comes later still is shown as well.
            parts_timeout: Duration::from_hours(1),
        }
    }
}

impl InboundRules {
    /// Whose the messages of an account are.
    #[must_use]
    pub fn tenant(&self, account: &Account) -> Tenant {
        let named = self.tenants.get(account).cloned();
        named.unwrap_or_else(|| Tenant::DEFAULT.into())
    }
}

impl Inbound {
    /// The sender's number; `None` if it has none that can be written to.
    #[must_use]
    pub fn number(&self) -> Option<Msisdn> {
        Msisdn::from_e164_digits(self.from.strip_prefix('+')?)
    }

    /// The change that its keyword has brought about for its sender and its tenant.
    #[must_use]
    pub fn effect(&self) -> Option<Wish> {
        let keyword = self.keyword.as_ref()?;
        self.number().map(|_| keyword.wish)
    }
}

/// What stands in a reassembled text for parts that never came.
const MISSING: &str = "[…]";

/// The parts of one longer text that have come so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// In order of arrival, no two of one number.
    pub came: Vec<Inbound>,
    /// When the text was told as a whole. It is then kept a little longer, for repetitions.
    pub told_at: Option<Timestamp>,
}

impl Parts {
    /// How long a part that comes again after the last one is taken as the carrier's repetition and
    /// not as the beginning of another text: the answer to it was lost with the connection.
    pub const REPEATED: Duration = Duration::from_mins(5);

    /// Most octets of text of one set.
    pub const OCTETS_MAX: usize = 128 * 1024;

    /// Adds a part, and answers the earlier text that it puts an end to, if it begins another one
    /// under the same numbers. One that has come already changes nothing.
    pub fn add(&mut self, inbound: Inbound) -> Option<Self> {
        let number = inbound.part.map(|part| part.index);
        let same = |known: &&Inbound| known.part.map(|part| part.index) == number;
        let known = self.came.iter().find(same);
        if known.is_some_and(|known| known.text == inbound.text) {
            return None;
        }
        let octets: usize = self.came.iter().map(|part| part.text.len()).sum();
        let another = known.is_some()
            || self.told_at.is_some()
            || octets.saturating_add(inbound.text.len()) > Self::OCTETS_MAX;
        if !another || self.came.is_empty() {
            self.came.push(inbound);
            return None;
        }
        let before = std::mem::replace(
            self,
            Self {
                came: vec![inbound],
                told_at: None,
            },
        );
        before.told_at.is_none().then_some(before)
    }

    /// True once every part is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let total = self
            .came
            .first()
            .and_then(|inbound| inbound.part)
            .map_or(0, |part| part.total);
        self.came.len() >= usize::from(total)
    }

    /// When it is no longer kept as it is.
    #[must_use]
    pub fn until(&self, timeout: Duration) -> Option<Timestamp> {
        match self.told_at {
            Some(at) => Some(at + Self::REPEATED),
            None => Some(self.came.first()?.received_at + timeout),
        }
    }

    /// The text as one message, under the id of the part that came last; gaps are marked. A keyword
    /// that one of the parts was stays known.
    #[must_use]
    pub fn assemble(&self) -> Option<Inbound> {
        let last = self.came.last()?;
        let total = last.part?.total;
        let mut text = String::new();
        let mut gap = false;
        for index in 1..=total {
            let part = self
                .came
                .iter()
                .find(|known| known.part.is_some_and(|p| p.index == index));
            if let Some(known) = part {
                text.push_str(&known.text);
            } else if !gap {
                text.push_str(MISSING);
            }
            gap = part.is_none();
        }
        Some(Inbound {
            text,
            part: None,
            keyword: self.came.iter().find_map(|part| part.keyword.clone()),
            incomplete: !self.is_complete(),
            erased: Erased::default(),
            fingerprint: None,
            ..last.clone()
        })
    }
}

impl Inbound {
    /// Takes out what the handset wrote.
    pub fn erase_text(&mut self, now: Timestamp) {
        if self.erased.text_at.is_none() {
            self.text.clear();
            self.erased.text_at = Some(now);
        }
    }

    /// Takes out the sender as well.
    pub fn erase_number(&mut self, pseudonyms: &Pseudonyms, now: Timestamp) {
        self.erase_text(now);
        if self.erased.number.is_none() {
            self.erased.number = Some(pseudonyms.of(&self.from));
            self.from.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn part(index: u8, total: u8, text: &str) -> Inbound {
        Inbound {
            id: InboundId::new(Timestamp(i64::from(index)), [index; 10]),
            tenant: Tenant::from("t"),
            account: Account::from("a"),
            channel: ChannelId::from("a#1"),
            from: "+33612345678".to_owned(),
            to: "36111".to_owned(),
            text: text.to_owned(),
            part: Some(Part {
                numbering: Numbering::Header8,
                reference: 7,
                total,
                index,
            }),
            received_at: Timestamp(1),
            keyword: None,
            incomplete: false,
            erased: Erased::default(),
            fingerprint: None,
        }
    }

    #[test]
    fn parts_in_any_order_make_one_text_and_repetitions_change_nothing() {
        let mut parts = Parts::default();
        for (index, text) in [(3, "c"), (1, "a"), (3, "c")] {
            assert_eq!(parts.add(part(index, 3, text)), None);
            assert!(!parts.is_complete());
        }
        parts.add(part(2, 3, "b"));
        assert!(parts.is_complete());
        let whole = parts.assemble().unwrap();
        assert_eq!((whole.text.as_str(), whole.part), ("abc", None));
        assert!(!whole.incomplete);
    }

    #[test]
    fn gaps_are_marked_once_each() {
        let mut parts = Parts::default();
        parts.add(part(2, 7, "b"));
        parts.add(part(5, 7, "e"));
        let text = parts.assemble().unwrap();
        assert_eq!(text.text, "[…]b[…]e[…]");
        assert!(text.incomplete);
    }

    #[test]
    fn a_reference_used_again_begins_anew_and_gives_back_what_was_there() {
        let mut parts = Parts::default();
        parts.add(part(1, 3, "a"));
        parts.add(part(3, 3, "c"));
        let before = parts.add(part(1, 3, "other")).unwrap();
        assert_eq!(before.assemble().unwrap().text, "a[…]c");
        assert_eq!(parts.came.len(), 1);
    }

    #[test]
    fn after_the_end_a_repetition_is_known_and_anything_else_is_another_text() {
        let mut parts = Parts::default();
        parts.add(part(1, 2, "a"));
        parts.add(part(2, 2, "b"));
        parts.told_at = Some(Timestamp(9));
        let told = parts.clone();
        assert_eq!(parts.add(part(2, 2, "b")), None);
        assert_eq!(parts, told);
        assert_eq!(parts.add(part(2, 2, "B")), None, "it was told already");
        assert_eq!((parts.came.len(), parts.told_at), (1, None));
    }

    #[test]
    fn a_set_that_grows_too_large_is_given_back() {
        let mut parts = Parts::default();
        let long = "x".repeat(Parts::OCTETS_MAX / 2);
        parts.add(part(1, 9, &long));
        parts.add(part(2, 9, &long));
        assert!(parts.add(part(3, 9, "y")).is_some());
        assert_eq!(parts.came.len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_in_exactly_one_text(
            sent in proptest::collection::vec((1..=4_u8, "[a-c]"), 1..40)
        ) {
            let mut parts = Parts::default();
            let mut told = Vec::new();
            let mut fresh = 0;
            for (index, letter) in &sent {
                let known = parts.came.clone();
                told.extend(parts.add(part(*index, 4, letter)));
                fresh += usize::from(parts.came != known);
                if parts.told_at.is_none() && parts.is_complete() {
                    told.push(parts.clone());
                    parts.told_at = Some(Timestamp(1));
                }
            }
            if parts.told_at.is_none() {
                told.push(parts);
            }
            let letters: usize = told
                .iter()
                .map(|set| set.assemble().unwrap().text.replace(MISSING, "").len())
                .sum();
            prop_assert_eq!(letters, fresh);
        }
    }
}
