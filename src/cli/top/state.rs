//! What `top` knows and shows: the last picture, a minute of throughput, the last events, and where the
//! person looks. Nothing here draws or waits, so that all of it can be tried without a terminal.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;

use crate::cli::client::text;
use crate::cli::texts::Lang;
use crate::cli::watch::{Look, Totals};
use crate::domain::time::Timestamp;

/// Seconds of throughput that are kept.
const MINUTE: usize = 60;
/// Events that are kept.
const EVENTS: usize = 200;

/// Where the arrows scroll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    Findings,
    Queues,
    Channels,
    Events,
}

impl Panel {
    const ALL: [Self; 4] = [Self::Findings, Self::Queues, Self::Channels, Self::Events];

    const fn place(self) -> usize {
        self as usize
    }

    fn step(self, by: usize) -> Self {
        Self::ALL[(self.place() + by) % Self::ALL.len()]
    }
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    GoOn,
    Quit,
}

/// Something that happened to a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Happening {
    pub(super) at: Timestamp,
    /// The status as a word for machines: what it is coloured by.
    pub(super) status: String,
    /// The same for people.
    pub(super) label: String,
    /// The last digits of the number.
    pub(super) number: String,
    pub(super) channel: String,
    /// Why, where it went wrong.
    pub(super) reason: String,
}

/// What is known of a stream of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ear {
    /// Not yet open.
    Opening,
    Open,
    /// Closed, with why.
    Closed(String),
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) lang: Lang,
    pub(super) url: String,
    pub(super) look: Option<Look>,
    /// Why the daemon does not answer, if it does not.
    pub(super) away: Option<String>,
    pub(super) history: History,
    /// Newest first.
    pub(super) events: VecDeque<Happening>,
    pub(super) ear: Ear,
    pub(super) panel: Panel,
    scroll: [usize; Panel::ALL.len()],
    /// True while the picture stands still.
    pub(super) held: bool,
    pub(super) help: bool,
}

impl State {
    pub(super) fn new(lang: Lang, url: &str) -> Self {
        Self {
            lang,
            url: url.to_owned(),
            look: None,
            away: None,
            history: History::default(),
            events: VecDeque::new(),
            ear: Ear::Opening,
            panel: Panel::Findings,
            scroll: [0; Panel::ALL.len()],
            held: false,
            help: false,
        }
    }

    /// Takes a new picture, or why there is none.
    pub(super) fn seen(&mut self, seen: Result<Look, String>) {
        if self.held {
            return;
        }
        match seen {
            Ok(look) => {
                self.history.add(look.at, look.totals);
                self.look = Some(look);
                self.away = None;
            }
            Err(why) => self.away = Some(why),
        }
    }

    /// Takes an event of the stream: its name and its JSON.
    pub(super) fn heard(&mut self, event: &str, data: &str, now: Timestamp) {
        if self.held {
            return;
        }
        let value = serde_json::from_str(data).unwrap_or(Value::Null);
        if let Some(happening) = self.happening(event, &value, now) {
            self.events.push_front(happening);
            self.events.truncate(EVENTS);
        }
    }

