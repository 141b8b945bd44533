//! Which users may give commands.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

/// Who may: root, the user that the proxy runs as, and members of one group, which a reload may change.
#[derive(Clone, Debug)]
pub struct Access(Arc<AtomicU32>);

/// Who is at the other end of a socket, as the kernel says: as it was when that end connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) pid: i32,
    pub(super) uid: u32,
}

impl Access {
    /// With the group of this number.
    pub fn new(group: u32) -> Self {
        Self(Arc::new(group.into()))
    }

    /// Lets this group in from now on, instead of the one of before.
    pub fn set_group(&self, group: u32) {
        self.0.store(group, Relaxed);
    }

    /// Who is at the other end, if that one may give commands.
    ///
    /// # Errors
    /// `PermissionDenied` with what to do, or what `getsockopt(2)` returns.
    pub(super) fn check(&self, socket: impl AsFd) -> io::Result<Caller> {
        let peer = socket_peercred(&socket)?;
        let caller = Caller {
            pid: peer.pid.as_raw_nonzero().get(),
            uid: peer.uid.as_raw(),
        };
        let group = self.0.load(Relaxed);
        let is_trusted = peer.uid.is_root() || peer.uid == geteuid();
        if is_trusted
            || peer.gid.as_raw() == group
            || proxy_sys::peer_groups(&socket)?.contains(&group)
        {
            return Ok(caller);
        }
        let uid = caller.uid;
        let own = geteuid().as_raw();
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "user {uid} may not change this proxy; root, user {own} and members of group {group} may \
                 (`socket_group` of [admin])"
            ),
        ))
    }
}
