//! Templates of texts: what is fixed, and variables that a message fills in.
//!
//! They are written in the syntax of Jinja, of which only what makes a text is there: `{{ name }}`,
//! `{% if %}`, and the filters `plural`, `upper`, `lower` and `trim`. Nothing is escaped, for an SMS is
//! no HTML. Variables are checked strictly: an unfilled one would be seen by the recipient, and one
//! that nothing uses is a mistake of spelling. Fuel bounds what one costs, in time and in memory, so
//! that whoever may write templates cannot hold up the gateway with one.

use std::collections::BTreeSet;
use std::fmt;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, filters};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error as ThisError;
use utoipa::ToSchema;

use super::status::Language;

mod bounds;

/// Longest source, in characters.
pub const SOURCE_MAX_CHARS: usize = 4000;
/// Longest value of one variable, in characters.
pub const VALUE_MAX_CHARS: usize = 1000;
/// Most variables.
pub const VARIABLES_MAX: usize = 50;
/// What one rendering may cost: an instruction is 1, and so are 64 octets of text. The longest text
/// costs a few hundred.
const FUEL: u64 = 4000;
/// Under this name the source is compiled.
const NAME: &str = "text";

/// A template as an administrator writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TemplateDefinition)]
pub struct Definition {
    /// The text, with its variables: `Bonjour {{ name }}`.
    pub text: String,
    /// The drawer that it lies in.
    pub category: Option<String>,
    /// True if it is offered before the others.
    pub quick: bool,
    /// Whether its messages bear the signature.
    pub signature: SignaturePolicy,
    /// Most lines of the text, without the signature; 0: any number.
    pub max_lines: u32,
    /// Language of its plurals.
    pub language: Language,
}

impl Default for Definition {
    fn default() -> Self {
        Self {
            text: String::new(),
            category: None,
            quick: false,
            signature: SignaturePolicy::Default,
            max_lines: 4,
            language: Language::Fr,
        }
    }
}

/// Whether the messages of a template bear the signature of their tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignaturePolicy {
    /// As the message says, or else the tenant.
    #[default]
    Default,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Why a source is no template.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum TemplateError {
    /// It is too long.
    #[error("the template has more than {SOURCE_MAX_CHARS} characters")]
    TooLong,
    /// It has too many variables.
    #[error("the template has {0} variables and at most {VARIABLES_MAX} are allowed")]
    TooManyVariables(usize),
    /// It cannot be read.
    #[error("line {line} of the template cannot be read: {problem}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// It uses a filter or function that is not there.
    #[error(
        "line {line} of the template uses what is not there ({problem}); \
         the filters are plural, upper, lower and trim"
    )]
    Unknown {
        /// Where, from 1.
        line: usize,
        /// What is not there.
        problem: String,
    },
    /// It makes no text, whether its variables are numbers or words.
    #[error("line {line} of the template: {problem}")]
    Fails {
        /// Where, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// It would never end, or make too much of a text.
    #[error("the template does too much; a text has at most {SOURCE_MAX_CHARS} characters")]
    TooCostly,
}

impl TemplateError {
    /// Stable code for the HTTP interface.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "template_too_long",
            Self::TooManyVariables(_) => "template_too_many_variables",
            Self::Syntax { .. } => "template_syntax",
            Self::Unknown { .. } => "template_unknown_filter",
            Self::Fails { .. } => "template_failed",
            Self::TooCostly => "template_too_costly",
        }
    }
}

/// Why no text was made.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum RenderError {
    /// A variable has no value.
    #[error("the variable {0} has no value; give it in params")]
    Missing(String),
    /// A value is for no variable.
    #[error("the template has no variable {0}; check its spelling")]
    Unknown(String),
    /// A value cannot stand in a text.
    #[error("{0} must be a string of at most {VALUE_MAX_CHARS} characters, a number or a boolean")]
    Invalid(String),
    /// The values do not suit what the template does with them.
    #[error("line {line} of the template: {problem}")]
    Failed {
        /// Where in the template, from 1.
        line: usize,
        /// What is wrong there, without the values.
        problem: String,
    },
}

impl RenderError {
    /// Stable code for the HTTP interface.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "template_variable_missing",
            Self::Unknown(_) => "template_variable_unknown",
            Self::Invalid(_) => "template_variable_invalid",
            Self::Failed { .. } => "template_failed",
        }
    }
}

/// A source that was read: it is read once, and makes any number of texts.
pub struct Template {
    environment: Environment<'static>,
    variables: BTreeSet<String>,
    language: Language,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("variables", &self.variables)
            .finish_non_exhaustive()
    }
}

