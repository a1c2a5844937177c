//! `relais top`: a live view of a running daemon, against its HTTP interface.
//!
//! Three sources feed one state: a look at the figures each second, the stream of events, and the
//! keyboard; what is drawn is the state alone. The terminal is given back however this ends: a key, a
//! signal, an error, or a panic.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::args::Top;
use super::client::Api;
use super::texts::Lang;
use super::watch::Look;
use super::{Failure, out};
use crate::clock::Clock;
use draw::Palette;
use state::{Ear, Flow, State};

mod draw;
mod figures;
mod state;
mod stream;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two pictures at least: a burst of events is not drawn one by one.
const DRAW_EVERY: Duration = Duration::from_millis(50);
/// How often the keyboard's thread looks whether it is still wanted.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// Silence on the stream of events after which it is opened anew: the daemon breaks it every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// What the view is told.
enum Message {
    Seen(Result<Look, String>),
    Heard { event: String, data: String },
    Ear(Ear),
    Terminal(event::Event),
}

/// `relais top`.
pub(super) fn run(top: &Top, lang: Lang) -> Result<(), Failure> {
    let api = Api::reach(&top.reach, lang)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if top.once || top.reach.json {
        return runtime.block_on(once(&api, top.reach.json, lang));
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(lang.top_needs_terminal()));
    }
    let palette = Palette {
        colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let screen = Screen::open()?;
    let done = runtime.block_on(live(screen, &api, palette, lang));
    // What reads the keyboard is another thread; it must not hold up the end.
    runtime.shutdown_background();
    done
}

/// Two looks a second apart, so that there is a throughput, as text.
async fn once(api: &Api, json: bool, lang: Lang) -> Result<(), Failure> {
    let clock = Clock::system();
    let mut state = State::new(lang, api.url());
    let first = Look::ask(api, clock.now()).await?;
    state.seen(Ok(first));
    sleep(LOOK_EVERY).await;
    state.seen(Ok(Look::ask(api, clock.now()).await?));
    if json {
        return Ok(out::line(&format!("{:#}", figures::as_json(&state)))?);
    }
    Ok(out::line(&figures::plain(&state))?)
}

/// The terminal, taken over; given back when this is dropped. A panic gives it back by a hook, before
/// its message is written.
struct Screen {
    terminal: DefaultTerminal,
    wanted: Arc<AtomicBool>,
}

