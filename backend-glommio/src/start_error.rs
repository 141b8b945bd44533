//! Why the cores did not start.

use std::io;

use crate::options::Options;
use crate::probe::{Memlock, Unavailable};

/// Why the cores did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Glommio can't run here.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Glommio refused to make an executor.
    #[error("worker {worker}: Glommio's executor can't be made: {reason}")]
    Executor {
        /// The worker's index.
        worker: usize,
        /// What Glommio says.
        reason: String,
        /// What the kernel said, where it did.
        error: io::Error,
    },
    /// Its CPU is not there, or the process may not choose it.
    #[error(
        "worker {worker} can't be pinned to CPU {cpu}: {error}; correct `cores`, or set pin = false"
    )]
    Pin {
        /// The worker's index.
        worker: usize,
        /// The CPU.
        cpu: usize,
        /// What the kernel says.
        error: io::Error,
    },
    /// There is no thread, descriptor or ring left for it.
    #[error("worker {worker} can't be started: {error}")]
    Io {
        /// The worker's index.
        worker: usize,
        /// What the kernel says.
        error: io::Error,
    },
    /// The system lets no more threads start.
    #[error(
        "the thread of worker {worker} can't be started: {error}; raise the limit of threads (`ulimit -u`, TasksMax= in \
         a systemd unit, `--pids-limit` for Docker), or use fewer `cores`"
    )]
    Thread {
        /// The worker's index.
        worker: usize,
        /// What the kernel says.
        error: io::Error,
    },
    /// There is no memory for a ring, most likely as locked memory is limited.
    #[error("worker {worker} can't have its rings: {memlock}")]
    Memlock {
        /// The worker's index.
        worker: usize,
        /// What is needed.
        memlock: Memlock,
    },
}

impl StartError {
    /// What the kernel said of a descriptor or a ring; none where the error has its own advice.
    pub fn of_kernel(&self) -> Option<&io::Error> {
        match self {
            Self::Executor { error, .. } | Self::Io { error, .. } => Some(error),
            Self::Unavailable(_)
            | Self::Pin { .. }
            | Self::Thread { .. }
            | Self::Memlock { .. } => None,
        }
    }

    /// With what to do about a lack of memory, where there is a limit of it.
    pub(crate) fn explain(self, workers: usize, options: &Options) -> Self {
        let (worker, kind) = match &self {
            Self::Executor { worker, error, .. } | Self::Io { worker, error } => {
                (*worker, error.kind())
            }
            _ => return self,
        };
        match Memlock::of(workers, options.ring_depth) {
            Some(memlock) if kind == io::ErrorKind::OutOfMemory => {
                Self::Memlock { worker, memlock }
            }
            _ => self,
        }
    }
}
