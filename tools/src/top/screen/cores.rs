//! The cores: a line for each. Where there is no room for so many, there are a map of all and lines for the busiest.

use proxy_state::{Level, State};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use crate::top::words::{bytes, percent, sparkline};

/// Characters of a core's bar.
const BAR_WIDTH: usize = 20;

/// Characters of a core's line beside its bar and its history, at most.
const CORE_WORDS_WIDTH: usize = 62;

/// Characters of a core's name, or of those of a line of the map.
const NAME_WIDTH: usize = 9;

/// A line of the map has a multiple of so many cores.
const MAP_STEP: usize = 16;

/// Utilization under which a core is idle: it would be shown as 0 %.
const IDLE_MAX: f64 = 0.005;

/// What is drawn of them.
pub(super) struct Lines<'a> {
    title: String,
    lines: Vec<Line<'a>>,
}

impl Lines<'_> {
    /// Lines that they take, with their title.
    pub(super) fn height(&self) -> u16 {
        self.lines.len() as u16 + 1
    }

    pub(super) fn draw(self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::new().borders(Borders::TOP).title(self.title.bold());
        frame.render_widget(Paragraph::new(self.lines).block(block), area);
    }
}

/// As many lines as there is room for.
pub(super) fn lines(state: &State, width: usize, room: usize) -> Lines<'_> {
    let mut idle = 0;
    let mut order: Vec<usize> = (0..state.cores.len()).collect();
    let mut title = " cores in the last second ".to_owned();
    let mut lines = Vec::new();
    if order.len() > room {
        order.sort_by(|&one, &other| {
            let used = |core: usize| state.cores[core].utilization;
            used(other).total_cmp(&used(one))
        });
        lines = map(state, width, room);
        let left = room - lines.len();
        let busy = order
            .iter()
            .take_while(|&&core| state.cores[core].utilization >= IDLE_MAX);
        // Who is idle stands in the map, and needs no line.
        let busy = busy.count();
        let busiest = if busy < left { busy } else { left };
        idle = if busy < left { order.len() - busy } else { 0 };
        let all = order.len();
        let signs = if lines.is_empty() { "" } else { "a sign each" };
        let more = match (busiest, signs) {
            (0, _) => String::new(),
            (_, "") => format!("the {busiest} busiest of {all}"),
            _ => format!(", and the {busiest} busiest of {all}"),
        };
        title = format!(" cores in the last second: {signs}{more} ");
    }
    let bar = BAR_WIDTH.min(width.saturating_sub(CORE_WORDS_WIDTH)).max(4);
    // The history takes what the figures leave.
    let history = width.saturating_sub(bar + CORE_WORDS_WIDTH).min(120);
    let shown = (room - lines.len()).min(order.len() - idle);
    let busiest = order.into_iter().take(shown);
    lines.extend(busiest.map(|index| line(state, index, bar, history)));
    if idle > 0 {
        lines.push(format!("… {idle} more, idle").dark_gray().into());
    }
    Lines { title, lines }
}

/// A sign for each core, as high as it is busy; nothing where that leaves no room for the busiest.
fn map(state: &State, width: usize, room: usize) -> Vec<Line<'_>> {
    let signs = width.saturating_sub(NAME_WIDTH) / MAP_STEP * MAP_STEP;
    let signs = signs.max(MAP_STEP);
    if state.cores.len().div_ceil(signs) >= room {
        return Vec::new();
    }
    let lines = state.cores.chunks(signs).enumerate();
    let lines = lines.map(|(place, cores)| {
        let first = place * signs;
        let name = format!("{first}–{}", first + cores.len() - 1);
        let signs = cores.iter().map(|core| {
            let sign = sparkline([core.utilization].into_iter(), 1);
            match sign.trim() {
                "" => "·".dark_gray(),
                _ => Span::styled(sign, Style::new().fg(color(state, core.utilization))),
            }
        });
        let name = format!("{name:<NAME_WIDTH$}");
        Line::from_iter([name.into()].into_iter().chain(signs))
    });
    lines.collect()
}

fn line(state: &State, index: usize, bar: usize, history: usize) -> Line<'_> {
    let core = &state.cores[index];
    let full = ((core.utilization * bar as f64).round() as usize).min(bar);
    let color = color(state, core.utilization);
    let cpu = core
        .cpu
        .map_or_else(String::new, |cpu| format!("CPU {cpu}"));
    let points = state.history.iter();
    let values = points.map(|point| point.utilization.get(index).copied().unwrap_or(0.0));
    let mut spans = vec![
        format!("core {index:<3} {cpu:<8}").into(),
        Span::styled("█".repeat(full), Style::new().fg(color)),
        "·".repeat(bar - full).dark_gray(),
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

fn color(state: &State, utilization: f64) -> Color {
    match state.limits.level_of(utilization) {
        Level::Alarm => Color::Red,
        Level::Warning => Color::Yellow,
        Level::Good => Color::Green,
    }
}
