//! Files that list clients, as people see them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::family::Families;

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

    /// Adds the families.
    pub(super) fn collect(&self, families: &mut Families) {
        let lists = self.look();
        let mut entries = families.gauge(
            "corelane_client_list_entries",
            "Entries of a file that lists clients (allow, deny) that are in force.",
        );
        for list in &lists {
            entries.add_count(&[("file", &list.file)], list.entries as u64);
        }
        let mut success = families.gauge(
            "corelane_client_list_last_read_success",
            "1, or 0 when the file was not in order when it was read last: what was read before is in force.",
        );
        for list in &lists {
            success.add_count(&[("file", &list.file)], list.problem.is_none().into());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ClientList>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
