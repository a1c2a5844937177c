//! The cells of `top`'s tables, and its snapshot for scripts and mail: what a picture says, as words.

use serde_json::{Value, json};

use super::state::State;
use crate::cli::texts::Lang;
use crate::cli::watch::findings::{Finding, Weight};
use crate::cli::watch::{Channel, Look};
use crate::domain::time::Timestamp;

/// A time of the day, by the clock on the wall.
pub(super) fn time(at: Timestamp) -> String {
    let local = at.to_utc().with_timezone(&chrono::Local);
    local.format("%H:%M:%S").to_string()
}

/// Messages a second.
pub(super) fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "…".to_owned(), |rate| format!("{rate:.1}"))
}

/// Totals since the daemon started: accepted, sent, delivered, failed.
pub(super) fn totals(state: &State) -> [u64; 4] {
    let totals = state.look.as_ref().map(|look| look.totals);
    let totals = totals.unwrap_or_default();
    [
        totals.accepted,
        totals.sent,
        totals.delivered,
        totals.failed,
    ]
}

/// Operator, number, age of the oldest, and why.
pub(super) fn queues(state: &State) -> Vec<(Weight, [String; 4])> {
    let lang = state.lang;
    let queues = state.look.iter().flat_map(|look| &look.queues);
    queues
        .map(|queue| {
            let why = queue.why.iter();
            let why: Vec<_> = why
                .map(|(code, count)| format!("{} {count}", lang.why(code)))
                .collect();
            let oldest = match queue.oldest.as_secs() {
                0 => String::new(),
                _ => lang.brief(queue.oldest),
            };
            let cells = [
                queue.operator.clone(),
                queue.count().to_string(),
                oldest,
                why.join(", "),
            ];
            (Finding::Waiting(queue).weight(), cells)
        })
        .collect()
}

/// The status for the colour; name, state, window, rate, and what else there is to say.
pub(super) fn channels(state: &State) -> Vec<(String, [String; 5])> {
    let channels = state.look.iter().flat_map(|look| &look.channels);
    channels
        .map(|channel| (channel.status.clone(), cells(channel, state.lang)))
        .collect()
}

fn cells(channel: &Channel, lang: Lang) -> [String; 5] {
    let state = &channel.state;
    let word = if channel.paused {
        lang.top_paused()
    } else if channel.up && state.is_open() {
        lang.top_circuit()
    } else if channel.up && state.is_throttled() {
        lang.top_throttled()
    } else {
        lang.channel_status(&channel.status)
    };
    let rate = match (state.rate_now, state.rate) {
        (Some(now), Some(rate)) if now < rate => match lang {
            Lang::Fr => format!("{now} sur {rate}"),
            Lang::En => format!("{now} of {rate}"),
        },
        (now, rate) => now.or(rate).map_or("∞".to_owned(), |rate| rate.to_string()),
    };
    [
        channel.name.clone(),
        word.to_owned(),
        format!("{}/{}", channel.window_used, channel.window),
        rate,
        remarks(channel, lang),
    ]
}

/// What a modem says, and the last error.
fn remarks(channel: &Channel, lang: Lang) -> String {
    let mut said = Vec::new();
    if let Some(modem) = &channel.modem {
        if let Some(dbm) = modem.signal_dbm {
            let network = modem.operator.as_deref().unwrap_or("");
            said.push(format!("{dbm} dBm {network}").trim_end().to_owned());
        }
        let budget = &modem.budget;
        for (used, days) in [(&budget.day, 1), (&budget.recipients_30d, 30)] {
            if let Some(used) = used {
                said.push(lang.top_sim(used.used, used.limit, days));
            }
        }
    }
    if let Some(last) = &state_error(channel) {
        said.push(last.clone());
    }
    said.join(", ")
}

fn state_error(channel: &Channel) -> Option<String> {
    let Some(last) = &channel.state.last_error else {
        return channel.cause.clone();
    };
    let at = last.at.map(|at| format!("{} ", time(at)));
    Some(format!("{}{}", at.unwrap_or_default(), last.error))
}

