//! Named sending hours: what tenants, keys and operators bind messages to, by the recipient's own clock and
//! calendar.
//!
//! A message may be bound by several of them and by the hours of its operator's lane; it leaves when all are
//! open at once. Sources disagree on when marketing may be sent in France, and none of them is a
//! statute, so the presets are named after them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::holidays::Holidays;
use super::hours::{SendingHours, Window, date, end_of_day};
use super::territory::Territory;
use super::time::Timestamp;

/// The name that binds to nothing.
pub const ALWAYS: &str = "always";
/// The name of the hours that bind marketing where nobody has said otherwise, and messages whose hours the
/// configuration no longer has.
pub const STRICTEST: &str = "fr-seed";

/// How far an opening is looked for: hours of different zones may meet in one half of the year only.
const FURTHEST_DAYS: i64 = 400;
/// Most shut days in a row that are looked past.
const MOST_SHUT_DAYS: usize = 400;

/// Hours with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedHours {
    /// The name.
    pub name: String,
    /// On which days of the week and at what times they are open.
    pub open: SendingHours,
    /// Whose clock shows them.
    pub clock: WallClock,
    /// Which public holidays they are shut on.
    pub calendar: Calendar,
    /// What becomes of a message that asks to leave outside them.
    pub outside: Outside,
    /// True if Sundays and holidays are open but advised against.
    pub quiet_days: bool,
}

/// Whose clock counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallClock {
    /// The recipient's.
    Recipient,
    /// That of one zone.
    Zone(Tz),
}

/// Whose public holidays count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calendar {
    /// Nobody's.
    None,
    /// The recipient's.
    Recipient,
    /// Those of one territory.
    Of(Territory),
}

/// What becomes of a message that asks to leave outside its hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// It waits for them.
    Defer,
    /// It is refused.
    Reject,
}

/// Where a recipient is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The clock there.
    pub zone: Tz,
    /// Whose holidays are kept there; `None`: it is in no territory of France, and none are known.
    pub territory: Option<Territory>,
}

impl Place {
    /// A recipient somewhere in a territory.
    #[must_use]
    pub const fn of(territory: Territory) -> Self {
        Self {
            zone: territory.zone(),
            territory: Some(territory),
        }
    }
}

impl NamedHours {
    /// The hours that every installation has.
    #[must_use]
    pub fn presets() -> Vec<Self> {
        let preset = |name: &str, windows: &[&str], calendar| Self {
            name: name.to_owned(),
            open: windows
                .iter()
                .filter_map(|window| Window::parse(window))
                .collect::<Vec<_>>()
                .into(),
            clock: WallClock::Recipient,
            calendar,
            outside: Outside::Defer,
            quiet_days: false,
        };
        let shut = Calendar::Recipient;
        vec![
            preset(ALWAYS, &[], Calendar::None),
            // "formellement interdit … entre 20h30 et 8h00 les jours calendaires, le dimanche toute la
            // journée et les jours fériés": DoliPlus on the LCEN.
            preset(STRICTEST, &["mon-sat 08:00-20:30"], shut),
            // The charter of the French carriers' association of 2026: Sundays and holidays are tolerated.
            Self {
                quiet_days: true,
                ..preset("fr-af2m-2026", &["08:00-21:30"], Calendar::None)
            },
            // OVH: nothing from 22:00 to 08:00 and at weekends.
            preset("fr-ovh", &["mon-fri 08:00-22:00"], Calendar::None),
            // CALLR: nothing after 22:00, on Sundays and on holidays; when a day begins is not said.
            preset("fr-callr", &["mon-sat 08:00-22:00"], shut),
            // Several routers; with the holidays of the others, as they do not say.
            preset("fr-8-20", &["mon-sat 08:00-20:00"], shut),
            // DoliPlus: alerts of interventions leave from Monday to Friday, 08:00 to 18:00.
            preset("office", &["mon-fri 08:00-18:00"], Calendar::None),
        ]
    }

    /// True if they are always open.
    #[must_use]
    pub fn are_always(&self) -> bool {
        self.open.are_always() && self.calendar == Calendar::None
    }

    /// The zone whose clock shows them to a recipient there.
    #[must_use]
    pub const fn zone(&self, place: Place) -> Tz {
        match self.clock {
            WallClock::Recipient => place.zone,
            WallClock::Zone(zone) => zone,
        }
    }

