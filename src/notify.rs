//! What systemd, or who does as it does, is told of how the proxy is (sd_notify(3), `Type=notify-reload` of systemd.service(5)).
//!
//! That costs nothing where nobody asks for it, and what can't be sent is lost: it holds nobody up.

use std::env;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use anyhow::Context;
use rustix::process::Pid;
use rustix::time::{ClockId, clock_gettime};

/// Where systemd hears of its services.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Who is told, if anybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notify(Option<Arc<Told>>);

#[derive(Debug)]
struct Told {
    socket: UnixDatagram,
    to: SocketAddr,
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
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(path),
        };
        let to = to.with_context(|| format!("{VARIABLE} names no socket; unset it"))?;
        let socket = UnixDatagram::unbound().context("no descriptor is left to tell systemd")?;
        socket.set_nonblocking(true)?;
        Ok(Self(Some(Arc::new(Told { socket, to }))))
    }

    /// Whether anybody is told.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// The proxy serves, or goes on after a reload; `systemctl status` shows the line.
    pub(crate) fn ready(&self, status: impl FnOnce() -> String) {
        if self.is_heard() {
            self.send(&format!("READY=1\nSTATUS={}\n", status()));
        }
    }

    /// The configuration is read again; [`Notify::ready`] is the end of it.
    pub(crate) fn reloading(&self) {
        if self.is_heard() {
            let now = clock_gettime(ClockId::Monotonic);
            let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
        }
    }

    /// The proxy drains.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=drains\n");
    }

    /// Another process is the proxy from now on.
    pub(crate) fn main_process(&self, pid: Pid) {
        self.send(&format!("MAINPID={}\n", pid.as_raw_nonzero()));
    }

    fn send(&self, words: &str) {
        if let Some(told) = &self.0
            && let Err(error) = told.socket.send_to_addr(words.as_bytes(), &told.to)
        {
            tracing::warn!(%error, "systemd isn't told: {}", words.trim_end().replace('\n', ", "));
        }
    }
}
