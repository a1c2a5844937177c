//! Errors as clients read them: RFC 9457 `application/problem+json`.
//!
//! `code` is stable and what programs act on; `detail` says what to do in words. Nothing of files,
//! of the store's engine or of other tenants ever stands in one.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::domain::credit::{Quota, Unpaid};
use crate::domain::tenant::Unit;
use crate::engine::accept::{FieldError, NotAmended, Refusal};
use crate::store::StoreError;

/// An error answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:relais:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: Kind,
    /// The kind of problem in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: Cow<'static, str>,
    /// Stable code.
    code: &'static str,
    /// One entry a field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<InputError>,
    /// Seconds to wait before trying again.
    #[serde(skip)]
    retry_after: Option<NonZeroU32>,
    /// True where the answer asks for a key.
    #[serde(skip)]
    challenge: bool,
    /// The places, among what was submitted, of plans that can no longer be changed.
    #[serde(skip)]
    late: Box<[usize]>,
}

/// A code as the URN of a kind of problem.
#[derive(Debug)]
struct Kind(&'static str);

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:relais:problem:{}", self.0))
    }
}

/// What is wrong with one field or query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct InputError {
    /// JSON pointer into the body (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) pointer: Option<Cow<'static, str>>,
    /// Name of the query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) parameter: Option<Cow<'static, str>>,
    /// Stable code.
    pub(crate) code: &'static str,
    /// What is wrong and what to do.
    pub(crate) detail: String,
    /// What kind of refusal it is: it gives the answer its status.
    #[serde(skip)]
    pub(crate) refusal: Refusal,
}

impl InputError {
    /// An error of the field at `pointer`.
    pub(crate) fn at(
        pointer: impl Into<Cow<'static, str>>,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            pointer: Some(pointer.into()),
            parameter: None,
            code,
            detail: detail.into(),
            refusal: Refusal::Input,
        }
    }

    /// An error of the query parameter `name`.
    pub(crate) fn of_parameter(
        name: impl Into<Cow<'static, str>>,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            pointer: None,
            parameter: Some(name.into()),
            code,
            detail: detail.into(),
            refusal: Refusal::Input,
        }
    }

    /// A mistake in the configuration, in words that name its place.
    pub(crate) const fn of_the_file(detail: String) -> Self {
        Self {
            pointer: None,
            parameter: None,
            code: "config_invalid",
            detail,
            refusal: Refusal::Input,
        }
    }

    /// The same error of a field inside a larger body.
    pub(crate) fn under(mut self, prefix: &str) -> Self {
        let inner = self.pointer.take().unwrap_or_default();
        self.pointer = Some(format!("{prefix}{inner}").into());
        self
    }
}

impl From<FieldError> for InputError {
    fn from(error: FieldError) -> Self {
        Self {
            refusal: error.refusal,
            ..Self::at(error.pointer, error.code, error.detail)
        }
    }
}

