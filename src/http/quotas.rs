//! How much one key may ask for: requests by a rate, messages by the day.
//!
//! The admin key of the installation has no limit: who holds it can make keys, and every other key has
//! one of its own. What was accepted is counted in memory: a restart begins the day anew. Days are those
//! of UTC.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tracing::Instrument as _;

use super::App;
use super::auth::{Allowed, ToSend};
use super::problem::{InputError, Problem, whole_seconds};
use crate::clock::Clock;
use crate::domain::id::Tenant;
use crate::domain::rate::Rate;
use crate::domain::time::Timestamp;
use crate::engine::accept::{Checked, Submitted};
use crate::engine::guard::Suspicious;
use crate::store::{ApiKey, Idempotency};

type Limiter = RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Duration>>;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What keys have used. There are as many as an administrator has made.
#[derive(Default)]
pub(super) struct Quotas(Mutex<HashMap<String, Used>>);

/// What one key has used.
#[derive(Default)]
struct Used {
    /// What the limiter is for: a reload may change the rate.
    rate: Rate,
    limiter: Option<Limiter>,
    /// Days since 1970, and the messages accepted in that day.
    day: i64,
    messages: usize,
}

impl Quotas {
    /// Pays for one request; a second's worth may come at once.
    ///
    /// # Errors
    /// How long to wait.
    fn request(&self, key: &str, rate: Rate, clock: &Clock) -> Result<(), Duration> {
        let mut used = self.lock();
        let used = used.entry(key.to_owned()).or_default();
        if used.rate != rate {
            let burst = rate.share_of_a_second(1);
            let quota = rate.interval().and_then(Quota::with_period);
            used.limiter = quota.map(|quota| {
                RateLimiter::direct_with_clock(quota.allow_burst(burst), clock.clone())
            });
            used.rate = rate;
        }
        let Some(limiter) = &used.limiter else {
            return Ok(());
        };
        limiter
            .check()
            .map_err(|not_until| not_until.wait_time_from(clock.elapsed()))
    }

    /// Pays for `count` messages of the day's `most`; 0 is any number.
    ///
    /// # Errors
    /// How long the day still is.
    fn spend(&self, key: &str, count: usize, most: u32, now: Timestamp) -> Result<(), Duration> {
        let mut used = self.lock();
        let used = used.entry(key.to_owned()).or_default();
        let day = now.millis().div_euclid(DAY_MS);
        if used.day != day {
            (used.day, used.messages) = (day, 0);
        }
        let after = used.messages.saturating_add(count);
        if most > 0 && after > usize::try_from(most).unwrap_or(usize::MAX) {
            return Err(Timestamp((day + 1) * DAY_MS).since(now));
        }
        used.messages = after;
        Ok(())
    }

