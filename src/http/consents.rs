//! `/v1/consents`: who has agreed to marketing, to what, when and by which words.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToRead, ToSend};
use super::body::{Incoming, Named, Parameters};
use super::lists::{Asked, Chain, Imported, Lines, SHEET_PAGE, Wrong, octets, sheet};
use super::messages::parameters;
use super::optouts::number;
use super::problem::{InputError, Problem};
use super::{App, json};
use crate::domain::consent::{Consent, MARKETING, SOURCE_MAX, Said, WORDING_MAX, purpose};
use crate::domain::time::Timestamp;
use crate::engine::view::Rfc3339;
use crate::store::StoreError;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(import))
        .routes(routes!(read, grant, withdraw))
}

/// What a number has agreed to for one purpose: its whole history.
#[derive(Serialize, ToSchema)]
#[schema(as = Consent)]
pub(super) struct ConsentView<'a> {
    /// E.164.
    #[schema(example = "+33612345678")]
    number: String,
    /// What for.
    #[schema(example = "marketing")]
    purpose: &'a str,
    /// True if commercial messages for it may be sent.
    in_force: bool,
    /// Since when it is, or is not.
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    since: Rfc3339,
    /// Every grant and withdrawal, oldest first.
    history: Vec<NoteView<'a>>,
}

/// A grant or a withdrawal.
#[derive(Serialize, ToSchema)]
#[schema(as = ConsentNote)]
struct NoteView<'a> {
    /// When it was written down.
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    at: Rfc3339,
    /// When the person did so, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    given_at: Option<Rfc3339>,
    /// `granted` or `withdrawn`.
    event: &'static str,
    /// The key that wrote it down.
    by: &'a str,
    /// What the person has agreed to, or has written.
    #[serde(skip_serializing_if = "Option::is_none")]
    wording: Option<&'a str>,
    /// Where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    /// SHA-256 of what proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof_sha256: Option<String>,
    /// SHA-256 of this line and all before it.
    hash: String,
}

impl<'a> From<&'a Consent> for ConsentView<'a> {
    fn from(consent: &'a Consent) -> Self {
        let note = |note: &'a crate::domain::consent::Note| NoteView {
            at: Rfc3339(note.at),
            given_at: note.said.given_at.map(Rfc3339),
            event: if note.said.granted {
                "granted"
            } else {
                "withdrawn"
            },
            by: &note.said.by,
            wording: note.said.wording.as_deref(),
            source: note.said.source.as_deref(),
            proof_sha256: note.said.proof.map(|proof| hex(&proof)),
            hash: hex(&note.hash),
        };
        let last = consent.notes.last();
        Self {
            number: consent.number.to_string(),
            purpose: &consent.purpose,
            in_force: consent.is_in_force(),
            since: Rfc3339(last.map_or(Timestamp(0), |note| note.at)),
            history: consent.notes.iter().map(note).collect(),
        }
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A consent to write down.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewConsent)]
struct NewConsent {
    /// The words that the person has agreed to.
    wording: String,
    /// Where it comes from, such as `form at the counter`.
    #[serde(default)]
    source: Option<String>,
    /// SHA-256 of what proves it, in hexadecimal.
    #[serde(default)]
    proof_sha256: Option<String>,
    /// When the person agreed, if not now.
    #[serde(default)]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    given_at: Option<String>,
}

/// Why a consent is a wrong one: the member, a stable code, and words.
type WrongMember = (&'static str, &'static str, String);

/// What is said, with every member within its limits.
fn said(
    granted: bool,
    (wording, source): (Option<String>, Option<String>),
    proof: Option<&str>,
    given_at: Option<Timestamp>,
    (by, now): (String, Timestamp),
) -> Result<Said, WrongMember> {
    for (name, text, most) in [
        ("wording", &wording, WORDING_MAX),
        ("source", &source, SOURCE_MAX),
    ] {
        if text.as_ref().is_some_and(|it| it.chars().count() > most) {
            let detail = format!("it has more than {most} characters");
            return Err((name, "too_long", detail));
        }
    }
    let wording = wording.filter(|it| !it.trim().is_empty());
    if granted && wording.is_none() {
        let detail = "give the words that the person has agreed to".to_owned();
        return Err(("wording", "wording_missing", detail));
    }
    let proof = proof.map(|text| octets(text).and_then(|octets| octets.try_into().ok()));
    if proof == Some(None) {
        let detail = "it is the 64 hexadecimal digits of a SHA-256".to_owned();
        return Err(("proof_sha256", "proof_invalid", detail));
    }
    if given_at.is_some_and(|at| at > now) {
        let detail = "nobody has agreed in the future".to_owned();
        return Err(("given_at", "time_in_future", detail));
    }
    Ok(Said {
        granted,
        given_at,
        by,
        wording,
        source: source.filter(|it| !it.trim().is_empty()),
        proof: proof.flatten(),
    })
}

