//! The command line as clap understands it; what each command does stands in its own file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;

use super::texts::Lang;
use crate::config;

/// Relais, a self-hosted SMS gateway.
#[derive(Parser, Debug)]
#[command(
    name = "relais",
    version,
    about,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  relais demo                                  see it work, without a carrier
  relais check --config config/relais.toml     is this configuration right?
  relais doctor --config config/relais.toml    why does nothing work?
  relais modem list                            which port is the modem's?
  relais serve --config /etc/relais/relais.toml
  relais send +33612345678 'Votre colis est arrivé'
  relais top                                   are messages arriving?

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.")]
pub(super) struct Cli {
    /// Language of the output; by default as LC_ALL, LC_MESSAGES and LANG say
    #[arg(long, global = true, value_enum)]
    pub(super) lang: Option<Lang>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Show the whole gateway at work with a simulated carrier and modem, then go on serving
    #[command(after_help = "Examples:
  relais demo
  relais demo --once        exits after the account, for scripts
  NO_COLOR=1 relais demo")]
    Demo(Demo),
    /// Run the daemon
    #[command(after_help = "Examples:
  relais serve
  relais serve --config config/relais.toml
  RELAIS_ADMIN_KEY=… RUST_LOG=relais=debug relais serve --config relais.toml

SIGTERM or SIGINT: finish what is under way and stop; a second one exits at once.
SIGHUP: read the configuration again, as relais reload does.")]
    Serve(ConfigFile),
    /// Validate the configuration and print the effective policy
    #[command(after_help = "Examples:
  relais check
  relais check --config config/relais.toml

Errors are file:line: key: what is wrong, one a line, on standard error; exit code 2.")]
    Check(ConfigFile),
    /// Find out why nothing works: disk, listen address, every carrier and every modem
    #[command(after_help = "Examples:
  relais doctor
  relais doctor --config config/relais.toml
  relais doctor --lang fr

Where a daemon runs on this data_dir it is asked; nothing binds a second time, and no modem is opened.
A modem's PIN is never entered here.
Exit code 0: no errors. 1: errors, each with what to do. 2: the configuration is wrong.")]
    Doctor(ConfigFile),
    /// Have a running daemon read its configuration again
    #[command(after_help = "Examples:
  relais reload
  relais reload --config config/relais.toml
  relais reload --json

The daemon reads its own file. It starts, drains or restarts only the accounts that have changed: what is
under way lands first, the rest waits. A file that is wrong changes nothing.
Exit code 0: done. 1: no daemon, or it cannot. 2: the file is wrong; one mistake a line, as relais check does.")]
    Reload(Reload),
    /// Send a message through a running daemon
    #[command(after_help = "Examples:
  relais send +33612345678 'Votre colis est arrivé'
  relais send '06 12 34 56 78' 'Code : 4271' --from MAIRIE --wait
  relais send +33612345678 Bonjour --url https://sms.intranet:8775 --ca-file intranet.pem --key rk_…")]
    Send(Send),
    /// Show what became of a message
    #[command(after_help = "Examples:
  relais status 0198f2c5-7c00-7000-8000-000000000000
  relais status 0198f2c5-7c00-7000-8000-000000000000 --json")]
    Status(Status),
    /// Watch a running daemon: throughput, queues, channels, last errors, live
    #[command(after_help = "Examples:
  relais top
  relais top --url http://sms.intranet:8775 --key rk_…
  relais top --once | mail -s Relais astreinte@example.fr
  relais top --once --json | jq .queues

A key with the scope read is enough. Keys: q quits, tab and arrows scroll, p holds the picture, ? helps.
Events are those of the key's tenant; figures and channels are those of the whole daemon.
NO_COLOR=1 turns colours off. With --once no terminal is needed; exit code 1: the daemon does not answer.")]
    Top(Top),
    /// Ask a running daemon whether it works, for those who restart what does not
    #[command(after_help = "Examples:
  relais health
  relais health --ready
  relais health --config /etc/relais/relais.toml || echo call somebody

No key is needed. A carrier that is down makes nobody unhealthy: relais doctor tells of those.
Exit code 0: it works. 1: it does not, or does not answer.")]
    Health(Health),
    /// Make, list and revoke API keys of a running daemon
    #[command(subcommand)]
    Key(Key),
    /// Find GSM modems: which port is the right one?
    #[command(subcommand)]
    Modem(Modem),
    /// Run a simulator as a process of its own
    #[command(subcommand)]
    Sim(Sim),
    /// Verify the store of a stopped daemon
    #[command(after_help = "Examples:
  relais fsck
  relais fsck --data-dir /var/lib/relais

Exit code 0: sound. 1: problems, one a line.")]
    Fsck(StoreOf),
    /// Copy everything into one file, while the daemon works
    #[command(after_help = "Examples:
  relais backup --to /backup/relais-$(date +%F).backup
  relais backup --to relais.backup --config config/relais.toml

Where a daemon runs on the configuration's data_dir, it is asked (scope admin); where none runs, the store
is read as it is. The file is written aside, checked from end to end, and only then takes its name. It holds
texts, numbers and secrets in the clear, and what was erased since is still in it: keep it safe, and not
longer than you keep texts.")]
    Backup(Backup),
    /// Make the store of a backup, where there is none
    #[command(after_help = "Examples:
  relais restore relais.backup
  relais restore relais.backup --config config/relais.toml --cancel-waiting

What was waiting at the time of the backup may have been sent since: it is sent, marked as a possible
duplicate, or fails as in_doubt where on_doubt is fail; with --cancel-waiting it is cancelled, and what may
have left in part fails as in_doubt: nothing is sent.
Backups of another layout are refused; nothing is left behind by a restore that is interrupted.")]
    Restore(Restore),
    /// Write messages as CSV or JSON Lines, for spreadsheets and programs
    #[command(after_help = "Examples:
  relais export --since 2026-11-01T00:00:00Z --to november.csv
  relais export --format jsonl --status failed
  relais export --lang fr --excel --to novembre.csv
  relais export --inbound --to recus.csv
  relais export --number +33612345678 --to what-is-known.jsonl

A client of a running daemon: it sees the messages of its key's tenant; with --number it needs the scope
admin and sees every tenant's. Cells that a spreadsheet would take for a formula begin with an apostrophe;
times are of the configuration's time zone.")]
    Export(Export),
    /// Erase what is known of a number: texts and the number itself
    #[command(after_help = "Examples:
  relais erase +33612345678
  relais erase '06 12 34 56 78' --cancel

A pseudonym takes the place of the number; that it has opted out stays. Texts are gone from the API at once
and from the disk with the next relais compact; backups still hold them.
Exit code 1: messages to it are waiting or under way.")]
    Erase(Erase),
    /// Rewrite the store of a stopped daemon without its gaps
    #[command(after_help = "Examples:
  relais compact
  relais compact --config config/relais.toml")]
    Compact(StoreOf),
    /// Print what completes the command line in a shell
    #[command(after_help = "Examples:
  relais completions bash > /etc/bash_completion.d/relais
  relais completions zsh > /usr/local/share/zsh/site-functions/_relais
  relais completions fish > /etc/fish/completions/relais.fish
  source <(relais completions bash)                            for this session alone")]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page, or write one page a command
    #[command(after_help = "Examples:
  relais man | man -l -
  relais man --dir /usr/local/share/man/man1")]
    Man(ManualPages),
}

