//! The access logs of a process: after a reload, connections still end in the log that they began with.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_admin::Lines;
use proxy_config as config;
use proxy_core::Ends;

use super::{AccessLog, output};
use crate::start_error::{Explain, cannot_start, cannot_write};

/// Logs of before that are still written. Beyond, the oldest ends, and connections that began with it leave no line.
const EARLIER_MAX: usize = 8;

/// The log that connections begin with, and those of before.
#[derive(Default)]
pub(crate) struct AccessLogs(Mutex<Logs>);

#[derive(Default)]
struct Logs {
    current: Option<AccessLog>,
    /// The oldest first.
    earlier: Vec<AccessLog>,
    /// Of those that ended.
    over: Lines,
}

impl AccessLogs {
    /// Opens what is configured. Nothing is written to it before it is [put](Self::put).
    ///
    /// # Errors
    /// When it can't be opened, with what to do.
    pub(crate) fn open(
        configured: Option<&config::AccessLog>,
    ) -> anyhow::Result<Option<AccessLog>> {
        let open = |configured: &config::AccessLog| {
            AccessLog::start(configured).explain(|error| cannot_log(&configured.destination, error))
        };
        configured.map(open).transpose()
    }

    /// Whether what is configured could be opened; nothing is made, and nothing written.
    ///
    /// # Errors
    /// Why it can't be, with what to do.
    pub(crate) fn check(configured: Option<&config::AccessLog>) -> anyhow::Result<()> {
        let Some(config::Destination::File(path)) = configured.map(|log| &log.destination) else {
            return Ok(());
        };
        let checked = output::check(path);
        checked.explain(|error| cannot_write("[access_log]", "`path`", path, error))
    }

    /// Has connections begin with this log from now on. Those of before keep theirs.
    pub(crate) fn put(&self, log: Option<AccessLog>) {
        let mut logs = self.lock();
        let before = std::mem::replace(&mut logs.current, log);
        logs.earlier.extend(before);
        logs.tidy();
    }

    /// Where listeners report ends.
    pub(crate) fn ends(&self) -> Option<Arc<Ends>> {
        let logs = self.lock();
        logs.current.as_ref().map(AccessLog::ends)
    }

    /// What all of them have written and dropped.
    pub(crate) fn lines(&self) -> Lines {
        let mut logs = self.lock();
        logs.tidy();
        let own = logs.current.iter().chain(&logs.earlier);
        own.fold(logs.over, |sum, log| add(sum, log.lines()))
    }

    /// Reopens their files, which may have been renamed.
    pub(crate) fn reopen(&self) {
        let logs = self.lock();
        let own = logs.current.iter().chain(&logs.earlier);
        own.for_each(|log| log.shared.reopen());
    }

    /// Writes what is left, once no worker tells of ends any more.
    pub(crate) fn finish(&self) {
        let logs = std::mem::take(&mut *self.lock());
        let own = logs.current.into_iter().chain(logs.earlier);
        own.for_each(AccessLog::finish);
    }

    fn lock(&self) -> MutexGuard<'_, Logs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logs {
    /// Ends those that no connection can write to any more.
    fn tidy(&mut self) {
        let mut excess = self.earlier.len().saturating_sub(EARLIER_MAX);
        let over = &mut self.over;
        self.earlier.retain(|log| {
            let is_needed = log.is_needed() && excess == 0;
            excess = excess.saturating_sub(1);
            if !is_needed {
                *over = add(*over, log.lines());
            }
            is_needed
        });
    }
}

fn add(one: Lines, other: Lines) -> Lines {
    Lines {
        written: one.written + other.written,
        dropped: one.dropped + other.dropped,
    }
}

fn cannot_log(destination: &config::Destination, error: &io::Error) -> String {
    match destination {
        config::Destination::Stdout => cannot_start("[access_log] on stdout", error),
        config::Destination::File(path) => cannot_write("[access_log]", "`path`", path, error),
    }
}
