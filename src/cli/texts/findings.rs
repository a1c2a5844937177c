//! What `top` and `doctor` say of a daemon that runs: what is wrong, and what to do about it.

use std::time::Duration;

use super::Lang::{self, En, Fr};
use crate::channel::BIND_REFUSED;
use crate::cli::watch::findings::Finding;
use crate::cli::watch::{Channel, Queue};
use crate::domain::time::Timestamp;

impl Lang {
    /// A length of time as people say it: the two units that count.
    pub(in crate::cli) fn span(self, span: Duration) -> String {
        let seconds = span.as_secs();
        let day = match self {
            Fr => "j",
            En => "d",
        };
        let two = |number: u64, unit: &str, rest: u64, below: &str| match rest {
            0 => format!("{number} {unit}"),
            rest => format!("{number} {unit} {rest} {below}"),
        };
        match seconds {
            0..60 => format!("{seconds} s"),
            60..3600 => format!("{} min", seconds / 60),
            3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
            _ => two(seconds / 86_400, day, seconds % 86_400 / 3600, "h"),
        }
    }

    /// The same in six columns at most, for tables.
    pub(in crate::cli) fn brief(self, span: Duration) -> String {
        let seconds = span.as_secs();
        match seconds {
            0..60 => format!("{seconds}s"),
            60..3600 => format!("{}min", seconds / 60),
            3600..86_400 => format!("{}h{:02}", seconds / 3600, seconds % 3600 / 60),
            _ => format!("{}{}", seconds / 86_400, if self == Fr { "j" } else { "d" }),
        }
    }

    /// An instant by the clock on the wall, with its day where that is not today.
    pub(in crate::cli) fn hour(self, at: Timestamp, now: Timestamp) -> String {
        let local = |at: Timestamp| at.to_utc().with_timezone(&chrono::Local);
        let (at, now) = (local(at), local(now));
        if at.date_naive() == now.date_naive() {
            return at.format("%H:%M").to_string();
        }
        match self {
            Fr => at.format("%d/%m %H:%M").to_string(),
            En => at.format("%Y-%m-%d %H:%M").to_string(),
        }
    }

    /// The state of a channel.
    pub(in crate::cli) fn channel_status(self, status: &str) -> &str {
        match (self, status) {
            (En, status) => status,
            (Fr, "up") => "reliée",
            (Fr, "down") => "coupée",
            (Fr, "connecting") => "connexion",
            (Fr, "draining") => "s'arrête",
            (Fr, "stopped") => "arrêtée",
            (Fr, other) => other,
        }
    }

    /// What a message waits for, by its stable code.
    pub(in crate::cli) fn why(self, code: &str) -> &str {
        let (fr, en) = match code {
            "queued" => ("à partir", "about to leave"),
            "scheduled" => ("pour plus tard", "for later"),
            "window" => ("hors horaires d'envoi", "outside sending hours"),
            "rate" => ("débit réglé", "configured rate"),
            "throttled" => ("frein de l'opérateur", "throttled by the carrier"),
            "no_channel" => ("aucune liaison", "no channel"),
            "circuit_open" => ("opérateur au repos", "carrier left alone"),
            "paused" => ("en pause", "paused"),
            "backoff" => ("nouvel essai plus tard", "to be tried again"),
            "account_refused" => ("compte refusé", "account refused"),
            "in_doubt" => ("sort incertain", "outcome in doubt"),
            "sim_budget" => ("budget de la SIM", "budget of the SIM"),
            other => (other, other),
        };
        match self {
            Fr => fr,
            En => en,
        }
    }

    /// What waits for an operator, and why, in words: `60 waiting, oldest 1 h: no channel 58, …`.
    pub(in crate::cli) fn queue(self, queue: &Queue) -> String {
        let why: Vec<_> = queue
            .why
            .iter()
            .map(|(code, count)| format!("{} {count}", self.why(code)))
            .collect();
        let (count, why) = (queue.count(), why.join(", "));
        let oldest = self.span(queue.oldest);
        match (self, queue.oldest.as_secs()) {
            (Fr, 0) => format!("{} : {count} en attente : {why}", queue.operator),
            (En, 0) => format!("{}: {count} waiting: {why}", queue.operator),
            (Fr, _) => format!(
                "{} : {count} en attente, le plus ancien depuis {oldest} : {why}",
                queue.operator
            ),
            (En, _) => format!(
                "{}: {count} waiting, the oldest for {oldest}: {why}",
                queue.operator
            ),
        }
    }

