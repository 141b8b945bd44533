//! Drawing.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};

use super::view::{Sort, View, sum};
use super::words::{bytes, hang, percent, rate, span, sparkline, wrap};
use crate::state::{Level, State};

/// As on the live page.
const HOT_MIN: f64 = 0.85;
const WARM_MIN: f64 = 0.6;

/// Characters of a core's bar.
const BAR_WIDTH: usize = 20;

/// Findings that are shown at most.
const FINDINGS_SHOWN_MAX: usize = 3;

/// Lines of all of them at most: enough for the longest names at 80 columns.
const FINDING_LINES_MAX: usize = 10;

/// Lines of the adviser's at most.
const ADVICE_LINES_MAX: usize = 6;

/// Characters a line that let the tables have all of their columns. With fewer some are left out, since a figure that is cut
/// off is another figure.
const WIDE_MIN: u16 = 100;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let [header, body, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(heading(view), header);
    match &view.state {
        Some(state) => draw_state(frame, body, view, state),
        None => frame.render_widget(Paragraph::new(waiting(view)), body),
    }
    let mut keys = vec![" q ".reversed(), " quit".into()];
    if view.connections.is_some() {
        let sorted = format!(" sort (by {})  ", view.sort.title());
        keys.extend(["  ".into(), " s ".reversed(), sorted.into()]);
        keys.extend([" r ".reversed(), " reverse".into()]);
    }
    frame.render_widget(Line::from(keys), footer);
}

fn waiting(view: &View) -> String {
    let why = view.away.as_deref().unwrap_or_default();
    format!("\nconnecting to {} …\n{why}", view.url)
}

fn heading(view: &View) -> Line<'_> {
    let draining = view.state.as_ref().is_some_and(|state| state.draining);
    let mut spans = vec!["corelane ".bold()];
    spans.push(match &view.away {
        Some(why) => format!("● connecting… {why}").red(),
        None if draining => "● draining".yellow(),
        None if view.state.is_some() => "● live".green(),
        None => "".into(),
    });
    if let Some(state) = &view.state {
        let pinned = if state.pinned { ", pinned" } else { "" };
        let what = format!(
            "  {} ({}{pinned})  up {}  {} connections  {}/s in  {}/s out",
            state.scheduler,
            state.mode,
            span(state.uptime_seconds),
            state.connections,
            bytes(state.bytes_in),
            bytes(state.bytes_out)
        );
        spans.push(what.into());
    }
    Line::from(spans)
}

fn draw_state(frame: &mut Frame<'_>, area: Rect, view: &View, state: &State) {
    let width = area.width.into();
    let mut findings = findings(state, width);
    findings.extend(advice(state, width));
    let listed = view.connections.is_some();
    let tables = 3 + state.listeners.len().max(state.servers.len()).min(8) as u16;
    // What is below the cores keeps a few lines; the cores have what is left, the busiest first.
    let cores_max = area
        .height
        .saturating_sub(findings.len() as u16 + 2 + 2 + tables.min(6) + if listed { 6 } else { 0 });
    let cores = (state.cores.len() as u16).min(cores_max.max(1));
    let [words, core_area, figures, table_area, connections] = Layout::vertical([
        Constraint::Length(findings.len() as u16),
        Constraint::Length(cores + 1),
        Constraint::Length(2),
        if listed {
            Constraint::Length(tables)
        } else {
            Constraint::Fill(1)
        },
        if listed {
            Constraint::Fill(1)
        } else {
            Constraint::Length(0)
        },
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(findings), words);
    draw_cores(frame, core_area, state);
    draw_figures(frame, figures, state);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)])
        .spacing(2)
        .areas(table_area);
    let wide = area.width >= WIDE_MIN;
    frame.render_widget(listeners(state, wide), left);
    frame.render_widget(servers(state, wide), right);
    if listed {
        frame.render_widget(connection_table(view), connections);
    }
}

