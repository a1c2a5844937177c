//! `[inbound]`: what is done with messages from handsets.

use std::time::Duration;

use super::raw::{Reader, Section};
use crate::domain::inbound::InboundRules;
use crate::domain::optout::{Keywords, Wish};

/// Shorter, and texts would fall apart over a carrier's first repetition; longer, and a text with a
/// gap would be seen when nobody expects it any more.
const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_mins(1)..=Duration::from_hours(7 * 24);

pub(super) fn read<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> InboundRules {
    let mut section = reader.table(root, "inbound");
    let usual = InboundRules::default();
    let mut keywords = Keywords::none();
    for (key, wish) in [("stop", Wish::Stop), ("start", Wish::Start)] {
        match reader.list(&mut section, key, |v| v.text()) {
            Some(words) => {
                for word in words.value {
                    if let Err(error) = keywords.add(&word.value, wish) {
                        reader.error(word.line, &word.path, error.to_string());
                    }
                }
            }
            None => {
                for word in usual.keywords.of(wish) {
                    // The other list may hold one of them: said there, where it is written.
                    if let Err(error) = keywords.add(word, wish) {
                        let path = section.path_of(key);
                        reader.error(section.line, &path, format!("by default, {error}"));
                    }
                }
            }
        }
    }
    let parts_timeout = reader.take(&mut section, "parts_timeout", |v| v.duration(TIMEOUTS));
    reader.close(section);
    InboundRules {
        keywords,
        parts_timeout: parts_timeout.map_or(usual.parts_timeout, |timeout| timeout.value),
        ..usual
    }
}
