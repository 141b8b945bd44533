//! Drawing.

mod cores;
mod grid;
mod help;
mod tables;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use super::view::View;
use super::words::{bytes, elide, hang, percent, span, sparkline, wrap};
use proxy_state::{Finding, Level, State};

/// Findings that are shown at most.
const FINDINGS_SHOWN_MAX: usize = 3;

/// Lines of the first one, and of each of the others, at most: what it is, why and what helps have one each, and more where
/// there is room.
const FINDING_LINES_MAX: usize = 4;
const OTHER_LINES_MAX: usize = 1;

/// Lines of the screen from which on there is room for twice as many.
const TALL_MIN: u16 = 40;

/// Characters of the machine's name.
const HOST_WIDTH_MAX: usize = 24;

/// Lines of the adviser's at most.
const ADVICE_LINES_MAX: usize = 6;

/// Seconds without news from which on that is said, though nobody has said yet that the proxy is away.
const STALE_SECONDS: u64 = 3;

/// Lines that the tables keep, whatever is found.
const TABLE_LINES_MIN: u16 = 6;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let [header, body, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(heading(view, area.width.into()), header);
    match &view.state {
        Some(state) => draw_state(frame, body, view, state),
        None => frame.render_widget(Paragraph::new(waiting(view)), body),
    }
    frame.render_widget(keys(view, area.width.into()), footer);
    if view.shows_help {
        help::draw(frame, area);
    }
}

/// The most useful keys, as many as there is room for; help has all of them.
fn keys(view: &View, width: usize) -> Line<'_> {
    let filter = &view.filter;
    if filter.is_typed {
        return Line::from(vec![
            " / ".reversed(),
            format!(" {}▏ ", filter.text()).bold(),
            " Enter ".reversed(),
            " done  ".into(),
            " Esc ".reversed(),
            " all rows".into(),
        ]);
    }
    let mut keys = vec![("q", "quit".to_owned()), ("h", "help".to_owned())];
    keys.push(match filter.text() {
        "" => ("/", "filter".to_owned()),
        text => ("Esc", format!("all rows, not only \"{text}\"")),
    });
    keys.extend([("↑↓", "scroll".to_owned()), ("Tab", "table".to_owned())]);
    if view.connections.is_some() {
        keys.push(("s", format!("sort (by {})", view.sort.title())));
        keys.push(("r", "reverse".to_owned()));
    }
    let mut spans = Vec::new();
    let mut used = 0;
    for (key, what) in keys {
        let (key, what) = (format!(" {key} "), format!(" {what}  "));
        used += key.chars().count() + what.chars().count();
        if used > width + 2 {
            break;
        }
        spans.extend([key.reversed(), what.into()]);
    }
    Line::from(spans)
}

fn waiting(view: &View) -> String {
    let why = view.away.as_deref().unwrap_or_default();
    format!("\nconnecting to {} …\n{why}", view.url)
}

fn heading(view: &View, width: usize) -> Line<'_> {
    let Some(state) = &view.state else {
        return Line::from("corelane ".bold());
    };
    let link = match &view.away {
        Some(why) => {
            let age = span(view.age.as_secs_f64());
            format!("● connecting… this is {age} old: {why}").red()
        }
        None if view.age.as_secs() >= STALE_SECONDS => {
            format!("● this is {} old", span(view.age.as_secs_f64())).red()
        }
        None if state.draining => "● draining".yellow(),
        None => "● live".green(),
    };
    let pinned = if state.pinned { ", pinned" } else { "" };
    let scheduler = format!("  {} ({}{pinned})", state.scheduler, state.mode);
    let short = format!("  {} ({})", state.scheduler, state.mode);
    let up = format!("  up {}", span(state.uptime_seconds));
    let connections = format!("  {} connections", state.connections);
    let rates = format!(
        "  {}/s in  {}/s out",
        bytes(state.bytes_in),
        bytes(state.bytes_out)
    );
    let version = match &state.version[..] {
        "" => String::new(),
        version => format!("{version} "),
    };
    let host = match &state.host[..] {
        "" => String::new(),
        host => format!("on {} ", elide(host, HOST_WIDTH_MAX)),
    };
    let [full, on_host, bare] = [
        format!("corelane {version}{host}"),
        format!("corelane {host}"),
        "corelane ".to_owned(),
    ];
    // What is left out first is what the screen says elsewhere, or what changes least.
    let all = [
        (&full, format!("{scheduler}{up}{connections}{rates}")),
        (&full, format!("{short}{up}{connections}{rates}")),
        (&full, format!("{short}{connections}{rates}")),
        (&on_host, format!("{short}{connections}{rates}")),
        (&on_host, format!("{short}{connections}")),
        (&bare, format!("{short}{connections}")),
        (&bare, connections),
    ];
    let count = |text: &str| text.chars().count();
    let fits = |(name, words): &(&String, String)| {
        count(name) + count(&link.content) + count(words) <= width
    };
    let (name, words) = all.into_iter().find(fits).unwrap_or((&bare, String::new()));
    Line::from(vec![name.clone().bold(), link, words.into()])
}

