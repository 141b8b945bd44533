//! The servers of the upstreams.

use ratatui::style::Style;

use super::{Column, Panel, Sheet, View, connections_of};
use crate::top::words::{brief, bytes, percent, rate, span};
use proxy_state::Server;

pub(super) fn of(view: &View) -> Sheet {
    let all = view.state.iter().flat_map(|state| &state.servers);
    let shown: Vec<&Server> = all
        .filter(|row| {
            view.filter
                .matches([row.upstream.as_str(), &row.server, state(row), &row.why])
        })
        .collect();
    let each = || shown.iter();
    let style = |row: &&Server| match state(row) {
        "up" => Style::new().green(),
        "full" | "draining" | "maintenance" | "removed" => Style::new().yellow(),
        _ => Style::new().red().bold(),
    };
    // Since when, and of its upstream's connections the part that it has and is to have.
    let now = view.state.as_ref().map_or(0.0, |state| state.unix_seconds);
    let since = |row: &&Server| {
        row.since
            .map_or_else(String::new, |since| span(now - since))
    };
    let share = |row: &&Server| match (row.had, row.wanted) {
        (Some(had), Some(wanted)) => format!("{}/{}", percent(had), percent(wanted)),
        (None, Some(wanted)) => format!("–/{}", percent(wanted)),
        _ => String::new(),
    };
    let weight = |row: &&Server| match (row.weight, row.configured_weight) {
        (Some(weight), Some(configured)) => format!("{weight:.1} of {configured}"),
        (Some(weight), None) => weight.to_string(),
        (None, _) => String::new(),
    };
    let mut columns = vec![
        Column::words("upstream", each().map(|row| row.upstream.clone())).optional(5),
        Column::words("server", each().map(|row| row.server.clone())),
        Column::words("state", each().map(|row| state(row).to_owned())).styled(each().map(style)),
        connections_of(each().map(|row| (row.connections, row.max_connections))),
        Column::figures("new/s", each().map(|row| rate(row.connects))).optional(4),
        Column::figures(
            "bytes/s",
            each().map(|row| bytes(row.bytes_in + row.bytes_out)),
        ),
        Column::figures("fail/s", each().map(|row| rate(row.failures))),
    ];
    // Clients that wait for a place at any server of the upstream.
    if each().any(|row| row.queue.is_some()) {
        let queue = |row: &&Server| {
            row.queue
                .map_or_else(String::new, |queue| queue.to_string())
        };
        columns.push(Column::figures("queue", each().map(queue)).optional(6));
    }
    // How long the first of them has waited.
    if each().any(|row| row.queue_seconds.is_some()) {
        let waits = |row: &&Server| row.queue_seconds.map_or_else(String::new, span);
        columns.push(Column::figures("waits", each().map(waits)).optional(3));
    }
    if each().any(|row| row.closing.is_some()) {
        let ends = |row: &&Server| closing(row, now);
        let yellow = |_: &&Server| Style::new().yellow();
        let column = Column::words("ends", each().map(ends)).styled(each().map(yellow));
        columns.push(column.optional(4));
    }
    if each().any(|row| row.check_seconds.is_some()) {
        let check = |row: &&Server| row.check_seconds.map_or_else(String::new, brief);
        columns.push(Column::figures("check", each().map(check)).optional(2));
    }
    if each().any(|row| row.since.is_some()) {
        columns.push(Column::figures("for", each().map(since)).optional(3));
    }
    if each().any(|row| !row.why.is_empty()) {
        columns.push(Column::words("why", each().map(|row| row.why.clone())).optional(0));
    }
    // One server has all of it.
    if each().any(|row| row.wanted.is_some_and(|wanted| wanted < 1.0)) {
        columns.push(Column::figures("weight", each().map(weight)).optional(1));
        columns.push(Column::figures("has/is to", each().map(share)).optional(2));
    }
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
            more => format!(", and {more} more that are not listed"),
        },
    }
}

/// What becomes of its connections that may not stay.
fn closing(server: &Server, now: f64) -> String {
    let Some(closing) = &server.closing else {
        return String::new();
    };
    let words = match &closing.how[..] {
        "reset" => "reset",
        _ => "closed",
    };
    match (closing.until - now).ceil() {
        left if left > 0.0 => format!("{words} in {}", span(left)),
        _ => words.to_owned(),
    }
}

/// The state of a server; an older proxy says only whether it is up.
fn state(server: &Server) -> &str {
    match (&server.state[..], server.up) {
        ("", true) => "up",
        ("", false) => "down",
        (state, _) => state,
    }
}
