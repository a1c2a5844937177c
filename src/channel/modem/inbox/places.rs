//! What is remembered of the places in a modem's stores: what lies there, whether it is to be read,
//! and whether it may be deleted.
//!
//! Invariant: a place is deleted only for what was committed. Whenever something else may lie there
//! (announced anew, a deletion that failed, another session), it is looked at first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::Fingerprint;

/// Most places remembered; a modem has fewer.
pub(super) const MAX_PLACES: usize = 1_024;

/// A fresh place may be empty for a moment: so often it is looked at again.
const MAX_TRIES: u32 = 4;

/// So often a place is asked for that the modem does not answer about.
const MAX_SILENCES: u32 = 2;

/// First and longest wait before something is tried again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// The wait before the try that follows so many.
pub(super) fn again_after(tries: u32) -> Duration {
    AGAIN.0.saturating_mul(1 << tries.min(10)).min(AGAIN.1)
}

/// An index in a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) memory: String,
    pub(super) index: u16,
}

/// How it stands with what lies in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Handed up, and its verdict awaited.
    Open,
    /// To be handed up again, so many times as before.
    NotNow(u32),
    /// Durable: to be deleted.
    Taken,
    /// Left alone: a draft, or, with a reason, what cannot be read.
    Left(Option<String>),
}

#[derive(Clone, Debug)]
struct Held {
    hash: Fingerprint,
    state: State,
    /// Nothing else can lie there by now.
    sure: bool,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// When to read it.
    read_at: Option<Duration>,
    /// How often it was found empty, or not answered about, in a row.
    empty: u32,
    silent: u32,
    held: Option<Held>,
}

/// Everything remembered.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<Place, Known>);

impl Places {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Others may have been at the stores: nothing is sure any more.
    pub(super) fn doubt_all(&mut self) {
        for known in self.0.values_mut() {
            (known.empty, known.silent) = (0, 0);
            if let Some(held) = &mut known.held {
                held.sure = false;
            }
        }
    }

    fn at(&mut self, place: &Place) -> Option<&mut Known> {
        if self.0.len() >= MAX_PLACES && !self.0.contains_key(place) {
            return None;
        }
        Some(self.0.entry(place.clone()).or_default())
    }

    /// Something has come to this place, or could not be handed up yet: read it at `when`.
    pub(super) fn read_at(&mut self, place: &Place, when: Duration) {
        if let Some(known) = self.at(place) {
            known.read_at = Some(when);
            if let Some(held) = &mut known.held {
                held.sure = false;
            }
        }
    }

    /// True if something is remembered of it.
    pub(super) fn knows(&self, place: &Place) -> bool {
        self.0.contains_key(place)
    }

    /// Looks whether something is there, once.
    pub(super) fn look_at(&mut self, place: &Place, when: Duration) {
        if let Some(known) = self.at(place) {
            known.read_at = Some(known.read_at.map_or(when, |at| at.min(when)));
            known.empty = MAX_TRIES - 1;
        }
    }

    /// True if what was read there is to be handed up: it was not known, or not taken.
    pub(super) fn is_news(&self, place: &Place, hash: Fingerprint) -> bool {
        let Some(known) = self.0.get(place) else {
            return self.0.len() < MAX_PLACES;
        };
        known
            .held
            .as_ref()
            .is_none_or(|held| held.hash != hash || matches!(held.state, State::NotNow(_)))
    }

    /// What was read there is what is known to be there.
    pub(super) fn found(&mut self, place: &Place, hash: Fingerprint) {
        if let Some(known) = self.0.get_mut(place)
            && let Some(held) = known.held.as_mut().filter(|held| held.hash == hash)
        {
            held.sure = true;
            (known.read_at, known.empty, known.silent) = (None, 0, 0);
        }
    }

    /// What is to be remembered of what was read there.
    pub(super) fn hold(&mut self, place: &Place, hash: Fingerprint, state: State) {
        if let Some(known) = self.at(place) {
            let sure = true;
            *known = Known {
                held: Some(Held { hash, state, sure }),
                ..Known::default()
            };
        }
    }

    /// So often the record was not taken before.
    pub(super) fn refusals(&self, place: &Place) -> u32 {
        let held = self.0.get(place).and_then(|known| known.held.as_ref());
        match held.map(|held| &held.state) {
            Some(State::NotNow(times)) => *times,
            _ => 0,
        }
    }

