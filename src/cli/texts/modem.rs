//! What `modem list` and `doctor` say of modems: what was found, and what to do about it.

use super::Lang::{self, En, Fr};
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

    /// A registration, from its word for programs.
    pub(in crate::cli) fn modem_registration(self, word: &str) -> String {
        let (fr, en) = match word {
            "home" => ("réseau de la SIM", "home network"),
            "roaming" => ("itinérance", "roaming"),
            "searching" => ("recherche", "searching"),
            "denied" => ("refusé", "denied"),
            "idle" => ("non inscrit", "not registered"),
            _ => ("inconnu", "unknown"),
        };
        self.pick(fr, en)
    }

    pub(in crate::cli) fn doctor_modem_answers(
        self,
        name: &str,
        device: &str,
        who: &str,
        imei: &str,
    ) -> String {
        let imei = if imei.is_empty() {
            String::new()
        } else {
            format!(", IMEI {imei}")
        };
        match self {
            Fr => format!("{name} : {who} répond sur {device}{imei}"),
            En => format!("{name}: {who} answers on {device}{imei}"),
        }
    }

    pub(in crate::cli) fn doctor_modem_closed(
        self,
        name: &str,
        device: &str,
        error: &TrialError,
    ) -> String {
        let (cause, remedy) = (self.modem_trial_error(error), self.modem_remedy(error));
        match self {
            Fr => format!("{name} : {device} : {cause} ; {remedy}"),
            En => format!("{name}: {device}: {cause}; {remedy}"),
        }
    }

    pub(in crate::cli) fn doctor_sim(self, name: &str, sim: &Sim, finding: SimFinding) -> String {
        let (fr, en) = match finding {
            SimFinding::Ready => ("prête", "ready"),
            SimFinding::WillEnter => (
                "demande son PIN ; le démon entrera celui de la configuration",
                "wants its PIN; the daemon will enter the configured one",
            ),
            SimFinding::NoPin => (
                "demande son PIN et aucun n'est configuré : donnez pin_file, ou retirez le PIN de la \
                 SIM dans un téléphone",
                "wants its PIN and none is configured: give pin_file, or take the PIN off the SIM in \
                 a phone",
            ),
            SimFinding::LastTry => (
                "il ne reste qu'un essai de PIN : le démon ne le prendra pas ; entrez le PIN à la \
                 main dans un téléphone",
                "one try of the PIN is left, and the daemon will not take it; enter the PIN by hand \
                 in a phone",
            ),
            SimFinding::Refused => (
                "le PIN configuré a déjà été refusé, ou son essai n'a pas eu de réponse : il n'est \
                 pas essayé de nouveau ; corrigez pin_file",
                "the configured PIN was refused before, or its try had no answer: it is not tried \
                 again; correct pin_file",
            ),
            SimFinding::Locked => (
                "bloquée : débloquez-la à la main dans un téléphone (code PUK du contrat)",
                "locked: unlock it by hand in a phone (the contract has the PUK)",
            ),
            SimFinding::Missing => (
                "le modem n'en voit pas : vérifiez le sens, le format et les contacts",
                "the modem sees none: check its orientation, its size and the contacts",
            ),
            SimFinding::Faulty => (
                "le modem ne peut pas s'en servir : essayez-la dans un téléphone, et une autre ici",
                "the modem cannot use it: try it in a phone, and another one here",
            ),
            SimFinding::NotYet => (
                "pas encore prête : recommencez dans une minute",
                "not ready yet: try again in a minute",
            ),
        };
        let what = match sim {
            Sim::Locked(what) => format!(" ({what})"),
            Sim::Faulty(failure) => format!(" ({failure})"),
            Sim::WantsPin { tries: Some(tries) } => match self {
                Fr => format!(" (essais restants : {tries})"),
                En => format!(" (tries left: {tries})"),
            },
            _ => String::new(),
        };
        match self {
            Fr => format!("{name} : SIM : {fr}{what}"),
            En => format!("{name}: SIM: {en}{what}"),
        }
    }

    /// Registration by its word, with the operator and the signal where they are known.
    pub(in crate::cli) fn doctor_network(self, name: &str, word: &str, beside: &str) -> String {
        let state = self.modem_registration(word);
        let beside = if beside.is_empty() {
            String::new()
        } else {
            format!(", {beside}")
        };
        let (fr, en) = match word {
            "home" | "roaming" => ("", ""),
            "searching" | "idle" => (
                " ; attendez une minute, puis vérifiez l'antenne, la couverture et que la ligne est \
                 active",
                "; wait a minute, then check the antenna, the coverage and that the line is active",
            ),
            "denied" => (
                " ; le réseau n'en veut pas : ligne résiliée ou suspendue, SIM d'un autre opérateur, \
                 IMEI bloqué ; demandez à l'opérateur",
                "; the network will not have it: the line is closed or suspended, the SIM is of \
                 another operator, the IMEI is barred; ask the operator",
            ),
            _ => (
                " ; le modem ne le dit pas : il enverra quand même",
                "; the modem does not say: it will send all the same",
            ),
        };
        match self {
            Fr => format!("{name} : réseau : {state}{beside}{fr}"),
            En => format!("{name}: network: {state}{beside}{en}"),
        }
    }

    pub(in crate::cli) fn doctor_weak_signal(self, name: &str, dbm: i64) -> String {
        match self {
            Fr => format!(
                "{name} : signal faible ({dbm} dBm) : rapprochez le modem d'une fenêtre ou mettez \
                 une antenne"
            ),
            En => format!(
                "{name}: weak signal ({dbm} dBm): move the modem to a window, or give it an antenna"
            ),
        }
    }

    pub(in crate::cli) fn doctor_storage(self, name: &str, used: u64, total: u64) -> String {
        match self {
            Fr => format!("{name} : mémoire des messages : {used} sur {total}"),
            En => format!("{name}: message store: {used} of {total}"),
        }
    }

    pub(in crate::cli) fn doctor_storage_full(self, name: &str, used: u64, total: u64) -> String {
        let said = self.doctor_storage(name, used, total);
        match self {
            Fr => format!(
                "{said} : pleine, elle ne reçoit plus rien ; le démon la lit et la vide quand il tourne"
            ),
            En => format!(
                "{said}: a full one takes in nothing more; the daemon reads and empties it when it \
                 runs"
            ),
        }
    }

    pub(in crate::cli) fn doctor_no_service_centre(self, name: &str) -> String {
        match self {
            Fr => format!(
                "{name} : la SIM n'a pas d'adresse de SMSC : donnez service_centre (l'opérateur la dit)"
            ),
            En => format!(
                "{name}: the SIM has no SMSC address: give service_centre (the operator tells it)"
            ),
        }
    }

    pub(in crate::cli) fn doctor_no_reports(self, name: &str) -> String {
        match self {
            Fr => format!(
                "{name} : ce modem ne transmet pas les accusés : ses messages s'arrêtent à « Envoyé »"
            ),
            En => format!(
                "{name}: this modem passes no status reports on: its messages end with Sent"
            ),
        }
    }

    pub(in crate::cli) fn doctor_modem_note(self, name: &str, note: &str) -> String {
        match self {
            Fr => format!("{name} : le modem : {note}"),
            En => format!("{name}: the modem: {note}"),
        }
    }

    pub(in crate::cli) fn doctor_balance(self, name: &str, text: &str) -> String {
        match self {
            Fr => format!("{name} : solde : {text}"),
            En => format!("{name}: balance: {text}"),
        }
    }

    pub(in crate::cli) fn doctor_budget(
        self,
        name: &str,
        days: u32,
        used: u64,
        limit: u64,
        until: &str,
    ) -> String {
        let until = match (self, until) {
            (_, "") => String::new(),
            (Fr, until) => format!(" ; épuisé jusqu'à {until}"),
            (En, until) => format!("; used up until {until}"),
        };
        match (self, days) {
            (Fr, 1) => {
                format!("{name} : budget de la SIM : {used} messages sur {limit} en 24 h{until}")
            }
            (En, 1) => {
                format!("{name}: budget of the SIM: {used} of {limit} messages in 24 h{until}")
            }
            (Fr, _) => format!(
                "{name} : budget de la SIM : {used} destinataires sur {limit} en {days} jours{until}"
            ),
            (En, _) => format!(
                "{name}: budget of the SIM: {used} of {limit} recipients in {days} days{until}"
            ),
        }
    }
}

/// What is found out about a SIM, and with it what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum SimFinding {
    /// Nothing to do.
    Ready,
    /// It wants the PIN that is configured.
    WillEnter,
    /// It wants a PIN and there is none.
    NoPin,
    /// The last try belongs to a person.
    LastTry,
    /// The configured PIN must not be tried again.
    Refused,
    /// It wants a PUK, or a network's code.
    Locked,
    /// There is none.
    Missing,
    /// The modem cannot use it.
    Faulty,
    /// It is starting, or has not answered.
    NotYet,
}
