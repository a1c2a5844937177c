//! What `doctor` finds out about modems: by opening them where no daemon runs, else by what the daemon
//! says of them. No PIN is entered: a wrong one costs one of three tries.

use std::io;
use std::path::Path;

use serde_json::Value;

use super::Doctor;
use crate::channel::modem::answer::Usage;
use crate::channel::modem::choice::Reports;
use crate::channel::modem::discovery::Roots;
use crate::channel::modem::pin::PinMemory;
use crate::channel::modem::port::SerialOpener;
use crate::channel::modem::trial::{self, Heard, Sim, WITHIN};
use crate::cli::client::{list, text};
use crate::cli::modem::who;
use crate::cli::texts::SimFinding;
use crate::cli::watch::findings::WEAK_DBM;
use crate::clock::Random;
use crate::config::ModemAccount;
use crate::daemon;

impl Doctor {
    /// Opens a modem and asks it; the first thing that fails is the last that is said.
    pub(super) async fn modem(
        &mut self,
        account: &ModemAccount,
        data_dir: &Path,
    ) -> io::Result<()> {
        let (lang, name) = (self.lang, account.name.as_str());
        let device = account.device.display().to_string();
        let opener = SerialOpener::new(&account.device, account.baud);
        let answer = trial::ask(&Roots::system(), &account.device, &opener, WITHIN).await;
        let heard = match answer {
            Ok(heard) => heard,
            Err(error) => return self.error(&lang.doctor_modem_closed(name, &device, &error)),
        };
        let imei = heard.imei.as_deref().unwrap_or("");
        self.ok(&lang.doctor_modem_answers(name, &device, &who(&heard), imei))?;
        let refused = was_refused(account, data_dir).await;
        let finding = finding(&heard.sim, account.pin.is_some(), refused);
        let said = lang.doctor_sim(name, &heard.sim, finding);
        match finding {
            SimFinding::Ready => self.ok(&said)?,
            // Without its PIN it is not registered, and does not tell the rest.
            SimFinding::WillEnter => return self.ok(&said),
            SimFinding::NotYet => return self.warning(&said),
            _ => return self.error(&said),
        }
        let registration = heard.registration.map_or("unknown", |state| state.word());
        let operator = heard.operator.as_deref().unwrap_or("");
        self.network(
            name,
            registration,
            operator,
            heard.signal_dbm.map(i64::from),
        )?;
        if let Some((_, usage)) = &heard.storage {
            self.storage(name, usage.used.into(), usage.total.into())?;
        }
        self.messages(account, &heard)
    }

    /// What a message needs besides the network.
    fn messages(&mut self, account: &ModemAccount, heard: &Heard) -> io::Result<()> {
        let (lang, name) = (self.lang, account.name.as_str());
        let none = heard.service_centre.as_deref() == Some("");
        if none && account.service_centre.is_none() {
            self.error(&lang.doctor_no_service_centre(name))?;
        }
        if heard.reports == Some(Reports::None) {
            self.warning(&lang.doctor_no_reports(name))?;
        }
        Ok(())
    }

    /// What the daemon says of a channel's modem, if it has one.
    pub(super) fn modem_of_daemon(&mut self, channel: &Value) -> io::Result<()> {
        let (lang, name) = (self.lang, text(channel, "name"));
        let modem = &channel["modem"];
        if !modem.is_object() {
            return Ok(());
        }
        let registration = text(modem, "registration");
        // A modem that was never reached has none; why stands with its channel.
        if !registration.is_empty() {
            let signal = modem["signal_dbm"].as_i64();
            self.network(name, registration, text(modem, "operator"), signal)?;
        }
        let storage = &modem["storage"];
        if let (Some(used), Some(total)) = (storage["used"].as_u64(), storage["total"].as_u64()) {
            self.storage(name, used, total)?;
        }
        if text(modem, "reports") == "none" {
            self.warning(&lang.doctor_no_reports(name))?;
        }
        for (key, days) in [("day", 1), ("recipients_30d", 30)] {
            let budget = &modem["budget"][key];
            let (used, limit) = (budget["used"].as_u64(), budget["limit"].as_u64());
            if let (Some(used), Some(limit)) = (used, limit) {
                let until = if used < limit {
                    ""
                } else {
                    text(budget, "until")
                };
                let said = lang.doctor_budget(name, days, used, limit, until);
                if used < limit {
                    self.ok(&said)?;
                } else {
                    self.warning(&said)?;
                }
            }
        }
        let balance = text(&modem["balance"], "text");
        if !balance.is_empty() {
            self.ok(&lang.doctor_balance(name, balance))?;
        }
        for note in list(modem, "notes").iter().filter_map(Value::as_str) {
            self.warning(&lang.doctor_modem_note(name, note))?;
        }
        Ok(())
    }

