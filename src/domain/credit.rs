//! What tenants pay with, and how much they may use: balances, quotas, and the lines of the ledger.
//!
//! Pure: who calls it has the records and writes down what comes out of it. What always holds: a balance
//! is the sum of the lines of its ledger, it is never below zero, and what a message took is given back
//! once at most.

use std::time::Duration;

use chrono::{Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::chain;
use super::id::{BatchId, MessageId, Tenant};
use super::message::{Message, Progress};
use super::money;
use super::tenant::{Credit, Quotas, Unit};
use super::terms::Charge;
use super::time::Timestamp;

/// An amount of each unit: millionths of a euro, and parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Millionths of a euro.
    pub micros: i64,
    /// Parts.
    pub parts: i64,
}

impl Balance {
    /// What it has of a unit.
    #[must_use]
    pub const fn of(&self, unit: Unit) -> i64 {
        match unit {
            Unit::Eur => self.micros,
            Unit::Parts => self.parts,
        }
    }

    /// The same with so much of a unit.
    #[must_use]
    pub const fn with(mut self, unit: Unit, amount: i64) -> Self {
        match unit {
            Unit::Eur => self.micros = amount,
            Unit::Parts => self.parts = amount,
        }
        self
    }
}

/// What a tenant has and has used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purse {
    /// Whose.
    pub tenant: Tenant,
    /// What is left.
    pub balance: Balance,
    /// The sum of the lines that are past keeping.
    pub carried: Balance,
    /// Number of the first line that is kept.
    pub first: u64,
    /// Number of the next line.
    pub next: u64,
    /// The lowest threshold that has been told since the last top-up.
    pub told: Option<(Unit, i64)>,
    /// What counts towards the tenant's quotas.
    pub used: Used,
}

/// What one key has used, where it has quotas of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// Whose key.
    pub tenant: Tenant,
    /// Its public prefix.
    pub key: String,
    /// What counts towards its quotas.
    pub used: Used,
}

/// What was used in a day, and in the month that the day is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The day, as [`Day::number`].
    pub day: i32,
    /// Parts in it.
    pub day_parts: u64,
    /// Millionths of a euro in it.
    pub day_micros: i64,
    /// Parts in its month.
    pub month_parts: u64,
    /// Millionths of a euro in its month.
    pub month_micros: i64,
}

/// A day by the clock of the installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Days since the beginning of the common era.
    pub number: i32,
    /// How long it still is.
    pub left: Duration,
    /// How long its month still is.
    pub month_left: Duration,
}

impl Day {
    /// The day that it is at an instant.
    #[must_use]
    pub fn at(now: Timestamp, zone: Tz) -> Self {
        let today = now.to_utc().with_timezone(&zone).date_naive();
        let begins = |day: Option<NaiveDate>| {
            let midnight = day.unwrap_or(today).and_time(NaiveTime::MIN);
            // Where a change of the clock skips midnight, the day begins after the gap.
            let mut hours = (0..4).map(|hours| midnight + TimeDelta::hours(hours));
            let found = hours.find_map(|it| zone.from_local_datetime(&it).earliest());
            found.map_or(now, |at| Timestamp(at.timestamp_millis()))
        };
        let tomorrow = today.checked_add_days(Days::new(1));
        let month = today
            .with_day(1)
            .and_then(|day| day.checked_add_months(Months::new(1)));
        Self {
            number: today.num_days_from_ce(),
            left: begins(tomorrow).since(now),
            month_left: begins(month).since(now),
        }
    }
}

/// The month of a day, by its number.
fn month(day: i32) -> Option<(i32, u32)> {
    let day = NaiveDate::from_num_days_from_ce_opt(day)?;
    Some((day.year(), day.month()))
}

impl Used {
    /// What it is on a day: another day begins anew, and so does another month. A clock that was put back
    /// goes on with the later day.
    #[must_use]
    pub fn on(mut self, day: i32) -> Self {
        if day <= self.day {
            return self;
        }
        if month(day) != month(self.day) {
            (self.month_parts, self.month_micros) = (0, 0);
        }
        (self.day, self.day_parts, self.day_micros) = (day, 0, 0);
        self
    }

    /// Adds what is due on a day.
    pub fn take(&mut self, due: Due, day: i32) {
        *self = self.on(day);
        self.day_parts = self.day_parts.saturating_add(due.parts);
        self.month_parts = self.month_parts.saturating_add(due.parts);
        self.day_micros = self.day_micros.saturating_add(due.micros);
        self.month_micros = self.month_micros.saturating_add(due.micros);
    }

