//! Whether it may leave at that time: the hours of its tenant, class and key, by the recipient's clock.

use std::collections::BTreeSet;

use super::{Advice, Asking, Draft, FieldError};
use crate::domain::message::{Class, WaitReason};
use crate::domain::msisdn::Msisdn;
use crate::domain::policy::Operator;
use crate::domain::terms::Terms;
use crate::domain::territory::Territory;
use crate::domain::time::Timestamp;
use crate::domain::windows::{Binding, NamedHours, Outside};

/// When it may first leave, at or after its time, and why it waits until then.
pub(super) fn check(
    draft: &Draft,
    to: Msisdn,
    operator: &Operator,
    at: (Timestamp, WaitReason),
    asking: &Asking<'_>,
    (terms, advice): (&mut Terms, &mut Vec<Advice>),
    errors: &mut Vec<FieldError>,
) -> (Timestamp, WaitReason) {
    let (due_at, why) = at;
    let policy = asking.policy;
    let of_class = match draft.class() {
        Class::Transactional => &asking.settings.hours.transactional,
        Class::Commercial => &asking.settings.hours.commercial,
    };
    let key = asking.by.key.as_ref();
    let of_key = key.and_then(|key| key.terms.hours.as_ref());
    let mut names = BTreeSet::new();
    for (name, whose) in [(Some(of_class), "tenant"), (of_key, "key")] {
        let Some(name) = name else { continue };
        match policy.hours.get(name) {
            Some(hours) if hours.are_always() => {}
            Some(_) => {
                names.insert(name.as_str());
            }
            None => errors.push(unknown(name, whose, asking)),
        }
    }
    let region = asking.settings.region.as_deref();
    let region = region.and_then(Territory::from_code);
    let Some(binding) = policy.binding(names.iter().copied(), operator, to, region) else {
        return (due_at, why);
    };
    if !names.is_empty() {
        terms.hours = names.iter().map(ToString::to_string).collect();
        let told = binding.place.territory.filter(|it| Some(*it) == region);
        // Only what the number does not tell by itself.
        let told = told.filter(|it| policy.place(to, operator, None).territory != Some(*it));
        terms.region = told.map(|region| region.code().to_owned());
    }
    let opening = binding.opening(due_at);
    if opening == Timestamp::NEVER {
        errors.push(never(&binding));
        return (due_at, why);
    }
    let rejecting = |hours: &&&NamedHours| {
        hours.outside == Outside::Reject
            && hours.opening(due_at, binding.place, binding.holidays) > due_at
    };
    if let Some(hours) = binding.named.iter().find(rejecting) {
        errors.push(outside(hours, opening, &binding));
        return (due_at, why);
    }
    let advised_against = |hours: &&&NamedHours| {
        let day = (opening, binding.place, binding.holidays);
        hours.advise_against(day.0, day.1, day.2)
    };
    if let Some(hours) = binding.named.iter().find(advised_against) {
        let name = &hours.name;
        advice.push(Advice {
            code: "window_advised_against",
            detail: format!(
                "it would leave on a Sunday or a public holiday, which the hours {name} allow and advise \
                 against"
            ),
        });
    }
    if opening == due_at {
        return (due_at, why);
    }
    if let Some(hours) = binding.shut(due_at) {
        advice.push(Advice {
            code: "window",
            detail: format!(
                "the hours {} are {hours}; it would wait until {}",
                hours.name,
                opening.rfc3339()
            ),
        });
    }
    (opening, WaitReason::SendingHours)
}

fn unknown(name: &str, whose: &str, asking: &Asking<'_>) -> FieldError {
    let known: Vec<_> = asking.policy.hours.names().collect();
    FieldError::new(
        "",
        "hours_unknown",
        format!(
            "the {whose}'s sending hours {name:?} are not in the configuration; an administrator can name \
             others, or add [hours.{name}]: {}",
            known.join(", ")
        ),
    )
}

fn never(binding: &Binding<'_>) -> FieldError {
    let named: Vec<_> = binding
        .named
        .iter()
        .map(|it| format!("{} ({it})", it.name))
        .collect();
    let (lane, zone) = binding.lane;
    let lane = if lane.are_always() {
        String::new()
    } else {
        format!(", and the operator's hours {lane} ({zone})")
    };
    FieldError::new(
        "",
        "hours_never_open",
        format!(
            "there is no time at which all hours that bind it are open: {}{lane}; an administrator can \
             change one of them",
            named.join(", ")
        ),
    )
}

fn outside(hours: &NamedHours, opening: Timestamp, binding: &Binding<'_>) -> FieldError {
    let zone = hours.zone(binding.place);
    FieldError::new(
        "/send_at",
        "outside_hours",
        format!(
            "the hours {} are {hours} and take nothing outside them; the next time is {} ({zone})",
            hours.name,
            opening.to_utc().with_timezone(&zone).to_rfc3339()
        ),
    )
}
