//! One open port: the modem is set up, and then one task does all that is to be done with it.
//!
//! Requests, news, timers and verdicts are waited for at once; what follows from one is done to its
//! end before the next, as a modem does one thing at a time. A request ends with the one report about
//! it before anything is done for the modem's sake, so that the engine never waits for a modem to
//! recover. While no message can be sent the channel is down, and requests are returned.

use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::answer::Registration;
use super::at::{At, AtError, Command, News};
use super::balance;
use super::choice::SimState;
use super::driver::{Driver, Kept, why_unregistered};
use super::errors::{self, Failure, Verdict};
use super::port::Stream;
use super::setup;
use super::sort::{Expect, PROBE};
use super::unsolicited::Unsolicited;
use crate::channel::{ChannelStatus, SegmentOutcome, SubmitRequest};
use crate::domain::message::Token;
use crate::domain::msisdn::Msisdn;
use crate::domain::sim;

mod ending;
mod prepare;
mod sending;

/// Between two looks at a modem that is not registered.
const REGISTRATION_CHECK: Duration = Duration::from_secs(5);

/// Between two looks at a SIM that is busy, and how often before the modem is set up again.
const SIM_CHECK: (Duration, u32) = (Duration::from_secs(2), 30);

/// Longest wait, when stopping, for what is under way and for the parts that belong to it.
const LEAVE_WITHIN: Duration = Duration::from_secs(30);

/// From being up to the first question for the balance; from a question without answer to the next;
/// and the longest wait for an answer.
const BALANCE_AFTER: Duration = Duration::from_mins(1);
const BALANCE_AGAIN: Duration = Duration::from_hours(1);
const BALANCE_WITHIN: Duration = Duration::from_mins(1);

/// A set-up because of one damaged line helps once, not each time.
const DAMAGE_EVERY: Duration = Duration::from_mins(1);

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// We were told to stop.
    Stopped,
    /// We were told to begin anew.
    Reset,
    /// For this reason.
    Lost {
        cause: String,
        /// It took messages for a while.
        lasted: bool,
        /// It was told to restart.
        restarts: bool,
    },
}

/// Why the modem cannot go on as it is.
enum Break {
    /// It needs its set-up.
    SetUp(String),
    End(End),
}

type Step = Result<(), Break>;

/// Which silences are counted: what ends the one does not end the other.
#[derive(Clone, Copy)]
enum Asked {
    ToSend,
    Else,
}

/// The last message of which nobody knows whether it was sent.
struct Doubtful {
    token: Token,
    segment: u16,
    to: Msisdn,
    since: Duration,
}

pub(super) struct Session<'a> {
    driver: &'a mut Driver,
    kept: &'a mut Kept,
    at: At<Box<dyn Stream>>,
    /// Since when it takes messages.
    up_since: Option<Duration>,
    /// When it last answered something that it is there for.
    alive_at: Duration,
    registration: Registration,
    /// Why a person must come before anything more is sent.
    halted: Option<String>,
    /// Nothing is sent until then, and why, if the channel is down for it.
    rests_until: Duration,
    rests_for: Option<String>,
    /// How often the SIM was still busy.
    sim_busy: Option<u32>,
    check_at: Duration,
    set_up_at: Duration,
    service_centre: Option<String>,
    /// Silences in a row.
    unsent: u32,
    silent: u32,
    doubtful: Option<Doubtful>,
    /// True if the inbox had its turn since the last request.
    had_turn: bool,
    /// When leaving: until when.
    leave_by: Option<Duration>,
}

/// What happened.
enum Happened {
    Stopped,
    Reset,
    Verdict,
    Asked(SubmitRequest),
    Said(News),
    Failed(AtError),
    Time,
}

