//! Every metric, one documented field each, in a recorder of our own: two daemons in one process do
//! not share a figure.
//!
//! Names and labels are those of the contract. Labels are bounded: operators, channels and statuses
//! of the configuration, never a number, an id or a text.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::domain::message::Message;
use crate::domain::status::Status;

/// Handles of all metrics.
pub struct Metrics {
    recorder: PrometheusRecorder,
    /// Handles by operator, status and channel: looking one up is cheaper than making its key.
    messages: Mutex<HashMap<(String, Status, String), Counter>>,
    /// Receipts whose message is not known, by channel.
    unmatched: Mutex<HashMap<String, Counter>>,
    /// Refused binds by channel.
    binds_refused: Mutex<HashMap<String, Counter>>,
    submit: Mutex<HashMap<String, Histogram>>,
    receipt_delay: Mutex<HashMap<String, Histogram>>,
    /// What each channel has sent since its last receipt.
    awaited: Mutex<HashMap<String, Awaited>>,
    /// Queues that were shown: one that is gone is zero, not what it last was.
    queues: Mutex<Queues>,
    /// Submissions whose outcome nobody can tell, by channel.
    in_doubt: Mutex<HashMap<String, Counter>>,
    /// What callers of the HTTP interface were refused, by why.
    http_refused: Mutex<HashMap<String, Counter>>,
    /// Channels and accounts that are there; `None`: nobody has said, and all are shown.
    there: Mutex<Option<HashSet<String>>>,
    /// Answers with which carriers asked us to slow down.
    pub throttled: Counter,
    /// Webhook deliveries that the receiver took.
    pub webhooks_delivered: Counter,
    /// Webhook tries that failed and will be repeated.
    pub webhooks_retried: Counter,
    /// Webhook deliveries dropped after 72 hours of tries.
    pub webhooks_dropped: Counter,
    /// Messages received from handsets.
    pub inbound: Counter,
    /// Counts of digests that could not be told at their tick.
    pub carried_over: Counter,
}

/// What a carrier has taken since its last receipt: gauges, so that nobody has to be told.
struct Awaited {
    messages: Gauge,
    /// When the first of them was taken, in seconds since the epoch; 0 if there is none.
    since: Gauge,
    count: u32,
}

#[derive(Default)]
struct Queues {
    waiting: HashSet<(String, &'static str)>,
    oldest: HashSet<String>,
}

const META: Metadata<'static> = Metadata::new("relais", Level::INFO, None);

/// Upper bounds of the submit latency histogram, in seconds.
const SUBMIT_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0,
];
/// Upper bounds of the receipt delay histogram, in seconds: from at once to two days.
const RECEIPT_BUCKETS: [f64; 12] = [
    0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0, 172_800.0,
];

/// Gauges of one channel or account each, and the label that names it. A recorder forgets none.
const BY_CHANNEL: [(&str, &str); 10] = [
    ("relais_channel_up", "channel"),
    ("relais_channel_window_used", "channel"),
    ("relais_receipts_awaited", "channel"),
    ("relais_receipts_awaited_since_timestamp_seconds", "channel"),
    ("relais_account_rate", "account"),
    ("relais_circuit_open", "account"),
    ("relais_modem_signal_dbm", "channel"),
    ("relais_modem_registered", "channel"),
    ("relais_modem_storage_ratio", "channel"),
    ("relais_sim_budget_remaining", "channel"),
];

