//! What a running daemon says of itself, asked over its HTTP interface: the one picture that `top` draws
//! and that `doctor` judges.
//!
//! What is absent in an answer is not known; nothing is made up for it.

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Failure;
use super::client::{self, Api};
use crate::domain::time::Timestamp;

pub(super) mod exposition;
pub(super) mod findings;

use exposition::Sample;

/// How the daemon is at one instant.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// When it was asked, by our clock.
    pub(super) at: Timestamp,
    pub(super) version: String,
    pub(super) channels: Vec<Channel>,
    pub(super) queues: Vec<Queue>,
    pub(super) totals: Totals,
    /// What the channels' carriers have taken since their last receipts.
    pub(super) awaited: Vec<Awaited>,
    /// Webhook deliveries not yet made.
    pub(super) webhooks: u64,
    /// Those given up since the daemon started.
    pub(super) webhooks_dropped: u64,
    /// Octets of the store on its disk.
    pub(super) store: Option<u64>,
    /// Octets free on the disk of the store; `None` if it uses none, or cannot tell.
    pub(super) free: Option<u64>,
    pub(super) reload_failed: bool,
    /// True if it has turned itself off, and nothing is taken any more.
    pub(super) store_failed: bool,
}

/// Messages that have reached a status since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) accepted: u64,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    /// Failed and expired.
    pub(super) failed: u64,
}

/// What waits for one operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) operator: String,
    /// How many wait for what, as stable codes, most first; never empty.
    pub(super) why: Vec<(String, u64)>,
    /// How long the one that has been due longest has waited.
    pub(super) oldest: Duration,
}

impl Queue {
    pub(super) fn count(&self) -> u64 {
        self.why.iter().map(|(_, count)| count).sum()
    }
}

/// What a carrier has taken since its last receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) channel: String,
    pub(super) messages: u64,
    /// When the first of them was taken.
    pub(super) since: Timestamp,
}

/// One connection, as `/v1/channels` has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) account: String,
    pub(super) kind: String,
    pub(super) up: bool,
    pub(super) status: String,
    pub(super) cause: Option<String>,
    #[serde(deserialize_with = "instant")]
    pub(super) since: Option<Timestamp>,
    pub(super) paused: bool,
    #[serde(deserialize_with = "instant")]
    pub(super) paused_since: Option<Timestamp>,
    pub(super) window: u64,
    pub(super) window_used: u64,
    pub(super) modem: Option<Modem>,
    #[serde(rename = "account_state")]
    pub(super) state: AccountState,
}

impl Channel {
    /// Why it is not up: its own word, or the last error where it is just trying again.
    pub(super) fn cause(&self) -> Option<&str> {
        let last = || self.state.last_error.as_ref().map(|last| &last.error);
        self.cause.as_ref().or_else(last).map(String::as_str)
    }
}

/// What is known of an account.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct AccountState {
    /// Parts a second as configured.
    pub(super) rate: Option<f64>,
    /// Parts a second now.
    pub(super) rate_now: Option<f64>,
    #[serde(deserialize_with = "instant")]
    pub(super) throttled_until: Option<Timestamp>,
    pub(super) circuit: String,
    #[serde(deserialize_with = "instant")]
    pub(super) circuit_until: Option<Timestamp>,
    pub(super) last_error: Option<LastError>,
}

impl AccountState {
    /// True if the carrier has asked for less than is configured.
    pub(super) fn is_throttled(&self) -> bool {
        let less = |now: f64| self.rate.is_none_or(|rate| now < rate);
        self.throttled_until.is_some() || self.rate_now.is_some_and(less)
    }

    /// True if nothing, or one message at a time, may go through.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.circuit.as_str(), "open" | "half_open")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct LastError {
    #[serde(deserialize_with = "instant")]
    pub(super) at: Option<Timestamp>,
    pub(super) error: String,
}

/// What a modem says of itself and its SIM.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Modem {
    pub(super) operator: Option<String>,
    pub(super) signal_dbm: Option<i64>,
    pub(super) budget: Budget,
}

/// How far a SIM is used.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Budget {
    pub(super) day: Option<Used>,
    pub(super) recipients_30d: Option<Used>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Used {
    pub(super) limit: u64,
    pub(super) used: u64,
    #[serde(deserialize_with = "instant")]
    pub(super) until: Option<Timestamp>,
}

/// A time of an answer; one that cannot be read is not known.
fn instant<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.as_deref().and_then(Timestamp::parse_rfc3339))
}

impl Look {
    /// Asks the daemon.
    ///
    /// # Errors
    /// It does not answer, or refuses the key.
    pub(super) async fn ask(api: &Api, at: Timestamp) -> Result<Self, Failure> {
        let channels = api.call(Method::GET, "/v1/channels", None).await?;
        let figures = api.text("/v1/metrics").await?;
        Ok(Self::of(at, &channels, &figures))
    }