/// Who writes a consent down.
fn named<N>(caller: &Allowed<N>) -> String {
    let key = caller.key.as_ref();
    key.map_or_else(|| "admin".to_owned(), |key| key.name.clone())
}

/// The purpose that a query names, or the usual one.
fn purpose_of(query: &mut Parameters) -> Result<String, Problem> {
    let text = query.take("purpose");
    purpose(text.as_deref().unwrap_or(MARKETING)).map_err(|error| {
        let error = InputError::of_parameter("purpose", "purpose_invalid", error.to_string());
        Problem::invalid_fields(vec![error])
    })
}

fn no_consent() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_consent",
        "There is no such consent",
        "this number has never agreed to this purpose",
    )
}

/// Who has agreed to what, by number; as CSV the whole list, as its last lines have it.
#[utoipa::path(
    get, path = "/v1/consents", tag = "consents", operation_id = "list_consents",
    params(
        ("purpose" = Option<String>, Query, description = "Only for this purpose"),
        ("in_force" = Option<bool>, Query, description = "Only those in force, or those withdrawn"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 where nothing is said"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
        ("format" = Option<String>, Query, description = "`json`, or `csv` for the whole list"),
    ),
    responses(
        (status = 200, description = "A page", content(
            (Chain<ConsentView> = "application/json"),
            (String = "text/csv"),
        )),
        (status = 422, description = "Parameters are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let names = ["purpose", "in_force", "limit", "cursor", "format"];
    let mut query = parameters(query, &names)?;
    let asked = Asked::of(&mut query)?;
    let wanted = match query.take("purpose") {
        Some(text) => Some(purpose(&text).map_err(|error| {
            let error = InputError::of_parameter("purpose", "purpose_invalid", error.to_string());
            Problem::invalid_fields(vec![error])
        })?),
        None => None,
    };
    let in_force = match query.take("in_force").as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => {
            let detail = "it must be true or false";
            let error = InputError::of_parameter("in_force", "invalid_parameter", detail);
            return Err(Problem::invalid_fields(vec![error]));
        }
    };
    let tenant = caller.tenant.clone();
    let read = move |app: Arc<App>, after, limit| {
        let (tenant, wanted) = (tenant.clone(), wanted.clone());
        async move {
            let store = &app.engine.store;
            store
                .consents(&tenant, wanted, in_force, after, limit)
                .await
        }
    };
    if asked.csv {
        let read = move |app, after| read(app, after, SHEET_PAGE);
        return sheet(app, COLUMNS, read, row).await;
    }
    let part = read(app, asked.after, asked.limit).await?;
    Ok(json(StatusCode::OK, &Chain::of(&part, ConsentView::from)))
}

/// The columns of a list, which is imported as it is exported.
const COLUMNS: &[&str] = &[
    "number",
    "purpose",
    "event",
    "given_at",
    "wording",
    "source",
    "proof_sha256",
];

fn row(consent: &Consent) -> Vec<String> {
    let last = consent.notes.last();
    let said = last.map(|note| &note.said);
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let at = last.map(|note| note.said.given_at.unwrap_or(note.at));
    let event = if consent.is_in_force() {
        "granted"
    } else {
        "withdrawn"
    };
    vec![
        consent.number.to_string(),
        consent.purpose.clone(),
        event.to_owned(),
        at.map(Timestamp::rfc3339).unwrap_or_default(),
        text(said.and_then(|said| said.wording.as_ref())),
        text(said.and_then(|said| said.source.as_ref())),
        said.and_then(|said| said.proof)
            .map(|proof| hex(&proof))
            .unwrap_or_default(),
    ]
}

/// What a number has agreed to for a purpose, with its whole history.
#[utoipa::path(
    get, path = "/v1/consents/{number}", tag = "consents", operation_id = "read_consent",
    params(
        ("number" = String, Path, description = "The number, in any usual writing"),
        ("purpose" = Option<String>, Query, description = "`marketing` where nothing is said"),
    ),
    responses(
        (status = 200, description = "Its history", body = ConsentView),
        (status = 404, description = "It has never agreed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is no mobile number", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn read(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    Named(text): Named,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    let purpose = purpose_of(&mut parameters(query, &["purpose"])?)?;
    let store = &app.engine.store;
    match store.consent(&caller.tenant, number, &purpose).await {
        Ok(consent) => Ok(json(StatusCode::OK, &ConsentView::from(&consent))),
        Err(StoreError::NotFound) => Err(no_consent()),
        Err(error) => Err(error.into()),
    }
}

/// Writes down that a number agrees to a purpose. What says nothing new adds no line.
#[utoipa::path(
    put, path = "/v1/consents/{number}", tag = "consents", operation_id = "grant_consent",
    params(
        ("number" = String, Path, description = "The number, in any usual writing"),
        ("purpose" = Option<String>, Query, description = "`marketing` where nothing is said"),
    ),
    request_body = NewConsent,
    responses(
        (status = 200, description = "Its history", body = ConsentView),
        (status = 409, description = "The history is full", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn grant(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(text): Named,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    let purpose = purpose_of(&mut parameters(query, &["purpose"])?)?;
    let new: NewConsent = incoming.read()?;
    let wrong = |(name, code, detail): WrongMember| {
        Problem::invalid_fields(vec![InputError::at(format!("/{name}"), code, detail)])
    };
    let given_at = match new.given_at.as_deref().map(Timestamp::parse_rfc3339) {
        Some(None) => {
            let detail = "it is a time of RFC 3339".to_owned();
            return Err(wrong(("given_at", "time_invalid", detail)));
        }
        given_at => given_at.flatten(),
    };
    let by = (named(&caller), app.engine.clock.now());
    let words = (Some(new.wording), new.source);
    let said = said(true, words, new.proof_sha256.as_deref(), given_at, by).map_err(wrong)?;
    let noted = app
        .engine
        .note_consent(&caller.tenant, (number, purpose), said)
        .await?;
    let consent = noted.ok_or_else(full)?;
    Ok(json(StatusCode::OK, &ConsentView::from(&consent)))
}

fn full() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "consent_history_full",
        "The history of this consent is full",
        "so many grants with other words are no consent of a person; use another purpose",
    )
}

/// Writes down that a number takes its consent back: what waits for it under that consent fails at once.
#[utoipa::path(
    delete, path = "/v1/consents/{number}", tag = "consents", operation_id = "withdraw_consent",
    params(
        ("number" = String, Path, description = "The number, in any usual writing"),
        ("purpose" = Option<String>, Query, description = "`marketing` where nothing is said"),
        ("source" = Option<String>, Query, description = "How the person said so"),
    ),
    responses(
        (status = 200, description = "Its history", body = ConsentView),
        (status = 404, description = "It has never agreed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is no mobile number", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn withdraw(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    Named(text): Named,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let number = number(&app, &text)?;
    let mut query = parameters(query, &["purpose", "source"])?;
    let purpose = purpose_of(&mut query)?;
    let by = (named(&caller), app.engine.clock.now());
    let words = (None, query.take("source"));
    let said = said(false, words, None, None, by).map_err(|(name, code, detail)| {
        Problem::invalid_fields(vec![InputError::of_parameter(name, code, detail)])
    })?;
    let noted = app
        .engine
        .note_consent(&caller.tenant, (number, purpose), said);
    match noted.await {
        Ok(Some(consent)) => Ok(json(StatusCode::OK, &ConsentView::from(&consent))),
        // A withdrawal is always taken.
        Ok(None) => Err(full()),
        Err(StoreError::NotFound) => Err(no_consent()),
        Err(error) => Err(error.into()),
    }
}

/// Writes down what every line of a list says, as CSV with a line of names (`number`, `wording`, and where
/// known `purpose`, `event` granted or withdrawn, `given_at`, `source`, `proof_sha256`) or as JSON Lines
/// with the same members. Lines that cannot be read are named and left out; the others count.
#[utoipa::path(
    post, path = "/v1/consents/import", tag = "consents", operation_id = "import_consents",
    request_body(content((String = "text/csv"), (String = "application/jsonl"))),
    responses(
        (status = 200, description = "What became of the lines", body = Imported),
        (status = 413, description = "It is too large; split it", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "It is neither CSV nor JSON Lines", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Its columns are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn import(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSend>,
    lines: Lines,
) -> Result<Response, Problem> {
    let country = app.engine.rules().default_country.clone();
    let now = app.engine.clock.now();
    let (all, mut imported) = lines.each(COLUMNS, |line| {
        let number = line.number(&country)?;
        let given = line.text("purpose", 64)?;
        let purpose = purpose(given.as_deref().unwrap_or(MARKETING))
            .map_err(|error| -> Wrong { ("purpose_invalid", error.to_string()) })?;
        let granted = match line.text("event", 20)?.as_deref() {
            None | Some("granted") => true,
            Some("withdrawn") => false,
            Some(_) => {
                let detail = "event is granted or withdrawn".to_owned();
                return Err(("event_invalid", detail));
            }
        };
        let words = (
            line.text("wording", WORDING_MAX)?,
            line.text("source", SOURCE_MAX)?,
        );
        let proof = line.text("proof_sha256", 64)?;
        let by = (named(&caller), now);
        let said = said(granted, words, proof.as_deref(), line.time("given_at")?, by);
        let said = said.map_err(|(name, code, detail)| (code, format!("{name}: {detail}")))?;
        Ok((number, purpose, said))
    })?;
    for noted in app.engine.note_consents(&caller.tenant, all).await? {
        match noted {
            Some((_, true)) => imported.imported += 1,
            Some((_, false)) => imported.unchanged += 1,
            None => imported.refused += 1,
        }
    }
    Ok(json(StatusCode::OK, &imported))
}
