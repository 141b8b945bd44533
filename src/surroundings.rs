//! What the admin server shows of the queues and the logs.

use std::sync::Arc;

use proxy_admin::{Lines, Surroundings};

use crate::access_log::AccessLogs;
use crate::sockets::Sockets;

/// Who counts them.
pub(crate) struct Counts {
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) access_logs: Arc<AccessLogs>,
}

impl Surroundings for Counts {
    fn waiting(&self, listener: &str) -> u64 {
        self.sockets.waiting(listener)
    }

    fn sockets(&self, listener: &str) -> u64 {
        self.sockets.count(listener)
    }

    fn drops(&self, listener: &str) -> u64 {
        self.sockets.drops(listener)
    }

    fn access_log(&self) -> Lines {
        self.access_logs.lines()
    }

    fn log_dropped(&self) -> u64 {
        proxy_console::dropped()
    }
}