impl Template {
    /// Reads a source; its plurals are of this language.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(source: &str, language: Language) -> Result<Self, TemplateError> {
        if source.chars().count() > SOURCE_MAX_CHARS {
            return Err(TemplateError::TooLong);
        }
        if !bounds::is_modest(source) {
            return Err(TemplateError::TooCostly);
        }
        let environment = environment(source, language, Strictness::Numbers)?;
        let variables: BTreeSet<String> = match environment.get_template(NAME) {
            Ok(template) => template.undeclared_variables(false).into_iter().collect(),
            Err(error) => return Err(unreadable(&error)),
        };
        if variables.len() > VARIABLES_MAX {
            return Err(TemplateError::TooManyVariables(variables.len()));
        }
        let template = Self {
            environment,
            variables,
            language,
        };
        template.try_out()?;
        Ok(template)
    }

    /// The names of its variables, in their order; each needs a value.
    pub fn variables(&self) -> impl ExactSizeIterator<Item = &str> {
        self.variables.iter().map(String::as_str)
    }

    /// The text with these values.
    ///
    /// # Errors
    /// Each value that is missing, that nothing uses, or that cannot stand in a text.
    pub fn render(&self, params: &Map<String, Value>) -> Result<String, Vec<RenderError>> {
        let mut errors = Vec::new();
        for name in &self.variables {
            if !params.contains_key(name) {
                errors.push(RenderError::Missing(name.clone()));
            }
        }
        let mut values = Vec::with_capacity(params.len());
        for (name, value) in params {
            if !self.variables.contains(name) {
                errors.push(RenderError::Unknown(shown(name)));
            } else if let Some(value) = plain(value) {
                values.push((name.as_str(), value));
            } else {
                errors.push(RenderError::Invalid(shown(name)));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        rendered(&self.environment, values).map_err(|error| {
            vec![RenderError::Failed {
                line: error.line().unwrap_or(1),
                problem: problem(&error),
            }]
        })
    }

    /// What of the text is there whatever the values: the text with all of them empty. `None` where
    /// that cannot be said.
    #[must_use]
    pub fn fixed(&self) -> Option<String> {
        let source = self.environment.get_template(NAME).ok()?;
        let source = source.source().to_owned();
        let environment = environment(&source, self.language, Strictness::Anything).ok()?;
        let empty = |name: &String| (name.clone(), minijinja::Value::from(""));
        rendered(&environment, self.variables.iter().map(empty)).ok()
    }

    /// Finds what only rendering would find: filters that are not there, and what never ends.
    fn try_out(&self) -> Result<(), TemplateError> {
        let mut fails = None;
        for sample in [minijinja::Value::from(1), minijinja::Value::from("1")] {
            let values = self.variables.iter().map(|name| (name, sample.clone()));
            let Err(error) = rendered(&self.environment, values) else {
                return Ok(());
            };
            let line = error.line().unwrap_or(1);
            match error.kind() {
                ErrorKind::OutOfFuel => return Err(TemplateError::TooCostly),
                ErrorKind::UnknownFilter
                | ErrorKind::UnknownTest
                | ErrorKind::UnknownFunction
                | ErrorKind::UnknownMethod => {
                    let problem = problem(&error);
                    return Err(TemplateError::Unknown { line, problem });
                }
                // The other values may suit it.
                _ => {
                    let problem = problem(&error);
                    fails = Some(TemplateError::Fails { line, problem });
                }
            }
        }
        fails.map_or(Ok(()), Err)
    }
}

/// What `plural` takes for a number.
#[derive(Clone, Copy)]
enum Strictness {
    /// Numbers, and strings that are some.
    Numbers,
    /// Anything: what is no number counts as one.
    Anything,
}

fn environment(
    source: &str,
    language: Language,
    strictness: Strictness,
) -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("upper", filters::upper);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("trim", filters::trim);
    environment.add_filter(
        "plural",
        move |count: &minijinja::Value, one: String, many: String| match (number(count), strictness)
        {
            (Some(count), _) if is_singular(count, language) => Ok(one),
            (Some(_), _) => Ok(many),
            (None, Strictness::Anything) => Ok(one),
            (None, Strictness::Numbers) => Err(Error::from(ErrorKind::CannotUnpack)),
        },
    );
    environment
        .add_template_owned(NAME, source.to_owned())
        .map_err(|error| unreadable(&error))?;
    Ok(environment)
}

