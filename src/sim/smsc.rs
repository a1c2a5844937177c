//! A scripted SMSC on any listener or stream.
//!
//! Receipts and messages wait in queues by `system_id` until a session that can receive is bound,
//! and come again when they are refused for now or when the connection breaks before the answer:
//! as a carrier does it. Everything received is in the [`Ledger`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channel::smpp::bind::{Connector, Stream};
use crate::clock::{Clock, Random};

mod compose;
mod ledger;
mod script;
mod session;
mod tls;

pub use compose::MoMessage;
use compose::Outgoing;
pub use ledger::{DeliveredEntry, Ledger, PartOf, SubmittedEntry};
pub use script::{IdForm, Ids, ReceiptForm, Receipts, Rule, ScriptedState, SmscScript};
pub use tls::Tls;

/// Octets that a connection in memory holds in each direction.
const DUPLEX: usize = 64 * 1024;

/// A running SMSC. Clones are the same SMSC.
#[derive(Clone)]
pub struct SmscHandle {
    shared: Arc<Shared>,
    local_addr: Option<SocketAddr>,
}

/// What the sessions of one SMSC share.
struct Shared {
    state: Mutex<State>,
    /// Moves when the ledger has changed.
    recorded: watch::Sender<u64>,
    clock: Clock,
    random: Random,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct State {
    script: Arc<SmscScript>,
    ledger: Ledger,
    next_id: u64,
    /// Number of every `submit_sm` since the script was set, for what happens at every n-th.
    submits: u64,
    /// The running second and how many `submit_sm` it has seen.
    second: (u64, u32),
    /// What is to be sent, by due time, for each `system_id`; `""` is for whoever receives.
    queues: HashMap<String, BTreeMap<(Duration, u64), Outgoing>>,
    queued: u64,
    /// Receipts of parts that wait for the last part's, to be sent in reverse order.
    held: HashMap<(String, String, u16), Vec<Outgoing>>,
    /// How often each rule, by prefix and suffix, has refused.
    refusals: HashMap<(String, String), u64>,
    sessions: BTreeMap<u64, Inbox>,
    next_session: u64,
}

/// What the rest of the SMSC has for one session.
#[derive(Default)]
struct Inbox {
    orders: VecDeque<Order>,
    wake: Arc<Notify>,
}

/// What a handle tells a session to do.
#[derive(Clone, Debug)]
enum Order {
    Close,
    Unbind,
    Raw(Bytes),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every session that there is something new to look at: a message, a command, another
    /// script. In the order of their numbers, so that a simulation is the same each time.
    fn wake(&self) {
        for inbox in self.lock().sessions.values() {
            inbox.wake.notify_one();
        }
    }
}

impl State {
    /// Queues something to be sent to `system_id` at `due`.
    fn queue(&mut self, system_id: &str, due: Duration, outgoing: Outgoing) {
        self.queued += 1;
        let key = (due, self.queued);
        match self.queues.get_mut(system_id) {
            Some(queue) => {
                queue.insert(key, outgoing);
            }
            None => {
                self.queues
                    .insert(system_id.to_owned(), BTreeMap::from([(key, outgoing)]));
            }
        }
    }

    /// Takes what is due for `system_id`, one at a time.
    fn take_due(&mut self, system_id: &str, now: Duration) -> Option<Outgoing> {
        [system_id, ""].into_iter().find_map(|name| {
            let first = self.queues.get_mut(name)?.first_entry()?;
            (first.key().0 <= now).then(|| first.remove())
        })
    }

