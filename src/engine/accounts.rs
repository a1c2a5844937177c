//! What is known of each account now: its pace, how far its carrier slows it, its circuit breaker,
//! whether an operator has paused it, and which of its binds are up.
//!
//! From these follows one answer, the [`Gate`]: whether messages may go out over the account, and if
//! not, why, until when, and since when. The dispatcher acts on it, and `why` and `GET /v1/channels`
//! show it: nobody else decides. Nothing here survives the process but pauses, which the store keeps.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::circuit::{Circuit, Flow};
use super::pace::Pace;
use super::throttle::Throttle;
use crate::channel::limiter::Pacer;
use crate::channel::{ChannelHandle, ChannelStatus};
use crate::clock::Clock;
use crate::domain::id::{Account, ChannelId, MessageId};
use crate::domain::rate::Rate;
use crate::domain::time::Timestamp;
use crate::store::Pause;

/// Whether messages may go out over an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// They may.
    Open,
    /// One may, to see what becomes of it.
    HalfOpen,
    /// None may.
    Shut(Shut),
}

/// Why none may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shut {
    /// As a stable code.
    pub(super) why: &'static str,
    /// Until when, where that is known.
    pub(super) until: Option<Timestamp>,
    /// Since when; `None` where there is no hope that it passes in a moment.
    since: Option<Timestamp>,
}

impl Shut {
    /// Shut for this reason, without hope that it passes in a moment.
    pub(super) const fn without_hope(why: &'static str, until: Option<Timestamp>) -> Self {
        Self {
            why,
            until,
            since: None,
        }
    }

    /// The same without hope that it passes in a moment.
    pub(super) const fn hopeless(self) -> Self {
        Self {
            since: None,
            ..self
        }
    }

    /// When the next step of a route takes over, if it has been shut for `after` then.
    pub(super) fn given_up_at(&self, after: Duration) -> Timestamp {
        self.since
            .map_or(Timestamp::default(), |since| since + after)
    }
}

/// What a carrier's answer to one part of a message says about its account.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// Taken.
    Taken,
    /// Refused for its own sake: the carrier is well.
    Judged(String),
    /// Refused for now with this code, or left in doubt for this reason.
    Failed(String),
    /// The account cannot send.
    Refused(String),
    /// Too much: less is wished for.
    TooMuch(String),
}

/// One account as operators see it.
#[derive(Clone, Debug, Default)]
pub struct AccountView {
    /// Parts per second as configured; `None`: no limit.
    pub rate_configured: Option<f64>,
    /// Parts per second now; `None`: no limit.
    pub rate_now: Option<f64>,
    /// The carrier asked for less and is left alone until then.
    pub throttled_until: Option<Timestamp>,
    /// `closed`, `open` or `half_open`.
    pub circuit: &'static str,
    /// When an open circuit lets a message through.
    pub circuit_until: Option<Timestamp>,
    /// The last refusal or failure, and when.
    pub last_error: Option<(Timestamp, String)>,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Line {
    /// The pace of the configuration.
    configured: Rate,
    /// Keeps that rate, once there is one.
    pacer: Option<Pacer>,
    /// Keeps what the carrier's wishes leave of it.
    slowed: Pace,
    paced_until: Timestamp,
    throttle: Throttle,
    circuit: Circuit,
    /// The instant of the last loss of a link: what it leaves in doubt is one failure, not many.
    lost_at: Option<Timestamp>,
    paused_at: Option<Timestamp>,
    last_error: Option<(Timestamp, String)>,
    binds: BTreeMap<ChannelId, Bind>,
}

#[derive(Clone, Debug)]
struct Bind {
    handle: ChannelHandle,
    up: bool,
    since: Timestamp,
    paused_at: Option<Timestamp>,
    /// It takes nothing new for ever.
    draining: bool,
}

impl Bind {
    fn new(handle: &ChannelHandle, now: Timestamp) -> Self {
        Self {
            handle: handle.clone(),
            up: handle.status_now().is_up(),
            since: now,
            paused_at: None,
            draining: false,
        }
    }
}

/// Every account that has channels.
#[derive(Debug)]
pub(super) struct Accounts {
    lines: Mutex<BTreeMap<Account, Line>>,
    clock: Clock,
}

impl Accounts {
    /// The accounts of these channels, with what an operator has paused.
    pub(super) fn new(channels: &[ChannelHandle], pauses: &[Pause], clock: &Clock) -> Self {
        let accounts = Self {
            lines: Mutex::default(),
            clock: clock.clone(),
        };
        accounts.set(channels, || pauses.to_vec());
        accounts
    }

