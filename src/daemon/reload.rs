//! A new configuration while the process runs: read whole, validated whole, compared, and then only what
//! has changed is done.
//!
//! One reload at a time: a second one waits, and compares with what the first has made. What is begun is
//! finished by a task of its own, whoever asked for it: a client that hangs up in the middle must not
//! leave half of a configuration behind. A stop does not wait for a reload: what it has not begun is left,
//! and what it waits for is the stop's to wait for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::address::Address;
use super::channels::Carriers;
use crate::config::diff::{Diff, Line, is_read_at_start};
use crate::config::{self, Config, ConfigError, ConfigErrors};
use crate::domain::id::{Account, Lane};
use crate::domain::policy::Policy;
use crate::engine::Engine;
use crate::http::{self, ChangedKey, NotReloaded, Reload, Reloaded, StillWaiting};

/// What a reload changes.
pub(super) struct Running {
    /// The configuration in force.
    pub(super) config: Config,
    /// Its rules, for whoever decides by them.
    pub(super) policy: watch::Sender<Arc<Policy>>,
    /// What of the HTTP interface may change.
    pub(super) live: watch::Sender<Arc<http::Live>>,
    /// Where that listens.
    pub(super) http_addr: SocketAddr,
    /// What it says of the level of the log.
    pub(super) log_level: watch::Sender<String>,
    /// Its drivers.
    pub(super) carriers: Carriers,
}

/// Reads the configuration again; all of its clones are one.
#[derive(Clone)]
pub(super) struct Reloader(Arc<Inner>);

struct Inner {
    file: Option<PathBuf>,
    /// `None` once the process stops.
    running: Mutex<Option<Running>>,
    engine: Arc<Engine>,
    stopping: CancellationToken,
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut f = f.debug_struct("Reloader");
        f.field("file", &self.0.file).finish_non_exhaustive()
    }
}

#[async_trait]
impl Reload for Reloader {
    async fn reload(&self) -> Result<Reloaded, NotReloaded> {
        let inner = self.0.clone();
        let reloading = tokio::spawn(async move { inner.reload().await });
        match reloading.await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "reload ended badly");
                Err(NotReloaded::Stopping)
            }
        }
    }
}

impl Reloader {
    pub(super) fn new(
        file: Option<PathBuf>,
        running: Running,
        engine: Arc<Engine>,
        stopping: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            file,
            running: Mutex::new(Some(running)),
            engine,
            stopping,
        }))
    }

    /// The drivers, to be stopped. Nothing is reloaded any more.
    pub(super) async fn take(&self) -> Option<Carriers> {
        self.0.running.lock().await.take().map(|it| it.carriers)
    }
}

