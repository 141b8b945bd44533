//! The connections.

use super::grid;
use super::{Column, Panel, Sheet, View};
use crate::top::view::{Sort, sum};
use crate::top::words::{bytes, elide, span};
use proxy_state::Connection;

/// Characters of what a client says: it is the client's affair how long it is.
const NAME_WIDTH_MAX: usize = 32;

pub(super) fn of(view: &View, room: usize) -> Sheet {
    let listed = view.connections.as_ref();
    let all = listed.into_iter().flat_map(|listed| &listed.rows);
    // The proxy has looked among all of them.
    let is_answered = listed.is_some_and(|listed| listed.find == view.filter.words());
    let shown: Vec<_> = all
        .filter(|(row, _)| {
            if is_answered {
                return true;
            }
            let server = row.server.as_deref().unwrap_or_default();
            let core = format!("core {}", row.core);
            let words = [
                row.client.as_str(),
                &row.peer,
                &row.listener,
                row.sni.as_deref().unwrap_or_default(),
                row.alpn.as_deref().unwrap_or_default(),
                row.route.as_deref().unwrap_or_default(),
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
        counts: {
            let live = view.state.as_ref().map_or(0, |state| state.connections);
            let is_part = listed.is_some_and(|listed| !listed.find.is_empty());
            let of_all = match live {
                all if is_part && all > total => format!(" of {all}"),
                _ => String::new(),
            };
            if total > asked {
                format!(": {total}{of_all}, here the {asked} with the most bytes")
            } else {
                format!(": {total}{of_all}")
            }
        },
    }
}

/// Something of a connection that its client said.
type Said = fn(&Connection) -> Option<&str>;

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
    // Who hears no names has no columns for them.
    let said: [(&str, Said, u8); 3] = [
        ("SNI", |row| row.sni.as_deref(), 4),
        ("ALPN", |row| row.alpn.as_deref(), 1),
        ("route", |row| row.route.as_deref(), 5),
    ];
    for (title, read, rank) in said {
        if each().any(|row| read(row).is_some()) {
            let cells = each().map(|row| elide(read(row).unwrap_or_default(), NAME_WIDTH_MAX));
            columns.push(Column::words(title, cells).optional(rank));
        }
    }
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
        sorted(Sort::Age, ages, 6),
        Column::figures("idle", idle).optional(1),
        sorted(Sort::Bytes, sums, 7),
        sorted(Sort::Rate, rates.collect(), 8),
        Column::words("state", each().map(|row| row.state.clone())).optional(0),
    ]);
    columns
}
