//! Servers that are configured and that nobody but health checks connects to.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// One socket that accepts for all of them, each of which has an address of loopback of its own, until it is dropped.
pub(super) struct Servers {
    count: u32,
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Servers {
    /// Accepts, and closes what it accepts.
    pub(super) fn start(count: u32) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = listener.local_addr()?.port();
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = stopped.clone();
        let acceptor =
            thread::spawn(
                move || {
                    while listener.accept().is_ok() && !seen.load(Ordering::Relaxed) {}
                },
            );
        Ok(Self {
            count,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            stopped,
            acceptor: Some(acceptor),
        })
    }

    /// The tables of corelane's configuration: an upstream of them all, and a listener for it.
    pub(super) fn tables(&self, are_checked: bool) -> String {
        let mut text = "[listeners.many]\nbind = \"127.0.0.1:0\"\nupstream = \"many\"\n\
                        [upstreams.many]\nservers = ["
            .to_owned();
        let port = self.address.port();
        for server in 0..self.count {
            let [_, _, high, low] = (server + 1).to_be_bytes();
            let _ = write!(text, "\"127.1.{high}.{low}:{port}\", ");
        }
        text.push_str("]\n");
        if are_checked {
            text.push_str("[upstreams.many.health]\ninterval = \"2s\"\n");
        }
        text
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_an_address_of_its_own_and_takes_connections() {
        let servers = Servers::start(300).unwrap();
        let text = servers.tables(true);
        let mut addresses: Vec<SocketAddr> = text
            .split('"')
            .filter_map(|word| word.parse().ok())
            .filter(|address: &SocketAddr| address.port() == servers.address.port())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 300);
        for address in addresses {
            TcpStream::connect(address).unwrap();
        }
        assert!(text.contains(".health]") && !servers.tables(false).contains(".health]"));
    }
}