impl Inner {
    async fn reload(&self) -> Result<Reloaded, NotReloaded> {
        let file = self.file.clone().ok_or(NotReloaded::NoFile)?;
        let mut running = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Err(NotReloaded::Stopping),
            running = self.running.lock() => running,
        };
        let running = running.as_mut().ok_or(NotReloaded::Stopping)?;
        // Secrets, certificates and includes are files too, on whatever disk.
        let reading = tokio::task::spawn_blocking(move || config::load(&file)).await;
        let failed = self
            .engine
            .metrics
            .gauge("relais_config_reload_failed", &[]);
        let new = match reading.unwrap_or_else(|_| Err(self.not_read())) {
            Ok(new) => new,
            Err(ConfigErrors(errors)) => {
                failed.set(1.0);
                for error in &errors {
                    tracing::error!(%error, "configuration is wrong; the old one stays in force");
                }
                let errors = errors.iter().map(ToString::to_string).collect();
                return Err(NotReloaded::Invalid(errors));
            }
        };
        let listening = super::live(&new).map_err(|error| {
            failed.set(1.0);
            tracing::error!(%error, "TLS is not possible; the old configuration stays in force");
            let file = self.file.as_deref().unwrap_or(Path::new(""));
            let error = format!("{}: http.tls_cert_file: {error}", file.display());
            NotReloaded::Invalid(vec![error])
        })?;
        let diff = Diff::between(&running.config, &new);
        tell(&diff, &new);
        self.take(running, &diff, &new, listening).await?;
        failed.set(0.0);
        let reloaded = self.report(&diff, &new);
        running.config = as_started(new, &running.config);
        tracing::info!(changes = diff.changes.len(), "configuration_reloaded");
        Ok(reloaded)
    }

    /// What is said of a file whose reading has panicked: a mistake of ours, but one that is told.
    fn not_read(&self) -> ConfigErrors {
        let file = self.file.as_deref().unwrap_or(Path::new(""));
        ConfigErrors(vec![ConfigError {
            source: file.display().to_string(),
            line: 0,
            key: String::new(),
            problem: "reading it ended badly; the log of the daemon has more".to_owned(),
        }])
    }

    /// Puts a configuration in force.
    async fn take(
        &self,
        running: &mut Running,
        diff: &Diff,
        new: &Config,
        listening: http::Live,
    ) -> Result<(), NotReloaded> {
        let order: Vec<Account> = new.lines().iter().map(Line::name).cloned().collect();
        let Running {
            policy,
            live,
            log_level,
            http_addr,
            carriers,
            config,
        } = running;
        let address = Address::new(*http_addr, new.http.tls.as_ref());
        // What else takes a new configuration while it runs, takes it here.
        let publish = || {
            policy.send_replace(Arc::new(new.policy.clone()));
            live.send_replace(Arc::new(listening));
            address.tell(&config.data_dir);
            log_level.send_if_modified(|level| {
                let other = *level != new.log.level;
                level.clone_from(&new.log.level);
                other
            });
        };
        carriers
            .change(&self.engine, diff, &order, publish)
            .await
            .map_err(|_| NotReloaded::Stopping)
    }

    fn report(&self, diff: &Diff, new: &Config) -> Reloaded {
        let changes = diff.changes.iter().map(|change| ChangedKey {
            key: change.key.clone(),
            was: change.was.clone(),
            is: change.is.clone(),
            effect: change.effect.word(),
        });
        let reloaded = Reloaded {
            changes: changes.collect(),
            needs_restart: diff.needs_restart().map(|it| it.key.clone()).collect(),
            waiting: self.waiting(&new.policy),
            warnings: new.warnings.iter().map(ToString::to_string).collect(),
        };
        for it in &reloaded.waiting {
            tracing::warn!(
                operator = it.operator,
                under = it.under,
                messages = it.messages,
                why = it.why,
                "messages_wait"
            );
        }
        reloaded
    }

    /// What waits for an operator that is no more, or for one that has no channel.
    fn waiting(&self, policy: &Policy) -> Vec<StillWaiting> {
        let gauges = self.engine.store.gauges(self.engine.clock.now());
        let mut waiting: Vec<StillWaiting> = Vec::new();
        for (operator, _, messages) in gauges.waiting {
            let under = policy.operator(&operator).name.clone();
            if let Some(known) = waiting
                .iter_mut()
                .find(|it| it.operator == operator.as_str())
            {
                known.messages += messages;
                continue;
            }
            waiting.push(StillWaiting {
                under: under.to_string(),
                messages,
                operator: operator.to_string(),
                why: self.engine.holdup(&Lane { operator }).map(|(why, _)| why),
            });
        }
        waiting.retain(|it| {
            it.messages > 0 && (it.operator != it.under || it.why == Some("no_channel"))
        });
        waiting
    }
}

/// Logs what changes, a line a key, before it is done.
fn tell(diff: &Diff, new: &Config) {
    for warning in &new.warnings {
        tracing::warn!(%warning, "configuration");
    }
    for change in &diff.changes {
        let (key, was, is) = (&change.key, &change.was, &change.is);
        let effect = change.effect.word();
        tracing::info!(key, was, is, effect, "configuration_changed");
    }
}

/// A new configuration with what the process goes on with instead of what it says: so that the next
/// reload says again what needs a restart.
fn as_started(mut new: Config, running: &Config) -> Config {
    new.given.retain(|key, _| !is_read_at_start(key));
    let kept = running.given.iter();
    let kept = kept.filter(|(key, _)| is_read_at_start(key));
    let kept = kept.map(|(key, given)| (key.clone(), given.clone()));
    new.given.extend(kept);
    new
}
