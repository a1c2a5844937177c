//! From whom: the sender that is shown, and whether this tenant may show it.

use super::{Advice, Asking, Draft, FieldError, Refusal};
use crate::domain::policy::Operator;
use crate::domain::sender::lint::{Fault, fault, suggestion};
use crate::domain::sender::{Sender, SenderError};
use crate::domain::tenant::{Settings, Severity};

/// The sender; `None`: the account's own.
pub(super) fn check(
    draft: &Draft,
    asking: &Asking<'_>,
    operator: &Operator,
    errors: &mut Vec<FieldError>,
    advice: &mut Vec<Advice>,
) -> Option<Sender> {
    let settings = asking.settings;
    let named = draft.from.as_deref();
    let given = named.or(settings.sender.as_deref())?;
    let sender = match Sender::parse(given) {
        Ok(sender) => sender,
        Err(error) => {
            errors.push(form(given, &error));
            return None;
        }
    };
    if named.is_some() && !may_show(&sender, settings) {
        let detail = "this tenant may not send under this name; its senders are in GET /v1/tenant, \
                      and an administrator can add one";
        let error = FieldError::new("/from", "sender_not_allowed", detail);
        errors.push(error.as_refusal(Refusal::Forbidden));
        return None;
    }
    // Whatever is asked for, a modem sends from the number of its SIM.
    if asking.policy.is_by_modem(operator) {
        return Some(sender);
    }
    match fault(&sender, &asking.policy.guard) {
        // An administrator may have allowed it by name.
        Some(Fault::Reserved) if is_listed(&sender, settings) => {}
        Some(Fault::Reserved) => {
            let detail = Fault::Reserved.to_string();
            let error = FieldError::new("/from", Fault::Reserved.code(), detail);
            errors.push(error.as_refusal(Refusal::Forbidden));
            return None;
        }
        None => {}
        Some(fault) => match settings.sender_rules {
            Severity::Off => {}
            Severity::Warn => advice.push(Advice {
                code: fault.code(),
                detail: with_suggestion(fault.to_string(), given),
            }),
            Severity::Error => {
                let detail = with_suggestion(fault.to_string(), given);
                errors.push(FieldError::new("/from", fault.code(), detail));
                return None;
            }
        },
    }
    Some(sender)
}

/// True if a tenant's settings let messages name this sender: its own, or one of its list.
fn may_show(sender: &Sender, settings: &Settings) -> bool {
    settings.senders.is_empty()
        || is_listed(sender, settings)
        || settings
            .sender
            .as_ref()
            .is_some_and(|own| names(own, sender))
}

fn is_listed(sender: &Sender, settings: &Settings) -> bool {
    settings.senders.iter().any(|name| names(name, sender))
}

fn names(name: &str, sender: &Sender) -> bool {
    Sender::parse(name).is_ok_and(|name| is_same(&name, sender))
}

/// Handsets show a name as it is written; nobody owns its capitals.
fn is_same(one: &Sender, other: &Sender) -> bool {
    match (one, other) {
        (Sender::Alphanumeric(one), Sender::Alphanumeric(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one == other,
    }
}

fn form(given: &str, error: &SenderError) -> FieldError {
    FieldError::new(
        "/from",
        error.code(),
        with_suggestion(error.to_string(), given),
    )
}

fn with_suggestion(detail: String, given: &str) -> String {
    match suggestion(given) {
        Some(name) => format!("{detail}; {name} would do"),
        None => detail,
    }
}
