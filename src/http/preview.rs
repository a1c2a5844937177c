//! `/v1/preview`: what a send would do, by the code that sends. Nothing is stored.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToSendOrRead};
use super::body::Incoming;
use super::draft::{self, NewMessage};
use super::messages::check;
use super::problem::{Problem, unpaid_detail};
use super::{App, json};
use crate::domain::credit::{Due, Unpaid};
use crate::domain::text::{Replacement, two_septets};
use crate::engine::Engine;
use crate::engine::accept::Checked;
use crate::engine::credit::CostView;
use crate::engine::view::{Replaced, Rfc3339, Warning, alphabet_word};
use crate::pdu::segment::Alphabet;

/// Places of one character that are told.
const PLACES_MAX: usize = 20;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(preview))
}

/// What sending a draft would do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Preview<'a> {
    /// Recipient, E.164.
    to: String,
    /// Sender; null: the carrier account's own.
    #[schema(required)]
    from: Option<String>,
    /// The text as it would be sent.
    text: &'a str,
    /// What would be replaced in the text that was given.
    transliterated: Vec<Replaced<'a>>,
    /// `gsm`, `latin1` or `ucs2`.
    encoding: &'static str,
    /// The characters that force Unicode, in order of appearance.
    forcing_unicode: Vec<Stranger>,
    /// The characters that count twice in the GSM alphabet, in order of appearance.
    two_septets: Vec<Double>,
    /// How long it is, in characters.
    length: Length,
    /// True if it would be cut to what the tenant allows.
    truncated: bool,
    /// The signature that would be added; null: none.
    #[schema(required)]
    signature: Option<&'a str>,
    /// The mention that would be added of how to answer STOP; null: none.
    #[schema(required)]
    stop: Option<&'a str>,
    /// Septets, octets of Latin-1 or UTF-16 code units.
    units: u32,
    /// Units that the last part has room for.
    units_left: u32,
    /// Number of parts on the air.
    parts: usize,
    /// The text of each part.
    part_texts: Vec<&'a str>,
    /// Whose policy would rule.
    operator: &'a str,
    /// The accounts that it would be tried on: steps in order, each a set. The text is planned for
    /// the first; another one may need another alphabet, and so other parts.
    route: Vec<Vec<&'a str>>,
    /// What it would cost; null where the tenant has no credit.
    #[schema(required)]
    cost: Option<CostView>,
    /// When it may first leave, by the operator's hours as well.
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    first_send_at: Rfc3339,
    /// End of its validity.
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    expires_at: Rfc3339,
    /// What the sender may want to know.
    warnings: Vec<Warning>,
}

/// How long a text is, in characters.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TextLength)]
struct Length {
    /// The whole, with its signature, its separator and the mention of STOP.
    with_signature: usize,
    /// What was given, as far as it would be sent.
    without_signature: usize,
    /// Most that the tenant allows; null: no limit but that of parts.
    #[schema(required)]
    max: Option<u32>,
}

/// A character that has no place in the small alphabet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UnicodeCharacter)]
struct Stranger {
    character: char,
    /// For example `U+0153`.
    code_point: String,
    /// How often it stands in the text.
    count: usize,
    /// Where, in characters from 0; the first 20.
    positions: Vec<usize>,
    /// What `transliterate` would put in its place; null: nothing is near it.
    #[schema(required)]
    replacement: Option<&'static str>,
}

/// A character that counts twice.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DoubleCharacter)]
struct Double {
    character: char,
    /// How often it stands in the text.
    count: usize,
}

/// That nothing would be stored now, because it is not paid for.
pub(super) fn unpaid(why: &Unpaid) -> Warning {
    Warning {
        code: why.code(),
        detail: unpaid_detail(why),
    }
}

/// What a send would do, by the code that sends. Nothing is stored.
#[utoipa::path(
    post, path = "/v1/preview", tag = "messages", operation_id = "preview_message",
    request_body = NewMessage,
    responses(
        (status = 200, description = "What sending would do", body = Preview),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid key", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key has neither the scope send nor read", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not application/json", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn preview(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSendOrRead>,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let mut decoded =
        draft::message(&incoming.body).map_err(|error| Problem::malformed_json(&error))?;
    decoded.draft.preview = true;
    let checked = check(engine, &caller.by(), decoded, None)
        .await
        .map_err(Problem::invalid_fields)?;
    let mut preview = Preview::of(engine, &checked);
    let due = Due::of(checked.terms.charge.as_ref());
    let key = caller.key.as_deref();
    let why = engine.would_pay(&caller.tenant, key, due).await?;
    preview.warnings.extend(why.iter().map(unpaid));
    if engine.has_opted_out(&caller.tenant, &checked).await? {
        preview.warnings.push(Warning {
            code: "opted_out",
            detail: "the recipient has opted out: it would be taken, and fail at once".to_owned(),
        });
    }
    Ok(json(StatusCode::OK, &preview))
}