fn rendered<N: Into<minijinja::Value>>(
    environment: &Environment<'static>,
    values: impl IntoIterator<Item = (N, minijinja::Value)>,
) -> Result<String, Error> {
    let values: std::collections::BTreeMap<minijinja::Value, minijinja::Value> = values
        .into_iter()
        .map(|(name, value)| (name.into(), value))
        .collect();
    environment.get_template(NAME)?.render(values)
}

fn unreadable(error: &Error) -> TemplateError {
    TemplateError::Syntax {
        line: error.line().unwrap_or(1),
        problem: problem(error),
    }
}

/// What went wrong, without any value: those are of the message.
fn problem(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::CannotUnpack, _) => "plural needs a number".to_owned(),
        (ErrorKind::OutOfFuel, _) => "it does too much with these values".to_owned(),
        // These speak of the source alone, which is whoever reads this has written.
        (
            ErrorKind::SyntaxError
            | ErrorKind::BadEscape
            | ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction,
            Some(detail),
        ) => detail.chars().take(200).collect(),
        (kind, _) => kind.to_string(),
    }
}

/// Up to here a floating-point number tells every whole number from the next: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A value that can stand in a text.
fn plain(value: &Value) -> Option<minijinja::Value> {
    match value {
        Value::String(text) if text.chars().count() <= VALUE_MAX_CHARS => {
            Some(minijinja::Value::from(text.as_str()))
        }
        Value::Bool(value) => Some(minijinja::Value::from(*value)),
        Value::Number(number) => {
            let whole = number.as_i64().map(minijinja::Value::from);
            let whole = whole.or_else(|| number.as_u64().map(minijinja::Value::from));
            // Larger ones are no longer what was written: they have to be given as text.
            let exact = number.as_f64().filter(|it| it.abs() < EXACT_MAX);
            whole.or_else(|| exact.map(minijinja::Value::from))
        }
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A name of the caller's, as far as an error repeats it.
fn shown(name: &str) -> String {
    let clean = name.chars().filter(|c| !c.is_control());
    clean.take(64).collect()
}

fn number(value: &minijinja::Value) -> Option<f64> {
    if value.is_number() {
        return f64::try_from(value.clone()).ok();
    }
    let text = value.as_str()?.trim().replace(',', ".");
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Whether that many are written in the singular: in French all that is less than two, in English one
/// (CLDR, plural rules of `fr` and `en`).
#[must_use]
pub fn is_singular(count: f64, language: Language) -> bool {
    match language {
        Language::Fr => count.abs() < 2.0,
        Language::En => (count.abs() - 1.0).abs() < f64::EPSILON,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    fn compile(source: &str) -> Template {
        Template::compile(source, Language::Fr).unwrap()
    }

    fn render(source: &str, params: Value) -> Result<String, Vec<RenderError>> {
        let Value::Object(params) = params else {
            panic!("an object")
        };
        compile(source).render(&params)
    }

    fn codes(errors: &[RenderError]) -> Vec<&'static str> {
        errors.iter().map(RenderError::code).collect()
    }

    #[test]
    fn a_text_is_made_and_nothing_is_escaped() {
        let text = "Bonjour {{ name }}, <b>{{ n }}</b> & {{ price }} €{% if urgent %} !{% endif %}";
        let params = json!({"name": "Zoë <&> \"O'Hara\"", "n": 3, "price": "4,79", "urgent": true});
        assert_eq!(
            render(text, params).unwrap(),
            "Bonjour Zoë <&> \"O'Hara\", <b>3</b> & 4,79 € !"
        );
        // What a caller gives is text, not a template.
        let params = json!({"a": "{{ b }} {% if %}"});
        assert_eq!(render("{{ a }}", params).unwrap(), "{{ b }} {% if %}");
        assert_eq!(render("sans variable", json!({})).unwrap(), "sans variable");
    }

    #[test]
    fn every_variable_needs_a_value_and_every_value_a_variable() {
        let text = "{{ first }} {% if second %}x{% endif %}";
        let errors = render(text, json!({"frist": "a", "third": null})).unwrap_err();
        assert_eq!(
            errors,
            [
                RenderError::Missing("first".into()),
                RenderError::Missing("second".into()),
                RenderError::Unknown("frist".into()),
                RenderError::Unknown("third".into()),
            ]
        );
        assert_eq!(
            compile(text).variables().collect::<Vec<_>>(),
            ["first", "second"]
        );
        for bad in [
            json!(null),
            json!([1]),
            json!({"a": 1}),
            json!("x".repeat(1001)),
        ] {
            let errors = render("{{ a }}", json!({"a": bad})).unwrap_err();
            assert_eq!(codes(&errors), ["template_variable_invalid"]);
        }
    }

    #[test]
    fn plurals_are_of_the_language() {
        let text = "{{ n }} {{ n|plural(\"courrier\", \"courriers\") }}";
        for (language, singular) in [
            (Language::Fr, &["0", "1", "1,5", "-1"][..]),
            (Language::En, &["1", "-1"]),
        ] {
            let template = Template::compile(text, language).unwrap();
            for count in ["0", "1", "1,5", "2", "3", "100", "-1"] {
                let params = json!({"n": count});
                let made = template.render(params.as_object().unwrap()).unwrap();
                let many = if singular.contains(&count) { "" } else { "s" };
                assert_eq!(made, format!("{count} courrier{many}"), "{language:?}");
            }
        }
        assert_eq!(render(text, json!({"n": 2})).unwrap(), "2 courriers");
        assert_eq!(render(text, json!({"n": 1.5})).unwrap(), "1.5 courrier");
        let errors = render(text, json!({"n": "deux"})).unwrap_err();
        assert_eq!(
            errors[0].to_string(),
            "line 1 of the template: plural needs a number"
        );
    }

    #[test]
    fn a_source_that_cannot_work_is_refused_when_it_is_written() {
        for (source, code) in [
            ("{{ name", "template_syntax"),
            ("{% if x %}", "template_syntax"),
            ("{% include 'x' %}", "template_syntax"),
            ("{% macro x() %}{% endmacro %}", "template_syntax"),
            ("{{ name|shout }}", "template_unknown_filter"),
            ("{{ range(9) }}", "template_failed"),
            ("{{ a.b.c }}", "template_failed"),
        ] {
            let error = Template::compile(source, Language::Fr).unwrap_err();
            assert_eq!(error.code(), code, "{source}: {error}");
        }
        let long = "a".repeat(SOURCE_MAX_CHARS + 1);
        let error = Template::compile(&long, Language::Fr).unwrap_err();
        assert_eq!(error, TemplateError::TooLong);
        let many: String = (0..=VARIABLES_MAX)
            .map(|n| format!("{{{{ v{n} }}}}"))
            .collect();
        let error = Template::compile(&many, Language::Fr).unwrap_err();
        assert_eq!(error, TemplateError::TooManyVariables(51));
        let error = Template::compile("a\nb\n{{ x y }}", Language::Fr).unwrap_err();
        assert!(
            matches!(error, TemplateError::Syntax { line: 3, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_template_that_does_too_much_is_stopped() {
        let doubled = format!(
            "{{% set a = 'x' %}}{}{{{{ a }}}}",
            "{%set a=a~a%}".repeat(40)
        );
        let nested = "{% for a in 'x'*99 %}".repeat(4) + "y" + &"{% endfor %}".repeat(4);
        for source in [&doubled, &nested, &"{{ 'x' * 100000000 }}".to_owned()] {
            let error = Template::compile(source, Language::Fr).unwrap_err();
            assert_eq!(error, TemplateError::TooCostly);
        }
        // By its values alone.
        let source = format!("{{% set b = a %}}{}{{{{ b }}}}", "{%set b=b~b%}".repeat(10));
        let errors = render(&source, json!({"a": "x".repeat(1000)})).unwrap_err();
        assert_eq!(codes(&errors), ["template_failed"]);
    }

    #[test]
    fn what_is_fixed_of_a_text_can_be_measured() {
        for (source, fixed) in [
            ("", Some("")),
            ("Bonjour {{ name }}", Some("Bonjour ")),
            (
                "{{ n }} {{ n|plural('lettre', 'lettres') }}",
                Some(" lettre"),
            ),
            ("{{ a + 1 }}", None),
        ] {
            assert_eq!(compile(source).fixed().as_deref(), fixed, "{source}");
        }
    }

    #[test]
    fn no_value_of_a_message_stands_in_an_error() {
        for source in [
            "{{ a + 1 }}",
            "{{ a.b.c }}",
            "{{ a() }}",
            "{{ a|plural(1, 2) }}",
        ] {
            let Ok(template) = Template::compile(source, Language::Fr) else {
                continue;
            };
            let params = json!({"a": "secret"});
            let errors = template.render(params.as_object().unwrap()).unwrap_err();
            assert!(!format!("{errors:?}").contains("secret"), "{errors:?}");
        }
    }
}
