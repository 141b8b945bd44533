//! Whether the system lets all worker threads start, and what they are called.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Looks at the threads of a try-out that are not gone yet, at most. One is gone a moment after it was joined.
const LOOKS_MAX: usize = 200;

/// How long it waits between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Has `count` threads at the same time, and ends them again.
///
/// # Errors
/// When the system refuses one, with what to do.
pub(crate) fn try_out(count: usize) -> io::Result<()> {
    let (tell, told) = mpsc::channel();
    let mut threads: Vec<Held> = Vec::with_capacity(count);
    let mut refused = None;
    for index in 0..count {
        match Held::start(tell.clone()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                refused = Some(refusal(index, count, &error));
                break;
            }
        }
    }
    drop(tell);
    let started = threads.len();
    for Held { release, thread } in threads {
        drop(release);
        let _ = thread.join();
    }
    // The kernel counts a thread until it has let go of it.
    let ids: Vec<i32> = told.iter().take(started).collect();
    let is_left = |id: &i32| fs::exists(format!("/proc/self/task/{id}")).unwrap_or(false);
    for _ in 0..LOOKS_MAX {
        if !ids.iter().any(is_left) {
            break;
        }
        thread::park_timeout(LOOK_INTERVAL);
    }
    refused.map_or(Ok(()), Err)
}

/// A thread that does nothing until it is released.
struct Held {
    release: mpsc::Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl Held {
    fn start(tell: mpsc::Sender<i32>) -> io::Result<Self> {
        let (release, released) = mpsc::channel::<Infallible>();
        let thread = thread::Builder::new().spawn(move || {
            let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get());
            // Nothing is ever sent: the sender's end is the message.
            let _ = released.recv();
        })?;
        Ok(Self { release, thread })
    }
}

/// Names the current thread.
pub(crate) fn name(name: &str) {
    let name = std::ffi::CString::new(name);
    // A name is for people who look; the thread works without it.
    let _ = name.map(|name| rustix::thread::set_name(&name));
}

/// The error of a worker whose thread the system refuses.
pub(crate) fn refusal(index: usize, count: usize, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!(
            "the thread of worker {index} (of {count}) can't be started: {error}; raise the limit of threads \
             (`ulimit -u`, TasksMax= in a systemd unit, `--pids-limit` for Docker), or use fewer `cores`"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_a_machine_has_cores_can_be_had_again_and_again() {
        for _ in 0..3 {
            try_out(8).unwrap();
        }
    }

    #[test]
    fn a_refusal_says_what_to_change() {
        let error = io::Error::from(rustix::io::Errno::AGAIN);
        let text = refusal(1, 2, &error).to_string();
        assert!(
            text.contains("worker 1") && text.contains("TasksMax"),
            "{text}"
        );
    }
}
