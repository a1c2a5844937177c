//! Wiring: builds every part of the daemon, and owns the order of starting and stopping.
//!
//! Starting goes upwards: data folder and lock, the port (bound early, so that one in use is found out
//! before there is work to undo), secrets, store, carriers, engine, and the listener last: a client
//! is answered only once everything below works. Stopping goes downwards, so that nothing is
//! asked of a part that has gone: listener, claiming, carriers (their windows drain), engine (what
//! the drivers reported is committed), store. Every step has a deadline, and missing one is safe:
//! restarting after `kill -9` is the same path as any start.
//!
//! `channels` holds the drivers, `reload` takes a new configuration while all this runs, `folder` keeps the
//! data folder to one process.
//!
//! Nothing here is global: two daemons can run in one process, each with its own clock.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::channel::ChannelEvent;
use crate::clock::{Clock, Random};
use crate::config::{Backend, Config, Durability};
use crate::domain::policy::Policy;
use crate::domain::privacy::{Keeping, Pseudonyms};
use crate::engine::Engine;
use crate::http::Reload as _;
use crate::metrics::Metrics;
use crate::store::{self, Store};
use crate::{engine, http};
use channels::{CHANNEL_DEADLINE, Carriers};
use folder::secret_in;
use listening::Listeners;
use reload::Reloader;

mod address;
mod channels;
mod folder;
mod listening;
mod live;
mod reload;

pub(crate) use address::Address;
pub(crate) use channels::{modem_config, smpp_config};
pub use folder::{Lock, admin_key_path, store_path, webhook_key_path};
pub(crate) use folder::{make_data_dir, write_secret};
pub use live::live;

/// Events that channels may have handed up and the engine has not yet taken.
const EVENTS_WAITING: usize = 4096;

/// How long each step of stopping may take. Together with the carriers' they stay below the 90 s that
/// systemd waits.
const HTTP_DEADLINE: Duration = Duration::from_secs(15);
const ENGINE_DEADLINE: Duration = Duration::from_secs(10);
const STORE_DEADLINE: Duration = Duration::from_secs(20);

/// Between two runs of the metrics' upkeep, which bounds the memory of histograms nobody reads.
const UPKEEP: Duration = Duration::from_secs(5);

/// What a daemon is given besides its configuration.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// Instead of the key in `<data_dir>/admin.key`.
    pub admin_key: Option<SecretString>,
    /// The file that the configuration was read from, and is read from again; `None`: it cannot be.
    pub config_file: Option<PathBuf>,
}

impl Parts {
    /// The machine's clock and chance, and `RELAIS_ADMIN_KEY`.
    #[must_use]
    pub fn system() -> Self {
        let key = std::env::var("RELAIS_ADMIN_KEY").ok();
        Self {
            clock: Clock::system(),
            random: Random::system(),
            admin_key: key.filter(|key| !key.is_empty()).map(SecretString::from),
            config_file: None,
        }
    }
}