impl<'a> Preview<'a> {
    fn of(engine: &Engine, checked: &'a Checked) -> Self {
        let Checked {
            plan,
            rules,
            operator,
            text,
            wording,
            ..
        } = checked;
        Self {
            to: checked.to.to_string(),
            from: checked.from.as_ref().map(ToString::to_string),
            text,
            transliterated: checked.replaced.iter().map(Replaced::from).collect(),
            encoding: alphabet_word(plan.alphabet),
            forcing_unicode: match plan.alphabet {
                Alphabet::Ucs2 => strangers(checked),
                Alphabet::Gsm7 | Alphabet::Latin1 => Vec::new(),
            },
            two_septets: match plan.alphabet {
                Alphabet::Gsm7 => two_septets(text)
                    .into_iter()
                    .map(|(character, count)| Double { character, count })
                    .collect(),
                Alphabet::Latin1 | Alphabet::Ucs2 => Vec::new(),
            },
            length: Length {
                with_signature: text.chars().count(),
                without_signature: wording.own_chars,
                max: wording.max_chars,
            },
            truncated: checked.terms.truncated,
            signature: wording.signature.as_deref(),
            stop: wording.stop.as_deref(),
            units: plan.units,
            units_left: rules.units_left(text, plan),
            parts: plan.count(),
            part_texts: plan.slices(text).collect(),
            operator: operator.name.as_str(),
            route: operator
                .route
                .iter()
                .map(|step| step.iter().map(|account| account.as_str()).collect())
                .collect(),
            cost: checked.terms.charge.as_ref().and_then(CostView::of),
            first_send_at: Rfc3339(checked.first_send_at()),
            expires_at: Rfc3339(checked.expires_at),
            warnings: warnings(engine, checked),
        }
    }
}

fn strangers(checked: &Checked) -> Vec<Stranger> {
    let strangers = checked.rules.strangers(&checked.text).into_iter();
    strangers
        .map(|(character, replacement)| {
            let places = checked.text.chars().enumerate();
            let positions: Vec<usize> = places
                .filter(|(_, c)| *c == character)
                .map(|(position, _)| position)
                .collect();
            Stranger {
                character,
                code_point: format!("U+{:04X}", u32::from(character)),
                count: positions.len(),
                positions: positions.into_iter().take(PLACES_MAX).collect(),
                replacement,
            }
        })
        .collect()
}

fn warnings(engine: &Engine, checked: &Checked) -> Vec<Warning> {
    let Checked {
        plan,
        rules,
        operator,
        text,
        replaced,
        ..
    } = checked;
    let advice = checked.advice.iter().map(Warning::from);
    let mut warnings: Vec<_> = advice.collect();
    let mut warn = |code, detail| warnings.push(Warning { code, detail });
    let parts = plan.count();
    if plan.alphabet != Alphabet::Gsm7 {
        let (code, room) = match plan.alphabet {
            Alphabet::Latin1 => ("latin1", 140),
            Alphabet::Gsm7 | Alphabet::Ucs2 => ("unicode", 70),
        };
        let plain = rules.parts_without_strangers(text);
        let price = if parts > plain {
            format!(": {parts} parts instead of {plain}")
        } else {
            String::new()
        };
        let strangers = rules.strangers(text);
        let advice = if strangers.iter().all(|(_, near)| near.is_some()) {
            "; encoding \"transliterate\" replaces them"
        } else {
            ""
        };
        let characters: String = strangers.iter().map(|(c, _)| c).take(PLACES_MAX).collect();
        warn(
            code,
            format!(
                "{characters:?} leave room for {room} units in one message instead of 160{price}{advice}"
            ),
        );
    }
    if !replaced.is_empty() {
        let told: Vec<_> = replaced.iter().take(PLACES_MAX).map(told).collect();
        warn(
            "transliterated",
            format!("the text was changed: {}", told.join(", ")),
        );
    }
    if parts > 1 {
        warn(
            "several_parts",
            format!("the text is sent, and paid for, as {parts} parts"),
        );
    }
    let (opens, due_at) = (checked.first_send_at(), checked.due_at);
    if opens > due_at {
        let (name, hours, zone) = (&operator.name, &operator.hours, operator.timezone);
        warn(
            "window",
            format!("the hours of operator {name} are {hours} ({zone}); it would wait for them"),
        );
    }
    if opens >= checked.expires_at {
        warn(
            "expires_first",
            "its validity ends before it may leave; it would expire unsent: give it a longer validity \
             or another send_at"
                .to_owned(),
        );
    }
    let route = || operator.route.iter().flatten();
    let up = engine.channels().iter().any(|channel| {
        route().any(|account| *account == channel.account) && channel.status_now().is_up()
    });
    if !up {
        warn(
            "no_channel",
            "no channel of its route is up now; it would wait".to_owned(),
        );
    }
    warnings
}

fn told(replacement: &Replacement) -> String {
    let Replacement { from, to } = replacement;
    if to.is_empty() {
        format!("{from:?} left out")
    } else {
        format!("{from:?} by {to:?}")
    }
}
