//! The daemon's behaviour: one file, one duty, one task.
//!
//! `accept` turns a client's draft into stored messages; `dispatcher` keeps every window full;
//! `traffic` commits what channels report and acknowledges afterwards; `reaper` acts on deadlines;
//! `digests` tells at their ticks what was counted; `outbox` posts webhooks; `relay` tries apps and e-mail,
//! and `steps` is told what became of it; `journal` is what the log says of messages. `accounts` knows what each
//! account can do now, by `throttle` and `circuit`, and `budget` how far its SIM is used; `lanes` keeps
//! each operator's hours and rate, and `portability` asks whose a number is; `tenants` is what each tenant
//! may do, `guard` what looks like abuse, `credit` what tenants pay with, `wishes` what recipients want and
//! do not; `channels` lets connections
//! come and go; `control` is what operators see of it and do to it. They meet in the [`Engine`], which
//! the HTTP interface holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::accounts::AccountView;
use self::accounts::{Accounts, Gate};
use self::budget::Budgets;
pub use self::budget::{BudgetView, Used};
pub use self::control::ChannelView;
use self::flights::Flights;
use self::guard::Guard;
use self::lanes::Lanes;
use self::portability::Lookups;
use self::relay::Relays;
use self::relay::email::Mailers;
pub use self::steps::{StepRefused, Told};
use self::templates::Templates;
use self::tenants::Tenants;
use crate::channel::{ChannelEvent, ChannelHandle};
use crate::clock::{Clock, Random};
use crate::domain::apply::Transition;
use crate::domain::id::{Account, Lane, MessageId, Tenant};
use crate::domain::inbound::Inbound;
use crate::domain::message::{Message, State};
use crate::domain::policy::Policy;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::metrics::Metrics;
use crate::store::{Change, Store, StoreError, TakenIn};

pub mod accept;
mod accounts;
mod budget;
mod channels;
mod circuit;
mod control;
pub mod credit;
pub mod digests;
mod dispatcher;
mod flights;
pub mod guard;
pub mod journal;
mod lanes;
pub mod numbers;
pub mod outbox;
mod pace;
mod portability;
mod reaper;
mod relay;
mod steps;
pub mod templates;
mod tenants;
mod throttle;
mod traffic;
pub mod view;
pub mod wishes;

/// Everything that the parts of the daemon share, and the handle that the HTTP interface works with.
pub struct Engine {
    /// Durable state.
    pub store: Arc<dyn Store>,
    /// The rules in force; take the `Arc` once per decision.
    pub policy: watch::Receiver<Arc<Policy>>,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// Counters and histograms.
    pub metrics: Arc<Metrics>,
    /// Connections to carriers: see [`channels`](Self::channels()).
    channels: watch::Sender<Arc<[ChannelHandle]>>,
    /// Changes of status, for live listeners. One that falls behind by this many loses the oldest.
    changes: broadcast::Sender<Change>,
    /// Messages from handsets, likewise.
    received: broadcast::Sender<Arc<Inbound>>,
    /// Wakes the dispatcher and the outbox.
    bells: Bells,
    /// Messages under way.
    flights: Flights,
    /// What is known of each account now.
    accounts: Accounts,
    /// The pace of each operator.
    lanes: Lanes,
    /// Asks whose numbers are.
    lookups: Lookups,
    /// Settings of tenants.
    tenants: Tenants,
    /// What was sent to whom.
    guard: Guard,
    /// Templates of tenants.
    templates: Templates,
    /// How far the SIMs of modems are used.
    budgets: Budgets,
    /// The channels that are none of SMS.
    relays: Relays,
    /// The way to the mail server, for what people are told.
    mailers: Mailers,
    /// The installation's own key, from which webhook secrets are derived.
    signing_key: [u8; 32],
}

/// The parts that an [`Engine`] is put together from.
pub struct Parts {
    /// Durable state.
    pub store: Arc<dyn Store>,
    /// The rules in force.
    pub policy: watch::Receiver<Arc<Policy>>,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// Counters and histograms.
    pub metrics: Arc<Metrics>,
    /// Connections to carriers.
    pub channels: Vec<ChannelHandle>,
    /// The installation's own key, from which webhook secrets are derived.
    pub signing_key: [u8; 32],
}

/// Number of changes, and of messages from handsets, that a live listener may fall behind.
const CHANGES_KEPT: usize = 4096;
const RECEIVED_KEPT: usize = 1024;

