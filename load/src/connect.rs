//! New connections: each client connects, sends 64 bytes, reads their echo, shuts down, waits for the proxy to
//! do the same, and begins again. A unit of work is the whole life of a connection.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::ensure;
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};

use crate::clients::{Clients, connect};
use crate::poller::{Owner, Poller};
use crate::server::send_some;
use crate::tally::Tally;

/// Bytes of the message.
const MESSAGE_BYTES: usize = 64;

/// Clients that connect again and again.
pub struct Connect {
    proxy: Option<SocketAddr>,
    concurrency: usize,
    clients: Vec<Client>,
}

struct Client {
    socket: OwnedFd,
    begun_at: Instant,
    received: usize,
}

impl Connect {
    /// So many at a time.
    pub fn new(concurrency: usize) -> Self {
        Self {
            proxy: None,
            concurrency,
            clients: Vec::new(),
        }
    }
}

impl Clients for Connect {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        self.proxy = Some(proxy);
        for index in 0..self.concurrency {
            self.clients.push(Client::begin(proxy, index, poller)?);
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        _: EventFlags,
        poller: &Poller,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        let mut answer = [0; MESSAGE_BYTES];
        let (_, bytes) = recv(&client.socket, &mut answer, RecvFlags::empty())?;
        client.received += bytes;
        if bytes == 0 {
            ensure!(
                client.received == MESSAGE_BYTES,
                "closed by the proxy before the echo"
            );
            tally.add_timed(client.begun_at.elapsed());
            let proxy = self.proxy.expect("set when the load began");
            *client = Client::begin(proxy, index, poller)?;
        } else if client.received == MESSAGE_BYTES {
            shutdown(&client.socket, Shutdown::Write)?;
        }
        Ok(())
    }
}

impl Client {
    fn begin(proxy: SocketAddr, index: usize, poller: &Poller) -> anyhow::Result<Self> {
        let begun_at = Instant::now();
        let socket = connect(proxy)?;
        poller.add(&socket, Owner::Client, index, EventFlags::IN)?;
        let sent = send_some(&socket, &[b'c'; MESSAGE_BYTES])?;
        ensure!(
            sent == MESSAGE_BYTES,
            "a new connection has no room for {MESSAGE_BYTES} bytes"
        );
        Ok(Self {
            socket,
            begun_at,
            received: 0,
        })
    }
}
