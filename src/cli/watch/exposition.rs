//! The text that Prometheus reads (exposition format 0.0.4,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>), as far as our own daemon writes it:
//! one sample a line, comments, labels with three escapes. A line that cannot be read is left out.

use std::borrow::Cow;

/// One value with its labels.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Sample<'a> {
    pub(in crate::cli) name: &'a str,
    labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(in crate::cli) value: f64,
}

impl Sample<'_> {
    /// The value of a label, empty if there is none of this name.
    pub(in crate::cli) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The value as a number of things; what is none counts as 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(in crate::cli) const fn count(&self) -> u64 {
        // A cast from a float saturates, and makes 0 of NaN.
        self.value as u64
    }
}

/// The samples of a text.
pub(in crate::cli) fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(sample)
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // A time stamp may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name,
        labels,
        value,
    })
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let end = end_of_value(after)?;
        labels.push((name, unescaped(&after[..end])));
        rest = &after[end + 1..];
    }
}

/// Where the quotation mark stands that ends a value.
fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|octet| {
        let ends = octet == b'"' && !escaped;
        escaped = octet == b'\\' && !escaped;
        ends
    })
}

fn unescaped(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::metrics::Metrics;

    fn one(line: &str) -> Option<Sample<'_>> {
        samples(line).next()
    }

    #[test]
    fn samples_have_names_labels_and_values() {
        let plain = one("up 1").unwrap();
        assert_eq!((plain.name, plain.count()), ("up", 1));
        let labelled = one("a{b=\"c\",d=\"e,} \\\" \\\\ \\n\"} 2.5 1700000000").unwrap();
        assert_eq!(labelled.label("b"), "c");
        assert_eq!(labelled.label("d"), "e,} \" \\ \n");
        assert_eq!(labelled.label("f"), "");
        assert!((labelled.value - 2.5).abs() < f64::EPSILON);
        assert_eq!(one("a{b=\"c\",} 3").unwrap().count(), 3);
        assert!(one("a NaN").unwrap().value.is_nan());
        assert_eq!(one("a NaN").unwrap().count(), 0);
        assert!(one("a +Inf").unwrap().value.is_infinite());
    }

    #[test]
    fn what_is_no_sample_is_left_out() {
        for line in [
            "",
            "# TYPE a counter",
            "a",
            "a{",
            "a{b=\"c} 1",
            "a{b} 1",
            "a{} x",
        ] {
            assert_eq!(one(line), None, "{line:?}");
        }
        assert_eq!(samples("x\na 1\n\n# b\nc 2").count(), 2);
    }

    #[test]
    fn what_our_own_recorder_writes_is_read_back() {
        let metrics = Metrics::new();
        let name = "a \"quoted\" \\ name\nof two lines";
        metrics
            .gauge("relais_channel_up", &[("channel", name)])
            .set(0.25);
        let text = metrics.render();
        let read = samples(&text).find(|sample| sample.name == "relais_channel_up");
        let read = read.unwrap();
        assert_eq!(read.label("channel"), name);
        assert!((read.value - 0.25).abs() < f64::EPSILON);
        assert!(samples(&text).any(|sample| sample.label("version") == env!("CARGO_PKG_VERSION")));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", tail in "[a{}=\"\\\\ 1,\n]{0,80}") {
            let _ = samples(&text).count();
            let _ = samples(&tail).count();
        }
    }
}
