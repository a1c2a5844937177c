//! Holds a draft to every rule, in an order in which no error hides another.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Asking, Checked, Draft, FieldError, Refusal, Wording, consent, hours, plan, price, recipient,
    sender, text, way,
};
use crate::domain::chain::Chain;
use crate::domain::id::Account;
use crate::domain::message::{Class, WaitReason};
use crate::domain::policy::Operator;
use crate::domain::terms::Terms;
use crate::engine::outbox::check_url;

/// Longest caller-given label, in characters.
const LABEL_MAX_CHARS: usize = 200;
/// Largest metadata, in octets of JSON.
const METADATA_MAX: usize = 4096;
/// Shortest and longest validity that a caller may ask for.
pub(super) const VALIDITY_RANGE: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_hours(24 * 14));

/// Holds a draft to every rule; `looked_up` is the operator that a look-up has named.
pub(super) fn check(
    mut draft: Draft,
    asking: &Asking<'_>,
    looked_up: Option<&Arc<Operator>>,
) -> Result<Checked, Vec<FieldError>> {
    let (policy, now) = (asking.policy, asking.now);
    let (mut errors, mut advice, mut terms) = (Vec::new(), Vec::new(), Terms::default());
    if !asking.settings.enabled {
        let error = FieldError::new(
            "",
            "tenant_disabled",
            "sending is switched off for this tenant; an administrator can switch it on again",
        );
        return Err(vec![error.as_refusal(Refusal::Forbidden)]);
    }
    draft.class = draft.class.or(asking.settings.class);
    let kept = std::mem::take(&mut draft.kept);
    let asked = kept
        .to
        .or_else(|| recipient::check(&draft, asking, &mut errors));
    // What waits already goes where it was to go.
    let sandbox = match kept.to {
        Some(_) => None,
        None => recipient::sandbox(asking, &mut errors),
    };
    let to = asked.map(|asked| sandbox.unwrap_or(asked));
    // A number that cannot be read hides no error of the text.
    let by_prefix = || to.map_or(&policy.operators[0], |to| policy.operator_for(to));
    let operator = looked_up.unwrap_or_else(by_prefix);
    let keeps_sender = kept.from.is_some();
    let from = kept
        .from
        .unwrap_or_else(|| sender::check(&draft, asking, operator, &mut errors, &mut advice));
    let rules = policy.first_text_rules(operator);
    // What stays as it was accepted is judged no more, but for whom it says STOP to.
    let worded = match kept.text {
        Some(prepared) => {
            if !keeps_sender {
                text::check_kept(
                    &prepared,
                    &draft,
                    asking,
                    operator,
                    from.as_ref(),
                    &mut errors,
                );
            }
            Some((prepared, Wording::default()))
        }
        None => text::check(
            &mut draft,
            asking,
            &rules,
            operator,
            from.as_ref(),
            &mut terms,
            (&mut errors, &mut advice),
        ),
    };
    check_labels(&draft, &mut errors);
    // Whose route it would go is known only with the number.
    if draft.class() == Class::Commercial
        && to.is_some()
        && let Some(modem) = policy.first_modem(operator)
    {
        errors.push(commercial_on_modem(operator, modem));
    }
    plan::check(&mut draft, asking, &mut terms, &mut errors);
    if let Some(asked) = asked {
        // A trial shows what would become of the message.
        consent::check(&draft, asked, asking, &mut terms, &mut errors);
    }
    if draft
        .validity
        .is_some_and(|v| v < VALIDITY_RANGE.0 || v > VALIDITY_RANGE.1)
    {
        errors.push(FieldError::new(
            "/validity",
            "validity_out_of_range",
            "the validity is between one minute and 14 days, for example \"48h\"",
        ));
    }
    if draft.priority.is_some_and(|priority| priority > 3) {
        errors.push(FieldError::new(
            "/priority",
            "priority_out_of_range",
            "the priority is 0, 1, 2 or 3",
        ));
    }
    if let Some(url) = &draft.webhook_url
        && let Err(problem) = check_url(url, &policy.webhook_allow)
    {
        errors.push(FieldError::new(
            "/webhook_url",
            "webhook_url_refused",
            problem.to_string(),
        ));
    }
    let (Some(asked), Some(to), Some((prepared, wording)), true) =
        (asked, to, worded, errors.is_empty())
    else {
        return Err(errors);
    };
    // Of whom it was for no more is kept than a log says: who looks for a number must find all of it.
    terms.sandbox_for = sandbox.is_some().then(|| asked.masked());
    terms.keep_text_s = asking.settings.keep_texts_s();
    let (due_at, why) = match draft.send_at {
        Some(at) if at > now => (at, WaitReason::ScheduledByClient),
        _ => (now, WaitReason::Accepted),
    };
    let (due_at, why) = if kept.time {
        (due_at, why)
    } else {
        hours::check(
            &draft,
            to,
            operator,
            (due_at, why),
            asking,
            (&mut terms, &mut advice),
            &mut errors,
        )
    };
    way::check(&mut draft, operator, asking, &mut terms, &mut errors);
    price::check(operator, &prepared.plan, asking, &mut terms, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    // Validity starts when the message may first leave, not when it was accepted.
    let validity = draft.validity.unwrap_or(operator.validity);
    if let Some(chain) = &mut terms.chain {
        chain.begin(due_at);
    }
    let first_step = terms.chain.as_ref().and_then(Chain::current);
    let expires_at = first_step.map_or(due_at + validity, |step| step.deadline(due_at));
    Ok(Checked {
        to,
        asked,
        from,
        text: prepared.text,
        plan: prepared.plan,
        replaced: prepared.replaced,
        rules,
        operator: operator.clone(),
        why,
        due_at,
        expires_at,
        terms,
        advice,
        wording,
        draft,
    })
}

/// Marketing never leaves over the SIM of a modem, not even as a later step of its route.
fn commercial_on_modem(operator: &Operator, modem: &Account) -> FieldError {
    FieldError::new(
        "/class",
        "commercial_on_modem",
        format!(
            "the route of operator {} has the modem {modem}, and marketing may not leave over a SIM: \
             in France numbers in 06 and 07 are for people (Arcep decision 2018-0881), marketing \
             over them is prohibited since 2019-08-01, and CPCE art. L34-5 asks for consent besides; \
             use a route without modems",
            operator.name
        ),
    )
}

fn check_labels(draft: &Draft, errors: &mut Vec<FieldError>) {
    for (pointer, value) in [("/type", &draft.kind), ("/reference", &draft.reference)] {
        if let Some(text) = value
            && (text.chars().count() > LABEL_MAX_CHARS || text.chars().any(char::is_control))
        {
            errors.push(FieldError::new(
                pointer,
                "label_invalid",
                format!("use at most {LABEL_MAX_CHARS} characters and no control characters"),
            ));
        }
    }
    if let Some(map) = &draft.metadata
        && serde_json::to_string(map).map_or(usize::MAX, |json| json.len()) > METADATA_MAX
    {
        errors.push(FieldError::new(
            "/metadata",
            "metadata_too_large",
            format!("the metadata is larger than {METADATA_MAX} octets of JSON"),
        ));
    }
}
