//! The steps of a message's way, as a caller writes them.

use serde_json::{Map, Value};

use super::{Wrong, duration, text, word, wrong_type};
use crate::domain::chain::{Step, SuccessOn, Way};

/// Most steps that are looked at.
const LOOKED_AT: usize = 100;

/// Reads the list of steps.
pub(super) fn steps(value: Value) -> Result<Vec<Step>, Wrong> {
    let list = match value {
        Value::Array(list) => list,
        other => return Err(wrong_type("a list", &other)),
    };
    let numbered = list.into_iter().take(LOOKED_AT).enumerate();
    let steps = numbered.map(|(index, item)| {
        let read = match item {
            Value::Object(members) => step(members),
            other => Err(wrong_type("an object", &other)),
        };
        read.map_err(|(code, detail)| (code, format!("step {index}: {detail}")))
    });
    steps.collect()
}

/// A member that must be there, be it null.
fn said(value: Option<Value>, name: &str) -> Result<Option<Value>, Wrong> {
    match value {
        Some(value) => Ok(Some(value)),
        None => Err((
            "required",
            format!("{name} is missing; where there is none, write null"),
        )),
    }
}

fn step(mut members: Map<String, Value>) -> Result<Step, Wrong> {
    let mut take = |name: &str| members.remove(name);
    let Some(channel) = take("channel") else {
        return Err(("required", "channel is missing".to_owned()));
    };
    let words = [
        ("sms", "sms"),
        ("app", "app"),
        ("webhook", "app"),
        ("email", "email"),
    ];
    let way = match word(channel, &words).map_err(|error| within("channel", error))? {
        "app" => Way::App {
            url: one(said(take("url"), "url")?).map_err(|error| within("url", error))?,
        },
        "email" => Way::Email {
            to: one(said(take("to"), "to")?).map_err(|error| within("to", error))?,
            subject: one(take("subject")).map_err(|error| within("subject", error))?,
        },
        _ => Way::Sms,
    };
    // Nobody reports that an e-mail has been read, so that there is but one answer for it.
    let usual = match way {
        Way::Email { .. } => SuccessOn::Accepted,
        Way::Sms | Way::App { .. } => SuccessOn::Delivered,
    };
    let words = [
        ("accepted", SuccessOn::Accepted),
        ("delivered", SuccessOn::Delivered),
    ];
    let success_on = match take("success_on").filter(|value| !value.is_null()) {
        Some(value) => word(value, &words).map_err(|error| within("success_on", error))?,
        None => usual,
    };
    let deadline = match take("deadline").filter(|value| !value.is_null()) {
        Some(value) => Some(duration(value).map_err(|error| within("deadline", error))?),
        None => None,
    };
    // One of nothing is too short, and not what stands for none.
    let deadline_ms = deadline.map_or(0, |deadline| {
        u64::try_from(deadline.as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    });
    if let Some(stranger) = members.keys().next() {
        let shown: String = stranger.chars().take(super::NAME_SHOWN).collect();
        return Err((
            "unknown_field",
            format!("there is no field {shown:?} in a step over {}", way.word()),
        ));
    }
    Ok(Step::new(way, success_on, deadline_ms))
}

/// A text; null and nothing say the same.
fn one(value: Option<Value>) -> Result<Option<String>, Wrong> {
    value.filter(|value| !value.is_null()).map(text).transpose()
}

fn within(name: &str, (code, detail): Wrong) -> Wrong {
    (code, format!("{name}: {detail}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_are_read_with_what_is_usual_for_their_channels() {
        let read = steps(json!([
            {"channel": "webhook", "url": "https://club.example/push", "deadline": "5m"},
            {"channel": "email", "to": "a@example.org", "subject": "Bonjour"},
            {"channel": "app", "url": null, "success_on": "accepted"},
            {"channel": "sms"},
        ]));
        let read = read.unwrap();
        let words: Vec<_> = read
            .iter()
            .map(|step| (step.way.word(), step.success_on.word(), step.deadline_ms))
            .collect();
        assert_eq!(
            words,
            [
                ("app", "delivered", 300_000),
                ("email", "accepted", 0),
                ("app", "accepted", 0),
                ("sms", "delivered", 0)
            ]
        );
        assert_eq!(read[2].way, Way::App { url: None });
    }

    #[test]
    fn what_is_wrong_with_a_step_is_said_with_its_number() {
        for (value, code, part) in [
            (json!({}), "wrong_type", "a list"),
            (json!([1]), "wrong_type", "step 0: it must be an object"),
            (
                json!([{"channel": "sms"}, {}]),
                "required",
                "step 1: channel",
            ),
            (
                json!([{"channel": "fax"}]),
                "unknown_value",
                "step 0: channel",
            ),
            (
                json!([{"channel": "sms", "url": "x"}]),
                "unknown_field",
                "\"url\"",
            ),
            (json!([{"channel": "app", "url": 1}]), "wrong_type", "url"),
            (
                json!([{"channel": "sms", "success_on": "read"}]),
                "unknown_value",
                "success_on",
            ),
            (
                json!([{"channel": "sms", "deadline": "soon"}]),
                "duration_invalid",
                "deadline",
            ),
        ] {
            let (got, detail) = steps(value.clone()).unwrap_err();
            assert_eq!(got, code, "{value}");
            assert!(detail.contains(part), "{detail}");
        }
    }
}