    /// Gives back what was paid and not used, if it is still that day.
    fn give_back(&self, key: &str, count: usize, paid: Timestamp) {
        if let Some(used) = self.lock().get_mut(key)
            && used.day == paid.millis().div_euclid(DAY_MS)
        {
            used.messages = used.messages.saturating_sub(count);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Used>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a request of this key in, by its rate.
pub(super) fn admit(app: &App, key: Option<&Arc<ApiKey>>) -> Result<(), Problem> {
    let Some(key) = key else {
        return Ok(());
    };
    let engine = &app.engine;
    let rate = engine.rules().limits.key_rate;
    let admitted = app.quotas.request(&key.prefix, rate, &engine.clock);
    admitted.map_err(|wait| {
        engine.metrics.http_refused("key_rate");
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "key_rate",
            "The key asks too often",
            format!("this key may make {rate} requests; send several messages in one batch"),
        )
        .retry_after(whole_seconds(wait))
    })
}

/// Stores what a key asks for, within its quota. The repetition of an earlier submission costs nothing,
/// and is answered when the quota is used up too.
///
/// It is finished also if its caller goes: the store keeps what it was given, so that has to be paid for,
/// and whoever sends it has to be told.
pub(super) async fn submit(
    app: &Arc<App>,
    caller: &Allowed<ToSend>,
    checked: Vec<Checked>,
    as_batch: bool,
    idempotency: Option<Idempotency>,
) -> Result<Submitted, Problem> {
    let (app, tenant, key) = (app.clone(), caller.tenant.clone(), caller.key.clone());
    let stored = async move {
        let key = key.as_deref();
        watch_and_store(&app, &tenant, key, checked, as_batch, idempotency).await
    };
    let stored = tokio::spawn(stored.in_current_span()).await;
    stored.unwrap_or_else(|_| Err(Problem::unavailable()))
}

/// Stores what does not look like abuse.
async fn watch_and_store(
    app: &App,
    tenant: &Tenant,
    key: Option<&ApiKey>,
    checked: Vec<Checked>,
    as_batch: bool,
    idempotency: Option<Idempotency>,
) -> Result<Submitted, Problem> {
    let engine = &app.engine;
    let watched = match engine.watch(tenant, &checked) {
        Ok(watched) => watched,
        Err(Suspicious { error, wait }) => {
            let repeated = engine.repeat(tenant, checked, as_batch, idempotency);
            let refused = || {
                let mut error = InputError::from(error);
                if as_batch {
                    // It is the whole that is too much.
                    error.pointer = Some("".into());
                }
                Problem::invalid_fields(vec![error]).retry_after(whole_seconds(wait))
            };
            return repeated.await?.ok_or_else(refused);
        }
    };
    let submitted = pay_and_store(app, tenant, key, checked, as_batch, idempotency).await;
    engine.watched(watched, submitted.as_ref().ok());
    submitted
}

async fn pay_and_store(
    app: &App,
    tenant: &Tenant,
    key: Option<&ApiKey>,
    checked: Vec<Checked>,
    as_batch: bool,
    idempotency: Option<Idempotency>,
) -> Result<Submitted, Problem> {
    let engine = &app.engine;
    let Some(key) = key else {
        return Ok(engine
            .submit(tenant, checked, as_batch, idempotency)
            .await?);
    };
    let most = engine.rules().limits.key_daily_messages;
    let (count, at) = (checked.len(), engine.clock.now());
    if let Err(wait) = app.quotas.spend(&key.prefix, count, most, at) {
        let repeated = engine
            .repeat(tenant, checked, as_batch, idempotency)
            .await?;
        return repeated.ok_or_else(|| {
            engine.metrics.http_refused("key_quota");
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "key_quota",
                "The key has sent its messages of the day",
                format!("this key may send {most} messages a day (UTC); nothing was stored"),
            )
            .retry_after(whole_seconds(wait))
        });
    }
    let submitted = engine.submit(tenant, checked, as_batch, idempotency).await;
    let stored = submitted.as_ref().map_or(0, Submitted::stored);
    app.quotas
        .give_back(&key.prefix, count.saturating_sub(stored), at);
    Ok(submitted?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_has_its_rate_whatever_others_do_and_a_new_one_holds_at_once() {
        let quotas = Quotas::default();
        let clock = Clock::starting_at(Timestamp(0));
        let rate = Rate::per_second(5);
        for _ in 0..5 {
            quotas.request("a", rate, &clock).unwrap();
        }
        let wait = quotas.request("a", rate, &clock).unwrap_err();
        assert_eq!(wait, Duration::from_millis(200));
        quotas.request("b", rate, &clock).unwrap();
        tokio::time::sleep(wait).await;
        quotas.request("a", rate, &clock).unwrap();
        assert!(quotas.request("a", rate, &clock).is_err());
        for _ in 0..100 {
            quotas.request("a", Rate::NONE, &clock).unwrap();
        }
    }

    #[test]
    fn a_day_ends_at_midnight_and_what_was_not_used_comes_back() {
        let quotas = Quotas::default();
        let noon = Timestamp(20_000 * DAY_MS + DAY_MS / 2);
        quotas.spend("a", 8, 10, noon).unwrap();
        let left = quotas.spend("a", 3, 10, noon).unwrap_err();
        assert_eq!(left, Duration::from_hours(12));
        quotas.spend("a", 2, 10, noon).unwrap();
        quotas.give_back("a", 1, noon);
        quotas.spend("a", 1, 10, noon).unwrap();
        assert!(quotas.spend("a", 1, 10, noon).is_err());
        quotas.spend("a", 1, 0, noon).unwrap();
        let tomorrow = noon + Duration::from_hours(12);
        quotas.spend("a", 10, 10, tomorrow).unwrap();
        quotas.give_back("a", 10, noon);
        assert!(quotas.spend("a", 1, 10, tomorrow).is_err(), "of yesterday");
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        for (millis, told) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), told);
        }
    }
}
