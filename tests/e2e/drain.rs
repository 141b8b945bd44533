//! SIGTERM: what is under way finishes, nothing new begins, and the wait is bounded.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::bytes::{MIB, receive, send};
use crate::harness::config::forward;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(transfer_finishes, drain_timeout, second_signal, when_idle);

fn start(scheduler: Scheduler, drain_timeout: &str) -> (Server, Proxy) {
    let server = Server::bind();
    let runtime = format!("drain_timeout = \"{drain_timeout}\"\n");
    let routes = forward(&[&server.address().to_string()]);
    let proxy = Proxy::start_with(scheduler, &runtime, &routes);
    (server, proxy)
}

fn established(server: &Server, proxy: &Proxy) -> (TcpStream, TcpStream) {
    let mut client = proxy.connect("main");
    let mut upstream = server.accept();
    upstream.write_all(b"!").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");
    (client, upstream)
}

/// From here on the proxy takes no connection: the balancer in front of it learns so, and clients too.
fn wait_until_draining(proxy: &Proxy) {
    wait::until("/readyz says 503", || proxy.get("/readyz").status == 503);
    assert_eq!(proxy.get("/healthz").status, 200, "/healthz while draining");
    let address = proxy.address("main");
    wait::until("new connections are refused", || {
        // One that is still admitted would be drained too, and its server says nothing: end it for good.
        TcpStream::connect(address).map(peer::reset).is_err()
    });
}

fn transfer_finishes(scheduler: Scheduler) {
    let (server, mut proxy) = start(scheduler, "1h");
    let (mut client, mut upstream) = established(&server, &proxy);
    let (to_the_middle, middle) = std::sync::mpsc::channel();
    let sender = std::thread::spawn(move || {
        let first = send(&mut upstream, 1, 5 * MIB);
        let () = middle.recv().expect("the drain has begun");
        (first, send(&mut upstream, 2, 5 * MIB))
    });
    let first = receive(&mut (&client).take(5 * MIB));
    proxy.terminate();
    wait_until_draining(&proxy);
    to_the_middle.send(()).expect("sender");
    let second = receive(&mut client);
    assert_eq!((first, second), sender.join().expect("sender"));
    drop(client);
    assert_eq!(proxy.wait().code(), Some(0));
}

fn drain_timeout(scheduler: Scheduler) {
    let (server, mut proxy) = start(scheduler, "500ms");
    let (mut client, _upstream) = established(&server, &proxy);
    proxy.terminate();
    // The client stays for good; the proxy doesn't.
    assert_eq!(proxy.wait().code(), Some(0));
    let _ = peer::end_of(&mut client);
}

fn second_signal(scheduler: Scheduler) {
    let (server, mut proxy) = start(scheduler, "1h");
    let (mut client, _upstream) = established(&server, &proxy);
    proxy.terminate();
    wait_until_draining(&proxy);
    proxy.terminate();
    proxy.wait();
    let _ = peer::end_of(&mut client);
}

fn when_idle(scheduler: Scheduler) {
    let (_server, proxy) = start(scheduler, "1h");
    proxy.stop();
}
