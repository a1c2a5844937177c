//! Logging to standard error, and traces by OTLP where the build has them: the one thing of the process
//! that is set once for all.

use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, registry, reload};

use crate::config::{Log, LogFormat};

#[cfg(feature = "otel")]
mod otel;

/// Put before what the configuration says. `rusmpp` logs whole PDUs and `rlibphonenumber` whole
/// numbers: personal data, so both are silent unless somebody names them.
const SILENCED: &str = "rusmpp=off,rlibphonenumber=off,sled=warn,hyper=warn,reqwest=warn";

/// What is finished when the process ends: dropping it sends the traces that wait, which needs the
/// runtime that it was made in.
#[must_use]
pub(super) struct Logging {
    /// Changes the level; `None` where `RUST_LOG` has the last word.
    level: Option<reload::Handle<EnvFilter, Registry>>,
    #[cfg(feature = "otel")]
    _traces: Option<otel::Traces>,
}

/// Starts logging. `RUST_LOG` replaces the configured level. A second call changes nothing. Traces need
/// the runtime in whose context this is called.
pub(super) fn init(log: &Log) -> Logging {
    let ordered = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let (filter, handle) = reload::Layer::new(filter(ordered.as_deref().unwrap_or(&log.level)));
    let level = ordered.is_none().then_some(handle);
    let lines = fmt::layer()
        // Its complaint about a closed standard error would be a panic, and end the daemon.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let subscriber = registry().with(lines.with_filter(filter));
    #[cfg(feature = "otel")]
    let (traces, spans) = otel::start();
    #[cfg(feature = "otel")]
    let subscriber = subscriber.with(spans);
    let _ = subscriber.try_init();
    Logging {
        level,
        #[cfg(feature = "otel")]
        _traces: traces,
    }
}

impl Logging {
    /// Logs by another level from now on.
    pub(super) fn set_level(&self, level: &str) {
        if let Some(handle) = &self.level
            && let Err(error) = handle.reload(filter(level))
        {
            tracing::error!(%error, "log.level");
        }
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(format!("{SILENCED},{level}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("{SILENCED},info")))
}