    /// What is wrong, in a line.
    pub(in crate::cli) fn finding(self, finding: &Finding<'_>, now: Timestamp) -> String {
        match finding {
            Finding::Down(channel) => self.down(channel, now),
            Finding::CircuitOpen { account, state } => {
                let error = state.last_error.as_ref().map_or("", |last| &last.error);
                let until = self.until(state.circuit_until, now);
                match self {
                    Fr => format!(
                        "{account} : l'opérateur ne prend plus rien, laissé au repos{until} ({error})"
                    ),
                    En => {
                        format!("{account}: the carrier takes nothing, left alone{until} ({error})")
                    }
                }
            }
            Finding::Paused(channel) => {
                let (name, since) = (&channel.name, channel.paused_since);
                let long = since.map_or_else(|| "?".to_owned(), |at| self.span(now.since(at)));
                match self {
                    Fr => format!("{name} : mise en pause par quelqu'un il y a {long}"),
                    En => format!("{name}: paused by somebody {long} ago"),
                }
            }
            Finding::Throttled { account, state } => {
                let rate =
                    |rate: Option<f64>| rate.map_or("∞".to_owned(), |rate| rate.to_string());
                let (is, was) = (rate(state.rate_now), rate(state.rate));
                let until = self.until(state.throttled_until, now);
                match self {
                    Fr => format!(
                        "{account} : l'opérateur demande moins : {is} parties/s au lieu de {was}{until}"
                    ),
                    En => format!(
                        "{account}: the carrier asks for less: {is} parts/s instead of {was}{until}"
                    ),
                }
            }
            Finding::Spent {
                channel,
                days,
                limit,
                until,
            } => {
                let until = self.until(*until, now);
                match (self, days) {
                    (Fr, 1) => {
                        format!(
                            "{channel} : budget de la SIM épuisé : {limit} messages en 24 h{until}"
                        )
                    }
                    (En, 1) => {
                        format!(
                            "{channel}: budget of the SIM used up: {limit} messages in 24 h{until}"
                        )
                    }
                    (Fr, days) => format!(
                        "{channel} : budget de la SIM épuisé : {limit} destinataires en {days} jours{until}"
                    ),
                    (En, days) => format!(
                        "{channel}: budget of the SIM used up: {limit} recipients in {days} days{until}"
                    ),
                }
            }
            Finding::Weak { channel, dbm } => match self {
                Fr => format!("{channel} : signal faible ({dbm} dBm)"),
                En => format!("{channel}: weak signal ({dbm} dBm)"),
            },
            Finding::Waiting(queue) => self.queue(queue),
            Finding::NoReceipts {
                channel,
                messages,
                since,
            } => {
                let long = self.span(now.since(*since));
                match self {
                    Fr => format!(
                        "{channel} : plus d'accusés : {messages} messages pris par l'opérateur depuis {long}, aucun accusé final"
                    ),
                    En => format!(
                        "{channel}: receipts have stopped: {messages} messages taken by the carrier in {long}, no final receipt"
                    ),
                }
            }
            Finding::Webhooks { pending, dropped } => match self {
                Fr => format!("webhooks : {pending} en attente, {dropped} abandonnés"),
                En => format!("webhooks: {pending} waiting, {dropped} given up"),
            },
            Finding::LittleRoom(free) => match self {
                Fr => format!("disque : {free} Mio libres seulement"),
                En => format!("disk: only {free} MiB free"),
            },
            Finding::StoreFailed => self.pick(
                "stockage : arrêté par une erreur du disque ; rien n'est plus accepté (503)",
                "store: turned off by an error of the disk; nothing is accepted any more (503)",
            ),
            Finding::ReloadFailed => self.pick(
                "configuration : le dernier rechargement a été refusé ; l'ancienne est en vigueur",
                "configuration: the last reload was refused; the old one rules",
            ),
        }
    }

