//! `[hours.NAME]` and `[holidays.TERRITORY]`: sending hours with a name, and what is changed of public holidays.

use super::raw::{Reader, Section, Value};
use crate::domain::holidays::{Changes, Day, Holidays};
use crate::domain::hours::Window;
use crate::domain::territory::Territory;
use crate::domain::windows::{Calendar, NamedHours, NamedHoursBook, Outside, WallClock};

/// Reads `[hours.NAME]`: the presets, and those of the file.
pub(super) fn read<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> NamedHoursBook {
    let mut book = NamedHoursBook::default();
    for (name, mut section) in reader.named_tables(root, "hours") {
        if book.get(&name).is_some() {
            let problem = "the gateway brings hours of this name; give yours another one";
            reader.error(section.line, &section.path.clone(), problem);
        }
        let s = &mut section;
        if !s.has("open") {
            let problem = "open is missing: when they are open, like [\"mon-fri 08:00-18:00\"]";
            reader.error(s.line, &s.path.clone(), problem);
        }
        let open = reader.list(s, "open", |v| window(&v));
        if let Some(none) = open.as_ref().filter(|open| open.value.is_empty()) {
            let problem =
                "these hours never open; say when they do, or use \"always\" where no hours bind";
            reader.error(none.line, &none.path, problem);
        }
        let clock = reader.take(s, "timezone", |v| match v.text()?.as_str() {
            "recipient" => Ok(WallClock::Recipient),
            _ => v
                .timezone()
                .map(WallClock::Zone)
                .map_err(|problem| format!("{problem}, and not \"recipient\"")),
        });
        let calendar = reader.take(s, "holidays", |v| match v.text()?.as_str() {
            "open" => Ok(Calendar::None),
            "recipient" => Ok(Calendar::Recipient),
            code => territory(code)
                .map(Calendar::Of)
                .map_err(|problem| format!("{problem}, and neither \"open\" nor \"recipient\"")),
        });
        let words = [("defer", Outside::Defer), ("reject", Outside::Reject)];
        let outside = reader.take(s, "outside", |v| v.word(&words));
        reader.close(section);
        let open: Vec<_> = open
            .into_iter()
            .flat_map(|open| open.value)
            .map(|window| window.value)
            .collect();
        book.insert(NamedHours {
            name,
            open: open.into(),
            clock: clock.map_or(WallClock::Recipient, |clock| clock.value),
            calendar: calendar.map_or(Calendar::None, |calendar| calendar.value),
            outside: outside.map_or(Outside::Defer, |outside| outside.value),
            quiet_days: false,
        });
    }
    book
}

/// Reads `[holidays.TERRITORY]`.
pub(super) fn holidays<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> Holidays {
    let mut holidays = Holidays::default();
    for (code, mut section) in reader.named_tables(root, "holidays") {
        let s = &mut section;
        let mut days = |key| {
            let days = reader.list(s, key, |v| day(&v));
            let days = days.into_iter().flat_map(|days| days.value);
            days.map(|day| day.value).collect()
        };
        let changes = Changes {
            added: days("add"),
            removed: days("remove"),
        };
        match territory(&code) {
            Ok(territory) => {
                holidays.0.insert(territory, changes);
            }
            Err(problem) => reader.error(section.line, &section.path.clone(), problem),
        }
        reader.close(section);
    }
    holidays
}

/// `mon-fri 08:00-20:00`.
pub(super) fn window(value: &Value<'_, '_>) -> Result<Window, String> {
    let text = value.text()?;
    Window::parse(&text).ok_or_else(|| {
        format!(
            "{text:?} are no hours; write them like \"mon-fri 08:00-20:00\", and hours over midnight \
             as two: \"20:00-24:00\", \"00:00-08:00\""
        )
    })
}

fn territory(code: &str) -> Result<Territory, String> {
    Territory::from_code(code).ok_or_else(|| {
        format!("{code:?} is no part of France: an ISO code like \"FR\", \"FR-57\" or \"GP\"")
    })
}

fn day(value: &Value<'_, '_>) -> Result<Day, String> {
    let text = value.text()?;
    Day::parse(&text).ok_or_else(|| {
        format!(
            "{text:?} is no day; write it like \"05-28\", \"2027-05-14\" or \"easter-2\", which is Good \
             Friday"
        )
    })
}
