//! How far the SIMs of modems have been used, and how far they may be.
//!
//! The contract of a consumer SIM bears so many messages a day and so many recipients a month; more,
//! and the line is cut without notice. Both are counted over rolling windows and by SIM, not by
//! modem: a SIM that moves takes what it has spent with it. A place is taken when a message is handed
//! to the modem, given back if the modem returns it, and spent, from the instant of the answer, once
//! it has answered or nobody can tell; what is spent is durable with the answer. So no window ever
//! holds more than its limit, but for what was begun and has to be finished.
//!
//! At a limit the account is shut for new messages, without hope that it passes in a moment: the next
//! step of a route takes over at once, and where there is none, messages wait until the window has
//! rolled on. At the limit of recipients, where there is no other way, those whom the SIM has written
//! to anyway are still written to.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Engine;
use super::accounts::{Gate, Shut};
use crate::channel::Peer;
use crate::domain::id::{Account, MessageId};
use crate::domain::message::Token;
use crate::domain::msisdn::Msisdn;
use crate::domain::policy::{ModemRules, Policy};
use crate::domain::time::Timestamp;
use crate::store::Spending;

/// What the daily limit is counted over.
const DAY: Duration = Duration::from_hours(24);
/// What the limit of recipients is counted over.
const MONTH: Duration = Spending::KEPT;

/// How far the SIM of a modem is used, as operators see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetView {
    /// Messages in the last 24 h; `None`: no limit.
    pub day: Option<Used>,
    /// Distinct recipients in the last 30 days; `None`: no limit.
    pub recipients_30d: Option<Used>,
}

/// One limit, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The limit.
    pub limit: u32,
    /// What counts towards it now, with what the modem has in hand; more than the limit if that was
    /// higher before.
    pub used: u32,
    /// When there is room again, where all of it is used and that is known.
    pub until: Option<Timestamp>,
}

