//! What systemd, or who does as it does, is told of how the proxy is (sd_notify(3), `Type=notify-reload` of systemd.service(5)).
//!
//! That costs nothing where nobody asks for it, and what can't be sent is lost: it holds nobody up.

use std::env;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};
use rustix::process::{Pid, getpid};
use rustix::time::{ClockId, clock_gettime};

/// Where systemd hears of its services.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The name by which systemd keeps sockets of this proxy's.
pub(crate) const KEPT_NAME: &str = "corelane-kept";

/// Descriptors of a message (`SCM_MAX_FD`, unix(7)).
const DESCRIPTORS_MAX: usize = 253;

/// Who is told, if anybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notify(Option<Arc<Told>>);

#[derive(Debug)]
struct Told {
    socket: UnixDatagram,
    to: SocketAddrUnix,
    /// This process is the proxy.
    is_main: AtomicBool,
}

impl Notify {
    /// Who the environment says.
    ///
    /// # Errors
    /// When it names no socket, or there is no descriptor for it.
    pub(crate) fn of_environment() -> anyhow::Result<Self> {
        match env::var_os(VARIABLE) {
            Some(path) if !path.is_empty() => Self::to(&path),
            _ => Ok(Self(None)),
        }
    }

    fn to(path: &OsString) -> anyhow::Result<Self> {
        let to = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddrUnix::new_abstract_name(name),
            None => SocketAddrUnix::new(path.as_bytes()),
        };
        let to = to.with_context(|| format!("{VARIABLE} names no socket; unset it"))?;
        let socket = UnixDatagram::unbound().context("no descriptor is left to tell systemd")?;
        socket.set_nonblocking(true)?;
        Ok(Self(Some(Arc::new(Told {
            socket,
            to,
            is_main: AtomicBool::new(true),
        }))))
    }

    /// Whether anybody is told.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// The proxy serves, or goes on after a reload; `systemctl status` shows the line.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// The configuration is read again; [`Notify::ready`] is the end of it.
    pub(crate) fn reloading(&self) {
        if self.is_heard() {
            let now = clock_gettime(ClockId::Monotonic);
            let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
        }
    }

    /// These sockets, and no others, are to be there for the next process if this one crashes (`FileDescriptorStoreMax=`).
    pub(crate) fn keep(&self, sockets: &[OwnedFd]) {
        self.forget();
        let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        for some in sockets.chunks(DESCRIPTORS_MAX) {
            self.send_with(&format!("FDSTORE=1\nFDNAME={KEPT_NAME}\n"), some);
        }
    }

    /// None is to be there: the proxy is to end.
    pub(crate) fn forget(&self) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={KEPT_NAME}\n"));
    }

    /// The proxy drains, and is over after this time at the latest: systemd waits for so long, if `TimeoutStopSec=` is less.
    pub(crate) fn stopping(&self, within: Duration) {
        let microseconds = within.as_micros();
        self.send(&format!(
            "STOPPING=1\nSTATUS=drains\nEXTEND_TIMEOUT_USEC={microseconds}\n"
        ));
        self.forget();
    }

    /// This process, or another one, is the proxy from now on.
    pub(crate) fn main_process(&self, pid: Pid) {
        if let Some(told) = &self.0 {
            told.is_main.store(pid == getpid(), Relaxed);
        }
        self.send(&format!("MAINPID={}\n", pid.as_raw_nonzero()));
    }

    /// All cores turn: as long as that comes in time, the process is not ended (`WatchdogSec=`). Where another process is the proxy,
    /// that one says it.
    pub(crate) fn turns(&self) {
        if self
            .0
            .as_ref()
            .is_some_and(|told| told.is_main.load(Relaxed))
        {
            self.send("WATCHDOG=1\n");
        }
    }

    fn send(&self, words: &str) {
        self.send_with(words, &[]);
    }

    fn send_with(&self, words: &str, descriptors: &[BorrowedFd<'_>]) {
        if let Some(told) = &self.0
            && let Err(error) = told.send(words, descriptors)
        {
            tracing::warn!(%error, "systemd isn't told: {}", words.trim_end().replace('\n', ", "));
        }
    }
}

impl Told {
    fn send(&self, words: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        const SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            unreachable!("there is room for as many as a message may have");
        }
        let words = [IoSlice::new(words.as_bytes())];
        let flags = SendFlags::NOSIGNAL;
        sendmsg_addr(&self.socket, &self.to, &words, &mut control, flags)?;
        Ok(())
    }
}