    /// These are the channels from now on. What is known of an account stays as long as one of its
    /// channels does; one whose channels are all new starts afresh.
    pub(super) fn set(&self, channels: &[ChannelHandle], pauses: impl FnOnce() -> Vec<Pause>) {
        let now = self.clock.now();
        let mut lines = self.lock();
        for line in lines.values_mut() {
            let stays = |bind: &Bind| channels.iter().any(|handle| handle.is(&bind.handle));
            line.binds.retain(|_, bind| stays(bind));
        }
        lines.retain(|_, line| !line.binds.is_empty());
        for handle in channels {
            let line = lines.entry(handle.account.clone()).or_default();
            let bind = line.binds.entry(handle.id.clone());
            bind.or_insert_with(|| Bind::new(handle, now));
        }
        // Looked at under the lock: what is resumed meanwhile is not paused again.
        for Pause { name, at } in pauses() {
            // One of a name that the configuration no longer has waits for it to come back.
            set_paused(&mut lines, &name, Some(at));
        }
    }

    /// The channels of these accounts take nothing new any more.
    pub(super) fn drain(&self, accounts: &[Account]) {
        let now = self.clock.now();
        let mut lines = self.lock();
        for account in accounts {
            let binds = lines.get_mut(account).map(|line| line.binds.values_mut());
            for bind in binds.into_iter().flatten() {
                bind.draining = true;
                if std::mem::take(&mut bind.up) {
                    bind.since = now;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Account, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at an account or changes it; `None` if there is none of this name.
    fn with<T>(&self, account: &Account, look: impl FnOnce(&mut Line) -> T) -> Option<T> {
        self.lock().get_mut(account).map(look)
    }

    /// Whether messages may go out over the account now. One that has no channel is shut for good.
    pub(super) fn gate(&self, account: &Account, now: Timestamp) -> Gate {
        let gone = Shut {
            why: "no_channel",
            until: None,
            since: None,
        };
        self.with(account, |line| line.gate(now))
            .unwrap_or(Gate::Shut(gone))
    }

    /// True if messages that have no other way may go out over the account, though it is or was just
    /// left alone: it has failed, but the carrier has not said that it cannot send.
    pub(super) fn may_go_on(&self, account: &Account, now: Timestamp) -> bool {
        let goes_on = self.with(account, |line| {
            !line.circuit.is_firm() && line.shut(now).is_none()
        });
        goes_on.unwrap_or_default()
    }

    /// True if the bind takes messages: it is up, and neither paused nor draining.
    pub(super) fn takes(&self, channel: &ChannelHandle) -> bool {
        let takes = self.with(&channel.account, |line| {
            line.bind(channel)
                .is_some_and(|bind| !bind.draining && bind.paused_at.is_none())
        });
        takes.unwrap_or_default() && channel.status_now().is_up()
    }

    /// True if the account has channels at all.
    pub(super) fn has(&self, account: &Account) -> bool {
        self.lock().contains_key(account)
    }

    /// A message goes out over a half-open account.
    pub(super) fn probe(&self, account: &Account, now: Timestamp) {
        self.with(account, |line| line.circuit.probe(now));
    }

    /// A message came back that was not sent.
    pub(super) fn returned(&self, account: &Account) {
        self.with(account, |line| line.circuit.unjudged());
    }

    /// Takes the place of one part in the pace of the account, whose rate is `configured`.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub(super) fn pay(&self, account: &Account, configured: Rate) -> Result<(), Duration> {
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        let paid = self.with(account, |line| {
            line.configure(configured, &self.clock);
            line.slowed.set_rate(line.throttle.limit(), elapsed);
            let paid = line.pay(elapsed);
            if let Err(wait) = paid {
                line.paced_until = now + wait;
            }
            paid
        });
        paid.unwrap_or(Ok(()))
    }

    /// Settles what was paid in advance: places that were not used, and parts beyond the first.
    pub(super) fn settle(&self, account: &Account, unused: usize, more: usize) {
        self.with(account, |line| {
            line.slowed.refund(unused);
            line.slowed.charge(more);
            if let Some(pacer) = &mut line.pacer {
                pacer.refund(unused);
                pacer.charge(more);
            }
        });
    }

    /// True if the account's pace is used up for now.
    pub(super) fn is_paced(&self, account: &Account, now: Timestamp) -> bool {
        self.with(account, |line| line.paced_until > now)
            .unwrap_or_default()
    }

    /// True while the carrier slows the account, and for some minutes afterwards.
    pub(super) fn is_slowed(&self, account: &Account, now: Timestamp) -> bool {
        self.with(account, |line| line.throttle.is_slowed(now))
            .unwrap_or_default()
    }

    /// The carrier answered a part of `message`, or will not, `took` after it was sent.
    pub(super) fn answered(
        &self,
        account: &Account,
        message: MessageId,
        answer: &Answer,
        took: Duration,
        chance: f64,
    ) {
        let now = self.clock.now();
        let sent_at = now - took;
        self.with(account, |line| {
            line.answered(account, message, answer, sent_at, now, chance);
        });
    }

    /// The link was lost with parts of messages unanswered: one failure, whatever their number.
    pub(super) fn lost(&self, account: &Account, message: MessageId, took: Duration) {
        let now = self.clock.now();
        let first = self.with(account, |line| line.lost_at.replace(now) != Some(now));
        if first == Some(true) {
            let failed = Answer::Failed("disconnected".to_owned());
            self.answered(account, message, &failed, took, 0.0);
        }
    }

    /// A channel is in another state.
    pub(super) fn status(&self, channel: &ChannelHandle, status: &ChannelStatus) {
        let now = self.clock.now();
        self.with(&channel.account, |line| {
            let Some(bind) = line.bind(channel) else {
                return;
            };
            let up = status.is_up() && !bind.draining;
            if bind.up != up {
                bind.up = up;
                bind.since = now;
            }
            if let ChannelStatus::Down { cause } = status {
                line.last_error = Some((now, cause.clone()));
            }
        });
    }

    /// Since when a channel is up, or not up, and since when it is paused.
    pub(super) fn bind(&self, channel: &ChannelHandle) -> (Timestamp, Option<Timestamp>) {
        let bind = self.with(&channel.account, |line| {
            line.bind(channel).map(|bind| (bind.since, bind.paused_at))
        });
        bind.flatten().unwrap_or_default()
    }

    /// Pauses or resumes an account, or one of its binds; false if there is none of this name.
    pub(super) fn set_paused(&self, name: &str, paused_at: Option<Timestamp>) -> bool {
        set_paused(&mut self.lock(), name, paused_at)
    }

    /// Forgets what the carrier's answers have taught: wishes and failures.
    pub(super) fn forget(&self, account: &Account) {
        self.with(account, |line| {
            line.throttle = Throttle::default();
            line.circuit = Circuit::default();
            line.last_error = None;
        });
    }

    /// What operators see of an account, whose rate is `configured`.
    pub(super) fn view(&self, account: &Account, configured: Rate) -> AccountView {
        let now = self.clock.now();
        let view = self.with(account, |line| {
            line.configure(configured, &self.clock);
            let (circuit, circuit_until) = match line.circuit.flow(now) {
                Flow::Closed => ("closed", None),
                Flow::Open(until) => ("open", Some(until)),
                Flow::HalfOpen => ("half_open", None),
            };
            AccountView {
                rate_configured: line.configured(),
                rate_now: line.rate(),
                throttled_until: line.throttle.paused(now).map(|(until, _)| until),
                circuit,
                circuit_until,
                last_error: line.last_error.clone(),
                paused_at: line.paused_at,
            }
        });
        view.unwrap_or_default()
    }
}

/// False if there is neither an account nor a bind of this name.
fn set_paused(
    lines: &mut BTreeMap<Account, Line>,
    name: &str,
    paused_at: Option<Timestamp>,
) -> bool {
    if let Some(line) = lines.get_mut(&Account::from(name)) {
        line.paused_at = paused_at;
        return true;
    }
    let id = ChannelId::from(name);
    let bind = lines.values_mut().find_map(|line| line.binds.get_mut(&id));
    match bind {
        Some(bind) => {
            bind.paused_at = paused_at;
            true
        }
        None => false,
    }
}

impl Line {
    /// What is known of this connection, and not of one that had its name before.
    fn bind(&mut self, channel: &ChannelHandle) -> Option<&mut Bind> {
        let bind = self.binds.get_mut(&channel.id);
        bind.filter(|bind| bind.handle.is(channel))
    }

    fn gate(&self, now: Timestamp) -> Gate {
        let shut = self.shut(now);
        match (shut, self.circuit.flow(now)) {
            (Some(shut), Flow::Closed | Flow::HalfOpen) => Gate::Shut(shut),
            (Some(shut), Flow::Open(_)) if shut.why != "throttled" => Gate::Shut(shut),
            (_, Flow::Open(until)) => Gate::Shut(Shut {
                why: "circuit_open",
                until: Some(until),
                since: None,
            }),
            (None, Flow::HalfOpen) => Gate::HalfOpen,
            (None, Flow::Closed) => Gate::Open,
        }
    }

    /// What keeps messages from going out, whatever the circuit says.
    fn shut(&self, now: Timestamp) -> Option<Shut> {
        let shut = |why, until, since| Some(Shut { why, until, since });
        if self.paused_at.is_some() {
            return shut("paused", None, None);
        }
        let mut up = self.binds.values().filter(|bind| bind.up).peekable();
        if up.peek().is_none() {
            let down_since = self.binds.values().map(|bind| bind.since).max();
            return shut("no_channel", None, down_since);
        }
        if up.all(|bind| bind.paused_at.is_some()) {
            return shut("paused", None, None);
        }
        let (until, since) = self.throttle.paused(now)?;
        shut("throttled", Some(until), Some(since))
    }

    /// The configured rate may change while the process runs.
    fn configure(&mut self, rate: Rate, clock: &Clock) {
        if rate != self.configured {
            self.configured = rate;
            self.pacer = rate.interval().map(|_| Pacer::new(rate, clock));
        }
    }

    /// Parts per second by the configuration; `None`: no limit.
    fn configured(&self) -> Option<f64> {
        self.configured.parts_per_second()
    }

    /// Pays for one part by the configured pace, and by the slower one that the carrier wishes.
    fn pay(&mut self, elapsed: Duration) -> Result<(), Duration> {
        self.slowed.pay(elapsed)?;
        let paid = self.pacer.as_mut().map_or(Ok(()), Pacer::pay);
        if paid.is_err() {
            self.slowed.refund(1);
        }
        paid
    }

    /// The slower of the configured pace and the one that the carrier's wishes leave.
    fn rate(&self) -> Option<f64> {
        match (self.configured(), self.throttle.limit()) {
            (Some(configured), Some(limit)) => Some(configured.min(limit)),
            (configured, limit) => configured.or(limit),
        }
    }

    fn answered(
        &mut self,
        account: &Account,
        message: MessageId,
        answer: &Answer,
        sent_at: Timestamp,
        now: Timestamp,
        chance: f64,
    ) {
        let mut rests = None;
        match answer {
            Answer::Taken => self.throttle.took(self.configured(), sent_at, now),
            Answer::Failed(_) => rests = self.circuit.failed(message, sent_at, now),
            Answer::Refused(_) => rests = self.circuit.refused(sent_at, now),
            Answer::TooMuch(_) => {
                self.circuit.unjudged();
                if let Some(pause) = self.throttle.wish(self.configured(), sent_at, now, chance) {
                    let rate = self.throttle.limit();
                    tracing::warn!(%account, pause_ms = pause.as_millis(), rate, "carrier_throttles");
                }
            }
            Answer::Judged(_) => {}
        }
        if matches!(answer, Answer::Taken | Answer::Judged(_)) && self.circuit.succeeded(sent_at) {
            tracing::info!(%account, "circuit_closed");
        }
        if let Some(rest) = rests {
            tracing::warn!(%account, rest_s = rest.as_secs(), ?answer, "circuit_open");
        }
        match answer {
            Answer::Taken => {}
            Answer::Judged(code)
            | Answer::Failed(code)
            | Answer::Refused(code)
            | Answer::TooMuch(code) => self.last_error = Some((now, code.clone())),
        }
    }
}