#[derive(Args, Debug)]
pub(super) struct ManualPages {
    /// Write the pages of all commands into this folder, and make it if it is not there
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Demo {
    /// Exit after the account instead of serving on
    #[arg(long)]
    pub(super) once: bool,
    /// Address and port of the API; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(super) listen: SocketAddr,
}

#[derive(Args, Debug)]
pub(super) struct ConfigFile {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub(super) config: PathBuf,
}

/// How a running daemon is reached.
#[derive(Args, Debug)]
pub(super) struct Reach {
    /// Address of the daemon; by default that of the configuration's own daemon
    #[arg(long, env = "RELAIS_URL")]
    pub(super) url: Option<String>,
    /// API key; by default the admin key of the configuration's data_dir, where it can be read
    #[arg(long, env = "RELAIS_KEY", hide_env_values = true)]
    pub(super) key: Option<SecretString>,
    /// PEM file of the authority, or of the certificate itself, that an https:// daemon is trusted by; by
    /// default the system's authorities, and on its own machine the certificate of the configuration
    #[arg(long, value_name = "FILE", env = "RELAIS_CA_FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// The configuration whose address and admin key are used
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub(super) config: PathBuf,
    /// Print the daemon's answer as it is
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Reload {
    #[command(flatten)]
    pub(super) reach: Reach,
}

#[derive(Args, Debug)]
pub(super) struct Send {
    /// Recipient, in any usual writing
    #[arg(value_name = "TO")]
    pub(super) to: String,
    /// The text
    #[arg(value_name = "TEXT")]
    pub(super) text: String,
    /// Sender: a name of 11 characters, a short code or a number
    #[arg(long)]
    pub(super) from: Option<String>,
    /// Wait until its status is final
    #[arg(long)]
    pub(super) wait: bool,
    #[command(flatten)]
    pub(super) reach: Reach,
}

#[derive(Args, Debug)]
pub(super) struct Status {
    /// The message's id
    #[arg(value_name = "ID")]
    pub(super) id: String,
    #[command(flatten)]
    pub(super) reach: Reach,
}

#[derive(Args, Debug)]
pub(super) struct Top {
    /// Print one snapshot as text and exit, for scripts and mail; with --json for programs
    #[arg(long)]
    pub(super) once: bool,
    #[command(flatten)]
    pub(super) reach: Reach,
}

#[derive(Args, Debug)]
pub(super) struct Health {
    /// Ask whether it accepts messages as well
    #[arg(long)]
    pub(super) ready: bool,
    #[command(flatten)]
    pub(super) reach: Reach,
}

#[derive(Subcommand, Debug)]
pub(super) enum Key {
    /// Make a key; it is shown once
    #[command(after_help = "Examples:
  relais key create --tenant mairie --name portail
  relais key create --tenant mairie --name tableau-de-bord --scopes read")]
    Create {
        /// Whose messages it sends and sees
        #[arg(long)]
        tenant: String,
        /// What it is for
        #[arg(long)]
        name: String,
        /// What it may do: send, read, manage, admin
        #[arg(long, value_delimiter = ',', default_value = "send,read")]
        scopes: Vec<String>,
        #[command(flatten)]
        reach: Reach,
    },
    /// List keys, without their secrets
    #[command(after_help = "Example:
  relais key list")]
    List {
        #[command(flatten)]
        reach: Reach,
    },
    /// Revoke a key, at once and for good
    #[command(after_help = "Example:
  relais key revoke 1f2e3d4c5b")]
    Revoke {
        /// The key's prefix, as `key list` shows it
        #[arg(value_name = "PREFIX")]
        prefix: String,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Modem {
    /// List the ports that modems may be on, and what answers on each
    #[command(after_help = "Examples:
  relais modem list
  relais modem list --json
  relais modem list --device /dev/ttyS0 --baud 19200
  relais modem list --device /tmp/relais-modem      what relais sim modem answers

Every ttyUSB and ttyACM is opened and asked who it is, all at once, for 5 seconds at most; with --device
only those named. No PIN is entered, no message is read or sent, and a port that another program has open
is left alone. At the end stands what to put into the configuration.

Exit code 0: a modem answers. 1: none does.")]
    List(ModemList),
}

#[derive(Args, Debug)]
pub(super) struct ModemList {
    /// Ask this port instead of all that are found; may be given several times
    #[arg(long, value_name = "PATH")]
    pub(super) device: Vec<PathBuf>,
    /// Speed of the line in bit/s; modems on USB do not care
    #[arg(long, value_name = "BAUD", default_value_t = 115_200)]
    pub(super) baud: u32,
    /// Print what was found as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum Sim {
    /// A scripted SMSC on a TCP port
    #[command(after_help = "Examples:
  relais sim smsc --listen 127.0.0.1:2775
  relais sim smsc --script config/sim/rehearsal-receipts.toml
  relais sim smsc --listen 127.0.0.1:0 --script throttle.toml

The first line of output is its address; then one line that counts what it sees.

A script is TOML; what it leaves out has a default, and a key that does not exist is an error:
  rate_limit = 20               # then ESME_RTHROTTLED
  response_delay_ms = 200
  [ids]
  reported = \"hex_upper\"      # answered in decimal, reported in hexadecimal
  [receipts]
  delay_ms = 2000               # also: form, template, before_response, other_bind, only_part, ...
  [[rules]]                     # what happens to certain numbers; the first that fits counts
  suffix = \"01\"
  status = 0x0B                 # also: times, each, nack, unanswered, receipts, ids, ...
  [[faults]]                    # what goes wrong: close, reset, unbind, silence, nack, raw
  at_submit = 100
  kind = \"reset\"
  [[inbound]]                   # messages from handsets
  text = \"STOP\"
  after_ms = 2000
Every key with its default: config/sim/smsc.toml.")]
    Smsc {
        /// Address and port instead of the script's (127.0.0.1:2775); port 0 lets the system choose
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
        /// How it behaves, as TOML: answers, delays, receipts, faults
        #[arg(long, value_name = "FILE")]
        script: Option<PathBuf>,
    },
    /// A scripted GSM modem on a pseudo terminal
    #[command(after_help = "Examples:
  relais sim modem --link /tmp/modem-a
  relais sim modem --link /tmp/modem-a --script huawei.toml
  relais sim modem --link /tmp/modem-a --ledger /tmp/modem-a.jsonl

The first line of output is the link to open; then one line that counts what it sees.
A line of the ledger is JSON: at, to, text, part, report, fate, reference, answered, error, pdu.

A script is TOML; what it leaves out has a default, and a key that does not exist is an error:
  personality = \"huawei\"      # huawei, simcom, quectel, siemens
  pin = \"1234\"
  reference_start = 240         # the first TP-MR
  [chatter]
  in_answers_every = 2          # unsolicited lines in the middle of answers
  [reports]
  delay_ms = 2000
  [[rules]]                     # what happens to certain numbers; the first that fits counts
  suffix = \"01\"
  cms = 38                      # also: cme, error, times, each, unanswered, status, reports, ...
  [[faults]]                    # what goes wrong: hang, unplug, reset
  at_submit = 3
  kind = \"unplug\"
  for_ms = 5000
  [[inbound]]                   # messages that come in
  text = \"STOP\"
  after_ms = 2000
Every key with its default: config/sim/modem.toml.")]
    Modem {
        /// The symbolic link that names the terminal, instead of the script's (/tmp/relais-modem)
        #[arg(long, value_name = "PATH")]
        link: Option<PathBuf>,
        /// How it behaves, as TOML: family, latency, reports, faults
        #[arg(long, value_name = "FILE")]
        script: Option<PathBuf>,
        /// Append a line here for every message that it is given to send, number and text whole
        #[arg(long, value_name = "FILE")]
        ledger: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(super) struct Backup {
    /// File to write; it is replaced once the new one is whole
    #[arg(long, value_name = "FILE")]
    pub(super) to: PathBuf,
    #[command(flatten)]
    pub(super) reach: Reach,
}

#[derive(Args, Debug)]
pub(super) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// The configuration whose data_dir gets the store
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub(super) config: PathBuf,
    /// Cancel what was waiting, instead of sending what may have been sent
    #[arg(long)]
    pub(super) cancel_waiting: bool,
}

#[derive(Args, Debug)]
pub(super) struct Erase {
    /// The number, in any usual writing
    #[arg(value_name = "NUMBER")]
    pub(super) number: String,
    /// Cancel what waits for it, instead of refusing
    #[arg(long)]
    pub(super) cancel: bool,
    #[command(flatten)]
    pub(super) reach: Reach,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A header line, then a line a message.
    Csv,
    /// A JSON object a line, as the API shows messages.
    Jsonl,
}

#[derive(Args, Debug)]
pub(super) struct Export {
    /// Where to, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(super) to: Option<PathBuf>,
    /// How it is written; jsonl with --number
    #[arg(long, value_enum)]
    pub(super) format: Option<Format>,
    /// CSV for spreadsheets of people: a byte order mark, and semicolons in French
    #[arg(long)]
    pub(super) excel: bool,
    /// Everything that is known of this number, of every tenant, as JSON Lines
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["inbound", "since", "until", "status", "recipient", "reference", "kind"])]
    pub(super) number: Option<String>,
    /// What handsets sent, instead of messages
    #[arg(long, conflicts_with_all = ["status", "recipient", "reference", "kind"])]
    pub(super) inbound: bool,
    /// Created at or after (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Created before (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<String>,
    /// Only of this status: pending, sent, delivered, expired, failed, cancelled
    #[arg(long)]
    pub(super) status: Option<String>,
    /// Only to this number
    #[arg(long, value_name = "NUMBER")]
    pub(super) recipient: Option<String>,
    /// Only with this reference
    #[arg(long)]
    pub(super) reference: Option<String>,
    /// Only of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(super) kind: Option<String>,
    #[command(flatten)]
    pub(super) reach: Reach,
}

#[derive(Args, Debug)]
pub(super) struct StoreOf {
    /// The configuration whose data_dir is meant
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub(super) config: PathBuf,
    /// The data folder itself, instead of a configuration
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(super) data_dir: Option<PathBuf>,
}

/// A shell that completions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}
