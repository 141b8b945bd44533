//! A file system that doesn't answer, as one over a network that is gone.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs `test` on a thread whose mounts, and those of the processes that it starts, are nobody else's. Where that isn't
/// permitted, it says so.
pub(crate) fn with_own_mounts(test: impl FnOnce() + Send + 'static) {
    let test = thread::spawn(move || {
        // SAFETY: it changes no descriptor; this thread alone has other mounts from now on.
        let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.and_then(|()| {
            let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", flags)
        });
        match unshared {
            Ok(()) => test(),
            Err(error) => println!("skipped: no mount namespace: {error}"),
        }
    });
    if let Err(panic) = test.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A file system over a file, whose server never answers.
pub(crate) struct Hanging {
    path: PathBuf,
    _server: File,
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

/// Puts a file system that hangs over the regular file at `path`. None, and says why, where that isn't permitted.
pub(crate) fn hang(path: &Path) -> Option<Hanging> {
    let mounted = || -> io::Result<File> {
        let server = File::options().read(true).write(true).open("/dev/fuse")?;
        let descriptor = server.as_raw_fd();
        let options = format!("fd={descriptor},rootmode=100000,user_id=0,group_id=0");
        let options = CString::new(options)?;
        mount(
            "hangs",
            path,
            "fuse",
            MountFlags::empty(),
            options.as_c_str(),
        )?;
        Ok(server)
    };
    let server = mounted()
        .inspect_err(|error| println!("skipped: no file system that hangs: {error}"))
        .ok()?;
    Some(Hanging {
        path: path.to_owned(),
        _server: server,
    })
}
