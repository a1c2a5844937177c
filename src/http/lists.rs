//! Lists that people bring along and take away: pages by key, CSV, JSON Lines.
//!
//! A CSV is opened by spreadsheets, which run what looks like a formula; so a cell that begins as one does
//! has an apostrophe before it when it is written, and loses it when it is read. What is imported is read
//! line by line: a line that is wrong is named, and holds up none of the others.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::body::{Parameters, collect, late, plain_only};
use super::draft::ERRORS_MAX;
use super::messages::{PAGE, limit};
use super::problem::{InputError, Problem};
use super::sheet::safe;
use crate::domain::msisdn::{self, Msisdn};
use crate::domain::time::Timestamp;
use crate::store::{Part, StoreError};

/// Records that one piece of an export holds.
pub(super) const SHEET_PAGE: usize = 1000;

/// A page of a list that goes by something else than ids.
#[derive(Serialize, ToSchema)]
pub(super) struct Chain<T> {
    /// What it holds.
    data: Vec<T>,
    /// Where to go on; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl<T> Chain<T> {
    /// A list that is whole.
    pub(super) const fn whole(data: Vec<T>) -> Self {
        Self {
            data,
            next_cursor: None,
        }
    }

    /// Part of a list, as clients read it.
    pub(super) fn of<'a, R>(part: &'a Part<R>, view: impl Fn(&'a R) -> T) -> Self {
        let hex = |octets: &Vec<u8>| octets.iter().map(|octet| format!("{octet:02x}")).collect();
        Self {
            data: part.items.iter().map(view).collect(),
            next_cursor: part.next.as_ref().map(hex),
        }
    }
}

/// What a request wants of a list.
pub(super) struct Asked {
    pub(super) limit: usize,
    pub(super) after: Option<Vec<u8>>,
    /// The whole list as CSV instead.
    pub(super) csv: bool,
}

impl Asked {
    /// Takes `limit`, `cursor` and `format`.
    pub(super) fn of(query: &mut Parameters) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        let mut wrong = |name: &'static str, detail: String| {
            errors.push(InputError::of_parameter(name, "invalid_parameter", detail));
        };
        let limit = limit(query, PAGE, &mut wrong);
        let after = query.take("cursor").map(|text| {
            let octets = octets(&text);
            if octets.is_none() {
                wrong("cursor", "give back next_cursor as it was".into());
            }
            octets.unwrap_or_default()
        });
        let csv = match query.take("format").as_deref() {
            None | Some("json") => false,
            Some("csv") => true,
            Some(_) => {
                wrong("format", "it is json or csv".into());
                false
            }
        };
        if errors.is_empty() {
            Ok(Self { limit, after, csv })
        } else {
            Err(Problem::invalid_fields(errors))
        }
    }
}

/// The octets that hexadecimal digits stand for.
pub(super) fn octets(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let good = digits.len().is_multiple_of(2) && digits.len() <= 512;
    if !good || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

/// A whole list as CSV, written as it is read.
pub(super) async fn sheet<R, F>(
    app: Arc<App>,
    columns: &'static [&'static str],
    read: impl Fn(Arc<App>, Option<Vec<u8>>) -> F + Send + Sync + 'static,
    row: fn(&R) -> Vec<String>,
) -> Result<Response, Problem>
where
    R: Send + 'static,
    F: Future<Output = Result<Part<R>, StoreError>> + Send,
{
    // The first piece now, so that a store that is not available is an answer and no torn body.
    let first = read(app.clone(), None).await?;
    let mut octets = Vec::new();
    write(&mut octets, columns.iter().map(|name| (*name).to_owned()));
    octets.extend(rows(&first.items, row));
    let rest = stream::try_unfold(
        (app, read, first.next),
        move |(app, read, next)| async move {
            let Some(after) = next else {
                return Ok::<_, StoreError>(None);
            };
            let part = read(app.clone(), Some(after)).await?;
            let octets = Bytes::from(rows(&part.items, row));
            Ok(Some((octets, (app, read, part.next))))
        },
    );
    let body = stream::iter([Ok(Bytes::from(octets))]).chain(rest);
    let kind = [(
        header::CONTENT_TYPE,
        "text/csv; charset=utf-8; header=present",
    )];
    Ok((kind, Body::from_stream(body)).into_response())
}

fn rows<R>(items: &[R], row: fn(&R) -> Vec<String>) -> Vec<u8> {
    let mut octets = Vec::new();
    for item in items {
        write(&mut octets, row(item).into_iter());
    }
    octets
}

