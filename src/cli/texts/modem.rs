//! What `modem list` and `doctor` say of modems: what was found, and what to do about it.

use super::Lang::{self, En, Fr};
use crate::channel::modem::answer::Registration;
use crate::channel::modem::trial::{Sim, TrialError};

impl Lang {
    pub(in crate::cli) fn modem_columns(self) -> [String; 6] {
        let columns = match self {
            Fr => ["PORT", "USB", "RÉPOND", "SIM", "RÉSEAU", "SIGNAL"],
            En => ["PORT", "USB", "ANSWERS", "SIM", "NETWORK", "SIGNAL"],
        };
        columns.map(str::to_owned)
    }

    pub(in crate::cli) fn modem_asking(
        self,
        ports: usize,
        answered: usize,
        seconds: u64,
    ) -> String {
        match self {
            Fr => format!("ports interrogés : {ports}, {seconds} s au plus ; finis : {answered}"),
            En => format!("asking {ports} port(s), {seconds} s at most; done: {answered}"),
        }
    }

    pub(in crate::cli) fn modem_no_port(self) -> String {
        self.pick(
            "aucun port de modem : il n'y a ni ttyUSB ni ttyACM dans /dev. Le modem est-il branché \
             (lsusb) ? S'il se présente comme un CD-ROM, installez usb-modeswitch et rebranchez-le. \
             Une clé en mode « HiLink » (12d1:14dc) est une carte réseau : elle n'a pas de port AT. \
             Un modem sur un port série se nomme : --device /dev/ttyS0",
            "no modem port: there is no ttyUSB and no ttyACM in /dev. Is the modem plugged in \
             (lsusb)? If it shows up as a CD-ROM, install usb-modeswitch and plug it in again. A \
             stick in HiLink mode (12d1:14dc) is a network card: it has no AT port. A modem on a \
             serial port has to be named: --device /dev/ttyS0",
        )
    }

    pub(in crate::cli) fn modem_none_answers(self, ports: usize) -> String {
        match self {
            Fr => format!("aucun modem ne répond ; ports interrogés : {ports}"),
            En => format!("no modem answers; ports asked: {ports}"),
        }
    }

    pub(in crate::cli) fn modem_configure(self) -> String {
        self.pick(
            "À mettre dans la configuration (le nom est à vous) :",
            "For the configuration (the name is yours):",
        )
    }

    pub(in crate::cli) fn modem_pin_line(self, tries: Option<u8>) -> String {
        let tries = tries.map_or_else(String::new, |tries| match self {
            Fr => format!(", essais restants : {tries}"),
            En => format!(", tries left: {tries}"),
        });
        match self {
            Fr => format!("# pin_file = \"…\"    la SIM demande son code PIN{tries}"),
            En => format!("# pin_file = \"…\"    the SIM wants its PIN{tries}"),
        }
    }

    pub(in crate::cli) fn modem_unstable(self, device: &str) -> String {
        match self {
            Fr => format!(
                "{device} : ce nom change quand le modem est rebranché ; udev/99-gsm-modem.rules en \
                 donne un qui reste"
            ),
            En => format!(
                "{device}: this name changes when the modem is plugged in again; \
                 udev/99-gsm-modem.rules gives one that stays"
            ),
        }
    }

    pub(in crate::cli) fn modem_advice(self, ports: &str, what: &str) -> String {
        match self {
            Fr => format!("{ports} : {what}"),
            En => format!("{ports}: {what}"),
        }
    }

    /// What a port is, for one that does not answer.
    pub(in crate::cli) fn modem_other_port(self) -> String {
        self.pick(
            "d'ordinaire pas le port AT de cette famille",
            "usually not the AT port of this family",
        )
    }

