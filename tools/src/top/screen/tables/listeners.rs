//! The listeners.

use ratatui::style::Style;

use super::{Column, Panel, Sheet, View, connections_of};
use crate::top::words::{bytes, rate};
use proxy_state::Listener;

pub(super) fn of(view: &View) -> Sheet {
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
        connections_of(each().map(|row| (row.connections, row.max_connections))),
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
