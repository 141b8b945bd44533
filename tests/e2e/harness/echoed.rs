//! Clients of an echo server: what comes back is what they sent, to the last byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use super::{bytes, peer};

/// A connection with a message of its own, to the end.
pub(crate) fn visit(address: SocketAddr, seed: u64) {
    let client = peer::connect(address);
    let message = bytes::pattern(seed, 300);
    (&client).write_all(&message).expect("send");
    client.shutdown(Shutdown::Write).expect("half-close");
    let mut answer = Vec::new();
    (&client).read_to_end(&mut answer).expect("receive");
    assert!(
        answer == message,
        "connection {seed} was told something else"
    );
}

/// Sends so many bytes and ends, while it receives to the end.
pub(crate) fn transfer(client: &TcpStream, seed: u64, length: u64) {
    let (sent, received) = thread::scope(|scope| {
        let sent = scope.spawn(|| {
            let sent = bytes::send(&mut &*client, seed, length);
            client.shutdown(Shutdown::Write).expect("half-close");
            sent
        });
        let received = bytes::receive(&mut &*client);
        (sent.join().expect("it is sent"), received)
    });
    assert_eq!(sent, received, "transfer {seed}");
}
