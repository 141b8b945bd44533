//! Options that sockets to clients and to servers have alike.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::SockRef;

use super::{Keepalive, OptionError, Packets, fresh};

/// Options of a socket; none of them: as the system has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Whether silent peers are asked whether they are there.
    pub keepalive: Keepalive,
    /// How long what was sent may go without an acknowledgement until the connection fails, to the millisecond
    /// (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
    /// Bytes that may wait in the kernel before they are sent, beyond which there is no room for more (`TCP_NOTSENT_LOWAT`).
    pub notsent_lowat: Option<u32>,
    /// Bytes of the buffer for what comes (`SO_RCVBUF`).
    pub receive_buffer: Option<u32>,
    /// Bytes of the buffer for what goes (`SO_SNDBUF`).
    pub send_buffer: Option<u32>,
    /// The name of the congestion control (`TCP_CONGESTION`).
    pub congestion: Option<String>,
    /// The mark of its packets, by which the system routes and filters (`SO_MARK`).
    pub mark: Option<u32>,
    /// The class of service of its packets, 0 to 63 (`IP_TOS`, `IPV6_TCLASS`).
    pub dscp: Option<u8>,
    /// The interface by which its packets come and go (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
}

impl TcpOptions {
    /// Sets them on a socket on which nothing was set.
    pub(super) fn set(&self, socket: &impl AsFd, packets: Packets) -> Result<(), OptionError> {
        let keepalive = self.keepalive;
        let set = keepalive.set(socket);
        set.map_err(OptionError::of("keepalive", keepalive))?;
        let before = Self {
            keepalive,
            ..Self::default()
        };
        self.change(&before, socket, packets)
    }

    /// Sets those that differ from `before` on a socket that has those.
    pub(super) fn change(
        &self,
        before: &Self,
        socket: &impl AsFd,
        packets: Packets,
    ) -> Result<(), OptionError> {
        if self == before {
            return Ok(());
        }
        let socket2 = SockRef::from(socket);
        if self.keepalive != before.keepalive {
            let changed = self.keepalive.change(before.keepalive, socket);
            changed.map_err(OptionError::of("keepalive", self.keepalive))?;
        }
        if self.user_timeout != before.user_timeout {
            let timeout = self.user_timeout.unwrap_or_default();
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            let millis = u32::try_from(millis).unwrap_or(u32::MAX);
            let set = sockopt::set_tcp_user_timeout(socket, millis);
            set.map_err(|error| OptionError::of("user_timeout", millis)(error.into()))?;
        }
        if self.notsent_lowat != before.notsent_lowat {
            let bytes = self.notsent_lowat.unwrap_or_default();
            let set = socket2.set_tcp_notsent_lowat(bytes);
            set.map_err(OptionError::of("notsent_lowat", bytes))?;
        }
        for (key, new, old, buffer) in [
            (
                "receive_buffer",
                self.receive_buffer,
                before.receive_buffer,
                Buffer::Receive,
            ),
            (
                "send_buffer",
                self.send_buffer,
                before.send_buffer,
                Buffer::Send,
            ),
        ] {
            if new != old {
                let set = match new {
                    Some(bytes) => buffer.set(socket, bytes as usize),
                    None => buffer.reset(socket),
                };
                set.map_err(OptionError::of(key, new.unwrap_or_default()))?;
            }
        }
        if self.congestion != before.congestion {
            let set = match &self.congestion {
                Some(name) => socket2.set_tcp_congestion(name.as_bytes()),
                None => SockRef::from(&fresh(packets).map_err(OptionError::of("congestion", ""))?)
                    .tcp_congestion()
                    .and_then(|name| socket2.set_tcp_congestion(&name)),
            };
            let name = self.congestion.as_deref().unwrap_or_default();
            set.map_err(OptionError::of("congestion", name))?;
        }
        if self.mark != before.mark {
            let mark = self.mark.unwrap_or_default();
            let set = socket2.set_mark(mark);
            set.map_err(OptionError::of("mark", mark))?;
        }
        if self.dscp != before.dscp {
            let dscp = self.dscp.unwrap_or_default();
            let set = set_dscp(socket, packets, dscp);
            set.map_err(OptionError::of("dscp", dscp))?;
        }
        if self.interface != before.interface {
            let name = self.interface.as_deref();
            let set = socket2.bind_device(name.map(str::as_bytes));
            set.map_err(OptionError::of("interface", name.unwrap_or_default()))?;
        }
        Ok(())
    }
}

/// The class stands above the two bits for explicit congestion notification, which the kernel sets itself.
fn set_dscp(socket: &impl AsFd, packets: Packets, dscp: u8) -> io::Result<()> {
    let class = dscp << 2;
    if packets != Packets::V6 {
        sockopt::set_ip_tos(socket, class)?;
    }
    if packets != Packets::V4 {
        sockopt::set_ipv6_tclass(socket, class.into())?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Buffer {
    Receive,
    Send,
}

impl Buffer {
    /// As many bytes as are asked for, beyond the system's limit if this process has the right to that.
    ///
    /// # Errors
    /// `EPERM` where there are fewer: the kernel itself says nothing of it.
    fn set(self, socket: &impl AsFd, bytes: usize) -> io::Result<()> {
        self.set_up_to_limit(socket, bytes)?;
        if self.size(socket)? >= bytes {
            return Ok(());
        }
        let forced = match self {
            Self::Receive => sockopt::set_socket_recv_buffer_size_force(socket, bytes),
            Self::Send => sockopt::set_socket_send_buffer_size_force(socket, bytes),
        };
        Ok(forced.map_err(|_| Errno::PERM)?)
    }

    /// As the system has it, growing with the connection.
    fn reset(self, socket: &impl AsFd) -> io::Result<()> {
        let bytes = self.size(&fresh(Packets::V4)?)?;
        self.set_up_to_limit(socket, bytes)?;
        proxy_sys::unlock_buffers(socket)
    }

    fn set_up_to_limit(self, socket: &impl AsFd, bytes: usize) -> io::Result<()> {
        Ok(match self {
            Self::Receive => sockopt::set_socket_recv_buffer_size(socket, bytes),
            Self::Send => sockopt::set_socket_send_buffer_size(socket, bytes),
        }?)
    }

    /// The kernel takes as much again for its own needs, and tells both together.
    fn size(self, socket: &impl AsFd) -> io::Result<usize> {
        let both = match self {
            Self::Receive => sockopt::socket_recv_buffer_size(socket),
            Self::Send => sockopt::socket_send_buffer_size(socket),
        };
        Ok(both? / 2)
    }
}
