//! The routes of the listeners.

use super::{Column, Panel, Sheet, View};
use crate::top::words::{elide, percent, rate};
use proxy_state::Route;

/// Characters of a route's name, and of what it asks for.
const NAME_WIDTH_MAX: usize = 32;

pub(super) fn of(view: &View) -> Sheet {
    let all = view.state.iter().flat_map(|state| &state.routes);
    let shown: Vec<(&Route, String)> = all
        .map(|row| (row, target(row)))
        .filter(|(row, to)| {
            let words = [row.listener.as_str(), &row.route, &row.asks, to];
            view.filter.matches(words)
        })
        .collect();
    let each = || shown.iter().map(|(row, _)| *row);
    let name = |row: &Route| match &row.route[..] {
        "" => "none of them".to_owned(),
        name => elide(name, NAME_WIDTH_MAX),
    };
    let left_out = view.state.as_ref().map_or(0, |state| state.routes_left_out);
    let columns = vec![
        Column::words("listener", each().map(|row| row.listener.clone())).optional(2),
        Column::words("route", each().map(name)),
        Column::words("for", each().map(|row| elide(&row.asks, NAME_WIDTH_MAX))).optional(1),
        Column::words(
            "to",
            shown.iter().map(|(_, to)| elide(to, 2 * NAME_WIDTH_MAX)),
        ),
        Column::figures("taken", each().map(|row| row.connections.to_string())),
        Column::figures("new/s", each().map(|row| rate(row.accepts))),
    ];
    Sheet {
        panel: Panel::Routes,
        columns,
        rows: shown.len(),
        row_lines: 1,
        counts: match left_out {
            0 => String::new(),
            more => format!(", and {more} more that are less busy"),
        },
    }
}

/// Where a route leads.
fn target(route: &Route) -> String {
    let targets = route.to.iter().map(|target| match target.share {
        Some(share) => format!("{} {}", target.upstream, percent(share)),
        None => target.upstream.clone(),
    });
    match &targets.collect::<Vec<_>>()[..] {
        [] => "refused".to_owned(),
        targets => targets.join(", "),
    }
}