    const fn territory(&self, place: Place) -> Option<Territory> {
        match self.calendar {
            Calendar::None => None,
            Calendar::Recipient => place.territory,
            Calendar::Of(territory) => Some(territory),
        }
    }

    /// When they are open for a recipient there, at `at` or after it; [`Timestamp::NEVER`] where that is
    /// nowhere near.
    #[must_use]
    pub fn opening(&self, at: Timestamp, place: Place, holidays: &Holidays) -> Timestamp {
        let zone = self.zone(place);
        let mut at = at;
        for _ in 0..MOST_SHUT_DAYS {
            let open = self.open.opening(at, zone);
            let shut =
                |territory| open < Timestamp::NEVER && holidays.has(date(open, zone), territory);
            if !self.territory(place).is_some_and(shut) {
                return open;
            }
            at = end_of_day(open, zone);
        }
        Timestamp::NEVER
    }

    /// True if `at` is within them but on a day that is advised against.
    #[must_use]
    pub fn advise_against(&self, at: Timestamp, place: Place, holidays: &Holidays) -> bool {
        let day: NaiveDate = date(at, self.zone(place));
        let sunday = chrono::Datelike::weekday(&day) == chrono::Weekday::Sun;
        let holiday = || place.territory.is_some_and(|it| holidays.has(day, it));
        self.quiet_days && (sunday || holiday())
    }
}

impl fmt::Display for NamedHours {
    /// `mon-sat 08:00-20:30, not on public holidays (the recipient's time)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.open)?;
        match self.calendar {
            Calendar::None => {}
            Calendar::Recipient => f.write_str(", not on public holidays")?,
            Calendar::Of(territory) => {
                write!(f, ", not on the public holidays of {}", territory.code())?;
            }
        }
        match self.clock {
            WallClock::Recipient => f.write_str(" (the recipient's time)"),
            WallClock::Zone(zone) => write!(f, " ({zone})"),
        }
    }
}

/// All hours that have a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedHoursBook(BTreeMap<String, Arc<NamedHours>>);

impl Default for NamedHoursBook {
    /// The presets.
    fn default() -> Self {
        let named = |hours: NamedHours| (hours.name.clone(), Arc::new(hours));
        Self(NamedHours::presets().into_iter().map(named).collect())
    }
}

impl NamedHoursBook {
    /// Adds some, or puts them in the place of those of the same name.
    pub fn insert(&mut self, hours: NamedHours) {
        self.0.insert(hours.name.clone(), Arc::new(hours));
    }

    /// The hours of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<NamedHours>> {
        self.0.get(name)
    }

    /// Every name, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Those that bind a message by this name. It outlives the configuration that it was accepted under:
    /// where the name is gone, it waits for the strictest hours rather than be sent at night.
    #[must_use]
    pub fn binding(&self, name: &str) -> Option<&NamedHours> {
        let known = self.0.get(name).or_else(|| self.0.get(STRICTEST));
        known.map(AsRef::as_ref)
    }
}

/// Everything that binds when one message may leave.
#[derive(Clone, Debug)]
pub struct Binding<'a> {
    /// The named hours, none of them always open.
    pub named: Vec<&'a NamedHours>,
    /// The hours of the lane, by the clock of its operator.
    pub lane: (&'a SendingHours, Tz),
    /// Where the recipient is.
    pub place: Place,
    /// The holidays in force.
    pub holidays: &'a Holidays,
}

impl Binding<'_> {
    /// When all are open at once, at `at` or after it; [`Timestamp::NEVER`] where there is no such time.
    #[must_use]
    pub fn opening(&self, at: Timestamp) -> Timestamp {
        let furthest = Timestamp(at.millis().saturating_add(FURTHEST_DAYS * 86_400_000));
        let mut at = at;
        while at <= furthest {
            let mut open = at;
            for hours in &self.named {
                open = open.max(hours.opening(open, self.place, self.holidays));
            }
            let (lane, zone) = self.lane;
            if open < Timestamp::NEVER {
                open = lane.opening(open, zone);
            }
            if open == at {
                return at;
            }
            at = open;
        }
        Timestamp::NEVER
    }

    /// The first of the named hours that are shut at `at`.
    #[must_use]
    pub fn shut(&self, at: Timestamp) -> Option<&NamedHours> {
        let mut named = self.named.iter().copied();
        named.find(|hours| hours.opening(at, self.place, self.holidays) > at)
    }
}

#[cfg(test)]
mod tests;
