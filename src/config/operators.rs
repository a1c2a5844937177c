//! `[operators.NAME]`: where messages go, when, how fast, how long and how often they are tried.

use std::collections::HashMap;
use std::time::Duration;

use chrono_tz::Tz;

use super::hours::window;
use super::raw::{Line, Placed, Reader, Section, Value};
use super::{country, duration};
use crate::domain::chain;
use crate::domain::hours::SendingHours;
use crate::domain::id::{Account, OperatorName};
use crate::domain::policy::{OnDoubt, Operator};
use crate::domain::rate::Rate;
use crate::domain::retry::RetrySchedule;
use crate::domain::windows::NamedHoursBook;

/// Most steps of a route, most waits of a schedule.
const MOST_STEPS: usize = 16;
const MOST_RETRIES: usize = 64;

/// Name of the operator that rules the numbers no prefix names.
const DEFAULT: &str = "default";

/// The operator of each prefix, and the line that says so.
type Taken = HashMap<String, (OperatorName, Line)>;

/// Reads every operator: the default one, and the others in the order of the file.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    root: &mut Section<'a>,
    accounts: &[Account],
    timezone: Tz,
    hours: &NamedHoursBook,
) -> Option<(Operator, Vec<Operator>)> {
    let mut sections = reader.joined_tables(root, "operators");
    for (name, section) in &sections {
        if chain::is_relay_operator(&name.as_str().into()) {
            let problem =
                format!("{name} is the name of a channel that is none of SMS; choose another");
            reader.error(section.line, &section.path, problem);
        }
    }
    let default_at = sections.iter().position(|(name, _)| name == DEFAULT);
    let default = default_at.map(|at| sections.remove(at).1);
    let mut prefixes = HashMap::new();
    let mut one = |reader: &mut Reader<'a>, operator, section| {
        one(reader, operator, section, (accounts, hours), &mut prefixes)
    };
    let plain = |name: &str| Operator {
        timezone,
        ..Operator::named(name, Vec::new())
    };

    let default = match default {
        // A route that is wrong has been noted; the default one must not be asked for on top.
        Some(section) if section.has("route") => Some(one(reader, plain(DEFAULT), section)),
        Some(section) => {
            let line = section.line;
            let default = one(reader, plain(DEFAULT), section);
            with_only_account(reader, default, line, accounts)
        }
        None => with_only_account(reader, plain(DEFAULT), Line::default(), accounts),
    };
    let mut others: Vec<_> = sections
        .into_iter()
        .map(|(name, section)| {
            // What is said of the default one holds for all; a rate is of one operator's own parts.
            let like_default = default.as_ref().map(|default| Operator {
                name: name.as_str().into(),
                rate: Rate::NONE,
                timezone,
                territory: None,
                ..default.clone()
            });
            let operator = like_default.unwrap_or_else(|| plain(&name));
            one(reader, operator, section)
        })
        .collect();
    for operator in &mut others {
        let name = operator.name.clone();
        let mine = |prefix: &String| prefixes.get(prefix).is_none_or(|(of, _)| *of == name);
        operator.prefixes.retain(mine);
    }
    default.map(|default| (default, others))
}

/// The default operator, routed to the only account there is; an error if there are several. `line`
/// is that of its table, 0 if it has none.
fn with_only_account(
    reader: &mut Reader<'_>,
    mut default: Operator,
    line: Line,
    accounts: &[Account],
) -> Option<Operator> {
    let names: Vec<_> = accounts.iter().map(Account::as_str).collect();
    match accounts {
        [] => None,
        [only] => {
            default.route = vec![vec![only.clone()]];
            Some(default)
        }
        [first, ..] => {
            let table = if line == Line::default() {
                "the table [operators.default] with "
            } else {
                ""
            };
            reader.error(
                line,
                "operators.default",
                format!(
                    "add {table}route = [\"{first}\"], for the numbers that no prefix names \
                     (accounts: {})",
                    names.join(", ")
                ),
            );
            None
        }
    }
}

