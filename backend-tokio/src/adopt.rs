//! Connections that come from another scheduler.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::Connection;
use proxy_core::backend::{Adopter, Moving};
use tokio::runtime::Handle;

use crate::socket::Tokio;
use crate::task::ConnectionTask;
use crate::worker;

/// Connections that arrive at a time, before others have their turn.
const ARRIVALS_AT_A_TIME: usize = 32;

/// Spreads connections over runtimes.
#[derive(Debug)]
pub(crate) struct Runtimes {
    doors: Box<[Arc<Door>]>,
    turn: AtomicUsize,
}

/// The way into one runtime.
///
/// What another thread spawns waits in a queue that a busy worker looks at once in a while: a runtime of one thread takes
/// one task from there for 31 of its own. So what comes meanwhile is one task together.
#[derive(Debug)]
struct Door {
    runtime: Handle,
    /// Spawns the task of a connection, on a worker.
    spawn: fn(ConnectionTask),
    /// As long as there are any, a task is on its way that takes all of them.
    waiting: Mutex<Vec<Moving>>,
}

impl Runtimes {
    /// These, whose workers spawn the tasks of connections by `spawn`.
    pub(crate) fn new(runtimes: impl Iterator<Item = Handle>, spawn: fn(ConnectionTask)) -> Self {
        let door = |runtime| {
            Arc::new(Door {
                runtime,
                spawn,
                waiting: Mutex::default(),
            })
        };
        Self {
            doors: runtimes.map(door).collect(),
            turn: AtomicUsize::new(0),
        }
    }
}

impl Adopter for Runtimes {
    fn adopt(&self, moving: Moving) {
        let turn = self.turn.fetch_add(1, Relaxed);
        let door = &self.doors[turn % self.doors.len()];
        let mut waiting = door.lock();
        waiting.push(moving);
        let is_first = waiting.len() == 1;
        drop(waiting);
        if is_first {
            let arrivals = Arrivals::new(door.clone());
            drop(door.runtime.spawn(arrivals.arrive()));
        }
    }
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, Vec<Moving>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that have not arrived. A stop drops them: they are left to who sent them.
struct Arrivals {
    door: Arc<Door>,
    /// None: it has not run.
    taken: Option<Vec<Moving>>,
}

impl Arrivals {
    fn new(door: Arc<Door>) -> Self {
        Self { door, taken: None }
    }

    /// Those that are left.
    fn left(&mut self) -> &mut Vec<Moving> {
        let door = &self.door;
        self.taken
            .get_or_insert_with(|| std::mem::take(&mut *door.lock()))
    }

    async fn arrive(mut self) {
        let spawn = self.door.spawn;
        while !self.left().is_empty() {
            let some = self.left().len().min(ARRIVALS_AT_A_TIME);
            for moving in self.left().drain(..some) {
                let detached = moving.arrive();
                let attached = worker::with(|worker| Connection::attach(&Tokio, worker, detached));
                // Else it can't be watched, and was cut.
                if let Some(connection) = attached {
                    spawn(ConnectionTask::new(connection));
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.left().clear();
    }
}
