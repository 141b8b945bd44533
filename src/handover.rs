//! A process that drains keeps the admin address, so that the drain can be watched, until a successor asks for it.
//!
//! The successor asks by connecting to a unix socket in the abstract namespace, which, like a port, is the network
//! namespace's. Nothing is sent. Only the same user and root may ask.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::process::geteuid;

/// Asks a process that drains, if there is one, to free its admin server's port.
pub(crate) fn ask(port: u16) {
    if let Ok(address) = address(port) {
        // Nobody offers it: then somebody else has the port, or its process does not drain.
        let _ = UnixStream::connect_addr(&address);
    }
}

/// A port that a successor may ask for.
pub(crate) struct Offer(tokio::net::UnixListener);

impl Offer {
    /// Offers a port, on the current runtime.
    ///
    /// # Errors
    /// When another process offers it already, or the system refuses.
    pub(crate) fn make(port: u16) -> io::Result<Self> {
        let listener = UnixListener::bind_addr(&address(port)?)?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener).map(Self)
    }

    /// Waits until a successor asks.
    pub(crate) async fn taken(&self) {
        let own = geteuid().as_raw();
        loop {
            // An error means that there is no descriptor left; the successor goes on asking, so this tries again.
            if let Ok((stream, _)) = self.0.accept().await
                && stream
                    .peer_cred()
                    .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
            {
                return;
            }
        }
    }
}

fn address(port: u16) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("corelane-admin-{port}"))
}
