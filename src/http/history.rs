//! `GET /v1/messages`: what has been sent, as JSON or as a spreadsheet.
//!
//! Whoever keeps up with all changes asks with `updated_since`, follows the cursor to its end, and begins
//! the next round with the `next_updated_since` of this one. That instant divides all changes: whatever is
//! not on the pages of a round has changed, or will change, at that instant or later, so that no round
//! misses anything. It may be told twice: `updated_at` and `revision` tell what is known.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToRead};
use super::body::{Parameters, Reading};
use super::messages::{PAGE, limit, parameters};
use super::problem::{InputError, Problem};
use super::sheet::{COLUMNS, cell};
use super::{App, json};
use crate::domain::id::MessageId;
use crate::domain::msisdn;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::engine::Engine;
use crate::engine::view::{MessageView, Rfc3339};
use crate::store::Query;

/// `next_cursor` of a spreadsheet, which has no place for it.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("relais-next-cursor");
/// `next_updated_since` of a spreadsheet.
const NEXT_UPDATED_SINCE: HeaderName = HeaderName::from_static("relais-next-updated-since");

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
struct MessageList<'a> {
    /// The messages.
    data: Vec<MessageView<'a>>,
    /// Where to go on; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
    /// Where `updated_since` was given: with what the next round begins, once this one is at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    next_updated_since: Option<Rfc3339>,
}

/// Where a page ended: the last message that was looked at, and the instant that divides the changes of
/// this round from those of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    behind: MessageId,
    divide: Option<Timestamp>,
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (id, divide) = match text.split_once('.') {
            Some((id, millis)) => (id, Some(Timestamp(millis.parse().map_err(|_| ())?))),
            None => (text, None),
        };
        let behind = uuid::Uuid::try_parse(id).map(MessageId).map_err(|_| ())?;
        Ok(Self { behind, divide })
    }
}

impl Cursor {
    fn written(self) -> String {
        match self.divide {
            Some(divide) => format!("{}.{}", self.behind, divide.millis()),
            None => self.behind.to_string(),
        }
    }
}

/// The messages that a query names, newest first.
#[utoipa::path(
    get, path = "/v1/messages", tag = "messages", operation_id = "list_messages",
    params(
        ("status" = Option<String>, Query, description = "pending, sent, delivered, expired, failed or cancelled"),
        ("to" = Option<String>, Query, description = "Recipient, in any usual writing"),
        ("reference" = Option<String>, Query, description = "The caller's reference"),
        ("schedule_key" = Option<String>, Query, description = "The plan: every message that it has had"),
        ("type" = Option<String>, Query, description = "The caller's label of the kind of message"),
        ("since" = Option<String>, Query, description = "Created at or after (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Created before (RFC 3339)"),
        ("updated_since" = Option<String>, Query, description = "Changed at or after (RFC 3339). To miss nothing, begin the next round with this one's next_updated_since"),
        ("order" = Option<String>, Query, description = "desc, newest first, where nothing is said; or asc"),
        ("format" = Option<String>, Query, description = "json or csv; else as the header Accept asks"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 where nothing is said"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
    ),
    responses(
        (status = 200, description = "A page; follow next_cursor until it is null, even over empty pages. As CSV the header Relais-Next-Cursor is it", content(
            (MessageList = "application/json"),
            (String = "text/csv"),
        )),
        (status = 422, description = "Parameters are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    Reading(language): Reading,
    headers: HeaderMap,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let mut given = parameters(
        query,
        &[
            "status",
            "to",
            "reference",
            "schedule_key",
            "type",
            "since",
            "until",
            "updated_since",
            "order",
            "format",
            "limit",
            "cursor",
        ],
    )?;
    let as_csv = given.take("format");
    let mut errors = Vec::new();
    let as_csv = match as_csv.as_deref() {
        Some("csv") => true,
        Some("json") => false,
        Some(_) => {
            let detail = "it must be json or csv";
            errors.push(InputError::of_parameter(
                "format",
                "invalid_parameter",
                detail,
            ));
            false
        }
        None => prefers_csv(&headers),
    };
    let (mut query, cursor) = read(&mut given, engine, caller.tenant.clone(), &mut errors);
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    query.behind = cursor.map(|cursor| cursor.behind);
    // Before the first look: whatever it does not see has changed later.
    let divide = match (query.updated_since, cursor.and_then(|cursor| cursor.divide)) {
        (None, _) => None,
        (Some(_), Some(divide)) => Some(divide),
        (Some(_), None) => Some(engine.store.divide(engine.clock.now()).await?),
    };
    let page = engine.store.find(query).await?;
    let next_cursor = page.next.map(|id| {
        let behind = MessageId(id);
        Cursor { behind, divide }.written()
    });
    let messages = page.items.iter();
    let list = MessageList {
        data: messages
            .map(|message| engine.view(message, language))
            .collect(),
        next_cursor,
        next_updated_since: divide.map(Rfc3339),
    };
    if as_csv {
        return Ok(sheet(&list, engine));
    }
    Ok(json(StatusCode::OK, &list))
}

/// The query that parameters make, and where it goes on.
fn read(
    given: &mut Parameters,
    engine: &Engine,
    tenant: crate::domain::id::Tenant,
    errors: &mut Vec<InputError>,
) -> (Query, Option<Cursor>) {
    let mut wrong = |name: &'static str, detail: String| {
        errors.push(InputError::of_parameter(name, "invalid_parameter", detail));
    };
    let mut query = Query::of(tenant, PAGE.0);
    query.status = given.take("status").and_then(|word| {
        let status = Status::from_word(&word);
        if status.is_none() {
            let words = Status::ALL.map(Status::word).join(", ");
            wrong("status", format!("it must be one of {words}"));
        }
        status
    });
    let country = &engine.rules().default_country;
    query.to = given.take("to").and_then(|text| {
        // In a query string an unescaped plus is a space.
        let text = text
            .strip_prefix(' ')
            .map_or_else(|| text.clone(), |rest| format!("+{rest}"));
        msisdn::parse(&text, country)
            .map_err(|error| wrong("to", error.to_string()))
            .ok()
    });
    let mut times = [None; 3];
    for (time, name) in times.iter_mut().zip(["since", "until", "updated_since"]) {
        if let Some(text) = given.take(name) {
            *time = Timestamp::parse_rfc3339(&text.replace(' ', "+"));
            if time.is_none() {
                wrong(
                    name,
                    "it must be RFC 3339 with an offset, such as 2026-10-05T19:00:00Z".into(),
                );
            }
        }
    }
    [query.since, query.until, query.updated_since] = times;
    query.reference = given.take("reference");
    query.schedule_key = given.take("schedule_key");
    query.kind = given.take("type");
    query.ascending = match given.take("order").as_deref() {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => {
            wrong("order", "it must be asc or desc".into());
            false
        }
    };
    query.limit = limit(given, PAGE, &mut wrong);
    let cursor = given.take("cursor").map(|text| text.parse());
    if cursor == Some(Err(())) {
        wrong("cursor", "give back next_cursor as it was".into());
    }
    (query, cursor.and_then(Result::ok))
}

/// True if the caller names CSV and not JSON as what it takes.
fn prefers_csv(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter();
    let accept = accept.filter_map(|value| value.to_str().ok());
    let mut kinds = accept.flat_map(|value| value.split(',')).map(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    });
    // The first of the two that is named.
    kinds.find(|kind| kind == "text/csv" || kind == "application/json")
        == Some("text/csv".to_owned())
}

