//! Listeners that a reload removed, until their last connection has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_core::backend::Backend;
use proxy_core::metrics::Cause;
use proxy_core::{Closing, Listener, Table};

/// How often their connections are counted.
pub(crate) const COUNT_INTERVAL: Duration = Duration::from_millis(50);

/// How often connections that are to be cut are run for that. One that is being connected may need it again.
const CUT_INTERVAL: Duration = Duration::from_secs(1);

/// Those that are not over.
#[derive(Debug, Default)]
pub(crate) struct Retiring(Vec<Gone>);

#[derive(Debug)]
struct Gone {
    listener: Arc<Listener>,
    /// When its connections are cut, or run again for that.
    cut_at: Instant,
}

impl Retiring {
    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A new table is in force: the listeners that it lacks have until `cut_at`, and their connections end as `closing` says before
    /// that. One that is there again is like any other. Returns whether connections are to see a change.
    pub(crate) fn on_table(
        &mut self,
        before: &Table,
        table: &Table,
        cut_at: Instant,
        closing: Option<Closing>,
    ) -> bool {
        let mut has_changed = false;
        let is_back = |listener: &Listener| table.settings_of(listener).is_some();
        self.0.retain(|gone| !is_back(&gone.listener));
        for settings in &table.listeners {
            has_changed |= settings.listener.closing.set(None);
        }
        for settings in &before.listeners {
            let listener = &settings.listener;
            if !is_back(listener) {
                let name = &listener.name;
                let connections = listener.connections();
                tracing::info!(
                    listener = name,
                    connections,
                    "the listener is removed; its connections may finish"
                );
                has_changed |= listener.closing.set(closing);
                self.0.push(Gone {
                    listener: listener.clone(),
                    cut_at,
                });
            }
        }
        has_changed
    }

    /// Cuts what is due, and forgets listeners without connections. Returns whether connections are to see that.
    pub(crate) fn tick(&mut self, backend: &dyn Backend, now: Instant) -> bool {
        let mut has_cut = false;
        self.0.retain_mut(|gone| {
            // Asked first: every accepted connection is counted by then.
            let is_over = !gone.listener.is_accepting() && gone.listener.connections() == 0;
            if is_over {
                backend.forget(&gone.listener);
            } else if gone.cut_at <= now {
                gone.listener
                    .closing
                    .set(Some(Closing::cut(Cause::Drain, now)));
                gone.cut_at = now + CUT_INTERVAL;
                has_cut = true;
            }
            !is_over
        });
        has_cut
    }
}