fn one<'a>(
    reader: &mut Reader<'a>,
    mut operator: Operator,
    mut section: Section<'a>,
    (accounts, named): (&[Account], &NamedHoursBook),
    taken: &mut Taken,
) -> Operator {
    let s = &mut section;

    if let Some(prefixes) = reader.list(s, "prefixes", |v| prefix(&v)) {
        if operator.name.as_str() == DEFAULT && !prefixes.value.is_empty() {
            reader.error(
                prefixes.line,
                &prefixes.path,
                "the default operator rules the numbers that no prefix names; remove this key",
            );
        }
        for prefix in prefixes.value {
            let other = taken.get(&prefix.value);
            match other.map(|(of, line)| (of, line.is_included())) {
                // What this installation says of a prefix wins over what it includes.
                Some((_, false)) if prefix.line.is_included() => continue,
                Some((of, included)) if included == prefix.line.is_included() => {
                    let problem = format!("+{} is already a prefix of {of}", prefix.value);
                    reader.error(prefix.line, &prefix.path, problem);
                    continue;
                }
                _ => {}
            }
            let by = (operator.name.clone(), prefix.line);
            taken.insert(prefix.value.clone(), by);
            operator.prefixes.push(prefix.value);
        }
    }
    if let Some(route) = reader.list(s, "route", |v| step(&v, accounts)) {
        check_route(reader, &route);
        operator.route = route.value.into_iter().map(|step| step.value).collect();
    }
    let failover = Duration::ZERO..=Duration::from_hours(24);
    if let Some(after) = reader.take(s, "failover_after", |v| v.duration(failover)) {
        operator.failover_after = after.value;
    }
    let validity = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
    if let Some(validity) = reader.take(s, "validity", |v| v.duration(validity)) {
        operator.validity = validity.value;
    }
    let wait = Duration::from_millis(100)..=Duration::from_hours(7 * 24);
    if let Some(retry) = reader.list(s, "retry", |v| v.duration(wait.clone())) {
        check_retry(reader, &retry);
        operator.retry = RetrySchedule(retry.value.into_iter().map(|wait| wait.value).collect());
    }
    let words = [("resend", OnDoubt::Resend), ("fail", OnDoubt::Fail)];
    if let Some(on_doubt) = reader.take(s, "on_doubt", |v| v.word(&words)) {
        operator.on_doubt = on_doubt.value;
    }
    if let Some(rate) = reader.take(s, "rate", |v| v.rate()) {
        operator.rate = rate.value;
    }
    if s.is_text("hours") {
        if let Some(name) = reader.take(s, "hours", |v| hours_name(&v.text()?, named)) {
            operator.hours = SendingHours::default();
            operator.named_hours = Some(name.value);
        }
    } else if let Some(hours) = reader.list(s, "hours", |v| window(&v)) {
        let windows: Vec<_> = hours.value.into_iter().map(|hours| hours.value).collect();
        operator.hours = windows.into();
        operator.named_hours = None;
    }
    if let Some(timezone) = reader.take(s, "timezone", |v| v.timezone()) {
        operator.timezone = timezone.value;
    }
    if let Some(territory) = reader.take(s, "territory", |v| country(&v.text()?)) {
        operator.territory = Some(territory.value);
    }
    reader.close(section);
    operator
}

fn check_route(reader: &mut Reader<'_>, route: &Placed<Vec<Placed<Vec<Account>>>>) {
    match route.value.len() {
        0 => reader.error(
            route.line,
            &route.path,
            "the route is empty; name at least one account",
        ),
        many if many > MOST_STEPS => reader.error(
            route.line,
            &route.path,
            format!("{many} steps; at most {MOST_STEPS} are allowed"),
        ),
        _ => {}
    }
    // A later step only serves while the ones before it cannot.
    let mut before: Vec<&Account> = Vec::new();
    for step in &route.value {
        if let Some(account) = step.value.iter().find(|account| before.contains(account)) {
            reader.error(
                step.line,
                &step.path,
                format!("{account} is in a step before this one already"),
            );
        }
        before.extend(&step.value);
    }
}

fn check_retry(reader: &mut Reader<'_>, retry: &Placed<Vec<Placed<Duration>>>) {
    if retry.value.len() > MOST_RETRIES {
        reader.error(
            retry.line,
            &retry.path,
            format!("more than {MOST_RETRIES} waits"),
        );
    }
    for pair in retry.value.windows(2) {
        if let [before, wait] = pair
            && wait.value < before.value
        {
            reader.error(
                wait.line,
                &wait.path,
                format!(
                    "{} is shorter than the one before ({})",
                    duration::write(wait.value),
                    duration::write(before.value)
                ),
            );
        }
    }
}

/// The name of hours that there are.
fn hours_name(name: &str, named: &NamedHoursBook) -> Result<String, String> {
    if named.get(name).is_some() {
        return Ok(name.to_owned());
    }
    let known: Vec<_> = named.names().collect();
    Err(format!(
        "there are no hours {name:?}; add a table [hours.{name}], or use one of {}",
        known.join(", ")
    ))
}

/// `+33607`: digits of an international number's beginning.
pub(super) fn prefix(value: &Value<'_, '_>) -> Result<String, String> {
    let text = value.text()?;
    let digits = text.strip_prefix('+').unwrap_or("");
    let valid = (1..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0');
    if valid {
        Ok(digits.to_owned())
    } else {
        Err(format!(
            "{text:?} is no prefix; write + and the country code, like \"+33607\""
        ))
    }
}

/// `orange`, or `orange|sfr` for a step that several accounts share.
fn step(value: &Value<'_, '_>, accounts: &[Account]) -> Result<Vec<Account>, String> {
    let text = value.text()?;
    let mut step: Vec<Account> = Vec::new();
    for name in text.split('|').map(str::trim) {
        let account: Account = name.into();
        if !accounts.contains(&account) {
            let known: Vec<_> = accounts.iter().map(Account::as_str).collect();
            return Err(format!(
                "there is no account {name:?}; accounts: {}",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            ));
        }
        if step.contains(&account) {
            return Err(format!("{name} is named twice"));
        }
        step.push(account);
    }
    Ok(step)
}
