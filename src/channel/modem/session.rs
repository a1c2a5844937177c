//! One open port: the modem is set up, and then one task does all that is to be done with it.
//!
//! Requests, news, timers and verdicts are waited for at once; what follows from one is done to its
//! end before the next, as a modem does one thing at a time. A request ends with the one report about
//! it before anything is done for the modem's sake, so that the engine never waits for a modem to
//! recover. While no message can be sent the channel is down, and requests are returned.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::answer::Registration;
use super::at::{At, AtError, Command, News, Outgoing, Submission};
use super::balance::{self, UssdError};
use super::choice::{Reports, SimState};
use super::driver::{Driver, HAND_UP_EVERY, Kept, LASTED, why_unregistered};
use super::errors::{self, Failure, Remedy, Verdict};
use super::port::Stream;
use super::send;
use super::setup::{self, Ready, SetupError, Wishes};
use super::sort::Expect;
use super::unsolicited::Unsolicited;
use crate::channel::{ChannelEvent, ChannelStatus, SegmentOutcome, SubmitRequest};
use crate::domain::event::Rejection;
use crate::domain::message::{Doubt, Token};
use crate::domain::msisdn::Msisdn;
use crate::domain::sim;
use crate::pdu::address::Address;

/// A rest up to this length is waited out with the channel up; a longer one is shown.
const SHORT: Duration = Duration::from_secs(2);

/// Between two looks at a modem that is not registered.
const REGISTRATION_CHECK: Duration = Duration::from_secs(5);

/// Between two looks at a SIM that is busy, and how often before the modem is set up again.
const SIM_CHECK: (Duration, u32) = (Duration::from_secs(2), 30);

/// Between two looks whether a person has put right what only a person can.
const PERSON_CHECK: Duration = Duration::from_mins(1);

/// Longest wait, when stopping, for what is under way and for the parts that belong to it.
const LEAVE_WITHIN: Duration = Duration::from_secs(20);

/// Longest wait, when stopping, for one more verdict of the engine, and for all of them with what
/// follows from them.
const LAST_VERDICT: Duration = Duration::from_millis(300);
const LAST_WORK: Duration = Duration::from_secs(3);

