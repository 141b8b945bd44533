//! The servers: each answers what it was sent with as many bytes of its own index.

use std::net::{TcpListener, TcpStream};

use anyhow::ensure;
use proxy_load::Poller;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::visit::{ANSWER_BYTES, Visit, after_header};

/// Most bytes taken from a socket at once.
const CHUNK_BYTES: usize = 32 * 1024;
/// Connections accepted before other events get their turn.
const ACCEPTS_MAX: usize = 64;

/// All of them, and their connections.
pub(super) struct Servers<'a> {
    listeners: &'a [TcpListener],
    visit: Visit,
    /// The first index in the poller: that of the first listener, after which come the connections'.
    first: usize,
    connections: Vec<Option<Connection>>,
    vacant: Vec<usize>,
    chunk: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    server: usize,
    received: Vec<u8>,
    is_answered: bool,
}

impl<'a> Servers<'a> {
    pub(super) fn new(visit: Visit, listeners: &'a [TcpListener], first: usize) -> Self {
        Self {
            listeners,
            visit,
            first,
            connections: Vec::new(),
            vacant: Vec::new(),
            chunk: vec![0; CHUNK_BYTES],
        }
    }

    pub(super) fn start(&self, poller: &Poller) -> anyhow::Result<()> {
        for (index, listener) in self.listeners.iter().enumerate() {
            listener.set_nonblocking(true)?;
            poller.watch(listener, self.first + index, EventFlags::IN)?;
        }
        Ok(())
    }

    /// The descriptor of this index in the poller is readable.
    pub(super) fn on_event(&mut self, index: usize, poller: &Poller) -> anyhow::Result<()> {
        let index = index - self.first;
        match index.checked_sub(self.listeners.len()) {
            None => self.accept(index, poller),
            Some(at) => self.read(at),
        }
    }

    fn accept(&mut self, server: usize, poller: &Poller) -> anyhow::Result<()> {
        for _ in 0..ACCEPTS_MAX {
            let socket = match self.listeners[server].accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let at = self.vacant.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let index = self.first + self.listeners.len() + at;
            poller.watch(&socket, index, EventFlags::IN)?;
            let mut connection = Connection {
                socket,
                server,
                received: Vec::with_capacity(self.visit.message_bytes()),
                is_answered: false,
            };
            // Whoever is let in hears that at once.
            if matches!(self.visit, Visit::Denied { .. }) {
                connection.answer()?;
            }
            self.connections[at] = Some(connection);
        }
        Ok(())
    }

    fn read(&mut self, at: usize) -> anyhow::Result<()> {
        // An event fetched together with the one that closed the connection finds nothing here.
        let Some(connection) = &mut self.connections[at] else {
            return Ok(());
        };
        match recv(&connection.socket, &mut self.chunk[..], RecvFlags::empty()) {
            Err(Errno::AGAIN) => Ok(()),
            // The end of the stream, or a reset: the client's side says whether that was in order.
            Ok((_, 0)) | Err(_) => {
                self.connections[at] = None;
                self.vacant.push(at);
                Ok(())
            }
            Ok((_, bytes)) => {
                connection.received.extend_from_slice(&self.chunk[..bytes]);
                connection.serve(self.visit)
            }
        }
    }
}

impl Connection {
    /// Answers a message that is whole.
    fn serve(&mut self, visit: Visit) -> anyhow::Result<()> {
        let message = match visit {
            Visit::ProxyOut { .. } => after_header(&self.received)?,
            _ => Some(&self.received[..]),
        };
        let Some(message) = message.filter(|message| !message.is_empty()) else {
            return Ok(());
        };
        ensure!(
            message[0] == visit.begins_with() && message.len() <= visit.message_bytes(),
            "other bytes than the client's: {:?}",
            String::from_utf8_lossy(&message[..message.len().min(64)])
        );
        if message.len() == visit.message_bytes() && !self.is_answered {
            self.answer()?;
        }
        Ok(())
    }

    fn answer(&mut self) -> anyhow::Result<()> {
        let answer = [self.server as u8; ANSWER_BYTES];
        match send(&self.socket, &answer, SendFlags::NOSIGNAL) {
            Ok(sent) => ensure!(sent == ANSWER_BYTES, "{sent} bytes of an answer sent"),
            // It has ended, as a proxy's check of its server does.
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
        self.is_answered = true;
        Ok(())
    }
}