impl Metrics {
    /// A recorder with every metric described.
    #[must_use]
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Full("relais_submit_duration_seconds".into()),
                &SUBMIT_BUCKETS,
            )
            .and_then(|builder| {
                builder.set_buckets_for_metric(
                    Matcher::Full("relais_receipt_delay_seconds".into()),
                    &RECEIPT_BUCKETS,
                )
            })
            .and_then(|builder| {
                builder.set_buckets_for_metric(
                    Matcher::Full("relais_portability_lookup_duration_seconds".into()),
                    &SUBMIT_BUCKETS,
                )
            })
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        describe(&recorder);
        let counter = |name: &'static str| recorder.register_counter(&Key::from_name(name), &META);
        let metrics = Self {
            messages: Mutex::default(),
            unmatched: Mutex::default(),
            binds_refused: Mutex::default(),
            submit: Mutex::default(),
            receipt_delay: Mutex::default(),
            awaited: Mutex::default(),
            queues: Mutex::default(),
            in_doubt: Mutex::default(),
            http_refused: Mutex::default(),
            there: Mutex::default(),
            throttled: counter("relais_throttled_total"),
            webhooks_delivered: counter("relais_webhook_delivered_total"),
            webhooks_retried: counter("relais_webhook_retried_total"),
            webhooks_dropped: counter("relais_webhook_dropped_total"),
            inbound: counter("relais_inbound_total"),
            carried_over: counter("relais_digest_carried_over_total"),
            recorder,
        };
        metrics
            .gauge(
                "relais_build_info",
                &[("version", env!("CARGO_PKG_VERSION"))],
            )
            .set(1.0);
        metrics.gauge("relais_config_reload_failed", &[]).set(0.0);
        metrics
    }

    /// Counts a message that has reached its present status.
    pub fn message(&self, message: &Message) {
        let operator = message.lane.operator.as_str();
        let channel = message.channel().map_or("", |channel| channel.as_str());
        let status = message.status();
        let mut known = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .entry((operator.to_owned(), status, channel.to_owned()))
            .or_insert_with(|| {
                let labels = labels(&[
                    ("status", status.word()),
                    ("channel", channel),
                    ("operator", operator),
                ]);
                self.recorder
                    .register_counter(&Key::from_parts("relais_messages_total", labels), &META)
            })
            .increment(1);
        drop(known);
        if status == Status::Delivered
            && let (Some(sent), Some(delivered)) = (message.sent_at, message.delivered_at)
        {
            self.by_channel(&self.receipt_delay, "relais_receipt_delay_seconds", channel)
                .record(delivered.since(sent));
        }
        self.await_receipts(message, status, channel);
    }

    /// Counts what a carrier has taken and not yet spoken of: any receipt says that receipts come.
    #[allow(clippy::cast_precision_loss)]
    fn await_receipts(&self, message: &Message, status: Status, channel: &str) {
        let Some(sent_at) = message.sent_at else {
            return;
        };
        let spoken = match status {
            Status::Sent => false,
            // The end of its validity is our own word as often as the carrier's.
            Status::Delivered | Status::Failed => true,
            _ => return,
        };
        let mut known = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let awaited = known.entry(channel.to_owned()).or_insert_with(|| {
            let gauge = |name| self.gauge(name, &[("channel", channel)]);
            Awaited {
                messages: gauge("relais_receipts_awaited"),
                since: gauge("relais_receipts_awaited_since_timestamp_seconds"),
                count: 0,
            }
        });
        let since = (!spoken && awaited.count == 0).then_some(sent_at.millis() as f64 / 1000.0);
        awaited.count = if spoken {
            0
        } else {
            awaited.count.saturating_add(1)
        };
        awaited.messages.set(f64::from(awaited.count));
        if spoken {
            awaited.since.set(0.0);
        } else if let Some(since) = since {
            awaited.since.set(since);
        }
    }

    /// Records how long a `submit_sm` waited for its answer.
    pub fn submitted(&self, channel: &str, took: Duration) {
        self.by_channel(&self.submit, "relais_submit_duration_seconds", channel)
            .record(took);
    }

    /// Counts a receipt whose message is not known.
    pub fn unmatched(&self, channel: &str) {
        self.count(&self.unmatched, "relais_receipts_unmatched_total", channel);
    }

    /// Counts a bind that the SMSC refused.
    pub fn bind_refused(&self, channel: &str) {
        self.count(&self.binds_refused, "relais_binds_refused_total", channel);
    }

    /// Counts a submission of which nobody can tell whether the carrier took it.
    pub fn in_doubt(&self, channel: &str) {
        self.count(&self.in_doubt, "relais_submissions_in_doubt_total", channel);
    }

    /// Counts a look-up of a number's operator by what came of it: `table`, `cached`, `found`, `unknown`,
    /// `unmapped`, `timeout`, `failed` or `resting`.
    pub fn portability_lookup(&self, result: &'static str) {
        let labels = labels(&[("result", result)]);
        let key = Key::from_parts("relais_portability_lookups_total", labels);
        self.recorder.register_counter(&key, &META).increment(1);
    }

    /// Records how long the service of look-ups took to answer.
    pub fn portability_answered(&self, took: Duration) {
        let key = Key::from_name("relais_portability_lookup_duration_seconds");
        let histogram = self.recorder.register_histogram(&key, &META);
        histogram.record(took);
    }

    /// Counts what a caller of the HTTP interface was refused: `connections` beyond its share, a TLS
    /// `handshake`, requests beyond its `key_rate`, messages beyond its `key_quota`, and what looks like abuse
    /// (`recipient_limit`, `prefix_limit`, `consecutive_numbers`).
    pub fn http_refused(&self, why: &'static str) {
        self.counter_of(&self.http_refused, "relais_http_refused_total", "why", why)
            .increment(1);
    }

    /// Counts a submission that was refused because it was not paid for: `insufficient_credit`,
    /// `quota_exceeded` or `daily_spend`.
    pub fn credit_refused(&self, why: &'static str) {
        let key = Key::from_parts("relais_credit_refused_total", labels(&[("why", why)]));
        self.recorder.register_counter(&key, &META).increment(1);
    }

    /// Shows a channel's rare counters before they count: for Prometheus a series that begins at 1 has not
    /// increased, so that nobody would hear of the first refused bind.
    pub fn channel(&self, channel: &str) {
        for (known, name) in [
            (&self.unmatched, "relais_receipts_unmatched_total"),
            (&self.binds_refused, "relais_binds_refused_total"),
            (&self.in_doubt, "relais_submissions_in_doubt_total"),
        ] {
            self.counter_of(known, name, "channel", channel)
                .increment(0);
        }
    }

    fn count(&self, known: &Mutex<HashMap<String, Counter>>, name: &'static str, channel: &str) {
        self.counter_of(known, name, "channel", channel)
            .increment(1);
    }

    fn counter_of(
        &self,
        known: &Mutex<HashMap<String, Counter>>,
        name: &'static str,
        label: &'static str,
        value: &str,
    ) -> Counter {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = known.get(value) {
            return counter.clone();
        }
        let key = Key::from_parts(name, labels(&[(label, value)]));
        let counter = self.recorder.register_counter(&key, &META);
        known.insert(value.to_owned(), counter.clone());
        counter
    }

    /// A gauge of this name and labels, for values that are read when somebody looks.
    pub fn gauge(&self, name: &'static str, pairs: &[(&'static str, &str)]) -> Gauge {
        self.recorder
            .register_gauge(&Key::from_parts(name, labels(pairs)), &META)
    }

    /// Sets what waits, by operator and why, and for how many seconds the oldest has, by operator. What
    /// was set before and is not named any more is zero.
    #[allow(clippy::cast_precision_loss)]
    pub fn queues(
        &self,
        waiting: HashMap<(String, &'static str), u64>,
        oldest: HashMap<String, f64>,
    ) {
        let mut shown = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        shown.waiting.extend(waiting.keys().cloned());
        shown.oldest.extend(oldest.keys().cloned());
        for queue in &shown.waiting {
            let count = waiting.get(queue).copied().unwrap_or_default();
            let labels = [("operator", queue.0.as_str()), ("why", queue.1)];
            self.gauge("relais_queue_messages", &labels)
                .set(count as f64);
        }
        for operator in &shown.oldest {
            let seconds = oldest.get(operator).copied().unwrap_or_default();
            self.gauge("relais_queue_oldest_seconds", &[("operator", operator)])
                .set(seconds);
        }
    }

    /// A counter of this name and labels that somebody else counts; it never goes back.
    pub fn counted(&self, name: &'static str, pairs: &[(&'static str, &str)], total: u64) {
        self.recorder
            .register_counter(&Key::from_parts(name, labels(pairs)), &META)
            .absolute(total);
    }

    /// These channels and accounts are there now; a gauge of another one that was is not shown any more.
    /// What has gone is no channel that is down.
    pub fn show_only(&self, names: HashSet<String>) {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.retain(|channel, gone| {
            let stays = names.contains(channel);
            if !stays {
                gone.messages.set(0.0);
                gone.since.set(0.0);
            }
            stays
        });
        *self.there.lock().unwrap_or_else(PoisonError::into_inner) = Some(names);
    }

    /// The text that Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        let text = self.handle().render();
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(there) = &*there else { return text };
        let shows = |line: &&str| named_by(line).is_none_or(|name| there.contains(name));
        text.split_inclusive('\n').filter(shows).collect()
    }

    /// Folds recorded samples into their buckets; call it every few seconds, or memory grows while
    /// nobody scrapes.
    pub fn upkeep(&self) {
        self.handle().run_upkeep();
    }

    fn handle(&self) -> PrometheusHandle {
        self.recorder.handle()
    }

    fn by_channel(
        &self,
        known: &Mutex<HashMap<String, Histogram>>,
        name: &'static str,
        channel: &str,
    ) -> Histogram {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(histogram) = known.get(channel) {
            return histogram.clone();
        }
        let key = Key::from_parts(name, labels(&[("channel", channel)]));
        let histogram = self.recorder.register_histogram(&key, &META);
        known.insert(channel.to_owned(), histogram.clone());
        histogram
    }
}

