//! Requests as the endpoints take them: bodies within limits, languages, idempotency keys.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde_path_to_error::Segment;
use sha2::{Digest, Sha256};

use super::App;
use super::problem::{InputError, Problem};
use crate::domain::id::Tenant;
use crate::domain::status::Language;
use crate::domain::trace::TraceParent;
use crate::store::Idempotency;

/// The header against repetition.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Where the caller's trace context stands.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Most that is read of a body that is too large, in octets, so that its sender can read the answer.
const DRAIN_MAX: u64 = 32 * 1024 * 1024;

/// The JSON body of a request, not decoded; `BATCH` says which limit holds.
pub(super) struct Incoming<const BATCH: bool> {
    /// The octets.
    pub(super) body: Bytes,
    /// The language of labels.
    pub(super) language: Language,
    /// The caller's trace context; one that cannot be read counts as none (W3C Trace Context §3.2).
    pub(super) trace: Option<TraceParent>,
    key: Option<HeaderValue>,
}

impl<const BATCH: bool> FromRequest<Arc<App>> for Incoming<BATCH> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        json_only(&parts.headers)?;
        let key = idempotency_key(&parts.headers)?;
        let limit = if BATCH {
            app.settings.batch_body_limit
        } else {
            app.settings.body_limit
        };
        // Who waits for leave to send reads the answer first; everybody else sends first.
        let drain = !parts.headers.contains_key(header::EXPECT);
        let patience = app.settings.live.borrow().body_timeout;
        let body = tokio::time::timeout(patience, collect(body, limit, drain))
            .await
            .map_err(|_| late(patience))??;
        Ok(Self {
            body,
            language: language(&parts.headers),
            trace: trace(&parts.headers),
            key,
        })
    }
}

impl<const BATCH: bool> Incoming<BATCH> {
    /// Reads a small body whole; the first thing that is wrong is named.
    ///
    /// # Errors
    /// It is not JSON, or a member is missing, unknown or of the wrong type.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Problem> {
        let mut json = serde_json::Deserializer::from_slice(&self.body);
        let value: T = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            // A member may be judged before the JSON breaks; that it breaks is said first.
            if let Err(error) = serde_json::from_slice::<serde_json::Value>(&self.body) {
                return Problem::malformed_json(&error);
            }
            invalid_field(&error)
        })?;
        json.end()
            .map_err(|error| Problem::malformed_json(&error))?;
        Ok(value)
    }

    /// The caller's key against repetition, with the fingerprint of `path` and body.
    pub(super) fn idempotency(&self, tenant: &Tenant, path: &str) -> Option<Idempotency> {
        let key = self.key.as_ref()?;
        Some(Idempotency {
            key: hash(tenant.as_str().as_bytes(), key.as_bytes()),
            body: hash(path.as_bytes(), &self.body),
        })
    }
}

/// What the rest of a body says, where a part of it was taken out before.
///
/// # Errors
/// A member is missing, unknown or of the wrong type.
pub(super) fn rest<T: serde::de::DeserializeOwned>(
    members: serde_json::Map<String, serde_json::Value>,
) -> Result<T, Problem> {
    let value = serde_json::Value::Object(members);
    serde_path_to_error::deserialize(value).map_err(|error| invalid_field(&error))
}

/// A member is not what was expected, or is not there.
pub(super) fn invalid_field<E: std::fmt::Display>(
    error: &serde_path_to_error::Error<E>,
) -> Problem {
    let path = error.path();
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.extend(key.chars().take(64));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    // serde's own words may quote the value, but not behind what was expected.
    let words = error.inner().to_string();
    let missing = words.strip_prefix("missing field `");
    if let Some(name) = missing.and_then(|rest| rest.split('`').next()) {
        let detail = format!("{name} is missing");
        let pointer = format!("{pointer}/{name}");
        return Problem::invalid_fields(vec![InputError::at(pointer, "required", detail)]);
    }
    let detail = match words.rsplit_once("expected ") {
        Some((_, wanted)) => {
            let wanted = wanted.split(" at line ").next().unwrap_or_default();
            format!(
                "it must be {}; see /v1/openapi.json",
                wanted.replace('`', "\"")
            )
        }
        None => "it is not known here, or of the wrong type; see /v1/openapi.json".to_owned(),
    };
    Problem::invalid_fields(vec![InputError::at(pointer, "invalid_field", detail)])
}

