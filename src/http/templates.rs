//! `/v1/templates`: the texts that a tenant's messages may be made of.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToManage, ToSendOrRead};
use super::body::{Incoming, Named};
use super::messages::parameters;
use super::problem::{InputError, Problem};
use super::{App, List, json};
use crate::domain::status::Language;
use crate::domain::template::{Definition, SignaturePolicy, Template};
use crate::domain::tenant::Settings;
use crate::domain::wording::Frame;
use crate::engine::templates::{KnownTemplate, NotStored, TEMPLATES_MAX};
use crate::engine::view::Rfc3339;

/// Longest category, in characters.
const CATEGORY_MAX: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, replace, remove))
}

/// A template to store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTemplate {
    /// Its name: lower-case letters, digits, `.`, `_` and `-`; in `PUT` the address has it.
    #[serde(default)]
    name: Option<String>,
    /// The text, with its variables: `Bonjour {{ name }}, vous avez {{ n }} {{ n|plural("courrier",
    /// "courriers") }}`. An empty one can be measured, not sent.
    text: String,
    /// The drawer that it lies in.
    #[serde(default)]
    category: Option<String>,
    /// True if it is offered before the others.
    #[serde(default)]
    quick: bool,
    /// `default` (as the message says, or else the tenant), `always` or `never`.
    #[serde(default)]
    #[schema(value_type = String, required = false)]
    signature: SignaturePolicy,
    /// Most lines of the text, without the signature; 4 where nothing is said, 0: any number.
    #[serde(default = "usual_lines")]
    max_lines: u32,
    /// Language of its plurals: `fr` or `en`; the tenant's where nothing is said.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    language: Option<Language>,
}

fn usual_lines() -> u32 {
    Definition::default().max_lines
}

/// A template.
#[derive(Serialize, ToSchema)]
#[schema(as = Template)]
struct TemplateView<'a> {
    name: &'a str,
    text: &'a str,
    #[schema(required)]
    category: Option<&'a str>,
    quick: bool,
    /// `default`, `always` or `never`.
    #[schema(value_type = String)]
    signature: SignaturePolicy,
    /// Most lines of the text; 0: any number.
    max_lines: u32,
    /// `fr` or `en`.
    #[schema(value_type = String)]
    language: Language,
    /// What a message has to give in `params`.
    variables: Vec<&'a str>,
    /// How long the text is before its variables are filled in; null where that cannot be said.
    #[schema(required)]
    length: Option<Length>,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    created_at: Rfc3339,
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    updated_at: Rfc3339,
}

/// Lengths of a text, in characters.
#[derive(Serialize, ToSchema)]
#[schema(as = TemplateLength)]
struct Length {
    /// With the tenant's signature and its separator.
    with_signature: usize,
    /// Without it.
    without_signature: usize,
}

fn view<'a>(known: &'a KnownTemplate, settings: &Settings) -> TemplateView<'a> {
    let KnownTemplate {
        document,
        definition,
        template,
    } = known;
    let signature = settings.signature.as_ref();
    let signature = signature.filter(|_| definition.signature != SignaturePolicy::Never);
    let length = template.fixed().map(|text| Length {
        with_signature: Frame::new(signature, None).around(&text).chars().count(),
        without_signature: text.chars().count(),
    });
    TemplateView {
        name: &document.name,
        text: &definition.text,
        category: definition.category.as_deref(),
        quick: definition.quick,
        signature: definition.signature,
        max_lines: definition.max_lines,
        language: definition.language,
        variables: template.variables().collect(),
        length,
        created_at: Rfc3339(document.created_at),
        updated_at: Rfc3339(document.updated_at),
    }
}

/// What a body asks to be stored, compiled, or what is wrong with it.
fn judge(new: NewTemplate, settings: &Settings) -> Result<(Definition, Template), Vec<InputError>> {
    let mut errors = Vec::new();
    let definition = Definition {
        text: new.text,
        category: new.category.filter(|category| !category.is_empty()),
        quick: new.quick,
        signature: new.signature,
        max_lines: new.max_lines,
        language: new.language.unwrap_or(settings.language),
    };
    if let Some(category) = &definition.category
        && (category.chars().count() > CATEGORY_MAX || category.chars().any(char::is_control))
    {
        errors.push(InputError::at(
            "/category",
            "label_invalid",
            format!("use at most {CATEGORY_MAX} characters and no control characters"),
        ));
    }
    let template = Template::compile(&definition.text, definition.language)
        .map_err(|error| errors.push(InputError::at("/text", error.code(), error.to_string())))
        .ok();
    let fixed = template.as_ref().and_then(Template::fixed);
    let lines = fixed.map_or(0, |text| text.lines().count());
    let most = usize::try_from(definition.max_lines).unwrap_or(usize::MAX);
    if most > 0 && lines > most {
        errors.push(InputError::at(
            "/text",
            "text_too_many_lines",
            format!("the text has {lines} lines and max_lines is {most}; 0 is any number"),
        ));
    }
    match template {
        Some(template) if errors.is_empty() => Ok((definition, template)),
        _ => Err(errors),
    }
}

fn is_name(name: &str) -> bool {
    let sign =
        |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"._-".contains(&octet);
    (1..=64).contains(&name.len()) && name.bytes().all(sign)
}

fn name_invalid() -> InputError {
    let rule = "use 1 to 64 lower-case letters, digits, '.', '_' and '-'";
    InputError::at("/name", "template_name_invalid", rule)
}

