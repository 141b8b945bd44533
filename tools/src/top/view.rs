//! What is on the screen: the last state, and how it is to be sorted.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use super::filter::Filter;
use super::panel::{Panel, Scroll, Step};
use super::source::Update;
use proxy_state::{Connection, Connections, State};

/// What is known of the proxy.
pub(super) struct View {
    /// The admin server.
    pub(super) url: String,
    /// None before the first answer.
    pub(super) state: Option<State>,
    /// Why the proxy can't be asked now.
    pub(super) away: Option<String>,
    /// None where the proxy doesn't list them.
    pub(super) connections: Option<Listed>,
    pub(super) sort: Sort,
    /// Whether the least comes first.
    pub(super) reversed: bool,
    pub(super) filter: Filter,
    /// By [`Panel`].
    pub(super) scrolls: [Scroll; Panel::ALL.len()],
    pub(super) shows_help: bool,
    /// How old the state is.
    pub(super) age: Duration,
    /// What the answers to come are looked for by.
    finds: String,
    wanted_focus: Panel,
}

/// The connections of the last answer.
pub(super) struct Listed {
    pub(super) total: u64,
    /// The words that all of them have; empty: these are of all connections.
    pub(super) find: String,
    /// Each with its rate, in bytes a second.
    pub(super) rows: Vec<(Connection, f64)>,
}

/// What the connections are sorted by, the greatest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sort {
    Rate,
    Bytes,
    Age,
    Core,
}

impl Sort {
    const ALL: [Self; 4] = [Self::Rate, Self::Bytes, Self::Age, Self::Core];

    /// Its column's title.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Core => "core",
        }
    }
}

impl View {
    /// Nothing is known yet.
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            state: None,
            away: None,
            connections: None,
            sort: Sort::Rate,
            reversed: false,
            filter: Filter::default(),
            scrolls: Default::default(),
            shows_help: false,
            age: Duration::ZERO,
            finds: String::new(),
            wanted_focus: Panel::Connections,
        }
    }

    /// Takes what came of asking. While the proxy is away, what was last seen of it stays.
    pub(super) fn on_update(&mut self, update: Update) {
        match update {
            Update::Away(why) => self.away = Some(why),
            Update::Finds(words) => self.finds = words,
            Update::State(state, connections) => {
                self.away = None;
                self.connections = connections.map(|listed| self.with_rates(listed, &state));
                self.state = Some(*state);
                self.sort();
            }
        }
    }

    /// The table that the keys scroll.
    pub(super) fn focus(&self) -> Panel {
        match self.wanted_focus {
            panel if self.has(panel) => panel,
            _ => Panel::Servers,
        }
    }

    /// The keys scroll the next table.
    pub(super) fn focus_next(&mut self) {
        self.focus_after(1);
    }

    /// The keys scroll the table before.
    pub(super) fn focus_previous(&mut self) {
        self.focus_after(Panel::ALL.len() - 1);
    }

    /// Whether a table is there: of connections only where the proxy lists them, of routes only where it has some.
    pub(super) fn has(&self, panel: Panel) -> bool {
        match panel {
            Panel::Listeners | Panel::Servers => true,
            Panel::Routes => self
                .state
                .as_ref()
                .is_some_and(|state| !state.routes.is_empty()),
            Panel::Connections => self.connections.is_some(),
        }
    }

    /// That many tables further, of those that are there.
    fn focus_after(&mut self, steps: usize) {
        let there: Vec<_> = Panel::ALL
            .into_iter()
            .filter(|&panel| self.has(panel))
            .collect();
        let now = there.iter().position(|&panel| panel == self.focus());
        let place = now.unwrap_or_default() + steps.min(there.len() - 1);
        self.wanted_focus = there[place % there.len()];
    }

    /// Goes on in that table.
    pub(super) fn on_step(&mut self, step: Step) {
        self.scrolls[self.focus() as usize].on_step(step);
    }

    /// Sorts by the next column.
    pub(super) fn sort_by_next(&mut self) {
        let place = Sort::ALL.iter().position(|&sort| sort == self.sort);
        self.sort = Sort::ALL[(place.unwrap_or(0) + 1) % Sort::ALL.len()];
        self.sort();
    }

    /// Sorts the other way round.
    pub(super) fn reverse(&mut self) {
        self.reversed = !self.reversed;
        self.sort();
    }

    /// The time between two answers is the proxy's own; 0 where there was none, or another process answers.
    fn with_rates(&self, listed: Connections, state: &State) -> Listed {
        let before = self.state.as_ref().map(|state| state.uptime_seconds);
        let seconds = before.map_or(0.0, |before| state.uptime_seconds - before);
        let rows = self.connections.iter().flat_map(|listed| &listed.rows);
        let sums: HashMap<_, _> = rows.map(|(row, _)| (row.id, sum(row))).collect();
        let rate = |row: &Connection| match sums.get(&row.id) {
            Some(before) if seconds > 0.0 => sum(row).saturating_sub(*before) as f64 / seconds,
            _ => 0.0,
        };
        Listed {
            total: listed.total,
            find: self.finds.clone(),
            rows: listed
                .connections
                .into_iter()
                .map(|row| {
                    let rate = rate(&row);
                    (row, rate)
                })
                .collect(),
        }
    }

    fn sort(&mut self) {
        let (by, reversed) = (self.sort, self.reversed);
        let Some(listed) = &mut self.connections else {
            return;
        };
        listed.rows.sort_by(|one, other| {
            let order = order(by, other, one);
            let order = if reversed { order.reverse() } else { order };
            order.then(one.0.id.cmp(&other.0.id))
        });
    }
}

