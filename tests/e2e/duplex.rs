//! Both directions at once, in large and in small writes.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread;

use crate::harness::bytes::{Digest, Hasher, MIB, Pattern, receive, send};
use crate::harness::chance::Chance;
use crate::harness::config::forward;
use crate::harness::peer::Server;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(bulk, small_writes, many_connections);

/// Runs `send` at both ends with different seeds and checks what arrives at the other.
pub(crate) fn both_ways(
    client: &TcpStream,
    upstream: &TcpStream,
    seed: u64,
    send: fn(&TcpStream, u64) -> Digest,
) {
    let send = |stream: &TcpStream, seed| {
        let sent = send(stream, seed);
        stream.shutdown(Shutdown::Write).expect("shutdown");
        sent
    };
    thread::scope(|scope| {
        let up = scope.spawn(move || send(client, seed));
        let down = scope.spawn(move || send(upstream, seed + 1));
        let at_server = scope.spawn(|| receive(&mut &*upstream));
        assert_eq!(
            receive(&mut &*client),
            down.join().expect("server's sender")
        );
        assert_eq!(
            at_server.join().expect("receiver"),
            up.join().expect("client's sender")
        );
    });
}

fn bulk(scheduler: Scheduler) {
    let server = Server::bind();
    let proxy = Proxy::start(scheduler, &forward(&[&server.address().to_string()]));
    let (client, upstream) = (proxy.connect("main"), server.accept());
    both_ways(&client, &upstream, 10, |mut stream, seed| {
        send(&mut stream, seed, 64 * MIB)
    });
}

fn small_writes(scheduler: Scheduler) {
    let server = Server::bind();
    let proxy = Proxy::start(scheduler, &forward(&[&server.address().to_string()]));
    let (client, upstream) = (proxy.connect("main"), server.accept());
    both_ways(&client, &upstream, 20, |stream, seed| {
        random_writes(stream, seed, 10_000)
    });
}

/// Writes of 1 B to 4 KiB, then of up to 300 KiB and small again: a relay that adapts its buffers, or its way
/// to move bytes, goes through all of them.
fn random_writes(mut stream: &TcpStream, seed: u64, count: u64) -> Digest {
    let (mut pattern, mut chance) = (Pattern::new(seed), Chance::new(seed));
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 300 * 1024];
    for index in 0..count {
        let bulk = (index / 50) % 10 == 9 && index % 10 == 0;
        let size_max = if bulk { buffer.len() } else { 4096 };
        let size = 1 + chance.below(size_max as u64) as usize;
        pattern.fill(&mut buffer[..size]);
        stream.write_all(&buffer[..size]).expect("send");
        hasher.write_all(&buffer[..size]).expect("hash");
    }
    hasher.digest()
}

fn many_connections(scheduler: Scheduler) {
    let server = Server::bind();
    let proxy = Proxy::start(scheduler, &forward(&[&server.address().to_string()]));
    thread::scope(|scope| {
        for index in 0..40 {
            // One at a time, so that these two are ends of the same connection.
            let (client, upstream) = (proxy.connect("main"), server.accept());
            scope.spawn(move || {
                both_ways(&client, &upstream, 100 + 2 * index, |stream, seed| {
                    random_writes(stream, seed, 500)
                });
            });
        }
    });
}
