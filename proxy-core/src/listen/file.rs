//! The file of a unix socket.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// The file of a unix socket that this process bound. Dropping it removes the file, unless the path has become
/// somebody else's: it then has another device or inode.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// As long as it is open, no other file gets its inode.
    own: OwnedFd,
}

impl SocketFile {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self {
            path: path.to_owned(),
            own: rustix::fs::open(path, flags, Mode::empty())?,
        })
    }

    fn is_own(&self) -> rustix::io::Result<bool> {
        let own = rustix::fs::fstat(&self.own)?;
        let now = rustix::fs::lstat(&self.path)?;
        Ok((own.st_dev, own.st_ino) == (now.st_dev, now.st_ino))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_own() == Ok(true) {
            // Somebody may be faster. A file that can't be removed is stale for who binds next.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