    fn network(
        &mut self,
        name: &str,
        registration: &str,
        operator: &str,
        signal: Option<i64>,
    ) -> io::Result<()> {
        let lang = self.lang;
        let dbm = signal.map(|dbm| format!("{dbm} dBm"));
        let beside: Vec<&str> = [operator, dbm.as_deref().unwrap_or("")]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        let said = lang.doctor_network(name, registration, &beside.join(", "));
        match registration {
            "home" | "roaming" => self.ok(&said)?,
            "unknown" => self.warning(&said)?,
            _ => self.error(&said)?,
        }
        match signal {
            Some(dbm) if dbm <= WEAK_DBM => self.warning(&lang.doctor_weak_signal(name, dbm)),
            _ => Ok(()),
        }
    }

    fn storage(&mut self, name: &str, used: u64, total: u64) -> io::Result<()> {
        let lang = self.lang;
        if total > 0 && used * 100 >= total * u64::from(Usage::NEARLY_FULL) {
            return self.warning(&lang.doctor_storage_full(name, used, total));
        }
        self.ok(&lang.doctor_storage(name, used, total))
    }
}

/// True if the daemon will not try the configured PIN: it remembers that it was tried and not taken.
async fn was_refused(account: &ModemAccount, data_dir: &Path) -> bool {
    let config = daemon::modem_config(account, data_dir);
    let Some(pin) = &config.pin else {
        return false;
    };
    let memory = PinMemory::new(config.pin_memory.as_deref(), &Random::system());
    // What cannot be read is taken for a refusal by the daemon too.
    memory.was_tried(pin).await.unwrap_or(true)
}

fn finding(sim: &Sim, pin: bool, refused: bool) -> SimFinding {
    match sim {
        Sim::Ready => SimFinding::Ready,
        Sim::WantsPin { .. } if !pin => SimFinding::NoPin,
        Sim::WantsPin { .. } if refused => SimFinding::Refused,
        Sim::WantsPin { tries: Some(0 | 1) } => SimFinding::LastTry,
        Sim::WantsPin { .. } => SimFinding::WillEnter,
        Sim::Locked(_) => SimFinding::Locked,
        Sim::Missing => SimFinding::Missing,
        Sim::Faulty(_) => SimFinding::Faulty,
        Sim::Silent | Sim::Busy => SimFinding::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_a_pin_depends_on_what_the_daemon_would_do() {
        let wants = |tries| Sim::WantsPin { tries };
        for (sim, pin, refused, expected) in [
            (wants(Some(3)), true, false, SimFinding::WillEnter),
            (wants(None), true, false, SimFinding::WillEnter),
            (wants(Some(3)), false, false, SimFinding::NoPin),
            (wants(Some(2)), true, true, SimFinding::Refused),
            (wants(Some(1)), true, false, SimFinding::LastTry),
            (Sim::Ready, true, true, SimFinding::Ready),
            (Sim::Busy, true, false, SimFinding::NotYet),
            (Sim::Missing, false, false, SimFinding::Missing),
        ] {
            assert_eq!(finding(&sim, pin, refused), expected, "{sim:?}");
        }
    }
}
