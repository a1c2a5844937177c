//! Asks whose a number is, before its prefix is: a table first, then a service over HTTP.
//!
//! A look-up may make a message better routed, never late or lost: it is waited for as long as the
//! configuration says, its answers are kept, a service that fails is left alone for a while, and
//! whatever goes wrong, the prefix decides. The service is the administrator's own choice, so that
//! its address is not judged as those of webhooks are. Numbers are never logged.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::outbox::install_crypto;
use crate::clock::Clock;
use crate::domain::msisdn::Msisdn;
use crate::domain::policy::{Operator, Policy};
use crate::domain::portability::LookupService;
use crate::metrics::Metrics;

/// Most answers that are kept.
const KEPT_MAX: usize = 100_000;
/// Largest body that is read, in octets, and longest answer in it.
const BODY_MAX: usize = 64 << 10;
const ANSWER_MAX: usize = 64;
/// Failures in a row after which the service is left alone, and for how long.
const FAILURES_MAX: u32 = 5;
const REST: Duration = Duration::from_secs(30);
/// Shortest time between two warnings of one kind.
const BETWEEN_WARNINGS: Duration = Duration::from_mins(1);

/// Asks, and remembers the answers.
pub(super) struct Lookups {
    clock: Clock,
    metrics: Arc<Metrics>,
    /// The service of the configuration that was last in force: a reload that does not change it keeps
    /// its answers.
    asked: Mutex<Option<Arc<Asked>>>,
}

/// One service, and what is known of it.
#[derive(Debug)]
struct Asked {
    service: Arc<LookupService>,
    /// None if this machine cannot make one.
    client: Option<reqwest::Client>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Answers by number, and when each was given; none means that the service knows nothing of it.
    answers: HashMap<Msisdn, (Duration, Option<Box<str>>)>,
    /// The same numbers, the oldest answer first.
    order: VecDeque<(Msisdn, Duration)>,
    failures: u32,
    rests_until: Duration,
    warned_at: Option<Duration>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Timeout,
    /// In words, for the log.
    Other(&'static str),
}

impl Lookups {
    pub(super) fn new(clock: &Clock, metrics: &Arc<Metrics>) -> Self {
        Self {
            clock: clock.clone(),
            metrics: metrics.clone(),
            asked: Mutex::default(),
        }
    }

    /// The operator that a look-up names; `None` where the prefix is to decide. `until`, by the clock's
    /// [`elapsed`](Clock::elapsed), is when the caller cannot wait any longer.
    pub(super) async fn find(
        &self,
        to: Msisdn,
        policy: &Policy,
        until: Option<Duration>,
    ) -> Option<Arc<Operator>> {
        let portability = &policy.portability;
        let listed = portability.table.as_ref().and_then(|table| table.find(to));
        if let Some(name) = listed {
            self.metrics.portability_lookup("table");
            return Some(policy.operator(name).clone());
        }
        let service = portability.service.as_ref().filter(|it| it.knows(to))?;
        let asked = self.asked(service);
        let now = self.clock.elapsed();
        if let Some(answer) = asked.known().answer(to, now, service.keep) {
            self.metrics.portability_lookup("cached");
            return policy.named(&answer?).cloned();
        }
        if asked.known().rests_until > now {
            self.metrics.portability_lookup("resting");
            return None;
        }
        let wait = until.map_or(Duration::MAX, |until| until.saturating_sub(now));
        if wait.is_zero() {
            // The service is not to blame.
            self.metrics.portability_lookup("timeout");
            return None;
        }
        let answer = tokio::time::timeout(wait.min(service.timeout), asked.ask(to)).await;
        let (asked_at, now) = (now, self.clock.elapsed());
        match answer.unwrap_or(Err(Failure::Timeout)) {
            Ok(answer) => {
                let took = now.saturating_sub(asked_at);
                self.metrics.portability_answered(took);
                let operator = answer.as_deref().and_then(|it| policy.named(it)).cloned();
                let result = match (&answer, &operator) {
                    (None, _) => "unknown",
                    (Some(_), None) => "unmapped",
                    (Some(_), Some(_)) => "found",
                };
                self.metrics.portability_lookup(result);
                let mut known = asked.known();
                known.failures = 0;
                if result == "unmapped" && known.may_warn(now) {
                    tracing::warn!(
                        host = service.host(),
                        "portability answers with a name or code that is no operator's; add it to \
                         [portability.codes]"
                    );
                }
                known.keep(to, now, answer.map(String::into_boxed_str));
                operator
            }
            Err(failure) => {
                let (result, problem) = match failure {
                    Failure::Timeout => ("timeout", "no answer in time"),
                    Failure::Other(problem) => ("failed", problem),
                };
                self.metrics.portability_lookup(result);
                if failure == Failure::Timeout && wait < service.timeout {
                    // It was the caller who could not wait.
                    return None;
                }
                let mut known = asked.known();
                known.failures = known.failures.saturating_add(1);
                if known.failures >= FAILURES_MAX && known.rests_until <= now {
                    known.rests_until = now + REST;
                    let (host, rest_s) = (service.host(), REST.as_secs());
                    tracing::warn!(host, problem, rest_s, "portability_rests");
                }
                None
            }
        }
    }

    /// What is known of this service.
    fn asked(&self, service: &Arc<LookupService>) -> Arc<Asked> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match &*asked {
            Some(known) if known.service == *service => known.clone(),
            _ => asked.insert(Arc::new(Asked::new(service))).clone(),
        }
    }
}

