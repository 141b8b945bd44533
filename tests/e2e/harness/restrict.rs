//! Machines that don't permit everything: restrictions that a command starts under.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Resource, Rlimit, geteuid, setrlimit};

use super::child;

/// Refuses io_uring as the default seccomp profiles of containers do.
pub(crate) fn without_io_uring(command: &mut Command) {
    // SAFETY: between fork and exec, the closure makes system calls only.
    unsafe { command.pre_exec(|| refuse(libc::SYS_io_uring_setup, None, libc::EPERM)) };
}

/// Refuses sockets for IPv6 as a kernel does that was started with `ipv6.disable=1`.
pub(crate) fn without_ipv6(command: &mut Command) {
    let family = libc::AF_INET6 as u32;
    // SAFETY: as above.
    unsafe {
        command.pre_exec(move || refuse(libc::SYS_socket, Some(family), libc::EAFNOSUPPORT));
    };
}

/// Runs it as an unprivileged user that nobody else is: limits that the kernel keeps a user are this process's alone, and
/// what root may exceed it may not. False, and says why, where this test isn't root's.
pub(crate) fn as_own_user(command: &mut Command) -> bool {
    if !geteuid().is_root() {
        println!("skipped: only root can run the proxy as another user");
        return false;
    }
    let user = own_user();
    command.uid(user).gid(user);
    true
}

/// A user id that no account and no other test has.
fn own_user() -> u32 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 30_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let step = TAKEN.fetch_add(1, Ordering::Relaxed);
    FIRST + (process::id().wrapping_mul(37).wrapping_add(step)) % COUNT
}

/// Limits the threads of its user.
pub(crate) fn with_threads(command: &mut Command, count: u64) {
    let limit = Rlimit {
        current: Some(count),
        maximum: Some(count),
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Nproc, limit)?)) };
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

/// Takes away what root may do, as far as sockets' addresses are concerned.
pub(crate) fn without_privileges(command: &mut Command) {
    if !rustix::process::geteuid().is_root() {
        // It has no privileges.
        return;
    }
    // SAFETY: between fork and exec, the closure makes one system call. What it takes from the bounding set, exec gives
    // to nobody.
    unsafe {
        command.pre_exec(|| {
            const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;
            match libc::prctl(libc::PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

/// Limits open files to `count`, which the process can't raise.
pub(crate) fn with_descriptors(command: &mut Command, count: u64) {
    let limit = Rlimit {
        current: Some(count),
        maximum: Some(count),
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?)) };
}

/// A soft limit of a process that runs. Dropped, it is as before.
pub(crate) struct Lowered {
    pid: u32,
    resource: &'static str,
    before: String,
}

impl Lowered {
    /// Sets the limit, as `prlimit` calls it, to `count`.
    pub(crate) fn to(pid: u32, resource: &'static str, count: u64) -> Self {
        let asked = ["--output=SOFT", "--noheadings", "--raw"];
        let before = prlimit(
            pid,
            &[&format!("--{resource}"), asked[0], asked[1], asked[2]],
        );
        prlimit(pid, &[&format!("--{resource}={count}:")]);
        Self {
            pid,
            resource,
            before: before.trim().to_owned(),
        }
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        let Self {
            pid,
            resource,
            before,
        } = self;
        prlimit(*pid, &[&format!("--{resource}={before}:")]);
    }
}

/// Runs it as the user whose process that is: it may be another one's than this process's.
fn prlimit(pid: u32, arguments: &[&str]) -> String {
    let mut command = Command::new("prlimit");
    command.arg(format!("--pid={pid}")).args(arguments);
    if geteuid().is_root() {
        let owner = fs::metadata(format!("/proc/{pid}")).expect("it runs");
        command.uid(owner.uid()).gid(owner.gid());
    }
    child::run(&mut command)
}

/// Makes the system call `number` fail with `errno` in this process, for good: every one, or those with this first
/// argument.
fn refuse(number: libc::c_long, first: Option<u32>, errno: libc::c_int) -> io::Result<()> {
    /// Where a filter sees the first argument's lower half, on machines whose lower half comes first.
    const FIRST_ARGUMENT: u32 = 16;
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let statement = |code: u32, if_not: u8, value: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: if_not,
        k: value,
    };
    // The number of the call is the first word of what a filter sees. All calls of a test go through one
    // architecture, so that isn't looked at.
    let mut filter = [
        statement(LOAD, 0, 0),
        statement(EQUAL, 3, number as u32),
        statement(LOAD, 0, FIRST_ARGUMENT),
        // Without an argument to look for, both ways lead on.
        statement(EQUAL, u8::from(first.is_some()), first.unwrap_or_default()),
        statement(RETURN, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(RETURN, 0, libc::SECCOMP_RET_ALLOW),
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
