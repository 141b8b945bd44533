//! Bytes without end, by two threads of their own.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use socket2::Socket;

use super::peer::RealPeer;
use crate::stage::Flood;

/// Two threads, of which one sends and the other receives.
pub struct Traffic {
    bytes: Arc<AtomicU64>,
    source: Socket,
    sink: Socket,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    pub(crate) fn start(source: RealPeer, sink: RealPeer) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let [source, sink] = [source, sink].map(|peer| {
            let socket = peer.socket().try_clone().expect("a descriptor");
            socket.set_nonblocking(false).expect("a socket can block");
            socket
        });
        let sending = source.try_clone().expect("a descriptor");
        let receiving = sink.try_clone().expect("a descriptor");
        let counted = bytes.clone();
        let threads = vec![
            // Both end when the sockets are shut down.
            thread::spawn(move || while (&sending).write_all(&[0; 64 * 1024]).is_ok() {}),
            thread::spawn(move || {
                let mut chunk = vec![0; 256 * 1024];
                while let Ok(count @ 1..) = (&receiving).read(&mut chunk) {
                    counted.fetch_add(count as u64, Relaxed);
                }
            }),
        ];
        Self {
            bytes,
            source,
            sink,
            threads,
        }
    }
}

impl Flood for Traffic {
    fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        for socket in [&self.source, &self.sink] {
            // It fails when the proxy has reset it, and then the threads have ended.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
