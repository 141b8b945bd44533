//! A reader that stops, stops the sender at the other side, and the proxy holds little in between.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::bytes::{Digest, Hasher, MIB, Pattern, receive};
use crate::harness::config::forward;
use crate::harness::peer::Server;
use crate::harness::process::resident_bytes;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(
    server_stops_reading,
    client_stops_reading,
    many_stopped_readers
);

/// More than the kernel's buffers of four sockets take (tcp_rmem and tcp_wmem go to 6 and 4 MiB).
const SENT: u64 = 64 * MIB;

/// What may be on its way: the buffers of four sockets, and the proxy's own.
const IN_FLIGHT_MAX: u64 = 48 * MIB;

/// What the proxy may grow by for a stopped connection; its relay buffers go to 256 KiB, and a page or two
/// more come from the first use of code and of allocator pools.
const GROWTH_MAX: u64 = 8 * MIB;

/// A sender counts as stopped when it hasn't moved for this long.
const STALL: Duration = Duration::from_millis(800);

fn server_stops_reading(scheduler: Scheduler) {
    stopped_reader(scheduler, |client, upstream| (client, upstream));
}

fn client_stops_reading(scheduler: Scheduler) {
    stopped_reader(scheduler, |client, upstream| (upstream, client));
}

/// `roles` returns the sender and the reader out of the client's end and the server's.
fn stopped_reader(scheduler: Scheduler, roles: fn(TcpStream, TcpStream) -> (TcpStream, TcpStream)) {
    let server = Server::bind();
    let proxy = Proxy::start(scheduler, &forward(&[&server.address().to_string()]));
    let (client, upstream) = (proxy.connect("main"), server.accept());
    let before = resident_bytes(proxy.pid());

    let (sender, mut reader) = roles(client, upstream);
    let sender = Sender::start(sender, SENT);
    let stopped_at = wait_for_stall(slice::from_ref(&sender));
    assert!(
        stopped_at < IN_FLIGHT_MAX,
        "the sender got rid of {stopped_at} bytes that nobody reads"
    );
    let growth = resident_bytes(proxy.pid()).saturating_sub(before);
    assert!(growth < GROWTH_MAX, "the proxy holds {growth} bytes more");

    assert_eq!(receive(&mut reader), sender.join());
}

/// Memory is bounded by the number of connections, not by what the peers would like to send.
fn many_stopped_readers(scheduler: Scheduler) {
    const CONNECTIONS: u64 = 16;
    let server = Server::bind();
    let proxy = Proxy::start(scheduler, &forward(&[&server.address().to_string()]));
    let before = resident_bytes(proxy.pid());
    let (mut senders, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        senders.push(Sender::start(proxy.connect("main"), 12 * MIB));
        readers.push(server.accept());
    }
    wait_for_stall(&senders);
    let growth = resident_bytes(proxy.pid()).saturating_sub(before);
    let allowed = GROWTH_MAX + CONNECTIONS * MIB / 2;
    assert!(
        growth < allowed,
        "the proxy holds {growth} bytes more for {CONNECTIONS} connections"
    );

    let readers = readers
        .into_iter()
        .map(|mut reader| thread::spawn(move || receive(&mut reader)));
    let received: Vec<Digest> = readers
        .collect::<Vec<_>>()
        .into_iter()
        .map(|reader| reader.join().expect("reader"))
        .collect();
    for sender in senders {
        assert!(
            received.contains(&sender.join()),
            "a transfer that nobody received whole"
        );
    }
}

/// Sends on a thread of its own and counts what the kernel took.
struct Sender {
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Digest>,
}

impl Sender {
    fn start(mut stream: TcpStream, len: u64) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let count = sent.clone();
        let seed = stream.local_addr().expect("address").port();
        let thread = thread::spawn(move || {
            let (mut pattern, mut hasher) = (Pattern::new(seed.into()), Hasher::default());
            let mut chunk = vec![0; 16 * 1024];
            for _ in 0..len / chunk.len() as u64 {
                pattern.fill(&mut chunk);
                stream.write_all(&chunk).expect("send");
                hasher.write_all(&chunk).expect("hash");
                count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
            stream.shutdown(Shutdown::Write).expect("shutdown");
            hasher.digest()
        });
        Self { sent, thread }
    }

    fn join(self) -> Digest {
        self.thread.join().expect("sender")
    }
}

/// Returns how much all of them have sent when none moves any more.
fn wait_for_stall(senders: &[Sender]) -> u64 {
    let sent = || {
        senders
            .iter()
            .map(|sender| sender.sent.load(Ordering::Relaxed))
            .sum::<u64>()
    };
    let mut last = 0;
    loop {
        thread::sleep(STALL);
        let now = sent();
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
}
