//! The task of one channel: bind, run the session, and again, until stopped.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::SmppConfig;
use super::bind::{self, BindError, Connector};
use super::session::{End, Session};
use crate::channel::{ChannelEvent, ChannelStatus, PeerWord, SubmitRequest};
use crate::clock::{Clock, Random};
use crate::domain::id::ChannelId;

/// Shortest wait after the SMSC refused a bind: it has seen us, and more haste does not help.
const REFUSED_WAIT: Duration = Duration::from_secs(10);

/// Wait after the SMSC refused our credentials, and the longest: it doubles each time. An account that
/// is tried more often is locked by many an SMSC, and what is wrong takes a person to put right.
const CREDENTIALS_WAIT: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(15));

/// How often a bind that keeps failing for the same reason is logged: an outage of days must not fill
/// a disk.
const SAID_AGAIN: Duration = Duration::from_mins(10);

/// A session that lived this long was a good one: the next wait is the shortest again.
const LASTED: Duration = Duration::from_secs(10);

pub(super) struct Driver {
    pub(super) id: ChannelId,
    pub(super) config: Arc<SmppConfig>,
    /// Wait before the first connection: the binds of an account start one after another, because
    /// an SMSC that counts or paces binds may refuse those that come at the same instant.
    pub(super) start_after: Duration,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) events: mpsc::Sender<ChannelEvent>,
    /// One permit a message under way: all of them are home once every message has landed.
    pub(super) window: Arc<Semaphore>,
    pub(super) window_size: usize,
    pub(super) inbox: mpsc::Receiver<SubmitRequest>,
    pub(super) status: watch::Sender<ChannelStatus>,
    pub(super) peer: watch::Sender<PeerWord>,
    /// Changes when an operator wants it bound anew.
    pub(super) reset: watch::Receiver<()>,
    pub(super) stop: CancellationToken,
}

impl Driver {
    pub(super) async fn run(mut self) {
        let (mut failures, mut denials) = (0, 0);
        let mut said = None;
        if !self.start_after.is_zero() {
            let wait = tokio::time::sleep(self.start_after);
            // `None` says that we are stopped, which is what the loop asks as well.
            let _ = self.away(wait).await;
        }
        while !self.stop.is_cancelled() {
            self.status.send_replace(ChannelStatus::Connecting);
            let (connector, config, clock) = (
                self.connector.clone(),
                self.config.clone(),
                self.clock.clone(),
            );
            let Some(bound) = self.away(bind::bind(&connector, &config, &clock)).await else {
                break;
            };
            let (cause, wait) = match bound {
                Ok(bound) => {
                    denials = 0;
                    said = None;
                    self.note(bound.peer);
                    self.reset.mark_unchanged();
                    self.status.send_replace(ChannelStatus::Up);
                    let since = self.clock.elapsed();
                    let end = Session::new(bound, &mut self).run().await;
                    if self.clock.elapsed().saturating_sub(since) >= LASTED {
                        failures = 0;
                    }
                    match end {
                        End::Stopped => break,
                        End::Reset => {
                            tracing::info!(channel = %self.id, "reset");
                            failures = 0;
                            continue;
                        }
                        End::Lost(cause) => {
                            tracing::warn!(channel = %self.id, cause, "session lost");
                            (cause, self.spread(self.backoff(failures)))
                        }
                    }
                }
                Err(error) => {
                    self.log(&error, &mut said);
                    let wait = match &error {
                        error if error.needs_a_person() => {
                            let (least, most) = CREDENTIALS_WAIT;
                            let doubled = least.saturating_mul(2_u32.saturating_pow(denials));
                            denials = denials.saturating_add(1);
                            self.lengthen(doubled.min(most))
                        }
                        error if error.is_refusal() => {
                            self.lengthen(self.backoff(failures).max(REFUSED_WAIT))
                        }
                        _ => self.spread(self.backoff(failures)),
                    };
                    (error.to_string(), wait)
                }
            };
            failures = failures.saturating_add(1);
            self.status.send_replace(ChannelStatus::Down { cause });
            let mut reset = self.reset.clone();
            let waiting = async move {
                tokio::select! {
                    () = tokio::time::sleep(wait) => false,
                    Ok(()) = reset.changed() => true,
                }
            };
            match self.away(waiting).await {
                None => break,
                Some(false) => {}
                Some(true) => {
                    tracing::info!(channel = %self.id, "reset");
                    self.reset.mark_unchanged();
                    failures = 0;
                    denials = 0;
                }
            }
        }
        self.inbox.close();
        while let Some(request) = self.inbox.recv().await {
            self.give_back(&request).await;
        }
        self.status.send_replace(ChannelStatus::Stopped);
        tracing::info!(channel = %self.id, "stopped");
    }

    /// Waits for `work` while there is no session: requests are returned meanwhile. `None`: stopped.
    async fn away<F: Future>(&mut self, work: F) -> Option<F::Output> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                Some(request) = self.inbox.recv() => self.give_back(&request).await,
                output = &mut work => return Some(output),
            }
        }
    }

    pub(super) async fn give_back(&self, request: &SubmitRequest) {
        self.tell(ChannelEvent::Returned {
            token: request.token,
        })
        .await;
    }

    /// Hands an event to the engine. If the engine is gone there is nobody left to tell.
    pub(super) async fn tell(&self, event: ChannelEvent) {
        let _ = self.events.send(event).await;
    }

    fn backoff(&self, failures: u32) -> Duration {
        let doubled = self
            .config
            .reconnect_min
            .saturating_mul(2_u32.saturating_pow(failures));
        doubled.min(self.config.reconnect_max)
    }

    /// Shortens a wait by up to a half: binds that were lost together must not all come back in
    /// the same instant.
    fn spread(&self, wait: Duration) -> Duration {
        wait.mul_f64(0.5 + 0.5 * self.random.fraction())
    }

    /// Lengthens a wait by up to a quarter, for the same reason where a shorter one would be haste.
    fn lengthen(&self, wait: Duration) -> Duration {
        wait.mul_f64(1.0 + 0.25 * self.random.fraction())
    }

    /// Logs that we are bound, and to what.
    fn note(&self, peer: PeerWord) {
        self.peer.send_replace(peer);
        let version = peer.interface_version.map(tracing::field::debug);
        tracing::info!(channel = %self.id, sc_interface_version = version, "bound");
        if let Some(needed_by) = self.config.wire.needs_tlvs()
            && peer.interface_version.is_none()
        {
            // SMPP 3.4 §3.4 would have us send none; many an SMSC forgets to say and takes them.
            tracing::warn!(channel = %self.id, needed_by, "the SMSC does not say that it takes TLVs");
        }
    }

    /// Logs why there is no bind; `said` is what was logged last, and when. What takes a person to put
    /// right is said once, aloud: the status goes on saying it.
    fn log(&self, error: &BindError, said: &mut Option<(String, Duration)>) {
        let (text, now) = (error.to_string(), self.clock.elapsed());
        let again =
            |at: &Duration| !error.needs_a_person() && now.saturating_sub(*at) >= SAID_AGAIN;
        if said
            .as_ref()
            .is_some_and(|(last, at)| *last == text && !again(at))
        {
            tracing::debug!(channel = %self.id, %error, "still cannot bind");
            return;
        }
        *said = Some((text, now));
        if error.needs_a_person() {
            tracing::error!(channel = %self.id, %error, "cannot bind: check the account");
        } else {
            tracing::warn!(channel = %self.id, %error, "cannot bind");
        }
    }
}
