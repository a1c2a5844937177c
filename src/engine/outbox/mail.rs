//! Deliveries to people: what the outbox owes to a `mailto:` address goes as an e-mail.
//!
//! At least once, like a post: a mail whose answer was lost is sent again, under the same Message-ID.

use super::body;
use crate::engine::Engine;
use crate::engine::credit::low_mail;
use crate::engine::relay::email::{Letter, Mailed};
use crate::store::{Delivery, OutboxEvent};

/// How an address begins that is no URL to post to.
pub(super) const SCHEME: &str = "mailto:";

/// Mails once. An error is words for the log: they hold no address, text or number.
pub(super) async fn deliver(engine: &Engine, delivery: &Delivery, to: &str) -> Result<(), String> {
    let (id, body) = body(delivery).map_err(|error| error.to_string())?;
    let (subject, text) = match &delivery.event {
        OutboxEvent::CreditLow(low) => low_mail(low, engine.settings(&delivery.tenant).language),
        event => (format!("Relais: {}", event.kind()), text(event, &body)),
    };
    let letter = Letter {
        to,
        subject: &subject,
        text: &text,
        id,
        at: delivery.created_at,
    };
    match engine.mailers.send(engine, &letter).await {
        Mailed::Taken(_) => Ok(()),
        Mailed::Refused { code, .. } => Err(code),
        Mailed::Lost(_) => Err("the answer was lost".to_owned()),
        Mailed::Unreachable(problem) => Err(problem),
    }
}

/// What a person reads: the event as a webhook tells it, laid out.
fn text(event: &OutboxEvent, body: &[u8]) -> String {
    let laid_out = serde_json::from_slice::<serde_json::Value>(body)
        .and_then(|json| serde_json::to_string_pretty(&json));
    laid_out.unwrap_or_else(|_| event.kind().to_owned())
}