/// A page as a spreadsheet: a row of the fields' names, and one a message.
fn sheet(list: &MessageList<'_>, engine: &Engine) -> Response {
    let rules = engine.rules();
    let zone = rules
        .operators
        .first()
        .map_or(chrono_tz::UTC, |it| it.timezone);
    let mut rows = csv::Writer::from_writer(Vec::new());
    let mut written = rows.write_record(COLUMNS);
    for message in &list.data {
        let record = serde_json::to_value(message).unwrap_or_default();
        let cells = COLUMNS.map(|field| cell(&record[field], field, zone));
        written = written.and_then(|()| rows.write_record(cells));
    }
    // Written to memory, from strings: that cannot fail.
    let (Ok(()), Ok(octets)) = (written, rows.into_inner()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (
        [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
            (
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"messages.csv\"",
            ),
        ],
        octets,
    )
        .into_response();
    let since = list.next_updated_since.map(|it| it.0.rfc3339());
    for (name, value) in [
        (NEXT_CURSOR, &list.next_cursor),
        (NEXT_UPDATED_SINCE, &since),
    ] {
        if let Some(Ok(value)) = value.as_deref().map(HeaderValue::from_str) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let behind = MessageId::new(Timestamp(1_790_000_000_000), [7; 10]);
        for divide in [None, Some(Timestamp(5))] {
            let cursor = Cursor { behind, divide };
            assert_eq!(cursor.written().parse(), Ok(cursor));
        }
        for bad in ["", "zzz", "00000000-0000-7000-8000-000000000000.x", "."] {
            assert_eq!(bad.parse::<Cursor>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn csv_is_for_those_who_ask_for_it_first() {
        for (accept, expected) in [
            ("text/csv", true),
            ("text/csv;q=0.9, application/json;q=0.1", true),
            ("application/json, text/csv", false),
            ("*/*", false),
            ("TEXT/CSV", true),
        ] {
            let value = HeaderValue::from_static(accept);
            let headers = HeaderMap::from_iter([(header::ACCEPT, value)]);
            assert_eq!(prefers_csv(&headers), expected, "{accept}");
        }
        assert!(!prefers_csv(&HeaderMap::new()));
    }
}
