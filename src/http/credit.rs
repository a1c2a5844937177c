//! `/v1/credit`: what a tenant has left, what it has used, and the lines of its ledger; and for callers with
//! the scope `admin` what they add to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToAdminister, ToRead, ToSendOrRead};
use super::body::{Incoming, Named};
use super::messages::{PAGE, REPLAYED, cursor, limit, parameters};
use super::problem::{InputError, Problem};
use super::{App, List, json};
use crate::domain::credit::{Day, Line, Used};
use crate::domain::id::Tenant;
use crate::domain::money;
use crate::domain::tenant::{Credit, Quotas, Unit};
use crate::engine::view::Rfc3339;
use crate::store::{ApiKey, DocumentKind, Posting};

/// Most that is entered at once, in millionths of a euro and in parts.
const AMOUNT_MAX: i64 = 1_000_000 * money::ONE;
const PARTS_MAX: i64 = 1_000_000_000;
/// Longest note, in characters.
const NOTE_MAX: usize = 200;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(read))
        .routes(routes!(ledger))
        .routes(routes!(read_for, add))
        .routes(routes!(ledger_for))
}

/// What a tenant has left and has used.
#[derive(Serialize, ToSchema)]
#[schema(as = CreditStatus)]
struct CreditView<'a> {
    tenant: &'a str,
    /// In what the credit is counted; null: the tenant has none, and messages are not paid.
    #[schema(required)]
    unit: Option<Unit>,
    /// What is left in euros, exact; null where it is counted in parts.
    #[schema(required, example = "4.79")]
    amount: Option<String>,
    /// Of the amount.
    #[schema(required, example = "EUR")]
    currency: Option<&'static str>,
    /// What is left in parts; null where it is counted in euros.
    #[schema(required)]
    parts: Option<i64>,
    /// Price of a part.
    #[schema(required, example = "0.2177")]
    price: Option<String>,
    /// Other prices, by operator.
    prices: BTreeMap<&'a str, &'a str>,
    /// Messages of one part that it pays for at the price; null where there is none.
    #[schema(required, example = 22)]
    sms_left: Option<i64>,
    /// Balances at which somebody is told.
    thresholds: &'a [String],
    /// What the tenant has used, where a credit or a quota counts it.
    used: Periods,
    /// What the tenant may use; 0 is any number.
    quotas: Quotas,
    /// Euros that it may spend in a day; null: any amount.
    #[schema(required)]
    daily_spend: Option<&'a str>,
    /// The same of the key that asks, where it has quotas of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyView>,
}

/// What a key has used.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyUse)]
struct KeyView {
    used: Periods,
    quotas: Quotas,
}

/// What was used today and this month, by the clock of the installation.
#[derive(Serialize, ToSchema)]
#[schema(as = CreditPeriods)]
struct Periods {
    today: Period,
    month: Period,
}

/// What was used.
#[derive(Serialize, ToSchema)]
#[schema(as = CreditPeriod)]
struct Period {
    /// Parts.
    parts: u64,
    /// Euros.
    amount: String,
}

impl Periods {
    fn of(used: &Used, day: Day) -> Self {
        let used = used.on(day.number);
        let period = |parts, micros| Period {
            parts,
            amount: money::format(micros),
        };
        Self {
            today: period(used.day_parts, used.day_micros),
            month: period(used.month_parts, used.month_micros),
        }
    }
}

/// Messages of one part that a balance pays for.
fn sms_left(credit: &Credit, balance: i64) -> Option<i64> {
    match credit.unit {
        Unit::Parts => Some(balance),
        Unit::Eur => {
            let price = credit.price.as_deref().and_then(money::parse)?;
            balance.checked_div(price)
        }
    }
}

