//! Over which channels: the steps of its way.

use std::time::Duration;

use super::text::is_bound_to_templates;
use super::{Asking, Draft, FieldError, Refusal};
use crate::domain::chain::{Chain, Step, SuccessOn, Way};
use crate::domain::id::Lane;
use crate::domain::policy::Operator;
use crate::domain::terms::Terms;
use crate::engine::outbox::check_url;
use crate::engine::relay::email::address;

/// Most steps.
const STEPS_MAX: usize = 8;
/// Shortest and longest time for a step: the deadlines of messages are kept to the minute.
const DEADLINES: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24 * 14));
/// How long an app, and a mail server, are tried where the caller does not say.
const USUAL_APP: Duration = Duration::from_mins(10);
const USUAL_EMAIL: Duration = Duration::from_hours(1);
/// Longest subject, in characters.
const SUBJECT_MAX_CHARS: usize = 200;

/// Makes a way of the steps that the caller has given.
pub(super) fn check(
    draft: &mut Draft,
    operator: &Operator,
    asking: &Asking<'_>,
    terms: &mut Terms,
    errors: &mut Vec<FieldError>,
) {
    let mut steps = std::mem::take(&mut draft.fallback);
    if steps.is_empty() {
        return;
    }
    let before = errors.len();
    let mut wrong = |code, detail: String| errors.push(FieldError::new("/fallback", code, detail));
    if !steps.iter().any(|step| step.way == Way::Sms) {
        // Whoever posts an SMS with channels of fallback wants the SMS first.
        steps.insert(0, Step::new(Way::Sms, SuccessOn::Delivered, 0));
    }
    if steps.len() > STEPS_MAX {
        wrong(
            "fallback_too_long",
            format!("there are {} steps; give at most {STEPS_MAX}", steps.len()),
        );
    }
    if steps.iter().filter(|step| step.way == Way::Sms).count() > 1 {
        wrong(
            "fallback_sms_twice",
            "the SMS can be one step only; its retries are its own".to_owned(),
        );
    }
    for (index, step) in steps.iter_mut().enumerate() {
        // A way that is checked anew, because its message is changed, has not begun.
        *step = Step::new(step.way.clone(), step.success_on, step.deadline_ms);
        let usual = match step.way {
            Way::Sms => draft.validity.unwrap_or(operator.validity),
            Way::App { .. } => USUAL_APP,
            Way::Email { .. } => USUAL_EMAIL,
        };
        if step.deadline_ms == 0 {
            step.deadline_ms = u64::try_from(usual.as_millis()).unwrap_or(u64::MAX);
        } else if !(DEADLINES.0..=DEADLINES.1).contains(&Duration::from_millis(step.deadline_ms)) {
            wrong(
                "fallback_deadline_out_of_range",
                format!("the deadline of step {index} is to be between one minute and 14 days"),
            );
        }
        if let Err((code, detail)) = judge(step, asking) {
            wrong(code, format!("step {index}: {detail}"));
        }
    }
    let worded = |step: &Step| {
        matches!(
            &step.way,
            Way::Email {
                subject: Some(_),
                ..
            }
        )
    };
    let free = draft.kept.to.is_none() && !draft.vetted && is_bound_to_templates(asking);
    if free && steps.iter().any(worded) {
        let detail = "only texts of templates may be sent; leave subject out, the tenant's email_subject \
                      stands there";
        let error = FieldError::new("/fallback", "template_required", detail);
        errors.push(error.as_refusal(Refusal::Forbidden));
    }
    if asking.settings.sandbox.is_some() && steps.iter().any(|step| step.way.is_relay()) {
        errors.push(
            FieldError::new(
                "/fallback",
                "fallback_in_sandbox",
                "everything of this tenant goes to its sandbox number, by SMS alone; leave the steps out",
            )
            .as_refusal(Refusal::Forbidden),
        );
    }
    if errors.len() == before {
        let sms = Lane {
            operator: operator.name.clone(),
        };
        terms.chain = Some(Chain::new(steps, sms));
    }
}

fn judge(step: &Step, asking: &Asking<'_>) -> Result<(), (&'static str, String)> {
    match &step.way {
        Way::Sms => Ok(()),
        Way::App { url: None } => Ok(()),
        Way::App { url: Some(url) } => check_url(url, &asking.policy.webhook_allow)
            .map_err(|problem| ("fallback_url_refused", problem.to_string())),
        Way::Email { to, subject } => {
            if asking.policy.email.is_none() {
                return Err((
                    "fallback_email_not_configured",
                    "this gateway sends no e-mails; its configuration has no [email]".to_owned(),
                ));
            }
            if step.success_on == SuccessOn::Delivered {
                return Err((
                    "fallback_email_not_reported",
                    "nobody reports that an e-mail is with its recipient; write success_on \"accepted\""
                        .to_owned(),
                ));
            }
            if to.as_ref().is_some_and(|to| address(to).is_none()) {
                return Err((
                    "fallback_email_invalid",
                    "\"to\" is no e-mail address; where there is none, write null".to_owned(),
                ));
            }
            let fits = |subject: &String| {
                subject.chars().count() <= SUBJECT_MAX_CHARS
                    && !subject.chars().any(char::is_control)
            };
            if subject.as_ref().is_some_and(|subject| !fits(subject)) {
                return Err((
                    "fallback_subject_invalid",
                    format!(
                        "the subject has at most {SUBJECT_MAX_CHARS} characters and no control characters"
                    ),
                ));
            }
            Ok(())
        }
    }
}
