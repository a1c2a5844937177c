//! Logging to standard error: the one thing of the process that is set once for all.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Put before what the configuration says. `rusmpp` logs whole PDUs and `rlibphonenumber` whole
/// numbers: personal data, so both are silent unless somebody names them.
const SILENCED: &str = "rusmpp=off,rlibphonenumber=off,sled=warn,hyper=warn,reqwest=warn";

/// Starts logging. `RUST_LOG` replaces the configured level. A second call changes nothing.
pub(super) fn init(log: &Log) {
    let level = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let level = level.as_deref().unwrap_or(&log.level);
    let filter = EnvFilter::try_new(format!("{SILENCED},{level}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("{SILENCED},info")));
    let builder = tracing_subscriber::fmt()
        // Its complaint about a closed standard error would be a panic, and end the daemon.
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let _ = match log.format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
