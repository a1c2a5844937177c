//! What a source may not hold, because fuel does not bound what it costs.

/// Longest tag outside of its strings: what the parser goes down into has no other bound.
const TAG_MAX_CHARS: usize = 300;

/// True if fuel bounds what it costs: no repetition, lists or maps, which are one instruction whatever
/// they hold, no `raw`, in which quotes would hide what follows, and no endless expression, which would
/// use up the stack of who reads it.
pub(super) fn is_modest(source: &str) -> bool {
    let mut rest = source;
    while let Some(at) = ["{{", "{%", "{#"]
        .iter()
        .filter_map(|it| rest.find(it))
        .min()
    {
        let inside = &rest[at + 2..];
        if rest[at..].starts_with("{#") {
            let end = inside.find("#}").map_or(inside.len(), |end| end + 2);
            rest = &inside[end..];
            continue;
        }
        let is_block = rest[at..].starts_with("{%");
        let name = inside.trim_start_matches(['-', '+']).trim_start();
        if is_block && name.starts_with("raw") {
            return false;
        }
        let Some(end) = end_of_tag(inside, if is_block { "%}" } else { "}}" }) else {
            return false;
        };
        rest = &inside[end..];
    }
    true
}

/// Where a tag ends, if it is modest. One that is never closed ends with the source: whoever reads it
/// complains.
fn end_of_tag(inside: &str, close: &str) -> Option<usize> {
    let (mut quote, mut length) = (None, 0);
    let mut chars = inside.char_indices();
    while let Some((index, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, _) if inside[index..].starts_with(close) => return Some(index + 2),
            (None, '*' | '[' | '{') => return None,
            (None, _) => length += 1,
        }
        if length > TAG_MAX_CHARS {
            return None;
        }
    }
    Some(inside.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::domain::status::Language;
    use crate::domain::template::{Template, TemplateError};

    #[test]
    fn what_fuel_does_not_bound_is_refused_before_it_is_read() {
        let deep = format!("{{{{{}1}}}}", "-".repeat(3900));
        let chain = format!("{{{{ a{} }}}}", ".b".repeat(1900));
        for source in [
            deep.as_str(),
            chain.as_str(),
            &deep[..3800],
            "{% set x=[1]*100000000 %}{{ x }}",
            "{{ \"ab\" in ([1]*10000000) }}",
            "{% if [1]*3000000 == [1]*3000000 %}a{% endif %}",
            "{%- raw %}\"{% endraw %}{{ [1]*9 }}",
            "{{ \"a\"*999999999 }}",
        ] {
            let error = Template::compile(source, Language::Fr).unwrap_err();
            assert_eq!(error, TemplateError::TooCostly, "{source:.40}");
        }
        let text = "{{ n|plural(\"{{ * [\", \"}} '\") }} * [ # {# a * #}{{ é }}";
        let template = Template::compile(text, Language::Fr).unwrap();
        assert_eq!(template.variables().collect::<Vec<_>>(), ["n", "é"]);
    }
}