    fn down(self, channel: &Channel, now: Timestamp) -> String {
        let name = &channel.name;
        let status = self.channel_status(&channel.status);
        let cause = channel.cause().map(|cause| format!(" ({cause})"));
        let cause = cause.unwrap_or_default();
        let long = channel.since.map(|since| self.span(now.since(since)));
        match (self, long) {
            (Fr, Some(long)) => format!("{name} : {status} depuis {long}{cause}"),
            (En, Some(long)) => format!("{name}: {status} for {long}{cause}"),
            (Fr, None) => format!("{name} : {status}{cause}"),
            (En, None) => format!("{name}: {status}{cause}"),
        }
    }

    fn until(self, until: Option<Timestamp>, now: Timestamp) -> String {
        let Some(until) = until else {
            return String::new();
        };
        let until = self.hour(until, now);
        match self {
            Fr => format!(", jusqu'à {until}"),
            En => format!(", until {until}"),
        }
    }

    /// What to do about a finding.
    pub(in crate::cli) fn remedy(self, finding: &Finding<'_>) -> String {
        match finding {
            Finding::Down(channel) => self.remedy_of_down(channel),
            Finding::CircuitOpen { account, .. } => {
                let reset = format!("POST /v1/admin/channels/{account}/reset");
                match self {
                    Fr => format!(
                        "un message d'essai part de temps en temps ; appelez l'opérateur ; une fois réparé, {reset} pour ne pas attendre"
                    ),
                    En => format!(
                        "one message is tried now and then; call the carrier; once it is mended, {reset} saves the wait"
                    ),
                }
            }
            Finding::Paused(channel) => {
                let name = path_of(&channel.name);
                let resume = format!("POST /v1/admin/channels/{name}/resume");
                match self {
                    Fr => format!("le journal dit par quelle clé (« paused ») ; pour reprendre, {resume}"),
                    En => format!("the log says by which key (`paused`); to go on, {resume}"),
                }
            }
            Finding::Throttled { .. } => self.pick(
                "rien à faire si cela passe ; sinon demandez à l'opérateur le débit du contrat, et réglez rate",
                "nothing to do if it passes; else ask the carrier what the contract allows, and set rate to it",
            ),
            Finding::Spent { .. } => self.pick(
                "les messages attendent, ou prennent l'étape suivante de leur route ; ajoutez une SIM, ou revoyez daily_limit et recipients_30d",
                "messages wait, or take the next step of their route; add a SIM, or see daily_limit and recipients_30d",
            ),
            Finding::Weak { .. } => self.pick(
                "déplacez l'antenne ou le modem",
                "move the antenna or the modem",
            ),
            Finding::Waiting(queue) => self.remedy_of_waiting(queue),
            Finding::NoReceipts { .. } => self.pick(
                "envoyez un SMS à votre téléphone : s'il arrive, les accusés sont coupés ou perdus (relais_receipts_unmatched_total) ; sinon l'opérateur n'achemine plus : appelez-le",
                "send one to your own phone: if it comes, receipts are off or lost (relais_receipts_unmatched_total); if not, the carrier delivers nothing: call it",
            ),
            Finding::Webhooks { .. } => self.pick(
                "l'application qui les reçoit ne répond pas : le journal (« webhook ») dit laquelle ; ils sont essayés pendant 72 h",
                "the application that gets them does not answer: the log (`webhook`) says which; they are tried for 72 h",
            ),
            Finding::LittleRoom(_) => self.pick(
                "faites de la place, ou gardez les messages moins longtemps",
                "make room, or keep messages for less long",
            ),
            Finding::StoreFailed => self.pick(
                "faites de la place ou réparez le disque, puis redémarrez le démon (le journal : « store_failed »)",
                "make room or mend the disk, then restart the daemon (the log: `store_failed`)",
            ),
            Finding::ReloadFailed => self.pick(
                "« relais check » dit pourquoi ; corrigez, puis « relais reload »",
                "`relais check` says why; correct it, then `relais reload`",
            ),
        }
    }

