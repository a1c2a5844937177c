//! `[portability]`: who is asked whose a number is, before its prefix.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::diff::Given;
use super::operators::prefix;
use super::raw::{Placed, Reader, Section};
use crate::domain::id::OperatorName;
use crate::domain::policy::Policy;
use crate::domain::portability::{LookupService, Portability, PortedNumber, PortedNumbers};

/// Longest line that is read as one, in octets.
const LINE_MAX: u64 = 4096;
/// Most mistakes of one file that are told.
const MOST_TOLD: usize = 20;

/// Reads `[portability]`; `policy` knows the operators.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    mut section: Section<'a>,
    policy: &Policy,
) -> Portability {
    let s = &mut section;
    let csv = reader.take(s, "csv", |v| v.text());
    let url = reader.take(s, "url", |v| checked_url(&v.text()?));
    let answer = reader.take(s, "answer", |v| {
        let text = v.text()?;
        if text.is_empty() || text.starts_with('/') {
            return Ok(text);
        }
        Err(format!(
            "{text:?} is no JSON pointer, like \"/result/mccmnc\""
        ))
    });
    let (ms, day) = (Duration::from_millis(1), Duration::from_hours(24));
    let timeout = reader.take(s, "timeout", |v| v.duration(ms * 10..=ms * 5000));
    let keep = reader.take(s, "keep", |v| v.duration(ms * 1000..=day * 90));
    let prefixes = reader.list(s, "prefixes", |v| prefix(&v));
    let codes = reader.table(s, "codes");
    let codes = reader.named_values(codes, |v| {
        let name = v.text()?;
        let known = policy.operators.iter().find(|it| it.name.as_str() == name);
        known
            .map(|operator| operator.name.clone())
            .ok_or_else(|| format!("there is no operator {name:?}"))
    });
    reader.close(section);

    if let Some(url) = url.as_ref().filter(|url| is_in_the_clear(&url.value)) {
        let problem = "recipients' numbers cross the network in the clear; use https";
        reader.warn(url.line, &url.path, problem);
    }
    let mut portability = Portability {
        codes: codes
            .into_iter()
            .map(|(code, operator)| (code, operator.value))
            .collect(),
        ..Portability::default()
    };
    if let Some(csv) = csv {
        portability.table = table(reader, &csv, policy, &portability.codes).map(Arc::new);
    }
    if let Some(url) = &url {
        // It may hold a key.
        let secret = Given::Secret(SecretString::from(url.value.as_str()));
        reader.gives(&url.path, secret);
    }
    portability.service = url.map(|url| {
        let prefixes = prefixes.map(|list| list.value).unwrap_or_default();
        Arc::new(LookupService {
            url: url.value,
            answer: answer.map(|answer| answer.value).unwrap_or_default(),
            timeout: timeout.map_or(ms * 300, |timeout| timeout.value),
            keep: keep.map_or(day, |keep| keep.value),
            prefixes: prefixes.into_iter().map(|prefix| prefix.value).collect(),
        })
    });
    portability
}

/// A URL with a place for the number.
fn checked_url(text: &str) -> Result<String, String> {
    if !text.contains("{number}") && !text.contains("{+number}") {
        return Err(
            "the number has no place in it; write {number} (digits) or {+number} (with +)"
                .to_owned(),
        );
    }
    let filled = text.replace("{+number}", "0").replace("{number}", "0");
    let parsed = reqwest::Url::parse(&filled).ok();
    // What is wrong is not repeated: it may hold a key.
    parsed
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .map(|_| text.to_owned())
        .ok_or_else(|| "it is no URL that begins with https:// or http://".to_owned())
}

fn is_in_the_clear(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or("");
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let near = host
        .parse::<std::net::IpAddr>()
        .is_ok_and(|it| it.is_loopback());
    url.scheme() == "http" && !near && host != "localhost"
}