impl<'a> Session<'a> {
    pub(super) fn new(stream: Box<dyn Stream>, driver: &'a mut Driver, kept: &'a mut Kept) -> Self {
        let mut at = At::new(stream);
        at.set_rest(driver.config.rest);
        Self {
            driver,
            kept,
            at,
            up_since: None,
            alive_at: Duration::ZERO,
            registration: Registration::Unknown,
            halted: None,
            rests_until: Duration::ZERO,
            rests_for: None,
            sim_busy: None,
            check_at: Duration::ZERO,
            set_up_at: Duration::ZERO,
            service_centre: None,
            unsent: 0,
            silent: 0,
            doubtful: None,
            had_turn: false,
            leave_by: None,
        }
    }

    /// Runs until the session is over. What was under way has been reported then.
    pub(super) async fn run(mut self) -> End {
        loop {
            if let Err(end) = self.prepare().await {
                return end;
            }
            match self.serve().await {
                Break::End(end) => return end,
                Break::SetUp(cause) => {
                    self.kept.log(self.driver, &cause);
                    self.driver.tell_of(|word| word.recoveries.set_up += 1);
                }
            }
        }
    }

    /// Serves until something else is needed.
    async fn serve(&mut self) -> Break {
        loop {
            self.show();
            let step = match self.happens().await {
                Happened::Stopped => return self.leave(End::Stopped).await,
                Happened::Reset => return self.leave(End::Reset).await,
                Happened::Verdict => Ok(()),
                Happened::Asked(request) => self.take(request).await,
                Happened::Said(news) => self.hear(news).await,
                Happened::Failed(error) => Err(Break::End(self.lost(&error))),
                Happened::Time => self.work().await,
            };
            if let Err(why) = step {
                return why;
            }
        }
    }

    /// The next thing that happens.
    async fn happens(&mut self) -> Happened {
        if let Some(news) = self.at.take_news() {
            return Happened::Said(news);
        }
        let now = self.driver.clock.elapsed();
        let wait = self.next_due(now);
        if wait.is_zero() && !self.had_turn {
            return Happened::Time;
        }
        let may_send = self.leave_by.is_some() || self.rests_until <= now || !self.is_up(now);
        let Driver {
            stop,
            reset,
            requests,
            ..
        } = &mut *self.driver;
        tokio::select! {
            biased;
            () = stop.cancelled() => Happened::Stopped,
            Ok(()) = reset.changed() => Happened::Reset,
            () = self.kept.inbox.verdict() => Happened::Verdict,
            Some(request) = requests.recv(), if may_send => Happened::Asked(request),
            said = self.at.next_news() => said.map_or_else(Happened::Failed, Happened::Said),
            () = sleep(wait) => Happened::Time,
        }
    }

    /// How long until there is something to do.
    fn next_due(&self, now: Duration) -> Duration {
        let rests = (self.rests_until > now).then_some(self.rests_until);
        let balance = self.balance_due().filter(|_| self.is_up(now));
        let at = [Some(self.check_at), rests, balance];
        let soonest = at.into_iter().flatten().min().unwrap_or(Duration::MAX);
        let wait = soonest.saturating_sub(now);
        self.kept
            .inbox
            .next_work()
            .map_or(wait, |work| work.min(wait))
    }

    fn balance_due(&self) -> Option<Duration> {
        self.driver.config.ussd_balance.as_ref()?;
        self.kept.balance_at
    }

    /// Does the first thing that is due.
    async fn work(&mut self) -> Step {
        let now = self.driver.clock.elapsed();
        self.had_turn = true;
        if self.check_at <= now {
            return self.check().await;
        }
        if self
            .kept
            .inbox
            .next_work()
            .is_some_and(|wait| wait.is_zero())
        {
            let work = self.kept.inbox.work(&mut self.at);
            let result = unless(&self.driver.stop, work).await;
            self.refresh();
            return match result {
                // What remains is done when leaving.
                None | Some(Ok(())) => Ok(()),
                Some(Err(error)) => self.trouble(error, Asked::Else).await,
            };
        }
        if self.is_up(now) && self.balance_due().is_some_and(|at| at <= now) {
            return self.ask_balance(now).await;
        }
        Ok(())
    }

