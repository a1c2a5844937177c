//! What `doctor` says: what was found, and what to do about it.

use std::net::SocketAddr;
use std::time::Duration;

use super::Lang::{self, En, Fr};

impl Lang {
    pub(in crate::cli) fn doctor_ok(self) -> &'static str {
        "ok"
    }

    pub(in crate::cli) fn doctor_warning(self) -> &'static str {
        match self {
            Fr => "attention",
            En => "warning",
        }
    }

    pub(in crate::cli) fn doctor_error(self) -> &'static str {
        match self {
            Fr => "erreur",
            En => "error",
        }
    }

    pub(in crate::cli) fn doctor_config(self, file: &str) -> String {
        match self {
            Fr => format!("configuration : {file} est valide"),
            En => format!("configuration: {file} is valid"),
        }
    }

    pub(in crate::cli) fn doctor_no_accounts(self) -> String {
        self.pick(
            "opérateurs : ni compte [smpp.…] ni modem [modem.…] : les messages attendront ; ajoutez-en un",
            "carriers: no [smpp.…] account and no [modem.…]: messages will wait; add one",
        )
    }

    pub(in crate::cli) fn doctor_resolved(self, account: &str, host: &str, count: usize) -> String {
        match self {
            Fr => format!("{account} : {host} est connu ({count} adresse(s))"),
            En => format!("{account}: {host} resolves ({count} address(es))"),
        }
    }

    pub(in crate::cli) fn doctor_unresolved(
        self,
        account: &str,
        host: &str,
        cause: &str,
    ) -> String {
        match self {
            Fr => format!(
                "{account} : {host} est introuvable ({cause}) ; vérifiez host et le DNS de cette machine"
            ),
            En => format!(
                "{account}: {host} does not resolve ({cause}); check host, and the DNS of this machine"
            ),
        }
    }

    pub(in crate::cli) fn doctor_connected(self, account: &str, at: SocketAddr) -> String {
        match self {
            Fr => format!("{account} : connexion TCP à {at}"),
            En => format!("{account}: TCP connects to {at}"),
        }
    }

    pub(in crate::cli) fn doctor_unreachable(self, account: &str, at: &str, cause: &str) -> String {
        match self {
            Fr => format!(
                "{account} : pas de connexion à {at} ({cause}) ; vérifiez port, pare-feu et VPN, et \
                 que l'opérateur autorise l'adresse de cette machine"
            ),
            En => format!(
                "{account}: no connection to {at} ({cause}); check port, firewall and VPN, and that \
                 the carrier admits this machine's address"
            ),
        }
    }

    pub(in crate::cli) fn doctor_no_tls(self, account: &str, cause: &str) -> String {
        match self {
            Fr => format!(
                "{account} : TLS échoue ({cause}) ; vérifiez que ce port parle TLS, ca_file et server_name"
            ),
            En => format!(
                "{account}: TLS fails ({cause}); check that this port speaks TLS, ca_file and server_name"
            ),
        }
    }

    pub(in crate::cli) fn doctor_bound(self, account: &str, tls: bool) -> String {
        match (self, tls) {
            (Fr, false) => format!("{account} : bind accepté, puis unbind"),
            (Fr, true) => format!("{account} : bind accepté sur TLS, puis unbind"),
            (En, false) => format!("{account}: bind taken, then unbound"),
            (En, true) => format!("{account}: bind taken over TLS, then unbound"),
        }
    }

    pub(in crate::cli) fn doctor_silent(self, account: &str, limit: Duration) -> String {
        let limit = limit.as_secs();
        match self {
            Fr => format!(
                "{account} : connecté, mais aucune réponse au bind en {limit} s ; vérifiez que ce \
                 port est bien celui de SMPP, et s'il attend TLS"
            ),
            En => format!(
                "{account}: connected, but no answer to the bind within {limit} s; check that this \
                 port is the one for SMPP, and whether it expects TLS"
            ),
        }
    }

    pub(in crate::cli) fn doctor_bind_failed(self, account: &str, cause: &str) -> String {
        match self {
            Fr => format!("{account} : bind impossible : {cause}"),
            En => format!("{account}: no bind: {cause}"),
        }
    }

    pub(in crate::cli) fn doctor_refused(self, account: &str, status: u32, text: &str) -> String {
        let why = self.bind_refusal(status);
        match self {
            Fr => format!("{account} : bind refusé, {text} : {why}"),
            En => format!("{account}: bind refused, {text}: {why}"),
        }
    }

    /// What a refused bind means (SMPP 3.4 §5.1.3) and what to do.
    pub(in crate::cli) fn bind_refusal(self, status: u32) -> String {
        match status {
            0x0E => self.pick(
                "mauvais mot de passe ; comparez password à celui de l'opérateur (8 caractères au \
                 plus, majuscules et minuscules distinguées)",
                "wrong password; compare password with the carrier's (8 characters at most, case \
                 counts)",
            ),
            0x0F => self.pick(
                "system_id inconnu ; comparez-le à celui de l'opérateur, et vérifiez host et port",
                "unknown system_id; compare it with the carrier's, and check host and port",
            ),
            0x05 => self.pick(
                "déjà relié : un autre programme utilise ce compte, ou une ancienne session n'est \
                 pas encore fermée ; arrêtez l'autre, ou attendez quelques minutes",
                "already bound: another program uses this account, or an old session is not closed \
                 yet; stop the other one, or wait some minutes",
            ),
            0x0D => self.pick(
                "bind refusé sans détail : compte suspendu, adresse non autorisée, trop de sessions \
                 ou mauvais mode ; vérifiez bind et binds, puis demandez à l'opérateur",
                "refused without detail: account suspended, address not admitted, too many sessions \
                 or wrong mode; check bind and binds, then ask the carrier",
            ),
            0x04 | 0x03 => self.pick(
                "ce mode de bind n'est pas accepté ; essayez bind = \"transmitter_receiver\"",
                "this mode of bind is not taken; try bind = \"transmitter_receiver\"",
            ),
            0x53 => self.pick(
                "system_type non accepté ; demandez sa valeur à l'opérateur",
                "system_type not accepted; ask the carrier for its value",
            ),
            0x58 | 0x14 => self.pick(
                "l'opérateur est saturé ; réessayez plus tard",
                "the carrier is busy; try again later",
            ),
            _ => self.pick(
                "demandez à l'opérateur ce que ce code veut dire",
                "ask the carrier what this code means",
            ),
        }
    }

    pub(in crate::cli) fn doctor_daemon_runs(self) -> String {
        self.pick(
            "démon : il tourne sur ce data_dir ; c'est lui qui est interrogé, sans second bind ni modem ouvert",
            "daemon: it runs on this data_dir, and is asked; nothing binds a second time, no modem is opened",
        )
    }

    pub(in crate::cli) fn doctor_daemon_stopped(self) -> String {
        self.pick(
            "démon : il ne tourne pas, rien ne part ; lancez-le : systemctl start relais, ou « relais serve »",
            "daemon: it does not run, nothing leaves; start it: systemctl start relais, or `relais serve`",
        )
    }

    pub(in crate::cli) fn doctor_daemon_silent(self, cause: &str) -> String {
        match self {
            Fr => format!("démon : il tourne, mais ne dit rien de ses liaisons : {cause}"),
            En => format!("daemon: it runs, but says nothing of its channels: {cause}"),
        }
    }

    pub(in crate::cli) fn doctor_channel(self, name: &str, status: &str) -> String {
        match self {
            Fr => format!("{name} : {status}"),
            En => format!("{name}: {status}"),
        }
    }

    /// Two sentences in one line.
    pub(in crate::cli) fn and(self, one: &str, other: &str) -> String {
        match self {
            Fr => format!("{one} ; {other}"),
            En => format!("{one}; {other}"),
        }
    }

    pub(in crate::cli) fn doctor_place(self, place: &str, key: &str) -> String {
        match self {
            Fr => format!("{key} est en {place} ; après correction, « relais reload »"),
            En => format!("{key} is at {place}; after correcting it, `relais reload`"),
        }
    }

    pub(in crate::cli) fn doctor_nothing_waits(self) -> String {
        self.pick("files : rien n'attend", "queues: nothing waits")
    }

    pub(in crate::cli) fn doctor_clock(self) -> String {
        self.pick("horloge : synchronisée", "clock: synchronised")
    }

    pub(in crate::cli) fn doctor_clock_free(self) -> String {
        self.pick(
            "horloge : aucun serveur de temps ne la règle : heures d'envoi, validités et signatures des \
             webhooks en dépendent ; activez systemd-timesyncd ou chrony",
            "clock: no time server sets it: sending hours, validities and the signatures of webhooks \
             depend on it; start systemd-timesyncd or chrony",
        )
    }

    pub(in crate::cli) fn doctor_receipt_ids(self, account: &str, rule: &str) -> String {
        match self {
            Fr => format!("{account} : identifiants des accusés, règle apprise : {rule}"),
            En => format!("{account}: ids in receipts, rule learnt: {rule}"),
        }
    }

    pub(in crate::cli) fn doctor_dir_absent(self, folder: &str) -> String {
        match self {
            Fr => format!("disque : {folder} n'existe pas encore ; « relais serve » le crée"),
            En => format!("disk: {folder} does not exist yet; `relais serve` makes it"),
        }
    }

    pub(in crate::cli) fn doctor_unwritable(self, folder: &str, cause: &str) -> String {
        match self {
            Fr => format!(
                "disque : impossible d'écrire dans {folder} ({cause}) ; donnez-le à l'utilisateur de Relais"
            ),
            En => format!(
                "disk: {folder} cannot be written ({cause}); make it the folder of the user that runs Relais"
            ),
        }
    }

    pub(in crate::cli) fn doctor_fsync(self, took: Duration) -> String {
        let took = millis(took);
        match self {
            Fr => format!("disque : écriture et fsync en {took} ms"),
            En => format!("disk: write and fsync in {took} ms"),
        }
    }

    pub(in crate::cli) fn doctor_fsync_slow(self, took: Duration) -> String {
        let took = millis(took);
        match self {
            Fr => format!(
                "disque : fsync prend {took} ms : chaque acceptation l'attend ; préférez un disque \
                 local, ou [store] durability = \"process\" si une coupure de courant peut coûter \
                 les dernières secondes"
            ),
            En => format!(
                "disk: fsync takes {took} ms, and every acceptance waits for it; prefer a local \
                 disk, or [store] durability = \"process\" if a power cut may cost the last seconds"
            ),
        }
    }

    pub(in crate::cli) fn doctor_fsync_fails(self, cause: &str) -> String {
        match self {
            Fr => {
                format!("disque : fsync échoue ({cause}) ; ce système de fichiers ne convient pas")
            }
            En => format!("disk: fsync fails ({cause}); this file system will not do"),
        }
    }

    pub(in crate::cli) fn doctor_room(self, mebibytes: u64) -> String {
        match self {
            Fr => format!("disque : {mebibytes} Mio libres"),
            En => format!("disk: {mebibytes} MiB free"),
        }
    }

    pub(in crate::cli) fn doctor_little_room(self, mebibytes: u64) -> String {
        match self {
            Fr => format!(
                "disque : {mebibytes} Mio libres seulement ; faites de la place, ou réduisez [retention]"
            ),
            En => {
                format!("disk: only {mebibytes} MiB free; make room, or shorten [retention]")
            }
        }
    }

    pub(in crate::cli) fn doctor_room_unknown(self, cause: &str) -> String {
        match self {
            Fr => format!("disque : place libre inconnue ({cause})"),
            En => format!("disk: free room not known ({cause})"),
        }
    }

    pub(in crate::cli) fn doctor_memory(self) -> String {
        self.pick(
            "stockage : en mémoire : rien ne survit à un arrêt",
            "store: in memory: nothing survives a stop",
        )
    }

    pub(in crate::cli) fn doctor_listen_free(self, at: SocketAddr) -> String {
        match self {
            Fr => format!("HTTP : {at} est libre"),
            En => format!("HTTP: {at} is free"),
        }
    }

    pub(in crate::cli) fn doctor_listen_ours(self, at: SocketAddr) -> String {
        match self {
            Fr => format!("HTTP : un Relais répond sur {at}"),
            En => format!("HTTP: a Relais answers on {at}"),
        }
    }

    pub(in crate::cli) fn doctor_listen_other(self, at: SocketAddr) -> String {
        match self {
            Fr => format!(
                "HTTP : {at} est pris par un autre programme, ou par un Relais d'un autre data_dir ; \
                 changez [http] listen ou arrêtez-le"
            ),
            En => format!(
                "HTTP: {at} is taken by another program, or by a Relais of another data_dir; change \
                 [http] listen, or stop it"
            ),
        }
    }

    pub(in crate::cli) fn doctor_listen_deaf(self, at: SocketAddr) -> String {
        match self {
            Fr => format!(
                "HTTP : le démon tourne, mais rien ne répond sur {at} ; si [http] listen a changé, redémarrez-le"
            ),
            En => format!(
                "HTTP: the daemon runs, but nothing answers on {at}; if [http] listen was changed, restart it"
            ),
        }
    }

    pub(in crate::cli) fn doctor_listen_refused(self, at: SocketAddr, cause: &str) -> String {
        match self {
            Fr => format!("HTTP : impossible d'écouter sur {at} ({cause}) ; changez [http] listen"),
            En => format!("HTTP: cannot listen on {at} ({cause}); change [http] listen"),
        }
    }

    pub(in crate::cli) fn doctor_sum(self, errors: usize, warnings: usize) -> String {
        match self {
            Fr => format!("erreurs : {errors}, avertissements : {warnings}"),
            En => format!("errors: {errors}, warnings: {warnings}"),
        }
    }
}

fn millis(took: Duration) -> String {
    format!("{:.1}", took.as_secs_f64() * 1000.0)
}
