//! A reset stays a reset: the other end must not take a broken transfer for a whole one.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::harness::bytes::{MIB, try_send};
use crate::harness::config::forward;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    client_to_server,
    server_to_client,
    amid_a_transfer,
    after_half_close,
    vanishing_clients
);

fn start(scheduler: Scheduler) -> (Server, Proxy) {
    let server = Server::bind();
    let proxy = Proxy::start(scheduler, &forward(&[&server.address().to_string()]));
    (server, proxy)
}

/// A connection over which a byte has gone each way, so that nothing is under way any more.
fn established(server: &Server, proxy: &Proxy) -> (TcpStream, TcpStream) {
    let mut client = proxy.connect("main");
    let mut upstream = server.accept();
    client.write_all(b"?").expect("send");
    upstream.read_exact(&mut [0; 1]).expect("receive");
    upstream.write_all(b"!").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");
    (client, upstream)
}

fn client_to_server(scheduler: Scheduler) {
    let (server, proxy) = start(scheduler);
    let (client, mut upstream) = established(&server, &proxy);
    peer::reset(client);
    assert_eq!(
        peer::end_of(&mut upstream),
        Some(ErrorKind::ConnectionReset)
    );
}

fn server_to_client(scheduler: Scheduler) {
    let (server, proxy) = start(scheduler);
    let (mut client, upstream) = established(&server, &proxy);
    peer::reset(upstream);
    assert_eq!(peer::end_of(&mut client), Some(ErrorKind::ConnectionReset));
}

/// The proxy learns of it while it writes, with bytes in its hands that nobody will take.
fn amid_a_transfer(scheduler: Scheduler) {
    let (server, proxy) = start(scheduler);
    let (mut client, mut upstream) = established(&server, &proxy);
    upstream.write_all(b"!").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");
    let sender = std::thread::spawn(move || try_send(&mut client, 3, 256 * MIB));
    let mut some = vec![0; MIB as usize];
    upstream.read_exact(&mut some).expect("the beginning");
    peer::reset(upstream);
    let error = sender
        .join()
        .expect("sender")
        .expect_err("nobody has read it all");
    // The sender of a broken connection sees EPIPE when the reset came between two of its writes.
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
    wait::until("end of the connection", || {
        proxy.metric("corelane_listener_connections", &[("listener", "main")]) == 0.0
    });
}

/// Half-closed by the client, then broken by the server: the client must not see an orderly end.
fn after_half_close(scheduler: Scheduler) {
    let (server, proxy) = start(scheduler);
    let (mut client, mut upstream) = established(&server, &proxy);
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    assert_eq!(upstream.read(&mut [0; 1]).expect("an orderly end"), 0);
    peer::reset(upstream);
    assert_eq!(peer::end_of(&mut client), Some(ErrorKind::ConnectionReset));
}

/// Clients that send and vanish; nobody else notices.
fn vanishing_clients(scheduler: Scheduler) {
    let echo = peer::echo();
    let proxy = Proxy::start(scheduler, &forward(&[&echo.address().to_string()]));
    let mut neighbour = proxy.connect("main");
    for _ in 0..100 {
        let mut client = proxy.connect("main");
        client.write_all(&[7; 1000]).expect("send");
        peer::reset(client);
        neighbour.write_all(b"still there?").expect("send");
        let mut answer = [0; 12];
        neighbour.read_exact(&mut answer).expect("receive");
        assert_eq!(&answer, b"still there?");
    }
    wait::until("end of all but the neighbour", || {
        proxy.metric("corelane_listener_connections", &[("listener", "main")]) == 1.0
    });
}
