//! stdout and stderr, for everything that the binary says.
//!
//! The log may never end or hold up a thread. So lines for stderr go into a bounded queue, which the thread
//! `corelane-stderr` writes; one that is full or that can't be written costs lines, which are counted. What a command
//! prints on stdout is written at once, and a failure is remembered for its exit code. `println!` and `eprintln!`
//! panic where these don't, and clippy forbids them in every crate that prints.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod lines;
mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

pub use self::lines::{LineWriter, Refused};
use self::queue::Queue;

/// Prints a line on stdout.
#[macro_export]
macro_rules! outln {
    () => {
        $crate::outln!("")
    };
    ($($arguments:tt)*) => {
        $crate::print(format_args!("{}\n", format_args!($($arguments)*)))
    };
}

/// Leaves a line for stderr.
#[macro_export]
macro_rules! errln {
    ($($arguments:tt)*) => {
        $crate::queue_line(format_args!($($arguments)*))
    };
}

/// How long the end of the process, and each print, waits for stderr.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

type Stream = Mutex<LineWriter<BorrowedFd<'static>>>;

static STDOUT: Stream = Mutex::new(LineWriter::inherited(rustix::stdio::stdout()));
static STDERR: Stream = Mutex::new(LineWriter::inherited(rustix::stdio::stderr()));

/// Lines for stderr.
static QUEUE: Queue = Queue::new();

/// Whether a thread writes what is in [`QUEUE`].
static HAS_WRITER: AtomicBool = AtomicBool::new(false);

/// Which of stdout and stderr is missing: nobody sees what is written in its place.
static MISSING: LazyLock<[bool; 2]> = LazyLock::new(proxy_sys::streams_missing_at_start);

/// What stdout said when it first refused something.
static STDOUT_FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// The console of a process, as long as this lives. Lines that wait are written when it is dropped, also by a panic.
pub struct Console(());

impl Console {
    /// Starts the thread that writes to stderr, and has panics reported there, too. Without that
    /// thread, a thread that logs writes.
    pub fn start() -> Self {
        // Its default ends the process, where a limit of the size of files (`ulimit -f`) is reached.
        proxy_sys::ignore_file_size_signal();
        let thread = thread::Builder::new().name("corelane-stderr".to_owned());
        let started = thread.spawn(|| QUEUE.run(write_stderr));
        HAS_WRITER.store(started.is_ok(), Relaxed);
        panic::set_hook(Box::new(report_panic));
        Self(())
    }

    /// The exit code of a process that would end with `code`: a failure if stdout refused something. If only its
    /// reader is gone (`| head`), that is no failure.
    pub fn finish(self, code: ExitCode) -> ExitCode {
        let failure = lock(&STDOUT_FAILURE).take();
        match failure {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                errln!("corelane: stdout can't be written: {error}");
                ExitCode::FAILURE
            }
            _ => code,
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        flush();
    }
}

/// Where `tracing` writes: each event comes as one write.
pub struct Log;