/// Why the daemon did not start. Nothing is left running.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder cannot be made or used.
    #[error("data_dir {}: {source}; it must be a folder that this user can write", folder.display())]
    DataDir {
        /// Which.
        folder: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another daemon uses the data folder.
    #[error("data_dir {} is in use by another relais; stop it, or give this one a folder of its own", .0.display())]
    Locked(PathBuf),
    /// The store cannot be opened; says what to do.
    #[error("store: {0}")]
    Store(#[from] store::OpenError),
    /// The store in memory cannot be made.
    #[error("store: {0}")]
    Memory(#[from] store::RecoverError),
    /// A secret of the installation cannot be read or made.
    #[error("secret {}: {source}", file.display())]
    Secret {
        /// Its file.
        file: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The certificate of the interface cannot be used.
    #[error("http.tls_cert_file: {0}")]
    Tls(#[from] rustls::Error),
    /// The address cannot be listened on.
    #[error("http.{key} {at}: {source}; is another program there?")]
    Listen {
        /// By which key.
        key: &'static str,
        /// Which.
        at: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
}

/// The daemon before it runs.
#[derive(Debug)]
pub struct Daemon;

/// A daemon that runs until [`stop`](Self::stop).
pub struct Running {
    /// Where it listens.
    pub http_addr: SocketAddr,
    /// Where `/metrics` is, if it has a listener of its own.
    pub metrics_addr: Option<SocketAddr>,
    /// The key with every scope on tenant `default`.
    pub admin_key: SecretString,
    /// The engine, for those who live in the same process.
    pub engine: Arc<Engine>,
    /// What the configuration says of the level of the log: to be heeded by whoever logs.
    pub log_level: watch::Receiver<String>,
    reloader: Reloader,
    stops: Stops,
    http: JoinHandle<()>,
    engine_tasks: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    data_dir: PathBuf,
    _lock: Lock,
}

/// What is told to stop, in this order.
#[derive(Clone, Debug, Default)]
struct Stops {
    reloading: CancellationToken,
    listening: CancellationToken,
    channels: CancellationToken,
    engine: engine::Stop,
}

impl Daemon {
    /// Starts everything; when this returns, the daemon accepts messages. Needs a tokio runtime.
    ///
    /// # Errors
    /// The first thing that is in the way, and what to do about it.
    pub async fn start(config: Config, parts: Parts) -> Result<Running, StartError> {
        let Parts {
            clock,
            random,
            admin_key,
            config_file,
        } = parts;
        make_data_dir(&config.data_dir)?;
        let lock = Lock::take(&config.data_dir)?;
        // Bound before anything is opened: a port in use is found out before there is work to undo.
        let (live, listening) = watch::channel(Arc::new(live(&config)?));
        let listeners = Listeners::bind(&config).await?;
        let (http_addr, metrics_addr) = (listeners.http_addr, listeners.metrics_addr);
        let admin_key = match admin_key {
            Some(key) => key,
            None => secret_in(admin_key_path(&config.data_dir), &random)?,
        };

        let webhook_key = secret_in(webhook_key_path(&config.data_dir), &random)?;
        let signing_key: [u8; 32] = Sha256::digest(webhook_key.expose_secret()).into();

        let (policy, rules) = watch::channel(Arc::new(config.policy.clone()));
        let store = open_store(&config, &signing_key, rules.clone(), &clock)?;
        let stops = Stops::default();
        let (events, reported) = mpsc::channel(EVENTS_WAITING);
        let mut carriers = Carriers::new(&clock, &random, &config.data_dir, events, &stops);
        config.lines().into_iter().for_each(|it| carriers.start(it));

        let metrics = Arc::new(Metrics::new());
        let engine = Arc::new(Engine::new(engine::Parts {
            store,
            policy: rules,
            clock,
            random,
            metrics: metrics.clone(),
            channels: carriers.handles(),
            signing_key,
        }));
        let engine_tasks = start_engine(&engine, reported, &stops);
        let upkeep = tokio::spawn(keep_up(metrics, stops.engine.working.clone()));
        let metrics = metrics_addr.map(tracing::field::display);
        tracing::info!(%http_addr, metrics_addr = metrics, data_dir = %config.data_dir.display(), "started");
        let stopping = stops.reloading.clone();
        Address::new(http_addr, config.http.tls.as_ref()).tell(&config.data_dir);
        let data_dir = config.data_dir.clone();
        let (log_level, level) = watch::channel(config.log.level.clone());
        let running = reload::Running {
            log_level,
            config,
            policy,
            live,
            http_addr,
            carriers,
        };
        let reloader = Reloader::new(config_file, running, engine.clone(), stopping);
        let settings = http::Settings {
            reload: Some(Arc::new(reloader.clone())),
            metrics_apart: metrics_addr.is_some(),
            live: listening,
            webhook_key: Some(webhook_key),
            ..http::Settings::new(admin_key.clone())
        };
        let http = listeners.serve(&engine, settings, &stops.listening);
        Ok(Running {
            http_addr,
            metrics_addr,
            admin_key,
            engine,
            log_level: level,
            reloader,
            stops,
            http,
            engine_tasks,
            upkeep,
            data_dir,
            _lock: lock,
        })
    }
}

impl Running {
    /// Reads the configuration again, and does what has changed. A second one waits for the first.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn reload(
        &self,
    ) -> impl Future<Output = Result<http::Reloaded, http::NotReloaded>> + Send + use<> {
        let reloader = self.reloader.clone();
        async move { reloader.reload().await }
    }

    /// Finishes what is under way and stops, each step within its deadline.
    pub async fn stop(self) {
        tracing::info!("stopping");
        // Nothing more is started; a reload that waits for something to end leaves that to us.
        self.stops.reloading.cancel();
        self.stops.listening.cancel();
        ended("http", self.http, HTTP_DEADLINE).await;
        Address::forget(&self.data_dir);
        self.stops.engine.claiming.cancel();
        self.stops.channels.cancel();
        match tokio::time::timeout(CHANNEL_DEADLINE, self.reloader.take()).await {
            Ok(Some(carriers)) => carriers.stop().await,
            Ok(None) => {}
            Err(_) => tracing::warn!(what = "reload", "not stopped in time"),
        }
        self.stops.engine.working.cancel();
        tokio::join!(
            ended("engine", self.engine_tasks, ENGINE_DEADLINE),
            ended("metrics", self.upkeep, ENGINE_DEADLINE),
        );
        let closed = tokio::time::timeout(STORE_DEADLINE, self.engine.store.close()).await;
        if closed.is_err() {
            tracing::warn!(what = "store", "not stopped in time");
        }
        tracing::info!("stopped");
    }
}

/// Waits for a task, and ends it by force past its deadline.
async fn ended(what: &str, mut task: JoinHandle<()>, deadline: Duration) {
    match tokio::time::timeout(deadline, &mut task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(what, %error, "task ended badly"),
        Err(_) => {
            tracing::warn!(what, "not stopped in time");
            task.abort();
        }
    }
}

fn open_store(
    config: &Config,
    signing_key: &[u8; 32],
    rules: watch::Receiver<Arc<Policy>>,
    clock: &Clock,
) -> Result<Arc<dyn Store>, StartError> {
    let options = store::Options {
        durability: match config.store.durability {
            Durability::Power => store::Durability::Power,
            Durability::Process => store::Durability::Process,
        },
        cache_bytes: config.store.cache_bytes,
        keeping: Keeping {
            retention: config.retention,
            pseudonyms: Pseudonyms::of_installation(signing_key),
            hashed_optouts: config.hashed_optouts,
        },
    };
    Ok(match config.store.backend {
        Backend::Sled => store::open(&store_path(&config.data_dir), &options, rules, clock.now())?,
        Backend::Memory => store::memory(rules, clock.now())?,
    })
}

fn start_engine(
    engine: &Arc<Engine>,
    reported: mpsc::Receiver<ChannelEvent>,
    stops: &Stops,
) -> JoinHandle<()> {
    let mut tasks = engine::run(engine, reported, &stops.engine);
    tokio::spawn(async move {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "engine task ended badly");
            }
        }
    })
}

async fn keep_up(metrics: Arc<Metrics>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(UPKEEP))
        .await
        .is_some()
    {
        metrics.upkeep();
    }
}
