//! Files that list clients, as people see them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A file that lists clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientList {
    /// Its path.
    pub file: String,
    /// Entries that are in force.
    pub entries: usize,
    /// Why the file is not in order; none: what is in force is what it says.
    pub problem: Option<String>,
}

/// Those of the configuration that runs.
#[derive(Debug, Default)]
pub struct ClientLists(Mutex<Vec<ClientList>>);

impl ClientLists {
    /// They were read.
    pub fn set(&self, lists: Vec<ClientList>) {
        *self.lock() = lists;
    }

    /// As they were read last.
    pub fn look(&self) -> Vec<ClientList> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ClientList>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
