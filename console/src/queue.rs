//! Lines on their way to stderr.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lines::{Refused, newlines};

/// Bytes that may wait to be written. A line that finds no room is lost, and counted.
pub(crate) const LOG_BYTES_MAX: usize = 256 * 1024;

/// A bounded queue of lines, and who writes them.
///
/// Nobody waits for the writer, except [`Queue::flush`] for a limited time.
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// All is written.
    emptied: Condvar,
    /// Lines that were not written.
    dropped: AtomicU64,
    /// A flush timed out, and nothing was written since: there is no use in waiting again.
    is_stuck: AtomicBool,
}

struct State {
    waiting: Vec<u8>,
    /// Lines that found no room since the writer last took what waited.
    missed: u64,
    /// Whether the writer has lines in its hands.
    is_writing: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.missed == 0 && !self.is_writing
    }
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Vec::new(),
                missed: 0,
                is_writing: false,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: AtomicU64::new(0),
            is_stuck: AtomicBool::new(false),
        }
    }

    /// Leaves lines for the writer, if there is room for all of them.
    pub(super) fn push(&self, lines: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + lines.len() > LOG_BYTES_MAX {
            let count = newlines(lines);
            state.missed += count;
            self.dropped.fetch_add(count, Relaxed);
        } else {
            state.waiting.extend_from_slice(lines);
        }
        self.filled.notify_one();
    }

    /// Counts lines that the output refused after it had taken the first ones. Returns how many.
    pub(super) fn on_refused(&self, lines: &[u8], taken: u64) -> u64 {
        let count = newlines(lines) - taken;
        self.dropped.fetch_add(count, Relaxed);
        count
    }

    /// Lines that were not written.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits until all is written, but no longer than `patience`, and not at all for an output that was stuck before.
    pub(super) fn flush(&self, patience: Duration) {
        if self.is_stuck.load(Relaxed) {
            return;
        }
        let state = self.lock();
        let waited = self
            .emptied
            .wait_timeout_while(state, patience, |state| !state.is_idle());
        let waited = waited.unwrap_or_else(PoisonError::into_inner).1;
        self.is_stuck.store(waited.timed_out(), Relaxed);
    }

    /// Hands over what waits to `write`, for ever.
    pub(super) fn run(&self, mut write: impl FnMut(&[u8]) -> Result<(), Refused>) -> ! {
        let mut batch = Vec::new();
        // Lines that were lost since the reader was last told of it.
        let mut lost = 0;
        loop {
            let missed = self.take(&mut batch);
            let mut result = Ok(());
            if lost > 0 {
                result = write(note(lost).as_bytes());
            }
            if result.is_ok() {
                lost = 0;
                result = write(&batch);
            }
            if let Err(refused) = result {
                // Of the note, no line of the log was written.
                let taken = if lost > 0 { 0 } else { refused.written };
                lost += self.on_refused(&batch, taken);
            }
            self.is_stuck.store(false, Relaxed);
            // They came after what was just written.
            lost += missed;
            if missed > 0 && write(note(lost).as_bytes()).is_ok() {
                lost = 0;
            }
            batch.clear();
        }
    }

    /// Waits for something to write. Returns how many lines found no room behind it.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        state.is_writing = false;
        if state.is_idle() {
            self.emptied.notify_all();
        }
        let mut state = self
            .filled
            .wait_while(state, |state| state.is_idle())
            .unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        std::mem::swap(&mut state.waiting, batch);
        std::mem::take(&mut state.missed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the log says in the place of lines that it lacks.
fn note(lost: u64) -> String {
    format!("corelane: the log has a gap here, lines that could not be written: {lost}\n")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A queue whose writer sends each piece, and waits for what to make of it.
    struct Stage {
        queue: Arc<Queue>,
        pieces: mpsc::Receiver<String>,
        results: mpsc::Sender<Result<(), Refused>>,
    }

    impl Stage {
        fn new() -> Self {
            let queue = Arc::new(Queue::new());
            let (piece, pieces) = mpsc::channel();
            let (results, result) = mpsc::channel();
            let writer = queue.clone();
            // It lasts as long as the tests do.
            thread::spawn(move || {
                writer.run(|text| {
                    let _ = piece.send(String::from_utf8_lossy(text).into_owned());
                    result.recv().unwrap_or(Ok(()))
                })
            });
            Self {
                queue,
                pieces,
                results,
            }
        }

        fn piece(&self) -> String {
            self.pieces.recv_timeout(PATIENCE).expect("a piece")
        }

        fn answer(&self, result: Result<(), Refused>) {
            self.results.send(result).expect("the writer lives");
        }
    }

    fn refused(written: u64) -> Result<(), Refused> {
        let error = std::io::ErrorKind::StorageFull.into();
        Err(Refused { written, error })
    }

    #[test]
    fn lines_come_out_in_order() {
        let stage = Stage::new();
        stage.queue.push(b"a\n");
        assert_eq!(stage.piece(), "a\n");
        stage.queue.push(b"b\n");
        stage.queue.push(b"c\n");
        stage.answer(Ok(()));
        assert_eq!(stage.piece(), "b\nc\n");
        stage.answer(Ok(()));
        stage.queue.flush(PATIENCE);
        assert!(!stage.queue.is_stuck.load(Relaxed));
        assert_eq!(stage.queue.dropped(), 0);
    }

    #[test]
    fn nobody_waits_for_a_writer_that_is_stuck() {
        let stage = Stage::new();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        stage.queue.push(&line);
        stage.piece();
        let room = LOG_BYTES_MAX / line.len();
        (0..room + 5).for_each(|_| stage.queue.push(&line));
        assert_eq!(stage.queue.dropped(), 5);
        stage.queue.flush(Duration::from_millis(1));
        // At once: it is known to be stuck.
        stage.queue.flush(PATIENCE * 60);
        stage.answer(Ok(()));
        assert_eq!(stage.piece().lines().count(), room);
        stage.answer(Ok(()));
        assert_eq!(stage.piece(), note(5));
        stage.answer(Ok(()));
        stage.queue.push(b"again\n");
        assert_eq!(stage.piece(), "again\n");
        assert_eq!(stage.queue.dropped(), 5);
    }

    #[test]
    fn lines_that_are_refused_are_counted_and_named_when_it_goes_on() {
        let stage = Stage::new();
        stage.queue.push(b"a\nb\nc\n");
        stage.piece();
        stage.answer(refused(1));
        stage.queue.push(b"d\n");
        assert_eq!(stage.piece(), note(2));
        stage.answer(refused(0));
        stage.queue.push(b"e\n");
        assert_eq!(stage.piece(), note(3));
        stage.answer(Ok(()));
        assert_eq!(stage.piece(), "e\n");
        stage.answer(Ok(()));
        assert_eq!(stage.queue.dropped(), 3);
    }
}