async fn status(app: &App, tenant: &Tenant, key: Option<&ApiKey>) -> Result<Response, Problem> {
    let engine = &app.engine;
    let settings = engine.settings(tenant);
    let means = engine.means(tenant, key, engine.clock.now());
    let purse = engine.store.purse(tenant);
    let credit = settings.credit.as_ref();
    let balance = |unit| {
        let counted = credit.filter(|credit| credit.unit == unit);
        counted.map(|_| purse.balance.of(unit))
    };
    let key = match &means.key {
        Some((prefix, quotas)) => {
            let used = engine.store.used_by_key(tenant, prefix).await?;
            Some(KeyView {
                used: Periods::of(&used, means.day),
                quotas: *quotas,
            })
        }
        None => None,
    };
    let prices = credit.into_iter().flat_map(|credit| &credit.prices);
    let view = CreditView {
        tenant: tenant.as_str(),
        unit: means.unit,
        amount: balance(Unit::Eur).map(money::format),
        currency: balance(Unit::Eur).map(|_| "EUR"),
        parts: balance(Unit::Parts),
        price: credit.and_then(|credit| credit.price.clone()),
        prices: prices
            .map(|(name, price)| (name.as_str(), price.as_str()))
            .collect(),
        sms_left: credit.and_then(|credit| sms_left(credit, purse.balance.of(credit.unit))),
        thresholds: credit.map_or(&[], |credit| &credit.thresholds),
        used: Periods::of(&purse.used, means.day),
        quotas: settings.quotas,
        daily_spend: settings.guard.daily_spend.as_deref(),
        key,
    };
    Ok(json(StatusCode::OK, &view))
}

/// What is left, and what was used.
#[utoipa::path(
    get, path = "/v1/credit", tag = "credit", operation_id = "get_credit",
    responses((status = 200, description = "What is left", body = CreditView)),
    security(("key" = []))
)]
async fn read(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSendOrRead>,
) -> Result<Response, Problem> {
    status(&app, &caller.tenant, caller.key.as_deref()).await
}

/// What a tenant has left, and what it has used.
#[utoipa::path(
    get, path = "/v1/admin/tenants/{name}/credit", tag = "admin", operation_id = "get_credit_of_tenant",
    params(("name" = String, Path, description = "The tenant")),
    responses(
        (status = 200, description = "What is left", body = CreditView),
        (status = 404, description = "No such tenant", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn read_for(
    State(app): State<Arc<App>>,
    _caller: Allowed<ToAdminister>,
    Named(name): Named,
) -> Result<Response, Problem> {
    status(&app, &tenant(&app, &name)?, None).await
}

/// The tenant of this name, of which something is known: credit for a name with a slip in it would be lost.
fn tenant(app: &App, name: &str) -> Result<Tenant, Problem> {
    let tenant = Tenant::named(name).ok_or_else(Problem::not_found)?;
    let store = &app.engine.store;
    let known = name == Tenant::DEFAULT
        || store
            .document(DocumentKind::Settings, &tenant, "")
            .is_some()
        || store.keys().iter().any(|key| key.tenant == tenant)
        || store.purse(&tenant).next > 0;
    known.then_some(tenant).ok_or_else(Problem::not_found)
}

/// A line of a ledger.
#[derive(Serialize, ToSchema)]
#[schema(as = LedgerLine)]
struct LineView<'a> {
    /// Its number, from 0, without gaps.
    number: u64,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    at: Rfc3339,
    /// `taken`, `given_back`, `top_up` or `correction`.
    what: &'static str,
    unit: Unit,
    /// What was added, in euros or parts, exact; negative: what was taken.
    #[schema(example = "-0.2177")]
    amount: String,
    /// What was left then.
    balance: String,
    /// Parts that it is for.
    parts: u64,
    /// Messages that it is for.
    messages: u32,
    /// The message, or the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    message: Option<uuid::Uuid>,
    /// The batch that they came in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    batch: Option<uuid::Uuid>,
    /// The words of whoever entered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    /// The name of the key that entered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
}

impl<'a> From<&'a Line> for LineView<'a> {
    fn from(line: &'a Line) -> Self {
        Self {
            number: line.number,
            at: Rfc3339(line.at),
            what: line.what.word(),
            unit: line.unit,
            amount: line.unit.format(line.amount),
            balance: line.unit.format(line.balance),
            parts: line.parts,
            messages: line.messages,
            message: line.message.map(|id| id.0),
            batch: line.batch.map(|id| id.0),
            note: line.note.as_deref(),
            by: line.by.as_deref(),
        }
    }
}

