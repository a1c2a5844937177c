//! What `doctor` asks a daemon that runs: why messages do not arrive, each finding with what to do and,
//! where that helps, the line of the configuration.

use std::io;
use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use super::Doctor;
use crate::channel::smpp::errors::{ESME_RINVPASWD, ESME_RINVSYSID};
use crate::cli::Failure;
use crate::cli::client::{self, Api};
use crate::cli::texts::refusal;
use crate::cli::watch::findings::{Finding, Weight};
use crate::cli::watch::{Channel, Look};
use crate::clock::Clock;

impl Doctor {
    /// What the daemon says of its channels and queues.
    pub(super) async fn ask(&mut self, api: Result<Api, Failure>, file: &Path) -> io::Result<()> {
        let answer = match api {
            Ok(api) => answers(&api).await,
            Err(failure) => Err(failure),
        };
        let (channels, figures) = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                let cause = failure.into_words();
                return self.error(&self.lang.doctor_daemon_silent(&cause));
            }
        };
        let look = Look::of(Clock::system().now(), &channels, &figures);
        self.channels(&look, &channels)?;
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for finding in look.findings() {
            match finding {
                // The disk was looked at itself, and modems tell more than their findings.
                Finding::LittleRoom(_) | Finding::Spent { .. } | Finding::Weak { .. } => {}
                finding => self.finding(&finding, &look, file, &text)?,
            }
        }
        self.queues(&look)
    }

    /// Those that are up, and what there is to know of each.
    fn channels(&mut self, look: &Look, channels: &Value) -> io::Result<()> {
        let mut rules: Vec<(&str, &str)> = Vec::new();
        for channel in look.channels.iter().filter(|channel| channel.up) {
            let status = self.lang.channel_status(&channel.status);
            self.ok(&self.lang.doctor_channel(&channel.name, status))?;
        }
        for channel in client::list(channels, "data") {
            self.modem_of_daemon(channel)?;
            let account = client::text(channel, "account");
            let rule = (account, client::text(channel, "receipt_ids"));
            if !rule.1.is_empty() && !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        for (account, rule) in rules {
            self.ok(&self.lang.doctor_receipt_ids(account, rule))?;
        }
        Ok(())
    }

    /// What is wrong, what to do, and where.
    fn finding(
        &mut self,
        finding: &Finding<'_>,
        look: &Look,
        file: &Path,
        text: &str,
    ) -> io::Result<()> {
        let lang = self.lang;
        let mut said = lang.and(&lang.finding(finding, look.at), &lang.remedy(finding));
        let key = match finding {
            Finding::Down(channel) => key_of(channel),
            Finding::Throttled { account, .. } => Some((*account, "smpp", "rate")),
            _ => None,
        };
        let place = key.and_then(|(account, table, key)| place(text, table, account, key));
        if let Some((line, written)) = place {
            let place = format!("{}:{line}", file.display());
            said = lang.and(&said, &lang.doctor_place(&place, &written));
        }
        self.say(finding.weight(), &said)
    }

    /// Queues that are no finding, and the webhooks.
    fn queues(&mut self, look: &Look) -> io::Result<()> {
        for queue in &look.queues {
            let finding = Finding::Waiting(queue);
            if finding.weight() == Weight::Ok {
                self.ok(&self.lang.queue(queue))?;
            }
        }
        if look.queues.is_empty() {
            self.ok(&self.lang.doctor_nothing_waits())?;
        }
        let is_finding = |one: &Finding<'_>| matches!(one, Finding::Webhooks { .. });
        if look.findings().iter().any(is_finding) {
            return Ok(());
        }
        self.ok(&self.lang.top_webhooks(look.webhooks))
    }

    /// Times of messages, hours of sending and signatures of webhooks depend on the clock.
    pub(super) async fn clock(&mut self) -> io::Result<()> {
        match synchronised().await {
            Some(true) => self.ok(&self.lang.doctor_clock()),
            Some(false) => self.warning(&self.lang.doctor_clock_free()),
            // Nobody here can tell.
            None => Ok(()),
        }
    }
}