/// What wakes the engine's tasks: they never poll.
#[derive(Debug, Default)]
struct Bells {
    /// Some lane may have work earlier than the dispatcher thinks.
    dispatcher: Notify,
    /// The outbox may have something new.
    outbox: Notify,
    /// A digest may have an earlier tick.
    digests: Notify,
}

impl Engine {
    /// Puts the shared parts together; [`run`] starts the tasks.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            store,
            policy,
            clock,
            random,
            metrics,
            channels,
            signing_key,
        } = parts;
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        let relays = Relays::new();
        let all: Vec<_> = channels.iter().cloned().chain(relays.handles()).collect();
        let accounts = Accounts::new(&all, &store.pauses(), &clock);
        let lanes = Lanes::new(&clock);
        let lookups = Lookups::new(&clock, &metrics);
        let budgets = Budgets::new(store.spendings());
        let (received, _) = broadcast::channel(RECEIVED_KEPT);
        Self {
            store,
            policy,
            clock,
            random,
            metrics,
            channels: watch::Sender::new(channels.into()),
            changes,
            received,
            bells: Bells::default(),
            flights: Flights::default(),
            accounts,
            lanes,
            lookups,
            tenants: Tenants::default(),
            guard: Guard::default(),
            templates: Templates::default(),
            budgets,
            relays,
            mailers: Mailers::default(),
            signing_key,
        }
    }

    /// The rules now in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Policy> {
        self.policy.borrow().clone()
    }

    /// Changes of status from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Messages from handsets from now on.
    #[must_use]
    pub fn listen_to_handsets(&self) -> broadcast::Receiver<Arc<Inbound>> {
        self.received.subscribe()
    }

    /// Withdraws a waiting message.
    ///
    /// # Errors
    /// `NotFound`, `TooLate`, or the store's own.
    pub async fn cancel(&self, tenant: &Tenant, id: MessageId) -> Result<Arc<Message>, StoreError> {
        let change = self.store.cancel(tenant, id, self.clock.now()).await?;
        self.publish(&change);
        Ok(change.message)
    }

    /// Messages that a channel has in hand.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// What a pending message waits for, as a stable code, and until when where that is known.
    #[must_use]
    pub fn why(&self, message: &Message) -> Option<(&'static str, Option<Timestamp>)> {
        match &message.state {
            State::Leased(_) => Some(("submitting", None)),
            State::Waiting { due_at, why } => {
                let (rules, now) = (self.rules(), self.clock.now());
                if *due_at > now {
                    // Its turn may come in shut hours.
                    let eta = rules.opening_of(message, *due_at);
                    let eta = Some(eta).filter(|eta| *eta < Timestamp::NEVER);
                    return Some((crate::store::why_code(why), eta));
                }
                let opening = rules.opening_of(message, now);
                if opening > now {
                    let eta = Some(opening).filter(|eta| *eta < Timestamp::NEVER);
                    return Some(("window", eta));
                }
                let holdup = match message.pinned_to() {
                    // What an account has begun that there is no more goes any way.
                    Some(account) if self.accounts.has(account) => {
                        let gates = [(account, self.accounts.gate(account, now))];
                        self.holdup_by(&message.lane, &rules, now, gates)
                    }
                    _ => self.holdup(&message.lane),
                };
                Some(holdup.unwrap_or(("queued", None)))
            }
            State::Submitted { .. } | State::Final(_) => None,
        }
    }

    /// What keeps a lane from sending what is due, as a stable code, and until when where that is
    /// known; `None` if nothing but the windows does.
    #[must_use]
    pub fn holdup(&self, lane: &Lane) -> Option<(&'static str, Option<Timestamp>)> {
        let (rules, now) = (self.rules(), self.clock.now());
        let accounts = self.way(lane, &rules, now).steps.iter().flatten();
        let gates = accounts.map(|account| (account, self.gate(account, &rules, now)));
        self.holdup_by(lane, &rules, now, gates)
    }

    /// How long a message that has been due for `due` could have left: shut hours do not count.
    #[must_use]
    pub fn could_have_left_for(&self, lane: &Lane, due: Duration) -> Duration {
        let (rules, now) = (self.rules(), self.clock.now());
        if rules.operator(&lane.operator).opening(now) > now {
            return Duration::ZERO;
        }
        let opened = self.lanes.opening(lane).filter(|opened| *opened <= now);
        opened.map_or(due, |opened| due.min(now.since(opened)))
    }

    /// What keeps messages of a lane from going out over these accounts, by their gates.
    fn holdup_by<'a>(
        &self,
        lane: &Lane,
        rules: &Policy,
        now: Timestamp,
        gates: impl IntoIterator<Item = (&'a Account, Gate)>,
    ) -> Option<(&'static str, Option<Timestamp>)> {
        let operator = rules.operator(&lane.operator);
        let opening = operator.opening(now);
        if opening > now {
            return Some(("window", Some(opening)));
        }
        let paced = || self.lanes.is_paced(lane, operator.rate, now);
        self.holdup_of(gates)
            .or_else(|| paced().then_some(("rate", None)))
    }

    /// What keeps all of these accounts from sending, by their gates: the reason of the one that may be
    /// free first.
    fn holdup_of<'a>(
        &self,
        accounts: impl IntoIterator<Item = (&'a Account, Gate)>,
    ) -> Option<(&'static str, Option<Timestamp>)> {
        let now = self.clock.now();
        let mut first: Option<(&'static str, Option<Timestamp>)> = None;
        for (account, gate) in accounts {
            let holdup = match gate {
                Gate::Shut(shut) => (shut.why, shut.until),
                Gate::HalfOpen => ("circuit_open", None),
                Gate::Open if self.accounts.is_paced(account, now) => {
                    if self.accounts.is_slowed(account, now) {
                        ("throttled", None)
                    } else {
                        ("rate", None)
                    }
                }
                Gate::Open => return None,
            };
            let until = |(_, until): (_, Option<Timestamp>)| until.unwrap_or(Timestamp::NEVER);
            if first.is_none_or(|first| until(holdup) < until(first)) {
                first = Some(holdup);
            }
        }
        Some(first.unwrap_or(("no_channel", None)))
    }

    /// Tells the world about a change: counters, live listeners, the outbox.
    pub(crate) fn publish(&self, change: &Change) {
        if change.transition.status_changed() {
            self.metrics.message(&change.message);
            journal::status(&change.message);
            self.bells.outbox.notify_one();
            // Nobody listening is no error.
            let _ = self.changes.send(change.clone());
        }
    }

    /// Counts a message that was accepted; one whose recipient has opted out is over already.
    fn accepted(&self, message: &Arc<Message>) {
        let to = message.status();
        if to == Status::Pending {
            self.metrics.message(message);
            journal::status(message);
            return;
        }
        let from = Status::Pending;
        self.publish(&Change {
            message: message.clone(),
            transition: Transition { from, to },
        });
    }

    /// Tells the world about what handsets sent.
    fn publish_received(&self, taken: TakenIn) {
        taken.failed.iter().for_each(|change| self.publish(change));
        for inbound in taken.received {
            journal::inbound(&inbound);
            self.bells.outbox.notify_one();
            let _ = self.received.send(inbound);
        }
    }
}

