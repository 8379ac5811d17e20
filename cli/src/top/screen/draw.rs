//! Draws the screen: the pipelines, and the writers and ring buffers of the chosen one.

use super::chosen::Chosen;
use crate::commands::table::{duration, grouped, time};
use crate::line::shown as printable;
use crate::top::pipeline::Pipeline;
use crate::top::{Shown, cells, words};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};

/// The keys that the last line names.
const KEYS: &str = "q quit  s sort  r e b f l t n p sort by rate events backlog fill lost latency name pid  \u{2191}\u{2193} pipeline  PgUp PgDn rings  + - interval";

/// Draws what is seen.
pub fn draw(frame: &mut Frame<'_>, shown: &Shown<'_>, chosen: &Chosen) {
    let at = shown.pipelines.iter().position(|pipeline| Some(pipeline.look.generation) == chosen.generation);
    let at = at.unwrap_or(0);
    let subject = shown.pipelines.get(at);
    let writers = subject.map(|pipeline| cells::writers(pipeline)).unwrap_or_default();
    let lines = |rows: usize| u16::try_from(rows + 1).unwrap_or(u16::MAX);
    let third = (frame.area().height / 3).max(2);
    let [title, pipelines, details, of_writers, rings, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(lines(shown.pipelines.len()).min(third) + 1),
        Constraint::Length(if subject.is_some() { 3 } else { 1 }),
        Constraint::Length(if writers.is_empty() { 0 } else { lines(writers.len()).min(third) + 1 }),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head(shown, chosen)).style(bold()), title);
    let rows: Vec<Vec<String>> = shown.pipelines.iter().map(|pipeline| cells::pipeline(pipeline)).collect();
    let selected = (!rows.is_empty()).then_some(at);
    table(frame, pipelines, &cells::PIPELINES, rows, TableState::new().with_selected(selected));
    match subject {
        None => frame.render_widget("no pipeline is there yet", details),
        Some(pipeline) => {
            frame.render_widget(Paragraph::new(about(pipeline)), details);
            table(frame, of_writers, &cells::WRITERS, writers, TableState::new());
            let all: Vec<Vec<String>> = shown.rings(pipeline).iter().map(cells::ring).collect();
            let above = chosen.rings_above.min(all.len().saturating_sub(1));
            table(frame, rings, &cells::RINGS, all, TableState::new().with_offset(above));
        }
    }
    let last = match shown.unread.first() {
        None => KEYS.to_owned(),
        Some(unread) => {
            let path = printable(unread.path.as_os_str().as_encoded_bytes()).to_string();
            format!("{} not read: {path}: {}", shown.unread.len(), unread.why)
        }
    };
    frame.render_widget(Paragraph::new(last).style(Style::new().add_modifier(Modifier::DIM)), keys);
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn head(shown: &Shown<'_>, chosen: &Chosen) -> String {
    format!(
        "{}  {}  every {}  by {}",
        printable(chosen.subject.as_bytes()),
        time(shown.realtime_ns),
        duration(u64::try_from(chosen.interval.as_nanos()).unwrap_or(u64::MAX)),
        chosen.key.name()
    )
}

/// What the table has no column for.
fn about(pipeline: &Pipeline) -> Vec<Line<'static>> {
    let look = &pipeline.look;
    let program =
        if look.program.is_empty() { String::new() } else { format!("  {}", printable(&look.program)) };
    let mut lines =
        vec![Line::from(format!("{}  run {:016x}{program}", cells::name(pipeline), look.generation))];
    if let Some(live) = &look.live {
        let m = &live.figures.metrics;
        let mut text = format!(
            "storage {}  pressure {}  circuit {}",
            printable(live.storage.as_bytes()),
            m.pressure,
            words::circuit(m.circuit).replace('_', " ")
        );
        for (count, word) in [
            (m.captured, "captured"),
            (m.stored, "stored"),
            (m.in_doubt, "in doubt"),
            (m.dropped_full, "dropped full"),
            (m.overwritten, "overwritten"),
            (m.discarded, "discarded"),
            (m.dead_lettered, "dead letters"),
            (m.dropped_sampled, "sampled out"),
            (m.dropped_rule, "dropped by rules"),
        ] {
            if count > 0 || matches!(word, "captured" | "stored") {
                text += &format!("  {} {word}", grouped(count));
            }
        }
        lines.push(Line::from(text));
    }
    lines
}

/// Draws a table whose columns are as wide as their widest entry.
fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    titles: &[&'static str],
    rows: Vec<Vec<String>>,
    mut state: TableState,
) {
    let title = |at: usize| titles[at].trim_start_matches('>');
    let width = |at: usize| {
        let widest = rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        u16::try_from(widest.max(title(at).len())).unwrap_or(u16::MAX)
    };
    let widths: Vec<Constraint> = (0..titles.len()).map(|at| Constraint::Length(width(at))).collect();
    let cell = |at: usize, text: String| {
        let text = Text::from(text);
        Cell::from(if titles[at].starts_with('>') { text.right_aligned() } else { text })
    };
    let header = (0..titles.len()).map(|at| cell(at, title(at).to_owned()));
    let header = Row::new(header.collect::<Vec<_>>()).style(bold());
    let body = rows.iter().map(|row| {
        Row::new(row.iter().enumerate().map(|(at, text)| cell(at, text.clone())).collect::<Vec<_>>())
    });
    let body: Vec<Row<'_>> = body.collect();
    let table = Table::new(body, widths)
        .header(header)
        .column_spacing(2)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut state);
}