    /// The picture that two answers make: that of `/v1/channels` and that of `/v1/metrics`.
    pub(super) fn of(at: Timestamp, channels: &Value, figures: &str) -> Self {
        let channels = client::list(channels, "data").iter();
        let mut look = Self {
            at,
            channels: channels
                .filter_map(|channel| Channel::deserialize(channel).ok())
                .collect(),
            ..Self::default()
        };
        for sample in exposition::samples(figures) {
            look.take_in(&sample);
        }
        look.queues.retain(|queue| !queue.why.is_empty());
        for queue in &mut look.queues {
            queue.why.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        }
        look.queues
            .sort_by(|a, b| b.oldest.cmp(&a.oldest).then(a.operator.cmp(&b.operator)));
        look.awaited.retain(|awaited| awaited.messages > 0);
        look.awaited.sort_by(|a, b| a.channel.cmp(&b.channel));
        look
    }

    fn take_in(&mut self, sample: &Sample<'_>) {
        let count = sample.count();
        match sample.name {
            "relais_messages_total" => match sample.label("status") {
                "pending" => self.totals.accepted += count,
                "sent" => self.totals.sent += count,
                "delivered" => self.totals.delivered += count,
                "failed" | "expired" => self.totals.failed += count,
                _ => {}
            },
            // A gauge that was shown once goes on as zero.
            "relais_queue_messages" if count > 0 => {
                let why = sample.label("why").to_owned();
                self.queue(sample.label("operator")).why.push((why, count));
            }
            "relais_queue_oldest_seconds" => {
                let oldest = Duration::try_from_secs_f64(sample.value).unwrap_or_default();
                self.queue(sample.label("operator")).oldest = oldest;
            }
            "relais_receipts_awaited" => {
                self.awaited(sample.label("channel")).messages = count;
            }
            "relais_receipts_awaited_since_timestamp_seconds" => {
                let since = Duration::try_from_secs_f64(sample.value).unwrap_or_default();
                self.awaited(sample.label("channel")).since = Timestamp::default() + since;
            }
            "relais_webhook_pending" => self.webhooks = count,
            "relais_webhook_dropped_total" => self.webhooks_dropped = count,
            "relais_store_disk_bytes" => self.store = Some(count),
            "relais_store_up" => self.store_failed = count == 0,
            "relais_store_free_bytes" => self.free = Some(count),
            "relais_config_reload_failed" => self.reload_failed = count > 0,
            "relais_build_info" => self.version = sample.label("version").to_owned(),
            _ => {}
        }
    }

    fn queue(&mut self, operator: &str) -> &mut Queue {
        let known = self.queues.iter().position(|one| one.operator == operator);
        let place = known.unwrap_or_else(|| {
            self.queues.push(Queue {
                operator: operator.to_owned(),
                ..Queue::default()
            });
            self.queues.len() - 1
        });
        &mut self.queues[place]
    }

