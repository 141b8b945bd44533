//! How far a thread that reads has come.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// What is known of a thread that reads, from outside.
#[derive(Default)]
pub(super) struct Progress {
    /// The file that is being read.
    file: Mutex<PathBuf>,
    pub(super) is_pipe: AtomicBool,
    /// Something was read of that file.
    pub(super) has_begun: AtomicBool,
    /// Nobody waits for it any more.
    pub(super) is_abandoned: AtomicBool,
    /// What is read of some files instead of what they have.
    instead: Mutex<Vec<(PathBuf, Vec<u8>)>>,
}

impl Progress {
    /// Another file is read from now on.
    pub(super) fn begin(&self, file: &Path) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file.to_owned();
        self.is_pipe.store(false, Relaxed);
        self.has_begun.store(false, Relaxed);
    }

    /// Has `bytes` be read where `path` is read.
    pub(super) fn instead(&self, path: &Path, bytes: Vec<u8>) {
        let mut instead = self.instead.lock().unwrap_or_else(PoisonError::into_inner);
        instead.push((path.to_owned(), bytes));
    }

    /// What is to be read of a file instead of what it has.
    pub(super) fn instead_of(&self, path: &Path) -> Option<Vec<u8>> {
        let instead = self.instead.lock().unwrap_or_else(PoisonError::into_inner);
        let mut instead = instead.iter();
        Some(instead.find(|(known, _)| known == path)?.1.clone())
    }

    pub(super) fn file(&self) -> PathBuf {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.clone()
    }
}
