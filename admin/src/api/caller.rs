//! Who asks, and what they may do.

use std::fmt;
use std::net::SocketAddr;

use rustix::process::geteuid;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A user of this machine who may change the proxy, over the unix socket: as the kernel says.
    User {
        /// The process.
        pid: i32,
        /// The user.
        uid: u32,
    },
    /// Somebody over TCP who has shown the token.
    Bearer(SocketAddr),
    /// Somebody over TCP who has not shown that they may change anything.
    Reader(SocketAddr),
}

impl Caller {
    /// Whether they may change the proxy.
    pub(crate) fn may_change(self) -> bool {
        match self {
            Self::User { .. } | Self::Bearer(_) => true,
            Self::Reader(_) => false,
        }
    }

    /// Whether they may run programs as the proxy does: it is root, or the same user, who asks on this machine.
    pub(crate) fn may_run_programs(self) -> bool {
        match self {
            Self::User { uid, .. } => uid == 0 || uid == geteuid().as_raw(),
            _ => false,
        }
    }
}

impl fmt::Display for Caller {
    /// As the log and events name them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { pid, uid } => write!(f, "uid={uid} pid={pid}"),
            Self::Bearer(address) => write!(f, "token from {address}"),
            Self::Reader(address) => write!(f, "{address}"),
        }
    }
}
