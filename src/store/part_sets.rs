//! Which texts from handsets lack parts, and until when they are waited for: kept in memory, rebuilt
//! from the records at every start, changed by the writer alone.
//!
//! It bounds what senders can leave lying about: beyond the limits the set that would end next is
//! given up at once. Nothing of it is lost, it is told as far as it came.

use std::collections::{BTreeSet, HashMap};

use crate::domain::time::Timestamp;

/// Most sets of one sender on one account: a handset sends one text after another.
const PER_SENDER: usize = 32;
/// Most sets in all.
const IN_ALL: usize = 10_000;

/// Every set, by when it ends.
#[derive(Debug, Default)]
pub(super) struct PartSets {
    by_end: BTreeSet<(Timestamp, Vec<u8>)>,
    /// By key: when it ends, and whose it is.
    ends: HashMap<Vec<u8>, (Timestamp, Vec<u8>)>,
    senders: HashMap<Vec<u8>, BTreeSet<(Timestamp, Vec<u8>)>>,
}

impl PartSets {
    /// Notes until when the set under `key` is kept. `sender` is how the keys of its sender begin.
    /// Answers another set, if there are now too many and it has to go.
    pub(super) fn put(&mut self, key: &[u8], sender: &[u8], until: Timestamp) -> Option<Vec<u8>> {
        self.remove(key);
        let place = (until, key.to_owned());
        self.ends.insert(key.to_owned(), (until, sender.to_owned()));
        self.by_end.insert(place.clone());
        let mine = self.senders.entry(sender.to_owned()).or_default();
        mine.insert(place);
        let crowded = if mine.len() > PER_SENDER {
            &*mine
        } else if self.by_end.len() > IN_ALL {
            &self.by_end
        } else {
            return None;
        };
        let other = crowded.iter().find(|(_, other)| other != key);
        other.map(|(_, other)| other.clone())
    }

    /// Forgets a set.
    pub(super) fn remove(&mut self, key: &[u8]) {
        let Some((until, sender)) = self.ends.remove(key) else {
            return;
        };
        let place = (until, key.to_owned());
        self.by_end.remove(&place);
        if let Some(mine) = self.senders.get_mut(&sender) {
            mine.remove(&place);
            if mine.is_empty() {
                self.senders.remove(&sender);
            }
        }
    }

    /// Up to `limit` sets that end at `now` or before.
    pub(super) fn over(&self, now: Timestamp, limit: usize) -> Vec<Vec<u8>> {
        self.by_end
            .iter()
            .take_while(|(until, _)| *until <= now)
            .take(limit)
            .map(|(_, key)| key.clone())
            .collect()
    }

    /// When the next one ends.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_end_in_order_and_a_sender_s_number_of_them_is_bounded() {
        let mut sets = PartSets::default();
        let key = |sender: &str, n: usize| format!("{sender}\0{n}").into_bytes();
        for n in 0..PER_SENDER {
            let until = Timestamp(i64::try_from(n).unwrap_or(0));
            assert_eq!(sets.put(&key("a", n), b"a\0", until), None);
        }
        assert_eq!(sets.put(&key("b", 0), b"b\0", Timestamp(500)), None);
        let more = key("a", PER_SENDER);
        let gone = sets.put(&more, b"a\0", Timestamp(-1));
        assert_eq!(gone, Some(key("a", 0)), "the next to end, and not itself");
        sets.remove(&key("a", 0));
        assert_eq!(sets.over(Timestamp(1), 9), [more.clone(), key("a", 1)]);
        assert_eq!(sets.put(&more, b"a\0", Timestamp(900)), None, "moved");
        sets.remove(&key("a", 1));
        assert_eq!(sets.next(), Some(Timestamp(2)));
    }
}
