//! `relais sim smsc`: the simulated SMSC as a process of its own.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::serve::Signals;
use super::texts::Lang;
use super::{Failure, log, out, runtime};
use crate::clock::{Clock, Random};
use crate::config::{Log, LogFormat};
use crate::sim::smsc::{self, SmscHandle, SmscScript};

/// Between two lines of the ledger.
const EVERY: Duration = Duration::from_millis(500);

/// Runs the SMSC until SIGTERM or SIGINT. The first line of output names its address.
pub(super) fn run(
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
    log::init(&Log {
        format: LogFormat::Text,
        level: "warn".to_owned(),
    });
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let listener = tokio::net::TcpListener::bind(&script.listen)
            .await
            .map_err(|error| Failure::Failed(format!("{}: {error}", script.listen)))?;
        let smsc = smsc::serve(listener, script, &Clock::system(), &Random::system())?;
        let at = smsc.local_addr().map(|at| at.to_string());
        out::line(&lang.sim_listens(&at.unwrap_or_default()))?;
        tokio::select! {
            () = signals.until_stop(None) => {}
            result = count(&smsc) => result?,
        }
        out::line("")?;
        smsc.shutdown().await;
        Ok(())
    })
}

fn read(path: &Path) -> Result<SmscScript, Failure> {
    let wrong = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    toml::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// Writes what the ledger counts: over itself on a terminal, a line at every change elsewhere.
async fn count(smsc: &SmscHandle) -> Result<(), Failure> {
    let live = std::io::stdout().is_terminal();
    let mut last = String::new();
    loop {
        let line = smsc.ledger(|ledger| {
            format!(
                "bound {}  submit_sm {}  deliver_sm {}  acknowledged {}",
                ledger.bound,
                ledger.submitted_total,
                ledger.delivered_total,
                ledger.acknowledged_total
            )
        });
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