    /// Asks for registration and signal, which also shows that the modem lives.
    async fn check(&mut self) -> Step {
        let stop = self.driver.stop.clone();
        let result = unless(&stop, self.check_air()).await;
        let now = self.driver.clock.elapsed();
        self.check_at = now + self.check_every();
        match result {
            None | Some(Ok(())) => Ok(()),
            Some(Err(Checked::Wants(cause))) => Err(Break::SetUp(cause)),
            Some(Err(Checked::Failed(error))) => self.trouble(error, Asked::Else).await,
        }
    }

    /// From one look at the modem to the next: soon, while something is awaited.
    fn check_every(&self) -> Duration {
        let usual = self.driver.config.check;
        if self.sim_busy.is_some() {
            SIM_CHECK.0
        } else if self.registration.is_registered() == Some(false) {
            REGISTRATION_CHECK.min(usual)
        } else {
            usual
        }
    }

    async fn check_air(&mut self) -> Result<(), Checked> {
        if let Some(times) = self.sim_busy {
            match self.sim_state().await? {
                Some(SimState::Ready) => self.sim_busy = None,
                None if times < SIM_CHECK.1 => {
                    self.sim_busy = Some(times + 1);
                    return Ok(());
                }
                _ => return Err(Checked::Wants("the SIM is not ready".to_owned())),
            }
        }
        // The questions below may go without an answer; this one may not.
        self.at.command(&Command::new(PROBE)).await?;
        let air = setup::ask_air(&mut self.at).await?;
        self.silent = 0;
        self.alive_at = self.driver.clock.elapsed();
        self.registration = air.registration;
        self.driver.tell_of(|word| {
            word.registration = Some(air.registration);
            word.signal_dbm = air.signal;
            word.operator = air.operator.or(word.operator.take());
        });
        Ok(())
    }