    /// Takes out what was not used after all, where it is still that day or that month.
    pub fn give_back(&mut self, charge: &Charge) {
        let (parts, micros) = (u64::from(charge.parts), charge.micros);
        if charge.day == self.day {
            self.day_parts = self.day_parts.saturating_sub(parts);
            self.day_micros = (self.day_micros - micros).max(0);
        }
        if month(charge.day) == month(self.day) {
            self.month_parts = self.month_parts.saturating_sub(parts);
            self.month_micros = (self.month_micros - micros).max(0);
        }
    }
}

/// What something costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Millionths of a euro.
    pub micros: i64,
    /// Parts.
    pub parts: u64,
    /// Messages.
    pub messages: u32,
}

impl Due {
    /// What these messages cost together.
    #[must_use]
    pub fn of<'a>(charges: impl IntoIterator<Item = &'a Charge>) -> Self {
        let mut due = Self::default();
        for charge in charges {
            due.micros = due.micros.saturating_add(charge.micros);
            due.parts = due.parts.saturating_add(u64::from(charge.parts));
            due.messages = due.messages.saturating_add(1);
        }
        due
    }

    /// How much of a unit that is.
    #[must_use]
    pub fn in_unit(&self, unit: Unit) -> i64 {
        match unit {
            Unit::Eur => self.micros,
            Unit::Parts => i64::try_from(self.parts).unwrap_or(i64::MAX),
        }
    }
}

/// By what a submission is paid, and how much there may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// In what the tenant's credit is counted; `None`: it has none, and nothing is taken.
    pub unit: Option<Unit>,
    /// Balances, in the unit, at which somebody is told.
    pub thresholds: Vec<i64>,
    /// E-mail addresses that are told.
    pub email: Vec<String>,
    /// What the tenant may send.
    pub quotas: Quotas,
    /// Millionths of a euro that it may spend in a day.
    pub daily_micros: Option<i64>,
    /// The public prefix of the key that it is sent with, and what that may send.
    pub key: Option<(String, Quotas)>,
    /// Today.
    pub day: Day,
}

/// Why something is not paid for; nothing of it is stored then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unpaid {
    /// The balance does not reach.
    #[error("the credit is not enough")]
    Credit {
        /// In what it is counted.
        unit: Unit,
        /// What it costs.
        needed: i64,
        /// What there is.
        left: i64,
    },
    /// A quota does not.
    #[error("a quota is used up")]
    Quota {
        /// Which one.
        which: Quota,
        /// Its parts.
        most: u64,
        /// Those that are used.
        used: u64,
        /// Those that were asked for.
        asked: u64,
        /// When it begins anew.
        wait: Duration,
    },
    /// What may be spent in a day does not.
    #[error("the day's spending is used up")]
    Spending {
        /// Millionths of a euro a day.
        most: i64,
        /// Those that are spent.
        used: i64,
        /// Those that were asked for.
        asked: i64,
        /// When the day ends.
        wait: Duration,
    },
    /// The balance cannot be written down.
    #[error("the balance would be too large")]
    TooLarge,
}

/// A quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// The tenant's of the day.
    Day,
    /// The tenant's of the month.
    Month,
    /// The key's of the day.
    KeyDay,
    /// The key's of the month.
    KeyMonth,
}

impl Unpaid {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Credit { .. } => "insufficient_credit",
            Self::Quota { .. } => "quota_exceeded",
            Self::Spending { .. } => "daily_spend",
            Self::TooLarge => "out_of_range",
        }
    }
}

/// One line of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Whose ledger.
    pub tenant: Tenant,
    /// Its number, from 0, without gaps.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What for.
    pub what: Why,
    /// In what it is counted.
    pub unit: Unit,
    /// What was added, in millionths of a euro or in parts; negative: what was taken.
    pub amount: i64,
    /// The balance of the unit then.
    pub balance: i64,
    /// Parts that it is for.
    pub parts: u64,
    /// Messages that it is for.
    pub messages: u32,
    /// The message, or the first of them.
    pub message: Option<MessageId>,
    /// The batch that they came in with.
    pub batch: Option<BatchId>,
    /// The words of whoever entered it.
    pub note: Option<String>,
    /// The name of the key that entered it.
    pub by: Option<String>,
}