    pub(in crate::cli) fn modem_trial_error(self, error: &TrialError) -> String {
        match (self, error) {
            (En, error) => error.to_string(),
            (Fr, TrialError::Absent) => "ce port n'existe pas".to_owned(),
            (Fr, TrialError::Held(by)) if by.is_empty() => "pris par un autre programme".to_owned(),
            (Fr, TrialError::Held(by)) => format!("pris par {}", by.join(", ")),
            (Fr, TrialError::Forbidden) => "accès refusé".to_owned(),
            (Fr, TrialError::Silent(within)) => {
                format!("aucune réponse à AT en {} s", within.as_secs())
            }
            (Fr, TrialError::Lost) => "débranché entre-temps".to_owned(),
            (Fr, TrialError::Other(error)) => error.to_string(),
        }
    }

    /// What to do about a port that does not answer.
    pub(in crate::cli) fn modem_remedy(self, error: &TrialError) -> String {
        match error {
            TrialError::Absent => self.pick(
                "vérifiez device ; « relais modem list » montre les ports qu'il y a",
                "check device; `relais modem list` shows the ports that there are",
            ),
            TrialError::Held(by) if by.iter().any(|name| name.starts_with("relais")) => self.pick(
                "un Relais s'en sert : c'est normal s'il s'agit du démon ; sinon, arrêtez-le",
                "a Relais uses it: that is right if it is the daemon; if not, stop it",
            ),
            TrialError::Held(_) => self.pick(
                "le plus souvent c'est ModemManager : installez udev/99-gsm-modem.rules, qui l'en \
                 écarte, ou arrêtez-le (systemctl disable --now ModemManager)",
                "most often it is ModemManager: install udev/99-gsm-modem.rules, which keeps it \
                 away, or stop it (systemctl disable --now ModemManager)",
            ),
            TrialError::Forbidden => self.pick(
                "l'utilisateur doit être du groupe dialout : sudo usermod -a -G dialout $USER, puis \
                 ouvrez une nouvelle session",
                "the user must be in the group dialout: sudo usermod -a -G dialout $USER, then log \
                 in again",
            ),
            TrialError::Silent(_) => self.pick(
                "un modem a plusieurs ports, et un seul est le bon : « relais modem list » les \
                 essaie tous ; sur une ligne série, vérifiez baud",
                "a modem has several ports, and one of them is right: `relais modem list` tries \
                 them all; on a serial line, check baud",
            ),
            TrialError::Lost => self.pick(
                "vérifiez le câble et l'alimentation, et recommencez",
                "check cable and power supply, and try again",
            ),
            TrialError::Other(_) => self.pick(
                "ce n'est peut-être pas un port série",
                "this may be no serial port",
            ),
        }
    }

    pub(in crate::cli) fn modem_sim(self, sim: &Sim) -> String {
        match (self, sim) {
            (_, Sim::Silent) => "?".to_owned(),
            (Fr, Sim::Ready) => "prête".to_owned(),
            (En, Sim::Ready) => "ready".to_owned(),
            (Fr, Sim::WantsPin { .. }) => "demande le PIN".to_owned(),
            (En, Sim::WantsPin { .. }) => "wants its PIN".to_owned(),
            (Fr, Sim::Locked(what)) => format!("bloquée : {what}"),
            (En, Sim::Locked(what)) => format!("locked: {what}"),
            (Fr, Sim::Missing) => "absente".to_owned(),
            (En, Sim::Missing) => "none".to_owned(),
            (Fr, Sim::Busy) => "occupée".to_owned(),
            (En, Sim::Busy) => "busy".to_owned(),
            (Fr, Sim::Faulty(failure)) => format!("défaut : {failure}"),
            (En, Sim::Faulty(failure)) => format!("fault: {failure}"),
        }
    }

    pub(in crate::cli) fn modem_registration(self, registration: Registration) -> String {
        let (fr, en) = match registration {
            Registration::Home => ("réseau de la SIM", "home network"),
            Registration::Roaming => ("itinérance", "roaming"),
            Registration::Searching => ("recherche", "searching"),
            Registration::Denied => ("refusé", "denied"),
            Registration::Idle => ("non inscrit", "not registered"),
            Registration::Unknown => ("inconnu", "unknown"),
        };
        self.pick(fr, en)
    }
}
