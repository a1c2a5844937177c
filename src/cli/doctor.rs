//! `relais doctor`: what somebody needs to know when nothing works. It looks at the configuration,
//! the disk, the listen address, each carrier and each modem, one line a finding, with what to do
//! about it.
//!
//! It changes nothing: no store is opened, no folder made (of the data folder only the lock is
//! taken, for as long as it lasts), and where a daemon runs already nothing
//! binds a second time (carriers count sessions, and some close the first one); the daemon is asked
//! instead.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::args::ConfigFile;
use super::client::Api;
use super::out::{self, Paint};
use super::texts::Lang;
use super::watch::findings::{LITTLE_ROOM_MIB, NO_ROOM_MIB, Weight};
use super::{Failure, warn};
use crate::channel::smpp::errors::status_text;
use crate::channel::smpp::trial::{self, TrialError};
use crate::clock::Clock;
use crate::config::{self, Backend, Config, Durability, SmppAccount};
use crate::daemon;

mod modem;
mod running;

/// An fsync that takes longer is worth a word: every acceptance waits for one.
const SLOW_SYNC: Duration = Duration::from_millis(50);
/// Number of syncs that are timed; the middle one counts.
const SYNCS: usize = 5;
/// How long somebody is asked whether the clock is right.
const CLOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What was found so far.
struct Doctor {
    lang: Lang,
    paint: Paint,
    warnings: usize,
    errors: usize,
}

/// `relais doctor`. Fails if there is an error among the findings.
pub(super) fn run(file: &ConfigFile, lang: Lang) -> Result<(), Failure> {
    let config = config::load(&file.config)?;
    warn(&config, lang);
    let mut doctor = Doctor {
        lang,
        paint: Paint::for_stdout(),
        warnings: config.warnings.len(),
        errors: 0,
    };
    doctor.ok(&lang.doctor_config(&file.config.display().to_string()))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(doctor.examine(&config, &file.config))?;
    let sum = lang.doctor_sum(doctor.errors, doctor.warnings);
    if doctor.errors > 0 {
        return Err(Failure::Failed(sum));
    }
    out::line(&sum)?;
    Ok(())
}

impl Doctor {
    fn say(&mut self, weight: Weight, what: &str) -> io::Result<()> {
        let (word, lang) = (|word: &str| format!("{word:<10}"), self.lang);
        let word = match weight {
            Weight::Ok => self.paint.green(&word(lang.doctor_ok())),
            Weight::Warning => {
                self.warnings += 1;
                self.paint.yellow(&word(lang.doctor_warning()))
            }
            Weight::Error => {
                self.errors += 1;
                self.paint.red(&word(lang.doctor_error()))
            }
        };
        out::line(&format!("{word}{what}"))
    }

    fn ok(&mut self, what: &str) -> io::Result<()> {
        self.say(Weight::Ok, what)
    }

    fn warning(&mut self, what: &str) -> io::Result<()> {
        self.say(Weight::Warning, what)
    }

    fn error(&mut self, what: &str) -> io::Result<()> {
        self.say(Weight::Error, what)
    }

    async fn examine(&mut self, config: &Config, file: &Path) -> io::Result<()> {
        let clock = Clock::system();
        // Held to the end: no daemon starts while its account is being tried.
        let lock = match config.data_dir.is_dir() {
            true => daemon::Lock::take(&config.data_dir),
            false => Err(daemon::StartError::DataDir {
                folder: config.data_dir.clone(),
                source: io::ErrorKind::NotFound.into(),
            }),
        };
        let runs = matches!(lock, Err(daemon::StartError::Locked(_)));
        self.disk(config, &clock)?;
        self.listen(config, runs).await?;
        self.clock().await?;
        if config.smpp.is_empty() && config.modems.is_empty() {
            self.warning(&self.lang.doctor_no_accounts())?;
        }
        if runs {
            self.ok(&self.lang.doctor_daemon_runs())?;
            return self.ask(self.reach(config), file).await;
        }
        // Before its first start there is nothing to miss.
        if daemon::store_path(&config.data_dir).exists() {
            self.warning(&self.lang.doctor_daemon_stopped())?;
        }
        for account in &config.smpp {
            self.account(account, &clock).await?;
        }
        for modem in &config.modems {
            self.modem(modem, &config.data_dir).await?;
        }
        Ok(())
    }

