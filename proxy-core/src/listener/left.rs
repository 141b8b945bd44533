//! Clients that were accepted, wait for descriptors or for a place, and are left by one scheduler to the next.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::connection::origin::Origin;
use crate::descriptors::{Postponed, Spare};
use crate::transport::Descriptor;

/// A client that was accepted and can't be taken on yet.
#[derive(Debug)]
pub(super) enum Held {
    /// There are no descriptors for it.
    Postponed(Postponed, Origin),
    /// There are, and no place.
    Next(Next),
}

/// A client for which there are descriptors.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) socket: Descriptor,
    pub(super) spare: Spare,
    pub(super) origin: Origin,
}

/// Those of one listener: one at most of each socket.
#[derive(Debug, Default)]
pub(super) struct Left {
    clients: Mutex<Vec<Held>>,
    count: AtomicUsize,
}

impl Left {
    pub(super) fn put(&self, client: Held) {
        let mut clients = self.lock();
        clients.push(client);
        self.count.store(clients.len(), Release);
    }

    pub(super) fn take(&self) -> Option<Held> {
        if self.count.load(Acquire) == 0 {
            return None;
        }
        let mut clients = self.lock();
        let client = clients.pop();
        self.count.store(clients.len(), Release);
        client
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
