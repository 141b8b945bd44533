//! Asking a silent peer whether it is still there.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

use super::{Packets, fresh};

/// Whether the kernel asks silent peers whether they are there (`SO_KEEPALIVE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// It doesn't.
    Off,
    /// It does.
    On(KeepaliveTimes),
}

/// When it asks; none of them: as the system has it (`net.ipv4.tcp_keepalive_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepaliveTimes {
    /// After so many seconds of silence, 1 to 32767 (`TCP_KEEPIDLE`).
    pub idle: Option<u16>,
    /// Every so many seconds from then on, 1 to 32767 (`TCP_KEEPINTVL`).
    pub interval: Option<u16>,
    /// So many times without an answer until the connection fails, 1 to 127 (`TCP_KEEPCNT`).
    pub count: Option<u8>,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self::On(KeepaliveTimes::default())
    }
}

impl Keepalive {
    /// On a socket on which nothing was set.
    pub(super) fn set(self, socket: &impl AsFd) -> io::Result<()> {
        match self {
            Self::Off => Ok(()),
            Self::On(times) => {
                sockopt::set_socket_keepalive(socket, true)?;
                times.change(KeepaliveTimes::default(), socket)
            }
        }
    }

    /// On a socket that has those of `before`.
    pub(super) fn change(self, before: Self, socket: &impl AsFd) -> io::Result<()> {
        match (before, self) {
            (_, Self::Off) => Ok(sockopt::set_socket_keepalive(socket, false)?),
            (Self::Off, Self::On(_)) => self.set(socket),
            (Self::On(before), Self::On(times)) => times.change(before, socket),
        }
    }
}

impl KeepaliveTimes {
    fn change(self, before: Self, socket: &impl AsFd) -> io::Result<()> {
        let seconds = |seconds: u16| Duration::from_secs(seconds.into());
        if self.idle != before.idle {
            let idle = match self.idle {
                Some(idle) => seconds(idle),
                None => sockopt::tcp_keepidle(fresh(Packets::V4)?)?,
            };
            sockopt::set_tcp_keepidle(socket, idle)?;
        }
        if self.interval != before.interval {
            let interval = match self.interval {
                Some(interval) => seconds(interval),
                None => sockopt::tcp_keepintvl(fresh(Packets::V4)?)?,
            };
            sockopt::set_tcp_keepintvl(socket, interval)?;
        }
        if self.count != before.count {
            let count = match self.count {
                Some(count) => count.into(),
                None => sockopt::tcp_keepcnt(fresh(Packets::V4)?)?,
            };
            sockopt::set_tcp_keepcnt(socket, count)?;
        }
        Ok(())
    }
}

impl fmt::Display for Keepalive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::On(times) => write!(f, "{times:?}"),
        }
    }
}
