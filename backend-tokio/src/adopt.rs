//! Connections that come from another scheduler.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proxy_core::backend::{Adopter, Moving};
use proxy_core::{Connection, Descriptor, Detached};
use tokio::runtime::Handle;

use crate::socket::Tokio;
use crate::task::ConnectionTask;
use crate::worker;

/// Spreads connections over runtimes.
#[derive(Debug)]
pub(crate) struct Runtimes {
    handles: Box<[Handle]>,
    turn: AtomicUsize,
}

impl Runtimes {
    pub(crate) fn new(handles: impl Iterator<Item = Handle>) -> Self {
        Self {
            handles: handles.collect(),
            turn: AtomicUsize::new(0),
        }
    }
}

impl Adopter for Runtimes {
    fn adopt(&self, moving: Moving) {
        let turn = self.turn.fetch_add(1, Relaxed);
        let handle = &self.handles[turn % self.handles.len()];
        drop(handle.spawn(arrive(Arriving(Some(moving)))));
    }
}

/// One that has not arrived. A stop drops it on a worker: it is cut, and counted.
struct Arriving(Option<Moving>);

impl Arriving {
    fn attach(&mut self) -> Option<ConnectionTask> {
        let detached = self.0.take()?.arrive();
        let connection = worker::with(|worker| Connection::attach(&Tokio, worker, detached))?;
        Some(ConnectionTask::new(connection))
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(moving) = self.0.take() {
            let detached: Detached<Descriptor> = moving.arrive();
            worker::try_with(|worker| {
                detached.abort(worker.slot(), worker.cells(), worker.now);
            });
        }
    }
}

async fn arrive(mut arriving: Arriving) {
    if let Some(task) = arriving.attach() {
        task.await;
    }
}