impl Problem {
    /// A problem of this status and code.
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind: Kind(code),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            code,
            errors: Vec::new(),
            retry_after: None,
            challenge: false,
            late: Box::default(),
        }
    }

    /// The same with what is wrong, field by field.
    pub(crate) fn with_errors(mut self, errors: Vec<InputError>) -> Self {
        self.errors = errors;
        self
    }

    /// The same about a member of a larger body.
    pub(crate) fn under(mut self, prefix: &str) -> Self {
        self.errors = self.errors.into_iter().map(|it| it.under(prefix)).collect();
        self
    }

    /// The same with a `Retry-After`.
    pub(crate) const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = NonZeroU32::new(seconds);
        self
    }

    /// 400: the body is not JSON.
    pub(crate) fn malformed_json(error: &serde_json::Error) -> Self {
        // Of serde_json's message only the place is given: the rest may quote the body.
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_json",
            "The body is not valid JSON",
            format!(
                "the JSON ends or breaks at line {}, column {}; it must be one UTF-8 JSON object",
                error.line(),
                error.column()
            ),
        )
    }

    /// 422, 403 or 429: fields of the body are wrong, or may not be as they are.
    pub(crate) fn invalid_fields(mut errors: Vec<InputError>) -> Self {
        // What may not be done at all comes before what is wrong with it.
        let graver = errors.iter().map(|error| error.refusal).max();
        let status = match graver {
            Some(Refusal::Forbidden) => StatusCode::FORBIDDEN,
            Some(Refusal::TooMany) => StatusCode::TOO_MANY_REQUESTS,
            Some(Refusal::Input) | None => StatusCode::UNPROCESSABLE_ENTITY,
        };
        errors.retain(|error| Some(error.refusal) == graver);
        // One kind of refusal alone gives the problem its code; several kinds are "invalid_input".
        let code = match errors.split_first() {
            Some((first, rest)) if rest.iter().all(|error| error.code == first.code) => first.code,
            _ => "invalid_input",
        };
        let detail = match errors.as_slice() {
            [only] => only.detail.clone().into(),
            _ => Cow::Borrowed("several fields are wrong; \"errors\" names each"),
        };
        Self::new(
            status,
            code,
            "The request is understood but cannot be accepted",
            detail,
        )
        .with_errors(errors)
    }

    /// 402, 422 or 429: it is not paid for, or there has been too much of it.
    pub(crate) fn unpaid(why: &Unpaid) -> Self {
        let (status, title) = match why {
            Unpaid::Credit { .. } => (StatusCode::PAYMENT_REQUIRED, "The credit is not enough"),
            Unpaid::Quota { .. } => (StatusCode::TOO_MANY_REQUESTS, "A quota is used up"),
            Unpaid::Spending { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "The day's spending is used up",
            ),
            Unpaid::TooLarge => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "The balance would be too large",
            ),
        };
        let problem = Self::new(status, why.code(), title, unpaid_detail(why));
        match why {
            Unpaid::Quota { wait, .. } | Unpaid::Spending { wait, .. } => {
                problem.retry_after(whole_seconds(*wait))
            }
            Unpaid::Credit { .. } | Unpaid::TooLarge => problem,
        }
    }

    /// 404, for what does not exist and for what is another tenant's alike.
    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Not found",
            "there is nothing under this address",
        )
    }

    /// 401: no key, or one that is not known.
    pub(crate) fn unauthorized(detail: &'static str) -> Self {
        let mut problem = Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "A valid key is needed",
            detail,
        );
        problem.challenge = true;
        problem
    }

    /// The same for a batch whose accepted items stood at these places of the body.
    pub(crate) fn of_items(mut self, places: &[usize], prefix: Option<&str>) -> Self {
        let late = std::mem::take(&mut self.late).into_vec().into_iter();
        let errors = late.filter_map(|item| places.get(item)).map(|index| {
            let pointer = prefix.map_or_else(
                || "/schedule_key".to_owned(),
                |prefix| format!("{prefix}/{index}/schedule_key"),
            );
            let detail = "the message of this plan is leaving or has left";
            InputError::at(pointer, "too_late", detail)
        });
        self.errors.extend(errors);
        self
    }

    /// 503: the store cannot take messages now.
    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The service cannot do this now",
            "nothing was stored; try again later",
        )
        .retry_after(5)
    }
}

/// Whole seconds, at least one.
pub(super) fn whole_seconds(wait: Duration) -> u32 {
    let up = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(up.max(1)).unwrap_or(u32::MAX)
}