async fn answers(api: &Api) -> Result<(Value, String), Failure> {
    let channels = api.call(Method::GET, "/v1/channels", None).await?;
    Ok((channels, api.text("/v1/metrics").await?))
}

/// Whether the kernel's clock follows a time server, as systemd knows; `None` where there is no systemd.
async fn synchronised() -> Option<bool> {
    let mut asked = tokio::process::Command::new("timedatectl");
    asked
        .args(["show", "--property=NTPSynchronized", "--value"])
        .kill_on_drop(true);
    let answer = tokio::time::timeout(super::CLOCK_PATIENCE, asked.output());
    let answer = answer.await.ok()?.ok()?;
    match answer.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

/// The account, table and key that a channel's trouble comes from, where its cause names one.
fn key_of(channel: &Channel) -> Option<(&str, &'static str, &'static str)> {
    let cause = channel.cause()?;
    let account = channel.account.as_str();
    if channel.kind == "modem" {
        let key = if cause.contains("PIN") {
            "pin"
        } else {
            "device"
        };
        return Some((account, "modem", key));
    }
    let key = match refusal(cause) {
        Some(ESME_RINVPASWD) => "password",
        Some(ESME_RINVSYSID) => "system_id",
        Some(_) => "bind",
        None if cause.starts_with("connecting") => "host",
        None => return None,
    };
    Some((account, "smpp", key))
}

/// Line and key of a setting: `key`, or `key_file`, in the table of an account. Looked for as people do,
/// so that a file that the daemon would not take can be spoken of too; `None` where it is not found.
fn place(text: &str, table: &str, account: &str, key: &str) -> Option<(usize, String)> {
    let heads = [
        format!("[{table}.{account}]"),
        format!("[{table}.\"{account}\"]"),
    ];
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = heads.iter().any(|head| line.starts_with(head.as_str()));
            continue;
        }
        let Some((name, _)) = line.split_once('=').filter(|_| inside) else {
            continue;
        };
        let name = name.trim();
        if name == key || name.strip_suffix("_file") == Some(key) {
            return Some((index + 1, name.to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cli::watch::tests::in_trouble;

    const FILE: &str = "data_dir = \"x\"\npassword = \"no\"\n[smpp.sfr]\npassword = \"no\"\n\
        [smpp.orange]   # ours\nhost = \"h\"\n# password = \"old\"\npassword_file = \"f\"\nrate=3\n\
        [smpp.orange.errors]\nrate = 1\n[modem.\"sim1\"]\npin = \"0000\"\n";

    #[test]
    fn a_setting_is_found_in_the_table_of_its_account() {
        for (table, account, key, expected) in [
            ("smpp", "orange", "password", Some((8, "password_file"))),
            ("smpp", "orange", "rate", Some((9, "rate"))),
            ("smpp", "sfr", "password", Some((4, "password"))),
            ("modem", "sim1", "pin", Some((13, "pin"))),
            ("smpp", "orange", "system_id", None),
            ("smpp", "free", "password", None),
        ] {
            let expected = expected.map(|(line, key)| (line, key.to_owned()));
            assert_eq!(
                place(FILE, table, account, key),
                expected,
                "{account} {key}"
            );
        }
    }

    #[test]
    fn a_cause_names_the_key_that_somebody_should_look_at() {
        let mut channel = in_trouble().channels[0].clone();
        for (kind, cause, key) in [
            (
                "smpp",
                "bind refused by SMSC: ESME_RINVPASWD (0x0000000e)",
                Some("password"),
            ),
            (
                "smpp",
                "bind refused by SMSC: ESME_RINVSYSID (0x0000000f)",
                Some("system_id"),
            ),
            (
                "smpp",
                "connecting: Connection refused (os error 111)",
                Some("host"),
            ),
            ("smpp", "connection closed by peer", None),
            (
                "modem",
                "the SIM wants its PIN and none is configured",
                Some("pin"),
            ),
            ("modem", "/dev/x: No such file or directory", Some("device")),
        ] {
            channel.kind = kind.to_owned();
            channel.cause = Some(cause.to_owned());
            assert_eq!(key_of(&channel).map(|(_, _, key)| key), key, "{cause}");
        }
    }
}
