//! Wiring: builds every part of the daemon, and owns the order of starting and stopping.
//!
//! Starting goes upwards: data folder and lock, the port (bound early, so that one in use is found out
//! before there is work to undo), secrets, store, carriers, engine, and the listener last: a client
//! is answered only once everything below works. Stopping goes downwards, so that nothing is
//! asked of a part that has gone: listener, claiming, carriers (their windows drain), engine (what
//! the drivers reported is committed), store. Every step has a deadline, and missing one is safe:
//! restarting after `kill -9` is the same path as any start.
//!
//! Nothing here is global: two daemons can run in one process, each with its own clock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::channel::modem::{self, ModemConfig};
use crate::channel::smpp::tls::TlsSettings;
use crate::channel::smpp::{self, BindMode, SmppConfig};
use crate::channel::{ChannelEvent, ChannelHandle};
use crate::clock::{Clock, Random};
use crate::config::{Backend, Bind, Config, Durability, ModemAccount, SmppAccount};
use crate::domain::id::ChannelId;
use crate::domain::policy::Policy;
use crate::domain::privacy::{Keeping, Pseudonyms};
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::store::{self, Store};
use crate::{engine, http};

/// Events that channels may have handed up and the engine has not yet taken.
const EVENTS_WAITING: usize = 4096;

/// How long each step of stopping may take. Together they stay below the 90 s that systemd waits.
///
/// A driver ends when what is under way is answered. A network may take its minute to answer a
/// modem; nearly always it is seconds, and the rare submission that is cut off here is found leased
/// at the next start, doubtful and kept to its account, where a status report settles it.
const HTTP_DEADLINE: Duration = Duration::from_secs(15);
const CHANNEL_DEADLINE: Duration = Duration::from_secs(40);
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
    /// The address cannot be listened on.
    #[error("http.listen {at}: {source}; is another program there?")]
    Listen {
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
    /// The key with every scope on tenant `default`.
    pub admin_key: SecretString,
    /// The engine, for those who live in the same process.
    pub engine: Arc<Engine>,
    /// Kept so that the rules in force have an owner.
    _policy: watch::Sender<Arc<Policy>>,
    stops: Stops,
    http: JoinHandle<()>,
    channels: Vec<(ChannelId, JoinHandle<()>)>,
    engine_tasks: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    _lock: Lock,
}

/// What is told to stop, in this order.
#[derive(Clone, Debug, Default)]
struct Stops {
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
        } = parts;
        make_data_dir(&config.data_dir)?;
        let lock = Lock::take(&config.data_dir)?;
        // Bound before anything is opened: a port in use is found out before there is work to undo.
        let at = config.http.listen;
        let listener = TcpListener::bind(at)
            .await
            .map_err(|source| StartError::Listen { at, source })?;
        let http_addr = listener
            .local_addr()
            .map_err(|source| StartError::Listen { at, source })?;
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
        let (handles, channels) = start_channels(&config, &clock, &random, &events, &stops);
        // From here on only the drivers hold a sender: when they have ended, the engine knows.
        drop(events);

        let metrics = Arc::new(Metrics::new());
        let engine = Arc::new(Engine::new(engine::Parts {
            store,
            policy: rules,
            clock,
            random,
            metrics: metrics.clone(),
            channels: handles,
            signing_key,
        }));
        let engine_tasks = start_engine(&engine, reported, &stops);
        let upkeep = tokio::spawn(keep_up(metrics, stops.engine.working.clone()));
        let http = start_http(listener, &engine, &admin_key, webhook_key, &stops);
        tracing::info!(%http_addr, data_dir = %config.data_dir.display(), "started");
        Ok(Running {
            http_addr,
            admin_key,
            engine,
            _policy: policy,
            stops,
            http,
            channels,
            engine_tasks,
            upkeep,
            _lock: lock,
        })
    }
}

impl Running {
    /// Finishes what is under way and stops, each step within its deadline.
    pub async fn stop(self) {
        tracing::info!("stopping");
        self.stops.listening.cancel();
        ended("http", self.http, HTTP_DEADLINE).await;
        self.stops.engine.claiming.cancel();
        self.stops.channels.cancel();
        let channels = self.channels.into_iter();
        join_all(channels.map(async |(id, task)| ended(id.as_str(), task, CHANNEL_DEADLINE).await))
            .await;
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
        },
    };
    Ok(match config.store.backend {
        Backend::Sled => store::open(&store_path(&config.data_dir), &options, rules, clock.now())?,
        Backend::Memory => store::memory(rules, clock.now())?,
    })
}

type Channels = (Vec<ChannelHandle>, Vec<(ChannelId, JoinHandle<()>)>);

fn start_channels(
    config: &Config,
    clock: &Clock,
    random: &Random,
    events: &mpsc::Sender<ChannelEvent>,
    stops: &Stops,
) -> Channels {
    let stop = &stops.channels;
    let binds = config.smpp.iter().flat_map(|account| {
        let account = Arc::new(smpp_config(account));
        smpp::start(account, clock, random, events, stop)
    });
    let modems = config.modems.iter().map(|account| {
        let account = Arc::new(modem_config(account, &config.data_dir));
        modem::start(account, clock, random, events, stop)
    });
    binds
        .chain(modems)
        .map(|(handle, task)| {
            let id = handle.id.clone();
            (handle, (id, task))
        })
        .unzip()
}

