//! Either side may end its direction first and still receive everything of the other.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use crate::harness::bytes::{MIB, digest, receive, send};
use crate::harness::config::forward;
use crate::harness::peer::Server;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(client_first, server_first, both_at_once, without_a_byte);

fn start(scheduler: Scheduler) -> (Server, Proxy) {
    let server = Server::bind();
    let proxy = Proxy::start(scheduler, &forward(&[&server.address().to_string()]));
    (server, proxy)
}

/// `nc -N` and HTTP/1.0 clients do this: the request ends with the end of the direction.
fn client_first(scheduler: Scheduler) {
    let (server, proxy) = start(scheduler);
    let mut client = proxy.connect("main");
    let mut upstream = server.accept();

    client.write_all(b"everything, please").expect("request");
    client.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(receive(&mut upstream), digest(b"everything, please"));

    let sender = thread::spawn(move || send(&mut upstream, 1, 10 * MIB));
    assert_eq!(receive(&mut client), sender.join().expect("sender"));
}

fn server_first(scheduler: Scheduler) {
    let (server, proxy) = start(scheduler);
    let mut client = proxy.connect("main");
    let mut upstream = server.accept();

    upstream.write_all(b"go on").expect("greeting");
    upstream.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(receive(&mut client), digest(b"go on"));

    let receiver = thread::spawn(move || receive(&mut upstream));
    let sent = send(&mut client, 2, 10 * MIB);
    client.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(receiver.join().expect("receiver"), sent);
}

/// The ends cross each other on the way; what was sent before them must not be lost.
fn both_at_once(scheduler: Scheduler) {
    let (server, proxy) = start(scheduler);
    for seed in 0..50 {
        let mut client = proxy.connect("main");
        let mut upstream = server.accept();
        let up = send(&mut client, seed, 10_000);
        let down = send(&mut upstream, seed + 1, 10_000);
        client.shutdown(Shutdown::Write).expect("shutdown");
        upstream.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(receive(&mut upstream), up);
        assert_eq!(receive(&mut client), down);
    }
}

fn without_a_byte(scheduler: Scheduler) {
    let (server, proxy) = start(scheduler);
    let mut client = proxy.connect("main");
    let mut upstream = server.accept();
    client.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(upstream.read(&mut [0; 1]).expect("an orderly end"), 0);
    drop(upstream);
    assert_eq!(client.read(&mut [0; 1]).expect("an orderly end"), 0);
}
