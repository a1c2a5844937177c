//! Standard output, for people and pipes.
//!
//! A reader that has seen enough (`relais check | head -1`) closes the pipe; that is no failure of
//! ours, so a broken pipe is taken as success and the rest goes nowhere. Everything is flushed at
//! once, because somebody may be waiting for the line.

use std::io::{ErrorKind, IsTerminal, Write};

/// Writes a line to standard output.
///
/// # Errors
/// What the system says, unless the reader has gone.
pub(super) fn line(text: &str) -> std::io::Result<()> {
    write(&format!("{text}\n"))
}

/// Writes text to standard output as it is.
///
/// # Errors
/// As for [`line()`].
pub(super) fn write(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    forgive(written)
}

/// Writes a line to standard error; if even that fails there is nobody left to tell.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Shows how far something long has come, on standard error, where somebody looks.
pub(super) struct Progress {
    seen: bool,
    next: u64,
}

impl Progress {
    /// Between two showings.
    const STEP: u64 = 5000;

    pub(super) fn new() -> Self {
        Self {
            seen: std::io::stderr().is_terminal(),
            next: Self::STEP,
        }
    }

    /// So far.
    pub(super) fn at(&mut self, count: u64) {
        if self.seen && count >= self.next {
            self.next = count + Self::STEP;
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r{count}").and_then(|()| err.flush());
        }
    }

    /// Takes it away again.
    pub(super) fn end(&mut self) {
        if self.seen && self.next > Self::STEP {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r\u{1b}[K").and_then(|()| err.flush());
        }
    }
}

fn forgive(written: std::io::Result<()>) -> std::io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Colours of the terminal, none where there is no terminal or `NO_COLOR` asks for none
/// (<https://no-color.org>).
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// For standard output as it is.
    pub(super) fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(std::io::stdout().is_terminal() && !refused)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    pub(super) fn cyan(self, text: &str) -> String {
        self.with("36", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
