//! The two shapes of a batch body: messages each with its own text, or one text for several.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{
    Decoded, FIELDS, MessageSeed, Name, Wrong, no_object, not_an_object, text, wrong_type,
};
use crate::domain::trace::TraceParent;
use crate::http::problem::InputError;

/// The recipients of a batch body.
#[derive(Debug)]
pub(in crate::http) enum Batch {
    /// Each message with its own text.
    Messages(Vec<Decoded>),
    /// One text for several recipients.
    Fanout {
        /// What is common; its `to` is empty.
        common: Box<Decoded>,
        /// The recipients, or what is wrong with one.
        to: Vec<Result<Recipient, InputError>>,
    },
}

/// One recipient of a text for several.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Recipient {
    /// Its number, in any usual writing.
    pub(in crate::http) to: String,
    /// What the template's variables stand for in its text, besides what is common.
    pub(in crate::http) params: Option<Map<String, Value>>,
}

impl Batch {
    /// Gives each message the trace context of the request.
    pub(in crate::http) fn trace(&mut self, trace: Option<TraceParent>) {
        match self {
            Self::Messages(messages) => messages.iter_mut().for_each(|m| m.draft.trace = trace),
            Self::Fanout { common, .. } => common.draft.trace = trace,
        }
    }
}

impl Batch {
    /// Where its items stand in the body, if each has fields of its own.
    pub(in crate::http) const fn prefix(&self) -> Option<&'static str> {
        match self {
            Self::Messages(_) => Some("/messages"),
            Self::Fanout { .. } => None,
        }
    }
}

/// Why a batch body was not read.
#[derive(Debug)]
pub(in crate::http) enum BatchError {
    /// It is not JSON.
    Json(serde_json::Error),
    /// It is not a batch.
    Input(Vec<InputError>),
    /// It has this many recipients.
    TooMany(usize),
}

/// Reads the body of a batch of at most `limit` recipients.
///
/// # Errors
/// It is not JSON, not a batch, or has too many recipients.
pub(in crate::http) fn read(body: &[u8], limit: usize) -> Result<Batch, BatchError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = BatchSeed { limit }
        .deserialize(&mut json)
        .and_then(|read| json.end().map(|()| read))
        .map_err(BatchError::Json)?;
    let BatchBody {
        mut common,
        messages,
        to,
    } = read;
    let invalid = |error| Err(BatchError::Input(vec![error]));
    match (messages, to) {
        (Some(_), Some(_)) => invalid(InputError::at(
            "/to",
            "messages_or_to",
            "give \"messages\" or \"to\", not both",
        )),
        (None, None) => {
            if common.errors.is_empty() {
                common.error(
                    "/messages",
                    "required",
                    "give \"messages\", or \"to\" as a list and \"text\"",
                );
            }
            Err(BatchError::Input(common.errors))
        }
        (Some(list), None) if list.count > limit => Err(BatchError::TooMany(list.count)),
        (None, Some(list)) if list.count > limit => Err(BatchError::TooMany(list.count)),
        (Some(list), None) => {
            for (bit, name) in FIELDS.iter().enumerate() {
                if common.seen & (1 << bit) != 0 {
                    common.error(
                        format!("/{name}"),
                        "messages_or_to",
                        "beside \"messages\" nothing else is read; put it into each message",
                    );
                }
            }
            if list.count == 0 && common.errors.is_empty() {
                common.error("/messages", "batch_empty", "give at least one message");
            }
            if common.errors.is_empty() {
                Ok(Batch::Messages(list.items))
            } else {
                Err(BatchError::Input(common.errors))
            }
        }
        (None, Some(list)) => {
            if list.count == 0 {
                common.error("/to", "batch_empty", "give at least one recipient");
            }
            common.require("text");
            if common.errors.is_empty() {
                Ok(Batch::Fanout {
                    common: Box::new(common),
                    to: list.items,
                })
            } else {
                Err(BatchError::Input(common.errors))
            }
        }
    }
}

