//! Who watches this process, and is to watch the one that takes over from it.
//!
//! systemd is told the new process's number, and this one ends. Everybody else watches this process by its number, a shell and a
//! container's runtime among them: it stays as a [supervisor], which is told by later ones.

use std::env;
use std::os::fd::OwnedFd;
use std::process;

use anyhow::Context;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use rustix::process::{Pid, Signal};

use super::successor::Successor;
use super::supervisor;
use super::words::SUPERVISOR_VARIABLE;
use crate::notify::Notify;

/// The number of a container's first process.
pub(crate) const FIRST_PROCESS: u32 = 1;

/// Who watches this process.
#[derive(Debug)]
pub(crate) enum Parent {
    /// systemd, or who does as it does.
    Systemd(Notify),
    /// A process of an upgrade before.
    Supervisor(OwnedFd),
    /// Somebody who knows its number.
    Anybody,
}

/// The two ends of what a supervisor is told by: its own, and that of who tells.
pub(super) struct Line {
    pub(super) own: Option<OwnedFd>,
    pub(super) its: Option<OwnedFd>,
}

impl Parent {
    /// As the environment says. The first process of a container has to stay, whoever hears of it.
    ///
    /// # Errors
    /// When it says what can't be. To be called once.
    pub(crate) fn of_environment(notify: &Notify) -> anyhow::Result<Self> {
        if let Some(number) = env::var_os(SUPERVISOR_VARIABLE) {
            let number = number.to_str().and_then(|number| number.parse().ok());
            let number = number.with_context(|| format!("{SUPERVISOR_VARIABLE} is no number"))?;
            let socket = proxy_sys::inherited_descriptor(number);
            let socket = socket.with_context(|| {
                format!("{SUPERVISOR_VARIABLE} is set, and descriptor {number} leads to no supervisor; unset it")
            })?;
            return Ok(Self::Supervisor(socket));
        }
        if process::id() == FIRST_PROCESS {
            return Ok(Self::Anybody);
        }
        Ok(match notify.is_heard() {
            true => Self::Systemd(notify.clone()),
            false => Self::Anybody,
        })
    }

    /// What a new process gets, and what this one keeps if it is to supervise it.
    pub(super) fn line(&self) -> anyhow::Result<Line> {
        Ok(match self {
            Self::Systemd(_) => Line {
                own: None,
                its: None,
            },
            Self::Supervisor(socket) => Line {
                own: None,
                its: Some(socket.try_clone().context("the supervisor's socket")?),
            },
            Self::Anybody => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
                let (own, its) = pair.context("no descriptor is left for an upgrade")?;
                Line {
                    own: Some(own),
                    its: Some(its),
                }
            }
        })
    }

    /// Tells who is to be watched from now on.
    pub(super) fn tell(&self, pid: Pid) {
        let told = match self {
            Self::Systemd(notify) => {
                notify.main_process(pid);
                Ok(())
            }
            Self::Supervisor(socket) => {
                let number = pid.as_raw_nonzero().get().to_le_bytes();
                let sent = send(socket, &number, SendFlags::NOSIGNAL);
                sent.map(drop)
            }
            Self::Anybody => Ok(()),
        };
        if let Err(error) = told {
            tracing::error!(%error, %pid, "who watches this process can't be told of the new one");
        }
    }
}

/// Leaves the new process to who watches this one, or stays as its supervisor. `pending` says which signals have come that
/// nobody has acted on; they are blocked while it is asked. Returns the exit code.
pub(crate) fn leave(successor: Successor, pending: impl FnOnce() -> Vec<Signal>) -> u8 {
    let pid = successor.pid();
    match successor.release() {
        None => 0,
        Some(line) => supervisor::stay(pid, line, pending),
    }
}
