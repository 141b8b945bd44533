//! Whether Glommio can run here, and what to change where it can't.

use std::{fmt, io};

use io_uring::{IoUring, Probe, opcode};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// Locked memory that Glommio insists on for each process, whatever the kernel counts.
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// Locked memory of a worker beside its own ring: Glommio's three rings, as Linux 6.18 counts them.
const MEMLOCK_WORKER_BYTES: u64 = 256 * 1024;

/// Locked memory of each place in a worker's own ring: a request (64 bytes), its index, and eight completions (16 each),
/// with what rounding to pages adds.
const MEMLOCK_PLACE_BYTES: u64 = 208;

/// Why Glommio can't run here.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// `kernel.io_uring_disabled` forbids it.
    #[error(
        "io_uring is switched off by the sysctl kernel.io_uring_disabled = {0}; set it to 0 \
         (`sysctl -w kernel.io_uring_disabled=0`), or use scheduler = \"tokio\""
    )]
    Disabled(u8),
    /// A seccomp profile or a security module forbids it.
    #[error(
        "io_uring is not permitted to this process, most likely by a container's seccomp profile (Docker's and \
         containerd's default profiles block it); allow io_uring_setup, io_uring_enter and io_uring_register \
         in the profile, or use scheduler = \"tokio\""
    )]
    Forbidden,
    /// The kernel has no io_uring.
    #[error("this kernel has no io_uring (Linux 5.8 is needed); use scheduler = \"tokio\"")]
    Missing,
    /// RLIMIT_MEMLOCK is too small.
    #[error("{0}")]
    Memlock(Memlock),
    /// Setting up a ring failed for another reason.
    #[error("io_uring can't be set up: {0}; use scheduler = \"tokio\"")]
    Other(#[source] io::Error),
}

/// What workers need of locked memory, where it is limited.
///
/// Since Linux 6.14 the kernel counts rings against RLIMIT_MEMLOCK: those of all processes of a user together, unless the
/// process has CAP_IPC_LOCK. What others have of it can't be found out, so only a start shows whether it is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memlock {
    limit: u64,
    workers: u64,
    ring_depth: u32,
}

impl Memlock {
    /// None where locked memory is not limited.
    pub(crate) fn of(workers: usize, ring_depth: u32) -> Option<Self> {
        // No limit reads as none.
        let limit = getrlimit(Resource::Memlock).current?;
        Some(Self {
            limit,
            workers: workers as u64,
            ring_depth,
        })
    }

    fn needed(self) -> u64 {
        memlock_needed(self.workers as usize, self.ring_depth)
    }
}

/// Bytes of locked memory that so many workers need, whether or not it is limited.
pub fn memlock_needed(workers: usize, ring_depth: u32) -> u64 {
    let worker = MEMLOCK_WORKER_BYTES + u64::from(ring_depth) * MEMLOCK_PLACE_BYTES;
    (workers as u64 * worker).max(MEMLOCK_BYTES_MIN)
}

/// The operations of io_uring that Glommio and the driver can't do without and this kernel lacks, by their names.
///
/// # Errors
/// When no ring can be made, or it can't be asked.
pub fn missing_operations() -> io::Result<Vec<&'static str>> {
    let needed = [
        ("NOP", opcode::Nop::CODE),
        ("READV", opcode::Readv::CODE),
        ("WRITEV", opcode::Writev::CODE),
        ("FSYNC", opcode::Fsync::CODE),
        ("READ_FIXED", opcode::ReadFixed::CODE),
        ("WRITE_FIXED", opcode::WriteFixed::CODE),
        ("POLL_ADD", opcode::PollAdd::CODE),
        ("POLL_REMOVE", opcode::PollRemove::CODE),
        ("SENDMSG", opcode::SendMsg::CODE),
        ("RECVMSG", opcode::RecvMsg::CODE),
        ("TIMEOUT", opcode::Timeout::CODE),
        ("TIMEOUT_REMOVE", opcode::TimeoutRemove::CODE),
        ("ACCEPT", opcode::Accept::CODE),
        ("LINK_TIMEOUT", opcode::LinkTimeout::CODE),
        ("CONNECT", opcode::Connect::CODE),
        ("FALLOCATE", opcode::Fallocate::CODE),
        ("OPENAT", opcode::OpenAt::CODE),
        ("CLOSE", opcode::Close::CODE),
        ("STATX", opcode::Statx::CODE),
        ("READ", opcode::Read::CODE),
        ("WRITE", opcode::Write::CODE),
        ("SEND", opcode::Send::CODE),
        ("RECV", opcode::Recv::CODE),
        ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ];
    let ring = IoUring::new(2)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let lacks = needed
        .into_iter()
        .filter(|(_, code)| !probe.is_supported(*code));
    Ok(lacks.map(|(name, _)| name).collect())
}

impl fmt::Display for Memlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.needed().div_ceil(1024);
        let workers = match self.workers {
            1 => "1 worker needs".to_owned(),
            workers => format!("{workers} workers need"),
        };
        write!(
            f,
            "the limit of locked memory is {} bytes for all processes of this user, and {workers} about {kib} KiB \
             with ring_depth = {}; raise it (`ulimit -l {kib}`, LimitMEMLOCK={kib}K in a systemd unit, \
             `--ulimit memlock={}` for Docker), use fewer `cores`, or use scheduler = \"tokio\"",
            self.limit,
            self.ring_depth,
            kib * 1024,
        )
    }
}

/// Finds out whether Glommio can run in this process with so many workers, as far as that can be known before they are
/// started.
///
/// # Errors
/// [`Unavailable`], with what to change.
pub fn probe(workers: usize, ring_depth: u32) -> Result<(), Unavailable> {
    if let Some(memlock) = Memlock::of(workers, ring_depth)
        && memlock.limit < MEMLOCK_BYTES_MIN
    {
        return Err(Unavailable::Memlock(memlock));
    }
    // A profile can allow to make a ring, and not to use it.
    let used = IoUring::new(2).and_then(|ring| ring.submit());
    used.map(drop).map_err(explain)
}

fn explain(error: io::Error) -> Unavailable {
    match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) => match disabled() {
            0 => Unavailable::Forbidden,
            value => Unavailable::Disabled(value),
        },
        // Some profiles answer like a kernel without it.
        Some(Errno::NOSYS) if kernel_has_io_uring() => Unavailable::Forbidden,
        Some(Errno::NOSYS) => Unavailable::Missing,
        _ => Unavailable::Other(error),
    }
}

/// The sysctl came with Linux 6.6; without it nothing is switched off.
fn disabled() -> u8 {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

fn kernel_has_io_uring() -> bool {
    let release = rustix::system::uname();
    let mut parts = release.release().to_str().unwrap_or("").split(['.', '-']);
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
    (number(), number()) >= (Some(5), Some(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_change() {
        let forbidden = explain(io::Error::from_raw_os_error(libc_eperm()));
        assert!(forbidden.to_string().contains("scheduler = \"tokio\""));
        let memlock = Memlock {
            limit: 65536,
            workers: 4,
            ring_depth: 1024,
        };
        // Four workers start with 1,780 KiB on Linux 6.18.
        let text = Unavailable::Memlock(memlock).to_string();
        assert!(text.contains("`ulimit -l 1856`"), "{text}");
        assert!(
            Unavailable::Disabled(2)
                .to_string()
                .contains("io_uring_disabled=0")
        );
    }

    fn libc_eperm() -> i32 {
        Errno::PERM.raw_os_error()
    }
}
