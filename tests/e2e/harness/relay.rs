//! A way to a server that can be cut while the server goes on.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::peer::{self, Server, Service};

pub(crate) struct Relay {
    service: Service,
    /// Both sides of each connection; none while it is cut.
    streams: Streams,
}

type Streams = Arc<Mutex<Option<Vec<TcpStream>>>>;

impl Relay {
    /// Leads to `server`.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let streams = Streams::new(Mutex::new(Some(Vec::new())));
        let open = streams.clone();
        let service = Server::bind().serve(move |near| {
            let far = peer::connect(server);
            let Some(open) = &mut *open.lock().expect("streams") else {
                return;
            };
            for stream in [&near, &far] {
                open.push(stream.try_clone().expect("a descriptor"));
            }
            thread::spawn(move || both_ways(&near, &far));
        });
        Self { service, streams }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// Ends all connections, and each new one at once.
    pub(crate) fn cut(&self) {
        let streams = self.streams.lock().expect("streams").take();
        for stream in streams.into_iter().flatten() {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets new ones through again.
    pub(crate) fn mend(&self) {
        *self.streams.lock().expect("streams") = Some(Vec::new());
    }
}

fn both_ways(near: &TcpStream, far: &TcpStream) {
    thread::scope(|scope| {
        for (mut from, mut to) in [(near, far), (far, near)] {
            scope.spawn(move || {
                // However it ends, the other side hears of it.
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    });
}
