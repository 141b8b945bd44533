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
}

impl Progress {
    /// Another file is read from now on.
    pub(super) fn begin(&self, file: &Path) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file.to_owned();
        self.is_pipe.store(false, Relaxed);
        self.has_begun.store(false, Relaxed);
    }

    pub(super) fn file(&self) -> PathBuf {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.clone()
    }
}