/// The most urgent one with its cause and what helps, of the others what they are.
fn findings(state: &State, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (place, finding) in state.findings.iter().take(FINDINGS_SHOWN_MAX).enumerate() {
        let (sign, color) = match finding.level {
            Level::Alarm => ("! ", Color::Red),
            Level::Warning => ("~ ", Color::Yellow),
            Level::Good => ("· ", Color::Green),
        };
        let style = Style::new().fg(color).bold();
        let what = hang(sign, &finding.what, width);
        lines.extend(what.into_iter().map(|line| Line::styled(line, style)));
        if place > 0 {
            continue;
        }
        for (label, more) in [("why", &finding.why), ("what helps", &finding.remedy)] {
            if !more.is_empty() {
                let more = hang("  ", &format!("{label}: {more}"), width);
                lines.extend(more.into_iter().map(Line::from));
            }
        }
    }
    lines.truncate(FINDING_LINES_MAX);
    lines
}

/// All of it: what to do comes at the end of the text.
fn advice(state: &State, width: usize) -> impl Iterator<Item = Line<'_>> {
    let each = state.advice.iter();
    let lines = each.flat_map(move |text| wrap(&format!("adviser: {text}"), width));
    lines.take(ADVICE_LINES_MAX).map(Line::from)
}

fn draw_cores(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let room = usize::from(area.height.saturating_sub(1));
    let mut order: Vec<usize> = (0..state.cores.len()).collect();
    let title = if order.len() > room {
        order.sort_by(|&one, &other| {
            let used = |core: usize| state.cores[core].utilization;
            used(other).total_cmp(&used(one))
        });
        format!(" cores: the {room} busiest of {} ", order.len())
    } else {
        " cores ".to_owned()
    };
    // The history takes what the figures leave.
    let history = usize::from(area.width)
        .saturating_sub(BAR_WIDTH + 60)
        .min(120);
    let lines: Vec<_> = order
        .into_iter()
        .take(room)
        .map(|index| core_line(state, index, history))
        .collect();
    let block = Block::new().borders(Borders::TOP).title(title.bold());
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn core_line(state: &State, index: usize, history: usize) -> Line<'_> {
    let core = &state.cores[index];
    let full = ((core.utilization * BAR_WIDTH as f64).round() as usize).min(BAR_WIDTH);
    let color = match core.utilization {
        used if used >= HOT_MIN => Color::Red,
        used if used >= WARM_MIN => Color::Yellow,
        _ => Color::Green,
    };
    let cpu = core
        .cpu
        .map_or_else(String::new, |cpu| format!("CPU {cpu}"));
    let points = state.history.iter();
    let values = points.map(|point| point.utilization.get(index).copied().unwrap_or(0.0));
    let mut spans = vec![
        format!("core {index:<3} {cpu:<8}").into(),
        Span::styled("█".repeat(full), Style::new().fg(color)),
        "·".repeat(BAR_WIDTH - full).dark_gray(),
        Span::styled(
            format!("{:>6} ", percent(core.utilization)),
            Style::new().fg(color).bold(),
        ),
        Span::styled(sparkline(values, history), Style::new().fg(Color::Cyan)),
        format!(" {:>6} conns {:>9}/s", core.connections, bytes(core.bytes)).into(),
    ];
    if core.waits >= 0.01 {
        spans.push(format!("  waits {}", percent(core.waits)).yellow());
    }
    Line::from(spans)
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let most = (state.cores.len() as f64 - 1.0).max(0.1);
    let values = state
        .history
        .iter()
        .map(|point| point.imbalance.ratio / most);
    let line = Line::from(vec![
        "λ ".bold(),
        format!("{:.2} ", state.imbalance.ratio).into(),
        Span::styled(sparkline(values, 30), Style::new().fg(Color::Cyan)),
        "  stranded ".bold(),
        percent(state.imbalance.stranded).into(),
        "  Jain ".bold(),
        format!("{:.2}", state.imbalance.fairness).into(),
        format!(
            "   (0, 0 %, 1: even; λ = {:.0}: one core does all)",
            most.round()
        )
        .dark_gray(),
    ]);
    let block = Block::new()
        .borders(Borders::TOP)
        .title(" imbalance ".bold());
    frame.render_widget(Paragraph::new(line).block(block), area);
}