/// What a batch body holds.
struct BatchBody {
    common: Decoded,
    messages: Option<Bounded<Decoded>>,
    to: Option<Bounded<Result<Recipient, InputError>>>,
}

/// A list of which no more than a limit is kept, and all is counted.
struct Bounded<T> {
    items: Vec<T>,
    count: usize,
}

/// Reads a batch object.
struct BatchSeed {
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for BatchSeed {
    type Value = BatchBody;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<BatchBody, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BatchSeed {
    type Value = BatchBody;

    not_an_object!('de, BatchBody { common: no_object(), messages: None, to: None });

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BatchBody, A::Error> {
        let mut body = BatchBody {
            common: Decoded::default(),
            messages: None,
            to: None,
        };
        while let Some(Name(name)) = map.next_key()? {
            match &*name {
                "messages" | "to"
                    if body.messages.is_some() && name == "messages"
                        || body.to.is_some() && name == "to" =>
                {
                    map.next_value::<IgnoredAny>()?;
                    let (pointer, detail) = (format!("/{name}"), format!("{name} is there twice"));
                    body.common.error(pointer, "duplicate_field", detail);
                }
                "messages" => {
                    let seed = ListSeed {
                        limit: self.limit,
                        read: |_| MessageSeed,
                    };
                    match map.next_value_seed(seed)? {
                        Some(list) => body.messages = Some(list),
                        None => body
                            .common
                            .error("/messages", "wrong_type", "it must be a list"),
                    }
                }
                "to" => {
                    let seed = ListSeed {
                        limit: self.limit,
                        read: |index| RecipientSeed { index },
                    };
                    match map.next_value_seed(seed)? {
                        Some(list) => body.to = Some(list),
                        None => body.common.error("/to", "wrong_type", "it must be a list"),
                    }
                }
                name => {
                    let value = map.next_value()?;
                    body.common.member(name, value);
                }
            }
        }
        Ok(body)
    }
}

/// Reads a list, keeping at most `limit` items; anything else is `None`.
struct ListSeed<F> {
    limit: usize,
    read: F,
}

impl<'de, S, F> DeserializeSeed<'de> for ListSeed<F>
where
    F: Fn(usize) -> S,
    S: DeserializeSeed<'de>,
{
    type Value = Option<Bounded<S::Value>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S, F> Visitor<'de> for ListSeed<F>
where
    F: Fn(usize) -> S,
    S: DeserializeSeed<'de>,
{
    type Value = Option<Bounded<S::Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.limit
            && let Some(item) = list.next_element_seed((self.read)(items.len()))?
        {
            items.push(item);
        }
        let mut count = items.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Some(Bounded { items, count }))
    }
}

/// Reads one recipient of a list.
struct RecipientSeed {
    index: usize,
}

impl<'de> DeserializeSeed<'de> for RecipientSeed {
    type Value = Result<Recipient, InputError>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        let value = Value::deserialize(json)?;
        let place = format!("/to/{}", self.index);
        Ok(recipient(value)
            .map_err(|(member, (code, detail))| InputError::at(place + member, code, detail)))
    }
}

/// Reads a number, or a number with the values of its text; what is wrong, and in which member.
fn recipient(value: Value) -> Result<Recipient, (&'static str, Wrong)> {
    let members = match value {
        Value::Object(members) => members,
        number => {
            return Ok(Recipient {
                to: text(number).map_err(|wrong| ("", wrong))?,
                params: None,
            });
        }
    };
    let mut recipient = Recipient::default();
    let mut named = false;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("to", number) => {
                recipient.to = text(number).map_err(|wrong| ("/to", wrong))?;
                named = true;
            }
            ("params", Value::Object(params)) => recipient.params = Some(params),
            ("params", Value::Null) => {}
            ("params", other) => return Err(("/params", wrong_type("an object", &other))),
            _ => {
                let detail = "a recipient has to and params; put the rest beside the list";
                return Err(("", ("unknown_field", detail.to_owned())));
            }
        }
    }
    if !named {
        return Err(("/to", ("required", "to is missing".to_owned())));
    }
    Ok(recipient)
}