/// What is not paid for, in words.
pub(super) fn unpaid_detail(why: &Unpaid) -> String {
    match why {
        Unpaid::Credit { unit, needed, left } => format!(
            "this costs {} and the credit is {}; nothing was stored. An administrator can add credit",
            unit.words(*needed),
            unit.words(*left)
        ),
        Unpaid::Quota {
            which,
            most,
            used,
            asked,
            ..
        } => {
            let (whose, period) = match which {
                Quota::Day => ("this tenant", "day"),
                Quota::Month => ("this tenant", "month"),
                Quota::KeyDay => ("this key", "day"),
                Quota::KeyMonth => ("this key", "month"),
            };
            format!(
                "{whose} may send {most} parts a {period} and has sent {used}; this is {asked} more, \
                 and nothing was stored"
            )
        }
        Unpaid::Spending {
            most, used, asked, ..
        } => {
            let words = |amount: i64| Unit::Eur.words(amount);
            format!(
                "this tenant may spend {} a day and has spent {}; this costs {}, and nothing was stored",
                words(*most),
                words(*used),
                words(*asked)
            )
        }
        Unpaid::TooLarge => "the balance would be larger than can be counted".to_owned(),
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::not_found(),
            StoreError::Conflict => Self::new(
                StatusCode::CONFLICT,
                "idempotency_conflict",
                "The idempotency key was used before",
                "this Idempotency-Key was already used with another body; use a new key",
            ),
            StoreError::TooLate => Self::new(
                StatusCode::CONFLICT,
                "too_late",
                "The message can no longer be changed",
                "the message is leaving, has left or is finished",
            ),
            StoreError::Unpaid(why) => Self::unpaid(&why),
            StoreError::PlanTooLate { items } => {
                let mut problem = Self::new(
                    StatusCode::CONFLICT,
                    "too_late",
                    "The plan can no longer be changed",
                    "the message of this schedule_key is leaving or has left; nothing was stored, and \
                     a new plan needs a new schedule_key",
                );
                problem.late = items.into();
                problem
            }
            StoreError::Full => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_waiting",
                "Too many messages are waiting",
                "nothing was stored; try again when some have left",
            )
            .retry_after(10),
            StoreError::Corrupt { .. } => {
                tracing::error!(%error, "store");
                Self::unavailable()
            }
            // The store has said so once; there is no need to repeat it at each request.
            StoreError::Unavailable(_) => {
                tracing::debug!(%error, "store");
                Self::unavailable()
            }
        }
    }
}

impl From<NotAmended> for Problem {
    fn from(refused: NotAmended) -> Self {
        match refused {
            NotAmended::Refused(errors) => {
                Self::invalid_fields(errors.into_iter().map(InputError::from).collect())
            }
            NotAmended::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (
            status,
            [(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/problem+json"),
            )],
            body,
        )
            .into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.get().into());
        }
        if self.challenge {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"relais\""),
            );
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use axum::body::to_bytes;

    async fn rendered(problem: Problem) -> (StatusCode, axum::http::HeaderMap, serde_json::Value) {
        let response = problem.into_response();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 10_000).await.unwrap();
        (
            parts.status,
            parts.headers,
            serde_json::from_slice(&body).unwrap(),
        )
    }

    #[tokio::test]
    async fn a_problem_is_rfc_9457_and_names_every_field() {
        let (status, headers, json) = rendered(Problem::invalid_fields(vec![
            InputError::at("/to", "number_invalid", "no number"),
            InputError::at("/text", "text_empty", "no text").under("/messages/3"),
        ]))
        .await;
        assert_eq!(status, 422);
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(json["type"], "urn:relais:problem:invalid_input");
        assert_eq!(json["status"], 422);
        assert_eq!(json["errors"][0]["pointer"], "/to");
        assert_eq!(json["errors"][1]["pointer"], "/messages/3/text");
        assert!(json["title"].is_string() && json["detail"].is_string());
    }

    #[tokio::test]
    async fn one_kind_of_refusal_gives_the_problem_its_code() {
        let error = InputError::at("/to", "not_mobile", "a landline");
        let (_, _, json) = rendered(Problem::invalid_fields(vec![error])).await;
        assert_eq!(json["code"], "not_mobile");
        assert_eq!(json["detail"], "a landline");
    }

    #[tokio::test]
    async fn store_errors_say_nothing_of_the_inside() {
        for (error, status, code, retry) in [
            (StoreError::NotFound, 404, "not_found", false),
            (StoreError::Conflict, 409, "idempotency_conflict", false),
            (StoreError::TooLate, 409, "too_late", false),
            (StoreError::Full, 429, "too_many_waiting", true),
            (
                StoreError::Unavailable("/var/lib/relais: no space left".into()),
                503,
                "unavailable",
                true,
            ),
            (
                StoreError::Corrupt {
                    key: "6d01".into(),
                    problem: "cut short".into(),
                },
                503,
                "unavailable",
                true,
            ),
        ] {
            let (got, headers, json) = rendered(error.into()).await;
            assert_eq!((got.as_u16(), &json["code"]), (status, &code.into()));
            assert_eq!(headers.contains_key("retry-after"), retry, "{code}");
            let text = json.to_string();
            assert!(!text.contains("/var") && !text.contains("6d01"), "{text}");
        }
    }
}
