//! The file of a unix socket.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// The file of a unix socket that this process bound. Dropping it removes the file, unless the path has become
/// somebody else's: it then has another device or inode.
#[derive(Debug)]
pub struct SocketFile {
    /// Where clients look for it.
    path: PathBuf,
    /// Where it is until it takes the place of another one.
    aside: Option<PathBuf>,
    /// As long as it is open, no other file gets its inode.
    own: OwnedFd,
    /// It stays when this is dropped: another process has the socket as well.
    stays: bool,
}

impl SocketFile {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self {
            path: path.to_owned(),
            aside: None,
            own: rustix::fs::open(path, flags, Mode::empty())?,
            stays: false,
        })
    }

    /// One that another process bound, which sent what [`SocketFile::pin`] returns. It stays until it is said otherwise.
    pub fn inherited(path: &Path, pin: OwnedFd) -> Self {
        Self {
            path: path.to_owned(),
            aside: None,
            own: pin,
            stays: true,
        }
    }

    /// What pins its inode, for another process that has the socket as well.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn pin(&self) -> io::Result<OwnedFd> {
        self.own.try_clone()
    }

    /// Whether it stays when this is dropped, as another process has the socket as well.
    pub fn set_stays(&mut self, stays: bool) {
        self.stays = stays;
    }

    /// One that is somewhere else until [`SocketFile::settle`].
    pub(super) fn aside(path: &Path, aside: &Path) -> io::Result<Self> {
        let mut file = Self::of(aside)?;
        file.aside = Some(std::mem::replace(&mut file.path, path.to_owned()));
        Ok(file)
    }

    /// Where clients look for it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is now.
    pub fn path_now(&self) -> &Path {
        self.aside.as_ref().unwrap_or(&self.path)
    }

    /// Puts it where clients look for it, at one stroke: they find the file of before or this one. It does nothing the second
    /// time.
    ///
    /// # Errors
    /// What `rename(2)` returns.
    pub fn settle(&mut self) -> io::Result<()> {
        if let Some(aside) = &self.aside {
            std::fs::rename(aside, &self.path)?;
            self.aside = None;
        }
        Ok(())
    }

    /// Whether clients find it: nobody has removed it, or put another one in its place.
    pub fn is_found(&self) -> bool {
        self.aside.is_none() && self.is_at(&self.path)
    }

    /// Whether a path leads to it.
    pub fn is_at(&self, path: &Path) -> bool {
        let same = || -> rustix::io::Result<bool> {
            let own = rustix::fs::fstat(&self.own)?;
            let now = rustix::fs::lstat(path)?;
            Ok((own.st_dev, own.st_ino) == (now.st_dev, now.st_ino))
        };
        same() == Ok(true)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.stays && self.is_at(self.path_now()) {
            // Somebody may be faster. A file that can't be removed is stale for who binds next.
            let _ = std::fs::remove_file(self.path_now());
        }
    }
}
