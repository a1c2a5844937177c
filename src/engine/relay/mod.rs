//! The channels that are none of SMS: apps and e-mail, for messages whose way has several.
//!
//! To the dispatcher they are accounts like a carrier's, with a window and a state; what a try comes to
//! is told as a carrier's answer is, and committed by the same code. They belong to the engine and not
//! to the configuration: they are there from the start, and go by the rules in force at each try.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::channel::{
    ChannelEvent, ChannelHandle, ChannelStatus, Peer, SegmentOutcome, SubmitRequest,
};
use crate::domain::chain::{APP, EMAIL};
use crate::domain::event::Rejection;
use crate::domain::message::{Message, Token};
use crate::domain::time::Timestamp;

mod app;
pub(super) mod email;

use email::Mailers;

/// Messages under way at once: to apps, and to the mail server.
const WINDOWS: (usize, usize) = (64, 8);
/// Posts under way at once to one app: one that hangs holds up nobody else.
const POSTS_PER_ORIGIN: usize = 48;
/// How long a mail server that is not reached is left alone, from the first to the last, doubling.
const REST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));
/// The code of a try that was not made because too many are under way to the same app.
const BUSY: &str = "receiver_busy";

/// The two relays, until their tasks are started.
pub(super) struct Relays {
    app: ChannelHandle,
    email: ChannelHandle,
    ends: Mutex<Option<[Ends; 2]>>,
}

/// What the task of a relay holds of its channel.
struct Ends {
    handle: ChannelHandle,
    inbox: mpsc::Receiver<SubmitRequest>,
    status: watch::Sender<ChannelStatus>,
    reset: watch::Receiver<()>,
}

impl Relays {
    pub(super) fn new() -> Self {
        // Whoever a message names can be asked at any time; of the mail server the task knows.
        let (app, of_app) = channel(APP, WINDOWS.0, Peer::App, ChannelStatus::Up);
        let (email, of_email) = channel(EMAIL, WINDOWS.1, Peer::Email, ChannelStatus::Connecting);
        Self {
            app,
            email,
            ends: Mutex::new(Some([of_app, of_email])),
        }
    }

    /// Their channels.
    pub(super) fn handles(&self) -> [ChannelHandle; 2] {
        [self.app.clone(), self.email.clone()]
    }
}

fn channel(name: &str, window: usize, peer: Peer, status: ChannelStatus) -> (ChannelHandle, Ends) {
    let (requests, inbox) = mpsc::channel(window);
    let (status, is) = watch::channel(status);
    let (reset, told) = watch::channel(());
    let handle = ChannelHandle {
        id: name.into(),
        account: name.into(),
        window: Arc::new(Semaphore::new(window)),
        window_size: window,
        requests,
        status: is,
        peer,
        reset,
    };
    let ends = Ends {
        handle: handle.clone(),
        inbox,
        status,
        reset: told,
    };
    (handle, ends)
}

/// Starts both relays. They take nothing more once `stop` is cancelled, and end when what is under way
/// has.
pub(super) fn start(engine: &Arc<Engine>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let ends = engine.relays.ends.lock();
    let Some(ends) = ends.unwrap_or_else(PoisonError::into_inner).take() else {
        return;
    };
    let (events, reported) = mpsc::channel(WINDOWS.0);
    for ends in ends {
        let watching =
            super::channels::wake_on_change(engine.clone(), ends.handle.clone(), stop.clone());
        tasks.spawn(watching);
        let relay = Relay {
            engine: engine.clone(),
            ends,
            events: events.clone(),
            failures: 0,
            rests_until: None,
        };
        tasks.spawn(relay.run(stop.clone()));
    }
    tasks.spawn(super::traffic::run(engine.clone(), reported));
}

/// What a try came to.
enum Tried {
    /// The far end, or the loss of its answer, has decided.
    Ended(SegmentOutcome),
    /// The server was not reached: nothing has left, and nothing else would.
    Unreachable(String),
}

/// How a try is made.
enum Means {
    App(app::Posts),
    Email(Mailers),
}

struct Relay {
    engine: Arc<Engine>,
    ends: Ends,
    events: mpsc::Sender<ChannelEvent>,
    /// In a row.
    failures: u32,
    rests_until: Option<Timestamp>,
}

