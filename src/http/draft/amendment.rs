//! The body of `PATCH /v1/messages/{id}`: some members of a message.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Decoded, EncodingWord, FIELDS, Name, SecondsOrText, no_object, not_an_object};
use crate::engine::accept::{Amendment, Encoding};
use crate::http::problem::InputError;

/// The members that can be changed.
const CHANGEABLE: [&str; 14] = [
    "text",
    "template",
    "params",
    "signature",
    "encoding",
    "max_parts",
    "send_at",
    "anchors",
    "offset",
    "validity",
    "from",
    "priority",
    "webhook_url",
    "metadata",
];

/// The body, as the OpenAPI document describes it.
#[derive(ToSchema)]
#[schema(as = MessageChange)]
#[allow(dead_code)]
pub(in crate::http) struct MessageChange {
    /// The text.
    text: Option<String>,
    /// Name of a template, in place of `text`.
    template: Option<String>,
    /// What the template's variables stand for.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
    /// Whether the tenant's signature is added to the new text.
    signature: Option<bool>,
    /// How the alphabet of the new text is chosen.
    #[schema(value_type = Option<EncodingWord>)]
    encoding: Option<Encoding>,
    /// Most parts of the new text that may be paid for.
    max_parts: Option<usize>,
    /// Not before this instant.
    send_at: Option<chrono::DateTime<chrono::Utc>>,
    /// In place of `send_at`: instants of which the earliest rules.
    anchors: Option<Vec<chrono::DateTime<chrono::Utc>>>,
    /// How long after the earliest anchor, such as "2h"; before it with a minus, such as "-3h".
    offset: Option<String>,
    /// How long it is worth delivering, from when it may leave.
    #[schema(value_type = Option<SecondsOrText>)]
    validity: Option<Value>,
    /// Sender; null: the tenant's, or the account's own.
    from: Option<String>,
    /// 0 to 3.
    priority: Option<u8>,
    /// Where to post its changes of status; null: nowhere.
    webhook_url: Option<String>,
    /// A JSON object, kept and given back; null: none.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
}

/// Reads the body of a change.
///
/// # Errors
/// It is not JSON; or, inside, every field that is wrong.
pub(in crate::http) fn read(
    body: &[u8],
) -> Result<Result<Amendment, Vec<InputError>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let Change { decoded, taken } = Change::deserialize(&mut json)?;
    json.end()?;
    if !decoded.errors.is_empty() {
        return Ok(Err(decoded.errors));
    }
    let says = |names: &[&str]| names.iter().any(|name| decoded.saw(name));
    let takes = |name| taken.contains(&name);
    Ok(Ok(Amendment {
        text: says(&["text", "template", "params"]),
        time: says(&["send_at", "anchors", "offset", "validity"]),
        no_sender: takes("from"),
        no_webhook: takes("webhook_url"),
        no_metadata: takes("metadata"),
        draft: decoded.draft,
    }))
}

/// What was read.
struct Change {
    decoded: Decoded,
    /// What is taken away.
    taken: Vec<&'static str>,
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ChangeVisitor)
    }
}

struct ChangeVisitor;

impl<'de> Visitor<'de> for ChangeVisitor {
    type Value = Change;

    not_an_object!('de, Change { decoded: no_object(), taken: Vec::new() });

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Change, A::Error> {
        let (mut decoded, mut taken) = (Decoded::default(), Vec::new());
        while let Some(Name(name)) = map.next_key()? {
            let value: Value = map.next_value()?;
            match CHANGEABLE.into_iter().find(|known| *known == name) {
                Some(name @ ("from" | "webhook_url" | "metadata")) if value.is_null() => {
                    taken.push(name);
                    decoded.member(name, value);
                }
                Some(name) if value.is_null() => decoded.error(
                    format!("/{name}"),
                    "wrong_type",
                    "a message has this always: give a value, or leave it out",
                ),
                None if FIELDS.contains(&&*name) => decoded.error(
                    format!("/{name}"),
                    "not_changeable",
                    "this stays as it is; cancel the message and post another one",
                ),
                _ => decoded.member(&name, value),
            }
        }
        for (with, without) in [
            ("params", "template"),
            ("signature", "text"),
            ("encoding", "text"),
            ("max_parts", "text"),
        ] {
            let templated = without == "text" && decoded.saw("template");
            if decoded.saw(with) && !decoded.saw(without) && !templated {
                let detail = format!("it is about a new {without}; give that too");
                decoded.error(format!("/{with}"), "required", detail);
            }
        }
        Ok(Change { decoded, taken })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn codes(body: &str) -> Vec<(String, &'static str)> {
        let errors = read(body.as_bytes()).unwrap().unwrap_err();
        let errors = errors.into_iter();
        errors
            .map(|it| (it.pointer.unwrap().into_owned(), it.code))
            .collect()
    }

    #[test]
    fn a_change_says_what_it_is_about() {
        let body = r#"{"send_at":{"anchors":"2026-10-05T19:00:00Z","offset":"-1h"},"from":null}"#;
        let change = read(body.as_bytes()).unwrap().unwrap();
        assert!(change.time && change.no_sender);
        assert!(!change.text && !change.no_webhook && !change.no_metadata);
        assert_eq!(change.draft.offset_ms, Some(-3_600_000));
        let change = read(br#"{"text":"x","signature":false,"priority":3}"#);
        let change = change.unwrap().unwrap();
        assert!(change.text && !change.time);
        assert_eq!(change.draft.priority, Some(3));
        assert!(read(b"{}").unwrap().is_ok());
        assert!(read(b"{").is_err());
    }

    #[test]
    fn what_cannot_be_changed_is_refused_by_name() {
        for (body, pointer, code) in [
            (r#"{"to":"+33612345678"}"#, "/to", "not_changeable"),
            (r#"{"class":"commercial"}"#, "/class", "not_changeable"),
            (r#"{"schedule_key":"k"}"#, "/schedule_key", "not_changeable"),
            (r#"{"status":"sent"}"#, "/status", "unknown_field"),
            (r#"{"send_at":null}"#, "/send_at", "wrong_type"),
            (r#"{"text":null}"#, "/text", "wrong_type"),
            (r#"{"priority":"high"}"#, "/priority", "wrong_type"),
            (r#"{"text":"a","text":"b"}"#, "/text", "duplicate_field"),
            (r#"{"params":{}}"#, "/params", "required"),
            (r#"{"signature":true}"#, "/signature", "required"),
            ("[]", "", "wrong_type"),
        ] {
            assert_eq!(codes(body), [(pointer.to_owned(), code)], "{body}");
        }
    }
}
