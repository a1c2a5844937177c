//! How each account's carrier writes its ids in receipts: learnt from those that found their message.
//!
//! What is learnt is looked up first, which decides where two messages answer to one writing. It is
//! kept in memory alone: the first few receipts after a start teach it again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    tallies: Mutex<BTreeMap<Account, BTreeMap<IdWriting, u32>>>,
}

impl Writings {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Account, BTreeMap<IdWriting, u32>>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A receipt of this account found its message by this writing.
    pub(super) fn saw(&self, account: &Account, writing: IdWriting) {
        let mut tallies = self.lock();
        let tally = tallies.entry(account.clone()).or_default();
        let count = tally.entry(writing).or_default();
        *count += 1;
        if *count >= FORGETS_AT {
            tally.values_mut().for_each(|count| *count /= 2);
        }
    }

    /// How this account's carrier writes its ids, as far as is known.
    pub(super) fn learnt(&self, account: &Account) -> Option<IdWriting> {
        let tallies = self.lock();
        tallies
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
        let (writings, account) = (Writings::default(), Account::from("a"));
        assert_eq!(writings.learnt(&account), None);
        writings.saw(&account, IdWriting::Hexadecimal);
        for _ in 0..5 {
            writings.saw(&account, IdWriting::Decimal);
        }
        assert_eq!(writings.learnt(&account), Some(IdWriting::Decimal));
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
