//! From the JSON of a request to drafts: strict, in one pass, naming every field that is wrong.
//!
//! Each member is read as whatever JSON it is and then judged, so that one wrong field does not
//! hide the next. What is read is bounded before it is kept: error lists, recipients, members.

pub(super) mod amendment;
pub(super) mod batch;
mod fallback;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use utoipa::ToSchema;

use super::problem::InputError;
use crate::domain::message::Class;
use crate::domain::policy::OnDoubt;
use crate::domain::time::Timestamp;
use crate::engine::accept::{Draft, Encoding};

/// Errors that one body is answered with at most.
pub(super) const ERRORS_MAX: usize = 100;
/// Characters of an unknown member's name that are repeated in an error.
const NAME_SHOWN: usize = 64;

/// The body of `POST /v1/messages`, as the OpenAPI document describes it; [`Decoded`] reads it.
#[derive(ToSchema)]
#[schema(as = NewMessage)]
#[allow(dead_code)]
pub(super) struct NewMessage {
    /// Recipient, in any usual writing.
    #[schema(example = "06 12 34 56 78")]
    to: String,
    /// Sender: at most 11 letters and digits, a short code, or an international number.
    from: Option<String>,
    /// The text; needed unless a template gives it.
    text: Option<String>,
    /// Not before this instant.
    send_at: Option<chrono::DateTime<chrono::Utc>>,
    /// How long it is worth delivering: whole seconds, or a string such as "48h".
    #[schema(value_type = Option<SecondsOrText>)]
    validity: Option<Value>,
    /// `transactional` or `commercial`; the tenant's own class, mostly `transactional`, where nothing is said. A commercial message is refused as
    /// `commercial_on_modem` where the route of its operator has a GSM modem: marketing may not leave
    /// over a SIM.
    #[schema(value_type = Option<ClassWord>)]
    class: Option<Class>,
    /// The caller's label of the kind of message.
    r#type: Option<String>,
    /// The caller's own reference.
    reference: Option<String>,
    /// `auto`, `gsm` or `transliterate`; as the tenant says where nothing is said, or else `auto`.
    #[schema(value_type = Option<EncodingWord>)]
    encoding: Option<Encoding>,
    /// Most parts that may be paid for.
    #[schema(minimum = 1)]
    max_parts: Option<usize>,
    /// 0 to 3; higher leaves first; 1 where nothing is said.
    #[schema(maximum = 3)]
    priority: Option<u8>,
    /// Where to post its changes of status.
    webhook_url: Option<String>,
    /// A JSON object, kept and given back.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    /// When nobody can tell whether a carrier took it: `resend` or `fail`.
    #[schema(value_type = Option<OnDoubtWord>)]
    on_doubt: Option<OnDoubt>,
    /// Name of a template, in place of `text`.
    template: Option<String>,
    /// What the template's variables stand for: strings, numbers or booleans.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
    /// In place of `send_at`: instants of which the earliest rules.
    anchors: Option<Vec<chrono::DateTime<chrono::Utc>>>,
    /// How long after the earliest anchor, such as "2h"; before it with a minus, such as "-3h".
    offset: Option<String>,
    /// Name of a plan: what waits under it is replaced.
    schedule_key: Option<String>,
    /// Name of what is told once: a later post under it sends nothing and gives the first message.
    once_key: Option<String>,
    /// Whether the tenant's signature is added; as its template or its tenant says where nothing is said.
    signature: Option<bool>,
    /// What a commercial message is for: the purpose that its recipient has agreed to.
    purpose: Option<String>,
    /// Channels to try in order, of which exactly one delivers: objects of `channel` (`sms`, `app`, `email`),
    /// `success_on` (`accepted`, `delivered`), `deadline` (such as "10m"), of an app its `url`, of an e-mail
    /// `to` and `subject`. Where the SMS is not among them it is the first.
    #[schema(value_type = Option<Vec<Object>>)]
    fallback: Option<Value>,
}