    /// The verdict about what lay there under this fingerprint, refused `refusals` times before.
    pub(super) fn verdict(
        &mut self,
        place: &Place,
        hash: Fingerprint,
        taken: bool,
        refusals: u32,
        now: Duration,
    ) {
        let Some(known) = self.0.get_mut(place) else {
            return;
        };
        let Some(held) = &mut known.held else {
            return;
        };
        if held.hash != hash || held.state != State::Open {
            return;
        }
        if taken {
            held.state = State::Taken;
        } else {
            held.state = State::NotNow(refusals + 1);
            known.read_at = Some(now + again_after(refusals));
        }
    }

    /// It was read, and there is nothing (yet).
    pub(super) fn nothing_at(&mut self, place: &Place, now: Duration) {
        let Some(known) = self.0.get_mut(place) else {
            return;
        };
        known.empty += 1;
        let open = known
            .held
            .as_ref()
            .is_some_and(|held| held.state == State::Open);
        if known.empty < MAX_TRIES {
            known.read_at = Some(now + again_after(known.empty - 1));
        } else if open {
            (known.read_at, known.empty) = (None, 0);
        } else {
            self.0.remove(place);
        }
    }

    /// The modem has not answered when it was asked for it. True if it is not asked again before the
    /// next sweep.
    pub(super) fn silent_at(&mut self, place: &Place, now: Duration) -> bool {
        let Some(known) = self.0.get_mut(place) else {
            return false;
        };
        known.silent += 1;
        let given_up = known.silent >= MAX_SILENCES;
        known.read_at = (!given_up).then(|| now + again_after(known.silent));
        given_up
    }

    /// It is deleted, or was gone already.
    pub(super) fn deleted(&mut self, place: &Place) {
        self.0.remove(place);
    }

    /// It could not be deleted: the next sweep will show whether it is still there.
    pub(super) fn not_deleted(&mut self, place: &Place) {
        if let Some(held) = self.0.get_mut(place).and_then(|known| known.held.as_mut()) {
            held.sure = false;
        }
    }

    /// A whole store was listed, and only these were there.
    pub(super) fn only(&mut self, memory: &str, listed: &[u16]) {
        self.0.retain(|place, known| {
            if place.memory != memory || listed.contains(&place.index) {
                return true;
            }
            match &mut known.held {
                // A list may be behind the times; what is under way is remembered.
                Some(held) if held.state == State::Open => {
                    held.sure = false;
                    true
                }
                _ => known.read_at.is_some(),
            }
        });
    }

    /// True if something in this store waits to be deleted.
    pub(super) fn has_taken(&self, memory: &str) -> bool {
        self.0.iter().any(|(place, known)| {
            let held = known.held.as_ref();
            place.memory == memory && held.is_some_and(|held| held.state == State::Taken)
        })
    }

    /// The next place to delete, of this store if there is one.
    pub(super) fn to_delete(&self, memory: Option<&str>) -> Option<&Place> {
        let due = |known: &Known| {
            let held = known.held.as_ref();
            known.read_at.is_none()
                && held.is_some_and(|held| held.sure && held.state == State::Taken)
        };
        self.first(memory, due)
    }

    /// The next place to read, likewise.
    pub(super) fn to_read(&self, memory: Option<&str>, now: Duration) -> Option<&Place> {
        self.first(memory, |known| known.read_at.is_some_and(|at| at <= now))
    }

    fn first(&self, memory: Option<&str>, due: impl Fn(&Known) -> bool) -> Option<&Place> {
        let all = || self.0.iter().filter(|(_, known)| due(known));
        let near = all().find(|(place, _)| Some(place.memory.as_str()) == memory);
        near.or_else(|| all().next()).map(|(place, _)| place)
    }

    /// When the next place is to be read.
    pub(super) fn next_read(&self) -> Option<Duration> {
        self.0.values().filter_map(|known| known.read_at).min()
    }

    /// What cannot be read, and why.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = (&Place, &str)> {
        self.0.iter().filter_map(|(place, known)| {
            match known.held.as_ref().map(|held| &held.state) {
                Some(State::Left(Some(why))) => Some((place, why.as_str())),
                _ => None,
            }
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
