//! What the message says: its text, as it will be sent.

use super::{Asking, Draft, Encoding, FieldError};
use crate::domain::policy::Operator;
use crate::domain::sender::Sender;
use crate::domain::terms::Terms;
use crate::domain::text::{Prepared, TextRules};
use crate::pdu::segment::Alphabet;

/// Longest text that is looked at, in characters: more than ten parts of GSM text can hold.
const TEXT_MAX_CHARS: usize = 4000;
/// Checks the text, which it takes, and plans its parts.
pub(super) fn check(
    draft: &mut Draft,
    asking: &Asking<'_>,
    rules: &TextRules,
    _operator: &Operator,
    _from: Option<&Sender>,
    _terms: &mut Terms,
    errors: &mut Vec<FieldError>,
) -> Option<Prepared> {
    let before = errors.len();
    if draft.text.trim().is_empty() {
        errors.push(FieldError::new(
            "/text",
            "text_empty",
            "the text is empty; give at least one character",
        ));
    } else if draft.text.chars().count() > TEXT_MAX_CHARS {
        errors.push(FieldError::new(
            "/text",
            "text_too_long",
            format!("the text has more than {TEXT_MAX_CHARS} characters; shorten it"),
        ));
    } else if let Some(bad) = draft
        .text
        .chars()
        .find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        errors.push(FieldError::new(
            "/text",
            "text_control_character",
            format!(
                "the text holds the control character U+{:04X}; remove it",
                u32::from(bad)
            ),
        ));
    }
    if errors.len() > before {
        return None;
    }
    let prepared = rules.prepare(std::mem::take(&mut draft.text), draft.encoding);
    let plan = &prepared.plan;
    if draft.encoding == Encoding::Gsm && plan.alphabet != Alphabet::Gsm7 {
        let strangers = rules.strangers(&prepared.text);
        let characters: String = strangers.iter().map(|(c, _)| c).take(20).collect();
        errors.push(FieldError::new(
            "/text",
            "text_not_gsm",
            format!("{characters:?} have no place in the GSM alphabet; use encoding \"transliterate\" or \"auto\""),
        ));
    }
    let parts_max = draft
        .max_parts
        .unwrap_or(usize::MAX)
        .min(asking.policy.limits.max_parts);
    if draft.max_parts == Some(0) {
        errors.push(FieldError::new(
            "/max_parts",
            "max_parts_out_of_range",
            "max_parts is at least 1",
        ));
    } else if plan.count() > parts_max {
        errors.push(FieldError::new(
            "/text",
            "text_too_many_parts",
            format!(
                "the text needs {} parts and at most {parts_max} are allowed; shorten it",
                plan.count()
            ),
        ));
    }
    (errors.len() == before).then_some(prepared)
}
