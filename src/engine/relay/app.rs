//! A step over the caller's own app: one signed post, which the app answers with what became of it.
//!
//! Every try of a step bears the same `webhook-id`, so that an app that has delivered it already
//! answers the repetition with the first answer. That is why its typed answer speaks for every try
//! before it, and why an answer that was lost is asked for again until the step's deadline.

use serde::{Deserialize, Serialize};

use super::{BUSY, Origins, later, refused};
use crate::channel::SegmentOutcome;
use crate::domain::chain::{NO_ADDRESS, RETRY, UNDELIVERABLE, Way};
use crate::domain::message::{Doubt, Message};
use crate::engine::outbox::egress::{self, Answered, Egress};
use crate::engine::outbox::{self, TIMEOUT};
use crate::engine::{Engine, journal};

/// The body of the post.
#[derive(Serialize)]
struct Post<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: uuid::Uuid,
    step: u16,
    to: String,
    text: &'a str,
    deadline: String,
    reference: Option<&'a str>,
    metadata: Option<serde_json::Value>,
}

/// What an app answers.
#[derive(Deserialize)]
struct Answer {
    outcome: Option<String>,
}

/// The way out to apps.
pub(super) struct Posts(Egress);

impl Posts {
    pub(super) fn new(engine: &Engine) -> Result<Self, reqwest::Error> {
        Egress::new(engine.policy.clone(), TIMEOUT).map(Self)
    }

    /// Posts once.
    pub(super) async fn post(
        &self,
        engine: &Engine,
        origins: &Origins,
        message: &Message,
    ) -> SegmentOutcome {
        let Some(chain) = message.chain() else {
            return refused(NO_ADDRESS);
        };
        let Some(Way::App { url: Some(url) }) = chain.current().map(|step| &step.way) else {
            return refused(NO_ADDRESS);
        };
        let post = match self.0.to(url) {
            Ok(post) => post,
            // The configuration no longer permits it, and may again.
            Err(problem) => return later(problem.code()),
        };
        let origin = reqwest::Url::parse(url).map(|url| url.origin().ascii_serialization());
        let Some(_place) = origins.enter(origin.unwrap_or_default()) else {
            return later(BUSY);
        };
        let body = Post {
            kind: "message.step",
            id: message.id.0,
            step: chain.at,
            to: message.to.to_string(),
            text: &message.text,
            deadline: message.expires_at.rfc3339(),
            reference: message.reference.as_deref(),
            metadata: message
                .metadata
                .as_deref()
                .and_then(|json| serde_json::from_str(json).ok()),
        };
        let Ok(body) = serde_json::to_vec(&body) else {
            return later("unwritable");
        };
        let id = format!("{}-step-{}", message.id, chain.at);
        let secret = engine.tenant_secret(&message.tenant);
        let mut post = outbox::signed(post, &secret, &id, engine.clock.now(), &body);
        if let Some(trace) = message.trace {
            post = post.header("traceparent", trace.to_string());
        }
        let (outcome, said) = match egress::ask(post.body(body)).await {
            Answered::Never(problem) => (later("unreachable"), problem),
            Answered::Lost { timeout, problem } => {
                let doubt = if timeout {
                    Doubt::Timeout
                } else {
                    Doubt::Disconnected
                };
                (SegmentOutcome::Unknown(doubt), problem)
            }
            Answered::With(status, body) => (judge(status, &body), format!("answered {status}")),
        };
        tracing::debug!(
            message_id = %message.id, trace = journal::trace(message), step = chain.at, ?outcome, %said,
            "app_asked"
        );
        outcome
    }
}

/// What an answer says. Without a typed outcome, a success has taken it, and a refusal of the request
/// has not; a server that failed may have done either.
fn judge(status: u16, body: &[u8]) -> SegmentOutcome {
    let answer = serde_json::from_slice::<Answer>(body);
    let outcome = answer.ok().and_then(|answer| answer.outcome);
    match (status, outcome.as_deref()) {
        (200..=299 | 400..=499, Some("delivered")) => SegmentOutcome::Delivered,
        (200..=299 | 400..=499, Some("accepted")) | (200..=299, None) => {
            SegmentOutcome::Accepted(String::new())
        }
        (200..=299 | 400..=499, Some("no_address")) => refused(NO_ADDRESS),
        (200..=299 | 400..=499, Some("undeliverable")) => refused(UNDELIVERABLE),
        (_, Some("retry")) => later(RETRY),
        (300..=499 | 503, _) => later(format!("answered {status}")),
        _ => SegmentOutcome::Unknown(Doubt::Disconnected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_typed_answer_or_a_refused_request_is_certain() {
        let doubt = SegmentOutcome::Unknown(Doubt::Disconnected);
        let taken = SegmentOutcome::Accepted(String::new());
        for (status, body, expected) in [
            (
                200,
                r#"{"outcome": "delivered"}"#,
                SegmentOutcome::Delivered,
            ),
            (202, r#"{"outcome": "accepted", "x": 1}"#, taken.clone()),
            (200, "", taken.clone()),
            (204, "ok", taken.clone()),
            (200, "{}", taken),
            (200, r#"{"outcome": "no_address"}"#, refused(NO_ADDRESS)),
            (404, r#"{"outcome": "no_address"}"#, refused(NO_ADDRESS)),
            (
                422,
                r#"{"outcome": "undeliverable"}"#,
                refused(UNDELIVERABLE),
            ),
            (200, r#"{"outcome": "retry"}"#, later(RETRY)),
            (503, r#"{"outcome": "retry"}"#, later(RETRY)),
            (200, r#"{"outcome": "perhaps"}"#, doubt.clone()),
            (404, "not here", later("answered 404")),
            (302, "", later("answered 302")),
            (429, "", later("answered 429")),
            (503, "", later("answered 503")),
            (500, "", doubt.clone()),
            (502, "", doubt.clone()),
            (504, r#"{"outcome": "delivered"}"#, doubt),
        ] {
            assert_eq!(judge(status, body.as_bytes()), expected, "{status} {body}");
        }
    }
}
