//! Which poller a core has.

use crate::uring::Uring;

/// Where readiness comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// An io_uring of our own, Linux 6.1.
    IoUring,
    /// An epoll instance a core.
    Epoll,
}

impl Readiness {
    /// io_uring where the kernel has the flags that we need.
    pub(crate) fn best() -> Self {
        if Uring::is_available() {
            Self::IoUring
        } else {
            Self::Epoll
        }
    }

    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}
