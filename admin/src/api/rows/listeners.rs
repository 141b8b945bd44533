//! The listeners.

use proxy_core::{ListenerView, View};
use serde::Serialize;

use crate::observed::Observed;

/// All of them.
#[derive(Serialize)]
pub(crate) struct Listeners<'v> {
    listeners: Vec<Row<'v>>,
}

/// One listener.
#[derive(Serialize)]
pub(crate) struct Row<'v> {
    listener: &'v str,
    /// "open", "paused", "drained", or "removed".
    state: &'static str,
    upstream: Option<&'v str>,
    connections: u64,
    /// Clients that the kernel has connected, and that wait to be accepted.
    waiting: u64,
    shares: Option<u16>,
    max_connections: Option<u64>,
}

impl<'v> Listeners<'v> {
    pub(crate) fn of(view: &'v View, observed: &Observed) -> Self {
        let rows = view.listeners.iter().map(|view| row(view, observed));
        Self {
            listeners: rows.collect(),
        }
    }

    /// One of them.
    pub(crate) fn one(view: &'v View, name: &str, observed: &Observed) -> Option<Row<'v>> {
        let mut views = view.listeners.iter();
        let view = views.find(|view| view.listener.name == name)?;
        Some(row(view, observed))
    }
}

fn row<'v>(view: &'v ListenerView, observed: &Observed) -> Row<'v> {
    let settings = view.settings.as_ref();
    let name = &view.listener.name;
    Row {
        listener: name,
        state: match settings {
            Some(_) => view.listener.state().label(),
            None => "removed",
        },
        upstream: settings.map(|settings| &settings.pool.upstream().name[..]),
        connections: view.listener.connections(),
        waiting: observed.surroundings.waiting(name),
        shares: settings.map(|settings| settings.shares),
        max_connections: settings.and_then(|settings| settings.max_connections),
    }
}