    fn remedy_of_down(self, channel: &Channel) -> String {
        let cause = channel.cause().unwrap_or("");
        if let Some(status) = refusal(cause) {
            return self.bind_refusal(status);
        }
        let has = |words: &[&str]| words.iter().any(|word| cause.contains(word));
        if channel.kind == "modem" {
            return self.remedy_of_modem(&has);
        }
        if has(&["certificate", "TLS", "handshake"]) {
            self.pick(
                "vérifiez que ce port parle TLS, ca_file et server_name",
                "check that this port speaks TLS, ca_file and server_name",
            )
        } else if has(&["lookup", "resolve", "Name or service"]) {
            self.pick(
                "host est introuvable : vérifiez-le, et le DNS de cette machine",
                "host does not resolve: check it, and the DNS of this machine",
            )
        } else if cause.starts_with("connecting") {
            self.pick(
                "vérifiez host, port, pare-feu et VPN, et que l'opérateur autorise l'adresse de cette machine",
                "check host, port, firewall and VPN, and that the carrier admits this machine's address",
            )
        } else if cause.starts_with("no answer") {
            self.pick(
                "vérifiez que ce port est bien celui de SMPP, et s'il attend TLS",
                "check that this port is the one for SMPP, and whether it expects TLS",
            )
        } else {
            self.pick(
                "la liaison est reprise d'elle-même ; si cela dure, appelez l'opérateur",
                "it is connected again by itself; if that does not last, call the carrier",
            )
        }
    }

    fn remedy_of_modem(self, has: &dyn Fn(&[&str]) -> bool) -> String {
        if has(&["PIN"]) {
            self.pick(
                "vérifiez pin ou pin_file ; au dernier essai, entrez-le dans un téléphone",
                "check pin or pin_file; at the last try, enter it in a phone",
            )
        } else if has(&["registered"]) {
            self.pick(
                "vérifiez l'antenne et le contrat de la SIM ; essayez-la dans un téléphone",
                "check the antenna and the SIM's contract; try the SIM in a phone",
            )
        } else if has(&["SIM"]) {
            self.pick(
                "vérifiez que la SIM est bien en place ; essayez-la dans un téléphone",
                "check that the SIM sits well; try it in a phone",
            )
        } else if has(&["No such file", "closed", "port", "device"]) {
            self.pick(
                "le modem est-il branché ? « relais modem list » dit ce qui répond, et où",
                "is the modem plugged in? `relais modem list` says what answers, and where",
            )
        } else {
            self.pick(
                "il est repris de lui-même ; si cela dure, débranchez-le et rebranchez-le",
                "it is brought back by itself; if that fails, unplug it and plug it in again",
            )
        }
    }

    fn remedy_of_waiting(self, queue: &Queue) -> String {
        let why = queue.why.iter().map(|(why, _)| why.as_str());
        let held = |why: &&str| matches!(*why, "scheduled" | "backoff" | "window");
        // What is due is what somebody must see to.
        let first = why.clone().find(|why| !held(why)).or(why.clone().next());
        match first.unwrap_or("") {
            "no_channel" | "circuit_open" | "paused" => self.pick(
                "aucune liaison de leur route n'est ouverte : voyez les liaisons ; une autre étape dans route les ferait partir",
                "no channel of their route is open: see the channels; another step in route would let them go",
            ),
            "throttled" => self.pick(
                "l'opérateur freine : demandez-lui le débit du contrat",
                "the carrier slows us: ask it for the contract's rate",
            ),
            "rate" => self.pick(
                "ils partent au débit réglé (rate) ; augmentez-le si le contrat le permet",
                "they leave at the configured rate; raise it if the contract allows",
            ),
            "sim_budget" => self.pick(
                "la SIM a atteint sa limite : ajoutez-en une, ou une étape à la route",
                "the SIM has reached its limit: add one, or a step to the route",
            ),
            "account_refused" => self.pick(
                "l'opérateur refuse le compte : crédit, contrat ? Voyez la dernière erreur des liaisons",
                "the carrier refuses the account: credit, contract? See the last error of the channels",
            ),
            "in_doubt" => self.pick(
                "une réponse s'est perdue : ils attendent un accusé avant tout nouvel essai (on_doubt)",
                "an answer was lost: they wait for a receipt before another try (on_doubt)",
            ),
            "backoff" => self.pick(
                "l'opérateur les a refusés pour l'instant ; « relais status ID » dit le code de refus",
                "the carrier has refused them for now; `relais status ID` tells the code of refusal",
            ),
            "window" | "scheduled" => self.pick(
                "ils partiront à l'heure voulue",
                "they leave when they are meant to",
            ),
            _ => self.pick(
                "ils partent dès que la fenêtre le permet ; voyez window et les réponses de l'opérateur",
                "they leave as the window allows; see window, and how fast the carrier answers",
            ),
        }
    }
}