/// How the engine's tasks are told to stop: taking work and working are two things.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled first: nothing more is claimed.
    pub claiming: CancellationToken,
    /// Cancelled once what was under way has landed: deadlines and webhooks rest.
    pub working: CancellationToken,
}

/// Starts the engine's tasks. They end when told to, and the one that commits what channels report
/// when the last channel is gone.
pub fn run(engine: &Arc<Engine>, events: mpsc::Receiver<ChannelEvent>, stop: &Stop) -> JoinSet<()> {
    let mut tasks = run_without_webhooks(engine, events, stop);
    tasks.spawn(outbox::run(engine.clone(), stop.working.clone()));
    tasks
}

/// Like [`run`], but for whoever makes the deliveries of the outbox by other means: a simulation,
/// which has no network.
pub fn run_without_webhooks(
    engine: &Arc<Engine>,
    events: mpsc::Receiver<ChannelEvent>,
    stop: &Stop,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(traffic::run(engine.clone(), events));
    tasks.spawn(dispatcher::run(engine.clone(), stop.claiming.clone()));
    tasks.spawn(reaper::run(engine.clone(), stop.working.clone()));
    tasks.spawn(digests::run(engine.clone(), stop.claiming.clone()));
    tasks.spawn(channels::run(engine.clone(), stop.claiming.clone()));
    relay::start(engine, &mut tasks, &stop.claiming);
    tasks
}