impl Write for Log {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        push(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints on stdout, for a command: it waits as long as there is no room. What was left for stderr before comes first.
/// After a failure, nothing is printed any more.
pub fn print(text: fmt::Arguments<'_>) {
    if has_failed() {
        return;
    }
    flush();
    if let Err(refused) = write_stdout(text.to_string().as_bytes()) {
        lock(&STDOUT_FAILURE).get_or_insert(refused.error);
    }
}

/// Whether what is printed is not seen by anyone any more.
pub fn has_failed() -> bool {
    lock(&STDOUT_FAILURE).is_some()
}

/// Leaves a line for stderr.
pub fn queue_line(line: fmt::Arguments<'_>) {
    push(format!("{line}\n").as_bytes());
}

/// Prints whole lines on stdout, on a thread of their own: nobody waits for them. If they are refused, the log says
/// so. Returns what ends with that thread. Where no thread can be started, they are written at once if there is room.
pub fn announce(lines: &str) -> Announcement {
    let (sender, over) = mpsc::channel();
    let thread = thread::Builder::new().name("corelane-stdout".to_owned());
    let text = lines.to_owned();
    let started = thread.spawn(move || {
        write_addresses(&text);
        drop(sender);
    });
    if let Err(error) = started {
        if has_room(lines.len()) {
            write_addresses(lines);
        } else {
            tracing::warn!(%error, "stdout isn't written: it is full, and there is no thread to wait for it");
        }
    }
    Announcement { over }
}

fn write_addresses(lines: &str) {
    if let Err(refused) = write_stdout(lines.as_bytes()) {
        tracing::warn!(error = %refused.error, "stdout can't be written: nobody is told the addresses there");
    }
}

/// Whether stdout takes so many bytes without waiting.
fn has_room(bytes: usize) -> bool {
    /// Where a pipe can be written at all, it takes so many at least (`PIPE_BUF` of pipe(7)).
    const SURE_BYTES: usize = 4096;
    let at_once = Timespec::default();
    let mut stdout = [PollFd::from_borrowed_fd(
        rustix::stdio::stdout(),
        PollFlags::OUT,
    )];
    bytes <= SURE_BYTES && poll(&mut stdout, Some(&at_once)) == Ok(1)
}

/// Lines that are on their way to stdout.
pub struct Announcement {
    /// Its other side is gone when they are written.
    over: mpsc::Receiver<()>,
}

impl Announcement {
    /// Waits for them, within bounds.
    pub fn finish(self) {
        // Nothing is ever sent: the other side's end is the message.
        let _ = self.over.recv_timeout(FLUSH_PATIENCE);
    }
}

/// Writes whole lines to stdout, on a thread that may wait.
///
/// # Errors
/// When stdout refuses them.
pub fn write_stdout(lines: &[u8]) -> Result<(), Refused> {
    let [is_missing, _] = *MISSING;
    write(is_missing, &STDOUT, lines)
}

fn write_stderr(lines: &[u8]) -> Result<(), Refused> {
    let [_, is_missing] = *MISSING;
    write(is_missing, stderr(), lines)
}

fn write(is_missing: bool, stream: &Stream, lines: &[u8]) -> Result<(), Refused> {
    if is_missing {
        let error = Errno::BADF.into();
        return Err(Refused { written: 0, error });
    }
    lock(stream).write(lines)
}

/// Lines of the log that were not written.
pub fn dropped() -> u64 {
    QUEUE.dropped()
}

/// Waits until stderr has what was left for it, but not for long.
pub fn flush() {
    if HAS_WRITER.load(Relaxed) {
        QUEUE.flush(FLUSH_PATIENCE);
    }
}

fn push(lines: &[u8]) {
    if HAS_WRITER.load(Relaxed) {
        QUEUE.push(lines);
    } else {
        if let Err(refused) = write_stderr(lines) {
            QUEUE.on_refused(lines, refused.written);
        }
    }
}

fn report_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let backtrace = Backtrace::capture();
    let name = thread.name().unwrap_or("without a name");
    match backtrace.status() {
        BacktraceStatus::Captured => errln!("corelane: thread {name} {panic}\n{backtrace}"),
        _ => errln!("corelane: thread {name} {panic}"),
    }
}

/// stderr; where it is the same file as stdout (`2>&1`), a torn line of one is a torn line of the other.
fn stderr() -> &'static Stream {
    static IS_SHARED: LazyLock<bool> = LazyLock::new(|| {
        let file = |stream| rustix::fs::fstat(stream).map(|found| (found.st_dev, found.st_ino));
        let (out, err) = (rustix::stdio::stdout(), rustix::stdio::stderr());
        matches!((file(out), file(err)), (Ok(out), Ok(err)) if out == err)
    });
    if *IS_SHARED { &STDOUT } else { &STDERR }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