/// Whole seconds, or a string such as "48h".
#[derive(ToSchema)]
#[schema(as = Duration)]
#[serde(untagged)]
#[allow(dead_code)]
pub(super) enum SecondsOrText {
    /// Whole seconds.
    Seconds(u64),
    /// A number and a unit, ms, s, m, h or d, once or several times.
    Text(String),
}

/// Transactional or commercial.
#[derive(ToSchema)]
#[schema(as = Class, rename_all = "snake_case")]
#[allow(dead_code)]
pub(super) enum ClassWord {
    Transactional,
    Commercial,
}

/// How the alphabet is chosen.
#[derive(ToSchema)]
#[schema(as = Encoding, rename_all = "snake_case")]
#[allow(dead_code)]
pub(super) enum EncodingWord {
    Auto,
    Gsm,
    Transliterate,
}

/// What becomes of a doubtful submission.
#[derive(ToSchema)]
#[schema(as = OnDoubt, rename_all = "snake_case")]
#[allow(dead_code)]
pub(super) enum OnDoubtWord {
    Resend,
    Fail,
}

/// Every member of a message body that is understood.
const FIELDS: [&str; 23] = [
    "to",
    "from",
    "text",
    "send_at",
    "validity",
    "class",
    "type",
    "reference",
    "encoding",
    "max_parts",
    "priority",
    "webhook_url",
    "metadata",
    "on_doubt",
    "template",
    "params",
    "anchors",
    "offset",
    "schedule_key",
    "once_key",
    "signature",
    "purpose",
    "fallback",
];

/// A draft as far as it could be read, and what could not.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// What could be read.
    pub(super) draft: Draft,
    /// What was wrong.
    pub(super) errors: Vec<InputError>,
    /// One bit a member of [`FIELDS`] that was there.
    seen: u32,
}

/// Reads the body of one message.
///
/// # Errors
/// It is not JSON.
pub(super) fn message(body: &[u8]) -> Result<Decoded, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let decoded = MessageSeed.deserialize(&mut json)?;
    json.end()?;
    Ok(decoded)
}

impl From<Draft> for Decoded {
    /// A draft that was put together from what had been read.
    fn from(draft: Draft) -> Self {
        Self {
            draft,
            ..Self::default()
        }
    }
}

impl Decoded {
    fn error(
        &mut self,
        pointer: impl Into<Cow<'static, str>>,
        code: &'static str,
        detail: impl Into<String>,
    ) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(InputError::at(pointer, code, detail));
        }
    }

    fn require(&mut self, name: &'static str) {
        // A template gives the text.
        let templated = name == "text" && self.saw("template");
        if !self.saw(name) && !templated {
            self.error(format!("/{name}"), "required", format!("{name} is missing"));
        }
    }

    /// True if this member was there.
    fn saw(&self, name: &str) -> bool {
        FIELDS
            .iter()
            .position(|field| *field == name)
            .is_some_and(|bit| self.seen & (1 << bit) != 0)
    }

    /// True if the member at `pointer`, or the whole, is already known to be wrong.
    pub(super) fn has_error(&self, pointer: &str) -> bool {
        self.errors.iter().any(
            |error| matches!(error.pointer.as_deref(), Some(p) if p == pointer || p.is_empty()),
        )
    }

    /// Takes one member.
    fn member(&mut self, name: &str, value: Value) {
        let Some(bit) = FIELDS.iter().position(|field| *field == name) else {
            self.stranger(name);
            return;
        };
        let field = FIELDS[bit];
        if self.seen & (1 << bit) != 0 {
            self.error(
                format!("/{field}"),
                "duplicate_field",
                format!("{field} is there twice"),
            );
            return;
        }
        self.seen |= 1 << bit;
        if let Err((code, detail)) = set(&mut self.draft, field, value) {
            self.error(format!("/{field}"), code, detail);
        }
    }

    /// Refuses a member that is not understood.
    fn stranger(&mut self, name: &str) {
        let shown: String = name.chars().take(NAME_SHOWN).collect();
        let pointer = shown.replace('~', "~0").replace('/', "~1");
        self.error(
            format!("/{pointer}"),
            "unknown_field",
            "there is no such field; check its spelling",
        );
    }
}

