//! The system calls that have no safe wrapper: what happens between fork and exec, and another process's clock.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, set_parent_process_death_signal, setpriority_process};
use rustix::thread::{CpuSet, UnshareFlags, sched_setaffinity, unshare_unsafe};

/// Makes `command` start on `cpus` alone, and receive `signal` when the calling thread dies.
pub(crate) fn tie(command: &mut Command, cpus: &[usize], signal: Signal) {
    let cpus = set_of(cpus);
    let prepare = move || {
        set_parent_process_death_signal(Some(signal))?;
        sched_setaffinity(None, &cpus)?;
        Ok(())
    };
    // SAFETY: the closure runs after fork; it makes two raw system calls on values of its own, allocates
    // nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
}

/// Moves the calling thread, and what it starts from now on, into a network namespace of its own.
pub(crate) fn leave_network() -> rustix::io::Result<()> {
    // SAFETY: descriptors stay shared; the flag for those isn't given.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
}

/// The set of these CPUs.
pub(crate) fn set_of(cpus: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    set
}

/// How a thread goes before the others of its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// It runs as soon as it has something to do.
    RealTime,
    /// It has a larger share.
    Nice,
    /// Neither is allowed.
    Equal,
}

/// Gives the calling thread the highest priority that it may have, for as long as it lives.
pub(crate) fn go_first() -> Priority {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: the pointer is to a valid value that the call only reads; 0 names the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) };
    if result == 0 {
        Priority::RealTime
    } else if setpriority_process(None, -20).is_ok() {
        Priority::Nice
    } else {
        Priority::Equal
    }
}

/// A thread that goes after all others of its CPU, until this is dropped.
#[derive(Debug)]
pub(crate) struct Last(());

impl Last {
    /// Lets the calling thread go last, which needs no privilege.
    pub(crate) fn begin() -> Self {
        set_policy(libc::SCHED_IDLE);
        Self(())
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        set_policy(libc::SCHED_OTHER);
    }
}

fn set_policy(policy: libc::c_int) {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a valid value that the call only reads; 0 names the calling thread.
    let _ = unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) };
}

/// CPU time, user and system, of a process: all its threads, those that ended and the kernel's io_uring workers
/// among them. It has the scheduler's precision, not a tick's.
pub(crate) fn cpu_time(pid: Pid) -> io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place for the answer.
    let error = unsafe { libc::clock_getcpuclockid(pid.as_raw_pid(), &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the answer.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    ))
}
