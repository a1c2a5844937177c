//! Webhooks: posts that were decided in the commit of what they tell, signed as Standard Webhooks
//! does, in order per message, at least once, for 72 hours.
//!
//! A receiver that fails is left alone for a while, longer each time, and holds up nobody else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::field::display;

use super::credit::CreditLowView;
use super::view::{InboundView, InvalidNumberView, MessageView, message_view};
use super::{Engine, journal};
use crate::domain::message::Message;
use crate::domain::status::Language;
use crate::domain::time::Timestamp;
use crate::store::{Delivery, OutboxEvent, Settled};

pub(super) mod egress;
mod mail;

use egress::Egress;
pub use egress::{UrlRefused, check_url, install_crypto};

/// Posts under way at once, over all receivers.
const POSTS: usize = 64;
/// Posts under way at once to one origin.
const POSTS_PER_ORIGIN: usize = 32;
/// How long one post may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a delivery is tried.
const KEPT: Duration = Duration::from_hours(72);
/// Waits between tries; the last one repeats.
const WAITS: [Duration; 7] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1800),
    Duration::from_secs(3600),
    Duration::from_secs(7200),
];
/// How long a failing origin is left alone: from the first to the last, doubling.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The body of a webhook post.
#[derive(Serialize)]
struct Post<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    revision: u32,
    created_at: String,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Message(Box<MessageView<'a>>),
    Inbound(InboundView<'a>),
    CreditLow(CreditLowView<'a>),
    Number(InvalidNumberView),
}

/// How a receiver has done lately.
#[derive(Default)]
struct Origin {
    under_way: usize,
    failures: u32,
    paused_until: Option<Timestamp>,
}

/// One post's end.
struct Outcome {
    delivery: Delivery,
    taken: Result<(), String>,
}

/// Runs until `working` is cancelled; posts under way are then given up and made again after the
/// next start.
pub(super) async fn run(engine: Arc<Engine>, working: CancellationToken) {
    let egress = match Egress::new(engine.policy.clone(), TIMEOUT) {
        Ok(egress) => egress,
        Err(error) => {
            tracing::error!(%error, "webhooks_off");
            return;
        }
    };
    let (ended, mut endings) = mpsc::channel::<Outcome>(POSTS);
    let mut origins: HashMap<Arc<str>, Origin> = HashMap::new();
    let mut under_way = 0_usize;
    loop {
        let now = engine.clock.now();
        let busy: Vec<_> = origins
            .iter()
            .filter(|(_, origin)| origin.is_busy(now))
            .map(|(name, _)| name.clone())
            .collect();
        let mut wake_at = origins
            .values()
            .filter_map(|origin| origin.paused_until)
            .filter(|at| *at > now)
            .min();
        let mut took_all = true;
        if under_way < POSTS {
            let limit = (POSTS - under_way).min(POSTS_PER_ORIGIN);
            match engine.store.outbox_due(now, limit, &busy).await {
                Ok(due) => {
                    wake_at = [wake_at, due.next_due].into_iter().flatten().min();
                    took_all = due.deliveries.len() < limit;
                    for delivery in due.deliveries {
                        under_way += 1;
                        origins
                            .entry(delivery.origin.clone())
                            .or_default()
                            .under_way += 1;
                        tokio::spawn(post(
                            engine.clone(),
                            egress.clone(),
                            delivery,
                            ended.clone(),
                        ));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "outbox_unavailable");
                    wake_at = Some(now + Duration::from_secs(1));
                }
            }
        }
        // With places left and more due, the next look is at once; else something has to happen.
        if !took_all && under_way < POSTS && wake_at.is_some_and(|at| at <= now) {
            tokio::task::yield_now().await;
            continue;
        }
        let sleep = engine.clock.sleep_until(
            wake_at
                .filter(|_| under_way < POSTS)
                .unwrap_or(Timestamp::NEVER),
        );
        let mut outcomes = Vec::with_capacity(POSTS);
        tokio::select! {
            biased;
            () = working.cancelled() => return,
            () = engine.bells.outbox.notified(), if under_way < POSTS => {}
            _ = endings.recv_many(&mut outcomes, POSTS) => {}
            () = tokio::time::sleep(sleep.max(Duration::from_millis(1))) => {}
        }
        if !outcomes.is_empty() {
            under_way -= outcomes.len();
            let settled = outcomes
                .into_iter()
                .map(|outcome| engine.settle(outcome, &mut origins))
                .collect();
            if let Err(error) = engine.store.outbox_settle(settled).await {
                tracing::warn!(%error, "webhook_outcomes_not_stored");
            }
            origins.retain(|_, origin| origin.under_way > 0 || origin.failures > 0);
        }
    }
}

impl Origin {
    fn is_busy(&self, now: Timestamp) -> bool {
        // After a failure one post at a time finds out whether the receiver is back.
        let places = if self.failures > 0 {
            1
        } else {
            POSTS_PER_ORIGIN
        };
        self.under_way >= places || self.paused_until.is_some_and(|until| until > now)
    }
}

impl Engine {
    fn settle(&self, outcome: Outcome, origins: &mut HashMap<Arc<str>, Origin>) -> (u64, Settled) {
        let Outcome { delivery, taken } = outcome;
        let now = self.clock.now();
        let origin = origins.entry(delivery.origin.clone()).or_default();
        origin.under_way = origin.under_way.saturating_sub(1);
        let settled = match taken {
            Ok(()) => {
                self.metrics.webhooks_delivered.increment(1);
                *origin = Origin {
                    under_way: origin.under_way,
                    ..Origin::default()
                };
                Settled::Done
            }
            Err(problem) => {
                origin.failures = origin.failures.saturating_add(1);
                let pause = PAUSE
                    .0
                    .saturating_mul(1 << origin.failures.min(6).saturating_sub(1))
                    .min(PAUSE.1);
                origin.paused_until = Some(now + pause);
                let (message, tries) = (message(&delivery.event), delivery.tries);
                let message_id = message.map(|message| display(message.id));
                let trace = message.and_then(journal::trace);
                if now.since(delivery.created_at) >= KEPT {
                    self.metrics.webhooks_dropped.increment(1);
                    tracing::error!(origin = %delivery.origin, message_id, trace, tries, %problem, "webhook_dropped");
                    Settled::GivenUp
                } else {
                    self.metrics.webhooks_retried.increment(1);
                    tracing::warn!(origin = %delivery.origin, message_id, trace, tries, %problem, "webhook_failed");
                    let index = usize::try_from(delivery.tries)
                        .unwrap_or(usize::MAX)
                        .min(WAITS.len() - 1);
                    Settled::Retry(now + WAITS[index].mul_f64(1.0 + self.random.fraction() / 4.0))
                }
            }
        };
        (delivery.seq, settled)
    }

    /// The secret that signs a delivery, in octets.
    fn secret(&self, delivery: &Delivery) -> Option<Vec<u8>> {
        match &delivery.webhook {
            Some(id) => {
                let webhooks = self.store.webhooks(&delivery.tenant);
                let webhook = webhooks.iter().find(|webhook| webhook.id == *id)?;
                decode_secret(&webhook.secret)
            }
            None => decode_secret(&self.tenant_secret(&delivery.tenant)),
        }
    }
}

/// The message that an event is about.
fn message(event: &OutboxEvent) -> Option<&Message> {
    match event {
        OutboxEvent::Message(message) => Some(message),
        OutboxEvent::Inbound(_) | OutboxEvent::CreditLow(_) | OutboxEvent::NumberInvalid(_) => None,
    }
}

async fn post(
    engine: Arc<Engine>,
    egress: Egress,
    delivery: Delivery,
    ended: mpsc::Sender<Outcome>,
) {
    let taken = try_post(&engine, &egress, &delivery).await;
    // The receiver is gone only when the daemon stops.
    let _ = ended.send(Outcome { delivery, taken }).await;
}

/// Posts once. An error is words for the log: they hold no path, text or number.
async fn try_post(engine: &Engine, egress: &Egress, delivery: &Delivery) -> Result<(), String> {
    if let Some(to) = delivery.url.strip_prefix(mail::SCHEME) {
        return mail::deliver(engine, delivery, to).await;
    }
    let post = egress
        .to(&delivery.url)
        .map_err(|refused| refused.to_string())?;
    let Some(secret) = engine.secret(delivery) else {
        // The subscription was deleted; what it was still owed goes with it.
        return Ok(());
    };
    let (id, body) = body(delivery).map_err(|error| error.to_string())?;
    let mut post = with_signature(post, &secret, &id, engine.clock.now(), &body);
    if let Some(trace) = message(&delivery.event).and_then(|message| message.trace) {
        // The caller's context goes on as it came: nothing of ours stands in between.
        post = post.header("traceparent", trace.to_string());
    }
    egress::send(post.body(body)).await
}

fn body(delivery: &Delivery) -> Result<(String, Vec<u8>), serde_json::Error> {
    let (id, revision, data) = match &delivery.event {
        OutboxEvent::Message(message) => (
            format!("{}-{}", message.id, message.revision),
            message.revision,
            Data::Message(Box::new(message_view(message, Language::Fr, None))),
        ),
        OutboxEvent::Inbound(inbound) => (
            inbound.id.to_string(),
            1,
            Data::Inbound(InboundView::from(inbound)),
        ),
        OutboxEvent::CreditLow(low) => (
            uuid::Uuid::from_bytes(low.id()).to_string(),
            1,
            Data::CreditLow(CreditLowView::from(low)),
        ),
        OutboxEvent::NumberInvalid(it) => (
            // A message may tell of its own end besides.
            format!("{}-number", it.message),
            1,
            Data::Number(InvalidNumberView::from(it)),
        ),
    };
    let post = Post {
        id: &id,
        kind: delivery.event.kind(),
        revision,
        created_at: delivery.created_at.rfc3339(),
        data,
    };
    let body = serde_json::to_vec(&post)?;
    Ok((id, body))
}

/// A post with the headers of Standard Webhooks 1.0, signed with a `whsec_…` secret.
pub(super) fn signed(
    post: reqwest::RequestBuilder,
    secret: &str,
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> reqwest::RequestBuilder {
    let secret = decode_secret(secret).unwrap_or_default();
    with_signature(post, &secret, id, now, body)
}

fn with_signature(
    post: reqwest::RequestBuilder,
    secret: &[u8],
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> reqwest::RequestBuilder {
    let timestamp = (now.millis() / 1000).to_string();
    let signature = sign(secret, id, &timestamp, body);
    post.header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
}

/// `v1,` and the HMAC-SHA256 of id, timestamp and body, as Standard Webhooks 1.0 has it.
fn sign(secret: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    use base64::Engine as _;
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return String::new();
    };
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    format!("v1,{signature}")
}

/// The octets of a `whsec_…` secret.
fn decode_secret(secret: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(secret.strip_prefix("whsec_")?)
        .ok()
}

impl Engine {
    /// The secret that signs posts to the `webhook_url` of this tenant's messages, as
    /// `whsec_…`. Derived, so that it needs no storing: it is the HMAC of the tenant's name under the
    /// installation's own key.
    #[must_use]
    pub fn tenant_secret(&self, tenant: &crate::domain::id::Tenant) -> String {
        use base64::Engine as _;
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.signing_key) else {
            return String::new();
        };
        mac.update(b"webhook secret of tenant ");
        mac.update(tenant.as_str().as_bytes());
        let octets = mac.finalize().into_bytes();
        format!(
            "whsec_{}",
            base64::engine::general_purpose::STANDARD.encode(octets)
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::credit::CreditLow;
    use crate::domain::tenant::Unit;

    #[test]
    fn a_low_credit_is_told_in_the_words_of_its_unit() {
        let low = CreditLow {
            tenant: "irris".into(),
            line: 41,
            unit: Unit::Eur,
            threshold: 2_000_000,
            balance: 1_960_700,
            at: Timestamp(0),
        };
        let delivery = |low: &CreditLow| Delivery {
            seq: 1,
            url: "https://irris.example/".to_owned(),
            origin: "https://irris.example".into(),
            webhook: None,
            tenant: low.tenant.clone(),
            event: OutboxEvent::CreditLow(low.clone()),
            created_at: Timestamp(0),
            tries: 0,
        };
        let (id, post) = body(&delivery(&low)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&post).unwrap();
        assert_eq!(json["type"], "credit.low");
        assert_eq!(
            json["data"],
            serde_json::json!({
                "tenant": "irris", "unit": "eur", "threshold": "2.00", "balance": "1.9607",
                "at": "1970-01-01T00:00:00.000Z",
            })
        );
        let (again, _) = body(&delivery(&low)).unwrap();
        let (next, _) = body(&delivery(&CreditLow { line: 42, ..low })).unwrap();
        assert!(id == again && id != next, "one id an event");
    }

    #[test]
    fn the_signature_is_that_of_the_standards_own_example() {
        // The example in the Standard Webhooks specification, "Verifying signatures".
        let secret = decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = sign(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
