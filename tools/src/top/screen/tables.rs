//! The tables: listeners, servers, connections.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::grid::{self, Column};
use crate::top::panel::Panel;
use crate::top::view::{Sort, View, sum};
use crate::top::words::{bytes, rate, span};
use proxy_state::{Connection, Listener, Server};

/// Lines of a table that are no rows: its title and its columns' titles.
const HEAD_LINES: u16 = 2;

/// Lines of a table with one row.
const LINES_MIN: u16 = HEAD_LINES + 1;

/// Rows of the table that the keys scroll, before the others have any.
const ROWS_FOCUSED: u16 = 4;

/// Rows that a table has before the one that the keys scroll takes the rest.
const ROWS_BESIDE: u16 = 3;

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

/// Draws the tables into what is left of the screen.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let width = usize::from(area.width);
    let (listeners, servers) = (listeners(view), servers(view));
    let side_by_side =
        grid::width(&listeners.columns) + GAP + grid::width(&servers.columns) <= width;
    let mut bands = if side_by_side {
        vec![vec![listeners, servers]]
    } else {
        vec![vec![listeners], vec![servers]]
    };
    if view.connections.is_some() {
        bands.push(vec![connections(view, width)]);
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
    grow(&mut heights, &mut left, focused, HEAD_LINES + ROWS_FOCUSED);
    let others: Vec<_> = (0..bands.len())
        .rev()
        .filter(|&band| band != focused)
        .collect();
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
        grow(&mut heights, &mut left, band, HEAD_LINES + ROWS_BESIDE);
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

fn listeners(view: &View) -> Sheet {
    let all = view.state.iter().flat_map(|state| &state.listeners);
    let shown: Vec<&Listener> = all
        .filter(|row| view.filter.matches([row.name.as_str(), &row.upstream]))
        .collect();
    let each = || shown.iter();
    let red = |is_red: bool| {
        if is_red {
            Style::new().red()
        } else {
            Style::new()
        }
    };
    let columns = vec![
        Column::words("listener", each().map(|row| row.name.clone())),
        Column::figures("conns", each().map(|row| row.connections.to_string())),
        Column::figures("new/s", each().map(|row| rate(row.accepts))).optional(1),
        Column::figures("in/s", each().map(|row| bytes(row.bytes_in))),
        Column::figures("out/s", each().map(|row| bytes(row.bytes_out))),
        Column::figures("queue", each().map(|row| row.waiting.to_string())).optional(0),
        Column::figures("rej/s", each().map(|row| rate(row.rejects)))
            .styled(each().map(|row| red(row.rejects > 0.0))),
    ];
    Sheet {
        panel: Panel::Listeners,
        columns,
        rows: shown.len(),
        row_lines: 1,
        counts: String::new(),
    }
}

fn servers(view: &View) -> Sheet {
    let all = view.state.iter().flat_map(|state| &state.servers);
    let shown: Vec<&Server> = all
        .filter(|row| {
            let state = if row.up { "up" } else { "down" };
            view.filter
                .matches([row.upstream.as_str(), &row.server, state])
        })
        .collect();
    let each = || shown.iter();
    let state = |row: &&Server| if row.up { "up" } else { "down" }.to_owned();
    let style = |row: &&Server| {
        if row.up {
            Style::new().green()
        } else {
            Style::new().red().bold()
        }
    };
    let columns = vec![
        Column::words("upstream", each().map(|row| row.upstream.clone())).optional(2),
        Column::words("server", each().map(|row| row.server.clone())),
        Column::words("state", each().map(state)).styled(each().map(style)),
        Column::figures("conns", each().map(|row| row.connections.to_string())),
        Column::figures("new/s", each().map(|row| rate(row.connects))).optional(1),
        Column::figures(
            "bytes/s",
            each().map(|row| bytes(row.bytes_in + row.bytes_out)),
        ),
        Column::figures("fail/s", each().map(|row| rate(row.failures))),
    ];
    let left_out = view
        .state
        .as_ref()
        .map_or(0, |state| state.servers_left_out);
    Sheet {
        panel: Panel::Servers,
        columns,
        rows: shown.len(),
        row_lines: 1,
        counts: match left_out {
            0 => String::new(),
            more => format!(", and {more} more that are up or idle"),
        },
    }
}

fn connections(view: &View, room: usize) -> Sheet {
    let listed = view.connections.as_ref();
    let all = listed.into_iter().flat_map(|listed| &listed.rows);
    let shown: Vec<_> = all
        .filter(|(row, _)| {
            let server = row.server.as_deref().unwrap_or_default();
            let core = format!("core {}", row.core);
            let words = [
                row.client.as_str(),
                &row.peer,
                &row.listener,
                server,
                &core,
                &row.state,
            ];
            view.filter.matches(words)
        })
        .collect();
    let one_line = connection_columns(view, &shown, false);
    // Two addresses that have no room beside each other stand one below the other.
    let (columns, row_lines) = if grid::width_min(&one_line) <= room {
        (one_line, 1)
    } else {
        (connection_columns(view, &shown, true), 2)
    };
    let total = listed.map_or(0, |listed| listed.total);
    let asked = listed.map_or(0, |listed| listed.rows.len()) as u64;
    Sheet {
        panel: Panel::Connections,
        columns,
        rows: shown.len(),
        row_lines,
        counts: if total > asked {
            format!(": {total}, here the {asked} with the most bytes")
        } else {
            format!(": {total}")
        },
    }
}

fn connection_columns(view: &View, shown: &[&(Connection, f64)], is_stacked: bool) -> Vec<Column> {
    let each = || shown.iter().map(|(row, _)| row);
    let server = |row: &Connection| row.server.clone().unwrap_or_default();
    let client = |row: &Connection| {
        // Who it came by, if that is somebody else.
        let client = if row.peer.is_empty() || row.peer == row.client {
            row.client.clone()
        } else {
            format!("{} by {}", row.client, row.peer)
        };
        if is_stacked {
            format!("{client}\n→ {}", server(row))
        } else {
            client
        }
    };
    let arrow = if view.reversed { "▲" } else { "▼" };
    let is_sorted = |sort: Sort| sort == view.sort;
    let title = |sort: Sort| {
        let arrow = if is_sorted(sort) { arrow } else { "" };
        format!("{}{arrow}", sort.title())
    };
    let sorted = |sort: Sort, cells: Vec<String>, rank| {
        let column = Column::figures(&title(sort), cells.into_iter());
        column.optional(rank).stays_if(is_sorted(sort))
    };
    let client_title = if is_stacked {
        "client → server"
    } else {
        "client"
    };
    let mut columns = vec![
        Column::words(client_title, each().map(client)),
        Column::words("listener", each().map(|row| row.listener.clone())).optional(3),
    ];
    if !is_stacked {
        columns.push(Column::words("server", each().map(server)));
    }
    let cores = each().map(|row| row.core.to_string()).collect();
    let ages = each().map(|row| span(row.age_seconds)).collect();
    let idle = each().map(|row| span(row.idle_seconds));
    let sums = each().map(|row| bytes(sum(row) as f64)).collect();
    let rates = shown.iter().map(|(_, rate)| format!("{}/s", bytes(*rate)));
    columns.extend([
        sorted(Sort::Core, cores, 2),
        sorted(Sort::Age, ages, 4),
        Column::figures("idle", idle).optional(1),
        sorted(Sort::Bytes, sums, 5),
        sorted(Sort::Rate, rates.collect(), 6),
        Column::words("state", each().map(|row| row.state.clone())).optional(0),
    ]);
    columns
}
