//! What changes from one configuration to the next, and what has to be done about it.
//!
//! Two things are compared, and for two purposes. What is *done* follows from what an account's driver
//! is told: an account is bound anew only if that has changed, so that writing out a default, a rate
//! or an owner does not touch a bind. What is *said* follows from what the file writes, key by key as
//! it was read, so that no key can change unsaid, whoever added it.
//!
//! Secrets are compared and never shown.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use toml::de::DeValue;

use super::{Config, ModemAccount, SmppAccount};
use crate::domain::id::{Account, Tenant};
use crate::domain::policy::ModemRules;
use crate::domain::rate::Rate;
use crate::domain::text::TextRules;

/// The value of a key as the file writes it.
#[derive(Clone, Debug)]
pub enum Given {
    /// One that may be shown.
    Plain(String),
    /// One that may not.
    Secret(SecretString),
}

/// Every key that a configuration gives, by its dotted path.
pub type GivenKeys = BTreeMap<String, Given>;

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(a), Self::Plain(b)) => a == b,
            (Self::Secret(a), Self::Secret(b)) => a.expose_secret() == b.expose_secret(),
            _ => false,
        }
    }
}

impl Given {
    fn shown(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Secret(_) => None,
        }
    }
}

/// An account of the configuration, whatever its kind.
#[derive(Clone, Debug)]
pub enum Line {
    /// A carrier's.
    Smpp(SmppAccount),
    /// A modem.
    Modem(ModemAccount),
}

impl Line {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Account {
        match self {
            Self::Smpp(account) => &account.name,
            Self::Modem(modem) => &modem.name,
        }
    }

    /// What two lines must not use at once: where a carrier is and who binds there, or a port.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Smpp(it) => format!("{}:{} {}", it.host, it.port, it.system_id),
            Self::Modem(modem) => modem.device.display().to_string(),
        }
    }

    /// Everything that its driver is told, written out: what only the rules read is left blank, and a
    /// secret is one word, whatever it is. A key that is new here counts until somebody blanks it.
    fn told(&self) -> String {
        match self {
            Self::Smpp(account) => {
                let told = SmppAccount {
                    rate: Rate::NONE,
                    tenant: Tenant::DEFAULT.into(),
                    stop: None,
                    invalid_errors: Vec::new(),
                    // Texts come to it as octets; what else makes them so is said in `wire`.
                    text: TextRules {
                        alphabet: account.text.alphabet,
                        ..TextRules::default()
                    },
                    ..account.clone()
                };
                format!("{told:?}")
            }
            Self::Modem(modem) => {
                let told = ModemAccount {
                    rate: Rate::NONE,
                    rules: ModemRules::default(),
                    tenant: Tenant::DEFAULT.into(),
                    ..modem.clone()
                };
                format!("{told:?}")
            }
        }
    }

    fn secret(&self) -> Option<&str> {
        match self {
            Self::Smpp(account) => Some(account.password.expose_secret()),
            Self::Modem(modem) => modem.pin.as_ref().map(ExposeSecret::expose_secret),
        }
    }

    /// True if its driver need not be told anything.
    fn is_told_the_same(&self, other: &Self) -> bool {
        self.secret() == other.secret() && self.told() == other.told()
    }
}

impl Config {
    /// Every account, in the order in which channels are shown.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let carriers = self.smpp.iter().cloned().map(Line::Smpp);
        let modems = self.modems.iter().cloned().map(Line::Modem);
        carriers.chain(modems).collect()
    }
}

/// What is done about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An account starts.
    Started,
    /// An account finishes what is under way and ends.
    Drained,
    /// An account finishes what is under way, and binds or opens anew.
    Restarted,
    /// It is in force at once, and no connection notices.
    InForce,
    /// It is in force when the process starts again.
    NeedsRestart,
}

impl Effect {
    /// As a stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Drained => "drained",
            Self::Restarted => "restarted",
            Self::InForce => "in_force",
            Self::NeedsRestart => "needs_restart",
        }
    }
}

/// One key, or one whole table with a name, that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Dotted path.
    pub key: String,
    /// What was written; `None` if nothing was, if it is a table, or a secret.
    pub was: Option<String>,
    /// What is written now, likewise.
    pub is: Option<String>,
    /// What is done about it.
    pub effect: Effect,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.effect.word())
    }
}

/// Everything that is not as it was.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    /// In the order of the keys.
    pub changes: Vec<Change>,
    /// Accounts that are new.
    pub started: Vec<Line>,
    /// Accounts that are no more.
    pub drained: Vec<Account>,
    /// Accounts whose drivers are told something else.
    pub restarted: Vec<Line>,
}

/// What a running process cannot change: all keys that begin so.
const AT_START: [&str; 7] = [
    "data_dir",
    "http.listen",
    "http.metrics_listen",
    "store.",
    "retention.",
    "privacy.",
    "log.format",
];

/// True if a key is read when the process starts, and not again.
#[must_use]
pub fn is_read_at_start(key: &str) -> bool {
    AT_START.iter().any(|start| key.starts_with(start))
}

