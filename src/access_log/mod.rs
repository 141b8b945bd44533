//! The access log: a line for each connection, at its end.
//!
//! Workers leave ends in a bounded queue ([`Ends`]) and never wait; the thread `corelane-log` makes lines of them and
//! writes. While nothing ends it sleeps and makes no system call.

mod line;
mod output;
mod shared;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, Thread};
use std::time::Duration;

use proxy_config as config;
use proxy_core::Ends;

use self::output::Output;
pub(crate) use self::shared::Shared;
use self::writer::Writer;

/// How long a start waits for the file to be opened, by a file system that may hang.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

/// How long the end of the process waits for lines to be written, by an output that may be stuck.
const FINISH_PATIENCE: Duration = Duration::from_secs(1);

/// An access log that is written.
pub(crate) struct AccessLog {
    /// For listeners to tell their ends to, and for whoever counts.
    pub(crate) shared: Arc<Shared>,
    thread: Thread,
    /// Its other side is gone when the thread is.
    finished: Receiver<()>,
}

impl AccessLog {
    /// Starts the thread, which opens the output.
    ///
    /// # Errors
    /// When the file can't be opened within [`OPEN_PATIENCE`], or there is no thread left for it.
    pub(crate) fn start(configured: &config::AccessLog) -> io::Result<Self> {
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

    /// Writes what is left, once no worker tells of ends any more. An output that is stuck is left to itself.
    pub(crate) fn finish(self) {
        self.shared.stop.store(true, SeqCst);
        self.shared.ends.nudge();
        self.thread.unpark();
        // Nothing is ever sent: the other side's end is the message.
        if self.finished.recv_timeout(FINISH_PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the access log's output is stuck: its last lines are lost");
        }
    }
}