/// The snapshot for people.
pub(super) fn plain(state: &State) -> String {
    let lang = state.lang;
    let Some(look) = &state.look else {
        return String::new();
    };
    let mut lines = vec![format!(
        "Relais {}  {}  {}",
        look.version,
        state.url,
        look.at.rfc3339()
    )];
    let findings = look.findings();
    for finding in &findings {
        let word = match finding.weight() {
            Weight::Error => lang.doctor_error(),
            _ => lang.doctor_warning(),
        };
        lines.push(format!("{word:<10}{}", lang.finding(finding, look.at)));
        lines.push(format!("{:10}→ {}", "", lang.remedy(finding)));
    }
    if findings.is_empty() {
        lines.push(lang.top_well().to_owned());
    }
    lines.push(format!("\n{}", lang.top_throughput()));
    for (kind, word) in lang.top_kinds().into_iter().enumerate() {
        let now = rate(state.history.now(kind));
        lines.push(format!("  {word:<12}{now:>9}{:>12}", totals(state)[kind]));
    }
    lines.push(format!("\n{}", lang.top_queues()));
    if look.queues.is_empty() {
        lines.push(format!("  {}", lang.top_nothing_waits()));
    }
    lines.extend(
        look.queues
            .iter()
            .map(|queue| format!("  {}", lang.queue(queue))),
    );
    lines.push(format!("\n{}", lang.top_channels()));
    if look.channels.is_empty() {
        lines.push(format!("  {}", lang.top_no_channels()));
    }
    for (_, [name, status, window, rate, remarks]) in channels(state) {
        let line = format!("  {name:<16}{status:<12}{window:<10}{rate:<12}{remarks}");
        lines.push(line.trim_end().to_owned());
    }
    lines.push(format!("\n{}", lang.top_webhooks(look.webhooks)));
    lines.push(lang.top_disk(look.free, look.store));
    lines.join("\n")
}

/// The snapshot for programs.
pub(super) fn as_json(state: &State) -> Value {
    let Some(look) = &state.look else {
        return Value::Null;
    };
    let [accepted, sent, delivered, failed] = totals(state);
    let per_second: Vec<_> = (0..4).map(|kind| state.history.now(kind)).collect();
    json!({
        "at": look.at.rfc3339(),
        "version": look.version,
        "findings": look.findings().iter().map(|one| finding(one, look, state.lang)).collect::<Vec<_>>(),
        "totals": { "accepted": accepted, "sent": sent, "delivered": delivered, "failed": failed },
        "per_second": { "accepted": per_second[0], "sent": per_second[1],
            "delivered": per_second[2], "failed": per_second[3] },
        "queues": look.queues.iter().map(|queue| json!({
            "operator": queue.operator,
            "count": queue.count(),
            "oldest_seconds": queue.oldest.as_secs(),
            "why": queue.why.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        })).collect::<Vec<_>>(),
        "channels": look.channels.iter().map(|channel| json!({
            "name": channel.name,
            "status": channel.status,
            "cause": channel.cause(),
            "paused": channel.paused,
            "window": channel.window,
            "window_used": channel.window_used,
            "throttled": channel.state.is_throttled(),
            "circuit": channel.state.circuit,
        })).collect::<Vec<_>>(),
        "webhooks_pending": look.webhooks,
        "store_free_bytes": look.free,
    })
}

fn finding(finding: &Finding<'_>, look: &Look, lang: Lang) -> Value {
    let weight = match finding.weight() {
        Weight::Ok => "ok",
        Weight::Warning => "warning",
        Weight::Error => "error",
    };
    json!({
        "weight": weight,
        "what": lang.finding(finding, look.at),
        "to_do": lang.remedy(finding),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::watch::tests::in_trouble;

    fn state(lang: Lang) -> State {
        let mut state = State::new(lang, "http://127.0.0.1:8775");
        state.seen(Ok(in_trouble()));
        state
    }

    #[test]
    fn the_snapshot_is_plain_text_with_everything_in_it() {
        let text = plain(&state(Lang::En));
        for words in [
            "error     orange#1: down for 2 h",
            "          → wrong password",
            "  accepted            …         120",
            "  orange: 60 waiting, the oldest for 1 h 59 min: no channel 58, to be tried again 2",
            "  sfr#1           throttled   7/10      5 of 20",
            "webhooks waiting: 412",
            "disk: 50.0 MiB free",
        ] {
            assert!(text.contains(words), "no {words:?} in:\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
        let text = plain(&state(Lang::Fr));
        assert!(
            text.contains("sfr#1           freinée     7/10      5 sur 20"),
            "{text}"
        );
    }

    #[test]
    fn the_snapshot_for_programs_has_the_same() {
        let value = as_json(&state(Lang::En));
        assert_eq!(value["totals"]["accepted"], 120);
        assert_eq!(value["queues"][0]["why"]["no_channel"], 58);
        assert_eq!(value["channels"][0]["status"], "down");
        assert_eq!(value["findings"][0]["weight"], "error");
        assert_eq!(as_json(&State::new(Lang::En, "x")), Value::Null);
    }
}
