//! When: the time that the caller wants, and what it replaces.

use std::time::Duration;

use super::{Asking, Draft, FieldError};
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;

/// Furthest that a message can be planned ahead.
const SEND_AT_MAX: Duration = Duration::from_hours(24 * 366);
/// Longest name of a plan, or of what is told once, in characters.
const NAME_MAX_CHARS: usize = 200;

/// Makes one `send_at` of what the caller has given, and notes the names that it has given.
pub(super) fn check(
    draft: &mut Draft,
    asking: &Asking<'_>,
    terms: &mut Terms,
    errors: &mut Vec<FieldError>,
) {
    for (pointer, name) in [
        ("/schedule_key", &draft.schedule_key),
        ("/once_key", &draft.once_key),
    ] {
        if name.as_deref().is_some_and(is_no_name) {
            let detail = format!("use 1 to {NAME_MAX_CHARS} characters and no control characters");
            errors.push(FieldError::new(pointer, "key_invalid", detail));
        }
    }
    terms.schedule_key = draft.schedule_key.take();
    terms.once_key = draft.once_key.take();
    match reckoned(draft, asking.now) {
        Ok(send_at) => draft.send_at = send_at,
        Err(error) => errors.push(error),
    }
    if draft
        .send_at
        .is_some_and(|at| at > asking.now + SEND_AT_MAX)
    {
        errors.push(FieldError::new(
            "/send_at",
            "send_at_too_far",
            "plan at most 366 days ahead",
        ));
    }
}

fn is_no_name(name: &str) -> bool {
    name.is_empty() || name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control)
}

/// When it is to be sent: the first anchor, and the offset from there.
fn reckoned(draft: &Draft, now: Timestamp) -> Result<Option<Timestamp>, FieldError> {
    let Some(first) = draft.anchors.iter().min() else {
        return match draft.offset_ms {
            None => Ok(draft.send_at),
            Some(_) => Err(FieldError::new(
                "/anchors",
                "anchor_missing",
                "an offset is counted from an anchor; give \"anchors\" with at least one instant",
            )),
        };
    };
    if draft.send_at.is_some() {
        return Err(FieldError::new(
            "/send_at",
            "send_at_and_anchors",
            "give \"send_at\" or \"anchors\", not both",
        ));
    }
    let at = Timestamp(first.millis().saturating_add(draft.offset_ms.unwrap_or(0)));
    if at < now {
        return Err(FieldError::new(
            "/offset",
            "offset_before_now",
            format!(
                "the first anchor is {}, and with the offset it would have been sent at {}, which has passed",
                first.rfc3339(),
                at.rfc3339()
            ),
        ));
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp(hours * HOUR)
    }

    fn code(draft: &Draft, now: Timestamp) -> &'static str {
        reckoned(draft, now).unwrap_err().code
    }

    #[test]
    fn the_first_anchor_rules_in_whatever_order_they_come() {
        for anchors in [[at(30), at(20), at(40)], [at(20), at(40), at(30)]] {
            let mut draft = Draft {
                anchors: anchors.to_vec(),
                offset_ms: Some(-3 * HOUR),
                ..Draft::default()
            };
            assert_eq!(reckoned(&draft, at(0)).unwrap(), Some(at(17)));
            draft.offset_ms = Some(2 * HOUR);
            assert_eq!(reckoned(&draft, at(0)).unwrap(), Some(at(22)));
            draft.offset_ms = None;
            assert_eq!(reckoned(&draft, at(0)).unwrap(), Some(at(20)));
        }
    }

    #[test]
    fn what_cannot_be_reckoned_is_refused_by_name() {
        let anchored = Draft {
            anchors: vec![at(20), at(40)],
            offset_ms: Some(-3 * HOUR),
            ..Draft::default()
        };
        assert_eq!(reckoned(&anchored, at(17)).unwrap(), Some(at(17)));
        assert_eq!(code(&anchored, at(18)), "offset_before_now");
        let both = Draft {
            send_at: Some(at(50)),
            ..anchored.clone()
        };
        assert_eq!(code(&both, at(0)), "send_at_and_anchors");
        let none = Draft {
            anchors: Vec::new(),
            ..anchored.clone()
        };
        assert_eq!(code(&none, at(0)), "anchor_missing");
        for offset in [i64::MIN, i64::MAX] {
            let far = Draft {
                offset_ms: Some(offset),
                ..anchored.clone()
            };
            let reckoned = reckoned(&far, at(0));
            assert_eq!(
                reckoned.is_ok(),
                offset > 0,
                "told to be too far by its caller"
            );
        }
    }
}