/// What a line of a ledger is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Messages were accepted.
    Taken,
    /// A message ended and nothing had left.
    GivenBack,
    /// An administrator added credit.
    TopUp,
    /// An administrator took credit away.
    Correction,
}

impl Why {
    /// Its word in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::GivenBack => "given_back",
            Self::TopUp => "top_up",
            Self::Correction => "correction",
        }
    }
}

/// A balance that has come down to a threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditLow {
    /// Whose.
    pub tenant: Tenant,
    /// The line of the ledger with which it did.
    pub line: u64,
    /// In what they are counted.
    pub unit: Unit,
    /// The threshold.
    pub threshold: i64,
    /// The balance.
    pub balance: i64,
    /// When.
    pub at: Timestamp,
}

impl CreditLow {
    /// What it is known by: no message has an id like it, and no other line.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        let digest = Sha256::new_with_prefix(b"credit.low ");
        let digest = digest.chain_update(self.tenant.as_str());
        let digest = digest.chain_update(self.line.to_be_bytes()).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        id
    }
}

impl Purse {
    /// The purse of a tenant that nothing is known of.
    #[must_use]
    pub fn empty(tenant: &Tenant) -> Self {
        Self {
            tenant: tenant.clone(),
            balance: Balance::default(),
            carried: Balance::default(),
            first: 0,
            next: 0,
            told: None,
            used: Used::default(),
        }
    }

    /// Says why these means do not reach for what is due, if so.
    ///
    /// # Errors
    /// The first of credit, quotas and spending that does not.
    pub fn affords(&self, due: Due, means: &Means, key: Option<&Used>) -> Result<(), Unpaid> {
        if let Some(unit) = means.unit {
            let (needed, left) = (due.in_unit(unit), self.balance.of(unit));
            if needed > left {
                return Err(Unpaid::Credit { unit, needed, left });
            }
        }
        let used = self.used.on(means.day.number);
        within(
            &used,
            means.quotas,
            due,
            means.day,
            [Quota::Day, Quota::Month],
        )?;
        if let (Some((_, quotas)), Some(used)) = (&means.key, key) {
            let used = used.on(means.day.number);
            let which = [Quota::KeyDay, Quota::KeyMonth];
            within(&used, *quotas, due, means.day, which)?;
        }
        if let Some(most) = means.daily_micros
            && used.day_micros.saturating_add(due.micros) > most
        {
            return Err(Unpaid::Spending {
                most,
                used: used.day_micros,
                asked: due.micros,
                wait: means.day.left,
            });
        }
        Ok(())
    }

    /// Takes what is due, of what [`affords`](Self::affords) it: the line of the ledger, where there is a
    /// credit, and the threshold that it came down to.
    pub fn take(
        &mut self,
        due: Due,
        means: &Means,
        now: Timestamp,
    ) -> Option<(Line, Option<CreditLow>)> {
        self.used.take(due, means.day.number);
        let unit = means.unit?;
        let before = self.balance.of(unit);
        let mut line = self.enter(Why::Taken, unit, -due.in_unit(unit), now)?;
        (line.parts, line.messages) = (due.parts, due.messages);
        let crossed = |it: &&i64| before > **it && line.balance <= **it;
        let lowest = means.thresholds.iter().filter(crossed).min().copied();
        let told = self.told.filter(|told| told.0 == unit).map(|told| told.1);
        let lowest = lowest.filter(|it| told.is_none_or(|told| *it < told));
        let low = lowest.map(|threshold| {
            self.told = Some((unit, threshold));
            CreditLow {
                tenant: self.tenant.clone(),
                line: line.number,
                unit,
                threshold,
                balance: line.balance,
                at: now,
            }
        });
        Some((line, low))
    }

    /// Gives back what a message took; the line, where it took anything of the credit.
    pub fn give_back(&mut self, charge: &Charge, id: MessageId, now: Timestamp) -> Option<Line> {
        self.used.give_back(charge);
        let due = Due::of([charge]);
        let unit = charge.unit?;
        let mut line = self.enter(Why::GivenBack, unit, due.in_unit(unit), now)?;
        (line.parts, line.messages) = (due.parts, due.messages);
        line.message = Some(id);
        Some(line)
    }

