//! What the admin server shows of the queues and the logs.

use std::sync::Arc;

use proxy_admin::{Lines, Surroundings};

use crate::access_log;
use crate::backlog::Backlogs;

/// Who counts them.
pub(crate) struct Counts {
    pub(crate) backlogs: Arc<Backlogs>,
    /// None: there is no access log.
    pub(crate) access_log: Option<Arc<access_log::Shared>>,
}

impl Surroundings for Counts {
    fn waiting(&self, listener: &str) -> u64 {
        self.backlogs.waiting(listener)
    }

    fn drops(&self, listener: &str) -> u64 {
        self.backlogs.drops(listener)
    }

    fn access_log(&self) -> Lines {
        let log = self.access_log.as_ref();
        log.map_or_else(Lines::default, |log| Lines {
            written: log.lines(),
            dropped: log.dropped(),
        })
    }

    fn log_dropped(&self) -> u64 {
        proxy_console::dropped()
    }
}
