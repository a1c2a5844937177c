//! The command line: one binary, one file a command.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. What a command says goes to standard
//! output, what is wrong to standard error; see `texts` for the words and `out` for the pipes.

use std::process::ExitCode;

use clap::Parser;

use crate::config::{Config, ConfigErrors};
use args::{Cli, Command, ConfigFile, Modem, Sim};
use texts::Lang;

mod args;
mod backup;
mod client;
mod demo;
mod doctor;
mod export;
mod log;
mod maintain;
mod manual;
mod modem;
mod out;
mod reload;
mod serve;
mod sim;
mod supervisor;
mod texts;
mod top;
mod trust;
mod watch;

/// Why a command ends with another code than 0.
#[derive(Debug)]
enum Failure {
    /// Wrong usage or configuration: 2.
    Usage(String),
    /// It could not be done: 1.
    Failed(String),
}

impl Failure {
    /// What it says, whatever its code.
    fn into_words(self) -> String {
        match self {
            Self::Usage(words) | Self::Failed(words) => words,
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Usage(errors.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Does what the arguments of the process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let lang = cli.lang.unwrap_or_else(Lang::of_environment);
    match run(cli.command, lang) {
        Ok(()) => ExitCode::SUCCESS,
        // Mistakes of a configuration are printed bare: editors and scripts read file:line.
        Err(Failure::Usage(what)) => {
            out::complain(&what);
            ExitCode::from(2)
        }
        Err(Failure::Failed(what)) => {
            out::complain(&lang.error(&what));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, lang: Lang) -> Result<(), Failure> {
    match command {
        Command::Check(file) => check(&file, lang),
        Command::Doctor(file) => doctor::run(&file, lang),
        Command::Serve(file) => serve::run(&file.config),
        Command::Demo(demo) => demo::run(&demo, lang),
        Command::Reload(reload) => reload::run(&reload, lang),
        Command::Send(send) => client::send(&send, lang),
        Command::Status(status) => client::status(&status, lang),
        Command::Top(top) => top::run(&top, lang),
        Command::Health(health) => client::health(health, lang),
        Command::Key(key) => client::key(&key, lang),
        Command::Modem(Modem::List(list)) => modem::list(&list, lang),
        Command::Sim(Sim::Smsc { listen, script }) => sim::smsc(listen, script.as_deref(), lang),
        Command::Sim(Sim::Modem {
            link,
            script,
            ledger,
        }) => sim::modem(link, script.as_deref(), ledger.as_deref(), lang),
        Command::Backup(to) => backup::take(&to, lang),
        Command::Restore(from) => backup::restore(&from, lang),
        Command::Export(what) => export::run(&what, lang),
        Command::Erase(erase) => client::erase(&erase, lang),
        Command::Fsck(store) => maintain::fsck(&store, lang),
        Command::Compact(store) => maintain::compact(&store, lang),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man(pages) => manual::man(&pages),
    }
}

fn check(file: &ConfigFile, lang: Lang) -> Result<(), Failure> {
    let config = crate::config::load(&file.config)?;
    warn(&config, lang);
    out::write(&config.effective())?;
    out::line("")?;
    out::line(&lang.config_is_valid(&file.config.display().to_string()))?;
    Ok(())
}

/// Tells what a configuration deserves a word for.
fn warn(config: &Config, lang: Lang) {
    for warning in &config.warnings {
        out::complain(&lang.warning(&warning.to_string()));
    }
}

/// A runtime for commands that serve: one worker a core.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}