impl Screen {
    fn open() -> Result<Self, Failure> {
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        Ok(Self {
            terminal,
            wanted: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Reads the keyboard in a thread of its own: a read cannot be given up. What is answered is
    /// resolved when the terminal has gone, or the thread.
    fn read_keys(&self, to: mpsc::Sender<Message>) -> oneshot::Receiver<()> {
        let wanted = self.wanted.clone();
        let (lives, gone) = oneshot::channel();
        std::thread::spawn(move || {
            let _lives: oneshot::Sender<()> = lives;
            while wanted.load(Ordering::Relaxed) {
                match event::poll(KEY_WAIT) {
                    Ok(false) => continue,
                    Ok(true) => {}
                    Err(_) => break,
                }
                let Ok(event) = event::read() else { break };
                if to.blocking_send(Message::Terminal(event)).is_err() {
                    break;
                }
            }
        });
        gone
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        ratatui::restore();
    }
}

async fn live(mut screen: Screen, api: &Api, palette: Palette, lang: Lang) -> Result<(), Failure> {
    let clock = Clock::system();
    let (to, from) = mpsc::channel(1024);
    let gone = screen.read_keys(to.clone());
    let mut state = State::new(lang, api.url());
    // All in one task: a panic in any of them ends the view.
    tokio::select! {
        done = view(&mut screen, &mut state, from, &clock, palette) => done,
        () = look(api, &clock, to.clone()) => Ok(()),
        () = listen(api, to) => Ok(()),
        done = told_to_stop() => done,
        _ = gone => Ok(()),
    }
}

/// Draws, and takes what comes, until somebody wants to quit.
async fn view(
    screen: &mut Screen,
    state: &mut State,
    mut from: mpsc::Receiver<Message>,
    clock: &Clock,
    palette: Palette,
) -> Result<(), Failure> {
    loop {
        screen
            .terminal
            .draw(|frame| draw::draw(frame, state, palette))?;
        let mut message = from.recv().await;
        while let Some(one) = message {
            if take(state, one, clock) == Flow::Quit {
                return Ok(());
            }
            message = from.try_recv().ok();
        }
        if from.is_closed() {
            return Ok(());
        }
        sleep(DRAW_EVERY).await;
    }
}

fn take(state: &mut State, message: Message, clock: &Clock) -> Flow {
    match message {
        Message::Seen(seen) => state.seen(seen),
        Message::Heard { event, data } => state.heard(&event, &data, clock.now()),
        Message::Ear(ear) => state.ear = ear,
        Message::Terminal(event::Event::Key(key)) => return state.key(key),
        // A new size needs nothing but a new picture.
        Message::Terminal(_) => {}
    }
    Flow::GoOn
}

/// Looks each second. A daemon that is away is asked again.
async fn look(api: &Api, clock: &Clock, to: mpsc::Sender<Message>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let seen = match timeout(PATIENCE, Look::ask(api, clock.now())).await {
            Ok(seen) => seen.map_err(Failure::into_words),
            Err(_) => Err(format!("{} s", PATIENCE.as_secs())),
        };
        if to.send(Message::Seen(seen)).await.is_err() {
            return;
        }
    }
}

/// Follows the events, and opens their stream again whenever it ends.
async fn listen(api: &Api, to: mpsc::Sender<Message>) {
    loop {
        let why = match api.stream("/v1/events").await {
            Err(failure) => failure.into_words(),
            Ok(mut answer) => {
                if to.send(Message::Ear(Ear::Open)).await.is_err() {
                    return;
                }
                let mut events = stream::Events::default();
                while let Ok(Ok(Some(octets))) = timeout(SILENCE, answer.chunk()).await {
                    for (event, data) in events.take_in(&octets) {
                        if to.send(Message::Heard { event, data }).await.is_err() {
                            return;
                        }
                    }
                }
                "…".to_owned()
            }
        };
        if to.send(Message::Ear(Ear::Closed(why))).await.is_err() {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Waits for a signal that would end the program and leave the terminal as it is.
async fn told_to_stop() -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::fs::File;
    use std::io::Read;
    use std::process::{Command, Stdio};

    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};

    use super::*;

    const NAME: &str = "cli::top::tests::a_panic_gives_the_terminal_back_before_it_speaks";
    /// Set for the process that panics: this test again, on a terminal.
    const PANICS: &str = "RELAIS_TEST_PANICS";

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_speaks() {
        if std::env::var_os(PANICS).is_some() {
            let _screen = Screen::open();
            panic!("as the test wants");
        }
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let side = open(
            name.as_c_str(),
            OFlags::RDWR | OFlags::NOCTTY,
            Mode::empty(),
        )
        .unwrap();
        let stdio = || Stdio::from(side.try_clone().unwrap());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(PANICS, "1")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let mut reader = File::from(master);
        let mut written = Vec::new();
        while !String::from_utf8_lossy(&written).contains("test result") {
            let mut octets = [0; 4096];
            let count = reader.read(&mut octets).unwrap();
            written.extend_from_slice(&octets[..count]);
        }
        assert!(!child.wait().unwrap().success());
        let written = String::from_utf8_lossy(&written);
        let place = |what: &str| written.find(what).unwrap_or_else(|| panic!("{written:?}"));
        let (taken, given) = (place("\u{1b}[?1049h"), place("\u{1b}[?1049l"));
        assert!(
            taken < given && given < place("as the test wants"),
            "{written:?}"
        );
        let modes = tcgetattr(&side).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON));
    }
}
