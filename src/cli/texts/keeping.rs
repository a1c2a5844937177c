//! Words of backups, exports and erasures.

use super::Lang::{self, En, Fr};

impl Lang {
    pub(in crate::cli) fn broken_off(self, cause: &str) -> String {
        match self {
            Fr => {
                format!("le serveur a interrompu sa réponse ({cause}) ; son journal dit pourquoi")
            }
            En => format!("the server broke off its answer ({cause}); its log says why"),
        }
    }

    pub(in crate::cli) fn erased(self, erased: u64, cancelled: u64) -> String {
        match self {
            Fr => format!("{erased} enregistrements effacés, {cancelled} messages annulés"),
            En => format!("{erased} records erased, {cancelled} messages cancelled"),
        }
    }

    pub(in crate::cli) fn erase_again(self, left: u64) -> String {
        match self {
            Fr => format!(
                "{left} messages sont encore en route ; recommencez quand ils seront arrivés à leur fin"
            ),
            En => format!(
                "{left} messages are still under way; ask again when they have come to their end"
            ),
        }
    }

    pub(in crate::cli) fn backup_taken(self, file: &str, entries: u64, at: &str) -> String {
        match self {
            Fr => format!("{file} : {entries} enregistrements, vérifiés, état de {at}"),
            En => format!("{file}: {entries} records, checked, as of {at}"),
        }
    }

    pub(in crate::cli) fn backup_failed(self, file: &str, cause: &str) -> String {
        match self {
            Fr => format!("pas de sauvegarde dans {file} : {cause}"),
            En => format!("no backup in {file}: {cause}"),
        }
    }

    pub(in crate::cli) fn other_secret(self, file: &str) -> String {
        match self {
            Fr => {
                format!("{file} existe et diffère de celui de la sauvegarde ; déplacez-le d'abord")
            }
            En => format!("{file} exists and is another one than the backup's; move it away first"),
        }
    }

    pub(in crate::cli) fn restored(self, entries: u64, at: &str) -> String {
        match self {
            Fr => format!("{entries} enregistrements restaurés, état de {at}"),
            En => format!("{entries} records restored, as of {at}"),
        }
    }

    pub(in crate::cli) fn restored_waiting(self, doubtful: u64, cancelled: u64) -> String {
        match self {
            Fr => format!(
                "{doubtful} messages attendent et ont pu partir depuis, {cancelled} ont été annulés"
            ),
            En => format!(
                "{doubtful} messages wait and may have left since, {cancelled} were cancelled"
            ),
        }
    }

    pub(in crate::cli) fn exported(self, count: u64) -> String {
        match self {
            Fr => format!("{count} lignes exportées"),
            En => format!("{count} lines exported"),
        }
    }

    pub(in crate::cli) fn not_whole(self) -> String {
        self.pick(
            "la réponse du serveur est incomplète",
            "the server's answer is not whole",
        )
    }

    pub(in crate::cli) fn number_is_jsonl(self) -> String {
        self.pick(
            "--number n'écrit que du JSON Lines",
            "--number writes JSON Lines only",
        )
    }

    /// The separator of spreadsheets of people who speak this language.
    pub(in crate::cli) const fn separator(self) -> u8 {
        match self {
            Fr => b';',
            En => b',',
        }
    }

    /// The column of a field of messages.
    pub(in crate::cli) fn column(self, field: &str) -> &str {
        match (self, field) {
            (Fr, "created_at") => "créé le",
            (Fr, "send_at") => "prévu le",
            (Fr, "sent_at") => "envoyé le",
            (Fr, "delivered_at") => "livré le",
            (Fr, "updated_at") => "modifié le",
            (Fr, "received_at") => "reçu le",
            (Fr, "erased_at") => "effacé le",
            (Fr, "to") => "destinataire",
            (Fr, "from") => "expéditeur",
            (Fr, "label") => "statut",
            (Fr, "status") => "code du statut",
            (Fr, "letter") => "lettre",
            (Fr, "reason") => "motif",
            (Fr, "type") => "type",
            (Fr, "reference") => "référence",
            (Fr, "operator") => "opérateur",
            (Fr, "channel") => "canal",
            (Fr, "parts") => "parties",
            (Fr, "encoding") => "alphabet",
            (Fr, "attempts") => "essais",
            (Fr, "maybe_duplicate") => "doublon possible",
            (Fr, "text") => "texte",
            (Fr, "batch") => "lot",
            (Fr, "keyword") => "mot-clé",
            (Fr, "class") => "nature",
            (En, "created_at") => "created",
            (En, "send_at") => "planned",
            (En, "sent_at") => "sent",
            (En, "delivered_at") => "delivered",
            (En, "updated_at") => "changed",
            (En, "received_at") => "received",
            (En, "erased_at") => "erased",
            (En, "label") => "status",
            (En, "status") => "status code",
            (En, "maybe_duplicate") => "possible duplicate",
            (_, field) => field,
        }
    }
}
