//! The configuration: a TOML file, read whole and validated whole, made into plain data and a
//! [`Policy`].
//!
//! `raw` walks the file, and those that it includes, and keeps every mistake with its line; `http`,
//! `email`, `smpp`, `modem` and `operators` read their tables; `diff` compares one with the next; `effective`
//! writes what is in force, defaults included. Nothing here
//! starts, connects or writes anything, so that `check` can be run on a live machine.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::domain::chain;
use crate::domain::id::Account;
use crate::domain::policy::{Limits, Policy};
use crate::domain::privacy::Retention;
use raw::{Includes, Reader, Section};

pub mod diff;
pub mod duration;
mod effective;
mod email;
mod guard;
mod hours;
mod http;
mod inbound;
mod modem;
mod operators;
mod portability;
mod raw;
mod sims;
mod smpp;
#[cfg(test)]
mod tests;

pub use http::{Http, HttpTls};
pub use modem::ModemAccount;
pub use smpp::{Bind, SmppAccount, Tls};

/// Where the daemon looks when no file is named.
pub const DEFAULT_PATH: &str = "/etc/relais/relais.toml";

/// Where the daemon listens unless the configuration says otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8775);

/// Everything that a configuration says, defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the store, the lock and the admin key are.
    pub data_dir: PathBuf,
    /// The time zone of sending hours and schedules.
    pub timezone: chrono_tz::Tz,
    /// ISO 3166 code of the country whose national numbers are understood.
    pub default_country: String,
    /// The HTTP interface.
    pub http: Http,
    /// Durable state.
    pub store: StoreSettings,
    /// How long records are kept, whole and in part.
    pub retention: Retention,
    /// True: the numbers of those who have opted out are kept as keyed hashes.
    pub hashed_optouts: bool,
    /// Carrier accounts, in the order of the file.
    pub smpp: Vec<SmppAccount>,
    /// GSM modems, in the order of the file.
    pub modems: Vec<ModemAccount>,
    /// The rules of sending; limits and webhook networks included.
    pub policy: Policy,
    /// What is logged and how.
    pub log: Log,
    /// What is accepted but deserves a word.
    pub warnings: Vec<ConfigError>,
    /// Every key that the file gives.
    pub given: diff::GivenKeys,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Which engine.
    pub backend: Backend,
    /// What a 202 promises.
    pub durability: Durability,
    /// Most octets of records kept in memory.
    pub cache_bytes: u64,
}

/// Which engine keeps the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Embedded, on disk.
    Sled,
    /// In memory: nothing survives a stop. For trials and tests.
    Memory,
}

/// What a 202 promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It survives a power cut: the disk has confirmed it.
    Power,
    /// It survives `kill -9`: the operating system has it.
    Process,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// One line of text or one JSON object an event.
    pub format: LogFormat,
    /// A level, or directives such as `info,relais::channel=debug`.
    pub level: String,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// One thing that is wrong, or deserves a word, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub source: String,
    /// Line from 1; 0 if it is about the file as a whole.
    pub line: usize,
    /// Dotted key, with an index where it is about one item of a list; may be empty.
    pub key: String,
    /// What is wrong and what to do; never holds a secret.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Everything that is wrong with a configuration, in the order of the file; one line each.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// Reads and validates a file.
///
/// # Errors
/// Every mistake in it, or why it cannot be read.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let source = path.display().to_string();
    let text = text_of(path)?;
    let mut config = parse(&text, &source)?;
    // Only a secret in place makes the file itself one.
    if let Some(line) = text.lines().position(holds_a_secret)
        && let Some(problem) = raw::too_open(path)
    {
        config.warnings.push(ConfigError {
            source,
            line: line + 1,
            key: String::new(),
            problem,
        });
    }
    Ok(config)
}

/// Where a daemon with this file keeps its data, and its interface, as far as they can be read: what else
/// is wrong does not matter, and what is wrong with these is as if it were not there.
///
/// # Errors
/// Why the file cannot be read.
pub fn whereabouts(path: &Path) -> Result<(PathBuf, Http), ConfigErrors> {
    let (source, text) = (path.display().to_string(), text_of(path)?);
    let environment = |name: &str| std::env::var(name).ok();
    let includes = Includes::default();
    let mut reader = Reader::new(&source, &text, &includes, &environment);
    let mut root = reader.root();
    let data_dir = data_dir(&mut reader, &mut root);
    Ok((data_dir, http::read(&mut reader, &mut root)))
}

