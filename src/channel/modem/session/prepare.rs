//! From an open port to a modem that can send, and the wait for a person where it takes one.

use std::time::Duration;

use tokio::time::sleep;

use super::super::at::{AtError, Command, News};
use super::super::choice::Reports;
use super::super::driver::HAND_UP_EVERY;
use super::super::send::Refusals;
use super::super::setup::{self, Ready, SetupError, Wishes};
use super::super::unsolicited::Unsolicited;
use super::{Break, End, Session, Step};
use crate::channel::ChannelStatus;

/// Set-ups in a row that may fail or be overtaken by a restart before the port is given up.
const SET_UPS: u32 = 3;

/// Between two looks whether a person has put right what only a person can.
const PERSON_CHECK: Duration = Duration::from_mins(1);

impl Session<'_> {
    /// Sets the modem up, until it is ready or given up.
    pub(super) async fn prepare(&mut self) -> Result<(), End> {
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

    pub(super) async fn wishes(&mut self) -> Result<Wishes, SetupError> {
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
    pub(super) async fn follow_registration(&mut self) -> Step {
        let command = Command::new("AT+CREG=1");
        match self.driver.away(self.at.command(&command)).await {
            None => Err(Break::End(End::Stopped)),
            Some(Err(error)) if error.is_lost() => Err(Break::End(self.lost(&error))),
            Some(_) => Ok(()),
        }
    }

    /// Takes note of a modem that is set up.
    pub(super) fn begin(&mut self, ready: Ready) {
        let now = self.driver.clock.elapsed();
        self.set_up_at = now;
        self.registration = ready.registration;
        self.check_at = now + self.check_every();
        self.kept.inbox.begin(&ready);
        let sim = ready.imsi.clone().or_else(|| ready.iccid.clone());
        if self.driver.word.borrow().sim != sim {
            // Another SIM: what the last one was refused says nothing about it.
            self.kept.refusals = Refusals::default();
            self.kept.service_centre = None;
            self.kept.validity = true;
        }
        let configured = self.driver.config.service_centre.as_ref();
        self.service_centre = configured.or(ready.service_centre.as_ref()).cloned();
        if configured.is_some() && configured != ready.service_centre.as_ref() {
            // The SIM names another one, or does not take ours.
            self.write_service_centre();
        }
        if self.kept.may_say("set up", now) {
            tracing::info!(
                channel = %self.driver.id,
                maker = ready.maker,
                model = ready.model,
                registration = ?ready.registration,
                reports = ?ready.reports(),
                "modem set up"
            );
        }
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
            word.storage_name = ready.memory.map(|store| store.name);
        });
        self.refresh();
    }

    /// Puts what the inbox knows into the word.
    pub(super) fn refresh(&mut self) {
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
    pub(super) async fn await_person(&mut self, error: &SetupError) -> Result<(), End> {
        let mut cause = error.to_string();
        if let (SetupError::PinRefused, Some(file)) = (error, &self.driver.config.pin_memory) {
            let file = file.display();
            cause.push_str(&format!(" unless it is changed, or {file} removed"));
        }
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