fn draw_state(frame: &mut Frame<'_>, area: Rect, view: &View, state: &State) {
    let width = area.width.into();
    let mut findings = findings(state, width, area.height);
    findings.extend(advice(state, width));
    // What is below the cores keeps a few lines; the cores have a third at most, the busiest first.
    let words = findings.len() as u16;
    let cores_max = area
        .height
        .saturating_sub(words + 1 + 2 + TABLE_LINES_MIN + 3);
    let room = cores_max.min(area.height / 3).max(1);
    let core_lines = cores::lines(state, width, room.into());
    let [words, core_area, figures, tables] = Layout::vertical([
        Constraint::Length(words),
        Constraint::Length(core_lines.height()),
        Constraint::Length(2),
        Constraint::Fill(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(findings), words);
    core_lines.draw(frame, core_area);
    draw_figures(frame, figures, state);
    tables::draw(frame, tables, view);
}

/// The most urgent one with its cause and what helps, of the others what they are.
fn findings(state: &State, width: usize, height: u16) -> Vec<Line<'static>> {
    let times = if height < TALL_MIN { 1 } else { 2 };
    let mut lines = Vec::new();
    let is_well = |finding: &&Finding| finding.level == Level::Good;
    let mut told: Vec<_> = state.findings.iter().take(FINDINGS_SHOWN_MAX).collect();
    // What is well needs no line beside what isn't.
    if !told.iter().all(is_well) {
        told.retain(|finding| !is_well(finding));
    }
    for (place, finding) in told.into_iter().enumerate() {
        let (sign, color) = match finding.level {
            Level::Alarm => ("! ", Color::Red),
            Level::Warning => ("~ ", Color::Yellow),
            Level::Good => ("· ", Color::Green),
        };
        let mut style = Style::new().fg(color).bold();
        let mut what = finding.what.clone();
        if finding.over {
            what += " (it was so until a moment ago)";
            style = Style::new().fg(color);
        }
        let mut parts = vec![hang(sign, &what, width)];
        if place == 0 {
            for (label, more) in [("what helps", &finding.remedy), ("why", &finding.why)] {
                parts.push(match &more[..] {
                    "" => Vec::new(),
                    more => hang("  ", &format!("{label}: {more}"), width),
                });
            }
        }
        let most = match place {
            0 => FINDING_LINES_MAX,
            _ => OTHER_LINES_MAX,
        };
        let mut parts = fitted(parts, most * times, width);
        // The cause comes before what helps, which has the lines first.
        let what = parts.remove(0);
        parts.reverse();
        lines.extend(what.into_iter().map(|line| Line::styled(line, style)));
        lines.extend(parts.into_iter().flatten().map(Line::from));
    }
    lines
}

/// Texts in so many lines at most: one for each that there is, the others for those that come first. Who is cut says so.
fn fitted(texts: Vec<Vec<String>>, most: usize, width: usize) -> Vec<Vec<String>> {
    let there = texts.iter().filter(|text| !text.is_empty()).count();
    let mut spare = most.saturating_sub(there);
    let fit = |mut text: Vec<String>| {
        let more = text.len().saturating_sub(1).min(spare);
        spare -= more;
        if text.len() > 1 + more {
            text.truncate(1 + more);
            if let Some(last) = text.last_mut() {
                let kept: String = last.chars().take(width.saturating_sub(2)).collect();
                *last = format!("{} …", kept.trim_end());
            }
        }
        text
    };
    texts.into_iter().map(fit).collect()
}

/// All of it: what to do comes at the end of the text.
fn advice(state: &State, width: usize) -> impl Iterator<Item = Line<'_>> {
    let each = state.advice.iter();
    let lines = each.flat_map(move |text| wrap(&format!("adviser: {text}"), width));
    lines.take(ADVICE_LINES_MAX).map(Line::from)
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let most = (state.cores.len() as f64 - 1.0).max(0.1);
    let values = state
        .history
        .iter()
        .map(|point| point.imbalance.ratio / most);
    let figures = [
        format!("{:.2} ", state.imbalance.ratio),
        percent(state.imbalance.stranded),
        format!("{:.2}", state.imbalance.fairness),
    ];
    let legend = format!(
        "   (0, 0 %, 1: even; λ = {:.0}: one core does all)",
        most.round()
    );
    // The legend gives way to the history, and that to the figures.
    let width = usize::from(area.width);
    let words = "λ   stranded   Jain ".chars().count();
    let taken = words
        + figures
            .iter()
            .map(|figure| figure.chars().count())
            .sum::<usize>();
    let legend_width = legend.chars().count();
    let has_legend = width >= taken + legend_width;
    let room = width.saturating_sub(taken + if has_legend { legend_width } else { 0 });
    let [ratio, stranded, fairness] = figures;
    let mut spans = vec![
        "λ ".bold(),
        ratio.into(),
        Span::styled(
            sparkline(values, room.min(30)),
            Style::new().fg(Color::Cyan),
        ),
        "  stranded ".bold(),
        stranded.into(),
        "  Jain ".bold(),
        fairness.into(),
    ];
    if has_legend {
        spans.push(legend.dark_gray());
    }
    let block = Block::new()
        .borders(Borders::TOP)
        .title(" imbalance over ten seconds ".bold());
    frame.render_widget(Paragraph::new(Line::from(spans)).block(block), area);
}

#[cfg(test)]
mod tests;