/// A name as it stands in a path.
fn path_of(name: &str) -> String {
    name.replace('#', "%23")
}

/// The `command_status` of a bind that was refused, from the words of its cause.
pub(in crate::cli) fn refusal(cause: &str) -> Option<u32> {
    let (_, code) = cause.strip_prefix(BIND_REFUSED)?.rsplit_once("0x")?;
    u32::from_str_radix(code.get(..8)?, 16).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::channel::smpp::errors::status_text;
    use crate::cli::watch::tests::in_trouble;

    #[test]
    fn lengths_of_time_have_two_units_at_most() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min"),
            (7200, "2 h"),
            (7320, "2 h 2 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(En.span(Duration::from_secs(seconds)), words);
        }
        assert_eq!(Fr.span(Duration::from_secs(172_800)), "2 j");
    }

    #[test]
    fn the_code_of_a_refused_bind_is_read_from_its_words() {
        for status in [0x0E, 0x0D, 0x05, 0x0000_0401] {
            let cause = format!("{BIND_REFUSED}: {}", status_text(status));
            assert_eq!(refusal(&cause), Some(status), "{cause}");
        }
        for cause in [
            "connecting: refused",
            "bind refused by SMSC",
            "0x0000000e",
            "",
        ] {
            assert_eq!(refusal(cause), None);
        }
    }

    #[test]
    fn every_finding_has_words_and_a_remedy_in_both_languages() {
        let look = in_trouble();
        for finding in look.findings() {
            let (fr, en) = (Fr.finding(&finding, look.at), En.finding(&finding, look.at));
            assert_ne!(fr, en);
            assert_ne!(Fr.remedy(&finding), En.remedy(&finding), "{finding:?}");
            assert!(!fr.contains('\n') && !en.contains('\n'));
        }
    }

    #[test]
    fn a_wrong_password_and_a_queue_behind_it_are_said_in_words() {
        let look = in_trouble();
        let down = Finding::Down(&look.channels[0]);
        assert_eq!(
            En.finding(&down, look.at),
            "orange#1: down for 2 h (bind refused by SMSC: ESME_RINVPASWD (0x0000000e))"
        );
        assert!(En.remedy(&down).starts_with("wrong password"));
        assert!(Fr.remedy(&down).starts_with("mauvais mot de passe"));
        let waiting = Finding::Waiting(&look.queues[0]);
        assert_eq!(
            Fr.finding(&waiting, look.at),
            "orange : 60 en attente, le plus ancien depuis 1 h 59 min : aucune liaison 58, \
             nouvel essai plus tard 2"
        );
        assert!(En.remedy(&waiting).contains("no channel of their route"));
    }

    #[test]
    fn what_to_do_about_a_link_that_is_down_depends_on_its_cause() {
        let mut channel = in_trouble().channels[0].clone();
        for (kind, cause, remedy) in [
            (
                "smpp",
                "connecting: Connection refused (os error 111)",
                "firewall",
            ),
            (
                "smpp",
                "connecting: failed to lookup address information",
                "DNS",
            ),
            (
                "smpp",
                "connecting: invalid peer certificate: UnknownIssuer",
                "ca_file",
            ),
            ("smpp", "no answer within 5000 ms", "SMPP"),
            ("smpp", "connection closed by peer", "by itself"),
            (
                "modem",
                "/dev/ttyUSB0: No such file or directory",
                "plugged in",
            ),
            (
                "modem",
                "the SIM has refused the PIN; it is not tried again",
                "pin_file",
            ),
            ("modem", "not registered: check SIM and antenna", "antenna"),
            ("modem", "no usable SIM: not inserted", "sits well"),
        ] {
            channel.kind = kind.to_owned();
            channel.cause = Some(cause.to_owned());
            let said = En.remedy(&Finding::Down(&channel));
            assert!(said.contains(remedy), "{cause}: {said}");
        }
    }
}
