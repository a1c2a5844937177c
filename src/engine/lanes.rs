//! What keeps a lane as a whole from sending, whatever its accounts can do: its operator's sending hours
//! and its operator's rate.
//!
//! Both are gates at the moment of a claim, and nothing is written for them: a changed configuration
//! counts at once, for what waits already as well. They hold for every message of the lane, urgent
//! or begun. What is claimed goes on: the parts of a message follow its first one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::channel::limiter::Pacer;
use crate::clock::Clock;
use crate::domain::id::Lane;
use crate::domain::rate::Rate;
use crate::domain::time::Timestamp;

/// The pace of every lane that has one.
#[derive(Debug)]
pub(super) struct Lanes {
    paces: Mutex<HashMap<Lane, Pace>>,
    /// When the hours of lanes that were seen shut opened, or will.
    openings: Mutex<HashMap<Lane, Timestamp>>,
    clock: Clock,
}

#[derive(Debug)]
struct Pace {
    /// The rate of the configuration, which may change while the process runs.
    configured: Rate,
    pacer: Pacer,
    used_up_until: Timestamp,
}

impl Lanes {
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            paces: Mutex::default(),
            openings: Mutex::default(),
            clock: clock.clone(),
        }
    }

    /// Looks at the pace of a lane whose operator's rate is `rate`, or changes it; `None` if it has none.
    fn with<T>(&self, lane: &Lane, rate: Rate, look: impl FnOnce(&mut Pace) -> T) -> Option<T> {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        if rate.interval().is_none() {
            paces.remove(lane);
            return None;
        }
        if paces.get(lane).is_none_or(|pace| pace.configured != rate) {
            let pace = Pace {
                configured: rate,
                pacer: Pacer::new(rate, &self.clock),
                used_up_until: Timestamp::default(),
            };
            paces.insert(lane.clone(), pace);
        }
        paces.get_mut(lane).map(look)
    }

    /// Takes the place of one part in the pace of the lane.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub(super) fn pay(&self, lane: &Lane, rate: Rate) -> Result<(), Duration> {
        let now = self.clock.now();
        let paid = self.with(lane, rate, |pace| {
            let paid = pace.pacer.pay();
            if let Err(wait) = paid {
                pace.used_up_until = now + wait;
            }
            paid
        });
        paid.unwrap_or(Ok(()))
    }

    /// Settles what was paid in advance: places that were not used, and parts beyond the first.
    pub(super) fn settle(&self, lane: &Lane, rate: Rate, unused: usize, more: usize) {
        self.with(lane, rate, |pace| {
            pace.pacer.refund(unused);
            pace.pacer.charge(more);
        });
    }

    /// The lane's hours are shut until `opening`.
    pub(super) fn shut(&self, lane: &Lane, opening: Timestamp) {
        let openings = self.openings.lock();
        let mut openings = openings.unwrap_or_else(PoisonError::into_inner);
        if openings.get(lane) != Some(&opening) {
            openings.insert(lane.clone(), opening);
        }
    }

    /// When the lane's hours last opened, or will, if they were ever seen shut.
    pub(super) fn opening(&self, lane: &Lane) -> Option<Timestamp> {
        let openings = self.openings.lock();
        let openings = openings.unwrap_or_else(PoisonError::into_inner);
        openings.get(lane).copied()
    }

    /// True if the lane's pace is used up for now.
    pub(super) fn is_paced(&self, lane: &Lane, rate: Rate, now: Timestamp) -> bool {
        let paced = self.with(lane, rate, |pace| pace.used_up_until > now);
        paced.unwrap_or_default()
    }
}
