//! Proves what `top` shows on a real terminal, and that it gives it back. How: the built binary on a
//! pseudo terminal, with a terminal emulator that reads what it writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use relais::clock::Clock;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

#[path = "support/processes.rs"]
mod processes;

use processes::{
    PATIENCE, configuration, err, free_address, out, relais, serve, signal, smsc, until, with,
};

/// `relais top` on a terminal of its own.
struct Terminal {
    master: File,
    /// Kept open, so that what was last written can be read after the end.
    side: OwnedFd,
    child: Child,
    written: Receiver<Vec<u8>>,
    emulator: vt100::Parser,
    raw: Vec<u8>,
}

impl Terminal {
    fn start(file: &Path, (width, height): (u16, u16), colour: bool) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let side = open(name.as_c_str(), flags, Mode::empty()).unwrap();
        tcsetwinsize(&master, size(width, height)).unwrap();
        // setsid makes it the controlling terminal, so that a change of size is signalled.
        let mut command = Command::new("setsid");
        command
            .args([
                "--ctty",
                "--wait",
                env!("CARGO_BIN_EXE_relais"),
                "top",
                "--lang",
                "en",
            ])
            .args(["--config", file.to_str().unwrap()])
            .env_remove("RELAIS_URL")
            .env_remove("RELAIS_KEY")
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(side.try_clone().unwrap()))
            .stdout(Stdio::from(side.try_clone().unwrap()))
            .stderr(Stdio::from(side.try_clone().unwrap()));
        if !colour {
            command.env("NO_COLOR", "1");
        }
        let child = command.spawn().unwrap();
        let master = File::from(master);
        let mut reader = master.try_clone().unwrap();
        let (to, written) = channel();
        std::thread::spawn(move || {
            let mut octets = [0; 4096];
            while let Ok(count) = reader.read(&mut octets) {
                if count == 0 || to.send(octets[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            master,
            side,
            child,
            written,
            emulator: vt100::Parser::new(nonzero(height), nonzero(width), 0),
            raw: Vec::new(),
        }
    }

    fn screen(&self) -> String {
        self.emulator.screen().contents()
    }

    /// Takes in what was written within so long at most; false if nothing was.
    fn read(&mut self, within: Duration) -> bool {
        match self.written.recv_timeout(within) {
            Ok(octets) => {
                self.emulator.process(&octets);
                self.raw.extend(octets);
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => panic!("the terminal has closed"),
        }
    }

    /// Reads until the screen is as wanted.
    fn until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let clock = Clock::system();
        while !is_so(&self.screen()) {
            let left = PATIENCE.saturating_sub(clock.elapsed());
            assert!(!left.is_zero(), "no {what:?} on:\n{}", self.screen());
            self.read(left);
        }
        self.screen()
    }

    fn until_shown(&mut self, words: &str) -> String {
        self.until(words, |screen| screen.contains(words))
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&mut self, width: u16, height: u16) {
        self.emulator
            .screen_mut()
            .set_size(nonzero(height), nonzero(width));
        tcsetwinsize(&self.master, size(width, height)).unwrap();
    }

    /// Waits for the end; the terminal must be as it was before.
    fn ended(mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        while self.read(Duration::from_millis(200)) {}
        let screen = self.emulator.screen();
        assert!(!screen.alternate_screen(), "the screen is given back");
        assert!(!screen.hide_cursor(), "the cursor is given back");
        let modes = tcgetattr(&self.side).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        status
    }

    fn has_colours(&self) -> bool {
        let screen = self.emulator.screen();
        let (height, width) = screen.size();
        (0..height.get()).any(|row| {
            (0..width.get()).any(|column| {
                let cell = screen.cell(row, column).unwrap();
                cell.fgcolor() != vt100::Color::Default || cell.bgcolor() != vt100::Color::Default
            })
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nonzero(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

const fn size(width: u16, height: u16) -> Winsize {
    Winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

const RIGHT: &str = "system_id = \"relais\"\npassword = \"right\"\n";

#[test]
fn messages_are_seen_as_they_go_on_a_terminal_that_changes_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let (_smsc, address) = smsc(folder.path(), RIGHT);
    let file = configuration(folder.path(), &free_address(), &address, "right", "");
    let _daemon = serve(&file);
    until(&file, &["doctor"], "acme#1: up");
    let mut top = Terminal::start(&file, (80, 24), true);
    let screen = top.until_shown("acme#1");
    assert!(
        screen.contains("Relais 0.1.0  http://127.0.0.1:"),
        "{screen}"
    );
    assert!(top.emulator.screen().alternate_screen());
    assert!(top.has_colours());
    top.until_shown("nothing yet");
    let sent = with(&file, &["send", "+33612345678", "Bonjour", "--wait"]);
    assert_eq!(sent.status.code(), Some(0), "{}", err(&sent));
    let screen = top.until_shown("Delivered  …5678");
    assert!(!screen.contains("33612345678"), "{screen}");
    // The totals come with the next look.
    top.until("one delivered", |screen| {
        screen
            .lines()
            .any(|line| line.contains("delivered") && line.contains(" 1 "))
    });

    top.press("?");
    top.until_shown("hold the picture, and go on");
    top.press("?");
    top.until("no help", |screen| {
        !screen.contains("hold the picture, and go on")
    });
    top.press("\t\t");
    top.until_shown("» Channels");
    top.press("p");
    top.until_shown("HELD");
    top.press("p");
    top.resize(130, 40);
    top.until("a wider frame", |screen| {
        screen
            .lines()
            .any(|line| line.contains("Channels") && line.chars().count() == 130)
    });
    top.resize(40, 10);
    top.until_shown("window too small");
    top.resize(80, 24);
    top.until_shown("acme#1");
    top.press("q");
    assert_eq!(top.ended().code(), Some(0));
}

#[test]
fn a_daemon_that_goes_and_comes_is_said_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_smsc, address) = smsc(folder.path(), RIGHT);
    let file = configuration(folder.path(), &free_address(), &address, "wrong", "");
    // The key is made at the first start.
    serve(&file).stop();
    let mut top = Terminal::start(&file, (100, 30), false);
    top.until_shown("the daemon does not answer");
    let daemon = serve(&file);
    top.until_shown("bind refused by SMSC: ESME_RINVPASWD");
    daemon.stop();
    let screen = top.until_shown("the daemon does not answer");
    assert!(
        screen.contains("acme#1"),
        "the last picture stays:\n{screen}"
    );
    let _daemon = serve(&file);
    top.until("an answer", |screen| !screen.contains("does not answer"));
    assert!(!top.has_colours(), "NO_COLOR");
    // Ctrl-C is a key there.
    top.press("\u{3}");
    assert_eq!(top.ended().code(), Some(0));
}

#[test]
fn a_signal_gives_the_terminal_back_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = configuration(folder.path(), &free_address(), "127.0.0.1:1", "x", "");
    serve(&file).stop();
    for name in ["TERM", "INT", "HUP"] {
        let mut top = Terminal::start(&file, (80, 24), true);
        top.until_shown("the daemon does not answer");
        // The child of setsid is what draws.
        let parent = top.child.id();
        let children = format!("/proc/{parent}/task/{parent}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let process = children
            .split_whitespace()
            .next()
            .map_or(parent, |id| id.parse().unwrap());
        signal(process, name);
        assert_eq!(top.ended().code(), Some(0), "{name}");
    }
}

#[test]
fn a_snapshot_needs_no_terminal_and_a_live_view_does() {
    let folder = tempfile::tempdir().unwrap();
    let (_smsc, address) = smsc(folder.path(), RIGHT);
    let file = configuration(folder.path(), &free_address(), &address, "right", "");
    let daemon = serve(&file);
    until(&file, &["doctor"], "acme#1: up");
    let asked = with(&file, &["top", "--once"]);
    assert_eq!(asked.status.code(), Some(0), "{}", err(&asked));
    let said = out(&asked);
    for words in [
        "Relais 0.1.0",
        "All is well.",
        "accepted",
        "acme#1          up",
        "nothing waits",
    ] {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "{said}");
    let json: serde_json::Value =
        serde_json::from_slice(&with(&file, &["top", "--once", "--json"]).stdout).unwrap();
    assert_eq!(json["channels"][0]["name"], "acme#1");
    let live = with(&file, &["top"]);
    assert_eq!(live.status.code(), Some(2));
    assert!(err(&live).contains("--once"), "{}", err(&live));
    daemon.stop();
    let away = with(&file, &["top", "--once", "--lang", "fr"]);
    assert_eq!(away.status.code(), Some(1));
    assert!(
        err(&away).starts_with("erreur : aucun relais ne répond"),
        "{}",
        err(&away)
    );
    let wrong = relais()
        .args(["top", "--once", "--url", "http://127.0.0.1:1", "--key", "k"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(1));
}
