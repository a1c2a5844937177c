//! `relais sim smsc` and `relais sim modem`: the simulators as processes of their own.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::serve::Signals;
use super::texts::Lang;
use super::{Failure, log, out, runtime};
use crate::clock::{Clock, Random};
use crate::config::{Log, LogFormat};
use crate::sim::modem::{self, ModemHandle, ModemScript};
use crate::sim::smsc::{self, SmscScript};

/// Between two lines of the ledger.
const EVERY: Duration = Duration::from_millis(500);

/// Runs the SMSC until SIGTERM or SIGINT. The first line of output names its address.
pub(super) fn smsc(
    listen: Option<SocketAddr>,
    script: Option<&Path>,
    lang: Lang,
) -> Result<(), Failure> {
    let mut script = match script {
        Some(path) => read(path)?,
        None => SmscScript::default(),
    };
    if let Some(listen) = listen {
        script.listen = listen.to_string();
    }
    quietly();
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let listener = tokio::net::TcpListener::bind(&script.listen)
            .await
            .map_err(|error| Failure::Failed(format!("{}: {error}", script.listen)))?;
        let smsc = smsc::serve(listener, script, &Clock::system(), &Random::system())?;
        let at = smsc.local_addr().map(|at| at.to_string());
        out::line(&lang.sim_listens(&at.unwrap_or_default()))?;
        tokio::select! {
            () = signals.until_stop() => {}
            result = count(|| smsc.ledger(|ledger| format!(
                "bound {}  submit_sm {}  deliver_sm {}  acknowledged {}",
                ledger.bound,
                ledger.submitted_total,
                ledger.delivered_total,
                ledger.acknowledged_total
            ))) => result?,
        }
        out::line("")?;
        smsc.shutdown().await;
        Ok(())
    })
}

/// Runs the modem until SIGTERM or SIGINT. The first line of output names its link; `ledger` gets a
/// line of JSON for each message that it is given to send.
pub(super) fn modem(
    link: Option<PathBuf>,
    script: Option<&Path>,
    ledger: Option<&Path>,
    lang: Lang,
) -> Result<(), Failure> {
    let mut script = match script {
        Some(path) => read(path)?,
        None => ModemScript::default(),
    };
    if let Some(link) = link {
        script.link = link;
    }
    let ledger = ledger.map(append).transpose()?;
    quietly();
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let at = script.link.display().to_string();
        let modem = modem::serve(script, &Clock::system(), &Random::system())
            .map_err(|error| Failure::Failed(format!("{at}: {error}")))?;
        out::line(&lang.sim_modem_is_at(&at))?;
        tokio::select! {
            () = signals.until_stop() => {}
            result = note(ledger, &modem) => result?,
            result = count(|| modem.ledger(|ledger| format!(
                "plugged {}  commands {}  sent {}  handed over {}  held {}",
                u8::from(ledger.plugged),
                ledger.commands_total,
                ledger.sent_total,
                ledger.delivered_total,
                ledger.held
            ))) => result?,
        }
        out::line("")?;
        modem.shutdown().await;
        Ok(())
    })
}

fn quietly() {
    let _logging = log::init(&Log {
        format: LogFormat::Text,
        level: "warn".to_owned(),
    });
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let wrong = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    toml::from_str(&text).map_err(|error| wrong(error.to_string()))
}

fn append(path: &Path) -> Result<File, Failure> {
    let file = File::options().create(true).append(true).open(path);
    file.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

/// Appends every message that the modem is given to the file, at once, as a line each.
async fn note(file: Option<File>, modem: &ModemHandle) -> Result<(), Failure> {
    let Some(mut file) = file else {
        return std::future::pending().await;
    };
    let mut noted = 0;
    loop {
        modem
            .wait_for(|ledger| ledger.submitted_total > noted)
            .await;
        let (total, lines) = modem.ledger(|ledger| {
            let new = ledger.submitted_after(noted);
            let lines: String = new.map(|entry| format!("{}\n", entry.json())).collect();
            (ledger.submitted_total, lines)
        });
        file.write_all(lines.as_bytes())?;
        noted = total;
    }
}

/// Writes what the ledger counts: over itself on a terminal, a line at every change elsewhere.
async fn count(look: impl Fn() -> String) -> Result<(), Failure> {
    let live = std::io::stdout().is_terminal();
    let mut last = String::new();
    loop {
        let line = look();
        if line != last {
            out::write(&if live {
                format!("\r{line}\u{1b}[K")
            } else {
                format!("{line}\n")
            })?;
            last = line;
        }
        tokio::time::sleep(EVERY).await;
    }
}
