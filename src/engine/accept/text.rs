//! What the message says: its text, as it will be sent.
//!
//! The text comes from the caller or from a template; the signature and the mention of STOP are put
//! around it; what is longer than allowed is refused or cut. All of that counts in parts and
//! characters, so that what is shown, priced and sent is one text.

use super::{Advice, Asking, Draft, Encoding, FieldError, Wording};
use crate::domain::message::Class;
use crate::domain::policy::Operator;
use crate::domain::sender::Sender;
use crate::domain::tenant::{Overflow, Signature};
use crate::domain::terms::Terms;
use crate::domain::text::{Prepared, TextRules};
use crate::domain::wording::{Answer, Frame, Room, cut_to};
use crate::pdu::segment::Alphabet;

mod source;

use source::Source;
pub(super) use source::is_bound_to_templates;

/// Longest text that is looked at, in characters: more than ten parts of GSM text can hold.
const TEXT_MAX_CHARS: usize = 4000;

/// Checks the text, which it takes, and plans its parts.
pub(super) fn check(
    draft: &mut Draft,
    asking: &Asking<'_>,
    rules: &TextRules,
    operator: &Operator,
    from: Option<&Sender>,
    terms: &mut Terms,
    (errors, advice): (&mut Vec<FieldError>, &mut Vec<Advice>),
) -> Option<(Prepared, Wording)> {
    let before = errors.len();
    if draft.max_parts == Some(0) {
        errors.push(FieldError::new(
            "/max_parts",
            "max_parts_out_of_range",
            "max_parts is at least 1",
        ));
    }
    let source = source::of(draft, asking, errors);
    let answer = answer(draft, asking, operator, from, errors, advice);
    let source = source?;
    check_characters(&source, draft.preview, errors, advice);
    let signature = source.signature(draft, asking.settings, errors);
    if errors.len() > before {
        return None;
    }
    let text = Text {
        asking,
        rules,
        encoding: (draft.encoding.or(asking.settings.encoding)).unwrap_or_default(),
        room: room(draft, asking),
        signature,
        answer,
    };
    let (prepared, wording) = text.put_together(&source, errors)?;
    terms.truncated = wording.own_chars < source.text.chars().count();
    if terms.truncated {
        advice.push(Advice {
            code: "truncated",
            detail: format!(
                "the text is cut from {} characters to {}",
                source.text.chars().count(),
                wording.own_chars
            ),
        });
    }
    terms.template = draft.template.take();
    Some((prepared, wording))
}

/// Holds a text that was accepted to the sender that it has now: its recipient must still know how to
/// answer STOP.
pub(super) fn check_kept(
    prepared: &Prepared,
    draft: &Draft,
    asking: &Asking<'_>,
    operator: &Operator,
    from: Option<&Sender>,
    errors: &mut Vec<FieldError>,
) {
    let answer = answer(draft, asking, operator, from, errors, &mut Vec::new());
    let language = asking.settings.language;
    if let Some(mention) = answer.and_then(|answer| answer.mention(&prepared.text, language)) {
        errors.push(FieldError::new(
            "/from",
            "stop_mention_missing",
            format!(
                "the text does not say {mention:?}, which this sender needs; give the text too"
            ),
        ));
    }
}

/// What is asked of any text.
fn check_characters(
    source: &Source,
    preview: bool,
    errors: &mut Vec<FieldError>,
    advice: &mut Vec<Advice>,
) {
    let (text, pointer) = (source.text.as_str(), source.pointer());
    if text.trim().is_empty() {
        let detail = "the text is empty; give at least one character";
        if preview {
            let (code, detail) = ("text_empty", detail.to_owned());
            advice.push(Advice { code, detail });
        } else {
            errors.push(FieldError::new(pointer, "text_empty", detail));
        }
    } else if text.chars().count() > TEXT_MAX_CHARS {
        errors.push(FieldError::new(
            pointer,
            "text_too_long",
            format!("the text has more than {TEXT_MAX_CHARS} characters; shorten it"),
        ));
    } else if let Some(bad) = text
        .chars()
        .find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        errors.push(FieldError::new(
            pointer,
            "text_control_character",
            format!(
                "the text holds the control character U+{:04X}; remove it",
                u32::from(bad)
            ),
        ));
    }
}

