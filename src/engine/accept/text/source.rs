//! Where the text comes from: the caller's own words, or a template of its tenant.

use super::super::{Asking, Draft, FieldError, Refusal};
use crate::domain::template::{RenderError, SignaturePolicy};
use crate::domain::tenant::{Settings, Signature};

/// A text before anything stands around it.
pub(super) struct Source {
    /// The text.
    pub(super) text: String,
    /// What its template says of the signature; `None`: it has none.
    template: Option<SignaturePolicy>,
}

impl Source {
    /// Where errors of the text point to.
    pub(super) const fn pointer(&self) -> &'static str {
        if self.template.is_some() {
            "/template"
        } else {
            "/text"
        }
    }

    /// The signature that it bears.
    pub(super) fn signature<'a>(
        &self,
        draft: &Draft,
        settings: &'a Settings,
        errors: &mut Vec<FieldError>,
    ) -> Option<&'a Signature> {
        let there = settings.signature.as_ref();
        let wanted = match (self.template.unwrap_or_default(), draft.signature) {
            (SignaturePolicy::Always, Some(false)) => {
                errors.push(FieldError::new(
                    "/signature",
                    "signature_fixed",
                    "texts of this template are always signed; leave signature out",
                ));
                return None;
            }
            (SignaturePolicy::Never, Some(true)) => {
                errors.push(FieldError::new(
                    "/signature",
                    "signature_fixed",
                    "texts of this template are never signed; leave signature out",
                ));
                return None;
            }
            (SignaturePolicy::Always, _) => true,
            (SignaturePolicy::Never, _) => false,
            (SignaturePolicy::Default, Some(wanted)) => wanted,
            (SignaturePolicy::Default, None) => there.is_some_and(|it| it.by_default),
        };
        if wanted && there.is_none() {
            errors.push(FieldError::new(
                "/signature",
                "signature_missing",
                "this tenant has no signature; an administrator can set one",
            ));
        }
        there.filter(|_| wanted)
    }
}

/// The text that a draft asks for, which it takes from it; what is wrong with that otherwise.
pub(super) fn of(
    draft: &mut Draft,
    asking: &Asking<'_>,
    errors: &mut Vec<FieldError>,
) -> Option<Source> {
    let text = std::mem::take(&mut draft.text);
    let params = draft.params.take();
    let Some(name) = &draft.template else {
        let before = errors.len();
        if params.is_some() {
            errors.push(FieldError::new(
                "/params",
                "params_without_template",
                "params are the values of a template's variables; name the template too",
            ));
        }
        if is_bound_to_templates(asking) && !draft.vetted {
            let error = FieldError::new(
                "/text",
                "template_required",
                "only texts of templates may be sent; name one in template, see GET /v1/templates",
            );
            errors.push(error.as_refusal(Refusal::Forbidden));
        }
        return (errors.len() == before).then_some(Source {
            text,
            template: None,
        });
    };
    if !text.is_empty() {
        errors.push(FieldError::new(
            "/text",
            "text_or_template",
            "give text or template, not both",
        ));
        return None;
    }
    let Some(known) = asking.engine.template(&asking.by.tenant, name) else {
        errors.push(FieldError::new(
            "/template",
            "template_not_found",
            "there is no template of this name; GET /v1/templates lists them",
        ));
        return None;
    };
    let text = match known.template.render(&params.unwrap_or_default()) {
        Ok(text) => text,
        Err(wrong) => {
            errors.extend(wrong.iter().map(wrong_value));
            return None;
        }
    };
    let (lines, most) = (text.lines().count(), known.definition.max_lines);
    if most > 0 && lines > usize::try_from(most).unwrap_or(usize::MAX) {
        errors.push(FieldError::new(
            "/template",
            "text_too_many_lines",
            format!("the text has {lines} lines and its template allows {most}"),
        ));
        return None;
    }
    Some(Source {
        text,
        template: Some(known.definition.signature),
    })
}

/// True if the tenant, or the key, may send nothing but texts of templates.
pub(in crate::engine::accept) fn is_bound_to_templates(asking: &Asking<'_>) -> bool {
    let key = asking.by.key.as_ref();
    asking.settings.templates_only || key.is_some_and(|key| key.terms.templates_only)
}

fn wrong_value(error: &RenderError) -> FieldError {
    let pointer = match error {
        RenderError::Failed { .. } => "/template",
        _ => "/params",
    };
    FieldError::new(pointer, error.code(), error.to_string())
}
