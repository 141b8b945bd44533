//! Threads of a child process that are held up, as on a machine that has no time for them.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::ptr;

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
            if !name.starts_with("corelane-w") {
                continue;
            }
            if let Err(error) = trace(libc::PTRACE_SEIZE, tid) {
                println!("skipped: ptrace(2) is refused: {error}");
                return None;
            }
            halted.threads.push(tid);
            trace(libc::PTRACE_INTERRUPT, tid).expect("a thread that is traced can be stopped");
            let mut status = 0;
            // SAFETY: `status` is a valid place for the answer.
            let stopped = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) };
            assert_eq!(stopped, tid, "{}", io::Error::last_os_error());
        }
        assert!(!halted.threads.is_empty(), "no worker in {pid}");
        Some(halted)
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        for &tid in &self.threads {
            // One that has ended meanwhile is no matter.
            let _ = trace(libc::PTRACE_DETACH, tid);
        }
    }
}

fn trace(request: libc::c_uint, tid: libc::pid_t) -> io::Result<()> {
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the requests made here reads or writes memory of either process.
    match unsafe { libc::ptrace(request, tid, nothing, nothing) } {
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
