//! What is done about silence, and how a session ends.

use std::fmt;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::super::at::AtError;
use super::super::driver::{Driver, LASTED};
use super::super::errors::Failure;
use super::{Asked, Break, End, LEAVE_WITHIN, Session, Step};
use crate::channel::ChannelStatus;

/// Longest wait, when stopping, for one more verdict of the engine, and for all of them with what
/// follows from them.
const LAST_VERDICT: Duration = Duration::from_millis(300);
const LAST_WORK: Duration = Duration::from_secs(3);

impl Session<'_> {
    /// Climbs the ladder: back into step, set-up, restart.
    pub(super) async fn trouble(&mut self, error: AtError, asked: Asked) -> Step {
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
    pub(super) async fn restart(&mut self, cause: String) -> End {
        // Its silence is no part of the good time that it had.
        let lasted = self.lasted(self.alive_at);
        self.kept.restarted &= !lasted;
        let restarts = !std::mem::replace(&mut self.kept.restarted, true);
        if restarts {
            if self.kept.may_say("restart", self.driver.clock.elapsed()) {
                tracing::warn!(channel = %self.driver.id, cause, "restarting the modem");
            }
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

    pub(super) fn lost(&self, error: &impl fmt::Display) -> End {
        End::Lost {
            cause: format!("{}: {error}", self.driver.config.device.display()),
            lasted: self.lasted(self.driver.clock.elapsed()),
            restarts: false,
        }
    }

    /// True if it took messages for a while until then.
    pub(super) fn lasted(&self, until: Duration) -> bool {
        self.up_since
            .is_some_and(|since| until.saturating_sub(since) >= LASTED)
    }

    /// Ends what is under way: the request in hand, the parts that belong to it, and what the engine
    /// has already taken of what lies on the SIM.
    pub(super) async fn leave(&mut self, end: End) -> Break {
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

    pub(super) async fn last_work(&mut self) {
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

/// Waits until the message under way has landed.
async fn home(window: &Semaphore) {
    // Nobody closes the window; if it were closed, nothing could be under way either.
    let _ = window.acquire().await;
}
