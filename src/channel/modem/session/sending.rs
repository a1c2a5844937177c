//! One request: its PDU, what the modem says to it, and what follows for the modem.

use std::time::Duration;

use tokio::time::sleep;

use super::super::answer::Registration;
use super::super::at::{AtError, Outgoing, Submission};
use super::super::errors::{self, Failure, Remedy, Verdict};
use super::super::send;
use super::{
    Asked, Break, Doubtful, End, LEAVE_WITHIN, REGISTRATION_CHECK, SIM_CHECK, Session, Step,
};
use crate::channel::{ChannelEvent, ChannelStatus, SegmentOutcome, SubmitRequest};
use crate::domain::event::Rejection;
use crate::domain::message::{Doubt, Token};
use crate::domain::sim;
use crate::pdu::address::Address;

/// A rest up to this length is waited out with the channel up; a longer one is shown.
const SHORT: Duration = Duration::from_secs(2);

impl Session<'_> {
    /// Takes a request, or returns it if nothing can be sent.
    pub(super) async fn take(&mut self, request: SubmitRequest) -> Step {
        self.had_turn = false;
        if self.why_down(self.driver.clock.elapsed()).is_some() {
            self.driver.give_back(&request).await;
            return Ok(());
        }
        self.send(request).await
    }

    pub(super) async fn send(&mut self, request: SubmitRequest) -> Step {
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
    pub(super) async fn submit(&mut self, pdu: Outgoing<'_>) -> Option<Submission> {
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
    pub(super) async fn refused(
        &mut self,
        request: &SubmitRequest,
        failure: Failure,
        since: Duration,
    ) -> Step {
        let message = request.token.message;
        let history = self.kept.refusals.refused(message, request.to, failure);
        let ruling = errors::ruling(failure, history);
        tracing::debug!(
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
    pub(super) fn remedy(&mut self, remedy: Remedy, failure: Failure, now: Duration) -> Step {
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
    pub(super) fn write_service_centre(&mut self) -> bool {
        let number = self.service_centre.as_deref();
        self.kept.service_centre = number.and_then(|number| Address::number(number).ok());
        self.kept.service_centre.is_some()
    }

    pub(super) fn halt(&mut self, cause: String) {
        self.kept.alarm(self.driver, &cause);
        self.halted = Some(cause);
    }

    /// Rests before the next message.
    pub(super) fn rest(&mut self, pause: Duration, failure: Failure, now: Duration) {
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
    pub(super) async fn report(
        &mut self,
        request: &SubmitRequest,
        outcome: SegmentOutcome,
        since: Duration,
    ) {
        self.report_on(request.token, request.segment, outcome, since)
            .await;
    }

    pub(super) async fn report_on(
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

    pub(super) async fn settle(&mut self, doubtful: &Doubtful, outcome: SegmentOutcome) {
        self.report_on(doubtful.token, doubtful.segment, outcome, doubtful.since)
            .await;
    }
}