/// How the recipient of marketing answers STOP; `None` where the message is none.
fn answer(
    draft: &Draft,
    asking: &Asking<'_>,
    operator: &Operator,
    from: Option<&Sender>,
    errors: &mut Vec<FieldError>,
    advice: &mut Vec<Advice>,
) -> Option<Answer> {
    if draft.class() != Class::Commercial {
        return None;
    }
    let face = asking.policy.first_face(operator);
    let sender = from.or_else(|| face?.sender.as_ref());
    let answer = Answer::to(sender, face.and_then(|face| face.stop.as_deref()));
    let account = operator.first_account().map_or("?", |name| name.as_str());
    match answer {
        Answer::Nowhere => errors.push(FieldError::new(
            "/from",
            "stop_number_missing",
            format!(
                "nobody can answer STOP to a sender that is a name, and the account {account} has no \
                 number for it; set stop in [smpp.{account}], or send from a short code"
            ),
        )),
        Answer::Unknown => advice.push(Advice {
            code: "stop_unknown",
            detail: format!(
                "the carrier of account {account} puts in the sender, and there is no stop in \
                 [smpp.{account}]; make sure that recipients can answer STOP"
            ),
        }),
        Answer::To(_) | Answer::Back(_) => {}
    }
    Some(answer)
}

/// How long the text may be; the limit of the installation holds for all.
fn room(draft: &Draft, asking: &Asking<'_>) -> Room {
    let settings = asking.settings;
    let splits = settings.overflow == Overflow::Split;
    let tenants = |limit: Option<u32>| match limit {
        Some(limit) if !splits => usize::try_from(limit).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    Room {
        chars: tenants(settings.max_length),
        parts: draft
            .max_parts
            .unwrap_or(usize::MAX)
            .min(tenants(settings.max_parts))
            .min(asking.policy.limits.max_parts),
    }
}

/// What a text is put together by.
struct Text<'a> {
    asking: &'a Asking<'a>,
    rules: &'a TextRules,
    encoding: Encoding,
    room: Room,
    signature: Option<&'a Signature>,
    answer: Option<Answer>,
}

impl Text<'_> {
    /// The text with what stands around it, refused or cut where it is too long.
    fn put_together(
        &self,
        source: &Source,
        errors: &mut Vec<FieldError>,
    ) -> Option<(Prepared, Wording)> {
        let body = source.text.as_str();
        let mut mention = self.mention(&Frame::new(self.signature, None).around(body));
        let mut frame = Frame::new(self.signature, mention.as_deref());
        let prepared = self.rules.prepare(frame.around(body), self.encoding);
        if self.encoding == Encoding::Gsm && prepared.plan.alphabet != Alphabet::Gsm7 {
            let strangers = self.rules.strangers(&prepared.text);
            let characters: String = strangers.iter().map(|(c, _)| c).take(20).collect();
            errors.push(FieldError::new(
                source.pointer(),
                "text_not_gsm",
                format!(
                    "{characters:?} have no place in the GSM alphabet; use encoding \
                     \"transliterate\" or \"auto\""
                ),
            ));
            return None;
        }
        if self.room.holds(&prepared) {
            return Some((prepared, self.wording(body, mention)));
        }
        if self.asking.settings.overflow != Overflow::Truncate {
            errors.push(self.too_long(&prepared, source));
            return None;
        }
        let cut = |frame: &Frame| cut_to(self.room, body, frame, self.rules, self.encoding);
        let mut found = cut(&frame);
        // The text's own mention may be in what was cut off.
        if mention.is_none()
            && let Some((prepared, _)) = &found
        {
            mention = self.mention(&prepared.text);
            if mention.is_some() {
                frame = Frame::new(self.signature, mention.as_deref());
                found = cut(&frame);
            }
        }
        let Some((prepared, end)) = found else {
            errors.push(FieldError::new(
                source.pointer(),
                "text_no_room",
                "beside the signature and the mention of STOP nothing of the text finds room; \
                 shorten the signature, or allow more characters or parts",
            ));
            return None;
        };
        Some((prepared, self.wording(&body[..end], mention)))
    }

    fn mention(&self, text: &str) -> Option<String> {
        let language = self.asking.settings.language;
        self.answer.as_ref()?.mention(text, language)
    }

    fn wording(&self, sent: &str, stop: Option<String>) -> Wording {
        Wording {
            signature: self.signature.map(|signature| signature.text.clone()),
            stop,
            own_chars: sent.chars().count(),
            max_chars: u32::try_from(self.room.chars).ok(),
        }
    }

    fn too_long(&self, prepared: &Prepared, source: &Source) -> FieldError {
        let (parts, chars) = (prepared.plan.count(), prepared.text.chars().count());
        let Room {
            chars: most_chars,
            parts: most_parts,
        } = self.room;
        if parts > most_parts {
            return FieldError::new(
                source.pointer(),
                "text_too_many_parts",
                format!(
                    "the text needs {parts} parts and at most {most_parts} are allowed; shorten it"
                ),
            );
        }
        FieldError::new(
            source.pointer(),
            "text_too_long",
            format!(
                "the text has {chars} characters with what stands around it and at most \
                 {most_chars} are allowed; shorten it"
            ),
        )
    }
}