async fn put(
    app: &App,
    caller: &Allowed<ToManage>,
    name: &str,
    new: NewTemplate,
    only_new: bool,
) -> Result<Arc<KnownTemplate>, Problem> {
    let engine = &app.engine;
    let mut errors = Vec::new();
    if !is_name(name) {
        errors.push(name_invalid());
    }
    let judged = judge(new, &engine.settings(&caller.tenant));
    let judged = judged.map_err(|wrong| errors.extend(wrong)).ok();
    let (Some(judged), true) = (judged, errors.is_empty()) else {
        return Err(Problem::invalid_fields(errors));
    };
    let put = engine.put_template(&caller.tenant, name, judged, only_new);
    put.await.map_err(|problem| match problem {
        NotStored::Exists => Problem::new(
            StatusCode::CONFLICT,
            "template_exists",
            "There is a template of this name",
            "use another name, or PUT to replace it",
        ),
        NotStored::TooMany => {
            let detail = format!("at most {TEMPLATES_MAX} templates are kept; delete one");
            Problem::invalid_fields(vec![InputError::at("", "too_many_templates", detail)])
        }
        NotStored::Store(error) => error.into(),
    })
}

/// Stores a new template.
#[utoipa::path(
    post, path = "/v1/templates", tag = "templates", operation_id = "create_template",
    request_body = NewTemplate,
    responses(
        (status = 201, description = "The template", body = TemplateView),
        (status = 403, description = "The key lacks the scope manage", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is one of this name", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn create(
    State(app): State<Arc<App>>,
    caller: Allowed<ToManage>,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let mut new: NewTemplate = incoming.read()?;
    let name = new.name.take().unwrap_or_default();
    let known = put(&app, &caller, &name, new, true).await?;
    let settings = app.engine.settings(&caller.tenant);
    Ok(json(StatusCode::CREATED, &view(&known, &settings)))
}

/// The tenant's templates, by name.
#[utoipa::path(
    get, path = "/v1/templates", tag = "templates", operation_id = "list_templates",
    params(
        ("category" = Option<String>, Query, description = "Only those of this category"),
        ("quick" = Option<bool>, Query, description = "Only those that are, or are not, offered before the others"),
    ),
    responses(
        (status = 200, description = "The templates", body = List<TemplateView>),
        (status = 422, description = "Parameters are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSendOrRead>,
    query: Result<QueryString<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let mut query = parameters(query, &["category", "quick"])?;
    let category = query.take("category");
    let quick = match query.take("quick").as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => {
            let detail = "it must be true or false";
            return Err(Problem::invalid_fields(vec![InputError::of_parameter(
                "quick",
                "invalid_parameter",
                detail,
            )]));
        }
    };
    let engine = &app.engine;
    let (templates, settings) = (
        engine.templates(&caller.tenant),
        engine.settings(&caller.tenant),
    );
    let of_category = |definition: &Definition| match &category {
        None => true,
        wanted => definition.category == *wanted,
    };
    let data = templates
        .iter()
        .filter(|known| of_category(&known.definition))
        .filter(|known| quick.is_none_or(|quick| known.definition.quick == quick))
        .map(|known| view(known, &settings))
        .collect();
    Ok(json(StatusCode::OK, &List::whole(data)))
}

/// One template.
#[utoipa::path(
    get, path = "/v1/templates/{name}", tag = "templates", operation_id = "get_template",
    params(("name" = String, Path, description = "The template's name")),
    responses(
        (status = 200, description = "The template", body = TemplateView),
        (status = 404, description = "No such template", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn read(
    State(app): State<Arc<App>>,
    caller: Allowed<ToSendOrRead>,
    Named(name): Named,
) -> Result<Response, Problem> {
    let engine = &app.engine;
    let known = engine.template(&caller.tenant, &name);
    let known = known.ok_or_else(Problem::not_found)?;
    let settings = engine.settings(&caller.tenant);
    Ok(json(StatusCode::OK, &view(&known, &settings)))
}

/// Stores a template under this name, in place of the one that there may be.
#[utoipa::path(
    put, path = "/v1/templates/{name}", tag = "templates", operation_id = "put_template",
    params(("name" = String, Path, description = "The template's name")),
    request_body = NewTemplate,
    responses(
        (status = 200, description = "The template", body = TemplateView),
        (status = 403, description = "The key lacks the scope manage", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn replace(
    State(app): State<Arc<App>>,
    caller: Allowed<ToManage>,
    Named(name): Named,
    incoming: Incoming<false>,
) -> Result<Response, Problem> {
    let mut new: NewTemplate = incoming.read()?;
    if new.name.take().is_some_and(|other| other != name) {
        let detail = "the address names another template; leave name out";
        let error = InputError::at("/name", "template_name_invalid", detail);
        return Err(Problem::invalid_fields(vec![error]));
    }
    let known = put(&app, &caller, &name, new, false).await?;
    let settings = app.engine.settings(&caller.tenant);
    Ok(json(StatusCode::OK, &view(&known, &settings)))
}

/// Removes a template. Messages that were made from it stay as they are.
#[utoipa::path(
    delete, path = "/v1/templates/{name}", tag = "templates", operation_id = "delete_template",
    params(("name" = String, Path, description = "The template's name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "The key lacks the scope manage", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such template", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn remove(
    State(app): State<Arc<App>>,
    caller: Allowed<ToManage>,
    Named(name): Named,
) -> Result<Response, Problem> {
    app.engine.delete_template(&caller.tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
