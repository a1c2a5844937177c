//! How far claims have come: what a crash may leave half done without a trace in the records.
//!
//! A claim lives in memory, because writing each down would cost every message a commit of its own.
//! After a crash the record of a message that was being sent is that of one which waits. So a mark
//! is durable before any claim beyond it is handed out: for each lane and priority, the place in the
//! due order up to which messages may have been claimed. What waits up to the mark when a process
//! has died may have left, and says so when it leaves again; what waits beyond it has not.
//!
//! The mark runs ahead by [`AHEAD`] messages at most. A backlog costs one commit for so many claims;
//! a message that is accepted and due at once takes the mark along in its own commit, as long as no
//! backlog waits before it, and so costs none. A crash thus casts doubt on the messages that were
//! under way and on some [`AHEAD`] others, however many wait.
//!
//! A clean close, with nothing under way, takes the marks away. A doubt that an earlier life left
//! stays until the last message that it is about has been claimed or has ended.

use std::collections::BTreeMap;

use super::codec::{Mark, Reached};
use super::index::Place;
use crate::domain::id::Lane;
use crate::domain::message::Message;

/// Number of waiting messages that the mark may run ahead of claims.
pub(super) const AHEAD: usize = 128;

/// What has a due order of its own.
pub(super) type Rank = (Lane, u8);

/// Where a message stands in line.
pub(super) fn rank(message: &Message) -> Rank {
    (message.lane.clone(), message.priority)
}

/// The marks of this life, and those of past lives that ended in a crash.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    claimed: BTreeMap<Rank, Place>,
    doubtful: BTreeMap<Rank, Place>,
}

impl Frontier {
    /// What the last life left: whatever it may have claimed is doubtful now.
    pub(super) fn after(left: Reached) -> Self {
        let mut frontier = Self {
            claimed: BTreeMap::new(),
            doubtful: places(left.doubtful),
        };
        raise(&mut frontier.doubtful, &places(left.claimed));
        frontier
    }

    /// True if some past life may have sent what still waits at `place`.
    pub(super) fn is_doubtful(&self, rank: &Rank, place: Place) -> bool {
        self.doubtful.get(rank).is_some_and(|mark| place <= *mark)
    }

    /// True if the mark is beyond `place`: a claim of it may be handed out.
    pub(super) fn covers(&self, rank: &Rank, place: Place) -> bool {
        self.claimed.get(rank).is_some_and(|mark| place <= *mark)
    }

    /// The record that has the marks of `raised` in it.
    pub(super) fn with(&self, raised: &BTreeMap<Rank, Place>) -> Reached {
        let mut claimed = self.claimed.clone();
        raise(&mut claimed, raised);
        Reached {
            claimed: marks(&claimed),
            doubtful: marks(&self.doubtful),
        }
    }

    /// The record of `raised` is durable.
    pub(super) fn raise(&mut self, raised: &BTreeMap<Rank, Place>) {
        raise(&mut self.claimed, raised);
    }

    /// What to leave behind at a close: nothing, unless a message is under way still, or waits under
    /// a doubt of old. `first` is where the first message of a rank waits.
    pub(super) fn left(
        &self,
        under_way: bool,
        first: impl Fn(&Rank) -> Option<Place>,
    ) -> Option<Reached> {
        let mut doubtful = self.doubtful.clone();
        doubtful.retain(|rank, mark| under_way || first(rank).is_some_and(|place| place <= *mark));
        let claimed = if under_way {
            marks(&self.claimed)
        } else {
            Vec::new()
        };
        let left = Reached {
            claimed,
            doubtful: marks(&doubtful),
        };
        (left != Reached::default()).then_some(left)
    }
}

fn raise(marks: &mut BTreeMap<Rank, Place>, raised: &BTreeMap<Rank, Place>) {
    for (rank, place) in raised {
        let mark = marks.entry(rank.clone()).or_insert(*place);
        *mark = (*mark).max(*place);
    }
}

fn marks(places: &BTreeMap<Rank, Place>) -> Vec<Mark> {
    let mark = |((lane, priority), (due_at, id)): (&Rank, &Place)| Mark {
        lane: lane.clone(),
        priority: *priority,
        due_at: *due_at,
        id: *id,
    };
    places.iter().map(mark).collect()
}

fn places(marks: Vec<Mark>) -> BTreeMap<Rank, Place> {
    let place = |mark: Mark| ((mark.lane, mark.priority), (mark.due_at, mark.id));
    marks.into_iter().map(place).collect()
}
