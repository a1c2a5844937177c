//! How each account's carrier writes its ids in receipts: learnt from those that found their message.
//!
//! What is learnt is looked up first, and decides where two messages answer to one writing. The
//! tallies are kept in memory; what they have taught is a record, written when it changes, because
//! right after a start the ids of before are still reported.

use std::collections::BTreeMap;

use super::codec::Learnt;
use crate::domain::id::Account;
use crate::domain::receipt::IdWriting;

/// Receipts of one writing before it counts as learnt: fewer may be chance, because short ids read
/// as well in the other number base.
const LEARNT_AFTER: u32 = 3;

/// From so many receipts on, all tallies are halved: a carrier that changes its ways is learnt anew.
const FORGETS_AT: u32 = 1000;

/// Receipts by account and writing.
#[derive(Debug, Default)]
pub(super) struct Writings {
    tallies: BTreeMap<Account, BTreeMap<IdWriting, u32>>,
}

impl Writings {
    /// What was learnt before.
    pub(super) fn of(known: Vec<Learnt>) -> Self {
        let tally = |it: Learnt| (it.account, BTreeMap::from([(it.writing, LEARNT_AFTER)]));
        Self {
            tallies: known.into_iter().map(tally).collect(),
        }
    }

    /// A receipt of this account found its message by this writing; what that has taught, if it has
    /// taught anything new.
    pub(super) fn saw(&mut self, account: &Account, writing: IdWriting) -> Option<Learnt> {
        let before = self.learnt(account);
        let tally = self.tallies.entry(account.clone()).or_default();
        let count = tally.entry(writing).or_default();
        *count += 1;
        if *count >= FORGETS_AT {
            tally.values_mut().for_each(|count| *count /= 2);
        }
        let after = self.learnt(account).filter(|after| Some(*after) != before);
        after.map(|writing| Learnt {
            account: account.clone(),
            writing,
        })
    }

    /// How this account's carrier writes its ids, as far as is known.
    pub(super) fn learnt(&self, account: &Account) -> Option<IdWriting> {
        self.tallies
            .get(account)?
            .iter()
            .filter(|(writing, count)| **writing != IdWriting::Handset && **count >= LEARNT_AFTER)
            .max_by_key(|(_, count)| **count)
            .map(|(writing, _)| *writing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writing_is_learnt_after_a_few_receipts_and_unlearnt_when_the_carrier_changes() {
        let (mut writings, account) = (Writings::default(), Account::from("a"));
        assert_eq!(writings.learnt(&account), None);
        assert_eq!(writings.saw(&account, IdWriting::Hexadecimal), None);
        let mut taught = Vec::new();
        for _ in 0..5 {
            taught.extend(writings.saw(&account, IdWriting::Decimal));
        }
        assert_eq!(writings.learnt(&account), Some(IdWriting::Decimal));
        assert_eq!(taught.len(), 1, "it is written down once");
        let mut again = Writings::of(taught);
        assert_eq!(again.learnt(&account), Some(IdWriting::Decimal));
        assert_eq!(again.saw(&account, IdWriting::Decimal), None);
        assert_eq!(writings.learnt(&"b".into()), None);
        for _ in 0..5_000 {
            writings.saw(&account, IdWriting::Decimal);
        }
        for _ in 0..2_000 {
            writings.saw(&account, IdWriting::Same);
        }
        assert_eq!(writings.learnt(&account), Some(IdWriting::Same));
    }
}
