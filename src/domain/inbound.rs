//! What handsets send to us (MO).

use serde::{Deserialize, Serialize};

use super::id::{Account, ChannelId, InboundId, Tenant};
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
}

/// Which part of a concatenated message (3GPP TS 23.040 §9.2.3.24.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The sender's reference, common to all parts.
    pub reference: u16,
    /// Number of parts.
    pub total: u8,
    /// This part's number, from 1.
    pub index: u8,
}

/// What stands in a reassembled text for a part that never came.
const MISSING: &str = "[…]";

/// The parts of one longer text that have come so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// In order of arrival, no two of one number.
    pub came: Vec<Inbound>,
}

impl Parts {
    /// Adds a part. One that has come already is repeated by the carrier and changes nothing, unless
    /// it says something else: then the handset has begun another text under the same reference.
    pub fn add(&mut self, inbound: Inbound) {
        let Some(part) = inbound.part else { return };
        let place = self
            .came
            .iter_mut()
            .find(|known| known.part.is_some_and(|p| p.index == part.index));
        match place {
            Some(known) if known.text == inbound.text => {}
            Some(_) => self.came = vec![inbound],
            None => self.came.push(inbound),
        }
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

    /// The whole text as one message, under the id of the part that came last; gaps are marked.
    #[must_use]
    pub fn assemble(&self) -> Option<Inbound> {
        let last = self.came.last()?;
        let total = last.part?.total;
        let text = (1..=total)
            .map(|index| {
                let part = self
                    .came
                    .iter()
                    .find(|known| known.part.is_some_and(|p| p.index == index));
                part.map_or(MISSING, |known| known.text.as_str())
            })
            .collect();
        Some(Inbound {
            text,
            part: None,
            ..last.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn part(index: u8, text: &str) -> Inbound {
        Inbound {
            id: InboundId::new(Timestamp(i64::from(index)), [index; 10]),
            tenant: Tenant::from("t"),
            account: Account::from("a"),
            channel: ChannelId::from("a#1"),
            from: "+33612345678".to_owned(),
            to: "36111".to_owned(),
            text: text.to_owned(),
            part: Some(Part {
                reference: 7,
                total: 3,
                index,
            }),
            received_at: Timestamp(1),
        }
    }

    #[test]
    fn parts_in_any_order_make_one_text_and_repetitions_change_nothing() {
        let mut parts = Parts::default();
        for (index, text) in [(3, "c"), (1, "a"), (3, "c")] {
            parts.add(part(index, text));
            assert!(!parts.is_complete());
        }
        parts.add(part(2, "b"));
        assert!(parts.is_complete());
        let whole = parts.assemble().unwrap();
        assert_eq!((whole.text.as_str(), whole.part), ("abc", None));
    }

    #[test]
    fn a_gap_is_marked_and_a_reference_used_again_begins_anew() {
        let mut parts = Parts::default();
        parts.add(part(1, "a"));
        parts.add(part(3, "c"));
        assert_eq!(parts.assemble().unwrap().text, "a[…]c");
        parts.add(part(1, "other"));
        assert_eq!(parts.came.len(), 1);
    }
}
