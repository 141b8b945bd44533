//! Which sockets are accepted from, and how accepting stops.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::Listener;
use proxy_core::backend::{OpenSocket, OpenSockets};
use tokio::sync::watch;

/// The listeners that are accepted for.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    open: Mutex<Vec<(Arc<Listener>, watch::Sender<bool>)>>,
    sockets: OpenSockets,
}

/// What one task accepts by.
#[derive(Debug)]
pub(crate) struct Gate {
    closed: watch::Receiver<bool>,
    _open: OpenSocket,
}

impl Gates {
    /// The gate for one more socket of a listener.
    pub(crate) fn gate(&self, listener: &Arc<Listener>) -> Gate {
        let mut open = self.lock();
        let known = open
            .iter()
            .position(|(other, _)| Arc::ptr_eq(other, listener));
        let place = known.unwrap_or_else(|| {
            open.push((listener.clone(), watch::channel(false).0));
            open.len() - 1
        });
        Gate {
            closed: open[place].1.subscribe(),
            _open: self.sockets.open(),
        }
    }

    /// Closes those of a listener.
    pub(crate) fn close(&self, listener: &Arc<Listener>) {
        // A sender that is gone says so to its receivers.
        self.lock()
            .retain(|(other, _)| !Arc::ptr_eq(other, listener));
    }

    /// Closes all.
    pub(crate) fn close_all(&self) {
        self.lock().clear();
    }

    /// Whether none is open, and every connection that was accepted is counted.
    pub(crate) fn are_closed(&self) -> bool {
        self.sockets.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<Listener>, watch::Sender<bool>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Waits until it is closed.
    pub(crate) async fn closed(&mut self) {
        // An error means that the sender is gone.
        let _ = self.closed.wait_for(|&closed| closed).await;
    }
}