impl Used {
    /// What is left.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}

/// Which things were last seen when, as far back as a window reaches.
#[derive(Debug)]
struct Window<K> {
    length: Duration,
    last: HashMap<K, Timestamp>,
    order: BTreeSet<(Timestamp, K)>,
}

impl<K: Copy + Eq + Hash + Ord> Window<K> {
    fn new(length: Duration) -> Self {
        Self {
            length,
            last: HashMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Something is seen; what was seen later than `at` stays so.
    fn see(&mut self, key: K, at: Timestamp) {
        let last = self.last.entry(key).or_insert(at);
        self.order.remove(&(*last, key));
        *last = at.max(*last);
        self.order.insert((*last, key));
    }

    /// Forgets what is out of the window at `now`.
    fn roll(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.order.first().copied()
            && at + self.length <= now
        {
            self.order.pop_first();
            self.last.remove(&key);
        }
    }

    /// How much of `limit` is used, where some things are `coming` and may be seen.
    fn used(&self, limit: u32, coming: &BTreeSet<K>) -> Used {
        let new = coming.iter().filter(|key| !self.last.contains_key(key));
        let count = self.order.len() + new.count();
        let used = u32::try_from(count).unwrap_or(u32::MAX);
        // So many have to leave the window before there is room, the oldest first.
        let over = usize::try_from(used.saturating_sub(limit)).unwrap_or(usize::MAX);
        let last = (used >= limit).then(|| self.order.iter().nth(over));
        Used {
            limit,
            used,
            until: last.flatten().map(|(at, _)| *at + self.length),
        }
    }
}

/// What one SIM has spent.
#[derive(Debug)]
struct Spent {
    messages: Window<MessageId>,
    recipients: Window<Msisdn>,
}

impl Default for Spent {
    fn default() -> Self {
        Self {
            messages: Window::new(DAY),
            recipients: Window::new(MONTH),
        }
    }
}

#[derive(Debug, Default)]
struct Book {
    spent: HashMap<String, Spent>,
    /// What modems have in hand, and the SIM of each: as many as their windows hold.
    taken: HashMap<Token, (String, Msisdn)>,
}

/// What every SIM has spent, and what is about to be.
#[derive(Debug)]
pub(super) struct Budgets(Mutex<Book>);

impl Budgets {
    /// What the store remembers.
    pub(super) fn new(spendings: Vec<Spending>) -> Self {
        let mut book = Book::default();
        for spending in spendings {
            book.spend(&spending);
        }
        Self(Mutex::new(book))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far a SIM is used.
    fn view(&self, sim: &str, rules: &ModemRules, now: Timestamp) -> BudgetView {
        self.lock().view(sim, rules, now)
    }

    /// Whom a SIM has written to, as far back as that counts.
    fn recipients(&self, sim: &str) -> HashSet<Msisdn> {
        let book = self.lock();
        let spent = book.spent.get(sim);
        spent.map_or_else(HashSet::new, |spent| {
            spent.recipients.last.keys().copied().collect()
        })
    }

    /// A message is handed to the modem of a SIM.
    pub(super) fn take(&self, token: Token, sim: String, to: Msisdn) {
        self.lock().taken.insert(token, (sim, to));
    }

    /// It came back, unsent.
    pub(super) fn give_back(&self, token: Token) {
        self.lock().taken.remove(&token);
    }

    /// Its first part was answered at `at`, or will never be: what is to be remembered of it. `None`
    /// if it was counted already, or need not be.
    pub(super) fn spend(&self, token: Token, at: Timestamp) -> Option<Spending> {
        let mut book = self.lock();
        let (sim, to) = book.taken.remove(&token)?;
        let message = token.message;
        let spending = Spending {
            sim,
            message,
            to,
            at,
        };
        book.spend(&spending);
        Some(spending)
    }
}

impl Book {
    fn spend(&mut self, spending: &Spending) {
        let spent = self.spent.entry(spending.sim.clone()).or_default();
        spent.messages.see(spending.message, spending.at);
        spent.recipients.see(spending.to, spending.at);
    }

    fn view(&mut self, sim: &str, rules: &ModemRules, now: Timestamp) -> BudgetView {
        let nothing = Spent::default();
        let spent = match self.spent.get_mut(sim) {
            Some(spent) => {
                spent.messages.roll(now);
                spent.recipients.roll(now);
                &*spent
            }
            None => &nothing,
        };
        let taken = self.taken.iter().filter(|(_, (of, _))| of == sim);
        let (messages, recipients): (BTreeSet<_>, BTreeSet<_>) =
            taken.map(|(token, (_, to))| (token.message, *to)).unzip();
        BudgetView {
            day: rules
                .daily_limit
                .map(|limit| spent.messages.used(limit, &messages)),
            recipients_30d: rules
                .recipients_30d
                .map(|limit| spent.recipients.used(limit, &recipients)),
        }
    }
}

impl Engine {
    /// Whether new messages may go out over an account: what the account can do, and what is left of
    /// the budget of its SIM. What an account has begun asks the accounts alone.
    pub(super) fn gate(&self, account: &Account, policy: &Policy, now: Timestamp) -> Gate {
        let gate = self.accounts.gate(account, now);
        match (gate, self.used_up(account, policy, now)) {
            (gate, None) => gate,
            // What else keeps it shut stays the reason, but not for a moment only.
            (Gate::Shut(shut), Some(_)) => Gate::Shut(shut.hopeless()),
            (Gate::Open | Gate::HalfOpen, Some(shut)) => Gate::Shut(shut),
        }
    }

    /// True if the budget of the account's SIM, if it is one, has room for a new message.
    pub(super) fn has_room(&self, account: &Account, policy: &Policy, now: Timestamp) -> bool {
        self.used_up(account, policy, now).is_none()
    }

    /// How many new messages the budget of the account's SIM has room for.
    pub(super) fn room(&self, account: &Account, policy: &Policy, now: Timestamp) -> usize {
        let budget = self.budget(account, policy, now).unwrap_or_default();
        let limits = [budget.day, budget.recipients_30d].into_iter().flatten();
        let least = limits.map(|used| used.remaining()).min();
        least.map_or(usize::MAX, |least| least as usize)
    }

    /// Where the SIM of an account that could send may write to nobody else: whom it has written to,
    /// and how many messages it has room for.
    pub(super) fn room_for_known(
        &self,
        account: &Account,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<(Arc<HashSet<Msisdn>>, usize)> {
        let BudgetView {
            day,
            recipients_30d,
        } = self.budget(account, policy, now)?;
        let room = day.map_or(usize::MAX, |day| day.remaining() as usize);
        let is_full = recipients_30d.is_some_and(|used| used.remaining() == 0);
        if room == 0 || !is_full || self.accounts.gate(account, now) != Gate::Open {
            return None;
        }
        Some((Arc::new(self.budgets.recipients(&self.sim(account)?)), room))
    }

    /// How far the SIM of an account is used; `None` if the account is not a modem.
    pub(super) fn budget(
        &self,
        account: &Account,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<BudgetView> {
        let rules = policy.modems.get(account)?;
        Some(self.budgets.view(&self.sim(account)?, rules, now))
    }

    /// The SIM that a message handed to this account counts for; `None` if nothing is counted.
    pub(super) fn counted_for(&self, account: &Account, policy: &Policy) -> Option<String> {
        let rules = policy.modems.get(account)?;
        let has_limit = rules.daily_limit.is_some() || rules.recipients_30d.is_some();
        has_limit.then(|| self.sim(account)).flatten()
    }

    /// What the SIM of an account is known by. One that tells nothing of itself has the name of its
    /// modem, as its references have.
    fn sim(&self, account: &Account) -> Option<String> {
        let channels = self.channels();
        let mut mine = channels.iter().filter(|it| it.account == *account);
        mine.find_map(|handle| match &handle.peer {
            Peer::Modem(word) => Some(word.borrow().sim.clone()),
            Peer::Smsc(_) | Peer::App | Peer::Email => None,
        })
        .map(|sim| sim.unwrap_or_else(|| account.to_string()))
    }

    fn used_up(&self, account: &Account, policy: &Policy, now: Timestamp) -> Option<Shut> {
        let budget = self.budget(account, policy, now)?;
        let limits = [budget.day, budget.recipients_30d].into_iter().flatten();
        let full = limits.filter(|used| used.remaining() == 0);
        // There is room when there is room by both.
        let until = full.map(|used| used.until.unwrap_or(Timestamp::NEVER));
        let until = until.max()?;
        let until = (until < Timestamp::NEVER).then_some(until);
        Some(Shut::without_hope("sim_budget", until))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::fixtures::{at, message_id, number};

    const HOUR: u64 = 3600;

    fn token(n: u64) -> Token {
        Token {
            message: message_id(n),
            attempt: 0,
            claim: 1,
        }
    }

    fn rules(daily: u32, recipients: u32) -> ModemRules {
        ModemRules {
            daily_limit: (daily > 0).then_some(daily),
            recipients_30d: (recipients > 0).then_some(recipients),
            ..ModemRules::default()
        }
    }

    fn send(budgets: &Budgets, sim: &str, n: u64, to: u64, second: u64) -> Spending {
        budgets.take(token(n), sim.to_owned(), number(to));
        budgets.spend(token(n), at(second)).unwrap()
    }

    /// Used, and until when all of it is used, in seconds.
    fn day(budgets: &Budgets, sim: &str, limit: u32, second: u64) -> (u32, Option<Timestamp>) {
        let view = budgets.view(sim, &rules(limit, 0), at(second));
        assert_eq!(view.recipients_30d, None);
        let day = view.day.unwrap();
        (day.used, day.until)
    }

    #[test]
    fn no_twenty_four_hours_see_more_than_the_limit() {
        let budgets = Budgets::new(Vec::new());
        for n in 0..3 {
            assert_eq!(day(&budgets, "1", 3, n).1, None);
            send(&budgets, "1", n, n, n * HOUR);
        }
        let first = at(24 * HOUR);
        assert_eq!(day(&budgets, "1", 3, 3 * HOUR), (3, Some(first)));
        assert_eq!(day(&budgets, "1", 3, 24 * HOUR - 1), (3, Some(first)));
        assert_eq!(day(&budgets, "1", 3, 24 * HOUR), (2, None));
        // A lower limit waits for as many as are over it.
        assert_eq!(day(&budgets, "1", 1, 24 * HOUR), (2, Some(at(26 * HOUR))));
    }

    #[test]
    fn a_message_counts_once_from_its_last_sending() {
        let budgets = Budgets::new(Vec::new());
        send(&budgets, "1", 1, 1, 0);
        send(&budgets, "1", 1, 1, HOUR);
        assert_eq!(day(&budgets, "1", 1, HOUR), (1, Some(at(25 * HOUR))));
    }

    #[test]
    fn what_the_modem_has_in_hand_holds_its_place_until_it_comes_back() {
        let budgets = Budgets::new(Vec::new());
        budgets.take(token(1), "1".to_owned(), number(1));
        assert_eq!(day(&budgets, "1", 1, 0), (1, None));
        assert_eq!(
            budgets
                .view("1", &rules(1, 0), at(0))
                .day
                .unwrap()
                .remaining(),
            0
        );
        budgets.give_back(token(1));
        assert_eq!(day(&budgets, "1", 1, 0), (0, None));
        assert_eq!(budgets.spend(token(1), at(0)), None);
    }

    #[test]
    fn recipients_count_once_and_from_their_last_message() {
        let budgets = Budgets::new(Vec::new());
        let days = 24 * HOUR;
        for (n, to, day) in [(1, 1, 0), (2, 2, 1), (3, 1, 10)] {
            send(&budgets, "1", n, to, day * days);
        }
        let view = |day: u64| {
            let view = budgets.view("1", &rules(0, 2), at(day * days));
            assert_eq!(view.day, None);
            let used = view.recipients_30d.unwrap();
            (used.used, used.until)
        };
        assert_eq!(view(10), (2, Some(at(31 * days))));
        assert_eq!(view(31), (1, None));
        assert_eq!(view(40), (0, None));
    }

    #[test]
    fn each_sim_has_its_own_budget_and_it_is_remembered() {
        let budgets = Budgets::new(Vec::new());
        let spent = vec![
            send(&budgets, "1", 1, 1, 0),
            send(&budgets, "1", 2, 1, 1),
            send(&budgets, "2", 3, 1, 2),
        ];
        let again = Budgets::new(spent);
        for budgets in [budgets, again] {
            let used = ["1", "2", "3"].map(|sim| day(&budgets, sim, 9, 3).0);
            assert_eq!(used, [2, 1, 0]);
        }
    }
}
