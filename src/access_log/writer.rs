//! The thread that writes the lines.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use proxy_config::Format;
use proxy_core::End;

use super::line::Line;
use super::output::Output;
use super::shared::Shared;
use proxy_console::Refused;

/// Bytes after which a batch of lines is written, though more wait.
const BATCH_BYTES: usize = 64 * 1024;

/// How long it waits for more after it has written. Workers that end connections meanwhile need not wake it, so it is
/// woken at most so often a second.
const GATHER_INTERVAL: Duration = Duration::from_millis(20);

pub(super) struct Writer {
    format: Format,
    output: Output,
    queue: Receiver<Option<End>>,
    shared: Arc<Shared>,
    /// Lines on their way to the output.
    batch: Vec<u8>,
    lines: u64,
    /// Whether the output refused the last batch, which was said once.
    failing: bool,
}

impl Writer {
    pub(super) fn new(
        format: Format,
        output: Output,
        queue: Receiver<Option<End>>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            format,
            output,
            queue,
            shared,
            batch: Vec::with_capacity(BATCH_BYTES),
            lines: 0,
            failing: false,
        }
    }

    /// Writes until it is stopped.
    pub(super) fn run(mut self) {
        // It sleeps here for as long as nothing ends.
        while let Ok(first) = self.queue.recv() {
            let mut next = Some(first);
            // Until nothing came within an interval. An order may have come while it took the nudge.
            while next.is_some() || self.has_orders() {
                let stop = self.shared.stop.load(SeqCst);
                self.write(next);
                if stop {
                    return;
                }
                thread::park_timeout(GATHER_INTERVAL);
                next = self.queue.try_recv().ok();
            }
        }
    }

    /// Whether there is something to do that is no line.
    fn has_orders(&self) -> bool {
        self.shared.stop.load(SeqCst) || self.shared.reopen.load(SeqCst)
    }

    /// Writes `first` and what else waits.
    fn write(&mut self, first: Option<Option<End>>) {
        if self.shared.reopen.swap(false, SeqCst) {
            self.output.reopen();
        }
        let clock = Clock::now();
        let mut next = first.or_else(|| self.queue.try_recv().ok());
        while let Some(message) = next {
            if let Some(end) = message {
                let line = Line {
                    end: &end,
                    ended_at: clock.time_of(end.at),
                };
                line.write(&self.format, &mut self.batch);
                self.lines += 1;
            }
            if self.batch.len() >= BATCH_BYTES {
                self.flush();
            }
            next = self.queue.try_recv().ok();
        }
        self.flush();
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.lines);
        match self.output.write(&self.batch) {
            Ok(()) => {
                self.shared.lines.fetch_add(lines, Relaxed);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the access log can be written again");
                }
            }
            Err(Refused { written, error }) => {
                self.shared.lines.fetch_add(written, Relaxed);
                self.shared.lost.fetch_add(lines - written, Relaxed);
                if !self.failing {
                    tracing::warn!(%error, "the access log can't be written: its lines are dropped until it can");
                }
                self.failing = true;
            }
        }
        self.batch.clear();
    }
}

/// What time it is, by both clocks: ends come with the workers' time.
struct Clock {
    monotonic: Instant,
    civil: SystemTime,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the access log's clock, on its own thread"
    )]
    fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            civil: SystemTime::now(),
        }
    }

    /// An end that came after the clocks were read is one of now.
    fn time_of(&self, moment: Instant) -> SystemTime {
        self.civil - self.monotonic.saturating_duration_since(moment)
    }
}