    fn happening(&self, event: &str, value: &Value, now: Timestamp) -> Option<Happening> {
        let time = |key: &str| Timestamp::parse_rfc3339(text(value, key));
        Some(match event {
            "inbound.received" => Happening {
                at: time("received_at").unwrap_or(now),
                status: "inbound".to_owned(),
                label: self.lang.top_inbound(),
                number: ending(text(value, "from")),
                channel: text(value, "channel").to_owned(),
                reason: text(value, "keyword").to_owned(),
            },
            "lagged" => Happening {
                at: now,
                status: "lagged".to_owned(),
                label: self.lang.top_lagged(value["missed"].as_u64().unwrap_or(0)),
                ..Happening::default()
            },
            event if event.starts_with("message.") => Happening {
                at: time("updated_at").unwrap_or(now),
                status: text(value, "status").to_owned(),
                label: text(value, "label").to_owned(),
                number: ending(text(value, "to")),
                channel: text(value, "channel").to_owned(),
                reason: text(value, "reason").to_owned(),
            },
            _ => return None,
        })
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: KeyEvent) -> Flow {
        if key.kind == KeyEventKind::Release {
            return Flow::GoOn;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Flow::Quit,
            // A page of help is closed by what else would close the program.
            KeyCode::Esc | KeyCode::Char('q' | '?') if self.help => self.help = false,
            KeyCode::Esc | KeyCode::Char('q') => return Flow::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p' | ' ') => self.held = !self.held,
            KeyCode::Tab | KeyCode::Right => self.panel = self.panel.step(1),
            KeyCode::BackTab | KeyCode::Left => self.panel = self.panel.step(Panel::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll_by(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll_by(-1),
            KeyCode::PageDown => self.scroll_by(10),
            KeyCode::PageUp => self.scroll_by(-10),
            KeyCode::Home => self.scroll[self.panel.place()] = 0,
            _ => {}
        }
        Flow::GoOn
    }

    fn scroll_by(&mut self, lines: isize) {
        let lengths = [
            self.look.as_ref().map_or(0, |look| look.findings().len()),
            self.look.as_ref().map_or(0, |look| look.queues.len()),
            self.look.as_ref().map_or(0, |look| look.channels.len()),
            self.events.len(),
        ];
        let last = lengths[self.panel.place()].saturating_sub(1);
        let at = &mut self.scroll[self.panel.place()];
        *at = at.saturating_add_signed(lines).min(last);
    }

    /// How many lines of a panel are above the first that is shown.
    pub(super) const fn scrolled(&self, panel: Panel) -> usize {
        self.scroll[panel.place()]
    }
}

/// The last four digits of a number: enough to know one's own telephone again.
fn ending(number: &str) -> String {
    let digits = number.chars().count();
    match digits {
        0 => String::new(),
        1..=5 => number.to_owned(),
        digits => format!("…{}", number.chars().skip(digits - 4).collect::<String>()),
    }
}

/// Throughput of the last minute, a value a second for each of accepted, sent, delivered and failed.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    last: Option<(Timestamp, [u64; 4])>,
    seconds: VecDeque<[f64; 4]>,
}

impl History {
    /// Takes the totals of an instant. A daemon that has restarted counts from 0 again.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn add(&mut self, at: Timestamp, totals: Totals) {
        let totals = [
            totals.accepted,
            totals.sent,
            totals.delivered,
            totals.failed,
        ];
        if let Some((then, before)) = self.last
            && at > then
            && totals.iter().zip(before).all(|(now, then)| *now >= then)
        {
            let elapsed = at.since(then);
            let rate = |now: u64, then: u64| (now - then) as f64 / elapsed.as_secs_f64();
            let rates = std::array::from_fn(|n| rate(totals[n], before[n]));
            // A gap is shown as long as it was, at what it was on average.
            for _ in 0..elapsed.as_secs().clamp(1, MINUTE as u64) {
                self.seconds.push_back(rates);
            }
            let excess = self.seconds.len().saturating_sub(MINUTE);
            self.seconds.drain(..excess);
        }
        self.last = Some((at, totals));
    }

    /// Messages a second now; `None` until there were two pictures.
    pub(super) fn now(&self, kind: usize) -> Option<f64> {
        self.seconds.back().map(|rates| rates[kind])
    }

