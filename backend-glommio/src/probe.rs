//! Whether Glommio can run here, and what to change where it can't.

use std::io;

use io_uring::IoUring;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// Locked memory that Glommio insists on for each process.
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

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
    #[error(
        "the limit of locked memory is {0} bytes and Glommio needs {MEMLOCK_BYTES_MIN}; raise it (`ulimit -l 512`, \
         LimitMEMLOCK=512K in a systemd unit, `--ulimit memlock=524288` for Docker), or use scheduler = \"tokio\""
    )]
    Memlock(u64),
    /// Setting up a ring failed for another reason.
    #[error("io_uring can't be set up: {0}; use scheduler = \"tokio\"")]
    Other(#[source] io::Error),
}

/// Finds out whether Glommio can run in this process.
///
/// # Errors
/// [`Unavailable`], with what to change.
pub fn probe() -> Result<(), Unavailable> {
    // No limit reads as none.
    if let Some(limit) = getrlimit(Resource::Memlock).current
        && limit < MEMLOCK_BYTES_MIN
    {
        return Err(Unavailable::Memlock(limit));
    }
    match IoUring::new(2) {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(error)),
    }
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
        assert!(
            Unavailable::Memlock(65536)
                .to_string()
                .contains("ulimit -l")
        );
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