type Wrong = (&'static str, String);

fn wrong_type(wanted: &str, value: &Value) -> Wrong {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    ("wrong_type", format!("it must be {wanted}, not {got}"))
}

fn text(value: Value) -> Result<String, Wrong> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type("a string", &other)),
    }
}

fn natural(value: &Value) -> Result<u64, Wrong> {
    value.as_u64().ok_or_else(|| match value {
        Value::Number(_) => (
            "out_of_range",
            "it must be a whole number, not negative".into(),
        ),
        other => wrong_type("a whole number", other),
    })
}

/// One of several words.
fn word<T: Copy>(value: Value, words: &[(&str, T)]) -> Result<T, Wrong> {
    let given = text(value)?;
    words
        .iter()
        .find(|(name, _)| *name == given)
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| {
            let names: Vec<_> = words.iter().map(|(name, _)| format!("{name:?}")).collect();
            (
                "unknown_value",
                format!("it must be {}", names.join(" or ")),
            )
        })
}

fn set(draft: &mut Draft, field: &'static str, value: Value) -> Result<(), Wrong> {
    match field {
        "to" => draft.to = text(value)?,
        "text" => draft.text = text(value)?,
        // Elsewhere null says the same as leaving it out.
        _ if value.is_null() => {}
        "from" => draft.from = Some(text(value)?),
        // Either an instant, or what one is reckoned from.
        "send_at" => match value {
            Value::Object(members) => {
                let (mut anchors, mut offset_ms) = (Vec::new(), None);
                for (name, value) in members {
                    match name.as_str() {
                        "anchors" => anchors = instants(value)?,
                        "offset" => offset_ms = Some(offset(value)?),
                        _ => return Err(("unknown_field", "give anchors and offset".into())),
                    }
                }
                if anchors.is_empty() {
                    return Err(("anchor_missing", NO_ANCHOR.into()));
                }
                (draft.anchors, draft.offset_ms) = (anchors, offset_ms);
            }
            value => draft.send_at = Some(instant(value)?),
        },
        "anchors" => draft.anchors = instants(value)?,
        "offset" => draft.offset_ms = Some(offset(value)?),
        "template" => draft.template = Some(text(value)?),
        "params" => match value {
            Value::Object(map) => draft.params = Some(map),
            other => return Err(wrong_type("an object", &other)),
        },
        "schedule_key" => draft.schedule_key = Some(text(value)?),
        "once_key" => draft.once_key = Some(text(value)?),
        "signature" => match value {
            Value::Bool(wanted) => draft.signature = Some(wanted),
            other => return Err(wrong_type("true or false", &other)),
        },
        "purpose" => draft.purpose = Some(text(value)?),
        "fallback" => draft.fallback = fallback::steps(value)?,
        "validity" => draft.validity = Some(duration(value)?),
        "class" => {
            draft.class = Some(word(
                value,
                &[
                    ("transactional", Class::Transactional),
                    ("commercial", Class::Commercial),
                ],
            )?);
        }
        "type" => draft.kind = Some(text(value)?),
        "reference" => draft.reference = Some(text(value)?),
        "encoding" => {
            draft.encoding = Some(word(
                value,
                &[
                    ("auto", Encoding::Auto),
                    ("gsm", Encoding::Gsm),
                    ("transliterate", Encoding::Transliterate),
                ],
            )?);
        }
        "max_parts" => {
            draft.max_parts = Some(usize::try_from(natural(&value)?).unwrap_or(usize::MAX));
        }
        // What is too large for the type is too large for the rule, which is the engine's.
        "priority" => draft.priority = Some(u8::try_from(natural(&value)?).unwrap_or(u8::MAX)),
        "webhook_url" => draft.webhook_url = Some(text(value)?),
        "metadata" => match value {
            Value::Object(map) => draft.metadata = Some(map),
            other => return Err(wrong_type("an object", &other)),
        },
        "on_doubt" => {
            draft.on_doubt = Some(word(
                value,
                &[("resend", OnDoubt::Resend), ("fail", OnDoubt::Fail)],
            )?);
        }
        // `field` comes from FIELDS; the test `every_field_is_set` holds the two together.
        _ => {}
    }
    Ok(())
}