fn order(by: Sort, one: &(Connection, f64), other: &(Connection, f64)) -> Ordering {
    match by {
        Sort::Rate => one.1.total_cmp(&other.1),
        Sort::Bytes => sum(&one.0).cmp(&sum(&other.0)),
        Sort::Age => one.0.age_seconds.total_cmp(&other.0.age_seconds),
        Sort::Core => one.0.core.cmp(&other.0.core),
    }
}

/// Bytes of both directions.
pub(super) fn sum(connection: &Connection) -> u64 {
    connection.bytes_in.saturating_add(connection.bytes_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(uptime_seconds: f64, sums: &[(u64, u64)]) -> Update {
        let state = State {
            uptime_seconds,
            ..State::default()
        };
        let row = |&(id, bytes_in)| Connection {
            id,
            bytes_in,
            age_seconds: id as f64,
            core: id % 2,
            ..Connection::default()
        };
        let connections = Connections {
            total: sums.len() as u64,
            connections: sums.iter().map(row).collect(),
            ..Connections::default()
        };
        Update::State(Box::new(state), Some(connections))
    }

    fn ids(view: &View) -> Vec<u64> {
        let rows = &view.connections.as_ref().expect("connections").rows;
        rows.iter().map(|(row, _)| row.id).collect()
    }

    #[test]
    fn connections_are_sorted_by_what_is_chosen() {
        let mut view = View::new(String::new());
        view.on_update(update(10.0, &[(1, 500), (2, 100), (3, 900)]));
        // Without rates the order is that of the ids.
        assert_eq!(ids(&view), [1, 2, 3]);
        view.on_update(update(12.0, &[(1, 700), (2, 1100), (3, 900), (4, 9000)]));
        assert_eq!(ids(&view), [2, 1, 3, 4]);
        let rates = &view.connections.as_ref().expect("connections").rows;
        let rates: Vec<_> = rates.iter().map(|(_, rate)| *rate).collect();
        assert_eq!(rates, [500.0, 100.0, 0.0, 0.0]);
        view.sort_by_next();
        assert_eq!((view.sort, ids(&view)), (Sort::Bytes, vec![4, 2, 3, 1]));
        view.reverse();
        assert_eq!(ids(&view), [1, 3, 2, 4]);
        view.sort_by_next();
        assert_eq!((view.sort, ids(&view)), (Sort::Age, vec![1, 2, 3, 4]));
    }

    #[test]
    fn a_restart_shows_no_rates() {
        let mut view = View::new(String::new());
        view.on_update(update(100.0, &[(1, 500)]));
        view.on_update(Update::Away("connection refused".to_owned()));
        assert!(view.away.is_some() && view.state.is_some());
        view.on_update(update(1.0, &[(1, 900)]));
        assert!(view.away.is_none());
        assert_eq!(view.connections.expect("connections").rows[0].1, 0.0);
    }
}