type QueryPairs = Result<QueryString<Vec<(String, String)>>, QueryRejection>;

async fn lines(app: &App, tenant: &Tenant, query: QueryPairs) -> Result<Response, Problem> {
    let mut query = parameters(query, &["limit", "cursor"])?;
    let mut errors = Vec::new();
    let mut wrong = |name: &'static str, detail: String| {
        errors.push(InputError::of_parameter(name, "invalid_parameter", detail));
    };
    let limit = limit(&mut query, PAGE, &mut wrong);
    let before = cursor(&mut query, &mut wrong).map(|cursor| u64::try_from(cursor.as_u128()));
    if matches!(before, Some(Err(_))) {
        wrong("cursor", "give back next_cursor as it was".into());
    }
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    let before = before.and_then(Result::ok);
    let page = app.engine.store.ledger(tenant, before, limit).await?;
    let list = List {
        data: page.lines.iter().map(LineView::from).collect(),
        next_cursor: page.next.map(|number| uuid::Uuid::from_u128(number.into())),
    };
    Ok(json(StatusCode::OK, &list))
}

/// The lines of the ledger, newest first.
#[utoipa::path(
    get, path = "/v1/credit/ledger", tag = "credit", operation_id = "list_ledger",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 where nothing is said"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = List<LineView>),
        (status = 422, description = "Parameters are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn ledger(
    State(app): State<Arc<App>>,
    caller: Allowed<ToRead>,
    query: QueryPairs,
) -> Result<Response, Problem> {
    lines(&app, &caller.tenant, query).await
}