    fn awaited(&mut self, channel: &str) -> &mut Awaited {
        let known = self.awaited.iter().position(|one| one.channel == channel);
        let place = known.unwrap_or_else(|| {
            self.awaited.push(Awaited {
                channel: channel.to_owned(),
                messages: 0,
                since: Timestamp::default(),
            });
            self.awaited.len() - 1
        });
        &mut self.awaited[place]
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// Noon of a day, for pictures.
    pub(in crate::cli) const NOON: Timestamp = Timestamp(1_780_000_000_000);

    /// A daemon in trouble: a wrong password, a throttled carrier, a SIM that is spent.
    pub(in crate::cli) fn in_trouble() -> Look {
        let at = |ago: u64| (NOON - Duration::from_secs(ago)).rfc3339();
        let until = (NOON + Duration::from_secs(600)).rfc3339();
        let channels = json!({ "data": [
            { "name": "orange#1", "account": "orange", "kind": "smpp", "up": false, "status": "down",
              "cause": "bind refused by SMSC: ESME_RINVPASWD (0x0000000e)", "since": at(7200),
              "paused": false, "window": 50, "window_used": 0,
              "account_state": { "rate": 100.0, "rate_now": 100.0, "circuit": "closed",
                "last_error": { "at": at(30), "error": "bind refused by SMSC: ESME_RINVPASWD (0x0000000e)" } } },
            { "name": "sfr#1", "account": "sfr", "kind": "smpp", "up": true, "status": "up",
              "since": at(86_400), "paused": false, "window": 10, "window_used": 7,
              "account_state": { "rate": 20.0, "rate_now": 5.0, "throttled_until": until.clone(),
                "circuit": "closed",
                "last_error": { "at": at(4), "error": "ESME_RTHROTTLED (0x00000058)" } } },
            { "name": "sim1", "account": "sim1", "kind": "modem", "up": true, "status": "up",
              "since": at(600), "paused": true, "paused_since": at(300), "window": 1, "window_used": 0,
              "account_state": { "rate": 0.1, "rate_now": 0.1, "circuit": "closed" },
              "modem": { "device": "/dev/ttyUSB0", "operator": "Free", "signal_dbm": -71, "notes": [],
                "budget": { "day": { "limit": 200, "used": 200, "until": until } } } },
        ]});
        let since = (NOON.millis() / 1000) - 7200;
        let figures = format!(
            "# HELP relais_messages_total Messages\n# TYPE relais_messages_total counter\n\
             relais_messages_total{{status=\"pending\",channel=\"\",operator=\"orange\"}} 120\n\
             relais_messages_total{{status=\"sent\",channel=\"sfr#1\",operator=\"sfr\"}} 60\n\
             relais_messages_total{{status=\"delivered\",channel=\"sfr#1\",operator=\"sfr\"}} 40\n\
             relais_messages_total{{status=\"failed\",channel=\"sfr#1\",operator=\"sfr\"}} 2\n\
             relais_messages_total{{status=\"expired\",channel=\"sfr#1\",operator=\"sfr\"}} 1\n\
             relais_queue_messages{{operator=\"orange\",why=\"no_channel\"}} 58\n\
             relais_queue_messages{{operator=\"orange\",why=\"backoff\"}} 2\n\
             relais_queue_messages{{operator=\"sfr\",why=\"throttled\"}} 3\n\
             relais_queue_messages{{operator=\"free\",why=\"queued\"}} 0\n\
             relais_queue_oldest_seconds{{operator=\"orange\"}} 7150.5\n\
             relais_queue_oldest_seconds{{operator=\"sfr\"}} 12\n\
             relais_receipts_awaited{{channel=\"sfr#1\"}} 18\n\
             relais_receipts_awaited_since_timestamp_seconds{{channel=\"sfr#1\"}} {since}\n\
             relais_webhook_pending 412\nrelais_webhook_dropped_total 1\n\
             relais_store_disk_bytes 1048576\nrelais_store_free_bytes 52428800\n\
             relais_config_reload_failed 1\nrelais_build_info{{version=\"0.1.0\"}} 1\n"
        );
        Look::of(NOON, &channels, &figures)
    }

    #[test]
    fn two_answers_make_one_picture() {
        let look = in_trouble();
        assert_eq!(look.version, "0.1.0");
        let totals = Totals {
            accepted: 120,
            sent: 60,
            delivered: 40,
            failed: 3,
        };
        assert_eq!(look.totals, totals);
        let operators: Vec<_> = look.queues.iter().map(|queue| &*queue.operator).collect();
        assert_eq!(
            operators,
            ["orange", "sfr"],
            "longest first, empty ones left out"
        );
        assert_eq!(look.queues[0].why[0], ("no_channel".to_owned(), 58));
        assert_eq!(look.queues[0].count(), 60);
        assert_eq!(look.queues[0].oldest, Duration::from_millis(7_150_500));
        assert_eq!(look.awaited.len(), 1);
        assert_eq!(look.awaited[0].messages, 18);
        assert_eq!((look.webhooks, look.free), (412, Some(50 << 20)));
        assert!(look.reload_failed);
        let sim = &look.channels[2];
        assert_eq!(
            sim.modem
                .as_ref()
                .unwrap()
                .budget
                .day
                .as_ref()
                .unwrap()
                .used,
            200
        );
        assert!(look.channels[1].state.is_throttled());
        assert!(!look.channels[0].state.is_throttled());
    }

    #[test]
    fn answers_that_are_no_answers_make_an_empty_picture() {
        for (channels, figures) in [
            (Value::Null, ""),
            (
                json!({ "data": [1, "x", null] }),
                "relais_queue_messages{ 3\n}\n",
            ),
            (
                json!([]),
                "relais_store_free_bytes NaN\nrelais_queue_oldest_seconds{operator=\"a\"} -1",
            ),
        ] {
            let look = Look::of(NOON, &channels, figures);
            assert!(
                look.channels.is_empty() && look.queues.is_empty(),
                "{look:?}"
            );
        }
    }

    #[test]
    fn a_channel_that_is_trying_again_tells_the_last_error() {
        let trying = json!({ "data": [{ "name": "a#1", "status": "connecting", "account_state": {
            "circuit": "closed", "last_error": { "at": "bad", "error": "connecting: refused" } } }]});
        let look = Look::of(NOON, &trying, "");
        assert_eq!(look.channels[0].cause(), Some("connecting: refused"));
    }
}