fn text_of(path: &Path) -> Result<String, ConfigErrors> {
    std::fs::read_to_string(path).map_err(|error| {
        ConfigErrors(vec![ConfigError {
            source: path.display().to_string(),
            line: 0,
            key: String::new(),
            problem: format!("cannot be read: {error}"),
        }])
    })
}

fn data_dir<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> PathBuf {
    let path = reader.take(root, "data_dir", |v| v.text());
    path.map_or_else(
        || PathBuf::from("/var/lib/relais"),
        |path| reader.beside(&path.value),
    )
}

/// Validates a text; `source` names it in errors, and relative paths in it start at `source`'s folder.
///
/// # Errors
/// Every mistake in it.
pub fn parse(text: &str, source: &str) -> Result<Config, ConfigErrors> {
    let environment = |name: &str| std::env::var(name).ok();
    let includes = Includes::of(source, text);
    read(Reader::new(source, text, &includes, &environment))
}

/// Like [`parse`], with an environment of the caller's.
#[cfg(test)]
fn parse_in(
    text: &str,
    source: &str,
    environment: raw::Environment<'_>,
) -> Result<Config, ConfigErrors> {
    let includes = Includes::of(source, text);
    read(Reader::new(source, text, &includes, environment))
}

fn holds_a_secret(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, value)| {
        matches!(key.trim(), "password" | "pin") && !value.trim_start().starts_with("\"${")
    })
}

fn read(mut reader: Reader<'_>) -> Result<Config, ConfigErrors> {
    let config = everything(&mut reader);
    let given = std::mem::take(&mut reader.given);
    let warnings = reader.finish()?;
    // A mistake was noted wherever something needed is missing, so this is never reached without one.
    config
        .map(|config| Config {
            warnings,
            given,
            ..config
        })
        .ok_or_else(|| ConfigErrors(Vec::new()))
}

fn everything<'a>(reader: &mut Reader<'a>) -> Option<Config> {
    let mut root = reader.root();
    if !reader.is_clean() {
        // What is not TOML was cut short: its keys would be complained about for nothing.
        return None;
    }
    reader.include(&mut root);
    let data_dir = data_dir(reader, &mut root);
    let timezone = reader.take(&mut root, "timezone", |v| v.timezone());
    let timezone = timezone.map_or(chrono_tz::Europe::Paris, |zone| zone.value);
    let default_country = reader.take(&mut root, "default_country", |v| country(&v.text()?));
    let http = http::read(reader, &mut root);
    let store = store(reader, &mut root);
    let retention = retention(reader, &mut root);
    let hashed_optouts = hashed_optouts(reader, &mut root);
    let log = log(reader, &mut root);
    let limits = limits(reader, &mut root);
    let webhook_allow = webhooks(reader, &mut root);
    let email = email::read(reader, &mut root);
    let mut inbound = inbound::read(reader, &mut root);
    let guard = guard::read(reader, &mut root);

    let mut delivery = reader.table(&mut root, "delivery");
    let hour = Duration::from_hours(1);
    let receipt_grace = reader.take(&mut delivery, "receipt_grace", |v| {
        v.duration(Duration::ZERO..=hour * 24 * 7)
    });
    let in_doubt_grace = reader.take(&mut delivery, "in_doubt_grace", |v| {
        v.duration(Duration::ZERO..=hour)
    });
    reader.close(delivery);

    let carriers = reader.named_tables(&mut root, "smpp");
    let sims = reader.named_tables(&mut root, "modem");
    let names = names(reader, &carriers, &sims);
    let smpp: Vec<_> = carriers
        .into_iter()
        .filter_map(|(name, section)| smpp::read(reader, &name, section))
        .collect();
    let modems = modem::read_all(reader, sims);
    let hours = hours::read(reader, &mut root);
    let holidays = hours::holidays(reader, &mut root);
    let operators = operators::read(reader, &mut root, &names, timezone, &hours);
    let portability = reader.table(&mut root, "portability");
    reader.close(root);

    let (default, others) = operators?;
    let default_country = default_country.map_or_else(|| "FR".to_owned(), |code| code.value);
    let mut policy = Policy::new(default, others, &default_country, limits);
    (policy.hours, policy.holidays) = (hours, holidays);
    policy.webhook_allow = webhook_allow;
    policy.email = email;
    policy.guard = guard;
    policy.portability = portability::read(reader, portability, &policy);
    let of_modems = modems.iter().map(|modem| (&modem.name, &modem.tenant));
    inbound.tenants = smpp
        .iter()
        .map(|account| (&account.name, &account.tenant))
        .chain(of_modems)
        .map(|(name, tenant)| (name.clone(), tenant.clone()))
        .collect();
    policy.inbound = inbound;
    let of_modems = modems.iter().map(|modem| (modem.name.clone(), modem.rate));
    policy.rates = smpp
        .iter()
        .map(|account| (account.name.clone(), account.rate))
        .chain(of_modems)
        .collect();
    // A modem sends what any SMSC reads: its texts follow the defaults.
    policy.text_rules = smpp
        .iter()
        .map(|account| (account.name.clone(), account.text))
        .collect();
    policy.faces = smpp
        .iter()
        .map(|account| (account.name.clone(), account.face()))
        .collect();
    policy.invalid_errors = smpp
        .iter()
        .filter(|account| !account.invalid_errors.is_empty())
        .map(|account| (account.name.clone(), account.invalid_errors.clone()))
        .collect();
    policy.modems = modems
        .iter()
        .map(|modem| (modem.name.clone(), modem.rules))
        .collect();
    if let Some(grace) = receipt_grace {
        policy.receipt_grace = grace.value;
    }
    if let Some(grace) = in_doubt_grace {
        policy.in_doubt_grace = grace.value;
    }
    if let Some(problem) = sims::warning(&policy) {
        reader.warn(0, "operators", problem);
    }
    Some(Config {
        data_dir,
        timezone,
        default_country,
        http,
        store,
        retention,
        hashed_optouts,
        smpp,
        modems,
        policy,
        log,
        warnings: Vec::new(),
        given: diff::GivenKeys::new(),
    })
}