/// Set-ups in a row that may fail or be overtaken by a restart before the port is given up.
const SET_UPS: u32 = 3;

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
                    tracing::warn!(channel = %self.driver.id, cause, "setting the modem up again");
                    self.driver.tell_of(|word| word.recoveries.set_up += 1);
                }
            }
        }
    }

    /// Sets the modem up, until it is ready or given up.
    async fn prepare(&mut self) -> Result<(), End> {
        self.driver.show(ChannelStatus::Connecting);
        self.sim_busy = None;
        let mut tries = 0;
        loop {
            tries += 1;
            let wishes = match self.wishes().await {
                Ok(wishes) => wishes,
                Err(error) => {
                    self.await_person(&error).await?;
                    continue;
                }
            };
            let result = self
                .driver
                .away(setup::set_up(&mut self.at, &wishes))
                .await
                .ok_or(End::Stopped)?;
            match result {
                Ok(ready) => {
                    self.follow_registration().await.map_err(ended)?;
                    let restarted = self.hear_all().await;
                    if restarted.is_err() && tries < SET_UPS {
                        continue;
                    }
                    self.begin(ready);
                    return Ok(());
                }
                Err(SetupError::At(error) | SetupError::PinUnanswered(error))
                    if error.is_lost() =>
                {
                    return Err(self.lost(&error));
                }
                Err(error) if error.needs_a_person() => {
                    self.await_person(&error).await?;
                    tries = 0;
                }
                // Three more questions would not wake it.
                Err(
                    error
                    @ (SetupError::At(AtError::TimedOut { .. }) | SetupError::NotReady { .. }),
                ) => {
                    return Err(self.restart(error.to_string()).await);
                }
                Err(error) if tries >= SET_UPS => {
                    return Err(self.restart(error.to_string()).await);
                }
                Err(error) => {
                    tracing::info!(channel = %self.driver.id, %error, "not set up yet");
                    // One that has just started, or is about to, may need a moment.
                    let pause = sleep(Duration::from_secs(u64::from(tries)));
                    self.driver.away(pause).await.ok_or(End::Stopped)?;
                }
            }
        }
    }

    async fn wishes(&mut self) -> Result<Wishes, SetupError> {
        let config = &self.driver.config;
        let tried = match &config.pin {
            Some(pin) => self.kept.pin.was_tried(pin).await,
            None => Ok(false),
        };
        Ok(Wishes {
            pin: config.pin.clone(),
            pin_refused_before: tried.map_err(SetupError::PinMemory)?,
            pin_memory: Some(self.kept.pin.clone()),
            service_centre: config.service_centre.clone(),
        })
    }

    /// Asks to be told when the registration changes; where that is refused, the check finds out.
    async fn follow_registration(&mut self) -> Step {
        let command = Command::new("AT+CREG=1");
        match self.driver.away(self.at.command(&command)).await {
            None => Err(Break::End(End::Stopped)),
            Some(Err(error)) if error.is_lost() => Err(Break::End(self.lost(&error))),
            Some(_) => Ok(()),
        }
    }

    /// Takes note of a modem that is set up.
    fn begin(&mut self, ready: Ready) {
        let now = self.driver.clock.elapsed();
        self.set_up_at = now;
        self.check_at = now + self.driver.config.check;
        self.registration = ready.registration;
        self.kept.inbox.begin(&ready);
        let sim = ready.imsi.clone().or_else(|| ready.iccid.clone());
        if self.driver.word.borrow().sim != sim {
            // Another SIM: what the last one was refused says nothing about it.
            self.kept.refusals = send::Refusals::default();
            self.kept.service_centre = None;
            self.kept.validity = true;
        }
        let configured = self.driver.config.service_centre.as_ref();
        self.service_centre = configured.or(ready.service_centre.as_ref()).cloned();
        if configured.is_some() && configured != ready.service_centre.as_ref() {
            // The SIM names another one, or does not take ours.
            self.write_service_centre();
        }
        tracing::info!(
            channel = %self.driver.id,
            maker = ready.maker,
            model = ready.model,
            registration = ?ready.registration,
            reports = ?ready.reports(),
            "modem set up"
        );
        let centre = self.service_centre.clone();
        let reports = match ready.reports() {
            Reports::Direct => "direct",
            Reports::Stored => "stored",
            Reports::None => "none",
        };
        self.kept.of_set_up = ready.notes;
        self.driver.tell_of(|word| {
            word.maker = ready.maker;
            word.model = ready.model;
            word.imei = ready.imei;
            word.sim = sim;
            word.service_centre = centre;
            word.operator = ready.operator;
            word.registration = Some(ready.registration);
            word.signal_dbm = ready.signal;
            word.reports = Some(reports);
            word.storage = ready.usage;
        });
        self.refresh();
    }

    /// Puts what the inbox knows into the word.
    fn refresh(&mut self) {
        let inbox = &self.kept.inbox;
        let (usage, theirs) = (inbox.usage(), inbox.notes());
        let ours = self.kept.of_set_up.iter().chain(&self.kept.notes).cloned();
        let notes: Vec<String> = ours.chain(theirs).collect();
        self.driver.tell_of(|word| {
            word.storage = usage.or(word.storage);
            word.notes = notes;
        });
    }

    /// Waits until there is hope that a person has put something right.
    async fn await_person(&mut self, error: &SetupError) -> Result<(), End> {
        let cause = error.to_string();
        self.kept.alarm(self.driver, &cause);
        self.driver.show(ChannelStatus::Down { cause });
        let wait = sleep(self.driver.config.check.max(PERSON_CHECK));
        tokio::pin!(wait);
        loop {
            let driver = &mut *self.driver;
            let said = tokio::select! {
                biased;
                () = driver.stop.cancelled() => return Err(End::Stopped),
                Ok(()) = driver.reset.changed() => return Err(End::Reset),
                Some(request) = driver.requests.recv() => {
                    self.driver.give_back(&request).await;
                    continue;
                }
                () = self.kept.inbox.verdict() => continue,
                said = self.at.next_news() => said,
                () = &mut wait => return Ok(()),
                () = sleep(HAND_UP_EVERY) => {
                    self.kept.inbox.hand_up_direct().await;
                    continue;
                }
            };
            match said {
                Err(error) => return Err(self.lost(&error)),
                Ok(News::Restarted(_) | News::Said(_, Unsolicited::Sim(_))) => return Ok(()),
                Ok(news) => {
                    self.kept.inbox.hear(&news).await;
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
        let unregistered = self.registration.is_registered() == Some(false);
        let every = if self.sim_busy.is_some() {
            SIM_CHECK.0
        } else if unregistered {
            REGISTRATION_CHECK.min(self.driver.config.check)
        } else {
            self.driver.config.check
        };
        self.check_at = now + every;
        match result {
            None | Some(Ok(())) => Ok(()),
            Some(Err(Checked::Wants(cause))) => Err(Break::SetUp(cause)),
            Some(Err(Checked::Failed(error))) => self.trouble(error, Asked::Else).await,
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
            Some(Err(UssdError::At(error))) if error.is_lost() => {
                return Err(Break::End(self.lost(&error)));
            }
            Some(Err(error)) => {
                tracing::debug!(channel = %self.driver.id, %error, "no answer about the balance");
                config.ussd_every.min(BALANCE_AGAIN)
            }
        };
        self.kept.balance_at = Some(now + next);
        Ok(())
    }

    /// Takes a request, or returns it if nothing can be sent.
    async fn take(&mut self, request: SubmitRequest) -> Step {
        self.had_turn = false;
        if self.why_down(self.driver.clock.elapsed()).is_some() {
            self.driver.give_back(&request).await;
            return Ok(());
        }
        self.send(request).await
    }

    async fn send(&mut self, request: SubmitRequest) -> Step {
        let since = self.driver.clock.elapsed();
        let centre = self.kept.service_centre.as_ref();
        let pdu = send::pdu(
            &request,
            self.driver.clock.now(),
            self.kept.validity,
            centre,
        );
        let (octets, length) = match pdu {
            Ok(pdu) => pdu,
            Err(error) => {
                let outcome = SegmentOutcome::Rejected(Rejection::Permanent(error.to_string()));
                self.report(&request, outcome, since).await;
                return Ok(());
            }
        };
        let (service_centre, tpdu) = octets.split_at(octets.len().saturating_sub(length));
        let pdu = Outgoing {
            service_centre,
            tpdu,
        };
        let Some(submission) = self.submit(pdu).await else {
            let outcome = SegmentOutcome::Unknown(Doubt::Timeout);
            self.report(&request, outcome, since).await;
            return Err(Break::End(End::Stopped));
        };
        match submission {
            Submission::Accepted { reference } => {
                self.unsent = 0;
                self.alive_at = self.driver.clock.elapsed();
                self.kept.refusals.accepted(request.token.message);
                let reference = sim::reference(&self.driver.sim(), request.to, reference);
                self.report(&request, SegmentOutcome::Accepted(reference), since)
                    .await;
                Ok(())
            }
            Submission::Refused(failure) => {
                self.unsent = 0;
                self.alive_at = self.driver.clock.elapsed();
                self.refused(&request, failure, since).await
            }
            Submission::Unsent(error) => {
                self.driver.give_back(&request).await;
                self.trouble(error, Asked::ToSend).await
            }
            Submission::Unknown(error) => {
                // What is told by now about an earlier one must not be taken for this one.
                let heard = self.hear_all().await;
                self.doubtful = Some(Doubtful {
                    token: request.token,
                    segment: request.segment,
                    to: request.to,
                    since,
                });
                tracing::warn!(
                    channel = %self.driver.id,
                    message_id = %request.token.message,
                    %error,
                    "a message was handed over, and nothing says whether it was sent"
                );
                let doubt = match error {
                    AtError::Closed | AtError::Port(_) => Doubt::Disconnected,
                    _ => Doubt::Timeout,
                };
                self.report(&request, SegmentOutcome::Unknown(doubt), since)
                    .await;
                heard?;
                self.trouble(error, Asked::ToSend).await
            }
        }
    }

    /// Hands a PDU over. `None`: we were told to stop, and it takes too long.
    async fn submit(&mut self, pdu: Outgoing<'_>) -> Option<Submission> {
        let Self {
            driver,
            at,
            leave_by,
            ..
        } = self;
        let submission = at.submit(pdu, driver.config.submit_timeout);
        tokio::pin!(submission);
        loop {
            let left = leave_by.map_or(Duration::MAX, |by| {
                by.saturating_sub(driver.clock.elapsed())
            });
            tokio::select! {
                biased;
                submission = &mut submission => return Some(submission),
                () = driver.stop.cancelled(), if leave_by.is_none() => {
                    // Counted from now on, whenever the answer comes.
                    driver.show(ChannelStatus::Draining);
                    *leave_by = Some(driver.clock.elapsed() + LEAVE_WITHIN);
                }
                () = sleep(left), if leave_by.is_some() => return None,
            }
        }
    }

    /// The modem or the network has refused a message.
    async fn refused(
        &mut self,
        request: &SubmitRequest,
        failure: Failure,
        since: Duration,
    ) -> Step {
        let message = request.token.message;
        let history = self.kept.refusals.refused(message, request.to, failure);
        let ruling = errors::ruling(failure, history);
        tracing::info!(
            channel = %self.driver.id,
            message_id = %message,
            %failure,
            remedy = ?ruling.remedy,
            "refused"
        );
        // The channel is down before the engine can hand over the next message.
        let now = self.driver.clock.elapsed();
        let step = self.remedy(ruling.remedy, failure, now);
        self.rest(ruling.pause, failure, now);
        self.show();
        let outcome = match ruling.verdict {
            Verdict::Rejected(rejection) => SegmentOutcome::Rejected(rejection),
            Verdict::AlreadySent => SegmentOutcome::Accepted(String::new()),
            Verdict::Doubt => SegmentOutcome::Unknown(Doubt::Timeout),
        };
        if step.is_err() || ruling.remedy == Remedy::Restart {
            self.driver.show(ChannelStatus::Down {
                cause: failure.to_string(),
            });
        }
        self.report(request, outcome, since).await;
        if ruling.remedy == Remedy::Restart {
            return Err(Break::End(self.restart(failure.to_string()).await));
        }
        step
    }

    /// Does about the modem what a refusal calls for.
    fn remedy(&mut self, remedy: Remedy, failure: Failure, now: Duration) -> Step {
        match remedy {
            // Which modem is the next one is for the route to say; this one rests meanwhile.
            Remedy::Nothing | Remedy::OtherModem | Remedy::Restart => {}
            Remedy::SetUpAgain | Remedy::EnterPin => {
                return Err(Break::SetUp(failure.to_string()));
            }
            Remedy::EmptyStore => self.kept.inbox.ask_for_sweep(),
            Remedy::AwaitRegistration => {
                self.registration = Registration::Searching;
                self.driver
                    .tell_of(|word| word.registration = Some(Registration::Searching));
                self.check_at = now + REGISTRATION_CHECK;
            }
            Remedy::AwaitSim => {
                self.sim_busy = Some(0);
                self.check_at = now + SIM_CHECK.0;
            }
            Remedy::SetServiceCentre => {
                if self.kept.service_centre.is_some() || !self.write_service_centre() {
                    let what = "set service_centre in the modem's configuration";
                    self.halt(format!("{failure}: {what}"));
                }
            }
            Remedy::WithoutValidity => {
                self.kept.validity = false;
                let note = format!("{failure}: messages are sent without TP-VP");
                self.kept.note(note);
                self.refresh();
            }
            Remedy::Stop => self.halt(failure.to_string()),
            Remedy::Alarm => {
                let cause = format!("the modem refuses our PDU: {failure}");
                self.kept.alarm(self.driver, &cause);
                self.kept.note(cause);
                self.refresh();
            }
        }
        Ok(())
    }

    /// From now on every PDU names the service centre. False if there is none to name.
    fn write_service_centre(&mut self) -> bool {
        let number = self.service_centre.as_deref();
        self.kept.service_centre = number.and_then(|number| Address::number(number).ok());
        self.kept.service_centre.is_some()
    }

    fn halt(&mut self, cause: String) {
        self.kept.alarm(self.driver, &cause);
        self.halted = Some(cause);
    }

    /// Rests before the next message.
    fn rest(&mut self, pause: Duration, failure: Failure, now: Duration) {
        if pause.is_zero() {
            return;
        }
        self.rests_until = now + pause;
        self.rests_for = (pause > SHORT).then(|| {
            let until = (self.driver.clock.now() + pause).rfc3339();
            format!("{failure}; the modem rests until {until}")
        });
    }

    /// Reports how a request ended.
    async fn report(&mut self, request: &SubmitRequest, outcome: SegmentOutcome, since: Duration) {
        self.report_on(request.token, request.segment, outcome, since)
            .await;
    }

    async fn report_on(
        &mut self,
        token: Token,
        segment: u16,
        outcome: SegmentOutcome,
        since: Duration,
    ) {
        let took = self.driver.clock.elapsed().saturating_sub(since);
        self.driver
            .tell(ChannelEvent::Segment {
                token,
                segment,
                outcome,
                took,
            })
            .await;
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

    async fn settle(&mut self, doubtful: &Doubtful, outcome: SegmentOutcome) {
        self.report_on(doubtful.token, doubtful.segment, outcome, doubtful.since)
            .await;
    }

    /// Climbs the ladder: back into step, set-up, restart.
    async fn trouble(&mut self, error: AtError, asked: Asked) -> Step {
        match &error {
            error if error.is_lost() => return Err(Break::End(self.lost(error))),
            AtError::Restarted(_) => {
                self.halted = None;
                return Err(Break::SetUp(error.to_string()));
            }
            // It has answered, and is in step.
            AtError::Refused { failure, .. } if *failure != Failure::NoCarrier => return Ok(()),
            _ => {}
        }
        let times = match asked {
            Asked::ToSend => &mut self.unsent,
            Asked::Else => &mut self.silent,
        };
        *times += 1;
        let times = *times;
        let cause = error.to_string();
        self.kept.log(self.driver, &cause);
        match times {
            1 => {
                self.driver
                    .tell_of(|word| word.recoveries.resynchronised += 1);
                self.driver.show(ChannelStatus::Down { cause });
                match self.driver.away(self.at.resynchronise()).await {
                    None => Err(Break::End(End::Stopped)),
                    Some(Ok(())) => self.hear_all().await,
                    Some(Err(error)) if error.is_lost() => Err(Break::End(self.lost(&error))),
                    Some(Err(error)) => {
                        self.hear_all().await?;
                        Err(Break::SetUp(error.to_string()))
                    }
                }
            }
            2 => Err(Break::SetUp(cause)),
            _ => Err(Break::End(self.restart(cause).await)),
        }
    }

    /// Restarts the modem, once between two good sessions, and gives the port up.
    async fn restart(&mut self, cause: String) -> End {
        // Its silence is no part of the good time that it had.
        let lasted = self.lasted(self.alive_at);
        self.kept.restarted &= !lasted;
        let restarts = !std::mem::replace(&mut self.kept.restarted, true);
        if restarts {
            tracing::warn!(channel = %self.driver.id, cause, "restarting the modem");
            self.driver.tell_of(|word| word.recoveries.restarted += 1);
            self.driver.show(ChannelStatus::Down {
                cause: format!("{cause}; the modem is being restarted"),
            });
            if self.driver.away(self.at.restart()).await.is_none() {
                return End::Stopped;
            }
            // A report may have come just before.
            let _ = self.hear_all().await;
        }
        End::Lost {
            cause,
            lasted,
            restarts,
        }
    }

    fn lost(&self, error: &impl fmt::Display) -> End {
        End::Lost {
            cause: format!("{}: {error}", self.driver.config.device.display()),
            lasted: self.lasted(self.driver.clock.elapsed()),
            restarts: false,
        }
    }

    /// True if it took messages for a while until then.
    fn lasted(&self, until: Duration) -> bool {
        self.up_since
            .is_some_and(|since| until.saturating_sub(since) >= LASTED)
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
                self.kept.log(self.driver, &cause);
                ChannelStatus::Down { cause }
            }
            None => {
                self.up_since.get_or_insert(now);
                self.kept.balance_at.get_or_insert(now + BALANCE_AFTER);
                ChannelStatus::Up
            }
        };
        self.driver.show(status);
    }

    /// Ends what is under way: the request in hand, the parts that belong to it, and what the engine
    /// has already taken of what lies on the SIM.
    async fn leave(&mut self, end: End) -> Break {
        // Said at once, so that nothing more is handed over only to be returned.
        self.driver.show(ChannelStatus::Draining);
        let by = self.driver.clock.elapsed() + LEAVE_WITHIN;
        let by = *self.leave_by.get_or_insert(by);
        loop {
            let left = by.saturating_sub(self.driver.clock.elapsed());
            let Driver {
                window, requests, ..
            } = &mut *self.driver;
            let request = tokio::select! {
                biased;
                Some(request) = requests.recv() => request,
                () = self.kept.inbox.verdict() => continue,
                () = home(window) => break,
                () = sleep(left) => break,
            };
            if let Err(why) = self.take(request).await {
                return match why {
                    Break::End(End::Lost { .. }) | Break::SetUp(_) => Break::End(end),
                    why => why,
                };
            }
        }
        let _ = timeout(LAST_WORK, self.last_work()).await;
        Break::End(end)
    }

    async fn last_work(&mut self) {
        loop {
            while self
                .kept
                .inbox
                .next_work()
                .is_some_and(|wait| wait.is_zero())
            {
                if self.kept.inbox.work(&mut self.at).await.is_err() {
                    return;
                }
            }
            if timeout(LAST_VERDICT, self.kept.inbox.verdict())
                .await
                .is_err()
            {
                return;
            }
        }
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

fn ended(why: Break) -> End {
    match why {
        Break::End(end) => end,
        Break::SetUp(cause) => End::Lost {
            cause,
            lasted: false,
            restarts: false,
        },
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

/// Waits until the message under way has landed.
async fn home(window: &Semaphore) {
    // Nobody closes the window; if it were closed, nothing could be under way either.
    let _ = window.acquire().await;
}