    /// When something is due for `system_id` next.
    fn next_due(&self, system_id: &str) -> Option<Duration> {
        let first = |name| Some(self.queues.get(name)?.first_key_value()?.0.0);
        [first(system_id), first("")].into_iter().flatten().min()
    }
}

/// Starts an SMSC that has no connections yet; give it some with [`SmscHandle::attach`].
#[must_use]
pub fn start(script: SmscScript, clock: &Clock, random: &Random) -> SmscHandle {
    let state = State {
        next_id: script.ids.start,
        script: Arc::new(script),
        ledger: Ledger::default(),
        submits: 0,
        second: (0, 0),
        queues: HashMap::new(),
        queued: 0,
        held: HashMap::new(),
        refusals: HashMap::new(),
        sessions: BTreeMap::new(),
        next_session: 0,
    };
    let shared = Shared {
        state: Mutex::new(state),
        recorded: watch::Sender::new(0),
        clock: clock.clone(),
        random: random.clone(),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    SmscHandle {
        shared: Arc::new(shared),
        local_addr: None,
    }
}

/// Starts an SMSC on a listener.
///
/// # Errors
/// If the listener has no address, or the files of `[tls]` cannot be used.
pub fn serve(
    listener: TcpListener,
    script: SmscScript,
    clock: &Clock,
    random: &Random,
) -> io::Result<SmscHandle> {
    let tls = script.tls.as_ref().map(Tls::acceptor).transpose()?;
    let mut handle = start(script, clock, random);
    handle.local_addr = Some(listener.local_addr()?);
    let accepting = handle.clone();
    handle.shared.tasks.spawn(async move {
        loop {
            tokio::select! {
                () = accepting.shared.stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let _ = stream.set_nodelay(true);
                        match &tls {
                            None => accepting.attach(stream),
                            Some(tls) => tls::accept(tls.clone(), stream, &accepting),
                        }
                    }
                    // Out of descriptors, most likely: it passes when connections end.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    });
    Ok(handle)
}

/// Runs the SMSC that `script` describes on the address that it names, until `stop`. `started` is
/// told once it listens.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn run(
    script: SmscScript,
    clock: &Clock,
    random: &Random,
    stop: CancellationToken,
    started: impl FnOnce(&SmscHandle),
) -> io::Result<()> {
    let listener = TcpListener::bind(&script.listen).await?;
    let handle = serve(listener, script, clock, random)?;
    started(&handle);
    stop.cancelled().await;
    handle.shutdown().await;
    Ok(())
}

impl SmscHandle {
    /// Where it listens, if it does.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Serves one more connection.
    pub fn attach<S: Stream + 'static>(&self, stream: S) {
        let number = {
            let mut state = self.shared.lock();
            state.next_session += 1;
            let number = state.next_session;
            state.sessions.insert(number, Inbox::default());
            number
        };
        let session = session::Session::new(number, stream, self.shared.clone());
        self.shared.tasks.spawn(session.run());
    }

    /// A connector whose connections are in memory and end here.
    #[must_use]
    pub fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(InMemory(self.clone()))
    }

    /// Looks at the ledger.
    pub fn ledger<R>(&self, look: impl FnOnce(&Ledger) -> R) -> R {
        look(&self.shared.lock().ledger)
    }

    /// Waits until the ledger is as `wanted` says.
    pub async fn wait_for(&self, wanted: impl Fn(&Ledger) -> bool) {
        let mut recorded = self.shared.recorded.subscribe();
        while !self.ledger(&wanted) {
            if recorded.changed().await.is_err() {
                return;
            }
        }
    }

    /// Replaces the script while running. Ids go on; what is queued stays as it is.
    pub fn set_script(&self, script: SmscScript) {
        {
            let mut state = self.shared.lock();
            state.script = Arc::new(script);
            state.submits = 0;
            state.refusals.clear();
        }
        self.shared.wake();
    }

    /// Changes the script while running.
    pub fn change_script(&self, change: impl FnOnce(&mut SmscScript)) {
        let mut script = SmscScript::clone(&self.shared.lock().script);
        change(&mut script);
        self.set_script(script);
    }

    /// Sends a message from a handset, in parts if it is long, to the first that can receive.
    pub fn inject(&self, message: &MoMessage) {
        {
            let reference = u8::from_be_bytes(self.shared.random.bytes());
            let now = self.shared.clock.elapsed();
            let mut state = self.shared.lock();
            for part in compose::message(message, reference) {
                state.queue("", now, part);
            }
        }
        self.shared.wake();
    }

    /// Writes octets as they are to every connection.
    pub fn inject_raw(&self, octets: &[u8]) {
        self.order(&Order::Raw(Bytes::copy_from_slice(octets)));
    }

    /// Closes every connection without a word.
    pub fn disconnect_all(&self) {
        self.order(&Order::Close);
    }

    /// Sends `unbind` on every connection.
    pub fn unbind_all(&self) {
        self.order(&Order::Unbind);
    }

    /// Stops listening, closes every connection, and waits until that is done.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    fn order(&self, order: &Order) {
        for inbox in self.shared.lock().sessions.values_mut() {
            inbox.orders.push_back(order.clone());
        }
        self.shared.wake();
    }
}

struct InMemory(SmscHandle);

#[async_trait]
impl Connector for InMemory {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        if self.0.shared.stop.is_cancelled() || self.0.shared.lock().script.refuse_connections {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(DUPLEX);
        self.0.attach(far);
        Ok(Box::new(near))
    }
}

#[cfg(test)]
mod tests;