/// What routes may name, carriers first; carriers and modems share their names.
fn names(
    reader: &mut Reader<'_>,
    carriers: &[(String, Section<'_>)],
    modems: &[(String, Section<'_>)],
) -> Vec<Account> {
    if carriers.is_empty() && modems.is_empty() {
        reader.error(
            0,
            "",
            "there is neither a carrier account nor a modem; add a table [smpp.NAME] with host, port, \
             system_id and password, or a table [modem.NAME] with device",
        );
    }
    for (name, section) in carriers.iter().chain(modems) {
        if chain::is_relay(&name.as_str().into()) {
            let problem =
                format!("{name} is the name of a channel that is none of SMS; choose another");
            reader.error(section.line, &section.path, problem);
        }
    }
    let named = |(name, _): &(String, _)| Account::from(name.as_str());
    let mut names: Vec<_> = carriers.iter().map(named).collect();
    for (name, section) in modems {
        if carriers.iter().any(|(carrier, _)| carrier == name) {
            let problem = format!(
                "there is [smpp.{name}] already; routes and metrics need one name for each"
            );
            reader.error(section.line, &section.path, problem);
        } else {
            names.push(name.as_str().into());
        }
    }
    names
}

fn country(text: &str) -> Result<String, String> {
    let known = rlibphonenumber::Region::from_code(text)
        .ok()
        .and_then(|region| rlibphonenumber::PHONE_NUMBER_UTIL.get_country_code_for_region(region));
    match known {
        Some(_) => Ok(text.to_ascii_uppercase()),
        None => Err(format!(
            "{text:?} is no country code of two letters, like \"FR\""
        )),
    }
}

fn store<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> StoreSettings {
    let mut section = reader.table(root, "store");
    let backend = reader.take(&mut section, "backend", |v| match v.text()?.as_str() {
        "sled" => Ok(Backend::Sled),
        "memory" => Ok(Backend::Memory),
        later @ ("redb" | "postgres") => {
            Err(format!("{later:?} is not in this version; use \"sled\""))
        }
        other => Err(format!("{other:?} is not one of \"sled\", \"memory\"")),
    });
    let durability = reader.take(&mut section, "durability", |v| {
        v.word(&[
            ("power", Durability::Power),
            ("process", Durability::Process),
        ])
    });
    let cache = reader.take(&mut section, "cache", |v| size(&v.text()?));
    if let Some(line) = section.drop_key("retention") {
        reader.error(
            line,
            "store.retention",
            "it has become the table [retention], with texts, numbers and messages apart; write \
             messages = … there for what stood here",
        );
    }
    reader.close(section);
    StoreSettings {
        backend: backend.map_or(Backend::Sled, |backend| backend.value),
        durability: durability.map_or(Durability::Power, |durability| durability.value),
        cache_bytes: cache.map_or(8 << 20, |cache| cache.value),
    }
}

fn retention<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> Retention {
    let mut section = reader.table(root, "retention");
    let mut retention = Retention::default();
    let day = Duration::from_hours(24);
    for (key, kept) in [
        ("texts", &mut retention.texts),
        ("numbers", &mut retention.numbers),
        ("messages", &mut retention.messages),
    ] {
        if let Some(given) = reader.take(&mut section, key, |v| v.duration(day..=day * 3660)) {
            *kept = given.value;
        }
    }
    reader.close(section);
    retention
}

/// `[privacy]`: how the numbers are kept of those who have opted out.
fn hashed_optouts<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> bool {
    let mut section = reader.table(root, "privacy");
    let kept = reader.take(&mut section, "optouts", |v| {
        v.word(&[("clear", false), ("hashed", true)])
    });
    reader.close(section);
    kept.is_some_and(|kept| kept.value)
}

/// `64 MiB`: a size in memory, between 1 MiB and 64 GiB.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let unit: u64 = match text.get(digits..).unwrap_or("").trim() {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    text.get(..digits)
        .and_then(|count| count.parse::<u64>().ok())
        .and_then(|count| count.checked_mul(unit))
        .filter(|bytes| (1 << 20..=64 << 30).contains(bytes))
        .ok_or_else(|| format!("{text:?} is no size from \"1 MiB\" to \"64 GiB\""))
}

fn log<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> Log {
    let mut section = reader.table(root, "log");
    let format = reader.take(&mut section, "format", |v| {
        v.word(&[("text", LogFormat::Text), ("json", LogFormat::Json)])
    });
    let level = reader.take(&mut section, "level", |v| {
        let text = v.text()?;
        if text.split(',').all(is_directive) {
            return Ok(text);
        }
        Err(format!(
            "{text:?} is no level (error, warn, info, debug, trace) nor a list of target=level"
        ))
    });
    reader.close(section);
    Log {
        format: format.map_or(LogFormat::Text, |format| format.value),
        level: level.map_or_else(|| "info".to_owned(), |level| level.value),
    }
}

/// A level, or a target with one. `tracing` would take any other word as the name of a target.
fn is_directive(text: &str) -> bool {
    let level = text.rsplit_once('=').map_or(text, |(_, level)| level);
    ["off", "error", "warn", "info", "debug", "trace"].contains(&level.trim())
}

fn limits<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> Limits {
    let mut section = reader.table(root, "limits");
    let mut limits = Limits::default();
    if let Some(parts) = reader.take(&mut section, "max_parts", |v| v.integer(1..=255_u8)) {
        limits.max_parts = usize::from(parts.value);
    }
    let most = reader.take(&mut section, "max_recipients", |v| {
        v.integer(1..=10_000_u16)
    });
    if let Some(most) = most {
        limits.max_recipients = usize::from(most.value);
    }
    let most = reader.take(&mut section, "max_live_messages", |v| {
        v.integer(1..=100_000_000_u32)
    });
    if let Some(most) = most {
        limits.max_live_messages = usize::try_from(most.value).unwrap_or(usize::MAX);
    }
    if let Some(rate) = reader.take(&mut section, "key_rate", |v| v.rate()) {
        limits.key_rate = rate.value;
    }
    let most = reader.take(&mut section, "key_daily_messages", |v| {
        v.integer(0..=1_000_000_000_u32)
    });
    if let Some(most) = most {
        limits.key_daily_messages = most.value;
    }
    reader.close(section);
    limits
}

fn webhooks<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> Vec<ipnet::IpNet> {
    let mut section = reader.table(root, "webhooks");
    let allow = reader.list(&mut section, "allow", |v| {
        let text = v.text()?;
        text.parse::<ipnet::IpNet>()
            .map_err(|_| format!("{text:?} is no network, like \"10.0.0.0/8\" or \"127.0.0.1/32\""))
    });
    reader.close(section);
    allow.map_or_else(Vec::new, |allow| {
        allow.value.into_iter().map(|net| net.value).collect()
    })
}