/// The channel or account that a line is a gauge of.
fn named_by(line: &str) -> Option<&str> {
    let mut gauges = BY_CHANNEL.iter();
    gauges.find_map(|(gauge, label)| {
        let labels = line.strip_prefix(gauge)?.strip_prefix('{')?;
        let (_, value) = labels.split_once(&format!("{label}=\""))?;
        value.split('"').next()
    })
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn labels(pairs: &[(&'static str, &str)]) -> Vec<Label> {
    pairs
        .iter()
        .map(|(name, value)| Label::new(*name, (*value).to_owned()))
        .collect()
}

/// The HELP texts.
fn describe(recorder: &PrometheusRecorder) {
    const COUNTERS: [(&str, &str); 14] = [
        (
            "relais_credit_refused_total",
            "Submissions that were refused because they were not paid for, by why: \
             insufficient_credit, quota_exceeded, daily_spend.",
        ),
        (
            "relais_messages_total",
            "Messages that have reached a status, by the channel they last went through.",
        ),
        (
            "relais_receipts_unmatched_total",
            "Receipts for which no message was known when they came.",
        ),
        (
            "relais_binds_refused_total",
            "Binds that the SMSC has refused: a password, a system_id, a limit.",
        ),
        (
            "relais_submissions_in_doubt_total",
            "Submissions whose outcome nobody can tell.",
        ),
        (
            "relais_throttled_total",
            "Answers with which carriers asked us to slow down.",
        ),
        (
            "relais_webhook_delivered_total",
            "Webhook deliveries that the receiver took.",
        ),
        (
            "relais_webhook_retried_total",
            "Webhook tries that failed and will be repeated.",
        ),
        (
            "relais_webhook_dropped_total",
            "Webhook deliveries dropped after 72 hours of tries.",
        ),
        ("relais_inbound_total", "Messages received from handsets."),
        (
            "relais_digest_carried_over_total",
            "Counts of digests that could not be told at their tick, and wait for the next one.",
        ),
        (
            "relais_http_refused_total",
            "What callers of the HTTP interface were refused, by why: connections, handshake, key_rate, \
             key_quota, recipient_limit, prefix_limit, consecutive_numbers.",
        ),
        (
            "relais_portability_lookups_total",
            "Look-ups of the operator of a number, by what came of them; where it was no operator, the \
             prefix decided.",
        ),
        (
            "relais_modem_recoveries_total",
            "How often the modem had to be brought back, by what was done: resynchronised, set_up, \
             restarted, reopened, power.",
        ),
    ];
    const GAUGES: [(&str, &str); 21] = [
        (
            "relais_credit_remaining",
            "What is left of a tenant's credit, by unit: eur, or parts.",
        ),
        (
            "relais_queue_messages",
            "Messages waiting, by operator and what they wait for.",
        ),
        (
            "relais_queue_oldest_seconds",
            "How long the message that has been due longest has waited; its operator's shut hours do not \
             count.",
        ),
        ("relais_channel_up", "1 if the channel takes messages."),
        (
            "relais_channel_window_used",
            "Messages under way on the channel.",
        ),
        (
            "relais_account_rate",
            "Parts a second that the account may send now; 0 is no limit.",
        ),
        (
            "relais_circuit_open",
            "1 if the account rests because its carrier takes nothing.",
        ),
        (
            "relais_receipts_awaited",
            "Messages that the carrier has taken since its last receipt.",
        ),
        (
            "relais_receipts_awaited_since_timestamp_seconds",
            "When the first of them was taken, since the Unix epoch; 0 if there is none.",
        ),
        (
            "relais_modem_signal_dbm",
            "Signal of the modem in dBm; NaN while it is not known.",
        ),
        (
            "relais_modem_registered",
            "1 if the modem is registered in a network, or cannot say; 0 if it is not.",
        ),
        (
            "relais_modem_storage_ratio",
            "Share of the store for messages from handsets that is full; at 1 nothing comes in.",
        ),
        (
            "relais_sim_budget_remaining",
            "What the SIM may still send by each of its limits: messages in 24 hours (day), \
             recipients in 30 days (recipients_30d).",
        ),
        ("relais_webhook_pending", "Webhook deliveries not yet made."),
        (
            "relais_digest_pending",
            "Counts of digests that are still to be told: one a recipient, kind and tick.",
        ),
        (
            "relais_store_up",
            "1 if the store takes messages; 0 after an error of the disk, until the process starts again.",
        ),
        ("relais_store_disk_bytes", "Size of the store on the disk."),
        (
            "relais_store_free_bytes",
            "Room left on the disk of the store.",
        ),
        (
            "relais_store_live_bytes",
            "Size of the records in the store, counted every six hours.",
        ),
        (
            "relais_config_reload_failed",
            "1 if the last reload was refused and the old configuration is kept.",
        ),
        (
            "relais_build_info",
            "Always 1; the version is in the label.",
        ),
    ];
    for (name, help) in COUNTERS {
        recorder.describe_counter(KeyName::from(name), None, SharedString::from(help));
    }
    for (name, help) in GAUGES {
        recorder.describe_gauge(KeyName::from(name), None, SharedString::from(help));
    }
    for (name, help) in [
        (
            "relais_submit_duration_seconds",
            "From writing a submit_sm to reading its answer.",
        ),
        (
            "relais_portability_lookup_duration_seconds",
            "From asking whose a number is to the answer.",
        ),
        (
            "relais_receipt_delay_seconds",
            "From a carrier's acceptance to the receipt that it was delivered.",
        ),
    ] {
        recorder.describe_histogram(
            KeyName::from(name),
            Some(Unit::Seconds),
            SharedString::from(help),
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::event::Event;
    use crate::domain::fixtures::{START, in_parts, lease, policy};

    #[test]
    fn a_channel_that_comes_back_awaits_no_receipt_of_its_earlier_life() {
        let metrics = Metrics::new();
        let mut message = in_parts(1, 1);
        let claimed = Event::Claimed(lease("a", START, START));
        let _ = message.apply(&claimed, &policy(), START).unwrap();
        let accepted = Event::SegmentAccepted {
            by: message.sending(),
            segment: 0,
            reference: "1".to_owned(),
        };
        let _ = message.apply(&accepted, &policy(), START).unwrap();
        let channel = message.channel().unwrap().to_string();
        let awaited = |count: u8| {
            let line = format!("relais_receipts_awaited{{channel=\"{channel}\"}} {count}\n");
            metrics.render().contains(&line)
        };
        metrics.message(&message);
        assert!(awaited(1), "{}", metrics.render());
        metrics.show_only(HashSet::new());
        assert!(!metrics.render().contains("relais_receipts_awaited{"));
        metrics.show_only([channel.clone()].into());
        assert!(awaited(0), "{}", metrics.render());
        metrics.message(&message);
        assert!(awaited(1), "{}", metrics.render());
    }
}