fn instant(value: Value) -> Result<Timestamp, Wrong> {
    Timestamp::parse_rfc3339(&text(value)?).ok_or_else(|| {
        (
            "time_invalid",
            "it must be RFC 3339 with an offset, such as 2026-10-05T19:00:00+02:00".into(),
        )
    })
}

/// Instants that a plan may be reckoned from, at most.
const ANCHORS_MAX: usize = 100;
const NO_ANCHOR: &str = "give \"anchors\" with at least one instant that the time is reckoned from";

fn instants(value: Value) -> Result<Vec<Timestamp>, Wrong> {
    match value {
        Value::Array(list) if list.len() > ANCHORS_MAX => Err((
            "out_of_range",
            format!("give at most {ANCHORS_MAX} anchors"),
        )),
        // Without any it would be sent at once, which nobody means who speaks of anchors.
        Value::Array(list) if list.is_empty() => Err(("anchor_missing", NO_ANCHOR.into())),
        Value::Array(list) => list.into_iter().map(instant).collect(),
        one => Ok(vec![instant(one)?]),
    }
}

/// Milliseconds: a duration that may stand behind a minus.
fn offset(value: Value) -> Result<i64, Wrong> {
    let (value, sign) = match &value {
        Value::String(text) => match text.trim().strip_prefix('-') {
            Some(rest) => (Value::from(rest), -1),
            None => (value, 1),
        },
        Value::Number(seconds) => match seconds.as_i64() {
            Some(seconds) if seconds < 0 => (Value::from(seconds.unsigned_abs()), -1),
            _ => (value, 1),
        },
        _ => (value, 1),
    };
    let millis = i64::try_from(duration(value)?.as_millis()).unwrap_or(i64::MAX);
    Ok(sign * millis)
}

/// Whole seconds, or text such as `48h`, `90s`, `1h30m`, `250ms`, `2d`.
fn duration(value: Value) -> Result<Duration, Wrong> {
    let seconds = match &value {
        Value::String(text) => parse_duration(text),
        Value::Number(_) => value.as_u64().map(Duration::from_secs),
        other => {
            return Err(wrong_type(
                "whole seconds or a string such as \"48h\"",
                other,
            ));
        }
    };
    seconds.ok_or_else(|| {
        (
            "duration_invalid",
            "it must be whole seconds or a string such as \"48h\", \"30m\" or \"2d\"".into(),
        )
    })
}

/// Reads numbers each followed by `ms`, `s`, `m`, `h` or `d`, added up.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = tail.trim_start();
    }
    Some(total)
}

/// A member's name, borrowed from the body where it holds no escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Answers every kind of JSON but an object with an error of the whole.
macro_rules! not_an_object {
    ($de:lifetime, $make:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($make)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($make)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($make)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($make)
        }
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok($make)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($make)
        }
        fn visit_seq<A: SeqAccess<$de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok($make)
        }
    };
}

use not_an_object;

fn no_object() -> Decoded {
    let mut decoded = Decoded::default();
    decoded.error("", "wrong_type", "it must be a JSON object");
    decoded
}

/// Reads one message object.
struct MessageSeed;

impl<'de> DeserializeSeed<'de> for MessageSeed {
    type Value = Decoded;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Decoded, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed {
    type Value = Decoded;

    not_an_object!('de, no_object());

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Decoded, A::Error> {
        let mut decoded = Decoded::default();
        while let Some(Name(name)) = map.next_key()? {
            decoded.member(&name, map.next_value()?);
        }
        decoded.require("to");
        decoded.require("text");
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests;
