//! What `relais reload` says.

use super::Lang::{self, En, Fr};

impl Lang {
    pub(in crate::cli) fn reload_nothing(self) -> String {
        self.pick(
            "Aucune clé n'a changé : aucune connexion n'a été touchée. Certificats et tables sont relus.",
            "No key has changed: no connection was touched. Certificates and tables were read again.",
        )
    }

    /// What was done about a changed key.
    pub(in crate::cli) fn reload_effect(self, effect: &str) -> String {
        let (fr, en) = match effect {
            "started" => ("compte démarré", "account started"),
            "drained" => ("compte vidé puis arrêté", "account drained and stopped"),
            "restarted" => ("connexion relancée", "connection restarted"),
            "in_force" => ("en vigueur", "in force"),
            "needs_restart" => ("au prochain démarrage", "at the next start"),
            other => (other, other),
        };
        self.pick(fr, en)
    }

    pub(in crate::cli) fn reload_unset(self) -> String {
        self.pick("rien", "nothing")
    }

    pub(in crate::cli) fn reload_waiting(
        self,
        operator: &str,
        under: &str,
        messages: u64,
        why: &str,
    ) -> String {
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.why(why))
        };
        match (self, operator == under) {
            (Fr, true) => format!("{operator} : {messages} messages en attente{why}"),
            (En, true) => format!("{operator}: {messages} messages wait{why}"),
            (Fr, false) => format!(
                "{operator} n'existe plus : {messages} messages en attente, désormais sous {under}{why}"
            ),
            (En, false) => {
                format!("{operator} is no more: {messages} messages wait, now under {under}{why}")
            }
        }
    }

    /// The file is wrong, and the daemon does not know of it.
    pub(in crate::cli) fn reload_nobody_asked(self, why: &str) -> String {
        match self {
            Fr => format!("et aucun démon ne l'a lu : {why}"),
            En => format!("and no daemon has read it: {why}"),
        }
    }

    pub(in crate::cli) fn reload_needs_restart(self, keys: &str) -> String {
        match self {
            Fr => format!("lu au démarrage seulement, redémarrez pour l'appliquer : {keys}"),
            En => format!("read at the start only, restart to apply it: {keys}"),
        }
    }
}