impl Asked {
    fn new(service: &Arc<LookupService>) -> Self {
        install_crypto();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .user_agent(concat!("relais/", env!("CARGO_PKG_VERSION")))
            .build();
        if client.is_err() {
            tracing::error!("no HTTP client for portability; check the system's certificates");
        }
        Self {
            service: service.clone(),
            client: client.ok(),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the service says of a number: an operator's name or a code; `None` if it knows nothing of it.
    async fn ask(&self, to: Msisdn) -> Result<Option<String>, Failure> {
        let client = self.client.as_ref();
        let client = client.ok_or(Failure::Other("there is no HTTP client"))?;
        let asked = client.get(self.service.url_for(to)).send().await;
        let mut response = asked.map_err(|_| Failure::Other("it cannot be reached"))?;
        match response.status().as_u16() {
            204 | 404 => return Ok(None),
            200 => {}
            _ => return Err(Failure::Other("its status is neither 200, 204 nor 404")),
        }
        let mut body = Vec::new();
        let broken = |_| Failure::Other("its answer breaks off");
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > BODY_MAX {
                return Err(Failure::Other("its answer is longer than 64 KiB"));
            }
            body.extend_from_slice(&chunk);
        }
        read_answer(&body, &self.service.answer)
    }
}

/// Finds the answer in a body: at the JSON pointer, or the body itself.
fn read_answer(body: &[u8], pointer: &str) -> Result<Option<String>, Failure> {
    let text = std::str::from_utf8(body).map_err(|_| Failure::Other("its answer is no text"))?;
    let json: Result<serde_json::Value, _> = serde_json::from_str(text);
    let answer = match (json, pointer) {
        (Ok(json), _) => match json.pointer(pointer) {
            None | Some(serde_json::Value::Null) => String::new(),
            Some(serde_json::Value::String(text)) => text.trim().to_owned(),
            Some(serde_json::Value::Number(number)) => number.to_string(),
            Some(_) => return Err(Failure::Other("its answer is neither a text nor a number")),
        },
        (Err(_), "") => text.trim().to_owned(),
        (Err(_), _) => return Err(Failure::Other("its answer is not JSON")),
    };
    if answer.len() > ANSWER_MAX {
        return Err(Failure::Other("its answer is no name"));
    }
    Ok((!answer.is_empty()).then_some(answer))
}

impl Known {
    /// The answer that is kept for a number, if it is not too old.
    fn answer(&self, to: Msisdn, now: Duration, keep: Duration) -> Option<Option<Box<str>>> {
        let (at, answer) = self.answers.get(&to)?;
        (now.saturating_sub(*at) < keep).then(|| answer.clone())
    }

    fn keep(&mut self, to: Msisdn, now: Duration, answer: Option<Box<str>>) {
        while self.order.len() >= KEPT_MAX
            && let Some((oldest, at)) = self.order.pop_front()
        {
            // It may have been asked for again since.
            if self
                .answers
                .get(&oldest)
                .is_some_and(|(then, _)| *then == at)
            {
                self.answers.remove(&oldest);
            }
        }
        self.answers.insert(to, (now, answer));
        self.order.push_back((to, now));
    }

    fn may_warn(&mut self, now: Duration) -> bool {
        let long_ago = |at| now.saturating_sub(at) >= BETWEEN_WARNINGS;
        let may = self.warned_at.is_none_or(long_ago);
        if may {
            self.warned_at = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_answer_is_a_text_or_a_number_at_its_place() {
        let json = br#"{"result": {"mccmnc": 20801, "name": " SFR ", "none": null, "list": []}}"#;
        let found = |pointer: &str| read_answer(json, pointer);
        assert_eq!(found("/result/mccmnc"), Ok(Some("20801".into())));
        assert_eq!(found("/result/name"), Ok(Some("SFR".into())));
        assert_eq!(found("/result/none"), Ok(None));
        assert_eq!(found("/elsewhere"), Ok(None));
        assert!(found("/result/list").is_err() && found("").is_err());
        for (body, answer) in [
            (&b"orange\n"[..], Some("orange")),
            (b"\"orange\"", Some("orange")),
            (b"20801", Some("20801")),
            (b"", None),
            (b"  \n", None),
            (b"null", None),
        ] {
            assert_eq!(read_answer(body, ""), Ok(answer.map(str::to_owned)));
        }
        assert!(read_answer(b"<html>", "/x").is_err());
        assert!(read_answer(&[0xFF], "").is_err());
        assert!(read_answer("x".repeat(65).as_bytes(), "").is_err());
    }

    #[test]
    fn what_is_kept_is_bounded_and_grows_old() {
        let mut known = Known::default();
        let number = |n: u64| Msisdn::from_e164_digits(&format!("33600{n:06}")).unwrap();
        let second = Duration::from_secs(1);
        for n in 0..KEPT_MAX as u64 + 10 {
            known.keep(number(n), second, Some("orange".into()));
        }
        assert_eq!(
            (known.answers.len(), known.order.len()),
            (KEPT_MAX, KEPT_MAX)
        );
        assert_eq!(
            known.answer(number(9), second, second),
            None,
            "the oldest went"
        );
        assert!(known.answer(number(10), second, second).is_some());
        assert_eq!(
            known.answer(number(10), second * 2, second),
            None,
            "too old"
        );
        // Asked for again, it is among the newest.
        known.keep(number(11), second * 2, None);
        known.keep(number(999_999), second * 2, None);
        known.keep(number(999_998), second * 2, None);
        assert_eq!(known.answer(number(11), second * 2, second), Some(None));
    }
}