impl Diff {
    /// What changes from `old` to `new`.
    #[must_use]
    pub fn between(old: &Config, new: &Config) -> Self {
        let (before, after) = (old.lines(), new.lines());
        let find = |lines: &[Line], name: &Account| {
            let mut lines = lines.iter();
            lines.find(|line| line.name() == name).cloned()
        };
        let mut diff = Self::default();
        for line in after {
            match find(&before, line.name()) {
                None => diff.started.push(line),
                Some(was) if was.is_told_the_same(&line) => {}
                Some(_) => diff.restarted.push(line),
            }
        }
        for line in &before {
            if find(&new.lines(), line.name()).is_none() {
                diff.drained.push(line.name().clone());
            }
        }
        diff.changes = diff.keys(&old.given, &new.given);
        diff.say_a_new_certificate(old, new);
        diff.say_every_restart();
        diff
    }

    /// True if everything is as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Keys that a running process cannot change.
    pub fn needs_restart(&self) -> impl Iterator<Item = &Change> {
        let at_start = |change: &&Change| change.effect == Effect::NeedsRestart;
        self.changes.iter().filter(at_start)
    }

    fn keys(&self, old: &GivenKeys, new: &GivenKeys) -> Vec<Change> {
        let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
        keys.sort();
        keys.dedup();
        let mut changes: Vec<Change> = Vec::new();
        for key in keys {
            let (was, is) = (old.get(key), new.get(key));
            if was == is {
                continue;
            }
            let table = table_of(key);
            let whole = table.is_some_and(|table| !has_table(old, table) || !has_table(new, table));
            let key = if whole { table.unwrap_or(key) } else { key };
            if changes.last().is_some_and(|last| last.key == key) {
                continue;
            }
            let shown = |given: Option<&Given>| {
                let given = given.filter(|_| !whole);
                given.and_then(Given::shown).map(str::to_owned)
            };
            changes.push(Change {
                key: key.to_owned(),
                was: shown(was),
                is: shown(is),
                effect: self.effect_of(key),
            });
        }
        changes
    }

    fn effect_of(&self, key: &str) -> Effect {
        if is_read_at_start(key) {
            return Effect::NeedsRestart;
        }
        let Some(name) = account_of(key) else {
            return Effect::InForce;
        };
        let is_in = |lines: &[Line]| lines.iter().any(|line| line.name().as_str() == name);
        if is_in(&self.started) {
            Effect::Started
        } else if self.drained.iter().any(|gone| gone.as_str() == name) {
            Effect::Drained
        } else if is_in(&self.restarted) && !is_for_the_rules_alone(key) {
            Effect::Restarted
        } else {
            Effect::InForce
        }
    }

    /// A certificate that was renewed in the files that it had.
    fn say_a_new_certificate(&mut self, old: &Config, new: &Config) {
        let is_said = |change: &Change| change.key.starts_with("http.tls_");
        if old.http.tls != new.http.tls && !self.changes.iter().any(is_said) {
            self.changes.push(Change {
                key: "http.tls_cert_file".to_owned(),
                was: None,
                is: None,
                effect: Effect::InForce,
            });
        }
    }

    /// An account whose driver is told something else though its own keys say the same, because what
    /// they name has changed.
    fn say_every_restart(&mut self) {
        for line in &self.restarted {
            let name = line.name().as_str();
            let said = |change: &Change| {
                change.effect == Effect::Restarted && account_of(&change.key) == Some(name)
            };
            if !self.changes.iter().any(said) {
                let kind = match line {
                    Line::Smpp(_) => "smpp",
                    Line::Modem(_) => "modem",
                };
                self.changes.push(Change {
                    key: format!("{kind}.{name}"),
                    was: None,
                    is: None,
                    effect: Effect::Restarted,
                });
            }
        }
    }
}

/// Tables with a name that the file gives.
const NAMED: [&str; 3] = ["smpp", "modem", "operators"];

/// `smpp.orange` of `smpp.orange.window`.
fn table_of(key: &str) -> Option<&str> {
    let (kind, rest) = key.split_once('.')?;
    let (name, _) = rest.split_once('.')?;
    NAMED
        .contains(&kind)
        .then(|| &key[..kind.len() + 1 + name.len()])
}

/// `orange` of `smpp.orange.window` and of `smpp.orange`.
fn account_of(key: &str) -> Option<&str> {
    let rest = key
        .strip_prefix("smpp.")
        .or_else(|| key.strip_prefix("modem."))?;
    rest.split('.').next()
}

/// True for the keys of an account that its driver is not told.
fn is_for_the_rules_alone(key: &str) -> bool {
    const RULES: [&str; 8] = [
        "rate",
        "stop",
        "tenant",
        "latin1",
        "transliterate",
        "daily_limit",
        "recipients_30d",
        "in_doubt_grace",
    ];
    let last = key.rsplit('.').next().unwrap_or(key);
    key.matches('.').count() == 2 && RULES.contains(&last)
}

/// A value as people write it. What a URL may hide a secret in is left out.
pub(super) fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => match text.split_once("://") {
            Some((scheme, rest)) => {
                let rest = rest.split(['?', '#']).next().unwrap_or(rest);
                let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
                format!("\"{scheme}://{rest}\"")
            }
            None => format!("{text:?}"),
        },
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(at) => at.to_string(),
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| written(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let pairs = table.iter().map(|(key, value)| {
                let key: &str = key.get_ref();
                format!("{key} = {}", written(value.get_ref()))
            });
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

fn has_table(given: &GivenKeys, table: &str) -> bool {
    let inside = |key: &String| {
        key.strip_prefix(table)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    given
        .range(table.to_owned()..)
        .take_while(|(key, _)| key.starts_with(table))
        .any(|(key, _)| inside(key))
}

#[cfg(test)]
mod tests;