    /// The state of the SIM; `None`: busy.
    async fn sim_state(&mut self) -> Result<Option<SimState>, Checked> {
        let question = Command::new("AT+CPIN?")
            .expecting(Expect::Named("+CPIN"))
            .settling_after(Duration::from_secs(1));
        match self.at.command(&question).await {
            Ok(entries) => {
                Ok(Some(entries.first().map_or(SimState::Ready, |entry| {
                    SimState::read(&entry.line)
                })))
            }
            Err(error) if error.failure().is_some_and(Failure::is_busy) => Ok(None),
            Err(AtError::Refused { failure, .. }) => {
                Err(Checked::Wants(format!("the SIM says {failure}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn ask_balance(&mut self, now: Duration) -> Step {
        let config = self.driver.config.clone();
        let Some(code) = &config.ussd_balance else {
            return Ok(());
        };
        let asked = balance::ask(&mut self.at, code, BALANCE_WITHIN);
        let next = match unless(&self.driver.stop, asked).await {
            None => return Ok(()),
            Some(Ok(text)) => {
                let at = self.driver.clock.now();
                self.driver.tell_of(|word| word.balance = Some((text, at)));
                config.ussd_every
            }
            Some(Err(error)) if error.is_lost() => return Err(Break::End(self.lost(&error))),
            Some(Err(error)) => {
                tracing::debug!(channel = %self.driver.id, %error, "no answer about the balance");
                config.ussd_every.min(BALANCE_AGAIN)
            }
        };
        self.kept.balance_at = Some(now + next);
        Ok(())
    }

    /// Takes what the modem has said until now.
    async fn hear_all(&mut self) -> Step {
        let mut step = Ok(());
        while let Some(news) = self.at.take_news() {
            // The rest may hold a report that exists nowhere else.
            let heard = self.hear(news).await;
            step = step.and(heard);
        }
        step
    }

    async fn hear(&mut self, news: News) -> Step {
        self.kept.inbox.hear(&news).await;
        match news {
            News::Restarted(sign) => {
                self.halted = None;
                Err(Break::SetUp(format!("the modem has restarted ({sign:?})")))
            }
            News::LateAccepted { reference } => {
                if let Some(doubtful) = self.doubtful.take() {
                    let name = sim::reference(&self.driver.sim(), doubtful.to, reference);
                    self.settle(&doubtful, SegmentOutcome::Accepted(name)).await;
                }
                Ok(())
            }
            News::LateRefused(failure) => {
                if let Some(doubtful) = self.doubtful.take() {
                    let message = doubtful.token.message;
                    let history = self.kept.refusals.refused(message, doubtful.to, failure);
                    match errors::ruling(failure, history).verdict {
                        Verdict::Rejected(rejection) => {
                            self.settle(&doubtful, SegmentOutcome::RefusedLate(rejection))
                                .await;
                        }
                        Verdict::AlreadySent => {
                            self.settle(&doubtful, SegmentOutcome::Accepted(String::new()))
                                .await;
                        }
                        Verdict::Doubt => {}
                    }
                }
                Ok(())
            }
            News::Said(_, Unsolicited::Registration { circuit, state }) => {
                // The packet domain alone may be lost, or be all there is.
                if circuit || state.is_registered() == Some(true) {
                    self.registration = state;
                    self.driver.tell_of(|word| word.registration = Some(state));
                }
                if state.is_registered() == Some(false) {
                    let now = self.driver.clock.elapsed();
                    self.check_at = self.check_at.min(now + REGISTRATION_CHECK);
                }
                Ok(())
            }
            News::Said(_, Unsolicited::Sim(state)) => self.sim_says(&state),
            News::Said(_, Unsolicited::Damaged) => {
                let now = self.driver.clock.elapsed();
                if now.saturating_sub(self.set_up_at) < DAMAGE_EVERY {
                    return Ok(());
                }
                Err(Break::SetUp("it may have left PDU mode".to_owned()))
            }
            News::Said(..) | News::TooLong => Ok(()),
        }
    }

    /// `+CPIN` unasked: after a start, or because somebody has changed the SIM.
    fn sim_says(&mut self, state: &str) -> Step {
        let waits = self.halted.is_some() || self.sim_busy.is_some();
        match SimState::read(&format!("+CPIN: {state}")) {
            SimState::Ready if !waits => Ok(()),
            _ => {
                self.halted = None;
                Err(Break::SetUp(format!("the SIM says {state}")))
            }
        }
    }

    fn is_up(&self, now: Duration) -> bool {
        self.why_down(now).is_none()
    }

    /// Why no message can be sent now, in words for people.
    fn why_down(&self, now: Duration) -> Option<String> {
        if let Some(cause) = &self.halted {
            return Some(format!("stopped: {cause}; reset it when mended"));
        }
        if self.sim_busy.is_some() {
            return Some("the SIM is busy".to_owned());
        }
        if let Some(cause) = why_unregistered(self.registration) {
            return Some(cause.to_owned());
        }
        self.rests_for.clone().filter(|_| self.rests_until > now)
    }

    /// Shows whether messages can be sent.
    fn show(&mut self) {
        if self.leave_by.is_some() {
            return;
        }
        let now = self.driver.clock.elapsed();
        let status = match self.why_down(now) {
            Some(cause) => {
                let status = ChannelStatus::Down { cause };
                if let ChannelStatus::Down { cause } = &status
                    && *self.driver.status.borrow() != status
                {
                    self.kept.log(self.driver, cause);
                }
                status
            }
            None => {
                self.up_since.get_or_insert(now);
                self.kept.balance_at.get_or_insert(now + BALANCE_AFTER);
                ChannelStatus::Up
            }
        };
        self.driver.show(status);
    }
}

/// What a check has found.
enum Checked {
    Failed(AtError),
    Wants(String),
}

impl From<AtError> for Checked {
    fn from(error: AtError) -> Self {
        Self::Failed(error)
    }
}

/// Runs to its end unless we are stopped first.
async fn unless<F: Future>(stop: &CancellationToken, work: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        output = work => Some(output),
    }
}