/// The first half of SHA-256 over two octet strings; neither name holds a zero octet.
fn hash(first: &[u8], second: &[u8]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    hasher.update(first);
    hasher.update([0]);
    hasher.update(second);
    let whole: [u8; 32] = hasher.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

/// A browser sends forms and plain text across sites without asking; JSON it does not.
fn json_only(headers: &HeaderMap) -> Result<(), Problem> {
    let json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
                || essence.eq_ignore_ascii_case("application/merge-patch+json")
        });
    if !json {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body must be JSON",
            "send the header Content-Type: application/json",
        ));
    }
    plain_only(headers)
}

/// Bodies are read as they are.
pub(super) fn plain_only(headers: &HeaderMap) -> Result<(), Problem> {
    let plain = headers
        .get(header::CONTENT_ENCODING)
        .is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if !plain {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "The body must not be compressed",
            "send the body without Content-Encoding",
        ));
    }
    Ok(())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = values.next() else {
        return Ok(None);
    };
    let octets = key.as_bytes();
    let good =
        (1..=255).contains(&octets.len()) && octets.iter().all(|o| (0x21..=0x7e).contains(o));
    if good && values.next().is_none() {
        return Ok(Some(key.clone()));
    }
    Err(Problem::new(
        StatusCode::BAD_REQUEST,
        "idempotency_key_invalid",
        "The Idempotency-Key cannot be used",
        "send one Idempotency-Key of 1 to 255 visible ASCII characters",
    ))
}

fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let trace = values.next()?.to_str().ok()?.parse().ok();
    trace.filter(|_| values.next().is_none())
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        "The body is too large",
        format!("the body is larger than {limit} octets; split it"),
    )
}

pub(super) fn late(patience: Duration) -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "body_timeout",
        "The body did not come in time",
        format!("send the body within {} seconds", patience.as_secs()),
    )
}

/// The whole body, if it is not larger than `limit`. One frame is not copied.
pub(super) async fn collect(mut body: Body, limit: usize, drain: bool) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limit as u64 {
        if drain {
            discard(&mut body).await;
        }
        return Err(too_large(limit));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "body_broken",
                "The body broke off",
                "the body did not come in whole",
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len().max(rest.len()) + data.len() > limit {
            if drain {
                discard(&mut body).await;
            }
            return Err(too_large(limit));
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

/// Reads on without keeping anything.
async fn discard(body: &mut Body) {
    let mut read = 0;
    while read < DRAIN_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

/// The one variable part of a path; what cannot be read names nothing.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name))
            .map_err(|_| Problem::not_found())
    }
}

/// The language of labels, for requests without a body.
pub(super) struct Reading(pub(super) Language);

impl<S: Sync> FromRequestParts<S> for Reading {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(language(&parts.headers)))
    }
}

/// The language that `Accept-Language` prefers of ours (RFC 9110 §12.5.4); French when it is silent.
fn language(headers: &HeaderMap) -> Language {
    let Some(value) = headers
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok())
    else {
        return Language::Fr;
    };
    let mut best = (0.0, Language::Fr);
    for range in value.split(',') {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim();
        let primary = tag.split('-').next().unwrap_or_default();
        let language = if primary.eq_ignore_ascii_case("en") {
            Language::En
        } else if primary.eq_ignore_ascii_case("fr") || tag == "*" {
            Language::Fr
        } else {
            continue;
        };
        let quality = parts
            .find_map(|part| part.trim().strip_prefix("q="))
            .map_or(1.0, |q| q.trim().parse::<f32>().unwrap_or(0.0));
        // Of equal ones the first wins.
        if quality > best.0 {
            best = (quality, language);
        }
    }
    best.1
}