impl Relay {
    async fn run(mut self, stop: CancellationToken) {
        let engine = self.engine.clone();
        let means = match self.ends.handle.peer {
            Peer::Email => Means::Email(Mailers::default()),
            _ => match app::Posts::new(&engine) {
                Ok(posts) => Means::App(posts),
                Err(error) => {
                    tracing::error!(%error, "apps_off");
                    self.ends.status.send_replace(ChannelStatus::Stopped);
                    return;
                }
            },
        };
        let means = Arc::new(means);
        let origins = Arc::new(Origins::default());
        let mut policy = engine.policy.clone();
        let mut tries: JoinSet<(Token, Tried, Duration)> = JoinSet::new();
        loop {
            self.show(&means);
            let rest = self.rests_until.unwrap_or(Timestamp::NEVER);
            let sleep = engine.clock.sleep_until(rest);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(tried) = tries.join_next(), if !tries.is_empty() => {
                    self.tell(tried).await;
                }
                Some(request) = self.ends.inbox.recv() => {
                    if self.rests_until.is_some() {
                        self.give_back(request.token).await;
                        continue;
                    }
                    let Some(message) = request.relayed else {
                        // Only what goes over a relay is in its lane.
                        self.give_back(request.token).await;
                        continue;
                    };
                    let (means, origins) = (means.clone(), origins.clone());
                    let engine = engine.clone();
                    tries.spawn(async move {
                        let began = engine.clock.elapsed();
                        let tried = means.try_it(&engine, &origins, &message).await;
                        (request.token, tried, engine.clock.elapsed().saturating_sub(began))
                    });
                }
                Ok(()) = policy.changed() => {}
                Ok(()) = self.ends.reset.changed() => {
                    self.rests_until = None;
                }
                () = tokio::time::sleep(sleep), if self.rests_until.is_some() => {
                    if self.rests_until.is_some_and(|until| until <= engine.clock.now()) {
                        self.rests_until = None;
                    }
                }
            }
        }
        self.ends.inbox.close();
        while let Some(request) = self.ends.inbox.recv().await {
            self.give_back(request.token).await;
        }
        while let Some(tried) = tries.join_next().await {
            self.tell(tried).await;
        }
        self.ends.status.send_replace(ChannelStatus::Stopped);
    }

    /// Shows whether it takes messages now.
    fn show(&self, means: &Means) {
        let is = match means {
            _ if self.rests_until.is_some() => return,
            Means::App(_) => ChannelStatus::Up,
            Means::Email(_) if self.engine.rules().email.is_some() => ChannelStatus::Up,
            // There is no [email] in the configuration: nothing to speak of.
            Means::Email(_) => ChannelStatus::Connecting,
        };
        self.ends.status.send_if_modified(|status| {
            let other = *status != is;
            if other {
                *status = is;
            }
            other
        });
    }

    async fn tell(&mut self, tried: Result<(Token, Tried, Duration), tokio::task::JoinError>) {
        let (token, tried, took) = match tried {
            Ok(tried) => tried,
            Err(error) => {
                // Its lease is lost in a while, and then it counts as in doubt.
                tracing::error!(%error, "try ended badly");
                return;
            }
        };
        match tried {
            Tried::Ended(outcome) => {
                self.failures = 0;
                let event = ChannelEvent::Segment {
                    token,
                    segment: 0,
                    outcome,
                    took,
                };
                // If the engine is gone there is nobody left to tell.
                let _ = self.events.send(event).await;
            }
            Tried::Unreachable(cause) => {
                // Those that were tried together have failed together.
                if self.rests_until.is_none() {
                    let doubled = REST.0.saturating_mul(2_u32.saturating_pow(self.failures));
                    let rest = doubled.min(REST.1);
                    self.failures = self.failures.saturating_add(1);
                    self.rests_until = Some(self.engine.clock.now() + rest);
                    let down = ChannelStatus::Down { cause };
                    self.ends.status.send_replace(down);
                }
                self.give_back(token).await;
            }
        }
    }

    async fn give_back(&self, token: Token) {
        let _ = self.events.send(ChannelEvent::Returned { token }).await;
    }
}

impl Means {
    async fn try_it(&self, engine: &Engine, origins: &Origins, message: &Message) -> Tried {
        match self {
            Self::App(posts) => Tried::Ended(posts.post(engine, origins, message).await),
            Self::Email(mailers) => mailers.mail(engine, message).await,
        }
    }
}

/// A refusal of the recipient, with its code.
fn refused(code: impl Into<String>) -> SegmentOutcome {
    SegmentOutcome::Rejected(Rejection::Permanent(code.into()))
}

/// A refusal for now, with its code.
fn later(code: impl Into<String>) -> SegmentOutcome {
    SegmentOutcome::Rejected(Rejection::Temporary(code.into()))
}

/// How many posts are under way to each app.
#[derive(Default)]
struct Origins(Mutex<HashMap<String, usize>>);

/// One of the posts that may be under way to an app.
struct Place<'a> {
    origins: &'a Origins,
    name: String,
}

impl Origins {
    /// A place among those under way to this origin, unless there are too many.
    fn enter(&self, name: String) -> Option<Place<'_>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name.clone()).or_default();
        if *count >= POSTS_PER_ORIGIN {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Place {
            origins: self,
            name,
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self
            .origins
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.name);
            }
        }
    }
}
