//! What is wrong, from the picture that a daemon gives of itself: why messages do not arrive, most
//! serious first. `top` shows it as it happens, `doctor` with what to do.

use std::time::Duration;

use super::{AccountState, Channel, Look, Queue};
use crate::domain::time::Timestamp;

/// What is due waits longer than this for no ordinary reason.
const LONG: Duration = Duration::from_mins(1);
/// What is due has waited so long that people miss their messages.
const TOO_LONG: Duration = Duration::from_mins(15);
/// So many messages without a receipt, and for so long, are no longer handsets that are switched off.
const AWAITED: (u64, Duration) = (5, Duration::from_mins(30));
/// More webhook deliveries than a receiver that works has waiting.
const WEBHOOKS: u64 = 100;
/// Below this much signal, in dBm, messages get lost: 4 of the 31 steps of `+CSQ`.
pub(in crate::cli) const WEAK_DBM: i64 = -105;
/// Less free room than this is worth a word.
pub(in crate::cli) const LITTLE_ROOM_MIB: u64 = 1024;
/// Less than this is about to stop the store.
pub(in crate::cli) const NO_ROOM_MIB: u64 = 64;

/// How a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Weight {
    Ok,
    Warning,
    Error,
}

/// Something that somebody on call should know.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) enum Finding<'a> {
    /// A connection is not up.
    Down(&'a Channel),
    /// An account rests because its carrier takes nothing.
    CircuitOpen {
        account: &'a str,
        state: &'a AccountState,
    },
    /// Somebody has stopped a connection, or its account.
    Paused(&'a Channel),
    /// A carrier has asked for less.
    Throttled {
        account: &'a str,
        state: &'a AccountState,
    },
    /// A limit of a SIM is used up: in so many days, until then.
    Spent {
        channel: &'a str,
        days: u64,
        limit: u64,
        until: Option<Timestamp>,
    },
    /// A modem hardly hears its network.
    Weak { channel: &'a str, dbm: i64 },
    /// Messages are due, and wait.
    Waiting(&'a Queue),
    /// A carrier takes messages, and tells nothing of them.
    NoReceipts {
        channel: &'a str,
        messages: u64,
        since: Timestamp,
    },
    /// Applications do not learn what becomes of their messages.
    Webhooks { pending: u64, dropped: u64 },
    /// The disk of the store is nearly full: MiB that are free.
    LittleRoom(u64),
    /// The store has turned itself off after an error of the disk: nothing is accepted, no receipt is taken.
    StoreFailed,
    /// The configuration on the disk is not the one that rules.
    ReloadFailed,
}

impl Finding<'_> {
    pub(in crate::cli) fn weight(&self) -> Weight {
        match self {
            Self::Down(channel) if channel.status == "down" || channel.status == "connecting" => {
                Weight::Error
            }
            Self::StoreFailed | Self::CircuitOpen { .. } | Self::ReloadFailed => Weight::Error,
            Self::Waiting(queue) if queue.is_held() || queue.oldest < LONG => Weight::Ok,
            Self::Waiting(queue) if queue.oldest >= TOO_LONG => Weight::Error,
            Self::LittleRoom(free) if *free < NO_ROOM_MIB => Weight::Error,
            _ => Weight::Warning,
        }
    }
}

impl Queue {
    /// True if what is due waits because somebody wants it to: hours of sending, a time that is set.
    pub(in crate::cli) fn is_held(&self) -> bool {
        self.why
            .iter()
            .all(|(why, _)| matches!(why.as_str(), "window" | "scheduled"))
    }
}

impl Look {
    /// What is wrong, errors first.
    pub(in crate::cli) fn findings(&self) -> Vec<Finding<'_>> {
        let mut found = Vec::new();
        if self.store_failed {
            found.push(Finding::StoreFailed);
        }
        if self.reload_failed {
            found.push(Finding::ReloadFailed);
        }
        let mut accounts: Vec<&str> = Vec::new();
        for channel in &self.channels {
            let first = !accounts.contains(&channel.account.as_str());
            accounts.push(&channel.account);
            of_channel(channel, first, &mut found);
        }
        let waiting = self.queues.iter().map(Finding::Waiting);
        found.extend(waiting.filter(|finding| finding.weight() > Weight::Ok));
        for awaited in &self.awaited {
            let is_long = self.at.since(awaited.since) >= AWAITED.1;
            if awaited.messages >= AWAITED.0 && is_long {
                found.push(Finding::NoReceipts {
                    channel: &awaited.channel,
                    messages: awaited.messages,
                    since: awaited.since,
                });
            }
        }
        if self.webhooks >= WEBHOOKS || self.webhooks_dropped > 0 {
            found.push(Finding::Webhooks {
                pending: self.webhooks,
                dropped: self.webhooks_dropped,
            });
        }
        match self.free.map(|octets| octets >> 20) {
            Some(free) if free < LITTLE_ROOM_MIB => found.push(Finding::LittleRoom(free)),
            _ => {}
        }
        found.sort_by_key(|finding| std::cmp::Reverse(finding.weight()));
        found
    }
}

/// What is wrong with a connection, and with its account, which is spoken of once.
fn of_channel<'a>(channel: &'a Channel, first: bool, found: &mut Vec<Finding<'a>>) {
    let (name, account) = (channel.name.as_str(), channel.account.as_str());
    if !channel.up {
        found.push(Finding::Down(channel));
    }
    if channel.paused {
        found.push(Finding::Paused(channel));
    }
    if first && channel.state.is_open() {
        let state = &channel.state;
        found.push(Finding::CircuitOpen { account, state });
    }
    if first && channel.state.is_throttled() {
        let state = &channel.state;
        found.push(Finding::Throttled { account, state });
    }
    let Some(modem) = &channel.modem else { return };
    for (days, used) in [(1, &modem.budget.day), (30, &modem.budget.recipients_30d)] {
        if let Some(used) = used.as_ref().filter(|used| used.used >= used.limit) {
            found.push(Finding::Spent {
                channel: name,
                days,
                limit: used.limit,
                until: used.until,
            });
        }
    }
    if let Some(dbm) = modem.signal_dbm.filter(|dbm| *dbm < WEAK_DBM) {
        found.push(Finding::Weak { channel: name, dbm });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cli::watch::tests::{NOON, in_trouble};

    #[test]
    fn trouble_is_named_errors_first() {
        let look = in_trouble();
        let found = look.findings();
        let weights: Vec<_> = found.iter().map(Finding::weight).collect();
        assert!(weights.is_sorted_by(|a, b| a >= b), "{weights:?}");
        for wanted in [
            Finding::ReloadFailed,
            Finding::Down(&look.channels[0]),
            Finding::Throttled {
                account: "sfr",
                state: &look.channels[1].state,
            },
            Finding::Paused(&look.channels[2]),
            Finding::Waiting(&look.queues[0]),
            Finding::NoReceipts {
                channel: "sfr#1",
                messages: 18,
                since: NOON - Duration::from_secs(7200),
            },
            Finding::Webhooks {
                pending: 412,
                dropped: 1,
            },
            Finding::LittleRoom(50),
        ] {
            assert!(found.contains(&wanted), "no {wanted:?} in {found:#?}");
        }
        let spent = |one: &Finding<'_>| {
            matches!(
                one,
                Finding::Spent {
                    days: 1,
                    limit: 200,
                    ..
                }
            )
        };
        assert!(found.iter().any(spent));
        assert_eq!(found.len(), 9, "nothing else: {found:#?}");
    }

    #[test]
    fn a_store_that_has_turned_itself_off_is_what_matters_most() {
        let mut look = in_trouble();
        look.store_failed = true;
        assert_eq!(look.findings()[0], Finding::StoreFailed);
    }

    #[test]
    fn a_daemon_that_is_well_has_no_findings() {
        let mut look = in_trouble();
        look.channels.clear();
        look.awaited.clear();
        look.queues.clear();
        (look.webhooks, look.webhooks_dropped) = (3, 0);
        (look.free, look.reload_failed) = (Some(10 << 30), false);
        assert_eq!(look.findings(), []);
    }

    #[test]
    fn a_queue_weighs_by_how_long_it_waits_and_whether_it_is_meant_to() {
        let queue = |why: &str, seconds| Queue {
            operator: "a".to_owned(),
            why: vec![(why.to_owned(), 3)],
            oldest: Duration::from_secs(seconds),
        };
        for (why, seconds, weight) in [
            ("queued", 2, Weight::Ok),
            ("no_channel", 61, Weight::Warning),
            ("no_channel", 901, Weight::Error),
            ("window", 9000, Weight::Ok),
            ("backoff", 0, Weight::Ok),
        ] {
            let queue = queue(why, seconds);
            assert_eq!(Finding::Waiting(&queue).weight(), weight, "{queue:?}");
        }
    }

    #[test]
    fn a_few_handsets_that_are_off_do_not_mean_that_receipts_have_stopped() {
        let mut look = in_trouble();
        let stopped = |look: &Look| {
            let is = |one: &Finding<'_>| matches!(one, Finding::NoReceipts { .. });
            look.findings().iter().any(is)
        };
        assert!(stopped(&look));
        look.awaited[0].messages = 4;
        assert!(!stopped(&look));
        look.awaited[0].messages = 40;
        look.awaited[0].since = NOON - Duration::from_secs(60);
        assert!(!stopped(&look));
    }

    #[test]
    fn an_account_with_two_connections_is_spoken_of_once() {
        let mut look = in_trouble();
        let mut second = look.channels[1].clone();
        second.name = "sfr#2".to_owned();
        look.channels.push(second);
        let is = |one: &&Finding<'_>| matches!(one, Finding::Throttled { .. });
        assert_eq!(look.findings().iter().filter(is).count(), 1);
    }
}
