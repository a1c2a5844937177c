//! Draws what `top` knows: a picture of a state, on whatever size there is. Colours only underline what
//! the words say already.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Sparkline, Table};

use super::figures;
use super::state::{Ear, Panel, State};
use crate::cli::watch::findings::Weight;

/// The least window in which there is something to see.
const LEAST: (u16, u16) = (60, 16);
/// From this height on, findings say what to do.
const TALL: u16 = 34;

/// Styles, or none where no colour is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) colour: bool,
}

impl Palette {
    fn of(self, colour: Color) -> Style {
        match self.colour {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    fn weight(self, weight: Weight) -> Style {
        match weight {
            Weight::Ok => self.of(Color::Green),
            Weight::Warning => self.of(Color::Yellow),
            Weight::Error => self.of(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    fn status(self, status: &str) -> Style {
        match status {
            "delivered" | "up" => self.of(Color::Green),
            "failed" | "down" => self.of(Color::Red),
            "expired" | "lagged" | "connecting" => self.of(Color::Yellow),
            "inbound" => self.of(Color::Cyan),
            _ => Style::new(),
        }
    }
}

const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
const LOUD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, palette: Palette) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        frame.render_widget(Paragraph::new(state.lang.top_small()), area);
        return;
    }
    let findings = findings(state, palette, area.height >= TALL);
    let most = area.height / 4;
    let shown = u16::try_from(findings.len()).unwrap_or(most).clamp(1, most);
    let channels = state.look.as_ref().map_or(0, |look| look.channels.len());
    let rest = area.height.saturating_sub(2 + shown + 6);
    let wanted = u16::try_from(channels).unwrap_or(rest).saturating_add(3);
    let [head, words, middle, lines, events, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(shown),
        Constraint::Length(6),
        Constraint::Length(wanted.clamp(4, (rest * 3 / 5).max(4))),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let [throughput, queues] =
        Layout::horizontal([Constraint::Length(38), Constraint::Fill(1)]).areas(middle);
    frame.render_widget(header(state, palette), head);
    draw_findings(frame, state, &findings, words);
    draw_throughput(frame, state, palette, throughput);
    draw_queues(frame, state, palette, queues);
    draw_channels(frame, state, palette, lines);
    draw_events(frame, state, palette, events);
    frame.render_widget(footer(state), foot);
    if state.help {
        draw_help(frame, state, area);
    }
}

fn header(state: &State, palette: Palette) -> Line<'static> {
    let look = state.look.as_ref();
    let mut spans = vec![
        Span::styled(
            format!("Relais {}", look.map_or("", |look| &look.version)),
            LOUD,
        ),
        Span::raw(format!("  {}  ", state.url)),
    ];
    if let Some(look) = look {
        spans.push(Span::styled(figures::time(look.at), QUIET));
    }
    if state.held {
        let style = palette.of(Color::Yellow).add_modifier(Modifier::REVERSED);
        spans.push(Span::raw("  "));
        spans.push(Span::styled(format!(" {} ", state.lang.top_held()), style));
    }
    Line::from(spans)
}

/// What is wrong, a line each, with what to do where there is room for it.
fn findings(state: &State, palette: Palette, with_remedy: bool) -> Vec<Line<'static>> {
    let lang = state.lang;
    let word = |weight, text: String| {
        let style = palette.weight(weight);
        let mark = match weight {
            Weight::Ok => lang.doctor_ok(),
            Weight::Warning => lang.doctor_warning(),
            Weight::Error => lang.doctor_error(),
        };
        Line::from(vec![
            Span::styled(format!("{mark:<10}"), style),
            Span::styled(text, style),
        ])
    };
    let mut lines = Vec::new();
    if let Some(why) = &state.away {
        lines.push(word(Weight::Error, lang.top_away(why)));
    }
    let Some(look) = &state.look else {
        if lines.is_empty() {
            lines.push(Line::from(lang.top_asking(&state.url)));
        }
        return lines;
    };
    for finding in look.findings().iter().skip(state.scrolled(Panel::Findings)) {
        lines.push(word(finding.weight(), lang.finding(finding, look.at)));
        if with_remedy {
            let remedy = format!("{:10}→ {}", "", lang.remedy(finding));
            lines.push(Line::styled(remedy, QUIET));
        }
    }
    if lines.is_empty() && state.scrolled(Panel::Findings) == 0 {
        lines.push(word(Weight::Ok, lang.top_well().to_owned()));
    }
    lines
}

fn draw_findings(frame: &mut Frame<'_>, state: &State, lines: &[Line<'static>], area: Rect) {
    let room = usize::from(area.height);
    let mut lines = lines.to_vec();
    if lines.len() > room {
        let hidden = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(Line::styled(
            format!("{:10}{}", "", state.lang.top_more(hidden)),
            QUIET,
        ));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// A frame with a title, marked where the arrows scroll.
fn boxed(state: &State, panel: Option<Panel>, title: &str) -> Block<'static> {
    let focused = panel == Some(state.panel);
    let mark = if focused { "» " } else { "" };
    let block = Block::bordered().title(format!(" {mark}{title} "));
    if focused {
        block
    } else {
        block.border_style(QUIET)
    }
}

fn draw_throughput(frame: &mut Frame<'_>, state: &State, palette: Palette, area: Rect) {
    let block = boxed(state, None, state.lang.top_throughput());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let rows: [Rect; 4] = Layout::vertical([Constraint::Length(1); 4]).areas(inside);
    for (kind, (row, word)) in rows.into_iter().zip(state.lang.top_kinds()).enumerate() {
        let [words, line] =
            Layout::horizontal([Constraint::Length(26), Constraint::Fill(1)]).areas(row);
        let now = figures::rate(state.history.now(kind));
        let total = figures::totals(state)[kind];
        frame.render_widget(
            Paragraph::new(format!("{word:<9}{now:>7}{total:>9} ")),
            words,
        );
        let minute = state.history.minute(kind, usize::from(line.width));
        let colour = [Color::Cyan, Color::Blue, Color::Green, Color::Red][kind];
        let sparks = Sparkline::default().data(&minute);
        frame.render_widget(sparks.style(palette.of(colour)), line);
    }
}

fn draw_queues(frame: &mut Frame<'_>, state: &State, palette: Palette, area: Rect) {
    let block = boxed(state, Some(Panel::Queues), state.lang.top_queues());
    let rows = figures::queues(state);
    if rows.is_empty() {
        let words = Paragraph::new(state.lang.top_nothing_waits()).style(QUIET);
        frame.render_widget(words.block(block), area);
        return;
    }
    let rows = rows.into_iter().skip(state.scrolled(Panel::Queues));
    let rows = rows.map(|(weight, cells)| {
        let row = Row::new(cells);
        if weight == Weight::Ok {
            row
        } else {
            row.style(palette.weight(weight))
        }
    });
    let widths = [
        Constraint::Length(10),
        Constraint::Length(5),
        Constraint::Length(6),
        Constraint::Fill(1),
    ];
    let head = Row::new(state.lang.top_queue_columns()).style(QUIET);
    frame.render_widget(Table::new(rows, widths).header(head).block(block), area);
}

fn draw_channels(frame: &mut Frame<'_>, state: &State, palette: Palette, area: Rect) {
    let block = boxed(state, Some(Panel::Channels), state.lang.top_channels());
    let rows = figures::channels(state);
    if rows.is_empty() {
        let words = match state.look {
            Some(_) => state.lang.top_no_channels(),
            None => "",
        };
        frame.render_widget(Paragraph::new(words).style(QUIET).block(block), area);
        return;
    }
    let rows = rows.into_iter().skip(state.scrolled(Panel::Channels));
    let rows = rows.map(|(status, cells)| Row::new(cells).style(palette.status(&status)));
    let widths = [
        Constraint::Length(12),
        Constraint::Length(11),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Fill(1),
    ];
    let head = Row::new(state.lang.top_channel_columns()).style(QUIET);
    frame.render_widget(Table::new(rows, widths).header(head).block(block), area);
}

fn draw_events(frame: &mut Frame<'_>, state: &State, palette: Palette, area: Rect) {
    let block = boxed(state, Some(Panel::Events), state.lang.top_events());
    let quiet = match &state.ear {
        Ear::Closed(why) => Some(state.lang.top_deaf(why)),
        _ if state.events.is_empty() => Some(state.lang.top_no_events().to_owned()),
        _ => None,
    };
    let mut lines: Vec<Line<'_>> = quiet
        .map(|words| Line::styled(words, QUIET))
        .into_iter()
        .collect();
    let events = state.events.iter().skip(state.scrolled(Panel::Events));
    lines.extend(events.take(usize::from(area.height)).map(|happening| {
        Line::from(vec![
            Span::styled(figures::time(happening.at), QUIET),
            Span::raw("  "),
            Span::styled(
                format!("{:<11}", happening.label),
                palette.status(&happening.status),
            ),
            Span::raw(format!("{:<7}", happening.number)),
            Span::raw(format!("{:<12} ", happening.channel)),
            Span::raw(happening.reason.as_str()),
        ])
    }));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn footer(state: &State) -> Line<'static> {
    let lang = state.lang;
    let mut spans = vec![Span::styled(lang.top_keys(), QUIET)];
    if let Some(look) = &state.look {
        spans.push(Span::raw("   "));
        spans.push(Span::raw(lang.top_foot(look.webhooks, look.free)));
    }
    Line::from(spans)
}

fn draw_help(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let lines = state.lang.top_help();
    let height = u16::try_from(lines.len()).unwrap_or(area.height) + 2;
    let centred = area.centered(Constraint::Max(56), Constraint::Max(height));
    let block = Block::bordered().title(format!(" {} ", state.lang.top_help_title()));
    let text: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Clear, centred);
    frame.render_widget(Paragraph::new(text).block(block), centred);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::cli::texts::Lang;
    use crate::cli::watch::tests::{NOON, in_trouble};

    fn state(lang: Lang) -> State {
        let mut state = State::new(lang, "http://127.0.0.1:8775");
        let mut before = in_trouble();
        before.at = NOON - Duration::from_secs(1);
        before.totals.accepted -= 12;
        state.seen(Ok(before));
        state.seen(Ok(in_trouble()));
        let data = r#"{"to":"+33612345678","status":"failed","label":"Failed","channel":"sfr#1",
            "reason":"number_invalid","updated_at":"2026-05-28T20:26:40Z"}"#;
        state.heard("message.failed", data, NOON);
        state
    }

    fn screen(state: &State, width: u16, height: u16, colour: bool) -> (String, bool) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| draw(frame, state, Palette { colour }))
            .unwrap();
        let buffer = terminal.backend().buffer();
        let coloured = buffer
            .content
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        let rows: Vec<String> = buffer
            .content
            .chunks(usize::from(width))
            .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect())
            .collect();
        (rows.join("\n"), coloured)
    }

    #[test]
    fn a_small_terminal_shows_what_is_wrong_and_every_panel() {
        let (text, _) = screen(&state(Lang::En), 80, 24, true);
        for words in [
            "Relais 0.1.0  http://127.0.0.1:8775",
            "error     configuration: the last reload was refused",
            "error     orange#1: down for 2 h (bind refused by SMSC: ESME_RINVPASWD",
            "… and 4 more (arrows)",
            "accepted    12.0      120",
            "delivered    0.0       40",
            "orange     60    1h59   no channel 58",
            "sfr#1        throttled   7/10    5 of 20",
            "sim1         paused      0/1",
            "Failed     …5678  sfr#1        number_invalid",
            "q quit",
            "webhooks 412  disk 50.0 MiB free",
        ] {
            assert!(text.contains(words), "no {words:?} in:\n{text}");
        }
        assert!(!text.contains("33612345678"));
    }

    #[test]
    fn a_tall_terminal_says_what_to_do_as_well() {
        let (text, _) = screen(&state(Lang::Fr), 120, 50, true);
        for words in [
            "→ mauvais mot de passe",
            "erreur    orange#1 : coupée depuis 2 h",
            "attention sfr : l'opérateur demande moins : 5 parties/s au lieu de 20",
            "-71 dBm Free, SIM 200/200 en 24 h",
            "webhooks 412  disque 50.0 Mio libres",
        ] {
            assert!(text.contains(words), "no {words:?} in:\n{text}");
        }
    }

    #[test]
    fn without_colours_the_words_are_the_same() {
        let (plain, coloured) = screen(&state(Lang::En), 80, 24, false);
        assert!(!coloured);
        let (bright, coloured) = screen(&state(Lang::En), 80, 24, true);
        assert!(coloured);
        assert_eq!(plain, bright);
    }

    #[test]
    fn every_size_can_be_drawn() {
        let mut state = state(Lang::En);
        for (width, height) in [(1, 1), (60, 16), (61, 17), (80, 24), (200, 60), (500, 10)] {
            for help in [false, true] {
                state.help = help;
                let _ = screen(&state, width, height, true);
            }
        }
        assert!(screen(&state, 50, 24, true).0.contains("window too small"));
    }

    #[test]
    fn an_absent_daemon_is_said_above_the_last_picture() {
        let empty = State::new(Lang::En, "http://127.0.0.1:1");
        assert!(
            screen(&empty, 80, 24, true)
                .0
                .contains("asking http://127.0.0.1:1")
        );
        let mut state = state(Lang::En);
        state.seen(Err("refused".to_owned()));
        let (text, _) = screen(&state, 80, 24, true);
        assert!(
            text.contains(
                "error     the daemon does not answer, trying again each second: refused"
            )
        );
        assert!(text.contains("orange"), "the last picture stays");
    }

    #[test]
    fn scrolling_help_and_a_held_picture_are_seen() {
        let mut state = state(Lang::En);
        let mut press = |code| state.key(KeyEvent::new(code, KeyModifiers::NONE));
        for code in [
            KeyCode::Tab,
            KeyCode::Tab,
            KeyCode::Down,
            KeyCode::Char('p'),
        ] {
            press(code);
        }
        let (text, _) = screen(&state, 80, 24, true);
        assert!(text.contains("» Channels"), "{text}");
        assert!(text.contains(" HELD "), "{text}");
        assert!(!text.contains("orange#1     down"), "{text}");
        state.help = true;
        assert!(
            screen(&state, 80, 24, true)
                .0
                .contains("hold the picture, and go on")
        );
    }

    #[test]
    fn a_daemon_that_is_well_and_idle_is_said_in_words() {
        let mut state = State::new(Lang::Fr, "http://127.0.0.1:8775");
        state.seen(Ok(crate::cli::watch::Look::of(
            NOON,
            &serde_json::Value::Null,
            "",
        )));
        let (text, _) = screen(&state, 80, 24, true);
        for words in [
            "Tout va bien.",
            "rien n'attend",
            "aucune liaison",
            "rien encore",
        ] {
            assert!(text.contains(words), "no {words:?} in:\n{text}");
        }
    }
}
