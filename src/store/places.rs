//! An ordered set of places that is small in memory: sorted pieces of a bounded length.
//!
//! With a million messages waiting, the orders by due time and by deadline are most of what the
//! process holds. Both grow at their end nearly always, which leaves the nodes of a B-tree half
//! empty; here it leaves every piece full.

use std::collections::VecDeque;

use super::index::Place;

/// Most places of a piece: moving them all is still cheaper than what comes of a place.
const PIECE: usize = 256;

/// An ordered set of places. No piece is empty, and no two neighbours fill less than half a piece.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pieces: VecDeque<Vec<Place>>,
    len: usize,
}

impl Places {
    /// Number of places.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first one.
    pub(super) fn first(&self) -> Option<&Place> {
        self.pieces.front()?.first()
    }

    /// Takes the first one out.
    pub(super) fn pop_first(&mut self) -> Option<Place> {
        let first = *self.first()?;
        self.remove(&first);
        Some(first)
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.pieces.iter().flatten()
    }

    /// Adds a place, if it is not there yet.
    pub(super) fn insert(&mut self, place: Place) {
        // The piece that ends behind it; a place beyond the end belongs to the last one.
        let ends_before = |piece: &Vec<Place>| piece.last().is_some_and(|last| *last < place);
        let behind = self.pieces.partition_point(ends_before);
        let at_the_end = behind == self.pieces.len();
        let index = if at_the_end {
            behind.saturating_sub(1)
        } else {
            behind
        };
        let Some(piece) = self.pieces.get_mut(index) else {
            self.pieces.push_back(vec![place]);
            self.len = 1;
            return;
        };
        let Err(position) = piece.binary_search(&place) else {
            return;
        };
        self.len += 1;
        if piece.len() < PIECE {
            piece.insert(position, place);
        } else if at_the_end {
            self.pieces.push_back(vec![place]);
        } else {
            let mut upper = piece.split_off(PIECE / 2);
            match position.checked_sub(PIECE / 2) {
                Some(position) => upper.insert(position, place),
                None => piece.insert(position, place),
            }
            piece.shrink_to(PIECE / 2 + 1);
            self.pieces.insert(index + 1, upper);
        }
    }

    /// Removes a place; false if it was not there.
    pub(super) fn remove(&mut self, place: &Place) -> bool {
        let ends_before = |piece: &Vec<Place>| piece.last().is_some_and(|last| last < place);
        let index = self.pieces.partition_point(ends_before);
        let Some(piece) = self.pieces.get_mut(index) else {
            return false;
        };
        let Ok(position) = piece.binary_search(place) else {
            return false;
        };
        piece.remove(position);
        self.len -= 1;
        if piece.is_empty() {
            self.pieces.remove(index);
        } else {
            self.join(index);
            self.join(index.saturating_sub(1));
        }
        true
    }

    /// Moves all places of another set here.
    pub(super) fn append(&mut self, other: &mut Self) {
        for place in std::mem::take(other).pieces.into_iter().flatten() {
            self.insert(place);
        }
    }

    /// Makes one piece of two neighbours that fill less than half of one.
    fn join(&mut self, index: usize) {
        let length = |index: usize| self.pieces.get(index).map(Vec::len);
        let (Some(here), Some(next)) = (length(index), length(index + 1)) else {
            return;
        };
        if here + next < PIECE / 2
            && let Some(next) = self.pieces.remove(index + 1)
            && let Some(piece) = self.pieces.get_mut(index)
        {
            piece.extend(next);
            piece.shrink_to(PIECE / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::fixtures::message_id;
    use crate::domain::time::Timestamp;

    fn place(at: u16) -> Place {
        (Timestamp(i64::from(at)), message_id(1))
    }

    proptest! {
        #[test]
        fn it_is_the_set_that_a_tree_would_be(
            grown in 0_u16..2_000,
            steps in prop::collection::vec((any::<bool>(), 0_u16..2_500), 0..3_000),
        ) {
            let mut tree: BTreeSet<Place> = (0..grown).map(place).collect();
            let mut places = Places::default();
            (0..grown).for_each(|at| places.insert(place(at)));
            for (insert, at) in steps {
                if insert {
                    tree.insert(place(at));
                    places.insert(place(at));
                } else {
                    prop_assert_eq!(places.remove(&place(at)), tree.remove(&place(at)));
                }
                prop_assert_eq!(places.first(), tree.first());
                prop_assert_eq!(places.len(), tree.len());
            }
            prop_assert!(places.iter().eq(tree.iter()));
            let lengths: Vec<usize> = places.pieces.iter().map(Vec::len).collect();
            prop_assert!(lengths.iter().all(|length| (1..=PIECE).contains(length)));
            prop_assert!(lengths.windows(2).all(|two| two[0] + two[1] >= PIECE / 2));
            let mut drained = Vec::new();
            while let Some(first) = places.pop_first() {
                drained.push(first);
            }
            prop_assert!(drained.iter().eq(tree.iter()) && places.is_empty());
        }
    }

    #[test]
    fn what_grows_at_its_end_leaves_every_piece_full() {
        let mut places = Places::default();
        (0..10 * 256).for_each(|at| places.insert(place(at)));
        assert!(places.pieces.iter().all(|piece| piece.len() == PIECE));
    }
}
