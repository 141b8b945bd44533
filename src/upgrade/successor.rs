//! The new process, as the old one sees it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, bail};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};

use super::channel::Channel;
use super::orphans;
use super::words::{PREDECESSOR_VARIABLE, SUPERVISOR_VARIABLE};

/// What `/proc` says of an executable whose file was replaced.
const DELETED: &[u8] = b" (deleted)";

/// Variables that are meant for one process, and not for the one that takes over: systemd's watchdog and its sockets.
const OWN_VARIABLES: [&str; 4] = ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The new process. Until it accepts, it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Option<Child>,
    pid: Pid,
    /// It accepts: it goes on when this process ends.
    accepts: bool,
    /// What this process is told by as its supervisor. None: somebody else watches it.
    supervision: Option<OwnedFd>,
}

impl Successor {
    /// Runs `binary` with the arguments and the environment of this process.
    ///
    /// # Errors
    /// When it can't be run, with what to do.
    pub(super) fn start(
        binary: &Path,
        supervisor: Option<&OwnedFd>,
        supervision: Option<OwnedFd>,
    ) -> anyhow::Result<(Self, Channel)> {
        let (channel, its) = Channel::pair().context("no descriptor is left for an upgrade")?;
        let mut arguments = std::env::args_os();
        let mut command = Command::new(binary);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments);
        OWN_VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.env_remove(SUPERVISOR_VARIABLE);
        command.env(PREDECESSOR_VARIABLE, its.as_raw_fd().to_string());
        let _its = Inherited::make(&its).context("the upgrade's socket")?;
        let _supervisor = match supervisor {
            Some(supervisor) => {
                command.env(SUPERVISOR_VARIABLE, supervisor.as_raw_fd().to_string());
                Some(Inherited::make(supervisor).context("the supervisor's socket")?)
            }
            None => None,
        };
        let child = command.spawn().with_context(|| {
            let binary = binary.display();
            format!(
                "{binary} can't be run: `corelane upgrade BINARY` takes the path of another one"
            )
        })?;
        let pid = Pid::from_child(&child);
        orphans::set_own(Some(pid));
        let child = Some(child);
        let successor = Self {
            child,
            pid,
            accepts: false,
            supervision,
        };
        Ok((successor, channel))
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.child.is_some() {
            // One that has ended isn't reaped yet: nobody else has its number.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// It accepts from now on.
    pub(super) fn set_accepts(&mut self) {
        self.accepts = true;
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Ends it, and waits for that. How it ended, if it had by itself.
    pub(super) fn kill(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let ended = child.try_wait().ok().flatten();
        if ended.is_none()
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            tracing::error!(%error, pid = %self.pid, "the new process can't be ended");
        }
        orphans::set_own(None);
        ended
    }

    /// It goes its own way.
    pub(super) fn release(mut self) -> Option<OwnedFd> {
        drop(self.child.take());
        self.supervision.take()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.accepts {
            self.kill();
        }
    }
}

/// A descriptor that other programs inherit, until this is dropped.
struct Inherited<'a> {
    descriptor: &'a OwnedFd,
    before: FdFlags,
}

impl<'a> Inherited<'a> {
    fn make(descriptor: &'a OwnedFd) -> io::Result<Self> {
        let before = fcntl_getfd(descriptor)?;
        fcntl_setfd(descriptor, before.difference(FdFlags::CLOEXEC))?;
        Ok(Self { descriptor, before })
    }
}

impl Drop for Inherited<'_> {
    fn drop(&mut self) {
        let _ = fcntl_setfd(self.descriptor, self.before);
    }
}

/// The executable to run: the one that is asked for, or what is at this process's own path now.
///
/// # Errors
/// When there is none, with what to do.
pub(super) fn binary(asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = match asked {
        Some(path) if path.to_string_lossy().contains(char::is_control) => {
            bail!("the path of the new executable has control characters: {path:?}")
        }
        Some(path) if path.is_absolute() => path,
        Some(path) => bail!(
            "the path of the new executable has to be absolute, as the proxy may run elsewhere, and is {}",
            path.display()
        ),
        None => {
            let own = std::fs::read_link("/proc/self/exe");
            of_link(own.context("the path of this process's executable is not known; name one")?)
        }
    };
    let found = std::fs::metadata(&path).with_context(|| {
        let path = path.display();
        format!("there is no executable at {path}: `corelane upgrade BINARY` takes the path of another one")
    })?;
    if !found.is_file() {
        bail!("{} is no file", path.display());
    }
    Ok(path)
}

/// The path that a link in `/proc` stands for, whose file may have been replaced.
fn of_link(link: PathBuf) -> PathBuf {
    let bytes = link.as_os_str().as_bytes();
    match bytes.strip_suffix(DELETED) {
        Some(path) if !link.exists() => PathBuf::from(OsString::from_vec(path.to_vec())),
        _ => link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_the_place_of_the_executable_is_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("corelane");
        let link = directory.path().join("corelane (deleted)");
        assert_eq!(of_link(link.clone()), path);
        assert_eq!(of_link(path.clone()), path);
        // Its name may well be so.
        std::fs::write(&link, "").unwrap();
        assert_eq!(of_link(link.clone()), link);
        binary(Some(link)).unwrap();
        let forged = directory.path().join("corelane\n2026-01-01 INFO");
        std::fs::write(&forged, "").unwrap();
        for wrong in [directory.path().to_owned(), "corelane".into(), path, forged] {
            binary(Some(wrong)).unwrap_err();
        }
    }
}