/// Reads a table of `number_or_prefix,operator` lines; `None` if something is wrong, and noted.
fn table(
    reader: &mut Reader<'_>,
    place: &Placed<String>,
    policy: &Policy,
    codes: &HashMap<String, OperatorName>,
) -> Option<PortedNumbers> {
    let path = reader.beside(&place.value);
    let operators: Vec<_> = policy.operators.iter().map(|it| it.name.clone()).collect();
    if operators.len() > PortedNumbers::MOST_OPERATORS {
        let problem = format!(
            "with a table there are at most {} operators",
            PortedNumbers::MOST_OPERATORS
        );
        reader.error(place.line, &place.path, problem);
        return None;
    }
    let lines = match lines(&path, &operators, codes) {
        Ok(lines) => lines,
        Err(Unread::File(error)) => {
            let problem = format!("{} cannot be read: {error}", path.display());
            reader.error(place.line, &place.path, problem);
            return None;
        }
        Err(Unread::Lines(wrong)) => {
            tell(reader, place, &path, wrong);
            return None;
        }
    };
    match PortedNumbers::new(operators, lines) {
        Ok(table) => {
            // So that another table in the same file is a change.
            let (file, count, sum) = (&place.value, table.len(), table.checksum());
            let given = Given::Plain(format!("{file:?} ({count} entries, {sum:016x})"));
            reader.gives(&place.path, given);
            Some(table)
        }
        Err(contradictions) => {
            let told = contradictions.into_iter().map(|it| {
                let problem = format!("line {} says something else of this number", it.earlier);
                (it.line, problem)
            });
            tell(reader, place, &path, told.collect());
            None
        }
    }
}

/// Why there is no table.
enum Unread {
    File(std::io::Error),
    /// The lines that are wrong, one more than are told at most.
    Lines(Vec<(u32, String)>),
}

fn lines(
    path: &Path,
    operators: &[OperatorName],
    codes: &HashMap<String, OperatorName>,
) -> Result<Vec<PortedNumber>, Unread> {
    let index = |name: &OperatorName| {
        let at = operators.iter().position(|operator| operator == name)?;
        u16::try_from(at).ok()
    };
    // By name, whatever its case, and by code.
    let names = operators
        .iter()
        .map(|name| (name.as_str().to_ascii_lowercase(), name));
    let codes = codes.iter().map(|(code, name)| (code.clone(), name));
    let known: HashMap<String, u16> = names
        .chain(codes)
        .filter_map(|(text, name)| Some((text, index(name)?)))
        .collect();
    let find = |text: &str| {
        let found = known.get(text).copied();
        found.or_else(|| known.get(&text.to_ascii_lowercase()).copied())
    };

    let file = File::open(path).map_err(Unread::File)?;
    let mut file = BufReader::new(file);
    let mut lines: Vec<PortedNumber> = Vec::new();
    let mut wrong = Vec::new();
    let mut octets = Vec::new();
    let mut begun = false;
    for line in 1.. {
        octets.clear();
        let mut read = file.by_ref().take(LINE_MAX);
        if read.read_until(b'\n', &mut octets).map_err(Unread::File)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&octets);
        let text = text.trim_start_matches('\u{FEFF}').trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (number, operator) = text.split_once([',', ';']).unwrap_or((text, ""));
        let [number, operator] = [number, operator].map(|it| it.trim().trim_matches('"').trim());
        // A heading has no digit where the number should be, and comes first.
        let first = !std::mem::replace(&mut begun, true);
        if first && !number.bytes().any(|octet| octet.is_ascii_digit()) {
            continue;
        }
        match (digits(number), find(operator)) {
            (Some(number), Some(operator)) => lines.push(PortedNumber {
                number,
                operator,
                line,
            }),
            (None, _) => wrong.push((
                line,
                "number_or_prefix,operator is expected, the number in digits with its country code"
                    .to_owned(),
            )),
            (_, None) => {
                let operator: String = operator.chars().take(40).collect();
                let problem =
                    format!("there is no operator {operator:?}, nor a code in [portability.codes]");
                wrong.push((line, problem));
            }
        }
        if wrong.len() > MOST_TOLD {
            break;
        }
    }
    if wrong.is_empty() {
        Ok(lines)
    } else {
        Err(Unread::Lines(wrong))
    }
}

/// `+33612345678`, or without the `+`.
fn digits(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let valid = (1..=15).contains(&digits.len())
        && digits.bytes().all(|octet| octet.is_ascii_digit())
        && !digits.starts_with('0');
    valid.then(|| digits.parse().ok()).flatten()
}

/// Notes what is wrong with the lines of a table, as far as people read on.
fn tell(reader: &mut Reader<'_>, place: &Placed<String>, path: &Path, wrong: Vec<(u32, String)>) {
    let count = wrong.len();
    for (line, problem) in wrong.into_iter().take(MOST_TOLD) {
        let problem = format!("{}:{line}: {problem}", path.display());
        reader.error(place.line, &place.path, problem);
    }
    if count > MOST_TOLD {
        let problem = format!("{}: there is more like this", path.display());
        reader.error(place.line, &place.path, problem);
    }
}