/// What the driver of an account is told of it.
pub(crate) fn smpp_config(account: &SmppAccount) -> SmppConfig {
    SmppConfig {
        account: account.name.clone(),
        host: account.host.clone(),
        port: account.port,
        tls: account.tls.as_ref().map(|tls| TlsSettings {
            ca_file: tls.ca_file.clone(),
            server_name: tls.server_name.clone(),
            identity: tls.identity.clone(),
        }),
        system_id: account.system_id.clone(),
        password: account.password.clone(),
        system_type: account.system_type.clone(),
        bind: match account.bind {
            Bind::Transceiver => BindMode::Transceiver,
            Bind::TransmitterReceiver => BindMode::TransmitterReceiver,
        },
        binds: usize::from(account.binds),
        window: account.window,
        response_timeout: account.response_timeout,
        enquire_link: account.enquire_link,
        reconnect_min: account.reconnect.0,
        reconnect_max: account.reconnect.1,
        sender: account.sender.clone(),
        source_ton: account.source_ton,
        source_npi: account.source_npi,
        dest_ton: Some(account.dest_ton),
        dest_npi: Some(account.dest_npi),
        service_type: account.service_type.clone(),
        data_coding_gsm: account.data_coding_gsm,
        alphabet: account.text.alphabet,
        packed_gsm: account.packed_gsm,
        refusals: account.refusals.clone(),
        wire: account.wire.clone(),
    }
}

/// What the driver of a modem is told of it. That its SIM has refused the PIN is remembered in the
/// data folder: a PIN that is tried three times blocks the SIM, restarts or not.
pub(crate) fn modem_config(account: &ModemAccount, data_dir: &Path) -> ModemConfig {
    ModemConfig {
        account: account.name.clone(),
        device: account.device.clone(),
        baud: account.baud,
        pin: account.pin.clone(),
        pin_memory: Some(data_dir.join(format!("modem-{}.pin", account.name))),
        service_centre: account.service_centre.clone(),
        submit_timeout: account.submit_timeout,
        rest: account.rest,
        sweep: account.sweep,
        check: account.check,
        ussd_balance: account.ussd_balance.clone(),
        ussd_every: account.ussd_every,
        reopen: account.reopen,
        power_command: account.power_command.clone(),
    }
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

fn start_http(
    listener: TcpListener,
    engine: &Arc<Engine>,
    admin_key: &SecretString,
    webhook_key: SecretString,
    stops: &Stops,
) -> JoinHandle<()> {
    let mut settings = http::Settings::new(admin_key.clone());
    settings.webhook_key = Some(webhook_key);
    let serving = http::serve(listener, engine.clone(), settings, stops.listening.clone());
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "http ended badly");
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

/// Where the store is in a data folder.
#[must_use]
pub fn store_path(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// Where the admin key is in a data folder.
#[must_use]
pub fn admin_key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.key")
}

/// Where the installation's own key is in a data folder: webhook secrets and pseudonyms come of it.
#[must_use]
pub fn webhook_key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("webhook.key")
}

/// The right to use a data folder, for one process at a time. Ends with its value or its process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a data folder.
    ///
    /// # Errors
    /// `Locked` if another daemon has it, `DataDir` if there is no such folder.
    pub fn take(data_dir: &Path) -> Result<Self, StartError> {
        let wrong = |source| StartError::DataDir {
            folder: data_dir.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(data_dir.join("lock"))
            .map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(StartError::Locked(data_dir.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(wrong(source)),
        }
    }
}

pub(crate) fn make_data_dir(folder: &Path) -> Result<(), StartError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| StartError::DataDir {
            folder: folder.to_owned(),
            source,
        })
}

/// The secret in a file of the data folder; made, once, if there is none.
fn secret_in(file: PathBuf, random: &Random) -> Result<SecretString, StartError> {
    let wrong = |source| StartError::Secret {
        file: file.clone(),
        source,
    };
    match fs::read_to_string(&file) {
        Ok(text) if text.trim().len() >= 16 => {
            let mode = file.metadata().map_err(wrong)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                tracing::warn!(file = %file.display(), "others can read this secret; chmod 600 it");
            }
            Ok(text.trim().to_owned().into())
        }
        Ok(_) => Err(wrong(io::Error::other(
            "it holds fewer than 16 characters; remove it and a new one is made",
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hex: String = random
                .bytes::<32>()
                .iter()
                .map(|octet| format!("{octet:02x}"))
                .collect();
            let secret = SecretString::from(format!("relais_{hex}"));
            write_secret(&file, secret.expose_secret()).map_err(wrong)?;
            Ok(secret)
        }
        Err(error) => Err(wrong(error)),
    }
}

/// Writes aside, syncs, renames, syncs the folder: the key is there whole or not at all.
pub(crate) fn write_secret(file: &Path, secret: &str) -> io::Result<()> {
    let aside = file.with_extension("key.new");
    let mut out = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    // A file left by an earlier try keeps its mode, whatever it was.
    out.set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(out, "{secret}")?;
    out.sync_all()?;
    fs::rename(&aside, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_admin_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = secret_in(admin_key_path(folder.path()), &Random::system()).unwrap();
        let again = secret_in(admin_key_path(folder.path()), &Random::system()).unwrap();
        assert_eq!(key.expose_secret(), again.expose_secret());
        assert_eq!(key.expose_secret().len(), "relais_".len() + 64);
        let file = admin_key_path(folder.path());
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        fs::write(&file, "short\n").unwrap();
        assert!(matches!(
            secret_in(admin_key_path(folder.path()), &Random::system()),
            Err(StartError::Secret { .. })
        ));
    }

    #[test]
    fn a_data_folder_serves_one_daemon_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("a/b");
        make_data_dir(&data_dir).unwrap();
        assert_eq!(
            fs::metadata(&data_dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let lock = Lock::take(&data_dir).unwrap();
        let refused = Lock::take(&data_dir).unwrap_err();
        assert!(matches!(refused, StartError::Locked(_)), "{refused}");
        drop(lock);
        Lock::take(&data_dir).unwrap();
    }
}