/// Writes one line (RFC 4180).
fn write(octets: &mut Vec<u8>, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = cells.map(|cell| marked(&cell)).collect();
    let mut line = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    // A vector takes everything.
    if line.write_record(&cells).is_ok()
        && let Ok(line) = line.into_inner()
    {
        octets.extend(line);
    }
}

/// A cell that no spreadsheet takes for a formula, and that is read as it was written.
fn marked(cell: &str) -> String {
    match safe(cell) {
        Cow::Borrowed(cell) if cell.starts_with('\'') => format!("'{cell}"),
        cell => cell.into_owned(),
    }
}

/// What became of an import.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct Imported {
    /// Lines that said something new.
    pub(super) imported: usize,
    /// Lines that said what was known.
    pub(super) unchanged: usize,
    /// Lines that could not be read.
    pub(super) refused: usize,
    /// The first of those, with why.
    pub(super) errors: Vec<WrongLine>,
}

/// A line that could not be read.
#[derive(Serialize, ToSchema)]
pub(super) struct WrongLine {
    /// Its number, from 1, the line of names included.
    line: u64,
    /// Stable code.
    code: &'static str,
    /// What is wrong and what to do.
    detail: String,
}

/// What is wrong with a line: a stable code, and words.
pub(super) type Wrong = (&'static str, String);

/// The body of an import.
pub(super) struct Lines {
    body: Bytes,
    csv: bool,
}

impl FromRequest<Arc<App>> for Lines {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let csv = is_csv(&parts.headers)?;
        plain_only(&parts.headers)?;
        let drain = !parts.headers.contains_key(header::EXPECT);
        let patience = app.settings.live.borrow().body_timeout;
        let limit = app.settings.batch_body_limit;
        let body = tokio::time::timeout(patience, collect(body, limit, drain))
            .await
            .map_err(|_| late(patience))??;
        Ok(Self { body, csv })
    }
}

fn is_csv(headers: &HeaderMap) -> Result<bool, Problem> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "text/csv" => Ok(true),
        "application/jsonl" | "application/x-ndjson" | "application/json-lines" => Ok(false),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body must be CSV or JSON Lines",
            "send the header Content-Type: text/csv or application/jsonl",
        )),
    }
}

/// One line of an import: its cells by the names of their columns.
pub(super) struct Line(HashMap<String, String>);

impl Line {
    /// A cell of at most so many characters; `None` if it is empty.
    pub(super) fn text(&self, column: &'static str, most: usize) -> Result<Option<String>, Wrong> {
        let cell = self.0.get(column).map(|cell| cell.trim());
        let Some(cell) = cell.filter(|cell| !cell.is_empty()) else {
            return Ok(None);
        };
        let cell = cell.strip_prefix('\'').unwrap_or(cell);
        if cell.chars().count() > most {
            let detail = format!("{column} has more than {most} characters");
            return Err(("too_long", detail));
        }
        Ok(Some(cell.to_owned()))
    }

    /// The number of the column `number`.
    pub(super) fn number(&self, country: &str) -> Result<Msisdn, Wrong> {
        let text = self.text("number", 64)?;
        let text = text.ok_or_else(|| ("number_missing", "give a number".to_owned()))?;
        if text.starts_with('~') {
            let detail = "what stands for a number means nothing elsewhere; give the number";
            return Err(("number_hashed", detail.to_owned()));
        }
        // Spreadsheets take a number for one, and drop what begins it.
        msisdn::parse(&text, country).map_err(|error| (error.code(), error.to_string()))
    }

    /// A time, in RFC 3339, or a day.
    pub(super) fn time(&self, column: &'static str) -> Result<Option<Timestamp>, Wrong> {
        let Some(text) = self.text(column, 64)? else {
            return Ok(None);
        };
        let day = || Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"));
        match Timestamp::parse_rfc3339(&text).or_else(day) {
            Some(at) => Ok(Some(at)),
            None => {
                let detail = format!("{column} is a time of RFC 3339, or a day like 2026-11-22");
                Err(("time_invalid", detail))
            }
        }
    }
}