    /// Enters what an administrator adds, or takes away where it is negative. What is added arms every
    /// threshold again.
    ///
    /// # Errors
    /// More is taken than there is, or the balance cannot be written down.
    pub fn post(&mut self, unit: Unit, amount: i64, now: Timestamp) -> Result<Line, Unpaid> {
        let left = self.balance.of(unit);
        if amount < 0 && left.saturating_add(amount) < 0 {
            return Err(Unpaid::Credit {
                unit,
                needed: amount.saturating_neg(),
                left,
            });
        }
        let why = if amount < 0 {
            Why::Correction
        } else {
            Why::TopUp
        };
        let line = self.enter(why, unit, amount, now).ok_or(Unpaid::TooLarge)?;
        if amount > 0 {
            self.told = None;
        }
        Ok(line)
    }

    /// The only place where a balance changes; `None`, and no change, where it cannot be written down.
    fn enter(&mut self, what: Why, unit: Unit, amount: i64, now: Timestamp) -> Option<Line> {
        let balance = self.balance.of(unit).checked_add(amount)?;
        self.balance = self.balance.with(unit, balance);
        let number = self.next;
        self.next += 1;
        Some(Line {
            tenant: self.tenant.clone(),
            number,
            at: now,
            what,
            unit,
            amount,
            balance,
            parts: 0,
            messages: 0,
            message: None,
            batch: None,
            note: None,
            by: None,
        })
    }

    /// Forgets its first line, which is past keeping: what it added is carried.
    pub fn carry(&mut self, line: &Line) {
        let sum = self.carried.of(line.unit).saturating_add(line.amount);
        self.carried = self.carried.with(line.unit, sum);
        self.first = line.number + 1;
    }
}

fn within(
    used: &Used,
    quotas: Quotas,
    due: Due,
    day: Day,
    which: [Quota; 2],
) -> Result<(), Unpaid> {
    let both = [
        (quotas.daily_parts, used.day_parts, day.left),
        (quotas.monthly_parts, used.month_parts, day.month_left),
    ];
    for (which, (most, used, wait)) in which.into_iter().zip(both) {
        if most > 0 && used.saturating_add(due.parts) > most {
            return Err(Unpaid::Quota {
                which,
                most,
                used,
                asked: due.parts,
                wait,
            });
        }
    }
    Ok(())
}

impl Credit {
    /// What a part over this operator costs, in millionths of a euro; `None` where no price is known.
    #[must_use]
    pub fn price_of(&self, operator: &str) -> Option<i64> {
        let price = self.prices.get(operator).or(self.price.as_ref())?;
        money::parse(price).filter(|price| *price >= 0)
    }

    /// An amount of its unit, as administrators write it: euros, or a whole number of parts.
    #[must_use]
    pub fn amount(&self, text: &str) -> Option<i64> {
        match self.unit {
            Unit::Eur => money::parse(text),
            Unit::Parts => text.parse().ok(),
        }
    }
}

impl Unit {
    /// An amount of it, as clients read it.
    #[must_use]
    pub fn format(self, amount: i64) -> String {
        match self {
            Self::Eur => money::format(amount),
            Self::Parts => amount.to_string(),
        }
    }

    /// An amount of it, as people read it.
    #[must_use]
    pub fn words(self, amount: i64) -> String {
        match self {
            Self::Eur => format!("{} EUR", money::format(amount)),
            Self::Parts => format!("{amount} parts"),
        }
    }
}

impl Message {
    /// True if a part of it has left, or may have, over an account that costs something.
    #[must_use]
    pub fn has_cost(&self) -> bool {
        let attempts = self.attempts.iter();
        // The caller's own app and e-mail cost nothing.
        let paid = attempts.filter(|tried| !chain::is_relay(&tried.account));
        let mut segments = paid.flat_map(|tried| &tried.segments);
        // What a crash may have sent without a trace counts as left.
        self.maybe_duplicate || segments.any(|segment| segment.progress != Progress::Unsent)
    }

    /// What it took and must be given back now: once, when it has ended and nothing has left.
    pub fn reclaim(&mut self) -> Option<Charge> {
        if !self.owes_charge() {
            return None;
        }
        let charge = self.terms.as_mut()?.charge.as_mut()?;
        charge.given_back = true;
        Some(charge.clone())
    }

    /// True if it has ended, nothing has left, and what it took was not given back.
    #[must_use]
    pub fn owes_charge(&self) -> bool {
        let charge = self.terms.as_ref().and_then(|terms| terms.charge.as_ref());
        charge.is_some_and(|charge| !charge.given_back)
            && self.status().is_final()
            && !self.has_cost()
    }
}

#[cfg(test)]
mod tests;
