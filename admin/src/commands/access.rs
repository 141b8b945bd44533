//! Which users may give commands.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use crate::api::caller::Caller;

/// Who may: root, the user that the proxy runs as, and members of one group, which a reload may change.
#[derive(Clone, Debug)]
pub struct Access(Arc<AtomicU32>);

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
        let (pid, uid) = (peer.pid.as_raw_nonzero().get(), peer.uid.as_raw());
        let group = self.0.load(Relaxed);
        let is_trusted = peer.uid.is_root() || peer.uid == geteuid();
        if is_trusted
            || peer.gid.as_raw() == group
            || proxy_sys::peer_groups(&socket)?.contains(&group)
        {
            return Ok(Caller::User { pid, uid });
        }
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
