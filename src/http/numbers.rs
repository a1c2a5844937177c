//! `/v1/admin/numbers/{number}`: what is known of a number, and its erasure, for callers with the
//! scope `admin`: of every tenant, because the person asks the installation.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToAdminister};
use super::body::{Named, Reading};
use super::consents::ConsentView;
use super::digests::CountView;
use super::messages::parameters;
use super::optouts::{OptOutView, number};
use super::problem::{InputError, Problem};
use super::{App, json};
use crate::domain::msisdn::Msisdn;
use crate::domain::status::Language;
use crate::engine::numbers::{Erasure, NotErased};
use crate::engine::view::{InboundView, InvalidNumberView, MessageView, Rfc3339};
use crate::store::{Known, StoreError};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(disclose, erase))
}

/// One line of what is known of a number.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = KnownOfNumber)]
enum Line<'a> {
    /// A message to it.
    Message { record: Box<MessageView<'a>> },
    /// A message from it.
    Inbound {
        tenant: &'a str,
        record: InboundView<'a>,
    },
    /// A part of a longer text from it, whose other parts are awaited.
    Part {
        tenant: &'a str,
        record: InboundView<'a>,
    },
    /// It has opted out.
    Optout {
        tenant: &'a str,
        record: OptOutView<'a>,
    },
    /// A receipt names it that no message is known for.
    Receipt {
        account: &'a str,
        carrier_id: &'a str,
    },
    /// A SIM has sent to it: kept for 30 days, for the limits of its contract.
    Spending {
        #[schema(value_type = chrono::DateTime<chrono::Utc>)]
        at: Rfc3339,
        #[schema(value_type = String, format = "uuid")]
        message: uuid::Uuid,
    },
    /// A digest has counted something for it that is still to be told.
    Count {
        tenant: &'a str,
        record: CountView<'a>,
    },
    /// What its owner has agreed to.
    Consent {
        tenant: &'a str,
        record: ConsentView<'a>,
    },
    /// A carrier has said that nobody has it.
    Invalid {
        tenant: &'a str,
        record: InvalidNumberView,
    },
    /// The last line: what ends without it is not whole.
    End { records: usize },
}

/// Everything that is known of a number, one JSON object a line. What was pseudonymised is not known
/// of it any more.
#[utoipa::path(
    get, path = "/v1/admin/numbers/{number}", tag = "admin", operation_id = "disclose_number",
    params(("number" = String, Path, description = "The number, in any usual writing")),
    responses(
        (status = 200, description = "JSON Lines, the last of kind end", body = Line, content_type = "application/jsonl"),
        (status = 422, description = "It is no mobile number", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn disclose(
    State(app): State<Arc<App>>,
    _caller: Allowed<ToAdminister>,
    Named(text): Named,
    Reading(language): Reading,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    // The first page now, so that a store that is not available is an answer and no torn body.
    let first = page(&app, number, None, 0, language).await?;
    let rest = stream::try_unfold(first.1, move |at| {
        let app = app.clone();
        async move {
            let Some((from, records)) = at else {
                return Ok::<_, StoreError>(None);
            };
            page(&app, number, from, records, language).await.map(Some)
        }
    });
    let first = stream::iter([Ok(first.0)]);
    let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], body).into_response())
}

/// Where a stream of lines goes on: after which key, and with how many lines behind it.
type Next = Option<(Option<Vec<u8>>, usize)>;

async fn page(
    app: &App,
    number: Msisdn,
    from: Option<Vec<u8>>,
    mut records: usize,
    language: Language,
) -> Result<(Bytes, Next), StoreError> {
    let page = app.engine.store.known_of(number, from).await?;
    let mut octets = Vec::new();
    for known in &page.known {
        records += 1;
        write(&mut octets, &line(app, known, language));
    }
    if page.next.is_none() {
        write(&mut octets, &Line::End { records });
    }
    let next = page.next.map(|from| (Some(from), records));
    Ok((octets.into(), next))
}

fn write(octets: &mut Vec<u8>, line: &Line<'_>) {
    // Views hold strings, numbers and lists: writing them cannot fail.
    if serde_json::to_writer(&mut *octets, line).is_ok() {
        octets.push(b'\n');
    }
}

fn line<'a>(app: &App, known: &'a Known, language: Language) -> Line<'a> {
    match known {
        Known::Message(message) => Line::Message {
            record: Box::new(app.engine.view(message, language)),
        },
        Known::Inbound(inbound) => Line::Inbound {
            tenant: inbound.tenant.as_str(),
            record: inbound.into(),
        },
        Known::Part(part) => Line::Part {
            tenant: part.tenant.as_str(),
            record: part.into(),
        },
        Known::OptOut(optout) => Line::Optout {
            tenant: optout.tenant.as_str(),
            record: optout.into(),
        },
        Known::Receipt(receipt) => Line::Receipt {
            account: receipt.account.as_str(),
            carrier_id: &receipt.reference,
        },
        Known::Count(count) => Line::Count {
            tenant: count.tenant.as_str(),
            record: count.into(),
        },
        Known::Spending(spending) => Line::Spending {
            at: Rfc3339(spending.at),
            message: spending.message.0,
        },
        Known::Consent(consent) => Line::Consent {
            tenant: consent.tenant.as_str(),
            record: consent.into(),
        },
        Known::Invalid(invalid) => Line::Invalid {
            tenant: invalid.tenant.as_str(),
            record: invalid.into(),
        },
    }
}

/// Erases what is known of a number: texts, and the number itself, for which a pseudonym stands; what it
/// has agreed to, so that marketing to it is refused. That it has opted out stays, because the person
/// wants it so.
#[utoipa::path(
    delete, path = "/v1/admin/numbers/{number}", tag = "admin", operation_id = "erase_number",
    params(
        ("number" = String, Path, description = "The number, in any usual writing"),
        ("cancel" = Option<bool>, Query, description = "true: cancel what waits for it, instead of refusing"),
    ),
    responses(
        (status = 200, description = "Erased; ask again later if something is under_way", body = Erasure),
        (status = 409, description = "Messages to it are waiting or under way; nothing was erased", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is no mobile number", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn erase(
    State(app): State<Arc<App>>,
    _caller: Allowed<ToAdminister>,
    Named(text): Named,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let mut query = parameters(query, &["cancel"])?;
    let cancel = match query.take("cancel").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            let error =
                InputError::of_parameter("cancel", "invalid_parameter", "it must be true or false");
            return Err(Problem::invalid_fields(vec![error]));
        }
    };
    let number = number(&app, &text)?;
    match app.engine.erase(number, cancel).await {
        Ok(erasure) => {
            tracing::info!(
                number = %number.masked(),
                erased = erasure.erased,
                under_way = erasure.under_way,
                "number_erased"
            );
            Ok(json(StatusCode::OK, &erasure))
        }
        Err(NotErased::Live(count)) => Err(Problem::new(
            StatusCode::CONFLICT,
            "messages_under_way",
            "Messages to the number are waiting or under way",
            format!(
                "{count} messages to the number have not come to their end; wait, or say cancel=true"
            ),
        )),
        Err(NotErased::Store(error)) => Err(error.into()),
    }
}