    fn disk(&mut self, config: &Config, clock: &Clock) -> io::Result<()> {
        if config.store.backend == Backend::Memory {
            self.warning(&self.lang.doctor_memory())?;
        }
        let folder = existing(&config.data_dir);
        let shown = config.data_dir.display().to_string();
        if folder != config.data_dir {
            self.warning(&self.lang.doctor_dir_absent(&shown))?;
        }
        match timed_syncs(&folder, clock) {
            Ok(Ok(took)) if took > SLOW_SYNC && config.store.durability == Durability::Power => {
                self.warning(&self.lang.doctor_fsync_slow(took))?;
            }
            Ok(Ok(took)) => self.ok(&self.lang.doctor_fsync(took))?,
            // There is room, or there is not, which is said below.
            Ok(Err(error)) if error.kind() == io::ErrorKind::StorageFull => {}
            Ok(Err(error)) => self.error(&self.lang.doctor_fsync_fails(&error.to_string()))?,
            Err(error) => {
                let shown = folder.display().to_string();
                self.error(&self.lang.doctor_unwritable(&shown, &error.to_string()))?;
            }
        }
        match free_mebibytes(&folder) {
            Ok(free) if free < NO_ROOM_MIB => self.error(&self.lang.doctor_little_room(free)),
            Ok(free) if free < LITTLE_ROOM_MIB => self.warning(&self.lang.doctor_little_room(free)),
            Ok(free) => self.ok(&self.lang.doctor_room(free)),
            Err(error) => self.warning(&self.lang.doctor_room_unknown(&error.to_string())),
        }
    }

    async fn listen(&mut self, config: &Config, runs: bool) -> io::Result<()> {
        let (at, lang) = (config.http.listen, self.lang);
        match TcpListener::bind(at).await {
            Ok(_) if runs && at.port() != 0 => self.error(&lang.doctor_listen_deaf(at)),
            Ok(_) => self.ok(&lang.doctor_listen_free(at)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let there = match Api::of(config, String::new().into(), lang) {
                    Ok(api) => api.is_there().await,
                    Err(_) => false,
                };
                if runs && there {
                    self.ok(&lang.doctor_listen_ours(at))
                } else {
                    self.error(&lang.doctor_listen_other(at))
                }
            }
            Err(error) => self.error(&lang.doctor_listen_refused(at, &error.to_string())),
        }
    }

    /// The running daemon, by the configuration and its admin key.
    fn reach(&self, config: &Config) -> Result<Api, Failure> {
        let key = std::env::var("RELAIS_ADMIN_KEY")
            .or_else(|_| fs::read_to_string(daemon::admin_key_path(&config.data_dir)))?;
        let key = key.trim().to_owned().into();
        Api::of(config, key, self.lang)
    }

    /// Tries an account from end to end; the first thing that fails is the last that is said.
    async fn account(&mut self, account: &SmppAccount, clock: &Clock) -> io::Result<()> {
        let (lang, name) = (self.lang, account.name.as_str());
        let config = Arc::new(daemon::smpp_config(account));
        let addresses = match trial::resolve(&config).await {
            Ok(addresses) if !addresses.is_empty() => addresses,
            Ok(_) => return self.error(&lang.doctor_unresolved(name, &account.host, "0")),
            Err(error) => {
                let cause = error.to_string();
                return self.error(&lang.doctor_unresolved(name, &account.host, &cause));
            }
        };
        self.ok(&lang.doctor_resolved(name, &account.host, addresses.len()))?;
        match trial::connect(&addresses).await {
            Ok(at) => self.ok(&lang.doctor_connected(name, at))?,
            Err(error) => {
                let at = format!("{}:{}", account.host, account.port);
                return self.error(&lang.doctor_unreachable(name, &at, &error.to_string()));
            }
        }
        let tls = account.tls.is_some();
        let said = match trial::bind(&config, clock).await {
            Ok(()) => return self.ok(&lang.doctor_bound(name, tls)),
            Err(TrialError::Refused(status)) => {
                lang.doctor_refused(name, status, &status_text(status))
            }
            Err(TrialError::Silent(limit)) => lang.doctor_silent(name, limit),
            Err(TrialError::Connect(error)) if tls => lang.doctor_no_tls(name, &error.to_string()),
            Err(error) => lang.doctor_bind_failed(name, &error.to_string()),
        };
        self.error(&said)
    }
}

/// The folder, or the nearest one above it that there is.
fn existing(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find(|folder| folder.is_dir());
    found.unwrap_or(Path::new(".")).to_owned()
}

/// How long it takes to write a little and have the disk confirm it. The outer error is about
/// writing at all, the inner one about the confirmation.
fn timed_syncs(folder: &Path, clock: &Clock) -> io::Result<io::Result<Duration>> {
    let path = folder.join(format!(".relais-doctor-{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    let mut took = Vec::with_capacity(SYNCS);
    let mut measured = Ok(());
    for _ in 0..SYNCS {
        let since = clock.elapsed();
        measured = file.write_all(&[0; 4096]).and_then(|()| file.sync_all());
        if measured.is_err() {
            break;
        }
        took.push(clock.elapsed().saturating_sub(since));
    }
    let _ = fs::remove_file(&path);
    took.sort_unstable();
    Ok(measured.map(|()| took.get(SYNCS / 2).copied().unwrap_or_default()))
}

/// Free room for this user.
fn free_mebibytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize) >> 20)
}