    /// The last minute in so many columns at most, oldest first, in tenths of messages a second; each
    /// column is the mean of its seconds.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss
    )]
    pub(super) fn minute(&self, kind: usize, columns: usize) -> Vec<u64> {
        let seconds: Vec<_> = self.seconds.iter().map(|rates| rates[kind]).collect();
        let each = MINUTE.div_ceil(columns.max(1));
        let columns = seconds.rchunks(each).rev();
        let mean = |chunk: &[f64]| chunk.iter().sum::<f64>() / chunk.len() as f64;
        columns
            .map(|chunk| (mean(chunk) * 10.0).ceil() as u64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;
    use crate::cli::watch::tests::{NOON, in_trouble};

    fn state() -> State {
        State::new(Lang::En, "http://127.0.0.1:8775")
    }

    fn press(state: &mut State, code: KeyCode) -> Flow {
        state.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn totals(accepted: u64) -> Totals {
        Totals {
            accepted,
            ..Totals::default()
        }
    }

    #[test]
    fn throughput_is_what_was_counted_between_two_looks() {
        let mut history = History::default();
        history.add(NOON, totals(100));
        assert_eq!(history.now(0), None);
        history.add(NOON + Duration::from_millis(500), totals(110));
        assert_eq!(history.now(0), Some(20.0));
        assert_eq!(history.minute(0, 60), [200]);
    }

    #[test]
    fn a_restart_and_a_gap_leave_no_false_peak() {
        let mut history = History::default();
        history.add(NOON, totals(1000));
        history.add(NOON + Duration::from_secs(1), totals(5));
        assert_eq!(history.now(0), None, "it counts from 0 again");
        history.add(NOON + Duration::from_secs(11), totals(25));
        assert_eq!(history.minute(0, 60), [20; 10]);
        history.add(NOON + Duration::from_secs(1000), totals(25));
        assert_eq!(history.minute(0, 60), [0; MINUTE]);
        assert_eq!(history.minute(0, 12), [0; 12], "five seconds a column");
        // A clock that goes back is no second of its own.
        history.add(NOON, totals(30));
        assert_eq!(history.minute(0, 60).len(), MINUTE);
    }

    #[test]
    fn a_picture_that_stands_still_takes_nothing_new() {
        let mut state = state();
        state.seen(Ok(in_trouble()));
        press(&mut state, KeyCode::Char('p'));
        assert!(state.held);
        state.seen(Err("gone".to_owned()));
        state.heard("message.sent", "{}", NOON);
        assert!(state.away.is_none() && state.events.is_empty());
        press(&mut state, KeyCode::Char('p'));
        state.seen(Err("gone".to_owned()));
        assert_eq!(state.away.as_deref(), Some("gone"));
        assert!(state.look.is_some(), "the last picture stays");
    }

    #[test]
    fn keys_quit_scroll_within_the_panel_and_close_the_help_first() {
        let mut state = state();
        state.seen(Ok(in_trouble()));
        for code in [KeyCode::Tab, KeyCode::Tab] {
            assert_eq!(press(&mut state, code), Flow::GoOn);
        }
        assert_eq!(state.panel, Panel::Channels);
        for _ in 0..10 {
            press(&mut state, KeyCode::Down);
        }
        assert_eq!(state.scrolled(Panel::Channels), 2, "of three, the last");
        assert_eq!(state.scrolled(Panel::Findings), 0);
        press(&mut state, KeyCode::PageUp);
        assert_eq!(state.scrolled(Panel::Channels), 0);
        press(&mut state, KeyCode::BackTab);
        assert_eq!(state.panel, Panel::Queues);
        press(&mut state, KeyCode::Char('?'));
        assert!(state.help);
        assert_eq!(press(&mut state, KeyCode::Char('q')), Flow::GoOn);
        assert!(!state.help);
        assert_eq!(press(&mut state, KeyCode::Char('q')), Flow::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.key(control_c), Flow::Quit);
    }

    #[test]
    fn events_show_the_end_of_a_number_and_never_the_text() {
        let mut state = state();
        let data = r#"{"to":"+33612345678","text":"secret","status":"failed","label":"Failed",
            "channel":"orange#1","reason":"number_invalid","updated_at":"2026-05-28T20:26:40Z"}"#;
        state.heard("message.failed", data, NOON);
        let happening = &state.events[0];
        assert_eq!(happening.number, "…5678");
        assert_eq!(
            (&*happening.label, &*happening.reason),
            ("Failed", "number_invalid")
        );
        assert!(!format!("{happening:?}").contains("secret"));
        state.heard(
            "inbound.received",
            r#"{"from":"+33700000001","keyword":"STOP"}"#,
            NOON,
        );
        assert_eq!(state.events[0].number, "…0001");
        state.heard("lagged", r#"{"missed":12}"#, NOON);
        assert!(state.events[0].label.contains("12"));
        state.heard("other", "{}", NOON);
        state.heard("message.sent", "no json", NOON);
        assert_eq!(state.events.len(), 4);
        for _ in 0..EVENTS * 2 {
            state.heard("message.sent", data, NOON);
        }
        assert_eq!(state.events.len(), EVENTS);
    }
}
