//! A scripted SMSC on any listener or stream.
//!
//! Receipts and messages wait in queues by `system_id` until a session that can receive is bound,
//! and come again when they are refused for now or when the connection breaks before the answer:
//! as a carrier does it. Everything received is in the [`Ledger`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
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
mod rate;
mod reading;
mod script;
mod session;
mod tls;
mod verdict;

pub use compose::MoMessage;
use compose::Outgoing;
pub use ledger::{BindEntry, DeliveredEntry, Ledger, PartOf, SubmittedEntry};
use rate::Meter;
pub use script::{
    DefaultAlphabet, Fault, FaultKind, IdForm, Ids, Inbound, InboundAlphabet, Octets, ReceiptForm,
    Receipts, Rule, ScriptedState, SmscScript, Split,
};
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
    /// When the script was set.
    since: Duration,
    ledger: Ledger,
    next_id: u64,
    /// What is counted since the script was set.
    counts: Counts,
    /// What is to be sent, by due time, for each `system_id`; `""` is for whoever receives.
    queues: HashMap<String, BTreeMap<(Duration, u64), Outgoing>>,
    queued: u64,
    /// Receipts of parts that wait for the last part's, to be sent in reverse order.
    held: HashMap<(String, String, u16), Vec<Outgoing>>,
    sessions: BTreeMap<u64, Inbox>,
    /// The sessions that can be sent to, with their `system_id`.
    receivers: BTreeMap<u64, String>,
    next_session: u64,
}

/// What a script's "every n-th" and "so many times" are counted by.
#[derive(Default)]
struct Counts {
    /// Every `submit_sm`.
    submits: u64,
    /// Every receipt made.
    receipts: u64,
    /// Every bind refused because the script says so.
    binds: u64,
    /// The rate of everything.
    rate: Meter,
    /// The rate of each rule, by its number.
    rule_rates: HashMap<usize, Meter>,
    /// How often each rule has refused, in all (`""`) or by destination.
    refusals: HashMap<(usize, String), u64>,
    /// The faults at a time that have happened.
    happened: BTreeSet<usize>,
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
    Reset,
    Unbind,
    /// Until then on this SMSC's clock; without an end if absent.
    Silence(Option<Duration>),
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

    /// What comes first of all that this session may send to `system_id`: in which queue, and its
    /// key there.
    fn first<'a>(&self, system_id: &'a str, session: u64) -> Option<(&'a str, (Duration, u64))> {
        let others = self
            .receivers
            .iter()
            .any(|(number, name)| *number != session && name == system_id);
        let may = |outgoing: &Outgoing| !others || outgoing.not_on() != Some(session);
        [system_id, ""]
            .into_iter()
            .filter_map(|name| {
                let queue = self.queues.get(name)?;
                let (key, _) = queue.iter().find(|(_, outgoing)| may(outgoing))?;
                Some((name, *key))
            })
            .min_by_key(|(_, key)| *key)
    }

    /// Takes what is due for `system_id` on this session, one at a time.
    fn take_due(&mut self, system_id: &str, session: u64, now: Duration) -> Option<Outgoing> {
        let (name, key) = self.first(system_id, session)?;
        if key.0 > now {
            return None;
        }
        self.queues.get_mut(name)?.remove(&key)
    }

    /// When something is due for `system_id` on this session next.
    fn next_due(&self, system_id: &str, session: u64) -> Option<Duration> {
        self.first(system_id, session).map(|(_, key)| key.0)
    }

    /// Queues a message from a handset, as often and in the parts that it asks for.
    fn queue_message(&mut self, message: &Inbound, now: Duration, random: &Random) {
        for time in 0..message.times {
            let start = message.after_ms + u64::from(time) * message.every_ms;
            let reference = u16::from_be_bytes(random.bytes());
            let parts = compose::message(message, self.script.alphabet, reference);
            for (number, part) in (0..).zip(parts) {
                let due = Duration::from_millis(start + number * message.part_gap_ms);
                self.queue(&message.system_id, now + due, part);
            }
        }
    }

    /// Tells every session of the faults whose time has come; says when the next one's comes.
    fn strike(&mut self, now: Duration) -> Option<Duration> {
        let script = self.script.clone();
        let mut next: Option<Duration> = None;
        for (number, fault) in script.faults.iter().enumerate() {
            let Some(after) = fault.after_ms.map(Duration::from_millis) else {
                continue;
            };
            let due = self.since + after;
            if self.counts.happened.contains(&number) {
                continue;
            }
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            self.counts.happened.insert(number);
            for inbox in self.sessions.values_mut() {
                inbox.orders.push_back(verdict::order(fault, now));
                inbox.wake.notify_one();
            }
        }
        next
    }
}

/// Starts an SMSC that has no connections yet; give it some with [`SmscHandle::attach`].
#[must_use]
pub fn start(script: SmscScript, clock: &Clock, random: &Random) -> SmscHandle {
    let since = clock.elapsed();
    let mut state = State {
        next_id: script.ids.start,
        script: Arc::new(script),
        since,
        ledger: Ledger::default(),
        counts: Counts::default(),
        queues: HashMap::new(),
        queued: 0,
        held: HashMap::new(),
        sessions: BTreeMap::new(),
        receivers: BTreeMap::new(),
        next_session: 0,
    };
    for message in &state.script.clone().inbound {
        state.queue_message(message, since, random);
    }
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
                            None => accepting.serve_on(stream, |stream| {
                                let _ = stream.set_zero_linger();
                            }),
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
        self.serve_on(stream, |_| {});
    }

    /// Serves one more connection; `reset` makes its closing a reset.
    fn serve_on<S: Stream + 'static>(&self, stream: S, reset: fn(&S)) {
        let number = {
            let mut state = self.shared.lock();
            state.next_session += 1;
            let number = state.next_session;
            state.sessions.insert(number, Inbox::default());
            number
        };
        let session = session::Session::new(number, stream, reset, self.shared.clone());
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

    /// Replaces the script while running. Ids go on; what is queued stays as it is, and the
    /// `inbound` messages of the new script are not sent: see [`SmscHandle::inject_as`].
    pub fn set_script(&self, script: SmscScript) {
        {
            let mut state = self.shared.lock();
            state.script = Arc::new(script);
            state.since = self.shared.clock.elapsed();
            state.counts = Counts::default();
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
        self.inject_as(&message.into());
    }

    /// Sends a message from a handset as a script can describe it; its times count from now.
    pub fn inject_as(&self, message: &Inbound) {
        let now = self.shared.clock.elapsed();
        self.shared
            .lock()
            .queue_message(message, now, &self.shared.random);
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

    /// Resets every connection.
    pub fn reset_all(&self) {
        self.order(&Order::Reset);
    }

    /// Reads and answers nothing any more on the connections that there are.
    pub fn silence_all(&self) {
        self.order(&Order::Silence(None));
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
