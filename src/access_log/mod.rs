//! The access log: a line for each connection, at its end.
//!
//! Workers leave ends in a bounded queue ([`Ends`]) and never wait; the thread `corelane-log` makes lines of them and
//! writes. While nothing ends it sleeps and makes no system call.

mod line;
mod logs;
mod output;
mod shared;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, Thread};
use std::time::Duration;

use proxy_admin::Lines;
use proxy_config as config;
use proxy_core::Ends;

pub(crate) use self::logs::AccessLogs;
use self::output::Output;
use self::shared::Shared;
use self::writer::Writer;

/// How long a start waits for the file to be opened, by a file system that may hang.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

/// How long the end of the process waits for lines to be written, by an output that may be stuck.
const FINISH_PATIENCE: Duration = Duration::from_secs(1);

/// An access log that is written.
pub(crate) struct AccessLog {
    /// For listeners to report ends to, and for who counts.
    shared: Arc<Shared>,
    thread: Thread,
    /// Its other side is gone when the thread is.
    finished: Receiver<()>,
}

impl AccessLog {
    /// Starts the thread, which opens the output.
    ///
    /// # Errors
    /// When the file can't be opened within [`OPEN_PATIENCE`], or there is no thread left for it.
    fn start(configured: &config::AccessLog) -> io::Result<Self> {
        let (ends, queue) = Ends::new(configured.queue.get() as usize);
        let shared = Arc::new(Shared::new(ends));
        let (opened, is_opened) = mpsc::channel();
        let (finish, finished) = mpsc::channel();
        let (configured, its) = (configured.clone(), shared.clone());
        let thread = thread::Builder::new()
            .name("corelane-log".to_owned())
            .spawn(move || {
                match Output::open(&configured.destination) {
                    Ok(output) => {
                        let _ = opened.send(Ok(()));
                        Writer::new(configured.format, output, queue, its).run();
                    }
                    Err(error) => drop(opened.send(Err(error))),
                }
                drop(finish);
            })?;
        is_opened.recv_timeout(OPEN_PATIENCE).unwrap_or_else(|_| {
            let hangs =
                format!("it was not opened within {OPEN_PATIENCE:?}: its file system hangs");
            Err(io::Error::new(io::ErrorKind::TimedOut, hangs))
        })?;
        Ok(Self {
            shared,
            thread: thread.thread().clone(),
            finished,
        })
    }

    /// Where listeners report ends.
    pub(crate) fn ends(&self) -> Arc<Ends> {
        self.shared.ends.clone()
    }

    /// Whether a connection may still end in it: one that began with it, or one of a table that a worker still has.
    fn is_needed(&self) -> bool {
        Arc::strong_count(&self.shared.ends) > 1
    }

    fn lines(&self) -> Lines {
        Lines {
            written: self.shared.lines(),
            dropped: self.shared.dropped(),
        }
    }

    /// Has it write what is left, and end.
    fn stop(&self) {
        self.shared.stop.store(true, SeqCst);
        self.shared.ends.nudge();
        self.thread.unpark();
    }

    /// Writes what is left, once no worker tells of ends any more. An output that is stuck is left to itself.
    fn finish(self) {
        self.stop();
        // Nothing is ever sent: the other side's end is the message.
        if self.finished.recv_timeout(FINISH_PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the access log's output is stuck: its last lines are lost");
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.stop();
    }
}