fn listeners(state: &State, wide: bool) -> Table<'_> {
    let rows = state.listeners.iter().map(|listener| {
        let rejects = Cell::from(rate(listener.rejects));
        let cells = [
            Some(Cell::from(listener.name.as_str())),
            Some(Cell::from(listener.connections.to_string())),
            wide.then(|| Cell::from(rate(listener.accepts))),
            Some(Cell::from(bytes(listener.bytes_in))),
            Some(Cell::from(bytes(listener.bytes_out))),
            wide.then(|| Cell::from(listener.waiting.to_string())),
            Some(if listener.rejects > 0.0 {
                rejects.style(Style::new().red())
            } else {
                rejects
            }),
        ];
        Row::new(cells.into_iter().flatten())
    });
    let columns = [
        Some(("name", Constraint::Min(8))),
        Some(("conns", Constraint::Length(6))),
        wide.then_some(("new/s", Constraint::Length(5))),
        Some(("in/s", Constraint::Length(7))),
        Some(("out/s", Constraint::Length(7))),
        wide.then_some(("queue", Constraint::Length(5))),
        Some(("rej/s", Constraint::Length(5))),
    ];
    table_of(rows.collect(), &columns, " listeners ")
}

fn servers(state: &State, wide: bool) -> Table<'_> {
    let rows = state.servers.iter().map(|server| {
        let (word, style) = if server.up {
            ("up", Style::new().green())
        } else {
            ("down", Style::new().red().bold())
        };
        let cells = [
            Some(Cell::from(format!("{} {}", server.upstream, server.server))),
            Some(Cell::from(word).style(style)),
            Some(Cell::from(server.connections.to_string())),
            wide.then(|| Cell::from(rate(server.connects))),
            Some(Cell::from(bytes(server.bytes_in + server.bytes_out))),
            Some(Cell::from(rate(server.failures))),
        ];
        Row::new(cells.into_iter().flatten())
    });
    let columns = [
        Some(("server", Constraint::Min(11))),
        Some(("state", Constraint::Length(5))),
        Some(("conns", Constraint::Length(6))),
        wide.then_some(("new/s", Constraint::Length(5))),
        Some(("bytes/s", Constraint::Length(7))),
        Some(("fail/s", Constraint::Length(6))),
    ];
    table_of(rows.collect(), &columns, " upstreams ")
}

/// A table of the columns that there are.
fn table_of<'a>(
    rows: Vec<Row<'a>>,
    columns: &[Option<(&str, Constraint)>],
    title: &str,
) -> Table<'a> {
    let columns = columns.iter().flatten();
    let (titles, widths): (Vec<_>, Vec<_>) = columns
        .map(|&(title, width)| (title.to_owned(), width))
        .unzip();
    table(rows, &widths, titles, title.to_owned())
}

fn connection_table(view: &View) -> Table<'_> {
    let listed = view.connections.iter();
    let rows = listed
        .clone()
        .flat_map(|listed| &listed.rows)
        .map(|(connection, speed)| {
            Row::new(vec![
                connection.client.clone(),
                connection.listener.clone(),
                connection.server.clone().unwrap_or_default(),
                connection.core.to_string(),
                span(connection.age_seconds),
                span(connection.idle_seconds),
                bytes(sum(connection) as f64),
                format!("{}/s", bytes(*speed)),
                connection.state.clone(),
            ])
        });
    let widths = [
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Fill(3),
        Constraint::Length(6),
        Constraint::Length(12),
        Constraint::Length(11),
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Length(10),
    ];
    let arrow = if view.reversed { "▲" } else { "▼" };
    let title = |sort: Sort| match sort == view.sort {
        true => format!("{}{arrow}", sort.title()),
        false => sort.title().to_owned(),
    };
    let titles = vec![
        "client".to_owned(),
        "listener".to_owned(),
        "server".to_owned(),
        title(Sort::Core),
        title(Sort::Age),
        "idle".to_owned(),
        title(Sort::Bytes),
        title(Sort::Rate),
        "state".to_owned(),
    ];
    let total: u64 = listed.map(|listed| listed.total).sum();
    table(
        rows.collect(),
        &widths,
        titles,
        format!(" connections: {total} "),
    )
}

fn table<'a>(
    rows: Vec<Row<'a>>,
    widths: &[Constraint],
    titles: Vec<String>,
    title: String,
) -> Table<'a> {
    Table::new(rows, widths.iter().copied())
        .header(Row::new(titles).style(Style::new().add_modifier(Modifier::DIM)))
        .block(Block::new().borders(Borders::TOP).title(title.bold()))
}

#[cfg(test)]
mod tests;
