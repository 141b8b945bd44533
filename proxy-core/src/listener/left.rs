//! Clients that were accepted, wait for descriptors, and are left by one scheduler to the next.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::connection::origin::Origin;
use crate::descriptors::Postponed;

/// Those of one listener: one at most of each socket.
#[derive(Debug, Default)]
pub(super) struct Left {
    clients: Mutex<Vec<(Postponed, Origin)>>,
    count: AtomicUsize,
}

impl Left {
    pub(super) fn put(&self, client: (Postponed, Origin)) {
        let mut clients = self.lock();
        clients.push(client);
        self.count.store(clients.len(), Release);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Acquire) == 0
    }

    pub(super) fn take(&self) -> Option<(Postponed, Origin)> {
        if self.is_empty() {
            return None;
        }
        let mut clients = self.lock();
        let client = clients.pop();
        self.count.store(clients.len(), Release);
        client
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Postponed, Origin)>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
