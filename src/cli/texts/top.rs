//! What `top` writes on its screen and in its snapshot.

use super::Lang::{self, En, Fr};

impl Lang {
    pub(in crate::cli) fn top_needs_terminal(self) -> String {
        self.pick(
            "« relais top » a besoin d'un terminal ; « relais top --once » n'en a pas besoin",
            "`relais top` needs a terminal; `relais top --once` does not",
        )
    }

    pub(in crate::cli) fn top_well(self) -> &'static str {
        match self {
            Fr => "Tout va bien.",
            En => "All is well.",
        }
    }

    pub(in crate::cli) fn top_asking(self, url: &str) -> String {
        match self {
            Fr => format!("{url} est interrogé…"),
            En => format!("asking {url}…"),
        }
    }

    pub(in crate::cli) fn top_away(self, why: &str) -> String {
        match self {
            Fr => format!("le démon ne répond pas, nouvel essai chaque seconde : {why}"),
            En => format!("the daemon does not answer, trying again each second: {why}"),
        }
    }

    pub(in crate::cli) fn top_held(self) -> &'static str {
        match self {
            Fr => "FIGÉ",
            En => "HELD",
        }
    }

    pub(in crate::cli) fn top_more(self, count: usize) -> String {
        match self {
            Fr => format!("… et {count} de plus (flèches)"),
            En => format!("… and {count} more (arrows)"),
        }
    }

    /// The rows of the throughput: accepted, sent, delivered, failed.
    pub(in crate::cli) const fn top_kinds(self) -> [&'static str; 4] {
        match self {
            Fr => ["acceptés", "envoyés", "livrés", "échecs"],
            En => ["accepted", "sent", "delivered", "failed"],
        }
    }

    pub(in crate::cli) const fn top_throughput(self) -> &'static str {
        match self {
            Fr => "Débit : par s, total, minute",
            En => "Throughput: per s, total, minute",
        }
    }

    pub(in crate::cli) const fn top_queues(self) -> &'static str {
        match self {
            Fr => "Files",
            En => "Queues",
        }
    }

    pub(in crate::cli) const fn top_channels(self) -> &'static str {
        match self {
            Fr => "Liaisons",
            En => "Channels",
        }
    }

    pub(in crate::cli) const fn top_events(self) -> &'static str {
        match self {
            Fr => "Événements",
            En => "Events",
        }
    }

    pub(in crate::cli) const fn top_queue_columns(self) -> [&'static str; 4] {
        match self {
            Fr => ["opérateur", "nb", "depuis", "attend"],
            En => ["operator", "n", "for", "waits for"],
        }
    }

    pub(in crate::cli) const fn top_channel_columns(self) -> [&'static str; 5] {
        match self {
            Fr => [
                "nom",
                "état",
                "fenêtre",
                "débit/s",
                "modem, dernière erreur",
            ],
            En => ["name", "state", "window", "rate/s", "modem, last error"],
        }
    }

    pub(in crate::cli) const fn top_nothing_waits(self) -> &'static str {
        match self {
            Fr => "rien n'attend",
            En => "nothing waits",
        }
    }

    pub(in crate::cli) const fn top_no_channels(self) -> &'static str {
        match self {
            Fr => "aucune liaison configurée",
            En => "no channel is configured",
        }
    }

    pub(in crate::cli) const fn top_no_events(self) -> &'static str {
        match self {
            Fr => "rien encore",
            En => "nothing yet",
        }
    }

    pub(in crate::cli) fn top_deaf(self, why: &str) -> String {
        match self {
            Fr => format!("pas d'événements : {why}"),
            En => format!("no events: {why}"),
        }
    }

    pub(in crate::cli) fn top_paused(self) -> &'static str {
        match self {
            Fr => "en pause",
            En => "paused",
        }
    }

    pub(in crate::cli) fn top_circuit(self) -> &'static str {
        match self {
            Fr => "au repos",
            En => "left alone",
        }
    }

    pub(in crate::cli) fn top_throttled(self) -> &'static str {
        match self {
            Fr => "freinée",
            En => "throttled",
        }
    }

    /// How far a SIM is used, in 24 hours and in 30 days.
    pub(in crate::cli) fn top_sim(self, used: u64, limit: u64, days: u32) -> String {
        match (self, days) {
            (Fr, 1) => format!("SIM {used}/{limit} en 24 h"),
            (En, 1) => format!("SIM {used}/{limit} in 24 h"),
            (Fr, _) => format!("SIM {used}/{limit} dest. en 30 j"),
            (En, _) => format!("SIM {used}/{limit} to in 30 d"),
        }
    }

    pub(in crate::cli) fn top_inbound(self) -> String {
        self.pick("Reçu", "Received")
    }

    pub(in crate::cli) fn top_lagged(self, missed: u64) -> String {
        match self {
            Fr => format!("{missed} événements manqués"),
            En => format!("{missed} events missed"),
        }
    }

    pub(in crate::cli) fn top_webhooks(self, pending: u64) -> String {
        match self {
            Fr => format!("webhooks en attente : {pending}"),
            En => format!("webhooks waiting: {pending}"),
        }
    }

    pub(in crate::cli) fn top_disk(self, free: Option<u64>, store: Option<u64>) -> String {
        let free = free.map_or_else(|| "?".to_owned(), |octets| self.octets(octets));
        let store = store.map_or_else(|| "?".to_owned(), |octets| self.octets(octets));
        match self {
            Fr => format!("disque : {free} libres, stockage {store}"),
            En => format!("disk: {free} free, store {store}"),
        }
    }

    /// Webhooks and disk in a few columns.
    pub(in crate::cli) fn top_foot(self, webhooks: u64, free: Option<u64>) -> String {
        let free = free.map_or_else(|| "?".to_owned(), |octets| self.octets(octets));
        match self {
            Fr => format!("webhooks {webhooks}  disque {free} libres"),
            En => format!("webhooks {webhooks}  disk {free} free"),
        }
    }

    /// A size, in the largest unit of which there is at least one.
    #[allow(clippy::cast_precision_loss)]
    pub(in crate::cli) fn octets(self, octets: u64) -> String {
        let (size, unit) = match octets {
            0..1_048_576 => (octets as f64 / 1024.0, "Ki"),
            1_048_576..1_073_741_824 => (octets as f64 / 1_048_576.0, "Mi"),
            _ => (octets as f64 / 1_073_741_824.0, "Gi"),
        };
        let letter = match self {
            Fr => "o",
            En => "B",
        };
        format!("{size:.1} {unit}{letter}")
    }

    pub(in crate::cli) const fn top_keys(self) -> &'static str {
        match self {
            Fr => "q quitter  ? aide  tab ↑↓ défiler  p figer",
            En => "q quit  ? help  tab ↑↓ scroll  p hold",
        }
    }

    pub(in crate::cli) const fn top_small(self) -> &'static str {
        match self {
            Fr => "fenêtre trop petite (60 × 16)",
            En => "window too small (60 × 16)",
        }
    }

    pub(in crate::cli) const fn top_help_title(self) -> &'static str {
        match self {
            Fr => "Aide",
            En => "Help",
        }
    }

    pub(in crate::cli) const fn top_help(self) -> [&'static str; 11] {
        match self {
            Fr => [
                "q, Échap, Ctrl-C   quitter",
                "tab, ← →           changer de cadre",
                "↑ ↓ Page Début     défiler dans le cadre",
                "p, espace          figer l'image, et reprendre",
                "?                  cette aide",
                "",
                "En haut : ce qui ne va pas, le plus grave d'abord.",
                "« relais doctor » dit en plus quoi faire.",
                "Files : ce qui attend, par opérateur, et pourquoi.",
                "fenêtre : messages en route / possibles à la fois.",
                "Événements : ceux du compte de la clé seulement.",
            ],
            En => [
                "q, Esc, Ctrl-C     quit",
                "tab, ← →           the next panel",
                "↑ ↓ Page Home      scroll in the panel",
                "p, space           hold the picture, and go on",
                "?                  this help",
                "",
                "At the top: what is wrong, most serious first.",
                "`relais doctor` says what to do as well.",
                "Queues: what waits, by operator, and why.",
                "window: messages under way / possible at once.",
                "Events: those of the key's tenant alone.",
            ],
        }
    }
}
