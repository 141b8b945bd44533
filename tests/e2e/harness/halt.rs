//! Threads of a child process that are held up, as on a machine that has no time for them.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::ptr;

use super::wait;

/// How the threads of workers are called; the index follows.
const WORKER: &str = "corelane-w";

/// The threads of a process whose names start alike, stopped by ptrace(2) while the others run. They go on when this is
/// dropped, which must be on the same thread.
pub(crate) struct Halted {
    threads: Vec<libc::pid_t>,
    /// The kernel knows who traces by thread.
    _not_send: PhantomData<*const ()>,
}

impl Halted {
    /// Stops the worker threads of a child. None, and says why, where the kernel doesn't allow it.
    pub(crate) fn workers(pid: u32) -> Option<Self> {
        let mut halted = Self {
            threads: Vec::new(),
            _not_send: PhantomData,
        };
        for (name, tid) in threads(pid) {
            if !name.starts_with(WORKER) {
                continue;
            }
            if let Err(error) = trace(libc::PTRACE_SEIZE, tid, libc::PTRACE_O_TRACESYSGOOD) {
                println!("skipped: ptrace(2) is refused: {error}");
                return None;
            }
            halted.threads.push(tid);
            stop(tid);
        }
        assert!(!halted.threads.is_empty(), "no worker in {pid}");
        Some(halted)
    }

    /// Stops the one worker thread of a child that receives next, as it is about to, and returns its index as well. `act` is to
    /// bring it something. None, and says why, where the kernel doesn't allow it.
    pub(crate) fn receiver(pid: u32, act: impl FnOnce()) -> Option<(Self, usize)> {
        let mut halted = Self::workers(pid)?;
        let go_on = |tid| trace(libc::PTRACE_SYSCALL, tid, 0).expect("it is stopped");
        halted.threads.iter().copied().for_each(go_on);
        act();
        let mut receiver = None;
        wait::until("a worker receives", || {
            for &tid in &halted.threads {
                while receiver.is_none() && has_stopped(tid) {
                    match is_receiving(tid) {
                        true => receiver = Some(tid),
                        false => go_on(tid),
                    }
                }
            }
            receiver.is_some()
        });
        let receiver = receiver.expect("one receives");
        for other in std::mem::replace(&mut halted.threads, vec![receiver]) {
            if other != receiver {
                stop(other);
                trace(libc::PTRACE_DETACH, other, 0).expect("it is stopped");
            }
        }
        let mut threads = threads(pid).into_iter();
        let name = threads.find_map(|(name, tid)| (tid == receiver).then_some(name));
        let index = name.as_ref().and_then(|name| name.strip_prefix(WORKER));
        let index = index.and_then(|index| index.parse().ok());
        Some((halted, index.expect("a worker's name has its index")))
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        for &tid in &self.threads {
            // One that has ended meanwhile is no matter.
            let _ = trace(libc::PTRACE_DETACH, tid, 0);
        }
    }
}

/// Stops a thread that is traced.
fn stop(tid: libc::pid_t) {
    trace(libc::PTRACE_INTERRUPT, tid, 0).expect("a thread that is traced can be stopped");
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer.
    let stopped = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) };
    assert_eq!(stopped, tid, "{}", io::Error::last_os_error());
}

/// Whether a thread that is traced has stopped since it went on.
fn has_stopped(tid: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: as above.
    let stopped = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | libc::WNOHANG) };
    stopped == tid
}

/// Whether a thread that has stopped is about to receive.
fn is_receiving(tid: libc::pid_t) -> bool {
    // `struct ptrace_syscall_info`: what it is about, and at a call's beginning, its number.
    const SIZE: usize = 88;
    const ENTRY: u8 = 1;
    const NUMBER_AT: usize = 24;
    let mut info = [0_u8; SIZE];
    // SAFETY: the kernel writes no more than `SIZE` bytes there.
    let got = unsafe {
        libc::ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            tid,
            SIZE,
            info.as_mut_ptr().cast::<libc::c_void>(),
        )
    };
    assert!(got > 0, "{}", io::Error::last_os_error());
    let number = info[NUMBER_AT..NUMBER_AT + 8].try_into();
    let number = i64::from_ne_bytes(number.expect("eight bytes"));
    info[0] == ENTRY && number == libc::SYS_recvfrom
}

fn trace(request: libc::c_uint, tid: libc::pid_t, data: libc::c_int) -> io::Result<()> {
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the requests made here reads or writes memory of either process.
    match unsafe { libc::ptrace(request, tid, nothing, data as usize) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Name and id of each thread.
fn threads(pid: u32) -> Vec<(String, libc::pid_t)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("task");
    let named = tasks.flatten().map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let tid = task.file_name().to_string_lossy().parse();
        (name.trim_end().to_owned(), tid.expect("a thread's id"))
    });
    named.collect()
}
