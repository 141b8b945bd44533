//! One client after the other: it connects, says what it has to say, and hears how that ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use socket2::{Domain, Socket, Type};

use crate::visit::{ANSWER_BYTES, First};

/// One visit.
pub(super) struct Client {
    socket: OwnedFd,
    source: Ipv4Addr,
    /// Whose answer it waits for.
    server: usize,
    begun_at: Instant,
    received: usize,
}

/// What a client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// There is more to come.
    Some,
    /// The visit is over.
    End { took: Duration },
}

impl Client {
    /// Connects from `source`, any port, and says `first`.
    pub(super) fn begin(
        source: Ipv4Addr,
        proxy: SocketAddr,
        first: &First,
    ) -> anyhow::Result<Self> {
        let begun_at = Instant::now();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Without it the kernel takes this address, and a port when it knows where to.
        if source != Ipv4Addr::LOCALHOST {
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        // Who says nothing doesn't wait for the connect, in which a reset by the proxy would be an error of its own.
        let waits = !first.bytes.is_empty();
        socket.set_nonblocking(!waits)?;
        // On loopback that doesn't wait for an accept.
        match socket.connect(&proxy.into()) {
            Err(error) if !waits && Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
            connected => connected?,
        }
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let socket: OwnedFd = socket.into();
        if !first.bytes.is_empty() {
            let sent = send(&socket, &first.bytes, SendFlags::NOSIGNAL)?;
            ensure!(
                sent == first.bytes.len(),
                "a new connection has no room for {} bytes",
                first.bytes.len()
            );
        }
        Ok(Self {
            socket,
            source,
            server: first.server,
            begun_at,
            received: 0,
        })
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Reads the answer, says that there is nothing more, and waits for the end.
    pub(super) fn await_answer(&mut self) -> anyhow::Result<Heard> {
        let mut answer = [0; ANSWER_BYTES];
        let bytes = match recv(&self.socket, &mut answer, RecvFlags::empty()) {
            Ok((_, bytes)) => bytes,
            // The event was of what has been read.
            Err(Errno::AGAIN) => return Ok(Heard::Some),
            Err(error) => return Err(error.into()),
        };
        if bytes == 0 {
            ensure!(
                self.received == ANSWER_BYTES,
                "closed by the proxy after {} bytes of the answer",
                self.received
            );
            return Ok(self.end());
        }
        let (server, own) = (answer[0], self.server);
        ensure!(
            answer[..bytes].iter().all(|&byte| usize::from(byte) == own),
            "server {server} answered in place of {own}"
        );
        self.received += bytes;
        if self.received == ANSWER_BYTES {
            shutdown(&self.socket, Shutdown::Write)?;
        }
        Ok(Heard::Some)
    }

    /// Waits to be closed, in order or not, without a byte.
    pub(super) fn await_refusal(&mut self) -> anyhow::Result<Heard> {
        match recv(&self.socket, &mut [0; ANSWER_BYTES], RecvFlags::empty()) {
            Ok((_, 0)) | Err(Errno::CONNRESET) => Ok(self.end()),
            Ok(_) => bail!("{} was let in", self.source),
            Err(Errno::AGAIN) => Ok(Heard::Some),
            Err(error) => Err(error.into()),
        }
    }

    fn end(&self) -> Heard {
        Heard::End {
            took: self.begun_at.elapsed(),
        }
    }
}
