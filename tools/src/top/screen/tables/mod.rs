//! The tables: listeners, servers, routes, connections.

mod connections;
mod listeners;
mod routes;
mod servers;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::grid::{self, Column};
use crate::top::panel::Panel;
use crate::top::view::View;

/// Lines of a table that are no rows: its title and its columns' titles.
const HEAD_LINES: u16 = 2;

/// Lines of a table with one row.
const LINES_MIN: u16 = HEAD_LINES + 1;

/// Rows of the table that the keys scroll, before the others have any: where there is room for these, and at the least.
const ROWS_FOCUSED: u16 = 4;
const ROWS_FOCUSED_MIN: u16 = 2;

/// Rows that a table has before the one that the keys scroll takes the rest.
const ROWS_BESIDE: u16 = 3;

/// Part of a limit from which on it is nearly reached.
const FULL_MIN: f64 = 0.9;

/// Characters between two tables that stand side by side.
const GAP: usize = 2;

/// A table as it is to be drawn.
struct Sheet {
    panel: Panel,
    columns: Vec<Column>,
    rows: usize,
    /// Lines of a row.
    row_lines: u16,
    /// Beside the panel's name.
    counts: String,
}

/// Connections, each with its limit where there is one.
fn connections_of(rows: impl Iterator<Item = (u64, Option<u64>)> + Clone) -> Column {
    let text = |(count, most): (u64, Option<u64>)| match most {
        Some(most) => format!("{count}/{most}"),
        None => count.to_string(),
    };
    let style = |(count, most): (u64, Option<u64>)| match most {
        Some(most) if count as f64 >= FULL_MIN * most as f64 => Style::new().yellow(),
        _ => Style::new(),
    };
    Column::figures("conns", rows.clone().map(text)).styled(rows.map(style))
}

/// Draws the tables into what is left of the screen.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let width = usize::from(area.width);
    let (listeners, servers) = (listeners::of(view), servers::of(view));
    let side_by_side =
        grid::width(&listeners.columns) + GAP + grid::width(&servers.columns) <= width;
    let mut bands = if side_by_side {
        vec![vec![listeners, servers]]
    } else {
        vec![vec![listeners], vec![servers]]
    };
    if view.has(Panel::Routes) {
        bands.push(vec![routes::of(view)]);
    }
    if view.has(Panel::Connections) {
        bands.push(vec![connections::of(view, width)]);
    }
    let focus = view.focus();
    let heights = heights(area.height, &bands, focus);
    let mut top = area.y;
    for (band, height) in bands.into_iter().zip(heights) {
        let mut left = area.x;
        for sheet in band {
            let rest = area.right() - left;
            let width = if side_by_side && sheet.panel == Panel::Listeners {
                grid::width(&sheet.columns) as u16
            } else {
                rest
            };
            if height > 0 {
                draw_sheet(frame, Rect::new(left, top, width, height), view, sheet);
            }
            left = left.saturating_add(width + GAP as u16).min(area.right());
        }
        top += height;
    }
}

/// The lines of each band of tables. Where there is no room for all, the one that the keys scroll stays.
fn heights(room: u16, bands: &[Vec<Sheet>], focus: Panel) -> Vec<u16> {
    let lines =
        |rows: usize, lines: u16| (rows.min(1000) as u16).saturating_mul(lines) + HEAD_LINES;
    let wanted: Vec<u16> = bands
        .iter()
        .map(|band| {
            let each = band
                .iter()
                .map(|sheet| lines(sheet.rows.max(1), sheet.row_lines));
            each.max().unwrap_or_default()
        })
        .collect();
    let focused = bands
        .iter()
        .position(|band| band.iter().any(|sheet| sheet.panel == focus))
        .unwrap_or_default();
    let mut heights = vec![0; bands.len()];
    let mut left = room;
    let grow = |heights: &mut [u16], left: &mut u16, band: usize, to: u16| {
        let more = to
            .min(wanted[band])
            .saturating_sub(heights[band])
            .min(*left);
        heights[band] += more;
        *left -= more;
    };
    let least = LINES_MIN * (bands.len() as u16).saturating_sub(1);
    let first = room.saturating_sub(least);
    let first = first.clamp(HEAD_LINES + ROWS_FOCUSED_MIN, HEAD_LINES + ROWS_FOCUSED);
    grow(&mut heights, &mut left, focused, first);
    let mut others: Vec<_> = (0..bands.len())
        .rev()
        .filter(|&band| band != focused)
        .collect();
    // Where there is no room for all, routes are only counted by their listener.
    let has_routes = |band: usize| bands[band].iter().any(|sheet| sheet.panel == Panel::Routes);
    others.sort_by_key(|&band| has_routes(band));
    let others: Vec<_> = others
        .into_iter()
        // A head without rows says nothing.
        .filter(|&band| {
            let fits = left >= LINES_MIN;
            if fits {
                grow(&mut heights, &mut left, band, LINES_MIN);
            }
            fits
        })
        .collect();
    for &band in &others {
        // Each has its part, so that what is in trouble is seen.
        let part = room / bands.len() as u16;
        let beside = part.max(HEAD_LINES + ROWS_BESIDE);
        grow(&mut heights, &mut left, band, beside);
    }
    grow(&mut heights, &mut left, focused, u16::MAX);
    for &band in &others {
        grow(&mut heights, &mut left, band, u16::MAX);
    }
    heights
}

fn draw_sheet(frame: &mut Frame<'_>, area: Rect, view: &View, sheet: Sheet) {
    let visible = usize::from(area.height.saturating_sub(HEAD_LINES) / sheet.row_lines.max(1));
    let scroll = &view.scrolls[sheet.panel as usize];
    let first = scroll.on_draw(sheet.rows, visible);
    let mut title = format!("{}{}", sheet.panel.title(), sheet.counts);
    if sheet.rows > visible && visible > 0 {
        let last = (first + visible).min(sheet.rows);
        title += &format!(" [{}-{last} of {}]", first + 1, sheet.rows);
    }
    let title = grid::title(&title, view.focus() == sheet.panel);
    let table = grid::table(sheet.columns, area.width.into(), first, title);
    frame.render_widget(table, area);
}