/// The parameters of a query string, each known and given once.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query string of which every name is one of `known`.
    ///
    /// # Errors
    /// A name that is not known or is there twice.
    pub(super) fn of(
        query: Vec<(String, String)>,
        known: &[&'static str],
    ) -> Result<Self, Vec<InputError>> {
        let mut errors = Vec::new();
        for (index, (name, _)) in query.iter().enumerate() {
            let Some(name) = known.iter().find(|known| *known == name) else {
                let shown: String = name.chars().take(64).collect();
                let detail = format!("there is no such parameter; there are {}", known.join(", "));
                errors.push(InputError::of_parameter(shown, "unknown_parameter", detail));
                continue;
            };
            if query[..index].iter().any(|(before, _)| before == name) {
                let detail = format!("{name} is there twice");
                errors.push(InputError::of_parameter(
                    *name,
                    "duplicate_parameter",
                    detail,
                ));
            }
        }
        errors.truncate(super::draft::ERRORS_MAX);
        if errors.is_empty() {
            Ok(Self(query))
        } else {
            Err(errors)
        }
    }

    /// Takes a parameter; one that is there and empty counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.swap_remove(index).1).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn labels_are_french_unless_english_is_preferred() {
        for (value, expected) in [
            ("en", Language::En),
            ("en-GB,fr;q=0.8", Language::En),
            ("fr;q=0.5, EN;q=0.7", Language::En),
            ("de, en;q=0.3", Language::En),
            ("fr,en", Language::Fr),
            ("en;q=0", Language::Fr),
            ("en;q=x", Language::Fr),
            ("*", Language::Fr),
            ("de", Language::Fr),
            (";;,,", Language::Fr),
        ] {
            assert_eq!(
                language(&with(header::ACCEPT_LANGUAGE, value)),
                expected,
                "{value}"
            );
        }
        assert_eq!(language(&HeaderMap::new()), Language::Fr);
    }

    #[test]
    fn only_plain_json_is_taken() {
        for good in ["application/json", "Application/JSON; charset=utf-8"] {
            assert!(json_only(&with(header::CONTENT_TYPE, good)).is_ok());
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
        ] {
            assert!(json_only(&with(header::CONTENT_TYPE, bad)).is_err());
        }
        assert!(json_only(&HeaderMap::new()).is_err());
        let mut zipped = with(header::CONTENT_TYPE, "application/json");
        zipped.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(json_only(&zipped).is_err());
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii_and_hashed_with_its_tenant() {
        assert!(idempotency_key(&HeaderMap::new()).unwrap().is_none());
        for good in ["a", &"k".repeat(255), "!~"] {
            assert!(
                idempotency_key(&with(IDEMPOTENCY_KEY, good))
                    .unwrap()
                    .is_some()
            );
        }
        for bad in ["", "a b", &"k".repeat(256)] {
            assert!(idempotency_key(&with(IDEMPOTENCY_KEY, bad)).is_err());
        }
        assert_ne!(hash(b"a", b"bc"), hash(b"ab", b"c"));
    }

    #[tokio::test]
    async fn a_body_of_the_limit_is_taken_and_one_more_octet_is_not() {
        let chunks = |sizes: &[usize]| {
            let frames: Vec<_> = sizes
                .iter()
                .map(|size| Ok::<_, Infallible>(Bytes::from(vec![b'x'; *size])))
                .collect();
            Body::from_stream(tokio_stream::iter(frames))
        };
        for (sizes, taken) in [
            (&[10][..], true),
            (&[4, 3, 3][..], true),
            (&[0, 10][..], true),
            (&[11][..], false),
            (&[4, 3, 4][..], false),
            (&[][..], true),
        ] {
            let got = collect(chunks(sizes), 10, true).await;
            assert_eq!(got.is_ok(), taken, "{sizes:?}");
            if let Ok(body) = got {
                assert_eq!(body.len(), sizes.iter().sum::<usize>());
            }
        }
        assert!(collect(Body::from(vec![0; 11]), 10, true).await.is_err());
    }

    #[test]
    fn parameters_are_known_and_given_once() {
        let query = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let mut good = Parameters::of(query(&[("to", "1"), ("type", "")]), &["to", "type"])
            .unwrap_or_else(|_| panic!());
        assert_eq!(good.take("to").as_deref(), Some("1"));
        assert_eq!(good.take("type"), None);
        let bad = Parameters::of(query(&[("to", "1"), ("x", ""), ("to", "2")]), &["to"]);
        let codes: Vec<_> = bad.err().unwrap().iter().map(|error| error.code).collect();
        assert_eq!(codes, ["unknown_parameter", "duplicate_parameter"]);
    }
}
