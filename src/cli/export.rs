//! `relais export`: messages as CSV or JSON Lines, page by page from a running daemon.
//!
//! Its cells are those of the interface's own CSV.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;

use reqwest::Method;
use serde_json::Value;

use super::args::{Export, Format};
use super::client::{Api, block_on, in_path, list, text};
use super::texts::Lang;
use super::{Failure, out};
use crate::config;
use crate::domain::time::Timestamp;
use crate::http::sheet::{COLUMNS, cell};
use crate::store::keys;

/// Records a page.
const PAGE: u32 = 1000;

/// Fields of what handsets sent.
const INBOUND: [&str; 7] = [
    "id",
    "received_at",
    "from",
    "to",
    "channel",
    "keyword",
    "text",
];

/// Writes what is asked for.
pub(super) fn run(export: &Export, lang: Lang) -> Result<(), Failure> {
    block_on(async {
        let api = Api::reach(&export.reach, lang)?;
        let mut progress = out::Progress::new();
        let count = match &export.number {
            Some(_) if export.excel || export.format == Some(Format::Csv) => {
                return Err(Failure::Usage(lang.number_is_jsonl()));
            }
            Some(number) => known(&api, export, number, lang).await?,
            None => pages(&api, export, &mut progress, lang).await?,
        };
        progress.end();
        out::complain(&lang.exported(count));
        Ok(())
    })
}

/// Every page of a list.
async fn pages(
    api: &Api,
    export: &Export,
    progress: &mut out::Progress,
    lang: Lang,
) -> Result<u64, Failure> {
    let (since, until) = (time(export.since.as_ref())?, time(export.until.as_ref())?);
    let first = first_page(export);
    // Asked for before the file is begun: what is refused leaves none.
    let mut page = api.call(Method::GET, &first, None).await?;
    let mut output = Output::begin(export, lang)?;
    let mut count = 0;
    'pages: loop {
        for record in list(&page, "data") {
            // The list of what handsets sent knows no times, and goes back in time.
            let at = Timestamp::parse_rfc3339(text(record, "received_at"));
            if export.inbound && since.is_some_and(|since| ends_before(record, since)) {
                break 'pages;
            }
            if export.inbound && since.is_some_and(|since| at < Some(since)) {
                continue;
            }
            if export.inbound && until.is_some_and(|until| at >= Some(until)) {
                continue;
            }
            output.record(record)?;
            count += 1;
        }
        progress.at(count);
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        let next = format!("{first}&cursor={}", in_path(cursor));
        page = api.call(Method::GET, &next, None).await?;
    }
    output.end()?;
    Ok(count)
}

fn first_page(export: &Export) -> String {
    if export.inbound {
        return format!("/v1/inbound?limit={PAGE}");
    }
    let mut path = format!("/v1/messages?limit={PAGE}");
    for (name, value) in [
        ("since", &export.since),
        ("until", &export.until),
        ("status", &export.status),
        ("to", &export.recipient),
        ("reference", &export.reference),
        ("type", &export.kind),
    ] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", in_path(value)));
        }
    }
    path
}

fn time(text: Option<&String>) -> Result<Option<Timestamp>, Failure> {
    let wrong = |text: &str| Failure::Usage(format!("{text:?} is no time of RFC 3339"));
    let read = |text: &String| Timestamp::parse_rfc3339(text).ok_or_else(|| wrong(text));
    text.map(read).transpose()
}

/// Everything that is known of a number, as it comes; its last line says that it is whole.
async fn known(api: &Api, export: &Export, number: &str, lang: Lang) -> Result<u64, Failure> {
    let path = format!("/v1/admin/numbers/{}", in_path(number));
    let mut stream = api.download(&path).await?;
    let mut target = target(export)?;
    let mut line = Vec::new();
    let mut end = None;
    while let Some(piece) = stream.next().await? {
        for octet in piece {
            line.push(octet);
            if octet == b'\n' {
                let value: Value = serde_json::from_slice(&line).unwrap_or_default();
                if text(&value, "kind") == "end" {
                    end = value["records"].as_u64();
                } else {
                    forgiven(target.write_all(&line))?;
                }
                line.clear();
            }
        }
    }
    forgiven(target.flush())?;
    end.ok_or_else(|| Failure::Failed(lang.not_whole()))
}

