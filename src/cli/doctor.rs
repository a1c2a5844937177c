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

use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpListener;

use super::args::ConfigFile;
use super::client::{self, Api};
use super::out::{self, Paint};
use super::texts::Lang;
use super::{Failure, warn};
use crate::channel::smpp::errors::status_text;
use crate::channel::smpp::trial::{self, TrialError};
use crate::clock::Clock;
use crate::config::{self, Backend, Config, Durability, SmppAccount};
use crate::daemon;

mod modem;

/// An fsync that takes longer is worth a word: every acceptance waits for one.
const SLOW_SYNC: Duration = Duration::from_millis(50);
/// Number of syncs that are timed; the middle one counts.
const SYNCS: usize = 5;
/// Less free room than this is worth a word.
const LITTLE_ROOM_MIB: u64 = 1024;
/// Less than this is about to stop the store.
const NO_ROOM_MIB: u64 = 64;

/// How a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Ok,
    Warning,
    Error,
}

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
        .block_on(doctor.examine(&config))?;
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

    async fn examine(&mut self, config: &Config) -> io::Result<()> {
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
        if config.smpp.is_empty() && config.modems.is_empty() {
            return self.warning(&self.lang.doctor_no_accounts());
        }
        if runs {
            self.ok(&self.lang.doctor_daemon_runs())?;
            return self.ask(config).await;
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
                let health = match Api::of(config, String::new().into(), lang) {
                    Ok(api) => api.call(Method::GET, "/healthz", None).await.is_ok(),
                    Err(_) => false,
                };
                if runs && health {
                    self.ok(&lang.doctor_listen_ours(at))
                } else {
                    self.error(&lang.doctor_listen_other(at))
                }
            }
            Err(error) => self.error(&lang.doctor_listen_refused(at, &error.to_string())),
        }
    }

    /// What the running daemon says of its channels.
    async fn ask(&mut self, config: &Config) -> io::Result<()> {
        let key = std::env::var("RELAIS_ADMIN_KEY")
            .or_else(|_| fs::read_to_string(daemon::admin_key_path(&config.data_dir)));
        let answer = match key {
            Err(error) => Err(error.to_string()),
            Ok(key) => {
                let key = key.trim().to_owned().into();
                match Api::of(config, key, self.lang) {
                    Ok(api) => api.call(Method::GET, "/v1/channels", None).await,
                    Err(failure) => Err(failure),
                }
                .map_err(Failure::into_words)
            }
        };
        let channels = match answer {
            Ok(channels) => channels,
            Err(cause) => return self.error(&self.lang.doctor_daemon_silent(&cause)),
        };
        let mut rules: Vec<(&str, &str)> = Vec::new();
        for channel in client::list(&channels, "data") {
            self.channel(channel)?;
            self.modem_of_daemon(channel)?;
            let rule = (
                client::text(channel, "account"),
                client::text(channel, "receipt_ids"),
            );
            if !rule.1.is_empty() && !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        for (account, rule) in rules {
            self.ok(&self.lang.doctor_receipt_ids(account, rule))?;
        }
        Ok(())
    }

    fn channel(&mut self, channel: &Value) -> io::Result<()> {
        let status = client::text(channel, "status");
        let cause = client::text(channel, "cause");
        let name = client::text(channel, "name");
        let weight = match status {
            "up" => Weight::Ok,
            "down" => Weight::Error,
            _ => Weight::Warning,
        };
        let cause = if weight == Weight::Ok { "" } else { cause };
        self.say(weight, &self.lang.doctor_channel(name, status, cause))
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