/// The lines of a tenant's ledger, newest first.
#[utoipa::path(
    get, path = "/v1/admin/tenants/{name}/credit/ledger", tag = "admin", operation_id = "list_ledger_of_tenant",
    params(
        ("name" = String, Path, description = "The tenant"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; 100 where nothing is said"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = List<LineView>),
        (status = 404, description = "No such tenant", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn ledger_for(
    State(app): State<Arc<App>>,
    _caller: Allowed<ToAdminister>,
    Named(name): Named,
    query: QueryPairs,
) -> Result<Response, Problem> {
    lines(&app, &tenant(&app, &name)?, query).await
}

/// What is added to a credit, or taken away: one of `amount` and `parts`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCredit {
    /// Euros, as text; negative: taken away.
    #[serde(default)]
    #[schema(example = "20.00")]
    amount: Option<String>,
    /// Parts; negative: taken away.
    #[serde(default)]
    parts: Option<i64>,
    /// What it is for, for example the number of an invoice.
    #[serde(default)]
    note: Option<String>,
}

impl NewCredit {
    /// What is asked for, in the unit in which it is.
    fn read(&self, credit: Option<&Credit>) -> Result<(Unit, i64), Vec<InputError>> {
        let mut errors = Vec::new();
        let asked = match (&self.amount, self.parts) {
            (Some(text), None) => match money::parse(text) {
                Some(micros) => Some((Unit::Eur, micros, AMOUNT_MAX, "/amount")),
                None => {
                    let detail = "write euros as text with a point, such as \"20.00\" or \"-1.5\"";
                    errors.push(InputError::at("/amount", "amount_invalid", detail));
                    None
                }
            },
            (None, Some(parts)) => Some((Unit::Parts, parts, PARTS_MAX, "/parts")),
            _ => {
                let detail = "name either an amount in euros or a number of parts";
                errors.push(InputError::at("", "amount_missing", detail));
                None
            }
        };
        if let Some((unit, amount, most, pointer)) = asked {
            if amount == 0 || !(-most..=most).contains(&amount) {
                let most = unit.words(most);
                let detail = format!("it is not 0, and {most} at most either way");
                errors.push(InputError::at(pointer, "out_of_range", detail));
            }
            if credit.is_some_and(|credit| credit.unit != unit) {
                let detail = "the credit of this tenant is counted in the other unit";
                errors.push(InputError::at(pointer, "unit_mismatch", detail));
            }
        }
        if let Some(note) = &self.note
            && (note.chars().count() > NOTE_MAX || note.chars().any(char::is_control))
        {
            let detail = format!("use at most {NOTE_MAX} characters and no control characters");
            errors.push(InputError::at("/note", "label_invalid", detail));
        }
        match asked {
            Some((unit, amount, ..)) if errors.is_empty() => Ok((unit, amount)),
            _ => Err(errors),
        }
    }
}

/// Adds credit, or takes some away. It is durable when the answer is 201.
#[utoipa::path(
    post, path = "/v1/admin/tenants/{name}/credit", tag = "admin", operation_id = "add_credit",
    params(
        ("name" = String, Path, description = "The tenant"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; the same key and body enter it once"),
    ),
    request_body = NewCredit,
    responses(
        (status = 201, description = "The line of the ledger, with the balance", body = LineView),
        (status = 402, description = "More would be taken than there is", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The idempotency key was used with another body", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn add(
    State(app): State<Arc<App>>,
    caller: Allowed<ToAdminister>,
    Named(name): Named,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let tenant = tenant(&app, &name)?;
    let new: NewCredit = incoming.read()?;
    let asked = new.read(engine.settings(&tenant).credit.as_ref());
    let (unit, amount) = asked.map_err(Problem::invalid_fields)?;
    let by = caller.key.as_ref().map_or("admin key", |key| &key.name);
    let path = format!("/v1/admin/tenants/{name}/credit");
    let posting = Posting {
        unit,
        amount,
        note: new.note,
        by: Some(by.to_owned()),
        idempotency: incoming.idempotency(&caller.tenant, &path),
        now: engine.clock.now(),
        tenant,
    };
    let posted = engine.store.post_credit(posting).await?;
    let line = &posted.line;
    tracing::info!(tenant = %line.tenant, amount = line.unit.words(line.amount), by, "credit entered");
    let mut response = json(StatusCode::CREATED, &LineView::from(line));
    if posted.repeated {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn four_euros_and_seventy_nine_cents_are_twenty_two_messages() {
        let credit = |price: Option<&str>, unit| Credit {
            unit,
            price: price.map(str::to_owned),
            prices: BTreeMap::new(),
            thresholds: Vec::new(),
            email: Vec::new(),
        };
        let left = |price, unit, balance| sms_left(&credit(price, unit), balance);
        assert_eq!(left(Some("0.2177"), Unit::Eur, 4_790_000), Some(22));
        assert_eq!(left(Some("0"), Unit::Eur, 4_790_000), None, "any number");
        assert_eq!(left(None, Unit::Eur, 4_790_000), None);
        assert_eq!(left(None, Unit::Parts, 47), Some(47));
    }

    #[test]
    fn what_is_entered_is_one_amount_in_the_unit_of_the_credit() {
        let read = |json: &str| {
            let new: NewCredit = serde_json::from_str(json).unwrap();
            let codes =
                |errors: Vec<InputError>| errors.iter().map(|it| it.code).collect::<Vec<_>>();
            new.read(None).map_err(codes)
        };
        assert_eq!(read(r#"{"amount":"20.00"}"#), Ok((Unit::Eur, 20_000_000)));
        assert_eq!(read(r#"{"parts":-5}"#), Ok((Unit::Parts, -5)));
        assert_eq!(
            read(r#"{"amount":"20","parts":1}"#),
            Err(vec!["amount_missing"])
        );
        assert_eq!(read("{}"), Err(vec!["amount_missing"]));
        assert_eq!(read(r#"{"amount":"20,00"}"#), Err(vec!["amount_invalid"]));
        assert_eq!(read(r#"{"amount":"0"}"#), Err(vec!["out_of_range"]));
        assert_eq!(
            read(r#"{"amount":"1000000.000001"}"#),
            Err(vec!["out_of_range"])
        );
        assert_eq!(
            read(r#"{"parts":1,"note":"\u0007"}"#),
            Err(vec!["label_invalid"])
        );
        assert!(serde_json::from_str::<NewCredit>(r#"{"amount":20.0}"#).is_err());
    }
}
