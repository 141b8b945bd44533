//! Machines that don't permit everything: restrictions that a command starts under.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Refuses io_uring as the default seccomp profiles of containers do.
pub(crate) fn without_io_uring(command: &mut Command) {
    // SAFETY: between fork and exec, the closure makes system calls only.
    unsafe { command.pre_exec(|| refuse(libc::SYS_io_uring_setup, libc::EPERM)) };
}

/// Limits locked memory to `bytes`.
pub(crate) fn with_memlock(command: &mut Command, bytes: u64) {
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Memlock, limit)?)) };
}

/// Makes the system call `number` fail with `errno` in this process, for good.
fn refuse(number: libc::c_long, errno: libc::c_int) -> io::Result<()> {
    let statement = |code: u32, if_not: u8, value: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: if_not,
        k: value,
    };
    // The number of the call is the first word of what a filter sees. All calls of a test go through one
    // architecture, so that isn't looked at.
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            1,
            number as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `program` and the filter that it points to live until the calls return; the kernel copies them.
    let failed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) != 0
    };
    if failed {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
