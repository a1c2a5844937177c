//! The built binary as processes: a simulated SMSC, a daemon, and clients of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use relais::clock::Clock;

/// Longer than anything that works takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary with an environment that says nothing.
pub fn relais() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
    for name in [
        "LC_ALL",
        "LC_MESSAGES",
        "LANG",
        "RUST_LOG",
        "NO_COLOR",
        "RELAIS_URL",
        "RELAIS_KEY",
        "RELAIS_ADMIN_KEY",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A process that does not outlive its test, and what it has said.
pub struct Running {
    pub child: Child,
    said: std::sync::mpsc::Receiver<String>,
    log: String,
}

impl Running {
    /// Starts it and waits until it has said `wanted` on the stream that it speaks on.
    pub fn start(mut command: Command, wanted: &str) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, said) = std::sync::mpsc::channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in streams {
            let to = to.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines() {
                    if line.is_err() || to.send(line.unwrap()).is_err() {
                        break;
                    }
                }
            });
        }
        let mut running = Self {
            child,
            said,
            log: String::new(),
        };
        running.until(wanted);
        running
    }

    /// Waits until it has said this; everything that it has said so far.
    pub fn until(&mut self, wanted: &str) -> &str {
        let clock = Clock::system();
        while !self.log.contains(wanted) {
            let left = PATIENCE.saturating_sub(clock.elapsed());
            match self.said.recv_timeout(left) {
                Ok(line) => self.log.push_str(&(line + "\n")),
                Err(_) => panic!("no {wanted:?} in:\n{}", self.log),
            }
        }
        &self.log
    }

    /// What it has said behind this, up to the next blank.
    pub fn word_after(&mut self, wanted: &str) -> String {
        let said = self.until(wanted);
        let (_, rest) = said.split_once(wanted).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// Tells it to stop and waits until it has, as it should; everything that it has said.
    pub fn stop(mut self) -> String {
        signal(self.child.id(), "TERM");
        let code = self.child.wait().unwrap().code();
        // The streams end with the process.
        while let Ok(line) = self.said.recv_timeout(PATIENCE) {
            self.log.push_str(&(line + "\n"));
        }
        assert_eq!(code, Some(0), "{}", self.log);
        std::mem::take(&mut self.log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal with the system's own tool: `kill` is in every shell.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {process}")])
        .status()
        .unwrap();
    assert!(status.success());
}

/// A simulated SMSC with this script, and its address.
pub fn smsc(folder: &Path, script: &str) -> (Running, String) {
    let file = folder.join("smsc.toml");
    std::fs::write(&file, script).unwrap();
    let mut command = relais();
    command.args(["sim", "smsc", "--listen", "127.0.0.1:0", "--script"]);
    command.arg(file);
    let mut running = Running::start(command, "listening on 127.0.0.1:");
    let first = running
        .until("listening")
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let address = first.rsplit(' ').next().unwrap().to_owned();
    (running, address)
}

/// An address that was free just now: clients find the daemon by its configuration.
pub fn free_address() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

/// A configuration with the account `acme` at `smsc`; `more` is added to the account's table, and what
/// follows it.
pub fn configuration(
    folder: &Path,
    listen: &str,
    smsc: &str,
    password: &str,
    more: &str,
) -> PathBuf {
    let file = folder.join("relais.toml");
    let (host, port) = smsc.rsplit_once(':').unwrap();
    let data = folder.join("data");
    let text = format!(
        "data_dir = \"{}\"\n[http]\nlisten = \"{listen}\"\n[operators.default]\nroute = [\"acme\"]\n\
         [smpp.acme]\nhost = \"{host}\"\nport = {port}\nsystem_id = \"relais\"\n\
         password = \"{password}\"\n{more}\n",
        data.display()
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// A daemon of this configuration, as soon as it takes messages.
pub fn serve(file: &Path) -> Running {
    let mut command = relais();
    command.args(["serve", "--config", file.to_str().unwrap()]);
    Running::start(command, "started")
}

/// A command on this configuration.
pub fn with(file: &Path, arguments: &[&str]) -> Output {
    let mut command = relais();
    command.args(arguments);
    command.args(["--config", file.to_str().unwrap()]);
    command.output().unwrap()
}

/// Repeats a command until what it prints contains this; what it printed then.
pub fn until(file: &Path, arguments: &[&str], wanted: &str) -> String {
    let clock = Clock::system();
    loop {
        let said = out(&with(file, arguments));
        if said.contains(wanted) {
            return said;
        }
        assert!(clock.elapsed() < PATIENCE, "no {wanted:?} in:\n{said}");
    }
}
