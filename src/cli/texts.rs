//! Everything that the commands say to people, in French and in English.
//!
//! Errors of the configuration and of the daemon itself stay in English: they are searched for.

use clap::ValueEnum;

/// A language of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Lang {
    /// Français.
    Fr,
    /// English.
    En,
}

use Lang::{En, Fr};

mod doctor;
mod findings;
mod keeping;
mod modem;
mod reload;
mod top;

pub(super) use findings::refusal;
pub(super) use modem::SimFinding;

impl Lang {
    /// The language that the environment asks for: the first of `LC_ALL`, `LC_MESSAGES` and `LANG`
    /// that is set decides (POSIX XBD §8.2).
    pub(super) fn of_environment() -> Self {
        Self::of(
            ["LC_ALL", "LC_MESSAGES", "LANG"]
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
                .as_deref(),
        )
    }

    fn of(locale: Option<&str>) -> Self {
        match locale {
            Some(locale) if locale.starts_with("fr") => Fr,
            _ => En,
        }
    }

    /// The value of `Accept-Language`.
    pub(super) const fn tag(self) -> &'static str {
        match self {
            Fr => "fr",
            En => "en",
        }
    }

    fn pick(self, fr: &str, en: &str) -> String {
        match self {
            Fr => fr.to_owned(),
            En => en.to_owned(),
        }
    }

    pub(super) fn config_is_valid(self, file: &str) -> String {
        match self {
            Fr => format!("{file} est valide."),
            En => format!("{file} is valid."),
        }
    }

    pub(super) fn warning(self, what: &str) -> String {
        match self {
            Fr => format!("avertissement : {what}"),
            En => format!("warning: {what}"),
        }
    }

    pub(super) fn error(self, what: &str) -> String {
        match self {
            Fr => format!("erreur : {what}"),
            En => format!("error: {what}"),
        }
    }

    pub(super) fn no_daemon(self, url: &str, cause: &str) -> String {
        let (fr, en) = if cause.contains("certificate") {
            (
                "son certificat n'est pas reconnu ; donnez-le, ou son autorité, par --ca-file",
                "its certificate is not trusted; give it, or its authority, by --ca-file",
            )
        } else if cause.contains("invalid HTTP version") {
            (
                "il parle peut-être TLS ; essayez https://",
                "it may speak TLS; try https://",
            )
        } else if cause.contains("InvalidContentType") {
            (
                "il ne parle pas TLS ; essayez http://",
                "it does not speak TLS; try http://",
            )
        } else {
            (
                "lancez « relais serve » ou donnez --url",
                "run `relais serve` or give --url",
            )
        };
        match self {
            Fr => format!("aucun relais ne répond à {url} ({cause}) ; {fr}"),
            En => format!("no relais answers at {url} ({cause}); {en}"),
        }
    }

    pub(super) fn no_key(self, cause: &str) -> String {
        match self {
            Fr => format!("pas de clé d'API : donnez --key ou RELAIS_KEY ({cause})"),
            En => format!("no API key: give --key or RELAIS_KEY ({cause})"),
        }
    }

    pub(super) fn unexpected_answer(self, status: u16) -> String {
        match self {
            Fr => format!("réponse inattendue du serveur : {status}"),
            En => format!("unexpected answer of the server: {status}"),
        }
    }

    pub(super) fn parts(self, count: u64) -> String {
        match (self, count) {
            (Fr, 0 | 1) => format!("{count} partie"),
            (Fr, _) => format!("{count} parties"),
            (En, 1) => "1 part".to_owned(),
            (En, _) => format!("{count} parts"),
        }
    }

    pub(super) fn no_keys(self) -> String {
        self.pick(
            "aucune clé ; la clé d'administration n'est pas dans la liste",
            "no keys; the admin key is not in the list",
        )
    }

    pub(super) fn key_shown_once(self) -> String {
        self.pick(
            "Notez-la maintenant : elle ne sera plus jamais affichée.",
            "Keep it now: it is never shown again.",
        )
    }

    pub(super) fn key_revoked(self, prefix: &str) -> String {
        match self {
            Fr => format!("clé {prefix} révoquée"),
            En => format!("key {prefix} revoked"),
        }
    }

    pub(super) fn revoked(self) -> String {
        self.pick("révoquée", "revoked")
    }

    pub(super) fn sim_listens(self, at: &str) -> String {
        match self {
            Fr => format!("SMSC simulé à l'écoute sur {at}"),
            En => format!("simulated SMSC listening on {at}"),
        }
    }

    pub(super) fn sim_modem_is_at(self, link: &str) -> String {
        match self {
            Fr => format!("modem GSM simulé branché sur {link}"),
            En => format!("simulated GSM modem plugged in at {link}"),
        }
    }

    pub(super) fn no_store(self, folder: &str) -> String {
        match self {
            Fr => format!("il n'y a pas de stockage dans {folder}"),
            En => format!("there is no store in {folder}"),
        }
    }

    pub(super) fn store_sound(self) -> String {
        self.pick("Le stockage est sain.", "The store is sound.")
    }

    pub(super) fn store_problems(self, count: u64) -> String {
        match self {
            Fr => format!("problèmes dans le stockage : {count}"),
            En => format!("problems in the store: {count}"),
        }
    }

    pub(super) fn store_compacted(self, records: u64, before: u64, after: u64) -> String {
        let (before, after) = (mebibytes(before), mebibytes(after));
        match self {
            Fr => format!("{records} enregistrements copiés : {before} Mio → {after} Mio"),
            En => format!("{records} records copied: {before} MiB → {after} MiB"),
        }
    }

    pub(super) fn demo_title(self) -> String {
        self.pick(
            "Relais : démonstration avec un opérateur et un modem simulés",
            "Relais: a demonstration with a simulated carrier and a simulated modem",
        )
    }

    pub(super) fn demo_started(self) -> String {
        self.pick(
            "démon démarré, opérateur relié",
            "daemon started, carrier bound",
        )
    }

    pub(super) fn demo_accepted(self) -> String {
        self.pick(
            "accepté (202) : sur le disque, synchronisé",
            "accepted (202): on the disk, synced",
        )
    }

    pub(super) fn demo_submitted(self, parts: u64) -> String {
        match self {
            Fr => format!("submit_sm × {parts} : l'opérateur a tout pris"),
            En => format!("submit_sm × {parts}: the carrier took it all"),
        }
    }

    pub(super) fn demo_receipt(self, parts: u64) -> String {
        match self {
            Fr => format!("accusé × {parts} : sur le téléphone"),
            En => format!("receipt × {parts}: on the handset"),
        }
    }

    pub(super) fn demo_modem_up(self) -> String {
        self.pick(
            "modem GSM réglé, SIM inscrite au réseau",
            "GSM modem set up, its SIM registered",
        )
    }

    pub(super) fn demo_submitted_by_modem(self, parts: u64) -> String {
        match self {
            Fr => format!("AT+CMGS × {parts} : le réseau a tout pris"),
            En => format!("AT+CMGS × {parts}: the network took it all"),
        }
    }

    pub(super) fn demo_report(self, parts: u64) -> String {
        match self {
            Fr => format!("+CDS × {parts} : sur le téléphone"),
            En => format!("+CDS × {parts}: on the handset"),
        }
    }

    pub(super) fn demo_sample_by_modem(self) -> String {
        self.pick("Et maintenant par une clé USB !", "And now by a USB stick!")
    }

    pub(super) fn demo_ways(self, link: &str) -> String {
        match self {
            Fr => format!("+336… part par l'opérateur, +337… par le modem ({link})."),
            En => format!("+336… leaves by the carrier, +337… by the modem ({link})."),
        }
    }

    /// The French word of a status, with the English one beside it for those who need it.
    pub(super) fn with_gloss(self, label: &str, status: &str) -> String {
        match self {
            Fr => label.to_owned(),
            En => format!("{label} ({status})"),
        }
    }

    /// Columns of the longest label.
    pub(super) const fn label_width(self) -> usize {
        match self {
            Fr => "En attente".len(),
            En => "En attente (pending)".len(),
        }
    }

    pub(super) fn demo_ended(self, status: &str) -> String {
        match self {
            Fr => format!("la démonstration n'a pas atteint « Livré » : {status}"),
            En => format!("the demonstration did not end with Delivered: {status}"),
        }
    }

    pub(super) fn demo_late(self) -> String {
        self.pick(
            "pas de statut final après 30 s",
            "no final status after 30 s",
        )
    }

    pub(super) fn demo_api(self) -> String {
        self.pick("Documentation de l'API", "API documentation")
    }

    pub(super) fn demo_key(self) -> String {
        self.pick("Clé d'API", "API key")
    }

    pub(super) fn demo_try(self) -> String {
        self.pick("À vous :", "Your turn:")
    }

    pub(super) fn demo_sample(self) -> String {
        self.pick("Bonjour de Relais !", "Hello from Relais!")
    }

    pub(super) fn demo_stop(self) -> String {
        self.pick(
            "Le démon continue ; Ctrl-C pour l'arrêter.",
            "The daemon goes on; Ctrl-C stops it.",
        )
    }
}

/// A long French text with accents and an emoji: three parts in UCS-2, as a town hall would send it.
pub(super) const LONG_SAMPLE: &str = "Bonjour, votre rendez-vous à la mairie est confirmé pour \
    mardi à 9 h 30, bureau 12, 1er étage. Merci d'apporter une pièce d'identité et un justificatif \
    de domicile. À bientôt 😊";

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn french_is_spoken_where_the_locale_is_french() {
        for (locale, lang) in [
            (Some("fr_FR.UTF-8"), Fr),
            (Some("fr"), Fr),
            (Some("en_GB.UTF-8"), En),
            (Some("C"), En),
            (None, En),
        ] {
            assert_eq!(Lang::of(locale), lang, "{locale:?}");
        }
    }
}