impl Lines {
    /// Reads every line, and says which could not be read.
    ///
    /// # Errors
    /// A CSV without a column `number`, or with a column that is not known.
    pub(super) fn each<T>(
        &self,
        columns: &[&str],
        read: impl Fn(&Line) -> Result<T, Wrong>,
    ) -> Result<(Vec<T>, Imported), Problem> {
        let mut imported = Imported::default();
        let mut all = Vec::new();
        let mut take =
            |number: u64, line: Result<Line, Wrong>| match line.and_then(|line| read(&line)) {
                Ok(item) => all.push(item),
                Err((code, detail)) => {
                    imported.refused += 1;
                    if imported.errors.len() < ERRORS_MAX {
                        imported.errors.push(WrongLine {
                            line: number,
                            code,
                            detail,
                        });
                    }
                }
            };
        if self.csv {
            self.each_of_csv(columns, &mut take)?;
        } else {
            let lines = self.body.split(|octet| *octet == b'\n');
            for (number, line) in (1..).zip(lines) {
                if !line.trim_ascii().is_empty() {
                    take(number, json_line(line, columns));
                }
            }
        }
        Ok((all, imported))
    }

    fn each_of_csv(
        &self,
        columns: &[&str],
        take: &mut impl FnMut(u64, Result<Line, Wrong>),
    ) -> Result<(), Problem> {
        let body = self.body.strip_prefix("\u{feff}".as_bytes());
        let body = body.unwrap_or(&self.body);
        let head = body
            .split(|octet| *octet == b'\n')
            .next()
            .unwrap_or_default();
        // Spreadsheets of countries that write 0,5 put semicolons between cells.
        let delimiter = if head.contains(&b';') { b';' } else { b',' };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(body);
        let mut names: Option<Vec<String>> = None;
        let mut counted = (0, 1);
        for record in reader.byte_records() {
            let (position, cells) = match record {
                Ok(record) => {
                    let cells: Option<Vec<_>> = record
                        .iter()
                        .map(|cell| Some(std::str::from_utf8(cell).ok()?.to_owned()))
                        .collect();
                    (record.position().cloned(), cells)
                }
                Err(error) => (error.position().cloned(), None),
            };
            let number = position.map_or(0, |it| line_at(body, it.byte(), &mut counted));
            let Some(cells) = cells else {
                let detail = "the line is no CSV in UTF-8".to_owned();
                take(number, Err(("line_invalid", detail)));
                continue;
            };
            let Some(names) = &names else {
                names = Some(header_names(&cells, columns)?);
                continue;
            };
            let line = names.iter().cloned().zip(cells).collect();
            take(number, Ok(Line(line)));
        }
        Ok(())
    }
}

/// The line of a place in a text; `counted` is a place before it, and its line. The reader's own count
/// is one behind where lines end in two characters.
fn line_at(body: &[u8], at: u64, counted: &mut (usize, u64)) -> u64 {
    let mut end = usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
    while matches!(body.get(end), Some(b'\r' | b'\n')) {
        end += 1;
    }
    let passed = body.get(counted.0..end).unwrap_or_default();
    let lines = passed.iter().filter(|octet| **octet == b'\n').count();
    *counted = (end, counted.1 + lines as u64);
    counted.1
}

fn header_names(cells: &[String], columns: &[&str]) -> Result<Vec<String>, Problem> {
    let names: Vec<_> = cells
        .iter()
        .map(|cell| cell.trim().to_ascii_lowercase())
        .collect();
    let known = |name: &String| columns.contains(&name.as_str());
    if names.iter().any(|name| name == "number") && names.iter().all(known) {
        return Ok(names);
    }
    let detail = format!(
        "the first line names the columns: number, and where known {}",
        columns
            .iter()
            .skip(1)
            .copied()
            .collect::<Vec<_>>()
            .join(", ")
    );
    let error = InputError::at("", "columns_invalid", detail);
    Err(Problem::invalid_fields(vec![error]))
}

fn json_line(line: &[u8], columns: &[&str]) -> Result<Line, Wrong> {
    let read = serde_json::from_slice::<HashMap<String, Option<String>>>(line);
    let members = read.map_err(|_| {
        let detail = "the line is no JSON object of strings".to_owned();
        ("line_invalid", detail)
    })?;
    // What an answer of ours has besides may stand there.
    let ours = ["text", "inbound"];
    let known = |name: &str| columns.contains(&name) || ours.contains(&name);
    if let Some(name) = members.keys().find(|name| !known(name)) {
        let shown: String = name.chars().take(40).collect();
        let detail = format!(
            "there is no member {shown:?}; there are {}",
            columns.join(", ")
        );
        return Err(("member_unknown", detail));
    }
    let members = members.into_iter();
    let given = members.filter_map(|(name, value)| Some((name, value?)));
    Ok(Line(given.collect()))
}