/// Where it goes: a file that only its owner reads, or standard output.
fn target(export: &Export) -> io::Result<BufWriter<Box<dyn Write>>> {
    let target: Box<dyn Write> = match &export.to {
        Some(path) => {
            let file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(path);
            let named = |error: io::Error| {
                let problem = format!("{}: {error}", path.display());
                io::Error::new(error.kind(), problem)
            };
            Box::new(file.map_err(named)?)
        }
        None => Box::new(io::stdout()),
    };
    Ok(BufWriter::new(target))
}

/// A reader that has seen enough is no failure of ours.
fn forgiven(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// What is written.
enum Output {
    Csv {
        sheet: Box<csv::Writer<BufWriter<Box<dyn Write>>>>,
        fields: &'static [&'static str],
        zone: chrono_tz::Tz,
    },
    Jsonl(BufWriter<Box<dyn Write>>),
}

impl Output {
    fn begin(export: &Export, lang: Lang) -> Result<Self, Failure> {
        let mut target = target(export)?;
        if export.format == Some(Format::Jsonl) {
            return Ok(Self::Jsonl(target));
        }
        let config = config::load(&export.reach.config);
        let zone = config.map_or(chrono_tz::UTC, |config| config.timezone);
        let fields = if export.inbound {
            &INBOUND[..]
        } else {
            &COLUMNS
        };
        let mut writer = csv::WriterBuilder::new();
        if export.excel {
            forgiven(target.write_all("\u{feff}".as_bytes()))?;
            writer.delimiter(lang.separator());
        }
        let mut sheet = Box::new(writer.from_writer(target));
        let header = fields.iter().map(|field| lang.column(field));
        forgiven(sheet.write_record(header).map_err(io::Error::from))?;
        Ok(Self::Csv {
            sheet,
            fields,
            zone,
        })
    }

    fn record(&mut self, record: &Value) -> io::Result<()> {
        match self {
            Self::Csv {
                sheet,
                fields,
                zone,
            } => {
                let cells = fields
                    .iter()
                    .map(|field| cell(&record[field], field, *zone));
                forgiven(sheet.write_record(cells).map_err(io::Error::from))
            }
            Self::Jsonl(target) => forgiven(writeln!(target, "{record}")),
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Csv { mut sheet, .. } => forgiven(sheet.flush()),
            Self::Jsonl(mut target) => forgiven(target.flush()),
        }
    }
}

/// True if nothing that the list of what handsets sent has behind this record came at `since` or later.
/// The list goes by id, and so by when texts were told: one whose parts were awaited came before that.
fn ends_before(record: &Value, since: Timestamp) -> bool {
    let id = uuid::Uuid::parse_str(text(record, "id"));
    id.is_ok_and(|id| keys::made_at(id.as_bytes()) < since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_told_late_does_not_end_the_list_before_what_came_after_its_parts() {
        let since = Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap_or(Timestamp(0));
        let made = |minutes: u64| {
            let at = since + std::time::Duration::from_secs(60 * minutes);
            crate::domain::id::InboundId::new(at, [0; 10]).to_string()
        };
        // Given up at half past twelve; its last part came at twenty to.
        let late = serde_json::json!({"id": made(30), "received_at": "2026-11-22T11:40:00Z"});
        assert!(!ends_before(&late, since));
        let earlier = since - std::time::Duration::from_secs(1);
        let id = crate::domain::id::InboundId::new(earlier, [0; 10]).to_string();
        assert!(ends_before(&serde_json::json!({ "id": id }), since));
    }
}
